//! Turns errors of `kustomize build` into findings.
//!
//! It stops at the first error and prints one line: a chain of causes with the folders it was in. The finding is
//! about the innermost one: its kustomization, or the file it names. Line numbers in it count within one YAML
//! document and are often off by one, so they stay in the message; `yaml:syntax` has the right ones.

use std::collections::BTreeMap;

use crate::finding::{Finding, Severity};
use crate::path::RelPath;
use crate::plan::{Output, Parse, Parsed};

/// Parses the errors of one build.
#[derive(Debug)]
pub(super) struct BuildErrors {
    /// The folder being built.
    pub(crate) dir: RelPath,
    /// The kustomization file of each folder of its closure.
    pub(crate) kustomizations: BTreeMap<RelPath, RelPath>,
}

impl Parse for BuildErrors {
    fn identity(&self) -> String {
        "kustomize/1".to_owned()
    }

    fn parse(&self, output: &Output, _: &RelPath, _: &[&RelPath]) -> Parsed {
        let errors = output
            .stderr
            .lines()
            .filter_map(|line| line.strip_prefix("Error: "));
        Parsed {
            findings: errors.map(|error| self.finding(error)).collect(),
            shares: None,
        }
    }
}

impl BuildErrors {
    fn finding(&self, error: &str) -> Finding {
        let (folder, cause) = innermost(error);
        let dir = folder.and_then(|path| RelPath::new(path).ok());
        let dir = dir.unwrap_or_else(|| self.dir.clone());
        let named = named_file(cause).and_then(|file| dir.join(file).ok());
        Finding {
            path: named.or_else(|| self.kustomizations.get(&dir).cloned()),
            line: None,
            column: None,
            severity: Severity::Error,
            code: None,
            message: cause.trim().to_owned(),
            rendered: None,
        }
    }
}

/// The innermost folder of the chain, and the error in it.
fn innermost(error: &str) -> (Option<&str>, &str) {
    let markers = [
        "recursed accumulation of path '",
        "couldn't make target for path '",
    ];
    let last = markers
        .iter()
        .filter_map(|marker| Some(error.rfind(marker)? + marker.len()))
        .max();
    let named = last.and_then(|at| error.get(at..)?.split_once("': "));
    named.map_or((None, error), |(folder, cause)| (Some(folder), cause))
}

/// The file in `… in File: NAME`.
fn named_file(cause: &str) -> Option<&str> {
    let (_, name) = cause.rsplit_once(" in File: ")?;
    let name = name.trim_end_matches(['\'', '"']).trim();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(stderr: &str, path: Option<&str>, message: &str) {
        let rel = |text: &str| RelPath::new(text).expect(text);
        let parse = BuildErrors {
            dir: rel("b"),
            kustomizations: BTreeMap::from([
                (rel("a"), rel("a/kustomization.yml")),
                (rel("b"), rel("b/kustomization.yaml")),
            ]),
        };
        let output = Output {
            exit_code: 1,
            stderr: stderr.to_owned(),
            ..Output::default()
        };
        let findings = parse.parse(&output, &RelPath::root(), &[]).findings;
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].path.as_deref(), path);
        assert_eq!(findings[0].message, message);
    }

    #[test]
    fn an_error_of_the_folder_itself_is_about_its_kustomization() {
        check(
            "# Warning: 'bases' is deprecated.\nError: invalid Kustomization: json: unknown field \"foo\"\n",
            Some("b/kustomization.yaml"),
            "invalid Kustomization: json: unknown field \"foo\"",
        );
    }

    #[test]
    fn an_error_below_is_about_the_innermost_folder() {
        let chain = "Error: accumulating resources: accumulation err='accumulating resources from '../a': 'a' must \
                     resolve to a file': couldn't make target for path 'a': invalid Kustomization: no\n";
        check(
            chain,
            Some("a/kustomization.yml"),
            "invalid Kustomization: no",
        );
    }

    #[test]
    fn a_file_that_is_named_is_what_it_is_about() {
        let chain = "Error: accumulating resources: err='x': recursed accumulation of path 'a': accumulating resources \
                     from 'x.yaml': MalformedYAMLError: yaml: line 3: no in File: x.yaml\n";
        let message = "accumulating resources from 'x.yaml': MalformedYAMLError: yaml: line 3: no in File: x.yaml";
        check(chain, Some("a/x.yaml"), message);
    }

    #[test]
    fn a_folder_outside_the_project_gives_no_path() {
        check("Error: recursed accumulation of path 'c': no\n", None, "no");
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_output_never_panics(text in "(Error: |recursed accumulation of path '|': | in File: |a|\n|.)*") {
            let parse = BuildErrors { dir: RelPath::root(), kustomizations: BTreeMap::new() };
            let output = Output { exit_code: 1, stderr: text, ..Output::default() };
            parse.parse(&output, &RelPath::root(), &[]);
        }
    }
}
