//! Containers of a Dagger engine: base → tools → deps, each layer on the one below, and checks on the last.
//!
//! - [`program`]: the `dagger` command and its version. - [`session`]: its child `dagger session`, one for a run.
//! - `client`: what is sent to it. - [`failure`]: what its answers mean.
//! - `layers`: plan layers as containers. - `stage`: the files as they are uploaded. - `check`: one check in its container.
//! - `wrapper`: what runs in there before and after the check's command.
//!
//! The SDK is used nowhere else. What the engine remembers is a help, never an authority: a verdict counts because the
//! content it came from was hashed here, and whether something ran is told by a nonce, not by time.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dagger_sdk::Container;
use tokio::sync::{OnceCell, RwLock};
use tokio_util::sync::CancellationToken;

use crate::digest::Digest;
use crate::engine::folder::Folder;
use crate::engine::{
    Capabilities, Engine, EngineError, Executed, Expected, Pending, Prepare, Prepared, Request,
};
use crate::plan::Layer;
use crate::snapshot::{FileId, Snapshot};

mod check;
mod client;
pub mod failure;
mod layers;
pub mod program;
pub mod session;
mod stage;
mod wrapper;

use check::Action;
use failure::Failure;
use layers::{Ready, Recipe};
use session::{Connect, Session};
use stage::Stage;

/// The folder of a container that is a room in there: `/dagcache/up/…/tree`, `/dagcache/home`.
pub const PLACE: &str = "/dagcache";

/// A check is ended from outside this long after its time is up, if nothing in its container did.
const AFTER_TIMEOUT: Duration = Duration::from_secs(15);

/// What there is to know of an engine and a project.
#[derive(Debug)]
pub struct Settings {
    /// How the engine is reached.
    pub connect: Connect,
    /// `linux/amd64`: what containers run on. Enters every key.
    pub platform: String,
    /// Where the project's rooms are, in the store.
    pub rooms: PathBuf,
    /// How often layers were cleared, by name.
    pub generations: HashMap<String, u64>,
}

/// A Dagger engine for one project. Its session is opened when it is first needed.
#[derive(Debug)]
pub struct DaggerEngine {
    settings: Settings,
    rooms: Folder,
    session: OnceCell<Result<Session, String>>,
    stage: RwLock<Option<Stage>>,
    layers: Mutex<HashMap<Digest, Arc<OnceCell<Ready>>>>,
}

