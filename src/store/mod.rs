//! The store: results, blobs, run records and what engines keep, as plain files of one version.
//!
//! ```text
//! DAGCACHE_DIR (or the platform's cache folder)/
//!   v1/
//!     CACHEDIR.TAG, .gitignore
//!     ac/ab/<key>       one result of a whole check ([`entry`])
//!     parts/ab/<key>    results of the parts of a check, by its common key ([`parts`])
//!     reads/ab/<key>    what runs of a check read, by its weak key ([`reads`])
//!     cas/ab/<digest>   blobs: fingerprints, what parts said, sets of files read, files that checks made ([`blob`])
//!     kept/ab/<digest>  files of the user's that an output replaced ([`outputs`]); not cleared
//!     secret-key        what secrets are sealed with, without a key of the team ([`secret`])
//!     trees/ab/<digest> folders of Merkle trees, for miss reasons ([`tree`])
//!     last/<project>    the last key of each check of a project, for miss reasons ([`last`])
//!     memo/             what the snapshot, the facts and the tools remember
//!     checkouts/        folders where git converts files for a snapshot, as long as it needs them
//!     runs/<day>.jsonl  run records, a line each ([`runs`])
//!     rooms/ layers/    what the local engine keeps
//!     generations/<project> how often layers were cleared ([`generations`]); not cleared
//!     projects/<id>     where a project is, so that what is kept for it goes with it
//!     distrusted/ab/<key> keys that nothing is stored under ([`distrust`])
//!     quarantine/       what turned out wrong ([`quarantine`])
//!     locks/            one file per action key, and `store`
//! ```
//!
//! Invariants: a file appears under its name only when it is whole (temp + rename), a result after the blobs it
//! names. Every read is verified; what is damaged, truncated, foreign or newer is a miss with a reason, never an
//! error and never served. A run holds `locks/store` shared, clearing holds it exclusively. A store that cannot be
//! written is used read-only, one that cannot be made is replaced by none: the run is then uncached, never wrong.
//!
//! Stays free of computing keys and of printing.

pub(crate) mod blob;
pub(crate) mod clear;
pub(crate) mod distrust;
pub(crate) mod entry;
pub(crate) mod find;
pub(crate) mod generations;
pub(crate) mod last;
pub(crate) mod lock;
pub(crate) mod outputs;
pub(crate) mod parts;
pub(crate) mod prune;
pub(crate) mod quarantine;
mod reach;
pub(crate) mod reads;
pub(crate) mod runs;
pub(crate) mod secret;
pub(crate) mod tree;
pub(crate) mod usage;
mod value;
pub(crate) mod verify;

use std::io;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::rule::Rule;

/// Version of the layout: a folder of its own, so that two versions of the program never read each other's files.
pub(crate) const LAYOUT: &str = "v1";

const TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n# This folder is a cache of cargo-dagcache. It can be deleted.\n# See https://bford.info/cachedir/\n";

/// An open store.
#[derive(Debug)]
pub(crate) struct Store {
    base: PathBuf,
    writable: bool,
    /// Held shared for the time of a run.
    _lock: Option<std::fs::File>,
    /// Set when the store is a private folder that goes with the run.
    _temporary: Option<tempfile::TempDir>,
}

/// A store could not be opened as asked.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the cache folder {path}: {source}")]
pub(crate) struct OpenError {
    /// The folder.
    pub(crate) path: PathBuf,
    /// Why.
    pub(crate) source: io::Error,
}

/// Marks our folder as a cache: for backups by its tag, for git and for snapshots by an ignore file, so that a store
/// inside a project is no part of that project. Never the folder above: the user chose it, and may keep more in it.
fn mark(base: &Path) -> io::Result<()> {
    let marks = [("CACHEDIR.TAG", TAG), (".gitignore", "*\n")];
    for (name, text) in marks {
        let path = base.join(name);
        if !path.exists() {
            std::fs::write(path, text)?;
        }
    }
    Ok(())
}

impl Store {
    /// Opens (and makes) the store below `dir` and takes its lock shared; waits while another process clears it.
    ///
    /// # Errors
    /// If the folder cannot be made or its lock not be taken. See [`Store::open_or_fallback`].
    #[cfg(test)]
    pub(crate) fn open(dir: &Path) -> Result<Self, OpenError> {
        Self::open_with(dir, false, &|| {})
    }

