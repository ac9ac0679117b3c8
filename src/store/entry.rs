//! One stored result of a whole check. The shape on disk is private to the store's readers and this module.

use std::io;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::finding::Finding;
use crate::key::Fingerprint;
use crate::rule::Rule;
use crate::store::Store;
use crate::store::outputs::Output;

/// Format of an entry; another one is a miss.
pub(super) const FORMAT: u32 = 1;
/// Names it in its header.
pub(super) const NAME: &str = "dagcache-entry";

/// A stored result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Its own action key: an entry under a foreign name is not served.
    pub(crate) key: Digest,
    /// Id of the check that made it.
    pub(crate) check: String,
    /// Whether it passed.
    pub(crate) passed: bool,
    /// The tool's exit code (0 or 1 for a built-in).
    pub(crate) exit_code: i32,
    /// Standard output, whole.
    pub(crate) stdout: String,
    /// Standard error, whole.
    pub(crate) stderr: String,
    /// Diagnostics.
    pub(crate) findings: Vec<Finding>,
    /// Number of parts; 0 for a check without.
    pub(crate) parts: u32,
    /// What running it took, in milliseconds; for a check with parts the sum over them.
    pub(crate) duration_ms: u64,
    /// Peak memory of the processes in bytes, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) peak_memory: Option<u64>,
    /// Engine class and platform that ran it.
    pub(crate) engine: String,
    /// Tools and versions, for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tools: Vec<String>,
    /// Whether what ran could see nothing that is not in the key. Without, the result stays on this machine.
    #[serde(default)]
    pub(crate) confined: bool,
    /// When it was made, milliseconds since 1970 UTC.
    pub(crate) created_ms: u64,
    /// Version of the program that wrote it.
    pub(crate) writer: String,
    /// When the oldest part of it was made, if that was before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) since_ms: Option<u64>,
    /// What it made, sorted by path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) outputs: Vec<Output>,
    /// Whether it means nothing to others: its key holds something that only this machine knows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) local_only: bool,
    /// Blob with the fingerprint.
    pub(crate) fingerprint: Digest,
    /// Whether it builds on products out of the user's own target folder: true for this user, but nobody else's to
    /// trust.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) seeded: bool,
    /// For a check with parts: the common key, under which the parts' results are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) common: Option<Digest>,
}

impl Entry {
    /// The blobs it names.
    #[must_use]
    pub(crate) fn blobs(&self) -> Vec<Digest> {
        let outputs = self.outputs.iter().map(|output| output.digest);
        std::iter::once(self.fingerprint).chain(outputs).collect()
    }
}

/// What the store answers for a key.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// The result.
    Hit(Box<Entry>),
    /// Nothing there.
    Absent,
    /// Something is there that cannot be used; why.
    Damaged(String),
}

impl Store {
    /// Looks a result up.
    #[must_use]
    pub(crate) fn lookup(&self, key: &Digest) -> Lookup {
        let path = self.sharded("ac", key);
        let bytes = match std::fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_file() || !Rule::EntryPlain.holds() => {
                self.note_use(&path, &meta);
                std::fs::read(&path)
            }
            Ok(_) => return Lookup::Damaged("it is not a plain file".to_owned()),
            Err(error) => Err(error),
        };
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Lookup::Absent,
            Err(error) => return Lookup::Damaged(error.to_string()),
        };
        match parse(&bytes) {
            Ok(entry) if entry.key == *key || !Rule::EntryKey.holds() => {
                Lookup::Hit(Box::new(entry))
            }
            Ok(_) => Lookup::Damaged("it belongs to another key".to_owned()),
            Err(reason) => Lookup::Damaged(reason),
        }
    }

    /// The file that holds the result of a key, for people.
    #[must_use]
    pub(crate) fn result_file(&self, key: &Digest) -> String {
        self.shown(&self.sharded("ac", key))
    }

    /// Saves a result; call it after everything it names is saved.
    ///
    /// # Errors
    /// If the disk refuses: the result is then simply not remembered.
    pub(crate) fn save(&self, entry: &Entry) -> io::Result<()> {
        let body = serde_json::to_vec(entry).map_err(io::Error::other)?;
        self.write(
            &self.sharded("ac", &entry.key),
            &super::seal(NAME, FORMAT, &body),
        )
    }

    /// Saves a fingerprint as a blob.
    ///
    /// # Errors
    /// If the disk refuses.
    pub(crate) fn put_fingerprint(&self, fingerprint: &Fingerprint) -> io::Result<Digest> {
        self.put_blob(&serde_json::to_vec(fingerprint).map_err(io::Error::other)?)
    }

    /// The fingerprint saved as that blob.
    #[must_use]
    pub(crate) fn fingerprint(&self, digest: &Digest) -> Option<Fingerprint> {
        serde_json::from_slice(&self.blob(digest)?).ok()
    }
}

