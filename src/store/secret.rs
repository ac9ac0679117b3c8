//! The key that seals secrets if there is no team key. Created once per store and readable only by its owner.

use std::fs::File;
use std::io::{self, Read as _, Write as _};

use crate::fs::own;
use crate::store::Store;

const LENGTH: usize = 32;

impl Store {
    /// Returns the store's key, or a key for this run only if it cannot be saved.
    pub(crate) fn secret_key(&self) -> io::Result<Vec<u8>> {
        let path = self.base.join("secret-key");
        if let Ok(key) = own::read(&path) {
            if key.len() == LENGTH {
                return Ok(key);
            }
            if self.writable {
                let _ = std::fs::remove_file(&path);
            }
        }
        let mut key = vec![0; LENGTH];
        File::open("/dev/urandom")?.read_exact(&mut key)?;
        if self.writable {
            let made = tempfile::NamedTempFile::new_in(&self.base).and_then(|mut file| {
                file.write_all(&key)?;
                // The first of two processes wins.
                file.persist_noclobber(&path)?;
                Ok(())
            });
            if made.is_err()
                && let Ok(other) = own::read(&path)
                && other.len() == LENGTH
            {
                return Ok(other);
            }
        }
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_stays_is_nobody_elses_and_is_made_anew_if_damaged() {
        let store = Store::temporary().expect("store");
        let key = store.secret_key().expect("key");
        assert_eq!(store.secret_key().expect("key"), key);
        let path = store.base.join("secret-key");
        let mode = std::fs::metadata(&path).expect("file").permissions().mode();
        assert_eq!(mode & 0o077, 0);
        std::fs::write(&path, b"short").expect("damage");
        let other = store.secret_key().expect("key");
        assert_ne!(other, key);
        assert_eq!(store.secret_key().expect("key"), other);
    }
}
