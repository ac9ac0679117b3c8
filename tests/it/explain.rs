//! `explain`: what a key is made of, everything that differs, and what became of a result that was there once.

use crate::support::{Json, Run, Sandbox};

const CONFIG: &str = r#"
[checks.own]
command = ["./check.sh", "first", "second"]
inputs = ["src/**"]
env = ["MODE", "MY_TOKEN"]
set-env = { FIXED = "1" }
trace = false
"#;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::with(&[
        ("dagcache.toml", CONFIG),
        ("src/a", "a\n"),
        ("src/deep/b", "b\n"),
        ("src/deep/gone", "x\n"),
    ]);
    sandbox.script("check.sh", "echo \"$@\"");
    sandbox
}

fn explain(sandbox: &Sandbox, args: &[&str]) -> String {
    let all = [&["explain"], args].concat();
    sandbox.run(&all).expect(0).stdout
}

fn own(sandbox: &Sandbox) -> Json {
    sandbox.json(&["lint", "--only", "own"]).expect(0)
}

fn key(json: &Json) -> String {
    json.check("own")["key"].as_str().expect("key").to_owned()
}

fn with_env(sandbox: &Sandbox, args: &[&str], mode: &str, token: &str) -> Run {
    let mut command = sandbox.command(args);
    command.env("MODE", mode).env("MY_TOKEN", token);
    Run::of(command)
}

#[track_caller]
fn contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part}\nis not in\n{text}");
    }
}

#[test]
fn a_check_that_never_ran_is_dirty_and_has_no_history() {
    let sandbox = sandbox();
    contains(&explain(&sandbox, &[]), &["own: Dirty (first run here)\n"]);
    let one = explain(&sandbox, &["own"]);
    assert!(!one.contains("since the last run"), "{one}");
    assert!(!one.contains("stored"), "{one}");
    sandbox.run(&["explain", "nothing"]).expect(2);
}

#[test]
fn a_fresh_check_tells_when_and_by_whom_and_what_its_key_is_made_of() {
    let sandbox = sandbox();
    let json = own(&sandbox);
    let one = explain(&sandbox, &["own"]);
    contains(
        &one,
        &[
            "own: Fresh\n",
            "  stored   ",
            "s ago: passed, took ",
            " by cargo-dagcache ",
            &key(&json),
            "  tool     sh ",
            "  env      MODE unset\n",
            " src/deep/b\n",
        ],
    );
    assert!(!one.contains("since the last run"), "{one}");
}

