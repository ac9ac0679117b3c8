//! Containers of a Dagger engine: base → tools → deps, each layer on the one below, and checks on top.
//!
//! - [`program`]: the `dagger` command and its version. - [`session`]: its child `dagger session`, one per run.
//! - `client`: sends queries. - [`failure`]: interprets answers.
//! - `layers`: layers as containers. - `stage`: files to upload. - `check`: one check in its container.
//! - `kept`: places that survive a run. - `usage`: size and state of the engine.
//! - `wrapper`: the script around a check's command.
//!
//! Nothing else uses the SDK. The engine's cache helps but is never trusted: a verdict is valid because its content
//! was hashed here, and a nonce, not time, shows whether something ran.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dagger_sdk::{Container, Id};
use tokio::sync::{OnceCell, RwLock};
use tokio_util::sync::CancellationToken;

use crate::digest::Digest;
use crate::engine::folder::Folder;
use crate::engine::{
    Engine, EngineError, Executed, Expected, Pending, Prepare, Prepared, Request, no_verdict,
};
use crate::plan::Layer;
use crate::plan::check::OutsideFile;
use crate::snapshot::{FileId, Snapshot};

pub(crate) mod check;
mod client;
pub(crate) mod failure;
mod kept;
mod layers;
pub(crate) mod program;
pub(crate) mod session;
mod stage;
pub(crate) mod usage;
mod wrapper;

use check::Action;
use failure::Failure;
use layers::{Broken, Ready, Recipe};
use session::{Connect, Session};
use stage::Stage;

/// The directory in a container that serves as room: `/dagcache/up/…/tree`, `/dagcache/home`.
pub(crate) const PLACE: &str = "/dagcache";

/// If nothing in the container ends an overdue check, it is cancelled this long after its time limit. Its image may
/// have to be unpacked before it starts.
const AFTER_TIMEOUT: Duration = Duration::from_secs(60);

/// The settings of an engine and a project.
#[derive(Debug)]
pub(crate) struct Settings {
    /// How to reach the engine.
    pub(crate) connect: Connect,
    /// The platform of containers, such as `linux/amd64`. Part of every key.
    pub(crate) platform: String,
    /// The project's rooms, in the store.
    pub(crate) rooms: PathBuf,
    /// How often layers and checks were cleared, by name.
    pub(crate) generations: HashMap<String, u64>,
}

impl Settings {
    fn generation(&self, name: &str) -> u64 {
        self.generations.get(name).copied().unwrap_or(0)
    }
}

/// A Dagger engine for one project. Opens its session on first use.
#[derive(Debug)]
pub(crate) struct DaggerEngine {
    settings: Settings,
    rooms: Folder,
    session: OnceCell<Result<Session, String>>,
    stage: RwLock<Option<Stage>>,
    layers: Mutex<HashMap<Digest, Known>>,
}

/// A layer in a session, or why it could not be built.
type Known = Arc<OnceCell<Result<Ready, Broken>>>;

