//! A private index and work tree in a folder of the store, in which git checks files out without writing anything
//! elsewhere. If a run is killed, a later one removes its folder.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::process::quoted;
use crate::snapshot::staged::convert::{ATTRIBUTES, How, Settings, how, os_path};
use crate::snapshot::staged::git::Staging;
use crate::snapshot::staged::object::{Listed, What};
use crate::snapshot::{Kind, SnapshotError};

/// Older folders were left by killed runs.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// Created on first use.
#[derive(Debug)]
pub(crate) struct Private {
    within: PathBuf,
    dir: Mutex<Option<tempfile::TempDir>>,
    /// Held while git works there and while files are read, so that nobody reads a partial file.
    work: Mutex<()>,
}

impl Private {
    /// Located next to the store's folder for memos.
    pub(crate) fn new(memo_dir: &Path) -> Self {
        Self {
            within: memo_dir.with_file_name("checkouts"),
            dir: Mutex::default(),
            work: Mutex::default(),
        }
    }

    /// What a checkout does with each of `files`. `attributes` lists all attribute files of the commit.
    pub(crate) fn how(
        &self,
        staging: &Staging,
        settings: &Settings,
        attributes: &[Listed],
        files: &[&Listed],
    ) -> Result<Vec<How>, SnapshotError> {
        let _alone = self.alone();
        let args = [
            &["check-attr", "--cached", "-z", "--stdin"][..],
            &ATTRIBUTES,
        ]
        .concat();
        let said = self.run(staging, attributes, &[], &args, &paths(files))?;
        let fields: Vec<&[u8]> = said.split(|byte| *byte == 0).collect();
        // Three fields (path, name, value) per attribute and file.
        let mut found = Vec::with_capacity(files.len());
        for (file, fields) in files.iter().zip(fields.chunks(3 * ATTRIBUTES.len())) {
            let mut values: [&[u8]; ATTRIBUTES.len()] = [b"unspecified"; ATTRIBUTES.len()];
            let mut triples = fields.chunks(3);
            for value in &mut values {
                match triples.next() {
                    Some([path, _, told]) if *path == file.path => *value = told,
                    _ => {
                        return Err(staging.failed("`git check-attr` printed unexpected output"));
                    }
                }
            }
            found.push(how(&values, settings));
        }
        if found.len() == files.len() {
            return Ok(found);
        }
        Err(staging.failed("`git check-attr` printed truncated output"))
    }

    /// Checks files out unless they already are.
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
        let mut args = Vec::new();
        for setting in programs(staging) {
            args.extend(["-c".to_owned(), setting]);
        }
        let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
        args.extend(["checkout-index", "-z", "--stdin", "--force"]);
        self.run(staging, attributes, &new, &args, &paths(&new))
            .map(|_| ())
    }

    /// Opens a checked-out file.
    pub(crate) fn open(&self, staging: &Staging, file: &Listed) -> io::Result<File> {
        let _alone = self.alone();
        let (_, tree) = self.places(staging).map_err(io::Error::other)?;
        crate::fs::open(tree.join(os_path(&file.path)))
    }

    /// Runs git with an index that contains only `files` and `attributes`.
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

    /// In the store, or in the temporary directory of the system if the store is not writable.
    fn make(&self) -> io::Result<tempfile::TempDir> {
        let make = || {
            std::fs::create_dir_all(&self.within)?;
            tempfile::tempdir_in(&self.within)
        };
        let made = make().or_else(|_| tempfile::tempdir());
        for old in std::fs::read_dir(&self.within)
            .into_iter()
            .flatten()
            .flatten()
        {
            let age = old.metadata().and_then(|meta| meta.modified());
            let age = age.ok().and_then(|time| time.elapsed().ok());
            if age.is_some_and(|age| age > ABANDONED) {
                let _ = std::fs::remove_dir_all(old.path());
            }
        }
        made
    }

    fn alone(&self) -> MutexGuard<'_, ()> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn places(&self, staging: &Staging) -> Result<(PathBuf, PathBuf), SnapshotError> {
        let mut dir = self.dir.lock().unwrap_or_else(PoisonError::into_inner);
        if dir.is_none() {
            let made = self.make().and_then(|made| {
                std::fs::create_dir(made.path().join("tree"))?;
                Ok(made)
            });
            *dir = Some(made.map_err(|error| {
                staging.failed(&format!("cannot create a temporary directory: {error}"))
            })?);
        }
        let path = dir.as_ref().map(|dir| dir.path().to_path_buf());
        let path = path.unwrap_or_default();
        Ok((path.join("index"), path.join("tree")))
    }
}

/// Settings that name programs for filters, or for what filters start.
const PROGRAMS: &str = concat!(
    r"^(filter\..*\.(clean|smudge|process)|core\.(sshcommand|gitproxy|askpass)|credential\..*",
    r"|lfs\..*(transferagent|program)|lfs\.(customtransfer|extension)\..*)$"
);

/// The user's settings that name programs, in place of the repository's. Filter commands are adapted to run where git
/// runs them in a checkout: at the top of the user's work tree.
fn programs(staging: &Staging) -> Vec<String> {
    let top = quoted(&staging.top().to_string_lossy());
    let mut last: BTreeMap<String, Option<String>> = BTreeMap::new();
    for setting in staging.settings(PROGRAMS) {
        // An argument cannot express this key.
        if setting.key.contains('=') {
            continue;
        }
        let known = last.entry(setting.key.clone()).or_default();
        if setting.is_users() {
            *known = Some(setting.value.unwrap_or_default());
        }
    }
    let settings = last.into_iter().map(|(key, command)| {
        // An empty setting counts as none.
        let command = command.unwrap_or_default();
        let runs = key.ends_with(".smudge") || key.ends_with(".process");
        if command.is_empty() || !key.starts_with("filter.") || !runs {
            return format!("{key}={command}");
        }
        // `%` is special in a smudge command.
        let top = match key.ends_with(".smudge") {
            true => top.replace('%', "%%"),
            false => top.clone(),
        };
        format!("{key}=cd {top} && {command}")
    });
    settings.collect()
}

fn paths(files: &[&Listed]) -> Vec<u8> {
    let mut all = Vec::new();
    for file in files {
        all.extend_from_slice(&file.path);
        all.push(0);
    }
    all
}
