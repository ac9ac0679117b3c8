//! Checks in containers: what a real engine does wrong by itself, and what it must not change.

use std::time::SystemTime;

use super::{Engine, IMAGES, engine};
use crate::support::{Json, Run, Sandbox};

/// A project with one check, a shell script that no engine has seen before.
fn sandbox(keys: &str, script: &str) -> Sandbox {
    let config = format!(
        "[layers.base]\nimage = \"{}\"\n[checks.own]\ncommand = [\"./check.sh\"]\ntools = [\"sh\", \"cat\", \"sleep\", \"env\"]\n{keys}\n",
        IMAGES[0]
    );
    let sandbox = Sandbox::with(&[("dagcache.toml", &config)]);
    let now = SystemTime::UNIX_EPOCH
        .elapsed()
        .expect("a clock")
        .as_nanos();
    sandbox.script("check.sh", &format!("# {now}\n{script}"));
    sandbox
}

fn lint(engine: &Engine, sandbox: &Sandbox) -> Json {
    engine.json(sandbox, &["lint", "--engine", "dagger"])
}

/// As a machine that has never seen the project does it.
fn lint_elsewhere(engine: &Engine, sandbox: &Sandbox) -> Json {
    std::fs::remove_dir_all(sandbox.cache()).expect("a cache");
    lint(engine, sandbox)
}

fn stdout(json: &Json) -> String {
    let text = json.check("own")["stdout"].as_str();
    text.expect("stdout").to_owned()
}

const RANDOM: &str = "cat /proc/sys/kernel/random/uuid";

/// The check could not run, twice, and really ran twice.
#[track_caller]
fn errors_each_time(engine: &Engine, keys: &str, script: &str, said: &str) {
    let sandbox = sandbox(keys, &format!("{RANDOM}; {script}"));
    let mut before = String::new();
    for _ in 0..2 {
        let json = lint(engine, &sandbox).expect(3);
        let check = json.check("own");
        assert_eq!(check["verdict"], "error");
        let message = check["message"].as_str().expect("message");
        assert!(message.contains(said), "{message}");
        assert_eq!(stdout(&json).trim().len(), 36);
        assert_ne!(stdout(&json), before, "the engine remembered it");
        before = stdout(&json);
    }
    assert_eq!(sandbox.cached("v1/ac", "").len(), 0);
}

#[test]
fn exit_codes_that_report_a_signal_are_no_verdict() {
    let Some(engine) = engine() else { return };
    errors_each_time(engine, "", "exit 137", "137");
    errors_each_time(engine, "", "kill -9 $$", "137");
}

#[test]
fn a_time_limit_is_no_verdict() {
    let Some(engine) = engine() else { return };
    errors_each_time(engine, "timeout = \"1s\"", "sleep 60", "timed out after 1s");
}

#[test]
fn a_program_that_is_not_in_the_image_is_named_with_the_ways_out() {
    let Some(engine) = engine() else { return };
    let sandbox = sandbox("", "");
    let config = sandbox.read("dagcache.toml");
    sandbox.write(
        "dagcache.toml",
        config.replace("./check.sh", "nobody-has-this"),
    );
    for _ in 0..2 {
        let json = lint(engine, &sandbox).expect(3);
        let message = json.check("own")["message"]
            .as_str()
            .expect("message")
            .to_owned();
        let expected = [
            "`nobody-has-this`",
            "library/debian@sha256:",
            "[layers.base] packages",
        ];
        assert!(
            expected.iter().all(|part| message.contains(part)),
            "{message}"
        );
    }
}

#[test]
fn a_pass_without_a_program_that_this_machine_has_does_not_count() {
    let Some(engine) = engine() else { return };
    let sandbox = sandbox("", "if mytool -c 'exit 0'; then exit 1; fi");
    lint(engine, &sandbox).expect(0);
    lint(engine, &sandbox).expect(0).expect_fresh();
    sandbox.tool("mytool", "one");
    sandbox.write("a.txt", "");
    let json = lint(engine, &sandbox).expect(0);
    let reason = json.check("own")["not_stored"].as_str().unwrap_or_default();
    assert!(reason.contains("without `mytool`"), "{reason}");
    // On this machine it is red, also where the engine is lost.
    sandbox.json(&["lint", "--engine", "local"]).expect(1);
}

#[test]
fn a_condition_that_fails_in_a_container_fails_on_this_machine() {
    let Some(engine) = engine() else { return };
    let sandbox = sandbox("", "");
    let config = sandbox.read("dagcache.toml").replace(
        "[\"./check.sh\"]",
        "[\"sh\", \"-c\", \"if grep -q BAD a.txt; then exit 1; fi\"]",
    );
    sandbox.write("dagcache.toml", config);
    sandbox.write("a.txt", "BAD\n");
    lint(engine, &sandbox).expect(1);
    let nowhere = Engine::at("unix:///nowhere");
    nowhere.json(&sandbox, &["lint"]).expect(1);
    nowhere.json(&sandbox, &["lint"]).expect(1).expect_fresh();
}

