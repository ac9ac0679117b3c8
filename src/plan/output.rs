//! The output of a program, and how it becomes findings.
//!
//! Parsers are pure: text in, findings out, never an error. Text they do not understand yields no finding; the exit
//! code determines the verdict, and the text itself is always kept.

use std::collections::BTreeMap;
use std::fmt;

use crate::finding::Finding;
use crate::path::RelPath;

/// The output of a finished process. Room paths have been made project-relative; colours are still included.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) exit_code: i32,
    /// Lossy UTF-8.
    pub(crate) stdout: String,
    /// Lossy UTF-8.
    pub(crate) stderr: String,
}

/// The result of parsing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parsed {
    /// Paths are relative to the project root.
    pub(crate) findings: Vec<Finding>,
    /// For a process that ran on several files: the share of every file that was mentioned or failed. Files without a
    /// share passed silently. `None` if some output, or the failure, cannot be attributed to a file; the parts then
    /// run one by one.
    pub(crate) shares: Option<BTreeMap<RelPath, Share>>,
}

/// The share of one file in the output of a process that ran on several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Share {
    /// The exit code a run on this file alone would have had.
    pub(crate) exit_code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) trait Parse: fmt::Debug + Send + Sync {
    /// Name and version for the key. Raise the version if the same output would give other findings or shares.
    fn identity(&self) -> String;

    /// Parses the output of a process that ran in `dir` on `files` (empty for a whole check).
    fn parse(&self, output: &Output, dir: &RelPath, files: &[&RelPath]) -> Parsed;
}

/// Yields no findings; the output is shown as it is.
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

/// Whether a line is one of cargo's status lines: a verb aligned to the right in twelve columns.
#[must_use]
pub(crate) fn is_status(line: &str) -> bool {
    let Some((verb, rest)) = line.split_at_checked(12) else {
        return false;
    };
    let verb = verb.trim_start();
    rest.starts_with(' ')
        && verb.starts_with(|c: char| c.is_ascii_uppercase())
        && verb.chars().all(|c| c.is_ascii_alphabetic())
}

/// Text without colours.
#[must_use]
pub(crate) fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}
