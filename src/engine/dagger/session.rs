//! One connection to an engine through a child `dagger session`, and the pipelines run over it.
//!
//! The child has its own process group and ends with this value. It reads secrets from its environment. If a session does not open in time, or its child exits, it is lost; nothing waits for
//! it.

use std::ffi::{OsStr, OsString};
use std::future::Future;
use std::panic::PanicHookInfo;
use std::path::Path;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use dagger_sdk::{Query, Selection};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio::process::{ChildStderr, ChildStdout};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::client::Http;
use super::failure::{Failure, without_trace};
use super::program::{Program, QUIET, check_engine, patience_of};
use crate::engine::EngineError;
use crate::env::{self, Env};
use crate::process::Companion;
use crate::visible::Shown as _;

/// How to connect.
#[derive(Debug, Clone)]
pub(crate) struct Connect {
    /// The `dagger` command.
    pub(crate) program: Program,
    /// The configured address of the engine; the user's environment wins. Without either, Dagger uses its default.
    pub(crate) address: Option<String>,
    pub(crate) env: Env,
    /// Time limit for opening; by default, it depends on the address.
    pub(crate) timeout: Option<Duration>,
}

impl Connect {
    /// The address in use, if one was given.
    #[must_use]
    pub(crate) fn address(&self) -> Option<&str> {
        let of_user = self.env.var(env::DAGGER_RUNNER_HOST);
        of_user
            .filter(|address| !address.is_empty())
            .or(self.address.as_deref())
    }

    fn patience(&self) -> Duration {
        const NEAR: Duration = Duration::from_secs(30);
        const FAR: Duration = Duration::from_secs(60);
        /// An image of an engine may have to be pulled.
        const PULL: Duration = Duration::from_secs(300);
        let of_user = patience_of(&self.env);
        let scheme = self.address().and_then(|address| address.split_once("://"));
        of_user.or(self.timeout).unwrap_or(match scheme {
            Some(("unix", _)) => NEAR,
            Some(("tcp" | "tls" | "ssh" | "kube-pod", _)) => FAR,
            _ => PULL,
        })
    }

    fn environment(&self) -> Vec<(OsString, OsString)> {
        let is_set = |name: &str| self.env.var_os(name).is_some_and(|value| !value.is_empty());
        let mut all: Vec<_> = self
            .env
            .all()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let mut set = |name: &str, value: &OsStr| all.push((name.into(), value.into()));
        for (name, value) in QUIET {
            set(name, value.as_ref());
        }
        set("DAGGER_PROGRESS", "plain".as_ref());
        if let Some(address) = self.address() {
            set(env::DAGGER_RUNNER_HOST, address.as_ref());
        }
        // The child talks to itself over the loopback, which must bypass proxies.
        let names = ["NO_PROXY", "no_proxy"];
        let first = names.into_iter().find(|name| is_set(name));
        let excepted = first.and_then(|name| self.env.var(name));
        let here =
            excepted.map_or_else(String::new, |list| format!("{list},")) + "127.0.0.1,localhost";
        for name in names {
            set(name, here.as_ref());
        }
        all
    }
}

/// How long it may take to connect to an address.
const REACH: Duration = Duration::from_secs(5);

/// How often an engine is asked whether it is there while it works, and how long it may take to answer then.
const PULSE: Duration = Duration::from_secs(30);

/// How long an engine may take to answer when something went wrong.
pub(super) const ANSWER: Duration = Duration::from_secs(5);

/// An open session. Dropping it kills its child at once; [`Session::close`] shuts it down cleanly.
#[derive(Debug)]
pub(crate) struct Session {
    child: Mutex<Option<Companion>>,
    client: Arc<Http>,
    version: String,
    /// Cancelled when the child or the engine behind it is gone.
    gone: CancellationToken,
    cancel: CancellationToken,
}

