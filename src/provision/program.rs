//! Looks up the programs of a check for all ecosystems: in its image, or on this host, where it determines what a
//! program really is, what affects its behaviour, and what it needs on PATH.
//!
//! | a program of the host is | identity | needs |
//! |---|---|---|
//! | a launcher ([`crate::tool::launcher`]) | that of the program it starts in this folder | |
//! | a program of a Rust toolchain behind a proxy | the toolchain's | its other programs |
//! | a binary | its content; outside system directories, that of its installation | |
//! | a Python interpreter | binary, version, content of everything installed for it | |
//! | a Python entry point (also one of pipx) | script, interpreter, installed packages, content of its own packages | |
//! | a script of a package in `node_modules` | script, content of its packages | Node |
//! | any other script | its content; results are not stored, because what it starts or loads is unknown | its interpreter |
//!
//! Runs no checks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::path::RelPath;
use crate::plan::check::Tool;
use crate::rule::Rule;
use crate::scope::Scope;
use crate::tool::Program;
use crate::tool::installation::Private;
use crate::tool::launcher::Leads;
use crate::visible::Shown as _;

use super::launcher::leads;
use super::node;
use super::python::installed::{Environment, is_python};
use super::rust::toolchain;

/// Linux does not accept longer interpreter lines.
const SHEBANG_LIMIT: usize = 256;

/// The most files of an installation that are stat'ed in every run.
const MOST_FILES: usize = 20_000;

/// A longer chain of interpreters is a cycle.
const DEPTH: u32 = 4;

/// Programs found, by name.
#[derive(Debug, Default)]
pub(crate) struct Found {
    by_name: BTreeMap<String, Tool>,
    /// The folder they will run in, which launchers depend on.
    dir: RelPath,
    /// Why results that depend on them cannot be stored.
    pub(crate) not_cached: Option<String>,
    /// Whether there is another reason than scripts of which it is unknown what they use.
    is_hidden: bool,
}

impl Found {
    /// An empty set for a check that runs in `dir`.
    pub(crate) fn in_folder(dir: RelPath) -> Self {
        Self {
            dir,
            ..Self::default()
        }
    }

    /// The folder they will run in.
    pub(crate) const fn dir(&self) -> &RelPath {
        &self.dir
    }

    pub(crate) fn into_tools(self) -> Vec<Tool> {
        self.by_name.into_values().collect()
    }

    /// Why results that depend on them can only be stored if the run was observed, if that is enough.
    pub(crate) fn take_unless_traced(&mut self) -> Option<String> {
        let enough = !self.is_hidden;
        enough.then(|| self.not_cached.take()).flatten()
    }

    /// Finds a program by name; in an image only the name is known. Returns whether it exists.
    pub(crate) fn add(&mut self, scope: &Scope<'_>, name: &str) -> bool {
        if scope.images.is_some() {
            self.add_of_image(name);
            return true;
        }
        let program = scope.tools.find(name);
        if let Some(program) = &program {
            self.add_program(scope, program);
        }
        program.is_some()
    }

    /// Records that no program has this name.
    pub(crate) fn add_absent(&mut self, name: &str) {
        let name = name.to_owned();
        let absent = Tool::Absent { name: name.clone() };
        self.by_name.entry(name).or_insert(absent);
    }

    /// Adds a program of the host under its name.
    pub(crate) fn add_program(&mut self, scope: &Scope<'_>, program: &Program) {
        let behind = self.behind(scope, program);
        self.take(&program.name, behind);
    }

    /// Adds a program of the host if it can be identified. Returns whether it was added.
    pub(crate) fn add_if_known(&mut self, scope: &Scope<'_>, program: &Program) -> bool {
        let behind = self.behind(scope, program);
        let known = behind.hidden.is_none();
        if known {
            self.take(&program.name, behind);
        }
        known
    }

    fn behind(&self, scope: &Scope<'_>, program: &Program) -> Behind {
        let dir = &self.dir;
        Identify { scope, dir }.behind(program)
    }

    /// Adds the interpreter of a first line. Returns whether it exists.
    pub(crate) fn add_interpreter(&mut self, scope: &Scope<'_>, named: &str) -> bool {
        let dir = &self.dir;
        let identify = Identify { scope, dir };
        let may = identify.may_be_named_by_the_project(named);
        let Some(behind) = may.then(|| identify.interpreter(named, 0)).flatten() else {
            return false;
        };
        self.take(base_name(named), behind);
        true
    }

