//! Runs a repository's checks without ever repeating work that was done before.
//!
//! # Codemap
//! In reading order; a module imports only from those above it.

pub mod digest;
pub mod finding;
pub mod path;

pub mod env;
pub mod fs;
pub mod process;

pub mod facts;
pub mod snapshot;
pub mod tool;

pub mod plan;

pub mod key;

pub mod event;
pub mod record;

pub mod config;
pub mod store;

pub mod ecosystem;

pub mod engine;
pub mod room;
