//! A project as needed by commands: store, snapshot, configuration, plan, engine.
//!
//! Runs checks at most once.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use anyhow::{Context as _, anyhow};

use crate::config::{self, Config, ConfigError, EngineKind, Loaded};
use crate::digest::Digest;
use crate::discover;
use crate::ecosystem::cargo::RESOLVED_LOCKFILE;
use crate::engine::Engine;
use crate::engine::local::confine;
use crate::engine::local::{Dirs, LocalEngine};
use crate::env::{self, DAGCACHE_TEAM_KEY, Env};
use crate::event::Emit;
use crate::facts::Facts;
use crate::key::secret::{self, SealKey};
use crate::lock::{Lock, NoEngine, Pins, Resolve, Wishes};
use crate::own_checks::add_discovered;
use crate::plan::trust::{Ask, Trusted};
use crate::plan::{Check, Image, Images, Plan, Work};
use crate::run::cancel::Interrupt;
use crate::run::sources::Sources;
use crate::run::{self, Options, Session};
use crate::scope::{Scope, Strange};
use crate::session::choice::{self, Choice, Wish, choose};
use crate::session::engines::Engines;
#[cfg(all(feature = "dagger", unix))]
use crate::session::engines::{Answers, Containers};
use crate::session::{Failure, Listener};
use crate::snapshot::Snapshot;
use crate::snapshot::staged::{Staging, Stamp};
use crate::store::Store;
use crate::tool::discovered::Discovered;
use crate::tool::{Tools, is_on_path};
use crate::visible::Shown as _;

/// Whether this build supports containers.
const CONTAINERS: bool = cfg!(all(feature = "dagger", unix));

/// The configuration that is a file of its own.
const CONFIG: &str = "dagcache.toml";

/// Shorter keys could be guessed.
const SHORTEST_KEY: usize = 16;

/// How often planning is retried if files change.
const TRIES: usize = 3;

/// Provided by the caller.
#[derive(Clone, Copy)]
pub(crate) struct Host<'a> {
    /// The user's environment without variables that git sets for hooks.
    pub(crate) env: &'a Env,
    /// The engine named by the user.
    pub(crate) engine: Option<EngineKind>,
    /// Whether nothing is written to the store.
    pub(crate) reads_only: bool,
    /// Start of the process.
    pub(crate) started: (Instant, SystemTime),
    /// Receives urgent messages.
    pub(crate) listener: &'a dyn Listener,
    /// Whether to accept all that the repository asks for.
    pub(crate) trusts: bool,
    /// Folders on PATH that are ignored, because other users can write there.
    pub(crate) strange_path: &'a [PathBuf],
}

/// The parts of a project that do not depend on a snapshot.
pub(crate) struct Project<'a> {
    pub(crate) root: PathBuf,
    /// Its id in the store.
    pub(crate) id: String,
    pub(crate) store: Store,
    /// Who else may know results.
    sources: Sources,
    /// What runs checks.
    pub(crate) engines: Engines,
    /// Whether the user stopped the run; owns the asynchronous runtime, which starts on first use.
    pub(crate) interrupt: Interrupt,
    /// Which files to use.
    pub(crate) files: Files,
    /// Provided by the caller.
    pub(crate) host: Host<'a>,
    /// What the user accepted of its configuration.
    pub(crate) trusted: Trusted,
    /// Names of the secrets of its checks.
    secrets: RefCell<Vec<String>>,
    facts: Arc<Facts>,
    tools: Arc<Tools>,
    /// Undeclared programs that checks turned out to need.
    pub(crate) discovered: Discovered,
}

/// Which files to use.
pub(crate) enum Files {
    WorkTree,
    /// Staged files.
    Staged(Staging),
    /// Files of a commit.
    Commit(Staging, String),
}

/// A view of the project at one moment.
pub(crate) struct View {
    pub(crate) snapshot: Snapshot,
    pub(crate) loaded: Loaded,
    /// The engine it is planned for.
    pub(crate) choice: Choice,
    pub(crate) plan: Plan,
}

