//! What a room holds: written before every run and trusted in the next one only as far as it can be verified.
//!
//! On disk: a line `dagcache-room 3 <digest of the rest>`, then JSON. With anything else the room starts empty. Paths
//! in it are only compared, never written to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::snapshot::Kind;

const MAGIC: &str = "dagcache-room 3 ";
/// Common prefix of all versions.
const ANY_MAGIC: &str = "dagcache-room ";

/// Such a room starts empty.
pub(crate) fn is_of_another_version(bytes: &[u8]) -> bool {
    let number = bytes.strip_prefix(ANY_MAGIC.as_bytes());
    let numbered = number.is_some_and(|rest| rest.first().is_some_and(u8::is_ascii_digit));
    numbered && !bytes.starts_with(MAGIC.as_bytes())
}

/// Nanoseconds since the epoch.
pub(crate) type Nanos = i64;

/// The content of a room before its last run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// The key of the products in the room.
    pub(crate) product_key: Digest,
    /// No file was ever written with a later modification time.
    pub(crate) newest: Nanos,
    pub(crate) verified: Nanos,
    /// By path below the managed directory.
    pub(crate) files: BTreeMap<String, Written>,
    /// Paths read by the runs since the products began; `None` if some of those runs were not watched.
    pub(crate) reads: Option<BTreeSet<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Written {
    /// Digest of its content or link target.
    pub(crate) digest: Digest,
    /// `f`, `x` or `l`.
    kind: char,
    pub(crate) stat: Stat,
}

impl Written {
    pub(crate) fn new(kind: Kind, digest: Digest, stat: Stat) -> Self {
        Self {
            digest,
            kind: letter(kind),
            stat,
        }
    }

    pub(crate) fn is(&self, kind: Kind) -> bool {
        self.kind == letter(kind)
    }

    pub(crate) fn is_same_kind(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

const fn letter(kind: Kind) -> char {
    match kind {
        Kind::File => 'f',
        Kind::Executable => 'x',
        Kind::Symlink => 'l',
    }
}

/// Reveals whether a file was touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stat {
    dev: u64,
    ino: u64,
    size: u64,
    mode: u32,
    pub(crate) mtime: Nanos,
    ctime: Nanos,
}

impl Stat {
    pub(crate) fn of(meta: &Metadata) -> Self {
        Self {
            dev: meta.dev(),
            ino: meta.ino(),
            size: meta.size(),
            mode: meta.mode(),
            mtime: nanos(meta.mtime(), meta.mtime_nsec()),
            ctime: nanos(meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// Whether a change right after `verified` would show in the stat. Within one tick of the file system's clock it
    /// might not.
    pub(crate) fn is_settled(&self, verified: Nanos) -> bool {
        let coarse = self.ctime % 1_000_000_000 == 0;
        let margin = if coarse { 2_000_000_000 } else { 20_000_000 };
        self.ctime.saturating_add(margin) < verified
    }
}

/// Seconds and nanoseconds combined (good until the year 2262).
pub(crate) const fn nanos(seconds: i64, nanoseconds: i64) -> Nanos {
    seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(nanoseconds)
}

impl Manifest {
    pub(crate) fn encode(&self) -> serde_json::Result<Vec<u8>> {
        let body = serde_json::to_vec(self)?;
        let mut bytes = format!("{MAGIC}{}\n", Digest::of(&body)).into_bytes();
        bytes.extend_from_slice(&body);
        Ok(bytes)
    }

    /// Whether all stats can be trusted.
    pub(crate) fn is_settled(&self) -> bool {
        let mut files = self.files.values();
        files.all(|file| file.stat.is_settled(self.verified))
    }

    /// Decodes [`Manifest::encode`]; `None` for anything else.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC.as_bytes())?;
        let (digest, body) = rest.split_at_checked(2 * Digest::LEN)?;
        let digest: Digest = std::str::from_utf8(digest).ok()?.parse().ok()?;
        let body = body.strip_prefix(b"\n")?;
        (Digest::of(body) == digest)
            .then(|| serde_json::from_slice(body).ok())
            .flatten()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn example() -> Manifest {
        let dir = tempfile::tempdir().unwrap();
        let stat = Stat::of(&std::fs::metadata(dir.path()).unwrap());
        let digest = Digest::of(b"x");
        let files = [Kind::File, Kind::Executable, Kind::Symlink]
            .map(|kind| (format!("{kind:?}"), Written::new(kind, digest, stat)));
        Manifest {
            product_key: digest,
            newest: 5,
            verified: -7,
            files: files.into(),
            reads: Some(["read".to_owned()].into()),
        }
    }

    #[test]
    fn another_version_is_no_damage() {
        assert!(is_of_another_version(b"dagcache-room 1 abc\n{}"));
        assert!(is_of_another_version(b"dagcache-room 10 abc\n{}"));
        assert!(!is_of_another_version(MAGIC.as_bytes()));
        assert!(!is_of_another_version(b"dagcache-roam 1 "));
        assert!(!is_of_another_version(b"dagcache-room "));
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        let manifest = example();
        assert_eq!(
            Manifest::decode(&manifest.encode().unwrap()),
            Some(manifest)
        );
    }

    #[test]
    fn another_version_is_no_manifest() {
        let bytes = example().encode().unwrap();
        let newer = String::from_utf8(bytes)
            .unwrap()
            .replace("room 3", "room 4");
        assert_eq!(Manifest::decode(newer.as_bytes()), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            prop_assert_eq!(Manifest::decode(&bytes), None);
        }

        #[test]
        fn arbitrary_bytes_with_a_right_checksum_never_panic(body: Vec<u8>) {
            let mut bytes = format!("{MAGIC}{}\n", Digest::of(&body)).into_bytes();
            bytes.extend_from_slice(&body);
            prop_assert_eq!(Manifest::decode(&bytes), None);
        }

        #[test]
        fn nearly_right_content_never_panics(body in crate::testing::damaged(&serde_json::to_vec(&example()).unwrap())) {
            let mut bytes = format!("{MAGIC}{}\n", Digest::of(&body)).into_bytes();
            bytes.extend_from_slice(&body);
            if let Some(manifest) = Manifest::decode(&bytes) {
                manifest.is_settled();
            }
        }

        #[test]
        fn a_flipped_bit_or_a_lost_tail_is_no_manifest(index: prop::sample::Index, bit in 0..8_u32) {
            let mut bytes = example().encode().unwrap();
            let at = index.index(bytes.len());
            prop_assert_eq!(Manifest::decode(&bytes[..at]), None);
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(Manifest::decode(&bytes), None);
        }
    }
}