#[test]
fn everything_that_differs_is_told_with_old_and_new_and_the_printed_reason_first() {
    let sandbox = sandbox();
    own(&sandbox);
    sandbox.write("src/a", "other\n");
    sandbox.write("src/deep/new", "n\n");
    sandbox.remove("src/deep/gone");
    sandbox.mode("src/deep/b", 0o755);
    let config = CONFIG
        .replace(r#""first", "second""#, r#""second", "first""#)
        .replace("FIXED = \"1\"", "FIXED = \"2\"");
    sandbox.write("dagcache.toml", config);
    let one = with_env(&sandbox, &["explain", "own"], "", "hush")
        .expect(0)
        .stdout;
    let dry = with_env(&sandbox, &["lint", "--dry-run"], "", "hush").expect(0);
    contains(&dry.stderr, &["Dirty own (set-env FIXED changed: 1 → 2)"]);
    contains(
        &one,
        &[
            "own: Dirty (set-env FIXED changed: 1 → 2)\n  since the last run:\n    set-env FIXED changed: 1 → 2\n",
            "    command changed: [\"./check.sh\",\"first\",\"second\"] → [\"./check.sh\",\"second\",\"first\"]\n",
            "    src/a changed: 87428fc52280 → ",
            "    src/deep/new added: ",
            "    src/deep/gone removed: ",
            "    mode of src/deep/b changed: file → executable\n",
            "    variable MODE changed: unset → \"\"\n",
            "    variable MY_TOKEN changed: unset → (hidden)\n",
            "  last run ",
        ],
    );
    assert!(!one.contains("hush"), "{one}");
    assert_eq!(one.matches("FIXED changed").count(), 2, "{one}");
}

#[test]
fn explaining_runs_nothing_and_changes_no_reason() {
    let sandbox = sandbox();
    own(&sandbox);
    sandbox.write("src/a", "other\n");
    for _ in 0..2 {
        contains(&explain(&sandbox, &[]), &["own: Dirty (src/a changed)\n"]);
    }
    assert_eq!(own(&sandbox).ran(), ["own input-changed src/a"]);
}

#[test]
fn two_keys_are_compared_by_their_first_digits() {
    let sandbox = sandbox();
    let old = key(&own(&sandbox));
    sandbox.write("src/deep/b", "other\n");
    let json = Json::of(with_env(
        &sandbox,
        &["lint", "--only", "own", "--message-format", "json"],
        "1",
        "",
    ));
    let new = key(&json);
    let text = explain(&sandbox, &[&old[..12], &new]);
    contains(
        &text,
        &[
            &format!("{} own: ", &old[..12]),
            &format!("{} own: ", &new[..12]),
            "  src/deep/b changed: 0263829989b6 → ",
            "  variable MODE changed: unset → \"1\"\n",
        ],
    );
    let back = explain(&sandbox, &[&new, &old]);
    contains(&back, &["  variable MODE changed: \"1\" → unset\n"]);
    contains(&explain(&sandbox, &[&old, &old]), &["the keys are equal"]);
}

#[test]
fn keys_that_mean_nothing_or_too_much_are_usage_errors() {
    let sandbox = sandbox();
    let key = key(&own(&sandbox));
    let fails = |a: &str, words: &str| {
        let run = sandbox.run(&["explain", a, &key]).expect(2);
        contains(&run.stderr, &[words]);
        assert_eq!(run.stdout, "");
    };
    fails("own", "`own` is not a key");
    fails(
        &key[..3],
        "is not a key: expected at least 4 hexadecimal digits",
    );
    let unknown = if key.starts_with("0000") {
        "1111"
    } else {
        "0000"
    };
    fails(unknown, "no key in the store starts with");
    // A file of a key with the same first digits: its content is damaged, its name counts.
    let entry = &sandbox.cached("v1/ac", &key)[0];
    let twin = entry.with_file_name(format!("{}{}", &key[..32], "0".repeat(32)));
    std::fs::copy(entry, twin).expect("copy");
    fails(&key[..8], "2 keys start with");
    sandbox.run(&["explain", "a", "b", "c"]).expect(2);
}

#[test]
fn a_key_whose_fingerprint_is_gone_cannot_be_compared() {
    let sandbox = sandbox();
    let key = key(&own(&sandbox));
    for blob in sandbox.cached("v1/cas", "") {
        std::fs::remove_file(blob).expect("remove");
    }
    let run = sandbox.run(&["explain", &key, &key]).expect(3);
    contains(&run.stderr, &["is missing from the store or damaged"]);
    sandbox.write("src/a", "other\n");
    let lost = "own: Dirty (its last run is no longer in the store)\n";
    contains(&explain(&sandbox, &[]), &[lost]);
}

#[test]
fn a_tree_whose_objects_are_gone_names_the_folder_that_differs() {
    let sandbox = sandbox();
    own(&sandbox);
    sandbox.write("src/deep/b", "other\n");
    // The object of `src/deep`: it holds the name of a file in it. Those above it stay.
    for object in sandbox.cached("v1/trees", "") {
        let bytes = std::fs::read(&object).expect("object");
        if bytes.windows(4).any(|part| part == b"gone") {
            std::fs::write(object, "damaged").expect("damage");
        }
    }
    contains(
        &explain(&sandbox, &[]),
        &["own: Dirty (a file in src/deep changed)\n"],
    );
    own(&sandbox);
    own(&sandbox).expect_fresh();
}

fn reason(sandbox: &Sandbox) -> String {
    let dry = sandbox
        .run(&["lint", "--only", "own", "--dry-run"])
        .expect(0);
    let (_, reason) = dry.stderr.split_once("Dirty own (").expect(&dry.stderr);
    let (reason, _) = reason.split_once(")\n").expect(reason);
    reason.to_owned()
}

#[test]
fn a_result_that_was_evicted() {
    let sandbox = sandbox();
    own(&sandbox);
    std::fs::remove_file(&sandbox.cached("v1/ac", "")[0]).expect("remove");
    assert_eq!(
        reason(&sandbox),
        "was cached, but the entry is no longer in the store"
    );
    assert_eq!(own(&sandbox).ran(), ["own evicted"]);
}

#[test]
fn a_result_that_is_damaged_is_named_with_its_file() {
    let sandbox = sandbox();
    let key = key(&own(&sandbox));
    let file = format!("v1/ac/{}/{key}", &key[..2]);
    let path = sandbox.cache().join(&file);
    let mut bytes = std::fs::read(&path).expect("entry");
    bytes.pop();
    std::fs::write(&path, bytes).expect("damage");
    let wrong = "content does not match its checksum";
    assert_eq!(
        reason(&sandbox),
        format!("was cached, but the entry {file} cannot be used: {wrong}")
    );
    let json = own(&sandbox);
    assert_eq!(json.ran(), [format!("own damaged {file}")]);
    assert_eq!(json.check("own")["miss"]["from"], wrong);
}

#[test]
fn results_of_parts_that_are_damaged_are_named_with_their_file() {
    let sandbox = Sandbox::with(&[("a.yaml", "a: 1\n"), ("b.yaml", "b: 1\n")]);
    sandbox.json(&["lint"]).expect(0);
    sandbox.write("a.yaml", "a: 2\n");
    for pack in sandbox.cached("v1/parts", "") {
        std::fs::write(pack, "damaged").expect("damage");
    }
    let json = sandbox.json(&["lint"]).expect(0);
    let miss = &json.check("yaml:syntax")["miss"];
    assert_eq!(miss["kind"], "damaged");
    contains(miss["path"].as_str().expect("path"), &["v1/parts/"]);
}

#[test]
fn a_result_of_another_format() {
    let sandbox = sandbox();
    own(&sandbox);
    let path = &sandbox.cached("v1/ac", "")[0];
    let text = std::fs::read_to_string(path).expect("entry");
    std::fs::write(
        path,
        text.replacen("dagcache-entry 1 ", "dagcache-entry 9 ", 1),
    )
    .expect("alter");
    contains(
        &reason(&sandbox),
        &[
            "was cached, but the entry v1/ac/",
            " cannot be used: stored by another version (format 9, ",
        ],
    );
}

#[test]
fn a_store_of_another_layout() {
    let sandbox = sandbox();
    own(&sandbox);
    std::fs::rename(sandbox.cache().join("v1"), sandbox.cache().join("v0")).expect("rename");
    assert_eq!(
        reason(&sandbox),
        "was cached, but the entry v0 cannot be used: stored by another version"
    );
    let json = own(&sandbox);
    assert_eq!(json.ran(), ["own damaged v0"]);
    // Now this store knows the project.
    let config = CONFIG
        .replace("checks.own", "checks.new")
        .replace("FIXED", "OTHER");
    sandbox.write("dagcache.toml", config);
    assert_eq!(sandbox.json(&["lint"]).expect(0).ran(), ["new new"]);
}

#[test]
fn the_last_run_is_the_measure_on_every_branch() {
    let sandbox = sandbox();
    sandbox.commit("main");
    own(&sandbox);
    sandbox.git(&["checkout", "--quiet", "-b", "topic"]);
    sandbox.write("src/a", "topic\n");
    sandbox.commit("topic");
    own(&sandbox);
    sandbox.write("src/deep/b", "more\n");
    assert_eq!(reason(&sandbox), "src/deep/b changed");
    sandbox.git(&["stash", "--quiet"]);
    sandbox.git(&["checkout", "--quiet", "main"]);
    own(&sandbox).expect_fresh();
    sandbox.git(&["stash", "apply", "--quiet"]);
    assert_eq!(reason(&sandbox), "src/deep/b changed");
}
