//! One supervised child: started as leader of its own group, waited for, and its group always ended with it.
//!
//! The leader is reaped last. Until then its id cannot be given to another process, so signals to the group can
//! never hit a stranger.

use std::ffi::OsString;
use std::fs::File;
use std::io;
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

use crate::process::launcher;
use crate::process::launcher::spec::{Bounds, Spec};
use crate::rule::Rule;

/// What to start.
pub(crate) struct Launch<'a> {
    /// An absolute path, or one with `/` relative to `dir`.
    pub(crate) program: &'a Path,
    /// Its arguments.
    pub(crate) args: &'a [String],
    /// Its working directory.
    pub(crate) dir: &'a Path,
    /// Its whole environment.
    pub(crate) env: &'a [(OsString, OsString)],
    /// A locked file that the child and all its descendants keep open, and thereby locked, for as long as they live.
    /// With one, the child also gets umask 022.
    pub(crate) hold: Option<&'a File>,
    /// What confines it. `program` and `dir` are then as seen from inside.
    pub(crate) confined: Option<Confined<'a>>,
}

/// A command that is started through the launcher.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Confined<'a> {
    /// This program, as a launcher.
    pub(crate) launcher: &'a Path,
    /// What the command is kept from.
    pub(crate) bounds: &'a Bounds,
}

/// How long and how much.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Wall time after which the group is ended.
    pub(crate) timeout: Option<Duration>,
    /// Time between SIGTERM and SIGKILL, and how long pipes may stay open after the leader's end.
    pub(crate) grace: Duration,
    /// Bytes kept of each of stdout and stderr; what comes after is read and dropped.
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

/// How a child came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By itself, with this code.
    Exit(i32),
    /// By a signal that did not come from here.
    Signal(i32),
    /// Ended from here after this wall time.
    Timeout(Duration),
    /// Ended from here because the run was cancelled.
    Cancelled,
}

/// Which of a child's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Called with each chunk of output as it arrives, before any limit. Chunks end anywhere.
pub(crate) type Live<'a> = &'a (dyn Fn(Stream, &[u8]) + Send + Sync);

/// A child that has ended, and what it left.
#[derive(Debug)]
pub(crate) struct Ran {
    /// How it ended.
    pub(crate) ended: Ended,
    /// Standard output, up to the limit.
    pub(crate) stdout: Vec<u8>,
    /// Standard error, up to the limit.
    pub(crate) stderr: Vec<u8>,
    /// Whether some output is missing: it passed the limit, or a process that left the group kept a pipe open.
    pub(crate) truncated: bool,
    /// Wall time.
    pub(crate) duration: Duration,
    /// Peak resident memory of the largest process among the child and its awaited descendants, in bytes. An upper
    /// bound for small programs: Linux counts the forked copy of the parent too.
    pub(crate) peak_memory: Option<u64>,
}

impl Ran {
    /// The end of what it said, for a message: its errors, or what it printed if it reported none.
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

/// Runs a program to its end, or ends it when its time is over or `cancel` fires. When this returns, no process of
/// the child's group is alive. If the returned future is dropped, the group is killed at once.
///
/// # Errors
/// If it cannot be started or waited for.
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
        group.signal(Signal::KILL);
        let open = !done && tokio::time::timeout(limits.grace, reading).await.is_err();
        (reason, open)
    };
    let (status, peak_memory) = group.reap()?;
    let ended = reason.unwrap_or_else(|| ended(status));
    group.launched(ended)?;
    Ok(Ran {
        ended,
        truncated: open || out.truncated || err.truncated,
        stdout: out.bytes,
        stderr: err.bytes,
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

/// A child and its process group.
struct Group {
    child: Child,
    id: Pid,
    reaped: bool,
    /// Where its launcher says how it went.
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
        drop(command); // With it goes our copy of the child's standard input.
        let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let id = id.ok_or_else(|| io::Error::other("a child without a process id"))?;
        let group = Self {
            child,
            id,
            reaped: false,
            launcher,
        };
        if let Some(socket) = &group.launcher {
            order(socket, launch, None)?;
        }
        Ok(group)
    }

    /// Whether the command itself was what ended like this.
    fn launched(&mut self, ended: Ended) -> io::Result<()> {
        let by_itself = matches!(ended, Ended::Exit(_));
        let socket = self.launcher.take();
        socket.map_or(Ok(()), |socket| launcher::verdict(socket, by_itself))
    }

    fn pipes(&mut self) -> io::Result<(tokio::process::ChildStdout, tokio::process::ChildStderr)> {
        let (Some(out), Some(err)) = (self.child.stdout.take(), self.child.stderr.take()) else {
            return Err(io::Error::other("a child without pipes"));
        };
        Ok((
            tokio::process::ChildStdout::from_std(out)?,
            tokio::process::ChildStderr::from_std(err)?,
        ))
    }

    /// Waits for the leader's end, bringing it about when it is due; says why if it was brought about.
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
        self.signal(Signal::TERM);
        match tokio::time::timeout(limits.grace, &mut exit).await {
            Ok(end) => end?,
            Err(_) => {
                self.signal(Signal::KILL);
                exit.await?;
            }
        }
        Ok(Some(reason))
    }

    /// A group that has already ended is fine.
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
        self.signal(Signal::KILL);
    }
}

/// Completes when the process has ended, and leaves it to be reaped.
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

/// Completes when the child must go.
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

