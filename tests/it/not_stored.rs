//! What must never be stored or served, and what is repaired.

use std::path::PathBuf;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Json, Run, Sandbox, open_gate};

fn sandbox(keys: &str, script: &str) -> Sandbox {
    let config = format!("[checks.own]\ncommand = [\"./check.sh\"]\ntrace = false\n{keys}\n");
    let sandbox = Sandbox::with(&[("dagcache.toml", &config)]);
    sandbox.script("check.sh", script);
    sandbox
}

/// The check could not run, twice: nothing was stored.
#[track_caller]
fn errors_each_time(script: &str, said: &str) {
    let sandbox = sandbox("", script);
    for _ in 0..2 {
        let json = sandbox.json(&["lint"]).expect(3);
        let check = json.check("own");
        assert_eq!(check["verdict"], "error");
        assert_eq!(check["cache"], "miss");
        let message = check["message"].as_str().expect("message");
        assert!(message.contains(said), "{message}");
        assert_eq!(json.finished()["verdict"], "error");
    }
    assert_eq!(sandbox.cached("v1/ac", "").len(), 0);
}

#[test]
fn a_check_that_was_killed() {
    errors_each_time("kill -9 $$", "signal 9");
}

#[test]
fn an_exit_code_that_reports_a_signal() {
    errors_each_time("exit 137", "137");
    errors_each_time("exit 139", "139");
}

/// As when the kernel ends what needs too much memory: not the check itself, but a program it runs.
#[test]
fn a_check_whose_program_was_killed() {
    errors_each_time("/bin/sh -c 'kill -9 $$'", "137");
}

#[test]
fn a_failure_that_tells_of_a_signal() {
    for words in [
        "rustc did not exit successfully (signal: 9, SIGKILL: kill)",
        "compile: signal: killed",
        "Command 'x' died with <Signals.SIGKILL: 9>.",
    ] {
        let script = format!("echo \"{words}\" >&2; exit 1");
        let sandbox = sandbox("", &script);
        for _ in 0..2 {
            let json = sandbox.json(&["lint"]).expect(1);
            assert_eq!(json.check("own")["cache"], "miss", "{words}");
            assert!(json.check("own")["not_stored"].is_string(), "{words}");
        }
    }
    // A pass is a pass.
    let sandbox = sandbox("", "echo '(signal: 9, SIGKILL: kill)' >&2");
    sandbox.json(&["lint"]).expect(0);
    sandbox.json(&["lint"]).expect(0).expect_fresh();
}

/// Interrupts a run at the gate of its check, of which two more wait.
fn interrupted(signal: Signal, code: i32) {
    let sandbox = sandbox(
        "tools = [\"mkfifo\"]\ntimeout = \"60s\"\n[checks.zz]\ncommand = [\"./ok.sh\"]",
        "mkfifo gate; read line < gate",
    );
    sandbox.script("ok.sh", "");
    let child = sandbox.start(&["lint", "-j", "1", "--message-format", "json"]);
    let gate = sandbox.gate();
    let pid = Pid::from_child(&child);
    kill_process(pid, signal).expect("signal");
    let json = Json::of(Run::end_of(child)).expect(code);
    assert_eq!(json.finished()["hits"], 0);
    assert_ne!(json.check("own")["verdict"], "passed");
    assert_eq!(json.check("zz")["verdict"], "skipped");
    assert_eq!(sandbox.cached("v1/ac", "").len(), 0);

    std::fs::remove_file(&gate).expect("gate");
    let child = sandbox.start(&["lint", "--message-format", "json"]);
    open_gate(&sandbox.gate());
    let json = Json::of(Run::end_of(child)).expect(0);
    assert_eq!(json.finished()["misses"], 2);
    sandbox.json(&["lint"]).expect(0).expect_fresh();
}

#[test]
fn an_interrupted_run() {
    interrupted(Signal::INT, 130);
}

#[test]
fn a_terminated_run() {
    interrupted(Signal::TERM, 143);
}

#[test]
fn a_run_that_was_killed_leaves_a_usable_store() {
    let sandbox = sandbox(
        "tools = [\"mkfifo\"]\ntimeout = \"60s\"\n[checks.aa]\ncommand = [\"./ok.sh\"]",
        "mkfifo gate; read line < gate",
    );
    sandbox.script("ok.sh", "");
    let mut child = sandbox.start(&["lint", "-j", "1"]);
    sandbox.gate();
    child.kill().expect("kill");
    child.wait().expect("end");
    let json = sandbox.json(&["lint", "--only", "aa"]).expect(0);
    assert_eq!(json.check("aa")["verdict"], "passed");
    assert_eq!(json.run.stderr, "");
    let dry = sandbox.json(&["lint", "--dry-run"]).expect(0);
    assert_eq!(dry.check("own")["cache"], "miss");
}

