//! Helpers that are told something: a whole text at once, or question by question.

use std::io::{self, BufReader, Read, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Output, Stdio};

use crate::env::Env;
use crate::process::{helper, start};

/// As [`crate::process::capture`], with `input` as standard input.
///
/// # Errors
/// If it cannot be started, or what it says cannot be read.
pub(crate) fn feed(
    program: &Path,
    args: &[&str],
    dir: &Path,
    env: &Env,
    set: &[(&str, &str)],
    input: Vec<u8>,
) -> io::Result<Output> {
    let mut command = helper(program, args, dir, env, set);
    let mut child = start(command.stdin(Stdio::piped()))?;
    let stdin = child.stdin.take();
    // Beside it, so that neither waits for the other to read.
    let writer = std::thread::Builder::new().spawn(move || {
        // What it does not want to hear, it says by its end.
        let _ = stdin.map(|mut stdin| stdin.write_all(&input));
    })?;
    let output = child.wait_with_output();
    let _ = writer.join();
    output
}

/// A helper that answers as long as it is asked (`git cat-file --batch`). It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Talk {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Talk {
    /// Starts it; what it says on standard error is not heard.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(crate) fn start(
        program: &Path,
        args: &[&str],
        dir: &Path,
        env: &Env,
        set: &[(&str, &str)],
    ) -> io::Result<Self> {
        let mut command = helper(program, args, dir, env, set);
        let mut child = start(command.stdin(Stdio::piped()).stderr(Stdio::null()))?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self {
            child,
            stdin,
            stdout: BufReader::with_capacity(64 << 10, stdout),
        })
    }

    /// Asks. Much more than a pipe holds must not be asked before the answers are read.
    ///
    /// # Errors
    /// If it has ended.
    pub(crate) fn ask(&mut self, question: &[u8]) -> io::Result<()> {
        let stdin = self.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        stdin.write_all(question)?;
        stdin.flush()
    }

    /// Its answers.
    pub(crate) fn answers(&mut self) -> &mut BufReader<impl Read + use<>> {
        &mut self.stdout
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.stdin = None;
        // It may be in the middle of an answer that nobody reads.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
