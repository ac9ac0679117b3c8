//! The built-in checks, one line each: what plans them, what they run, how their tool fixes what it finds.
//!
//! Whatever lists checks is derived from [`ALL`]: known ids in the configuration and its schema, `--…-only`, the order
//! of fixes, `--help`, the table in the README. Stays free of planning them, which is their ecosystem's.

use crate::path::RelPath;
use crate::plan::{Check, Command, Work};

/// One built-in check.
#[derive(Debug)]
pub(crate) struct BuiltIn {
    /// Its id, without the folder that it is about. The part before `:` is its language.
    pub(crate) id: &'static str,
    /// What the commands select it by.
    pub(crate) tag: &'static str,
    /// What plans it, for people.
    planned_for: &'static str,
    /// What it runs, for people; `None` if this version cannot run it.
    runs: Option<&'static str>,
    /// What follows the id, for people: there is one check for each.
    each: &'static str,
    /// The Python tool that runs it: a project declares it by locking it.
    python_tool: Option<&'static str>,
    /// The argument that makes its tool only look, and the one that makes it fix, if that takes one.
    fix: Option<(&'static str, Option<&'static str>)>,
}

/// All of them, in the order in which they are listed and in which their fixes are applied: what rewrites code comes
/// before what only lays it out.
pub(crate) const ALL: &[BuiltIn] = &[
    check("rust:fmt", "lint", "Cargo projects")
        .runs("`rustfmt --check` on the target roots of all members: the verdict of `cargo fmt --all --check`")
        .fix("--check", None),
    check("rust:clippy", "lint", "Cargo projects")
        .runs("`cargo clippy --workspace --all-targets --locked`"),
    check("rust:test", "test", "Cargo projects"),
    check("rust:doc", "test", "Cargo projects"),
    check("rust:deny", "security", "`deny.toml`"),
    check("python:ruff-check", "lint", "ruff in the lock or configured")
        .runs("`ruff check .`")
        .python_tool("ruff")
        .fix("--no-fix", Some("--fix")),
    check("python:ruff-format", "lint", "ruff in the lock or configured")
        .runs("`ruff format --check .`")
        .python_tool("ruff")
        .fix("--check", None),
    check("python:mypy", "lint", "mypy in the lock").python_tool("mypy"),
    check("python:pytest", "test", "pytest in the lock").python_tool("pytest"),
    check("yaml:syntax", "lint", "any YAML").runs("built in, file by file"),
    check("yaml:yamllint", "lint", "yamllint in the lock, or `.yamllint*`")
        .runs("`yamllint`, file by file")
        .python_tool("yamllint"),
    check("markdown:mdformat", "lint", "mdformat in the lock")
        .runs("`mdformat --check`, file by file")
        .python_tool("mdformat")
        .fix("--check", None),
    check("kustomize:build", "validate", "every kustomization except components")
        .each(":DIR")
        .runs("`kustomize build DIR`; sees exactly its transitive closure"),
    check("kustomize:refs", "validate", "kustomizations")
        .runs("built in: files exist, no cycles, no duplicate ids"),
    check("security:secrets", "security", "always")
        .runs("built in, file by file: private keys and well-known tokens"),
];

const fn check(id: &'static str, tag: &'static str, planned_for: &'static str) -> BuiltIn {
    BuiltIn {
        id,
        tag,
        planned_for,
        runs: None,
        each: "",
        python_tool: None,
        fix: None,
    }
}

impl BuiltIn {
    const fn runs(mut self, what: &'static str) -> Self {
        self.runs = Some(what);
        self
    }

    const fn each(mut self, suffix: &'static str) -> Self {
        self.each = suffix;
        self
    }

    const fn python_tool(mut self, name: &'static str) -> Self {
        self.python_tool = Some(name);
        self
    }

    const fn fix(mut self, looks: &'static str, fixes: Option<&'static str>) -> Self {
        self.fix = Some((looks, fixes));
        self
    }

