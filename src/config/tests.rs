use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::plan::CacheMode;

const FILE: &str = "dagcache.toml";

/// Loads a project that holds some sources and these files.
fn load_files(files: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    let mut all = vec![
        ("src/main.rs", ""),
        ("sub/a.h", ""),
        ("secrets.baseline", ""),
    ];
    all.extend_from_slice(files);
    load(&Snapshot::in_memory(&all))
}

#[track_caller]
fn good(text: &str) -> Loaded {
    match load_files(&[(FILE, text)]) {
        Ok(loaded) => loaded,
        Err(error) => panic!("{}", error.render(false)),
    }
}

#[track_caller]
fn bad(text: &str) -> String {
    match load_files(&[(FILE, text)]) {
        Ok(_) => panic!("accepted: {text}"),
        Err(error) => error.render(false),
    }
}

/// Each line of `text` is loaded by itself and must be refused with the words in the comment behind it.
#[track_caller]
fn each_bad(lines: &[(&str, &str)]) {
    for (text, words) in lines {
        let error = bad(text);
        assert!(
            error.contains(words) && error.contains(" --> dagcache.toml:"),
            "{text}\nshould say: {words}\nsays: {error}"
        );
    }
}

const FULL: &str = r#"
exclude = ["tests/fixtures", "!tests/fixtures/keep"]
[engine]
kind = "local"
address = "unix:///run/engine.sock"
incremental = true
[layers.base]
image = "rust:1.95-slim"
packages = ["pkg-config"]
[layers.tools]
kustomize = "acme/kustomize:5"
[checks.headers]
command = ["./ci/headers.sh", "--strict"]
args = ["-v"]
dir = "sub"
inputs = ["src/**", "!src/generated/**"]
files = ["src/**/*.h"]
per-file = true
env = ["HEADER_YEAR"]
set-env = { MODE = "strict" }
tools = ["sh", "grep"]
outputs = []
findings = "gcc"
tags = ["lint", "own"]
timeout = "5m"
max-age = "7d"
cache = "passes"
network = false
secrets = []
[checks."rust:clippy"]
args = ["--", "-D", "warnings"]
[checks."security:secrets"]
baseline = "secrets.baseline"
[commands]
pre-commit = ["own"]
[cache]
max-size = "10GiB"
[remote]
registry = "example.test/acme/dagcache"
trusted-keys = ["ed25519:abc"]
"#;

#[test]
fn nothing_configured_means_defaults() {
    let loaded = load_files(&[]).expect("defaults");
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.source, None);
    let tags = |command| loaded.config.tags_of(command);
    assert_eq!(tags("lint"), Some(vec!["lint".to_owned()]));
    assert_eq!(tags("pre-commit").map(|tags| tags.len()), Some(3));
    assert_eq!(tags("ci"), None);
}

#[test]
fn every_key_reaches_the_model() {
    let config = good(FULL).config;
    assert_eq!(config.engine.kind, EngineKind::Local);
    assert!(config.engine.incremental);
    assert_eq!(config.cache.max_size, Some(10 << 30));
    assert_eq!(
        config.layers.base.image.as_deref(),
        Some("docker.io/library/rust:1.95-slim")
    );
    assert_eq!(config.layers.base.packages, ["pkg-config"]);
    assert_eq!(
        config.layers.tools["kustomize"],
        "docker.io/acme/kustomize:5"
    );
    assert_eq!(config.remote.trusted_keys, ["ed25519:abc"]);
    assert_eq!(config.tags_of("pre-commit"), Some(vec!["own".to_owned()]));
    assert_eq!(
        config.secrets_baseline().map(RelPath::as_str),
        Some("secrets.baseline")
    );
    let check = &config.checks["headers"];
    assert_eq!(check.place.to_string(), "dagcache.toml:12:9");
    assert_eq!(check.command.as_ref().map(Vec::len), Some(2));
    assert_eq!(check.dir.as_deref(), Some("sub"));
    assert_eq!(check.per_file, Some(true));
    assert_eq!(check.findings, Some(Findings::Gcc));
    assert_eq!(check.timeout, Some(Duration::from_secs(300)));
    assert_eq!(check.max_age, Some(Duration::from_secs(7 * 86_400)));
    assert_eq!(check.cache, Some(CacheMode::Passes));
    assert_eq!(
        check.set_env.as_ref().and_then(|map| map.get("MODE")),
        Some(&"strict".to_owned())
    );
    let globs = check.inputs.as_ref().expect("inputs");
    assert!(!globs.matches(&RelPath::new("src/generated/a").expect("relative")));
    let clippy = &config.checks["rust:clippy"];
    assert_eq!(clippy.args.as_ref().map(Vec::len), Some(3));
    assert_eq!((&clippy.tags, &clippy.timeout), (&None, &None));
}

