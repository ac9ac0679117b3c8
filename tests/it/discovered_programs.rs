//! Programs that nobody declared, where nothing is traced: a check that is missing one that the user has is run again with
//! it, and from then on the program is part of its key.

use crate::support::{Json, Sandbox, have};

/// A project with one check `own`, which runs this script.
fn sandbox(keys: &str, script: &str) -> Sandbox {
    let config = format!("[checks.own]\ncommand = [\"./check.sh\"]\ntrace = false\n{keys}\n");
    let sandbox = Sandbox::with(&[("dagcache.toml", &config), ("src/a", "one\n")]);
    sandbox.script("check.sh", script);
    sandbox
}

fn own(sandbox: &Sandbox) -> Json {
    sandbox.json(&["lint", "--only", "own"])
}

/// How often a run said that a program was missing.
fn said(json: &Json) -> usize {
    json.run.stderr.matches("missing on its PATH").count()
}

/// A program of the user's that is no script; it is called as a shell is.
const CALL: &str = "mytool -c 'echo from my tool'";

#[test]
fn a_check_is_run_again_once_with_what_it_lacked_and_that_is_said_once() {
    let sandbox = sandbox("", CALL);
    sandbox.tool("mytool", "one");
    let json = own(&sandbox).expect(0);
    assert_eq!(json.check("own")["stdout"], "from my tool\n");
    assert_eq!(json.checks().len(), 1, "{}", json.run.stdout);
    assert_eq!(said(&json), 1, "{}", json.run.stderr);
    for part in ["own: `mytool` was missing", "tools = [\"mytool\"]"] {
        assert!(json.run.stderr.contains(part), "{}", json.run.stderr);
    }
    let again = own(&sandbox).expect(0);
    again.expect_fresh();
    assert_eq!(said(&again), 0, "{}", again.run.stderr);
    assert_eq!(again.check("own")["key"], json.check("own")["key"]);
    // Nothing is stored of the run without it.
    assert_eq!(sandbox.cached("v1/ac", "").len(), 1);
}

#[test]
fn what_it_is_and_that_it_is_gone_is_in_the_key() {
    let sandbox = sandbox("", CALL);
    sandbox.tool("mytool", "one");
    own(&sandbox).expect(0);
    sandbox.tool("mytool", "two");
    assert_eq!(own(&sandbox).expect(0).ran(), ["own tool-changed mytool"]);
    own(&sandbox).expect(0).expect_fresh();
    std::fs::remove_file(sandbox.outer().join("bin/mytool")).expect("removed");
    let gone = own(&sandbox).expect(1);
    assert_eq!(gone.ran(), ["own tool-changed mytool"]);
    assert_eq!(said(&gone), 0);
    own(&sandbox).expect(1).expect_fresh();
    sandbox.tool("mytool", "one");
    own(&sandbox).expect(0).expect_fresh();
}

#[test]
fn a_stored_failure_is_not_served_once_the_program_is_there() {
    let sandbox = sandbox("", CALL);
    let json = own(&sandbox).expect(1);
    assert_eq!(said(&json), 0, "nobody has it");
    own(&sandbox).expect(1).expect_fresh();
    sandbox.tool("mytool", "one");
    let dry = sandbox.json(&["lint", "--only", "own", "--dry-run"]);
    assert_eq!(dry.check("own")["miss"]["kind"], "tool-changed");
    let json = own(&sandbox).expect(0);
    assert_eq!(said(&json), 1, "{}", json.run.stderr);
    own(&sandbox).expect(0).expect_fresh();
}

#[test]
fn a_failing_part_is_run_again_with_it() {
    let keys = "files = [\"src/*\"]\nper-file = true\ninputs = []";
    let sandbox = sandbox(keys, &format!("case $1 in *b) {CALL};; esac"));
    sandbox.write("src/b", "two\n");
    own(&sandbox).expect(1);
    own(&sandbox).expect(1).expect_fresh();
    sandbox.tool("mytool", "one");
    let json = own(&sandbox).expect(0);
    assert_eq!(said(&json), 1, "{}", json.run.stderr);
    assert_eq!(json.check("own")["stdout"], "from my tool\n");
    own(&sandbox).expect(0).expect_fresh();
}

#[test]
fn a_run_goes_on_for_a_few_programs_and_the_next_one_for_more() {
    let calls = ["one", "two", "three", "four"].map(|name| format!("{name} -c : || exit 1\n"));
    let sandbox = sandbox("", &calls.concat());
    for name in ["one", "two", "three", "four"] {
        sandbox.tool(name, name);
    }
    let json = own(&sandbox).expect(1);
    assert_eq!(said(&json), 3, "{}", json.run.stderr);
    let json = own(&sandbox).expect(0);
    assert_eq!(said(&json), 1, "{}", json.run.stderr);
    own(&sandbox).expect(0).expect_fresh();
}

