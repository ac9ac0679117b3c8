//! Keys of checks that `own_checks` does not tell of: each is flipped, and its effect seen.

use crate::support::{Json, Sandbox};

fn sandbox(keys: &str, script: &str) -> Sandbox {
    let config = format!(
        "[checks.own]\ncommand = [\"./check.sh\"]\ninputs = [\"src/**\"]\ntrace = false\n{keys}\n"
    );
    let sandbox = Sandbox::with(&[
        ("src/a", "one\n"),
        ("src/b", "two\n"),
        ("dagcache.toml", &config),
    ]);
    sandbox.script("check.sh", script);
    sandbox
}

fn own(sandbox: &Sandbox) -> Json {
    sandbox.json(&["lint", "--only", "own"])
}

/// Replaces text of the configuration, and tells why the check runs then.
#[track_caller]
fn flipped(sandbox: &Sandbox, from: &str, to: &str) -> Vec<String> {
    let config = sandbox.read("dagcache.toml");
    assert!(config.contains(from), "{config}");
    sandbox.write("dagcache.toml", config.replace(from, to));
    own(sandbox).expect(0).ran()
}

#[test]
fn every_key_that_shapes_a_run_is_part_of_its_key() {
    for (from, to, reason) in [
        (
            "network = true",
            "network = false",
            "own config-changed option network",
        ),
        (
            "outputs = [\"o\"]",
            "outputs = [\"p\"]",
            "own config-changed option output",
        ),
        (
            "set-env = { A = \"1\" }",
            "set-env = { A = \"2\" }",
            "own config-changed set-env A",
        ),
        (
            "findings = \"gcc\"",
            "findings = \"sarif\"",
            "own config-changed option findings",
        ),
        (
            "args = [\"a\", \"b\"]",
            "args = [\"b\", \"a\"]",
            "own command-changed",
        ),
        (
            "tools = [\"sort\"]",
            "tools = [\"uniq\"]",
            "own tool-changed uniq",
        ),
        ("env = [\"A\"]", "env = [\"B\"]", "own env-changed"),
        (
            "inputs = [\"src/**\"]",
            "inputs = [\"src/a\"]",
            "own input-removed src/b",
        ),
    ] {
        let keys = if from.starts_with("inputs") { "" } else { from };
        let sandbox = sandbox(keys, "");
        own(&sandbox).expect(0);
        own(&sandbox).expect(0).expect_fresh();
        let ran = flipped(&sandbox, from, to);
        // A variable that is unset before and after is no difference to the check.
        if from.starts_with("env") {
            assert_eq!(ran.len(), 1, "{from}");
            continue;
        }
        assert!(
            ran.len() == 1 && ran[0].starts_with(reason),
            "{from}: {ran:?}"
        );
    }
}

#[test]
fn keys_that_shape_no_run_leave_the_key_alone() {
    for (from, to) in [
        ("timeout = \"5m\"", "timeout = \"6m\""),
        ("max-age = \"7d\"", "max-age = \"8d\""),
        ("cache = true", "cache = \"passes\""),
        ("tags = [\"lint\"]", "tags = [\"lint\", \"x\"]"),
    ] {
        let sandbox = sandbox(from, "");
        own(&sandbox).expect(0);
        assert_eq!(flipped(&sandbox, from, to), [""; 0], "{from}");
    }
}

#[test]
fn a_check_without_network_says_so_in_its_key() {
    let sandbox = sandbox("network = true", "");
    let run = sandbox.run(&["explain", "own"]).expect(0);
    assert!(run.stdout.contains("network true"), "{}", run.stdout);
}

#[test]
fn a_fixed_variable_is_seen() {
    let sandbox = sandbox("set-env = { MODE = \"strict\" }", "echo \"$MODE\"");
    let json = own(&sandbox).expect(0);
    assert_eq!(json.check("own")["stdout"], "strict\n");
    sandbox.write(
        "dagcache.toml",
        sandbox.read("dagcache.toml").replace("strict", "lax"),
    );
    let json = own(&sandbox).expect(0);
    assert_eq!(json.check("own")["stdout"], "lax\n");
}

/// A check whose parts see their own file only.
fn by_file(keys: &str, script: &str) -> Sandbox {
    let sandbox = sandbox(
        &format!("files = [\"src/*\"]\nper-file = true\n{keys}"),
        script,
    );
    let config = sandbox.read("dagcache.toml");
    sandbox.write("dagcache.toml", config.replace("\"src/**\"", ""));
    sandbox
}

