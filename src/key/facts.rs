//! Keys of checks whose file accesses are observed.
//!
//! ```text
//! weak key   = everything except the files of the project
//! strong key = the weak key's parts and the state of everything a run asked about
//! ```
//! A result is stored under the strong key of what its run asked, and these questions under the weak key. A later run
//! with the same weak key answers each known set of questions from its snapshot. Equal answers mean that the run would
//! see the same and thus behave the same. The idea is BuildXL's: weak fingerprint, path set, strong fingerprint.
//!
//! Of the host, a run asks which program a name on PATH leads to, and about files that neither the weak key nor the
//! identity of the platform holds.
//!
//! Pure, like all of `key`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::key::CheckKey;
use crate::key::fingerprint::{Fingerprint, PartKind};
use crate::key::tree::{self, Trees};
use crate::path::RelPath;
use crate::process::launcher::trace::Uses;
use crate::snapshot::{Entry, FileId, Kind, Snapshot};
use crate::visible;

/// What a run asked: by path, what about it. Paths of the project are relative to its root, which is empty; those of the
/// host are absolute; see [`Place`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Facts(pub(crate) BTreeMap<String, Uses>);

/// Before the name of a program; no path starts with it.
const PROGRAM: &str = "//";

/// What the path of a fact means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    /// A file of the project.
    Project(&'a str),
    /// A file of the host, by its absolute path.
    Host(&'a str),
    /// The program that a name on PATH leads to.
    Program(&'a str),
}

impl<'a> Place<'a> {
    pub(crate) fn of(path: &'a str) -> Self {
        match path.strip_prefix(PROGRAM) {
            Some(name) => Self::Program(name),
            None if path.starts_with('/') => Self::Host(path),
            None => Self::Project(path),
        }
    }
}

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Project("") => f.write_str("the project's root"),
            Self::Project(path) | Self::Host(path) => f.write_str(&visible::name(path)),
            Self::Program(name) => write!(f, "the program {}", visible::name(name)),
        }
    }
}

/// Answers questions about the host.
pub(crate) trait Host {
    /// What the program of this name is; empty if there is none.
    fn program(&self, name: &str) -> String;

    /// What is at an absolute path; empty if there is nothing. Has the form of states of the project's files.
    fn file(&self, path: &Path, uses: Uses) -> String;
}

impl Facts {
    /// Adds that a program was looked for on PATH.
    pub(crate) fn add_program(&mut self, name: &str) {
        self.0.insert(format!("{PROGRAM}{name}"), Uses::KIND);
    }

    /// The names of programs that were looked for on PATH.
    pub(crate) fn programs(&self) -> impl Iterator<Item = &str> {
        let from = self.0.range(PROGRAM.to_owned()..);
        from.map_while(|(path, _)| path.strip_prefix(PROGRAM))
    }

    /// Removes the programs that `known` says are in the weak key.
    pub(crate) fn forget_programs(&mut self, known: impl Fn(&str) -> bool) {
        self.0.retain(|path, _| match Place::of(path) {
            Place::Program(name) => !known(name),
            _ => true,
        });
    }

    /// Removes the places in the folders of PATH where a program is not: where it is counts.
    pub(crate) fn forget_path(&mut self, folders: &[PathBuf]) {
        let names: BTreeSet<String> = self.programs().map(str::to_owned).collect();
        self.0.retain(|path, uses| {
            let path = Path::new(path);
            let name = path.file_name().and_then(|name| name.to_str());
            let mut folders = folders.iter();
            *uses != Uses::ABSENT
                || !name.is_some_and(|name| names.contains(name))
                || !folders.any(|folder| path.parent() == Some(folder))
        });
    }

    /// One line for each path; the inverse of [`Facts::of_lines`].
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        let all = self.0.iter();
        all.map(|(path, uses)| format!("{:02x}{path}", uses.0))
    }

    /// All lines.
    #[must_use]
    pub(crate) fn text(&self) -> String {
        self.lines().collect::<Vec<_>>().join("\n")
    }

    /// Reads lines; `None` if they are something else.
    #[must_use]
    pub(crate) fn of_lines(lines: &[String]) -> Option<Self> {
        let fact = |line: &String| {
            let (uses, path) = line.split_at_checked(2)?;
            Some((path.to_owned(), Uses(u8::from_str_radix(uses, 16).ok()?)))
        };
        lines.iter().map(fact).collect::<Option<_>>().map(Self)
    }

    /// The paths that the run did not make.
    pub(crate) fn used(&self) -> impl Iterator<Item = &str> {
        self.asked().map(|(path, _)| path.as_str())
    }

    fn asked(&self) -> impl Iterator<Item = (&String, &Uses)> {
        self.0.iter().filter(|(_, uses)| !uses.has(Uses::MADE))
    }

    /// The same questions, apart from names that the runs made up.
    #[must_use]
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.asked().eq(other.asked())
    }
}

