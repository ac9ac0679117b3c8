//! The configuration: found in one place at the project root, validated as a whole, returned as types.
//!
//! | file | owns |
//! |---|---|
//! | `source` | finding the one place among `dagcache.toml`, `Cargo.toml`, `pyproject.toml` |
//! | `keys` | every key: name, type, default, meaning; the typed configuration |
//! | `tables` | how keys are declared |
//! | `schema` | the JSON schema |
//! | `read`, `values`, `check` | from TOML to types, collecting all errors |
//! | `model` | types of keys and of values |
//! | `effective` | what follows from the typed configuration |
//! | `asks` | what needs the user's consent |
//! | `diagnose` | errors for display |
//! | `show` | the effective configuration as text |
//! | `glob` | patterns |
//!
//! Knows nothing about the command line, the environment or planning.

mod asks;
mod check;
mod diagnose;
mod effective;
mod glob;
mod keys;
mod model;
mod read;
mod schema;
mod show;
mod source;
mod tables;
#[cfg(test)]
mod tests;
mod values;

use crate::path::RelPath;
use crate::snapshot::Snapshot;

pub(crate) use asks::{asks, of_engine};
pub(crate) use check::is_built_in_form;
pub(crate) use diagnose::{Place, Report, nearest};
pub(crate) use glob::Globs;
pub(crate) use keys::{CheckConfig, Config, Limits};
pub(crate) use model::{EngineKind, Findings};
pub(crate) use schema::schema;
pub(crate) use show::show;
pub(crate) use source::Origin;

pub(crate) use values::size;

use source::TableRef;

/// A configuration and its origin.
#[derive(Debug, Clone, Default)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    /// `None` if everything is default.
    pub(crate) source: Option<Origin>,
    /// Keys that are valid but have no effect.
    pub(crate) warnings: Vec<String>,
    given: show::Given,
}

impl Loaded {
    /// The keys of `[checks.ID]` as they were given.
    fn given_of_check(&self, id: &str) -> impl Iterator<Item = (&str, &toml::Value)> {
        self.given
            .iter()
            .filter_map(move |(path, (value, _))| match path.as_slice() {
                [section, of, key] if section == "checks" && of == id => {
                    Some((key.as_str(), value))
                }
                _ => None,
            })
    }
}

/// Why the configuration could not be loaded. Exit code 2.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// A file cannot be read, or changed since the snapshot (`InvalidData`), so that a new snapshot is needed.
    #[error("cannot read {path}")]
    Read {
        path: RelPath,
        source: std::io::Error,
    },
    /// `dagcache.toml` is a link to something outside the project.
    #[error("{path} is a link to outside the project; replace it with the file itself")]
    Link { path: RelPath },
    /// Invalid syntax, keys or values, or more than one configuration.
    #[error("{0}")]
    Invalid(Report),
}

impl ConfigError {
    /// The text for display; with colour codes if `colour`.
    #[must_use]
    pub(crate) fn render(&self, colour: bool) -> String {
        match self {
            Self::Invalid(report) => report.render(colour),
            Self::Read { source, .. } => format!("error: {self}: {source}"),
            Self::Link { .. } => format!("error: {self}"),
        }
    }
}

pub(crate) fn load(snapshot: &Snapshot) -> Result<Loaded, ConfigError> {
    load_from(snapshot, source::read(snapshot)?).map_err(ConfigError::Invalid)
}

fn load_from(snapshot: &Snapshot, files: Vec<(&'static str, Vec<u8>)>) -> Result<Loaded, Report> {
    let (sources, mut problems) = source::decode(files);
    let trees: Vec<_> = sources
        .iter()
        .enumerate()
        .map(|(index, source)| source::parse(index, source, &mut problems))
        .collect();
    if !problems.is_empty() {
        drop(trees);
        return Err(Report::new(sources, problems));
    }
    let candidates: Vec<_> = sources
        .iter()
        .zip(&trees)
        .enumerate()
        .flat_map(|(index, (source, tree))| source::candidates(index, source, tree))
        .collect();
    let found = match candidates.as_slice() {
        [] => Ok(Loaded::default()),
        [one] => from_candidate(snapshot, &sources, one),
        several => Err(vec![source::too_many(several)]),
    };
    drop(candidates);
    drop(trees);
    found.map_err(|problems| Report::new(sources, problems))
}

fn from_candidate(
    snapshot: &Snapshot,
    sources: &[diagnose::Source],
    candidate: &source::Candidate<'_, '_>,
) -> Result<Loaded, Vec<diagnose::Problem>> {
    let Some(source) = sources.get(candidate.source) else {
        return Ok(Loaded::default());
    };
    let mut reader = read::Reader::new(source, candidate.source, snapshot);
    let table = match candidate.value {
        TableRef::Table(table) => table,
        TableRef::Other(value) => {
            reader.as_table(value, candidate.origin.table);
            return Err(reader.problems);
        }
    };
    let config = Config::read(&mut reader, table, "");
    reader.without_effect(table, "remote", " yet");
    // The cache holds the results of all projects of its user.
    let why = ": a project does not limit the cache of its users, who set DAGCACHE_MAX_SIZE";
    reader.without_effect(table, "cache", why);
    if !reader.problems.is_empty() {
        return Err(reader.problems);
    }
    Ok(Loaded {
        config,
        source: Some(candidate.origin.clone()),
        warnings: reader.warnings,
        given: show::given(source, table),
    })
}
