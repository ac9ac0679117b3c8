//! Determines which files a checkout would convert: line endings, filters, idents, encodings.
//!
//! Only decides whether to ask git for the content, and asks when in doubt. Git does the conversion.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::digest::{Digest, Hasher};
use crate::fs::sealed::{Reader, Writer};
use crate::snapshot::SnapshotError;
use crate::snapshot::guard::{self, Guards, State};
use crate::snapshot::repository::{self, Repository, is_true, user_folder};
use crate::snapshot::staged::git::Staging;
use crate::snapshot::staged::object::Listed;
use crate::snapshot::stat::Time;

/// The relevant attributes, in query order.
pub(crate) const ATTRIBUTES: [&str; 6] = [
    "text",
    "crlf",
    "eol",
    "ident",
    "filter",
    "working-tree-encoding",
];

/// Git configuration that determines the content of a checkout.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Settings {
    /// Text gets CRLF line endings unless an attribute says otherwise.
    crlf: bool,
    /// Also files that no attribute declares to be text.
    crlf_unasked: bool,
    pub(crate) no_links: bool,
    /// Names of filters with a command of the user or the system.
    filters: BTreeSet<String>,
    /// Names of filters that have one only in the repository's own configuration, which is not run.
    refused: BTreeSet<String>,
    /// Digest of the whole filter configuration.
    commands: Option<Digest>,
}

/// A repository's rules, as memoised.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Rules {
    pub(crate) settings: Settings,
    /// Files the settings were read from.
    pub(crate) config: Guards,
    /// Attribute files that are not part of the commit.
    pub(crate) attributes: Guards,
}

impl Rules {
    /// The current rules; asks git only if their sources changed.
    pub(crate) fn now(
        known: Option<&Self>,
        staging: &Staging,
        began: Time,
    ) -> Result<Self, SnapshotError> {
        if let Some(known) = known {
            let mut rules = known.clone();
            if guard::all_same(&mut rules.config, began) {
                if !guard::all_same(&mut rules.attributes, began) {
                    rules.attributes = observed(rules.attributes.into_keys(), began);
                }
                return Ok(rules);
            }
        }
        let repository = &staging.repository;
        let mut answer = ask(repository, staging)?;
        loop {
            let config = observed(answer.1.iter().cloned(), began);
            if config.values().all(guard::is_settled) {
                return Ok(answer.rules(config, began));
            }
            // A file may have changed between git's look and ours.
            let again = ask(repository, staging)?;
            if again == answer {
                return Ok(answer.rules(config, began));
            }
            answer = again;
        }
    }

    /// Identifies everything that conversion depends on, except the file itself.
    pub(crate) fn digest(&self, listed: &[Listed]) -> Digest {
        let mut out = Writer::default();
        encode_settings(&self.settings, &mut out);
        for (path, state) in &self.attributes {
            if let State::Present { digest, .. } = state {
                out.bytes(path.as_os_str().as_encoded_bytes());
                out.raw(digest.as_bytes());
            }
        }
        for file in listed.iter().filter(|file| file.is_attributes()) {
            out.bytes(&file.path);
            out.bytes(file.id.as_bytes());
        }
        Digest::of(&out.0)
    }

    /// Whether no file is converted, regardless of its attributes.
    pub(crate) fn convert_nothing(&self, listed: &[Listed]) -> bool {
        !self.settings.crlf_unasked
            && self
                .attributes
                .values()
                .all(|state| *state == State::Absent)
            && !listed.iter().any(Listed::is_attributes)
    }
}

#[derive(PartialEq)]
struct Answer(Settings, Vec<PathBuf>, Vec<PathBuf>);

impl Answer {
    fn rules(self, config: Guards, began: Time) -> Rules {
        Rules {
            settings: self.0,
            config,
            attributes: observed(self.2.into_iter(), began),
        }
    }
}

fn observed(paths: impl Iterator<Item = PathBuf>, began: Time) -> Guards {
    let look = |path: PathBuf| {
        let state = guard::observe(&path, began).0;
        (path, state)
    };
    paths.map(look).collect()
}

