//! Which engine runs checks, and what happens when Dagger is not there. `dagger` is a script here that writes down how
//! it is called; no test reaches a real engine.

use std::process::Command;

use serde_json::json;

use crate::support::{Json, Run, Sandbox};

const HOST: &str = "_EXPERIMENTAL_DAGGER_RUNNER_HOST";
const NOWHERE: &str = "kube-pod://nowhere";

/// A session that ends at once.
const DIES: &str = "echo 'Error: the engine is on fire' >&2; exit 1";
/// A session that never opens.
const HANGS: &str = "exec sleep 600";

const PINNED: &str = "version = 1\n\n[[image]]\nname = \"docker.io/library/debian:bookworm-slim\"\n\
    digest = \"sha256:1111111111111111111111111111111111111111111111111111111111111111\"\nplatform = \"linux/PLATFORM\"\n";

/// A project with a check of its own and one that is built in, beside a `dagger` whose session does this.
fn sandbox(session: &str) -> Sandbox {
    let sandbox = Sandbox::with(&[
        ("a.yaml", "a: 1\n"),
        (
            "dagcache.toml",
            "[checks.own]\ncommand = [\"./own.sh\"]\ninputs = [\"own.sh\"]\n",
        ),
    ]);
    sandbox.script("own.sh", "echo fine");
    let platform = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    sandbox.write("dagcache.lock", PINNED.replace("PLATFORM", platform));
    let log = sandbox.outer().join("called");
    sandbox.program(
        "dagger",
        &format!(
            "#!/bin/sh\necho \"$1\" >>'{}'\ncase $1 in\nversion) echo 'dagger v0.21.8 (x) linux/amd64' ;;\nsession) {session} ;;\nesac\n",
            log.display()
        ),
    );
    sandbox
}

