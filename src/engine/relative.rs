//! Makes captured output independent of the location of a room.

use std::path::Path;

use crate::room::Layout;

/// Replacements for all absolute paths of a room.
pub(crate) struct Relative {
    /// (prefix, replacement), longer prefixes before shorter ones.
    folders: Vec<(String, String)>,
}

impl Relative {
    /// For one room at all its locations, both plain and resolved.
    #[must_use]
    pub(crate) fn new(rooms: &[Layout]) -> Self {
        let mut folders = Vec::new();
        for room in rooms {
            Self::add(&mut folders, room);
        }
        folders.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        folders.dedup();
        Self { folders }
    }

    fn add(folders: &mut Vec<(String, String)>, room: &Layout) {
        let mut add = |path: &Path, to: &str| {
            let resolved = path.canonicalize().ok();
            for path in [Some(path), resolved.as_deref()].into_iter().flatten() {
                if let Some(text) = path.to_str() {
                    folders.push((text.to_owned(), to.to_owned()));
                }
            }
        };
        add(&room.tree(), ".");
        for up in 1..=room.depth() {
            add(&room.above(up), &vec![".."; up as usize].join("/"));
        }
        add(&room.home(), "~");
        add(&room.tmp(), "$TMPDIR");
        add(&room.bin(), ".");
    }

    /// Lossy UTF-8 with all paths of the room made relative.
    #[must_use]
    pub(crate) fn text(&self, bytes: &[u8]) -> String {
        let mut text = String::from_utf8_lossy(bytes).into_owned();
        for (prefix, to) in &self.folders {
            if text.contains(prefix.as_str()) {
                text = replace(&text, prefix, to);
            }
        }
        text
    }
}

/// Replaces the directory `prefix` where it is a whole path or the start of one. Paths below `.` are written without
/// it.
fn replace(text: &str, prefix: &str, to: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(prefix) {
        rest = after;
        if goes_on(after) {
            out.push_str(before);
            out.push_str(prefix);
            continue;
        }
        out.push_str(before.strip_suffix("file://").unwrap_or(before));
        match after.strip_prefix('/') {
            Some(below) if to == "." && below.starts_with(is_name) => rest = below,
            _ => out.push_str(to),
        }
    }
    out.push_str(rest);
    out
}

/// Whether the directory name is longer than the prefix. A full stop alone ends a sentence.
fn goes_on(after: &str) -> bool {
    after.trim_start_matches('.').starts_with(is_name)
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || "-_.~+".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_folders_are_replaced() {
        let check = |text: &str, expect: &str| assert_eq!(replace(text, "/r/tree", "."), expect);
        check("/r/tree/src/a.rs:1:2: x", "src/a.rs:1:2: x");
        check("--> file:///r/tree/src/a.rs", "--> src/a.rs");
        check("Checking a v0.1.0 (/r/tree)", "Checking a v0.1.0 (.)");
        check("in /r/tree.", "in ..");
        check("in /r/tree/ and", "in ./ and");
        check(
            "/r/tree2/a /r/tree-x /r/tree.d/a",
            "/r/tree2/a /r/tree-x /r/tree.d/a",
        );
        check("a=/r/tree/a:/r/tree/b:/r/tree", "a=a:b:.");
        check("", "");
        assert_eq!(replace("/r/a.toml", "/r", "../.."), "../../a.toml");
    }

    proptest::proptest! {
        #[test]
        fn text_without_the_folder_stays_as_it_is(text: String, other in "[ab/.: \\n]*") {
            proptest::prop_assert_eq!(replace(&text, "/ro/om", "."), text);
            proptest::prop_assert_eq!(replace(&other, "/ro/om", "."), other);
        }

        #[test]
        fn no_path_of_the_folder_is_left(text in "((file://)?/r/a[b/.:]* )*") {
            let left = replace(&text, "/r/a", ".");
            let whole = |part: &str| part.strip_prefix("/r/a").is_some_and(|rest| !goes_on(rest));
            proptest::prop_assert!(!left.split(' ').any(whole));
        }
    }

    #[test]
    fn places_of_a_room_are_named_as_the_user_knows_them() {
        let dir = tempfile::tempdir().unwrap();
        let room = crate::room::Room::take(dir.path(), "a").unwrap();
        let relative = Relative::new(&[room.layout(), room.layout().moved("/fixed")]);
        let inside = relative.text(b"/fixed/up/up1/tree/src/a");
        assert_eq!(inside, "src/a");
        let said = |path: std::path::PathBuf| relative.text(path.to_string_lossy().as_bytes());
        assert_eq!(said(room.tree().join("src/ä")), "src/ä");
        assert_eq!(said(room.above(1).join("ruff.toml")), "../ruff.toml");
        assert_eq!(said(room.home().join(".cache")), "~/.cache");
        assert_eq!(said(room.tmp()), "$TMPDIR");
        assert_eq!(said(room.bin().join("cargo")), "cargo");
        assert_eq!(relative.text(b"\xff\n"), "\u{fffd}\n");
    }
}
