//! Re-reads the whole store: does every file match its name and checksum, and is everything it refers to there?
//!
//! Only reports; the caller quarantines what is damaged. Safe while checks run, because files appear complete and
//! after what they refer to. Leftovers of killed runs (temporary files, a torn line of a run record) and files of
//! other format versions are not damage: nothing reads them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::fs::own;
use crate::key::tree::Tree;
use crate::snapshot::content::hash_path;
use crate::store::usage::Size;
use crate::store::{Store, entry, last, other_format, parts, reads, unseal};

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verified {
    pub(crate) entries: u64,
    pub(crate) blobs: u64,
    pub(crate) read: Size,
    pub(crate) damaged: Vec<Damaged>,
    /// Leftovers of killed runs.
    pub(crate) debris: Size,
    pub(crate) foreign: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Damaged {
    pub(crate) path: PathBuf,
    /// Predicate for messages: "content does not match its name".
    pub(crate) reason: String,
}

enum Finding {
    Sound,
    Foreign,
    Wrong(String),
}

impl Finding {
    fn of(found: Result<(), String>) -> Self {
        found.map_or_else(Self::Wrong, |()| Self::Sound)
    }
}

impl Store {
    /// Reads everything except rooms and layers, which the engine inspects.
    #[must_use]
    pub(crate) fn verify(&self) -> Verified {
        let mut verified = Verified::default();
        let mut blobs = HashSet::new();
        verified.blobs = self.each("cas", &mut verified, |path| {
            let digest = named(path)?;
            if digest_of(path)? != digest {
                return Err("content does not match its name".to_owned());
            }
            blobs.insert(digest);
            Ok(Finding::Sound)
        });
        let trees = self.each("trees", &mut verified, |path| {
            let (digest, object) = (named(path)?, read(path)?);
            // Listings from before there were trees.
            if object.starts_with(b"dagcache-tree 1 ") {
                return Ok(Finding::Foreign);
            }
            let whole = Digest::of(&object) == digest && Tree::decode(&object).is_some();
            let wrong = "content does not match its name".to_owned();
            Ok(Finding::of(whole.then_some(()).ok_or(wrong)))
        });
        verified.blobs += trees;
        let there = |digest: &Digest| {
            let missing = format!("refers to blob {digest}, which is missing or damaged");
            blobs.contains(digest).then_some(()).ok_or(missing)
        };
        verified.entries = self.each("ac", &mut verified, |path| {
            let key = named(path)?;
            sealed(path, entry::NAME, entry::FORMAT, |bytes| {
                let entry = entry::parse(bytes)?;
                if entry.key != key {
                    return Err("belongs to another key".to_owned());
                }
                entry.blobs().iter().try_for_each(there)
            })
        });
        verified.entries += self.each("parts", &mut verified, |path| {
            let common = named(path)?;
            sealed(path, parts::NAME, parts::FORMAT, |bytes| {
                let pack = parts::parse(bytes, &common).ok_or("belongs to another check")?;
                parts::blobs(&pack).iter().try_for_each(there)
            })
        });
        self.each("reads", &mut verified, |path| {
            let weak = named(path)?;
            sealed(path, reads::NAME, reads::FORMAT, |bytes| {
                let known = reads::parse(bytes, &weak).ok_or("belongs to another check")?;
                known.sets.iter().try_for_each(there)
            })
        });
        self.each("last", &mut verified, |path| {
            sealed(path, last::NAME, last::FORMAT, |bytes| {
                last::parse(bytes)
                    .map(|_| ())
                    .ok_or("cannot parse it".to_owned())
            })
        });
        self.each("memo", &mut verified, |path| {
            let whole = crate::fs::sealed::is_whole(&read(path)?);
            let wrong = "content does not match its checksum".to_owned();
            Ok(Finding::of(whole.then_some(()).ok_or(wrong)))
        });
        self.each("runs", &mut verified, |_| Ok(Finding::Sound));
        verified
    }

    /// Verifies every file below a directory and returns their number.
    fn each(
        &self,
        folder: &str,
        verified: &mut Verified,
        mut look: impl FnMut(&Path) -> Result<Finding, String>,
    ) -> u64 {
        let mut number = 0;
        let files = walkdir::WalkDir::new(self.base.join(folder))
            .follow_root_links(false)
            .sort_by_file_name();
        for file in files {
            let file = match file {
                Ok(file) => file,
                // Deleted in the meantime, or never existed.
                Err(error) if is_absent(error.io_error()) => continue,
                Err(error) => {
                    let path = error.path().unwrap_or(&self.base).to_owned();
                    let reason = error.to_string();
                    verified.damaged.push(Damaged { path, reason });
                    continue;
                }
            };
            if file.file_type().is_dir() {
                continue;
            }
            let bytes = file.metadata().map_or(0, |meta| meta.len());
            if is_temporary(file.path()) {
                verified.debris.add(bytes);
                continue;
            }
            number += 1;
            verified.read.add(bytes);
            let found = if file.file_type().is_file() {
                look(file.path()).unwrap_or_else(Finding::Wrong)
            } else {
                Finding::Wrong("not a regular file".to_owned())
            };
            match found {
                Finding::Sound => {}
                Finding::Foreign => verified.foreign += 1,
                Finding::Wrong(_) if file.path().symlink_metadata().is_err() => number -= 1,
                Finding::Wrong(reason) => verified.damaged.push(Damaged {
                    path: file.into_path(),
                    reason,
                }),
            }
        }
        number
    }
}

/// Whether a file is still being written: it gets its final name when complete.
pub(super) fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.as_encoded_bytes().starts_with(b".tmp")
}

