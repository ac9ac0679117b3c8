//! One lstat for each folder and file of a memo, on all cores: what is still as it was, and what is not.

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

/// Rows that one thread takes at a time.
const CHUNK: usize = 512;

/// What became of a memo's rows.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    /// Folders to be listed again, by row.
    pub(crate) stale_dirs: Vec<usize>,
    /// Folders that are gone, or no folders any more, by row.
    pub(crate) gone_dirs: Vec<usize>,
    /// Files that are not known to be what they were, by row, sorted; and their stat if they are there.
    pub(crate) stale_files: Vec<(usize, Option<Stat>)>,
    /// The other files, in order.
    pub(crate) entries: Vec<Entry>,
    /// A row could not be read.
    pub(crate) damaged: bool,
}

impl Sweep {
    /// Whether `entries` are the whole universe.
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

/// Looks at everything `memo` has, below `root`.
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

/// Folders come first, then files.
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
        // Also where it cannot be looked at: listing it will say why.
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
            kind: Kind::of(&now)?,
            digest,
        }),
        _ => part.stale_files.push((at, now)),
    }
    Some(())
}

/// `None` if nothing is there.
fn look(root: BorrowedFd<'_>, path: &CStr) -> io::Result<Option<Stat>> {
    let path = if path.is_empty() { c"." } else { path };
    match Stat::at(root, path) {
        Ok(stat) => Ok(Some(stat)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether an error says that there is nothing at a path.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
