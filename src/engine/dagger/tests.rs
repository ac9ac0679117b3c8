use std::path::Path;

use dagger_sdk::Query;
use serde_json::{Value, json};

use super::client::Recorder;
use super::program::Program;
use super::*;
use crate::engine::{Ended, Trace};
use crate::env::Env;
use crate::path::RelPath;
use crate::plan::output::NoFindings;
use crate::plan::{Build, Command, LayerKind, Script, Tool};

const DEBIAN: &str = "docker.io/library/debian:bookworm-slim";

/// A real engine with a store of its own, and the one command that its tests change.
struct Bench {
    _dir: tempfile::TempDir,
    engine: DaggerEngine,
    env: Env,
    command: Command,
    layers: Vec<Layer>,
    timeout: Option<Duration>,
    again: bool,
    outside: Vec<OutsideFile>,
    cancel: CancellationToken,
}

fn layer(name: &str, build: Build) -> Layer {
    Layer {
        name: name.to_owned(),
        kind: LayerKind::Base,
        on: Vec::new(),
        parts: Vec::new(),
        build,
    }
}

fn base() -> Layer {
    let reference = DEBIAN.to_owned();
    layer("base", Build::Image { reference })
}

/// Shell text with a comment no other run has.
fn fresh(text: &str) -> String {
    format!("{text} # {}", nonce())
}

impl Bench {
    fn new(script: &str) -> Option<Self> {
        let Some(address) = std::env::var("DAGCACHE_TEST_DAGGER").ok() else {
            crate::testing::skip("no Dagger engine: DAGCACHE_TEST_DAGGER is not set");
            return None;
        };
        let env = Env::from_process();
        let path = crate::tool::first_on_path(&env, "dagger")?;
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings {
            connect: Connect {
                program: Program::of(path, "dagger v0.21.8 (x) y").unwrap(),
                address: Some(address),
                env: env.clone(),
                timeout: None,
            },
            platform: "linux/amd64".to_owned(),
            rooms: dir.path().join("rooms"),
            generations: HashMap::new(),
        };
        let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
        Some(Self {
            engine: DaggerEngine::new(settings),
            env: Env::from_pairs(&[("ASKED", "yes")]),
            command: Command::new(argv, RelPath::root(), Vec::new(), Arc::new(NoFindings)),
            layers: vec![base()],
            timeout: None,
            again: false,
            outside: Vec::new(),
            cancel: CancellationToken::new(),
            _dir: dir,
        })
    }

    fn keyed(&self) -> Vec<(&Layer, Digest)> {
        let key = |layer: &Layer| Digest::of(format!("{:?}", layer.build).as_bytes());
        self.layers
            .iter()
            .map(|layer| (layer, key(layer)))
            .collect()
    }

    async fn prepare(&self, snapshot: &Snapshot) -> Result<Vec<Prepared>, EngineError> {
        let layers = self.keyed();
        let request = Prepare {
            layers: &layers,
            snapshot,
            env: &self.env,
            force: false,
        };
        self.engine.prepare(&request, &self.cancel).await
    }

    async fn try_run_on(
        &self,
        snapshot: &Snapshot,
        wanted: &[&str],
    ) -> Result<Executed, EngineError> {
        self.run_as(&self.command, self.timeout, snapshot, wanted)
            .await
    }

    async fn run_as(
        &self,
        command: &Command,
        timeout: Option<Duration>,
        snapshot: &Snapshot,
        wanted: &[&str],
    ) -> Result<Executed, EngineError> {
        let shared: Vec<FileId> = snapshot
            .below(&RelPath::root())
            .filter(|id| wanted.is_empty() || wanted.contains(&snapshot.entry(*id).path.as_str()))
            .collect();
        self.prepare(snapshot).await?;
        let layers = self.keyed();
        let request = Request {
            id: "check",
            command,
            snapshot,
            shared: &shared,
            parts: &[],
            outside: &self.outside,
            folders: &[],
            lacking: None,
            env: &self.env,
            layers: &layers,
            product_key: Digest::of(b""),
            timeout,
            again: self.again,
            trace: Trace::Off,
            live: None,
        };
        self.engine.run(&request, &self.cancel).await
    }

