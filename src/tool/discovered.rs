//! Undeclared programs that checks turned out to need, and those that made no difference, by project and check.
//!
//! Later runs plan the check with the programs it needs, so that they are part of its key. Does not detect from output
//! that a program was missing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::digest::Digest;
use crate::fs::FsError;
use crate::fs::sealed::{Reader, Seal, Writer};

const SEAL: Seal = Seal {
    magic: *b"dc-prog\n",
    version: 2,
};

/// Limit per check, in case its output keeps naming other programs.
pub(crate) const MOST: usize = 16;

/// Limit for commands; above it, what was refused is forgotten.
const MOST_COMMANDS: usize = 1000;

#[derive(Debug, Default)]
pub(crate) struct Discovered {
    path: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    known: Known,
    /// Whether the file is missing some names.
    changed: bool,
}

#[derive(Debug, Default)]
struct Known {
    /// By check id.
    needed: BTreeMap<String, BTreeSet<String>>,
    /// By the identity of a check's command.
    refused: BTreeMap<Digest, BTreeSet<String>>,
}

impl Discovered {
    /// Loads the names from `path`, where they will be saved again. An absent or damaged file has none.
    #[must_use]
    pub(crate) fn load(path: &Path) -> Self {
        let known = std::fs::read(path)
            .ok()
            .and_then(|bytes| decode(SEAL.open(&bytes)?));
        Self {
            path: Some(path.to_path_buf()),
            state: Mutex::new(State {
                known: known.unwrap_or_default(),
                changed: false,
            }),
        }
    }

    #[must_use]
    pub(crate) fn of(&self, check: &str) -> Vec<String> {
        let state = self.lock();
        let names = state.known.needed.get(check).into_iter().flatten();
        names.cloned().collect()
    }

    /// Adds programs of a check.
    pub(crate) fn add(&self, check: &str, names: &[String]) {
        let mut state = self.lock();
        let known = state.known.needed.entry(check.to_owned()).or_default();
        let free = MOST.saturating_sub(known.len());
        known.extend(names.iter().take(free).cloned());
        state.changed = true;
    }

    /// What was tried for a command and made no difference.
    #[must_use]
    pub(crate) fn refused(&self, command: &Digest) -> BTreeSet<String> {
        let state = self.lock();
        state
            .known
            .refused
            .get(command)
            .cloned()
            .unwrap_or_default()
    }

    /// Adds what made no difference to a command.
    pub(crate) fn refuse(&self, command: Digest, names: Vec<String>) {
        let mut state = self.lock();
        if state.known.refused.len() >= MOST_COMMANDS {
            state.known.refused.clear();
        }
        state
            .known
            .refused
            .entry(command)
            .or_default()
            .extend(names);
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
        let known = &state.known;
        out.u64(known.needed.len() as u64);
        for (check, names) in &known.needed {
            out.bytes(check.as_bytes());
            encode(names, &mut out);
        }
        for (command, names) in &known.refused {
            out.raw(command.as_bytes());
            encode(names, &mut out);
        }
        SEAL.save(path, out)?;
        state.changed = false;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn encode(names: &BTreeSet<String>, out: &mut Writer) {
    out.u64(names.len() as u64);
    for name in names {
        out.bytes(name.as_bytes());
    }
}

fn decode(payload: &[u8]) -> Option<Known> {
    let mut reader = Reader::new(payload);
    let mut known = Known::default();
    for _ in 0..reader.u64()? {
        let check = reader.text()?.to_owned();
        known.needed.insert(check, decode_names(&mut reader)?);
    }
    while !reader.is_empty() {
        let command = reader.digest()?;
        known.refused.insert(command, decode_names(&mut reader)?);
    }
    Some(known)
}

fn decode_names(reader: &mut Reader<'_>) -> Option<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for _ in 0..reader.u64()? {
        names.insert(reader.text()?.to_owned());
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
        let commands = [Digest::of(b"1"), Digest::of(b"2")];
        discovered.refuse(commands[0], vec!["sort".to_owned()]);
        discovered.save().unwrap();
        let discovered = Discovered::load(&path);
        assert_eq!(discovered.of("a"), ["awk", "jq"]);
        assert_eq!(discovered.of("b"), [""; 0]);
        assert!(discovered.refused(&commands[0]).contains("sort"));
        assert!(discovered.refused(&commands[1]).is_empty());

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
