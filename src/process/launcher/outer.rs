//! The outer launcher: namespaces, the lock, and the end of everything it started.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use fork::{Fork, fork};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::RecvFlags;
use rustix::process::{Pid, Signal, WaitOptions};

use super::limits::{Group, Watch};
use super::spec::Spec;
use super::trace::Tracing;
use super::{GO, Report, take, told};

/// What a process became by splitting in two.
pub(super) enum Role {
    Outer(Box<Outer>),
    /// The socket leads to the outer one.
    Inner(UnixStream, Box<Spec>, Option<OwnedFd>),
}

pub(super) struct Outer {
    spec: Spec,
    inner: Pid,
    socket: UnixStream,
    group: Option<Group>,
    tracing: Option<Tracing>,
    /// Takes what tracing saw.
    answer: Option<OwnedFd>,
    /// Held until everything the command started is dead.
    _lock: Option<OwnedFd>,
}

/// Receives the program's request, makes the namespaces and splits off the inner launcher, which is a copy of this
/// process rather than a new start of the program: that would take longer than all its other work.
pub(super) fn split(parent: &UnixStream) -> io::Result<Role> {
    let (spec, fds) = super::receive(parent)?;
    let mut fds = fds.into_iter();
    let lock = spec.hold.then(|| fds.next()).flatten();
    let stdin = spec.stdin.then(|| fds.next()).flatten();
    let answer = spec.answer.then(|| fds.next()).flatten();
    let group = spec.bounds.limits.group();
    namespaces(&spec)?;
    let (socket, theirs) = UnixStream::pair()?;
    let traced = spec.bounds.trace.clone();
    let woken = traced.as_ref().map(|_| Tracing::prepare()).transpose()?;
    // This process has no other threads.
    let forked = fork().map_err(|error| told("cannot start the inner launcher", &error))?;
    let Fork::Parent(inner) = forked else {
        std::mem::forget(group); // The outer one removes it.
        drop((answer, woken));
        return Ok(Role::Inner(theirs, Box::new(spec), stdin));
    };
    let inner = Pid::from_raw(inner);
    let inner = inner.ok_or_else(|| io::Error::other("the inner launcher has no process id"))?;
    let tracing = match (woken, traced) {
        (Some(woken), Some(watched)) => {
            let tracing = Tracing::start(woken, inner, watched, [&spec.dir, &spec.program]);
            Some(tracing.map_err(|error| told("cannot trace it", &error))?)
        }
        _ => None,
    };
    if tracing.is_some() {
        (&socket).write_all(GO)?;
    }
    Ok(Role::Outer(Box::new(Outer {
        spec,
        inner,
        socket,
        group,
        tracing,
        answer,
        _lock: lock,
    })))
}

#[cfg(target_os = "linux")]
fn namespaces(spec: &Spec) -> io::Result<()> {
    let bounds = &spec.bounds;
    super::root::unshare(bounds).map_err(|error| told("cannot create namespaces", &error))?;
    if bounds.offline {
        super::network::loopback()
            .map_err(|error| told("cannot set up the loopback interface", &error))?;
    }
    if bounds.processes {
        rustix::system::sethostname(HOST_NAME)
            .map_err(|error| told("cannot set the host name", &error.into()))?;
    } else {
        let adopts = Some(rustix::process::getpid());
        rustix::process::set_child_subreaper(adopts)?;
    }
    Ok(())
}

/// The host name in every room.
#[cfg(target_os = "linux")]
const HOST_NAME: &[u8] = b"dagcache";

#[cfg(not(target_os = "linux"))]
fn namespaces(_: &Spec) -> io::Result<()> {
    Ok(())
}

impl Outer {
    /// Waits until the inner launcher and everything below it has ended, and passes its report on.
    pub(super) fn serve(mut self, mut parent: &UnixStream) -> io::Result<()> {
        let mut report = self.attend(parent);
        self.kill();
        if let Some(tracing) = self.tracing.take() {
            let seen = tracing.end(self.spec.bounds.processes, kill_orphans);
            if let Some(answer) = self.answer.take() {
                File::from(answer).write_all(&seen.encode())?;
            }
            if seen.lost.is_some() {
                // It was ended, and says so in the answer.
                report = Ok(Report::Signal(Signal::KILL.as_raw()).encode());
            }
        } else {
            while let Err(rustix::io::Errno::INTR) =
                rustix::process::waitpid(Some(self.inner), WaitOptions::empty())
            {}
        }
        if !self.spec.bounds.processes {
            sweep();
        }
        let report = match &self.group {
            Some(group) if group.ran_out_of_memory() => Report::Over(super::Over::Memory).encode(),
            _ => report?,
        };
        parent.write_all(report.as_bytes())
    }

    /// It is fine if it has already ended.
    fn kill(&self) {
        let _ = rustix::process::kill_process(self.inner, Signal::KILL);
    }

    /// Passes on what the program asks for, until the inner launcher ends or the program wants it to.
    fn attend(&mut self, mut parent: &UnixStream) -> io::Result<String> {
        let (mut inner, limits) = (&self.socket, &self.spec.bounds.limits);
        let mut watch = Watch::new(limits);
        let mut report = String::new();
        loop {
            let soon = self.tracing.as_mut().and_then(Tracing::go_on);
            let mut ready = vec![
                PollFd::new(parent, PollFlags::IN),
                PollFd::new(inner, PollFlags::IN),
            ];
            if let Some(tracing) = &self.tracing {
                ready.push(PollFd::new(tracing, PollFlags::IN));
            }
            let wait = soon.into_iter().chain(watch.pause()).min();
            let wait = wait.and_then(|wait| Timespec::try_from(wait).ok());
            match poll(&mut ready, wait.as_ref()) {
                Err(rustix::io::Errno::INTR) => continue,
                other => other?,
            };
            let is_ready = |at: usize| {
                let fd: Option<&PollFd<'_>> = ready.get(at);
                fd.is_some_and(|fd| !fd.revents().is_empty())
            };
            let (asked, said) = (is_ready(0), is_ready(1));
            if said {
                let mut chunk = [0; 4096];
                let (length, fds) = take(inner, &mut chunk, RecvFlags::empty()).unwrap_or_default();
                if length == 0 {
                    return Ok(report);
                }
                let mut text = chunk.get(..length).unwrap_or_default();
                #[cfg(target_os = "linux")]
                for all in fds {
                    text = text.strip_prefix(super::COUNT).unwrap_or(text);
                    watch.count(limits, all);
                }
                report.push_str(&String::from_utf8_lossy(text));
            }
            if asked {
                let mut word = [0; 1];
                match parent.read(&mut word) {
                    Ok(1) => drop(inner.write_all(&word)),
                    _ => return Ok(String::new()),
                }
            }
            if let Some(over) = watch.over() {
                return Ok(Report::Over(over).encode());
            }
        }
    }
}

/// Kills what the command left behind, which this process has adopted.
fn sweep() {
    #[cfg(target_os = "linux")]
    loop {
        kill_orphans();
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return, // No child is left.
        }
    }
}

fn kill_orphans() {
    #[cfg(target_os = "linux")]
    for pid in children() {
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
}

#[cfg(target_os = "linux")]
fn children() -> Vec<Pid> {
    let own = format!("PPid:\t{}", std::process::id());
    let is_child = |status: &str| status.lines().any(|line| line == own);
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let children = all.filter_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let status = std::fs::read_to_string(entry.path().join("status")).ok()?;
        is_child(&status).then(|| Pid::from_raw(pid))?
    });
    children.collect()
}
