//! Configuration files of cargo and clippy, found like the tools do: from a folder upwards, then CARGO_HOME.
//!
//! Does not interpret settings; credentials never become part of a key.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::digest::{Digest, Hasher};
use crate::env;
use crate::path::RelPath;
use crate::plan::check::OutsideFile;
use crate::scope::Scope;
use crate::snapshot::FileId;

use super::links::follow;

/// Cargo looks for these in every folder upwards.
pub(crate) const CARGO_CONFIG: &[&str] = &[".cargo/config.toml", ".cargo/config"];
/// Clippy looks for these in every folder upwards from a package.
pub(crate) const CLIPPY_CONFIG: &[&str] = &["clippy.toml", ".clippy.toml"];
/// Rustfmt looks for these in every folder upwards from a target root.
pub(crate) const RUSTFMT_CONFIG: &[&str] = &["rustfmt.toml", ".rustfmt.toml"];
/// Rustup looks for these in every folder upwards.
pub(crate) const TOOLCHAIN_FILE: &[&str] = &["rust-toolchain", "rust-toolchain.toml"];

/// Whether the file is cargo configuration.
#[must_use]
pub(crate) fn is_cargo_config(path: &RelPath) -> bool {
    matches!(path.file_name(), "config.toml" | "config")
        && path.parent().is_some_and(|dir| dir.file_name() == ".cargo")
}

/// Cargo's home, as determined by cargo.
#[must_use]
pub(crate) fn cargo_home(scope: &Scope<'_>) -> Option<PathBuf> {
    scope
        .env
        .path(env::CARGO_HOME)
        .or_else(|| scope.home().map(|home| home.join(".cargo")))
}

/// The project files with one of `names` that a search upwards from each of `dirs` finds, sorted.
#[must_use]
pub(crate) fn chains(scope: &Scope<'_>, dirs: &[RelPath], names: &[&str]) -> Vec<FileId> {
    let mut found: Vec<FileId> = dirs
        .iter()
        .flat_map(|dir| scope.chain(dir, names))
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// The cargo configuration in the project that applies in `dir`, including included files; sorted.
#[must_use]
pub(crate) fn cargo_config(scope: &Scope<'_>, dir: &RelPath) -> Vec<FileId> {
    included(
        scope,
        chains(scope, std::slice::from_ref(dir), CARGO_CONFIG),
    )
}

/// These configuration files and the files in the project that they include; sorted.
#[must_use]
pub(crate) fn included(scope: &Scope<'_>, files: Vec<FileId>) -> Vec<FileId> {
    let mut found: BTreeSet<FileId> = files.iter().copied().collect();
    let mut queue = files;
    while let Some(id) = queue.pop() {
        let followed = follow(scope.snapshot, &scope.snapshot.entry(id).path);
        found.extend(followed.links);
        found.extend(followed.file);
        let Some(file) = followed.file else { continue };
        let digest = scope.snapshot.entry(file).digest;
        let includes = scope.facts.derive("cargo-config-include/1", digest, || {
            let text = scope.text(&scope.snapshot.entry(file).path);
            text.map(|text| includes(&text)).ok_or(())
        });
        let folder = scope.snapshot.entry(id).path.parent().unwrap_or_default();
        for text in includes.unwrap_or_default() {
            let path = folder.join(&text).ok();
            let next = path.and_then(|path| scope.snapshot.find(&path));
            queue.extend(next.filter(|next| found.insert(*next)));
        }
    }
    found.into_iter().collect()
}

/// The paths that a configuration file includes, relative to its folder.
pub(crate) fn includes(text: &str) -> Vec<String> {
    let Ok(table) = toml::from_str::<toml::Table>(text) else {
        return Vec::new();
    };
    let entries = match table.get("include") {
        Some(toml::Value::Array(entries)) => entries.clone(),
        one => one.cloned().into_iter().collect(),
    };
    let path = |entry: &toml::Value| {
        let text = entry.as_str().or_else(|| entry.get("path")?.as_str());
        text.map(str::to_owned)
    };
    entries.iter().filter_map(path).collect()
}

/// The files outside of the snapshot that `files` include, without `files`.
fn included_on_disk(files: Vec<PathBuf>) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut queue = files;
    while let Some(path) = queue.pop() {
        let text = crate::fs::text(&path).unwrap_or_default();
        let Some(folder) = path.parent() else {
            continue;
        };
        for include in includes(&text) {
            let next = folder.join(include);
            if next.is_file() && found.insert(next.clone()) {
                queue.push(next);
            }
        }
    }
    found
}

