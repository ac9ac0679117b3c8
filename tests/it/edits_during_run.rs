//! Files edited while checks run: what is stored is always the verdict of the hashed content.

use crate::support::{Json, Run, Sandbox, open_gate};

/// Passes if the content it sees after the gate is `good`.
const SCRIPT: &str = "mkfifo gate; read line < gate; read content < src/a; echo \"$content\"; [ \"$content\" = good ]";

const CONFIG: &str = "[checks.own]\ncommand = [\"./check.sh\"]\ninputs = [\"src/**\"]\ntools = [\"mkfifo\"]\ntimeout = \"60s\"\ntrace = false\n";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::with(&[("dagcache.toml", CONFIG), ("src/a", "good\n")]);
    sandbox.script("check.sh", SCRIPT);
    sandbox
}

const ARGS: [&str; 5] = ["lint", "--only", "own", "--message-format", "json"];

/// Runs the check; at its gate, edits.
fn run_and_edit(sandbox: &Sandbox, edit: impl FnOnce()) -> Json {
    let child = sandbox.start(&ARGS);
    let gate = sandbox.gate();
    edit();
    open_gate(&gate);
    Json::of(Run::end_of(child))
}

#[test]
fn the_stored_verdict_is_that_of_the_hashed_content() {
    let sandbox = sandbox();
    let first = run_and_edit(&sandbox, || sandbox.write("src/a", "bad!\n")).expect(0);
    assert_eq!(first.check("own")["stdout"], "good\n");

    // What was edited misses and gets a verdict of its own.
    let second = run_and_edit(&sandbox, || ()).expect(1);
    assert_eq!(second.ran(), ["own input-changed src/a"]);
    assert_eq!(second.check("own")["stdout"], "bad!\n");

    // Both are known now.
    sandbox.json(&["lint"]).expect(1).expect_fresh();
    sandbox.write("src/a", "good\n");
    let fresh = sandbox.json(&["lint"]).expect(0);
    fresh.expect_fresh();
    assert_eq!(fresh.check("own")["key"], first.check("own")["key"]);
}

#[test]
fn an_edit_that_is_reverted_before_the_end_leaves_no_trace() {
    let sandbox = sandbox();
    let first = run_and_edit(&sandbox, || {
        sandbox.write("src/a", "bad!\n");
        sandbox.write("src/a", "good\n");
    });
    first.expect(0);
    sandbox.json(&["lint"]).expect(0).expect_fresh();
}

#[test]
fn a_red_verdict_is_not_hidden_by_an_edit() {
    let sandbox = sandbox();
    sandbox.write("src/a", "bad!\n");
    let first = run_and_edit(&sandbox, || sandbox.write("src/a", "good\n")).expect(1);
    assert_eq!(first.check("own")["stdout"], "bad!\n");
    sandbox.write("src/a", "bad!\n");
    sandbox.json(&["lint"]).expect(1).expect_fresh();
}

