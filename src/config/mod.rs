//! The configuration: found in one place at the project root, checked as a whole, handed on as types.
//!
//! | file | owns |
//! |---|---|
//! | `source` | finding the one place among `dagcache.toml`, `Cargo.toml`, `pyproject.toml` |
//! | `schema` | every key: name, type, default, meaning |
//! | `read`, `document`, `check` | from TOML to the model, collecting everything that is wrong |
//! | `model` | the typed configuration |
//! | `diagnose` | errors as people read them |
//! | `show` | the effective configuration as text |
//! | `glob` | patterns |
//!
//! Stays free of command line, environment and planning.

mod check;
mod diagnose;
mod document;
mod glob;
mod model;
mod read;
mod schema;
mod show;
mod source;
#[cfg(test)]
mod tests;

use crate::path::RelPath;
use crate::snapshot::Snapshot;

pub(crate) use check::is_built_in_form;
pub(crate) use diagnose::{Place, Report, nearest};
pub(crate) use glob::Globs;
pub(crate) use model::{CheckConfig, Config, EngineKind, Findings};
pub(crate) use schema::schema;
pub(crate) use show::show;
pub(crate) use source::Origin;

use source::TableRef;

/// A configuration and where it came from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Loaded {
    /// What holds.
    pub(crate) config: Config,
    /// Where it was found; `None` if all is default.
    pub(crate) source: Option<Origin>,
    /// What was understood but has no effect yet.
    pub(crate) warnings: Vec<String>,
    given: show::Given,
}

/// Why there is no configuration. Exit code 2.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// A file cannot be read, or changed since the snapshot was taken (`InvalidData`): then a new one is due.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: RelPath,
        /// Why.
        source: std::io::Error,
    },
    /// `dagcache.toml` is a link that leads to no file of the project.
    #[error("{path} is a link that leads to no file of the project; put the file itself there")]
    Link {
        /// The link.
        path: RelPath,
    },
    /// What is written is wrong: syntax, keys, values, or two places.
    #[error("{0}")]
    Invalid(Report),
}

impl ConfigError {
    /// The text for people; with colour codes if `colour`.
    #[must_use]
    pub(crate) fn render(&self, colour: bool) -> String {
        match self {
            Self::Invalid(report) => report.render(colour),
            Self::Read { source, .. } => format!("error: {self}: {source}"),
            Self::Link { .. } => format!("error: {self}"),
        }
    }
}

/// Finds and reads the configuration at the project root.
///
/// # Errors
/// If there is more than one, if a file that may hold it cannot be read or is no TOML, or if anything in it is wrong;
/// all that is wrong in a file is reported at once.
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
    let mut reader = read::Reader::new(source, candidate.source);
    let table = match candidate.value {
        TableRef::Table(table) => table,
        TableRef::Other(value) => {
            reader.as_table(value, candidate.origin.table);
            return Err(reader.problems);
        }
    };
    let config = document::read(&mut reader, snapshot, table);
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
