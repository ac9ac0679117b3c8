//! What happens during a run, in order. `run` emits, `report` consumes.
//!
//! Stays free of formatting.

use std::sync::{Mutex, PoisonError};

use crate::key::Miss;
use crate::record::{CheckRecord, RunRecord};

/// One event.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    /// The checks are known.
    RunStarted {
        /// The command.
        command: &'a str,
        /// The engine's class.
        engine: &'a str,
        /// Which engine it is and why it was taken, for people.
        taken: &'a str,
        /// Number of checks.
        checks: usize,
    },
    /// Something worth saying that changes no verdict.
    Warning(&'a str),
    /// The engine was lost; what is left runs on another one.
    EngineLost {
        /// What happened.
        why: &'a str,
        /// The class of the other one.
        engine: &'a str,
    },
    /// A check is being run.
    CheckStarted {
        /// Its id.
        id: &'a str,
        /// Why.
        miss: Option<&'a Miss>,
    },
    /// A file is no part of what is checked; holds a whole sentence.
    LeftOut(&'a str),
    /// A layer was built for a check.
    LayerBuilt {
        /// Its name.
        name: &'a str,
        /// How long it took, in milliseconds.
        duration_ms: u64,
    },
    /// A stored result was made again, and is the same; holds the id of the check.
    Audited(&'a str),
    /// A check has its verdict.
    CheckFinished(&'a CheckRecord),
    /// These failed before what is being committed, too, and nothing new was found of them.
    AlreadyFailing(&'a [String]),
    /// All checks have.
    RunFinished(&'a RunRecord),
}

/// Takes events as they come. Called from several threads, one at a time.
pub(crate) trait Sink: Send {
    /// Takes one.
    fn event(&mut self, event: &Event<'_>);
}

/// A sink that the threads of a run share.
pub(crate) trait Emit: Sync {
    /// Passes an event on.
    fn emit(&self, event: &Event<'_>);
}

impl Emit for Mutex<Box<dyn Sink + '_>> {
    fn emit(&self, event: &Event<'_>) {
        let mut sink = self.lock().unwrap_or_else(PoisonError::into_inner);
        sink.event(event);
    }
}

/// Hears nothing: for a look beside a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Silent;

impl Emit for Silent {
    fn emit(&self, _: &Event<'_>) {}
}
