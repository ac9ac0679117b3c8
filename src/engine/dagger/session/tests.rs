use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;

/// Never reached unless something hangs.
const LONG: Duration = Duration::from_secs(60);

/// A folder with a script that stands in for `dagger`.
struct Fake {
    dir: tempfile::TempDir,
    connect: Connect,
}

impl Fake {
    fn new(script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dagger");
        {
            let _alone = crate::process::writing_a_program();
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let path_of_host = std::env::var("PATH").unwrap();
        let folder = dir.path().to_str().unwrap();
        let connect = Connect {
            program: Program::of(path, "dagger v0.21.8 (x) y").unwrap(),
            address: Some("fake://engine".to_owned()),
            env: Env::from_pairs(&[("PATH", &path_of_host), ("DIR", folder)]),
            timeout: Some(LONG),
        };
        Self { dir, connect }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in self.connect.env.all() {
            pairs.push((
                name.to_str().unwrap().into(),
                value.to_str().unwrap().into(),
            ));
        }
        pairs.push((name.into(), value.into()));
        let pairs: Vec<(&str, &str)> = pairs
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        self.connect.env = Env::from_pairs(&pairs);
        self
    }

    /// Reads a fifo that the script opens: it ends with the last process of the script.
    fn held(&self) -> std::thread::JoinHandle<Vec<u8>> {
        let fifo = self.path("fifo");
        let mode = rustix::fs::Mode::RWXU;
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, mode).unwrap();
        std::thread::spawn(move || std::fs::read(fifo).unwrap())
    }

