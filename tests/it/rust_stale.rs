//! Where cargo alone goes stale in a warm target folder: what is said here is what a clean build says.

use std::process::Command;

use serde_json::Value;

use crate::support::{Json, Sandbox};

const LINT: [&str; 3] = ["lint", "--only", "rust:clippy"];

/// `c` depends on `a`. The build script of `b` reads a header and a file of `a`, and names neither to cargo.
fn sandbox() -> Sandbox {
    let package = |name: &str, rest: &str| {
        format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n{rest}")
    };
    let locked = |name: &str, rest: &str| {
        format!("\n[[package]]\nname = \"{name}\"\nversion = \"0.1.0\"\n{rest}")
    };
    Sandbox::with(&[
        (".gitignore", "target\n"),
        (
            "Cargo.toml",
            "[workspace]\nmembers = [\"a\", \"b\", \"c\"]\n",
        ),
        (
            "Cargo.lock",
            &format!(
                "version = 4\n{}{}{}",
                locked("a", ""),
                locked("b", ""),
                locked("c", "dependencies = [\n \"a\",\n]\n")
            ),
        ),
        ("a/Cargo.toml", &package("a", "")),
        (
            "a/src/lib.rs",
            "mod inner;\npub fn one() -> i32 {\n    inner::two() - 1\n}\n",
        ),
        ("a/src/inner.rs", "pub fn two() -> i32 {\n    2\n}\n"),
        ("a/data", "data\n"),
        ("b/Cargo.toml", &package("b", "")),
        (
            "b/src/lib.rs",
            "#[cfg(broken)]\ncompile_error!(\"broken\");\npub fn three() -> i32 {\n    3\n}\n",
        ),
        (
            "b/build.rs",
            "fn main() {\n    println!(\"cargo:rerun-if-changed=build.rs\");\n    \
             println!(\"cargo:rustc-check-cfg=cfg(broken)\");\n    \
             let mut said = std::env::var(\"MODE\").unwrap_or_default();\n    \
             for path in [\"header.h\", \"../a/data\"] {\n        \
             said += &std::fs::read_to_string(path).expect(path);\n    }\n    \
             if said.contains(\"broken\") {\n        println!(\"cargo:rustc-cfg=broken\");\n    }\n}\n",
        ),
        ("b/header.h", "header\n"),
        (
            "c/Cargo.toml",
            &package("c", "[dependencies]\na = { path = \"../a\" }\n"),
        ),
        (
            "c/src/lib.rs",
            "pub fn four() -> i32 {\n    a::one() + 3\n}\n",
        ),
        (
            "dagcache.toml",
            "[checks.\"rust:clippy\"]\nenv = [\"MODE\"]\n",
        ),
    ])
}

/// Runs the check with a value of `MODE`; which places have findings, sorted.
fn lint(sandbox: &Sandbox, mode: &str) -> (bool, Vec<String>, Json) {
    let mut command = sandbox.command(&LINT);
    command.args(["--message-format", "json"]).env("MODE", mode);
    let json = Json::of(crate::support::Run::of(command));
    let check = json.check("rust:clippy");
    let findings = check["findings"].as_array().expect("findings").iter();
    let places = findings.map(|finding| place(&finding["path"], &finding["line"]));
    let mut places: Vec<String> = places.collect();
    places.sort();
    places.dedup();
    let passed = check["verdict"] == "passed";
    assert!(passed || check["verdict"] == "failed", "{check}");
    (passed, places, json)
}

fn place(path: &Value, line: &Value) -> String {
    format!("{}:{line}", path.as_str().unwrap_or_default())
}

/// What plain cargo says in an empty target folder.
fn clean(sandbox: &Sandbox, mode: &str) -> (bool, Vec<String>) {
    let target = tempfile::tempdir().expect("folder");
    let output = Command::new("cargo")
        .args(["clippy", "--workspace", "--all-targets", "--locked"])
        .args(["--keep-going", "--offline", "--message-format=json"])
        .current_dir(sandbox.project())
        .env("CARGO_TARGET_DIR", target.path())
        .env("MODE", mode)
        .output()
        .expect("cargo");
    let mut places: Vec<String> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["reason"] == "compiler-message")
        .filter_map(|line| {
            let span = line["message"]["spans"].as_array()?.first()?.clone();
            Some(place(&span["file_name"], &span["line_start"]))
        })
        .collect();
    places.sort();
    places.dedup();
    (output.status.success(), places)
}

