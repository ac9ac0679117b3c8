//! Runs a command, traced if that is possible: then its result is keyed by what it asked.
//!
//! A tracer can be noticed. So a run that could not be followed is repeated without one, and so is the first failure.
//! A traced run finds the system's programs on its PATH. If the user would have got others, it is repeated with them.

use std::collections::BTreeSet;

use crate::engine::{Executed, Trace, Traced};
use crate::key::facts::{Facts, WeakKey};
use crate::plan::{Check, Command};
use crate::run::Session;
use crate::run::act::{act, execute, verdict_of};
use crate::run::host::ThisHost;
use crate::run::lookup::Pending;
use crate::run::mask::Mask;
use crate::run::missing_programs::with_programs;
use crate::run::read_keys::{Asked, known_programs, weak_traced};
use crate::run::result::Trouble;
use crate::store::reads::Notes;

/// Looking up more questions than this takes longer than comparing the whole tree is worth.
const MOST: usize = 20_000;

/// As often, programs that were looked for may lead to another run.
const ROUNDS: usize = 8;

/// Said if a failure went away without the tracer.
const DIFFERS: &str = "ends in another way when it is traced";

/// Runs a check that has no parts. Also returns what it asked, if that is known.
pub(super) fn run(
    session: &Session<'_>,
    pending: &Pending<'_>,
    command: &Command,
) -> Result<(Executed, Option<Asked>), Trouble> {
    let plain = || {
        let mut executed = act(session, pending, command, &[])?;
        let reads = executed.reads.take().map(Asked::Files);
        Ok((executed, reads))
    };
    let Some(weak) = weak_traced(session, pending.check, &pending.key) else {
        return plain();
    };
    let run = Run {
        session,
        pending,
        command,
        notes: session.store.notes(&weak.key),
        host: ThisHost::new(session, &command.dir),
        weak,
    };
    if run.notes.untraceable.is_some() {
        return plain();
    }
    match run.traced()? {
        Outcome::Ended(executed, facts) => Ok((*executed, facts.map(Asked::Facts))),
        Outcome::Plain => plain(),
        Outcome::Untraceable(why) => {
            run.note(Notes {
                untraceable: Some(why),
                ..run.notes.clone()
            });
            plain()
        }
    }
}

/// A run that may be traced.
struct Run<'a> {
    session: &'a Session<'a>,
    pending: &'a Pending<'a>,
    command: &'a Command,
    weak: WeakKey,
    notes: Notes,
    host: ThisHost<'a>,
}

/// How a traced run ended.
enum Outcome {
    /// With a verdict, and what it asked, if that is known.
    Ended(Box<Executed>, Option<Facts>),
    /// It has to be repeated without a tracer.
    Plain,
    /// The same, and this is to be remembered.
    Untraceable(String),
}

impl Run<'_> {
    fn traced(&self) -> Result<Outcome, Trouble> {
        let known = known_programs(self.session, &self.weak, &self.pending.key);
        let Some(mut programs) = self.not_of_system(known.iter().map(String::as_str)) else {
            return Ok(Outcome::Plain);
        };
        for _ in 0..ROUNDS {
            let check = self.with(&programs);
            let mut executed = self.execute(&check, Trace::On)?;
            let mut facts = match executed.traced.take() {
                None => return Ok(Outcome::Ended(Box::new(verdict_of(executed)?), None)),
                Some(Traced::Lost(why)) => return Ok(Outcome::Untraceable(why)),
                Some(Traced::Facts(facts)) => facts,
            };
            facts.forget_programs(|name| self.is_declared(name));
            let Some(missing) = self.not_of_system(facts.programs()) else {
                return Ok(Outcome::Plain);
            };
            if missing.is_subset(&programs) {
                return self.judge(&check, executed, facts);
            }
            programs.extend(missing);
        }
        Ok(Outcome::Untraceable(
            "looks for ever more programs".to_owned(),
        ))
    }

    /// The programs of these names that the user has and a traced run does not find by itself. `None` if that cannot be
    /// told of one, which another time may be different.
    fn not_of_system<'n>(&self, names: impl Iterator<Item = &'n str>) -> Option<BTreeSet<String>> {
        let mut others = BTreeSet::new();
        for name in names {
            if !self.host.has_users(name)? {
                others.insert(name.to_owned());
            }
        }
        Some(others)
    }

    /// Whether a program is in the weak key.
    fn is_declared(&self, name: &str) -> bool {
        self.command.tools.iter().any(|tool| tool.name() == name)
    }

    fn with(&self, programs: &BTreeSet<String>) -> Check {
        with_programs(self.session, self.pending.check, programs.iter().cloned())
    }

    fn execute(&self, check: &Check, trace: Trace) -> Result<Executed, Trouble> {
        let command = check.work.command().unwrap_or(self.command);
        execute(self.session, self.pending, command, &[], trace)
    }

    /// Decides whether the verdict of a run that was followed counts.
    fn judge(&self, check: &Check, executed: Executed, facts: Facts) -> Result<Outcome, Trouble> {
        if facts.0.len() > MOST {
            return Ok(Outcome::Untraceable("uses too many files".to_owned()));
        }
        if Mask::of(self.command, self.session.env).shows_in(facts.text().as_bytes()) {
            // Nothing is kept that names a secret.
            return Ok(Outcome::Untraceable(
                "uses a file whose name is secret".to_owned(),
            ));
        }
        let store = self.session.store;
        let ended_before = || store.reads(&self.weak.key).next().is_some();
        let executed = match verdict_of(executed) {
            // Perhaps the tracer is to blame, unless it ended under one before.
            Err(Trouble::Error(..)) if !self.session.interrupt.is_set() && !ended_before() => {
                return Ok(Outcome::Plain);
            }
            other => other?,
        };
        let code = executed.output.exit_code;
        if code == 0 || self.notes.confirmed {
            return Ok(Outcome::Ended(Box::new(executed), Some(facts)));
        }
        drop(executed); // Its room is needed again.
        let executed = verdict_of(self.execute(check, Trace::Unseen)?)?;
        if executed.output.exit_code != code {
            return Ok(Outcome::Untraceable(DIFFERS.to_owned()));
        }
        self.note(Notes {
            confirmed: true,
            ..self.notes.clone()
        });
        Ok(Outcome::Ended(Box::new(executed), Some(facts)))
    }

    /// If this fails, the next run finds out again.
    fn note(&self, notes: Notes) {
        let _ = self.session.store.put_notes(&self.weak.key, notes);
    }
}
