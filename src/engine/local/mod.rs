//! The local engine: checks run as processes of this machine, each in a room, with a closed PATH and a clean
//! environment.
//!
//! - [`path_farm`]: programs. - [`layers`]: layers. - [`mod@inspect`]: verifies rooms and layers.
//! - [`confine`]: what a check may access. - `walls`: remembers what this system supports.
//! - [`room_setup`]: sets up rooms. - [`action`]: runs a check in its room. - [`traced`]: what it asked about.
//!
//! Layers are built as the user, with the network and unconfined.

use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use crate::digest::Digest;
use crate::engine::folder::Folder;
use crate::engine::relative::Relative;
use crate::engine::{
    Ended, Engine, EngineError, Executed, Pending, Place, Prepare, Prepared, Request, Trace, after,
    blocking, failed_before, no_verdict, verdict,
};
use crate::plan::check::Next;
use crate::plan::{Build, Output, Tool};
use crate::process::{self, Launch, Limits};
use crate::room::{Contents, Room, RoomError};
use crate::rule::Rule;
use crate::tool::search_path;

mod action;
pub(crate) mod confine;
pub(crate) mod inspect;
mod layers;
mod path_farm;
mod room_setup;
mod traced;
mod walls;

use action::Action;
use confine::{Confiner, Host, ROOM};
use layers::Layers;
use room_setup::{Held, RoomSetup, is_seeded, laid, reads, seed};

/// The class of this engine, as in keys and records.
pub(crate) const CLASS: &str = "local";

/// Directories of the store that the engine uses.
#[derive(Debug, Clone)]
pub(crate) struct Dirs {
    /// Rooms, with a directory per project.
    pub(crate) rooms: PathBuf,
    pub(crate) layers: PathBuf,
    pub(crate) locks: PathBuf,
}

/// The local engine for one project.
#[derive(Debug)]
pub(crate) struct LocalEngine {
    rooms: Folder,
    layers: Layers,
    platform: String,
    limits: Limits,
    confiner: Option<Confiner>,
}

impl LocalEngine {
    /// `project` is the project's id, a plain directory name. Does not touch the disk.
    #[must_use]
    pub(crate) fn new(dirs: Dirs, project: &str) -> Self {
        Self {
            rooms: Folder::new(dirs.rooms.join(project)),
            layers: Layers::new(dirs.layers, dirs.locks),
            platform: platform(),
            limits: Limits::default(),
            confiner: None,
        }
    }

    /// Confines checks as far as this system supports it. Otherwise they are not confined.
    #[must_use]
    pub(crate) fn confining(mut self, host: Host) -> Self {
        self.layers.start_by(host.launcher.clone());
        self.confiner = Some(Confiner::new(host));
        self
    }

    /// What confinement is missing on this system, if a check has run; one reason each.
    #[must_use]
    pub(crate) fn lacks(&self) -> Vec<&str> {
        let Some(support) = self.confiner.as_ref().and_then(Confiner::known_support) else {
            return Vec::new();
        };
        let parts = [
            &support.root,
            &support.processes,
            &support.files,
            &support.calls,
            &support.offline,
        ];
        let reasons = parts.into_iter().filter_map(|part| part.as_ref().err());
        reasons.map(String::as_str).collect()
    }

    /// Why checks cannot be traced here, if so. Probes first.
    #[must_use]
    pub(crate) fn why_not_traced(&self) -> Option<&str> {
        let support = self.confiner.as_ref()?.support();
        support.trace.as_ref().err().map(String::as_str)
    }

    /// Like [`LocalEngine::lacks`], but probes first.
    #[must_use]
    pub(crate) fn find_lacks(&self) -> Vec<&str> {
        if let Some(confiner) = &self.confiner {
            confiner.support();
        }
        self.lacks()
    }

    async fn execute(
        &self,
        request: &Request<'_>,
        cancel: &CancellationToken,
    ) -> Result<Executed, EngineError> {
        if cancel.is_cancelled() {
            return Err(EngineError::Cancelled);
        }
        if let Some(executed) = self.refused(request) {
            return Ok(executed);
        }
        let mut outcome = self.attempt(request, cancel, true).await;
        if after(request, &outcome) == Some(Next::WithoutSeed) {
            drop(outcome);
            outcome = self.attempt(request, cancel, false).await;
        }
        if let Some(error) = no_verdict(request, &outcome) {
            return Err(error);
        }
        if !wants_layers(request, &outcome) {
            return outcome;
        }
        drop(outcome);
        let prepare = Prepare {
            layers: request.layers,
            snapshot: request.snapshot,
            env: request.env,
            force: true,
        };
        self.layers.prepare(&prepare, cancel).await?;
        if let Some(executed) = self.refused(request) {
            return Ok(executed);
        }
        let outcome = self.attempt(request, cancel, true).await;
        match &outcome {
            Ok(executed) if wants_layers(request, &outcome) => {
                Err(EngineError::Unavailable(format!(
                    "the check needs something that is missing from its layers even after rebuilding them\n{}",
                    executed.output.stderr.trim_end()
                )))
            }
            _ => outcome,
        }
    }

