//! Runs the missing parts of a check, in as few processes as the tool's output allows.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::engine::Executed;
use crate::finding::{Finding, Severity};
use crate::path::RelPath;
use crate::plan::output::{Output, Share};
use crate::plan::{Builtin, Command};
use crate::record::INTERRUPTED;
use crate::run::act::{View, act, check_builtin, prepare, reports_signal, room};
use crate::run::lookup::Pending;
use crate::run::parts::Parts;
use crate::run::result::{Done, Trouble, exit_code};
use crate::run::{Session, now_ms};
use crate::snapshot::{Entry, FileId, Kind};
use crate::store::parts::{PartResult, Said};

/// Bytes of paths per command line; the system allows about 2 MiB for arguments and environment together.
const ARGV_BYTES: usize = 96 * 1024;

/// Runs the missing parts of a built-in check.
pub(super) fn run_builtin(
    session: &Session<'_>,
    pending: &Pending<'_>,
    builtin: &dyn Builtin,
) -> Result<Done, Trouble> {
    let mut parts = Parts::known(session, pending.check, &pending.key);
    let mut failed = None;
    for at in parts.missing() {
        if session.interrupt.is_set() {
            return Err(Trouble::Error(INTERRUPTED.to_owned(), Output::default()));
        }
        let begun = Instant::now();
        let view = View {
            snapshot: session.snapshot,
            shared: &pending.check.inputs.shared,
            part: Some(parts.files[at]),
        };
        let findings = match check_builtin(builtin, &view) {
            Ok(findings) => findings,
            // The others are checked first.
            Err(error @ Trouble::Error(..)) => {
                failed.get_or_insert(error);
                continue;
            }
            Err(other) => return Err(other),
        };
        let duration_us = u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX);
        let exit_code = exit_code(&findings);
        parts.set(
            at,
            PartResult {
                made_ms: now_ms(),
                exit_code,
                duration_us,
                said: Said {
                    findings,
                    ..Said::default()
                },
            },
        );
    }
    let done = parts.finish();
    failed.map_or(Ok(done), Err)
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
    if !missing.is_empty() {
        prepare(session, pending, built)?;
    }
    let entry = |at: usize| session.snapshot.entry(parts.files[at]);
    // A link may lead to the file of another part, which would only exist while both run in one process.
    let is_link = |entry: &Entry| entry.kind == Kind::Symlink;
    let mut shared = pending.check.inputs.shared.iter();
    let alone = !command.batch || shared.any(|id| is_link(session.snapshot.entry(*id)));
    let (alone, together): (Vec<_>, Vec<_>) = missing
        .into_iter()
        .partition(|at| alone || is_link(entry(*at)));
    let mut batches = batches(together, entry);
    batches.extend(alone.into_iter().map(|at| vec![at]));
    for batch in batches {
        run_batch(&mut parts, pending, command, &batch)?;
    }
    Ok(parts.finish())
}

/// Splits a list into batches whose files fit on a command line.
pub(super) fn batches<'e, T: Copy>(
    files: impl IntoIterator<Item = T>,
    entry: impl Fn(T) -> &'e Entry,
) -> Vec<Vec<T>> {
    let mut batches: Vec<Vec<T>> = Vec::new();
    let mut bytes = ARGV_BYTES;
    for file in files {
        // With its pointer and, from another folder, some `../`.
        let length = entry(file).path.len() + 16;
        if bytes + length > ARGV_BYTES {
            batches.push(Vec::new());
            bytes = 0;
        }
        bytes += length;
        if let Some(batch) = batches.last_mut() {
            batch.push(file);
        }
    }
    batches
}

