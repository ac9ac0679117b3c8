//! The formats of Python lock files.

use super::lock::{Lock, TomlError};
use super::{poetry, requirements, uv};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockFormat {
    /// `uv.lock`.
    Uv,
    /// `poetry.lock`, formats 1.0 to 2.x.
    Poetry,
    /// `requirements.txt` and similar files.
    Requirements,
}

impl LockFormat {
    /// Whether a file of this name beside `pyproject.toml` has this format.
    #[must_use]
    pub(crate) fn is(self, file_name: &str) -> bool {
        match self {
            Self::Uv => file_name == "uv.lock",
            Self::Poetry => file_name == "poetry.lock",
            Self::Requirements => requirements::is_requirements(file_name),
        }
    }

    /// How to fix an invalid file.
    #[must_use]
    pub(crate) const fn fix(self) -> &'static str {
        match self {
            Self::Uv => "run `uv lock` to write a new one",
            Self::Poetry => "run `poetry lock` to write a new one",
            Self::Requirements => "fix it",
        }
    }

    /// How to install what the file pins.
    #[must_use]
    pub(crate) fn install(self, path: &str) -> String {
        match self {
            Self::Uv => "uv sync".to_owned(),
            Self::Poetry => "poetry install".to_owned(),
            Self::Requirements => format!("pip install -r {path}"),
        }
    }

    /// Decodes a file; the error is what is wrong with its encoding.
    pub(crate) fn decode(self, bytes: Vec<u8>) -> Result<String, String> {
        match self {
            Self::Uv | Self::Poetry => {
                String::from_utf8(bytes).map_err(|_| "is not valid UTF-8".to_owned())
            }
            Self::Requirements => requirements::decode(&bytes),
        }
    }

    /// Whether the text of a file, which may be invalid, has an entry for the package.
    #[must_use]
    pub(crate) fn names(self, text: &str, package: &str) -> bool {
        match self {
            Self::Uv | Self::Poetry => text.contains(&format!("name = \"{package}\"")),
            Self::Requirements => requirements::names(text, package),
        }
    }

    /// Parses a file. `read` returns files that it includes.
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
