//! File metadata, and when it may stand for the content.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, FileType};
use rustix::path::Arg;

use crate::fs::sealed::{Reader, Writer};
use crate::rule::Rule;

/// A moment in file time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Time {
    sec: i64,
    ns: u32,
}

impl Time {
    /// Now, by the clock that stamps files.
    pub(crate) fn now() -> Self {
        Self::of(SystemTime::now())
    }

    pub(crate) fn of(moment: SystemTime) -> Self {
        let since = moment
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            sec: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            ns: since.subsec_nanos(),
        }
    }

    fn plus(self, margin: Duration) -> Self {
        let ns = self.ns.saturating_add(margin.subsec_nanos());
        let whole = i64::try_from(margin.as_secs()).unwrap_or(i64::MAX);
        Self {
            sec: self
                .sec
                .saturating_add(whole)
                .saturating_add(i64::from(ns / 1_000_000_000)),
            ns: ns % 1_000_000_000,
        }
    }
}

/// All metadata that changes when the content may have: equal and settled means the same content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Stat {
    dev: u64,
    ino: u64,
    size: u64,
    mtime: Time,
    ctime: Time,
    mode: u32,
}

impl Stat {
    /// Encoded length.
    pub(crate) const LEN: usize = 52;

    /// Stats `path` below `dir` without following links.
    pub(crate) fn at(dir: BorrowedFd<'_>, path: impl Arg) -> io::Result<Self> {
        Ok(Self::from(rustix::fs::statat(
            dir,
            path,
            AtFlags::SYMLINK_NOFOLLOW,
        )?))
    }

    /// Stats `path`, following links.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        Ok(Self::from(rustix::fs::stat(path)?))
    }

    /// Stats `path` without following links.
    pub(crate) fn of_link(path: &Path) -> io::Result<Self> {
        Ok(Self::from(rustix::fs::lstat(path)?))
    }

    pub(crate) fn of_open(file: impl AsFd) -> io::Result<Self> {
        Ok(Self::from(rustix::fs::fstat(file)?))
    }

    pub(crate) fn file_type(&self) -> FileType {
        FileType::from_raw_mode(fit(self.mode))
    }

    /// Whether the owner may execute it.
    pub(crate) fn is_executable(&self) -> bool {
        self.mode & 0o100 != 0
    }

    /// Whether anyone may execute it.
    pub(crate) fn is_executable_by_any(&self) -> bool {
        self.mode & 0o111 != 0
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn dev(&self) -> u64 {
        self.dev
    }

    /// Git's racy rule: whether a stat taken by a run that began at `began` may stand for content read afterwards. A
    /// later change gets a time no earlier than `began` minus the clock's granularity, so only times well before that
    /// are safe. Times in the future never settle.
    pub(crate) fn is_settled(&self, began: Time) -> bool {
        // If neither has nanoseconds, the file system most likely stores whole seconds, or two.
        let coarse = self.mtime.ns == 0 && self.ctime.ns == 0;
        let margin = if coarse {
            Duration::from_secs(2)
        } else {
            Duration::from_millis(20)
        };
        !Rule::Racy.holds() || self.mtime.max(self.ctime).plus(margin) < began
    }

    pub(crate) fn encode(&self, out: &mut Writer) {
        out.u64(self.dev);
        out.u64(self.ino);
        out.u64(self.size);
        for time in [self.mtime, self.ctime] {
            out.u64(time.sec.cast_unsigned());
            out.u32(time.ns);
        }
        out.u32(self.mode);
    }

    pub(crate) fn decode(from: &mut Reader<'_>) -> Option<Self> {
        let (dev, ino, size) = (from.u64()?, from.u64()?, from.u64()?);
        let mut time = || {
            Some(Time {
                sec: from.u64()?.cast_signed(),
                ns: from.u32()?,
            })
        };
        Some(Self {
            dev,
            ino,
            size,
            mtime: time()?,
            ctime: time()?,
            mode: from.u32()?,
        })
    }
}

