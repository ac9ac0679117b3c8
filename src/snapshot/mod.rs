//! The snapshot: the project's files, walked once, stat'ed once, hashed through a memo.
//!
//! The memo keys everything by stat, under git's racy rule; any doubt leads to reading again, never to an error.
//! - `take`: the whole process. - `guard`, `repository`, `rules`, `wild`, `index`: determine which files count.
//! - `walk`, `sweep`: find them. - `stat`, `content`, `settle`: their content. - `memo`: the file kept between runs.
//! - [`staged`]: the same for staged files or a commit.
//!
//! Does not choose what matters to a check.

pub(crate) mod content;
pub(crate) mod dubious;
mod guard;
mod index;
pub(crate) mod left_out;
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
mod wild;

#[cfg(test)]
mod tests;

use std::io::{self, Seek as _};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Hasher};
use crate::env::Env;
use crate::fs::beneath::{Found, look, open};
use crate::fs::too_large;
use crate::path::RelPath;
use crate::rule::Rule;
use crate::snapshot::content::Each;
use crate::snapshot::stat::{Stat, Time};
use crate::visible::Shown as _;
pub(crate) use repository::Repository;

pub(crate) use left_out::{LeftOut, Reason};

/// Index of a file in its snapshot. Ids follow the bytewise order of the paths.
pub(crate) type FileId = u32;

/// The kind of a file. A key contains nothing else of a file except its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    File,
    /// A regular file that its owner may execute, or that git tracks as such where it ignores modes on disk.
    Executable,
    /// A symbolic link; its digest is that of the target.
    Symlink,
}