/// What a run asked about, with the answers, which are empty for what is not there. Of what the run made, only what is in
/// the way.
///
/// Encoded as lines of path, NUL, uses, state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct States(BTreeMap<String, (Uses, String)>);

/// Separates a path from its state.
const NUL: char = '\0';

impl States {
    /// Answers the questions from the visible files of a snapshot.
    #[must_use]
    pub(crate) fn of(facts: &Facts, now: &mut Now<'_, '_>) -> Self {
        let all = facts.0.iter().filter_map(|(path, uses)| {
            let state = now.state(path, *uses);
            let is_free = uses.has(Uses::MADE) && state.is_empty();
            (!is_free).then(|| (path.clone(), (*uses, state)))
        });
        Self(all.collect())
    }

    #[must_use]
    pub(crate) fn encode(&self) -> Vec<u8> {
        let lines = self.0.iter();
        let lines =
            lines.map(|(path, (uses, state))| format!("{path}{NUL}{:02x}{state}\n", uses.0));
        lines.collect::<String>().into_bytes()
    }

    /// Decodes [`States::encode`]; `None` for anything else.
    #[must_use]
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        // Names may hold line feeds; states do not.
        let mut rest = text;
        let mut all = BTreeMap::new();
        while let Some((path, after)) = rest.split_once(NUL) {
            let (state, after) = after.split_once('\n')?;
            let (uses, state) = state.split_at_checked(2)?;
            let uses = Uses(u8::from_str_radix(uses, 16).ok()?);
            all.insert(path.to_owned(), (uses, state.to_owned()));
            rest = after;
        }
        rest.is_empty().then_some(Self(all))
    }

    /// What was asked.
    #[must_use]
    pub(crate) fn facts(&self) -> Facts {
        let all = self.0.iter();
        Facts(all.map(|(path, (uses, _))| (path.clone(), *uses)).collect())
    }

    /// The paths whose answers differ, each with what was asked and both answers.
    pub(crate) fn changes<'a>(
        &'a self,
        new: &'a Self,
    ) -> impl Iterator<Item = (&'a str, Uses, [&'a str; 2])> {
        let all = self
            .0
            .keys()
            .chain(new.0.keys().filter(|path| !self.0.contains_key(*path)));
        all.filter_map(move |path| {
            let of = |states: &'a Self| states.0.get(path).map_or("", |(_, state)| state);
            let uses = self.0.get(path).or_else(|| new.0.get(path))?.0;
            let both = [of(self), of(new)];
            (both[0] != both[1]).then_some((path.as_str(), uses, both))
        })
    }

    /// Each path with what was asked and the answer.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, Uses, &str)> {
        let all = self.0.iter();
        all.map(|(path, (uses, state))| (path.as_str(), *uses, state.as_str()))
    }
}

/// The visible files of a check.
pub(crate) struct Now<'a, 's> {
    pub(crate) snapshot: &'s Snapshot,
    /// Sorted.
    pub(crate) visible: &'a [FileId],
    /// Folders that exist without files, sorted.
    pub(crate) folders: &'a [RelPath],
    pub(crate) trees: &'a mut Trees<'s>,
    pub(crate) host: &'a dyn Host,
    /// Collects the listings that states refer to, by digest.
    pub(crate) listings: Listings,
}

/// Names and kinds of the direct children of folders, encoded, by digest.
pub(crate) type Listings = BTreeMap<Digest, Vec<u8>>;

/// Encodes the names of children and the letters of their kinds, sorted by name.
pub(crate) fn listing<'n>(children: impl Iterator<Item = (&'n [u8], u8)>) -> Vec<u8> {
    let mut listing = Vec::new();
    for (name, kind) in children {
        listing.push(kind);
        listing.extend_from_slice(name);
        listing.push(0);
    }
    listing
}

