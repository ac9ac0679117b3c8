//! How much the store holds, by folder and by check.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::store::Store;

/// Size of one group of files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Size {
    /// Number of files.
    pub(crate) files: u64,
    /// Bytes of content.
    pub(crate) bytes: u64,
}

impl Size {
    pub(super) fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }
}

/// Sizes of a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Everything.
    pub(crate) total: Size,
    /// By folder: `results`, `parts`, `blobs`, `rooms`, `layers`, `memo`, `runs`, `quarantined`, `kept`.
    pub(crate) folders: BTreeMap<&'static str, Size>,
    /// Stored results by check id.
    pub(crate) checks: BTreeMap<String, Size>,
}

/// Folder on disk and the word for it.
const FOLDERS: &[(&str, &str)] = &[
    ("ac", "results"),
    ("parts", "parts"),
    ("cas", "blobs"),
    ("trees", "blobs"),
    ("reads", "blobs"),
    ("kept", "kept"),
    ("distrusted", "quarantined"),
    ("rooms", "rooms"),
    ("layers", "layers"),
    ("memo", "memo"),
    ("last", "memo"),
    ("checkouts", "memo"),
    ("runs", "runs"),
    ("quarantine", "quarantined"),
];

impl Store {
    /// Measures the store. Reads every entry, but no blob.
    #[must_use]
    pub(crate) fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        for (folder, word) in FOLDERS {
            for (path, bytes) in files_below(&self.base.join(folder)) {
                usage.total.add(bytes);
                usage.folders.entry(word).or_default().add(bytes);
                if *folder == "ac" {
                    let entry = std::fs::read(&path)
                        .ok()
                        .and_then(|bytes| super::entry::parse(&bytes).ok());
                    let check = entry.map_or_else(|| "(damaged)".to_owned(), |entry| entry.check);
                    usage.checks.entry(check).or_default().add(bytes);
                }
            }
        }
        usage
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Store {
    /// Notes that a result was used: its modification time is its last use, to the day, so that a look-up seldom
    /// writes.
    pub(super) fn note_use(&self, path: &Path, meta: &std::fs::Metadata) {
        let now = SystemTime::now();
        let age = meta
            .modified()
            .ok()
            .and_then(|last| now.duration_since(last).ok());
        if self.writable && age.is_some_and(|age| age > DAY) {
            // Only what is pruned first depends on it.
            let file = std::fs::File::open(path);
            let _ = file.and_then(|file| file.set_modified(now));
        }
    }

    /// The size of the store, if it was not measured for a day: that costs a look at every file.
    #[must_use]
    pub(crate) fn measure_daily(&self) -> Option<Size> {
        if !self.writable || self.is_temporary() {
            return None;
        }
        let stamp = self.base.join("measured");
        let last = std::fs::metadata(&stamp).and_then(|meta| meta.modified());
        let recent = |last| {
            SystemTime::now()
                .duration_since(last)
                .is_ok_and(|age| age < DAY)
        };
        if last.is_ok_and(recent) {
            return None;
        }
        self.write(&stamp, b"").ok()?;
        let mut size = Size::default();
        for (_, bytes) in files_below(&self.base) {
            size.add(bytes);
        }
        Some(size)
    }
}

/// All plain files below a folder with their sizes; links are not followed.
pub(super) fn files_below(dir: &Path) -> impl Iterator<Item = (std::path::PathBuf, u64)> + use<> {
    walkdir::WalkDir::new(dir)
        .follow_root_links(false)
        .into_iter()
        .flatten()
        .filter(|file| file.file_type().is_file())
        .map(|file| {
            let bytes = file.metadata().map_or(0, |meta| meta.len());
            (file.into_path(), bytes)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    #[test]
    fn counts_results_by_check() {
        let store = Store::temporary().expect("store");
        store
            .save(&crate::store::entry::sample(Digest::of(b"1")))
            .expect("save");
        store
            .save(&crate::store::entry::sample(Digest::of(b"2")))
            .expect("save");
        let usage = store.usage();
        assert_eq!(usage.checks["c"].files, 2);
        assert_eq!(usage.folders["results"], usage.checks["c"]);
        assert_eq!(usage.total.files, 2);
    }
}
