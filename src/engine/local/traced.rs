//! From what tracing saw in a room to questions about the project's files.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};

use crate::engine::Traced;
use crate::key::facts::Facts;
use crate::process::launcher::trace::{Seen, Uses};
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

/// Tells nothing: the libraries it leads to are the platform's, or inputs.
const LIBRARIES: &str = "/etc/ld.so.cache";

/// The room of a traced run.
pub(super) struct Room<'a> {
    /// Its paths as the check sees them.
    pub(crate) seen: &'a Layout,
    /// Files of the host that are in no key.
    pub(crate) unkeyed: Vec<PathBuf>,
    /// Where programs are looked for besides.
    pub(crate) folders: &'a [PathBuf],
}

/// What a run in this room asked about. Whatever is not the project's (temporary files, what its layers laid) has the
/// same state in every run.
pub(super) fn facts(answer: File, room: &Room<'_>) -> Traced {
    let Some(seen) = read(answer) else {
        return Traced::Lost("ended before it was known what it did".to_owned());
    };
    if let Some(why) = seen.lost {
        return Traced::Lost(why);
    }
    let (tree, bin) = (room.seen.tree(), room.seen.bin());
    let mut facts = Facts::default();
    for (path, uses) in seen.paths {
        let Some(text) = path.to_str() else {
            return Traced::Lost("uses names that are not UTF-8".to_owned());
        };
        if let Ok(name) = path.strip_prefix(&bin) {
            if name.as_os_str().is_empty() && uses.has(Uses::NAMES) {
                return Traced::Lost("lists the programs on its PATH".to_owned());
            }
            if !name.as_os_str().is_empty() {
                facts.add_program(&name.to_string_lossy());
            }
        } else if let Some(path) = inside(&tree, &path) {
            if path != ".git" && !path.starts_with(".git/") {
                facts.0.insert(path, uses);
            }
        } else if text != LIBRARIES && !room.unkeyed.contains(&path) {
            facts.0.insert(text.to_owned(), uses);
        }
    }
    facts.forget_path(room.folders);
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
