//! The hook comes and goes, and another's hook is never lost.

use std::path::PathBuf;

use crate::pre_commit::Repo;
use crate::support::{Run, Sandbox};

const BAD: &str = "a: [\n";

/// A repository with a YAML file, without a hook.
fn repo() -> Repo {
    let repo = Repo::with(&[("a.yaml", "a: 1\n")]);
    repo.sandbox.remove(".git/hooks/pre-commit");
    repo.sandbox.write("dagcache.toml", "");
    repo.git(&["commit", "-qam", "plain"]).expect(0);
    repo
}

fn install(repo: &Repo, args: &[&str]) -> Run {
    repo.sandbox
        .run(&[&["pre-commit", "install"], args].concat())
}

/// Asserts whether a commit of bad YAML is stopped.
#[track_caller]
fn expect_stop(repo: &Repo, stopped: bool) {
    repo.sandbox.write("a.yaml", BAD);
    let run = repo.git(&["commit", "-qam", "bad"]);
    assert_eq!(run.code == Some(1), stopped, "{}", run.stderr);
    if !stopped {
        repo.git(&["reset", "-q", "--hard", "HEAD^"]).expect(0);
    }
    repo.git(&["checkout", "-q", "HEAD", "a.yaml"]).expect(0);
}

#[test]
fn it_comes_twice_and_goes_twice() {
    let repo = repo();
    expect_stop(&repo, false);
    install(&repo, &[]).expect(0);
    let hook = repo.sandbox.read(".git/hooks/pre-commit");
    let run = install(&repo, &[]).expect(0);
    assert!(
        run.stderr.contains("Installed pre-commit in "),
        "{}",
        run.stderr
    );
    assert_eq!(repo.sandbox.read(".git/hooks/pre-commit"), hook);
    expect_stop(&repo, true);
    for expect in ["Uninstalled pre-commit", "no pre-commit hook"] {
        let run = repo.sandbox.run(&["pre-commit", "uninstall"]).expect(0);
        assert!(run.stderr.contains(expect), "{}", run.stderr);
    }
    assert!(!repo.sandbox.path(".git/hooks/pre-commit").exists());
    expect_stop(&repo, false);
}

#[test]
fn a_hook_that_was_edited_is_left_alone() {
    let repo = repo();
    install(&repo, &[]).expect(0);
    let hook = repo.sandbox.read(".git/hooks/pre-commit");
    let first = hook.replace("#!/bin/sh\n", "#!/bin/sh\nexport MY=1\n");
    let last = hook.replace("exec ", "echo mine\nexec ");
    for edited in [first, last] {
        assert_ne!(edited, hook);
        repo.sandbox.write(".git/hooks/pre-commit", &edited);
        let run = install(&repo, &["--chain"]).expect(2);
        assert!(run.stderr.contains("was edited"), "{}", run.stderr);
        let run = repo.sandbox.run(&["pre-commit", "uninstall"]).expect(0);
        assert!(run.stderr.contains("was edited"), "{}", run.stderr);
        assert_eq!(repo.sandbox.read(".git/hooks/pre-commit"), edited);
    }
    repo.sandbox.write(".git/hooks/pre-commit", &hook);
    repo.sandbox.run(&["pre-commit", "uninstall"]).expect(0);
    assert!(!repo.sandbox.path(".git/hooks/pre-commit").exists());
}

#[test]
fn another_hook_is_left_alone_or_run_first_and_comes_back() {
    let repo = repo();
    let marker = repo.sandbox.outer().join("marker");
    let text = format!("echo ran >>'{}'\ntest ! -e stop", marker.display());
    repo.sandbox.script(".git/hooks/pre-commit", &text);
    let before = repo.sandbox.read(".git/hooks/pre-commit");
    let run = install(&repo, &[]).expect(2);
    assert!(run.stderr.contains("--chain"), "{}", run.stderr);
    let run = repo.sandbox.run(&["pre-commit", "uninstall"]).expect(0);
    assert!(
        run.stderr.contains("not a hook of cargo-dagcache"),
        "{}",
        run.stderr
    );
    assert_eq!(repo.sandbox.read(".git/hooks/pre-commit"), before);
    install(&repo, &["--chain"]).expect(0);
    install(&repo, &["--chain"]).expect(0);
    install(&repo, &[]).expect(0);
    expect_stop(&repo, true);
    assert_eq!(std::fs::read_to_string(&marker).expect("it ran"), "ran\n");
    repo.sandbox.write("stop", "");
    repo.git(&["commit", "-q", "--allow-empty", "-m", "x"])
        .expect(1);
    repo.sandbox.run(&["pre-commit", "uninstall"]).expect(0);
    assert_eq!(repo.sandbox.read(".git/hooks/pre-commit"), before);
    assert!(
        !repo
            .sandbox
            .path(".git/hooks/pre-commit.before-dagcache")
            .exists()
    );
    // Also if somebody has removed ours.
    install(&repo, &["--chain"]).expect(0);
    repo.sandbox.remove(".git/hooks/pre-commit");
    repo.sandbox.run(&["pre-commit", "uninstall"]).expect(0);
    assert_eq!(repo.sandbox.read(".git/hooks/pre-commit"), before);
    // Two others: which one would come back?
    install(&repo, &["--chain"]).expect(0);
    repo.sandbox.script(".git/hooks/pre-commit", "true");
    let run = install(&repo, &["--chain"]).expect(2);
    assert!(run.stderr.contains("two other hooks"), "{}", run.stderr);
}

