//! What happens during a run, in order. `run` emits events, `report` consumes them.
//!
//! Contains no formatting.

use std::sync::{Mutex, PoisonError};

use crate::key::Miss;
use crate::plan::NotRun;
use crate::record::{CheckRecord, RunRecord};

#[derive(Debug)]
pub(crate) enum Event<'a> {
    RunStarted {
        command: &'a str,
        engine: &'a str,
        /// Which engine was chosen and why, for display.
        taken: &'a str,
        checks: usize,
        /// What the project configures and no check runs.
        not_run: &'a [NotRun],
    },
    /// Changes no verdict.
    Warning(&'a str),
    /// The engine was lost; the remaining checks run on another one.
    EngineLost {
        why: &'a str,
        /// The class of the other engine.
        engine: &'a str,
    },
    CheckStarted {
        id: &'a str,
        miss: Option<&'a Miss>,
    },
    /// A file is not checked; holds a whole sentence.
    LeftOut(&'a str),
    LayerBuilt {
        name: &'a str,
        duration_ms: u64,
    },
    /// Re-running a cached check gave the same result; holds its id.
    Audited(&'a str),
    CheckFinished(&'a CheckRecord),
    /// These checks already failed before the change being committed, and it adds no findings.
    AlreadyFailing(&'a [String]),
    RunFinished(&'a RunRecord),
}

/// Receives events. Called from several threads, one at a time.
pub(crate) trait Sink: Send {
    fn event(&mut self, event: &Event<'_>);
}

/// A sink shared by the threads of a run.
pub(crate) trait Emit: Sync {
    /// Passes on an event.
    fn emit(&self, event: &Event<'_>);
}

impl Emit for Mutex<Box<dyn Sink + '_>> {
    fn emit(&self, event: &Event<'_>) {
        let mut sink = self.lock().unwrap_or_else(PoisonError::into_inner);
        sink.event(event);
    }
}

/// Ignores all events.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Silent;

impl Emit for Silent {
    fn emit(&self, _: &Event<'_>) {}
}
