//! What the tests of this folder share.

use crate::config::{Config, load};
use crate::env::Env;
use crate::facts::Facts;
use crate::path::RelPath;
use crate::plan::output::NoFindings;
use crate::plan::{Check, Command};
use crate::scope::{Scope, Strange};
use crate::snapshot::Snapshot;
use crate::tool::Tools;

/// A project in memory, with its configuration in `dagcache.toml`, on a host with `bash`, `grep` and `lint`.
pub(super) struct World {
    pub(super) snapshot: Snapshot,
    pub(super) config: Config,
    excluded: Vec<bool>,
    facts: Facts,
    tools: Tools,
    env: Env,
    _programs: tempfile::TempDir,
}

impl World {
    pub(super) fn new(files: &[(&str, &str)], config: &str) -> Self {
        let mut all = files.to_vec();
        all.push(("dagcache.toml", config));
        let snapshot = Snapshot::in_memory(&all);
        let config = load(&snapshot)
            .unwrap_or_else(|error| panic!("{}", error.render(false)))
            .config;
        let programs = programs();
        let path = programs.path().to_str().expect("UTF-8");
        let env = Env::from_pairs(&[("PATH", path)]);
        Self {
            excluded: config.excluded(&snapshot),
            snapshot,
            config,
            facts: Facts::default(),
            tools: Tools::new(&env, programs.path()),
            env,
            _programs: programs,
        }
    }

    pub(super) fn scope(&self) -> Scope<'_> {
        Scope {
            snapshot: &self.snapshot,
            excluded: &self.excluded,
            facts: &self.facts,
            tools: &self.tools,
            env: &self.env,
            secrets_baseline: None,
            strange: Strange::default(),
            trusted: crate::plan::trust::Trusted::default(),
            images: None,
        }
    }

    /// The paths of some files.
    pub(super) fn paths(&self, ids: &[u32]) -> Vec<&str> {
        ids.iter()
            .map(|id| self.snapshot.entry(*id).path.as_str())
            .collect()
    }
}

fn programs() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["bash", "grep", "lint"] {
        let path = folder.path().join(name);
        std::fs::write(&path, name).expect("a program");
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&path, mode).expect("a mode");
    }
    folder
}

/// A command as a built-in check would plan it.
pub(super) fn command() -> Command {
    Command {
        env: vec!["SEEN".to_owned()],
        set_env: [("KEPT".to_owned(), "1".to_owned())].into(),
        ..Command::new(
            vec!["lint".to_owned()],
            RelPath::root(),
            Vec::new(),
            std::sync::Arc::new(NoFindings),
        )
    }
}

/// A check as an ecosystem would plan it.
pub(super) fn planned(id: &str) -> Check {
    Check::new(id, "lint", command().into()).on(vec!["base".to_owned()])
}
