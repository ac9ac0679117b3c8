//! Files of any kind, size and number.

use std::path::Path;

use crate::support::Sandbox;

/// The exit code of a run, and the memory that it and what it started had at most.
fn peak(sandbox: &Sandbox, args: &[&str]) -> (Option<i32>, u64) {
    use wait4::Wait4 as _;
    let mut command = sandbox.command(args);
    let null = std::process::Stdio::null;
    let mut child = command
        .stdout(null())
        .stderr(null())
        .spawn()
        .expect("the binary");
    let used = child.wait4().expect("the binary ends");
    (used.status.code(), used.rusage.maxrss)
}

/// More than what a debug build needs for a small project, less than any of the files here.
const SMALL: u64 = 200 << 20;

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
    let of_tools = [
        "Cargo.lock",
        ".cargo/config.toml",
        "rust-toolchain.toml",
        "rustfmt.toml",
        ".python-version",
        ".tool-versions",
        ".gitignore",
        ".yamllint",
        ".git/info/exclude",
        ".git/packed-refs",
        ".git/refs/heads/main",
    ];
    let manifests = ["Cargo.toml", "pyproject.toml", ".git/index"];
    let sets: [&[&str]; 4] = [
        &of_tools,
        &manifests,
        &["dagcache.toml"],
        &[".git/HEAD", ".git/config"],
    ];
    for set in sets {
        let sandbox = Sandbox::with(&files);
        for name in set {
            let path = sandbox.path(name);
            std::fs::create_dir_all(path.parent().expect("folder")).expect("folder");
            pipe(&path);
        }
        for command in ["dev-check", "pre-commit"] {
            let json = sandbox.json(&[command, "--only", "yaml:syntax"]);
            assert!(json.run.code.is_some(), "{set:?}: {}", json.run.stderr);
        }
    }
}

/// A sparse file.
fn sparse(path: &Path, size: u64) {
    let file = std::fs::File::create(path).expect("file");
    file.set_len(size).expect("size");
}

const TOO_LARGE: u64 = (4 << 30) + 1;

#[test]
fn a_file_above_4_gib_is_no_input() {
    let sandbox = Sandbox::with(&[("a.yaml", "a: 1\n")]);
    sparse(&sandbox.path("core"), TOO_LARGE);
    // Without the rule this is hashed, in some seconds.
    let run = sandbox.run(&["dev-check", "--dry-run"]).expect(0);
    let skipping = "skipping core: larger than 4 GiB";
    assert!(run.stderr.contains(skipping), "{}", run.stderr);
    // Checks that do not see it are stored, as ever.
    sandbox.json(&["dev-check"]).expect(0);
    sandbox.json(&["dev-check"]).expect(0).expect_fresh();
}

const OWN: &str = "[checks.all]\ncommand = [\"true\"]\n[checks.some]\ncommand = [\"true\"]\ninputs = [\"src/**\"]\n";

#[test]
fn an_untracked_terabyte_is_left_out_by_name_and_what_would_see_it_is_not_stored() {
    let files = [("src/a", ""), ("data/b", ""), ("dagcache.toml", OWN)];
    let sandbox = Sandbox::with(&files);
    sparse(&sandbox.path("data/image"), 1 << 40);
    let json = sandbox.json(&["lint"]).expect(0);
    assert!(json.check("some")["not_cached"].is_null());
    let why = json.check("all").to_string();
    assert!(
        why.contains("`data/image` was left out: larger than 4 GiB"),
        "{why}"
    );
}

#[test]
fn a_tracked_terabyte_is_an_error_of_the_checks_that_would_see_it() {
    let files = [("src/a", ""), ("data/image", ""), ("dagcache.toml", OWN)];
    let sandbox = Sandbox::with(&files);
    sparse(&sandbox.path("data/image"), 1 << 40);
    let json = sandbox.json(&["lint"]).expect(3);
    assert_eq!(json.check("some")["verdict"], "passed");
    let message = json.check("all")["message"].to_string();
    assert!(
        message.contains("`data/image`, which git tracks, is larger"),
        "{message}"
    );
    // What is staged has another size.
    sandbox.json(&["pre-commit"]).expect(0);
}

