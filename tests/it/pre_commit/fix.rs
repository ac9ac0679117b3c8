//! `--fix`: what tools can mend is staged, and comes to the work tree where nothing else is in the way.

use crate::pre_commit::Repo;

const BAD: &str = "fn first( ) {}\n\n\n\n// some\n// lines\n// between\n\nfn last() {}\n";
const GOOD: &str = "fn first() {}\n\n// some\n// lines\n// between\n\nfn last() {}\n";

/// A Rust project of which only the format is checked, with the hook that mends it.
fn repo() -> Repo {
    let repo = Repo::with(&[(
        "Cargo.toml",
        "[package]\nname = \"p\"\nedition = \"2021\"\n",
    )]);
    repo.sandbox.write(
        "dagcache.toml",
        "[checks.\"rust:fmt\"]\ntags = [\"fmt\"]\n[commands]\npre-commit = [\"fmt\"]\nlint = [\"fmt\"]\n",
    );
    repo.sandbox.write("src/lib.rs", GOOD);
    repo.sandbox.write("other", "1\n");
    repo.git(&["add", "--all"]).expect(0);
    repo.sandbox.remove(".git/hooks/pre-commit");
    repo.git(&["commit", "-qm", "good"]).expect(0);
    let args = ["pre-commit", "install", "--fix"];
    repo.sandbox.run(&args).expect(0);
    repo
}

fn status(repo: &Repo) -> String {
    repo.git(&["status", "--porcelain"]).expect(0).stdout
}

fn committed(repo: &Repo) -> String {
    repo.git(&["show", "HEAD:src/lib.rs"]).expect(0).stdout
}

#[test]
fn every_way_to_commit_leaves_index_and_work_tree_mended() {
    let repo = repo();
    let all: [&[&str]; 4] = [
        &["commit", "-qm", "staged"],
        &["commit", "-qam", "all"],
        &["commit", "-qm", "a path", "src/lib.rs"],
        &[
            "commit",
            "-q",
            "--include",
            "-m",
            "with a path",
            "src/lib.rs",
        ],
    ];
    for (number, args) in all.into_iter().enumerate() {
        let name = format!("\nfn number{number}(  ) {{}}\n");
        repo.sandbox.write("src/lib.rs", format!("{BAD}{name}"));
        if number == 0 {
            repo.git(&["add", "--all"]).expect(0);
        }
        let run = repo.git(args).expect(0);
        assert_eq!(run.stderr, "       Fixed 1 file in rust:fmt\n", "{args:?}");
        let good = format!("{GOOD}\nfn number{number}() {{}}\n");
        assert_eq!(committed(&repo), good, "{args:?}");
        assert_eq!(repo.sandbox.read("src/lib.rs"), good, "{args:?}");
        assert_eq!(status(&repo), "", "{args:?}");
    }
}

#[test]
fn what_else_is_staged_stays_out_of_the_commit_of_a_path() {
    let repo = repo();
    repo.sandbox.write("other", "2\n");
    repo.git(&["add", "other"]).expect(0);
    repo.sandbox
        .write("src/lib.rs", BAD.replace("last", "final_one"));
    repo.git(&["commit", "-qm", "a path", "src/lib.rs"])
        .expect(0);
    assert_eq!(committed(&repo), GOOD.replace("last", "final_one"));
    assert_eq!(status(&repo), "M  other\n");
}

#[test]
fn what_the_commit_does_not_change_is_not_mended() {
    let repo = repo();
    repo.sandbox.write("src/lib.rs", BAD);
    repo.git(&["commit", "-qam", "bad", "--no-verify"])
        .expect(0);
    let more = format!("{BAD}// more\n");
    repo.sandbox.write("src/lib.rs", &more);
    repo.git(&["add", "--all"]).expect(0);
    repo.sandbox.write("other", "2\n");
    // In the commit of this path the other file is as it was.
    let run = repo.git(&["commit", "-qm", "a path", "other"]).expect(1);
    assert!(!run.stderr.contains("Fixed"), "{}", run.stderr);
    assert_eq!(status(&repo), " M other\nM  src/lib.rs\n");
    assert_eq!(repo.sandbox.read("src/lib.rs"), more);
    repo.git(&["commit", "-qam", "both"]).expect(0);
    assert_eq!(committed(&repo), format!("{GOOD}// more\n"));
}

