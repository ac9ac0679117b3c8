//! Parses the configuration table into a [`Config`].
//!
//! Does not know where the table was found.

use std::collections::BTreeMap;

use toml::de::DeTable;

use crate::config::check;
use crate::config::diagnose::nearest;
use crate::config::model::{Base, CheckConfig, Config, Engine, EngineKind, Remote};
use crate::config::read::Reader;
use crate::config::schema;
use crate::plan::image::{full_name, is_archive};
use crate::snapshot::Snapshot;

/// Tags of built-in checks.
const TAGS: &[&str] = &["lint", "validate", "security", "test", "ci"];

/// Parses the whole table. Errors are collected in the reader.
pub(super) fn read(reader: &mut Reader<'_>, snapshot: &Snapshot, top: &DeTable<'_>) -> Config {
    reader.known_keys(top, "", schema::TOP);
    let checks = checks(reader, snapshot, top);
    Config {
        exclude: reader.globs(top, "exclude").unwrap_or_default(),
        engine: engine(reader, top),
        base: base(reader, snapshot, top),
        tools: tools(reader, top),
        commands: commands(reader, top, &checks),
        checks,
        hook_warns: hook_warns(reader, top),
        max_size: max_size(reader, top),
        remote: remote(reader, top),
    }
}

fn engine(reader: &mut Reader<'_>, top: &DeTable<'_>) -> Engine {
    let Some(table) = reader.table(top, "engine", "engine", schema::ENGINE) else {
        return Engine::default();
    };
    Engine {
        kind: reader
            .parsed(table, "kind", engine_kind)
            .unwrap_or_default(),
        address: reader.text(table, "address"),
        incremental: reader.flag(table, "incremental").unwrap_or_default(),
    }
}

fn engine_kind(text: &str) -> Result<EngineKind, String> {
    match text {
        "auto" => Ok(EngineKind::Auto),
        "dagger" => Ok(EngineKind::Dagger),
        "local" => Ok(EngineKind::Local),
        _ => Err(match nearest(text, schema::ENGINES.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("known engines: {}", schema::ENGINES.join(", ")),
        }),
    }
}

fn hook_warns(reader: &mut Reader<'_>, top: &DeTable<'_>) -> bool {
    let parse = |text: &str| match text {
        "block" => Ok(false),
        "warn" => Ok(true),
        _ => Err(format!(
            "expected one of {}",
            schema::ALREADY_FAILING.join(", ")
        )),
    };
    let table = reader.table(top, "hook", "hook", schema::HOOK);
    let warns = table.and_then(|table| reader.parsed(table, "already-failing", parse));
    warns.unwrap_or_default()
}

fn base(reader: &mut Reader<'_>, snapshot: &Snapshot, top: &DeTable<'_>) -> Base {
    let Some(layers) = reader.table(top, "layers", "layers", schema::LAYERS) else {
        return Base::default();
    };
    let Some(table) = reader.table(layers, "base", "layers.base", schema::BASE) else {
        return Base::default();
    };
    let mut packages = reader.texts(table, "packages", package).unwrap_or_default();
    packages.sort();
    packages.dedup();
    Base {
        image: reader.parsed(table, "image", |text| base_image(snapshot, text)),
        packages,
    }
}

/// The full name of an image, or the path of an existing archive.
fn base_image(snapshot: &Snapshot, text: &str) -> Result<String, String> {
    let name = full_name(text)?;
    if is_archive(&name) && !snapshot.root().join(&name).is_file() {
        return Err(
            "no such file; the name of a registry image does not start with `.` or `/`".to_owned(),
        );
    }
    Ok(name)
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

fn tools(reader: &mut Reader<'_>, top: &DeTable<'_>) -> BTreeMap<String, String> {
    let mut tools = BTreeMap::new();
    // Errors in `layers` itself are reported when its other table is parsed.
    let Some(layers) = top
        .get("layers")
        .and_then(|layers| layers.get_ref().as_table())
    else {
        return tools;
    };
    let Some(table) = reader.table(layers, "tools", "layers.tools", schema::TOOLS) else {
        return tools;
    };
    for key in schema::TOOLS {
        if let Some(from) = reader.parsed(table, key.name, tool_image) {
            tools.insert(key.name.to_owned(), from);
        }
    }
    tools
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

fn checks(
    reader: &mut Reader<'_>,
    snapshot: &Snapshot,
    top: &DeTable<'_>,
) -> BTreeMap<String, CheckConfig> {
    let mut checks = BTreeMap::new();
    let Some(tables) = reader.any_table(top, "checks") else {
        return checks;
    };
    for (key, value) in tables {
        let id = key.get_ref().as_ref();
        if let Some(table) = reader.as_table(value, &format!("checks.{id}")) {
            let check = check::read(reader, snapshot, id, &key.span(), table);
            checks.insert(id.to_owned(), check);
        }
    }
    checks
}

/// A tag that no check can have would silently skip work, so it is an error.
fn commands(
    reader: &mut Reader<'_>,
    top: &DeTable<'_>,
    checks: &BTreeMap<String, CheckConfig>,
) -> BTreeMap<String, Vec<String>> {
    let mut commands = BTreeMap::new();
    let Some(table) = reader.table(top, "commands", "commands", schema::COMMANDS) else {
        return commands;
    };
    let own = checks
        .values()
        .flat_map(|check| check.tags.iter().flatten());
    let known: Vec<&str> = TAGS
        .iter()
        .copied()
        .chain(own.map(String::as_str))
        .collect();
    for key in schema::COMMANDS {
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
    commands
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

fn max_size(reader: &mut Reader<'_>, top: &DeTable<'_>) -> Option<u64> {
    let table = reader.table(top, "cache", "cache", schema::CACHE)?;
    reader.parsed(table, "max-size", |text| {
        text.parse::<bytesize::ByteSize>()
            .map(|size| size.as_u64())
            .map_err(|_| format!("`{text}` is not a size; use a value like `10GiB`"))
    })
}

fn remote(reader: &mut Reader<'_>, top: &DeTable<'_>) -> Remote {
    let Some(table) = reader.table(top, "remote", "remote", schema::REMOTE) else {
        return Remote::default();
    };
    reader.without_effect(table, "registry", "remote.registry");
    reader.without_effect(table, "trusted-keys", "remote.trusted-keys");
    Remote {
        registry: reader.text(table, "registry"),
        trusted_keys: reader
            .texts(table, "trusted-keys", |_| Ok(()))
            .unwrap_or_default(),
    }
}
