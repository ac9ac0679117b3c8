//! Maps paths printed by tools to project paths.
//!
//! Knows no output formats.

use std::collections::BTreeSet;

use crate::path::RelPath;

/// The file meant by `text`, printed by a tool that ran in `dir` on `files`.
///
/// Tools print paths as given (relative to `dir`), or absolute ones, which the engine has made relative to the
/// project root. One of `files` wins, then the interpretation without a repeated folder.
pub(super) fn locate(text: &str, dir: &RelPath, files: &BTreeSet<&RelPath>) -> Option<RelPath> {
    let here = dir.join(text).ok();
    if dir.is_root() {
        return here;
    }
    let from_root = RelPath::new(text).ok();
    let asked = |path: &RelPath| files.contains(path);
    if here.as_ref().is_some_and(asked) {
        return here;
    }
    match from_root {
        Some(path) if asked(&path) || path.starts_with(dir) => Some(path),
        other => here.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::rel;

    #[test]
    fn paths_are_read_from_the_working_directory_first() {
        let dir = rel("sub");
        let path = |text| locate(text, &dir, &BTreeSet::new()).map(|path| path.to_string());
        assert_eq!(path("a.h").as_deref(), Some("sub/a.h"));
        assert_eq!(path("./x/../a.h").as_deref(), Some("sub/a.h"));
        assert_eq!(path("../b.h").as_deref(), Some("b.h"));
        assert_eq!(path("sub/a.h").as_deref(), Some("sub/a.h"));
        assert_eq!(path("../../b.h"), None);
        assert_eq!(path("/usr/include/a.h"), None);
    }

    #[test]
    fn a_file_that_was_asked_about_wins() {
        let dir = rel("sub");
        let (nested, other) = (rel("sub/sub/a.h"), rel("other/a.h"));
        assert_eq!(
            locate("sub/a.h", &dir, &BTreeSet::from([&nested])),
            Some(nested.clone())
        );
        assert_eq!(
            locate("other/a.h", &dir, &BTreeSet::from([&other])),
            Some(other.clone())
        );
    }
}
