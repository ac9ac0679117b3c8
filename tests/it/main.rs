//! Behaviour of the real binary, and rules about the source itself. One file per subject; `support` holds the means.

mod bad_input;
mod cache;
mod concurrency;
mod crash;
mod edits_during_run;
mod explain;
mod fresh;
mod hits;
mod join;
mod json;
mod kustomize;
mod matrix;
mod misses;
mod not_stored;
mod options;
mod outputs;
mod own_checks;
mod parts;
mod python;
mod rules;
mod rust;
mod secrets;
mod settings;
mod support;
mod tidy;
mod upkeep;
