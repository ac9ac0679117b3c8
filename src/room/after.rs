//! Whether what a check said can be believed, as far as its room and the disk below it tell.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::room::{LOCK, Room, RoomError, at};
use crate::rule::Rule;

/// A disk with less is full: a check may have met that, whether it says so or not.
const LITTLE: u64 = 256 << 10;

impl Room {
    /// Asked after a run: its verdict counts only if the room is still there, on a disk that took what was written.
    ///
    /// # Errors
    /// If somebody deleted the room, or the disk is full.
    pub(crate) fn believe(&self) -> Result<(), RoomError> {
        if Rule::RoomKept.holds() && !self.is_kept() {
            return Err(RoomError::Gone(self.dir.clone()));
        }
        if Rule::FullDisk.holds() && is_full(&self.dir) {
            return at(&self.dir, Err(rustix::io::Errno::NOSPC.into()));
        }
        Ok(())
    }

    /// Whether the lock is still the one that lies in the room, and its content is there.
    fn is_kept(&self) -> bool {
        let named = std::fs::symlink_metadata(self.dir.join(LOCK));
        let same = match (self.lock.metadata(), named) {
            (Ok(held), Ok(named)) => (held.dev(), held.ino()) == (named.dev(), named.ino()),
            _ => false,
        };
        same && self.tree().is_dir()
    }
}

/// Whether nothing more fits on a disk. One that tells nothing has room.
fn is_full(path: &Path) -> bool {
    let Ok(disk) = rustix::fs::statvfs(path) else {
        return false;
    };
    let root = rustix::process::geteuid().is_root();
    let (blocks, files) = if root {
        (disk.f_bfree, disk.f_ffree)
    } else {
        (disk.f_bavail, disk.f_favail)
    };
    let no_space = disk.f_blocks > 0 && blocks.saturating_mul(disk.f_frsize) < LITTLE;
    no_space || (disk.f_files > 0 && files == 0)
}
