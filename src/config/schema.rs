//! The macro that [`keys`](super::keys) declares tables with, and the JSON schema.
//!
//! Knows no key.

use serde_json::{Map, Value, json};

use crate::catalogue;
use crate::config::keys::Config;

/// One key of a table.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// The default as a TOML value.
    pub(super) default: Option<&'static str>,
    /// Its description, after a space.
    pub(super) about: &'static str,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Text,
    Texts,
    /// A map from names to strings.
    TextMap,
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
    /// `true`, `false` or one of these words.
    FlagOrWord(&'static [&'static str]),
    Table(&'static [Key]),
    /// Tables under ids of checks.
    Named(&'static [Key]),
}

/// Declares tables of the configuration. An entry is `/// DESCRIPTION`, `"NAME" FIELD: TYPE = VALUE, default TOML;`, where VALUE
/// is one of:
///
/// | VALUE | in the file |
/// |---|---|
/// | `flag` | `true` or `false` |
/// | `text(f)`, `found(f)` | a string that `f` turns into the value; for `found`, looking at the snapshot |
/// | `word(words, f)` | one of these words |
/// | `texts(f)`, `globs` | strings, each accepted by `f`; patterns |
/// | `map(f)` | a string each under names accepted by `f` |
/// | `table(T)` | another of these tables |
/// | `by(f, kind)` | whatever `f` reads from the table around it |
macro_rules! tables {
    ($(
        $(#[doc = $of_table:literal])+
        $table:ident $(with $extra:ident: $extra_type:ty)? {
            $(
                $(#[doc = $about:literal])+
                $name:literal $field:ident: $type:ty
                    = $kind:ident $(($($arg:tt)*))? $(, default $default:literal)?;
            )*
        }
    )*) => {$(
        $(#[doc = $of_table])+
        #[derive(Debug, Clone, PartialEq, Default)]
        pub(crate) struct $table {
            $(
                /// The place of the table.
                pub(crate) $extra: $extra_type,
            )?
            $(
                $(#[doc = $about])+
                pub(crate) $field: $type,
            )*
        }

        impl $table {
            /// Its keys.
            pub(super) const KEYS: &[Key] = &[$(
                Key {
                    name: $name,
                    kind: $crate::config::schema::tables!(@kind $kind $(($($arg)*))?),
                    default: $crate::config::schema::tables!(@default $($default)?),
                    about: concat!($($about),+),
                }
            ),*];

            /// Reads the table `name`, the whole configuration if that is empty.
            pub(super) fn read(
                reader: &mut $crate::config::read::Reader<'_>,
                table: &toml::de::DeTable<'_>,
                name: &str,
            ) -> Self {
                reader.known_keys(table, name, Self::KEYS);
                Self {
                    $($extra: Default::default(),)?
                    $(
                        $field: $crate::config::schema::Field::of(
                            $crate::config::schema::tables!(
                                @read reader table name $name $kind $(($($arg)*))?
                            ),
                        ),
                    )*
                }
            }
        }
    )*};

    (@default) => { None };
    (@default $default:literal) => { Some($default) };

    (@kind flag) => { Kind::Flag };
    (@kind text($parse:expr)) => { Kind::Text };
    (@kind found($parse:expr)) => { Kind::Text };
    (@kind word($words:expr, $parse:expr)) => { Kind::Word($words) };
    (@kind texts($check:expr)) => { Kind::Texts };
    (@kind globs) => { Kind::Texts };
    (@kind map($check:expr)) => { Kind::TextMap };
    (@kind table($table:ident)) => { Kind::Table($table::KEYS) };
    (@kind by($read:expr, $kind:expr)) => { $kind };

    (@read $reader:ident $table:ident $name:ident $key:literal flag) => {
        $reader.flag($table, $key)
    };
    (@read $reader:ident $table:ident $name:ident $key:literal text($parse:expr)) => {
        $reader.parsed($table, $key, |_, text| $parse(text))
    };
    (@read $reader:ident $table:ident $name:ident $key:literal found($parse:expr)) => {
        $reader.parsed($table, $key, $parse)
    };
    (@read $reader:ident $table:ident $name:ident $key:literal word($words:expr, $parse:expr)) => {
        $reader.parsed($table, $key, |_, text| $parse(text))
    };
    (@read $reader:ident $table:ident $name:ident $key:literal texts($check:expr)) => {
        $reader.texts($table, $key, |text| $check(text).map(drop))
    };
    (@read $reader:ident $table:ident $name:ident $key:literal globs) => {
        $reader.globs($table, $key)
    };
    (@read $reader:ident $table:ident $name:ident $key:literal map($check:expr)) => {
        $reader.text_map($table, $key, $check)
    };
    (@read $reader:ident $table:ident $name:ident $key:literal table($inner:ident)) => {{
        let full = match $name {
            "" => $key.to_owned(),
            name => format!("{name}.{}", $key),
        };
        let inner = $reader.any_table($table, $key);
        inner.map(|inner| $inner::read($reader, inner, &full))
    }};
    (@read $reader:ident $table:ident $name:ident $key:literal by($read:expr, $kind:expr)) => {
        $read($reader, $table)
    };
}
pub(super) use tables;

/// The value of a field, whether its key was set or not.
pub(super) trait Field<T> {
    /// The value for what was read.
    fn of(read: Option<T>) -> Self;
}

impl<T> Field<T> for Option<T> {
    fn of(read: Option<T>) -> Self {
        read
    }
}

impl<T: Default> Field<T> for T {
    fn of(read: Option<T>) -> Self {
        read.unwrap_or_default()
    }
}

impl Key {
    pub(super) fn default_value(&self) -> Option<toml::Value> {
        self.default?.parse().ok()
    }

    fn json(&self) -> Value {
        let mut schema = self.kind.json();
        schema.insert("description".to_owned(), json!(self.about.trim_start()));
        if let Some(default) = self.default_value() {
            schema.insert("default".to_owned(), json!(default));
        }
        Value::Object(schema)
    }
}

impl Kind {
    fn json(self) -> Map<String, Value> {
        let text = json!({"type": "string"});
        let schema = match self {
            Self::Text => text,
            Self::Texts => json!({"type": "array", "items": text}),
            Self::TextMap => json!({"type": "object", "additionalProperties": text}),
            Self::Flag => json!({"type": "boolean"}),
            Self::Word(words) => json!({"enum": words}),
            Self::FlagOrWord(words) => json!({"anyOf": [{"type": "boolean"}, {"enum": words}]}),
            Self::Table(keys) => table(keys),
            Self::Named(keys) => json!({
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
}

/// Names without `:` are the user's, the others are those of built-in checks and of what they are about.
fn check_ids() -> String {
    let known: Vec<&str> = catalogue::ids().collect();
    format!("^([^:]+|({})([:@].+)?)$", known.join("|"))
}

fn table(keys: &[Key]) -> Value {
    let properties: Map<String, Value> = keys
        .iter()
        .map(|key| (key.name.to_owned(), key.json()))
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