/// Runs both, compares, and says whether it passed and why it was run.
#[track_caller]
fn same(sandbox: &Sandbox, mode: &str) -> (bool, String) {
    let (passed, places, json) = lint(sandbox, mode);
    assert_eq!(
        (passed, places),
        clean(sandbox, mode),
        "{}",
        json.run.stderr
    );
    (passed, json.ran().join(", "))
}

#[test]
fn a_warm_room_says_what_a_clean_build_says() {
    let sandbox = sandbox();
    assert!(lint(&sandbox, "").0);
    let red = |reason: &str| (false, format!("rust:clippy {reason}"));
    let fresh = || assert!(lint(&sandbox, "").2.ran().is_empty());
    // With it the module is there twice; cargo alone does not look.
    sandbox.write("a/src/inner/mod.rs", "pub fn two() -> i32 {\n    2\n}\n");
    assert_eq!(same(&sandbox, ""), red("input-added a/src/inner/mod.rs"));
    std::fs::remove_dir_all(sandbox.path("a/src/inner")).expect("folder");
    fresh();
    for unlisted in ["b/header.h", "a/data"] {
        let before = sandbox.read(unlisted);
        sandbox.write(unlisted, "broken\n");
        let reason = format!("input-changed {unlisted}");
        assert_eq!(same(&sandbox, ""), red(&reason), "{unlisted}");
        sandbox.write(unlisted, before);
        fresh();
    }
    assert_eq!(same(&sandbox, "broken"), red("env-changed MODE"));
    fresh();
}

#[test]
fn sources_older_than_products_are_compiled() {
    let sandbox = sandbox();
    assert!(lint(&sandbox, "").0);
    let (path, good) = (sandbox.path("a/src/lib.rs"), sandbox.read("a/src/lib.rs"));
    let old = std::fs::metadata(&path).and_then(|meta| meta.modified());
    let old = old.expect("time") - std::time::Duration::from_secs(3600);
    let at_old_time = |text: &str| {
        sandbox.write("a/src/lib.rs", text);
        let file = std::fs::File::options().write(true).open(&path);
        file.and_then(|file| file.set_modified(old)).expect("time");
    };
    // A member that fails: what depends on it is not checked, and what does not is.
    at_old_time("pub fn one() -> String {\n    1\n}\n");
    let c = sandbox.read("c/src/lib.rs");
    assert!(!same(&sandbox, "").0);
    // Another file changes with it, so that the earlier result does not answer.
    at_old_time(&good);
    sandbox.write("c/src/lib.rs", format!("{c}// more\n"));
    assert!(same(&sandbox, "").0);
}

#[test]
fn what_products_were_made_from_still_counts() {
    let sandbox = sandbox();
    assert!(lint(&sandbox, "").0);
    // Only this package is compiled again, so only its files are read.
    let c = sandbox.read("c/src/lib.rs");
    sandbox.write("c/src/lib.rs", format!("{c}// more\n"));
    assert!(lint(&sandbox, "").0);
    sandbox.write("a/src/inner.rs", "pub fn two() -> String {\n    2\n}\n");
    let (passed, _, json) = lint(&sandbox, "");
    assert!(!passed);
    assert_eq!(json.ran(), ["rust:clippy input-changed a/src/inner.rs"]);
}

#[test]
fn configuration_above_the_project_counts() {
    let sandbox = sandbox();
    let c = sandbox.read("c/src/lib.rs");
    sandbox.write("c/src/lib.rs", format!("{c}fn unused() {{}}\n"));
    assert!(lint(&sandbox, "").0);
    let config = sandbox.outer().join(".cargo");
    std::fs::create_dir(&config).expect("folder");
    let deny = "[build]\nrustflags = [\"-Dwarnings\"]\n";
    std::fs::write(config.join("config.toml"), deny).expect("file");
    let (passed, reason) = same(&sandbox, "");
    assert!(!passed);
    assert!(
        reason.contains("config-changed ../.cargo/config.toml"),
        "{reason}"
    );
}
