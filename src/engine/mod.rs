//! Engines build layers and run checks. This module defines the trait and its types.
//!
//! - [`local`]: on this host, in rooms. - [`dagger`]: in containers of a Dagger engine.
//! - [`mod@environment`]: the variables of a check. - [`relative`]: its captured output.
//! - [`folder`]: the fallback if the store is not writable. - [`mod@start`]: why a program does not start.
//!
//! An engine receives content and returns what happened. It knows neither entries of the store, nor the meaning of
//! keys (it only compares them), nor verdicts: callers decide what to store.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::digest::Digest;
use crate::env::Env;
use crate::key::facts::Facts;
use crate::path::RelPath;
use crate::plan::check::{Failure, Next, OutsideFile};
use crate::plan::{Command, Layer, Output};
pub(crate) use crate::process::{Ended, Live};
use crate::snapshot::{FileId, Snapshot};
use crate::visible::Shown as _;

#[cfg(all(feature = "dagger", unix))]
pub(crate) mod dagger;
pub(crate) mod environment;
pub(crate) mod folder;
pub(crate) mod local;
pub(crate) mod relative;
pub(crate) mod start;

/// Work that runs when awaited. Dropping it kills what it started.
pub(crate) type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

pub(crate) trait Engine: Send + Sync {
    /// Engines of different classes never share a key.
    fn class(&self) -> &'static str;

    /// Where its programs run, such as `linux-x86_64-gnu`. Part of every key.
    fn platform(&self) -> &str;

    /// Ensures that all layers exist. Existing ones stay as they are; if another process is building one, waits for
    /// it.
    fn prepare<'a>(
        &'a self,
        request: &'a Prepare<'a>,
        cancel: &'a CancellationToken,
    ) -> Pending<'a, Result<Vec<Prepared>, EngineError>>;

    /// Announces every file that checks may see, before the first check runs. An engine that uploads files does so
    /// once.
    fn expect<'a>(
        &'a self,
        _expected: &'a Expected<'a>,
        _cancel: &'a CancellationToken,
    ) -> Pending<'a, Result<(), EngineError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Runs one check, or some of its parts. Its layers have been prepared.
    fn run<'a>(
        &'a self,
        request: &'a Request<'a>,
        cancel: &'a CancellationToken,
    ) -> Pending<'a, Result<Executed, EngineError>>;
}

pub(crate) struct Expected<'a> {
    pub(crate) snapshot: &'a Snapshot,
    /// Sorted and without duplicates.
    pub(crate) files: &'a [FileId],
    /// Files outside the snapshot, sorted and without duplicates.
    pub(crate) outside: &'a [OutsideFile],
}

/// Layers to build if missing.
pub(crate) struct Prepare<'a> {
    /// Each layer after those below it, with its key.
    pub(crate) layers: &'a [(&'a Layer, Digest)],
    /// Source of the files needed for building.
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) env: &'a Env,
    /// Rebuild even existing layers, because something outside (a package cache) was lost.
    pub(crate) force: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prepared {
    pub(crate) layer: String,
    /// Build time; `None` if it already existed.
    pub(crate) built: Option<Duration>,
}

pub(crate) struct Request<'a> {
    pub(crate) id: &'a str,
    pub(crate) command: &'a Command,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) shared: &'a [FileId],
    /// Files it sees and, with [`Command::append_files`], gets as arguments.
    pub(crate) parts: &'a [FileId],
    pub(crate) outside: &'a [OutsideFile],
    /// Folders that it finds even if empty.
    pub(crate) folders: &'a [RelPath],
    /// A folder whose listing lacks an entry.
    pub(crate) lacking: Option<&'a RelPath>,
    /// The user's environment, from which the declared variables are taken.
    pub(crate) env: &'a Env,
    /// Its layers with their keys.
    pub(crate) layers: &'a [(&'a Layer, Digest)],
    /// Products of earlier runs are kept only if made under an equal key: the fingerprint without the tree.
    pub(crate) product_key: Digest,
    /// Wall time after which it is killed.
    pub(crate) timeout: Option<Duration>,
    /// Whether it must really run, even if the Dagger engine has the run cached, because a cached result is suspect,
    /// too old or unwanted.
    pub(crate) again: bool,
    pub(crate) trace: Trace,
    /// Receives its output as it comes.
    pub(crate) live: Option<Live<'a>>,
}

