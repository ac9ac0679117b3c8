//! Counts how often each layer of a project was cleared. An engine with its own layer cache rebuilds a layer when it
//! gets a number it has not seen.
//!
//! Survives a full clear, because a repeated number would bring an old layer back.

use std::collections::BTreeMap;
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::fs::own;
use crate::fs::sealed::{Reader, Seal};
use crate::store::Store;

const SEAL: Seal = Seal {
    magic: *b"dc-gens\n",
    version: 1,
};

impl Store {
    /// Generation numbers by layer name; layers that were never cleared are absent.
    #[must_use]
    pub(crate) fn generations(&self, project: &str) -> BTreeMap<String, u64> {
        let read = || {
            let bytes = own::read(self.generations_of(project)).ok()?;
            let mut reader = Reader::new(SEAL.open(&bytes)?);
            let mut numbers = BTreeMap::new();
            while !reader.is_empty() {
                numbers.insert(reader.text()?.to_owned(), reader.u64()?);
            }
            Some(numbers)
        };
        read().unwrap_or_default()
    }

    /// Gives these layers numbers they never had, even if the file was lost in between.
    pub(crate) fn raise_generations<'a>(
        &self,
        project: &str,
        layers: impl Iterator<Item = &'a str>,
    ) -> io::Result<()> {
        let mut numbers = self.generations(project);
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = since.map_or(0, |since| since.as_secs());
        for layer in layers {
            let number = numbers.entry(layer.to_owned()).or_default();
            *number = now.max(*number + 1);
        }
        let mut writer = SEAL.writer();
        for (layer, number) in &numbers {
            writer.bytes(layer.as_bytes());
            writer.u64(*number);
        }
        self.write(&self.generations_of(project), &SEAL.close(writer))
    }

    fn generations_of(&self, project: &str) -> std::path::PathBuf {
        self.base.join("generations").join(project)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::clear::Target;

    #[test]
    fn a_number_never_comes_back() {
        let store = Store::temporary().expect("store");
        assert_eq!(store.generations("p"), BTreeMap::new());
        let raise = |layers: &[&str]| {
            let raised = store.raise_generations("p", layers.iter().copied());
            raised.expect("raised");
            store.generations("p")
        };
        let first = raise(&["deps:rust", "base"]);
        let second = raise(&["base"]);
        assert_eq!(second["deps:rust"], first["deps:rust"]);
        assert!(second["base"] > first["base"]);
        assert_eq!(store.generations("q"), BTreeMap::new());
        let plan = store.plan_clear(&[Target::All], &|_| false);
        store.apply_clear(&plan).expect("cleared");
        assert_eq!(store.generations("p"), second);
    }

    #[test]
    fn a_damaged_file_counts_as_none_and_is_replaced() {
        let store = Store::temporary().expect("store");
        let raised = store.raise_generations("p", ["base"].into_iter());
        raised.expect("raised");
        std::fs::write(store.generations_of("p"), b"dc-gens\n").expect("damage");
        assert_eq!(store.generations("p"), BTreeMap::new());
        let raised = store.raise_generations("p", ["base"].into_iter());
        raised.expect("raised");
        assert!(store.generations("p")["base"] > 1_000_000);
    }
}
