//! Why a session failed: a mistake of the user, or an external problem.
//!
//! Knows no exit codes.

/// Why a command ended without a verdict.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Wrong usage or configuration; the whole message.
    Usage(String),
    /// An external problem, with its causes.
    CouldNotRun(anyhow::Error),
}

impl Failure {
    /// Wrong usage or configuration.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Usage(message) => f.write_str(message.trim_end()),
            Self::CouldNotRun(error) => write!(f, "{error:#}"),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::CouldNotRun(error)
    }
}
