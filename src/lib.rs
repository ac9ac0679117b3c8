//! Runs a repository's checks and never repeats work that was done before.
//!
//! # One run, as data
//!
//! ```text
//! argv, environment → cli → snapshot → config, discover → plan → key → store: look up
//!     only the misses → engine (room, run, capture) → store: save → record → report
//! ```
//!
//! # Codemap
//!
//! In reading order; a module imports only from those above it (`tests/it/tidy.rs` holds the ranks).
//!
//! | module | owns | stays free of |
//! |---|---|---|
//! | [`visible`], [`digest`], [`path`], [`finding`] | the vocabulary; how names and text are printed | IO |
//! | [`rule`] | switches that turn rules off in debug builds, for the tests | everything else |
//! | [`mod@env`], [`fs`], [`process`] | the edges to the system | policy |
//! | [`snapshot`], [`facts`], [`tool`] | the project's files, facts derived from them, the host's programs | what matters to a check |
//! | [`plan`] | the words for checks and layers, selection | effects, digests of inputs |
//! | [`parse`] | output formats shared by many tools | formats of a single tool |
//! | [`catalogue`] | the built-in checks, one line each | planning them |
//! | [`config`] | `dagcache.toml` and its siblings | planning |
//! | [`scope`] | what planning may use | what checks look for |
//! | [`provision`] | base images, locked Python tools, programs of the host and of `node_modules` | what programs are run for |
//! | [`ecosystem`] | one directory per language: recognition, checks, output → findings | other ecosystems |
//! | [`own_checks`] | configured checks: custom checks, overrides of built-in ones | parsing the configuration |
//! | [`mod@not_run`] | linters and tests that a project configures and no check runs | planning |
//! | [`lock`] | `dagcache.lock`, resolving image names | engines |
//! | [`discover`] | snapshot + configuration → plan | selection |
//! | [`key`] | action keys and how they differ | IO |
//! | [`record`], [`event`] | what happened | formatting |
//! | [`room`], [`store`] | copies checks run in; results on disk | keys' meaning, verdicts |
//! | [`engine`] | building layers, running actions | the store's entries |
//! | [`run`] | look-up, misses, saving | printing, flags |
//! | [`report`] | events → text | decisions, exit codes |
//! | [`session`] | opening a project, its engine, running until every check has a verdict | argv, printing, exit codes |
//! | [`cli`] | argv → commands → exit code | everything else |
//!
//! # Invariants
//!
//! - Only verdicts of hashed content are stored: checks see verified copies, never the work tree.
//! - A Fresh run starts no process, no thread pool, no connection.
//! - The user's files are only written by commands that say so (`generate`).
//! - Events and records sit below `run` and `report`, which do not import each other.
//! - Errors live in the module that raises them; only `cli::exit` decides exit codes.

//!
//! # Threat model
//!
//! The repository, and whoever writes to it, is hostile; so are its dependencies, other users of the machine and
//! everything read from a store or an engine. Trusted: the user, root, the kernel, this program, the programs on the
//! user's PATH as far as root or the user owns them.
//!
//! | attacker | must not | wall | tested in `tests/it/walls/` |
//! |---|---|---|---|
//! | a repository that is looked at | run code, write files, reach an engine | planning starts helpers outside the tree and without its settings | `planning` |
//! | its configuration | get network, secrets, an engine | the user's yes, once per content | `trust` |
//! | a check that runs | reach the host, its user, other checks | [`process`]: namespaces, read-only mounts, Landlock, seccomp, no capabilities | `room` |
//! | the same | take the machine down | limits of processes, memory, disk, time | `limits` |
//! | another user | plant or read results | a store of the user's own, no links in our places | `store` |
//! | names, findings, output | write to the terminal | control characters are shown | `terminal` |
//! | output that holds a secret | keep or print it | values and their encodings are masked | `secrets` |
//! | files of any kind, size and number | block, exhaust memory or time | content in pieces, bounds, only regular files | `sizes` |
//!
//! Not defended against: a check that lies about the code it checks, or to its tracer (by changing a path between the
//! tracer's look and the kernel's), code that alters compiled products while it is
//! compiled into them (build scripts, procedural macros), the kernel, side channels, whoever can write to
//! the user's home.

mod digest;
mod finding;
mod path;
mod rule;
mod visible;

mod env;
mod fs;
mod process;

mod facts;
mod snapshot;
mod tool;

mod plan;

mod parse;

mod catalogue;

mod config;

mod scope;

mod provision;

mod ecosystem;
mod own_checks;

mod not_run;

mod lock;

mod discover;

mod key;

mod event;
mod record;

mod room;
mod store;

mod engine;

mod report;
mod run;

mod session;

mod cli;

pub use cli::main;

#[cfg(test)]
mod testing;

/// What `tests/it` and `tests/bench` call directly; everything else goes through the binary.
#[doc(hidden)]
pub mod for_tests {
    use std::path::Path;

    pub use crate::digest::Digest;
    pub use crate::rule::Rule;

    /// The built-in checks as the README lists them.
    #[must_use]
    pub fn table_of_checks() -> String {
        crate::catalogue::table()
    }

    /// Takes a snapshot of the project at `root`. Returns its number of files and what taking it cost, as text.
    ///
    /// # Errors
    /// If the project cannot be read.
    pub fn take_snapshot(root: &Path, memo_dir: &Path) -> Result<(usize, String), String> {
        let env = crate::env::Env::from_process();
        let snapshot = crate::snapshot::Snapshot::take(root, memo_dir, &env);
        let snapshot = snapshot.map_err(|error| error.to_string())?;
        Ok((snapshot.entries().len(), format!("{:?}", snapshot.effort())))
    }
}
