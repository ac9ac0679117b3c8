//! The last key of each check of a project. Miss reasons compare with it; nothing else depends on it.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use crate::digest::Digest;
use crate::fs::own;
use crate::store::Store;

pub(super) const NAME: &str = "dagcache-last";
pub(super) const FORMAT: u32 = 1;

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Last {
    checks: BTreeMap<String, Seen>,
}

/// The last run of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) key: Digest,
    pub(crate) fingerprint: Digest,
    pub(crate) stored: bool,
}

impl Last {
    #[must_use]
    pub(crate) fn get(&self, check: &str) -> Option<Seen> {
        self.checks.get(check).copied()
    }

    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.checks.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, Seen)> {
        self.checks
            .iter()
            .map(|(check, seen)| (check.as_str(), *seen))
    }

    pub(crate) fn set(&mut self, check: &str, seen: Seen) {
        self.checks.insert(check.to_owned(), seen);
    }
}

impl Store {
    fn last_path(&self, project: &str) -> PathBuf {
        self.base.join("last").join(project)
    }

    /// `project` is a hexadecimal id.
    #[must_use]
    pub(crate) fn last(&self, project: &str) -> Last {
        own::read(self.last_path(project))
            .ok()
            .and_then(|bytes| parse(&bytes))
            .unwrap_or_default()
    }

    pub(crate) fn save_last(&self, project: &str, last: &Last) -> io::Result<()> {
        let mut body = String::new();
        for (check, seen) in &last.checks {
            let stored = if seen.stored { '+' } else { '-' };
            body.push_str(&format!(
                "{} {} {stored} {check}\n",
                seen.key, seen.fingerprint
            ));
        }
        self.write(
            &self.last_path(project),
            &super::seal(NAME, FORMAT, body.as_bytes()),
        )
    }
}

pub(super) fn parse(bytes: &[u8]) -> Option<Last> {
    let body = std::str::from_utf8(super::unseal(bytes, NAME, FORMAT).ok()?).ok()?;
    let mut last = Last::default();
    for line in body.lines() {
        let mut words = line.splitn(4, ' ');
        let key = words.next()?.parse().ok()?;
        let fingerprint = words.next()?.parse().ok()?;
        let stored = words.next()? == "+";
        last.set(
            words.next()?,
            Seen {
                key,
                fingerprint,
                stored,
            },
        );
    }
    Some(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn last_keys_come_back() {
        let store = Store::temporary().expect("store");
        let mut last = Last::default();
        last.set(
            "a b",
            Seen {
                key: Digest::of(b"k"),
                fingerprint: Digest::of(b"f"),
                stored: true,
            },
        );
        store.save_last("p", &last).expect("save");
        assert_eq!(store.last("p"), last);
        assert_eq!(store.last("q"), Last::default());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_nothing(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(parse(&bytes).is_none());
        }
    }
}
