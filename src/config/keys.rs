//! All keys. An entry has everything: description, name, type, accepted values and default. The typed configuration, its
//! parser, the JSON schema, `config show` and the errors for unknown keys are derived from these entries.
//!
//! How values are read and validated: see `read`, `values` and `check`.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::de::DeTable;

use crate::config::check::{
    cache, command, duration, file, findings, fits, folder, no_nul, outputs, relations, table_name,
    timeout, tool, users_variable, variable, word,
};
use crate::config::diagnose::Place;
use crate::config::glob::Globs;
use crate::config::model::{EngineKind, Findings, Key, Kind};
use crate::config::read::Reader;
use crate::config::tables::tables;
use crate::config::values::{
    self, ALREADY_FAILING, ENGINES, address, any, base_image, engine_kind, packages, size, warns,
};
use crate::path::RelPath;
use crate::plan::CacheMode;

tables! {
    /// Everything a project can configure.
    Config {
        /// Globs of files that are never checked and plan no checks. Checks can still read them as inputs.
        "exclude" exclude: Globs = globs, default "[]";
        /// Where checks run.
        "engine" engine: Engine = table(Engine);
        /// Environments that checks run in.
        "layers" layers: Layers = table(Layers);
        /// Custom checks (any name, `command` required) and overrides of built-in checks (`rust:clippy`), which change
        /// only the given keys.
        "checks" checks: BTreeMap<String, CheckConfig> = by(checks, Kind::Named(CheckConfig::KEYS));
        /// The tags that each command runs.
        "commands" commands: BTreeMap<String, Vec<String>> = by(commands, Kind::Table(COMMANDS));
        /// How checks are observed.
        "trace" trace: Trace = table(Trace);
        /// The git hook.
        "hook" hook: Hook = table(Hook);
        /// The cache.
        "cache" cache: Cache = table(Cache);
        /// The shared cache.
        "remote" remote: Remote = table(Remote);
    }

    /// `[engine]`.
    Engine {
        /// The engine that runs checks.
        "kind" kind: EngineKind = word(ENGINES, engine_kind), default "\"auto\"";
        /// Address of a Dagger runner. $_EXPERIMENTAL_DAGGER_RUNNER_HOST takes precedence.
        "address" address: Option<String> = text(address);
        /// Whether Rust checks in containers reuse build products of their last run, kept in a volume of the engine,
        /// instead of compiling all workspace packages in every run.
        "incremental" incremental: bool = flag, default "false";
    }

    /// `[layers]`.
    Layers {
        /// The base of all containers (Dagger engine).
        "base" base: Base = table(Base);
        /// Where programs in containers come from.
        "tools" tools: BTreeMap<String, String> = by(tools, Kind::Table(TOOLS));
    }

    /// `[layers.base]`.
    Base {
        /// One image with everything the checks need, instead of one per language: an image name, which `cargo dagcache
        /// lock` pins to a digest in dagcache.lock, or the path of an OCI archive (`./base.oci.tar`).
        "image" image: Option<String> = found(base_image);
        /// System packages to install in it (apt-get, apk).
        "packages" packages: Vec<String> = by(packages, Kind::Texts), default "[]";
    }

    /// `[checks.ID]`: the keys that were named.
    CheckConfig with place: Place {
        /// Program and arguments, without a shell. A program with a `/` is a file of the project, relative to `dir`, and
        /// becomes an input; any other is looked up on PATH. Custom checks only.
        "command" command: Option<Vec<String>> = by(command, Kind::Texts);
        /// Arguments appended to the command, also of a built-in check.
        "args" args: Option<Vec<String>> = texts(no_nul), default "[]";
        /// Working directory, relative to the project root. Custom checks only.
        "dir" dir: Option<RelPath> = found(folder), default "\".\"";
        /// Globs of the files it may see. A path without metacharacters may name a file that git ignores.
        "inputs" inputs: Option<Globs> = globs, default "[\"**\"]";
        /// Globs of the files it checks. They are appended to the command and visible to it. Custom checks only.
        "files" files: Option<Globs> = globs, default "[]";
        /// Whether each of `files` has a separate result, for which the check sees only `inputs` and that file. Custom
        /// checks only.
        "per-file" per_file: Option<bool> = flag, default "false";
        /// Names of environment variables it may see; all others are hidden. Added to those of a built-in check.
        "env" env: Option<Vec<String>> = texts(users_variable), default "[]";
        /// Environment variables with fixed values. Added to those of a built-in check.
        "set-env" set_env: Option<BTreeMap<String, String>> = map(variable), default "{}";
        /// Programs it may use in addition to the command. Nothing else is on its PATH, unless its runs are observed: see
        /// `[trace]`. Added to those of a built-in check.
        "tools" tools: Option<Vec<String>> = texts(tool), default "[]";
        /// Globs (relative to the project root) of the files it writes. They are copied to the project after a run,
        /// restored on a hit, and never inputs of the check. Files that git tracks are compared, not overwritten; other
        /// replaced files are kept in the store. Not with `per-file`. Custom checks only.
        "outputs" outputs: Option<Globs> = by(outputs, Kind::Texts), default "[]";
        /// How its output becomes findings: `gcc`, `sarif`, or a regular expression that matches a line, with the named
        /// groups path (required), line, column, severity, code, message. Custom checks only.
        "findings" findings: Option<Findings> = text(findings);
        /// Tags that commands select it by: lint, validate, security, test, ci, or custom tags.
        "tags" tags: Option<Vec<String>> = texts(word), default "[\"lint\"]";
        /// Wall time after which it is killed and counts as an error (`5m`). Default: 60 minutes for tests and
        /// `rust:clippy`, 10 for all others.
        "timeout" timeout: Option<Duration> = text(timeout);
        /// What it may use of the machine. Whoever reaches `processes`, `memory` or `disk` is ended and counts as an error.
        "limits" limits: Limits = table(Limits);
        /// Cached results older than this are not reused (`7d`).
        "max-age" max_age: Option<Duration> = text(duration);
        /// Whether to observe which files it uses. See `[trace]`.
        "trace" trace: Option<bool> = flag, default "true";
        /// Which results are cached: all, none, or only passes (the default for the tag `test`).
        "cache" cache: Option<CacheMode> = by(cache, Kind::FlagOrWord(&["passes"])), default "true";
        /// Whether it may use the network.
        "network" network: Option<bool> = flag, default "false";
        /// Names of secret environment variables it may see. Their values (4 characters or more) are masked in its output
        /// and enter the key as an HMAC with $DAGCACHE_TEAM_KEY, or else with a random key of this store, in which case
        /// the result is never shared. Added to those of a built-in check.
        "secrets" secrets: Option<Vec<String>> = texts(users_variable), default "[]";
        /// File of accepted findings. Only for `security:secrets`.
        "baseline" baseline: Option<RelPath> = found(file);
    }

    /// `[checks.ID.limits]`. For checks on this machine.
    Limits {
        /// Processes at a time. Default: 4096.
        "processes" processes: Option<u64> = number;
        /// Memory of all its processes (`2GiB`), where the system lets a control group be made. Without it, a check is
        /// the first to be killed when memory runs out.
        "memory" memory: Option<u64> = text(size);
        /// Bytes a run may write into its room. Default: `20GiB`.
        "disk" disk: Option<u64> = text(size);
        /// Size of a file. Writing more fails.
        "file-size" file_size: Option<u64> = text(size);
        /// Files a process may have open. Opening more fails.
        "open-files" open_files: Option<u64> = number;
        /// Bytes kept of each output stream, half of them from its end. Default: `64MiB`.
        "output" output: Option<u64> = text(size);
    }

    /// `[trace]`.
    Trace {
        /// Whether to observe which files checks use, where the system allows it. A check then runs again only if one of
        /// these changed. Otherwise every file counts that it may see.
        "enabled" disabled: bool = by(disabled, Kind::Flag), default "true";
    }

    /// `[hook]`.
    Hook {
        /// Whether a check blocks a commit if it already failed in the previous commit and has no new findings.
        "already-failing" warns: bool = word(ALREADY_FAILING, warns), default "\"block\"";
    }

    /// `[cache]`. Has no effect.
    Cache {
        /// Maximum size of the cache (`10GiB`). Has no effect: users set `DAGCACHE_MAX_SIZE`.
        "max-size" max_size: Option<u64> = text(size);
    }

    /// `[remote]`. Has no effect yet.
    Remote {
        /// OCI repository for sharing results and layers.
        "registry" registry: Option<String> = text(any);
        /// Public keys whose signed results are accepted.
        "trusted-keys" trusted_keys: Vec<String> = texts(any), default "[]";
    }
}