impl DaggerEngine {
    /// Touches neither disk nor network.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            rooms: Folder::new(settings.rooms.clone()),
            settings,
            session: OnceCell::new(),
            stage: RwLock::new(None),
            layers: Mutex::default(),
        }
    }

    /// The session, opened now if it was not yet. One that could not be opened is not tried again.
    ///
    /// # Errors
    /// [`EngineError::Lost`] if there is none.
    pub async fn session(&self, cancel: &CancellationToken) -> Result<&Session, EngineError> {
        let open = || async {
            match Session::open(&self.settings.connect, cancel).await {
                Ok(session) => Ok(Ok(session)),
                Err(EngineError::Lost(message)) => Ok(Err(message)),
                Err(other) => Err(other),
            }
        };
        let opened = self.session.get_or_try_init(open).await?;
        opened
            .as_ref()
            .map_err(|message| EngineError::Lost(message.clone()))
    }

    /// Whether a session was opened.
    #[must_use]
    pub fn was_opened(&self) -> bool {
        self.session.get().is_some_and(Result::is_ok)
    }

    /// Ends the session, if there is one.
    pub async fn close(&self) {
        if let Some(Ok(session)) = self.session.get() {
            session.close().await;
        }
    }

    /// The digest that a registry has for the name of an image, and the platform that the engine runs it on.
    ///
    /// # Errors
    /// If the engine is away, or the image cannot be had.
    pub async fn resolve(
        &self,
        name: &str,
        cancel: &CancellationToken,
    ) -> Result<(String, String), EngineError> {
        let session = self.session(cancel).await?;
        let (query, name) = (session.query(), name.to_owned());
        let asked = session.run("resolve", move || {
            let (query, name) = (query.clone(), name.clone());
            async move {
                let reference = query.container().from(name.as_str()).image_ref().await?;
                Ok((reference, query.default_platform().await?.0))
            }
        });
        let (reference, platform) = asked.await?;
        // The name before it can be that of another repository with the same content.
        let digest = reference
            .rsplit_once('@')
            .map(|(_, digest)| digest.to_owned());
        let digest = digest.ok_or_else(|| {
            EngineError::Unavailable(format!("the engine names no digest: {reference}"))
        })?;
        Ok((digest, platform))
    }

    /// What a script (for `sh -eu`) prints in a container on these layers, a chain, lowest first, with their keys.
    ///
    /// # Errors
    /// If the engine is away, a layer cannot be built, or the script fails.
    pub async fn ask(
        &self,
        prepare: &Prepare<'_>,
        script: &str,
        cancel: &CancellationToken,
    ) -> Result<String, EngineError> {
        self.prepare_all(prepare, cancel).await?;
        let on = self.ready(prepare.layers)?;
        let session = self.session(cancel).await?;
        let text = format!("unset {}\n{script}", wrapper::OF_THE_ENGINE);
        let asked = session.run("ask", move || {
            let argv = ["sh", "-euc", &text].map(str::to_owned).to_vec();
            let container = on.with_exec(argv);
            async move { Ok(container.stdout().await?) }
        });
        Ok(asked.await?)
    }

    async fn prepare_all(
        &self,
        request: &Prepare<'_>,
        cancel: &CancellationToken,
    ) -> Result<Vec<Prepared>, EngineError> {
        let mut below: Option<Container> = None;
        let mut all = Vec::new();
        for (layer, key) in request.layers {
            let cell = self.cell(*key, request.force);
            let first = Mutex::new(None);
            let build = || async {
                let ready = self
                    .build(layer, *key, below.clone(), request, cancel)
                    .await?;
                *first.lock().unwrap_or_else(PoisonError::into_inner) = ready.built;
                Ok::<_, EngineError>(ready)
            };
            let ready = cell.get_or_try_init(build).await?;
            below = Some(ready.container.clone());
            all.push(Prepared {
                layer: layer.name.clone(),
                built: first.into_inner().unwrap_or_else(PoisonError::into_inner),
            });
        }
        Ok(all)
    }

    async fn build(
        &self,
        layer: &Layer,
        key: Digest,
        below: Option<Container>,
        request: &Prepare<'_>,
        cancel: &CancellationToken,
    ) -> Result<Ready, EngineError> {
        let generations = &self.settings.generations;
        let recipe = Recipe::new(
            layer,
            key,
            request.snapshot,
            request.env,
            generations,
            request.force,
        )?;
        let recipe = Arc::new(recipe);
        let scratch = self.scratch()?;
        let session = self.session(cancel).await?;
        let (query, path): (_, Arc<std::path::Path>) = (session.query(), scratch.path().into());
        let made = session.run(&layer.name, move || {
            layers::prepare(query.clone(), below.clone(), recipe.clone(), path.clone())
        });
        made.await.map_err(|failure| match failure {
            Failure::Exec {
                exit_code,
                stdout,
                stderr,
                ..
            } => EngineError::Layer {
                layer: layer.name.clone(),
                message: format!("its script ended with exit code {exit_code}"),
                output: [stdout, stderr].join("\n").trim().to_owned(),
            },
            other => other.into(),
        })
    }

    /// What is known of a layer in this session. One that is made in any case is not known yet.
    fn cell(&self, key: Digest, force: bool) -> Arc<OnceCell<Ready>> {
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        if force {
            layers.remove(&key);
        }
        layers.entry(key).or_default().clone()
    }

    /// The container that the last of these layers yields.
    fn ready(&self, chain: &[(&Layer, Digest)]) -> Result<Container, EngineError> {
        let layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        let last = chain.last().and_then(|(_, key)| layers.get(key)?.get());
        let last = last.map(|ready| ready.container.clone());
        last.ok_or_else(|| {
            let name = chain.last().map_or("base", |(layer, _)| &layer.name);
            EngineError::Unavailable(format!("layer `{name}` has not been built"))
        })
    }

    fn scratch(&self) -> Result<tempfile::TempDir, EngineError> {
        let path = std::env::temp_dir();
        let made = tempfile::Builder::new().prefix("dagcache-").tempdir();
        made.map_err(|source| EngineError::Io { path, source })
    }

    /// Puts files into the stage. `anew`: they are of another snapshot than what is there.
    async fn stage(
        &self,
        snapshot: &Snapshot,
        files: &[&[FileId]],
        outside: &[crate::plan::check::OutsideFile],
        anew: bool,
    ) -> Result<(), EngineError> {
        let mut stage = self.stage.write().await;
        if stage.is_none() {
            let rooms = self.rooms.get().map_err(|source| EngineError::Io {
                path: self.rooms.wanted().to_owned(),
                source,
            })?;
            *stage = Some(Stage::take(rooms)?);
        }
        let Some(stage) = stage.as_mut() else {
            return Ok(());
        };
        if anew {
            stage.begin();
        }
        if !anew && stage.holds(files, outside) {
            return Ok(());
        }
        super::blocking(|| stage.add(snapshot, files, outside))
    }

    async fn execute(
        &self,
        request: &Request<'_>,
        cancel: &CancellationToken,
    ) -> Result<Executed, EngineError> {
        let session = self.session(cancel).await?;
        let on = self.ready(request.layers)?;
        let sets: [&[FileId]; 2] = [request.shared, request.parts];
        self.stage(request.snapshot, &sets, request.outside, false)
            .await?;
        let stage = self.stage.read().await;
        let Some(staged) = stage.as_ref() else {
            return Err(EngineError::Unavailable("nothing was staged".to_owned()));
        };
        let scratch = self.scratch()?;
        let action = Action::new(request, staged, scratch.path());
        let query = session.query();
        let pipeline = {
            let action = action.clone();
            move || action.clone().run(query.clone(), on.clone())
        };
        let running = session.run(request.id, pipeline);
        let ended = match request.timeout {
            Some(limit) => {
                let limited = tokio::time::timeout(limit + AFTER_TIMEOUT, running).await;
                limited.unwrap_or_else(|_| {
                    Err(Failure::Exec {
                        cmd: Vec::new(),
                        exit_code: wrapper::exit::TIMEOUT,
                        stdout: String::new(),
                        stderr: String::new(),
                    })
                })
            }
            None => running.await,
        };
        match ended {
            Ok(sent) => check::executed(request, &action, &sent, scratch),
            Err(failure) => check::failed(request, &action, failure),
        }
    }
}

impl Engine for DaggerEngine {
    fn class(&self) -> &'static str {
        "dagger"
    }

    fn platform(&self) -> &str {
        &self.settings.platform
    }

    /// A container sees its image, its layers and its inputs. Its network cannot be cut.
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            confined: true,
            offline: false,
        }
    }

    fn prepare<'a>(
        &'a self,
        request: &'a Prepare<'a>,
        cancel: &'a CancellationToken,
    ) -> Pending<'a, Result<Vec<Prepared>, EngineError>> {
        Box::pin(self.prepare_all(request, cancel))
    }

    fn expect<'a>(
        &'a self,
        expected: &'a Expected<'a>,
        _: &'a CancellationToken,
    ) -> Pending<'a, Result<(), EngineError>> {
        let files = [expected.files];
        Box::pin(async move {
            self.stage(expected.snapshot, &files, expected.outside, true)
                .await
        })
    }

    fn run<'a>(
        &'a self,
        request: &'a Request<'a>,
        cancel: &'a CancellationToken,
    ) -> Pending<'a, Result<Executed, EngineError>> {
        Box::pin(self.execute(request, cancel))
    }
}

/// A word that no other run has used.
fn nonce() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{}-{}-{count}", since.as_nanos(), std::process::id())
}
