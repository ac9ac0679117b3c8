//! Masks secret values in the output of a check before anything else sees it.
//!
//! A value is found as it is and in the encodings that tools commonly print: with the escapes of JSON and XML, percent
//! signs of URLs, in hexadecimal digits, and inside base64 at any offset. Multi-line values are also masked line by
//! line, because tools print single lines or insert escape sequences. Values that are split, reversed, compressed or
//! encrypted are not found. Does not know where the text goes.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use regex::bytes::{Regex, RegexBuilder};

use crate::env::Env;
use crate::key::secret::SHORTEST;
use crate::plan::output::plain;
use crate::plan::{Command, Output};

const STARS: &str = "***";

/// Longer values are searched in pieces: a pattern takes memory and time to build.
const LONGEST: usize = 512;

/// The secret values of one check.
#[derive(Debug, Default)]
pub(super) struct Mask {
    values: Vec<Regex>,
}

impl Mask {
    pub(super) fn of(command: &Command, env: &Env) -> Self {
        let secrets = command.secrets.iter();
        Self::new(secrets.filter_map(|secret| env.var_os(&secret.name)))
    }

    fn new<'a>(values: impl Iterator<Item = &'a OsString>) -> Self {
        let mut pieces: Vec<Vec<u8>> = Vec::new();
        for value in values {
            let value = value.as_encoded_bytes();
            pieces.extend(pieces_of(value));
            // Output is text, in which other bytes are replaced.
            pieces.extend(pieces_of(String::from_utf8_lossy(value).as_bytes()));
        }
        pieces.sort();
        pieces.dedup();
        let values = pieces.iter().map(|piece| pattern(piece)).collect();
        Self { values }
    }

    pub(super) fn text(&self, text: &str) -> String {
        let bytes = text.as_bytes();
        let mut found: Vec<Range<usize>> = Vec::new();
        for value in &self.values {
            found.extend(value.find_iter(bytes).map(|found| found.range()));
        }
        found.sort_by_key(|range| range.start);
        let mut masked = Vec::with_capacity(text.len());
        let mut end = 0;
        for range in found {
            // What overlaps or adjoins is one value: it was searched in pieces.
            if range.start > end || end == 0 {
                masked.extend_from_slice(&bytes[end..range.start]);
                masked.extend_from_slice(STARS.as_bytes());
            }
            end = end.max(range.end);
        }
        masked.extend_from_slice(&bytes[end..]);
        String::from_utf8(masked)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }

    pub(super) fn output(&self, output: &mut Output) {
        if !self.values.is_empty() {
            output.stdout = self.text(&bare(&output.stdout));
            output.stderr = self.text(&bare(&output.stderr));
        }
    }

    /// Whether these bytes contain a value.
    pub(super) fn shows_in(&self, bytes: &[u8]) -> bool {
        if self.values.is_empty() {
            return false;
        }
        let bare = bare(&String::from_utf8_lossy(bytes));
        let shows = |value: &Regex| value.is_match(bytes) || value.is_match(bare.as_bytes());
        self.values.iter().any(shows)
    }
}

/// Text without what is not seen and may stand between the characters of a value: colours, NUL (as in UTF-16), marks
/// without width.
fn bare(text: &str) -> String {
    const UNSEEN: [char; 6] = [
        '\0', '\u{ad}', '\u{200b}', '\u{200c}', '\u{200d}', '\u{feff}',
    ];
    plain(text).replace(UNSEEN, "")
}

/// What is searched for a value: all of it and its lines, in pieces.
fn pieces_of(value: &[u8]) -> Vec<Vec<u8>> {
    let lines = value.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let lines = lines.filter(|line| line.len() >= SHORTEST);
    let whole = std::iter::once(value).filter(|value| !value.is_empty());
    let mut pieces = Vec::new();
    for text in whole.chain(lines) {
        pieces.extend(text.chunks(LONGEST).map(<[u8]>::to_vec));
        // The rest may be too short to be searched for by itself.
        if let Some(last) = text.len().checked_sub(LONGEST) {
            pieces.push(text[last..].to_vec());
        }
    }
    pieces.retain(|piece| piece.len() >= SHORTEST);
    pieces
}

/// Finds a value in any of its encodings.
fn pattern(value: &[u8]) -> Regex {
    let mut text = escaped(value);
    let _ = write!(text, "|{}", hexadecimal(value));
    for offset in 0..3 {
        let _ = write!(text, "|{}", base64(value, offset));
    }
    RegexBuilder::new(&text)
        .unicode(false)
        .size_limit(usize::MAX)
        .build()
        .expect("a sequence of alternatives")
}

/// The value with any of its characters escaped in any of these ways, also repeatedly: JSON (`\"`, `\u0022`), URLs
/// (`%22`, `+`), XML (`&quot;`, `&#34;`).
fn escaped(value: &[u8]) -> String {
    let mut text = String::new();
    for chunk in value.utf8_chunks() {
        chunk.valid().chars().for_each(|c| push_char(&mut text, c));
        for byte in chunk.invalid() {
            let _ = write!(text, r"(?:\x{byte:02x}|%(?:25)*(?i:{byte:02x}))");
        }
    }
    text
}