/// The images needed by containers.
pub(crate) struct Needed {
    /// The platform of containers.
    pub(crate) platform: String,
    /// The images and their current digests.
    pub(crate) used: Vec<Image>,
    pub(crate) plan: Plan,
    pub(crate) locked: Lock,
}

impl<'a> Project<'a> {
    /// Opens the store of the project at `root`.
    pub(crate) fn open(
        host: Host<'a>,
        cache_dir: Option<&Path>,
        root: PathBuf,
        files: Files,
    ) -> Result<Self, Failure> {
        let id = id_of(&root);
        let waiting = || host.listener.waiting();
        let opened = match host.reads_only {
            true => Store::for_reading(cache_dir, &waiting),
            false => Store::open_or_fallback(cache_dir, &waiting),
        };
        let (store, warning) = opened.map_err(anyhow::Error::from)?;
        if let Some(warning) = warning {
            host.listener.warning(&warning);
        }
        let memo = store.memo_folder();
        let facts = Arc::new(Facts::load(&memo.join(format!("facts-{id}"))));
        let tools = Arc::new(Tools::new(host.env, &memo));
        let local = LocalEngine::new(dirs(&store), &id).confining(confine::Host {
            launcher: launcher()?,
            project: root.clone(),
            store: store.base().to_path_buf(),
            home: host.env.path(env::HOME),
        });
        let trusted = Trusted {
            all: host.trusts,
            digests: store.trusted(&id),
        };
        Ok(Self {
            root,
            trusted,
            secrets: RefCell::default(),
            store,
            sources: Vec::new(),
            engines: Engines::new(local),
            interrupt: Interrupt::new(),
            files,
            host,
            facts,
            tools,
            discovered: Discovered::load(&memo, &id),
            id,
        })
    }

    /// Takes a snapshot, reads the configuration and plans. Retries if a file was edited at the same time.
    pub(crate) fn look(&self) -> Result<View, Failure> {
        self.look_at(&self.files)
    }

    /// Like [`Project::look`], for other files.
    pub(crate) fn look_at(&self, files: &Files) -> Result<View, Failure> {
        let mut snapshot = self.snapshot_of(files)?;
        for _ in 1..TRIES {
            let looked = self.view(snapshot);
            // A file that is edited meanwhile fails the plan, or leaves a check that cannot run.
            let before = match &looked {
                Ok(view) if view.plan.checks.iter().all(|check| check.work.can_run()) => {
                    return looked.map_err(|refused| refused.1);
                }
                Ok(view) => &view.snapshot,
                Err(refused) => &refused.0,
            };
            let now = self.snapshot_of(files)?;
            if now.entries() == before.entries() {
                return looked.map_err(|refused| refused.1);
            }
            snapshot = now;
        }
        self.view(snapshot).map_err(|refused| refused.1)
    }

    /// The state of the index, if something else may be staged later.
    #[must_use]
    pub(crate) fn stamp(&self) -> Option<Stamp> {
        match &self.files {
            Files::Staged(staging) => staging.stamp(),
            Files::WorkTree | Files::Commit(..) => None,
        }
    }

