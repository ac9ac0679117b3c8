//! `cache verify`: reading everything again; what is damaged goes to the quarantine.

use std::time::Instant;

use serde_json::json;

use crate::cli::commands::cache::{below, folder, sized, usize};
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::engine::local::inspect;
use crate::report::shell::Tone;
use crate::report::text;
use crate::session::Listener as _;
use crate::session::project::dirs;
use crate::store::Store;
use crate::store::verify::Damaged;
use crate::visible::Shown as _;

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
    let unmoved = set_aside(context, &store, &verified.damaged);
    let took = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    if context.is_json() {
        let one = |damaged: &Damaged| json!({ "path": below(&store, &damaged.path), "reason": damaged.reason });
        let value = json!({
            "reason": "cache-verified", "format": 1,
            "path": store.base().to_string_lossy().into_owned(),
            "entries": verified.entries, "blobs": verified.blobs,
            "rooms": inspected.rooms, "layers": inspected.layers,
            "read": sized(verified.read), "debris": sized(verified.debris),
            "other_format": verified.foreign, "duration_ms": took,
            "damaged": verified.damaged.iter().map(one).collect::<Vec<_>>(),
        });
        context.shell.json(&value);
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
    store.folder("quarantine").shown().to_string()
}

/// Moves what is damaged to the quarantine. Returns how much could not be moved.
fn set_aside(context: &Context<'_>, store: &Store, all: &[Damaged]) -> usize {
    let mut unmoved = 0;
    for damaged in all {
        let moved = store.set_aside(&damaged.path, &damaged.reason);
        unmoved += usize::from(moved.is_err());
        let then = moved.map_or_else(
            |error| format!("cannot quarantine it: {error}"),
            |()| "quarantined".to_owned(),
        );
        let path = below(store, &damaged.path);
        let message = format!("{path}: {}; {then}", damaged.reason);
        context.shell.status(Tone::Bad, "Damaged", &message);
    }
    unmoved
}