impl Kind {
    /// `None` if it is neither a file nor a link. `executable` replaces the mode on disk.
    pub(crate) fn of(stat: &Stat, executable: Option<bool>) -> Option<Self> {
        let executable = || executable.unwrap_or_else(|| stat.is_executable());
        match stat.file_type() {
            FileType::RegularFile if executable() => Some(Self::Executable),
            FileType::RegularFile => Some(Self::File),
            FileType::Symlink => Some(Self::Symlink),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) path: RelPath,
    pub(crate) kind: Kind,
    /// Digest of the content or link target.
    pub(crate) digest: Digest,
}

/// All files git would consider at one moment, sorted by path.
#[derive(Debug)]
pub(crate) struct Snapshot {
    root: PathBuf,
    entries: Vec<Entry>,
    contents: Contents,
    left_out: Vec<LeftOut>,
    submodules: Vec<RelPath>,
    effort: Effort,
}

/// Where the content is read from.
#[derive(Debug)]
enum Contents {
    Disk,
    #[cfg(test)]
    Memory(std::collections::BTreeMap<RelPath, Vec<u8>>),
    Git(staged::Held),
}

/// The effort of taking a snapshot, besides one lstat per folder and file. All zero if nothing had changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Effort {
    pub(crate) listed: usize,
    pub(crate) hashed: usize,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    /// The root is not a directory or not readable.
    #[error("cannot read the directory {}", path.shown())]
    Root { path: PathBuf, source: io::Error },
    /// There is no repository to commit to.
    #[error("no git repository with a work tree at {}", .0.shown())]
    NoRepository(PathBuf),
    /// The index has conflicts.
    #[error("{path}{} is in conflict; resolve it and `git add` it", and_others(*others))]
    Conflicts {
        path: String,
        /// How many more there are.
        others: usize,
    },
    /// Git cannot read its objects.
    #[error("cannot read staged or committed files of {}: {reason}", path.shown())]
    Staged {
        /// Top folder of the work tree.
        path: PathBuf,
        /// The message of git or the system.
        reason: String,
    },
    /// Git cannot list the tracked files.
    #[error("cannot list the files that git tracks in {}: {reason}", path.shown())]
    Git {
        /// Top folder of the work tree.
        path: PathBuf,
        /// The message of git or the system.
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
    /// A snapshot of in-memory files as (path, content), for tests.
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

    /// Files without content, sorted by path, for tests.
    #[cfg(test)]
    pub(crate) fn of_entries(entries: Vec<Entry>) -> Self {
        Self {
            entries,
            ..Self::of(PathBuf::from("/nonexistent"))
        }
    }

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

    /// Takes the files below `root` that git would consider: tracked, or untracked and not ignored. Without git, only
    /// `.gitignore` files decide. Links are not followed, `.git` is never included.
    ///
    /// `memo_dir` is the store's folder for memos, shared by all projects; it need not exist or be writable. `env`
    /// locates the user's git configuration.
    pub(crate) fn take(root: &Path, memo_dir: &Path, env: &Env) -> Result<Self, SnapshotError> {
        take::take_at(root, memo_dir, env, Time::now())
    }

    /// Entries that were left out, sorted. Results of checks that would see one are not stored.
    #[must_use]
    pub(crate) fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// The files that git tracks at this path or below, or the path itself if git cannot tell. Reads the index.
    #[must_use]
    pub(crate) fn tracked_at(&self, path: &RelPath, env: &Env) -> Vec<RelPath> {
        let inner = self.submodules.iter().filter(|dir| path.starts_with(dir));
        let (repository, strip, add) = match inner.max_by_key(|dir| dir.len()) {
            Some(dir) => (
                Repository::at(&dir.under(&self.root)),
                Vec::new(),
                format!("{}/", dir.as_str()),
            ),
            None => {
                let around = Repository::around(&self.root, env);
                let strip = around.as_ref().map(|around| around.prefix_of(&self.root));
                (around, strip.unwrap_or_default(), String::new())
            }
        };
        let Some(repository) = repository else {
            return Vec::new();
        };
        match repository.tracked(&strip, add.as_bytes(), env) {
            Ok(tracked) => tracked.at_or_below(path),
            Err(_) => vec![path.clone()],
        }
    }

    /// Folders of checked-out submodules, sorted. Their files are in the snapshot.
    #[must_use]
    #[cfg(test)]
    pub(crate) fn submodules(&self) -> &[RelPath] {
        &self.submodules
    }

    #[must_use]
    pub(crate) fn effort(&self) -> Effort {
        self.effort
    }

    /// The path on disk of a file that is not in the snapshot because git ignores it. Snapshots of staged files or
    /// commits have none.
    #[must_use]
    pub(crate) fn beside(&self, path: &RelPath) -> Option<PathBuf> {
        match self.contents {
            Contents::Git(_) if Rule::NothingBeside.holds() => None,
            _ => Some(path.under(&self.root)),
        }
    }

    /// Whether this is a snapshot of staged files or a commit.
    #[must_use]
    pub(crate) fn is_held_by_git(&self) -> bool {
        matches!(self.contents, Contents::Git(_))
    }

    /// The folder that all paths are relative to.
    #[must_use]
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    #[must_use]
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Returns the file with this id.
    ///
    /// # Panics
    /// If the id is of another snapshot.
    #[must_use]
    pub(crate) fn entry(&self, id: FileId) -> &Entry {
        &self.entries[id as usize]
    }

    #[must_use]
    pub(crate) fn find(&self, path: &str) -> Option<FileId> {
        let index = self
            .entries
            .binary_search_by(|entry| entry.path.as_str().cmp(path))
            .ok()?;
        FileId::try_from(index).ok()
    }

    #[must_use]
    pub(crate) fn below(&self, dir: &RelPath) -> Range<FileId> {
        if dir.is_root() {
            return 0..FileId::try_from(self.entries.len()).unwrap_or(FileId::MAX);
        }
        let first = format!("{}/", dir.as_str());
        let last = format!("{}0", dir.as_str()); // '0' is the byte after '/'
        let at = |text: &str| {
            let index = self
                .entries
                .partition_point(|entry| entry.path.as_str() < text);
            FileId::try_from(index).unwrap_or(FileId::MAX)
        };
        at(&first)..at(&last)
    }

    /// The content of a file or the target of a link, verified against its digest.
    ///
    /// # Errors
    /// `InvalidData` if it is no longer what was hashed: a new snapshot is needed. `FileTooLarge` if it does not belong
    /// in memory.
    pub(crate) fn read(&self, id: FileId) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.pass(id, &mut |piece| {
            if (bytes.len() + piece.len()) as u64 > crate::fs::LARGEST && Rule::LargestRead.holds()
            {
                return Err(too_large(crate::fs::LARGEST));
            }
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(bytes)
    }

    /// Like [`Snapshot::read`], piece by piece, for content of any size. What `take` received is void if this fails.
    pub(crate) fn pass(&self, id: FileId, take: &mut Each<'_>) -> io::Result<()> {
        let entry = self.entry(id);
        let mut hasher = Hasher::new();
        let mut both = |piece: &[u8]| {
            hasher.update(piece);
            take(piece)
        };
        match &self.contents {
            Contents::Disk => pass_from_disk(&entry.path.under(&self.root), entry.kind, &mut both)?,
            #[cfg(test)]
            Contents::Memory(memory) => both(memory.get(&entry.path).map_or(&[], Vec::as_slice))?,
            Contents::Git(held) => match self.same_on_disk(entry) {
                Some(Same::File(file)) => pass_open(&file, &mut both)?,
                Some(Same::Link(target)) => both(&target)?,
                None => held.pass(id as usize, &mut both)?,
            },
        }
        if hasher.finish() == entry.digest || !Rule::CopyVerified.holds() {
            return Ok(());
        }
        if let Contents::Git(held) = &self.contents {
            held.distrust(id as usize);
        }
        Err(changed())
    }

    /// What is on disk, if it has exactly the wanted content, which saves asking git.
    fn same_on_disk(&self, entry: &Entry) -> Option<Same> {
        if entry.kind == Kind::Symlink {
            return match look(&self.root, &entry.path).ok()? {
                Found::Link(target) if Digest::of(&target) == entry.digest => {
                    Some(Same::Link(target))
                }
                _ => None,
            };
        }
        let mut file = open(&self.root, &entry.path).ok()??;
        if content::hash_open(&file).ok()?.digest != entry.digest {
            return None;
        }
        file.rewind().ok()?;
        Some(Same::File(file))
    }
}

enum Same {
    File(std::fs::File),
    Link(Vec<u8>),
}

fn pass_from_disk(path: &Path, kind: Kind, take: &mut Each<'_>) -> io::Result<()> {
    match kind {
        Kind::Symlink => take(std::fs::read_link(path)?.as_os_str().as_bytes()),
        Kind::File | Kind::Executable => pass_open(&crate::fs::open(path)?, take),
    }
}

/// Passes a file of any size, unless it grows meanwhile.
pub(crate) fn pass_open(file: &std::fs::File, take: &mut Each<'_>) -> io::Result<()> {
    if content::pieces(file, file.metadata()?.len(), take)? {
        Ok(())
    } else {
        Err(changed())
    }
}

fn changed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "changed while being read")
}
