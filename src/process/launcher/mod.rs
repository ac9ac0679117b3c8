//! The launcher: this program started again with the argument [`WORD`]. It sets up what can only be set up from inside
//! and keeps watch over the command, in two processes:
//!
//! ```text
//! this program                outer                           inner
//!   spawn, a socket as stdin →  holds the lock
//!   the spec, with the lock  →  namespaces, loopback
//!                               fork, a socket             →   root, limits, rules (see `spec::Bounds`)
//!                               to trace: attach, "G"      →   (waits for it), the filter
//!                                                          ←   "C" with its `/proc`, if processes are counted
//!                                                              spawn the command, reap until it ends
//!   "T": SIGTERM             →  passed on                  →   SIGTERM to the command's process group
//!   closed: kill             →  kills the inner one, waits
//!                               what tracing saw, into a file of the program
//!                            ←  the report                 ←   `ready`, then `exit N` or `signal N`, or an error
//! ```
//! The inner one is the first process of its PID namespace, so the kernel kills everything in the room when it ends. The
//! outer one returns only when that is done: until then it holds the room's lock, which nothing in the room can reach.
//! Without such a namespace the outer one adopts what the command leaves behind and kills it. If this program dies, its
//! socket closes, and the room ends with it.
//!
//! - [`spec`]: the request. - `outer`, `inner`: the two processes. - `root`: one root for every machine.
//! - `network`: loopback only. - `files`: which files may be opened. - `calls`: which system calls are refused.
//! - `rights`: no capability is left. - `limits`: what a command may use. - [`trace`]: what files it uses.
//! - [`support`]: what this system supports.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

#[cfg(target_os = "linux")]
mod bpf;
#[cfg(target_os = "linux")]
mod calls;
#[cfg(target_os = "linux")]
mod files;
mod inner;
mod limits;
#[cfg(target_os = "linux")]
mod network;
mod outer;
mod report;
#[cfg(target_os = "linux")]
mod rights;
#[cfg(target_os = "linux")]
mod root;
pub(crate) mod spec;
pub(crate) mod support;
pub(crate) mod trace;

pub(super) use report::{Over, Report};
use spec::Spec;
pub(crate) use support::Support;

/// The first argument that makes this program a launcher.
pub(crate) const WORD: &str = "__launch";

/// Tells the inner launcher that it is being traced.
const GO: &[u8] = b"G";

/// Comes with the `/proc` in which the command's processes can be counted.
#[cfg(target_os = "linux")]
const COUNT: &[u8] = b"C";

/// Asks the launcher to pass SIGTERM to the command.
pub(super) const TERM: &[u8] = b"T";

/// The launcher's descriptors stay clear of those that shell scripts use.
const CLEAR: i32 = 10;

/// Serves one request, as outer launcher and, in a process of its own, as inner one.
#[must_use]
pub(crate) fn main() -> ExitCode {
    let Ok(parent) = take_over() else {
        return ExitCode::from(127); // There is nobody to report to.
    };
    let (mut socket, served) = serve(parent);
    if let Err(error) = served {
        let _ = socket.write_all(error.to_string().as_bytes());
        return ExitCode::from(127);
    }
    ExitCode::SUCCESS
}

/// Returns twice, each time with the socket to report an error on.
fn serve(parent: UnixStream) -> (UnixStream, io::Result<()>) {
    match outer::split(&parent) {
        Ok(outer::Role::Outer(outer)) => {
            let served = outer.serve(&parent);
            (parent, served)
        }
        Ok(outer::Role::Inner(outer, spec, stdin)) => {
            drop(parent);
            let served = inner::serve(&outer, &spec, stdin);
            (outer, served)
        }
        Err(error) => (parent, Err(error)),
    }
}

/// Moves the socket from standard input to a descriptor the command will not have.
fn take_over() -> io::Result<UnixStream> {
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), CLEAR)?;
    rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    Ok(UnixStream::from(socket))
}

fn told(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// Sends a request and its descriptors.
pub(super) fn send(socket: &UnixStream, spec: &Spec, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let body = spec.encode();
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    hand_over(socket, &length.to_le_bytes(), fds)?;
    (&*socket).write_all(&body)
}

/// Sends a few bytes with descriptors.
fn hand_over(socket: &UnixStream, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many descriptors"));
    }
    // If the other side is gone, this is an error rather than a signal: this program ignores SIGPIPE.
    let parts = [IoSlice::new(bytes)];
    rustix::net::sendmsg(socket, &parts, &mut control, SendFlags::empty())?;
    Ok(())
}

/// Receives bytes, and descriptors if some come with them.
fn take(
    socket: &UnixStream,
    bytes: &mut [u8],
    flags: RecvFlags,
) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    #[cfg(target_os = "linux")]
    let flags = RecvFlags::CMSG_CLOEXEC | flags;
    let mut parts = [IoSliceMut::new(bytes)];
    let got = rustix::net::recvmsg(socket.as_fd(), &mut parts, &mut control, flags)?.bytes;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(some) = message {
            fds.extend(some);
        }
    }
    Ok((got, fds))
}

fn receive(mut socket: &UnixStream) -> io::Result<(Spec, Vec<OwnedFd>)> {
    let mut head = [0; 4];
    let (got, fds) = take(socket, &mut head, RecvFlags::WAITALL)?;
    let malformed = || io::Error::other("malformed launch request");
    if got != head.len() {
        return Err(malformed());
    }
    let mut body = Vec::new();
    Read::take(&mut socket, u64::from(u32::from_le_bytes(head))).read_to_end(&mut body)?;
    Ok((Spec::decode(&body).ok_or_else(malformed)?, fds))
}
