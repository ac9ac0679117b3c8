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
pub const SECRETS: &str = "security:secrets";

/// Everything a project can configure.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Config {
    /// Files that plan no check and are never checked.
    pub exclude: Globs,
    /// Where checks run.
    pub engine: Engine,
    /// `[layers.base]`.
    pub base: Base,
    /// `[layers.tools]`: where programs come from in containers, by name.
    pub tools: BTreeMap<String, String>,
    /// Checks of one's own and overrides of built-in ones, by id.
    pub checks: BTreeMap<String, CheckConfig>,
    /// Tags by command, where they differ from the default; see [`Config::tags_of`].
    pub commands: BTreeMap<String, Vec<String>>,
    /// `[hook] already-failing = "warn"`: what failed before stops no commit.
    pub hook_warns: bool,
    /// `[cache] max-size` in bytes.
    pub max_size: Option<u64>,
    /// `[remote]`. Has no effect yet.
    pub remote: Remote,
}

/// `[engine]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Engine {
    /// Which one.
    pub kind: EngineKind,
    /// Address of a Dagger runner.
    pub address: Option<String>,
    /// Whether Rust checks in containers build on what their last run made.
    pub incremental: bool,
}

/// The engines to choose from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EngineKind {
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
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Dagger => "dagger",
            Self::Local => "local",
        }
    }
}

/// `[layers.base]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Base {
    /// The image that containers begin with: its full name, or the path of an OCI archive.
    pub image: Option<String>,
    /// System packages in it, sorted.
    pub packages: Vec<String>,
}

/// `[remote]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Remote {
    /// OCI repository.
    pub registry: Option<String>,
    /// Public keys whose results are accepted.
    pub trusted_keys: Vec<String>,
}

/// `[checks.ID]`: the keys that were named.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckConfig {
    /// Where the table is.
    pub place: Place,
    /// Program and arguments; never empty.
    pub command: Option<Vec<String>>,
    /// Appended to the command.
    pub args: Option<Vec<String>>,
    /// Working directory.
    pub dir: Option<RelPath>,
    /// What it may see.
    pub inputs: Option<Globs>,
    /// What it checks.
    pub files: Option<Globs>,
    /// Whether each of `files` is a part.
    pub per_file: Option<bool>,
    /// Names of variables it may see.
    pub env: Option<Vec<String>>,
    /// Variables with fixed values.
    pub set_env: Option<BTreeMap<String, String>>,
    /// Programs on its PATH besides the command.
    pub tools: Option<Vec<String>>,
    /// What it makes; never empty.
    pub outputs: Option<Globs>,
    /// How output becomes findings.
    pub findings: Option<Findings>,
    /// What commands select it by.
    pub tags: Option<Vec<String>>,
    /// Wall time after which it is stopped.
    pub timeout: Option<Duration>,
    /// Older entries miss.
    pub max_age: Option<Duration>,
    /// What is stored.
    pub cache: Option<CacheMode>,
    /// Whether it may use the network.
    pub network: Option<bool>,
    /// Names of secret variables it may see.
    pub secrets: Option<Vec<String>>,
    /// File of accepted findings (only for [`SECRETS`]).
    pub baseline: Option<RelPath>,
}

/// How output becomes findings.
#[derive(Debug, Clone)]
pub enum Findings {
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
    pub fn as_str(&self) -> &str {
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
    pub fn tags_of(&self, command: &str) -> Option<Vec<String>> {
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
    pub fn excluded(&self, snapshot: &Snapshot) -> Vec<bool> {
        snapshot
            .entries()
            .iter()
            .map(|entry| self.exclude.matches(&entry.path))
            .collect()
    }

    /// `[checks."security:secrets"] baseline`.
    #[must_use]
    pub fn secrets_baseline(&self) -> Option<&RelPath> {
        self.checks.get(SECRETS)?.baseline.as_ref()
    }
}

impl CheckConfig {
    /// A table without keys.
    #[must_use]
    pub const fn empty(place: Place) -> Self {
        Self {
            place,
            command: None,
            args: None,
            dir: None,
            inputs: None,
            files: None,
            per_file: None,
            env: None,
            set_env: None,
            tools: None,
            outputs: None,
            findings: None,
            tags: None,
            timeout: None,
            max_age: None,
            cache: None,
            network: None,
            secrets: None,
            baseline: None,
        }
    }

    /// The tags of a check of one's own: `lint` unless it says otherwise.
    #[must_use]
    pub fn tags_or_default(&self) -> Vec<String> {
        self.tags.clone().unwrap_or_else(|| vec!["lint".to_owned()])
    }

    /// What of a check of one's own is stored: everything, but only passes for tag `test`, unless it says otherwise.
    #[must_use]
    pub fn cache_or_default(&self) -> CacheMode {
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
