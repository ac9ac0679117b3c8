//! Stages fixed content: in the index that becomes the commit and, if that is a temporary one (`git commit PATH`),
//! also in the permanent one.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use crate::snapshot::staged::git::Staging;
use crate::snapshot::staged::object::{Listed, ObjectId, What};
use crate::snapshot::{Contents, FileId, Kind, Snapshot, SnapshotError};

impl Snapshot {
    /// The files that differ from HEAD. All files, if there is no HEAD.
    pub(crate) fn changed(&self, staging: &Staging) -> Result<BTreeSet<FileId>, SnapshotError> {
        let Contents::Git(held) = &self.contents else {
            return Ok(BTreeSet::new());
        };
        let before = match staging.head() {
            Some(head) => super::parsed(staging, &super::tree(staging, &head)?)?,
            None => Vec::new(),
        };
        let before = before.into_iter().map(|file| (file.path, file.id));
        let before: HashMap<Vec<u8>, ObjectId> = before.collect();
        let strip = staging.repository.prefix_of(self.root());
        let ids = (0..).zip(self.entries.iter().zip(&held.files));
        let changed = ids.filter(|(_, (entry, file))| {
            let path = [&strip, entry.path.as_bytes()].concat();
            // A submodule's files are not part of the commit.
            file.source == 0 && before.get(&path) != Some(&file.id)
        });
        Ok(changed.map(|(id, _)| id).collect())
    }

    /// Whether [`Snapshot::stage`] can stage other content for a file: not in a submodule, not if a checkout converts
    /// it, and not if git ignores the file on disk.
    #[must_use]
    pub(crate) fn can_stage(&self, file: FileId) -> bool {
        match &self.contents {
            Contents::Git(held) => held
                .files
                .get(file as usize)
                .is_some_and(|file| file.source == 0 && file.converted.is_none() && !file.apart),
            Contents::Disk => false,
            #[cfg(test)]
            Contents::Memory(_) => false,
        }
    }

    /// Stages other content for files of this snapshot, as long as they are still staged unchanged.
    pub(crate) fn stage(
        &self,
        staging: &Staging,
        files: &[(FileId, &[u8])],
    ) -> Result<(), SnapshotError> {
        let Contents::Git(held) = &self.contents else {
            return Ok(());
        };
        let strip = staging.repository.prefix_of(self.root());
        let mut changes = Vec::new();
        for (file, bytes) in files.iter().filter(|(file, _)| self.can_stage(*file)) {
            let Some(known) = held.files.get(*file as usize) else {
                continue;
            };
            let entry = self.entry(*file);
            let listed = Listed {
                path: [&strip, entry.path.as_bytes()].concat(),
                what: What::File(entry.kind),
                id: known.id,
                apart: false,
            };
            changes.push((listed, write(staging, bytes)?));
        }
        for index in indexes(staging) {
            update(staging, &index, &changes)?;
        }
        Ok(())
    }
}

/// The index of the commit and, if it is a temporary one, the permanent index that git updates afterwards.
fn indexes(staging: &Staging) -> Vec<PathBuf> {
    let mut all = vec![staging.index.clone()];
    let name = staging.index.file_name().unwrap_or_default();
    if name.as_encoded_bytes().starts_with(b"next-index-") {
        let stays = staging.repository.git_dir.join("index.lock");
        all.extend(Some(stays).filter(|path| path.is_file()));
    }
    all
}

/// Writes a blob.
fn write(staging: &Staging, bytes: &[u8]) -> Result<ObjectId, SnapshotError> {
    let args = ["hash-object", "-w", "--stdin", "--no-filters"];
    let said = staging.run(&args, staging.top(), &staging.index, bytes.to_vec())?;
    let id = ObjectId::from_hex(said.trim_ascii());
    id.ok_or_else(|| staging.failed("`git hash-object` printed unexpected output"))
}

fn update(
    staging: &Staging,
    index: &Path,
    changes: &[(Listed, ObjectId)],
) -> Result<(), SnapshotError> {
    let now = staging.with_index(index);
    let now = super::index(&now)?;
    let mut lines = Vec::new();
    for (before, id) in changes {
        // Somebody may have staged something else in the meantime.
        if !now.listed.contains(before) {
            continue;
        }
        let mode = match before.what {
            What::File(Kind::Executable) => "100755",
            _ => "100644",
        };
        lines.extend_from_slice(format!("{mode} {id} 0\t").as_bytes());
        lines.extend_from_slice(&before.path);
        lines.push(0);
    }
    if lines.is_empty() {
        return Ok(());
    }
    staging.write_index(index, lines)
}

/// Merges `ours` and `theirs`, both changed from `base`, as git does; `None` if they conflict.
pub(crate) fn merge(
    staging: &Staging,
    ours: &[u8],
    base: &[u8],
    theirs: &[u8],
) -> Result<Option<Vec<u8>>, SnapshotError> {
    let written = || -> std::io::Result<_> {
        let dir = tempfile::tempdir()?;
        for (name, bytes) in [("ours", ours), ("base", base), ("theirs", theirs)] {
            std::fs::write(dir.path().join(name), bytes)?;
        }
        Ok(dir)
    };
    let dir = written().map_err(|error| staging.failed(&error.to_string()))?;
    let args = ["merge-file", "-p", "--quiet", "ours", "base", "theirs"];
    // Fails with the number of conflicts, and for binary files.
    Ok(staging
        .run(&args, dir.path(), &staging.index, Vec::new())
        .ok())
}
