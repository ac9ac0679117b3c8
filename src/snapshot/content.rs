//! Reads and hashes content as a stream, with a stat before and after.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::path::Arg;

use crate::digest::{Digest, Hasher};
use crate::snapshot::stat::Stat;

/// Most files fit in one read, and it stays in the core's cache while being hashed.
const BUFFER: usize = 256 << 10;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Content {
    /// Taken when reading began.
    pub(crate) stat: Stat,
    /// The digest of the bytes that were read.
    pub(crate) digest: Digest,
    /// Whether the file was unchanged when reading ended.
    pub(crate) steady: bool,
}

thread_local! {
    static ROOM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Hashes the file at `path` below `dir`, or the target if it is a link.
///
/// # Errors
/// `InvalidInput` if it is neither a file nor a link.
pub(crate) fn hash_at(
    dir: BorrowedFd<'_>,
    path: impl Arg + Copy,
    stat: &Stat,
) -> io::Result<Content> {
    if stat.file_type() == FileType::Symlink {
        let target = rustix::fs::readlinkat(dir, path, Vec::new())?;
        return Ok(Content {
            stat: *stat,
            digest: Digest::of(target.as_bytes()),
            steady: Stat::at(dir, path)? == *stat,
        });
    }
    // A file that has become a fifo must not block.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, path, flags, Mode::empty())?;
    hash_open(&File::from(file))
}

pub(crate) fn hash_path(path: &Path) -> io::Result<Content> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty())?;
    hash_open(&File::from(file))
}

fn hash_open(file: &File) -> io::Result<Content> {
    let stat = Stat::of_open(file)?;
    if stat.file_type() != FileType::RegularFile {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let digest = ROOM.with_borrow_mut(|room| {
        room.resize(BUFFER, 0);
        digest_of(file, room)
    })?;
    Ok(Content {
        stat,
        digest,
        steady: Stat::of_open(file)? == stat,
    })
}

fn digest_of(mut file: &File, room: &mut [u8]) -> io::Result<Digest> {
    let mut hasher = Hasher::new();
    loop {
        match file.read(room) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(count) => hasher.update(room.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
