//! Parses the output of `cargo … --message-format=json`.
//!
//! Spans are relative to the workspace folder for packages in it, and to the project root for others (rustc gets
//! absolute paths there, which the engine makes relative). A diagnostic inside another package's macro is placed
//! where the macro is called. The same diagnostic for several targets is one finding.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::finding::{Finding, Severity};
use crate::path::RelPath;
use crate::plan::output::{Output, Parse, Parsed};

use crate::plan::output::plain;

use super::output::{error_blocks, project_path};

/// Parses compiler messages on stdout and, if they contain no error, cargo's own errors on stderr.
#[derive(Debug)]
pub(crate) struct CargoJson;

impl Parse for CargoJson {
    fn identity(&self) -> String {
        "cargo-json/3".to_owned()
    }

    fn parse(&self, output: &Output, dir: &RelPath, _: &[&RelPath]) -> Parsed {
        let mut seen = BTreeSet::new();
        let mut findings: Vec<Finding> = output
            .stdout
            .lines()
            .filter_map(|line| finding(line, dir))
            .filter(|finding| seen.insert(finding.clone()))
            .collect();
        let failed = |finding: &Finding| finding.severity == Severity::Error;
        if output.exit_code != 0 && !findings.iter().any(failed) {
            findings.extend(error_blocks(&output.stderr));
        }
        if output.exit_code != 0 && fails_in_extra_targets(&output.stdout) {
            findings.push(hint(has_library(&output.stdout)));
        }
        Parsed {
            findings,
            shares: None,
        }
    }
}

