//! Finds the configuration among the files at the project root.
//!
//! Does not interpret the configuration.

use std::fmt;
use std::io::ErrorKind;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::ConfigError;
use crate::config::diagnose::{Mark, Problem, Source};
use crate::path::RelPath;
use crate::snapshot::{FileId, Kind, Reason, Snapshot};

const OWN_FILE: &str = "dagcache.toml";
/// The same limit as in Linux.
const MAX_LINKS: usize = 40;
/// One mistake often causes follow-up errors; showing more does not help.
const SYNTAX_ERRORS: usize = 3;

/// The origin of the configuration. Printed as `dagcache.toml` or `Cargo.toml [workspace.metadata.dagcache]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) file: RelPath,
    /// The table; empty for a whole file.
    pub(crate) table: &'static str,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.table.is_empty() {
            write!(f, "{}", self.file)
        } else {
            write!(f, "{} [{}]", self.file, self.table)
        }
    }
}

/// A place that contains a configuration.
pub(super) struct Candidate<'t, 'i> {
    pub(super) source: usize,
    pub(super) origin: Origin,
    /// The key that opens the table; the first byte for a whole file.
    pub(super) span: Range<usize>,
    pub(super) value: TableRef<'t, 'i>,
}

/// A configuration table, or another value in its place.
pub(super) enum TableRef<'t, 'i> {
    Table(&'t DeTable<'i>),
    Other(&'t Spanned<DeValue<'i>>),
}

/// The tables that may contain the configuration, by file.
const PLACES: &[(&str, &[&str])] = &[
    (OWN_FILE, &[""]),
    (
        "Cargo.toml",
        &["workspace.metadata.dagcache", "package.metadata.dagcache"],
    ),
    ("pyproject.toml", &["tool.dagcache"]),
];

/// Reads the files that may contain the configuration.
pub(super) fn read(snapshot: &Snapshot) -> Result<Vec<(&'static str, Vec<u8>)>, ConfigError> {
    let mut files = Vec::new();
    for (name, _) in PLACES {
        files.extend(bytes_of(snapshot, name)?.map(|bytes| (*name, bytes)));
    }
    Ok(files)
}

/// Decodes the files worth parsing. Invalid UTF-8 is reported.
pub(super) fn decode(files: Vec<(&'static str, Vec<u8>)>) -> (Vec<Source>, Vec<Problem>) {
    let mut sources = Vec::new();
    let mut problems = Vec::new();
    for (name, bytes) in files {
        let (text, bad_byte) = match String::from_utf8(bytes) {
            Ok(text) => (text, None),
            Err(error) => (
                String::from_utf8_lossy(error.as_bytes()).into_owned(),
                Some(error.utf8_error().valid_up_to()),
            ),
        };
        if !may_hold_table(name, &text) {
            continue;
        }
        problems.extend(bad_byte.map(|at| not_utf8(sources.len(), name, at)));
        let path = RelPath::from_normal(name.to_owned());
        sources.push(Source::new(path, text));
    }
    (sources, problems)
}

/// Whether the text contains all words of the table's name. If not, it is not parsed, so that unrelated errors in it
/// are not reported.
fn may_hold_table(name: &str, text: &str) -> bool {
    PLACES
        .iter()
        .filter(|(file, _)| *file == name)
        .flat_map(|(_, tables)| *tables)
        .any(|table| table.split('.').all(|word| text.contains(word)))
}

/// The content of a file at the project root, or of the target of a link inside the project.
fn bytes_of(snapshot: &Snapshot, name: &str) -> Result<Option<Vec<u8>>, ConfigError> {
    let path = RelPath::from_normal(name.to_owned());
    let Some(link) = snapshot.find(name) else {
        return match left_out(snapshot, name) {
            Some(reason) if name == OWN_FILE => {
                let source = std::io::Error::other(reason.to_string());
                Err(ConfigError::Read { path, source })
            }
            _ => Ok(None),
        };
    };
    let Some(id) = follow(snapshot, link) else {
        return if name == OWN_FILE {
            Err(ConfigError::Link { path })
        } else {
            Ok(None)
        };
    };
    match snapshot.read(id) {
        Ok(bytes) => Ok(Some(bytes)),
        // Nobody configures this program in such a manifest; its own checks say so.
        Err(error) if error.kind() == ErrorKind::FileTooLarge && name != OWN_FILE => Ok(None),
        Err(source) => Err(ConfigError::Read { path, source }),
    }
}

/// Why a file at the root is not in the snapshot though it exists. Ignoring it would drop its checks.
fn left_out(snapshot: &Snapshot, name: &str) -> Option<Reason> {
    let mut odd = snapshot.left_out().iter();
    let odd = odd.find(|odd| odd.display == name)?;
    let reasons = [Reason::Unreadable, Reason::TooLarge, Reason::Special];
    reasons.contains(&odd.reason).then_some(odd.reason)
}

/// The project file at the end of a chain of links, if any.
fn follow(snapshot: &Snapshot, id: FileId) -> Option<FileId> {
    let mut id = id;
    for _ in 0..MAX_LINKS {
        let entry = snapshot.entry(id);
        if entry.kind != Kind::Symlink {
            return Some(id);
        }
        let target = String::from_utf8(snapshot.read(id).ok()?).ok()?;
        let path = entry.path.parent()?.join(&target).ok()?;
        id = snapshot.find(&path)?;
    }
    None
}

fn not_utf8(source: usize, name: &str, at: usize) -> Problem {
    Problem {
        title: format!("{name} is not valid UTF-8"),
        marks: vec![Mark {
            source,
            span: at..at + 1,
            label: "the first invalid byte".to_owned(),
        }],
        help: None,
    }
}

/// Parses a source; syntax errors are reported.
pub(super) fn parse<'i>(
    index: usize,
    source: &'i Source,
    problems: &mut Vec<Problem>,
) -> Spanned<DeTable<'i>> {
    let (tree, errors) = DeTable::parse_recoverable(&source.text);
    problems.extend(
        errors
            .iter()
            .take(SYNTAX_ERRORS)
            .map(|error| syntax(index, source, error)),
    );
    tree
}