#[test]
fn nothing_of_the_engine_is_in_the_environment() {
    let Some(engine) = engine() else { return };
    let sandbox = sandbox("", "env");
    let said = stdout(&lint(engine, &sandbox).expect(0));
    assert!(
        said.contains("SOURCE_DATE_EPOCH=") && !said.contains("/run/"),
        "{said}"
    );
    for name in ["OTEL_", "TRACEPARENT", "BAGGAGE", "DAGCACHE_"] {
        assert!(!said.contains(name), "{said}");
    }
}

#[test]
fn the_umask_is_that_of_every_check() {
    let Some(engine) = engine() else { return };
    let said = stdout(&lint(engine, &sandbox("", "umask")).expect(0));
    assert_eq!(said, "0022\n");
}

#[test]
fn what_the_engine_remembers_is_told_from_what_ran() {
    let Some(engine) = engine() else { return };
    let sandbox = sandbox("", RANDOM);
    let first = lint(engine, &sandbox).expect(0);
    assert!(first.check("own")["replayed"].is_null());
    let second = lint_elsewhere(engine, &sandbox).expect(0);
    let check = second.check("own");
    assert_eq!(
        (&check["cache"], &check["replayed"]),
        (&"miss".into(), &true.into())
    );
    assert_eq!(stdout(&second), stdout(&first));
}

#[test]
fn a_run_that_must_be_another_one_is_one() {
    let Some(engine) = engine() else { return };
    let sandbox = sandbox("", RANDOM);
    let first = lint(engine, &sandbox).expect(0);
    let again = engine
        .json(&sandbox, &["lint", "--engine", "dagger", "--no-cache"])
        .expect(0);
    assert_ne!(stdout(&again), stdout(&first));
    lint(engine, &sandbox).expect(0).expect_fresh();
}

#[test]
fn a_cleared_check_runs_again_in_the_engine() {
    let Some(engine) = engine() else { return };
    let sandbox = sandbox("", RANDOM);
    let first = stdout(&lint(engine, &sandbox).expect(0));
    let clear = ["cache", "clear", "own"];
    engine.run(&sandbox, &clear).expect(0);
    let second = stdout(&lint(engine, &sandbox).expect(0));
    assert_ne!(second, first);
    lint(engine, &sandbox).expect(0).expect_fresh();
}

#[test]
fn a_name_that_no_snapshot_holds_matters_to_what_lists_its_folder() {
    use std::os::unix::ffi::OsStrExt as _;
    let Some(engine) = engine() else { return };
    for (script, stored) in [("cat a.txt", true), ("for name in *; do :; done", false)] {
        let sandbox = sandbox("", script);
        sandbox.write("a.txt", "text");
        let name = std::ffi::OsStr::from_bytes(b"b\xff");
        if std::fs::write(sandbox.project().join(name), "").is_err() {
            return crate::support::skip("this disk takes UTF-8 names only");
        }
        lint(engine, &sandbox).expect(0);
        let again = lint(engine, &sandbox).expect(0);
        let own = again.check("own");
        assert_eq!(own["cache"] == "hit", stored, "{own}");
        assert_eq!(own["not_stored"].is_string(), !stored, "{own}");
    }
}

#[test]
fn an_edit_of_the_same_size_with_kept_mtime_is_uploaded() {
    let Some(engine) = engine() else { return };
    let sandbox = sandbox("", "cat a.txt");
    sandbox.write("a.txt", "one");
    assert_eq!(stdout(&lint(engine, &sandbox).expect(0)), "one");
    let modified = std::fs::metadata(sandbox.path("a.txt")).and_then(|meta| meta.modified());
    sandbox.write("a.txt", "two");
    let file = std::fs::File::options()
        .write(true)
        .open(sandbox.path("a.txt"));
    let file = file.expect("a.txt");
    file.set_modified(modified.expect("a time")).expect("set");
    assert_eq!(stdout(&lint(engine, &sandbox).expect(0)), "two");
    sandbox.write("a.txt", "one");
    lint(engine, &sandbox).expect(0).expect_fresh();
}

#[test]
fn modes_of_another_umask_change_nothing() {
    let Some(engine) = engine() else { return };
    let sandbox = sandbox("", "cat sub/a.txt");
    sandbox.write("sub/a.txt", "text");
    let first = lint(engine, &sandbox).expect(0);
    assert!(first.check("own")["replayed"].is_null());
    sandbox.mode("sub/a.txt", 0o664);
    sandbox.mode("sub", 0o775);
    sandbox.mode("check.sh", 0o775);
    assert_eq!(
        lint_elsewhere(engine, &sandbox).expect(0).check("own")["replayed"],
        true
    );
}

