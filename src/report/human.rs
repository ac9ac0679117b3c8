//! The report for people: what is Dirty and why, what failed and how to repeat it, and a closing line.
//!
//! Fresh checks are silent unless their tool printed something, which is repeated.

use std::collections::BTreeMap;

use crate::event::{Event, Sink};
use crate::finding::{Finding, Severity};
use crate::key::{Miss, MissKind};
use crate::process::quoted;
use crate::record::{Cache, CheckRecord, INTERRUPTED, NO_CACHE, RunRecord, Verdict};
use crate::report::commit::Commit;
use crate::report::held::Held;
use crate::report::shell::Tone;
use crate::report::{About, Format, Shell, Verbosity, text};

/// `--message-format human`; a hook has a report of its own, unless all details are wanted.
pub(crate) const FORMAT: Format = Format {
    name: "human",
    help: "Status lines for people, on stderr",
    report: |about| match about.hook {
        Some(stops) if !about.dry_run && about.shell.verbosity() < Verbosity::Verbose => {
            Box::new(Commit::new(about.shell, stops))
        }
        Some(_) => Box::new(Held::new(Human::new(about))),
        None => Box::new(Human::new(about)),
    },
};

/// Failures that are named in the command that repeats them.
const MOST_REPEATED: usize = 10;

/// Checks that run for the first time and are named: more, and nobody reads their lines.
const MOST_FIRST: usize = 20;
/// The most further reasons of a check that are named.
const MOST_REASONS: usize = 20;

/// Writes events as status lines.
#[derive(Debug)]
struct Human<'a> {
    shell: &'a Shell,
    /// The command to repeat a failure, up to the check's id: `cargo dagcache dev-check`.
    invocation: String,
    /// The engine, until it is printed: when something runs in containers, or at once if verbose.
    engine: Option<String>,
    total: usize,
    done: usize,
    running: Vec<String>,
    failed: Vec<String>,
    errors: Vec<String>,
    /// What kept checks from running, with the first check that it did.
    causes: BTreeMap<String, String>,
    /// Checks with a verdict.
    finished: usize,
    interrupted: bool,
    dry_run: bool,
    /// Checks that ran for the first time.
    first: usize,
}

impl<'a> Human<'a> {
    fn new(about: About<'a>) -> Self {
        Self {
            shell: about.shell,
            invocation: about.invocation.to_owned(),
            engine: None,
            total: 0,
            done: 0,
            running: Vec::new(),
            failed: Vec::new(),
            errors: Vec::new(),
            causes: BTreeMap::new(),
            finished: 0,
            interrupted: false,
            dry_run: about.dry_run,
            first: 0,
        }
    }

    /// Prints the engine, once.
    fn say_engine(&mut self) {
        let engine = self.engine.take();
        if let Some(engine) = engine.filter(|_| self.shell.verbosity() > Verbosity::Quiet) {
            self.shell.status(Tone::Note, "Engine", &engine);
        }
    }

    /// Says what runs and why. Of many first runs only some are named.
    fn started(&mut self, id: &str, miss: Option<&Miss>) {
        if self.shell.verbosity() == Verbosity::Quiet {
            return;
        }
        let is_first = miss.is_some_and(|miss| miss.kind == MissKind::New);
        if is_first && self.shell.verbosity() < Verbosity::Verbose {
            self.first += 1;
            if self.first == MOST_FIRST + 1 {
                let line = "… and others for the first time (-v names all)";
                self.shell.status(Tone::Good, "Dirty", line);
            }
            if self.first > MOST_FIRST {
                return;
            }
        }
        let uncached = miss.is_some_and(|miss| miss.path.as_deref() == Some(NO_CACHE));
        let (verb, reason) = match miss {
            Some(miss) if !uncached => ("Dirty", format!(" ({miss})")),
            _ => ("Running", String::new()),
        };
        self.shell
            .status(Tone::Good, verb, &format!("{id}{reason}"));
        self.also(miss);
    }

    /// Says what else differs, if everything is to be said.
    fn also(&self, miss: Option<&Miss>) {
        let also = miss.map(|miss| miss.also.as_slice()).unwrap_or_default();
        if self.shell.verbosity() < Verbosity::Verbose {
            return;
        }
        for miss in also.iter().take(MOST_REASONS) {
            self.shell.status(Tone::Note, "and", &miss.to_string());
        }
        if also.len() > MOST_REASONS {
            let line = format!("{} more differences", also.len() - MOST_REASONS);
            self.shell.status(Tone::Note, "and", &line);
        }
    }

