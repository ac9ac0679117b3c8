//! What must rerun a check that is keyed by all it may see: each row of the correctness matrix that says "must miss", with
//! the reason that is printed.

use std::os::unix::fs::symlink;
use std::time::SystemTime;

use crate::support::{Json, Run, Sandbox};

const CONFIG: &str = r#"
[checks.own]
command = ["./check.sh", "first", "second"]
inputs = ["src/**"]
env = ["MODE"]
set-env = { FIXED = "1" }
trace = false
"#;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::with(&[
        ("dagcache.toml", CONFIG),
        ("src/a", "aaaa\n"),
        ("src/b", "bbbb\n"),
    ]);
    sandbox.script("check.sh", "echo \"$@\"");
    symlink("a", sandbox.path("src/link")).expect("link");
    sandbox.commit("script");
    sandbox
}

fn only_own(sandbox: &Sandbox) -> Json {
    sandbox.json(&["lint", "--only", "own"]).expect(0)
}

/// After the change the check reruns for this reason, in JSON and for people; and is Fresh again after that.
#[track_caller]
fn misses(change: impl Fn(&Sandbox), reason: &str, words: &str) {
    let sandbox = sandbox();
    only_own(&sandbox);
    only_own(&sandbox).expect_fresh();
    change(&sandbox);
    let explained = sandbox
        .run(&["lint", "--only", "own", "--dry-run"])
        .expect(0);
    let line = format!("Dirty own ({words})");
    assert!(
        explained.stderr.contains(&line),
        "{line}\n{}",
        explained.stderr
    );
    let json = only_own(&sandbox);
    assert_eq!(json.ran(), [format!("own {reason}")]);
    only_own(&sandbox).expect_fresh();
}

fn modified(sandbox: &Sandbox, path: &str) -> SystemTime {
    let meta = std::fs::metadata(sandbox.path(path)).expect("file");
    meta.modified().expect("time")
}

fn set_modified(sandbox: &Sandbox, path: &str, time: SystemTime) {
    let file = std::fs::File::options()
        .append(true)
        .open(sandbox.path(path))
        .expect("file");
    file.set_modified(time).expect("time");
}

#[test]
fn an_edit() {
    misses(
        |s| s.write("src/a", "longer text\n"),
        "input-changed src/a",
        "src/a changed",
    );
}

#[test]
fn an_edit_of_the_same_size_with_kept_mtime() {
    misses(
        |sandbox| {
            let before = modified(sandbox, "src/a");
            sandbox.write("src/a", "AAAA\n");
            set_modified(sandbox, "src/a", before);
        },
        "input-changed src/a",
        "src/a changed",
    );
}

#[test]
fn edits_right_after_a_run() {
    let sandbox = sandbox();
    let time = modified(&sandbox, "src/a");
    let mut seconds = Vec::new();
    // Only an edit in the second of the one before shows anything where times are whole seconds. A machine may be too
    // busy for a run in a second, but not forever.
    let shared = |seconds: &[i64]| seconds.windows(2).filter(|two| two[0] == two[1]).count();
    while shared(&seconds) < 3 {
        let edits = seconds.len();
        assert!(edits < 100, "no two edits are in the same second");
        sandbox.write("src/a", format!("{edits:04}"));
        set_modified(&sandbox, "src/a", time);
        let meta = std::fs::metadata(sandbox.path("src/a")).expect("file");
        seconds.push(std::os::unix::fs::MetadataExt::ctime(&meta));
        let json = only_own(&sandbox);
        assert_eq!(json.check("own")["cache"], "miss", "edit {edits}");
    }
}

#[test]
fn the_execute_bit() {
    misses(
        |s| s.mode("src/a", 0o755),
        "mode-changed src/a",
        "mode of src/a changed",
    );
}

#[test]
fn a_file_that_becomes_a_link() {
    misses(
        |sandbox| {
            sandbox.remove("src/b");
            symlink("a", sandbox.path("src/b")).expect("link");
        },
        "mode-changed src/b",
        "mode of src/b changed",
    );
}

#[test]
fn a_file_that_becomes_a_link_of_the_same_text() {
    misses(
        |sandbox| {
            sandbox.write("src/b", "a");
            only_own(sandbox);
            sandbox.remove("src/b");
            symlink("a", sandbox.path("src/b")).expect("link");
        },
        "mode-changed src/b",
        "mode of src/b changed",
    );
}

