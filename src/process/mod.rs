//! Child processes. The only place that starts one: always with explicit folder, arguments and environment.
//!
//! - [`capture`]: a short helper, run to its end. - [`talk`]: helpers that are told something.
//! - [`run`]: work that may be long: an own process group, a time limit, cancellation, bounded output.
//! - [`quoted`]: a word of a command line to copy.
//! - [`attend`]: a program at the user's terminal.
//! - [`Companion`]: a child that stays and serves.
//! - [`launcher`]: what stands between this program and a command that is confined.
//!
//! Stays free of tool names and of what an exit code means.

use std::io;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{PoisonError, RwLock};

use crate::env::Env;

mod companion;
pub(crate) mod launcher;
mod supervise;
pub(crate) mod talk;

pub(crate) use companion::Companion;
pub(crate) use supervise::{Confined, Ended, Launch, Limits, Live, Ran, attend, run};

/// Runs a short helper (`cargo metadata`, `python -c …`) to its end and captures what it says.
/// It gets exactly the variables of `env` plus `set`, and no standard input.
///
/// # Errors
/// If it cannot be started.
pub(crate) fn capture(
    program: &Path,
    args: &[&str],
    dir: &Path,
    env: &Env,
    set: &[(&str, &str)],
) -> io::Result<Output> {
    let mut command = helper(program, args, dir, env, set);
    start(command.stdin(Stdio::null()))?.wait_with_output()
}

/// A helper with exactly these variables, whose output is read.
fn helper(program: &Path, args: &[&str], dir: &Path, env: &Env, set: &[(&str, &str)]) -> Command {
    let mut command = Command::new(program);
    command
        .args(args)
        .current_dir(dir)
        .env_clear()
        .envs(env.all())
        .envs(set.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn start(command: &mut Command) -> io::Result<Child> {
    let _alone = starting();
    command.spawn()
}

/// One word as a shell takes it: in quotes, if it needs them.
#[must_use]
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Between fork and exec a child holds everything that is open here, and a program that anybody has open for writing
/// cannot be run ("Text file busy"). So none is written while a child starts.
static PROGRAMS: RwLock<()> = RwLock::new(());

/// Held while a file is written that is going to be run.
#[must_use]
pub(crate) fn writing_a_program() -> impl Drop {
    PROGRAMS.read().unwrap_or_else(PoisonError::into_inner)
}

/// Held while a child starts.
fn starting() -> impl Drop {
    PROGRAMS.write().unwrap_or_else(PoisonError::into_inner)
}