    /// What to say of a configuration in the work tree that is not the staged one.
    pub(crate) fn not_staged(&self, view: &View) -> Option<String> {
        if !matches!(self.files, Files::Staged(_)) {
            return None;
        }
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).replace("\r\n", "\n");
        let here = text(crate::fs::read(self.root.join(CONFIG)).ok()?);
        match view.snapshot.find(CONFIG) {
            None => Some(format!(
                "{CONFIG} is not staged, so the hook does without it"
            )),
            Some(id) => {
                let staged = text(view.snapshot.read(id).ok()?);
                (staged != here).then(|| {
                    format!("{CONFIG} has edits that are not staged; the hook uses what is staged")
                })
            }
        }
    }

    /// Takes a snapshot.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub(crate) fn snapshot(&self) -> Result<Snapshot, Failure> {
        self.snapshot_of(&self.files)
    }

    fn snapshot_of(&self, files: &Files) -> Result<Snapshot, Failure> {
        let memo = self.store.memo_folder();
        let snapshot = match files {
            Files::WorkTree => Snapshot::take(&self.root, &memo, self.host.env),
            Files::Staged(staging) => Snapshot::staged(&self.root, staging, &memo),
            Files::Commit(staging, commit) => {
                Snapshot::committed(&self.root, staging, commit, &memo)
            }
        };
        Ok(snapshot.with_context(|| format!("cannot read the project {}", self.root.shown()))?)
    }

    /// Builds the view of a snapshot. Returns the snapshot if that fails.
    fn view(&self, snapshot: Snapshot) -> Result<View, Box<(Snapshot, Failure)>> {
        let planned = || {
            let loaded = config::load(&snapshot).map_err(|error| config_failure(&error))?;
            let choice = available(self.choice(&loaded.config)?)?;
            let mut choice = self.engines.settled(choice);
            let mut plan = self.plan(&snapshot, &loaded, &choice)?;
            if let Some(why) = self.engines.lost().filter(|_| choice.dagger.is_some()) {
                // The engine was lost while being queried.
                if !choice.fixed {
                    self.host.listener.engine_lost(why);
                    choice = self.engines.settled(choice);
                    plan = self.plan(&snapshot, &loaded, &choice)?;
                }
            }
            Ok((loaded, choice, plan))
        };
        match planned() {
            Ok((loaded, choice, plan)) => Ok(View {
                snapshot,
                loaded,
                choice,
                plan,
            }),
            Err(failure) => Err(Box::new((snapshot, failure))),
        }
    }

    /// The engine for this configuration.
    pub(crate) fn choice(&self, config: &Config) -> Result<Choice, Failure> {
        let env = self.host.env;
        let secrets = config
            .checks
            .values()
            .filter_map(|check| check.secrets.clone());
        self.secrets.replace(secrets.flatten().collect());
        let ask = config::of_engine(config);
        let wish = Wish {
            typed: self.host.engine,
            configured: config.engine.kind,
            runner_host: env.var(env::DAGGER_RUNNER_HOST),
            address: config.engine.address.as_deref(),
            refused: ask
                .filter(|ask| !self.trusted.covers(ask))
                .map(|ask| ask.refusal()),
        };
        let host = choice::Host {
            exists: &Path::exists,
            has_program: &|| is_on_path(env, "dagger"),
        };
        let limit = env.var(env::DAGCACHE_DAGGER_TIMEOUT);
        if let Some(limit) = limit.filter(|limit| humantime::parse_duration(limit).is_err()) {
            let name = env::DAGCACHE_DAGGER_TIMEOUT;
            return Err(Failure::usage(format!(
                "`{name}={limit}` is not a duration, such as `30s` or `2m`"
            )));
        }
        choose(&wish, &host).map_err(|message| Failure::CouldNotRun(anyhow!(message)))
    }

    /// The chosen engine.
    #[must_use]
    pub(crate) fn engine(&self, choice: &Choice) -> &dyn Engine {
        self.containers(choice);
        self.engines.of(choice)
    }

    /// Containers, if chosen; does not connect them.
    #[cfg(all(feature = "dagger", unix))]
    pub(crate) fn containers(&self, choice: &Choice) -> Option<&Containers> {
        let address = choice.dagger.as_ref()?;
        let make = || {
            let generations = self.store.generations(&self.id).into_iter().collect();
            Containers::new(
                address.clone(),
                (self.root.clone(), self.store.folder("rooms").join(&self.id)),
                generations,
                self.host.env.clone(),
                self.secrets.borrow().clone(),
                (self.facts.clone(), self.tools.clone()),
            )
        };
        Some(self.engines.containers.get_or_init(make))
    }

    #[cfg(not(all(feature = "dagger", unix)))]
    fn containers(&self, _: &Choice) -> Option<()> {
        None
    }

    /// Closes connections.
    pub(crate) fn close(&self) {
        #[cfg(all(feature = "dagger", unix))]
        if let Some(containers) = self.engines.containers.get() {
            containers.close(&self.interrupt);
        }
    }

    /// Plans for the chosen engine. Planning for containers may query it about images.
    fn plan(&self, snapshot: &Snapshot, loaded: &Loaded, choice: &Choice) -> Result<Plan, Failure> {
        if choice.dagger.is_none() {
            let mut plan = self.planned(snapshot, loaded, None)?;
            if choice.refused {
                let ask = plan.asks.iter().find(|ask| ask.check.is_none());
                plan.warnings.extend(ask.map(Ask::refusal));
            }
            return Ok(plan);
        }
        let locked = Lock::of(snapshot).map_err(Failure::usage)?;
        let resolver = self.resolver(choice, snapshot);
        let (facts, tools, root) = (&self.facts, &self.tools, &self.root);
        let wishes = Wishes::of(&loaded.config);
        let pins = Pins::new(&locked, facts, tools, root, resolver.as_ref(), wishes);
        let mut plan = self.planned(snapshot, loaded, Some(&pins))?;
        plan.warnings.extend(pins.warning());
        Ok(plan)
    }

    fn planned(
        &self,
        snapshot: &Snapshot,
        loaded: &Loaded,
        images: Option<&dyn Images>,
    ) -> Result<Plan, Failure> {
        let config = &loaded.config;
        let excluded = config.excluded(snapshot);
        let scope = Scope {
            snapshot,
            excluded: &excluded,
            facts: &self.facts,
            tools: &self.tools,
            env: self.host.env,
            secrets_baseline: config.secrets_baseline(),
            strange: Strange::default(),
            trusted: self.trusted.clone(),
            images,
        };
        let mut plan =
            discover::plan(&scope, config).map_err(|error| Failure::usage(error.message))?;
        for check in &mut plan.checks {
            let programs = self.discovered.of(&check.id);
            if !programs.is_empty() {
                add_discovered(check, programs, &scope);
            }
        }
        self.refuse(&mut plan, config::asks(loaded, snapshot));
        self.seal(&mut plan)?;
        Ok(plan)
    }

    /// Checks that ask for what the user did not accept cannot run.
    fn refuse(&self, plan: &mut Plan, asks: Vec<Ask>) {
        for ask in asks.iter().filter(|ask| !self.trusted.covers(ask)) {
            let mut checks = plan.checks.iter_mut();
            if let Some(check) = checks.find(|check| Some(&check.id) == ask.check.as_ref()) {
                check.work = Work::Missing(ask.refusal());
            }
        }
        plan.asks.splice(0..0, asks);
    }

    /// Plans for containers and returns the images they need; runs nothing. With `again`, resolves all images, and
    /// every lockfile that is resolved for the project, again.
    pub(crate) fn images(&self, again: bool) -> Result<Needed, Failure> {
        let snapshot = self.snapshot()?;
        let loaded = config::load(&snapshot).map_err(|error| config_failure(&error))?;
        let config = &loaded.config;
        let locked = Lock::of(&snapshot).map_err(Failure::usage)?;
        let unpinned = Lock::default();
        if again {
            Pins::ask_again(&self.facts);
            self.facts.renew(RESOLVED_LOCKFILE);
        }
        let choice = available(self.choice(config)?)?;
        let resolver = self.resolver(&choice, &snapshot);
        let pins = Pins::new(
            if again { &unpinned } else { &locked },
            &self.facts,
            &self.tools,
            &self.root,
            resolver.as_ref(),
            Wishes::of(config),
        );
        let plan = self.planned(&snapshot, &loaded, Some(&pins))?;
        let used = pins
            .used()
            .map_err(|why| Failure::CouldNotRun(anyhow::anyhow!(why)))?;
        Ok(Needed {
            platform: pins.platform.clone(),
            used,
            plan,
            locked,
        })
    }

    /// Who resolves images.
    fn resolver<'s>(&'s self, choice: &Choice, snapshot: &'s Snapshot) -> Box<dyn Resolve + 's> {
        if self.host.reads_only {
            let why = "a dry run does not connect to an engine".to_owned();
            return Box::new(NoEngine { why });
        }
        #[cfg(all(feature = "dagger", unix))]
        if let Some(containers) = self.containers(choice) {
            return Box::new(Answers {
                engines: &self.engines,
                containers,
                interrupt: &self.interrupt,
                snapshot,
            });
        }
        let _ = snapshot;
        Box::new(NoEngine {
            why: format!("no Dagger engine is available: {}", choice.why),
        })
    }

    /// Seals the secrets of a plan with the team's key or the store's own.
    fn seal(&self, plan: &mut Plan) -> Result<(), Failure> {
        let team = self.host.env.var_os(DAGCACHE_TEAM_KEY);
        let team = team.filter(|key| !key.is_empty());
        if team.is_some_and(|key| key.len() < SHORTEST_KEY) {
            return Err(Failure::usage(format!(
                "{DAGCACHE_TEAM_KEY} is shorter than {SHORTEST_KEY} characters, so secrets could be guessed from keys"
            )));
        }
        let mut failed = None;
        secret::seal(plan, self.host.env, || match team {
            Some(key) => SealKey {
                bytes: key.as_encoded_bytes().to_vec(),
                shared: true,
            },
            None => SealKey {
                bytes: self.store.secret_key().unwrap_or_else(|error| {
                    failed = Some(error);
                    Vec::new()
                }),
                shared: false,
            },
        });
        match failed {
            Some(error) => Err(anyhow::Error::from(error)
                .context("cannot create a key for secrets")
                .into()),
            None => Ok(()),
        }
    }

    /// Saves facts found while planning. If that fails, it only costs time.
    pub(crate) fn remember(&self) {
        if self.store.writable() {
            let _ = self.facts.save();
            let _ = self.tools.save();
            let _ = self.discovered.save();
        }
    }

    #[must_use]
    pub(crate) fn run<'s>(
        &'s self,
        view: &'s View,
        checks: &[&Check],
        options: Options,
        sink: &'s dyn Emit,
    ) -> run::Outcome {
        run::run(&self.session(view, options, sink), checks)
    }

    /// The context of a run.
    #[must_use]
    pub(crate) fn session<'s>(
        &'s self,
        view: &'s View,
        options: Options,
        sink: &'s dyn Emit,
    ) -> Session<'s> {
        Session {
            plan: &view.plan,
            snapshot: &view.snapshot,
            env: self.host.env,
            facts: &self.facts,
            tools: &self.tools,
            discovered: &self.discovered,
            engine: self.engine(&view.choice),
            store: &self.store,
            sources: &self.sources,
            project: &self.id,
            started: self.host.started.1,
            options,
            sink,
            interrupt: &self.interrupt,
        }
    }
}