impl Session {
    /// Starts the child and connects. Everything run over the session ends when `cancel` fires.
    ///
    /// # Errors
    /// [`EngineError::Lost`] if the engine cannot be reached in time or its version is not supported,
    /// [`EngineError::Cancelled`].
    pub(crate) async fn open(
        connect: &Connect,
        cancel: &CancellationToken,
    ) -> Result<Self, EngineError> {
        let said = Said::default();
        let patience = connect.patience();
        let where_ = connect.address().unwrap_or("its default address");
        let lost = |why: &str| {
            EngineError::Lost(format!(
                "cannot connect to a Dagger engine at {where_}: {why}{}",
                said.telling()
            ))
        };
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(EngineError::Cancelled),
            opened = Self::connect(connect, cancel, said.clone()) => opened.map_err(|no| match no {
                No::Why(why) => lost(&why),
                No::Error(error) => error,
            }),
            () = tokio::time::sleep(patience) => {
                Err(lost(&format!("no answer within {}", humantime::format_duration(patience))))
            }
        }
    }

    async fn connect(
        connect: &Connect,
        cancel: &CancellationToken,
        said: Said,
    ) -> Result<Self, No> {
        if let Some(address) = connect.address() {
            match tokio::time::timeout(REACH, reach(address)).await {
                Ok(reached) => reached.map_err(why)?,
                Err(_) => {
                    return Err(No::Why(format!(
                        "no connection within {}",
                        humantime::format_duration(REACH)
                    )));
                }
            }
        }
        let program = connect.program.path();
        let labels = ["session", "--label", "dagger.io/sdk.name:rust"];
        // In a directory without a project, because the child looks for Dagger modules in the current one.
        let started = Companion::start(program, &labels, Path::new("/"), &connect.environment());
        let (child, out, err) = started
            .map_err(|error| No::Why(format!("cannot start `{}`: {error}", program.shown())))?;
        let listening = tokio::spawn(said.clone().listen(err));
        let mut out = BufReader::new(out);
        let Some(Port {
            port,
            session_token,
        }) = port(&mut out).await.map_err(why)?
        else {
            // Its last output may still be on its way. Processes that inherited the pipe must not block us.
            let _ = tokio::time::timeout(Duration::from_secs(1), listening).await;
            return Err(No::Why("`dagger session` exited".to_owned()));
        };
        let gone = CancellationToken::new();
        tokio::spawn(until_end(out, gone.clone()));
        let client = Http::new(port, &session_token).map_err(No::Why)?;
        let mut session = Self {
            child: Mutex::new(Some(child)),
            client: Arc::new(client),
            version: String::new(),
            gone,
            cancel: cancel.clone(),
        };
        let query = session.query();
        let version = session.run("version", || version(query.clone()));
        session.version = version.await.map_err(|failure| match failure {
            Failure::Cancelled => No::Error(EngineError::Cancelled),
            other => No::Why(other.to_string()),
        })?;
        check_engine(&session.version).map_err(No::Error)?;
        Ok(session)
    }

    /// The root of queries to this session.
    #[must_use]
    pub(crate) fn query(&self) -> Query {
        Query {
            proc: None,
            selection: Selection::default(),
            graphql_client: self.client.clone(),
        }
    }

    /// The engine's version; empty if it reports none, like an unofficial build.
    #[must_use]
    pub(crate) fn engine_version(&self) -> &str {
        &self.version
    }

    /// Runs a pipeline. Contains panics, and dropping the returned future cancels what it runs in the engine. Retries
    /// a few times while the engine has too many open files. `label` is for messages.
    ///
    /// # Errors
    /// [`Failure::Lost`] only if the session really does not answer any more.
    pub(crate) async fn run<T, F, P>(&self, label: &str, pipeline: F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: Fn() -> P,
        P: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        const PAUSES: [Duration; 3] = [
            Duration::from_millis(100),
            Duration::from_millis(400),
            Duration::from_millis(1600),
        ];
        let mut pauses = PAUSES.into_iter();
        loop {
            let failure = match self.once(label, pipeline()).await {
                Err(failure) => failure,
                done => return done,
            };
            match failure {
                Failure::TooMany(_) => match pauses.next() {
                    Some(pause) => tokio::select! {
                        () = self.cancel.cancelled() => return Err(Failure::Cancelled),
                        () = tokio::time::sleep(pause) => {}
                    },
                    None => return Err(failure),
                },
                Failure::Lost(message) if self.answers(ANSWER).await => {
                    return Err(Failure::Infra(message));
                }
                Failure::Lost(message) => {
                    self.lose(); // What else is asked need not find out by itself.
                    return Err(Failure::Lost(message));
                }
                other => return Err(other),
            }
        }
    }

    async fn once<T: Send + 'static>(
        &self,
        label: &str,
        pipeline: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Failure> {
        contain_panics();
        let mut task = AbortOnDrop(tokio::spawn(CONTAINED.scope((), pipeline)));
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Failure::Cancelled),
            ended = &mut task.0 => ended.unwrap_or_else(|error| Err(not_joined(label, error))),
            () = self.gone.cancelled() => Err(Failure::Lost("its session has ended".to_owned())),
            () = self.silent() => Err(Failure::Lost("it does not answer any more".to_owned())),
        }
    }

    /// Ends once the engine does not answer: it may be frozen, or behind a connection that is half open.
    async fn silent(&self) {
        loop {
            tokio::time::sleep(PULSE).await;
            if !self.answers(PULSE).await {
                return;
            }
        }
    }

    /// Whether the engine is still there, within this time: some errors look like its end and are not.
    pub(crate) async fn answers(&self, patience: Duration) -> bool {
        if self.gone.is_cancelled() {
            return false;
        }
        let asked = CONTAINED.scope((), version(self.query()));
        let mut asked = AbortOnDrop(tokio::spawn(asked));
        let answer = tokio::time::timeout(patience, &mut asked.0).await;
        matches!(answer, Ok(Ok(Ok(_))))
    }

    /// Notes that the engine is away: nothing waits for it any more.
    pub(crate) fn lose(&self) {
        self.gone.cancel();
    }

    /// Ends the child and everything it runs, and waits for it.
    pub(crate) async fn close(&self) {
        // A child whose engine is gone would keep trying to reach it.
        let times = if self.gone.is_cancelled() {
            [0, 200]
        } else {
            [10_000, 2000]
        };
        let [patience, grace] = times.map(Duration::from_millis);
        let child = self
            .child
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(child) = child {
            // If waiting fails, there is nothing left to do.
            let _ = child.end(patience, grace).await;
        }
    }
}

