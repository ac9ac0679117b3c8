//! `pre-commit`: checks exactly what is staged and writes none of the user's files.
//!
//! - [`install`]: the hook itself. Here: what it checks.

mod install;

use std::io::Read as _;
use std::path::PathBuf;

use anyhow::Context as _;

use crate::cli::args::{HookArgs, PreCommitAction, PreCommitArgs};
use crate::cli::commands::asked::Asked;
use crate::cli::commands::run::{self, execute};
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::session::Files;
use crate::snapshot::SnapshotError;
use crate::snapshot::staged::Staging;
use crate::visible::Shown as _;

pub(crate) fn pre_commit(context: &Context<'_>, args: &PreCommitArgs) -> Result<Exit, Failure> {
    match &args.action {
        None => run_hook(context, &args.run),
        Some(PreCommitAction::Run(args)) => run_hook(context, args),
        Some(PreCommitAction::Install(args)) => install::install(context, args),
        Some(PreCommitAction::Uninstall { hook_type }) => install::uninstall(context, *hook_type),
    }
}

fn run_hook(context: &Context<'_>, args: &HookArgs) -> Result<Exit, Failure> {
    let staging = staging(context)?;
    let root = root(context, &staging)?;
    if !args.pushed {
        let project = context.open_at(root, Files::Staged(staging), args.run.dry_run)?;
        let asked = asked("pre-commit", "commit", args);
        if args.fix {
            run::fix(&project, context, &asked)?;
        }
        return Ok(execute(&project, context, &asked)?.0);
    }
    let asked = asked("pre-push", "push", args);
    let mut exit = Exit::Passed;
    for commit in pushed()? {
        // A tag may refer to something other than a commit, with nothing to check.
        if !staging.is_commit(&commit).map_err(anyhow::Error::from)? {
            continue;
        }
        let files = Files::Commit(staging.clone(), commit);
        let project = context.open_at(root.clone(), files, args.run.dry_run)?;
        exit = exit.max(execute(&project, context, &asked)?.0);
    }
    Ok(exit)
}

fn asked<'a>(command: &'a str, stops: &'a str, args: &'a HookArgs) -> Asked<'a> {
    Asked {
        hook: Some(stops),
        ..Asked::new(command, &args.run)
    }
}

/// The repository of the commit.
fn staging(context: &Context<'_>) -> Result<Staging, Failure> {
    match Staging::find(&context.cwd, &context.given_env) {
        Ok(staging) => Ok(staging),
        Err(error @ SnapshotError::NoRepository(_)) => Err(Failure::usage(error.to_string())),
        Err(error) => Err(anyhow::Error::from(error).into()),
    }
}

fn root(context: &Context<'_>, staging: &Staging) -> Result<PathBuf, Failure> {
    let top = staging.top().to_path_buf();
    if context.global.manifest_path.is_none() {
        return Ok(top);
    }
    let root = context.root()?;
    if root.starts_with(&top) {
        return Ok(root);
    }
    let (root, top) = (root.shown(), top.shown());
    Err(Failure::usage(format!(
        "--manifest-path: {root} is not in the repository {top}"
    )))
}

/// The commits that git is about to push, from lines `<local ref> <local id> <remote ref> <remote id>` on standard
/// input; a local id of zeros deletes.
fn pushed() -> Result<Vec<String>, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().read_to_string(&mut text);
    read.context("cannot read from git which commits to push")?;
    let ids = text.lines().filter_map(|line| line.split(' ').nth(1));
    let mut ids: Vec<String> = ids
        .filter(|id| id.bytes().any(|byte| byte != b'0'))
        .map(str::to_owned)
        .collect();
    ids.sort();
    ids.dedup();
    Ok(ids)
}
