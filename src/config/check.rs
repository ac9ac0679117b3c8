//! `[checks.ID]`: validates ids, values and relations between keys.
//!
//! Does no planning.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::catalogue;
use crate::config::diagnose::nearest;
use crate::config::glob::Globs;
use crate::config::model::{Findings, SECRETS};
use crate::config::read::Reader;
use crate::path::RelPath;
use crate::plan::CacheMode;
use crate::snapshot::Snapshot;

/// Words that mean something else where an id may stand: commands (`explain CHECK`) and layers (`cache clear LAYER`).
const RESERVED: &[&str] = &[
    "lint",
    "validate",
    "dev-check",
    "pre-commit",
    "ci",
    "generate",
    "cache",
    "explain",
    "lock",
    "init",
    "doctor",
    "config",
    "shell",
    "trust",
    "completions",
    "help",
    "base",
    "tools",
    "deps",
    "source",
];

/// Keys for custom checks only, with the reason why built-in checks do not support them.
const OWN_ONLY: &[(&str, &str)] = &[
    (
        "command",
        "its command is fixed; use `args` to extend it, or define a custom check under a name without `:`",
    ),
    (
        "dir",
        "its folder determines its arguments and configuration",
    ),
    (
        "files",
        "it finds its files on its own; use `exclude` to skip some",
    ),
    (
        "per-file",
        "the tool determines whether files are checked one by one",
    ),
    ("outputs", "it writes no files to the project"),
    ("findings", "its output format is fixed"),
];

/// Variables that the room sets: a user's value would be in the key, but what it leads to would not.
const OURS: &[&str] = &["HOME", "TMPDIR"];

const GROUPS: &[&str] = &["path", "line", "column", "severity", "code", "message"];

#[must_use]
pub(crate) fn is_built_in_form(id: &str) -> bool {
    id.contains(':')
}

/// The name of the table of a check.
pub(super) fn table_name(id: &str) -> String {
    if is_built_in_form(id) {
        format!("checks.\"{id}\"")
    } else {
        format!("checks.{id}")
    }
}

/// Reports an id that no check can have, and keys that do not apply to this kind of check. `key` is the span of the id.
pub(super) fn fits(reader: &mut Reader<'_>, id: &str, key: &Range<usize>, table: &DeTable<'_>) {
    check_id(reader, id, key, table);
    keys_that_fit(reader, id, table);
}

/// The built-in checks of the same language, or all.
fn alike(id: &str) -> Vec<&'static str> {
    let language = |id: &str| id.split(':').next().map(str::to_owned);
    let same = catalogue::ids().filter(|known| language(known) == language(id));
    let same: Vec<_> = same.collect();
    match same.is_empty() {
        true => catalogue::ids().collect(),
        false => same,
    }
}

fn check_id(reader: &mut Reader<'_>, id: &str, key: &Range<usize>, table: &DeTable<'_>) {
    if is_built_in_form(id) {
        if catalogue::find(id).is_none() {
            let kind = id.split_once('@').map_or(id, |(kind, _)| kind);
            let help = match nearest(kind, catalogue::ids()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("built-in checks: {}", alike(kind).join(", ")),
            };
            let title = format!("there is no built-in check `{id}`");
            reader.problem_with_help(key.clone(), title, "", help);
        }
        return;
    }
    if let Err(message) = word(id) {
        reader.problem(key.clone(), format!("invalid check name `{id}`"), &message);
    } else if RESERVED.contains(&id) {
        let title = format!("a check cannot be named `{id}`");
        reader.problem(
            key.clone(),
            title,
            "this word has another meaning on the command line",
        );
    } else if !table.contains_key("command") {
        let help = match built_in_like(id) {
            Some(meant) => format!("did you mean the built-in `[checks.\"{meant}\"]`?"),
            None => "a custom check needs `command = [\"PROGRAM\", …]`".to_owned(),
        };
        let title = format!("check `{id}` has no `command`");
        reader.problem_with_help(key.clone(), title, "", help);
    }
}

