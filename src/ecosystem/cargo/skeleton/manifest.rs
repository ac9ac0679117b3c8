//! One manifest: the paths it names, and the parts of it that stay in a skeleton.

use std::collections::BTreeSet;

use toml::{Table, Value};

use crate::path::RelPath;

use super::VERSION;

/// The empty library.
pub(crate) const LIBRARY: &str = "src/lib.rs";

/// Cargo's default build script, which is empty here.
pub(crate) const BUILD_SCRIPT: &str = "build.rs";

/// The empty example: if a profile sets the panic strategy, cargo compiles everything except tests differently,
/// including dependencies.
pub(crate) const EXAMPLE: &str = "examples/dagcache_skeleton.rs";

/// Tables of dependencies that apply to every package, and those that apply to members only.
const DEPENDENCIES: [&str; 3] = ["dependencies", "build-dependencies", "build_dependencies"];
const DEV_DEPENDENCIES: [&str; 2] = ["dev-dependencies", "dev_dependencies"];

/// Keys of a package that stay the same.
const PACKAGE: [&str; 8] = [
    "default-target",
    "edition",
    "forced-target",
    "links",
    "name",
    "resolver",
    "version",
    "workspace",
];

/// The package's table.
pub(crate) fn package(manifest: &Table) -> Option<&Table> {
    let table = manifest.get("package").or_else(|| manifest.get("project"));
    table.and_then(Value::as_table)
}

/// The package's name.
pub(crate) fn name(manifest: &Table) -> Option<&str> {
    package(manifest)?.get("name")?.as_str()
}

/// The workspace named by the package.
pub(crate) fn workspace_pointer(manifest: &Table) -> Option<&str> {
    package(manifest)?.get("workspace")?.as_str()
}

fn is_proc_macro(manifest: &Table) -> bool {
    let Some(library) = manifest.get("lib").and_then(Value::as_table) else {
        return false;
    };
    let flag = ["proc-macro", "proc_macro"].iter();
    let mut flag = flag.filter_map(|key| library.get(*key));
    let kinds = ["crate-type", "crate_type"].iter();
    let mut kinds = kinds
        .filter_map(|key| library.get(*key)?.as_array())
        .flatten();
    flag.any(|value| value.as_bool() == Some(true))
        || kinds.any(|kind| kind.as_str() == Some("proc-macro"))
}

/// The text of the empty library, which also compiles without a standard library.
pub(crate) fn library(manifest: &Table) -> String {
    if is_proc_macro(manifest) {
        String::new()
    } else {
        "#![cfg_attr(not(test), no_std)]\n".to_owned()
    }
}

/// All tables of dependencies in a package's manifest.
fn tables<'a>(manifest: &'a Table, keys: &'a [&str]) -> impl Iterator<Item = &'a Table> {
    let targets = manifest.get("target").and_then(Value::as_table);
    let targets = targets.into_iter().flat_map(Table::values);
    std::iter::once(manifest)
        .chain(targets.filter_map(Value::as_table))
        .flat_map(move |table| keys.iter().filter_map(move |key| table.get(*key)))
        .filter_map(Value::as_table)
}

/// Folders named by entries of a table of dependencies.
fn paths<'a>(folder: &'a RelPath, table: &'a Table) -> impl Iterator<Item = RelPath> + 'a {
    let named = table
        .values()
        .filter_map(|entry| entry.get("path")?.as_str());
    named.filter_map(move |path| folder.join(path).ok())
}

/// Folders of path dependencies of a package, or of the workspace declared here.
pub(crate) fn path_dependencies(
    folder: &RelPath,
    manifest: &Table,
    package: bool,
    member: bool,
) -> BTreeSet<RelPath> {
    let mut found = BTreeSet::new();
    if package {
        for table in tables(manifest, &DEPENDENCIES) {
            found.extend(paths(folder, table));
        }
    }
    if package && member {
        for table in tables(manifest, &DEV_DEPENDENCIES) {
            found.extend(paths(folder, table));
        }
    }
    let shared = manifest
        .get("workspace")
        .and_then(|w| w.get("dependencies"));
    if let Some(table) = shared.and_then(Value::as_table) {
        found.extend(paths(folder, table));
    }
    found
}

/// Folders of packages that replace external ones.
pub(crate) fn patches(folder: &RelPath, manifest: &Table) -> BTreeSet<RelPath> {
    let sources = manifest.get("patch").and_then(Value::as_table);
    let sources = sources.into_iter().flat_map(Table::values);
    let replaced = manifest.get("replace").into_iter();
    let tables = sources.chain(replaced).filter_map(Value::as_table);
    tables.flat_map(|table| paths(folder, table)).collect()
}

/// Whether a profile of the workspace sets the panic strategy.
pub(crate) fn sets_panic(manifest: &Table) -> bool {
    let profiles = manifest.get("profile").and_then(Value::as_table);
    let mut profiles = profiles.into_iter().flat_map(Table::values);
    profiles.any(|profile| profile.get("panic").is_some())
}

