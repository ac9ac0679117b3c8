//! The result of `cargo metadata` for a workspace, memoised by the digests of its inputs.
//!
//! Cargo does not see the work tree: it runs in a skeleton, a temporary directory with the snapshot's manifests and
//! everything else it loads them from ([`Loading`]). So the answer is about the hashed content, even if that is git's
//! index. Paths in it are relative to the project root. The same skeleton serves to resolve a lockfile for a
//! workspace that has none.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cargo_metadata::{Metadata, TargetKind};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::digest::{Digest, Hasher};
use crate::path::RelPath;
use crate::plan::check::OutsideFile;
use crate::scope::Scope;
use crate::tool::rustup::Toolchain;

use super::above;
use super::config;
use super::loading::Loading;
use super::manifests::MANIFEST;

/// Kind of facts for resolved lockfiles; renewing it resolves them again.
pub(crate) const RESOLVED_LOCKFILE: &str = "cargo-resolved-lockfile/1";

/// A workspace (or a single package).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Workspace {
    pub(crate) members: Vec<Member>,
    /// Folders of path dependencies outside the workspace, including indirect ones; sorted.
    pub(crate) path_dependencies: Vec<RelPath>,
    /// The targets that `cargo fmt --all` formats, sorted by path.
    pub(crate) targets: Vec<Target>,
    /// Whether a package here depends on one from a registry or a git repository.
    pub(crate) has_external: bool,
    /// The highest Rust version, major and minor, that one of its packages requires.
    #[serde(default)]
    pub(crate) rust_version: Option<(u64, u64)>,
}

/// A package of the workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    /// The package's name.
    pub(crate) name: String,
    pub(crate) dir: RelPath,
    /// Whether it has code that runs at build time: a build script or a procedural macro.
    pub(crate) runs_at_build: bool,
}

/// The root file of a target and its edition for formatting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Target {
    pub(crate) path: RelPath,
    /// `2021`.
    pub(crate) edition: String,
    /// `lib`, `bin`, `test`, `bench`, `example` or `custom-build`; empty for packages outside the workspace.
    pub(crate) kind: String,
}

/// Queries cargo about the workspaces of one snapshot.
pub(crate) struct Workspaces<'a> {
    scope: &'a Scope<'a>,
    loading: Loading,
    above: Vec<OutsideFile>,
    digest: Digest,
    skeleton: OnceCell<Skeleton>,
}

impl<'a> Workspaces<'a> {
    /// For all workspaces of `scope`.
    #[must_use]
    pub(crate) fn new(scope: &'a Scope<'a>) -> Self {
        let loading = Loading::of(scope);
        let above = above::files(scope);
        Self {
            scope,
            digest: digest(loading.digest(scope), &above),
            loading,
            above,
            skeleton: OnceCell::new(),
        }
    }

    /// The workspace with its root manifest in `dir`.
    ///
    /// # Errors
    /// If cargo refuses a manifest.
    pub(crate) fn read(&self, dir: &RelPath, toolchain: &Toolchain) -> Result<Workspace, String> {
        let mut hasher = Hasher::new();
        hasher.update(self.digest.as_bytes());
        hasher.update(toolchain.identity.as_bytes());
        hasher.update(dir.as_bytes());
        self.scope
            .facts
            .derive("cargo-workspace/3", hasher.finish(), || {
                let mut reader = Reader {
                    scope: self.scope,
                    cargo: toolchain
                        .program("cargo")
                        .ok_or("the Rust toolchain has no `cargo`")?,
                    skeleton: self.skeleton()?,
                    visited: BTreeSet::new(),
                    workspace: Workspace::default(),
                };
                reader.read(dir, true)?;
                Ok(reader.finish())
            })
    }

    /// The files from which cargo loads manifests.
    #[must_use]
    pub(crate) const fn loading(&self) -> &Loading {
        &self.loading
    }

    /// The files above the project root that cargo reads.
    #[must_use]
    pub(crate) fn above(&self) -> &[OutsideFile] {
        &self.above
    }

    /// Digest of everything from which cargo loads manifests.
    #[must_use]
    pub(crate) const fn digest(&self) -> Digest {
        self.digest
    }

    /// A lockfile for the workspace in `dir`, which has none: resolved once with the user's configuration and
    /// memoised until a manifest, that configuration or the toolchain changes. Without access to a registry, cargo
    /// resolves with the packages it has.
    pub(crate) fn resolve(&self, dir: &RelPath, toolchain: &Toolchain) -> Result<String, String> {
        let home = config::cargo_home(self.scope).and_then(|home| config::home_digest(&home));
        let mut hasher = Hasher::new();
        hasher.update(self.digest.as_bytes());
        hasher.update(toolchain.identity.as_bytes());
        hasher.update(home.as_ref().map_or(b"none".as_slice(), |d| d.as_bytes()));
        hasher.update(dir.as_bytes());
        let facts = self.scope.facts;
        facts.derive(RESOLVED_LOCKFILE, hasher.finish(), || {
            let skeleton = self.skeleton()?;
            let cargo = toolchain
                .program("cargo")
                .ok_or("the toolchain has no `cargo`")?;
            skeleton.resolve(self.scope, cargo, dir, toolchain)
        })
    }