fn push_char(text: &mut String, c: char) {
    let mut bytes = [0; 4];
    let bytes = c.encode_utf8(&mut bytes).as_bytes();
    let raw: String = bytes.iter().map(|byte| format!(r"\x{byte:02x}")).collect();
    let percent = |byte: &u8| format!("%(?:25)*(?i:{byte:02x})");
    let percent: String = bytes.iter().map(percent).collect();
    let mut units = [0; 2];
    let units = c.encode_utf16(&mut units).iter();
    let unicode: String = units.map(|unit| format!(r"\\+u(?i:{unit:04x})")).collect();
    let more = match c {
        '\n' => r"|\r\n|\\+n|(?:\\+r)\\+n",
        '\r' => r"|\\+r",
        '\t' => r"|\\+t",
        '\u{8}' => r"|\\+b",
        '\u{c}' => r"|\\+f",
        ' ' => r"|\+",
        '"' => r#"|\\+"|&(?:amp;)*quot;"#,
        '\'' => r"|\\+'|&(?:amp;)*apos;",
        '&' => "|&(?:amp;)+",
        '<' => "|&(?:amp;)*lt;",
        '>' => "|&(?:amp;)*gt;",
        '/' => r"|\\+/",
        '\\' => r"|\\+",
        _ => "",
    };
    let number = u32::from(c);
    let _ = write!(
        text,
        "(?:{raw}|{percent}|{unicode}|&(?:amp;)*#(?:0*{number}|(?i:x0*{number:x}));{more})"
    );
}

/// Its bytes as digits, with the marks that tools put between them: `68:75`, `68 75`, `\x68\x75`.
fn hexadecimal(value: &[u8]) -> String {
    let digits = value.iter().map(|byte| format!("(?i:{byte:02x})"));
    let digits = digits.collect::<Vec<_>>().join(r"(?:[ :]|\\+x)?");
    format!(r"(?:\\+x)?{digits}")
}

/// Base64 of any text that holds the value after a number of bytes that leaves this remainder when divided by three.
/// A digit that encodes bits of the value and of its neighbour is masked, too.
fn base64(value: &[u8], offset: usize) -> String {
    const ANY: &str = r"(?:[A-Za-z0-9+/_=-]|%(?i:2b|2f|3d)|\\/)?";
    // Digits of a long text are in lines.
    const BREAK: &str = r"(?:\r?\n|\\+n)?";
    let before = vec![0; offset];
    let bits = (offset + value.len()) * 8;
    let digits = STANDARD_NO_PAD.encode([before.as_slice(), value].concat());
    // Digits of the bytes before, and the one that is shared with them.
    let first = (offset * 8).div_ceil(6);
    let digits = digits.get(first..bits / 6).unwrap_or_default();
    let mut text = String::new();
    if offset > 0 {
        text += ANY;
        text += BREAK;
    }
    let each = digits.chars().map(|digit| match digit {
        '+' => "(?:[+-]|%2(?i:b))".to_owned(),
        '/' => r"(?:[/_]|%2(?i:f)|\\+/)".to_owned(),
        digit => digit.to_string(),
    });
    text += &each.collect::<Vec<_>>().join(BREAK);
    if !bits.is_multiple_of(6) {
        text += BREAK;
        text += ANY;
    }
    text
}

#[cfg(test)]
mod tests {
    use base64::alphabet;
    use base64::engine::general_purpose::{
        GeneralPurpose, PAD, STANDARD, URL_SAFE, URL_SAFE_NO_PAD,
    };
    use proptest::prelude::*;

    use super::*;

    fn mask(values: &[&str]) -> Mask {
        let values: Vec<OsString> = values.iter().map(OsString::from).collect();
        Mask::new(values.iter())
    }

    #[test]
    fn values_lines_of_values_and_values_within_values() {
        assert_eq!(mask(&["hunter2"]).text("pw=hunter2!"), "pw=***!");
        assert_eq!(mask(&["abcd", "xabcdx"]).text("xabcdx abcd"), "*** ***");
        assert_eq!(mask(&["abcdef", "defghi"]).text("(abcdefghi)"), "(***)");
        let key = mask(&["BEGIN\n  first\n}\nsecond\n"]);
        assert_eq!(key.text("second, first }"), "***, *** }");
        assert_eq!(mask(&[""]).text("as it was"), "as it was");
    }

    #[test]
    fn bytes_are_searched_too() {
        assert!(mask(&["hunter2"]).shows_in(b"\xff\x00hunter2"));
        assert!(!mask(&["hunter2"]).shows_in(b"hunter"));
        assert!(!mask(&[""]).shows_in(b"x"));
    }

