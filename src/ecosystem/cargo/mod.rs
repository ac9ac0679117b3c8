//! Cargo workspaces: `rust:fmt` and `rust:clippy`, and the names of the checks that come later.
//!
//! - `manifests`: which Cargo.toml files are roots. - `workspace`: what cargo says about one.
//! - `modules`, `closure`: the files rustfmt reads. - `config`: configuration chains. - `lock`, `deps`: what
//!   comes from elsewhere. - `host`: programs of the host a build may call.
//! - `retry`: failures that are no verdict. - `programs`: the toolchain's. - `container`, `skeleton`: how all this is planned for containers.
//! - `rustfmt`, [`clippy`]: the checks. - `output`, [`rustfmt_output`], [`clippy_output`]: their findings.
//!
//! A Fresh run starts no process: what cargo and rustc say is remembered under the digests of what they were told.

pub(crate) mod clippy;
pub(crate) mod clippy_output;
mod closure;
mod config;
mod container;
pub(crate) mod deps;
mod host;
mod lock;
mod manifests;
mod modules;
mod output;
mod programs;
mod refresh;
mod retry;
mod rustfmt;
pub(crate) mod rustfmt_output;
mod seed;
mod skeleton;
mod workspace;

use crate::catalogue;
use crate::path::RelPath;
use crate::plan::Plan;
use crate::plan::check::{Check, Work};
use crate::plan::id_at;
use crate::plan::layer::{Build, Layer, LayerKind};
use crate::provision::rust::toolchain;
use crate::scope::{PlanError, Scope};
use crate::tool::rustup::Toolchain;

use clippy::Clippy;
pub(crate) use container::IN_IMAGE;
use deps::Lockfile;
use programs::Programs;
pub(crate) use workspace::RESOLVED_LOCKFILE;
use workspace::{Workspace, Workspaces};

/// Adds the checks and layers of every Cargo workspace. The planner of this ecosystem.
pub(crate) fn plan(scope: &Scope<'_>, plan: &mut Plan) -> Result<(), PlanError> {
    if let Some(images) = scope.images {
        return container::plan(scope, images, plan);
    }
    let workspaces = Workspaces::new(scope);
    for dir in manifests::roots(scope)? {
        match toolchain(scope, &dir) {
            Ok(toolchain) => {
                let workspace = workspaces.read(&dir, &toolchain)?;
                if !workspace.members.is_empty() {
                    let found = Found {
                        dir: &dir,
                        toolchain: &toolchain,
                        workspace: &workspace,
                    };
                    found.plan(scope, &workspaces, plan)?;
                }
            }
            Err(message) => plan_missing(scope, plan, &dir, &message),
        }
    }
    Ok(())
}

/// Checks that cannot run, for one reason.
fn plan_missing(scope: &Scope<'_>, plan: &mut Plan, dir: &RelPath, message: &str) {
    for id in ["rust:fmt", "rust:clippy"] {
        let work = Work::Missing(message.to_owned());
        plan.checks.push(catalogue::planned(id, dir, work));
    }
    plan_later(scope, plan, dir);
}

/// One workspace and the toolchain for it.
struct Found<'a> {
    dir: &'a RelPath,
    toolchain: &'a Toolchain,
    workspace: &'a Workspace,
}

impl Found<'_> {
    fn plan(
        &self,
        scope: &Scope<'_>,
        workspaces: &Workspaces<'_>,
        plan: &mut Plan,
    ) -> Result<(), PlanError> {
        let (dir, toolchain, workspace) = (self.dir, self.toolchain, self.workspace);
        let tools_layer = tools_layer(plan, dir, toolchain);
        let layers = |more: Option<&Layer>| {
            let names = ["base".to_owned(), tools_layer.clone()].into_iter();
            names.chain(more.map(|layer| layer.name.clone())).collect()
        };

        let (work, inputs, not_cached) =
            rustfmt::plan(scope, Programs::Host(toolchain), dir, workspace);
        let fmt = catalogue::planned("rust:fmt", dir, work).sees(inputs);
        plan.checks
            .push(fmt.on(layers(None)).not_cached(not_cached));

        match Lockfile::find(scope, workspaces, dir, toolchain, workspace) {
            Ok(lockfile) => {
                let deps = deps::layer(scope, toolchain, &tools_layer, dir, workspace, &lockfile)?;
                let layers = layers(deps.as_ref());
                plan.layers.extend(deps);
                let programs = Programs::Host(toolchain);
                let clippy = plan_clippy(scope, dir, programs, workspace, &lockfile);
                plan.checks.push(clippy.on(layers));
            }
            Err(why) => plan.checks.push(missing_clippy(dir, why)),
        }
        plan_later(scope, plan, dir);
        Ok(())
    }
}

fn plan_clippy(
    scope: &Scope<'_>,
    dir: &RelPath,
    programs: Programs<'_>,
    workspace: &Workspace,
    lockfile: &Lockfile,
) -> Check {
    let Some(cargo_home) = config::cargo_home(scope) else {
        let why = "cargo has no home: set CARGO_HOME or HOME";
        return missing_clippy(dir, why.to_owned());
    };
    let clippy = Clippy {
        dir,
        workspace,
        programs,
        lockfile,
        cargo_home: &cargo_home,
    };
    let inputs = clippy.inputs(scope);
    catalogue::planned("rust:clippy", dir, clippy.work(scope)).sees(inputs)
}

fn missing_clippy(dir: &RelPath, why: String) -> Check {
    catalogue::planned("rust:clippy", dir, Work::Missing(why))
}

/// Checks of later versions: named by `ci`, unknown to other commands.
fn plan_later(scope: &Scope<'_>, plan: &mut Plan, dir: &RelPath) {
    let deny = ["deny.toml", ".deny.toml", ".cargo/deny.toml"];
    let declared = |name: &&str| {
        dir.join(name)
            .is_ok_and(|path| scope.snapshot.find(&path).is_some())
    };
    let deny = deny.iter().any(declared).then_some("rust:deny");
    for id in ["rust:test", "rust:doc"].into_iter().chain(deny) {
        let later = Work::Unsupported("comes with a later version".to_owned());
        plan.checks.push(catalogue::planned(id, dir, later));
    }
}

/// The name of the layer for a toolchain; workspaces with the same toolchain share it.
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
