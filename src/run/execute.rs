//! One miss: lock its key, run what is missing, save, answer.

use std::time::Instant;

use crate::digest::Digest;
use crate::engine::{Ended, EngineError, Executed, Prepare, Request, describe};
use crate::finding::{Finding, Severity};
use crate::key::CheckKey;
use crate::key::fingerprint::{PartKind, layer_key};
use crate::path::RelPath;
use crate::plan::output::Output;
use crate::plan::{Builtin, CacheMode, Check, Command, InputView, Layer, Work};
use crate::record::{Cache, CheckRecord, PartCount, Verdict};
use crate::run::hint::hint;
use crate::run::lookup::{Pending, find, fresh_record, replay};
use crate::run::{Caching, Session, now_ms, parts};
use crate::snapshot::{FileId, Snapshot};
use crate::store::entry::Entry;
use crate::store::last::Seen;

/// How a miss ended.
#[derive(Debug)]
pub enum Finished {
    /// With a verdict, and what is to be noted of it.
    Done(Box<CheckRecord>, Option<Seen>),
    /// Its files changed meanwhile: a new snapshot is due.
    Changed,
}

/// Why an action gave no result.
#[derive(Debug)]
pub(super) enum Trouble {
    /// A file changed while it was read.
    Changed,
    /// It could not run: the message, and what the tool said before.
    Error(String, Output),
}

/// What running a whole check, or one part of it, gave.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Done {
    pub exit_code: i32,
    pub stdout: String,
    pub stderr: String,
    pub findings: Vec<Finding>,
    pub duration_ms: u64,
    pub peak_memory: Option<u64>,
    pub parts_hit: u32,
    pub parts_ran: u32,
    pub saved_ms: u64,
    /// Why this result must not be stored.
    pub not_stored: Option<String>,
}

/// Runs one check that missed. Waits while another process runs the same key, and then replays its result.
#[must_use]
pub fn execute(session: &Session<'_>, pending: &Pending<'_>) -> Finished {
    let lock = session.store.lock_key(&pending.key.whole);
    // Another process may have come in between, whether we met it at the lock or it had just left.
    if lock.is_ok()
        && session.options.caching == Caching::On
        && let Ok(entry) = find(session, pending.check, &pending.key.whole)
    {
        let seen = Seen {
            key: pending.key.whole,
            fingerprint: entry.fingerprint,
            stored: true,
        };
        return Finished::Done(
            Box::new(replay(*entry, pending.check, Cache::Joined)),
            Some(seen),
        );
    }
    let begun = Instant::now();
    let mut record = fresh_record(session, pending);
    let result = match &pending.check.work {
        Work::Builtin(builtin) => run_builtin(session, pending, builtin.as_ref()),
        Work::Command(command) => run_command(session, pending, command, &mut record.built),
        Work::Missing(message) | Work::Unsupported(message) => {
            Err(Trouble::Error(message.clone(), Output::default()))
        }
    };
    record.duration_ms = elapsed_ms(begun);
    match result {
        Ok(done) => {
            let seen = conclude(session, pending.check, &pending.key, done, &mut record);
            record.message = advice(session, pending.check, &record);
            Finished::Done(Box::new(record), seen)
        }
        Err(Trouble::Changed) => Finished::Changed,
        Err(Trouble::Error(message, output)) => {
            record.verdict = Verdict::Error;
            record.message = Some(message);
            record.stdout = output.stdout;
            record.stderr = output.stderr;
            Finished::Done(Box::new(record), None)
        }
    }
}

/// What to tell about a failure besides what the tool said.
pub(super) fn advice(session: &Session<'_>, check: &Check, record: &CheckRecord) -> Option<String> {
    let Work::Command(command) = &check.work else {
        return None;
    };
    if record.verdict != Verdict::Failed {
        return None;
    }
    let output = format!("{}\n{}", record.stdout, record.stderr);
    hint(check, command, session.snapshot, session.env, &output)
}

