//! Bad input: a clear message, the right exit code, no panic, nothing lost.

use std::os::unix::ffi::OsStrExt as _;
use std::process::Stdio;

use crate::support::{Json, Run, Sandbox, skip};

/// The command fails with this code and says all of this on stderr, nothing on stdout.
#[track_caller]
fn refused(files: &[(&str, &str)], code: i32, said: &[&str]) {
    let sandbox = Sandbox::with(files);
    let run = sandbox.run(&["dev-check"]).expect(code);
    for part in said {
        assert!(run.stderr.contains(part), "{part}\n{}", run.stderr);
    }
    assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
    assert_eq!(run.stdout, "");
}

#[test]
fn an_unknown_key() {
    let text = "[checks.own]\ncommand = [\"x\"]\ninput = [\"a\"]\n";
    refused(
        &[("dagcache.toml", text)],
        2,
        &["dagcache.toml:3:1", "input = [", "did you mean `inputs`?"],
    );
}

#[test]
fn a_value_of_the_wrong_type() {
    let text = "[checks.own]\ncommand = \"x\"\n";
    refused(
        &[("dagcache.toml", text)],
        2,
        &["dagcache.toml:2", "command = \"x\""],
    );
}

#[test]
fn two_configurations() {
    refused(
        &[
            ("dagcache.toml", "exclude = []\n"),
            ("pyproject.toml", "[tool.dagcache]\nexclude = []\n"),
        ],
        2,
        &["dagcache.toml", "pyproject.toml"],
    );
}

#[test]
fn a_configuration_that_is_no_toml() {
    refused(&[("dagcache.toml", "[checks\n")], 2, &["dagcache.toml:1"]);
}