    #[test]
    fn what_is_not_seen_hides_no_value() {
        let mask = mask(&["s3cr3t+VALUE"]);
        for between in ["\u{1b}[0m", "\0", "\u{200b}"] {
            let text: String = "s3cr3t+VALUE"
                .chars()
                .map(|c| format!("{c}{between}"))
                .collect();
            assert!(mask.shows_in(text.as_bytes()), "{between:?}");
            let mut output = Output {
                stdout: text,
                ..Output::default()
            };
            mask.output(&mut output);
            assert_eq!(output.stdout, STARS, "{between:?}");
        }
    }

    #[test]
    fn usual_encodings_are_masked() {
        let mask = mask(&["pä\"ss/w&rd +1"]);
        for text in [
            r#"pä\"ss/w&rd +1"#,
            r#"pä\\\"ss\/w&rd +1"#,
            r#"p\u00E4\u0022ss/w&rd +1"#,
            "p%C3%A4%22ss%2Fw%26rd%20%2B1",
            "p%c3%a4%22ss/w%26rd+%2b1",
            "p%25C3%25A4%2522ss%252Fw%2526rd%2520%252B1",
            "pä&quot;ss/w&amp;rd +1",
            "p&#xE4;&#34;ss/w&amp;rd +1",
            "70c3a4227373 2f772672642 02b31".replace(' ', "").as_str(),
            "70:C3:A4:22:73:73:2F:77:26:72:64:20:2B:31",
            r"\x70\xc3\xa4\x22\x73\x73\x2f\x77\x26\x72\x64\x20\x2b\x31",
        ] {
            assert_eq!(mask.text(&format!("<{text}>")), "<***>", "{text}");
        }
    }

    #[test]
    fn base64_of_a_text_hides_the_whole_value() {
        let mask = mask(&["user:hunter2"]);
        let wrapped = "dXNlcjpo\ndW50ZXIy\n";
        assert_eq!(mask.text(wrapped), "***\n");
        for (before, after) in [("", ""), ("a", "b"), ("ab", "bc"), ("abc", "")] {
            let text = format!("{before}user:hunter2{after}");
            let masked = mask.text(&STANDARD.encode(&text));
            assert!(masked.len() <= 4 + STARS.len() + 4, "{masked}");
        }
    }

    #[test]
    fn a_long_value_is_masked_completely() {
        let value: String = (0..2000).map(|number| format!("{number:x}.")).collect();
        let mask = mask(&[&value]);
        assert_eq!(mask.text(&format!("<{value}>")), "<***>");
        let coded = STANDARD.encode(format!("a{value}"));
        assert!(mask.text(&coded).len() < 8, "{}", mask.text(&coded));
    }

    /// All encodings of a value that a test looks for afterwards.
    fn encodings(value: &str) -> Vec<String> {
        let bytes = value.as_bytes();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let percent = |safe: &dyn Fn(u8) -> bool| -> String {
            let one = |byte: &u8| match safe(*byte) {
                true => char::from(*byte).to_string(),
                false => format!("%{byte:02X}"),
            };
            bytes.iter().map(one).collect()
        };
        let ascii: String = value
            .encode_utf16()
            .map(|unit| format!("\\u{unit:04x}"))
            .collect();
        let json = serde_json::to_string(value).expect("json");
        let mut all = vec![
            value.to_owned(),
            json[1..json.len() - 1].to_owned(),
            ascii,
            percent(&|byte| byte.is_ascii_alphanumeric()),
            percent(&|byte| byte.is_ascii_alphanumeric() || b"-_.~!*'()/".contains(&byte)),
            percent(&|_| false),
            hex.to_uppercase(),
            hex,
        ];
        let odd = GeneralPurpose::new(&alphabet::URL_SAFE, PAD);
        for before in ["", "x", "xy"] {
            let text = format!("{before}{value}");
            all.push(STANDARD.encode(&text));
            all.push(URL_SAFE_NO_PAD.encode(&text));
            all.push(URL_SAFE.encode(format!("{text}z")));
            all.push(odd.encode(format!("{text}zz")));
        }
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10))]
        #[test]
        fn no_encoding_of_a_secret_is_left_in_any_text(
            value in "[ -~]{4,20}|[a-zA-Z0-9+/=_.-]{8,40}|\\PC{4,12}",
            around in "\\PC{0,6}",
        ) {
            let mask = mask(&[&value]);
            for encoded in encodings(&value) {
                let text = format!("{around} {encoded} {around}");
                let masked = mask.text(&text);
                prop_assert!(masked.contains(STARS), "{text}");
                // What the stars took the place of may be part of the value by chance.
                prop_assert!(!masked.contains(&encoded) || STARS.contains(&value), "{text} {masked}");
                prop_assert!(mask.shows_in(text.as_bytes()));
            }
        }

        #[test]
        fn text_without_the_value_stays_as_it_is(text in "[g-z ]{0,40}") {
            prop_assert_eq!(mask(&["ABCDEF1"]).text(&text), text);
        }
    }
}
