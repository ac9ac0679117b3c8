//! The output of yamllint → findings and shares. Pure.

use std::collections::BTreeMap;

use crate::finding::{Finding, Severity};
use crate::path::RelPath;
use crate::plan::output::plain;
use crate::plan::{Output, Parse, Parsed, Share};

/// `yamllint -f parsable`: `path:line:col: [level] message (rule)`.
///
/// A file's share has exit code 1 if it has an error, and with `--strict` 2 if it only has warnings. The exit code
/// for several files does not reveal the option, so it has to be known here.
#[derive(Debug)]
pub(crate) struct Yamllint {
    pub(crate) strict: bool,
}

impl Yamllint {
    /// The parser for a command with these arguments. Use a new one if arguments are appended.
    #[must_use]
    pub(crate) fn for_args(args: &[String]) -> Self {
        // A long option may be abbreviated to a unique prefix, short ones may be combined.
        let is_strict = |arg: &String| match arg.strip_prefix("--") {
            Some(long) => !long.is_empty() && "strict".starts_with(long),
            None => arg.starts_with('-') && arg.contains('s'),
        };
        Self {
            strict: args.iter().any(is_strict),
        }
    }
}

impl Parse for Yamllint {
    fn identity(&self) -> String {
        format!("yamllint/2 strict={}", self.strict)
    }

    fn parse(&self, output: &Output, dir: &RelPath, files: &[&RelPath]) -> Parsed {
        let stdout = plain(&output.stdout);
        let mut findings = Vec::new();
        let mut shares: BTreeMap<RelPath, Share> = BTreeMap::new();
        let mut all_understood = output.stderr.trim().is_empty();
        for (file, line) in entries(&stdout, dir, files) {
            let after = file.as_ref().map_or("", |(name, _)| name);
            let Some(problem) = Problem::parse(line, after.len()) else {
                all_understood &= line.trim().is_empty();
                continue;
            };
            let path = file.map(|(_, path)| path.clone());
            let Some(path) = path.or_else(|| dir.join(problem.path).ok()) else {
                all_understood = false;
                continue;
            };
            all_understood &= files.contains(&&path);
            let share = shares.entry(path.clone()).or_default();
            share.stdout.push_str(line);
            share.stdout.push('\n');
            if problem.severity == Severity::Error {
                share.exit_code = 1;
            }
            findings.push(problem.finding(path));
        }
        let has_errors = shares.values().any(|share| share.exit_code == 1);
        if self.strict {
            for share in shares.values_mut().filter(|share| share.exit_code == 0) {
                share.exit_code = 2;
            }
        }
        let explained = output.exit_code
            == match (has_errors, shares.is_empty() || !self.strict) {
                (true, _) => 1,
                (false, true) => 0,
                (false, false) => 2,
            };
        Parsed {
            findings,
            shares: (all_understood && explained).then_some(shares),
        }
    }
}

/// A file as its name is printed.
type Named<'a> = (String, &'a RelPath);

/// The lines of the output, each with the file it begins with, if that is one of `files`. A name may hold a line break
/// or look like the place that follows it, so the longest one that fits counts.
fn entries<'t, 'f>(
    mut text: &'t str,
    dir: &RelPath,
    files: &[&'f RelPath],
) -> Vec<(Option<Named<'f>>, &'t str)> {
    let mut names: Vec<Named<'f>> = files
        .iter()
        .flat_map(|&path| [(path.argument_from(dir), path), (path.seen_from(dir), path)])
        .collect();
    names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    let mut found = Vec::new();
    while !text.is_empty() {
        let begins = |(name, _): &&Named<'_>| {
            let rest = text.strip_prefix(name.as_str());
            rest.is_some_and(|rest| rest.starts_with(':'))
        };
        let file = names.iter().find(begins).cloned();
        let start = file.as_ref().map_or(0, |(name, _)| name.len());
        let end = text[start..]
            .find('\n')
            .map_or(text.len(), |end| start + end);
        found.push((file, &text[..end]));
        text = text.get(end + 1..).unwrap_or_default();
    }
    found
}

