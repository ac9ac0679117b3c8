//! Findings from a SARIF 2.1.0 log on standard output.
//!
//! Reads only what a finding needs and ignores unknown fields. A log covers all files of a run and is not split into
//! shares.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::location::locate;
use crate::finding::{Finding, Severity};
use crate::path::RelPath;
use crate::plan::{Output, Parse, Parsed};

#[derive(Debug)]
pub(crate) struct Sarif;

impl Parse for Sarif {
    fn identity(&self) -> String {
        "sarif/1".to_owned()
    }

    fn parse(&self, output: &Output, dir: &RelPath, files: &[&RelPath]) -> Parsed {
        let asked = files.iter().copied().collect();
        let log: Log = serde_json::from_str(&output.stdout).unwrap_or_default();
        let findings = log
            .runs
            .iter()
            .flat_map(|run| run.results.iter().map(move |result| (run, result)))
            .filter(|(_, result)| result.counts())
            .map(|(run, result)| finding(run, result, dir, &asked))
            .collect();
        Parsed {
            findings,
            shares: None,
        }
    }
}

fn finding(run: &Run, result: &Hit, dir: &RelPath, asked: &BTreeSet<&RelPath>) -> Finding {
    let rule = run.rule(result);
    let id = result
        .rule_id
        .as_ref()
        .or(rule.and_then(|rule| rule.id.as_ref()));
    let place = result
        .locations
        .first()
        .and_then(|location| location.physical_location.as_ref());
    let region = place.and_then(|place| place.region.as_ref());
    let default_level =
        || rule.and_then(|rule| rule.default_configuration.as_ref()?.level.as_deref());
    Finding {
        path: place
            .and_then(|place| place.artifact_location.as_ref()?.uri.as_deref())
            .and_then(|uri| locate(&path_of(uri), dir, asked)),
        line: region.and_then(|region| region.start_line),
        column: region.and_then(|region| region.start_column),
        severity: severity(result.level.as_deref().or_else(default_level)),
        code: id.cloned(),
        message: result.message.text.clone(),
        rendered: None,
    }
}

/// SARIF's default is `warning`.
fn severity(level: Option<&str>) -> Severity {
    match level {
        Some("error") => Severity::Error,
        Some("note" | "none") => Severity::Note,
        _ => Severity::Warning,
    }
}

