//! What a command works with, from opening the project to the last verdict.
//!
//! - [`project`]: a project, and one look at it: snapshot, configuration, plan. - [`choice`], [`engines`]: its engine.
//! - [`run`]: pass after pass until every check has a verdict.
//! - [`already_failing`]: failures that a commit did not cause. - [`failure`]: why there is no verdict at all.
//!
//! Stays free of argv, of printing and of exit codes: it returns values, emits events, and tells its [`Listener`] what
//! cannot wait.

pub(crate) mod already_failing;
pub(crate) mod choice;
pub(crate) mod engines;
pub(crate) mod failure;
pub(crate) mod project;
pub(crate) mod run;

pub(crate) use failure::Failure;
pub(crate) use project::{Files, Project, View};

/// Hears what is worth saying before there is a run to report it.
pub(crate) trait Listener {
    /// Another process has to leave the cache first.
    fn waiting(&self);
    /// Something that changes no verdict.
    fn warning(&self, message: &str);
    /// The engine was lost while it was asked; this machine takes over.
    fn engine_lost(&self, why: &str);
}
