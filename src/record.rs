//! What one invocation did: verdicts, cache states, durations. Plain data below both `run` and `report`.
//!
//! Contains no paths on disk and no formatting.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::finding::Finding;
use crate::key::{Miss, MissKind};

/// The message of a check that the user interrupted.
pub(crate) const INTERRUPTED: &str = "interrupted";
/// The subject of the miss reason when the user turned the cache off.
pub(crate) const NO_CACHE: &str = "--no-cache";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// The exit code was 0.
    Passed,
    /// Not run (`--dry-run`, `--fail-fast`).
    Skipped,
    /// The exit code was not 0.
    Failed,
    /// Could not be run.
    Error,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Cache {
    Hit,
    RemoteHit,
    /// From another process that ran the same key at the same time.
    Joined,
    /// Run, at least in part.
    Miss,
    /// Caching was off.
    Off,
}

impl Cache {
    #[must_use]
    pub(crate) const fn is_hit(self) -> bool {
        matches!(self, Self::Hit | Self::RemoteHit | Self::Joined)
    }
}

/// How many parts were reused and run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartCount {
    pub(crate) hit: u32,
    pub(crate) ran: u32,
}

/// The outcome of one check.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CheckRecord {
    pub(crate) id: String,
    pub(crate) verdict: Verdict,
    pub(crate) cache: Cache,
    /// Why it was not Fresh.
    pub(crate) miss: Option<Miss>,
    /// `None` only for errors before keying.
    pub(crate) key: Option<Digest>,
    pub(crate) exit_code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) findings: Vec<Finding>,
    /// Time spent in this run, in milliseconds.
    pub(crate) duration_ms: u64,
    /// Milliseconds saved by reusing the result; negative if it cost more. 0 if it ran.
    pub(crate) saved_ms: i64,
    /// `None` for a check without parts.
    pub(crate) parts: Option<PartCount>,
    /// Why it could not run, or other remarks; whole sentences.
    pub(crate) message: Option<String>,
    /// Why its result was not stored although one would expect it.
    pub(crate) not_stored: Option<String>,
    /// Whether stdout is a product that users do not want to see.
    pub(crate) quiet_stdout: bool,
    pub(crate) built: Vec<String>,
    /// Layers it needed that already existed.
    pub(crate) there: Vec<String>,
    /// Whether the Dagger engine had this run cached, so nothing ran.
    pub(crate) replayed: bool,
}

impl CheckRecord {
    #[must_use]
    pub(crate) fn not_run(id: &str, verdict: Verdict, key: Option<Digest>) -> Self {
        Self {
            id: id.to_owned(),
            verdict,
            cache: Cache::Miss,
            miss: None,
            key,
            exit_code: None,
            stdout: String::new(),
            stderr: String::new(),
            findings: Vec::new(),
            duration_ms: 0,
            saved_ms: 0,
            parts: None,
            message: None,
            not_stored: None,
            quiet_stdout: false,
            built: Vec::new(),
            there: Vec::new(),
            replayed: false,
        }
    }
}

/// One check in a run record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CheckLine {
    pub(crate) id: String,
    pub(crate) verdict: Verdict,
    pub(crate) cache: Cache,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) miss: Option<MissKind>,
    /// Subject of the miss reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<String>,
    pub(crate) duration_ms: u64,
    pub(crate) saved_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parts: Option<PartCount>,
    /// The engine, if it differs from the run's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) engine: Option<String>,
    /// Number of layers built for it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) layers_built: u32,
    /// Number of layers that already existed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) layers_there: u32,
    /// Whether the Dagger engine had this run cached.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) replayed: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// One invocation. Contains no values of variables and no output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunRecord {
    /// Milliseconds since 1970 UTC.
    pub(crate) started_ms: u64,
    /// From process start to run-finished, in milliseconds: the feedback time.
    pub(crate) duration_ms: u64,
    /// Such as `dev-check`.
    pub(crate) command: String,
    pub(crate) project: String,
    pub(crate) engine: String,
    pub(crate) verdict: Verdict,
    /// Net time saved, in milliseconds.
    pub(crate) saved_ms: i64,
    pub(crate) checks: Vec<CheckLine>,
}

impl RunRecord {
    #[must_use]
    pub(crate) fn hits(&self) -> usize {
        self.checks
            .iter()
            .filter(|check| check.cache.is_hit())
            .count()
    }

    #[must_use]
    pub(crate) fn misses(&self) -> usize {
        self.checks.len() - self.hits()
    }
}