    fn skeleton(&self) -> Result<&Skeleton, String> {
        if let Some(skeleton) = self.skeleton.get() {
            return Ok(skeleton);
        }
        let skeleton = Skeleton::write(self.scope, &self.loading, &self.above).map_err(|error| {
            format!(
                "cannot write the manifests for `cargo metadata` to a temporary directory: {error}"
            )
        })?;
        Ok(self.skeleton.get_or_init(|| skeleton))
    }
}

/// Other digests where files above the root count.
fn digest(loading: Digest, above: &[OutsideFile]) -> Digest {
    if above.is_empty() {
        return loading;
    }
    let mut hasher = Hasher::new();
    hasher.update(loading.as_bytes());
    for file in above {
        hasher.update(&file.up.to_le_bytes());
        hasher.part(file.path.as_bytes());
        hasher.update(file.digest.as_bytes());
    }
    hasher.finish()
}

#[derive(Debug)]
struct Skeleton {
    root: PathBuf,
    /// The topmost folder here, and the one that it stands for.
    top: (PathBuf, PathBuf),
    // Dropping it deletes the directory.
    _dir: TempDir,
}

impl Skeleton {
    fn write(scope: &Scope<'_>, loading: &Loading, above: &[OutsideFile]) -> std::io::Result<Self> {
        let dir = apart(scope)?;
        let top = dir.path().canonicalize()?;
        let levels = above.iter().map(|file| file.up).max().unwrap_or(0);
        let root = (0..levels).fold(top.clone(), |path, _| path.join("up"));
        std::fs::create_dir_all(&root)?;
        loading.write(scope, &root)?;
        let project = scope.snapshot.root();
        let level = |root: &Path, up: u32| {
            let up = usize::try_from(up).unwrap_or(usize::MAX);
            root.ancestors().nth(up).unwrap_or(root).to_path_buf()
        };
        for file in above.iter().filter(|file| is_loaded(&file.path)) {
            let place = file.path.under(&level(&root, file.up));
            if let Some(folder) = place.parent() {
                std::fs::create_dir_all(folder)?;
            }
            std::fs::copy(file.path.under(&level(project, file.up)), place)?;
        }
        Ok(Self {
            top: (top, level(project, levels)),
            root,
            _dir: dir,
        })
    }

    /// Leaves no lockfile behind, because `cargo metadata` runs in the same place.
    fn resolve(
        &self,
        scope: &Scope<'_>,
        cargo: &Path,
        dir: &RelPath,
        toolchain: &Toolchain,
    ) -> Result<String, String> {
        let folder = dir.under(&self.root);
        let set: Vec<(&str, &str)> = toolchain
            .name
            .iter()
            .map(|name| (crate::env::RUSTUP_TOOLCHAIN, name.as_str()))
            .collect();
        let ask = |args: &[&str]| {
            let said = crate::process::capture(cargo, args, &folder, scope.env, &set)
                .map_err(|error| error.to_string())?;
            match said.status.success() {
                true => Ok(()),
                false => Err(self.words(&said.stderr)),
            }
        };
        let online = ["generate-lockfile", "--color", "never"];
        let offline = ["generate-lockfile", "--color", "never", "--offline"];
        ask(&online).or_else(|why| ask(&offline).map_err(|_| why))?;
        let file = folder.join("Cargo.lock");
        let text = crate::fs::text(&file).map_err(|error| error.to_string())?;
        std::fs::remove_file(&file).map_err(|error| error.to_string())?;
        Ok(text)
    }

    /// Cargo's message, with paths of the skeleton turned into project paths.
    fn words(&self, stderr: &[u8]) -> String {
        let text = String::from_utf8_lossy(stderr);
        let folder = format!("{}/", self.root.to_string_lossy());
        let text = text.replace(&folder, "");
        let (top, real) = &self.top;
        let text = text.replace(&*top.to_string_lossy(), &real.to_string_lossy());
        text.trim().trim_start_matches("error: ").to_owned()
    }

    fn relative(&self, path: &Path) -> Option<RelPath> {
        RelPath::from_path(path.strip_prefix(&self.root).ok()?).ok()
    }
}

/// A temporary directory in the store, because cargo also reads configuration in all folders above, and not everybody
/// can write to those; elsewhere if the store is in the project.
fn apart(scope: &Scope<'_>) -> std::io::Result<TempDir> {
    let memo = scope.tools.memo_folder();
    let inside = |folder: &&Path| folder.starts_with(scope.snapshot.root());
    let Some(memo) = memo.filter(|memo| !inside(memo)) else {
        return TempDir::new();
    };
    let folder = memo.with_file_name("checkouts");
    let made = crate::fs::own::make_private(&folder).and_then(|()| tempfile::tempdir_in(folder));
    made.or_else(|_| TempDir::new())
}

