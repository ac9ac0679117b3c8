//! Read sets of a check's earlier runs: sets of paths by weak key, newest first, each stored as a blob. They only
//! help to find the keys to look up, so a lost or wrong set costs a re-run.

use std::io;

use crate::digest::Digest;
use crate::fs::own;
use crate::store::Store;

pub(super) const NAME: &str = "dagcache-reads";
pub(super) const FORMAT: u32 = 1;
const SETS: usize = 16;

impl Store {
    /// Returns the sets under a weak key, skipping damaged ones.
    pub(crate) fn reads<'s>(
        &'s self,
        weak: &Digest,
    ) -> impl Iterator<Item = Vec<String>> + use<'s> {
        let known = self.read_sets(weak).into_iter();
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
        let known = self.read_sets(weak);
        if known.first() == Some(&set) {
            return Ok(());
        }
        let older = known.into_iter().filter(|other| *other != set);
        let mut body = weak.as_bytes().to_vec();
        for set in std::iter::once(set).chain(older).take(SETS) {
            body.extend_from_slice(set.as_bytes());
        }
        self.write(
            &self.sharded("reads", weak),
            &super::seal(NAME, FORMAT, &body),
        )
    }

    /// Reads a file without knowing its weak key.
    pub(super) fn sets_at(&self, path: &std::path::Path) -> Vec<Digest> {
        let weak = path.file_name().and_then(|name| name.to_str());
        let weak = weak.and_then(|name| name.parse().ok());
        weak.map(|weak| self.read_sets(&weak)).unwrap_or_default()
    }

    fn read_sets(&self, weak: &Digest) -> Vec<Digest> {
        let bytes = own::read(self.sharded("reads", weak));
        bytes
            .ok()
            .and_then(|bytes| parse(&bytes, weak))
            .unwrap_or_default()
    }
}

pub(super) fn parse(bytes: &[u8], weak: &Digest) -> Option<Vec<Digest>> {
    let body = super::unseal(bytes, NAME, FORMAT).ok()?;
    let sets = body.strip_prefix(weak.as_bytes())?;
    let (sets, rest) = sets.as_chunks::<32>();
    let whole = rest.is_empty() && sets.len() <= SETS;
    whole.then(|| sets.iter().map(|set| Digest::from_bytes(*set)).collect())
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
