//! What is said when something goes wrong: once, short, and with a way out.

use crate::pre_commit::Repo;
use crate::support::{Run, Sandbox, open_gate};

fn own(command: &str, inputs: &str) -> String {
    format!("[checks.own]\ncommand = {command}\ninputs = {inputs}\n")
}

#[test]
fn an_input_with_brackets_gets_a_line_that_names_it() {
    let config = own("[\"cat\", \"pages/[id].js\"]", "[\"pages/[id].js\"]");
    let sandbox = Sandbox::with(&[("dagcache.toml", &config), ("pages/[id].js", "1\n")]);
    let run = sandbox.run(&["lint", "--only", "own"]);
    if run.code == Some(0) {
        return; // A literal path counts by itself.
    }
    let line = "add \"pages/[[]id[]].js\" to `inputs`";
    assert!(run.stderr.contains(line), "{}", run.stderr);
    let config = own("[\"cat\", \"pages/[id].js\"]", "[\"pages/[[]id[]].js\"]");
    sandbox.write("dagcache.toml", config);
    sandbox.run(&["lint", "--only", "own"]).expect(0);
}

#[test]
fn an_input_that_is_a_link_to_what_is_none_names_its_target() {
    let config = own("[\"cat\", \"cfg\"]", "[\"cfg\"]");
    let sandbox = Sandbox::with(&[("dagcache.toml", &config), ("shared/cfg.txt", "1\n")]);
    std::os::unix::fs::symlink("shared/cfg.txt", sandbox.path("cfg")).expect("link");
    let run = sandbox.run(&["lint", "--only", "own"]);
    let line = "add \"shared/cfg.txt\" to `inputs`";
    assert!(
        run.code == Some(0) || run.stderr.contains(line),
        "{}",
        run.stderr
    );
}

/// Thirty checks that fail, for the first time.
fn thirty() -> Sandbox {
    let config: String = (0..30)
        .map(|number| format!("[checks.c{number}]\ncommand = [\"false\"]\ninputs = []\n"))
        .collect();
    Sandbox::with(&[("dagcache.toml", &config)])
}

#[test]
fn many_first_runs_are_folded_and_many_failures_are_repeated_together() {
    let sandbox = thirty();
    let run = sandbox.run(&["lint"]).expect(1);
    let count = |word: &str| run.stderr.matches(word).count();
    assert_eq!(count(" Dirty "), 21, "{}", run.stderr);
    assert!(run.stderr.contains("-v names all"), "{}", run.stderr);
    let repeat = "Repeat with cargo dagcache lint\n";
    assert!(run.stderr.contains(repeat), "{}", run.stderr);

    let sandbox = thirty();
    let run = sandbox.run(&["lint", "-v"]).expect(1);
    assert_eq!(run.stderr.matches(" Dirty ").count(), 30, "{}", run.stderr);
}

#[test]
fn a_hook_says_that_a_configuration_is_not_staged() {
    let repo = Repo::with(&[("a", "1\n")]);
    let config = repo.sandbox.read("dagcache.toml");
    let run = repo.sandbox.run(&["pre-commit"]).expect(0);
    assert!(!run.stderr.contains("staged"), "{}", run.stderr);
    repo.sandbox
        .write("dagcache.toml", format!("{config}# edited\n"));
    let run = repo.sandbox.run(&["pre-commit"]).expect(0);
    let said = "dagcache.toml has edits that are not staged";
    assert!(run.stderr.contains(said), "{}", run.stderr);
    repo.git(&["rm", "-q", "--cached", "dagcache.toml"])
        .expect(0);
    let run = repo.sandbox.run(&["pre-commit"]).expect(0);
    let said = "dagcache.toml is not staged";
    assert!(run.stderr.contains(said), "{}", run.stderr);
}

/// Under `-v`, too: what is staged meanwhile is checked instead.
#[test]
fn a_hook_says_a_failure_once_though_something_was_staged_meanwhile() {
    let repo = Repo::waiting("exit 1");
    let hook = repo.sandbox.start(&["pre-commit", "-v"]);
    for round in 0..2 {
        let gate = repo.sandbox.gate();
        if round == 0 {
            repo.sandbox.write("a", "2\n");
            repo.git(&["add", "a"]).expect(0);
        }
        open_gate(&gate);
    }
    let run = Run::end_of(hook).expect(1);
    assert_eq!(
        run.stderr.matches("Failed see").count(),
        1,
        "{}",
        run.stderr
    );
    let closing = "1 check failed of ";
    assert!(run.stderr.contains(closing), "{}", run.stderr);
}

#[test]
fn warnings_of_a_tool_that_passes_are_printed_each_time() {
    let config = "[checks.own]\ncommand = [\"./check.sh\"]\n";
    let sandbox = Sandbox::with(&[("dagcache.toml", config)]);
    sandbox.script(
        "check.sh",
        "echo 'reading' >&2; echo 'warning: old option' >&2; echo done",
    );
    for _ in ["first", "fresh"] {
        let run = sandbox.run(&["lint", "--only", "own"]).expect(0);
        assert!(
            run.stderr.contains("\nwarning: old option\n")
                || run.stderr.starts_with("warning: old option\n"),
            "{}",
            run.stderr
        );
        assert!(!run.stderr.contains("reading"), "{}", run.stderr);
    }
    let run = sandbox.run(&["lint", "--only", "own", "-q"]).expect(0);
    assert_eq!(run.stderr, "");
}
