//! Ignore rules: one file of them, and the chain that decides about a path.
//!
//! As in git, the last pattern that matches decides. Names without wildcards are looked up; only the other patterns
//! are tried one by one.

use std::collections::HashMap;
use std::rc::Rc;

use crate::snapshot::wild::{self, How};

/// Longer patterns match nothing: no path is longer.
const LONGEST: usize = 4096;

/// The rules that apply in a folder, nearest file first. `None` means no rules.
pub(crate) type Chain = Option<Rc<Level>>;

/// One file of rules and the rest of the chain.
#[derive(Debug)]
pub(crate) struct Level {
    behind: Chain,
    rules: Rules,
    /// Length of the path, with slash, of the folder the patterns are relative to.
    base: usize,
}

/// Puts the rules in `text` in front of a chain. `base` is the length of the path, with trailing slash, of the folder
/// the rules are relative to.
pub(crate) fn in_front(behind: Chain, text: &[u8], base: usize, ignore_case: bool) -> Chain {
    let rules = Rules::new(text, ignore_case);
    if rules.patterns.is_empty() {
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
        match rules.last_match(below, is_dir) {
            Some(pattern) => return !pattern.negated,
            None => level = behind.as_deref(),
        }
    }
    false
}

#[derive(Debug)]
struct Rules {
    ignore_case: bool,
    patterns: Vec<Pattern>,
    /// Patterns without wildcards, by what they match: a name in any folder, or a path.
    names: HashMap<Vec<u8>, Last>,
    paths: HashMap<Vec<u8>, Last>,
    /// The others, in order.
    globs: Vec<usize>,
}

#[derive(Debug)]
struct Pattern {
    /// Without its marks; empty if it has no wildcards.
    glob: Vec<u8>,
    /// How much of the glob is without wildcards.
    literal: usize,
    negated: bool,
    only_dirs: bool,
    /// Whether it holds a slash, so that it is for whole paths.
    is_path: bool,
    /// Whether it is a star and the end of a name (`*.o`), as most are.
    is_end: bool,
}

/// The last pattern of a name for everything, and for folders.
#[derive(Debug, Default, Clone, Copy)]
struct Last {
    any: Option<usize>,
    dir: Option<usize>,
}

impl Rules {
    fn new(text: &[u8], ignore_case: bool) -> Self {
        let mut rules = Self {
            ignore_case,
            patterns: Vec::new(),
            names: HashMap::new(),
            paths: HashMap::new(),
            globs: Vec::new(),
        };
        let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
        for line in text.split(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !line.starts_with(b"#") {
                rules.add(trim_spaces(line));
            }
        }
        rules
    }

    fn add(&mut self, line: &[u8]) {
        let (negated, line) = match line.strip_prefix(b"!") {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        let (only_dirs, line) = match line.strip_suffix(b"/") {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        let is_path = line.contains(&b'/');
        let line = line.strip_prefix(b"/").unwrap_or(line);
        if line.is_empty() || line.len() > LONGEST {
            return;
        }
        let literal = line.iter().take_while(|byte| !wild::is_special(**byte));
        let literal = literal.count();
        let at = self.patterns.len();
        let mut glob = Vec::new();
        let end = line.strip_prefix(b"*").filter(|_| !is_path);
        let is_end = end.is_some_and(|end| !end.iter().any(|byte| wild::is_special(*byte)));
        if literal < line.len() {
            line.clone_into(&mut glob);
            self.globs.push(at);
        } else {
            let key = match self.ignore_case {
                true => line.to_ascii_lowercase(),
                false => line.to_vec(),
            };
            let map = if is_path {
                &mut self.paths
            } else {
                &mut self.names
            };
            let last = map.entry(key).or_default();
            *(if only_dirs {
                &mut last.dir
            } else {
                &mut last.any
            }) = Some(at);
        }
        self.patterns.push(Pattern {
            glob,
            literal,
            negated,
            only_dirs,
            is_path,
            is_end,
        });
    }

    fn last_match(&self, path: &[u8], is_dir: bool) -> Option<&Pattern> {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
        let literal = |map: &HashMap<Vec<u8>, Last>, text: &[u8]| {
            let last = match self.ignore_case {
                true => map.get(&text.to_ascii_lowercase()),
                false => map.get(text),
            }?;
            last.any.max(last.dir.filter(|_| is_dir))
        };
        let known = literal(&self.names, name).max(literal(&self.paths, path));
        let later = self.globs.iter().rev();
        let mut later = later.take_while(|at| known.is_none_or(|known| **at > known));
        let glob = later.find(|at| {
            let pattern = self.patterns.get(**at);
            pattern.is_some_and(|pattern| self.matches(pattern, path, name, is_dir))
        });
        self.patterns.get(glob.copied().or(known)?)
    }

    fn matches(&self, pattern: &Pattern, path: &[u8], name: &[u8], is_dir: bool) -> bool {
        if pattern.only_dirs && !is_dir {
            return false;
        }
        let text = if pattern.is_path { path } else { name };
        let how = How {
            paths: pattern.is_path,
            ignore_case: self.ignore_case,
        };
        let (Some((head, glob)), Some((start, rest))) = (
            pattern.glob.split_at_checked(pattern.literal),
            text.split_at_checked(pattern.literal),
        ) else {
            return false;
        };
        if pattern.is_end {
            let end = glob.get(1..).unwrap_or_default();
            let tail = text.len().checked_sub(end.len());
            return tail.is_some_and(|at| self.same(end, text.get(at..).unwrap_or_default()));
        }
        self.same(head, start) && wild::matches(glob, rest, how)
    }

    fn same(&self, one: &[u8], other: &[u8]) -> bool {
        one == other || self.ignore_case && one.eq_ignore_ascii_case(other)
    }
}

/// Trims trailing spaces that are not escaped.
fn trim_spaces(line: &[u8]) -> &[u8] {
    let mut end = 0;
    let mut bytes = line.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b' ' => {}
            b'\\' => match bytes.next() {
                Some((at, _)) => end = at + 1,
                None => return line,
            },
            _ => end = at + 1,
        }
    }
    line.get(..end).unwrap_or(line)
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

