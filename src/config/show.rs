//! The effective configuration as TOML, each value with its origin.
//!
//! Does not validate: prints the given values and the defaults of the schema.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use toml::de::{DeTable, DeValue};

use crate::config::Loaded;
use crate::config::check::is_built_in_form;
use crate::config::diagnose::{Place, Source};
use crate::config::keys::Config;
use crate::config::model::{Key, Kind};
use crate::plan::CacheMode;

/// The given values, by table names and key.
pub(super) type Given = BTreeMap<Vec<String>, (toml::Value, Place)>;

pub(super) fn given(source: &Source, table: &DeTable<'_>) -> Given {
    let mut given = Given::new();
    collect(source, table, Config::KEYS, &mut Vec::new(), &mut given);
    given
}

fn collect(
    source: &Source,
    table: &DeTable<'_>,
    keys: &[Key],
    path: &mut Vec<String>,
    given: &mut Given,
) {
    for key in keys {
        let Some((name, value)) = table.get_key_value(key.name) else {
            continue;
        };
        path.push(key.name.to_owned());
        match (key.kind, value.get_ref()) {
            (Kind::Table(inner), DeValue::Table(table)) => {
                collect(source, table, inner, path, given);
            }
            (Kind::Named(inner), DeValue::Table(tables)) => {
                for (id, value) in tables {
                    let Some(table) = value.get_ref().as_table() else {
                        continue;
                    };
                    path.push(id.get_ref().to_string());
                    collect(source, table, inner, path, given);
                    path.pop();
                }
            }
            (_, value) => {
                let place = source.place(name.span().start);
                given.insert(path.clone(), (plain(value), place));
            }
        }
        path.pop();
    }
}

/// The value without places. No key takes a number or a date; such values have been rejected before.
fn plain(value: &DeValue<'_>) -> toml::Value {
    match value {
        DeValue::Boolean(flag) => toml::Value::Boolean(*flag),
        DeValue::Array(items) => {
            toml::Value::Array(items.iter().map(|item| plain(item.get_ref())).collect())
        }
        DeValue::Table(table) => toml::Value::Table(
            table
                .iter()
                .map(|(key, value)| (key.get_ref().to_string(), plain(value.get_ref())))
                .collect(),
        ),
        other => toml::Value::String(other.as_str().unwrap_or_default().to_owned()),
    }
}

/// The effective configuration as TOML, with the origin of each value in a comment.
#[must_use]
pub(crate) fn show(loaded: &Loaded) -> String {
    let mut text = match &loaded.source {
        Some(origin) => format!("# {origin}\n"),
        None => "# no configuration; all values are defaults\n".to_owned(),
    };
    let mut path = Vec::new();
    table(&mut text, loaded, Config::KEYS, &mut path);
    text
}

fn table(text: &mut String, loaded: &Loaded, keys: &[Key], path: &mut Vec<String>) {
    for key in keys {
        path.push(key.name.to_owned());
        if let Some((value, from)) = effective(loaded, key, path) {
            let _ = writeln!(text, "{} = {value}  # {from}", key.name);
        }
        path.pop();
    }
    for key in keys {
        path.push(key.name.to_owned());
        match key.kind {
            Kind::Table(inner) => section(text, loaded, inner, path),
            Kind::Named(inner) => {
                for id in loaded.config.checks.keys() {
                    path.push(id.clone());
                    section(text, loaded, inner, path);
                    path.pop();
                }
            }
            _ => {}
        }
        path.pop();
    }
}

/// A table with its header, or nothing if it is empty and was not given.
fn section(text: &mut String, loaded: &Loaded, keys: &[Key], path: &mut Vec<String>) {
    let mut body = String::new();
    table(&mut body, loaded, keys, path);
    let check = path.first().is_some_and(|name| name == "checks");
    if body.starts_with('\n') || (body.is_empty() && !check) {
        text.push_str(&body);
        return;
    }
    let _ = write!(text, "\n[{}]\n{body}", header(path));
}

fn header(path: &[String]) -> String {
    let quoted = |name: &String| {
        let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if !name.is_empty() && name.chars().all(bare) {
            name.clone()
        } else {
            toml::Value::String(name.clone()).to_string()
        }
    };
    path.iter().map(quoted).collect::<Vec<_>>().join(".")
}

/// The effective value of a key, and its origin.
fn effective(loaded: &Loaded, key: &Key, path: &[String]) -> Option<(toml::Value, String)> {
    if let Some((value, place)) = loaded.given.get(path) {
        return Some((value.clone(), place.to_string()));
    }
    let default = || Some((key.default_value()?, "default".to_owned()));
    let [section, id, _] = path else {
        return default();
    };
    if section != "checks" {
        return default();
    }
    let check = loaded.config.checks.get(id)?;
    if is_built_in_form(id) {
        return None;
    }
    if key.name == "cache" && check.cache_or_default() == CacheMode::Passes {
        let value = toml::Value::String("passes".to_owned());
        return Some((value, "default for the tag test".to_owned()));
    }
    default()
}
