//! Names the linters and tests that a project configures and no planned check runs, so that green is never mistaken for
//! "everything passed".
//!
//! - [`tools`]: the known tools and what configures them. - [`sources`]: reads files that name tools.
//!
//! Goes by the names of files and by small parses, memoised by content. Runs nothing and plans nothing.

mod sources;
mod tools;

use std::collections::BTreeSet;

use crate::plan::{NotRun, Plan, Work};
use crate::provision::program::base_name;
use crate::scope::Scope;

use sources::Named;

/// What a planned check runs, in the words of [`tools`].
const BUILT_IN: &[(&str, &[&str])] = &[
    ("rust:fmt", &["cargo fmt"]),
    ("rust:clippy", &["cargo clippy"]),
    ("python:ruff-check", &["ruff"]),
    ("yaml:syntax", &["check-yaml"]),
    ("yaml:yamllint", &["yamllint"]),
    ("markdown:mdformat", &["mdformat"]),
    ("kustomize:build", &["kustomize build"]),
    ("security:secrets", &["detect-private-key"]),
];

/// The tools that nothing in `plan` runs, sorted by name, each with the likeliest place that configures it.
pub(crate) fn not_run(scope: &Scope<'_>, plan: &Plan) -> Vec<NotRun> {
    let mut named = sources::named(scope);
    named.extend(sources::declared(scope, plan));
    if named.is_empty() {
        return Vec::new();
    }
    let ran = Ran::of(plan);
    named.retain(|named| !ran.covers(named));
    named.sort();
    let mut seen = BTreeSet::new();
    named.retain(|named| seen.insert(named.tool.clone()));
    let mut found: Vec<_> = named.into_iter().map(not_run_of).collect();
    found.sort();
    found
}

fn not_run_of(named: Named) -> NotRun {
    NotRun {
        command: tools::command(&named.tool),
        tool: named.tool,
        place: named.place,
    }
}

/// What the checks of a plan run.
struct Ran<'a> {
    built_in: BTreeSet<&'a str>,
    /// The words of each command.
    commands: Vec<BTreeSet<&'a str>>,
}

