//! Runs one action: a built-in on its inputs, or a program through the engine.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::PathBuf;

use crate::engine::{Ended, EngineError, Executed, Expected, Prepare, Request, Trace, describe};
use crate::finding::Finding;
use crate::key::{MissKind, layers_of};
use crate::path::RelPath;
use crate::plan::output::Output;
use crate::plan::{Builtin, Command, InputView};
use crate::record::INTERRUPTED;
use crate::rule::Rule;
use crate::run::lookup::Pending;
use crate::run::mask::Mask;
use crate::run::result::Trouble;
use crate::run::{Caching, Session};
use crate::snapshot::{FileId, Snapshot};

/// Runs a built-in and sorts its findings.
pub(super) fn check_builtin(
    builtin: &dyn Builtin,
    view: &View<'_>,
) -> Result<Vec<Finding>, Trouble> {
    match builtin.check(view) {
        Ok(mut findings) => {
            findings.sort();
            Ok(findings)
        }
        Err(error) if changed(error.kind()) => Err(Trouble::Changed),
        Err(error) => Err(Trouble::Error(error.to_string(), Output::default())),
    }
}

/// Whether a read error means that the tree is no longer what was hashed.
fn changed(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::InvalidData | ErrorKind::NotFound)
}

/// The files a built-in sees.
pub(super) struct View<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) shared: &'a [FileId],
    pub(crate) part: Option<FileId>,
}

impl InputView for View<'_> {
    fn part(&self) -> Option<&RelPath> {
        self.part.map(|id| &self.snapshot.entry(id).path)
    }

    fn read(&self, path: &str) -> std::io::Result<Vec<u8>> {
        self.snapshot.read(self.visible(path)?).map_err(|error| {
            let message = format!(
                "{path}: {error}\nhelp: skip it: `exclude = [\"{path}\"]` in the configuration"
            );
            match error.kind() {
                kind @ ErrorKind::FileTooLarge => std::io::Error::new(kind, message),
                _ => error,
            }
        })
    }

    fn pass(
        &self,
        path: &str,
        take: &mut dyn FnMut(&[u8]) -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        self.snapshot.pass(self.visible(path)?, take)
    }
}

impl View<'_> {
    fn visible(&self, path: &str) -> std::io::Result<FileId> {
        let invisible =
            || std::io::Error::new(ErrorKind::NotFound, format!("{path} is not an input"));
        let id = self.snapshot.find(path).ok_or_else(invisible)?;
        if self.part != Some(id) && self.shared.binary_search(&id).is_err() {
            return Err(invisible());
        }
        Ok(id)
    }
}

/// Lets the engine run one action, and rejects results that are not verdicts.
pub(super) fn act(
    session: &Session<'_>,
    pending: &Pending<'_>,
    command: &Command,
    files: &[FileId],
) -> Result<Executed, Trouble> {
    execute(session, pending, command, files, Trace::Off).and_then(verdict_of)
}

/// Lets the engine run one action.
pub(super) fn execute(
    session: &Session<'_>,
    pending: &Pending<'_>,
    command: &Command,
    files: &[FileId],
    trace: Trace,
) -> Result<Executed, Trouble> {
    let layers = layers_of(session.plan, pending.check);
    let request = Request {
        id: &pending.check.id,
        command,
        snapshot: session.snapshot,
        shared: &pending.check.inputs.seen_with(files),
        parts: files,
        outside: &pending.check.inputs.outside,
        folders: &pending.check.inputs.folders,
        lacking: pending.check.lacking.as_ref().map(|(folder, _)| folder),
        env: session.env,
        layers: &layers,
        product_key: pending.key.products,
        timeout: pending.check.timeout,
        again: again(session, pending),
        trace,
        live: None,
    };
    let executed = session
        .interrupt
        .block_on(session.engine.run(&request, session.interrupt.token()));
    let mask = Mask::of(command, session.env);
    if !Rule::SecretsAreMasked.holds() {
        return executed.map_err(no_runtime)?.map_err(trouble);
    }
    let mut executed = executed
        .map_err(no_runtime)?
        .map_err(|error| match trouble(error) {
            Trouble::Error(message, output) => Trouble::Error(mask.text(&message), output),
            Trouble::Lost(message) => Trouble::Lost(mask.text(&message)),
            other => other,
        })?;
    mask.output(&mut executed.output);
    Ok(executed)
}

/// Whether to bypass the engine's cache, too: the cached result in the store was not acceptable, or nothing will be
/// stored.
fn again(session: &Session<'_>, pending: &Pending<'_>) -> bool {
    session.options.caching == Caching::Off
        || pending.audited.is_some()
        || pending.check.max_age.is_some()
        || matches!(pending.miss.kind, MissKind::Expired | MissKind::NotCached)
}

