//! A command's run: passes over the selected checks until each has a verdict.
//!
//! Another pass is needed when files changed while being read, when the engine was lost, and when something else was
//! staged while a hook ran. Once `run-started` is out,
//! `run-finished` always follows: [`run`] emits both, and nothing in between can return early.

use std::collections::BTreeSet;

use anyhow::anyhow;

use crate::digest::Digest;
use crate::event::{Emit, Event, Silent};
use crate::fs::own;
use crate::fs::sealed::{Reader, Seal};
use crate::plan::select::{Selected, Selection, select};
use crate::plan::{Check, Plan, Work};
use crate::record::{CheckRecord, RunRecord, Verdict};
use crate::rule::Rule;
use crate::run::{Caching, Options, summarize};
use crate::session::already_failing::{already_failing, verdict};
use crate::session::{Failure, Files, Project, View, away};
use crate::snapshot::left_out;
use crate::snapshot::staged::Stamp;
use crate::store::prune::limit;
use crate::store::usage::Size;
use crate::tool::search_path;

/// How often to take another snapshot because files changed during the run.
const TRIES: usize = 3;

/// Selects the wanted checks of a project.
pub(crate) type Select<'a> = dyn Fn(&View) -> Result<Selection, Failure> + 'a;

/// The request of a command.
pub(crate) struct Request<'a> {
    /// The command's name.
    pub(crate) command: &'a str,
    pub(crate) select: &'a Select<'a>,
    /// How to run them.
    pub(crate) options: Options,
    /// Whether to report all details.
    pub(crate) verbose: bool,
}

/// The outcome of a run.
pub(crate) struct Ran {
    /// One record per check.
    pub(crate) records: Vec<CheckRecord>,
    /// The overall verdict.
    pub(crate) verdict: Verdict,
    /// What ended the run before all checks had a current verdict.
    pub(crate) failure: Option<Failure>,
    /// The size of the store and its limit, if it is too large and this was not reported today.
    pub(crate) over_bound: Option<(Size, u64)>,
}

/// Selects and runs checks. For staged files or a commit, writes nothing to the project.
pub(crate) fn run(
    project: &Project<'_>,
    request: &Request<'_>,
    sink: &dyn Emit,
) -> Result<Ran, Failure> {
    let stamp = project.stamp();
    let (view, selection) = match known_here(project, request)? {
        Some(known) => known,
        None => {
            let view = project.look()?;
            let selection = (request.select)(&view)?;
            (view, selection)
        }
    };
    let selected = chosen(&view, &selection).map_err(|failure| match project.engines.lost() {
        Some(why) => Failure::CouldNotRun(anyhow!("{failure} without the Dagger engine: {why}")),
        None => failure,
    })?;
    let mut run = Run {
        project,
        request,
        sink,
        options: request.options,
        engine: view.choice.class(),
        selection,
        stamp,
        view,
        waiting: Vec::new(),
        records: Vec::new(),
        moved: BTreeSet::new(),
        overhead_ms: 0,
        changes: 0,
        rounds: 0,
    };
    run.start(&selected);
    let ended = run.until_settled(selected.checks);
    Ok(run.finish(ended.err()))
}

/// The view of the local engine, if the Dagger engine was lost last time and every command has a local result: then
/// nobody has to wait until it is lost again.
fn known_here(
    project: &Project<'_>,
    request: &Request<'_>,
) -> Result<Option<(View, Selection)>, Failure> {
    let away = away::was_away(project).filter(|_| request.options.caching == Caching::On);
    let Some(away) = away else {
        return Ok(None);
    };
    project.engines.rest(true);
    let view = project.look()?;
    if view.choice.dagger.is_some() {
        let selection = (request.select)(&view)?;
        return Ok(Some((view, selection)));
    }
    let options = Options {
        dry_run: true,
        ..Options::beside(Caching::On)
    };
    // What only exists in containers is no mistake yet.
    let selection = (request.select)(&view);
    let selected = selection
        .as_ref()
        .ok()
        .and_then(|selection| chosen(&view, selection).ok());
    let same = project.choice(&view.loaded.config)?.dagger == Some(away);
    let known = selected.filter(|_| same).is_some_and(|selected| {
        let commands = selected.checks.iter();
        let commands: Vec<_> = commands
            .filter(|check| !matches!(check.work, Work::Builtin(_)))
            .collect();
        let outcome = project.run(&view, &commands, options, &Silent);
        outcome.records.iter().all(|record| record.cache.is_hit())
    });
    if known {
        return Ok(Some((view, selection?)));
    }
    project.engines.rest(false);
    Ok(None)
}

fn chosen(view: &View, selection: &Selection) -> Result<Selected, Failure> {
    select(&view.plan, &view.snapshot, selection).map_err(|error| Failure::usage(error.to_string()))
}

