//! Reads git's index file (versions 2 to 4): the tracked paths and, for a commit, their blobs.
//!
//! Format: `gitformat-index(5)`. Stat data and optional extensions are skipped. For anything else (a split or sparse
//! index, an unknown required extension, damage) the result is [`NotUnderstood`], and the caller asks git.

use crate::digest::{Digest, Hasher};
use crate::path::RelPath;

/// Only git itself can read this index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotUnderstood;

/// Tracked paths relative to the project root, sorted bytewise, in one allocation.
#[derive(Debug, Default)]
pub(crate) struct Tracked {
    text: Vec<u8>,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    start: usize,
    end: usize,
    gitlink: bool,
    executable: bool,
}

impl Tracked {
    fn path(&self, row: &Row) -> &[u8] {
        self.text.get(row.start..row.end).unwrap_or_default()
    }

    #[cfg(test)]
    pub(crate) fn paths(&self) -> impl Iterator<Item = &[u8]> {
        self.rows.iter().map(|row| self.path(row))
    }

    pub(crate) fn contains(&self, path: &[u8]) -> bool {
        self.row(path).is_some()
    }

    /// Whether this path is tracked as a commit of another repository.
    pub(crate) fn is_gitlink(&self, path: &[u8]) -> bool {
        self.row(path).is_some_and(|row| row.gitlink)
    }

    /// Whether this path is tracked as executable.
    pub(crate) fn is_executable(&self, path: &[u8]) -> bool {
        self.row(path).is_some_and(|row| row.executable)
    }

    fn row(&self, path: &[u8]) -> Option<&Row> {
        let at = self
            .rows
            .binary_search_by(|row| self.path(row).cmp(path))
            .ok()?;
        self.rows.get(at)
    }

    /// Whether anything below this folder is tracked.
    pub(crate) fn has_below(&self, dir: &[u8]) -> bool {
        if dir.is_empty() {
            return !self.rows.is_empty();
        }
        // With the slash, because '/' sorts after some bytes that may continue a sibling's name.
        let below = || dir.iter().chain(b"/");
        let at = self
            .rows
            .partition_point(|row| self.path(row).iter().lt(below()));
        self.rows.get(at).is_some_and(|row| {
            let path = self.path(row);
            path.len() > dir.len() && path.iter().zip(below()).all(|(a, b)| a == b)
        })
    }

    /// This path if it is tracked, and what is tracked below it.
    pub(crate) fn at_or_below(&self, path: &RelPath) -> Vec<RelPath> {
        let paths = self.rows.iter().map(|row| self.path(row));
        let paths = paths.filter_map(|path| RelPath::new(std::str::from_utf8(path).ok()?).ok());
        paths.filter(|other| other.starts_with(path)).collect()
    }

    /// Equal digests mean equal paths and modes.
    pub(crate) fn digest(&self) -> Digest {
        let mut hasher = Hasher::new();
        hasher.update(&self.text);
        for row in &self.rows {
            hasher.update(&(row.end as u64).to_le_bytes());
            hasher.update(&[u8::from(row.gitlink), u8::from(row.executable)]);
        }
        hasher.finish()
    }
}

/// Takes paths relative to a repository and keeps those inside the project, made relative to the project.
#[derive(Debug)]
struct Builder<'a> {
    /// The project's folder in the repository, with a final slash, or empty.
    strip: &'a [u8],
    /// The repository's folder in the project, with a final slash, or empty.
    add: &'a [u8],
    tracked: Tracked,
}

impl<'a> Builder<'a> {
    fn new(strip: &'a [u8], add: &'a [u8]) -> Self {
        Self {
            strip,
            add,
            tracked: Tracked::default(),
        }
    }

