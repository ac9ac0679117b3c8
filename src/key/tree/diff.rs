//! Compares two trees. Only folders that differ are read.

use std::cmp::Ordering;

use crate::digest::Digest;
use crate::key::tree::{Item, Node, Tree};
use crate::snapshot::Kind;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leaf {
    pub(crate) kind: Kind,
    /// Digest of the content or link target.
    pub(crate) digest: Digest,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) path: String,
    /// `None` if it did not exist.
    pub(crate) before: Option<Leaf>,
    /// `None` if it does not exist.
    pub(crate) now: Option<Leaf>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// In path order. At least one of `before` and `now` exists, and they differ.
    pub(crate) files: Vec<Change>,
    /// Folders (empty for the root) that differ in an unknown way, because an object is missing or damaged.
    pub(crate) unknown: Vec<String>,
}

/// Compares two trees by their root digests; `read` loads objects.
pub(crate) fn diff(
    old: &Digest,
    new: &Digest,
    read: &mut dyn FnMut(&Digest) -> Option<Tree>,
) -> Changes {
    let mut walk = Walk {
        read,
        changes: Changes::default(),
    };
    walk.folders("", Some(old), Some(new));
    walk.changes
}

/// The paths of all files of a tree, in order; `None` if an object is missing or damaged.
pub(crate) fn paths(
    root: &Digest,
    read: &mut dyn FnMut(&Digest) -> Option<Tree>,
) -> Option<Vec<String>> {
    let mut walk = Walk {
        read,
        changes: Changes::default(),
    };
    walk.folders("", None, Some(root));
    let whole = walk.changes.unknown.is_empty();
    whole.then(|| {
        walk.changes
            .files
            .into_iter()
            .map(|file| file.path)
            .collect()
    })
}

struct Walk<'a> {
    read: &'a mut dyn FnMut(&Digest) -> Option<Tree>,
    changes: Changes,
}

