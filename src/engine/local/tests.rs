use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::engine::quoted;
use crate::env::Env;
use crate::path::RelPath;
use crate::plan::Command;
use crate::plan::output::NoFindings;
use crate::snapshot::Snapshot;

/// An engine with a store of its own, and the one command that its tests change.
struct Bench {
    dir: tempfile::TempDir,
    engine: LocalEngine,
    env: Env,
    command: Command,
    parts: Vec<&'static str>,
    timeout: Option<Duration>,
    cancel: CancellationToken,
}

fn host(name: &str) -> Tool {
    let path = ["/usr/bin", "/bin"]
        .map(|dir| Path::new(dir).join(name))
        .into_iter()
        .find(|path| path.exists())
        .unwrap();
    Tool::Host {
        name: name.to_owned(),
        path,
        identity: Digest::of(b""),
        version: None,
    }
}

fn argv(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

impl Bench {
    /// Runs a shell script with some programs on its PATH.
    fn new(script: &str, tools: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = |name| dir.path().join("store").join(name);
        let dirs = Dirs {
            rooms: store("rooms"),
            layers: store("layers"),
            locks: store("locks"),
        };
        let mut tools: Vec<Tool> = tools.iter().map(|name| host(name)).collect();
        tools.push(host("sh"));
        Self {
            engine: LocalEngine::new(dirs, "project"),
            env: Env::from_pairs(&[("USER_SECRET", "1"), ("ASKED", "yes"), ("GIT_DIR", "/x")]),
            command: Command::new(
                argv(&["sh", "-c", script]),
                RelPath::root(),
                tools,
                Arc::new(NoFindings),
            ),
            parts: Vec::new(),
            timeout: None,
            cancel: CancellationToken::new(),
            dir,
        }
    }

    async fn try_run(&self, files: &[(&str, &str)]) -> Result<Executed, EngineError> {
        let snapshot = Snapshot::in_memory(files);
        let ids = snapshot.below(&RelPath::root());
        let (parts, shared): (Vec<_>, Vec<_>) =
            ids.partition(|id| self.parts.contains(&snapshot.entry(*id).path.as_str()));
        let request = Request {
            id: "check",
            command: &self.command,
            snapshot: &snapshot,
            shared: &shared,
            parts: &parts,
            outside: &[],
            folders: &[],
            lacking: None,
            env: &self.env,
            layers: &[],
            product_key: Digest::of(b""),
            timeout: self.timeout,
            again: false,
            trace: Trace::Off,
            live: None,
        };
        self.engine.run(&request, &self.cancel).await
    }

    async fn run(&self, files: &[(&str, &str)]) -> Executed {
        self.try_run(files).await.unwrap()
    }

    async fn stdout(&self, files: &[(&str, &str)]) -> String {
        let executed = self.run(files).await;
        assert_eq!(executed.ended, Ended::Exit(0), "{executed:?}");
        executed.output.stdout
    }
}

#[tokio::test]
async fn a_check_sees_its_inputs_and_says_relative_paths() {
    let bench = Bench::new("cat a/b; echo $PWD/a/b:1; exit 3", &["cat"]);
    let executed = bench.run(&[("a/b", "text\n")]).await;
    assert_eq!(executed.output.stdout, "text\na/b:1\n");
    assert_eq!(executed.ended, Ended::Exit(3));
    assert_eq!(executed.output.exit_code, 3);
}

#[tokio::test]
async fn the_environment_holds_nothing_that_was_not_asked_for() {
    let mut bench = Bench::new("env", &["env"]);
    bench.command.env = argv(&["ASKED", "NOT_SET", "PATH", "HOME"]);
    bench.command.set_env = [("MODE".to_owned(), "strict".to_owned())].into();
    bench.command.grants = [("GRANTED".to_owned(), PathBuf::from("/granted"))].into();
    let stdout = bench.stdout(&[]).await;
    let mut lines: Vec<&str> = stdout.lines().collect();
    lines.sort_unstable();
    lines.retain(|line| !line.starts_with("_=") && !line.starts_with("OLDPWD="));
    let expect = [
        "ASKED=yes",
        "GIT_CEILING_DIRECTORIES=..",
        "GIT_CONFIG_NOSYSTEM=1",
        "GRANTED=/granted",
        "HOME=~",
        "LANG=C.UTF-8",
        "MODE=strict",
        "PATH=.",
        "PWD=.",
        "PYTHONDONTWRITEBYTECODE=1",
        "SOURCE_DATE_EPOCH=315532800",
        "TMPDIR=$TMPDIR",
        "TZ=UTC",
        "XDG_CACHE_HOME=~/.cache",
        "XDG_CONFIG_HOME=~/.config",
        "XDG_DATA_HOME=~/.local/share",
        "XDG_STATE_HOME=~/.local/state",
    ];
    assert_eq!(lines, expect);
}

#[tokio::test]
async fn the_path_holds_the_declared_tools_only() {
    let bench = Bench::new("ls -A ../../../../bin $HOME; grep x a", &["ls"]);
    let executed = bench.run(&[("a", "x")]).await;
    let output = &executed.output;
    assert_eq!(output.exit_code, 127, "{executed:?}");
    assert!(output.stderr.contains("grep"), "{}", output.stderr);
}

#[tokio::test]
async fn a_program_that_was_not_declared_is_named_with_the_way_out() {
    let mut bench = Bench::new("", &[]);
    bench.command.argv = argv(&["frobnicate"]);
    let error = bench.try_run(&[]).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot start `frobnicate`: not a program of the check; add it to `tools`"
    );
}

