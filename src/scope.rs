//! What planning may use: the project's files, facts derived from them, the host's programs and environment.
//!
//! Does not know what checks or languages look for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::digest::Digest;
use crate::env::Env;
use crate::facts::Facts;
use crate::fs::owner::Owners;
use crate::path::RelPath;
use crate::plan::check::OutsideFile;
use crate::plan::trust::Trusted;
use crate::plan::{Images, Inputs};
use crate::rule::Rule;
use crate::snapshot::{Entry, FileId, Kind, Snapshot};
use crate::tool::Tools;
use crate::visible::Shown as _;

/// The inputs of planning. Helper processes go through [`Facts`].
pub(crate) struct Scope<'a> {
    pub(crate) snapshot: &'a Snapshot,
    /// For each snapshot file, whether the configuration excludes it. Excluded files plan no checks and are never
    /// checked, but stay readable as inputs.
    pub(crate) excluded: &'a [bool],
    pub(crate) facts: &'a Facts,
    pub(crate) tools: &'a Tools,
    pub(crate) env: &'a Env,
    /// `[checks."security:secrets"] baseline`.
    pub(crate) secrets_baseline: Option<&'a RelPath>,
    /// Filled while planning.
    pub(crate) strange: Strange,
    /// What the user accepted.
    pub(crate) trusted: Trusted,
    /// The images for running checks in containers; `None` to run on this host.
    pub(crate) images: Option<&'a dyn Images>,
}

/// Configuration above the project root that is ignored, because it belongs to another user.
#[derive(Debug, Default)]
pub(crate) struct Strange(Mutex<BTreeSet<PathBuf>>);

impl Strange {
    fn add(&self, path: PathBuf) {
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        found.insert(path);
    }

    /// A line for each file.
    #[must_use]
    pub(crate) fn named(&self) -> Vec<String> {
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let named = found.iter().map(|path| {
            format!(
                "ignoring {}, because it belongs to another user",
                path.shown()
            )
        });
        named.collect()
    }
}

/// Planning failed because of something the user can fix. Exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct PlanError {
    /// The whole message: the problem in the first line, then place and help (`  --> file:line:column`, `help: …`).
    pub(crate) message: String,
}

impl PlanError {
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

    /// The content of a regular UTF-8 file.
    #[must_use]
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        let id = self.snapshot.find(path)?;
        String::from_utf8(self.snapshot.read(id).ok()?).ok()
    }

    /// Files with these names (`ruff.toml`, `.cargo/config.toml`) in folders above the project root, up to `/`,
    /// nearest first. A tool that searches upwards would find them, so they are in the key and copied to the room.
    #[must_use]
    pub(crate) fn above(&self, names: &[&str]) -> Vec<OutsideFile> {
        let mut found = Vec::new();
        let above = self.snapshot.root().ancestors().skip(1);
        for (up, folder) in (1..).zip(above).filter(|_| Rule::ConfigAbove.holds()) {
            for name in names {
                let Some(bytes) = self.read_above(folder, Path::new(name)) else {
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

    /// A file below a folder above the project root, unless it belongs to another user.
    #[must_use]
    pub(crate) fn read_above(&self, folder: &Path, name: &Path) -> Option<Vec<u8>> {
        let path = folder.join(name);
        let bytes = crate::fs::read(&path).ok()?;
        let owners = Owners::of_projects(self.env);
        // Whoever owns a link or a folder on the way decides what is found.
        let mut steps = name.ancestors().filter(|step| *step != Path::new(""));
        let ours = steps.all(|step| owners.own(&folder.join(step)))
            && std::fs::metadata(&path).is_ok_and(|file| owners.have(&file));
        if !ours {
            self.strange.add(path);
        }
        ours.then_some(bytes)
    }

    /// Files with these names in `dir` and its parents up to the project root, nearest first.
    #[must_use]
    pub(crate) fn chain(&self, dir: &RelPath, names: &[&str]) -> Vec<FileId> {
        std::iter::once(dir.clone())
            .chain(dir.ancestors())
            .flat_map(|folder| names.iter().filter_map(move |name| folder.join(name).ok()))
            .filter_map(|path| self.snapshot.find(&path))
            .collect()
    }

    /// The folders with a checkable file of one of these names.
    #[must_use]
    pub(crate) fn folders_of(&self, names: &[&str]) -> BTreeSet<RelPath> {
        self.checked()
            .filter(|(_, entry)| names.contains(&entry.path.file_name()))
            .filter_map(|(_, entry)| entry.path.parent())
            .collect()
    }

    /// Whether it is a file or a link that leads to one: not a link to a folder or to nothing.
    #[must_use]
    pub(crate) fn leads_to_file(&self, id: FileId) -> bool {
        let is_link = |id: FileId| self.snapshot.entry(id).kind == Kind::Symlink;
        if !is_link(id) {
            return true;
        }
        let mut seen = BTreeSet::from([id]);
        with_link_targets(self.snapshot, &mut seen);
        seen.into_iter().any(|id| !is_link(id))
    }

    /// These files as parts. A link is one under its own name, as tools that walk folders check it, and sees what it
    /// leads to.
    #[must_use]
    pub(crate) fn per_file(&self, files: Vec<FileId>) -> Inputs {
        let links = files.iter().copied();
        let links = links.filter(|id| self.snapshot.entry(*id).kind == Kind::Symlink);
        let linked = links.map(|id| {
            let mut targets = BTreeSet::from([id]);
            with_link_targets(self.snapshot, &mut targets);
            targets.remove(&id);
            (id, targets.into_iter().collect())
        });
        Inputs {
            linked: linked.collect(),
            ..Inputs::per_file(files)
        }
    }

    /// Whether it is a link that may lead to a folder: to anything but a file of the project.
    #[must_use]
    pub(crate) fn may_be_folder(&self, id: FileId) -> bool {
        let is_file = |target: RelPath| {
            let found = self.snapshot.find(&target);
            found.is_some_and(|id| self.snapshot.entry(id).kind != Kind::Symlink)
        };
        self.snapshot.entry(id).kind == Kind::Symlink
            && !link_target(self.snapshot, id).is_some_and(is_file)
    }

    /// The user's home directory.
    #[must_use]
    pub(crate) fn home(&self) -> Option<PathBuf> {
        self.env.path(crate::env::HOME)
    }
}

/// Adds the targets of links, which would be dangling in a room otherwise.
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

/// The target of a link, if it is inside the project.
#[must_use]
pub(crate) fn link_target(snapshot: &Snapshot, id: FileId) -> Option<RelPath> {
    let entry = snapshot.entry(id);
    if entry.kind != Kind::Symlink {
        return None;
    }
    let text = String::from_utf8(snapshot.read(id).ok()?).ok()?;
    entry.path.parent()?.join(&text).ok()
}
