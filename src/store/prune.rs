//! Deleting by policy: first what nothing needs, then, while the store is over its size limit, rooms, the quarantine,
//! and the least valuable results.
//!
//! The plan is made and shown, then applied. The caller holds the store exclusively. Deletes only regular files and
//! directories of this store, never follows links, and keeps rooms in use. Results are deleted before what they refer
//! to, so that a killed prune leaves no dangling references.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::env::{DAGCACHE_MAX_SIZE, Env};
use crate::fs::own;
use crate::store::Store;
use crate::store::usage::{Size, files_below};
use crate::store::value::{self, Candidate};
use crate::store::verify::is_temporary;
use crate::visible::Shown as _;

/// Size limit unless the user sets one: 10 GiB.
const DEFAULT_MAX_SIZE: u64 = 10 << 30;

/// A younger temporary file may belong to a running process.
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const KEEP_QUARANTINE: Duration = DAY.saturating_mul(30);
/// Run records and memos that nothing has written for this long are deleted.
const KEEP_RECORDS: Duration = DAY.saturating_mul(90);

/// The size limit that the user set. No project has a say in it: the store is shared by all of them.
pub(crate) fn limit(env: &Env) -> Result<u64, String> {
    let Some(text) = env.var(DAGCACHE_MAX_SIZE).filter(|text| !text.is_empty()) else {
        return Ok(DEFAULT_MAX_SIZE);
    };
    let size = text.parse::<bytesize::ByteSize>();
    let size =
        size.map_err(|_| format!("`{DAGCACHE_MAX_SIZE}={text}` is not a size, such as `10GiB`"))?;
    Ok(size.as_u64())
}

pub(crate) struct Policy<'a> {
    pub(crate) max_bytes: u64,
    /// The time that ages are relative to.
    pub(crate) now: SystemTime,
    pub(crate) room_in_use: &'a dyn Fn(&Path) -> bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PrunePlan {
    /// In order of deletion.
    pub(crate) groups: Vec<Group>,
    pub(crate) before: Size,
    pub(crate) after: Size,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// Plural noun for display.
    pub(crate) what: &'static str,
    pub(crate) number: usize,
    pub(crate) size: Size,
    paths: Vec<PathBuf>,
}

impl Group {
    #[must_use]
    pub(crate) fn paths(&self) -> &[PathBuf] {
        &self.paths
    }
}

impl PrunePlan {
    fn add(&mut self, what: &'static str, paths: impl IntoIterator<Item = PathBuf>) {
        let mut group = Group {
            what,
            number: 0,
            size: Size::default(),
            paths: Vec::new(),
        };
        for path in paths {
            let size = size_of(&path);
            group.number += 1;
            group.size.files += size.files;
            group.size.bytes += size.bytes;
            group.paths.push(path);
        }
        if group.number > 0 {
            self.after.files = self.after.files.saturating_sub(group.size.files);
            self.after.bytes = self.after.bytes.saturating_sub(group.size.bytes);
            self.groups.push(group);
        }
    }
}

impl Store {
    #[must_use]
    pub(crate) fn plan_prune(&self, policy: &Policy<'_>) -> PrunePlan {
        let before = size_of(&self.base);
        let mut plan = PrunePlan {
            groups: Vec::new(),
            before,
            after: before,
        };
        let pinned = self.pinned();
        let candidates = self.candidates(policy.now);
        plan.add("temporary files", self.temporary_files(policy));
        let gone = self.gone_projects(policy);
        plan.add("files of deleted projects", gone.iter().cloned());
        plan.add(
            "old quarantined files",
            self.old("quarantine", KEEP_QUARANTINE, policy),
        );
        plan.add("files of killed runs", self.old("checkouts", DAY, policy));
        let mut records = self.old("runs", KEEP_RECORDS, policy);
        records.extend(self.old("memo", KEEP_RECORDS, policy));
        let reads = files_below(&self.base.join("reads")).map(|(path, _)| path);
        records.extend(reads.filter(|path| age(path, policy.now) > KEEP_RECORDS));
        plan.add(
            "old run records",
            records.into_iter().filter(|path| !gone.contains(path)),
        );
        let named = candidates.iter().flat_map(|candidate| &candidate.holds);
        let named: BTreeSet<&PathBuf> = named.chain(&pinned).collect();
        plan.add("unreferenced blobs", self.unnamed(&named));
        plan.add("unreferenced layers", self.unnamed_layers(&named, policy));

        let rooms = self.rooms(policy);
        let rooms = rooms.into_iter().filter(|(_, room)| !is_below(room, &gone));
        let rooms = self.enough(&plan, policy, rooms.map(|(_, room)| room).collect());
        plan.add("rooms", rooms);
        if plan.after.bytes > policy.max_bytes {
            let all = entries_of(&self.base.join("quarantine"));
            let planned: BTreeSet<PathBuf> = plan.paths().cloned().collect();
            plan.add(
                "quarantine",
                all.into_iter().filter(|path| !planned.contains(path)),
            );
        }
        let excess = plan.after.bytes.saturating_sub(policy.max_bytes);
        // Miss reasons do not use layers.
        let layers = self.base.join("layers");
        let pinned = pinned
            .into_iter()
            .filter(|path| !path.starts_with(&layers))
            .collect();
        let least = value::least(candidates, &pinned, excess, |path| size_of(path).bytes);
        plan.add("results", least.results);
        plan.add("blobs and layers of these results", least.held);
        plan
    }