fn ask(repository: &Repository, staging: &Staging) -> Result<Answer, SnapshotError> {
    let mut settings = Settings::default();
    let (mut auto, mut input, mut eol, mut own_file) = (false, false, false, false);
    let mut commands = Hasher::new();
    let env = &staging.env;
    let config = repository::configuration(repository, env, |key, value| {
        let truth = value.is_none_or(is_true);
        match key {
            "core.autocrlf" => {
                input = value.is_some_and(|value| value.eq_ignore_ascii_case(b"input"));
                auto = truth && !input;
            }
            "core.eol" => eol = value.is_some_and(|value| value.eq_ignore_ascii_case(b"crlf")),
            "core.symlinks" => settings.no_links = !truth,
            "core.attributesfile" => own_file = true,
            _ => {}
        }
        let Some((name, what)) = key
            .strip_prefix("filter.")
            .and_then(|rest| rest.rsplit_once('.'))
        else {
            return;
        };
        if what != "clean" {
            settings.refused.insert(name.to_owned());
        }
        commands.update(key.as_bytes());
        commands.update(&[0, u8::from(value.is_some())]);
        commands.update(value.unwrap_or_default());
        commands.update(&[0]);
    })?;
    settings.crlf_unasked = auto;
    settings.crlf = auto || eol && !input;
    if !settings.refused.is_empty() {
        settings.commands = Some(commands.finish());
        settings.filters = filters_of_user(staging);
        let refused = settings.refused.difference(&settings.filters);
        settings.refused = refused.cloned().collect();
    }
    let own = match own_file {
        true => repository::path_value(repository, "core.attributesfile", env),
        false => user_folder(env).map(|folder| folder.join("attributes")),
    };
    let mut attributes = vec![
        PathBuf::from("/etc/gitattributes"),
        repository.common_dir.join("info/attributes"),
    ];
    attributes.extend(own);
    // The system's attributes are next to the system's configuration.
    let system = config.iter().filter(|path| path.ends_with("gitconfig"));
    attributes.extend(system.map(|path| path.with_file_name("gitattributes")));
    attributes.sort();
    attributes.dedup();
    Ok(Answer(settings, config, attributes))
}

/// Names of the filters that get a command outside of the repository.
fn filters_of_user(staging: &Staging) -> BTreeSet<String> {
    let settings = staging.settings(r"^filter\..*\.(smudge|process)$");
    let users = settings.iter().filter(|setting| setting.is_users());
    let names = users.filter_map(|setting| {
        let (name, _) = setting.key.strip_prefix("filter.")?.rsplit_once('.')?;
        Some(name.to_owned())
    });
    names.collect()
}

/// What a checkout does with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// Writes the blob unchanged.
    AsIs,
    /// Applies a conversion determined by the file and the rules.
    Converted,
    /// Runs a filter, whose result may depend on anything.
    Filtered,
    /// Runs a filter that only the repository's own configuration defines. It is not run here.
    Refused,
}

/// Decides from a file's values of [`ATTRIBUTES`].
pub(crate) fn how(values: &[&[u8]; ATTRIBUTES.len()], settings: &Settings) -> How {
    let [.., filter, _] = *values;
    if std::str::from_utf8(filter).is_ok_and(|name| settings.refused.contains(name)) {
        How::Refused
    } else if is_filtered(filter, settings) {
        How::Filtered
    } else if converts(values, settings) {
        How::Converted
    } else {
        How::AsIs
    }
}

fn has_value(value: &[u8]) -> bool {
    !matches!(value, b"unspecified" | b"unset" | b"set")
}

fn is_filtered(filter: &[u8], settings: &Settings) -> bool {
    let name = std::str::from_utf8(filter);
    has_value(filter) && name.map_or(true, |name| settings.filters.contains(name))
}

fn converts(values: &[&[u8]; ATTRIBUTES.len()], settings: &Settings) -> bool {
    let [text, crlf, eol, ident, _, encoding] = *values;
    if ident == b"set" || has_value(encoding) {
        return true;
    }
    let kind = if text == b"unspecified" { crlf } else { text };
    if kind == b"unset" {
        return false;
    }
    match eol {
        b"crlf" => true,
        b"lf" => false,
        _ if kind == b"unspecified" => settings.crlf_unasked,
        _ => settings.crlf && kind != b"input",
    }
}

