//! Outputs of checks, and the user's files they replaced.
//!
//! Outputs are blobs. Replaced files are kept in a separate directory that pruning by value ignores, because nothing
//! can make them again.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::fs::own;
use crate::path::RelPath;
use crate::snapshot::Kind;
use crate::store::Store;

/// A file or link made by a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Output {
    /// Relative to the project root.
    pub(crate) path: RelPath,
    pub(crate) kind: Kind,
    /// Blob with the content, or with the target of a link.
    pub(crate) digest: Digest,
}

impl Store {
    /// Keeps a copy of a user's file and returns its path.
    pub(crate) fn keep(&self, bytes: &[u8]) -> io::Result<PathBuf> {
        if !self.writable || self.is_temporary() {
            return Err(io::Error::other("the store is temporary or not writable"));
        }
        let path = self.sharded("kept", &Digest::of(bytes));
        if own::holds(&path, bytes) {
            return Ok(path);
        }
        self.write(&path, bytes)?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_there_again_though_it_was_altered() {
        let dir = tempfile::tempdir().expect("folder");
        let store = Store::open(dir.path()).expect("store");
        let path = store.keep(b"mine").expect("kept");
        std::fs::write(&path, b"nime").expect("alter");
        assert_eq!(store.keep(b"mine").expect("kept"), path);
        assert_eq!(std::fs::read(path).expect("there"), b"mine");
    }

    #[test]
    fn a_store_that_goes_with_the_run_keeps_nothing() {
        let store = Store::temporary().expect("store");
        assert!(store.keep(b"mine").is_err());
    }
}
