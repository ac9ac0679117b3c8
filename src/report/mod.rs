//! Reports turn events into text, with one file per format. The shell decides about colour, verbosity and progress.
//!
//! Makes no decisions: verdicts, exit codes and cache states are given.

pub(crate) mod change;
pub(crate) mod commit;
mod held;
pub(crate) mod human;
pub(crate) mod json;
pub(crate) mod shell;
pub(crate) mod text;

pub(crate) use shell::{Color, Shell, Verbosity};

use crate::event::Sink;

/// What to report, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About<'a> {
    pub(crate) shell: &'a Shell,
    /// The command for repeating a failure, up to the check's id: `cargo dagcache dev-check`.
    pub(crate) invocation: &'a str,
    /// Whether nothing runs.
    pub(crate) dry_run: bool,
    /// What a hook blocks, if it is one.
    pub(crate) hook: Option<&'a str>,
}

/// A value of `--message-format`.
pub(crate) struct Format {
    pub(crate) name: &'static str,
    /// For `--help`.
    pub(crate) help: &'static str,
    /// Creates the report of a run.
    pub(crate) report: for<'a> fn(About<'a>) -> Box<dyn Sink + 'a>,
}

/// All formats; the first is the default.
pub(crate) const FORMATS: &[Format] = &[human::FORMAT, json::FORMAT];
