//! A command's work, from opening the project to the last verdict.
//!
//! - [`project`]: a project and views of it: snapshot, configuration, plan. - [`choice`], [`engines`]: its engine.
//! - [`run`]: runs passes until every check has a verdict. - [`away`]: whether the engine was lost last time.
//! - [`already_failing`]: failures that a commit did not cause. - [`failure`]: why there is no verdict at all.
//!
//! Knows no argv, printing or exit codes: it returns values, emits events, and notifies its [`Listener`] of anything
//! urgent.

pub(crate) mod already_failing;
mod away;
pub(crate) mod choice;
pub(crate) mod engines;
pub(crate) mod failure;
pub(crate) mod project;
pub(crate) mod run;

pub(crate) use failure::Failure;
pub(crate) use project::{Files, Project, View};

/// Receives messages before a run can report them.
pub(crate) trait Listener {
    /// Another process has to finish using the cache first.
    fn waiting(&self);
    /// Affects no verdict.
    fn warning(&self, message: &str);
    /// The engine was lost while being queried; the local engine takes over.
    fn engine_lost(&self, why: &str);
}
