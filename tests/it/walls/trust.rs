//! What a repository asks for beyond a closed room needs the user's consent, for this project and this content.

use std::process::Command;

use crate::support::{Json, Run, Sandbox, have};

/// The binary without any consent.
fn command(sandbox: &Sandbox, args: &[&str]) -> Command {
    let mut command = sandbox.command(args);
    command.env_remove("DAGCACHE_TRUST");
    command
}

fn run(sandbox: &Sandbox, args: &[&str]) -> Run {
    Run::of(command(sandbox, args))
}

fn json(sandbox: &Sandbox, args: &[&str]) -> Json {
    Json::of(run(
        sandbox,
        &[args, &["--message-format", "json"]].concat(),
    ))
}

#[track_caller]
fn expect_refused(json: &Json, id: &str) {
    let check = json.check(id);
    assert_eq!(check["verdict"], "error", "{check}");
    let message = check["message"].as_str().expect("a message");
    assert!(message.contains("cargo dagcache trust"), "{message}");
    assert!(message.contains(&format!("`{id}`")), "{message}");
}

/// A check with these keys beside one that asks for nothing.
fn asking(keys: &str) -> Sandbox {
    let config = format!(
        "[checks.asks]\ncommand = [\"./asks.sh\"]\n{keys}\n[checks.plain]\ncommand = [\"true\"]\nenv = [\"HEADER_YEAR\"]\n"
    );
    let sandbox = Sandbox::with(&[("dagcache.toml", &config)]);
    sandbox.script("asks.sh", "true");
    sandbox.commit("script");
    sandbox
}

#[test]
fn what_asks_for_more_is_an_error_until_it_is_accepted_and_all_others_run() {
    for (keys, named) in [
        ("network = true", "`network = true`"),
        ("secrets = [\"MINE\"]", "`secrets` MINE"),
        ("env = [\"DEPLOY_TOKEN\"]", "`env` DEPLOY_TOKEN"),
        ("env = [\"YEAR\", \"API_KEY\"]", "`env` YEAR, API_KEY"),
        ("network = true\nenv = [\"YEAR\"]", "`env` YEAR"),
    ] {
        let sandbox = asking(keys);
        for args in [
            &["lint"][..],
            &["ci"],
            &["pre-commit"],
            &["lint", "--no-cache"],
        ] {
            let said = json(&sandbox, args).expect(3);
            expect_refused(&said, "asks");
            let message = said.check("asks")["message"].to_string();
            assert!(
                message.contains(named) && message.contains("dagcache.toml:1"),
                "{message}"
            );
            assert_eq!(said.check("plain")["verdict"], "passed");
        }
        let dry = json(&sandbox, &["lint", "--dry-run"]);
        assert_eq!(dry.check("asks")["verdict"], "error");
        // Accepting is the user's word alone.
        let asked = run(&sandbox, &["trust"]).expect(2);
        assert!(
            asked.stderr.contains(named) && asked.stderr.contains("--yes"),
            "{}",
            asked.stderr
        );
        expect_refused(&json(&sandbox, &["lint"]).expect(3), "asks");
        run(&sandbox, &["trust", "--yes"]).expect(0);
        for args in [&["lint"][..], &["pre-commit"]] {
            let said = json(&sandbox, args).expect(0);
            assert_eq!(said.check("asks")["verdict"], "passed");
        }
        let again = run(&sandbox, &["trust"]).expect(0);
        assert!(
            again.stderr.contains("nothing needs your consent"),
            "{}",
            again.stderr
        );
        run(&sandbox, &["trust", "--revoke"]).expect(0);
        expect_refused(&json(&sandbox, &["lint"]).expect(3), "asks");
    }
}

#[test]
fn consent_is_for_this_content_and_this_project() {
    let sandbox = asking("network = true");
    run(&sandbox, &["trust", "--yes"]).expect(0);
    json(&sandbox, &["lint"]).expect(0);
    let config = sandbox.read("dagcache.toml");
    // Any key of the table, and the program.
    sandbox.write(
        "dagcache.toml",
        config.replace("network = true", "network = true\nargs = [\"more\"]"),
    );
    expect_refused(&json(&sandbox, &["lint"]).expect(3), "asks");
    sandbox.write("dagcache.toml", &config);
    json(&sandbox, &["lint"]).expect(0);
    sandbox.script("asks.sh", "true; true");
    expect_refused(&json(&sandbox, &["lint"]).expect(3), "asks");
    // Other tables, comments and order are something else.
    sandbox.script("asks.sh", "true");
    let other = format!(
        "# note\nexclude = [\"x\"]\n{}",
        config.replace("[\"true\"]", "[\"true\", \"x\"]")
    );
    sandbox.write("dagcache.toml", other);
    json(&sandbox, &["lint"]).expect(0);
    // Another project with the same content.
    let copy = sandbox.outer().join("copy");
    let copied = Command::new("cp")
        .arg("-a")
        .arg(sandbox.project())
        .arg(&copy)
        .status();
    assert!(copied.expect("cp").success());
    let mut elsewhere = command(&sandbox, &["lint"]);
    elsewhere.current_dir(&copy);
    Run::of(elsewhere).expect(3);
}

