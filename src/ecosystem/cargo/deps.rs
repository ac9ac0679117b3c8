//! `deps:rust`: the external packages of a workspace, fetched into CARGO_HOME.
//!
//! Keyed by the lockfile's closure of external packages rather than the lockfile: comments, versions of workspace
//! packages and unreachable packages leave it Fresh. Without a lockfile, one is resolved and memoised until a
//! manifest changes; if it has to be resolved again, its closure, and thus the key, shows whether it differs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::digest::Digest;
use crate::path::RelPath;
use crate::plan::check::{OutsideFile, Reduced};
use crate::plan::id_at;
use crate::plan::layer::{Build, HostBuild, Layer, LayerKind, Sources, Step};
use crate::scope::Scope;
use crate::snapshot::{FileId, Kind};
use crate::tool::rustup::Toolchain;

use super::Found;
use super::config;
use super::lock::{LockError, external_closure, own_packages, shared_names, without_comments};
use super::manifests::vendored;
use super::reduced;
use super::retry::{FAILED, refuses_lockfile};
use super::workspace::{Workspace, Workspaces};

/// The lockfile of a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lockfile {
    /// A file of the project.
    Tracked(FileId),
    /// A file that git ignores.
    Ignored(OutsideFile, String),
    /// There is none; holds the one that was resolved instead.
    Resolved(String),
    /// There is none, and nothing to pin.
    None,
}

impl Lockfile {
    /// The lockfile beside the workspace's root manifest, or one that is resolved for it.
    pub(crate) fn find(
        scope: &Scope<'_>,
        workspaces: &Workspaces<'_>,
        dir: &RelPath,
        toolchain: &Toolchain,
        workspace: &Workspace,
    ) -> Result<Self, String> {
        let path = dir.join("Cargo.lock").unwrap_or_default();
        if let Some(id) = scope.snapshot.find(&path) {
            return Ok(Self::Tracked(id));
        }
        if let Ok(text) = crate::fs::text(path.under(scope.snapshot.root())) {
            let digest = Digest::of(text.as_bytes());
            let file = OutsideFile {
                up: 0,
                path,
                digest,
            };
            return Ok(Self::Ignored(file, text));
        }
        if !workspace.has_external && workspace.path_dependencies.is_empty() {
            return Ok(Self::None);
        }
        let text = workspaces.resolve(dir, toolchain).map_err(|why| {
            format!(
                "`{path}` does not exist, and cargo cannot resolve one: {why}\n\
                 help: run `cargo generate-lockfile` in that folder where the registry can be reached"
            )
        })?;
        Ok(Self::Resolved(text))
    }

