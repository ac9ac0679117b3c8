//! Interruption: the first SIGINT or SIGTERM stops what runs and lets the run end with its report; a second one of
//! the same kind ends the process at once, as without us.
//!
//! Owns the asynchronous runtime, which comes to life with the first miss that needs it. Stays free of `process::exit`.

use std::future::Future;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Whether, and by which signal, the user stopped the run.
#[derive(Debug, Default)]
pub struct Interrupt {
    token: CancellationToken,
    signal: std::sync::Arc<AtomicI32>,
    runtime: OnceLock<Runtime>,
}

impl Interrupt {
    /// Nothing has happened yet; signals keep their default effect until the first miss.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when the run is to stop.
    #[must_use]
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Whether the run is to stop.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.token.is_cancelled()
    }

    /// The signal that stopped the run.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        Some(self.signal.load(Ordering::Relaxed)).filter(|signal| *signal != 0)
    }

    /// Waits for a future on the runtime. From here on signals are caught.
    ///
    /// # Panics
    /// If the system refuses the few threads and descriptors a runtime needs.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let runtime = self.runtime.get_or_init(|| self.start());
        runtime.block_on(future)
    }

    /// Catches signals from now on, for work that needs no future.
    pub fn listen(&self) {
        self.block_on(async {});
    }

    fn start(&self) -> Runtime {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("the system starts a thread and opens a pipe");
        for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
            runtime.spawn(watch(kind, self.token.clone(), self.signal.clone()));
        }
        runtime
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
