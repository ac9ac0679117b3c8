//! What a lock file of a Python project says, in whatever format.
//!
//! Pure. Stays free of the formats and of choosing packages.

use std::collections::{BTreeMap, BTreeSet};

use super::version;

/// What a lock file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lock {
    /// The Python versions the project allows.
    pub(crate) python: Option<String>,
    /// The locked packages, in the order of the file. A name may be there more than once.
    pub(crate) packages: Vec<Package>,
    /// The extras the project asks for, by package, if the lock says so.
    pub(crate) asked: BTreeMap<String, BTreeSet<String>>,
    /// Whether it does not say which package needs which.
    pub(crate) flat: bool,
}

/// One locked package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Package {
    /// Normalised name.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: String,
    /// The dependency groups it is in; empty if the format does not say.
    pub(crate) groups: BTreeSet<String>,
    /// When it is installed at all: by group, or under the empty name for all groups.
    pub(crate) markers: BTreeMap<String, String>,
    /// What it needs. A name may be there more than once, under different markers.
    pub(crate) dependencies: Vec<Dependency>,
    /// The names of the optional dependencies each of its extras brings in, normalised.
    pub(crate) extras: BTreeMap<String, BTreeSet<String>>,
    /// Digests of its files as `algorithm:hexadecimal`; only those pip accepts.
    pub(crate) hashes: BTreeSet<String>,
    /// Whether one of its files is a wheel.
    pub(crate) has_wheel: bool,
    /// Whether it comes from a package index (not from git, a folder or a URL).
    pub(crate) from_index: bool,
}

/// What a package needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Dependency {
    /// Normalised name.
    pub(crate) name: String,
    /// The versions that will do.
    pub(crate) constraint: String,
    /// The extras of it that are needed.
    pub(crate) extras: BTreeSet<String>,
    /// When it is needed.
    pub(crate) markers: Option<String>,
    /// Whether it is needed only for an extra.
    pub(crate) optional: bool,
}

impl Package {
    /// The line of a requirements file that pins it with all its hashes. `None` if it cannot be installed that way:
    /// no hashes, no wheel, not from an index, or a version that is none.
    #[must_use]
    pub(crate) fn requirement(&self) -> Option<String> {
        version::satisfies("*", &self.version)?;
        if self.hashes.is_empty() || !self.has_wheel || !self.from_index {
            return None;
        }
        let mut line = format!("{}=={}", self.name, self.version.trim());
        for hash in &self.hashes {
            line.push_str(" --hash=");
            line.push_str(hash);
        }
        Some(line)
    }
}

/// A TOML file is broken at that place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (line {line}, column {column})")]
pub(crate) struct TomlError {
    /// What is wrong.
    pub(crate) message: String,
    /// Line, from 1.
    pub(crate) line: usize,
    /// Column in characters, from 1.
    pub(crate) column: usize,
}

impl TomlError {
    /// Finds the place of `error` in `text`.
    #[must_use]
    pub(crate) fn new(text: &str, error: &toml::de::Error) -> Self {
        let offset = error.span().map_or(0, |span| span.start);
        let before = text.get(..offset).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            message: error.message().trim().to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

/// The name as package indexes compare it (PEP 503): lower case, runs of `-`, `_` and `.` as one `-`.
#[must_use]
pub(crate) fn normalized(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for c in name.trim().chars() {
        if !matches!(c, '-' | '_' | '.') {
            text.push(c.to_ascii_lowercase());
        } else if !text.ends_with('-') {
            text.push('-');
        }
    }
    text
}

/// The name at the start of a requirement (`markdown-it-py[linkify] (>=1,<3) ; …`), normalised.
#[must_use]
pub(crate) fn requirement_name(requirement: &str) -> String {
    let requirement = requirement.trim_start();
    let end = requirement
        .find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.'))
        .unwrap_or(requirement.len());
    normalized(&requirement[..end])
}

/// Only what pip takes for `--hash`, so that no other text of the lock gets into a requirements file.
pub(super) fn is_strong(hash: &str) -> bool {
    let Some((algorithm, digits)) = hash.split_once(':') else {
        return false;
    };
    let length = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => return false,
    };
    digits.len() == length && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
}

/// The normalised names in a TOML list of strings.
#[must_use]
pub(crate) fn names(list: Option<&toml::Value>) -> BTreeSet<String> {
    list.and_then(toml::Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(toml::Value::as_str)
        .map(normalized)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirement_names() {
        assert_eq!(requirement_name("anyio[trio]"), "anyio");
        assert_eq!(requirement_name("Sphinx (>=8.2,<9.0)"), "sphinx");
        assert_eq!(requirement_name("trio>=0.26; os_name == 'nt'"), "trio");
        assert_eq!(requirement_name(""), "");
    }
}
