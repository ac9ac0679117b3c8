//! Looks up a check in the store: its result, or why there is none.

use std::cell::LazyCell;
use std::collections::BTreeSet;
use std::time::Instant;

use crate::config::Globs;
use crate::digest::Digest;
use crate::key::diff::differences;
use crate::key::tree::{self, Tree, Trees};
use crate::key::{CheckKey, Miss, MissKind, check_key};
use crate::path::RelPath;
use crate::plan::{CacheMode, Check, Work};
use crate::record::{Cache, CheckRecord, NO_CACHE, Verdict};
use crate::rule::Rule;
use crate::run::missing_programs::{Said, missing_programs};
use crate::run::outputs::{Made, deliver, stored};
use crate::run::parts::Parts;
use crate::run::result::{advice, conclude, replay};
use crate::run::usable::{DISTRUSTED, distrusted, expired};
use crate::run::{Caching, Session, read_keys, sources};
use crate::store::entry::{Entry, Lookup};
use crate::store::last::{Last, Seen};

/// A check that has to run.
#[derive(Debug)]
pub(crate) struct Pending<'a> {
    pub(crate) check: &'a Check,
    pub(crate) key: CheckKey,
    pub(crate) miss: Miss,
    /// Time of its last run, in milliseconds.
    pub(crate) expected_ms: u64,
    /// It has a result, which is to be compared with another run.
    pub(crate) audited: Option<Box<CheckRecord>>,
}

/// The state of a check after the look-up.
#[derive(Debug)]
pub(crate) enum State<'a> {
    /// Nothing to run; holds what to remember of it.
    Done(Box<CheckRecord>, Option<Seen>),
    /// It has to run.
    Pending(Box<Pending<'a>>),
}

/// The keys of a check. `trees` are those of the session's snapshot, shared by all checks of a run.
#[must_use]
pub(crate) fn key_of(session: &Session<'_>, check: &Check, trees: &mut Trees<'_>) -> CheckKey {
    let (class, platform) = session.place_of(check);
    check_key(session.plan, check, trees, session.env, class, &platform)
}

/// Looks up one check by its key.
#[must_use]
pub(crate) fn look_up<'a>(
    session: &Session<'_>,
    check: &'a Check,
    key: CheckKey,
    last: &Last,
) -> State<'a> {
    let begun = Instant::now();
    if let Work::Missing(message) | Work::Unsupported(message) = &check.work {
        let mut record = CheckRecord::not_run(&check.id, Verdict::Error, Some(key.whole));
        record.miss = Some(Miss::of(MissKind::NotCached));
        record.message = Some(message.clone());
        return State::Done(Box::new(record), None);
    }
    let miss = match find(session, check, &key) {
        Ok(entry) => {
            let seen = Seen {
                key: entry.key,
                fingerprint: entry.fingerprint,
                stored: true,
            };
            let made = stored(session.store, &entry.outputs).unwrap_or_default();
            let record = replay(*entry, check, Cache::Hit);
            return found(session, check, record, &made, Some(seen), begun);
        }
        Err(Some(miss)) => miss,
        Err(None) if check.inputs.parts.is_some() => {
            let parts = Parts::known(session, check, &key);
            let missing = parts.missing_paths();
            if missing.is_empty() {
                let done = parts.finish();
                let mut record = CheckRecord::not_run(&check.id, Verdict::Passed, Some(key.whole));
                record.cache = Cache::Hit;
                match appeared(session, check, &done) {
                    Some(miss) => miss,
                    None => {
                        let seen = conclude(session, check, &key, done, &[], &mut record);
                        return found(session, check, record, &[], seen, begun);
                    }
                }
            } else {
                part_reason(session, check, &key, last, &missing)
            }
        }
        Err(None) => reason(session, check, &key, last),
    };
    if session.options.dry_run {
        return State::Done(Box::new(dry(check, key.whole, Some(miss))), None);
    }
    if session.options.caching == Caching::Only {
        let mut record = CheckRecord::not_run(&check.id, Verdict::Error, Some(key.whole));
        record.message = Some(format!(
            "not cached ({miss}), and --cached-only does not run checks"
        ));
        record.miss = Some(miss);
        return State::Done(Box::new(record), None);
    }
    let expected_ms = last
        .get(&check.id)
        .map_or(0, |seen| match session.store.lookup(&seen.key) {
            Lookup::Hit(entry) => entry.duration_ms,
            _ => 0,
        });
    State::Pending(Box::new(Pending {
        check,
        key,
        miss,
        expected_ms,
        audited: None,
    }))
}

