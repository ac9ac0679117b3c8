//! What the store knows of a check: its result, or why there is none.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::digest::Digest;
use crate::key::diff::{Listing, differences};
use crate::key::fingerprint::PartKind;
use crate::key::tree::kind_tag;
use crate::key::{CheckKey, Fingerprint, Miss, MissKind, check_key};
use crate::path::RelPath;
use crate::plan::{CacheMode, Check, Work};
use crate::record::{Cache, CheckRecord, NO_CACHE, Verdict};
use crate::run::parts::Parts;
use crate::run::result::{advice, conclude, replay};
use crate::run::{Caching, Session, now_ms, overkeyed};
use crate::snapshot::{FileId, Snapshot};
use crate::store::entry::{Entry, Lookup};
use crate::store::last::{Last, Seen};

/// A check that has to be run.
#[derive(Debug)]
pub struct Pending<'a> {
    /// The check.
    pub check: &'a Check,
    /// Its keys.
    pub key: CheckKey,
    /// Why.
    pub miss: Miss,
    /// What it took last time, in milliseconds.
    pub expected_ms: u64,
}

/// Where a check stands after the look-up.
#[derive(Debug)]
pub enum State<'a> {
    /// It needs nothing more; with what is to be noted of it.
    Done(Box<CheckRecord>, Option<Seen>),
    /// It has to be run.
    Pending(Box<Pending<'a>>),
}

/// Looks one check up.
#[must_use]
pub fn look_up<'a>(session: &Session<'_>, check: &'a Check, last: &Last) -> State<'a> {
    let begun = Instant::now();
    let engine = session.engine;
    let key = check_key(
        session.plan,
        check,
        session.snapshot,
        session.env,
        engine.class(),
        &overkeyed::platform(session),
    );
    if let Work::Missing(message) | Work::Unsupported(message) = &check.work {
        let mut record = CheckRecord::not_run(&check.id, Verdict::Error, Some(key.whole));
        record.miss = Some(Miss::of(MissKind::NotCached));
        record.message = Some(message.clone());
        return State::Done(Box::new(record), None);
    }
    let miss = match find(session, check, &key.whole) {
        Ok(entry) => {
            let seen = Seen {
                key: key.whole,
                fingerprint: entry.fingerprint,
                stored: true,
            };
            return found(
                session,
                check,
                replay(*entry, check, Cache::Hit),
                Some(seen),
                begun,
            );
        }
        Err(Some(miss)) => miss,
        Err(None) if check.inputs.parts.is_some() => {
            let parts = Parts::known(session, check, &key);
            let missing = parts.missing_paths();
            if missing.is_empty() {
                let mut record = CheckRecord::not_run(&check.id, Verdict::Passed, Some(key.whole));
                record.cache = Cache::Hit;
                let seen = conclude(session, check, &key, parts.finish(), &mut record);
                return found(session, check, record, seen, begun);
            }
            part_reason(session, check, &key, last, &missing)
        }
        Err(None) => reason(session, check, &key, last),
    };
    if session.options.dry_run {
        return State::Done(Box::new(dry(check, key.whole, Some(miss))), None);
    }
    if session.options.caching == Caching::Only {
        let mut record = CheckRecord::not_run(&check.id, Verdict::Error, Some(key.whole));
        record.message = Some(format!(
            "not in the cache ({miss}), and --cached-only runs nothing"
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
    }))
}

/// A check that needs nothing more: in a dry run only that is said.
fn found<'a>(
    session: &Session<'_>,
    check: &Check,
    mut record: CheckRecord,
    seen: Option<Seen>,
    begun: Instant,
) -> State<'a> {
    record.message = advice(session, check, &record);
    record.saved_ms -= i64::try_from(begun.elapsed().as_millis()).unwrap_or(0);
    if session.options.dry_run
        && let Some(key) = record.key
    {
        record = dry(check, key, None);
    }
    State::Done(Box::new(record), seen)
}

