//! Folders above the project root that cargo reads because the project names them: path dependencies, patches, and
//! vendored sources by relative path.
//!
//! Their files have the same place relative to the project in a room and count by content. Nothing in them is checked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::digest::{Digest, Hasher};
use crate::path::{RelPathError, normal};
use crate::plan::check::OutsideFile;
use crate::scope::Scope;

use super::config::{directories, files_below, is_cargo_config, is_vendored, place};
use super::manifests::MANIFEST;

/// The files, sorted by place.
pub(crate) fn files(scope: &Scope<'_>) -> Vec<OutsideFile> {
    let root = scope.snapshot.root();
    let mut queue: Vec<PathBuf> = named(scope);
    let mut folders: BTreeSet<PathBuf> = BTreeSet::new();
    let mut found: BTreeMap<PathBuf, Digest> = BTreeMap::new();
    while let Some(folder) = queue.pop() {
        if folder.starts_with(root) || !is_source(&folder) || !folders.insert(folder.clone()) {
            continue;
        }
        let mut files = files_below(scope, &folder);
        files.retain(|(path, _)| !is_private(path.strip_prefix(&folder).unwrap_or(path)));
        let manifests = files.iter().map(|(path, _)| path);
        let manifests = manifests.filter(|path| path.ends_with(MANIFEST)).cloned();
        for manifest in manifests.chain(workspace_of(&folder)) {
            let Some(table) = read(&manifest) else {
                continue;
            };
            let dir = manifest.parent().unwrap_or(&folder);
            queue.extend(paths(&table).iter().map(|path| normal(&dir.join(path))));
            if !manifest.starts_with(&folder)
                && let Ok(bytes) = crate::fs::read(&manifest)
            {
                found.insert(manifest, Digest::of(&bytes));
            }
        }
        found.extend(files);
    }
    let found = found.into_iter();
    let mut files: Vec<OutsideFile> = found
        .filter_map(|(path, digest)| place(root, &path, digest))
        .collect();
    files.sort_unstable();
    files.dedup();
    files
}

/// Whether a folder is a package or holds vendored ones. A project may name any folder, and all of it becomes readable.
fn is_source(folder: &Path) -> bool {
    let is_package =
        read(&folder.join(MANIFEST)).is_some_and(|table| table.contains_key("package"));
    folder.is_dir() && (is_package || is_vendored(folder))
}

/// Whether a file is one that packages do not consist of, such as `.env`.
fn is_private(path: &Path) -> bool {
    let is_hidden = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b".");
    path.iter().any(is_hidden) && !path.ends_with(".cargo-checksum.json")
}

/// The folders that manifests and cargo configuration of the project name.
fn named(scope: &Scope<'_>) -> Vec<PathBuf> {
    let entries = scope.snapshot.entries().iter();
    let files = entries.filter(|entry| {
        let path = &entry.path;
        path.file_name() == MANIFEST || is_cargo_config(path)
    });
    let mut folders = Vec::new();
    for entry in files {
        let is_manifest = entry.path.file_name() == MANIFEST;
        let mut base = entry.path.parent().unwrap_or_default();
        if !is_manifest {
            base = base.parent().unwrap_or_default();
        }
        let mut hasher = Hasher::new();
        hasher.part(entry.digest.as_bytes());
        hasher.part(base.as_bytes());
        let climbing = scope.facts.derive("cargo-above/1", hasher.finish(), || {
            let text = scope.text(&entry.path).unwrap_or_default();
            // What is not valid is reported by whoever needs it.
            let table: toml::Table = toml::from_str(&text).unwrap_or_default();
            let mut paths = if is_manifest {
                paths(&table)
            } else {
                directories(&text)
            };
            paths.retain(|path| matches!(base.join(path), Err(RelPathError::Outside(_))));
            Ok::<_, std::convert::Infallible>(paths)
        });
        let folder = base.under(scope.snapshot.root());
        let climbing = climbing.unwrap_or_default();
        folders.extend(climbing.iter().map(|path| normal(&folder.join(path))));
    }
    folders
}

/// Every `path` in a table at any depth. Outside of targets only dependencies have one.
fn paths(table: &toml::Table) -> Vec<String> {
    let mut found = Vec::new();
    for value in table.values() {
        if let Some(inner) = value.as_table() {
            let path = inner.get("path").and_then(toml::Value::as_str);
            found.extend(path.map(str::to_owned));
            found.extend(paths(inner));
        }
    }
    found
}

/// The manifest of the workspace that a package outside the project inherits from.
fn workspace_of(folder: &Path) -> Option<PathBuf> {
    let mut above = folder.ancestors().map(|dir| dir.join(MANIFEST));
    above.find(|path| read(path).is_some_and(|table| table.contains_key("workspace")))
}

fn read(manifest: &Path) -> Option<toml::Table> {
    toml::from_str(&crate::fs::text(manifest).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_of_a_manifest_is_seen() {
        let text = "[dependencies]\na = { path = \"../a\" }\n[target.'cfg(unix)'.dev-dependencies.b]\npath = \"b\"\n[patch.crates-io]\nc = { path = \"c\" }\n";
        let table = toml::from_str(text).expect("valid");
        assert_eq!(paths(&table), ["../a", "c", "b"]);
    }

    #[test]
    fn a_place_is_relative_to_the_nearest_common_folder() {
        let place = |path: &str| {
            let found = place(Path::new("/a/b/c"), Path::new(path), Digest::of(b""))?;
            Some((found.up, found.path.as_str().to_owned()))
        };
        assert_eq!(place("/a/b/x/y"), Some((1, "x/y".to_owned())));
        assert_eq!(place("/x"), Some((3, "x".to_owned())));
        assert_eq!(place("/a/b/c/d"), None);
        assert_eq!(normal(Path::new("/a/b/../../x/./y")), Path::new("/x/y"));
    }
}
