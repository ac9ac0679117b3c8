//! Exit codes: the only place that turns an outcome into a number.
//!
//! 0 all passed · 1 a check failed · 2 usage or configuration · 3 could not run · 130, 143 interrupted.
//! The highest wins: interrupted, 2, 3, 1.

use std::process::ExitCode;

use crate::record::Verdict;
pub(crate) use crate::session::Failure;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    Passed,
    /// 1: a check failed.
    Failed,
    /// 3: something could not run.
    CouldNotRun,
    /// 2: wrong usage or configuration.
    Usage,
    Interrupted(i32),
}

impl Exit {
    /// The exit code for a verdict.
    #[must_use]
    pub(crate) fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Passed | Verdict::Skipped => Self::Passed,
            Verdict::Failed => Self::Failed,
            Verdict::Error => Self::CouldNotRun,
        }
    }

    #[must_use]
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::CouldNotRun => 3,
            Self::Interrupted(signal) => u8::try_from(128 + signal).unwrap_or(130),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl Failure {
    /// A documented feature that this version does not have.
    #[must_use]
    pub(crate) fn not_yet(what: &str) -> Self {
        Self::Usage(format!(
            "{what} is not supported yet by cargo-dagcache {}",
            env!("CARGO_PKG_VERSION")
        ))
    }

    #[must_use]
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::CouldNotRun(_) => Exit::CouldNotRun,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_wins_in_the_documented_order() {
        let mut exits = [
            Exit::Usage,
            Exit::Failed,
            Exit::Interrupted(2),
            Exit::Passed,
            Exit::CouldNotRun,
        ];
        exits.sort();
        assert_eq!(exits.map(Exit::code), [0, 1, 3, 2, 130]);
        assert_eq!(Exit::Interrupted(15).code(), 143);
    }
}
