//! Observes what a command does with files: which it reads, asks about, lists, looks for in vain and executes, it and
//! everything it starts.
//!
//! The inner launcher puts a filter on itself that stops every call of the table ([`calls`]); the outer one has attached
//! to it before and looks at each call as it is about to be made. Nothing is learnt from the result of a call: what is
//! there is known from the disk, and a call that fails depends on the same facts.
//!
//! - `calls`: which calls, and what they do with paths. - `filter`: stops them. - `follow`: the loop of stops.
//! - `paths`: what a path means. - [`seen`]: what is learnt.
//!
//! A command that cannot be followed ([`Seen::lost`]) is ended; what was seen of it means nothing.
//!
//! Does not know which files are inputs.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::process::Pid;

mod calls;
mod filter;
mod follow;
mod paths;
pub(crate) mod seen;

pub(super) use calls::NEWEST;
pub(super) use filter::install;
use follow::Tracer;
pub(crate) use seen::{Seen, Uses};

/// Follows the inner launcher and everything it starts. All of it happens in the thread that attached: the outer launcher
/// has no other, because the namespaces it makes forbid threads.
pub(super) struct Tracing {
    tracer: Tracer,
    /// Readable when something stopped.
    woken: SignalFd,
}

impl Tracing {
    /// Has stops reported through a descriptor. To be called before the inner launcher is started, which inherits that
    /// the signal is blocked and undoes it ([`unblock`]).
    pub(super) fn prepare() -> io::Result<SignalFd> {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        mask.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(SignalFd::with_flags(&mask, flags)?)
    }

    /// Attaches to the inner launcher before it is told what to run. From then on, nothing else may wait for children.
    ///
    /// # Errors
    /// If it may not be traced.
    pub(super) fn start(woken: SignalFd, inner: Pid, watched: Vec<PathBuf>) -> io::Result<Self> {
        let tracer = Tracer::attach(inner.as_raw_nonzero().get(), watched)?;
        Ok(Self { tracer, woken })
    }

    /// Handles what has stopped. Returns after which time to come again, even if nothing happens: a busy command must
    /// not keep its launcher from everything else.
    pub(super) fn go_on(&mut self) -> Option<Duration> {
        const AT_ONCE: usize = 100;
        const SOON: Duration = Duration::from_millis(10);
        while let Ok(Some(_)) = self.woken.read_signal() {}
        if (0..AT_ONCE).all(|_| self.tracer.next(false)) {
            return Some(Duration::ZERO);
        }
        self.tracer.resume().then_some(SOON)
    }

    /// Goes on until no process is left. `alone`: nothing outlives the inner launcher, which has ended or is being
    /// killed; otherwise `orphans` ends what does.
    pub(super) fn end(mut self, alone: bool, orphans: fn()) -> Seen {
        if !alone {
            orphans();
        }
        while self.tracer.next(true) {
            if !alone {
                orphans();
            }
        }
        self.tracer.seen
    }
}

impl AsFd for Tracing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.woken.as_fd()
    }
}

/// Undoes [`Tracing::prepare`] in a process that inherited it.
pub(super) fn unblock() -> io::Result<()> {
    Ok(SigSet::empty().thread_set_mask()?)
}
