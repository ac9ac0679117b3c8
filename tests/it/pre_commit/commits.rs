//! All ways to make a commit, and all that an index can hold.

use std::os::unix::fs::symlink;

use crate::pre_commit::Repo;

#[test]
fn a_file_that_is_staged_in_part() {
    let repo = Repo::with(&[("a", "1\n"), ("b", "1\n")]);
    repo.sandbox.write("a", "2\n");
    repo.git(&["add", "a"]).expect(0);
    repo.sandbox.write("a", "3\n");
    repo.sandbox.write("b", "not staged\n");
    repo.sandbox.write("untracked", "x\n");
    repo.commits_exactly(&["commit", "-qm", "part"]);
    assert_eq!(repo.sandbox.read("a"), "3\n");
    let status = repo.git(&["status", "--porcelain"]).expect(0).stdout;
    assert_eq!(status, " M a\n M b\n?? untracked\n");
}

#[test]
fn a_file_that_is_only_intended_to_be_added() {
    let repo = Repo::with(&[("a", "1\n")]);
    repo.sandbox.write("new", "x\n");
    repo.git(&["add", "--intent-to-add", "new"]).expect(0);
    repo.sandbox.write("a", "2\n");
    repo.git(&["add", "a"]).expect(0);
    let hook = repo.commits_exactly(&["commit", "-qm", "without it"]);
    let seen = hook.check("see")["stdout"].as_str().expect("output");
    assert!(!seen.contains("./new"), "{seen}");
}

#[test]
fn everything_that_changed_and_single_paths_and_a_commit_anew() {
    let repo = Repo::with(&[("a", "1\n"), ("b", "1\n"), ("d/c", "1\n")]);
    repo.sandbox.write("a", "2\n");
    repo.commits_exactly(&["commit", "-qam", "all"]);
    // What is staged besides a path is not in its commit.
    repo.sandbox.write("a", "3\n");
    repo.sandbox.write("b", "3\n");
    repo.git(&["add", "b"]).expect(0);
    repo.commits_exactly(&["commit", "-qm", "one path", "a"]);
    let status = repo.git(&["status", "--porcelain"]).expect(0).stdout;
    assert_eq!(status, "M  b\n");
    repo.commits_exactly(&["commit", "-q", "--amend", "--no-edit"]);
    repo.sandbox.write("d/c", "4\n");
    let project = repo.sandbox.project();
    repo.git_in(&project.join("d"), &["commit", "-qm", "from below", "c"])
        .expect(0);
    repo.saw_exactly(&project);
    repo.sandbox.write("a", "5\n");
    repo.commits_exactly(&["commit", "-q", "--include", "-m", "too", "a"]);
}

#[test]
fn the_first_commit_and_an_empty_one() {
    let repo = Repo::new();
    repo.watch(&repo.sandbox.path(".git/hooks"), "pre-commit");
    repo.commits_exactly(&["commit", "-qm", "first"]);
    let hook = repo.commits_exactly(&["commit", "-q", "--allow-empty", "-m", "empty"]);
    hook.expect_fresh();
    let bare = Repo::new();
    bare.sandbox.remove(".git/index");
    let json = bare.sandbox.json(&["pre-commit"]).expect(0);
    assert_eq!(json.finished()["misses"], 0);
}

#[test]
fn renames_removals_modes_links_and_binary_files() {
    let repo = Repo::with(&[
        ("a", "1\n"),
        ("b", "2\n"),
        ("gone", "3\n"),
        ("run", "echo\n"),
        ("was-file", "x"),
        ("dir/x", "x\n"),
    ]);
    repo.git(&["mv", "a", "moved"]).expect(0);
    repo.git(&["rm", "-q", "gone"]).expect(0);
    repo.sandbox.mode("run", 0o755);
    repo.sandbox.remove("was-file");
    symlink("b", repo.sandbox.path("was-file")).expect("link");
    symlink("../b", repo.sandbox.path("dir/link")).expect("link");
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    repo.sandbox.write("binary", bytes);
    repo.sandbox.write("empty", "");
    repo.sandbox.write("with space ü", "x\n");
    repo.git(&["add", "--all"]).expect(0);
    let hook = repo.commits_exactly(&["commit", "-qm", "many"]);
    let seen = hook.check("see")["stdout"].as_str().expect("output");
    for line in ["./was-file -> b\n", "./dir/link -> ../b\n", "./run* "] {
        assert!(seen.contains(line), "{seen}");
    }
    // A folder in the place of a file, and the other way round.
    repo.git(&["rm", "-rq", "--cached", "b", "dir"]).expect(0);
    repo.sandbox.remove("b");
    std::fs::remove_dir_all(repo.sandbox.path("dir")).expect("folder");
    repo.sandbox.write("b/inner", "x\n");
    repo.sandbox.write("dir", "x\n");
    repo.git(&["add", "--all"]).expect(0);
    repo.commits_exactly(&["commit", "-qm", "swapped"]);
}

