//! The snapshot: the project's files, walked once, stat'ed once, hashed through a memo.
//!
//! Stays free of choosing what matters to a check.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::path::RelPath;

/// Index of a file in its snapshot. Ids follow the byte order of the paths.
pub type FileId = u32;

/// What kind of entry a file is. Together with its digest this is all of a file that enters a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A regular file whose owner may execute it.
    Executable,
    /// A symbolic link; its digest is that of the target text.
    Symlink,
}

/// One file of the project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it is.
    pub path: RelPath,
    /// What it is.
    pub kind: Kind,
    /// Digest of its content, or of the target text of a link.
    pub digest: Digest,
}

/// All files git would consider, at one moment, sorted by path.
#[derive(Debug)]
pub struct Snapshot {
    root: PathBuf,
    entries: Vec<Entry>,
    memory: Option<BTreeMap<RelPath, Vec<u8>>>,
}

impl Snapshot {
    /// A snapshot of files that exist in memory only, for tests: (path, content).
    ///
    /// # Panics
    /// If a path is not a normal relative path.
    #[must_use]
    pub fn in_memory(files: &[(&str, &str)]) -> Self {
        let memory: BTreeMap<RelPath, Vec<u8>> = files
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
            root: PathBuf::from("/nonexistent"),
            entries,
            memory: Some(memory),
        }
    }

    /// The folder all paths are relative to.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// All files, sorted by path.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The file with that id.
    ///
    /// # Panics
    /// If the id is of another snapshot.
    #[must_use]
    pub fn entry(&self, id: FileId) -> &Entry {
        &self.entries[id as usize]
    }

    /// The id of a path.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<FileId> {
        let index = self
            .entries
            .binary_search_by(|entry| entry.path.as_str().cmp(path))
            .ok()?;
        FileId::try_from(index).ok()
    }

    /// The ids of all files below a folder.
    #[must_use]
    pub fn below(&self, dir: &RelPath) -> Range<FileId> {
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
    pub fn read(&self, id: FileId) -> std::io::Result<Vec<u8>> {
        let entry = self.entry(id);
        let bytes = match &self.memory {
            Some(memory) => memory.get(&entry.path).cloned().unwrap_or_default(),
            None => std::fs::read(entry.path.under(&self.root))?,
        };
        if Digest::of(&bytes) == entry.digest {
            Ok(bytes)
        } else {
            Err(std::io::Error::new(
                std::io::ErrorKind::InvalidData,
                format!("{} changed while it was read", entry.path),
            ))
        }
    }
}
