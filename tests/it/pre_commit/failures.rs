//! What a committer is told: nothing where all is well, else what failed, and how to go on.

use crate::pre_commit::Repo;
use crate::support::Run;

const OWN: &str =
    "[checks.own]\ncommand = [\"./own.sh\"]\ninputs = [\"a\", \"b\"]\nfindings = \"gcc\"\n";

/// Fails for each line of `a` and `b` that says `bad`.
fn repo(more: &str) -> Repo {
    let repo = Repo::with(&[("b", "fine\n")]);
    repo.sandbox.write("dagcache.toml", format!("{OWN}{more}"));
    repo.sandbox.script(
        "own.sh",
        "code=0\nfor f in a b; do n=0; while read -r word; do n=$((n + 1))\n\
         case $word in bad*) echo \"$f:$n: error: $word\"; code=1;;\n\
         odd*) echo \"$f:$n: warning: $word\";; esac; done <$f; done; exit $code",
    );
    repo.sandbox.write("a", "fine\n");
    repo.git(&["add", "--all"]).expect(0);
    repo.sandbox.run(&["pre-commit", "install"]).expect(2);
    repo.sandbox.remove(".git/hooks/pre-commit");
    repo.sandbox.run(&["pre-commit", "install"]).expect(0);
    repo.git(&["commit", "-qm", "fine"]).expect(0);
    repo
}

fn commit(repo: &Repo, content: &str) -> Run {
    repo.sandbox.write("a", content);
    repo.git(&["commit", "-qam", "change"])
}

#[test]
fn it_is_silent_where_all_is_well() {
    let repo = repo("");
    let run = commit(&repo, "fine too\n").expect(0);
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""));
    let run = repo
        .git(&["commit", "-q", "--allow-empty", "-m", "Fresh"])
        .expect(0);
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""));
    let run = repo.sandbox.run(&["pre-commit", "run", "-v"]).expect(0);
    assert!(run.stderr.contains("Fresh own"), "{}", run.stderr);
}

#[test]
fn a_failure_stops_the_commit_and_says_what_and_how_to_go_on() {
    let repo = repo("");
    let before = repo.git(&["rev-parse", "HEAD"]).stdout;
    for _ in 0..2 {
        let run = commit(&repo, "fine\nbad1\n").expect(1);
        assert_eq!(
            run.stderr,
            "      Failed own: 1 error\n\
             a:2: error: bad1\n\
             error: 1 check blocked the commit\n\
             help: prefix the command with `DAGCACHE_SKIP=own` to skip this check, \
             or add `--no-verify` to skip all\n"
        );
    }
    assert_eq!(repo.git(&["rev-parse", "HEAD"]).stdout, before);
    let mut skipped = repo.git_command(&repo.sandbox.project(), &["commit", "-qam", "skip"]);
    skipped.env("DAGCACHE_SKIP", "own,not-here");
    Run::of(skipped).expect(0);
}

#[test]
fn what_stops_a_commit_is_not_hidden_among_warnings() {
    let repo = repo("");
    let run = commit(&repo, "odd1\nbad1\nodd2\n").expect(1);
    let said = "a:2: error: bad1\n… and 2 warnings (`cargo dagcache pre-commit -v` shows all)\n";
    assert!(run.stderr.contains(said), "{}", run.stderr);
    repo.git(&["add", "--all"]).expect(0);
    let run = repo.sandbox.run(&["pre-commit", "-v"]).expect(1);
    assert!(run.stderr.contains("a:3: warning: odd2"), "{}", run.stderr);
}

#[test]
fn what_cannot_run_stops_the_commit_with_its_reason() {
    let repo = repo("");
    repo.sandbox.write(
        "dagcache.toml",
        format!("{OWN}[checks.gone]\ncommand = [\"no-such\"]\n"),
    );
    let run = commit(&repo, "fine\nmore\n").expect(1);
    assert!(run.stderr.contains("Error gone: "), "{}", run.stderr);
    repo.sandbox.write("dagcache.toml", "[checks.own\n");
    let run = commit(&repo, "fine\n").expect(1);
    assert!(run.stderr.contains("dagcache.toml:1"), "{}", run.stderr);
}

#[test]
fn what_failed_before_is_told_from_what_is_new() {
    let repo = repo("");
    repo.sandbox.write("a", "fine\nbad1\n");
    repo.sandbox.run(&["dev-check"]).expect(1);
    repo.git(&["commit", "-qam", "broken", "--no-verify"])
        .expect(0);
    // It has moved, but is the same.
    let run = commit(&repo, "fine\nfine\nbad1\n").expect(1);
    assert!(
        run.stderr.contains("Failed own: 1 error (already failing)"),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("blocked the commit"), "{}", run.stderr);
    let json = repo.sandbox.json(&["pre-commit"]).expect(1);
    let known = json
        .lines
        .iter()
        .find(|line| line["reason"] == "already-failing");
    assert_eq!(known.expect("a line")["ids"][0], "own");
    let run = commit(&repo, "bad1\nbad2\n").expect(1);
    assert!(
        run.stderr.contains("Failed own: 2 errors\n"),
        "{}",
        run.stderr
    );
    // The same once more is new, too.
    let run = commit(&repo, "bad1\nbad1\n").expect(1);
    assert!(
        run.stderr.contains("Failed own: 2 errors\n"),
        "{}",
        run.stderr
    );
}

