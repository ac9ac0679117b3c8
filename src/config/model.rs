//! Types of keys and of values.
//!
//! Knows nothing about TOML and files.

use crate::config::glob::Globs;

/// The only check that supports `baseline`.
pub(crate) const SECRETS: &str = "security:secrets";

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

/// One key of a table.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// The default as a TOML value.
    pub(super) default: Option<&'static str>,
    /// Its description, after a space.
    pub(super) about: &'static str,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Text,
    Texts,
    /// A map from names to strings.
    TextMap,
    Flag,
    /// A whole number, 1 or more.
    Number,
    /// One of these words.
    Word(&'static [&'static str]),
    /// `true`, `false` or one of these words.
    FlagOrWord(&'static [&'static str]),
    Table(&'static [Key]),
    /// Tables under ids of checks.
    Named(&'static [Key]),
}

impl Key {
    pub(super) fn default_value(&self) -> Option<toml::Value> {
        self.default?.parse().ok()
    }
}
