//! Sealed files: a header of magic, version, checksum and length, then a payload of little-endian values.
//!
//! ```text
//! magic [u8; 8] · version u32 · length of the payload u64 · XXH3-64 of the payload u64 · payload
//! ```
//! A file that is absent, truncated, altered, of another version or of another kind opens as `None`, as if it had
//! never been written. The checksum detects damage, not malice; whoever can write here can also replace the program.

use std::path::Path;

use twox_hash::XxHash3_64;

use crate::digest::Digest;
use crate::fs::{self, FsError};
use crate::rule::Rule;

const HEADER: usize = 28;

/// The kind of a sealed file and the version of its payload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seal {
    /// Identifies the kind of file.
    pub(crate) magic: [u8; 8],
    /// Raised with every change of the payload.
    pub(crate) version: u32,
}

impl Seal {
    /// Returns a writer with room for the header.
    #[must_use]
    pub(crate) fn writer(&self) -> Writer {
        Writer(vec![0; HEADER])
    }

    /// Fills in the header.
    #[must_use]
    pub(crate) fn close(&self, writer: Writer) -> Vec<u8> {
        let mut bytes = writer.0;
        if let Some((header, payload)) = bytes.split_at_mut_checked(HEADER) {
            header.copy_from_slice(&self.header(payload));
        }
        bytes
    }

    fn header(&self, payload: &[u8]) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        header[..8].copy_from_slice(&self.magic);
        header[8..12].copy_from_slice(&self.version.to_le_bytes());
        header[12..20].copy_from_slice(&(payload.len() as u64).to_le_bytes());
        header[20..].copy_from_slice(&XxHash3_64::oneshot(payload).to_le_bytes());
        header
    }

    /// Returns the payload if the seal is intact.
    #[must_use]
    pub(crate) fn open<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let (header, payload) = bytes.split_at_checked(HEADER)?;
        // Checked before hashing the payload, because a foreign file may be large.
        let length = u64::from_le_bytes(header.get(12..20)?.try_into().ok()?);
        (header.starts_with(&self.magic)
            && length == payload.len() as u64
            && (header == self.header(payload) || !Rule::SealVerified.holds()))
        .then_some(payload)
    }

    /// Writes a sealed file atomically.
    pub(crate) fn save(&self, path: &Path, writer: Writer) -> Result<(), FsError> {
        fs::write_atomic(path, &self.close(writer))
    }
}

/// Whether bytes are a sealed file of any kind and version.
#[must_use]
pub(crate) fn is_whole(bytes: &[u8]) -> bool {
    let (Some(magic), Some(version)) = (bytes.first_chunk(), bytes.get(8..12)) else {
        return false;
    };
    let seal = Seal {
        magic: *magic,
        version: version.try_into().map_or(0, u32::from_le_bytes),
    };
    seal.open(bytes).is_some()
}

#[derive(Debug, Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Writes bytes without their length, which the reader must know.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Writes length-prefixed bytes. A length over 4 GiB is truncated and then fails to read: a miss.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.raw(bytes);
    }
}

/// Reads little-endian values; `None` at the end or for invalid values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    #[must_use]
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn raw(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| *byte)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().copied().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().copied().map(u64::from_le_bytes)
    }

    /// Length-prefixed bytes.
    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()?;
        self.raw(usize::try_from(length).ok()?)
    }

    /// Length-prefixed text.
    pub(crate) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    pub(crate) fn digest(&mut self) -> Option<Digest> {
        self.array().copied().map(Digest::from_bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SEAL: Seal = Seal {
        magic: *b"dc-test\n",
        version: 3,
    };

    fn sealed(payload: &[u8]) -> Vec<u8> {
        let mut writer = SEAL.writer();
        writer.raw(payload);
        SEAL.close(writer)
    }

    #[test]
    fn opens_what_was_sealed_and_no_other_version() {
        let bytes = sealed(b"payload");
        assert_eq!(SEAL.open(&bytes), Some(&b"payload"[..]));
        let newer = Seal { version: 4, ..SEAL };
        assert_eq!(newer.open(&bytes), None);
        assert!(is_whole(&bytes) && !is_whole(&bytes[..bytes.len() - 1]) && !is_whole(b""));
    }

    #[test]
    fn values_round_trip() {
        let mut writer = Writer::default();
        writer.u8(7);
        writer.u32(u32::MAX);
        writer.u64(1 << 40);
        writer.bytes("text".as_bytes());
        let mut reader = Reader::new(&writer.0);
        assert_eq!(reader.u8(), Some(7));
        assert_eq!(reader.u32(), Some(u32::MAX));
        assert_eq!(reader.u64(), Some(1 << 40));
        assert_eq!(reader.text(), Some("text"));
        assert!(reader.is_empty() && reader.u8().is_none());
    }

    proptest! {
        #[test]
        fn a_changed_byte_or_length_breaks_the_seal(
            payload in prop::collection::vec(any::<u8>(), 0..64),
            at in any::<prop::sample::Index>(),
            flip in 1..=u8::MAX,
        ) {
            let bytes = sealed(&payload);
            let at = at.index(bytes.len());
            prop_assert_eq!(SEAL.open(&bytes[..at]), None);
            let mut altered = bytes;
            altered[at] ^= flip;
            prop_assert_eq!(SEAL.open(&altered), None);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            prop_assert_eq!(SEAL.open(&bytes), None);
            let mut reader = Reader::new(&bytes);
            while reader.bytes().is_some() {}
        }
    }
}
