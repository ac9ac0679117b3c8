//! Rooms: materialised copies of exactly the content that was hashed, in which checks run.
//!
//! ```text
//! <rooms of a project>/<check>[-N]/   one run at a time; N when a run or its orphans still hold the others
//!   lock                              held by the run and inherited by everything it starts
//!   manifest                          what was written, with stats (see `manifest`)
//!   ended                             its modification time is the end of the last run
//!   up/up3/up2/up1/tree/              the project root, with as many folders above as the real one has:
//!                                     files found N folders above the root are placed in upN
//!   home/ tmp/ bin/                   emptied before every run
//! ```
//! Before a run `up` is reset to the input set and nothing else, but for the products of earlier runs made with an
//! equal product key. A room without a sound manifest starts from empty. What changes gets a modification time newer
//! than everything an earlier run can have made.
//!
//! Stays free of processes, of the store's entries, and of where an input set comes from. Never a hard link, and
//! never follows a link that a check may have left.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::digest::Digest;
use crate::path::RelPath;
use crate::plan::check::OutsideFile;
use crate::rule::Rule;
use crate::snapshot::{FileId, Kind, Snapshot};

mod after;
mod manifest;
mod reset;

pub use crate::fs::remove::remove;
use manifest::{Manifest, Nanos, nanos};
use reset::{Target, Wanted};

/// More rooms of one check in use at once than this is a leak of processes rather than work.
const MAX_ROOMS: u32 = 100;

/// The file in a room that says what it holds.
pub const MANIFEST: &str = "manifest";

/// Whether the manifest of a room holds; `None` if there is none.
#[must_use]
pub fn has_sound_manifest(dir: &Path) -> Option<bool> {
    match std::fs::read(dir.join(MANIFEST)) {
        Ok(bytes) => Some(Manifest::decode(&bytes).is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(_) => Some(false),
    }
}

/// Whether a run, or what it left behind, is still in a room.
#[must_use]
pub fn is_in_use(dir: &Path) -> bool {
    let Ok(lock) = File::options().write(true).open(dir.join(LOCK)) else {
        return false;
    };
    lock.try_lock().is_err()
}

const LOCK: &str = "lock";

/// A room could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum RoomError {
    /// An input is no longer what was hashed: a new snapshot is due.
    #[error("{} changed since it was hashed", .0.display())]
    Changed(PathBuf),
    /// The file system refused.
    #[error("cannot use {}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody deleted the room while a check ran in it.
    #[error("the room {} was deleted while the check ran; what it said is no verdict", .0.display())]
    Gone(PathBuf),
    /// All rooms of a check are in use.
    #[error("{MAX_ROOMS} rooms at {} are in use; are processes of earlier runs still there?", .0.display())]
    Full(PathBuf),
}

/// Names the path of an error.
pub(crate) fn at<T>(path: &Path, result: io::Result<T>) -> Result<T, RoomError> {
    result.map_err(|source| RoomError::Io {
        path: path.to_owned(),
        source,
    })
}

/// What a room shall hold.
pub struct Contents<'a> {
    /// Where the files come from.
    pub snapshot: &'a Snapshot,
    /// The files, in any order; repeats are fine.
    pub files: &'a [&'a [FileId]],
    /// Files from above the project root, or ignored ones.
    pub outside: &'a [OutsideFile],
    /// Files that are not the project's, as (path in the project, content): a lockfile that a layer resolved.
    /// The project's own file of that name wins.
    pub extra: &'a [(RelPath, Vec<u8>)],
    /// Folders that exist even if no file is in them.
    pub folders: &'a [RelPath],
    /// Folders that survive between runs.
    pub products: &'a [RelPath],
    /// What products must have been made with to survive.
    pub product_key: Digest,
}

/// Where the folders of a room are, as seen from somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    dir: PathBuf,
    depth: u32,
}

impl Layout {
    /// The same room, seen elsewhere.
    #[must_use]
    pub fn moved(&self, dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            depth: self.depth,
        }
    }

    /// What stands for the folders above the project root, and holds the tree.
    #[must_use]
    pub fn up(&self) -> PathBuf {
        self.dir.join("up")
    }

    /// The copy of the project root.
    #[must_use]
    pub fn tree(&self) -> PathBuf {
        self.above(1).join("tree")
    }

    /// The folder `up` folders above the tree, from 1 to [`Layout::depth`].
    #[must_use]
    pub fn above(&self, up: u32) -> PathBuf {
        let levels = (up..=self.depth).rev().map(|level| format!("up{level}"));
        self.up().join(levels.collect::<PathBuf>())
    }

    /// How many folders above the tree stand for folders above the project root.
    #[must_use]
    pub fn depth(&self) -> u32 {
        self.depth
    }

    /// HOME of the check.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.dir.join("home")
    }

    /// TMPDIR of the check.
    #[must_use]
    pub fn tmp(&self) -> PathBuf {
        self.dir.join("tmp")
    }

    /// PATH of the check.
    #[must_use]
    pub fn bin(&self) -> PathBuf {
        self.dir.join("bin")
    }
}

/// A room, locked for as long as this or any process started in it lives.
#[derive(Debug)]
pub struct Room {
    dir: PathBuf,
    lock: File,
    depth: u32,
}

