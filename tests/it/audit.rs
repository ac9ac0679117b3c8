//! `--audit`: stored results are made again and compared, and one that is wrong is not served again.

use crate::support::{Json, Sandbox};

fn sandbox(keys: &str, script: &str) -> Sandbox {
    let config = format!("[checks.own]\ncommand = [\"./check.sh\"]\n{keys}\n");
    let sandbox = Sandbox::with(&[("src/a", "one\n"), ("dagcache.toml", &config)]);
    sandbox.script("check.sh", script);
    sandbox
}

fn audited(sandbox: &Sandbox) -> Json {
    sandbox.json(&["lint", "--only", "own", "--audit", "100%"])
}

fn own(sandbox: &Sandbox) -> Json {
    sandbox.json(&["lint", "--only", "own"])
}

#[test]
fn results_that_hold_stay_hits() {
    let sandbox = sandbox(
        "outputs = [\"out\"]",
        "echo made > out; echo \"$$ differs\"",
    );
    own(&sandbox).expect(0);
    for _ in 0..2 {
        let json = audited(&sandbox).expect(0);
        json.expect_fresh();
    }
    let run = sandbox
        .run(&["lint", "--only", "own", "--audit", "100"])
        .expect(0);
    assert!(run.stderr.contains("Audited own"), "{}", run.stderr);
}

#[test]
fn a_wrong_verdict_is_told_and_not_served_again() {
    let sandbox = sandbox("", "echo now; exit 1");
    own(&sandbox).expect(1);
    sandbox.forge(
        "\"passed\":false,\"exit_code\":1,\"stdout\":\"now",
        "\"passed\":true,\"exit_code\":0,\"stdout\":\"then",
    );
    own(&sandbox).expect(0).expect_fresh();
    let json = audited(&sandbox).expect(1);
    let check = json.check("own");
    assert_eq!(check["verdict"], "failed");
    assert_eq!(check["cache"], "miss");
    assert_eq!(check["exit_code"], 1);
    let finding = check["findings"][0]["message"].as_str().expect("a finding");
    assert!(finding.contains("exit code 0, now 1"), "{finding}");
    let message = check["message"].as_str().expect("a message");
    assert!(message.contains("undeclared"), "{message}");
    assert!(
        message.contains("Line 1 of stdout was `then`, now it is `now`"),
        "{message}"
    );
    assert_eq!(sandbox.cached("v1/quarantine", "").len(), 2);
    // From now on it is run each time, until its key is another one.
    for _ in 0..2 {
        let json = own(&sandbox).expect(1);
        assert_eq!(json.check("own")["cache"], "miss");
    }
    sandbox.script("check.sh", "exit 0");
    own(&sandbox).expect(0);
    own(&sandbox).expect(0).expect_fresh();
}

#[test]
fn a_check_that_is_not_deterministic_is_called_so() {
    let keys = "findings = \"gcc\"\ntools = [\"mktemp\"]";
    let sandbox = sandbox(keys, "echo \"src/a:1: warning: $(mktemp -u XXXXXXXXXX)\"");
    own(&sandbox).expect(0);
    let json = audited(&sandbox).expect(1);
    let message = json.check("own")["message"].as_str().expect("a message");
    assert!(message.contains("not deterministic"), "{message}");
}

#[test]
fn outputs_are_compared() {
    let keys = "outputs = [\"out\"]\ntools = [\"mktemp\"]";
    let sandbox = sandbox(keys, "mktemp -u XXXXXXXXXX > out");
    own(&sandbox).expect(0);
    let json = audited(&sandbox).expect(1);
    let text = json.check("own")["findings"][0]["message"].to_string();
    assert!(text.contains("output out differs"), "{text}");
}

#[test]
fn parts_are_audited_and_forgotten_with_their_whole() {
    let keys = "files = [\"src/*\"]\nper-file = true";
    let sandbox = sandbox(keys, "exit 1");
    own(&sandbox).expect(1);
    sandbox.forge(
        "\"passed\":false,\"exit_code\":1",
        "\"passed\":true,\"exit_code\":0",
    );
    audited(&sandbox).expect(1);
    for _ in 0..2 {
        assert_eq!(own(&sandbox).expect(1).check("own")["parts"]["ran"], 1);
    }
}

#[test]
fn built_in_checks_are_audited_too() {
    let sandbox = Sandbox::with(&[("a.yaml", "a: 1\n")]);
    sandbox.json(&["lint"]).expect(0);
    let run = sandbox.run(&["lint", "--audit", "100"]).expect(0);
    assert!(run.stderr.contains("Audited yaml:syntax"), "{}", run.stderr);
}

#[test]
fn only_hits_of_a_real_run_are_audited() {
    let sandbox = sandbox("", "");
    let json = audited(&sandbox).expect(0);
    assert_eq!(json.check("own")["cache"], "miss");
    for args in [["--audit", "0"], ["--audit", "101"], ["--audit", "x"]] {
        let mut all = vec!["lint"];
        all.extend(args);
        sandbox.run(&all).expect(2);
    }
    sandbox
        .run(&["lint", "--audit", "5", "--cached-only"])
        .expect(2);
}

#[test]
fn a_rust_check_that_was_wrong_is_not_served_again_whatever_it_reads_next() {
    // What is left in the target folder makes the second run read more than the first.
    let build = "fn main() {
        let mark = std::path::Path::new(&std::env::var(\"CARGO_MANIFEST_DIR\").unwrap()).join(\"target/mark\");
        if mark.exists() { std::fs::read(\"more\").unwrap(); }
        std::fs::write(mark, \"\").unwrap();
    }";
    let sandbox = Sandbox::with(&[
        (".gitignore", "target\n"),
        (
            "Cargo.toml",
            "[package]\nname = \"a\"\nversion = \"0.1.0\"\nedition = \"2021\"\n",
        ),
        (
            "Cargo.lock",
            "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"0.1.0\"\n",
        ),
        ("src/lib.rs", ""),
        ("build.rs", build),
        ("more", "more\n"),
    ]);
    let lint = |extra: &[&str]| sandbox.json(&[&["lint", "--only", "rust:clippy"], extra].concat());
    lint(&[]).expect(0);
    sandbox.forge("\"exit_code\":0", "\"exit_code\":7");
    lint(&["--audit", "100"]).expect(1);
    for _ in 0..2 {
        let json = lint(&[]).expect(0);
        assert_eq!(json.ran().len(), 1, "{:?}", json.ran());
    }
}