impl<'a> Ran<'a> {
    fn of(plan: &'a Plan) -> Self {
        let runs = plan
            .checks
            .iter()
            .filter(|check| !matches!(check.work, Work::Unsupported(_)));
        let mut ran = Self {
            built_in: BTreeSet::new(),
            commands: Vec::new(),
        };
        for check in runs {
            let is = |id: &str| {
                let rest = check.id.strip_prefix(id);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['@', ':']))
            };
            let tools = BUILT_IN.iter().filter(|(id, _)| is(id));
            ran.built_in.extend(tools.flat_map(|(_, tools)| *tools));
            if check.id.contains(':') {
                continue;
            }
            let Some(command) = check.work.command() else {
                continue;
            };
            let words = command.argv.iter().flat_map(|arg| {
                arg.split(|c: char| c.is_whitespace() || ";&|()'\"".contains(c))
                    .map(base_name)
            });
            let tools = command.tools.iter().map(crate::plan::Tool::name);
            ran.commands.push(words.chain(tools).collect());
        }
        ran
    }

    fn covers(&self, named: &Named) -> bool {
        let all = |words: &BTreeSet<&str>, wanted: &str| {
            wanted.split(' ').all(|word| words.contains(word))
        };
        let any_of = |words: &BTreeSet<&str>, wanted: &[&str]| {
            wanted.iter().any(|word| words.contains(word))
        };
        self.built_in.contains(named.tool.as_str())
            || self.commands.iter().any(|words| {
                all(words, &named.tool)
                    || named.script.as_deref().is_some_and(|script| {
                        words.contains(script) && any_of(words, &["npm", "pnpm", "yarn", "bun"])
                    })
                    || named.is_hook() && any_of(words, &["pre-commit", "prek"])
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::RelPath;
    use crate::plan::{Check, Command};
    use crate::testing::project::Project;

    fn found(files: &[(&str, &str)], plan: &Plan) -> Vec<String> {
        let project = Project::new(files);
        let found = not_run(&project.scope(), plan);
        let text = |not_run: &NotRun| format!("{} ({})", not_run.tool, not_run.place);
        found.iter().map(text).collect()
    }

    fn plan_of(checks: &[(&str, &[&str])]) -> Plan {
        let check = |(id, argv): &(&str, &[&str])| {
            let argv = argv.iter().map(|&word| word.to_owned()).collect();
            let parse = std::sync::Arc::new(crate::plan::output::NoFindings);
            let command = Command::new(argv, RelPath::root(), Vec::new(), parse);
            Check::new(*id, "lint", command.into())
        };
        Plan {
            checks: checks.iter().map(check).collect(),
            ..Plan::default()
        }
    }

    #[test]
    fn every_kind_of_place_names_its_tools() {
        let none = Plan::default();
        for (path, text, expect) in [
            (
                "pyproject.toml",
                "[tool.mypy]\n[tool.poetry]\n",
                vec!["mypy"],
            ),
            (
                "pyproject.toml",
                "[tool.pytest.ini_options]\n",
                vec!["pytest"],
            ),
            (
                "setup.cfg",
                "[metadata]\n[flake8]\n[tool:pytest]\n",
                vec!["flake8", "pytest"],
            ),
            ("tox.ini", "[tox]\n[testenv]\n", vec!["tox"]),
            ("eslint.config.mjs", "", vec!["eslint"]),
            (".golangci.yml", "", vec!["golangci-lint"]),
            (
                "package.json",
                r#"{"scripts": {"lint": "eslint . && prettier --check .", "build": "tsc", "test": "node test.js"}}"#,
                vec!["eslint", "npm test", "prettier"],
            ),
            (
                "package.json",
                r#"{"scripts": {"test": "echo \"Error: no test specified\" && exit 1"}}"#,
                vec![],
            ),
            (
                ".pre-commit-config.yaml",
                "repos:\n- repo: a\n  hooks:\n  - id: codespell\n  - {id: check-toml}\n",
                vec!["check-toml", "codespell"],
            ),
            (
                ".github/workflows/ci.yml",
                "jobs:\n  a:\n    steps:\n    - name: Run eslint\n      run: |\n        pip install mypy\n        uv run pytest -q && cargo +nightly test --all # tox\n    - uses: crate-ci/typos@v1\n",
                vec!["cargo test", "pytest", "typos"],
            ),
            (
                ".gitlab-ci.yml",
                "a:\n  script:\n    - python -m mypy .\n",
                vec!["mypy"],
            ),
            ("tests/fixtures/eslint.config.js", "", vec![]),
            ("pyproject.toml", "[tool.mypy\n", vec![]),
        ] {
            let expect: Vec<_> = expect
                .iter()
                .map(|tool| format!("{tool} ({path})"))
                .collect();
            assert_eq!(found(&[(path, text)], &none), expect, "{path}: {text}");
        }
    }

    #[test]
    fn a_tool_is_named_once_with_its_own_configuration_first() {
        let files = [
            (".github/workflows/ci.yml", "- run: mypy .\n"),
            ("a/mypy.ini", ""),
            ("pyproject.toml", "[tool.mypy]\n"),
        ];
        assert_eq!(found(&files, &Plan::default()), ["mypy (pyproject.toml)"]);
    }

    #[test]
    fn what_a_check_runs_is_not_named() {
        let hooks = "repos: [{hooks: [{id: check-yaml}, {id: ruff-format}, {id: codespell}]}]\n";
        let files = [
            ("pyproject.toml", "[tool.mypy]\n"),
            ("package.json", r#"{"scripts": {"lint": "eslint ."}}"#),
            (".pre-commit-config.yaml", hooks),
            (
                ".github/workflows/ci.yml",
                "- run: cargo test && make lint\n",
            ),
        ];
        let names = |plan: &Plan| -> BTreeSet<String> {
            let found = found(&files, plan).into_iter();
            found
                .map(|text| text.split(" (").next().unwrap_or_default().to_owned())
                .collect()
        };
        let all = names(&Plan::default());
        assert_eq!(all.len(), 7, "{all:?}");
        for (id, argv, gone) in [
            ("yaml:syntax", &["x"][..], &["check-yaml"][..]),
            ("python:ruff-check@a", &["ruff"], &["ruff"]),
            ("types", &["uv", "run", "mypy"], &["mypy"]),
            (
                "types",
                &["sh", "-c", "cd a && .venv/bin/mypy ."],
                &["mypy"],
            ),
            ("js", &["npm", "run", "lint"], &["eslint"]),
            ("js", &["npm", "run", "other"], &[]),
            (
                "hooks",
                &["pre-commit", "run"],
                &["check-yaml", "codespell", "ruff"],
            ),
            ("make", &["make", "lint"], &["make lint"]),
            ("rust", &["cargo", "test"], &["cargo test"]),
        ] {
            let left = names(&plan_of(&[(id, argv)]));
            let missing: Vec<_> = all.difference(&left).collect();
            assert_eq!(missing, gone, "{id} {argv:?}");
        }
    }

    #[test]
    fn what_is_declared_but_not_supported_yet_is_named() {
        let plan = Plan {
            checks: vec![Check::new(
                "python:pytest@a",
                "test",
                Work::Unsupported(String::new()),
            )],
            ..Plan::default()
        };
        let files = [("a/pyproject.toml", ""), ("a/x.py", "")];
        assert_eq!(found(&files, &plan), ["pytest (a/pyproject.toml)"]);
    }
}
