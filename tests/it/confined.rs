//! What a check can reach: its inputs, its tools, its room. Not the work tree, the home, the store, the network.

use std::io::Write as _;
use std::net::TcpListener;
use std::process::Stdio;

use crate::support::{Json, Run, Sandbox, skip};

/// A project with one check `own`, whose script is `check.sh`, and a file `secret` that it does not declare.
fn sandbox(keys: &str, script: &str) -> Sandbox {
    let sandbox = Sandbox::with(&[("src/a", "one\n"), ("secret", "hidden\n")]);
    let config =
        format!("[checks.own]\ncommand = [\"./check.sh\"]\ninputs = [\"src/**\"]\n{keys}\n");
    sandbox.write("dagcache.toml", config);
    sandbox.script("check.sh", script);
    sandbox
}

fn own(sandbox: &Sandbox) -> Json {
    sandbox.json(&["lint", "--only", "own"])
}

/// Whether this machine can confine a process at all; if not, that is said.
fn can_confine() -> bool {
    let sandbox = sandbox("", ":");
    let run = sandbox.run(&["lint", "-v"]).expect(0);
    let rules_off = std::env::var("DAGCACHE_WITHOUT").is_ok();
    let can = rules_off || !run.stderr.contains("not fully confined");
    if !can {
        skip("this system cannot confine a process");
    }
    can
}

/// Runs a check that tries to read a path and must be refused.
#[track_caller]
fn refused(sandbox: &Sandbox, path: &std::path::Path) {
    sandbox.script("check.sh", &format!("cat '{}'", path.display()));
    let json = own(sandbox).expect(1);
    let check = json.check("own");
    assert_eq!(check["verdict"], "failed");
    assert_eq!(check["stdout"], "", "it could read {}", path.display());
}

#[test]
fn an_undeclared_file_of_the_work_tree_cannot_be_read() {
    if can_confine() {
        let sandbox = sandbox("tools = [\"cat\"]", "");
        refused(&sandbox, &sandbox.path("secret"));
    }
}

#[test]
fn the_home_and_the_store_cannot_be_read() {
    if !can_confine() {
        return;
    }
    let sandbox = sandbox("tools = [\"cat\"]", ":");
    let file = sandbox.home().join(".netrc");
    std::fs::write(&file, "password\n").expect("write");
    refused(&sandbox, &file);
    let entry = sandbox.cached("v1/", "CACHEDIR.TAG");
    refused(&sandbox, entry.first().expect("a file of the store"));
}

#[test]
fn what_is_outside_every_cover_cannot_be_read_either() {
    if !can_confine() {
        return;
    }
    // Neither a system folder nor one of ours.
    let home = std::env::var("HOME").unwrap_or_default();
    let covered = ["/tmp", "/var/tmp", "/dev/shm"];
    let is_free = |dir: &&&str| {
        !covered
            .iter()
            .any(|cover| std::path::Path::new(dir).starts_with(cover))
    };
    let places = [env!("CARGO_TARGET_TMPDIR"), &home];
    let mut places = places.iter().filter(is_free);
    let Some(place) = places.find_map(|dir| tempfile::tempdir_in(dir).ok()) else {
        return skip("the target folder and the home are covered, or cannot be written");
    };
    let file = place.path().join("file");
    std::fs::write(&file, "other\n").expect("write");
    let sandbox = sandbox("tools = [\"cat\"]", "");
    refused(&sandbox, &file);
}

#[test]
fn programs_of_the_host_cannot_be_written_through_their_links() {
    if !can_confine() {
        return;
    }
    let script = "if echo broken >> \"$(command -v tool)\"; then exit 9; fi
        if echo x > /usr/dagcache-test; then exit 8; fi
        tool -c 'echo works'";
    let sandbox = sandbox("tools = [\"tool\"]", script);
    sandbox.tool("tool", "whole");
    let program = sandbox.outer().join("bin/tool");
    let before = std::fs::read(&program).expect("the program");
    let json = own(&sandbox).expect(0);
    assert_eq!(json.check("own")["stdout"], "works\n");
    assert_eq!(std::fs::read(&program).expect("the program"), before);
}

