//! The programs a check names: found on PATH, or a reason why it cannot run.
//!
//! Stays free of running anything.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::config::Place;
use crate::digest::Digest;
use crate::ecosystem::program::{Behind, Find, Identify, base_name, shebang};
use crate::path::RelPath;
use crate::plan::check::Tool;
use crate::provision::node;
use crate::scope::Scope;
use crate::snapshot::{Entry, FileId};

/// Programs that were found.
#[derive(Debug, Default)]
pub(super) struct Found {
    by_name: BTreeMap<String, Tool>,
    /// Where they will run: managers of versions decide by it.
    dir: RelPath,
    /// Why results that depend on them cannot be stored, if so.
    pub(super) not_cached: Option<String>,
}

impl Found {
    /// Nothing yet, for a check that runs in `dir`.
    pub(super) fn in_folder(dir: RelPath) -> Self {
        Self {
            dir,
            ..Self::default()
        }
    }

    /// Sorted by name.
    pub(super) fn into_tools(self) -> Vec<Tool> {
        self.by_name.into_values().collect()
    }

    /// Finds the program called `name`. `user` says who needs it: `` `tools` of check `x` ``.
    ///
    /// # Errors
    /// The message for a program that is not there.
    pub(super) fn add(
        &mut self,
        scope: &Scope<'_>,
        find: Find<'_>,
        name: &str,
        user: &str,
        place: &Place,
    ) -> Result<(), String> {
        if self.take_named(scope, find, name) {
            return Ok(());
        }
        Err(missing(name, user, place))
    }

    /// Finds the program called `name`, or notes that it is not there.
    pub(super) fn add_if_there(&mut self, scope: &Scope<'_>, find: Find<'_>, name: &str) {
        if !self.take_named(scope, find, name) {
            let name = name.to_owned();
            self.by_name
                .entry(name.clone())
                .or_insert(Tool::Absent { name });
        }
    }

    fn take_named(&mut self, scope: &Scope<'_>, find: Find<'_>, name: &str) -> bool {
        if scope.images.is_some() {
            self.insert_image(name);
            return true;
        }
        let Some(program) = node::installed(scope, &self.dir, name).or_else(|| find(name)) else {
            return false;
        };
        let behind = self.identify(scope, find, |identify| identify.behind(&program));
        self.take(name, behind);
        true
    }

    /// Takes a program of the project's folder that git ignores (`.venv/bin/x`, `node_modules/.bin/x`), if what it is
    /// can be told: then it runs where it is, under its name. Returns whether it did.
    pub(super) fn add_ignored(
        &mut self,
        scope: &Scope<'_>,
        find: Find<'_>,
        path: &RelPath,
    ) -> bool {
        let file = path.under(scope.snapshot.root());
        let Some(program) = file
            .parent()
            .filter(|folder| in_environment(folder))
            .and_then(|_| scope.tools.at(path.file_name(), file.clone()))
        else {
            return false;
        };
        let behind = self.identify(scope, find, |identify| identify.behind(&program));
        let told = behind.hidden.is_none();
        if told {
            self.take(path.file_name(), behind);
        }
        told
    }

    /// The interpreter that the first line of a script names, as a tool of the script's check.
    ///
    /// # Errors
    /// The message for an interpreter that is not there.
    pub(super) fn add_interpreter(
        &mut self,
        scope: &Scope<'_>,
        find: Find<'_>,
        script: FileId,
        place: &Place,
    ) -> Result<(), String> {
        let entry = scope.snapshot.entry(script);
        let Some(interpreter) = interpreter(scope, script, entry) else {
            return Ok(());
        };
        if scope.images.is_some() {
            if !interpreter.starts_with('/') || is_usual(&interpreter) {
                self.insert_image(base_name(&interpreter));
            }
            return Ok(());
        }
        let user = format!("the first line of {}", entry.path);
        let behind = self
            .identify(scope, find, |identify| {
                identify.interpreter(&interpreter, 0)
            })
            .ok_or_else(|| missing(&interpreter, &user, place))?;
        self.take(base_name(&interpreter), behind);
        Ok(())
    }

    fn identify<T>(
        &self,
        scope: &Scope<'_>,
        find: Find<'_>,
        then: impl FnOnce(&Identify<'_>) -> T,
    ) -> T {
        then(&Identify {
            scope,
            dir: &self.dir,
            find,
        })
    }

    fn take(&mut self, name: &str, behind: Behind) {
        if self.not_cached.is_none() {
            self.not_cached = behind.hidden;
        }
        self.insert(name, behind.path, behind.identity);
        for (name, needed) in behind.needs {
            self.take(&name, needed);
        }
    }

    /// A program of the image is told by its name alone.
    fn insert_image(&mut self, name: &str) {
        let name = name.to_owned();
        let tool = Tool::Image { name: name.clone() };
        self.by_name.insert(name, tool);
    }

    /// The first of a name is the one on PATH; another of the same name only adds to its identity.
    fn insert(&mut self, name: &str, path: PathBuf, identity: Digest) {
        match self.by_name.get_mut(name) {
            Some(Tool::Host {
                identity: known, ..
            }) if *known != identity => {
                *known = Digest::combined([&*known, &identity]);
            }
            Some(Tool::Host { .. } | Tool::Layer { .. } | Tool::Image { .. }) => {}
            Some(Tool::Absent { .. }) | None => {
                let tool = Tool::Host {
                    name: name.to_owned(),
                    path,
                    identity,
                    version: None,
                };
                self.by_name.insert(name.to_owned(), tool);
            }
        }
    }
}

/// Whether a folder is the one for the programs of installed packages, which are no use without these.
pub(super) fn in_environment(folder: &Path) -> bool {
    folder.ends_with("node_modules/.bin")
        || folder
            .parent()
            .is_some_and(|prefix| prefix.join("pyvenv.cfg").is_file())
}

/// Whether a program is in a folder that every PATH names. One in another is started by its path, if it is there.
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
    let lack = if name.starts_with('/') {
        "not there"
    } else {
        "not on PATH"
    };
    format!("`{name}` is {lack}, {user} needs it ({place}): install it, or use `--engine dagger`")
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

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(found: &Found) -> Option<Digest> {
        match found.by_name.values().next() {
            Some(Tool::Host { identity, .. }) => Some(*identity),
            _ => None,
        }
    }

    #[test]
    fn two_programs_of_one_name_are_both_in_the_identity() {
        let digests = [Digest::of(b"a"), Digest::of(b"b")];
        let found = |digests: &[Digest]| {
            let mut found = Found::default();
            for digest in digests {
                found.insert("sh", "/bin/sh".into(), *digest);
            }
            identity(&found)
        };
        assert_eq!(found(&[digests[0], digests[0]]), Some(digests[0]));
        assert_ne!(found(&digests), found(&digests[..1]));
    }
}
