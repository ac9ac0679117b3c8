//! The skeleton of a workspace: its manifests and lockfile without what cannot affect how dependencies are compiled.
//!
//! Dependencies are compiled once from it, in a layer that many commits share. Dropped: comments, descriptions, lints,
//! `metadata`, `[[bin]]` and similar tables, and the versions of workspace packages; everything else stays as it is,
//! also keys that are not known here. Each package is one empty library, with an empty build script if it has one.
//!
//! Since workspace packages have another version here, cargo cannot confuse artifacts of the skeleton with real ones:
//! the version is part of their names. Versions of packages that replace registry packages (`[patch]` with `path`),
//! and of packages that share a name, stay, because dependents ask for them.
//!
//! Not `cargo-chef`, because it brings 29 crates, its types are not stable, and it keeps what must not be in a key
//! (target files, `metadata`).
//!
//! Pure: reads through a function. Ignores configuration files and does not know what the skeleton is used for.

mod lock;
mod manifest;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::path::RelPath;

pub(super) use manifest::patches;

/// The version of workspace packages in a skeleton. No real package uses it.
pub(crate) const VERSION: &str = "0.0.0-dagcache";

/// The name of a manifest.
pub(crate) const MANIFEST: &str = "Cargo.toml";

/// The lockfile's name.
const LOCKFILE: &str = "Cargo.lock";

/// Reads a project file as text, if it exists.
pub(crate) type Read<'a> = &'a dyn Fn(&RelPath) -> Option<String>;

/// The skeleton: files by their path in the project.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Skeleton {
    /// Manifests, sorted by path.
    pub(crate) manifests: Vec<(RelPath, String)>,
    /// The lockfile, if there is one.
    pub(crate) lockfile: Option<(RelPath, String)>,
    /// Empty sources, sorted by path.
    pub(crate) sources: Vec<(RelPath, String)>,
}

/// The role of a folder with a manifest in the skeleton.
#[derive(Debug)]
struct Found {
    manifest: Table,
    /// Whether it is a package here; otherwise packages inherit from it.
    package: bool,
    /// Whether it belongs to the workspace.
    member: bool,
}

/// The skeleton of the workspace in `dir` with packages in the folders `members` and this lockfile. `configuration`:
/// cargo's files, each with the folder that its paths start from.
pub(crate) fn skeleton(
    dir: &RelPath,
    members: &[RelPath],
    lockfile: Option<&str>,
    configuration: &[(RelPath, Table)],
    read: Read<'_>,
) -> Result<Skeleton, String> {
    let configured = configuration.iter();
    let mut patched: BTreeSet<RelPath> = configured
        .flat_map(|(folder, table)| patches(folder, table))
        .collect();
    let found = find(dir, members, &patched, read)?;
    if let Some(root) = found.get(dir) {
        patched.extend(patches(dir, &root.manifest));
    }
    let lockfile = lockfile.map(lock::Lock::parse).transpose();
    let lockfile = lockfile.map_err(|why| format!("{LOCKFILE}: {why}"))?;
    let masked = match &lockfile {
        Some(lock) if !lock.can_be_masked() => BTreeSet::new(),
        _ => masked(&found, &patched),
    };
    let packages = found.values().filter(|found| found.package);
    let mut names = packages.filter_map(|found| manifest::name(&found.manifest));
    let all_masked = names.all(|name| masked.contains(name));
    let mut skeleton = Skeleton::default();
    let sets_panic = found
        .get(dir)
        .is_some_and(|root| manifest::sets_panic(&root.manifest));
    let explicit: Vec<&RelPath> = members.iter().collect();
    for (folder, found) in &found {
        let as_what = manifest::Strip {
            folder,
            package: found.package,
            member: found.member,
            members: (folder == dir).then_some(explicit.as_slice()),
            masked: &masked,
            all_masked,
            build_script: build_script(folder, &found.manifest, read),
            example: sets_panic && found.member,
        };
        let text = as_what.text(&found.manifest);
        add(&mut skeleton.manifests, folder, MANIFEST, text);
        if found.package {
            let library = manifest::library(&found.manifest);
            add(&mut skeleton.sources, folder, manifest::LIBRARY, library);
        }
        let programs = [
            (as_what.build_script, manifest::BUILD_SCRIPT),
            (as_what.example, manifest::EXAMPLE),
        ];
        for (_, path) in programs.iter().filter(|(is, _)| found.package && *is) {
            let program = "fn main() {}\n".to_owned();
            add(&mut skeleton.sources, folder, path, program);
        }
    }
    skeleton.sources.sort();
    if let Some(lock) = lockfile {
        let own: BTreeSet<&str> = found
            .values()
            .filter(|found| found.package)
            .filter_map(|found| manifest::name(&found.manifest))
            .collect();
        let text = lock.closure(&own, &masked);
        skeleton.lockfile = dir.join(LOCKFILE).ok().map(|path| (path, text));
    }
    Ok(skeleton)
}

