//! The result of a check, and what becomes of it: a record and, if allowed, a stored entry.
//!
//! Runs nothing.

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::digest::Digest;
use crate::finding::{Finding, Severity};
use crate::key::CheckKey;
use crate::key::fingerprint::PartKind;
use crate::plan::output::Output;
use crate::plan::{CacheMode, Check, Work};
use crate::record::{Cache, CheckRecord, NO_CACHE, PartCount, Verdict};
use crate::rule::Rule;
use crate::run::hint::hint;
use crate::run::outputs::Made;
use crate::run::read_keys::Asked;
use crate::run::usable::{DISTRUSTED, distrusted};
use crate::run::{Caching, Session, now_ms, read_keys};
use crate::store::entry::Entry;
use crate::store::last::Seen;
use crate::visible::Shown as _;

/// Why an action had no result.
#[derive(Debug)]
pub(super) enum Trouble {
    /// A file changed while being read.
    Changed,
    /// The engine was lost, with this message.
    Lost(String),
    /// It could not run: the message, and the tool's output so far.
    Error(String, Output),
}

/// The result of running a whole check or one part.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Done {
    pub(crate) exit_code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) findings: Vec<Finding>,
    pub(crate) duration_ms: u64,
    pub(crate) peak_memory: Option<u64>,
    pub(crate) parts_hit: u32,
    pub(crate) parts_ran: u32,
    pub(crate) saved_ms: u64,
    /// Whether it, or a part of it, may have seen more than is in the key.
    pub(crate) unconfined: bool,
    /// Where it ran, if that is to be kept.
    pub(crate) room: Option<PathBuf>,
    /// What it asked about the project's files, if known.
    pub(crate) asked: Option<Asked>,
    /// Whether it used products of the user.
    pub(crate) seeded: bool,
    /// Whether the Dagger engine had everything cached, so nothing ran.
    pub(crate) replayed: bool,
    /// Why this result must not be stored.
    pub(crate) not_stored: Option<String>,
    pub(crate) outputs: Vec<Made>,
    /// When the oldest part was made, in milliseconds since 1970 UTC.
    pub(crate) since_ms: Option<u64>,
}

/// The exit code for a built-in's findings.
pub(super) fn exit_code(findings: &[Finding]) -> i32 {
    i32::from(
        findings
            .iter()
            .any(|finding| finding.severity == Severity::Error),
    )
}

/// Turns a result into a record, and stores it if allowed.
pub(super) fn conclude(
    session: &Session<'_>,
    check: &Check,
    key: &CheckKey,
    done: Done,
    made: &[Made],
    record: &mut CheckRecord,
) -> Option<Seen> {
    let passed = done.exit_code == 0;
    record.verdict = if passed {
        Verdict::Passed
    } else {
        Verdict::Failed
    };
    let narrow = done.asked.as_ref();
    let narrow = narrow.and_then(|asked| read_keys::key_of_run(session, check, key, asked));
    let used = narrow.as_ref().unwrap_or(key);
    record.key = Some(used.whole);
    let refused = refusal(session, check, [key, used], passed)
        .or_else(|| done.not_stored.clone())
        .or_else(|| full_disk(&done.stdout, &done.stderr).filter(|_| !passed));
    let seen = match session.options.caching {
        Caching::On => read_keys::remember(session, check, key, done.asked.as_ref())
            .ok()
            .and_then(|()| save(session, check, used, &done, made, refused.is_none())),
        Caching::Off | Caching::Only => None,
    };
    if session.options.caching == Caching::On && check.cache == CacheMode::All {
        let unwritten = seen.is_none() && session.store.writable();
        let unwritten = unwritten.then(|| "the cache directory is not writable".to_owned());
        record.not_stored = refused.or(unwritten);
    }
    if check.inputs.parts.is_some() {
        record.parts = Some(PartCount {
            hit: done.parts_hit,
            ran: done.parts_ran,
        });
    }
    record.replayed = done.replayed;
    record.saved_ms = i64::try_from(done.saved_ms).unwrap_or(i64::MAX);
    record.exit_code = Some(done.exit_code);
    record.stdout = done.stdout;
    record.stderr = done.stderr;
    record.findings = done.findings;
    seen
}

/// Messages about a full disk (of the C library).
const FULL_DISK: [&str; 2] = ["No space left on device", "Disk quota exceeded"];

/// Why a failure is not stored if its output mentions a full disk: there may be space again at the end of the run.
pub(super) fn full_disk(stdout: &str, stderr: &str) -> Option<String> {
    let said = |text: &str| FULL_DISK.iter().any(|words| text.contains(words));
    (Rule::FullDisk.holds() && (said(stdout) || said(stderr)))
        .then(|| "its output mentions a full disk".to_owned())
}

/// Why a verdict is not stored under the last of its keys; `None` if it is.
fn refusal(
    session: &Session<'_>,
    check: &Check,
    keys: [&CheckKey; 2],
    passed: bool,
) -> Option<String> {
    if session.options.caching != Caching::On {
        return Some(NO_CACHE.to_owned());
    }
    if let Some(reason) = &check.not_cached {
        return Some(reason.clone());
    }
    if keys.iter().any(|key| distrusted(session, &key.whole)) {
        return Some(DISTRUSTED.to_owned());
    }
    match check.cache {
        CacheMode::All => None,
        CacheMode::Passes if passed => None,
        CacheMode::Passes => Some("only passes are cached".to_owned()),
        CacheMode::Off => Some("cache = false".to_owned()),
    }
}

