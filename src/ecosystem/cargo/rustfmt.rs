//! `rust:fmt`: the verdict of `cargo fmt --all --check`, keyed by what rustfmt reads.
//!
//! `cargo fmt` runs one rustfmt per edition. If all targets have the same edition (with inheritance), the check is
//! this single rustfmt, which sees every Rust file and the `rustfmt.toml` chains: manifests and other files do not
//! matter. Which files are modules of the targets is not asked: only rustfmt's own parser knows. Otherwise the check is
//! `cargo-fmt`, with the manifests as inputs. In both cases, configured arguments go to rustfmt.
//!
//! Configuration in the user's home is ignored (a room may be below it although the project is not): if no target
//! root has any, an empty one is named.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::digest::Digest;
use crate::path::RelPath;
use crate::plan::check::{Command, Inputs, OutsideFile, Tool, Work};
use crate::scope::{Scope, with_link_targets};
use crate::snapshot::FileId;

use super::config::{RUSTFMT_CONFIG, chains};
use super::programs::Programs;
use super::rustfmt_output::RustfmtOutput;
use super::workspace::{Target, Workspace, Workspaces};

/// The configuration for rustfmt if the project has none.
const EMPTY_CONFIG: &str = "/dev/null";

/// The check's work, inputs, and why its result is not stored, if so.
#[must_use]
pub(crate) fn plan(
    scope: &Scope<'_>,
    workspaces: &Workspaces<'_>,
    programs: Programs<'_>,
    dir: &RelPath,
    workspace: &Workspace,
) -> (Work, Inputs, Option<String>) {
    let roots: Vec<RelPath> = workspace.targets.iter().map(|t| t.path.clone()).collect();
    let (mut files, outside) = sources(scope, &roots);
    let config = configuration(scope, programs, &roots, &files);
    let mut above: &[OutsideFile] = &[];
    let outside = outside.map(|path| {
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
            files.extend(workspaces.loading().by_content());
            above = workspaces.above();
            (
                cargo_fmt_argv(config.argument.as_deref()),
                tools(programs, &["cargo", "cargo-fmt", "rustc", "rustfmt"]),
            )
        }
    };
    let inputs = Inputs::whole(files).and_config(config.files);
    let inputs = inputs
        .and_outside(config.outside)
        .and_outside(above.iter().cloned());
    let work = match tools {
        Ok(tools) => command(argv, dir, tools).into(),
        Err(message) => Work::Missing(message),
    };
    (work, inputs, outside.or(config.not_cached))
}

/// The files that may be modules of the targets, and a `path` attribute that may lead out of the project.
fn sources(scope: &Scope<'_>, roots: &[RelPath]) -> (BTreeSet<FileId>, Option<String>) {
    let snapshot = scope.snapshot;
    let entries = || (0..).zip(snapshot.entries());
    let is_rust = |path: &RelPath| path.extension() == Some("rs");
    let is_source = |id: FileId, path: &RelPath| {
        is_rust(path) || (path.extension().is_none() && scope.may_be_folder(id))
    };
    let files = entries().filter(|(id, entry)| is_source(*id, &entry.path));
    let mut files: BTreeSet<FileId> = files.map(|(id, _)| id).collect();
    files.extend(roots.iter().filter_map(|root| snapshot.find(root)));
    let (mut outside, mut other) = (None, BTreeSet::new());
    for (folder, path) in unusual_paths(scope, &files) {
        match folder.join(&path.replace('\\', "/")) {
            Ok(path) if is_rust(&path) => {}
            Ok(path) => {
                other.insert(path.file_name().to_owned());
            }
            Err(_) => outside = Some(path),
        }
    }
    if !other.is_empty() {
        let named = entries().filter(|(_, entry)| other.contains(entry.path.file_name()));
        files.extend(named.map(|(id, _)| id));
    }
    with_link_targets(snapshot, &mut files);
    (files, outside)
}