#[test]
fn edits_that_are_not_staged_are_merged_with() {
    let repo = repo();
    repo.sandbox.write("src/lib.rs", BAD);
    repo.git(&["add", "--all"]).expect(0);
    let edited = BAD.replace("fn last() {}", "fn last() { edited( ) }");
    repo.sandbox.write("src/lib.rs", edited);
    repo.git(&["commit", "-q", "--allow-empty", "-m", "part"])
        .expect(0);
    assert_eq!(committed(&repo), GOOD);
    let both = GOOD.replace("fn last() {}", "fn last() { edited( ) }");
    assert_eq!(repo.sandbox.read("src/lib.rs"), both);
    assert_eq!(status(&repo), " M src/lib.rs\n");
}

#[test]
fn edits_in_the_way_are_left_alone_and_told() {
    let repo = repo();
    repo.sandbox.write("src/lib.rs", BAD);
    repo.git(&["add", "--all"]).expect(0);
    let edited = BAD.replace("fn first( ) {}", "fn first( ) { edited( ) }");
    repo.sandbox.write("src/lib.rs", &edited);
    let run = repo
        .git(&["commit", "-q", "--allow-empty", "-m", "part"])
        .expect(0);
    let said = "        Left src/lib.rs on disk unchanged: conflicts with unstaged edits\n";
    assert!(run.stderr.ends_with(said), "{}", run.stderr);
    assert_eq!(committed(&repo), GOOD);
    assert_eq!(repo.sandbox.read("src/lib.rs"), edited);
    // One that is gone from the disk does not come back.
    repo.sandbox
        .write("src/lib.rs", BAD.replace("last", "other"));
    repo.git(&["add", "--all"]).expect(0);
    repo.sandbox.remove("src/lib.rs");
    repo.git(&["commit", "-qm", "gone"]).expect(0);
    assert_eq!(committed(&repo), GOOD.replace("last", "other"));
    assert_eq!(status(&repo), " D src/lib.rs\n");
}

#[test]
fn what_cannot_be_mended_stops_the_commit_and_stays() {
    let repo = repo();
    let bad = "fn first( {}\n";
    repo.sandbox.write("src/lib.rs", bad);
    let run = repo.git(&["commit", "-qam", "no Rust"]).expect(1);
    assert!(run.stderr.contains("Failed rust:fmt"), "{}", run.stderr);
    assert_eq!(repo.sandbox.read("src/lib.rs"), bad);
    assert_eq!(status(&repo), " M src/lib.rs\n");
}

#[test]
fn what_git_converts_is_left_alone_and_told() {
    let repo = repo();
    repo.sandbox.write(".gitattributes", "*.rs eol=crlf\n");
    repo.sandbox.write("src/lib.rs", BAD.replace('\n', "\r\n"));
    repo.git(&["add", "--all"]).expect(0);
    let run = repo.git(&["commit", "-qm", "converted"]).expect(1);
    assert!(
        run.stderr
            .contains("Left src/lib.rs unchanged: git converts it"),
        "{}",
        run.stderr
    );
    assert_eq!(repo.sandbox.read("src/lib.rs"), BAD.replace('\n', "\r\n"));
}

#[test]
fn what_is_not_checked_out_is_left_alone() {
    let repo = repo();
    repo.sandbox.write("src/lib.rs", BAD);
    repo.git(&["add", "--all"]).expect(0);
    repo.git(&["update-index", "--skip-worktree", "src/lib.rs"])
        .expect(0);
    repo.sandbox.remove("src/lib.rs");
    repo.git(&["commit", "-q", "-m", "sparse"]).expect(1);
    assert_eq!(status(&repo), "M  src/lib.rs\n");
}

#[test]
fn lint_mends_the_work_tree_and_stages_nothing() {
    let repo = repo();
    repo.sandbox.write("src/lib.rs", BAD.replace("last", "new"));
    let run = repo.sandbox.run(&["lint", "--fix"]).expect(0);
    assert!(
        run.stderr.contains("Fixed 1 file in rust:fmt"),
        "{}",
        run.stderr
    );
    assert_eq!(repo.sandbox.read("src/lib.rs"), GOOD.replace("last", "new"));
    assert_eq!(status(&repo), " M src/lib.rs\n");
    repo.sandbox.run(&["lint", "--fix", "--dry-run"]).expect(2);
}
