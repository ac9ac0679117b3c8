//! An index and a work tree of our own, in a temporary folder: git tells there what a checkout would give, and writes
//! nothing anywhere else.

use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::snapshot::staged::convert::{ATTRIBUTES, Settings, converts, os_path};
use crate::snapshot::staged::git::Staging;
use crate::snapshot::staged::object::{Listed, What};
use crate::snapshot::{Kind, SnapshotError};

/// The folder, made at the first need.
#[derive(Debug, Default)]
pub(crate) struct Private {
    dir: Mutex<Option<tempfile::TempDir>>,
    /// Held while git works there, and while something is read: nobody sees half a file.
    work: Mutex<()>,
}

impl Private {
    /// For each of `files`, whether a checkout converts it. `attributes` are all files of attributes in the commit.
    pub(crate) fn converted(
        &self,
        staging: &Staging,
        settings: &Settings,
        attributes: &[Listed],
        files: &[&Listed],
    ) -> Result<Vec<bool>, SnapshotError> {
        let _alone = self.alone();
        let args = [
            &["check-attr", "--cached", "-z", "--stdin"][..],
            &ATTRIBUTES,
        ]
        .concat();
        let said = self.run(staging, attributes, &[], &args, &paths(files))?;
        let fields: Vec<&[u8]> = said.split(|byte| *byte == 0).collect();
        // Three fields (path, name, value) for each attribute of each file.
        let mut found = Vec::with_capacity(files.len());
        for (file, fields) in files.iter().zip(fields.chunks(3 * ATTRIBUTES.len())) {
            let mut values: [&[u8]; ATTRIBUTES.len()] = [b"unspecified"; ATTRIBUTES.len()];
            let mut triples = fields.chunks(3);
            for value in &mut values {
                match triples.next() {
                    Some([path, _, told]) if *path == file.path => *value = told,
                    _ => {
                        return Err(staging.failed("`git check-attr` printed something unexpected"));
                    }
                }
            }
            found.push(converts(&values, settings));
        }
        if found.len() == files.len() {
            return Ok(found);
        }
        Err(staging.failed("`git check-attr` printed too little"))
    }

    /// Checks files out, unless they are already.
    pub(crate) fn check_out(
        &self,
        staging: &Staging,
        attributes: &[Listed],
        files: &[&Listed],
    ) -> Result<(), SnapshotError> {
        let _alone = self.alone();
        let tree = self.places(staging)?.1;
        let new: Vec<&Listed> = files
            .iter()
            .copied()
            .filter(|file| tree.join(os_path(&file.path)).symlink_metadata().is_err())
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        let args = ["checkout-index", "-z", "--stdin", "--force"];
        self.run(staging, attributes, &new, &args, &paths(&new))
            .map(|_| ())
    }

    /// The content of a file that was checked out.
    pub(crate) fn read(&self, staging: &Staging, file: &Listed) -> io::Result<Vec<u8>> {
        let _alone = self.alone();
        let (_, tree) = self.places(staging).map_err(io::Error::other)?;
        std::fs::read(tree.join(os_path(&file.path)))
    }

    /// Runs git where `files` and `attributes` are all that is in the index.
    fn run(
        &self,
        staging: &Staging,
        attributes: &[Listed],
        files: &[&Listed],
        args: &[&str],
        input: &[u8],
    ) -> Result<Vec<u8>, SnapshotError> {
        let (index, tree) = self.places(staging)?;
        let mut lines = Vec::new();
        for file in attributes.iter().chain(files.iter().copied()) {
            let mode = match file.what {
                What::File(Kind::File) => "100644",
                What::File(Kind::Executable) => "100755",
                What::File(Kind::Symlink) | What::Gitlink => continue,
            };
            lines.extend_from_slice(format!("{mode} {} 0\t", file.id).as_bytes());
            lines.extend_from_slice(&file.path);
            lines.push(0);
        }
        staging.run(
            &["update-index", "-z", "--index-info"],
            &tree,
            &index,
            lines,
        )?;
        staging.run(args, &tree, &index, input.to_vec())
    }

    fn alone(&self) -> MutexGuard<'_, ()> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The index and the work tree.
    fn places(&self, staging: &Staging) -> Result<(PathBuf, PathBuf), SnapshotError> {
        let mut dir = self.dir.lock().unwrap_or_else(PoisonError::into_inner);
        if dir.is_none() {
            let made = tempfile::tempdir().and_then(|made| {
                std::fs::create_dir(made.path().join("tree"))?;
                Ok(made)
            });
            *dir = Some(made.map_err(|error| {
                staging.failed(&format!("no temporary folder can be made: {error}"))
            })?);
        }
        let path = dir.as_ref().map(|dir| dir.path().to_path_buf());
        let path = path.unwrap_or_default();
        Ok((path.join("index"), path.join("tree")))
    }
}

fn paths(files: &[&Listed]) -> Vec<u8> {
    let mut all = Vec::new();
    for file in files {
        all.extend_from_slice(&file.path);
        all.push(0);
    }
    all
}
