//! Rooms: materialised copies of exactly the hashed content, in which checks run.
//!
//! ```text
//! <rooms of a project>/<check>[-N]/   one run at a time; N if other runs hold the others
//!   lock                              held by the run and by the launcher, which nothing outlives
//!   manifest                          what was written, with stats (see `manifest`)
//!   ended                             modified at the end of the last run; `complete` if that run brought its
//!                                     products up to date
//!   up/up3/up2/up1/tree/              the project root, at the same depth as the real one:
//!                                     files from N levels above the root are in upN
//!   home/ tmp/ bin/                   emptied before every run
//! ```
//! Before a run `up` is reset to exactly the input set, plus the products of earlier runs with the same product key.
//! A room without an intact manifest starts empty. Everything that changes gets a modification time newer than
//! anything an earlier run can have made, or all files the same one in every run.
//!
//! Starts no processes and knows neither the store's entries nor where an input set comes from. Never creates hard
//! links, never follows links that a check may have left.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::digest::{Digest, Hasher};
use crate::fs::{LARGEST, own, too_large};
use crate::path::RelPath;
use crate::plan::check::{Change, Changes, OutsideFile};
use crate::rule::Rule;
use crate::snapshot::content::Each;
use crate::snapshot::{FileId, Kind, Snapshot, pass_open};
use crate::visible::Shown as _;

mod after;
mod layout;
mod manifest;
mod reads;
mod reset;

pub(crate) use crate::fs::remove::remove;
pub(crate) use layout::Layout;
use manifest::{Manifest, Nanos, Stat, Written, nanos};
use reset::{Target, Wanted};

/// If one check uses more rooms than this at once, processes are leaking.
const MAX_ROOMS: u32 = 100;

/// Records the content of a room.
pub(crate) const MANIFEST: &str = "manifest";

/// Whether a room's manifest is intact; `None` if it is absent or of another version.
#[must_use]
pub(crate) fn has_sound_manifest(dir: &Path) -> Option<bool> {
    match own::read(dir.join(MANIFEST)) {
        Ok(bytes) if manifest::is_of_another_version(&bytes) => None,
        Ok(bytes) => Some(Manifest::decode(&bytes).is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(_) => Some(false),
    }
}

/// Whether a run is still in a room.
#[must_use]
pub(crate) fn is_in_use(dir: &Path) -> bool {
    let Ok(lock) = File::options().write(true).open(dir.join(LOCK)) else {
        return false;
    };
    lock.try_lock().is_err()
}

const LOCK: &str = "lock";
/// Content of `ended` after a run that brought its products up to date.
const COMPLETE: &[u8] = b"complete\n";

#[derive(Debug, thiserror::Error)]
pub(crate) enum RoomError {
    /// An input changed since it was hashed, so a new snapshot is needed.
    #[error("{} changed since it was hashed", .0.shown())]
    Changed(PathBuf),
    #[error("cannot use {}", path.shown())]
    Io { path: PathBuf, source: io::Error },
    /// The room was deleted while a check ran in it.
    #[error("the room {} was deleted while the check ran, so its result is void", .0.shown())]
    Gone(PathBuf),
    #[error("{MAX_ROOMS} rooms at {} are in use; check for processes left by earlier runs", .0.shown())]
    Full(PathBuf),
}

/// Adds the path to an error.
pub(crate) fn at<T>(path: &Path, result: io::Result<T>) -> Result<T, RoomError> {
    result.map_err(|source| RoomError::Io {
        path: path.to_owned(),
        source,
    })
}

/// What a room should hold.
pub(crate) struct Contents<'a> {
    pub(crate) snapshot: &'a Snapshot,
    /// In any order; repeats are fine.
    pub(crate) files: &'a [&'a [FileId]],
    /// Files above the project root, and ignored files.
    pub(crate) outside: &'a [OutsideFile],
    /// Additional files as (path in the project, content), such as a lockfile resolved by a layer. A project file of
    /// the same name wins.
    pub(crate) extra: &'a [(RelPath, Vec<u8>)],
    /// Folders that exist even if empty.
    pub(crate) folders: &'a [RelPath],
    /// Folders that survive between runs.
    pub(crate) products: &'a [RelPath],
    /// Products survive only under an equal key.
    pub(crate) product_key: Digest,
    /// Whether [`Room::reads`] should report what a run reads.
    pub(crate) watch: bool,
    /// Whether files and folders have [`SAME_FOR_ALL`] as their time. Otherwise what changes is newer than all before.
    pub(crate) same_times: bool,
}

