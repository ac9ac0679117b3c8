//! Checks that work file by file: only the parts whose result is unknown are run, in as few processes as the tool's
//! output allows; the whole result is put together from all parts in path order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::digest::Digest;
use crate::key::{CheckKey, part_key};
use crate::path::RelPath;
use crate::plan::output::{Output, Share};
use crate::plan::{Builtin, CacheMode, Check, Command};
use crate::run::execute::{Done, Trouble, View, act, check_builtin, exit_code};
use crate::run::lookup::Pending;
use crate::run::{Caching, Session, now_ms};
use crate::snapshot::FileId;
use crate::store::parts::{Pack, PartResult, Said};

/// Bytes of paths that go on one command line; the system allows about 2 MiB for arguments and environment together.
const ARGV_BYTES: usize = 96 * 1024;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// The parts of one check: what is known, what was run.
pub(super) struct Parts<'a, 's> {
    session: &'a Session<'s>,
    check: &'a Check,
    key: &'a CheckKey,
    files: &'a [FileId],
    keys: Vec<Digest>,
    results: Vec<Option<PartResult>>,
    ran: BTreeMap<Digest, PartResult>,
    built: Vec<String>,
}

impl<'a, 's> Parts<'a, 's> {
    /// Looks the results of all parts up.
    pub(super) fn known(session: &'a Session<'s>, check: &'a Check, key: &'a CheckKey) -> Self {
        let files = check.inputs.parts.as_deref().unwrap_or_default();
        let common = key.common;
        let keys: Vec<Digest> = files
            .iter()
            .map(|id| part_key(&common, session.snapshot.entry(*id)))
            .collect();
        let pack = if reusable(session, check) {
            session.store.pack(&common)
        } else {
            Pack::default()
        };
        let passes_only = check.cache == CacheMode::Passes;
        let known = |key| {
            session
                .store
                .part(&pack, key)
                .filter(|part| part.exit_code == 0 || !passes_only)
        };
        let results = keys.iter().map(known).collect();
        Self {
            session,
            check,
            key,
            files,
            keys,
            results,
            ran: BTreeMap::new(),
            built: Vec::new(),
        }
    }

    /// Positions of the parts that have to be run.
    fn missing(&self) -> Vec<usize> {
        (0..self.files.len())
            .filter(|at| self.results[*at].is_none())
            .collect()
    }

    /// Paths of the parts that have to be run.
    pub(super) fn missing_paths(&self) -> BTreeSet<&'a RelPath> {
        let missing = self.missing().into_iter();
        missing
            .map(|at| &self.session.snapshot.entry(self.files[at]).path)
            .collect()
    }

    fn set(&mut self, at: usize, result: PartResult) {
        self.ran.insert(self.keys[at], result.clone());
        self.results[at] = Some(result);
    }

    /// Remembers what was run, and puts the whole together.
    pub(super) fn finish(self) -> Done {
        let Self {
            session,
            check,
            key,
            keys,
            results,
            ran,
            ..
        } = self;
        if !ran.is_empty() && reusable(session, check) {
            remember(session, &key.common, &keys, &ran);
        }
        let mut done = Done {
            parts_ran: count(ran.len()),
            parts_hit: count(keys.len() - ran.len()),
            ..Done::default()
        };
        let (mut total_us, mut saved_us) = (0_u64, 0_u64);
        for (key, result) in keys.iter().zip(results) {
            let result = result.unwrap_or_default();
            total_us += u64::from(result.duration_us);
            if !ran.contains_key(key) {
                saved_us += u64::from(result.duration_us);
            }
            done.exit_code = done.exit_code.max(result.exit_code);
            append(&mut done.stdout, &result.said.stdout);
            append(&mut done.stderr, &result.said.stderr);
            done.findings.extend(result.said.findings);
        }
        done.findings.sort();
        done.duration_ms = total_us / 1000;
        done.saved_ms = saved_us / 1000;
        done
    }
}

fn reusable(session: &Session<'_>, check: &Check) -> bool {
    session.options.caching == Caching::On
        && check.not_cached.is_none()
        && check.cache != CacheMode::Off
        && check.max_age.is_none()
}

/// Saves the results of parts. Another process may add to the same pack, hence the lock; a failure to save costs a
/// rerun, nothing else.
fn remember(
    session: &Session<'_>,
    common: &Digest,
    keys: &[Digest],
    ran: &BTreeMap<Digest, PartResult>,
) {
    let Ok(_lock) = session.store.lock_key(common) else {
        return;
    };
    let day = u32::try_from(now_ms() / DAY_MS).unwrap_or(u32::MAX);
    let _ = session.store.add_parts(common, ran, keys, day);
}

