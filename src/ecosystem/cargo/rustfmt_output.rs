//! Parses the output of `rustfmt --check`.

use crate::finding::{Finding, Severity};
use crate::path::RelPath;
use crate::plan::output::{Output, Parse, Parsed};

use crate::plan::output::plain;

use super::output::{error_blocks, project_path};

const NOT_FORMATTED: &str = "not formatted";

/// Parses diffs on stdout and errors on stderr.
#[derive(Debug)]
pub(crate) struct RustfmtOutput;

impl Parse for RustfmtOutput {
    fn identity(&self) -> String {
        "rustfmt/2".to_owned()
    }

    fn parse(&self, output: &Output, _: &RelPath, _: &[&RelPath]) -> Parsed {
        let mut findings = diffs(&output.stdout);
        findings.extend(error_blocks(&output.stderr));
        findings.extend(other_errors(&output.stderr));
        Parsed {
            findings,
            shares: None,
        }
    }
}

/// `Diff in PATH:LINE:`, before 1.77 `Diff in PATH at line LINE:`, each followed by its hunk.
fn diffs(stdout: &str) -> Vec<Finding> {
    let text = plain(stdout);
    let mut found: Vec<Finding> = Vec::new();
    for line in text.lines() {
        if let Some((path, number)) = header(line) {
            found.push(unformatted(path, Some(number)));
        } else if let Some(path) = line.strip_prefix("Incorrect newline style in ") {
            found.push(unformatted(path, None));
        } else if let Some(last) = found.last_mut()
            && line.starts_with([' ', '+', '-'])
        {
            let hunk = last.rendered.get_or_insert_default();
            hunk.push_str(line);
            hunk.push('\n');
        }
    }
    found
}

fn header(line: &str) -> Option<(&str, u32)> {
    let rest = line.strip_prefix("Diff in ")?.strip_suffix(':')?;
    let (path, number) = rest
        .rsplit_once(" at line ")
        .or_else(|| rest.rsplit_once(':'))?;
    Some((path, number.parse().ok()?))
}

fn unformatted(path: &str, line: Option<u32>) -> Finding {
    let place = line.map_or_else(|| path.to_owned(), |line| format!("{path}:{line}"));
    Finding {
        path: project_path(path),
        line,
        column: None,
        severity: Severity::Error,
        code: None,
        message: NOT_FORMATTED.to_owned(),
        rendered: Some(format!("error: {NOT_FORMATTED}\n --> {place}\n")),
    }
}

/// Errors other than diagnostics of rustc: `Error writing files: failed to resolve mod …`.
fn other_errors(stderr: &str) -> Vec<Finding> {
    let text = plain(stderr);
    text.lines()
        .filter_map(|line| {
            let message = line
                .strip_prefix("Error writing files: ")
                .or_else(|| line.strip_prefix("Error: "))?;
            Some(Finding {
                message: message.trim().to_owned(),
                rendered: None,
                ..unformatted("", None)
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn findings(stdout: &str, stderr: &str) -> Vec<(String, Option<u32>, String)> {
        let output = Output {
            exit_code: 1,
            stdout: stdout.to_owned(),
            stderr: stderr.to_owned(),
        };
        let parsed = RustfmtOutput.parse(&output, &RelPath::root(), &[]);
        let of = |f: Finding| {
            let path = f.path.map_or_else(String::new, |path| path.to_string());
            (path, f.line, f.message)
        };
        parsed.findings.into_iter().map(of).collect()
    }

    #[test]
    fn both_forms_of_a_diff_are_read() {
        let stdout = "Diff in src/main.rs:1:\n\u{1b}[31m-fn main( ) {}\n\u{1b}(B\u{1b}[m\u{1b}[32m+fn main() {}\n\u{1b}(B\u{1b}[m \nDiff in a b.rs at line 7:\n-x\n+y\n";
        let unformatted = || "not formatted".to_owned();
        assert_eq!(
            findings(stdout, ""),
            [
                ("src/main.rs".to_owned(), Some(1), unformatted()),
                ("a b.rs".to_owned(), Some(7), unformatted()),
            ]
        );
        let hunk = diffs(stdout).remove(0).rendered;
        let said = "error: not formatted\n --> src/main.rs:1\n-fn main( ) {}\n+fn main() {}\n \n";
        assert_eq!(hunk.as_deref(), Some(said));
    }

    #[test]
    fn errors_are_findings_too() {
        let stderr = "error: this file contains an unclosed delimiter\n --> src/main.rs:2:13\n  |\n2 | fn main( {}\n\n\
            Error writing files: failed to resolve mod `nope`: src/nope.rs does not exist\n";
        let found = findings("", stderr);
        assert_eq!(found[0].0, "src/main.rs");
        assert_eq!(found[0].1, Some(2));
        assert!(found[1].2.starts_with("failed to resolve mod `nope`"));
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn code_that_looks_like_a_header_stays_in_its_hunk() {
        let found = findings("Diff in a.rs:1:\n-Diff in b.rs:2:\n Diff in c.rs:3:\n", "");
        assert_eq!(found.len(), 1);
    }

    proptest! {
        #[test]
        fn arbitrary_output_never_panics(
            stdout in "(Diff in |:[0-9]{1,12}| at line |:|\\PC|\n){0,40}",
            stderr in "\\PC{0,100}"
        ) {
            let _ = findings(&stdout, &stderr);
        }
    }
}