/// Locked as long as this value or a launcher in it lives.
#[derive(Debug)]
pub(crate) struct Room {
    dir: PathBuf,
    lock: File,
    depth: u32,
    /// The files before the run and the reads known already, if reads are watched.
    watched: Option<(BTreeMap<String, Written>, BTreeSet<String>)>,
    changes: Changes,
}

/// The modification time of files and folders in a room without products, the same in every run: what a check concludes
/// from times (`make`, `find -newer`) does not depend on what was copied when. 2020-01-01 UTC.
const SAME_FOR_ALL: Nanos = 1_577_836_800_000_000_000;

/// Gives folders the time that is the same for all.
fn same_times(root: &Path, folders: &BTreeSet<&str>) -> io::Result<()> {
    let time = UNIX_EPOCH + Duration::from_nanos(SAME_FOR_ALL.unsigned_abs());
    for folder in folders {
        let path = root.join(folder);
        if std::fs::symlink_metadata(&path)?.modified()? != time {
            File::open(path)?.set_modified(time)?;
        }
    }
    Ok(())
}

impl Room {
    /// Takes the first free room of the check `id` below `rooms`.
    pub(crate) fn take(rooms: &Path, id: &str) -> Result<Self, RoomError> {
        at(rooms, own::make_private(rooms))?;
        let first = rooms.join(slug(id));
        for number in 1..=MAX_ROOMS {
            let dir = match number {
                1 => first.clone(),
                _ => rooms.join(format!("{}-{number}", slug(id))),
            };
            at(&dir, own::make_private(&dir))?;
            let path = dir.join(LOCK);
            let lock = at(&path, own::open(&path))?;
            match lock.try_lock() {
                Ok(()) => {
                    return Ok(Self {
                        dir,
                        lock,
                        depth: 1,
                        watched: None,
                        changes: Changes::NoProducts,
                    });
                }
                Err(std::fs::TryLockError::WouldBlock) => {}
                Err(std::fs::TryLockError::Error(error)) => return at(&path, Err(error)),
            }
        }
        Err(RoomError::Full(first))
    }

    /// The files the room held after its last reset, as (path in the project, digest); empty if unknown.
    /// [`Room::reset`] detects what happened to them since.
    #[must_use]
    pub(crate) fn held(&self) -> Vec<(String, Digest)> {
        let bytes = own::read(self.dir.join(MANIFEST));
        let manifest = bytes.ok().and_then(|bytes| Manifest::decode(&bytes));
        let files = manifest.into_iter().flat_map(|manifest| manifest.files);
        let inside = files.filter_map(|(path, file)| {
            let (_, path) = path.split_once("/tree/")?;
            Some((path.to_owned(), file.digest))
        });
        inside.collect()
    }

    /// Makes the room hold exactly `contents`, with empty `home`, `tmp` and `bin`.
    ///
    /// # Errors
    /// If content changed since it was hashed, or on IO errors.
    pub(crate) fn reset(&mut self, contents: &Contents<'_>) -> Result<(), RoomError> {
        self.depth = depth(contents);
        for dir in [self.home(), self.tmp(), self.bin()] {
            at(&dir, remove(&dir))?;
            at(&dir, std::fs::create_dir(&dir))?;
        }
        let known = self.known()?;
        let same = known.product_key == contents.product_key;
        let mut target = self.target(contents, same)?;
        let reads = self.earlier_reads(&known, contents.watch, !target.kept.is_empty());
        let products = reads.clone();
        let products =
            products.map(|reads| reads.into_iter().filter(|_| Rule::ProductReads.holds()));
        target.watch = products.map(Iterator::collect);
        let (ended, complete) = self.begin();
        let newest = known.newest.max(ended).saturating_add(1000);
        let stamp = match contents.same_times {
            true => SAME_FOR_ALL,
            false => newest.max(now()),
        };
        let up = self.dir.join("up");
        let placed = reset::reset(&up, &target, &known.files, known.verified, stamp)?;
        let files = placed.files;
        if contents.same_times {
            at(&up, same_times(&up, &placed.folders))?;
        }
        self.changes = if target.kept.is_empty() || known.files.is_empty() {
            Changes::NoProducts
        } else if placed.disturbed || !complete {
            Changes::Unknown
        } else {
            let read = |path: &str| reads.as_ref().is_none_or(|reads| reads.contains(path));
            Changes::Known(self.changed(&known.files, &files, read))
        };
        self.watched = target.watch.map(|reads| (files.clone(), reads));
        if same && files == known.files && reads == known.reads && known.is_settled() {
            return Ok(());
        }
        self.remember(&Manifest {
            product_key: contents.product_key,
            newest: stamp,
            verified: now(),
            files,
            reads,
        })
    }

