//! The environment: every variable the program itself reads is named here and read through [`Env`].
//!
//! Stays free of defaults and policy.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

/// Where the store is, instead of the platform's cache directory.
pub const DAGCACHE_DIR: &str = "DAGCACHE_DIR";
/// Ids of checks to skip, separated by commas.
pub const DAGCACHE_SKIP: &str = "DAGCACHE_SKIP";
/// What the team's secrets are sealed with in keys, so that results of checks that use them can be shared.
pub const DAGCACHE_TEAM_KEY: &str = "DAGCACHE_TEAM_KEY";
/// How long to wait for a Dagger session to open: `30s`.
pub const DAGCACHE_DAGGER_TIMEOUT: &str = "DAGCACHE_DAGGER_TIMEOUT";
/// The address of the Dagger engine, as Dagger itself reads it.
pub const DAGGER_RUNNER_HOST: &str = "_EXPERIMENTAL_DAGGER_RUNNER_HOST";
/// Folders above which git does not look for a repository.
pub const GIT_CEILING_DIRECTORIES: &str = "GIT_CEILING_DIRECTORIES";
/// The user's git configuration, instead of the usual files.
pub const GIT_CONFIG_GLOBAL: &str = "GIT_CONFIG_GLOBAL";
/// The system's git configuration, instead of `/etc/gitconfig`.
pub const GIT_CONFIG_SYSTEM: &str = "GIT_CONFIG_SYSTEM";
/// The user's home folder.
pub const HOME: &str = "HOME";
/// Where caches go, instead of `~/.cache`.
pub const XDG_CACHE_HOME: &str = "XDG_CACHE_HOME";
/// The user's shell.
pub const SHELL: &str = "SHELL";
/// What the terminal is.
pub const TERM: &str = "TERM";
/// Where programs are looked up.
pub const PATH: &str = "PATH";
/// Cargo's home, if not `~/.cargo`.
pub const CARGO_HOME: &str = "CARGO_HOME";
/// Rustup's home, if not `~/.rustup`.
pub const RUSTUP_HOME: &str = "RUSTUP_HOME";
/// The toolchain asked for; also set by the rustup proxy for its children.
pub const RUSTUP_TOOLCHAIN: &str = "RUSTUP_TOOLCHAIN";
/// Set by the rustup proxy for its children: tells its `RUSTUP_TOOLCHAIN` from the user's.
pub const RUST_RECURSION_COUNT: &str = "RUST_RECURSION_COUNT";
/// Where the user's configuration is, if not `~/.config`.
pub const XDG_CONFIG_HOME: &str = "XDG_CONFIG_HOME";

/// A view of environment variables, taken once.
#[derive(Debug, Clone, Default)]
pub struct Env {
    vars: BTreeMap<OsString, OsString>,
}

impl Env {
    /// The variables of this process.
    #[must_use]
    pub fn from_process() -> Self {
        Self {
            vars: std::env::vars_os().collect(),
        }
    }

    /// Given variables, for tests.
    #[must_use]
    pub fn from_pairs(pairs: &[(&str, &str)]) -> Self {
        Self {
            vars: pairs.iter().map(|(k, v)| (k.into(), v.into())).collect(),
        }
    }

    /// The value, if it is set and valid UTF-8.
    #[must_use]
    pub fn var(&self, name: &str) -> Option<&str> {
        self.vars.get(std::ffi::OsStr::new(name))?.to_str()
    }

    /// The value as it is.
    #[must_use]
    pub fn var_os(&self, name: &str) -> Option<&OsString> {
        self.vars.get(std::ffi::OsStr::new(name))
    }

    /// The value as a path; empty counts as unset.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    }

    /// All of them, for a child that shall inherit everything.
    pub fn all(&self) -> impl Iterator<Item = (&OsString, &OsString)> {
        self.vars.iter()
    }
}
