//! The engines of a project: the local one, and containers of Dagger, for which nothing is started until they are
//! needed.
//!
//! Decides what happens if Dagger is lost: unless the user insisted on it, the local engine takes over.

use std::cell::{Cell, OnceCell};

use crate::engine::Engine;
use crate::engine::local::LocalEngine;
use crate::session::choice::Choice;

#[cfg(all(feature = "dagger", unix))]
pub(crate) use containers::{Answers, Containers};

pub(crate) struct Engines {
    pub(crate) local: LocalEngine,
    /// Containers, if chosen.
    #[cfg(all(feature = "dagger", unix))]
    pub(crate) containers: OnceCell<Containers>,
    /// Why containers are no longer used in this run.
    lost: OnceCell<String>,
    /// Whether containers are left alone for now, because they could not be used last time.
    resting: Cell<bool>,
}

impl Engines {
    #[must_use]
    pub(crate) fn new(local: LocalEngine) -> Self {
        Self {
            local,
            #[cfg(all(feature = "dagger", unix))]
            containers: OnceCell::new(),
            lost: OnceCell::new(),
            resting: Cell::new(false),
        }
    }

    /// Leaves containers alone from now on, or not any more.
    pub(crate) fn rest(&self, resting: bool) {
        self.resting.set(resting);
    }

    /// The current choice: a lost engine is not chosen again unless the user insists on it.
    #[must_use]
    pub(crate) fn settled(&self, choice: Choice) -> Choice {
        match self.lost.get() {
            _ if choice.fixed || choice.dagger.is_none() => choice,
            Some(why) => Choice::local(false, why.clone()),
            None if self.resting.get() => {
                let why = "the Dagger engine was not there last time, and nothing has to run";
                Choice::local(false, why)
            }
            None => choice,
        }
    }

    /// Whether a connection was made.
    #[must_use]
    pub(crate) fn reached(&self) -> bool {
        #[cfg(all(feature = "dagger", unix))]
        if let Some(containers) = self.containers.get() {
            return containers.was_opened();
        }
        false
    }

    /// Records that containers cannot be used any more; returns `false` if that was known.
    pub(crate) fn lose(&self, why: &str) -> bool {
        self.lost.set(why.to_owned()).is_ok()
    }

    /// Why containers cannot be used any more.
    #[must_use]
    pub(crate) fn lost(&self) -> Option<&str> {
        self.lost.get().map(String::as_str)
    }

    /// The chosen engine.
    #[must_use]
    pub(crate) fn of(&self, choice: &Choice) -> &dyn Engine {
        #[cfg(all(feature = "dagger", unix))]
        if let Some(containers) = self.containers.get().filter(|_| choice.dagger.is_some()) {
            return containers;
        }
        let _ = choice;
        &self.local
    }
}

#[cfg(all(feature = "dagger", unix))]
mod containers {
    use std::collections::HashMap;
    use std::ffi::OsStr;
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::sync::OnceCell;
    use tokio_util::sync::CancellationToken;

    use super::Engines;
    use crate::engine::dagger::program::Program;
    use crate::engine::dagger::session::{Connect, Session};
    use crate::engine::dagger::{DaggerEngine, Settings};
    use crate::engine::{
        Engine, EngineError, Executed, Expected, Pending, Prepare, Prepared, Request,
    };
    use crate::env::Env;
    use crate::facts::Facts;
    use crate::key::with_keys;
    use crate::lock::{NoAnswer, Resolve, host_platform};
    use crate::plan::{Layer, Plan};
    use crate::run::cancel::Interrupt;
    use crate::snapshot::Snapshot;
    use crate::tool::Tools;
    use crate::tool::launcher::Asker;

