//! Miss reasons: all differences between two fingerprints, most important first. Does not print.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::key::facts::{Place, States, names_in};
use crate::key::fingerprint::{Fingerprint, Part, PartKind};
use crate::key::tree::{self, Change, Leaf, Tree};
use crate::process::launcher::trace::Uses;
use crate::snapshot::Kind;
use crate::visible;

/// The kind of a miss reason, as used in reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum MissKind {
    /// This project has no comparable earlier run.
    New,
    /// The content of a file changed.
    InputChanged,
    InputAdded,
    InputRemoved,
    /// A file changed between regular, executable and link.
    ModeChanged,
    /// A declared variable changed.
    EnvChanged,
    ToolChanged,
    CommandChanged,
    LayerChanged,
    /// A configuration file or option changed.
    ConfigChanged,
    /// The same key had a result that no longer exists.
    Evicted,
    /// The entry is damaged or from another version.
    Damaged,
    /// The cached result is older than `max-age`.
    Expired,
    /// Results of this check, or of its last run, are not stored.
    NotCached,
}

/// Why a check was not Fresh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Miss {
    pub(crate) kind: MissKind,
    /// The file, variable, program, layer or option in question; for a damaged entry, its file below the cache
    /// directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<String>,
    /// The previous value; a digest for files. For [`MissKind::Damaged`], what is wrong.
    pub(crate) from: Option<String>,
    pub(crate) to: Option<String>,
    /// Whatever else differs, less important.
    #[serde(skip)]
    pub(crate) also: Vec<Self>,
}

impl Miss {
    /// A reason without details.
    #[must_use]
    pub(crate) fn of(kind: MissKind) -> Self {
        Self {
            kind,
            path: None,
            from: None,
            to: None,
            also: Vec::new(),
        }
    }

    /// The most important reason, with all others.
    #[must_use]
    pub(crate) fn first_of(all: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut all = all.into_iter();
        let mut first = all.next()?;
        first.also.extend(all);
        Some(first)
    }

    /// A reason with its subject.
    #[must_use]
    pub(crate) fn about(kind: MissKind, subject: impl Into<String>) -> Self {
        Self {
            path: Some(subject.into()),
            ..Self::of(kind)
        }
    }
}

impl Miss {
    /// There is an entry that cannot be used: what is wrong with it (`truncated`), and its file.
    #[must_use]
    pub(crate) fn unusable(wrong: impl Into<String>, file: Option<String>) -> Self {
        Self {
            path: file,
            from: Some(wrong.into()),
            ..Self::of(MissKind::Damaged)
        }
    }
}

impl fmt::Display for Miss {
    /// One line for display, without the word Dirty.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&visible::name(&Line(self).to_string()))
    }
}

/// A difference with names and values as they are.
struct Line<'a>(&'a Miss);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.line(f)
    }
}

impl Miss {
    fn line(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = self.path.as_deref().unwrap_or("");
        match self.kind {
            MissKind::New if subject.is_empty() => f.write_str("first run here"),
            MissKind::New => f.write_str(subject),
            MissKind::InputChanged => write!(f, "{subject} changed"),
            MissKind::InputAdded => write!(f, "{subject} added"),
            MissKind::InputRemoved => write!(f, "{subject} removed"),
            MissKind::ModeChanged => write!(f, "mode of {subject} changed"),
            MissKind::EnvChanged => write!(f, "variable {subject} changed"),
            MissKind::ToolChanged => {
                write!(f, "tool {subject} changed")?;
                self.values(f, 2 * LONGEST)
            }
            MissKind::CommandChanged => {
                f.write_str("command changed")?;
                self.words(f)
            }
            MissKind::LayerChanged | MissKind::ConfigChanged => {
                write!(f, "{subject} changed")?;
                self.values(f, LONGEST)
            }
            MissKind::Evicted => {
                f.write_str("was cached, but the entry is no longer in the store")?;
                named(f, subject)
            }
            MissKind::Damaged => {
                let wrong = self.from.as_deref().unwrap_or("damaged");
                let space = if subject.is_empty() { "" } else { " " };
                write!(
                    f,
                    "was cached, but the entry{space}{subject} cannot be used: {wrong}"
                )
            }
            MissKind::Expired => f.write_str("cached result is older than max-age"),
            MissKind::NotCached if subject.is_empty() => f.write_str("last result was not stored"),
            MissKind::NotCached => write!(f, "not stored: {subject}"),
        }
    }

