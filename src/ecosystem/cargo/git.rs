//! Git information about the commit, for build scripts that ask for it.
//!
//! A room's `.git` is empty, so that a check depends only on its files. If a build script (or a macro of a package
//! known for it) calls git, the room gets a repository instead: HEAD, its branch, the tags and the index, with read
//! access to the user's objects. A layer records the commit and the tags, so that another commit is a miss; the index
//! is not keyed, because all files and the commit are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::digest::Hasher;
use crate::path::RelPath;
use crate::plan::layer::{Build, Layer, LayerKind};
use crate::scope::Scope;
use crate::snapshot::{Entry, Repository};

use super::deps::Lockfile;
use super::workspace::Workspace;

/// Packages whose macros or build script helpers call git.
const PACKAGES: &[&str] = &[
    "build-info-build",
    "built",
    "git-testament",
    "git-version",
    "shadow-rs",
    "vergen",
    "vergen-git2",
    "vergen-gitcl",
    "vergen-gix",
];

/// The repository of a room.
#[derive(Debug)]
pub(crate) struct Commit {
    /// What of it is keyed.
    pub(crate) layer: Layer,
    /// Its files.
    pub(crate) files: Vec<(RelPath, Vec<u8>)>,
    /// The user's object directory.
    pub(crate) objects: PathBuf,
}

/// The repository for the checks of a workspace; `None` if nothing in it calls git, or there is no commit.
pub(crate) fn commit(
    scope: &Scope<'_>,
    workspace: &Workspace,
    lockfile: &Lockfile,
    dir: &RelPath,
) -> Option<Commit> {
    if !is_asked(scope, workspace, lockfile, dir) {
        return None;
    }
    let repository = Repository::around(scope.snapshot.root(), scope.env)?;
    read(&repository)
}

/// Whether code that runs when the workspace is built may call git.
pub(super) fn is_asked(
    scope: &Scope<'_>,
    workspace: &Workspace,
    lockfile: &Lockfile,
    dir: &RelPath,
) -> bool {
    let packages = lockfile.packages(scope, dir).unwrap_or_default();
    let known = |(name, _): &(String, String)| PACKAGES.contains(&name.as_str());
    packages.iter().any(known) || scripts_contain(scope, workspace, "rust-asks-git/1", asks)
}

/// Whether the text of a build script, or of a file beside it, which may be its module, passes a test. The answers are
/// memoised as facts of this kind.
pub(super) fn scripts_contain(
    scope: &Scope<'_>,
    workspace: &Workspace,
    kind: &str,
    test: fn(&str) -> bool,
) -> bool {
    let passes = |file: &Entry| {
        let found = scope.facts.derive(kind, file.digest, || {
            scope.text(&file.path).map(|text| test(&text)).ok_or(())
        });
        found.unwrap_or_default()
    };
    let targets = workspace.targets.iter();
    let mut scripts = targets.filter(|target| target.kind == "custom-build");
    scripts.any(|script| {
        let folder = script.path.parent().unwrap_or_default();
        let beside = |path: &RelPath| {
            let below = path.strip_prefix(&folder);
            path.extension() == Some("rs") && below.is_some_and(|below| !below.contains('/'))
        };
        scope.snapshot.below(&folder).any(|id| {
            let entry = scope.snapshot.entry(id);
            (entry.path == script.path || beside(&entry.path)) && passes(entry)
        })
    })
}

fn asks(text: &str) -> bool {
    let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
    words.any(|word| matches!(word, "git" | "git2" | "gix" | "vergen"))
}

