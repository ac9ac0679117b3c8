//! Version managers: which program their shim runs in a folder.
//!
//! | manager | shims are | asked with | decided by |
//! |---|---|---|---|
//! | pyenv | scripts in `ROOT/shims` that say `exec "…/pyenv" exec` | `pyenv which NAME` | `.python-version` upwards, `ROOT/version`, `PYENV_*` |
//! | asdf | scripts in `ROOT/shims` that say `asdf exec` | `asdf which NAME` | `.tool-versions` and legacy files upwards and at home, `ASDF_*` |
//! | mise | links to `mise` | `mise which NAME` | its configuration files upwards, at home and in `/etc`, `MISE_*` |
//! | volta | links to `volta-shim` in `VOLTA_HOME/bin` | `volta which NAME` | `package.json` upwards, `VOLTA_HOME/tools/user`, `VOLTA_*` |
//!
//! A manager is asked once; its answer is remembered under the digest of the shim, the manager and everything that
//! decides, what is installed included. rustup's proxies are followed without asking (see [`super::rustup`]).
//! Stays free of knowing what the programs are for.

use std::io;
use std::path::{Path, PathBuf};

use super::{Program, Tools};
use crate::digest::{Digest, Hasher};
use crate::env::{self, Env};
use crate::facts::Facts;
use crate::process;
use crate::rule::Rule;

/// Shims are short; what is larger is none.
const MAX_SHIM: u64 = 64 * 1024;

/// What is known of a manager.
struct Manager {
    name: &'static str,
    /// Variables with this beginning decide.
    variables: &'static str,
    /// So do files with these names in the folder and all above it.
    files: &'static [&'static str],
    /// And these below the manager's root.
    in_root: &'static [&'static str],
    /// And these below the home folder.
    at_home: &'static [&'static str],
    /// Folders below the root whose entries, and how many levels of them, are what is installed.
    installed: &'static [(&'static str, usize)],
}

const PYENV: Manager = Manager {
    name: "pyenv",
    variables: "PYENV_",
    files: &[".python-version"],
    in_root: &["version"],
    at_home: &[],
    installed: &[("versions", 1), ("plugins", 1)],
};

const ASDF: Manager = Manager {
    name: "asdf",
    variables: "ASDF_",
    files: &[
        ".tool-versions",
        ".python-version",
        ".node-version",
        ".nvmrc",
        ".ruby-version",
    ],
    in_root: &[],
    at_home: &[".tool-versions", ".asdfrc"],
    installed: &[("installs", 2), ("plugins", 1)],
};

const MISE: Manager = Manager {
    name: "mise",
    variables: "MISE_",
    files: &[
        "mise.toml",
        "mise.local.toml",
        ".mise.toml",
        ".mise.local.toml",
        "mise/config.toml",
        "mise/config.local.toml",
        ".mise/config.toml",
        ".mise/config.local.toml",
        ".config/mise.toml",
        ".config/mise/config.toml",
        ".tool-versions",
        ".python-version",
        ".node-version",
        ".nvmrc",
        ".ruby-version",
        ".go-version",
        "/etc/mise/config.toml",
    ],
    in_root: &[],
    at_home: &[
        ".tool-versions",
        ".config/mise/config.toml",
        ".config/mise/config.local.toml",
        ".config/mise/settings.toml",
        ".local/state/mise/trusted-configs",
    ],
    installed: &[("installs", 2)],
};

const VOLTA: Manager = Manager {
    name: "volta",
    variables: "VOLTA_",
    files: &["package.json"],
    in_root: &["tools/user/platform.json", "hooks.json"],
    at_home: &[],
    installed: &[
        ("tools/image", 2),
        ("tools/user/bins", 1),
        ("tools/user/packages", 1),
    ],
};

/// What asking looks at.
pub(crate) struct Asker<'a> {
    /// The host's programs.
    pub(crate) tools: &'a Tools,
    /// Remembered answers.
    pub(crate) facts: &'a Facts,
    /// The user's environment.
    pub(crate) env: &'a Env,
    /// The folder the program is to be run in; absolute.
    pub(crate) dir: &'a Path,
}

