//! The Rust toolchain of a project folder. Does not know what its programs are run for.

use std::path::Path;

use crate::path::RelPath;
use crate::scope::Scope;
use crate::tool::rustup::{Host, Toolchain, ToolchainError, resolve};

/// The toolchain that cargo would use in `dir`, or why there is none and what to do.
pub(crate) fn toolchain(scope: &Scope<'_>, dir: &RelPath) -> Result<Toolchain, String> {
    with_host(scope, |host| {
        resolve(host, &dir.under(scope.snapshot.root()))
    })
    .map_err(|error| match error {
        ToolchainError::ByPath { .. } => error.to_string(),
        other => format!("{other}, or use `--engine dagger`"),
    })
}

/// Reads a file; inside the project, its hashed content.
pub(crate) fn reader(scope: &Scope<'_>) -> impl Fn(&Path) -> Option<Vec<u8>> {
    let root = scope.snapshot.root();
    move |path| match path.strip_prefix(root) {
        Ok(inside) => {
            let path = RelPath::from_path(inside).ok()?;
            scope.snapshot.read(scope.snapshot.find(&path)?).ok()
        }
        Err(_) => {
            let (folder, name) = (path.parent()?, path.file_name()?);
            scope.read_above(folder, Path::new(name))
        }
    }
}

/// Queries toolchains of the host, with the hashed content of project files.
pub(crate) fn with_host<T>(scope: &Scope<'_>, then: impl FnOnce(&Host<'_>) -> T) -> T {
    let read = reader(scope);
    then(&Host {
        tools: scope.tools,
        facts: scope.facts,
        env: scope.env,
        read: &read,
    })
}
