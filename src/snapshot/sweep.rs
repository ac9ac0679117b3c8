//! One lstat per folder and file of a memo, on all cores, to find what has changed.

use std::ffi::CStr;
use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;

use rustix::fs::FileType;

use crate::path::RelPath;
use crate::rule::Rule;
use crate::snapshot::memo::Memo;
use crate::snapshot::parallel::in_chunks;
use crate::snapshot::stat::Stat;
use crate::snapshot::{Entry, Kind};

/// Rows per chunk.
const CHUNK: usize = 512;

/// The state of a memo's rows.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    /// Rows of folders to list again.
    pub(crate) stale_dirs: Vec<usize>,
    /// Rows of folders that are gone or replaced.
    pub(crate) gone_dirs: Vec<usize>,
    /// Rows of files that may have changed, sorted, with their stat if they exist.
    pub(crate) stale_files: Vec<(usize, Option<Stat>)>,
    /// The unchanged files, in order.
    pub(crate) entries: Vec<Entry>,
    pub(crate) damaged: bool,
}

impl Sweep {
    /// Whether `entries` is the whole universe.
    pub(crate) fn is_clean(&self) -> bool {
        !self.damaged
            && self.stale_dirs.is_empty()
            && self.gone_dirs.is_empty()
            && self.stale_files.is_empty()
    }

    fn append(&mut self, other: Self) {
        self.stale_dirs.extend(other.stale_dirs);
        self.gone_dirs.extend(other.gone_dirs);
        self.stale_files.extend(other.stale_files);
        self.entries.extend(other.entries);
        self.damaged |= other.damaged;
    }
}

/// Checks everything in `memo` below `root`.
pub(crate) fn sweep(memo: &Memo, root: BorrowedFd<'_>) -> Sweep {
    let dirs = memo.dir_count();
    let parts = in_chunks(dirs + memo.file_count(), CHUNK, |rows| {
        sweep_rows(memo, root, rows, dirs)
    });
    let mut whole = Sweep::default();
    whole.entries.reserve(memo.file_count());
    for part in parts {
        whole.append(part);
    }
    whole
}

/// Rows of folders come first, then files.
fn sweep_rows(memo: &Memo, root: BorrowedFd<'_>, rows: Range<usize>, dirs: usize) -> Sweep {
    let mut part = Sweep::default();
    part.entries.reserve(rows.len());
    for at in rows {
        let done = match at.checked_sub(dirs) {
            None => sweep_dir(memo, root, at, &mut part),
            Some(at) => sweep_file(memo, root, at, &mut part),
        };
        part.damaged |= done.is_none();
    }
    part
}

fn sweep_dir(memo: &Memo, root: BorrowedFd<'_>, at: usize, part: &mut Sweep) -> Option<()> {
    let row = memo.dir(at)?;
    match look(root, row.path) {
        Ok(Some(now)) if row.stat == Some(now) || !Rule::FoldersListed.holds() => {}
        Ok(Some(now)) if now.file_type() != FileType::Directory => part.gone_dirs.push(at),
        Ok(None) => part.gone_dirs.push(at),
        // Including folders that cannot be stat'ed: listing them reports the reason.
        Ok(Some(_)) | Err(_) => part.stale_dirs.push(at),
    }
    Some(())
}

fn sweep_file(memo: &Memo, root: BorrowedFd<'_>, at: usize, part: &mut Sweep) -> Option<()> {
    let row = memo.file(at)?;
    let now = look(root, row.path).ok().flatten();
    match (row.known, now) {
        (Some((stat, digest)), Some(now)) if stat == now => part.entries.push(Entry {
            path: RelPath::from_normal(row.path.to_str().ok()?.to_owned()),
            kind: Kind::of(&now, row.executable)?,
            digest,
        }),
        _ => part.stale_files.push((at, now)),
    }
    Some(())
}

/// `None` if it does not exist.
fn look(root: BorrowedFd<'_>, path: &CStr) -> io::Result<Option<Stat>> {
    let path = if path.is_empty() { c"." } else { path };
    match Stat::at(root, path) {
        Ok(stat) => Ok(Some(stat)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether an error means that the path does not exist.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