/// Walks over a workspace and its path dependencies, in the order and with the rules of `cargo fmt --all`.
struct Reader<'a> {
    scope: &'a Scope<'a>,
    cargo: &'a Path,
    skeleton: &'a Skeleton,
    visited: BTreeSet<String>,
    workspace: Workspace,
}

impl Reader<'_> {
    fn read(&mut self, dir: &RelPath, own: bool) -> Result<(), String> {
        let metadata = self.metadata(dir)?;
        let here: BTreeSet<_> = metadata.packages.iter().map(|p| &p.manifest_path).collect();
        for package in &metadata.packages {
            self.add_package(package, own)?;
            for dependency in &package.dependencies {
                let Some(path) = &dependency.path else {
                    self.workspace.has_external |= own;
                    continue;
                };
                // Cargo formats packages above the root, too. They are not the project's.
                let Some(dir) = self.skeleton.relative(path.as_std_path()) else {
                    continue;
                };
                let manifest = path.join(MANIFEST);
                if !here.contains(&manifest)
                    && manifest.is_file()
                    && self.visited.insert(dependency.name.clone())
                {
                    self.read(&dir, false)?;
                }
            }
        }
        Ok(())
    }

    fn metadata(&self, dir: &RelPath) -> Result<Metadata, String> {
        let manifest = dir.join(MANIFEST).unwrap_or_default();
        let args = [
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
            "--color",
            "never",
            "--manifest-path",
            &manifest,
        ];
        let refused = |why: &str| {
            format!(
                "cargo cannot read `{manifest}`: {why}\n\
                 help: fix it, or add its folder to `exclude` in the configuration"
            )
        };
        let home = config::cargo_home(self.scope);
        let home = home.as_ref().map(|home| home.to_string_lossy());
        // Nothing of the user's home but cargo's configuration is needed.
        let mut set: Vec<(&str, &str)> = Vec::new();
        set.extend(home.as_deref().map(|home| (crate::env::CARGO_HOME, home)));
        let empty = self.skeleton.top.0.to_string_lossy();
        set.push((crate::env::HOME, &empty));
        let root = &self.skeleton.root;
        let output = crate::process::capture(self.cargo, &args, root, self.scope.env, &set)
            .map_err(|error| refused(&error.to_string()))?;
        if !output.status.success() {
            return Err(refused(&self.skeleton.words(&output.stderr)));
        }
        serde_json::from_slice(&output.stdout).map_err(|error| refused(&error.to_string()))
    }

    fn add_package(&mut self, package: &cargo_metadata::Package, own: bool) -> Result<(), String> {
        let folder = package.manifest_path.parent();
        let dir = folder.and_then(|dir| self.skeleton.relative(dir.as_std_path()));
        let Some(dir) = dir else {
            return Err(format!(
                "the workspace member `{}` is above the project root\n\
                 help: run this program in a folder that contains both, or use `-C`",
                package.name
            ));
        };
        for target in &package.targets {
            // A target may name a file outside; then cargo reports it, or rustfmt in the room.
            if let Some(path) = self.skeleton.relative(target.src_path.as_std_path()) {
                let kind = target
                    .kind
                    .first()
                    .filter(|kind| own || **kind == TargetKind::CustomBuild);
                self.workspace.targets.push(Target {
                    path,
                    edition: target.edition.to_string(),
                    kind: kind.map(ToString::to_string).unwrap_or_default(),
                });
            }
        }
        let runs =
            |kind: &TargetKind| matches!(kind, TargetKind::CustomBuild | TargetKind::ProcMacro);
        if own {
            let needed = package.rust_version.as_ref();
            let needed = needed.map(|version| (version.major, version.minor));
            self.workspace.rust_version = self.workspace.rust_version.max(needed);
            self.workspace.members.push(Member {
                name: package.name.to_string(),
                dir,
                runs_at_build: package.targets.iter().any(|t| t.kind.iter().any(runs)),
            });
        } else {
            self.workspace.path_dependencies.push(dir);
        }
        Ok(())
    }

    fn finish(self) -> Workspace {
        let mut workspace = self.workspace;
        // As in cargo-fmt, the first edition of a file counts; the sort is stable.
        workspace.targets.sort_by(|a, b| a.path.cmp(&b.path));
        workspace
            .targets
            .dedup_by(|later, first| later.path == first.path);
        workspace.path_dependencies.sort_unstable();
        workspace.path_dependencies.dedup();
        workspace
    }
}

/// Whether cargo loads manifests from a file outside the project, or looks for it by name. Not configuration, which
/// could name programs.
fn is_loaded(path: &RelPath) -> bool {
    path.file_name() == MANIFEST || path.extension() == Some("rs")
}