/// Connects to an address that can be connected to, for its error: the child would try again for minutes.
async fn reach(address: &str) -> std::io::Result<()> {
    match address.split_once("://") {
        Some(("unix", path)) => UnixStream::connect(path).await.map(drop),
        Some(("tcp" | "tls", place)) => TcpStream::connect(place).await.map(drop),
        _ => Ok(()),
    }
}

/// Why there is no session.
enum No {
    /// To be reported with the address and the child's output.
    Why(String),
    Error(EngineError),
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is what map_err hands over"
)]
fn why(error: std::io::Error) -> No {
    No::Why(error.to_string())
}

async fn version(query: Query) -> Result<String, Failure> {
    Ok(query.version().await?)
}

#[derive(Deserialize)]
struct Port {
    port: u16,
    session_token: String,
}

/// Reads the child's output until it names its port; `None` if it exits first.
async fn port(out: &mut BufReader<ChildStdout>) -> std::io::Result<Option<Port>> {
    const LINE: u64 = 64 << 10;
    let mut line = Vec::new();
    loop {
        line.clear();
        if out.take(LINE).read_until(b'\n', &mut line).await? == 0 {
            return Ok(None);
        }
        if let Ok(port) = serde_json::from_slice(&line) {
            return Ok(Some(port));
        }
    }
}