/// Decodes a listing: names, folders with a slash.
#[must_use]
pub(crate) fn names_in(listing: &[u8]) -> Option<Vec<String>> {
    let text = std::str::from_utf8(listing).ok()?;
    let names = text.split_terminator(NUL).map(|item| {
        let (kind, name) = item.split_at_checked(1)?;
        let slash = if kind == "d" { "/" } else { "" };
        Some(format!("{name}{slash}"))
    });
    names.collect()
}

/// What is at a path.
enum Found<'a, 's> {
    File(&'s Entry),
    /// With the visible files in it, at any depth.
    Folder(&'a [FileId]),
    /// Nothing.
    Absent,
    /// Nothing, because a file or a link is in the place of one of its folders.
    Behind(&'s Entry),
}

impl<'a, 's> Now<'a, 's> {
    /// Empty if there is nothing.
    fn state(&mut self, path: &str, uses: Uses) -> String {
        let path = match Place::of(path) {
            Place::Project(path) => path,
            Place::Host(path) => return self.host.file(Path::new(path), uses),
            Place::Program(name) => return self.host.program(name),
        };
        match self.find(path) {
            Found::Absent => String::new(),
            // A path may hold line feeds.
            Found::Behind(entry) => format!("behind {}", Digest::of(&tree::entry(entry))),
            Found::File(entry) => of_file(entry, uses),
            Found::Folder(inside) => {
                let mut state = String::from("d");
                if uses.has(Uses::NAMES) {
                    state += &format!(" {}", self.names(path, inside));
                }
                if uses.has(Uses::TREE) {
                    state += &format!(" {}", self.trees.digest(inside));
                }
                state
            }
        }
    }

    fn find(&self, path: &str) -> Found<'a, 's> {
        if let Some(entry) = self.file(path) {
            return Found::File(entry);
        }
        let inside = self.inside(path);
        if path.is_empty() || !inside.is_empty() || self.is_empty_folder(path) {
            return Found::Folder(inside);
        }
        let above = path.match_indices('/').map(|(end, _)| &path[..end]);
        match above.filter_map(|folder| self.file(folder)).next() {
            Some(entry) => Found::Behind(entry),
            None => Found::Absent,
        }
    }

    fn file(&self, path: &str) -> Option<&'s Entry> {
        let id = self.snapshot.find(path)?;
        let is_visible = self.visible.binary_search(&id).is_ok();
        is_visible.then(|| self.snapshot.entry(id))
    }

    fn is_empty_folder(&self, path: &str) -> bool {
        let found = self
            .folders
            .binary_search_by(|folder| folder.as_str().cmp(path));
        found.is_ok() || !self.empty_inside(path).is_empty()
    }

    /// The folders without files in a folder, at any depth.
    fn empty_inside(&self, folder: &str) -> &'a [RelPath] {
        if folder.is_empty() {
            return self.folders;
        }
        let prefix = format!("{folder}/");
        let first = self.folders.partition_point(|one| one.as_str() < &*prefix);
        let rest = self.folders.get(first..).unwrap_or_default();
        let count = rest.partition_point(|one| one.as_str().starts_with(&prefix));
        rest.get(..count).unwrap_or_default()
    }

    fn path(&self, id: FileId) -> &'s str {
        self.snapshot.entry(id).path.as_str()
    }

    /// The visible files in a folder, at any depth.
    fn inside(&self, folder: &str) -> &'a [FileId] {
        if folder.is_empty() {
            return self.visible;
        }
        let prefix = format!("{folder}/");
        let first = self.visible.partition_point(|id| self.path(*id) < &*prefix);
        let rest = self.visible.get(first..).unwrap_or_default();
        let count = rest.partition_point(|id| self.path(*id).starts_with(&prefix));
        rest.get(..count).unwrap_or_default()
    }

    /// The digest of the names and kinds of a folder's direct children.
    fn names(&mut self, folder: &str, inside: &[FileId]) -> Digest {
        let base = if folder.is_empty() {
            0
        } else {
            folder.len() + 1
        };
        let mut children: BTreeMap<&str, u8> = BTreeMap::new();
        let mut rest = inside;
        while let Some(first) = rest.first() {
            let path = self.path(*first);
            let name = path.get(base..).unwrap_or_default();
            let taken = match name.split_once('/') {
                None => {
                    children.insert(name, letter(self.snapshot.entry(*first).kind));
                    1
                }
                Some((name, _)) => {
                    children.insert(name, b'd');
                    let prefix = path.get(..=base + name.len()).unwrap_or_default();
                    rest.partition_point(|id| self.path(*id).starts_with(prefix))
                }
            };
            rest = rest.get(taken..).unwrap_or_default();
        }
        for empty in self.empty_inside(folder) {
            let name = empty.as_str().get(base..).unwrap_or_default();
            let name = name.split('/').next().unwrap_or_default();
            if !name.is_empty() {
                children.entry(name).or_insert(b'd');
            }
        }
        let children = children.iter();
        let listing = listing(children.map(|(name, kind)| (name.as_bytes(), *kind)));
        let digest = Digest::of(&listing);
        self.listings.insert(digest, listing);
        digest
    }
}

