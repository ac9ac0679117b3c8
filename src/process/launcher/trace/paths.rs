//! From the words of a call to facts about files: resolves paths as the kernel does, on the disk as it is just before the
//! call.
//!
//! Only what lies below the watched directories is noted, links that lead there included.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, openat, readlinkat, statat};

use super::calls::Use;
use super::seen::{Seen, Uses};

/// As many links as the kernel follows.
const LINKS: usize = 40;

/// Read-only in every room, and without links that lead into it.
const SYSTEM: [&str; 12] = [
    "bin", "boot", "etc", "lib", "lib32", "lib64", "libx32", "nix", "opt", "sbin", "sys", "usr",
];

/// How a path of a call is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Way {
    /// Whether a link at its end is followed.
    pub(super) follow: bool,
    /// Noted if it is a file.
    pub(super) file: Uses,
    /// Noted if it is a directory.
    pub(super) directory: Uses,
    /// Noted if it is a link that is not followed.
    pub(super) link: Uses,
    /// Noted if it is not there.
    pub(super) absent: Uses,
    /// Whether what names lead to may be another thing afterwards.
    pub(super) moves: bool,
}

impl Way {
    /// Of a use of an existing entry, whatever it is.
    const fn of(follow: bool, uses: Uses) -> Self {
        Self {
            follow,
            file: uses,
            directory: Uses::KIND,
            link: Uses::KIND,
            absent: Uses::ABSENT,
            moves: false,
        }
    }

    /// `follow` is for uses that say that it depends on the call; `flags` are those of an open.
    pub(super) fn of_use(what: Use, follow: bool, flags: i32) -> Self {
        let open = |flag: i32| flags & flag == flag;
        match what {
            Use::Open(_) | Use::OpenHow(_) => {
                let creates = open(libc::O_CREAT);
                let follow = !(open(libc::O_NOFOLLOW) || creates && open(libc::O_EXCL));
                let uses = if open(libc::O_PATH) {
                    Uses::KIND
                } else {
                    Uses::CONTENT
                };
                // Of a temporary file, only the directory has a name.
                let made = creates && !open(libc::O_TMPFILE);
                Self {
                    absent: if made { Uses::MADE } else { Uses::ABSENT },
                    ..Self::of(follow, uses)
                }
            }
            Use::Stat(_) => Self::of(follow, Uses::KIND.and(Uses::SIZE)),
            Use::Look(_) => Self::of(follow, Uses::KIND),
            Use::Content(_) | Use::Execute(_) => Self::of(follow, Uses::CONTENT),
            Use::List => Self::of(false, Uses::NAMES),
            Use::ReadLink => Self {
                link: Uses::TARGET,
                ..Self::of(false, Uses::KIND)
            },
            Use::Make => Self {
                absent: Uses::MADE,
                moves: true,
                ..Self::of(false, Uses::KIND)
            },
            Use::Remove => Self {
                directory: Uses::NAMES,
                moves: true,
                ..Self::of(false, Uses::KIND)
            },
            Use::Move => Self {
                file: Uses::CONTENT,
                directory: Uses::TREE,
                link: Uses::TARGET,
                absent: Uses::MADE,
                moves: true,
                follow: false,
            },
        }
    }
}

/// Reads paths of one room.
pub(super) struct Paths {
    watched: Vec<PathBuf>,
    /// The root of the command's file system, which need not be this process's.
    root: OwnedFd,
    /// Directories that are there, and no links.
    folders: HashSet<PathBuf>,
    /// What was noted before would be noted again.
    done: HashSet<(PathBuf, Way)>,
}

impl Paths {
    /// `root` is the command's root directory, opened with `O_PATH`.
    pub(super) fn new(watched: Vec<PathBuf>, root: OwnedFd) -> Self {
        Self {
            watched,
            root,
            folders: HashSet::new(),
            done: HashSet::new(),
        }
    }

