//! Environment markers (PEP 508): `python_version < "3.14" and extra == "linkify"`.
//!
//! Pure: callers pass the environment.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::version;

/// No tool writes deeper nesting; limits the stack for hostile input.
const MAX_DEPTH: usize = 64;

/// The marker variables of one interpreter (`python_full_version` → `3.11.7`), without `extra`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct MarkerEnv(pub BTreeMap<String, String>);

/// Which extras count as requested.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Extras<'a> {
    Only(&'a BTreeSet<String>),
    Any,
}

/// The text is not a valid marker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an environment marker")]
pub(crate) struct MarkerError(String);

impl MarkerEnv {
    /// Whether `marker` matches in this environment. The empty marker always does.
    pub(crate) fn holds(&self, marker: &str, extras: Extras<'_>) -> Result<bool, MarkerError> {
        let error = || MarkerError(marker.to_owned());
        let tokens = tokens(marker).ok_or_else(error)?;
        if tokens.is_empty() {
            return Ok(true);
        }
        let mut parser = Parser {
            tokens: &tokens,
            next: 0,
            env: self,
            extras,
        };
        let holds = parser.any(0).ok_or_else(error)?;
        if parser.next == tokens.len() {
            Ok(holds)
        } else {
            Err(error())
        }
    }
}

/// Whether a marker mentions extras.
#[must_use]
pub(crate) fn mentions_extra(marker: &str) -> bool {
    tokens(marker).is_some_and(|tokens| tokens.contains(&Token::Word("extra")))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Open,
    Close,
    Operator(&'a str),
    Text(&'a str),
    Word(&'a str),
}

fn tokens(marker: &str) -> Option<Vec<Token<'_>>> {
    let mut found = Vec::new();
    let mut rest = marker.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            '"' | '\'' => {
                let end = rest[1..].find(first)?;
                (Token::Text(&rest[1..=end]), end + 2)
            }
            '<' | '>' | '=' | '!' | '~' => {
                let end = span(rest, |c| "<>=!~".contains(c));
                (Token::Operator(&rest[..end]), end)
            }
            c if c.is_ascii_alphabetic() || c == '_' => {
                let end = span(rest, |c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
                (Token::Word(&rest[..end]), end)
            }
            _ => return None,
        };
        found.push(token);
        rest = rest[length..].trim_start();
    }
    Some(found)
}

fn span(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

/// One side of a comparison.
#[derive(Clone, Copy)]
enum Operand<'a> {
    Variable(&'a str),
    Text(&'a str),
}

struct Parser<'a> {
    tokens: &'a [Token<'a>],
    next: usize,
    env: &'a MarkerEnv,
    extras: Extras<'a>,
}

impl<'a> Parser<'a> {
    fn take(&mut self) -> Option<Token<'a>> {
        let token = self.tokens.get(self.next).copied();
        self.next += 1;
        token
    }

    fn eat(&mut self, word: &str) -> bool {
        let is = self.tokens.get(self.next) == Some(&Token::Word(word));
        self.next += usize::from(is);
        is
    }

    fn any(&mut self, depth: usize) -> Option<bool> {
        let mut holds = self.all(depth)?;
        while self.eat("or") {
            holds |= self.all(depth)?;
        }
        Some(holds)
    }

    fn all(&mut self, depth: usize) -> Option<bool> {
        let mut holds = self.one(depth)?;
        while self.eat("and") {
            holds &= self.one(depth)?;
        }
        Some(holds)
    }

    fn one(&mut self, depth: usize) -> Option<bool> {
        if self.tokens.get(self.next) == Some(&Token::Open) {
            if depth == MAX_DEPTH {
                return None;
            }
            self.next += 1;
            let holds = self.any(depth + 1)?;
            return (self.take()? == Token::Close).then_some(holds);
        }
        let left = self.operand()?;
        let operator = self.operator()?;
        let right = self.operand()?;
        self.compare(left, operator, right)
    }

    fn operand(&mut self) -> Option<Operand<'a>> {
        match self.take()? {
            Token::Text(text) => Some(Operand::Text(text)),
            Token::Word(name) => Some(Operand::Variable(name)),
            _ => None,
        }
    }

    fn operator(&mut self) -> Option<&'a str> {
        match self.take()? {
            Token::Operator(text) => Some(text),
            Token::Word("in") => Some("in"),
            Token::Word("not") => self.eat("in").then_some("not in"),
            _ => None,
        }
    }

    fn compare(&self, left: Operand<'a>, operator: &'a str, right: Operand<'a>) -> Option<bool> {
        match (left, right) {
            (Operand::Variable("extra"), Operand::Text(name))
            | (Operand::Text(name), Operand::Variable("extra")) => self.extra(operator, name),
            (Operand::Variable(name), Operand::Text(text)) => {
                value_is(name, self.value(name)?, operator, text)
            }
            (Operand::Text(text), Operand::Variable(name)) => match operator {
                "in" => Some(self.value(name)?.contains(text)),
                "not in" => Some(!self.value(name)?.contains(text)),
                _ => value_is(name, self.value(name)?, mirrored(operator), text),
            },
            _ => None,
        }
    }

    fn extra(&self, operator: &str, name: &str) -> Option<bool> {
        let asked = match self.extras {
            Extras::Any => return Some(true),
            Extras::Only(extras) => extras.contains(&super::lock::normalized(name)),
        };
        match operator {
            "==" | "===" => Some(asked),
            "!=" => Some(!asked),
            _ => None,
        }
    }

    fn value(&self, name: &str) -> Option<&'a str> {
        let name = match name {
            "os.name" => "os_name",
            "sys.platform" => "sys_platform",
            "platform.machine" => "platform_machine",
            "platform.version" => "platform_version",
            "platform.python_implementation" | "python_implementation" => {
                "platform_python_implementation"
            }
            other => other,
        };
        self.env.0.get(name).map(String::as_str)
    }
}

