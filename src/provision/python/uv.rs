//! `uv.lock`: text → [`Lock`].
//!
//! The workspace members are listed as packages: their requirements give every other package its groups (`main`,
//! dependency groups, extras) and its requested extras. They are not part of the result, because they are never
//! installed. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::lock::{Dependency, Lock, Package, TomlError, is_strong, normalized};

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Raw {
    requires_python: Option<String>,
    #[serde(default)]
    manifest: Manifest,
    #[serde(default)]
    package: Vec<RawPackage>,
}

#[derive(Deserialize, Default)]
struct Manifest {
    #[serde(default)]
    members: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawPackage {
    name: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    source: BTreeMap<String, toml::Value>,
    #[serde(default)]
    resolution_markers: Vec<String>,
    #[serde(default)]
    dependencies: Vec<RawDependency>,
    #[serde(default)]
    optional_dependencies: BTreeMap<String, Vec<RawDependency>>,
    #[serde(default)]
    dev_dependencies: BTreeMap<String, Vec<RawDependency>>,
    sdist: Option<RawFile>,
    #[serde(default)]
    wheels: Vec<RawFile>,
}

#[derive(Deserialize, Clone)]
struct RawDependency {
    name: String,
    version: Option<String>,
    #[serde(default)]
    extra: Vec<String>,
    marker: Option<String>,
}

#[derive(Deserialize)]
struct RawFile {
    #[serde(default)]
    hash: String,
}

/// Parses the text of a `uv.lock`.
pub(crate) fn parse(text: &str) -> Result<Lock, TomlError> {
    let raw: Raw = toml::from_str(text).map_err(|error| TomlError::new(text, &error))?;
    let (members, others): (Vec<&RawPackage>, Vec<&RawPackage>) = raw
        .package
        .iter()
        .partition(|package| raw.is_member(package));
    let mut packages: Vec<Package> = others.iter().map(|package| package.read()).collect();
    let mut asked: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut direct = BTreeSet::new();
    for member in members {
        for (group, list) in member.lists() {
            for dependency in list {
                direct.insert(normalized(&dependency.name));
                asked
                    .entry(normalized(&dependency.name))
                    .or_default()
                    .extend(dependency.extra.iter().map(|extra| normalized(extra)));
            }
            put_in_group(&mut packages, &group, list);
        }
    }
    asked.retain(|_, extras| !extras.is_empty());
    Ok(Lock {
        python: raw.requires_python,
        packages,
        asked,
        direct,
        flat: false,
    })
}

impl Raw {
    /// Workspaces list their members; a single project is the package of its own folder.
    fn is_member(&self, package: &RawPackage) -> bool {
        let here = ["virtual", "editable"]
            .iter()
            .filter_map(|kind| package.source.get(*kind))
            .any(|path| path.as_str() == Some("."));
        here || self.manifest.members.contains(&package.name)
    }
}

impl RawPackage {
    fn read(&self) -> Package {
        let needed = self.dependencies.iter().map(|raw| raw.read(false));
        let optional = self
            .optional_dependencies
            .values()
            .flatten()
            .map(|raw| raw.read(true));
        let extras = self.optional_dependencies.iter().map(|(extra, list)| {
            let names = list.iter().map(|raw| normalized(&raw.name)).collect();
            (normalized(extra), names)
        });
        let files = self.wheels.iter().chain(&self.sdist);
        let markers: Vec<String> = self
            .resolution_markers
            .iter()
            .map(|marker| format!("({marker})"))
            .collect();
        Package {
            name: normalized(&self.name),
            version: self.version.clone(),
            groups: BTreeSet::new(),
            markers: match markers.is_empty() {
                true => BTreeMap::new(),
                false => [(String::new(), markers.join(" or "))].into(),
            },
            dependencies: needed.chain(optional).collect(),
            extras: extras.collect(),
            hashes: files
                .map(|file| &file.hash)
                .filter(|hash| is_strong(hash))
                .cloned()
                .collect(),
            has_wheel: !self.wheels.is_empty(),
            from_index: self.source.contains_key("registry"),
        }
    }

