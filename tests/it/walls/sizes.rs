//! Files of any kind, size and number.

use std::path::Path;

use crate::support::Sandbox;

fn pipe(path: &Path) {
    let _ = std::fs::remove_file(path);
    rustix::fs::mkfifoat(rustix::fs::CWD, path, 0o600.into()).expect("pipe");
}

#[test]
fn a_pipe_in_the_place_of_a_file_is_not_read() {
    let sandbox = Sandbox::with(&[("dagcache.toml", ""), ("a.yaml", "a: 1\n")]);
    let path = sandbox.path("dagcache.toml");
    pipe(&path);
    let writer = std::thread::spawn({
        let path = path.clone();
        move || std::fs::write(path, "# other\n")
    });
    let run = sandbox.run(&["pre-commit"]).expect(0);
    // The writer has waited for a reader.
    let mut options = std::fs::File::options();
    let reader = options.read(true).write(true).open(&path).expect("pipe");
    writer.join().expect("the writer").expect("written");
    drop(reader);
    assert!(!run.stderr.contains("not staged"), "{}", run.stderr);
}

#[test]
fn nothing_waits_for_pipes_in_the_place_of_files_that_git_or_tools_read() {
    let files = [
        (
            "Cargo.toml",
            "[package]\nname = \"a\"\nversion = \"0.1.0\"\nedition = \"2021\"\n",
        ),
        ("src/lib.rs", ""),
        (
            "pyproject.toml",
            "[project]\nname = \"a\"\nversion = \"0\"\n",
        ),
        ("a.yaml", "a: 1\n"),
    ];
    let names = [
        "Cargo.toml",
        "Cargo.lock",
        ".cargo/config.toml",
        "rust-toolchain.toml",
        "rustfmt.toml",
        "pyproject.toml",
        ".python-version",
        ".tool-versions",
        ".gitignore",
        ".yamllint",
        "dagcache.toml",
        ".git/HEAD",
        ".git/config",
        ".git/index",
        ".git/info/exclude",
        ".git/packed-refs",
        ".git/refs/heads/main",
    ];
    for name in names {
        let sandbox = Sandbox::with(&files);
        let path = sandbox.path(name);
        std::fs::create_dir_all(path.parent().expect("folder")).expect("folder");
        pipe(&path);
        for command in ["dev-check", "pre-commit"] {
            let json = sandbox.json(&[command, "--only", "yaml:syntax"]);
            assert!(json.run.code.is_some(), "{name}: {}", json.run.stderr);
        }
    }
}
