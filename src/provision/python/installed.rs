//! Python environments on the host: which one an entry point runs in, and what is installed there.
//!
//! Reads the entry point's first lines and the names of `*.dist-info` folders; the only process started is the
//! interpreter, which is asked about itself. Knows nothing about locks and makes no choices.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::digest::{Digest, Hasher};
use crate::rule::Rule;
use crate::scope::Scope;
use crate::tool::Program;

use super::closure::Closure;
use super::interpreter::{Interpreter, ask, venv_config};
use super::lock::normalized;
use super::packages;
use super::version;

/// Entry points have a few lines; larger files are not scripts that name their interpreter.
const MAX_SCRIPT: u64 = 64 * 1024;

/// Replaces the version of a distribution that is installed twice or has no fixed version.
pub(crate) const AMBIGUOUS: &str = "?";

/// A Python environment and its packages.
#[derive(Debug)]
pub(crate) struct Environment {
    pub(crate) python: Interpreter,
    /// The interpreter as named by the entry point.
    executable: PathBuf,
    folders: Vec<PathBuf>,
    /// Versions by normalised name.
    pub(crate) installed: BTreeMap<String, String>,
}

impl Environment {
    /// The environment of the entry point `program`; `None` if it is unknown, or shares packages with another one.
    #[must_use]
    pub(crate) fn of(scope: &Scope<'_>, program: &Program) -> Option<Self> {
        let executable = match script(&program.real) {
            Some(text) => interpreter_of(&text)?,
            None => sibling_python(&program.real)?,
        };
        Self::around(scope, executable)
    }

    /// The environment of an interpreter; `None` if that does not work, or shares packages with another one.
    #[must_use]
    pub(crate) fn around(scope: &Scope<'_>, executable: PathBuf) -> Option<Self> {
        let venv = venv_config(&executable);
        if venv.as_deref().is_some_and(shares_system_packages) {
            return None;
        }
        let python = ask(scope, &executable)?;
        let folders: Vec<PathBuf> = match venv {
            Some(_) => site_packages(&executable),
            None => python
                .path
                .iter()
                .filter(|path| path.is_dir())
                .cloned()
                .collect(),
        };
        let installed = installed(&folders);
        Some(Self {
            python,
            executable,
            folders,
            installed,
        })
    }

    /// Whether every package of the closure is installed in its locked version from an index, with no additional
    /// plugins.
    #[must_use]
    pub(crate) fn holds_exactly(&self, scope: &Scope<'_>, tool: &str, closure: &Closure) -> bool {
        closure.packages.iter().all(|package| {
            self.installed
                .get(&package.name)
                .is_some_and(|version| version::same(version, &package.version))
        }) && (closure.partial
            || !self
                .dependents(scope, tool)
                .iter()
                .any(|name| closure.get(name).is_none()))
    }

    /// Key for facts about an installed tool: its name, where it is looked up, and what is installed.
    fn about(&self, tool: &str) -> Digest {
        let mut hasher = Hasher::new();
        hasher.update(tool.as_bytes());
        for folder in &self.folders {
            hasher.update(folder.as_os_str().as_encoded_bytes());
        }
        hasher.update(self.list().as_bytes());
        hasher.finish()
    }

    /// The installed distributions that require `tool`, memoised by what is installed.
    fn dependents(&self, scope: &Scope<'_>, tool: &str) -> Vec<String> {
        let found = scope
            .facts
            .derive("python-dependents/1", self.about(tool), || {
                let infos = self.folders.iter().flat_map(|folder| entries(folder));
                Ok::<_, std::convert::Infallible>(
                    infos
                        .filter_map(|info| {
                            let (name, _) = distribution(info.file_name()?.to_str()?)?;
                            requires(&info, tool).then_some(name)
                        })
                        .collect::<Vec<_>>(),
                )
            });
        match found {
            Ok(found) => found,
            Err(never) => match never {},
        }
    }

    fn list(&self) -> String {
        self.installed
            .iter()
            .flat_map(|(name, version)| [name, "==", version, "\n"])
            .collect()
    }

    /// Entry point, interpreter, installed packages, and the content of everything belonging to `tool`. Independent
    /// of the environment's path, so that equal environments are the same tool. `None` if unknown.
    #[must_use]
    pub(crate) fn identity(
        &self,
        scope: &Scope<'_>,
        program: &Program,
        tool: &str,
    ) -> Option<Digest> {
        let entry = match script(&program.real) {
            Some(text) => {
                let place = self.executable.to_str()?;
                Digest::of(text.replace(place, "python").as_bytes())
            }
            None => program.digest,
        };
        let mut hasher = Hasher::new();
        hasher.update(b"python-tool/2");
        hasher.update(entry.as_bytes());
        hasher.update(self.identity_for(scope, Some(tool))?.as_bytes());
        Some(hasher.finish())
    }