#[test]
fn output_is_the_same_as_on_this_machine() {
    let Some(engine) = engine() else { return };
    let sandbox = sandbox(
        "",
        r"printf 'a\342\202(\377\n\n'; printf ' b \033[1m' >&2; echo c >/dev/stderr; echo $PWD/check.sh:1; exit 3",
    );
    let there = lint(engine, &sandbox).expect(1);
    let here = Json::of(sandbox.run(&["lint", "--engine", "local", "--message-format", "json"]));
    let here = here.expect(1);
    for field in ["verdict", "exit_code", "stdout", "stderr", "findings"] {
        assert_eq!(
            there.check("own")[field],
            here.check("own")[field],
            "{field}"
        );
    }
    assert_ne!(there.check("own")["key"], here.check("own")["key"]);
}

#[test]
fn what_it_makes_is_brought_to_the_project_and_on_a_hit_again() {
    let Some(engine) = engine() else { return };
    let sandbox = sandbox("outputs = [\"build/*.txt\"]", "echo made >build/report.txt");
    for fresh in [false, true] {
        let json = lint(engine, &sandbox).expect(0);
        assert_eq!(json.check("own")["cache"] == "hit", fresh);
        assert_eq!(sandbox.read("build/report.txt"), "made\n");
        sandbox.remove("build/report.txt");
    }
}

#[test]
fn a_secret_counts_by_its_value_and_is_masked() {
    let Some(engine) = engine() else { return };
    let sandbox = sandbox("secrets = [\"TOKEN\"]", "echo \"$TOKEN ${#TOKEN}\"");
    let run = |value: &str| {
        let args = ["lint", "--engine", "dagger", "--message-format", "json"];
        let mut command = engine.command(&sandbox, &args);
        command.env("TOKEN", value);
        let json = Json::of(Run::of(command)).expect(0);
        (stdout(&json), json.check("own")["replayed"] == true)
    };
    let (short, _) = run("s3cr3t-value");
    assert!(
        short.ends_with(" 12\n") && !short.contains("s3cr3t"),
        "{short}"
    );
    let (long, _) = run("s3cr3t-value-two");
    assert!(long.ends_with(" 16\n"), "{long}");
    std::fs::remove_dir_all(sandbox.cache()).expect("a cache");
    assert_eq!(run("s3cr3t-value"), (short, true));
}

#[test]
fn what_knows_a_secret_leaves_nothing_on_the_engines_disk() {
    let Some(engine) = engine() else { return };
    let script = "cat a.txt; echo $TOKEN | tee made >/tmp/made; cd sub; df -P . $HOME /tmp /var/tmp | grep -c '^tmpfs'; echo no >&2; exit 3";
    let sandbox = sandbox("secrets = [\"TOKEN\"]", script);
    sandbox.write("a.txt", "text\n");
    sandbox.write("sub/b", "");
    let run = || {
        let args = ["lint", "--engine", "dagger", "--message-format", "json"];
        let mut command = engine.command(&sandbox, &args);
        command.env("TOKEN", "s3cr3t-value");
        Json::of(Run::of(command))
    };
    let json = run().expect(1);
    assert_eq!(stdout(&json), "text\n4\n");
    assert_eq!(json.check("own")["stderr"], "no\n");
    assert_eq!(json.check("own")["exit_code"], 3);
    let config = sandbox.read("dagcache.toml");
    sandbox.write(
        "dagcache.toml",
        config.replace("secrets", "outputs = [\"made\"]\nsecrets"),
    );
    let json = run().expect(3);
    let message = json.check("own")["message"].as_str().expect("message");
    assert!(
        message.contains("`outputs`") && message.contains("--engine local"),
        "{message}"
    );
}

#[test]
fn of_too_much_output_begin_and_end_are_kept() {
    let Some(engine) = engine() else { return };
    let script = "echo first; head -c 70000000 /dev/zero | tr '\\0' x; echo last";
    let sandbox = sandbox("", script);
    let config = sandbox.read("dagcache.toml");
    sandbox.write(
        "dagcache.toml",
        config.replace("\"cat\"", "\"cat\", \"head\", \"tr\""),
    );
    let json = lint(engine, &sandbox).expect(0);
    let said = stdout(&json);
    assert!(said.starts_with("first\n") && said.ends_with("xlast\n"));
    assert!(said.contains("[dagcache: some of the output is missing]"));
}

#[test]
fn an_ignored_file_that_is_a_literal_input_is_there_and_nothing_else() {
    let Some(engine) = engine() else { return };
    let sandbox = sandbox("inputs = [\"in/*.txt\", \"local.env\"]", "ls -A . in");
    sandbox.write(".gitignore", "local.env\n");
    sandbox.write("local.env", "");
    sandbox.write("in/[a]*.txt", "");
    sandbox.write("in/other", "");
    let said = stdout(&lint(engine, &sandbox).expect(0));
    assert_eq!(said, ".:\n.git\ncheck.sh\nin\nlocal.env\n\nin:\n[a]*.txt\n");
}
