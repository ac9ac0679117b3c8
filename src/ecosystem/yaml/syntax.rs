//! `yaml:syntax`: checks that files are well-formed YAML.
//!
//! Accepted: YAML 1.2 as read by mainstream loaders: several documents, unknown tags, anchors, merge keys, only
//! comments, empty files, a byte-order mark, UTF-16 with one, any line break. The content is not interpreted, so
//! integers, dates and binary are not validated, and aliases are never expanded (which defuses bombs).
//! Where the parser is stricter than PyYAML or libyaml, [`lenient`] adjusts the text and parses it again.
//! Rejected: what no loader reads (bad indentation, unclosed quotes, tabs as indentation, unknown anchors) and
//! duplicate keys in a mapping: YAML 1.2 forbids them, the loaders of Go, JavaScript, Rust and GitHub workflows
//! reject them, and others silently lose a value. Keys are equal if their text is and both or neither is quoted; the
//! merge key `<<` may be repeated.
//!
//! Reports at most one syntax error per file, because later ones are guesswork.

mod lenient;

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use granit_parser::{Event, Marker, Parser, ScalarStyle, ScanError, StructureStyle};

use crate::catalogue;
use crate::finding::{Finding, Severity, narrow, position};
use crate::path::RelPath;
use crate::plan::{Builtin, Check, InputView, Inputs, Work};
use crate::snapshot::FileId;

pub(crate) const ID: &str = "yaml:syntax";

/// Deeper nesting is rejected; people stay below 30.
const MAX_DEPTH: usize = 1000;

/// More places than a file has that only some loaders read.
const MAX_REPAIRS: usize = 200;

/// The check of these files, each a part.
#[must_use]
pub(crate) fn check(files: Vec<FileId>) -> Check {
    let work = Work::Builtin(Arc::new(Syntax));
    catalogue::planned(ID, &RelPath::root(), work).sees(Inputs::per_file(files))
}

#[derive(Debug)]
struct Syntax;

impl Builtin for Syntax {
    fn name(&self) -> &'static str {
        ID
    }

    fn version(&self) -> u32 {
        2
    }

    fn check(&self, view: &dyn InputView) -> io::Result<Vec<Finding>> {
        match view.part() {
            Some(path) => Ok(findings(path, &view.read(path)?)),
            None => Ok(Vec::new()),
        }
    }
}

fn findings(path: &RelPath, bytes: &[u8]) -> Vec<Finding> {
    let problems = match decode(bytes) {
        Ok(text) => read(&text),
        Err(problem) => vec![problem],
    };
    problems
        .into_iter()
        .map(|problem| Finding {
            path: Some(path.clone()),
            line: Some(problem.line),
            column: Some(problem.column),
            severity: Severity::in_file(path),
            code: Some(problem.code.to_owned()),
            message: problem.message,
            rendered: None,
        })
        .collect()
}

#[derive(Debug, PartialEq, Eq)]
struct Problem {
    line: u32,
    column: u32,
    code: &'static str,
    message: String,
}

impl Problem {
    fn at(marker: Marker, code: &'static str, message: String) -> Self {
        Self {
            line: narrow(marker.line()),
            column: narrow(marker.col() + 1),
            code,
            message,
        }
    }
}

/// The text of a file: UTF-8, or UTF-16 with a byte-order mark.
fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, Problem> {
    let utf16 = |unit: fn([u8; 2]) -> u16| {
        let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        Ok(char::decode_utf16(units)
            .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect())
    };
    match bytes {
        [0xff, 0xfe, ..] => utf16(u16::from_le_bytes),
        [0xfe, 0xff, ..] => utf16(u16::from_be_bytes),
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Cow::Borrowed(text)),
            Err(error) => Err(not_utf8(position(bytes, error.valid_up_to()))),
        },
    }
}

fn not_utf8((line, column): (usize, usize)) -> Problem {
    Problem {
        line: narrow(line),
        column: narrow(column),
        code: "encoding",
        message: "not valid UTF-8".to_owned(),
    }
}

/// The problems of a text. One that the parser refuses is put right and read again as long as that gets further.
fn read(text: &str) -> Vec<Problem> {
    let mut lenient: Option<String> = None;
    for _ in 0..MAX_REPAIRS {
        let current = lenient.as_deref().unwrap_or(text);
        let (problems, refused) = Reader::new(current).read();
        let Some(refused) = refused else {
            return problems;
        };
        match lenient::repaired(current, &refused) {
            Some(repaired) => lenient = Some(repaired),
            None => break,
        }
    }
    let (mut problems, refused) = Reader::new(text).read();
    problems.extend(refused.map(|refused| syntax_error(&refused.error)));
    problems
}

/// What the parser does not read, and whether that is inside brackets or braces.
struct Refused {
    error: ScanError,
    in_flow: bool,
}

