//! Parses findings with a regular expression: each matching line is one.
//!
//! Does not decide verdicts: the exit code does.

use std::collections::{BTreeMap, BTreeSet};

use regex::{Captures, Regex};

use super::location::locate;
use crate::finding::{Finding, Severity};
use crate::path::RelPath;
use crate::plan::{Output, Parse, Parsed, Share};

/// Matching lines become findings. Groups: `path`, `line`, `column`, `severity`, `code`, `message`.
#[derive(Debug)]
pub(crate) struct LinePattern {
    regex: Regex,
}

impl LinePattern {
    /// `regex` must have the group `path`, or nothing is found.
    #[must_use]
    pub(crate) const fn new(regex: Regex) -> Self {
        Self { regex }
    }
}

impl Parse for LinePattern {
    fn identity(&self) -> String {
        format!("regex/1:{}", self.regex.as_str())
    }

    fn parse(&self, output: &Output, dir: &RelPath, files: &[&RelPath]) -> Parsed {
        parse_lines(&self.regex, output, dir, files)
    }
}

/// The findings of one stream.
struct Lines {
    findings: Vec<Finding>,
    /// The original line of each finding.
    texts: Vec<String>,
    /// Whether every line is a finding or blank.
    all_understood: bool,
}

/// Parses both streams line by line.
pub(super) fn parse_lines(
    regex: &Regex,
    output: &Output,
    dir: &RelPath,
    files: &[&RelPath],
) -> Parsed {
    let asked: BTreeSet<&RelPath> = files.iter().copied().collect();
    let stdout = lines(regex, &output.stdout, output.exit_code, dir, &asked);
    let stderr = lines(regex, &output.stderr, output.exit_code, dir, &asked);
    let shares = shares(&stdout, &stderr, output.exit_code, &asked);
    let mut findings = stdout.findings;
    findings.extend(stderr.findings);
    Parsed { findings, shares }
}

fn lines(
    regex: &Regex,
    text: &str,
    exit_code: i32,
    dir: &RelPath,
    files: &BTreeSet<&RelPath>,
) -> Lines {
    let mut lines = Lines {
        findings: Vec::new(),
        texts: Vec::new(),
        all_understood: true,
    };
    for line in text.lines() {
        let plain = anstream::adapter::strip_str(line).to_string();
        if plain.trim().is_empty() {
            continue;
        }
        let finding = regex
            .captures(&plain)
            .and_then(|groups| finding(&groups, exit_code, dir, files));
        match finding {
            Some(finding) => {
                lines.findings.push(finding);
                lines.texts.push(format!("{line}\n"));
            }
            None => lines.all_understood = false,
        }
    }
    lines
}

fn finding(
    groups: &Captures<'_>,
    exit_code: i32,
    dir: &RelPath,
    files: &BTreeSet<&RelPath>,
) -> Option<Finding> {
    let text = |name: &str| {
        let text = groups.name(name)?.as_str().trim();
        (!text.is_empty()).then_some(text)
    };
    let number = |name: &str| text(name)?.parse().ok();
    let whole = || groups.get(0).map_or("", |all| all.as_str().trim());
    Some(Finding {
        path: Some(locate(text("path")?, dir, files)?),
        line: number("line"),
        column: number("column"),
        severity: severity(text("severity"), exit_code),
        code: text("code").map(str::to_owned),
        message: text("message").unwrap_or_else(whole).to_owned(),
        rendered: None,
    })
}

/// The severity of a word. Without one, a finding is an error if the tool failed, or else a warning.
fn severity(word: Option<&str>, exit_code: i32) -> Severity {
    let Some(word) = word else {
        return if exit_code == 0 {
            Severity::Warning
        } else {
            Severity::Error
        };
    };
    match word.to_ascii_lowercase().as_str() {
        "w" | "warn" | "warning" => Severity::Warning,
        "n" | "i" | "note" | "info" | "information" | "remark" | "hint" | "help" | "style"
        | "notice" => Severity::Note,
        _ => Severity::Error,
    }
}

