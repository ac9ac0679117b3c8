//! Merkle tree objects by digest, for miss reasons. An object whose content does not match its name counts as absent.

use std::io;

use crate::digest::Digest;
use crate::fs::own;
use crate::key::tree::{Node, Objects, Tree, names_objects, objects};
use crate::snapshot::{FileId, Snapshot};
use crate::store::Store;

impl Store {
    /// Stores the tree of some snapshot files with digest `root`, skipping subtrees that are already stored.
    ///
    /// An object is written after everything it refers to, so a stored object implies a stored subtree: a known tree
    /// costs one look-up, and an edited file costs those along its path. If part of a subtree gets lost, miss reasons
    /// name the directory instead of the file.
    pub(crate) fn put_tree(
        &self,
        root: &Digest,
        snapshot: &Snapshot,
        files: &[FileId],
    ) -> io::Result<()> {
        self.put_objects(root, || objects(snapshot, files))
    }

    /// Like [`Store::put_tree`], for file names only.
    pub(crate) fn put_names(
        &self,
        root: &Digest,
        snapshot: &Snapshot,
        files: &[FileId],
    ) -> io::Result<()> {
        self.put_objects(root, || names_objects(snapshot, files))
    }

    fn put_objects(
        &self,
        root: &Digest,
        make: impl FnOnce() -> (Digest, Objects),
    ) -> io::Result<()> {
        if self.has_object(root) || !self.writable {
            return Ok(());
        }
        let (made, objects) = make();
        debug_assert_eq!(made, *root);
        self.put_object(&made, &objects)
    }

    fn put_object(&self, digest: &Digest, objects: &Objects) -> io::Result<()> {
        if self.has_object(digest) {
            return Ok(());
        }
        let Some(object) = objects.get(digest) else {
            return Ok(());
        };
        let items = Tree::decode(object).unwrap_or_default().items;
        for item in items.iter().filter(|item| item.node == Node::Tree) {
            self.put_object(&item.digest, objects)?;
        }
        self.write(&self.sharded("trees", digest), object)
    }

    fn has_object(&self, digest: &Digest) -> bool {
        self.sharded("trees", digest).is_file()
    }

    /// Returns the directory with this digest if it is intact.
    #[must_use]
    pub(crate) fn tree(&self, digest: &Digest) -> Option<Tree> {
        let object = own::read(self.sharded("trees", digest)).ok()?;
        (Digest::of(&object) == *digest)
            .then(|| Tree::decode(&object))
            .flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::tree::diff;

    fn saved(store: &Store, files: &[(&str, &str)]) -> Digest {
        let snapshot = Snapshot::in_memory(files);
        let ids: Vec<FileId> = (0..).take(files.len()).collect();
        let (root, _) = objects(&snapshot, &ids);
        store.put_tree(&root, &snapshot, &ids).expect("save");
        root
    }

    fn count(store: &Store) -> usize {
        crate::store::usage::files_below(&store.base().join("trees")).count()
    }

    #[test]
    fn each_folder_is_kept_once_and_two_trees_are_compared() {
        let store = Store::temporary().expect("store");
        let old = saved(&store, &[("a/x", "1"), ("b/x", "1"), ("c/x", "2")]);
        assert_eq!(count(&store), 3);
        let new = saved(&store, &[("a/x", "1"), ("b/x", "9"), ("c/x", "2")]);
        assert_eq!(count(&store), 5);
        let changes = diff(&old, &new, &mut |digest| store.tree(digest));
        let paths: Vec<&str> = changes.files.iter().map(|c| c.path.as_str()).collect();
        assert_eq!(paths, ["b/x"]);
        assert!(changes.unknown.is_empty());
    }

    #[test]
    fn an_altered_object_does_not_exist() {
        let store = Store::temporary().expect("store");
        let root = saved(&store, &[("a", "1")]);
        assert!(store.tree(&root).is_some());
        let path = store.sharded("trees", &root);
        let mut bytes = std::fs::read(&path).expect("read");
        *bytes.last_mut().expect("a name") = b'b';
        std::fs::write(&path, bytes).expect("alter");
        assert_eq!(store.tree(&root), None);
    }
}
