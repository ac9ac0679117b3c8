//! The files rustfmt reads: the target roots and their modules.
//!
//! A closure is memoised by the names and digests of all Rust files and links of the project, so that a Fresh run
//! follows nothing; after an edit only the edited file is scanned. Does not parse files (`modules` does) and ignores
//! configuration files.

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Hasher};
use crate::path::RelPath;
use crate::scope::Scope;
use crate::snapshot::{FileId, Kind, Snapshot};

use super::links::follow;
use super::modules::{Declaration, Unfollowed, declarations};

/// The closure of some target roots.
#[derive(Debug, Default)]
pub(crate) struct Closure {
    /// All files and links on the way to them, sorted.
    pub(crate) files: BTreeSet<FileId>,
    /// The path of a module that may be outside the project, if any.
    pub(crate) outside: Option<String>,
    /// Whether it depends on more than Rust files and links: a module may have another extension, or a file was
    /// unreadable.
    passing: bool,
}

/// A closure as memoised.
#[derive(Serialize, Deserialize)]
struct Remembered {
    /// Indices into the list of Rust files and links.
    files: Vec<usize>,
    outside: Option<String>,
}

/// Follows `mod` and `#[path]` from `roots`. Missing modules are skipped: the tool will report them.
#[must_use]
pub(crate) fn closure(scope: &Scope<'_>, roots: &[RelPath]) -> Closure {
    let sources: Vec<FileId> = scope
        .snapshot
        .entries()
        .iter()
        .zip(0..)
        .filter(|(entry, _)| entry.kind == Kind::Symlink || is_rust(&entry.path))
        .map(|(_, id)| id)
        .collect();
    let digest = digest(scope.snapshot, roots, &sources);
    let remembered = scope.facts.derive("rust-closure/1", digest, || {
        let closure = walk(scope, roots);
        if closure.passing {
            return Err(closure);
        }
        let place = |id: &FileId| sources.binary_search(id).ok();
        Ok(Remembered {
            files: closure.files.iter().filter_map(place).collect(),
            outside: closure.outside,
        })
    });
    match remembered {
        Ok(Remembered { files, outside }) => Closure {
            files: files
                .iter()
                .filter_map(|place| sources.get(*place).copied())
                .collect(),
            outside,
            passing: false,
        },
        Err(closure) => closure,
    }
}

fn is_rust(path: &RelPath) -> bool {
    path.extension() == Some("rs")
}

fn digest(snapshot: &Snapshot, roots: &[RelPath], sources: &[FileId]) -> Digest {
    let mut hasher = Hasher::new();
    for root in roots {
        hasher.update(root.as_bytes());
        hasher.update(&[0]);
    }
    hasher.update(&[0]);
    for id in sources {
        let entry = snapshot.entry(*id);
        hasher.update(entry.path.as_bytes());
        hasher.update(&[0, u8::from(entry.kind == Kind::Symlink)]);
        hasher.update(entry.digest.as_bytes());
    }
    hasher.finish()
}

fn walk(scope: &Scope<'_>, roots: &[RelPath]) -> Closure {
    let mut closure = Closure::default();
    let mut queue: VecDeque<RelPath> = roots.iter().cloned().collect();
    let mut seen: BTreeSet<RelPath> = roots.iter().cloned().collect();
    while let Some(path) = queue.pop_front() {
        closure.passing |= !is_rust(&path);
        let Some(id) = locate(scope.snapshot, &path, &mut closure) else {
            continue;
        };
        for declaration in declarations_of(scope, id, &mut closure) {
            match declaration.candidates(&path) {
                Ok(found) => queue.extend(found.into_iter().filter(|p| seen.insert(p.clone()))),
                Err(Unfollowed(text)) => closure.outside = Some(text),
            }
        }
    }
    closure
}

/// An unreadable file has no modules here; copying it to the room fails with the same error.
fn declarations_of(scope: &Scope<'_>, id: FileId, closure: &mut Closure) -> Vec<Declaration> {
    let digest = scope.snapshot.entry(id).digest;
    let read = || -> std::io::Result<_> {
        let bytes = scope.snapshot.read(id)?;
        Ok(declarations(&String::from_utf8_lossy(&bytes)))
    };
    let found = scope.facts.derive("rust-modules/1", digest, read);
    closure.passing |= found.is_err();
    found.unwrap_or_default()
}

/// The file at `path`, following links; adds it and the links to the closure.
fn locate(snapshot: &Snapshot, path: &RelPath, closure: &mut Closure) -> Option<FileId> {
    let followed = follow(snapshot, path);
    closure.files.extend(followed.links);
    closure.files.extend(followed.file);
    closure.passing |= followed.unread;
    if followed.outside.is_some() {
        closure.outside = followed.outside;
    }
    followed.file
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Env;
    use crate::facts::Facts;
    use crate::tool::Tools;

    fn closure_of(files: &[(&str, &str)], roots: &[&str]) -> (Vec<String>, Option<String>) {
        let snapshot = Snapshot::in_memory(files);
        let excluded = vec![false; files.len()];
        let (facts, tools, env) = (Facts::default(), Tools::default(), Env::default());
        let scope = Scope {
            snapshot: &snapshot,
            excluded: &excluded,
            facts: &facts,
            tools: &tools,
            env: &env,
            secrets_baseline: None,
            images: None,
        };
        let roots: Vec<RelPath> = roots.iter().map(|r| RelPath::new(r).unwrap()).collect();
        let first = closure(&scope, &roots);
        let closure = closure(&scope, &roots);
        assert_eq!(
            (first.files, first.outside),
            (closure.files.clone(), closure.outside.clone())
        );
        let paths = closure.files.iter().map(|id| snapshot.entry(*id));
        (
            paths.map(|e| e.path.as_str().to_owned()).collect(),
            closure.outside,
        )
    }

    #[test]
    fn modules_are_followed_and_other_files_are_not() {
        let files = [
            ("README.md", ""),
            ("src/a.rs", "mod b; #[path = \"odd.inc\"] mod c;"),
            ("src/a/b.rs", "mod lib; mod a;"),
            ("src/lib.rs", "mod a; mod gone;"),
            ("src/odd.inc", "mod d;"),
            ("src/d.rs", ""),
            ("src/unused.rs", "mod b;"),
        ];
        let (paths, outside) = closure_of(&files, &["src/lib.rs"]);
        let expected = [
            "src/a.rs",
            "src/a/b.rs",
            "src/d.rs",
            "src/lib.rs",
            "src/odd.inc",
        ];
        assert_eq!(
            (paths.as_slice(), outside),
            (&expected.map(String::from)[..], None)
        );
    }

    #[test]
    fn both_places_of_a_module_are_in() {
        let files = [
            ("src/a.rs", ""),
            ("src/a/mod.rs", ""),
            ("src/lib.rs", "mod a;"),
        ];
        assert_eq!(closure_of(&files, &["src/lib.rs"]).0.len(), 3);
    }

    #[test]
    fn a_module_outside_the_project_is_told() {
        let files = [("src/lib.rs", "#[path = \"../../x.rs\"] mod x;")];
        let (_, outside) = closure_of(&files, &["src/lib.rs"]);
        assert_eq!(outside.as_deref(), Some("../../x.rs"));
    }
}