/// Saves a result: fingerprint and trees first, the entry last. Without `entry`, only what miss reasons need.
fn save(
    session: &Session<'_>,
    check: &Check,
    key: &CheckKey,
    done: &Done,
    made: &[Made],
    entry: bool,
) -> Option<Seen> {
    let store = session.store;
    let print = &key.fingerprint;
    if entry && !Rule::EntryLast.holds() {
        let fingerprint = Digest::of(&serde_json::to_vec(print).ok()?);
        let entry = new_entry(session, check, key, done, fingerprint);
        store.save(&entry).ok()?;
    }
    let fingerprint = store.put_fingerprint(print).ok()?;
    let checked = check.inputs.checked();
    let sets = [
        (PartKind::Inputs, Some(&check.inputs.shared)),
        (PartKind::Files, checked.as_ref()),
    ];
    for (kind, files) in sets {
        let root = print.value(kind).and_then(|value| value.parse().ok());
        if let (Some(root), Some(files)) = (root, files) {
            store.put_tree(&root, session.snapshot, files).ok()?;
        }
    }
    if entry {
        for file in made {
            store.put_blob(&file.bytes).ok()?;
        }
        let mut entry = new_entry(session, check, key, done, fingerprint);
        entry.outputs = made.iter().map(Made::output).collect();
        store.save(&entry).ok()?;
    }
    Some(Seen {
        key: key.whole,
        fingerprint,
        stored: entry,
    })
}

fn new_entry(
    session: &Session<'_>,
    check: &Check,
    key: &CheckKey,
    done: &Done,
    fingerprint: Digest,
) -> Entry {
    let (class, platform) = session.place_of(check);
    Entry {
        key: key.whole,
        check: check.id.clone(),
        passed: done.exit_code == 0,
        exit_code: done.exit_code,
        stdout: done.stdout.clone(),
        stderr: done.stderr.clone(),
        findings: done.findings.clone(),
        parts: done.parts_hit + done.parts_ran,
        duration_ms: done.duration_ms,
        peak_memory: done.peak_memory,
        engine: format!("{class} {platform}"),
        tools: tool_versions(&check.work),
        confined: !done.unconfined,
        created_ms: now_ms(),
        since_ms: done.since_ms,
        outputs: Vec::new(),
        local_only: local_only(&check.work),
        writer: env!("CARGO_PKG_VERSION").to_owned(),
        fingerprint,
        seeded: done.seeded,
        common: check.inputs.parts.is_some().then_some(key.common),
    }
}

/// Whether its key contains a secret sealed with this store's own key.
fn local_only(work: &Work) -> bool {
    let mut secrets = work
        .command()
        .into_iter()
        .flat_map(|command| &command.secrets);
    secrets.any(|secret| !secret.shared)
}

fn tool_versions(work: &Work) -> Vec<String> {
    use crate::plan::Tool;
    let Work::Command(command) = work else {
        return Vec::new();
    };
    let version = |tool: &Tool| match tool {
        Tool::Host { version, .. } | Tool::Layer { version, .. } => version.clone(),
        Tool::Image { .. } | Tool::Absent { .. } => None,
    };
    command.tools.iter().filter_map(version).collect()
}

/// The record of a stored result.
pub(super) fn replay(entry: Entry, check: &Check, cache: Cache) -> CheckRecord {
    let parts = check.inputs.parts.is_some().then_some(PartCount {
        hit: entry.parts,
        ran: 0,
    });
    CheckRecord {
        id: check.id.clone(),
        verdict: if entry.passed {
            Verdict::Passed
        } else {
            Verdict::Failed
        },
        cache,
        miss: None,
        key: Some(entry.key),
        exit_code: Some(entry.exit_code),
        stdout: entry.stdout,
        stderr: entry.stderr,
        findings: entry.findings,
        duration_ms: 0,
        saved_ms: i64::try_from(entry.duration_ms).unwrap_or(i64::MAX),
        parts,
        message: None,
        not_stored: None,
        quiet_stdout: quiet_stdout(check),
        built: Vec::new(),
        there: Vec::new(),
        replayed: false,
    }
}

pub(super) fn quiet_stdout(check: &Check) -> bool {
    matches!(&check.work, Work::Command(command) if command.quiet_stdout)
}

/// Additional messages about a failure.
pub(super) fn advice(session: &Session<'_>, check: &Check, record: &CheckRecord) -> Option<String> {
    let Work::Command(command) = &check.work else {
        return None;
    };
    if record.verdict != Verdict::Failed {
        return None;
    }
    let output = format!("{}\n{}", record.stdout, record.stderr);
    hint(check, command, session.snapshot, &output)
}

/// The message about a failure whose room is kept.
pub(super) fn kept(check: &Check, advice: Option<String>, room: &Path) -> String {
    let kept = format!(
        "its room is kept at {} until the check runs again",
        room.shown()
    );
    match advice {
        Some(advice) => format!("{advice}\nhelp: {kept}"),
        None => format!(
            "{kept}; run `cargo dagcache shell {}` to open a shell in a similar room",
            check.id
        ),
    }
}

pub(super) fn elapsed_ms(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}