#[test]
fn a_link_is_anothers_hook_wherever_it_leads() {
    let repo = repo();
    repo.sandbox.script("tools/hook.sh", "exit 0");
    let hook = repo.sandbox.path(".git/hooks/pre-commit");
    std::os::unix::fs::symlink("../../tools/hook.sh", &hook).expect("link");
    let text = repo.sandbox.read("tools/hook.sh");
    install(&repo, &[]).expect(2);
    install(&repo, &["--chain"]).expect(0);
    assert_eq!(repo.sandbox.read("tools/hook.sh"), text);
    expect_stop(&repo, true);
    repo.sandbox.run(&["pre-commit", "uninstall"]).expect(0);
    assert!(hook.is_symlink());
}

#[test]
fn a_program_that_is_gone_is_looked_up_on_path_or_told() {
    let repo = repo();
    let copy = repo.sandbox.outer().join("copy/cargo-dagcache");
    std::fs::create_dir(copy.parent().expect("folder")).expect("folder");
    crate::support::copy_binary(&copy);
    let ours = repo.sandbox.command(&["pre-commit", "install"]);
    let mut command = std::process::Command::new(&copy);
    command
        .args(["pre-commit", "install"])
        .current_dir(repo.sandbox.project())
        .env_clear()
        .envs(
            ours.get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
    Run::of(command).expect(0);
    expect_stop(&repo, true);
    let bin = repo.sandbox.outer().join("bin");
    std::fs::create_dir_all(&bin).expect("folder");
    std::fs::rename(&copy, bin.join("cargo-dagcache")).expect("moved");
    expect_stop(&repo, true);
    std::fs::remove_file(bin.join("cargo-dagcache")).expect("gone");
    let mut command = repo.git_command(
        &repo.sandbox.project(),
        &["commit", "-q", "--allow-empty", "-m", "x"],
    );
    command.env("PATH", "/usr/bin:/bin");
    let run = Run::of(command).expect(1);
    assert!(
        run.stderr.contains("cannot find cargo-dagcache"),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("--no-verify"), "{}", run.stderr);
}

#[test]
fn a_folder_of_hooks_that_is_configured() {
    let repo = repo();
    repo.git(&["config", "core.hooksPath", "tools/hooks"])
        .expect(0);
    install(&repo, &[]).expect(0);
    assert!(repo.sandbox.path("tools/hooks/pre-commit").exists());
    assert!(!repo.sandbox.path(".git/hooks/pre-commit").exists());
    expect_stop(&repo, true);
    repo.sandbox.run(&["pre-commit", "uninstall"]).expect(0);
    repo.git(&["config", "--unset", "core.hooksPath"]).expect(0);
    // That of all repositories is not for one to decide.
    let shared = repo.sandbox.home().join("hooks");
    repo.git(&[
        "config",
        "--global",
        "core.hooksPath",
        shared.to_str().expect("path"),
    ])
    .expect(0);
    let run = install(&repo, &[]).expect(2);
    assert!(run.stderr.contains("git config --local"), "{}", run.stderr);
    assert!(!shared.exists());
    repo.git(&["config", "--local", "core.hooksPath", ".git/hooks"])
        .expect(0);
    install(&repo, &[]).expect(0);
    expect_stop(&repo, true);
}

/// Husky names its hooks by where they are, and writes them anew.
#[test]
fn a_folder_of_husky() {
    let repo = repo();
    repo.git(&["config", "core.hooksPath", ".husky/_"])
        .expect(0);
    repo.sandbox.script(".husky/_/pre-commit", ". ./h");
    let run = install(&repo, &["--chain"]).expect(2);
    let line = "add the line `cargo-dagcache pre-commit run` to ";
    assert!(
        run.stderr.contains(line) && run.stderr.contains(".husky/pre-commit"),
        "{}",
        run.stderr
    );
    assert!(repo.sandbox.read(".husky/_/pre-commit").contains(". ./h"));
}

#[test]
fn where_a_fix_would_come_too_late_it_is_refused() {
    let repo = repo();
    for hook in ["pre-push", "pre-merge-commit"] {
        let run = install(&repo, &["--fix", "--hook-type", hook]).expect(2);
        assert!(
            run.stderr
                .contains(&format!("--fix is not supported by {hook}")),
            "{}",
            run.stderr
        );
    }
}

#[test]
fn in_a_linked_work_tree_it_is_the_hook_of_all() {
    let repo = repo();
    let linked: PathBuf = repo.sandbox.outer().join("linked");
    let path = linked.to_str().expect("path");
    repo.git(&["worktree", "add", "-q", "-b", "side", path])
        .expect(0);
    let mut command = repo.sandbox.command(&["pre-commit", "install"]);
    command.current_dir(&linked);
    Run::of(command).expect(0);
    assert!(repo.sandbox.path(".git/hooks/pre-commit").exists());
    std::fs::write(linked.join("a.yaml"), BAD).expect("write");
    let run = repo.git_in(&linked, &["commit", "-qam", "bad"]).expect(1);
    assert!(run.stderr.contains("a.yaml"), "{}", run.stderr);
}

#[test]
fn what_is_pushed_is_checked() {
    let repo = repo();
    let remote = repo.sandbox.outer().join("remote.git");
    let path = remote.to_str().expect("path").to_owned();
    repo.git(&["init", "-q", "--bare", &path]).expect(0);
    install(&repo, &["--hook-type", "pre-push"]).expect(0);
    let marker = repo.sandbox.outer().join("marker");
    repo.git(&["push", "-q", &path, "main"]).expect(0);
    repo.sandbox.write("a.yaml", BAD);
    repo.git(&["commit", "-qam", "bad"]).expect(0);
    // What is on disk and in the index does not count.
    repo.sandbox.write("a.yaml", "a: 2\n");
    repo.git(&["add", "a.yaml"]).expect(0);
    let run = repo.git(&["push", "-q", &path, "main"]).expect(1);
    assert!(
        run.stderr.contains("1 check blocked the push"),
        "{}",
        run.stderr
    );
    repo.git(&["commit", "-qm", "good again"]).expect(0);
    repo.git(&["push", "-q", &path, "main"]).expect(0);
    repo.git(&["push", "-q", &path, "main:side"]).expect(0);
    repo.git(&["push", "-q", &path, ":side"]).expect(0);
    // What has no files has nothing to check.
    let blob = repo.git(&["rev-parse", "HEAD:a.yaml"]).expect(0).stdout;
    repo.git(&["tag", "blob", blob.trim()]).expect(0);
    repo.git(&["push", "-q", &path, "blob"]).expect(0);
    // Chained, both hear what git says.
    repo.sandbox
        .run(&["pre-commit", "uninstall", "--hook-type", "pre-push"])
        .expect(0);
    repo.sandbox.script(
        ".git/hooks/pre-push",
        &format!("cat >'{}'", marker.display()),
    );
    install(&repo, &["--hook-type", "pre-push", "--chain"]).expect(0);
    repo.sandbox.write("a.yaml", BAD);
    repo.git(&["commit", "-qam", "bad"]).expect(0);
    repo.git(&["push", "-q", &path, "main"]).expect(1);
    let heard = std::fs::read_to_string(&marker).expect("it ran");
    assert!(
        heard.starts_with("refs/heads/main ") && heard.ends_with('\n'),
        "{heard}"
    );
}

/// The definitions for pre-commit and prek name arguments that there are.
#[test]
fn the_hooks_that_others_may_call() {
    let text = include_str!("../../../.pre-commit-hooks.yaml");
    let entries: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("entry: "))
        .collect();
    assert!(!entries.is_empty());
    let sandbox = Sandbox::with(&[("a.yaml", "a: 1\n")]);
    for entry in entries {
        let mut words = entry.split(' ');
        assert_eq!(words.next(), Some("cargo-dagcache"));
        let args: Vec<&str> = words.collect();
        sandbox.run(&args).expect(0);
    }
}