/// Runs the missing parts of a built-in check.
pub(super) fn run_builtin(
    session: &Session<'_>,
    pending: &Pending<'_>,
    builtin: &dyn Builtin,
) -> Result<Done, Trouble> {
    let mut parts = Parts::known(session, pending.check, &pending.key);
    for at in parts.missing() {
        if session.interrupt.is_set() {
            return Err(Trouble::Error("interrupted".to_owned(), Output::default()));
        }
        let begun = Instant::now();
        let view = View {
            snapshot: session.snapshot,
            shared: &pending.check.inputs.shared,
            part: Some(parts.files[at]),
        };
        let findings = check_builtin(builtin, &view)?;
        let duration_us = u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX);
        let exit_code = exit_code(&findings);
        parts.set(
            at,
            PartResult {
                exit_code,
                duration_us,
                said: Said {
                    findings,
                    ..Said::default()
                },
            },
        );
    }
    Ok(parts.finish())
}

/// Runs the missing parts of a program.
pub(super) fn run_command(
    session: &Session<'_>,
    pending: &Pending<'_>,
    command: &Command,
    built: &mut Vec<String>,
) -> Result<Done, Trouble> {
    let mut parts = Parts::known(session, pending.check, &pending.key);
    let missing = parts.missing();
    let batches = if command.batch {
        batches(&parts, missing)
    } else {
        missing.into_iter().map(|at| vec![at]).collect()
    };
    for batch in batches {
        run_batch(&mut parts, pending, command, &batch)?;
    }
    built.append(&mut parts.built);
    Ok(parts.finish())
}

/// Cuts positions into runs that fit on a command line.
fn batches(parts: &Parts<'_, '_>, missing: Vec<usize>) -> Vec<Vec<usize>> {
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut bytes = ARGV_BYTES;
    for at in missing {
        let length = parts.session.snapshot.entry(parts.files[at]).path.len() + 16;
        if bytes + length > ARGV_BYTES {
            batches.push(Vec::new());
            bytes = 0;
        }
        bytes += length;
        if let Some(batch) = batches.last_mut() {
            batch.push(at);
        }
    }
    batches
}

/// Runs some parts in one process; if its output cannot be told apart, one process each.
fn run_batch(
    parts: &mut Parts<'_, '_>,
    pending: &Pending<'_>,
    command: &Command,
    batch: &[usize],
) -> Result<(), Trouble> {
    let files: Vec<FileId> = batch.iter().map(|at| parts.files[*at]).collect();
    let mut built = Vec::new();
    let executed = act(parts.session, pending, command, &files, &mut built)?;
    parts.built.append(&mut built);
    if executed.truncated {
        return Err(Trouble::Error(
            "its output was cut: it said too much".to_owned(),
            executed.output,
        ));
    }
    let micros = u32::try_from(executed.duration.as_micros()).unwrap_or(u32::MAX);
    if let [at] = batch {
        let said = said(parts, command, &executed.output, *at);
        parts.set(
            *at,
            PartResult {
                exit_code: executed.output.exit_code,
                duration_us: micros,
                said,
            },
        );
        return Ok(());
    }
    let snapshot = parts.session.snapshot;
    let paths: Vec<&RelPath> = files.iter().map(|id| &snapshot.entry(*id).path).collect();
    let parsed = command.parse.parse(&executed.output, &command.dir, &paths);
    let Some(mut shares) = parsed
        .shares
        .filter(|shares| explains(shares, &paths, executed.output.exit_code))
    else {
        return batch
            .iter()
            .try_for_each(|at| run_batch(parts, pending, command, &[*at]));
    };
    let mut findings: BTreeMap<RelPath, Vec<_>> = BTreeMap::new();
    for finding in parsed.findings {
        if let Some(path) = finding.path.clone() {
            findings.entry(path).or_default().push(finding);
        }
    }
    let each = micros / u32::try_from(batch.len()).unwrap_or(u32::MAX).max(1);
    for (at, path) in batch.iter().zip(paths) {
        let share = shares.remove(path).unwrap_or_default();
        let mut findings = findings.remove(path).unwrap_or_default();
        findings.sort();
        let said = Said {
            stdout: share.stdout,
            stderr: share.stderr,
            findings,
        };
        parts.set(
            *at,
            PartResult {
                exit_code: share.exit_code,
                duration_us: each,
                said,
            },
        );
    }
    Ok(())
}

/// Whether shares account for a process: only known files, and a failure if and only if one of them failed.
fn explains(shares: &BTreeMap<RelPath, Share>, paths: &[&RelPath], exit_code: i32) -> bool {
    let failed = shares.values().any(|share| share.exit_code != 0);
    failed == (exit_code != 0) && shares.keys().all(|path| paths.contains(&path))
}

fn said(parts: &Parts<'_, '_>, command: &Command, output: &Output, at: usize) -> Said {
    let path = &parts.session.snapshot.entry(parts.files[at]).path;
    let mut findings = command.parse.parse(output, &command.dir, &[path]).findings;
    findings.sort();
    Said {
        stdout: output.stdout.clone(),
        stderr: output.stderr.clone(),
        findings,
    }
}

/// Appends the output of a part, on a line of its own.
fn append(text: &mut String, more: &str) {
    text.push_str(more);
    if !more.is_empty() && !more.ends_with('\n') {
        text.push('\n');
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