/// A collection that is open.
enum Frame {
    Sequence(StructureStyle),
    Mapping {
        style: StructureStyle,
        /// Where its keys begin in [`Reader::keys`].
        keys: usize,
        /// Whether the next node is a key.
        at_key: bool,
    },
}

struct Key<'t> {
    text: Cow<'t, str>,
    plain: bool,
    at: Marker,
}

impl Key<'_> {
    fn identity(&self) -> (&str, bool) {
        (&self.text, self.plain)
    }
}

struct Reader<'t> {
    text: &'t str,
    open: Vec<Frame>,
    /// The keys of all open mappings, one mapping after the other.
    keys: Vec<Key<'t>>,
    problems: Vec<Problem>,
}

impl<'t> Reader<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            text,
            open: Vec::new(),
            keys: Vec::new(),
            problems: Vec::new(),
        }
    }

    fn read(mut self) -> (Vec<Problem>, Option<Refused>) {
        let options = granit_parser::options! {
            emit_comments: false,
            flow_nesting_limit: MAX_DEPTH,
            block_nesting_limit: MAX_DEPTH,
        };
        for next in Parser::new_from_str_with_options(self.text, options) {
            match next {
                Ok((event, span)) => self.event(event, span.start),
                Err(error) => {
                    let in_flow = self.in_flow();
                    return (self.problems, Some(Refused { error, in_flow }));
                }
            }
        }
        (self.problems, None)
    }

    fn in_flow(&self) -> bool {
        matches!(
            self.open.last(),
            Some(
                Frame::Sequence(StructureStyle::Flow)
                    | Frame::Mapping {
                        style: StructureStyle::Flow,
                        ..
                    }
            )
        )
    }

    fn event(&mut self, event: Event<'t>, at: Marker) {
        match event {
            Event::Scalar(text, style, _, _) => {
                let plain = style == ScalarStyle::Plain;
                if self.node() {
                    self.indentation(at);
                    if !(plain && text == "<<") {
                        self.keys.push(Key { text, plain, at });
                    }
                }
            }
            Event::Alias(_) => {
                self.node();
            }
            Event::SequenceStart(style, ..) => {
                self.node();
                self.open.push(Frame::Sequence(style));
                self.indentation(at);
            }
            Event::MappingStart(style, ..) => {
                self.node();
                self.open.push(Frame::Mapping {
                    style,
                    keys: self.keys.len(),
                    at_key: true,
                });
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Frame::Mapping { keys, .. }) = self.open.pop() {
                    self.end_of_mapping(keys);
                }
            }
            _ => {}
        }
    }

    /// Reports a tab before the first thing of a line of a block collection. The parser lets some pass; no loader does.
    fn indentation(&mut self, at: Marker) {
        if self.in_flow() {
            return;
        }
        let before = at.byte_offset().and_then(|end| self.text.get(..end));
        let line = before.unwrap_or_default().rsplit(['\n', '\r']).next();
        let line = line.unwrap_or_default();
        if line.contains('\t') && line.chars().all(|c| c == ' ' || c == '\t') {
            let message = "tabs are no indentation".to_owned();
            self.problems.push(Problem::at(at, "syntax", message));
        }
    }

    /// Records the start of a node and returns whether it is a key.
    fn node(&mut self) -> bool {
        match self.open.last_mut() {
            Some(Frame::Mapping { at_key, .. }) => {
                let is_key = *at_key;
                *at_key = !is_key;
                is_key
            }
            _ => false,
        }
    }

    /// Reports duplicates among the keys starting at `first`, and drops all of these.
    fn end_of_mapping(&mut self, first: usize) {
        let Some(keys) = self.keys.get_mut(first..) else {
            return;
        };
        keys.sort_by(|a, b| a.identity().cmp(&b.identity()));
        for pair in keys.windows(2) {
            if let [before, again] = pair
                && before.identity() == again.identity()
            {
                let line = before.at.line();
                let message = format!(
                    "key `{}` is already in this mapping (line {line})",
                    again.text
                );
                self.problems
                    .push(Problem::at(again.at, "duplicate-key", message));
            }
        }
        self.keys.truncate(first);
    }
}

