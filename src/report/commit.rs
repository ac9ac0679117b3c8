//! The report of a git hook: silent if everything passes. Otherwise one line per failed check, its findings, and how
//! to skip it. What several checks report alike is printed once, below their lines.

use crate::event::{Event, Sink};
use crate::finding::{Finding, Severity};
use crate::process::quoted;
use crate::record::{CheckRecord, INTERRUPTED, RunRecord, Verdict};
use crate::report::shell::{Shell, Tone, Verbosity};
use crate::report::text;

/// Findings printed per check.
const MOST: usize = 50;

/// Number of checks named in the help for skipping them.
const NAMED: usize = 4;

/// Collects failures until the run has finished, so that the lines of a check stay together.
#[derive(Debug)]
pub(crate) struct Commit<'a> {
    shell: &'a Shell,
    /// What it stops.
    stops: &'a str,
    total: usize,
    done: usize,
    running: Vec<String>,
    warnings: Vec<String>,
    failed: Vec<CheckRecord>,
    known: Vec<String>,
    interrupted: bool,
}

impl<'a> Commit<'a> {
    /// A report through `shell` of a hook that stops a `commit` or a `push`.
    #[must_use]
    pub(crate) fn new(shell: &'a Shell, stops: &'a str) -> Self {
        Self {
            shell,
            stops,
            total: 0,
            done: 0,
            running: Vec::new(),
            warnings: Vec::new(),
            failed: Vec::new(),
            known: Vec::new(),
            interrupted: false,
        }
    }

    fn check_finished(&mut self, record: &CheckRecord) {
        // The check may have been repeated because something else was staged in the meantime.
        self.failed.retain(|before| before.id != record.id);
        self.done += 1;
        self.running.retain(|id| *id != record.id);
        if record.message.as_deref() == Some(INTERRUPTED) {
            self.interrupted = true;
        } else if record.verdict >= Verdict::Failed {
            self.failed.push(record.clone());
        }
        if !self.running.is_empty() {
            self.shell.progress(self.done, self.total, &self.running);
        }
    }

    fn run_finished(&mut self, run: &RunRecord) {
        self.shell.end_progress();
        let what = self.stops;
        if self.interrupted {
            return self
                .shell
                .error(&format!("interrupted; the {what} is stopped"));
        }
        if self.failed.is_empty() {
            return;
        }
        for warning in &self.warnings {
            self.shell.warning(warning);
        }
        self.failed.sort_by(|a, b| a.id.cmp(&b.id));
        let mut rest: Vec<&CheckRecord> = self.failed.iter().collect();
        while let Some(first) = rest.first().copied() {
            let alike = |record: &&CheckRecord| found_alike(first, record);
            let (group, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(alike);
            group.iter().for_each(|record| self.headline(record));
            self.details(first);
            rest = others;
        }
        if run.verdict < Verdict::Failed {
            return;
        }
        let count = text::count(self.failed.len(), "check", "checks");
        self.shell.error(&format!("{count} blocked the {what}"));
        let ids: Vec<&str> = self
            .failed
            .iter()
            .map(|record| record.id.as_str())
            .collect();
        let (skip, left_out) = match ids.len() {
            1 => (quoted(&ids.concat()), "this check"),
            2..=NAMED => (quoted(&ids.join(",")), "these checks"),
            _ => ("ID,ID".to_owned(), "the checks with these ids"),
        };
        self.shell.line(&format!(
            "help: prefix the command with `DAGCACHE_SKIP={skip}` to skip {left_out}, or add `--no-verify` to skip all"
        ));
    }

    fn headline(&self, record: &CheckRecord) {
        let errors = record.findings.iter().filter(|found| is_error(found));
        let found = match (record.verdict, errors.count()) {
            (Verdict::Error, _) => {
                let message = record.message.as_deref();
                format!(": {}", message.unwrap_or("could not run"))
            }
            (_, 0) => String::new(),
            (_, number) => format!(": {}", text::count(number, "error", "errors")),
        };
        let line = format!("{}{found}", record.id);
        match record.verdict {
            Verdict::Error => self.shell.status(Tone::Bad, "Error", &line),
            _ if self.known.contains(&record.id) => {
                let line = format!("{line} (already failing)");
                self.shell.status(Tone::Note, "Failed", &line);
            }
            _ => self.shell.status(Tone::Bad, "Failed", &line),
        }
    }

    fn details(&self, record: &CheckRecord) {
        let told = record.findings.iter().any(is_error);
        // Findings that block the commit must not hide among others.
        let only = told && self.shell.verbosity() < Verbosity::Verbose;
        let findings = record.findings.iter();
        let shown: Vec<&Finding> = findings.filter(|found| !only || is_error(found)).collect();
        for finding in shown.iter().take(MOST) {
            match &finding.rendered {
                Some(rendered) => self.shell.line(&format!("{}\n", rendered.trim_end())),
                None => self.shell.line(&text::finding(finding)),
            }
        }
        if shown.len() > MOST {
            let more = shown.len() - MOST;
            self.shell.line(&format!("… and {more} more"));
        }
        let hidden = record.findings.len() - shown.len();
        if hidden > 0 {
            let hidden = text::count(hidden, "warning", "warnings");
            self.shell.line(&format!(
                "… and {hidden} (`cargo dagcache pre-commit -v` shows all)"
            ));
        }
        if record.findings.is_empty() && !record.quiet_stdout {
            self.stream(&record.stdout);
        }
        if !told {
            self.stream(&record.stderr);
        }
        if let (Some(message), Verdict::Failed) = (&record.message, record.verdict) {
            self.shell.line(&format!("help: {message}"));
        }
    }

    fn stream(&self, text: &str) {
        let text = text.trim_end();
        if !text.is_empty() {
            self.shell.output(text);
        }
    }
}

/// Whether two checks report the same: they are the same check, or found the same errors and nothing else.
fn found_alike(a: &CheckRecord, b: &CheckRecord) -> bool {
    let silent = |record: &CheckRecord| record.message.is_none();
    let same = || silent(a) && silent(b) && a.findings == b.findings;
    a.id == b.id || a.findings.iter().any(is_error) && same()
}

fn is_error(finding: &Finding) -> bool {
    finding.severity == Severity::Error
}

impl Sink for Commit<'_> {
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::RunStarted { checks, .. } => self.total = *checks,
            // Printed even if the commit passes.
            Event::LeftOut(text) => self.shell.warning(text),
            Event::Warning(text) => self.warnings.push((*text).to_owned()),
            Event::EngineLost { why, .. } => self.warnings.push(text::engine_lost(why, false)),
            Event::CheckStarted { id, .. } => {
                self.running.push((*id).to_owned());
                self.shell.progress(self.done, self.total, &self.running);
            }
            Event::LayerBuilt { name, duration_ms } => self.shell.built(name, *duration_ms),
            Event::Audited(_) => {}
            Event::AlreadyFailing(ids) => self.known = ids.to_vec(),
            Event::CheckFinished(record) => self.check_finished(record),
            Event::RunFinished(record) => self.run_finished(record),
        }
    }
}
