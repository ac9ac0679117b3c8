//! Brings a directory to exactly the wanted content, whatever a tool left there, at the cost of one stat per file.
//!
//! - Everything unwanted is deleted, except kept folders; links are deleted, never followed, also in parents.
//! - Correct files keep their inode and times. A new or changed file gets a new inode (a tool may have linked the old
//!   one elsewhere) and the time stamp of this reset.
//! - A file is correct if its stat matches the manifest and is settled, or else if its content is. A touched file
//!   gets the time stamp even if its content is correct, because a tool may have derived something from other
//!   content.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Seek as _, Write as _};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use crate::digest::Digest;
use crate::room::manifest::{Nanos, Stat, Written};
use crate::room::reads::{is_marked, mark, quiet};
use crate::room::remove;
use crate::room::{RoomError, at};
use crate::rule::Rule;
use crate::snapshot::Kind;
use crate::snapshot::content::{self, Each};

const FILES_PER_THREAD: usize = 256;

pub(crate) struct Wanted<'a> {
    pub(crate) kind: Kind,
    /// Digest of its content or link target.
    pub(crate) digest: Digest,
    /// Passes the content or link target piece by piece and verifies its digest.
    pub(crate) pass: Pass<'a>,
}

type Pass<'a> = Box<dyn Fn(&mut Each<'_>) -> Result<(), RoomError> + Sync + 'a>;

/// What the directory should hold afterwards. Paths are relative to it, `/`-separated, without `.` and `..`.
#[derive(Default)]
pub(crate) struct Target<'a> {
    pub(crate) files: BTreeMap<String, Wanted<'a>>,
    /// Folders that exist even if empty.
    pub(crate) folders: BTreeSet<String>,
    /// Folders whose other content is kept.
    pub(crate) kept: BTreeSet<String>,
    /// If reads are watched: files already known to be read. All others are marked.
    pub(crate) watch: Option<BTreeSet<String>>,
}

pub(crate) struct Placed<'a> {
    pub(crate) files: BTreeMap<String, Written>,
    /// All but the root.
    pub(crate) folders: BTreeSet<&'a str>,
    /// Whether a tool had added, changed or removed any files.
    pub(crate) disturbed: bool,
}

/// Resets `root` (created if absent) and returns what it now holds. `known` is what it held before the last run;
/// `stamp` is the modification time of everything that changes.
///
/// # Errors
/// If content changed since it was hashed, or on IO errors.
pub(crate) fn reset<'a>(
    root: &'a Path,
    target: &'a Target<'a>,
    known: &'a BTreeMap<String, Written>,
    verified: Nanos,
    stamp: Nanos,
) -> Result<Placed<'a>, RoomError> {
    let mut folders: BTreeSet<&str> = target.folders.iter().map(String::as_str).collect();
    for path in target.files.keys().chain(&target.folders) {
        folders.extend(parents(path));
    }
    let reset = Reset {
        root,
        target,
        folders,
        known,
        verified,
        stamp,
        disturbed: AtomicBool::new(false),
    };
    reset.clean(root, "")?;
    reset.forget()?;
    for folder in &reset.folders {
        make_folder(&root.join(folder))?;
    }
    Ok(Placed {
        files: reset.place_all()?,
        folders: reset.folders,
        disturbed: reset.disturbed.into_inner(),
    })
}

struct Reset<'a> {
    root: &'a Path,
    target: &'a Target<'a>,
    folders: BTreeSet<&'a str>,
    known: &'a BTreeMap<String, Written>,
    verified: Nanos,
    stamp: Nanos,
    disturbed: AtomicBool,
}

