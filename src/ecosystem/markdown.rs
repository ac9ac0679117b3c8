//! Markdown: `markdown:mdformat`, planned if mdformat is locked.
//!
//! Has the same verdict as `mdformat --check .` in the project's folder: it checks every `*.md` that git would
//! consider, also in hidden folders, since mdformat knows no ignore files. Each file is a part. The nearest
//! `.mdformat.toml` of each file applies; mdformat cannot be told to ignore one above the room, so if the user's home
//! contains one that the project would not find, results are not stored.

use std::collections::{BTreeMap, BTreeSet};

use crate::finding::{Finding, Severity};
use crate::path::RelPath;
use crate::plan::output::plain;
use crate::plan::{Inputs, Output, Parse, Parsed, Plan, Share};
use crate::provision::python::closure::Closure;
use crate::provision::python::project::{PYPROJECT, Site, sites};
use crate::provision::python::tool::ready;
use crate::scope::with_link_targets;
use crate::scope::{PlanError, Scope};
use crate::snapshot::FileId;
use crate::visible::Shown as _;

const CONFIG: &str = ".mdformat.toml";

/// The plugin that makes mdformat read options from `pyproject.toml`.
const PYPROJECT_PLUGIN: &str = "mdformat-pyproject";

pub(crate) fn plan(scope: &Scope<'_>, plan: &mut Plan) -> Result<(), PlanError> {
    for site in sites(scope, "mdformat", &BTreeSet::new()) {
        let files = files(scope, &site.dir);
        if files.is_empty() {
            continue;
        }
        let Some(ready) = ready(scope, plan, &site, "mdformat")? else {
            continue;
        };
        let command = ready.command(&site, &["mdformat", "--check"], Mdformat);
        let check = ready.check("markdown:mdformat", &site, command.per_file());
        let inputs = inputs(scope, &site, files, ready.closure.as_ref());
        let stray = stray(scope, &inputs);
        plan.checks.push(check.sees(inputs).not_cached(stray));
    }
    Ok(())
}

/// The files `mdformat .` would check.
fn files(scope: &Scope<'_>, dir: &RelPath) -> Vec<FileId> {
    scope
        .checked()
        .filter(|(_, entry)| entry.path.starts_with(dir) && entry.path.ends_with(".md"))
        .map(|(id, _)| id)
        .filter(|&id| scope.leads_to_file(id))
        .collect()
}

fn inputs(scope: &Scope<'_>, site: &Site, files: Vec<FileId>, closure: Option<&Closure>) -> Inputs {
    let mut names = vec![CONFIG];
    if closure.is_some_and(|closure| closure.get(PYPROJECT_PLUGIN).is_some()) {
        names.push(PYPROJECT);
    }
    let snapshot = scope.snapshot;
    let mut config: BTreeSet<FileId> = snapshot
        .below(&site.dir)
        .filter(|&id| names.contains(&snapshot.entry(id).path.file_name()))
        .collect();
    config.extend(scope.chain(&site.dir, &names));
    let mut shared: BTreeSet<FileId> = config.clone();
    with_link_targets(snapshot, &mut shared);
    let inputs = scope.per_file(files).and_shared(shared);
    inputs.and_config(config).and_outside(scope.above(&names))
}

/// A configuration in the user's home that mdformat would find above a room there, but not above the project.
fn stray(scope: &Scope<'_>, inputs: &Inputs) -> Option<String> {
    // Containers do not have the user's home.
    let shut_out = scope.snapshot.find(CONFIG).is_some() || scope.images.is_some();
    if shut_out || !inputs.outside.is_empty() {
        return None;
    }
    let path = scope.home()?.join(CONFIG);
    path.is_file().then(|| {
        format!(
            "mdformat may use {} because the project has no configuration; add a {CONFIG} at the root to prevent that",
            path.shown()
        )
    })
}

/// `mdformat --check`: `Error: File "PATH" is not formatted.` on stderr, wrapped at spaces.
#[derive(Debug)]
pub(crate) struct Mdformat;

const BEFORE: &str = "Error: File \"";
const AFTER: &str = "\" is not formatted.";

impl Parse for Mdformat {
    fn identity(&self) -> String {
        "mdformat/2".to_owned()
    }

