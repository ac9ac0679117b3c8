//! Detects which files of a room were read, by their access times.
//!
//! Before a run every file gets an access time in the distant past. Reading, mapping, executing or copying it updates
//! that time (even with `relatime`, since the time is older than the last change). Changes to the file, its inode or
//! its links count as reads. Opening it or querying its size or time does not: see `key::reads` for the consequences.
//!
//! Where the file system does not update access times for every way of reading, reads cannot be detected, and
//! [`are_seen`] says so. Programs that open files with `O_NOATIME` escape detection everywhere.
//!
//! Knows nothing about keys.

use std::collections::BTreeMap;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, CWD, OFlags, Timespec, Timestamps, UTIME_OMIT};

/// The access time of unread files, in seconds since 1970.
const UNREAD: i64 = 1;

/// Marks a file as unread, without following links.
pub(crate) fn mark(path: &Path) -> io::Result<()> {
    let at = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
    let times = Timestamps {
        last_access: at(UNREAD, 0),
        last_modification: at(0, UTIME_OMIT),
    };
    Ok(rustix::fs::utimensat(
        CWD,
        path,
        &times,
        AtFlags::SYMLINK_NOFOLLOW,
    )?)
}

/// Whether a marked file is still unread.
pub(crate) fn is_marked(meta: &Metadata) -> bool {
    meta.atime() == UNREAD && meta.atime_nsec() == 0
}

/// Opens one of our files so that reading it does not count as a read, where the system supports it.
#[cfg(target_os = "linux")]
pub(crate) fn quiet(path: &Path) -> io::Result<File> {
    let flags = i32::try_from(OFlags::NOATIME.bits()).unwrap_or_default();
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(flags).open(path);
    file.or_else(|_| File::open(path))
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn quiet(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Whether reads of files below `folder` can be detected. Probed once per file system.
pub(crate) fn are_seen(folder: &Path) -> bool {
    static ANSWERS: Mutex<BTreeMap<u64, bool>> = Mutex::new(BTreeMap::new());
    let Ok(device) = folder.metadata().map(|meta| meta.dev()) else {
        return false;
    };
    let mut answers = ANSWERS.lock().unwrap_or_else(PoisonError::into_inner);
    *answers
        .entry(device)
        .or_insert_with(|| keeps_access_times(folder) && probe(folder).unwrap_or(false))
}

/// Whether listing folders below `folder` can be detected.
pub(crate) fn listings_are_seen(folder: &Path) -> bool {
    let probe = || -> io::Result<bool> {
        let (listed, idle) = (tempfile::tempdir_in(folder)?, tempfile::tempdir_in(folder)?);
        mark(listed.path())?;
        mark(idle.path())?;
        std::fs::read_dir(listed.path())?.for_each(drop);
        Ok(!is_marked(&listed.path().metadata()?) && is_marked(&idle.path().metadata()?))
    };
    keeps_access_times(folder) && probe().unwrap_or(false)
}

/// Whether reads, maps and executions all update access times here. Others (network, FUSE) may answer from a cache.
#[cfg(target_os = "linux")]
fn keeps_access_times(folder: &Path) -> bool {
    const KNOWN: [u32; 6] = [
        0xEF53,      // ext4 and its elders
        0x5846_5342, // xfs
        0x9123_683E, // btrfs
        0x0102_1994, // tmpfs
        0xF2F5_2010, // f2fs
        0x794C_7630, // overlayfs
    ];
    let answer = rustix::fs::statfs(folder);
    answer.is_ok_and(|stat| u32::try_from(stat.f_type).is_ok_and(|kind| KNOWN.contains(&kind)))
}

#[cfg(not(target_os = "linux"))]
fn keeps_access_times(_: &Path) -> bool {
    false
}

/// Tries reading and copying (which some file systems do by sharing blocks), each on its own file.
fn probe(folder: &Path) -> io::Result<bool> {
    let fresh = || -> io::Result<tempfile::NamedTempFile> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&[b'x'; 8192])?;
        mark(file.path())?;
        Ok(file)
    };
    let (read, copied, shared, idle) = (fresh()?, fresh()?, fresh()?, fresh()?);
    std::fs::read(read.path())?;
    let copy = fresh()?;
    std::fs::copy(copied.path(), copy.path())?;
    let share = fresh()?;
    let can_share = can_share(&File::open(shared.path())?, share.as_file());
    let marked = |file: &tempfile::NamedTempFile| file.path().metadata().map(|m| is_marked(&m));
    let missed = marked(&read)? || marked(&copied)? || (can_share && marked(&shared)?);
    Ok(!missed && marked(&idle)?)
}

#[cfg(target_os = "linux")]
fn can_share(from: &File, to: &File) -> bool {
    rustix::fs::ioctl_ficlone(to, from).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn can_share(_: &File, _: &File) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A marked file, in a folder where reads can be told; `None` where there is none here.
    fn marked() -> Option<tempfile::NamedTempFile> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "content").unwrap();
        mark(file.path()).unwrap();
        are_seen(file.path().parent().unwrap()).then_some(file)
    }

    fn is_unread(path: &Path) -> bool {
        is_marked(&path.symlink_metadata().unwrap())
    }

    #[test]
    fn reading_shows_and_looking_does_not() {
        let Some(file) = marked() else { return };
        file.path().metadata().unwrap();
        drop(File::open(file.path()).unwrap());
        let mut content = String::new();
        io::Read::read_to_string(&mut quiet(file.path()).unwrap(), &mut content).unwrap();
        assert_eq!(content, "content");
        assert!(is_unread(file.path()));
        std::fs::read(file.path()).unwrap();
        assert!(!is_unread(file.path()));
    }

    #[test]
    fn listing_a_folder_shows_and_opening_its_files_does_not() {
        let dir = tempfile::tempdir().unwrap();
        if !listings_are_seen(dir.path()) {
            return;
        }
        let file = dir.path().join("a");
        std::fs::write(&file, "a").unwrap();
        mark(dir.path()).unwrap();
        std::fs::read(&file).unwrap();
        assert!(is_unread(dir.path()));
        std::fs::read_dir(dir.path()).unwrap().for_each(drop);
        assert!(!is_unread(dir.path()));
    }

    #[test]
    fn marking_follows_no_link() {
        let Some(file) = marked() else { return };
        let content = std::fs::read(file.path()).unwrap();
        let link = file.path().with_extension("link");
        std::os::unix::fs::symlink(file.path(), &link).unwrap();
        mark(&link).unwrap();
        assert!(is_unread(&link) && !is_unread(file.path()));
        std::fs::remove_file(link).unwrap();
        assert_eq!(content, b"content");
    }

    #[test]
    fn a_file_system_that_is_no_place_for_files_tells_nothing() {
        assert!(!are_seen(Path::new("/proc/self")));
        assert!(!are_seen(Path::new("/nonexistent")));
    }
}
