//! `cache warm`: building layers ahead.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cli::commands::cache::unknown;
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::engine::{Engine, EngineError, Prepare};
use crate::env::Env;
use crate::key::with_keys;
use crate::plan::{Layer, Plan, Work};
use crate::report::shell::Tone;
use crate::report::{Verbosity, text};
use crate::run::cancel::Interrupt;
use crate::session::{Project, View};

/// Builds layers ahead of time: all that checks use, or those of a name or kind, with the layers below them.
pub(crate) fn warm(context: &Context<'_>, name: Option<&str>) -> Result<Exit, Failure> {
    let begun = Instant::now();
    let project = context.open()?;
    let view = project.look()?;
    let chains = chains(&view.plan, name)?;
    let json = context.is_json();
    let say = |tone, verb, message: &str| {
        if !json && context.shell.verbosity() > Verbosity::Quiet {
            context.shell.status(tone, verb, message);
        }
    };
    for warning in view.loaded.warnings.iter().chain(&view.plan.warnings) {
        context.shell.warning(warning);
    }
    if view.choice.dagger.is_some() {
        say(Tone::Note, "Engine", &view.choice.to_string());
    }
    let warming = Warming {
        view: &view,
        env: &context.env,
        engine: project.engine(&view.choice),
        interrupt: &project.interrupt,
        queue: Mutex::new(chains.into()),
        done: Mutex::default(),
        said: &|layer, built| match built {
            Some(took) => say(
                Tone::Good,
                "Built",
                &format!("layer {layer} in {}", text::duration(millis(took))),
            ),
            None => say(Tone::Good, "Fresh", &format!("layer {layer}")),
        },
    };
    warming.run(std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    let Done { layers, mut failed } = lock(&warming.done, std::mem::take);
    failed.extend(unplanned(&project, &view, name));
    project.remember();
    project.close();
    let built = layers.values().filter(|built| built.is_some()).count();
    let took = millis(begun.elapsed());
    if json {
        let engine = view.choice.class();
        context
            .shell
            .json(&warmed_json(engine, &layers, &failed, took));
    }
    if let Some(signal) = project.interrupt.signal() {
        return Ok(Exit::Interrupted(signal));
    }
    for message in &failed {
        context.shell.error(message);
    }
    if !failed.is_empty() {
        return Ok(Exit::CouldNotRun);
    }
    let all = text::count(layers.len(), "layer", "layers");
    let line = format!("{all}, {built} built in {}", text::duration(took));
    say(Tone::Good, "Warmed", &line);
    Ok(Exit::Passed)
}

fn warmed_json(
    engine: &str,
    layers: &BTreeMap<String, Option<Duration>>,
    failed: &BTreeSet<String>,
    took: u64,
) -> Value {
    let one = |(name, built): (&String, &Option<Duration>)| json!({ "name": name, "built": built.is_some(), "duration_ms": built.map_or(0, millis) });
    let value = json!({
        "reason": "cache-warmed", "format": 1, "engine": engine,
        "layers": layers.iter().map(one).collect::<Vec<_>>(),
        "errors": failed, "duration_ms": took,
    });
    value
}

/// Why layers that were asked for are not even in the plan: their image or engine cannot be had.
fn unplanned(project: &Project<'_>, view: &View, name: Option<&str>) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    if view.choice.dagger.is_some() && name.is_none() {
        let checks = view.plan.checks.iter();
        all.extend(checks.filter_map(|check| match &check.work {
            Work::Missing(message) => Some(message.clone()),
            _ => None,
        }));
    }
    if let Some(why) = project.engines.lost().filter(|_| all.is_empty()) {
        all.insert(match view.choice.dagger {
            Some(_) => why.to_owned(),
            None => format!("no layer of containers was built: {why}"),
        });
    }
    all
}

/// The requested layers, each as a chain from the lowest one.
fn chains<'p>(plan: &'p Plan, name: Option<&str>) -> Result<Vec<Vec<&'p Layer>>, Failure> {
    let is_named =
        |layer: &&Layer| name.is_none_or(|name| layer.name == name || layer.kind.as_str() == name);
    if let Some(name) = name.filter(|_| !plan.layers.iter().any(|layer| is_named(&layer))) {
        return Err(unknown(plan, name, "layer", std::iter::empty()));
    }
    let mut chains: Vec<Vec<&Layer>> = Vec::new();
    for check in &plan.checks {
        let all = check.layers.iter().filter_map(|name| plan.layer(name));
        let mut chain: Vec<&Layer> = all.collect();
        // Ends with the last requested layer.
        let wanted = chain.iter().rposition(is_named);
        chain.truncate(wanted.map_or(0, |last| last + 1));
        let names = |chain: &[&Layer]| -> Vec<String> {
            chain.iter().map(|layer| layer.name.clone()).collect()
        };
        let known = chains
            .iter()
            .any(|other| names(other).starts_with(&names(&chain)));
        if !known {
            chains.push(chain);
        }
    }
    Ok(chains)
}

/// The outcome of building layers.
#[derive(Default)]
struct Done {
    /// Build times by name, for those that were built.
    layers: BTreeMap<String, Option<Duration>>,
    failed: BTreeSet<String>,
}

/// Layers being built in parallel.
struct Warming<'a> {
    view: &'a View,
    env: &'a Env,
    engine: &'a dyn Engine,
    interrupt: &'a Interrupt,
    queue: Mutex<VecDeque<Vec<&'a Layer>>>,
    done: Mutex<Done>,
    said: &'a (dyn Fn(&str, Option<Duration>) + Sync),
}

impl<'a> Warming<'a> {
    fn run(&self, jobs: usize) {
        let work = || {
            while let Some(chain) = lock(&self.queue, VecDeque::pop_front) {
                if !self.interrupt.is_set() {
                    self.one(&chain);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..jobs {
                // If the system refuses more threads, the existing ones do all the work.
                let _ = std::thread::Builder::new().spawn_scoped(scope, work);
            }
            work();
        });
    }

    fn one(&self, chain: &[&'a Layer]) {
        let layers = with_keys(&self.view.plan, chain.iter().copied());
        let request = Prepare {
            layers: &layers,
            snapshot: &self.view.snapshot,
            env: self.env,
            force: false,
        };
        let prepared = self
            .interrupt
            .block_on(self.engine.prepare(&request, self.interrupt.token()));
        let prepared = match prepared {
            Err(error) => Err(format!("cannot start a thread: {error}")),
            Ok(Err(EngineError::Cancelled)) => return,
            Ok(Err(error)) => Err(format!("{:#}", anyhow::Error::new(error))),
            Ok(Ok(prepared)) => Ok(prepared),
        };
        lock(&self.done, |done| match prepared {
            Err(message) => {
                done.failed.insert(message);
            }
            Ok(prepared) => {
                for layer in prepared {
                    let known = done.layers.get(&layer.layer).copied();
                    if known.is_none() || (known == Some(None) && layer.built.is_some()) {
                        (self.said)(&layer.layer, layer.built);
                        done.layers.insert(layer.layer, layer.built);
                    }
                }
            }
        });
    }
}

fn lock<T, R>(mutex: &Mutex<T>, with: impl FnOnce(&mut T) -> R) -> R {
    with(&mut mutex.lock().unwrap_or_else(PoisonError::into_inner))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
