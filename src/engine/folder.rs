//! A directory of the store, or a private temporary one if the store is not writable.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The temporary stand-in, if any, is deleted on drop.
#[derive(Debug)]
pub(crate) struct Folder {
    wanted: PathBuf,
    stand_in: OnceLock<Option<tempfile::TempDir>>,
}

impl Folder {
    /// Creates the directory when it is first needed.
    #[must_use]
    pub(crate) fn new(wanted: PathBuf) -> Self {
        Self {
            wanted,
            stand_in: OnceLock::new(),
        }
    }

    /// The requested directory, for reading only.
    #[must_use]
    pub(crate) fn wanted(&self) -> &Path {
        &self.wanted
    }

    /// A writable directory.
    pub(crate) fn get(&self) -> io::Result<&Path> {
        if self.stand_in.get().is_none() {
            let chosen = match probe(&self.wanted) {
                Ok(()) => None,
                Err(_) => Some(tempfile::Builder::new().prefix("dagcache-").tempdir()?),
            };
            // If another thread was first, its choice counts.
            let _ = self.stand_in.set(chosen);
        }
        let chosen = self.stand_in.get().and_then(Option::as_ref);
        Ok(chosen.map_or(&self.wanted, |dir| dir.path()))
    }
}

fn probe(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)?;
    tempfile::tempfile_in(path).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unwritable_folder_has_a_private_stand_in() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let folder = Folder::new(dir.path().join("file/rooms"));
        let path = folder.get().unwrap().to_owned();
        assert!(path.is_dir() && !path.starts_with(dir.path()));
        assert_eq!(folder.get().unwrap(), path);
        drop(folder);
        assert!(!path.exists());
        let folder = Folder::new(dir.path().join("a/b"));
        assert_eq!(folder.get().unwrap(), dir.path().join("a/b"));
    }
}