/// Reads the rest of the child's output, which ends when the child does.
async fn until_end(mut out: BufReader<ChildStdout>, gone: CancellationToken) {
    let mut chunk = [0; 1024];
    while out.read(&mut chunk).await.is_ok_and(|length| length > 0) {}
    gone.cancel();
}

/// The end of the child's standard error.
#[derive(Debug, Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Said {
    async fn listen(self, mut err: ChildStderr) {
        const KEPT: usize = 64 << 10;
        let mut chunk = vec![0; 8 << 10];
        while let Ok(length @ 1..) = err.read(&mut chunk).await {
            let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            bytes.extend_from_slice(chunk.get(..length).unwrap_or_default());
            let over = bytes.len().saturating_sub(KEPT);
            bytes.drain(..over);
        }
    }

    /// The lines that explain an error, each after a line break.
    fn telling(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        telling(&String::from_utf8_lossy(&bytes))
    }
}

/// The lines that explain an error among the progress output of `dagger`.
fn telling(said: &str) -> String {
    const LINES: usize = 6;
    /// What `dagger` says of its own progress.
    const STEPS: [&str; 4] = ["connect", "creating ", "starting ", "loading "];
    const WORDS: [&str; 10] = [
        "cannot",
        "denied",
        "error",
        "fail",
        "incompatible",
        "no such",
        "refused",
        "timed out",
        "timeout",
        "unauthorized",
    ];
    let plain = anstream::adapter::strip_str(said).to_string();
    let mut found: Vec<&str> = Vec::new();
    for line in plain.lines() {
        let line = without_trace(without_progress(line));
        let whole = line.strip_prefix("Error: ");
        let line = whole.unwrap_or(line);
        let lower = line.to_lowercase();
        let tells = whole.is_some() || WORDS.iter().any(|word| lower.contains(word));
        // The state of a step adds nothing to its name.
        if tells && !line.ends_with(']') && !found.iter().any(|known| known.contains(line)) {
            found.retain(|known| !line.contains(known));
            found.push(line);
        }
    }
    if found.is_empty() {
        let lines = plain.lines().map(without_progress);
        let noise = |line: &str| {
            let is_step = STEPS.iter().any(|step| line.starts_with(step));
            line.is_empty() || line.ends_with(']') || is_step || line.contains("dagger.cloud")
        };
        found = lines.filter(|line| !noise(line)).collect();
    }
    let last = found.get(found.len().saturating_sub(LINES)..);
    let last = last.unwrap_or_default();
    last.iter().map(|line| format!("\n{line}")).collect()
}

/// A line without its step number (`2   : ┆ `), time (`[0.2s] | `) and mark.
fn without_progress(line: &str) -> &str {
    let mut rest = line.trim();
    if let Some((number, after)) = rest.split_once(':')
        && !number.is_empty()
        && number.trim().chars().all(|c| c.is_ascii_digit())
    {
        rest = after.trim_start_matches([' ', '┆']);
    }
    if let Some((time, after)) = rest.split_once("s] | ")
        && time.starts_with('[')
    {
        rest = after;
    }
    rest.trim_start_matches(['!', '✘', '|']).trim()
}

/// Aborts a task if the future waiting for it is dropped.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn not_joined(label: &str, error: tokio::task::JoinError) -> Failure {
    let Ok(payload) = error.try_into_panic() else {
        return Failure::Cancelled;
    };
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned());
    Failure::Panic(format!(
        "{label}: {}",
        text.as_deref().unwrap_or("panicked")
    ))
}

tokio::task_local! {
    /// Set while a pipeline is polled.
    static CONTAINED: ();
}

/// Reports panics in pipelines as failures instead of printing them. Other panics go to the previous hook.
fn contain_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
            if CONTAINED.try_with(|()| ()).is_err() {
                before(info);
            }
        }));
    });
}

#[cfg(test)]
mod tests;