    fn is(&self, id: &str) -> bool {
        let rest = id.strip_prefix(self.id);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['@', ':']))
    }
}

/// The ids, without folders.
pub(crate) fn ids() -> impl Iterator<Item = &'static str> + Clone {
    ALL.iter().map(|check| check.id)
}

/// The built-in check that an id of a plan belongs to.
#[must_use]
pub(crate) fn find(id: &str) -> Option<&'static BuiltIn> {
    ALL.iter().find(|check| check.is(id))
}

/// A built-in check of a plan, for the folder `dir`.
#[must_use]
pub(crate) fn planned(id: &str, dir: &RelPath, work: Work) -> Check {
    let built_in = find(id);
    debug_assert!(built_in.is_some(), "{id} is not in the catalogue");
    let tag = built_in.map_or("lint", |built_in| built_in.tag);
    Check::new(crate::plan::id_at(id, dir), tag, work)
}

/// The languages that have linters, for `--…-only`.
#[must_use]
pub(crate) fn languages() -> Vec<&'static str> {
    let linters = ALL.iter().filter(|check| check.tag == "lint");
    let mut languages: Vec<_> = linters
        .filter_map(|check| Some(check.id.split_once(':')?.0))
        .collect();
    languages.dedup();
    languages
}

/// The Python tools that a lock declares.
pub(crate) fn python_tools() -> impl Iterator<Item = &'static str> {
    ALL.iter().filter_map(|check| check.python_tool)
}

/// The ids of the checks that a Python tool runs.
pub(crate) fn checks_of(tool: &str) -> impl Iterator<Item = &'static str> {
    let run_by = move |check: &&BuiltIn| check.python_tool == Some(tool);
    ALL.iter().filter(run_by).map(|check| check.id)
}

/// The place of a check among those that are fixed one after the other, and the command that fixes what it finds;
/// `None` if its tool only finds.
#[must_use]
pub(crate) fn fix(check: &Check) -> Option<(usize, Command)> {
    let place = ALL.iter().position(|built_in| built_in.is(&check.id))?;
    let (looks, fixes) = ALL.get(place)?.fix?;
    let mut command = check.work.command()?.clone();
    let at = command.argv.iter().position(|word| word == looks)?;
    command.argv.splice(at..=at, fixes.map(str::to_owned));
    Some((place, command))
}

/// The checks that this version runs, as a Markdown table.
#[must_use]
pub(crate) fn table() -> String {
    let mut text = "| id | tag | planned for | runs |\n|---|---|---|---|\n".to_owned();
    for check in ALL {
        if let Some(runs) = check.runs {
            let (id, each, tag) = (check.id, check.each, check.tag);
            let row = format!(
                "| `{id}{each}` | {tag} | {} | {runs} |\n",
                check.planned_for
            );
            text.push_str(&row);
        }
    }
    text
}

/// The checks that this version runs, for `--help`.
#[must_use]
pub(crate) fn help() -> String {
    let runnable = ALL.iter().filter(|check| check.runs.is_some());
    let ids: Vec<String> = runnable
        .map(|check| format!("{}{}", check.id, check.each))
        .collect();
    format!("Built-in checks: {}", ids.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_with_their_folders_and_only_whole() {
        let found = |id| find(id).map(|built_in| built_in.id);
        assert_eq!(found("rust:fmt@sub"), Some("rust:fmt"));
        assert_eq!(found("kustomize:build:a/b"), Some("kustomize:build"));
        assert_eq!(found("rust:fmtx"), None);
        assert_eq!(found("mine"), None);
    }

    #[test]
    fn languages_are_those_with_linters_once_each() {
        assert_eq!(languages(), ["rust", "python", "yaml", "markdown"]);
    }

    #[test]
    fn ids_are_unique() {
        let unique: std::collections::BTreeSet<_> = ids().collect();
        assert_eq!(unique.len(), ALL.len());
    }
}