impl Reset<'_> {
    /// Deletes what is not wanted below `folder`, which must be, or becomes, a real directory.
    fn clean(&self, folder: &Path, rel: &str) -> Result<(), RoomError> {
        make_folder(folder)?;
        for entry in at(folder, fs::read_dir(folder))? {
            let entry = at(folder, entry)?;
            let path = entry.path();
            let kind = at(&path, entry.file_type())?;
            let name = entry.file_name();
            let rel = match (name.to_str(), rel) {
                (None, _) => None, // no wanted path is like this
                (Some(name), "") => Some(name.to_owned()),
                (Some(name), _) => Some(format!("{rel}/{name}")),
            };
            match rel {
                Some(rel) if kind.is_dir() && self.target.kept.contains(&rel) => {}
                Some(rel) if kind.is_dir() && self.has_below(&rel) => self.clean(&path, &rel)?,
                Some(rel) if !kind.is_dir() && self.target.files.contains_key(&rel) => {}
                _ if !Rule::RoomCleaned.holds() => {}
                other => {
                    if !other.is_some_and(|rel| self.was_known(&rel, kind.is_dir())) {
                        self.disturbed.store(true, Ordering::Relaxed);
                    }
                    at(&path, remove(&path))?;
                }
            }
        }
        Ok(())
    }

    /// Whether a file, or one below a folder, existed before the last run.
    fn was_known(&self, rel: &str, folder: bool) -> bool {
        if !folder {
            return self.known.contains_key(rel);
        }
        let below = format!("{rel}/");
        let mut after = self.known.range(below.clone()..);
        after
            .next()
            .is_some_and(|(path, _)| path.starts_with(&below))
    }

    fn has_below(&self, rel: &str) -> bool {
        self.folders.contains(rel)
            || self
                .target
                .kept
                .iter()
                .any(|kept| parents(kept).any(|parent| parent == rel))
    }

    /// Deletes files of earlier inputs from the kept folders, which [`Reset::clean`] leaves alone.
    fn forget(&self) -> Result<(), RoomError> {
        let real = |folder: &str| {
            let meta = self.root.join(folder).symlink_metadata();
            meta.is_ok_and(|meta| meta.is_dir())
        };
        for path in self.known.keys() {
            let kept = parents(path).any(|folder| self.target.kept.contains(folder));
            if kept && !self.target.files.contains_key(path) && parents(path).all(real) {
                let path = self.root.join(path);
                at(&path, remove(&path))?;
            }
        }
        Ok(())
    }

    /// Places all files, using as many threads as are worth it.
    fn place_all(&self) -> Result<BTreeMap<String, Written>, RoomError> {
        let files: Vec<_> = self.target.files.iter().collect();
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let share = files.len().div_ceil(threads).max(FILES_PER_THREAD);
        let place = |(path, wanted): &(&String, &Wanted<'_>)| {
            let placed = self.place(path, wanted)?;
            Ok(((*path).clone(), self.watched(path, wanted, placed)?))
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = files
                .chunks(share)
                .map(|chunk| scope.spawn(move || chunk.iter().map(place).collect::<Vec<_>>()))
                .collect();
            workers
                .into_iter()
                .flat_map(|worker| match worker.join() {
                    Ok(placed) => placed,
                    Err(panic) => std::panic::resume_unwind(panic),
                })
                .collect()
        })
    }

    /// Marks a correct file as unread, if reads are watched.
    fn watched(
        &self,
        rel: &str,
        wanted: &Wanted<'_>,
        placed: Written,
    ) -> Result<Written, RoomError> {
        let watch = self.target.watch.as_ref();
        if wanted.kind == Kind::Symlink || watch.is_none_or(|read| read.contains(rel)) {
            return Ok(placed);
        }
        let path = self.root.join(rel);
        if is_marked(&at(&path, path.symlink_metadata())?) {
            return Ok(placed);
        }
        at(&path, mark(&path))?;
        written(&path, wanted)
    }

    /// Makes one file correct.
    fn place(&self, rel: &str, wanted: &Wanted<'_>) -> Result<Written, RoomError> {
        let path = self.root.join(rel);
        let known = self
            .known
            .get(rel)
            .filter(|known| known.digest == wanted.digest);
        if let Ok(meta) = path.symlink_metadata() {
            let stat = Stat::of(&meta);
            if let Some(known) = known
                && known.is(wanted.kind)
                && (known.stat == stat && stat.is_settled(self.verified)
                    || !Rule::RoomChecked.holds())
            {
                return Ok(known.clone());
            }
            let untouched = known.is_some_and(|known| known.stat.mtime == stat.mtime);
            let right = has_content(&path, &meta, wanted);
            if known.is_some() && !(right && untouched) {
                self.disturbed.store(true, Ordering::Relaxed);
            }
            if right {
                at(&path, self.repair(&path, &meta, wanted.kind, untouched))?;
                return written(&path, wanted);
            }
            at(&path, remove(&path))?;
        } else if known.is_some() {
            self.disturbed.store(true, Ordering::Relaxed);
        }
        self.write(&path, wanted)?;
        written(&path, wanted)
    }

    fn repair(
        &self,
        path: &Path,
        meta: &fs::Metadata,
        kind: Kind,
        untouched: bool,
    ) -> io::Result<()> {
        if kind == Kind::Symlink {
            return Ok(());
        }
        if meta.permissions().mode() & 0o7777 != mode(kind) {
            fs::set_permissions(path, Permissions::from_mode(mode(kind)))?;
        }
        if !untouched {
            set_modified(path, time(self.stamp))?;
        }
        Ok(())
    }

    fn write(&self, path: &Path, wanted: &Wanted<'_>) -> Result<(), RoomError> {
        if wanted.kind == Kind::Symlink {
            let mut target = Vec::new();
            (wanted.pass)(&mut |piece| {
                target.extend_from_slice(piece);
                Ok(())
            })?;
            let target = std::ffi::OsString::from_vec(target);
            return at(path, std::os::unix::fs::symlink(target, path));
        }
        let _apart = (wanted.kind == Kind::Executable).then(crate::process::writing_a_program);
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(path);
        let mut file = at(path, file)?;
        let mut failed = None;
        let passed = (wanted.pass)(&mut |piece| {
            write_sparse(&mut file, piece).map_err(|error| {
                let kind = error.kind();
                failed = Some(error);
                kind.into()
            })
        });
        // What could not be written is not the fault of what was read.
        failed.map_or(Ok(()), |error| at(path, Err(error)))?;
        passed?;
        let size = at(path, file.stream_position())?;
        at(path, file.set_len(size))?;
        let mode = Permissions::from_mode(mode(wanted.kind));
        at(path, file.set_permissions(mode))?;
        at(path, file.set_modified(time(self.stamp)))
    }
}

