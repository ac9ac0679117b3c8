//! The content of a Python project's lock file, independent of its format.
//!
//! Pure. Does not choose packages.

use std::collections::{BTreeMap, BTreeSet};

use crate::finding::position;

use super::version;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lock {
    /// The Python versions that the project allows.
    pub(crate) python: Option<String>,
    /// In the order of the file. A name may occur more than once.
    pub(crate) packages: Vec<Package>,
    /// The extras requested by the project, by package, if the lock lists them.
    pub(crate) asked: BTreeMap<String, BTreeSet<String>>,
    /// What the project itself asks for, if the lock says so.
    pub(crate) direct: BTreeSet<String>,
    /// Whether dependencies between packages are unknown.
    pub(crate) flat: bool,
}

impl Lock {
    /// Whether the project declares a package, given what its project file names: the project asks for it, nothing else
    /// does, or it asks for a plugin (`mdformat-gfm`).
    pub(crate) fn declares(&self, name: &str, named: &BTreeSet<String>) -> bool {
        if self.direct.contains(name) || named.contains(name) {
            return true;
        }
        let needs = |package: &&Package| {
            let mut needed = package.dependencies.iter();
            package.name != name && needed.any(|dependency| dependency.name == name)
        };
        let mut users = self.packages.iter().filter(needs).peekable();
        let is_plugin = |package: &Package| {
            let rest = package.name.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with('-'))
        };
        users.peek().is_none()
            || users.any(|user| is_plugin(user) && self.declares(&user.name, named))
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// The dependency groups it belongs to; empty if the format has none.
    pub(crate) groups: BTreeSet<String>,
    /// When it is installed: by group, or under the empty name for all groups.
    pub(crate) markers: BTreeMap<String, String>,
    /// Its dependencies. A name may occur more than once, with different markers.
    pub(crate) dependencies: Vec<Dependency>,
    /// The normalised names of the optional dependencies of each extra.
    pub(crate) extras: BTreeMap<String, BTreeSet<String>>,
    /// Digests of its files as `algorithm:hexadecimal`; only those that pip accepts.
    pub(crate) hashes: BTreeSet<String>,
    /// Whether one of its files is a wheel.
    pub(crate) has_wheel: bool,
    /// Whether it comes from a package index (not from git, a folder or a URL).
    pub(crate) from_index: bool,
}

/// A dependency of a package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) constraint: String,
    /// The extras needed of it.
    pub(crate) extras: BTreeSet<String>,
    pub(crate) markers: Option<String>,
    /// Whether it is only needed for an extra.
    pub(crate) optional: bool,
}

impl Package {
    /// Its line in a requirements file, with all hashes. `None` if it cannot be installed that way: no hashes, no
    /// wheel, not from an index, or an invalid version.
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

/// A syntax error in a TOML file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (line {line}, column {column})")]
pub(crate) struct TomlError {
    pub(crate) message: String,
    pub(crate) line: usize,
    /// In characters, from 1.
    pub(crate) column: usize,
}

impl TomlError {
    /// Finds the place of `error` in `text`.
    #[must_use]
    pub(crate) fn new(text: &str, error: &toml::de::Error) -> Self {
        let offset = error.span().map_or(0, |span| span.start);
        let (line, column) = position(text.as_bytes(), offset);
        Self {
            message: error.message().trim().to_owned(),
            line,
            column,
        }
    }
}

/// The name in the form that package indexes compare (PEP 503): lower case, runs of `-`, `_` and `.` as one `-`.
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

/// Only what pip accepts for `--hash`, so that no other text of the lock gets into a requirements file.
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