    fn push(&mut self, path: &[u8], mode: u32) -> Result<(), NotUnderstood> {
        let Some(path) = path.strip_prefix(self.strip) else {
            return Ok(());
        };
        let start = self.tracked.text.len();
        self.tracked.text.extend_from_slice(self.add);
        self.tracked.text.extend_from_slice(path);
        let row = Row {
            start,
            end: self.tracked.text.len(),
            gitlink: mode & MODE_MASK == MODE_GITLINK,
            executable: mode & MODE_MASK == MODE_FILE && mode & 0o100 != 0,
        };
        if let Some(last) = self.tracked.rows.last() {
            match self.tracked.path(last).cmp(self.tracked.path(&row)) {
                std::cmp::Ordering::Less => {}
                // The stages of a conflict: one path is enough.
                std::cmp::Ordering::Equal => {
                    self.tracked.text.truncate(start);
                    return Ok(());
                }
                std::cmp::Ordering::Greater => return Err(NotUnderstood),
            }
        }
        self.tracked.rows.push(row);
        Ok(())
    }
}

pub(crate) const MODE_MASK: u32 = 0o170_000;
pub(crate) const MODE_GITLINK: u32 = 0o160_000;
const MODE_FILE: u32 = 0o100_000;
const MODE_TREE: u32 = 0o040_000;

/// Reads an index file with object ids of `hash_len` bytes; `strip` and `add` rebase the paths.
pub(crate) fn parse(
    bytes: &[u8],
    hash_len: usize,
    strip: &[u8],
    add: &[u8],
) -> Result<Tracked, NotUnderstood> {
    let mut builder = Builder::new(strip, add);
    entries(bytes, hash_len, |path, row| builder.push(path, row.mode))?;
    Ok(builder.tracked)
}

/// An entry without its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexRow<'a> {
    /// Type and permission bits.
    pub(crate) mode: u32,
    /// The blob, or the commit of another repository.
    pub(crate) id: &'a [u8],
    /// 0, except for the sides of a conflict.
    pub(crate) stage: u8,
    /// Only the path is recorded (`git add --intent-to-add`), no content.
    pub(crate) intent_to_add: bool,
    /// Git ignores the file on disk (`--skip-worktree`, as in a sparse checkout; `--assume-unchanged`).
    pub(crate) apart: bool,
}

/// Calls `each` with every path and its entry, in order, for an index file with object ids of `hash_len` bytes.
pub(crate) fn entries<'a>(
    bytes: &'a [u8],
    hash_len: usize,
    mut each: impl FnMut(&[u8], IndexRow<'a>) -> Result<(), NotUnderstood>,
) -> Result<(), NotUnderstood> {
    let mut cursor = Cursor { bytes, at: 0 };
    if cursor.take(4)? != b"DIRC" {
        return Err(NotUnderstood);
    }
    let version = cursor.u32()?;
    if !(2..=4).contains(&version) {
        return Err(NotUnderstood);
    }
    let count = cursor.u32()?;
    let mut path = Vec::new();
    for _ in 0..count {
        let row = cursor.entry(version, hash_len, &mut path)?;
        if row.mode & MODE_MASK == MODE_TREE {
            return Err(NotUnderstood);
        }
        each(&path, row)?;
    }
    cursor.skip_extensions(hash_len)
}

