//! The lockfile of a skeleton: the packages that own ones reach, with the versions of own ones as they are there.
//!
//! Stays free of judging it: a lockfile that does not fit its manifests does not fit here either.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use super::VERSION;

pub(crate) struct Lock {
    text: String,
    table: Table,
}

#[derive(Clone, Copy)]
struct Package<'a> {
    name: &'a str,
    version: &'a str,
    source: Option<&'a str>,
    table: &'a Table,
}

impl<'a> Package<'a> {
    fn read(value: &'a Value) -> Option<Self> {
        let table = value.as_table()?;
        let text = |key: &str| table.get(key).and_then(Value::as_str);
        Some(Self {
            name: text("name")?,
            version: text("version")?,
            source: text("source"),
            table,
        })
    }

    /// Whether a dependency entry (`name`, `name version` or `name version (source)`) means this package.
    fn is_meant_by(&self, entry: &str) -> bool {
        let mut words = entry.split_whitespace();
        words.next() == Some(self.name)
            && words.next().is_none_or(|version| version == self.version)
            && words.next().is_none_or(|source| {
                Some(source.trim_start_matches('(').trim_end_matches(')')) == self.source
            })
    }
}

impl Lock {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let table = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        Ok(Self {
            text: text.to_owned(),
            table,
        })
    }

    /// Whether entries can be changed without knowing more: the formats that say their version, from 3 on.
    pub(crate) fn can_be_masked(&self) -> bool {
        let version = self.table.get("version").and_then(Value::as_integer);
        version.is_some_and(|version| version >= 3)
    }

    /// The text with what the packages named `own` that lie in the project reach, where those named `masked` have the
    /// version of a skeleton.
    pub(crate) fn closure(&self, own: &BTreeSet<&str>, masked: &BTreeSet<&str>) -> String {
        if !self.can_be_masked() {
            return self.text.clone();
        }
        let packages = self.table.get("package").and_then(Value::as_array);
        let packages: Vec<Package<'_>> = packages
            .into_iter()
            .flatten()
            .filter_map(Package::read)
            .collect();
        let reached = reached(&packages, own);
        let version = |package: &Package<'_>| match package.source {
            None if masked.contains(package.name) => VERSION.to_owned(),
            _ => package.version.to_owned(),
        };
        let mut versions: BTreeMap<&str, BTreeMap<String, usize>> = BTreeMap::new();
        for package in &reached {
            let of_name = versions.entry(package.name).or_default();
            *of_name.entry(version(package)).or_default() += 1;
        }
        // As short as cargo writes it.
        let reference = |package: &Package<'_>| {
            let (name, version) = (package.name, version(package));
            let of_name = versions.get(name);
            let alone = of_name.and_then(|all| all.get(&version)) == Some(&1);
            match (alone, of_name.map(BTreeMap::len), package.source) {
                (true, Some(1), _) => name.to_owned(),
                (true, ..) | (_, _, None) => format!("{name} {version}"),
                (false, _, Some(source)) => format!("{name} {version} ({source})"),
            }
        };
        let rewritten = reached.iter().map(|package| {
            let mut table = package.table.clone();
            table.insert("version".to_owned(), version(package).into());
            if let Some(Value::Array(entries)) = table.get_mut("dependencies") {
                for entry in entries {
                    let meant = entry.as_str().and_then(|text| {
                        let mut meant = reached.iter().filter(|p| p.is_meant_by(text));
                        meant.next()
                    });
                    if let Some(meant) = meant {
                        *entry = reference(meant).into();
                    }
                }
            }
            Value::Table(table)
        });
        let mut table = self.table.clone();
        table.insert("package".to_owned(), rewritten.collect::<Vec<_>>().into());
        table.to_string()
    }
}

/// Own packages and what they reach, in the order of the file.
fn reached<'a>(packages: &[Package<'a>], own: &BTreeSet<&str>) -> Vec<Package<'a>> {
    let mut by_name: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, package) in packages.iter().enumerate() {
        by_name.entry(package.name).or_default().push(index);
    }
    let is_own = |package: &Package<'_>| package.source.is_none() && own.contains(package.name);
    let mut queue: Vec<usize> = (0..packages.len())
        .filter(|index| packages.get(*index).is_some_and(is_own))
        .collect();
    let mut reached: BTreeSet<usize> = queue.iter().copied().collect();
    while let Some(package) = queue.pop().and_then(|index| packages.get(index)) {
        let entries = package.table.get("dependencies").and_then(Value::as_array);
        for entry in entries.into_iter().flatten().filter_map(Value::as_str) {
            let name = entry.split_whitespace().next().unwrap_or_default();
            for index in by_name.get(name).into_iter().flatten() {
                let meant = packages.get(*index).is_some_and(|p| p.is_meant_by(entry));
                if meant && reached.insert(*index) {
                    queue.push(*index);
                }
            }
        }
    }
    let indices = reached.into_iter();
    indices
        .filter_map(|index| packages.get(index).copied())
        .collect()
}