/// The types of these fields differ between platforms.
fn fit<T: Default>(value: impl TryInto<T>) -> T {
    value.try_into().unwrap_or_default()
}

/// Nanoseconds as reported by the file system.
fn fine(ns: u32) -> u32 {
    if Rule::FineTimes.holds() { ns } else { 0 }
}

impl From<rustix::fs::Stat> for Stat {
    fn from(stat: rustix::fs::Stat) -> Self {
        Self {
            dev: fit(stat.st_dev),
            ino: fit(stat.st_ino),
            size: fit(stat.st_size),
            mtime: Time {
                sec: fit(stat.st_mtime),
                ns: fine(fit(stat.st_mtime_nsec)),
            },
            ctime: if Rule::ChangeTime.holds() {
                Time {
                    sec: fit(stat.st_ctime),
                    ns: fine(fit(stat.st_ctime_nsec)),
                }
            } else {
                Time::default()
            },
            mode: fit(stat.st_mode),
        }
    }
}

/// Whether the folder is on a file system known to update a folder's times whenever a name in it appears, disappears
/// or changes.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn keeps_folder_times(folder: impl AsFd) -> bool {
    // Magic numbers from linux/magic.h, zfs and bcachefs.
    const KNOWN: [u64; 8] = [
        0xEF53,      // ext2, ext3, ext4
        0x5846_5342, // xfs
        0x9123_683E, // btrfs
        0x0102_1994, // tmpfs
        0x794C_7630, // overlayfs
        0x2FC1_2FC1, // zfs
        0xF2F5_2010, // f2fs
        0xCA45_1A4E, // bcachefs
    ];
    rustix::fs::fstatfs(folder)
        .is_ok_and(|stat| KNOWN.contains(&(fit::<u64>(stat.f_type) & 0xFFFF_FFFF)))
}

/// Whether the folder is on a file system known to update a folder's times whenever a name in it appears, disappears
/// or changes.
#[cfg(target_os = "macos")]
pub(crate) fn keeps_folder_times(folder: impl AsFd) -> bool {
    rustix::fs::fstatfs(folder).is_ok_and(|stat| {
        let name: Vec<u8> = stat
            .f_fstypename
            .iter()
            .map(|c| c.cast_unsigned())
            .collect();
        name.starts_with(b"apfs\0")
    })
}

/// Whether the folder is on a file system known to update a folder's times whenever a name in it appears, disappears
/// or changes.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "macos")))]
pub(crate) fn keeps_folder_times(_: impl AsFd) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamped(mtime: (i64, u32), ctime: (i64, u32)) -> Stat {
        let time = |(sec, ns)| Time { sec, ns };
        Stat {
            mtime: time(mtime),
            ctime: time(ctime),
            ..Stat::default()
        }
    }

    #[test]
    fn only_times_well_before_the_recording_settle() {
        let began = Time {
            sec: 100,
            ns: 10_000_000,
        };
        assert!(stamped((99, 980_000_000), (99, 980_000_000)).is_settled(began));
        assert!(!stamped((99, 990_000_001), (50, 1)).is_settled(began));
        assert!(!stamped((50, 1), (99, 990_000_001)).is_settled(began));
        assert!(!stamped((50, 1), (100, 10_000_000)).is_settled(began));
        assert!(!stamped((500, 1), (50, 1)).is_settled(began));
    }

    #[test]
    fn coarse_times_need_a_wider_margin() {
        let began = Time { sec: 100, ns: 1 };
        assert!(stamped((98, 0), (98, 0)).is_settled(began));
        assert!(!stamped((99, 0), (99, 0)).is_settled(began));
        assert!(stamped((99, 0), (99, 1)).is_settled(began));
    }

    #[test]
    fn encoding_round_trips() {
        let stat = Stat::of(Path::new("/")).unwrap();
        let mut out = Writer::default();
        stat.encode(&mut out);
        assert_eq!(out.0.len(), Stat::LEN);
        assert_eq!(Stat::decode(&mut Reader::new(&out.0)), Some(stat));
    }
}
