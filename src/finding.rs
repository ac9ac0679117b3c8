//! The one model for diagnostics: every tool's output becomes [`Finding`]s.
//!
//! Knows no output format; reports turn findings into text, JSON, SARIF and annotations.

use serde::{Deserialize, Serialize};

use crate::path::RelPath;

/// Line and column (in characters) of a byte offset, both from 1.
#[must_use]
pub(crate) fn position(text: &[u8], offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.iter().rposition(|byte| *byte == b'\n');
    let in_line = &before[line_start.map_or(0, |at| at + 1)..];
    let lines = before.iter().filter(|byte| **byte == b'\n').count();
    // All bytes of a character but its first begin with the bits 10.
    let characters = in_line.iter().filter(|byte| **byte & 0xc0 != 0x80).count();
    (lines + 1, characters + 1)
}

/// Where the lines of a text start, to find many positions in it.
#[derive(Debug, Clone)]
pub(crate) struct Lines(Vec<usize>);

impl Lines {
    #[must_use]
    pub(crate) fn of(text: &str) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        Self(std::iter::once(0).chain(ends).collect())
    }

    /// [`position`] in that text.
    #[must_use]
    pub(crate) fn position(&self, text: &str, offset: usize) -> (usize, usize) {
        let offset = offset.min(text.len());
        let line = self.0.partition_point(|start| *start <= offset);
        let start = self.0.get(line.saturating_sub(1)).copied();
        let in_line = text.as_bytes().get(start.unwrap_or_default()..);
        let from = offset - start.unwrap_or_default();
        let (_, column) = position(in_line.unwrap_or_default(), from);
        (line, column)
    }
}

/// A line or column as findings hold it.
#[must_use]
pub(crate) fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_counted_in_lines_and_characters() {
        let text = "a\né!b\n".as_bytes();
        for (offset, place) in [
            (0, (1, 1)),
            (1, (1, 2)),
            (2, (2, 1)),
            (4, (2, 2)),
            (6, (2, 4)),
            (7, (3, 1)),
            (99, (3, 1)),
        ] {
            assert_eq!(position(text, offset), place, "{offset}");
            let text = std::str::from_utf8(text).expect("text");
            assert_eq!(Lines::of(text).position(text, offset), place, "{offset}");
        }
    }
}
