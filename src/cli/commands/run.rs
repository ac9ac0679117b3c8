//! `lint`, `validate`, `dev-check`, `ci`: select, run, report. [`tell`]: what is said of it.

mod tell;

use std::collections::BTreeSet;

use crate::cli::args::{LintArgs, RunArgs, ValidateArgs};
use crate::cli::commands::fix;
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::ecosystem::kustomize;
use crate::env::DAGCACHE_SKIP;
use crate::event::Event;
use crate::plan::Check;
use crate::plan::select::{Selection, select};
use crate::record::CheckRecord;
use crate::rule::Rule;
use crate::run::audit::Sample;
use crate::run::{Caching, Options, summarize};
use crate::session::already_failing::{already_failing, verdict};
use crate::session::{Files, Project, View};
use crate::snapshot::staged::Stamp;
use tell::{
    conclude, discovered, emit, fall_back, gone, never_still, no_engine, reporter, say_lacks, start,
};

/// How often a snapshot is taken again because files changed under the run.
const TRIES: usize = 3;

/// How often in one run checks are run again with programs that they did not find.
const DISCOVERIES: usize = 3;

/// `lint`.
pub(crate) fn lint(context: &Context<'_>, args: &LintArgs) -> Result<Exit, Failure> {
    let root = context.root()?;
    let mut paths = Vec::new();
    for path in &args.paths {
        if !context.cwd.join(path).exists() {
            return Err(Failure::usage(format!(
                "no such file or folder: {}",
                path.display()
            )));
        }
        paths.push(context.project_path(&root, path)?);
    }
    let selection = Selection {
        languages: args.languages.0.clone(),
        paths,
        ..Selection::default()
    };
    let project = context.open()?;
    if args.fix {
        fix(&project, context, "lint", &args.run, &selection)?;
    }
    execute_in(&project, context, "lint", &args.run, selection, &[], "lint").map(|(exit, _)| exit)
}

/// Mends what the checks of a command find, as far as their tools can.
pub(crate) fn fix(
    project: &Project<'_>,
    context: &Context<'_>,
    command: &str,
    args: &RunArgs,
    selection: &Selection,
) -> Result<(), Failure> {
    if args.dry_run || args.cached_only {
        return Err(Failure::usage(
            "--fix runs tools: not with --dry-run or --cached-only",
        ));
    }
    fix::fix(project, context.shell, |view| {
        let mut selection = selection.clone();
        complete(&mut selection, context, command, args, view);
        let selected = select(&view.plan, &view.snapshot, &selection);
        Ok(selected
            .map_err(|error| Failure::usage(error.to_string()))?
            .checks)
    })
}

/// `validate`.
pub(crate) fn validate(context: &Context<'_>, args: &ValidateArgs) -> Result<Exit, Failure> {
    execute(
        context,
        "validate",
        &args.run,
        Selection::default(),
        &args.overlay,
        "validate",
    )
    .map(|(exit, _)| exit)
}

/// Any command that runs checks and says how it went.
pub(crate) fn run(
    context: &Context<'_>,
    command: &str,
    args: &RunArgs,
    selection: Selection,
    repeat: &str,
) -> Result<Exit, Failure> {
    execute(context, command, args, selection, &[], repeat).map(|(exit, _)| exit)
}

/// What is left of a run for the commands that use its results.
pub(crate) struct Ran {
    /// One record per check.
    pub(crate) records: Vec<CheckRecord>,
}

/// Selects, runs and reports. `overlays` narrows to the builds of those overlays.
pub(crate) fn execute(
    context: &Context<'_>,
    command: &str,
    args: &RunArgs,
    selection: Selection,
    overlays: &[String],
    repeat: &str,
) -> Result<(Exit, Ran), Failure> {
    let project = context.open()?;
    execute_in(
        &project, context, command, args, selection, overlays, repeat,
    )
}

