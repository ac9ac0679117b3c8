//! What is told while checks run, and remembered when they have: one reporter, whatever the format.
//!
//! Stays free of what is run, and how often.

use std::sync::Mutex;

use crate::cli::args::MessageFormat;
use crate::cli::commands::upkeep::over_bound;
use crate::cli::context::Context;
use crate::event::{Event, Sink};
use crate::fs::sealed::Seal;
use crate::record::{CheckRecord, RunRecord, Verdict};
use crate::report::Verbosity;
use crate::report::commit::Commit;
use crate::report::human::Human;
use crate::report::json::Json;
use crate::session::{Project, View};
use crate::store::prune::DEFAULT_MAX_SIZE;

/// Human or JSON.
pub(super) enum Reporter<'a> {
    Human(Human<'a>),
    Commit(Commit<'a>),
    Json(Json<'a>),
}

impl Sink for Reporter<'_> {
    fn event(&mut self, event: &Event<'_>) {
        match self {
            Self::Human(human) => human.event(event),
            Self::Commit(commit) => commit.event(event),
            Self::Json(json) => json.event(event),
        }
    }
}

pub(super) fn reporter<'a>(
    context: &Context<'a>,
    repeat: &str,
    dry_run: bool,
    is_hook: bool,
) -> Mutex<Reporter<'a>> {
    let shell = context.shell;
    let brief = is_hook && !dry_run && shell.verbosity() < Verbosity::Verbose;
    Mutex::new(match context.global.message_format {
        MessageFormat::Json => Reporter::Json(Json::new(shell)),
        _ if brief => Reporter::Commit(Commit::new(shell, repeat == "pre-push")),
        _ => Reporter::Human(Human::new(
            shell,
            format!("cargo dagcache {repeat}"),
            dry_run,
        )),
    })
}

pub(super) fn emit(reporter: &Mutex<Reporter<'_>>, event: &Event<'_>) {
    reporter
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .event(event);
}

pub(super) fn start(
    reporter: &Mutex<Reporter<'_>>,
    command: &str,
    checks: usize,
    view: &View,
    unsupported: &[String],
) {
    emit(
        reporter,
        &Event::RunStarted {
            command,
            engine: view.choice.class(),
            taken: &view.choice.to_string(),
            checks,
        },
    );
    for warning in view.loaded.warnings.iter().chain(&view.plan.warnings) {
        emit(reporter, &Event::Warning(warning));
    }
    for odd in view.snapshot.left_out() {
        emit(
            reporter,
            &Event::LeftOut(&format!("{} is left out: {}", odd.display, odd.reason)),
        );
    }
    if !unsupported.is_empty() {
        emit(
            reporter,
            &Event::Warning(&format!(
                "not supported yet, not run: {}",
                unsupported.join(", ")
            )),
        );
    }
}

/// What to say of programs that a check is run again with.
pub(super) fn discovered(id: &str, programs: &[String]) -> String {
    let list = |quote: &str| {
        let all = programs.iter().map(|name| format!("{quote}{name}{quote}"));
        all.collect::<Vec<_>>().join(", ")
    };
    let (names, tools) = (list("`"), list("\""));
    let (were, them) = match programs {
        [_] => ("was", "it"),
        _ => ("were", "them"),
    };
    let table = if id.contains(':') {
        format!("[checks.\"{id}\"]")
    } else {
        format!("[checks.{id}]")
    };
    format!(
        "{id}: {names} {were} missing on its PATH; run again with {them}, now and from now on; `tools = [{tools}]` in {table} says so"
    )
}

/// Dagger was lost: what is left runs on this machine.
pub(super) fn fall_back(project: &Project<'_>, why: &str, reporter: &Mutex<Reporter<'_>>) {
    project.engines.lose(why);
    emit(
        reporter,
        &Event::EngineLost {
            why,
            engine: "local",
        },
    );
}

/// A check that the engine it has to run on was lost for.
pub(super) fn no_engine(id: &str, why: &str, reporter: &Mutex<Reporter<'_>>) -> CheckRecord {
    let mut record = CheckRecord::not_run(id, Verdict::Error, None);
    record.message = Some(why.to_owned());
    emit(reporter, &Event::CheckFinished(&record));
    record
}

/// Checks that the plan for the other engine does not have.
pub(super) fn gone(
    ids: &mut Vec<String>,
    view: &View,
    reporter: &Mutex<Reporter<'_>>,
) -> Vec<CheckRecord> {
    let (known, gone): (Vec<String>, Vec<String>) = std::mem::take(ids)
        .into_iter()
        .partition(|id| view.plan.check(id).is_some());
    *ids = known;
    let why = "the Dagger engine was lost, and this machine has no such check";
    gone.iter().map(|id| no_engine(id, why, reporter)).collect()
}

pub(super) fn never_still(id: &str, tries: usize, reporter: &Mutex<Reporter<'_>>) -> CheckRecord {
    let mut record = CheckRecord::not_run(id, Verdict::Error, None);
    record.message = Some(format!(
        "its files kept changing while it was run ({tries} tries)"
    ));
    emit(reporter, &Event::CheckFinished(&record));
    record
}

/// Says what this system cannot keep checks from: once per store, and whenever details are wanted.
pub(super) fn say_lacks(
    context: &Context<'_>,
    project: &Project<'_>,
    reporter: &Mutex<Reporter<'_>>,
) {
    let lacks = project.engines.local.lacks();
    let said = project.store.folder("memo").join("said-unconfined");
    let verbose = context.shell.verbosity() == Verbosity::Verbose;
    if lacks.is_empty() || (said.exists() && !verbose) {
        return;
    }
    let text = format!(
        "checks are not fully confined on this system ({}); their results are good for this machine only",
        lacks.join("; ")
    );
    emit(reporter, &Event::Warning(&text));
    if project.store.writable() {
        // Only that it is there counts; sealed, as all that is beside it.
        let seal = Seal {
            magic: *b"dc-said\n",
            version: 1,
        };
        let _ = seal.save(&said, seal.writer());
    }
}

/// Remembers the run. A failure to remember costs time later, and is told once by the store itself.
pub(super) fn conclude(
    context: &Context<'_>,
    project: &Project<'_>,
    view: &View,
    summary: &RunRecord,
    dry_run: bool,
) {
    project.remember();
    if dry_run {
        return;
    }
    let store = &project.store;
    let _ = store.append_run(summary);
    if summary.misses() == 0 {
        return;
    }
    let _ = store.note_project(&project.id, &project.root);
    let bound = view.loaded.config.max_size.unwrap_or(DEFAULT_MAX_SIZE);
    if let Some(size) = store.measure_daily().filter(|size| size.bytes > bound) {
        context.shell.warning(&over_bound(size, bound));
    }
}
