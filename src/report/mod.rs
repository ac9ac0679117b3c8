//! Reports: events in, text out. One file per format; the shell decides about colour, verbosity and progress.
//!
//! Stays free of decisions: verdicts, exit codes and cache states are given.

pub(crate) mod change;
pub(crate) mod commit;
pub(crate) mod human;
pub(crate) mod json;
pub(crate) mod shell;
pub(crate) mod text;

pub(crate) use shell::{Color, Shell, Verbosity};

use crate::event::Sink;

/// What is reported.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About<'a> {
    /// Where it goes.
    pub(crate) shell: &'a Shell,
    /// What the user typed before a check's id to repeat a failure: `cargo dagcache dev-check`.
    pub(crate) invocation: &'a str,
    /// Whether nothing runs.
    pub(crate) dry_run: bool,
    /// What a hook stops, if it is one.
    pub(crate) hook: Option<&'a str>,
}

/// A value of `--message-format`.
pub(crate) struct Format {
    pub(crate) name: &'static str,
    /// For `--help`.
    pub(crate) help: &'static str,
    /// Makes the report of one run.
    pub(crate) report: for<'a> fn(About<'a>) -> Box<dyn Sink + 'a>,
}

/// All formats; the first is the default.
pub(crate) const FORMATS: &[Format] = &[human::FORMAT, json::FORMAT];
