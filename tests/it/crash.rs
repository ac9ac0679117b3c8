//! Whatever happens to the process or to the disk: a usable store, no false verdict, nothing damaged.
//!
//! `DAGCACHE_TEST_KILLS=N` sets how often a run is killed (5; `.ci/run` takes 50).

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Json, Run, Sandbox, binary, skip};

/// How long anything may take before it counts as hanging.
const HANGING: Duration = Duration::from_secs(60);

/// Three checks of its own, of which one fails, and files for the built-in ones.
fn sandbox() -> Sandbox {
    let config = "[checks.copies]\ncommand = [\"./copies.sh\"]\ntools = [\"cp\"]\ninputs = [\"data\"]\n\
                  [checks.fails]\ncommand = [\"./fails.sh\"]\ninputs = [\"data\"]\n\
                  [checks.each]\ncommand = [\"./each.sh\"]\ninputs = []\nfiles = [\"*.yaml\"]\nper-file = true\n";
    let sandbox = Sandbox::git_repository();
    sandbox.write("dagcache.toml", config);
    for number in 0..30 {
        sandbox.write(&format!("f{number}.yaml"), format!("a: {number}\n"));
    }
    sandbox.write("data", "0\n");
    sandbox.script(
        "copies.sh",
        "cp data out; read line <out; echo \"data $line\"",
    );
    sandbox.script("fails.sh", "read line <data; echo \"data $line\"; exit 1");
    sandbox.script(
        "each.sh",
        "for file; do read line <\"$file\"; echo \"$file: $line\"; done",
    );
    sandbox.commit("files");
    sandbox
}

/// Runs everything, and asserts that all verdicts are those of the content.
#[track_caller]
fn right(sandbox: &Sandbox, data: u64, context: &str) -> Json {
    let json = Json::of(in_time(
        sandbox.start(&["dev-check", "--message-format", "json"]),
        context,
    ));
    assert_right(&json, data, context);
    json
}

#[track_caller]
fn assert_right(json: &Json, data: u64, context: &str) {
    let said = format!("{context}\n{}\n{}", json.run.stdout, json.run.stderr);
    assert_eq!(json.run.code, Some(1), "{said}");
    for check in json.checks() {
        let id = check["id"].as_str().expect("id");
        let verdict = if id == "fails" { "failed" } else { "passed" };
        assert_eq!(check["verdict"], verdict, "{id} {said}");
    }
    for id in ["copies", "fails"] {
        assert_eq!(json.check(id)["stdout"], format!("data {data}\n"), "{said}");
    }
    let each = json.check("each")["stdout"].as_str().expect("stdout");
    assert_eq!(each.lines().count(), 30, "{said}");
    assert!(each.contains("f7.yaml: a: 7\n"), "{said}");
    assert_eq!(json.checks().len(), 5, "{said}");
}

#[track_caller]
fn sound(sandbox: &Sandbox, context: &str) {
    let run = in_time(sandbox.start(&["cache", "verify"]), context);
    assert_eq!(run.code, Some(0), "{context}\n{}", run.stderr);
}

/// How a process ended that must not hang.
#[track_caller]
fn in_time(child: Child, context: &str) -> Run {
    let pid = Pid::from_child(&child);
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(Run::end_of(child)));
    receiver.recv_timeout(HANGING).unwrap_or_else(|_| {
        let _ = kill_process(pid, Signal::KILL);
        panic!("it hangs: {context}")
    })
}

/// Numbers that differ from run to run; the seed is told by a failure.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound.max(1)
    }
}

/// A process and everything that it started, as far as it is still its descendant.
fn family(pid: Pid) -> Vec<Pid> {
    let mut family = vec![pid];
    let mut at = 0;
    while let Some(parent) = family.get(at).copied() {
        at += 1;
        let tasks = format!("/proc/{}/task", parent.as_raw_nonzero());
        for task in std::fs::read_dir(tasks).into_iter().flatten().flatten() {
            let children = std::fs::read_to_string(task.path().join("children"));
            let children = children.unwrap_or_default();
            let pids = children
                .split_whitespace()
                .filter_map(|pid| pid.parse().ok());
            family.extend(pids.filter_map(Pid::from_raw));
        }
    }
    family
}

