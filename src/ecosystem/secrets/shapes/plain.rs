//! A literal and letters of an alphabet: with a boundary on both sides, and a body that is no placeholder.

use std::ops::Range;

use crate::ecosystem::secrets::alphabets::{run, starts_word};
use crate::ecosystem::secrets::chance::plausible;

pub(crate) fn token(
    text: &[u8],
    literal: Range<usize>,
    alphabet: fn(u8) -> bool,
    length: &Range<usize>,
) -> Option<Range<usize>> {
    if !starts_word(text, literal.start) {
        return None;
    }
    let body = run(text, literal.end, alphabet);
    let right = length.contains(&body.len()) && plausible(&text[body.clone()]);
    right.then_some(literal.start..body.end)
}

pub(crate) fn parts(
    text: &[u8],
    literal: Range<usize>,
    alphabet: fn(u8) -> bool,
    separator: u8,
    lengths: &[usize],
) -> Option<Range<usize>> {
    if !starts_word(text, literal.start) {
        return None;
    }
    let mut end = literal.end;
    for (at, length) in lengths.iter().enumerate() {
        if at > 0 {
            end += usize::from(text.get(end) == Some(&separator));
        }
        let part = run(text, end, |b| alphabet(b) && b != separator);
        if part.len() != *length {
            return None;
        }
        end = part.end;
    }
    plausible(&text[literal.end..end]).then_some(literal.start..end)
}
