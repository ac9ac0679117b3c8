//! Python: `python:ruff-check`, `python:ruff-format`; the places of `python:mypy` and `python:pytest`.
//!
//! | check | argv | verdict as |
//! |---|---|---|
//! | `python:ruff-check` | `ruff check --no-cache --no-fix --output-format=concise .` | `ruff check .` |
//! | `python:ruff-format` | `ruff format --check --no-cache .` | `ruff format --check .` |
//!
//! `--no-cache` because the room is thrown away, `--no-fix` because a check changes nothing (a `fix = true` in the
//! configuration would turn a finding into a pass), `concise` (`text` before 0.2) so that each finding is one line.
//! They run in the project's folder and see what ruff would walk there, nested projects included. Ignore files are
//! honoured; `.git/info/exclude` and the user's global excludes are not there, so that every checkout gives one verdict.
//!
//! - [`project`]: which folders declare which tool. - [`lock`], [`uv`], [`requirements`], [`closure`], [`marker`], [`version`]: what is locked
//!   for a tool (pure). - [`interpreter`], [`installed`], [`packages`], [`environment`]: where the tool comes from; `container`: in containers. - [`ruff_files`], [`ruff`]:
//!   what ruff reads and says.

pub(crate) mod closure;
mod container;
pub(crate) mod environment;
pub(crate) mod installed;
pub(crate) mod interpreter;
pub(crate) mod lock;
pub(crate) mod marker;
pub(crate) mod packages;
pub(crate) mod project;
pub(crate) mod requirements;
pub(crate) mod ruff;
pub(crate) mod ruff_files;
pub(crate) mod uv;
pub(crate) mod version;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::ecosystem::{PlanError, Scope, id_at};
use crate::plan::{CacheMode, Check, Command, Inputs, Parse, Plan, Work};

use environment::{Ready, Resolved, resolve};
use project::{Site, sites};

/// Adds the checks of all Python projects.
///
/// # Errors
/// If a lock or the root's `pyproject.toml` is broken.
pub(crate) fn plan(scope: &Scope<'_>, plan: &mut Plan) -> Result<(), PlanError> {
    for site in sites(scope, "ruff", &ruff_files::configured(scope)?)? {
        plan_ruff(scope, plan, &site)?;
    }
    for (tool, tag) in [("mypy", "lint"), ("pytest", "test")] {
        for site in sites(scope, tool, &BTreeSet::new())? {
            let why = format!("running {tool} comes in a later version");
            let mut check = check(
                &site,
                &format!("python:{tool}"),
                "python",
                Work::Unsupported(why),
            );
            check.tags = vec![tag.to_owned()];
            plan.checks.push(check);
        }
    }
    Ok(())
}

fn plan_ruff(scope: &Scope<'_>, plan: &mut Plan, site: &Site) -> Result<(), PlanError> {
    let ready = match resolve(scope, plan, site, "ruff")? {
        Resolved::Ready(ready) => ready,
        Resolved::Missing(why) => {
            for id in ["python:ruff-check", "python:ruff-format"] {
                plan.checks
                    .push(check(site, id, "python", Work::Missing(why.clone())));
            }
            return Ok(());
        }
    };
    let (inputs, unknown) = ruff_files::inputs(scope, &site.dir, ready.version.as_deref())?;
    let old = ready
        .version
        .as_deref()
        .is_some_and(|v| version::satisfies("<0.2", v) == Some(true));
    let format = if old { "text" } else { "concise" };
    let lint = format!("ruff check --no-cache --no-fix --output-format={format} .");
    let parsers: [(&str, &str, Arc<dyn Parse>); 2] = [
        ("python:ruff-check", &lint, Arc::new(ruff::RuffCheck)),
        (
            "python:ruff-format",
            "ruff format --check --no-cache .",
            Arc::new(ruff::RuffFormat),
        ),
    ];
    for (id, argv, parse) in parsers {
        let argv = argv.split(' ').map(str::to_owned).collect();
        let mut check = tool_check(site, id, "python", &ready, argv, parse);
        check.inputs = inputs.clone();
        check.not_cached = check.not_cached.or_else(|| unknown.clone());
        plan.checks.push(check);
    }
    Ok(())
}

/// A check of `site` that runs a Python tool.
pub(in crate::ecosystem) fn tool_check(
    site: &Site,
    id: &str,
    ecosystem: &'static str,
    ready: &Ready,
    argv: Vec<String>,
    parse: Arc<dyn Parse>,
) -> Check {
    let command = Command {
        set_env: set_env(),
        ..Command::new(argv, site.dir.clone(), vec![ready.tool.clone()], parse)
    };
    let mut check = check(site, id, ecosystem, Work::Command(Box::new(command)));
    check.layers.clone_from(&ready.layers);
    check.not_cached.clone_from(&ready.not_cached);
    check
}

