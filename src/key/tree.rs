//! Merkle trees: a set of files as one digest, with an object for every folder.
//!
//! ```text
//! object = "dagcache tree 1\0", then each entry, in path order (folders sort as `NAME/`):
//!          kind u8 (f, x, l, d) · length of the name u32 little-endian · digest [u8; 32] · name
//! ```
//! The digest of a file is that of its content, of a link that of its target, of a folder that of its object; the
//! digest of a set is that of the root's object. So equal folders share an object, and comparing two trees visits
//! only what differs. An empty set has an object, too; folders without files are not included.
//!
//! [`build`]: from snapshot files to trees. [`mod@diff`]: compares two trees. Performs no IO: the store loads
//! objects.

pub(crate) mod build;
pub(crate) mod diff;

use std::cmp::Ordering;

pub(crate) use build::{Objects, Trees, names_objects, objects};
pub(crate) use diff::{Change, Leaf, diff, paths};

use crate::digest::Digest;
use crate::snapshot::{Entry, Kind};

/// Header of objects in a tree of contents.
const CONTENTS: &[u8] = b"dagcache tree 1\0";
/// Header of objects in a tree that omits the content of files, except whether they are empty. It cannot be confused
/// with a tree of contents.
const NAMES: &[u8] = b"dagcache names 1\0";
/// Bytes of an entry in addition to its name.
const FIXED: usize = 1 + 4 + Digest::LEN;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Node {
    /// A file or a link.
    Leaf(Kind),
    Tree,
}

impl Node {
    const fn tag(self) -> u8 {
        match self {
            Self::Leaf(Kind::File) => b'f',
            Self::Leaf(Kind::Executable) => b'x',
            Self::Leaf(Kind::Symlink) => b'l',
            Self::Tree => b'd',
        }
    }

    const fn of_tag(tag: u8) -> Option<Self> {
        Some(match tag {
            b'f' => Self::Leaf(Kind::File),
            b'x' => Self::Leaf(Kind::Executable),
            b'l' => Self::Leaf(Kind::Symlink),
            b'd' => Self::Tree,
            _ => return None,
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// Without a slash.
    pub(crate) name: String,
    pub(crate) node: Node,
    /// Digest of the content, link target or object.
    pub(crate) digest: Digest,
}

impl Item {
    /// Entries are ordered like the paths of the files they contain.
    fn order(&self, other: &Self) -> Ordering {
        self.ordered().cmp(other.ordered())
    }

    fn ordered(&self) -> impl Iterator<Item = u8> {
        let slash = (self.node == Node::Tree).then_some(b'/');
        self.name.bytes().chain(slash)
    }
}

/// A folder, decoded from its object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tree {
    /// In order.
    pub(crate) items: Vec<Item>,
}

impl Tree {
    /// Decodes an object of either kind of tree; `None` if it is invalid or not canonical. The caller has verified
    /// its digest.
    #[must_use]
    pub(crate) fn decode(object: &[u8]) -> Option<Self> {
        let mut rest = object
            .strip_prefix(CONTENTS)
            .or_else(|| object.strip_prefix(NAMES))?;
        let mut items: Vec<Item> = Vec::new();
        while let Some((tag, after)) = rest.split_first() {
            let (length, after) = after.split_first_chunk::<4>()?;
            let (digest, after) = after.split_first_chunk::<{ Digest::LEN }>()?;
            let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
            let (name, after) = after.split_at_checked(length)?;
            let item = Item {
                name: std::str::from_utf8(name).ok()?.to_owned(),
                node: Node::of_tag(*tag)?,
                digest: Digest::from_bytes(*digest),
            };
            let in_order = items.last().is_none_or(|last| last.order(&item).is_lt());
            if !is_name(&item.name) || !in_order {
                return None;
            }
            items.push(item);
            rest = after;
        }
        Some(Self { items })
    }
}

/// Whether it is a valid name of one entry. Objects may come from elsewhere, and names are joined to paths.
fn is_name(name: &str) -> bool {
    !["", ".", ".."].contains(&name) && !name.contains(['/', '\0'])
}

/// How much of a file enters a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    Contents,
    /// Its name, its kind and whether it is empty; for links also the target.
    Names,
}

impl Depth {
    const fn header(self) -> &'static [u8] {
        match self {
            Self::Contents => CONTENTS,
            Self::Names => NAMES,
        }
    }
}

