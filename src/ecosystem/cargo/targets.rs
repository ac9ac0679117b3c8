//! The targets of a workspace that `rust:clippy` checks: all, except those that its authors cannot check either.
//!
//! - Tests, examples or benchmarks that enable unstable features, on a toolchain that rejects them: the whole kind is
//!   skipped, because excluding a single target from cargo means naming all others.
//! - Tests, examples and benchmarks of all packages, if a program has no standard library, which the test harness
//!   needs.
//!
//! A library or program that needs another toolchain stays, because plain `cargo clippy` fails on it, too.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::path::RelPath;
use crate::scope::Scope;

use super::config::cargo_config;
use super::workspace::Workspace;

/// The targets to check, and those to skip.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    /// Whether there is a library.
    has_library: bool,
    /// Kinds that are skipped because one of their targets enables an unstable feature.
    unstable: BTreeSet<&'static str>,
    /// The targets that enable one.
    culprits: Vec<RelPath>,
    /// The program without a standard library.
    bare: Option<RelPath>,
}

/// Kinds of targets that are checked only because of `--all-targets`, with their arguments.
const EXTRA: [(&str, &str); 3] = [
    ("test", "--tests"),
    ("example", "--examples"),
    ("bench", "--benches"),
];

/// The attributes of a target's root file.
#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize)]
struct Attributes {
    feature: bool,
    no_std: bool,
    no_main: bool,
}

impl Attributes {
    fn of(text: &str) -> Self {
        let has = |attribute: &str| {
            text.lines()
                .any(|line| line.trim_start().starts_with(attribute))
        };
        Self {
            feature: has("#![feature("),
            no_std: has("#![no_std]"),
            no_main: has("#![no_main]"),
        }
    }
}

impl Selection {
    /// For a workspace with this version of rustc.
    pub(crate) fn of(
        scope: &Scope<'_>,
        dir: &RelPath,
        workspace: &Workspace,
        version: Option<&str>,
    ) -> Self {
        let unstable = |version: &str| {
            ["-nightly", "-dev"]
                .iter()
                .any(|mark| version.contains(mark))
        };
        let stable = !version.is_none_or(unstable);
        let bare_target = cargo_config(scope, dir).iter().any(|id| {
            let text = scope
                .text(&scope.snapshot.entry(*id).path)
                .unwrap_or_default();
            let target =
                |line: &str| line.trim_start().starts_with("target") && line.contains("-none");
            text.lines().any(target)
        });
        let mut selection = Self::default();
        for target in &workspace.targets {
            let said = attributes(scope, &target.path);
            let extra = EXTRA.iter().find(|(kind, _)| *kind == target.kind);
            selection.has_library |= matches!(
                target.kind.as_str(),
                "lib" | "rlib" | "proc-macro" | "cdylib" | "dylib" | "staticlib"
            );
            if let Some((kind, _)) = extra.filter(|_| stable && said.feature) {
                selection.unstable.insert(kind);
                selection.culprits.push(target.path.clone());
            }
            let bare = said.no_std && (bare_target || target.kind == "bin" && said.no_main);
            if bare && !target.kind.is_empty() && selection.bare.is_none() {
                selection.bare = Some(target.path.clone());
            }
        }
        selection
    }

    /// The arguments that select the targets.
    pub(crate) fn flags(&self) -> Vec<&'static str> {
        if self.bare.is_some() {
            return Vec::new();
        }
        if self.unstable.is_empty() {
            return vec!["--all-targets"];
        }
        let kept = EXTRA
            .iter()
            .filter(|(kind, _)| !self.unstable.contains(kind));
        let library = self.has_library.then_some("--lib");
        let flags = library.into_iter().chain(["--bins"]);
        flags.chain(kept.map(|(_, flag)| *flag)).collect()
    }

    /// The warning about targets that the check `id` skips.
    pub(crate) fn warning(&self, id: &str) -> Option<String> {
        if let Some(path) = &self.bare {
            return Some(format!(
                "`{id}` skips tests, examples and benchmarks, because they need the standard library and `{path}` has none"
            ));
        }
        let first = self.culprits.first()?;
        let kinds: Vec<String> = self
            .unstable
            .iter()
            .map(|kind| format!("{kind} targets"))
            .collect();
        Some(format!(
            "`{id}` skips {}, because `{first}` enables unstable features and the toolchain is stable",
            kinds.join(", ")
        ))
    }
}

fn attributes(scope: &Scope<'_>, path: &RelPath) -> Attributes {
    let Some(id) = scope.snapshot.find(path) else {
        return Attributes::default();
    };
    let digest = scope.snapshot.entry(id).digest;
    let said = scope.facts.derive("rust-attributes/1", digest, || {
        scope.text(path).map(|text| Attributes::of(&text)).ok_or(())
    });
    said.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ecosystem::cargo::workspace::Target;
    use crate::testing::project::Project;

    const STABLE: Option<&str> = Some("rustc 1.95.0 (59807616e 2026-04-14)");

    fn selected(files: &[(&str, &str)], version: Option<&str>) -> (Vec<&'static str>, bool) {
        let kind = |path: &str| match path {
            "benches/b.rs" => "bench",
            "src/main.rs" => "bin",
            "tests/t.rs" => "test",
            _ => "lib",
        };
        let target = |(path, _): &(&str, &str)| Target {
            path: RelPath::new(path).unwrap(),
            edition: "2021".to_owned(),
            kind: kind(path).to_owned(),
        };
        let workspace = Workspace {
            targets: files
                .iter()
                .filter(|(path, _)| path.ends_with(".rs"))
                .map(target)
                .collect(),
            ..Workspace::default()
        };
        let project = Project::new(files);
        let scope = project.scope();
        let selection = Selection::of(&scope, &RelPath::root(), &workspace, version);
        (
            selection.flags(),
            selection.warning("rust:clippy").is_some(),
        )
    }

    #[test]
    fn targets_with_unstable_features_are_left_out_where_they_cannot_compile() {
        let files = [
            ("benches/b.rs", "#![feature(test)]"),
            ("src/lib.rs", ""),
            ("tests/t.rs", ""),
        ];
        let fewer = vec!["--lib", "--bins", "--tests", "--examples"];
        assert_eq!(selected(&files, STABLE), (fewer, true));
        for version in [Some("rustc 1.97.0-nightly (x)"), None] {
            assert_eq!(selected(&files, version), (vec!["--all-targets"], false));
        }
        let library = [("src/lib.rs", "#![feature(test)]")];
        assert_eq!(selected(&library, STABLE), (vec!["--all-targets"], false));
    }

    #[test]
    fn without_a_standard_library_there_are_no_tests() {
        let bare = "#![no_std]\n#![no_main]\n";
        assert_eq!(selected(&[("src/main.rs", bare)], STABLE), (vec![], true));
        let config = (
            ".cargo/config.toml",
            "[build]\ntarget = \"thumbv7em-none-eabihf\"",
        );
        let library = ("src/lib.rs", "#![no_std]");
        assert_eq!(selected(&[config, library], STABLE), (vec![], true));
        assert_eq!(selected(&[library], STABLE), (vec!["--all-targets"], false));
    }
}
