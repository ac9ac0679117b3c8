//! What stands behind a program of the host: which file really runs, what decides what it does, and what it needs on
//! its PATH.
//!
//! | it is | identity | needs |
//! |---|---|---|
//! | a shim of pyenv, asdf, mise, volta, a proxy of rustup | that of the program it would run in the folder | |
//! | a program of a Rust toolchain behind a proxy | the toolchain's | its other programs |
//! | a binary | its content | |
//! | a Python interpreter | binary, version, all that is installed for it, by content | |
//! | a Python entry point (also one of pipx) | script, interpreter, what is installed, its packages by content | |
//! | a script of a package in `node_modules` | script, its packages by content | Node |
//! | any other script | its content, and it is not stored: what it starts or loads cannot be told | its interpreter |
//!
//! Stays free of running checks.

use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::path::RelPath;
use crate::rule::Rule;
use crate::scope::Scope;
use crate::tool::Program;
use crate::tool::shims::{Asker, Leads, follow};

use super::cargo::behind_proxy;
use crate::provision::node;
use crate::provision::python::installed::{Environment, is_python};

/// A longer first line than Linux reads is no interpreter line.
const SHEBANG_LIMIT: usize = 256;

/// Interpreters of interpreters, shims behind shims: more than these are a circle.
const DEPTH: u32 = 4;

/// Files that stand in for other programs; which one they start depends on more than the file.
const STAND_INS: &[&str] = &["rustup", "mise", "volta-shim", "proto-shim", "asdf"];

/// What a program is.
#[derive(Debug, Clone)]
pub(crate) struct Behind {
    /// What to run.
    pub(crate) path: PathBuf,
    /// What decides what it does.
    pub(crate) identity: Digest,
    /// What it needs on its PATH, by name.
    pub(crate) needs: Vec<(String, Behind)>,
    /// Why its identity does not tell what it does, if so: results must not be stored.
    pub(crate) hidden: Option<String>,
}

impl Behind {
    fn plain(program: &Program) -> Self {
        Self {
            path: program.path.clone(),
            identity: program.digest,
            needs: Vec::new(),
            hidden: None,
        }
    }

    fn hidden(program: &Program, why: String) -> Self {
        Self {
            hidden: Rule::HiddenTools.holds().then_some(why),
            ..Self::plain(program)
        }
    }
}

/// Looks a name up on the user's PATH.
pub(crate) type Find<'a> = &'a dyn Fn(&str) -> Option<Program>;

/// Tells what programs are, for one folder.
pub(crate) struct Identify<'a> {
    /// The project and the host.
    pub(crate) scope: &'a Scope<'a>,
    /// The folder they will run in.
    pub(crate) dir: &'a RelPath,
    /// Looks a name up.
    pub(crate) find: Find<'a>,
}

