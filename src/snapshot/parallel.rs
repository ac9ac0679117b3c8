//! Distributes work over all cores, in chunks that idle threads take one by one.

use std::num::NonZero;
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Builder;

/// Calls `work` on ranges of at most `chunk` that cover `0..count`; results are in the order of the ranges.
pub(crate) fn in_chunks<T: Send>(
    count: usize,
    chunk: usize,
    work: impl Fn(Range<usize>) -> T + Sync,
) -> Vec<T> {
    let chunk = chunk.max(1);
    let chunks = count.div_ceil(chunk);
    let next = AtomicUsize::new(0);
    let drain = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= chunks {
                return done;
            }
            done.push((at, work(at * chunk..count.min((at + 1) * chunk))));
        }
    };
    let helpers = cores().min(chunks).saturating_sub(1);
    let mut done = std::thread::scope(|scope| {
        // If the system refuses more threads, the existing ones do the work.
        let threads: Vec<_> = (0..helpers)
            .map_while(|_| Builder::new().spawn_scoped(scope, drain).ok())
            .collect();
        let mut done = drain();
        for thread in threads {
            done.extend(thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        done
    });
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Computed once: on Linux it reads several files of the control groups.
fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, NonZero::get))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn covers_everything_once_in_order() {
        for (count, chunk) in [(0, 3), (1, 3), (3, 3), (1000, 7), (5, 0)] {
            let seen: Vec<usize> = in_chunks(count, chunk, Iterator::collect::<Vec<_>>).concat();
            assert_eq!(seen, (0..count).collect::<Vec<_>>());
        }
    }
}
