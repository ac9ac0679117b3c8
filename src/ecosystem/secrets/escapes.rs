//! Text with its escapes resolved: `%3D`, `\u003d` and `\n` stand beside a secret as often as the character they mean.
//!
//! Owns the way back from a place in the resolved text to the file. Pure.

use std::borrow::Cow;
use std::ops::Range;

/// A text without escapes.
pub(super) struct Resolved<'t> {
    pub(crate) text: Cow<'t, [u8]>,
    /// For each escape the place behind it, here and in the file.
    after: Vec<(usize, usize)>,
}

impl<'t> Resolved<'t> {
    pub(crate) fn new(raw: &'t [u8]) -> Self {
        let mut text = Vec::new();
        let mut after = Vec::new();
        let mut copied = 0;
        let mut at = 0;
        while let Some(step) = raw[at..].iter().position(|b| matches!(b, b'%' | b'\\')) {
            at += step;
            let Some((byte, length)) = escape(&raw[at..]) else {
                at += 1;
                continue;
            };
            text.extend_from_slice(&raw[copied..at]);
            text.push(byte);
            at += length;
            copied = at;
            after.push((text.len(), at));
        }
        if after.is_empty() {
            return Self {
                text: Cow::Borrowed(raw),
                after,
            };
        }
        text.extend_from_slice(&raw[copied..]);
        Self {
            text: Cow::Owned(text),
            after,
        }
    }

    /// The range of the file that a range of the text stands for.
    pub(crate) fn in_file(&self, range: &Range<usize>) -> Range<usize> {
        let start = self.place(range.start);
        start..self.place(range.end).max(start)
    }

    fn place(&self, at: usize) -> usize {
        let next = self.after.partition_point(|(here, _)| *here <= at);
        match next.checked_sub(1).and_then(|last| self.after.get(last)) {
            Some((here, there)) => there + (at - here),
            None => at,
        }
    }
}

/// The character that the escape at the start of `text` means, and the length of the escape. What is not ASCII is
/// some byte that belongs to no word.
fn escape(text: &[u8]) -> Option<(u8, usize)> {
    let coded = |start: usize, digits: usize| {
        let digits = text.get(start..start + digits)?;
        let value = u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        let plain = digits.iter().all(u8::is_ascii_hexdigit);
        plain.then(|| u8::try_from(value).unwrap_or(u8::MAX))
    };
    let one = |byte| Some((byte, 2));
    match text {
        // What was escaped twice: `%253D`.
        [b'%', b'2', b'5', rest @ ..] if rest.len() >= 2 && coded(3, 2).is_some() => {
            Some((coded(3, 2)?, 5))
        }
        [b'%', ..] => Some((coded(1, 2)?, 3)),
        [b'\\', b'x', ..] => Some((coded(2, 2)?, 4)),
        [b'\\', b'u', b'{', rest @ ..] => {
            let digits = rest.iter().take(6).position(|b| *b == b'}')?;
            Some((coded(3, digits)?, digits + 4))
        }
        [b'\\', b'u', ..] => Some((coded(2, 4)?, 6)),
        [b'\\', b'U', ..] => Some((coded(2, 8)?, 10)),
        [b'\\', b'n', ..] => one(b'\n'),
        [b'\\', b'r', ..] => one(b'\r'),
        [b'\\', b't', ..] => one(b'\t'),
        [b'\\', b'/', ..] => one(b'/'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_become_what_they_mean() {
        for (raw, text) in [
            ("a%3Db", "a=b"),
            ("a%253db", "a=b"),
            (r"a\u003db", "a=b"),
            (r"a\u{3d}b", "a=b"),
            (r"a\U0000003db", "a=b"),
            (r"a\x3db", "a=b"),
            (r"a\\nb\/c\r", "a\\\nb/c\r"),
            (
                r"100%, %zz, \q, \u12, %+1, %",
                r"100%, %zz, \q, \u12, %+1, %",
            ),
        ] {
            let resolved = Resolved::new(raw.as_bytes());
            assert_eq!(String::from_utf8_lossy(&resolved.text), text, "{raw}");
        }
    }

    #[test]
    fn a_place_leads_back_to_the_file() {
        let raw = r"x\u003dabc\ndef";
        let resolved = Resolved::new(raw.as_bytes());
        let part = |range| &raw[resolved.in_file(&range)];
        assert_eq!(part(2..5), "abc");
        assert_eq!(part(2..9), r"abc\ndef");
        assert_eq!(part(6..9), "def");
    }

    proptest::proptest! {
        #[test]
        fn every_place_is_in_the_file(raw: Vec<u8>, like in r"(%25|%3D|\\u00|\\\{|\\x|\\n|3d|a){0,12}", at in 0..40_usize) {
            for raw in [raw, like.into_bytes()] {
                let resolved = Resolved::new(&raw);
                let end = at.min(resolved.text.len());
                let range = resolved.in_file(&(end / 2..end));
                proptest::prop_assert!(range.start <= range.end && range.end <= raw.len());
            }
        }
    }
}
