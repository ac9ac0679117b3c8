//! Builds trees from files of a snapshot.

use std::collections::{BTreeMap, HashMap};

use crate::digest::Digest;
use crate::key::tree::{Depth, Node, append};
use crate::snapshot::{FileId, Snapshot};

/// The objects of one tree, by digest.
pub(crate) type Objects = BTreeMap<Digest, Vec<u8>>;

/// Digests of sets of files of one snapshot. Work that several sets have in common is done once: equal sets, and
/// folders that are completely included in several.
#[derive(Debug)]
pub(crate) struct Trees<'s> {
    snapshot: &'s Snapshot,
    contents: Known,
    names: Known,
}

#[derive(Debug, Default)]
struct Known {
    sets: HashMap<Box<[FileId]>, Digest>,
    /// Completely included folders, by first file, number of files and length of the path.
    folders: HashMap<(FileId, usize, usize), Digest>,
}

impl<'s> Trees<'s> {
    #[must_use]
    pub(crate) fn new(snapshot: &'s Snapshot) -> Self {
        Self {
            snapshot,
            contents: Known::default(),
            names: Known::default(),
        }
    }

    /// The digest of the tree of some files (sorted, without duplicates).
    pub(crate) fn digest(&mut self, files: &[FileId]) -> Digest {
        of_set(self.snapshot, files, Depth::Contents, &mut self.contents)
    }

    /// The digest of the tree of some files without the content of regular files: names, kinds, executable bits, link
    /// targets, and whether a file is empty. Never equal to a [`Trees::digest`].
    pub(crate) fn names(&mut self, files: &[FileId]) -> Digest {
        of_set(self.snapshot, files, Depth::Names, &mut self.names)
    }
}

/// All objects of the tree of some files (sorted, without duplicates), and the digest of its root.
#[must_use]
pub(crate) fn objects(snapshot: &Snapshot, files: &[FileId]) -> (Digest, Objects) {
    all_objects(snapshot, files, Depth::Contents)
}

/// Like [`objects`], for the tree of [`Trees::names`].
#[must_use]
pub(crate) fn names_objects(snapshot: &Snapshot, files: &[FileId]) -> (Digest, Objects) {
    all_objects(snapshot, files, Depth::Names)
}

fn all_objects(snapshot: &Snapshot, files: &[FileId], depth: Depth) -> (Digest, Objects) {
    let mut objects = Objects::new();
    let mut builder = Builder {
        snapshot,
        depth,
        folders: &mut HashMap::new(),
        spare: Vec::new(),
        keep: Some(&mut objects),
    };
    let root = builder.folder(files, 0);
    (root, objects)
}

fn of_set(snapshot: &Snapshot, files: &[FileId], depth: Depth, known: &mut Known) -> Digest {
    if let Some(digest) = known.sets.get(files) {
        return *digest;
    }
    let mut builder = Builder {
        snapshot,
        depth,
        folders: &mut known.folders,
        spare: Vec::new(),
        keep: None,
    };
    let digest = builder.folder(files, 0);
    known.sets.insert(files.into(), digest);
    digest
}

struct Builder<'a> {
    snapshot: &'a Snapshot,
    depth: Depth,
    folders: &'a mut HashMap<(FileId, usize, usize), Digest>,
    /// Free buffers; each level needs one.
    spare: Vec<Vec<u8>>,
    /// Collects the objects, if wanted.
    keep: Option<&'a mut Objects>,
}

