//! kustomize: which kustomizations there are, and the checks on them.
//!
//! - [`parse`]: a kustomization file → what it refers to.
//! - [`graph`]: where the kustomizations are, and what is at the paths they name.
//! - [`closure`]: what a build reads.
//! - [`refs`]: whether all fits together, built in.
//! - `remote`: what is fetched, and whether it can change.
//! - `output`: kustomize's errors → findings. - `program`: where kustomize and git come from.
//! - `node`: YAML with places.
//!
//! `kustomize:build:DIR` runs `kustomize build DIR` from the project root, with kustomize's own default restrictions;
//! its standard output is the product. A build that fetches something may use the network. If all it fetches is pinned
//! to commits, only passes are stored (a failure may be the network's); else nothing is, and the reason says so. What a
//! pinned repository refers to in turn is taken to be pinned as well.

pub(crate) mod closure;
pub(crate) mod graph;
mod node;
mod output;
pub(crate) mod parse;
mod program;
pub(crate) mod refs;
mod remote;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::catalogue;
use crate::path::RelPath;
use crate::plan::{CacheMode, Check, Command, Inputs, Plan, Tool, Work};
use crate::scope::{PlanError, Scope};

use closure::{Closure, Fetched};
use graph::Graph;
use output::BuildErrors;
use parse::Kind;
use program::Programs;
use refs::Refs;

/// The tag of builds that no other kustomization refers to.
const OVERLAY: &str = "overlay";

/// The overlays of a plan, sorted: what no other kustomization refers to, and what `generate` writes.
#[must_use]
pub(crate) fn overlays(plan: &Plan) -> Vec<RelPath> {
    let leaves = builds(plan).filter(|(check, _)| check.tags.iter().any(|tag| tag == OVERLAY));
    leaves.map(|(_, dir)| dir).collect()
}

/// The folder that `--overlay NAME` means: an overlay by its path or by the unique last part of it, else any folder
/// that can be built by its path.
///
/// # Errors
/// If there is none, or more than one; the message names what there is.
pub(crate) fn resolve_overlay(plan: &Plan, name: &str) -> Result<RelPath, String> {
    let wanted = RelPath::new(name).map_err(|error| format!("--overlay {name}: {error}"))?;
    let overlays = overlays(plan);
    if overlays.contains(&wanted) {
        return Ok(wanted);
    }
    let named: Vec<&RelPath> = overlays
        .iter()
        .filter(|dir| dir.file_name() == wanted.as_str())
        .collect();
    match named.as_slice() {
        [one] => Ok((*one).clone()),
        [] if builds(plan).any(|(_, dir)| dir == wanted) => Ok(wanted),
        [] if overlays.is_empty() => Err(format!(
            "--overlay {name}: this project has no kustomize overlay"
        )),
        [] => Err(format!(
            "no overlay `{name}`; there are: {}",
            list(&overlays)
        )),
        several => Err(format!(
            "overlay `{name}` is ambiguous, name its path: {}",
            list(several)
        )),
    }
}

fn list(dirs: &[impl AsRef<str>]) -> String {
    let names: Vec<&str> = dirs.iter().map(AsRef::as_ref).collect();
    names.join(", ")
}

fn builds(plan: &Plan) -> impl Iterator<Item = (&Check, RelPath)> {
    plan.checks.iter().filter_map(|check| {
        let dir = check.id.strip_prefix("kustomize:build:")?;
        Some((check, RelPath::new(dir).ok()?))
    })
}

/// The id of the check that builds `dir`.
#[must_use]
pub(crate) fn build_id(dir: &RelPath) -> String {
    format!("kustomize:build:{dir}")
}