    /// Lets the reader of the fifo go even if the script never came to open its end.
    fn release(&self) {
        let fifo = self.path("fifo");
        drop(std::fs::File::options().read(true).write(true).open(fifo));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn open(&self) -> Result<Session, String> {
        let opened = Session::open(&self.connect, &CancellationToken::new()).await;
        opened.map_err(|error| match error {
            EngineError::Lost(message) => message,
            other => panic!("{other}"),
        })
    }
}

#[tokio::test]
async fn a_child_that_dies_is_told_at_once_with_what_it_said() {
    let script = r"echo '1   : connect' >&2
        printf '\033[95m2   : \033[0m┆ [0.2s] | Cannot connect to the Docker daemon\n' >&2
        echo 'Error: no driver found [traceparent:1-2]' >&2; exit 1";
    let error = Fake::new(script).open().await.unwrap_err();
    let expected = "cannot connect to a Dagger engine at fake://engine: `dagger session` exited\n\
                    Cannot connect to the Docker daemon\nno driver found";
    assert_eq!(error, expected);
}

#[tokio::test]
async fn one_that_says_nothing_is_given_up_in_time_and_ended() {
    let script = "echo 'no such host' >&2; trap '' TERM; exec 8>$DIR/fifo; sleep 1000 & wait";
    let fake = Fake::new(script).with(env::DAGCACHE_DAGGER_TIMEOUT, "700ms");
    let held = fake.held();
    let error = fake.open().await.unwrap_err();
    let expected = "cannot connect to a Dagger engine at fake://engine: no answer within 700ms";
    // On a busy machine it may not even have come to say something.
    assert_eq!(error.lines().next(), Some(expected));
    fake.release();
    assert_eq!(held.join().unwrap(), b"");
}

#[tokio::test]
async fn cancelling_ends_one_that_is_just_opening() {
    let fake = Fake::new("exec 8>$DIR/fifo; touch $DIR/up; sleep 1000 & wait");
    let held = fake.held();
    let cancel = CancellationToken::new();
    let opening = Session::open(&fake.connect, &cancel);
    tokio::pin!(opening);
    while !fake.path("up").exists() {
        tokio::select! {
            opened = &mut opening => panic!("{opened:?}"),
            () = tokio::time::sleep(Duration::from_millis(2)) => {}
        }
    }
    cancel.cancel();
    let opened = opening.await;
    assert!(matches!(opened, Err(EngineError::Cancelled)), "{opened:?}");
    assert_eq!(held.join().unwrap(), b"");
}

#[tokio::test]
async fn a_socket_that_is_not_there_is_told_without_a_child() {
    let mut fake = Fake::new("touch $DIR/started");
    let address = format!("unix://{}", fake.path("none").to_string_lossy());
    fake.connect.address = Some(address.clone());
    let error = fake.open().await.unwrap_err();
    assert!(
        error.starts_with(&format!(
            "cannot connect to a Dagger engine at {address}: No such file"
        )),
        "{error}"
    );
    assert!(!fake.path("started").exists());
}

#[tokio::test]
async fn a_port_that_refuses_is_told_without_a_child() {
    let mut fake = Fake::new("touch $DIR/started");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", nobody.local_addr().unwrap());
    drop(nobody);
    fake.connect.address = Some(address.clone());
    let error = fake.open().await.unwrap_err();
    let expected = format!("cannot connect to a Dagger engine at {address}: Connection refused");
    assert!(error.starts_with(&expected), "{error}");
    assert!(!fake.path("started").exists());
}

#[tokio::test]
async fn a_frozen_engine_is_lost_at_the_limit_of_the_check() {
    let asked = std::sync::atomic::AtomicBool::new(false);
    let server =
        Server::start(
            move |_| match asked.swap(true, std::sync::atomic::Ordering::Relaxed) {
                false => Reply::version("v0.21.8"),
                true => Reply::Never,
            },
        );
    let session = server.await.session().await.unwrap();
    let running = stdout(&session);
    let short = Duration::from_millis(50);
    let limited = super::super::too_long(&session, short, 1, short).await;
    assert!(
        matches!(limited, Failure::Exec { exit_code: 124, .. }),
        "{limited}"
    );
    let failure = running.await.unwrap_err();
    assert!(matches!(failure, Failure::Lost(_)), "{failure}");
}

#[tokio::test]
async fn what_is_printed_around_the_port_does_no_harm() {
    let server = Server::start(|_| Reply::version("v0.21.8")).await;
    let script = format!(
        "echo garbage; echo '{{\"port\":1}}'; head -c 200000 /dev/zero; echo; {}; head -c 200000 /dev/zero; cat",
        server.line()
    );
    let session = Fake::new(&script).open().await.unwrap();
    assert_eq!(session.engine_version(), "v0.21.8");
    session.close().await;
}

#[tokio::test]
async fn an_engine_of_another_version_is_refused() {
    for version in ["v0.19.0", "v0.21.3", "v1.0.0-beta.23"] {
        let server = Server::start(move |_| Reply::version(version)).await;
        let error = server.session().await.unwrap_err();
        let expected = format!(
            "the Dagger engine is version {version}, which is not supported\n\
             help: install Dagger 0.21.4 or a later 0.21"
        );
        assert_eq!(error, expected);
    }
}

#[test]
fn the_child_gets_the_users_variables_and_reaches_itself_without_a_proxy() {
    let of = |env: &[(&str, &str)], name: &str| {
        let mut connect = Fake::new("").connect;
        connect.env = Env::from_pairs(env);
        let all = connect.environment();
        let found = all.into_iter().rev().find(|(n, _)| n == name);
        found.map(|(_, value)| value.into_string().unwrap())
    };
    let here = Some("127.0.0.1,localhost".to_owned());
    assert_eq!(of(&[], "NO_PROXY"), here);
    assert_eq!(of(&[], "no_proxy"), here);
    let both = Some("a.b,127.0.0.1,localhost".to_owned());
    assert_eq!(of(&[("no_proxy", "a.b")], "NO_PROXY"), both);
    assert_eq!(
        of(&[("NO_PROXY", "a.b"), ("no_proxy", "")], "no_proxy"),
        both
    );
    assert_eq!(of(&[("TOKEN", "t")], "TOKEN").as_deref(), Some("t"));
    assert_eq!(of(&[], "DO_NOT_TRACK").as_deref(), Some("1"));
    assert_eq!(of(&[], "OTEL_TRACES_EXPORTER"), None);
    let host = env::DAGGER_RUNNER_HOST;
    assert_eq!(of(&[(host, "")], host).as_deref(), Some("fake://engine"));
    assert_eq!(of(&[(host, "tcp://u")], host).as_deref(), Some("tcp://u"));
}

#[test]
fn progress_is_not_shown_and_other_lines_only_if_none_names_an_error() {
    let progress = "1   : connect\n2   : ┆ starting engine\n2   : ┆ starting engine DONE [0.0s]\n";
    assert_eq!(telling(progress), "");
    assert_eq!(telling(&format!("{progress}it is odd\n")), "\nit is odd");
    assert_eq!(telling("it is odd\nError: no\n"), "\nno");
    assert_eq!(telling(""), "");
}

#[tokio::test]
async fn a_failed_command_comes_through_whole() {
    let body = r#"{"data":null,"errors":[{"message":"exit code: 137 [traceparent:0-1]",
        "extensions":{"_type":"EXEC_ERROR","cmd":["x"],"exitCode":137,"stdout":"o","stderr":"e"}}]}"#;
    let server = Server::start(move |query| match query {
        "query{version}" => Reply::version("v0.21.8"),
        _ => Reply::Body(200, body.to_owned()),
    });
    let session = server.await.session().await.unwrap();
    let expected = Failure::Exec {
        cmd: vec!["x".to_owned()],
        exit_code: 137,
        stdout: "o".to_owned(),
        stderr: "e".to_owned(),
    };
    assert_eq!(stdout(&session).await, Err(expected));
}

