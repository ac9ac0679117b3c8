//! What a program said, and how that becomes findings.
//!
//! Parsers are pure: text in, findings out, never an error. Text that is not understood yields no finding; the
//! verdict is the exit code's anyway and the text itself is always kept.

use std::collections::BTreeMap;
use std::fmt;

use crate::finding::Finding;
use crate::path::RelPath;

/// What a finished process said. Room paths have been made project-relative; colours are still in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Output {
    /// Exit code.
    pub(crate) exit_code: i32,
    /// Standard output, lossy UTF-8.
    pub(crate) stdout: String,
    /// Standard error, lossy UTF-8.
    pub(crate) stderr: String,
}

/// What a parser made of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parsed {
    /// Diagnostics, paths relative to the project root.
    pub(crate) findings: Vec<Finding>,
    /// For a process that ran on several files: the share of each file that was mentioned or failed. Files without a
    /// share passed in silence. `None` if some of the output, or the failure, cannot be given to a file: the parts
    /// are then run one by one.
    pub(crate) shares: Option<BTreeMap<RelPath, Share>>,
}

/// The share of one file in the output of a process that ran on many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Share {
    /// Whether the file alone would have failed: the exit code its own run would have had.
    pub(crate) exit_code: i32,
    /// Its lines of standard output.
    pub(crate) stdout: String,
    /// Its lines of standard error.
    pub(crate) stderr: String,
}

/// Turns output into findings.
pub(crate) trait Parse: fmt::Debug + Send + Sync {
    /// Name and version for the key: raised when the same output would give other findings or shares.
    fn identity(&self) -> String;

    /// Parses the output of a process that ran in `dir` on `files` (empty for a whole check).
    fn parse(&self, output: &Output, dir: &RelPath, files: &[&RelPath]) -> Parsed;
}

/// No findings: the output itself is all there is.
#[derive(Debug)]
pub(crate) struct NoFindings;

impl Parse for NoFindings {
    fn identity(&self) -> String {
        "none/1".to_owned()
    }

    fn parse(&self, _: &Output, _: &RelPath, _: &[&RelPath]) -> Parsed {
        Parsed::default()
    }
}

/// Text without colours.
#[must_use]
pub(crate) fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}
