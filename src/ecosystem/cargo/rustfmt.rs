//! `rust:fmt`: the verdict of `cargo fmt --all --check`, keyed by what rustfmt reads.
//!
//! `cargo fmt` runs one rustfmt per edition. If all targets have the same edition (with inheritance), the check is
//! this single rustfmt, which sees the module closure of the target roots and their `rustfmt.toml` chain: manifests
//! and other files do not matter. Otherwise the check is `cargo-fmt`, with the manifests as inputs. In both cases,
//! configured arguments go to rustfmt.
//!
//! Configuration in the user's home is ignored (a room may be below it although the project is not): if no target
//! root has any, an empty one is named.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::path::RelPath;
use crate::plan::check::{Command, Inputs, OutsideFile, Tool, Work};
use crate::scope::Scope;
use crate::snapshot::FileId;

use super::closure::closure;
use super::config::{RUSTFMT_CONFIG, chains};
use super::loading::Loading;
use super::programs::Programs;
use super::rustfmt_output::RustfmtOutput;
use super::workspace::{Target, Workspace};

/// The configuration for rustfmt if the project has none.
const EMPTY_CONFIG: &str = "/dev/null";

/// The check's work, inputs, and why its result is not stored, if so.
#[must_use]
pub(crate) fn plan(
    scope: &Scope<'_>,
    programs: Programs<'_>,
    dir: &RelPath,
    workspace: &Workspace,
) -> (Work, Inputs, Option<String>) {
    let roots: Vec<RelPath> = workspace.targets.iter().map(|t| t.path.clone()).collect();
    let closure = closure(scope, &roots);
    let config = configuration(scope, programs, &roots, &closure.files);
    let mut files = closure.files;
    let outside = closure.outside.map(|path| {
        format!(
            "a module is outside the project (`#[path = \"{path}\"]`) and cannot be part of the key"
        )
    });

    let editions: BTreeSet<&str> = workspace
        .targets
        .iter()
        .map(|t| t.edition.as_str())
        .collect();
    let mut editions = editions.into_iter();
    let (argv, tools) = match (editions.next(), editions.next()) {
        (Some(edition), None) => (
            rustfmt_argv(edition, dir, &workspace.targets, config.argument.as_deref()),
            tools(programs, &["rustfmt"]),
        ),
        _ => {
            files.extend(Loading::of(scope).by_content());
            (
                cargo_fmt_argv(config.argument.as_deref()),
                tools(programs, &["cargo", "cargo-fmt", "rustc", "rustfmt"]),
            )
        }
    };
    let inputs = Inputs::whole(files).and_config(config.files);
    let inputs = inputs.and_outside(config.outside);
    let work = match tools {
        Ok(tools) => command(argv, dir, tools).into(),
        Err(message) => Work::Missing(message),
    };
    (work, inputs, outside.or(config.not_cached))
}

fn command(argv: Vec<String>, dir: &RelPath, tools: Vec<Tool>) -> Command {
    Command::new(argv, dir.clone(), tools, Arc::new(RustfmtOutput))
}

fn rustfmt_argv(
    edition: &str,
    dir: &RelPath,
    targets: &[Target],
    config: Option<&str>,
) -> Vec<String> {
    let mut argv: Vec<String> = ["rustfmt", "--check", "--edition", edition]
        .map(str::to_owned)
        .to_vec();
    argv.extend(config.map(str::to_owned));
    argv.extend(targets.iter().map(|target| target.path.seen_from(dir)));
    argv
}

fn cargo_fmt_argv(config: Option<&str>) -> Vec<String> {
    ["cargo-fmt", "--all", "--check", "--"]
        .into_iter()
        .chain(config)
        .map(str::to_owned)
        .collect()
}

fn tools(programs: Programs<'_>, names: &[&str]) -> Result<Vec<Tool>, String> {
    let tool = |name: &&str| programs.tool(name, "rustfmt");
    names.iter().map(tool).collect()
}

/// The configuration that rustfmt finds: for each target root, the nearest file in its folder or above.
struct Configuration {
    files: Vec<FileId>,
    outside: Vec<OutsideFile>,
    argument: Option<String>,
    not_cached: Option<String>,
}

fn configuration(
    scope: &Scope<'_>,
    programs: Programs<'_>,
    roots: &[RelPath],
    closure: &BTreeSet<FileId>,
) -> Configuration {
    let folders: BTreeSet<RelPath> = closure
        .iter()
        .filter_map(|id| scope.snapshot.entry(*id).path.parent())
        .collect();
    let folders: Vec<RelPath> = folders.into_iter().collect();
    let mut found = Configuration {
        files: chains(scope, &folders, RUSTFMT_CONFIG),
        outside: Vec::new(),
        argument: None,
        not_cached: None,
    };
    let covered = |root: &&RelPath| {
        let folder = root.parent().unwrap_or_default();
        !scope.chain(&folder, RUSTFMT_CONFIG).is_empty()
    };
    if roots.iter().all(|root| covered(&root)) {
        return found;
    }
    found.outside = scope.above(RUSTFMT_CONFIG);
    if !found.outside.is_empty() {
        return found;
    }
    if !roots.iter().any(|root| covered(&root)) {
        found.argument = Some(format!("--config-path={EMPTY_CONFIG}"));
    } else if programs.host().is_some()
        && let Some(file) = home_config(scope)
    {
        found.not_cached = Some(format!(
            "rustfmt uses `{file}` in the home directory for some crates and the project's configuration for others"
        ));
    }
    found
}

fn home_config(scope: &Scope<'_>) -> Option<String> {
    let home = scope.home()?;
    RUSTFMT_CONFIG
        .iter()
        .find(|name| home.join(name).is_file())
        .map(|name| format!("~/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appended_arguments_are_rustfmts_in_both_forms() {
        let target = Target {
            path: RelPath::new("w/src/lib.rs").unwrap(),
            edition: "2021".to_owned(),
            kind: "lib".to_owned(),
        };
        let dir = RelPath::new("w").unwrap();
        assert_eq!(
            rustfmt_argv("2021", &dir, &[target], Some("--config-path=/dev/null")),
            [
                "rustfmt",
                "--check",
                "--edition",
                "2021",
                "--config-path=/dev/null",
                "src/lib.rs"
            ]
        );
        assert_eq!(cargo_fmt_argv(None).last().map(String::as_str), Some("--"));
    }
}
