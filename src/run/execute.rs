//! Executes one miss: locks its key, runs what is missing, saves and returns the result.

use std::time::Instant;

use crate::key::tree::Trees;
use crate::plan::output::Output;
use crate::plan::{Build, Builtin, Check, Command, Work};
use crate::record::{Cache, CheckRecord, Verdict};
use crate::rule::Rule;
use crate::run::act::{View, check_builtin, prepare, reports_signal, room};
use crate::run::hint::out_of_reach;
use crate::run::lookup::{Pending, find, key_of};
use crate::run::mask::Mask;
use crate::run::missing_programs::{
    Suspect, TRIALS, missing_programs, needed, not_in_image, refuse, same, with,
};
use crate::run::outputs::{collect, deliver, stored};
use crate::run::read_keys::Asked;
use crate::run::result::{
    Done, Trouble, advice, conclude, elapsed_ms, exit_code, kept, quiet_stdout, replay,
};
use crate::run::{Caching, Session, part_runs, run_state, traced};
use crate::store::last::Seen;

/// How a miss ended.
#[derive(Debug)]
pub(crate) enum Finished {
    /// With a verdict, and what to remember of it.
    Done(Box<CheckRecord>, Option<Seen>),
    /// Its files changed in the meantime: a new snapshot is needed.
    Changed,
    /// The engine was lost, with this message; there is no verdict.
    Lost(String),
}

/// Runs one missed check. If another process is running the same key, waits and reuses its result.
#[must_use]
pub(crate) fn execute(session: &Session<'_>, pending: &Pending<'_>) -> Finished {
    let lock = session.store.lock_key(&pending.key.whole);
    // Another process may have finished, whether we waited for its lock or not.
    if lock.is_ok()
        && Rule::Joined.holds()
        && session.options.caching == Caching::On
        && let Ok(entry) = find(session, pending.check, &pending.key)
    {
        let seen = Seen {
            key: entry.key,
            fingerprint: entry.fingerprint,
            stored: true,
        };
        let made = stored(session.store, &entry.outputs).unwrap_or_default();
        let mut record = replay(*entry, pending.check, Cache::Joined);
        deliver(session, &made, &mut record);
        return Finished::Done(Box::new(record), Some(seen));
    }
    let begun = Instant::now();
    let mut record = fresh_record(session, pending);
    match work(session, pending, &mut record.built) {
        Ok(done) => settle(session, pending, done, record, begun, 0),
        Err(trouble) => {
            record.duration_ms = elapsed_ms(begun);
            no_verdict(trouble, record)
        }
    }
}

fn no_verdict(trouble: Trouble, mut record: CheckRecord) -> Finished {
    match trouble {
        Trouble::Changed => Finished::Changed,
        Trouble::Lost(message) => Finished::Lost(message),
        Trouble::Error(message, output) => {
            record.verdict = Verdict::Error;
            record.message = Some(message);
            record.stdout = output.stdout;
            record.stderr = output.stderr;
            Finished::Done(Box::new(record), None)
        }
    }
}

/// Runs a check again with the programs it may have been missing. What counts is the last result to which they made a
/// difference.
fn settle(
    session: &Session<'_>,
    pending: &Pending<'_>,
    done: Done,
    mut record: CheckRecord,
    begun: Instant,
    trials: usize,
) -> Finished {
    let suspects = suspects(session, pending.check, &done);
    if !suspects.is_empty() && session.options.discover && trials < TRIALS {
        let check = with(session, pending.check, &suspects);
        let wider = Pending {
            check: &check,
            key: key_of(session, &check, &mut Trees::new(session.snapshot)),
            miss: pending.miss.clone(),
            expected_ms: pending.expected_ms,
            audited: None,
        };
        match work(session, &wider, &mut record.built) {
            Ok(second) if !same(&done, &second) => {
                needed(session, &check, &suspects);
                return settle(session, &wider, second, record, begun, trials + 1);
            }
            Err(trouble @ (Trouble::Changed | Trouble::Lost(_))) => {
                return no_verdict(trouble, record);
            }
            Err(trouble) if session.interrupt.is_set() => return no_verdict(trouble, record),
            Ok(_) | Err(_) => refuse(session, pending.check, &suspects),
        }
    }
    record.duration_ms = elapsed_ms(begun);
    finish(session, pending, done, record)
}

/// Programs that a run may have been missing. A traced run has all that it looked for.
fn suspects(session: &Session<'_>, check: &Check, done: &Done) -> Vec<Suspect> {
    match done.asked {
        Some(Asked::Facts(_)) => Vec::new(),
        _ => missing_programs(session, check, done),
    }
}