#[test]
fn keys_without_effect_are_warnings() {
    assert_eq!(
        good(FULL).warnings,
        [
            "`remote.registry` has no effect yet (dagcache.toml:39:1)",
            "`remote.trusted-keys` has no effect yet (dagcache.toml:40:1)",
            "`cache.max-size` has no effect: a project does not limit the cache of its users, who set \
             DAGCACHE_MAX_SIZE (dagcache.toml:37:1)",
        ]
    );
}

#[test]
fn keys_that_contradict_each_other_are_errors() {
    each_bad(&[
        (
            "checks.a = { command = ['x'], env = ['T'], secrets = ['T'] }",
            "`T` is both in `env` and in `secrets`",
        ),
        (
            "checks.a = { command = ['x'], secrets = ['T'], set-env = { T = '1' } }",
            "`T` is both in `secrets` and in `set-env`",
        ),
        (
            "checks.a = { command = ['x'], outputs = ['o'], files = ['f'], per-file = true }",
            "`outputs` cannot be combined with `per-file`",
        ),
        (
            "checks.a = { command = ['x'], outputs = ['./**'] }",
            "this matches the whole project",
        ),
        (
            "checks.a = { command = ['x'], env = ['HOME'] }",
            "checks get a private, empty HOME",
        ),
    ]);
}

#[test]
fn each_place_is_found() {
    let exclude = "exclude = ['gone']";
    for (file, header, origin) in [
        (FILE, "", "dagcache.toml"),
        (
            "Cargo.toml",
            "[workspace.metadata.dagcache]\n",
            "Cargo.toml [workspace.metadata.dagcache]",
        ),
        (
            "Cargo.toml",
            "[package]\nname = 'x'\n[package.metadata.dagcache]\n",
            "Cargo.toml [package.metadata.dagcache]",
        ),
        (
            "pyproject.toml",
            "[tool.ruff]\n[tool.dagcache]\n",
            "pyproject.toml [tool.dagcache]",
        ),
    ] {
        let loaded = load_files(&[(file, &format!("{header}{exclude}"))]).expect("valid");
        let gone = RelPath::new("gone/x").expect("relative");
        assert!(loaded.config.exclude.matches(&gone), "{file}");
        assert_eq!(
            loaded.source.map(|origin| origin.to_string()).as_deref(),
            Some(origin)
        );
    }
}

#[test]
fn a_broken_file_counts_only_if_it_could_hold_the_configuration() {
    let broken = "[package\nname = ";
    assert!(load_files(&[("Cargo.toml", broken), ("sub/dagcache.toml", broken)]).is_ok());
    let error = load_files(&[("Cargo.toml", &format!("# metadata.dagcache\n{broken}"))])
        .expect_err("broken")
        .render(false);
    assert!(
        error.contains("Cargo.toml is not valid TOML") && error.contains("--> Cargo.toml:2:9"),
        "{error}"
    );
}

