//! The memo: what the last snapshot of a project saw, in one file that is read at once and used in place.
//!
//! ```text
//! identity [u8; 32] · folders u32 · files u32 · length of the text u32
//! a row for each folder: start of its path in the text u32 · flags u32 · parent's row u32 · stat
//! a row for each file:   start of its path in the text u32 · flags u32 · folder's row u32 · stat · digest
//! text: all paths, each ended by a NUL · head: guards, repositories, left out entries
//! ```
//! Rows are sorted by path, so that parents precede their children. The stat and digest of a row are valid only if
//! the row is settled (see [`Stat::is_settled`]); otherwise they are zero and the file is examined again.

use std::collections::HashMap;
use std::ffi::{CStr, OsStr};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::fs::own;
use crate::fs::sealed::{Reader, Seal, Writer};
use crate::path::RelPath;
use crate::rule::Rule;
use crate::snapshot::guard::{self, Guards};
use crate::snapshot::left_out::{LeftOut, Reason};
use crate::snapshot::repository::{Repository, Settings};
use crate::snapshot::stat::Stat;

const SEAL: Seal = Seal {
    magic: *b"dc-memo\n",
    version: 3,
};

const ROW: usize = 12 + Stat::LEN;
const FILE_ROW: usize = ROW + Digest::LEN;

const SETTLED: u32 = 1;
const TRACKED: u32 = 2;
/// The executable bit on disk does not count.
const FIXED_MODE: u32 = 4;
/// What counts instead.
const EXECUTABLE: u32 = 8;

const NO_ROW: u32 = u32::MAX;

/// A folder that was listed, or was looked at but not entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dir {
    /// Relative to the root, which is empty.
    pub(crate) path: String,
    /// Taken before listing; kept if settled.
    pub(crate) stat: Option<Stat>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) tracked: bool,
    /// Whether it is executable, if that does not depend on its mode on disk.
    pub(crate) executable: Option<bool>,
    pub(crate) stat: Stat,
    pub(crate) digest: Option<Digest>,
    pub(crate) settled: bool,
}

/// A repository that contributes files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// Its top folder in the project; empty for the repository around the project.
    pub(crate) base: String,
    pub(crate) repository: Repository,
    /// Kept if settled.
    pub(crate) index: Option<Stat>,
    /// Digest of the set of tracked paths.
    pub(crate) tracked: Digest,
}

/// Applies to the universe as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Head {
    pub(crate) settings: Settings,
    /// Files the settings were read from.
    pub(crate) config: Guards,
    /// Ignore files, and files that lead to a submodule's repository.
    pub(crate) rules: Guards,
    pub(crate) sources: Vec<Source>,
    pub(crate) left_out: Vec<LeftOut>,
}

pub(crate) struct DirRow<'a> {
    pub(crate) path: &'a CStr,
    pub(crate) parent: Option<usize>,
    pub(crate) stat: Option<Stat>,
}

pub(crate) struct FileRow<'a> {
    pub(crate) path: &'a CStr,
    pub(crate) dir: usize,
    pub(crate) tracked: bool,
    pub(crate) executable: Option<bool>,
    /// Stat and content, if settled.
    pub(crate) known: Option<(Stat, Digest)>,
}

#[derive(Debug)]
pub(crate) struct Memo {
    bytes: Vec<u8>,
    dirs: Range<usize>,
    files: Range<usize>,
    text: Range<usize>,
    pub(crate) head: Head,
}

impl Memo {
    /// Reads a memo; `None` if it is absent, damaged, or of another version or identity.
    pub(crate) fn load(path: &Path, identity: Digest) -> Option<Self> {
        Self::open(own::read(path).ok()?, identity)
    }

    fn open(bytes: Vec<u8>, identity: Digest) -> Option<Self> {
        let payload = SEAL.open(&bytes)?;
        let mut reader = Reader::new(payload);
        if reader.digest()? != identity && Rule::MemoIdentity.holds() {
            return None;
        }
        let mut count = || usize::try_from(reader.u32()?).ok();
        let (dirs, files, text) = (count()?, count()?, count()?);
        let start = bytes.len() - payload.len() + Digest::LEN + 12;
        let dirs = start..start.checked_add(dirs.checked_mul(ROW)?)?;
        let files = dirs.end..dirs.end.checked_add(files.checked_mul(FILE_ROW)?)?;
        let text = files.end..files.end.checked_add(text)?;
        let head = decode_head(&mut Reader::new(bytes.get(text.end..)?))?;
        Some(Self {
            bytes,
            dirs,
            files,
            text,
            head,
        })
    }

