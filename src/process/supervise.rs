//! One supervised child: leader of its own process group, which always ends with it.
//!
//! The leader is reaped last. Until then its id cannot be reused, so signals to the group never reach unrelated
//! processes. A child behind a launcher is ended by the launcher, which leaves nothing of it alive.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::sync::CancellationToken;
use wait4::Wait4;

use crate::process::launcher::spec::{Bounds, Spec};
use crate::process::launcher::{self, Over, Report};

pub(crate) struct Launch<'a> {
    /// Absolute, or relative to `dir` if it contains `/`.
    pub(crate) program: &'a Path,
    pub(crate) args: &'a [String],
    pub(crate) dir: &'a Path,
    pub(crate) env: &'a [(OsString, OsString)],
    /// How to confine it. `program` and `dir` are then paths inside.
    pub(crate) confined: Option<Confined<'a>>,
}

/// Confinement of a command started through the launcher. It gets umask 022.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Confined<'a> {
    /// This program.
    pub(crate) launcher: &'a Path,
    pub(crate) bounds: &'a Bounds,
    /// A locked file that stays locked until nothing of the command is left, even if this process dies.
    pub(crate) hold: &'a File,
    /// Takes what tracing saw, if the bounds ask for it.
    pub(crate) answer: Option<&'a File>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Wall time after which the group is killed.
    pub(crate) timeout: Option<Duration>,
    /// Time between SIGTERM and SIGKILL, and the time pipes may stay open after the leader exits.
    pub(crate) grace: Duration,
    /// Bytes kept of each of stdout and stderr, half of them from the end; the rest is read and dropped.
    pub(crate) output: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout: None,
            grace: Duration::from_secs(5),
            output: 64 << 20,
        }
    }
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It exited with this code.
    Exit(i32),
    /// By a signal from elsewhere.
    Signal(i32),
    /// Killed by us after this wall time.
    Timeout(Duration),
    /// Killed by us because the run was cancelled.
    Cancelled,
    /// Killed by us because it reached a limit.
    Over(Over),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// Called with each chunk of output as it arrives, before any limit applies. Chunk boundaries are arbitrary.
pub(crate) type Live<'a> = &'a (dyn Fn(Stream, &[u8]) + Send + Sync);

#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) ended: Ended,
    /// Up to the limit, with a line where something is missing.
    pub(crate) stdout: Vec<u8>,
    /// The same.
    pub(crate) stderr: Vec<u8>,
    /// Whether output is missing: it exceeded the limit, or a process that left the group kept a pipe open.
    pub(crate) truncated: bool,
    pub(crate) duration: Duration,
    /// Peak resident memory of the largest process among the child and its awaited descendants, in bytes. An upper
    /// bound for small programs, because Linux counts the forked copy of the parent too.
    pub(crate) peak_memory: Option<u64>,
}

impl Ran {
    /// The end of its output, for a message: standard error, or standard output if that is empty.
    #[must_use]
    pub(crate) fn tail(&self) -> String {
        const LINES: usize = 40;
        let stderr = String::from_utf8_lossy(&self.stderr);
        let text = if stderr.trim().is_empty() {
            String::from_utf8_lossy(&self.stdout)
        } else {
            stderr
        };
        let lines: Vec<&str> = text.trim_end().lines().collect();
        let skipped = lines.len().saturating_sub(LINES);
        lines.get(skipped..).unwrap_or_default().join("\n")
    }
}

/// Runs a program until it exits, times out, or `cancel` fires. On return, no process of its group is alive. Dropping
/// the returned future kills the group at once.
pub(crate) async fn run(
    launch: &Launch<'_>,
    limits: &Limits,
    cancel: &CancellationToken,
    live: Option<Live<'_>>,
) -> io::Result<Ran> {
    let start = Instant::now();
    let mut group = Group::start(launch)?;
    let (stdout, stderr) = group.pipes()?;
    let mut out = Capture::new(Stream::Stdout, limits.output, live);
    let mut err = Capture::new(Stream::Stderr, limits.output, live);
    let (reason, open) = {
        let reading = async { tokio::join!(out.drain(stdout), err.drain(stderr)) };
        tokio::pin!(reading);
        let mut done = false;
        let reason = {
            let ending = group.until_ended(limits, cancel);
            tokio::pin!(ending);
            loop {
                tokio::select! {
                    reason = &mut ending => break reason?,
                    _ = &mut reading, if !done => done = true,
                }
            }
        };
        group.kill();
        let open = !done && tokio::time::timeout(limits.grace, reading).await.is_err();
        (reason, open)
    };
    let (status, peak_memory) = group.reap()?;
    let ended = match reason {
        Some(reason) => reason,
        None => group.reported()?.unwrap_or_else(|| ended(status)),
    };
    Ok(Ran {
        ended,
        truncated: open || out.is_truncated() || err.is_truncated(),
        stdout: out.kept(),
        stderr: err.kept(),
        duration: start.elapsed(),
        peak_memory,
    })
}

