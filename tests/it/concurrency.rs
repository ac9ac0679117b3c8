//! Several processes at once on one store: the body of each key runs once, nobody hangs, nothing is pulled away.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Json, Run, Sandbox, open_gate};

const HANGING: Duration = Duration::from_secs(60);

/// How all of them ended; who hangs is killed, and fails the test.
#[track_caller]
fn ends(children: Vec<Child>) -> Vec<Run> {
    let pids: Vec<Pid> = children.iter().map(Pid::from_child).collect();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let ends: Vec<_> = children
            .into_iter()
            .map(|child| std::thread::spawn(|| Run::end_of(child)))
            .collect();
        sender.send(
            ends.into_iter()
                .map(|end| end.join().expect("end"))
                .collect(),
        )
    });
    receiver.recv_timeout(HANGING).unwrap_or_else(|_| {
        for pid in pids {
            let _ = kill_process(pid, Signal::KILL);
        }
        panic!("they hang")
    })
}

fn sandbox() -> Sandbox {
    let config = "[checks.one]\ncommand = [\"./one.sh\"]\ninputs = [\"data\"]\ntrace = false\n\
                  [checks.two]\ncommand = [\"./two.sh\"]\ninputs = [\"data\"]\ntrace = false\n\
                  [checks.each]\ncommand = [\"./each.sh\"]\ninputs = []\nfiles = [\"*.yaml\"]\nper-file = true\n";
    let sandbox = Sandbox::git_repository();
    sandbox.write("dagcache.toml", config);
    for number in 0..10 {
        sandbox.write(&format!("f{number}.yaml"), format!("a: {number}\n"));
    }
    sandbox.write("data", "0\n");
    sandbox.script("one.sh", "read line <data; echo \"one $line\"");
    sandbox.script("two.sh", "read line <data; echo \"two $line\"; exit 1");
    sandbox.script("each.sh", "for file; do echo \"$file\"; done");
    sandbox.commit("files");
    sandbox
}

