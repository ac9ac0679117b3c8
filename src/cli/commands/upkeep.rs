//! `cache verify|prune`: keep the store intact and small.

use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use bytesize::ByteSize;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::config::{self, Config};
use crate::engine::local::inspect;
use crate::report::shell::Tone;
use crate::report::text;
use crate::room;
use crate::session::Listener as _;
use crate::session::project::{config_failure, dirs};
use crate::snapshot::Snapshot;
use crate::store::Store;
use crate::store::prune::{DEFAULT_MAX_SIZE, Group, Policy, PrunePlan};
use crate::store::usage::Size;
use crate::store::verify::Damaged;

/// The cache directory, or an error.
pub(super) fn folder(context: &Context<'_>) -> Result<PathBuf, Failure> {
    let missing = "no cache directory: none of DAGCACHE_DIR, XDG_CACHE_HOME and HOME is set";
    context.cache_dir().ok_or_else(|| Failure::usage(missing))
}

/// Verifies the whole store. Quarantines damaged files and exits with 1 if there are any.
pub(crate) fn verify(context: &Context<'_>) -> Result<Exit, Failure> {
    let begun = Instant::now();
    let dir = folder(context)?;
    let (store, warning) =
        Store::open_or_fallback(Some(&dir), &|| context.waiting()).map_err(anyhow::Error::from)?;
    if let Some(warning) = warning {
        context.shell.warning(&warning);
    }
    let mut verified = store.verify();
    let inspected = inspect::inspect(&dirs(&store));
    let others = inspected.damaged.into_iter();
    let others = others.map(|(path, reason)| Damaged { path, reason });
    verified.damaged.extend(others);
    let mut unmoved = 0;
    for damaged in &verified.damaged {
        let moved = store.set_aside(&damaged.path, &damaged.reason);
        unmoved += usize::from(moved.is_err());
        let then = moved.map_or_else(
            |error| format!("cannot quarantine it: {error}"),
            |()| "quarantined".to_owned(),
        );
        let path = below(&store, &damaged.path);
        let message = format!("{path}: {}; {then}", damaged.reason);
        context.shell.status(Tone::Bad, "Damaged", &message);
    }
    let took = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    if context.is_json() {
        let one = |damaged: &Damaged| json!({ "path": below(&store, &damaged.path), "reason": damaged.reason });
        let value = json!({
            "reason": "cache-verified", "format": 1,
            "path": store.base().display().to_string(),
            "entries": verified.entries, "blobs": verified.blobs,
            "rooms": inspected.rooms, "layers": inspected.layers,
            "read": sized(verified.read), "debris": sized(verified.debris),
            "other_format": verified.foreign, "duration_ms": took,
            "damaged": verified.damaged.iter().map(one).collect::<Vec<_>>(),
        });
        context.shell.data(&format!("{value}\n"));
    }
    let count = |number: u64, one, many| text::count(usize(number), one, many);
    let counts = [
        count(verified.entries, "entry", "entries"),
        count(verified.blobs, "blob", "blobs"),
        count(inspected.rooms, "room", "rooms"),
        count(inspected.layers, "layer", "layers"),
    ];
    let found = match verified.damaged.len() {
        0 => "no damage found".to_owned(),
        number if unmoved == 0 => format!("{number} damaged, in {}", quarantine(&store)),
        number => format!("{number} damaged, {unmoved} could not be quarantined"),
    };
    let tone = if verified.damaged.is_empty() {
        Tone::Good
    } else {
        Tone::Bad
    };
    let message = format!("{} in {}: {found}", counts.join(", "), text::duration(took));
    context.shell.status(tone, "Verified", &message);
    if verified.foreign > 0 {
        let number = count(verified.foreign, "file", "files");
        let message = format!("skipped {number} of another version of this program");
        context.shell.status(Tone::Note, "Left", &message);
    }
    if verified.damaged.is_empty() {
        Ok(Exit::Passed)
    } else {
        Ok(Exit::Failed)
    }
}

fn quarantine(store: &Store) -> String {
    store.folder("quarantine").display().to_string()
}

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
        None => bound(context)?,
    };
    let store = Store::open_exclusive(&dir, &|| context.waiting()).map_err(anyhow::Error::from)?;
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
        context.shell.data(&prune_json(&plan, max_bytes, dry_run));
    }
    if !dry_run {
        store.apply_prune(&plan).map_err(anyhow::Error::from)?;
    }
    let freed = plan.before.bytes.saturating_sub(plan.after.bytes);
    let left = format!(
        "{} of at most {} in {}",
        ByteSize(plan.after.bytes),
        ByteSize(max_bytes),
        store.base().display()
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

/// `[cache] max-size` of the project, if there is a configured one.
pub(super) fn bound(context: &Context<'_>) -> Result<u64, Failure> {
    let dir = folder(context)?;
    let store = Store::open_or_fallback(Some(&dir), &|| context.waiting());
    let (store, _) = store.map_err(anyhow::Error::from)?;
    let config = configured(context, &store)?;
    let bound = config.and_then(|config| config.cache.max_size);
    Ok(bound.unwrap_or(DEFAULT_MAX_SIZE))
}

/// The configuration, if there may be a project. Takes no snapshot of other directories.
pub(super) fn configured(context: &Context<'_>, store: &Store) -> Result<Option<Config>, Failure> {
    let root = context.root()?;
    let files = ["dagcache.toml", "Cargo.toml", "pyproject.toml"];
    if !files.iter().any(|file| root.join(file).is_file()) {
        return Ok(None);
    }
    let snapshot = Snapshot::take(&root, &store.folder("memo"), &context.env);
    let snapshot = snapshot.map_err(anyhow::Error::from)?;
    let loaded = config::load(&snapshot).map_err(|error| config_failure(&error))?;
    Ok(Some(loaded.config))
}

/// The message about a store that is too large.
pub(super) fn over_bound(size: Size, bound: u64) -> String {
    let (held, bound) = (ByteSize(size.bytes), ByteSize(bound));
    format!(
        "the cache has {held}, more than its limit of {bound}; run `cargo dagcache cache prune` to shrink it"
    )
}

fn prune_json(plan: &PrunePlan, max_bytes: u64, dry_run: bool) -> String {
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
    format!("{value}\n")
}

fn sized(size: Size) -> serde_json::Value {
    json!({ "files": size.files, "bytes": size.bytes })
}

/// `1.2 KiB in 3 files`.
pub(super) fn size(size: Size) -> String {
    let files = text::count(usize(size.files), "file", "files");
    format!("{} in {files}", ByteSize(size.bytes))
}

fn usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn below(store: &Store, path: &Path) -> String {
    let below = path.strip_prefix(store.base()).unwrap_or(path);
    below.display().to_string()
}