fn mirrored(operator: &str) -> &str {
    match operator {
        "<" => ">",
        "<=" => ">=",
        ">" => "<",
        ">=" => "<=",
        other => other,
    }
}

/// Compares as versions if both sides are versions, else as text, like the packaging tools.
fn value_is(name: &str, value: &str, operator: &str, text: &str) -> Option<bool> {
    let is_version = name.ends_with("version");
    let among = || {
        if is_version {
            text.split([',', ' ']).any(|item| item == value)
        } else {
            text.contains(value)
        }
    };
    match operator {
        "in" => return Some(among()),
        "not in" => return Some(!among()),
        "===" => return Some(value == text),
        _ => {}
    }
    if let Some(holds) = version::satisfies(&format!("{operator}{text}"), value) {
        return Some(holds);
    }
    match operator {
        "==" => Some(value == text),
        "!=" => Some(value != text),
        "<" => Some(value < text),
        "<=" => Some(value <= text),
        ">" => Some(value > text),
        ">=" => Some(value >= text),
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(in super::super) fn linux() -> MarkerEnv {
        let pairs = [
            ("implementation_name", "cpython"),
            ("implementation_version", "3.11.7"),
            ("os_name", "posix"),
            ("platform_machine", "x86_64"),
            ("platform_python_implementation", "CPython"),
            ("platform_release", "6.1.0-18-amd64"),
            ("platform_system", "Linux"),
            ("platform_version", "#1 SMP"),
            ("python_full_version", "3.11.7"),
            ("python_version", "3.11"),
            ("sys_platform", "linux"),
        ];
        MarkerEnv(
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        )
    }

    fn check(marker: &str, expect: bool) {
        let extras = BTreeSet::from(["linkify".to_owned()]);
        assert_eq!(
            linux().holds(marker, Extras::Only(&extras)),
            Ok(expect),
            "{marker}"
        );
    }

    #[test]
    fn versions_compare_as_versions() {
        check("python_version < \"3.13\"", true);
        check("python_version >= \"3.9\"", true);
        check("python_full_version < '3.11.0a7'", false);
        check("python_version ~= \"3.10\"", true);
        check("python_version == '3.*'", true);
        check("'3.10' <= python_version", true);
        check("python_version in '3.1, 3.11'", true);
        check("python_version not in '3.1 3.12'", true);
    }

    #[test]
    fn texts_compare_as_texts() {
        check("sys_platform == 'linux' and os_name != \"nt\"", true);
        check(
            "platform_system == \"Windows\" or platform_machine == 'x86_64'",
            true,
        );
        check("'win' in sys_platform", false);
        check("sys_platform in 'linux darwin'", true);
        check("platform.python_implementation == 'PyPy'", false);
    }

    #[test]
    fn and_binds_stronger_than_or_and_parentheses_change_that() {
        check(
            "os_name == 'posix' or os_name == 'nt' and os_name == 'x'",
            true,
        );
        check(
            "(os_name == 'posix' or os_name == 'nt') and os_name == 'x'",
            false,
        );
    }

    #[test]
    fn extras_are_names_asked_for() {
        check("extra == \"linkify\"", true);
        check("extra == 'Linkify' and extra != 'other'", true);
        check("extra == 'other'", false);
        assert_eq!(linux().holds("extra == 'x'", Extras::Any), Ok(true));
        assert!(mentions_extra("os_name == 'nt' and extra == 'x'"));
        assert!(!mentions_extra("os_name == 'extra'"));
    }

    #[test]
    fn what_is_no_marker_is_an_error() {
        for bad in [
            "python_version",
            "a == ",
            "(os_name == 'x'",
            "os_name == 'x' )",
            "$",
            "unknown == 'x'",
            "'a' == 'b'",
        ] {
            assert!(linux().holds(bad, Extras::Any).is_err(), "{bad}");
        }
        let deep = "(".repeat(100_000);
        assert!(linux().holds(&deep, Extras::Any).is_err());
        assert_eq!(linux().holds(" ", Extras::Any), Ok(true));
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(
            text in ".{0,60}",
            like in "(( |\\(|\\)|and|or|not|in|extra|python_version|<|==|'3.1'|\"é\"){0,12})",
        ) {
            let _ = linux().holds(&text, Extras::Any);
            let _ = linux().holds(&like, Extras::Any);
        }
    }
}
