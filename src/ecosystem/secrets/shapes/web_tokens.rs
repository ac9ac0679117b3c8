//! JSON web tokens, plain and in base64. Whoever has one can read it, and use it until it expires.

use std::ops::Range;

use base64::Engine as _;

use super::private_keys::LENIENT;
use crate::ecosystem::secrets::alphabets::{base64, dashed, run, starts_word};
use crate::ecosystem::secrets::chance::plausible;

/// `ey…`, `ey…`, and a signature: three parts with dots in between.
pub(crate) fn jwt(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    /// Shorter ones hold nothing.
    const PART: usize = 11;
    const SIGNATURE: usize = 10;
    let of_it = |byte: u8| dashed(byte) || byte == b'/';
    let header = run(text, literal.start, of_it);
    if header.len() < PART || !starts_word(text, literal.start) {
        return None;
    }
    let claims = run(text, header.end + 1, of_it);
    let signature = run(text, claims.end + 1, of_it);
    let dots = [header.end, claims.end].map(|at| text.get(at) == Some(&b'.'));
    let right = dots == [true, true] && claims.len() >= PART && signature.len() >= SIGNATURE;
    let claims = text.get(claims)?;
    (right && claims.starts_with(b"ey") && plausible(claims)).then_some(header.start..signature.end)
}

pub(crate) fn encoded_jwt(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    if !starts_word(text, literal.start) {
        return None;
    }
    let digits = run(text, literal.start, base64);
    let whole = &text[digits.start..digits.start + digits.len() / 4 * 4];
    let token = LENIENT.decode(whole).ok()?;
    jwt(&token, 0..2)?;
    Some(digits)
}
