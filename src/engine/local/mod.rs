//! The host engine: checks run as processes of this machine, each in a room, with a closed PATH and a clean
//! environment.
//!
//! - [`mod@environment`]: the variables. - [`path_farm`]: the programs. - [`layers`]: what is built once.
//! - [`relative`]: the captured output. - [`folder`]: what happens if the store cannot be written.
//! - [`mod@inspect`]: whether what is kept is whole.
//! - [`confine`]: what a check is kept from, as far as this system can.
//!
//! Layers are built as the user, with the network and unconfined.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::digest::Digest;
use crate::engine::{
    Capabilities, Ended, Engine, EngineError, Executed, Pending, Place, Prepare, Prepared, Request,
    describe, part_arguments, quoted,
};
use crate::path::RelPath;
use crate::plan::check::Changes;
use crate::plan::{Build, Command, Layer, Output, Tool};
use crate::process::{self, Confined, Launch, Limits, Ran};
use crate::room::{Contents, Layout, Room, RoomError, remove};
use crate::rule::Rule;
use crate::snapshot::FileId;

pub mod confine;
mod environment;
mod folder;
pub mod inspect;
mod layers;
mod path_farm;
mod relative;

use confine::{Confiner, Drawn, Host, ROOM};
use environment::environment;
use folder::Folder;
use layers::Layers;
use relative::Relative;

/// Where the engine keeps things: folders of the store.
#[derive(Debug, Clone)]
pub struct Dirs {
    /// Rooms, in a folder per project.
    pub rooms: PathBuf,
    /// Built layers.
    pub layers: PathBuf,
    /// Lock files.
    pub locks: PathBuf,
}

/// What cargo says when it would need the network, which checks do not have.
const WITHOUT_NETWORK: [&str; 3] = [
    "attempting to make an HTTP request, but",
    "you're using offline mode",
    "you are in the offline mode",
];

/// The host engine for one project.
#[derive(Debug)]
pub struct LocalEngine {
    rooms: Folder,
    layers: Layers,
    platform: String,
    limits: Limits,
    confiner: Option<Confiner>,
}

impl LocalEngine {
    /// For the project of that id, which must be a plain folder name. Touches no disk.
    #[must_use]
    pub fn new(dirs: Dirs, project: &str) -> Self {
        Self {
            rooms: Folder::new(dirs.rooms.join(project)),
            layers: Layers::new(dirs.layers, dirs.locks),
            platform: platform(),
            limits: Limits::default(),
            confiner: None,
        }
    }

    /// Confines checks, as far as this system can. Without, they are confined in nothing.
    #[must_use]
    pub fn confining(mut self, host: Host) -> Self {
        self.confiner = Some(Confiner::new(host));
        self
    }

    /// What confinement lacks on this system, if a check was run by now: a reason each.
    #[must_use]
    pub fn lacks(&self) -> Vec<&str> {
        let Some(support) = self.confiner.as_ref().and_then(Confiner::known_support) else {
            return Vec::new();
        };
        let parts = [&support.root, &support.files, &support.offline];
        let reasons = parts.into_iter().filter_map(|part| part.as_ref().err());
        reasons.map(String::as_str).collect()
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
        let mut first = self.attempt(request, cancel, true).await;
        if may_be_the_seeds(&first) {
            drop(first);
            first = self.attempt(request, cancel, false).await;
        }
        if !lacks_packages(request, &first) {
            return first;
        }
        drop(first);
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
        let second = self.attempt(request, cancel, true).await;
        match &second {
            Ok(executed) if lacks_packages(request, &second) => {
                Err(EngineError::Unavailable(format!(
                    "cargo lacks packages even after `cargo fetch`\n{}",
                    executed.output.stderr.trim_end()
                )))
            }
            _ => second,
        }
    }

    /// The outcome of a check whose lockfile cargo refuses: cargo would refuse it there too.
    fn refused(&self, request: &Request<'_>) -> Option<Executed> {
        let mut layers = request.layers.iter();
        let stderr = layers.find_map(|(layer, key)| self.layers.refused(layer, *key))?;
        let code = 101;
        Some(Executed {
            output: Output {
                exit_code: code,
                stdout: String::new(),
                stderr,
            },
            ended: Ended::Exit(code),
            duration: Duration::ZERO,
            peak_memory: None,
            truncated: false,
            confined: true, // Nothing ran.
            reads: None,
            seeded: false,
            place: None,
        })
    }

