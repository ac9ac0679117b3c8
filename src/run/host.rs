//! What traced runs ask about this host: which programs the names on PATH lead to, and files that are neither the project's
//! nor the platform's.
//!
//! Starts nothing. Does not know what was asked.

use std::io::ErrorKind;
use std::path::Path;

use rustix::fs::FileType;

use crate::digest::Digest;
use crate::key::facts::{Host, listing};
use crate::own_checks::program_behind;
use crate::path::RelPath;
use crate::process::launcher::trace::Uses;
use crate::run::Session;
use crate::scope::Scope;
use crate::snapshot::stat::Stat;
use crate::tool::first_in;

/// This host as it is for a check.
pub(super) struct ThisHost<'a> {
    scope: Scope<'a>,
    /// Where the check runs.
    dir: &'a RelPath,
}

impl<'a> ThisHost<'a> {
    pub(super) fn new(session: &'a Session<'_>, dir: &'a RelPath) -> Self {
        Self {
            scope: session.scope(),
            dir,
        }
    }

    /// Whether a run that finds programs in the folders of the system gets the user's program of this name, or none if the
    /// user has none; `None` if it cannot be told what the user's program is.
    pub(super) fn has_users(&self, name: &str) -> Option<bool> {
        let given = first_in(self.scope.tools.folders_of_system(), name);
        let given = given.and_then(|path| path.canonicalize().ok().zip(Some(path)));
        let users = program_behind(&self.scope, self.dir, name).ok()?;
        Some(match (given, users) {
            (None, None) => true,
            // Programs with many names look at the one they are called by.
            (Some((real, path)), Some(users)) => {
                real == users.real && path.file_name() == users.path.file_name()
            }
            // The user may not read it.
            (Some(_), None) => return None,
            (None, Some(_)) => false,
        })
    }

    fn look(&self, path: &Path, uses: Uses) -> std::io::Result<String> {
        let stat = Stat::of_link(path)?;
        match stat.file_type() {
            FileType::Directory if uses.has(Uses::NAMES.and(Uses::TREE)) => {
                Ok(format!("d {}", names(path)?))
            }
            FileType::Directory => Ok("d".to_owned()),
            FileType::Symlink => {
                let target = std::fs::read_link(path)?;
                let target = Digest::of(target.as_os_str().as_encoded_bytes());
                Ok(format!("l {target}"))
            }
            FileType::RegularFile => {
                let letter = if stat.is_executable_by_any() {
                    'x'
                } else {
                    'f'
                };
                Ok(match uses.has(Uses::CONTENT.and(Uses::SIZE)) {
                    true => format!("{letter} {}", self.scope.tools.digest(path)?),
                    false => letter.to_string(),
                })
            }
            _ => Ok("o".to_owned()),
        }
    }
}

impl Host for ThisHost<'_> {
    fn program(&self, name: &str) -> String {
        match program_behind(&self.scope, self.dir, name) {
            Ok(None) => String::new(),
            Ok(Some(program)) => format!("x {}", program.digest),
            Err(_) => "unknown".to_owned(),
        }
    }

    fn file(&self, path: &Path, uses: Uses) -> String {
        match self.look(path, uses) {
            Ok(state) => state,
            Err(error) => match error.kind() {
                ErrorKind::NotFound | ErrorKind::NotADirectory => String::new(),
                _ => "unreadable".to_owned(),
            },
        }
    }
}

/// The names and kinds of a folder's entries.
fn names(folder: &Path) -> std::io::Result<Digest> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let letter = if kind.is_dir() { b'd' } else { b'f' };
        all.push((entry.file_name(), letter));
    }
    all.sort_unstable();
    let all = all.iter();
    let listing = listing(all.map(|(name, letter)| (name.as_encoded_bytes(), *letter)));
    Ok(Digest::of(&listing))
}