    /// `: FROM → TO`, if it is short and says more than two digests would.
    fn values(&self, f: &mut fmt::Formatter<'_>, longest: usize) -> fmt::Result {
        let (Some(from), Some(to)) = (&self.from, &self.to) else {
            return Ok(());
        };
        let are_digests = [from, to]
            .iter()
            .all(|value| value.parse::<Digest>().is_ok());
        if are_digests || from.len() + to.len() >= longest {
            return Ok(());
        }
        write!(f, ": {from} → {to}")
    }

    /// `: -GONE +NEW` for the words of a command, if they are few.
    fn words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |value: &Option<String>| -> Vec<String> {
            let value = value.as_deref().unwrap_or_default();
            serde_json::from_str(value).unwrap_or_default()
        };
        let (from, to) = (words(&self.from), words(&self.to));
        let gone = from.iter().filter(|word| !to.contains(word));
        let new = to.iter().filter(|word| !from.contains(word));
        let gone = gone.map(|word| format!(" -{word}"));
        let all: String = gone.chain(new.map(|word| format!(" +{word}"))).collect();
        match all.len() {
            1..=LONGEST => write!(f, ":{all}"),
            _ => Ok(()),
        }
    }
}

/// The longest values in a line.
const LONGEST: usize = 60;

/// `: SUBJECT`, unless it is empty.
fn named(f: &mut fmt::Formatter<'_>, subject: &str) -> fmt::Result {
    if subject.is_empty() {
        return Ok(());
    }
    write!(f, ": {subject}")
}

/// All differences between two fingerprints, most important first: edits in the project come before their
/// consequences. `is_config` recognises configuration files; `asked` are the
/// [`asked_differences`], if known; `read` loads tree objects.
#[must_use]
pub(crate) fn differences(
    old: &Fingerprint,
    new: &Fingerprint,
    is_config: &dyn Fn(&str) -> bool,
    asked: &[Miss],
    read: &mut dyn FnMut(&Digest) -> Option<Tree>,
) -> Vec<Miss> {
    if old.version != new.version {
        // The values differ only because of other rules.
        return vec![Miss::unusable(
            format!(
                "stored by another version (keys of version {}, not {})",
                old.version, new.version
            ),
            None,
        )];
    }
    let mut misses = Vec::new();
    for (before, now) in paired(old, new) {
        if before.map(|part| &part.value) == now.map(|part| &part.value) {
            continue;
        }
        let Some(part) = now.or(before) else { continue };
        match part.kind {
            PartKind::Inputs | PartKind::Files | PartKind::Names | PartKind::Reads => {
                misses.extend(tree_differences(before, now, is_config, read));
            }
            PartKind::States if asked.is_empty() => {
                misses.push(Miss::about(MissKind::InputChanged, "a file that it uses"));
            }
            PartKind::States => misses.extend_from_slice(asked),
            PartKind::Outside => misses.push(outside_difference(before, now, part)),
            PartKind::Folder => {
                let kind = match now.and_then(|part| part.value.as_ref()) {
                    Some(_) => MissKind::InputAdded,
                    None => MissKind::InputRemoved,
                };
                misses.push(Miss::about(kind, format!("{}/", part.name)));
            }
            PartKind::Layer => misses.extend(layer_differences(before, now, part)),
            // A built-in check's own: a file that it looked for.
            PartKind::Option if part.name == "missing" => {
                let path = part.value.clone().unwrap_or_default();
                misses.push(Miss::about(MissKind::InputChanged, path));
            }
            kind => misses.push(Miss {
                kind: reason(kind),
                path: Some(subject(part)),
                from: before.and_then(shown),
                to: now.and_then(shown),
                also: Vec::new(),
            }),
        }
    }
    let is_engine =
        |miss: &Miss| miss.kind == MissKind::LayerChanged && miss.path.as_deref() == Some(ENGINE);
    if misses.iter().any(is_engine) {
        // Programs, variables, layers and what is seen of the project differ between engines. Only edits are news.
        let is_edit = |miss: &Miss| {
            miss.kind == MissKind::InputChanged && miss.from.is_some() && miss.to.is_some()
        };
        misses.retain(|miss| is_engine(miss) || is_edit(miss));
    }
    misses.sort_by_key(|miss| (!is_engine(miss), rank(miss.kind)));
    misses
}

