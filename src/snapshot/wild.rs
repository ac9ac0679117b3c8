//! Git's patterns for paths (`wildmatch.c`): bytes, not characters; nothing is compiled, so that a hundred thousand of
//! them need no more memory than their text.

/// How many comparisons one match may cost. Only patterns made for it cost more, and those match nothing.
const MOST_STEPS: u32 = 1_000_000;

/// Whether the byte means something else than itself in a pattern.
pub(crate) const fn is_special(byte: u8) -> bool {
    matches!(byte, b'*' | b'?' | b'[' | b'\\')
}

/// How to match.
#[derive(Debug, Clone, Copy)]
pub(crate) struct How {
    /// `*` and `?` stay within a folder.
    pub(crate) paths: bool,
    pub(crate) ignore_case: bool,
}

/// Whether the pattern matches the whole text.
#[must_use]
pub(crate) fn matches(pattern: &[u8], text: &[u8], how: How) -> bool {
    let mut run = Run { how, steps: 0 };
    run.matches(pattern, 0, text) == Answer::Match
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Match,
    No,
    /// No shorter rest of the text can match either.
    Never,
    /// Nor one that a `*` could skip to, but one behind a later slash.
    NotInFolder,
}

struct Run {
    how: How,
    steps: u32,
}

impl Run {
    /// Matches `whole` from `at`; a `**` looks at what is before it.
    fn matches(&mut self, whole: &[u8], at: usize, text: &[u8]) -> Answer {
        let (mut p, mut t) = (at, 0);
        while let Some(&byte) = whole.get(p) {
            self.steps += 1;
            if self.steps > MOST_STEPS {
                return Answer::Never;
            }
            if byte == b'*' {
                return self.star(whole, p, text.get(t..).unwrap_or_default());
            }
            let Some(&found) = text.get(t) else {
                return Answer::Never;
            };
            let found = self.fold(found);
            match byte {
                b'?' if self.how.paths && found == b'/' => return Answer::No,
                b'?' => {}
                b'[' => match self.class(whole.get(p + 1..).unwrap_or_default(), found) {
                    None => return Answer::Never,
                    Some((_, false)) => return Answer::No,
                    Some((length, true)) => p += length,
                },
                b'\\' => {
                    p += 1;
                    if whole.get(p) != Some(&found) {
                        return Answer::No;
                    }
                }
                byte if self.fold(byte) != found => return Answer::No,
                _ => {}
            }
            p += 1;
            t += 1;
        }
        if t == text.len() {
            Answer::Match
        } else {
            Answer::No
        }
    }

    /// Matches from a run of stars at `at`.
    fn star(&mut self, whole: &[u8], at: usize, text: &[u8]) -> Answer {
        let stars = whole.iter().skip(at).take_while(|byte| **byte == b'*');
        let next = at + stars.count();
        let rest = whole.get(next..).unwrap_or_default();
        let mut crosses = !self.how.paths;
        let alone = (at == 0 || whole.get(at - 1) == Some(&b'/'))
            && (rest.is_empty() || rest.starts_with(b"/") || rest.starts_with(b"\\/"));
        if self.how.paths && next - at > 1 && alone {
            // `a/**/b` matches `a/b`.
            if rest.starts_with(b"/") {
                match self.matches(whole, next + 1, text) {
                    Answer::Match => return Answer::Match,
                    _ if self.steps > MOST_STEPS => return Answer::Never,
                    _ => {}
                }
            }
            crosses = true;
        }
        let slash = text.iter().position(|byte| *byte == b'/');
        if rest.is_empty() {
            return match slash {
                Some(_) if !crosses => Answer::NotInFolder,
                _ => Answer::Match,
            };
        }
        if !crosses && rest.starts_with(b"/") {
            return match slash {
                Some(slash) => {
                    self.matches(whole, next + 1, text.get(slash + 1..).unwrap_or_default())
                }
                None => Answer::Never,
            };
        }
        let literal = rest.first().filter(|byte| !is_special(**byte));
        let literal = literal.map(|byte| self.fold(*byte));
        for from in 0..text.len() {
            let found = self.fold(text[from]);
            self.steps += 1;
            if literal.is_none_or(|literal| literal == found) {
                match self.matches(whole, next, text.get(from..).unwrap_or_default()) {
                    Answer::No => {}
                    Answer::NotInFolder if crosses => {}
                    other => return other,
                }
            }
            if !crosses && found == b'/' {
                return Answer::NotInFolder;
            }
        }
        Answer::Never
    }