    pub(crate) fn apply_prune(&self, plan: &PrunePlan) -> io::Result<()> {
        for path in plan.paths() {
            crate::fs::remove::remove(path).map_err(|error| {
                let message = format!("cannot delete {}: {error}", path.shown());
                io::Error::new(error.kind(), message)
            })?;
        }
        Ok(())
    }

    /// The shortest prefix of `paths` that brings the store under its limit.
    fn enough(&self, plan: &PrunePlan, policy: &Policy<'_>, paths: Vec<PathBuf>) -> Vec<PathBuf> {
        let mut excess = plan.after.bytes.saturating_sub(policy.max_bytes);
        let mut taken = Vec::new();
        for path in paths {
            if excess == 0 {
                break;
            }
            excess = excess.saturating_sub(size_of(&path).bytes);
            taken.push(path);
        }
        taken
    }

    /// Leftovers of killed writers: temporary files, lock files (nobody holds them, since we are alone) and
    /// half-built layers.
    fn temporary_files(&self, policy: &Policy<'_>) -> Vec<PathBuf> {
        let old = |path: &PathBuf| age(path, policy.now) > HOUR;
        let kinds = [
            "ac", "parts", "reads", "cas", "trees", "last", "memo", "runs", "projects",
        ];
        let files = kinds
            .iter()
            .flat_map(|kind| files_below(&self.base.join(kind)));
        let temporary = files
            .map(|(path, _)| path)
            .filter(|path| is_temporary(path));
        let locks = entries_of(&self.base.join("locks"));
        let locks = locks.into_iter().filter(|path| !path.ends_with("store"));
        let layers = entries_of(&self.base.join("layers"));
        let half = layers
            .into_iter()
            .filter(|dir| !dir.join("complete").exists());
        temporary.chain(locks).chain(half).filter(old).collect()
    }

    /// Rooms, facts and last keys of projects that no longer exist.
    fn gone_projects(&self, policy: &Policy<'_>) -> Vec<PathBuf> {
        let mut gone = Vec::new();
        for record in entries_of(&self.base.join("projects")) {
            let (Some(id), Some(root)) = (record.file_name(), project_root(&record)) else {
                continue;
            };
            if root.symlink_metadata().is_ok() {
                continue;
            }
            let rooms = self.base.join("rooms").join(id);
            if entries_of(&rooms)
                .iter()
                .any(|room| (policy.room_in_use)(room))
            {
                continue;
            }
            let of_id = |kind| format!("{kind}-{}", id.to_string_lossy());
            let memo = self.base.join("memo");
            let last = self.base.join("last").join(id);
            gone.extend([rooms, last]);
            gone.extend([memo.join(of_id("facts")), memo.join(of_id("programs"))]);
            gone.push(record);
        }
        gone.retain(|path| path.symlink_metadata().is_ok());
        gone
    }

    fn old(&self, folder: &str, keep: Duration, policy: &Policy<'_>) -> Vec<PathBuf> {
        let all = entries_of(&self.base.join(folder)).into_iter();
        all.filter(|path| age(path, policy.now) > keep).collect()
    }

    fn unnamed(&self, named: &BTreeSet<&PathBuf>) -> Vec<PathBuf> {
        let kinds = ["cas", "trees"].iter();
        let files = kinds.flat_map(|kind| files_below(&self.base.join(kind)));
        files
            .map(|(path, _)| path)
            .filter(|path| !named.contains(path) && !is_temporary(path))
            .collect()
    }

