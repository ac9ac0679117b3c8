//! Detects which walls this system gives, by building each around nothing.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use super::report::Report;
use super::spec::{Bounds, Root, Spec};
use super::{WORD, send};

/// What is supported; errors hold the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Support {
    /// Whether namespaces come with a user namespace.
    pub(crate) user: bool,
    /// A private file system.
    pub(crate) root: Result<(), String>,
    /// Private process ids.
    pub(crate) processes: Result<(), String>,
    /// No network except loopback.
    pub(crate) offline: Result<(), String>,
    /// Refusing to open files that were not granted.
    pub(crate) files: Result<(), String>,
    /// Refusing system calls.
    pub(crate) calls: Result<(), String>,
    /// Following what a command does with files.
    pub(crate) trace: Result<(), String>,
}

impl Support {
    /// A system that supports nothing.
    #[must_use]
    pub(crate) fn none(why: &str) -> Self {
        let no = || Err(why.to_owned());
        Self {
            user: false,
            root: no(),
            processes: no(),
            offline: no(),
            files: no(),
            calls: no(),
            trace: no(),
        }
    }

    /// A system that supports everything.
    #[must_use]
    pub(crate) fn all() -> Self {
        Self {
            user: true,
            root: Ok(()),
            processes: Ok(()),
            offline: Ok(()),
            files: Ok(()),
            calls: Ok(()),
            trace: Ok(()),
        }
    }

    /// Asks the launcher `program`: once where all is supported, which takes a few milliseconds.
    #[must_use]
    pub(crate) fn ask(program: &Path) -> Self {
        if !cfg!(target_os = "linux") {
            return Self::none("confinement requires Linux");
        }
        let build = |bounds| attempt(program, bounds);
        let all = Bounds {
            user: true,
            offline: true,
            processes: true,
            root: Some(Root::default()),
            files: Some(Vec::new()),
            calls: true,
            trace: Some(Vec::new()),
            ..Bounds::default()
        };
        if build(all).is_ok() {
            return Self::all();
        }
        Self::one_by_one(build)
    }

    fn one_by_one(build: impl Fn(Bounds) -> io::Result<()>) -> Self {
        let of = |user: bool, bounds: Bounds| build(Bounds { user, ..bounds });
        let user = of(true, Bounds::default()).is_ok();
        let said = |wall: &str, bounds: Bounds| {
            of(user, bounds).map_err(|error| format!("{wall}: {error}"))
        };
        let root = Some(Root::default());
        Self {
            user,
            processes: said(
                "own processes",
                Bounds {
                    processes: true,
                    root: root.clone(), // With its own `/proc`.
                    ..Bounds::default()
                },
            ),
            root: said(
                "own file system",
                Bounds {
                    root,
                    ..Bounds::default()
                },
            ),
            offline: said(
                "no network",
                Bounds {
                    offline: true,
                    ..Bounds::default()
                },
            ),
            files: said(
                "Landlock",
                Bounds {
                    files: Some(Vec::new()),
                    ..Bounds::default()
                },
            ),
            calls: said(
                "seccomp",
                Bounds {
                    calls: true,
                    ..Bounds::default()
                },
            ),
            trace: said(
                "tracing",
                Bounds {
                    calls: true,
                    trace: Some(Vec::new()),
                    ..Bounds::default()
                },
            ),
        }
    }
}

/// Has a launcher build these walls.
fn attempt(program: &Path, bounds: Bounds) -> io::Result<()> {
    let (mut ours, theirs) = UnixStream::pair()?;
    let mut child = Command::new(program)
        .arg(WORD)
        .current_dir("/")
        .env_clear()
        .envs(crate::rule::inherited())
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let spec = Spec {
        bounds,
        dir: "/".into(),
        ..Spec::default()
    };
    let asked = send(&ours, &spec, &[]);
    let mut said = String::new();
    let read = ours.read_to_string(&mut said);
    child.wait()?;
    asked?;
    read?;
    match Report::decode(&said)? {
        Some(Report::Exit(0)) => Ok(()),
        _ => Err(io::Error::other("the launcher did not report")),
    }
}