fn of_file(entry: &Entry, uses: Uses) -> String {
    let kind = char::from(letter(entry.kind));
    let is_link = entry.kind == Kind::Symlink;
    // Until a snapshot knows sizes, they count by content.
    let content = Uses::CONTENT.and(Uses::SIZE).and(Uses::TREE);
    if is_link || uses.has(content) {
        format!("{kind} {}", entry.digest)
    } else {
        kind.to_string()
    }
}

const fn letter(kind: Kind) -> u8 {
    match kind {
        Kind::File => b'f',
        Kind::Executable => b'x',
        Kind::Symlink => b'l',
    }
}

/// A check's key without its files.
#[derive(Debug, Clone)]
pub(crate) struct WeakKey {
    /// The key that questions are stored under.
    pub(crate) key: Digest,
    print: Fingerprint,
    products: Digest,
}

impl WeakKey {
    /// The weak key of a check with this id and whole key, which also finds programs in `folders`.
    #[must_use]
    pub(crate) fn of(id: &str, key: &CheckKey, folders: &[PathBuf]) -> Self {
        let mut print = key.fingerprint.clone();
        print.parts.retain(|part| part.kind != PartKind::Inputs);
        let folders = folders.iter().map(|folder| folder.to_string_lossy());
        let folders: Vec<_> = folders.collect();
        print.push(PartKind::Option, "path", Some(folders.join(":")));
        Self {
            key: print.digest(&format!("traced {id}"), |_| true),
            print,
            products: key.products,
        }
    }