    /// Deletes everything a check saw or left, files and products alike.
    pub(crate) fn empty(&self) -> Result<(), RoomError> {
        for dir in [
            self.dir.join("up"),
            self.home(),
            self.tmp(),
            self.dir.join("manifest"),
        ] {
            at(&dir, remove(&dir))?;
        }
        Ok(())
    }

    /// What earlier runs read, as far as their products may be reused without reading it again. `None` if reads are
    /// not watched or were not in one of those runs. Includes interrupted runs, because this looks at the traces they
    /// left.
    fn earlier_reads(
        &self,
        known: &Manifest,
        watch: bool,
        products: bool,
    ) -> Option<BTreeSet<String>> {
        if !watch || !reads::are_seen(&self.dir) {
            return None;
        }
        if !products {
            return Some(BTreeSet::new());
        }
        let mut all = known.reads.clone()?;
        all.extend(touched(&self.dir.join("up"), &known.files));
        Some(all)
    }

    /// What the run since the last [`Room::reset`] read, plus what its products were made from: paths in the project.
    /// `None` if unknown.
    #[must_use]
    pub(crate) fn reads(&self) -> Option<BTreeSet<String>> {
        let (files, earlier) = self.watched.as_ref()?;
        let up = self.dir.join("up");
        let tree = self.tree();
        let tree = format!("{}/", tree.strip_prefix(&up).ok()?.to_string_lossy());
        let now = touched(&up, files);
        let all = now.iter().chain(earlier);
        let inside = all.filter_map(|path| path.strip_prefix(&tree));
        Some(inside.map(str::to_owned).collect())
    }

    /// Marks a folder as not listed; `false` if listing cannot be detected here.
    #[must_use]
    pub(crate) fn watch_listing(&self, folder: &RelPath) -> bool {
        reads::listings_are_seen(&self.dir) && reads::mark(&folder.under(&self.tree())).is_ok()
    }

    /// Whether a folder was listed since [`Room::watch_listing`].
    #[must_use]
    pub(crate) fn is_listed(&self, folder: &RelPath) -> bool {
        let meta = folder.under(&self.tree()).metadata();
        !meta.is_ok_and(|meta| reads::is_marked(&meta))
    }

    /// How its files changed since its products were up to date.
    #[must_use]
    pub(crate) fn changes(&self) -> &Changes {
        &self.changes
    }

    fn changed(
        &self,
        before: &BTreeMap<String, Written>,
        now: &BTreeMap<String, Written>,
        read: impl Fn(&str) -> bool,
    ) -> Vec<Change> {
        let tree = self.tree();
        let tree = tree.strip_prefix(self.dir.join("up"));
        let tree = tree.map_or_else(|_| String::new(), |t| format!("{}/", t.to_string_lossy()));
        let name = |path: &str| match path.strip_prefix(&tree) {
            Some(path) => path.to_owned(),
            None => format!("../{path}"),
        };
        let gone = before.keys().filter(|path| !now.contains_key(*path));
        let gone = gone.map(|path| (path, false));
        let other = now
            .iter()
            .filter_map(|(path, file)| match before.get(path) {
                None => Some((path, false)),
                Some(old) if !old.is_same_kind(file) => Some((path, false)),
                Some(old) => (old.digest != file.digest && read(path)).then_some((path, true)),
            });
        let all = gone.chain(other);
        all.map(|(path, content_only)| Change {
            path: name(path),
            content_only,
        })
        .collect()
    }