fn ended(status: std::process::ExitStatus) -> Ended {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ended::Exit(code),
        (None, signal) => Ended::Signal(signal.unwrap_or_default()),
    }
}

struct Group {
    child: Child,
    id: Pid,
    reaped: bool,
    /// Where the launcher reports.
    launcher: Option<UnixStream>,
}

impl Group {
    fn start(launch: &Launch<'_>) -> io::Result<Self> {
        let (mut command, launcher) = command(launch)?;
        let _alone = super::starting();
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        drop(command); // Closes our copy of the child's standard input.
        let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let id = id.ok_or_else(|| io::Error::other("the child has no process id"))?;
        let group = Self {
            child,
            id,
            reaped: false,
            launcher,
        };
        if let Some((socket, confined)) = group.launcher.as_ref().zip(launch.confined) {
            order(socket, launch, confined, None)?;
        }
        Ok(group)
    }

    /// How the command ended, as its launcher reported it.
    ///
    /// # Errors
    /// If it was the launcher that ended.
    fn reported(&mut self) -> io::Result<Option<Ended>> {
        self.launcher.take().map(reported).transpose()
    }

    fn pipes(&mut self) -> io::Result<(tokio::process::ChildStdout, tokio::process::ChildStderr)> {
        let (Some(out), Some(err)) = (self.child.stdout.take(), self.child.stderr.take()) else {
            return Err(io::Error::other("the child has no pipes"));
        };
        Ok((
            tokio::process::ChildStdout::from_std(out)?,
            tokio::process::ChildStderr::from_std(err)?,
        ))
    }

    /// Waits for the leader to exit and kills it when due; returns the reason if it was killed.
    async fn until_ended(
        &self,
        limits: &Limits,
        cancel: &CancellationToken,
    ) -> io::Result<Option<Ended>> {
        let exit = exit_of(self.id);
        tokio::pin!(exit);
        let reason = tokio::select! {
            end = &mut exit => return end.map(|()| None),
            reason = due(limits.timeout, cancel) => reason,
        };
        self.terminate();
        match tokio::time::timeout(limits.grace, &mut exit).await {
            Ok(end) => end?,
            Err(_) => {
                self.kill();
                exit.await?;
            }
        }
        Ok(Some(reason))
    }

    fn terminate(&self) {
        match &self.launcher {
            // If the launcher is gone, there is nothing to terminate.
            Some(socket) => drop((&mut &*socket).write_all(launcher::TERM)),
            None => self.signal(Signal::TERM),
        }
    }

    fn kill(&self) {
        match &self.launcher {
            Some(socket) => drop(socket.shutdown(Shutdown::Write)),
            None => self.signal(Signal::KILL),
        }
    }

    /// It is fine if the group has already ended.
    fn signal(&self, signal: Signal) {
        if !self.reaped {
            let _ = rustix::process::kill_process_group(self.id, signal);
        }
    }

