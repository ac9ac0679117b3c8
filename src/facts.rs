//! Facts derived from content, memoised by the digest of that content.
//!
//! The result of parsing a lockfile or of `cargo metadata` depends only on what is read. [`Facts`] computes it once
//! per distinct input and keeps it across runs, so that a Fresh run parses nothing and starts no process. Answers are
//! kept as text and parsed on demand. Knows nothing about what the facts mean.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::digest::{Digest, Hasher};
use crate::fs::FsError;
use crate::fs::own;
use crate::fs::sealed::{Reader, Seal};

const SEAL: Seal = Seal {
    magic: *b"dc-fact\n",
    version: 1,
};

/// Above this many bytes, answers that this run did not use are dropped.
const ROOMY: usize = 4 << 20;

/// Memoised answers. Cheap to share between threads.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    path: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    answers: BTreeMap<Digest, Answer>,
    /// Outdated kinds, with the keys derived since.
    renewed: BTreeMap<String, BTreeSet<Digest>>,
    /// Whether the file is missing some answers.
    changed: bool,
}

#[derive(Debug)]
struct Answer {
    text: String,
    used: bool,
}

impl Facts {
    /// Loads the answers from `path`, where they will be saved again. An absent or damaged file holds none.
    #[must_use]
    pub(crate) fn load(path: &Path) -> Self {
        let answers = own::read(path)
            .ok()
            .and_then(|bytes| decode(SEAL.open(&bytes)?));
        Self {
            path: Some(path.to_path_buf()),
            state: Mutex::new(State {
                answers: answers.unwrap_or_default(),
                ..State::default()
            }),
        }
    }

    /// Writes new answers back to the file they were loaded from, if any. If two runs save at once, the last one wins
    /// and the other's new answers are derived again.
    pub(crate) fn save(&self) -> Result<(), FsError> {
        let mut state = self.lock();
        let Some(path) = self.path.as_deref().filter(|_| state.changed) else {
            return Ok(());
        };
        let size: usize = state.answers.values().map(|a| a.text.len()).sum();
        let mut out = SEAL.writer();
        for (key, answer) in &state.answers {
            if answer.used || size <= ROOMY {
                out.raw(key.as_bytes());
                out.bytes(answer.text.as_bytes());
            }
        }
        SEAL.save(path, out)?;
        state.changed = false;
        Ok(())
    }

    /// Returns the memoised answer for `input`, or runs `derive`.
    ///
    /// `kind` names the function and its version (`"poetry-closure/2"`); raise the version whenever the function
    /// changes. `input` is the digest of everything the function reads.
    pub(crate) fn derive<T, E>(
        &self,
        kind: &str,
        input: Digest,
        derive: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E>
    where
        T: Serialize + DeserializeOwned,
    {
        let key = key(kind, input);
        if let Some(value) = self.recall(kind, key) {
            return Ok(value);
        }
        let value = derive()?;
        if let Ok(text) = serde_json::to_string(&value) {
            let mut state = self.lock();
            state.answers.insert(key, Answer { text, used: true });
            state.changed = true;
            if let Some(since) = state.renewed.get_mut(kind) {
                since.insert(key);
            }
        }
        Ok(value)
    }

    /// Invalidates answers of this kind: they are derived again when asked for. Answers that are not asked for stay.
    pub(crate) fn renew(&self, kind: &str) {
        self.lock().renewed.insert(kind.to_owned(), BTreeSet::new());
    }

    fn recall<T: DeserializeOwned>(&self, kind: &str, key: Digest) -> Option<T> {
        let text = {
            let mut state = self.lock();
            let outdated = |since: &BTreeSet<Digest>| !since.contains(&key);
            if state.renewed.get(kind).is_some_and(outdated) {
                return None;
            }
            let answer = state.answers.get_mut(&key)?;
            answer.used = true;
            answer.text.clone()
        };
        serde_json::from_str(&text).ok()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(kind: &str, input: Digest) -> Digest {
    let mut hasher = Hasher::new();
    hasher.part(kind.as_bytes());
    hasher.update(input.as_bytes());
    hasher.finish()
}

fn decode(payload: &[u8]) -> Option<BTreeMap<Digest, Answer>> {
    let mut reader = Reader::new(payload);
    let mut answers = BTreeMap::new();
    while !reader.is_empty() {
        let key = reader.digest()?;
        let text = reader.text()?.to_owned();
        answers.insert(key, Answer { text, used: false });
    }
    Some(answers)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    fn ask(facts: &Facts, kind: &str, input: &str, answer: &str) -> String {
        let derive = || Ok::<_, Infallible>(answer.to_owned());
        facts
            .derive(kind, Digest::of(input.as_bytes()), derive)
            .unwrap()
    }

    #[test]
    fn answers_are_remembered_across_runs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("facts");
        let facts = Facts::load(&path);
        assert_eq!(ask(&facts, "a/1", "in", "first"), "first");
        facts.save().unwrap();
        let facts = Facts::load(&path);
        assert_eq!(ask(&facts, "a/1", "in", "second"), "first");
        assert_eq!(ask(&facts, "a/2", "in", "other kind"), "other kind");
        assert_eq!(ask(&facts, "a/1", "else", "other input"), "other input");
    }

    #[test]
    fn a_renewed_kind_is_derived_once_more_and_others_are_not() {
        let facts = Facts::default();
        for kind in ["a/1", "b/1"] {
            ask(&facts, kind, "in", "first");
        }
        facts.renew("a/1");
        let failed = facts.derive("a/1", Digest::of(b"in"), || Err::<String, _>("no"));
        assert_eq!(failed, Err("no"));
        assert_eq!(ask(&facts, "a/1", "in", "second"), "second");
        assert_eq!(ask(&facts, "a/1", "in", "third"), "second");
        assert_eq!(ask(&facts, "b/1", "in", "second"), "first");
    }

    #[test]
    fn failures_are_not_remembered() {
        let facts = Facts::default();
        let input = Digest::of(b"in");
        assert_eq!(facts.derive("a/1", input, || Err::<u8, _>("no")), Err("no"));
        assert_eq!(facts.derive("a/1", input, || Ok::<_, &str>(1)), Ok(1));
    }

    #[test]
    fn an_answer_of_another_type_is_derived_anew() {
        let facts = Facts::default();
        ask(&facts, "a/1", "in", "text");
        let number = facts.derive("a/1", Digest::of(b"in"), || Ok::<_, Infallible>(7));
        assert_eq!(number, Ok(7));
    }

    #[test]
    fn nothing_new_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("facts");
        Facts::load(&path).save().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn only_a_large_file_loses_what_was_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("facts");
        let large = "x".repeat(ROOMY);
        for (answer, expect) in [("small", "small"), (large.as_str(), "anew")] {
            let facts = Facts::load(&path);
            ask(&facts, "old/1", "in", "small");
            facts.save().unwrap();
            let facts = Facts::load(&path);
            ask(&facts, "new/1", answer, answer);
            facts.save().unwrap();
            assert_eq!(ask(&Facts::load(&path), "old/1", "in", "anew"), expect);
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            decode(&bytes);
        }

        #[test]
        fn nearly_right_bytes_never_panic(bytes in crate::testing::damaged(&sample())) {
            decode(&bytes);
        }
    }

    /// Two answers, as they are saved.
    fn sample() -> Vec<u8> {
        let mut out = crate::fs::sealed::Writer::default();
        for text in ["\"one\"", "[1,2]"] {
            out.raw(Digest::of(text.as_bytes()).as_bytes());
            out.bytes(text.as_bytes());
        }
        out.0
    }
}