#[tokio::test]
async fn a_connection_that_breaks_is_a_lost_engine_only_if_that_is_silent_from_then_on() {
    let server = Server::start(|query| match query {
        "query{version}" => Reply::version("v0.21.8"),
        _ => Reply::Close,
    });
    let server = server.await;
    let session = server.session().await.unwrap();
    let failure = stdout(&session).await.unwrap_err();
    assert!(matches!(failure, Failure::Infra(_)), "{failure}");
    server.task.abort();
    session.close().await;
    let failure = stdout(&session).await.unwrap_err();
    assert!(matches!(failure, Failure::Lost(_)), "{failure}");
}

#[tokio::test]
async fn too_many_open_files_are_waited_for() {
    let asked = Arc::new(Mutex::new(0));
    let server = Server::start(move |query| {
        if query == "query{version}" {
            return Reply::version("v0.21.8");
        }
        let mut asked = asked.lock().unwrap();
        *asked += 1;
        Reply::Body(
            200,
            match *asked {
                3 => r#"{"data":{"container":{"stdout":"third"}}}"#.to_owned(),
                _ => r#"{"errors":[{"message":"pipe2: too many open files"}]}"#.to_owned(),
            },
        )
    });
    let session = server.await.session().await.unwrap();
    assert_eq!(stdout(&session).await.as_deref(), Ok("third"));
}

#[tokio::test]
async fn what_is_dropped_or_cancelled_is_asked_for_no_longer() {
    let server = Server::start(|query| match query {
        "query{version}" => Reply::version("v0.21.8"),
        _ => Reply::Never,
    });
    let mut server = server.await;
    let cancel = CancellationToken::new();
    let fake = server.fake();
    let session = Session::open(&fake.connect, &cancel).await.unwrap();
    {
        let asking = stdout(&session);
        tokio::pin!(asking);
        tokio::select! {
            answer = &mut asking => panic!("{answer:?}"),
            happened = server.happened.recv() => assert_eq!(happened, Some(Happened::Asked)),
        }
    }
    assert_eq!(server.happened.recv().await, Some(Happened::Left));
    let (answer, ()) = tokio::join!(stdout(&session), async {
        assert_eq!(server.happened.recv().await, Some(Happened::Asked));
        cancel.cancel();
    });
    assert_eq!(answer, Err(Failure::Cancelled));
    assert_eq!(server.happened.recv().await, Some(Happened::Left));
}

#[tokio::test]
async fn a_child_that_is_killed_is_a_lost_engine_at_once() {
    let server = Server::start(|query| match query {
        "query{version}" => Reply::version("v0.21.8"),
        _ => Reply::Never,
    });
    let mut server = server.await;
    let session = server.session().await.unwrap();
    let (answer, ()) = tokio::join!(stdout(&session), async {
        assert_eq!(server.happened.recv().await, Some(Happened::Asked));
        kill(&session);
    });
    assert!(matches!(answer, Err(Failure::Lost(_))), "{answer:?}");
}

#[tokio::test]
async fn a_panic_is_a_failure() {
    let server = Server::start(|_| Reply::version("v0.21.8")).await;
    let session = server.session().await.unwrap();
    let ran = session.run("deps", || async { panic!("no id") });
    let failure: Result<(), Failure> = ran.await;
    assert_eq!(failure, Err(Failure::Panic("deps: no id".to_owned())));
}

