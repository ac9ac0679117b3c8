//! All keys: names, types, defaults and descriptions. Unknown-key errors, the JSON schema and `config show` are
//! derived from this list.
//!
//! Reads no configuration.

use serde_json::{Map, Value, json};

use crate::catalogue;

/// One key of a table.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// The default as a TOML value.
    pub(super) default: Option<&'static str>,
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

const fn key(
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    about: &'static str,
) -> Key {
    Key {
        name,
        kind,
        default,
        about,
    }
}

pub(super) const ENGINES: &[&str] = &["auto", "dagger", "local"];

pub(super) const TOP: &[Key] = &[
    key(
        "exclude",
        Kind::Texts,
        Some("[]"),
        "Globs of files that are never checked and plan no checks. Checks can still read them as inputs.",
    ),
    key("engine", Kind::Table(ENGINE), None, "Where checks run."),
    key(
        "layers",
        Kind::Table(LAYERS),
        None,
        "Environments that checks run in.",
    ),
    key(
        "checks",
        Kind::Named(CHECK),
        None,
        "Custom checks (any name, `command` required) and overrides of built-in checks (`rust:clippy`), which change only the given keys.",
    ),
    key(
        "commands",
        Kind::Table(COMMANDS),
        None,
        "The tags that each command runs.",
    ),
    key("hook", Kind::Table(HOOK), None, "The git hook."),
    key("cache", Kind::Table(CACHE), None, "The cache."),
    key("remote", Kind::Table(REMOTE), None, "The shared cache."),
];

pub(super) const ENGINE: &[Key] = &[
    key(
        "kind",
        Kind::Word(ENGINES),
        Some("\"auto\""),
        "The engine that runs checks.",
    ),
    key(
        "address",
        Kind::Text,
        None,
        "Address of a Dagger runner. $_EXPERIMENTAL_DAGGER_RUNNER_HOST takes precedence.",
    ),
    key(
        "incremental",
        Kind::Flag,
        Some("false"),
        "Whether Rust checks in containers reuse build products of their last run, kept in a volume of the engine, instead of compiling all workspace packages in every run.",
    ),
];

pub(super) const LAYERS: &[Key] = &[
    key(
        "base",
        Kind::Table(BASE),
        None,
        "The base of all containers (Dagger engine).",
    ),
    key(
        "tools",
        Kind::Table(TOOLS),
        None,
        "Where programs in containers come from.",
    ),
];

pub(super) const BASE: &[Key] = &[
    key(
        "image",
        Kind::Text,
        None,
        "One image with everything the checks need, instead of one per language: an image name, which `cargo dagcache lock` pins to a digest in dagcache.lock, or the path of an OCI archive (`./base.oci.tar`).",
    ),
    key(
        "packages",
        Kind::Texts,
        Some("[]"),
        "System packages to install in it (apt-get, apk).",
    ),
];

pub(super) const TOOLS: &[Key] = &[key(
    "kustomize",
    Kind::Text,
    None,
    "The image that provides kustomize as `/app/kustomize` (default: `registry.k8s.io/kustomize/kustomize:v5.8.2`), or `base` for the one in the base image.",
)];

