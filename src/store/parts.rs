//! Results of a check's parts. All parts share one file under the common key, so that editing one of 5 000 files
//! costs one read instead of 5 000 look-ups. A silent pass is a record of 84 bytes; output goes into a blob.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::finding::Finding;
use crate::fs::own;
use crate::store::Store;

pub(super) const FORMAT: u32 = 2;
pub(super) const NAME: &str = "dagcache-parts";
const RECORD: usize = 32 + 4 + 4 + 4 + 8 + 32;
/// Above this number, the next save drops records unused for [`KEEP_DAYS`].
const MANY: usize = 20_000;
const KEEP_DAYS: u32 = 14;

/// Output of one part, stored only if there is any.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Said {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) findings: Vec<Finding>,
    /// Whether it may have seen more than the key says: see [`crate::store::entry::Entry::confined`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) unconfined: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PartResult {
    pub(crate) exit_code: i32,
    /// In microseconds: its share of the process it ran in.
    pub(crate) duration_us: u32,
    /// Milliseconds since 1970 UTC.
    pub(crate) made_ms: u64,
    pub(crate) said: Said,
}

/// The cached results of one check's parts.
#[derive(Debug, Default)]
pub(crate) struct Pack {
    records: BTreeMap<Digest, Record>,
}

impl Pack {
    /// Total time of running all parts, in milliseconds.
    pub(super) fn duration_ms(&self) -> u64 {
        let all = self.records.values();
        all.map(|record| u64::from(record.duration_us)).sum::<u64>() / 1000
    }

    pub(super) fn blobs(&self) -> Vec<Digest> {
        blobs(&self.records)
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    exit_code: i32,
    duration_us: u32,
    day: u32,
    made_ms: u64,
    said: Option<Digest>,
}

impl Store {
    /// The results under a common key; empty if absent or damaged.
    #[must_use]
    pub(crate) fn pack(&self, common: &Digest) -> Pack {
        let path = self.sharded("parts", common);
        let Ok(bytes) = own::read(&path) else {
            return Pack::default();
        };
        if let Ok(meta) = std::fs::symlink_metadata(&path) {
            self.note_use(&path, &meta);
        }
        Pack {
            records: parse(&bytes, common).unwrap_or_default(),
        }
    }

    /// Reads a file without knowing its common key.
    pub(super) fn pack_at(&self, path: &std::path::Path) -> Pack {
        let common = path.file_name().and_then(|name| name.to_str());
        let common = common.and_then(|name| name.parse().ok());
        common.map(|common| self.pack(&common)).unwrap_or_default()
    }

    /// Path of the file under a common key, for messages, if it exists but is damaged.
    #[must_use]
    pub(crate) fn damaged_pack(&self, common: &Digest) -> Option<String> {
        let path = self.sharded("parts", common);
        let bytes = own::read(&path).ok()?;
        parse(&bytes, common).is_none().then(|| self.shown(&path))
    }

    /// Returns the result of one part after verifying its blob.
    #[must_use]
    pub(crate) fn part(&self, pack: &Pack, key: &Digest) -> Option<PartResult> {
        let record = pack.records.get(key)?;
        let said = match record.said {
            None => Said::default(),
            Some(digest) => serde_json::from_slice(&self.blob(&digest)?).ok()?,
        };
        Some(PartResult {
            exit_code: record.exit_code,
            duration_us: record.duration_us,
            made_ms: record.made_ms,
            said,
        })
    }

