//! Seeds a room without products from the user's target folder, with products of external packages: compiling them
//! again would reveal nothing new.
//!
//! Whole units are copied (`.fingerprint/NAME-HASH`, `build/NAME-HASH`, `deps/*-HASH.*`) with their times, sharing
//! blocks where the file system supports it; no units of project packages, no links, and nothing while cargo works
//! there. Cargo in the room then decides by its fingerprints what to use.
//!
//! Two things are unknown about such a folder: whether somebody altered a file in it, and which variables hidden from
//! checks a build script saw. Results based on it are marked as such, and a compiler error in such a room counts only
//! if it also occurs without the seed.

use std::collections::BTreeSet;
use std::fs::{FileTimes, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::plan::check::Seed;

/// Subfolders of a profile that contain a folder per unit.
const FOLDERS: [&str; 2] = [".fingerprint", "build"];
/// Contains the outputs of units, with their hash in the name.
const OUTPUTS: &str = "deps";
/// The profile to check unless arguments select another.
const PROFILE: &str = "debug";
/// Locked by cargo while it works in the folder of a profile.
const LOCK: &str = ".cargo-lock";

/// The user's target folder.
#[derive(Debug)]
pub(crate) struct TargetFolder {
    pub(crate) path: PathBuf,
    /// Names of the packages in the project.
    pub(crate) own: BTreeSet<String>,
}

impl Seed for TargetFolder {
    fn plant(&self, products: &Path) -> io::Result<bool> {
        let from = self.path.join(PROFILE);
        let lock = match crate::fs::open(from.join(LOCK)) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        match lock.try_lock_shared() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let to = products.join(PROFILE);
        let units = self.units(&from)?;
        let mut hashes = BTreeSet::new();
        for (folder, name) in &units {
            let copied = copy_folder(&from.join(folder).join(name), &to.join(folder).join(name))?;
            if let (true, Some((_, hash))) = (copied, unit(name)) {
                hashes.insert(hash);
            }
        }
        let outputs = from.join(OUTPUTS);
        std::fs::create_dir_all(to.join(OUTPUTS))?;
        for file in std::fs::read_dir(&outputs)? {
            let file = file?;
            let name = file.file_name();
            let hash = name.to_str().and_then(hash_of_output);
            if hash.is_some_and(|hash| hashes.contains(hash)) && file.file_type()?.is_file() {
                copy_file(&file.path(), &to.join(OUTPUTS).join(&name))?;
            }
        }
        Ok(!hashes.is_empty())
    }
}

impl TargetFolder {
    /// The folders of units of external packages.
    fn units(&self, from: &Path) -> io::Result<Vec<(&'static str, String)>> {
        let mut units = Vec::new();
        for folder in FOLDERS {
            for entry in std::fs::read_dir(from.join(folder))? {
                let entry = entry?;
                let Ok(name) = entry.file_name().into_string() else {
                    continue;
                };
                let foreign = unit(&name).is_some_and(|(package, _)| !self.own.contains(package));
                if foreign && entry.file_type()?.is_dir() {
                    units.push((folder, name));
                }
            }
        }
        Ok(units)
    }
}

/// Package and hash of a unit's folder: `serde_json-0123456789abcdef`.
fn unit(name: &str) -> Option<(&str, &str)> {
    let (package, hash) = name.rsplit_once('-')?;
    (hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .then_some((package, hash))
}

/// The hash in the name of an output: `libserde_json-0123456789abcdef.rmeta`.
fn hash_of_output(name: &str) -> Option<&str> {
    unit(name.split('.').next()?).map(|(_, hash)| hash)
}

/// Copies a folder; copies nothing and returns `false` if it contains anything besides regular files and folders.
fn copy_folder(from: &Path, to: &Path) -> io::Result<bool> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (kind, to_entry) = (entry.file_type()?, to.join(entry.file_name()));
        let copied = if kind.is_dir() {
            copy_folder(&entry.path(), &to_entry)?
        } else if kind.is_file() {
            copy_file(&entry.path(), &to_entry)?;
            true
        } else {
            false
        };
        if !copied {
            std::fs::remove_dir_all(to)?;
            return Ok(false);
        }
    }
    Ok(true)
}

/// Keeps times, because cargo compares them.
fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let modified = from.symlink_metadata()?.modified()?;
    std::fs::copy(from, to)?;
    crate::fs::open(to)?.set_times(FileTimes::new().set_modified(modified))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "0123456789abcdef";

    /// A target folder with a unit each of `serde_json` and of the project's `own`.
    fn target() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let debug = dir.path().join(PROFILE);
        for name in ["serde_json", "own"] {
            for path in [
                format!(".fingerprint/{name}-{HASH}/lib"),
                format!("build/{name}-{HASH}/out/made"),
            ] {
                write(&debug.join(path));
            }
        }
        write(&debug.join(format!("deps/libserde_json-{HASH}.rmeta")));
        write(&debug.join("deps/libown-fedcba9876543210.rmeta"));
        write(&debug.join(LOCK));
        dir
    }

    fn write(path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x").unwrap();
    }

    fn seed(target: &Path) -> (bool, Vec<String>) {
        let products = tempfile::tempdir().unwrap();
        let folder = TargetFolder {
            path: target.to_owned(),
            own: ["own".to_owned()].into(),
        };
        let planted = folder.plant(products.path()).unwrap();
        let all = walkdir::WalkDir::new(products.path()).sort_by_file_name();
        let files = all.into_iter().map(Result::unwrap);
        let files = files.filter(|entry| !entry.file_type().is_dir());
        let below = |entry: walkdir::DirEntry| {
            let path = entry.path().strip_prefix(products.path()).unwrap();
            path.to_string_lossy().replace(HASH, "H")
        };
        (planted, files.map(below).collect())
    }

    #[test]
    fn units_of_others_are_copied_and_those_of_the_project_are_not() {
        let target = target();
        let expected = [
            "debug/.fingerprint/serde_json-H/lib",
            "debug/build/serde_json-H/out/made",
            "debug/deps/libserde_json-H.rmeta",
        ];
        let expected = expected.map(str::to_owned).to_vec();
        assert_eq!(seed(target.path()), (true, expected));
    }

    #[test]
    fn nothing_is_taken_while_cargo_works_there() {
        let target = target();
        let lock = std::fs::File::open(target.path().join(PROFILE).join(LOCK)).unwrap();
        lock.lock().unwrap();
        assert_eq!(seed(target.path()), (false, Vec::new()));
    }

    #[test]
    fn a_unit_with_a_link_is_left_out() {
        let target = target();
        let unit = target.path().join(format!("debug/build/serde_json-{HASH}"));
        std::os::unix::fs::symlink("/etc", unit.join("link")).unwrap();
        let (_, files) = seed(target.path());
        assert!(
            !files.iter().any(|file| file.contains("build")),
            "{files:?}"
        );
    }

    #[test]
    fn a_folder_that_is_not_there_gives_nothing() {
        assert_eq!(seed(Path::new("/nonexistent")), (false, Vec::new()));
    }
}