/// Writes a piece, or leaves a hole for zeros, so that a large sparse file fills no disk.
fn write_sparse(file: &mut fs::File, piece: &[u8]) -> io::Result<()> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    for part in piece.chunks(ZEROS.len()) {
        if part == ZEROS {
            file.seek_relative(64 << 10)?;
        } else {
            file.write_all(part)?;
        }
    }
    Ok(())
}

/// All parent folders of a path except the root.
fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').filter_map(|(at, _)| path.get(..at))
}

/// Ensures a real directory; its parent must be one.
fn make_folder(path: &Path) -> Result<(), RoomError> {
    let meta = path.symlink_metadata().ok();
    if !meta.as_ref().is_some_and(fs::Metadata::is_dir) {
        if meta.is_some() {
            at(path, remove(path))?;
        }
        at(path, fs::create_dir(path))?;
    }
    if meta.is_none_or(|meta| meta.permissions().mode() & 0o7777 != 0o755) {
        at(
            path,
            fs::set_permissions(path, Permissions::from_mode(0o755)),
        )?;
    }
    Ok(())
}

/// Whether the file has the wanted content, regardless of mode and times.
fn has_content(path: &Path, meta: &fs::Metadata, wanted: &Wanted<'_>) -> bool {
    let digest = match wanted.kind {
        Kind::Symlink if meta.is_symlink() => {
            fs::read_link(path).map(|target| Digest::of(target.as_os_str().as_bytes()))
        }
        Kind::File | Kind::Executable if meta.is_file() => quiet(path)
            .and_then(|file| content::hash_open(&file))
            .map(|content| content.digest),
        _ => return false,
    };
    digest.is_ok_and(|digest| digest == wanted.digest)
}

fn written(path: &Path, wanted: &Wanted<'_>) -> Result<Written, RoomError> {
    let meta = at(path, path.symlink_metadata())?;
    Ok(Written::new(wanted.kind, wanted.digest, Stat::of(&meta)))
}

const fn mode(kind: Kind) -> u32 {
    match kind {
        Kind::Executable => 0o755,
        Kind::File | Kind::Symlink => 0o644,
    }
}

/// Needs no write permission on the file, which a tool may have removed.
fn set_modified(path: &Path, time: SystemTime) -> io::Result<()> {
    fs::File::open(path)?.set_modified(time)
}

fn time(stamp: Nanos) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(stamp).unwrap_or_default())
}

#[cfg(test)]
mod tests;
