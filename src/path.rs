//! Paths inside a project.
//!
//! [`RelPath`] is the only way a path enters a key, a tree, a report or a stored entry. Never touches the file
//! system.

use std::fmt;
use std::ops::Deref;
use std::path::{Component, Path, PathBuf};

use crate::visible::{self, Shown as _};

/// A project-relative path: UTF-8, `/`-separated, without empty, `.` or `..` segments. The project root is the empty
/// path. Ordered by bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct RelPath(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RelPathError {
    /// Starts with `/` or a Windows prefix.
    #[error("`{0}` is absolute; use a path relative to the project root")]
    Absolute(String),
    /// Climbs above the project root.
    #[error("`{0}` is outside the project root")]
    Outside(String),
    #[error("`{0}` is not valid UTF-8")]
    NotUtf8(String),
    #[error("`{0}` contains a NUL byte")]
    Nul(String),
}

impl RelPath {
    #[must_use]
    pub(crate) fn root() -> Self {
        Self::default()
    }

    /// Normalises `text`: resolves `.` and inner `..` by name, drops repeated and trailing slashes.
    pub(crate) fn new(text: &str) -> Result<Self, RelPathError> {
        Self::root().join(text)
    }

    /// Wraps a path known to be normal, such as one built by a walk below the root. Checked in debug builds.
    #[must_use]
    pub(crate) fn from_normal(text: String) -> Self {
        debug_assert_eq!(Self::new(&text).as_deref(), Ok(text.as_str()));
        Self(text)
    }

    pub(crate) fn from_path(path: &Path) -> Result<Self, RelPathError> {
        let text = path
            .to_str()
            .ok_or_else(|| RelPathError::NotUtf8(path.shown().to_string()))?;
        Self::new(text)
    }

    /// Resolves `text` relative to this folder (`base.join("../x")`), by name, without following links.
    pub(crate) fn join(&self, text: &str) -> Result<Self, RelPathError> {
        if text.starts_with('/') {
            return Err(RelPathError::Absolute(text.to_owned()));
        }
        if text.contains('\0') {
            return Err(RelPathError::Nul(text.to_owned()));
        }
        let mut segments: Vec<&str> = self.segments().collect();
        for segment in text.split('/') {
            match segment {
                "" | "." => {}
                ".." => {
                    if segments.pop().is_none() {
                        return Err(RelPathError::Outside(text.to_owned()));
                    }
                }
                other => segments.push(other),
            }
        }
        Ok(Self(segments.join("/")))
    }

    /// The text; empty for the root.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The text for argv: `.` for the root.
    #[must_use]
    pub(crate) fn display_dot(&self) -> &str {
        if self.0.is_empty() { "." } else { &self.0 }
    }

    #[must_use]
    pub(crate) fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The containing folder; `None` for the root.
    #[must_use]
    pub(crate) fn parent(&self) -> Option<Self> {
        if self.0.is_empty() {
            return None;
        }
        Some(Self(
            self.0
                .rsplit_once('/')
                .map_or("", |(dir, _)| dir)
                .to_owned(),
        ))
    }

    /// The last segment; empty for the root.
    #[must_use]
    pub(crate) fn file_name(&self) -> &str {
        // Every planner calls this for every file; names are short, so a byte-wise search from the end is fastest.
        match self.0.bytes().rposition(|byte| byte == b'/') {
            Some(at) => &self.0[at + 1..],
            None => &self.0,
        }
    }

    /// The part after the last dot of the file name.
    #[must_use]
    pub(crate) fn extension(&self) -> Option<&str> {
        match self.file_name().rsplit_once('.') {
            Some((stem, extension)) if !stem.is_empty() => Some(extension),
            _ => None,
        }
    }

    /// The segments from the root down.
    pub(crate) fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/').filter(|s| !s.is_empty())
    }

    /// Whether this is `dir` or below it, compared by whole segments.
    #[must_use]
    pub(crate) fn starts_with(&self, dir: &Self) -> bool {
        dir.is_root()
            || self.0 == dir.0
            || (self.0.len() > dir.0.len()
                && self.0.starts_with(&dir.0)
                && self.0.as_bytes()[dir.0.len()] == b'/')
    }

    /// The part below `dir`; `None` if this is not below it.
    #[must_use]
    pub(crate) fn strip_prefix(&self, dir: &Self) -> Option<&str> {
        if !self.starts_with(dir) {
            return None;
        }
        if dir.is_root() {
            return Some(&self.0);
        }
        Some(self.0[dir.0.len()..].trim_start_matches('/'))
    }

    /// This path relative to the folder `dir`: `../b/c`; empty for `dir` itself.
    #[must_use]
    pub(crate) fn seen_from(&self, dir: &Self) -> String {
        let pairs = dir.segments().zip(self.segments());
        let common = pairs.take_while(|(a, b)| a == b).count();
        let up = dir.segments().skip(common).map(|_| "..");
        let down = self.segments().skip(common);
        up.chain(down).collect::<Vec<_>>().join("/")
    }

    /// [`RelPath::seen_from`] as an argument for a program that runs in `dir`: never mistaken for an option.
    #[must_use]
    pub(crate) fn argument_from(&self, dir: &Self) -> String {
        let text = self.seen_from(dir);
        if text.starts_with('-') {
            format!("./{text}")
        } else {
            text
        }
    }

    /// The containing folders, nearest first, the root last.
    pub(crate) fn ancestors(&self) -> impl Iterator<Item = Self> {
        std::iter::successors(self.parent(), Self::parent)
    }

    /// Whether it is below a folder of test data or examples, where files may be invalid on purpose.
    #[must_use]
    pub(crate) fn is_test_data(&self) -> bool {
        const NAMES: &[&str] = &["tests", "test", "testdata", "fixtures", "examples"];
        self.is_below(NAMES)
    }

    /// Whether it is below test data, templates or vendored sources. Projects there are not part of this repository,
    /// so unreadable manifests and lockfiles only cause a warning and no checks are planned.
    #[must_use]
    pub(crate) fn is_fixture(&self) -> bool {
        self.is_test_data() || self.is_below(&["templates", "vendor", "thirdparty"])
    }

    /// Whether a parent folder has one of these names. Ignores `-` and `_`: `test_data`, `__fixtures__`.
    fn is_below(&self, names: &[&str]) -> bool {
        let named = |folder: &str| names.contains(&folder.replace(['-', '_'], "").as_str());
        self.segments().rev().skip(1).any(named)
    }

    /// This path below `root`.
    #[must_use]
    pub(crate) fn under(&self, root: &Path) -> PathBuf {
        if self.0.is_empty() {
            root.to_path_buf()
        } else {
            root.join(&self.0)
        }
    }
}

