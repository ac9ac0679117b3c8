//! The memo of a repository: digests of blobs by id, and how its files are converted.
//!
//! ```text
//! identity [u8; 32] · rules · digest of the rules [u8; 32] · length of ids u8
//! number of rows u32 · a row for each file of the last index, by path: path · id · how u8 · digest [u8; 32]
//!   · of a filtered file: whether one is on disk u8 · its stat
//! number of others u32 · other blobs: id · digest [u8; 32] · number of trees u32 · trees: id · what git lists of it
//! ```
//! A blob's digest follows from its id, whatever the repository. Whether a file is converted, and the digest of the
//! result, are valid under the digest of the rules; for a filtered file, also only as long as the one on disk stays
//! the same.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::fs::own;
use crate::fs::sealed::{Reader, Seal};
use crate::fs::{self, FsError};
use crate::rule::Rule;
use crate::snapshot::staged::convert::{self, How, Rules};
use crate::snapshot::staged::object::ObjectId;
use crate::snapshot::stat::Stat;

const SEAL: Seal = Seal {
    magic: *b"dc-blob\n",
    version: 3,
};

/// Other blobs to keep: enough to switch between a few commits.
const OTHERS: usize = 20_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) path: Vec<u8>,
    pub(crate) id: ObjectId,
    pub(crate) how: How,
    pub(crate) digest: Digest,
    /// For a filtered file: the file on disk before filtering.
    pub(crate) on_disk: Option<Stat>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Memo {
    /// The rules, if found in the current environment.
    pub(crate) rules: Option<Rules>,
    /// The digest of the rules that the rows are valid under.
    pub(crate) under: Option<Digest>,
    pub(crate) rows: Vec<Row>,
    pub(crate) others: Vec<(ObjectId, Digest)>,
    /// Git's listings of submodule commits.
    pub(crate) trees: BTreeMap<ObjectId, Vec<u8>>,
}

impl Memo {
    /// The memo file of the repository with its work tree at `top`.
    pub(crate) fn path(memo_dir: &Path, top: &Path) -> PathBuf {
        let name = Digest::of(top.as_os_str().as_encoded_bytes()).to_string();
        memo_dir.join(format!("blobs-{}", name.get(..32).unwrap_or(&name)))
    }

    /// Reads a memo; an absent or damaged one is empty. For another environment, only the blobs are valid.
    pub(crate) fn load(path: &Path, identity: Digest) -> Self {
        let bytes = own::read(path).unwrap_or_default();
        let decoded = SEAL
            .open(&bytes)
            .and_then(|payload| decode(payload, identity));
        decoded.unwrap_or_default()
    }

    pub(crate) fn save(&self, path: &Path, identity: Digest) -> Result<(), FsError> {
        let mut out = SEAL.writer();
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        out.raw(identity.as_bytes());
        convert::encode(self.rules.as_ref().unwrap_or(&Rules::default()), &mut out);
        let under = self.under.unwrap_or(Digest::from_bytes([0; 32]));
        out.raw(under.as_bytes());
        let ids = self.rows.iter().map(|row| row.id);
        let any = ids.chain(self.others.iter().map(|(id, _)| *id)).next();
        let length = any.or_else(|| self.trees.keys().next().copied());
        out.u8(u8::try_from(length.map_or(20, |id| id.as_bytes().len())).unwrap_or(20));
        out.u32(number(self.rows.len()));
        for row in &self.rows {
            out.bytes(&row.path);
            out.raw(row.id.as_bytes());
            out.u8(match row.how {
                How::AsIs => 0,
                How::Converted => 1,
                How::Filtered => 2,
                How::Refused => 3,
            });
            out.raw(row.digest.as_bytes());
            if row.how == How::Filtered {
                out.u8(u8::from(row.on_disk.is_some()));
                row.on_disk.unwrap_or_default().encode(&mut out);
            }
        }
        let others = self.others.get(..OTHERS).unwrap_or(&self.others);
        out.u32(number(others.len()));
        for (id, digest) in others {
            out.raw(id.as_bytes());
            out.raw(digest.as_bytes());
        }
        out.u32(number(self.trees.len()));
        for (id, listing) in &self.trees {
            out.raw(id.as_bytes());
            out.bytes(listing);
        }
        fs::write_atomic(path, &SEAL.close(out))
    }

    /// The digests of all blobs that a checkout does not convert.
    pub(crate) fn blobs(&self) -> HashMap<ObjectId, Digest> {
        let rows = self.rows.iter().filter(|row| row.how == How::AsIs);
        let rows = rows.map(|row| (row.id, row.digest));
        rows.chain(self.others.iter().copied()).collect()
    }
}

fn decode(payload: &[u8], identity: Digest) -> Option<Memo> {
    let mut from = Reader::new(payload);
    let same = from.digest()? == identity || !Rule::MemoIdentity.holds();
    let rules = convert::decode(&mut from)?;
    let under = from.digest()?;
    let length = usize::from(from.u8()?);
    let id = |from: &mut Reader<'_>| ObjectId::new(from.raw(length)?);
    let mut memo = Memo {
        rules: same.then_some(rules),
        under: Some(under),
        ..Memo::default()
    };
    for _ in 0..from.u32()? {
        let mut row = Row {
            path: from.bytes()?.to_vec(),
            id: id(&mut from)?,
            how: match from.u8()? {
                0 => How::AsIs,
                1 => How::Converted,
                2 => How::Filtered,
                3 => How::Refused,
                _ => return None,
            },
            digest: from.digest()?,
            on_disk: None,
        };
        if row.how == How::Filtered {
            let there = from.u8()? != 0;
            row.on_disk = Stat::decode(&mut from).filter(|_| there);
        }
        memo.rows.push(row);
    }
    for _ in 0..from.u32()? {
        memo.others.push((id(&mut from)?, from.digest()?));
    }
    for _ in 0..from.u32()? {
        let id = id(&mut from)?;
        memo.trees.insert(id, from.bytes()?.to_vec());
    }
    Some(memo)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Memo {
        let id = |byte| ObjectId::new(&[byte; 20]).expect("an id");
        Memo {
            rules: Some(Rules::default()),
            under: Some(Digest::of(b"rules")),
            rows: vec![Row {
                path: b"a/b".to_vec(),
                id: id(1),
                how: How::Filtered,
                digest: Digest::of(b"x"),
                on_disk: Some(Stat::default()),
            }],
            others: vec![(id(2), Digest::of(b"y"))],
            trees: BTreeMap::from([(id(3), b"listing".to_vec())]),
        }
    }

    fn payload(memo: &Memo) -> Vec<u8> {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("memo");
        memo.save(&path, Digest::of(b"here")).expect("saved");
        let bytes = std::fs::read(&path).expect("memo");
        SEAL.open(&bytes).expect("sealed").to_vec()
    }

    #[test]
    fn what_is_saved_is_loaded_but_rules_only_in_the_same_surroundings() {
        let bytes = payload(&sample());
        assert_eq!(decode(&bytes, Digest::of(b"here")), Some(sample()));
        let elsewhere = decode(&bytes, Digest::of(b"there")).expect("blobs");
        assert_eq!(elsewhere.rules, None);
        assert_eq!(elsewhere.others, sample().others);
        assert_eq!(sample().blobs().len(), 1);
    }

    proptest! {
        #[test]
        fn nearly_right_bytes_never_panic(bytes in crate::testing::damaged(&payload(&sample()))) {
            decode(&bytes, Digest::of(b"here"));
        }
    }
}