    /// Opens the program of that name, one of the command's tools, at the user's terminal, in a room as the check has
    /// it. `say` is told the working directory, on the host and as seen inside, before it starts.
    ///
    /// # Errors
    /// If there is no room, or the program cannot be started.
    pub async fn open(
        &self,
        request: &Request<'_>,
        name: &str,
        say: &(dyn Fn(&Path, &Path) + Sync),
    ) -> Result<Ended, EngineError> {
        let furnished = blocking(|| self.furnish(request, true))?;
        let env = environment(&furnished.seen, request.command, request.env);
        let dir = &request.command.dir;
        let (host, seen) = (
            dir.under(&furnished.held.room.tree()),
            dir.under(&furnished.seen.tree()),
        );
        say(&host, &seen);
        let launcher = self.confiner.as_ref().map(Confiner::launcher);
        let confined = launcher.zip(furnished.drawn.as_ref());
        let launch = Launch {
            program: &furnished.seen.bin().join(name),
            args: &[],
            dir: &seen,
            env: &env,
            hold: Some(furnished.held.room.lock()),
            confined: confined.map(|(launcher, drawn)| Confined {
                launcher,
                bounds: &drawn.bounds,
            }),
        };
        let ended = process::attend(&launch).await;
        furnished.held.room.end(false);
        ended.map_err(|error| EngineError::Spawn {
            program: name.to_owned(),
            message: error.to_string(),
        })
    }

