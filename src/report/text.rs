//! Text shared by several reports: durations, counts, one-line findings.

use std::fmt::Write as _;

use crate::finding::{Finding, Severity};
use crate::plan::NotRun;
use crate::plan::output::{is_status, plain};
use crate::visible;

/// A duration for display: `85ms`, `1.25s`, `3m 20s`, `2h 05m`.
#[must_use]
pub(crate) fn duration(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms}ms"),
        1_000..60_000 => format!("{:.2}s", ms as f64 / 1000.0),
        60_000..3_600_000 => format!("{}m {:02}s", ms / 60_000, ms / 1000 % 60),
        _ => format!("{}h {:02}m", ms / 3_600_000, ms / 60_000 % 60),
    }
}

/// Like [`duration`], with a sign.
#[must_use]
pub(crate) fn signed_duration(ms: i64) -> String {
    let sign = if ms < 0 { "-" } else { "" };
    format!("{sign}{}", duration(ms.unsigned_abs()))
}

/// The message for a lost engine that another one replaces: one line, unless verbose.
#[must_use]
pub(crate) fn engine_lost(why: &str, all: bool) -> String {
    let first = why.lines().next().unwrap_or_default();
    let why = if all { why } else { first };
    format!("{why}; checks run on this machine instead")
}

/// `1 file`, `2 files`.
#[must_use]
pub(crate) fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// One line: `path:line:column: severity: message [code]`, which most editors understand.
#[must_use]
pub(crate) fn finding(finding: &Finding) -> String {
    let mut text = String::new();
    if let Some(path) = &finding.path {
        let _ = write!(text, "{path}");
        for number in [finding.line, finding.column].into_iter().flatten() {
            let _ = write!(text, ":{number}");
        }
        text.push_str(": ");
    }
    let severity = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    let _ = write!(text, "{severity}: {}", visible::name(&finding.message));
    if let Some(code) = &finding.code {
        let _ = write!(text, " [{}]", visible::name(code));
    }
    text
}

/// The warnings that a tool which passed printed on stderr, with the indented lines that belong to them. Cargo's count of
/// warnings is none of them.
pub(super) fn warnings(stderr: &str) -> Vec<&str> {
    let mut within = false;
    let is_shown = |line: &&str| {
        let text = plain(line);
        let goes_on = text.starts_with([' ', '\t']) && !is_status(&text);
        let lower = text
            .trim_start_matches(|c: char| !c.is_alphabetic())
            .to_lowercase();
        let begins = lower.starts_with("warn") || lower.contains("warning:");
        within = match begins {
            true => !(lower.contains(" generated ") && lower.contains(" warning")),
            false => within && goes_on,
        };
        within
    };
    stderr.lines().filter(is_shown).collect()
}

/// Places and tools of each that are named on the line about what was not run.
const MOST_NOT_RUN: usize = 6;

/// What the project configures and no check runs, by place, and how to add it.
pub(super) fn not_run(all: &[NotRun], verbose: bool) -> String {
    let most = if verbose { usize::MAX } else { MOST_NOT_RUN };
    let mut places: Vec<(&str, Vec<&str>)> = Vec::new();
    for NotRun { tool, place, .. } in all {
        match places.iter_mut().find(|(known, _)| known == place) {
            Some((_, tools)) => tools.push(tool),
            None => places.push((place, vec![tool])),
        }
    }
    let named = |(place, tools): &(&str, Vec<&str>)| {
        let shown = tools.iter().take(most).copied().collect::<Vec<_>>();
        let more = match tools.len() - shown.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("{}{more} ({place})", shown.join(", "))
    };
    let mut text: Vec<_> = places.iter().take(most).map(named).collect();
    if places.len() > most {
        text.push(format!(
            "and more in {}",
            count(places.len() - most, "file", "files")
        ));
    }
    // What has a configuration of its own is the likeliest to be wanted.
    let is_own = |not_run: &&NotRun| {
        let place = &not_run.place;
        !place.ends_with(".pre-commit-config.yaml") && !place.starts_with(".github/")
    };
    let example = all.iter().find(is_own).or(all.first());
    let example = example.map(|first| {
        let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let name = first.tool.replace(|c| !is_bare(c), "-");
        let words = first.command.iter().map(|word| format!("\"{word}\""));
        let words = words.collect::<Vec<_>>().join(", ");
        format!("checks.{name}.command = [{words}]")
    });
    let line = format!(
        "not run: {}; add what should run as a check, such as `{}` in dagcache.toml",
        text.join(", "),
        example.unwrap_or_default()
    );
    visible::name(&line).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::RelPath;

    #[test]
    fn durations_read_well() {
        let all = [0, 85, 1250, 200_000, 7_500_000].map(duration);
        assert_eq!(all, ["0ms", "85ms", "1.25s", "3m 20s", "2h 05m"]);
        assert_eq!(signed_duration(-85), "-85ms");
    }

    #[test]
    fn warnings_are_found_among_other_lines() {
        let stderr = "   Compiling a v1.0.0\nwarning: unused manifest key: x\n  in Cargo.toml\n    Finished dev\n\
            warning: `a` (lib) generated 1 warning\n# Warning: 'bases' is deprecated\nx.py:3: DeprecationWarning: old\n\
            \u{1b}[33mWARN\u{1b}[0m slow\nno warnings at all\n";
        assert_eq!(
            warnings(stderr),
            [
                "warning: unused manifest key: x",
                "  in Cargo.toml",
                "# Warning: 'bases' is deprecated",
                "x.py:3: DeprecationWarning: old",
                "\u{1b}[33mWARN\u{1b}[0m slow",
            ]
        );
    }

    #[test]
    fn what_was_not_run_is_one_bounded_line() {
        let not_run_of = |tool: String, place: String| NotRun {
            command: vec![tool.clone(), ".".to_owned()],
            tool,
            place,
        };
        let few = [
            ("codespell", ".pre-commit-config.yaml"),
            ("mypy", "a"),
            ("pytest", "a"),
        ];
        let few = few.map(|(tool, place)| not_run_of(tool.to_owned(), place.to_owned()));
        assert_eq!(
            not_run(&few, false),
            "not run: codespell (.pre-commit-config.yaml), mypy, pytest (a); add what should run as a check, such as \
             `checks.mypy.command = [\"mypy\", \".\"]` in dagcache.toml"
        );
        let many: Vec<_> = (0..20)
            .map(|number| {
                not_run_of(
                    format!("tool{number}"),
                    format!("file{}", number / 10 * number),
                )
            })
            .collect();
        let text = not_run(&many, false);
        assert!(text.contains("tool5 and 4 more (file0)"), "{text}");
        assert!(text.contains("and more in 5 files;"), "{text}");
        assert!(not_run(&many, true).contains("tool19 (file19)"), "{text}");
    }

    #[test]
    fn a_finding_is_one_line() {
        let mut sample = Finding {
            path: Some(RelPath::from_normal("a/b.yaml".into())),
            line: Some(3),
            column: None,
            severity: Severity::Warning,
            code: Some("document-start".into()),
            message: "missing document start".into(),
            rendered: None,
        };
        assert_eq!(
            finding(&sample),
            "a/b.yaml:3: warning: missing document start [document-start]"
        );
        sample.path = None;
        assert_eq!(
            finding(&sample),
            "warning: missing document start [document-start]"
        );
    }
}