/// `[layers.tools]`: where programs come from, by name.
pub(super) const TOOLS: &[Key] = &[key(
    "kustomize",
    Kind::Text,
    None,
    "The image that provides kustomize as `/app/kustomize` (default: `registry.k8s.io/kustomize/kustomize:v5.8.2`), or `base` for the one in the base image.",
)];

/// `[commands]`: tags, by command.
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

/// `[checks]`.
fn checks(reader: &mut Reader<'_>, top: &DeTable<'_>) -> Option<BTreeMap<String, CheckConfig>> {
    let mut checks = BTreeMap::new();
    for (key, value) in reader.any_table(top, "checks")? {
        let id = key.get_ref().as_ref();
        if let Some(table) = reader.as_table(value, &format!("checks.{id}")) {
            fits(reader, id, &key.span(), table);
            let mut config = CheckConfig::read(reader, table, &table_name(id));
            config.place = reader.place(&key.span());
            relations(reader, table);
            checks.insert(id.to_owned(), config);
        }
    }
    Some(checks)
}

fn disabled(reader: &mut Reader<'_>, table: &DeTable<'_>) -> Option<bool> {
    reader.flag(table, "enabled").map(|enabled| !enabled)
}

fn commands(reader: &mut Reader<'_>, top: &DeTable<'_>) -> Option<BTreeMap<String, Vec<String>>> {
    values::commands(reader, top, COMMANDS)
}

fn tools(reader: &mut Reader<'_>, layers: &DeTable<'_>) -> Option<BTreeMap<String, String>> {
    values::tools(reader, layers, TOOLS)
}