/// How `dagger` was called.
fn called(sandbox: &Sandbox) -> Vec<String> {
    let text = std::fs::read_to_string(sandbox.outer().join("called")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn sessions(sandbox: &Sandbox) -> usize {
    let called = called(sandbox);
    called.iter().filter(|word| *word == "session").count()
}

fn command(sandbox: &Sandbox, args: &[&str]) -> Command {
    let mut command = sandbox.command(args);
    command.env(HOST, NOWHERE);
    command
}

fn run(sandbox: &Sandbox, args: &[&str]) -> Run {
    Run::of(command(sandbox, args))
}

fn json(sandbox: &Sandbox, args: &[&str]) -> Json {
    let args = [args, &["--message-format", "json"]].concat();
    Json::of(run(sandbox, &args))
}

#[test]
fn where_the_engine_is_lost_this_machine_runs_what_is_left() {
    let sandbox = sandbox(DIES);
    let first = run(&sandbox, &["ci"]).expect(0);
    let lines = |text: &str| text.matches("checks run on this machine instead").count();
    assert_eq!(lines(&first.stderr), 1, "{}", first.stderr);
    assert!(first.stderr.contains(NOWHERE), "{}", first.stderr);
    assert!(!first.stderr.contains("on fire"), "{}", first.stderr);
    sandbox.script("own.sh", "echo again");
    let verbose = run(&sandbox, &["ci", "-v"]).expect(0);
    assert!(verbose.stderr.contains("on fire"), "{}", verbose.stderr);
}

#[test]
fn what_this_machine_knows_is_replayed_after_the_engine_was_lost() {
    let sandbox = sandbox(DIES);
    run(&sandbox, &["ci"]).expect(0);
    // One check has to run, so the engine is looked for.
    sandbox.script("other.sh", "echo other");
    let config = sandbox.read("dagcache.toml");
    let other = "[checks.other]\ncommand = [\"./other.sh\"]\ninputs = [\"other.sh\"]\n";
    sandbox.write("dagcache.toml", config + other);
    let again = json(&sandbox, &["ci"]).expect(0);
    assert_eq!(again.started()["engine"], "dagger");
    let own = again.check("own");
    assert_eq!(
        (&own["cache"], &own["engine"]),
        (&json!("hit"), &json!("local"))
    );
    // It needs no engine: its result is that of the run.
    assert_eq!(again.check("yaml:syntax")["engine"], json!(null));
    assert_eq!(sessions(&sandbox), 2);
}

#[test]
fn an_engine_that_was_lost_is_not_looked_for_until_something_has_to_run() {
    let sandbox = sandbox(DIES);
    for pinned in [true, false] {
        if !pinned {
            sandbox.remove("dagcache.lock");
        }
        let lost = json(&sandbox, &["ci"]).expect(0);
        assert_eq!(lost.check("own")["verdict"], "passed");
        let before = sessions(&sandbox);
        sandbox.write("a.yaml", format!("a: {pinned}\n"));
        let again = json(&sandbox, &["ci"]).expect(0);
        assert_eq!(again.started()["engine"], "local");
        assert_eq!(again.check("own")["cache"], "hit");
        assert_eq!(again.check("yaml:syntax")["cache"], "miss");
        assert_eq!(sessions(&sandbox), before);
        sandbox.script("own.sh", &format!("echo {pinned}"));
        json(&sandbox, &["ci"]).expect(0);
        assert_eq!(sessions(&sandbox), before + 1);
    }
}

#[test]
fn a_port_that_refuses_is_not_asked_again() {
    let sandbox = sandbox("echo 'Error: it was started' >&2; exit 1");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let mut command = sandbox.command(&["ci", "--engine", "dagger"]);
    command.env(HOST, format!("tcp://{address}"));
    let said = Run::of(command).expect(3).stderr;
    assert!(said.contains("Connection refused"), "{said}");
    assert_eq!(sessions(&sandbox), 0);
}

#[test]
fn who_insists_on_dagger_gets_an_error_and_nothing_is_stored_of_it() {
    let sandbox = sandbox(DIES);
    for args in [&["ci", "--engine", "dagger"][..], &["ci"]] {
        let told = json(&sandbox, args).expect(3);
        let own = told.check("own");
        assert_eq!(own["verdict"], "error");
        let message = own["message"].as_str().expect("a message");
        assert!(message.contains("on fire"), "{message}");
        assert_eq!(told.check("yaml:syntax")["verdict"], "passed");
        sandbox.write(
            "dagcache.toml",
            "[engine]\nkind = \"dagger\"\n[checks.own]\ncommand = [\"./own.sh\"]\ninputs = [\"own.sh\"]\n",
        );
    }
    let local = json(&sandbox, &["ci", "--engine", "local"]).expect(0);
    assert_eq!(local.started()["engine"], "local");
    assert_eq!(local.check("own")["cache"], "miss");
}

#[test]
fn a_session_that_does_not_open_is_not_waited_for() {
    let sandbox = sandbox(HANGS);
    let mut command = command(&sandbox, &["ci"]);
    command.env("DAGCACHE_DAGGER_TIMEOUT", "300ms");
    let run = Run::of(command).expect(0);
    let said = "no answer within 300ms";
    assert!(run.stderr.contains(said), "{}", run.stderr);
}

#[test]
fn what_needs_no_container_starts_nothing() {
    let sandbox = sandbox(DIES);
    let only = ["ci", "--skip", "own"];
    let first = json(&sandbox, &only).expect(0);
    assert_eq!(first.started()["engine"], "dagger");
    assert_eq!(first.check("yaml:syntax")["cache"], "miss");
    // What is built in does not depend on the engine.
    for args in [&only[..], &["ci", "--skip", "own", "--engine", "local"]] {
        let second = json(&sandbox, args).expect(0);
        assert_eq!(second.check("yaml:syntax")["cache"], "hit");
    }
    run(&sandbox, &["ci", "--dry-run"]).expect(0);
    assert_eq!(called(&sandbox), [""; 0]);
}

#[test]
fn an_engine_that_is_lost_while_planning_asks_it_is_asked_once() {
    let sandbox = sandbox(DIES);
    sandbox.remove("dagcache.lock");
    let told = json(&sandbox, &["ci"]).expect(0);
    assert_eq!(told.started()["engine"], "local");
    assert_eq!(told.check("own")["verdict"], "passed");
    assert_eq!(sessions(&sandbox), 1);
    let told = json(&sandbox, &["ci", "--engine", "dagger"]).expect(3);
    let message = told.check("own")["message"].clone();
    let message = message.as_str().expect("a message").to_owned();
    assert!(
        message.contains("where the engine can be reached"),
        "{message}"
    );
}

#[test]
fn without_an_address_or_a_socket_the_engine_is_this_machine() {
    let sandbox = sandbox(DIES);
    for host in ["unix:///nonexistent/socket", "unix:///"] {
        let mut command = sandbox.command(&["ci"]);
        let exists = host == "unix:///";
        command.env(HOST, host);
        let run = Run::of(command).expect(0);
        assert_eq!(
            run.stderr.contains("Dagger engine at unix:///:"),
            exists,
            "{}",
            run.stderr
        );
    }
    let mut command = sandbox.command(&["ci", "-v"]);
    command.env(HOST, "unix:///nonexistent/socket");
    let run = Run::of(command).expect(0);
    let said =
        "Engine local (/nonexistent/socket from $_EXPERIMENTAL_DAGGER_RUNNER_HOST does not exist)";
    assert!(run.stderr.contains(said), "{}", run.stderr);
}

#[test]
fn dagger_without_an_address_says_what_to_set() {
    let sandbox = sandbox(DIES);
    if std::path::Path::new("/run/dagger/engine.sock").exists() {
        return crate::support::skip("a Dagger engine is at hand");
    }
    let run = Run::of(sandbox.command(&["ci", "--engine", "dagger"])).expect(3);
    assert!(
        run.stderr.contains("`address` in [engine]"),
        "{}",
        run.stderr
    );
    assert_eq!(called(&sandbox), [""; 0]);
}

#[test]
fn the_environment_wins_over_the_configured_address() {
    let sandbox = sandbox("echo \"Error: at $_EXPERIMENTAL_DAGGER_RUNNER_HOST\" >&2; exit 1");
    sandbox.write(
        "dagcache.toml",
        "[engine]\naddress = \"tcp://configured:1\"\n[checks.own]\ncommand = [\"./own.sh\"]\n",
    );
    let configured = sandbox.run(&["ci", "-v"]).expect(0).stderr;
    assert!(configured.contains("at tcp://configured:1"), "{configured}");
    let set = run(&sandbox, &["ci", "-v"]).expect(0).stderr;
    assert!(set.contains(&format!("at {NOWHERE}")), "{set}");
    assert!(!set.contains("tcp://configured"), "{set}");
}

#[test]
fn the_run_record_knows_which_engine_ran_what() {
    let sandbox = sandbox(DIES);
    run(&sandbox, &["ci"]).expect(0);
    let records = sandbox.cached("v1/runs", ".jsonl");
    let text = std::fs::read_to_string(&records[0]).expect("records");
    let record: serde_json::Value = serde_json::from_str(text.trim()).expect("one record");
    assert_eq!(record["engine"], "dagger");
    let engines = record["checks"].as_array().expect("checks").iter();
    let engines: Vec<_> = engines
        .map(|check| (check["id"].clone(), check["engine"].clone()))
        .collect();
    assert!(
        engines.contains(&(json!("own"), json!("local"))),
        "{engines:?}"
    );
    assert!(
        engines.contains(&(json!("yaml:syntax"), json!(null))),
        "{engines:?}"
    );
}

#[test]
fn doctor_tells_what_is_wrong_and_the_way_out() {
    let sandbox = sandbox(DIES);
    let doctor = run(&sandbox, &["doctor"]).expect(0).stderr;
    for said in [
        "Fail connection:",
        "on fire",
        "help: ",
        "Ok fallback:",
        "Finished checks can run",
    ] {
        assert!(doctor.contains(said), "{doctor}");
    }
    let doctor = run(
        &sandbox,
        &["doctor", "--engine", "dagger", "--message-format", "json"],
    );
    let doctor = doctor.expect(3);
    let told: serde_json::Value = serde_json::from_str(&doctor.stdout).expect("one object");
    assert_eq!(
        (&told["usable"], &told["engine"]),
        (&json!(false), &json!("dagger"))
    );
    assert_eq!(told["worst"], "fail");
    let lines = told["lines"].as_array().expect("lines");
    let connection = lines.iter().find(|line| line["subject"] == "connection");
    let connection = connection.expect("a line");
    assert_eq!(connection["level"], "fail");
    assert!(
        connection["help"]
            .as_str()
            .is_some_and(|help| help.contains("--engine local"))
    );
}

#[test]
fn explain_claims_no_limits_that_a_container_does_not_have() {
    let sandbox = sandbox(DIES);
    let said = run(&sandbox, &["explain", "own"]).expect(0).stdout;
    assert!(said.contains("network cannot be cut off"), "{said}");
    let said = run(&sandbox, &["explain", "own", "--engine", "local"]).expect(0);
    assert!(said.stdout.contains("network false"), "{}", said.stdout);
}

#[test]
fn doctor_says_what_a_run_would() {
    let sandbox = sandbox(DIES);
    sandbox.write("Cargo.toml", "x[");
    sandbox.write("tests/fixtures/Cargo.toml", "x[");
    let ran = json(&sandbox, &["ci", "--engine", "local"]).expect(3);
    let message = ran.check("rust:clippy")["message"].clone();
    let message = message.as_str().expect("a message");
    let doctor = run(&sandbox, &["doctor", "--engine", "local"]).expect(3);
    let first = message.lines().next().expect("a line");
    for said in [
        &format!("Fail check: rust:clippy: {first}"),
        "tests/fixtures/Cargo.toml",
        "error: 2 checks cannot run",
    ] {
        assert!(doctor.stderr.contains(said), "{}", doctor.stderr);
    }
    sandbox.remove("Cargo.toml");
    run(&sandbox, &["doctor"]).expect(0);
    sandbox.write("dagcache.lock", "<<<<<<< ours\n");
    let broken = run(&sandbox, &["ci"]).expect(2);
    let doctor = run(&sandbox, &["doctor"]).expect(2);
    assert_eq!(doctor.stderr, broken.stderr);
}

#[test]
fn doctor_without_dagger_looks_at_this_machine() {
    let sandbox = Sandbox::plain();
    let mut command = sandbox.command(&["doctor"]);
    command
        .env(HOST, "unix:///nonexistent/socket")
        .env("PATH", "");
    let doctor = Run::of(command).expect(0).stderr;
    for said in [
        "Ok engine: local",
        "confinement:",
        "Ok store:",
        "Warn git:",
        "Finished checks can run, ",
    ] {
        assert!(doctor.contains(said), "{doctor}");
    }
}

#[test]
fn packages_above_the_project_are_an_error_with_a_way_out() {
    let sandbox = sandbox(DIES);
    let manifest = |name: &str| {
        format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n")
    };
    let lib = sandbox.outer().join("lib");
    std::fs::create_dir_all(lib.join("src")).expect("a folder");
    std::fs::write(lib.join("Cargo.toml"), manifest("lib")).expect("written");
    std::fs::write(lib.join("src/lib.rs"), "").expect("written");
    let app = format!(
        "{}[dependencies]\nlib = {{ path = \"../lib\" }}\n",
        manifest("app")
    );
    sandbox.write("Cargo.toml", app);
    sandbox.write("src/lib.rs", "");
    let said = run(&sandbox, &["lint", "--engine", "dagger"])
        .expect(3)
        .stderr;
    for part in [
        "it needs `lib/Cargo.toml`, which is above the project root",
        "with `--engine local`",
    ] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn a_program_of_another_version_is_refused_with_a_way_out() {
    let sandbox = sandbox(DIES);
    // Up to 0.21.3 there are no variables that are in no key.
    for version in ["v0.19.0", "v0.21.3", "v1.0.0-beta.23"] {
        let script = format!("#!/bin/sh\necho 'dagger {version} (x) y'\n");
        sandbox.program("dagger", &script);
        let doctor = run(&sandbox, &["doctor", "--engine", "dagger"]).expect(3);
        let fails = format!("is version {version}, which is not supported");
        for part in ["Fail dagger:", &fails, "0.21.4 or a later 0.21"] {
            assert!(doctor.stderr.contains(part), "{}", doctor.stderr);
        }
        let run = run(&sandbox, &["ci", "--engine", "dagger"]).expect(3);
        for part in [&fails, "0.21.4 or a later 0.21"] {
            assert!(run.stderr.contains(part), "{}", run.stderr);
        }
    }
}

#[test]
fn status_says_what_the_engine_holds_or_why_it_does_not_say() {
    let sandbox = sandbox(DIES);
    let args = ["cache", "status", "--message-format", "json"];
    let status = run(&sandbox, &args).expect(0).stdout;
    assert!(!status.contains("\"dagger\""), "{status}");
    assert_eq!(sessions(&sandbox), 0);
    let asked = [&args[..], &["--engine", "dagger"]].concat();
    let status = run(&sandbox, &asked).expect(0).stdout;
    let told: serde_json::Value = serde_json::from_str(&status).expect("one object");
    assert_eq!(told["dagger"]["address"], NOWHERE);
    assert!(
        told["dagger"]["error"]
            .as_str()
            .is_some_and(|why| why.contains("on fire"))
    );
    let args = [&args[..], &["--engine", "local"]].concat();
    let status = run(&sandbox, &args).expect(0).stdout;
    assert!(!status.contains("\"dagger\""), "{status}");
}

#[test]
fn layers_are_warmed_where_there_are_any() {
    let sandbox = sandbox(DIES);
    let run = run(&sandbox, &["cache", "warm", "--engine", "local"]).expect(0);
    assert!(run.stderr.contains("Warmed "), "{}", run.stderr);
    let run = Run::of(command(
        &sandbox,
        &["cache", "warm", "nothing", "--engine", "local"],
    ));
    assert!(run.expect(2).stderr.contains("no layer `nothing`"));
    let run = Run::of(command(&sandbox, &["cache", "warm", "--engine", "dagger"])).expect(3);
    assert!(run.stderr.contains("on fire"), "{}", run.stderr);
    let run = Run::of(command(&sandbox, &["cache", "prune", "--engine"])).expect(3);
    assert!(run.stderr.contains("on fire"), "{}", run.stderr);
}

#[test]
fn a_shell_is_one_of_this_machine_and_says_so_to_who_insists_on_dagger() {
    let sandbox = sandbox(DIES);
    let refused = run(&sandbox, &["shell", "own", "--engine", "dagger"]).expect(2);
    assert!(
        refused.stderr.contains("--engine local"),
        "{}",
        refused.stderr
    );
    let opened = run(&sandbox, &["shell", "own"]).expect(0);
    assert!(opened.stderr.contains("Runs ./own.sh"), "{}", opened.stderr);
    assert_eq!(called(&sandbox), [""; 0]);
}

#[test]
fn one_cause_is_explained_once_and_the_engine_is_repeated() {
    let sandbox = sandbox(DIES);
    let config = sandbox.read("dagcache.toml");
    let other = "[checks.other]\ncommand = [\"./own.sh\"]\ninputs = [\"own.sh\"]\n";
    sandbox.write("dagcache.toml", config + other);
    sandbox.remove("dagcache.lock");
    let said = run(&sandbox, &["lint", "--engine", "dagger"])
        .expect(3)
        .stderr;
    assert_eq!(said.matches("on fire").count(), 1, "{said}");
    assert_eq!(
        said.matches(": for the same reason as o").count(),
        1,
        "{said}"
    );
    for part in [
        "help: run again where the engine can be reached",
        "Repeat with cargo dagcache lint --engine dagger --only own",
    ] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn warming_without_an_engine_is_an_error_with_the_reason() {
    let sandbox = sandbox(DIES);
    sandbox.remove("dagcache.lock");
    let said = run(&sandbox, &["cache", "warm"]).expect(3).stderr;
    assert!(said.contains("on fire"), "{said}");
}

#[test]
fn what_is_no_address_or_no_duration_is_a_mistake() {
    let sandbox = sandbox(DIES);
    let mut limited = command(&sandbox, &["lint"]);
    limited.env("DAGCACHE_DAGGER_TIMEOUT", "abc");
    let said = Run::of(limited).expect(2).stderr;
    assert!(
        said.contains("`DAGCACHE_DAGGER_TIMEOUT=abc` is not a duration"),
        "{said}"
    );
    sandbox.write("dagcache.toml", "[engine]\naddress = \"foo\"\n");
    let said = run(&sandbox, &["lint"]).expect(2).stderr;
    assert!(said.contains("use an address like"), "{said}");
    assert!(said.contains("dagcache.toml:2:11"), "{said}");
}