/// What a program found on PATH leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Leads {
    /// It is no shim of a manager known here.
    Nowhere,
    /// This is the program it runs.
    To(PathBuf),
    /// It is a shim, but its manager does not say; holds why.
    Unknown(String),
}

/// Follows a shim.
#[must_use]
pub(crate) fn follow(asker: &Asker<'_>, program: &Program) -> Leads {
    let Some((manager, binary)) = manager_of(asker, program) else {
        return Leads::Nowhere;
    };
    let Some(binary) = binary else {
        return Leads::Unknown(format!(
            "`{}` is a shim of {}, which is not on PATH",
            program.name, manager.name
        ));
    };
    match ask(asker, &manager, &binary, program) {
        Ok(path) => Leads::To(path),
        Err(error) => Leads::Unknown(format!(
            "`{}` is a shim of {}, which does not say what it runs: {error}",
            program.name, manager.name
        )),
    }
}

/// The manager whose shim the program is, and its program.
fn manager_of(asker: &Asker<'_>, program: &Program) -> Option<(Manager, Option<PathBuf>)> {
    let real = program.real.file_name()?.to_str()?;
    if real == program.name {
        return in_shims(asker, program);
    }
    match real {
        "mise" => Some((MISE, Some(program.real.clone()))),
        "volta-shim" => {
            let beside = program.real.with_file_name("volta");
            let binary = beside.is_file().then_some(beside);
            Some((VOLTA, binary.or_else(|| on_path(asker, "volta"))))
        }
        _ => in_shims(asker, program),
    }
}

/// A script in a folder called `shims`.
fn in_shims(asker: &Asker<'_>, program: &Program) -> Option<(Manager, Option<PathBuf>)> {
    let folder = program.path.parent()?;
    if folder.file_name()? != "shims" {
        return None;
    }
    if std::fs::metadata(&program.real).ok()?.len() > MAX_SHIM {
        return None;
    }
    let text = String::from_utf8(std::fs::read(&program.real).ok()?).ok()?;
    if !text.starts_with("#!") {
        return None;
    }
    for manager in [PYENV, ASDF] {
        if let Some(named) = executed(&text, manager.name) {
            let binary = if named.is_absolute() {
                named.is_file().then_some(named)
            } else {
                on_path(asker, manager.name)
            };
            return Some((manager, binary));
        }
    }
    None
}

fn on_path(asker: &Asker<'_>, name: &str) -> Option<PathBuf> {
    asker.tools.find(name).map(|program| program.path)
}

/// The program in the line `exec "/root/libexec/pyenv" exec …` of a script.
fn executed(text: &str, name: &str) -> Option<PathBuf> {
    text.lines().find_map(|line| {
        let rest = line.trim_start().strip_prefix("exec ")?.trim_start();
        let (program, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest.split_once(' ')?,
        };
        let path = Path::new(program);
        let fits = path.file_name()? == name && rest.trim_start().starts_with("exec");
        fits.then(|| path.to_path_buf())
    })
}

/// What the manager says, if that is an executable file.
fn ask(
    asker: &Asker<'_>,
    manager: &Manager,
    binary: &Path,
    program: &Program,
) -> io::Result<PathBuf> {
    let key = deciding(asker, manager, binary, program)?;
    let said = asker.facts.derive("shim-leads-to/1", key, || {
        let args = ["which", &program.name];
        let output = process::capture(binary, &args, asker.dir, asker.env, &[])?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if !output.status.success() {
            let why = text(&output.stderr);
            let first = why.lines().next().unwrap_or("it failed").to_owned();
            return Err(io::Error::other(first));
        }
        Ok(text(&output.stdout))
    })?;
    let path = PathBuf::from(&said);
    if !path.is_absolute() || !path.is_file() {
        return Err(io::Error::other(format!("`{said}` is no program")));
    }
    if path.canonicalize()? == program.real {
        return Err(io::Error::other("itself"));
    }
    Ok(path)
}