/// A hit that runs anyway.
pub(super) fn audited<'a>(
    session: &Session<'_>,
    check: &'a Check,
    hit: Box<CheckRecord>,
    trees: &mut Trees<'_>,
) -> Pending<'a> {
    Pending {
        check,
        key: key_of(session, check, trees),
        miss: Miss::of(MissKind::NotCached),
        expected_ms: u64::try_from(hit.saved_ms).unwrap_or_default(),
        audited: Some(hit),
    }
}

/// A check with nothing to run. A dry run only reports it.
fn found<'a>(
    session: &Session<'_>,
    check: &Check,
    mut record: CheckRecord,
    made: &[Made],
    seen: Option<Seen>,
    begun: Instant,
) -> State<'a> {
    record.message = advice(session, check, &record);
    deliver(session, made, &mut record);
    record.saved_ms -= i64::try_from(begun.elapsed().as_millis()).unwrap_or(0);
    if session.options.dry_run
        && let Some(key) = record.key
    {
        record = dry(check, key, None);
    }
    State::Done(Box::new(record), seen)
}

/// The cached result of a check if it may be used, else the reason if already known.
pub(super) fn find(
    session: &Session<'_>,
    check: &Check,
    key: &CheckKey,
) -> Result<Box<Entry>, Option<Miss>> {
    if let Some(reason) = &check.not_cached {
        return Err(Some(Miss::about(MissKind::NotCached, reason)));
    }
    if session.options.caching == Caching::Off {
        return Err(Some(Miss::about(MissKind::NotCached, NO_CACHE)));
    }
    if check.cache == CacheMode::Off && Rule::CacheOff.holds() {
        return Err(Some(Miss::about(MissKind::NotCached, "cache = false")));
    }
    let mut why = None;
    for (key, traced) in read_keys::keys(session, check, key) {
        match sources::lookup(session, &key) {
            Lookup::Hit(entry) if expired(check, &entry) => {
                why = Some(Miss::of(MissKind::Expired));
            }
            Lookup::Hit(entry) if check.cache == CacheMode::Passes && !entry.passed => {}
            Lookup::Hit(entry) if !whole(session, check, &entry) => {
                let reason = "one of its outputs is missing or damaged";
                why = Some(Miss::about(MissKind::Damaged, reason));
            }
            // What a traced run looked for is in its key.
            Lookup::Hit(entry) if traced => return Ok(entry),
            Lookup::Hit(entry) => match appeared(session, check, &*entry) {
                Some(miss) => why = Some(miss),
                None => return Ok(entry),
            },
            Lookup::Damaged(reason) => {
                let file = session.store.result_file(&key);
                why = Some(Miss::unusable(reason, Some(file)));
            }
            Lookup::Absent if distrusted(session, &key) => {
                why = Some(Miss::about(MissKind::NotCached, DISTRUSTED));
            }
            Lookup::Absent => {}
        }
    }
    Err(why)
}

/// A program that the cached run may have been missing and that the user now has.
fn appeared<'a>(session: &Session<'_>, check: &Check, said: impl Into<Said<'a>>) -> Option<Miss> {
    let suspects = missing_programs(session, check, said);
    let first = suspects.into_iter().next()?;
    Some(Miss::about(MissKind::ToolChanged, first.name))
}

fn whole(session: &Session<'_>, check: &Check, entry: &Entry) -> bool {
    if !Rule::OutputsAreWhole.holds() {
        return true;
    }
    let all_declared = entry.outputs.is_empty()
        || check.work.command().is_some_and(|command| {
            let globs = Globs::new(&command.outputs);
            globs.is_ok_and(|globs| entry.outputs.iter().all(|made| globs.matches(&made.path)))
        });
    all_declared && stored(session.store, &entry.outputs).is_some()
}

fn dry(check: &Check, key: Digest, miss: Option<Miss>) -> CheckRecord {
    let mut record = CheckRecord::not_run(&check.id, Verdict::Skipped, Some(key));
    if miss.is_none() {
        record.cache = Cache::Hit;
    }
    record.miss = miss;
    record
}