    fn reap(&mut self) -> io::Result<(std::process::ExitStatus, Option<u64>)> {
        let usage = self.child.wait4()?;
        self.reaped = true;
        Ok((usage.status, Some(usage.rusage.maxrss)))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Completes when the process has exited, without reaping it.
pub(super) async fn exit_of(id: Pid) -> io::Result<()> {
    let wait = move || {
        loop {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            match rustix::process::waitid(WaitId::Pid(id), options) {
                Err(rustix::io::Errno::INTR) => {}
                other => return other.map(|_| ()).map_err(io::Error::from),
            }
        }
    };
    tokio::task::spawn_blocking(wait)
        .await
        .map_err(io::Error::other)?
}

/// Completes when the child must be killed.
async fn due(timeout: Option<Duration>, cancel: &CancellationToken) -> Ended {
    let over = async {
        match timeout {
            Some(limit) => {
                tokio::time::sleep(limit).await;
                limit
            }
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = cancel.cancelled() => Ended::Cancelled,
        limit = over => Ended::Timeout(limit),
    }
}

/// Builds the command to start; with a launcher, also returns the socket on which it waits for its request.
fn command(launch: &Launch<'_>) -> io::Result<(Command, Option<UnixStream>)> {
    if let Some(confined) = launch.confined {
        let (command, socket) = awaiting(confined.launcher)?;
        return Ok((command, Some(socket)));
    }
    let mut command = Command::new(launch.program);
    command
        .args(launch.args)
        .current_dir(launch.dir)
        .env_clear()
        .envs(launch.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null());
    Ok((command, None))
}

/// A launcher that waits for its request on the socket.
pub(super) fn awaiting(program: &Path) -> io::Result<(Command, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut command = Command::new(program);
    command
        .arg(launcher::WORD)
        .current_dir("/")
        .env_clear()
        .envs(crate::rule::inherited())
        .stdin(Stdio::from(OwnedFd::from(theirs)));
    Ok((command, ours))
}

/// Sends the launcher its request, with the command's standard input if it has one. If the launcher exits before
/// reading all of it, its report, or lack of one, shows that.
pub(super) fn order(
    socket: &UnixStream,
    launch: &Launch<'_>,
    confined: Confined<'_>,
    stdin: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let spec = Spec {
        bounds: confined.bounds.clone(),
        dir: launch.dir.to_owned(),
        program: launch.program.to_owned(),
        args: launch.args.iter().map(OsString::from).collect(),
        env: launch.env.to_vec(),
        hold: true,
        stdin: stdin.is_some(),
        terminal: stdin.is_some_and(|stdin| stdin.is_terminal()),
        answer: confined.answer.is_some(),
    };
    let answer = confined.answer.map(AsFd::as_fd);
    let fds = [confined.hold.as_fd()].into_iter();
    let fds: Vec<BorrowedFd<'_>> = fds.chain(stdin).chain(answer).collect();
    match launcher::send(socket, &spec, &fds) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// What a launcher that has ended reported.
pub(super) fn reported(mut socket: UnixStream) -> io::Result<Ended> {
    let mut said = Vec::new();
    socket.read_to_end(&mut said)?;
    match Report::decode(&String::from_utf8_lossy(&said))? {
        Some(Report::Exit(code)) => Ok(Ended::Exit(code)),
        Some(Report::Signal(number)) => Ok(Ended::Signal(number)),
        Some(Report::Over(limit)) => Ok(Ended::Over(limit)),
        None => Err(io::Error::other("the launcher ended without reporting")),
    }
}

struct Capture<'a> {
    stream: Stream,
    limit: usize,
    live: Option<Live<'a>>,
    /// The first half of what may be kept.
    head: Vec<u8>,
    /// The end, once there is more.
    tail: VecDeque<u8>,
    /// Bytes left out between them.
    dropped: u64,
    failed: bool,
}

impl<'a> Capture<'a> {
    fn new(stream: Stream, limit: usize, live: Option<Live<'a>>) -> Self {
        Self {
            stream,
            limit,
            live,
            head: Vec::new(),
            tail: VecDeque::new(),
            dropped: 0,
            failed: false,
        }
    }

    /// Reads to the end, even beyond the limit, because a full pipe would block the child.
    async fn drain(&mut self, mut pipe: impl AsyncRead + Unpin) {
        let mut chunk = vec![0; 32 << 10];
        loop {
            match pipe.read(&mut chunk).await {
                Ok(0) => return,
                Ok(length) => self.take(chunk.get(..length).unwrap_or_default()),
                Err(_) => {
                    self.failed = true;
                    return;
                }
            }
        }
    }

    fn take(&mut self, chunk: &[u8]) {
        if let Some(live) = self.live {
            live(self.stream, chunk);
        }
        let half = self.limit / 2;
        let fits = (half - self.head.len().min(half)).min(chunk.len());
        let (first, rest) = chunk.split_at(fits);
        self.head.extend_from_slice(first);
        self.tail.extend(rest);
        let surplus = self.tail.len().saturating_sub(self.limit - half);
        self.tail.drain(..surplus);
        self.dropped = self.dropped.saturating_add(surplus as u64);
    }

    const fn is_truncated(&self) -> bool {
        self.failed || self.dropped > 0
    }

    fn kept(self) -> Vec<u8> {
        let mut all = self.head;
        if self.dropped > 0 {
            let mark = format!("\n[dagcache: {} bytes left out]\n", self.dropped);
            all.extend_from_slice(mark.as_bytes());
        }
        all.extend(self.tail);
        all
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Mutex;

    use super::*;

    struct Shell {
        dir: tempfile::TempDir,
        limits: Limits,
        cancel: CancellationToken,
    }

    impl Shell {
        fn new() -> Self {
            let limits = Limits {
                grace: Duration::from_millis(200),
                ..Limits::default()
            };
            Self {
                dir: tempfile::tempdir().unwrap(),
                limits,
                cancel: CancellationToken::new(),
            }
        }

        async fn run(&self, script: &str) -> Ran {
            let env = [("PATH".into(), std::env::var_os("PATH").unwrap())];
            let launch = Launch {
                program: Path::new("/bin/sh"),
                args: &["-c".to_owned(), script.to_owned()],
                dir: self.dir.path(),
                env: &env,
                confined: None,
            };
            run(&launch, &self.limits, &self.cancel, None)
                .await
                .unwrap()
        }

        /// A pipe in the file system: whoever inherits the descriptor keeps it from ending.
        fn fifo(&self) -> PathBuf {
            let path = self.dir.path().join("fifo");
            let made = Command::new("mkfifo").arg(&path).status().unwrap();
            assert!(made.success());
            path
        }
    }

    #[tokio::test]
    async fn output_and_exit_code_are_captured() {
        let ran = Shell::new().run("echo out; echo err >&2; exit 3").await;
        assert_eq!(ran.ended, Ended::Exit(3));
        assert_eq!(
            (&ran.stdout[..], &ran.stderr[..]),
            (&b"out\n"[..], &b"err\n"[..])
        );
        assert!(!ran.truncated);
        assert!(ran.peak_memory.is_some_and(|bytes| bytes > 100_000));
    }

    #[tokio::test]
    async fn a_foreign_signal_is_told_from_an_exit() {
        assert_eq!(Shell::new().run("kill -9 $$").await.ended, Ended::Signal(9));
    }

    #[tokio::test]
    async fn descendants_die_with_the_leader() {
        let shell = Shell::new();
        let fifo = shell.fifo();
        let reader = std::thread::spawn(move || std::fs::read(fifo).unwrap());
        let ran = shell.run("exec 8>fifo; sleep 1000 & exit 0").await;
        assert_eq!(ran.ended, Ended::Exit(0));
        assert!(!ran.truncated);
        assert_eq!(reader.join().unwrap(), b"");
    }

    #[tokio::test]
    async fn a_timeout_ends_the_whole_group_even_if_it_ignores_sigterm() {
        let mut shell = Shell::new();
        let fifo = shell.fifo();
        shell.limits.timeout = Some(Duration::from_secs(1));
        let pipe = fifo.clone();
        let reader = std::thread::spawn(move || std::fs::read(pipe).unwrap());
        let ran = shell
            .run("trap '' TERM; exec 8>fifo; sleep 1000 & sleep 1000")
            .await;
        assert_eq!(ran.ended, Ended::Timeout(Duration::from_secs(1)));
        // Lets the reader go even if the shell never came to open its end.
        drop(File::options().read(true).write(true).open(fifo));
        assert_eq!(reader.join().unwrap(), b"");
    }

    #[tokio::test]
    async fn cancelling_ends_the_whole_group() {
        let shell = Shell::new();
        let fifo = shell.fifo();
        let cancel = shell.cancel.clone();
        let reader = std::thread::spawn(move || {
            let mut pipe = File::open(fifo).unwrap();
            cancel.cancel();
            io::copy(&mut pipe, &mut io::sink()).unwrap()
        });
        let ran = shell.run("exec 8>fifo; sleep 1000").await;
        assert_eq!(ran.ended, Ended::Cancelled);
        assert_eq!(reader.join().unwrap(), 0);
    }

    #[tokio::test]
    async fn output_past_the_limit_is_dropped_and_said() {
        let mut shell = Shell::new();
        shell.limits.output = 1000;
        let ran = shell
            .run("echo begin; head -c 200000 /dev/zero; echo end; head -c 1000 /dev/zero >&2")
            .await;
        let out = String::from_utf8(ran.stdout).unwrap();
        assert!(out.starts_with("begin\n") && out.ends_with("end\n"));
        assert!(
            out.contains("\n[dagcache: 199010 bytes left out]\n"),
            "{out}"
        );
        assert_eq!(ran.stderr.len(), 1000);
        assert!(ran.truncated);
        assert_eq!(ran.ended, Ended::Exit(0));
    }

    #[tokio::test]
    async fn chunks_are_seen_live() {
        let shell = Shell::new();
        let seen = Mutex::new(Vec::new());
        let launch = Launch {
            program: Path::new("/bin/sh"),
            args: &["-c".to_owned(), "echo a; echo b >&2".to_owned()],
            dir: shell.dir.path(),
            env: &[],
            confined: None,
        };
        let live = |stream, chunk: &[u8]| seen.lock().unwrap().push((stream, chunk.to_vec()));
        run(&launch, &shell.limits, &shell.cancel, Some(&live))
            .await
            .unwrap();
        let seen = seen.into_inner().unwrap();
        assert!(seen.contains(&(Stream::Stdout, b"a\n".to_vec())));
        assert!(seen.contains(&(Stream::Stderr, b"b\n".to_vec())));
    }
}
