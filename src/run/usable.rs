//! Whether a cached result may be used: its age, and whether an audit found its key incomplete.

use crate::digest::Digest;
use crate::plan::Check;
use crate::rule::Rule;
use crate::run::{Session, now_ms};
use crate::store::entry::Entry;

/// Reported for keys that an audit found wrong.
pub(super) const DISTRUSTED: &str = "an audit found that its key is incomplete";

/// Whether an audit found this key incomplete.
pub(super) fn distrusted(session: &Session<'_>, key: &Digest) -> bool {
    session.store.distrusts(key) && Rule::LiesAreDistrusted.holds()
}

/// Whether a result is older than the check allows.
pub(super) fn expired(check: &Check, entry: &Entry) -> bool {
    let made_ms = entry.since_ms.unwrap_or(entry.created_ms);
    too_old(check, made_ms)
}

/// Whether something made then is older than the check allows.
pub(super) fn too_old(check: &Check, made_ms: u64) -> bool {
    let age_ms = u128::from(now_ms().saturating_sub(made_ms));
    let old = check.max_age.is_some_and(|age| age_ms > age.as_millis());
    old && Rule::MaxAge.holds()
}
