//! Objects of Merkle trees, by digest: what miss reasons compare. One that does not match its name does not exist.

use std::io;

use crate::digest::Digest;
use crate::key::tree::{Node, Objects, Tree, names_objects, objects};
use crate::snapshot::{FileId, Snapshot};
use crate::store::Store;

impl Store {
    /// Saves the tree of some files of a snapshot, whose digest is `root`; of what is there already, nothing.
    ///
    /// An object is written after all those it names, so where one is there, everything below it was: a tree that is
    /// known costs one look, an edit of one file those at its folders and their neighbours. What is lost below an
    /// object that is there stays lost: reasons then name the folder instead of the file.
    ///
    /// # Errors
    /// If the disk refuses.
    pub(crate) fn put_tree(
        &self,
        root: &Digest,
        snapshot: &Snapshot,
        files: &[FileId],
    ) -> io::Result<()> {
        if self.has_object(root) || !self.writable {
            return Ok(());
        }
        let (made, objects) = objects(snapshot, files);
        debug_assert_eq!(made, *root);
        self.put_object(&made, &objects)
    }

    /// As [`Store::put_tree`], of the names of the files alone.
    ///
    /// # Errors
    /// If the disk refuses.
    pub(crate) fn put_names(
        &self,
        root: &Digest,
        snapshot: &Snapshot,
        files: &[FileId],
    ) -> io::Result<()> {
        if self.has_object(root) || !self.writable {
            return Ok(());
        }
        let (made, objects) = names_objects(snapshot, files);
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

    /// The folder with that digest, if it is whole.
    #[must_use]
    pub(crate) fn tree(&self, digest: &Digest) -> Option<Tree> {
        let object = std::fs::read(self.sharded("trees", digest)).ok()?;
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