impl Identify<'_> {
    /// What stands behind `program`.
    #[must_use]
    pub(crate) fn behind(&self, program: &Program) -> Behind {
        self.at_depth(program, 0)
    }

    fn at_depth(&self, program: &Program, depth: u32) -> Behind {
        let name = &program.name;
        if depth > DEPTH {
            return Behind::hidden(program, format!("`{name}` leads in circles"));
        }
        if let Some(toolchain) = behind_proxy(self.scope, program, self.dir) {
            let found = toolchain.and_then(|toolchain| of_toolchain(name, &toolchain));
            return found.unwrap_or_else(|why| {
                let why = format!("`{name}` is a shim of rustup: {why}");
                Behind::hidden(program, why)
            });
        }
        let folder = self.dir.under(self.scope.snapshot.root());
        let asker = Asker {
            tools: self.scope.tools,
            facts: self.scope.facts,
            env: self.scope.env,
            dir: &folder,
        };
        match follow(&asker, program) {
            Leads::Nowhere => {}
            Leads::Unknown(why) => return Behind::hidden(program, why),
            Leads::To(path) => {
                return match self.scope.tools.at(name, path) {
                    Some(real) => self.at_depth(&real, depth + 1),
                    None => Behind::hidden(program, format!("what `{name}` runs is not there")),
                };
            }
        }
        let real = program.real.file_name().and_then(|name| name.to_str());
        if let Some(real) = real
            && real != name
            && STAND_INS.contains(&real)
        {
            let why =
                format!("`{name}` is a shim of {real}, which program it starts cannot be told");
            return Behind::hidden(program, why);
        }
        match self.first_line(program) {
            Err(error) => Behind::hidden(program, format!("`{name}` cannot be read: {error}")),
            Ok(Some(line)) => self.script(program, &line, depth),
            Ok(None) if is_python(&program.path) => self.python(program),
            Ok(None) => Behind::plain(program),
        }
    }

    /// A Python interpreter: what runs on it can import all that is installed.
    fn python(&self, program: &Program) -> Behind {
        let environment = Environment::around(self.scope, program.path.clone());
        match environment.and_then(|environment| environment.whole_identity(self.scope)) {
            Some(identity) => Behind {
                identity,
                ..Behind::plain(program)
            },
            None => {
                let why = format!(
                    "what is installed for `{}` cannot be told (does it hold editable packages, or share those of another environment?)",
                    program.path.display()
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
        let cannot = || format!("`{name}` is a script, what it uses cannot be told");
        let Some(interpreter) = shebang(line) else {
            return Behind::hidden(program, cannot());
        };
        let mut found = match node::identity(self.scope, program) {
            Ok(Some(identity)) if is_node(&interpreter) => Behind {
                identity,
                ..Behind::plain(program)
            },
            Ok(_) => Behind::hidden(program, cannot()),
            Err(why) => Behind::hidden(program, format!("`{name}` of Node: {why}")),
        };
        if let Some(behind) = self.interpreter(&interpreter, depth) {
            found.identity = Digest::combined([&found.identity, &behind.identity]);
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

    /// What stands behind the interpreter that a first line names; `None` if it is not there.
    #[must_use]
    pub(crate) fn interpreter(&self, named: &str, depth: u32) -> Option<Behind> {
        let program = match named.starts_with('/') {
            true => self
                .scope
                .tools
                .at(base_name(named), PathBuf::from(named))?,
            false => (self.find)(named)?,
        };
        let mut behind = self.at_depth(&program, depth + 1);
        if !Rule::Interpreter.holds() {
            behind.identity = Digest::of(b"");
        }
        Some(behind)
    }

    /// The first line of a script, remembered by its content; `None` for a binary.
    fn first_line(&self, program: &Program) -> std::io::Result<Option<String>> {
        let facts = self.scope.facts;
        facts.derive("first-line/1", program.digest, || head(&program.real))
    }
}

fn of_toolchain(name: &str, toolchain: &crate::tool::rustup::Toolchain) -> Result<Behind, String> {
    let behind = |path: &Path| Behind {
        path: path.to_path_buf(),
        identity: toolchain.identity,
        needs: Vec::new(),
        hidden: None,
    };
    let path = toolchain
        .program(name)
        .ok_or_else(|| format!("which program rustup starts for `{name}` cannot be told"))?;
    let others = toolchain.programs().filter(|(other, _)| *other != name);
    Ok(Behind {
        needs: others
            .map(|(other, path)| (other.to_owned(), behind(path)))
            .collect(),
        ..behind(path)
    })
}

fn head(path: &Path) -> std::io::Result<Option<String>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    file.take(SHEBANG_LIMIT as u64).read_to_end(&mut bytes)?;
    let line = String::from_utf8_lossy(&bytes);
    Ok(line
        .starts_with("#!")
        .then(|| line.lines().next().unwrap_or_default().to_owned()))
}

/// The last part of a path, or the name itself.
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
            // These take the next word.
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
                find: &|_| None,
            };
            identify.behind(&program).hidden
        };
        assert_eq!(reason("grep", "grep", b"\x7fELF"), None);
        assert_eq!(reason("sh", "busybox", b"\x7fELF2"), None);
        assert!(reason("cargo", "rustup", b"\x7fELF3").is_some_and(|r| r.contains("shim")));
        assert!(reason("pyenv", "pyenv", b"#!/bin/sh").is_some_and(|r| r.contains("script")));
    }

    proptest! {
        #[test]
        fn arbitrary_first_lines_never_panic(bytes in any::<Vec<u8>>(), tail in ".*") {
            let _ = shebang(&String::from_utf8_lossy(&bytes));
            let _ = shebang(&format!("#!/usr/bin/env {tail}"));
        }
    }
}