/// The command that starts what is to be launched; with a launcher, the socket on which it awaits its orders.
///
/// The umask and an inheritable lock can only be set between fork and exec. The launcher does both and more; where
/// there is none a shell does, without unsafe code: the lock comes as its standard input and is moved out of the way.
fn command(launch: &Launch<'_>) -> io::Result<(Command, Option<UnixStream>)> {
    if let Some(confined) = launch.confined {
        let (command, socket) = awaiting(confined.launcher)?;
        return Ok((command, Some(socket)));
    }
    let script = if Rule::Umask.holds() {
        r#"umask 022; exec 9<&0 </dev/null; exec "$@""#
    } else {
        r#"exec 9<&0 </dev/null; exec "$@""#
    };
    let mut command = match launch.hold {
        None => {
            let mut command = Command::new(launch.program);
            command.stdin(Stdio::null());
            command
        }
        Some(hold) => {
            let mut command = Command::new("/bin/sh");
            command
                .args(["-c", script, "sh"])
                .arg(launch.program)
                .stdin(hold.try_clone()?);
            command
        }
    };
    command
        .args(launch.args)
        .current_dir(launch.dir)
        .env_clear()
        .envs(launch.env.iter().map(|(name, value)| (name, value)));
    Ok((command, None))
}

/// A launcher that awaits its orders on the socket.
fn awaiting(program: &Path) -> io::Result<(Command, UnixStream)> {
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

/// Tells a launcher what to do. An end before it has read everything shows in what it says, or does not say.
fn order(
    socket: &UnixStream,
    launch: &Launch<'_>,
    stdin: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let bounds = launch.confined.map(|confined| confined.bounds.clone());
    let spec = Spec {
        bounds: bounds.unwrap_or_default(),
        dir: launch.dir.to_owned(),
        program: launch.program.to_owned(),
        args: launch.args.iter().map(OsString::from).collect(),
        env: launch.env.to_vec(),
        hold: launch.hold.is_some(),
        stdin: stdin.is_some(),
    };
    let fds: Vec<BorrowedFd<'_>> = launch
        .hold
        .map(AsFd::as_fd)
        .into_iter()
        .chain(stdin)
        .collect();
    match launcher::send(socket, Some(&spec), &fds) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Runs a program at the user's terminal, with standard input and outputs as they are, and waits for its end. It stays
/// in the group of this process, so that the terminal is its own; signals of the terminal are the caller's to ignore.
///
/// # Errors
/// If it cannot be started or waited for.
pub(crate) async fn attend(launch: &Launch<'_>) -> io::Result<Ended> {
    let Some(confined) = launch.confined else {
        return Err(io::Error::other("there is no launcher"));
    };
    let (mut command, socket) = awaiting(confined.launcher)?;
    let alone = super::starting();
    let mut child = command.spawn()?;
    drop(alone);
    drop(command);
    order(&socket, launch, Some(io::stdin().as_fd()))?;
    let status = tokio::task::spawn_blocking(move || child.wait())
        .await
        .map_err(io::Error::other)??;
    let ended = ended(status);
    launcher::verdict(socket, matches!(ended, Ended::Exit(_)))?;
    Ok(ended)
}

/// One output of a child.
struct Capture<'a> {
    stream: Stream,
    limit: usize,
    live: Option<Live<'a>>,
    bytes: Vec<u8>,
    truncated: bool,
}

impl<'a> Capture<'a> {
    fn new(stream: Stream, limit: usize, live: Option<Live<'a>>) -> Self {
        Self {
            stream,
            limit,
            live,
            bytes: Vec::new(),
            truncated: false,
        }
    }

    /// Reads to the end, also past the limit: a full pipe would stop the child.
    async fn drain(&mut self, mut pipe: impl AsyncRead + Unpin) {
        let mut chunk = vec![0; 32 << 10];
        loop {
            match pipe.read(&mut chunk).await {
                Ok(0) => return,
                Ok(length) => self.take(chunk.get(..length).unwrap_or_default()),
                Err(_) => {
                    self.truncated = true;
                    return;
                }
            }
        }
    }

    fn take(&mut self, chunk: &[u8]) {
        if let Some(live) = self.live {
            live(self.stream, chunk);
        }
        let room = self.limit - self.bytes.len().min(self.limit);
        self.truncated |= chunk.len() > room;
        self.bytes
            .extend_from_slice(chunk.get(..room).unwrap_or(chunk));
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
                hold: None,
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
            .run("head -c 200000 /dev/zero; head -c 1000 /dev/zero >&2")
            .await;
        assert_eq!((ran.stdout.len(), ran.stderr.len()), (1000, 1000));
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
            hold: None,
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

    #[cfg(target_os = "linux")] // setsid(1)
    #[tokio::test]
    async fn an_orphan_keeps_the_lock() {
        let shell = Shell::new();
        let dir = shell.dir.path();
        let path = dir.join("lock");
        let lock = File::create(&path).unwrap();
        lock.lock().unwrap();
        let script = r#"umask; cat; mkfifo up stop
            setsid sh -c 'echo ready >up; read x <stop' >/dev/null 2>&1 &
            read x <up; echo $x"#;
        let launch = Launch {
            program: Path::new("/bin/sh"),
            args: &["-c".to_owned(), script.to_owned()],
            dir,
            env: &[("PATH".into(), std::env::var_os("PATH").unwrap())],
            hold: Some(&lock),
            confined: None,
        };
        let ran = run(&launch, &shell.limits, &shell.cancel, None)
            .await
            .unwrap();
        assert_eq!(ran.stdout, b"0022\nready\n");
        drop(lock);
        let other = File::open(&path).unwrap();
        assert!(other.try_lock().is_err());
        std::fs::write(dir.join("stop"), "go\n").unwrap();
        other.lock().unwrap();
    }
}
