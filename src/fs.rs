//! Files of this program: read whole, written whole; errors name the path.
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

use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
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

#[cfg(test)]
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, FsError> {
    std::fs::read(path).map_err(FsError::on("read", path))
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
    fn errors_name_the_path() {
        let path = Path::new("/dev/null/file");
        assert_eq!(
            read(path).unwrap_err().to_string(),
            "cannot read /dev/null/file"
        );
        let error = write_atomic(path, b"").unwrap_err();
        assert_eq!(error.to_string(), "cannot write /dev/null/file");
    }
}
