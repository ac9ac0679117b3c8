//! Programs that a check turned out to need: which they are, and how they become its tools, as if they had been declared.

use super::tools;
use crate::path::RelPath;
use crate::plan::{Check, Tool, Work};
use crate::provision::launcher::leads;
use crate::provision::node;
use crate::provision::program::Found;
use crate::provision::rust::toolchain;
use crate::scope::Scope;
use crate::tool::Program;
use crate::tool::launcher::Leads;

/// Adds `names` to the tools of a check on this host (containers have only what their image has). A program that is
/// gone stays in the key as absent; names that the check already has stay the same.
pub(crate) fn add_discovered(check: &mut Check, names: Vec<String>, scope: &Scope<'_>) {
    let Work::Command(command) = &mut check.work else {
        return;
    };
    if scope.images.is_some() {
        return;
    }
    let mut found = Found::in_folder(command.dir.clone());
    let absent = |tool: &Tool| matches!(tool, Tool::Absent { .. });
    for name in &names {
        let mut known = command.tools.iter();
        let known = known.any(|tool| tool.name() == name && !absent(tool));
        if !known && !tools::find(&mut found, scope, name) {
            found.add_absent(name);
        }
    }
    if check.not_cached.is_none() {
        check.not_cached.clone_from(&found.not_cached);
    }
    for tool in found.into_tools() {
        match command
            .tools
            .iter_mut()
            .find(|known| known.name() == tool.name())
        {
            Some(known) if absent(known) => *known = tool,
            Some(_) => {}
            None => command.tools.push(tool),
        }
    }
    command.tools.sort_by(|a, b| a.name().cmp(b.name()));
    command.discovered = names;
}

/// The program of this host that the user would run by this name in `dir`: behind launchers, with the digest of what
/// decides what it is.
///
/// # Errors
/// Why that cannot be told.
pub(crate) fn program_behind(
    scope: &Scope<'_>,
    dir: &RelPath,
    name: &str,
) -> Result<Option<Program>, String> {
    let installed = node::installed(scope, dir, name);
    let Some(program) = installed.or_else(|| scope.tools.find(name)) else {
        return Ok(None);
    };
    match leads(scope, &program, dir) {
        Leads::Itself => Ok(Some(program)),
        Leads::To(real) => Ok(Some(real)),
        Leads::Unknown(why) => Err(why),
        Leads::OfToolchain => {
            let toolchain = toolchain(scope, dir)?;
            let path = toolchain.program(name);
            Ok(path.map(|path| Program {
                name: name.to_owned(),
                path: path.to_path_buf(),
                real: path.to_path_buf(),
                digest: toolchain.identity,
            }))
        }
    }
}
