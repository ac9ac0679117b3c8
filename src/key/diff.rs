//! Why a check was not Fresh: two fingerprints in, the first thing that differs out. Stays free of printing.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::key::fingerprint::{Fingerprint, Part, PartKind};

/// The kind of a miss reason, as in reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MissKind {
    /// Never run in this project with anything comparable.
    New,
    /// A file has other content.
    InputChanged,
    /// A file joined.
    InputAdded,
    /// A file is gone.
    InputRemoved,
    /// A file changed between plain, executable and link.
    ModeChanged,
    /// A declared variable changed.
    EnvChanged,
    /// A program changed.
    ToolChanged,
    /// What runs changed.
    CommandChanged,
    /// A layer changed.
    LayerChanged,
    /// A configuration file or option changed.
    ConfigChanged,
    /// The same key had a result, which is gone.
    Evicted,
    /// The stored result is damaged, or of another version.
    Damaged,
    /// The stored result is older than `max-age`.
    Expired,
    /// Results of this check, or of its last run, are not stored.
    NotCached,
}

/// Why a check was not Fresh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Miss {
    /// Which kind of reason.
    pub kind: MissKind,
    /// The file, variable, program, layer or option it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Value before; a digest for files.
    pub from: Option<String>,
    /// Value now.
    pub to: Option<String>,
}

impl Miss {
    /// A reason that names nothing.
    #[must_use]
    pub fn of(kind: MissKind) -> Self {
        Self {
            kind,
            path: None,
            from: None,
            to: None,
        }
    }

    /// A reason with its subject.
    #[must_use]
    pub fn about(kind: MissKind, subject: impl Into<String>) -> Self {
        Self {
            path: Some(subject.into()),
            ..Self::of(kind)
        }
    }
}

impl fmt::Display for Miss {
    /// One line for people, without the word Dirty.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = self.path.as_deref().unwrap_or("");
        match self.kind {
            MissKind::New => f.write_str("first run here"),
            MissKind::InputChanged => write!(f, "{subject} changed"),
            MissKind::InputAdded => write!(f, "{subject} added"),
            MissKind::InputRemoved => write!(f, "{subject} removed"),
            MissKind::ModeChanged => write!(f, "mode of {subject} changed"),
            MissKind::EnvChanged => write!(f, "variable {subject} changed"),
            MissKind::ToolChanged => write!(f, "tool {subject} changed"),
            MissKind::CommandChanged => f.write_str("command changed"),
            MissKind::LayerChanged | MissKind::ConfigChanged => {
                write!(f, "{subject} changed")?;
                match (&self.from, &self.to) {
                    (Some(from), Some(to)) if from.len() + to.len() < 60 => {
                        write!(f, ": {from} → {to}")
                    }
                    _ => Ok(()),
                }
            }
            MissKind::Evicted => f.write_str("its result is no longer in the store"),
            MissKind::Damaged if subject.is_empty() => f.write_str("its stored result is damaged"),
            MissKind::Damaged => write!(f, "its stored result is unusable: {subject}"),
            MissKind::Expired => f.write_str("its result is older than max-age"),
            MissKind::NotCached if subject.is_empty() => {
                f.write_str("its last result was not stored")
            }
            MissKind::NotCached => write!(f, "not stored: {subject}"),
        }
    }
}

/// A listed tree: path → (kind letter, hexadecimal digest).
pub type Listing = BTreeMap<String, (char, String)>;

/// All differences between two fingerprints, most telling first: what was edited in the project comes before what
/// follows from it. `is_config` tells configuration files from other inputs; `listing` resolves a tree digest to the
/// tree, if it is still known.
#[must_use]
pub fn differences(
    old: &Fingerprint,
    new: &Fingerprint,
    is_config: &dyn Fn(&str) -> bool,
    listing: &dyn Fn(&str) -> Option<Listing>,
) -> Vec<Miss> {
    let mut misses = Vec::new();
    for (before, now) in paired(old, new) {
        if before.map(|part| &part.value) == now.map(|part| &part.value) {
            continue;
        }
        let Some(part) = now.or(before) else { continue };
        match part.kind {
            PartKind::Inputs | PartKind::Files => {
                misses.extend(tree_differences(before, now, is_config, listing));
            }
            PartKind::Outside => misses.push(outside_difference(before, now, part)),
            PartKind::Layer => misses.extend(layer_differences(before, now, part)),
            kind => misses.push(Miss {
                kind: reason(kind),
                path: Some(subject(part)),
                from: before.and_then(|part| part.value.clone()),
                to: now.and_then(|part| part.value.clone()),
            }),
        }
    }
    misses.sort_by_key(|miss| rank(miss.kind));
    misses
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
        // A configuration file that comes or goes also changes the command that names it.
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
        PartKind::Engine => "engine".to_owned(),
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
    // Above the root only configuration is looked for; inside it this is an ignored file that the check declares.
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
    }
}