#[test]
fn kill_9_at_any_moment() {
    let kills = std::env::var("DAGCACHE_TEST_KILLS").ok();
    let kills: u64 = kills.map_or(5, |text| text.parse().expect("a number"));
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("time");
    let mut random = Random(u64::try_from(since.as_nanos() & 0xffff_ffff).expect("seed") | 1);
    let sandbox = sandbox();
    let begun = Instant::now();
    right(&sandbox, 0, "the first run");
    // How long a run takes, as the kills tell: most of them shall meet one.
    let mut span = u64::try_from(begun.elapsed().as_micros()).expect("short");
    let (mut interrupted, mut orphans) = (0, 0);
    for number in 1..=kills {
        let (seed, from_cold, alone) = (random.0, random.below(3) == 0, random.below(2) == 0);
        let context =
            format!("kill {number}, seed {seed}, cold {from_cold}, only the parent {alone}");
        if from_cold {
            std::fs::remove_dir_all(sandbox.cache().join("v1")).ok();
        }
        sandbox.write("data", format!("{number}\n"));
        let mut child = sandbox.start(&["dev-check"]);
        // The moment is what is random here; nothing waits for it.
        std::thread::sleep(Duration::from_micros(random.below(span)));
        let pid = Pid::from_child(&child);
        let family = if alone { vec![pid] } else { family(pid) };
        for pid in &family {
            let _ = kill_process(*pid, Signal::KILL);
        }
        let ended = child.wait().expect("end");
        let met = ended.code().is_none();
        span = if met { span * 21 / 20 } else { span * 8 / 10 }.max(1000);
        interrupted += u64::from(met);
        orphans += u64::from(alone);
        right(&sandbox, number, &context);
        sound(&sandbox, &context);
        right(&sandbox, number, &context).expect_fresh();
    }
    assert!(
        kills < 20 || interrupted > 0,
        "every run had ended before it was killed"
    );
    let told = format!("{kills} kills: {interrupted} hit a run, {orphans} only the parent");
    let _ = writeln!(std::io::stderr(), "{told}");
}

/// The check prints more than the shell lets any file grow: the process dies in the middle of writing its result.
#[test]
fn killed_in_the_middle_of_writing_a_result() {
    let sandbox = Sandbox::with(&[(
        "dagcache.toml",
        "[checks.own]\ncommand = [\"./check.sh\"]\n",
    )]);
    sandbox.script(
        "check.sh",
        "i=0; while test $i -lt 3000; do echo 0123456789; i=$((i+1)); done",
    );
    dies_writing(&sandbox);
    sound(&sandbox, "after a torn write");
    let json = sandbox.json(&["lint"]).expect(0);
    assert_eq!(json.ran(), ["own new"]);
}

/// As above, but what is too large is the fingerprint, which the result names.
#[test]
fn killed_before_what_a_result_names_is_written() {
    let long = "x".repeat(30_000);
    let config = format!("[checks.own]\ncommand = [\"./check.sh\", \"{long}\"]\n");
    let sandbox = Sandbox::plain();
    sandbox.write("check.sh", "#!/bin/sh\n");
    sandbox.mode("check.sh", 0o755);
    // Not of the project's files, which are copied: only its text is in the key.
    sandbox.write(
        "dagcache.toml",
        config.replace("[checks.own]", "[checks.own]\ninputs = [\"check.sh\"]"),
    );
    dies_writing(&sandbox);
    sound(&sandbox, "after a torn write");
}

/// Runs with a limit of 16 KiB a file: who writes more is killed by the kernel at that very byte.
fn dies_writing(sandbox: &Sandbox) {
    let run = sandbox.command(&["lint"]);
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -c 0; ulimit -f 32; exec \"$0\" lint"])
        .arg(binary())
        .current_dir(sandbox.project())
        .env_clear()
        .envs(
            run.get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .stdin(Stdio::null());
    let ended = command.output().expect("it starts");
    assert_eq!(
        ended.status.code(),
        None,
        "{}",
        String::from_utf8_lossy(&ended.stderr)
    );
}