    /// Which of `paths` git ignores by these rules.
    fn git_ignores(repository: &std::path::Path, rules: &str, paths: &[String]) -> Vec<bool> {
        use std::process::{Command, Stdio};
        std::fs::write(repository.join(".gitignore"), rules).unwrap();
        let mut git = Command::new("git");
        git.current_dir(repository)
            .args([
                "-c",
                "core.ignorecase=false",
                "-c",
                "core.excludesfile=/dev/null",
            ])
            .args(["check-ignore", "--no-index", "-z", "--stdin"]);
        let mut git = git
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut asked = paths.join("\0").into_bytes();
        asked.push(0);
        std::io::Write::write_all(&mut git.stdin.take().unwrap(), &asked).unwrap();
        let said = git.wait_with_output().unwrap().stdout;
        let ignored: Vec<&[u8]> = said.split(|byte| *byte == 0).collect();
        let is_ignored = |path: &String| ignored.contains(&path.as_bytes());
        paths.iter().map(is_ignored).collect()
    }

    proptest! {
        #[test]
        fn arbitrary_rules_never_panic(text in prop::collection::vec(any::<u8>(), 0..60), path in "[a-z/]{1,9}") {
            excludes(&in_front(None, &text, 0, false), path.as_bytes(), false);
        }

        #[test]
        fn git_decides_alike(
            lines in prop::collection::vec("!?(a|b|A|\\*|\\*\\*|/|\\*\\*/|/\\*\\*|\\?|\\[ab\\]|\\[!a\\]|\\[\\]a\\]|\\[a-c\\]|\\[\\[:upper:\\]\\]|\\\\a| |é|\\[){1,5}/?", 1..6),
            paths in prop::collection::vec("(a|b|A|ab|c|\\*|é|a b)(/(a|b|A|ab|c)){0,3}", 100),
        ) {
            static REPOSITORY: std::sync::OnceLock<tempfile::TempDir> = std::sync::OnceLock::new();
            let repository = REPOSITORY.get_or_init(|| {
                let dir = tempfile::tempdir().unwrap();
                let init = std::process::Command::new("git").args(["init", "-q"]).current_dir(dir.path()).status();
                assert!(init.unwrap().success());
                dir
            });
            let rules = lines.join("\n");
            let theirs = git_ignores(repository.path(), &rules, &paths);
            let chain = in_front(None, rules.as_bytes(), 0, false);
            for (path, theirs) in paths.iter().zip(theirs) {
                let mut folders = path.match_indices('/').map(|(at, _)| &path[..at]);
                let ours = folders.any(|folder| excludes(&chain, folder.as_bytes(), true))
                    || excludes(&chain, path.as_bytes(), false);
                prop_assert_eq!(ours, theirs, "{} by {:?}", path, lines);
            }
        }

        #[test]
        fn odd_patterns_never_panic(text in "[\\[\\]{}!*\\\\ :a-c/-]{0,20}") {
            ignored(&text, "a/b");
        }
    }
}
