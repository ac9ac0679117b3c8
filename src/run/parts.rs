//! The parts of a per-file check: which results are cached, and the whole result assembled from all of them in path
//! order.
//!
//! Does not run the missing ones.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::digest::Digest;
use crate::key::{CheckKey, part_key};
use crate::path::RelPath;
use crate::plan::{CacheMode, Check};
use crate::rule::Rule;
use crate::run::missing_programs::missing_programs;
use crate::run::result::{Done, full_disk};
use crate::run::usable::{distrusted, too_old};
use crate::run::{Caching, Session, now_ms};
use crate::snapshot::FileId;
use crate::store::parts::{Pack, PartResult, Said};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// The parts of one check, cached and run.
pub(super) struct Parts<'a, 's> {
    pub(crate) session: &'a Session<'s>,
    check: &'a Check,
    key: &'a CheckKey,
    /// Its checked files; positions refer to this list.
    pub(crate) files: &'a [FileId],
    keys: Vec<Digest>,
    results: Vec<Option<PartResult>>,
    ran: BTreeMap<Digest, PartResult>,
    /// Where the last of them ran, if it is to be kept.
    pub(crate) room: Option<PathBuf>,
    /// Whether the Dagger engine had everything cached; `None` if it was not asked.
    pub(crate) replayed: Option<bool>,
}

impl<'a, 's> Parts<'a, 's> {
    /// Looks up the results of all parts.
    pub(super) fn known(session: &'a Session<'s>, check: &'a Check, key: &'a CheckKey) -> Self {
        let files = check.inputs.parts.as_deref().unwrap_or_default();
        let common = key.common;
        let keys: Vec<Digest> = files
            .iter()
            .map(|id| {
                let linked = check.inputs.linked.get(id).into_iter().flatten();
                let linked = linked.map(|id| session.snapshot.entry(*id));
                part_key(&common, session.snapshot.entry(*id), linked)
            })
            .collect();
        let pack = if reusable(session, check, &key.common) {
            session.store.pack(&common)
        } else {
            Pack::default()
        };
        let passes_only = check.cache == CacheMode::Passes;
        let known = |key| {
            session
                .store
                .part(&pack, key)
                .filter(|part| part.exit_code == 0 || !passes_only)
                .filter(|part| !too_old(check, part.made_ms))
        };
        let results = keys.iter().map(known).collect();
        Self {
            session,
            check,
            key,
            files,
            keys,
            results,
            ran: BTreeMap::new(),
            room: None,
            replayed: None,
        }
    }

    /// Positions of the parts that have to run.
    pub(super) fn missing(&self) -> Vec<usize> {
        (0..self.files.len())
            .filter(|at| self.results[*at].is_none())
            .collect()
    }

    /// Paths of the parts that have to run.
    pub(super) fn missing_paths(&self) -> BTreeSet<&'a RelPath> {
        let missing = self.missing().into_iter();
        missing
            .map(|at| &self.session.snapshot.entry(self.files[at]).path)
            .collect()
    }

    /// Records the result of a part.
    pub(super) fn set(&mut self, at: usize, result: PartResult) {
        self.ran.insert(self.keys[at], result.clone());
        self.results[at] = Some(result);
    }

    /// Saves new results and assembles the whole.
    pub(super) fn finish(self) -> Done {
        let Self {
            session,
            check,
            key,
            keys,
            results,
            ran,
            room,
            replayed,
            ..
        } = self;
        if !ran.is_empty() && reusable(session, check, &key.common) {
            remember(session, check, &key.common, &keys, &ran);
        }
        let mut done = Done {
            parts_ran: count(ran.len()),
            parts_hit: count(keys.len() - ran.len()),
            room,
            replayed: replayed.unwrap_or(false),
            ..Done::default()
        };
        let (mut total_us, mut saved_us) = (0_u64, 0_u64);
        let mut before = Said::default();
        for (key, result) in keys.iter().zip(results) {
            let result = result.unwrap_or_default();
            total_us += u64::from(result.duration_us);
            if !ran.contains_key(key) {
                saved_us += u64::from(result.duration_us);
            }
            if Rule::MaxAgeOfParts.holds() {
                let since = done.since_ms.unwrap_or(u64::MAX);
                done.since_ms = Some(since.min(result.made_ms));
            }
            done.exit_code = done.exit_code.max(result.exit_code);
            done.unconfined |= result.said.unconfined;
            // Output common to many parts, about an invalid configuration say, is printed once.
            if result.said.stdout != before.stdout {
                append(&mut done.stdout, &result.said.stdout);
            }
            if result.said.stderr != before.stderr {
                append(&mut done.stderr, &result.said.stderr);
            }
            done.findings.extend(result.said.findings.iter().cloned());
            before = result.said;
        }
        done.findings.sort();
        done.duration_ms = total_us / 1000;
        done.saved_ms = saved_us / 1000;
        done
    }
}

fn reusable(session: &Session<'_>, check: &Check, common: &Digest) -> bool {
    session.options.caching == Caching::On
        && check.not_cached.is_none()
        && check.cache != CacheMode::Off
        && !distrusted(session, common)
}

/// Saves the results of parts. Another process may add to the same pack, hence the lock; failing to save only costs a
/// re-run.
fn remember(
    session: &Session<'_>,
    check: &Check,
    common: &Digest,
    keys: &[Digest],
    ran: &BTreeMap<Digest, PartResult>,
) {
    let doubtful = |result: &PartResult| match result.exit_code {
        0 => !missing_programs(session, check, result).is_empty(),
        _ => full_disk(&result.said.stdout, &result.said.stderr).is_some(),
    };
    let ran = ran.iter().filter(|(_, result)| !doubtful(result));
    let ran = ran.map(|(key, result)| (*key, result.clone())).collect();
    let Ok(_lock) = session.store.lock_key(common) else {
        return;
    };
    let day = u32::try_from(now_ms() / DAY_MS).unwrap_or(u32::MAX);
    let _ = session.store.add_parts(common, &ran, keys, day);
}

/// Appends the output of a part, on a new line.
fn append(text: &mut String, more: &str) {
    text.push_str(more);
    if !more.is_empty() && !more.ends_with('\n') {
        text.push('\n');
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
