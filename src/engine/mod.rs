//! Engines: what builds layers and runs checks. The trait and its vocabulary.
//!
//! - [`local`]: on this host, in rooms. - [`dagger`]: in containers of a Dagger engine.
//! - [`mod@environment`]: the variables of a check. - [`relative`]: its captured output. - [`folder`]: what happens if the
//!   store cannot be written.
//!
//! An engine is handed content and returns what happened. It knows neither the store's entries, nor what a key means
//! (it only compares them), nor verdicts: whether something is stored is the caller's decision.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::digest::Digest;
use crate::env::Env;
use crate::path::RelPath;
use crate::plan::check::{Failure, Next, OutsideFile};
use crate::plan::{Command, Layer, Output};
pub(crate) use crate::process::{Ended, Live};
use crate::snapshot::{FileId, Snapshot};

#[cfg(all(feature = "dagger", unix))]
pub(crate) mod dagger;
pub(crate) mod environment;
pub(crate) mod folder;
pub(crate) mod local;
pub(crate) mod relative;

/// What an engine returns at once and does when awaited. Dropping it ends what it started.
pub(crate) type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Runs steps.
pub(crate) trait Engine: Send + Sync {
    /// The engine's class: engines of different classes never share a key.
    fn class(&self) -> &'static str;

    /// `linux-x86_64-gnu`: where its programs run. Enters every key.
    fn platform(&self) -> &str;

    /// Makes sure that all layers are there. What is already built is left as it is; a layer that another process is
    /// building is waited for.
    fn prepare<'a>(
        &'a self,
        request: &'a Prepare<'a>,
        cancel: &'a CancellationToken,
    ) -> Pending<'a, Result<Vec<Prepared>, EngineError>>;

    /// What checks are about to be given: every file they may see, said before the first of them runs. An engine that
    /// brings files elsewhere brings them once.
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

/// What checks are about to be given.
pub(crate) struct Expected<'a> {
    /// Where content comes from.
    pub(crate) snapshot: &'a Snapshot,
    /// Files they see, sorted and without repeats.
    pub(crate) files: &'a [FileId],
    /// Files from outside the snapshot, sorted and without repeats.
    pub(crate) outside: &'a [OutsideFile],
}

/// Layers to build where they are missing.
pub(crate) struct Prepare<'a> {
    /// Each after those it stands on, with its key.
    pub(crate) layers: &'a [(&'a Layer, Digest)],
    /// Where the files that builds need come from.
    pub(crate) snapshot: &'a Snapshot,
    /// The user's environment.
    pub(crate) env: &'a Env,
    /// Build even what is there: something outside (a package cache) was lost.
    pub(crate) force: bool,
}

/// A layer that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prepared {
    /// Its name.
    pub(crate) layer: String,
    /// How long building took; `None` if it was there.
    pub(crate) built: Option<Duration>,
}

/// One action.
pub(crate) struct Request<'a> {
    /// Id of the check.
    pub(crate) id: &'a str,
    /// What runs.
    pub(crate) command: &'a Command,
    /// Where content comes from.
    pub(crate) snapshot: &'a Snapshot,
    /// Files it sees.
    pub(crate) shared: &'a [FileId],
    /// Files it sees and, with [`Command::append_files`], is told to look at.
    pub(crate) parts: &'a [FileId],
    /// Files from outside the snapshot.
    pub(crate) outside: &'a [OutsideFile],
    /// The user's environment; the declared names are taken from it.
    pub(crate) env: &'a Env,
    /// The layers it stands on, with their keys.
    pub(crate) layers: &'a [(&'a Layer, Digest)],
    /// Products of earlier runs are kept only if they were made under an equal one: the fingerprint without the tree.
    pub(crate) product_key: Digest,
    /// Wall time after which it is ended.
    pub(crate) timeout: Option<Duration>,
    /// Whether it must really run, also where the engine remembers a run like it: a stored result is not trusted, is
    /// too old or unwanted.
    pub(crate) again: bool,
    /// Sees its output as it comes.
    pub(crate) live: Option<Live<'a>>,
}

