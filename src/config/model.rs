//! The configuration as types. An absent key of a check stays `None`, so that an override changes only what it names.
//!
//! Stays free of TOML and of the files it came from.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::diagnose::Place;
use crate::config::glob::Globs;
use crate::path::RelPath;
use crate::plan::CacheMode;
use crate::snapshot::Snapshot;

/// The id that alone takes a `baseline`.
pub(crate) const SECRETS: &str = "security:secrets";

/// Everything a project can configure.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Config {
    /// Files that plan no check and are never checked.
    pub(crate) exclude: Globs,
    /// Where checks run.
    pub(crate) engine: Engine,
    /// `[layers.base]`.
    pub(crate) base: Base,
    /// `[layers.tools]`: where programs come from in containers, by name.
    pub(crate) tools: BTreeMap<String, String>,
    /// Checks of one's own and overrides of built-in ones, by id.
    pub(crate) checks: BTreeMap<String, CheckConfig>,
    /// Tags by command, where they differ from the default; see [`Config::tags_of`].
    pub(crate) commands: BTreeMap<String, Vec<String>>,
    /// `[hook] already-failing = "warn"`: what failed before stops no commit.
    pub(crate) hook_warns: bool,
    /// `[cache] max-size` in bytes.
    pub(crate) max_size: Option<u64>,
    /// `[remote]`. Has no effect yet.
    pub(crate) remote: Remote,
}

/// `[engine]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Engine {
    /// Which one.
    pub(crate) kind: EngineKind,
    /// Address of a Dagger runner.
    pub(crate) address: Option<String>,
    /// Whether Rust checks in containers build on what their last run made.
    pub(crate) incremental: bool,
}

/// The engines to choose from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum EngineKind {
    /// Dagger where one is configured or at hand, else local.
    #[default]
    Auto,
    /// Dagger.
    Dagger,
    /// The host.
    Local,
}

impl EngineKind {
    /// The word in the configuration.
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
    /// The image that containers begin with: its full name, or the path of an OCI archive.
    pub(crate) image: Option<String>,
    /// System packages in it, sorted.
    pub(crate) packages: Vec<String>,
}

/// `[remote]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Remote {
    /// OCI repository.
    pub(crate) registry: Option<String>,
    /// Public keys whose results are accepted.
    pub(crate) trusted_keys: Vec<String>,
}

/// `[checks.ID]`: the keys that were named.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CheckConfig {
    /// Where the table is.
    pub(crate) place: Place,
    /// Program and arguments; never empty.
    pub(crate) command: Option<Vec<String>>,
    /// Appended to the command.
    pub(crate) args: Option<Vec<String>>,
    /// Working directory.
    pub(crate) dir: Option<RelPath>,
    /// What it may see.
    pub(crate) inputs: Option<Globs>,
    /// What it checks.
    pub(crate) files: Option<Globs>,
    /// Whether each of `files` is a part.
    pub(crate) per_file: Option<bool>,
    /// Names of variables it may see.
    pub(crate) env: Option<Vec<String>>,
    /// Variables with fixed values.
    pub(crate) set_env: Option<BTreeMap<String, String>>,
    /// Programs on its PATH besides the command.
    pub(crate) tools: Option<Vec<String>>,
    /// What it makes; never empty.
    pub(crate) outputs: Option<Globs>,
    /// How output becomes findings.
    pub(crate) findings: Option<Findings>,
    /// What commands select it by.
    pub(crate) tags: Option<Vec<String>>,
    /// Wall time after which it is stopped.
    pub(crate) timeout: Option<Duration>,
    /// Older entries miss.
    pub(crate) max_age: Option<Duration>,
    /// What is stored.
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
    /// One finding for each line that matches; named groups, of which `path` is there.
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
    /// The tags a command runs; `None` for every check.
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
    /// The tags of a check of one's own: `lint` unless it says otherwise.
    #[must_use]
    pub(crate) fn tags_or_default(&self) -> Vec<String> {
        self.tags.clone().unwrap_or_else(|| vec!["lint".to_owned()])
    }

    /// What of a check of one's own is stored: everything, but only passes for tag `test`, unless it says otherwise.
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
