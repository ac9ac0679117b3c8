//! One lock per action key: of two processes that miss the same key, one runs the check and the other reuses the
//! result.

use std::fs::{File, TryLockError};
use std::io;
use std::path::PathBuf;

use crate::digest::Digest;
use crate::fs::own;
use crate::rule::Rule;
use crate::store::Store;

/// Held while a check runs. Released on drop, or by the kernel when the process dies.
#[derive(Debug)]
pub(crate) struct KeyLock {
    file: Option<File>,
    path: PathBuf,
}

impl Store {
    /// Locks a key, waiting for the process that runs it now.
    pub(crate) fn lock_key(&self, key: &Digest) -> io::Result<KeyLock> {
        let path = self.base.join("locks").join(key.to_string());
        if !self.writable || !Rule::KeyLock.holds() {
            return Ok(KeyLock { file: None, path });
        }
        loop {
            let file = own::open(&path)?;
            file.lock()?;
            // The holder removes the file when done, and a lock on a removed file guards nothing.
            if same_file(&file, &path) {
                return Ok(KeyLock {
                    file: Some(file),
                    path,
                });
            }
        }
    }
}

/// Locks the whole store. Calls `waiting` first if another process holds it.
pub(super) fn take(file: &File, exclusive: bool, waiting: &dyn Fn()) -> io::Result<()> {
    let tried = if exclusive {
        file.try_lock()
    } else {
        file.try_lock_shared()
    };
    match tried {
        Ok(()) => Ok(()),
        Err(TryLockError::Error(error)) => Err(error),
        Err(TryLockError::WouldBlock) => {
            waiting();
            if exclusive {
                file.lock()
            } else {
                file.lock_shared()
            }
        }
    }
}

fn same_file(file: &File, path: &std::path::Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(held), Ok(named)) => held.dev() == named.dev() && held.ino() == named.ino(),
        _ => false,
    }
}

impl Drop for KeyLock {
    fn drop(&mut self) {
        if self.file.is_some() {
            // Still locked, so nobody else can hold this file. A leftover file is harmless.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_waits_for_the_first() {
        let store = Store::temporary().expect("store");
        let key = Digest::of(b"k");
        let first = store.lock_key(&key).expect("lock");
        std::thread::scope(|scope| {
            let (started, start) = std::sync::mpsc::channel();
            let store = &store;
            let second = scope.spawn(move || {
                started.send(()).expect("receiver lives");
                store.lock_key(&key).expect("lock")
            });
            start.recv().expect("thread started");
            assert!(store.base.join("locks").join(key.to_string()).exists());
            drop(first);
            let second = second.join().expect("thread");
            assert!(same_file(second.file.as_ref().expect("held"), &second.path));
        });
    }
}