/// One file with its whole path, encoded like an entry, for the key of a part.
#[must_use]
pub(crate) fn entry(file: &Entry) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(FIXED + file.path.len());
    let node = Node::Leaf(file.kind);
    append(&mut bytes, Depth::Contents, &file.path, node, &file.digest);
    bytes
}

/// Replaces digests of content in a tree without content.
pub(crate) const NO_CONTENT: Digest = Digest::from_bytes([0; Digest::LEN]);

fn append(object: &mut Vec<u8>, depth: Depth, name: &str, node: Node, digest: &Digest) {
    let mut bytes = digest.as_bytes();
    let is_file = matches!(node, Node::Leaf(Kind::File | Kind::Executable));
    if depth == Depth::Names && is_file && *digest != Digest::of(b"") {
        bytes = NO_CONTENT.as_bytes();
    }
    // No file system allows longer names.
    let length = u32::try_from(name.len()).unwrap_or(u32::MAX);
    let mut fixed = [0; FIXED];
    fixed[0] = node.tag();
    fixed[1..5].copy_from_slice(&length.to_le_bytes());
    fixed[5..].copy_from_slice(bytes);
    object.extend_from_slice(&fixed);
    object.extend_from_slice(name.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn object(items: &[(&str, Node)]) -> Vec<u8> {
        let mut object = CONTENTS.to_vec();
        for (name, node) in items {
            append(&mut object, Depth::Contents, name, *node, &Digest::of(b"x"));
        }
        object
    }

    const FILE: Node = Node::Leaf(Kind::File);

    #[test]
    fn only_the_canonical_form_is_read() {
        let names = |items: &[(&str, Node)]| {
            let tree = Tree::decode(&object(items))?;
            Some(tree.items.into_iter().map(|item| item.name).collect())
        };
        let good: Option<Vec<String>> =
            names(&[("a", FILE), ("a-b", Node::Tree), ("a", Node::Tree)]);
        assert_eq!(good, Some(vec!["a".into(), "a-b".into(), "a".into()]));
        for bad in [
            &[("b", FILE), ("a", FILE)][..],
            &[("a", FILE), ("a", FILE)],
            &[("a", Node::Tree), ("a-b", FILE)],
            &[("", FILE)],
            &[("..", Node::Tree)],
            &[("a/b", FILE)],
        ] {
            assert_eq!(names(bad), None, "{bad:?}");
        }
        let of_names = [NAMES, &object(&[("a", FILE)])[CONTENTS.len()..]].concat();
        assert!(Tree::decode(&of_names).is_some_and(|tree| tree.items.len() == 1));
        for bad in [".", "a\0b"] {
            assert_eq!(names(&[(bad, FILE)]), None, "{bad:?}");
        }
        let whole = object(&[("a", FILE)]);
        for end in CONTENTS.len() + 1..whole.len() {
            assert_eq!(Tree::decode(&whole[..end]), None, "{end}");
        }
    }

    /// Changing this makes every stored result of every user miss once, as with the golden keys of `fingerprint`:
    /// raise `KEY_VERSION`, and the number in the header, with it.
    #[test]
    fn the_form_of_objects_stays_as_it_is() {
        let mut golden = b"dagcache tree 1\0f\x01\0\0\0".to_vec();
        golden.extend_from_slice(Digest::of(b"x").as_bytes());
        golden.extend_from_slice(b"ad\x02\0\0\0");
        golden.extend_from_slice(Digest::of(b"x").as_bytes());
        golden.extend_from_slice("é".as_bytes());
        assert_eq!(object(&[("a", FILE), ("é", Node::Tree)]), golden);
        assert_eq!(Digest::of(&golden).short(), "27bede4cff2d");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Tree::decode(&bytes);
            let _ = Tree::decode(&[CONTENTS, &bytes].concat());
        }
    }
}