    /// Runs it in a room. Without `seeds`, what others made for the products in it is not used.
    async fn attempt(
        &self,
        request: &Request<'_>,
        cancel: &CancellationToken,
        seeds: bool,
    ) -> Result<Executed, EngineError> {
        let furnished = blocking(|| self.furnish(request, seeds))?;
        let room = &furnished.held.room;
        let relative = Relative::new(&[room.layout(), furnished.seen.clone()]);
        let env = environment(&furnished.seen, request.command, request.env);
        let action = Action {
            furnished: &furnished,
            launcher: self.confiner.as_ref().map(Confiner::launcher),
            relative: &relative,
            dir: request.command.dir.under(&room.tree()),
            seen_dir: request.command.dir.under(&furnished.seen.tree()),
            env: &env,
            request,
            cancel,
        };
        let ran = action.run(self.limits).await;
        room.end(ran.is_ok());
        let reads = reads(room, request);
        let ran = ran?;
        room.believe()?;
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
            confined: furnished.drawn.as_ref().is_some_and(|drawn| drawn.confined),
            reads,
            seeded: is_seeded(room, request.command),
            place: Some(Place::new(room.tree(), furnished.held)),
        })
    }

    /// A room with the inputs, the tools and the working directory of a request.
    fn furnish(&self, request: &Request<'_>, seeds: bool) -> Result<Furnished, EngineError> {
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
            extra: &lockfiles(request),
            folders: &folders(request),
            products: &command.products,
            product_key: self.product_key(request.product_key),
            watch: command.reads.is_some(),
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
        let drawn = confiner.map(|confiner| confiner.draw(command, &place, layer));
        let moved = drawn.as_ref().is_some_and(|drawn| drawn.moved);
        Ok(Furnished {
            seen: if moved { place.moved(ROOM) } else { place },
            held: Held {
                room,
                secret: !command.secrets.is_empty() && Rule::SecretRoomsAreEmptied.holds(),
            },
            drawn,
        })
    }

    /// Products hold absolute paths: those of a room that is seen elsewhere are others.
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
        "local"
    }

    fn platform(&self) -> &str {
        &self.platform
    }

    fn capabilities(&self) -> Capabilities {
        let support = self.confiner.as_ref().map(Confiner::support);
        Capabilities {
            confined: support.is_some_and(|can| can.root.is_ok() && can.files.is_ok()),
            offline: support.is_some_and(|can| can.offline.is_ok()),
        }
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

fn key_of(request: &Request<'_>, layer: &str) -> Option<Digest> {
    let found = request.layers.iter().find(|(other, _)| other.name == layer);
    found.map(|(_, key)| *key)
}

/// In a folder of products: they began with those of somebody else.
const SEEDED: &str = ".dagcache-seeded";

/// Begins the products of a room that has none. A failure costs the time of making them.
fn seed(room: &Room, command: &Command) {
    let (Some(seed), Some(products)) = (&command.seed, command.products.first()) else {
        return;
    };
    if *room.changes() != Changes::NoProducts {
        return;
    }
    // Beside the tree, so that products are there whole or not at all.
    let beside = room.dir().join("seed");
    let plant = || -> std::io::Result<()> {
        remove(&beside)?;
        if seed.plant(&beside)? {
            std::fs::write(beside.join(SEEDED), "")?;
            std::fs::rename(&beside, products.under(&room.tree()))?;
        }
        Ok(())
    };
    let _ = plant()
        .and_then(|()| remove(&beside))
        .or_else(|_| remove(&beside));
}

/// Whether a check failed in a way that damaged products of somebody else's can bring about: then it is no verdict on
/// the project. What a linter finds is one.
fn may_be_the_seeds(outcome: &Result<Executed, EngineError>) -> bool {
    /// An error of the compiler itself, in its JSON; and cargo's about build scripts and other programs it made.
    const WORDS: [&str; 6] = [
        r#""code":{"code":"E0"#,
        r#""code":"E0"#,
        "failed to run custom build command",
        "could not execute process",
        "invalid ELF header",
        "file too short",
    ];
    let Ok(executed) = outcome else { return false };
    let output = &executed.output;
    let said = |words: &str| output.stdout.contains(words) || output.stderr.contains(words);
    executed.seeded
        && output.exit_code != 0
        && WORDS.into_iter().any(said)
        && Rule::SeedsAreDoubted.holds()
}

fn is_seeded(room: &Room, command: &Command) -> bool {
    let mut products = command.products.iter();
    products.any(|folder| folder.under(&room.tree()).join(SEEDED).exists())
}

/// What a run read, if it can be told: then it read at least what every run of the check reads.
fn reads(room: &Room, request: &Request<'_>) -> Option<Vec<FileId>> {
    let proof = request.command.reads.as_ref()?;
    let paths = room
        .reads()
        .filter(|paths| paths.contains(proof.as_str()))?;
    let found = paths.iter().filter_map(|path| request.snapshot.find(path));
    let mut ids: Vec<FileId> = found.collect();
    ids.sort_unstable();
    Some(ids)
}

fn lockfiles(request: &Request<'_>) -> Vec<(RelPath, Vec<u8>)> {
    let layers = request.layers.iter();
    let found = layers.filter_map(|(layer, _)| layers::resolved_lockfile(layer));
    found.collect()
}

/// Whether a Cargo check may have failed because of what the host's cargo holds: a layer's packages lie in CARGO_HOME,
/// where the user and cargo itself remove them. That is no verdict.
fn lacks_packages(request: &Request<'_>, outcome: &Result<Executed, EngineError>) -> bool {
    let fetched = |layer: &Layer| matches!(layer.build, Build::CargoFetch { .. });
    if !request.layers.iter().any(|(layer, _)| fetched(layer)) {
        return false;
    }
    match outcome {
        Ok(executed) => {
            executed.output.exit_code != 0
                && WITHOUT_NETWORK
                    .iter()
                    .any(|words| executed.output.stderr.contains(words))
        }
        Err(error) => matches!(error, EngineError::Before { .. }),
    }
}

/// A room with what a check left in it.
struct Held {
    room: Room,
    /// Whether the check knew a secret: then nothing of what it left may stay on disk.
    secret: bool,
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.secret {
            // What cannot be deleted now is deleted before the next run.
            let _ = self.room.empty();
        }
    }
}

/// The folders that are there for a check although no file is in them: where it runs, and those it is told to write to.
fn folders(request: &Request<'_>) -> Vec<RelPath> {
    let is_file = |path: &RelPath| {
        let id = request.snapshot.find(path);
        id.is_some_and(|id| request.shared.binary_search(&id).is_ok())
    };
    let outputs = request.command.output_folders().into_iter();
    let outputs = outputs.filter(|dir| !is_file(dir) && !dir.ancestors().any(|dir| is_file(&dir)));
    [request.command.dir.clone()]
        .into_iter()
        .chain(outputs)
        .collect()
}

/// A room that is ready for a check.
struct Furnished {
    held: Held,
    /// Where the check sees it.
    seen: Layout,
    /// What the check is kept from, if anything.
    drawn: Option<Drawn>,
}

/// A check in its room.
struct Action<'a> {
    furnished: &'a Furnished,
    launcher: Option<&'a Path>,
    relative: &'a Relative,
    /// Its working directory on the host.
    dir: PathBuf,
    /// The same as the check sees it.
    seen_dir: PathBuf,
    env: &'a [(std::ffi::OsString, std::ffi::OsString)],
    request: &'a Request<'a>,
    cancel: &'a CancellationToken,
}

