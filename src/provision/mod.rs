//! Where the programs of checks come from, for any ecosystem: [`base`], what containers begin with; [`python`], tools that
//! a Python project locks; [`node`], programs of `node_modules`.
//!
//! Stays free of what the programs are run for.

pub(crate) mod base;
pub(crate) mod node;
pub(crate) mod python;