/// Id of a project in the store, which selects its memo, rooms and last keys.
fn id_of(root: &Path) -> String {
    Digest::of(root.as_os_str().as_encoded_bytes()).short()
}

/// The path of this program, which also serves as launcher: on Linux even if its file was replaced.
fn launcher() -> Result<PathBuf, Failure> {
    if cfg!(target_os = "linux") {
        return Ok(PathBuf::from("/proc/self/exe"));
    }
    Ok(std::env::current_exe().context("cannot find the path of this program")?)
}

/// The directories of a store that the engine uses.
pub(crate) fn dirs(store: &Store) -> Dirs {
    Dirs {
        rooms: store.folder("rooms"),
        layers: store.folder("layers"),
        locks: store.folder("locks"),
    }
}

/// An error in the configuration.
#[must_use]
pub(crate) fn config_failure(error: &ConfigError) -> Failure {
    let text = error.render(false);
    // The shell adds its own `error:` prefix.
    Failure::usage(text.strip_prefix("error: ").unwrap_or(&text))
}

/// Rejects an engine that this build does not support.
fn available(choice: Choice) -> Result<Choice, Failure> {
    match (&choice.dagger, choice.fixed) {
        (Some(_), true) if !CONTAINERS => Err(Failure::CouldNotRun(anyhow!(
            "this build of cargo-dagcache does not support Dagger; use --engine local"
        ))),
        (Some(_), false) if !CONTAINERS => {
            Ok(Choice::local(false, "this build does not support Dagger"))
        }
        _ => Ok(choice),
    }
}
