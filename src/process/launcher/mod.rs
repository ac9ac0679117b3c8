//! The launcher: this very program, started again under the word [`WORD`], which sets up alone and single-threaded
//! what can only be set up between fork and exec, and then becomes the command.
//!
//! ```text
//! parent                                   launcher
//!   spawn, a socket as standard input  →   moves the socket out of the way
//!   the spec, with the lock            →   umask, namespaces, new root, rules (see `spec::Bounds`)
//!                                      ←   `ready`
//!                                          exec: the socket closes with it
//!                                      ←   or why not
//! ```
//! What the socket says tells a failure of the launcher from an exit code of the command: without `ready`, or with
//! words after it, the command never ran.
//!
//! - [`spec`]: what is asked for. - `root`: one root for every machine. - `network`: none but loopback.
//! - `files`: what may be opened. - [`support`]: what of it this system can do.

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

/// What the launcher says just before it becomes the command.
const READY: &[u8] = b"ready\n";

/// Descriptors of the launcher stay clear of those a shell script uses.
const CLEAR: i32 = 10;

/// Does what the parent asks for; returns only if that failed, or was a question.
#[must_use]
pub(crate) fn main() -> ExitCode {
    let Ok(mut parent) = take_over() else {
        return ExitCode::from(127); // Nobody there to be told.
    };
    if let Err(error) = serve(&mut parent) {
        let _ = parent.write_all(error.to_string().as_bytes());
    }
    ExitCode::from(127)
}

/// The socket that is standard input, moved to where the command will not have it.
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
        // It stays open in the command and in all that it starts.
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
    std::env::set_current_dir(&spec.dir).map_err(|error| told("its folder", &error))?;
    #[cfg(target_os = "linux")]
    if let Some(rules) = &spec.bounds.files {
        files::restrict(rules).map_err(|error| told("confining it", &error))?;
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
    root::unshare(bounds).map_err(|error| told("its namespaces", &error))?;
    if bounds.offline {
        network::loopback().map_err(|error| told("its loopback interface", &error))?;
    }
    if let Some(new) = &bounds.root {
        root::enter(new).map_err(|error| told("its file system", &error))?;
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn confine(_: &Bounds) -> io::Result<()> {
    Ok(())
}

/// Sends what is to be done, and descriptors with it. `None` asks what this system can do.
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
    // A launcher that is gone is an error here, not a signal: this program ignores SIGPIPE.
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
    let spec = Spec::decode(&body).ok_or_else(|| io::Error::other("damaged orders"))?;
    Ok((Some(spec), fds))
}

/// What a launcher that has ended, or become the command, had to say.
///
/// # Errors
/// If the command never ran: why.
pub(super) fn verdict(mut socket: UnixStream, by_itself: bool) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let mut said = Vec::new();
    // Descendants of the command do not have the socket: what is there is all.
    let _ = socket.read_to_end(&mut said);
    match said.strip_prefix(READY) {
        Some(b"") => Ok(()),
        Some(why) => Err(io::Error::other(String::from_utf8_lossy(why).into_owned())),
        None if said.is_empty() && !by_itself => Ok(()), // Ended from here before it came to it.
        None if said.is_empty() => Err(io::Error::other("the launcher ended without a word")),
        None => Err(io::Error::other(
            String::from_utf8_lossy(&said).into_owned(),
        )),
    }
}
