//! The files of checks as uploaded: one copy of exactly the hashed content, at a stable place.
//!
//! An engine compares files by size and time, so it would miss an edit that keeps both. A room verifies content,
//! gives all changed files a newer time, and uses the same modes regardless of the umask. Patterns select what a
//! check sees, so that other files in the copy do not matter. Does not use the engine itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use dagger_sdk::Id;
use tokio::sync::OnceCell;

use crate::digest::Digest;
use crate::engine::EngineError;
use crate::plan::check::OutsideFile;
use crate::room::{Contents, Layout, Room};
use crate::rule::Rule;
use crate::snapshot::{FileId, Kind, Snapshot};

/// The name of the room.
const ID: &str = "stage";

/// The copy, which is locked until dropped.
#[derive(Debug)]
pub(super) struct Stage {
    room: Room,
    /// Its content, by path below the directory that represents the folders above the project root.
    files: BTreeMap<String, (Kind, Digest)>,
    /// The real project root.
    root: PathBuf,
    sent: Mutex<HashMap<Upload, Arc<OnceCell<Id>>>>,
}

/// A directory of the stage as one check sees it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Upload {
    pub(crate) from: PathBuf,
    /// Its place in the container.
    pub(crate) to: PathBuf,
    /// Patterns of what to upload; if empty, everything.
    pub(crate) include: Vec<String>,
    /// Patterns of what to leave out.
    pub(crate) exclude: Vec<String>,
}

impl Stage {
    /// Takes a room below `rooms`, whose content is unknown.
    pub(crate) fn take(rooms: &Path) -> Result<Self, EngineError> {
        Ok(Self {
            room: Room::take(rooms, ID)?,
            files: BTreeMap::new(),
            root: PathBuf::new(),
            sent: Mutex::default(),
        })
    }

    /// Whether exactly these contents are in it, possibly among others.
    pub(crate) fn holds(
        &self,
        snapshot: &Snapshot,
        files: &[&[FileId]],
        outside: &[OutsideFile],
    ) -> bool {
        let layout = self.room.layout();
        let enough = outside.iter().all(|file| file.up <= layout.depth());
        enough
            && wanted(&layout, snapshot, files, outside)
                .iter()
                .all(|(path, file)| self.files.get(path) == Some(file))
    }

    /// Adds these contents. Keeps existing ones, also from earlier runs, that are unchanged in the snapshot, so that
    /// running another check does not cause files to be sent again.
    pub(crate) fn put(
        &mut self,
        snapshot: &Snapshot,
        files: &[&[FileId]],
        outside: &[OutsideFile],
    ) -> Result<(), EngineError> {
        // If this fails, the content is unknown.
        self.files.clear();
        self.sent = Mutex::default();
        let mut all: BTreeSet<FileId> = files.iter().copied().flatten().copied().collect();
        for (path, digest) in self.room.held() {
            let known = snapshot.find(&path);
            all.extend(known.filter(|id| snapshot.entry(*id).digest == digest));
        }
        let all: Vec<FileId> = all.into_iter().collect();
        self.room.reset(&Contents {
            snapshot,
            files: &[&all],
            outside,
            extra: &[],
            folders: &[],
            products: &[],
            product_key: Digest::of(b""),
            watch: false,
            same_times: false,
        })?;
        self.room.end(true);
        self.files = wanted(&self.room.layout(), snapshot, &[&all], outside);
        snapshot.root().clone_into(&mut self.root);
        Ok(())
    }

    /// The part of the stage that a check with its room at `seen` sees. If it sees files above the project root, this
    /// is the directory that contains them, else the project root.
    pub(crate) fn upload(
        &self,
        snapshot: &Snapshot,
        files: &[&[FileId]],
        outside: &[OutsideFile],
        seen: &Layout,
    ) -> Upload {
        let layout = self.room.layout();
        let folder = |layout: &Layout| match outside.iter().map(|file| file.up).max() {
            None | Some(0) => layout.tree(),
            Some(up) => layout.above(up),
        };
        let from = folder(&layout);
        let inside = format!("{}/", below(&layout, &from));
        let staged = self.files.keys();
        let staged = staged.filter_map(|path| path.strip_prefix(&inside));
        let wanted = wanted(&layout, snapshot, files, outside);
        let wanted = wanted.keys().filter_map(|path| path.strip_prefix(&inside));
        let (include, mut exclude) = patterns(staged, wanted);
        // Created in the container.
        let git = layout.tree().join(".git");
        let git = git.strip_prefix(&from).unwrap_or(&git);
        exclude.push(escaped(&git.to_string_lossy()));
        let upload = Upload {
            to: folder(seen),
            from,
            include,
            exclude,
        };
        if Rule::StagedUpload.holds() || upload.from != layout.tree() {
            return upload;
        }
        Upload {
            from: self.root.clone(),
            ..upload
        }
    }

