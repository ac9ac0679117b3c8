//! kustomize: finds kustomizations and plans their checks.
//!
//! - [`parse`]: a kustomization file → its references.
//! - [`graph`]: the kustomizations and the files at the paths they name.
//! - [`closure`]: what a build reads.
//! - [`refs`]: the built-in check of references.
//! - `remote`: what is fetched, and whether it can change.
//! - `output`: kustomize's errors → findings. - `program`: where kustomize and git come from.
//! - `node`: YAML with places.
//!
//! `kustomize:build:DIR` runs `kustomize build DIR` from the project root, with kustomize's default restrictions; its
//! standard output is the product. A build that fetches something may use the network. If everything fetched is
//! pinned to commits, only passes are stored (a failure may be the network's); otherwise nothing is, and the reason
//! is printed. References inside a pinned repository are assumed to be pinned as well.

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
use crate::visible;

use closure::{Closure, Fetched};
use graph::Graph;
use output::BuildErrors;
use parse::Kind;
use program::Programs;
use refs::Refs;

/// The tag of builds that no other kustomization refers to.
const OVERLAY: &str = "overlay";

/// The overlays of a plan, sorted: no other kustomization refers to them, and `generate` writes them.
#[must_use]
pub(crate) fn overlays(plan: &Plan) -> Vec<RelPath> {
    let leaves = builds(plan).filter(|(check, _)| check.tags.iter().any(|tag| tag == OVERLAY));
    leaves.map(|(_, dir)| dir).collect()
}

/// The folder meant by `--overlay NAME`: an overlay by its path or the unique last part of it, else any buildable
/// folder by its path.
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
            "--overlay {name}: this project has no kustomize overlays"
        )),
        [] => Err(format!(
            "no overlay `{name}`; overlays: {}",
            list(&overlays)
        )),
        several => Err(format!(
            "overlay `{name}` is ambiguous; use its path: {}",
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
    format!("kustomize:build:{}", visible::id(dir.display_dot()))
}

/// Adds `kustomize:build:DIR` for every kustomization except components, and `kustomize:refs` for all of them.
pub(crate) fn plan(scope: &Scope<'_>, plan: &mut Plan) -> Result<(), PlanError> {
    let graph = Graph::new(scope);
    let folders = graph.folders();
    if folders.is_empty() {
        // Nothing here needs the programs below, and identifying them means reading them.
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

/// The programs of a build, or a message if one is missing.
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
        retry: (!closure.remotes.is_empty()).then(|| Arc::new(remote::Unreachable) as Arc<_>),
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

/// Why the result is not stored: inputs that may change, or an unidentified program.
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
        "remote `{}` ({path}:{}) is not pinned to a commit, so it is fetched in every run",
        remote.target, at.line
    )
}

#[cfg(test)]
mod tests;