    /// A program in an image is identified by its name.
    pub(crate) fn add_of_image(&mut self, name: &str) {
        let name = name.to_owned();
        let tool = Tool::Image { name: name.clone() };
        self.by_name.insert(name, tool);
    }

    fn take(&mut self, name: &str, behind: Behind) {
        self.is_hidden |= behind.hidden.is_some() && !behind.is_script;
        if self.not_cached.is_none() {
            self.not_cached = behind.hidden;
        }
        self.insert(name, behind.path, behind.identity);
        for (name, needed) in behind.needs {
            self.take(&name, needed);
        }
    }

    /// The first program of a name is the one on PATH; another one only adds to its identity.
    fn insert(&mut self, name: &str, path: PathBuf, identity: Digest) {
        match self.by_name.get_mut(name) {
            Some(Tool::Host {
                identity: known, ..
            }) if *known != identity => {
                *known = Digest::combined([&*known, &identity]);
            }
            Some(Tool::Host { .. } | Tool::Layer { .. } | Tool::Image { .. }) => {}
            Some(Tool::Absent { .. }) | None => {
                let tool = Tool::Host {
                    name: name.to_owned(),
                    path,
                    identity,
                    version: None,
                };
                self.by_name.insert(name.to_owned(), tool);
            }
        }
    }
}

/// What a program is.
#[derive(Debug, Clone)]
struct Behind {
    path: PathBuf,
    /// Determines its behaviour.
    identity: Digest,
    /// Programs it needs on its PATH, by name.
    needs: Vec<(String, Behind)>,
    /// Why its identity does not determine its behaviour; results must not be stored then.
    hidden: Option<String>,
    /// Whether the reason is only that it is unknown what a script uses.
    is_script: bool,
}

impl Behind {
    fn plain(program: &Program) -> Self {
        Self {
            path: program.path.clone(),
            identity: program.digest,
            needs: Vec::new(),
            hidden: None,
            is_script: false,
        }
    }

    fn hidden(program: &Program, why: String) -> Self {
        Self {
            hidden: Rule::HiddenTools.holds().then_some(why),
            ..Self::plain(program)
        }
    }
}

/// Identifies programs for one folder.
struct Identify<'a> {
    scope: &'a Scope<'a>,
    dir: &'a RelPath,
}