    /// The key of a run that met these states.
    #[must_use]
    pub(crate) fn strong(&self, states: &States) -> CheckKey {
        let states = Digest::of(&states.encode());
        CheckKey::narrowed(&self.print, PartKind::States, states, self.products)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    impl Host for Nothing {
        fn program(&self, _: &str) -> String {
            String::new()
        }

        fn file(&self, _: &Path, _: Uses) -> String {
            String::new()
        }
    }

    #[test]
    fn a_program_counts_by_where_it_is_and_not_by_where_it_is_not() {
        let mut facts = Facts::default();
        facts.add_program("make");
        facts
            .0
            .insert("/usr/local/bin/make".to_owned(), Uses::ABSENT);
        facts.0.insert("/usr/local/bin/jq".to_owned(), Uses::ABSENT);
        facts.0.insert("make".to_owned(), Uses::ABSENT);
        facts.forget_path(&[PathBuf::from("/usr/local/bin")]);
        let left: Vec<Place<'_>> = facts.0.keys().map(|path| Place::of(path)).collect();
        assert_eq!(
            left,
            [
                Place::Program("make"),
                Place::Host("/usr/local/bin/jq"),
                Place::Project("make"),
            ]
        );
        assert_eq!(facts.programs().collect::<Vec<_>>(), ["make"]);
        facts.forget_programs(|name| name == "make");
        assert_eq!(facts.programs().count(), 0);
    }

    fn states(files: &[(&str, &str)], asked: &[(&str, Uses)]) -> States {
        let snapshot = Snapshot::in_memory(files);
        let visible: Vec<FileId> = (0..).take(files.len()).collect();
        let asked = asked.iter().map(|(path, uses)| ((*path).to_owned(), *uses));
        let mut now = Now {
            snapshot: &snapshot,
            visible: &visible,
            folders: &[],
            trees: &mut Trees::new(&snapshot),
            host: &Nothing,
            listings: Listings::new(),
        };
        States::of(&Facts(asked.collect()), &mut now)
    }

    #[track_caller]
    fn check(asked: (&str, Uses), before: &[(&str, &str)], after: &[(&str, &str)], same: bool) {
        let (old, new) = (states(before, &[asked]), states(after, &[asked]));
        assert_eq!(old == new, same, "{old:?} {new:?}");
        assert_eq!(States::decode(&old.encode()), Some(old));
    }

    #[test]
    fn content_counts_where_it_was_read() {
        let base: &[_] = &[("a", "1"), ("b", "1")];
        check(("a", Uses::CONTENT), base, &[("a", "1"), ("b", "2")], true);
        check(("a", Uses::CONTENT), base, &[("a", "2"), ("b", "1")], false);
        check(("a", Uses::KIND), base, &[("a", "2"), ("b", "1")], true);
        check(("a", Uses::KIND), base, &[("b", "1")], false);
        check(("a", Uses::KIND), base, &[("a/x", "1"), ("b", "1")], false);
    }

    #[test]
    fn a_listing_counts_names_of_direct_children_only() {
        let base: &[_] = &[("d/a", "1"), ("d/s/x", "1"), ("e", "1")];
        let asked = ("d", Uses::NAMES);
        check(
            asked,
            base,
            &[("d/a", "2"), ("d/s/y", "1"), ("f", "")],
            true,
        );
        check(
            asked,
            base,
            &[("d/a", "1"), ("d/b", "1"), ("d/s/x", "1")],
            false,
        );
        check(asked, base, &[("d/a", "1"), ("e", "1")], false);
        check(asked, base, &[("d/a", "1"), ("d/s", "1")], false);
        check(("", Uses::NAMES), base, &[("d/z", ""), ("e", "2")], true);
        check(("", Uses::NAMES), base, &[("d/a", "1")], false);
    }

    #[test]
    fn folders_without_files_are_there() {
        let folders = ["a", "a-b", "a/b/c", "b"].map(|path| RelPath::new(path).expect("path"));
        let snapshot = Snapshot::in_memory(&[]);
        let mut now = Now {
            snapshot: &snapshot,
            visible: &[],
            folders: &folders,
            host: &Nothing,
            trees: &mut Trees::new(&snapshot),
            listings: Listings::new(),
        };
        for (path, state) in [
            ("a", "d"),
            ("a/b", "d"),
            ("a/b/c", "d"),
            ("a-b", "d"),
            ("a/", ""),
        ] {
            assert_eq!(now.state(path, Uses::KIND), state, "{path}");
        }
        let mut names = |path| {
            now.state(path, Uses::NAMES);
            let listing = now.listings.pop_last().expect("one").1;
            names_in(&listing).expect("names")
        };
        assert_eq!(names(""), ["a/", "a-b/", "b/"]);
        assert_eq!(names("a"), ["b/"]);
        assert!(names("b").is_empty());
    }

    #[test]
    fn a_tree_counts_everything_in_it() {
        let base: &[_] = &[("d/s/x", "1"), ("e", "1")];
        check(("d", Uses::TREE), base, &[("d/s/x", "1"), ("e", "2")], true);
        check(
            ("d", Uses::TREE),
            base,
            &[("d/s/x", "2"), ("e", "1")],
            false,
        );
    }

    #[test]
    fn what_was_missing_must_stay_missing() {
        let base: &[_] = &[("a", "1")];
        check(("b", Uses::ABSENT), base, &[("a", "2"), ("c", "1")], true);
        check(("b", Uses::ABSENT), base, &[("a", "1"), ("b", "1")], false);
        check(
            ("b", Uses::ABSENT),
            base,
            &[("a", "1"), ("b/x", "1")],
            false,
        );
        check(("b", Uses::MADE), base, &[("a", "1"), ("b", "1")], false);
        // A link in the place of a folder may lead to it.
        check(("a/b", Uses::ABSENT), &[("a/c", "1")], &[("a", "1")], false);
    }

    #[test]
    fn names_that_a_run_made_up_do_not_tell_sets_apart() {
        let facts = |made: &str| {
            let all = [("a", Uses::CONTENT), (made, Uses::MADE)];
            Facts(all.map(|(path, uses)| (path.to_owned(), uses)).into())
        };
        assert!(facts("tmp1").is_like(&facts("tmp2")));
        let of = |made| states(&[("a", "1")], &[("a", Uses::CONTENT), (made, Uses::MADE)]);
        assert_eq!(of("tmp1"), of("tmp2"));
        let lines: Vec<String> = facts("x").lines().collect();
        assert_eq!(Facts::of_lines(&lines), Some(facts("x")));
        assert_eq!(Facts::of_lines(&["é".to_owned()]), None);
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, lines: Vec<String>) {
            let _ = States::decode(&bytes);
            let _ = Facts::of_lines(&lines);
        }
    }
}
