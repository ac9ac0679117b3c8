//! Follows launchers for the checks of a project.

use std::path::Path;

use crate::path::RelPath;
use crate::scope::Scope;
use crate::tool::Program;
use crate::tool::launcher::{Asker, Leads, follow};

/// Where a program on PATH leads for a check that runs in `dir`.
#[must_use]
pub(crate) fn leads(scope: &Scope<'_>, program: &Program, dir: &RelPath) -> Leads {
    let dir = dir.under(scope.snapshot.root());
    follow(&asker(scope, &dir), program)
}

/// What following launchers depends on, for programs that run in `dir` (absolute).
#[must_use]
pub(crate) fn asker<'a>(scope: &'a Scope<'a>, dir: &'a Path) -> Asker<'a> {
    Asker {
        tools: scope.tools,
        facts: scope.facts,
        env: scope.env,
        root: scope.snapshot.root(),
        dir,
    }
}
