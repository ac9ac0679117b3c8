//! What cargo accepts is checked as cargo would: links, included configuration, vendored crates, build scripts that ask
//! git; and what cargo never reads is no project. Few runs: each starts cargo.

use crate::support::{Json, Sandbox};

fn package(name: &str) -> String {
    format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n")
}

const GOOD: &str = "pub fn one() -> u32 {\n    1\n}\n";

fn lint(sandbox: &Sandbox, id: &str, code: i32) -> Json {
    sandbox.json(&["lint", "--only", id]).expect(code)
}

#[cfg(unix)]
#[test]
fn members_manifests_and_sources_may_be_links() {
    let sandbox = Sandbox::with(&[
        (
            "Cargo.toml",
            "[workspace]\nmembers = [\"crates/*\"]\nresolver = \"2\"\n",
        ),
        ("shared/lib.rs", GOOD),
        ("shared/b.toml", &package("b")),
        ("elsewhere/a/Cargo.toml", &package("a")),
        ("crates/b/src/main.rs", "fn main() {}\n"),
    ]);
    let link = |to: &str, at: &str| {
        std::fs::create_dir_all(sandbox.path(at).parent().expect("folder")).expect("folder");
        std::os::unix::fs::symlink(to, sandbox.path(at)).expect("link");
    };
    link("../../../shared/lib.rs", "elsewhere/a/src/lib.rs");
    link("../elsewhere/a", "crates/a");
    link("../../shared/b.toml", "crates/b/Cargo.toml");
    lint(&sandbox, "rust:fmt", 0);
    lint(&sandbox, "rust:clippy", 0);
    sandbox.write("shared/lib.rs", "pub fn one() -> u32 {\n  1\n}\n");
    let json = lint(&sandbox, "rust:fmt", 1);
    assert_eq!(json.ran(), ["rust:fmt input-changed shared/lib.rs"]);
}

#[test]
fn configuration_that_another_file_includes_counts() {
    let sandbox = Sandbox::with(&[
        ("Cargo.toml", &package("a")),
        ("src/main.rs", "fn main() {\n    let x = 1;\n}\n"),
        (".cargo/config.toml", "include = [\"lints.toml\"]\n"),
        (
            ".cargo/lints.toml",
            "[build]\nrustflags = [\"-Dwarnings\"]\n",
        ),
    ]);
    lint(&sandbox, "rust:clippy", 1);
    sandbox.write(".cargo/lints.toml", "");
    let json = lint(&sandbox, "rust:clippy", 0);
    assert_eq!(json.ran(), ["rust:clippy config-changed .cargo/lints.toml"]);
}

/// A package that depends on a vendored one, which lies in `folder` and is named as `directory`.
fn vendored(directory: &str, folder: &str) -> Sandbox {
    let zeros = "0".repeat(64);
    let file = |name: &str| format!("{folder}/dep/{name}");
    Sandbox::with(&[
        (
            "Cargo.toml",
            &format!("{}[dependencies]\ndep = \"1\"\n", package("a")),
        ),
        (
            "Cargo.lock",
            &format!(
                "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"0.1.0\"\ndependencies = [\n \"dep\",\n]\n\n\
                 [[package]]\nname = \"dep\"\nversion = \"1.0.0\"\n\
                 source = \"registry+https://github.com/rust-lang/crates.io-index\"\nchecksum = \"{zeros}\"\n"
            ),
        ),
        ("src/main.rs", "fn main() {\n    dep::f();\n}\n"),
        (
            ".cargo/config.toml",
            &format!(
                "[source.crates-io]\nreplace-with = \"v\"\n[source.v]\ndirectory = \"{directory}\"\n"
            ),
        ),
        (
            &file("Cargo.toml"),
            &package("dep").replace("0.1.0", "1.0.0"),
        ),
        (&file("src/lib.rs"), "pub fn f( ) { }\n"),
        (
            &file(".cargo-checksum.json"),
            &format!("{{\"files\":{{}},\"package\":\"{zeros}\"}}"),
        ),
        (&file("tests/broken/Cargo.toml"), "[{{"),
    ])
}

#[test]
fn vendored_crates_outside_the_project_are_in_the_key() {
    let outside = tempfile::tempdir().expect("folder");
    let folder = outside.path().canonicalize().expect("path");
    let sandbox = vendored(&folder.display().to_string(), "vendor");
    std::fs::rename(sandbox.path("vendor/dep"), folder.join("dep")).expect("move");
    lint(&sandbox, "rust:clippy", 0);
    lint(&sandbox, "rust:clippy", 0).expect_fresh();
    std::fs::write(folder.join("dep/src/lib.rs"), "pub fn g() {}\n").expect("file");
    lint(&sandbox, "rust:clippy", 1);
}

#[test]
fn vendored_crates_above_the_project_are_found_by_a_relative_path() {
    let sandbox = vendored("../vendor", "vendor");
    std::fs::rename(
        sandbox.path("vendor"),
        sandbox.project().parent().expect("folder").join("vendor"),
    )
    .expect("move");
    lint(&sandbox, "rust:clippy", 0);
}

