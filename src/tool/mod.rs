//! Programs of the host: where a name leads, and what the program there really is.
//!
//! Stays free of running checks and of knowing any ecosystem.

pub mod rustup;

use std::path::PathBuf;

use crate::digest::Digest;

/// A program found on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The name it was asked for.
    pub name: String,
    /// Absolute path as found on PATH (a shim stays a shim here).
    pub path: PathBuf,
    /// The same with all links resolved.
    pub real: PathBuf,
    /// Digest of the file at `real`.
    pub digest: Digest,
}

/// Finds programs on the user's PATH, with digests memoised by stat.
#[derive(Debug, Default)]
pub struct Tools {}

impl Tools {
    /// The first executable of that name on the user's PATH.
    #[must_use]
    pub fn find(&self, _name: &str) -> Option<Program> {
        None
    }

    /// The digest of a file of the host, memoised by stat.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn digest(&self, path: &std::path::Path) -> std::io::Result<Digest> {
        Ok(Digest::of(&std::fs::read(path)?))
    }
}
