//! Layers on the host: built once, in place, under a lock, and complete only when that is written down.
//!
//! ```text
//! <layers>/<key>/           a Python environment (its scripts hold this path, so it is never moved)
//!   requirements.txt        what a Python environment was made from
//!   complete                version, key, place and an inventory of the folder; written last
//! ```
//! A folder whose `complete` is not exactly what it should be is deleted and built again.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, UNIX_EPOCH};

use tokio_util::sync::CancellationToken;

use crate::digest::{Digest, Hasher};
use crate::engine::folder::Folder;
use crate::engine::{EngineError, Prepare, Prepared, blocking, describe, quoted, refuses_lockfile};
use crate::path::RelPath;
use crate::plan::check::OutsideFile;
use crate::plan::{Build, Layer};
use crate::process::{self, Ended, Launch, Limits};
use crate::room::remove;
use crate::snapshot::{FileId, Kind, Snapshot};

/// The file that makes a layer complete.
pub(super) const MARKER: &str = "complete";

/// How often a layer that another process builds is looked at.
const POLL: Duration = Duration::from_millis(50);

/// pip can install into another interpreter's environment from this version on; with an older one the environment
/// gets its own pip, which takes seconds.
const CAN_INSTALL_ELSEWHERE: &str =
    "import pip, sys; sys.exit([int(n) for n in pip.__version__.split('.')[:2]] < [22, 3])";

/// The layers of a host.
#[derive(Debug)]
pub(crate) struct Layers {
    dir: Folder,
    locks: Folder,
    /// Keys of layers found complete by this process.
    verified: Mutex<HashSet<Digest>>,
    /// What cargo said of lockfiles that do not fit the manifests. Layers of several workspaces may share a key.
    refused: Mutex<HashMap<(String, Digest), String>>,
}

impl Layers {
    /// Kept in `dir`, with locks in `locks`.
    #[must_use]
    pub(crate) fn new(dir: PathBuf, locks: PathBuf) -> Self {
        Self {
            dir: Folder::new(dir),
            locks: Folder::new(locks),
            verified: Mutex::new(HashSet::new()),
            refused: Mutex::new(HashMap::new()),
        }
    }

    /// The folder of a layer that is complete. Layers without a build have none.
    #[must_use]
    pub(crate) fn find(&self, key: Digest) -> Option<PathBuf> {
        let mut places = vec![self.dir.wanted()];
        places.extend(self.dir.get().ok());
        let dir = places
            .into_iter()
            .map(|place| place.join(key.to_string()))
            .find(|dir| self.is_complete(dir, key))?;
        Some(dir)
    }

    /// What cargo said of a lockfile that does not fit the manifests, when this layer was last asked for.
    #[must_use]
    pub(crate) fn refused(&self, layer: &Layer, key: Digest) -> Option<String> {
        self.refusals().get(&(layer.name.clone(), key)).cloned()
    }

    /// See [`crate::engine::Engine::prepare`].
    ///
    /// # Errors
    /// If a layer cannot be built.
    pub(crate) async fn prepare(
        &self,
        request: &Prepare<'_>,
        cancel: &CancellationToken,
    ) -> Result<Vec<Prepared>, EngineError> {
        let mut prepared = Vec::new();
        for (layer, key) in request.layers {
            prepared.push(Prepared {
                layer: layer.name.clone(),
                built: self.prepare_one(layer, *key, request, cancel).await?,
            });
        }
        Ok(prepared)
    }

    async fn prepare_one(
        &self,
        layer: &Layer,
        key: Digest,
        request: &Prepare<'_>,
        cancel: &CancellationToken,
    ) -> Result<Option<Duration>, EngineError> {
        let present = || blocking(|| self.find(key)).is_some();
        if layer.build == Build::Present || (!request.force && present()) {
            return Ok(None);
        }
        let lock = self.lock(key, cancel).await?;
        // Another process may have built it meanwhile.
        if !request.force && present() {
            return Ok(None);
        }
        let start = Instant::now();
        let place = io_at(self.dir.wanted(), self.dir.get())?;
        let builder = Builder {
            layer,
            dir: place.join(key.to_string()),
            lock: &lock,
            request,
            cancel,
        };
        self.forget(key);
        self.refusals().remove(&(layer.name.clone(), key));
        if let Some(said) = builder.build().await? {
            self.refusals().insert((layer.name.clone(), key), said);
            return Ok(None);
        }
        let marker = builder.dir.join(MARKER);
        let text = io_at(&builder.dir, complete(&builder.dir, key))?;
        let written = crate::fs::write_atomic(&marker, text.as_bytes());
        io_at(&marker, written.map_err(|error| error.source))?;
        Ok(Some(start.elapsed()))
    }

