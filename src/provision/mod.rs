//! Provides the programs of checks for any ecosystem: [`program`] looks them up and [`launcher`] follows them; [`base`]
//! of containers; [`python`] tools locked by a project; [`node`] programs of `node_modules`; [`rust`] toolchains.
//!
//! Does not know what the programs are run for.

pub(crate) mod base;
pub(crate) mod launcher;
pub(crate) mod node;
pub(crate) mod program;
pub(crate) mod python;
pub(crate) mod rust;