/// A lint check of `site`.
pub(in crate::ecosystem) fn check(
    site: &Site,
    id: &str,
    ecosystem: &'static str,
    work: Work,
) -> Check {
    Check {
        id: id_at(id, &site.dir),
        tags: vec!["lint".to_owned()],
        ecosystem,
        work,
        inputs: Inputs::default(),
        layers: vec!["base".to_owned()],
        cache: CacheMode::default(),
        not_cached: None,
        max_age: None,
        timeout: None,
    }
}

/// Nothing of the user's: no bytecode written into a shared environment, no packages of the user's site folder, and
/// messages wrapped at one width.
fn set_env() -> BTreeMap<String, String> {
    [
        ("COLUMNS", "80"),
        ("PYTHONDONTWRITEBYTECODE", "1"),
        ("PYTHONNOUSERSITE", "1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

#[cfg(test)]
pub(in crate::ecosystem) mod tests {
    use std::ffi::OsStr;
    use std::path::Path;

    use super::*;
    use crate::env::Env;
    use crate::facts::Facts;
    use crate::path::RelPath;
    use crate::snapshot::{FileId, Snapshot};
    use crate::tool::Tools;

    /// A project in memory and a host without programs.
    pub(in crate::ecosystem) struct Project {
        pub(crate) snapshot: Snapshot,
        excluded: Vec<bool>,
        facts: Facts,
        tools: Tools,
        env: BTreeMap<String, String>,
        view: Env,
    }

    impl Project {
        pub(in crate::ecosystem) fn new(files: &[(&str, &str)]) -> Self {
            let snapshot = Snapshot::in_memory(files);
            Self {
                excluded: vec![false; snapshot.entries().len()],
                snapshot,
                facts: Facts::default(),
                tools: Tools::default(),
                env: BTreeMap::new(),
                view: Env::default(),
            }
        }

        pub(in crate::ecosystem) fn with_path(files: &[(&str, &str)], path: &OsStr) -> Self {
            let mut project = Self::new(files);
            project.set("PATH", path);
            project
        }

        pub(in crate::ecosystem) fn set_home(&mut self, home: &Path) {
            self.set("HOME", home.as_os_str());
        }

        fn set(&mut self, name: &str, value: &OsStr) {
            let value = value.to_str().expect("UTF-8").to_owned();
            self.env.insert(name.to_owned(), value);
            let pairs: Vec<(&str, &str)> = self.env.iter().map(|(k, v)| (&**k, &**v)).collect();
            self.view = Env::from_pairs(&pairs);
        }

        pub(in crate::ecosystem) fn exclude(&mut self, dir: &str) {
            let dir = RelPath::new(dir).expect("a folder");
            for id in self.snapshot.below(&dir) {
                self.excluded[id as usize] = true;
            }
        }

        pub(in crate::ecosystem) fn scope(&self) -> Scope<'_> {
            Scope {
                snapshot: &self.snapshot,
                excluded: &self.excluded,
                facts: &self.facts,
                tools: &self.tools,
                env: &self.view,
                secrets_baseline: None,
                images: None,
            }
        }

        pub(in crate::ecosystem) fn paths(&self, ids: &[FileId]) -> Vec<String> {
            ids.iter()
                .map(|&id| self.snapshot.entry(id).path.as_str().to_owned())
                .collect()
        }
    }

    /// A folder with a `python3` that answers like a CPython of that version and logs each time it is asked.
    #[cfg(unix)]
    pub(in crate::ecosystem) fn fake_python(version: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let short: Vec<&str> = version.split('.').take(2).collect();
        let short = short.join(".");
        let text = format!(
            r#"#!/bin/sh
[ "$1" = -I ] || exit 0
echo asked >> "${{0%/*}}/log"
echo '{{"executable": "'"$0"'", "implementation": "CPython", "version": "{version}", "platform": "linux",
"path": [], "library": null, "markers": {{"python_version": "{short}", "python_full_version": "{version}",
"sys_platform": "linux", "platform_system": "Linux", "platform_python_implementation": "CPython", "os_name": "posix"}}}}'
"#
        );
        write_program(&folder.path().join("python3"), &text);
        folder
    }

    /// Writes a script and waits until it can be started: a process that another test starts meanwhile may hold the
    /// file open for a moment.
    #[cfg(unix)]
    pub(in crate::ecosystem) fn write_program(path: &Path, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        std::fs::write(path, text).expect("written");
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("executable");
        let busy = |error: std::io::Error| error.kind() == std::io::ErrorKind::ExecutableFileBusy;
        while std::process::Command::new(path).output().is_err_and(busy) {
            std::thread::yield_now();
        }
    }

    pub(in crate::ecosystem) const LOCK: &str =
        include_str!("../../../tests/fixtures/python/poetry.lock");

    /// The plan of `planner` on a host whose only program is a Python 3.12.
    #[cfg(unix)]
    pub(in crate::ecosystem) fn planned(
        project: &mut Project,
        planner: crate::ecosystem::Planner,
    ) -> Plan {
        let python = fake_python("3.12.4");
        project.set("PATH", python.path().as_os_str());
        let mut found = Plan::default();
        planner(&project.scope(), &mut found).expect("a plan");
        found
    }

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
