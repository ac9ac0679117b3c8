//! From what tracing saw in a room to questions about the project's files.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::Path;

use crate::engine::Traced;
use crate::key::facts::Facts;
use crate::process::launcher::trace::Seen;
use crate::room::Layout;

/// A file that nobody else can see.
#[cfg(target_os = "linux")]
pub(super) fn file() -> io::Result<File> {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    Ok(rustix::fs::memfd_create("seen", flags)?.into())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn file() -> io::Result<File> {
    tempfile::tempfile()
}

/// What a run in this room asked about. Whatever is not the project's (temporary files, what its layers laid) has the
/// same state in every run.
pub(super) fn facts(answer: File, seen_from_inside: &Layout) -> Traced {
    let Some(seen) = read(answer) else {
        return Traced::Lost("ended before it was known what it did".to_owned());
    };
    if let Some(why) = seen.lost {
        return Traced::Lost(why);
    }
    let tree = seen_from_inside.tree();
    let mut facts = Facts::default();
    for (path, uses) in seen.paths {
        let Some(path) = inside(&tree, &path) else {
            return Traced::Lost("uses names that are not UTF-8".to_owned());
        };
        if path != ".git" && !path.starts_with(".git/") {
            facts.0.insert(path, uses);
        }
    }
    Traced::Facts(facts)
}

fn read(mut answer: File) -> Option<Seen> {
    let mut bytes = Vec::new();
    answer.rewind().ok()?;
    answer.read_to_end(&mut bytes).ok()?;
    Seen::decode(&bytes)
}

fn inside(tree: &Path, path: &Path) -> Option<String> {
    Some(path.strip_prefix(tree).ok()?.to_str()?.to_owned())
}
