//! The snapshot: the project's files, walked once, stat'ed once, hashed through a memo.
//!
//! The memo remembers everything by stat, under git's racy rule; every doubt ends in reading again, never in an error.
//! - `take`: the whole way. - `guard`, `repository`, `rules`, `index`: what decides which files count.
//! - `walk`, `sweep`: finding them. - `stat`, `content`, `settle`: what is in them. - `memo`: the file between two runs.
//! - [`staged`]: the same of what git holds: what is staged, or a commit.
//!
//! Stays free of choosing what matters to a check.

pub(crate) mod content;
mod guard;
mod index;
mod left_out;
mod memo;
mod parallel;
mod repository;
mod rules;
mod settle;
pub(crate) mod staged;
pub(crate) mod stat;
mod sweep;
mod take;
mod walk;

#[cfg(test)]
mod tests;

use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::env::Env;
use crate::fs::beneath::{Found, look};
use crate::path::RelPath;
use crate::rule::Rule;
use crate::snapshot::repository::Repository;
use crate::snapshot::stat::{Stat, Time};

pub(crate) use left_out::{LeftOut, Reason};

/// Index of a file in its snapshot. Ids follow the byte order of the paths.
pub(crate) type FileId = u32;

/// What kind of entry a file is. Together with its digest this is all of a file that enters a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// A regular file.
    File,
    /// A regular file whose owner may execute it.
    Executable,
    /// A symbolic link; its digest is that of the target text.
    Symlink,
}

impl Kind {
    /// Of what was stat'ed; `None` if it is neither a file nor a link.
    pub(crate) fn of(stat: &Stat) -> Option<Self> {
        match stat.file_type() {
            FileType::RegularFile if stat.is_executable() => Some(Self::Executable),
            FileType::RegularFile => Some(Self::File),
            FileType::Symlink => Some(Self::Symlink),
            _ => None,
        }
    }
}

/// One file of the project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Where it is.
    pub(crate) path: RelPath,
    /// What it is.
    pub(crate) kind: Kind,
    /// Digest of its content, or of the target text of a link.
    pub(crate) digest: Digest,
}

/// All files git would consider, at one moment, sorted by path.
#[derive(Debug)]
pub(crate) struct Snapshot {
    root: PathBuf,
    entries: Vec<Entry>,
    contents: Contents,
    left_out: Vec<LeftOut>,
    submodules: Vec<RelPath>,
    effort: Effort,
}

/// Where the content of files is.
#[derive(Debug)]
enum Contents {
    Disk,
    #[cfg(test)]
    Memory(std::collections::BTreeMap<RelPath, Vec<u8>>),
    Git(staged::Held),
}

/// What taking a snapshot took, besides one lstat for each folder and file. All zero: nothing had changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Effort {
    /// Folders that were listed.
    pub(crate) listed: usize,
    /// Files that were read and hashed.
    pub(crate) hashed: usize,
}

/// A snapshot could not be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    /// The root is no folder, or may not be read.
    #[error("cannot read the folder {}", path.display())]
    Root {
        /// The root.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something git tracks may not be read. Leaving it out could turn a failure into a pass.
    #[error(
        "cannot read the tracked file {path}{}; make it readable, or stop tracking it",
        and_others(*others)
    )]
    Unreadable {
        /// The first such file or folder.
        path: RelPath,
        /// How many more there are.
        others: usize,
    },
    /// There is nothing to make a commit of.
    #[error("no git repository with a work tree at {}", .0.display())]
    NoRepository(PathBuf),
    /// What is staged is no commit yet.
    #[error("{path}{} is in conflict; resolve it and `git add` it", and_others(*others))]
    Conflicts {
        /// The first path in conflict.
        path: String,
        /// How many more there are.
        others: usize,
    },
    /// Git does not give what it holds.
    #[error("cannot read what git holds in {}: {reason}", path.display())]
    Staged {
        /// Top folder of the work tree.
        path: PathBuf,
        /// What git or the system said.
        reason: String,
    },
    /// What git tracks cannot be told.
    #[error("cannot tell which files git tracks in {}: {reason}", path.display())]
    Git {
        /// Top folder of the work tree.
        path: PathBuf,
        /// What git or the system said.
        reason: String,
    },
}

fn and_others(count: usize) -> String {
    match count {
        0 => String::new(),
        more => format!(" and {more} more"),
    }
}

impl Snapshot {
    /// A snapshot of files that exist in memory only, for tests: (path, content).
    ///
    /// # Panics
    /// If a path is not a normal relative path.
    #[must_use]
    #[cfg(test)]
    pub(crate) fn in_memory(files: &[(&str, &str)]) -> Self {
        let memory: std::collections::BTreeMap<RelPath, Vec<u8>> = files
            .iter()
            .map(|(path, text)| (RelPath::new(path).expect(path), text.as_bytes().to_vec()))
            .collect();
        let entries = memory
            .iter()
            .map(|(path, bytes)| Entry {
                path: path.clone(),
                kind: Kind::File,
                digest: Digest::of(bytes),
            })
            .collect();
        Self {
            entries,
            contents: Contents::Memory(memory),
            ..Self::of(PathBuf::from("/nonexistent"))
        }
    }

    /// Files without content, for tests: sorted by path.
    #[cfg(test)]
    pub(crate) fn of_entries(entries: Vec<Entry>) -> Self {
        Self {
            entries,
            ..Self::of(PathBuf::from("/nonexistent"))
        }
    }

    /// Without any files.
    fn of(root: PathBuf) -> Self {
        Self {
            root,
            entries: Vec::new(),
            contents: Contents::Disk,
            left_out: Vec::new(),
            submodules: Vec::new(),
            effort: Effort::default(),
        }
    }

