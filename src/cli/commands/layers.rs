//! `cache clear|warm`: clears results and layers, and builds layers ahead of time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::cli::commands::upkeep::{folder, size};
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::engine::{Engine, EngineError, Prepare};
use crate::env::Env;
use crate::key::{layer_key, with_keys};
use crate::plan::{Layer, Plan};
use crate::report::shell::Tone;
use crate::report::{Verbosity, text};
use crate::run::cancel::Interrupt;
use crate::session::{Listener as _, View};
use crate::store::Store;
use crate::store::clear::Target;

/// Deletes everything, or exactly what was named.
pub(crate) fn clear(context: &Context<'_>, targets: &[String]) -> Result<Exit, Failure> {
    let dir = folder(context)?;
    let named = if targets.is_empty() {
        Named {
            targets: vec![Target::All],
            ..Named::default()
        }
    } else {
        named(context, targets)?
    };
    let store = Store::open_exclusive(&dir, &|| context.waiting()).map_err(anyhow::Error::from)?;
    let plan = store.plan_clear(&named.targets, &crate::room::is_in_use);
    store.apply_clear(&plan).map_err(anyhow::Error::from)?;
    let message = format!("{} from {}", size(plan.size), store.base().display());
    context.shell.status(Tone::Good, "Cleared", &message);
    if !named.layers.is_empty() {
        let layers = named.layers.iter().map(String::as_str);
        store
            .raise_generations(&named.project, layers)
            .map_err(anyhow::Error::from)?;
        let message = format!(
            "{}: the Dagger engine will rebuild them",
            named.layers.join(", ")
        );
        context.shell.status(Tone::Good, "Cleared", &message);
    }
    Ok(Exit::Passed)
}

#[derive(Default)]
struct Named {
    project: String,
    targets: Vec<Target>,
    /// Layers in the engine's own cache, which it has to rebuild.
    layers: Vec<String>,
}

/// What the names refer to in this project.
fn named(context: &Context<'_>, names: &[String]) -> Result<Named, Failure> {
    let project = context.open()?;
    let view = project.look()?;
    let mut named = Named {
        project: project.id.clone(),
        ..Named::default()
    };
    for name in names {
        if view.plan.check(name).is_some() {
            named.targets.push(Target::Check(name.clone()));
            continue;
        }
        let (layers, checks) = standing_on(&view.plan, name)?;
        let keys = layers.iter().map(|layer| layer_key(&view.plan, layer));
        named.targets.push(Target::Layers(keys.collect()));
        named.targets.extend(checks.into_iter().map(Target::Check));
        if view.choice.dagger.is_some() {
            let names = layers.iter().map(|layer| layer.name.clone());
            named.layers.extend(names);
        }
    }
    named.layers.sort();
    named.layers.dedup();
    project.remember();
    project.close();
    Ok(named)
}

/// The layers with this name or kind, those on top of them, and their checks.
fn standing_on<'p>(plan: &'p Plan, name: &str) -> Result<(Vec<&'p Layer>, Vec<String>), Failure> {
    let is_named = |layer: &Layer| layer.name == name || layer.kind.as_str() == name;
    let stands_on = |layers: &[String]| plan_below(plan, layers).into_iter().any(is_named);
    let layers = plan.layers.iter();
    let layers = layers.filter(|layer| is_named(layer) || stands_on(&layer.on));
    let layers: Vec<_> = layers.collect();
    if layers.is_empty() {
        let checks = plan.checks.iter().map(|check| check.id.as_str());
        return Err(unknown(plan, name, "layer or check", checks));
    }
    let checks = plan.checks.iter();
    let checks = checks.filter(|check| stands_on(&check.layers));
    let checks = checks.map(|check| check.id.clone()).collect();
    Ok((layers, checks))
}

/// These layers and all below them.
fn plan_below<'p>(plan: &'p Plan, names: &[String]) -> Vec<&'p Layer> {
    let mut below: Vec<&Layer> = names.iter().filter_map(|name| plan.layer(name)).collect();
    let mut at = 0;
    while let Some(layer) = below.get(at).copied() {
        at += 1;
        below.extend(layer.on.iter().filter_map(|name| plan.layer(name)));
    }
    below
}

fn unknown<'a>(
    plan: &'a Plan,
    name: &str,
    what: &str,
    checks: impl Iterator<Item = &'a str>,
) -> Failure {
    let layers = plan.layers.iter().map(|layer| layer.name.as_str());
    let known: Vec<&str> = layers.chain(checks).collect();
    Failure::usage(format!(
        "no {what} `{name}` in this project; known: {}",
        known.join(", ")
    ))
}

/// Builds layers ahead of time: all that checks use, or those of a name or kind, with the layers below them.
pub(crate) fn warm(context: &Context<'_>, name: Option<&str>) -> Result<Exit, Failure> {
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
    let begun = Instant::now();
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
    let Done { layers, failed } = lock(&warming.done, std::mem::take);
    project.remember();
    project.close();
    let built = layers.values().filter(|built| built.is_some()).count();
    let took = millis(begun.elapsed());
    if json {
        let one = |(name, built): (&String, &Option<Duration>)| json!({ "name": name, "built": built.is_some(), "duration_ms": built.map_or(0, millis) });
        let value = json!({
            "reason": "cache-warmed", "format": 1, "engine": view.choice.class(),
            "layers": layers.iter().map(one).collect::<Vec<_>>(),
            "errors": failed, "duration_ms": took,
        });
        context.shell.data(&format!("{value}\n"));
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
