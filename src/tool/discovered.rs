//! Undeclared programs that checks turned out to need, by project and check, and those that made no difference to a
//! command, by command.
//!
//! Later runs plan the check with the programs it needs, so that they are part of its key. What made no difference is
//! shared by all projects of a store, as results are. Does not detect from output that a program was missing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::digest::Digest;
use crate::fs::FsError;
use crate::fs::own;
use crate::fs::sealed::{Reader, Seal, Writer};

const NEEDED: Seal = Seal {
    magic: *b"dc-prog\n",
    version: 3,
};

const REFUSED: Seal = Seal {
    magic: *b"dc-prox\n",
    version: 1,
};

/// Limit per check, in case its output keeps naming other programs.
pub(crate) const MOST: usize = 16;

/// Limit for commands; above it, what was refused is forgotten.
const MOST_COMMANDS: usize = 1000;

/// By check id.
type Needed = BTreeMap<String, BTreeSet<String>>;

/// By the identity of a check's command.
type Refused = BTreeMap<Digest, BTreeSet<String>>;

#[derive(Debug, Default)]
pub(crate) struct Discovered {
    /// The files of the project's programs and of what made no difference.
    files: Option<(PathBuf, PathBuf)>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    needed: Needed,
    refused: Refused,
    /// Whether the files are missing some names.
    changed: (bool, bool),
}

impl Discovered {
    /// Loads what is known in the folder of memos about a project, and saves it there again. An absent or damaged file
    /// has no names.
    #[must_use]
    pub(crate) fn load(memo: &Path, project: &str) -> Self {
        let files = (
            memo.join(format!("programs-{project}")),
            memo.join("refused-programs"),
        );
        let state = State {
            needed: read(&files.0, NEEDED, needed_of),
            refused: read(&files.1, REFUSED, refused_of),
            changed: (false, false),
        };
        Self {
            files: Some(files),
            state: Mutex::new(state),
        }
    }

    #[must_use]
    pub(crate) fn of(&self, check: &str) -> Vec<String> {
        let state = self.lock();
        let names = state.needed.get(check).into_iter().flatten();
        names.cloned().collect()
    }

    /// Adds programs of a check.
    pub(crate) fn add(&self, check: &str, names: &[String]) {
        let mut state = self.lock();
        let known = state.needed.entry(check.to_owned()).or_default();
        let free = MOST.saturating_sub(known.len());
        known.extend(names.iter().take(free).cloned());
        state.changed.0 = true;
    }

    /// What was tried for a command and made no difference.
    #[must_use]
    pub(crate) fn refused(&self, command: &Digest) -> BTreeSet<String> {
        let state = self.lock();
        state.refused.get(command).cloned().unwrap_or_default()
    }

    /// Adds what made no difference to a command.
    pub(crate) fn refuse(&self, command: Digest, names: Vec<String>) {
        let mut state = self.lock();
        if state.refused.len() >= MOST_COMMANDS {
            state.refused.clear();
        }
        state.refused.entry(command).or_default().extend(names);
        state.changed.1 = true;
    }

    /// Writes new names back to the files. If two runs save at once, the last one wins and the other's names are
    /// discovered again.
    pub(crate) fn save(&self) -> Result<(), FsError> {
        let mut state = self.lock();
        let Some((needed, refused)) = &self.files else {
            return Ok(());
        };
        if state.changed.0 {
            let mut out = NEEDED.writer();
            for (check, names) in &state.needed {
                out.bytes(check.as_bytes());
                encode(names, &mut out);
            }
            NEEDED.save(needed, out)?;
        }
        if state.changed.1 {
            let mut out = REFUSED.writer();
            for (command, names) in &state.refused {
                out.raw(command.as_bytes());
                encode(names, &mut out);
            }
            REFUSED.save(refused, out)?;
        }
        state.changed = (false, false);
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

fn read<T: Default>(path: &Path, seal: Seal, decode: fn(&[u8]) -> Option<T>) -> T {
    let bytes = own::read(path).unwrap_or_default();
    seal.open(&bytes).and_then(decode).unwrap_or_default()
}

fn needed_of(payload: &[u8]) -> Option<Needed> {
    let mut reader = Reader::new(payload);
    let mut needed = Needed::new();
    while !reader.is_empty() {
        let check = reader.text()?.to_owned();
        needed.insert(check, decode_names(&mut reader)?);
    }
    Some(needed)
}

fn refused_of(payload: &[u8]) -> Option<Refused> {
    let mut reader = Reader::new(payload);
    let mut refused = Refused::new();
    while !reader.is_empty() {
        let command = reader.digest()?;
        refused.insert(command, decode_names(&mut reader)?);
    }
    Some(refused)
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
    fn programs_are_remembered_by_project_and_check_and_not_without_end() {
        let dir = tempfile::tempdir().unwrap();
        let load = |project| Discovered::load(dir.path(), project);
        let discovered = load("p");
        discovered.add("a", &["jq".to_owned()]);
        discovered.add("a", &["awk".to_owned()]);
        discovered.save().unwrap();
        let discovered = load("p");
        assert_eq!(discovered.of("a"), ["awk", "jq"]);
        assert_eq!(discovered.of("b"), [""; 0]);
        assert_eq!(load("other").of("a"), [""; 0]);

        let many: Vec<String> = (0..2 * MOST).map(|number| number.to_string()).collect();
        discovered.add("b", &many);
        assert_eq!(discovered.of("b").len(), MOST);
    }

    #[test]
    fn what_made_no_difference_to_a_command_is_known_in_every_project() {
        let dir = tempfile::tempdir().unwrap();
        let commands = [Digest::of(b"1"), Digest::of(b"2")];
        let discovered = Discovered::load(dir.path(), "p");
        discovered.refuse(commands[0], vec!["sort".to_owned()]);
        discovered.save().unwrap();
        let other = Discovered::load(dir.path(), "other");
        assert!(other.refused(&commands[0]).contains("sort"));
        assert!(other.refused(&commands[1]).is_empty());
    }

    #[test]
    fn a_damaged_file_remembers_nothing() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["programs-p", "refused-programs"] {
            std::fs::write(dir.path().join(file), "damaged").unwrap();
        }
        let discovered = Discovered::load(dir.path(), "p");
        assert_eq!(discovered.of("a"), [""; 0]);
        assert!(discovered.refused(&Digest::of(b"1")).is_empty());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            needed_of(&bytes);
            refused_of(&bytes);
        }
    }
}