/// A branch `other` that changes `a` differently.
fn two_branches() -> Repo {
    let repo = Repo::with(&[("a", "1\n"), ("b", "1\n")]);
    repo.git(&["checkout", "-qb", "other"]).expect(0);
    repo.sandbox.write("a", "theirs\n");
    repo.sandbox.write("c", "theirs\n");
    repo.git(&["add", "--all"]).expect(0);
    repo.commits_exactly(&["commit", "-qm", "theirs"]);
    repo.git(&["checkout", "-q", "main"]).expect(0);
    repo.sandbox.write("a", "ours\n");
    repo.commits_exactly(&["commit", "-qam", "ours"]);
    repo
}

#[test]
fn a_merge_with_a_conflict() {
    let repo = two_branches();
    repo.git(&["merge", "-q", "other"]).expect(1);
    let run = repo.sandbox.run(&["pre-commit"]).expect(3);
    assert!(run.stderr.contains("a is in conflict"), "{}", run.stderr);
    repo.sandbox.write("a", "both\n");
    repo.git(&["add", "a"]).expect(0);
    repo.sandbox.write("a", "both, and more\n");
    repo.commits_exactly(&["commit", "-q", "--no-edit"]);
    assert_eq!(repo.sandbox.read("a"), "both, and more\n");
}

#[test]
fn a_merge_that_makes_its_commit_itself() {
    let repo = Repo::with(&[("a", "1\n")]);
    repo.git(&["checkout", "-qb", "other"]).expect(0);
    repo.sandbox.write("c", "theirs\n");
    repo.git(&["add", "--all"]).expect(0);
    repo.commits_exactly(&["commit", "-qm", "theirs"]);
    repo.git(&["checkout", "-q", "main"]).expect(0);
    repo.sandbox.write("a", "2\n");
    repo.commits_exactly(&["commit", "-qam", "ours"]);
    repo.watch(&repo.sandbox.path(".git/hooks"), "pre-merge-commit");
    repo.commits_exactly(&["merge", "-q", "--no-edit", "other"]);
}

#[test]
fn a_rebase_and_a_cherry_pick() {
    let repo = two_branches();
    repo.git(&["rebase", "-q", "other"]).expect(1);
    repo.sandbox.write("a", "rebased\n");
    repo.git(&["add", "a"]).expect(0);
    repo.commits_exactly(&["commit", "-qm", "rebased"]);
    repo.git(&["rebase", "--continue"]).expect(0);
    repo.git(&["checkout", "-qb", "third", "HEAD~2"]).expect(0);
    repo.git(&["cherry-pick", "--no-commit", "other"]).expect(0);
    repo.sandbox.write("a", "on disk only\n");
    repo.commits_exactly(&["commit", "-qm", "picked"]);
    repo.git(&["checkout", "-q", "--force", "main"]).expect(0);
    repo.git(&["revert", "--no-commit", "HEAD"]).expect(0);
    repo.commits_exactly(&["commit", "-qm", "reverted"]);
}

#[test]
fn linked_work_trees() {
    let repo = Repo::with(&[("a", "1\n")]);
    let linked = repo.sandbox.outer().join("linked");
    let path = linked.to_str().expect("path");
    repo.git(&["worktree", "add", "-q", "-b", "side", path])
        .expect(0);
    std::fs::write(linked.join("a"), "2\n").expect("write");
    repo.git_in(&linked, &["add", "a"]).expect(0);
    std::fs::write(linked.join("a"), "3\n").expect("write");
    repo.git_in(&linked, &["commit", "-qm", "there"]).expect(0);
    let hook = repo.saw_exactly(&linked);
    assert_eq!(hook.check("see")["verdict"], "passed");
    // The first one still has its own index.
    repo.sandbox.write("a", "4\n");
    repo.commits_exactly(&["commit", "-qam", "here"]);
}