/// Reads the output of `git ls-files -z --stage`: `mode id stage TAB path NUL`.
pub(crate) fn parse_ls_files(
    stdout: &[u8],
    strip: &[u8],
    add: &[u8],
) -> Result<Tracked, NotUnderstood> {
    let mut builder = Builder::new(strip, add);
    for line in stdout.split(|byte| *byte == 0).filter(|l| !l.is_empty()) {
        let tab = line.iter().position(|byte| *byte == b'\t');
        let (head, path) = tab
            .and_then(|tab| line.split_at_checked(tab))
            .ok_or(NotUnderstood)?;
        let mode = std::str::from_utf8(head.get(..6).unwrap_or_default()).ok();
        let mode = mode.and_then(|mode| u32::from_str_radix(mode, 8).ok());
        builder.push(
            path.get(1..).unwrap_or_default(),
            mode.ok_or(NotUnderstood)?,
        )?;
    }
    Ok(builder.tracked)
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], NotUnderstood> {
        let end = self.at.checked_add(count).ok_or(NotUnderstood)?;
        let taken = self.bytes.get(self.at..end).ok_or(NotUnderstood)?;
        self.at = end;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32, NotUnderstood> {
        let bytes = self.take(4)?.try_into().map_err(|_| NotUnderstood)?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn u16(&mut self) -> Result<u16, NotUnderstood> {
        let bytes = self.take(2)?.try_into().map_err(|_| NotUnderstood)?;
        Ok(u16::from_be_bytes(bytes))
    }

    fn until_nul(&mut self) -> Result<&'a [u8], NotUnderstood> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|byte| *byte == 0);
        let text = self.take(length.ok_or(NotUnderstood)?)?;
        self.take(1)?;
        Ok(text)
    }

    /// Parses one entry: replaces the previous path in `path` and returns the rest.
    fn entry(
        &mut self,
        version: u32,
        hash_len: usize,
        path: &mut Vec<u8>,
    ) -> Result<IndexRow<'a>, NotUnderstood> {
        const EXTENDED: u16 = 0x4000;
        const STAGE_MASK: u16 = 0x3000;
        const NAME_MASK: u16 = 0x0FFF;
        const INTENT_TO_ADD: u16 = 0x2000;
        const SKIP_WORKTREE: u16 = 0x4000;
        const ASSUME_VALID: u16 = 0x8000;
        let start = self.at;
        self.take(24)?; // ctime, mtime, dev, ino
        let mode = self.u32()?;
        self.take(12)?; // uid, gid, size
        let id = self.take(hash_len)?;
        let flags = self.u16()?;
        let more = if flags & EXTENDED == 0 {
            0
        } else {
            self.u16()?
        };
        let row = IndexRow {
            mode,
            id,
            stage: u8::try_from((flags & STAGE_MASK) >> 12).unwrap_or(0),
            intent_to_add: more & INTENT_TO_ADD != 0,
            apart: flags & ASSUME_VALID != 0 || more & SKIP_WORKTREE != 0,
        };
        if version == 4 {
            let drop = self.offset_varint()?;
            let keep = path.len().checked_sub(drop).ok_or(NotUnderstood)?;
            path.truncate(keep);
            path.extend_from_slice(self.until_nul()?);
            return Ok(row);
        }
        path.clear();
        let length = flags & NAME_MASK;
        if length == NAME_MASK {
            path.extend_from_slice(self.until_nul()?);
            self.at -= 1;
        } else {
            path.extend_from_slice(self.take(usize::from(length))?);
        }
        // One to eight NULs, up to a multiple of eight.
        self.take(8 - (self.at - start) % 8)?;
        Ok(row)
    }

    /// The variable-length integer of `OFS_DELTA` in pack files.
    fn offset_varint(&mut self) -> Result<usize, NotUnderstood> {
        let mut value = 0_usize;
        loop {
            let byte = *self.take(1)?.first().ok_or(NotUnderstood)?;
            value = value
                .checked_mul(128)
                .and_then(|value| value.checked_add(usize::from(byte & 0x7F)))
                .ok_or(NotUnderstood)?;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
            value = value.checked_add(1).ok_or(NotUnderstood)?;
        }
    }

    /// Checks that all extensions before the checksum are optional (an upper-case first letter).
    fn skip_extensions(&mut self, hash_len: usize) -> Result<(), NotUnderstood> {
        let end = self
            .bytes
            .len()
            .checked_sub(hash_len)
            .ok_or(NotUnderstood)?;
        while self.at < end {
            let name = self.take(4)?;
            let size = usize::try_from(self.u32()?).map_err(|_| NotUnderstood)?;
            if !name.first().is_some_and(u8::is_ascii_uppercase) {
                return Err(NotUnderstood);
            }
            self.take(size)?;
        }
        if self.at == end {
            Ok(())
        } else {
            Err(NotUnderstood)
        }
    }
}