impl Builder<'_> {
    /// The digest of the folder of `files`, whose paths all share their first `base` bytes.
    fn folder(&mut self, files: &[FileId], base: usize) -> Digest {
        debug_assert!(files.is_sorted_by(|a, b| a < b));
        let mut object = self.spare.pop().unwrap_or_default();
        object.extend_from_slice(self.depth.header());
        let mut rest = files;
        while let Some(first) = rest.first() {
            let entry = self.snapshot.entry(*first);
            let path = entry.path.as_str();
            let name = &path[base..];
            let taken = match name.bytes().position(|byte| byte == b'/') {
                None => {
                    let node = Node::Leaf(entry.kind);
                    append(&mut object, self.depth, name, node, &entry.digest);
                    1
                }
                Some(length) => {
                    let inside = base + length + 1;
                    let count = self.count_in(rest, &path[..inside]);
                    let digest = self.known_folder(&rest[..count], inside);
                    append(
                        &mut object,
                        self.depth,
                        &name[..length],
                        Node::Tree,
                        &digest,
                    );
                    count
                }
            };
            rest = &rest[taken..];
        }
        let digest = Digest::of(&object);
        if let Some(kept) = &mut self.keep {
            kept.entry(digest).or_insert_with(|| object.clone());
        }
        object.clear();
        self.spare.push(object);
        digest
    }

    /// Like [`Builder::folder`], memoised if no file between the first and the last is left out.
    fn known_folder(&mut self, files: &[FileId], base: usize) -> Digest {
        let whole = match files {
            [first, .., last] => (*last - *first) as usize + 1 == files.len(),
            _ => false,
        };
        if !whole || self.keep.is_some() {
            return self.folder(files, base);
        }
        let key = (files[0], files.len(), base);
        if let Some(digest) = self.folders.get(&key) {
            return *digest;
        }
        let digest = self.folder(files, base);
        self.folders.insert(key, digest);
        digest
    }

    /// How many of `files`, starting with the first, are in `folder` (with its slash). The first one is. Searches in
    /// growing steps, because most folders are small.
    fn count_in(&self, files: &[FileId], folder: &str) -> usize {
        let inside = |id: &FileId| self.snapshot.entry(*id).path.as_str().starts_with(folder);
        let (mut last, mut step) = (0, 1);
        while files.get(last + step).is_some_and(inside) {
            last += step;
            step *= 2;
        }
        let end = files.len().min(last + step);
        last + 1 + files[last + 1..end].partition_point(inside)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::key::tree::Tree;
    use crate::path::RelPath;
    use crate::snapshot::{Entry, Kind};

    /// A set of files: path → kind and content; 0 stands for none.
    pub(crate) type Files = BTreeMap<String, (Kind, u8)>;

    pub(crate) fn content_of(content: u8) -> Digest {
        Digest::of(&[content; 1][..usize::from(content > 0)])
    }

    pub(crate) fn snapshot(files: &Files) -> Snapshot {
        let entry = |(path, (kind, content)): (&String, &(Kind, u8))| Entry {
            path: RelPath::from_normal(path.clone()),
            kind: *kind,
            digest: content_of(*content),
        };
        Snapshot::of_entries(files.iter().map(entry).collect())
    }

    pub(crate) fn all(snapshot: &Snapshot) -> Vec<FileId> {
        (0..).take(snapshot.entries().len()).collect()
    }

    /// Few names, so that trees have much in common; some around the slash in byte order, some odd.
    pub(crate) fn some_files() -> impl Strategy<Value = Files> {
        let name = prop::sample::select(vec!["a", "a-", "a0", "b", "é", "x\n", "…", " "]);
        let path = prop::collection::vec(name, 1..4).prop_map(|names| names.join("/"));
        let kind = prop::sample::select(vec![Kind::File, Kind::Executable, Kind::Symlink]);
        prop::collection::btree_map(path, (kind, 0_u8..3), 0..12)
    }

    fn digest(files: &Files) -> Digest {
        let snapshot = snapshot(files);
        Trees::new(&snapshot).digest(&all(&snapshot))
    }

    fn names(files: &Files) -> Digest {
        let snapshot = snapshot(files);
        Trees::new(&snapshot).names(&all(&snapshot))
    }

    /// The files of a tree, read back from its objects.
    fn listed(
        objects: &Objects,
        root: &Digest,
        base: &str,
        into: &mut Vec<(String, Kind, Digest)>,
    ) {
        let tree = Tree::decode(&objects[root]).expect("an object");
        for item in tree.items {
            let path = format!("{base}{}", item.name);
            match item.node {
                Node::Tree => listed(objects, &item.digest, &format!("{path}/"), into),
                Node::Leaf(kind) => into.push((path, kind, item.digest)),
            }
        }
    }

    #[test]
    fn a_name_with_a_line_break_stays_as_it_is() {
        let files = Files::from([("x\n".to_owned(), (Kind::File, 0))]);
        let snapshot = snapshot(&files);
        let (root, objects) = objects(&snapshot, &all(&snapshot));
        let mut back = Vec::new();
        listed(&objects, &root, "", &mut back);
        assert_eq!(back[0].0, "x\n");
    }

    proptest! {
        #[test]
        fn a_tree_holds_exactly_its_files(files in some_files()) {
            let snapshot = snapshot(&files);
            let (root, objects) = objects(&snapshot, &all(&snapshot));
            let mut back = Vec::new();
            listed(&objects, &root, "", &mut back);
            let there = snapshot.entries().iter();
            let there: Vec<_> = there.map(|e| (e.path.as_str().to_owned(), e.kind, e.digest)).collect();
            prop_assert_eq!(back, there);
            prop_assert!(objects.iter().all(|(name, bytes)| Digest::of(bytes) == *name));
            prop_assert_eq!(root, digest(&files));
        }

        #[test]
        fn different_files_never_share_a_digest(a in some_files(), b in some_files()) {
            prop_assert_eq!(a == b, digest(&a) == digest(&b));
        }

        #[test]
        fn a_tree_of_names_forgets_the_content_of_files_only(a in some_files(), b in some_files()) {
            let forget = |files: &Files| -> Files {
                let only = |(path, (kind, content)): (&String, &(Kind, u8))| {
                    let content = if *kind == Kind::Symlink { *content } else { (*content).min(1) };
                    (path.clone(), (*kind, content))
                };
                files.iter().map(only).collect()
            };
            prop_assert_eq!(forget(&a) == forget(&b), names(&a) == names(&b));
            prop_assert_eq!(names(&a), names(&forget(&a)));
            prop_assert_ne!(names(&a), digest(&a));
        }

        #[test]
        fn what_was_hashed_before_changes_no_digest(files in some_files(), pick in any::<[u16; 3]>()) {
            let snapshot = snapshot(&files);
            let mut trees = Trees::new(&snapshot);
            for bits in pick {
                let some: Vec<FileId> = all(&snapshot).into_iter().filter(|id| bits >> id & 1 == 1).collect();
                let alone = Trees::new(&snapshot).digest(&some);
                prop_assert_eq!(trees.digest(&some), alone);
                prop_assert_eq!(trees.names(&some), Trees::new(&snapshot).names(&some));
            }
        }
    }

    #[test]
    fn kind_content_and_target_of_one_file_count_and_its_name() {
        let kinds = [Kind::File, Kind::Executable, Kind::Symlink];
        let one = |path: &str, kind, content| Files::from([(path.to_owned(), (kind, content))]);
        let all: Vec<Files> = kinds
            .iter()
            .flat_map(|kind| (0..3).map(|content| one("d/a", *kind, content)))
            .chain([
                one("d/b", Kind::File, 0),
                one("a", Kind::File, 0),
                Files::new(),
            ])
            .collect();
        let unlike = |of: fn(&Files) -> Digest| all.iter().map(of).collect::<BTreeSet<_>>().len();
        assert_eq!(unlike(digest), 12);
        // Of a file or program only whether it is empty.
        assert_eq!(unlike(names), 10);
    }

    #[test]
    fn a_folder_is_not_taken_for_the_only_one_in_it() {
        let files = ["a/b/f", "a/b/g", "a/c"].map(|path| (path.to_owned(), (Kind::File, 1)));
        let snapshot = snapshot(&Files::from(files));
        let mut trees = Trees::new(&snapshot);
        trees.digest(&[0, 1, 2]);
        let alone = Trees::new(&snapshot).digest(&[0, 1]);
        assert_eq!(trees.digest(&[0, 1]), alone);
    }

    #[test]
    fn equal_folders_are_one_object() {
        let files = [("p/x/f", 1), ("q/x/f", 1), ("r/x/f", 2)];
        let files = files.map(|(path, content)| (path.to_owned(), (Kind::File, content)));
        let snapshot = snapshot(&Files::from(files));
        let (_, objects) = objects(&snapshot, &all(&snapshot));
        // The root; p = q and r; their x.
        assert_eq!(objects.len(), 5);
    }
}
