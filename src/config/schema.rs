//! The JSON schema, derived from the [`keys`](super::keys).

use serde_json::{Map, Value, json};

use crate::catalogue;
use crate::config::keys::Config;
use crate::config::model::{Key, Kind};

fn described(key: &Key) -> Value {
    let mut schema = values(key.kind);
    schema.insert("description".to_owned(), json!(key.about.trim_start()));
    if let Some(default) = key.default_value() {
        schema.insert("default".to_owned(), json!(default));
    }
    Value::Object(schema)
}

fn values(kind: Kind) -> Map<String, Value> {
    let text = json!({"type": "string"});
    let schema = match kind {
        Kind::Text => text,
        Kind::Texts => json!({"type": "array", "items": text}),
        Kind::TextMap => json!({"type": "object", "additionalProperties": text}),
        Kind::Flag => json!({"type": "boolean"}),
        Kind::Number => json!({"type": "integer", "minimum": 1}),
        Kind::Word(words) => json!({"enum": words}),
        Kind::FlagOrWord(words) => json!({"anyOf": [{"type": "boolean"}, {"enum": words}]}),
        Kind::Table(keys) => table(keys),
        Kind::Named(keys) => json!({
            "type": "object",
            "propertyNames": {"pattern": check_ids(), "examples": catalogue::ids().collect::<Vec<_>>()},
            "additionalProperties": table(keys),
        }),
    };
    match schema {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Names without `:` are the user's, the others are those of built-in checks and of what they are about.
fn check_ids() -> String {
    let known: Vec<&str> = catalogue::ids().collect();
    format!("^([^:]+|({})([:@].+)?)$", known.join("|"))
}

fn table(keys: &[Key]) -> Value {
    let properties: Map<String, Value> = keys
        .iter()
        .map(|key| (key.name.to_owned(), described(key)))
        .collect();
    json!({"type": "object", "properties": properties, "additionalProperties": false})
}

/// The JSON schema of `dagcache.toml` and of the equivalent tables.
#[must_use]
pub(crate) fn schema() -> String {
    let mut root = Map::new();
    root.insert(
        "$schema".to_owned(),
        json!("https://json-schema.org/draft/2020-12/schema"),
    );
    root.insert("title".to_owned(), json!("Configuration of cargo-dagcache"));
    if let Value::Object(map) = table(Config::KEYS) {
        root.extend(map);
    }
    let mut text = serde_json::to_string_pretty(&root).unwrap_or_default();
    text.push('\n');
    text
}
