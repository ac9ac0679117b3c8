//! Alphabets of tokens, and runs of them in a text.

use std::ops::Range;

pub(super) fn alnum(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

pub(super) fn underscored(byte: u8) -> bool {
    alnum(byte) || byte == b'_'
}

pub(super) fn dashed(byte: u8) -> bool {
    underscored(byte) || byte == b'-'
}

pub(super) fn dotted(byte: u8) -> bool {
    dashed(byte) || byte == b'.'
}

pub(super) fn dashed_padded(byte: u8) -> bool {
    dashed(byte) || byte == b'='
}

pub(super) fn dotted_padded(byte: u8) -> bool {
    dotted(byte) || byte == b'='
}

pub(super) fn base64(byte: u8) -> bool {
    alnum(byte) || byte == b'+' || byte == b'/'
}

pub(super) fn hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

pub(super) fn digit(byte: u8) -> bool {
    byte.is_ascii_digit()
}

pub(super) fn any_hex(byte: u8) -> bool {
    byte.is_ascii_hexdigit()
}

pub(super) fn padded(byte: u8) -> bool {
    base64(byte) || byte == b'='
}

pub(super) fn upper_alnum(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

pub(super) fn bech32(byte: u8) -> bool {
    upper_alnum(byte) && !matches!(byte, b'1' | b'B' | b'I' | b'O')
}

/// The longest run of the alphabet from `start` on.
pub(super) fn run(text: &[u8], start: usize, alphabet: impl Fn(u8) -> bool) -> Range<usize> {
    let rest = text.get(start..).unwrap_or_default();
    let length = rest.iter().position(|b| !alphabet(*b));
    start..start + length.unwrap_or(rest.len())
}

/// Whether no word reaches into `at` from the left. The letter of an option ends there: `curl -uTOKEN:`.
pub(super) fn starts_word(text: &[u8], at: usize) -> bool {
    match text.get(..at).unwrap_or_default() {
        [b'-', letter] | [.., b' ' | b'\t' | b'\n' | b'\'' | b'"' | b'`', b'-', letter] => {
            letter.is_ascii_alphabetic()
        }
        [.., last] => !dashed(*last),
        [] => true,
    }
}

/// At most `length` bytes from `start` on.
pub(super) fn window(text: &[u8], start: usize, length: usize) -> &[u8] {
    let end = start.saturating_add(length).min(text.len());
    text.get(start..end).unwrap_or_default()
}

/// The start of the alphabet's run that ends at `end`.
pub(super) fn run_back(text: &[u8], end: usize, alphabet: fn(u8) -> bool) -> usize {
    let before = text.get(..end).unwrap_or_default();
    before
        .iter()
        .rposition(|b| !alphabet(*b))
        .map_or(0, |i| i + 1)
}

pub(super) fn slashed(byte: u8) -> bool {
    base64(byte) || dashed_padded(byte)
}