#[test]
fn an_edit_between_hashing_and_copying_is_seen() {
    let sandbox = Sandbox::with(&[
        (
            "dagcache.toml",
            "[checks.a-first]\ncommand = [\"./wait.sh\"]\ninputs = []\ntools = [\"mkfifo\"]\ntimeout = \"60s\"
             [checks.b-second]\ncommand = [\"./check.sh\"]\ninputs = [\"src/**\"]",
        ),
        ("src/a", "old\n"),
        ("x.yaml", "a: 1\n"),
    ]);
    sandbox.script("wait.sh", "mkfifo gate; read line < gate");
    sandbox.script("check.sh", "read content < src/a; echo \"$content\"");
    let child = sandbox.start(&["lint", "-j", "1", "--message-format", "json"]);
    let gate = sandbox.gate();
    // One at a time: the others were hashed, and have not begun.
    sandbox.write("src/a", "new\n");
    sandbox.write("x.yaml", "a: [1\n");
    open_gate(&gate);
    let json = Json::of(Run::end_of(child)).expect(1);
    assert_eq!(json.checks().len(), 3);
    assert_eq!(json.check("b-second")["stdout"], "new\n");
    assert_eq!(json.check("yaml:syntax")["verdict"], "failed");

    let again = sandbox.json(&["lint"]).expect(1);
    again.expect_fresh();
    sandbox.write("src/a", "old\n");
    sandbox.write("x.yaml", "a: 1\n");
    let back = sandbox.json(&["lint"]).expect(0);
    assert_eq!(back.check("b-second")["cache"], "miss");
    assert_eq!(back.check("b-second")["stdout"], "old\n");
    assert_eq!(back.check("yaml:syntax")["cache"], "miss");
}

#[test]
fn a_file_that_goes_away_meanwhile_is_seen() {
    let sandbox = Sandbox::with(&[
        (
            "dagcache.toml",
            "[checks.a-first]\ncommand = [\"./wait.sh\"]\ninputs = []\ntools = [\"mkfifo\"]\ntimeout = \"60s\"
             [checks.b-second]\ncommand = [\"./check.sh\"]\ninputs = [\"src/**\"]",
        ),
        ("src/a", "old\n"),
        ("src/b", "old\n"),
    ]);
    sandbox.script("wait.sh", "mkfifo gate; read line < gate");
    sandbox.script("check.sh", "echo src/*");
    let child = sandbox.start(&["lint", "-j", "1", "--message-format", "json"]);
    let gate = sandbox.gate();
    sandbox.remove("src/a");
    open_gate(&gate);
    let json = Json::of(Run::end_of(child)).expect(0);
    assert_eq!(json.check("b-second")["stdout"], "src/b\n");
    sandbox.json(&["lint"]).expect(0).expect_fresh();
}

/// A file that is another at each look: three tries, then an error, and nothing is stored.
#[cfg(target_os = "linux")]
#[test]
fn a_file_that_never_holds_still_is_an_error() {
    let config = "[checks.own]\ncommand = [\"./check.sh\"]\ninputs = [\"random\"]\n";
    let sandbox = Sandbox::with(&[("dagcache.toml", config), (".gitignore", "random\n")]);
    sandbox.script("check.sh", "read line < random");
    let random = "/proc/sys/kernel/random/uuid";
    std::os::unix::fs::symlink(random, sandbox.path("random")).expect("link");
    let json = sandbox.json(&["lint"]).expect(3);
    let message = json.check("own")["message"].as_str().expect("message");
    assert!(message.contains("3 tries"), "{message}");
    assert_eq!(sandbox.cached("v1/ac", "").len(), 0);
}

/// A toolchain whose `cargo` is asked while the project is planned, and meanwhile somebody mends the manifest.
#[test]
fn a_manifest_that_is_mended_while_it_is_planned_with_is_read_again() {
    let sandbox = Sandbox::with(&[
        ("Cargo.toml", "[workspace] # broken\n"),
        ("Cargo.lock", "version = 4\n"),
    ]);
    let home = sandbox.outer().join("rustup");
    let bin = sandbox.tool_in("rustup/toolchains/one/bin", "rustc", "one");
    std::fs::create_dir_all(home.join("toolchains/one/lib/rustlib")).expect("folder");
    std::fs::write(home.join("settings.toml"), "default_toolchain = \"one\"\n").expect("settings");
    let manifest = sandbox.path("Cargo.toml");
    let metadata = r#"{"packages":[],"workspace_members":[],"workspace_default_members":[],"resolve":null,"workspace_root":"/","target_directory":"/target","version":1,"metadata":null}"#;
    let cargo = format!(
        "#!/bin/sh\nread line < {0}\n[ \"$line\" = '[workspace]' ] && echo '{metadata}' && exit\n\
         echo '[workspace]' > {0}\necho broken >&2\nexit 101\n",
        manifest.display()
    );
    sandbox.program("cargo-one", &cargo);
    std::fs::rename(sandbox.outer().join("bin/cargo-one"), bin.join("cargo")).expect("cargo");
    sandbox.tool("rustup", "proxy");
    for name in ["cargo", "rustc"] {
        let link = sandbox.outer().join("bin").join(name);
        std::os::unix::fs::symlink("rustup", link).expect("link");
    }
    let run = || {
        let args = ["lint", "--dry-run", "--message-format", "json"];
        let mut command = sandbox.command(&args);
        command.env("RUSTUP_HOME", &home);
        Json::of(Run::of(command))
    };
    let json = run().expect(0);
    assert_eq!(json.finished()["verdict"], "passed");
    assert_eq!(sandbox.read("Cargo.toml"), "[workspace]\n");

    // Where it is not mended, it is an error all the same.
    sandbox.write("Cargo.toml", "[workspace] # broken\n");
    let cargo = "#!/bin/sh\necho broken >&2\nexit 101\n";
    std::fs::write(bin.join("cargo"), cargo).expect("cargo");
    let refused = run().expect(3);
    let message = refused.check("rust:clippy")["message"].to_string();
    assert!(message.contains("broken"), "{message}");
}
