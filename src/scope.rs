//! What planning may look at: the project's files, what was derived from them, the host's programs and environment.
//!
//! Stays free of what any check or language wants to know.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::digest::Digest;
use crate::env::Env;
use crate::facts::Facts;
use crate::path::RelPath;
use crate::plan::Images;
use crate::plan::check::OutsideFile;
use crate::rule::Rule;
use crate::snapshot::{Entry, FileId, Kind, Snapshot};
use crate::tool::Tools;

/// What an ecosystem may look at while it plans. Helper processes go through [`Facts`].
pub(crate) struct Scope<'a> {
    /// The project's files.
    pub(crate) snapshot: &'a Snapshot,
    /// For each file of the snapshot, whether the configuration excludes it: such a file plans no check and is never
    /// a checked file, but it stays readable as an input.
    pub(crate) excluded: &'a [bool],
    /// Remembered answers.
    pub(crate) facts: &'a Facts,
    /// The host's programs.
    pub(crate) tools: &'a Tools,
    /// The user's environment.
    pub(crate) env: &'a Env,
    /// `[checks."security:secrets"] baseline`.
    pub(crate) secrets_baseline: Option<&'a RelPath>,
    /// Where checks are to run: in containers that begin with these images; `None` = on this host.
    pub(crate) images: Option<&'a dyn Images>,
}

/// Planning failed on something the user can mend: names the file, the place and the way out. Exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct PlanError {
    /// The whole message; the first line says what, further lines (`  --> file:line:column`, `help: …`) say where and how.
    pub(crate) message: String,
}

impl PlanError {
    /// A message.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }
}

impl Scope<'_> {
    /// The files that may be checked (not excluded), sorted, with their ids.
    pub(crate) fn checked(&self) -> impl Iterator<Item = (FileId, &Entry)> {
        self.snapshot
            .entries()
            .iter()
            .zip(self.excluded)
            .enumerate()
            .filter(|(_, (_, excluded))| !**excluded)
            .filter_map(|(index, (entry, _))| Some((FileId::try_from(index).ok()?, entry)))
    }

    /// The content of a file as text, if it is there, is a regular file and is UTF-8.
    #[must_use]
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        let id = self.snapshot.find(path)?;
        String::from_utf8(self.snapshot.read(id).ok()?).ok()
    }

    /// Files with one of these names (`ruff.toml`, `.cargo/config.toml`) in the folders above the project root, up to
    /// `/`, nearest first: a tool that searches upwards would find them, so they are keyed and copied into the room's
    /// parent folders.
    #[must_use]
    pub(crate) fn above(&self, names: &[&str]) -> Vec<OutsideFile> {
        let mut found = Vec::new();
        let above = self.snapshot.root().ancestors().skip(1);
        for (up, folder) in (1..).zip(above).filter(|_| Rule::ConfigAbove.holds()) {
            for name in names {
                let Ok(bytes) = std::fs::read(folder.join(name)) else {
                    continue;
                };
                let Ok(path) = RelPath::new(name) else {
                    continue;
                };
                found.push(OutsideFile {
                    up,
                    path,
                    digest: Digest::of(&bytes),
                });
            }
        }
        found
    }

    /// The files with one of these names in `dir` and the folders above it up to the project root, nearest first.
    #[must_use]
    pub(crate) fn chain(&self, dir: &RelPath, names: &[&str]) -> Vec<FileId> {
        std::iter::once(dir.clone())
            .chain(dir.ancestors())
            .flat_map(|folder| names.iter().filter_map(move |name| folder.join(name).ok()))
            .filter_map(|path| self.snapshot.find(&path))
            .collect()
    }

    /// The folders that hold a file of one of these names that may be checked.
    #[must_use]
    pub(crate) fn folders_of(&self, names: &[&str]) -> BTreeSet<RelPath> {
        self.checked()
            .filter(|(_, entry)| names.contains(&entry.path.file_name()))
            .filter_map(|(_, entry)| entry.path.parent())
            .collect()
    }

    /// Whether a file is checked in its own right: a link to another checked file, to a folder or to nothing is not.
    #[must_use]
    pub(crate) fn is_file(&self, id: FileId, extension: &str) -> bool {
        if self.snapshot.entry(id).kind != Kind::Symlink {
            return true;
        }
        link_target(self.snapshot, id).is_some_and(|target| {
            !target.ends_with(extension) && self.snapshot.find(&target).is_some()
        })
    }

    /// The user's home folder.
    #[must_use]
    pub(crate) fn home(&self) -> Option<PathBuf> {
        self.env.path(crate::env::HOME)
    }
}

/// A link leads nowhere in a room that lacks its target.
pub(crate) fn with_link_targets(snapshot: &Snapshot, files: &mut BTreeSet<FileId>) {
    let mut todo: Vec<FileId> = files.iter().copied().collect();
    while let Some(id) = todo.pop() {
        if let Some(target) = link_target(snapshot, id)
            && let Some(target) = snapshot.find(&target)
            && files.insert(target)
        {
            todo.push(target);
        }
    }
}

/// Where a link of the project leads, if it is one and leads into the project.
#[must_use]
fn link_target(snapshot: &Snapshot, id: FileId) -> Option<RelPath> {
    let entry = snapshot.entry(id);
    if entry.kind != Kind::Symlink {
        return None;
    }
    let text = String::from_utf8(snapshot.read(id).ok()?).ok()?;
    entry.path.parent()?.join(&text).ok()
}