    /// Containers of a Dagger engine. Looks up and starts `dagger` on first use.
    pub(crate) struct Containers {
        /// How to reach the engine.
        pub(crate) address: String,
        pub(crate) root: PathBuf,
        /// The directory of its rooms.
        pub(crate) rooms: PathBuf,
        /// How often layers were cleared, by name.
        pub(crate) generations: HashMap<String, u64>,
        pub(crate) env: Env,
        /// Names of the secrets that it reads from the environment of its session.
        secrets: Vec<String>,
        pub(crate) facts: Arc<Facts>,
        pub(crate) tools: Arc<Tools>,
        platform: String,
        engine: OnceCell<Result<DaggerEngine, String>>,
    }

    impl Containers {
        /// Touches neither disk nor network.
        #[must_use]
        pub(crate) fn new(
            address: String,
            (root, rooms): (PathBuf, PathBuf),
            generations: HashMap<String, u64>,
            env: Env,
            secrets: Vec<String>,
            (facts, tools): (Arc<Facts>, Arc<Tools>),
        ) -> Self {
            Self {
                address,
                root,
                rooms,
                generations,
                env,
                secrets,
                facts,
                tools,
                platform: host_platform(),
                engine: OnceCell::new(),
            }
        }

        /// Whether the session gets a variable of the user: to find its engine and what that needs on this host, and
        /// what it is asked for by name, as secrets or as places of packages.
        fn is_for_engine(&self, name: &OsStr) -> bool {
            const NAMES: [&str; 15] = [
                "PATH",
                "HOME",
                "USER",
                "LANG",
                "TMPDIR",
                "KUBECONFIG",
                "SSH_AUTH_SOCK",
                "SSL_CERT_FILE",
                "SSL_CERT_DIR",
                "DAGCACHE_DAGGER_TIMEOUT",
                "PIP_EXTRA_INDEX_URL",
                "PIP_INDEX_URL",
                "PIP_TRUSTED_HOST",
                "RUSTUP_DIST_SERVER",
                "RUSTUP_UPDATE_ROOT",
            ];
            const STARTS: [&str; 8] = [
                "DAGGER_",
                "_DAGGER_",
                "_EXPERIMENTAL_DAGGER_",
                "DOCKER_",
                "XDG_",
                "CARGO_HTTP_",
                "CARGO_REGISTRIES_",
                "CARGO_REGISTRY_",
            ];
            let Some(name) = name.to_str() else {
                return false;
            };
            let is_proxy = name.to_ascii_uppercase().ends_with("_PROXY");
            is_proxy
                || NAMES.contains(&name)
                || STARTS.iter().any(|start| name.starts_with(start))
                || self.secrets.iter().any(|secret| secret == name)
        }

        /// How to reach the engine. `patience` is the time limit, which by default depends on the address.
        pub(crate) async fn connect(
            &self,
            patience: Option<Duration>,
            cancel: &CancellationToken,
        ) -> Result<Connect, EngineError> {
            let asker = Asker {
                tools: &self.tools,
                facts: &self.facts,
                env: &self.env,
                root: &self.root,
                dir: &self.root,
            };
            Ok(Connect {
                program: Program::find(&asker, cancel).await?,
                address: Some(self.address.clone()),
                env: self.env.only(|name| self.is_for_engine(name)),
                timeout: patience,
            })
        }

        /// Opens a separate session, not that of checks.
        pub(crate) async fn open(
            &self,
            patience: Duration,
            cancel: &CancellationToken,
        ) -> Result<Session, EngineError> {
            let connect = self.connect(Some(patience), cancel).await?;
            Session::open(&connect, cancel).await
        }

        /// The engine. If `dagger` was missing once, it is not looked up again.
        async fn engine(&self, cancel: &CancellationToken) -> Result<&DaggerEngine, EngineError> {
            let find = || async {
                match self.connect(None, cancel).await {
                    Ok(connect) => Ok(Ok(DaggerEngine::new(Settings {
                        connect,
                        platform: self.platform.clone(),
                        rooms: self.rooms.clone(),
                        generations: self.generations.clone(),
                    }))),
                    Err(EngineError::Lost(message)) => Ok(Err(message)),
                    Err(other) => Err(other),
                }
            };
            let found = self.engine.get_or_try_init(find).await?;
            found
                .as_ref()
                .map_err(|message| EngineError::Lost(message.clone()))
        }

