//! Helpers that read input: a whole text at once, or one question at a time.

use std::io::{self, BufReader, Read, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Output, Stdio};

use crate::env::Env;
use crate::process::{helper, start};

/// Like [`crate::process::capture`], with `input` as standard input.
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
    // In its own thread, so that neither side waits for the other to read.
    let writer = std::thread::Builder::new().spawn(move || {
        // If it stops reading, its exit status tells why.
        let _ = stdin.map(|mut stdin| stdin.write_all(&input));
    })?;
    let output = child.wait_with_output();
    let _ = writer.join();
    output
}

/// A helper that answers questions (`git cat-file --batch`). Ends when dropped.
#[derive(Debug)]
pub(crate) struct Talk {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Talk {
    /// Starts it, discarding its standard error.
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

    /// Ask for no more than fits into a pipe before reading the answers.
    pub(crate) fn ask(&mut self, question: &[u8]) -> io::Result<()> {
        let stdin = self.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        stdin.write_all(question)?;
        stdin.flush()
    }

    pub(crate) fn answers(&mut self) -> &mut BufReader<impl Read + use<>> {
        &mut self.stdout
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.stdin = None;
        // It may be blocked writing an answer that nobody reads.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