    /// The state of an upload in this session.
    pub(crate) fn sent(&self, upload: &Upload) -> Arc<OnceCell<Id>> {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.entry(upload.clone()).or_default().clone()
    }
}

fn content(snapshot: &Snapshot, id: FileId) -> (Kind, Digest) {
    let entry = snapshot.entry(id);
    (entry.kind, entry.digest)
}

/// A path relative to the top directory.
fn below(layout: &Layout, path: &Path) -> String {
    let path = path.strip_prefix(layout.up()).unwrap_or(path);
    path.to_string_lossy().into_owned()
}

/// Files by path relative to the top directory.
fn wanted(
    layout: &Layout,
    snapshot: &Snapshot,
    files: &[&[FileId]],
    outside: &[OutsideFile],
) -> BTreeMap<String, (Kind, Digest)> {
    let tree = below(layout, &layout.tree());
    let above = outside.iter().map(|file| {
        let folder = match file.up {
            0 => tree.clone(),
            up => below(layout, &layout.above(up)),
        };
        let path = format!("{folder}/{}", file.path.as_str());
        (path, (Kind::File, file.digest))
    });
    let inside = files.iter().copied().flatten().map(|id| {
        let path = format!("{tree}/{}", snapshot.entry(*id).path.as_str());
        (path, content(snapshot, *id))
    });
    above.chain(inside).collect()
}

/// Patterns to include and exclude that select exactly `wanted` from `staged`, without directories that would be
/// empty. There should be few, because every file is matched against each.
fn patterns<'a>(
    staged: impl Iterator<Item = &'a str>,
    wanted: impl Iterator<Item = &'a str>,
) -> (Vec<String>, Vec<String>) {
    let mut root = Node::default();
    let wanted: BTreeSet<&str> = wanted.collect();
    for path in staged {
        root.add(path, wanted.contains(path));
    }
    let (mut include, mut exclude) = (Vec::new(), Vec::new());
    if root.wanted == 0 {
        // Without any pattern, everything would be included.
        include.push(".dagcache-nothing".to_owned());
    } else if root.cost_without() < root.cost_with() {
        root.without("", &mut exclude);
    } else {
        root.with("", &mut include, &mut exclude);
    }
    (include, exclude)
}

/// A file or directory: the number of files in it, and how many of them are wanted.
#[derive(Debug, Default)]
struct Node<'a> {
    children: BTreeMap<&'a str, Node<'a>>,
    all: usize,
    wanted: usize,
}

impl<'a> Node<'a> {
    fn add(&mut self, path: &'a str, wanted: bool) {
        self.all += 1;
        self.wanted += usize::from(wanted);
        if path.is_empty() {
            return;
        }
        let (name, rest) = path.split_once('/').unwrap_or((path, ""));
        self.children.entry(name).or_default().add(rest, wanted);
    }

    /// The number of patterns that name what is wanted.
    fn cost_with(&self) -> usize {
        if self.wanted == 0 {
            return 0;
        }
        if self.wanted == self.all {
            return 1;
        }
        let named = self.children.values().map(Self::cost_with).sum();
        self.cost_without().saturating_add(1).min(named)
    }

    /// The number of patterns that name what is not wanted.
    fn cost_without(&self) -> usize {
        match self.wanted {
            0 => 1,
            all if all == self.all => 0,
            _ => self.children.values().map(Self::cost_without).sum(),
        }
    }

    fn with(&self, path: &str, include: &mut Vec<String>, exclude: &mut Vec<String>) {
        if self.wanted == 0 {
            return;
        }
        let whole = self.wanted == self.all;
        // The root needs no pattern.
        if !path.is_empty() && (whole || self.cost_without() < self.cost_with()) {
            include.push(escaped(path));
            return self.without(path, exclude);
        }
        for (name, child) in &self.children {
            child.with(&joined(path, name), include, exclude);
        }
    }

    fn without(&self, path: &str, exclude: &mut Vec<String>) {
        if self.wanted == 0 {
            return exclude.push(escaped(path));
        }
        for (name, child) in &self.children {
            child.without(&joined(path, name), exclude);
        }
    }
}

fn joined(folder: &str, name: &str) -> String {
    match folder {
        "" => name.to_owned(),
        _ => format!("{folder}/{name}"),
    }
}

