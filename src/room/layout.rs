//! Where the folders of a room are. Stays free of the disk.

use std::path::PathBuf;

/// Where the folders of a room are, as seen from somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(super) dir: PathBuf,
    pub(super) depth: u32,
}

impl Layout {
    /// Places in `dir`, with `depth` folders above the tree (at least 1) for folders above the project root.
    #[must_use]
    pub(crate) fn new(dir: impl Into<PathBuf>, depth: u32) -> Self {
        Self {
            dir: dir.into(),
            depth: depth.max(1),
        }
    }

    /// The same room, seen elsewhere.
    #[must_use]
    pub(crate) fn moved(&self, dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            depth: self.depth,
        }
    }

    /// What stands for the folders above the project root, and holds the tree.
    #[must_use]
    pub(crate) fn up(&self) -> PathBuf {
        self.dir.join("up")
    }

    /// The copy of the project root.
    #[must_use]
    pub(crate) fn tree(&self) -> PathBuf {
        self.above(1).join("tree")
    }

    /// The folder `up` folders above the tree, from 1 to [`Layout::depth`].
    #[must_use]
    pub(crate) fn above(&self, up: u32) -> PathBuf {
        let levels = (up..=self.depth).rev().map(|level| format!("up{level}"));
        self.up().join(levels.collect::<PathBuf>())
    }

    /// How many folders above the tree stand for folders above the project root.
    #[must_use]
    pub(crate) fn depth(&self) -> u32 {
        self.depth
    }

    /// HOME of the check.
    #[must_use]
    pub(crate) fn home(&self) -> PathBuf {
        self.dir.join("home")
    }

    /// TMPDIR of the check.
    #[must_use]
    pub(crate) fn tmp(&self) -> PathBuf {
        self.dir.join("tmp")
    }

    /// PATH of the check.
    #[must_use]
    pub(crate) fn bin(&self) -> PathBuf {
        self.dir.join("bin")
    }
}
