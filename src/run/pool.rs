//! Runs misses in parallel: a few threads take them in order.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::event::Event;
use crate::record::{CheckRecord, Verdict};
use crate::run::Session;
use crate::run::audit::audit;
use crate::run::execute::{Finished, execute};
use crate::run::lookup::Pending;

/// Runs all items on `jobs` threads. With `fail_fast`, nothing starts after a failure, and what did not start is
/// `skipped`. Results are in order of completion.
/// `skipped`. Results come in the order they were finished.
#[must_use]
pub(crate) fn run_all(session: &Session<'_>, pending: Vec<Pending<'_>>) -> Vec<(String, Finished)> {
    let workers = session.options.jobs.clamp(1, pending.len().max(1));
    let queue = Mutex::new(VecDeque::from(pending));
    let finished = Mutex::new(Vec::new());
    let stop = AtomicBool::new(false);
    let work = || {
        while let Some(next) = take(&queue) {
            let result = if stop.load(Ordering::Relaxed) || session.interrupt.is_set() {
                skipped(session, &next)
            } else {
                run_one(session, &next)
            };
            if session.options.fail_fast && failed(&result) {
                stop.store(true, Ordering::Relaxed);
            }
            lock(&finished).push((next.check.id.clone(), result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..workers {
            // If the system refuses more threads, the existing ones do all the work.
            let _ = std::thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    finished
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn take<'a>(queue: &Mutex<VecDeque<Pending<'a>>>) -> Option<Pending<'a>> {
    lock(queue).pop_front()
}

fn run_one(session: &Session<'_>, pending: &Pending<'_>) -> Finished {
    session.emit(&Event::CheckStarted {
        id: &pending.check.id,
        miss: pending.audited.is_none().then_some(&pending.miss),
    });
    let finished = match &pending.audited {
        Some(hit) => audit(session, pending, hit),
        None => execute(session, pending),
    };
    if let Finished::Done(record, _) = &finished {
        session.emit(&Event::CheckFinished(record));
    }
    finished
}

fn skipped(session: &Session<'_>, pending: &Pending<'_>) -> Finished {
    if let Some(hit) = &pending.audited {
        // It has a result: only the audit is skipped.
        session.emit(&Event::CheckFinished(hit));
        return Finished::Done(hit.clone(), None);
    }
    let mut record =
        CheckRecord::not_run(&pending.check.id, Verdict::Skipped, Some(pending.key.whole));
    record.miss = Some(pending.miss.clone());
    session.emit(&Event::CheckFinished(&record));
    Finished::Done(Box::new(record), None)
}

fn failed(finished: &Finished) -> bool {
    matches!(finished, Finished::Done(record, _) if record.verdict >= Verdict::Failed)
}
