//! `cache clear`: forgetting everything, the results of some checks, or some layers with what stands on them.

use crate::cli::commands::cache::{folder, size, unknown};
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::key::layer_key;
use crate::plan::{Build, Layer, Plan};
use crate::report::shell::Tone;
use crate::session::Listener as _;
use crate::store::Store;
use crate::store::clear::Target;
use crate::visible::Shown as _;

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
    let waiting = || context.waiting();
    let store = match targets {
        [] => Store::open_to_clear(&dir, &waiting),
        _ => Store::open_exclusive(&dir, &waiting),
    };
    let store = store.map_err(anyhow::Error::from)?;
    let plan = store.plan_clear(&named.targets, &crate::room::is_in_use);
    store.apply_clear(&plan).map_err(anyhow::Error::from)?;
    let message = format!("{} from {}", size(plan.size), store.base().shown());
    context.shell.status(Tone::Good, "Cleared", &message);
    let kept = named.layers.iter().chain(&named.checks);
    if kept.clone().next().is_some() {
        store
            .raise_generations(&named.project, kept.map(String::as_str))
            .map_err(anyhow::Error::from)?;
    }
    if !named.layers.is_empty() {
        let message = format!(
            "{}: the Dagger engine will rebuild them",
            named.layers.join(", ")
        );
        context.shell.status(Tone::Good, "Cleared", &message);
    }
    Ok(Exit::Passed)
}

/// What was named.
#[derive(Default)]
struct Named {
    project: String,
    targets: Vec<Target>,
    /// Layers in the engine's own cache, which it has to rebuild.
    layers: Vec<String>,
    /// Checks with results in the engine's own cache.
    checks: Vec<String>,
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
            #[cfg(all(feature = "dagger", unix))]
            if view.choice.dagger.is_some() {
                named
                    .checks
                    .push(crate::engine::dagger::check::of_check(name));
            }
            continue;
        }
        let (layers, checks) = standing_on(&view.plan, name)?;
        let keys = layers.iter().map(|layer| layer_key(&view.plan, layer));
        named.targets.push(Target::Layers(keys.collect()));
        named.targets.extend(checks.into_iter().map(Target::Check));
        if view.choice.dagger.is_some() {
            // An image is as its registry has it.
            let built = layers
                .iter()
                .filter(|layer| matches!(layer.build, Build::Script(_)));
            named.layers.extend(built.map(|layer| layer.name.clone()));
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
