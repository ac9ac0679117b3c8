//! Other places than the store that may know a result.
//!
//! A source only fills the store: what it brings is read, checked and aged like everything else there.

use crate::digest::Digest;
use crate::run::Session;
use crate::store::Store;
use crate::store::entry::Lookup;

/// Knows results that the store does not.
pub(crate) trait Source {
    /// Brings what it knows under the key into the store, the entry last. A failure is as if it knew nothing.
    fn fetch(&self, key: &Digest, store: &Store);
}

/// The sources that are asked, in this order.
pub(crate) type Sources = Vec<Box<dyn Source + Send + Sync>>;

/// The result under a key: the store's own, else that of the first source that has one.
pub(super) fn lookup(session: &Session<'_>, key: &Digest) -> Lookup {
    let mut found = session.store.lookup(key);
    for source in session.sources {
        if !matches!(found, Lookup::Absent) {
            break;
        }
        source.fetch(key, session.store);
        found = session.store.lookup(key);
    }
    found
}