#[test]
fn what_is_too_large_to_be_parsed_is_named_and_the_rest_is_checked() {
    let sandbox = Sandbox::with(&[("a.yaml", "a: ["), ("b/c", "")]);
    sparse(&sandbox.path("b/big.yaml"), (64 << 20) + 1);
    let json = sandbox
        .json(&["dev-check", "--only", "yaml:syntax"])
        .expect(3);
    let message = json.check("yaml:syntax")["message"].to_string();
    assert!(message.contains("b/big.yaml: larger than 64"), "{message}");
    sandbox.write("dagcache.toml", "exclude = [\"b/big.yaml\"]");
    let json = sandbox
        .json(&["dev-check", "--only", "yaml:syntax"])
        .expect(1);
    assert_eq!(
        json.check("yaml:syntax")["parts"]["hit"],
        1,
        "{}",
        json.run.stdout
    );
}

#[test]
fn a_hundred_thousand_ignore_patterns_need_little_memory() {
    use std::fmt::Write as _;
    let sandbox = Sandbox::with(&[("a.yaml", "a: 1\n")]);
    let mut patterns = String::new();
    for number in 0..100_000 {
        writeln!(patterns, "dir{number}/*.log{number}").expect("text");
    }
    sandbox.write(".gitignore", patterns);
    let (code, memory) = peak(&sandbox, &["dev-check", "--only", "yaml:syntax"]);
    assert_eq!(code, Some(0));
    assert!(memory < SMALL, "{memory} bytes");
}

#[test]
fn a_large_file_is_hashed_copied_and_searched_in_little_memory_and_stays_sparse() {
    use std::os::unix::fs::MetadataExt as _;
    let own = "[checks.own]\ncommand = [\"test\", \"-s\", \"big\"]";
    let sandbox = Sandbox::with(&[("dagcache.toml", own)]);
    sparse(&sandbox.path("big"), 1 << 30);
    let args = ["dev-check", "--only", "own", "--only", "security:secrets"];
    let (code, memory) = peak(&sandbox, &args);
    assert_eq!(code, Some(0));
    assert!(memory < SMALL, "{memory} bytes");
    let copies = sandbox.cached("v1/rooms", "/tree/big");
    let [copy] = copies.as_slice() else {
        panic!("{copies:?}")
    };
    let copy = copy.metadata().expect("the copy");
    assert_eq!(copy.len(), 1 << 30);
    assert!(copy.blocks() < 1000, "{} blocks", copy.blocks());
}

#[test]
fn an_output_replaces_no_file_that_is_too_large_to_be_kept() {
    let own = "[checks.own]\ncommand = [\"touch\", \"out\"]\noutputs = [\"out\"]";
    let sandbox = Sandbox::with(&[("dagcache.toml", own), (".gitignore", "out\n")]);
    sparse(&sandbox.path("out"), (1 << 30) + 1);
    let run = sandbox.run(&["lint"]).expect(0);
    let refused = "not writing the output out: larger than 1";
    assert!(run.stderr.contains(refused), "{}", run.stderr);
    let kept = sandbox.path("out").metadata().expect("the file");
    assert_eq!(kept.len(), (1 << 30) + 1);
}

#[test]
fn all_outputs_of_a_check_together_have_a_bound() {
    let own = "[checks.own]\ncommand = [\"./make.sh\"]\noutputs = [\"out/**\"]\n\
               tools = [\"mkdir\", \"truncate\"]";
    let sandbox = Sandbox::with(&[("dagcache.toml", own), (".gitignore", "out\n")]);
    let script = "mkdir -p out && truncate -s 600M out/1 out/2";
    sandbox.script("make.sh", script);
    let json = sandbox.json(&["lint"]).expect(0);
    let why = json.check("own").to_string();
    assert!(why.contains("outputs of a check may have 1 GiB"), "{why}");
    assert!(!sandbox.path("out").exists(), "nothing is written");
}