impl DaggerEngine {
    /// Touches neither disk nor network.
    #[must_use]
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            rooms: Folder::new(settings.rooms.clone()),
            settings,
            session: OnceCell::new(),
            stage: RwLock::new(None),
            layers: Mutex::default(),
        }
    }

    /// Opens the session unless it is open. Does not try again if that failed before.
    ///
    /// # Errors
    /// [`EngineError::Lost`] if there is none.
    pub(crate) async fn session(
        &self,
        cancel: &CancellationToken,
    ) -> Result<&Session, EngineError> {
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

    #[must_use]
    pub(crate) fn was_opened(&self) -> bool {
        self.session.get().is_some_and(Result::is_ok)
    }

    /// Closes the session, if any.
    pub(crate) async fn close(&self) {
        if let Some(Ok(session)) = self.session.get() {
            session.close().await;
        }
    }

    /// The digest that a registry has for an image, and the platform that the engine runs it on.
    pub(crate) async fn resolve(
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
        // The name before it may be that of another repository with the same content.
        let digest = reference
            .rsplit_once('@')
            .map(|(_, digest)| digest.to_owned());
        let digest = digest.ok_or_else(|| {
            EngineError::Unavailable(format!("the engine returned no digest: {reference}"))
        })?;
        Ok((digest, platform))
    }

    /// The output of a script (for `sh -eu`) in a container on this chain of layers, lowest first, with their keys.
    pub(crate) async fn ask(
        &self,
        prepare: &Prepare<'_>,
        script: &str,
        cancel: &CancellationToken,
    ) -> Result<String, EngineError> {
        self.prepare_all(prepare, false, cancel).await?;
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

    /// `count`: whether what was built is named, now or by an earlier call that did not count.
    async fn prepare_all(
        &self,
        request: &Prepare<'_>,
        count: bool,
        cancel: &CancellationToken,
    ) -> Result<Vec<Prepared>, EngineError> {
        let mut below: Option<Container> = None;
        let mut all = Vec::new();
        for (layer, key) in request.layers {
            let cell = self.cell(*key, request.force);
            let build = || self.build(layer, *key, below.clone(), request, cancel);
            let ready = cell.get_or_try_init(build).await?;
            let ready = ready.as_ref().map_err(|broken| EngineError::Layer {
                layer: layer.name.clone(),
                message: broken.message.clone(),
                output: broken.output.clone(),
            })?;
            below = Some(ready.container.clone());
            all.push(Prepared {
                layer: layer.name.clone(),
                // Whoever prepares it next did not build it.
                built: if count { ready.take_built() } else { None },
            });
        }
        Ok(all)
    }

    /// Builds a layer. A failed script is not run again for other checks of this run.
    async fn build(
        &self,
        layer: &Layer,
        key: Digest,
        below: Option<Container>,
        request: &Prepare<'_>,
        cancel: &CancellationToken,
    ) -> Result<Result<Ready, Broken>, EngineError> {
        let (snapshot, env) = (request.snapshot, request.env);
        let recipe = Recipe::new(layer, key, snapshot, env, &self.settings, request.force)?;
        let recipe = Arc::new(recipe);
        let scratch = scratch()?;
        let session = self.session(cancel).await?;
        let (query, path): (_, Arc<std::path::Path>) = (session.query(), scratch.path().into());
        let made = session.run(&layer.name, move || {
            layers::prepare(query.clone(), below.clone(), recipe.clone(), path.clone())
        });
        match made.await {
            Ok(ready) => Ok(Ok(ready)),
            Err(Failure::Exec {
                exit_code,
                stdout,
                stderr,
                ..
            }) => Ok(Err(Broken {
                message: if stderr.contains("executable file not found") {
                    "its image has no `sh`".to_owned()
                } else {
                    format!("its script exited with code {exit_code}")
                },
                output: [stdout, stderr].join("\n").trim().to_owned(),
            })),
            Err(other) => Err(other.into()),
        }
    }

    /// The state of a layer in this session. A forced rebuild starts from an unknown state.
    fn cell(&self, key: Digest, force: bool) -> Known {
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        if force {
            layers.remove(&key);
        }
        layers.entry(key).or_default().clone()
    }

    /// The container of the last of these layers.
    fn ready(&self, chain: &[(&Layer, Digest)]) -> Result<Container, EngineError> {
        let layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        let last = chain.last().and_then(|(_, key)| layers.get(key)?.get());
        let last = last.and_then(|ready| Some(ready.as_ref().ok()?.container.clone()));
        last.ok_or_else(|| {
            let name = chain.last().map_or("base", |(layer, _)| &layer.name);
            EngineError::Unavailable(format!("layer `{name}` has not been built"))
        })
    }

    /// Adds missing files to the stage.
    async fn stage(
        &self,
        snapshot: &Snapshot,
        files: &[&[FileId]],
        outside: &[OutsideFile],
    ) -> Result<(), EngineError> {
        let holds = |stage: &Option<Stage>| {
            let stage = stage.as_ref();
            stage.is_some_and(|stage| stage.holds(snapshot, files, outside))
        };
        if holds(&*self.stage.read().await) {
            return Ok(());
        }
        let mut stage = self.stage.write().await;
        if holds(&stage) {
            return Ok(());
        }
        super::blocking(|| {
            let stage = match &mut *stage {
                Some(stage) => stage,
                none => {
                    let rooms = self.rooms.get().map_err(|source| EngineError::Io {
                        path: self.rooms.wanted().to_owned(),
                        source,
                    })?;
                    none.insert(Stage::take(rooms)?)
                }
            };
            stage.put(snapshot, files, outside)
        })
    }

    /// Uploads the files of a check; returns them and their place in the container.
    async fn upload(
        &self,
        session: &Session,
        request: &Request<'_>,
    ) -> Result<(Id, String), EngineError> {
        let sets: [&[FileId]; 2] = [request.shared, request.parts];
        self.stage(request.snapshot, &sets, request.outside).await?;
        let stage = self.stage.read().await;
        let Some(stage) = stage.as_ref() else {
            return Err(EngineError::Unavailable("nothing was staged".to_owned()));
        };
        let seen = check::layout(request);
        let upload = stage.upload(request.snapshot, &sets, request.outside, &seen);
        let place = upload.to.to_string_lossy().into_owned();
        let cell = stage.sent(&upload);
        let send = || {
            let query = session.query();
            session.run("upload", move || check::send(query.clone(), upload.clone()))
        };
        let id = cell.get_or_try_init(send).await?;
        Ok((id.clone(), place))
    }

    async fn execute(
        &self,
        request: &Request<'_>,
        cancel: &CancellationToken,
    ) -> Result<Executed, EngineError> {
        let session = self.session(cancel).await?;
        let on = self.ready(request.layers)?;
        let files = self.upload(session, request).await?;
        let scratch = scratch()?;
        let action = Action::new(request, &self.settings, &files.1, scratch.path());
        action.can_bring_back()?;
        let query = session.query();
        // Another run of the check may enter the place first.
        let turns = if action.is_kept() { 2 } else { 1 };
        let pipeline = {
            let action = action.clone();
            move || {
                let (query, on) = (query.clone(), on.clone());
                action.clone().run(query, on, files.clone())
            }
        };
        let running = session.run(request.id, pipeline);
        let ended = match request.timeout {
            Some(limit) => tokio::select! {
                ended = running => ended,
                failure = too_long(session, limit, turns, session::ANSWER) => Err(failure),
            },
            None => running.await,
        };
        match ended {
            Ok(sent) => check::executed(request, &action, &sent, scratch),
            Err(failure) => check::failed(request, &action, failure),
        }
    }
}

/// Ends when a check with this limit has to be ended from outside: at the limit, if its engine does not answer within
/// `patience`.
async fn too_long(session: &Session, limit: Duration, turns: u32, patience: Duration) -> Failure {
    let begun = Instant::now();
    tokio::time::sleep(limit).await;
    while begun.elapsed() < (limit + AFTER_TIMEOUT) * turns {
        if !session.answers(patience).await {
            session.lose();
            break;
        }
        tokio::time::sleep(patience).await;
    }
    check::too_long()
}

fn scratch() -> Result<tempfile::TempDir, EngineError> {
    let path = std::env::temp_dir();
    let made = tempfile::Builder::new().prefix("dagcache-").tempdir();
    made.map_err(|source| EngineError::Io { path, source })
}

impl Engine for DaggerEngine {
    fn class(&self) -> &'static str {
        "dagger"
    }

    fn platform(&self) -> &str {
        &self.settings.platform
    }

    fn prepare<'a>(
        &'a self,
        request: &'a Prepare<'a>,
        cancel: &'a CancellationToken,
    ) -> Pending<'a, Result<Vec<Prepared>, EngineError>> {
        Box::pin(self.prepare_all(request, true, cancel))
    }

    fn expect<'a>(
        &'a self,
        expected: &'a Expected<'a>,
        cancel: &'a CancellationToken,
    ) -> Pending<'a, Result<(), EngineError>> {
        Box::pin(async move {
            // First, because without an engine there is no need to copy anything.
            self.session(cancel).await?;
            self.stage(expected.snapshot, &[expected.files], expected.outside)
                .await
        })
    }

    fn run<'a>(
        &'a self,
        request: &'a Request<'a>,
        cancel: &'a CancellationToken,
    ) -> Pending<'a, Result<Executed, EngineError>> {
        Box::pin(async move {
            let mut outcome = self.execute(request, cancel).await;
            let remembered = outcome.as_ref().is_ok_and(|executed| executed.replayed);
            if remembered && no_verdict(request, &outcome).is_some() {
                // The engine remembers a failure that another run may not have.
                let again = Request {
                    again: true,
                    ..*request
                };
                outcome = self.execute(&again, cancel).await;
            }
            match no_verdict(request, &outcome) {
                Some(error) => Err(error),
                None => outcome,
            }
        })
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

#[cfg(test)]
mod tests;