fn encode_settings(settings: &Settings, out: &mut Writer) {
    let flags = [settings.crlf, settings.crlf_unasked, settings.no_links];
    for flag in flags {
        out.u8(u8::from(flag));
    }
    for names in [&settings.filters, &settings.refused] {
        out.u32(u32::try_from(names.len()).unwrap_or(u32::MAX));
        for name in names {
            out.bytes(name.as_bytes());
        }
    }
    let commands = settings.commands.unwrap_or(Digest::from_bytes([0; 32]));
    out.raw(commands.as_bytes());
}

pub(crate) fn encode(rules: &Rules, out: &mut Writer) {
    encode_settings(&rules.settings, out);
    guard::encode(&rules.config, out);
    guard::encode(&rules.attributes, out);
}

pub(crate) fn decode(from: &mut Reader<'_>) -> Option<Rules> {
    let mut settings = Settings {
        crlf: from.u8()? != 0,
        crlf_unasked: from.u8()? != 0,
        no_links: from.u8()? != 0,
        ..Settings::default()
    };
    for names in [&mut settings.filters, &mut settings.refused] {
        for _ in 0..from.u32()? {
            names.insert(from.text()?.to_owned());
        }
    }
    let commands = from.digest()?;
    let any = !settings.filters.is_empty() || !settings.refused.is_empty();
    settings.commands = any.then_some(commands);
    Some(Rules {
        settings,
        config: guard::decode(from)?,
        attributes: guard::decode(from)?,
    })
}

/// A path in the system's form.
pub(crate) fn os_path(bytes: &[u8]) -> &Path {
    use std::os::unix::ffi::OsStrExt as _;
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values<'a>(given: &[(&str, &'a str)]) -> [&'a [u8]; ATTRIBUTES.len()] {
        ATTRIBUTES.map(|name| {
            let found = given.iter().find(|(other, _)| *other == name);
            found.map_or(b"unspecified".as_slice(), |(_, value)| value.as_bytes())
        })
    }

    #[test]
    fn only_what_a_checkout_may_change_is_converted() {
        let plain = Settings::default();
        let auto = Settings {
            crlf: true,
            crlf_unasked: true,
            ..Settings::default()
        };
        let eol = Settings {
            crlf: true,
            filters: BTreeSet::from(["lfs".to_owned()]),
            ..Settings::default()
        };
        for (given, expect) in [
            (&[][..], [false, true, false]),
            (&[("text", "auto")], [false, true, true]),
            (&[("text", "set")], [false, true, true]),
            (&[("text", "unset")], [false, false, false]),
            (&[("crlf", "unset")], [false, false, false]),
            (&[("crlf", "input")], [false, false, false]),
            (&[("eol", "crlf")], [true, true, true]),
            (&[("eol", "lf")], [false, false, false]),
            (&[("ident", "set")], [true, true, true]),
            (
                &[("filter", "lfs"), ("text", "unset")],
                [false, false, true],
            ),
            (
                &[("filter", "other"), ("text", "unset")],
                [false, false, false],
            ),
            (&[("working-tree-encoding", "UTF-16")], [true, true, true]),
        ] {
            let with = [&plain, &auto, &eol];
            let found = with.map(|with| how(&values(given), with) != How::AsIs);
            // In doubt, git is asked: more may be said to convert than does.
            for (found, expect) in found.into_iter().zip(expect) {
                assert!(found || !expect, "{given:?}: {found} instead of {expect}");
            }
            assert!(!found[0] || expect[0], "{given:?}");
        }
    }

    #[test]
    fn rules_round_trip() {
        let rules = Rules {
            settings: Settings {
                crlf: true,
                filters: BTreeSet::from(["lfs".to_owned()]),
                commands: Some(Digest::of(b"x")),
                ..Settings::default()
            },
            ..Rules::default()
        };
        let mut out = Writer::default();
        encode(&rules, &mut out);
        assert_eq!(decode(&mut Reader::new(&out.0)), Some(rules));
    }
}
