//! Output formats that many tools speak: text → findings.
//!
//! The format of a single tool is its ecosystem's. Stays free of deciding verdicts: the exit code does.

pub(crate) mod gcc;
mod location;
pub(crate) mod regex;
pub(crate) mod sarif;
