//! The lockfile of a skeleton: the packages that workspace packages reach, with the skeleton's versions of the
//! latter.
//!
//! Does not validate: a lockfile that does not match its manifests does not match here either.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use super::super::lock::{self, LockError, Package};
use super::VERSION;

/// A lockfile and its text.
pub(crate) struct Lock {
    text: String,
    read: lock::Lock,
}

impl Lock {
    /// Parses the text.
    pub(crate) fn parse(text: &str) -> Result<Self, LockError> {
        Ok(Self {
            text: text.to_owned(),
            read: lock::parse(text)?,
        })
    }

    /// Whether entries can be changed without further knowledge: in formats that record their version, from 3 on.
    pub(crate) fn can_be_masked(&self) -> bool {
        self.read.version.is_some_and(|version| version >= 3)
    }

    /// The text of everything that the project packages named `own` reach; those named `masked` have the version of a
    /// skeleton.
    pub(crate) fn closure(&self, own: &BTreeSet<&str>, masked: &BTreeSet<&str>) -> String {
        let table: Result<Table, _> = toml::from_str(&self.text);
        let (true, Ok(mut table)) = (self.can_be_masked(), table) else {
            return self.text.clone();
        };
        let indices = self.read.reached(|name| own.contains(name));
        let packages = indices.iter().map(|index| &self.read.package[*index]);
        let reached: Vec<&Package> = packages.collect();
        let version = |package: &Package| match package.source {
            None if masked.contains(package.name.as_str()) => VERSION.to_owned(),
            _ => package.version.clone(),
        };
        let mut versions: BTreeMap<&str, BTreeMap<String, usize>> = BTreeMap::new();
        for package in &reached {
            let of_name = versions.entry(&package.name).or_default();
            *of_name.entry(version(package)).or_default() += 1;
        }
        // As short as cargo writes it.
        let reference = |package: &Package| {
            let (name, version) = (&package.name, version(package));
            let of_name = versions.get(name.as_str());
            let alone = of_name.and_then(|all| all.get(&version)) == Some(&1);
            match (alone, of_name.map(BTreeMap::len), &package.source) {
                (true, Some(1), _) => name.clone(),
                (true, ..) | (_, _, None) => format!("{name} {version}"),
                (false, _, Some(source)) => format!("{name} {version} ({source})"),
            }
        };
        let written = table.get("package").and_then(Value::as_array);
        let written = indices
            .iter()
            .filter_map(|index| written?.get(*index)?.as_table());
        let rewritten = written.zip(&reached).map(|(table, package)| {
            let mut table = table.clone();
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
        let rewritten: Vec<Value> = rewritten.collect();
        table.insert("package".to_owned(), rewritten.into());
        table.to_string()
    }
}
