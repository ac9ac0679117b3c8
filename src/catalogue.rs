//! The built-in checks: when they are planned, what they run, and how their tool fixes findings.
//!
//! Everything that lists checks is derived from [`ALL`]: known ids in the configuration and its schema, `--…-only`,
//! the order of fixes, `--help`, the table in the README. Planning them is up to their ecosystem.

use crate::path::RelPath;
use crate::plan::{Check, Command, Work};

#[derive(Debug)]
pub(crate) struct BuiltIn {
    /// Its id without a folder. The part before `:` is its language.
    pub(crate) id: &'static str,
    /// Commands select by it.
    pub(crate) tag: &'static str,
    /// When it is planned, for display.
    planned_for: &'static str,
    /// What it runs, for display; `None` if this version does not support it.
    runs: Option<&'static str>,
    /// The suffix of its ids, for display, if there are several of them.
    each: &'static str,
    /// The Python tool it runs, which a project declares by locking it.
    python_tool: Option<&'static str>,
    /// The arguments that make the tool only check, and fix, if it has them.
    fix: Option<(&'static str, Option<&'static str>)>,
}

/// All checks, in the order in which they are listed and their fixes are applied: what rewrites code precedes what
/// only formats it.
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

/// The ids without folders.
pub(crate) fn ids() -> impl Iterator<Item = &'static str> + Clone {
    ALL.iter().map(|check| check.id)
}

/// The built-in check for an id of a plan.
#[must_use]
pub(crate) fn find(id: &str) -> Option<&'static BuiltIn> {
    ALL.iter().find(|check| check.is(id))
}

/// A built-in check of a plan for the folder `dir`.
#[must_use]
pub(crate) fn planned(id: &str, dir: &RelPath, work: Work) -> Check {
    let built_in = find(id);
    debug_assert!(built_in.is_some(), "{id} is not in the catalogue");
    let tag = built_in.map_or("lint", |built_in| built_in.tag);
    Check::new(crate::plan::id_at(id, dir), tag, work)
}

/// The languages with linters, for `--…-only`.
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

/// The position of a check in the order of fixes, and the command that applies its fixes; `None` if its tool cannot
/// fix.
#[must_use]
pub(crate) fn fix(check: &Check) -> Option<(usize, Command)> {
    let place = ALL.iter().position(|built_in| built_in.is(&check.id))?;
    let (looks, fixes) = ALL.get(place)?.fix?;
    let mut command = check.work.command()?.clone();
    let at = command.argv.iter().position(|word| word == looks)?;
    command.argv.splice(at..=at, fixes.map(str::to_owned));
    Some((place, command))
}

/// The supported checks as a Markdown table.
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

/// The supported checks, for `--help`.
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
