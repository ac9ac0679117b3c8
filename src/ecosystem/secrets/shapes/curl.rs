//! Credentials of a `curl` command: of a user, and in the header of a request.

use std::ops::Range;

use crate::ecosystem::secrets::alphabets::{dashed, run, starts_word, window};
use crate::ecosystem::secrets::chance::{changes, mixed, plausible};

/// How far behind the command an option is looked for.
const REACH: usize = 400;
const LINES: usize = 6;

pub(crate) fn credentials(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    if !starts_word(text, literal.start) || text.get(literal.end).is_some_and(|b| dashed(*b)) {
        return None;
    }
    let near = window(text, literal.end, REACH);
    let lines = near.iter().enumerate().filter(|(_, b)| **b == b'\n');
    let end = literal.end + lines.map(|(at, _)| at).nth(LINES - 1).unwrap_or(near.len());
    let spaces = (literal.end..end).filter(|at| text[*at].is_ascii_whitespace());
    spaces.map(|at| at + 1).find_map(|at| {
        let range = user(text, at).or_else(|| header(text, at))?;
        (range.start < end).then_some(range)
    })
}

/// Where the value of one of the options begins, if one stands here.
fn option(text: &[u8], at: usize, names: [&str; 2]) -> Option<usize> {
    let here = text.get(at..)?;
    let name = names
        .iter()
        .find(|name| here.starts_with(name.as_bytes()))?;
    let gap = run(text, at + name.len(), |b| {
        matches!(b, b' ' | b'\t' | b'=' | b'\'' | b'"')
    });
    let next = text.get(gap.end)?;
    // `-url` is no `-u` with a value, but `-uname:password` is.
    (!gap.is_empty() || name.len() == 2 && next.is_ascii_alphanumeric()).then_some(gap.end)
}

/// `-u name:password`. A token can stand on either side.
fn user(text: &[u8], at: usize) -> Option<Range<usize>> {
    let start = option(text, at, ["--user", "-u"])?;
    let name = run(text, start, |b| in_word(b) && b != b':');
    let colon = run(text, name.end, |b| matches!(b, b':' | b'\'' | b'"'));
    let password = run(text, colon.end, in_word);
    let pair = text.get(colon)?.contains(&b':');
    let is_secret = |range: &Range<usize>| text.get(range.clone()).is_some_and(is_secret);
    let either = [password, name].into_iter().find(is_secret)?;
    pair.then_some(either)
}

/// `-H 'Authorization: Basic …'`, `-H 'X-Api-Key: …'`.
fn header(text: &[u8], at: usize) -> Option<Range<usize>> {
    let start = option(text, at, ["--header", "-H"])?;
    let name = run(text, start, dashed);
    let colon = run(text, name.end, |b| matches!(b, b':' | b' '));
    let name = text.get(name)?.to_ascii_lowercase();
    let known = name == b"authorization" || name.ends_with(b"key") || name.ends_with(b"token");
    if !known || !text.get(colon.clone())?.contains(&b':') {
        return None;
    }
    let first = run(text, colon.end, in_word);
    let space = run(text, first.end, |b| b == b' ');
    let second = run(text, space.end, in_word);
    let scheme = !space.is_empty() && !second.is_empty();
    let value = if scheme { second } else { first };
    is_secret(text.get(value.clone())?).then_some(value)
}

fn in_word(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'\'' | b'"' | b'`' | b'\\')
}

/// Whether this was handed out or well chosen, and is no variable, template or example.
fn is_secret(word: &[u8]) -> bool {
    let opening = word.first().is_some_and(|b| b"$<[%*".contains(b))
        || word.starts_with(b"{{")
        || word.contains(&b'(');
    let marks = word.iter().filter(|b| b.is_ascii_punctuation()).count();
    let alternates = changes(word) + marks >= 3 || mixed(word);
    let holds_digit = word.iter().any(u8::is_ascii_digit) || mixed(word);
    word.len() >= 8 && !opening && alternates && holds_digit && plausible(word)
}
