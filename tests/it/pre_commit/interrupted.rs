//! A hook that is killed, and a work tree that is edited while it runs: nothing is lost, nothing is changed.
//!
//! `DAGCACHE_TEST_KILLS=N` sets how often a hook is killed (5; `.ci/run` takes 50).

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::pre_commit::Repo;
use crate::support::{Run, open_gate};

/// Everything there is in a folder: modes, content, targets.
fn everything(dir: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    walkdir::WalkDir::new(dir)
        .into_iter()
        .map(|file| {
            let file = file.expect("file");
            let meta = file.path().symlink_metadata().expect("stat");
            let content = if meta.is_file() {
                std::fs::read(file.path()).expect("content")
            } else if meta.is_symlink() {
                let target = std::fs::read_link(file.path()).expect("target");
                target.into_os_string().into_encoded_bytes()
            } else {
                Vec::new()
            };
            (file.into_path(), (meta.permissions().mode(), content))
        })
        .collect()
}

/// Edits that are staged, partly staged, noted, stashed and not staged.
fn busy() -> Repo {
    let repo = Repo::with(&[("a", "1\n"), ("b", "1\n"), ("c.yaml", "c: 1\n")]);
    repo.sandbox.write(".gitattributes", "b eol=crlf\n");
    repo.git(&["add", "--all"]).expect(0);
    repo.sandbox.write("a", "stashed\n");
    repo.git(&["stash", "-q"]).expect(0);
    repo.sandbox.write(".gitattributes", "b eol=crlf\n");
    repo.sandbox.write("a", "staged\n");
    repo.sandbox.write("b", "staged\n");
    repo.git(&["add", "--all"]).expect(0);
    repo.sandbox.write("a", "not staged\n");
    repo.sandbox.write("new", "noted\n");
    repo.git(&["add", "-N", "new"]).expect(0);
    repo.sandbox.write("untracked", "x\n");
    repo
}

#[test]
fn kill_9_at_any_moment_of_a_hook() {
    let kills = std::env::var("DAGCACHE_TEST_KILLS").ok();
    let kills: u64 = kills.map_or(5, |text| text.parse().expect("a number"));
    let repo = busy();
    let before = everything(&repo.sandbox.project());
    let start = || {
        let mut command = repo.sandbox.command(&["pre-commit", "run"]);
        command
            .env("GIT_INDEX_FILE", ".git/index")
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        command.spawn().expect("it starts")
    };
    let begun = Instant::now();
    assert!(start().wait().expect("end").success());
    let span = u64::try_from(begun.elapsed().as_micros()).expect("short");
    let mut met = 0;
    for number in 0..kills {
        // Two of three begin with nothing known, so that there is more to meet.
        if number % 3 > 0 {
            std::fs::remove_dir_all(repo.sandbox.cache().join("v1")).ok();
        }
        let mut child = start();
        // The moment is what varies here; nothing waits for it. A golden step leaves no part of the span out.
        let moment = number.wrapping_mul(span * 618 / 1000) % span.max(1);
        std::thread::sleep(Duration::from_micros(moment));
        let _ = kill_process(Pid::from_child(&child), Signal::KILL);
        met += u64::from(child.wait().expect("end").code().is_none());
        let after = everything(&repo.sandbox.project());
        assert!(before == after, "kill {number} after {moment} µs");
    }
    assert!(kills < 20 || met > 0, "every hook had ended before");
    let json = repo.sandbox.json(&["pre-commit"]).expect(0);
    let seen = json.check("see")["stdout"].as_str().expect("output");
    assert!(
        !seen.contains("./untracked") && !seen.contains("./new"),
        "{seen}"
    );
}

/// A commit whose hook waits for its gate to be opened.
fn commit_at_gate(repo: &Repo, message: &str) -> (std::process::Child, PathBuf) {
    let project = repo.sandbox.project();
    let mut command = repo.git_command(&project, &["commit", "-qm", message]);
    let commit = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("git");
    (commit, repo.sandbox.gate())
}

#[test]
fn what_is_saved_while_the_hook_runs_stays_and_is_not_checked() {
    let repo = Repo::with(&[("a", "1\n")]);
    repo.sandbox.write(
        "dagcache.toml",
        "[checks.see]\ncommand = [\"./wait.sh\"]\ninputs = [\"a\"]\ntools = [\"mkfifo\", \"cat\"]\n",
    );
    repo.sandbox
        .script("wait.sh", "mkfifo gate; read line <gate; cat a");
    repo.sandbox.write("a", "2\n");
    repo.git(&["add", "--all"]).expect(0);
    let (commit, gate) = commit_at_gate(&repo, "edited meanwhile");
    repo.sandbox.write("a", "saved meanwhile\n");
    repo.sandbox.write("new", "saved meanwhile\n");
    open_gate(&gate);
    Run::end_of(commit).expect(0);
    assert_eq!(repo.hook().check("see")["stdout"], "2\n");
    assert_eq!(repo.sandbox.read("a"), "saved meanwhile\n");
    assert_eq!(repo.git(&["show", "HEAD:a"]).expect(0).stdout, "2\n");
    let status = repo.git(&["status", "--porcelain"]).expect(0).stdout;
    assert_eq!(status, " M a\n?? new\n");
}

/// Git reads the index again after the hook: what somebody stages while it runs is in the commit.
#[test]
fn what_is_staged_meanwhile_is_checked_too() {
    let repo = Repo::with(&[("a", "1\n")]);
    repo.sandbox.write(
        "dagcache.toml",
        "[checks.see]\ncommand = [\"./wait.sh\"]\ninputs = [\"a\"]\ntools = [\"mkfifo\"]\n",
    );
    repo.sandbox.script(
        "wait.sh",
        "read -r a <a; [ \"$a\" = good ] || exit 1; mkfifo gate; read line <gate",
    );
    repo.sandbox.write("a", "good\n");
    repo.git(&["add", "--all"]).expect(0);
    let (commit, gate) = commit_at_gate(&repo, "staged meanwhile");
    repo.sandbox.write("a", "bad\n");
    repo.git(&["add", "a"]).expect(0);
    open_gate(&gate);
    Run::end_of(commit).expect(1);
    assert_eq!(repo.git(&["show", "HEAD:a"]).expect(0).stdout, "1\n");
}

/// `git status` writes the index anew, and nothing else is staged by that.
#[test]
fn an_index_that_is_only_written_anew_is_not_checked_again() {
    let repo = Repo::with(&[("a", "1\n")]);
    repo.sandbox.write(
        "dagcache.toml",
        "[checks.see]\ncommand = [\"./wait.sh\"]\ninputs = [\"a\"]\ntools = [\"mkfifo\"]\ncache = false\n",
    );
    repo.sandbox
        .script("wait.sh", "mkfifo gate; read line <gate");
    repo.git(&["add", "--all"]).expect(0);
    let index = repo.sandbox.path(".git/index");
    let before = std::fs::metadata(&index).expect("index");
    let run = repo
        .sandbox
        .start(&["pre-commit", "--message-format", "json"]);
    let gate = repo.sandbox.gate();
    repo.git(&["update-index", "--force-write-index"]).expect(0);
    let after = std::fs::metadata(&index).expect("index");
    assert_ne!(
        std::os::unix::fs::MetadataExt::ino(&before),
        std::os::unix::fs::MetadataExt::ino(&after)
    );
    open_gate(&gate);
    let json = crate::support::Json::of(Run::end_of(run)).expect(0);
    let runs = json.checks().into_iter().filter(|line| line["id"] == "see");
    assert_eq!(runs.count(), 1);
}
