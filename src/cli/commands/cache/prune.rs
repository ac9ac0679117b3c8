//! `cache prune`: deleting what nobody needs, and then what is worth least; or having the Dagger engine do so.

use std::time::SystemTime;

use bytesize::ByteSize;
use serde_json::{Value, json};

use crate::cli::commands::cache::of_engine::pruned;
use crate::cli::commands::cache::{below, configured, folder, size, sized};
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::config::Config;
use crate::report::shell::Tone;
use crate::room;
use crate::session::Listener as _;
use crate::store::Store;
use crate::store::prune::{Group, Policy, PrunePlan, limit};
use crate::visible::Shown as _;

/// Prunes what nothing needs, and then the least valuable results until the store is small enough. Shows the plan
/// first.
pub(crate) fn prune(
    context: &Context<'_>,
    max_size: Option<ByteSize>,
    dry_run: bool,
) -> Result<Exit, Failure> {
    let dir = folder(context)?;
    let max_bytes = match max_size {
        Some(size) => size.as_u64(),
        None => limit(&context.env).map_err(Failure::usage)?,
    };
    let waiting = || context.waiting();
    let (store, warning) = match dry_run {
        true => Store::for_reading(Some(&dir), &waiting),
        false => Store::open_exclusive(&dir, &waiting).map(|store| (store, None)),
    }
    .map_err(anyhow::Error::from)?;
    if let Some(warning) = warning {
        context.shell.warning(&warning);
    }
    let plan = store.plan_prune(&Policy {
        max_bytes,
        now: SystemTime::now(),
        room_in_use: &room::is_in_use,
    });
    let verb = if dry_run { "Would prune" } else { "Pruning" };
    for group in &plan.groups {
        let message = format!("{}: {} ({})", group.what, group.number, size(group.size));
        context.shell.status(Tone::Note, verb, &message);
        for path in group.paths() {
            context
                .shell
                .verbose(&format!("{:>12} {}", "", below(&store, path)));
        }
    }
    if context.is_json() {
        context.shell.json(&prune_json(&plan, max_bytes, dry_run));
    }
    if !dry_run {
        store.apply_prune(&plan).map_err(anyhow::Error::from)?;
    }
    let freed = plan.before.bytes.saturating_sub(plan.after.bytes);
    let left = format!(
        "{} of at most {} in {}",
        ByteSize(plan.after.bytes),
        ByteSize(max_bytes),
        store.base().shown()
    );
    let (verb, message) = match (plan.groups.is_empty(), dry_run) {
        (true, _) => ("Finished", format!("nothing to prune: {left}")),
        (_, true) => (
            "Finished",
            format!("dry run: would free {}, leaving {left}", ByteSize(freed)),
        ),
        (_, false) => ("Pruned", format!("{}, leaving {left}", ByteSize(freed))),
    };
    context.shell.status(Tone::Good, verb, &message);
    if plan.after.bytes > max_bytes {
        let message = "the rest is in use by running checks or belongs to the last runs";
        context.shell.status(Tone::Note, "Left", message);
    }
    Ok(Exit::Passed)
}

fn prune_json(plan: &PrunePlan, max_bytes: u64, dry_run: bool) -> Value {
    let group = |group: &Group| {
        json!({
            "what": group.what, "number": group.number,
            "files": group.size.files, "bytes": group.size.bytes,
        })
    };
    let value = json!({
        "reason": "cache-pruned", "format": 1, "dry_run": dry_run, "max_bytes": max_bytes,
        "before": sized(plan.before), "after": sized(plan.after),
        "groups": plan.groups.iter().map(group).collect::<Vec<_>>(),
    });
    value
}

/// Makes the engine prune what was least recently used.
pub(crate) fn prune_engine(
    context: &Context<'_>,
    max_size: Option<ByteSize>,
) -> Result<Exit, Failure> {
    let project = context.open()?;
    let config = configured(context, &project.store)?.unwrap_or_else(Config::default);
    let choice = project.choice(&config)?;
    context.shell.warning(&format!(
        "the engine at {} shares its cache between all its users: their layers are pruned, too",
        choice.dagger.as_deref().unwrap_or_default()
    ));
    let (before, after) = pruned(&project, &choice, max_size.map(|size| size.as_u64()))
        .map_err(|message| Failure::CouldNotRun(anyhow::anyhow!(message)))?;
    project.remember();
    let freed = before.used.saturating_sub(after.used);
    let bound = max_size.map(|size| size.as_u64());
    if context.is_json() {
        let value = json!({
            "reason": "engine-pruned", "format": 1, "address": choice.dagger, "max_bytes": bound,
            "before": before.json(), "after": after.json(),
        });
        context.shell.json(&value);
    }
    let line = format!(
        "{}, leaving {} of {} in the engine",
        ByteSize(freed),
        ByteSize(after.used),
        ByteSize(before.used)
    );
    context.shell.status(Tone::Good, "Pruned", &line);
    if bound.is_some_and(|bound| after.used > bound) {
        let message = "the rest is in use";
        context.shell.status(Tone::Note, "Left", message);
    }
    Ok(Exit::Passed)
}
