//! `--fix`: runs tools that can fix their findings on the snapshot, before it is checked.
//!
//! For a commit, only files that it changes are fixed. The result is staged and applied to the work tree: directly if
//! the file there is the staged one, else by a three-way merge. If there is a conflict, or the file changes in the
//! meantime, it is left alone and reported.
//! Without a commit, fixes go to the work tree, except for files that change in the meantime.

use std::collections::BTreeSet;

use crate::catalogue;
use crate::cli::exit::Failure;
use crate::digest::Digest;
use crate::event::Silent;
use crate::fs::beneath::{Content, Found, look, put};
use crate::path::RelPath;
use crate::plan::{Check, Command};
use crate::record::Verdict;
use crate::report::Shell;
use crate::report::shell::Tone;
use crate::report::text::count;
use crate::run::fix::{Fixed, apply};
use crate::run::{Caching, Options};
use crate::session::{Files, Project, View};
use crate::snapshot::Snapshot;
use crate::snapshot::staged::{Staging, merge};

/// Fixes the findings of the selected checks, one after the other.
pub(super) fn fix<'c>(
    project: &Project<'_>,
    shell: &Shell,
    select: impl Fn(&View) -> Result<Vec<Check>, Failure> + 'c,
) -> Result<(), Failure> {
    let mut done = BTreeSet::new();
    loop {
        // Each on the result of the previous one.
        let view = project.look()?;
        let mut checks = select(&view)?;
        checks.retain(|check| !done.contains(&check.id));
        let fixes = checks
            .iter()
            .filter_map(|check| Some((check, catalogue::fix(check)?)));
        let first = fixes.min_by_key(|(_, (place, _))| *place);
        let Some((check, (_, command))) = first else {
            return Ok(());
        };
        done.insert(check.id.clone());
        one(project, shell, &view, check, &command)?;
    }
}

fn one(
    project: &Project<'_>,
    shell: &Shell,
    view: &View,
    check: &Check,
    command: &Command,
) -> Result<(), Failure> {
    let options = Options::beside(Caching::On);
    let found = project.run(view, &[check], options, &Silent).records;
    if !found.iter().any(|record| record.verdict == Verdict::Failed) {
        return Ok(());
    }
    let session = project.session(view, options, &Silent);
    let mut fixed = match apply(&session, check, command) {
        Ok(fixed) => fixed,
        Err(why) => {
            shell.warning(&format!("{} cannot apply fixes: {why}", check.id));
            return Ok(());
        }
    };
    let left = match &project.files {
        Files::WorkTree => on_disk(&view.snapshot, &fixed),
        Files::Staged(staging) => {
            let changed = view.snapshot.changed(staging);
            let changed = changed.map_err(anyhow::Error::from)?;
            fixed.retain(|file| changed.contains(&file.file));
            staged(staging, &view.snapshot, &fixed)?
        }
        Files::Commit(..) => return Ok(()),
    };
    let fixed = fixed.len() - left.iter().filter(|left| !left.staged).count();
    if fixed > 0 {
        let line = format!("{} in {}", count(fixed, "file", "files"), check.id);
        shell.status(Tone::Good, "Fixed", &line);
    }
    for left in left {
        let where_ = if left.staged { " on disk" } else { "" };
        let line = format!("{}{where_} unchanged: {}", left.path, left.why);
        shell.status(Tone::Note, "Left", &line);
    }
    Ok(())
}

/// A file that was not fixed, or not everywhere.
struct Left {
    path: RelPath,
    /// Whether the staged file was fixed, but not the one on disk.
    staged: bool,
    why: String,
}

/// Writes fixed files to the work tree.
fn on_disk(snapshot: &Snapshot, fixed: &[Fixed]) -> Vec<Left> {
    let mut all = Vec::new();
    for file in fixed {
        let entry = snapshot.entry(file.file);
        let written = replace(snapshot, &entry.path, &file.bytes, |bytes| {
            let same = Digest::of(bytes) == entry.digest;
            same.then(|| file.bytes.clone()).ok_or(MEANWHILE.to_owned())
        });
        all.extend(written.err().map(|why| Left {
            path: entry.path.clone(),
            staged: false,
            why,
        }));
    }
    all
}

const MEANWHILE: &str = "it was edited in the meantime";

/// Stages fixed files and applies the fixes to the work tree.
fn staged(staging: &Staging, snapshot: &Snapshot, fixed: &[Fixed]) -> Result<Vec<Left>, Failure> {
    let (ours, others): (Vec<&Fixed>, Vec<&Fixed>) =
        fixed.iter().partition(|file| snapshot.can_stage(file.file));
    let mut left: Vec<Left> = others
        .into_iter()
        .map(|file| Left {
            path: snapshot.entry(file.file).path.clone(),
            staged: false,
            why: "git converts it, or it is not checked out".to_owned(),
        })
        .collect();
    let changes: Vec<_> = ours
        .iter()
        .map(|file| (file.file, file.bytes.as_slice()))
        .collect();
    snapshot
        .stage(staging, &changes)
        .map_err(anyhow::Error::from)?;
    for file in ours {
        let path = &snapshot.entry(file.file).path;
        let base = snapshot.read(file.file);
        let written = replace(snapshot, path, &file.bytes, |bytes| {
            let base = base.as_deref().map_err(ToString::to_string)?;
            if bytes == base {
                return Ok(file.bytes.clone());
            }
            match merge(staging, bytes, base, &file.bytes) {
                Ok(Some(merged)) => Ok(merged),
                Ok(None) => Err("conflicts with unstaged edits".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        });
        left.extend(written.err().map(|why| Left {
            path: path.clone(),
            staged: true,
            why,
        }));
    }
    Ok(left)
}

/// Replaces a work tree file with the result of `make`, unless it changes in the meantime. Does not create missing
/// files.
/// away.
fn replace(
    snapshot: &Snapshot,
    path: &RelPath,
    fixed: &[u8],
    make: impl FnOnce(&[u8]) -> Result<Vec<u8>, String>,
) -> Result<(), String> {
    let root = snapshot.root();
    let said = |error: std::io::Error| error.to_string();
    let before = look(root, path).map_err(said)?;
    let (bytes, executable) = match &before {
        Found::Absent => return Ok(()),
        Found::File { bytes, .. } if bytes == fixed => return Ok(()),
        Found::File {
            bytes, executable, ..
        } => (bytes, *executable),
        Found::Link(_) | Found::Other => return Err("it is not a regular file".to_owned()),
    };
    let content = Content::File {
        bytes: &make(bytes)?,
        executable,
    };
    match put(root, path, content, &before).map_err(said)? {
        true => Ok(()),
        false => Err(MEANWHILE.to_owned()),
    }
}
