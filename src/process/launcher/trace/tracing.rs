//! The tracer as the outer launcher sees it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::process::Pid;

use super::follow::Tracer;
use super::seen::Seen;

/// Follows the inner launcher and everything it starts. All of it happens in the thread that attached: the outer launcher
/// has no other, because the namespaces it makes forbid threads.
pub(in super::super) struct Tracing {
    tracer: Tracer,
    /// Readable when something stopped.
    woken: SignalFd,
}

impl Tracing {
    /// Has stops reported through a descriptor. To be called before the inner launcher is started, which inherits that
    /// the signal is blocked and undoes it ([`unblock`]).
    pub(in super::super) fn prepare() -> io::Result<SignalFd> {
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
    pub(in super::super) fn start(
        woken: SignalFd,
        inner: Pid,
        watched: Vec<PathBuf>,
        command: [&Path; 2],
    ) -> io::Result<Self> {
        let tracer = Tracer::attach(inner.as_raw_nonzero().get(), watched, command)?;
        Ok(Self { tracer, woken })
    }

    /// Handles what has stopped. Returns after which time to come again, even if nothing happens: a busy command must
    /// not keep its launcher from everything else.
    pub(in super::super) fn go_on(&mut self) -> Option<Duration> {
        const AT_ONCE: usize = 100;
        const SOON: Duration = Duration::from_millis(10);
        let _ = self.woken.read_signal();
        if (0..AT_ONCE).all(|_| self.tracer.next(false)) {
            return Some(Duration::ZERO);
        }
        self.tracer.resume().then_some(SOON)
    }

    /// Goes on until no process is left. `alone`: nothing outlives the inner launcher, which has ended or is being
    /// killed; otherwise `orphans` ends what does.
    pub(in super::super) fn end(mut self, alone: bool, orphans: fn()) -> Seen {
        if !alone {
            orphans();
        }
        while self.tracer.next(true) {
            if !alone {
                orphans();
            }
        }
        self.tracer.end()
    }
}

impl AsFd for Tracing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.woken.as_fd()
    }
}

/// Undoes [`Tracing::prepare`] in a process that inherited it.
pub(in super::super) fn unblock() -> io::Result<()> {
    Ok(SigSet::empty().thread_set_mask()?)
}