    /// When the last run ended and whether it brought its products up to date. Clears that mark for the current run.
    fn begin(&self) -> (Nanos, bool) {
        let path = self.dir.join("ended");
        let Ok(meta) = std::fs::metadata(&path) else {
            return (0, false);
        };
        let complete = own::read(&path).is_ok_and(|text| text == COMPLETE);
        if complete {
            // Keep its time; if that fails, a later one is just as good.
            let emptied = own::create(&path).and_then(|file| file.set_modified(meta.modified()?));
            if emptied.is_err() {
                let _ = remove(&path);
            }
        }
        (nanos(meta.mtime(), meta.mtime_nsec()), complete)
    }

    /// Records the end of a run, so that later changes are newer than its products even if the clock moves.
    /// `complete`: the products were brought up to date before the run.
    pub(crate) fn end(&self, complete: bool) {
        // Otherwise the time of the reset counts, which is wrong only if the clock was set back.
        let _ = own::create(&self.dir.join("ended")).and_then(|mut file| {
            if complete {
                io::Write::write_all(&mut file, COMPLETE)?;
            }
            file.set_modified(SystemTime::now())
        });
    }

    /// Its paths on the host.
    #[must_use]
    pub(crate) fn layout(&self) -> Layout {
        Layout {
            dir: self.dir.clone(),
            depth: self.depth,
        }
    }

    /// The copy of the project root.
    #[must_use]
    pub(crate) fn tree(&self) -> PathBuf {
        self.layout().tree()
    }

    /// See [`Layout::above`].
    #[must_use]
    pub(crate) fn above(&self, up: u32) -> PathBuf {
        self.layout().above(up)
    }

    #[must_use]
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// HOME of the check.
    #[must_use]
    pub(crate) fn home(&self) -> PathBuf {
        self.layout().home()
    }

    /// TMPDIR of the check.
    #[must_use]
    pub(crate) fn tmp(&self) -> PathBuf {
        self.layout().tmp()
    }

    /// PATH of the check.
    #[must_use]
    pub(crate) fn bin(&self) -> PathBuf {
        self.layout().bin()
    }

    /// The lock, for launchers to hold.
    #[must_use]
    pub(crate) fn lock(&self) -> &File {
        &self.lock
    }

    /// The manifest of the last run. Without an intact one everything is deleted, because products may be newer than
    /// any known time stamp.
    fn known(&self) -> Result<Manifest, RoomError> {
        let read = own::read(self.dir.join(MANIFEST));
        if let Some(manifest) = read.ok().and_then(|bytes| Manifest::decode(&bytes)) {
            return Ok(manifest);
        }
        let up = self.dir.join("up");
        at(&up, remove(&up))?;
        Ok(Manifest {
            product_key: Digest::of(b""),
            newest: 0,
            verified: 0,
            files: BTreeMap::new(),
            reads: None,
        })
    }

    fn remember(&self, manifest: &Manifest) -> Result<(), RoomError> {
        let path = self.dir.join(MANIFEST);
        let write = || {
            let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
            io::Write::write_all(&mut file, &manifest.encode()?)?;
            file.persist(&path).map_err(|error| error.error)
        };
        at(&path, write()).map(|_| ())
    }

    fn target<'a>(&self, contents: &'a Contents<'a>, same: bool) -> Result<Target<'a>, RoomError> {
        let up = self.dir.join("up");
        let place = |folder: &Path, path: &str| {
            let full = folder.join(path);
            let rel = full.strip_prefix(&up).unwrap_or(&full);
            rel.to_string_lossy().into_owned()
        };
        let tree = self.tree();
        let mut target = Target::default();
        target.folders.insert(place(&tree, ".git"));
        let folders = contents.folders.iter().map(|path| place(&tree, path));
        target.folders.extend(folders);
        for (path, content) in contents.extra {
            target.files.insert(place(&tree, path), extra(content));
        }
        for file in contents.outside {
            let folder = match file.up {
                0 => tree.clone(),
                up => self.above(up),
            };
            let wanted = outside(contents.snapshot, file);
            target.files.insert(place(&folder, &file.path), wanted);
        }
        for id in contents.files.iter().copied().flatten() {
            let path = &contents.snapshot.entry(*id).path;
            let wanted = project(contents.snapshot, *id);
            target.files.insert(place(&tree, path), wanted);
        }
        if same {
            let products = contents.products.iter().map(|path| place(&tree, path));
            target.kept = products.collect::<BTreeSet<_>>();
        }
        Ok(target)
    }
}