#[test]
fn all_that_one_run_names_come_together() {
    let script = "one -c : ; two -c : ; three -c : ; four -c : || exit 1";
    let sandbox = sandbox("", script);
    for name in ["one", "two", "three", "four"] {
        sandbox.tool(name, name);
    }
    let json = own(&sandbox).expect(0);
    assert_eq!(said(&json), 1, "{}", json.run.stderr);
    assert!(
        json.run
            .stderr
            .contains("`four`, `one`, `three`, `two` were")
    );
}

#[test]
fn a_program_whose_identity_cannot_be_told_is_run_but_not_stored() {
    let sandbox = sandbox("", "mytool");
    sandbox.program("mytool", "#!/bin/sh\necho from a script\n");
    for times in [1, 0] {
        let json = own(&sandbox).expect(0);
        let check = json.check("own");
        assert_eq!(check["stdout"], "from a script\n");
        assert_eq!(check["cache"], "miss");
        let reason = check["not_stored"].as_str().expect("a reason");
        assert!(reason.contains("the script `mytool`"), "{reason}");
        assert_eq!(said(&json), times, "{}", json.run.stderr);
    }
}

#[test]
fn a_pass_in_which_a_shell_did_not_find_it_does_not_count() {
    // A shell swallows it in a condition.
    let sandbox = sandbox("", "if mytool -c 'exit 0'; then echo found; exit 1; fi");
    own(&sandbox).expect(0);
    own(&sandbox).expect(0).expect_fresh();
    sandbox.tool("mytool", "one");
    let json = own(&sandbox).expect(1);
    assert_eq!(json.check("own")["stdout"], "found\n");
    assert_eq!(said(&json), 1, "{}", json.run.stderr);
    own(&sandbox).expect(1).expect_fresh();
}

#[test]
fn a_condition_on_a_program_that_is_not_declared_is_no_stored_green() {
    let config = "[checks.own]\ncommand = [\"sh\", \"-c\", \"if grep -q BAD a.txt; then exit 1; fi\"]\ntrace = false\n";
    let sandbox = Sandbox::with(&[("dagcache.toml", config), ("a.txt", "BAD\n")]);
    own(&sandbox).expect(1);
    own(&sandbox).expect(1).expect_fresh();
    sandbox.write("a.txt", "good\n");
    own(&sandbox).expect(0);
    own(&sandbox).expect(0).expect_fresh();
}

#[test]
fn a_pass_is_not_stored_while_a_program_is_missing_that_was_not_tried() {
    let calls = ["one", "two", "three", "four"].map(|name| format!("{name} -c :\n"));
    let script = format!(
        "set -e\nfor call in one two three four; do $call -c : || exit 0; done\n{}",
        calls.concat()
    );
    let sandbox = sandbox("", &script);
    for name in ["one", "two", "three", "four"] {
        sandbox.tool(name, name);
    }
    let json = own(&sandbox).expect(0);
    let reason = json.check("own")["not_stored"].as_str().unwrap_or_default();
    assert!(reason.contains("it passed without `four`"), "{reason}");
    own(&sandbox).expect(0);
    own(&sandbox).expect(0).expect_fresh();
}

#[test]
fn a_pass_whose_output_only_looks_like_that_is_stored() {
    let sandbox = sandbox("", "echo 'sh: 1: mytool: not found'");
    sandbox.tool("mytool", "one");
    assert_eq!(said(&own(&sandbox).expect(0)), 0);
    sandbox.tool("mytool", "two");
    own(&sandbox).expect(0).expect_fresh();
}

#[test]
fn words_that_make_no_difference_are_tried_once_and_are_in_no_key() {
    let script = "echo run >&2; echo 'check: mytool: not found, nor `other`'; exit 3";
    let sandbox = sandbox("", script);
    sandbox.tool("mytool", "one");
    sandbox.tool("other", "one");
    let first = own(&sandbox).expect(1);
    assert_eq!(first.check("own")["exit_code"], 3);
    assert_eq!(said(&first), 0, "{}", first.run.stderr);
    sandbox.tool("mytool", "two");
    own(&sandbox).expect(1).expect_fresh();
    // Nor is it run again when only files changed.
    sandbox.write("src/a", "two\n");
    let json = own(&sandbox).expect(1);
    assert_eq!(json.check("own")["key"].as_str().map(str::len), Some(64));
    own(&sandbox).expect(1).expect_fresh();
}

#[test]
fn what_a_shell_reports_is_tried_though_the_word_meant_something_else_before() {
    let sandbox = sandbox("", "cat src/a >/dev/null; echo 'mytool: bad'; exit 1");
    sandbox.tool("mytool", "one");
    own(&sandbox).expect(1);
    sandbox.script("check.sh", CALL);
    own(&sandbox).expect(0);
}