/// The path of a URI: without `file:` and host, with `%xx` escapes resolved. If the engine has made a room path
/// relative, the path follows `file://` directly.
fn path_of(uri: &str) -> String {
    let path = uri.strip_prefix("file:").unwrap_or(uri);
    let path = path.strip_prefix("//").unwrap_or(path);
    unescape(path.strip_prefix("localhost").unwrap_or(path))
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = match tail {
            [high, low, ..] if first == b'%' => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                bytes.push(high << 4 | low);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Log {
    runs: Vec<Run>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Run {
    tool: Tool,
    /// Null if the tool failed early.
    #[serde(deserialize_with = "null_is_empty")]
    results: Vec<Hit>,
}

impl Run {
    fn rule(&self, result: &Hit) -> Option<&Rule> {
        let by_index = result
            .rule_index
            .and_then(|index| self.tool.driver.rules.get(index));
        by_index.or_else(|| {
            let id = result.rule_id.as_ref()?;
            self.tool
                .driver
                .rules
                .iter()
                .find(|rule| rule.id.as_ref() == Some(id))
        })
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Tool {
    driver: Driver,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Driver {
    rules: Vec<Rule>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Rule {
    id: Option<String>,
    default_configuration: Option<RuleConfiguration>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RuleConfiguration {
    level: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Hit {
    rule_id: Option<String>,
    rule_index: Option<usize>,
    kind: Option<String>,
    level: Option<String>,
    message: Message,
    locations: Vec<Location>,
    #[serde(deserialize_with = "null_is_empty")]
    suppressions: Vec<Suppression>,
}

impl Hit {
    /// Results that report success, or that somebody has accepted, are not findings.
    fn counts(&self) -> bool {
        let fails = matches!(
            self.kind.as_deref(),
            None | Some("fail" | "review" | "open")
        );
        let accepted = |s: &Suppression| matches!(s.status.as_deref(), None | Some("accepted"));
        fails && !self.suppressions.iter().any(accepted)
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Suppression {
    status: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Message {
    text: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Location {
    physical_location: Option<PhysicalLocation>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct PhysicalLocation {
    artifact_location: Option<ArtifactLocation>,
    region: Option<Region>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ArtifactLocation {
    uri: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Region {
    start_line: Option<u32>,
    start_column: Option<u32>,
}

fn null_is_empty<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{output, rel};

    fn findings(text: &str) -> Vec<Finding> {
        Sarif
            .parse(&output(1, text), &RelPath::root(), &[])
            .findings
    }

    fn log(results: Value) -> String {
        let rules = json!([{"id": "R1", "defaultConfiguration": {"level": "error"}}]);
        let run = json!({"tool": {"driver": {"name": "t", "rules": rules}}, "results": results});
        json!({"version": "2.1.0", "runs": [run]}).to_string()
    }

    fn at(uri: &str) -> Value {
        json!([{"physicalLocation": {
            "artifactLocation": {"uri": uri, "uriBaseId": "%SRCROOT%"},
            "region": {"startLine": 3, "startColumn": 5},
        }}])
    }

    #[test]
    fn a_result_becomes_a_finding() {
        let text = log(json!([
            {"ruleId": "S2", "level": "note", "message": {"text": "m"}, "locations": at("src/a%20b.c")},
        ]));
        let expected = Finding {
            path: Some(rel("src/a b.c")),
            line: Some(3),
            column: Some(5),
            severity: Severity::Note,
            code: Some("S2".to_owned()),
            message: "m".to_owned(),
            rendered: None,
        };
        assert_eq!(findings(&text), [expected]);
    }

    #[test]
    fn the_level_comes_from_the_result_then_the_rule_then_the_standard() {
        let text = log(json!([
            {"ruleId": "R1", "level": "warning", "message": {"text": "a"}},
            {"ruleId": "R1", "message": {"text": "b"}},
            {"ruleIndex": 0, "message": {"text": "c"}},
            {"ruleId": "R9", "message": {"text": "d"}},
        ]));
        let found = findings(&text);
        let levels: Vec<_> = found.iter().map(|f| f.severity).collect();
        use Severity::{Error, Warning};
        assert_eq!(levels, [Warning, Error, Error, Warning]);
        assert_eq!(found[2].code.as_deref(), Some("R1"));
    }

    #[test]
    fn passes_and_accepted_results_are_no_findings() {
        let text = log(json!([
            {"kind": "pass", "message": {"text": "a"}},
            {"suppressions": [{"kind": "inSource"}], "message": {"text": "b"}},
            {"suppressions": [{"kind": "external", "status": "rejected"}], "message": {"text": "c"}},
            {"suppressions": null, "message": {"text": "d"}},
        ]));
        let messages: Vec<_> = findings(&text).into_iter().map(|f| f.message).collect();
        assert_eq!(messages, ["c", "d"]);
    }

    #[test]
    fn places_outside_the_project_keep_the_finding_without_a_path() {
        for (uri, path) in [
            ("file:///usr/include/a.h", None),
            ("../x", None),
            ("file:src/a.c", Some(rel("src/a.c"))),
            ("file://src/a.c", Some(rel("src/a.c"))),
            ("a%zz", Some(rel("a%zz"))),
        ] {
            let found = findings(&log(
                json!([{"message": {"text": "m"}, "locations": at(uri)}]),
            ));
            assert_eq!(found.first().map(|f| f.path.clone()), Some(path), "{uri}");
        }
    }

    #[test]
    fn what_is_no_log_holds_no_findings() {
        for text in [
            "",
            "{",
            "[]",
            "{}",
            "{\"runs\": 1}",
            "{\"runs\":[{\"results\":null}]}",
        ] {
            assert_eq!(findings(text), [], "{text}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_output_never_panics(bytes in any::<Vec<u8>>(), uri in ".*") {
            let _ = findings(&String::from_utf8_lossy(&bytes));
            let _ = findings(&log(json!([{"locations": at(&uri)}])));
        }

        #[test]
        fn nearly_right_output_never_panics(text in crate::testing::damaged_text(&log(json!([{"locations": at("a")}])))) {
            let _ = findings(&text);
        }
    }
}
