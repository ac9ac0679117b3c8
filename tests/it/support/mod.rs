//! The means of the tests: a sandbox with a project, a home and a cache of its own, and the real binary.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A project in a temporary folder, with its own home and cache.
pub(crate) struct Sandbox {
    dir: tempfile::TempDir,
}

/// How one invocation ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Sandbox {
    /// An empty folder as project, without git.
    pub(crate) fn plain() -> Self {
        let sandbox = Self {
            dir: tempfile::tempdir().expect("temporary folder"),
        };
        for folder in ["project", "home", "cache"] {
            std::fs::create_dir(sandbox.dir.path().join(folder)).expect("folder");
        }
        sandbox
    }

    /// An empty git repository as project.
    pub(crate) fn git_repository() -> Self {
        let sandbox = Self::plain();
        sandbox.git(&["init", "--quiet", "--initial-branch=main"]);
        sandbox
    }

    /// A git repository with these files committed.
    pub(crate) fn with(files: &[(&str, &str)]) -> Self {
        let sandbox = Self::git_repository();
        for (path, text) in files {
            sandbox.write(path, text);
        }
        sandbox.commit("files");
        sandbox
    }

    pub(crate) fn project(&self) -> PathBuf {
        self.dir.path().join("project")
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    /// The temporary folder that holds project, home and cache.
    pub(crate) fn outer(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.project().join(path)
    }

    /// Writes a file of the project; folders are made.
    pub(crate) fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().expect("folder")).expect("folders");
        std::fs::write(path, text).expect("write");
    }

    pub(crate) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).expect(path)
    }

    pub(crate) fn remove(&self, path: &str) {
        std::fs::remove_file(self.path(path)).expect(path);
    }

    /// Makes a program of this text on a folder of the sandbox that [`Sandbox::run`] puts first on PATH.
    pub(crate) fn program(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = self.dir.path().join("bin");
        std::fs::create_dir_all(&dir).expect("folder");
        // Rename, so that a running copy is not written to.
        let temporary = dir.join(format!(".{name}"));
        std::fs::write(&temporary, text).expect("program");
        std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(0o755)).expect("mode");
        std::fs::rename(temporary, dir.join(name)).expect("program");
    }

    /// Makes a real program (no script) on the folder that [`Sandbox::run`] puts first on PATH: a shell, whose identity
    /// `mark` makes different from that of others.
    pub(crate) fn tool(&self, name: &str, mark: &str) {
        self.tool_in("bin", name, mark);
    }

    /// As [`Sandbox::tool`], in another folder next to the project.
    pub(crate) fn tool_in(&self, folder: &str, name: &str, mark: &str) -> PathBuf {
        let dir = self.dir.path().join(folder);
        std::fs::create_dir_all(&dir).expect("folder");
        let temporary = dir.join(format!(".{name}"));
        // What follows the last section of a program is not read.
        std::fs::copy("/bin/sh", &temporary).expect("a shell");
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .open(&temporary)
            .expect("program");
        file.write_all(mark.as_bytes()).expect("program");
        drop(file);
        std::fs::rename(temporary, dir.join(name)).expect("program");
        dir
    }

    /// Writes an executable shell script of the project; the first line is added.
    pub(crate) fn script(&self, path: &str, text: &str) {
        self.write(path, format!("#!/bin/sh\n{text}\n"));
        self.mode(path, 0o755);
    }

    /// Sets the permission bits of a file of the project.
    pub(crate) fn mode(&self, path: &str, mode: u32) {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(self.path(path), mode).expect("mode");
    }

    /// Plain files below the cache folder whose path, relative to it, has this beginning and this end. Links are left
    /// out: those of a room lead to the programs of this machine, and who writes to one writes to the program.
    pub(crate) fn cached(&self, beginning: &str, end: &str) -> Vec<PathBuf> {
        self.below_cache(beginning, end, std::fs::FileType::is_file)
    }

    fn below_cache(
        &self,
        beginning: &str,
        end: &str,
        kind: impl Fn(&std::fs::FileType) -> bool,
    ) -> Vec<PathBuf> {
        let cache = self.cache();
        let all = walkdir::WalkDir::new(&cache).into_iter();
        let mut found: Vec<PathBuf> = all
            .filter_map(Result::ok)
            .filter(|file| kind(&file.file_type()))
            .map(walkdir::DirEntry::into_path)
            .filter(|path| {
                let below = path.strip_prefix(&cache).unwrap_or(path);
                let below = below.to_string_lossy();
                below.starts_with(beginning) && below.ends_with(end)
            })
            .collect();
        found.sort();
        found
    }

    /// Replaces text in the one stored result, as if it had been stored so.
    #[track_caller]
    pub(crate) fn forge(&self, from: &str, to: &str) {
        let entries = self.cached("v1/ac", "");
        let [path] = entries.as_slice() else {
            panic!("{entries:?}");
        };
        let text = std::fs::read_to_string(path).expect("entry");
        let (header, body) = text.split_once('\n').expect("a header");
        assert!(body.contains(from), "{body}");
        let body = body.replace(from, to);
        let kind = header.rsplit_once(' ').expect("a digest").0;
        let sum = dagcache::for_tests::Digest::of(body.as_bytes());
        std::fs::write(path, format!("{kind} {sum}\n{body}")).expect("entry");
    }

    /// Waits until a check stands at `mkfifo gate; read line < gate`, and returns the gate: who writes to it lets the
    /// check go on. The gate lies in the check's own room, where even a confined check may write.
    pub(crate) fn gate(&self) -> PathBuf {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(gate) = self.gate_now() {
                return gate;
            }
            assert!(Instant::now() < end, "no check came to its gate");
            std::thread::sleep(MOMENT);
        }
    }

    /// The gate of [`Sandbox::gate`], if a check stands at one now.
    pub(crate) fn gate_now(&self) -> Option<PathBuf> {
        let fifo = std::os::unix::fs::FileTypeExt::is_fifo;
        let gates = self.below_cache("v1/rooms", "/gate", fifo);
        gates.into_iter().next()
    }

    /// Starts the binary and leaves it running.
    pub(crate) fn start(&self, args: &[&str]) -> std::process::Child {
        let mut command = self.command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the binary starts")
    }

    pub(crate) fn git(&self, args: &[&str]) -> String {
        let output = Command::new("git")
            .args([
                "-c",
                "user.name=t",
                "-c",
                "user.email=t@example.invalid",
                "-c",
                "commit.gpgsign=false",
            ])
            .args(args)
            .current_dir(self.project())
            .env("HOME", self.home())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .output()
            .expect("git");
        assert!(
            output.status.success(),
            "git {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// If this is root: everything in the sandbox becomes nobody's.
    pub(crate) fn give_to_nobody(&self) {
        use std::os::unix::fs::chown;
        if !rustix::process::geteuid().is_root() {
            return;
        }
        for file in walkdir::WalkDir::new(self.outer()) {
            let path = file.expect("sandbox").into_path();
            if !path.is_symlink() {
                chown(path, Some(NOBODY), Some(NOBODY)).expect("owner");
            }
        }
    }

    /// Runs the binary as a user without rights, who [gets][Sandbox::give_to_nobody] the sandbox. As the user of the
    /// tests, if that is not root.
    pub(crate) fn run_as_nobody(&self, args: &[&str]) -> Run {
        use std::os::unix::process::CommandExt as _;
        let given = self.command(args);
        if !rustix::process::geteuid().is_root() {
            return Run::of(given);
        }
        // Its folder may be closed to others.
        let copy = self.outer().join("cargo-dagcache");
        if !copy.exists() {
            copy_binary(&copy);
        }
        self.give_to_nobody();
        let mut command = Command::new(&copy);
        let variables = given.get_envs();
        let variables = variables.filter_map(|(name, value)| Some((name, value?)));
        command
            .args(args)
            .current_dir(self.project())
            .env_clear()
            .envs(variables)
            .stdin(Stdio::null())
            .uid(NOBODY)
            .gid(NOBODY);
        Run::of(command)
    }

    /// Commits everything.
    pub(crate) fn commit(&self, message: &str) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
    }

    /// The binary with the sandbox's home and cache, in the project.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        let bin = self.dir.path().join("bin");
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .args(args)
            .current_dir(self.project())
            .env_clear()
            .env("PATH", format!("{}:{path}", bin.display()))
            .env("HOME", self.home())
            .env("DAGCACHE_DIR", self.cache())
            .env("DAGCACHE_TRUST", "1")
            .envs(passed_through())
            .stdin(Stdio::null());
        command
    }

    /// Runs the binary.
    pub(crate) fn run(&self, args: &[&str]) -> Run {
        Run::of(self.command(args))
    }

    /// Runs a command with `--message-format json`.
    pub(crate) fn json(&self, args: &[&str]) -> Json {
        let mut all = args.to_vec();
        all.extend(["--message-format", "json"]);
        let run = self.run(&all);
        Json::of(run)
    }
}