    fn parse(&self, output: &Output, dir: &RelPath, files: &[&RelPath]) -> Parsed {
        let stderr = plain(&output.stderr);
        let text: String = stderr
            .chars()
            .map(|c| if c == '\n' { ' ' } else { c })
            .collect();
        let mut rest = text.as_str();
        let mut all_understood = output.stdout.is_empty();
        let mut named: Vec<(RelPath, &str)> = Vec::new();
        while let Some((before, path, after)) = next_message(rest) {
            all_understood &= before.trim().is_empty();
            match resolve_path(path, dir, files) {
                Some(found) => named.push((found, path)),
                None => all_understood = false,
            }
            rest = after;
        }
        all_understood &= rest.trim().is_empty();
        all_understood &= (output.exit_code == 0) == named.is_empty();
        let shares = named.iter().map(|(path, text)| share(path, text)).collect();
        Parsed {
            findings: named.iter().map(|(path, _)| finding(path)).collect(),
            shares: all_understood
                .then_some(shares)
                .filter(|shares: &BTreeMap<_, _>| shares.keys().all(|path| files.contains(&path))),
        }
    }
}

fn next_message(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once(BEFORE)?;
    let (path, after) = rest.split_once(AFTER)?;
    Some((before, path, after))
}

/// The file named by a message: as given, else relative to the folder or the root. White space in a name may have been
/// wrapped.
fn resolve_path(text: &str, dir: &RelPath, files: &[&RelPath]) -> Option<RelPath> {
    let candidates = [dir.join(text).ok(), RelPath::new(text).ok()];
    let mut candidates = candidates.into_iter().flatten();
    let known = candidates.clone().find(|path| files.contains(&path));
    let unspaced = |text: &str| text.split_whitespace().collect::<String>();
    let wrapped = || {
        let meant = unspaced(text);
        let is_meant = |path: &&&RelPath| unspaced(&path.argument_from(dir)) == meant;
        files.iter().find(is_meant).map(|&path| path.clone())
    };
    known.or_else(wrapped).or_else(|| candidates.next())
}

fn share(path: &RelPath, text: &str) -> (RelPath, Share) {
    let share = Share {
        exit_code: 1,
        stdout: String::new(),
        stderr: format!("{BEFORE}{text}{AFTER}\n"),
    };
    (path.clone(), share)
}