#[test]
fn a_panic_is_not_printed() {
    let output = test_alone("a_panic_is_a_failure", "NO_VARIABLE", "");
    assert!(!output.contains("panicked"), "{output}");
}

#[test]
fn no_proxy_is_asked() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    test_alone("a_failed_command_comes_through_whole", "HTTP_PROXY", &proxy);
}

/// Runs one of these tests in a process of its own, with a variable, and returns all it says.
fn test_alone(name: &str, variable: &str, value: &str) -> String {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command
        .arg(format!("engine::dagger::session::tests::{name}"))
        .args(["--exact", "--nocapture"])
        .env(variable, value);
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
    text
}

fn kill(session: &Session) {
    let child = session.child.lock().unwrap();
    let id = i32::try_from(child.as_ref().unwrap().id()).unwrap();
    let id = rustix::process::Pid::from_raw(id).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
}

async fn stdout(session: &Session) -> Result<String, Failure> {
    let query = session.query();
    let pipeline = move || {
        let container = query.container();
        async move { Ok(container.stdout().await?) }
    };
    session.run("stdout", pipeline).await
}

enum Reply {
    Body(u16, String),
    Close,
    Never,
}

impl Reply {
    fn version(version: &str) -> Self {
        Self::Body(200, format!(r#"{{"data":{{"version":"{version}"}}}}"#))
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Happened {
    /// Something that is never answered.
    Asked,
    /// Who asked it has closed the connection.
    Left,
}

/// Answers requests as told.
struct Server {
    port: u16,
    task: JoinHandle<()>,
    happened: mpsc::UnboundedReceiver<Happened>,
}

impl Server {
    async fn start(reply: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tell, happened) = mpsc::unbounded_channel();
        let reply = Arc::new(reply);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (reply, tell) = (reply.clone(), tell.clone());
                connections.spawn(async move { serve(stream, &*reply, &tell).await });
            }
        });
        Self {
            port,
            task,
            happened,
        }
    }

    /// The shell command that tells where it listens.
    fn line(&self) -> String {
        format!("echo '{{\"port\":{},\"session_token\":\"t\"}}'", self.port)
    }

    fn fake(&self) -> Fake {
        Fake::new(&format!("{}; exec cat", self.line()))
    }

    async fn session(&self) -> Result<Session, String> {
        self.fake().open().await
    }
}

