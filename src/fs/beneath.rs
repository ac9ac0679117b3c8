//! Reads and writes files, mostly the user's, below a directory without ever leaving it: follows no link on the way, no matter
//! who creates one when, and replaces nothing it has not looked at.
//!
//! Does not decide whether anything should be written.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RawMode, RenameFlags, fchmod, mkdirat, openat, renameat,
    renameat_with, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use crate::fs::too_large;
use crate::path::RelPath;
use crate::rule::Rule;

/// Larger files are not looked at, so they are not replaced either.
pub(crate) const LARGEST: u64 = 1 << 30;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    Absent,
    File {
        bytes: Vec<u8>,
        /// Whether the owner may execute it.
        executable: bool,
        /// The time of the last change to content or metadata.
        changed: SystemTime,
    },
    /// A link, with its target text.
    Link(Vec<u8>),
    /// A directory, a pipe or a device.
    Other,
}

impl Found {
    /// Equal except for the times.
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::File {
                    bytes, executable, ..
                },
                Self::File {
                    bytes: others,
                    executable: others_is,
                    ..
                },
            ) => bytes == others && executable == others_is,
            _ => self == other,
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Content<'a> {
    File {
        bytes: &'a [u8],
        executable: bool,
    },
    /// A link with this target.
    Link(&'a [u8]),
}

/// Looks at `path` below `root`.
pub(crate) fn look(root: &Path, path: &RelPath) -> io::Result<Found> {
    let Some(dir) = folder_of(root, path, false)? else {
        return Ok(Found::Absent);
    };
    look_in(&dir, path.file_name())
}

/// Opens the regular file at `path` below `root`, if there is one.
pub(crate) fn open(root: &Path, path: &RelPath) -> io::Result<Option<File>> {
    let Some(dir) = folder_of(root, path, false)? else {
        return Ok(None);
    };
    match statat(&dir, path.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {}
        Ok(_) | Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let file = open_in(&dir, path.file_name())?;
    Ok(file.metadata()?.is_file().then_some(file))
}

fn open_in(dir: &OwnedFd, name: &str) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(openat(dir, name, flags, Mode::empty())?))
}

fn look_in(dir: &OwnedFd, name: &str) -> io::Result<Found> {
    let stat = match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(Found::Absent),
        Err(error) => return Err(error.into()),
    };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => read(dir, name),
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(dir, name, Vec::new())?;
            Ok(Found::Link(target.into_bytes()))
        }
        _ => Ok(Found::Other),
    }
}

fn read(dir: &OwnedFd, name: &str) -> io::Result<Found> {
    let file = open_in(dir, name)?;
    let mut bytes = Vec::new();
    if file.metadata()?.len() > LARGEST {
        return Err(too_large(LARGEST));
    }
    (&file).take(LARGEST).read_to_end(&mut bytes)?;
    let meta = file.metadata()?;
    let since = Duration::new(
        u64::try_from(meta.ctime()).unwrap_or_default(),
        u32::try_from(meta.ctime_nsec()).unwrap_or_default(),
    );
    Ok(Found::File {
        bytes,
        executable: meta.mode() & 0o100 != 0,
        changed: SystemTime::UNIX_EPOCH + since,
    })
}

/// Atomically replaces what was `found` at `path` below `root`, keeping its permissions except for the executable
/// bit, or creates it and missing directories. Returns `false` and changes nothing if something else is there by now,
/// so that a concurrent edit is not lost.
///
/// # Errors
/// If a path component is a link or not a directory, or writing fails. Also if there was a concurrent edit that the
/// file system could not restore: the new content is in place then, and the error names the file beside it that holds
/// the edit.
pub(crate) fn put(
    root: &Path,
    path: &RelPath,
    content: Content<'_>,
    found: &Found,
) -> io::Result<bool> {
    let dir = folder_of(root, path, true)?.ok_or(io::ErrorKind::NotFound)?;
    let new = format!(".dagcache-{}-{}", std::process::id(), nanos());
    let write = || match content {
        Content::File { bytes, executable } => {
            let mode = if executable { 0o777 } else { 0o666 };
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let file = openat(&dir, &new, flags, Mode::from_raw_mode(mode))?;
            if let Some(mode) = mode_of(&dir, path.file_name(), executable) {
                fchmod(&file, mode)?;
            }
            File::from(file).write_all(bytes)
        }
        Content::Link(target) => Ok(symlinkat(target, &dir, &new)?),
    };
    let written = write();
    let done = written.and_then(|()| take_place(&dir, &new, path.file_name(), found));
    if !matches!(done, Ok(Place::Taken | Place::Mixed)) {
        let _ = unlinkat(&dir, &new, AtFlags::empty());
    }
    match done? {
        Place::Taken => Ok(true),
        Place::Left => Ok(false),
        Place::Mixed => Err(io::Error::other(format!(
            "replaced a file that was edited at the same time; the edit is in {new} in the same directory"
        ))),
    }
}