    /// The outcome of a check whose layers cannot be built because of the project's own files.
    fn refused(&self, request: &Request<'_>) -> Option<Executed> {
        let mut layers = request.layers.iter();
        let (code, said) = layers.find_map(|(layer, key)| self.layers.refused(layer, *key))?;
        Some(failed_before(code, &said))
    }

    /// Runs one of the command's tools at the user's terminal, in a room like the check's. Calls `say` with the
    /// working directory, on the host and inside, before it starts.
    pub(crate) async fn open(
        &self,
        request: &Request<'_>,
        name: &str,
        say: &(dyn Fn(&Path, &Path) + Sync),
    ) -> Result<Ended, EngineError> {
        let setup = blocking(|| self.set_up(request, true))?;
        let env = setup.environment(request);
        let dir = &request.command.dir;
        let (host, seen) = (
            dir.under(&setup.held.room.tree()),
            dir.under(&setup.seen.tree()),
        );
        say(&host, &seen);
        let launcher = self.confiner.as_ref().map(Confiner::launcher);
        let launch = Launch {
            program: &setup.seen.bin().join(name),
            args: &[],
            dir: &seen,
            env: &env,
            confined: setup.confined(launcher, None),
        };
        let ended = process::attend(&launch).await;
        setup.held.room.end(false);
        ended.map_err(|error| EngineError::Spawn {
            program: name.to_owned(),
            message: error.to_string(),
        })
    }

    /// Runs the check in a room. Without `seeds`, it does not start from products made elsewhere.
    async fn attempt(
        &self,
        request: &Request<'_>,
        cancel: &CancellationToken,
        seeds: bool,
    ) -> Result<Executed, EngineError> {
        let setup = blocking(|| self.set_up(request, seeds))?;
        let room = &setup.held.room;
        let relative = Relative::new(&[room.layout(), setup.seen.clone()]);
        let env = setup.environment(request);
        let mut action = Action {
            setup: &setup,
            launcher: self.confiner.as_ref().map(Confiner::launcher),
            relative: &relative,
            dir: request.command.dir.under(&room.tree()),
            seen_dir: request.command.dir.under(&setup.seen.tree()),
            env: &env,
            request,
            cancel,
            answer: setup.answer()?,
        };
        let watched = request
            .lacking
            .is_none_or(|folder| room.watch_listing(folder));
        let output = request.command.limits.output;
        let output = output.and_then(|output| usize::try_from(output).ok());
        let limits = Limits {
            output: output.unwrap_or(self.limits.output),
            ..self.limits
        };
        let ran = action.run(limits).await;
        let traced = action
            .answer
            .take()
            .map(|answer| traced::facts(answer, &setup.traced()));
        let listed = request
            .lacking
            .is_some_and(|folder| !watched || room.is_listed(folder));
        room.end(ran.is_ok());
        let reads = reads(room, request);
        let ran = match ran {
            Ok(ran) => ran,
            Err(error) => {
                if let (EngineError::Spawn { .. }, Some(confiner)) = (&error, &self.confiner) {
                    confiner.doubt();
                }
                return verdict(request, error);
            }
        };
        room.believe()?;
        if matches!(ran.ended, Ended::Over(_)) {
            // It may hold gigabytes.
            room.empty()?;
        }
        Ok(Executed {
            output: Output {
                exit_code: exit_code(ran.ended),
                stdout: relative.text(&ran.stdout),
                stderr: relative.text(&ran.stderr),
            },
            ended: ran.ended,
            duration: ran.duration,
            peak_memory: ran.peak_memory,
            truncated: ran.truncated,
            confined: setup.drawn.as_ref().is_some_and(|drawn| drawn.confined),
            reads,
            traced,
            listed,
            seeded: is_seeded(room, request.command),
            replayed: false,
            place: Some(Place::new(room.tree(), setup.held)),
        })
    }