    /// Whether the room gets one.
    #[must_use]
    pub(crate) const fn is_there(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// The file to copy to the room if git ignores it.
    pub(crate) fn outside(&self) -> impl Iterator<Item = &OutsideFile> {
        match self {
            Self::Ignored(file, _) => Some(file),
            _ => None,
        }
        .into_iter()
    }

    /// Names of the packages in it that are in the project; empty if it is invalid, which is reported elsewhere.
    #[must_use]
    pub(crate) fn own_packages(&self, scope: &Scope<'_>) -> BTreeSet<String> {
        self.names(scope, "cargo-lock-own/1", own_packages)
    }

    /// Names that such packages share with others; empty if it is invalid.
    #[must_use]
    pub(crate) fn shared_names(&self, scope: &Scope<'_>) -> BTreeSet<String> {
        self.names(scope, "cargo-lock-shared/1", shared_names)
    }

    fn names(
        &self,
        scope: &Scope<'_>,
        kind: &str,
        of: fn(&str) -> Result<BTreeSet<String>, LockError>,
    ) -> BTreeSet<String> {
        let parse = |digest, text: &dyn Fn() -> Option<String>| {
            scope.facts.derive(kind, digest, || {
                text().map_or_else(|| Ok(BTreeSet::new()), |text| of(&text))
            })
        };
        let names = match self {
            Self::Tracked(id) => {
                let entry = scope.snapshot.entry(*id);
                parse(entry.digest, &|| scope.text(&entry.path))
            }
            Self::Ignored(_, text) | Self::Resolved(text) => {
                parse(Digest::of(text.as_bytes()), &|| Some(text.clone()))
            }
            Self::None => return BTreeSet::new(),
        };
        names.unwrap_or_default()
    }

    /// What a check on this host sees of it: all but its comments.
    pub(crate) fn reduced(&self, scope: &Scope<'_>) -> Option<Reduced> {
        let Self::Tracked(id) = self else { return None };
        let entry = scope.snapshot.entry(*id);
        let is_plain = entry.kind != Kind::Symlink && entry.path.file_name() == "Cargo.lock";
        let digest = scope
            .facts
            .derive("cargo-lock-reduced/1", entry.digest, || {
                let text = scope.text(&entry.path).filter(|_| is_plain).ok_or(())?;
                Ok::<_, ()>(Digest::of(without_comments(&text).as_bytes()))
            });
        Some(Reduced {
            path: entry.path.clone(),
            digest: digest.ok()?,
            reduce: without_comments,
        })
    }

    /// Its text; `None` if unreadable.
    pub(crate) fn text(&self, scope: &Scope<'_>) -> Option<String> {
        match self {
            Self::Tracked(id) => scope.text(&scope.snapshot.entry(*id).path),
            Self::Ignored(_, text) | Self::Resolved(text) => Some(text.clone()),
            Self::None => None,
        }
    }

    /// The external packages, as parts of a key.
    pub(crate) fn packages(
        &self,
        scope: &Scope<'_>,
        dir: &RelPath,
    ) -> Result<Vec<(String, String)>, String> {
        let (digest, text) = match self {
            Self::Tracked(id) => (scope.snapshot.entry(*id).digest, None),
            Self::Ignored(file, text) => (file.digest, Some(text.clone())),
            Self::Resolved(text) => (Digest::of(text.as_bytes()), Some(text.clone())),
            Self::None => return Ok(Vec::new()),
        };
        let path = dir.join("Cargo.lock").unwrap_or_default();
        let refused = |why: String| {
            format!(
                "cannot parse `{path}`: {}\n  --> {path}\nhelp: run `cargo generate-lockfile` to write a new one",
                why.trim()
            )
        };
        let closure = scope.facts.derive("cargo-lock-closure/1", digest, || {
            let text = text
                .or_else(|| scope.text(&path))
                .ok_or_else(|| refused("not readable as text".to_owned()))?;
            external_closure(&text).map_err(|error| refused(error.to_string()))
        })?;
        Ok(closure.into_iter().collect())
    }
}

/// The layer; `None` if nothing comes from elsewhere.
///
/// # Errors
/// If the lockfile is none.
pub(super) fn layer(
    found: &Found<'_>,
    tools_layer: &str,
    lockfile: &Lockfile,
) -> Result<Option<Layer>, String> {
    let Found {
        scope,
        workspaces,
        dir,
        toolchain,
        workspace,
        ..
    } = *found;
    let Some(cargo) = toolchain.program("cargo") else {
        return Ok(None);
    };
    let mut parts = lockfile.packages(scope, dir)?;
    let resolved = match lockfile {
        Lockfile::Resolved(text) => Some(text.clone()),
        _ => None,
    };
    if parts.is_empty() && !workspace.has_external && resolved.is_none() {
        return Ok(None);
    }
    // Configuration may replace sources.
    let home = config::cargo_home(scope).and_then(|home| config::home_digest(&home));
    parts.push((
        "configuration in CARGO_HOME".to_owned(),
        home.map_or_else(|| "none".to_owned(), |digest| digest.to_string()),
    ));
    for folder in config::vendored_outside(scope, dir) {
        let digest = config::folder_digest(scope, &folder).to_string();
        parts.push(("vendored packages outside the project".to_owned(), digest));
    }
    Ok(Some(Layer {
        name: id_at("deps:rust", dir),
        kind: LayerKind::Deps,
        on: vec!["base".to_owned(), tools_layer.to_owned()],
        parts,
        build: Build::Host(Arc::new(Fetch {
            cargo: cargo.to_path_buf(),
            sources: sources(scope, workspaces, lockfile, dir),
            resolved,
            set_env: toolchain
                .name
                .iter()
                .map(|name| (crate::env::RUSTUP_TOOLCHAIN.to_owned(), name.clone()))
                .collect(),
        })),
    }))
}

/// `cargo fetch`. Its product is in cargo's home; the layer's folder only records that it was done.
#[derive(Debug)]
pub(crate) struct Fetch {
    pub(crate) cargo: PathBuf,
    /// Manifests, lockfile, configuration, target roots.
    pub(crate) sources: Sources,
    /// The lockfile, if it was resolved because the project has none.
    pub(crate) resolved: Option<String>,
    /// Variables in addition to the user's.
    pub(crate) set_env: Vec<(String, String)>,
}

impl HostBuild for Fetch {
    fn sources(&self) -> Sources {
        self.sources.clone()
    }