    /// As [`Store::open`], but alone: calls `waiting` and waits if runs use the store.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub(crate) fn open_exclusive(dir: &Path, waiting: &dyn Fn()) -> Result<Self, OpenError> {
        Self::open_with(dir, true, waiting)
    }

    fn open_with(dir: &Path, exclusive: bool, waiting: &dyn Fn()) -> Result<Self, OpenError> {
        let fail = |source| OpenError {
            path: dir.to_owned(),
            source,
        };
        let base = dir.join(LAYOUT);
        let locks = base.join("locks");
        let lock_path = locks.join("store");
        let file = match std::fs::OpenOptions::new().append(true).open(&lock_path) {
            Ok(file) => file,
            Err(_) => {
                std::fs::create_dir_all(&locks).map_err(fail)?;
                mark(&base).map_err(fail)?;
                std::fs::OpenOptions::new()
                    .append(true)
                    .create(true)
                    .open(&lock_path)
                    .map_err(fail)?
            }
        };
        if Rule::StoreLock.holds() {
            lock::take(&file, exclusive, waiting).map_err(fail)?;
        }
        Ok(Self {
            base,
            writable: true,
            _lock: Some(file),
            _temporary: None,
        })
    }

    /// Opens the store, or, where it cannot be written, reads what is there, or else works in a private temporary
    /// folder. The second value is the one warning that is due then. Calls `waiting` if it has to wait.
    ///
    /// # Errors
    /// If not even a temporary folder can be made.
    pub(crate) fn open_or_fallback(
        dir: Option<&Path>,
        waiting: &dyn Fn(),
    ) -> Result<(Self, Option<String>), OpenError> {
        let Some(dir) = dir else {
            let warning = "no cache folder: neither DAGCACHE_DIR, XDG_CACHE_HOME nor HOME is set; nothing is remembered";
            return Ok((Self::temporary()?, Some(warning.to_owned())));
        };
        match Self::open_with(dir, false, waiting) {
            Ok(store) => Ok((store, None)),
            Err(error) if dir.join(LAYOUT).is_dir() => {
                let warning =
                    format!("{error}; results are read from it, nothing new is remembered");
                let base = dir.join(LAYOUT);
                Ok((
                    Self {
                        base,
                        writable: false,
                        _lock: None,
                        _temporary: None,
                    },
                    Some(warning),
                ))
            }
            Err(error) => Ok((
                Self::temporary()?,
                Some(format!("{error}; nothing is remembered")),
            )),
        }
    }

    /// A private store that goes with the run.
    ///
    /// # Errors
    /// If no temporary folder can be made.
    pub(crate) fn temporary() -> Result<Self, OpenError> {
        let fail = |source| OpenError {
            path: std::env::temp_dir(),
            source,
        };
        let temporary = tempfile::Builder::new()
            .prefix("dagcache-")
            .tempdir()
            .map_err(fail)?;
        let base = temporary.path().join(LAYOUT);
        std::fs::create_dir_all(base.join("locks")).map_err(fail)?;
        Ok(Self {
            base,
            writable: true,
            _lock: None,
            _temporary: Some(temporary),
        })
    }

    /// Whether results can be saved.
    #[must_use]
    pub(crate) fn writable(&self) -> bool {
        self.writable
    }

    /// Whether the store goes with the run.
    #[must_use]
    pub(crate) fn is_temporary(&self) -> bool {
        self._temporary.is_some()
    }

    /// The folder of this version.
    #[must_use]
    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    /// A folder of the store (`memo`, `rooms`, `layers`, `locks`).
    #[must_use]
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.base.join(name)
    }

    /// Notes where a project is, so that its rooms can go when it is gone.
    ///
    /// # Errors
    /// If the disk refuses.
    pub(crate) fn note_project(&self, id: &str, root: &Path) -> io::Result<()> {
        let path = self.base.join("projects").join(id);
        if path.exists() {
            return Ok(());
        }
        self.write(&path, root.as_os_str().as_encoded_bytes())
    }

    fn sharded(&self, kind: &str, digest: &Digest) -> PathBuf {
        let hex = digest.to_string();
        self.base.join(kind).join(&hex[..2]).join(hex)
    }

    /// A store of another layout beside this one, which knows that project: its results are no use, but were there.
    #[must_use]
    pub(crate) fn other_layout(&self, project: &str) -> Option<String> {
        let layouts = std::fs::read_dir(self.base.parent()?).ok()?.flatten();
        let names = layouts.filter_map(|folder| folder.file_name().into_string().ok());
        names
            .filter(|name| name != LAYOUT && is_layout(name))
            .filter(|name| {
                self.base
                    .with_file_name(name)
                    .join("last")
                    .join(project)
                    .is_file()
            })
            .max()
    }

    /// A file of the store as people may look for it: below the cache folder.
    fn shown(&self, path: &Path) -> String {
        let folder = self.base.parent().unwrap_or(&self.base);
        path.strip_prefix(folder)
            .unwrap_or(path)
            .display()
            .to_string()
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if !self.writable {
            return Ok(());
        }
        Ok(crate::fs::write_atomic(path, bytes)?)
    }
}