#[test]
fn the_target_of_a_link() {
    misses(
        |sandbox| {
            sandbox.remove("src/link");
            symlink("b", sandbox.path("src/link")).expect("link");
        },
        "input-changed src/link",
        "src/link changed",
    );
}

#[test]
fn a_renamed_file() {
    misses(
        |s| std::fs::rename(s.path("src/b"), s.path("src/c")).expect("rename"),
        "input-added src/c",
        "src/c added",
    );
}

#[test]
fn a_file_that_is_added_though_empty() {
    misses(
        |s| s.write("src/empty", ""),
        "input-added src/empty",
        "src/empty added",
    );
}

#[test]
fn a_file_that_is_removed() {
    misses(
        |s| s.remove("src/b"),
        "input-removed src/b",
        "src/b removed",
    );
}

#[test]
fn a_file_that_is_removed_though_empty() {
    let sandbox = sandbox();
    sandbox.write("src/empty", "");
    only_own(&sandbox);
    only_own(&sandbox).expect_fresh();
    sandbox.remove("src/empty");
    assert_eq!(only_own(&sandbox).ran(), ["own input-removed src/empty"]);
}

#[test]
fn a_file_that_is_emptied() {
    misses(
        |s| s.write("src/b", ""),
        "input-changed src/b",
        "src/b changed",
    );
}

#[test]
fn two_files_that_swap_their_contents() {
    misses(
        |sandbox| {
            sandbox.write("src/a", "bbbb\n");
            sandbox.write("src/b", "aaaa\n");
        },
        "input-changed src/a",
        "src/a changed",
    );
}

#[test]
fn a_file_that_becomes_a_folder() {
    misses(
        |sandbox| {
            sandbox.remove("src/b");
            sandbox.write("src/b/a", "bbbb\n");
        },
        "input-added src/b/a",
        "src/b/a added",
    );
}

#[test]
fn a_folder_that_becomes_another_by_name_only() {
    misses(
        |sandbox| {
            sandbox.write("src/deep/file", "x");
            only_own(sandbox);
            std::fs::rename(sandbox.path("src/deep"), sandbox.path("src/deeq")).expect("rename");
        },
        "input-added src/deeq/file",
        "src/deeq/file added",
    );
}

#[test]
fn the_script_itself() {
    misses(
        |s| s.script("check.sh", "echo other"),
        "input-changed check.sh",
        "check.sh changed",
    );
}

fn reconfigure(sandbox: &Sandbox, from: &str, to: &str) {
    let text = sandbox.read("dagcache.toml");
    assert!(text.contains(from));
    sandbox.write("dagcache.toml", text.replace(from, to));
}

