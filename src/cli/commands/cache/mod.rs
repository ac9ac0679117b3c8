//! `cache`: what is remembered, shown, checked, built ahead, pruned and forgotten. One file per command.
//!
//! - [`of_engine`]: what the Dagger engine holds. Here: what the commands share.

mod clear;
mod of_engine;
mod prune;
mod status;
mod verify;
mod warm;

use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use serde_json::json;

use crate::cli::args::CacheCommand;
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::config::{self, Config};
use crate::plan::Plan;
use crate::report::text;
use crate::session::project::config_failure;
use crate::snapshot::Snapshot;
use crate::snapshot::dubious::dubious;
use crate::store::Store;
use crate::store::usage::Size;

/// Any of them.
pub(crate) fn cache(context: &Context<'_>, command: CacheCommand) -> Result<Exit, Failure> {
    match command {
        CacheCommand::Status { since, .. } => status::status(context, since.into()),
        CacheCommand::Clear { targets, .. } => clear::clear(context, &targets),
        CacheCommand::Warm { layer, .. } => warm::warm(context, layer.as_deref()),
        CacheCommand::Prune {
            max_size,
            of_engine: true,
            ..
        } => prune::prune_engine(context, max_size),
        CacheCommand::Prune {
            max_size, dry_run, ..
        } => prune::prune(context, max_size, dry_run),
        CacheCommand::Verify => verify::verify(context),
        CacheCommand::Keygen(_) => Err(Failure::not_yet("cache keygen")),
    }
}

/// The cache directory, or an error.
fn folder(context: &Context<'_>) -> Result<PathBuf, Failure> {
    let missing = "no cache directory: none of DAGCACHE_DIR, XDG_CACHE_HOME and HOME is set";
    context.cache_dir().ok_or_else(|| Failure::usage(missing))
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

/// The configuration, if there may be a project. Takes no snapshot of other directories.
fn configured(context: &Context<'_>, store: &Store) -> Result<Option<Config>, Failure> {
    let root = context.root()?;
    let files = ["dagcache.toml", "Cargo.toml", "pyproject.toml"];
    let any = files.iter().any(|file| root.join(file).is_file());
    if !any || dubious(&root, &context.env).is_some() {
        return Ok(None);
    }
    let snapshot = Snapshot::take(&root, &store.memo_folder(), &context.env);
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

fn sized(size: Size) -> serde_json::Value {
    json!({ "files": size.files, "bytes": size.bytes })
}

/// `1.2 KiB in 3 files`.
fn size(size: Size) -> String {
    let files = text::count(usize(size.files), "file", "files");
    format!("{} in {files}", ByteSize(size.bytes))
}

fn usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn below(store: &Store, path: &Path) -> String {
    let below = path.strip_prefix(store.base()).unwrap_or(path);
    below.to_string_lossy().into_owned()
}