/// Reads the bytes of an entry.
pub(super) fn parse(bytes: &[u8]) -> Result<Entry, String> {
    let body = super::unseal(bytes, NAME, FORMAT)?;
    serde_json::from_slice(body).map_err(|error| format!("it does not parse: {error}"))
}

#[cfg(test)]
pub(crate) fn sample(key: Digest) -> Entry {
    Entry {
        key,
        check: "c".into(),
        passed: true,
        exit_code: 0,
        stdout: "out".into(),
        stderr: String::new(),
        findings: Vec::new(),
        parts: 0,
        duration_ms: 5,
        peak_memory: None,
        engine: "local".into(),
        tools: Vec::new(),
        confined: true,
        created_ms: 1,
        writer: "0".into(),
        since_ms: None,
        outputs: Vec::new(),
        local_only: false,
        fingerprint: Digest::of(b"f"),
        seeded: false,
        common: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn store_with_entry() -> (Store, Digest, std::path::PathBuf) {
        let store = Store::temporary().expect("store");
        let key = Digest::of(b"key");
        store.save(&sample(key)).expect("save");
        let path = store.sharded("ac", &key);
        (store, key, path)
    }

    #[test]
    fn a_saved_result_comes_back() {
        let (store, key, _) = store_with_entry();
        assert!(matches!(store.lookup(&key), Lookup::Hit(entry) if *entry == sample(key)));
        assert!(matches!(
            store.lookup(&Digest::of(b"other")),
            Lookup::Absent
        ));
    }

    #[test]
    fn damaged_foreign_and_newer_results_are_misses_with_a_reason() {
        let (store, key, path) = store_with_entry();
        let good = std::fs::read(&path).expect("read");
        let reason = |bytes: &[u8]| {
            std::fs::write(&path, bytes).expect("alter");
            match store.lookup(&key) {
                Lookup::Damaged(reason) => reason,
                other => panic!("served {other:?}"),
            }
        };
        assert!(reason(&good[..good.len() - 3]).contains("checksum"));
        let foreign = seal_of(&sample(Digest::of(b"foreign")));
        assert!(reason(&foreign).contains("another key"));
        let newer = crate::store::seal("dagcache-entry", FORMAT + 1, b"{}");
        assert!(reason(&newer).contains("format"));
    }

    #[test]
    fn a_link_in_the_place_of_a_result_is_not_followed() {
        let (store, key, path) = store_with_entry();
        let elsewhere = store.base().join("elsewhere");
        std::fs::rename(&path, &elsewhere).expect("move");
        std::os::unix::fs::symlink(&elsewhere, &path).expect("link");
        assert!(matches!(store.lookup(&key), Lookup::Damaged(_)));
    }

    fn seal_of(entry: &Entry) -> Vec<u8> {
        crate::store::seal(
            "dagcache-entry",
            FORMAT,
            &serde_json::to_vec(entry).expect("json"),
        )
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_never_served(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(parse(&bytes).is_err());
        }

        #[test]
        fn a_flipped_byte_is_never_served(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let mut bytes = seal_of(&sample(Digest::of(b"key")));
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(parse(&bytes).is_err());
        }
    }

    proptest! {
        #[test]
        fn nearly_right_content_never_panics(
            body in crate::testing::damaged(&serde_json::to_vec(&sample(Digest::of(b"key"))).expect("json")),
        ) {
            let _ = parse(&crate::store::seal("dagcache-entry", FORMAT, &body));
        }

        #[test]
        fn a_damaged_fingerprint_is_none(body in crate::testing::damaged(br#"{"parts":[{"kind":"command","value":"a"},{"kind":"env","name":"B","value":null}]}"#)) {
            let store = Store::temporary().expect("store");
            let digest = store.put_blob(&body).expect("blob");
            let _ = store.fingerprint(&digest);
        }
    }
}