/// Whether the tool of a check that is not supported yet is already named as not run.
fn is_named(plan: &Plan, id: &str) -> bool {
    let tool = match id.split('@').next().and_then(|id| id.split_once(':')) {
        Some(("rust", tool)) => format!("cargo {tool}"),
        Some((_, tool)) => tool.to_owned(),
        None => return false,
    };
    plan.not_run.iter().any(|not_run| not_run.tool == tool)
}

/// A run in progress.
struct Run<'r, 'p> {
    project: &'r Project<'p>,
    request: &'r Request<'r>,
    sink: &'r dyn Emit,
    options: Options,
    /// The class of the engine it started with.
    engine: &'static str,
    selection: Selection,
    /// The state of the index before it was last read.
    stamp: Option<Stamp>,
    view: View,
    /// Ids of checks that have to run again.
    waiting: Vec<String>,
    records: Vec<CheckRecord>,
    /// Ids of checks that ran on another engine than the first one.
    moved: BTreeSet<String>,
    /// Milliseconds before the first check.
    overhead_ms: u64,
    changes: usize,
    rounds: usize,
}

impl Run<'_, '_> {
    fn warn(&self, text: &str) {
        self.sink.emit(&Event::Warning(text));
    }

    fn start(&mut self, selected: &Selected) {
        let view = &self.view;
        self.sink.emit(&Event::RunStarted {
            command: self.request.command,
            engine: self.engine,
            taken: &view.choice.to_string(),
            checks: selected.checks.len(),
            not_run: &view.plan.not_run,
        });
        for warning in view.loaded.warnings.iter().chain(&view.plan.warnings) {
            self.warn(warning);
        }
        for text in left_out::told(view.snapshot.left_out()) {
            self.sink.emit(&Event::LeftOut(&text));
        }
        let unsupported = selected.unsupported.iter();
        let unsupported: Vec<_> = unsupported.filter(|id| !is_named(&view.plan, id)).collect();
        if !unsupported.is_empty() {
            let ids: Vec<_> = unsupported.into_iter().map(String::as_str).collect();
            let ids = ids.join(", ");
            self.warn(&format!(
                "skipping checks that are not supported yet: {ids}"
            ));
        }
        if let Some(text) = self.project.not_staged(&self.view) {
            self.sink.emit(&Event::LeftOut(&text));
        }
        let overhead = self.project.host.started.0.elapsed().as_millis();
        self.overhead_ms = u64::try_from(overhead).unwrap_or(u64::MAX);
    }

    /// Runs passes until no check has to run again.
    fn until_settled(&mut self, mut checks: Vec<Check>) -> Result<(), Failure> {
        loop {
            self.pass(&checks);
            let next = if self.waiting.is_empty() {
                self.staged_meanwhile()?
            } else {
                Some(self.look_again()?)
            };
            match next {
                Some(next) => checks = next,
                None => return Ok(()),
            }
        }
    }

    /// Runs one pass. Checks that have to run again wait.
    fn pass(&mut self, checks: &[Check]) {
        let checks: Vec<&Check> = checks.iter().collect();
        let outcome = self
            .project
            .run(&self.view, &checks, self.options, self.sink);
        if self.view.choice.class() != self.engine {
            let ids = outcome.records.iter().map(|record| record.id.clone());
            self.moved.extend(ids);
        }
        self.records.extend(outcome.records);
        self.changed(outcome.changed);
        if let Some((why, ids)) = outcome.lost {
            self.lost(&why, ids);
        }
    }

    fn changed(&mut self, ids: Vec<String>) {
        self.changes += usize::from(!ids.is_empty());
        if self.changes < TRIES {
            return self.waiting.extend(ids);
        }
        let why = format!("its files kept changing while it ran ({TRIES} tries)");
        self.give_up(&ids, &why);
    }

    /// If the engine is lost, the remaining checks run locally unless the user named the engine.
    fn lost(&mut self, why: &str, ids: Vec<String>) {
        if self.view.choice.fixed {
            return self.give_up(&ids, why);
        }
        self.project.engines.lose(why);
        let engine = "local";
        self.sink.emit(&Event::EngineLost { why, engine });
        self.waiting.extend(ids);
    }

    /// Records checks that could not run.
    fn give_up(&mut self, ids: &[String], why: &str) {
        for id in ids {
            let mut record = CheckRecord::not_run(id, Verdict::Error, None);
            record.message = Some(why.to_owned());
            self.sink.emit(&Event::CheckFinished(&record));
            self.records.push(record);
        }
    }