/// Whether to observe what a run does with files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trace {
    Off,
    /// If the engine can. Then the run also finds the system's programs on its PATH.
    On,
    /// Not, but it finds the same programs as if it were.
    Unseen,
}

/// What was observed of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Traced {
    /// What it asked about the project's files.
    Facts(Facts),
    /// It could not be followed, for this reason ("it …"). It may have been ended: there is no verdict.
    Lost(String),
}

/// A finished action.
#[derive(Debug)]
pub(crate) struct Executed {
    /// The exit code is only meaningful after [`Ended::Exit`]; otherwise it is 128 plus the signal, 124 after a
    /// timeout and 130 if cancelled.
    pub(crate) output: Output,
    pub(crate) ended: Ended,
    /// Wall time of the command itself.
    pub(crate) duration: Duration,
    /// Peak memory in bytes, if known.
    pub(crate) peak_memory: Option<u64>,
    /// Whether output is missing.
    pub(crate) truncated: bool,
    /// Whether it was confined to what it declared.
    pub(crate) confined: bool,
    /// The files whose content may have mattered, sorted, if [`Command::reads`] is set and reads can be detected.
    pub(crate) reads: Option<Vec<FileId>>,
    /// What was observed, if [`Request::trace`] is set and the engine can.
    pub(crate) traced: Option<Traced>,
    /// Whether it may have listed [`Request::lacking`].
    pub(crate) listed: bool,
    /// Whether it got products from [`Command::seed`].
    pub(crate) seeded: bool,
    /// Whether the Dagger engine had it cached, so nothing ran.
    pub(crate) replayed: bool,
    /// Where it ran; unchanged until dropped.
    pub(crate) place: Option<Place>,
}

/// A directory that stays as the check left it until this is dropped.
pub(crate) struct Place {
    tree: PathBuf,
    _hold: Box<dyn Any + Send + Sync>,
}

impl Place {
    /// A directory that `hold` keeps.
    pub(crate) fn new(tree: PathBuf, hold: impl Any + Send + Sync) -> Self {
        Self {
            tree,
            _hold: Box::new(hold),
        }
    }

    /// The copy of the project root.
    #[must_use]
    pub(crate) fn tree(&self) -> &Path {
        &self.tree
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Place").field(&self.tree).finish()
    }
}

/// An action could not be run, or its result is not a verdict on the project. Never stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// A file is no longer what was hashed, so a new snapshot is needed.
    #[error("{} changed while preparing the check", .0.shown())]
    Changed(PathBuf),
    #[error("cannot build layer `{layer}`: {message}{}", tail(.output))]
    Layer {
        layer: String,
        /// What happened, with the command to reproduce it.
        message: String,
        /// The end of the command's output.
        output: String,
    },
    /// A command that prepares a check failed.
    #[error("cannot prepare the check: `{command}` {message}{}", tail(.output))]
    Before {
        command: String,
        message: String,
        /// The end of its output.
        output: String,
    },
    #[error("cannot start `{program}`: {message}")]
    Spawn {
        /// As requested.
        program: String,
        /// The reason, and what to do.
        message: String,
    },
    #[error("cannot use {}", path.shown())]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    /// No room or layer is available; holds the whole message.
    #[error("{0}")]
    Unavailable(String),
    /// The engine is unavailable or the connection was lost; holds the whole message. Not a verdict on the check.
    #[error("{0}")]
    Lost(String),
    /// The run was cancelled before the command ran.
    #[error("cancelled")]
    Cancelled,
}

fn tail(output: &str) -> String {
    if output.is_empty() {
        String::new()
    } else {
        format!("\n{output}")
    }
}

