//! The formats of lock files.

use super::lock::{Lock, TomlError};
use super::{poetry, requirements, uv};

/// The formats there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockFormat {
    /// `uv.lock`.
    Uv,
    /// `poetry.lock`, formats 1.0 to 2.x.
    Poetry,
    /// `requirements.txt` and its like.
    Requirements,
}

impl LockFormat {
    /// Whether a file of that name, beside `pyproject.toml`, is one.
    #[must_use]
    pub(crate) fn is(self, file_name: &str) -> bool {
        match self {
            Self::Uv => file_name == "uv.lock",
            Self::Poetry => file_name == "poetry.lock",
            Self::Requirements => requirements::is_requirements(file_name),
        }
    }

    /// How a broken file is mended.
    #[must_use]
    pub(crate) const fn mend(self) -> &'static str {
        match self {
            Self::Uv => "write the lock anew with `uv lock`",
            Self::Poetry => "write the lock anew with `poetry lock`",
            Self::Requirements => "mend it",
        }
    }

    /// Parses the text of such a file. `read` yields files that it includes.
    ///
    /// # Errors
    /// If it is not one, with the place.
    pub(crate) fn parse(
        self,
        text: &str,
        read: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Lock, TomlError> {
        match self {
            Self::Uv => uv::parse(text),
            Self::Poetry => poetry::parse(text),
            Self::Requirements => Ok(requirements::parse(text, read)),
        }
    }
}
