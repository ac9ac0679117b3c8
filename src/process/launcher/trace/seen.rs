//! What a command was seen to do with files, and its wire format.

use std::collections::BTreeMap;
#[cfg(target_os = "linux")]
use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use crate::fs::sealed::{Reader, Writer};

/// What was asked of an entry that was there before the command touched it. The uses of a path add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Uses(pub(crate) u8);

impl Uses {
    /// That it exists, as file, program, link or directory.
    pub(crate) const KIND: Self = Self(1);
    /// How large it is.
    pub(crate) const SIZE: Self = Self(1 << 1);
    pub(crate) const CONTENT: Self = Self(1 << 2);
    /// Where a link leads.
    pub(crate) const TARGET: Self = Self(1 << 3);
    /// The names in a directory.
    pub(crate) const NAMES: Self = Self(1 << 4);
    /// Everything in a directory, at any depth.
    pub(crate) const TREE: Self = Self(1 << 5);
    /// It was not there.
    pub(crate) const ABSENT: Self = Self(1 << 6);
    /// It was not there, and the command made it.
    pub(crate) const MADE: Self = Self(1 << 7);

    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What a traced command did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// By path as the command sees it, absolute and without links in its folders.
    pub(crate) paths: BTreeMap<PathBuf, Uses>,
    /// Why it could not be followed ("it …"): then the rest means nothing.
    pub(crate) lost: Option<String>,
}

impl Seen {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.bytes(self.lost.as_deref().unwrap_or_default().as_bytes());
        out.u32(u32::try_from(self.paths.len()).unwrap_or(u32::MAX));
        for (path, uses) in &self.paths {
            out.u8(uses.0);
            out.bytes(path.as_os_str().as_bytes());
        }
        out.0
    }

    /// `None` if it is incomplete: the launcher was killed.
    #[must_use]
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let lost = String::from_utf8(reader.bytes()?.to_vec()).ok()?;
        let count = reader.u32()?;
        let mut next = || {
            let uses = Uses(reader.u8()?);
            let path = OsString::from_vec(reader.bytes()?.to_vec());
            Some((path.into(), uses))
        };
        let paths = (0..count).map(|_| next()).collect::<Option<_>>()?;
        reader.is_empty().then(|| Self {
            paths,
            lost: (!lost.is_empty()).then_some(lost),
        })
    }
}

/// What is learnt while a command runs. Paths are bytes: comparing them by component takes longer than all the rest.
#[cfg(target_os = "linux")]
#[derive(Debug, Default)]
pub(super) struct Notes {
    paths: HashMap<Vec<u8>, Uses>,
    /// Whether anything was not there.
    any_gone: bool,
    /// Bytes of all paths.
    size: usize,
}

#[cfg(target_os = "linux")]
impl Notes {
    const GONE: Uses = Uses::ABSENT.and(Uses::MADE);

    /// Notes a use. The first one decides whether the entry was there: later ones may meet what the command made.
    pub(super) fn note(&mut self, path: &[u8], uses: Uses) {
        let is_gone = uses.has(Self::GONE);
        if let Some(known) = self.paths.get_mut(path) {
            // What is made after it was looked for is still something that was made.
            if known.has(Self::GONE) == is_gone {
                *known = known.and(uses);
            }
            return;
        }
        // What lies in a directory that the command made is its own.
        if self.any_gone && above(path).any(|folder| self.is_gone(folder)) {
            return;
        }
        self.any_gone |= is_gone;
        self.size += path.len();
        self.paths.insert(path.to_owned(), uses);
    }

    pub(super) const fn size(&self) -> usize {
        self.size
    }

    fn is_gone(&self, path: &[u8]) -> bool {
        let uses = self.paths.get(path);
        uses.is_some_and(|uses| uses.has(Self::GONE))
    }

    pub(super) fn paths(self) -> BTreeMap<PathBuf, Uses> {
        let all = self.paths.into_iter();
        all.map(|(path, uses)| (OsString::from_vec(path).into(), uses))
            .collect()
    }
}

/// The folders of a path, without the root.
#[cfg(target_os = "linux")]
fn above(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    ends.skip(1).filter_map(|(end, _)| path.get(..end))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::path::Path;

    use super::*;

    fn seen(all: &[(&str, Uses)]) -> Seen {
        let mut notes = Notes::default();
        for (path, uses) in all {
            notes.note(path.as_bytes(), *uses);
        }
        Seen {
            paths: notes.paths(),
            ..Seen::default()
        }
    }

    fn of(seen: &Seen, path: &str) -> Option<Uses> {
        seen.paths.get(Path::new(path)).copied()
    }

    #[test]
    fn it_arrives_as_it_was_seen() {
        let mut all = seen(&[("/a", Uses::CONTENT), ("/b", Uses::MADE)]);
        assert_eq!(Seen::decode(&all.encode()), Some(all.clone()));
        all.lost = Some("ran away".to_owned());
        let bytes = all.encode();
        assert_eq!(Seen::decode(&bytes), Some(all));
        assert_eq!(Seen::decode(&bytes[..bytes.len() - 1]), None);
        assert_eq!(Seen::decode(&[]), None);
    }

    #[test]
    fn uses_add_up() {
        let seen = seen(&[("/a", Uses::KIND), ("/a", Uses::CONTENT)]);
        assert_eq!(of(&seen, "/a"), Some(Uses::KIND.and(Uses::CONTENT)));
    }

    #[test]
    fn what_a_command_made_is_no_input() {
        let seen = seen(&[
            ("/a", Uses::ABSENT),
            ("/a", Uses::MADE),
            ("/a", Uses::CONTENT),
            ("/d", Uses::MADE),
            ("/d/x", Uses::CONTENT),
            ("/d", Uses::NAMES),
        ]);
        assert_eq!(of(&seen, "/a"), Some(Uses::ABSENT.and(Uses::MADE)));
        assert_eq!(of(&seen, "/d/x"), None);
        assert_eq!(of(&seen, "/d"), Some(Uses::MADE));
    }

    #[test]
    fn what_a_command_removed_was_there() {
        let seen = seen(&[("/a", Uses::KIND), ("/a", Uses::ABSENT), ("/a", Uses::MADE)]);
        assert_eq!(of(&seen, "/a"), Some(Uses::KIND));
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Seen::decode(&bytes);
        }
    }
}