impl Run {
    /// Runs a command to its end.
    pub(crate) fn of(mut command: Command) -> Self {
        Self::from(command.output().expect("the binary starts"))
    }

    /// How a started process ended.
    pub(crate) fn end_of(child: std::process::Child) -> Self {
        let output = child.wait_with_output().expect("the binary ends");
        Self::from(output)
    }

    /// Asserts the exit code, showing what was said.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "stdout:\n{}\nstderr:\n{}",
            self.stdout,
            self.stderr
        );
        self
    }
}

impl From<std::process::Output> for Run {
    fn from(output: std::process::Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Lets a check go on that stands at a gate (see [`Sandbox::gate`]), and takes the gate away.
pub(crate) fn open_gate(gate: &Path) {
    use std::os::unix::fs::OpenOptionsExt as _;
    let nonblock = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).expect("flags");
    let end = Instant::now() + PATIENCE;
    // As long as nobody reads, opening fails.
    let mut file = loop {
        let mut options = std::fs::OpenOptions::new();
        match options.write(true).custom_flags(nonblock).open(gate) {
            Ok(file) => break file,
            Err(error) => assert!(Instant::now() < end, "nobody at the gate: {error}"),
        }
        std::thread::sleep(MOMENT);
    };
    std::fs::remove_file(gate).expect("the gate");
    file.write_all(b"go\n").expect("the gate");
}

/// How long to wait for what has to come.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks.
const MOMENT: Duration = Duration::from_millis(2);

/// The JSON lines of one run.
#[derive(Debug)]
pub(crate) struct Json {
    pub(crate) run: Run,
    pub(crate) lines: Vec<Value>,
}

impl Json {
    /// Reads what a run with `--message-format json` printed.
    pub(crate) fn of(run: Run) -> Self {
        let lines = run
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).expect(line))
            .collect();
        Self { run, lines }
    }

    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        let stderr = &self.run.stderr;
        assert_eq!(
            self.run.code,
            Some(code),
            "stdout:\n{}\nstderr:\n{stderr}",
            self.run.stdout
        );
        self
    }

    /// The check-finished lines.
    pub(crate) fn checks(&self) -> Vec<&Value> {
        self.lines
            .iter()
            .filter(|line| line["reason"] == "check-finished")
            .collect()
    }

    /// The check-finished line of an id.
    #[track_caller]
    pub(crate) fn check(&self, id: &str) -> &Value {
        let found = self.checks().into_iter().find(|line| line["id"] == id);
        found.unwrap_or_else(|| panic!("no check {id} in {}\n{}", self.run.stdout, self.run.stderr))
    }

    /// The first line.
    pub(crate) fn started(&self) -> &Value {
        &self.lines[0]
    }

    /// Ids of what was run, with the reasons: `yaml:syntax input-changed a.yaml`.
    pub(crate) fn ran(&self) -> Vec<String> {
        let mut ran: Vec<String> = self
            .checks()
            .into_iter()
            .filter(|line| line["cache"] == "miss")
            .map(|line| {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let words = [
                    text(&line["id"]),
                    text(&line["miss"]["kind"]),
                    text(&line["miss"]["path"]),
                ];
                words.join(" ").trim_end().to_owned()
            })
            .collect();
        ran.sort();
        ran
    }

    /// Asserts that every check was Fresh.
    #[track_caller]
    pub(crate) fn expect_fresh(&self) {
        let finished = self.finished();
        assert_eq!(self.ran(), [""; 0], "{}", self.run.stderr);
        assert_eq!(finished["misses"], 0, "{}", self.run.stdout);
        assert!(finished["hits"].as_u64() > Some(0), "nothing was checked");
    }

    /// The run-finished line, which is always the last.
    #[track_caller]
    pub(crate) fn finished(&self) -> &Value {
        let last = self.lines.last().expect("lines");
        assert_eq!(last["reason"], "run-finished");
        last
    }
}