fn is_absent(error: Option<&std::io::Error>) -> bool {
    error.is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// The digest in a file's name; the directory must match its first two digits.
fn named(path: &Path) -> Result<Digest, String> {
    let name = path.file_name().and_then(|name| name.to_str());
    let folder = path.parent().and_then(Path::file_name);
    let digest = name.and_then(|name| name.parse::<Digest>().ok());
    let sharded = |digest: &Digest| folder.is_some_and(|f| *f == digest.to_string()[..2]);
    digest.filter(sharded).ok_or_else(|| {
        "file name is not a digest, or the file is in the wrong directory".to_owned()
    })
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    own::read(path).map_err(|error| format!("cannot read it: {error}"))
}

fn digest_of(path: &Path) -> Result<Digest, String> {
    let content = hash_path(path).map_err(|error| format!("cannot read it: {error}"))?;
    Ok(content.digest)
}

/// Verifies a sealed file and passes its body to `look`.
fn sealed(
    path: &Path,
    name: &str,
    version: u32,
    look: impl Fn(&[u8]) -> Result<(), String>,
) -> Result<Finding, String> {
    let bytes = read(path)?;
    if other_format(&bytes, name, version) {
        return Ok(Finding::Foreign);
    }
    unseal(&bytes, name, version)?;
    Ok(Finding::of(look(&bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::parts::{PartResult, Said};

    fn filled() -> Store {
        let store = Store::temporary().expect("store");
        let mut entry = entry::sample(Digest::of(b"k"));
        entry.fingerprint = store.put_blob(b"{}").expect("blob");
        store.save(&entry).expect("save");
        let said = Said {
            stdout: "text".into(),
            ..Said::default()
        };
        let result = PartResult {
            said,
            ..PartResult::default()
        };
        let common = Digest::of(b"common");
        store
            .add_parts(&common, &[(common, result)].into(), &[], 1)
            .expect("save");
        store.save_last("p", &last::Last::default()).expect("save");
        store
    }

    #[test]
    fn a_sound_store_is_found_sound() {
        let verified = filled().verify();
        assert_eq!(verified.damaged, []);
        assert_eq!((verified.entries, verified.blobs), (2, 2));
        assert_eq!(verified.read.files, 5);
    }

    #[test]
    fn a_lost_blob_is_damage_of_what_names_it() {
        let store = filled();
        std::fs::remove_dir_all(store.base().join("cas")).expect("remove");
        let damaged = store.verify().damaged;
        assert_eq!(damaged.len(), 2);
        assert!(
            damaged
                .iter()
                .all(|file| file.reason.contains("is missing or damaged"))
        );
    }

    #[test]
    fn what_another_version_wrote_and_what_the_killed_left_is_no_damage() {
        let store = filled();
        let key = Digest::of(b"newer");
        let newer = crate::store::seal(entry::NAME, entry::FORMAT + 1, b"new");
        store
            .write(&store.sharded("ac", &key), &newer)
            .expect("write");
        store
            .write(&store.base().join("cas/.tmpXYZ"), b"half")
            .expect("write");
        let verified = store.verify();
        assert_eq!(verified.damaged, []);
        assert_eq!((verified.foreign, verified.debris.files), (1, 1));
    }

    #[test]
    fn a_link_and_a_wrong_name_are_damage() {
        let store = filled();
        let elsewhere = tempfile::NamedTempFile::new().expect("file");
        std::os::unix::fs::symlink(elsewhere.path(), store.base().join("memo")).expect("link");
        store
            .write(&store.base().join("cas/zz/x"), b"x")
            .expect("write");
        let reasons: Vec<_> = store
            .verify()
            .damaged
            .into_iter()
            .map(|d| d.reason)
            .collect();
        assert_eq!(reasons.len(), 2, "{reasons:?}");
        assert!(
            reasons[0].contains("name") && reasons[1].contains("regular"),
            "{reasons:?}"
        );
    }
}