/// Where the new file is.
enum Place {
    Taken,
    Left,
    /// In place; the previous file is where the new one was written and could not be moved back.
    Mixed,
}

/// The permissions of the existing file.
fn mode_of(dir: &OwnedFd, name: &str, executable: bool) -> Option<Mode> {
    let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return None;
    }
    let mode = stat.st_mode & 0o777;
    if executable == (mode & 0o100 != 0) {
        return Some(Mode::from_raw_mode(mode));
    }
    // Whoever may read the file may execute it.
    let bits = if executable { (mode & 0o444) >> 2 } else { 0 };
    Some(Mode::from_raw_mode(mode & !0o111 | bits))
}

/// Replaces `name` with `new` if it is still what was found.
fn take_place(dir: &OwnedFd, new: &str, name: &str, found: &Found) -> io::Result<Place> {
    if *found == Found::Absent {
        match renameat_with(dir, new, dir, name, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(Place::Taken),
            Err(Errno::EXIST) => return Ok(Place::Left),
            Err(error) if cannot(error) => {}
            Err(error) => return Err(error.into()),
        }
    } else {
        let swap = || renameat_with(dir, new, dir, name, RenameFlags::EXCHANGE);
        match swap() {
            Ok(()) => {
                let there = look_in(dir, new);
                if there.is_ok_and(|there| found.is_like(&there)) {
                    let _ = unlinkat(dir, new, AtFlags::empty());
                    return Ok(Place::Taken);
                }
                return Ok(swap().map_or(Place::Mixed, |()| Place::Left));
            }
            Err(Errno::NOENT) => return Ok(Place::Left),
            Err(error) if cannot(error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if !found.is_like(&look_in(dir, name)?) {
        return Ok(Place::Left);
    }
    renameat(dir, new, dir, name)?;
    Ok(Place::Taken)
}

/// Whether the file system does not support the atomic exchange.
fn cannot(error: Errno) -> bool {
    [Errno::INVAL, Errno::NOSYS, Errno::NOTSUP, Errno::OPNOTSUPP].contains(&error)
}

/// Also differs between threads of one process.
fn nanos() -> u128 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let thread = format!("{:?}", std::thread::current().id());
    let thread: u128 = thread
        .bytes()
        .filter(u8::is_ascii_digit)
        .fold(0, |number, digit| number * 10 + u128::from(digit - b'0'));
    now.unwrap_or_default().as_nanos() * 1000 + thread
}

/// Makes the directory `path` below `root` and its parents with this mode, as far as they are absent.
///
/// # Errors
/// If one of them is a link or not a directory.
pub(crate) fn make_folders(root: &Path, path: &RelPath, mode: RawMode) -> io::Result<()> {
    folder(root, path, Some(mode)).map(|_| ())
}

/// Opens the directory that holds `path`; `None` if it does not exist and `make` is not set.
fn folder_of(root: &Path, path: &RelPath, make: bool) -> io::Result<Option<OwnedFd>> {
    let parent = path.parent().unwrap_or_default();
    folder(root, &parent, make.then_some(0o777))
}

/// Opens the directory `path`; `None` if it does not exist and no mode is given to make it with.
fn folder(root: &Path, path: &RelPath, make: Option<RawMode>) -> io::Result<Option<OwnedFd>> {
    let plain = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let flags = if Rule::OutputsFollowNoLink.holds() {
        plain | OFlags::NOFOLLOW
    } else {
        plain
    };
    let mut dir = openat(CWD, root, plain, Mode::empty())?;
    let mut passed = RelPath::root();
    for segment in path.segments() {
        passed = passed.join(segment).map_err(io::Error::other)?;
        let open = || openat(&dir, segment, flags, Mode::empty());
        let opened = match (open(), make) {
            (Err(Errno::NOENT), Some(mode)) => {
                match mkdirat(&dir, segment, Mode::from_raw_mode(mode)) {
                    Ok(()) | Err(Errno::EXIST) => open(),
                    Err(error) => Err(error),
                }
            }
            (other, _) => other,
        };
        dir = match opened {
            Ok(dir) => dir,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP | Errno::NOTDIR | Errno::MLINK) => {
                let message = format!("{passed} is a link or not a directory");
                return Err(io::Error::new(io::ErrorKind::NotADirectory, message));
            }
            Err(error) => return Err(error.into()),
        };
    }
    Ok(Some(dir))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path).expect(path)
    }

    fn file(bytes: &[u8]) -> Content<'_> {
        Content::File {
            bytes,
            executable: false,
        }
    }

    #[test]
    fn what_is_put_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let (root, path) = (dir.path(), rel("a/b/c"));
        assert_eq!(look(root, &path).unwrap(), Found::Absent);
        let replace = |content| put(root, &path, content, &look(root, &path).unwrap()).unwrap();
        assert!(replace(file(b"long text")));
        assert!(replace(Content::File {
            bytes: b"x",
            executable: true,
        }));
        let found = look(root, &path).unwrap();
        assert!(matches!(found, Found::File { bytes, executable: true, .. } if bytes == b"x"));
        assert!(replace(Content::Link(b"target")));
        assert_eq!(look(root, &path).unwrap(), Found::Link(b"target".to_vec()));
        assert_eq!(look(root, &rel("a/b")).unwrap(), Found::Other);
        assert_eq!(std::fs::read_dir(root.join("a/b")).unwrap().count(), 1);
    }

    #[test]
    fn no_link_is_followed_on_the_way_nor_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("file"), "theirs").unwrap();
        symlink(outside.path(), dir.path().join("link")).unwrap();
        let error = put(dir.path(), &rel("link/file"), file(b"ours"), &Found::Absent).unwrap_err();
        assert_eq!(error.to_string(), "link is a link or not a directory");
        assert!(look(dir.path(), &rel("link/file")).is_err());
        symlink(outside.path().join("file"), dir.path().join("end")).unwrap();
        let end = look(dir.path(), &rel("end")).unwrap();
        assert!(put(dir.path(), &rel("end"), file(b"ours"), &end).unwrap());
        assert_eq!(
            std::fs::read(outside.path().join("file")).unwrap(),
            b"theirs"
        );
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_in_its_place_stays_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("a")).unwrap();
        for found in [Found::Absent, Found::Link(b"x".to_vec())] {
            assert!(!put(dir.path(), &rel("a"), file(b"x"), &found).unwrap());
        }
        assert!(dir.path().join("a").is_dir());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_was_not_looked_at_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (root, path) = (dir.path(), rel("a"));
        std::fs::write(root.join("a"), "seen").unwrap();
        let found = look(root, &path).unwrap();
        std::fs::write(root.join("a"), "edit").unwrap();
        assert!(!put(root, &path, file(b"ours"), &found).unwrap());
        assert!(!put(root, &path, file(b"ours"), &Found::Absent).unwrap());
        assert_eq!(std::fs::read(root.join("a")).unwrap(), b"edit");
        std::fs::remove_file(root.join("a")).unwrap();
        assert!(!put(root, &path, file(b"ours"), &found).unwrap());
        assert_eq!(std::fs::read_dir(root).unwrap().count(), 0);
    }

    #[test]
    fn permissions_stay_but_for_the_executable_bit() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let (root, path) = (dir.path(), rel("a"));
        std::fs::write(root.join("a"), "private").unwrap();
        for (before, executable, after) in [
            (0o640, false, 0o640),
            (0o640, true, 0o750),
            (0o755, false, 0o644),
            (0o711, true, 0o711),
        ] {
            let mode = std::fs::Permissions::from_mode(before);
            std::fs::set_permissions(root.join("a"), mode).unwrap();
            let content = Content::File {
                bytes: b"new",
                executable,
            };
            assert!(put(root, &path, content, &look(root, &path).unwrap()).unwrap());
            let mode = root.join("a").metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, after);
        }
    }
}
