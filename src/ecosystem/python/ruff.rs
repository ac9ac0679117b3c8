//! The output of ruff → findings.
//!
//! `ruff check --output-format=concise` prints `path:line:col: CODE message` (with `cell N:` for notebooks); older
//! versions print syntax errors to stderr. `ruff format --check` prints `Would reformat: path`, newer versions a full
//! diagnostic per file. Pure.

use crate::finding::{Finding, Severity};
use crate::path::RelPath;
use crate::plan::output::plain;
use crate::plan::{Output, Parse, Parsed};

/// `ruff check --output-format=concise` (`text` before 0.2).
#[derive(Debug)]
pub(crate) struct RuffCheck;

/// `ruff format --check`.
#[derive(Debug)]
pub(crate) struct RuffFormat;

const FAILED_TO_PARSE: &str = "error: Failed to parse ";
const WOULD_REFORMAT: &str = "Would reformat: ";

impl Parse for RuffCheck {
    fn identity(&self) -> String {
        "ruff-check/2".to_owned()
    }

    fn parse(&self, output: &Output, dir: &RelPath, _: &[&RelPath]) -> Parsed {
        let stdout = plain(&output.stdout);
        let stderr = plain(&output.stderr);
        let mut findings: Vec<Finding> = stdout
            .lines()
            .filter_map(|line| Place::parse(line)?.finding(dir))
            .collect();
        // Older versions print it to both streams, newer ones only to stdout.
        for finding in unparsable(&stderr, dir) {
            let known = findings.iter().any(|other| {
                (&other.path, other.line) == (&finding.path, finding.line)
                    && other.code.as_deref() == Some(SYNTAX)
            });
            if !known {
                findings.push(finding);
            }
        }
        Parsed {
            findings,
            shares: None,
        }
    }
}

impl Parse for RuffFormat {
    fn identity(&self) -> String {
        "ruff-format/2".to_owned()
    }

    fn parse(&self, output: &Output, dir: &RelPath, _: &[&RelPath]) -> Parsed {
        let stdout = plain(&output.stdout);
        let stderr = plain(&output.stderr);
        let mut findings: Vec<Finding> = stdout
            .lines()
            .filter_map(|line| line.strip_prefix(WOULD_REFORMAT))
            .filter_map(|path| unformatted(dir, path))
            .collect();
        findings.extend(diagnostics(&stdout, dir));
        findings.extend(unparsable(&stderr, dir));
        Parsed {
            findings,
            shares: None,
        }
    }
}

/// The code for syntax errors, whatever the version calls them.
const SYNTAX: &str = "invalid-syntax";

fn unformatted(dir: &RelPath, path: &str) -> Option<Finding> {
    Some(Finding {
        path: Some(dir.join(path.trim()).ok()?),
        line: None,
        column: None,
        severity: Severity::Error,
        code: Some("unformatted".to_owned()),
        message: "would be reformatted".to_owned(),
        rendered: None,
    })
}

/// `error: Failed to parse sub/bad.py:2:1: unexpected EOF while parsing`
fn unparsable(stderr: &str, dir: &RelPath) -> Vec<Finding> {
    stderr
        .lines()
        .filter_map(|line| Place::parse(line.strip_prefix(FAILED_TO_PARSE)?))
        .filter_map(|place| {
            let mut finding = place.finding(dir)?;
            finding.message = place.rest.to_owned();
            finding.code = Some(SYNTAX.to_owned());
            Some(finding)
        })
        .collect()
}

/// `unformatted: File would be reformatted`, then ` --> a.py:2:1`, then the diff.
fn diagnostics(stdout: &str, dir: &RelPath) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut lines = stdout.lines().peekable();
    while let Some(line) = lines.next() {
        let Some((code, message)) = line.split_once(": ") else {
            continue;
        };
        let Some(place) = lines
            .peek()
            .and_then(|next| next.trim_start().strip_prefix("--> "))
        else {
            continue;
        };
        if let Some(place) = Place::parse(&format!("{place}: {code} {message}"))
            && let Some(mut finding) = place.finding(dir)
        {
            finding.code = Some(code.to_owned());
            message.clone_into(&mut finding.message);
            found.push(finding);
        }
    }
    found
}

/// The names of files that ruff reads end in these.
const EXTENSIONS: [&str; 5] = ["py", "pyi", "ipynb", "toml", "md"];

/// `path:[cell N:]line:column: rest`
struct Place<'a> {
    path: &'a str,
    line: u32,
    column: u32,
    rest: &'a str,
}