/// After something was done to the entry of a result, the check runs again for that reason, and is stored again.
#[track_caller]
fn repaired(damage: impl Fn(&Sandbox, &PathBuf)) {
    let sandbox = sandbox("", "echo right");
    sandbox.json(&["lint"]).expect(0);
    let entries = sandbox.cached("v1/ac", "");
    let [entry] = entries.as_slice() else {
        panic!("{entries:?}")
    };
    damage(&sandbox, entry);
    let json = sandbox.json(&["lint"]).expect(0);
    assert_eq!(json.check("own")["cache"], "miss");
    assert_eq!(json.check("own")["miss"]["kind"], "damaged");
    assert_eq!(json.check("own")["stdout"], "right\n");
    sandbox.json(&["lint"]).expect(0).expect_fresh();
}

#[test]
fn a_truncated_entry() {
    repaired(|_, entry| {
        let bytes = std::fs::read(entry).expect("entry");
        std::fs::write(entry, &bytes[..bytes.len() / 2]).expect("entry");
    });
    repaired(|_, entry| std::fs::write(entry, "").expect("entry"));
}

#[test]
fn an_altered_entry() {
    repaired(|_, entry| {
        let text = String::from_utf8_lossy(&std::fs::read(entry).expect("entry"))
            .replace("right", "wrong");
        std::fs::write(entry, text).expect("entry");
    });
}

#[test]
fn an_entry_replaced_by_a_link() {
    repaired(|sandbox, entry| {
        let elsewhere = sandbox.outer().join("elsewhere");
        std::fs::rename(entry, &elsewhere).expect("rename");
        std::os::unix::fs::symlink(elsewhere, entry).expect("link");
    });
}

#[test]
fn an_entry_of_another_key() {
    let sandbox = sandbox("", "echo right");
    sandbox.json(&["lint"]).expect(0);
    let first = sandbox.cached("v1/ac", "");
    sandbox.script("check.sh", "echo other");
    sandbox.json(&["lint"]).expect(0);
    let all = sandbox.cached("v1/ac", "");
    let second = all
        .iter()
        .find(|entry| !first.contains(entry))
        .expect("second");
    std::fs::copy(&first[0], second).expect("copy");
    let json = sandbox.json(&["lint"]).expect(0);
    assert_eq!(json.check("own")["miss"]["kind"], "damaged");
    assert_eq!(json.check("own")["stdout"], "other\n");
}

#[test]
fn an_entry_of_another_format() {
    repaired(|_, entry| {
        let text = String::from_utf8_lossy(&std::fs::read(entry).expect("entry")).replacen(
            "dagcache-entry 1 ",
            "dagcache-entry 2 ",
            1,
        );
        std::fs::write(entry, text).expect("entry");
    });
}

/// After something was done to the blob of a part's findings, the part is run again, and its blob is right again.
#[track_caller]
fn blob_repaired(damage: impl Fn(&PathBuf, String)) {
    let sandbox = Sandbox::with(&[("a.yaml", "a: [1\n")]);
    let check = |ran: u32| {
        let json = sandbox.json(&["lint"]).expect(1);
        let check = json.check("yaml:syntax");
        assert_eq!(check["parts"]["ran"], ran);
        check["findings"].to_string()
    };
    let forget = || {
        // The parts are looked up only without the whole.
        for entry in sandbox.cached("v1/ac", "") {
            std::fs::remove_file(entry).expect("entry");
        }
    };
    let right = check(1);
    forget();
    assert_eq!(check(0), right);
    let mut damaged = 0;
    for blob in sandbox.cached("v1/cas", "") {
        let text = String::from_utf8(std::fs::read(&blob).expect("blob")).expect("text");
        if text.contains("\"message\"") {
            std::fs::remove_file(&blob).expect("blob");
            damage(&blob, text);
            damaged += 1;
        }
    }
    assert_eq!(damaged, 1);
    forget();
    assert_eq!(check(1), right);
    forget();
    assert_eq!(check(0), right);
}

#[test]
fn a_damaged_blob() {
    blob_repaired(|blob, text| {
        let text = text.replace("\"line\":1", "\"line\":7");
        std::fs::write(blob, text).expect("altered");
    });
    blob_repaired(|blob, text| std::fs::write(blob, &text[..text.len() / 2]).expect("truncated"));
    blob_repaired(|blob, text| {
        let elsewhere = blob.with_extension("elsewhere");
        std::fs::write(&elsewhere, text.replace("\"line\":1", "\"line\":7")).expect("file");
        std::os::unix::fs::symlink(elsewhere, blob).expect("link");
    });
}