#[test]
fn the_order_of_arguments() {
    misses(
        |s| reconfigure(s, r#""first", "second""#, r#""second", "first""#),
        "command-changed",
        "command changed",
    );
}

#[test]
fn how_arguments_are_divided() {
    misses(
        |s| reconfigure(s, r#""first", "second""#, r#""first second""#),
        "command-changed",
        "command changed: -first -second +first second",
    );
}

#[test]
fn a_fixed_variable() {
    misses(
        |s| reconfigure(s, r#"FIXED = "1""#, r#"FIXED = "2""#),
        "config-changed set-env FIXED",
        "set-env FIXED changed: 1 → 2",
    );
}

#[test]
fn the_working_directory() {
    misses(
        |sandbox| {
            sandbox.script("src/check.sh", "echo \"$@\"");
            only_own(sandbox);
            reconfigure(sandbox, "inputs", "dir = \"src\"\ninputs");
        },
        "command-changed dir",
        "command changed",
    );
}

#[test]
fn how_output_is_read() {
    misses(
        |s| reconfigure(s, "inputs", "findings = \"gcc\"\ninputs"),
        "config-changed option findings",
        "option findings changed: none/1 → gcc/1",
    );
}

#[test]
fn inputs_that_are_narrowed() {
    misses(
        |s| reconfigure(s, r#""src/**""#, r#""src/**", "!src/b""#),
        "input-removed src/b",
        "src/b removed",
    );
}

#[test]
fn a_declared_variable_that_is_unset_empty_or_other() {
    let sandbox = sandbox();
    let with = |value: Option<&str>| {
        let mut command = sandbox.command(&["lint", "--only", "own", "--message-format", "json"]);
        if let Some(value) = value {
            command.env("MODE", value);
        }
        Json::of(Run::of(command)).expect(0)
    };
    with(None);
    for value in [Some(""), Some("1"), Some("2")] {
        assert_eq!(with(value).ran(), ["own env-changed MODE"], "{value:?}");
    }
    for value in [None, Some(""), Some("1"), Some("2")] {
        with(value).expect_fresh();
    }
}

#[test]
fn a_declared_variable_with_other_bytes_that_are_no_text() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    let sandbox = sandbox();
    let with = |value: &[u8]| {
        let mut command = sandbox.command(&["lint", "--only", "own", "--message-format", "json"]);
        command.env("MODE", OsStr::from_bytes(value));
        Json::of(Run::of(command)).expect(0)
    };
    with(b"\xfe");
    assert_eq!(with(b"\xff").ran(), ["own env-changed MODE"]);
    assert_eq!(with("\u{fffd}".as_bytes()).ran(), ["own env-changed MODE"]);
}

const TOOL_CONFIG: &str =
    "[checks.own]\ncommand = [\"mytool\", \"-c\", \"echo hi\"]\ninputs = [\"src/**\"]\n";

fn with_tool(config: &str) -> Sandbox {
    let sandbox = sandbox();
    sandbox.write("dagcache.toml", config);
    sandbox.tool("mytool", "one");
    only_own(&sandbox);
    only_own(&sandbox).expect_fresh();
    sandbox
}

#[test]
fn a_program_replaced_at_the_same_path() {
    let sandbox = with_tool(TOOL_CONFIG);
    let path = sandbox.outer().join("bin/mytool");
    let before = std::fs::metadata(&path)
        .and_then(|meta| meta.modified())
        .expect("time");
    sandbox.tool("mytool", "two");
    let file = std::fs::File::options()
        .append(true)
        .open(&path)
        .expect("program");
    file.set_modified(before).expect("time");
    drop(file);
    assert_eq!(only_own(&sandbox).ran(), ["own tool-changed mytool"]);
    let dry = sandbox
        .run(&["lint", "--only", "own", "--dry-run", "-v"])
        .expect(0);
    assert!(dry.stderr.contains("Fresh own"), "{}", dry.stderr);
    sandbox.tool("mytool", "one");
    only_own(&sandbox).expect_fresh();
}

#[test]
fn a_program_rewritten_in_place() {
    let sandbox = with_tool(TOOL_CONFIG);
    let path = sandbox.outer().join("bin/mytool");
    let mut bytes = std::fs::read(&path).expect("program");
    let end = bytes.len() - 3;
    bytes[end..].copy_from_slice(b"two");
    std::fs::write(&path, bytes).expect("program");
    assert_eq!(only_own(&sandbox).ran(), ["own tool-changed mytool"]);
}

#[test]
fn a_program_found_earlier_on_path() {
    let sandbox = with_tool(TOOL_CONFIG);
    let earlier = sandbox.tool_in("earlier", "mytool", "two");
    let mut command = sandbox.command(&["lint", "--only", "own", "--message-format", "json"]);
    let path = std::env::var("PATH").unwrap_or_default();
    let bin = sandbox.outer().join("bin");
    command.env(
        "PATH",
        format!("{}:{}:{path}", earlier.display(), bin.display()),
    );
    let json = Json::of(Run::of(command)).expect(0);
    assert_eq!(json.ran(), ["own tool-changed mytool"]);
}

#[test]
fn a_further_tool_of_the_check() {
    let config =
        "[checks.own]\ncommand = [\"./check.sh\"]\ninputs = [\"src/**\"]\ntools = [\"mytool\"]\n";
    let sandbox = with_tool(config);
    sandbox.tool("mytool", "two");
    assert_eq!(only_own(&sandbox).ran(), ["own tool-changed mytool"]);
}

#[test]
fn the_interpreter_of_a_script() {
    let sandbox = sandbox();
    sandbox.tool("interpreter", "one");
    sandbox.write("check.sh", "#!/usr/bin/env interpreter\necho hi\n");
    only_own(&sandbox);
    only_own(&sandbox).expect_fresh();
    sandbox.tool("interpreter", "two");
    assert_eq!(only_own(&sandbox).ran(), ["own tool-changed interpreter"]);
}

#[test]
fn an_ignored_file_that_is_a_declared_input() {
    let sandbox = sandbox();
    sandbox.write(".gitignore", "generated.txt\n");
    sandbox.write("generated.txt", "1");
    reconfigure(&sandbox, r#"["src/**"]"#, r#"["src/**", "generated.txt"]"#);
    sandbox.script("check.sh", "read line < generated.txt; echo \"$line\"; :");
    let json = only_own(&sandbox);
    assert_eq!(json.check("own")["stdout"], "1\n");
    only_own(&sandbox).expect_fresh();
    sandbox.write("generated.txt", "2");
    let json = only_own(&sandbox);
    assert_eq!(json.ran(), ["own input-changed generated.txt"]);
    assert_eq!(json.check("own")["stdout"], "2\n");
}

#[test]
fn a_glob_never_names_an_ignored_file() {
    let sandbox = sandbox();
    sandbox.write(".gitignore", "*.o\n");
    only_own(&sandbox);
    sandbox.write("src/a.o", "1");
    only_own(&sandbox).expect_fresh();
}

/// An untracked file that is seen at first and then ignored by a file of this kind.
#[track_caller]
fn ignoring_misses(ignore: impl Fn(&Sandbox)) {
    let sandbox = sandbox();
    sandbox.write("src/untracked", "x");
    only_own(&sandbox);
    only_own(&sandbox).expect_fresh();
    let sees = |sandbox: &Sandbox| {
        let explained = sandbox.run(&["explain", "own"]).expect(0);
        explained.stdout.contains(" src/untracked\n")
    };
    assert!(sees(&sandbox));
    // A change of its own, or the key would be that of the run before the file was there. No folder changes.
    sandbox.write("src/a", "changed");
    ignore(&sandbox);
    assert!(!sees(&sandbox));
    assert_eq!(only_own(&sandbox).ran().len(), 1);
}

#[test]
fn an_ignore_file_that_changed() {
    ignoring_misses(|s| s.write(".gitignore", "untracked\n"));
}

#[test]
fn an_ignore_file_of_a_folder() {
    ignoring_misses(|s| s.write("src/.gitignore", "untracked\n"));
}

#[test]
fn an_ignore_file_that_was_there() {
    let sandbox = sandbox();
    sandbox.write(".gitignore", "nothing\n");
    sandbox.write("src/untracked", "x");
    only_own(&sandbox);
    // By now the folders are old enough to be believed.
    only_own(&sandbox);
    sandbox.write(".gitignore", "untracked\n");
    assert_eq!(
        only_own(&sandbox).ran(),
        ["own input-removed src/untracked"]
    );
}

#[test]
fn the_exclude_file_of_the_repository() {
    ignoring_misses(|s| s.write(".git/info/exclude", "untracked\n"));
}

#[test]
fn the_users_own_ignore_file() {
    ignoring_misses(|sandbox| {
        let dir = sandbox.home().join(".config/git");
        std::fs::create_dir_all(&dir).expect("folder");
        std::fs::write(dir.join("ignore"), "untracked\n").expect("file");
    });
}

#[test]
fn an_ignore_file_that_git_is_told_of() {
    ignoring_misses(|sandbox| {
        let file = sandbox.outer().join("rules");
        std::fs::write(&file, "untracked\n").expect("file");
        let file = file.to_str().expect("UTF-8");
        sandbox.git(&["config", "core.excludesFile", file]);
    });
}

#[test]
fn the_ignore_file_of_another_user() {
    let sandbox = sandbox();
    sandbox.write("src/untracked", "x");
    only_own(&sandbox);
    let home = sandbox.outer().join("other-home");
    std::fs::create_dir_all(home.join(".config/git")).expect("folder");
    std::fs::write(home.join(".config/git/ignore"), "untracked\n").expect("file");
    let mut command = sandbox.command(&["lint", "--only", "own", "--message-format", "json"]);
    command.env("HOME", home);
    let json = Json::of(Run::of(command)).expect(0);
    assert_eq!(json.ran(), ["own input-removed src/untracked"]);
}

#[test]
fn an_ignored_file_that_leaves_the_index() {
    misses(
        |sandbox| {
            sandbox.write(".gitignore", "/src/b\n");
            // Tracked, so it counts in spite of the ignore file.
            only_own(sandbox).expect_fresh();
            sandbox.git(&["rm", "--quiet", "--cached", "src/b"]);
        },
        "input-removed src/b",
        "src/b removed",
    );
}

#[test]
fn an_ignored_file_that_joins_the_index() {
    misses(
        |sandbox| {
            sandbox.write(".gitignore", "/src/new\n");
            sandbox.write("src/new", "x");
            // Twice: right after its change, a folder is listed again in any case.
            only_own(sandbox).expect_fresh();
            only_own(sandbox).expect_fresh();
            sandbox.git(&["add", "--force", "src/new"]);
        },
        "input-added src/new",
        "src/new added",
    );
}