    /// One builder at a time per key, in all processes.
    async fn lock(&self, key: Digest, cancel: &CancellationToken) -> Result<File, EngineError> {
        let place = io_at(self.locks.wanted(), self.locks.get())?;
        let path = place.join(format!("layer-{key}"));
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let file = io_at(&path, file)?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(std::fs::TryLockError::Error(error)) => return io_at(&path, Err(error)),
                Err(std::fs::TryLockError::WouldBlock) => tokio::select! {
                    () = cancel.cancelled() => return Err(EngineError::Cancelled),
                    () = tokio::time::sleep(POLL) => {}
                },
            }
        }
    }

    fn is_complete(&self, dir: &Path, key: Digest) -> bool {
        let verified = || self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if verified().contains(&key) {
            return dir.is_dir();
        }
        let sound = is_sound(dir, key);
        if sound {
            verified().insert(key);
        }
        sound
    }

    fn refusals(&self) -> MutexGuard<'_, HashMap<(String, Digest), String>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self, key: Digest) {
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        verified.remove(&key);
    }
}

/// A layer that was not prepared, or was damaged since.
#[must_use]
pub(crate) fn not_built(layer: &str) -> EngineError {
    EngineError::Unavailable(format!("layer `{layer}` has not been built"))
}

/// Whether a layer is complete and as it was then.
pub(super) fn is_sound(dir: &Path, key: Digest) -> bool {
    let Ok(marker) = std::fs::read_to_string(dir.join(MARKER)) else {
        return false;
    };
    complete(dir, key).is_ok_and(|text| text == marker)
}

/// The text that makes a layer complete.
fn complete(dir: &Path, key: Digest) -> io::Result<String> {
    let inventory = inventory(dir)?;
    let place = Digest::of(dir.as_os_str().as_encoded_bytes());
    Ok(format!("dagcache-layer 1\n{key}\n{place}\n{inventory}\n"))
}

/// Digest of the names, sizes and times of a layer's files. What Python caches beside them is not of the layer.
fn inventory(dir: &Path) -> io::Result<Digest> {
    let mut hasher = Hasher::new();
    let files = walkdir::WalkDir::new(dir)
        .min_depth(1)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| {
            let name = entry.file_name();
            name != "__pycache__" && !(entry.depth() == 1 && name == MARKER)
        });
    for entry in files {
        let entry = entry?;
        let meta = entry.metadata()?;
        let path = entry.path().strip_prefix(dir).unwrap_or(entry.path());
        hasher.update(path.as_os_str().as_encoded_bytes());
        hasher.update(&[0, u8::from(meta.is_dir()), u8::from(meta.is_symlink())]);
        if meta.is_file() {
            let time = meta.modified()?.duration_since(UNIX_EPOCH);
            hasher.update(&meta.len().to_le_bytes());
            hasher.update(&time.unwrap_or_default().as_nanos().to_le_bytes());
        }
    }
    Ok(hasher.finish())
}

/// Variables of the user that would have Python or pip look or install elsewhere.
const ELSEWHERE: &[&str] = &[
    "PYTHONPATH",
    "PYTHONHOME",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_ROOT",
    "PIP_DRY_RUN",
];

/// One layer being built.
struct Builder<'a> {
    layer: &'a Layer,
    dir: PathBuf,
    lock: &'a File,
    request: &'a Prepare<'a>,
    cancel: &'a CancellationToken,
}