#[test]
fn a_missing_program_is_found_in_whatever_words() {
    for words in [
        "mytool: No such file or directory (os error 2)",
        "error occurred: Failed to find tool. Is `mytool` installed?",
        "error occurred in cc-rs: failed to find tool \\\"mytool\\\": No such file or directory (os error 2)",
        "error: failed to execute process: command not found: \\`mytool\\`",
        "cannot find binary path: mytool",
        "Error: failed to run mytool\\n\\nCaused by:\\n    No such file or directory (os error 2)",
        "Could not run \\`PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 mytool --libs x\\`",
        "Could not find \\`mytool\\`. If \\`mytool\\` is installed, try setting the \\`MYTOOL\\` environment variable",
        "failed to execute command: No such file or directory (os error 2)\\nis \\`mytool\\` not installed?",
        "couldn't execute \\`mytool --prefix\\` (error: No such file or directory)",
        "FileNotFoundError: [Errno 2] No such file or directory: 'mytool'",
        "Error: spawn mytool ENOENT",
        "exec: \\\"mytool\\\": executable file not found in \\$PATH",
        "env: ‘mytool’: No such file or directory",
        "make: mytool: No such file or directory",
        "Can't exec \\\"mytool\\\": No such file or directory at x.pl line 1.",
    ] {
        let words = words.replace('`', "\\`").replace("\\\\`", "\\`");
        let script =
            format!("command -v mytool >/dev/null || {{ printf \"{words}\\n\"; exit 1; }}");
        let sandbox = sandbox("", &script);
        sandbox.tool("mytool", "one");
        let json = own(&sandbox).expect(0);
        assert_eq!(said(&json), 1, "{words}: {}", json.run.stderr);
        own(&sandbox).expect(0).expect_fresh();
    }
}

#[test]
fn a_failure_that_findings_explain_leads_to_no_second_run() {
    let script = "echo 'src/a:1:1: error: mytool'; mytool -c 'echo missed' 2>/dev/null; exit 1";
    let sandbox = sandbox("findings = \"gcc\"", script);
    sandbox.tool("mytool", "one");
    let json = own(&sandbox).expect(1);
    assert_eq!(said(&json), 0, "{}", json.run.stderr);
    let stdout = json.check("own")["stdout"].as_str().unwrap_or_default();
    assert!(!stdout.contains("missed"), "{stdout}");
    own(&sandbox).expect(1).expect_fresh();
}

#[test]
fn other_checks_are_not_given_it() {
    let sandbox = sandbox("inputs = []", CALL);
    let config = sandbox.read("dagcache.toml");
    let other =
        "[checks.other]\ncommand = [\"sh\", \"-c\", \"command -v mytool || :\"]\ntrace = false\n";
    sandbox.write("dagcache.toml", format!("{config}{other}"));
    sandbox.tool("mytool", "one");
    let both = || sandbox.json(&["lint", "--only", "own", "--only", "other"]);
    assert_eq!(both().expect(0).check("other")["stdout"], "");
    both().expect(0).expect_fresh();
    sandbox.tool("mytool", "two");
    assert_eq!(both().expect(0).ran(), ["own tool-changed mytool"]);
}

#[test]
fn without_the_cache_it_is_run_again_too() {
    let sandbox = sandbox("", CALL);
    sandbox.tool("mytool", "one");
    for times in [1, 0] {
        let json = sandbox
            .json(&["lint", "--only", "own", "--no-cache"])
            .expect(0);
        assert_eq!(said(&json), times, "{}", json.run.stderr);
    }
}

#[test]
fn what_a_build_script_calls_is_found_too() {
    if !have("cargo") {
        return;
    }
    let manifest = "[package]\nname = \"a\"\nversion = \"0.1.0\"\nedition = \"2021\"\n";
    let lock = "version = 3\n\n[[package]]\nname = \"a\"\nversion = \"0.1.0\"\n";
    let build = "fn main() { let status = std::process::Command::new(\"mytool\")\
        .args([\"-c\", \":\"]).status().expect(\"cannot run mytool\"); assert!(status.success()); }\n";
    let files = [
        ("Cargo.toml", manifest),
        ("Cargo.lock", lock),
        ("src/lib.rs", ""),
        ("build.rs", build),
    ];
    let sandbox = Sandbox::with(&files);
    let clippy = || sandbox.json(&["lint", "--only", "rust:clippy"]);
    clippy().expect(1);
    clippy().expect(1).expect_fresh();
    sandbox.tool("mytool", "one");
    let json = clippy().expect(0);
    assert_eq!(said(&json), 1, "{}", json.run.stderr);
    clippy().expect(0).expect_fresh();
    sandbox.tool("mytool", "two");
    assert_eq!(
        clippy().expect(0).ran(),
        ["rust:clippy tool-changed mytool"]
    );
}
