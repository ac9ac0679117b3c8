//! Reports: events in, text out. One file per format; the shell decides about colour, verbosity and progress.
//!
//! Stays free of decisions: verdicts, exit codes and cache states are given.

pub mod change;
pub mod commit;
pub mod human;
pub mod json;
pub mod shell;
pub mod text;

pub use shell::{Color, Shell, Verbosity};
