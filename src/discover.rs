//! What is this project: from a snapshot and its configuration to the whole plan.
//!
//! Runs the catalogue of ecosystems, adds the checks of the configuration, applies overrides and puts everything in
//! the order of reports. Stays free of selection: what a command runs is chosen afterwards.

use std::path::Path;

use crate::config::Config;
use crate::ecosystem::{self, PlanError, Scope, custom};
use crate::path::RelPath;
use crate::plan::{Build, Check, Layer, LayerKind, Plan, Work};

/// Plans all checks of a project.
///
/// # Errors
/// If something the user wrote (a manifest, a lockfile, a check) cannot be planned with.
pub fn plan(scope: &Scope<'_>, config: &Config) -> Result<Plan, PlanError> {
    let mut plan = Plan {
        layers: vec![base()],
        ..Plan::default()
    };
    for planner in ecosystem::CATALOGUE {
        planner(scope, &mut plan)?;
    }
    custom::plan(scope, config, &mut plan)?;
    for check in &mut plan.checks {
        if check.not_cached.is_none() {
            check.not_cached = unseen(scope, check);
        }
        debug_assert!(check.inputs.shared.is_sorted(), "{}", check.id);
    }
    plan.checks.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(plan)
}

/// The host as base layer. Its key holds what the same program could behave differently on.
fn base() -> Layer {
    let parts = [
        ("os", std::env::consts::OS),
        ("arch", std::env::consts::ARCH),
        ("libc", libc()),
    ];
    Layer {
        name: "base".to_owned(),
        kind: LayerKind::Base,
        on: Vec::new(),
        parts: parts
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        build: Build::Present,
    }
}

/// The C library of the host, by its dynamic loader.
#[must_use]
pub fn libc() -> &'static str {
    if !cfg!(target_os = "linux") {
        return "system";
    }
    let musl = format!("/lib/ld-musl-{}.so.1", std::env::consts::ARCH);
    if Path::new(&musl).exists() {
        "musl"
    } else {
        "gnu"
    }
}

/// Why a check's result must not be stored: it would see an entry the snapshot cannot hold. A check that works file
/// by file, or in process, sees only the files it names.
fn unseen(scope: &Scope<'_>, check: &Check) -> Option<String> {
    if check.inputs.parts.is_some() || !matches!(check.work, Work::Command(_)) {
        return None;
    }
    let odd = scope
        .snapshot
        .odd()
        .iter()
        .find(|odd| sees_folder(scope, check, &odd.dir))?;
    Some(format!("{} {}", odd.display, odd.reason))
}

/// Whether every file of that folder is among the shared inputs: then it is a folder that is seen, not some of its
/// files.
fn sees_folder(scope: &Scope<'_>, check: &Check, dir: &RelPath) -> bool {
    let mut files = scope.snapshot.below(dir);
    files.all(|id| check.inputs.shared.binary_search(&id).is_ok())
}
