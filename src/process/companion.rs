//! A child that serves this program while it runs: leader of its own process group, which ends with it.
//!
//! Its standard input stays open as long as it is needed, so the child notices even if this process gets killed.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::process::{ChildStderr, ChildStdout};

use super::supervise::exit_of;

/// Dropping it kills its group at once.
#[derive(Debug)]
pub(crate) struct Companion {
    child: Child,
    id: Pid,
    reaped: bool,
}

impl Companion {
    /// Starts a program with exactly these variables; the caller reads its output.
    pub(crate) fn start(
        program: &Path,
        args: &[&str],
        dir: &Path,
        env: &[(OsString, OsString)],
    ) -> io::Result<(Self, ChildStdout, ChildStderr)> {
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(dir)
            .env_clear()
            .envs(env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let child = {
            let _alone = super::starting();
            command.spawn()?
        };
        let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let id = id.ok_or_else(|| io::Error::other("the child has no process id"))?;
        let mut companion = Self {
            child,
            id,
            reaped: false,
        };
        let (out, err) = (companion.child.stdout.take(), companion.child.stderr.take());
        let (Some(out), Some(err)) = (out, err) else {
            return Err(io::Error::other("the child has no pipes"));
        };
        let (out, err) = (ChildStdout::from_std(out)?, ChildStderr::from_std(err)?);
        Ok((companion, out, err))
    }

    /// The process id, which is also the id of the group.
    #[must_use]
    #[cfg(test)]
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Closes standard input and waits for the child to exit. Sends SIGTERM after `patience` and SIGKILL after
    /// `grace`, and kills the rest of its group.
    pub(crate) async fn end(mut self, patience: Duration, grace: Duration) -> io::Result<()> {
        drop(self.child.stdin.take());
        let ended = exit_of(self.id);
        tokio::pin!(ended);
        let mut done = false;
        for (time, signal) in [(patience, Signal::TERM), (grace, Signal::KILL)] {
            if let Ok(end) = tokio::time::timeout(time, &mut ended).await {
                end?;
                done = true;
                break;
            }
            self.signal(signal);
        }
        if !done {
            ended.await?;
        }
        // The leader is reaped last: until then the group id cannot be reused.
        self.signal(Signal::KILL);
        self.child.wait()?;
        self.reaped = true;
        Ok(())
    }

    /// It is fine if the group has already ended.
    fn signal(&self, signal: Signal) {
        if !self.reaped {
            let _ = rustix::process::kill_process_group(self.id, signal);
        }
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);
    const SHORT: Duration = Duration::from_millis(100);

    fn start(script: &str) -> (Companion, ChildStdout) {
        let env = [("PATH".into(), std::env::var_os("PATH").unwrap())];
        let args = ["-c", script];
        let (companion, out, _) =
            Companion::start(Path::new("/bin/sh"), &args, Path::new("/"), &env).unwrap();
        (companion, out)
    }

    async fn rest(mut out: ChildStdout) -> String {
        let mut text = String::new();
        out.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn the_end_of_its_input_is_its_leave_to_go() {
        let (companion, out) = start("cat; echo bye");
        companion.end(LONG, LONG).await.unwrap();
        assert_eq!(rest(out).await, "bye\n");
    }

    #[tokio::test]
    async fn one_that_stays_is_asked_and_then_killed_with_its_group() {
        let (companion, mut out) =
            start("trap '' TERM; sleep 1000 & echo up; while :; do wait; done");
        out.read_exact(&mut [0; 3]).await.unwrap();
        companion.end(SHORT, SHORT).await.unwrap();
        assert_eq!(rest(out).await, "");
    }

    #[tokio::test]
    async fn one_that_is_dropped_is_killed_with_its_group() {
        let (companion, mut out) =
            start("trap '' TERM; sleep 1000 & echo up; while :; do wait; done");
        out.read_exact(&mut [0; 3]).await.unwrap();
        drop(companion);
        assert_eq!(rest(out).await, "");
    }
}
