//! Keys whose results turned out wrong: an audit found that something else decides over them. Nothing is stored under
//! them any more; when what was undeclared is declared, the key is another one.

use std::io;

use crate::digest::Digest;
use crate::store::Store;

impl Store {
    /// Stores nothing under this key any more.
    ///
    /// # Errors
    /// If the disk refuses.
    pub(crate) fn distrust(&self, key: &Digest) -> io::Result<()> {
        self.write(&self.sharded("distrusted", key), b"")
    }

    /// Whether nothing is stored under this key. Not asked on a hit.
    #[must_use]
    pub(crate) fn distrusts(&self, key: &Digest) -> bool {
        std::fs::symlink_metadata(self.sharded("distrusted", key)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_named_is_distrusted() {
        let store = Store::temporary().expect("store");
        store.distrust(&Digest::of(b"a")).expect("saved");
        assert!(store.distrusts(&Digest::of(b"a")));
        assert!(!store.distrusts(&Digest::of(b"b")));
    }
}