impl Action<'_> {
    /// The time limit is for all commands together.
    async fn run(&self, limits: Limits) -> Result<Ran, EngineError> {
        let mut left = self.request.timeout;
        for argv in &self.needed_before() {
            let limits = Limits {
                timeout: left,
                ..limits
            };
            let ran = self.before(argv, &limits).await?;
            left = left.map(|left| left.saturating_sub(ran));
        }
        let limits = Limits {
            timeout: left,
            ..limits
        };
        let command = self.request.command;
        let mut argv = command.argv.clone();
        if command.append_files {
            let (parts, snapshot) = (self.request.parts, self.request.snapshot);
            argv.extend(part_arguments(&command.dir, parts, snapshot));
        }
        let mut ran = self.start(&argv, &limits, true).await?;
        if let (Ended::Timeout(_), Some(limit)) = (ran.ended, self.request.timeout) {
            ran.ended = Ended::Timeout(limit);
        }
        if ran.truncated {
            ran.stderr
                .extend_from_slice(b"\n[dagcache: some of the output is missing]\n");
        }
        Ok(ran)
    }

    fn needed_before(&self) -> Vec<Vec<String>> {
        let command = self.request.command;
        match &command.refresh {
            Some(refresh) => refresh.before(&command.before, self.furnished.held.room.changes()),
            None => command.before.clone(),
        }
    }

    async fn before(&self, argv: &[String], limits: &Limits) -> Result<Duration, EngineError> {
        let ran = self.start(argv, limits, false).await?;
        match ran.ended {
            Ended::Exit(0) => Ok(ran.duration),
            Ended::Cancelled => Err(EngineError::Cancelled),
            ended => Err(EngineError::Before {
                command: quoted(argv.iter().map(String::as_str)),
                message: describe(ended),
                output: self.relative.text(log_tail(&ran).as_bytes()),
            }),
        }
    }

    async fn start(
        &self,
        argv: &[String],
        limits: &Limits,
        live: bool,
    ) -> Result<Ran, EngineError> {
        let (program, args) = argv.split_first().ok_or_else(|| {
            EngineError::Unavailable(format!("check `{}` has no command", self.request.id))
        })?;
        let spawn = |message| EngineError::Spawn {
            program: program.clone(),
            message,
        };
        let Furnished { held, seen, drawn } = self.furnished;
        let room = &held.room;
        let found = path_farm::resolve(&room.bin(), &self.dir, program).map_err(spawn)?;
        let found = match found.strip_prefix(room.bin()) {
            Ok(name) => seen.bin().join(name),
            Err(_) => found,
        };
        let confined = self.launcher.zip(drawn.as_ref());
        let launch = Launch {
            program: &found,
            args,
            dir: &self.seen_dir,
            env: self.env,
            hold: Some(room.lock()),
            confined: confined.map(|(launcher, drawn)| Confined {
                launcher,
                bounds: &drawn.bounds,
            }),
        };
        let live = self.request.live.filter(|_| live);
        process::run(&launch, limits, self.cancel, live)
            .await
            .map_err(|error| spawn(error.to_string()))
    }
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

/// As a shell would say it.
const fn exit_code(ended: Ended) -> i32 {
    match ended {
        Ended::Exit(code) => code,
        Ended::Signal(signal) => 128 + signal,
        Ended::Timeout(_) => 124,
        Ended::Cancelled => 130,
    }
}

/// The end of what a command said, for a message: its errors, or what it printed if it reported none.
fn log_tail(ran: &Ran) -> String {
    const LINES: usize = 40;
    let stderr = String::from_utf8_lossy(&ran.stderr);
    let text = if stderr.trim().is_empty() {
        String::from_utf8_lossy(&ran.stdout)
    } else {
        stderr
    };
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let skipped = lines.len().saturating_sub(LINES);
    lines.get(skipped..).unwrap_or_default().join("\n")
}

/// Work that blocks, where the runtime can be told.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// `os-arch-libc` of the host, whatever this program itself is linked against.
fn platform() -> String {
    use std::env::consts::{ARCH, OS};
    let musl = Path::new("/lib").join(format!("ld-musl-{ARCH}.so.1"));
    match (OS, musl.exists()) {
        ("linux", true) => format!("{OS}-{ARCH}-musl"),
        ("linux", false) => format!("{OS}-{ARCH}-gnu"),
        _ => format!("{OS}-{ARCH}-system"),
    }
}

#[cfg(test)]
mod tests;