/// Runs some parts in one process; if their output cannot be separated, in one process each.
fn run_batch(
    parts: &mut Parts<'_, '_>,
    pending: &Pending<'_>,
    command: &Command,
    batch: &[usize],
) -> Result<(), Trouble> {
    let files: Vec<FileId> = batch.iter().map(|at| parts.files[*at]).collect();
    let executed = act(parts.session, pending, command, &files)?;
    let executed = whole(executed)?;
    parts.room = room(parts.session, &executed);
    parts.replayed = Some(parts.replayed.unwrap_or(true) && executed.replayed);
    let unconfined = !executed.confined;
    let made_ms = now_ms();
    let micros = u32::try_from(executed.duration.as_micros()).unwrap_or(u32::MAX);
    if let [at] = batch {
        let said = Said {
            unconfined,
            ..said(parts, command, &executed.output, *at)
        };
        let result = PartResult {
            made_ms,
            exit_code: executed.output.exit_code,
            duration_us: micros,
            said,
        };
        parts.set(*at, result);
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
    let mut findings = by_path(parsed.findings);
    let each = micros / u32::try_from(batch.len()).unwrap_or(u32::MAX).max(1);
    for (at, path) in batch.iter().zip(paths) {
        let share = shares.remove(path).unwrap_or_default();
        let said = Said {
            stdout: share.stdout,
            stderr: share.stderr,
            findings: findings.remove(path).unwrap_or_default(),
            unconfined,
        };
        let result = PartResult {
            made_ms,
            exit_code: share.exit_code,
            duration_us: each,
            said,
        };
        parts.set(*at, result);
    }
    Ok(())
}

/// Refuses a result that may not be the tool's: cut output, or a child that was killed.
fn whole(executed: Executed) -> Result<Executed, Trouble> {
    let why = if executed.truncated {
        "its output was truncated because it was too long"
    } else if reports_signal(&executed.output) {
        "a process it started was killed by a signal"
    } else {
        return Ok(executed);
    };
    Err(Trouble::Error(why.to_owned(), executed.output))
}

/// The sorted findings of each file.
fn by_path(findings: Vec<Finding>) -> BTreeMap<RelPath, Vec<Finding>> {
    let mut each: BTreeMap<RelPath, Vec<Finding>> = BTreeMap::new();
    for finding in findings {
        if let Some(path) = finding.path.clone() {
            each.entry(path).or_default().push(finding);
        }
    }
    each.values_mut().for_each(|findings| findings.sort());
    each
}

/// Whether shares explain the result of a process: only known files, and it failed if and only if one of them did.
fn explains(shares: &BTreeMap<RelPath, Share>, paths: &[&RelPath], exit_code: i32) -> bool {
    let failed = shares.values().any(|share| share.exit_code != 0);
    failed == (exit_code != 0) && shares.keys().all(|path| paths.contains(&path))
}

fn said(parts: &Parts<'_, '_>, command: &Command, output: &Output, at: usize) -> Said {
    let path = &parts.session.snapshot.entry(parts.files[at]).path;
    let mut findings = command.parse.parse(output, &command.dir, &[path]).findings;
    findings.sort();
    let is_silent = output.stdout.trim().is_empty() && output.stderr.trim().is_empty();
    if output.exit_code != 0 && is_silent && findings.is_empty() {
        findings.push(failed_silently(path, output.exit_code));
    }
    Said {
        stdout: output.stdout.clone(),
        stderr: output.stderr.clone(),
        findings,
        unconfined: false,
    }
}

/// Names the file of a failure without output.
fn failed_silently(path: &RelPath, exit_code: i32) -> Finding {
    Finding {
        path: Some(path.clone()),
        line: None,
        column: None,
        severity: Severity::Error,
        code: None,
        message: format!("failed without output, exit code {exit_code}"),
        rendered: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    #[test]
    fn long_paths_make_short_batches() {
        let entry = |length: usize| Entry {
            path: RelPath::from_normal("x".repeat(length)),
            kind: Kind::File,
            digest: Digest::of(b""),
        };
        let sizes = |length: usize| -> Vec<usize> {
            let entry = entry(length);
            let batches = batches(0..1000, |_| &entry);
            batches.iter().map(Vec::len).collect()
        };
        assert_eq!(sizes(10), [1000]);
        assert_eq!(sizes(240), [384, 384, 232]);
        assert_eq!(sizes(ARGV_BYTES), [1; 1000]);
        let none = batches(0..0, |_: usize| unreachable!());
        assert!(none.is_empty());
    }
}
