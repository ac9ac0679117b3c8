//! Keys whose cached results an audit found to be wrong. Nothing is stored under them again; once the missing inputs
//! are declared, the check has another key.

use std::io;

use crate::digest::Digest;
use crate::store::Store;

impl Store {
    pub(crate) fn distrust(&self, key: &Digest) -> io::Result<()> {
        self.write(&self.sharded("distrusted", key), b"")
    }

    /// Whether nothing may be stored under this key. Not consulted on a hit.
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
