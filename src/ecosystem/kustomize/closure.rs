//! Finds the files that a `kustomize build` opens, without running it.
//!
//! [`Graph::closure`] walks from a folder like kustomize: a target is a file if it exists, else a repository if it
//! looks like one, else a folder with a kustomization. Where kustomize would fail, the walk records a [`Problem`] and
//! continues.
//!
//! kustomize looks for three file names in each folder and fails if there are two. All existing ones are part of the
//! closure, so adding one changes it; no other missing file can affect a build that passes. Files that git ignores
//! but a kustomization names are included, too (`secrets.env`): see [`Closure::outside`].

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::rc::Rc;

use super::graph::{Found, Graph, NAMES, Source};
use super::parse::{self, Kind, Kustomization, Place, Reference, Role};
use super::remote;
use crate::path::RelPath;
use crate::plan::check::OutsideFile;
use crate::snapshot::FileId;

/// Everything that a build reads, and problems found on the way.
#[derive(Debug, Default)]
pub(crate) struct Closure {
    /// Files of the snapshot, including links on the way to them.
    pub(crate) files: BTreeSet<FileId>,
    /// Files that git ignores.
    pub(crate) outside: BTreeSet<OutsideFile>,
    /// The kustomization file of each visited folder.
    pub(crate) kustomizations: BTreeMap<RelPath, RelPath>,
    /// Remote targets in the order found.
    pub(crate) remotes: Vec<Fetched>,
    /// Why not all inputs are known.
    pub(crate) unknown: Option<String>,
    /// Missing paths that are referred to.
    pub(crate) missing: BTreeSet<String>,
    /// What kustomize will reject.
    pub(crate) problems: BTreeSet<Problem>,
}

#[derive(Debug, Clone)]
pub(crate) struct Fetched {
    pub(crate) target: String,
    /// Whether git clones it.
    pub(crate) repository: bool,
    /// Whether a commit id fixes its content.
    pub(crate) pinned: bool,
    /// Where it is written: file and place.
    pub(crate) site: (RelPath, Place),
}

/// Something kustomize will reject, and where it is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    pub(crate) path: RelPath,
    pub(crate) at: Place,
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl Graph<'_> {
    /// Everything that building `dir` reads.
    #[must_use]
    pub(crate) fn closure(&self, dir: &RelPath) -> Closure {
        let mut walk = Walk {
            graph: self,
            closure: Closure::default(),
            above: Vec::new(),
            seen: HashSet::new(),
        };
        walk.folder(dir, None);
        walk.closure
    }
}

/// A walk from one folder.
struct Walk<'g, 'a> {
    graph: &'g Graph<'a>,
    closure: Closure,
    /// The folders being visited, outermost first.
    above: Vec<RelPath>,
    /// Visited folders, with the folder that files of their plugins are relative to.
    seen: HashSet<(RelPath, Option<RelPath>)>,
}

/// The reference being followed.
struct Site<'r> {
    /// The kustomization file that contains it.
    file: &'r RelPath,
    /// The folder it is relative to.
    dir: &'r RelPath,
    reference: &'r Reference,
    /// If it configures plugins: the folder that their files are relative to.
    plugins: Option<RelPath>,
}

impl Walk<'_, '_> {
    /// Visits a folder that `from` refers to, or the one being built.
    fn folder(&mut self, dir: &RelPath, from: Option<&Site<'_>>) {
        if let Some(site) = from
            && self.above.iter().any(|above| above.starts_with(dir))
        {
            let text = &site.reference.target;
            let message = format!("`{text}` leads back to `{dir}`, which is being built");
            return self.problem(site, "cycle", message);
        }
        let Some((file, read)) = self.enter(dir, from) else {
            return;
        };
        if let Some(site) = from {
            self.expect_kind(site, dir, read.kind);
        }
        let plugins = from.and_then(|site| site.plugins.clone());
        if !self.seen.insert((dir.clone(), plugins.clone())) {
            return;
        }
        self.above.push(dir.clone());
        for reference in &read.references {
            let plugins = match reference.role {
                Role::Plugin => plugins.clone().or_else(|| Some(dir.clone())),
                _ => plugins.clone(),
            };
            self.reference(&Site {
                file: &file,
                dir,
                reference,
                plugins,
            });
        }
        self.above.pop();
    }

    /// Adds the kustomization files of a folder and reads the first.
    fn enter(
        &mut self,
        dir: &RelPath,
        from: Option<&Site<'_>>,
    ) -> Option<(RelPath, Rc<Kustomization>)> {
        let mut present = Vec::new();
        for name in NAMES {
            let Ok(path) = dir.join(name) else { continue };
            if let Found::File(source) = self.find(&path) {
                self.add(&source);
                present.push((path, self.graph.parsed(&source)));
            }
        }
        let mut present = present.into_iter();
        let Some((file, read)) = present.next() else {
            self.no_kustomization(dir, from);
            return None;
        };
        for (other, _) in present {
            let message = format!(
                "`{dir}` also has `{}`; kustomize takes one",
                file.file_name()
            );
            self.problem_at(&other, Place::START, "two-kustomizations", message);
        }
        if let Some(broken) = &read.broken {
            self.problem_at(&file, broken.at, "syntax", broken.message.clone());
        }
        self.closure
            .kustomizations
            .insert(dir.clone(), file.clone());
        Some((file, read))
    }

