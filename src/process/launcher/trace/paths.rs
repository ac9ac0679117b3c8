//! From the words of a call to facts about files: resolves paths as the kernel does, on the disk as it is just before the
//! call.
//!
//! Only what lies below the watched directories is noted, links that lead there included.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, fstat, openat, readlinkat, statat};

use super::calls::Use;
use super::seen::{Notes, Uses};

/// As many links as the kernel follows.
const LINKS: usize = 40;

/// Paths that are remembered for one command, in bytes.
const MOST: usize = 64 << 20;

/// Read-only in every room, and without links that lead into it.
const SYSTEM: [&str; 12] = [
    "bin", "boot", "etc", "lib", "lib32", "lib64", "libx32", "nix", "opt", "sbin", "sys", "usr",
];

/// How a path of a call is to be read.
#[derive(Debug, Clone, Copy)]
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

    /// Tells ways apart. Starts with a byte that no path has.
    const fn code(self) -> [u8; 7] {
        [
            0,
            self.follow as u8,
            self.file.0,
            self.directory.0,
            self.link.0,
            self.absent.0,
            self.moves as u8,
        ]
    }

    /// `follow` is for uses that say that it depends on the call; `flags` are those of an open.
    pub(super) fn of_use(what: Use, follow: bool, flags: i32) -> Self {
        let open = |flag: i32| flags & flag == flag;
        match what {
            Use::Open(_) | Use::OpenHow(_) => {
                let creates = open(libc::O_CREAT);
                let follow = !(open(libc::O_NOFOLLOW) || creates && open(libc::O_EXCL));
                // The size of what is open is not asked for by path.
                let uses = if open(libc::O_PATH) {
                    Uses::KIND.and(Uses::SIZE)
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

/// Reads paths of one room. All of them are absolute.
pub(super) struct Paths {
    watched: Vec<Vec<u8>>,
    /// The root of the command's file system, which need not be this process's.
    root: OwnedFd,
    /// Directories that are there, and no links; not the root.
    folders: HashSet<Vec<u8>>,
    /// Paths as they were given, and the ways: noting them again would change nothing.
    done: HashSet<Vec<u8>>,
    /// Bytes of both.
    size: usize,
}

/// Where a path leads.
enum Lead {
    /// To this path, and what is there.
    Here(Vec<u8>, Option<FileType>),
    /// Into `/proc`, with the rest: what that is depends on who asks.
    Proc(Vec<u8>),
}

impl Paths {
    /// `root` is the command's root directory, opened with `O_PATH`.
    pub(super) fn new(watched: &[PathBuf], root: OwnedFd) -> Self {
        let watched = watched.iter().map(|path| path.as_os_str().as_bytes());
        Self {
            watched: watched.map(<[u8]>::to_vec).collect(),
            root,
            folders: HashSet::new(),
            done: HashSet::new(),
            size: 0,
        }
    }

    /// Whether more is remembered, here and as notes, than there is memory for.
    pub(super) const fn is_full(&self, notes: &Notes) -> bool {
        self.size + notes.size() > MOST
    }

    /// Notes a path that is absolute or starts at `base`. Returns the rest of one that leads into `/proc`.
    pub(super) fn note(
        &mut self,
        notes: &mut Notes,
        base: &[u8],
        text: &[u8],
        way: Way,
    ) -> Option<Vec<u8>> {
        let mut path = Vec::with_capacity(base.len() + text.len() + 8);
        if text.first() != Some(&b'/') {
            path.extend_from_slice(base);
            path.push(b'/');
        }
        path.extend_from_slice(text);
        if self.is_of_no_interest(&path) {
            return None;
        }
        let length = path.len();
        path.extend_from_slice(&way.code());
        if self.done.contains(&path) {
            return None;
        }
        let given = path.clone();
        path.truncate(length);
        // A slash at the end asks for a directory.
        let follow = way.follow || text.ends_with(b"/");
        let (at, found) = match self.lead(notes, path, follow) {
            Lead::Here(at, found) => (at, found),
            Lead::Proc(rest) => return Some(rest),
        };
        self.size += given.len();
        self.done.insert(given);
        let uses = match found {
            Some(FileType::Directory) => way.directory,
            Some(FileType::Symlink) => way.link,
            Some(_) => way.file,
            None => way.absent,
        };
        if uses.has(Uses::MADE) {
            // Nothing is made where there is no folder.
            let folder = at.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
            self.add(notes, at.get(..folder).unwrap_or_default(), Uses::KIND);
        }
        self.add(notes, &at, uses);
        if way.moves && found != Some(FileType::RegularFile) {
            self.folders.clear();
            self.done.clear();
            self.size = 0;
        }
        None
    }

    /// The beginning of a file that a path leads to; empty if there is none.
    pub(super) fn head(&mut self, base: &[u8], text: &[u8]) -> Vec<u8> {
        const HEAD: usize = 4096;
        let mut path = base.to_vec();
        if text.first() == Some(&b'/') {
            path.clear();
        } else {
            path.push(b'/');
        }
        path.extend_from_slice(text);
        let Lead::Here(at, Some(FileType::RegularFile)) =
            self.walk(&mut Notes::default(), &path, true)
        else {
            return Vec::new();
        };
        let mut head = vec![0; HEAD];
        let file = self.open(&at);
        let length = file.and_then(|file| Ok(rustix::io::read(&file, &mut head)?));
        let length = length.unwrap_or(0);
        head.truncate(length);
        head
    }

    /// Notes what is open already.
    pub(super) fn note_open(&self, notes: &mut Notes, path: &[u8], way: Way) {
        self.add(notes, path, way.file);
    }

    fn is_of_no_interest(&self, path: &[u8]) -> bool {
        let mut parts = path
            .split(|byte| *byte == b'/')
            .filter(|part| !part.is_empty());
        let first = parts.next().unwrap_or_default();
        let is_system = SYSTEM.iter().any(|name| name.as_bytes() == first);
        is_system && !self.is_watched(path) && !parts.any(|part| part == b"..")
    }

    fn is_watched(&self, path: &[u8]) -> bool {
        self.watched.iter().any(|watched| {
            let rest = path.strip_prefix(watched.as_slice());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        })
    }

    fn add(&self, notes: &mut Notes, path: &[u8], uses: Uses) {
        if self.is_watched(path) {
            notes.note(path, uses);
        }
    }

    /// Where a path leads, and what is there.
    fn lead(&mut self, notes: &mut Notes, path: Vec<u8>, follow: bool) -> Lead {
        let split = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        let (folder, name) = path.split_at(split);
        let is_plain = ![&b"/"[..], b"/.", b"/.."].contains(&name);
        if is_plain && self.folders.contains(folder) {
            let kind = self.kind(&path).ok();
            if kind == Some(FileType::Directory) {
                self.keep(&path);
            }
            if kind != Some(FileType::Symlink) || !follow {
                return Lead::Here(path, kind);
            }
        }
        self.walk(notes, &path, follow)
    }

    /// Follows a path to its end, or to the first part that is missing. Notes the links on the way.
    fn walk(&mut self, notes: &mut Notes, path: &[u8], follow: bool) -> Lead {
        let mut at = Vec::new();
        let mut kind = FileType::Directory;
        let mut rest = reversed(path);
        let mut links = 0;
        while let Some(part) = rest.pop() {
            if kind != FileType::Directory {
                // A file in the place of a directory.
                return Lead::Here(at, Some(kind));
            }
            if part == b"." {
                continue;
            }
            if part == b".." {
                at.truncate(at.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
                continue;
            }
            if at == b"/proc" {
                rest.push(part);
                rest.reverse();
                return Lead::Proc(rest.join(&b'/'));
            }
            at.push(b'/');
            at.extend_from_slice(&part);
            if self.folders.contains(&at) {
                continue;
            }
            let Ok(found) = self.kind(&at) else {
                return Lead::Here(at, None);
            };
            kind = found;
            if found == FileType::Directory {
                self.keep(&at);
            }
            if found == FileType::Symlink && (follow || !rest.is_empty()) {
                self.add(notes, &at, Uses::TARGET);
                links += 1;
                let target = self.target(&at).ok().filter(|_| links <= LINKS);
                let Some(target) = target else {
                    return Lead::Here(at, Some(found));
                };
                at.truncate(at.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
                if target.first() == Some(&b'/') {
                    at.clear();
                }
                rest.extend(reversed(&target));
                kind = FileType::Directory;
            }
        }
        Lead::Here(at, Some(kind))
    }

    fn keep(&mut self, folder: &[u8]) {
        if self.folders.insert(folder.to_vec()) {
            self.size += folder.len();
        }
    }

    fn kind(&self, path: &[u8]) -> io::Result<FileType> {
        let stat = statat(&self.root, inside(path), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(FileType::from_raw_mode(stat.st_mode))
    }

    /// Opens a regular file. Meanwhile the command may have made its path lead to something of the host, where opening a
    /// device has effects.
    fn open(&self, path: &[u8]) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let place = openat(&self.root, inside(path), flags, Mode::empty())?;
        if FileType::from_raw_mode(fstat(&place)?.st_mode) != FileType::RegularFile {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let place = format!("/proc/self/fd/{}", place.as_raw_fd());
        Ok(openat(
            CWD,
            place,
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )?)
    }

    fn target(&self, path: &[u8]) -> io::Result<Vec<u8>> {
        Ok(readlinkat(&self.root, inside(path), Vec::new())?.into_bytes())
    }
}

/// The root directory of a process.
pub(super) fn root_of(process: i32) -> io::Result<OwnedFd> {
    let path = format!("/proc/{process}/root");
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(CWD, path, flags, Mode::empty())?)
}

/// Relative to the root.
fn inside(path: &[u8]) -> &[u8] {
    path.strip_prefix(b"/").unwrap_or(path)
}

/// The parts of a path, last first.
fn reversed(path: &[u8]) -> Vec<Vec<u8>> {
    let parts = path.split(|byte| *byte == b'/');
    let parts = parts.filter(|part| !part.is_empty()).rev();
    parts.map(<[u8]>::to_vec).collect()
}
