//! Interruption: the first SIGINT or SIGTERM stops running checks and lets the run end with its report; a second
//! signal of the same kind ends the process at once.
//!
//! Owns the asynchronous runtime, which starts with the first miss that needs it. Never calls `process::exit`
//! otherwise.

use std::future::Future;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Whether the user stopped the run, and by which signal.
#[derive(Debug, Default)]
pub(crate) struct Interrupt {
    token: CancellationToken,
    signal: std::sync::Arc<AtomicI32>,
    runtime: OnceLock<Runtime>,
}

impl Interrupt {
    /// Signals keep their default effect until the first miss.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Cancelled when the run is to stop.
    #[must_use]
    pub(crate) fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Whether the run is to stop.
    #[must_use]
    pub(crate) fn is_set(&self) -> bool {
        self.token.is_cancelled()
    }

    /// The signal that stopped the run.
    #[must_use]
    pub(crate) fn signal(&self) -> Option<i32> {
        Some(self.signal.load(Ordering::Relaxed)).filter(|signal| *signal != 0)
    }

    /// Waits for a future on the runtime. From now on, signals are caught.
    pub(crate) fn block_on<F: Future>(&self, future: F) -> io::Result<F::Output> {
        let runtime = match self.runtime.get() {
            Some(runtime) => runtime,
            None => {
                let started = self.start()?;
                // If two threads start at once, one runtime stays.
                self.runtime.get_or_init(|| started)
            }
        };
        Ok(runtime.block_on(future))
    }

    fn start(&self) -> io::Result<Runtime> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build()?;
        for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
            runtime.spawn(watch(kind, self.token.clone(), self.signal.clone()));
        }
        Ok(runtime)
    }
}

#[expect(clippy::exit, reason = "a second signal must not wait for anything")]
async fn watch(kind: SignalKind, token: CancellationToken, number: std::sync::Arc<AtomicI32>) {
    let Ok(mut stream) = signal(kind) else { return };
    stream.recv().await;
    number.store(kind.as_raw_value(), Ordering::Relaxed);
    token.cancel();
    stream.recv().await;
    // The user insists. Running checks have received SIGTERM, and their launchers kill them when this process is gone.
    std::process::exit(128 + kind.as_raw_value());
}