impl Identify<'_> {
    fn behind(&self, program: &Program) -> Behind {
        self.at_depth(program, 0)
    }

    fn at_depth(&self, program: &Program, depth: u32) -> Behind {
        let name = &program.name;
        if depth > DEPTH {
            return Behind::hidden(program, format!("`{name}` starts itself"));
        }
        match leads(self.scope, program, self.dir) {
            Leads::Itself => self.itself(program, depth),
            Leads::To(real) => self.itself(&real, depth),
            Leads::Unknown(why) => Behind::hidden(program, why),
            Leads::OfToolchain => {
                let found = toolchain(self.scope, self.dir);
                let found = found.and_then(|toolchain| of_toolchain(name, &toolchain));
                found.unwrap_or_else(|why| {
                    let why =
                        format!("cannot tell which program the rustup proxy `{name}` runs: {why}");
                    Behind::hidden(program, why)
                })
            }
        }
    }

    /// Identifies a program that is not a launcher.
    fn itself(&self, program: &Program, depth: u32) -> Behind {
        match self.first_line(program) {
            Err(error) => {
                let why = format!("cannot read `{}`: {error}", program.name);
                Behind::hidden(program, why)
            }
            Ok(Some(line)) => self.script(program, &line, depth),
            Ok(None) if is_python(&program.path) => self.python(program),
            Ok(None) => match binary_identity(self.scope, program) {
                Ok(identity) => Behind {
                    identity,
                    ..Behind::plain(program)
                },
                Err(why) => Behind::hidden(program, why),
            },
        }
    }

    /// A Python interpreter: scripts can import everything installed for it.
    fn python(&self, program: &Program) -> Behind {
        let environment = Environment::around(self.scope, program.path.clone());
        match environment.and_then(|environment| environment.whole_identity(self.scope)) {
            Some(identity) => Behind {
                identity,
                ..Behind::plain(program)
            },
            None => {
                let why = format!(
                    "cannot tell what is installed for `{}`; it may have editable packages or share those of another environment",
                    program.path.shown()
                );
                Behind::hidden(program, why)
            }
        }
    }

    fn script(&self, program: &Program, line: &str, depth: u32) -> Behind {
        let name = &program.name;
        if let Some(environment) = Environment::of(self.scope, program)
            && let Some(identity) = environment.identity(self.scope, program, name)
        {
            return Behind {
                identity,
                ..Behind::plain(program)
            };
        }
        let cannot = || format!("cannot tell which programs and files the script `{name}` uses");
        let of_script = || Behind {
            is_script: true,
            ..Behind::hidden(program, cannot())
        };
        let Some(interpreter) = shebang(line) else {
            return of_script();
        };
        let mut found = match node::identity(self.scope, program) {
            Ok(Some(identity)) if is_node(&interpreter) => Behind {
                identity,
                ..Behind::plain(program)
            },
            Ok(_) => of_script(),
            Err(why) => Behind::hidden(
                program,
                format!("cannot identify the packages of `{name}`: {why}"),
            ),
        };
        let root = self.scope.snapshot.root();
        let of_project = program.path.starts_with(root) || program.real.starts_with(root);
        if (!of_project || self.may_be_named_by_the_project(&interpreter))
            && let Some(behind) = self.interpreter(&interpreter, depth)
        {
            found.identity = Digest::combined([&found.identity, &behind.identity]);
            if behind.hidden.is_some() {
                found.is_script &= behind.is_script;
            }
            if found.hidden.is_none() {
                found.hidden.clone_from(&behind.hidden);
            }
            found.needs.extend(behind.needs.iter().cloned());
            found
                .needs
                .push((base_name(&interpreter).to_owned(), behind));
        }
        found
    }

    /// Whether a first line of the project may name this interpreter. What is installed with an interpreter becomes
    /// readable, so by an absolute path only those of the system, of the project and of the user's PATH.
    fn may_be_named_by_the_project(&self, named: &str) -> bool {
        let path = Path::new(named);
        let home = self.scope.home();
        let private = Private {
            project: self.scope.snapshot.root(),
            store: self.scope.tools.memo_folder(),
            home: home.as_deref(),
        };
        let on_path = || self.scope.tools.find(base_name(named));
        !path.is_absolute()
            || private.is_plain_system(path)
            || path.starts_with(private.project)
            || on_path().is_some_and(|found| found.path == path || found.real == path)
    }

    /// Identifies the interpreter named in a first line; `None` if it does not exist.
    fn interpreter(&self, named: &str, depth: u32) -> Option<Behind> {
        let program = match named.starts_with('/') {
            true => self
                .scope
                .tools
                .at(base_name(named), PathBuf::from(named))?,
            false => self.scope.tools.find(named)?,
        };
        let mut behind = self.at_depth(&program, depth + 1);
        if !Rule::Interpreter.holds() {
            behind.identity = Digest::of(b"");
        }
        Some(behind)
    }

    /// The first line of a script, memoised by its content; `None` for a binary.
    fn first_line(&self, program: &Program) -> std::io::Result<Option<String>> {
        let facts = self.scope.facts;
        facts.derive("first-line/1", program.digest, || head(&program.real))
    }
}

/// The identity of a binary: it can load or start everything that was installed with it. System directories are not
/// included, as for every program.
///
/// # Errors
/// Why that cannot be told.
pub(crate) fn binary_identity(scope: &Scope<'_>, program: &Program) -> Result<Digest, String> {
    let home = scope.home();
    let private = Private {
        project: scope.snapshot.root(),
        store: scope.tools.memo_folder(),
        home: home.as_deref(),
    };
    let places = [&program.path, &program.real];
    if !Rule::Neighbours.holds() || places.iter().all(|path| private.is_plain_system(path)) {
        return Ok(program.digest);
    }
    let folders = places.iter().filter_map(|path| private.installation(path));
    let folders: Vec<PathBuf> = folders.collect::<BTreeSet<_>>().into_iter().collect();
    let Some(folder) = folders.first() else {
        return Ok(program.digest);
    };
    match scope.tools.content_up_to(&folders, MOST_FILES) {
        Ok(content) => Ok(Digest::combined([&program.digest, &content])),
        Err(error) => Err(format!(
            "cannot tell what `{}` loads from `{}`: {error}",
            program.name,
            folder.shown()
        )),
    }
}

fn of_toolchain(name: &str, toolchain: &crate::tool::rustup::Toolchain) -> Result<Behind, String> {
    let behind = |path: &Path| Behind {
        path: path.to_path_buf(),
        identity: toolchain.identity,
        needs: Vec::new(),
        hidden: None,
        is_script: false,
    };
    let path = toolchain
        .program(name)
        .ok_or_else(|| "the toolchain has no such program".to_owned())?;
    let others = toolchain.programs().filter(|(other, _)| *other != name);
    Ok(Behind {
        needs: others
            .map(|(other, path)| (other.to_owned(), behind(path)))
            .collect(),
        ..behind(path)
    })
}

