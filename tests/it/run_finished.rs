//! Every run that begins says how it ended, also one that cannot go on.

use crate::pre_commit::Repo;
use crate::support::{Json, Run, Sandbox, open_gate};

const HOOK: [&str; 3] = ["pre-commit", "--message-format", "json"];

fn expect_error(json: &Json, code: i32, said: &str) {
    assert_eq!(json.run.code, Some(code), "{}", json.run.stderr);
    assert_eq!(json.finished()["verdict"], "error");
    assert!(json.run.stderr.contains(said), "{}", json.run.stderr);
}

#[test]
fn after_a_broken_configuration_was_staged_meanwhile() {
    let repo = Repo::waiting("true");
    let hook = repo.sandbox.start(&HOOK);
    let gate = repo.sandbox.gate();
    repo.sandbox.write("dagcache.toml", "[checks\n");
    repo.git(&["add", "--all"]).expect(0);
    open_gate(&gate);
    expect_error(&Json::of(Run::end_of(hook)), 2, "dagcache.toml");
}

#[test]
fn while_something_is_staged_again_and_again() {
    let repo = Repo::waiting("true");
    let hook = repo.sandbox.start(&HOOK);
    for round in 0..3 {
        let gate = repo.sandbox.gate();
        repo.sandbox.write("a", format!("round {round}\n"));
        repo.git(&["add", "a"]).expect(0);
        open_gate(&gate);
    }
    let json = Json::of(Run::end_of(hook));
    expect_error(&json, 3, "staged files changed while they were checked");
}

#[test]
fn after_the_configuration_broke_while_a_check_waited_for_its_rerun() {
    let sandbox = Sandbox::with(&[
        (
            "dagcache.toml",
            "[checks.a-first]\ncommand = [\"./wait.sh\"]\ninputs = []\ntools = [\"mkfifo\"]\n\
             [checks.b-second]\ncommand = [\"./check.sh\"]\ninputs = [\"src/**\"]\n",
        ),
        ("src/a", "old\n"),
    ]);
    sandbox.script("wait.sh", "mkfifo gate; read line < gate");
    sandbox.script("check.sh", "read content < src/a");
    let child = sandbox.start(&["lint", "-j", "1", "--message-format", "json"]);
    let gate = sandbox.gate();
    sandbox.write("src/a", "new\n");
    sandbox.write("dagcache.toml", "[checks\n");
    open_gate(&gate);
    let json = Json::of(Run::end_of(child));
    expect_error(&json, 2, "dagcache.toml");
    assert_eq!(json.check("a-first")["verdict"], "passed");
    assert_eq!(json.check("b-second")["verdict"], "skipped");
}