/// The stored result of a check, if it may be used; else why not, where that is known already.
pub(super) fn find(
    session: &Session<'_>,
    check: &Check,
    key: &Digest,
) -> Result<Box<Entry>, Option<Miss>> {
    if let Some(reason) = &check.not_cached {
        return Err(Some(Miss::about(MissKind::NotCached, reason)));
    }
    if session.options.caching == Caching::Off {
        return Err(Some(Miss::about(MissKind::NotCached, NO_CACHE)));
    }
    if check.cache == CacheMode::Off {
        return Err(Some(Miss::about(MissKind::NotCached, "cache = false")));
    }
    match session.store.lookup(key) {
        Lookup::Hit(entry) if expired(check, &entry) => Err(Some(Miss::of(MissKind::Expired))),
        Lookup::Hit(entry) if check.cache == CacheMode::Passes && !entry.passed => Err(None),
        Lookup::Hit(entry) => Ok(entry),
        Lookup::Damaged(reason) => Err(Some(Miss::about(MissKind::Damaged, reason))),
        Lookup::Absent => Err(None),
    }
}

fn expired(check: &Check, entry: &Entry) -> bool {
    check
        .max_age
        .is_some_and(|age| u128::from(now_ms().saturating_sub(entry.created_ms)) > age.as_millis())
}

fn dry(check: &Check, key: Digest, miss: Option<Miss>) -> CheckRecord {
    let mut record = CheckRecord::not_run(&check.id, Verdict::Skipped, Some(key));
    if miss.is_none() {
        record.cache = Cache::Hit;
    }
    record.miss = miss;
    record
}

/// Why there is no result, by comparison with what was seen last of the same check.
fn reason(session: &Session<'_>, check: &Check, key: &CheckKey, last: &Last) -> Miss {
    let all = all_reasons(session, check, key, last);
    all.into_iter()
        .next()
        .unwrap_or_else(|| Miss::of(MissKind::New))
}

/// Why parts have to be run: the first reason that is about one of them, or about all.
fn part_reason(
    session: &Session<'_>,
    check: &Check,
    key: &CheckKey,
    last: &Last,
    missing: &BTreeSet<&RelPath>,
) -> Miss {
    let all = all_reasons(session, check, key, last);
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
        None if all.is_empty() => Miss::of(MissKind::New),
        None => Miss {
            kind: MissKind::Evicted,
            path: missing.first().map(ToString::to_string),
            from: None,
            to: None,
        },
    }
}

/// All reasons, the most telling first; empty if nothing comparable was seen.
pub(crate) fn all_reasons(
    session: &Session<'_>,
    check: &Check,
    key: &CheckKey,
    last: &Last,
) -> Vec<Miss> {
    let Some(seen) = last.get(&check.id) else {
        return Vec::new();
    };
    if seen.key == key.whole {
        return vec![Miss::of(if seen.stored {
            MissKind::Evicted
        } else {
            MissKind::NotCached
        })];
    }
    let Some(old) = session.store.fingerprint(&seen.fingerprint) else {
        return Vec::new();
    };
    let is_config = |path: &str| {
        let id = session.snapshot.find(path);
        id.is_some_and(|id| check.inputs.config.binary_search(&id).is_ok())
    };
    let listing = |tree: &str| {
        current_listing(session.snapshot, check, &key.fingerprint, tree)
            .or_else(|| session.store.listing(tree))
    };
    differences(&old, &key.fingerprint, &is_config, &listing)
}

/// The listing of a tree of the check as it is now.
fn current_listing(
    snapshot: &Snapshot,
    check: &Check,
    now: &Fingerprint,
    tree: &str,
) -> Option<Listing> {
    let list = |files: &[FileId]| {
        files
            .iter()
            .map(|id| snapshot.entry(*id))
            .map(|entry| {
                let kind = char::from(kind_tag(entry.kind));
                (entry.path.to_string(), (kind, entry.digest.to_string()))
            })
            .collect()
    };
    if now.value(PartKind::Inputs) == Some(tree) {
        return Some(list(&check.inputs.shared));
    }
    if now.value(PartKind::Files) == Some(tree) {
        return check.inputs.parts.as_deref().map(list);
    }
    None
}
