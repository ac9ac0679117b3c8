//! The kustomizations of a project and the files at the paths they name.
//!
//! Parses every kustomization once per content, memoised as facts. Does not know what kustomize rejects.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::parse::{self, Kind, Kustomization, Place, Reference, Role};
use super::remote;
use crate::digest::Digest;
use crate::path::RelPath;
use crate::scope::Scope;
use crate::snapshot::{FileId, Kind as EntryKind};

/// The names kustomize looks for in a folder.
pub(crate) const NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// A longer chain of links is a loop.
const MAX_LINKS: usize = 40;

/// The kustomizations of a project and what they refer to.
pub(crate) struct Graph<'a> {
    pub(super) scope: &'a Scope<'a>,
    parsed: RefCell<BTreeMap<RelPath, Rc<Kustomization>>>,
}

pub(super) enum Found {
    File(Source),
    Folder(RelPath),
    /// Outside the project root, or not to be followed there.
    Elsewhere,
    Missing,
}

/// A file, with links resolved.
pub(super) struct Source {
    pub(crate) path: RelPath,
    pub(crate) digest: Digest,
    /// Its id, unless git ignores it.
    pub(crate) id: Option<FileId>,
}

impl<'a> Graph<'a> {
    /// A graph of the files in `scope`.
    #[must_use]
    pub(crate) fn new(scope: &'a Scope<'a>) -> Self {
        Self {
            scope,
            parsed: RefCell::default(),
        }
    }

    /// The sorted folders with a kustomization that is not excluded, and the kind of their first kustomization.
    #[must_use]
    pub(crate) fn folders(&self) -> BTreeMap<RelPath, Kind> {
        let mut folders = BTreeMap::new();
        for (_, entry) in self.scope.checked() {
            if NAMES.contains(&entry.path.file_name())
                && let Some(dir) = entry.path.parent()
                && !folders.contains_key(&dir)
                && let Some((_, read)) = self.kustomization(&dir)
            {
                folders.insert(dir, read.kind);
            }
        }
        folders
    }

    /// The folders that the kustomization of `dir` refers to directly.
    #[must_use]
    pub(crate) fn children(&self, dir: &RelPath) -> Vec<(RelPath, Place)> {
        let Some((_, read)) = self.kustomization(dir) else {
            return Vec::new();
        };
        let folder = |reference: &Reference| match self.look(dir, reference) {
            Found::Folder(folder) => Some((folder, reference.at)),
            _ => None,
        };
        let roles = [Role::Resource, Role::Component, Role::Plugin];
        let references = read.references.iter().filter(|r| roles.contains(&r.role));
        references.filter_map(folder).collect()
    }

    /// The resource files that reach `dir` with unchanged ids: its own, and those of the folders it lists, as long as
    /// these keep ids.
    #[must_use]
    pub(crate) fn resource_files(&self, dir: &RelPath) -> Vec<RelPath> {
        let mut files = Vec::new();
        self.gather_resources(dir, &mut Vec::new(), &mut files);
        files
    }

    fn gather_resources(&self, dir: &RelPath, above: &mut Vec<RelPath>, files: &mut Vec<RelPath>) {
        let Some((_, read)) = self.kustomization(dir) else {
            return;
        };
        if above.contains(dir) || (!above.is_empty() && !read.keeps_ids) {
            return;
        }
        above.push(dir.clone());
        let resources = read.references.iter().filter(|r| r.role == Role::Resource);
        for reference in resources {
            match self.look(dir, reference) {
                Found::File(source) if source.id.is_some() => files.push(source.path),
                Found::Folder(folder) => self.gather_resources(&folder, above, files),
                _ => {}
            }
        }
        above.pop();
    }

    /// What a reference leads to in the project. A folder whose path looks like a repository is never considered.
    fn look(&self, dir: &RelPath, reference: &Reference) -> Found {
        let target = &reference.target;
        let found = dir
            .join(target)
            .map(|path| self.find(&path, &mut BTreeSet::new()));
        match found {
            Ok(Found::Folder(_)) if remote::is_repository(target) => Found::Elsewhere,
            Ok(found) => found,
            Err(_) => Found::Elsewhere,
        }
    }