impl Room {
    /// Takes the first room of the check `id` below `rooms` that nobody uses.
    ///
    /// # Errors
    /// If none can be made or locked.
    pub fn take(rooms: &Path, id: &str) -> Result<Self, RoomError> {
        let first = rooms.join(slug(id));
        for number in 1..=MAX_ROOMS {
            let dir = match number {
                1 => first.clone(),
                _ => rooms.join(format!("{}-{number}", slug(id))),
            };
            at(&dir, std::fs::create_dir_all(&dir))?;
            let path = dir.join(LOCK);
            let lock = at(
                &path,
                File::options()
                    .write(true)
                    .create(true)
                    .truncate(false)
                    .open(&path),
            )?;
            match lock.try_lock() {
                Ok(()) => {
                    return Ok(Self {
                        dir,
                        lock,
                        depth: 1,
                    });
                }
                Err(std::fs::TryLockError::WouldBlock) => {}
                Err(std::fs::TryLockError::Error(error)) => return at(&path, Err(error)),
            }
        }
        Err(RoomError::Full(first))
    }

    /// Makes it hold exactly `contents`, with empty `home`, `tmp` and `bin`.
    ///
    /// # Errors
    /// If content changed since it was hashed, or something cannot be read or written.
    pub fn reset(&mut self, contents: &Contents<'_>) -> Result<(), RoomError> {
        self.depth = depth(contents);
        for dir in [self.home(), self.tmp(), self.bin()] {
            at(&dir, remove(&dir))?;
            at(&dir, std::fs::create_dir(&dir))?;
        }
        let known = self.known()?;
        let same = known.product_key == contents.product_key;
        let target = self.target(contents, same)?;
        let newest = known.newest.max(self.ended()).saturating_add(1000);
        let stamp = newest.max(now());
        let up = self.dir.join("up");
        let files = reset::reset(&up, &target, &known.files, known.verified, stamp)?;
        if same && files == known.files && known.is_settled() {
            return Ok(());
        }
        self.remember(&Manifest {
            product_key: contents.product_key,
            newest: stamp,
            verified: now(),
            files,
        })
    }

    /// Deletes everything a check saw or left, files and products alike. The room is as good as new.
    ///
    /// # Errors
    /// If something cannot be deleted.
    pub fn empty(&self) -> Result<(), RoomError> {
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

    /// Notes the end of a run, so that what changes later is newer than its products whatever the clock does.
    pub fn end(&self) {
        // Without it the time of the reset counts, which is off only if the clock was set back meanwhile.
        let _ = File::create(self.dir.join("ended"))
            .and_then(|file| file.set_modified(SystemTime::now()));
    }

    /// Where its folders are on the host.
    #[must_use]
    pub fn layout(&self) -> Layout {
        Layout {
            dir: self.dir.clone(),
            depth: self.depth,
        }
    }

    /// The copy of the project root.
    #[must_use]
    pub fn tree(&self) -> PathBuf {
        self.layout().tree()
    }

    /// See [`Layout::above`].
    #[must_use]
    pub fn above(&self, up: u32) -> PathBuf {
        self.layout().above(up)
    }

    /// The room's own folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// HOME of the check.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.layout().home()
    }

    /// TMPDIR of the check.
    #[must_use]
    pub fn tmp(&self) -> PathBuf {
        self.layout().tmp()
    }

    /// PATH of the check.
    #[must_use]
    pub fn bin(&self) -> PathBuf {
        self.layout().bin()
    }

    /// The lock, for children to inherit.
    #[must_use]
    pub fn lock(&self) -> &File {
        &self.lock
    }

    /// The manifest of the last run. Without a sound one, everything is deleted: products may be newer than any
    /// time stamp that is known.
    fn known(&self) -> Result<Manifest, RoomError> {
        let read = std::fs::read(self.dir.join(MANIFEST));
        if let Some(manifest) = read.ok().and_then(|bytes| Manifest::decode(&bytes)) {
            return Ok(manifest);
        }
        let up = self.dir.join("up");
        at(&up, remove(&up))?;
        Ok(Manifest {
            product_key: Digest::of(b""),
            newest: 0,
            verified: 0,
            files: std::collections::BTreeMap::new(),
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

    fn ended(&self) -> Nanos {
        std::fs::metadata(self.dir.join("ended"))
            .map_or(0, |meta| nanos(meta.mtime(), meta.mtime_nsec()))
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

/// As many folders as the real root has above it, so that the path of a room's tree stays the same.
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
        read: Box::new(move || unchanged(&entry.path.under(snapshot.root()), snapshot.read(id))),
    }
}

/// Never executable: only its content is known to the key.
fn outside<'a>(snapshot: &'a Snapshot, file: &'a OutsideFile) -> Wanted<'a> {
    let read = move || outside_content(snapshot, file);
    Wanted {
        kind: Kind::File,
        digest: file.digest,
        read: Box::new(read),
    }
}

/// The verified content of a file outside the snapshot.
pub(crate) fn outside_content(
    snapshot: &Snapshot,
    file: &OutsideFile,
) -> Result<Vec<u8>, RoomError> {
    let up = usize::try_from(file.up).unwrap_or(usize::MAX);
    let folder = snapshot.root().ancestors().nth(up);
    let path = file.path.under(folder.unwrap_or(Path::new("/")));
    let content = unchanged(&path, std::fs::read(&path))?;
    if Digest::of(&content) == file.digest || !Rule::CopyVerified.holds() {
        Ok(content)
    } else {
        Err(RoomError::Changed(path))
    }
}

/// What was hashed and is gone, or is now something else, has changed too.
pub(crate) fn unchanged(path: &Path, read: io::Result<Vec<u8>>) -> Result<Vec<u8>, RoomError> {
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
        read: Box::new(|| Ok(content.to_vec())),
    }
}

fn now() -> Nanos {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Nanos::try_from(now.unwrap_or_default().as_nanos()).unwrap_or(Nanos::MAX)
}

/// A folder name for a check id: readable, and unlike that of any other id.
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
