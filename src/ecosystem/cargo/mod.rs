//! Cargo workspaces: `rust:fmt` and `rust:clippy`, and the names of future checks.
//!
//! - `manifests`, `ci`: which Cargo.toml files are roots. - `loading`, `links`: what cargo reads to load them.
//! - `above`: what it reads above the project root.
//! - `workspace`: the result of `cargo metadata`.
//! - `config`: configuration chains.
//! - `lock`, `deps`: external packages. - `host`: host programs that a build may call.
//! - `git`: the commit, for build scripts. - `retry`: failures that are not verdicts.
//! - `programs`: programs of the toolchain. - `container`, `skeleton`: the same for containers.
//! - `rustfmt`, [`clippy`]: the checks. - `output`, [`rustfmt_output`], [`clippy_output`]: their findings.
//!
//! A Fresh run starts no process: answers of cargo and rustc are memoised by the digests of their inputs.

mod above;
mod ci;
pub(crate) mod clippy;
pub(crate) mod clippy_output;
mod config;
mod container;
pub(crate) mod deps;
mod elsewhere;
mod git;
mod host;
mod links;
mod loading;
mod lock;
mod manifests;
mod output;
mod programs;
mod reduced;
mod refresh;
mod retry;
mod rustfmt;
pub(crate) mod rustfmt_output;
mod seed;
mod skeleton;
mod targets;
mod workspace;

use crate::catalogue;
use crate::path::RelPath;
use crate::plan::Plan;
use crate::plan::check::{Check, LONG, Work};
use crate::plan::id_at;
use crate::plan::layer::{Build, Layer, LayerKind};
use crate::plan::trust::Ask;
use crate::provision::rust::toolchain;
use crate::scope::{PlanError, Scope};
use crate::tool::rustup::Toolchain;

use clippy::Clippy;
pub(crate) use container::IN_IMAGE;
use deps::Lockfile;
use manifests::Root;
use programs::Programs;
pub(crate) use workspace::RESOLVED_LOCKFILE;
use workspace::{Workspace, Workspaces};

/// Adds the checks and layers of every Cargo workspace. An unreadable workspace is an error of its checks only.
///
/// # Errors
/// Never.
pub(crate) fn plan(scope: &Scope<'_>, plan: &mut Plan) -> Result<(), PlanError> {
    let roots = manifests::roots(scope, &mut plan.warnings);
    if roots.is_empty() {
        return Ok(());
    }
    let workspaces = Workspaces::new(scope);
    for Root { dir, broken } in roots {
        let planned = match broken {
            Some(why) => Err(why),
            None => plan_root(scope, &workspaces, plan, &dir),
        };
        if let Err(why) = planned {
            plan_missing(scope, plan, &dir, &why);
        }
    }
    Ok(())
}

/// Adds everything, or nothing and the reason.
fn plan_root(
    scope: &Scope<'_>,
    workspaces: &Workspaces<'_>,
    plan: &mut Plan,
    dir: &RelPath,
) -> Result<(), String> {
    let ask = elsewhere::ask(scope, workspaces, dir);
    let refusal = ask.as_ref().filter(|ask| !scope.trusted.covers(ask));
    let refusal = refusal.map(Ask::refusal);
    plan.asks.extend(ask);
    let toolchain = match scope.images {
        Some(_) => container::host_toolchain(scope, dir)?,
        None => toolchain(scope, dir)?,
    };
    let workspace = workspaces.read(dir, &toolchain)?;
    if workspace.members.is_empty() {
        return Ok(());
    }
    let found = Found {
        scope,
        workspaces,
        dir,
        toolchain: &toolchain,
        workspace: &workspace,
        refusal,
    };
    match scope.images {
        Some(images) => container::plan(&found, images, plan)?,
        None => found.plan(plan),
    }
    plan_later(scope, plan, dir);
    Ok(())
}

/// Checks that cannot run, all for the same reason.
fn plan_missing(scope: &Scope<'_>, plan: &mut Plan, dir: &RelPath, message: &str) {
    for id in ["rust:fmt", "rust:clippy"] {
        let work = Work::Missing(message.to_owned());
        plan.checks.push(catalogue::planned(id, dir, work));
    }
    plan_later(scope, plan, dir);
}

/// One workspace and the host's toolchain for it.
struct Found<'a> {
    scope: &'a Scope<'a>,
    workspaces: &'a Workspaces<'a>,
    dir: &'a RelPath,
    toolchain: &'a Toolchain,
    workspace: &'a Workspace,
    /// Why its packages must not be fetched, if the user did not accept where they come from.
    refusal: Option<String>,
}

