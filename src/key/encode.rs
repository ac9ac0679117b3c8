//! Canonical bytes: every value is tagged by its position, length-prefixed, and in a fixed order, so that different
//! sequences of values never encode to the same bytes.

use crate::digest::{Digest, Hasher};
use crate::key::KEY_VERSION;

/// Hashes a sequence of values canonically. Lengths are 64-bit little-endian byte counts.
#[derive(Clone)]
pub(crate) struct Encoder(Hasher);

impl Encoder {
    /// Starts an encoding for `domain` (`check`, `layer`, `part`) under [`KEY_VERSION`].
    #[must_use]
    pub(crate) fn new(domain: &str) -> Self {
        let mut encoder = Self(Hasher::new());
        encoder
            .bytes(b"dagcache")
            .number(u64::from(KEY_VERSION))
            .str(domain);
        encoder
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.part(bytes);
        self
    }

    pub(crate) fn str(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    /// Appends a number, such as the length of the following list.
    pub(crate) fn number(&mut self, number: u64) -> &mut Self {
        self.0.update(&number.to_le_bytes());
        self
    }

    /// Appends a digest, which needs no length prefix.
    pub(crate) fn digest(&mut self, digest: &Digest) -> &mut Self {
        self.0.update(digest.as_bytes());
        self
    }

    /// The digest of everything appended.
    #[must_use]
    pub(crate) fn finish(self) -> Digest {
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[Vec<u8>]) -> Digest {
        let mut encoder = Encoder::new("test");
        for value in values {
            encoder.bytes(value);
        }
        encoder.finish()
    }

    proptest! {
        #[test]
        fn different_sequences_never_share_bytes(
            a in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4), 0..4),
            b in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4), 0..4),
        ) {
            prop_assert_eq!(a == b, of(&a) == of(&b));
        }
    }

    #[test]
    fn moving_a_byte_between_neighbours_changes_the_digest() {
        assert_ne!(
            of(&[b"ab".to_vec(), b"c".to_vec()]),
            of(&[b"a".to_vec(), b"bc".to_vec()])
        );
        assert_ne!(of(&[]), of(&[Vec::new()]));
    }
}