/// Whether Python can be had as a plain program, to open connections with.
fn python() -> Option<&'static str> {
    let found = std::path::Path::new("/usr/bin/python3").is_file();
    if !found {
        skip("no /usr/bin/python3");
    }
    found.then_some("/usr/bin/python3")
}

#[test]
fn there_is_no_network_but_a_loopback_of_its_own() {
    let (true, Some(python)) = (can_confine(), python()) else {
        return;
    };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let script = format!(
        "{python} -I - <<'END'
import socket
try:
    socket.create_connection(('127.0.0.1', {port}), 5)
    print('reached the host')
except OSError:
    print('refused')
server = socket.create_server(('127.0.0.1', 0))
client = socket.create_connection(server.getsockname(), 5)
client.sendall(b'own loopback')
print(server.accept()[0].recv(100).decode())
END"
    );
    let sandbox = sandbox("", &script);
    let json = own(&sandbox).expect(0);
    assert_eq!(json.check("own")["stdout"], "refused\nown loopback\n");
}

#[test]
fn a_room_has_the_same_path_in_every_checkout_and_store() {
    if !can_confine() {
        return;
    }
    // Said in a way that is not made relative.
    let script =
        "cd ..; p=$PWD; while [ -n \"$p\" ]; do printf '<%s>' \"${p##*/}\"; p=${p%/*}; done";
    let said = |sandbox: &Sandbox| own(sandbox).expect(0).check("own")["stdout"].clone();
    let (one, other) = (sandbox("", script), sandbox("", script));
    let first = said(&one);
    assert_eq!(said(&other), first);
    assert!(
        first
            .as_str()
            .is_some_and(|text| text.ends_with("<up><dagcache>")),
        "{first}"
    );
}

#[test]
fn paths_of_the_room_are_relative_in_what_is_reported() {
    let sandbox = sandbox("", "echo \"$PWD/src/a:1: x\"; echo \"$HOME\" \"$TMPDIR\"");
    let json = own(&sandbox).expect(0);
    assert_eq!(json.check("own")["stdout"], "src/a:1: x\n~ $TMPDIR\n");
}

#[test]
fn temporary_folders_are_its_own() {
    if !can_confine() {
        return;
    }
    let script = "echo a > /tmp/a; echo b > $TMPDIR/b; cat /tmp/a $TMPDIR/b; echo /tmp/*";
    let sandbox = sandbox("tools = [\"cat\"]", script);
    let json = own(&sandbox).expect(0);
    let said = json.check("own")["stdout"]
        .as_str()
        .expect("text")
        .to_owned();
    assert!(said.starts_with("a\nb\n"), "{said}");
    // Nothing of the sandbox, which lies in a temporary folder itself, but what the tools need.
    assert!(!said.contains("project"), "{said}");
}

#[test]
fn exit_codes_signals_and_the_umask_are_the_commands_own() {
    let script = "umask; exit 77";
    let first = sandbox("", script);
    let json = own(&first).expect(1);
    assert_eq!(json.check("own")["exit_code"], 77);
    assert_eq!(json.check("own")["stdout"], "0022\n");
    first.script("check.sh", "kill -9 $$");
    let json = own(&first).expect(3);
    let message = json.check("own")["message"].as_str().unwrap_or_default();
    assert!(message.contains("signal 9"), "{message}");
}

#[test]
fn a_command_that_cannot_be_started_is_no_verdict() {
    // One argument that is longer than the system takes.
    let sandbox = sandbox(&format!("args = [\"{}\"]", "x".repeat(200_000)), ":");
    let json = own(&sandbox).expect(3);
    let message = json.check("own")["message"].as_str().unwrap_or_default();
    assert!(message.contains("cannot start `./check.sh`"), "{message}");
    assert_eq!(
        sandbox.cached("v1/ac/", ""),
        [""; 0].map(std::path::PathBuf::from)
    );
}

