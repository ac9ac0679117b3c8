//! The one model for diagnostics: every tool's output becomes [`Finding`]s.
//!
//! Knows no output format; reports turn findings into text, JSON, SARIF and annotations.

use serde::{Deserialize, Serialize};

use crate::path::RelPath;

/// The severity of a finding. It never decides the verdict; the tool's exit code does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Informational; requires no action.
    Note,
    /// Reported, but does not fail the check.
    Warning,
    /// Makes the tool fail.
    Error,
}

impl Severity {
    /// What a built-in check calls a problem of that file: test data may be broken on purpose.
    #[must_use]
    pub(crate) fn in_file(path: &RelPath) -> Self {
        if path.is_test_data() {
            Self::Warning
        } else {
            Self::Error
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Finding {
    /// Relative to the project root; `None` if the tool named no file.
    pub(crate) path: Option<RelPath>,
    pub(crate) line: Option<u32>,
    /// Column in characters, from 1.
    pub(crate) column: Option<u32>,
    /// As the tool reports it.
    pub(crate) severity: Severity,
    /// The tool's own code or rule name (`E501`, `clippy::needless_return`, `document-start`).
    pub(crate) code: Option<String>,
    /// One paragraph, without colour codes.
    pub(crate) message: String,
    /// The tool's full text (rustc's snippet, a diff), without colour codes, if it says more than the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rendered: Option<String>,
}