impl Found<'_> {
    fn plan(&self, plan: &mut Plan) {
        let programs = Programs::Host(self.toolchain);
        let tools = tools_layer(plan, self.dir, self.toolchain);
        let (work, inputs, not_cached) = rustfmt::plan(
            self.scope,
            self.workspaces,
            programs,
            self.dir,
            self.workspace,
        );
        let fmt = catalogue::planned("rust:fmt", self.dir, work).sees(inputs);
        let layers = vec!["base".to_owned(), tools.clone()];
        plan.checks.push(fmt.on(layers).not_cached(not_cached));
        let clippy = self.clippy(plan, tools);
        plan.checks
            .push(clippy.unwrap_or_else(|why| missing_clippy(self.dir, why)));
    }

    fn clippy(&self, plan: &mut Plan, tools: String) -> Result<Check, String> {
        let lockfile = self.lockfile()?;
        let deps = deps::layer(self, &tools, &lockfile)?;
        let commit = git::commit(self.scope, self.workspace, &lockfile, self.dir);
        let mut layers = vec!["base".to_owned(), tools];
        layers.extend(deps.iter().map(|layer| layer.name.clone()));
        plan.layers.extend(deps);
        let programs = Programs::Host(self.toolchain);
        let mut check = plan_clippy(self, plan, programs, &lockfile);
        if let (Some(commit), Work::Command(command)) = (commit, &mut check.work) {
            let objects = (
                "GIT_ALTERNATE_OBJECT_DIRECTORIES".to_owned(),
                commit.objects,
            );
            command.grants.extend([objects]);
            command.laid = commit.files;
            layers.push(commit.layer.name.clone());
            if plan.layer(&commit.layer.name).is_none() {
                plan.layers.push(commit.layer);
            }
        }
        Ok(check.on(layers))
    }

    /// Resolving one, and fetching what it names, connects to places that the repository names.
    fn lockfile(&self) -> Result<Lockfile, String> {
        if let Some(refusal) = &self.refusal {
            return Err(refusal.clone());
        }
        Lockfile::find(
            self.scope,
            self.workspaces,
            self.dir,
            self.toolchain,
            self.workspace,
        )
    }
}

fn plan_clippy(
    found: &Found<'_>,
    plan: &mut Plan,
    programs: Programs<'_>,
    lockfile: &Lockfile,
) -> Check {
    let (scope, dir) = (found.scope, found.dir);
    let Some(cargo_home) = config::cargo_home(scope) else {
        let why = "cannot find cargo's home: set CARGO_HOME or HOME";
        return missing_clippy(dir, why.to_owned());
    };
    let clippy = Clippy {
        dir,
        workspace: found.workspace,
        programs,
        lockfile,
        above: found.workspaces.above(),
        cargo_home: &cargo_home,
    };
    let check = catalogue::planned("rust:clippy", dir, clippy.work(scope)).within(LONG);
    let selection = clippy.selection(scope);
    plan.warnings.extend(selection.warning(&check.id));
    check.sees(clippy.inputs(scope))
}

fn missing_clippy(dir: &RelPath, why: String) -> Check {
    catalogue::planned("rust:clippy", dir, Work::Missing(why))
}

/// Future checks: `ci` reports them, other commands do not know them.
fn plan_later(scope: &Scope<'_>, plan: &mut Plan, dir: &RelPath) {
    let deny = ["deny.toml", ".deny.toml", ".cargo/deny.toml"];
    let declared = |name: &&str| {
        dir.join(name)
            .is_ok_and(|path| scope.snapshot.find(&path).is_some())
    };
    let deny = deny.iter().any(declared).then_some("rust:deny");
    for id in ["rust:test", "rust:doc"].into_iter().chain(deny) {
        let later = Work::Unsupported("not supported yet".to_owned());
        plan.checks.push(catalogue::planned(id, dir, later));
    }
}

/// The name of a toolchain's layer, shared by workspaces with the same toolchain.
fn tools_layer(plan: &mut Plan, dir: &RelPath, toolchain: &Toolchain) -> String {
    let parts = vec![("toolchain".to_owned(), toolchain.identity.to_string())];
    let same = |layer: &&Layer| layer.name.starts_with("tools:rust") && layer.parts == parts;
    if let Some(layer) = plan.layers.iter().find(same) {
        return layer.name.clone();
    }
    let plain = "tools:rust".to_owned();
    let name = match plan.layer(&plain) {
        Some(_) => id_at(&plain, dir),
        None => plain,
    };
    plan.layers.push(Layer {
        name: name.clone(),
        kind: LayerKind::Tools,
        on: vec!["base".to_owned()],
        parts,
        build: Build::Present,
    });
    name
}
