//! Paths inside a room. Does not touch the disk.

use std::path::PathBuf;

/// Paths inside a room, as seen from the host or from inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(super) dir: PathBuf,
    pub(super) depth: u32,
}

impl Layout {
    /// A room in `dir` with `depth` directories (at least 1) standing for the folders above the project root.
    #[must_use]
    pub(crate) fn new(dir: impl Into<PathBuf>, depth: u32) -> Self {
        Self {
            dir: dir.into(),
            depth: depth.max(1),
        }
    }

    /// The same room at another path.
    #[must_use]
    pub(crate) fn moved(&self, dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            depth: self.depth,
        }
    }

    /// The topmost directory standing for folders above the project root; contains the tree.
    #[must_use]
    pub(crate) fn up(&self) -> PathBuf {
        self.dir.join("up")
    }

    /// The copy of the project root.
    #[must_use]
    pub(crate) fn tree(&self) -> PathBuf {
        self.above(1).join("tree")
    }

    /// The directory `up` levels above the tree, from 1 to [`Layout::depth`].
    #[must_use]
    pub(crate) fn above(&self, up: u32) -> PathBuf {
        let levels = (up..=self.depth).rev().map(|level| format!("up{level}"));
        self.up().join(levels.collect::<PathBuf>())
    }

    /// How many levels above the tree stand for folders above the project root.
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