    /// Notes a path, which may be relative to the absolute `base`. Returns where it leads, if it exists.
    pub(super) fn note(&mut self, seen: &mut Seen, base: &Path, text: &[u8], way: Way) {
        let path = base.join(OsStr::from_bytes(text));
        if self.is_of_no_interest(&path) || !self.done.insert((path.clone(), way)) {
            return;
        }
        // A slash at the end asks for a directory.
        let follow = way.follow || text.ends_with(b"/");
        let (at, found) = self.walk(seen, &path, follow);
        let uses = match found {
            Some(FileType::Directory) => way.directory,
            Some(FileType::Symlink) => way.link,
            Some(_) => way.file,
            None => way.absent,
        };
        self.add(seen, &at, uses);
        let was_file = matches!(found, Some(FileType::RegularFile));
        if way.moves && !was_file {
            self.folders.clear();
            self.done.clear();
        }
    }

    /// Notes what is open already.
    pub(super) fn note_open(&self, seen: &mut Seen, path: &Path, way: Way) {
        if path.is_absolute() {
            self.add(seen, path, way.file);
        }
    }

    fn is_of_no_interest(&self, path: &Path) -> bool {
        let mut parts = path.components().skip(1);
        let first = parts.next();
        let is_system = first.is_some_and(|first| {
            let mut system = SYSTEM.iter();
            system.any(|name| first.as_os_str() == *name)
        });
        is_system && !self.is_watched(path) && !parts.any(|part| part == Component::ParentDir)
    }

    fn is_watched(&self, path: &Path) -> bool {
        self.watched.iter().any(|watched| path.starts_with(watched))
    }

    fn add(&self, seen: &mut Seen, path: &Path, uses: Uses) {
        if self.is_watched(path) {
            seen.note(path, uses);
        }
    }

    /// Follows a path to its end, or to the first part that is missing. Notes the links on the way.
    fn walk(&mut self, seen: &mut Seen, path: &Path, follow: bool) -> (PathBuf, Option<FileType>) {
        let mut at = PathBuf::from("/");
        let mut kind = FileType::Directory;
        let mut rest = reversed(path);
        let mut links = 0;
        while let Some(part) = rest.pop() {
            match part.as_bytes() {
                b"." => continue,
                b".." => {
                    at.pop();
                    continue;
                }
                _ => {}
            }
            if kind != FileType::Directory {
                // A file in the place of a directory.
                return (at, Some(kind));
            }
            at.push(&part);
            if self.folders.contains(&at) {
                continue;
            }
            let Ok(found) = self.kind(&at) else {
                return (at, None);
            };
            kind = found;
            if found == FileType::Directory {
                self.folders.insert(at.clone());
            }
            if found == FileType::Symlink && (follow || !rest.is_empty()) {
                self.add(seen, &at, Uses::TARGET);
                links += 1;
                let target = self.target(&at).ok().filter(|_| links <= LINKS);
                let Some(target) = target else {
                    return (at, Some(found));
                };
                at.pop();
                if target.is_absolute() {
                    at = PathBuf::from("/");
                }
                rest.extend(reversed(&target));
                kind = FileType::Directory;
            }
        }
        (at, Some(kind))
    }

    fn kind(&self, path: &Path) -> io::Result<FileType> {
        let stat = statat(&self.root, inside(path), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(FileType::from_raw_mode(stat.st_mode))
    }

    fn target(&self, path: &Path) -> io::Result<PathBuf> {
        let target = readlinkat(&self.root, inside(path), Vec::new())?;
        Ok(PathBuf::from(std::ffi::OsString::from_vec(
            target.into_bytes(),
        )))
    }
}

/// The root directory of a process.
pub(super) fn root_of(process: i32) -> io::Result<OwnedFd> {
    let path = format!("/proc/{process}/root");
    Ok(openat(
        rustix::fs::CWD,
        path,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// Relative to the root.
fn inside(path: &Path) -> &Path {
    let path = path.strip_prefix("/").unwrap_or(path);
    if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    }
}

/// The parts of a path, last first.
fn reversed(path: &Path) -> Vec<std::ffi::OsString> {
    let parts = path.as_os_str().as_bytes().split(|byte| *byte == b'/');
    let parts = parts.filter(|part| !part.is_empty()).rev();
    parts
        .map(|part| OsStr::from_bytes(part).to_owned())
        .collect()
}