/// Announces to the engine which files the programs in `pending` may see. Other errors will occur again for each
/// check, which reports them.
///
/// # Errors
/// [`Trouble::Changed`] if the snapshot is outdated, [`Trouble::Lost`] if the engine is lost.
pub(super) fn expect(session: &Session<'_>, pending: &[Pending<'_>]) -> Result<(), Trouble> {
    let (mut files, mut outside) = (BTreeSet::new(), BTreeSet::new());
    let mut any = false;
    for check in pending.iter().map(|pending| pending.check) {
        if check.work.command().is_none() {
            continue;
        }
        any = true;
        files.extend(&check.inputs.shared);
        files.extend(check.inputs.checked().unwrap_or_default());
        outside.extend(check.inputs.outside.iter().cloned());
    }
    if !any {
        return Ok(());
    }
    let (files, outside): (Vec<_>, Vec<_>) =
        (files.into_iter().collect(), outside.into_iter().collect());
    let expected = Expected {
        snapshot: session.snapshot,
        files: &files,
        outside: &outside,
    };
    let told = session
        .interrupt
        .block_on(session.engine.expect(&expected, session.interrupt.token()));
    match told.map_err(no_runtime)?.map_err(trouble) {
        Err(Trouble::Error(..)) | Ok(()) => Ok(()),
        Err(other) => Err(other),
    }
}

/// Where an action ran, if the user wants to keep it.
pub(super) fn room(session: &Session<'_>, executed: &Executed) -> Option<PathBuf> {
    let place = executed.place.as_ref();
    let place = place.filter(|_| session.options.keep_room);
    place.map(|place| place.tree().to_path_buf())
}

/// Builds a check's missing layers, once before all its actions. Adds their names to `built`.
pub(super) fn prepare(
    session: &Session<'_>,
    pending: &Pending<'_>,
    built: &mut Vec<String>,
) -> Result<(), Trouble> {
    let layers = layers_of(session.plan, pending.check);
    let request = Prepare {
        layers: &layers,
        snapshot: session.snapshot,
        env: session.env,
        force: false,
    };
    let prepared = session
        .interrupt
        .block_on(session.engine.prepare(&request, session.interrupt.token()));
    for layer in prepared.map_err(no_runtime)?.map_err(trouble)? {
        let Some(took) = layer.built else { continue };
        let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        session.emit(&crate::event::Event::LayerBuilt {
            name: &layer.layer,
            duration_ms,
        });
        built.push(layer.layer);
    }
    Ok(())
}

fn no_runtime(error: std::io::Error) -> Trouble {
    Trouble::Error(format!("cannot start a thread: {error}"), Output::default())
}

fn trouble(error: EngineError) -> Trouble {
    match error {
        EngineError::Changed(_) => Trouble::Changed,
        EngineError::Lost(message) => Trouble::Lost(message),
        EngineError::Cancelled => Trouble::Error(INTERRUPTED.to_owned(), Output::default()),
        // Includes the causes, because the last of them tells that the disk is full.
        other => Trouble::Error(
            format!("{:#}", anyhow::Error::new(other)),
            Output::default(),
        ),
    }
}

/// Whether the failure may come from a process below the tool that a signal ended (out of memory, say), in the words
/// of cargo, Python, Go and gcc. Another run may then have another verdict.
pub(super) fn reports_signal(output: &Output) -> bool {
    const WORDS: [&str; 4] = [
        "(signal: ",
        "died with <Signals.",
        "signal: killed",
        "Killed signal terminated program",
    ];
    output.exit_code != 0
        && Rule::SignalMessages.holds()
        && WORDS.iter().any(|words| output.stderr.contains(words))
}

/// Rejects results that are not verdicts: timeouts, signals, exit codes that report a signal.
pub(super) fn verdict_of(executed: Executed) -> Result<Executed, Trouble> {
    let message = match &executed.ended {
        Ended::Timeout(_) if !Rule::Timeouts.holds() => return Ok(executed),
        Ended::Signal(_) if !Rule::Signals.holds() => return Ok(executed),
        Ended::Cancelled if !Rule::Interrupted.holds() => return Ok(executed),
        Ended::Exit(code @ 128..=191) if Rule::SignalCodes.holds() => {
            format!("exit code {code}: it, or a process it started, was killed by a signal")
        }
        Ended::Exit(_) => return Ok(executed),
        Ended::Cancelled => INTERRUPTED.to_owned(),
        other => format!("the command {}", describe(*other)),
    };
    Err(Trouble::Error(message, executed.output))
}