/// Cargo and clippy configuration above the project root, except the file in CARGO_HOME, even if a search upwards
/// finds it: it is granted with CARGO_HOME and keyed by [`home_digest`], without its credentials.
#[must_use]
pub(crate) fn above(scope: &Scope<'_>, cargo_home: &Path) -> Vec<OutsideFile> {
    let names = [CARGO_CONFIG, CLIPPY_CONFIG].concat();
    let mut found = scope.above(&names);
    found.retain(|file| {
        let mut folders = scope.snapshot.root().ancestors();
        let up = usize::try_from(file.up).unwrap_or(usize::MAX);
        let place = folders.nth(up).map(|folder| file.path.under(folder));
        place.is_none_or(|place| place.parent() != Some(cargo_home))
    });
    let root = scope.snapshot.root();
    let place = |file: &OutsideFile| {
        let up = usize::try_from(file.up).ok()?;
        Some(file.path.under(root.ancestors().nth(up)?))
    };
    let files = found.iter().filter_map(place).collect();
    found.extend(
        included_on_disk(files)
            .iter()
            .filter_map(|path| outside(root, path)),
    );
    found
}

/// Folders outside the project that replace a registry (`[source.NAME] directory`), by absolute path in configuration
/// of the project or the user; sorted.
#[must_use]
pub(crate) fn vendored_outside(scope: &Scope<'_>, dir: &RelPath) -> BTreeSet<PathBuf> {
    let root = scope.snapshot.root();
    let project = cargo_config(scope, dir).into_iter().filter_map(|id| {
        let path = &scope.snapshot.entry(id).path;
        Some((scope.text(path)?, path.under(root)))
    });
    let user = files_of_user(scope).into_iter();
    let user = user.filter_map(|path| Some((crate::fs::text(&path).ok()?, path)));
    let all = project
        .map(|file| (file, false))
        .chain(user.map(|file| (file, true)));
    let folders = all.flat_map(|((text, file), of_user)| {
        let folders = directories(&text).into_iter().map(PathBuf::from);
        // A relative one of the project is inside it; one of the user starts above the file's folder.
        let base = file.parent().and_then(Path::parent).map(Path::to_path_buf);
        folders
            .filter(move |path| path.is_absolute() || of_user)
            .filter_map(move |path| Some(base.as_ref()?.join(path)))
            .filter(move |path| of_user || is_vendored(path))
            .collect::<Vec<_>>()
    });
    folders
        .filter(|path| !path.starts_with(root) && path.is_dir())
        .collect()
}

/// Whether a folder holds vendored packages and nothing else. A project may name any folder of the user as a source,
/// and all of it becomes readable.
pub(crate) fn is_vendored(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return false;
    };
    let is_package = |entry: std::fs::DirEntry| {
        let name = entry.file_name();
        entry.path().join(".cargo-checksum.json").is_file()
            || [".gitignore", ".gitattributes"]
                .iter()
                .any(|own| name == *own)
    };
    entries.flatten().all(is_package)
}

/// The folders that a configuration file names as sources.
pub(crate) fn directories(text: &str) -> Vec<String> {
    let table: toml::Table = toml::from_str(text).unwrap_or_default();
    let sources = table.get("source").and_then(toml::Value::as_table);
    let sources = sources.into_iter().flat_map(toml::Table::values);
    let named = sources.filter_map(|source| source.get("directory")?.as_str());
    named.map(str::to_owned).collect()
}

/// Digest of all files below `folder`.
#[must_use]
pub(crate) fn folder_digest(scope: &Scope<'_>, folder: &Path) -> Digest {
    let mut content = Hasher::new();
    for (path, digest) in files_below(scope, folder) {
        let path = path.strip_prefix(folder).unwrap_or(&path);
        content.part(path.as_os_str().as_encoded_bytes());
        content.update(digest.as_bytes());
    }
    content.finish()
}