struct Problem<'a> {
    path: &'a str,
    line: u32,
    column: u32,
    severity: Severity,
    code: Option<&'a str>,
    message: &'a str,
}

impl<'a> Problem<'a> {
    /// Reads a line whose path has at least that length.
    fn parse(text: &'a str, path: usize) -> Option<Self> {
        [
            (": [error] ", Severity::Error),
            (": [warning] ", Severity::Warning),
        ]
        .into_iter()
        .filter_map(|(mark, severity)| Some((path + text[path..].find(mark)?, mark, severity)))
        .min_by_key(|(at, ..)| *at)
        .and_then(|(at, mark, severity)| {
            let (before, column) = text[..at].rsplit_once(':')?;
            let (path, line) = before.rsplit_once(':')?;
            let (message, code) = message_and_rule(&text[at + mark.len()..]);
            Some(Self {
                path,
                line: line.parse().ok()?,
                column: column.parse().ok()?,
                severity,
                code,
                message,
            })
        })
    }

    fn finding(&self, path: RelPath) -> Finding {
        Finding {
            path: Some(path),
            line: Some(self.line),
            column: Some(self.column),
            severity: self.severity,
            code: self.code.map(str::to_owned),
            message: self.message.to_owned(),
            rendered: None,
        }
    }
}