    /// The kustomization of a folder: the first of its names.
    fn kustomization(&self, dir: &RelPath) -> Option<(RelPath, Rc<Kustomization>)> {
        NAMES.iter().find_map(|name| {
            let path = dir.join(name).ok()?;
            match self.find(&path, &mut BTreeSet::new()) {
                Found::File(source) => Some((path, self.parsed(&source))),
                _ => None,
            }
        })
    }

    pub(super) fn parsed(&self, source: &Source) -> Rc<Kustomization> {
        if let Some(known) = self.parsed.borrow().get(&source.path) {
            return Rc::clone(known);
        }
        let read = Rc::new(self.derive(source, parse::KUSTOMIZATION_FACT, parse::kustomization));
        let mut parsed = self.parsed.borrow_mut();
        Rc::clone(parsed.entry(source.path.clone()).or_insert(read))
    }

    /// The result of `read` for a file. An unreadable or changed file counts as empty: the run will notice and take a
    /// new snapshot.
    pub(super) fn derive<T>(&self, source: &Source, kind: &str, read: fn(&str) -> T) -> T
    where
        T: serde::Serialize + serde::de::DeserializeOwned,
    {
        let text = || {
            let bytes = match source.id {
                Some(id) => self.scope.snapshot.read(id)?,
                None => {
                    let place = self.scope.snapshot.beside(&source.path);
                    crate::fs::read(place.ok_or(std::io::ErrorKind::NotFound)?)?
                }
            };
            Ok::<_, std::io::Error>(read(&String::from_utf8_lossy(&bytes)))
        };
        let derived = self.scope.facts.derive(kind, source.digest, text);
        derived.unwrap_or_else(|_| read(""))
    }

    /// Looks up a path, following links of the snapshot, which are added to `links`.
    pub(super) fn find(&self, path: &RelPath, links: &mut BTreeSet<FileId>) -> Found {
        let mut path = path.clone();
        for _ in 0..MAX_LINKS {
            match self.first_link(&path) {
                None => return self.find_without_links(&path),
                Some((id, link)) => {
                    links.insert(id);
                    match self.follow(id, &link, &path) {
                        Some(target) => path = target,
                        None => return Found::Elsewhere,
                    }
                }
            }
        }
        Found::Missing
    }

    fn first_link(&self, path: &RelPath) -> Option<(FileId, RelPath)> {
        let mut prefixes: Vec<RelPath> = path.ancestors().collect();
        prefixes.reverse();
        prefixes.push(path.clone());
        prefixes.into_iter().find_map(|prefix| {
            let id = self.scope.snapshot.find(&prefix)?;
            let is_link = self.scope.snapshot.entry(id).kind == EntryKind::Symlink;
            is_link.then_some((id, prefix))
        })
    }

    fn follow(&self, id: FileId, link: &RelPath, path: &RelPath) -> Option<RelPath> {
        let target = String::from_utf8(self.scope.snapshot.read(id).ok()?).ok()?;
        let rest = path.strip_prefix(link)?;
        link.parent()?.join(&target).ok()?.join(rest).ok()
    }

    fn find_without_links(&self, path: &RelPath) -> Found {
        let snapshot = self.scope.snapshot;
        if let Some(id) = snapshot.find(path) {
            return Found::File(Source {
                path: path.clone(),
                digest: snapshot.entry(id).digest,
                id: Some(id),
            });
        }
        if path.is_root() || !snapshot.below(path).is_empty() {
            return Found::Folder(path.clone());
        }
        self.find_ignored(path)
    }

    /// A file or folder outside the snapshot, because git ignores it.
    fn find_ignored(&self, path: &RelPath) -> Found {
        let Some(place) = self.scope.snapshot.beside(path) else {
            return Found::Missing;
        };
        match std::fs::metadata(&place) {
            Ok(metadata) if metadata.is_dir() => Found::Folder(path.clone()),
            Ok(metadata) if metadata.is_file() => match self.scope.tools.digest(&place) {
                Ok(digest) => Found::File(Source {
                    path: path.clone(),
                    digest,
                    id: None,
                }),
                Err(_) => Found::Missing,
            },
            _ => Found::Missing,
        }
    }
}