#[test]
fn a_cleared_cache_keeps_consent_and_damage_is_none() {
    let sandbox = asking("network = true");
    run(&sandbox, &["trust", "--yes"]).expect(0);
    run(&sandbox, &["cache", "clear"]).expect(0);
    json(&sandbox, &["lint"]).expect(0);
    for file in sandbox.cached("v1/trust", "") {
        std::fs::write(file, "damaged").expect("written");
    }
    json(&sandbox, &["lint"]).expect(3);
}

#[test]
fn a_run_may_accept_everything_and_remembers_nothing() {
    let sandbox = asking("network = true");
    run(&sandbox, &["lint", "--trust"]).expect(0);
    run(&sandbox, &["pre-commit", "--trust"]).expect(0);
    let mut of_environment = command(&sandbox, &["lint"]);
    of_environment.env("DAGCACHE_TRUST", "1");
    Run::of(of_environment).expect(0);
    expect_refused(&json(&sandbox, &["lint"]).expect(3), "asks");
    let mut no = command(&sandbox, &["lint"]);
    no.env("DAGCACHE_TRUST", "0");
    Run::of(no).expect(3);
}

#[test]
fn an_override_of_a_built_in_check_asks_too() {
    if !have("cargo") {
        return;
    }
    let config = "[checks.\"rust:fmt\"]\nnetwork = true\n";
    let sandbox = Sandbox::with(&[
        ("dagcache.toml", config),
        (
            "Cargo.toml",
            "[package]\nname = \"a\"\nversion = \"0.1.0\"\nedition = \"2021\"\n",
        ),
        ("src/lib.rs", "pub fn a() {}\n"),
    ]);
    expect_refused(
        &json(&sandbox, &["lint", "--only", "rust:fmt"]).expect(3),
        "rust:fmt",
    );
    run(&sandbox, &["trust", "--yes"]).expect(0);
    json(&sandbox, &["lint", "--only", "rust:fmt"]).expect(0);
}

#[test]
fn doctor_says_what_is_asked_and_what_is_accepted() {
    let sandbox = asking("network = true");
    let said = run(&sandbox, &["doctor"]).expect(3);
    assert!(
        said.stderr.contains("which is not accepted"),
        "{}",
        said.stderr
    );
    run(&sandbox, &["trust", "--yes"]).expect(0);
    let said = run(&sandbox, &["doctor"]);
    assert!(said.stderr.contains("which is accepted"), "{}", said.stderr);
}

#[test]
fn an_engine_of_the_repository_is_not_contacted() {
    for (kind, code) in [("", 0), ("kind = \"dagger\"\n", 3)] {
        let config = format!(
            "[engine]\n{kind}address = \"tcp://127.0.0.1:1\"\n[checks.own]\ncommand = [\"true\"]\n"
        );
        let sandbox = Sandbox::with(&[("dagcache.toml", &config)]);
        let log = sandbox.outer().join("contacted");
        sandbox.program(
            "dagger",
            &format!("#!/bin/sh\necho \"$@\" >>{}\nexit 1\n", log.display()),
        );
        for args in [
            &["lint"][..],
            &["lint", "--dry-run"],
            &["doctor"],
            &["cache", "status"],
            &["explain"],
            &["trust"],
        ] {
            let said = run(&sandbox, args);
            assert!(!log.exists(), "{args:?}: {}", said.stderr);
        }
        let said = run(&sandbox, &["lint"]).expect(code);
        assert!(said.stderr.contains("tcp://127.0.0.1:1"), "{}", said.stderr);
        assert!(
            said.stderr.contains("cargo dagcache trust"),
            "{}",
            said.stderr
        );
        run(&sandbox, &["lint", "--engine", "dagger"]).expect(3);
        assert!(!log.exists());
        run(&sandbox, &["lint", "--engine", "local"]).expect(0);
        // Then it is used.
        run(&sandbox, &["trust", "--yes"]).expect(0);
        run(&sandbox, &["lint"]);
        assert!(log.exists());
    }
}