impl Walk<'_> {
    /// Compares two folders of the same path (with its slash); at least one exists.
    fn folders(&mut self, base: &str, old: Option<&Digest>, new: Option<&Digest>) {
        if old == new {
            return;
        }
        let (Some(old), Some(new)) = (self.tree(old), self.tree(new)) else {
            self.changes
                .unknown
                .push(base.trim_end_matches('/').to_owned());
            return;
        };
        let mut old = old.items.into_iter().peekable();
        let mut new = new.items.into_iter().peekable();
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => return,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some(b)) => a.order(b),
            };
            let before = old.next_if(|_| order.is_le());
            let now = new.next_if(|_| order.is_ge());
            self.items(base, before.as_ref(), now.as_ref());
        }
    }

    /// Compares two entries of the same name, both files or both folders; at least one exists.
    fn items(&mut self, base: &str, before: Option<&Item>, now: Option<&Item>) {
        let Some(any) = now.or(before) else { return };
        let path = format!("{base}{}", any.name);
        let leaf = |item: Option<&Item>| {
            let item = item?;
            match item.node {
                Node::Leaf(kind) => Some(Leaf {
                    kind,
                    digest: item.digest,
                }),
                Node::Tree => None,
            }
        };
        if any.node == Node::Tree {
            let digest = |item: Option<&Item>| item.map(|item| item.digest);
            let (old, new) = (digest(before), digest(now));
            self.folders(&format!("{path}/"), old.as_ref(), new.as_ref());
        } else if leaf(before) != leaf(now) {
            self.changes.files.push(Change {
                path,
                before: leaf(before),
                now: leaf(now),
            });
        }
    }

    /// A missing tree is empty.
    fn tree(&mut self, digest: Option<&Digest>) -> Option<Tree> {
        match digest {
            None => Some(Tree::default()),
            Some(digest) => (self.read)(digest),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::key::tree::build::tests::{Files, all, content_of, snapshot, some_files};
    use crate::key::tree::build::{Objects, objects};

    /// The files that differ, and how many objects were read.
    fn compare(a: &Files, b: &Files) -> (Changes, usize) {
        let (old, new) = (snapshot(a), snapshot(b));
        let (old_root, mut known) = objects(&old, &all(&old));
        let (new_root, more) = objects(&new, &all(&new));
        known.extend(more);
        let mut reads = 0;
        let changes = diff(&old_root, &new_root, &mut |digest| {
            reads += 1;
            Tree::decode(known.get(digest)?)
        });
        (changes, reads)
    }

    fn leaf((kind, content): &(Kind, u8)) -> Leaf {
        Leaf {
            kind: *kind,
            digest: content_of(*content),
        }
    }

    fn naive(a: &Files, b: &Files) -> Vec<Change> {
        let paths: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
        let differ = paths
            .into_iter()
            .filter(|path| a.get(*path) != b.get(*path));
        let change = |path: &String| Change {
            path: path.clone(),
            before: a.get(path).map(leaf),
            now: b.get(path).map(leaf),
        };
        differ.map(change).collect()
    }

    /// Folders, the root included, that hold a file that differs.
    fn touched(changes: &[Change]) -> BTreeSet<String> {
        let folders = changes.iter().flat_map(|change| {
            let ends = change.path.match_indices('/').map(|(at, _)| at);
            [0].into_iter()
                .chain(ends)
                .map(|end| change.path[..end].to_owned())
        });
        folders.collect()
    }

    proptest! {
        #[test]
        fn the_walk_finds_what_two_listings_differ_in(a in some_files(), b in some_files()) {
            let (changes, reads) = compare(&a, &b);
            let naive = naive(&a, &b);
            // Each folder that differs is read once on either side, no other is.
            prop_assert!(reads <= 2 * touched(&naive).len(), "{} reads", reads);
            prop_assert_eq!(changes.files, naive);
            prop_assert!(changes.unknown.is_empty());
        }
    }

    #[test]
    fn one_edit_in_a_large_tree_reads_its_own_folders_only() {
        let file = |at: usize| (format!("d{}/s{}/f{at}", at / 100, at / 10), (Kind::File, 0));
        let old: Files = (0..1000).map(file).collect();
        let mut new = old.clone();
        new.insert("d4/s42/f421".into(), (Kind::File, 1));
        let (changes, reads) = compare(&old, &new);
        assert_eq!(changes.files.len(), 1);
        assert_eq!(reads, 6);
    }

    #[test]
    fn paths_of_a_tree_are_all_or_none() {
        let files = ["a", "d/b", "d/e/c"].map(|path| (path.to_owned(), (Kind::File, 1)));
        let snapshot = snapshot(&Files::from(files));
        let (root, mut known) = objects(&snapshot, &all(&snapshot));
        let of = |known: &Objects| paths(&root, &mut |digest| Tree::decode(known.get(digest)?));
        assert_eq!(of(&known).expect("whole"), ["a", "d/b", "d/e/c"]);
        let inner = *known.keys().find(|digest| **digest != root).expect("one");
        known.remove(&inner);
        assert_eq!(of(&known), None);
    }

    #[test]
    fn a_folder_that_is_not_known_is_named() {
        let files = |content| Files::from([("d/a".to_owned(), (Kind::File, content))]);
        let (old, new) = (snapshot(&files(1)), snapshot(&files(2)));
        let (old_root, mut known) = objects(&old, &all(&old));
        let (new_root, more) = objects(&new, &all(&new));
        let lost = diff(&old_root, &new_root, &mut |digest| {
            Tree::decode(more.get(digest)?)
        });
        assert_eq!(lost.unknown, [""]);
        known.extend(more);
        let inner = diff(&old_root, &new_root, &mut |digest| {
            let tree = Tree::decode(known.get(digest)?)?;
            (tree.items[0].node == Node::Tree).then_some(tree)
        });
        assert_eq!(inner.unknown, ["d"]);
        assert!(inner.files.is_empty());
    }
}
