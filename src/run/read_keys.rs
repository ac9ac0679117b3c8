//! Keys of checks whose runs are traced, or whose reads are detected: which ones to look up, and which one to save under.
//!
//! Does not look up entries.

use std::collections::BTreeSet;

use crate::digest::Digest;
use crate::key::diff;
use crate::key::facts::{Facts, Listings, Now, States, WeakKey};
use crate::key::fingerprint::PartKind;
use crate::key::reads::Weak;
use crate::key::tree::{self, NO_CONTENT, Objects, Trees};
use crate::key::{CheckKey, Fingerprint, Miss};
use crate::plan::{Check, Work};
use crate::run::Session;
use crate::run::host::ThisHost;
use crate::snapshot::{FileId, Snapshot};

/// The possible keys of a check's result, most likely first, and whether each is of a traced run.
pub(super) fn keys<'a>(
    session: &'a Session<'_>,
    check: &'a Check,
    key: &'a CheckKey,
) -> impl Iterator<Item = (Digest, bool)> + 'a {
    let snapshot = session.snapshot;
    let traced = traced_keys(session, check, key);
    let mut trees = Trees::new(snapshot);
    let narrow = weak(&mut trees, check, key).into_iter();
    let narrow = narrow.flat_map(move |weak| {
        let sets = sets(session, weak.key, key);
        sets.map(move |set| (weak.clone(), present(snapshot, check, set.iter())))
    });
    let narrow = narrow.map(move |(weak, read)| weak.strong(&mut trees, &read).whole);
    let untraced = narrow.chain(std::iter::once(key.whole));
    let untraced = untraced.map(|key| (key, false));
    traced.map(|key| (key, true)).chain(untraced)
}

/// What a run asked, if that is known.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Asked {
    /// It read these files, and could see all names.
    Files(Vec<FileId>),
    Facts(Facts),
}

fn traced_keys<'a>(
    session: &'a Session<'_>,
    check: &'a Check,
    key: &'a CheckKey,
) -> impl Iterator<Item = Digest> + 'a {
    let mut trees = Trees::new(session.snapshot);
    let weak = weak_traced(session, check, key).into_iter();
    let sets = weak.flat_map(move |weak| {
        let sets = sets(session, weak.key, key);
        sets.map(move |set| (weak.clone(), Facts::of_lines(&set)))
    });
    sets.filter_map(move |(weak, facts)| {
        let (states, _) = states(session, check, &facts?, &mut trees)?;
        Some(weak.strong(&states).whole)
    })
}

/// The newest sets under the weak key, then the one of a run that had exactly these inputs: sets that differ from run to
/// run push each other out.
fn sets<'a>(
    session: &'a Session<'_>,
    weak: Digest,
    key: &CheckKey,
) -> impl Iterator<Item = Vec<String>> + use<'a> {
    let keys = [weak, key.whole].into_iter();
    keys.flat_map(|key| session.store.reads(&key))
}

fn add_set(
    session: &Session<'_>,
    weak: &Digest,
    key: &CheckKey,
    set: &[&str],
) -> std::io::Result<()> {
    for key in [weak, &key.whole] {
        session.store.add_reads(key, set.iter().copied())?;
    }
    Ok(())
}

/// The answers now, for a check that runs a command.
fn states<'s>(
    session: &Session<'s>,
    check: &Check,
    facts: &Facts,
    trees: &mut Trees<'s>,
) -> Option<(States, Listings)> {
    let host = ThisHost::new(session, &check.work.command()?.dir);
    let mut now = Now {
        snapshot: session.snapshot,
        visible: &check.inputs.shared,
        folders: &check.inputs.folders,
        trees,
        host: &host,
        listings: Listings::new(),
    };
    let states = States::of(facts, &mut now);
    Some((states, now.listings))
}

/// The weak key of a check whose runs may be traced.
pub(crate) fn weak_traced(session: &Session<'_>, check: &Check, key: &CheckKey) -> Option<WeakKey> {
    let command = check.work.command()?;
    let may = command.can_be_traced() && check.inputs.parts.is_none();
    may.then(|| WeakKey::of(&check.id, key, session.tools.folders_of_system()))
}