/// Why a pass does not count: it was missing a program.
fn passed_without(session: &Session<'_>, check: &Check, done: &Done) -> Option<String> {
    if let Some(program) = suspects(session, check, done).first() {
        return Some(format!(
            "it passed without `{}`, which you have",
            program.name
        ));
    }
    let name = not_in_image(session, check, done)?;
    Some(format!(
        "it passed without `{name}`, which you have and the image does not; add it with `[layers.base] packages`"
    ))
}

/// Saves and reports a result.
fn finish(
    session: &Session<'_>,
    pending: &Pending<'_>,
    mut done: Done,
    mut record: CheckRecord,
) -> Finished {
    let check = pending.check;
    record.there = there(session, pending, &record.built);
    if done.exit_code == 0
        && let Some(reason) = passed_without(session, check, &done)
    {
        done.not_stored.get_or_insert(reason);
    }
    let made = std::mem::take(&mut done.outputs);
    let room = done.room.take();
    let seen = conclude(session, check, &pending.key, done, &made, &mut record);
    record.message = advice(session, check, &record);
    if let (Some(room), Verdict::Failed) = (room, record.verdict) {
        record.message = Some(kept(check, record.message, &room));
    }
    deliver(session, &made, &mut record);
    Finished::Done(Box::new(record), seen)
}

/// Runs the check. Adds the names of built layers to `built`.
pub(super) fn work(
    session: &Session<'_>,
    pending: &Pending<'_>,
    built: &mut Vec<String>,
) -> Result<Done, Trouble> {
    match &pending.check.work {
        Work::Builtin(builtin) => run_builtin(session, pending, builtin.as_ref()),
        Work::Command(command) => run_command(session, pending, command, built),
        Work::Missing(message) | Work::Unsupported(message) => {
            Err(Trouble::Error(message.clone(), Output::default()))
        }
    }
}

/// The program's layers that can be built but already existed.
fn there(session: &Session<'_>, pending: &Pending<'_>, built: &[String]) -> Vec<String> {
    let can_be_built = |name: &&String| {
        let layer = session.plan.layer(name);
        layer.is_some_and(|layer| !matches!(layer.build, Build::Present)) && !built.contains(name)
    };
    match pending.check.work {
        Work::Command(_) => pending
            .check
            .layers
            .iter()
            .filter(can_be_built)
            .cloned()
            .collect(),
        _ => Vec::new(),
    }
}

/// The record of a check that is about to run.
fn fresh_record(session: &Session<'_>, pending: &Pending<'_>) -> CheckRecord {
    let mut record =
        CheckRecord::not_run(&pending.check.id, Verdict::Passed, Some(pending.key.whole));
    record.cache = run_state(&session.options);
    record.miss = Some(pending.miss.clone());
    record.quiet_stdout = quiet_stdout(pending.check);
    record
}

fn run_builtin(
    session: &Session<'_>,
    pending: &Pending<'_>,
    builtin: &dyn Builtin,
) -> Result<Done, Trouble> {
    if pending.check.inputs.parts.is_some() {
        return part_runs::run_builtin(session, pending, builtin);
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

fn run_command(
    session: &Session<'_>,
    pending: &Pending<'_>,
    command: &Command,
    built: &mut Vec<String>,
) -> Result<Done, Trouble> {
    if pending.check.inputs.parts.is_some() {
        return part_runs::run_command(session, pending, command, built);
    }
    prepare(session, pending, built)?;
    let (executed, asked) = traced::run(session, pending, command)?;
    let lacking = pending.check.lacking.as_ref().filter(|_| executed.listed);
    let mut not_stored = if executed.truncated {
        Some("its output was truncated".to_owned())
    } else if let Some((_, why)) = lacking {
        Some(why.clone())
    } else {
        let signal = "a process it started was killed by a signal".to_owned();
        let failed = executed.output.exit_code != 0;
        let names = || out_of_reach(session, command, &executed.output).filter(|_| failed);
        (reports_signal(&executed.output).then_some(signal)).or_else(names)
    };
    if !matches!(asked, Some(Asked::Facts(_)))
        && let Some(why) = &command.unless_traced
    {
        not_stored.get_or_insert(why.clone());
    }
    let outputs = collect(
        pending.check,
        command,
        session.snapshot,
        executed.place.as_ref(),
        &Mask::of(command, session.env),
    );
    let outputs = outputs.unwrap_or_else(|reason| {
        not_stored.get_or_insert(reason);
        Vec::new()
    });
    let duration_ms = u64::try_from(executed.duration.as_millis()).unwrap_or(u64::MAX);
    // The room of a check with secrets is emptied.
    let room = room(session, &executed).filter(|_| command.secrets.is_empty());
    let unconfined = !executed.confined;
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
        unconfined,
        room,
        asked,
        seeded: executed.seeded,
        replayed: executed.replayed,
        not_stored,
        outputs,
        ..Done::default()
    })
}