    /// Its requirements by group. An extra and a group of the same name are merged, because users treat them alike.
    fn lists(&self) -> Vec<(String, &[RawDependency])> {
        let mut lists = vec![("main".to_owned(), self.dependencies.as_slice())];
        for (name, list) in self
            .optional_dependencies
            .iter()
            .chain(&self.dev_dependencies)
        {
            lists.push((normalized(name), list));
        }
        lists
    }
}

impl RawDependency {
    fn read(&self, optional: bool) -> Dependency {
        let constraint = match &self.version {
            Some(version) => format!("=={version}"),
            None => "*".to_owned(),
        };
        Dependency {
            name: normalized(&self.name),
            constraint,
            extras: self.extra.iter().map(|extra| normalized(extra)).collect(),
            markers: self.marker.clone(),
            optional,
        }
    }
}

/// Adds everything the list needs to the group, directly or indirectly.
fn put_in_group(packages: &mut [Package], group: &str, list: &[RawDependency]) {
    let mut by_name: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, package) in packages.iter().enumerate() {
        by_name.entry(package.name.clone()).or_default().push(at);
    }
    let mut todo: Vec<String> = list.iter().map(|raw| normalized(&raw.name)).collect();
    while let Some(name) = todo.pop() {
        for &at in by_name.get(&name).into_iter().flatten() {
            if packages[at].groups.insert(group.to_owned()) {
                let needs = packages[at].dependencies.iter();
                todo.extend(needs.map(|dependency| dependency.name.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::closure::closure;
    use super::super::marker::tests::linux;
    use super::*;
    use proptest::prelude::*;

    const LOCK: &str = include_str!("../../../tests/fixtures/python/uv.lock");

    fn of(text: &str, tool: &str) -> Vec<String> {
        let lock = parse(text).expect("a lock");
        let found = closure(&lock, tool, &lock.asked, &linux()).expect("a closure");
        found
            .expect("the tool is locked")
            .packages
            .iter()
            .map(|package| format!("{} {}", package.name, package.version))
            .collect()
    }

    #[test]
    fn the_closures_of_a_real_lock() {
        assert_eq!(of(LOCK, "ruff"), ["ruff 0.5.7"]);
        assert_eq!(
            of(LOCK, "yamllint"),
            ["pathspec 0.12.1", "pyyaml 6.0.2", "yamllint 1.37.1"]
        );
        let mdformat = of(LOCK, "mdformat");
        for part in [
            "mdformat 0.7.22",
            "mdformat-gfm 0.3.7",
            "linkify-it-py 2.2.0",
        ] {
            assert!(mdformat.contains(&part.to_owned()), "{mdformat:?}");
        }
        let lock = parse(LOCK).expect("a lock");
        assert_eq!(lock.python.as_deref(), Some(">=3.11"));
        assert!(
            lock.packages
                .iter()
                .all(|package| package.name != "project")
        );
        let ruff = lock
            .packages
            .iter()
            .find(|p| p.name == "ruff")
            .expect("ruff");
        assert!(ruff.requirement().is_some());
        assert!(ruff.groups.contains("lint"), "{:?}", ruff.groups);
    }

    #[test]
    fn an_unrelated_package_and_a_comment_change_nothing() {
        let lock = |text: &str| {
            let lock = parse(text).expect("a lock");
            closure(&lock, "yamllint", &lock.asked, &linux())
        };
        let changed = format!(
            "# a comment\n{LOCK}\n[[package]]\nname = \"new\"\nversion = \"1\"\nsource = {{ registry = \"x\" }}\n"
        );
        assert_eq!(lock(&changed), lock(LOCK));
        let bumped = LOCK.replace("version = \"0.12.1\"", "version = \"0.12.2\"");
        assert_ne!(lock(&bumped), lock(LOCK));
    }

    const SMALL: &str = r#"
version = 1
requires-python = ">=3.8"
[manifest]
members = ["one", "two"]
[[package]]
name = "one"
source = { virtual = "one" }
[package.optional-dependencies]
extra = [{ name = "plugin" }]
[package.dev-dependencies]
dev = [{ name = "tool", extra = ["fast"] }, { name = "local" }]
[[package]]
name = "two"
source = { editable = "two" }
dependencies = [{ name = "elsewhere" }]
[[package]]
name = "tool"
version = "1"
source = { registry = "https://pypi.org/simple" }
dependencies = [{ name = "lib", version = "1", marker = "python_full_version < '3.9'" }, { name = "lib", version = "2", marker = "python_full_version >= '3.9'" }]
sdist = { url = "x", hash = "sha256:61122637c9e1d9be1329054f3fa216559f0d1f722b7919b060a8c2a4ae1850e5" }
[package.optional-dependencies]
fast = [{ name = "quick" }]
slow = [{ name = "slug" }]
[[package]]
name = "lib"
version = "1"
source = { registry = "https://pypi.org/simple" }
resolution-markers = ["python_full_version < '3.9'"]
[[package]]
name = "lib"
version = "2"
source = { registry = "https://pypi.org/simple" }
resolution-markers = ["python_full_version >= '3.9' and python_full_version < '3.99'", "python_full_version >= '3.99'"]
[[package]]
name = "quick"
version = "1"
source = { registry = "https://pypi.org/simple" }
[[package]]
name = "slug"
version = "1"
source = { registry = "https://pypi.org/simple" }
[[package]]
name = "local"
version = "0"
source = { directory = "local" }
dependencies = [{ name = "tool" }]
[[package]]
name = "plugin"
version = "1"
source = { registry = "https://pypi.org/simple" }
dependencies = [{ name = "tool" }]
[[package]]
name = "elsewhere"
version = "1"
source = { registry = "https://pypi.org/simple" }
"#;

    #[test]
    fn forks_extras_groups_and_local_packages() {
        // `plugin` needs the tool too, and brings it into its own group.
        assert_eq!(
            of(SMALL, "tool"),
            ["lib 2", "local 0", "plugin 1", "quick 1", "tool 1"]
        );
        let lock = parse(SMALL).expect("a lock");
        let found = closure(&lock, "tool", &lock.asked, &linux()).expect("a closure");
        let unfit = found
            .expect("the tool")
            .requirements()
            .expect_err("no wheels");
        assert!(unfit.contains(&"tool 1".to_owned()), "{unfit:?}");
        assert!(unfit.contains(&"local 0".to_owned()), "{unfit:?}");
    }

    #[test]
    fn a_broken_lock_names_the_place() {
        let error = parse("[[package]]\nname = 1\n").expect_err("broken");
        assert_eq!(error.line, 2);
    }

    proptest! {
        #[test]
        fn arbitrary_and_damaged_locks_never_panic(text in "\\PC{0,100}", at in 0..SMALL.len(), cut in 0..60_usize, put in "\\PC{0,8}") {
            let mut damaged = SMALL.as_bytes().to_vec();
            let end = (at + cut).min(damaged.len());
            damaged.splice(at..end, put.into_bytes());
            for text in [text, String::from_utf8_lossy(&damaged).into_owned()] {
                if let Ok(lock) = parse(&text) {
                    let _ = closure(&lock, "tool", &lock.asked, &linux());
                }
            }
        }
    }
}
