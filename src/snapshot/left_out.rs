//! Entries that cannot be part of a snapshot, and are left out with a warning.

use std::fmt;

use crate::path::RelPath;

/// An entry that git would show or a tool may find, but that is left out. A check that would see it is not stored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LeftOut {
    /// Its path for people, lossy where it is not UTF-8.
    pub(crate) display: String,
    /// The folder that holds it (the nearest one whose path is UTF-8).
    pub(crate) dir: RelPath,
    /// Why it is left out.
    pub(crate) reason: Reason,
    /// The folder whose listing brought it up.
    pub(crate) owner: String,
}

/// Why an entry is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// A fifo, socket or device.
    Special,
    /// Its name is not valid UTF-8.
    NotUtf8,
    /// A git repository that is no submodule: git itself does not look inside.
    Repository,
    /// It may not be read.
    Unreadable,
    /// A submodule whose commit has not been fetched.
    NoCommit,
}

impl Reason {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Special => 0,
            Self::NotUtf8 => 1,
            Self::Repository => 2,
            Self::Unreadable => 3,
            Self::NoCommit => 4,
        }
    }

    pub(crate) const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Special,
            1 => Self::NotUtf8,
            2 => Self::Repository,
            3 => Self::Unreadable,
            4 => Self::NoCommit,
            _ => return None,
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Special => "it is no regular file",
            Self::NotUtf8 => "its name is not valid UTF-8",
            Self::Repository => "it is a git repository of its own",
            Self::Unreadable => "it cannot be read",
            Self::NoCommit => {
                "the commit of this submodule is not there; `git submodule update` may bring it"
            }
        })
    }
}
