//! What the user accepted of a project's configuration: digests of what asked.
//!
//! Survives a full clear, because the user would be asked again for nothing. No check can write here.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use crate::digest::Digest;
use crate::fs::own;
use crate::fs::sealed::{Reader, Seal};
use crate::store::Store;

const SEAL: Seal = Seal {
    magic: *b"dc-trust",
    version: 1,
};

impl Store {
    /// What is accepted for a project; nothing if the file is damaged.
    #[must_use]
    pub(crate) fn trusted(&self, project: &str) -> BTreeSet<Digest> {
        let read = || {
            let bytes = own::read(self.trust_of(project)).ok()?;
            let mut reader = Reader::new(SEAL.open(&bytes)?);
            let mut digests = BTreeSet::new();
            while !reader.is_empty() {
                digests.insert(reader.digest()?);
            }
            Some(digests)
        };
        read().unwrap_or_default()
    }

    /// Accepts these, too: another branch may ask for something else.
    pub(crate) fn trust(
        &self,
        project: &str,
        digests: impl Iterator<Item = Digest>,
    ) -> io::Result<()> {
        let mut all = self.trusted(project);
        all.extend(digests);
        let mut writer = SEAL.writer();
        for digest in &all {
            writer.raw(digest.as_bytes());
        }
        self.write(&self.trust_of(project), &SEAL.close(writer))
    }

    /// Accepts nothing any more.
    pub(crate) fn distrust_all(&self, project: &str) -> io::Result<()> {
        match std::fs::remove_file(self.trust_of(project)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn trust_of(&self, project: &str) -> PathBuf {
        self.base.join("trust").join(project)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_accepted_is_kept_and_damage_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        store.trust("p", [a].into_iter()).unwrap();
        store.trust("p", [b].into_iter()).unwrap();
        assert_eq!(store.trusted("p"), BTreeSet::from([a, b]));
        assert_eq!(store.trusted("q"), BTreeSet::new());
        store.distrust_all("p").unwrap();
        store.distrust_all("p").unwrap();
        assert_eq!(store.trusted("p"), BTreeSet::new());
        store.trust("p", [a].into_iter()).unwrap();
        std::fs::write(store.trust_of("p"), "damaged").unwrap();
        assert_eq!(store.trusted("p"), BTreeSet::new());
    }
}
