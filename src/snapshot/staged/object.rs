//! Object ids, and git's lists of them: an index and the tree of a commit.

use std::fmt;

use crate::path::RelPath;
use crate::snapshot::Kind;
use crate::snapshot::index::{self, MODE_GITLINK, MODE_MASK, NotUnderstood};

/// An object id: 20 bytes of SHA-1 or 32 of SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ObjectId {
    bytes: [u8; 32],
    len: u8,
}

impl ObjectId {
    /// `None` if there are too many bytes.
    pub(crate) fn new(bytes: &[u8]) -> Option<Self> {
        let mut all = [0; 32];
        all.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Self {
            bytes: all,
            len: u8::try_from(bytes.len()).ok()?,
        })
    }

    pub(crate) fn from_hex(text: &[u8]) -> Option<Self> {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let pairs = text.chunks(2).map(|pair| match pair {
            [high, low] => u8::try_from(digit(*high)? << 4 | digit(*low)?).ok(),
            _ => None,
        });
        Self::new(&pairs.collect::<Option<Vec<u8>>>()?)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes()
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    File(Kind),
    /// A commit of another repository.
    Gitlink,
}

/// One path of a commit, relative to the top of the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) path: Vec<u8>,
    pub(crate) what: What,
    pub(crate) id: ObjectId,
    /// Git ignores the file on disk.
    pub(crate) apart: bool,
}

impl Listed {
    fn new(path: &[u8], mode: u32, id: ObjectId) -> Result<Self, NotUnderstood> {
        const LINK: u32 = 0o120_000;
        const REGULAR: u32 = 0o100_000;
        let what = match mode & MODE_MASK {
            MODE_GITLINK => What::Gitlink,
            LINK => What::File(Kind::Symlink),
            REGULAR if mode & 0o100 != 0 => What::File(Kind::Executable),
            REGULAR => What::File(Kind::File),
            _ => return Err(NotUnderstood),
        };
        Ok(Self {
            path: path.to_vec(),
            what,
            id,
            apart: false,
        })
    }

    /// Whether this is a regular file; links are not converted.
    pub(crate) fn is_regular(&self) -> bool {
        matches!(self.what, What::File(Kind::File | Kind::Executable))
    }

    /// Whether it determines how other files are converted.
    pub(crate) fn is_attributes(&self) -> bool {
        const NAME: &[u8] = b".gitattributes";
        self.is_regular()
            && self
                .path
                .strip_suffix(NAME)
                .is_some_and(|dir| dir.is_empty() || dir.ends_with(b"/"))
    }
}

/// An index as the commit made from it.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) listed: Vec<Listed>,
    /// Paths in conflict, which prevent a commit.
    pub(crate) conflicts: Vec<String>,
}

pub(crate) fn of_index(bytes: &[u8], hash_len: usize) -> Result<Index, NotUnderstood> {
    let mut found = Index::default();
    index::entries(bytes, hash_len, |path, row| {
        if row.stage != 0 {
            let name = String::from_utf8_lossy(path).into_owned();
            if found.conflicts.last() != Some(&name) {
                found.conflicts.push(name);
            }
        } else if !row.intent_to_add {
            let id = ObjectId::new(row.id).ok_or(NotUnderstood)?;
            let mut listed = Listed::new(path, row.mode, id)?;
            listed.apart = row.apart;
            found.listed.push(listed);
        }
        Ok(())
    })?;
    Ok(found)
}

/// Reads the output of `git ls-tree -r -z`: `mode type id TAB path NUL`.
pub(crate) fn of_tree(stdout: &[u8]) -> Result<Vec<Listed>, NotUnderstood> {
    let lines = stdout.split(|byte| *byte == 0).filter(|l| !l.is_empty());
    let parsed = lines.map(|line| {
        let tab = line.iter().position(|byte| *byte == b'\t')?;
        let (head, path) = line.split_at_checked(tab)?;
        let mut words = head.split(|byte| *byte == b' ');
        let mode = std::str::from_utf8(words.next()?).ok()?;
        let mode = u32::from_str_radix(mode, 8).ok()?;
        let id = ObjectId::from_hex(words.nth(1)?)?;
        Listed::new(path.get(1..)?, mode, id).ok()
    });
    parsed.collect::<Option<_>>().ok_or(NotUnderstood)
}

/// The path in the snapshot; `None` if it cannot be represented.
pub(crate) fn rel_path(path: &[u8]) -> Option<RelPath> {
    RelPath::new(std::str::from_utf8(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_read_as_git_prints_it() {
        let id = "0123456789abcdef0123456789abcdef01234567";
        let text = format!(
            "100644 blob {id}\ta b\0100755 blob {id}\tx\0120000 blob {id}\tl\0160000 commit {id}\tsub\0"
        );
        let listed = of_tree(text.as_bytes()).expect("a tree");
        let kinds: Vec<_> = listed.iter().map(|listed| listed.what).collect();
        let files = [Kind::File, Kind::Executable, Kind::Symlink].map(What::File);
        assert_eq!(kinds, [&files[..], &[What::Gitlink]].concat());
        assert_eq!(listed[0].path, b"a b");
        assert_eq!(listed[0].id.to_string(), id);
        assert!(of_tree(b"100644 blob\0").is_err());
    }
}
