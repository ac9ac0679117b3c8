//! A run over unchanged files: everything is replayed, nothing is started.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Json, Run, Sandbox, copy_binary, have};

const CONFIG: &str = r#"
[checks.noisy]
command = ["./noisy.sh"]
findings = "gcc"
inputs = ["src/**"]
[checks.red]
command = ["./red.sh"]
findings = "gcc"
inputs = ["src/**"]
"#;

/// One check that passes with a warning, one that fails, and the built-in ones.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::with(&[
        ("dagcache.toml", CONFIG),
        ("a.yaml", "a: 1\n"),
        ("b.yml", "b: [1, 2]\n"),
        ("src/a.c", "int a;\n"),
    ]);
    sandbox.script(
        "noisy.sh",
        "echo 'src/a.c:1:5: warning: short name [W1]'\necho 'to stderr: ünïcode' >&2",
    );
    sandbox.script(
        "red.sh",
        "echo 'src/a.c:1:1: error: no header [H1]'; exit 7",
    );
    sandbox
}

/// The lines without what may differ between a run and its replay.
fn comparable(json: &Json) -> Vec<Value> {
    let mut lines = json.lines.clone();
    for line in &mut lines {
        let line = line.as_object_mut().expect("object");
        for field in [
            "cache",
            "miss",
            "duration_ms",
            "saved_ms",
            "parts",
            "hits",
            "misses",
        ] {
            line.remove(field);
        }
    }
    lines.sort_by_key(|line| {
        (
            line["reason"].as_str() != Some("run-started"),
            line["id"].to_string(),
        )
    });
    lines
}

#[test]
fn a_second_run_replays_everything_exactly() {
    let sandbox = sandbox();
    let first = sandbox.json(&["dev-check"]).expect(1);
    assert_eq!(first.finished()["hits"], 0);
    let second = sandbox.json(&["dev-check"]).expect(1);
    second.expect_fresh();
    assert_eq!(comparable(&first), comparable(&second));

    let red = second.check("red");
    assert_eq!(red["verdict"], "failed");
    assert_eq!(red["exit_code"], 7);
    assert_eq!(red["findings"][0]["code"], "H1");
    let noisy = second.check("noisy");
    assert_eq!(noisy["stderr"], "to stderr: ünïcode\n");
    assert_eq!(noisy["findings"][0]["severity"], "warning");
}

#[test]
fn people_see_warnings_and_failures_again() {
    let sandbox = sandbox();
    let first = sandbox.run(&["dev-check"]).expect(1);
    let second = sandbox.run(&["dev-check"]).expect(1);
    for run in [&first, &second] {
        assert!(
            run.stderr.contains("src/a.c:1:5: warning: short name [W1]"),
            "{}",
            run.stderr
        );
        assert!(
            run.stderr.contains("src/a.c:1:1: error: no header [H1]"),
            "{}",
            run.stderr
        );
        assert!(
            run.stderr
                .contains("Repeat with cargo dagcache dev-check --only red"),
            "{}",
            run.stderr
        );
        assert_eq!(run.stdout, "");
    }
    assert!(
        first.stderr.contains("Dirty noisy (first run here)"),
        "{}",
        first.stderr
    );
    assert!(!second.stderr.contains("Dirty"), "{}", second.stderr);
}

#[test]
fn a_passing_fresh_run_says_one_line() {
    let sandbox = Sandbox::with(&[("a.yaml", "a: 1\n")]);
    sandbox.run(&["dev-check"]).expect(0);
    let run = sandbox.run(&["dev-check"]).expect(0);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    assert!(
        run.stderr
            .contains("Finished dev-check: 2 checks, all Fresh in "),
        "{}",
        run.stderr
    );
}

/// The binary where it may start neither a process nor a thread. The limit does not bind root, who becomes nobody.
fn without_processes(sandbox: &Sandbox, binary: &std::path::Path, args: &[&str]) -> Command {
    let mut command = Command::new("prlimit");
    command
        .arg("--nproc=0")
        .arg(binary)
        .args(args)
        .current_dir(sandbox.project())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", sandbox.home())
        .env("DAGCACHE_DIR", sandbox.cache())
        .stdin(Stdio::null());
    if rustix::process::geteuid().is_root() {
        command
            .uid(crate::support::NOBODY)
            .gid(crate::support::NOBODY);
    }
    command
}

#[test]
fn a_fresh_run_starts_no_process_and_no_thread() {
    if !have("prlimit") {
        return;
    }
    let sandbox = sandbox();
    sandbox.run(&["dev-check"]).expect(1);
    // Its folder may be closed to others.
    let copy = sandbox.outer().join("cargo-dagcache");
    copy_binary(&copy);
    sandbox.give_to_nobody();

    let run = Run::of(without_processes(
        &sandbox,
        &copy,
        &["dev-check", "--message-format", "json"],
    ));
    let fresh = Json::of(run).expect(1);
    fresh.expect_fresh();
    assert_eq!(fresh.checks().len(), 4);

    // The limit bites: what has to run cannot.
    sandbox.script("noisy.sh", "echo again");
    sandbox.give_to_nobody();
    let run = Run::of(without_processes(&sandbox, &copy, &["dev-check"]));
    assert_ne!(run.code, Some(1), "{}", run.stderr);
    assert_ne!(run.code, Some(0), "{}", run.stderr);
}

#[test]
fn an_empty_commit_reruns_nothing() {
    let sandbox = sandbox();
    sandbox.run(&["dev-check"]).expect(1);
    sandbox.commit("scripts");
    sandbox.commit("empty");
    sandbox.json(&["dev-check"]).expect(1).expect_fresh();
}

#[test]
fn the_cargo_subcommand_form_is_the_same() {
    let sandbox = sandbox();
    sandbox.run(&["dev-check"]).expect(1);
    sandbox
        .json(&["dagcache", "dev-check"])
        .expect(1)
        .expect_fresh();
}
