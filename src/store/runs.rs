//! Run records: one JSON line per run, one file per day, appended in a single write. Damaged lines are skipped.

use std::io::{self, Write as _};

use crate::fs::own;
use crate::record::RunRecord;
use crate::store::Store;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// Older files are deleted on the first run of a day.
const KEEP_DAYS: u64 = 90;

impl Store {
    pub(crate) fn append_run(&self, record: &RunRecord) -> io::Result<()> {
        if !self.writable {
            return Ok(());
        }
        let day = record.started_ms / DAY_MS;
        let path = self.base.join("runs").join(format!("{day}.jsonl"));
        let mut line = serde_json::to_vec(record).map_err(io::Error::other)?;
        line.push(b'\n');
        if path.symlink_metadata().is_err() {
            own::make_parent(&self.base, &path)?;
            self.forget_days_before(day.saturating_sub(KEEP_DAYS));
        }
        let mut file = own::open(&path)?;
        // A killed writer or a full disk may have left an incomplete line.
        if !ends_a_line(&file) {
            line.insert(0, b'\n');
        }
        file.write_all(&line)
    }

    fn forget_days_before(&self, first: u64) {
        for (day, path) in self.run_days() {
            if day < first {
                let _ = std::fs::remove_file(path);
            }
        }
    }

    fn run_days(&self) -> Vec<(u64, std::path::PathBuf)> {
        let Ok(folder) = std::fs::read_dir(self.base.join("runs")) else {
            return Vec::new();
        };
        let mut days: Vec<_> = folder
            .flatten()
            .filter_map(|file| {
                let name = file.file_name();
                let day = name.to_str()?.strip_suffix(".jsonl")?.parse().ok()?;
                Some((day, file.path()))
            })
            .collect();
        days.sort();
        days
    }

    /// Records of runs started at or after `since_ms`, oldest first.
    #[must_use]
    pub(crate) fn runs(&self, since_ms: u64) -> Vec<RunRecord> {
        let mut records = Vec::new();
        for (day, path) in self.run_days() {
            if day < since_ms / DAY_MS {
                continue;
            }
            let Ok(bytes) = own::read(path) else {
                continue;
            };
            let lines = bytes.split(|byte| *byte == b'\n');
            records.extend(
                lines
                    .filter_map(|line| serde_json::from_slice::<RunRecord>(line).ok())
                    .filter(|record| record.started_ms >= since_ms),
            );
        }
        records
    }
}

fn ends_a_line(file: &std::fs::File) -> bool {
    use std::os::unix::fs::FileExt as _;
    let Some(last) = file
        .metadata()
        .ok()
        .and_then(|meta| meta.len().checked_sub(1))
    else {
        return true;
    };
    let mut byte = [0];
    file.read_exact_at(&mut byte, last).is_err() || byte == *b"\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Verdict;

    fn record(started_ms: u64) -> RunRecord {
        RunRecord {
            started_ms,
            duration_ms: 1,
            command: "lint".into(),
            project: "p".into(),
            engine: "local".into(),
            verdict: Verdict::Passed,
            saved_ms: -1,
            checks: vec![],
        }
    }

    #[test]
    fn records_come_back_and_a_damaged_line_is_passed_over() {
        let store = Store::temporary().expect("store");
        store.append_run(&record(5)).expect("append");
        let path = store.base().join("runs/0.jsonl");
        let mut bytes = std::fs::read(&path).expect("read");
        bytes.extend_from_slice(b"{\"broken\n");
        std::fs::write(&path, bytes).expect("damage");
        store.append_run(&record(DAY_MS + 1)).expect("append");
        store.append_run(&record(7)).expect("append");
        assert_eq!(
            store
                .runs(0)
                .iter()
                .map(|r| r.started_ms)
                .collect::<Vec<_>>(),
            [5, 7, DAY_MS + 1]
        );
        assert_eq!(store.runs(DAY_MS).len(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn nothing_is_appended_through_a_link() {
        let store = Store::temporary().expect("store");
        let other = tempfile::NamedTempFile::new().expect("file");
        std::fs::create_dir_all(store.folder("runs")).expect("folder");
        let link = store.folder("runs").join("0.jsonl");
        std::os::unix::fs::symlink(other.path(), link).expect("link");
        assert!(store.append_run(&record(5)).is_err());
        assert_eq!(std::fs::read(other.path()).expect("content"), b"");
    }

    proptest::proptest! {
        #[test]
        fn whatever_else_is_in_the_file_a_whole_line_counts(
            bytes in crate::testing::damaged(br#"{"started_ms":5,"duration_ms":1,"command":"lint","checks":[]}"#),
        ) {
            let store = Store::temporary().expect("store");
            std::fs::create_dir_all(store.folder("runs")).expect("folder");
            std::fs::write(store.folder("runs").join("0.jsonl"), [&bytes[..], b"\n"].concat()).expect("write");
            store.append_run(&record(7)).expect("append");
            let last = store.runs(0).pop().map(|record| record.started_ms);
            proptest::prop_assert_eq!(last, Some(7));
        }
    }
}
