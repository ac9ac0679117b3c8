//! Blobs: bytes by their digest. A blob that does not match its name does not exist.

use std::io;

use crate::digest::Digest;
use crate::key::diff::Listing;
use crate::key::tree::kind_tag;
use crate::rule::Rule;
use crate::snapshot::{FileId, Snapshot};
use crate::store::Store;

impl Store {
    /// Saves bytes, unless they are there already, and whole.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn put_blob(&self, bytes: &[u8]) -> io::Result<Digest> {
        let digest = Digest::of(bytes);
        let path = self.sharded("cas", &digest);
        let there = std::fs::symlink_metadata(&path)
            .is_ok_and(|meta| meta.is_file() && meta.len() == bytes.len() as u64);
        if there && std::fs::read(&path).is_ok_and(|there| there == bytes) {
            return Ok(digest);
        }
        self.write(&path, bytes)?;
        Ok(digest)
    }

    /// The bytes with that digest; `None` if they are not there or not what they should be.
    #[must_use]
    pub fn blob(&self, digest: &Digest) -> Option<Vec<u8>> {
        let bytes = std::fs::read(self.sharded("cas", digest)).ok()?;
        (Digest::of(&bytes) == *digest || !Rule::BlobVerified.holds()).then_some(bytes)
    }

    /// Saves the listing of some files of a snapshot under `tree` (its digest in a fingerprint), for miss reasons.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn put_listing(&self, tree: &str, snapshot: &Snapshot, files: &[FileId]) -> io::Result<()> {
        let Some(path) = self.listing_path(tree) else {
            return Ok(());
        };
        if path.is_file() {
            return Ok(());
        }
        let mut body = Vec::with_capacity(files.len() * 100);
        for entry in files.iter().map(|id| snapshot.entry(*id)) {
            body.push(kind_tag(entry.kind));
            body.extend_from_slice(entry.digest.to_string().as_bytes());
            body.extend_from_slice(entry.path.as_bytes());
            body.push(0);
        }
        self.write(&path, &super::seal("dagcache-tree", 1, &body))
    }

    /// The listing saved under that tree digest, if it is whole.
    #[must_use]
    pub fn listing(&self, tree: &str) -> Option<Listing> {
        let bytes = std::fs::read(self.listing_path(tree)?).ok()?;
        let body = super::unseal(&bytes, "dagcache-tree", 1).ok()?;
        let mut listing = Listing::new();
        for record in body
            .split(|byte| *byte == 0)
            .filter(|record| !record.is_empty())
        {
            let text = std::str::from_utf8(record).ok()?;
            let kind = text.chars().next()?;
            listing.insert(
                text.get(65..)?.to_owned(),
                (kind, text.get(1..65)?.to_owned()),
            );
        }
        Some(listing)
    }

    fn listing_path(&self, tree: &str) -> Option<std::path::PathBuf> {
        let digest: Digest = tree.parse().ok()?;
        Some(self.sharded("trees", &digest))
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

    #[test]
    fn a_listing_comes_back_whole() {
        let store = Store::temporary().expect("store");
        let snapshot = Snapshot::in_memory(&[("a", "1"), ("b c\n", "2")]);
        let tree = Digest::of(b"any").to_string();
        store.put_listing(&tree, &snapshot, &[0, 1]).expect("save");
        let listing = store.listing(&tree).expect("there");
        assert_eq!(listing.keys().collect::<Vec<_>>(), ["a", "b c\n"]);
        assert_eq!(listing["a"], ('f', Digest::of(b"1").to_string()));
    }
}