    /// The interpreter and everything a script could import.
    #[must_use]
    pub(crate) fn whole_identity(&self, scope: &Scope<'_>) -> Option<Digest> {
        self.identity_for(scope, None)
    }

    fn identity_for(&self, scope: &Scope<'_>, tool: Option<&str>) -> Option<Digest> {
        let binary = scope
            .tools
            .digest(&self.executable.canonicalize().ok()?)
            .ok()?;
        let mut hasher = Hasher::new();
        hasher.update(binary.as_bytes());
        if let Some(library) = &self.python.library {
            hasher.update(scope.tools.digest(library).ok()?.as_bytes());
        }
        hasher.update(self.python.version.as_bytes());
        hasher.update(b"\n");
        if Rule::VenvPackages.holds() {
            hasher.update(self.list().as_bytes());
            let files = self.loaded(scope, tool)?;
            hasher.update(scope.tools.content(&files).ok()?.as_bytes());
        }
        Some(hasher.finish())
    }

    /// The files and folders that are loaded: those of the closure of `tool` and those used at every start, or else
    /// all packages. `None` if some are outside the environment.
    fn loaded(&self, scope: &Scope<'_>, tool: Option<&str>) -> Option<Vec<PathBuf>> {
        let starters = packages::starters(&self.folders);
        if let Some(names) = tool.and_then(|tool| self.files_of(scope, tool)) {
            let files = self.folders.iter().flat_map(|folder| {
                let there = names.iter().map(|name| folder.join(name));
                there.filter(|path| path.exists()).collect::<Vec<_>>()
            });
            return Some(files.chain(starters).collect());
        }
        let elsewhere = starters
            .iter()
            .any(|path| packages::leads_elsewhere(scope, path));
        let folders = self.folders.iter().filter(|folder| {
            folder
                .file_name()
                .is_some_and(|name| name == "site-packages" || name == "dist-packages")
        });
        (!elsewhere).then(|| folders.cloned().collect())
    }

    /// The top-level names of the closure of an installed tool, memoised by what is installed. `None` if a package
    /// does not list its files.
    fn files_of(&self, scope: &Scope<'_>, tool: &str) -> Option<Vec<String>> {
        self.installed.get(tool)?;
        let found = scope
            .facts
            .derive("python-files-of/1", self.about(tool), || {
                let infos = self.folders.iter().flat_map(|folder| entries(folder));
                let mut by_name = BTreeMap::new();
                for info in infos {
                    let name = info.file_name().and_then(|name| name.to_str());
                    if let Some((name, _)) = name.and_then(distribution) {
                        by_name.entry(name).or_insert(info);
                    }
                }
                Ok::<_, std::convert::Infallible>(packages::files_of(&by_name, tool))
            });
        match found {
            Ok(found) => found,
            Err(never) => match never {},
        }
    }
}

/// `None` for a binary.
#[must_use]
pub(crate) fn script(path: &Path) -> Option<String> {
    if std::fs::metadata(path).ok()?.len() > MAX_SCRIPT {
        return None;
    }
    let text = String::from_utf8(crate::fs::read(path).ok()?).ok()?;
    text.starts_with("#!").then_some(text)
}

/// The interpreter named by an entry point: `#!/venv/bin/python`, or, if that is too long or contains a space,
/// `#!/bin/sh` and `'''exec' "/venv/bin/python" "$0" "$@"`.
fn interpreter_of(script: &str) -> Option<PathBuf> {
    let mut lines = script.lines();
    let shebang = lines.next()?.strip_prefix("#!")?.trim();
    let named = match lines.next()?.strip_prefix("'''exec' ") {
        Some(exec) if shebang.ends_with("/sh") => match exec.strip_prefix('"') {
            Some(quoted) => quoted.split('"').next()?,
            None => exec.split(' ').next()?,
        },
        _ => shebang.split(' ').next()?,
    };
    let path = PathBuf::from(named);
    let name = path.file_name()?.to_str()?;
    let python = name.starts_with("python") || name.starts_with("pypy");
    (python && path.is_absolute()).then_some(path)
}

/// Whether a file name is that of a Python: `python`, `python3.12`, `pypy3`.
#[must_use]
pub(crate) fn is_python(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let version = name.and_then(|name| {
        name.strip_prefix("python")
            .or_else(|| name.strip_prefix("pypy"))
    });
    version.is_some_and(|version| version.chars().all(|c| c.is_ascii_digit() || c == '.'))
}

/// Wheels install binaries beside the interpreter.
fn sibling_python(binary: &Path) -> Option<PathBuf> {
    let folder = binary.parent()?;
    ["python3", "python"]
        .map(|name| {
            folder
                .join(name)
                .with_added_extension(std::env::consts::EXE_EXTENSION)
        })
        .into_iter()
        .find(|path| path.is_file())
}

fn shares_system_packages(pyvenv: &str) -> bool {
    pyvenv.lines().any(|line| {
        line.split_once('=').is_some_and(|(key, value)| {
            key.trim() == "include-system-site-packages"
                && value.trim().eq_ignore_ascii_case("true")
        })
    })
}