/// The user without rights.
pub(crate) const NOBODY: u32 = 65534;

/// The binary under test; `DAGCACHE_TEST_BIN` names a copy that another user may run.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("DAGCACHE_TEST_BIN").map_or_else(
        || env!("CARGO_BIN_EXE_cargo-dagcache").into(),
        PathBuf::from,
    )
}

/// Copies the binary, by another process: a child of another test could hold what this one writes open, and nobody
/// can start a program that is being written.
pub(crate) fn copy_binary(to: &Path) {
    let copied = Command::new("cp").arg(binary()).arg(to).status();
    assert!(copied.expect("cp").success(), "{}", to.display());
}

/// Fixtures; `DAGCACHE_TEST_FIXTURES` names a copy that another user may read.
pub(crate) fn fixtures() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    std::env::var_os("DAGCACHE_TEST_FIXTURES").map_or(here, PathBuf::from)
}

/// Copies a fixture folder into the project.
pub(crate) fn copy_fixture(name: &str, to: &Path) {
    let from = fixtures().join(name);
    for file in walkdir::WalkDir::new(&from)
        .into_iter()
        .map(|file| file.expect("fixture"))
    {
        let target = to.join(file.path().strip_prefix(&from).expect("below"));
        if file.file_type().is_dir() {
            std::fs::create_dir_all(target).expect("folder");
        } else {
            std::fs::copy(file.path(), target).expect("copy");
        }
    }
}

