//! Entries that cannot be part of a snapshot and are left out with a warning.

use std::fmt;

use crate::path::RelPath;
use crate::visible;

/// An entry that git would list or a tool may find, but that is left out. Results of checks that would see it are not
/// stored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LeftOut {
    /// The path for display, lossy if it is not UTF-8.
    pub(crate) display: String,
    /// The containing folder, or the nearest one with a UTF-8 path.
    pub(crate) dir: RelPath,
    pub(crate) reason: Reason,
    /// The folder whose listing found it.
    pub(crate) owner: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// A fifo, socket or device.
    Special,
    NotUtf8,
    /// A git repository that is not a submodule; git does not look inside either.
    Repository,
    Unreadable,
    /// A submodule whose commit has not been fetched.
    NoCommit,
    /// Outside a sparse checkout, and a partial clone has not fetched its content.
    NotFetched,
    /// A checkout would run a filter that only the repository's own configuration defines.
    OwnFilter,
    /// A file above [`content::LARGEST`](super::content::LARGEST).
    TooLarge,
}

impl Reason {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Special => 0,
            Self::NotUtf8 => 1,
            Self::Repository => 2,
            Self::Unreadable => 3,
            Self::NoCommit => 4,
            Self::NotFetched => 5,
            Self::OwnFilter => 6,
            Self::TooLarge => 7,
        }
    }

    pub(crate) const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Special,
            1 => Self::NotUtf8,
            2 => Self::Repository,
            3 => Self::Unreadable,
            4 => Self::NoCommit,
            5 => Self::NotFetched,
            6 => Self::OwnFilter,
            7 => Self::TooLarge,
            _ => return None,
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Special => "not a regular file",
            Self::NotUtf8 => "file name is not valid UTF-8",
            Self::Repository => "separate git repository",
            Self::Unreadable => "cannot read it",
            Self::NoCommit => "the commit of this submodule is missing; try `git submodule update`",
            Self::NotFetched => "outside the sparse checkout, and not fetched",
            Self::TooLarge => "larger than 4 GiB; if no check needs it, add it to .gitignore",
            Self::OwnFilter => "only the repository's own configuration defines its git filter",
        })
    }
}

/// A line for each entry; none for files outside a sparse checkout, which dev-check does not mention either.
pub(crate) fn told(left_out: &[LeftOut]) -> impl Iterator<Item = String> {
    let odd = left_out.iter();
    let odd = odd.filter(|odd| odd.reason != Reason::NotFetched);
    odd.map(|odd| format!("skipping {}: {}", visible::name(&odd.display), odd.reason))
}