    fn no_kustomization(&mut self, dir: &RelPath, from: Option<&Site<'_>>) {
        self.closure
            .missing
            .insert(format!("{}/{}", dir.display_dot(), NAMES[0]));
        if let Some(site) = from {
            let text = &site.reference.target;
            let message = format!("`{text}` is a folder without a kustomization");
            self.problem(site, "missing", message);
        }
    }

    fn expect_kind(&mut self, site: &Site<'_>, dir: &RelPath, kind: Kind) {
        let (wants, is) = (
            site.reference.role == Role::Component,
            kind == Kind::Component,
        );
        let text = &site.reference.target;
        let message = match (wants, is) {
            (true, false) => {
                format!("`{text}` (`{dir}`) is no component; list it under `resources`")
            }
            (false, true) => {
                format!("`{text}` (`{dir}`) is a component; list it under `components`")
            }
            _ => return,
        };
        self.problem(site, "kind", message);
    }

    fn reference(&mut self, site: &Site<'_>) {
        let target = site.reference.target.as_str();
        let role = site.reference.role;
        if role != Role::Component && remote::is_http(target) {
            // A resource that is not a file may turn out to be a repository; it is fetched in any case.
            let repository = role != Role::File && remote::is_repository(target);
            return self.fetched(site, repository);
        }
        let found = match site.dir.join(target) {
            Ok(path) => self.find(&path),
            Err(_) => Found::Elsewhere,
        };
        let folders = matches!(role, Role::Resource | Role::Component | Role::Plugin);
        match (role, found) {
            (Role::Chart, found) => self.chart(site, found),
            (Role::Component, Found::File(source)) => self.component_is_file(site, &source),
            (_, Found::File(source)) => self.file(site, &source),
            _ if folders && remote::is_repository(target) => self.fetched(site, true),
            (_, Found::Folder(dir)) if folders => self.folder(&dir, Some(site)),
            (_, Found::Elsewhere) => self.elsewhere(site),
            (_, Found::Folder(_)) => {
                let message = format!("`{target}` is a folder; a file is needed here");
                self.problem(site, "missing", message);
            }
            (_, Found::Missing) => self.missing(site),
        }
    }

    fn file(&mut self, site: &Site<'_>, source: &Source) {
        self.add(source);
        let configures = matches!(site.reference.role, Role::Plugin | Role::Resource);
        let Some(root) = site.plugins.as_ref().filter(|_| configures) else {
            return;
        };
        let references = self
            .graph
            .derive(source, parse::PLUGIN_FACT, parse::plugin_config);
        for reference in &references {
            self.reference(&Site {
                file: &source.path,
                dir: root,
                reference,
                plugins: None,
            });
        }
    }

    fn component_is_file(&mut self, site: &Site<'_>, source: &Source) {
        self.add(source);
        let target = &site.reference.target;
        let message = format!("`{target}` is a file; components are folders");
        self.problem(site, "kind", message);
    }

    /// A chart in the project is read completely; any other is downloaded.
    fn chart(&mut self, site: &Site<'_>, found: Found) {
        let snapshot = self.graph.scope.snapshot;
        match found {
            Found::Folder(dir) if !snapshot.below(&dir).is_empty() => {
                self.closure.files.extend(snapshot.below(&dir));
            }
            _ => {
                let (target, line) = (&site.reference.target, site.reference.at.line);
                self.unknown(format!(
                    "the chart of `{target}` ({}:{line}) is not in the project and is downloaded",
                    site.file
                ));
            }
        }
    }

    fn fetched(&mut self, site: &Site<'_>, repository: bool) {
        let target = &site.reference.target;
        self.closure.remotes.push(Fetched {
            target: target.clone(),
            repository,
            pinned: remote::is_pinned(target),
            site: (site.file.clone(), site.reference.at),
        });
    }

    fn elsewhere(&mut self, site: &Site<'_>) {
        let (target, line) = (&site.reference.target, site.reference.at.line);
        self.unknown(format!(
            "`{target}` ({}:{line}) is outside the project root",
            site.file
        ));
    }

    fn missing(&mut self, site: &Site<'_>) {
        let target = &site.reference.target;
        if let Ok(path) = site.dir.join(target) {
            self.closure.missing.insert(path.as_str().to_owned());
        }
        self.problem(site, "missing", format!("`{target}` does not exist"));
    }

    fn find(&mut self, path: &RelPath) -> Found {
        self.graph.find(path, &mut self.closure.files)
    }

    fn add(&mut self, source: &Source) {
        match source.id {
            Some(id) => {
                self.closure.files.insert(id);
            }
            None => {
                self.closure.outside.insert(OutsideFile {
                    up: 0,
                    path: source.path.clone(),
                    digest: source.digest,
                });
            }
        }
    }

    fn unknown(&mut self, why: String) {
        self.closure.unknown.get_or_insert(why);
    }

    fn problem(&mut self, site: &Site<'_>, code: &'static str, message: String) {
        self.problem_at(site.file, site.reference.at, code, message);
    }

    fn problem_at(&mut self, path: &RelPath, at: Place, code: &'static str, message: String) {
        self.closure.problems.insert(Problem {
            path: path.clone(),
            at,
            code,
            message,
        });
    }
}

#[cfg(test)]
mod tests;
