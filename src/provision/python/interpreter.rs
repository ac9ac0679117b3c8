//! Python interpreters: which one a name leads to, and its identity.
//!
//! An interpreter is queried once and the answer memoised by the digest of its binary (and of its shared library, and
//! of everything that decides where a version manager's shim leads), so that a Fresh run starts none. Does not know
//! what is installed for it.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Hasher};
use crate::env::{Env, PATH};
use crate::path::RelPath;
use crate::plan::Question;
use crate::process;
use crate::provision::launcher::{asker, leads};
use crate::scope::Scope;
use crate::tool::Program;
use crate::tool::launcher::{self, Leads, Likeness};

use super::marker::MarkerEnv;
use super::version;

/// Raise with every change of [`QUESTION`].
const KIND: &str = "python-interpreter/1";

/// The query to a Python 3 (`python3 -I -c …`), parsed by [`Interpreter::of_answer`].
const QUESTION: &str = r#"
import json, os, platform, sys, sysconfig
var = sysconfig.get_config_var
def full(v):
    kind = v.releaselevel
    return "%d.%d.%d" % v[:3] + ("" if kind == "final" else kind[0] + str(v.serial))
library = os.path.join(var("LIBDIR") or "", var("INSTSONAME") or "?") if var("Py_ENABLE_SHARED") else ""
libc = " ".join(p for p in platform.libc_ver() if p) or var("HOST_GNU_TYPE") or ""
print(json.dumps({
    "executable": os.path.abspath(sys.executable),
    "implementation": platform.python_implementation(),
    "version": platform.python_version(),
    "platform": (sysconfig.get_platform() + " " + libc).strip(),
    "path": [p for p in sys.path if p],
    "library": library if os.path.isfile(library) else None,
    "markers": {
        "implementation_name": sys.implementation.name,
        "implementation_version": full(sys.implementation.version),
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "python_full_version": platform.python_version(),
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "sys_platform": sys.platform,
    },
}))
"#;

/// An interpreter's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Interpreter {
    /// The real program behind any shim. In a virtual environment, the environment's own link.
    pub(crate) executable: PathBuf,
    /// `CPython`, `PyPy`.
    pub(crate) implementation: String,
    /// `3.11.7`.
    pub(crate) version: String,
    /// Determines which wheels fit: `linux-x86_64 glibc 2.36`.
    pub(crate) platform: String,
    /// Its module search path without the user's site folder.
    pub(crate) path: Vec<PathBuf>,
    /// The shared library with most of its code, if built that way.
    pub(crate) library: Option<PathBuf>,
    /// The values of the marker variables.
    pub(crate) markers: MarkerEnv,
}

/// Markers that change when the machine reboots.
const KERNEL: [&str; 2] = ["platform_release", "platform_version"];

impl Interpreter {
    /// Parses an answer from another machine, whose files and kernel do not matter here. `None` if it is not an
    /// answer.
    #[must_use]
    pub(crate) fn of_answer(answer: &str) -> Option<Self> {
        let mut python: Self = serde_json::from_str(answer).ok()?;
        for name in KERNEL {
            python.markers.0.insert(name.to_owned(), String::new());
        }
        Some(Self {
            path: Vec::new(),
            library: None,
            ..python
        })
    }
}

/// The Python of an image.
pub(crate) const IN_IMAGE: Question = Question {
    name: "python",
    script: || {
        let question = process::quoted(QUESTION);
        format!("if command -v python3 >/dev/null; then python3 -I -c {question} || true; fi")
    },
    answer: lasting,
};

/// Reduces an answer to what identifies an image's interpreter, as one line; `None` if it is not an answer.
fn lasting(answer: &str) -> Option<String> {
    serde_json::to_string(&Interpreter::of_answer(answer)?).ok()
}

/// The first Python on the user's PATH that satisfies `constraint`, else one installed by a version manager on PATH.
#[must_use]
pub(crate) fn suitable(scope: &Scope<'_>, constraint: Option<&str>) -> Option<Interpreter> {
    on_path(scope.env)
        .chain(on_path(scope.env).flat_map(|shim| installed(scope, &shim)))
        .filter_map(|program| ask(scope, &program))
        .find(|python| version::satisfies(constraint.unwrap_or("*"), &python.version) == Some(true))
}