/// Adds `kustomize:build:DIR` for every kustomization that is no component, and `kustomize:refs` for all of them.
///
/// # Errors
/// None: what is wrong with a kustomization is for the checks to say.
pub(crate) fn plan(scope: &Scope<'_>, plan: &mut Plan) -> Result<(), PlanError> {
    let graph = Graph::new(scope);
    let folders = graph.folders();
    if folders.is_empty() {
        // Nothing here needs the programs below, and telling what they are means reading them.
        return Ok(());
    }
    let referred: BTreeSet<RelPath> = folders
        .keys()
        .flat_map(|dir| graph.children(dir))
        .map(|(dir, _)| dir)
        .collect();
    let programs = Programs::find(scope, plan);
    let mut all = Refs::default();
    let mut inputs = (BTreeSet::new(), BTreeSet::new());
    for (dir, kind) in folders.iter().filter(|(_, kind)| **kind != Kind::Foreign) {
        let closure = graph.closure(dir);
        inputs.0.extend(closure.files.iter().copied());
        inputs.1.extend(closure.outside.iter().cloned());
        all.problems.extend(closure.problems.iter().cloned());
        all.missing.extend(closure.missing.iter().cloned());
        all.resources.insert(dir.clone(), graph.resource_files(dir));
        if *kind == Kind::Kustomization {
            let mut check = build(dir, closure, &programs);
            if !referred.contains(dir) {
                check.tags.push(OVERLAY.to_owned());
            }
            plan.checks.push(check);
        }
    }
    if !all.resources.is_empty() {
        let check = catalogue::planned(refs::ID, &RelPath::root(), Work::Builtin(Arc::new(all)));
        let inputs = Inputs::whole(inputs.0).and_outside(inputs.1);
        plan.checks.push(check.sees(inputs));
    }
    Ok(())
}

fn build(dir: &RelPath, closure: Closure, programs: &Programs) -> Check {
    let files = closure.files.iter().copied();
    let inputs = Inputs::whole(files).and_outside(closure.outside.iter().cloned());
    let not_cached = not_cached(&closure, programs);
    let fetches = !closure.remotes.is_empty();
    let work = match tools(dir, &closure, programs) {
        Err(why) => Work::Missing(why),
        Ok(tools) => command(dir, closure, tools).into(),
    };
    let mut check = catalogue::planned(&build_id(dir), &RelPath::root(), work)
        .sees(inputs)
        .on(programs.layers.clone())
        .not_cached(not_cached);
    if fetches {
        check.cache = CacheMode::Passes;
    }
    check
}

/// The programs of a build; a message if one is missing.
fn tools(dir: &RelPath, closure: &Closure, programs: &Programs) -> Result<Vec<Tool>, String> {
    let file = closure.kustomizations.get(dir).unwrap_or(dir);
    let mut tools = programs.kustomize.clone().map_err(|why| {
        let declared = "kustomize is declared by";
        format!("{declared} {file} but {why}")
    })?;
    if closure.remotes.iter().any(|remote| remote.repository) {
        let git = programs.git.clone();
        tools.extend(git.map_err(|why| format!("{file} {why}"))?);
        tools.sort_by(|a, b| a.name().cmp(b.name()));
        tools.dedup_by(|a, b| a.name() == b.name());
    }
    Ok(tools)
}

fn command(dir: &RelPath, closure: Closure, tools: Vec<Tool>) -> Command {
    Command {
        network: !closure.remotes.is_empty(),
        quiet_stdout: true,
        ..Command::new(
            ["kustomize", "build", dir.display_dot()]
                .map(str::to_owned)
                .to_vec(),
            RelPath::root(),
            tools,
            Arc::new(BuildErrors {
                dir: dir.clone(),
                kustomizations: closure.kustomizations,
            }),
        )
    }
}

/// Why the result is not stored, if so: inputs that are not fixed, or a program that cannot be told.
fn not_cached(closure: &Closure, programs: &Programs) -> Option<String> {
    let unpinned = closure.remotes.iter().find(|remote| !remote.pinned);
    unpinned
        .map(changeable)
        .or_else(|| closure.unknown.clone())
        .or_else(|| programs.not_cached.clone())
}

fn changeable(remote: &Fetched) -> String {
    let (path, at) = &remote.site;
    format!(
        "remote `{}` ({path}:{}) is not pinned to a commit, so it can change: it is fetched on every run",
        remote.target, at.line
    )
}

#[cfg(test)]
mod tests;