    /// Matches a class after its `[`: its length with the `]`, and whether it holds the byte. `None` if it is not
    /// closed or names an unknown class.
    fn class(&self, class: &[u8], found: u8) -> Option<(usize, bool)> {
        let byte = |at: usize| class.get(at).copied();
        let negated = matches!(byte(0)?, b'!' | b'^');
        let mut at = usize::from(negated);
        let mut holds = false;
        // The start of a range, if there may be one.
        let mut before = None;
        loop {
            let mut last = Some(byte(at)?);
            match (byte(at)?, before) {
                (b'\\', _) => {
                    at += 1;
                    last = Some(byte(at)?);
                    holds |= last == Some(found);
                }
                (b'-', Some(low)) if byte(at + 1).is_some_and(|next| next != b']') => {
                    at += 1;
                    if byte(at)? == b'\\' {
                        at += 1;
                    }
                    let range = low..=byte(at)?;
                    holds |= range.contains(&found);
                    holds |= self.how.ignore_case && range.contains(&found.to_ascii_uppercase());
                    last = None;
                }
                (b'[', _) if byte(at + 1) == Some(b':') => {
                    let name = class.get(at + 2..)?;
                    let end = name.iter().position(|byte| *byte == b']')?;
                    match name.get(..end)?.strip_suffix(b":") {
                        Some(name) => {
                            holds |= self.named(name, found)?;
                            at += 2 + end;
                            last = None;
                        }
                        None => holds |= found == b'[',
                    }
                }
                (byte, _) => holds |= byte == found,
            }
            before = last;
            at += 1;
            if byte(at)? == b']' {
                let slash = self.how.paths && found == b'/';
                return Some((at + 1, holds != negated && !slash));
            }
        }
    }

    fn named(&self, name: &[u8], found: u8) -> Option<bool> {
        Some(match name {
            b"alnum" => found.is_ascii_alphanumeric(),
            b"alpha" => found.is_ascii_alphabetic(),
            b"blank" => matches!(found, b' ' | b'\t'),
            b"cntrl" => found.is_ascii_control(),
            b"digit" => found.is_ascii_digit(),
            b"graph" => found.is_ascii_graphic(),
            b"lower" => found.is_ascii_lowercase(),
            b"print" => matches!(found, b' '..=b'~'),
            b"punct" => found.is_ascii_punctuation(),
            b"space" => matches!(found, b' ' | b'\t'..=b'\r'),
            b"upper" => {
                found.is_ascii_uppercase() || self.how.ignore_case && found.is_ascii_lowercase()
            }
            b"xdigit" => found.is_ascii_hexdigit(),
            _ => return None,
        })
    }

    fn fold(&self, byte: u8) -> u8 {
        if self.how.ignore_case {
            byte.to_ascii_lowercase()
        } else {
            byte
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATHS: How = How {
        paths: true,
        ignore_case: false,
    };

    #[test]
    fn stars_stay_in_their_folder_or_not() {
        for (pattern, text, expect) in [
            ("a*c", "abbc", true),
            ("a*c", "ab/c", false),
            ("**/c", "c", true),
            ("a/**/c", "a/c", true),
            ("a/**/c", "a/b/b/c", true),
            ("a/**", "a/b/c", true),
            ("a/**", "a", false),
            ("a**c", "ab/c", false),
            ("*/c", "a/b/c", false),
            ("[a-]x", "-x", true),
            ("[[:upper:]]", "A", true),
            ("[a/]b", "/b", false),
            ("?", "/", false),
        ] {
            let matched = matches(pattern.as_bytes(), text.as_bytes(), PATHS);
            assert_eq!(matched, expect, "{pattern} on {text}");
        }
    }

    #[test]
    fn a_pattern_made_to_take_for_ever_matches_nothing() {
        let pattern = "**/".repeat(40) + "b";
        assert!(!matches(pattern.as_bytes(), &b"a/".repeat(40), PATHS));
    }
}