#[test]
fn an_unknown_key_renders_with_snippet_and_suggestion() {
    let error = bad("[checks.headers]\ncommand = [\"true\"]\nper_file = true\n");
    assert_eq!(
        error,
        "\
error: unknown key `per_file` in `checks.headers`
 --> dagcache.toml:3:1
  |
3 | per_file = true
  | ^^^^^^^^
  |
  = help: did you mean `per-file`?"
    );
}

#[test]
fn two_places_render_with_both() {
    let error = load_files(&[
        (FILE, "exclude = []\n"),
        (
            "Cargo.toml",
            "[workspace]\n\n[workspace.metadata.dagcache]\nexclude = []\n",
        ),
    ])
    .expect_err("two places")
    .render(false);
    assert_eq!(
        error,
        "\
error: the configuration is in 2 places
 --> dagcache.toml:1:1
  |
1 | exclude = []
  | ^ dagcache.toml
  |
 ::: Cargo.toml:3:21
  |
3 | [workspace.metadata.dagcache]
  |                     ^^^^^^^^ Cargo.toml [workspace.metadata.dagcache]
  |
  = help: keep one of dagcache.toml and Cargo.toml [workspace.metadata.dagcache] and move the other settings into it"
    );
}

#[test]
fn all_errors_of_a_file_are_shown_in_order() {
    let error = bad(
        "exclud = []\n[engine]\nkind = \"podman\"\n[checks.a]\ncommand = [\"x\"]\ntimeout = \"soon\"\n",
    );
    assert_eq!(
        error,
        "\
error: unknown key `exclud`
 --> dagcache.toml:1:1
  |
1 | exclud = []
  | ^^^^^^
  |
  = help: did you mean `exclude`?

error: invalid value for `kind`
 --> dagcache.toml:3:8
  |
3 | kind = \"podman\"
  |        ^^^^^^^^ known engines: auto, dagger, local

error: invalid value for `timeout`
 --> dagcache.toml:6:11
  |
6 | timeout = \"soon\"
  |           ^^^^^^ `soon` is not a duration; use a value like `90s`, `5m` or `7d`"
    );
}

#[test]
fn values_of_the_wrong_type_are_refused_where_they_stand() {
    each_bad(&[
        ("exclude = 'a'", "`exclude` must be a list of strings"),
        ("exclude = ['a', 1]", "found an integer"),
        ("engine = 'local'", "`engine` must be a table"),
        ("checks = ['a']", "`checks` must be a table"),
        ("checks.a = 1", "`checks.a` must be a table"),
        (
            "checks.a = { command = 'x' }",
            "`command` must be a list of strings",
        ),
        (
            "checks.a = { command = ['x'], per-file = 'yes' }",
            "`per-file` must be `true` or `false`",
        ),
        (
            "checks.a = { command = ['x'], set-env = { A = 1 } }",
            "`set-env.A` must be a string",
        ),
        (
            "checks.a = { command = ['x'], cache = 'fails' }",
            "`cache` must be",
        ),
    ]);
}

