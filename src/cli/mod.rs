//! The command line: argv → [`args`] (what was typed) → [`context`] (what it means here) → [`commands`] → [`exit`].

pub(crate) mod args;
pub(crate) mod commands;
pub(crate) mod context;
pub(crate) mod exit;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use clap::Parser as _;

use crate::cli::args::Cli;
use crate::cli::exit::{Exit, Failure};
use crate::env::Env;
use crate::process::launcher;
use crate::report::{Shell, Verbosity};
use crate::visible;

/// Runs the program: parses arguments, dispatches, reports errors, and returns the documented exit code.
#[must_use]
pub fn main(argv: impl Iterator<Item = OsString>) -> ExitCode {
    let argv: Vec<OsString> = argv.collect();
    if argv.get(1).is_some_and(|word| word == launcher::WORD) {
        return launcher::main();
    }
    let started = (Instant::now(), SystemTime::now());
    let env = Env::from_process();
    let cli = match Cli::try_parse_from(without_subcommand(argv.into_iter())) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let verbosity = match (cli.global.quiet, cli.global.verbose) {
        (true, _) => Verbosity::Quiet,
        (false, 0) => Verbosity::Normal,
        (false, _) => Verbosity::Verbose,
    };
    let shell = Shell::new(cli.global.color, verbosity, &env);
    match commands::dispatch(cli, &shell, env, started) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            report(&shell, &failure);
            failure.exit().into()
        }
    }
}

/// `cargo dagcache lint` starts us as `cargo-dagcache dagcache lint`; called directly, there is no second word.
fn without_subcommand(argv: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut argv: Vec<OsString> = argv.collect();
    if argv.get(1).is_some_and(|word| word == "dagcache") {
        argv.remove(1);
    }
    if let Some(name) = argv.first_mut() {
        *name = "cargo dagcache".into();
    }
    argv
}

/// Help and version go to stdout with exit code 0, errors to stderr with 2.
fn usage(error: &clap::Error) -> ExitCode {
    let text = error.render().ansi().to_string();
    let text = visible::output(&text);
    // A closed stdout is ignored.
    if error.use_stderr() {
        let _ = write!(anstream::stderr(), "{text}");
        Exit::Usage.into()
    } else {
        let _ = write!(anstream::stdout(), "{text}");
        Exit::Passed.into()
    }
}

fn report(shell: &Shell, failure: &Failure) {
    shell.end_progress();
    shell.error(&failure.to_string());
}
