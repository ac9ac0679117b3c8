//! One run: keys, look-ups, and only for the misses an engine.
//!
//! - [`lookup`]: each check's key and its cached result. - [`usable`]: whether a cached result may be used.
//! - [`sources`]: where else a result may come from.
//! - [`execute`], [`part_runs`]: one miss, from lock to saved result. - [`pool`]: runs misses in parallel.
//! - [`act`]: one action on an engine. - [`result`]: the result of a check, and storing it.
//! - [`traced`]: one action that is observed, and again where that disturbed it. - [`host`]: what it asks about this host.
//! - [`parts`]: results of per-file checks. - [`read_keys`]: keys of checks whose reads are known.
//! - [`outputs`]: files that checks make. - [`fix`]: files that tools fix. - [`mask`]: masks secrets.
//! - [`audit`]: re-runs cached checks. - [`missing_programs`]: programs that a run did not find.
//! - [`hint`]: suggests configuration after a failure. - [`cancel`]: signals.
//!
//! A run emits [`Event`]s and returns what happened. Prints nothing and knows no flags or exit codes. A fully Fresh
//! run starts no engine, process or thread.

pub(crate) mod act;
pub(crate) mod audit;
pub(crate) mod cancel;
pub(crate) mod execute;
pub(crate) mod fix;
pub(crate) mod hint;
mod host;
pub(crate) mod lookup;
mod mask;
mod missing_programs;
mod outputs;
pub(crate) mod part_runs;
pub(crate) mod parts;
pub(crate) mod pool;
pub(crate) mod read_keys;
pub(crate) mod result;
pub(crate) mod sources;
mod traced;
mod usable;

use std::borrow::Cow;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::engine::{Engine, local};
use crate::env::Env;
use crate::event::{Emit, Event};
use crate::facts::Facts;
use crate::key::tree::Trees;
use crate::plan::trust::Trusted;
use crate::plan::{Check, Plan, Work};
use crate::record::{Cache, CheckLine, CheckRecord, RunRecord, Verdict};
use crate::run::cancel::Interrupt;
use crate::run::lookup::{Pending, State};
use crate::run::result::Trouble;
use crate::run::sources::Sources;
use crate::scope::{Scope, Strange};
use crate::snapshot::Snapshot;
use crate::store::Store;
use crate::store::last::Last;
use crate::tool::Tools;
use crate::tool::discovered::Discovered;

/// How to use cached results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Caching {
    /// Look up, run misses, save.
    #[default]
    On,
    /// Run everything, save nothing.
    Off,
    /// Look up, run nothing: a miss is an error.
    Only,
}

/// The caller's choices.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// How stored results are used.
    pub(crate) caching: Caching,
    /// Number of checks to run in parallel; at least 1.
    pub(crate) jobs: usize,
    /// Whether the first failure prevents further checks from starting.
    pub(crate) fail_fast: bool,
    /// Whether to run nothing at all.
    pub(crate) dry_run: bool,
    /// Whether failures report the path of their room.
    pub(crate) keep_room: bool,
    /// Whether checks are narrowed to some files, so that later miss reasons must not compare with this run.
    pub(crate) narrowed: bool,
    /// Whether to write outputs to the project; a git hook leaves the work tree alone.
    pub(crate) outputs: bool,
    /// Whether to run checks again with programs that they may have been missing.
    pub(crate) discover: bool,
    /// Which hits to run and compare.
    pub(crate) audit: Option<audit::Sample>,
}

impl Options {
    /// For a side run: writes no outputs, and later miss reasons ignore it.
    #[must_use]
    pub(crate) const fn beside(caching: Caching) -> Self {
        Self {
            caching,
            jobs: 1,
            fail_fast: false,
            dry_run: false,
            keep_room: false,
            narrowed: true,
            outputs: false,
            discover: false,
            audit: None,
        }
    }
}

/// The context of a run.
pub(crate) struct Session<'a> {
    pub(crate) plan: &'a Plan,
    /// The project's files.
    pub(crate) snapshot: &'a Snapshot,
    /// The user's environment.
    pub(crate) env: &'a Env,
    pub(crate) facts: &'a Facts,
    /// The user's programs.
    pub(crate) tools: &'a Tools,
    /// Those that checks turned out to need.
    pub(crate) discovered: &'a Discovered,
    pub(crate) engine: &'a dyn Engine,
    pub(crate) store: &'a Store,
    /// Who else may know results.
    pub(crate) sources: &'a Sources,
    /// Id of the project in the store.
    pub(crate) project: &'a str,
    /// Before the snapshot was taken: files changed later were edited in the meantime.
    pub(crate) started: SystemTime,
    /// What the caller chose.
    pub(crate) options: Options,
    /// Where events go.
    pub(crate) sink: &'a dyn Emit,
    /// Set when the user interrupts.
    pub(crate) interrupt: &'a Interrupt,
}

impl Session<'_> {
    /// What planning may use, for checks that are planned anew.
    pub(crate) fn scope(&self) -> Scope<'_> {
        Scope {
            snapshot: self.snapshot,
            excluded: &[],
            facts: self.facts,
            tools: self.tools,
            env: self.env,
            secrets_baseline: None,
            strange: Strange::default(),
            trusted: Trusted::default(),
            images: None,
        }
    }

    pub(crate) fn emit(&self, event: &Event<'_>) {
        self.sink.emit(event);
    }

    /// The class and platform of what runs a check. What is built in runs in this process, whatever the engine.
    pub(crate) fn place_of(&self, check: &Check) -> (&'static str, Cow<'_, str>) {
        match check.work {
            Work::Builtin(_) => (local::CLASS, local::platform().into()),
            _ => (self.engine.class(), self.engine.platform().into()),
        }
    }
}

