//! The files of checks as they are uploaded: one copy of exactly what was hashed, at a place that stays the same.
//!
//! An engine compares what it has with size and time of the files, so it would miss an edit that keeps both. A room
//! verifies content, gives all that changed a newer time, and has the same modes whatever the umask is.
//! Stays free of the engine itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::digest::Digest;
use crate::engine::EngineError;
use crate::path::RelPath;
use crate::plan::check::OutsideFile;
use crate::room::{Contents, Layout, Room};
use crate::snapshot::{FileId, Snapshot};

/// The name of the room.
const ID: &str = "stage";

/// The copy, for as long as this lives.
#[derive(Debug)]
pub(super) struct Stage {
    room: Room,
    files: BTreeSet<FileId>,
    outside: BTreeSet<OutsideFile>,
}

impl Stage {
    /// Takes a room below `rooms`; nothing is in it yet.
    pub fn take(rooms: &std::path::Path) -> Result<Self, EngineError> {
        Ok(Self {
            room: Room::take(rooms, ID)?,
            files: BTreeSet::new(),
            outside: BTreeSet::new(),
        })
    }

    /// Forgets what is in it: files of another snapshot come.
    pub fn begin(&mut self) {
        self.files.clear();
        self.outside.clear();
    }

    /// Whether all of these are in it.
    pub fn holds(&self, files: &[&[FileId]], outside: &[OutsideFile]) -> bool {
        let mut files = files.iter().copied().flatten();
        files.all(|id| self.files.contains(id))
            && outside.iter().all(|file| self.outside.contains(file))
    }

    /// Puts these into it; what is there stays.
    pub fn add(
        &mut self,
        snapshot: &Snapshot,
        files: &[&[FileId]],
        outside: &[OutsideFile],
    ) -> Result<(), EngineError> {
        // If this fails, nothing is known of what is there.
        let mut all = std::mem::take(&mut self.files);
        let mut above = std::mem::take(&mut self.outside);
        all.extend(files.iter().copied().flatten());
        above.extend(outside.iter().cloned());
        let ids: Vec<FileId> = all.iter().copied().collect();
        let places: Vec<OutsideFile> = above.iter().cloned().collect();
        self.room.reset(&Contents {
            snapshot,
            files: &[&ids],
            outside: &places,
            extra: &[],
            folders: &[],
            products: &[],
            product_key: Digest::of(b""),
            watch: false,
        })?;
        self.room.end(true);
        (self.files, self.outside) = (all, above);
        Ok(())
    }

    /// Where it is on this host.
    pub fn layout(&self) -> Layout {
        self.room.layout()
    }

    /// Patterns that select exactly these of its files, relative to the copy of the project root.
    pub fn patterns(
        &self,
        snapshot: &Snapshot,
        files: &[&[FileId]],
        outside: &[OutsideFile],
    ) -> Vec<String> {
        let inside = |all: &mut dyn Iterator<Item = &OutsideFile>| -> Vec<RelPath> {
            all.filter(|file| file.up == 0)
                .map(|file| file.path.clone())
                .collect()
        };
        let path = |id: &FileId| snapshot.entry(*id).path.clone();
        let mut staged: BTreeSet<RelPath> = self.files.iter().map(path).collect();
        staged.extend(inside(&mut self.outside.iter()));
        let mut wanted: BTreeSet<RelPath> = files.iter().copied().flatten().map(path).collect();
        wanted.extend(inside(&mut outside.iter()));
        patterns(&staged, &wanted)
    }
}

/// Files from above the project root: where they are on the host, and in a container's layout.
pub(super) fn above(
    stage: &Layout,
    seen: &Layout,
    outside: &[OutsideFile],
) -> Vec<(PathBuf, PathBuf)> {
    let above = outside.iter().filter(|file| file.up > 0);
    let places = above.map(|file| {
        let at = |layout: &Layout| file.path.under(&layout.above(file.up));
        (at(stage), at(seen))
    });
    places.collect()
}

/// A folder below which all is wanted is one pattern.
fn patterns(staged: &BTreeSet<RelPath>, wanted: &BTreeSet<RelPath>) -> Vec<String> {
    if staged == wanted {
        return Vec::new();
    }
    let mut counts: BTreeMap<RelPath, (usize, usize)> = BTreeMap::new();
    for path in staged {
        for folder in path.ancestors() {
            let count = counts.entry(folder).or_default();
            count.0 += 1;
            count.1 += usize::from(wanted.contains(path));
        }
    }
    let whole = |folder: &RelPath| {
        let known = counts.get(folder);
        !folder.is_root() && known.is_some_and(|(there, wanted)| there == wanted)
    };
    let mut found = BTreeSet::new();
    for path in wanted {
        let mut folders: Vec<RelPath> = path.ancestors().collect();
        folders.sort();
        match folders.into_iter().find(whole) {
            Some(folder) => found.insert(format!("{}/**", escaped(&folder))),
            None => found.insert(escaped(path)),
        };
    }
    if found.is_empty() {
        // Without any pattern everything would come.
        found.insert(".dagcache-nothing".to_owned());
    }
    found.into_iter().collect()
}

/// A path as a pattern of itself.
fn escaped(path: &RelPath) -> String {
    let mut out = String::new();
    for c in path.as_str().chars() {
        if "*?[]{}\\!^".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(paths: &[&str]) -> BTreeSet<RelPath> {
        paths
            .iter()
            .map(|path| RelPath::new(path).unwrap())
            .collect()
    }

    #[test]
    fn folders_that_are_wanted_whole_are_one_pattern() {
        let staged = set(&["a/b/c", "a/b/d", "a/e", "f", "g/h"]);
        let of = |wanted: &[&str]| patterns(&staged, &set(wanted));
        assert_eq!(of(&["a/b/c", "a/b/d"]), ["a/b/**"]);
        assert_eq!(of(&["a/b/c", "a/b/d", "a/e", "f"]), ["a/**", "f"]);
        assert_eq!(of(&["a/b/c", "f"]), ["a/b/c", "f"]);
        assert!(of(&["a/b/c", "a/b/d", "a/e", "f", "g/h"]).is_empty());
        assert_eq!(of(&[]), [".dagcache-nothing"]);
    }

    #[test]
    fn names_stand_for_themselves() {
        assert_eq!(
            patterns(&set(&["a[1]*", "b"]), &set(&["a[1]*"])),
            ["a\\[1\\]\\*"]
        );
    }
}
