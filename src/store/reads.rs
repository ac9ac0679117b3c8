//! What earlier runs of a check read or asked: sets of lines by weak key, newest first, and by whole key, each stored as a
//! blob; and what is known about tracing it. They only help to find the keys to look up, so a lost or wrong set costs a
//! re-run.
//!
//! On disk, sealed: the key, a byte that is 1 if failures were confirmed, the length (u16) and text of the reason
//! not to trace, the digests of the sets.

use std::io;

use crate::digest::Digest;
use crate::fs::own;
use crate::store::Store;

pub(super) const NAME: &str = "dagcache-reads";
pub(super) const FORMAT: u32 = 2;
const SETS: usize = 16;

/// What is known about tracing a check.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Notes {
    /// Why it cannot be traced ("it …").
    pub(crate) untraceable: Option<String>,
    /// A failure was the same without tracing, so failures are not the tracer's.
    pub(crate) confirmed: bool,
}

/// The content of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Known {
    notes: Notes,
    pub(super) sets: Vec<Digest>,
}

impl Store {
    /// Returns the sets under a weak key, skipping damaged ones.
    pub(crate) fn reads<'s>(
        &'s self,
        weak: &Digest,
    ) -> impl Iterator<Item = Vec<String>> + use<'s> {
        let known = self.known_reads(weak).sets.into_iter();
        known.filter_map(|set| paths(&self.blob(&set)?))
    }

    /// Adds a set, in any order, or makes it the newest. If two processes add sets at once, one may be lost.
    pub(crate) fn add_reads<'p>(
        &self,
        weak: &Digest,
        paths: impl Iterator<Item = &'p str>,
    ) -> io::Result<()> {
        let mut text = String::new();
        for path in paths {
            text.push_str(path);
            text.push('\0');
        }
        let set = self.put_blob(text.as_bytes())?;
        let mut known = self.known_reads(weak);
        if known.sets.first() == Some(&set) {
            return Ok(());
        }
        known.sets.retain(|other| *other != set);
        known.sets.insert(0, set);
        known.sets.truncate(SETS);
        self.put_known(weak, &known)
    }

    /// What is known about tracing under a weak key.
    pub(crate) fn notes(&self, weak: &Digest) -> Notes {
        self.known_reads(weak).notes
    }

    /// Replaces what is known about tracing under a weak key.
    pub(crate) fn put_notes(&self, weak: &Digest, notes: Notes) -> io::Result<()> {
        let known = Known {
            notes,
            ..self.known_reads(weak)
        };
        self.put_known(weak, &known)
    }

    fn put_known(&self, weak: &Digest, known: &Known) -> io::Result<()> {
        let mut body = weak.as_bytes().to_vec();
        let reason = known.notes.untraceable.as_deref().unwrap_or_default();
        body.push(u8::from(known.notes.confirmed));
        let length = u16::try_from(reason.len()).unwrap_or_default();
        body.extend_from_slice(&length.to_le_bytes());
        body.extend_from_slice(&reason.as_bytes()[..usize::from(length)]);
        for set in &known.sets {
            body.extend_from_slice(set.as_bytes());
        }
        let sealed = super::seal(NAME, FORMAT, &body);
        self.write(&self.sharded("reads", weak), &sealed)
    }

    /// Reads a file without knowing its weak key.
    pub(super) fn sets_at(&self, path: &std::path::Path) -> Vec<Digest> {
        let weak = path.file_name().and_then(|name| name.to_str());
        let weak = weak.and_then(|name| name.parse().ok());
        weak.map(|weak| self.known_reads(&weak).sets)
            .unwrap_or_default()
    }

    fn known_reads(&self, weak: &Digest) -> Known {
        let bytes = own::read(self.sharded("reads", weak));
        bytes
            .ok()
            .and_then(|bytes| parse(&bytes, weak))
            .unwrap_or_default()
    }
}

pub(super) fn parse(bytes: &[u8], weak: &Digest) -> Option<Known> {
    let body = super::unseal(bytes, NAME, FORMAT).ok()?;
    let body = body.strip_prefix(weak.as_bytes())?;
    let (confirmed, body) = body.split_first()?;
    let (length, body) = body.split_first_chunk()?;
    let (reason, sets) = body.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    let (sets, rest) = sets.as_chunks::<32>();
    let whole = rest.is_empty() && sets.len() <= SETS;
    let reason = std::str::from_utf8(reason).ok()?;
    whole.then(|| Known {
        notes: Notes {
            untraceable: (!reason.is_empty()).then(|| reason.to_owned()),
            confirmed: *confirmed == 1,
        },
        sets: sets.iter().map(|set| Digest::from_bytes(*set)).collect(),
    })
}

fn paths(blob: &[u8]) -> Option<Vec<String>> {
    let text = std::str::from_utf8(blob).ok()?;
    Some(text.split_terminator('\0').map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn known(store: &Store, weak: &Digest) -> Vec<Vec<String>> {
        store.reads(weak).collect()
    }

    #[test]
    fn sets_come_back_newest_first_and_without_repeats() {
        let store = Store::temporary().expect("store");
        let weak = Digest::of(b"weak");
        for set in [&["a"][..], &["a", "b"], &["a"]] {
            store.add_reads(&weak, set.iter().copied()).expect("add");
        }
        assert_eq!(known(&store, &weak), [vec!["a"], vec!["a", "b"]]);
        for number in 0..40 {
            let path = number.to_string();
            store
                .add_reads(&weak, std::iter::once(&*path))
                .expect("add");
        }
        let sets = known(&store, &weak);
        assert_eq!((sets.len(), &sets[0]), (SETS, &vec!["39".to_owned()]));
    }

    #[test]
    fn notes_stay_when_sets_come() {
        let store = Store::temporary().expect("store");
        let weak = Digest::of(b"weak");
        assert_eq!(store.notes(&weak), Notes::default());
        let notes = Notes {
            untraceable: Some("traces itself".to_owned()),
            confirmed: true,
        };
        store.put_notes(&weak, notes.clone()).expect("notes");
        store.add_reads(&weak, std::iter::once("a")).expect("add");
        assert_eq!(store.notes(&weak), notes);
        assert_eq!(known(&store, &weak), [vec!["a"]]);
    }

    #[test]
    fn sets_of_another_key_and_damaged_ones_are_left_out() {
        let store = Store::temporary().expect("store");
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        store.add_reads(&one, std::iter::once("a")).expect("add");
        let bytes = std::fs::read(store.sharded("reads", &one)).expect("read");
        crate::fs::write_atomic(&store.sharded("reads", &two), &bytes).expect("copy");
        assert!(known(&store, &two).is_empty());
        let blob = store.sharded("cas", &Digest::of(b"a\0"));
        std::fs::write(blob, "b\0").expect("alter");
        assert!(known(&store, &one).is_empty());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_no_sets(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(parse(&bytes, &Digest::of(b"x")).is_none());
        }
    }
}