    fn check_finished(&mut self, record: &CheckRecord) {
        self.done += 1;
        self.running.retain(|id| *id != record.id);
        if self.dry_run {
            return self.dry(record);
        }
        if record.message.as_deref() == Some(INTERRUPTED) {
            self.interrupted = true;
            return;
        }
        self.finished += usize::from(record.verdict != Verdict::Skipped);
        match record.verdict {
            Verdict::Skipped if self.interrupted => {}
            Verdict::Passed => self.passed(record),
            Verdict::Failed => self.failed(record),
            Verdict::Error => self.could_not_run(record),
            Verdict::Skipped => self.shell.status(Tone::Note, "Skipped", &record.id),
        }
        if !self.running.is_empty() {
            self.shell.progress(self.done, self.total, &self.running);
        }
    }

    fn dry(&mut self, record: &CheckRecord) {
        if record.verdict == Verdict::Error {
            return self.could_not_run(record);
        }
        match &record.miss {
            None => self.shell.status(Tone::Good, "Fresh", &record.id),
            Some(miss) => {
                self.shell
                    .status(Tone::Note, "Dirty", &format!("{} ({miss})", record.id));
                self.also(Some(miss));
            }
        }
    }

    fn passed(&self, record: &CheckRecord) {
        if record.cache.is_hit() && self.shell.verbosity() == Verbosity::Verbose {
            let joined = if record.cache == Cache::Joined {
                " (joined another run)"
            } else {
                ""
            };
            self.shell
                .status(Tone::Good, "Fresh", &format!("{}{joined}", record.id));
        } else if self.shell.verbosity() == Verbosity::Verbose {
            let took = text::duration(record.duration_ms);
            let replayed = if record.replayed {
                ", cached by the engine"
            } else {
                ""
            };
            self.shell.status(
                Tone::Good,
                "Passed",
                &format!("{} in {took}{}{replayed}", record.id, parts(record)),
            );
        }
        if self.shell.verbosity() == Verbosity::Quiet {
            return;
        }
        if self.shell.verbosity() == Verbosity::Verbose && record.findings.is_empty() {
            self.output(record);
        } else {
            for line in text::warnings(&record.stderr) {
                self.shell.output(line);
            }
        }
        self.findings(record);
        if let Some(reason) = &record.not_stored {
            self.shell.status(
                Tone::Note,
                "Not stored",
                &format!("{}: {reason}", record.id),
            );
        }
    }

    fn failed(&mut self, record: &CheckRecord) {
        self.failed.push(record.id.clone());
        let code = record
            .exit_code
            .map_or_else(String::new, |code| format!(", exit code {code}"));
        let fresh = if record.cache.is_hit() {
            ", unchanged since its last run"
        } else {
            ""
        };
        let found = found(&record.findings);
        self.shell.status(
            Tone::Bad,
            "Failed",
            &format!("{}{found}{code}{fresh}", record.id),
        );
        self.findings(record);
        // If no finding is an error, the tool's output explains the failure.
        let told = record
            .findings
            .iter()
            .any(|finding| finding.severity == Severity::Error);
        if record.findings.is_empty() {
            self.output(record);
        } else if !told {
            self.stream(&record.stderr);
        }
        if let Some(message) = &record.message {
            self.shell.line(&format!("help: {message}"));
        }
    }

    fn could_not_run(&mut self, record: &CheckRecord) {
        self.errors.push(record.id.clone());
        let message = record.message.as_deref().unwrap_or("could not run");
        // A cause that takes lines to explain is explained once.
        let first = match message.contains('\n') {
            true => self
                .causes
                .entry(message.to_owned())
                .or_insert(record.id.clone()),
            false => &record.id,
        };
        let message = match *first == record.id {
            true => message.to_owned(),
            false => format!("for the same reason as {first}"),
        };
        self.shell
            .status(Tone::Bad, "Error", &format!("{}: {message}", record.id));
        self.output(record);
    }

    /// Prints the findings, as rendered by the tool or one per line.
    fn findings(&self, record: &CheckRecord) {
        for finding in &record.findings {
            match &finding.rendered {
                Some(rendered) => self.shell.line(&format!("{}\n", rendered.trim_end())),
                None => self.shell.line(&text::finding(finding)),
            }
        }
    }

    fn output(&self, record: &CheckRecord) {
        if !record.quiet_stdout {
            self.stream(&record.stdout);
        }
        self.stream(&record.stderr);
    }

    fn stream(&self, text: &str) {
        let text = text.trim_end();
        if !text.is_empty() {
            self.shell.output(text);
        }
    }

    fn run_finished(&self, record: &RunRecord) {
        self.shell.end_progress();
        let took = text::duration(record.duration_ms);
        if self.interrupted {
            let (done, all) = (self.finished, record.checks.len());
            return self.shell.error(&format!(
                "interrupted after {took}; {done} of {all} checks done"
            ));
        }
        if record.verdict <= Verdict::Skipped {
            if self.shell.verbosity() > Verbosity::Quiet {
                let line = format!(
                    "{}: {} in {took}{}",
                    record.command,
                    self.state(record),
                    saved(record)
                );
                self.shell.status(Tone::Good, "Finished", &line);
            }
            return;
        }
        for ids in self.repeats() {
            let line = format!("{}{ids}", self.invocation);
            self.shell.status(Tone::Note, "Repeat with", &line);
        }
        // What ended the run early is said by itself.
        if !self.failed.is_empty() || !self.errors.is_empty() {
            self.shell.error(&self.closing(record));
        }
    }