/// `lib/python3.*/site-packages` of a virtual environment.
fn site_packages(executable: &Path) -> Vec<PathBuf> {
    let Some(prefix) = executable.parent().and_then(Path::parent) else {
        return Vec::new();
    };
    if cfg!(windows) {
        return vec![prefix.join("Lib").join("site-packages")];
    }
    ["lib", "lib64"]
        .iter()
        .map(|lib| prefix.join(lib))
        .filter(|lib| !lib.is_symlink())
        .flat_map(|lib| entries(&lib))
        .map(|python| python.join("site-packages"))
        .filter(|path| path.is_dir())
        .collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(read) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut found: Vec<PathBuf> = read.flatten().map(|entry| entry.path()).collect();
    found.sort();
    found
}

/// The distributions in the folders; the first folder wins, as on import.
fn installed(folders: &[PathBuf]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for folder in folders {
        let mut here: BTreeMap<String, String> = BTreeMap::new();
        for path in entries(folder) {
            let name = path.file_name().and_then(|name| name.to_str());
            let Some((name, mut version)) = name.and_then(distribution) else {
                continue;
            };
            // Installed from a folder or a URL: the version does not identify the content.
            if here.contains_key(&name) || path.join("direct_url.json").exists() {
                AMBIGUOUS.clone_into(&mut version);
            }
            here.insert(name, version);
        }
        for (name, version) in here {
            found.entry(name).or_insert(version);
        }
    }
    found
}

/// Name and version from `NAME-VERSION.dist-info`, `NAME-VERSION[-pyX.Y].egg-info` or `NAME.egg-link`.
fn distribution(file_name: &str) -> Option<(String, String)> {
    if let Some(name) = file_name.strip_suffix(".egg-link") {
        return Some((normalized(name), AMBIGUOUS.to_owned()));
    }
    let stem = file_name
        .strip_suffix(".dist-info")
        .or_else(|| file_name.strip_suffix(".egg-info"))?;
    // pip renames files it could not delete to `~name`.
    if stem.starts_with('~') {
        return None;
    }
    let (name, version) = stem.split_once('-')?;
    let version = version.split("-py").next().unwrap_or(version);
    Some((normalized(name), version.to_owned()))
}

/// Whether a distribution requires `tool`, apart from extras.
fn requires(info: &Path, tool: &str) -> bool {
    packages::requirements(info)
        .into_iter()
        .any(|(name, extra)| !extra && name == tool)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn entry_points_name_their_interpreter() {
        let of = |text: &str| interpreter_of(text).map(|path| path.to_string_lossy().into_owned());
        let check =
            |text: &str, expect: Option<&str>| assert_eq!(of(text).as_deref(), expect, "{text}");
        check("#!/v/bin/python3\nimport x\n", Some("/v/bin/python3"));
        check(
            "#!/usr/bin/python3 -sP\nimport x\n",
            Some("/usr/bin/python3"),
        );
        check(
            "#!/bin/sh\n'''exec' \"/a b/bin/python\" \"$0\" \"$@\"\n' '''\n",
            Some("/a b/bin/python"),
        );
        check(
            "#!/bin/sh\n'''exec' /v/bin/python3.11 \"$0\" \"$@\"\n",
            Some("/v/bin/python3.11"),
        );
        check("#!/usr/bin/env python3\nimport x\n", None);
        check("#!/usr/bin/env bash\nexec pyenv\n", None);
        check("#!python\nx\n", None);
    }

    #[test]
    fn distributions_by_the_names_of_their_folders() {
        let is = |file: &str| distribution(file).map(|(name, version)| format!("{name} {version}"));
        assert_eq!(
            is("mdformat_gfm-0.3.7.dist-info").as_deref(),
            Some("mdformat-gfm 0.3.7")
        );
        assert_eq!(is("PyYAML-6.0.1.egg-info").as_deref(), Some("pyyaml 6.0.1"));
        assert_eq!(
            is("ruamel.yaml-0.18.6-py3.11.egg-info").as_deref(),
            Some("ruamel-yaml 0.18.6")
        );
        assert_eq!(is("mine.egg-link").as_deref(), Some("mine ?"));
        assert_eq!(is("~ip-23.0.dist-info"), None);
        assert_eq!(is("yaml"), None);
    }

    #[test]
    fn an_environment_that_shares_packages_is_seen() {
        assert!(shares_system_packages(
            "home = /usr\ninclude-system-site-packages = true\n"
        ));
        assert!(!shares_system_packages(
            "include-system-site-packages = false\n"
        ));
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in ".{0,80}", name in "[~a-z0-9.-]{0,20}(\\.dist-info|\\.egg-info)?") {
            let _ = interpreter_of(&text);
            let _ = interpreter_of(&format!("#!/bin/sh\n'''exec' {text}"));
            let _ = distribution(&name);
        }
    }
}