impl Deref for RelPath {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for RelPath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for RelPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RelPath {
    /// One line for people, see [`visible::name`]. For programs, use [`RelPath::as_str`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&visible::name(self.display_dot()))
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl serde::Serialize for RelPath {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for RelPath {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

/// Resolves `.` and `..` by name.
pub(crate) fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => _ = out.pop(),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rel(text: &str) -> RelPath {
        RelPath::new(text).expect(text)
    }

    #[test]
    fn normalises_and_refuses_to_leave_the_root() {
        assert_eq!(rel("./a//b/../c/").as_str(), "a/c");
        assert_eq!(rel("a/b").join("../x.yaml").as_deref(), Ok("a/x.yaml"));
        assert!(matches!(RelPath::new("/a"), Err(RelPathError::Absolute(_))));
        assert!(matches!(
            RelPath::new("a/../.."),
            Err(RelPathError::Outside(_))
        ));
        assert!(matches!(RelPath::new("a\0b"), Err(RelPathError::Nul(_))));
    }

    #[test]
    fn parts_of_a_path() {
        let path = rel("a/b.tar.gz");
        assert_eq!(path.file_name(), "b.tar.gz");
        assert_eq!(path.extension(), Some("gz"));
        assert_eq!(rel(".yamllint").extension(), None);
        assert_eq!(path.parent(), Some(rel("a")));
        assert_eq!(
            path.ancestors().collect::<Vec<_>>(),
            [rel("a"), RelPath::root()]
        );
        assert!(path.starts_with(&rel("a")) && !rel("ab/c").starts_with(&rel("a")));
        assert_eq!(path.strip_prefix(&rel("a")), Some("b.tar.gz"));
        assert_eq!(RelPath::root().to_string(), ".");
    }

    #[test]
    fn fixtures_are_known_by_the_folders_above_them() {
        for path in ["tests/a", "x/test_data/y/a", "__fixtures__/a", "examples/a"] {
            assert!(rel(path).is_test_data() && rel(path).is_fixture(), "{path}");
        }
        for path in [
            "x/templates/a",
            "vendor/a",
            "third_party/a",
            "third-party/a",
        ] {
            assert!(
                !rel(path).is_test_data() && rel(path).is_fixture(),
                "{path}"
            );
        }
        for path in [
            "tests",
            "src/tests.rs",
            "latest/a",
            "contests/a",
            "vendors/a",
            "",
        ] {
            assert!(!rel(path).is_fixture(), "{path}");
        }
    }

    #[test]
    fn a_path_is_written_as_seen_from_a_folder_and_never_as_an_option() {
        for (dir, path, expect) in [
            ("", "src/lib.rs", "src/lib.rs"),
            ("", "a/b.yaml", "a/b.yaml"),
            ("a", "a/b.yaml", "b.yaml"),
            ("a", "a/src/lib.rs", "src/lib.rs"),
            ("a/b", "a/c/x.rs", "../c/x.rs"),
            ("a/c", "a/b.yaml", "../b.yaml"),
            ("ab", "a/b.yaml", "../a/b.yaml"),
            ("", "src/a.h", "src/a.h"),
            ("src", "src/a.h", "a.h"),
            ("src/x", "src/a.h", "../a.h"),
            ("lib", "src/a.h", "../src/a.h"),
        ] {
            assert_eq!(rel(path).seen_from(&rel(dir)), expect);
            assert_eq!(rel(path).argument_from(&rel(dir)), expect);
        }
        for (dir, path, expect) in [
            ("", "-rf", "./-rf"),
            ("a", "a/-rf", "./-rf"),
            ("src", "src/-rf/a", "./-rf/a"),
        ] {
            assert_eq!(rel(path).argument_from(&rel(dir)), expect);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_refused_or_a_normal_path_below_the_root(text in "[./a\\\\\u{0}é]{0,12}", more in "[./a]{0,8}") {
            for path in [RelPath::new(&text), RelPath::new("a/b").expect("path").join(&more)] {
                let Ok(path) = path else { continue };
                proptest::prop_assert!(path.segments().all(|name| !["", ".", ".."].contains(&name)));
                proptest::prop_assert_eq!(RelPath::new(&path), Ok(path.clone()));
            }
        }
    }
}
