//! Parses and validates values outside of `[checks]`.

use std::collections::BTreeMap;

use toml::de::DeTable;

use crate::config::diagnose::nearest;
use crate::config::model::{EngineKind, Key};
use crate::config::read::Reader;
use crate::plan::image::{full_name, is_archive};
use crate::snapshot::Snapshot;

/// Tags of built-in checks.
const TAGS: &[&str] = &["lint", "validate", "security", "test", "ci"];

/// Words for [`EngineKind`].
pub(super) const ENGINES: &[&str] = &["auto", "dagger", "local"];
/// Words for [`warns`].
pub(super) const ALREADY_FAILING: &[&str] = &["block", "warn"];

/// Any text.
pub(super) fn any(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

pub(super) fn engine_kind(text: &str) -> Result<EngineKind, String> {
    match text {
        "auto" => Ok(EngineKind::Auto),
        "dagger" => Ok(EngineKind::Dagger),
        "local" => Ok(EngineKind::Local),
        _ => Err(match nearest(text, ENGINES.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("known engines: {}", ENGINES.join(", ")),
        }),
    }
}

/// The address of an engine, as Dagger writes it.
pub(super) fn address(text: &str) -> Result<String, String> {
    match text.split_once("://") {
        Some((scheme, rest)) if !scheme.is_empty() && !rest.is_empty() => Ok(text.to_owned()),
        _ => Err(
            "use an address like `unix:///run/dagger/engine.sock` or `tcp://HOST:PORT`".to_owned(),
        ),
    }
}

/// Whether earlier failures only warn.
pub(super) fn warns(text: &str) -> Result<bool, String> {
    match text {
        "block" => Ok(false),
        "warn" => Ok(true),
        _ => Err(format!("expected one of {}", ALREADY_FAILING.join(", "))),
    }
}

/// A size in bytes.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let size = text.parse::<bytesize::ByteSize>();
    size.map(|size| size.as_u64())
        .map_err(|_| format!("`{text}` is not a size; use a value like `10GiB`"))
}

/// The full name of an image, or the path of an existing archive.
pub(super) fn base_image(snapshot: &Snapshot, text: &str) -> Result<String, String> {
    let name = full_name(text)?;
    if is_archive(&name) && !snapshot.root().join(&name).is_file() {
        return Err(
            "no such file; the name of a registry image does not start with `.` or `/`".to_owned(),
        );
    }
    Ok(name)
}

/// System packages, sorted.
pub(super) fn packages(reader: &mut Reader<'_>, base: &DeTable<'_>) -> Option<Vec<String>> {
    let mut packages = reader.texts(base, "packages", package)?;
    packages.sort();
    packages.dedup();
    Some(packages)
}

/// Package names are passed to a package manager through a shell.
fn package(name: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "+-._:=~".contains(c);
    let first = name.chars().next();
    if first.is_some_and(|c| c.is_ascii_alphanumeric()) && name.chars().all(fits) {
        Ok(())
    } else {
        Err(format!("`{name}` is not a valid package name"))
    }
}

/// `[layers.tools]`.
pub(super) fn tools(
    reader: &mut Reader<'_>,
    layers: &DeTable<'_>,
    keys: &'static [Key],
) -> Option<BTreeMap<String, String>> {
    let table = reader.any_table(layers, "tools")?;
    reader.known_keys(table, "layers.tools", keys);
    let mut tools = BTreeMap::new();
    for key in keys {
        if let Some(from) = reader.parsed(table, key.name, |_, text| tool_image(text)) {
            tools.insert(key.name.to_owned(), from);
        }
    }
    Some(tools)
}

fn tool_image(text: &str) -> Result<String, String> {
    if text == "base" {
        return Ok(text.to_owned());
    }
    let name = full_name(text)?;
    match is_archive(&name) {
        true => Err("programs can only come from registry images".to_owned()),
        false => Ok(name),
    }
}

/// `[commands]`. A tag that no check can have would silently skip work, so it is an error.
pub(super) fn commands(
    reader: &mut Reader<'_>,
    top: &DeTable<'_>,
    keys: &'static [Key],
) -> Option<BTreeMap<String, Vec<String>>> {
    let table = reader.any_table(top, "commands")?;
    reader.known_keys(table, "commands", keys);
    let known: Vec<&str> = TAGS.iter().copied().chain(own_tags(top)).collect();
    let mut commands = BTreeMap::new();
    for key in keys {
        let Some(tags) = reader.texts(table, key.name, |tag| known_tag(tag, &known)) else {
            continue;
        };
        if tags.is_empty()
            && let Some(value) = table.get(key.name)
        {
            let title = format!("`{}` would run no checks", key.name);
            reader.problem(value.span(), title, "name at least one tag");
        }
        commands.insert(key.name.to_owned(), tags);
    }
    Some(commands)
}

/// The tags that `[checks]` names.
fn own_tags<'t>(top: &'t DeTable<'_>) -> impl Iterator<Item = &'t str> {
    let checks = top
        .get("checks")
        .and_then(|checks| checks.get_ref().as_table());
    let checks = checks.into_iter().flat_map(DeTable::values);
    let tags = checks.filter_map(|check| check.get_ref().get("tags")?.get_ref().as_array());
    tags.flat_map(|tags| tags.iter().filter_map(|tag| tag.get_ref().as_str()))
}

fn known_tag(tag: &str, known: &[&str]) -> Result<(), String> {
    if known.contains(&tag) {
        return Ok(());
    }
    Err(match nearest(tag, known.iter().copied()) {
        Some(meant) => format!("no check has the tag `{tag}`; did you mean `{meant}`?"),
        None => format!("no check has the tag `{tag}`"),
    })
}