    /// The waiting checks in their current plan.
    fn look_again(&mut self) -> Result<Vec<Check>, Failure> {
        self.view = self.project.look()?;
        let ids = std::mem::take(&mut self.waiting);
        let (only, gone): (Vec<_>, Vec<_>) = ids
            .into_iter()
            .partition(|id| self.view.plan.check(id).is_some());
        if self.view.choice.class() != self.engine {
            let why = "the Dagger engine was lost, and the local engine has no such check";
            self.give_up(&gone, why);
        }
        if only.is_empty() {
            return Ok(Vec::new());
        }
        // The request may name checks that only exist for the other engine.
        let selection = Selection {
            only,
            paths: self.selection.paths.clone(),
            ..Selection::default()
        };
        Ok(chosen(&self.view, &selection)?.checks)
    }

    /// Git reads the index again after its hook: if something else is staged by now, it has to be checked instead. An
    /// index that was only rewritten, as by `git status`, is not different.
    fn staged_meanwhile(&mut self) -> Result<Option<Vec<Check>>, Failure> {
        let now = self.project.stamp();
        if now == self.stamp || !Rule::IndexStays.holds() {
            return Ok(None);
        }
        let view = self.project.look()?;
        if view.snapshot.entries() == self.view.snapshot.entries() {
            return Ok(None);
        }
        self.rounds += 1;
        if self.rounds >= TRIES {
            return Err(Failure::CouldNotRun(anyhow!(
                "staged files changed while they were checked; commit again"
            )));
        }
        let selection = (self.request.select)(&view)?;
        let checks = chosen(&view, &selection)?.checks;
        (self.stamp, self.view, self.selection) = (now, view, selection);
        self.records.clear();
        Ok(Some(checks))
    }

    /// Summarises and records the run.
    fn finish(mut self, failure: Option<Failure>) -> Ran {
        for id in std::mem::take(&mut self.waiting) {
            let record = CheckRecord::not_run(&id, Verdict::Skipped, None);
            self.sink.emit(&Event::CheckFinished(&record));
            self.records.push(record);
        }
        let is_hook = !matches!(self.project.files, Files::WorkTree);
        let known = match &failure {
            None if is_hook => already_failing(self.project, &self.view, &self.records),
            _ => Vec::new(),
        };
        away::remember(self.project, &self.view);
        self.project.close();
        self.records.sort_by(|a, b| a.id.cmp(&b.id));
        self.say_limits();
        let mut summary = self.summary();
        if failure.is_some() {
            summary.verdict = Verdict::Error;
        } else if is_hook {
            summary.verdict = verdict(&self.view, &self.records, &known);
            self.sink.emit(&Event::AlreadyFailing(&known));
        }
        self.sink.emit(&Event::RunFinished(&summary));
        self.project.remember();
        let over_bound = match failure {
            None if !self.options.dry_run => self.note(&summary),
            _ => None,
        };
        Ran {
            records: self.records,
            verdict: summary.verdict,
            failure,
            over_bound,
        }
    }

    fn summary(&self) -> RunRecord {
        let mut summary = summarize(
            self.request.command,
            &self.project.id,
            self.engine,
            &self.records,
            self.project.host.started,
            self.overhead_ms,
        );
        for check in &mut summary.checks {
            if self.moved.contains(&check.id) {
                check.engine = Some(self.view.choice.class().to_owned());
            }
        }
        summary
    }

    /// Reports what this system does not have: once per store, and whenever verbose.
    fn say_limits(&self) {
        let lacks = self.project.engines.local.lacks();
        if !lacks.is_empty() {
            let text = format!(
                "checks are not fully confined on this system ({}); their results stay on this machine",
                lacks.join("; ")
            );
            self.say_once("said-unconfined", &text);
        }
        let strange = self.project.host.strange_path;
        if !strange.is_empty() {
            self.say_once("said-path", &search_path::named(strange));
        }
    }

    fn say_once(&self, name: &str, text: &str) {
        const SEAL: Seal = Seal {
            magic: *b"dc-said\n",
            version: 2,
        };
        let store = &self.project.store;
        let said = store.folder("memo").join(name);
        let digest = Digest::of(text.as_bytes());
        let before = own::read(&said).ok();
        let before = before.and_then(|bytes| Reader::new(SEAL.open(&bytes)?).digest());
        if before == Some(digest) && !self.request.verbose {
            return;
        }
        self.warn(text);
        if store.writable() {
            let mut out = SEAL.writer();
            out.raw(digest.as_bytes());
            let _ = SEAL.save(&said, out);
        }
    }

    /// Saves the record of the run. If that fails, the store has already reported it. Returns the size of the store
    /// now and then, if it is too large.
    fn note(&self, summary: &RunRecord) -> Option<(Size, u64)> {
        let store = &self.project.store;
        let _ = store.append_run(summary);
        if summary.misses() == 0 {
            return None;
        }
        let _ = store.note_project(&self.project.id, &self.project.root);
        // A value that is no size is told by the commands for the cache.
        let bound = limit(self.project.host.env).ok()?;
        let size = store.measure_daily().filter(|size| size.bytes > bound)?;
        Some((size, bound))
    }
}
