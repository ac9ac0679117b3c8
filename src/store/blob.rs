//! Blobs: bytes stored by their digest. A blob whose content does not match its name counts as absent.

use std::io;

use crate::digest::Digest;
use crate::fs::own;
use crate::rule::Rule;
use crate::store::Store;

impl Store {
    /// Stores bytes unless an intact blob with this digest exists.
    pub(crate) fn put_blob(&self, bytes: &[u8]) -> io::Result<Digest> {
        let digest = Digest::of(bytes);
        let path = self.sharded("cas", &digest);
        let there = std::fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_file());
        if there && own::holds(&path, bytes) {
            return Ok(digest);
        }
        self.write(&path, bytes)?;
        Ok(digest)
    }

    /// Returns the bytes with this digest, or `None` if they are absent or damaged.
    #[must_use]
    pub(crate) fn blob(&self, digest: &Digest) -> Option<Vec<u8>> {
        let bytes = own::read(self.sharded("cas", digest)).ok()?;
        (Digest::of(&bytes) == *digest || !Rule::BlobVerified.holds()).then_some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_altered_blob_does_not_exist() {
        let store = Store::temporary().expect("store");
        let digest = store.put_blob(b"text").expect("save");
        assert_eq!(store.blob(&digest), Some(b"text".to_vec()));
        std::fs::write(store.sharded("cas", &digest), b"tixt").expect("alter");
        assert_eq!(store.blob(&digest), None);
        store.put_blob(b"text").expect("again");
        assert_eq!(store.blob(&digest), Some(b"text".to_vec()));
    }
}
