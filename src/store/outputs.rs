//! What checks made, and what of the user's had to make way for it.
//!
//! Outputs are blobs. What they replace is kept apart, where no prune by value finds it: it cannot be made again.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::path::RelPath;
use crate::snapshot::Kind;
use crate::store::Store;

/// A file, or a link, that a check made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Output {
    /// Where, from the project root.
    pub(crate) path: RelPath,
    /// What.
    pub(crate) kind: Kind,
    /// Blob with its content, or with the target text of a link.
    pub(crate) digest: Digest,
}

impl Store {
    /// Keeps content of the user's; yields the file that holds it.
    ///
    /// # Errors
    /// If the store does not last or cannot be written.
    pub(crate) fn keep(&self, bytes: &[u8]) -> io::Result<PathBuf> {
        if !self.writable || self.is_temporary() {
            return Err(io::Error::other("the store cannot keep it"));
        }
        let path = self.sharded("kept", &Digest::of(bytes));
        if std::fs::read(&path).is_ok_and(|kept| kept == bytes) {
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
