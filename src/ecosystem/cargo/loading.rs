//! The files cargo reads to load a project's manifests: manifests and configuration by content, sources by name only
//! (for discovering targets), and links that lead to any of them.

use std::collections::BTreeMap;
use std::path::Path;

use crate::digest::{Digest, Hasher};
use crate::path::RelPath;
use crate::scope::Scope;
use crate::snapshot::{Entry, FileId, Kind};

use super::config::{included, is_cargo_config};
use super::links::follow;
use super::manifests::MANIFEST;
use super::reduced;

/// What of a file counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// That it is there.
    Name,
    /// Its content, or the target of a link.
    Content,
}

/// The files from which cargo loads a project's manifests.
pub(crate) struct Loading {
    parts: BTreeMap<FileId, Part>,
}

impl Loading {
    /// Those of `scope`.
    pub(crate) fn of(scope: &Scope<'_>) -> Self {
        let mut parts = BTreeMap::new();
        for (entry, id) in scope.snapshot.entries().iter().zip(0..) {
            if let Some(part) = part(entry) {
                let file = match entry.kind {
                    Kind::Symlink => follow(scope.snapshot, &entry.path).file,
                    _ => Some(id),
                };
                for id in file.into_iter().chain([id]) {
                    let known = parts.entry(id).or_insert(part);
                    *known = part.max(*known);
                }
            }
        }
        let configuration = parts
            .keys()
            .copied()
            .filter(|id| is_cargo_config(&scope.snapshot.entry(*id).path))
            .collect();
        let included = included(scope, configuration);
        parts.extend(included.into_iter().map(|id| (id, Part::Content)));
        // A link is included with its target, even if only the name of the target file matters.
        for (id, part) in &mut parts {
            if scope.snapshot.entry(*id).kind == Kind::Symlink {
                *part = Part::Content;
            }
        }
        Self { parts }
    }

    /// All of them, sorted.
    pub(crate) fn files(&self) -> impl Iterator<Item = FileId> + '_ {
        self.parts.keys().copied()
    }

    /// The files whose content matters, sorted.
    pub(crate) fn by_content(&self) -> impl Iterator<Item = FileId> + '_ {
        let content = self
            .parts
            .iter()
            .filter(|(_, part)| **part == Part::Content);
        content.map(|(id, _)| *id)
    }

    /// Digest of everything that matters.
    pub(crate) fn digest(&self, scope: &Scope<'_>) -> Digest {
        let mut hasher = Hasher::new();
        for (id, part) in &self.parts {
            let entry = scope.snapshot.entry(*id);
            hasher.update(entry.path.as_bytes());
            hasher.update(&[0, u8::from(entry.kind == Kind::Symlink)]);
            match part {
                Part::Content => {
                    hasher.update(&[1]);
                    hasher.update(entry.digest.as_bytes());
                }
                Part::Name => hasher.update(&[0]),
            }
        }
        hasher.finish()
    }

    /// Writes them below `root` for cargo outside of a room: files that only matter by name are empty, and configuration
    /// is reduced.
    pub(crate) fn write(&self, scope: &Scope<'_>, root: &Path) -> std::io::Result<()> {
        let reduced = reduced::files(scope);
        for (path, text) in &reduced {
            let place = path.under(root);
            if let Some(folder) = place.parent() {
                std::fs::create_dir_all(folder)?;
            }
            std::fs::write(place, text)?;
        }
        for (id, part) in &self.parts {
            let entry = scope.snapshot.entry(*id);
            if reduced::replaces(scope, *id) || reduced.contains_key(&entry.path) {
                continue;
            }
            let place = entry.path.under(root);
            if let Some(folder) = place.parent() {
                std::fs::create_dir_all(folder)?;
            }
            match (entry.kind, part) {
                (Kind::Symlink, _) => link(&scope.snapshot.read(*id)?, &place)?,
                (_, Part::Content) => std::fs::write(place, scope.snapshot.read(*id)?)?,
                (_, Part::Name) => std::fs::write(place, "")?,
            }
        }
        Ok(())
    }
}

fn part(entry: &Entry) -> Option<Part> {
    let path: &RelPath = &entry.path;
    if path.file_name() == MANIFEST || is_cargo_config(path) {
        return Some(Part::Content);
    }
    // The target of a link may be a folder.
    (path.extension() == Some("rs") || entry.kind == Kind::Symlink).then_some(Part::Name)
}

#[cfg(unix)]
fn link(text: &[u8], place: &Path) -> std::io::Result<()> {
    use std::os::unix::ffi::OsStrExt as _;
    std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(text), place)
}

#[cfg(not(unix))]
fn link(text: &[u8], place: &Path) -> std::io::Result<()> {
    std::fs::write(place, text)
}