impl<'a> Place<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        // A path may hold `: ` itself, or look like a place, so the first spot behind the name of a file that ruff
        // reads counts, else the first that looks like a place.
        let places = || {
            text.match_indices(": ")
                .filter_map(|(at, _)| Self::ending_at(text, at))
        };
        let is_file = |place: &Self| {
            let extension = place.path.rsplit_once('.').map(|(_, extension)| extension);
            extension.is_some_and(|extension| EXTENSIONS.contains(&extension))
        };
        places().find(is_file).or_else(|| places().next())
    }

    fn ending_at(text: &'a str, at: usize) -> Option<Self> {
        let (before, column) = text[..at].rsplit_once(':')?;
        let (path, line) = before.rsplit_once(':')?;
        let path = path
            .rsplit_once(":cell ")
            .filter(|(_, cell)| cell.bytes().all(|digit| digit.is_ascii_digit()))
            .map_or(path, |(notebook, _)| notebook);
        Some(Self {
            path,
            line: line.parse().ok()?,
            column: column.parse().ok()?,
            rest: &text[at + 2..],
        })
    }

    fn finding(&self, dir: &RelPath) -> Option<Finding> {
        let (code, message) = self.code_and_message();
        Some(Finding {
            path: Some(dir.join(self.path).ok()?),
            line: Some(self.line),
            column: Some(self.column),
            severity: Severity::Error,
            code: Some(code.to_owned()),
            message: message.to_owned(),
            rendered: None,
        })
    }

    /// `F401 [*] text`, `SyntaxError: text`, `invalid-syntax: text`.
    fn code_and_message(&self) -> (&'a str, &'a str) {
        for prefix in ["SyntaxError: ", "invalid-syntax: "] {
            if let Some(message) = self.rest.strip_prefix(prefix) {
                return (SYNTAX, message);
            }
        }
        let (code, message) = self.rest.split_once(' ').unwrap_or((self.rest, ""));
        let message = message.strip_prefix("[*] ").unwrap_or(message);
        (code.trim_end_matches(':'), message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn findings(parser: &dyn Parse, stdout: &str, stderr: &str) -> Vec<String> {
        let output = Output {
            exit_code: 1,
            stdout: stdout.to_owned(),
            stderr: stderr.to_owned(),
        };
        let dir = RelPath::new("lib").expect("a folder");
        let show = |number: Option<u32>| number.map_or("-".to_owned(), |n| n.to_string());
        parser
            .parse(&output, &dir, &[])
            .findings
            .iter()
            .map(|finding| {
                let path = finding.path.as_deref().unwrap_or("-");
                let code = finding.code.as_deref().unwrap_or("-");
                let (line, column) = (show(finding.line), show(finding.column));
                format!("{path}|{line}|{column}|{code}|{}", finding.message)
            })
            .collect()
    }

    #[test]
    fn a_name_may_look_like_a_place() {
        let place = Place::parse("c:3:4: x.py:1:8: F401 [*] unused").expect("a place");
        assert_eq!((place.path, place.line), ("c:3:4: x.py", 1));
        let place = Place::parse("script:1:8: F401 unused").expect("a place");
        assert_eq!((place.path, place.line), ("script", 1));
    }

    #[test]
    fn check_of_0_5() {
        let stdout = "a.py:1:8: F401 [*] `os` imported but unused\n\
                      sub/bad.py:2:1: SyntaxError: unexpected EOF while parsing\n\
                      Found 2 errors.\n[*] 1 fixable with the `--fix` option.\n";
        let stderr = "error: Failed to parse sub/bad.py:2:1: unexpected EOF while parsing\n";
        assert_eq!(
            findings(&RuffCheck, stdout, stderr),
            [
                "lib/a.py|1|8|F401|`os` imported but unused",
                "lib/sub/bad.py|2|1|invalid-syntax|unexpected EOF while parsing",
            ]
        );
    }

    #[test]
    fn check_of_0_17_with_notebooks_and_colours() {
        let stdout = "\u{1b}[1ma.py\u{1b}[0m:3:10: F821 Undefined name `x: y`\n\
                      n.ipynb:cell 1:1:8: F401 [*] `os` imported but unused\n\
                      sub/bad.py:2:1: invalid-syntax: unexpected EOF while parsing\n\
                      Found 3 errors.\n";
        assert_eq!(
            findings(&RuffCheck, stdout, ""),
            [
                "lib/a.py|3|10|F821|Undefined name `x: y`",
                "lib/n.ipynb|1|8|F401|`os` imported but unused",
                "lib/sub/bad.py|2|1|invalid-syntax|unexpected EOF while parsing",
            ]
        );
        assert_eq!(findings(&RuffCheck, "All checks passed!\n", ""), [""; 0]);
    }

    #[test]
    fn format_of_0_5() {
        let stdout =
            "Would reformat: a.py\nWould reformat: sub/m n.py\n2 files would be reformatted\n";
        let stderr = "error: Failed to parse sub/bad.py:2:1: unexpected EOF while parsing\n";
        assert_eq!(
            findings(&RuffFormat, stdout, stderr),
            [
                "lib/a.py|-|-|unformatted|would be reformatted",
                "lib/sub/m n.py|-|-|unformatted|would be reformatted",
                "lib/sub/bad.py|2|1|invalid-syntax|unexpected EOF while parsing",
            ]
        );
    }

    #[test]
    fn format_of_0_17() {
        let stdout = "unformatted: File would be reformatted\n --> a.py:2:1\n  |\n1 | import os\n  - def f( ):\n2 +\n  |\n\n\
                      unformatted: File would be reformatted\n --> n.ipynb:cell 1:2:1\n ::: cell 1\n  |\n\n\
                      invalid-syntax: unexpected EOF while parsing\n --> sub/bad.py:1:7\n  |\n1 | x = (\n  |      ^\n\n\
                      2 files would be reformatted\n";
        assert_eq!(
            findings(&RuffFormat, stdout, ""),
            [
                "lib/a.py|2|1|unformatted|File would be reformatted",
                "lib/n.ipynb|2|1|unformatted|File would be reformatted",
                "lib/sub/bad.py|1|7|invalid-syntax|unexpected EOF while parsing",
            ]
        );
    }

    proptest! {
        #[test]
        fn arbitrary_output_never_panics(
            text in "(.|\n){0,200}",
            like in "(a.py|:|é| |1|cell |: |-->|\n|error: Failed to parse |Would reformat: |\\[\\*\\]){0,24}",
        ) {
            for parser in [&RuffCheck as &dyn Parse, &RuffFormat] {
                findings(parser, &text, &like);
                findings(parser, &like, &text);
            }
        }
    }
}