#[test]
fn what_failed_before_stops_nothing_if_the_configuration_says_so() {
    let repo = repo("[hook]\nalready-failing = \"warn\"\n");
    repo.sandbox.write("a", "bad1\n");
    repo.sandbox.run(&["dev-check"]).expect(1);
    repo.git(&["commit", "-qam", "broken", "--no-verify"])
        .expect(0);
    let run = commit(&repo, "fine\nbad1\n").expect(0);
    assert_eq!(
        run.stderr,
        "      Failed own: 1 error (already failing)\na:2: error: bad1\n"
    );
    let run = commit(&repo, "bad1\nbad2\n").expect(1);
    assert!(
        run.stderr.contains("1 check blocked the commit"),
        "{}",
        run.stderr
    );
    repo.sandbox.write(
        "dagcache.toml",
        format!("{OWN}[hook]\nalready-failing = \"no\"\n"),
    );
    let run = repo.sandbox.run(&["config", "show"]).expect(2);
    assert!(run.stderr.contains("block, warn"), "{}", run.stderr);
}

#[test]
fn what_several_checks_found_alike_is_told_once() {
    let repo = repo("");
    let more = OWN.replace("checks.own", "checks.other");
    let third = "[checks.third]\ncommand = [\"false\"]\n";
    repo.sandbox
        .write("dagcache.toml", format!("{OWN}{more}{third}"));
    let run = commit(&repo, "bad1\n").expect(1);
    let told = "      Failed other: 1 error\n      Failed own: 1 error\na:1: error: bad1\n      Failed third\n";
    assert!(run.stderr.starts_with(told), "{}", run.stderr);
    let help = "DAGCACHE_SKIP=other,own,third` to skip these checks";
    assert!(run.stderr.contains(help), "{}", run.stderr);
}

/// A check that says nothing but that it failed may have failed of something else.
#[test]
fn a_failure_without_findings_is_old_only_for_the_same_content() {
    let repo = repo("");
    let mute = "[hook]\nalready-failing = \"warn\"\n[checks.mute]\ncommand = [\"./mute.sh\"]\ninputs = [\"a\"]\n";
    repo.sandbox.write("dagcache.toml", format!("{OWN}{mute}"));
    repo.sandbox
        .script("mute.sh", "read -r first <a; [ \"$first\" = fine ]");
    repo.sandbox.write("a", "one\n");
    repo.sandbox.run(&["dev-check"]).expect(1);
    repo.git(&["add", "--all"]).expect(0);
    repo.git(&["commit", "-qm", "broken", "--no-verify"])
        .expect(0);
    repo.sandbox.write("b", "fine\nfine\n");
    let run = repo.git(&["commit", "-qam", "elsewhere"]).expect(0);
    assert!(
        run.stderr.contains("Failed mute (already failing)"),
        "{}",
        run.stderr
    );
    let run = commit(&repo, "two\n").expect(1);
    assert!(run.stderr.contains("Failed mute\n"), "{}", run.stderr);
}

/// An output that git tracks is compared with what is staged, not with what is on disk, and never written.
#[test]
fn outputs_are_compared_with_what_is_staged() {
    let repo = Repo::with(&[("a", "1\n")]);
    repo.sandbox.write(
        "dagcache.toml",
        "[checks.make]\ncommand = [\"./make.sh\"]\ninputs = [\"a\"]\noutputs = [\"made\", \"new\"]\ntools = [\"cp\"]\n",
    );
    repo.sandbox.script("make.sh", "cp a made; cp a new");
    repo.sandbox.write("made", "1\n");
    repo.git(&["add", "--all"]).expect(0);
    repo.git(&["commit", "-qm", "as made"]).expect(0);
    repo.hook();
    assert!(!repo.sandbox.path("new").exists());
    repo.sandbox.write("a", "2\n");
    repo.git(&["add", "a"]).expect(0);
    repo.sandbox.write("made", "2\n");
    let run = repo.sandbox.run(&["pre-commit"]).expect(1);
    assert!(
        run.stderr
            .contains("made: error: the committed file differs"),
        "{}",
        run.stderr
    );
    repo.git(&["add", "made"]).expect(0);
    repo.sandbox.write("made", "3\n");
    repo.sandbox.run(&["pre-commit"]).expect(0);
    assert_eq!(repo.sandbox.read("made"), "3\n");
}

/// A tool that git is told of in the hook's environment would work on the repository itself.
#[test]
fn what_git_tells_its_hook_is_kept_from_others() {
    let hash = "0".repeat(64);
    let lock = format!("ruff==0.1.0 --hash=sha256:{hash}\n");
    let repo = Repo::with(&[("requirements.txt", &lock), ("a.py", "")]);
    repo.sandbox
        .program("python3", "#!/bin/sh\nenv >>\"$0.env\"\nexit 1\n");
    repo.sandbox
        .write("dagcache.toml", "[checks.env]\ncommand = [\"env\"]\n");
    repo.git(&["add", "--all"]).expect(0);
    let index = repo.sandbox.path(".git/index");
    let mut command = repo
        .sandbox
        .command(&["pre-commit", "--message-format", "json"]);
    command
        .env("GIT_INDEX_FILE", &index)
        .env("GIT_DIR", repo.sandbox.path(".git"))
        .env("GIT_PREFIX", "");
    let run = Run::of(command);
    let told = repo.sandbox.outer().join("bin/python3.env");
    let told = std::fs::read_to_string(told).unwrap_or_default();
    assert!(
        told.contains("PATH="),
        "python3 was not asked: {}",
        run.stderr
    );
    assert!(
        !told.contains("GIT_DIR") && !told.contains("GIT_INDEX"),
        "{told}"
    );
    assert!(!run.stdout.contains("GIT_DIR"), "{}", run.stdout);
}