#[test]
fn submodules() {
    let repo = Repo::with(&[("a", "1\n")]);
    let other = repo.sandbox.outer().join("other");
    std::fs::create_dir(&other).expect("folder");
    repo.git_in(&other, &["init", "-q", "-b", "main"]).expect(0);
    std::fs::write(other.join("inner"), "1\n").expect("write");
    repo.git_in(&other, &["add", "."]).expect(0);
    repo.git_in(&other, &["commit", "-qm", "inner"]).expect(0);
    let url = other.to_str().expect("path");
    repo.git(&["submodule", "--quiet", "add", url, "lib/sub"])
        .expect(0);
    repo.sandbox.write("lib/sub-beside", "x\n");
    repo.git(&["add", "--all"]).expect(0);
    let hook = repo.commits_exactly(&["commit", "-qm", "with it"]);
    let seen = hook.check("see")["stdout"].as_str().expect("output");
    assert!(seen.contains("./lib/sub/inner "), "{seen}");
    // Another commit is checked out and edited, but the old one stays staged.
    let sub = repo.sandbox.path("lib/sub");
    std::fs::write(sub.join("inner"), "2\n").expect("write");
    repo.git_in(&sub, &["commit", "-qam", "newer"]).expect(0);
    std::fs::write(sub.join("inner"), "3\n").expect("write");
    repo.sandbox.write("a", "2\n");
    repo.commits_exactly(&["commit", "-qm", "the old one", "a"]);
    // A commit of it that nobody has fetched: it is left out, and said.
    let nowhere = "160000,0123456789012345678901234567890123456789,lib/sub";
    repo.git(&["update-index", "--cacheinfo", nowhere])
        .expect(0);
    let json = repo.sandbox.json(&["pre-commit"]).expect(0);
    let said = "skipping lib/sub: the commit of this submodule is missing";
    assert!(json.run.stderr.contains(said), "{}", json.run.stderr);
    let seen = json.check("see")["stdout"].as_str().expect("output");
    assert!(!seen.contains("./lib/sub/inner "), "{seen}");
    repo.git(&["reset", "-q"]).expect(0);
    // A commit inside of it: the repository is elsewhere.
    repo.watch(
        &repo.sandbox.path(".git/modules/lib/sub/hooks"),
        "pre-commit",
    );
    std::fs::copy(repo.sandbox.path("see.sh"), sub.join("see.sh")).expect("copy");
    std::fs::copy(
        repo.sandbox.path("dagcache.toml"),
        sub.join("dagcache.toml"),
    )
    .expect("copy");
    repo.git_in(&sub, &["add", "--all"]).expect(0);
    repo.git_in(&sub, &["commit", "-qm", "inside"]).expect(0);
    repo.saw_exactly(&sub);
}

#[test]
fn a_sparse_checkout() {
    let repo = Repo::with(&[("in/a", "1\n"), ("out/b", "1\n"), ("out/c/d", "1\n")]);
    for form in ["--no-sparse-index", "--sparse-index"] {
        repo.git(&["sparse-checkout", "init", "--cone", form])
            .expect(0);
        repo.git(&["sparse-checkout", "set", "in"]).expect(0);
        assert!(!repo.sandbox.path("out").exists());
        if form == "--sparse-index" {
            let listed = repo.git(&["ls-files", "--sparse"]).expect(0).stdout;
            assert!(listed.contains("out/\n"), "{listed}");
        }
        repo.sandbox.write("in/a", format!("{form}\n"));
        let hook = repo.commits_exactly(&["commit", "-qam", form]);
        let seen = hook.check("see")["stdout"].as_str().expect("output");
        assert!(seen.contains("./out/c/d "), "{seen}");
    }
}

#[test]
fn what_a_partial_clone_has_not_fetched_stops_only_the_checks_that_see_it() {
    let repo = Repo::with(&[("in/a.yaml", "a: 1\n"), ("out/broken.yaml", "a: [\n")]);
    repo.git(&["config", "uploadpack.allowFilter", "true"])
        .expect(0);
    let from = format!("file://{}", repo.sandbox.project().display());
    let clone = repo.sandbox.outer().join("partial");
    let to = clone.to_str().expect("path");
    let args = ["clone", "-q", "--filter=blob:none", "--sparse", &from, to];
    repo.git(&args).expect(0);
    repo.git_in(&clone, &["sparse-checkout", "set", "in"])
        .expect(0);
    std::fs::rename(repo.sandbox.path(".git"), repo.sandbox.path("gone")).expect("remote");
    std::fs::write(clone.join("in/a.yaml"), "a: 2\n").expect("edit");
    repo.git_in(&clone, &["add", "in"]).expect(0);

    let run = repo.json_in(&clone, &["pre-commit"]).expect(3);
    assert_eq!(run.check("yaml:syntax")["verdict"], "passed");
    let error = run.check("see")["message"].as_str().expect("message");
    let wanted = "`out/broken.yaml` is outside the sparse checkout and has not been fetched";
    assert!(error.starts_with(wanted), "{error}");

    repo.git_in(&clone, &["mv", "--sparse", "in/a.yaml", "in/b.yaml"])
        .expect(0);
    let only = ["pre-commit", "--only", "yaml:syntax"];
    let run = repo.json_in(&clone, &only).expect(0);
    assert!(run.run.stderr.is_empty(), "{}", run.run.stderr);
}