#[test]
fn bad_values_are_refused_where_they_stand() {
    each_bad(&[
        ("exclude = ['ok', 'a[']", "`a[` unclosed"),
        ("exclude = ['/etc']", "absolute"),
        ("cache.max-size = 'huge'", "`huge` is not a size"),
        ("engine.kind = 'dager'", "did you mean `dagger`?"),
        ("engine.address = 'foo'", "address like `unix:///run"),
        (
            "checks.a = { command = ['x'], dir = '/tmp' }",
            "is absolute",
        ),
        (
            "checks.a = { command = ['x'], dir = '../x' }",
            "is outside the project root",
        ),
        (
            "checks.a = { command = ['x'], dir = 'no' }",
            "no file of the project",
        ),
        ("checks.a = { command = [] }", "the program is empty"),
        ("checks.a = { command = ['/bin/x'] }", "differ between"),
        (
            "checks.a = { command = ['../x'] }",
            "is outside the project root",
        ),
        ("checks.a = { command = ['x'], timeout = '0s' }", "longer"),
        ("checks.a = { command = ['x'], env = ['PATH'] }", "`tools`"),
        ("checks.a = { command = ['x'], env = ['A=B'] }", "variable"),
        ("checks.a = { command = ['x'], tools = ['a/b'] }", "on PATH"),
        ("checks.a = { command = ['x'], tags = ['a b'] }", "letters"),
        (
            "checks.a = { command = ['x'], findings = '(' }",
            "unclosed group",
        ),
        (
            "checks.a = { command = ['x'], findings = 'gc' }",
            "(?<path>…)",
        ),
        (
            "checks.a = { command = ['x'], findings = '(?<path>.)(?<lin>.)' }",
            "did you mean `line`?",
        ),
        (
            "checks.a = { command = ['x'], per-file = true }",
            "needs `files`",
        ),
        (
            "checks.a = { command = ['x'], env = ['A'], set-env = { A = '1' } }",
            "`A` is both in `env` and in `set-env`",
        ),
        (
            "checks.'security:secrets' = { baseline = 'gone' }",
            "not a file of the project",
        ),
        ("commands.lint = ['lnt']", "did you mean `lint`?"),
        ("commands.lint = []", "would run no checks"),
        ("commands.dev-chek = ['lint']", "did you mean `dev-check`?"),
    ]);
}

#[test]
fn names_of_checks_follow_the_rules() {
    each_bad(&[
        (
            "checks.clippy = { args = [] }",
            "`[checks.\"rust:clippy\"]`",
        ),
        ("checks.mine = { args = [] }", "needs `command"),
        (
            "checks.'a b' = { command = ['x'] }",
            "invalid check name `a b`",
        ),
        ("checks.ci = { command = ['x'] }", "cannot be named `ci`"),
        (
            "checks.'yaml:nosuch'.tags = ['x']",
            "no built-in check `yaml:nosuch`",
        ),
        (
            "checks.'yaml:yamlint@sub'.tags = ['x']",
            "did you mean `yaml:yamllint`?",
        ),
        ("checks.'x:nowhere'.tags = ['x']", "built-in checks: rust"),
        (
            "checks.'yaml:nosuch'.tags = ['x']",
            "help: built-in checks: yaml:syntax, yaml:yamllint",
        ),
        (
            "checks.'rust:fmt' = { command = ['x'] }",
            "`command` of a built-in check cannot be changed",
        ),
        (
            "checks.a = { command = ['x'], baseline = 'secrets.baseline' }",
            "only supported by `security:secrets`",
        ),
    ]);
    let loaded = good("checks.'9.own_check-x' = { command = ['x'] }");
    assert!(loaded.config.checks.contains_key("9.own_check-x"));
}

#[test]
fn bytes_that_are_not_utf8_are_named_by_place() {
    let bytes = b"a = 1\nb = \"\xff\"".to_vec();
    let error = load_from(&Snapshot::in_memory(&[]), vec![(FILE, bytes)])
        .expect_err("not UTF-8")
        .render(false);
    assert!(
        error.contains("dagcache.toml is not valid UTF-8") && error.contains("toml:2:6"),
        "{error}"
    );
}

#[test]
fn what_show_prints_loads_to_the_same_configuration() {
    for text in ["", FULL, "checks.t = { command = ['x'], tags = ['test'] }"] {
        let loaded = good(text);
        let shown = show(&loaded);
        let again = good(&shown);
        assert_eq!(show_values(&again), show_values(&loaded), "{shown}");
    }
    let shown = show(&good(FULL));
    for line in [
        "kind = \"local\"  # dagcache.toml:4:1",
        "[checks.\"rust:clippy\"]",
        "dev-check = [\"lint\", \"validate\", \"security\"]  # default",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
    }
}

/// What is shown, without the comments.
fn show_values(loaded: &Loaded) -> toml::Table {
    show(loaded).parse().expect("valid TOML")
}

