//! Keys of checks whose reads are detected: which ones to look up, and which one to save under.
//!
//! Does not look up entries.

use crate::digest::Digest;
use crate::key::fingerprint::PartKind;
use crate::key::reads::Weak;
use crate::key::tree::{self, NO_CONTENT, Objects, Trees};
use crate::key::{CheckKey, Fingerprint, Miss};
use crate::plan::{Check, Work};
use crate::run::Session;
use crate::snapshot::{FileId, Snapshot};

/// The possible keys of a check's result, most likely first.
pub(super) fn keys<'a>(
    session: &'a Session<'_>,
    check: &'a Check,
    key: &'a CheckKey,
) -> impl Iterator<Item = Digest> + 'a {
    let snapshot = session.snapshot;
    let mut trees = Trees::new(snapshot);
    let narrow = weak(&mut trees, check, key).into_iter();
    let narrow = narrow.flat_map(move |weak| {
        let sets = session.store.reads(&weak.key);
        sets.map(move |set| (weak.clone(), present(snapshot, check, set.iter())))
    });
    let narrow = narrow.map(move |(weak, read)| weak.strong(&mut trees, &read).whole);
    narrow.chain(std::iter::once(key.whole))
}

/// The key of a run that read these files.
pub(super) fn key_of_run(
    session: &Session<'_>,
    check: &Check,
    key: &CheckKey,
    read: &[FileId],
) -> Option<CheckKey> {
    let mut trees = Trees::new(session.snapshot);
    let weak = weak(&mut trees, check, key)?;
    let read = with_config(check, read.to_vec());
    Some(weak.strong(&mut trees, &read))
}

/// Saves a read set, if there is one, before the result that depends on it.
pub(super) fn remember(
    session: &Session<'_>,
    check: &Check,
    key: &CheckKey,
    read: Option<&[FileId]>,
) -> std::io::Result<()> {
    let Some(read) = read else { return Ok(()) };
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
    store.add_reads(&weak.key, entries.map(|entry| entry.path.as_str()))
}

/// The current key for the files that the run with fingerprint `old` read; the whole key if the run's key was not
/// narrowed.
/// was no narrow one.
pub(super) fn key_like(
    session: &Session<'_>,
    check: &Check,
    key: &CheckKey,
    old: &Fingerprint,
) -> (CheckKey, Vec<FileId>) {
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
