//! Clearing on request: everything, the results of some checks, or some layers.
//!
//! The plan is made and shown first. Applying it deletes only regular files and directories of this store and never
//! follows links. The caller holds the store exclusively.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::fs::own;
use crate::store::Store;
use crate::store::usage::{Size, files_below};
use crate::visible::Shown as _;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// Everything but run records.
    All,
    /// Results of this check and of its parts.
    Check(String),
    Layers(Vec<Digest>),
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ClearPlan {
    paths: Vec<PathBuf>,
    pub(crate) size: Size,
}

/// What [`Target::All`] empties, besides rooms. Run records stay because `cache status` reports from them.
const CLEARED: &[&str] = &[
    "ac",
    "parts",
    "reads",
    "cas",
    "trees",
    "last",
    "memo",
    "checkouts",
    "layers",
    "quarantine",
    "distrusted",
];

impl Store {
    /// A room in use stays, because its process would write into the next room of that name.
    #[must_use]
    pub(crate) fn plan_clear(
        &self,
        targets: &[Target],
        room_in_use: &dyn Fn(&Path) -> bool,
    ) -> ClearPlan {
        let mut paths = BTreeSet::new();
        for target in targets {
            match target {
                Target::All => {
                    paths.extend(CLEARED.iter().map(|folder| self.base.join(folder)));
                    paths.extend(self.free_rooms(room_in_use));
                }
                Target::Check(id) => paths.extend(self.results_of(id)),
                Target::Layers(keys) => {
                    paths.extend(
                        keys.iter()
                            .map(|key| self.base.join("layers").join(key.to_string())),
                    );
                }
            }
        }
        let mut plan = ClearPlan::default();
        for path in paths {
            for (_, bytes) in files_below(&path) {
                plan.size.files += 1;
                plan.size.bytes += bytes;
            }
            plan.paths.push(path);
        }
        plan
    }

    fn free_rooms(&self, in_use: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
        let rooms = self.base.join("rooms");
        if rooms.symlink_metadata().is_ok_and(|meta| meta.is_symlink()) {
            return vec![rooms];
        }
        let all = walkdir::WalkDir::new(rooms).min_depth(2).max_depth(2);
        let all = all.into_iter().flatten().map(walkdir::DirEntry::into_path);
        all.filter(|room| !in_use(room)).collect()
    }

    fn results_of(&self, id: &str) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        for (path, _) in files_below(&self.base.join("ac")) {
            let entry = own::read(&path)
                .ok()
                .and_then(|bytes| super::entry::parse(&bytes).ok());
            let Some(entry) = entry.filter(|entry| entry.check == id) else {
                continue;
            };
            paths.push(path);
            if let Some(common) = entry.common {
                paths.push(self.sharded("parts", &common));
            }
        }
        paths
    }

    pub(crate) fn apply_clear(&self, plan: &ClearPlan) -> io::Result<()> {
        for path in &plan.paths {
            crate::fs::remove::remove(path).map_err(|error| {
                io::Error::new(
                    error.kind(),
                    format!("cannot delete {}: {error}", path.shown()),
                )
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::entry::{Lookup, sample};

    #[test]
    fn clearing_a_check_makes_exactly_that_check_miss() {
        let store = Store::temporary().expect("store");
        let (mine, other) = (Digest::of(b"mine"), Digest::of(b"other"));
        store.save(&sample(mine)).expect("save");
        store
            .save(&crate::store::entry::Entry {
                check: "d".into(),
                ..sample(other)
            })
            .expect("save");
        let plan = store.plan_clear(&[Target::Check("c".into())], &|_| false);
        assert_eq!(plan.size.files, 1);
        store.apply_clear(&plan).expect("clear");
        assert!(matches!(store.lookup(&mine), Lookup::Absent));
        assert!(matches!(store.lookup(&other), Lookup::Hit(_)));
    }

    #[test]
    fn clearing_all_follows_no_link() {
        let store = Store::temporary().expect("store");
        let outside = tempfile::tempdir().expect("dir");
        std::fs::write(outside.path().join("keep"), "x").expect("write");
        std::os::unix::fs::symlink(outside.path(), store.base().join("rooms")).expect("link");
        store
            .apply_clear(&store.plan_clear(&[Target::All], &|_| false))
            .expect("clear");
        assert!(outside.path().join("keep").exists());
    }
}
