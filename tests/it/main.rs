//! Behaviour of the real binary, and rules about the source itself. One file per subject; `support` holds the means.

mod audit;
mod bad_input;
mod cache;
mod concurrency;
mod confined;
mod crash;
#[cfg(all(feature = "dagger", unix))]
mod dagger;
mod discovered_programs;
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
mod python_tools;
mod random;
mod rules;
mod rust;
mod rust_reads;
mod rust_stale;
mod secrets;
mod settings;
mod support;
mod tidy;
mod tools;
mod upkeep;