fn start_in(sandbox: &Sandbox, folder: &Path) -> Child {
    let mut command = sandbox.command(&["dev-check", "--message-format", "json"]);
    command
        .current_dir(folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().expect("it starts")
}

/// Of all that ran at once, exactly one ran each check; the others have its result.
#[track_caller]
fn each_ran_once(runs: Vec<Run>, data: u64) {
    let all: Vec<Json> = runs
        .into_iter()
        .map(|run| Json::of(run).expect(1))
        .collect();
    for id in ["one", "two", "each", "yaml:syntax", "security:secrets"] {
        let states: Vec<&str> = all
            .iter()
            .map(|json| json.check(id)["cache"].as_str().expect("state"))
            .collect();
        let missed = states.iter().filter(|state| **state == "miss").count();
        assert_eq!(missed, 1, "{id}: {states:?}");
    }
    for json in &all {
        assert_eq!(json.check("one")["stdout"], format!("one {data}\n"));
        assert_eq!(json.check("two")["verdict"], "failed");
        assert_eq!(
            json.check("each")["stdout"]
                .as_str()
                .expect("text")
                .lines()
                .count(),
            10
        );
    }
}

#[test]
fn many_processes_on_one_repository() {
    let sandbox = sandbox();
    for (data, number) in [(1, 2), (2, 8)] {
        sandbox.write("data", format!("{data}\n"));
        for file in 0..10 {
            sandbox.write(&format!("f{file}.yaml"), format!("a: {}\n", file + data));
        }
        let children = (0..number).map(|_| start_in(&sandbox, &sandbox.project()));
        each_ran_once(ends(children.collect()), data);
    }
    sandbox.run(&["cache", "verify"]).expect(0);
    Json::of(Run::end_of(start_in(&sandbox, &sandbox.project())))
        .expect(1)
        .expect_fresh();
}

#[test]
fn two_worktrees_with_one_store() {
    let sandbox = sandbox();
    let other = sandbox.outer().join("other");
    sandbox.git(&["worktree", "add", "--quiet", &other.to_string_lossy()]);
    let folders = [sandbox.project(), other];
    let children = (0..6).map(|number| start_in(&sandbox, &folders[number % 2]));
    each_ran_once(ends(children.collect()), 0);
    for folder in &folders {
        Json::of(Run::end_of(start_in(&sandbox, folder)))
            .expect(1)
            .expect_fresh();
    }
    sandbox.run(&["cache", "verify"]).expect(0);
}

/// A check that stands at a gate until the test lets it go on.
fn gated() -> Sandbox {
    let config =
        "[checks.own]\ncommand = [\"./check.sh\"]\ntools = [\"mkfifo\"]\ntimeout = \"60s\"\n";
    let sandbox = Sandbox::with(&[("dagcache.toml", config)]);
    sandbox.script("check.sh", "mkfifo gate; read line < gate; echo \"$line\"");
    sandbox
}

#[test]
fn who_misses_what_another_runs_waits_for_it() {
    let sandbox = gated();
    let mut children = vec![sandbox.start(&["lint", "--message-format", "json"])];
    let first = sandbox.gate();
    let mut second = sandbox.start(&["lint", "--message-format", "json", "-v"]);
    // Whoever does not wait comes to a gate of its own; whoever waits leaves the first one running.
    let begun = Instant::now();
    while gates(&sandbox).len() < 2 && !waits_for_a_lock(&second) {
        let ended = second.try_wait().expect("state");
        assert_eq!(ended, None, "it neither waits nor runs");
        assert!(begun.elapsed() < HANGING, "it neither waits nor runs");
        std::thread::yield_now();
    }
    children.push(second);
    assert_eq!(gates(&sandbox), [first], "both run the same key");
    open_gate(&gates(&sandbox)[0]);
    let runs: Vec<Json> = ends(children)
        .into_iter()
        .map(|run| Json::of(run).expect(0))
        .collect();
    assert_eq!(runs[0].check("own")["cache"], "miss");
    assert_eq!(runs[1].check("own")["cache"], "joined");
}

fn waits_for_a_lock(child: &Child) -> bool {
    let locks = std::fs::read_to_string("/proc/locks").expect("the kernel's list of locks");
    let pid = child.id().to_string();
    let mut waiting = locks.lines().filter(|line| line.contains("-> "));
    waiting.any(|line| line.split_whitespace().any(|word| word == pid))
}

fn gates(sandbox: &Sandbox) -> Vec<std::path::PathBuf> {
    use std::os::unix::fs::FileTypeExt as _;
    let rooms = walkdir::WalkDir::new(sandbox.cache().join("v1/rooms"));
    let files = rooms.into_iter().filter_map(Result::ok);
    let gates = files.filter(|file| file.file_type().is_fifo());
    gates.map(walkdir::DirEntry::into_path).collect()
}

#[test]
fn clear_and_prune_wait_for_runs_and_say_so() {
    for args in [
        &["cache", "clear"][..],
        &["cache", "prune", "--max-size", "1"],
    ] {
        let sandbox = gated();
        let run = sandbox.start(&["lint", "--message-format", "json"]);
        let gate = sandbox.gate();
        let mut waiting = sandbox.start(args);
        let mut stderr = BufReader::new(waiting.stderr.take().expect("stderr"));
        let mut said = String::new();
        stderr.read_line(&mut said).expect("line");
        assert!(
            said.contains("Blocking waiting for other runs"),
            "{args:?} {said}"
        );
        open_gate(&gate);
        let json = Json::of(Run::end_of(run)).expect(0);
        assert_eq!(json.check("own")["stdout"], "go\n");
        assert_eq!(json.check("own")["not_stored"], serde_json::Value::Null);
        stderr.read_to_string(&mut said).expect("rest");
        assert_eq!(waiting.wait().expect("end").code(), Some(0), "{said}");
        assert_eq!(sandbox.cached("v1/ac", "").len(), 0, "{said}");
    }
}

#[test]
fn runs_clears_and_prunes_at_once() {
    let sandbox = sandbox();
    let mut runs = Vec::new();
    let mut others = Vec::new();
    for round in 0..3 {
        runs.push(start_in(&sandbox, &sandbox.project()));
        others.push(match round % 3 {
            0 => sandbox.start(&["cache", "clear"]),
            1 => sandbox.start(&["cache", "prune", "--max-size", "1"]),
            _ => sandbox.start(&["cache", "verify"]),
        });
        runs.push(start_in(&sandbox, &sandbox.project()));
    }
    for run in ends(runs) {
        let json = Json::of(run).expect(1);
        assert_eq!(json.check("one")["stdout"], "one 0\n");
        assert_eq!(json.check("two")["verdict"], "failed");
    }
    for other in ends(others) {
        other.expect(0);
    }
    sandbox.run(&["cache", "verify"]).expect(0);
}

#[test]
fn lock_files_of_the_dead_hold_nobody_up() {
    let sandbox = sandbox();
    let keys = |json: &Json| -> Vec<String> {
        let checks = json.checks();
        checks
            .iter()
            .map(|check| check["key"].as_str().expect("key").to_owned())
            .collect()
    };
    let first = Json::of(Run::end_of(start_in(&sandbox, &sandbox.project()))).expect(1);
    sandbox.run(&["cache", "clear"]).expect(0);
    for key in keys(&first) {
        std::fs::write(sandbox.cache().join("v1/locks").join(key), "").expect("lock file");
    }
    each_ran_once(
        ends(
            (0..3)
                .map(|_| start_in(&sandbox, &sandbox.project()))
                .collect(),
        ),
        0,
    );
    assert_eq!(
        sandbox.cached("v1/locks", "").len(),
        1,
        "all but `store` are gone"
    );
}
