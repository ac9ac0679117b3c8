//! Files and folders of this program: never written through links, and believed only if this user or root owns them.
//! Another user who could write to the folder once may have left files that look like ours.
//!
//! Does not know what the files are for.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::Path;

use rustix::fs::OFlags;

use crate::fs::remove::remove;
use crate::fs::{FsError, beneath, too_large, write_atomic};
use crate::path::RelPath;

const PRIVATE: u32 = 0o700;

/// This program writes no larger files; the largest are copies of the user's.
const LARGEST: u64 = beneath::LARGEST;

/// Whether this user or root owns it.
#[must_use]
pub(crate) fn is_own(meta: &Metadata) -> bool {
    meta.uid() == rustix::process::geteuid().as_raw() || meta.uid() == 0
}

fn foreign() -> io::Error {
    io::Error::new(
        io::ErrorKind::PermissionDenied,
        "it belongs to another user",
    )
}

/// Reads a regular file of this user.
///
/// # Errors
/// Also if it is too large to be a file of this program: it is damaged.
pub(crate) fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let mut file = open_own(path)?;
    let size = file.metadata()?.len();
    if size > LARGEST {
        return Err(too_large(LARGEST));
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(usize::try_from(size).unwrap_or_default())?;
    file.by_ref().take(LARGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether a regular file of this user has this content.
#[must_use]
pub(crate) fn holds(path: impl AsRef<Path>, bytes: &[u8]) -> bool {
    let same = || {
        let mut file = open_own(path)?;
        let mut piece = vec![0; bytes.len().min(1 << 16)];
        if file.metadata()?.len() != bytes.len() as u64 {
            return Ok(false);
        }
        for part in bytes.chunks(piece.len().max(1)) {
            let there = piece.get_mut(..part.len()).unwrap_or_default();
            file.read_exact(there)?;
            if there != part {
                return Ok(false);
            }
        }
        io::Result::Ok(true)
    };
    same().unwrap_or(false)
}

fn open_own(path: impl AsRef<Path>) -> io::Result<File> {
    // A pipe in its place must not block.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags(OFlags::NONBLOCK))
        .open(path)?;
    let meta = file.metadata()?;
    if !is_own(&meta) {
        return Err(foreign());
    }
    if !meta.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok(file)
}

/// Like [`write_atomic`], for a file below `base`: no folder between them may be a link.
pub(crate) fn write(base: &Path, path: &Path, bytes: &[u8]) -> Result<(), FsError> {
    make_parent(base, path).map_err(FsError::on("write", path))?;
    write_atomic(path, bytes)
}

/// Makes the folders between `base` and a file below it.
///
/// # Errors
/// If one of them is a link.
pub(crate) fn make_parent(base: &Path, path: &Path) -> io::Result<()> {
    let below = path.strip_prefix(base).map_err(io::Error::other)?;
    let below = RelPath::from_path(below).map_err(io::Error::other)?;
    beneath::make_folders(base, &below.parent().unwrap_or_default(), PRIVATE)
}

/// Opens a file to append to it or to lock it, and creates it if it is absent. A link is not followed; the file of
/// another user is replaced.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    if path.symlink_metadata().is_ok_and(|meta| !is_own(&meta)) {
        remove(path)?;
    }
    let mut options = OpenOptions::new();
    options.append(true).read(true).create(true).mode(0o600);
    options.custom_flags(flags(OFlags::NOFOLLOW | OFlags::NONBLOCK));
    options.open(path)
}

/// Makes an empty file, or empties the one that is there. A link is not followed.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    let file = open(path)?;
    file.set_len(0)?;
    Ok(file)
}

/// Makes a folder that only this user can enter, whatever is in its place. Its parent must be trusted.
///
/// # Errors
/// If it belongs to another user.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() && !is_own(&meta) => return Err(foreign()),
        Ok(meta) if meta.is_dir() => {
            if meta.mode() & 0o777 != PRIVATE {
                std::fs::set_permissions(path, Permissions::from_mode(PRIVATE))?;
            }
            return Ok(());
        }
        Ok(_) => remove(path)?,
        Err(_) => {}
    }
    DirBuilder::new().recursive(true).mode(PRIVATE).create(path)
}

fn flags(flags: OFlags) -> i32 {
    i32::try_from(flags.bits()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_is_written_through_a_link() {
        let dir = tempfile::tempdir().expect("folder");
        let (base, other) = (dir.path().join("base"), dir.path().join("other"));
        std::fs::create_dir_all(&base).expect("folder");
        std::fs::create_dir_all(&other).expect("folder");
        std::fs::write(other.join("file"), "theirs").expect("file");
        symlink(&other, base.join("link")).expect("link");
        symlink(other.join("file"), base.join("end")).expect("link");
        assert!(write(&base, &base.join("link/file"), b"ours").is_err());
        assert!(write(&base, &base.join("link/deep/file"), b"ours").is_err());
        assert!(open(&base.join("end")).is_err());
        assert!(create(&base.join("end")).is_err());
        write(&base, &base.join("end"), b"ours").expect("the link is replaced");
        make_private(&base.join("link")).expect("the link is replaced");
        write(&base, &base.join("link/file"), b"ours").expect("a folder by now");
        assert_eq!(std::fs::read(other.join("file")).expect("file"), b"theirs");
        assert_eq!(std::fs::read_dir(other).expect("folder").count(), 1);
    }

    #[test]
    fn folders_are_private_even_if_they_were_locked() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("a/b");
        let mode = || path.metadata().expect("folder").mode() & 0o777;
        make_private(&path).expect("made");
        assert_eq!(mode(), 0o700);
        for other in [0o000, 0o755] {
            std::fs::set_permissions(&path, Permissions::from_mode(other)).expect("mode");
            make_private(&path).expect("made");
            assert_eq!(mode(), 0o700);
        }
    }

    #[test]
    fn a_file_that_no_file_of_this_program_can_be_is_not_read() {
        let file = tempfile::NamedTempFile::new().expect("file");
        file.as_file().set_len(LARGEST + 1).expect("size");
        let error = read(file.path()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn content_is_compared_whole() {
        let file = tempfile::NamedTempFile::new().expect("file");
        for size in [0, 1, 1 << 16, (1 << 16) + 1, 200_000] {
            let mut bytes = vec![7; size];
            std::fs::write(file.path(), &bytes).expect("write");
            assert!(holds(file.path(), &bytes));
            bytes.push(7);
            assert!(!holds(file.path(), &bytes));
            bytes.truncate(size);
            if let Some(last) = bytes.last_mut() {
                *last = 8;
                assert!(!holds(file.path(), &bytes));
            }
        }
    }

    #[test]
    fn only_regular_files_of_this_user_are_read() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("file");
        std::fs::write(&path, "text").expect("file");
        assert_eq!(read(&path).expect("read"), b"text");
        if std::os::unix::fs::chown(&path, Some(65_533), None).is_ok() {
            assert!(read(&path).is_err());
            open(&path).expect("replaced");
            assert_eq!(read(&path).expect("read"), b"");
        }
        assert!(read(dir.path()).is_err());
        let pipe = dir.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into()).expect("pipe");
        assert!(read(&pipe).is_err());
    }
}
