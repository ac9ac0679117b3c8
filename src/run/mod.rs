//! One run: keys, look-ups, and only for the misses an engine.
//!
//! - [`result`]: what a check gave, and storing it. - [`parts`]: results of a check that works file by file.
//! - [`lookup`]: each check's key and what the store knows of it. - [`act`]: one action on an engine.
//! - [`read_keys`]: keys of checks whose runs tell what they read.
//! - [`execute`], [`part_runs`]: one miss, from lock to saved result. - [`pool`]: misses side by side.
//! - [`outputs`]: what checks make. - [`fix`]: what tools make of files when told to mend them. - [`mask`]: secrets in what they say.
//! - [`audit`]: whether stored results still hold. - [`usable`]: whether one may be used.
//! - [`missing_programs`]: programs that a failed run did not find. - [`hint`]: what to add to the configuration after a failure. - [`cancel`]: signals.
//! - `overkeyed`: for tests, what must not be in a key.
//!
//! A run emits [`Event`]s and returns what happened. Stays free of printing, of flags and of exit codes. A fully Fresh
//! run starts no engine, no process, no thread.

pub(crate) mod act;
pub(crate) mod audit;
pub(crate) mod cancel;
pub(crate) mod execute;
pub(crate) mod fix;
pub(crate) mod hint;
pub(crate) mod lookup;
mod mask;
mod missing_programs;
mod outputs;
mod overkeyed;
pub(crate) mod part_runs;
pub(crate) mod parts;
pub(crate) mod pool;
pub(crate) mod read_keys;
pub(crate) mod result;
mod usable;

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::engine::Engine;
use crate::env::Env;
use crate::event::{Emit, Event};
use crate::key::tree::Trees;
use crate::plan::{Check, Plan};
use crate::record::{Cache, CheckLine, CheckRecord, RunRecord, Verdict};
use crate::run::cancel::Interrupt;
use crate::run::lookup::{Pending, State};
use crate::run::result::Trouble;
use crate::snapshot::Snapshot;
use crate::store::Store;
use crate::store::last::Last;

/// How stored results are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Caching {
    /// Look up, run the misses, save.
    #[default]
    On,
    /// Run everything, save nothing.
    Off,
    /// Look up, run nothing: a miss is an error.
    Only,
}

/// What the caller chose.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// How stored results are used.
    pub(crate) caching: Caching,
    /// How many checks run side by side; at least 1.
    pub(crate) jobs: usize,
    /// Whether the first failure stops what has not begun.
    pub(crate) fail_fast: bool,
    /// Whether nothing is run at all.
    pub(crate) dry_run: bool,
    /// Whether failures say where the room is that they ran in.
    pub(crate) keep_room: bool,
    /// Whether checks are narrowed to some files: what is seen then is no measure for later reasons.
    pub(crate) narrowed: bool,
    /// Whether what checks make is brought to the project; a git hook leaves the work tree alone.
    pub(crate) outputs: bool,
    /// Whether a check that fails for want of a program of the user's is given back to be planned with it.
    pub(crate) discover: bool,
    /// Which hits are run all the same, and compared.
    pub(crate) audit: Option<audit::Sample>,
}

impl Options {
    /// For a look beside a run: nothing is brought anywhere, and no later reason refers to it.
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

/// Everything a run works with.
pub(crate) struct Session<'a> {
    /// The steps.
    pub(crate) plan: &'a Plan,
    /// The project's files.
    pub(crate) snapshot: &'a Snapshot,
    /// The user's environment.
    pub(crate) env: &'a Env,
    /// What runs misses.
    pub(crate) engine: &'a dyn Engine,
    /// What is remembered.
    pub(crate) store: &'a Store,
    /// Id of the project in the store.
    pub(crate) project: &'a str,
    /// Before the snapshot was taken: what changed later was edited meanwhile.
    pub(crate) started: SystemTime,
    /// What the caller chose.
    pub(crate) options: Options,
    /// Where events go.
    pub(crate) sink: &'a dyn Emit,
    /// Set when the user interrupts.
    pub(crate) interrupt: &'a Interrupt,
}

impl Session<'_> {
    /// Emits an event.
    pub(crate) fn emit(&self, event: &Event<'_>) {
        self.sink.emit(event);
    }
}

/// What became of the checks of one pass.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Checks with a verdict, in the order they finished.
    pub(crate) records: Vec<CheckRecord>,
    /// Ids of checks whose files changed while they were read: they need a new snapshot.
    pub(crate) changed: Vec<String>,
    /// Ids of checks that failed for want of programs the user has, with the names of these: they are to be planned
    /// with them. Nothing is stored of such a run.
    pub(crate) missing_programs: Vec<(String, Vec<String>)>,
    /// If the engine was lost: its message, and the ids of checks that have no verdict because of it. Nothing is stored
    /// of them.
    pub(crate) lost: Option<(String, Vec<String>)>,
}

impl Outcome {
    fn lose(&mut self, message: String, id: String) {
        let (_, ids) = self.lost.get_or_insert_with(|| (message, Vec::new()));
        ids.push(id);
    }
}

/// Runs `checks` (or replays them). Every check ends up in the outcome.
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
        // Only wording depends on it.
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
    // What took longest last time starts first, so that nothing long is left for the end.
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
            execute::Finished::MissingPrograms(programs) => {
                outcome.missing_programs.push((id, programs));
            }
            execute::Finished::Lost(message) => outcome.lose(message, id),
        }
    }
}

/// Sums a run up. `started` is the start of the process, `overhead_ms` what was spent before the first check ran.
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

/// The cache state of something that was run.
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
