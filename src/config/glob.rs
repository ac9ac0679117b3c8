//! Glob patterns in the configuration.
//!
//! `*` stays within a folder, `**` crosses folders, leading dots are not special, the last matching pattern wins, and
//! `!` excludes. A pattern that names a folder matches everything below it. Reads no folders: paths come from the
//! snapshot.

use globset::{GlobBuilder, GlobMatcher};

use crate::path::RelPath;

const META: &[char] = &['*', '?', '[', ']', '{', '}', '\\'];

/// A compiled list of patterns.
#[derive(Debug, Clone)]
pub(crate) struct Globs {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    text: String,
    include: bool,
    shape: Shape,
}

/// The common shapes need no regular expression per file.
#[derive(Debug, Clone)]
enum Shape {
    /// This file, or everything below this folder; the root matches everything.
    Literal(RelPath),
    /// Everything below this folder, but not the folder itself.
    Below(RelPath),
    Glob(GlobMatcher),
}

impl Globs {
    pub(crate) fn new(patterns: &[String]) -> Result<Self, (usize, String)> {
        let rules = patterns
            .iter()
            .enumerate()
            .map(|(index, pattern)| Rule::new(pattern).map_err(|message| (index, message)))
            .collect::<Result<Vec<_>, _>>()?;
        if rules.first().is_some_and(|rule| !rule.include) {
            let message = "excludes files, but no earlier pattern includes any; start with `**`";
            return Err((0, message.to_owned()));
        }
        Ok(Self { rules })
    }

    /// Matches nothing.
    #[must_use]
    pub(crate) const fn nothing() -> Self {
        Self { rules: Vec::new() }
    }

    /// Matches everything.
    #[must_use]
    pub(crate) fn everything() -> Self {
        Self {
            rules: vec![Rule {
                text: "**".to_owned(),
                include: true,
                shape: Shape::Literal(RelPath::root()),
            }],
        }
    }

    /// Whether the last pattern matching `path` includes it.
    #[must_use]
    pub(crate) fn matches(&self, path: &RelPath) -> bool {
        self.rules
            .iter()
            .rev()
            .find(|rule| rule.shape.matches(path))
            .is_some_and(|rule| rule.include)
    }

    /// Paths named without metacharacters and not excluded later. Only these may name files that git ignores.
    pub(crate) fn literal_paths(&self) -> impl Iterator<Item = &RelPath> {
        self.rules
            .iter()
            .filter(|rule| rule.include)
            .filter_map(|rule| match &rule.shape {
                Shape::Literal(path) if !path.is_root() => Some(path),
                _ => None,
            })
            .filter(|path| self.matches(path))
    }

    /// The patterns as written.
    pub(crate) fn patterns(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| rule.text.as_str())
    }
}

impl PartialEq for Globs {
    fn eq(&self, other: &Self) -> bool {
        self.patterns().eq(other.patterns())
    }
}

impl Eq for Globs {}

impl Rule {
    fn new(text: &str) -> Result<Self, String> {
        let (include, pattern) = match text.strip_prefix('!') {
            Some(rest) => (false, rest),
            None => (true, text),
        };
        Ok(Self {
            text: text.to_owned(),
            include,
            shape: Shape::new(pattern)?,
        })
    }
}

impl Shape {
    fn new(pattern: &str) -> Result<Self, String> {
        let normal = normalise(pattern)?;
        if normal == "**" {
            return Ok(Self::Literal(RelPath::root()));
        }
        if let Some(dir) = normal.strip_suffix("/**")
            && !dir.contains(META)
        {
            return Ok(Self::Below(literal(dir)?));
        }
        if !normal.contains(META) {
            return Ok(Self::Literal(literal(&normal)?));
        }
        let glob = GlobBuilder::new(&normal)
            .literal_separator(true)
            .backslash_escape(true)
            .empty_alternates(true)
            .build()
            .map_err(|error| error.kind().to_string())?;
        Ok(Self::Glob(glob.compile_matcher()))
    }

    fn matches(&self, path: &RelPath) -> bool {
        match self {
            Self::Literal(at) => path.starts_with(at),
            Self::Below(dir) => path != dir && path.starts_with(dir),
            Self::Glob(glob) => glob.is_match(path.as_str()),
        }
    }
}

fn literal(text: &str) -> Result<RelPath, String> {
    RelPath::new(text).map_err(|error| error.to_string())
}