pub(super) const CHECK: &[Key] = &[
    key(
        "command",
        Kind::Texts,
        None,
        "Program and arguments, without a shell. A program with a `/` is a file of the project, relative to `dir`, and becomes an input; any other is looked up on PATH. Custom checks only.",
    ),
    key(
        "args",
        Kind::Texts,
        Some("[]"),
        "Arguments appended to the command, also of a built-in check.",
    ),
    key(
        "dir",
        Kind::Text,
        Some("\".\""),
        "Working directory, relative to the project root. Custom checks only.",
    ),
    key(
        "inputs",
        Kind::Texts,
        Some("[\"**\"]"),
        "Globs of the files it may see. A path without metacharacters may name a file that git ignores.",
    ),
    key(
        "files",
        Kind::Texts,
        Some("[]"),
        "Globs of the files it checks. They are appended to the command and visible to it. Custom checks only.",
    ),
    key(
        "per-file",
        Kind::Flag,
        Some("false"),
        "Whether each of `files` has a separate result, for which the check sees only `inputs` and that file. Custom checks only.",
    ),
    key(
        "env",
        Kind::Texts,
        Some("[]"),
        "Names of environment variables it may see; all others are hidden. Added to those of a built-in check.",
    ),
    key(
        "set-env",
        Kind::TextMap,
        Some("{}"),
        "Environment variables with fixed values. Added to those of a built-in check.",
    ),
    key(
        "tools",
        Kind::Texts,
        Some("[]"),
        "Programs it may use in addition to the command; nothing else is on its PATH. Added to those of a built-in check.",
    ),
    key(
        "outputs",
        Kind::Texts,
        Some("[]"),
        "Globs (relative to the project root) of the files it writes. They are copied to the project after a run, restored on a hit, and never inputs of the check. Files that git tracks are compared, not overwritten; other replaced files are kept in the store. Not with `per-file`. Custom checks only.",
    ),
    key(
        "findings",
        Kind::Text,
        None,
        "How its output becomes findings: `gcc`, `sarif`, or a regular expression that matches a line, with the named groups path (required), line, column, severity, code, message. Custom checks only.",
    ),
    key(
        "tags",
        Kind::Texts,
        Some("[\"lint\"]"),
        "Tags that commands select it by: lint, validate, security, test, ci, or custom tags.",
    ),
    key(
        "timeout",
        Kind::Text,
        None,
        "Wall time after which it is killed and counts as an error (`5m`).",
    ),
    key(
        "max-age",
        Kind::Text,
        None,
        "Cached results older than this are not reused (`7d`).",
    ),
    key(
        "cache",
        Kind::FlagOrWord(&["passes"]),
        Some("true"),
        "Which results are cached: all, none, or only passes (the default for the tag `test`).",
    ),
    key(
        "network",
        Kind::Flag,
        Some("false"),
        "Whether it may use the network.",
    ),
    key(
        "secrets",
        Kind::Texts,
        Some("[]"),
        "Names of secret environment variables it may see. Their values (4 characters or more) are masked in its output and enter the key as an HMAC with $DAGCACHE_TEAM_KEY, or else with a random key of this store, in which case the result is never shared. Added to those of a built-in check.",
    ),
    key(
        "baseline",
        Kind::Text,
        None,
        "File of accepted findings. Only for `security:secrets`.",
    ),
];

pub(super) const COMMANDS: &[Key] = &[
    key(
        "lint",
        Kind::Texts,
        Some("[\"lint\"]"),
        "Tags that `lint` runs.",
    ),
    key(
        "validate",
        Kind::Texts,
        Some("[\"validate\"]"),
        "Tags that `validate` runs.",
    ),
    key(
        "dev-check",
        Kind::Texts,
        Some("[\"lint\", \"validate\", \"security\"]"),
        "Tags that `dev-check` runs.",
    ),
    key(
        "pre-commit",
        Kind::Texts,
        Some("[\"lint\", \"validate\", \"security\"]"),
        "Tags that `pre-commit` runs.",
    ),
    key(
        "pre-push",
        Kind::Texts,
        Some("[\"lint\", \"validate\", \"security\"]"),
        "Tags that the pre-push hook runs.",
    ),
    key(
        "ci",
        Kind::Texts,
        None,
        "Tags that `ci` runs; all checks if absent.",
    ),
];

pub(super) const ALREADY_FAILING: &[&str] = &["block", "warn"];

pub(super) const HOOK: &[Key] = &[key(
    "already-failing",
    Kind::Word(ALREADY_FAILING),
    Some("\"block\""),
    "Whether a check blocks a commit if it already failed in the previous commit and has no new findings.",
)];

pub(super) const CACHE: &[Key] = &[key(
    "max-size",
    Kind::Text,
    None,
    "Maximum size of the cache (`10GiB`).",
)];

pub(super) const REMOTE: &[Key] = &[
    key(
        "registry",
        Kind::Text,
        None,
        "OCI repository for sharing results and layers.",
    ),
    key(
        "trusted-keys",
        Kind::Texts,
        Some("[]"),
        "Public keys whose signed results are accepted.",
    ),
];

impl Key {
    pub(super) fn default_value(&self) -> Option<toml::Value> {
        self.default?.parse().ok()
    }

    fn json(&self) -> Value {
        let mut schema = self.kind.json();
        schema.insert("description".to_owned(), json!(self.about));
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
    if let Value::Object(map) = table(TOP) {
        root.extend(map);
    }
    let mut text = serde_json::to_string_pretty(&root).unwrap_or_default();
    text.push('\n');
    text
}