/// Runs a script as root of a mount namespace of its own; `$BIN` is the program, `$CACHE` the cache folder. It keeps
/// what a step says by `step NAME ARGS…`.
fn in_namespace(sandbox: &Sandbox, script: &str) -> Option<impl Fn(&str) -> Run> {
    let out = sandbox.outer().join("out");
    std::fs::create_dir(&out).expect("folder");
    let text = format!(
        "set -e\nstep() {{ name=$1; shift; code=0; \"$BIN\" \"$@\" >$OUT/$name.out 2>$OUT/$name.err || code=$?; \
         echo $code >$OUT/$name.code; }}\n{script}"
    );
    let namespace = |arguments: &[&str]| {
        let run = sandbox.command(&[]);
        let mut command = Command::new("unshare");
        command
            .args(["--map-root-user", "--mount", "sh", "-c"])
            .args(arguments)
            .current_dir(sandbox.project())
            .env_clear()
            .envs(
                run.get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .env("BIN", binary())
            .env("OUT", &out)
            .env("CACHE", sandbox.cache())
            .stdin(Stdio::null());
        command.output()
    };
    let probe = namespace(&["mount -t tmpfs none \"$CACHE\""]);
    if !probe.is_ok_and(|output| output.status.success()) {
        skip("no mount namespaces for this user");
        return None;
    }
    let ran = namespace(&[&text]).expect("unshare");
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    Some(move |name: &str| {
        let read = |kind: &str| std::fs::read_to_string(out.join(format!("{name}.{kind}")));
        let code = read("code").expect(name);
        Run {
            code: code.trim().parse().ok(),
            stdout: read("out").expect(name),
            stderr: read("err").expect(name),
        }
    })
}

#[test]
fn a_disk_that_is_full_gives_no_verdict() {
    let sandbox = sandbox();
    // 40 KiB to copy, so that also the check itself meets the end of the disk.
    sandbox.write("data", format!("7\n{}", "x".repeat(40_000)));
    let sizes = [8, 128, 200, 256, 300, 400, 480, 4000];
    let mut script = String::new();
    for size in sizes {
        script.push_str(&format!(
            "mount -t tmpfs -o size={size}k none \"$CACHE\"\n\
             step full-{size} dev-check --message-format json\n\
             mount -o remount,size=64m none \"$CACHE\"\n\
             step freed-{size} dev-check --message-format json\n\
             step verify-{size} cache verify\n\
             umount \"$CACHE\"\n"
        ));
    }
    let Some(step) = in_namespace(&sandbox, &script) else {
        return;
    };
    let mut refused = 0;
    for size in sizes {
        let full = Json::of(step(&format!("full-{size}")));
        let context = format!("{size} KiB\n{}\n{}", full.run.stdout, full.run.stderr);
        if full.run.code == Some(3) {
            refused += 1;
            assert!(context.contains("No space left on device"), "{context}");
            for check in full.checks().iter().filter(|check| check["id"] != "fails") {
                assert_ne!(check["verdict"], "failed", "{context}");
            }
        } else {
            assert_right(&full, 7, &context);
        }
        let freed = Json::of(step(&format!("freed-{size}")));
        assert_right(&freed, 7, &context);
        step(&format!("verify-{size}")).expect(0);
    }
    assert!(
        refused > 0 && refused < sizes.len(),
        "{refused} of {}",
        sizes.len()
    );
}

/// The check fills the disk and says nothing of it.
#[test]
fn a_check_on_a_disk_that_is_full_gives_no_verdict() {
    let sandbox = Sandbox::with(&[(
        "dagcache.toml",
        "[checks.own]\ncommand = [\"./check.sh\"]\n",
    )]);
    let line = "x".repeat(1024);
    sandbox.script(
        "check.sh",
        &format!("i=0; while test $i -lt 4000; do echo {line} || exit 1; i=$((i+1)); done >out 2>/dev/null"),
    );
    let script = "mount -t tmpfs -o size=2m none \"$CACHE\"\n\
                  step full lint --message-format json\n\
                  mount -o remount,size=64m none \"$CACHE\"\n\
                  step freed lint --message-format json\n";
    let Some(step) = in_namespace(&sandbox, script) else {
        return;
    };
    let full = Json::of(step("full")).expect(3);
    let message = full.check("own")["message"].as_str().expect("message");
    assert!(message.contains("No space left on device"), "{message}");
    Json::of(step("freed")).expect(0);
}

#[test]
fn a_failure_that_speaks_of_a_full_disk_is_not_stored() {
    let sandbox = Sandbox::with(&[(
        "dagcache.toml",
        "[checks.own]\ncommand = [\"./check.sh\"]\n",
    )]);
    sandbox.script(
        "check.sh",
        "echo 'write error: No space left on device' >&2; exit 1",
    );
    for _ in 0..2 {
        let json = sandbox.json(&["lint"]).expect(1);
        assert_eq!(json.check("own")["cache"], "miss");
        let reason = json.check("own")["not_stored"].as_str().expect("reason");
        assert!(reason.contains("full disk"), "{reason}");
    }
}

#[test]
fn a_cache_on_a_read_only_disk() {
    let sandbox = sandbox();
    right(&sandbox, 0, "before");
    let script = "mount --bind \"$CACHE\" \"$CACHE\"\nmount -o remount,bind,ro \"$CACHE\"\n\
                  step hits dev-check --message-format json\n\
                  echo 1 >data\n\
                  step misses dev-check --message-format json\n\
                  step verify cache verify\nstep prune cache prune\n";
    let Some(step) = in_namespace(&sandbox, script) else {
        return;
    };
    let hits = Json::of(step("hits"));
    assert_right(&hits, 0, "hits");
    hits.expect_fresh();
    assert_eq!(
        hits.run.stderr.matches("warning").count(),
        1,
        "{}",
        hits.run.stderr
    );
    assert_right(&Json::of(step("misses")), 1, "misses");
    step("verify").expect(0);
    let prune = step("prune").expect(3);
    assert!(prune.stderr.contains("Read-only"), "{}", prune.stderr);
    right(&sandbox, 1, "writable again");
    sound(&sandbox, "writable again");
}

#[test]
fn a_cache_whose_folder_is_removed_while_a_check_runs() {
    let config =
        "[checks.own]\ncommand = [\"./check.sh\"]\ntools = [\"touch\"]\ntimeout = \"60s\"\n";
    let sandbox = Sandbox::with(&[("dagcache.toml", config), ("input", "here\n")]);
    // Fails once its input is gone, which is no fault of the project.
    sandbox.script(
        "check.sh",
        "touch begun; while test -e input; do :; done; exit 1",
    );
    let child = sandbox.start(&["lint", "--message-format", "json"]);
    let begun = Instant::now();
    while sandbox.cached("v1/rooms", "/begun").is_empty() {
        assert!(begun.elapsed() < HANGING, "the check does not begin");
        std::thread::yield_now();
    }
    // Out of its place in one step: while it is emptied, the check could end and its room still be there.
    let aside = sandbox.outer().join("aside");
    std::fs::rename(sandbox.cache().join("v1"), &aside).expect("rename");
    std::fs::remove_dir_all(&aside).expect("remove");
    let json = Json::of(in_time(child, "removed")).expect(3);
    let message = json.check("own")["message"].as_str().expect("message");
    assert!(
        message.contains("was deleted while the check ran"),
        "{message}"
    );
    assert_eq!(sandbox.cached("v1/ac", "").len(), 0);
    sandbox.script("check.sh", "");
    sandbox.json(&["lint"]).expect(0);
    sandbox.json(&["lint"]).expect(0).expect_fresh();
}

#[test]
fn a_cache_folder_that_is_a_file() {
    let sandbox = sandbox();
    std::fs::remove_dir(sandbox.cache()).expect("empty");
    std::fs::write(sandbox.cache(), "mine").expect("file");
    let json = right(&sandbox, 0, "a file");
    let warnings = json.run.stderr.matches("results are not cached").count();
    assert_eq!(warnings, 1, "{}", json.run.stderr);
    for args in [["cache", "clear"], ["cache", "prune"]] {
        sandbox.run(&args).expect(3);
    }
    assert_eq!(
        std::fs::read_to_string(sandbox.cache()).expect("file"),
        "mine"
    );
}

#[test]
fn what_a_newer_version_keeps_is_neither_served_nor_touched() {
    let sandbox = sandbox();
    right(&sandbox, 0, "before");
    let newer = sandbox.cache().join("v2/ac");
    std::fs::create_dir_all(&newer).expect("folder");
    std::fs::write(newer.join("entry"), "of v2").expect("file");
    // An entry of a later format in our own folder.
    let entries = sandbox.cached("v1/ac", "");
    for entry in &entries {
        let text = String::from_utf8(std::fs::read(entry).expect("entry")).expect("text");
        let text = text.replacen("dagcache-entry 1 ", "dagcache-entry 99 ", 1);
        std::fs::write(entry, text).expect("entry");
    }
    let run = sandbox.run(&["cache", "verify"]).expect(0);
    assert!(
        run.stderr.contains("skipped 5 files of another version"),
        "{}",
        run.stderr
    );
    let json = right(&sandbox, 0, "newer entries");
    assert_eq!(json.check("copies")["miss"]["kind"], "damaged");
    right(&sandbox, 0, "again").expect_fresh();
    sandbox
        .run(&["cache", "prune", "--max-size", "1"])
        .expect(0);
    sandbox.run(&["cache", "clear"]).expect(0);
    assert_eq!(std::fs::read(newer.join("entry")).expect("kept"), b"of v2");
}

#[test]
fn a_torn_line_of_a_record_costs_that_record_only() {
    let sandbox = sandbox();
    right(&sandbox, 0, "one");
    let records = sandbox.cached("v1/runs", ".jsonl");
    let tear = |path: &Path| {
        let mut bytes = std::fs::read(path).expect("records");
        bytes.extend_from_slice(b"{\"started_ms\":1,\"dur");
        std::fs::write(path, bytes).expect("records");
    };
    tear(&records[0]);
    right(&sandbox, 0, "two");
    sound(&sandbox, "a torn line");
    let run = sandbox.run(&["cache", "status", "--message-format", "json"]);
    let status: serde_json::Value = serde_json::from_str(&run.expect(0).stdout).expect("JSON");
    assert_eq!(status["runs"], 2);
}