/// One line of cargo's JSON; only compiler messages have `message`.
#[derive(Deserialize)]
struct Line {
    reason: String,
    #[serde(default)]
    manifest_path: String,
    message: Option<Message>,
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Message {
    message: String,
    level: String,
    code: Option<Code>,
    #[serde(default)]
    spans: Vec<Span>,
    rendered: Option<String>,
}

#[derive(Deserialize)]
struct Code {
    code: String,
}

#[derive(Deserialize)]
struct Span {
    file_name: String,
    line_start: u32,
    column_start: u32,
    is_primary: bool,
    expansion: Option<Box<Expansion>>,
}

#[derive(Deserialize)]
struct Expansion {
    span: Span,
}

/// Whether all errors come from the compiler rather than lints, in targets that plain `cargo clippy` does not build.
fn fails_in_extra_targets(stdout: &str) -> bool {
    let lines = stdout
        .lines()
        .filter_map(|line| serde_json::from_str::<Line>(line).ok());
    let errors = lines.filter(|line| {
        let message = line.message.as_ref();
        message.is_some_and(|message| message.level.starts_with("error") && !is_summary(message))
    });
    let mut kinds = errors.map(|line| {
        let code = line
            .message
            .as_ref()
            .and_then(|message| message.code.as_ref());
        let is_lint = code.is_some_and(|code| !code.code.starts_with('E'));
        let kinds = line.target.map(|target| target.kind).unwrap_or_default();
        let extra = |kind: &String| matches!(kind.as_str(), "test" | "bench" | "example");
        let harness = line
            .message
            .is_some_and(|m| m.message.contains("can't find crate for `test`"));
        !is_lint && (harness || kinds.iter().any(extra))
    });
    kinds.next() == Some(true) && kinds.all(|extra| extra)
}

/// Whether cargo named a library among what it checked. Without one, `--lib` is an error.
fn has_library(stdout: &str) -> bool {
    const OTHERS: [&str; 5] = ["bin", "test", "bench", "example", "custom-build"];
    let lines = stdout.lines();
    let lines = lines.filter_map(|line| serde_json::from_str::<Line>(line).ok());
    let ours = lines.filter(|line| project_path(&line.manifest_path).is_some());
    let mut kinds = ours
        .filter_map(|line| line.target)
        .flat_map(|target| target.kind);
    kinds.any(|kind| !OTHERS.contains(&kind.as_str()))
}

fn hint(has_library: bool) -> Finding {
    let args = match has_library {
        true => "[\"--lib\", \"--bins\"]",
        false => "[\"--bins\"]",
    };
    Finding {
        path: None,
        line: None,
        column: None,
        severity: Severity::Note,
        code: None,
        message: format!(
            "only tests, examples or benchmarks do not compile, which `cargo clippy` alone would not check; to leave \
             them out, set `args = {args}` in `[checks.\"rust:clippy\"]`"
        ),
        rendered: None,
    }
}

fn finding(line: &str, dir: &RelPath) -> Option<Finding> {
    let line: Line = serde_json::from_str(line).ok()?;
    if line.reason != "compiler-message" {
        return None;
    }
    let message = line.message?;
    if is_summary(&message) {
        return None;
    }
    let package = project_path(&line.manifest_path).and_then(|manifest| manifest.parent());
    let base = match package {
        Some(package) if !package.starts_with(dir) => RelPath::root(),
        _ => dir.clone(),
    };
    let primary = message.spans.iter().find(|span| span.is_primary);
    let place = primary.and_then(|span| place(span, &base));
    Some(Finding {
        line: place.as_ref().map(|(_, span)| span.line_start),
        column: place.as_ref().map(|(_, span)| span.column_start),
        path: place.map(|(path, _)| path),
        severity: severity(&message.level),
        code: message.code.map(|code| code.code),
        message: plain(&message.message),
        rendered: message.rendered.map(|text| plain(&text)),
    })
}

/// `aborting due to …`, `3 warnings emitted`, `For more information …`: they repeat other messages.
fn is_summary(message: &Message) -> bool {
    let text = &message.message;
    let counts = text.starts_with("aborting due to ")
        || text.ends_with(" warning emitted")
        || text.ends_with(" warnings emitted");
    message.level == "failure-note"
        || (message.spans.is_empty() && message.code.is_none() && counts)
}

/// The span, or the innermost call of its macro, that is in the project.
fn place<'a>(span: &'a Span, base: &RelPath) -> Option<(RelPath, &'a Span)> {
    let mut next = Some(span);
    while let Some(span) = next {
        let inside = project_path(&span.file_name).and_then(|path| base.join(&path).ok());
        if let Some(path) = inside {
            return Some((path, span));
        }
        next = span.expansion.as_ref().map(|expansion| &expansion.span);
    }
    None
}

