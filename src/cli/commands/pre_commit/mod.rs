//! `pre-commit`: exactly what is staged is checked, and nothing of the user's is written.
//!
//! - [`install`]: the hook itself. - [`fix`]: mending what is staged, if asked for. Here: what a run of it looks at, and what of its failures is old.

pub(super) mod fix;
mod install;

use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Mutex;

use anyhow::Context as _;

use crate::cli::args::{HookArgs, PreCommitAction, PreCommitArgs};
use crate::cli::commands::project::{Files, Project, View};
use crate::cli::commands::run::{self, execute_in};
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::event::{Event, Sink};
use crate::finding::{Finding, Severity};
use crate::plan::Check;
use crate::plan::select::Selection;
use crate::record::{CheckRecord, Verdict};
use crate::run::{Caching, Options};
use crate::snapshot::SnapshotError;
use crate::snapshot::staged::Staging;

/// Runs, installs or uninstalls.
pub fn pre_commit(context: &Context<'_>, args: &PreCommitArgs) -> Result<Exit, Failure> {
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
        let project = Project::open_at(context, root, Files::Staged(staging))?;
        if args.fix {
            let selection = Selection::default();
            run::fix(&project, context, "pre-commit", &args.run, &selection)?;
        }
        return check(&project, context, args, "pre-commit");
    }
    let mut exit = Exit::Passed;
    for commit in pushed()? {
        let files = Files::Commit(staging.clone(), commit);
        let project = Project::open_at(context, root.clone(), files)?;
        exit = exit.max(check(&project, context, args, "pre-push")?);
    }
    Ok(exit)
}

fn check(
    project: &Project<'_>,
    context: &Context<'_>,
    args: &HookArgs,
    command: &str,
) -> Result<Exit, Failure> {
    let selection = Selection::default();
    execute_in(
        project,
        context,
        command,
        &args.run,
        selection,
        &[],
        command,
    )
    .map(|(exit, _)| exit)
}

/// Where git makes the commit.
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
    let (root, top) = (root.display(), top.display());
    Err(Failure::usage(format!(
        "--manifest-path: {root} is not in the repository {top}"
    )))
}

/// The commits that git is about to push: `<local ref> <local id> <remote ref> <remote id>` on each line of standard
/// input, where an id of zeros deletes.
fn pushed() -> Result<Vec<String>, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().read_to_string(&mut text);
    read.context("cannot read what git is about to push")?;
    let ids = text.lines().filter_map(|line| line.split(' ').nth(1));
    let mut ids: Vec<String> = ids
        .filter(|id| id.bytes().any(|byte| byte != b'0'))
        .map(str::to_owned)
        .collect();
    ids.sort();
    ids.dedup();
    Ok(ids)
}

/// Ids of the checks that failed, as the store knows, in the commit before too, and of which nothing new was found.
pub(super) fn already_failing(
    project: &Project<'_>,
    view: &View,
    records: &[CheckRecord],
) -> Vec<String> {
    let failed: Vec<&CheckRecord> = records
        .iter()
        .filter(|record| record.verdict == Verdict::Failed)
        .collect();
    let before = match &project.files {
        _ if failed.is_empty() => None,
        Files::WorkTree => None,
        Files::Staged(staging) => staging.head().map(|head| (staging, head)),
        Files::Commit(staging, commit) => staging.parent(commit).map(|parent| (staging, parent)),
    };
    let Some((staging, commit)) = before else {
        return Vec::new();
    };
    let files = Files::Commit(staging.clone(), commit);
    // A commit that cannot be planned tells nothing of its failures.
    let Ok(before) = project.look_at(&files) else {
        return Vec::new();
    };
    let checks: Vec<&Check> = failed
        .iter()
        .filter_map(|record| before.plan.check(&record.id))
        .filter(|check| view.plan.check(&check.id).is_some())
        .collect();
    let known = project
        .run(
            &before,
            &checks,
            looking(Caching::Only),
            &Mutex::new(Silent),
        )
        .records;
    failed
        .iter()
        .filter(|now| known.iter().any(|before| is_old(now, before)))
        .map(|now| now.id.clone())
        .collect()
}

/// Whether a failure is that of the commit before: it is of the same content, or nothing was found that was not found
/// there, though it may have moved. Of a check that only says that it failed, other content is another failure.
fn is_old(now: &CheckRecord, before: &CheckRecord) -> bool {
    if now.id != before.id || before.verdict != Verdict::Failed {
        return false;
    }
    if now.key.is_some() && now.key == before.key {
        return true;
    }
    let errors = |record: &CheckRecord| {
        let all = record.findings.iter();
        let all = all.filter(|finding| finding.severity == Severity::Error);
        let mut all: Vec<_> = all.map(content).collect();
        all.sort();
        all
    };
    let (found, mut old) = (errors(now), errors(before).into_iter());
    !found.is_empty()
        && found
            .iter()
            .all(|finding| old.any(|other| other == *finding))
}

fn content(finding: &Finding) -> (String, String, String) {
    let path = finding.path.as_ref().map(ToString::to_string);
    let code = finding.code.clone();
    let message = finding.message.clone();
    (path.unwrap_or_default(), code.unwrap_or_default(), message)
}

/// The verdict on a commit: old failures count only if the configuration says so.
pub(super) fn verdict(view: &View, records: &[CheckRecord], known: &[String]) -> Verdict {
    let warns = view.loaded.config.hook_warns;
    let counts = |record: &&CheckRecord| !(warns && known.contains(&record.id));
    let all = records.iter().filter(counts).map(|record| record.verdict);
    let worst = all.max().unwrap_or(Verdict::Passed);
    let ran = records
        .iter()
        .any(|record| record.verdict != Verdict::Skipped);
    match worst {
        Verdict::Skipped if ran => Verdict::Passed,
        other => other,
    }
}

/// For a look besides the run: nothing is brought anywhere, and no later reason refers to it.
pub(super) fn looking(caching: Caching) -> Options {
    Options {
        caching,
        jobs: 1,
        fail_fast: false,
        dry_run: false,
        keep_room: false,
        narrowed: true,
        outputs: false,
        discover: false,
        audit: None,
    }
}

/// Hears nothing.
pub(super) struct Silent;

impl Sink for Silent {
    fn event(&mut self, _: &Event<'_>) {}
}
