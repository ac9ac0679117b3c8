//! Damaged and wrong files are moved here: never served again, but available for inspection until pruned or cleared.
//!
//! ```text
//! quarantine/<date>/reasons.txt      a line for each file: its path, and why
//! quarantine/<date>/ac/ab/<key>      the file, at the path it had in the store
//! ```
//! Safe while checks run: if a run has just rewritten the file, that costs a miss.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::digest::Digest;
use crate::fs::own;
use crate::store::Store;
use crate::visible::Shown as _;

impl Store {
    /// Moves the results of a key and of its parts to the quarantine.
    pub(crate) fn quarantine(&self, key: &Digest, why: &str) -> io::Result<()> {
        let path = self.sharded("ac", key);
        let entry = own::read(&path).ok();
        let entry = entry.and_then(|bytes| super::entry::parse(&bytes).ok());
        self.set_aside(&path, why)?;
        match entry.and_then(|entry| entry.common) {
            Some(common) => self.set_aside(&self.sharded("parts", &common), why),
            None => Ok(()),
        }
    }

    /// Moves one file to the quarantine. A missing file is fine; a link is moved, not followed.
    pub(crate) fn set_aside(&self, path: &Path, why: &str) -> io::Result<()> {
        let below = path
            .strip_prefix(&self.base)
            .map_err(|_| io::Error::other(format!("{} is not in the store", path.shown())))?;
        let today = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let today = today.split('T').next().unwrap_or_default();
        let folder = self.base.join("quarantine").join(today);
        let target = free_name(&folder.join(below));
        own::make_parent(&self.base, &target)?;
        match std::fs::rename(path, &target) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        }
        let mut reasons = own::open(&folder.join("reasons.txt"))?;
        let name = target.strip_prefix(&folder).unwrap_or(below).shown();
        reasons.write_all(format!("{name}: {}\n", why.replace('\n', " ")).as_bytes())
    }
}

/// Returns the path, with a number appended if it is taken.
fn free_name(path: &Path) -> PathBuf {
    let numbered = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    let taken = |path: &PathBuf| path.symlink_metadata().is_ok();
    std::iter::once(path.to_owned())
        .chain((2..).map(numbered))
        .find(|path| !taken(path))
        .unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::entry::{Lookup, sample};

    #[test]
    fn what_is_set_aside_is_not_served_and_still_there() {
        let store = Store::temporary().expect("store");
        let key = Digest::of(b"k");
        for _ in 0..2 {
            store.save(&sample(key)).expect("save");
            store.quarantine(&key, "it\nlied").expect("quarantine");
            assert!(matches!(store.lookup(&key), Lookup::Absent));
        }
        store.quarantine(&key, "gone").expect("nothing to do");
        let kept: Vec<_> = crate::store::usage::files_below(&store.base.join("quarantine"))
            .map(|(path, _)| path)
            .collect();
        assert_eq!(kept.len(), 3, "{kept:?}");
        let reasons = kept.iter().find(|path| path.ends_with("reasons.txt"));
        let text = std::fs::read_to_string(reasons.expect("reasons")).expect("text");
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains(&key.to_string()) && text.contains(": it lied"));
    }

    #[test]
    fn nothing_foreign_is_moved() {
        let store = Store::temporary().expect("store");
        let foreign = tempfile::NamedTempFile::new().expect("file");
        assert!(store.set_aside(foreign.path(), "no").is_err());
        assert!(foreign.path().exists());
    }
}