/// The outcome of one pass.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Checks with a verdict, in order of completion.
    pub(crate) records: Vec<CheckRecord>,
    /// Ids of checks whose files changed while being read: they need a new snapshot.
    pub(crate) changed: Vec<String>,
    /// If the engine was lost: its message and the ids of checks without a verdict, of which nothing is stored.
    pub(crate) lost: Option<(String, Vec<String>)>,
}

impl Outcome {
    fn lose(&mut self, message: String, id: String) {
        let (_, ids) = self.lost.get_or_insert_with(|| (message, Vec::new()));
        ids.push(id);
    }
}

/// Runs `checks` or reuses their results. Every check ends up in the outcome.
#[must_use]
pub(crate) fn run(session: &Session<'_>, checks: &[&Check]) -> Outcome {
    let mut last = session.store.last(session.project);
    let known = last.clone();
    let mut outcome = Outcome::default();
    let mut pending = Vec::new();
    let mut trees = Trees::new(session.snapshot);
    for check in checks {
        let key = lookup::key_of(session, check, &mut trees);
        match lookup::look_up(session, check, key, &last) {
            State::Done(record, seen) => {
                if let Some(seen) = seen {
                    last.set(&check.id, seen);
                }
                if audit::wanted(session, &record) {
                    pending.push(lookup::audited(session, check, record, &mut trees));
                    continue;
                }
                session.emit(&Event::CheckFinished(&record));
                outcome.records.push(*record);
            }
            State::Pending(miss) => pending.push(*miss),
        }
    }
    if !pending.is_empty() {
        run_pending(session, pending, &mut outcome, &mut last);
    }
    let note = !session.options.dry_run && !session.options.narrowed;
    if last != known && note {
        // Only affects wording.
        let _ = session.store.save_last(session.project, &last);
    }
    outcome
}

fn run_pending(
    session: &Session<'_>,
    mut pending: Vec<Pending<'_>>,
    outcome: &mut Outcome,
    last: &mut Last,
) {
    // The slowest checks start first, so that no long one is left for the end.
    pending.sort_by_key(|miss| std::cmp::Reverse(miss.expected_ms));
    if let Err(trouble) = act::expect(session, &pending) {
        let (programs, others): (Vec<_>, Vec<_>) = pending
            .into_iter()
            .partition(|miss| miss.check.work.command().is_some());
        for miss in programs {
            let id = miss.check.id.clone();
            match &trouble {
                Trouble::Lost(message) => outcome.lose(message.clone(), id),
                _ => outcome.changed.push(id),
            }
        }
        pending = others;
    }
    for (id, finished) in pool::run_all(session, pending) {
        match finished {
            execute::Finished::Done(record, seen) => {
                if let Some(seen) = seen {
                    last.set(&id, seen);
                }
                outcome.records.push(*record);
            }
            execute::Finished::Changed => outcome.changed.push(id),
            execute::Finished::Lost(message) => outcome.lose(message, id),
        }
    }
}

/// Summarises a run. `started` is the start of the process, `overhead_ms` the time before the first check ran.
#[must_use]
pub(crate) fn summarize(
    command: &str,
    project: &str,
    engine: &str,
    records: &[CheckRecord],
    started: (Instant, SystemTime),
    overhead_ms: u64,
) -> RunRecord {
    let millis =
        |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let verdict = records
        .iter()
        .map(|record| record.verdict)
        .max()
        .unwrap_or(Verdict::Passed);
    let all_skipped = records
        .iter()
        .all(|record| record.verdict == Verdict::Skipped);
    let verdict = match verdict {
        Verdict::Skipped if !all_skipped => Verdict::Passed,
        other => other,
    };
    let saved: i64 = records.iter().map(|record| record.saved_ms).sum();
    RunRecord {
        started_ms: started.1.duration_since(UNIX_EPOCH).map_or(0, millis),
        duration_ms: millis(started.0.elapsed()),
        command: command.to_owned(),
        project: project.to_owned(),
        engine: engine.to_owned(),
        verdict,
        saved_ms: saved - i64::try_from(overhead_ms).unwrap_or(i64::MAX),
        checks: records.iter().map(line).collect(),
    }
}

fn line(record: &CheckRecord) -> CheckLine {
    CheckLine {
        id: record.id.clone(),
        verdict: record.verdict,
        cache: record.cache,
        miss: record.miss.as_ref().map(|miss| miss.kind),
        subject: record.miss.as_ref().and_then(|miss| miss.path.clone()),
        duration_ms: record.duration_ms,
        saved_ms: record.saved_ms,
        parts: record.parts,
        engine: None,
        layers_built: number(record.built.len()),
        layers_there: number(record.there.len()),
        replayed: record.replayed,
    }
}

fn number(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// The cache state of a check that ran.
#[must_use]
pub(crate) fn run_state(options: &Options) -> Cache {
    if options.caching == Caching::Off {
        Cache::Off
    } else {
        Cache::Miss
    }
}

/// Milliseconds since 1970 UTC.
#[must_use]
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
