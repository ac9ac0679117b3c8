//! A check of a Rust workspace is rerun only for what it read, and never Fresh after that changed.

use crate::support::{Json, Run, Sandbox};

const LINT: [&str; 3] = ["lint", "--only", "rust:clippy"];

/// A package that includes a file of the root, and one with a build script that reads another without saying so.
fn sandbox() -> Sandbox {
    let package = |name: &str| {
        format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n")
    };
    Sandbox::with(&[
        (".gitignore", "target\n"),
        ("README.md", "read me\n"),
        ("Cargo.toml", "[workspace]\nmembers = [\"a\", \"b\"]\n"),
        (
            "Cargo.lock",
            "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"0.1.0\"\n\n[[package]]\nname = \"b\"\nversion = \"0.1.0\"\n",
        ),
        ("a/Cargo.toml", &package("a")),
        (
            "a/src/lib.rs",
            "pub const TEXT: &str = include_str!(\"../../docs/included\");\n",
        ),
        ("b/Cargo.toml", &package("b")),
        ("b/src/lib.rs", "pub const DATA: &str = env!(\"DATA\");\n"),
        (
            "b/build.rs",
            "fn main() {\n    let data = std::fs::read_to_string(\"../docs/data\").expect(\"data\");\n    \
             println!(\"cargo:rustc-env=DATA={}\", data.trim());\n}\n",
        ),
        ("docs/included", "included\n"),
        ("docs/data", "data\n"),
    ])
}

fn lint(sandbox: &Sandbox, code: i32) -> Json {
    sandbox.json(&LINT).expect(code)
}

/// Whether reads can be told where the tests run: a file that nothing reads then reruns nothing.
fn can_tell(sandbox: &Sandbox) -> bool {
    lint(sandbox, 0);
    sandbox.write("README.md", "something else\n");
    let told = lint(sandbox, 0).ran().is_empty();
    if !told {
        crate::support::skip("the file system does not tell what was read");
    }
    told
}

#[test]
fn only_what_was_read_or_named_counts() {
    let sandbox = sandbox();
    if !can_tell(&sandbox) {
        return;
    }
    sandbox.write("docs/data", "other\n");
    let data = lint(&sandbox, 0);
    assert_eq!(data.ran(), ["rust:clippy input-changed docs/data"]);
    sandbox.write("docs/included", "other\n");
    let included = lint(&sandbox, 0);
    assert_eq!(included.ran(), ["rust:clippy input-changed docs/included"]);
    assert_ne!(
        data.check("rust:clippy")["key"],
        included.check("rust:clippy")["key"]
    );
    sandbox.write("docs/new", "new\n");
    assert_eq!(
        lint(&sandbox, 0).ran(),
        ["rust:clippy input-added docs/new"]
    );
    // Each state that was seen is still known, whatever happened to files that nothing read.
    sandbox.remove("docs/new");
    sandbox.write("README.md", "third\n");
    lint(&sandbox, 0).expect_fresh();
    sandbox.write("docs/included", "included\n");
    lint(&sandbox, 0).expect_fresh();
    sandbox.write("README.md", "");
    assert_eq!(
        lint(&sandbox, 0).ran(),
        ["rust:clippy input-changed README.md"],
        "whether a file is empty shows without reading it"
    );
}

#[test]
fn damaged_products_of_the_users_make_no_verdict() {
    let sandbox = Sandbox::git_repository();
    let other = sandbox.outer().join("other");
    std::fs::create_dir_all(other.join("src")).expect("folders");
    let package = |name: &str, more: &str| {
        format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n{more}")
    };
    std::fs::write(other.join("Cargo.toml"), package("other", "")).expect("write");
    std::fs::write(other.join("src/lib.rs"), "pub fn one() {}\n").expect("write");
    for arguments in [
        &["init", "--quiet"][..],
        &["add", "."],
        &["commit", "--quiet", "-m", "x"],
    ] {
        let other = other.to_str().expect("UTF-8");
        sandbox.git(&[&["-C", other], arguments].concat());
    }
    let depends = format!(
        "[dependencies]\nother = {{ git = \"file://{}\" }}\n",
        other.display()
    );
    sandbox.write("Cargo.toml", package("a", &depends));
    sandbox.write("src/lib.rs", "pub use other::one;\n");
    sandbox.write(".gitignore", "target\n");
    let with_home = |mut command: std::process::Command| {
        command.env("CARGO_HOME", sandbox.outer().join("cargo-home"));
        Run::of(command)
    };
    let mut cargo = std::process::Command::new("cargo");
    cargo
        .args(["clippy", "--quiet", "--all-targets"])
        .current_dir(sandbox.project());
    with_home(cargo).expect(0);
    let deps = std::fs::read_dir(sandbox.path("target/debug/deps")).expect("products");
    let products = deps.map(|file| file.expect("a file").path());
    let mut metadata = products.filter(|path| path.to_string_lossy().contains("/libother-"));
    let metadata = metadata.next().expect("metadata of the other package");
    std::fs::write(metadata, "damaged").expect("write");

    let mut command = sandbox.command(&LINT);
    command.args(["--message-format", "json"]);
    Json::of(with_home(command)).expect(0);
}