/// The digest of everything that decides where the shim leads.
fn deciding(
    asker: &Asker<'_>,
    manager: &Manager,
    binary: &Path,
    program: &Program,
) -> io::Result<Digest> {
    let mut hasher = Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    for path in [&program.path, binary, asker.dir] {
        part(path.as_os_str().as_encoded_bytes());
    }
    part(program.digest.as_bytes());
    part(asker.tools.digest(&binary.canonicalize()?)?.as_bytes());
    if !Rule::Shims.holds() {
        return Ok(hasher.finish());
    }
    for (name, value) in asker.env.all() {
        let decides = name.to_str().is_some_and(|name| {
            name.starts_with(manager.variables) || [env::HOME, env::PATH].contains(&name)
        });
        if decides {
            part(name.as_encoded_bytes());
            part(value.as_encoded_bytes());
        }
    }
    for path in files(asker, manager, program) {
        // Settled stats would be remembered for each folder above; these are few and small.
        match std::fs::read(&path) {
            Ok(bytes) => part(Digest::of(&bytes).as_bytes()),
            Err(_) => part(b"absent"),
        }
    }
    let root = root(program);
    for (folder, levels) in manager.installed {
        for name in listed(&root.join(folder), *levels) {
            part(name.as_os_str().as_encoded_bytes());
            // A version may lack this program.
            part(&[u8::from(name.join("bin").join(&program.name).exists())]);
        }
    }
    Ok(hasher.finish())
}

/// The folder above `shims` or `bin`.
fn root(program: &Program) -> &Path {
    let folder = program.path.parent().unwrap_or(&program.path);
    folder.parent().unwrap_or(folder)
}

fn files(asker: &Asker<'_>, manager: &Manager, program: &Program) -> Vec<PathBuf> {
    let above = asker
        .dir
        .ancestors()
        .flat_map(|folder| manager.files.iter().map(|name| folder.join(name)));
    let root = root(program);
    let in_root = manager.in_root.iter().map(|name| root.join(name));
    let home = asker.env.path(env::HOME);
    let at_home = home
        .iter()
        .flat_map(|home| manager.at_home.iter().map(|name| home.join(name)));
    above.chain(in_root).chain(at_home).collect()
}

/// The entries of a folder, and of these, down to so many levels; sorted.
fn listed(folder: &Path, levels: usize) -> Vec<PathBuf> {
    let Ok(read) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut found: Vec<PathBuf> = read.flatten().map(|entry| entry.path()).collect();
    found.sort_unstable();
    if levels > 1 {
        let inner: Vec<PathBuf> = found
            .iter()
            .flat_map(|entry| listed(entry, levels - 1))
            .collect();
        found.extend(inner);
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shims_name_their_manager() {
        let of = |text: &str, name: &str| executed(text, name).map(|p| p.display().to_string());
        let pyenv = "#!/usr/bin/env bash\nexport PYENV_ROOT=\"/r\"\nexec \"/r/libexec/pyenv\" exec \"$program\" \"$@\"\n";
        assert_eq!(of(pyenv, "pyenv").as_deref(), Some("/r/libexec/pyenv"));
        assert_eq!(of(pyenv, "asdf"), None);
        let asdf = "#!/usr/bin/env bash\n# asdf-plugin: nodejs 20.1.0\nexec /home/u/.asdf/bin/asdf exec \"node\" \"$@\" # asdf_allow: ' asdf '\n";
        assert_eq!(of(asdf, "asdf").as_deref(), Some("/home/u/.asdf/bin/asdf"));
        let newer = "#!/usr/bin/env bash\nexec asdf exec \"node\" \"$@\"\n";
        assert_eq!(of(newer, "asdf").as_deref(), Some("asdf"));
        for text in [
            "exec pyenv version\n",
            "pyenv exec x\n",
            "exec\n",
            "exec \"pyenv\n",
        ] {
            assert_eq!(of(text, "pyenv"), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_shims_never_panic(text in "(exec |\"|pyenv|\\n|\\PC){0,40}") {
            let _ = executed(&text, "pyenv");
        }
    }
}