/// Files that were read, changed or removed since the reset.
fn touched(up: &Path, files: &BTreeMap<String, Written>) -> BTreeSet<String> {
    let untouched = |path: &str, file: &Written| {
        let meta = up.join(path).symlink_metadata();
        meta.is_ok_and(|meta| {
            (meta.is_symlink() || reads::is_marked(&meta)) && Stat::of(&meta) == file.stat
        })
    };
    let touched = files.iter().filter(|(path, file)| !untouched(path, file));
    touched.map(|(path, _)| path.clone()).collect()
}

/// The depth of the real root, so that the tree's path in the room stays the same.
fn depth(contents: &Contents<'_>) -> u32 {
    let real = contents.snapshot.root().ancestors().skip(1).count();
    let used = contents.outside.iter().map(|file| file.up).max();
    used.unwrap_or(0)
        .max(u32::try_from(real).unwrap_or(u32::MAX))
        .max(1)
}

fn project(snapshot: &Snapshot, id: FileId) -> Wanted<'_> {
    let entry = snapshot.entry(id);
    Wanted {
        kind: entry.kind,
        digest: entry.digest,
        pass: Box::new(move |take| {
            unchanged(&entry.path.under(snapshot.root()), snapshot.pass(id, take))
        }),
    }
}

/// Never executable, because the key covers only its content.
fn outside<'a>(snapshot: &'a Snapshot, file: &'a OutsideFile) -> Wanted<'a> {
    Wanted {
        kind: Kind::File,
        digest: file.digest,
        pass: Box::new(move |take| pass_outside(snapshot, file, take)),
    }
}

/// Reads and verifies a file outside the snapshot.
pub(crate) fn outside_content(
    snapshot: &Snapshot,
    file: &OutsideFile,
) -> Result<Vec<u8>, RoomError> {
    let mut content = Vec::new();
    pass_outside(snapshot, file, &mut |piece| {
        if (content.len() + piece.len()) as u64 > LARGEST {
            return Err(too_large(LARGEST));
        }
        content.extend_from_slice(piece);
        Ok(())
    })?;
    Ok(content)
}

/// Like [`outside_content`], piece by piece.
fn pass_outside(
    snapshot: &Snapshot,
    file: &OutsideFile,
    take: &mut Each<'_>,
) -> Result<(), RoomError> {
    let up = usize::try_from(file.up).unwrap_or(usize::MAX);
    let folder = snapshot.root().ancestors().nth(up);
    let path = file.path.under(folder.unwrap_or(Path::new("/")));
    let mut hasher = Hasher::new();
    let passed = crate::fs::open(&path).and_then(|open| {
        pass_open(&open, &mut |piece| {
            hasher.update(piece);
            take(piece)
        })
    });
    unchanged(&path, passed)?;
    if hasher.finish() == file.digest || !Rule::CopyVerified.holds() {
        Ok(())
    } else {
        Err(RoomError::Changed(path))
    }
}

/// A hashed file that is gone or is now something else has changed, too.
pub(crate) fn unchanged<T>(path: &Path, read: io::Result<T>) -> Result<T, RoomError> {
    use io::ErrorKind::{InvalidData, InvalidInput, IsADirectory, NotADirectory, NotFound};
    match read {
        Err(error)
            if matches!(
                error.kind(),
                InvalidData | InvalidInput | IsADirectory | NotADirectory | NotFound
            ) =>
        {
            Err(RoomError::Changed(path.to_owned()))
        }
        other => at(path, other),
    }
}

fn extra(content: &[u8]) -> Wanted<'_> {
    Wanted {
        kind: Kind::File,
        digest: Digest::of(content),
        pass: Box::new(|take| at(Path::new("a file of a layer"), take(content))),
    }
}

fn now() -> Nanos {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Nanos::try_from(now.unwrap_or_default().as_nanos()).unwrap_or(Nanos::MAX)
}

/// A directory name for a check id: readable and unique.
fn slug(id: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._".contains(c);
    let readable: String = id
        .chars()
        .take(40)
        .map(|c| if plain(c) { c } else { '-' })
        .collect();
    format!("{readable}.{}", Digest::of(id.as_bytes()).short())
}

#[cfg(test)]
mod tests;