/// Drops `.` and empty segments; a trailing slash stands for everything below.
fn normalise(pattern: &str) -> Result<String, String> {
    if pattern.is_empty() {
        return Err("is empty".to_owned());
    }
    if pattern.starts_with('/') {
        return Err("is absolute; patterns are relative to the project root".to_owned());
    }
    let mut segments: Vec<&str> = pattern
        .split('/')
        .filter(|segment| !matches!(*segment, "" | "."))
        .collect();
    if segments.contains(&"..") {
        return Err("contains `..`; patterns must stay below the project root".to_owned());
    }
    let folder = pattern.ends_with('/') && pattern.contains(META);
    if segments.is_empty() || (folder && segments.last() != Some(&"**")) {
        segments.push("**");
    }
    Ok(segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn globs(patterns: &[&str]) -> Globs {
        let owned: Vec<String> = patterns.iter().map(|p| (*p).to_owned()).collect();
        Globs::new(&owned).unwrap_or_else(|error| panic!("{patterns:?}: {error:?}"))
    }

    #[track_caller]
    fn check(patterns: &[&str], yes: &[&str], no: &[&str]) {
        let globs = globs(patterns);
        let matches = |path: &str| globs.matches(&RelPath::new(path).expect(path));
        for path in yes {
            assert!(matches(path), "{patterns:?} should match {path}");
        }
        for path in no {
            assert!(!matches(path), "{patterns:?} should not match {path}");
        }
    }

    #[test]
    fn one_star_stays_in_a_folder_and_two_cross() {
        check(
            &["src/*.h"],
            &["src/a.h", "src/.h"],
            &["a.h", "src/x/a.h", "src/a.hpp"],
        );
        check(
            &["src/**/*.h"],
            &["src/a.h", "src/x/y/a.h"],
            &["a.h", "lib/src/a.h"],
        );
        check(&["**/*.h"], &["a.h", "x/y/a.h"], &["a.c"]);
        check(&["src/*"], &["src/a"], &["src/x/a", "src"]);
        check(&["src/**"], &["src/a", "src/x/a"], &["src", "srcs/a"]);
    }

    #[test]
    fn dotfiles_are_files() {
        check(&["*"], &[".yamllint", "a"], &["x/.yamllint"]);
        check(&["**"], &[".yamllint", "x/.github/workflows/ci.yaml"], &[]);
    }

    #[test]
    fn the_last_matching_pattern_wins() {
        check(
            &["src/**", "!src/generated/**", "src/generated/keep.rs"],
            &["src/a.rs", "src/generated/keep.rs"],
            &["src/generated/a.rs", "b.rs"],
        );
    }

    #[test]
    fn a_folder_stands_for_everything_below_it() {
        check(
            &["tests/fixtures"],
            &["tests/fixtures", "tests/fixtures/a/b"],
            &["tests/fixtures2/a", "tests"],
        );
        check(&["gen*/"], &["generated/a/b"], &["x/generated/a"]);
        for all in [".", "./", "**", "**/", "./**"] {
            check(&[all], &["a", "x/y"], &[]);
        }
        check(&["./src/"], &["src/a"], &["a"]);
    }

    #[test]
    fn alternatives_classes_and_escapes() {
        check(&["**/*.{yml,yaml}"], &["a.yml", "x/b.yaml"], &["a.yam"]);
        check(&["app/\\[id\\].ts"], &["app/[id].ts"], &["app/i.ts"]);
        check(&["[ab].c"], &["a.c"], &["c.c", "[ab].c"]);
    }

    #[test]
    fn bad_patterns_say_which_and_why() {
        let new = |patterns: &[&str]| {
            let owned: Vec<String> = patterns.iter().map(|p| (*p).to_owned()).collect();
            Globs::new(&owned).map(|_| ()).unwrap_err()
        };
        assert_eq!(new(&["ok", "src/[a"]).0, 1);
        assert!(new(&["/etc"]).1.contains("absolute"));
        assert!(new(&["a/../../b"]).1.contains(".."));
        assert!(new(&[""]).1.contains("empty"));
        assert!(new(&["!a"]).1.contains("start with `**`"));
    }

    #[test]
    fn literal_paths_hold_no_metacharacter_and_are_not_excluded_again() {
        let globs = globs(&["src/**", "gen/config.h", "*.c", "a.h", "!a.h", "."]);
        let literal: Vec<_> = globs.literal_paths().map(RelPath::as_str).collect();
        assert_eq!(literal, ["gen/config.h", "a.h"]);
        let globs = Globs::new(&["a.h".to_owned(), "!a.h".to_owned()]).expect("valid");
        assert_eq!(globs.literal_paths().count(), 0);
    }

    proptest! {
        #[test]
        fn arbitrary_patterns_never_panic(pattern in any::<String>(), path in "[a-z./]{0,12}") {
            if let (Ok(globs), Ok(path)) = (Globs::new(&[pattern]), RelPath::new(&path)) {
                let _ = globs.matches(&path);
            }
        }

        #[test]
        fn a_literal_matches_itself(path in "[a-zA-Z0-9._-]{1,6}(/[a-zA-Z0-9_-]{1,6}){0,3}") {
            prop_assume!(path.split('/').all(|segment| !matches!(segment, "." | "..")));
            let path = RelPath::new(&path).expect("relative");
            let globs = Globs::new(&[path.as_str().to_owned()]).expect("literal");
            prop_assert!(globs.matches(&path));
        }
    }
}
