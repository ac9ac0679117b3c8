//! The typed configuration. Absent keys of a check stay `None`, so that an override changes only the keys it names.
//!
//! Knows nothing about TOML and files.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::diagnose::Place;
use crate::config::glob::Globs;
use crate::path::RelPath;
use crate::plan::CacheMode;
use crate::snapshot::Snapshot;

/// The only check that supports `baseline`.
pub(crate) const SECRETS: &str = "security:secrets";

#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Config {
    /// Files that are never checked.
    pub(crate) exclude: Globs,
    pub(crate) engine: Engine,
    /// `[layers.base]`.
    pub(crate) base: Base,
    /// `[layers.tools]`: the source of programs in containers, by name.
    pub(crate) tools: BTreeMap<String, String>,
    /// Custom checks and overrides of built-in ones, by id.
    pub(crate) checks: BTreeMap<String, CheckConfig>,
    /// Tags by command, where they differ from the default; see [`Config::tags_of`].
    pub(crate) commands: BTreeMap<String, Vec<String>>,
    /// `[hook] already-failing = "warn"`: earlier failures do not block a commit.
    pub(crate) hook_warns: bool,
    /// `[cache] max-size` in bytes.
    pub(crate) max_size: Option<u64>,
    /// `[remote]`. Has no effect yet.
    pub(crate) remote: Remote,
}

/// `[engine]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Engine {
    pub(crate) kind: EngineKind,
    /// Address of a Dagger runner.
    pub(crate) address: Option<String>,
    /// Whether Rust checks in containers build on products of their last run.
    pub(crate) incremental: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum EngineKind {
    /// Dagger if configured or available, else local.
    #[default]
    Auto,
    Dagger,
    Local,
}

impl EngineKind {
    /// The name in the configuration.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Dagger => "dagger",
            Self::Local => "local",
        }
    }
}

/// `[layers.base]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Base {
    /// The image that containers are based on: its full name, or the path of an OCI archive.
    pub(crate) image: Option<String>,
    /// System packages to install in it, sorted.
    pub(crate) packages: Vec<String>,
}

/// `[remote]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Remote {
    pub(crate) registry: Option<String>,
    /// Public keys whose results are accepted.
    pub(crate) trusted_keys: Vec<String>,
}

/// `[checks.ID]`: the keys that were set.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CheckConfig {
    pub(crate) place: Place,
    /// Never empty.
    pub(crate) command: Option<Vec<String>>,
    /// Appended to the command.
    pub(crate) args: Option<Vec<String>>,
    pub(crate) dir: Option<RelPath>,
    /// What it may see.
    pub(crate) inputs: Option<Globs>,
    pub(crate) files: Option<Globs>,
    /// Whether each of `files` is a part.
    pub(crate) per_file: Option<bool>,
    /// Names of variables it may see.
    pub(crate) env: Option<Vec<String>>,
    /// Variables with fixed values.
    pub(crate) set_env: Option<BTreeMap<String, String>>,
    /// Programs on its PATH in addition to the command.
    pub(crate) tools: Option<Vec<String>>,
    /// Files it makes; never empty.
    pub(crate) outputs: Option<Globs>,
    /// How output becomes findings.
    pub(crate) findings: Option<Findings>,
    /// Commands select by these.
    pub(crate) tags: Option<Vec<String>>,
    /// Wall time after which it is killed.
    pub(crate) timeout: Option<Duration>,
    pub(crate) max_age: Option<Duration>,
    pub(crate) cache: Option<CacheMode>,
    /// Whether it may use the network.
    pub(crate) network: Option<bool>,
    /// Names of secret variables it may see.
    pub(crate) secrets: Option<Vec<String>>,
    /// File of accepted findings (only for [`SECRETS`]).
    pub(crate) baseline: Option<RelPath>,
}

/// How output becomes findings.
#[derive(Debug, Clone)]
pub(crate) enum Findings {
    /// `path:line:column: severity: message [code]`.
    Gcc,
    /// A SARIF log on standard output.
    Sarif,
    /// One finding per matching line; has named groups, including `path`.
    Regex(regex::Regex),
}

impl Findings {
    /// The value in the configuration.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Gcc => "gcc",
            Self::Sarif => "sarif",
            Self::Regex(regex) => regex.as_str(),
        }
    }
}

impl PartialEq for Findings {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Default for Globs {
    fn default() -> Self {
        Self::nothing()
    }
}

impl Config {
    /// The tags that a command runs; `None` for every check.
    #[must_use]
    pub(crate) fn tags_of(&self, command: &str) -> Option<Vec<String>> {
        if let Some(tags) = self.commands.get(command) {
            return Some(tags.clone());
        }
        let tags: &[&str] = match command {
            "lint" => &["lint"],
            "validate" => &["validate"],
            "dev-check" | "pre-commit" | "pre-push" => &["lint", "validate", "security"],
            _ => return None,
        };
        Some(tags.iter().map(|tag| (*tag).to_owned()).collect())
    }

    /// For each file of the snapshot, whether it is excluded.
    #[must_use]
    pub(crate) fn excluded(&self, snapshot: &Snapshot) -> Vec<bool> {
        snapshot
            .entries()
            .iter()
            .map(|entry| self.exclude.matches(&entry.path))
            .collect()
    }

    /// `[checks."security:secrets"] baseline`.
    #[must_use]
    pub(crate) fn secrets_baseline(&self) -> Option<&RelPath> {
        self.checks.get(SECRETS)?.baseline.as_ref()
    }
}

impl CheckConfig {
    /// The tags of a custom check; `lint` by default.
    #[must_use]
    pub(crate) fn tags_or_default(&self) -> Vec<String> {
        self.tags.clone().unwrap_or_else(|| vec!["lint".to_owned()])
    }

    /// Which results of a custom check are stored: by default everything, but only passes for the tag `test`.
    #[must_use]
    pub(crate) fn cache_or_default(&self) -> CacheMode {
        let test = || self.tags.iter().flatten().any(|tag| tag == "test");
        self.cache.unwrap_or_else(|| {
            if test() {
                CacheMode::Passes
            } else {
                CacheMode::All
            }
        })
    }
}