#[test]
fn parts_older_than_max_age_run_again() {
    let sandbox = by_file("max-age = \"1ms\"", "");
    own(&sandbox).expect(0);
    let json = own(&sandbox).expect(0);
    assert_eq!(json.ran(), ["own expired"]);
    assert_eq!(json.check("own")["parts"]["ran"], 2);
    let config = sandbox.read("dagcache.toml").replace("1ms", "7d");
    sandbox.write("dagcache.toml", config);
    own(&sandbox).expect(0).expect_fresh();
    sandbox.write("src/a", "edited\n");
    assert_eq!(own(&sandbox).expect(0).check("own")["parts"]["hit"], 1);
}

#[test]
fn a_whole_is_as_old_as_its_oldest_part() {
    let sandbox = by_file("", "");
    own(&sandbox).expect(0);
    let first = sandbox.cached("v1/ac", "");
    sandbox.write("src/a", "edited\n");
    let json = own(&sandbox).expect(0);
    assert_eq!(json.check("own")["parts"]["hit"], 1);
    let all = sandbox.cached("v1/ac", "");
    let second = all.iter().find(|entry| !first.contains(entry));
    let second = entry(second.expect("a second entry"));
    assert!(second["since_ms"].as_u64() <= entry(&first[0])["created_ms"].as_u64());
    assert!(second["since_ms"].is_u64(), "{second}");
}

fn entry(path: &std::path::Path) -> serde_json::Value {
    let text = std::fs::read_to_string(path).expect("entry");
    let (_, body) = text.split_once('\n').expect("a header");
    serde_json::from_str(body).expect("JSON")
}

#[test]
fn with_cache_passes_only_red_parts_run_again() {
    let script = "read line < \"$1\"; [ \"$line\" = one ]";
    let sandbox = by_file("cache = \"passes\"", script);
    own(&sandbox).expect(1);
    for _ in 0..2 {
        let json = own(&sandbox).expect(1);
        assert_eq!(json.check("own")["cache"], "miss");
        assert_eq!(json.check("own")["parts"]["hit"], 1);
        assert_eq!(json.check("own")["parts"]["ran"], 1);
    }
}

#[test]
fn with_cache_false_no_part_is_kept() {
    let sandbox = by_file("cache = false", "");
    for _ in 0..2 {
        assert_eq!(own(&sandbox).expect(0).check("own")["parts"]["ran"], 2);
    }
}

#[test]
fn turning_the_cache_off_serves_nothing_that_was_stored_before() {
    let sandbox = sandbox("cache = true", "");
    own(&sandbox).expect(0);
    assert_eq!(
        flipped(&sandbox, "cache = true", "cache = false"),
        ["own not-cached cache = false"]
    );
}

#[test]
fn keys_that_a_built_in_check_cannot_take_are_refused_with_the_reason() {
    for (key, why) in [
        ("command = [\"x\"]", "use `args` to extend it"),
        ("dir = \"src\"", "its folder determines"),
        ("files = [\"x\"]", "use `exclude` to skip some"),
        ("per-file = true", "the tool determines"),
        ("outputs = [\"x\"]", "writes no files"),
        ("findings = \"gcc\"", "its output format is fixed"),
    ] {
        let config = format!("[checks.\"yaml:yamllint\"]\n{key}\n");
        let sandbox = Sandbox::with(&[("dagcache.toml", &config), ("src/a.yaml", "a: 1\n")]);
        let run = sandbox.run(&["lint"]).expect(2);
        assert!(run.stderr.contains("cannot be changed"), "{}", run.stderr);
        let flat = run.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(why), "{key}: {flat}");
    }
}

#[test]
fn the_home_of_a_check_is_its_own() {
    for key in ["env = [\"HOME\"]", "secrets = [\"TMPDIR\"]"] {
        let run = sandbox(key, "").run(&["lint"]).expect(2);
        assert!(run.stderr.contains("private, empty"), "{}", run.stderr);
    }
}

#[test]
fn config_show_tells_the_keys() {
    let keys = "network = true\nsecrets = [\"TOKEN\"]\noutputs = [\"build/*\"]";
    let run = sandbox(keys, "").run(&["config", "show"]).expect(0);
    for line in [
        "network = true  # dagcache.toml:5:1",
        "secrets = [\"TOKEN\"]  # dagcache.toml:6:1",
        "outputs = [\"build/*\"]  # dagcache.toml:7:1",
    ] {
        assert!(run.stdout.contains(line), "{line}\n{}", run.stdout);
    }
}
