//! How much the store holds, by directory and by check.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::fs::own;
use crate::store::Store;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

impl Size {
    pub(super) fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) total: Size,
    /// Keys: `results`, `parts`, `blobs`, `rooms`, `layers`, `memo`, `runs`, `quarantined`, `kept`.
    pub(crate) folders: BTreeMap<&'static str, Size>,
    pub(crate) checks: BTreeMap<String, Size>,
}

/// Directory on disk and its display name.
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
    /// Measures the store. Reads every entry but no blob.
    #[must_use]
    pub(crate) fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        for (folder, word) in FOLDERS {
            for (path, bytes) in files_below(&self.base.join(folder)) {
                usage.total.add(bytes);
                usage.folders.entry(word).or_default().add(bytes);
                if *folder == "ac" {
                    let entry = own::read(&path)
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
    /// Records that a result was used, in its modification time. Precise to the day, so that look-ups seldom write.
    pub(super) fn note_use(&self, path: &Path, meta: &std::fs::Metadata) {
        let now = SystemTime::now();
        let age = meta
            .modified()
            .ok()
            .and_then(|last| now.duration_since(last).ok());
        if self.writable && age.is_some_and(|age| age > DAY) {
            // Only the order of pruning depends on it.
            let file = std::fs::File::open(path);
            let _ = file.and_then(|file| file.set_modified(now));
        }
    }

    /// The size of the store, at most once a day, because measuring stats every file.
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

/// All regular files below a directory and what they take on disk, without following links.
pub(super) fn files_below(dir: &Path) -> impl Iterator<Item = (std::path::PathBuf, u64)> + use<> {
    walkdir::WalkDir::new(dir)
        .follow_root_links(false)
        .into_iter()
        .flatten()
        .filter(|file| file.file_type().is_file())
        .map(|file| {
            // A file with holes takes less than its length.
            let bytes = file.metadata().map_or(0, |meta| meta.blocks() * 512);
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