/// Turns a result into a record, and stores it where that is right.
pub(super) fn conclude(
    session: &Session<'_>,
    check: &Check,
    key: &CheckKey,
    done: Done,
    record: &mut CheckRecord,
) -> Option<Seen> {
    let passed = done.exit_code == 0;
    record.verdict = if passed {
        Verdict::Passed
    } else {
        Verdict::Failed
    };
    let refused = refusal(session, check, passed).or_else(|| done.not_stored.clone());
    let seen = match session.options.caching {
        Caching::On => save(session, check, key, &done, refused.is_none()),
        Caching::Off | Caching::Only => None,
    };
    if session.options.caching == Caching::On && check.cache == CacheMode::All {
        let unwritten = seen.is_none() && session.store.writable();
        let unwritten = unwritten.then(|| "the cache folder could not be written".to_owned());
        record.not_stored = refused.or(unwritten);
    }
    if check.inputs.parts.is_some() {
        record.parts = Some(PartCount {
            hit: done.parts_hit,
            ran: done.parts_ran,
        });
    }
    record.saved_ms = i64::try_from(done.saved_ms).unwrap_or(i64::MAX);
    record.exit_code = Some(done.exit_code);
    record.stdout = done.stdout;
    record.stderr = done.stderr;
    record.findings = done.findings;
    seen
}

/// Why a verdict is not stored; `None` if it is.
fn refusal(session: &Session<'_>, check: &Check, passed: bool) -> Option<String> {
    if session.options.caching != Caching::On {
        return Some("--no-cache".to_owned());
    }
    if let Some(reason) = &check.not_cached {
        return Some(reason.clone());
    }
    match check.cache {
        CacheMode::All => None,
        CacheMode::Passes if passed => None,
        CacheMode::Passes => Some("only passes are stored".to_owned()),
        CacheMode::Off => Some("cache = false".to_owned()),
    }
}

/// Saves a result: fingerprint and listings first, the entry last. Without `entry` only what miss reasons need.
fn save(
    session: &Session<'_>,
    check: &Check,
    key: &CheckKey,
    done: &Done,
    entry: bool,
) -> Option<Seen> {
    let store = session.store;
    let print = &key.fingerprint;
    let fingerprint = store.put_fingerprint(print).ok()?;
    if let Some(tree) = print.value(PartKind::Inputs) {
        store
            .put_listing(tree, session.snapshot, &check.inputs.shared)
            .ok()?;
    }
    if let (Some(tree), Some(files)) = (print.value(PartKind::Files), &check.inputs.parts) {
        store.put_listing(tree, session.snapshot, files).ok()?;
    }
    if entry {
        store
            .save(&new_entry(session, check, key, done, fingerprint))
            .ok()?;
    }
    Some(Seen {
        key: key.whole,
        fingerprint,
        stored: entry,
    })
}

fn new_entry(
    session: &Session<'_>,
    check: &Check,
    key: &CheckKey,
    done: &Done,
    fingerprint: Digest,
) -> Entry {
    Entry {
        key: key.whole,
        check: check.id.clone(),
        passed: done.exit_code == 0,
        exit_code: done.exit_code,
        stdout: done.stdout.clone(),
        stderr: done.stderr.clone(),
        findings: done.findings.clone(),
        parts: done.parts_hit + done.parts_ran,
        duration_ms: done.duration_ms,
        peak_memory: done.peak_memory,
        engine: format!("{} {}", session.engine.class(), session.engine.platform()),
        tools: tool_versions(&check.work),
        created_ms: now_ms(),
        writer: env!("CARGO_PKG_VERSION").to_owned(),
        fingerprint,
        common: check.inputs.parts.is_some().then_some(key.common),
    }
}

fn tool_versions(work: &Work) -> Vec<String> {
    use crate::plan::Tool;
    let Work::Command(command) = work else {
        return Vec::new();
    };
    let version = |tool: &Tool| match tool {
        Tool::Host { version, .. } | Tool::Layer { version, .. } => version.clone(),
        Tool::Absent { .. } => None,
    };
    command.tools.iter().filter_map(version).collect()
}

fn run_builtin(
    session: &Session<'_>,
    pending: &Pending<'_>,
    builtin: &dyn Builtin,
) -> Result<Done, Trouble> {
    if pending.check.inputs.parts.is_some() {
        return parts::run_builtin(session, pending, builtin);
    }
    let view = View {
        snapshot: session.snapshot,
        shared: &pending.check.inputs.shared,
        part: None,
    };
    let begun = Instant::now();
    let findings = check_builtin(builtin, &view)?;
    Ok(Done {
        exit_code: exit_code(&findings),
        findings,
        duration_ms: elapsed_ms(begun),
        ..Done::default()
    })
}

/// Runs a built-in on a view; its findings are sorted.
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

/// Whether an error of reading says that the tree is no longer what was hashed.
fn changed(kind: std::io::ErrorKind) -> bool {
    matches!(
        kind,
        std::io::ErrorKind::InvalidData | std::io::ErrorKind::NotFound
    )
}

