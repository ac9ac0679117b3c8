//! The store: results, blobs, run records and engine data as plain files.
//!
//! ```text
//! DAGCACHE_DIR (or the platform's cache directory)/
//!   v1/
//!     CACHEDIR.TAG, .gitignore
//!     ac/ab/<key>       result of a whole check ([`entry`])
//!     parts/ab/<key>    results of a check's parts, by common key ([`parts`])
//!     reads/ab/<key>    what a check's runs read, by weak key ([`reads`])
//!     cas/ab/<digest>   blobs: fingerprints, output of parts, read sets, outputs of checks ([`blob`])
//!     kept/ab/<digest>  user files replaced by an output ([`outputs`]); not cleared
//!     secret-key        seals secrets if there is no team key ([`secret`])
//!     trees/ab/<digest> directories of Merkle trees, for miss reasons ([`tree`])
//!     last/<project>    the last key of each check of a project, for miss reasons ([`last`])
//!     memo/             memos of snapshot, facts and tools
//!     checkouts/        temporary directories where git converts files
//!     runs/<day>.jsonl  one run record per line ([`runs`])
//!     rooms/ layers/    data of the local engine
//!     generations/<project> how often layers were cleared ([`generations`]); not cleared
//!     trust/<project>   what the user accepted of its configuration ([`trust`]); not cleared
//!     projects/<id>     where the project is, so that its data can be pruned after it is gone
//!     distrusted/ab/<key> keys with proven wrong results ([`distrust`])
//!     quarantine/       damaged and wrong files ([`quarantine`])
//!     locks/            one file per action key, and `store`
//! ```
//!
//! Only what this user or root wrote is believed ([`owner`]), and nothing is written through a link.
//!
//! Invariants: files appear under their name only when complete (temp + rename), and a result only after the blobs it
//! refers to. Every read is verified; anything damaged, truncated, foreign or newer is a miss with a reason, never an
//! error, and never served. A run holds `locks/store` shared, clearing holds it exclusively. A store that cannot be
//! written is used read-only; without any store, the run is uncached but still correct.
//!
//! Computes no keys and prints nothing.

pub(crate) mod blob;
pub(crate) mod clear;
pub(crate) mod distrust;
pub(crate) mod entry;
pub(crate) mod find;
pub(crate) mod generations;
pub(crate) mod last;
pub(crate) mod lock;
pub(crate) mod outputs;
pub(crate) mod owner;
pub(crate) mod parts;
pub(crate) mod prune;
pub(crate) mod quarantine;
mod reach;
pub(crate) mod reads;
pub(crate) mod runs;
pub(crate) mod secret;
pub(crate) mod tree;
pub(crate) mod trust;
pub(crate) mod usage;
mod value;
pub(crate) mod verify;

use std::io;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::fs::own;
use crate::rule::Rule;
use crate::store::owner::Distrust;
use crate::visible::Shown as _;

/// Each layout has its own directory, so that different program versions never read each other's files.
pub(crate) const LAYOUT: &str = "v1";

const TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n# This folder is a cache of cargo-dagcache. It can be deleted.\n# See https://bford.info/cachedir/\n";