/// What changed of what a traced run asked about. `listing` loads listings.
#[must_use]
pub(crate) fn asked_differences(
    old: &States,
    new: &States,
    is_config: &dyn Fn(&str) -> bool,
    listing: &dyn Fn(&Digest) -> Option<Vec<u8>>,
) -> Vec<Miss> {
    let programs = old
        .changes(new)
        .filter_map(|(path, ..)| match Place::of(path) {
            Place::Program(name) => Some(name),
            _ => None,
        });
    let programs: BTreeSet<&str> = programs.collect();
    let mut all = Vec::new();
    for (path, uses, [before, now]) in old.changes(new) {
        let (path, is_program) = match Place::of(path) {
            // Where a program lies is no news beside its name.
            Place::Host(path) if is_one_of(path, &programs) => continue,
            Place::Project(path) | Place::Host(path) => (path, false),
            Place::Program(name) => (name, true),
        };
        // The first letter is the kind; digests follow where more counts.
        let kind = match (before.get(..1), now.get(..1)) {
            _ if is_program => MissKind::ToolChanged,
            (None, _) => MissKind::InputAdded,
            (_, None) => MissKind::InputRemoved,
            (Some("d"), Some("d")) if uses.has(Uses::NAMES) => {
                all.extend(listed_differences(path, [before, now], listing));
                continue;
            }
            (Some(before), Some(now)) if before != now => MissKind::ModeChanged,
            _ if is_config(path) => MissKind::ConfigChanged,
            _ => MissKind::InputChanged,
        };
        let is_folder = before.starts_with('d') || now.starts_with('d');
        let digest = |state: &str| {
            let digest = state.get(2..).filter(|_| !is_folder)?;
            digest.parse::<Digest>().is_ok().then(|| digest.to_owned())
        };
        let slash = if is_folder { "/" } else { "" };
        all.push(Miss {
            from: digest(before),
            to: digest(now),
            ..Miss::about(kind, format!("{path}{slash}"))
        });
    }
    // Each once, even if it was looked for and is listed now.
    all.sort_by(|a, b| (rank(a.kind), &a.path).cmp(&(rank(b.kind), &b.path)));
    all.dedup_by(|a, b| a.path == b.path);
    all
}

fn is_one_of(path: &str, names: &BTreeSet<&str>) -> bool {
    let name = path.rsplit('/').next();
    name.is_some_and(|name| names.contains(name))
}

/// The children that a folder gained or lost.
fn listed_differences(
    folder: &str,
    states: [&str; 2],
    listing: &dyn Fn(&Digest) -> Option<Vec<u8>>,
) -> Vec<Miss> {
    let names = |state: &str| {
        let digest = state.split(' ').nth(1)?.parse().ok()?;
        names_in(&listing(&digest)?)
    };
    let [Some(before), Some(now)] = states.map(names) else {
        return vec![Miss::about(MissKind::InputChanged, format!("{folder}/"))];
    };
    let at = |name: &String| match folder {
        "" => name.clone(),
        folder => format!("{folder}/{name}"),
    };
    let gone = before.iter().filter(|name| !now.contains(name));
    let new = now.iter().filter(|name| !before.contains(name));
    let gone = gone.map(|name| Miss::about(MissKind::InputRemoved, at(name)));
    let new = new.map(|name| Miss::about(MissKind::InputAdded, at(name)));
    gone.chain(new).collect()
}

/// What a miss is about, if another engine runs the check.
const ENGINE: &str = "engine";

/// Replaces values that must not be shown.
pub(crate) const HIDDEN: &str = "(hidden)";

/// The value of a part for display and reports.
#[must_use]
pub(crate) fn shown(part: &Part) -> Option<String> {
    let value = part.value.clone()?;
    let version = part.detail.iter().find(|(name, _)| name == "version");
    Some(match (part.kind, version) {
        (PartKind::Env, _) if looks_secret(&part.name) => HIDDEN.to_owned(),
        (PartKind::Tool, Some((_, version))) => {
            let is_digest = value.parse::<Digest>().is_ok();
            let short = value.get(..12).filter(|_| is_digest);
            format!("{version} ({})", short.unwrap_or(&value))
        }
        _ => value,
    })
}