/// Why there is no result, compared with the last run of the check.
fn reason(session: &Session<'_>, check: &Check, key: &CheckKey, last: &Last) -> Miss {
    match compare(session, check, key, last) {
        Past::Nothing(miss) | Past::Same(miss) => miss,
        Past::Other(all) => Miss::first_of(all).unwrap_or_else(unknown),
    }
}

/// Why parts have to run: the first reason that concerns one of them, or all.
fn part_reason(
    session: &Session<'_>,
    check: &Check,
    key: &CheckKey,
    last: &Last,
    missing: &BTreeSet<&RelPath>,
) -> Miss {
    if let Some(file) = session.store.damaged_pack(&key.common) {
        return Miss::unusable("damaged", Some(file));
    }
    let all = match compare(session, check, key, last) {
        Past::Nothing(miss) => return miss,
        Past::Same(miss) => vec![miss],
        Past::Other(all) => all,
    };
    let of_a_part = |miss: &Miss| {
        let path = miss.path.as_deref().unwrap_or_default();
        let is_part = session.snapshot.find(path).is_some_and(|id| {
            check
                .inputs
                .parts
                .as_ref()
                .is_some_and(|parts| parts.binary_search(&id).is_ok())
        });
        !is_part || missing.iter().any(|part| part.as_str() == path)
    };
    let gone = |miss: &Miss| miss.kind == MissKind::InputRemoved;
    match all.iter().find(|miss| of_a_part(miss) && !gone(miss)) {
        Some(miss) => miss.clone(),
        None => Miss {
            path: missing.first().map(|path| path.display_dot().to_owned()),
            ..Miss::of(MissKind::Evicted)
        },
    }
}

/// The keys differ although no part of them does.
fn unknown() -> Miss {
    Miss::about(MissKind::New, "its key changed for an unknown reason")
}

/// An earlier run of a check, compared with its current key.
enum Past {
    /// Nothing to compare with, for this reason.
    Nothing(Miss),
    /// It had the same key, but there is no result, for this reason.
    Same(Miss),
    /// It had another key; holds all differences, most important first.
    Other(Vec<Miss>),
}

fn compare(session: &Session<'_>, check: &Check, key: &CheckKey, last: &Last) -> Past {
    let store = session.store;
    let Some(seen) = last.get(&check.id) else {
        let elsewhere = last.is_empty().then(|| store.other_layout(session.project));
        return Past::Nothing(elsewhere.flatten().map_or_else(
            || Miss::of(MissKind::New),
            |layout| Miss::unusable("stored by another version", Some(layout)),
        ));
    };
    let old = session.store.fingerprint(&seen.fingerprint);
    let (key, read) = match &old {
        Some(old) => read_keys::key_like(session, check, key, old),
        None => (key.clone(), Vec::new()),
    };
    if seen.key == key.whole {
        let kind = if seen.stored {
            MissKind::Evicted
        } else {
            MissKind::NotCached
        };
        return Past::Same(Miss::of(kind));
    }
    let Some(old) = old else {
        let lost = "its last run is no longer in the store";
        return Past::Nothing(Miss::about(MissKind::New, lost));
    };
    let is_config = |path: &str| {
        let id = session.snapshot.find(path);
        id.is_some_and(|id| check.inputs.config.binary_search(&id).is_ok())
    };
    // The current trees are only in the store if the check ran on them before.
    let now = LazyCell::new(|| {
        let mut all = read_keys::objects(session, check, &read);
        all.extend(tree::objects(session.snapshot, &check.inputs.shared).1);
        if let Some(files) = check.inputs.checked() {
            all.extend(tree::objects(session.snapshot, &files).1);
        }
        all
    });
    let mut object = |digest: &Digest| match now.get(digest) {
        Some(object) => Tree::decode(object),
        None => store.tree(digest),
    };
    let asked = read_keys::asked_differences(session, check, &old, &is_config);
    let all = differences(&old, &key.fingerprint, &is_config, &asked, &mut object);
    let all = all.into_iter();
    let all = all.map(|miss| read_keys::with_content(session.snapshot, miss));
    Past::Other(all.collect())
}

/// All differences from the check's last run, most important first; empty if there is nothing to compare with.
#[must_use]
pub(crate) fn changes(
    session: &Session<'_>,
    check: &Check,
    key: &CheckKey,
    last: &Last,
) -> Vec<Miss> {
    match compare(session, check, key, last) {
        Past::Other(all) => all,
        Past::Nothing(_) | Past::Same(_) => Vec::new(),
    }
}