/// The files below a folder outside the project, sorted, without repositories and products that can be made again, and
/// digests of their content, which is read again only if a file was touched.
pub(crate) fn files_below(scope: &Scope<'_>, folder: &Path) -> Vec<(PathBuf, Digest)> {
    use std::os::unix::fs::MetadataExt as _;
    let walk = walkdir::WalkDir::new(folder).into_iter();
    let walk = walk.filter_entry(|entry| entry.file_name() != ".git" && !is_tagged(entry.path()));
    let entries = walk.flatten().map(walkdir::DirEntry::into_path);
    let mut files: Vec<PathBuf> = entries.filter(|path| path.is_file()).collect();
    files.sort_unstable();
    let mut stats = Hasher::new();
    for path in &files {
        stats.part(path.as_os_str().as_encoded_bytes());
        if let Ok(meta) = path.metadata() {
            let numbers = [
                meta.mtime(),
                meta.mtime_nsec(),
                meta.ctime(),
                meta.ctime_nsec(),
            ];
            for number in numbers {
                stats.update(&number.to_le_bytes());
            }
            stats.update(&meta.size().to_le_bytes());
        }
    }
    let stats = stats.finish();
    let read = || -> std::io::Result<Vec<Digest>> {
        let read = files.iter().map(crate::fs::read);
        read.map(|content| Ok(Digest::of(&content?))).collect()
    };
    let digests = scope.facts.derive("files-outside/1", stats, read);
    // What cannot be read counts by what can be seen of it.
    let digests = digests.unwrap_or_else(|_| vec![stats; files.len()]);
    files.into_iter().zip(digests).collect()
}

/// Whether a folder holds products that can be made again, as cargo marks its target folders.
fn is_tagged(path: &Path) -> bool {
    path.join("CACHEDIR.TAG").is_file()
}

/// A file outside the project, but below one of its parent folders.
fn outside(root: &Path, path: &Path) -> Option<OutsideFile> {
    place(root, path, Digest::of(&crate::fs::read(path).ok()?))
}

/// A file by its place relative to the root; `None` for one inside the project.
pub(crate) fn place(root: &Path, path: &Path, digest: Digest) -> Option<OutsideFile> {
    let above = (1..).zip(root.ancestors().skip(1));
    let mut places = above.filter_map(|(up, folder)| {
        let path = RelPath::from_path(path.strip_prefix(folder).ok()?).ok()?;
        Some(OutsideFile { up, path, digest })
    });
    places.next().filter(|_| !path.starts_with(root))
}

/// Where the user's cargo keeps products of the workspace in `dir`, judging by the environment and the project.
#[must_use]
pub(crate) fn target_folder(scope: &Scope<'_>, dir: &RelPath) -> PathBuf {
    let folder = dir.under(scope.snapshot.root());
    let set = ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR"];
    if let Some(path) = set.iter().find_map(|name| scope.env.path(name)) {
        return folder.join(path);
    }
    let configured = scope.chain(dir, CARGO_CONFIG).into_iter().find_map(|id| {
        let entry = scope.snapshot.entry(id);
        let facts = scope.facts;
        let answer = facts.derive("cargo-target-dir/1", entry.digest, || {
            scope
                .text(&entry.path)
                .map(|text| target_dir(&text))
                .ok_or(())
        });
        let base = entry.path.parent()?.parent()?.under(scope.snapshot.root());
        Some(base.join(answer.ok()??))
    });
    configured.unwrap_or_else(|| folder.join("target"))
}

fn target_dir(text: &str) -> Option<String> {
    let table: toml::Table = toml::from_str(text).ok()?;
    let path = table.get("build")?.get("target-dir")?.as_str()?;
    Some(path.to_owned())
}

/// The configuration in CARGO_HOME, with all that it includes.
fn files_of_user(scope: &Scope<'_>) -> Vec<PathBuf> {
    let home = cargo_home(scope);
    let files = home
        .iter()
        .flat_map(|home| ["config", "config.toml"].map(|name| home.join(name)));
    let mut files: Vec<PathBuf> = files.filter(|path| path.is_file()).collect();
    files.extend(included_on_disk(files.clone()));
    files
}

