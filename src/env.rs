//! The environment: every variable the program reads is named here and read through [`Env`].
//!
//! Contains no defaults and no policy.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// Overrides the platform's cache directory.
pub(crate) const DAGCACHE_DIR: &str = "DAGCACHE_DIR";
/// Comma-separated ids of checks to skip.
pub(crate) const DAGCACHE_SKIP: &str = "DAGCACHE_SKIP";
/// Seals secrets in keys, so that a team can share results of checks that use secrets.
pub(crate) const DAGCACHE_TEAM_KEY: &str = "DAGCACHE_TEAM_KEY";
/// Maximum size of the cache, such as `10GiB`.
pub(crate) const DAGCACHE_MAX_SIZE: &str = "DAGCACHE_MAX_SIZE";
/// How long to wait for a Dagger session, such as `30s`.
pub(crate) const DAGCACHE_DAGGER_TIMEOUT: &str = "DAGCACHE_DAGGER_TIMEOUT";
/// `1` accepts all that a repository asks for, in CI.
pub(crate) const DAGCACHE_TRUST: &str = "DAGCACHE_TRUST";
/// Folders of PATH to use although other users can write there.
pub(crate) const DAGCACHE_PATH_ALLOW: &str = "DAGCACHE_PATH_ALLOW";
/// The address of the Dagger engine, read as Dagger does.
pub(crate) const DAGGER_RUNNER_HOST: &str = "_EXPERIMENTAL_DAGGER_RUNNER_HOST";
/// Directories above which git does not search for a repository.
pub(crate) const GIT_CEILING_DIRECTORIES: &str = "GIT_CEILING_DIRECTORIES";
/// Set by git for hooks: the repository.
pub(crate) const GIT_DIR: &str = "GIT_DIR";
/// Set by git for hooks: the index that becomes the commit.
pub(crate) const GIT_INDEX_FILE: &str = "GIT_INDEX_FILE";
/// Set by git for hooks: the top of the work tree.
pub(crate) const GIT_WORK_TREE: &str = "GIT_WORK_TREE";
/// The part of a repository that its work trees share.
pub(crate) const GIT_COMMON_DIR: &str = "GIT_COMMON_DIR";
/// Object directories outside the repository: for new objects, and for additional look-ups.
pub(crate) const GIT_OBJECT_DIRECTORIES: [&str; 2] =
    ["GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES"];
/// Replaces the user's git configuration files.
pub(crate) const GIT_CONFIG_GLOBAL: &str = "GIT_CONFIG_GLOBAL";
/// Replaces `/etc/gitconfig`.
pub(crate) const GIT_CONFIG_SYSTEM: &str = "GIT_CONFIG_SYSTEM";
pub(crate) const HOME: &str = "HOME";
/// Replaces `~/.cache`.
pub(crate) const XDG_CACHE_HOME: &str = "XDG_CACHE_HOME";
pub(crate) const SHELL: &str = "SHELL";
pub(crate) const TERM: &str = "TERM";
pub(crate) const PATH: &str = "PATH";
/// The user that called `sudo`.
pub(crate) const SUDO_UID: &str = "SUDO_UID";
/// Replaces `~/.cargo`.
pub(crate) const CARGO_HOME: &str = "CARGO_HOME";
/// Replaces `~/.rustup`.
pub(crate) const RUSTUP_HOME: &str = "RUSTUP_HOME";
/// The requested toolchain; the rustup proxy also sets it for its children.
pub(crate) const RUSTUP_TOOLCHAIN: &str = "RUSTUP_TOOLCHAIN";
/// Set by the rustup proxy for its children, so it tells the proxy's `RUSTUP_TOOLCHAIN` from the user's.
pub(crate) const RUST_RECURSION_COUNT: &str = "RUST_RECURSION_COUNT";
/// Replaces `~/.config`.
pub(crate) const XDG_CONFIG_HOME: &str = "XDG_CONFIG_HOME";

/// The variables `git rev-parse --local-env-vars` lists, except those for configuration.
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

/// Environment variables, read once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Env {
    vars: BTreeMap<OsString, OsString>,
}

impl Env {
    #[must_use]
    pub(crate) fn from_process() -> Self {
        Self {
            vars: std::env::vars_os().collect(),
        }
    }

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

    #[must_use]
    pub(crate) fn var_os(&self, name: &str) -> Option<&OsString> {
        self.vars.get(OsStr::new(name))
    }

    /// An empty value counts as unset.
    #[must_use]
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        self.var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    }

    /// Keeps the variables whose name passes.
    #[must_use]
    pub(crate) fn only(&self, keep: impl Fn(&OsStr) -> bool) -> Self {
        let vars = self.vars.iter().filter(|(name, _)| keep(name));
        Self {
            vars: vars.map(|(k, v)| (k.clone(), v.clone())).collect(),
        }
    }

    /// The same with another value of a variable.
    #[must_use]
    pub(crate) fn with(&self, name: &str, value: OsString) -> Self {
        let mut all = self.clone();
        all.vars.insert(name.into(), value);
        all
    }

    /// Adds the variables of `other`, which win.
    #[must_use]
    pub(crate) fn and(mut self, other: &Self) -> Self {
        self.vars.extend(other.vars.clone());
        self
    }

    /// Removes what git sets for its hooks, because any other git started with it would use the wrong repository.
    /// Configuration given on git's command line stays.
    #[must_use]
    pub(crate) fn without_repository(&self) -> Self {
        self.only(|name| {
            !OF_A_REPOSITORY
                .iter()
                .any(|of_it| name.as_encoded_bytes() == of_it.as_bytes())
        })
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (&OsString, &OsString)> {
        self.vars.iter()
    }
}
