//! A program at the user's terminal. It gets a terminal of its own, which this process relays: what runs there can
//! neither type into the user's shell nor change its settings.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Stdio;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};
use tokio::signal::unix::{SignalKind, signal};

use super::supervise::{awaiting, order, reported};
use super::{Ended, Launch};

/// Runs a program at the user's terminal and waits for it. If standard input is none, it gets the standard streams as
/// they are. The caller has to ignore the terminal's signals.
pub(crate) async fn attend(launch: &Launch<'_>) -> io::Result<Ended> {
    let Some(confined) = launch.confined else {
        return Err(io::Error::other("no launcher"));
    };
    let relay = io::stdin().is_terminal().then(Relay::open).transpose()?;
    let (mut command, socket) = awaiting(confined.launcher)?;
    if let Some(relay) = &relay {
        let inside = || relay.inside.try_clone().map(Stdio::from);
        command.stdout(inside()?).stderr(inside()?);
    }
    let alone = super::starting();
    let mut child = command.spawn()?;
    drop(alone);
    drop(command);
    match &relay {
        Some(relay) => order(&socket, launch, confined, Some(relay.inside.as_fd()))?,
        None => order(&socket, launch, confined, Some(io::stdin().as_fd()))?,
    }
    let waited = tokio::task::spawn_blocking(move || child.wait());
    let waited = match relay {
        Some(relay) => relay.until(waited).await?,
        None => waited.await,
    };
    waited.map_err(io::Error::other)??;
    reported(socket)
}

/// Both ends of a terminal, and the user's own, in raw mode as long as this lives.
struct Relay {
    outside: File,
    inside: OwnedFd,
    before: Termios,
}

impl Relay {
    fn open() -> io::Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let outside = openpt(flags)?;
        rustix::io::fcntl_setfd(&outside, rustix::io::FdFlags::CLOEXEC)?;
        grantpt(&outside)?;
        unlockpt(&outside)?;
        let name = ptsname(&outside, Vec::new())?;
        let open =
            rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
        let inside = rustix::fs::open(name, open, rustix::fs::Mode::empty())?;
        let stdin = io::stdin();
        let before = tcgetattr(&stdin)?;
        tcsetattr(&inside, OptionalActions::Now, &before)?;
        let relay = Self {
            outside: File::from(outside),
            inside,
            before,
        };
        relay.resize();
        let mut raw = relay.before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Now, &raw)?;
        Ok(relay)
    }

    /// Gives the inner terminal the size of the user's.
    fn resize(&self) {
        if let Ok(size) = tcgetwinsize(io::stdin()) {
            let _ = tcsetwinsize(&self.outside, size);
        }
    }

    /// Relays until `done`.
    async fn until<T>(self, done: impl Future<Output = T>) -> io::Result<T> {
        let mut resized = signal(SignalKind::window_change())?;
        let (typed, shown) = (self.outside.try_clone()?, self.outside.try_clone()?);
        // Ends with this process: nothing can interrupt a read from a terminal.
        std::thread::spawn(move || copy(io::stdin().lock(), typed));
        // Ends when nobody has the inner end any more.
        let printing = std::thread::spawn(move || copy(shown, io::stdout()));
        tokio::pin!(done);
        let done = loop {
            tokio::select! {
                done = &mut done => break done,
                _ = resized.recv() => self.resize(),
            }
        };
        drop(self);
        let _ = printing.join();
        Ok(done)
    }
}

/// Passes on what is there at once, until either end is gone.
fn copy(mut from: impl Read, mut to: impl Write) {
    let mut chunk = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut chunk) {
        let written = to.write_all(chunk.get(..length).unwrap_or_default());
        if written.and_then(|()| to.flush()).is_err() {
            return;
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}