impl Builder<'_> {
    /// Returns what cargo says if the lockfile does not fit the manifests: that is no trouble of the host, but what the
    /// check is to report.
    async fn build(&self) -> Result<Option<String>, EngineError> {
        match &self.layer.build {
            Build::Present => Ok(None),
            Build::Image { .. } | Build::Archive { .. } | Build::Script(_) => {
                Err(EngineError::Unavailable(format!(
                    "layer `{}` is one of a container",
                    self.layer.name
                )))
            }
            Build::PythonEnv {
                python,
                requirements,
            } => self.python_env(python, requirements).await.map(|()| None),
            Build::CargoFetch {
                dir,
                cargo,
                files,
                outside,
                resolved,
                set_env,
            } => {
                let place = self.dir.join("source");
                self.start_from_empty()?;
                let snapshot = self.request.snapshot;
                let source = materialise_all(snapshot, files, outside, &place)?;
                if let Some(text) = resolved {
                    let lockfile = lockfile_path(dir).under(&source);
                    io_at(&lockfile, std::fs::write(&lockfile, text))?;
                }
                let refused = self.cargo_fetch(cargo, &source, dir, set_env).await?;
                io_at(&place, remove(&place))?;
                Ok(refused)
            }
        }
    }

    async fn python_env(&self, python: &Path, requirements: &str) -> Result<(), EngineError> {
        self.start_from_empty()?;
        let env = self.env(&[("PIP_USER", "0")], ELSEWHERE);
        let venv = self.dir.to_string_lossy().into_owned();
        let probe = ["-c", CAN_INSTALL_ELSEWHERE];
        let elsewhere = self.try_step(python, &probe, &self.dir, &env).await?.0 == Ended::Exit(0);
        let mut create = vec!["-m", "venv"];
        create.extend(elsewhere.then_some("--without-pip"));
        create.push(&venv);
        self.step(python, &create, &self.dir, &env).await?;

        let file = self.dir.join("requirements.txt");
        io_at(&file, std::fs::write(&file, requirements))?;
        let inner = self.dir.join("bin/python");
        let (inner_text, file_text) = (inner.to_string_lossy(), file.to_string_lossy());
        let mut install = vec!["-m", "pip"];
        if elsewhere {
            install.extend(["--python", &inner_text]);
        }
        install.extend(["install", "--require-hashes", "--no-deps"]);
        install.extend(["--only-binary", ":all:", "--no-input"]);
        install.extend(["--disable-pip-version-check", "-r", &file_text]);
        let pip = if elsewhere { python } else { &inner };
        self.step(pip, &install, &self.dir, &env).await?;
        self.installed(requirements)
    }

    /// Whether pip installed where it was told to: its configuration may name another place.
    fn installed(&self, requirements: &str) -> Result<(), EngineError> {
        let wanted = requirements
            .lines()
            .filter(|line| line.contains("=="))
            .count();
        let site = walkdir::WalkDir::new(self.dir.join("lib"))
            .max_depth(3)
            .into_iter()
            .flatten();
        let found = site
            .filter(|entry| entry.file_name().to_string_lossy().ends_with(".dist-info"))
            .count();
        if found >= wanted {
            return Ok(());
        }
        Err(EngineError::Layer {
            layer: self.layer.name.clone(),
            message: format!(
                "pip installed {found} of {wanted} packages into the environment; look for `target`, `prefix`, `root` \
                 or `dry-run` in its configuration (`pip config list`)"
            ),
            output: String::new(),
        })
    }

    /// The product is what cargo keeps in its own home; the layer's folder only says that it was done.
    async fn cargo_fetch(
        &self,
        cargo: &Path,
        source: &Path,
        dir: &RelPath,
        set_env: &[(String, String)],
    ) -> Result<Option<String>, EngineError> {
        let set: Vec<(&str, &str)> = set_env
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let env = self.env(&set, &[]);
        let fetch = ["fetch", "--locked"];
        let (ended, output) = self
            .try_step(cargo, &fetch, &dir.under(source), &env)
            .await?;
        if ended == Ended::Exit(0) {
            return Ok(None);
        }
        if refuses_lockfile(&output) {
            return Ok(Some(output.replace(&format!("{}/", source.display()), "")));
        }
        Err(self.failure(cargo, &fetch, ended, output))
    }

    fn start_from_empty(&self) -> Result<(), EngineError> {
        io_at(&self.dir, remove(&self.dir))?;
        io_at(&self.dir, std::fs::create_dir_all(&self.dir))
    }

    /// The user's environment: mirrors and certificates are configured there.
    fn env(&self, set: &[(&str, &str)], without: &[&str]) -> Vec<(OsString, OsString)> {
        let users = self.request.env.all();
        let mut env: Vec<_> = users
            .filter(|(name, _)| !without.iter().any(|other| name.as_os_str() == *other))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        env.extend(set.iter().map(|(name, value)| (name.into(), value.into())));
        env
    }

    async fn step(
        &self,
        program: &Path,
        args: &[&str],
        dir: &Path,
        env: &[(OsString, OsString)],
    ) -> Result<(), EngineError> {
        let (ended, output) = self.try_step(program, args, dir, env).await?;
        if ended == Ended::Exit(0) {
            return Ok(());
        }
        Err(self.failure(program, args, ended, output))
    }

    fn failure(&self, program: &Path, args: &[&str], ended: Ended, output: String) -> EngineError {
        let program = program.to_string_lossy();
        let command = quoted(std::iter::once(program.as_ref()).chain(args.iter().copied()));
        EngineError::Layer {
            layer: self.layer.name.clone(),
            message: format!("`{command}` {}", describe(ended)),
            output,
        }
    }

    async fn try_step(
        &self,
        program: &Path,
        args: &[&str],
        dir: &Path,
        env: &[(OsString, OsString)],
    ) -> Result<(Ended, String), EngineError> {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let launch = Launch {
            program,
            args: &args,
            dir,
            env,
            hold: Some(self.lock),
            confined: None,
        };
        let ran = process::run(&launch, &Limits::default(), self.cancel, None).await;
        let ran = ran.map_err(|error| EngineError::Spawn {
            program: program.display().to_string(),
            message: error.to_string(),
        })?;
        match ran.ended {
            Ended::Cancelled => Err(EngineError::Cancelled),
            ended => Ok((ended, ran.tail())),
        }
    }
}

