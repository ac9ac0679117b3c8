//! Audits re-run cached checks and compare the results. A wrong result is quarantined, its key is never trusted
//! again, and the check fails with a message that helps to find the undeclared input.
//!
//! Compares exit code, findings and outputs; other output may contain irrelevant times and sizes.

use std::time::Instant;

use crate::digest::Digest;
use crate::event::Event;
use crate::finding::{Finding, Severity};
use crate::key::facts::{Facts, Place};
use crate::key::{Miss, MissKind};
use crate::record::{Cache, CheckRecord, Verdict};
use crate::rule::Rule;
use crate::run::execute::{Finished, work};
use crate::run::lookup::Pending;
use crate::run::outputs::{Made, deliver};
use crate::run::read_keys::{Asked, states_in};
use crate::run::result::{Done, Trouble, elapsed_ms};
use crate::run::{Caching, Options, Session};
use crate::store::entry::{Entry, Lookup};
use crate::store::outputs::Output;

/// Which hits to audit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// Percentage of hits.
    pub(crate) percent: u8,
    /// Differs between runs, so that every hit is audited eventually.
    pub(crate) seed: u64,
}

impl Sample {
    /// Whether the check with this id is in the sample.
    #[must_use]
    pub(crate) fn holds(&self, id: &str) -> bool {
        let digest = Digest::of(format!("{} {id}", self.seed).as_bytes());
        let [a, b, ..] = digest.as_bytes();
        u32::from(u16::from_le_bytes([*a, *b])) * 100 < u32::from(self.percent) * 65_536
    }
}

/// Whether to audit a hit.
pub(super) fn wanted(session: &Session<'_>, record: &CheckRecord) -> bool {
    let chosen = session
        .options
        .audit
        .is_some_and(|sample| sample.holds(&record.id));
    let options = &session.options;
    chosen && record.cache == Cache::Hit && options.caching == Caching::On && !options.dry_run
}

/// Re-runs a hit and compares.
pub(super) fn audit(session: &Session<'_>, pending: &Pending<'_>, hit: &CheckRecord) -> Finished {
    let begun = Instant::now();
    let mut record = hit.clone();
    // Not the whole key if only the files it read count.
    let key = hit.key.unwrap_or(pending.key.whole);
    let Lookup::Hit(entry) = session.store.lookup(&key) else {
        return Finished::Done(Box::new(record), None);
    };
    let again = Session {
        options: Options {
            caching: Caching::Off,
            discover: false,
            ..session.options
        },
        ..*session
    };
    let now = work(&again, pending, &mut record.built);
    record.duration_ms = elapsed_ms(begun);
    record.saved_ms = 0;
    let now = match now {
        Ok(now) => now,
        Err(Trouble::Changed) => return Finished::Changed,
        Err(Trouble::Error(message, _) | Trouble::Lost(message)) => {
            let text = format!("cannot audit {}: {message}", hit.id);
            session.emit(&Event::Warning(&text));
            return Finished::Done(Box::new(record), None);
        }
    };
    let differs = differences(&Seen::of_entry(&entry), &Seen::of_run(&now));
    let Some(first) = differs.first() else {
        session.emit(&Event::Audited(&hit.id));
        return Finished::Done(Box::new(record), None);
    };
    let cause = match work(&again, pending, &mut record.built) {
        Ok(third) => cause(&now, &third),
        Err(_) => "a third run did not finish".to_owned(),
    };
    let said = first_other_line(&entry, &now) + &used_otherwise(session, &entry, &now);
    let why = format!("its cached result is wrong: {}", differs.join("; "));
    if Rule::LiesAreQuarantined.holds() {
        let store = session.store;
        let kept = store.quarantine(&key, first);
        // The whole key as well: the next run may read more, and its result would have another key.
        let distrusted = [Some(key), Some(pending.key.whole), entry.common];
        let distrusted = distrusted
            .iter()
            .flatten()
            .try_for_each(|key| store.distrust(key));
        if let Err(error) = kept.and(distrusted) {
            let text = format!(
                "cannot quarantine the wrong cached result of {}: {error}",
                hit.id
            );
            session.emit(&Event::Warning(&text));
        }
    }
    lied(&mut record, &now, why);
    deliver(session, &now.outputs, &mut record);
    record.message = Some(format!("{cause}{said}"));
    Finished::Done(Box::new(record), None)
}

/// Turns the record of the run into a failure.
fn lied(record: &mut CheckRecord, now: &Done, why: String) {
    record.verdict = Verdict::Failed;
    record.cache = Cache::Miss;
    record.miss = Some(Miss::about(
        MissKind::Damaged,
        "an audit got a different result",
    ));
    record.exit_code = Some(now.exit_code);
    record.stdout.clone_from(&now.stdout);
    record.stderr.clone_from(&now.stderr);
    record.findings.clone_from(&now.findings);
    record.findings.push(Finding {
        path: None,
        line: None,
        column: None,
        severity: Severity::Error,
        code: None,
        message: why,
        rendered: None,
    });
    record.findings.sort();
}

/// The part of a result that counts.
#[derive(PartialEq)]
struct Seen<'a> {
    exit_code: i32,
    findings: &'a [Finding],
    outputs: Vec<Output>,
}