#[test]
fn path_dependencies_above_the_project_are_read_and_in_the_key() {
    let manifest = package("app") + "[dependencies]\nsibling = { path = \"../libs/sibling\" }\n";
    let sandbox = Sandbox::with(&[
        ("Cargo.toml", &manifest),
        ("src/main.rs", "fn main() {\n    sibling::f();\n}\n"),
    ]);
    let above = sandbox.project().parent().expect("folder").to_path_buf();
    let write = |path: &str, text: &str| {
        let path = above.join(path);
        std::fs::create_dir_all(path.parent().expect("folder")).expect("folder");
        std::fs::write(path, text).expect("file");
    };
    let inherits = "[package]\nname = \"sibling\"\nversion.workspace = true\nedition = \"2021\"\n\
                    [dependencies]\nother = { path = \"../../other\" }\n";
    write(
        "libs/Cargo.toml",
        "[workspace]\nmembers = [\"*\"]\n[workspace.package]\nversion = \"1.0.0\"\n",
    );
    write("libs/sibling/Cargo.toml", inherits);
    write("libs/sibling/src/lib.rs", "pub use other::f;\n");
    write("other/Cargo.toml", &package("other"));
    write("other/src/lib.rs", "pub fn f() {}\n");
    lint(&sandbox, "rust:clippy", 0);
    lint(&sandbox, "rust:fmt", 0);
    lint(&sandbox, "rust:clippy", 0).expect_fresh();
    write("other/src/lib.rs", "pub fn f(_: u8) {}\n");
    let json = lint(&sandbox, "rust:clippy", 1);
    let ran = ["rust:clippy config-changed ../other/src/lib.rs"];
    assert_eq!(json.ran(), ran);
    std::fs::remove_dir_all(above.join("libs")).expect("remove");
    let json = lint(&sandbox, "rust:clippy", 3);
    let message = json.check("rust:clippy")["message"].to_string();
    assert!(
        message.contains("`../libs/sibling/Cargo.toml`"),
        "{message}"
    );
}

#[test]
fn a_patch_is_no_member_and_has_its_targets() {
    let manifest = package("a")
        + "[dependencies]\ndep = \"1\"\n[patch.crates-io]\ndep = { path = \"fork\" }\n";
    let lock = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"0.1.0\"\ndependencies = [\n \"dep\",\n]\n\n\
                [[package]]\nname = \"dep\"\nversion = \"1.0.0\"\n";
    let config = "[env]\nPLACE = { value = \"fork\", relative = true }\n";
    let sandbox = Sandbox::with(&[
        ("Cargo.toml", &manifest),
        ("Cargo.lock", lock),
        (".cargo/config.toml", config),
        (
            "src/main.rs",
            "fn main() {\n    dep::f();\n    println!(env!(\"PLACE\"));\n}\n",
        ),
        ("fork/Cargo.toml", &package("dep").replace("0.1.0", "1.0.0")),
        ("fork/src/lib.rs", "pub fn f() {}\n"),
    ]);
    lint(&sandbox, "rust:clippy", 0);
}

#[test]
fn vendored_crates_are_used_and_not_checked() {
    let sandbox = vendored("third/party", "third/party");
    let json = sandbox.json(&["lint"]).expect(0);
    let mut ids: Vec<String> = json
        .checks()
        .iter()
        .map(|check| check["id"].to_string())
        .collect();
    ids.sort();
    assert_eq!(ids, ["\"rust:clippy\"", "\"rust:fmt\""]);
    sandbox.json(&["lint"]).expect(0).expect_fresh();
}

#[test]
fn a_manifest_that_cannot_be_read_is_the_error_of_its_own_checks() {
    let sandbox = Sandbox::with(&[
        ("a/Cargo.toml", &package("{{name}}")),
        ("a/src/lib.rs", GOOD),
        ("b/Cargo.toml", &package("b")),
        ("b/src/lib.rs", GOOD),
        ("templates/c/Cargo.toml", "[package\n"),
        ("broken.yaml", "a: [\n"),
    ]);
    let json = sandbox.json(&["lint"]).expect(3);
    for id in ["rust:fmt@a", "rust:clippy@a"] {
        let message = json.check(id)["message"].as_str().expect("message");
        assert!(
            message.contains("a/Cargo.toml") && message.contains("exclude"),
            "{message}"
        );
    }
    let verdict = |id: &str| json.check(id)["verdict"].clone();
    assert_eq!(verdict("rust:fmt@b"), "passed");
    assert_eq!(verdict("yaml:syntax"), "failed");
    let stderr = sandbox.run(&["lint"]).expect(3).stderr;
    assert!(
        stderr.contains("skipped `templates/c/Cargo.toml`"),
        "{stderr}"
    );
}

#[test]
fn a_build_script_may_ask_git_for_the_commit() {
    let script = "fn main() {\n    let out = std::process::Command::new(\"git\")\n        \
        .args([\"log\", \"-1\", \"--format=%H %s\"])\n        .output()\n        .unwrap();\n    \
        assert!(out.status.success(), \"{out:?}\");\n    \
        assert!(String::from_utf8(out.stdout).unwrap().contains(\"subject\"));\n}\n";
    let sandbox = Sandbox::with(&[
        ("Cargo.toml", &package("a")),
        ("src/main.rs", "fn main() {}\n"),
        ("build.rs", script),
    ]);
    sandbox.commit("subject one");
    lint(&sandbox, "rust:clippy", 0);
    lint(&sandbox, "rust:clippy", 0).expect_fresh();
    sandbox.git(&["commit", "--quiet", "--allow-empty", "-m", "subject two"]);
    assert_eq!(lint(&sandbox, "rust:clippy", 0).ran().len(), 1);
}