/// Toolchains and package configuration of the machine: what layer steps and rustup need from the real home.
fn passed_through() -> Vec<(String, String)> {
    let real = std::env::var("HOME").unwrap_or_default();
    let home_of = |name: &str, folder: &str| {
        let value = std::env::var(name).unwrap_or_else(|_| format!("{real}/{folder}"));
        (name.to_owned(), value)
    };
    let mut all = vec![
        home_of("CARGO_HOME", ".cargo"),
        home_of("RUSTUP_HOME", ".rustup"),
    ];
    all.extend(std::env::vars().filter(|(name, _)| {
        name.starts_with("PIP_")
            || name.starts_with("SSL_CERT")
            || ["REQUESTS_CA_BUNDLE", "DAGCACHE_WITHOUT"].contains(&name.as_str())
    }));
    all
}

/// Whether a program is on PATH; if not, says visibly that the test is skipped.
pub(crate) fn have(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
    if !found {
        skip(&format!("{program} is not on PATH"));
    }
    found
}

/// Whether rules can be turned off in the program under test (see `dagcache::rule`).
pub(crate) fn has_switches() -> bool {
    cfg!(debug_assertions)
}

/// Says visibly, past the test runner's capture, that a test is skipped and why.
pub(crate) fn skip(why: &str) {
    let test = std::thread::current().name().unwrap_or("test").to_owned();
    let _ = writeln!(std::io::stderr(), "skipped: {test}: {why}");
}