    /// `15 checks, 10 Fresh, 5 run`.
    fn state(&self, record: &RunRecord) -> String {
        let (all, fresh) = (record.checks.len(), record.hits());
        let checks = text::count(all, "check", "checks");
        match (self.dry_run, all - fresh) {
            _ if all == 0 => "nothing to check".to_owned(),
            (_, 0) => format!("{checks}, all Fresh"),
            (true, dirty) => format!("{checks}, {fresh} Fresh, {dirty} Dirty"),
            (false, ran) => format!("{checks}, {fresh} Fresh, {ran} run"),
        }
    }

    /// A command per failure, or a single one if there are many.
    fn repeats(&self) -> Vec<String> {
        let all = self.failed.iter().chain(&self.errors);
        let all: Vec<String> = all.map(|id| format!(" --only {}", quoted(id))).collect();
        match all.len() {
            0..=3 => all,
            4..=MOST_REPEATED => vec![all.concat()],
            // What passed is Fresh then.
            _ => vec![String::new()],
        }
    }

    fn closing(&self, record: &RunRecord) -> String {
        let mut words = Vec::new();
        if !self.failed.is_empty() {
            words.push(format!(
                "{} failed",
                text::count(self.failed.len(), "check", "checks")
            ));
        }
        if !self.errors.is_empty() {
            words.push(format!(
                "{} could not run",
                text::count(self.errors.len(), "check", "checks")
            ));
        }
        let took = text::duration(record.duration_ms);
        format!(
            "{} of {} in {took} ({} Fresh)",
            words.join(", "),
            record.checks.len(),
            record.hits()
        )
    }
}

/// `: 1 error, 2 warnings`, or nothing.
fn found(findings: &[Finding]) -> String {
    let number = |severity| {
        findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .count()
    };
    let counts = [
        (number(Severity::Error), "error", "errors"),
        (number(Severity::Warning), "warning", "warnings"),
    ];
    let words: Vec<String> = counts
        .into_iter()
        .filter(|(number, _, _)| *number > 0)
        .map(|(number, one, many)| text::count(number, one, many))
        .collect();
    if words.is_empty() {
        String::new()
    } else {
        format!(": {}", words.join(", "))
    }
}

fn saved(record: &RunRecord) -> String {
    if record.saved_ms > 0 && record.hits() > 0 {
        format!(", saved {}", text::signed_duration(record.saved_ms))
    } else {
        String::new()
    }
}

fn parts(record: &CheckRecord) -> String {
    match record.parts {
        Some(parts) => format!(" ({} of {} files)", parts.ran, parts.hit + parts.ran),
        None => String::new(),
    }
}

impl Sink for Human<'_> {
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::RunStarted {
                checks,
                engine,
                taken,
                not_run,
                ..
            } => {
                self.total = *checks;
                if !not_run.is_empty() && self.shell.verbosity() > Verbosity::Quiet {
                    let verbose = self.shell.verbosity() == Verbosity::Verbose;
                    let line = text::not_run(not_run, verbose);
                    self.shell.status(Tone::Note, "Note", &line);
                }
                let verbose = self.shell.verbosity() == Verbosity::Verbose;
                self.engine = (*engine != "local" || verbose).then(|| (*taken).to_owned());
                if verbose {
                    self.say_engine();
                }
            }
            Event::Warning(text) | Event::LeftOut(text) => self.shell.warning(text),
            Event::EngineLost { why, .. } => {
                let verbose = self.shell.verbosity() == Verbosity::Verbose;
                self.shell.warning(&text::engine_lost(why, verbose));
                self.engine = None;
            }
            Event::CheckStarted { id, miss } => {
                self.say_engine();
                self.started(id, *miss);
                self.running.push((*id).to_owned());
                self.shell.progress(self.done, self.total, &self.running);
            }
            Event::LayerBuilt { name, duration_ms } => self.shell.built(name, *duration_ms),
            Event::Audited(id) => {
                if self.shell.verbosity() > Verbosity::Quiet {
                    let line = format!("{id}: the cached result is correct");
                    self.shell.status(Tone::Good, "Audited", &line);
                }
            }
            Event::AlreadyFailing(ids) => {
                for id in *ids {
                    let line = format!("{id} already failed in the previous commit");
                    self.shell.status(Tone::Note, "Known", &line);
                }
            }
            Event::CheckFinished(record) => self.check_finished(record),
            Event::RunFinished(record) => self.run_finished(record),
        }
    }
}
