//! Takes a snapshot: from the memo alone if nothing changed, else with as little listing and hashing as possible.
//!
//! 1. Guards: if settings, rules and tracked paths are those the memo was made with, its universe is valid.
//! 2. Sweep: one lstat per folder and file. If nothing changed, no index is read and no folder listed.
//! 3. Changed folders are listed again; if that cannot suffice, or step 1 failed, everything is.
//! 4. New and changed files are hashed, and a new memo is written.

use std::collections::HashSet;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::digest::{Digest, Hasher};
use crate::env::Env;
use crate::fs;
use crate::path::RelPath;
use crate::rule::Rule;
use crate::snapshot::guard::{self, Guards};
use crate::snapshot::memo::{self, Dir, Head, Memo, Source};
use crate::snapshot::repository::{self, Repository, Settings};
use crate::snapshot::settle::{self, Row};
use crate::snapshot::stat::{Stat, Time};
use crate::snapshot::sweep::{Sweep, sweep};
use crate::snapshot::walk::{Listing, Place, Relisted, Walker};
use crate::snapshot::{Effort, Entry, Kind, Snapshot, SnapshotError};

/// A universe and what is known about its files.
struct Universe {
    head: Head,
    dirs: Vec<Dir>,
    rows: Vec<Row>,
    listed: usize,
}

/// Takes a snapshot in a run that began to look at files at `began`, which only tests set.
pub(crate) fn take_at(
    root: &Path,
    memo_dir: &Path,
    env: &Env,
    began: Time,
) -> Result<Snapshot, SnapshotError> {
    let unusable = |source| SnapshotError::Root {
        path: root.to_path_buf(),
        source,
    };
    let root = std::fs::canonicalize(root).map_err(unusable)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = rustix::fs::open(&root, flags, Mode::empty());
    let open = open.map_err(|error| unusable(error.into()))?;
    let around = Repository::around(&root, env);
    let identity = identity(&root, around.as_ref(), env);
    let place = Place {
        root: &root,
        fd: open.as_fd(),
        env,
        began,
        around: around.as_ref(),
    };
    let memo_path = memo_path(memo_dir, &root);
    let memo = Memo::load(&memo_path, identity);
    let universe = match memo.as_ref().map(|memo| remembered(memo, place)) {
        Some(Remembered::All(entries, head)) => {
            let submodules = submodules(&head.sources);
            return Ok(Snapshot {
                entries,
                left_out: head.left_out,
                submodules,
                ..Snapshot::of(root.clone())
            });
        }
        Some(Remembered::Files(sweep, head)) => match known(memo.as_ref(), sweep, head, place)? {
            Some(universe) => universe,
            None => walked(memo.as_ref(), place)?,
        },
        Some(Remembered::Nothing) | None => walked(memo.as_ref(), place)?,
    };
    finish(universe, memo.as_ref(), identity, &memo_path, place)
}

/// Named after the root: one file per project, however the project changes.
fn memo_path(memo_dir: &Path, root: &Path) -> PathBuf {
    let name = Digest::of(root.as_os_str().as_bytes()).to_string();
    memo_dir.join(format!("tree-{}", name.get(..32).unwrap_or(&name)))
}

/// Everything a memo depends on: the root, the repository around it, and the variables that locate configuration.
fn identity(root: &Path, around: Option<&Repository>, env: &Env) -> Digest {
    let mut hasher = Hasher::new();
    hasher.part(root.as_os_str().as_bytes());
    if let Some(Repository {
        top,
        git_dir,
        common_dir,
    }) = around
    {
        for path in [top, git_dir, common_dir] {
            hasher.part(path.as_os_str().as_bytes());
        }
    }
    for (name, value) in repository::variables(env) {
        hasher.part(name.as_bytes());
        hasher.part(value.as_bytes());
    }
    hasher.finish()
}

/// How much of a memo is valid.
enum Remembered {
    /// Nothing changed; nothing needs to be written.
    All(Vec<Entry>, Head),
    /// The rules are unchanged; folders, files or only the guards' stats changed.
    Files(Sweep, Head),
    /// The universe has to be determined again.
    Nothing,
}

