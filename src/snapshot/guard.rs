//! Files whose content determines which files count or where rules are found. They are memoised and checked in every
//! run.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use crate::digest::Digest;
use crate::fs::sealed::{Reader, Writer};
use crate::snapshot::stat::{Stat, Time};

pub(crate) type Guards = BTreeMap<PathBuf, State>;

/// The last observed state of a guarded file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Missing or unreadable, which git treats alike.
    Absent,
    /// The content; the stat is kept only if it is settled.
    Present { stat: Option<Stat>, digest: Digest },
}

pub(crate) fn observe(path: &Path, began: Time) -> (State, Vec<u8>) {
    let read = || -> io::Result<(State, Vec<u8>)> {
        let stat = stat(path)?;
        let text = crate::fs::read(path)?;
        let steady = self::stat(path)? == stat;
        let state = State::Present {
            stat: (steady && stat.is_settled(began)).then_some(stat),
            digest: Digest::of(&text),
        };
        Ok((state, text))
    };
    read().unwrap_or((State::Absent, Vec::new()))
}

/// Git does not follow a `.gitignore` that is a link, but follows links for its other files.
fn stat(path: &Path) -> io::Result<Stat> {
    let stat = if path.file_name() == Some(OsStr::new(".gitignore")) {
        Stat::of_link(path)?
    } else {
        Stat::of(path)?
    };
    if stat.file_type() == FileType::RegularFile {
        Ok(stat)
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}

/// Whether all guarded files still have the same content. Updates the memo of those that were read again.
pub(crate) fn all_same(guards: &mut Guards, began: Time) -> bool {
    guards
        .iter_mut()
        .all(|(path, state)| is_same(path, state, began))
}

/// Whether the file cannot have changed since the run began.
pub(crate) fn is_settled(state: &State) -> bool {
    !matches!(state, State::Present { stat: None, .. })
}

fn is_same(path: &Path, state: &mut State, began: Time) -> bool {
    let now = stat(path).ok();
    match *state {
        State::Absent => now.is_none(),
        State::Present { stat, .. } if stat.is_some() && stat == now => true,
        State::Present { digest: before, .. } => {
            *state = observe(path, began).0;
            matches!(*state, State::Present { digest, .. } if digest == before)
        }
    }
}

pub(crate) fn encode(guards: &Guards, out: &mut Writer) {
    out.u32(u32::try_from(guards.len()).unwrap_or(u32::MAX));
    for (path, state) in guards {
        out.bytes(path.as_os_str().as_bytes());
        match state {
            State::Absent => out.u8(0),
            State::Present { stat, digest } => {
                out.u8(1);
                encode_stat(*stat, out);
                out.raw(digest.as_bytes());
            }
        }
    }
}

pub(crate) fn decode(from: &mut Reader<'_>) -> Option<Guards> {
    (0..from.u32()?).map(|_| decode_one(from)).collect()
}

fn decode_one(from: &mut Reader<'_>) -> Option<(PathBuf, State)> {
    let path = PathBuf::from(OsStr::from_bytes(from.bytes()?));
    let state = if from.u8()? == 0 {
        State::Absent
    } else {
        State::Present {
            stat: decode_stat(from)?,
            digest: from.digest()?,
        }
    };
    Some((path, state))
}

/// Encodes a stat or its absence.
pub(crate) fn encode_stat(stat: Option<Stat>, out: &mut Writer) {
    out.u8(u8::from(stat.is_some()));
    if let Some(stat) = stat {
        stat.encode(out);
    }
}

pub(crate) fn decode_stat(from: &mut Reader<'_>) -> Option<Option<Stat>> {
    Some(match from.u8()? {
        0 => None,
        _ => Some(Stat::decode(from)?),
    })
}
