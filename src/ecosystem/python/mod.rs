//! Python: `python:ruff-check`, `python:ruff-format`; the places of `python:mypy` and `python:pytest`.
//!
//! | check | argv | verdict as |
//! |---|---|---|
//! | `python:ruff-check` | `ruff check --no-cache --no-fix --output-format=concise .` | `ruff check .` |
//! | `python:ruff-format` | `ruff format --check --no-cache .` | `ruff format --check .` |
//!
//! `--no-cache` because the room is temporary, `--no-fix` because a check changes nothing (`fix = true` in the
//! configuration would turn a finding into a pass), `concise` (`text` before 0.2) for one line per finding. They run
//! in the project's folder and see what ruff would walk there, including nested projects. Ignore files are honoured;
//! `.git/info/exclude` and the user's global excludes are absent, so that every checkout has the same verdict.
//!
//! [`ruff_files`], [`ruff`]: ruff's input and output.

pub(crate) mod ruff;
pub(crate) mod ruff_files;

use std::collections::BTreeSet;

use self::ruff_files::Task;
use crate::catalogue;
use crate::plan::{Plan, Work};
use crate::provision::python::project::{Site, sites, unread};
use crate::provision::python::tool::ready;
use crate::provision::python::version::satisfies;
use crate::scope::{PlanError, Scope};

/// Adds the checks of all Python projects.
pub(crate) fn plan(scope: &Scope<'_>, plan: &mut Plan) -> Result<(), PlanError> {
    let configured = ruff_files::configured(scope)?;
    plan.warnings.extend(unread(scope, &configured));
    for site in sites(scope, "ruff", &configured) {
        plan_ruff(scope, plan, &site)?;
    }
    for tool in ["mypy", "pytest"] {
        for site in sites(scope, tool, &BTreeSet::new()) {
            let later = |id| {
                let why = format!("running {tool} comes in a later version");
                catalogue::planned(id, &site.dir, Work::Unsupported(why))
            };
            plan.checks.extend(catalogue::checks_of(tool).map(later));
        }
    }
    Ok(())
}

fn plan_ruff(scope: &Scope<'_>, plan: &mut Plan, site: &Site) -> Result<(), PlanError> {
    let Some(ready) = ready(scope, plan, site, "ruff")? else {
        return Ok(());
    };
    let version = ready.version.as_deref();
    let old = version.is_some_and(|version| satisfies("<0.2", version) == Some(true));
    let format = match old {
        true => "--output-format=text",
        false => "--output-format=concise",
    };
    let argv = ["ruff", "check", "--no-cache", "--no-fix", format, "."];
    let lint = ready.command(site, &argv, ruff::RuffCheck);
    let argv = ["ruff", "format", "--check", "--no-cache", "."];
    let layout = ready.command(site, &argv, ruff::RuffFormat);
    for (id, task, command) in [
        ("python:ruff-check", Task::Check, lint),
        ("python:ruff-format", Task::Format, layout),
    ] {
        let (inputs, unknown) = ruff_files::inputs(scope, &site.dir, task, version)?;
        let check = ready.check(id, site, command);
        plan.checks.push(check.sees(inputs).not_cached(unknown));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::project::{LOCK, Project, planned};

    #[cfg(unix)]
    #[test]
    fn two_checks_of_ruff_share_one_layer_with_exactly_ruff() {
        let mut project = Project::new(&[
            ("a.py", ""),
            ("poetry.lock", LOCK),
            ("pyproject.toml", "[tool.ruff]"),
        ]);
        let plan = planned(&mut project, plan);
        let ids: Vec<&str> = plan.checks.iter().map(|check| check.id.as_str()).collect();
        assert_eq!(ids, ["python:ruff-check", "python:ruff-format"]);
        assert_eq!(plan.layers.len(), 1);
        let names: Vec<&str> = plan.layers[0]
            .parts
            .iter()
            .map(|(name, _)| &**name)
            .collect();
        assert_eq!(names, ["python", "platform", "package ruff"]);
        for check in &plan.checks {
            assert_eq!(check.layers, ["base", "tools:ruff"]);
            assert_eq!(
                project.paths(&check.inputs.shared),
                ["a.py", "pyproject.toml"]
            );
        }
    }

    #[cfg(unix)]
    #[test]
    fn an_unrelated_change_of_the_lock_leaves_the_layer_as_it_is() {
        let parts = |lock: &str| {
            let mut project = Project::new(&[("poetry.lock", lock), ("pyproject.toml", "")]);
            planned(&mut project, plan).layers.remove(0).parts
        };
        let unrelated = LOCK.replace("name = \"yamllint\"", "# a comment\nname = \"yamllint2\"");
        assert_eq!(parts(LOCK), parts(&unrelated));
        let bumped = LOCK.replace("version = \"0.5.7\"", "version = \"0.5.8\"");
        assert_ne!(parts(LOCK), parts(&bumped));
    }

    #[test]
    fn a_broken_project_file_is_named_before_a_tool_that_is_nowhere() {
        let project = Project::new(&[("pyproject.toml", "[tool.ruff\n")]);
        let mut found = Plan::default();
        plan(&project.scope(), &mut found).expect("a plan");
        let check = found.check("python:ruff-check").expect("planned");
        let Work::Missing(why) = &check.work else {
            panic!("{:?}", check.work);
        };
        assert!(why.contains("pyproject.toml is invalid"), "{why}");
        assert_eq!(found.warnings, [""; 0]);
    }

    #[test]
    fn a_configured_tool_that_is_nowhere_is_missing_with_two_ways_out() {
        let project = Project::new(&[("lib/ruff.toml", "")]);
        let mut found = Plan::default();
        plan(&project.scope(), &mut found).expect("a plan");
        let check = found.check("python:ruff-check@lib").expect("planned");
        match &check.work {
            Work::Missing(why) => {
                assert!(why.contains("`ruff` is configured in `lib`"), "{why}");
                assert!(
                    why.contains("install it") && why.contains("--engine dagger"),
                    "{why}"
                );
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_comes_later_is_named() {
        let lock = "[[package]]\nname = 'mypy'\nversion = '1'\n[[package]]\nname = 'pytest'\nversion = '1'\n";
        let project = Project::new(&[("poetry.lock", lock), ("pyproject.toml", "")]);
        let mut found = Plan::default();
        plan(&project.scope(), &mut found).expect("a plan");
        let tags: Vec<_> = found
            .checks
            .iter()
            .map(|c| (c.id.as_str(), c.tags[0].as_str()))
            .collect();
        assert_eq!(tags, [("python:mypy", "lint"), ("python:pytest", "test")]);
        assert!(
            found
                .checks
                .iter()
                .all(|c| matches!(c.work, Work::Unsupported(_)))
        );
    }

    #[test]
    fn a_project_without_python_plans_nothing() {
        let project = Project::new(&[("README.md", ""), ("a.py", "")]);
        let mut found = Plan::default();
        plan(&project.scope(), &mut found).expect("a plan");
        assert!(found.checks.is_empty() && found.layers.is_empty());
    }
}