/// The programs that known runs of a check looked for.
pub(super) fn known_programs(
    session: &Session<'_>,
    weak: &WeakKey,
    key: &CheckKey,
) -> BTreeSet<String> {
    let sets = sets(session, weak.key, key);
    let sets = sets.filter_map(|set| Facts::of_lines(&set));
    sets.flat_map(|facts| facts.programs().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

/// The key of a run that asked this.
pub(super) fn key_of_run(
    session: &Session<'_>,
    check: &Check,
    key: &CheckKey,
    asked: &Asked,
) -> Option<CheckKey> {
    let mut trees = Trees::new(session.snapshot);
    match asked {
        Asked::Files(read) => {
            let weak = weak(&mut trees, check, key)?;
            let read = with_config(check, read.clone());
            Some(weak.strong(&mut trees, &read))
        }
        Asked::Facts(facts) => {
            let weak = weak_traced(session, check, key)?;
            let (states, _) = states(session, check, facts, &mut trees)?;
            Some(weak.strong(&states))
        }
    }
}

/// Saves what a run asked, if that is known, before the result that depends on it.
pub(super) fn remember(
    session: &Session<'_>,
    check: &Check,
    key: &CheckKey,
    asked: Option<&Asked>,
) -> std::io::Result<()> {
    match asked {
        None => Ok(()),
        Some(Asked::Files(read)) => remember_files(session, check, key, read),
        Some(Asked::Facts(facts)) => remember_facts(session, check, key, facts),
    }
}

fn remember_facts(
    session: &Session<'_>,
    check: &Check,
    key: &CheckKey,
    facts: &Facts,
) -> std::io::Result<()> {
    let Some(weak) = weak_traced(session, check, key) else {
        return Ok(());
    };
    let store = session.store;
    let mut trees = Trees::new(session.snapshot);
    let Some((states, listings)) = states(session, check, facts, &mut trees) else {
        return Ok(());
    };
    for listing in listings.values() {
        store.put_blob(listing)?;
    }
    store.put_blob(&states.encode())?;
    let mut known = store
        .reads(&weak.key)
        .filter_map(|set| Facts::of_lines(&set));
    let known = known.find(|known| known.is_like(facts));
    let lines: Vec<String> = known.as_ref().unwrap_or(facts).lines().collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    add_set(session, &weak.key, key, &lines)
}

fn remember_files(
    session: &Session<'_>,
    check: &Check,
    key: &CheckKey,
    read: &[FileId],
) -> std::io::Result<()> {
    let mut trees = Trees::new(session.snapshot);
    let Some(weak) = weak(&mut trees, check, key) else {
        return Ok(());
    };
    let store = session.store;
    let read = with_config(check, read.to_vec());
    store.put_tree(&trees.digest(&read), session.snapshot, &read)?;
    let shared = &check.inputs.shared;
    store.put_names(&trees.names(shared), session.snapshot, shared)?;
    let entries = read.iter().map(|id| session.snapshot.entry(*id));
    let paths: Vec<&str> = entries.map(|entry| entry.path.as_str()).collect();
    add_set(session, &weak.key, key, &paths)
}

/// The current key for what the run with fingerprint `old` asked; the whole key if that run's key was not narrowed.
pub(super) fn key_like(
    session: &Session<'_>,
    check: &Check,
    key: &CheckKey,
    old: &Fingerprint,
) -> (CheckKey, Vec<FileId>) {
    let before = states_in(session, old);
    let now = before.and_then(|before| states_like(session, check, &before));
    if let Some(((now, _), weak)) = now.zip(weak_traced(session, check, key)) {
        return (weak.strong(&now), Vec::new());
    }
    let narrow = || {
        let mut trees = Trees::new(session.snapshot);
        let weak = weak(&mut trees, check, key)?;
        let root = old.value(PartKind::Reads)?.parse().ok()?;
        let paths = tree::paths(&root, &mut |digest| session.store.tree(digest))?;
        let read = present(session.snapshot, check, paths.iter());
        Some((weak.strong(&mut trees, &read), read))
    };
    narrow().unwrap_or_else(|| (key.clone(), Vec::new()))
}

/// What the run with this fingerprint asked, with the answers it met.
pub(crate) fn states_in(session: &Session<'_>, print: &Fingerprint) -> Option<States> {
    let digest = print.value(PartKind::States)?.parse().ok()?;
    States::decode(&session.store.blob(&digest)?)
}

/// What changed of what the run with this fingerprint asked.
pub(super) fn asked_differences(
    session: &Session<'_>,
    check: &Check,
    old: &Fingerprint,
    is_config: &dyn Fn(&str) -> bool,
) -> Vec<Miss> {
    let Some(before) = states_in(session, old) else {
        return Vec::new();
    };
    let Some((now, listings)) = states_like(session, check, &before) else {
        return Vec::new();
    };
    let listing = |digest: &Digest| {
        let new = listings.get(digest).cloned();
        new.or_else(|| session.store.blob(digest))
    };
    diff::asked_differences(&before, &now, is_config, &listing)
}

/// The answers now.
fn states_like(
    session: &Session<'_>,
    check: &Check,
    before: &States,
) -> Option<(States, Listings)> {
    let mut trees = Trees::new(session.snapshot);
    states(session, check, &before.facts(), &mut trees)
}

/// The objects of the trees in the current narrowed key.
pub(super) fn objects(session: &Session<'_>, check: &Check, read: &[FileId]) -> Objects {
    let mut all = tree::names_objects(session.snapshot, &check.inputs.shared).1;
    all.extend(tree::objects(session.snapshot, read).1);
    all
}

/// Adds digests of content to differences in names, where known.
pub(super) fn with_content(snapshot: &Snapshot, mut miss: Miss) -> Miss {
    let unknown = NO_CONTENT.to_string();
    let path = miss.path.as_deref().unwrap_or_default();
    if miss.to.as_ref() == Some(&unknown) {
        let entry = snapshot.find(path).map(|id| snapshot.entry(id));
        miss.to = entry.map(|entry| entry.digest.to_string());
    }
    miss.from = miss.from.filter(|digest| *digest != unknown);
    miss
}

fn weak(trees: &mut Trees<'_>, check: &Check, key: &CheckKey) -> Option<Weak> {
    let Work::Command(command) = &check.work else {
        return None;
    };
    (command.reads.is_some() && check.inputs.parts.is_none())
        .then(|| Weak::of(key, trees, &check.inputs.shared))
}

/// The files of a set. Missing paths are skipped: without them the names differ, and so does the weak key.
fn present<'p>(
    snapshot: &Snapshot,
    check: &Check,
    set: impl Iterator<Item = &'p String>,
) -> Vec<FileId> {
    with_config(check, set.filter_map(|path| snapshot.find(path)).collect())
}

/// Configuration counts as read, so that it does not matter whether a tool read it or used defaults.
fn with_config(check: &Check, mut read: Vec<FileId>) -> Vec<FileId> {
    read.extend(&check.inputs.config);
    read.retain(|id| check.inputs.shared.binary_search(id).is_ok());
    read.sort_unstable();
    read.dedup();
    read
}