#[test]
fn indexes_of_every_form() {
    let repo = Repo::with(&[("a", "1\n"), ("d/b", "1\n")]);
    let forms: [&[&str]; 5] = [
        &["update-index", "--index-version", "4"],
        &["update-index", "--untracked-cache"],
        &["update-index", "--split-index"],
        &["update-index", "--assume-unchanged", "d/b"],
        &["update-index", "--skip-worktree", "d/b"],
    ];
    for (number, form) in forms.into_iter().enumerate() {
        repo.git(form).expect(0);
        repo.sandbox.write("a", format!("{number}\n"));
        repo.git(&["add", "a"]).expect(0);
        repo.sandbox.write("new", "noted\n");
        repo.git(&["add", "-N", "new"]).expect(0);
        repo.commits_exactly(&["commit", "-qm", "form"]);
        repo.git(&["rm", "-q", "--cached", "new"]).expect(0);
    }
}

#[test]
fn a_damaged_index_is_told_once() {
    let repo = Repo::with(&[("a", "1\n")]);
    repo.sandbox.write(".git/index", "nothing");
    let run = repo.sandbox.run(&["pre-commit"]).expect(3);
    let said = run
        .stderr
        .matches("cannot read staged or committed files")
        .count();
    assert_eq!(said, 1, "{}", run.stderr);
    assert!(run.stderr.contains(".git/index"), "{}", run.stderr);
    assert_eq!(repo.sandbox.read(".git/index"), "nothing");
}

#[test]
fn a_repository_of_sha256() {
    let repo = Repo::new();
    std::fs::remove_dir_all(repo.sandbox.path(".git")).expect("old");
    repo.git(&["init", "-q", "-b", "main", "--object-format=sha256"])
        .expect(0);
    repo.watch(&repo.sandbox.path(".git/hooks"), "pre-commit");
    repo.git(&["add", "--all"]).expect(0);
    repo.commits_exactly(&["commit", "-qm", "first"]);
    repo.sandbox.write("a", "1\n");
    repo.git(&["add", "--all"]).expect(0);
    repo.commits_exactly(&["commit", "-qm", "second"]);
}

#[test]
fn a_repository_apart_from_its_work_tree() {
    let repo = Repo::with(&[("a", "1\n")]);
    let apart = repo.sandbox.outer().join("apart.git");
    std::fs::rename(repo.sandbox.path(".git"), &apart).expect("rename");
    repo.sandbox.write("a", "2\n");
    let project = repo.sandbox.project();
    let git = |dir: &std::path::Path, args: &[&str]| {
        let mut command = repo.git_command(dir, args);
        command
            .env("GIT_DIR", &apart)
            .env("GIT_WORK_TREE", &project);
        crate::support::Run::of(command)
    };
    git(&project, &["add", "a"]).expect(0);
    repo.sandbox.write("a", "3\n");
    git(repo.sandbox.outer(), &["commit", "-qm", "from afar"]).expect(0);
    repo.saw_exactly(&apart);
    let options = [
        format!("--git-dir={}", apart.display()),
        format!("--work-tree={}", project.display()),
    ];
    let [dir, tree] = options.each_ref().map(String::as_str);
    repo.git(&[dir, tree, "commit", "-qam", "by options"])
        .expect(0);
    repo.saw_exactly(&apart);
}

#[test]
fn without_a_repository_it_says_so() {
    let sandbox = crate::support::Sandbox::plain();
    let run = sandbox.run(&["pre-commit"]).expect(2);
    assert!(run.stderr.contains("no git repository"), "{}", run.stderr);
    assert_eq!(run.stdout, "");
}

/// The key of what is staged is that of the same content on disk.
#[test]
fn a_commit_right_after_dev_check_runs_nothing() {
    let repo = Repo::with(&[("a.yaml", "a: 1\n"), ("d/b", "1\n")]);
    repo.sandbox.write("a.yaml", "a: 2\n");
    repo.sandbox.mode("d/b", 0o755);
    repo.sandbox.json(&["dev-check"]).expect(0);
    let hook = repo.commits_exactly(&["commit", "-qam", "checked"]);
    hook.expect_fresh();
    repo.sandbox.json(&["pre-commit"]).expect(0).expect_fresh();
}