/// Attributes lines to files, provided that every line is a finding about one of `files` and, after a failure, each
/// named file has an error of its own: it is unknown whether warnings make the tool fail.
fn shares(
    stdout: &Lines,
    stderr: &Lines,
    exit_code: i32,
    files: &BTreeSet<&RelPath>,
) -> Option<BTreeMap<RelPath, Share>> {
    if !stdout.all_understood || !stderr.all_understood {
        return None;
    }
    let mut shares: BTreeMap<RelPath, Share> = BTreeMap::new();
    for (lines, is_stdout) in [(stdout, true), (stderr, false)] {
        for (finding, text) in lines.findings.iter().zip(&lines.texts) {
            let path = finding.path.as_ref().filter(|path| files.contains(*path))?;
            let share = shares.entry(path.clone()).or_default();
            if finding.severity == Severity::Error {
                share.exit_code = exit_code;
            }
            let stream = if is_stdout {
                &mut share.stdout
            } else {
                &mut share.stderr
            };
            stream.push_str(text);
        }
    }
    let blamed = !shares.is_empty() && shares.values().all(|share| share.exit_code == exit_code);
    (exit_code == 0 || blamed).then_some(shares)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{output, rel};

    const PATTERN: &str =
        r"^(?<path>\S+) (?<line>\d+)(?: (?<severity>error|warning))?: (?<message>.+)$";

    fn parse(exit_code: i32, stdout: &str, files: &[&str]) -> Parsed {
        let files: Vec<RelPath> = files.iter().map(|file| rel(file)).collect();
        let files: Vec<&RelPath> = files.iter().collect();
        let parser = LinePattern::new(Regex::new(PATTERN).expect("valid"));
        parser.parse(&output(exit_code, stdout), &RelPath::root(), &files)
    }

    #[test]
    fn groups_become_the_fields_of_a_finding() {
        let parsed = parse(1, "a.h 3 warning: old\nnoise\nb.h 4: new\n", &[]);
        let short: Vec<_> = parsed
            .findings
            .iter()
            .map(|f| (f.path.as_deref(), f.line, f.severity, f.message.as_str()))
            .collect();
        assert_eq!(
            short,
            [
                (Some("a.h"), Some(3), Severity::Warning, "old"),
                (Some("b.h"), Some(4), Severity::Error, "new"),
            ]
        );
    }

    #[test]
    fn shares_split_the_lines_by_file() {
        let shares = parse(
            2,
            "a.h 1: x\n\nb.h 2: y\na.h 3: z\n",
            &["a.h", "b.h", "c.h"],
        )
        .shares
        .expect("shares");
        assert_eq!(shares.len(), 2);
        let a = &shares[&rel("a.h")];
        assert_eq!(
            (a.exit_code, a.stdout.as_str()),
            (2, "a.h 1: x\na.h 3: z\n")
        );
    }

    #[test]
    fn silence_is_a_pass_for_all() {
        assert_eq!(parse(0, "", &["a.h"]).shares, Some(BTreeMap::new()));
    }

    #[test]
    fn what_cannot_be_given_to_a_file_leaves_no_shares() {
        for (exit_code, stdout, why) in [
            (1, "", "a failure in silence"),
            (1, "a.h 1: x\n1 problem\n", "a summary line"),
            (1, "z.h 1: x\n", "a file that was not asked about"),
            (
                1,
                "a.h 1 error: x\nb.h 1 warning: y\n",
                "a warning that might have failed alone",
            ),
        ] {
            assert_eq!(
                parse(exit_code, stdout, &["a.h", "b.h"]).shares,
                None,
                "{why}"
            );
        }
        let warned = parse(0, "b.h 1 warning: y\n", &["a.h", "b.h"]).shares;
        assert_eq!(warned.map(|shares| shares[&rel("b.h")].exit_code), Some(0));
    }

    #[test]
    fn the_pattern_is_in_the_key() {
        let parser = |pattern| LinePattern::new(Regex::new(pattern).expect("valid")).identity();
        assert_ne!(parser("(?<path>a)"), parser("(?<path>b)"));
    }

    proptest! {
        #[test]
        fn arbitrary_output_never_panics(bytes in any::<Vec<u8>>(), exit_code in any::<i32>()) {
            let text = String::from_utf8_lossy(&bytes);
            let parsed = parse(exit_code, &text, &["a.h"]);
            prop_assert!(parsed.findings.len() <= text.lines().count());
        }
    }
}