/// The built-in id that a name without `:` was probably meant to be, such as `clippy` or `rust-fmt`.
fn built_in_like(name: &str) -> Option<&'static str> {
    let last_part = |id: &&str| id.split_once(':').is_some_and(|(_, last)| last == name);
    catalogue::ids()
        .find(last_part)
        .or_else(|| nearest(name, catalogue::ids()))
}

/// Reports keys that do not apply to this kind of check.
fn keys_that_fit(reader: &mut Reader<'_>, id: &str, table: &DeTable<'_>) {
    for (key, _) in table {
        let word = key.get_ref().as_ref();
        if word == "baseline" && id != SECRETS {
            let title = format!("`baseline` is only supported by `{SECRETS}`");
            reader.problem(key.span(), title, "");
        }
        let own_only = OWN_ONLY.iter().find(|(key, _)| *key == word);
        if is_built_in_form(id)
            && let Some((_, why)) = own_only
        {
            let title = format!("`{word}` of a built-in check cannot be changed");
            reader.problem_with_help(key.span(), title, "", (*why).to_owned());
        }
    }
}

/// `command`: a program that can be found, and its arguments.
pub(super) fn command(reader: &mut Reader<'_>, table: &DeTable<'_>) -> Option<Vec<String>> {
    let argv = reader.texts(table, "command", no_nul)?;
    let span = table.get("command")?.span();
    let problem = match argv.first().map(String::as_str) {
        None | Some("") => Some("the program is empty".to_owned()),
        Some(program) if program.starts_with('/') => Some(
            "absolute paths differ between machines; use the program's name and let PATH find it"
                .to_owned(),
        ),
        Some(program) if program.contains('/') => {
            let dir = table.get("dir").and_then(|dir| dir.get_ref().as_str());
            // Errors in the folder itself are reported at its own key.
            let dir = dir.and_then(|dir| RelPath::new(dir).ok());
            dir.unwrap_or_default()
                .join(program)
                .err()
                .map(|error| error.to_string())
        }
        Some(_) => None,
    };
    if let Some(message) = problem {
        reader.problem(span, "invalid value for `command`".to_owned(), &message);
    }
    Some(argv)
}

/// `cache`: which results are stored.
pub(super) fn cache(reader: &mut Reader<'_>, table: &DeTable<'_>) -> Option<CacheMode> {
    let value = table.get("cache")?;
    match value.get_ref() {
        DeValue::Boolean(true) => Some(CacheMode::All),
        DeValue::Boolean(false) => Some(CacheMode::Off),
        DeValue::String(text) if text == "passes" => Some(CacheMode::Passes),
        _ => {
            let title = "`cache` must be `true`, `false` or `\"passes\"`".to_owned();
            reader.problem(value.span(), title, "");
            None
        }
    }
}

/// Reports keys that conflict or that require another key.
pub(super) fn relations(reader: &mut Reader<'_>, table: &DeTable<'_>) {
    let is_per_file = table
        .get("per-file")
        .is_some_and(|value| matches!(value.get_ref(), DeValue::Boolean(true)));
    if is_per_file
        && !table.contains_key("files")
        && let Some((key, _)) = table.get_key_value("per-file")
    {
        let title = "`per-file` needs `files`".to_owned();
        reader.problem(key.span(), title, "there are no files to check");
    }
    if is_per_file
        && !words(table, "outputs").is_empty()
        && let Some((key, _)) = table.get_key_value("outputs")
    {
        let title = "`outputs` cannot be combined with `per-file`".to_owned();
        let label =
            "with `per-file`, each file has a separate result; outputs belong to a whole check";
        reader.problem(key.span(), title, label);
    }
    for (one, other) in [
        ("env", "set-env"),
        ("secrets", "set-env"),
        ("env", "secrets"),
    ] {
        let second = words(table, other);
        if let Some(both) = words(table, one).intersection(&second).next()
            && let Some((key, _)) = table.get_key_value(other)
        {
            let title = format!("`{both}` is both in `{one}` and in `{other}`");
            reader.problem(key.span(), title, "it can only have one value");
        }
    }
}

