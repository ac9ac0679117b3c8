//! Reads and writes whole files.
//!
//! - [`beneath`]: files of the user, without ever leaving a directory. - [`own`]: files of this program.
//! - [`owner`]: whose files may decide what is run.
//! - [`sealed`]: files with magic, version and checksum; losing one is harmless, trusting a damaged one is not.
//! - [`mod@remove`]: deletes regardless of modes, without following links.
//!
//! Knows nothing about the layout of the store.

pub(crate) mod beneath;
pub(crate) mod own;
pub(crate) mod owner;
pub(crate) mod remove;
pub(crate) mod sealed;

use std::fs::{File, Metadata};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::rule::Rule;
use crate::visible::Shown as _;

#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.shown())]
pub(crate) struct FsError {
    /// `read` or `write`.
    pub(crate) action: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) source: io::Error,
}

impl FsError {
    fn on(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self {
            action,
            path: path.to_path_buf(),
            source,
        }
    }
}

/// The largest file that [`read`] reads. Lockfiles of large repositories have 10 MiB.
pub(crate) const LARGEST: u64 = 64 << 20;

/// Reads a file that somebody else wrote, such as a manifest or a lockfile of the project.
///
/// # Errors
/// Also if it is not a regular file (a pipe would block, a device may never end) or is too large to be one of these.
pub(crate) fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    read_up_to(path, LARGEST)
}

/// Like [`read`], for files that may be larger.
pub(crate) fn read_up_to(path: impl AsRef<Path>, most: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let size = file.metadata()?.len();
    if size > most {
        return Err(too_large(most));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    // Files in `/proc` have no size, and others may grow.
    file.take(most + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 {
        size if size > most => Err(too_large(most)),
        _ => Ok(bytes),
    }
}

/// Like [`read`], for UTF-8.
pub(crate) fn text(path: impl AsRef<Path>) -> io::Result<String> {
    String::from_utf8(read(path)?)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// The first bytes of a file, at most `most`.
pub(crate) fn head(path: impl AsRef<Path>, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(most);
    open(path)?.take(most as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a regular file to read it. Anything else is not even opened, as that can block, and on a device do harm.
pub(crate) fn open(path: impl AsRef<Path>) -> io::Result<File> {
    let path = path.as_ref();
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    if Rule::OnlyFilesAreRead.holds() {
        regular(&std::fs::metadata(path)?)?;
        let file = File::options()
            .read(true)
            .custom_flags(nonblocking)
            .open(path)?;
        // It may have become something else.
        regular(&file.metadata()?)?;
        return Ok(file);
    }
    File::open(path)
}

fn regular(meta: &Metadata) -> io::Result<()> {
    let (kind, what) = match meta {
        meta if meta.is_file() => return Ok(()),
        meta if meta.is_dir() => (io::ErrorKind::IsADirectory, "it is a directory"),
        _ => (io::ErrorKind::InvalidInput, "it is not a regular file"),
    };
    Err(io::Error::new(kind, what))
}

/// The error for a file of more than `most` bytes.
pub(crate) fn too_large(most: u64) -> io::Error {
    let message = format!("larger than {}", bytesize::ByteSize(most));
    io::Error::new(io::ErrorKind::FileTooLarge, message)
}

/// Creates or replaces a file atomically: a reader, or a crash at any point, sees the old content or the new. Creates
/// missing directories. Not synced to disk, so a power cut may damage the content: seal what matters.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), FsError> {
    write_with(path, bytes, 0o600)
}

/// Like [`write_atomic`], for a file of the user: everybody may read it, subject to the umask.
pub(crate) fn write_shared(path: &Path, bytes: &[u8]) -> Result<(), FsError> {
    write_with(path, bytes, 0o666)
}

fn write_with(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FsError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let write = || {
        if !Rule::Rename.holds() {
            std::fs::create_dir_all(folder)?;
            return std::fs::write(path, bytes);
        }
        let mut file = temporary_in(folder, mode)?;
        file.write_all(bytes)?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(FsError::on("write", path))
}

fn temporary_in(folder: &Path, mode: u32) -> io::Result<tempfile::NamedTempFile> {
    let make = || {
        let permissions = std::fs::Permissions::from_mode(mode);
        tempfile::Builder::new()
            .permissions(permissions)
            .tempfile_in(folder)
    };
    match make() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::create_dir_all(folder)?;
            make()
        }
        other => other,
    }
}

impl From<FsError> for io::Error {
    fn from(error: FsError) -> Self {
        Self::new(error.source.kind(), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_replaces_the_whole_file_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write_atomic(&path, b"long old content").unwrap();
        write_atomic(&path, b"new").unwrap();
        assert_eq!(read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn only_regular_files_of_a_sane_size_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into()).unwrap();
        let large = dir.path().join("large");
        File::create(&large).unwrap().set_len(1 << 40).unwrap();
        for path in [&pipe, &large, Path::new("/dev/zero"), dir.path()] {
            assert!(read(path).is_err(), "{path:?}");
        }
        assert_eq!(head(&large, 3).unwrap(), [0; 3]);
        assert_eq!(
            read_up_to("/proc/self/comm", 3).unwrap_err().kind(),
            io::ErrorKind::FileTooLarge
        );
    }

    #[test]
    fn errors_name_the_path() {
        let path = Path::new("/dev/null/file");
        let error = write_atomic(path, b"").unwrap_err();
        assert_eq!(error.to_string(), "cannot write /dev/null/file");
    }
}