/// The same as texts, of those that can be read.
#[must_use]
pub(crate) fn texts_of_user(scope: &Scope<'_>) -> Vec<String> {
    let files = files_of_user(scope).into_iter();
    files
        .filter_map(|path| crate::fs::text(path).ok())
        .collect()
}

/// Digest of the configuration in CARGO_HOME without credentials; `None` if there is none.
#[must_use]
pub(crate) fn home_digest(cargo_home: &Path) -> Option<Digest> {
    // Cargo prefers `config` if both exist.
    let names = ["config", "config.toml"].iter();
    let mut files = names.map(|name| cargo_home.join(name));
    let file = files.find(|path| path.is_file())?;
    let settings = |path: &Path| {
        let bytes = crate::fs::read(path).ok()?;
        Some(without_credentials(&String::from_utf8_lossy(&bytes)))
    };
    let mut all = settings(&file)?;
    all.extend(
        included_on_disk(vec![file])
            .iter()
            .filter_map(|path| settings(path)),
    );
    Some(Digest::of(all.as_bytes()))
}

/// The settings without tokens, in canonical form; invalid TOML stays the same (cargo will reject it).
fn without_credentials(text: &str) -> String {
    let Ok(mut table) = toml::from_str::<toml::Table>(text) else {
        return text.to_owned();
    };
    let strip = |table: &mut toml::Table| {
        for key in ["token", "secret-key"] {
            table.remove(key);
        }
    };
    if let Some(registry) = table
        .get_mut("registry")
        .and_then(toml::Value::as_table_mut)
    {
        strip(registry);
    }
    let registries = table
        .get_mut("registries")
        .and_then(toml::Value::as_table_mut);
    for registry in registries.into_iter().flat_map(|all| all.iter_mut()) {
        if let Some(registry) = registry.1.as_table_mut() {
            strip(registry);
        }
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_and_form_do_not_count_but_settings_do() {
        let plain =
            without_credentials("[registries.a]\nindex = \"x\"\n[registry]\n[net]\nretry = 1\n");
        let same = "# note\n[net]\nretry = 1\n[registry]\ntoken = \"t\"\n[registries.a]\ntoken = \"s\"\nindex = \"x\"\n";
        assert_eq!(without_credentials(same), plain);
        assert_ne!(without_credentials("[net]\nretry = 2"), plain);
        assert_eq!(without_credentials("no toml ["), "no toml [");
    }

    #[test]
    fn vendored_folders_are_named_by_sources() {
        let text = "[source.crates-io]\nreplace-with = \"v\"\n[source.v]\ndirectory = \"/abs\"";
        assert_eq!(directories(text), ["/abs"]);
        assert_eq!(directories("[source").len(), 0);
    }

    #[test]
    fn includes_are_written_in_three_ways() {
        assert_eq!(includes("include = \"a.toml\""), ["a.toml"]);
        let text = "include = [\"a.toml\", { path = \"../b.toml\", optional = true }]";
        assert_eq!(includes(text), ["a.toml", "../b.toml"]);
        assert_eq!(
            includes("include = 3").len() + includes("[include").len(),
            0
        );
    }

    #[test]
    fn cargo_configuration_is_told_by_its_folder() {
        let is = |path: &str| is_cargo_config(&RelPath::new(path).unwrap());
        assert!(is(".cargo/config.toml") && is("a/.cargo/config"));
        assert!(!is("config.toml") && !is(".cargo/audit.toml"));
    }

    proptest::proptest! {
        #[test]
        fn whatever_the_text_a_table_keeps_no_token(text in crate::testing::damaged_text(
            "[registry]\ntoken = \"hunter2\"\n[registries.a]\nindex = \"x\"\ntoken = \"hunter2\"\n[net]\noffline = true\n",
        )) {
            let left = without_credentials(&text);
            let Ok(table) = toml::from_str::<toml::Table>(&left) else { return Ok(()) };
            let token = |table: &toml::Value| table.get("token").is_some();
            proptest::prop_assert!(!table.get("registry").is_some_and(token));
            let all = table.get("registries").and_then(toml::Value::as_table);
            proptest::prop_assert!(!all.is_some_and(|all| all.values().any(token)));
        }
    }
}
