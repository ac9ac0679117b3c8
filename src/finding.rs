//! The one diagnostic model: every tool's output becomes [`Finding`]s.
//!
//! Stays free of any output format; reports turn findings into text, JSON, SARIF and annotations.

use serde::{Deserialize, Serialize};

use crate::path::RelPath;

/// How serious a finding is. The verdict never comes from it: a tool's exit code decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Worth knowing, no call to act.
    Note,
    /// Reported, does not fail the check.
    Warning,
    /// What a tool fails for.
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

/// One diagnostic of a tool.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Finding {
    /// The file it is about, relative to the project root; `None` if the tool named none.
    pub(crate) path: Option<RelPath>,
    /// Line, from 1.
    pub(crate) line: Option<u32>,
    /// Column in characters, from 1.
    pub(crate) column: Option<u32>,
    /// How serious the tool calls it.
    pub(crate) severity: Severity,
    /// The tool's own code or rule name (`E501`, `clippy::needless_return`, `document-start`).
    pub(crate) code: Option<String>,
    /// The message, one paragraph, without colour codes.
    pub(crate) message: String,
    /// The tool's own full text for it (rustc's snippet, a diff), without colour codes, if richer than the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rendered: Option<String>,
}