    fn next(&self, _: &Path, ended: &[i32]) -> Result<Option<Step>, String> {
        Ok(ended.is_empty().then(|| Step {
            program: self.cargo.clone(),
            args: ["fetch", "--locked"].map(str::to_owned).to_vec(),
            set_env: self.set_env.clone(),
            ..Step::default()
        }))
    }

    fn verdict(&self, output: &str) -> Option<i32> {
        refuses_lockfile(output).then_some(FAILED)
    }

    fn lays(&self) -> Option<(RelPath, Vec<u8>)> {
        let path = self.sources.dir.join("Cargo.lock").ok()?;
        Some((path, self.resolved.clone()?.into_bytes()))
    }
}

/// What `cargo fetch` sees, with reduced configuration.
fn sources(
    scope: &Scope<'_>,
    workspaces: &Workspaces<'_>,
    lockfile: &Lockfile,
    dir: &RelPath,
) -> Sources {
    let made = reduced::files(scope);
    let mut files = files(scope, workspaces, lockfile);
    files.retain(|id| {
        let path = &scope.snapshot.entry(*id).path;
        !reduced::replaces(scope, *id) && !made.contains_key(path)
    });
    let mut made_above = Vec::new();
    let mut outside = outside(scope, workspaces, lockfile);
    outside.retain(|file| {
        let reduced = match config::is_cargo_config(&file.path) {
            true => reduced::above(scope, file),
            false => None,
        };
        let keep = reduced.is_none();
        made_above.extend(reduced.map(|text| (file.up, file.path.clone(), text)));
        keep
    });
    Sources {
        files,
        outside,
        made: made.into_iter().collect(),
        made_above,
        dir: dir.clone(),
    }
}

/// Everything cargo loads manifests from, vendored packages and the lockfile.
fn files(scope: &Scope<'_>, workspaces: &Workspaces<'_>, lockfile: &Lockfile) -> Vec<FileId> {
    let mut files: Vec<FileId> = workspaces.loading().files().collect();
    let vendored = vendored(scope);
    files.extend(vendored.iter().flat_map(|dir| scope.snapshot.below(dir)));
    if let Lockfile::Tracked(id) = lockfile {
        files.push(*id);
    }
    files.sort_unstable();
    files.dedup();
    files
}

fn outside(
    scope: &Scope<'_>,
    workspaces: &Workspaces<'_>,
    lockfile: &Lockfile,
) -> Vec<OutsideFile> {
    let above = config::cargo_home(scope).map(|home| config::above(scope, &home));
    let config = above.unwrap_or_default().into_iter();
    let others = lockfile.outside().chain(workspaces.above()).cloned();
    config.chain(others).collect()
}