#[test]
fn broken_yaml_is_a_finding() {
    let sandbox = Sandbox::with(&[("a.yaml", "a: [1\nb: 2\n")]);
    let run = sandbox.run(&["dev-check"]).expect(1);
    assert!(run.stderr.contains("a.yaml:"), "{}", run.stderr);
    assert!(
        run.stderr
            .contains("Repeat with cargo dagcache dev-check --only yaml:syntax"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_broken_cargo_manifest() {
    refused(
        &[("Cargo.toml", "[package\n"), ("src/lib.rs", "")],
        3,
        &["Cargo.toml"],
    );
}

#[test]
fn a_broken_poetry_lock_is_an_error_of_the_checks_that_need_it() {
    let project = "[tool.poetry.group.lint.dependencies]\nyamllint = \"*\"\n";
    let sandbox = Sandbox::with(&[
        ("pyproject.toml", project),
        ("poetry.lock", "[[package]\nname = \n"),
        ("a.yaml", "a: 1\n"),
    ]);
    let json = sandbox.json(&["dev-check"]).expect(3);
    assert_eq!(json.check("yaml:syntax")["verdict"], "passed");
    assert_eq!(json.check("yaml:yamllint")["verdict"], "error");
    assert!(
        json.check("yaml:yamllint")
            .to_string()
            .contains("poetry.lock:1:")
    );
}

#[test]
fn neither_repository_nor_project() {
    let sandbox = Sandbox::plain();
    let run = sandbox.run(&["lint"]).expect(0);
    assert!(run.stderr.contains("nothing to check"), "{}", run.stderr);
    sandbox.run(&["dev-check"]).expect(0);
    sandbox.write("a.yaml", "a: 1\n");
    sandbox.run(&["dev-check"]).expect(0);
    sandbox.json(&["dev-check"]).expect(0).expect_fresh();
}

#[test]
fn an_empty_repository() {
    let sandbox = Sandbox::git_repository();
    let run = sandbox.run(&["lint"]).expect(0);
    assert!(run.stderr.contains("nothing to check"), "{}", run.stderr);
    sandbox.run(&["dev-check"]).expect(0);
}

#[test]
fn a_name_that_is_not_utf8() {
    let sandbox = Sandbox::with(&[
        ("dagcache.toml", "[checks.own]\ncommand = [\"./ok.sh\"]\n"),
        ("a.yaml", "a: 1\n"),
    ]);
    sandbox.script("ok.sh", "");
    let name = std::ffi::OsStr::from_bytes(b"b\xff.yaml");
    if std::fs::write(sandbox.project().join(name), "b: 1\n").is_err() {
        return skip("this disk takes UTF-8 names only");
    }
    for cache in ["miss", "hit"] {
        let json = sandbox.json(&["dev-check"]).expect(0);
        assert!(json.run.stderr.contains("skipping "), "{}", json.run.stderr);
        assert_eq!(json.check("own")["cache"], cache);
    }
    // What looks for names could tell that one is missing.
    sandbox.script("ok.sh", "for name in *; do :; done");
    for _ in 0..2 {
        let own = sandbox.json(&["dev-check"]).expect(0).check("own").clone();
        assert_eq!(own["cache"], "miss");
        let why = own["not_stored"].as_str().expect("a reason");
        assert!(why.contains("may have listed `.`"), "{why}");
    }
}

#[test]
fn no_home_at_all() {
    let sandbox = Sandbox::with(&[("a.yaml", "a: 1\n")]);
    for _ in 0..2 {
        let mut command = sandbox.command(&["dev-check"]);
        command
            .env_remove("HOME")
            .env_remove("DAGCACHE_DIR")
            .env_remove("XDG_CACHE_HOME");
        let run = Run::of(command).expect(0);
        assert_eq!(run.stderr.matches("warning").count(), 1, "{}", run.stderr);
        assert!(run.stderr.contains("0 Fresh, 2 run"), "{}", run.stderr);
    }
}

#[test]
fn a_cache_folder_that_cannot_be_made() {
    let sandbox = Sandbox::with(&[("a.yaml", "a: [1\n")]);
    std::fs::remove_dir(sandbox.cache()).expect("remove");
    std::fs::write(sandbox.cache(), "a file in its place").expect("file");
    for _ in 0..2 {
        // The verdict is found all the same.
        let run = sandbox.run(&["dev-check"]).expect(1);
        assert_eq!(run.stderr.matches("warning").count(), 1, "{}", run.stderr);
    }
    assert_eq!(
        std::fs::read_to_string(sandbox.cache()).expect("file"),
        "a file in its place"
    );
}

#[test]
fn a_cache_folder_without_permission_to_write() {
    use std::os::unix::fs::PermissionsExt as _;
    if rustix::process::geteuid().is_root() {
        // Root may write anywhere; the test of a file in its place covers the rest.
        return;
    }
    let sandbox = Sandbox::with(&[("a.yaml", "a: 1\n")]);
    let mode = |bits| {
        let folders = walkdir::WalkDir::new(sandbox.cache())
            .into_iter()
            .filter_map(Result::ok);
        for folder in folders.filter(|file| file.file_type().is_dir()) {
            let _ = std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(bits));
        }
    };
    sandbox.run(&["dev-check"]).expect(0);
    mode(0o555);
    let fresh = sandbox.json(&["dev-check"]).expect(0);
    sandbox.write("a.yaml", "a: [1\n");
    let run = sandbox.run(&["dev-check"]);
    mode(0o755);
    fresh.expect_fresh();
    run.expect(1);
}

#[test]
fn a_closed_stdout_is_silent_and_the_verdict_counts() {
    let sandbox = Sandbox::with(&[("a.yaml", "a: [1\n")]);
    for _ in 0..2 {
        let mut command = sandbox.command(&["dev-check", "--message-format", "json"]);
        let (reader, writer) = std::io::pipe().expect("pipe");
        drop(reader);
        command.stdout(writer).stderr(Stdio::piped());
        let output = command
            .spawn()
            .expect("start")
            .wait_with_output()
            .expect("end");
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    }
    let mut command = sandbox.command(&["config", "schema"]);
    let (reader, writer) = std::io::pipe().expect("pipe");
    drop(reader);
    command.stdout(writer);
    assert_eq!(command.status().expect("run").code(), Some(0));
}

#[test]
fn an_unknown_check_with_a_hint() {
    let sandbox = Sandbox::with(&[("a.yaml", "a: 1\n")]);
    let run = sandbox.run(&["lint", "--only", "yaml:sintax"]).expect(2);
    assert!(
        run.stderr.contains("did you mean `yaml:syntax`?"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_table_for_a_check_that_does_not_exist_is_an_error_and_for_one_that_is_not_planned_a_warning() {
    let sandbox = Sandbox::with(&[("a.yaml", "a: 1\n")]);
    sandbox.write(
        "dagcache.toml",
        "[checks.\"yaml:sintax\"]\ntags = [\"x\"]\n",
    );
    let run = sandbox.run(&["lint"]).expect(2);
    assert!(run.stderr.contains("`yaml:syntax`"), "{}", run.stderr);
    sandbox.write(
        "dagcache.toml",
        "[checks.\"rust:clippy\"]\ntags = [\"x\"]\n",
    );
    let run = sandbox.run(&["lint"]).expect(0);
    let warning = "`checks.\"rust:clippy\"` has no effect (dagcache.toml:1:9)";
    assert!(run.stderr.contains(warning), "{}", run.stderr);
}

#[test]
fn places_that_are_not_there() {
    let sandbox = Sandbox::with(&[("a.yaml", "a: 1\n")]);
    for args in [
        &["lint", "-C", "nowhere"][..],
        &["lint", "nowhere.yaml"],
        &["lint", "../home"],
        &["lint", "--manifest-path", "nowhere/Cargo.toml"],
    ] {
        let run = sandbox.run(args).expect(2);
        assert!(run.stderr.starts_with("error: "), "{}", run.stderr);
    }
}

#[test]
fn what_comes_later_says_so() {
    let sandbox = Sandbox::with(&[("a.yaml", "a: 1\n")]);
    for args in [
        &["lint", "--watch"][..],
        &["ci", "--cache-from=registry"],
        &["ci", "--partition", "1/2"],
        &["ci", "--message-format", "github"],
        &["init"],
        &["completions", "bash"],
    ] {
        let run = sandbox.run(args).expect(2);
        assert!(
            run.stderr.contains("not supported yet"),
            "{args:?}: {}",
            run.stderr
        );
        assert_eq!(run.stdout, "");
    }
}

#[test]
fn the_schema_is_json_and_knows_every_table() {
    let run = Sandbox::plain().run(&["config", "schema"]).expect(0);
    let schema: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
    for table in [
        "exclude", "engine", "layers", "checks", "commands", "cache", "remote",
    ] {
        assert!(schema["properties"][table].is_object(), "{table}");
    }
}

#[test]
fn a_tracked_file_or_folder_that_may_not_be_read_is_the_error_of_checks_that_see_it() {
    for unreadable in ["private/key.txt", "closed"] {
        only_who_sees_it_fails(unreadable);
    }
}

fn only_who_sees_it_fails(unreadable: &str) {
    use std::os::unix::process::CommandExt as _;
    let config = "[checks.all]\ncommand = [\"true\"]\n[checks.some]\ncommand = [\"true\"]\ninputs = [\"*.md\"]\n";
    let sandbox = Sandbox::with(&[
        ("dagcache.toml", config),
        ("good.md", "key\n"),
        ("notes.txt", "text\n"),
        ("private/key.txt", "text\n"),
        ("closed/key.txt", "text\n"),
    ]);
    sandbox.commit("files");
    sandbox.mode(unreadable, 0o000);
    let binary = sandbox.outer().join("dagcache");
    crate::support::copy_binary(&binary);
    sandbox.give_to_nobody();
    let json = |id: &str, code| {
        let mut command = std::process::Command::new(&binary);
        let args = [
            "lint",
            "--message-format",
            "json",
            "--only",
            id,
            "--cache-dir",
        ];
        command.args(args).arg(sandbox.outer().join("home/cache"));
        command
            .current_dir(sandbox.project())
            .env("HOME", sandbox.home());
        // Root may read everything.
        if rustix::process::geteuid().is_root() {
            command
                .uid(crate::support::NOBODY)
                .gid(crate::support::NOBODY);
        }
        Json::of(Run::of(command)).expect(code)
    };
    assert_eq!(json("some", 0).check("some")["verdict"], "passed");
    let all = json("all", 3);
    let message = all.check("all")["message"].as_str().expect("message");
    assert!(
        message.contains(&format!("`{unreadable}`")) && message.contains("chmod"),
        "{message}"
    );
    sandbox.mode(unreadable, 0o755);
}