fn add(files: &mut Vec<(RelPath, String)>, folder: &RelPath, name: &str, text: String) {
    files.extend(folder.join(name).ok().map(|path| (path, text)));
}

/// The workspace's folders, those of its path dependencies and of `more`, and those of workspaces that these inherit
/// from.
fn find(
    dir: &RelPath,
    members: &[RelPath],
    more: &BTreeSet<RelPath>,
    read: Read<'_>,
) -> Result<BTreeMap<RelPath, Found>, String> {
    let mut all: BTreeMap<RelPath, Found> = BTreeMap::new();
    let mut queue: VecDeque<(RelPath, bool, bool)> = VecDeque::new();
    let is_member = |folder: &RelPath| members.contains(folder);
    queue.push_back((dir.clone(), is_member(dir), is_member(dir)));
    queue.extend(members.iter().map(|folder| (folder.clone(), true, true)));
    let more = more.iter().filter(|folder| !is_member(folder));
    queue.extend(more.map(|folder| (folder.clone(), true, false)));
    while let Some((folder, package, member)) = queue.pop_front() {
        if let Some(known) = all.get(&folder)
            && (known.package || !package)
        {
            continue;
        }
        let Some(manifest) = table(&folder, read)? else {
            continue;
        };
        let package = package && manifest::name(&manifest).is_some();
        let mut next = manifest::path_dependencies(&folder, &manifest, package, member);
        if folder == *dir {
            next.extend(patches(&folder, &manifest));
        }
        queue.extend(next.into_iter().map(|next| {
            let member = is_member(&next);
            (next, true, member)
        }));
        if package && !member {
            queue.extend(workspace_of(&folder, &manifest, read)?.map(|root| (root, false, false)));
        }
        let found = Found {
            manifest,
            package,
            member,
        };
        all.insert(folder, found);
    }
    Ok(all)
}

fn table(folder: &RelPath, read: Read<'_>) -> Result<Option<Table>, String> {
    let Some((path, text)) = folder
        .join(MANIFEST)
        .ok()
        .and_then(|path| read(&path).map(|text| (path, text)))
    else {
        return Ok(None);
    };
    let table = toml::from_str(&text).map_err(|error| format!("{path}: {}", error.message()))?;
    Ok(Some(table))
}

/// The folder of the workspace that an outside package belongs to, if it is not its own.
fn workspace_of(
    folder: &RelPath,
    manifest: &Table,
    read: Read<'_>,
) -> Result<Option<RelPath>, String> {
    if manifest.contains_key("workspace") {
        return Ok(None);
    }
    if let Some(named) = manifest::workspace_pointer(manifest) {
        return Ok(folder.join(named).ok());
    }
    for above in folder.ancestors() {
        if table(&above, read)?.is_some_and(|table| table.contains_key("workspace")) {
            return Ok(Some(above));
        }
    }
    Ok(None)
}

/// Names of the packages with changed versions.
fn masked<'a>(
    found: &'a BTreeMap<RelPath, Found>,
    patched: &BTreeSet<RelPath>,
) -> BTreeSet<&'a str> {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for (folder, found) in found.iter().filter(|(_, found)| found.package) {
        if let Some(name) = manifest::name(&found.manifest) {
            // A package that replaces another one is treated as shared.
            *times.entry(name).or_default() += if patched.contains(folder) { 2 } else { 1 };
        }
    }
    let once = times.into_iter().filter(|(_, times)| *times == 1);
    once.map(|(name, _)| name).collect()
}

/// Whether the package has a build script.
fn build_script(folder: &RelPath, manifest: &Table, read: Read<'_>) -> bool {
    match manifest::package(manifest).and_then(|package| package.get("build")) {
        Some(Value::Boolean(false)) => false,
        Some(_) => true,
        None => folder
            .join(manifest::BUILD_SCRIPT)
            .is_ok_and(|path| read(&path).is_some()),
    }
}

#[cfg(test)]
mod tests;
