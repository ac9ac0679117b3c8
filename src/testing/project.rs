//! Projects in memory, and hosts with little more than a Python.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;

use crate::env::Env;
use crate::facts::Facts;
use crate::path::RelPath;
use crate::plan::Plan;
use crate::scope::{Scope, Strange};
use crate::snapshot::{FileId, Snapshot};
use crate::tool::Tools;

/// A project in memory and a host without programs.
pub(crate) struct Project {
    pub(crate) snapshot: Snapshot,
    excluded: Vec<bool>,
    facts: Facts,
    tools: Tools,
    env: BTreeMap<String, String>,
    view: Env,
}

impl Project {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
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

    pub(crate) fn with_path(files: &[(&str, &str)], path: &OsStr) -> Self {
        let mut project = Self::new(files);
        project.set("PATH", path);
        project
    }

    pub(crate) fn set_home(&mut self, home: &Path) {
        self.set("HOME", home.as_os_str());
    }

    fn set(&mut self, name: &str, value: &OsStr) {
        let value = value.to_str().expect("UTF-8").to_owned();
        self.env.insert(name.to_owned(), value);
        let pairs: Vec<(&str, &str)> = self.env.iter().map(|(k, v)| (&**k, &**v)).collect();
        self.view = Env::from_pairs(&pairs);
    }

    pub(crate) fn exclude(&mut self, dir: &str) {
        let dir = RelPath::new(dir).expect("a folder");
        for id in self.snapshot.below(&dir) {
            self.excluded[id as usize] = true;
        }
    }

    pub(crate) fn scope(&self) -> Scope<'_> {
        Scope {
            snapshot: &self.snapshot,
            excluded: &self.excluded,
            facts: &self.facts,
            tools: &self.tools,
            env: &self.view,
            secrets_baseline: None,
            strange: Strange::default(),
            trusted: crate::plan::trust::Trusted::default(),
            images: None,
        }
    }

    pub(crate) fn paths(&self, ids: &[FileId]) -> Vec<String> {
        ids.iter()
            .map(|&id| self.snapshot.entry(id).path.as_str().to_owned())
            .collect()
    }
}

/// A folder with a `python3` that answers like a CPython of that version and logs each time it is asked.
#[cfg(unix)]
pub(crate) fn fake_python(version: &str) -> tempfile::TempDir {
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
pub(crate) fn write_program(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).expect("written");
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("executable");
    let busy = |error: std::io::Error| error.kind() == std::io::ErrorKind::ExecutableFileBusy;
    while std::process::Command::new(path).output().is_err_and(busy) {
        std::thread::yield_now();
    }
}

pub(crate) const LOCK: &str = include_str!("../../tests/fixtures/python/poetry.lock");

/// The plan of `planner` on a host whose only program is a Python 3.12.
#[cfg(unix)]
pub(crate) fn planned(project: &mut Project, planner: crate::ecosystem::Planner) -> Plan {
    let python = fake_python("3.12.4");
    project.set("PATH", python.path().as_os_str());
    let mut found = Plan::default();
    planner(&project.scope(), &mut found).expect("a plan");
    found
}
