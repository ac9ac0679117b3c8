//! Reads and hashes content as a stream, with a stat before and after.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::path::Arg;

use crate::digest::{Digest, Hasher};
use crate::fs::too_large;
use crate::rule::Rule;
use crate::snapshot::stat::Stat;

/// Most files fit in one read, and it stays in the core's cache while being hashed.
const BUFFER: usize = 256 << 10;

/// Larger files are no inputs: hashing them takes minutes or, if they are sparse, hours.
pub(crate) const LARGEST: u64 = 4 << 30;

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
/// `InvalidInput` if it is neither a file nor a link, `FileTooLarge` above [`LARGEST`].
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

pub(crate) fn hash_open(file: &File) -> io::Result<Content> {
    let stat = Stat::of_open(file)?;
    if stat.file_type() != FileType::RegularFile {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    if stat.size() > LARGEST && Rule::LargestInput.holds() {
        return Err(too_large(LARGEST));
    }
    let mut hasher = Hasher::new();
    let whole = pieces(file, stat.size(), &mut |piece| {
        hasher.update(piece);
        Ok(())
    })?;
    Ok(Content {
        stat,
        digest: hasher.finish(),
        steady: whole && Stat::of_open(file)? == stat,
    })
}

/// Receives content piece by piece.
pub(crate) type Each<'a> = dyn FnMut(&[u8]) -> io::Result<()> + 'a;

/// Passes the next `size` bytes of a file to `take`. Returns whether the file ends there; one that grows as fast as it
/// is read would never end.
pub(crate) fn pieces(mut file: &File, size: u64, take: &mut Each<'_>) -> io::Result<bool> {
    ROOM.with(|room| {
        // Unless `take` reads files itself.
        let mut own = Vec::new();
        let mut shared = room.try_borrow_mut();
        let room = shared.as_deref_mut().unwrap_or(&mut own);
        room.resize(BUFFER, 0);
        let mut rest = size;
        loop {
            let count = match file.read(room) {
                Ok(0) => return Ok(rest == 0),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let kept = count.min(usize::try_from(rest).unwrap_or(usize::MAX));
            take(room.get(..kept).unwrap_or_default())?;
            rest -= kept as u64;
            if kept < count {
                return Ok(false);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_read_than_a_file_had() {
        let endless = File::open("/dev/zero").unwrap();
        let mut read = 0;
        let mut count = |piece: &[u8]| {
            read += piece.len();
            Ok(())
        };
        assert!(!pieces(&endless, 1_000_000, &mut count).unwrap());
        let mut file = tempfile::NamedTempFile::new().unwrap();
        io::Write::write_all(&mut file, b"text").unwrap();
        let reopen = || file.reopen().unwrap();
        assert!(pieces(&reopen(), 4, &mut count).unwrap());
        // Shorter than it was.
        assert!(!pieces(&reopen(), 5, &mut count).unwrap());
        assert_eq!(read, 1_000_008);
    }
}