fn head(path: &Path) -> std::io::Result<Option<String>> {
    let bytes = crate::fs::head(path, SHEBANG_LIMIT)?;
    let line = String::from_utf8_lossy(&bytes);
    Ok(line
        .starts_with("#!")
        .then(|| line.lines().next().unwrap_or_default().to_owned()))
}

/// The last component of a path, or the name itself.
#[must_use]
pub(crate) fn base_name(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}

fn is_node(interpreter: &str) -> bool {
    matches!(base_name(interpreter), "node" | "nodejs")
}

/// The program in `#!/bin/sh -e` (an absolute path) or `#!/usr/bin/env -S bash -e` (a name).
#[must_use]
pub(crate) fn shebang(text: &str) -> Option<String> {
    let end = text.floor_char_boundary(SHEBANG_LIMIT);
    let line = text[..end].strip_prefix("#!")?.lines().next()?;
    let mut words = line.split_whitespace();
    let program = words.next()?;
    if !program.starts_with('/') {
        return None;
    }
    if !program.ends_with("/env") {
        return Some(program.to_owned());
    }
    while let Some(word) = words.next() {
        match word {
            // These take an argument.
            "-u" | "-C" | "--unset" | "--chdir" => drop(words.next()),
            _ => match word.strip_prefix("-S").or(word.strip_prefix("-vS")) {
                Some("") => {}
                Some(program) => return Some(program.to_owned()),
                None if word.starts_with('-') || word.contains('=') => {}
                None => return Some(word.to_owned()),
            },
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::project::Project;

    #[test]
    fn the_first_line_names_the_interpreter() {
        for (text, expect) in [
            ("#!/bin/sh\n", Some("/bin/sh")),
            ("#! /bin/sh -e\r\necho", Some("/bin/sh")),
            ("#!/usr/bin/env bash", Some("bash")),
            ("#!/usr/bin/env -S A=1 python3 -u\n", Some("python3")),
            ("#!/usr/bin/env -Sbash -e\n", Some("bash")),
            ("#!/usr/bin/env -u A bash\n", Some("bash")),
            ("#!/usr/bin/env", None),
            ("#!sh", None),
            ("echo", None),
            ("", None),
        ] {
            assert_eq!(shebang(text).as_deref(), expect, "{text}");
        }
    }

    #[test]
    fn what_is_behind_scripts_and_shims_is_not_stored() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let project = Project::new(&[]);
        let scope = project.scope();
        let reason = |name: &str, file: &str, content: &[u8]| {
            let real = folder.path().join(file);
            std::fs::write(&real, content).expect("written");
            let program = Program {
                name: name.to_owned(),
                path: real.clone(),
                real,
                digest: Digest::of(content),
            };
            let identify = Identify {
                scope: &scope,
                dir: &RelPath::root(),
            };
            identify.behind(&program).hidden
        };
        assert_eq!(reason("grep", "grep", b"\x7fELF"), None);
        assert_eq!(reason("sh", "busybox", b"\x7fELF2"), None);
        assert!(reason("cargo", "rustup", b"\x7fELF3").is_some_and(|r| r.contains("rustup proxy")));
        assert!(reason("pyenv", "pyenv", b"#!/bin/sh").is_some_and(|r| r.contains("script")));
    }

    #[test]
    fn two_programs_of_one_name_are_both_in_the_identity() {
        let digests = [Digest::of(b"a"), Digest::of(b"b")];
        let identity = |digests: &[Digest]| {
            let mut found = Found::default();
            for digest in digests {
                found.insert("sh", "/bin/sh".into(), *digest);
            }
            match found.into_tools().pop() {
                Some(Tool::Host { identity, .. }) => Some(identity),
                _ => None,
            }
        };
        assert_eq!(identity(&[digests[0], digests[0]]), Some(digests[0]));
        assert_ne!(identity(&digests), identity(&digests[..1]));
    }

    proptest! {
        #[test]
        fn arbitrary_first_lines_never_panic(bytes in any::<Vec<u8>>(), tail in ".*") {
            let _ = shebang(&String::from_utf8_lossy(&bytes));
            let _ = shebang(&format!("#!/usr/bin/env {tail}"));
        }
    }
}