/// A memo that says a file has the content of another.
#[test]
fn an_altered_memo() {
    use dagcache::for_tests::Digest;
    let sandbox = sandbox("inputs = [\"src/**\"]", "read line < src/a; echo \"$line\"");
    sandbox.write("src/a", "right\n");
    sandbox.write("src/b", "wrong\n");
    // Until the times of all files have settled, the memo holds no digest.
    let (right, wrong) = (Digest::of(b"right\n"), Digest::of(b"wrong\n"));
    let place = |bytes: &[u8]| bytes.windows(32).position(|at| at == right.as_bytes());
    let memo = loop {
        sandbox.json(&["lint"]).expect(0);
        let memos = sandbox.cached("v1/memo/tree-", "");
        if place(&std::fs::read(&memos[0]).expect("memo")).is_some() {
            break memos[0].clone();
        }
    };
    let key = sandbox.json(&["lint"]).expect(0).check("own")["key"].clone();
    let mut bytes = std::fs::read(&memo).expect("memo");
    let at = place(&bytes).expect("digest");
    bytes[at..at + 32].copy_from_slice(wrong.as_bytes());
    std::fs::write(&memo, bytes).expect("memo");
    let json = sandbox.json(&["lint"]).expect(0);
    json.expect_fresh();
    assert_eq!(json.check("own")["key"], key);
}

#[test]
fn an_entry_that_is_gone() {
    let sandbox = sandbox("", "echo right");
    sandbox.json(&["lint"]).expect(0);
    std::fs::remove_file(&sandbox.cached("v1/ac", "")[0]).expect("remove");
    assert_eq!(sandbox.json(&["lint"]).expect(0).ran(), ["own evicted"]);
}

#[test]
fn everything_else_in_the_store_may_be_damaged_too() {
    let sandbox = sandbox("", "echo right");
    sandbox.write("a.yaml", "a: 1\n");
    sandbox.write("b.yaml", "b: 1\n");
    sandbox.json(&["dev-check"]).expect(0);
    for folder in ["ac", "parts", "cas", "trees", "last", "memo", "runs"] {
        for file in sandbox.cached(&format!("v1/{folder}"), "") {
            // In place of the old file, whatever that may be.
            std::fs::remove_file(&file).expect("remove");
            std::fs::write(&file, "garbage").expect("damage");
        }
    }
    let json = sandbox.json(&["dev-check"]).expect(0);
    assert_eq!(json.finished()["hits"], 0);
    assert_eq!(json.check("own")["stdout"], "right\n");
    assert_eq!(json.check("yaml:syntax")["parts"]["ran"], 2);
    sandbox.json(&["dev-check"]).expect(0).expect_fresh();
    sandbox.run(&["cache", "status"]).expect(0);
    sandbox.run(&["explain"]).expect(0);
}

#[test]
fn an_altered_copy_in_a_room_is_made_right() {
    let sandbox = sandbox("inputs = [\"src/**\"]", "read line < src/a; echo \"$line\"");
    sandbox.write("src/a", "right\n");
    sandbox.write("src/b", "1\n");
    sandbox.json(&["lint"]).expect(0);
    let copies = sandbox.cached("v1/rooms", "src/a");
    assert!(!copies.is_empty());
    for copy in copies {
        std::fs::remove_file(&copy).expect("remove");
        std::fs::write(&copy, "wrong\n").expect("alter");
    }
    sandbox.write("src/b", "2\n");
    let json = sandbox.json(&["lint"]).expect(0);
    assert_eq!(json.check("own")["stdout"], "right\n");
}

#[test]
fn no_cache_looks_nothing_up_and_stores_nothing() {
    let sandbox = sandbox("", "");
    let json = sandbox.json(&["lint", "--no-cache"]).expect(0);
    assert_eq!(json.check("own")["cache"], "off");
    assert_eq!(sandbox.cached("v1/ac", "").len(), 0);
    sandbox.json(&["lint"]).expect(0);
    let json = sandbox.json(&["lint", "--no-cache"]).expect(0);
    assert_eq!(json.check("own")["cache"], "off");
    assert_eq!(json.finished()["hits"], 0);
    sandbox.json(&["lint"]).expect(0).expect_fresh();
}

#[test]
fn what_the_snapshot_cannot_hold_is_not_stored() {
    let sandbox = sandbox("", "");
    let fifo = sandbox.path("fifo");
    let made = std::process::Command::new("mkfifo").arg(fifo).status();
    assert!(made.expect("mkfifo").success());
    for _ in 0..2 {
        let json = sandbox.json(&["lint"]).expect(0);
        assert_eq!(json.check("own")["cache"], "miss");
        let reason = json.check("own")["not_stored"].as_str().expect("reason");
        assert!(reason.contains("fifo"), "{reason}");
    }
}

#[test]
fn a_link_out_of_the_project_is_not_stored() {
    let sandbox = sandbox("inputs = [\"src/**\"]", "");
    std::fs::create_dir_all(sandbox.path("src")).expect("folder");
    std::os::unix::fs::symlink(sandbox.outer().join("home"), sandbox.path("src/out"))
        .expect("link");
    for _ in 0..2 {
        let json = sandbox.json(&["lint"]).expect(0);
        assert_eq!(json.check("own")["cache"], "miss");
        let reason = json.check("own")["not_stored"].as_str().expect("reason");
        assert!(reason.contains("src/out"), "{reason}");
    }
}
