//! `poetry.lock`, formats 1.0 to 2.x.
//!
//! The formats differ in where file hashes are (`[metadata.files]` or the package), how groups are named (`category`,
//! not at all, `groups`) and whether packages have `markers`. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::lock::{
    Dependency, Lock, Package, TomlError, is_strong, names, normalized, requirement_name,
};

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

pub(crate) fn parse(text: &str) -> Result<Lock, TomlError> {
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    const HASH: &str = "sha256:61122637c9e1d9be1329054f3fa216559f0d1f722b7919b060a8c2a4ae1850e5";

    fn lock(text: &str) -> Lock {
        parse(text).expect("a lock")
    }

    #[test]
    fn reads_the_2_x_format() {
        let lock = lock(&format!(
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
        let lock = lock(&format!(
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
        let package = lock(&format!(
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
        let error = parse("[[package]]\nname = \"a\"\nversion = 1\n").expect_err("broken");
        assert_eq!((error.line, error.column), (3, 11));
        let error = parse("[[package]]\n<<<<<<< HEAD\n").expect_err("broken");
        assert_eq!(error.line, 2);
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in ".{0,200}", lines in "(\\[\\[package\\]\\]\n|name = \"a\"\n|version = \"é\"\n|files = \\[\\]\n|markers = 1\n|\\[package.dependencies\\]\n|a = [1\\[{}]\n){0,8}") {
            let _ = parse(&text);
            let _ = parse(&lines);
        }
    }
}
