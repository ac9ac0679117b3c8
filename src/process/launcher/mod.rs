//! The launcher: this program started again with the argument [`WORD`]. Single-threaded, it sets up what can only be
//! set up between fork and exec, and then becomes the command.
//!
//! ```text
//! parent                                   launcher
//!   spawn, a socket as standard input  →   moves the socket out of the way
//!   the spec, with the lock            →   umask, namespaces, new root, rules (see `spec::Bounds`)
//!                                      ←   `ready`
//!                                          exec: the socket closes with it
//!                                      ←   or the reason it failed
//! ```
//! The socket tells a failure of the launcher from an exit code of the command: without `ready`, or with text after
//! it, the command never ran.
//!
//! - [`spec`]: the request. - `root`: one root for every machine. - `network`: loopback only.
//! - `files`: which files may be opened. - [`support`]: what this system supports.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use rustix::fs::Mode;
use rustix::io::FdFlags;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

#[cfg(target_os = "linux")]
mod files;
#[cfg(target_os = "linux")]
mod network;
#[cfg(target_os = "linux")]
mod root;
pub(crate) mod spec;
pub(crate) mod support;

use crate::rule::Rule;
use spec::{Bounds, Spec};
pub(crate) use support::Support;

/// The first argument that makes this program a launcher.
pub(crate) const WORD: &str = "__launch";

/// Sent just before the launcher becomes the command.
const READY: &[u8] = b"ready\n";

/// The launcher's descriptors stay clear of those that shell scripts use.
const CLEAR: i32 = 10;

/// Serves the parent's request; returns only if it failed or was a query.
#[must_use]
pub(crate) fn main() -> ExitCode {
    let Ok(mut parent) = take_over() else {
        return ExitCode::from(127); // There is nobody to report to.
    };
    if let Err(error) = serve(&mut parent) {
        let _ = parent.write_all(error.to_string().as_bytes());
    }
    ExitCode::from(127)
}

/// Moves the socket from standard input to a descriptor the command will not have.
fn take_over() -> io::Result<UnixStream> {
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), CLEAR)?;
    rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    Ok(UnixStream::from(socket))
}

fn serve(parent: &mut UnixStream) -> io::Result<()> {
    let (spec, fds) = receive(parent)?;
    let Some(spec) = spec else {
        let support = support::probe();
        parent.write_all(&support.encode())?;
        return Ok(());
    };
    let mut fds = fds.into_iter();
    if spec.hold
        && let Some(lock) = fds.next()
    {
        let kept = rustix::io::fcntl_dupfd_cloexec(&lock, CLEAR)?;
        rustix::io::fcntl_setfd(&kept, FdFlags::empty())?;
        // Stays open in the command and its descendants.
        std::mem::forget(kept);
    }
    if spec.stdin
        && let Some(input) = fds.next()
    {
        rustix::stdio::dup2_stdin(input)?;
    }
    drop(fds);
    if Rule::Umask.holds() {
        rustix::process::umask(Mode::from_raw_mode(0o022));
    }
    confine(&spec.bounds)?;
    std::env::set_current_dir(&spec.dir)
        .map_err(|error| told("cannot enter the working directory", &error))?;
    #[cfg(target_os = "linux")]
    if let Some(rules) = &spec.bounds.files {
        files::restrict(rules).map_err(|error| told("cannot restrict file access", &error))?;
    }
    parent.write_all(READY)?;
    let mut command = Command::new(&spec.program);
    command.args(&spec.args).env_clear().envs(spec.env);
    Err(command.exec())
}

fn told(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

#[cfg(target_os = "linux")]
fn confine(bounds: &Bounds) -> io::Result<()> {
    root::unshare(bounds).map_err(|error| told("cannot create namespaces", &error))?;
    if bounds.offline {
        network::loopback()
            .map_err(|error| told("cannot set up the loopback interface", &error))?;
    }
    if let Some(new) = &bounds.root {
        root::enter(new).map_err(|error| told("cannot set up the file system", &error))?;
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn confine(_: &Bounds) -> io::Result<()> {
    Ok(())
}

/// Sends a request and its descriptors. `None` asks what this system supports.
pub(super) fn send(
    socket: &UnixStream,
    spec: Option<&Spec>,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let body = spec.map(Spec::encode).unwrap_or_default();
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many descriptors"));
    }
    let head = length.to_le_bytes();
    // If the launcher is gone, this is an error rather than a signal: this program ignores SIGPIPE.
    rustix::net::sendmsg(
        socket,
        &[IoSlice::new(&head)],
        &mut control,
        SendFlags::empty(),
    )?;
    (&*socket).write_all(&body)
}

fn receive(mut socket: &UnixStream) -> io::Result<(Option<Spec>, Vec<OwnedFd>)> {
    let mut head = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    #[cfg(target_os = "linux")]
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::WAITALL;
    #[cfg(not(target_os = "linux"))]
    let flags = RecvFlags::WAITALL;
    let mut parts = [IoSliceMut::new(&mut head)];
    let got = rustix::net::recvmsg(socket.as_fd(), &mut parts, &mut control, flags)?.bytes;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(some) = message {
            fds.extend(some);
        }
    }
    let length = u32::from_le_bytes(head);
    if got != head.len() || length == 0 {
        return Ok((None, fds));
    }
    let mut body = Vec::new();
    Read::take(&mut socket, u64::from(length)).read_to_end(&mut body)?;
    let spec = Spec::decode(&body).ok_or_else(|| io::Error::other("malformed launch request"))?;
    Ok((Some(spec), fds))
}

/// What the launcher reported before it exited or became the command.
pub(super) fn verdict(mut socket: UnixStream, by_itself: bool) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let mut said = Vec::new();
    // Descendants of the command do not have the socket, so this is everything.
    let _ = socket.read_to_end(&mut said);
    match said.strip_prefix(READY) {
        Some(b"") => Ok(()),
        Some(why) => Err(io::Error::other(String::from_utf8_lossy(why).into_owned())),
        None if said.is_empty() && !by_itself => Ok(()), // Killed by us before it got there.
        None if said.is_empty() => Err(io::Error::other("the launcher exited without reporting")),
        None => Err(io::Error::other(
            String::from_utf8_lossy(&said).into_owned(),
        )),
    }
}