fn finding(path: &RelPath) -> Finding {
    Finding {
        path: Some(path.clone()),
        line: None,
        column: None,
        severity: Severity::Error,
        code: Some("unformatted".to_owned()),
        message: "not formatted".to_owned(),
        rendered: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path).expect(path)
    }

    fn parse(stderr: &str, exit_code: i32, dir: &str, files: &[&str]) -> Parsed {
        let output = Output {
            exit_code,
            stdout: String::new(),
            stderr: stderr.to_owned(),
        };
        let files: Vec<RelPath> = files.iter().map(|path| rel(path)).collect();
        Mdformat.parse(&output, &rel(dir), &files.iter().collect::<Vec<_>>())
    }

    fn shared(parsed: &Parsed) -> Option<Vec<&str>> {
        let shares = parsed.shares.as_ref()?;
        Some(shares.keys().map(RelPath::as_str).collect())
    }

    #[test]
    fn each_file_gets_its_share() {
        let stderr = "Error: File \"a.md\" is not formatted.\nError: File \"sub/b c.md\" is not formatted.\n";
        let parsed = parse(stderr, 1, "", &["a.md", "ok.md", "sub/b c.md"]);
        assert_eq!(shared(&parsed), Some(vec!["a.md", "sub/b c.md"]));
        let share = &parsed.shares.as_ref().expect("shares")[&rel("a.md")];
        assert_eq!(
            (share.exit_code, &*share.stderr),
            (1, "Error: File \"a.md\" is not formatted.\n")
        );
        let paths: Vec<_> = parsed.findings.iter().map(|f| f.path.clone()).collect();
        assert_eq!(paths, [Some(rel("a.md")), Some(rel("sub/b c.md"))]);
        assert_eq!(shared(&parse("", 0, "", &["a.md"])), Some(vec![]));
    }

    #[test]
    fn a_long_path_is_wrapped_at_its_spaces() {
        let stderr = "Error: File\n\"docs/a very long\nname.md\" is not\nformatted.\n";
        let parsed = parse(stderr, 1, "", &["docs/a very long name.md"]);
        assert_eq!(shared(&parsed), Some(vec!["docs/a very long name.md"]));
    }

    #[test]
    fn a_line_break_in_a_name_is_no_other_name() {
        let stderr = "Error: File \"new line.md\" is not formatted.\n";
        let parsed = parse(stderr, 1, "", &["new\nline.md"]);
        assert_eq!(parsed.findings[0].path, Some(rel("new\nline.md")));
    }

    #[test]
    fn paths_are_relative_to_the_folder_or_to_the_root() {
        for path in ["a.md", "lib/a.md"] {
            let stderr = format!("Error: File \"{path}\" is not formatted.\n");
            assert_eq!(
                shared(&parse(&stderr, 1, "lib", &["lib/a.md"])),
                Some(vec!["lib/a.md"])
            );
        }
    }

    #[test]
    fn what_cannot_be_given_to_a_file_leaves_no_shares() {
        let stderr = "Error: File \"a.md\" is not formatted.\nTraceback (most recent call last):\n";
        assert_eq!(shared(&parse(stderr, 1, "", &["a.md"])), None);
        assert_eq!(shared(&parse("", 1, "", &["a.md"])), None);
        assert_eq!(shared(&parse("Warning: x\n", 0, "", &["a.md"])), None);
        let other = "Error: File \"other.md\" is not formatted.\n";
        assert_eq!(shared(&parse(other, 1, "", &["a.md"])), None);
    }

    #[cfg(unix)]
    mod planning {
        use super::*;
        use crate::testing::project::{LOCK, Project, planned};

        #[test]
        fn every_md_file_is_a_part_and_configuration_is_shared() {
            let mut project = Project::new(&[
                (".gitignore", "site/"),
                (".github/README.md", ""),
                (".mdformat.toml", ""),
                ("README.md", ""),
                ("docs/.mdformat.toml", ""),
                ("docs/a.md", ""),
                ("docs/a.markdown", ""),
                ("fixtures/bad.md", ""),
                ("poetry.lock", LOCK),
                ("pyproject.toml", ""),
                ("site/b.md", ""),
            ]);
            project.exclude("fixtures");
            let plan = planned(&mut project, plan);
            let check = plan.check("markdown:mdformat").expect("planned");
            assert_eq!(
                project.paths(check.inputs.parts.as_deref().unwrap_or_default()),
                [".github/README.md", "README.md", "docs/a.md", "site/b.md"]
            );
            assert_eq!(
                project.paths(&check.inputs.shared),
                [".mdformat.toml", "docs/.mdformat.toml"]
            );
            assert_eq!(plan.layers[0].name, "tools:mdformat");
        }

        #[test]
        fn nothing_is_planned_where_mdformat_is_not_locked_or_no_file_is_there() {
            let mut unlocked = Project::new(&[("README.md", ""), ("pyproject.toml", "")]);
            assert!(planned(&mut unlocked, plan).checks.is_empty());
            let mut empty = Project::new(&[("poetry.lock", LOCK), ("pyproject.toml", "")]);
            assert!(planned(&mut empty, plan).checks.is_empty());
        }

        #[test]
        fn a_configuration_at_home_that_could_leak_in_is_not_stored() {
            let home = tempfile::tempdir().expect("a folder");
            std::fs::write(home.path().join(".mdformat.toml"), "").expect("written");
            let files = [("a.md", ""), ("poetry.lock", LOCK), ("pyproject.toml", "")];
            let mut project = Project::new(&files);
            project.set_home(home.path());
            let why = |project: &mut Project| planned(project, plan).checks[0].not_cached.clone();
            assert!(why(&mut project).is_some_and(|why| why.contains(".mdformat.toml")));
            let mut own = Project::new(&[&files[..], &[(".mdformat.toml", "")]].concat());
            own.set_home(home.path());
            assert_eq!(why(&mut own), None);
        }
    }

    proptest! {
        #[test]
        fn arbitrary_output_never_panics(
            text in "(.|\n){0,100}",
            like in "(Error: File \"|\" is not formatted.|a.md|\n|é|\\.\\./){0,12}",
            code in 0..3,
        ) {
            parse(&text, code, "", &["a.md"]);
            parse(&like, code, "sub", &["a.md"]);
        }
    }
}
