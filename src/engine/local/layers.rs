//! Layers on the host: built once, in place, under a lock, and valid only once marked as complete.
//!
//! ```text
//! <layers>/<key>/           products of the commands (they may contain this path, so it is never moved)
//!   complete                version, key, place and an inventory of the directory; written last
//! ```
//! A directory without the exact expected `complete` is deleted and built again.

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
use crate::engine::{EngineError, Prepare, Prepared, blocking, describe, quoted};
use crate::fs::own;
use crate::plan::layer::{HostBuild, Sources, Step};
use crate::plan::{Build, Layer};
use crate::process::launcher::spec::Bounds;
use crate::process::{self, Confined, Ended, Launch, Limits};
use crate::room::remove;
use crate::snapshot::{FileId, Kind, Snapshot};

/// Marks a layer as complete.
pub(super) const MARKER: &str = "complete";

/// How often to check for a layer that another process is building.
const POLL: Duration = Duration::from_millis(50);

/// The exit code of the layer's checks, and their output.
type Refusal = (i32, String);

#[derive(Debug)]
pub(crate) struct Layers {
    dir: Folder,
    locks: Folder,
    /// This program.
    launcher: Option<PathBuf>,
    /// Keys of layers this process has found complete.
    verified: Mutex<HashSet<Digest>>,
    /// Verdicts reached while building. Layers of several folders may share a key.
    refused: Mutex<HashMap<(String, Digest), Refusal>>,
}

impl Layers {
    /// Layers in `dir`, with locks in `locks`.
    #[must_use]
    pub(crate) fn new(dir: PathBuf, locks: PathBuf) -> Self {
        Self {
            dir: Folder::new(dir),
            locks: Folder::new(locks),
            launcher: None,
            verified: Mutex::new(HashSet::new()),
            refused: Mutex::new(HashMap::new()),
        }
    }

    /// Starts the commands of layers by this launcher, so that a killed build ends before the next one begins.
    pub(super) fn start_by(&mut self, launcher: PathBuf) {
        self.launcher = Some(launcher);
    }

    /// The directory of a complete layer. Layers without a build have none.
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

    /// The verdict reached when this layer was last prepared, if any.
    #[must_use]
    pub(crate) fn refused(&self, layer: &Layer, key: Digest) -> Option<Refusal> {
        self.refusals().get(&(layer.name.clone(), key)).cloned()
    }

    /// See [`crate::engine::Engine::prepare`].
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
        let build = match &layer.build {
            Build::Present => return Ok(None),
            Build::Host(build) => build.as_ref(),
            _ => return Err(of_a_container(&layer.name)),
        };
        if !request.force && present() {
            return Ok(None);
        }
        let lock = self.lock(key, cancel).await?;
        // Another process may have built it in the meantime.
        if !request.force && present() {
            return Ok(None);
        }
        let start = Instant::now();
        let place = io_at(self.dir.wanted(), self.dir.get())?;
        let builder = Builder {
            layer: &layer.name,
            build,
            dir: place.join(key.to_string()),
            lock: &lock,
            launcher: self.launcher.as_deref(),
            request,
            cancel,
        };
        self.forget(key);
        self.refusals().remove(&(layer.name.clone(), key));
        if let Some(refusal) = builder.build().await? {
            self.refusals().insert((layer.name.clone(), key), refusal);
            return Ok(None);
        }
        let marker = builder.dir.join(MARKER);
        let text = io_at(&builder.dir, complete(&builder.dir, key))?;
        let written = crate::fs::write_atomic(&marker, text.as_bytes());
        io_at(&marker, written.map_err(|error| error.source))?;
        Ok(Some(start.elapsed()))
    }

    /// One builder at a time per key, across all processes.
    async fn lock(&self, key: Digest, cancel: &CancellationToken) -> Result<File, EngineError> {
        let place = io_at(self.locks.wanted(), self.locks.get())?;
        let path = place.join(format!("layer-{key}"));
        let file = io_at(&path, own::open(&path))?;
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

    fn refusals(&self) -> MutexGuard<'_, HashMap<(String, Digest), Refusal>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self, key: Digest) {
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        verified.remove(&key);
    }
}

/// A layer that was not prepared or has been damaged since.
#[must_use]
pub(crate) fn not_built(layer: &str) -> EngineError {
    EngineError::Unavailable(format!("layer `{layer}` has not been built"))
}

fn of_a_container(layer: &str) -> EngineError {
    EngineError::Unavailable(format!("layer `{layer}` belongs in a container"))
}

/// Whether a layer is complete and unchanged.
pub(super) fn is_sound(dir: &Path, key: Digest) -> bool {
    let Ok(marker) = own::read(dir.join(MARKER)) else {
        return false;
    };
    complete(dir, key).is_ok_and(|text| text.as_bytes() == marker)
}

/// The content of the marker file.
fn complete(dir: &Path, key: Digest) -> io::Result<String> {
    let inventory = inventory(dir)?;
    let place = Digest::of(dir.as_os_str().as_encoded_bytes());
    Ok(format!("dagcache-layer 1\n{key}\n{place}\n{inventory}\n"))
}

/// Digest of the names, sizes and times of a layer's files, except for Python's caches.
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

struct Builder<'a> {
    layer: &'a str,
    build: &'a dyn HostBuild,
    dir: PathBuf,
    lock: &'a File,
    launcher: Option<&'a Path>,
    request: &'a Prepare<'a>,
    cancel: &'a CancellationToken,
}

