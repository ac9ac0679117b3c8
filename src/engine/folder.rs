//! A folder of the store, or a private temporary one if the store cannot be written.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Where something is kept. What is written to a stand-in is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    wanted: PathBuf,
    stand_in: OnceLock<Option<tempfile::TempDir>>,
}

impl Folder {
    /// At `wanted`, which is made when it is first needed.
    #[must_use]
    pub(crate) fn new(wanted: PathBuf) -> Self {
        Self {
            wanted,
            stand_in: OnceLock::new(),
        }
    }

    /// The folder as it was asked for, for reading only.
    #[must_use]
    pub(crate) fn wanted(&self) -> &Path {
        &self.wanted
    }

    /// A folder that can be written.
    ///
    /// # Errors
    /// If not even a temporary one can be made.
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