/// The lockfile that was resolved for a project without one: where it belongs and its content.
#[must_use]
pub(crate) fn resolved_lockfile(layer: &Layer) -> Option<(RelPath, Vec<u8>)> {
    match &layer.build {
        Build::CargoFetch {
            dir,
            resolved: Some(text),
            ..
        } => Some((lockfile_path(dir), text.clone().into_bytes())),
        _ => None,
    }
}

fn lockfile_path(dir: &RelPath) -> RelPath {
    dir.join("Cargo.lock").unwrap_or_default()
}

/// Writes files below a fresh folder, with room above the copy of the project root for those from outside. Returns
/// the copy of the project root.
fn materialise_all(
    snapshot: &Snapshot,
    files: &[FileId],
    outside: &[OutsideFile],
    place: &Path,
) -> Result<PathBuf, EngineError> {
    let depth = outside.iter().map(|file| file.up).max().unwrap_or(0);
    let root = (0..depth).fold(place.to_owned(), |path, _| path.join("up"));
    for id in files {
        materialise(snapshot, *id, &root)?;
    }
    for file in outside {
        let folder = (0..file.up).fold(root.as_path(), |path, _| path.parent().unwrap_or(path));
        let path = file.path.under(folder);
        let parent = path.parent().unwrap_or(folder);
        io_at(parent, std::fs::create_dir_all(parent))?;
        let content = crate::room::outside_content(snapshot, file)?;
        io_at(&path, std::fs::write(&path, content))?;
    }
    Ok(root)
}

/// Writes a file of the snapshot below a fresh folder.
fn materialise(snapshot: &Snapshot, id: FileId, root: &Path) -> Result<(), EngineError> {
    let entry = snapshot.entry(id);
    let path = entry.path.under(root);
    let parent = path.parent().unwrap_or(root);
    io_at(parent, std::fs::create_dir_all(parent))?;
    let source = entry.path.under(snapshot.root());
    let content = crate::room::unchanged(&source, snapshot.read(id))?;
    let written = match entry.kind {
        Kind::Symlink => {
            use std::os::unix::ffi::OsStringExt;
            std::os::unix::fs::symlink(OsString::from_vec(content), &path)
        }
        Kind::File | Kind::Executable => std::fs::write(&path, content),
    };
    io_at(&path, written)
}

fn io_at<T>(path: &Path, result: io::Result<T>) -> Result<T, EngineError> {
    result.map_err(|source| EngineError::Io {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests;