fn severity(level: &str) -> Severity {
    match level {
        "warning" => Severity::Warning,
        "note" | "help" => Severity::Note,
        // `error` and `error: internal compiler error`.
        _ => Severity::Error,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn span(file: &str, line: u32, expansion: Option<Value>) -> Value {
        json!({"file_name": file, "line_start": line, "column_start": 2, "is_primary": true,
            "expansion": expansion.map(|span| json!({"span": span}))})
    }

    fn message(manifest: &str, text: &str, span: Value) -> String {
        json!({"reason": "compiler-message", "manifest_path": manifest, "message": {
            "message": text, "level": "warning", "code": {"code": "clippy::x"}, "spans": [span],
            "rendered": "\u{1b}[33mwarning\u{1b}[0m: x"}})
        .to_string()
    }

    fn parse(stdout: &str, stderr: &str, dir: &str) -> Vec<Finding> {
        let output = Output {
            exit_code: 101,
            stdout: stdout.to_owned(),
            stderr: stderr.to_owned(),
        };
        let dir = RelPath::new(dir).unwrap();
        CargoJson.parse(&output, &dir, &[]).findings
    }

    fn paths(findings: &[Finding]) -> Vec<&str> {
        let text = |f: &'_ Finding| f.path.is_some();
        assert!(findings.iter().all(text), "{findings:?}");
        findings.iter().filter_map(|f| f.path.as_deref()).collect()
    }

    #[test]
    fn the_same_message_of_two_targets_is_one_finding() {
        let line = message("w/a/Cargo.toml", "m", span("a/src/lib.rs", 3, None));
        let found = parse(&format!("{line}\nno json\n{line}\n"), "", "w");
        assert_eq!(paths(&found), ["w/a/src/lib.rs"]);
        assert_eq!((found[0].line, found[0].column), (Some(3), Some(2)));
        assert_eq!(found[0].code.as_deref(), Some("clippy::x"));
        assert_eq!(found[0].rendered.as_deref(), Some("warning: x"));
    }

    #[test]
    fn packages_outside_the_workspace_are_relative_to_the_root() {
        let line = message("lib/Cargo.toml", "m", span("lib/src/lib.rs", 1, None));
        assert_eq!(paths(&parse(&line, "", "w")), ["lib/src/lib.rs"]);
    }

    #[test]
    fn macros_of_others_are_placed_at_their_call() {
        let call = span("src/a.rs", 9, None);
        let inner = span("/home/u/.cargo/registry/src/x/lib.rs", 1, Some(call));
        let found = parse(&message("Cargo.toml", "m", inner), "", "");
        assert_eq!((paths(&found), found[0].line), (vec!["src/a.rs"], Some(9)));
    }

    #[test]
    fn summaries_are_no_findings_and_cargos_own_errors_count_only_alone() {
        let summary = json!({"reason": "compiler-message", "message":
            {"message": "aborting due to 1 previous error", "level": "error", "code": null, "spans": []}});
        let stderr = "error: could not compile `a` (lib) due to 1 previous error\n";
        let found = parse(&summary.to_string(), stderr, "");
        assert_eq!(found.len(), 1);
        assert!(found[0].message.starts_with("could not compile"));
        let error = message("Cargo.toml", "m", span("src/a.rs", 1, None))
            .replace("warning\",\"code", "error\",\"code");
        let found = parse(&error, stderr, "");
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].severity, Severity::Error);
    }

    #[test]
    fn errors_in_tests_alone_come_with_a_way_out() {
        let error = |code: &str, kind: &str| {
            json!({"reason": "compiler-message", "target": {"kind": [kind]}, "message":
                {"message": "m", "level": "error", "code": {"code": code}, "spans": []}})
            .to_string()
        };
        let hinted = |lines: &[String]| parse(&lines.join("\n"), "", "").len() > lines.len();
        assert!(hinted(&[error("E0554", "bench"), error("E0432", "test")]));
        assert!(!hinted(&[error("E0554", "bench"), error("E0432", "lib")]));
        assert!(!hinted(&[error("clippy::all", "test")]));
        let advice = |kind: &str| {
            let artifact = json!({"reason": "compiler-artifact", "manifest_path": "a/Cargo.toml",
                "target": {"kind": [kind]}});
            let lines = [artifact.to_string(), error("E0432", "test")].join("\n");
            parse(&lines, "", "").pop().expect("advice").message
        };
        assert!(advice("lib").contains(r#"["--lib", "--bins"]"#));
        // Without a library, `--lib` is an error.
        assert!(advice("bin").contains(r#"`args = ["--bins"]`"#));
    }

    proptest! {
        #[test]
        fn arbitrary_output_never_panics(stdout in "\\PC{0,100}", stderr in "\\PC{0,100}") {
            let _ = parse(&stdout, &stderr, "");
        }

        #[test]
        fn nearly_right_output_never_panics(
            stdout in crate::testing::damaged_text(&message("a/Cargo.toml", "m", span("a/src/lib.rs", 3, None))),
        ) {
            let _ = parse(&stdout, "", "a");
        }

        #[test]
        fn arbitrary_places_never_panic(file in "\\PC{0,30}", manifest in "\\PC{0,30}", line: u32) {
            let _ = parse(&message(&manifest, "m", span(&file, line, None)), "", "w");
        }
    }
}
