//! Finds keys by the leading digits that users type.

use crate::digest::Digest;
use crate::store::Store;
use crate::store::entry::{Entry, Lookup};

pub(crate) const FEWEST_DIGITS: usize = 4;

#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) key: Digest,
    /// `None` if the entry is damaged.
    pub(crate) check: Option<String>,
    /// `None` if the entry is damaged.
    pub(crate) fingerprint: Option<Digest>,
    /// The cached result, if there is one.
    pub(crate) entry: Option<Box<Entry>>,
}

impl Store {
    /// Returns the keys that start with these hexadecimal digits (at least [`FEWEST_DIGITS`]), sorted: those with a
    /// result and the last keys of this project.
    #[must_use]
    pub(crate) fn keys_with(&self, digits: &str, project: &str) -> Vec<Known> {
        let Some(shard) = digits.get(..2) else {
            return Vec::new();
        };
        let files = std::fs::read_dir(self.base.join("ac").join(shard));
        let names = files.into_iter().flatten().flatten();
        let keys = names.filter_map(|file| file.file_name().to_str()?.parse().ok());
        let mut found: Vec<Known> = keys
            .filter(|key: &Digest| key.to_string().starts_with(digits))
            .map(|key| self.known(key))
            .collect();
        for (check, seen) in self.last(project).iter() {
            let new = !found.iter().any(|known| known.key == seen.key);
            if new && seen.key.to_string().starts_with(digits) {
                found.push(Known {
                    key: seen.key,
                    check: Some(check.to_owned()),
                    fingerprint: Some(seen.fingerprint),
                    entry: None,
                });
            }
        }
        found.sort_by_key(|known| known.key);
        found
    }

    fn known(&self, key: Digest) -> Known {
        let entry = match self.lookup(&key) {
            Lookup::Hit(entry) => Some(entry),
            Lookup::Absent | Lookup::Damaged(_) => None,
        };
        Known {
            key,
            check: entry.as_ref().map(|entry| entry.check.clone()),
            fingerprint: entry.as_ref().map(|entry| entry.fingerprint),
            entry,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::entry::sample;
    use crate::store::last::{Last, Seen};

    #[test]
    fn keys_are_found_by_their_first_digits_stored_or_only_seen() {
        let store = Store::temporary().expect("store");
        let (stored, seen) = (Digest::of(b"stored"), Digest::of(b"seen"));
        store.save(&sample(stored)).expect("save");
        let mut last = Last::default();
        let fingerprint = Digest::of(b"print");
        for key in [stored, seen] {
            last.set(
                &key.short(),
                Seen {
                    key,
                    fingerprint,
                    stored: false,
                },
            );
        }
        store.save_last("p", &last).expect("save");
        let find = |key: &Digest| {
            let found = store.keys_with(&key.to_string()[..4], "p");
            found
                .into_iter()
                .map(|known| (known.key, known.entry.is_some()))
                .collect::<Vec<_>>()
        };
        assert_eq!(find(&stored), [(stored, true)]);
        assert_eq!(find(&seen), [(seen, false)]);
        assert_eq!(find(&Digest::of(b"other")), []);
    }
}
