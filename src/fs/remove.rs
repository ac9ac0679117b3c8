//! Deletes files and directories regardless of modes, without following links.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Deletes a file, a link or a whole directory, if it exists. Links are deleted, never followed.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let meta = match path.symlink_metadata() {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !meta.is_dir() {
        return std::fs::remove_file(path);
    }
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path);
            std::fs::remove_dir_all(path)
        }
        other => other,
    }
}

/// Makes locked directories and read-only ones (Go's module cache) deletable. If that fails, the deletion fails and
/// reports it.
fn open_up(folder: &Path) {
    let is_folder = |meta: io::Result<std::fs::Metadata>| meta.is_ok_and(|meta| meta.is_dir());
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        if !is_folder(folder.symlink_metadata()) {
            continue;
        }
        let _ = std::fs::set_permissions(&folder, Permissions::from_mode(0o700));
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        folders.extend(below.map(|entry| entry.path()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_folder_is_deleted_and_a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (kept, gone) = (dir.path().join("kept"), dir.path().join("gone"));
        std::fs::create_dir_all(gone.join("a/b")).unwrap();
        std::fs::write(gone.join("a/b/file"), "").unwrap();
        std::fs::write(&kept, "").unwrap();
        std::os::unix::fs::symlink(dir.path(), gone.join("a/link")).unwrap();
        for folder in ["a/b", "a"] {
            std::fs::set_permissions(gone.join(folder), Permissions::from_mode(0o000)).unwrap();
        }
        remove(&gone).unwrap();
        remove(&gone).unwrap();
        assert!(!gone.exists() && kept.exists());
    }
}
