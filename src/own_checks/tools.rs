//! The programs named by a check: found on PATH, or the reason why it cannot run.
//!
//! Runs nothing.

use std::path::Path;

use crate::config::Place;
use crate::path::RelPath;
use crate::provision::node;
use crate::provision::program::{Found, base_name, shebang};
use crate::scope::Scope;
use crate::snapshot::{Entry, FileId};

/// Finds the program `name`, in `node_modules` before PATH. Returns whether it exists.
pub(super) fn find(found: &mut Found, scope: &Scope<'_>, name: &str) -> bool {
    let here = scope.images.is_none();
    match here
        .then(|| node::installed(scope, found.dir(), name))
        .flatten()
    {
        Some(program) => found.add_program(scope, &program),
        None => return found.add(scope, name),
    }
    true
}

/// Finds the program `name`. `user` says who needs it: `` `tools` of check `x` ``.
pub(super) fn add(
    found: &mut Found,
    scope: &Scope<'_>,
    name: &str,
    user: &str,
    place: &Place,
) -> Result<(), String> {
    match find(found, scope, name) {
        true => Ok(()),
        false => Err(missing(name, user, place)),
    }
}

/// Uses an ignored program of the project (`.venv/bin/x`, `node_modules/.bin/x`), if it can be identified: it then
/// runs at its own path, under its name. Returns whether it did.
pub(super) fn add_ignored(found: &mut Found, scope: &Scope<'_>, path: &RelPath) -> bool {
    let file = path.under(scope.snapshot.root());
    let program = file
        .parent()
        .filter(|folder| in_environment(folder))
        .and_then(|_| scope.tools.at(path.file_name(), file.clone()));
    program.is_some_and(|program| found.add_if_known(scope, &program))
}

/// The interpreter in the first line of a script, as a tool of the script's check.
pub(super) fn add_interpreter(
    found: &mut Found,
    scope: &Scope<'_>,
    script: FileId,
    place: &Place,
) -> Result<(), String> {
    let entry = scope.snapshot.entry(script);
    let Some(interpreter) = interpreter(scope, script, entry) else {
        return Ok(());
    };
    if scope.images.is_some() {
        if !interpreter.starts_with('/') || is_usual(&interpreter) {
            found.add_of_image(base_name(&interpreter));
        }
        return Ok(());
    }
    match found.add_interpreter(scope, &interpreter) {
        true => Ok(()),
        false => {
            let user = format!("the first line of {}", entry.path);
            Err(missing(&interpreter, &user, place))
        }
    }
}

/// Whether a directory contains programs of installed packages, which do not work without these.
pub(super) fn in_environment(folder: &Path) -> bool {
    folder.ends_with("node_modules/.bin")
        || folder
            .parent()
            .is_some_and(|prefix| prefix.join("pyvenv.cfg").is_file())
}

/// Whether a program is in a directory of every usual PATH. Others are started by their path if they exist.
fn is_usual(program: &str) -> bool {
    let folder = program.rsplit_once('/').map(|(folder, _)| folder);
    folder.is_some_and(|folder| {
        [
            "/bin",
            "/usr/bin",
            "/usr/local/bin",
            "/sbin",
            "/usr/sbin",
            "/usr/local/sbin",
        ]
        .contains(&folder)
    })
}

fn missing(name: &str, user: &str, place: &Place) -> String {
    let lack = if Path::new(name).is_file() {
        "neither on PATH nor of the system or the project"
    } else if name.starts_with('/') {
        "missing"
    } else {
        "not on PATH"
    };
    format!(
        "`{name}` is {lack}, but {user} needs it ({place}); install it, or use `--engine dagger`"
    )
}

fn interpreter(scope: &Scope<'_>, id: FileId, entry: &Entry) -> Option<String> {
    scope
        .facts
        .derive("custom-interpreter/2", entry.digest, || {
            let bytes = scope.snapshot.read(id)?;
            Ok::<_, std::io::Error>(shebang(&String::from_utf8_lossy(&bytes)))
        })
        .ok()?
}
