//! Keys of checks whose reads are detected.
//!
//! ```text
//! weak key   = everything except the content of the shared files; includes their names
//! strong key = the weak key's parts and the content of the files a run read
//! ```
//! A result is stored under the strong key of the files its run read, and this set of paths under the weak key. A
//! later run with the same weak key computes the strong key of each known set from the current content. If it is
//! equal, the run would see the same names, read the same content, and thus behave the same.
//!
//! Since all names are included, look-ups, listings and missing files need no tracing: adding, removing or renaming a
//! file, making it executable, or making it empty or non-empty changes the weak key. Not covered for an unread file:
//! its size and its times, which are those of a copy anyway.
//!
//! Pure, like all of `key`.

use crate::digest::Digest;
use crate::key::CheckKey;
use crate::key::fingerprint::{Fingerprint, Part, PartKind};
use crate::key::tree::Trees;
use crate::snapshot::FileId;

/// A check's key without the content of its shared files.
#[derive(Debug, Clone)]
pub(crate) struct Weak {
    /// The key that read sets are stored under.
    pub(crate) key: Digest,
    print: Fingerprint,
    products: Digest,
}

impl Weak {
    /// The weak key of a check with this whole key and these shared files.
    #[must_use]
    pub(crate) fn of(key: &CheckKey, trees: &mut Trees<'_>, shared: &[FileId]) -> Self {
        let mut print = key.fingerprint.clone();
        for part in &mut print.parts {
            if part.kind == PartKind::Inputs {
                *part = Part {
                    kind: PartKind::Names,
                    name: String::new(),
                    value: Some(trees.names(shared).to_string()),
                    detail: Vec::new(),
                };
            }
        }
        Self {
            key: print.digest("weak", |_| true),
            print,
            products: key.products,
        }
    }

    /// The key of a run that read these files, in snapshot order.
    #[must_use]
    pub(crate) fn strong(&self, trees: &mut Trees<'_>, read: &[FileId]) -> CheckKey {
        let tree = trees.digest(read);
        CheckKey::narrowed(&self.print, PartKind::Reads, tree, self.products)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Snapshot;

    fn weak(files: &[(&str, &str)]) -> (Weak, Snapshot) {
        let mut print = Fingerprint::default();
        print.push(PartKind::Command, "", Some("c".into()));
        print.push(PartKind::Inputs, "", Some(format!("{files:?}")));
        let key = CheckKey {
            whole: Digest::of(b"w"),
            common: Digest::of(b"c"),
            products: Digest::of(b"p"),
            fingerprint: print,
        };
        let snapshot = Snapshot::in_memory(files);
        let all: Vec<FileId> = (0..).take(files.len()).collect();
        (Weak::of(&key, &mut Trees::new(&snapshot), &all), snapshot)
    }

    #[test]
    fn only_names_are_in_the_weak_key() {
        let base = weak(&[("a", "1"), ("b", "2")]).0.key;
        assert_eq!(base, weak(&[("a", "one"), ("b", "two")]).0.key);
        assert_ne!(base, weak(&[("a", "1"), ("c", "2")]).0.key);
        assert_ne!(base, weak(&[("a", "1"), ("b", "")]).0.key);
        assert_ne!(base, weak(&[("a", "1")]).0.key);
    }

    #[test]
    fn only_what_was_read_is_in_the_strong_key() {
        let strong = |files: &[(&str, &str)], read: &[FileId]| {
            let (weak, snapshot) = weak(files);
            weak.strong(&mut Trees::new(&snapshot), read).whole
        };
        let base = strong(&[("a", "1"), ("b", "2")], &[0]);
        assert_eq!(base, strong(&[("a", "1"), ("b", "3")], &[0]));
        assert_ne!(base, strong(&[("a", "9"), ("b", "2")], &[0]));
        assert_ne!(base, strong(&[("a", "1"), ("b", "2")], &[0, 1]));
        assert_ne!(base, strong(&[("a", "1"), ("b", "2")], &[]));
        let (weak, snapshot) = weak(&[("a", "1")]);
        let key = weak.strong(&mut Trees::new(&snapshot), &[0]);
        assert_eq!((key.common, key.products), (key.whole, Digest::of(b"p")));
        assert_ne!(weak.key, Digest::of(b"w"));
    }
}