        fn opened(&self) -> Option<&DaggerEngine> {
            let engine = self.engine.get().and_then(|engine| engine.as_ref().ok());
            engine.filter(|engine| engine.was_opened())
        }

        pub(crate) fn was_opened(&self) -> bool {
            self.opened().is_some()
        }

        /// Closes the session, if any.
        pub(crate) fn close(&self, interrupt: &Interrupt) {
            if let Some(engine) = self.opened() {
                // Without a runtime there is no session.
                let _ = interrupt.block_on(engine.close());
            }
        }
    }

    impl Engine for Containers {
        fn class(&self) -> &'static str {
            "dagger"
        }

        fn platform(&self) -> &str {
            &self.platform
        }

        fn prepare<'a>(
            &'a self,
            request: &'a Prepare<'a>,
            cancel: &'a CancellationToken,
        ) -> Pending<'a, Result<Vec<Prepared>, EngineError>> {
            Box::pin(async move { self.engine(cancel).await?.prepare(request, cancel).await })
        }

        fn expect<'a>(
            &'a self,
            expected: &'a Expected<'a>,
            cancel: &'a CancellationToken,
        ) -> Pending<'a, Result<(), EngineError>> {
            Box::pin(async move { self.engine(cancel).await?.expect(expected, cancel).await })
        }

        fn run<'a>(
            &'a self,
            request: &'a Request<'a>,
            cancel: &'a CancellationToken,
        ) -> Pending<'a, Result<Executed, EngineError>> {
            Box::pin(async move { self.engine(cancel).await?.run(request, cancel).await })
        }
    }

    /// Answers from an engine while planning. A lost engine is not asked again.
    pub(crate) struct Answers<'a> {
        pub(crate) engines: &'a Engines,
        pub(crate) containers: &'a Containers,
        pub(crate) interrupt: &'a Interrupt,
        pub(crate) snapshot: &'a Snapshot,
    }

    impl Answers<'_> {
        fn answer<T>(
            &self,
            ask: impl Future<Output = Result<T, EngineError>>,
        ) -> Result<T, NoAnswer> {
            if let Some(why) = self.engines.lost() {
                return Err(NoAnswer::Engine(why.to_owned()));
            }
            let no_threads =
                |error| NoAnswer::Engine(format!("the system gives no more threads: {error}"));
            let answer = self.interrupt.block_on(ask).map_err(no_threads)?;
            answer.map_err(|error| {
                let message = error.to_string();
                match error {
                    EngineError::Lost(_) => {
                        self.engines.lose(&message);
                        NoAnswer::Engine(message)
                    }
                    EngineError::Layer { .. } => NoAnswer::Whole(message),
                    _ if message.contains("\nhelp: ") => NoAnswer::Whole(message),
                    _ => NoAnswer::Image(message),
                }
            })
        }
    }

    impl Resolve for Answers<'_> {
        fn engine(&self) -> &str {
            &self.containers.address
        }

        fn resolve(&self, name: &str) -> Result<(String, String), NoAnswer> {
            let token = self.interrupt.token();
            self.answer(async {
                let engine = self.containers.engine(token).await?;
                engine.resolve(name, token).await
            })
        }

        fn ask(&self, layers: &[Layer], script: &str) -> Result<String, NoAnswer> {
            let token = self.interrupt.token();
            let plan = Plan {
                layers: layers.to_vec(),
                ..Plan::default()
            };
            let layers = with_keys(&plan, &plan.layers);
            let prepare = Prepare {
                layers: &layers,
                snapshot: self.snapshot,
                env: &self.containers.env,
                force: false,
            };
            self.answer(async {
                let engine = self.containers.engine(token).await?;
                engine.ask(&prepare, script, token).await
            })
        }
    }
}