#[derive(Debug)]
pub(crate) struct Store {
    base: PathBuf,
    writable: bool,
    _lock: Option<std::fs::File>,
    /// Set if the store is a temporary directory, or if it is only read.
    temporary: Option<tempfile::TempDir>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("cannot use the cache directory {}: {source}", path.shown())]
    Io { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Distrust(#[from] Distrust),
}

impl OpenError {
    fn on(path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}

/// Marks our directory as a cache: a tag for backup tools, and an ignore file so that git and snapshots skip a store
/// inside a project. The parent directory belongs to the user and is left alone.
fn mark(base: &Path) -> io::Result<()> {
    let marks = [("CACHEDIR.TAG", TAG), (".gitignore", "*\n")];
    for (name, text) in marks {
        let path = base.join(name);
        if path.symlink_metadata().is_err() {
            own::write(base, &path, text.as_bytes())?;
        }
    }
    Ok(())
}

impl Store {
    /// Opens the store below `dir`, creating it if necessary, and locks it shared. Waits while another process clears
    /// it.
    #[cfg(test)]
    pub(crate) fn open(dir: &Path) -> Result<Self, OpenError> {
        Self::open_with(dir, false, &|| {})
    }

    /// Opens the store exclusively. Calls `waiting` before waiting for running checks.
    pub(crate) fn open_exclusive(dir: &Path, waiting: &dyn Fn()) -> Result<Self, OpenError> {
        Self::open_with(dir, true, waiting)
    }

    /// Like [`Store::open_exclusive`], to delete everything: others may have written to the store, and cannot any more.
    pub(crate) fn open_to_clear(dir: &Path, waiting: &dyn Fn()) -> Result<Self, OpenError> {
        owner::claim(dir).map_err(OpenError::on(dir))?;
        Self::open_with(dir, true, waiting)
    }

    fn open_with(dir: &Path, exclusive: bool, waiting: &dyn Fn()) -> Result<Self, OpenError> {
        let fail = OpenError::on(dir);
        owner::examine(dir)?;
        let lock_path = dir.join(LAYOUT).join("locks/store");
        if lock_path.symlink_metadata().is_err() {
            let base = dir.join(LAYOUT);
            own::make_private(&base.join("locks")).map_err(&fail)?;
            mark(&base).map_err(&fail)?;
        }
        let file = own::open(&lock_path).map_err(&fail)?;
        if Rule::StoreLock.holds() {
            lock::take(&file, exclusive, waiting).map_err(&fail)?;
        }
        Ok(Self {
            base: base_of(dir),
            writable: true,
            _lock: Some(file),
            temporary: None,
        })
    }

    /// Opens the store. Falls back to reading it if it cannot be written, and to a temporary one if it cannot be
    /// opened or believed. Also returns the warning to print, if any. Calls `waiting` before it waits.
    pub(crate) fn open_or_fallback(
        dir: Option<&Path>,
        waiting: &dyn Fn(),
    ) -> Result<(Self, Option<String>), OpenError> {
        let Some(dir) = dir else {
            let warning = "no cache directory: none of DAGCACHE_DIR, XDG_CACHE_HOME and HOME is set; results are not cached";
            return Ok((Self::temporary()?, Some(warning.to_owned())));
        };
        match Self::open_with(dir, false, waiting) {
            Ok(store) => Ok((store, None)),
            Err(error @ OpenError::Io { .. }) if dir.join(LAYOUT).is_dir() => {
                let warning =
                    format!("{error}; cached results are reused, new ones are not stored");
                let store = Self {
                    base: base_of(dir),
                    writable: false,
                    _lock: None,
                    temporary: None,
                };
                Ok((store, Some(warning)))
            }
            Err(error) => Ok((
                Self::temporary()?,
                Some(format!("{error}; results are not cached")),
            )),
        }
    }

    /// Opens the store for looking into it: nothing in it is created or changed. Falls back to an empty one if it
    /// cannot be believed, with a warning.
    pub(crate) fn for_reading(
        dir: Option<&Path>,
        waiting: &dyn Fn(),
    ) -> Result<(Self, Option<String>), OpenError> {
        let Some(dir) = dir else {
            return Ok((Self::temporary()?, None));
        };
        if let Err(distrust) = owner::examine(dir) {
            let warning = format!("{distrust}; results are not cached");
            return Ok((Self::temporary()?, Some(warning)));
        }
        let fail = OpenError::on(dir);
        let base = base_of(dir);
        let lock = std::fs::File::open(base.join("locks/store")).ok();
        if let Some(file) = lock.as_ref().filter(|_| Rule::StoreLock.holds()) {
            lock::take(file, false, waiting).map_err(&fail)?;
        }
        let store = Self {
            temporary: Some(memos(&base.join("memo")).map_err(&fail)?),
            base,
            writable: false,
            _lock: lock,
        };
        Ok((store, None))
    }

    /// Where memos are read and written: of a store that is only read, links to them in a temporary directory.
    #[must_use]
    pub(crate) fn memo_folder(&self) -> PathBuf {
        match &self.temporary {
            Some(own) if !self.writable => own.path().join("memo"),
            _ => self.folder("memo"),
        }
    }

    /// A store that is deleted after the run.
    pub(crate) fn temporary() -> Result<Self, OpenError> {
        let parent = std::env::temp_dir();
        let fail = OpenError::on(&parent);
        let temporary = tempfile::Builder::new()
            .prefix("dagcache-")
            .tempdir()
            .map_err(&fail)?;
        let base = temporary.path().join(LAYOUT);
        own::make_private(&base.join("locks")).map_err(&fail)?;
        Ok(Self {
            base,
            writable: true,
            _lock: None,
            temporary: Some(temporary),
        })
    }

    #[must_use]
    pub(crate) fn writable(&self) -> bool {
        self.writable
    }

    #[must_use]
    pub(crate) fn is_temporary(&self) -> bool {
        self.writable && self.temporary.is_some()
    }

    #[must_use]
    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    /// A directory of the store (`memo`, `rooms`, `layers`, `locks`).
    #[must_use]
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.base.join(name)
    }

    /// Records where a project is, so that its rooms can be pruned once it is gone.
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

    /// A store of another layout that knows this project, so that a miss can say why old results are unusable.
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

    /// A path relative to the cache directory, for messages.
    fn shown(&self, path: &Path) -> String {
        let folder = self.base.parent().unwrap_or(&self.base);
        path.strip_prefix(folder)
            .unwrap_or(path)
            .shown()
            .to_string()
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if !self.writable {
            return Ok(());
        }
        Ok(own::write(&self.base, path, bytes)?)
    }
}

/// The store in a cache directory, without links in its path: rooms are mounted, and links lead nowhere in them.
fn base_of(dir: &Path) -> PathBuf {
    let real = dir.canonicalize();
    real.as_deref().unwrap_or(dir).join(LAYOUT)
}

/// Links to the memos in a new directory. Writing one replaces the link.
fn memos(folder: &Path) -> io::Result<tempfile::TempDir> {
    let own = tempfile::Builder::new().prefix("dagcache-").tempdir()?;
    let to = own.path().join("memo");
    std::fs::create_dir(&to)?;
    for memo in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        std::os::unix::fs::symlink(memo.path(), to.join(memo.file_name()))?;
    }
    Ok(own)
}

/// Whether the name is `v` and a number.
fn is_layout(name: &str) -> bool {
    name.strip_prefix('v').is_some_and(|number| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Verifies a file and returns its body. The header line is `NAME VERSION SHA256-OF-THE-BODY`.
fn unseal<'a>(bytes: &'a [u8], name: &str, version: u32) -> Result<&'a [u8], String> {
    let end = bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or("truncated")?;
    let header = std::str::from_utf8(&bytes[..end]).map_err(|_| "damaged header")?;
    let mut words = header.split(' ');
    if words.next() != Some(name) {
        return Err("another kind of file".to_owned());
    }
    let found = words.next().unwrap_or_default();
    if found != version.to_string() && Rule::EntryFormat.holds() {
        return Err(format!(
            "stored by another version (format {found}, this one reads {version})"
        ));
    }
    let body = &bytes[end + 1..];
    let sum = words.next().and_then(|hex| hex.parse().ok());
    if sum != Some(Digest::of(body)) && Rule::EntryVerified.holds() {
        return Err("content does not match its checksum".to_owned());
    }
    Ok(body)
}

/// Whether the file is of this kind but of another format version, so another version of the program wrote it.
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
        assert!(warning.is_some_and(|text| text.contains("results are not cached")));
    }
}
