//! From paths to content: stats what has not been stat'ed and hashes what the memo does not know.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use crate::digest::Digest;
use crate::path::RelPath;
use crate::snapshot::Kind;
use crate::snapshot::content::{self, Content};
use crate::snapshot::left_out::{LeftOut, Reason};
use crate::snapshot::memo::{File, Memo};
use crate::snapshot::parallel::in_chunks;
use crate::snapshot::stat::{Stat, Time};
use crate::snapshot::sweep::is_gone;

/// Files stat'ed per chunk.
const CHUNK: usize = 256;

/// A path of the universe and what is known about it.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) path: String,
    pub(crate) tracked: bool,
    pub(crate) executable: Option<bool>,
    /// According to the memo.
    pub(crate) known: Option<(Stat, Digest)>,
    /// The current stat, if taken in this run.
    pub(crate) now: Option<Stat>,
}

/// All files of the universe with content.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    /// Sorted by path; includes unreadable and too large files, without digest.
    pub(crate) files: Vec<File>,
    /// What cannot be read, or not in a sane time.
    pub(crate) left_out: Vec<LeftOut>,
    /// Number of files read.
    pub(crate) hashed: usize,
}

/// Looks up sorted rows in the memo.
pub(crate) fn attach(rows: &mut [Row], memo: &Memo) {
    let mut at = 0;
    for row in rows.iter_mut().filter(|row| row.known.is_none()) {
        while let Some(old) = memo.file(at) {
            match old.path.to_bytes().cmp(row.path.as_bytes()) {
                std::cmp::Ordering::Less => at += 1,
                std::cmp::Ordering::Equal => {
                    row.known = old.known;
                    break;
                }
                std::cmp::Ordering::Greater => break,
            }
        }
    }
}

/// Settles sorted rows. Drops paths that are no longer files or links. A file that changes while being read gets the
/// digest of what was read and does not settle.
pub(crate) fn settle(mut rows: Vec<Row>, root: BorrowedFd<'_>, began: Time) -> Settled {
    let mut failed = stat_all(&mut rows, root).into_iter().peekable();
    let stale: Vec<usize> = (0..rows.len()).filter(|at| rows[*at].is_stale()).collect();
    let mut contents = in_chunks(stale.len(), 1, |range| {
        let row = &rows[stale[range.start]];
        row.now
            .map(|now| content::hash_at(root, row.path.as_str(), &now))
    })
    .into_iter();
    let mut settled = Settled {
        hashed: stale.len(),
        ..Settled::default()
    };
    for (at, row) in rows.into_iter().enumerate() {
        let content = if let Some((_, error)) = failed.next_if(|(failed, _)| *failed == at) {
            Some(Err(error))
        } else if row.is_stale() {
            contents.next().flatten()
        } else {
            row.kept()
        };
        settled.add(row, content, began);
    }
    settled
}

/// Returns the rows that could not be stat'ed, in order.
fn stat_all(rows: &mut [Row], root: BorrowedFd<'_>) -> Vec<(usize, io::Error)> {
    let new: Vec<usize> = (0..rows.len())
        .filter(|at| rows[*at].now.is_none())
        .collect();
    let stats = in_chunks(new.len(), CHUNK, |range| {
        let stat = |at: &usize| Stat::at(root, rows[*at].path.as_str());
        new[range].iter().map(stat).collect::<Vec<_>>()
    });
    let mut failed = Vec::new();
    for (at, stat) in new.into_iter().zip(stats.into_iter().flatten()) {
        match stat {
            Ok(stat) => rows[at].now = Some(stat),
            Err(error) => failed.push((at, error)),
        }
    }
    failed
}

impl Row {
    fn is_stale(&self) -> bool {
        match (self.known, self.now) {
            (Some((stat, _)), Some(now)) => stat != now,
            (_, now) => now.is_some_and(|now| Kind::of(&now, None).is_some()),
        }
    }

    /// The content according to the memo.
    fn kept(&self) -> Option<io::Result<Content>> {
        let (stat, digest) = self.known.filter(|(stat, _)| Some(*stat) == self.now)?;
        Some(Ok(Content {
            stat,
            digest,
            steady: true,
        }))
    }
}

impl Settled {
    fn add(&mut self, row: Row, content: Option<io::Result<Content>>, began: Time) {
        let mut file = File {
            path: row.path,
            tracked: row.tracked,
            executable: row.executable,
            stat: Stat::default(),
            digest: None,
            settled: false,
        };
        match content {
            Some(Ok(content)) => {
                file.stat = content.stat;
                file.digest = Some(content.digest);
                file.settled = content.steady && content.stat.is_settled(began);
            }
            Some(Err(error)) if error.kind() == io::ErrorKind::FileTooLarge => {
                self.leave_out(&file, Reason::TooLarge);
            }
            Some(Err(error)) if !is_replaced(&error) => self.leave_out(&file, Reason::Unreadable),
            // Gone or replaced since it was listed. Its folder has changed, too, so the next run notices.
            _ => return,
        }
        self.files.push(file);
    }

    fn leave_out(&mut self, file: &File, reason: Reason) {
        let dir = file.path.rsplit_once('/').map_or("", |(dir, _)| dir);
        self.left_out.push(LeftOut {
            display: file.path.clone(),
            dir: RelPath::from_normal(dir.to_owned()),
            reason,
            owner: dir.to_owned(),
        });
    }
}

/// Whether the error means that the file is gone or was replaced by something else.
fn is_replaced(error: &io::Error) -> bool {
    let replaced = [Errno::LOOP, Errno::NXIO, Errno::INVAL];
    is_gone(error)
        || error.kind() == io::ErrorKind::InvalidInput
        || replaced
            .iter()
            .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
