//! Ignore rules: one file of them, and the chain that decides about a path.
//!
//! The `ignore` crate matches the patterns; where git's syntax differs, it is translated line by line.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::rc::Rc;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// The rules that apply in a folder, nearest file first. `None` means no rules.
pub(crate) type Chain = Option<Rc<Level>>;

/// One file of rules and the rest of the chain.
#[derive(Debug)]
pub(crate) struct Level {
    behind: Chain,
    rules: Gitignore,
    /// Length of the path, with slash, of the folder the patterns are relative to.
    base: usize,
}

/// Puts the rules in `text` in front of a chain. `base` is the length of the path, with trailing slash, of the folder
/// the rules are relative to.
pub(crate) fn in_front(behind: Chain, text: &[u8], base: usize, ignore_case: bool) -> Chain {
    let rules = compile(text, ignore_case);
    if rules.is_empty() {
        return behind;
    }
    Some(Rc::new(Level {
        behind,
        rules,
        base,
    }))
}

/// Whether the rules exclude this path. The caller checks parent folders.
pub(crate) fn excludes(chain: &Chain, path: &[u8], is_dir: bool) -> bool {
    let mut level = chain.as_deref();
    while let Some(Level {
        behind,
        rules,
        base,
    }) = level
    {
        let below = path.get(*base..).unwrap_or_default();
        match rules.matched(Path::new(OsStr::from_bytes(below)), is_dir) {
            Match::Ignore(_) => return true,
            Match::Whitelist(_) => return false,
            Match::None => level = behind.as_deref(),
        }
    }
    false
}

/// An invalid glob excludes nothing, as in git.
fn compile(text: &[u8], ignore_case: bool) -> Gitignore {
    // The root `.` prevents the crate from stripping prefixes of paths.
    let mut builder = GitignoreBuilder::new(".");
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    builder.allow_unclosed_class(false);
    let done = builder.case_insensitive(ignore_case).is_ok();
    debug_assert!(done, "setting an option cannot fail");
    for line in text.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if let Ok(line) = std::str::from_utf8(line)
            && let Some(line) = translate(line)
        {
            builder.add_line(None, &line).ok();
        }
    }
    builder.build().unwrap_or_else(|_| Gitignore::empty())
}

/// Translates a line from git's dialect to that of the `ignore` crate, which knows `{a,b}` but not `[[:alpha:]]`, and
/// trims tabs.
fn translate(line: &str) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let line = trim_spaces(line);
    let mut out = String::with_capacity(line.len());
    let mut chars = line.chars().peekable();
    let mut in_class = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                out.push(c);
                // A trailing backslash makes the pattern invalid: it never matches.
                out.push(chars.next()?);
            }
            '{' | '}' | ',' if !in_class => out.extend(['\\', c]),
            '[' if in_class && chars.peek() == Some(&':') => out.push_str(class(&mut chars)?),
            '[' if !in_class => {
                in_class = true;
                out.push(c);
                // A leading `]`, even after the negation, is a member.
                if let Some(not) = chars.next_if(|c| matches!(c, '!' | '^')) {
                    out.push(not);
                }
                out.extend(chars.next_if_eq(&']'));
            }
            ']' => {
                in_class = false;
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    // The crate trims all trailing white space, git only spaces.
    if out.ends_with(char::is_whitespace) && !out.ends_with("\\ ") {
        let last = out.pop()?;
        out.extend(['[', last, ']']);
    }
    Some(out)
}

/// Trims trailing spaces that are not escaped.
fn trim_spaces(line: &str) -> &str {
    let kept = line.trim_end_matches(' ');
    let slashes = kept.len() - kept.trim_end_matches('\\').len();
    if slashes % 2 == 1 && kept.len() < line.len() {
        &line[..=kept.len()]
    } else {
        kept
    }
}

/// The members of a POSIX class, after its `[`.
fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<&'static str> {
    let mut name = String::new();
    chars.next();
    loop {
        match chars.next()? {
            ':' if chars.next_if_eq(&']').is_some() => break,
            c => name.push(c),
        }
    }
    Some(match name.as_str() {
        "alnum" => "a-zA-Z0-9",
        "alpha" => "a-zA-Z",
        "blank" => " \t",
        "digit" => "0-9",
        "lower" => "a-z",
        "upper" => "A-Z",
        "space" => " \t\r\u{b}\u{c}",
        "xdigit" => "0-9a-fA-F",
        "punct" => "!-.:-@[-`{-~",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ignored(rules: &str, path: &str) -> bool {
        let chain = in_front(None, rules.as_bytes(), 0, false);
        excludes(&chain, path.as_bytes(), false)
    }

    #[test]
    fn gits_own_dialect_is_kept() {
        for (rules, path, expect) in [
            ("a{b,c}", "ab", false),
            ("a{b,c}", "a{b,c}", true),
            ("x[[:digit:]]", "x1", true),
            ("x[[:digit:]]", "xa", false),
            ("x[!]a]", "x]", false),
            ("x[!]a]", "xb", true),
            ("a  ", "a", true),
            ("a\\ ", "a ", true),
            ("a\\", "a", false),
            ("[", "[", false),
            ("#a\n\\#b", "#b", true),
            ("\u{feff}a\r\nb", "a", true),
            ("a\t", "a", false),
            ("*\n!a", "a", false),
            ("d/**/x", "d/x", true),
        ] {
            assert_eq!(ignored(rules, path), expect, "{rules:?} on {path}");
        }
    }

    #[test]
    fn nearer_rules_win_and_are_relative_to_their_folder() {
        let outer = in_front(None, b"*.log\n/d/only", 0, false);
        let inner = in_front(outer, b"!keep.log\n/only", 2, false);
        assert!(excludes(&inner, b"d/a.log", false));
        assert!(!excludes(&inner, b"d/keep.log", false));
        assert!(excludes(&inner, b"d/only", false));
        assert!(!excludes(&inner, b"d/e/only", false));
    }

    proptest! {
        #[test]
        fn arbitrary_rules_never_panic(text in prop::collection::vec(any::<u8>(), 0..60), path in "[a-z/]{1,9}") {
            excludes(&in_front(None, &text, 0, false), path.as_bytes(), false);
        }

        #[test]
        fn odd_patterns_never_panic(text in "[\\[\\]{}!*\\\\ :a-c/-]{0,20}") {
            ignored(&text, "a/b");
        }
    }
}