/// An action that came to an end.
#[derive(Debug)]
pub(crate) struct Executed {
    /// What it said. The exit code is only meaningful if it ended with [`Ended::Exit`]; otherwise it is 128 plus the
    /// signal, 124 after a timeout and 130 when cancelled.
    pub(crate) output: Output,
    /// How it ended.
    pub(crate) ended: Ended,
    /// Wall time of the command itself.
    pub(crate) duration: Duration,
    /// Peak memory in bytes, where the engine can tell.
    pub(crate) peak_memory: Option<u64>,
    /// Whether some of the output is missing.
    pub(crate) truncated: bool,
    /// Whether it was kept from everything that it did not declare.
    pub(crate) confined: bool,
    /// The files whose content can have mattered, sorted, if [`Command::reads`] asked and it can be told.
    pub(crate) reads: Option<Vec<FileId>>,
    /// Whether it was given products that came from [`Command::seed`].
    pub(crate) seeded: bool,
    /// Whether the engine remembered it: nothing ran now.
    pub(crate) replayed: bool,
    /// Where it ran, untouched until this is dropped.
    pub(crate) place: Option<Place>,
}

/// A folder that stays as the check left it for as long as this lives.
pub(crate) struct Place {
    tree: PathBuf,
    _hold: Box<dyn Any + Send + Sync>,
}

impl Place {
    /// A folder kept by `hold`.
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

/// An action could not be run, or says nothing about the project. Never stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// A file is no longer what was hashed: the snapshot is to be taken again.
    #[error("{} changed while the check was prepared", .0.display())]
    Changed(PathBuf),
    /// A layer could not be built.
    #[error("layer `{layer}` could not be built: {message}{}", tail(.output))]
    Layer {
        /// Its name.
        layer: String,
        /// What happened, with the command that repeats it.
        message: String,
        /// The end of what the command said.
        output: String,
    },
    /// A command that prepares a check failed.
    #[error("`{command}`, which prepares the check, {message}{}", tail(.output))]
    Before {
        /// The command.
        command: String,
        /// How it ended.
        message: String,
        /// The end of what it said.
        output: String,
    },
    /// A program cannot be started.
    #[error("cannot start `{program}`: {message}")]
    Spawn {
        /// As it was asked for.
        program: String,
        /// Why, and the way out.
        message: String,
    },
    /// The file system refused.
    #[error("cannot use {}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No room or layer can be had; holds the whole message.
    #[error("{0}")]
    Unavailable(String),
    /// The engine is away, or was lost meanwhile; holds the whole message. Says nothing about the check.
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

/// The folders that are there for a check although no file is in them: where it runs, and those it is told to write to.
#[must_use]
pub(crate) fn folders(request: &Request<'_>) -> Vec<RelPath> {
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

/// The outcome of a check that fails before its command runs, by what was said instead.
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
        seeded: false,
        replayed: false,
        place: None,
    }
}

/// The outcome of a check that could not be run, which may be a verdict nevertheless.
///
/// # Errors
/// `error`, if it is none.
pub(crate) fn verdict(request: &Request<'_>, error: EngineError) -> Result<Executed, EngineError> {
    let outcome = Err(error);
    match (after(request, &outcome), &outcome) {
        (Some(Next::Verdict(code)), Err(EngineError::Before { output, .. })) => {
            Ok(failed_before(code, output))
        }
        _ => outcome,
    }
}

/// What the command's own rule has follow an outcome, if it is a failure.
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

/// How an ended command reads in a message, after its name.
#[must_use]
pub(crate) fn describe(ended: Ended) -> String {
    match ended {
        Ended::Exit(code) => format!("ended with exit code {code}"),
        Ended::Signal(signal) => format!("was ended by signal {signal}"),
        Ended::Timeout(limit) => {
            format!("did not end within {}", humantime::format_duration(limit))
        }
        Ended::Cancelled => "was cancelled".to_owned(),
    }
}

/// A command line that a shell would take apart again.
#[must_use]
pub(crate) fn quoted<'a>(argv: impl Iterator<Item = &'a str>) -> String {
    argv.map(crate::process::quoted)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The arguments a command gets for its parts: their paths relative to its working directory.
#[must_use]
pub(crate) fn part_arguments(dir: &RelPath, parts: &[FileId], snapshot: &Snapshot) -> Vec<String> {
    let arguments = parts
        .iter()
        .map(|id| snapshot.entry(*id).path.argument_from(dir));
    arguments.collect()
}

/// Work that blocks, where the runtime can be told.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}
