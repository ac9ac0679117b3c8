//! Lock files of Python projects: text → [`Lock`], one parser per format ([`super::uv`], [`super::requirements`], and
//! Poetry's here).
//!
//! Poetry writes `poetry.lock` in formats 1.0 to 2.x; what differs is where the file hashes are (`[metadata.files]` or
//! the package), how groups are named (`category`, nothing, `groups`) and whether a package has `markers`.
//! Pure. Stays free of choosing packages.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{requirements, uv, version};

/// The formats there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockFormat {
    /// `uv.lock`.
    Uv,
    /// `poetry.lock`, formats 1.0 to 2.x.
    Poetry,
    /// `requirements.txt` and its like.
    Requirements,
}

impl LockFormat {
    /// Whether a file of that name, beside `pyproject.toml`, is one.
    #[must_use]
    pub(crate) fn is(self, file_name: &str) -> bool {
        match self {
            Self::Uv => file_name == "uv.lock",
            Self::Poetry => file_name == "poetry.lock",
            Self::Requirements => requirements::is_requirements(file_name),
        }
    }

    /// How a broken file is mended.
    #[must_use]
    pub(crate) const fn mend(self) -> &'static str {
        match self {
            Self::Uv => "write the lock anew with `uv lock`",
            Self::Poetry => "write the lock anew with `poetry lock`",
            Self::Requirements => "mend it",
        }
    }

    /// Parses the text of such a file. `read` yields files that it includes.
    ///
    /// # Errors
    /// If it is not one, with the place.
    pub(crate) fn parse(
        self,
        text: &str,
        read: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Lock, TomlError> {
        match self {
            Self::Uv => uv::parse(text),
            Self::Poetry => poetry(text),
            Self::Requirements => Ok(requirements::parse(text, read)),
        }
    }
}

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