#[test]
fn where_confinement_is_not_to_be_had_checks_run_and_that_is_said_once() {
    if !crate::support::has_switches() {
        return skip("the program was built without debug assertions");
    }
    let sandbox = sandbox("", "cat src/a || read line < src/a; echo \"$line\"");
    let run = |args: &[&str]| {
        let mut command = sandbox.command(args);
        command.env(
            "DAGCACHE_WITHOUT",
            "confined,own-root,offline,own-processes,calls",
        );
        Run::of(command).expect(0)
    };
    let said = "not fully confined";
    assert!(run(&["lint"]).stderr.contains(said));
    let entry = sandbox.cached("v1/ac/", "");
    let text = std::fs::read_to_string(entry.first().expect("an entry")).expect("text");
    assert!(text.contains("\"confined\":false"), "{text}");
    sandbox.write("src/a", "two\n");
    assert!(!run(&["lint"]).stderr.contains(said));
    sandbox.write("src/a", "three\n");
    assert!(run(&["lint", "-v"]).stderr.contains(said));
    // What is remembered of it is in order, too.
    run(&["cache", "verify"]);
}

#[test]
fn a_fresh_run_asks_the_kernel_for_nothing() {
    let sandbox = sandbox("", ":");
    own(&sandbox).expect(0);
    // With another program of that name it would hang or fail: none is started.
    let run = sandbox.run(&["lint", "-v"]).expect(0);
    assert!(run.stderr.contains("Fresh"), "{}", run.stderr);
    assert!(!run.stderr.contains("confined"), "{}", run.stderr);
}

fn shell(sandbox: &Sandbox, input: &str) -> Run {
    let mut command = sandbox.command(&["shell", "own"]);
    command
        .env("SHELL", "/bin/sh")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).expect("written");
    drop(stdin);
    Run::end_of(child)
}

#[test]
fn a_shell_opens_where_a_check_runs_and_stores_nothing() {
    let sandbox = sandbox("env = [\"SEEN\"]\nargs = [\"a b\"]", "exit 1");
    let run = shell(
        &sandbox,
        "echo \"<$HIDDEN>\"; read x < src/a; echo $x; echo y > src/a; exit 5\n",
    );
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(run.stdout, "<>\none\n");
    assert!(
        run.stderr.contains("Runs ./check.sh 'a b'"),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("/tree"), "{}", run.stderr);
    assert_eq!(sandbox.read("src/a"), "one\n");
    assert_eq!(
        sandbox.cached("v1/ac/", ""),
        [""; 0].map(std::path::PathBuf::from)
    );
}

#[test]
fn a_shell_is_confined_as_the_check_is() {
    if can_confine() {
        let sandbox = sandbox("", "");
        let path = sandbox.path("secret");
        let run = shell(
            &sandbox,
            &format!("read x < '{}'; echo \"<$x>\"\n", path.display()),
        );
        assert_eq!(run.stdout, "<>\n", "{}", run.stderr);
    }
}

#[test]
fn a_shell_for_what_runs_no_program_or_is_no_check_says_so() {
    let sandbox = sandbox("", "");
    let run = sandbox.run(&["shell", "security:secrets"]).expect(2);
    assert!(run.stderr.contains("built in"), "{}", run.stderr);
    let run = sandbox.run(&["shell", "onw"]).expect(2);
    assert!(run.stderr.contains("no check `onw`"), "{}", run.stderr);
}

#[test]
fn a_room_that_is_kept_is_named() {
    let sandbox = sandbox("", "echo made > made; exit 1");
    let run = sandbox.run(&["lint", "--only", "own"]).expect(1);
    assert!(!run.stderr.contains("its room"), "{}", run.stderr);
    let run = sandbox
        .run(&["lint", "--only", "own", "--no-cache", "--keep-room"])
        .expect(1);
    let path = run
        .stderr
        .split("its room is kept at ")
        .nth(1)
        .expect("the room");
    let path = path.split(" until").next().expect("its path");
    let made = std::fs::read_to_string(format!("{path}/made")).expect("what it made");
    assert_eq!(made, "made\n");
}
