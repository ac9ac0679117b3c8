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
