//! The engine in containers, on a real Dagger engine: one file per subject. Here: where such an engine comes from.
//!
//! - `DAGCACHE_TEST_DAGGER`: the address of a running one that can pull the images of [`IMAGES`]. Or
//! - `DAGCACHE_TEST_IMAGES`: a folder of docker-registry with them. Then an engine is started once for all tests, if
//!   `dagger-engine` and what it needs are on PATH and this is root. It ends with the test binary.

mod checks;
mod rust;
mod upkeep;

use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::support::{Json, Run, Sandbox, skip};

/// What tests may build on.
pub(crate) const IMAGES: [&str; 3] = [
    "docker.io/library/debian:bookworm-slim",
    "docker.io/library/python:3.11-slim",
    "docker.io/library/rust:1.95-slim",
];

/// A running engine.
#[derive(Debug)]
pub(crate) struct Engine {
    /// Its address, as Dagger reads it.
    pub(crate) address: String,
    /// It ends when the standard input of this does.
    _process: Option<Child>,
}

/// The engine of all tests. If there is none, says visibly that the test is skipped.
pub(crate) fn engine() -> Option<&'static Engine> {
    static ENGINE: OnceLock<Result<Engine, String>> = OnceLock::new();
    match ENGINE.get_or_init(Engine::find) {
        Ok(engine) => Some(engine),
        Err(why) => {
            skip(&format!("no Dagger engine: {why}"));
            None
        }
    }
}

impl Engine {
    fn find() -> Result<Self, String> {
        if !is_on_path("dagger") {
            return Err("dagger is not on PATH".to_owned());
        }
        if let Ok(address) = std::env::var("DAGCACHE_TEST_DAGGER") {
            return Ok(Self::at(&address));
        }
        let images = std::env::var_os("DAGCACHE_TEST_IMAGES");
        let images =
            images.ok_or("neither DAGCACHE_TEST_DAGGER nor DAGCACHE_TEST_IMAGES is set")?;
        if !rustix::process::geteuid().is_root() {
            return Err("starting one takes root".to_owned());
        }
        let needed = [
            "dagger-engine",
            "dnsmasq",
            "docker-registry",
            "ip",
            "unshare",
        ];
        if let Some(program) = needed.into_iter().find(|program| !is_on_path(program)) {
            return Err(format!("{program} is not on PATH"));
        }
        Self::start(images.into())
    }

    /// Starts one in namespaces of its own; its files go with it.
    fn start(images: PathBuf) -> Result<Self, String> {
        const PATIENCE: Duration = Duration::from_secs(60);
        let root = tempfile::Builder::new()
            .prefix("dagcache-engine-")
            .tempdir();
        let root = root.map_err(|error| error.to_string())?.keep();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/dagger/engine.sh");
        let mut process = Command::new("sh")
            .arg(script)
            .args([&root, &images])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let socket = root.join("socket");
        let end = Instant::now() + PATIENCE;
        while UnixStream::connect(&socket).is_err() {
            let ended = process.try_wait().map_err(|error| error.to_string())?;
            if ended.is_some() || Instant::now() > end {
                drop(process.stdin.take());
                let said = process.stderr.take().map(BufReader::new);
                let lines = said
                    .into_iter()
                    .flat_map(|said| said.lines().map_while(Result::ok));
                return Err(lines
                    .last()
                    .unwrap_or_else(|| "it does not start".to_owned()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Self {
            address: format!("unix://{}", socket.display()),
            _process: Some(process),
        })
    }

    /// One at this address.
    pub(crate) fn at(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            _process: None,
        }
    }

    /// The binary in a sandbox, with this engine's address.
    #[allow(dead_code, reason = "the files beside this one use it")]
    pub(crate) fn command(&self, sandbox: &Sandbox, args: &[&str]) -> Command {
        let mut command = sandbox.command(args);
        command.env("_EXPERIMENTAL_DAGGER_RUNNER_HOST", &self.address);
        command
    }

    /// Runs the binary on this engine.
    #[allow(dead_code, reason = "the files beside this one use it")]
    pub(crate) fn run(&self, sandbox: &Sandbox, args: &[&str]) -> Run {
        Run::of(self.command(sandbox, args))
    }

    /// Runs a command on this engine with `--message-format json`.
    #[allow(dead_code, reason = "the files beside this one use it")]
    pub(crate) fn json(&self, sandbox: &Sandbox, args: &[&str]) -> Json {
        let args = [args, &["--message-format", "json"]].concat();
        Json::of(self.run(sandbox, &args))
    }
}

fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

#[test]
fn the_engine_of_the_tests_runs_a_container() {
    let Some(engine) = engine() else { return };
    let query = format!(
        r#"{{container{{from(address:"{}"){{withExec(args:["echo","hello"]){{stdout}}}}}}}}"#,
        IMAGES[0]
    );
    let sandbox = Sandbox::plain();
    let file = sandbox.path("query");
    std::fs::write(&file, query).expect("query");
    let output = Command::new("dagger")
        .args(["--silent", "query", "--doc"])
        .arg(&file)
        .current_dir(sandbox.outer())
        .env("HOME", sandbox.home())
        .env("_EXPERIMENTAL_DAGGER_RUNNER_HOST", &engine.address)
        .env("DAGGER_NO_UPDATE_CHECK", "1")
        .env("DO_NOT_TRACK", "1")
        .output()
        .expect("dagger");
    let said = Run::from(output).expect(0).stdout;
    assert!(said.contains("hello"), "{said}");
}
