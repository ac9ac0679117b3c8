//! Merkle trees: a set of files as one digest, of which every folder is an object of its own.
//!
//! ```text
//! object = "dagcache tree 1\0", then for each entry, in path order (a folder counts as `NAME/`):
//!          kind u8 (f, x, l, d) · length of the name u32 little-endian · digest [u8; 32] · name
//! ```
//! The digest of a file is that of its content, of a link that of its target text, of a folder that of its object;
//! the digest of the set is that of the root's object. So equal folders are one object, and two trees are compared by
//! walking only what differs. An empty set has an object too; a folder without files is not in a tree.
//!
//! [`build`]: from the files of a snapshot. [`mod@diff`]: what differs between two. Stays free of IO: the store brings
//! objects.

pub(crate) mod build;
pub(crate) mod diff;

use std::cmp::Ordering;

pub(crate) use build::{Objects, Trees, names_objects, objects};
pub(crate) use diff::{Change, Leaf, diff, paths};

use crate::digest::Digest;
use crate::rule::Rule;
use crate::snapshot::{Entry, Kind};

/// Begins every object of a tree of contents.
const CONTENTS: &[u8] = b"dagcache tree 1\0";
/// Begins every object of a tree that leaves the content of files out, but for whether there is any: such a tree never
/// passes for one with it.
const NAMES: &[u8] = b"dagcache names 1\0";
/// Bytes of an entry besides its name.
const FIXED: usize = 1 + 4 + Digest::LEN;

/// What an entry of a folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Node {
    /// A file or a link.
    Leaf(Kind),
    /// A folder.
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

/// One entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// Its name, without a slash.
    pub(crate) name: String,
    /// What it is.
    pub(crate) node: Node,
    /// Digest of its content, target text or object.
    pub(crate) digest: Digest,
}

impl Item {
    /// The order of entries: that of the paths of the files they hold.
    fn order(&self, other: &Self) -> Ordering {
        self.ordered().cmp(other.ordered())
    }

    fn ordered(&self) -> impl Iterator<Item = u8> {
        let slash = (self.node == Node::Tree).then_some(b'/');
        self.name.bytes().chain(slash)
    }
}

/// A folder, read from its object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tree {
    /// Its entries, in order.
    pub(crate) items: Vec<Item>,
}

impl Tree {
    /// Reads an object of either kind of tree; `None` if it is none, or not in its one canonical form. The caller has
    /// compared its digest.
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

/// Whether it can be the name of one entry: what is read may come from elsewhere, and is joined to paths.
fn is_name(name: &str) -> bool {
    !["", ".", ".."].contains(&name) && !name.contains(['/', '\0'])
}

/// What of a file enters a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// Its content too.
    Contents,
    /// Its name, its kind and whether it is empty; of a link also its target.
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

/// One file with its whole path, in the form of an entry: what the key of a part holds of its file.
#[must_use]
pub(crate) fn entry(file: &Entry) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(FIXED + file.path.len());
    let node = Node::Leaf(file.kind);
    append(&mut bytes, Depth::Contents, &file.path, node, &file.digest);
    bytes
}

/// What stands for content in a tree without it.
pub(crate) const NO_CONTENT: Digest = Digest::from_bytes([0; Digest::LEN]);

/// Appends an entry to an object.
fn append(object: &mut Vec<u8>, depth: Depth, name: &str, node: Node, digest: &Digest) {
    let mut tag = node.tag();
    let mut name = name;
    let mut bytes = digest.as_bytes();
    match node {
        Node::Leaf(Kind::Executable) if !Rule::ExecuteBit.holds() => tag = b'f',
        Node::Leaf(Kind::Symlink) if !Rule::LinkKind.holds() => tag = b'f',
        Node::Leaf(Kind::Symlink) if !Rule::LinkTarget.holds() => bytes = NO_CONTENT.as_bytes(),
        _ => {}
    }
    if !Rule::EmptyFiles.holds() && *digest == Digest::of(b"") {
        return;
    }
    if !Rule::Names.holds() {
        name = "name";
    }
    let is_file = matches!(node, Node::Leaf(Kind::File | Kind::Executable));
    if depth == Depth::Names && is_file && *digest != Digest::of(b"") {
        bytes = NO_CONTENT.as_bytes();
    }
    // No file system has names that long.
    let length = u32::try_from(name.len()).unwrap_or(u32::MAX);
    let mut fixed = [0; FIXED];
    fixed[0] = tag;
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