/// The Pythons of the version manager that a shim belongs to.
fn installed(scope: &Scope<'_>, shim: &Path) -> Vec<PathBuf> {
    let program = program_at(scope, shim);
    let installed = |program| launcher::installed(&asker(scope, scope.snapshot.root()), &program);
    program.map(installed).unwrap_or_default()
}

fn program_at(scope: &Scope<'_>, path: &Path) -> Option<Program> {
    scope
        .tools
        .at(path.file_name()?.to_str()?, path.to_path_buf())
}

/// Candidates for Python, plain names of all folders first.
fn on_path(env: &Env) -> impl Iterator<Item = PathBuf> {
    let folders: Vec<PathBuf> = env
        .var_os(PATH)
        .map(|path| std::env::split_paths(path).collect())
        .unwrap_or_default();
    let plain = folders
        .clone()
        .into_iter()
        .flat_map(|folder| ["python3", "python"].map(|name| folder.join(name)));
    let versioned = (8..=20).rev().flat_map(move |minor| {
        let name = format!("python3.{minor}");
        folders
            .iter()
            .map(|folder| folder.join(&name))
            .collect::<Vec<_>>()
    });
    plain
        .chain(versioned)
        .map(|path| path.with_added_extension(std::env::consts::EXE_EXTENSION))
        .filter(|path| path.is_file())
}

/// Queries the interpreter at `program`; `None` if it is not a working Python 3.
#[must_use]
pub(crate) fn ask(scope: &Scope<'_>, program: &Path) -> Option<Interpreter> {
    let mut python = answer(scope, program)?;
    refresh_kernel(&mut python.markers);
    Some(python)
}

fn answer(scope: &Scope<'_>, program: &Path) -> Option<Interpreter> {
    let found = program_at(scope, program)?;
    let own = own_key(scope, program)?;
    match leads(scope, &found, &RelPath::root()) {
        Leads::To(real) => return remembered(scope, &real.path, own_key(scope, &real.path)?),
        Leads::Unknown(_) | Leads::OfToolchain => return None,
        Leads::Itself if !is_wrapper(&found.real) => return remembered(scope, program, own),
        Leads::Itself => {}
    }
    let around = launcher::surroundings(&asker(scope, scope.snapshot.root()));
    let wrapper = remembered(scope, program, Digest::combined([&own, &around]))?;
    let leads_on =
        |path: &Path| path != program && path.canonicalize().is_ok_and(|p| !is_wrapper(&p));
    if !leads_on(&wrapper.executable) {
        return Some(wrapper);
    }
    match own_key(scope, &wrapper.executable) {
        Some(key) => remembered(scope, &wrapper.executable, key),
        // It leads elsewhere by now, although nothing we check has changed.
        None => question(scope, program).ok()?,
    }
}

fn remembered(scope: &Scope<'_>, program: &Path, key: Digest) -> Option<Interpreter> {
    let ask = |key| {
        let answer = scope.facts.derive(KIND, key, || question(scope, program));
        answer.ok().flatten()
    };
    let first = ask(key)?;
    match first
        .library
        .as_deref()
        .map(|library| scope.tools.digest(library))
    {
        Some(Ok(library)) => ask(Digest::combined([&key, &library])),
        _ => Some(first),
    }
}

/// The binary, its path, and the virtual environment that links to it.
fn own_key(scope: &Scope<'_>, program: &Path) -> Option<Digest> {
    let mut hasher = Hasher::new();
    hasher.update(program.as_os_str().as_encoded_bytes());
    let real = program.canonicalize().ok()?;
    hasher.update(scope.tools.digest(&real).ok()?.as_bytes());
    if let Some(config) = venv_config(program) {
        hasher.update(config.as_bytes());
    }
    Some(hasher.finish())
}

/// The text of the `pyvenv.cfg` if `program` is the interpreter of a virtual environment.
#[must_use]
pub(crate) fn venv_config(program: &Path) -> Option<String> {
    crate::fs::text(program.parent()?.parent()?.join("pyvenv.cfg")).ok()
}

/// Whether the program is a script, or has another name than an interpreter.
fn is_wrapper(real: &Path) -> bool {
    let name = real
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let python = name.starts_with("python") || name.starts_with("pypy");
    !python || starts_with_shebang(real)
}

fn starts_with_shebang(path: &Path) -> bool {
    crate::fs::head(path, 2).is_ok_and(|start| start == b"#!")
}