    /// Skips new layers: a result that refers to them may still be written.
    fn unnamed_layers(&self, named: &BTreeSet<&PathBuf>, policy: &Policy<'_>) -> Vec<PathBuf> {
        let layers = entries_of(&self.base.join("layers")).into_iter();
        layers
            .filter(|dir| !named.contains(dir))
            .filter(|dir| dir.join("complete").exists())
            .filter(|dir| age(&dir.join("complete"), policy.now) > DAY)
            .collect()
    }

    /// Rooms not in use, least recently used first.
    fn rooms(&self, policy: &Policy<'_>) -> Vec<(SystemTime, PathBuf)> {
        let projects = entries_of(&self.base.join("rooms")).into_iter();
        let rooms = projects
            .filter(|dir| is_folder(dir))
            .flat_map(|dir| entries_of(&dir));
        let free = rooms.filter(|room| is_folder(room) && !(policy.room_in_use)(room));
        let last_use = |room: &Path| {
            let marks = ["ended", "manifest", "lock"].iter();
            marks.filter_map(|mark| changed(&room.join(mark))).max()
        };
        let mut rooms: Vec<_> = free
            .map(|room| (last_use(&room).unwrap_or(SystemTime::UNIX_EPOCH), room))
            .collect();
        rooms.sort();
        rooms
    }

    /// What the last keys refer to, because miss reasons compare with it, and read sets, because traced results are
    /// found through them.
    fn pinned(&self) -> BTreeSet<PathBuf> {
        let mut pinned = BTreeSet::new();
        for (path, _) in files_below(&self.base.join("last")) {
            if let Ok(bytes) = own::read(&path) {
                self.reach(&bytes, &mut pinned);
            }
        }
        for (path, _) in files_below(&self.base.join("reads")) {
            for set in self.sets_at(&path) {
                self.reach_digest(&set, &mut pinned);
            }
        }
        pinned
    }

    fn candidates(&self, now: SystemTime) -> Vec<Candidate> {
        let mut all = Vec::new();
        for (path, size) in files_below(&self.base.join("ac")) {
            if is_temporary(&path) {
                continue;
            }
            let bytes = own::read(&path).unwrap_or_default();
            let mut holds = BTreeSet::new();
            self.reach(&bytes, &mut holds);
            let entry = super::entry::parse(&bytes).ok();
            let idle = age(&path, now);
            let saves_ms = entry.map_or(0, |entry| entry.duration_ms);
            all.push(Candidate {
                path,
                size,
                saves_ms,
                idle,
                holds,
            });
        }
        for (path, size) in files_below(&self.base.join("parts")) {
            if is_temporary(&path) {
                continue;
            }
            let pack = self.pack_at(&path);
            let mut holds = BTreeSet::new();
            for digest in pack.blobs() {
                self.reach_digest(&digest, &mut holds);
            }
            let idle = age(&path, now);
            all.push(Candidate {
                path,
                size,
                saves_ms: pack.duration_ms(),
                idle,
                holds,
            });
        }
        all
    }
}

impl PrunePlan {
    fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.groups.iter().flat_map(|group| &group.paths)
    }
}

/// Total size of everything below a path, without following links.
fn size_of(path: &Path) -> Size {
    let mut size = Size::default();
    for (_, bytes) in files_below(path) {
        size.add(bytes);
    }
    size
}

/// Entries of a directory; none for a link.
fn entries_of(dir: &Path) -> Vec<PathBuf> {
    if !is_folder(dir) {
        return Vec::new();
    }
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn is_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|meta| meta.is_dir())
}

fn is_below(path: &Path, folders: &[PathBuf]) -> bool {
    folders.iter().any(|folder| path.starts_with(folder))
}

fn changed(path: &Path) -> Option<SystemTime> {
    path.symlink_metadata().ok()?.modified().ok()
}

/// Age of a file; zero if its time lies in the future.
fn age(path: &Path, now: SystemTime) -> Duration {
    let changed = changed(path).and_then(|time| now.duration_since(time).ok());
    changed.unwrap_or_default()
}

fn project_root(record: &Path) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt as _;
    let bytes = own::read(record).ok()?;
    Some(PathBuf::from(std::ffi::OsString::from_vec(bytes))).filter(|root| root.is_absolute())
}