/// The values of `path` attributes that do not plainly name a Rust file below their own folder, with this folder.
fn unusual_paths(scope: &Scope<'_>, files: &BTreeSet<FileId>) -> Vec<(RelPath, String)> {
    let snapshot = scope.snapshot;
    let digests: Vec<Digest> = files.iter().map(|id| snapshot.entry(*id).digest).collect();
    // By position, because it is remembered for all files that have this content.
    let found = || -> Result<Vec<(usize, String)>, std::convert::Infallible> {
        let of = |(at, id): (usize, &FileId)| {
            let paths = scope
                .facts
                .derive("rust-paths/1", snapshot.entry(*id).digest, || {
                    let text = snapshot.read(*id)?;
                    Ok::<_, std::io::Error>(paths(&String::from_utf8_lossy(&text)))
                });
            let paths = paths.unwrap_or_default().into_iter();
            paths.map(move |path| (at, path))
        };
        Ok(files.iter().enumerate().flat_map(of).collect())
    };
    let all = Digest::combined(&digests);
    let Ok(found) = scope.facts.derive("rust-paths-of-all/1", all, found);
    let files: Vec<&FileId> = files.iter().collect();
    let with_folder = |(at, path): (usize, String)| {
        let file = files.get(at)?;
        Some((snapshot.entry(**file).path.parent()?, path))
    };
    found.into_iter().filter_map(with_folder).collect()
}

/// The values of all `path` attributes in Rust source that do not plainly name a Rust file below it, and of anything
/// that looks like one.
fn paths(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in source.match_indices('[') {
        let before = source[..at].trim_end();
        let before = before.strip_suffix('!').unwrap_or(before).trim_end();
        let attribute = source[at..].split(']').next().unwrap_or_default();
        if !before.ends_with('#') {
            continue;
        }
        found.extend(attribute.split("path").skip(1).filter_map(|rest| {
            let value = rest.trim_start().strip_prefix('=')?.trim_start();
            let value = value.trim_start_matches(['r', '#']).strip_prefix('"')?;
            let value = value.split('"').next()?;
            let plain = value.ends_with(".rs") && !value.contains("..") && !value.starts_with('/');
            (!plain).then(|| value.to_owned())
        }));
    }
    found
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
    sources: &BTreeSet<FileId>,
) -> Configuration {
    let folders: BTreeSet<RelPath> = sources
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
    use crate::testing::project::Project;

    fn sources_of(files: &[(&str, &str)], root: &str) -> (Vec<String>, Option<String>) {
        let project = Project::new(files);
        let roots = [RelPath::new(root).expect("a path")];
        let scope = project.scope();
        let first = sources(&scope, &roots);
        // As remembered.
        let again = sources(&scope, &roots);
        assert_eq!(first, again);
        let ids: Vec<FileId> = first.0.into_iter().collect();
        (project.paths(&ids), first.1)
    }

    #[test]
    fn every_rust_file_is_a_source_and_no_other() {
        let files = [
            ("README.md", ""),
            ("build.rs", ""),
            ("src/lib.rs", "macro_rules! m { () => { mod a; } }"),
            ("src/notes.inc", "mod d;"),
            ("tests/fixtures/x.rs", ""),
        ];
        let expected = ["build.rs", "src/lib.rs", "tests/fixtures/x.rs"];
        let (seen, outside) = sources_of(&files, "src/lib.rs");
        assert_eq!(
            (seen.as_slice(), outside),
            (&expected.map(String::from)[..], None)
        );
        let (seen, _) = sources_of(&files, "src/notes.inc");
        assert!(seen.contains(&"src/notes.inc".to_owned()));
    }

    #[test]
    fn a_module_with_an_unusual_name_is_a_source() {
        for source in [
            "#[path = \"odd.inc\"] mod a;",
            "mod x { #[cfg_attr(unix, path=r\"../odd.inc\")]\nmod a; }",
            "mod x { # ! [ path = \"odd.inc\" ] mod a; }",
        ] {
            let files = [
                ("src/lib.rs", source),
                ("src/odd.inc", ""),
                ("src/other.inc", ""),
            ];
            let (seen, _) = sources_of(&files, "src/lib.rs");
            assert_eq!(seen, ["src/lib.rs", "src/odd.inc"], "{source}");
        }
    }

    #[test]
    fn a_module_outside_the_project_is_named() {
        let outside = |source: &str| sources_of(&[("src/lib.rs", source)], "src/lib.rs").1;
        for path in ["../../x.rs", "/usr/x.rs"] {
            let found = outside(&format!("#[path = \"{path}\"] mod x;"));
            assert_eq!(found.as_deref(), Some(path));
        }
        assert_eq!(outside("#[path = \"../x.rs\"] mod x;"), None);
        // Part of a manifest in a comment.
        assert_eq!(outside("//! a = { path = \"../../x\" }"), None);
    }

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
