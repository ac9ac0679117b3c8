//! What a traced run did with the project's files, for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::key::facts::{Place, States};
use crate::process::launcher::trace::Uses;
use crate::report::text::count;
use crate::visible;

/// More lines of one kind are only counted.
const LINES: usize = 40;

/// What a run did with a path, most telling first; see [`Uses`].
fn words(uses: Uses) -> &'static str {
    let all = [
        (Uses::MADE, "made"),
        (Uses::ABSENT, "missing"),
        (Uses::CONTENT, "read"),
        (Uses::TREE, "moved"),
        (Uses::NAMES, "listed"),
        (Uses::TARGET, "followed"),
        (Uses::SIZE, "measured"),
    ];
    let word = all.into_iter().find(|(one, _)| uses.has(*one));
    word.map_or("found", |(_, word)| word)
}

/// Lines for one check.
pub(super) fn text(states: &States) -> String {
    let (mut project, mut host) = (Kinds::new(), Kinds::new());
    for (path, uses, state) in states.iter() {
        let (kinds, kind, path) = match Place::of(path) {
            Place::Program(name) if state.is_empty() => (&mut host, "no program", name),
            Place::Program(name) => (&mut host, "program", name),
            Place::Host(path) => (&mut host, words(uses), path),
            Place::Project(path) => (&mut project, words(uses), path),
        };
        kinds.entry(kind).or_default().push(path);
    }
    lines("used", "path", &project) + &lines("of host", "program or file", &host)
}

/// Paths by what was done with them.
type Kinds<'a> = BTreeMap<&'static str, Vec<&'a str>>;

fn lines(title: &str, of: &str, kinds: &Kinds<'_>) -> String {
    let mut text = String::new();
    let total = kinds.values().map(Vec::len).sum();
    if total == 0 {
        return text;
    }
    let _ = writeln!(text, "  {title:<8} {}", count(total, of, &format!("{of}s")));
    for (kind, paths) in kinds {
        for path in paths.iter().take(LINES) {
            let shown = if path.is_empty() { "." } else { path };
            let _ = writeln!(text, "    {kind:<10} {}", visible::name(shown));
        }
        if let Some(more @ 1..) = paths.len().checked_sub(LINES) {
            let _ = writeln!(text, "    {kind:<10} … and {more} more");
        }
    }
    text
}

/// What a run did with one file, as a sentence without its subject: by its path, or by the folders above it that it
/// listed or moved.
pub(super) fn of_file(states: &States, file: &str) -> Option<&'static str> {
    let mut found = None;
    for (path, uses, _) in states.iter() {
        let Place::Project(path) = Place::of(path) else {
            continue;
        };
        if path == file {
            return Some(match words(uses) {
                "made" => "makes it",
                "missing" => "looks for it",
                "read" => "reads it",
                "moved" => "moves it",
                "listed" => "lists it",
                "followed" => "follows it",
                "measured" => "asks for its size",
                _ => "asks whether it is there",
            });
        }
        let parent = file.rsplit_once('/').map_or("", |(parent, _)| parent);
        let below = |folder: &str| {
            let rest = file.strip_prefix(folder);
            rest.is_some_and(|rest| folder.is_empty() || rest.starts_with('/'))
        };
        if uses.has(Uses::TREE) && below(path) {
            found = Some("moves its folder");
        } else if uses.has(Uses::NAMES) && path == parent && found.is_none() {
            found = Some("lists its folder");
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_telling_use_is_named() {
        assert_eq!(words(Uses::KIND.and(Uses::CONTENT)), "read");
        assert_eq!(words(Uses::ABSENT.and(Uses::MADE)), "made");
        assert_eq!(words(Uses::KIND), "found");
    }

    #[test]
    fn a_file_is_used_by_name_or_through_its_folder() {
        let line = |path: &str, uses: Uses| format!("{path}\0{:02x}d\n", uses.0);
        let text = line("a", Uses::NAMES) + &line("b", Uses::TREE) + &line("c/x", Uses::CONTENT);
        let states = States::decode(text.as_bytes()).expect("states");
        assert_eq!(of_file(&states, "a/x"), Some("lists its folder"));
        assert_eq!(of_file(&states, "a/b/x"), None);
        assert_eq!(of_file(&states, "b/c/x"), Some("moves its folder"));
        assert_eq!(of_file(&states, "c/x"), Some("reads it"));
    }
}