/// As [`execute`], in a project that is open. One of which git holds the files is not written to.
pub(crate) fn execute_in(
    project: &Project<'_>,
    context: &Context<'_>,
    command: &str,
    args: &RunArgs,
    mut selection: Selection,
    overlays: &[String],
    repeat: &str,
) -> Result<(Exit, Ran), Failure> {
    if let Some(option) = args.later.given() {
        return Err(Failure::not_yet(option));
    }
    let is_hook = !matches!(project.files, Files::WorkTree);
    let mut stamp = project.stamp();
    let mut view = project.look()?;
    complete(&mut selection, context, command, args, &view);
    for name in overlays {
        selection
            .only
            .push(kustomize::build_id(&overlay(&view, name)?));
    }
    let engine = view.choice.class();
    let mut moved: BTreeSet<String> = BTreeSet::new();
    let mut options = options(args, &selection);
    options.outputs = !is_hook;
    let reporter = reporter(context, repeat, options.dry_run, is_hook);
    let mut records: Vec<CheckRecord> = Vec::new();
    let mut remaining: Option<Vec<String>> = None;
    let mut overhead_ms = 0;
    let (mut changes, mut discoveries, mut rounds) = (0, 0, 0);
    for attempt in 1.. {
        let selected = select(&view.plan, &view.snapshot, &selection)
            .map_err(|error| Failure::usage(error.to_string()))?;
        let wanted = |check: &&Check| remaining.as_ref().is_none_or(|ids| ids.contains(&check.id));
        let checks: Vec<&Check> = selected.checks.iter().filter(wanted).collect();
        if attempt == 1 {
            start(
                &reporter,
                command,
                checks.len(),
                &view,
                &selected.unsupported,
            );
            overhead_ms =
                u64::try_from(context.started.0.elapsed().as_millis()).unwrap_or(u64::MAX);
        }
        let outcome = project.run(&view, &checks, options, &reporter);
        if view.choice.class() != engine {
            moved.extend(outcome.records.iter().map(|record| record.id.clone()));
        }
        records.extend(outcome.records);
        let mut again = outcome.changed;
        changes += usize::from(!again.is_empty());
        if changes >= TRIES {
            records.extend(again.drain(..).map(|id| never_still(&id, TRIES, &reporter)));
        }
        discoveries += usize::from(!outcome.missing_programs.is_empty());
        options.discover = discoveries < DISCOVERIES;
        for (id, programs) in outcome.missing_programs {
            emit(&reporter, &Event::Warning(&discovered(&id, &programs)));
            project.discovered.add(&id, &programs);
            again.push(id);
        }
        if let Some((why, ids)) = outcome.lost {
            if view.choice.fixed {
                records.extend(ids.iter().map(|id| no_engine(id, &why, &reporter)));
            } else {
                fall_back(project, &why, &reporter);
                again.extend(ids);
            }
        }
        if again.is_empty() {
            let Some(now) = staged_meanwhile(project, &view, stamp)? else {
                break;
            };
            rounds += 1;
            if rounds >= TRIES {
                return Err(Failure::CouldNotRun(anyhow::anyhow!(
                    "what is staged changes while it is checked; commit again when nothing else stages files"
                )));
            }
            (stamp, view) = now;
            records.clear();
            remaining = None;
            continue;
        }
        view = project.look()?;
        if view.choice.class() != engine {
            records.extend(gone(&mut again, &view, &reporter));
        }
        remaining = Some(again);
    }
    let known = match is_hook {
        true => already_failing(project, &view, &records),
        false => Vec::new(),
    };
    project.close();
    records.sort_by(|a, b| a.id.cmp(&b.id));
    say_lacks(context, project, &reporter);
    let mut summary = summarize(
        command,
        &project.id,
        engine,
        &records,
        context.started,
        overhead_ms,
    );
    for check in &mut summary.checks {
        if moved.contains(&check.id) {
            check.engine = Some(view.choice.class().to_owned());
        }
    }
    if is_hook {
        summary.verdict = verdict(&view, &records, &known);
        emit(&reporter, &Event::AlreadyFailing(&known));
    }
    emit(&reporter, &Event::RunFinished(&summary));
    conclude(context, project, &view, &summary, options.dry_run);
    let exit = project
        .interrupt
        .signal()
        .map_or_else(|| Exit::of(summary.verdict), Exit::Interrupted);
    Ok((exit, Ran { records }))
}

/// Git reads the index again after its hook: if something else is staged by now than was looked at, that has to be
/// checked, too. Returns the look at that, and the moment before. An index that was only written anew, as `git status`
/// does, is no other.
fn staged_meanwhile(
    project: &Project<'_>,
    view: &View,
    before: Option<Stamp>,
) -> Result<Option<(Option<Stamp>, View)>, Failure> {
    let now = project.stamp();
    if now == before || !Rule::IndexStays.holds() {
        return Ok(None);
    }
    let there = project.look()?;
    let same = there.snapshot.entries() == view.snapshot.entries();
    Ok((!same).then_some((now, there)))
}

/// Fills in what the command line and the environment add to a selection.
fn complete(
    selection: &mut Selection,
    context: &Context<'_>,
    command: &str,
    args: &RunArgs,
    view: &View,
) {
    selection.command_tags = view.loaded.config.tags_of(command);
    selection.tags.clone_from(&args.tag);
    selection.only.extend(args.only.iter().cloned());
    selection.skip.extend(args.skip.iter().cloned());
    // A team sets this for all its repositories: ids that are not here are no mistake.
    let skip = context.env.var(DAGCACHE_SKIP).unwrap_or_default();
    let skip = skip
        .split(',')
        .map(str::trim)
        .filter(|id| view.plan.check(id).is_some());
    selection.skip.extend(skip.map(str::to_owned));
}

fn overlay(view: &View, name: &str) -> Result<crate::path::RelPath, Failure> {
    kustomize::resolve_overlay(&view.plan, name).map_err(Failure::usage)
}

fn options(args: &RunArgs, selection: &Selection) -> Options {
    let caching = match (args.no_cache, args.cached_only) {
        (true, _) => Caching::Off,
        (_, true) => Caching::Only,
        _ => Caching::On,
    };
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Options {
        caching,
        jobs: args.jobs.map_or(processors, usize::from),
        fail_fast: args.fail_fast,
        dry_run: args.dry_run,
        keep_room: args.keep_room,
        narrowed: !selection.paths.is_empty(),
        outputs: true,
        discover: true,
        audit: args.audit.map(sample),
    }
}

/// A sample that is another one in each run.
fn sample(percent: u8) -> Sample {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = u64::from(now.unwrap_or_default().subsec_nanos());
    Sample {
        percent,
        seed: nanos << 32 | u64::from(std::process::id()),
    }
}
