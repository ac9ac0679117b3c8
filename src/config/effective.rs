//! What follows from the typed configuration. Absent keys of a check stay `None`, so that an override changes only the
//! keys it names.

use crate::config::keys::{COMMANDS, CheckConfig, Config};
use crate::config::model::SECRETS;
use crate::path::RelPath;
use crate::plan::CacheMode;
use crate::snapshot::Snapshot;

impl Config {
    /// The tags that a command runs; `None` for every check.
    #[must_use]
    pub(crate) fn tags_of(&self, command: &str) -> Option<Vec<String>> {
        if let Some(tags) = self.commands.get(command) {
            return Some(tags.clone());
        }
        let key = COMMANDS.iter().find(|key| key.name == command)?;
        key.default_value()?.try_into().ok()
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