/// The exit code a built-in's findings stand for.
pub(super) fn exit_code(findings: &[Finding]) -> i32 {
    i32::from(
        findings
            .iter()
            .any(|finding| finding.severity == Severity::Error),
    )
}

/// What a built-in sees.
pub(super) struct View<'a> {
    pub snapshot: &'a Snapshot,
    pub shared: &'a [FileId],
    pub part: Option<FileId>,
}

impl InputView for View<'_> {
    fn paths(&self) -> Vec<&RelPath> {
        let mut ids = self.shared.to_vec();
        ids.extend(self.part);
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter()
            .map(|id| &self.snapshot.entry(id).path)
            .collect()
    }

    fn part(&self) -> Option<&RelPath> {
        self.part.map(|id| &self.snapshot.entry(id).path)
    }

    fn read(&self, path: &str) -> std::io::Result<Vec<u8>> {
        let invisible = || {
            std::io::Error::new(
                std::io::ErrorKind::NotFound,
                format!("{path} is not an input"),
            )
        };
        let id = self.snapshot.find(path).ok_or_else(invisible)?;
        if self.part != Some(id) && self.shared.binary_search(&id).is_err() {
            return Err(invisible());
        }
        self.snapshot.read(id)
    }
}

fn run_command(
    session: &Session<'_>,
    pending: &Pending<'_>,
    command: &Command,
    built: &mut Vec<String>,
) -> Result<Done, Trouble> {
    if pending.check.inputs.parts.is_some() {
        return parts::run_command(session, pending, command, built);
    }
    let executed = act(session, pending, command, &[], built)?;
    let not_stored = executed.truncated.then(|| "its output was cut".to_owned());
    let duration_ms = u64::try_from(executed.duration.as_millis()).unwrap_or(u64::MAX);
    let (output, peak_memory) = (executed.output, executed.peak_memory);
    let mut findings = command.parse.parse(&output, &command.dir, &[]).findings;
    findings.sort();
    findings.dedup();
    let Output {
        exit_code,
        stdout,
        stderr,
    } = output;
    Ok(Done {
        exit_code,
        stdout,
        stderr,
        findings,
        duration_ms,
        peak_memory,
        not_stored,
        ..Done::default()
    })
}

/// Has the engine run one action, and refuses what is no verdict: timeouts, signals, exit codes that report a signal.
pub(super) fn act(
    session: &Session<'_>,
    pending: &Pending<'_>,
    command: &Command,
    files: &[FileId],
    built: &mut Vec<String>,
) -> Result<Executed, Trouble> {
    let layers: Vec<(&Layer, Digest)> = pending
        .check
        .layers
        .iter()
        .filter_map(|name| session.plan.layer(name))
        .map(|layer| (layer, layer_key(session.plan, layer)))
        .collect();
    prepare(session, &layers, built)?;
    let request = Request {
        id: &pending.check.id,
        command,
        snapshot: session.snapshot,
        shared: &pending.check.inputs.shared,
        parts: files,
        outside: &pending.check.inputs.outside,
        env: session.env,
        layers: &layers,
        product_key: pending.key.products,
        timeout: pending.check.timeout,
        live: None,
    };
    let executed = session
        .interrupt
        .block_on(session.engine.run(&request, session.interrupt.token()));
    verdict_of(executed.map_err(trouble)?)
}

fn prepare(
    session: &Session<'_>,
    layers: &[(&Layer, Digest)],
    built: &mut Vec<String>,
) -> Result<(), Trouble> {
    let request = Prepare {
        layers,
        snapshot: session.snapshot,
        env: session.env,
        force: false,
    };
    let prepared = session
        .interrupt
        .block_on(session.engine.prepare(&request, session.interrupt.token()));
    for layer in prepared.map_err(trouble)? {
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

fn trouble(error: EngineError) -> Trouble {
    match error {
        EngineError::Changed(_) => Trouble::Changed,
        other => Trouble::Error(other.to_string(), Output::default()),
    }
}

fn verdict_of(executed: Executed) -> Result<Executed, Trouble> {
    let message = match &executed.ended {
        Ended::Exit(code @ 128..=191) => {
            format!("exit code {code}: a signal ended it, or what it ran")
        }
        Ended::Exit(_) => return Ok(executed),
        Ended::Cancelled => "interrupted".to_owned(),
        other => format!("the command {}", describe(*other)),
    };
    Err(Trouble::Error(message, executed.output))
}

pub(super) fn elapsed_ms(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}