    async fn try_run(&self, files: &[(&str, &str)]) -> Result<Executed, EngineError> {
        self.try_run_on(&Snapshot::in_memory(files), &[]).await
    }

    async fn run(&self, files: &[(&str, &str)]) -> Executed {
        self.try_run(files).await.unwrap()
    }
}

macro_rules! bench {
    ($script:expr) => {
        match Bench::new($script) {
            Some(bench) => bench,
            None => return,
        }
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_runs_in_a_container_and_is_remembered() {
    let script = fresh("cat a/b; echo $PWD/a/b:1; echo \u{e9} >&2; echo x >/dev/stderr; exit 3");
    let bench = bench!(&script);
    let files = [("a/b", "text\n"), ("c", "")];
    let first = bench.run(&files).await;
    assert_eq!(first.output.stdout, "text\na/b:1\n");
    assert_eq!(first.output.stderr, "\u{e9}\nx\n");
    assert_eq!(first.ended, Ended::Exit(3));
    assert!(!first.replayed);
    let again = bench.run(&files).await;
    assert!(again.replayed);
    bench.engine.close().await;
    // Another store, another session: the engine knows it by content.
    let other = bench!(&script);
    let third = other.run(&files).await;
    assert!(third.replayed);
    assert_eq!(third.output, first.output);
    let mut other = bench!(&script);
    other.again = true;
    assert!(!other.run(&files).await.replayed);
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_at_once_have_their_own_limits_and_are_told_apart() {
    let bench = bench!("");
    let snapshot = Snapshot::in_memory(&[("a", "")]);
    let scripts: Vec<String> = (0..8)
        .map(|n| fresh(&format!("sleep {}", n / 7 * 2)))
        .collect();
    for replayed in [false, true] {
        let runs = scripts.iter().enumerate().map(|(n, script)| {
            let mut command = bench.command.clone();
            command.argv[2] = script.clone();
            let limit = Duration::from_secs(if n == 7 { 60 } else { 1 });
            let (bench, snapshot) = (&bench, &snapshot);
            async move {
                bench
                    .run_as(&command, Some(limit), snapshot, &[])
                    .await
                    .unwrap()
            }
        });
        for executed in futures_of(runs).await {
            assert_eq!(
                (executed.ended, executed.replayed),
                (Ended::Exit(0), replayed)
            );
        }
    }
}

/// Awaits all of them at once.
async fn futures_of<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut pending: Vec<_> = all.map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|context| {
        for (one, done) in pending.iter_mut().filter(|(_, done)| done.is_none()) {
            if let std::task::Poll::Ready(output) = one.as_mut().poll(context) {
                *done = Some(output);
            }
        }
        match pending.iter().all(|(_, done)| done.is_some()) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    pending.into_iter().filter_map(|(_, done)| done).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_too_much_output_begin_and_end_are_kept() {
    let bench = bench!(&fresh(
        "echo first; head -c 150000000 /dev/zero; echo last; echo done >&2"
    ));
    let executed = bench.run(&[]).await;
    assert!(executed.truncated && executed.ended == Ended::Exit(0));
    let output = &executed.output;
    assert!(output.stdout.starts_with("first\n") && output.stdout.ends_with("\0last\n"));
    assert!(
        output
            .stdout
            .contains("\n[dagcache: some of the output is missing]\n")
    );
    assert!(output.stdout.len() < 65 << 20 && output.stderr == "done\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_look_like_patterns_stand_for_themselves() {
    let names = [
        "a[1].txt", "*", "!x", "x", " y ", "y", "b\\c", "d/{e}", "d/e", "#f", "f?", "fg", "a1.txt",
        "-", "ü",
    ];
    let script = fresh(
        "find . -type f | LC_ALL=C sort | while IFS= read -r f; do printf '%s>' \"$f\"; done",
    );
    let bench = bench!(&script);
    let files: Vec<(&str, &str)> = names.iter().map(|name| (*name, *name)).collect();
    let snapshot = Snapshot::in_memory(&files);
    let mut all: Vec<FileId> = snapshot.below(&RelPath::root()).collect();
    all.sort_unstable();
    let expected = Expected {
        snapshot: &snapshot,
        files: &all,
        outside: &[],
    };
    bench.engine.expect(&expected, &bench.cancel).await.unwrap();
    for wanted in [
        &names[..],
        &names[..4],
        &names[4..9],
        &names[9..],
        &["!x", " y ", "b\\c"],
        &["x", "y"],
        &["*"],
    ] {
        let executed = bench.try_run_on(&snapshot, wanted).await.unwrap();
        let mut sorted: Vec<String> = wanted.iter().map(|name| format!("./{name}>")).collect();
        sorted.sort();
        assert_eq!(executed.output.stdout, sorted.concat(), "{wanted:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_check_sees_does_not_depend_on_what_else_is_staged() {
    let script = fresh("find . | LC_ALL=C sort");
    let bench = bench!(&script);
    let files = [("a/x", "1"), ("a/y", "2"), ("b/z", "3"), ("c", "4")];
    let snapshot = Snapshot::in_memory(&files);
    let mut all: Vec<FileId> = snapshot.below(&RelPath::root()).collect();
    all.sort_unstable();
    let alone = bench
        .try_run_on(&Snapshot::in_memory(&files[..2]), &[])
        .await
        .unwrap();
    assert_eq!(alone.output.stdout, ".\n./.git\n./a\n./a/x\n./a/y\n");
    let expected = Expected {
        snapshot: &snapshot,
        files: &all,
        outside: &[],
    };
    bench.engine.expect(&expected, &bench.cancel).await.unwrap();
    let among = bench.try_run_on(&snapshot, &["a/x", "a/y"]).await.unwrap();
    assert_eq!(among.output, alone.output);
    assert!(among.replayed);
    let many = bench
        .try_run_on(&snapshot, &["a/x", "b/z", "c"])
        .await
        .unwrap();
    assert_eq!(
        many.output.stdout,
        ".\n./.git\n./a\n./a/x\n./b\n./b/z\n./c\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_says_nothing_of_the_project_is_no_result_and_not_remembered() {
    let random = "cat /proc/sys/kernel/random/uuid";
    let mut bench = bench!(&fresh(&format!("{random}; exit 137")));
    let first = bench.run(&[]).await;
    assert_eq!(first.ended, Ended::Exit(137));
    assert_ne!(bench.run(&[]).await.output.stdout, first.output.stdout);
    bench.command.argv[2] = fresh(&format!("{random}; kill -9 $$"));
    assert_eq!(bench.run(&[]).await.output.exit_code, 137);
    bench.command.argv[2] = fresh(&format!("{random}; sleep 60"));
    bench.timeout = Some(Duration::from_secs(1));
    let timed_out = bench.run(&[]).await;
    assert_eq!(timed_out.ended, Ended::Timeout(Duration::from_secs(1)));
    assert_eq!(timed_out.output.stdout.trim().len(), 36);
    assert_ne!(bench.run(&[]).await.output.stdout, timed_out.output.stdout);
    bench.command.argv = vec!["nobody-has-this".to_owned()];
    let missing = bench.try_run(&[]).await.unwrap_err();
    let EngineError::Spawn { program, message } = missing else {
        panic!("{missing}")
    };
    assert_eq!(program, "nobody-has-this");
    assert!(
        message.contains(DEBIAN) && message.contains("[layers.base] packages"),
        "{message}"
    );
    bench.command.argv = vec!["true".to_owned()];
    bench.command.tools = vec![Tool::Image {
        name: "nor-this".to_owned(),
    }];
    let missing = bench.try_run(&[]).await.unwrap_err().to_string();
    assert!(missing.contains("`nor-this`"), "{missing}");
    bench.command.tools.clear();
    bench.command.before = vec![vec!["false".to_owned(), "x y".to_owned()]];
    let before = bench.try_run(&[]).await.unwrap_err().to_string();
    assert_eq!(
        before,
        "cannot prepare the check: `false 'x y'` exited with code 1"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_are_those_of_the_host_and_none_of_the_engine() {
    let mut bench = bench!(&fresh("env | sort; umask; whoami"));
    bench.command.env = vec!["ASKED".to_owned()];
    bench
        .command
        .set_env
        .insert("SET".to_owned(), "a  'b'".to_owned());
    let said = bench.run(&[]).await.output.stdout;
    // Some images have variables of their own.
    let of_image = ["SSL_CERT", "CURL_CA_BUNDLE", "GIT_SSL"];
    let names: Vec<&str> = said
        .lines()
        .filter_map(|line| Some(line.split_once('=')?.0))
        .filter(|name| !of_image.iter().any(|start| name.starts_with(start)))
        .collect();
    assert_eq!(
        names.join(" "),
        "ASKED GIT_CEILING_DIRECTORIES GIT_CONFIG_NOSYSTEM HOME LANG PATH PWD PYTHONDONTWRITEBYTECODE SET \
         SOURCE_DATE_EPOCH TMPDIR TZ XDG_CACHE_HOME XDG_CONFIG_HOME XDG_DATA_HOME XDG_STATE_HOME"
    );
    assert!(
        said.contains("SET=a  'b'\n") && said.contains("ASKED=yes\n"),
        "{said}"
    );
    assert!(said.ends_with("0022\nroot\n"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn output_comes_as_the_host_engine_has_it() {
    let bench = bench!(&fresh(
        "printf 'a\\377\\n\\n'; printf ' x \\033[1m\\n' >&2; (sleep 0.3; echo late) &"
    ));
    let output = bench.run(&[]).await.output;
    assert_eq!(output.stdout, "a\u{fffd}\n\nlate\n");
    assert_eq!(output.stderr, " x \u{1b}[1m\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_makes_is_brought_back() {
    let mut bench = bench!(&fresh(
        "mkdir -p build/a; echo 1 >build/a/r; chmod +x build/a/r; ln -s r build/a/l; echo 2 >other"
    ));
    bench.command.outputs = vec!["build/**".to_owned(), "!build/x".to_owned()];
    let executed = bench.run(&[("in", "")]).await;
    let tree = executed.place.as_ref().unwrap().tree();
    assert_eq!(
        std::fs::read_to_string(tree.join("build/a/r")).unwrap(),
        "1\n"
    );
    assert_eq!(
        std::fs::read_link(tree.join("build/a/l")).unwrap(),
        Path::new("r")
    );
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(tree.join("build/a/r"))
            .unwrap()
            .permissions(),
    );
    assert_eq!(mode & 0o777, 0o755);
    assert!(!tree.join("other").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_count_by_value_and_are_no_variables_of_the_key() {
    let mut bench = bench!(&fresh("echo ${#PATH_OF_TEST}"));
    bench.command.secrets = vec![crate::plan::check::Secret::new("PATH_OF_TEST")];
    assert_eq!(bench.run(&[]).await.output.stdout, "0\n");
    // The session reads it from the user's environment.
    let name = "HOME";
    bench.env = Env::from_pairs(&[(name, "/x")]);
    bench.command.argv[2] = fresh("test -n \"$SECRET\" || echo none");
    assert_eq!(bench.run(&[]).await.output.stdout, "none\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_are_built_once_and_known_by_their_nonce() {
    let mut bench = bench!("cat /opt/made /opt/below; echo $LAST ${ONCE-}; pwd; ls; echo $PATH");
    let mark = nonce();
    let script = |text: &str| Script {
        text: text.to_owned(),
        files: vec![(RelPath::new("in/put").unwrap(), b"given\n".to_vec())],
        set_env: vec![("ONCE".to_owned(), "o'nce".to_owned())],
        lasting_env: vec![
            ("LAST".to_owned(), "s".to_owned()),
            ("PATH".to_owned(), "/opt/x".to_owned()),
        ],
        ..Script::default()
    };
    let below = script(&format!(
        "cp in/put /opt/below; cat in/put; echo $ONCE; # {mark}"
    ));
    let above = script(&format!("echo \"$ONCE $LAST\" >/opt/made # {mark}"));
    bench
        .layers
        .push(layer("tools:a", Build::Script(Box::new(below))));
    bench
        .layers
        .push(layer("tools:b", Build::Script(Box::new(above))));
    let snapshot = Snapshot::in_memory(&[("f", "")]);
    let (one, two) = tokio::join!(bench.prepare(&snapshot), bench.prepare(&snapshot));
    let built = |all: &[Prepared]| all.iter().filter(|one| one.built.is_some()).count();
    assert_eq!(built(&one.unwrap()) + built(&two.unwrap()), 2);
    assert_eq!(built(&bench.prepare(&snapshot).await.unwrap()), 0);
    let said = bench
        .try_run_on(&snapshot, &[])
        .await
        .unwrap()
        .output
        .stdout;
    assert!(
        said.starts_with("o'nce s\ngiven\ns\n.\nf\n/opt/x:/opt/x:/usr/local/sbin"),
        "{said}"
    );
    bench.engine.close().await;
    // Another session finds them.
    let mut other = bench!("true");
    other.layers = bench.layers.clone();
    assert_eq!(built(&other.prepare(&snapshot).await.unwrap()), 0);
    // One that was cleared is made again, and so is what stands on it.
    other
        .engine
        .settings
        .generations
        .insert("tools:b".to_owned(), 1);
    other.engine.layers = Mutex::default();
    assert_eq!(built(&other.prepare(&snapshot).await.unwrap()), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_fails_says_why_and_is_not_tried_again() {
    let mut bench = bench!("true");
    let script = Script {
        text: fresh("cat /proc/sys/kernel/random/uuid; echo no >&2; exit 9"),
        ..Script::default()
    };
    bench
        .layers
        .push(layer("deps:x", Build::Script(Box::new(script))));
    let first = bench.try_run(&[]).await.unwrap_err().to_string();
    let begin = "cannot build layer `deps:x`: its script exited with code 9\n";
    assert!(
        first.starts_with(begin) && first.ends_with("\nno"),
        "{first}"
    );
    assert_eq!(bench.try_run(&[]).await.unwrap_err().to_string(), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_resolved_and_asked() {
    let bench = bench!("true");
    let (digest, platform) = bench.engine.resolve(DEBIAN, &bench.cancel).await.unwrap();
    assert!(
        digest.starts_with("sha256:") && digest.len() == 71,
        "{digest}"
    );
    assert_eq!(platform, "linux/amd64");
    let snapshot = Snapshot::in_memory(&[]);
    let layers = bench.keyed();
    let prepare = Prepare {
        layers: &layers,
        snapshot: &snapshot,
        env: &bench.env,
        force: false,
    };
    let said = bench
        .engine
        .ask(&prepare, "cat /etc/debian_version", &bench.cancel)
        .await
        .unwrap();
    assert!(said.starts_with("12."), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_from_above_the_project_keep_their_place() {
    let mut bench = bench!(&fresh("sha256sum ../etc/passwd; cat a; ls"));
    let content = std::fs::read("/etc/passwd").unwrap();
    bench.outside = vec![OutsideFile {
        up: 1, // The root of a snapshot in memory is `/nonexistent`.
        path: RelPath::new("etc/passwd").unwrap(),
        digest: Digest::of(&content),
    }];
    let said = bench
        .run(&[("a", "text\n"), ("b/c", "")])
        .await
        .output
        .stdout;
    let digest = Digest::of(&content);
    assert_eq!(said, format!("{digest}  ../etc/passwd\ntext\na\nb\n"));
    bench.outside[0].digest = Digest::of(b"");
    let changed = bench.try_run(&[("a", "text\n")]).await;
    assert!(
        matches!(changed, Err(EngineError::Changed(_))),
        "{changed:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_is_an_image_and_programs_come_from_others() {
    let mut bench = bench!("cat /etc/debian_version; /opt/prog -c 'echo run'");
    let session = bench.engine.session(&bench.cancel).await.unwrap();
    let archive = bench._dir.path().join("base.tar");
    let (query, path) = (session.query(), archive.to_string_lossy().into_owned());
    let export = session.run("export", move || {
        let (query, path) = (query.clone(), path.clone());
        async move {
            let container = query.container().from(DEBIAN);
            Ok(container.as_tarball().export(path).await?)
        }
    });
    export.await.unwrap();
    let build = Build::Archive {
        path: archive,
        digest: Digest::of(b""),
    };
    let script = Script {
        text: "test -x /opt/prog".to_owned(),
        programs: vec![(
            DEBIAN.to_owned(),
            "/bin/sh".to_owned(),
            "/opt/prog".to_owned(),
        )],
        ..Script::default()
    };
    bench.layers = vec![layer("base", build)];
    bench
        .layers
        .push(layer("tools:prog", Build::Script(Box::new(script))));
    let said = bench.run(&[]).await.output.stdout;
    assert!(
        said.starts_with("12.") && said.ends_with("\nrun\n"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_layers_that_are_no_text_come_as_they_are() {
    let mut bench = bench!("cat /opt/sum");
    let script = Script {
        text: fresh("sha256sum <in/binary >/opt/sum; stat -c %a in in/binary >>/opt/sum"),
        files: vec![(RelPath::new("in/binary").unwrap(), vec![0, 255, 10])],
        ..Script::default()
    };
    bench
        .layers
        .push(layer("tools:x", Build::Script(Box::new(script))));
    let said = bench.run(&[]).await.output.stdout;
    let digest = Digest::of(&[0, 255, 10]);
    assert_eq!(said, format!("{digest}  -\n755\n644\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_run_staged_is_kept_for_others() {
    let bench = bench!("true");
    let snapshot = Snapshot::in_memory(&[("a", "1"), ("b", "2")]);
    let later = Snapshot::in_memory(&[("a", "1"), ("b", "3"), ("c", "")]);
    bench.try_run_on(&snapshot, &[]).await.unwrap();
    let inode = |name: &str| {
        let stage = walkdir::WalkDir::new(bench._dir.path());
        let mut found = stage
            .into_iter()
            .flatten()
            .filter(|entry| entry.path().ends_with(format!("tree/{name}")));
        found
            .next()
            .map(|entry| std::os::unix::fs::MetadataExt::ino(&entry.metadata().unwrap()))
    };
    let before = inode("a");
    *bench.engine.stage.write().await = None;
    bench.try_run_on(&later, &["c"]).await.unwrap();
    assert!(before.is_some() && inode("a") == before);
    assert_eq!(inode("b"), None);
}

/// A recorder that gives every leaf an answer of its kind: `ID`, or the text for what is told by `contents`.
fn recorder(contents: &'static str) -> Arc<Recorder> {
    Recorder::new(move |query| {
        let fields = fields(query);
        let leaf = fields.last().map(String::as_str);
        let answer = json!(if leaf == Some("contents") {
            contents
        } else {
            "ID"
        });
        let nest = |below: Value, name: &String| json!({ name.as_str(): below });
        Ok(Some(fields.iter().rev().fold(answer, nest)))
    })
}

/// The names of the fields of a chain, outermost first.
fn fields(query: &str) -> Vec<String> {
    let (mut names, mut name) = (Vec::new(), String::new());
    let (mut depth, mut in_text, mut escaped) = (0, false, false);
    for c in query.trim_start_matches("query").chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if in_text => escaped = true,
            '"' => in_text = !in_text,
            _ if in_text => {}
            '(' => depth += 1,
            ')' => depth -= 1,
            '{' | '}' if depth == 0 => names.push(std::mem::take(&mut name)),
            _ if depth == 0 => name.push(c),
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty() && !name.starts_with("..."));
    names
}

/// Queries with what differs from run to run, or is long, left out.
fn golden(recorder: &Recorder) -> Vec<String> {
    let nonces = regex::Regex::new("[0-9]{19}-[0-9]+-[0-9]+").unwrap();
    let marks = regex::Regex::new("(DAGCACHE_(?:RUN|LIMIT)_)[0-9a-f]{16,64}").unwrap();
    let scripts = regex::Regex::new(r#""-(e?u?c)","unset(\\.|[^"\\])*""#).unwrap();
    let asked = recorder.asked();
    asked
        .iter()
        .map(|query| {
            let query = nonces.replace_all(query, "NONCE");
            let query = marks.replace_all(&query, "${1}MARK");
            scripts.replace_all(&query, r#""-$1",SCRIPT"#).into_owned()
        })
        .collect()
}

fn recipe(build: Build, files: &[(&str, &[u8])]) -> Arc<Recipe> {
    let build = match build {
        Build::Script(script) => Build::Script(Box::new(Script {
            files: files
                .iter()
                .map(|(path, content)| (RelPath::new(path).unwrap(), content.to_vec()))
                .collect(),
            ..*script
        })),
        other => other,
    };
    let env = Env::from_pairs(&[("PIP_INDEX_URL", "x"), ("EMPTY", "")]);
    let snapshot = Snapshot::in_memory(&[]);
    let key = Digest::of(b"key");
    let recipe = Recipe::new(
        &layer("tools:x", build),
        key,
        &snapshot,
        &env,
        &settings(&env),
        false,
    );
    Arc::new(recipe.unwrap())
}

fn settings(env: &Env) -> Settings {
    Settings {
        connect: Connect {
            program: Program::of("/dagger".into(), "dagger v0.21.8 (x) y").unwrap(),
            address: None,
            env: env.clone(),
            timeout: None,
        },
        platform: "linux/amd64".to_owned(),
        rooms: "/rooms/project".into(),
        generations: HashMap::from([("tools:x".to_owned(), 2)]),
    }
}

#[tokio::test]
async fn an_image_is_asked_for_by_digest_and_platform() {
    let recorder = recorder("");
    let reference = "docker.io/library/debian@sha256:1".to_owned();
    let recipe = recipe(Build::Image { reference }, &[]);
    let ready = layers::prepare(recorder.query(), None, recipe, Path::new("/s").into())
        .await
        .unwrap();
    assert_eq!(ready.take_built(), None);
    assert_eq!(
        golden(&recorder),
        [
            r#"query{container(platform:"linux/amd64"){from(address:"docker.io/library/debian@sha256:1"){withUser(name:"0:0"){sync}}}}"#
        ]
    );
}

#[tokio::test]
async fn the_pipeline_of_a_layer() {
    let script = Script {
        text: "TEXT".to_owned(),
        programs: vec![(
            "r@sha256:2".to_owned(),
            "/bin/k".to_owned(),
            "/opt/dagcache/k/k".to_owned(),
        )],
        set_env: vec![("A".to_owned(), "b".to_owned())],
        lasting_env: vec![
            ("PATH".to_owned(), "/opt/dagcache/k".to_owned()),
            ("L".to_owned(), "1".to_owned()),
        ],
        user_env: vec![
            "PIP_INDEX_URL".to_owned(),
            "EMPTY".to_owned(),
            "UNSET".to_owned(),
        ],
        ..Script::default()
    };
    let recorder = recorder("somebody else's");
    let recipe = recipe(Build::Script(Box::new(script)), &[("f", b"text")]);
    let below = recorder.query().container();
    let ready = layers::prepare(
        recorder.query(),
        Some(below),
        recipe,
        Path::new("/s").into(),
    )
    .await
    .unwrap();
    assert_eq!(ready.take_built(), None);
    let queries = golden(&recorder)
        .join("\n")
        .replace(&Digest::of(b"key").to_string(), "KEY");
    matches_golden(&queries, include_str!("golden/layer.graphql"), "layer");
}

#[tokio::test]
async fn the_pipeline_of_a_check() {
    let mut command = command();
    command.outputs = vec!["build/*.txt".to_owned()];
    // Not with these.
    command.keep = Some("exec \"$@\"".to_owned());
    let queries = pipeline(&command).await;
    matches_golden(&queries, include_str!("golden/check.graphql"), "check");
}

#[tokio::test]
async fn the_pipeline_of_a_check_that_knows_a_secret() {
    let mut command = command();
    command.secrets = ["TOKEN", "UNSET"]
        .map(crate::plan::check::Secret::new)
        .to_vec();
    let queries = pipeline(&command).await;
    assert!(!queries.contains("never shown"));
    matches_golden(&queries, include_str!("golden/secret.graphql"), "secret");
}

#[tokio::test]
async fn the_pipeline_of_a_check_in_a_place_that_is_kept() {
    let mut command = command();
    command.keep = Some("exec \"$@\"".to_owned());
    let queries = pipeline(&command).await;
    let key = |name: &str, text: &[u8]| (Digest::of(text).to_string(), name.to_owned());
    let keys = [key("KEY", b"key"), key("PRODUCTS", b"products")];
    let plain = |text: String, (key, name): (String, String)| text.replace(&key, &name);
    let queries = keys.into_iter().fold(queries, plain);
    matches_golden(&queries, include_str!("golden/kept.graphql"), "kept");
}

fn command() -> Command {
    let argv = ["sh", "-c", "true"].map(str::to_owned).to_vec();
    Command::new(argv, RelPath::root(), Vec::new(), Arc::new(NoFindings))
}

/// What the engine is asked for a check.
async fn pipeline(command: &Command) -> String {
    let recorder = recorder("");
    let query = recorder.query();
    let upload = stage::Upload {
        from: "/rooms/stage/up/up1/tree".into(),
        to: "/dagcache/up/up1/tree".into(),
        include: vec!["a".to_owned()],
        exclude: vec!["a/b".to_owned(), ".git".to_owned()],
    };
    let place = upload.to.to_string_lossy().into_owned();
    let files = check::send(query.clone(), upload).await.unwrap();
    let snapshot = Snapshot::in_memory(&[]);
    let mut layer = layer("tools:x", Build::Present);
    layer.kind = LayerKind::Deps;
    let env = Env::from_pairs(&[("TOKEN", "never shown")]);
    let request = Request {
        id: "check",
        command,
        snapshot: &snapshot,
        shared: &[],
        parts: &[],
        outside: &[],
        folders: &[],
        lacking: None,
        env: &env,
        layers: &[(&layer, Digest::of(b"key"))],
        product_key: Digest::of(b"products"),
        timeout: Some(Duration::from_secs(7)),
        again: true,
        trace: Trace::Off,
        live: None,
    };
    let action = Action::new(&request, &settings(&env), &place, Path::new("/scratch"));
    let on = Query::container(&query);
    action.run(query, on, (files, place)).await.unwrap();
    golden(&recorder).join("\n")
}

/// Compares with a file of this folder; with `DAGCACHE_BLESS` set it is written instead.
fn matches_golden(found: &str, expected: &str, name: &str) {
    if std::env::var_os("DAGCACHE_BLESS").is_some() {
        let path = format!(
            "{}/src/engine/dagger/golden/{name}.graphql",
            env!("CARGO_MANIFEST_DIR")
        );
        return std::fs::write(path, format!("{found}\n")).unwrap();
    }
    assert_eq!(found, expected.trim_end());
}
