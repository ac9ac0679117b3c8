//! Text from elsewhere made fit for a terminal: control characters are shown as escapes (`\n`, `\x1b`, `\u{202e}`), so
//! that a file name or a tool's output moves no cursor, sets no title, hides no line and reverses no text.
//!
//! [`name`] is for names, which have no line breaks; [`text`] for whole messages; [`output`] for what a tool printed,
//! whose colours pass. Knows no terminal: only what is printed for people goes through here, data stays exact.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

/// A name in one line.
#[must_use]
pub(crate) fn name(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    text.chars().for_each(|c| push(&mut shown, c));
    Cow::Owned(shown)
}

/// A name as part of an id: different names stay different.
#[must_use]
pub(crate) fn id(text: &str) -> String {
    name(&text.replace('\\', "\\\\")).into_owned()
}

/// Lines of text without colours.
#[must_use]
pub(crate) fn text(text: &str) -> Cow<'_, str> {
    lines(text, false)
}

/// What a tool printed. Colours are reset at the end, because one of them hides what follows.
#[must_use]
pub(crate) fn output(text: &str) -> Cow<'_, str> {
    let mut shown = lines(text, true);
    if shown.contains('\x1b') {
        shown.to_mut().push_str("\x1b[0m");
    }
    shown
}

/// One line of JSON that is also fit for a terminal. These characters are only found inside strings, where an escape
/// means the same.
#[must_use]
pub(crate) fn json(line: &str) -> Cow<'_, str> {
    if !line.contains(is_hidden) {
        return Cow::Borrowed(line);
    }
    let mut shown = String::with_capacity(line.len() + 8);
    for c in line.chars() {
        match is_hidden(c) {
            true => shown.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// Control characters, and those that change the direction of the text around them, as rustc warns of.
pub(crate) fn is_hidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn push(shown: &mut String, c: char) {
    match c {
        '\n' | '\t' | '\r' => shown.extend(c.escape_default()),
        _ if c.is_ascii_control() => shown.push_str(&format!("\\x{:02x}", u32::from(c))),
        _ if is_hidden(c) => shown.extend(c.escape_unicode()),
        _ => shown.push(c),
    }
}

fn lines(text: &str, colours: bool) -> Cow<'_, str> {
    let is_plain = |c: char| matches!(c, '\n' | '\t') || !is_hidden(c);
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let (colour, kept) = if colours { sequence(rest) } else { (0, false) };
        if colour > 0 {
            if kept {
                shown.push_str(&rest[..colour]);
            }
            rest = &rest[colour..];
            continue;
        }
        rest = &rest[c.len_utf8()..];
        match c {
            // A tool that goes back to the start of its line prints a new state of it.
            '\r' if !rest.starts_with('\n') && !rest.is_empty() => shown.push('\n'),
            '\r' => {}
            c if is_plain(c) => shown.push(c),
            c => push(&mut shown, c),
        }
    }
    Cow::Owned(shown)
}

/// The length of the sequence at the start of `text` that sets colours or deletes the rest of a line, and whether it
/// sets colours; 0 if there is none.
fn sequence(text: &str) -> (usize, bool) {
    let Some(after) = text.strip_prefix("\x1b[") else {
        return (0, false);
    };
    let end = after.find(|c: char| !(c.is_ascii_digit() || c == ';' || c == ':'));
    match end.and_then(|end| Some((end + 3, after.get(end..=end)?))) {
        Some((length, "m")) => (length, true),
        Some((length, "K")) => (length, false),
        _ => (0, false),
    }
}

/// Paths in messages.
pub(crate) trait Shown {
    /// The path in one line of plain text.
    fn shown(&self) -> ShownPath<'_>;
}

#[derive(Debug)]
pub(crate) struct ShownPath<'a>(&'a Path);

impl Shown for Path {
    fn shown(&self) -> ShownPath<'_> {
        ShownPath(self)
    }
}

impl fmt::Display for ShownPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&name(&self.0.to_string_lossy()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_stay_in_their_line_and_plain_text_stays_as_it_is() {
        assert_eq!(name("a b/ü—\u{200d}"), "a b/ü—\u{200d}");
        assert_eq!(name("a\nb\t\r"), "a\\nb\\t\\r");
        assert_eq!(name("\u{1b}]0;x\u{7}\u{7f}"), "\\x1b]0;x\\x07\\x7f");
        assert_eq!(name("\u{9b}\u{202e}\u{2069}"), "\\u{9b}\\u{202e}\\u{2069}");
        assert_eq!(Path::new("a\nb").shown().to_string(), "a\\nb");
    }

    #[test]
    fn only_the_output_of_tools_has_colours() {
        let coloured = "\u{1b}[1;38:5:3mwarn\u{1b}[0m\n\tx";
        assert_eq!(output(coloured), format!("{coloured}\u{1b}[0m"));
        assert_eq!(text("\u{1b}[1mx"), "\\x1b[1mx");
        assert_eq!(output("\u{1b}[Kx\u{1b}[2J"), "x\\x1b[2J");
        assert_eq!(output("\u{1b}]52;c;eA==\u{7}"), "\\x1b]52;c;eA==\\x07");
    }

    #[test]
    fn lines_end_once_and_progress_is_shown_line_by_line() {
        assert_eq!(output("a\r\nb\r\n"), "a\nb\n");
        assert_eq!(output(" 50%\r100%\r"), " 50%\n100%");
    }

    #[test]
    fn json_means_the_same() {
        let value = serde_json::json!({"a\u{7f}": "\u{9b}1\u{202e}\n\u{1b}ü"}).to_string();
        let shown = json(&value);
        assert!(!shown.contains(is_hidden), "{shown}");
        let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("json");
        assert_eq!(parse(&shown), parse(&value));
    }

    /// Text that is mostly made of what terminals obey.
    fn hostile() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            any::<String>(),
            "[\\x00-\\x1f\\x7f\\u{80}-\\u{9f}]{1,4}",
            "\\x1b[\\[\\]P^_X]?[0-9;:?]{0,4}[a-zA-Z]?",
            Just("\u{202e}\u{2066}".to_owned()),
        ];
        prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
    }

    /// Removes what sets colours.
    fn without_colours(text: &str) -> String {
        let sgr = regex::Regex::new("\x1b\\[[0-9;:]*m").expect("regex");
        sgr.replace_all(text, "").into_owned()
    }

    proptest! {
        #[test]
        fn nothing_reaches_the_terminal_raw_but_lines_tabs_and_colours(bytes in hostile()) {
            prop_assert!(!name(&bytes).contains(is_hidden));
            prop_assert!(!json(&bytes).contains(is_hidden));
            let hidden = |text: &str| text.replace(['\n', '\t'], "").contains(is_hidden);
            prop_assert!(!hidden(&text(&bytes)));
            let shown = output(&bytes);
            prop_assert!(!hidden(&without_colours(&shown)));
            prop_assert!(!shown.contains('\x1b') || shown.ends_with("\x1b[0m"));
        }
    }
}