#[tokio::test]
async fn parts_are_appended_as_seen_from_the_working_directory() {
    let mut bench = Bench::new("echo \"$@\"; cat config", &["cat"]);
    bench.command.argv.push("zero".to_owned());
    bench.command.append_files = true;
    bench.command.dir = RelPath::new("sub").unwrap();
    bench.parts = vec!["a.yaml", "sub/-b.yaml"];
    let files = [("a.yaml", ""), ("sub/-b.yaml", ""), ("sub/config", "c")];
    assert_eq!(bench.stdout(&files).await, "../a.yaml ./-b.yaml\nc");
}

#[tokio::test]
async fn nothing_is_left_from_one_run_to_the_next_but_products() {
    let script = "ls -A . target; echo x > leftover; mkdir -p target; echo x > target/made; umask";
    let mut bench = Bench::new(script, &["ls", "mkdir"]);
    bench.command.products = vec![RelPath::new("target").unwrap()];
    bench.run(&[("a", "")]).await;
    let stdout = bench.stdout(&[("a", "")]).await;
    assert_eq!(stdout, ".:\n.git\na\ntarget\n\ntarget:\nmade\n0022\n");
}

#[tokio::test]
async fn what_a_check_left_can_be_looked_at_while_its_result_lives() {
    let bench = Bench::new("echo made > out", &[]);
    let first = bench.run(&[]).await;
    let second = bench.run(&[]).await;
    let tree = |executed: &Executed| executed.place.as_ref().unwrap().tree().to_owned();
    assert_ne!(tree(&first), tree(&second));
    let read = std::fs::read_to_string(tree(&first).join("out"));
    assert_eq!(read.unwrap(), "made\n");
}

#[tokio::test]
async fn commands_before_it_share_its_room_and_must_succeed() {
    let mut bench = Bench::new("cat target/x", &["cat", "mkdir"]);
    let prepare = "mkdir -p target; echo quiet; echo made > target/x";
    bench.command.before = vec![argv(&["sh", "-c", prepare])];
    assert_eq!(bench.stdout(&[]).await, "made\n");
    bench.command.before = vec![argv(&["sh", "-c", "echo why in $PWD/a >&2; exit 7"])];
    let error = bench.try_run(&[]).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot prepare the check: `sh -c 'echo why in $PWD/a >&2; exit 7'` exited with code 7\nwhy in a"
    );
}

#[tokio::test]
async fn signals_timeouts_and_cancelling_are_told_apart() {
    let mut bench = Bench::new("kill -9 $$", &[]);
    let executed = bench.run(&[]).await;
    assert_eq!(
        (executed.ended, executed.output.exit_code),
        (Ended::Signal(9), 137)
    );
    bench.command.argv = argv(&["sh", "-c", "sleep 1000"]);
    bench.command.tools.push(host("sleep"));
    bench.timeout = Some(Duration::from_millis(50));
    let executed = bench.run(&[]).await;
    assert_eq!(executed.ended, Ended::Timeout(Duration::from_millis(50)));
    bench.cancel.cancel();
    assert!(matches!(
        bench.try_run(&[]).await,
        Err(EngineError::Cancelled)
    ));
}

#[tokio::test]
async fn output_that_is_no_text_or_too_long_is_kept_as_far_as_possible() {
    let mut bench = Bench::new(r"printf 'a\377b'; printf 0123456789 >&2", &[]);
    bench.engine.limits.output = 5;
    let output = bench.run(&[]).await.output;
    assert_eq!(output.stdout, "a\u{fffd}b");
    assert_eq!(output.stderr, "01\n[dagcache: 5 bytes left out]\n789");
}

#[tokio::test]
async fn a_store_that_cannot_be_written_leads_to_a_private_room() {
    let bench = Bench::new("echo ran", &[]);
    std::fs::write(bench.dir.path().join("store"), "").unwrap();
    let executed = bench.run(&[]).await;
    assert_eq!(executed.output.stdout, "ran\n");
    let tree = executed.place.as_ref().unwrap().tree().to_owned();
    drop((executed, bench));
    assert!(!tree.exists());
}

#[tokio::test]
async fn git_finds_no_repository_around_the_room() {
    if !Path::new("/usr/bin/git").exists() {
        let _ = std::io::Write::write_all(
            &mut std::io::stderr(),
            concat!("skipped: no git at /usr/bin/git", "\n").as_bytes(),
        );
        return;
    }
    let bench = Bench::new("git rev-parse --show-toplevel", &["git"]);
    std::fs::create_dir_all(bench.dir.path()).unwrap();
    let init = std::process::Command::new("/usr/bin/git")
        .args(["init", "-q"])
        .current_dir(bench.dir.path())
        .status();
    assert!(init.unwrap().success());
    assert_eq!(bench.run(&[]).await.output.exit_code, 128);
}

#[test]
fn command_lines_can_be_pasted() {
    let line = quoted(["a", "b c", "it's", ""].into_iter());
    assert_eq!(line, r"a 'b c' 'it'\''s' ''");
}
