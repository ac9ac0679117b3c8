//! Rust workspaces: format and clippy. Few runs: each starts cargo.

use crate::support::{Json, Run, Sandbox};

fn sandbox() -> Sandbox {
    let package = |name: &str| {
        format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n")
    };
    let sandbox = Sandbox::with(&[
        (
            "Cargo.toml",
            "[workspace]\nmembers = [\"a\", \"b\"]\nresolver = \"2\"\n",
        ),
        ("a/Cargo.toml", &package("a")),
        (
            "a/src/lib.rs",
            "mod inner;\npub fn one() -> i32 {\n    inner::two() - 1\n}\n",
        ),
        ("a/src/inner.rs", "pub fn two() -> i32 {\n    2\n}\n"),
        ("b/Cargo.toml", &package("b")),
        ("b/src/lib.rs", "pub fn three() -> i32 {\n    3\n}\n"),
        (".gitignore", "target\n"),
        (
            "Cargo.lock",
            "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"0.1.0\"\n\n[[package]]\nname = \"b\"\nversion = \"0.1.0\"\n",
        ),
    ]);
    sandbox.commit("files");
    sandbox
}

#[test]
fn rustfmt_finds_file_and_line_and_sees_its_configuration() {
    let sandbox = sandbox();
    let fmt = |code| sandbox.json(&["lint", "--only", "rust:fmt"]).expect(code);
    fmt(0);
    fmt(0).expect_fresh();
    sandbox.write("a/src/inner.rs", "pub fn two() -> i32 {\n  2\n}\n");
    let red = fmt(1);
    assert_eq!(red.ran(), ["rust:fmt input-changed a/src/inner.rs"]);
    // As rustfmt says it: the line where its piece of context begins.
    let finding = &red.check("rust:fmt")["findings"][0];
    assert_eq!(
        (&finding["path"], &finding["line"]),
        (&"a/src/inner.rs".into(), &1.into())
    );
    sandbox.write("rustfmt.toml", "tab_spaces = 2\n");
    let other = fmt(1);
    assert_eq!(other.ran(), ["rust:fmt config-changed rustfmt.toml"]);
    sandbox.remove("rustfmt.toml");
    fmt(1).expect_fresh();
    // Above the root it counts as well.
    std::fs::write(sandbox.outer().join("rustfmt.toml"), "tab_spaces = 2\n").expect("file");
    assert_eq!(fmt(1).ran(), ["rust:fmt config-changed ../rustfmt.toml"]);
}

#[test]
fn a_file_beside_a_module_is_seen() {
    let sandbox = sandbox();
    let fmt = |code| sandbox.json(&["lint", "--only", "rust:fmt"]).expect(code);
    fmt(0);
    sandbox.write("a/src/inner/mod.rs", "pub fn two() -> i32 {\n    2\n}\n");
    // Two files for one module: rustfmt refuses.
    let json = fmt(1);
    assert_eq!(json.ran(), ["rust:fmt input-added a/src/inner/mod.rs"]);
}

#[test]
fn what_no_build_uses_leaves_clippy_fresh() {
    let sandbox = sandbox();
    let python = sandbox.tool_in("other", "python3", "other");
    let path = std::env::var("PATH").unwrap_or_default();
    let with_python = format!("{}:{path}", python.display());
    let clippy = |path: &str| {
        let args = ["lint", "--only", "rust:clippy", "--message-format", "json"];
        let mut command = sandbox.command(&args);
        command.env("PATH", path);
        Json::of(Run::of(command)).expect(0)
    };
    clippy(&path);
    clippy(&with_python).expect_fresh();
    let lock = sandbox.read("Cargo.lock");
    sandbox.write("Cargo.lock", format!("# A comment.\n\n{lock}"));
    clippy(&path).expect_fresh();
    // A build script that may run it.
    sandbox.write("a/build.rs", "fn main() {} // python\n");
    clippy(&path);
    let json = clippy(&with_python);
    assert_eq!(json.ran(), ["rust:clippy tool-changed python3"]);
}

#[test]
fn clippy_warns_again_on_a_hit_and_fails_on_what_does_not_build() {
    let sandbox = sandbox();
    sandbox.write(
        "b/src/lib.rs",
        "pub fn three() -> i32 {\n    return 3;\n}\n",
    );
    let clippy = |code| {
        sandbox
            .json(&["lint", "--only", "rust:clippy"])
            .expect(code)
    };
    let first = clippy(0);
    let warning = |json: &Json| json.check("rust:clippy")["findings"][0].clone();
    assert_eq!(warning(&first)["code"], "clippy::needless_return");
    assert_eq!(warning(&first)["path"], "b/src/lib.rs");
    let second = clippy(0);
    second.expect_fresh();
    assert_eq!(warning(&first), warning(&second));
    assert!(
        !sandbox.path("target").exists(),
        "the work tree stays as it is"
    );

    sandbox.write("b/src/lib.rs", "pub fn three() -> i32 {\n    \"no\"\n}\n");
    let red = clippy(1);
    assert_eq!(red.ran(), ["rust:clippy input-changed b/src/lib.rs"]);
    assert_eq!(
        (&warning(&red)["code"], &warning(&red)["line"]),
        (&"E0308".into(), &2.into())
    );
}

#[test]
fn a_toolchain_file() {
    if !crate::support::have("rustup") {
        return;
    }
    let sandbox = sandbox();
    sandbox.json(&["lint", "--only", "rust:fmt"]).expect(0);
    sandbox.write(
        "rust-toolchain.toml",
        "[toolchain]\nchannel = \"no-such-toolchain\"\n",
    );
    let json = sandbox.json(&["lint", "--only", "rust:fmt"]).expect(3);
    let message = json.check("rust:fmt")["message"].as_str().expect("message");
    assert!(message.contains("no-such-toolchain"), "{message}");
    // Back as it was: what was known is known still.
    sandbox.remove("rust-toolchain.toml");
    let json = sandbox.json(&["lint", "--only", "rust:fmt"]).expect(0);
    json.expect_fresh();
}