#[derive(Deserialize)]
struct RawLock {
    #[serde(default)]
    package: Vec<RawPackage>,
    #[serde(default)]
    metadata: RawMetadata,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
struct RawMetadata {
    python_versions: Option<String>,
    #[serde(default)]
    files: BTreeMap<String, Vec<RawFile>>,
}

#[derive(Deserialize)]
struct RawPackage {
    name: String,
    version: String,
    category: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
    markers: Option<RawMarkers>,
    #[serde(default)]
    dependencies: BTreeMap<String, toml::Value>,
    #[serde(default)]
    extras: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    files: Vec<RawFile>,
    source: Option<RawSource>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawMarkers {
    All(String),
    ByGroup(BTreeMap<String, String>),
}

#[derive(Deserialize)]
struct RawFile {
    file: String,
    #[serde(default)]
    hash: String,
}

#[derive(Deserialize)]
struct RawSource {
    #[serde(rename = "type", default)]
    kind: String,
}

fn poetry(text: &str) -> Result<Lock, TomlError> {
    let raw: RawLock = toml::from_str(text).map_err(|error| TomlError::new(text, &error))?;
    let by_name: BTreeMap<String, &Vec<RawFile>> = raw
        .metadata
        .files
        .iter()
        .map(|(name, files)| (normalized(name), files))
        .collect();
    let packages = raw
        .package
        .iter()
        .map(|package| {
            let elsewhere = by_name.get(&normalized(&package.name)).copied();
            let files = if package.files.is_empty() {
                elsewhere.map_or(&[][..], Vec::as_slice)
            } else {
                &package.files
            };
            package.read(files)
        })
        .collect();
    Ok(Lock {
        python: raw.metadata.python_versions,
        packages,
        ..Lock::default()
    })
}

impl RawPackage {
    fn read(&self, files: &[RawFile]) -> Package {
        Package {
            name: normalized(&self.name),
            version: self.version.clone(),
            groups: self.groups.iter().chain(&self.category).cloned().collect(),
            markers: match &self.markers {
                None => BTreeMap::new(),
                Some(RawMarkers::All(marker)) => BTreeMap::from([(String::new(), marker.clone())]),
                Some(RawMarkers::ByGroup(markers)) => markers.clone(),
            },
            dependencies: self
                .dependencies
                .iter()
                .flat_map(|(name, value)| dependencies(name, value))
                .collect(),
            extras: self
                .extras
                .iter()
                .map(|(extra, list)| {
                    let names = list.iter().map(|item| requirement_name(item)).collect();
                    (normalized(extra), names)
                })
                .collect(),
            hashes: files
                .iter()
                .filter(|file| is_strong(&file.hash))
                .map(|file| file.hash.clone())
                .collect(),
            has_wheel: files.iter().any(|file| file.file.ends_with(".whl")),
            from_index: self
                .source
                .as_ref()
                .is_none_or(|source| source.kind == "legacy"),
        }
    }
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

/// A dependency is a constraint, a table, or a list of these for different markers.
fn dependencies(name: &str, value: &toml::Value) -> Vec<Dependency> {
    match value {
        toml::Value::String(constraint) => vec![Dependency {
            name: normalized(name),
            constraint: constraint.clone(),
            ..Dependency::default()
        }],
        toml::Value::Table(table) => vec![table_dependency(name, table)],
        toml::Value::Array(items) => items
            .iter()
            .filter(|item| !item.is_array())
            .flat_map(|item| dependencies(name, item))
            .collect(),
        _ => Vec::new(),
    }
}

fn table_dependency(name: &str, table: &toml::Table) -> Dependency {
    let text = |key: &str| table.get(key).and_then(toml::Value::as_str);
    Dependency {
        name: normalized(name),
        constraint: text("version").unwrap_or("*").to_owned(),
        extras: names(table.get("extras")),
        markers: text("markers").map(str::to_owned),
        optional: table
            .get("optional")
            .and_then(toml::Value::as_bool)
            .unwrap_or(false),
    }
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
    use proptest::prelude::*;

    const HASH: &str = "sha256:61122637c9e1d9be1329054f3fa216559f0d1f722b7919b060a8c2a4ae1850e5";

    fn parse(text: &str) -> Lock {
        LockFormat::Poetry.parse(text, &|_| None).expect("a lock")
    }

    #[test]
    fn reads_the_2_x_format() {
        let lock = parse(&format!(
            r#"
[[package]]
name = "Ruamel.Yaml"
version = "0.18.14"
optional = false
groups = ["lint", "main"]
markers = {{lint = "os_name == 'nt'"}}
files = [{{file = "a-1-py3-none-any.whl", hash = "{HASH}"}}, {{file = "a-1.tar.gz", hash = "md5:00"}}]

[package.dependencies]
plain = ">=1"
Table_One = {{version = "*", extras = ["Link_Ify"], markers = "extra == 'x'", optional = true}}
many = [
    {{version = "<2", markers = "python_version < '3.8'"}},
    {{version = ">=2", markers = "python_version >= '3.8'"}},
]

[package.extras]
X = ["Table.One (>=1)"]

[metadata]
python-versions = ">=3.11,<4.0"
"#
        ));
        assert_eq!(lock.python.as_deref(), Some(">=3.11,<4.0"));
        let package = &lock.packages[0];
        assert_eq!(package.name, "ruamel-yaml");
        assert_eq!(package.groups.len(), 2);
        assert_eq!(package.markers["lint"], "os_name == 'nt'");
        assert_eq!(package.hashes, BTreeSet::from([HASH.to_owned()]));
        assert!(package.has_wheel && package.from_index);
        let names: Vec<_> = package.dependencies.iter().map(|d| &*d.name).collect();
        assert_eq!(names, ["table-one", "many", "many", "plain"]);
        let table = &package.dependencies[0];
        assert!(table.optional && table.extras.contains("link-ify"));
        assert!(package.extras["x"].contains("table-one"));
        assert_eq!(
            package.requirement(),
            Some(format!("ruamel-yaml==0.18.14 --hash={HASH}"))
        );
    }

    #[test]
    fn reads_the_1_x_format_with_its_files_in_the_metadata() {
        let lock = parse(&format!(
            r#"
[[package]]
name = "PyYAML"
version = "6.0"
category = "dev"

[metadata]
lock-version = "1.1"
python-versions = "^3.8"

[metadata.files]
pyyaml = [{{file = "PyYAML-6.0-cp311-linux.whl", hash = "{HASH}"}}]
"#
        ));
        let package = &lock.packages[0];
        assert!(package.groups.contains("dev") && package.has_wheel);
        assert_eq!(package.hashes.len(), 1);
    }

    #[test]
    fn what_pip_could_not_verify_has_no_requirement() {
        let package = parse(&format!(
            "[[package]]\nname = 'a'\nversion = '1'\nfiles = [{{file = 'a.whl', hash = '{HASH}'}}]\n"
        ))
        .packages
        .remove(0);
        assert!(package.requirement().is_some());
        let mut unhashed = package.clone();
        unhashed.hashes.clear();
        let mut sources_only = package.clone();
        sources_only.has_wheel = false;
        let mut from_git = package.clone();
        from_git.from_index = false;
        let mut injected = package;
        injected.version = "1\n--index-url http://x".to_owned();
        for package in [unhashed, sources_only, from_git, injected] {
            assert_eq!(package.requirement(), None);
        }
    }

    #[test]
    fn a_broken_lock_names_the_place() {
        let error = LockFormat::Poetry
            .parse("[[package]]\nname = \"a\"\nversion = 1\n", &|_| None)
            .expect_err("broken");
        assert_eq!((error.line, error.column), (3, 11));
        let error = LockFormat::Poetry
            .parse("[[package]]\n<<<<<<< HEAD\n", &|_| None)
            .expect_err("broken");
        assert_eq!(error.line, 2);
    }

    #[test]
    fn requirement_names() {
        assert_eq!(requirement_name("anyio[trio]"), "anyio");
        assert_eq!(requirement_name("Sphinx (>=8.2,<9.0)"), "sphinx");
        assert_eq!(requirement_name("trio>=0.26; os_name == 'nt'"), "trio");
        assert_eq!(requirement_name(""), "");
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in ".{0,200}", lines in "(\\[\\[package\\]\\]\n|name = \"a\"\n|version = \"é\"\n|files = \\[\\]\n|markers = 1\n|\\[package.dependencies\\]\n|a = [1\\[{}]\n){0,8}") {
            let _ = LockFormat::Poetry.parse(&text, &|_| None);
            let _ = LockFormat::Poetry.parse(&lines, &|_| None);
        }
    }
}
