//! Interruption: the first SIGINT or SIGTERM stops what runs and lets the run end with its report; a second one of
//! the same kind ends the process at once, as without us.
//!
//! Owns the asynchronous runtime, which comes to life with the first miss that needs it. Stays free of `process::exit`.

use std::future::Future;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Whether, and by which signal, the user stopped the run.
#[derive(Debug, Default)]
pub(crate) struct Interrupt {
    token: CancellationToken,
    signal: std::sync::Arc<AtomicI32>,
    runtime: OnceLock<Runtime>,
}

impl Interrupt {
    /// Nothing has happened yet; signals keep their default effect until the first miss.
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

    /// Waits for a future on the runtime. From here on signals are caught.
    ///
    /// # Errors
    /// If the system refuses the thread and the descriptors a runtime needs.
    pub(crate) fn block_on<F: Future>(&self, future: F) -> io::Result<F::Output> {
        let runtime = match self.runtime.get() {
            Some(runtime) => runtime,
            None => {
                let started = self.start()?;
                // Of two that begin at once, one stays.
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
    // The user insists. What runs has had its SIGTERM and is an orphan now, which keeps its room and harms nothing.
    std::process::exit(128 + kind.as_raw_value());
}