    /// The files below `root` that git would consider: tracked, or untracked and not ignored; also without git, where
    /// `.gitignore` files alone decide. Links are not followed, `.git` is never in.
    ///
    /// `memo_dir` is the store's folder for memos, shared by all projects; it need not exist nor be writable. `env`
    /// tells where the user's git configuration is.
    ///
    /// # Errors
    /// If the root cannot be read, a tracked file cannot be read, or git's index can be read neither directly nor by
    /// `git ls-files`.
    pub(crate) fn take(root: &Path, memo_dir: &Path, env: &Env) -> Result<Self, SnapshotError> {
        take::take_at(root, memo_dir, env, Time::now())
    }

    /// Entries that were left out, sorted. A check that would see one of them is not stored.
    #[must_use]
    pub(crate) fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// Whether git tracks this path; also if that cannot be told. Reads the index.
    #[must_use]
    pub(crate) fn is_tracked(&self, path: &RelPath, env: &Env) -> bool {
        let inner = self.submodules.iter().filter(|dir| path.starts_with(dir));
        let (repository, strip, add) = match inner.max_by_key(|dir| dir.len()) {
            Some(dir) => (
                Repository::at(&dir.under(&self.root)),
                Vec::new(),
                format!("{dir}/"),
            ),
            None => {
                let around = Repository::around(&self.root, env);
                let strip = around.as_ref().map(|around| around.prefix_of(&self.root));
                (around, strip.unwrap_or_default(), String::new())
            }
        };
        repository.is_some_and(|repository| {
            let tracked = repository.tracked(&strip, add.as_bytes(), env);
            tracked.map_or(true, |tracked| tracked.contains(path.as_bytes()))
        })
    }

    /// Folders of submodules that are checked out, sorted. Their files are in the snapshot.
    #[must_use]
    #[cfg(test)]
    pub(crate) fn submodules(&self) -> &[RelPath] {
        &self.submodules
    }

    /// What taking it took.
    #[must_use]
    pub(crate) fn effort(&self) -> Effort {
        self.effort
    }

    /// The place on disk of a path that is not in the snapshot, because git ignores it. What git holds has nothing
    /// beside it.
    #[must_use]
    pub(crate) fn beside(&self, path: &RelPath) -> Option<PathBuf> {
        match self.contents {
            Contents::Git(_) if Rule::NothingBeside.holds() => None,
            _ => Some(path.under(&self.root)),
        }
    }

    /// Whether this is of what git holds, not of what is on disk.
    #[must_use]
    pub(crate) fn is_held_by_git(&self) -> bool {
        matches!(self.contents, Contents::Git(_))
    }

    /// The folder all paths are relative to.
    #[must_use]
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// All files, sorted by path.
    #[must_use]
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The file with that id.
    ///
    /// # Panics
    /// If the id is of another snapshot.
    #[must_use]
    pub(crate) fn entry(&self, id: FileId) -> &Entry {
        &self.entries[id as usize]
    }

    /// The id of a path.
    #[must_use]
    pub(crate) fn find(&self, path: &str) -> Option<FileId> {
        let index = self
            .entries
            .binary_search_by(|entry| entry.path.as_str().cmp(path))
            .ok()?;
        FileId::try_from(index).ok()
    }

    /// The ids of all files below a folder.
    #[must_use]
    pub(crate) fn below(&self, dir: &RelPath) -> Range<FileId> {
        if dir.is_root() {
            return 0..FileId::try_from(self.entries.len()).unwrap_or(FileId::MAX);
        }
        let first = format!("{dir}/");
        let last = format!("{dir}0"); // '0' is the byte after '/'
        let at = |text: &str| {
            let index = self
                .entries
                .partition_point(|entry| entry.path.as_str() < text);
            FileId::try_from(index).unwrap_or(FileId::MAX)
        };
        at(&first)..at(&last)
    }

    /// The content of a file (the target text of a link), verified against its digest.
    ///
    /// # Errors
    /// If it cannot be read, or is no longer what was hashed (`InvalidData`): then a new snapshot is due.
    pub(crate) fn read(&self, id: FileId) -> io::Result<Vec<u8>> {
        let entry = self.entry(id);
        let bytes = match &self.contents {
            Contents::Disk => self.read_from_disk(entry)?,
            #[cfg(test)]
            Contents::Memory(memory) => memory.get(&entry.path).cloned().unwrap_or_default(),
            Contents::Git(held) => match self.same_on_disk(entry) {
                Some(bytes) => return Ok(bytes),
                None => held.read(id as usize)?,
            },
        };
        if Digest::of(&bytes) == entry.digest || !Rule::CopyVerified.holds() {
            Ok(bytes)
        } else {
            if let Contents::Git(held) = &self.contents {
                held.distrust(id as usize);
            }
            Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{} changed while it was read", entry.path),
            ))
        }
    }

    /// What is on disk, if that is exactly the content: then no git is needed for it.
    fn same_on_disk(&self, entry: &Entry) -> Option<Vec<u8>> {
        let bytes = match (look(&self.root, &entry.path).ok()?, entry.kind) {
            (Found::File { bytes, .. }, Kind::File | Kind::Executable) => bytes,
            (Found::Link(target), Kind::Symlink) => target,
            _ => return None,
        };
        (Digest::of(&bytes) == entry.digest).then_some(bytes)
    }

    fn read_from_disk(&self, entry: &Entry) -> io::Result<Vec<u8>> {
        let path = entry.path.under(&self.root);
        match entry.kind {
            Kind::Symlink => Ok(std::fs::read_link(path)?.into_os_string().into_vec()),
            Kind::File | Kind::Executable => std::fs::read(path),
        }
    }
}