/// Whether a variable's name suggests that its value is a secret.
fn looks_secret(name: &str) -> bool {
    const WORDS: &[&str] = &["TOKEN", "SECRET", "PASSW", "CREDENTIAL", "KEY", "AUTH"];
    let name = name.to_ascii_uppercase();
    WORDS.iter().any(|word| name.contains(word))
}

const fn reason(kind: PartKind) -> MissKind {
    match kind {
        PartKind::Env => MissKind::EnvChanged,
        PartKind::Tool => MissKind::ToolChanged,
        PartKind::Command | PartKind::Dir => MissKind::CommandChanged,
        PartKind::Engine | PartKind::Layer => MissKind::LayerChanged,
        _ => MissKind::ConfigChanged,
    }
}

const fn rank(kind: MissKind) -> u8 {
    match kind {
        // Adding or removing a configuration file also changes the command that names it.
        MissKind::ConfigChanged => 0,
        MissKind::CommandChanged => 1,
        MissKind::InputChanged
        | MissKind::InputAdded
        | MissKind::InputRemoved
        | MissKind::ModeChanged => 2,
        MissKind::EnvChanged => 3,
        MissKind::ToolChanged => 4,
        _ => 5,
    }
}

fn subject(part: &Part) -> String {
    match part.kind {
        PartKind::Engine => ENGINE.to_owned(),
        PartKind::Dir => "dir".to_owned(),
        PartKind::SetEnv => format!("set-env {}", part.name),
        PartKind::Option => format!("option {}", part.name),
        _ => part.name.clone(),
    }
}

/// Pairs parts of the same kind and name; repeated names are paired in order.
fn paired<'a>(
    old: &'a Fingerprint,
    new: &'a Fingerprint,
) -> Vec<(Option<&'a Part>, Option<&'a Part>)> {
    let mut rest: Vec<&Part> = old.parts.iter().collect();
    let mut pairs = Vec::new();
    for part in &new.parts {
        let same = rest
            .iter()
            .position(|other| other.kind == part.kind && other.name == part.name);
        pairs.push((same.map(|index| rest.remove(index)), Some(part)));
    }
    pairs.extend(rest.into_iter().map(|part| (Some(part), None)));
    pairs
}

fn outside_difference(before: Option<&Part>, now: Option<&Part>, part: &Part) -> Miss {
    // Only configuration is looked up above the root; below it, this is an ignored file declared by the check.
    let kind = match (part.name.starts_with("../"), before, now) {
        (true, _, _) => MissKind::ConfigChanged,
        (false, None, _) => MissKind::InputAdded,
        (false, _, None) => MissKind::InputRemoved,
        (false, Some(_), Some(_)) => MissKind::InputChanged,
    };
    Miss {
        kind,
        path: Some(part.name.clone()),
        from: before.and_then(|part| part.value.clone()),
        to: now.and_then(|part| part.value.clone()),
        also: Vec::new(),
    }
}

fn layer_differences(before: Option<&Part>, now: Option<&Part>, part: &Part) -> Vec<Miss> {
    let detail = |part: Option<&Part>| -> BTreeMap<String, String> {
        part.map(|part| part.detail.iter().cloned().collect())
            .unwrap_or_default()
    };
    let (old, new) = (detail(before), detail(now));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let mut misses: Vec<Miss> = names
        .into_iter()
        .filter(|name| old.get(*name) != new.get(*name))
        .map(|name| Miss {
            kind: MissKind::LayerChanged,
            path: Some(format!("{}: {name}", part.name)),
            from: old.get(name).cloned(),
            to: new.get(name).cloned(),
            also: Vec::new(),
        })
        .collect();
    if misses.is_empty() {
        misses.push(Miss::about(MissKind::LayerChanged, part.name.clone()));
    }
    misses
}

