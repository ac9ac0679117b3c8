//! What must not rerun a check: each row of the correctness matrix that says "must hit".

use crate::support::{Json, Run, Sandbox};

const CONFIG: &str = r#"
[checks.own]
command = ["./check.sh"]
args = ["a", "b"]
inputs = ["src/**"]
env = ["MODE"]
set-env = { ONE = "1", TWO = "2" }
tags = ["lint"]
"#;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::with(&[
        ("dagcache.toml", CONFIG),
        ("src/a", "a\n"),
        ("other/b", "b\n"),
        ("x.yaml", "x: 1\n"),
    ]);
    sandbox.script("check.sh", "echo checked");
    sandbox.commit("script");
    sandbox.json(&["lint"]).expect(0);
    sandbox
}

/// After the change, everything is Fresh.
#[track_caller]
fn hits(change: impl FnOnce(&Sandbox)) {
    let sandbox = sandbox();
    change(&sandbox);
    sandbox.json(&["lint"]).expect(0).expect_fresh();
}

#[test]
fn touched_files() {
    hits(|sandbox| {
        for file in ["src/a", "check.sh", "x.yaml", "dagcache.toml"] {
            let file = std::fs::File::options()
                .append(true)
                .open(sandbox.path(file))
                .expect("file");
            file.set_modified(std::time::SystemTime::now())
                .expect("time");
        }
    });
}

#[test]
fn rewritten_with_the_same_content() {
    hits(|sandbox| {
        let text = sandbox.read("src/a");
        sandbox.remove("src/a");
        sandbox.write("src/a", text);
    });
}

#[test]
fn changed_and_changed_back() {
    hits(|sandbox| {
        sandbox.write("src/a", "other\n");
        sandbox.json(&["lint"]).expect(0);
        sandbox.write("src/a", "a\n");
    });
}

#[test]
fn an_unrelated_file() {
    hits(|sandbox| {
        sandbox.write("other/b", "changed\n");
        sandbox.write("other/new.txt", "new\n");
    });
}

#[test]
fn permission_bits_other_than_execution() {
    hits(|sandbox| {
        sandbox.mode("src/a", 0o600);
        sandbox.mode("check.sh", 0o700);
    });
}

#[test]
fn an_undeclared_variable() {
    let sandbox = sandbox();
    let mut command = sandbox.command(&["lint", "--message-format", "json"]);
    command
        .env("UNDECLARED", "1")
        .env("LANG", "de_DE.UTF-8")
        .env("TZ", "Asia/Tokyo");
    Json::of(Run::of(command)).expect(0).expect_fresh();
}

#[test]
fn reordered_keys_and_comments_of_the_configuration() {
    hits(|sandbox| {
        sandbox.write(
            "dagcache.toml",
            r#"# a comment
[checks.own]
set-env = { TWO = "2", ONE = "1" }
env = ["MODE"]
inputs = ["src/**"]
args = ["a", "b"]
tags = ["lint"]
command = ["./check.sh"]
"#,
        );
    });
}

#[test]
fn an_unrelated_check_added_to_the_configuration() {
    let sandbox = sandbox();
    sandbox.write(
        "dagcache.toml",
        format!("{CONFIG}[checks.second]\ncommand = [\"./check.sh\"]\ninputs = []\n"),
    );
    let json = sandbox.json(&["lint"]).expect(0);
    assert_eq!(json.ran(), ["second new"]);
}

#[test]
fn another_current_directory() {
    let sandbox = sandbox();
    sandbox
        .json(&["lint", "-C", "src"])
        .expect(0)
        .expect_fresh();
    let mut command = sandbox.command(&["lint", "--message-format", "json"]);
    command.current_dir(sandbox.path("other"));
    Json::of(Run::of(command)).expect(0).expect_fresh();
}

#[test]
fn another_checkout_with_another_umask_has_the_same_keys() {
    let sandbox = sandbox();
    let first = sandbox.json(&["lint"]).expect(0);
    let clone = sandbox.outer().join("elsewhere/deeper/clone");
    let mut git = std::process::Command::new("sh");
    let script = r#"umask 077; exec git clone --quiet "$0" "$1""#;
    git.args(["-c", script])
        .arg(sandbox.project())
        .arg(&clone)
        .env("HOME", sandbox.home());
    assert!(git.status().expect("git").success());
    let mut command = sandbox.command(&["lint", "--message-format", "json"]);
    command.current_dir(&clone);
    let second = Json::of(Run::of(command)).expect(0);
    second.expect_fresh();
    for check in first.checks() {
        let id = check["id"].as_str().expect("id");
        assert_eq!(check["key"], second.check(id)["key"], "{id}");
    }
}

#[test]
fn a_branch_and_back() {
    hits(|sandbox| {
        sandbox.git(&["checkout", "--quiet", "-b", "other"]);
        sandbox.write("src/a", "other\n");
        sandbox.remove("x.yaml");
        sandbox.commit("other");
        sandbox.git(&["checkout", "--quiet", "main"]);
    });
}

#[test]
fn a_linked_work_tree() {
    let sandbox = sandbox();
    let tree = sandbox.outer().join("linked");
    let path = tree.to_str().expect("UTF-8");
    sandbox.git(&["worktree", "add", "--quiet", "-b", "other", path]);
    let mut command = sandbox.command(&["lint", "--message-format", "json"]);
    command.current_dir(&tree);
    Json::of(Run::of(command)).expect(0).expect_fresh();
}

/// Checked out by the superuser and by nobody: each their own files, cache and umask, the same keys.
#[test]
fn another_user_has_the_same_keys() {
    use std::os::unix::process::CommandExt as _;
    if !rustix::process::geteuid().is_root() {
        return crate::support::skip("only root can become another user");
    }
    let sandbox = sandbox();
    let first = sandbox.json(&["lint"]).expect(0);
    let binary = sandbox.outer().join("dagcache");
    crate::support::copy_binary(&binary);
    sandbox.give_to_nobody();
    let mut command = std::process::Command::new(binary);
    command
        .args(["lint", "--message-format", "json", "--cache-dir"])
        .arg(sandbox.outer().join("home/cache"))
        .current_dir(sandbox.project())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", sandbox.home())
        .uid(crate::support::NOBODY)
        .gid(crate::support::NOBODY);
    let second = Json::of(Run::of(command)).expect(0);
    assert_eq!(second.finished()["misses"], 2);
    for id in ["own", "yaml:syntax"] {
        assert_eq!(first.check(id)["key"], second.check(id)["key"], "{id}");
    }
}

#[test]
fn a_new_cache_gives_the_same_keys() {
    let sandbox = sandbox();
    let first = sandbox.json(&["lint"]).expect(0);
    let other = sandbox.outer().join("other-cache");
    let other = other.to_str().expect("UTF-8");
    let second = sandbox.json(&["lint", "--cache-dir", other]).expect(0);
    assert_eq!(second.finished()["hits"], 0);
    for id in ["own", "yaml:syntax"] {
        assert_eq!(first.check(id)["key"], second.check(id)["key"], "{id}");
    }
}

#[test]
fn the_same_files_without_git() {
    let sandbox = sandbox();
    std::fs::remove_dir_all(sandbox.path(".git")).expect("remove");
    sandbox.json(&["lint"]).expect(0).expect_fresh();
}