    /// Prepares a room with the inputs, tools and working directory of a request.
    fn set_up(&self, request: &Request<'_>, seeds: bool) -> Result<RoomSetup, EngineError> {
        let command = request.command;
        let rooms = self.rooms.get().map_err(|source| EngineError::Io {
            path: self.rooms.wanted().to_owned(),
            source,
        })?;
        let mut room = Room::take(rooms, request.id)?;
        if !seeds {
            room.empty()?;
        }
        room.reset(&Contents {
            snapshot: request.snapshot,
            files: &[request.shared, request.parts],
            outside: request.outside,
            extra: &laid(request)?,
            folders: &crate::engine::folders(request),
            products: &command.products,
            product_key: self.product_key(request.product_key),
            watch: command.reads.is_some(),
            same_times: command.products.is_empty(),
        })?;
        if seeds {
            seed(&room, command);
        }
        let layer = |name: &str| self.layers.find(key_of(request, name)?);
        self.require_layers(request)?;
        let bin = room.bin();
        path_farm::fill(&bin, &command.tools, layer)
            .map_err(|source| EngineError::Io { path: bin, source })?;
        let place = room.layout();
        let confiner = self.confiner.as_ref();
        let traced = request.trace == Trace::On;
        let drawn = confiner.map(|confiner| confiner.draw(command, &place, traced, layer));
        let traced = drawn
            .as_ref()
            .is_some_and(|drawn| drawn.bounds.trace.is_some());
        let moved = drawn.as_ref().is_some_and(|drawn| drawn.moved);
        Ok(RoomSetup {
            folders: match traced || request.trace == Trace::Unseen {
                true => search_path::of_system(request.env),
                false => Vec::new(),
            },
            seen: if moved { place.moved(ROOM) } else { place },
            held: Held {
                room,
                secret: !command.secrets.is_empty() && Rule::SecretRoomsAreEmptied.holds(),
            },
            drawn,
        })
    }

    /// Products contain absolute paths, so those of a room seen at another path differ.
    fn product_key(&self, key: Digest) -> Digest {
        let moved = |confiner: &Confiner| confiner.support().root.is_ok();
        if self.confiner.as_ref().is_some_and(moved) {
            Digest::of(format!("{ROOM} {key}").as_bytes())
        } else {
            key
        }
    }

    fn require_layers(&self, request: &Request<'_>) -> Result<(), EngineError> {
        for tool in &request.command.tools {
            if let Tool::Layer { layer, .. } = tool
                && key_of(request, layer)
                    .and_then(|key| self.layers.find(key))
                    .is_none()
            {
                return Err(layers::not_built(layer));
            }
        }
        Ok(())
    }
}

impl Engine for LocalEngine {
    fn class(&self) -> &'static str {
        CLASS
    }

    fn platform(&self) -> &str {
        &self.platform
    }

    fn prepare<'a>(
        &'a self,
        request: &'a Prepare<'a>,
        cancel: &'a CancellationToken,
    ) -> Pending<'a, Result<Vec<Prepared>, EngineError>> {
        Box::pin(self.layers.prepare(request, cancel))
    }

    fn run<'a>(
        &'a self,
        request: &'a Request<'a>,
        cancel: &'a CancellationToken,
    ) -> Pending<'a, Result<Executed, EngineError>> {
        Box::pin(self.execute(request, cancel))
    }
}

/// Whether rebuilding the layers may change the outcome, because products of their commands may be gone.
fn wants_layers(request: &Request<'_>, outcome: &Result<Executed, EngineError>) -> bool {
    let mut layers = request.layers.iter();
    layers.any(|(layer, _)| matches!(layer.build, Build::Host(_)))
        && after(request, outcome) == Some(Next::WithNewLayers)
}

fn key_of(request: &Request<'_>, layer: &str) -> Option<Digest> {
    let found = request.layers.iter().find(|(other, _)| other.name == layer);
    found.map(|(_, key)| *key)
}

impl From<RoomError> for EngineError {
    fn from(error: RoomError) -> Self {
        match error {
            RoomError::Changed(path) => Self::Changed(path),
            RoomError::Io { path, source } => Self::Io { path, source },
            other @ (RoomError::Full(_) | RoomError::Gone(_)) => {
                Self::Unavailable(other.to_string())
            }
        }
    }
}

/// As a shell would report it.
const fn exit_code(ended: Ended) -> i32 {
    match ended {
        Ended::Exit(code) => code,
        Ended::Signal(signal) => 128 + signal,
        Ended::Timeout(_) => 124,
        Ended::Cancelled => 130,
        Ended::Over(_) => 137,
    }
}

/// `os-arch-libc` of the host, independent of what this program is linked against.
#[must_use]
pub(crate) fn platform() -> String {
    use std::env::consts::{ARCH, OS};
    format!("{OS}-{ARCH}-{}", crate::tool::libc())
}

#[cfg(test)]
mod tests;
