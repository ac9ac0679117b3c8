//! Facts derived from content, remembered by the digest of what they were derived from.
//!
//! Parsing a lockfile or asking `cargo metadata` is a function of what is read; [`Facts`] runs it once per distinct
//! input and remembers the answer across runs, so that a Fresh run parses nothing and starts no process.
//! Stays free of knowing what the facts mean.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::digest::{Digest, Hasher};

/// Remembered answers. Cheap to share between threads.
#[derive(Debug, Default)]
pub struct Facts {
    state: Mutex<BTreeMap<Digest, String>>,
}

impl Facts {
    /// The answer of `derive` for `input`, from memory if it was asked before.
    ///
    /// `kind` names the function and its version (`"poetry-closure/2"`); raise the version with every change of the
    /// function. `input` is the digest of everything the function reads.
    ///
    /// # Errors
    /// Those of `derive`; a failure is not remembered.
    pub fn derive<T, E>(
        &self,
        kind: &str,
        input: Digest,
        derive: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E>
    where
        T: Serialize + DeserializeOwned,
    {
        let mut hasher = Hasher::new();
        hasher.update(&[u8::try_from(kind.len()).unwrap_or(u8::MAX)]);
        hasher.update(kind.as_bytes());
        hasher.update(input.as_bytes());
        let key = hasher.finish();
        let known = self
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
            .cloned();
        if let Some(value) = known.and_then(|text| serde_json::from_str(&text).ok()) {
            return Ok(value);
        }
        let value = derive()?;
        if let Ok(text) = serde_json::to_string(&value) {
            self.state
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(key, text);
        }
        Ok(value)
    }
}