fn layer_differences(before: Option<&Part>, now: Option<&Part>, part: &Part) -> Vec<Miss> {
    let detail = |part: Option<&Part>| -> BTreeMap<String, String> {
        part.map(|part| part.detail.iter().cloned().collect())
            .unwrap_or_default()
    };
    let (old, new) = (detail(before), detail(now));
    let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let mut misses: Vec<Miss> = names
        .into_iter()
        .filter(|name| old.get(*name) != new.get(*name))
        .map(|name| Miss {
            kind: MissKind::LayerChanged,
            path: Some(format!("{}: {name}", part.name)),
            from: old.get(name).cloned(),
            to: new.get(name).cloned(),
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
    listing: &dyn Fn(&str) -> Option<Listing>,
) -> Vec<Miss> {
    let resolve = |part: Option<&Part>| {
        part.and_then(|part| part.value.as_deref())
            .and_then(listing)
    };
    let (Some(old), Some(new)) = (resolve(before), resolve(now)) else {
        return vec![Miss::about(MissKind::InputChanged, "a file")];
    };
    let mut misses = Vec::new();
    for (path, (kind, digest)) in &new {
        let miss = match old.get(path) {
            None => MissKind::InputAdded,
            Some((old_kind, old_digest)) if old_digest != digest && old_kind == kind => {
                MissKind::InputChanged
            }
            Some((old_kind, _)) if old_kind != kind => MissKind::ModeChanged,
            Some(_) => continue,
        };
        let miss = if is_config(path) {
            MissKind::ConfigChanged
        } else {
            miss
        };
        misses.push(file_miss(miss, path, old.get(path), Some(digest)));
    }
    for (path, gone) in old.iter().filter(|(path, _)| !new.contains_key(*path)) {
        let kind = if is_config(path) {
            MissKind::ConfigChanged
        } else {
            MissKind::InputRemoved
        };
        misses.push(file_miss(kind, path, Some(gone), None));
    }
    misses
}

fn file_miss(
    kind: MissKind,
    path: &str,
    old: Option<&(char, String)>,
    new: Option<&String>,
) -> Miss {
    Miss {
        kind,
        path: Some(path.to_owned()),
        from: old.map(|(_, digest)| digest.clone()),
        to: new.cloned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(parts: &[(PartKind, &str, Option<&str>)]) -> Fingerprint {
        let part = |(kind, name, value): &(PartKind, &str, Option<&str>)| Part {
            kind: *kind,
            name: (*name).to_owned(),
            value: value.map(str::to_owned),
            detail: Vec::new(),
        };
        Fingerprint {
            parts: parts.iter().map(part).collect(),
        }
    }

    fn tree(files: &[(&str, char, &str)]) -> Listing {
        files
            .iter()
            .map(|(p, k, d)| ((*p).to_owned(), (*k, (*d).to_owned())))
            .collect()
    }

    fn first(old: &Fingerprint, new: &Fingerprint) -> String {
        let listing = |digest: &str| match digest {
            "t1" => Some(tree(&[
                ("a", 'f', "1"),
                ("b", 'f', "2"),
                ("t.toml", 'f', "3"),
            ])),
            "t2" => Some(tree(&[
                ("a", 'f', "9"),
                ("b", 'f', "2"),
                ("t.toml", 'f', "3"),
            ])),
            "t3" => Some(tree(&[
                ("a", 'f', "1"),
                ("b", 'x', "2"),
                ("t.toml", 'f', "3"),
            ])),
            "t4" => Some(tree(&[
                ("a", 'f', "1"),
                ("b", 'f', "2"),
                ("c", 'f', "2"),
                ("t.toml", 'f', "3"),
            ])),
            "t5" => Some(tree(&[
                ("a", 'f', "1"),
                ("b", 'f', "2"),
                ("t.toml", 'f', "4"),
            ])),
            _ => None,
        };
        let all = differences(old, new, &|path| path.ends_with(".toml"), &listing);
        all.first()
            .map_or_else(|| "none".to_owned(), ToString::to_string)
    }

    #[test]
    fn names_the_file_that_changed() {
        let at = |digest| print(&[(PartKind::Inputs, "", Some(digest))]);
        assert_eq!(first(&at("t1"), &at("t2")), "a changed");
        assert_eq!(first(&at("t1"), &at("t3")), "mode of b changed");
        assert_eq!(first(&at("t1"), &at("t4")), "c added");
        assert_eq!(first(&at("t4"), &at("t1")), "c removed");
        assert_eq!(first(&at("t1"), &at("t5")), "t.toml changed: 3 → 4");
        assert_eq!(first(&at("t1"), &at("gone")), "a file changed");
        assert_eq!(first(&at("t1"), &at("t1")), "none");
    }

    #[test]
    fn an_edit_is_named_before_what_follows_from_it() {
        let old = print(&[
            (PartKind::Tool, "ruff", Some("1")),
            (PartKind::Inputs, "", Some("t1")),
        ]);
        let new = print(&[
            (PartKind::Tool, "ruff", Some("2")),
            (PartKind::Inputs, "", Some("t2")),
        ]);
        assert_eq!(first(&old, &new), "a changed");
    }

    #[test]
    fn unset_and_empty_differ() {
        let old = print(&[(PartKind::Env, "MODE", None)]);
        let new = print(&[(PartKind::Env, "MODE", Some(""))]);
        assert_eq!(first(&old, &new), "variable MODE changed");
    }
}