fn tree_differences(
    before: Option<&Part>,
    now: Option<&Part>,
    is_config: &dyn Fn(&str) -> bool,
    read: &mut dyn FnMut(&Digest) -> Option<Tree>,
) -> Vec<Miss> {
    let root = |part: Option<&Part>| part?.value.as_deref()?.parse().ok();
    let (Some(old), Some(new)) = (root(before), root(now)) else {
        return vec![Miss::about(MissKind::InputChanged, "a file")];
    };
    let changes = tree::diff(&old, &new, read);
    let known = changes.files.into_iter();
    let mut misses: Vec<Miss> = known.map(|change| file_miss(change, is_config)).collect();
    // Added and changed files are more important than removed ones.
    misses.sort_by_key(|miss| miss.to.is_none());
    misses.extend(changes.unknown.iter().map(|folder| {
        let subject = match folder.as_str() {
            "" => "a file".to_owned(),
            folder => format!("a file in {folder}"),
        };
        Miss::about(MissKind::InputChanged, subject)
    }));
    misses
}

fn file_miss(change: Change, is_config: &dyn Fn(&str) -> bool) -> Miss {
    let kind = match (&change.before, &change.now) {
        _ if is_config(&change.path) => MissKind::ConfigChanged,
        (None, _) => MissKind::InputAdded,
        (_, None) => MissKind::InputRemoved,
        (Some(before), Some(now)) if before.kind != now.kind => MissKind::ModeChanged,
        (Some(_), Some(_)) => MissKind::InputChanged,
    };
    // If only the kind differs, digests would not help.
    let value = |leaf: Option<Leaf>| {
        let leaf = leaf?;
        Some(match (kind, leaf.kind) {
            (MissKind::ModeChanged, Kind::File) => "file".to_owned(),
            (MissKind::ModeChanged, Kind::Executable) => "executable".to_owned(),
            (MissKind::ModeChanged, Kind::Symlink) => "link".to_owned(),
            _ => leaf.digest.to_string(),
        })
    };
    Miss {
        kind,
        path: Some(change.path),
        from: value(change.before),
        to: value(change.now),
        also: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::tree::build::tests::{Files, all, snapshot};
    use crate::key::tree::{Objects, objects};

    fn print(parts: &[(PartKind, &str, Option<&str>)]) -> Fingerprint {
        let part = |(kind, name, value): &(PartKind, &str, Option<&str>)| Part {
            kind: *kind,
            name: (*name).to_owned(),
            value: value.map(str::to_owned),
            detail: Vec::new(),
        };
        Fingerprint {
            parts: parts.iter().map(part).collect(),
            ..Fingerprint::default()
        }
    }

    const ENTRIES: &[(&str, Kind, u8)] = &[
        ("a", Kind::File, 1),
        ("b", Kind::File, 2),
        ("d/deep", Kind::File, 0),
        ("t.toml", Kind::File, 3),
    ];

    /// The usual files with one of them other, or one more.
    fn files(change: Option<(&str, Kind, u8)>) -> Files {
        let all = ENTRIES.iter().copied().chain(change);
        all.map(|(path, kind, content)| (path.to_owned(), (kind, content)))
            .collect()
    }

    fn all_of(old: &Fingerprint, new: &Fingerprint, objects: &Objects) -> Vec<String> {
        let mut read = |digest: &Digest| Tree::decode(objects.get(digest)?);
        let all = differences(old, new, &|path| path.ends_with(".toml"), &[], &mut read);
        all.iter().map(ToString::to_string).collect()
    }

    fn first(old: &Fingerprint, new: &Fingerprint) -> String {
        let all = all_of(old, new, &Objects::new());
        all.into_iter().next().unwrap_or_else(|| "none".to_owned())
    }

    /// What differs between checks on two sets of files, all objects being known.
    fn between(old: &Files, new: &Files) -> Vec<String> {
        let (old, new) = (snapshot(old), snapshot(new));
        let (old_root, mut known) = objects(&old, &all(&old));
        let (new_root, more) = objects(&new, &all(&new));
        known.extend(more);
        let at = |root: Digest| print(&[(PartKind::Inputs, "", Some(&root.to_string()))]);
        all_of(&at(old_root), &at(new_root), &known)
    }

    #[test]
    fn names_the_file_that_changed() {
        let usual = files(None);
        let with = |path, kind, content| files(Some((path, kind, content)));
        let edited = with("a", Kind::File, 9);
        assert_eq!(between(&usual, &edited), ["a changed"]);
        let executable = with("b", Kind::Executable, 2);
        assert_eq!(between(&usual, &executable), ["mode of b changed"]);
        let more = with("d/more", Kind::File, 1);
        assert_eq!(between(&usual, &more), ["d/more added"]);
        assert_eq!(between(&more, &usual), ["d/more removed"]);
        // What came before what went.
        let mut moved = more.clone();
        moved.remove("a");
        assert_eq!(between(&usual, &moved), ["d/more added", "a removed"]);
        let configured = with("t.toml", Kind::File, 4);
        assert_eq!(
            between(&edited, &configured),
            ["t.toml changed", "a changed"]
        );
        assert_eq!(between(&usual, &usual), [""; 0]);
    }

    #[test]
    fn a_tree_that_is_no_longer_known_still_gives_a_reason() {
        let at =
            |text: &[u8]| print(&[(PartKind::Inputs, "", Some(&Digest::of(text).to_string()))]);
        assert_eq!(first(&at(b"1"), &at(b"2")), "a file changed");
    }

    #[test]
    fn a_fingerprint_of_another_version_says_that_and_nothing_else() {
        let mut old = print(&[(PartKind::Tool, "ruff", Some("1"))]);
        old.version += 1;
        let new = print(&[(PartKind::Tool, "ruff", Some("2"))]);
        let all = all_of(&old, &new, &Objects::new());
        assert_eq!(all.len(), 1);
        assert!(all[0].contains("stored by another version"), "{all:?}");
    }

    #[test]
    fn values_of_variables_that_look_secret_are_not_shown() {
        let shown_of = |name| {
            print(&[(PartKind::Env, name, Some("x"))])
                .parts
                .first()
                .and_then(shown)
        };
        assert_eq!(shown_of("GITHUB_TOKEN").as_deref(), Some("(hidden)"));
        assert_eq!(shown_of("my_passwd").as_deref(), Some("(hidden)"));
        assert_eq!(shown_of("MODE").as_deref(), Some("x"));
    }

    #[test]
    fn an_edit_is_named_before_what_follows_from_it() {
        let [one, two] = [b"1", b"2"].map(|text| Digest::of(text).to_string());
        let old = print(&[
            (PartKind::Tool, "ruff", Some("1")),
            (PartKind::Inputs, "", Some(&one)),
        ]);
        let new = print(&[
            (PartKind::Tool, "ruff", Some("2")),
            (PartKind::Inputs, "", Some(&two)),
        ]);
        assert_eq!(first(&old, &new), "a file changed");
    }

    #[test]
    fn every_kind_of_part_has_its_words() {
        use PartKind::{Command, Dir, Engine, Env, Folder, Option, Outside, SetEnv, Tool};

        for (kind, name, old, new, words) in [
            (Engine, "", Some("a"), Some("b"), "engine changed: a → b"),
            (Command, "", Some("a"), Some("b"), "command changed"),
            (Dir, "", Some("a"), Some("b"), "command changed"),
            (
                Command,
                "",
                Some("[\"ruff\",\"-x\"]"),
                Some("[\"ruff\",\"-y\",\"z\"]"),
                "command changed: --x +-y +z",
            ),
            (
                Tool,
                "ruff",
                Some("1.0 (a)"),
                Some("1.0 (b)"),
                "tool ruff changed: 1.0 (a) → 1.0 (b)",
            ),
            (Folder, "d", None, Some(""), "d/ added"),
            (Folder, "d", Some(""), None, "d/ removed"),
            (Env, "MODE", Some("a"), Some("b"), "variable MODE changed"),
            (Env, "MODE", None, Some(""), "variable MODE changed"),
            (Tool, "ruff", Some("a"), None, "tool ruff changed"),
            (
                SetEnv,
                "A",
                Some("a"),
                Some("b"),
                "set-env A changed: a → b",
            ),
            (Option, "x", Some("a"), Some("b"), "option x changed: a → b"),
            (Outside, "../t", Some("a"), Some("b"), "../t changed: a → b"),
            (Outside, "own", Some("a"), Some("b"), "own changed"),
        ] {
            let (old, new) = (print(&[(kind, name, old)]), print(&[(kind, name, new)]));
            assert_eq!(all_of(&old, &new, &Objects::new()), [words]);
            assert!(all_of(&new, &new, &Objects::new()).is_empty());
        }
        let long = "x".repeat(60);
        let old = print(&[(Option, "x", Some("a"))]);
        let new = print(&[(Option, "x", Some(&long))]);
        assert_eq!(first(&old, &new), "option x changed");
    }

    #[test]
    fn every_reason_reads_as_a_sentence() {
        use MissKind::{ConfigChanged, Damaged, Evicted, Expired, New, NotCached};

        let damaged = Miss::unusable("truncated", Some("ac/1".into()));
        let changed = |from: usize, to: usize| Miss {
            from: Some("x".repeat(from)),
            to: Some("y".repeat(to)),
            ..Miss::about(ConfigChanged, "a")
        };
        for (miss, words) in [
            (Miss::of(New), "first run here"),
            (Miss::about(New, "a new room"), "a new room"),
            (Miss::of(NotCached), "last result was not stored"),
            (Miss::about(NotCached, "why"), "not stored: why"),
            (Miss::of(Expired), "cached result is older than max-age"),
            (changed(1, 1), "a changed: x → y"),
            (changed(30, 30), "a changed"),
            (
                changed(1, 58),
                &format!("a changed: x → {}", "y".repeat(58)),
            ),
        ] {
            assert_eq!(miss.to_string(), words);
        }
        for (miss, end) in [
            (Miss::of(Evicted), "no longer in the store"),
            (Miss::about(Evicted, "ac/1"), "no longer in the store: ac/1"),
            (Miss::of(Damaged), "the entry cannot be used: damaged"),
            (damaged, "the entry ac/1 cannot be used: truncated"),
        ] {
            assert!(miss.to_string().ends_with(end), "{miss}");
        }
    }

    #[test]
    fn subjects_name_what_has_no_name_of_its_own() {
        let subject_of = |kind, name, value| {
            let now = print(&[(kind, name, Some(value))]);
            let mut read = |_: &Digest| None;
            let all = differences(&print(&[]), &now, &|_| false, &[], &mut read);
            (all[0].kind, all[0].path.clone().unwrap_or_default())
        };
        let dir = subject_of(PartKind::Dir, "", "d");
        assert_eq!(dir, (MissKind::CommandChanged, "dir".to_owned()));
        let sought = subject_of(PartKind::Option, "missing", "a/b");
        assert_eq!(sought, (MissKind::InputChanged, "a/b".to_owned()));
    }

    #[test]
    fn of_what_follows_from_another_engine_nothing_is_said() {
        let of = |value: &str| {
            print(&[
                (PartKind::Option, "o", Some(value)),
                (PartKind::SetEnv, "CARGO_BUILD_BUILD_DIR", Some(value)),
                (PartKind::Engine, "", Some(value)),
            ])
        };
        let all = all_of(&of("1"), &of("2"), &Objects::new());
        assert_eq!(all, ["engine changed: 1 → 2"]);
    }

    #[test]
    fn another_engine_is_another_layer_for_reports() {
        let of = |platform| print(&[(PartKind::Engine, "", Some(platform))]);
        let mut read = |_: &Digest| None;
        let all = differences(&of("local"), &of("dagger"), &|_| false, &[], &mut read);
        assert_eq!(all[0].kind, MissKind::LayerChanged);
    }

    #[test]
    fn files_from_outside_come_go_and_are_configuration_above_the_root() {
        let none = print(&[]);
        let of = |name| print(&[(PartKind::Outside, name, Some("1"))]);
        assert_eq!(first(&none, &of("own")), "own added");
        assert_eq!(first(&of("own"), &none), "own removed");
        let kind = |name| {
            let mut read = |_: &Digest| None;
            differences(&none, &of(name), &|_| false, &[], &mut read)[0].kind
        };
        assert_eq!(kind("../t"), MissKind::ConfigChanged);
        assert_eq!(kind("own"), MissKind::InputAdded);
    }

    #[test]
    fn parts_are_paired_by_kind_and_name_and_then_in_order() {
        let of = |parts: &[(PartKind, &str, &str)]| {
            let parts: Vec<_> = parts.iter().map(|(k, n, v)| (*k, *n, Some(*v))).collect();
            print(&parts)
        };
        let old = of(&[
            (PartKind::Env, "A", "1"),
            (PartKind::SetEnv, "A", "2"),
            (PartKind::Option, "output", "x"),
            (PartKind::Option, "output", "y"),
            (PartKind::Tool, "gone", "1"),
        ]);
        let new = of(&[
            (PartKind::SetEnv, "A", "2"),
            (PartKind::Env, "A", "1"),
            (PartKind::Option, "output", "x"),
            (PartKind::Option, "output", "z"),
        ]);
        let all = all_of(&old, &new, &Objects::new());
        assert_eq!(all, ["option output changed: y → z", "tool gone changed"]);
        let one = of(&[(PartKind::Env, "A", "1"), (PartKind::Env, "B", "2")]);
        let other = of(&[(PartKind::Env, "B", "2"), (PartKind::Env, "A", "1")]);
        assert!(all_of(&one, &other, &Objects::new()).is_empty());
    }

    #[test]
    fn a_layer_names_the_parts_that_differ() {
        let of = |key, detail: &[(&str, &str)]| {
            let mut print = print(&[(PartKind::Layer, "base", Some(key))]);
            let detail = detail.iter().map(|(k, v)| ((*k).into(), (*v).into()));
            print.parts[0].detail = detail.collect();
            print
        };
        let old = of("1", &[("os", "linux"), ("libc", "gnu")]);
        let new = of("2", &[("os", "linux"), ("libc", "musl")]);
        let all = all_of(&old, &new, &Objects::new());
        assert_eq!(all, ["base: libc changed: gnu → musl"]);
        // What it stands on, then.
        let below = of("3", &[("os", "linux"), ("libc", "gnu")]);
        assert_eq!(first(&old, &below), "base changed");
    }

    #[test]
    fn programs_are_shown_with_their_version() {
        let digest = Digest::of(b"ruff").to_string();
        let mut print = print(&[(PartKind::Tool, "ruff", Some(&digest))]);
        print.parts[0].detail = vec![("version".into(), "ruff 0.5".into())];
        let text = shown(&print.parts[0]);
        assert_eq!(text, Some(format!("ruff 0.5 ({})", &digest[..12])));
    }

    #[test]
    fn a_mode_is_told_in_words_and_content_by_its_digest() {
        let miss = |before, now| {
            let leaf = |kind, content: &[u8]| {
                let digest = Digest::of(content);
                Some(Leaf { kind, digest })
            };
            let change = Change {
                path: "a".into(),
                before: leaf(before, b"1"),
                now: leaf(now, b"2"),
            };
            let miss = file_miss(change, &|_| false);
            (miss.from.unwrap_or_default(), miss.to.unwrap_or_default())
        };
        let words = |one: &str, two: &str| (one.to_owned(), two.to_owned());
        assert_eq!(
            miss(Kind::File, Kind::Executable),
            words("file", "executable")
        );
        assert_eq!(miss(Kind::Symlink, Kind::File), words("link", "file"));
        let digests = [b"1", b"2"].map(|content| Digest::of(content).to_string());
        assert_eq!(
            miss(Kind::File, Kind::File),
            words(&digests[0], &digests[1])
        );
    }

    #[test]
    fn the_order_is_configuration_command_files_variables_programs() {
        let of = |value: &str| {
            print(&[
                (PartKind::Layer, "l", Some(value)),
                (PartKind::Tool, "t", Some(value)),
                (PartKind::Env, "E", Some(value)),
                (
                    PartKind::Inputs,
                    "",
                    Some(&Digest::of(value.as_bytes()).to_string()),
                ),
                (PartKind::Command, "", Some(value)),
                (PartKind::Option, "o", Some(value)),
            ])
        };
        let all = all_of(&of("1"), &of("2"), &Objects::new());
        let first: Vec<&str> = all.iter().map(|text| &text[..3]).collect();
        assert_eq!(first, ["opt", "com", "a f", "var", "too", "l c"]);
    }

    #[test]
    fn unset_and_empty_differ() {
        let old = print(&[(PartKind::Env, "MODE", None)]);
        let new = print(&[(PartKind::Env, "MODE", Some(""))]);
        assert_eq!(first(&old, &new), "variable MODE changed");
    }
}
