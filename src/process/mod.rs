//! Child processes. Nothing else starts any; directory, arguments and environment are always explicit.
//!
//! - [`capture`]: a short helper, run to completion. - [`talk`]: helpers that read input.
//! - [`run`]: possibly long work: own process group, time limit, cancellation, bounded output.
//! - [`quoted`], [`pasted`]: quote a word for a command line.
//! - [`attend`]: a program at the user's terminal.
//! - [`Companion`]: a child that serves this program while it runs.
//! - [`launcher`]: starts confined commands.
//!
//! Knows no tool names and no meaning of exit codes.

use std::io;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{PoisonError, RwLock};

use crate::env::Env;
use crate::visible;

mod companion;
pub(crate) mod launcher;
mod supervise;
pub(crate) mod talk;
mod terminal;

pub(crate) use companion::Companion;
pub(crate) use supervise::{Confined, Ended, Launch, Limits, Live, Ran, run};
pub(crate) use terminal::attend;

/// Runs a short helper (`cargo metadata`, `python -c …`) to completion and captures its output. It gets exactly the
/// variables of `env` plus `set`, and no standard input.
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

/// Quotes a word for a shell if needed.
#[must_use]
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Like [`quoted`], for people who paste it: a control character is written as bash, zsh and ksh read it, in one line.
#[must_use]
pub(crate) fn pasted(word: &str) -> String {
    if !word.contains(visible::is_hidden) {
        return quoted(word);
    }
    let escaped = word.chars().map(|c| match c {
        '\'' | '\\' => format!("\\{c}"),
        c if visible::is_hidden(c) => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    });
    format!("$'{}'", escaped.collect::<String>())
}

/// Between fork and exec a child holds every file that is open here, and a program that any process has open for
/// writing cannot be executed ("Text file busy"). So no program is written while a child starts.
static PROGRAMS: RwLock<()> = RwLock::new(());

/// Held while writing a file that will be executed.
#[must_use]
pub(crate) fn writing_a_program() -> impl Drop {
    PROGRAMS.read().unwrap_or_else(PoisonError::into_inner)
}

fn starting() -> impl Drop {
    PROGRAMS.write().unwrap_or_else(PoisonError::into_inner)
}