/// Whether it is the name of a layout: `v` and a number.
fn is_layout(name: &str) -> bool {
    name.strip_prefix('v').is_some_and(|number| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Splits a verified file: a header line `NAME VERSION SHA256-of-the-rest`, then the body.
fn unseal<'a>(bytes: &'a [u8], name: &str, version: u32) -> Result<&'a [u8], String> {
    let end = bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or("it is truncated")?;
    let header = std::str::from_utf8(&bytes[..end]).map_err(|_| "its header is damaged")?;
    let mut words = header.split(' ');
    if words.next() != Some(name) {
        return Err("it is of another kind".to_owned());
    }
    let found = words.next().unwrap_or_default();
    if found != version.to_string() && Rule::EntryFormat.holds() {
        return Err(format!(
            "it was stored by another version (format {found}, this one reads {version})"
        ));
    }
    let body = &bytes[end + 1..];
    let sum = words.next().and_then(|hex| hex.parse().ok());
    if sum != Some(Digest::of(body)) && Rule::EntryVerified.holds() {
        return Err("its content does not match its checksum".to_owned());
    }
    Ok(body)
}

/// Whether a file is of that kind, but of another format than `version`: another version of the program wrote it.
fn other_format(bytes: &[u8], name: &str, version: u32) -> bool {
    let header = bytes.split(|byte| *byte == b'\n').next();
    let mut words = header.unwrap_or_default().split(|byte| *byte == b' ');
    let format = |word: &[u8]| std::str::from_utf8(word).ok()?.parse::<u32>().ok();
    words.next() == Some(name.as_bytes())
        && words
            .next()
            .and_then(format)
            .is_some_and(|format| format != version)
}

/// The counterpart of [`unseal`].
fn seal(name: &str, version: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{name} {version} {}\n", Digest::of(body)).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_file_opens_only_whole_and_as_what_it_is() {
        let sealed = seal("x", 1, b"body");
        assert_eq!(unseal(&sealed, "x", 1), Ok(&b"body"[..]));
        assert!(unseal(&sealed[..sealed.len() - 1], "x", 1).is_err());
        assert!(unseal(&sealed, "y", 1).is_err());
        assert!(
            unseal(&sealed, "x", 2)
                .expect_err("newer")
                .contains("format 1")
        );
        assert!(unseal(b"", "x", 1).is_err());
    }

    #[test]
    fn a_store_inside_a_project_is_no_part_of_it() {
        let project = tempfile::tempdir().expect("temp folder");
        std::fs::write(project.path().join("a"), "").expect("write");
        let store = Store::open(project.path()).expect("store");
        store.put_blob(b"x").expect("blob");
        let env = crate::env::Env::default();
        let memo = tempfile::tempdir().expect("temp folder");
        let taken = crate::snapshot::Snapshot::take(project.path(), memo.path(), &env);
        let snapshot = taken.expect("snapshot");
        let paths: Vec<&str> = snapshot.entries().iter().map(|e| e.path.as_str()).collect();
        assert_eq!(paths, ["a"]);
    }

    #[test]
    fn a_folder_that_cannot_be_made_gives_a_private_store_and_one_warning() {
        let file = tempfile::NamedTempFile::new().expect("temp file");
        let (store, warning) =
            Store::open_or_fallback(Some(&file.path().join("below")), &|| {}).expect("fallback");
        assert!(store.is_temporary());
        assert!(warning.is_some_and(|text| text.contains("nothing is remembered")));
    }
}