fn read(repository: &Repository) -> Option<Commit> {
    let text = |path: PathBuf| crate::fs::text(path).ok();
    let head = text(repository.git_dir.join("HEAD"))?;
    let refs = refs(&repository.common_dir);
    let branch = head.trim().strip_prefix("ref: ").map(str::trim);
    let id = match branch {
        Some(branch) => refs.get(branch)?,
        None => head.trim(),
    };
    let kept = |name: &str| name.starts_with("refs/tags/") || Some(name) == branch;
    let kept = refs.iter().filter(|(name, _)| kept(name));
    let packed: String = kept.map(|(name, id)| format!("{id} {name}\n")).collect();
    let mut files = vec![
        ("HEAD", head.clone().into_bytes()),
        ("config", config(repository).into_bytes()),
        ("packed-refs", packed.clone().into_bytes()),
        // Git requires a folder `refs`.
        ("refs/dagcache/head", format!("{id}\n").into_bytes()),
        (
            "objects/info/alternates",
            alternates(&repository.common_dir),
        ),
    ];
    let shallow = crate::fs::read(repository.common_dir.join("shallow"));
    files.extend(shallow.ok().map(|content| ("shallow", content)));
    let index = repository.read_index().ok();
    let index = index.filter(|_| !has_split_index(repository));
    files.extend(index.map(|content| ("index", content)));
    let mut hasher = Hasher::new();
    hasher.update(packed.as_bytes());
    let parts = [
        ("HEAD", id.to_owned()),
        ("branch", branch.unwrap_or("none").to_owned()),
        ("tags", hasher.finish().to_string()),
    ];
    let file = |(name, content)| Some((RelPath::new(&format!(".git/{name}")).ok()?, content));
    Some(Commit {
        layer: Layer {
            name: "commit".to_owned(),
            kind: LayerKind::Tools,
            on: vec!["base".to_owned()],
            parts: parts.map(|(name, value)| (name.to_owned(), value)).to_vec(),
            build: Build::Present,
        },
        files: files.into_iter().filter_map(file).collect(),
        objects: repository.common_dir.join("objects"),
    })
}

/// Whether the index may be split, in which case git needs its other half.
fn has_split_index(repository: &Repository) -> bool {
    let entries = std::fs::read_dir(&repository.git_dir).into_iter().flatten();
    entries.flatten().any(|entry| {
        entry
            .file_name()
            .to_string_lossy()
            .starts_with("sharedindex.")
    })
}

/// Every branch and tag with its commit or tag object.
fn refs(common_dir: &Path) -> BTreeMap<String, String> {
    let packed = crate::fs::text(common_dir.join("packed-refs")).unwrap_or_default();
    let lines = packed.lines().filter_map(|line| line.split_once(' '));
    let mut found: BTreeMap<String, String> = lines
        .filter(|(id, name)| !id.starts_with(['#', '^']) && name.starts_with("refs/"))
        .map(|(id, name)| (name.to_owned(), id.to_owned()))
        .collect();
    let folders = ["refs/heads", "refs/tags"].map(|folder| common_dir.join(folder));
    for entry in folders.iter().flat_map(walkdir::WalkDir::new).flatten() {
        let name = entry.path().strip_prefix(common_dir).ok();
        let Some(name) = name
            .and_then(Path::to_str)
            .filter(|_| entry.file_type().is_file())
        else {
            continue;
        };
        if let Ok(id) = crate::fs::text(entry.path()) {
            found.insert(name.to_owned(), id.trim().to_owned());
        }
    }
    found
}

/// Contains nothing of the user's configuration, which may hold credentials.
fn config(repository: &Repository) -> String {
    match repository.hash_len() {
        32 => "[core]\n\trepositoryformatversion = 1\n\tbare = false\n[extensions]\n\tobjectformat = sha256\n",
        _ => "[core]\n\trepositoryformatversion = 0\n\tbare = false\n",
    }
    .to_owned()
}

fn alternates(common_dir: &Path) -> Vec<u8> {
    let objects = common_dir.join("objects");
    format!("{}\n", objects.to_string_lossy()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_asks_by_a_word_and_not_by_an_address() {
        assert!(asks("Command::new(\"git\")") && asks("println!(\"rerun-if-changed=.git/HEAD\")"));
        assert!(!asks("// see https://github.com/a/digits"));
    }
}