fn remembered(memo: &Memo, place: Place<'_>) -> Remembered {
    let mut head = memo.head.clone();
    if !same_settings(&mut head, place)
        || Rule::IgnoreFiles.holds() && !guard::all_same(&mut head.rules, place.began)
        || Rule::TrackedPaths.holds() && !same_tracked(&mut head.sources, place)
    {
        return Remembered::Nothing;
    }
    let mut found = sweep(memo, place.fd);
    if found.damaged {
        return Remembered::Nothing;
    }
    if found.is_clean() && head == memo.head {
        return Remembered::All(std::mem::take(&mut found.entries), head);
    }
    Remembered::Files(found, head)
}

/// Whether the settings are unchanged; asks git again if their source files changed.
fn same_settings(head: &mut Head, place: Place<'_>) -> bool {
    if guard::all_same(&mut head.config, place.began) || !Rule::GitSettings.holds() {
        return true;
    }
    let before = head.settings.clone();
    (head.settings, head.config) = settings(place);
    head.settings == before
}

fn settings(place: Place<'_>) -> (Settings, Guards) {
    let Some(repository) = place.around else {
        return Default::default();
    };
    let mut answer = repository::settings(repository, place.env);
    loop {
        let guards: Guards = answer.1.iter().map(|path| observed(path, place)).collect();
        if guards.values().all(guard::is_settled) {
            return (answer.0, guards);
        }
        // A file may have changed between git's look and ours.
        let again = repository::settings(repository, place.env);
        if again == answer {
            return (answer.0, guards);
        }
        answer = again;
    }
}

fn observed(path: &Path, place: Place<'_>) -> (PathBuf, guard::State) {
    (path.to_path_buf(), guard::observe(path, place.began).0)
}

/// Whether the same paths are tracked, judged by the stat of the index or by reading it.
fn same_tracked(sources: &mut [Source], place: Place<'_>) -> bool {
    sources.iter_mut().all(|source| {
        let now = Stat::of(&source.repository.index()).ok();
        if now.is_some() && now == source.index {
            return true;
        }
        let (strip, add) = if source.base.is_empty() {
            (source.repository.prefix_of(place.root), String::new())
        } else {
            (Vec::new(), format!("{}/", source.base))
        };
        source.index = now.filter(|stat| stat.is_settled(place.began));
        source
            .repository
            .tracked(&strip, add.as_bytes(), place.env)
            .is_ok_and(|tracked| tracked.digest() == source.tracked)
    })
}

/// The universe of a memo with valid rules, with changed folders listed again. `None` if that is not enough.
fn known(
    memo: Option<&Memo>,
    sweep: Sweep,
    mut head: Head,
    place: Place<'_>,
) -> Result<Option<Universe>, SnapshotError> {
    let Some(memo) = memo else { return Ok(None) };
    let alive = alive(memo, &sweep.gone_dirs);
    let stale: HashSet<usize> = sweep.stale_dirs.iter().copied().collect();
    let name = |at: usize| memo.dir(at).and_then(|row| row.path.to_str().ok());
    let relist: Vec<&str> = (0..alive.len())
        .filter(|at| alive[*at] && stale.contains(at))
        .filter_map(name)
        .collect();
    let known: HashSet<&str> = (0..alive.len())
        .filter(|at| alive[*at])
        .filter_map(name)
        .collect();
    let listing = if relist.is_empty() {
        Listing {
            rules: head.rules.clone(),
            sources: head.sources.clone(),
            ..Listing::default()
        }
    } else {
        match Walker::relist(place, &head, &relist, known)? {
            Relisted::Done(listing) => *listing,
            Relisted::GaveUp => return Ok(None),
        }
    };
    let keeps = |dir: usize| alive.get(dir) == Some(&true) && !stale.contains(&dir);
    let kept_dirs: Vec<Dir> = (0..alive.len())
        .filter(|at| keeps(*at))
        .filter_map(|at| memo.dir(at))
        .filter_map(|row| {
            Some(Dir {
                path: row.path.to_str().ok()?.to_owned(),
                stat: row.stat,
            })
        })
        .collect();
    let owners: HashSet<&str> = kept_dirs.iter().map(|dir| dir.path.as_str()).collect();
    head.left_out
        .retain(|odd| owners.contains(odd.owner.as_str()));
    let mut universe = universe_of(listing, head);
    universe.dirs.extend(kept_dirs);
    universe.rows.extend(kept_rows(memo, &sweep, keeps));
    Ok(Some(universe))
}

