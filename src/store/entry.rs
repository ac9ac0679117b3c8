//! One cached result of a whole check. The on-disk format is private to this module and the readers in `store`.

use std::io;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::finding::Finding;
use crate::fs::own;
use crate::key::Fingerprint;
use crate::rule::Rule;
use crate::store::Store;
use crate::store::outputs::Output;

/// Entries of any other format are misses.
pub(super) const FORMAT: u32 = 1;
pub(super) const NAME: &str = "dagcache-entry";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Repeated inside the entry, so that an entry under another key's name is not served.
    pub(crate) key: Digest,
    pub(crate) check: String,
    pub(crate) passed: bool,
    /// The tool's exit code (0 or 1 for a built-in).
    pub(crate) exit_code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) findings: Vec<Finding>,
    /// 0 for a check without parts.
    pub(crate) parts: u32,
    /// For a check with parts, the sum over them.
    pub(crate) duration_ms: u64,
    /// Peak memory of the processes in bytes, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) peak_memory: Option<u64>,
    /// Engine class and platform.
    pub(crate) engine: String,
    /// Tool names and versions, for display.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tools: Vec<String>,
    /// Whether the run could see nothing outside the key. Otherwise the result stays on this machine.
    #[serde(default)]
    pub(crate) confined: bool,
    /// Milliseconds since 1970 UTC.
    pub(crate) created_ms: u64,
    pub(crate) writer: String,
    /// When the oldest part was made, if earlier than the entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) since_ms: Option<u64>,
    /// Sorted by path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) outputs: Vec<Output>,
    /// Whether the key contains something only this machine knows, which makes the result useless elsewhere.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) local_only: bool,
    pub(crate) fingerprint: Digest,
    /// Whether the run built on products from the user's own target directory. Such a result is good for this user
    /// only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) seeded: bool,
    /// The common key that holds the parts' results, for a check with parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) common: Option<Digest>,
}

impl Entry {
    #[must_use]
    pub(crate) fn blobs(&self) -> Vec<Digest> {
        let outputs = self.outputs.iter().map(|output| output.digest);
        std::iter::once(self.fingerprint).chain(outputs).collect()
    }
}

#[derive(Debug)]
pub(crate) enum Lookup {
    Hit(Box<Entry>),
    Absent,
    /// The entry exists but cannot be used; holds the reason.
    Damaged(String),
}

impl Store {
    #[must_use]
    pub(crate) fn lookup(&self, key: &Digest) -> Lookup {
        let path = self.sharded("ac", key);
        let bytes = match std::fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_file() || !Rule::EntryPlain.holds() => {
                self.note_use(&path, &meta);
                own::read(&path)
            }
            Ok(_) => return Lookup::Damaged("not a regular file".to_owned()),
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
            Ok(_) => Lookup::Damaged("belongs to another key".to_owned()),
            Err(reason) => Lookup::Damaged(reason),
        }
    }

    /// Path of the entry, for messages.
    #[must_use]
    pub(crate) fn result_file(&self, key: &Digest) -> String {
        self.shown(&self.sharded("ac", key))
    }

    /// Everything the entry refers to must be stored first.
    pub(crate) fn save(&self, entry: &Entry) -> io::Result<()> {
        let body = serde_json::to_vec(entry).map_err(io::Error::other)?;
        self.write(
            &self.sharded("ac", &entry.key),
            &super::seal(NAME, FORMAT, &body),
        )
    }

    pub(crate) fn put_fingerprint(&self, fingerprint: &Fingerprint) -> io::Result<Digest> {
        self.put_blob(&serde_json::to_vec(fingerprint).map_err(io::Error::other)?)
    }

    #[must_use]
    pub(crate) fn fingerprint(&self, digest: &Digest) -> Option<Fingerprint> {
        serde_json::from_slice(&self.blob(digest)?).ok()
    }
}

pub(super) fn parse(bytes: &[u8]) -> Result<Entry, String> {
    let body = super::unseal(bytes, NAME, FORMAT)?;
    serde_json::from_slice(body).map_err(|error| format!("cannot parse: {error}"))
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