/// The strings of a list, or the keys of a table.
fn words<'t>(table: &'t DeTable<'_>, key: &str) -> BTreeSet<&'t str> {
    match table.get(key).map(Spanned::get_ref) {
        Some(DeValue::Array(list)) => {
            let texts = list.iter().filter_map(|value| value.get_ref().as_str());
            texts.collect()
        }
        Some(DeValue::Table(map)) => map.keys().map(|key| key.get_ref().as_ref()).collect(),
        _ => BTreeSet::new(),
    }
}

/// `outputs`; an empty list is the same as no key.
pub(super) fn outputs(reader: &mut Reader<'_>, table: &DeTable<'_>) -> Option<Globs> {
    let globs = reader.globs(table, "outputs")?;
    let value = table.get("outputs")?;
    if globs
        .patterns()
        .any(|pattern| matches!(pattern, "**" | "." | "./" | "./**" | "**/"))
    {
        let title = "invalid value for `outputs`".to_owned();
        let label = "this matches the whole project; name the files that the check writes";
        reader.problem(value.span(), title, label);
    }
    (globs != Globs::nothing()).then_some(globs)
}

/// A user-defined name: of a check or a tag.
pub(super) fn word(text: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !text.is_empty() && text.chars().all(fits) {
        Ok(())
    } else {
        Err("only letters, digits, `.`, `_` and `-` are allowed".to_owned())
    }
}

pub(super) fn no_nul(text: &str) -> Result<(), String> {
    if text.contains('\0') {
        Err("contains a NUL character".to_owned())
    } else {
        Ok(())
    }
}

pub(super) fn variable(name: &str) -> Result<(), String> {
    if name == "PATH" {
        return Err("PATH is built from `tools`".to_owned());
    }
    if name.is_empty() || name.contains(['=', '\0']) || name.contains(char::is_whitespace) {
        return Err(format!("`{name}` is not a valid variable name"));
    }
    Ok(())
}

/// A variable whose value comes from the user's environment.
pub(super) fn users_variable(name: &str) -> Result<(), String> {
    if OURS.contains(&name) {
        return Err(format!("checks get a private, empty {name}"));
    }
    variable(name)
}

pub(super) fn tool(name: &str) -> Result<(), String> {
    if name.is_empty() || name.contains(['/', '\0']) {
        return Err("use the name of a program on PATH, without `/`".to_owned());
    }
    Ok(())
}

pub(super) fn folder(snapshot: &Snapshot, text: &str) -> Result<RelPath, String> {
    let dir = RelPath::new(text).map_err(|error| error.to_string())?;
    if dir.is_root() || !snapshot.below(&dir).is_empty() {
        Ok(dir)
    } else {
        Err("this folder contains no file of the project".to_owned())
    }
}

pub(super) fn file(snapshot: &Snapshot, text: &str) -> Result<RelPath, String> {
    let path = RelPath::new(text).map_err(|error| error.to_string())?;
    match snapshot.find(&path) {
        Some(_) => Ok(path),
        None => Err("this is not a file of the project".to_owned()),
    }
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| format!("`{text}` is not a duration; use a value like `90s`, `5m` or `7d`"))
}

pub(super) fn timeout(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be longer than zero".to_owned()),
        length => Ok(length),
    }
}

pub(super) fn findings(text: &str) -> Result<Findings, String> {
    match text {
        "gcc" => return Ok(Findings::Gcc),
        "sarif" => return Ok(Findings::Sarif),
        _ => {}
    }
    let regex = regex::Regex::new(text).map_err(|error| regex_message(&error))?;
    let names: Vec<&str> = regex.capture_names().flatten().collect();
    if let Some(other) = names.iter().find(|name| !GROUPS.contains(name)) {
        return Err(match nearest(other, GROUPS.iter().copied()) {
            Some(meant) => format!("unknown group `{other}`; did you mean `{meant}`?"),
            None => format!(
                "unknown group `{other}`; known groups: {}",
                GROUPS.join(", ")
            ),
        });
    }
    if !names.contains(&"path") {
        return Err("expected `gcc`, `sarif`, or a regular expression with `(?<path>…)`".into());
    }
    Ok(Findings::Regex(regex))
}

/// The last line of the library's message describes the error; the lines before it show the pattern.
fn regex_message(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().next_back().unwrap_or_default();
    last.trim_start_matches("error: ").to_owned()
}
