//! Where the programs of checks come from, for any ecosystem: [`program`], the one look-up of names, and [`launcher`],
//! what they start; [`base`], what containers begin with; [`python`], tools that a Python project locks; [`node`], programs of `node_modules`;
//! [`rust`], the toolchain of a folder.
//!
//! Stays free of what the programs are run for.

pub(crate) mod base;
pub(crate) mod launcher;
pub(crate) mod node;
pub(crate) mod program;
pub(crate) mod python;
pub(crate) mod rust;