/// The rule is the last word, in parentheses.
fn message_and_rule(text: &str) -> (&str, Option<&str>) {
    text.strip_suffix(')')
        .and_then(|text| text.rsplit_once(" ("))
        .filter(|(_, rule)| rule.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'))
        .map_or((text, None), |(message, rule)| (message, Some(rule)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path).expect(path)
    }

    fn parse(stdout: &str, exit_code: i32, dir: &str, files: &[&str]) -> Parsed {
        parse_as(false, stdout, exit_code, dir, files)
    }

    fn parse_as(strict: bool, stdout: &str, exit_code: i32, dir: &str, files: &[&str]) -> Parsed {
        let output = Output {
            exit_code,
            stdout: stdout.to_owned(),
            stderr: String::new(),
        };
        let files: Vec<RelPath> = files.iter().map(|path| rel(path)).collect();
        Yamllint { strict }.parse(&output, &rel(dir), &files.iter().collect::<Vec<_>>())
    }

    const OUTPUT: &str = "x.yaml:1:1: [warning] missing document start \"---\" (document-start)\n\
                          x.yaml:2:5: [error] too many spaces after colon (colons)\n\
                          sub/bad.yaml:2:1: [error] syntax error: expected ',' or ']', but got '<stream end>' (syntax)\n\
                          w:1:1: [x].yaml:1:1: [warning] missing document start \"---\" (document-start)\n";

    fn exits(parsed: &Parsed) -> Option<Vec<(&str, i32)>> {
        let shares = parsed.shares.as_ref()?;
        Some(
            shares
                .iter()
                .map(|(path, share)| (path.as_str(), share.exit_code))
                .collect(),
        )
    }

    fn exits_of(parsed: &Parsed) -> Option<Vec<(String, i32)>> {
        let exits = exits(parsed)?.into_iter();
        Some(exits.map(|(path, code)| (path.to_owned(), code)).collect())
    }

    #[test]
    fn a_name_may_hold_a_line_break_or_look_like_a_place() {
        let names = ["sub/new\nline.yaml", "sub/c:3:4: [error] x.yaml", "sub/c"];
        let line = |name: &str| format!("{name}:1:4: [error] too many spaces (colons)\n");
        let stdout: String = names.map(|name| line(&name[4..])).concat();
        let parsed = parse(&stdout, 1, "sub", &names);
        let found: Vec<_> = parsed
            .findings
            .iter()
            .map(|f| (f.path.clone(), f.line))
            .collect();
        assert_eq!(found, names.map(|name| (Some(rel(name)), Some(1))));
        let shares = parsed.shares.expect("understood");
        assert_eq!(shares[&rel(names[0])].stdout, line("new\nline.yaml"));
    }

    #[test]
    fn findings_with_rules_and_levels() {
        let parsed = parse(OUTPUT, 1, "lib", &[]);
        let shown: Vec<String> = parsed
            .findings
            .iter()
            .map(|f| {
                let path = f.path.as_deref().unwrap_or("-");
                let code = f.code.as_deref().unwrap_or("-");
                format!(
                    "{path} {:?} {:?} {:?} {code}: {}",
                    f.line, f.column, f.severity, f.message
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                "lib/x.yaml Some(1) Some(1) Warning document-start: missing document start \"---\"",
                "lib/x.yaml Some(2) Some(5) Error colons: too many spaces after colon",
                "lib/sub/bad.yaml Some(2) Some(1) Error syntax: syntax error: expected ',' or ']', but got '<stream end>'",
                "lib/w:1:1: [x].yaml Some(1) Some(1) Warning document-start: missing document start \"---\"",
            ]
        );
    }

    #[test]
    fn each_file_gets_its_lines_and_its_own_exit_code() {
        let files = ["ok.yml", "sub/bad.yaml", "w:1:1: [x].yaml", "x.yaml"];
        let parsed = parse(OUTPUT, 1, "", &files);
        assert_eq!(
            exits(&parsed),
            Some(vec![
                ("sub/bad.yaml", 1),
                ("w:1:1: [x].yaml", 0),
                ("x.yaml", 1)
            ])
        );
        let share = &parsed.shares.as_ref().expect("shares")[&rel("x.yaml")];
        assert_eq!(share.stdout.lines().count(), 2);
        assert_eq!(exits(&parse("", 0, "", &files)), Some(vec![]));
    }

    #[test]
    fn with_strict_warnings_fail_their_file() {
        let warning = "x.yaml:1:1: [warning] missing document start \"---\" (document-start)\n";
        let exits_as = |strict, code| exits_of(&parse_as(strict, warning, code, "", &["x.yaml"]));
        assert_eq!(exits_as(true, 2), Some(vec![("x.yaml".to_owned(), 2)]));
        assert_eq!(exits_as(false, 0), Some(vec![("x.yaml".to_owned(), 0)]));
        assert_eq!(exits_as(false, 2), None);
        let both = format!("{warning}y.yaml:1:1: [error] x (syntax)\n");
        let both = parse_as(true, &both, 1, "", &["x.yaml", "y.yaml"]);
        assert_eq!(exits(&both), Some(vec![("x.yaml", 2), ("y.yaml", 1)]));
        let args = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(Yamllint::for_args(&args("-f parsable --strict")).strict);
        assert!(Yamllint::for_args(&args("--no-warnings -s")).strict);
        assert!(!Yamllint::for_args(&args("-f parsable -c .yamllint.yml --no-warnings")).strict);
    }

    #[test]
    fn what_cannot_be_given_to_a_file_leaves_no_shares() {
        assert_eq!(exits(&parse("invalid config\n", 0, "", &["x.yaml"])), None);
        assert_eq!(exits(&parse("", 255, "", &["x.yaml"])), None);
        assert_eq!(exits(&parse("", 1, "", &["x.yaml"])), None);
        assert_eq!(exits(&parse(OUTPUT, 1, "", &["x.yaml"])), None);
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(
            text in "(.|\n){0,100}",
            like in "(a.yaml|:|1|: \\[error\\] |: \\[warning\\] |\\(|\\)|é|\n|x){0,20}",
            code in -1..3,
        ) {
            parse(&text, code, "", &["a.yaml"]);
            parse(&like, code, "sub", &["a.yaml"]);
        }
    }
}