/// Directories that exist for a check even without files: its working directory, those it writes to and those it is
/// given by name.
#[must_use]
pub(crate) fn folders(request: &Request<'_>) -> Vec<RelPath> {
    let is_file = |path: &RelPath| {
        let id = request.snapshot.find(path);
        id.is_some_and(|id| request.shared.binary_search(&id).is_ok())
    };
    let outputs = request.command.output_folders().into_iter();
    let all = outputs.chain(request.folders.iter().cloned());
    let all = all.filter(|dir| !is_file(dir) && !dir.ancestors().any(|dir| is_file(&dir)));
    [request.command.dir.clone()]
        .into_iter()
        .chain(all)
        .collect()
}

/// The outcome of a check that fails before its command runs, with a message instead of output.
#[must_use]
pub(crate) fn failed_before(exit_code: i32, stderr: &str) -> Executed {
    Executed {
        output: Output {
            exit_code,
            stdout: String::new(),
            stderr: format!("{}\n", stderr.trim_end()),
        },
        ended: Ended::Exit(exit_code),
        duration: Duration::ZERO,
        peak_memory: None,
        truncated: false,
        confined: true, // Nothing ran.
        reads: None,
        traced: None,
        listed: false,
        seeded: false,
        replayed: false,
        place: None,
    }
}

/// The outcome of a check that could not be run, if that is a verdict.
///
/// # Errors
/// `error` if it is not.
pub(crate) fn verdict(request: &Request<'_>, error: EngineError) -> Result<Executed, EngineError> {
    let outcome = Err(error);
    match (after(request, &outcome), &outcome) {
        (Some(Next::Verdict(code)), Err(EngineError::Before { output, .. })) => {
            Ok(failed_before(code, output))
        }
        _ => outcome,
    }
}

/// The error of a command whose failure says nothing about the project.
#[must_use]
pub(crate) fn no_verdict(
    request: &Request<'_>,
    outcome: &Result<Executed, EngineError>,
) -> Option<EngineError> {
    match after(request, outcome) {
        Some(Next::NoVerdict(why)) => Some(EngineError::Unavailable(why.to_owned())),
        _ => None,
    }
}

/// The follow-up that the command's rule demands after a failure.
#[must_use]
pub(crate) fn after(
    request: &Request<'_>,
    outcome: &Result<Executed, EngineError>,
) -> Option<Next> {
    let failure = match outcome {
        Ok(executed) if executed.output.exit_code != 0 => Failure {
            before: false,
            seeded: executed.seeded,
            stdout: &executed.output.stdout,
            stderr: &executed.output.stderr,
        },
        Err(EngineError::Before { output, .. }) => Failure {
            before: true,
            seeded: false,
            stdout: "",
            stderr: output,
        },
        _ => return None,
    };
    request.command.retry.as_ref()?.after(&failure)
}

/// Describes how a command ended, for use after its name.
#[must_use]
pub(crate) fn describe(ended: Ended) -> String {
    match ended {
        Ended::Exit(code) => format!("exited with code {code}"),
        Ended::Signal(signal) => format!("was killed by signal {signal}"),
        Ended::Timeout(limit) => {
            format!("timed out after {}", humantime::format_duration(limit))
        }
        Ended::Cancelled => "was cancelled".to_owned(),
        Ended::Over(limit) => format!("reached its limit `limits.{}` and was ended", limit.name()),
    }
}

/// Quotes a command line for a shell.
#[must_use]
pub(crate) fn quoted<'a>(argv: impl Iterator<Item = &'a str>) -> String {
    argv.map(crate::process::quoted)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The arguments for a command's parts: their paths relative to its working directory.
#[must_use]
pub(crate) fn part_arguments(dir: &RelPath, parts: &[FileId], snapshot: &Snapshot) -> Vec<String> {
    let arguments = parts
        .iter()
        .map(|id| snapshot.entry(*id).path.argument_from(dir));
    arguments.collect()
}

/// Runs blocking work, and tells the runtime if there is one.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}
