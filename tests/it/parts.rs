//! Checks that work file by file: only what changed is run, PATHs choose among the files.

use crate::support::Sandbox;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::git_repository();
    for number in 0..50 {
        sandbox.write(
            &format!("d{}/f{number}.yaml", number % 5),
            format!("n: {number}\n"),
        );
    }
    sandbox.commit("files");
    sandbox
}

fn counts(line: &serde_json::Value) -> (u64, u64) {
    let number = |name: &str| line["parts"][name].as_u64().expect("number");
    (number("hit"), number("ran"))
}

#[test]
fn one_edit_of_fifty_files_runs_one_part() {
    let sandbox = sandbox();
    let json = sandbox.json(&["dev-check"]).expect(0);
    assert_eq!(counts(json.check("yaml:syntax")), (0, 50));
    sandbox.write("d3/f13.yaml", "n: [1\n");
    let json = sandbox.json(&["dev-check"]).expect(1);
    assert_eq!(
        json.ran(),
        [
            "security:secrets input-changed d3/f13.yaml",
            "yaml:syntax input-changed d3/f13.yaml",
        ]
    );
    for check in json.checks() {
        assert_eq!(counts(check), (49, 1));
    }
    assert_eq!(
        json.check("yaml:syntax")["findings"][0]["path"],
        "d3/f13.yaml"
    );
    let json = sandbox.json(&["dev-check"]).expect(1);
    json.expect_fresh();
    assert_eq!(counts(json.check("yaml:syntax")), (50, 0));
}

#[test]
fn a_file_of_known_content_at_another_path_is_another_part() {
    let sandbox = sandbox();
    sandbox.json(&["lint"]).expect(0);
    sandbox.write("d3/copy.yaml", "n: 13\n");
    let json = sandbox.json(&["lint"]).expect(0);
    assert_eq!(counts(json.check("yaml:syntax")), (50, 1));
}

#[test]
fn paths_choose_files_and_what_they_give_is_reused() {
    let sandbox = sandbox();
    let json = sandbox.json(&["lint", "d1", "d2/f2.yaml"]).expect(0);
    assert_eq!(counts(json.check("yaml:syntax")), (0, 11));
    let json = sandbox.json(&["lint"]).expect(0);
    assert_eq!(counts(json.check("yaml:syntax")), (11, 39));
    sandbox
        .json(&["lint", "d1/f1.yaml"])
        .expect(0)
        .expect_fresh();
}

#[test]
fn a_red_file_that_was_not_asked_for_is_not_shown() {
    let sandbox = sandbox();
    sandbox.write("d3/f13.yaml", "n: [1\n");
    sandbox.json(&["lint"]).expect(1);
    sandbox.json(&["lint", "d1"]).expect(0);
    sandbox.json(&["lint", "-C", "d3", "f13.yaml"]).expect(1);
}

#[test]
fn a_path_runs_the_whole_checks_that_see_it_under_their_usual_key() {
    let sandbox = sandbox();
    sandbox.write(
        "dagcache.toml",
        "[checks.one]\ncommand = [\"./ok.sh\"]\ninputs = [\"d1/**\"]\n[checks.two]\ncommand = [\"./ok.sh\"]\ninputs = [\"d2/**\"]\n",
    );
    sandbox.script("ok.sh", "");
    let narrow = sandbox.json(&["lint", "d1"]).expect(0);
    assert_eq!(narrow.ran(), ["one new", "yaml:syntax new"]);
    let all = sandbox.json(&["lint"]).expect(0);
    assert_eq!(all.check("one")["cache"], "hit");
    assert_eq!(all.check("one")["key"], narrow.check("one")["key"]);
}

#[test]
fn a_run_narrowed_to_a_file_is_no_measure_for_later_reasons() {
    let sandbox = Sandbox::with(&[
        ("a.yaml", "a: 1\n"),
        ("b.yaml", "b: 1\n"),
        ("c.yaml", "c: 1\n"),
    ]);
    sandbox.json(&["lint"]).expect(0);
    sandbox.json(&["lint", "a.yaml"]).expect(0);
    sandbox.write("c.yaml", "c: 2\n");
    let run = sandbox.json(&["lint"]).expect(0);
    assert_eq!(run.ran(), ["yaml:syntax input-changed c.yaml"]);
}

#[test]
fn a_link_shows_no_part_the_file_of_another() {
    let sandbox = Sandbox::with(&[
        (
            "dagcache.toml",
            "[checks.own]\ncommand = [\"./check.sh\"]\ninputs = [\"shared/*\"]\nfiles = [\"src/*\"]\nper-file = true\nfindings = \"gcc\"\n",
        ),
        ("src/a", "one\n"),
        ("src/b", "two\n"),
    ]);
    sandbox.script(
        "check.sh",
        "for file; do line=unseen; read line < shared/link; echo \"$file:1: warning: $line\"; done 2> /dev/null",
    );
    std::fs::create_dir(sandbox.path("shared")).expect("folder");
    std::os::unix::fs::symlink("../src/a", sandbox.path("shared/link")).expect("link");
    let findings = |sandbox: &Sandbox| {
        let json = sandbox.json(&["lint", "--only", "own"]).expect(0);
        json.check("own")["findings"].clone()
    };
    let both = findings(&sandbox);
    assert_eq!(both[0]["message"], "one");
    assert_eq!(both[1]["message"], "unseen");
    sandbox.write("src/a", "other\n");
    assert_eq!(findings(&sandbox)[1], both[1]);
}

#[test]
fn a_failure_without_output_names_its_file() {
    let config = "[checks.own]\ncommand = [\"test\", \"-s\"]\nfiles = [\"src/*\"]\nper-file = true\ninputs = []\n";
    let sandbox = Sandbox::with(&[("dagcache.toml", config), ("src/a", ""), ("src/b", "b")]);
    for _ in ["first", "fresh"] {
        let json = sandbox.json(&["lint", "--only", "own"]).expect(1);
        let findings = json.check("own")["findings"].clone();
        assert_eq!(findings[0]["path"], "src/a", "{findings}");
        assert_eq!(findings.as_array().map(Vec::len), Some(1), "{findings}");
    }
    let run = sandbox.run(&["lint", "--only", "own"]).expect(1);
    let line = "src/a: error: failed without output, exit code 1";
    assert!(run.stderr.contains(line), "{}", run.stderr);
}
