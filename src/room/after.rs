//! Whether the result of a check can be trusted, judging by its room and disk after the run.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::room::{LOCK, Room, RoomError, at};
use crate::rule::Rule;

/// With less free space the disk counts as full: the check may have failed because of it, reported or not.
const LITTLE: u64 = 256 << 10;

impl Room {
    /// A verdict counts only if the room still exists and the disk took everything that was written.
    pub(crate) fn believe(&self) -> Result<(), RoomError> {
        if Rule::RoomKept.holds() && !self.is_kept() {
            return Err(RoomError::Gone(self.dir.clone()));
        }
        if Rule::FullDisk.holds() && is_full(&self.dir) {
            return at(&self.dir, Err(rustix::io::Errno::NOSPC.into()));
        }
        Ok(())
    }

    /// Whether the room still holds our lock file and its content.
    fn is_kept(&self) -> bool {
        let named = std::fs::symlink_metadata(self.dir.join(LOCK));
        let same = match (self.lock.metadata(), named) {
            (Ok(held), Ok(named)) => (held.dev(), held.ino()) == (named.dev(), named.ino()),
            _ => false,
        };
        same && self.tree().is_dir()
    }
}

/// Whether the disk is full. If it reports nothing, assume it is not.
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