/// For each folder of the memo, whether it still exists, along with all its parents.
fn alive(memo: &Memo, gone: &[usize]) -> Vec<bool> {
    let mut alive = vec![true; memo.dir_count()];
    for at in gone {
        alive[*at] = false;
    }
    for at in 0..alive.len() {
        let parent = memo.dir(at).and_then(|row| row.parent);
        alive[at] &= parent.is_none_or(|parent| alive.get(parent) == Some(&true));
    }
    alive
}

/// The files in unchanged folders, except those that are gone anyway.
fn kept_rows(memo: &Memo, sweep: &Sweep, keeps: impl Fn(usize) -> bool) -> Vec<Row> {
    let mut stale = sweep.stale_files.iter().peekable();
    let mut rows = Vec::with_capacity(memo.file_count());
    for at in 0..memo.file_count() {
        let changed = stale.next_if(|(row, _)| *row == at);
        let Some(row) = memo.file(at).filter(|row| keeps(row.dir)) else {
            continue;
        };
        let now = match changed {
            Some((_, now)) => *now,
            None => row.known.map(|(stat, _)| stat),
        };
        if let Ok(path) = row.path.to_str() {
            rows.push(Row {
                path: path.to_owned(),
                tracked: row.tracked,
                executable: row.executable,
                known: row.known,
                now,
            });
        }
    }
    rows
}

/// The universe according to a full walk.
fn walked(memo: Option<&Memo>, place: Place<'_>) -> Result<Universe, SnapshotError> {
    let mut head = Head::default();
    let unchanged = memo.and_then(|memo| {
        let mut guards = memo.head.config.clone();
        guard::all_same(&mut guards, place.began).then_some((memo.head.settings.clone(), guards))
    });
    (head.settings, head.config) = unchanged.unwrap_or_else(|| settings(place));
    let listing = Walker::walk(place, &head.settings)?;
    Ok(universe_of(listing, head))
}

fn universe_of(listing: Listing, mut head: Head) -> Universe {
    head.rules = listing.rules;
    head.sources = listing.sources;
    head.left_out.extend(listing.left_out);
    let rows = listing.files.into_iter().map(|file| Row {
        path: file.path,
        tracked: file.tracked,
        executable: file.executable,
        known: None,
        now: None,
    });
    Universe {
        head,
        rows: rows.collect(),
        listed: listing.dirs.len(),
        dirs: listing.dirs,
    }
}

/// Hashes what is needed, writes the memo, and builds the snapshot.
fn finish(
    mut universe: Universe,
    memo: Option<&Memo>,
    identity: Digest,
    memo_path: &Path,
    place: Place<'_>,
) -> Result<Snapshot, SnapshotError> {
    universe.dirs.sort_by(|a, b| a.path.cmp(&b.path));
    universe.rows.sort_by(|a, b| a.path.cmp(&b.path));
    universe.head.left_out.sort();
    universe.head.sources.sort_by(|a, b| a.base.cmp(&b.base));
    if let Some(memo) = memo {
        settle::attach(&mut universe.rows, memo);
    }
    let settled = settle::settle(universe.rows, place.fd, place.began);
    let bytes = memo::encode(identity, &universe.head, &universe.dirs, &settled.files);
    if memo.is_none_or(|memo| memo.bytes() != bytes) {
        // Failing to write a memo only costs time in the next run.
        let _ = fs::write_atomic(memo_path, &bytes);
    }
    let mut left_out = universe.head.left_out;
    left_out.extend(settled.left_out);
    left_out.sort();
    Ok(Snapshot {
        effort: Effort {
            listed: universe.listed,
            hashed: settled.hashed,
        },
        submodules: submodules(&universe.head.sources),
        left_out,
        entries: settled.files.into_iter().filter_map(entry).collect(),
        ..Snapshot::of(place.root.to_path_buf())
    })
}

fn entry(file: memo::File) -> Option<Entry> {
    Some(Entry {
        kind: Kind::of(&file.stat, file.executable)?,
        digest: file.digest?,
        path: RelPath::from_normal(file.path),
    })
}

fn submodules(sources: &[Source]) -> Vec<RelPath> {
    let inner = sources.iter().filter(|source| !source.base.is_empty());
    inner
        .map(|source| RelPath::from_normal(source.base.clone()))
        .collect()
}