fn syntax_error(error: &ScanError) -> Problem {
    Problem::at(*error.marker(), "syntax", error.info())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(bytes: &[u8]) -> Vec<(u32, u32, String)> {
        let path = RelPath::new("a.yaml").expect("a path");
        findings(&path, bytes)
            .into_iter()
            .map(|f| {
                let place = f.line.zip(f.column).expect("always placed");
                (place.0, place.1, f.code.expect("always coded"))
            })
            .collect()
    }

    #[track_caller]
    fn accepts(text: &str) {
        let path = RelPath::new("a.yaml").expect("a path");
        assert_eq!(findings(&path, text.as_bytes()), [], "{text}");
    }

    #[test]
    fn accepts_what_loaders_read() {
        for text in [
            "",
            "\n\n",
            "# only\n# comments\n",
            "---\n",
            "\u{feff}a: 1\n",
            "a: 1\r\nb:\r\n  - 2\r\n",
            "a: 1\n---\nb: 2\n...\n---\nc: 3\n",
            "a: !vault |\n  x\nb: !Ref X\nc: !!binary aGk=\nd: !include_dir [x]\n",
            "x: &d {a: 1}\ny: &e {b: 2}\nz:\n  <<: *d\n  <<: *e\n  a: 2\n",
            "z:\n  <<: [{a: 1}, {b: 2}]\n",
            "n: 123456789012345678901234567890\nt: 2001-12-14t21:59:43.10-05:00\n",
            "{\"a\": [1, 2,\n{\"b\": null}]}",
            "? [a, b]\n: c\n? {d: e}\n: f\n",
            "on: {push: {branches: ['**']}}\nrun: |\n  echo \"${{ x }}\"\n",
            "a:\n- b\n-\tc\n",
            "1: a\n\"1\": b\n",
            "a:\tb\n",
        ] {
            accepts(text);
        }
        accepts(&format!("{}a: 1\n", "# comment\n".repeat(500)));
    }

    #[test]
    fn points_at_the_first_error() {
        let code = |text: &str| problems(text.as_bytes());
        let syntax = |line, column| vec![(line, column, "syntax".to_owned())];
        assert_eq!(code("a: [1, 2\nb: 3\n").len(), 1);
        assert_eq!(code("a: \"open\n").len(), 1);
        assert_eq!(code("ok: 1\na: b: c\n"), syntax(2, 5));
        assert_eq!(code("a:\n\tb: 1\n")[0].0, 2);
        assert_eq!(code("a: *missing\n"), syntax(1, 4));
        assert_eq!(code("a: 1\n---\nb: }\n"), syntax(3, 4));
    }

    #[test]
    fn a_key_given_twice_is_an_error_where_it_is_repeated() {
        let twice = problems(b"a: 1\nb: {c: 1, c: 2}\n\xc3\xa9: 1\na: 2\n");
        let key = "duplicate-key".to_owned();
        assert_eq!(twice, [(2, 11, key.clone()), (4, 1, key)]);
        accepts("- a: 1\n- a: 2\n");
        accepts("a: {a: {a: 1}}\n");
        accepts("a: a\nb: a\n");
    }

    /// What PyYAML, libyaml and ruamel.yaml say of small texts; `tests/it/yaml.rs` asks them again.
    #[test]
    fn verdicts_are_those_of_the_loaders() {
        #[derive(serde::Deserialize)]
        struct Case {
            name: String,
            text: String,
            pyyaml: bool,
            libyaml: bool,
            ruamel: bool,
            /// Why it is accepted though none of the three reads it.
            #[serde(default)]
            accepted: String,
        }
        let cases = include_str!("../../../tests/fixtures/yaml/loaders.json");
        let cases: Vec<Case> = serde_json::from_str(cases).expect("JSON");
        assert!(cases.len() >= 70);
        for case in cases {
            let accepted = findings(&RelPath::root(), case.text.as_bytes()).is_empty();
            if case.pyyaml || case.libyaml || !case.accepted.is_empty() {
                assert!(accepted, "{}: {:?}", case.name, case.text);
            } else if !case.ruamel {
                assert!(!accepted, "{}: {:?}", case.name, case.text);
            }
        }
    }

    #[test]
    fn test_data_may_be_broken() {
        let path = RelPath::new("tests/fixtures/a.yaml").expect("a path");
        assert_eq!(findings(&path, b"a: [")[0].severity, Severity::Warning);
    }

    #[test]
    fn encodings() {
        let wide: Vec<u8> = "\u{feff}a: é\n"
            .encode_utf16()
            .flat_map(u16::to_be_bytes)
            .collect();
        assert_eq!(problems(&wide), []);
        assert_eq!(
            problems(b"a: 1\n\xc3\xa9: \xff\n"),
            [(2, 4, "encoding".to_owned())]
        );
    }

    #[test]
    fn nothing_is_expanded_and_depth_is_bounded() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..40 {
            let last = n - 1;
            bomb += &format!(
                "a{n}: &a{n} [{}]\n",
                vec![format!("*a{last}"); 9].join(", ")
            );
        }
        accepts(&bomb);
        accepts(&format!("{}{}", "[".repeat(500), "]".repeat(500)));
        assert_eq!(problems("[".repeat(100_000).as_bytes()).len(), 1);
        assert_eq!(problems("- ".repeat(100_000).as_bytes()).len(), 1);
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            problems(&bytes);
        }

        #[test]
        fn arbitrary_text_never_panics(text in "[-?:,{}\\[\\]&*#|>'\"%@`! a\\n\\t]{0,60}") {
            problems(text.as_bytes());
        }
    }
}
