//! The environment: every variable the program itself reads is named here and read through [`Env`].
//!
//! Stays free of defaults and policy.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// Where the store is, instead of the platform's cache directory.
pub(crate) const DAGCACHE_DIR: &str = "DAGCACHE_DIR";
/// Ids of checks to skip, separated by commas.
pub(crate) const DAGCACHE_SKIP: &str = "DAGCACHE_SKIP";
/// What the team's secrets are sealed with in keys, so that results of checks that use them can be shared.
pub(crate) const DAGCACHE_TEAM_KEY: &str = "DAGCACHE_TEAM_KEY";
/// How long to wait for a Dagger session to open: `30s`.
pub(crate) const DAGCACHE_DAGGER_TIMEOUT: &str = "DAGCACHE_DAGGER_TIMEOUT";
/// The address of the Dagger engine, as Dagger itself reads it.
pub(crate) const DAGGER_RUNNER_HOST: &str = "_EXPERIMENTAL_DAGGER_RUNNER_HOST";
/// Folders above which git does not look for a repository.
pub(crate) const GIT_CEILING_DIRECTORIES: &str = "GIT_CEILING_DIRECTORIES";
/// The folder of the repository that git runs a hook for.
pub(crate) const GIT_DIR: &str = "GIT_DIR";
/// The index that git makes a commit of.
pub(crate) const GIT_INDEX_FILE: &str = "GIT_INDEX_FILE";
/// The top folder of the work tree that git runs a hook for.
pub(crate) const GIT_WORK_TREE: &str = "GIT_WORK_TREE";
/// What work trees of a repository share, if not told by its folder.
pub(crate) const GIT_COMMON_DIR: &str = "GIT_COMMON_DIR";
/// Where objects are, if not in the repository: new ones, and others to look at.
pub(crate) const GIT_OBJECT_DIRECTORIES: [&str; 2] =
    ["GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES"];
/// The user's git configuration, instead of the usual files.
pub(crate) const GIT_CONFIG_GLOBAL: &str = "GIT_CONFIG_GLOBAL";
/// The system's git configuration, instead of `/etc/gitconfig`.
pub(crate) const GIT_CONFIG_SYSTEM: &str = "GIT_CONFIG_SYSTEM";
/// The user's home folder.
pub(crate) const HOME: &str = "HOME";
/// Where caches go, instead of `~/.cache`.
pub(crate) const XDG_CACHE_HOME: &str = "XDG_CACHE_HOME";
/// The user's shell.
pub(crate) const SHELL: &str = "SHELL";
/// What the terminal is.
pub(crate) const TERM: &str = "TERM";
/// Where programs are looked up.
pub(crate) const PATH: &str = "PATH";
/// Cargo's home, if not `~/.cargo`.
pub(crate) const CARGO_HOME: &str = "CARGO_HOME";
/// Rustup's home, if not `~/.rustup`.
pub(crate) const RUSTUP_HOME: &str = "RUSTUP_HOME";
/// The toolchain asked for; also set by the rustup proxy for its children.
pub(crate) const RUSTUP_TOOLCHAIN: &str = "RUSTUP_TOOLCHAIN";
/// Set by the rustup proxy for its children: tells its `RUSTUP_TOOLCHAIN` from the user's.
pub(crate) const RUST_RECURSION_COUNT: &str = "RUST_RECURSION_COUNT";
/// Where the user's configuration is, if not `~/.config`.
pub(crate) const XDG_CONFIG_HOME: &str = "XDG_CONFIG_HOME";

/// What `git rev-parse --local-env-vars` names, but for configuration.
const OF_A_REPOSITORY: [&str; 13] = [
    GIT_DIR,
    GIT_INDEX_FILE,
    GIT_WORK_TREE,
    GIT_COMMON_DIR,
    GIT_OBJECT_DIRECTORIES[0],
    GIT_OBJECT_DIRECTORIES[1],
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_GRAFT_FILE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_REPLACE_REF_BASE",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
];

/// A view of environment variables, taken once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Env {
    vars: BTreeMap<OsString, OsString>,
}

impl Env {
    /// The variables of this process.
    #[must_use]
    pub(crate) fn from_process() -> Self {
        Self {
            vars: std::env::vars_os().collect(),
        }
    }

    /// Given variables, for tests.
    #[must_use]
    #[cfg(test)]
    pub(crate) fn from_pairs(pairs: &[(&str, &str)]) -> Self {
        Self {
            vars: pairs.iter().map(|(k, v)| (k.into(), v.into())).collect(),
        }
    }

    /// The value, if it is set and valid UTF-8.
    #[must_use]
    pub(crate) fn var(&self, name: &str) -> Option<&str> {
        self.vars.get(OsStr::new(name))?.to_str()
    }

    /// The value as it is.
    #[must_use]
    pub(crate) fn var_os(&self, name: &str) -> Option<&OsString> {
        self.vars.get(OsStr::new(name))
    }

    /// The value as a path; empty counts as unset.
    #[must_use]
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        self.var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    }

    /// Only those whose name passes.
    #[must_use]
    pub(crate) fn only(&self, keep: impl Fn(&OsStr) -> bool) -> Self {
        let vars = self.vars.iter().filter(|(name, _)| keep(name));
        Self {
            vars: vars.map(|(k, v)| (k.clone(), v.clone())).collect(),
        }
    }

    /// With all of `other` too.
    #[must_use]
    pub(crate) fn and(mut self, other: &Self) -> Self {
        self.vars.extend(other.vars.clone());
        self
    }

    /// Without what git tells its hooks of the repository they run for: any other git that is started would take it for
    /// its own. Configuration given on the command line stays.
    #[must_use]
    pub(crate) fn without_repository(&self) -> Self {
        self.only(|name| {
            !OF_A_REPOSITORY
                .iter()
                .any(|of_it| name.as_encoded_bytes() == of_it.as_bytes())
        })
    }

    /// All of them, for a child that shall inherit everything.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&OsString, &OsString)> {
        self.vars.iter()
    }
}
