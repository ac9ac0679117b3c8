//! What a room is known to hold: written before every run, believed at the next one only as far as it checks out.
//!
//! On disk: a line `dagcache-room 2 <digest of the rest>`, then JSON. Anything else is no manifest, and the room
//! starts from empty. Paths in it are only ever compared, never written to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::snapshot::Kind;

const MAGIC: &str = "dagcache-room 2 ";
/// What the magic of every version begins with.
const ANY_MAGIC: &str = "dagcache-room ";

/// Whether bytes begin as the manifest of another version does: such a room starts from empty.
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
    /// What the products in it were made with.
    pub(crate) product_key: Digest,
    /// No file was ever written with a later modification time.
    pub(crate) newest: Nanos,
    /// When the stats below were taken.
    pub(crate) verified: Nanos,
    /// By path below the managed folder.
    pub(crate) files: BTreeMap<String, Written>,
    /// Paths that runs since the products began are known to have read; `None` if not all of those runs were watched.
    pub(crate) reads: Option<BTreeSet<String>>,
}

/// One file of a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Written {
    /// Digest of its content or target text.
    pub(crate) digest: Digest,
    /// `f`, `x` or `l`.
    kind: char,
    /// What lstat said.
    pub(crate) stat: Stat,
}

impl Written {
    /// A file as it was just seen.
    pub(crate) fn new(kind: Kind, digest: Digest, stat: Stat) -> Self {
        Self {
            digest,
            kind: letter(kind),
            stat,
        }
    }

    /// Whether it was written as that kind.
    pub(crate) fn is(&self, kind: Kind) -> bool {
        self.kind == letter(kind)
    }

    /// Whether both were written as the same kind.
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

/// What tells that a file was touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stat {
    dev: u64,
    ino: u64,
    size: u64,
    mode: u32,
    /// Modification time.
    pub(crate) mtime: Nanos,
    /// Change time.
    ctime: Nanos,
}

impl Stat {
    /// From lstat.
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

    /// Whether a change made right after `verified` would show as another stat: within one tick of the clock of the
    /// file system it need not.
    pub(crate) fn is_settled(&self, verified: Nanos) -> bool {
        let coarse = self.ctime % 1_000_000_000 == 0;
        let margin = if coarse { 2_000_000_000 } else { 20_000_000 };
        self.ctime.saturating_add(margin) < verified
    }
}

/// Seconds and nanoseconds in one number (good until the year 2262).
pub(crate) const fn nanos(seconds: i64, nanoseconds: i64) -> Nanos {
    seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(nanoseconds)
}

impl Manifest {
    /// The bytes to keep.
    pub(crate) fn encode(&self) -> serde_json::Result<Vec<u8>> {
        let body = serde_json::to_vec(self)?;
        let mut bytes = format!("{MAGIC}{}\n", Digest::of(&body)).into_bytes();
        bytes.extend_from_slice(&body);
        Ok(bytes)
    }

    /// Whether all its stats can be believed as they are.
    pub(crate) fn is_settled(&self) -> bool {
        let mut files = self.files.values();
        files.all(|file| file.stat.is_settled(self.verified))
    }

    /// Reads what [`Manifest::encode`] wrote; `None` for anything else.
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
            .replace("room 2", "room 3");
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
