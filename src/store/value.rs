//! The value of a result: the time it saves per byte, halved for every week without use.
//!
//! Does not touch the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

const WEEK: f64 = 7.0 * 24.0 * 60.0 * 60.0;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(crate) path: PathBuf,
    pub(crate) size: u64,
    /// Time of a re-run.
    pub(crate) saves_ms: u64,
    /// Time since its last use.
    pub(crate) idle: Duration,
    pub(crate) holds: BTreeSet<PathBuf>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Least {
    pub(crate) results: Vec<PathBuf>,
    /// Blobs and layers that only these results referred to.
    pub(crate) held: Vec<PathBuf>,
}

/// The least valuable results that together free `excess` bytes, and what only they referred to, except what is
/// `pinned`.
pub(super) fn least(
    mut candidates: Vec<Candidate>,
    pinned: &BTreeSet<PathBuf>,
    mut excess: u64,
    size_of: impl Fn(&PathBuf) -> u64,
) -> Least {
    let mut least = Least::default();
    if excess == 0 {
        return least;
    }
    let mut uses: BTreeMap<PathBuf, (u32, u64)> = BTreeMap::new();
    for path in candidates.iter().flat_map(|candidate| &candidate.holds) {
        let known = uses.entry(path.clone());
        known.or_insert_with(|| (0, size_of(path))).0 += 1;
    }
    let value = |candidate: &Candidate| {
        let held = candidate
            .holds
            .iter()
            .filter(|path| !pinned.contains(*path));
        let share = held.filter_map(|path| uses.get(path));
        let share: f64 = share
            .map(|(uses, size)| *size as f64 / f64::from(*uses))
            .sum();
        let bytes = (candidate.size as f64 + share).max(1.0);
        let faded = 0.5_f64.powf(candidate.idle.as_secs_f64() / WEEK);
        candidate.saves_ms as f64 / bytes * faded
    };
    let idle = |candidate: &Candidate| std::cmp::Reverse(candidate.idle);
    candidates.sort_by(|a, b| {
        let order = value(a).total_cmp(&value(b));
        order.then_with(|| idle(a).cmp(&idle(b)))
    });
    for candidate in candidates {
        if excess == 0 {
            break;
        }
        excess = excess.saturating_sub(candidate.size);
        least.results.push(candidate.path);
        for path in candidate.holds {
            let Some((uses, size)) = uses.get_mut(&path) else {
                continue;
            };
            *uses -= 1;
            if *uses == 0 && !pinned.contains(&path) {
                excess = excess.saturating_sub(*size);
                least.held.push(path);
            }
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(name: &str, size: u64, saves_ms: u64, days: u64, holds: &[&str]) -> Candidate {
        Candidate {
            path: name.into(),
            size,
            saves_ms,
            idle: Duration::from_secs(days * 24 * 60 * 60),
            holds: holds.iter().map(PathBuf::from).collect(),
        }
    }

    fn goes(candidates: &[Candidate], pinned: &[&str], excess: u64) -> (Vec<String>, Vec<String>) {
        let pinned = pinned.iter().map(PathBuf::from).collect();
        let least = least(candidates.to_vec(), &pinned, excess, |_| 100);
        let names = |paths: Vec<PathBuf>| {
            paths
                .iter()
                .map(|p| p.to_string_lossy().into_owned())
                .collect()
        };
        (names(least.results), names(least.held))
    }

    #[test]
    fn what_saves_least_per_byte_goes_first_and_no_more_than_has_to() {
        let all = [
            candidate("dear", 10, 9000, 0, &[]),
            candidate("cheap", 10, 10, 0, &[]),
            candidate("large", 1000, 9000, 0, &[]),
        ];
        assert_eq!(goes(&all, &[], 0).0, [""; 0]);
        assert_eq!(goes(&all, &[], 1).0, ["cheap"]);
        assert_eq!(goes(&all, &[], 11).0, ["cheap", "large"]);
    }

    #[test]
    fn what_was_not_used_for_long_is_worth_less() {
        let all = [
            candidate("used", 10, 100, 1, &[]),
            candidate("unused", 10, 150, 60, &[]),
        ];
        assert_eq!(goes(&all, &[], 1).0, ["unused"]);
        let all = [
            candidate("new", 10, 0, 1, &[]),
            candidate("old", 10, 0, 2, &[]),
        ];
        assert_eq!(goes(&all, &[], 1).0, ["old"]);
    }

    #[test]
    fn what_others_name_or_is_pinned_stays() {
        let all = [
            candidate("a", 1, 1, 0, &["shared", "own", "pinned"]),
            candidate("b", 1, 1000, 0, &["shared"]),
        ];
        let (results, held) = goes(&all, &["pinned"], 50);
        assert_eq!((results, held), (vec!["a".into()], vec!["own".to_owned()]));
        let (results, held) = goes(&all, &["pinned"], 150);
        assert_eq!(
            (results.len(), held),
            (2, vec!["own".into(), "shared".to_owned()])
        );
    }
}
