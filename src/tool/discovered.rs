//! Undeclared programs that checks turned out to need, by project and check.
//!
//! Later runs plan the check with them, so that they are part of its key. Does not detect from output that a program
//! was missing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::fs::FsError;
use crate::fs::sealed::{Reader, Seal};

const SEAL: Seal = Seal {
    magic: *b"dc-prog\n",
    version: 1,
};

/// Limit per check, in case its output keeps naming other programs.
pub(crate) const MOST: usize = 16;

#[derive(Debug, Default)]
pub(crate) struct Discovered {
    path: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    names: Names,
    /// Whether the file is missing some names.
    changed: bool,
}

/// By check id.
type Names = BTreeMap<String, BTreeSet<String>>;

impl Discovered {
    /// Loads the names from `path`, where they will be saved again. An absent or damaged file has none.
    #[must_use]
    pub(crate) fn load(path: &Path) -> Self {
        let names = std::fs::read(path)
            .ok()
            .and_then(|bytes| decode(SEAL.open(&bytes)?));
        Self {
            path: Some(path.to_path_buf()),
            state: Mutex::new(State {
                names: names.unwrap_or_default(),
                changed: false,
            }),
        }
    }

    #[must_use]
    pub(crate) fn of(&self, check: &str) -> Vec<String> {
        let state = self.lock();
        let names = state.names.get(check).into_iter().flatten();
        names.cloned().collect()
    }

    /// Adds programs of a check.
    pub(crate) fn add(&self, check: &str, names: &[String]) {
        let mut state = self.lock();
        let known = state.names.entry(check.to_owned()).or_default();
        let free = MOST.saturating_sub(known.len());
        known.extend(names.iter().take(free).cloned());
        state.changed = true;
    }

    /// Writes new names back to the file. If two runs save at once, the last one wins and the other's names are
    /// discovered again.
    pub(crate) fn save(&self) -> Result<(), FsError> {
        let mut state = self.lock();
        let Some(path) = self.path.as_deref().filter(|_| state.changed) else {
            return Ok(());
        };
        let mut out = SEAL.writer();
        for (check, names) in &state.names {
            for name in names {
                out.bytes(check.as_bytes());
                out.bytes(name.as_bytes());
            }
        }
        SEAL.save(path, out)?;
        state.changed = false;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn decode(payload: &[u8]) -> Option<Names> {
    let mut reader = Reader::new(payload);
    let mut names = Names::new();
    while !reader.is_empty() {
        let check = reader.text()?.to_owned();
        let name = reader.text()?.to_owned();
        names.entry(check).or_default().insert(name);
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn programs_are_remembered_by_check_and_not_without_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("programs");
        let discovered = Discovered::load(&path);
        discovered.add("a", &["jq".to_owned()]);
        discovered.add("a", &["awk".to_owned()]);
        discovered.save().unwrap();
        let discovered = Discovered::load(&path);
        assert_eq!(discovered.of("a"), ["awk", "jq"]);
        assert_eq!(discovered.of("b"), [""; 0]);

        let many: Vec<String> = (0..2 * MOST).map(|number| number.to_string()).collect();
        discovered.add("b", &many);
        assert_eq!(discovered.of("b").len(), MOST);
    }

    #[test]
    fn a_damaged_file_remembers_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("programs");
        std::fs::write(&path, "damaged").unwrap();
        assert_eq!(Discovered::load(&path).of("a"), [""; 0]);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            decode(&bytes);
        }
    }
}
