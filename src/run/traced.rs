//! Runs a command, traced if that is possible: then its result is keyed by what it asked.
//!
//! A tracer can be noticed. So a run that could not be followed is repeated without one, and so is the first failure.

use crate::engine::{Executed, Traced};
use crate::plan::Command;
use crate::run::Session;
use crate::run::act::{act, execute, verdict_of};
use crate::run::lookup::Pending;
use crate::run::mask::Mask;
use crate::run::read_keys::{Asked, weak_traced};
use crate::run::result::Trouble;
use crate::store::reads::Notes;

/// Looking up more questions than this takes longer than comparing the whole tree is worth.
const MOST: usize = 20_000;

/// Said if a failure went away without the tracer.
const DIFFERS: &str = "ends in another way when it is traced";

/// Runs a check that has no parts. Also returns what it asked, if that is known.
pub(super) fn run(
    session: &Session<'_>,
    pending: &Pending<'_>,
    command: &Command,
) -> Result<(Executed, Option<Asked>), Trouble> {
    let store = session.store;
    let plain = || {
        let mut executed = act(session, pending, command, &[])?;
        let reads = executed.reads.take().map(Asked::Files);
        Ok((executed, reads))
    };
    let Some(weak) = weak_traced(pending.check, &pending.key) else {
        return plain();
    };
    let notes = store.notes(&weak.key);
    if notes.untraceable.is_some() {
        return plain();
    }
    let note = |notes: Notes| {
        // If this fails, the next run finds out again.
        let _ = store.put_notes(&weak.key, notes);
    };
    let untraceable = |why: String| {
        note(Notes {
            untraceable: Some(why),
            ..notes.clone()
        });
    };
    let mask = Mask::of(command, session.env);
    let mut executed = execute(session, pending, command, &[], true)?;
    let facts = match executed.traced.take() {
        None => return Ok((verdict_of(executed)?, None)),
        Some(Traced::Lost(why)) => {
            drop(executed); // Its room is needed again.
            untraceable(why);
            return plain();
        }
        // Nothing is kept that names a secret.
        Some(Traced::Facts(facts))
            if facts.0.len() > MOST || mask.shows_in(facts.text().as_bytes()) =>
        {
            return Ok((verdict_of(executed)?, None));
        }
        Some(Traced::Facts(facts)) => facts,
    };
    let ended_before = || store.reads(&weak.key).next().is_some();
    let executed = match verdict_of(executed) {
        // Perhaps the tracer is to blame, unless it ended under one before.
        Err(Trouble::Error(..)) if !session.interrupt.is_set() && !ended_before() => {
            return plain();
        }
        other => other?,
    };
    let asked = Some(Asked::Facts(facts));
    if executed.output.exit_code == 0 || notes.confirmed {
        return Ok((executed, asked));
    }
    let code = executed.output.exit_code;
    drop(executed);
    let (executed, _) = plain()?;
    if executed.output.exit_code != code {
        untraceable(DIFFERS.to_owned());
        return Ok((executed, None));
    }
    note(Notes {
        confirmed: true,
        ..notes.clone()
    });
    Ok((executed, asked))
}