    /// Adds results under a common key. The caller holds the lock of that key. `used` lists the keys of all parts of
    /// this run; `day` is today, in days since 1970.
    pub(crate) fn add_parts(
        &self,
        common: &Digest,
        new: &BTreeMap<Digest, PartResult>,
        used: &[Digest],
        day: u32,
    ) -> io::Result<()> {
        let mut records = self.pack(common).records;
        for (key, result) in new {
            let said = if result.said == Said::default() {
                None
            } else {
                Some(self.put_blob(&serde_json::to_vec(&result.said).map_err(io::Error::other)?)?)
            };
            let PartResult {
                exit_code,
                duration_us,
                made_ms,
                ..
            } = *result;
            records.insert(
                *key,
                Record {
                    exit_code,
                    duration_us,
                    day,
                    made_ms,
                    said,
                },
            );
        }
        for key in used {
            if let Some(record) = records.get_mut(key) {
                record.day = day;
            }
        }
        if records.len() > MANY.max(2 * used.len()) {
            records.retain(|_, record| record.day.saturating_add(KEEP_DAYS) >= day);
        }
        self.write(&self.sharded("parts", common), &encode(common, &records))
    }
}

fn encode(common: &Digest, records: &BTreeMap<Digest, Record>) -> Vec<u8> {
    let mut body = Vec::with_capacity(32 + records.len() * RECORD);
    body.extend_from_slice(common.as_bytes());
    for (key, record) in records {
        body.extend_from_slice(key.as_bytes());
        body.extend_from_slice(&record.exit_code.to_le_bytes());
        body.extend_from_slice(&record.duration_us.to_le_bytes());
        body.extend_from_slice(&record.day.to_le_bytes());
        body.extend_from_slice(&record.made_ms.to_le_bytes());
        body.extend_from_slice(
            record
                .said
                .map_or([0; 32], |digest| *digest.as_bytes())
                .as_slice(),
        );
    }
    super::seal(NAME, FORMAT, &body)
}

pub(super) fn blobs(records: &BTreeMap<Digest, Record>) -> Vec<Digest> {
    records.values().filter_map(|record| record.said).collect()
}

pub(super) fn parse(bytes: &[u8], common: &Digest) -> Option<BTreeMap<Digest, Record>> {
    let body = super::unseal(bytes, NAME, FORMAT).ok()?;
    let (head, body) = body.split_first_chunk::<32>()?;
    if head != common.as_bytes() {
        return None;
    }
    body.chunks(RECORD).map(record).collect()
}

fn record(bytes: &[u8]) -> Option<(Digest, Record)> {
    let (key, rest) = bytes.split_first_chunk::<32>()?;
    let (exit_code, rest) = rest.split_first_chunk::<4>()?;
    let (duration, rest) = rest.split_first_chunk::<4>()?;
    let (day, rest) = rest.split_first_chunk::<4>()?;
    let (made, rest) = rest.split_first_chunk::<8>()?;
    let said: [u8; 32] = rest.try_into().ok()?;
    let record = Record {
        exit_code: i32::from_le_bytes(*exit_code),
        duration_us: u32::from_le_bytes(*duration),
        day: u32::from_le_bytes(*day),
        made_ms: u64::from_le_bytes(*made),
        said: (said != [0; 32]).then(|| Digest::from_bytes(said)),
    };
    Some((Digest::from_bytes(*key), record))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn loud() -> PartResult {
        let said = Said {
            stdout: "a:1: x".into(),
            ..Said::default()
        };
        PartResult {
            exit_code: 1,
            duration_us: 7,
            made_ms: 1 << 40,
            said,
        }
    }

    #[test]
    fn results_of_parts_come_back_and_add_up() {
        let store = Store::temporary().expect("store");
        let (common, a, b) = (Digest::of(b"common"), Digest::of(b"a"), Digest::of(b"b"));
        store
            .add_parts(&common, &[(a, loud())].into(), &[a], 1)
            .expect("save");
        store
            .add_parts(&common, &[(b, PartResult::default())].into(), &[a, b], 2)
            .expect("save");
        let pack = store.pack(&common);
        assert_eq!(store.part(&pack, &a), Some(loud()));
        assert_eq!(store.part(&pack, &b), Some(PartResult::default()));
        assert_eq!(store.part(&pack, &common), None);
    }

    #[test]
    fn a_pack_of_another_check_is_not_served() {
        let store = Store::temporary().expect("store");
        let (one, two, a) = (Digest::of(b"one"), Digest::of(b"two"), Digest::of(b"a"));
        store
            .add_parts(&one, &[(a, loud())].into(), &[a], 1)
            .expect("save");
        let bytes = std::fs::read(store.sharded("parts", &one)).expect("read");
        assert_eq!(store.damaged_pack(&two), None);
        crate::fs::write_atomic(&store.sharded("parts", &two), &bytes).expect("copy");
        assert_eq!(store.part(&store.pack(&two), &a), None);
        let damaged = store.damaged_pack(&two).expect("damaged");
        assert!(damaged.starts_with("v1/parts/"), "{damaged}");
        assert_eq!(store.damaged_pack(&one), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_never_served(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(parse(&bytes, &Digest::of(b"x")).is_none());
        }
    }
}