#[test]
fn defaults_of_the_schema_are_those_of_the_model() {
    let defaults = good(&show(&Loaded::default())).config;
    for command in ["lint", "validate", "dev-check", "pre-commit", "ci"] {
        let tags = Config::default().tags_of(command);
        assert_eq!(defaults.tags_of(command), tags, "{command}");
    }
    let rest = Config {
        commands: std::collections::BTreeMap::new(),
        ..defaults
    };
    assert_eq!(rest, Config::default());
}

#[test]
fn images_and_packages_are_looked_at() {
    for (text, expect) in [
        ("layers.base.image = 'a b'", "not an image name"),
        ("layers.base.image = './no.tar'", "no such file"),
        (
            "layers.base.packages = ['a; b']",
            "not a valid package name",
        ),
        ("layers.base.packages = ['-y']", "not a valid package name"),
        (
            "layers.tools.kustomize = './x.tar'",
            "can only come from registry images",
        ),
        ("layers.tools.kustomise = 'x'", "did you mean `kustomize`?"),
    ] {
        let error = bad(text);
        assert!(error.contains(expect), "{text}: {error}");
    }
    let text = "layers.base.packages = ['git', 'a', 'git']";
    assert_eq!(good(text).config.layers.base.packages, ["a", "git"]);
    let config = good("layers.tools.kustomize = 'base'").config;
    assert_eq!(config.layers.tools["kustomize"], "base");
}

/// A value of the wrong type for every key of the schema is refused: so every key is read.
#[test]
fn schema_and_reader_know_the_same_keys() {
    fn walk(keys: &[model::Key], path: &str) {
        for key in keys {
            let name = format!("{path}{}", key.name);
            match key.kind {
                model::Kind::Table(inner) => walk(inner, &format!("{name}.")),
                model::Kind::Named(inner) => walk(inner, &format!("{name}.x.")),
                _ => {
                    let error = bad(&format!("{name} = 1979-05-27"));
                    let said = format!("`{}` must be", key.name);
                    assert!(error.contains(&said), "{name}: {error}");
                }
            }
        }
    }
    walk(Config::KEYS, "");
}

#[test]
fn the_json_schema_describes_every_key() {
    fn walk(table: &serde_json::Value, keys: &[model::Key]) {
        assert_eq!(table["additionalProperties"], false);
        for key in keys {
            let entry = &table["properties"][key.name];
            assert!(entry["description"].is_string(), "{}", key.name);
            match key.kind {
                model::Kind::Table(inner) => walk(entry, inner),
                model::Kind::Named(inner) => walk(&entry["additionalProperties"], inner),
                _ => assert_eq!(entry.get("default").is_some(), key.default.is_some()),
            }
        }
    }
    walk(
        &serde_json::from_str(&schema()).expect("JSON"),
        Config::KEYS,
    );
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in any::<Vec<u8>>()) {
        let files = vec![(FILE, bytes.clone()), ("pyproject.toml", bytes)];
        let _ = load_from(&Snapshot::in_memory(&[]), files).map_err(|report| report.render(true));
    }

    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        let _ = load_files(&[(FILE, &text), ("Cargo.toml", &format!("{text}package.metadata.dagcache"))])
            .map_err(|error| error.render(true));
    }

    #[test]
    fn nearly_right_text_never_panics(
        cut in 0..FULL.len(),
        length in 0..9_usize,
        put in "[\\[\\]{}=\"'.,#\n a-z0-9é]{0,4}",
    ) {
        let mut text = FULL.to_owned();
        text.replace_range(cut..(cut + length).min(FULL.len()), &put);
        match load_files(&[(FILE, &text)]) {
            Ok(loaded) => prop_assert!(show(&loaded).parse::<toml::Table>().is_ok()),
            Err(error) => prop_assert!(error.render(false).contains(" dagcache.toml:")),
        }
    }
}