/// What a check printed, of a path and content that an earlier commit had, is not replayed for other content.
#[test]
fn a_file_that_changes_and_changes_back() {
    let repo = Repo::with(&[("a", "1\n")]);
    repo.sandbox.write("a", "2\n");
    repo.commits_exactly(&["commit", "-qam", "two"]);
    repo.sandbox.write("a", "3\n");
    let hook = repo.commits_exactly(&["commit", "-qam", "three"]);
    assert_eq!(hook.check("see")["cache"], "miss");
    repo.sandbox.write("a", "2\n");
    let hook = repo.commits_exactly(&["commit", "-qam", "two again"]);
    hook.expect_fresh();
}

#[test]
fn what_git_ignores_is_not_in_a_commit() {
    let repo = Repo::with(&[(".gitignore", "secret\n")]);
    repo.sandbox.write(
        "dagcache.toml",
        "[checks.see]\ncommand = [\"./own.sh\"]\ninputs = [\"a\", \"secret\"]\n",
    );
    repo.sandbox
        .script("own.sh", "test -e secret && echo there; exit 0");
    repo.sandbox.write("secret", "x\n");
    repo.git(&["add", "--all"]).expect(0);
    let json = repo.sandbox.json(&["dev-check"]).expect(0);
    assert_eq!(json.check("see")["stdout"], "there\n");
    let json = repo.sandbox.json(&["pre-commit"]).expect(0);
    assert_eq!(json.check("see")["stdout"], "");
    assert_eq!(json.check("see")["miss"]["path"], "secret");
    assert!(
        json.run
            .stderr
            .contains("`secret`, which is not in the commit"),
        "{}",
        json.run.stderr
    );
}

#[test]
fn a_name_that_is_not_utf_8_is_left_out_with_a_warning() {
    use std::os::unix::ffi::OsStrExt as _;
    let repo = Repo::with(&[("a", "1\n")]);
    let name = std::ffi::OsStr::from_bytes(b"n\xff");
    if std::fs::write(repo.sandbox.project().join(name), "x").is_err() {
        return crate::support::skip("such names are not to be had here");
    }
    repo.git(&["add", "--all"]).expect(0);
    let json = repo.sandbox.json(&["pre-commit"]).expect(0);
    assert!(json.run.stderr.contains("skipping "), "{}", json.run.stderr);
    assert_eq!(repo.sandbox.json(&["pre-commit"]).ran().len(), 1);
    // Though nothing else is to be said.
    let run = repo.sandbox.run(&["pre-commit"]).expect(0);
    assert!(run.stderr.contains("skipping "), "{}", run.stderr);
}

#[test]
fn a_blob_that_is_not_there_is_told_with_its_file() {
    let repo = Repo::with(&[("dir/a", "1\n")]);
    let id = repo.git(&["rev-parse", "HEAD:dir/a"]).expect(0).stdout;
    let (folder, name) = id.trim().split_at(2);
    repo.sandbox
        .remove(&format!(".git/objects/{folder}/{name}"));
    let run = repo.sandbox.run(&["pre-commit"]).expect(3);
    assert!(run.stderr.contains(": dir/a: "), "{}", run.stderr);
}

/// What is staged is known by its blobs: git is not asked again.
#[test]
fn a_fresh_hook_starts_no_git() {
    let repo = Repo::with(&[("a.yaml", "a: 1\n"), (".gitattributes", "*.x eol=crlf\n")]);
    repo.sandbox.write("b.x", "1\n");
    repo.git(&["add", "--all"]).expect(0);
    repo.commits_exactly(&["commit", "-qm", "known"]);
    // Until times have settled, a run still looks twice.
    let marker = repo.sandbox.outer().join("asked");
    let text = format!("#!/bin/sh\necho \"$@\" >>'{}'\nexit 1\n", marker.display());
    for attempt in 0.. {
        repo.sandbox.json(&["pre-commit"]).expect(0).expect_fresh();
        repo.sandbox.program("git", &text);
        let json = repo.sandbox.json(&["pre-commit"]);
        let asked = std::fs::read_to_string(&marker);
        if asked.is_err() {
            return json.expect_fresh();
        }
        assert!(attempt < 5, "git was asked: {asked:?}");
        std::fs::remove_file(&marker).expect("marker");
        std::fs::remove_file(repo.sandbox.outer().join("bin/git")).expect("spy");
    }
}