async fn serve(
    mut stream: TcpStream,
    reply: &(dyn Fn(&str) -> Reply + Send + Sync),
    tell: &mpsc::UnboundedSender<Happened>,
) {
    let mut bytes = Vec::new();
    loop {
        let Some(query) = request(&mut stream, &mut bytes).await else {
            return;
        };
        match reply(&query) {
            Reply::Body(status, body) => {
                let head = format!(
                    "HTTP/1.1 {status} x\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                stream.write_all((head + &body).as_bytes()).await.unwrap();
            }
            Reply::Close => return,
            Reply::Never => {
                tell.send(Happened::Asked).unwrap();
                while stream
                    .read(&mut [0; 100])
                    .await
                    .is_ok_and(|length| length > 0)
                {}
                let _ = tell.send(Happened::Left);
                return;
            }
        }
    }
}

/// The query of the next request.
async fn request(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<String> {
    loop {
        let text = String::from_utf8_lossy(bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let lower = head.to_lowercase();
            let length = lower.split_once("content-length: ").unwrap().1;
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            if body.len() >= length {
                assert!(lower.starts_with("post /query "), "{head}");
                // "t:", the token as user without a password
                assert!(
                    head.to_lowercase()
                        .contains("authorization: basic dDo=".to_lowercase().as_str()),
                    "{head}"
                );
                bytes.clear();
                let body: serde_json::Value = serde_json::from_str(body).unwrap();
                return Some(body["query"].as_str().unwrap().to_owned());
            }
        }
        if stream.read_buf(bytes).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}

/// The address of a running engine, if the tests are given one.
fn engine() -> Option<Connect> {
    let env = Env::from_process();
    let address = env.var("DAGCACHE_TEST_DAGGER")?.to_owned();
    let path = crate::tool::first_on_path(&env, "dagger")?;
    Some(Connect {
        program: Program::of(path, "dagger v0.21.8 (x) y").unwrap(),
        address: Some(address),
        env,
        timeout: Some(LONG),
    })
}

macro_rules! engine {
    () => {
        match engine() {
            Some(engine) => engine,
            None => {
                return crate::testing::skip("no Dagger engine: DAGCACHE_TEST_DAGGER is not set")
            }
        }
    };
}

#[tokio::test]
async fn a_real_engine_answers() {
    let session = Session::open(&engine!(), &CancellationToken::new())
        .await
        .unwrap();
    assert!(!session.engine_version().is_empty());
    session.close().await;
    let query = session.query();
    let after = session.run("version", || version(query.clone())).await;
    assert!(matches!(after, Err(Failure::Lost(_))), "{after:?}");
}

/// A command in a container of its own: never remembered, with a place that it shares with others of this test.
fn command(
    query: &Query,
    test: u32,
    script: &str,
) -> impl Future<Output = Result<String, Failure>> + Send + use<> {
    let image = "docker.io/library/debian:bookworm-slim";
    let query = query.clone();
    let script = script.to_owned();
    async move {
        let volume = query
            .cache_volume(format!("dagcache-test-{test}"))
            .id()
            .await?;
        let container = query
            .container()
            .from(image)
            .with_env_variable("TEST", test.to_string())
            .with_mounted_cache("/shared", volume)
            .with_exec(vec!["sh", "-c", &script]);
        Ok(container.stdout().await?)
    }
}

/// A number no other test has.
fn unique() -> u32 {
    let nanos = std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos();
    std::process::id() ^ nanos
}

#[tokio::test]
async fn a_real_command_that_is_dropped_ends_in_the_engine() {
    let session = Session::open(&engine!(), &CancellationToken::new())
        .await
        .unwrap();
    let (query, test) = (session.query(), unique());
    let run = |script: &'static str| {
        let query = query.clone();
        session.run(script, move || command(&query, test, script))
    };
    {
        let holding = run("exec 9>/shared/lock; flock 9; touch /shared/up; sleep 1000");
        tokio::pin!(holding);
        tokio::select! {
            ended = &mut holding => panic!("{ended:?}"),
            up = run("while ! [ -e /shared/up ]; do sleep 0.02; done; echo up") => assert_eq!(up.as_deref(), Ok("up\n")),
        }
    }
    let ended = run("flock /shared/lock echo ended").await;
    assert_eq!(ended.as_deref(), Ok("ended\n"));
    let failed = run("echo out; echo err >&2; exit 9").await.unwrap_err();
    assert!(
        matches!(&failed, Failure::Exec { exit_code: 9, stdout, stderr, .. } if stdout == "out" && stderr == "err"),
        "{failed:?}"
    );
    session.close().await;
}

#[tokio::test]
async fn a_real_child_that_is_killed_is_a_lost_engine_at_once() {
    let session = Session::open(&engine!(), &CancellationToken::new())
        .await
        .unwrap();
    let (query, test) = (session.query(), unique());
    let other = Session::open(&engine!(), &CancellationToken::new())
        .await
        .unwrap();
    let watching = other.query();
    let holding = session.run("hold", || {
        command(&query, test, "touch /shared/up; sleep 1000")
    });
    let (held, up) = tokio::join!(holding, async {
        let wait = "while ! [ -e /shared/up ]; do sleep 0.02; done; echo up";
        let up = other.run("wait", || command(&watching, test, wait)).await;
        kill(&session);
        up
    });
    assert_eq!(up.as_deref(), Ok("up\n"));
    assert!(matches!(held, Err(Failure::Lost(_))), "{held:?}");
    other.close().await;
}

#[tokio::test]
async fn a_real_image_that_is_not_there_is_named() {
    let session = Session::open(&engine!(), &CancellationToken::new())
        .await
        .unwrap();
    for (image, why) in [
        ("127.0.0.1:9/no/such:1", "cannot reach its registry"),
        ("no.such.host.invalid/a:1", "cannot reach its registry"),
    ] {
        let query = session.query();
        let pull = session.run("pull", move || {
            let container = query.container().from(image);
            async move { Ok(container.image_ref().await?) }
        });
        let failure = pull.await.unwrap_err();
        let text = failure.to_string();
        assert!(matches!(failure, Failure::Image(_)), "{failure:?}");
        assert!(text.contains(image) && text.contains(why), "{text}");
    }
    session.close().await;
}
