//! Text of any size, in windows that overlap, so that every secret is seen whole and with what stands beside it.
//!
//! Decides what is text. Does not look for secrets.

use std::io;
use std::ops::Range;

use crate::finding::position;

/// How much is new in a window.
const NEW: usize = 4 << 20;
/// How much is seen before and behind that.
const BESIDE: usize = 64 << 10;
/// How much of a file git examines to call it binary.
const SNIFFED: usize = 8 * 1024;

/// Part of a text.
pub(super) struct Window<'a> {
    pub(super) text: &'a [u8],
    /// What no other window has as its own.
    pub(super) own: Range<usize>,
    /// Line and column of its beginning in the file, from 0.
    at: (usize, usize),
}

impl Window<'_> {
    /// Line and column in the file, from 1.
    pub(super) fn position(&self, offset: usize) -> (usize, usize) {
        let (line, column) = position(self.text, offset);
        let (before, indent) = self.at;
        let indent = if line == 1 { indent } else { 0 };
        (line + before, column + indent)
    }
}

/// Receives a file piece by piece, and passes on its windows.
pub(super) struct Windows<F> {
    each: F,
    form: Option<Form>,
    text: Vec<u8>,
    /// How much of `text` is only there to be seen before what is new.
    old: usize,
    at: (usize, usize),
}

/// Only ASCII matters, and in UTF-16 it is ASCII with NULs in between.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Text,
    Utf16,
    Binary,
}

impl<F: FnMut(&Window<'_>) -> io::Result<()>> Windows<F> {
    pub(super) fn new(each: F) -> Self {
        Self {
            each,
            form: None,
            text: Vec::new(),
            old: 0,
            at: (0, 0),
        }
    }

    pub(super) fn add(&mut self, piece: &[u8]) -> io::Result<()> {
        match self.form {
            Some(Form::Binary) => {}
            Some(Form::Utf16) => self.text.extend(piece.iter().filter(|byte| **byte != 0)),
            Some(Form::Text) | None => self.text.extend_from_slice(piece),
        }
        if self.form.is_none() && self.text.len() >= SNIFFED {
            self.sniff();
        }
        while self.text.len() >= self.old + NEW + BESIDE {
            self.pass(self.old + NEW)?;
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        if self.form.is_none() {
            self.sniff();
        }
        self.pass(self.text.len())
    }

    fn sniff(&mut self) {
        let text = &mut self.text;
        let head = text.get(..SNIFFED).unwrap_or(text);
        let form = if text.starts_with(&[0xff, 0xfe]) || text.starts_with(&[0xfe, 0xff]) {
            text.retain(|byte| *byte != 0);
            Form::Utf16
        } else if head.contains(&0) {
            text.clear();
            Form::Binary
        } else {
            Form::Text
        };
        self.form = Some(form);
    }

    /// Passes on what is new up to `end`.
    fn pass(&mut self, end: usize) -> io::Result<()> {
        let window = Window {
            text: &self.text,
            own: self.old..end,
            at: self.at,
        };
        let gone = end.saturating_sub(BESIDE);
        let (line, column) = window.position(gone);
        (self.each)(&window)?;
        self.at = (line - 1, column - 1);
        self.text.drain(..gone);
        self.old = end - gone;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_a_text_once_and_know_where_they_are() {
        let line = "é".repeat(50) + "\n";
        let text = line.repeat(3 * NEW / line.len());
        let (mut all, mut count) = (Vec::new(), 0);
        let mut windows = Windows::new(|window| {
            all.extend_from_slice(&window.text[window.own.clone()]);
            let at = window.own.start;
            let here = all.len() - window.own.len();
            assert_eq!(window.position(at), position(text.as_bytes(), here));
            count += 1;
            Ok(())
        });
        for piece in text.as_bytes().chunks(100_000) {
            windows.add(piece).unwrap();
        }
        windows.finish().unwrap();
        assert!(all == text.as_bytes() && count == 3, "{count}");
    }
}
