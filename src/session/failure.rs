//! Why a session could not do its work: a mistake of the user's, or something that stood in the way.
//!
//! Stays free of exit codes.

/// Why a command ended without a verdict.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Wrong usage or configuration; the whole message.
    Usage(String),
    /// It could not run; the chain of causes.
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