/// Escapes a path to match itself. White space at its ends would be trimmed.
pub(super) fn escaped(path: &str) -> String {
    let core = path.trim().len();
    let start = path.len() - path.trim_start().len();
    let mut out = String::new();
    for (at, c) in path.char_indices() {
        if at < start || at >= start + core {
            out.push('[');
            out.push(c);
            out.push(']');
            continue;
        }
        if "*?[]{}\\!^#".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::RelPath;

    fn of(staged: &[&str], wanted: &[&str]) -> (Vec<String>, Vec<String>) {
        patterns(staged.iter().copied(), wanted.iter().copied())
    }

    #[test]
    fn a_file_that_changes_is_newer_than_before() {
        let dir = tempfile::tempdir().unwrap();
        let mut stage = Stage::take(dir.path()).unwrap();
        let mut put = |text: &str| {
            let snapshot = Snapshot::in_memory(&[("a", text), ("b", "")]);
            let all: Vec<FileId> = snapshot.below(&RelPath::root()).collect();
            stage.put(&snapshot, &[&all], &[]).unwrap();
            let tree = stage.room.layout().tree();
            ["a", "b"].map(|name| tree.join(name).metadata().unwrap().modified().unwrap())
        };
        let [first, other] = put("one");
        let [second, same] = put("two");
        assert!(second > first);
        assert_eq!(same, other);
    }

    #[test]
    fn folders_that_are_wanted_whole_are_one_pattern() {
        let staged = ["a/b/c", "a/b/d", "a/e", "f", "g/h", "g/i", "g/j/k", "g/j/l"];
        for (wanted, include, exclude) in [
            (&["a/b/c", "a/b/d"][..], &["a/b"][..], &[][..]),
            (&["a/b/c", "a/b/d", "a/e", "f"], &[], &["g"]),
            (&["a/b/c", "f"], &["a/b/c", "f"], &[]),
            (&["g/h", "g/j/k", "g/j/l"], &["g"], &["g/i"]),
            (&staged, &[], &[]),
            (&[], &[".dagcache-nothing"], &[]),
        ] {
            let found = of(&staged, wanted);
            assert_eq!(
                (&*found.0, &*found.1),
                (&owned(include)[..], &owned(exclude)[..]),
                "{wanted:?}"
            );
        }
    }

    fn owned(all: &[&str]) -> Vec<String> {
        all.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn of_many_the_few_that_are_not_wanted_are_named() {
        let many: Vec<String> = (0..100).map(|n| format!("d/f{n:02}")).collect();
        let mut staged: Vec<&str> = many.iter().map(String::as_str).collect();
        staged.extend(["e/x", "e/y", "e/z"]);
        let wanted: Vec<&str> = staged
            .iter()
            .copied()
            .filter(|path| *path != "d/f07" && !path.starts_with('e'))
            .collect();
        assert_eq!(of(&staged, &wanted), (owned(&["d"]), owned(&["d/f07"])));
        let more = [wanted.as_slice(), &["e/x"]].concat();
        assert_eq!(
            of(&staged, &more),
            (owned(&["d", "e/x"]), owned(&["d/f07"]))
        );
    }

    #[test]
    fn names_stand_for_themselves() {
        assert_eq!(escaped("a[1]*/!x?"), "a\\[1\\]\\*/\\!x\\?");
        assert_eq!(escaped(" a b "), "[ ]a b[ ]");
        assert_eq!(escaped("\\"), "\\\\");
    }

    /// What patterns mean, without metacharacters: a name stands for itself and all below.
    fn selects(patterns: &[String], path: &str) -> bool {
        patterns
            .iter()
            .any(|pattern| path == pattern || path.starts_with(&format!("{pattern}/")))
    }

    proptest::proptest! {
        #[test]
        fn exactly_what_is_wanted_is_selected(
            files in proptest::collection::btree_map("[ab](/[ab]){0,3}/f", proptest::bool::ANY, 1..30),
        ) {
            let staged: Vec<&str> = files.keys().map(String::as_str).collect();
            let wanted: Vec<&str> = files.iter().filter(|(_, wanted)| **wanted).map(|(path, _)| path.as_str()).collect();
            let (include, exclude) = of(&staged, &wanted);
            for (path, wanted) in &files {
                let selected = (include.is_empty() || selects(&include, path)) && !selects(&exclude, path);
                proptest::prop_assert_eq!(selected, *wanted, "{} {:?} {:?}", path, include, exclude);
            }
            // No folder is left that holds nothing of what is wanted.
            for pattern in &exclude {
                let sibling = wanted.iter().any(|path| match pattern.rsplit_once('/') {
                    Some((folder, _)) => path.starts_with(&format!("{folder}/")),
                    None => true,
                });
                proptest::prop_assert!(sibling, "{}", pattern);
            }
        }
    }
}