impl Builder<'_> {
    /// Returns the verdict of its checks if building already determines it.
    async fn build(&self) -> Result<Option<Refusal>, EngineError> {
        io_at(&self.dir, remove(&self.dir))?;
        io_at(&self.dir, std::fs::create_dir_all(&self.dir))?;
        // Programs also read configuration in the folders above.
        let apart = self.dir.starts_with(self.request.snapshot.root());
        let apart = apart.then(tempfile::tempdir).transpose();
        let apart = io_at(&std::env::temp_dir(), apart)?;
        let place = apart
            .as_ref()
            .map_or(self.dir.as_path(), |dir| dir.path())
            .join("source");
        let sources = self.build.sources();
        let root = self.materialise_all(&sources, &place)?;
        let dir = sources.dir.under(&root);
        let mut ended = Vec::new();
        let failed = |message| self.failure(message, String::new());
        while let Some(step) = self.build.next(&self.dir, &ended).map_err(failed)? {
            let (end, output) = self.step(&step, &dir).await?;
            match end {
                Ended::Exit(code) if code == 0 || step.may_fail => ended.push(code),
                end => {
                    let Some(code) = self.build.verdict(&output) else {
                        return Err(self.failed(&step, end, output));
                    };
                    let said = output.replace(&format!("{}/", root.to_string_lossy()), "");
                    return Ok(Some((code, said)));
                }
            }
        }
        io_at(&place, remove(&place))?;
        Ok(None)
    }

    fn failed(&self, step: &Step, ended: Ended, output: String) -> EngineError {
        let program = step.program.to_string_lossy();
        let args = step.args.iter().map(String::as_str);
        let command = quoted(std::iter::once(program.as_ref()).chain(args));
        self.failure(format!("`{command}` {}", describe(ended)), output)
    }

    fn failure(&self, message: String, output: String) -> EngineError {
        EngineError::Layer {
            layer: self.layer.to_owned(),
            message,
            output,
        }
    }

    async fn step(&self, step: &Step, dir: &Path) -> Result<(Ended, String), EngineError> {
        let bounds = Bounds::default();
        let launch = Launch {
            program: &step.program,
            args: &step.args,
            dir,
            env: &self.env(step),
            confined: self.launcher.map(|launcher| Confined {
                answer: None,
                launcher,
                bounds: &bounds,
                hold: self.lock,
            }),
        };
        let ran = process::run(&launch, &Limits::default(), self.cancel, None).await;
        let ran = ran.map_err(|error| EngineError::Spawn {
            program: step.program.to_string_lossy().into_owned(),
            message: error.to_string(),
        })?;
        match ran.ended {
            Ended::Cancelled => Err(EngineError::Cancelled),
            ended => Ok((ended, ran.tail())),
        }
    }

    /// The user's environment, which configures mirrors and certificates.
    fn env(&self, step: &Step) -> Vec<(OsString, OsString)> {
        let users = self.request.env.all();
        let mut env: Vec<_> = users
            .filter(|(name, _)| {
                !step
                    .unset_env
                    .iter()
                    .any(|other| name.as_os_str() == *other)
            })
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        env.extend(
            step.set_env
                .iter()
                .map(|(name, value)| (name.into(), value.into())),
        );
        env
    }

    /// Writes the sources below an empty directory, with levels above the copy of the project root for outside files.
    /// Returns the copy of the project root.
    fn materialise_all(&self, sources: &Sources, place: &Path) -> Result<PathBuf, EngineError> {
        let snapshot = self.request.snapshot;
        let made_above = sources.made_above.iter();
        let ups = made_above.clone().map(|(up, ..)| *up);
        let depth = sources.outside.iter().map(|file| file.up).chain(ups).max();
        let root = (0..depth.unwrap_or(0)).fold(place.to_owned(), |path, _| path.join("up"));
        let dir = sources.dir.under(&root);
        io_at(&dir, std::fs::create_dir_all(&dir))?;
        for id in &sources.files {
            materialise(snapshot, *id, &root)?;
        }
        let above = |up: u32| (0..up).fold(root.as_path(), |path, _| path.parent().unwrap_or(path));
        for (up, path, content) in made_above {
            write(&path.under(above(*up)), content)?;
        }
        for file in &sources.outside {
            let folder = above(file.up);
            let content = crate::room::outside_content(snapshot, file)?;
            write(&file.path.under(folder), &content)?;
        }
        for (path, content) in sources.made.iter().chain(&self.build.lays()) {
            write(&path.under(&root), content)?;
        }
        Ok(root)
    }
}

fn write(path: &Path, content: &[u8]) -> Result<(), EngineError> {
    if let Some(parent) = path.parent() {
        io_at(parent, std::fs::create_dir_all(parent))?;
    }
    io_at(path, std::fs::write(path, content))
}

/// Writes a snapshot file below an empty directory.
fn materialise(snapshot: &Snapshot, id: FileId, root: &Path) -> Result<(), EngineError> {
    let entry = snapshot.entry(id);
    let path = entry.path.under(root);
    let source = entry.path.under(snapshot.root());
    let content = crate::room::unchanged(&source, snapshot.read(id))?;
    if entry.kind != Kind::Symlink {
        return write(&path, &content);
    }
    use std::os::unix::ffi::OsStringExt as _;
    let parent = path.parent().unwrap_or(root);
    io_at(parent, std::fs::create_dir_all(parent))?;
    let target = OsString::from_vec(content);
    io_at(&path, std::os::unix::fs::symlink(target, &path))
}

fn io_at<T>(path: &Path, result: io::Result<T>) -> Result<T, EngineError> {
    result.map_err(|source| EngineError::Io {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests;