#[test]
fn an_engine_gets_no_variables_of_the_user_but_its_own() {
    let config = "[engine]\naddress = \"container://nowhere\"\n[checks.own]\ncommand = [\"true\"]\nsecrets = [\"MINE\"]\n";
    let sandbox = Sandbox::with(&[("dagcache.toml", config)]);
    let log = sandbox.outer().join("seen");
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = version ] && echo 'dagger v0.21.8 (image://x) linux/amd64' && exit\nenv >>{}\nexit 1\n",
        log.display()
    );
    sandbox.program("dagger", &script);
    let mut command = command(&sandbox, &["lint", "--trust"]);
    let set = [
        ("OTHER", "hidden-1"),
        ("GITHUB_TOKEN", "hidden-2"),
        ("MINE", "shown-1"),
        ("DAGGER_X", "shown-2"),
    ];
    command.envs(set);
    let said = Run::of(command);
    let seen = std::fs::read_to_string(&log).unwrap_or_else(|_| panic!("{}", said.stderr));
    assert!(
        seen.contains("shown-1") && seen.contains("shown-2"),
        "{seen}"
    );
    assert!(!seen.contains("hidden"), "{seen}");
}

#[test]
fn packages_from_elsewhere_are_neither_resolved_nor_fetched() {
    if !have("cargo") {
        return;
    }
    for (manifest, config) in [
        ("x = { git = \"http://127.0.0.1:1/elsewhere\" }\n", ""),
        (
            "x = { version = \"1\", registry = \"own\" }\n",
            "[registries.own]\nindex = \"sparse+http://127.0.0.1:1/elsewhere/\"\n",
        ),
        (
            "libc = \"0.2\"\n",
            "[source.crates-io]\nreplace-with = \"m\"\n[source.m]\nregistry = \"sparse+http://127.0.0.1:1/elsewhere/\"\n",
        ),
    ] {
        let manifest = format!(
            "[package]\nname = \"a\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\n{manifest}"
        );
        let sandbox = Sandbox::with(&[
            ("Cargo.toml", &manifest),
            ("src/lib.rs", "pub fn a() {}\n"),
            (".cargo/config.toml", config),
        ]);
        let said = json(&sandbox, &["lint"]).expect(3);
        assert_eq!(said.check("rust:fmt")["verdict"], "passed");
        let message = said.check("rust:clippy")["message"]
            .as_str()
            .expect("a message");
        assert!(
            message.contains("http://127.0.0.1:1/elsewhere"),
            "{message}"
        );
        assert!(message.contains("cargo dagcache trust"), "{message}");
        let asked = run(&sandbox, &["trust", "--yes"]).expect(0);
        assert!(
            asked.stderr.contains("http://127.0.0.1:1/elsewhere"),
            "{}",
            asked.stderr
        );
        // Then cargo tries, and fails by itself.
        let said = json(&sandbox, &["lint"]).expect(3);
        let message = said.check("rust:clippy")["message"]
            .as_str()
            .expect("a message");
        assert!(!message.contains("cargo dagcache trust"), "{message}");
    }
}

#[test]
fn what_the_users_own_configuration_names_needs_no_consent() {
    if !have("cargo") {
        return;
    }
    let sandbox = Sandbox::with(&[
        (
            "Cargo.toml",
            "[package]\nname = \"a\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\nx = { version = \"1\", registry = \"own\" }\n",
        ),
        ("src/lib.rs", "pub fn a() {}\n"),
        (
            ".cargo/config.toml",
            "[registries.own]\nindex = \"sparse+http://127.0.0.1:1/elsewhere/\"\n",
        ),
    ]);
    let home = sandbox.outer().join("cargo-home");
    std::fs::create_dir(&home).expect("folder");
    std::fs::write(
        home.join("config.toml"),
        "[registries.own]\nindex = \"sparse+http://127.0.0.1:1/elsewhere/\"\n",
    )
    .expect("configuration");
    let mut command = command(&sandbox, &["trust"]);
    command.env("CARGO_HOME", home);
    let said = Run::of(command).expect(0);
    assert!(
        said.stderr.contains("nothing needs your consent"),
        "{}",
        said.stderr
    );
}