/// How to strip one manifest.
pub(crate) struct Strip<'a> {
    pub(crate) folder: &'a RelPath,
    /// Whether its package stays.
    pub(crate) package: bool,
    /// Whether it belongs to the workspace.
    pub(crate) member: bool,
    /// For the workspace's own manifest: the folders of all members.
    pub(crate) members: Option<&'a [&'a RelPath]>,
    /// Names of packages that get another version.
    pub(crate) masked: &'a BTreeSet<&'a str>,
    /// Whether all packages get another version.
    pub(crate) all_masked: bool,
    /// Whether the package has a build script.
    pub(crate) build_script: bool,
    /// Whether the package gets an example.
    pub(crate) example: bool,
}

impl Strip<'_> {
    pub(crate) fn text(&self, manifest: &Table) -> String {
        let mut kept = Table::new();
        let mut keep = |key: &str| {
            if let Some(value) = manifest.get(key) {
                kept.insert(key.to_owned(), value.clone());
            }
        };
        keep("cargo-features");
        if self.members.is_some() {
            keep("patch");
            keep("profile");
            keep("replace");
        }
        if self.package {
            keep("features");
            self.add_package(manifest, &mut kept);
        }
        if let Some(workspace) = manifest.get("workspace").and_then(Value::as_table) {
            let table = self.workspace(workspace);
            kept.insert("workspace".to_owned(), Value::Table(table));
        }
        kept.to_string()
    }

    fn add_package(&self, manifest: &Table, kept: &mut Table) {
        let (Some(package), Some(name)) = (package(manifest), name(manifest)) else {
            return;
        };
        let mut table = only(package, &PACKAGE);
        if self.masked.contains(name) {
            table.insert("version".to_owned(), VERSION.into());
        }
        for key in ["autobins", "autobenches", "autoexamples", "autotests"] {
            table.insert(key.to_owned(), false.into());
        }
        let build = match self.build_script {
            true => Value::from(BUILD_SCRIPT),
            false => false.into(),
        };
        table.insert("build".to_owned(), build);
        kept.insert("package".to_owned(), Value::Table(table));

        let mut library = Table::new();
        if let Some(name) = manifest.get("lib").and_then(|lib| lib.get("name")) {
            library.insert("name".to_owned(), name.clone());
        }
        if is_proc_macro(manifest) {
            library.insert("proc-macro".to_owned(), true.into());
        }
        library.insert("path".to_owned(), LIBRARY.into());
        kept.insert("lib".to_owned(), Value::Table(library));
        if self.example {
            let mut example = Table::new();
            example.insert("name".to_owned(), "dagcache_skeleton".into());
            example.insert("path".to_owned(), EXAMPLE.into());
            let examples = Value::Array(vec![Value::Table(example)]);
            kept.insert("example".to_owned(), examples);
        }

        kept.extend(self.dependencies(manifest));
        let targets = manifest.get("target").and_then(Value::as_table);
        let targets: Table = targets
            .into_iter()
            .flatten()
            .filter_map(|(name, table)| Some((name, self.dependencies(table.as_table()?))))
            .filter(|(_, table)| !table.is_empty())
            .map(|(name, table)| (name.clone(), Value::Table(table)))
            .collect();
        if !targets.is_empty() {
            kept.insert("target".to_owned(), Value::Table(targets));
        }
    }

    /// The tables of dependencies in `table`. Those for tests apply to members only.
    fn dependencies(&self, table: &Table) -> Table {
        let dev = DEV_DEPENDENCIES.iter().filter(|_| self.member);
        let keys = DEPENDENCIES.iter().chain(dev);
        let found = keys.filter_map(|key| {
            let dependencies = table.get(*key)?.as_table()?;
            let all = without_own_versions(dependencies);
            Some(((*key).to_owned(), Value::Table(all)))
        });
        found.collect()
    }

    fn workspace(&self, workspace: &Table) -> Table {
        let mut kept = only(workspace, &["exclude", "resolver"]);
        let members: Vec<Value> = match self.members {
            Some(all) => {
                let others = all.iter().filter(|member| **member != self.folder);
                others.map(|m| m.seen_from(self.folder).into()).collect()
            }
            None => Vec::new(),
        };
        kept.insert("members".to_owned(), Value::Array(members));
        if let Some(package) = workspace.get("package").and_then(Value::as_table) {
            let keys: &[&str] = match self.all_masked {
                true => &["edition"],
                false => &["edition", "version"],
            };
            let shared = only(package, keys);
            kept.insert("package".to_owned(), Value::Table(shared));
        }
        if let Some(table) = workspace.get("dependencies").and_then(Value::as_table) {
            let all = without_own_versions(table);
            kept.insert("dependencies".to_owned(), Value::Table(all));
        }
        kept
    }
}

fn only(table: &Table, keys: &[&str]) -> Table {
    let kept = table.iter().filter(|(key, _)| keys.contains(&key.as_str()));
    kept.map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Removes versions from path dependencies, so that the available one is used.
fn without_own_versions(dependencies: &Table) -> Table {
    let strip = |entry: &Value| match entry.as_table() {
        Some(table) if table.contains_key("path") => {
            let mut table = table.clone();
            table.remove("version");
            table.remove("registry");
            Value::Table(table)
        }
        _ => entry.clone(),
    };
    dependencies
        .iter()
        .map(|(name, entry)| (name.clone(), strip(entry)))
        .collect()
}