    pub(crate) fn dir_count(&self) -> usize {
        self.dirs.len() / ROW
    }

    pub(crate) fn file_count(&self) -> usize {
        self.files.len() / FILE_ROW
    }

    /// `None` beyond the last row.
    pub(crate) fn dir(&self, at: usize) -> Option<DirRow<'_>> {
        let (path, flags, parent, stat) = self.row(&mut self.reader(&self.dirs, ROW, at)?)?;
        Some(DirRow {
            path,
            parent: (parent != NO_ROW).then_some(usize::try_from(parent).ok()?),
            stat: (flags & SETTLED != 0).then_some(stat),
        })
    }

    /// `None` beyond the last row.
    pub(crate) fn file(&self, at: usize) -> Option<FileRow<'_>> {
        let mut reader = self.reader(&self.files, FILE_ROW, at)?;
        let (path, flags, dir, stat) = self.row(&mut reader)?;
        let digest = reader.digest()?;
        Some(FileRow {
            path,
            dir: usize::try_from(dir).ok()?,
            tracked: flags & TRACKED != 0,
            executable: (flags & FIXED_MODE != 0).then_some(flags & EXECUTABLE != 0),
            known: (flags & SETTLED != 0).then_some((stat, digest)),
        })
    }

    fn reader(&self, rows: &Range<usize>, length: usize, at: usize) -> Option<Reader<'_>> {
        let rows = self.bytes.get(rows.clone())?;
        let start = at.checked_mul(length)?;
        Some(Reader::new(rows.get(start..start.checked_add(length)?)?))
    }

    fn row<'a>(&'a self, reader: &mut Reader<'a>) -> Option<(&'a CStr, u32, u32, Stat)> {
        let start = usize::try_from(reader.u32()?).ok()?;
        let text = self.bytes.get(self.text.clone())?.get(start..)?;
        let path = CStr::from_bytes_until_nul(text).ok()?;
        Some((path, reader.u32()?, reader.u32()?, Stat::decode(reader)?))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Encodes a memo. `dirs` and `files` are sorted by path.
pub(crate) fn encode(identity: Digest, head: &Head, dirs: &[Dir], files: &[File]) -> Vec<u8> {
    let number = |n: usize| u32::try_from(n).unwrap_or(NO_ROW);
    let length = |paths: &mut dyn Iterator<Item = &String>| paths.map(|p| p.len() + 1).sum();
    let dirs_text: usize = length(&mut dirs.iter().map(|dir| &dir.path));
    let files_text: usize = length(&mut files.iter().map(|file| &file.path));
    let rows: HashMap<&str, u32> = (0..)
        .zip(dirs)
        .map(|(at, dir)| (dir.path.as_str(), at))
        .collect();
    let holder = |path: &str| {
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        rows.get(parent).copied().unwrap_or(NO_ROW)
    };
    let mut out = SEAL.writer();
    out.raw(identity.as_bytes());
    out.u32(number(dirs.len()));
    out.u32(number(files.len()));
    out.u32(number(dirs_text + files_text));
    let mut start = 0;
    for dir in dirs {
        out.u32(number(start));
        out.u32(if dir.stat.is_some() { SETTLED } else { 0 });
        let is_root = dir.path.is_empty();
        out.u32(if is_root { NO_ROW } else { holder(&dir.path) });
        dir.stat.unwrap_or_default().encode(&mut out);
        start += dir.path.len() + 1;
    }
    for file in files {
        out.u32(number(start));
        encode_file(file, holder(&file.path), &mut out);
        start += file.path.len() + 1;
    }
    for path in dirs
        .iter()
        .map(|d| &d.path)
        .chain(files.iter().map(|f| &f.path))
    {
        out.raw(path.as_bytes());
        out.u8(0);
    }
    encode_head(head, &mut out);
    SEAL.close(out)
}

fn encode_file(file: &File, dir: u32, out: &mut Writer) {
    let known = file.digest.filter(|_| file.settled);
    let settled = if known.is_some() { SETTLED } else { 0 };
    let tracked = if file.tracked { TRACKED } else { 0 };
    let mode = match file.executable {
        None => 0,
        Some(false) => FIXED_MODE,
        Some(true) => FIXED_MODE | EXECUTABLE,
    };
    out.u32(settled | tracked | mode);
    out.u32(dir);
    known.map_or(Stat::default(), |_| file.stat).encode(out);
    out.raw(&known.map_or([0; Digest::LEN], |digest| *digest.as_bytes()));
}

fn encode_head(head: &Head, out: &mut Writer) {
    let path = |path: &Path, out: &mut Writer| out.bytes(path.as_os_str().as_bytes());
    out.u8(u8::from(head.settings.ignore_case));
    out.u8(u8::from(head.settings.modes_of_index));
    let excludes = head.settings.excludes_file.as_deref();
    path(excludes.unwrap_or(Path::new("")), out);
    guard::encode(&head.config, out);
    guard::encode(&head.rules, out);
    out.u32(u32::try_from(head.sources.len()).unwrap_or(u32::MAX));
    for source in &head.sources {
        out.bytes(source.base.as_bytes());
        path(&source.repository.top, out);
        path(&source.repository.git_dir, out);
        path(&source.repository.common_dir, out);
        guard::encode_stat(source.index, out);
        out.raw(source.tracked.as_bytes());
    }
    out.u32(u32::try_from(head.left_out.len()).unwrap_or(u32::MAX));
    for odd in &head.left_out {
        out.bytes(odd.display.as_bytes());
        out.bytes(odd.dir.as_bytes());
        out.bytes(odd.owner.as_bytes());
        out.u8(odd.reason.code());
    }
}

fn decode_head(from: &mut Reader<'_>) -> Option<Head> {
    let ignore_case = from.u8()? != 0;
    let modes_of_index = from.u8()? != 0;
    let excludes_file = Some(path(from)?).filter(|path| !path.as_os_str().is_empty());
    Some(Head {
        settings: Settings {
            excludes_file,
            ignore_case,
            modes_of_index,
        },
        config: guard::decode(from)?,
        rules: guard::decode(from)?,
        sources: (0..from.u32()?)
            .map(|_| decode_source(from))
            .collect::<Option<_>>()?,
        left_out: (0..from.u32()?)
            .map(|_| decode_odd(from))
            .collect::<Option<_>>()?,
    })
}

fn decode_source(from: &mut Reader<'_>) -> Option<Source> {
    Some(Source {
        base: from.text()?.to_owned(),
        repository: Repository {
            top: path(from)?,
            git_dir: path(from)?,
            common_dir: path(from)?,
        },
        index: guard::decode_stat(from)?,
        tracked: from.digest()?,
    })
}

fn decode_odd(from: &mut Reader<'_>) -> Option<LeftOut> {
    Some(LeftOut {
        display: from.text()?.to_owned(),
        dir: RelPath::new(from.text()?).ok()?,
        owner: from.text()?.to_owned(),
        reason: Reason::from_code(from.u8()?)?,
    })
}

fn path(from: &mut Reader<'_>) -> Option<PathBuf> {
    Some(PathBuf::from(OsStr::from_bytes(from.bytes()?)))
}

/// Reads everything in a memo with this payload, for tests.
#[cfg(test)]
pub(crate) fn read_any(payload: &[u8]) {
    let identity = payload.first_chunk().copied().map(Digest::from_bytes);
    let mut out = SEAL.writer();
    out.raw(payload);
    let memo = Memo::open(SEAL.close(out), identity.unwrap_or(Digest::of(b"")));
    if let Some(memo) = memo {
        let dirs = (0..memo.dir_count()).filter_map(|at| memo.dir(at)).count();
        let files = (0..memo.file_count())
            .filter_map(|at| memo.file(at))
            .count();
        assert!(dirs <= payload.len() && files <= payload.len());
    }
}
