//! What one invocation did: verdicts, cache states, durations. Plain facts, below both `run` and `report`.
//!
//! Stays free of paths on disk and of formatting.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::finding::Finding;
use crate::key::{Miss, MissKind};

/// The message of a check that was stopped because the user interrupted the run.
pub(crate) const INTERRUPTED: &str = "interrupted";
/// The subject of the miss reason of a check that was run because the user wanted no cache.
pub(crate) const NO_CACHE: &str = "--no-cache";

/// How a check, or a run, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// The tool's exit code was 0.
    Passed,
    /// It was not run (`--dry-run`, `--fail-fast`).
    Skipped,
    /// The tool's exit code was not 0.
    Failed,
    /// It could not be run.
    Error,
}

/// Where a result came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Cache {
    /// The local store.
    Hit,
    /// A shared store.
    RemoteHit,
    /// Another process that ran the same key at the same time.
    Joined,
    /// It was run, at least in part.
    Miss,
    /// Caching was turned off.
    Off,
}

impl Cache {
    /// Whether nothing was run for it.
    #[must_use]
    pub(crate) const fn is_hit(self) -> bool {
        matches!(self, Self::Hit | Self::RemoteHit | Self::Joined)
    }
}

/// How many parts were replayed and run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartCount {
    /// Replayed.
    pub(crate) hit: u32,
    /// Run.
    pub(crate) ran: u32,
}

/// What became of one check.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CheckRecord {
    /// Its id.
    pub(crate) id: String,
    /// How it ended.
    pub(crate) verdict: Verdict,
    /// Where the result came from.
    pub(crate) cache: Cache,
    /// Why it was not Fresh.
    pub(crate) miss: Option<Miss>,
    /// Its key; `None` only for an error before keying.
    pub(crate) key: Option<Digest>,
    /// The tool's exit code, if it ran.
    pub(crate) exit_code: Option<i32>,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
    /// Diagnostics.
    pub(crate) findings: Vec<Finding>,
    /// What it took now, in milliseconds.
    pub(crate) duration_ms: u64,
    /// What replaying saved against running, in milliseconds; negative if it cost more. 0 for a run.
    pub(crate) saved_ms: i64,
    /// Parts replayed and run; `None` for a check without parts.
    pub(crate) parts: Option<PartCount>,
    /// Why it could not run, or what else there is to say; whole sentences.
    pub(crate) message: Option<String>,
    /// Why its result was not stored, where one would expect it to be.
    pub(crate) not_stored: Option<String>,
    /// Whether stdout is a product that people do not want to see.
    pub(crate) quiet_stdout: bool,
    /// Layers that were built for it.
    pub(crate) built: Vec<String>,
    /// Layers that were there, of those it needed to run.
    pub(crate) there: Vec<String>,
    /// Whether the engine remembered what is a miss here: nothing ran.
    pub(crate) replayed: bool,
}

impl CheckRecord {
    /// A record of a check that did not run.
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

/// What one check did, as kept in a run record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CheckLine {
    /// Its id.
    pub(crate) id: String,
    /// How it ended.
    pub(crate) verdict: Verdict,
    /// Where the result came from.
    pub(crate) cache: Cache,
    /// Why it was run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) miss: Option<MissKind>,
    /// What it was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<String>,
    /// Milliseconds.
    pub(crate) duration_ms: u64,
    /// Milliseconds saved.
    pub(crate) saved_ms: i64,
    /// Parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parts: Option<PartCount>,
    /// The engine, if it is another one than the run's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) engine: Option<String>,
    /// Layers that were built for it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) layers_built: u32,
    /// Layers that were there for it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) layers_there: u32,
    /// Whether the engine remembered what was a miss here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) replayed: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What one invocation did. Holds no values of variables and no output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunRecord {
    /// Start, milliseconds since 1970 UTC.
    pub(crate) started_ms: u64,
    /// From process start to run-finished, in milliseconds: the feedback time.
    pub(crate) duration_ms: u64,
    /// The command (`dev-check`).
    pub(crate) command: String,
    /// Id of the project.
    pub(crate) project: String,
    /// Engine that was chosen.
    pub(crate) engine: String,
    /// How it ended.
    pub(crate) verdict: Verdict,
    /// Net time saved, in milliseconds.
    pub(crate) saved_ms: i64,
    /// Its checks.
    pub(crate) checks: Vec<CheckLine>,
}

impl RunRecord {
    /// Checks that ran nothing.
    #[must_use]
    pub(crate) fn hits(&self) -> usize {
        self.checks
            .iter()
            .filter(|check| check.cache.is_hit())
            .count()
    }

    /// The others.
    #[must_use]
    pub(crate) fn misses(&self) -> usize {
        self.checks.len() - self.hits()
    }
}
