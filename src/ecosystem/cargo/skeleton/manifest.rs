//! One manifest: the paths it names, and what a skeleton does not keep of it.

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

/// Tables of targets, which are replaced by an empty library, and what cargo compiles no dependency for.
const TARGETS: [&str; 4] = ["bench", "bin", "example", "test"];
const TABLES: [&str; 3] = ["badges", "lints", "metadata"];

/// Keys of a package, or shared by packages, that only describe or publish it, or choose among its programs.
const DESCRIPTION: [&str; 17] = [
    "authors",
    "categories",
    "default-run",
    "description",
    "documentation",
    "exclude",
    "homepage",
    "include",
    "keywords",
    "license",
    "license-file",
    "lints",
    "metadata",
    "publish",
    "readme",
    "repository",
    "rust-version",
];

/// Keys of the workspace that only apply to cargo's roots.
const ROOT_ONLY: [&str; 3] = ["patch", "profile", "replace"];

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

/// Folders of packages that replace external ones, in a manifest or in cargo's configuration.
pub(crate) fn patches(folder: &RelPath, text: &Table) -> BTreeSet<RelPath> {
    let sources = text.get("patch").and_then(Value::as_table);
    let sources = sources.into_iter().flat_map(Table::values);
    let replaced = text.get("replace").into_iter();
    let tables = sources.chain(replaced).filter_map(Value::as_table);
    let overrides = text.get("paths").and_then(Value::as_array);
    let overrides = overrides.into_iter().flatten().filter_map(Value::as_str);
    let overrides = overrides.filter_map(|path| folder.join(path).ok());
    tables
        .flat_map(|table| paths(folder, table))
        .chain(overrides)
        .collect()
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
        let mut kept = match self.package {
            true => without(manifest, &[&TARGETS[..], &TABLES].concat()),
            false => only(manifest, &["cargo-features", "workspace"]),
        };
        if self.members.is_none() {
            kept = without(&kept, &ROOT_ONLY);
        }
        if self.package {
            self.empty_package(manifest, &mut kept);
        }
        if let Some(workspace) = manifest.get("workspace").and_then(Value::as_table) {
            let table = self.workspace(workspace);
            kept.insert("workspace".to_owned(), Value::Table(table));
        }
        kept.to_string()
    }

    /// Makes the package one empty library, with an empty build script if it has one.
    fn empty_package(&self, manifest: &Table, kept: &mut Table) {
        let (Some(package), Some(name)) = (package(manifest), name(manifest)) else {
            return;
        };
        let mut table = without(package, &DESCRIPTION);
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
        kept.remove("project");
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

        self.replace_dependencies(kept);
        if let Some(targets) = kept.get_mut("target").and_then(Value::as_table_mut) {
            let tables = targets
                .iter_mut()
                .filter_map(|(_, table)| table.as_table_mut());
            tables.for_each(|table| self.replace_dependencies(table));
            targets.retain(|_, table| table.as_table().is_none_or(|table| !table.is_empty()));
        }
    }

    /// Changes the tables of dependencies in `table`. Those for tests apply to members only.
    fn replace_dependencies(&self, table: &mut Table) {
        if !self.member {
            *table = without(table, &DEV_DEPENDENCIES);
        }
        for key in DEPENDENCIES.iter().chain(&DEV_DEPENDENCIES) {
            if let Some(dependencies) = table.get_mut(*key).and_then(Value::as_table_mut) {
                *dependencies = without_own_versions(dependencies);
            }
        }
    }

    fn workspace(&self, workspace: &Table) -> Table {
        let mut kept = without(workspace, &["default-members", "lints", "metadata"]);
        let members: Vec<Value> = match self.members {
            Some(all) => {
                let others = all.iter().filter(|member| **member != self.folder);
                others.map(|m| m.seen_from(self.folder).into()).collect()
            }
            None => Vec::new(),
        };
        kept.insert("members".to_owned(), Value::Array(members));
        if let Some(package) = workspace.get("package").and_then(Value::as_table) {
            let mut shared = without(package, &DESCRIPTION);
            if self.all_masked {
                shared.remove("version");
            }
            kept.insert("package".to_owned(), Value::Table(shared));
        }
        if let Some(table) = workspace.get("dependencies").and_then(Value::as_table) {
            let all = without_own_versions(table);
            kept.insert("dependencies".to_owned(), Value::Table(all));
        }
        kept
    }
}

fn without(table: &Table, keys: &[&str]) -> Table {
    let kept = table
        .iter()
        .filter(|(key, _)| !keys.contains(&key.as_str()));
    kept.map(|(key, value)| (key.clone(), value.clone()))
        .collect()
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
