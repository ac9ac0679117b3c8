//! What a stored file refers to: the blobs, trees and layers that must stay with it.
//!
//! References are found in the text: every run of 64 hexadecimal digits that names something in the store. This works
//! for every format that writes digests as hex, and may keep too much but never too little. The binary formats (packs
//! of parts, trees, read sets) list their references themselves.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::fs::own;
use crate::key::tree::{Node, Tree};
use crate::store::Store;

/// Larger blobs are outputs of checks, which refer to nothing.
const MAX_TEXT: u64 = 16 << 20;

impl Store {
    /// Adds the paths that `bytes` refers to, recursively.
    pub(super) fn reach(&self, bytes: &[u8], reached: &mut BTreeSet<PathBuf>) {
        for digest in digests(bytes) {
            self.reach_digest(&digest, reached);
        }
    }

    /// Adds the object with this digest and what it refers to.
    pub(super) fn reach_digest(&self, digest: &Digest, reached: &mut BTreeSet<PathBuf>) {
        for kind in ["cas", "trees"] {
            let path = self.sharded(kind, digest);
            let Some(size) = size_of_file(&path) else {
                continue;
            };
            if reached.insert(path.clone())
                && size <= MAX_TEXT
                && let Ok(bytes) = own::read(&path)
            {
                match Tree::decode(&bytes) {
                    Some(tree) => self.reach_tree(&tree, reached),
                    None => self.reach(&bytes, reached),
                }
            }
        }
        let layer = self.base.join("layers").join(digest.to_string());
        if layer.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            reached.insert(layer);
        }
    }
}

impl Store {
    fn reach_tree(&self, tree: &Tree, reached: &mut BTreeSet<PathBuf>) {
        let folders = tree.items.iter().filter(|item| item.node == Node::Tree);
        for folder in folders {
            self.reach_digest(&folder.digest, reached);
        }
    }
}

fn size_of_file(path: &Path) -> Option<u64> {
    let meta = path.symlink_metadata().ok()?;
    meta.is_file().then_some(meta.len())
}

/// All digests in a text, at every offset where one could start.
fn digests(bytes: &[u8]) -> impl Iterator<Item = Digest> + '_ {
    let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let runs = bytes.split(move |byte| !is_hex(byte));
    runs.flat_map(|run| run.windows(2 * Digest::LEN))
        .filter_map(|window| std::str::from_utf8(window).ok()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_found_wherever_they_stand() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let text = format!("{{\"x\":\"{a}\"}}f{b}\0tail");
        let found: Vec<_> = digests(text.as_bytes()).collect();
        assert!(found.contains(&a) && found.contains(&b), "{found:?}");
        assert_eq!(digests(&text.as_bytes()[..40]).count(), 0);
    }

    #[test]
    fn what_is_named_is_reached_through_what_names_it() {
        let store = Store::temporary().expect("store");
        let leaf = store.put_blob(b"leaf").expect("blob");
        let branch = store.put_blob(leaf.to_string().as_bytes()).expect("blob");
        let absent = Digest::of(b"absent");
        let mut reached = BTreeSet::new();
        store.reach(format!("{branch} {absent}").as_bytes(), &mut reached);
        assert_eq!(reached.len(), 2);
    }
}
