//! Private keys: PEM, its base64, PuTTY's files, and those of age.

use std::ops::Range;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use crate::ecosystem::secrets::alphabets::{base64, bech32, run, starts_word, window};
use crate::ecosystem::secrets::chance::{different, names_placeholder};

const MANY: usize = 4096;

/// Base64 that may have been cut off.
pub(crate) const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// `-----BEGIN … PRIVATE KEY…-----` with a body, on lines of its own or in a string with escaped line breaks.
pub(crate) fn pem(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let label = window(text, literal.end, 40);
    let length = label.windows(5).position(|w| w == b"-----")?;
    let label = &label[..length];
    let secret = label.ends_with(b"PRIVATE KEY") || label == b"PGP PRIVATE KEY BLOCK";
    let body = literal.end + length + 5;
    (secret && key_body(window(text, body, MANY))).then(|| literal.start..pem_end(text, body))
}

/// The base64 of a private key's file, as a Kubernetes secret or a kubeconfig holds it, on one line or wrapped.
pub(crate) fn encoded_pem(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let near = window(text, literal.start, MANY);
    let of_it = |byte: &&u8| base64(**byte) || byte.is_ascii_whitespace();
    let digits = near.iter().take_while(of_it);
    let mut digits: Vec<u8> = digits.filter(|b| base64(**b)).copied().collect();
    digits.truncate(digits.len() / 4 * 4);
    let file = LENIENT.decode(digits).ok()?;
    pem(&file, 0.."-----BEGIN ".len())?;
    Some(run(text, literal.start, base64))
}

/// The end of the first line of the body: enough to tell two keys apart, and the same whatever follows the key.
fn pem_end(text: &[u8], body: usize) -> usize {
    let start = (body..text.len()).find(|at| run(text, *at, base64).len() >= 16);
    start.map_or(body, |at| run(text, at, base64).end)
}

/// Whether the base64 of a private key follows, in pieces of 16 or more, before the block ends. Shorter pieces are
/// header words or the rest of an elided key. What the letters spell does not matter: a key of 4096 bits holds any
/// word of four letters once in some 150 times, and runs of `A` where numbers are small.
fn key_body(text: &[u8]) -> bool {
    /// The shortest key there is: EdDSA without its public half.
    const SHORTEST: usize = 44;
    let end = text.windows(5).position(|w| w == b"-----");
    let text = &text[..end.unwrap_or(text.len())];
    let is_piece = |piece: &&[u8]| piece.len() >= 16;
    let pieces: Vec<u8> = text
        .split(|b| !base64(*b))
        .filter(is_piece)
        .flatten()
        .copied()
        .collect();
    let elided = text.windows(3).any(|w| w == b"...");
    !elided && pieces.len() >= SHORTEST && different(&pieces) >= 16
}

pub(crate) fn putty(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let file = window(text, literal.start, 2 * MANY);
    let lines = b"Private-Lines:";
    let at = file.windows(lines.len()).position(|w| w == lines)?;
    let body = literal.start + at + lines.len();
    key_body(window(text, body, MANY)).then(|| literal.start..pem_end(text, body))
}

/// The prefix is plain enough: what follows need not look like chance.
pub(crate) fn age(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let body = run(text, literal.end, bech32);
    let right = body.len() == 58 && starts_word(text, literal.start);
    (right && !names_placeholder(&text[body.clone()])).then_some(literal.start..body.end)
}