/// Queries the program; `Ok(None)` if it is not a working Python 3, which is memoised, too.
fn question(scope: &Scope<'_>, program: &Path) -> io::Result<Option<Interpreter>> {
    let folder = Likeness::of_all(&asker(scope, scope.snapshot.root()))?;
    let args = ["-I", "-c", QUESTION];
    let output = process::capture(program, &args, &folder.dir, scope.env, &[])?;
    if !output.status.success() {
        return Ok(None);
    }
    Ok(serde_json::from_slice(&output.stdout).ok())
}

/// The kernel changes under the same interpreter, so these two are read now instead of memoised.
#[cfg(unix)]
fn refresh_kernel(markers: &mut MarkerEnv) {
    let kernel = rustix::system::uname();
    for (name, value) in KERNEL.into_iter().zip([kernel.release(), kernel.version()]) {
        let value = value.to_string_lossy().into_owned();
        markers.0.insert(name.to_owned(), value);
    }
}

#[cfg(not(unix))]
fn refresh_kernel(_: &mut MarkerEnv) {}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::testing::project::{Project, fake_python, write_program};

    #[test]
    fn takes_the_first_python_the_project_allows() {
        let old = fake_python("3.9.1");
        let new = fake_python("3.12.4");
        let path = std::env::join_paths([old.path(), new.path()]).expect("a PATH");
        let project = Project::with_path(&[], &path);
        let version = |constraint| suitable(&project.scope(), constraint).map(|p| p.version);
        assert_eq!(version(Some(">=3.11,<4.0")).as_deref(), Some("3.12.4"));
        assert_eq!(version(None).as_deref(), Some("3.9.1"));
        assert_eq!(version(Some(">=4")), None);
    }

    #[test]
    fn a_python_is_asked_once_and_again_when_it_changed() {
        let folder = fake_python("3.12.4");
        let project = Project::with_path(&[], folder.path().as_os_str());
        let log = folder.path().join("log");
        let asked = || crate::fs::text(&log).unwrap_or_default().lines().count();
        for _ in 0..2 {
            assert!(suitable(&project.scope(), None).is_some());
            assert_eq!(asked(), 1);
        }
        let program = folder.path().join("python3");
        let text = crate::fs::text(&program).expect("the script");
        write_program(&program, &text.replace("3.12.4", "3.12.5"));
        let version = suitable(&project.scope(), None).map(|p| p.version);
        assert_eq!(version.as_deref(), Some("3.12.5"));
        assert_eq!(asked(), 2);
    }

    #[test]
    fn a_shim_is_asked_again_when_the_version_file_changed() {
        let folder = fake_python("3.12.4");
        let home = tempfile::tempdir().expect("a folder");
        let mut project = Project::with_path(&[], folder.path().as_os_str());
        project.set_home(home.path());
        let asked = || {
            let log = crate::fs::text(folder.path().join("log"));
            log.unwrap_or_default().lines().count()
        };
        assert!(suitable(&project.scope(), None).is_some());
        std::fs::write(home.path().join(".tool-versions"), "python 3.12.5\n").expect("written");
        assert!(suitable(&project.scope(), None).is_some());
        assert_eq!(asked(), 2);
    }

    #[test]
    fn a_python_that_a_manager_has_installed_is_found_though_it_chooses_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().canonicalize().expect("a path");
        for version in ["3.9.1", "3.12.4"] {
            let python = fake_python(version);
            let bin = root.join("versions").join(version).join("bin");
            std::fs::create_dir_all(&bin).expect("folder");
            let text = crate::fs::text(python.path().join("python3")).expect("script");
            write_program(&bin.join("python3"), &text);
        }
        let pyenv = root.join("pyenv");
        write_program(&pyenv, "#!/bin/sh\nexit 1\n");
        std::fs::create_dir_all(root.join("shims")).expect("folder");
        let shim = format!(
            "#!/bin/sh\nexec \"{}\" exec python3\n",
            pyenv.to_string_lossy()
        );
        write_program(&root.join("shims/python3"), &shim);
        let project = Project::with_path(&[], root.join("shims").as_os_str());
        let version = |constraint| suitable(&project.scope(), constraint).map(|p| p.version);
        assert_eq!(version(None).as_deref(), Some("3.12.4"));
        assert_eq!(version(Some("<3.10")).as_deref(), Some("3.9.1"));
        assert_eq!(version(Some(">=4")), None);
    }
}
