//! Commands select checks, options narrow them and say how they run.

use crate::support::{Json, Run, Sandbox};

const CONFIG: &str = r#"
[checks.a-red]
command = ["./red.sh"]
inputs = []
[checks.b-green]
command = ["./green.sh"]
inputs = []
tags = ["validate"]
[checks.c-slow]
command = ["./green.sh"]
inputs = []
tags = ["test", "slow"]
"#;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::with(&[("dagcache.toml", CONFIG), ("a.yaml", "a: 1\n")]);
    sandbox.script("red.sh", "echo red; exit 1");
    sandbox.script("green.sh", "echo green");
    sandbox
}

fn ids(json: &Json) -> Vec<&str> {
    let checks = json.checks();
    let mut ids: Vec<_> = checks
        .iter()
        .filter_map(|line| line["id"].as_str())
        .collect();
    ids.sort_unstable();
    ids
}

#[track_caller]
fn selects(args: &[&str], expect: &[&str]) {
    let mut all = args.to_vec();
    all.push("--dry-run");
    assert_eq!(ids(&sandbox().json(&all).expect(0)), expect);
}

#[test]
fn commands_select_by_tag() {
    selects(&["lint"], &["a-red", "yaml:syntax"]);
    selects(&["validate"], &["b-green"]);
    selects(
        &["dev-check"],
        &["a-red", "b-green", "security:secrets", "yaml:syntax"],
    );
    selects(
        &["ci"],
        &[
            "a-red",
            "b-green",
            "c-slow",
            "security:secrets",
            "yaml:syntax",
        ],
    );
}

#[test]
fn options_narrow() {
    selects(&["ci", "--tag", "slow"], &["c-slow"]);
    selects(&["lint", "--yaml-only"], &["yaml:syntax"]);
    selects(&["lint", "--rust-only"], &[]);
    selects(&["lint", "--only", "c-slow"], &["c-slow"]);
    selects(
        &["ci", "--only", "a-red", "--only", "b-green"],
        &["a-red", "b-green"],
    );
    selects(&["lint", "--skip", "a-red"], &["yaml:syntax"]);
    selects(&["lint", "--only", "a-red", "--skip", "a-red"], &[]);
}

#[test]
fn the_environment_skips_too() {
    let mut command = sandbox().command(&["lint", "--dry-run", "--message-format", "json"]);
    command.env("DAGCACHE_SKIP", "a-red, no-such-check");
    let sandbox = sandbox();
    command.current_dir(sandbox.project());
    assert_eq!(ids(&Json::of(Run::of(command)).expect(0)), ["yaml:syntax"]);
}

#[test]
fn commands_can_be_given_other_tags() {
    let sandbox = sandbox();
    sandbox.write(
        "dagcache.toml",
        format!("{CONFIG}[commands]\nlint = [\"slow\"]\n"),
    );
    assert_eq!(
        ids(&sandbox.json(&["lint", "--dry-run"]).expect(0)),
        ["c-slow"]
    );
}

#[test]
fn cached_only_runs_nothing() {
    let sandbox = sandbox();
    let json = sandbox.json(&["dev-check", "--cached-only"]).expect(3);
    for check in json.checks() {
        assert_eq!(check["verdict"], "error");
        assert_eq!(check["stdout"], "");
    }
    sandbox.json(&["dev-check"]).expect(1);
    sandbox
        .json(&["dev-check", "--cached-only"])
        .expect(1)
        .expect_fresh();
}

#[test]
fn fail_fast_begins_nothing_new() {
    let sandbox = sandbox();
    let args = [
        "dev-check",
        "--fail-fast",
        "-j",
        "1",
        "--only",
        "a-red",
        "--only",
        "b-green",
    ];
    let json = sandbox.json(&args).expect(1);
    assert_eq!(json.check("a-red")["verdict"], "failed");
    assert_eq!(json.check("b-green")["verdict"], "skipped");
    let mut keep_going = args.to_vec();
    keep_going.push("--keep-going");
    let json = sandbox.json(&keep_going).expect(1);
    assert_eq!(json.check("b-green")["verdict"], "passed");
}

#[test]
fn quiet_says_failures_only_and_verbose_says_all() {
    let sandbox = sandbox();
    let quiet = sandbox.run(&["validate", "-q"]).expect(0);
    assert_eq!(quiet.stderr, "");
    let quiet = sandbox.run(&["lint", "-q"]).expect(1);
    assert!(quiet.stderr.contains("Failed a-red"), "{}", quiet.stderr);
    assert!(!quiet.stderr.contains("yaml:syntax"), "{}", quiet.stderr);
    let verbose = sandbox.run(&["validate", "-v"]).expect(0);
    assert!(
        verbose.stderr.contains("Fresh b-green"),
        "{}",
        verbose.stderr
    );
    assert!(verbose.stderr.contains("green\n"), "{}", verbose.stderr);
    sandbox.run(&["lint", "-q", "-v"]).expect(2);
}

#[test]
fn colour_is_asked_for() {
    let sandbox = sandbox();
    let escape = '\u{1b}';
    assert!(!sandbox.run(&["lint"]).stderr.contains(escape));
    assert!(
        sandbox
            .run(&["lint", "--color", "always"])
            .stderr
            .contains(escape)
    );
    let mut command = sandbox.command(&["lint"]);
    command.env("CARGO_TERM_COLOR", "always");
    assert!(Run::of(command).stderr.contains(escape));
    let mut command = sandbox.command(&["lint", "--color", "never"]);
    command.env("CARGO_TERM_COLOR", "always");
    assert!(!Run::of(command).stderr.contains(escape));
}

#[test]
fn help_and_version_go_to_stdout() {
    let sandbox = sandbox();
    let help = sandbox.run(&["--help"]).expect(0);
    assert!(help.stdout.contains("dev-check"), "{}", help.stdout);
    assert_eq!(help.stderr, "");
    let version = sandbox.run(&["--version"]).expect(0);
    assert!(
        version.stdout.contains(env!("CARGO_PKG_VERSION")),
        "{}",
        version.stdout
    );
    sandbox.run(&[]).expect(2);
}