impl<'a> Seen<'a> {
    fn of_entry(entry: &'a Entry) -> Self {
        Self {
            exit_code: entry.exit_code,
            findings: &entry.findings,
            outputs: entry.outputs.clone(),
        }
    }

    fn of_run(done: &'a Done) -> Self {
        Self {
            exit_code: done.exit_code,
            findings: &done.findings,
            outputs: done.outputs.iter().map(Made::output).collect(),
        }
    }
}

/// The differences, most important first.
fn differences(stored: &Seen<'_>, now: &Seen<'_>) -> Vec<String> {
    let mut all = Vec::new();
    if stored.exit_code != now.exit_code {
        all.push(format!(
            "exit code {}, now {}",
            stored.exit_code, now.exit_code
        ));
    }
    let only = |these: &[Finding], those: &[Finding]| {
        these
            .iter()
            .find(|finding| !those.contains(finding))
            .cloned()
    };
    let named = |finding: Finding| match finding.path {
        Some(path) => format!("`{}` in {path}", finding.message),
        None => format!("`{}`", finding.message),
    };
    if let Some(gone) = only(stored.findings, now.findings) {
        all.push(format!("no longer {}", named(gone)));
    }
    if let Some(new) = only(now.findings, stored.findings) {
        all.push(format!("now {}", named(new)));
    }
    let of = |outputs: &[Output], path: &Output| {
        outputs
            .iter()
            .find(|output| output.path == path.path)
            .cloned()
    };
    let changed = stored.outputs.iter().chain(&now.outputs);
    let mut changed =
        changed.filter(|output| of(&stored.outputs, output) != of(&now.outputs, output));
    if let Some(output) = changed.next() {
        all.push(format!("output {} differs", output.path));
    }
    if all.is_empty() && stored != now {
        all.push("the number of equal findings differs".to_owned());
    }
    all
}

/// Determines from two runs whether the check or its declaration is at fault.
fn cause(now: &Done, third: &Done) -> String {
    let same = Seen::of_run(now) == Seen::of_run(third);
    if same {
        return "two new runs agree, so the check depends on something undeclared: a file or variable outside its inputs, the host, or the time".to_owned();
    }
    "two runs on the same inputs differ, so the check is not deterministic; fix that, or set `cache = false`"
        .to_owned()
}

/// What the new run used and the cached one did not, or the other way round, if both were traced.
fn used_otherwise(session: &Session<'_>, entry: &Entry, now: &Done) -> String {
    let Some(Asked::Facts(now)) = &now.asked else {
        return String::new();
    };
    let print = session.store.fingerprint(&entry.fingerprint);
    let Some(before) = print.and_then(|print| states_in(session, &print)) else {
        return String::new();
    };
    let before = before.facts();
    let list = |these: &Facts, others: &Facts| {
        const MOST: usize = 5;
        let other = these.used().filter(|path| !others.0.contains_key(*path));
        let shown = other.take(MOST).map(|path| Place::of(path).to_string());
        shown.collect::<Vec<_>>().join(", ")
    };
    let (new, gone) = (list(now, &before), list(&before, now));
    let said = |paths: &str, whose: &str| match paths {
        "" => String::new(),
        paths => format!(". Only {whose} used {paths}"),
    };
    said(&new, "the new run") + &said(&gone, "the cached one")
}

/// The first differing line of output, which often reveals the cause.
fn first_other_line(entry: &Entry, now: &Done) -> String {
    let streams = [
        ("stdout", &entry.stdout, &now.stdout),
        ("stderr", &entry.stderr, &now.stderr),
    ];
    for (name, before, after) in streams {
        let (mut before, mut after) = (before.lines(), after.lines());
        for number in 1.. {
            match (before.next(), after.next()) {
                (None, None) => break,
                (one, other) if one == other => {}
                (one, other) => {
                    let line = |line: Option<&str>| {
                        line.map_or("nothing".to_owned(), |line| format!("`{line}`"))
                    };
                    let (one, other) = (line(one), line(other));
                    return format!(". Line {number} of {name} was {one}, now it is {other}");
                }
            }
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_about_its_size_and_differs_from_run_to_run() {
        let ids: Vec<String> = (0..1000).map(|number| format!("check-{number}")).collect();
        let sample = |percent, seed| {
            let sample = Sample { percent, seed };
            ids.iter().filter(|id| sample.holds(id)).count()
        };
        assert_eq!(sample(100, 1), 1000);
        assert_eq!(sample(0, 1), 0);
        assert!((200..300).contains(&sample(25, 1)));
        let of = |seed| {
            ids.iter()
                .map(move |id| Sample { percent: 25, seed }.holds(id))
        };
        assert!(!of(1).eq(of(2)));
        assert!(of(1).eq(of(1)));
    }

    #[test]
    fn the_first_other_line_is_named() {
        let entry = Entry {
            stdout: "a\nb\n".into(),
            ..crate::store::entry::sample(Digest::of(b"k"))
        };
        let now = |stdout: &str| Done {
            stdout: stdout.to_owned(),
            ..Done::default()
        };
        assert_eq!(first_other_line(&entry, &now("a\nb\n")), "");
        assert_eq!(
            first_other_line(&entry, &now("a\n")),
            ". Line 2 of stdout was `b`, now it is nothing"
        );
    }
}