fn syntax(index: usize, source: &Source, error: &toml::de::Error) -> Problem {
    Problem {
        title: format!("{} is not valid TOML", source.path),
        marks: vec![Mark {
            source: index,
            span: error.span().unwrap_or(0..0),
            label: error.message().replace('\n', ", "),
        }],
        help: None,
    }
}

/// The places of a parsed source that contain a configuration.
pub(super) fn candidates<'t, 'i>(
    index: usize,
    source: &Source,
    tree: &'t Spanned<DeTable<'i>>,
) -> Vec<Candidate<'t, 'i>> {
    PLACES
        .iter()
        .filter(|(name, _)| *name == source.path.as_str())
        .flat_map(|(_, tables)| *tables)
        .filter_map(|table| {
            let (span, value) = descend(tree.get_ref(), table)?;
            let file = source.path.clone();
            Some(Candidate {
                source: index,
                origin: Origin { file, table },
                span,
                value,
            })
        })
        .collect()
}

/// The table of a dotted name, with the span of its last key.
fn descend<'t, 'i>(tree: &'t DeTable<'i>, name: &str) -> Option<(Range<usize>, TableRef<'t, 'i>)> {
    if name.is_empty() {
        return Some((0..0, TableRef::Table(tree)));
    }
    let (folder, last) = name.rsplit_once('.').unwrap_or(("", name));
    let (_, TableRef::Table(parent)) = descend(tree, folder)? else {
        return None;
    };
    let (key, value) = parent.get_key_value(last)?;
    let value = match value.get_ref() {
        DeValue::Table(table) => TableRef::Table(table),
        _ => TableRef::Other(value),
    };
    Some((key.span(), value))
}

/// The error for more than one configuration.
pub(super) fn too_many(candidates: &[Candidate<'_, '_>]) -> Problem {
    let names: Vec<String> = candidates
        .iter()
        .map(|candidate| candidate.origin.to_string())
        .collect();
    let marks = candidates
        .iter()
        .zip(&names)
        .map(|(candidate, name)| Mark {
            source: candidate.source,
            span: candidate.span.clone(),
            label: name.clone(),
        })
        .collect();
    Problem {
        title: format!("the configuration is in {} places", candidates.len()),
        marks,
        help: Some(format!(
            "keep one of {} and move the other settings into it",
            names.join(" and ")
        )),
    }
}
