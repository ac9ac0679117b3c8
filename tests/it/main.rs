//! Behaviour of the real binary, and rules about the source itself. One file per subject; `support` holds the means.

mod bad_input;
mod edits_during_run;
mod fresh;
mod hits;
mod join;
mod json;
mod misses;
mod not_stored;
mod own_checks;
mod support;
mod tidy;
