//! Launchers: programs that only start another one. Lists them, and determines what they start in a folder.
//!
//! | launcher | recognised by | what it starts |
//! |---|---|---|
//! | rustup | links to it, copies of it | a program of the toolchain (see [`super::rustup`]) |
//! | pyenv and its siblings | scripts that say `exec "…/pyenv" exec` | what `pyenv which NAME` answers |
//! | asdf | scripts that say `exec asdf exec`, links to `asdf` | what `asdf which NAME` answers |
//! | mise, volta | links to `mise` or `volta-shim` | what `mise which NAME` answers |
//! | ccache, distcc, icecc, sccache | links to them | the next NAME on PATH |
//! | snap, aqua, hermit, proto, corepack | links to them | unknown |
//!
//! This is the only list: any other program is what it is. A manager is asked once; its answer, even a failure, is
//! memoised by the digest of the shim, the manager and everything that decides, including what is installed. Does not
//! know what the programs are for.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use super::{Program, Tools, rustup};
use crate::digest::{Digest, Hasher};
use crate::env::{self, Env};
use crate::facts::Facts;
use crate::process;
use crate::rule::Rule;

/// Shims are short; larger files are not shims.
const MAX_SHIM: u64 = 64 * 1024;

/// A longer chain of launchers is a cycle.
const DEPTH: usize = 4;

struct Launcher {
    name: &'static str,
    /// The file its links lead to; empty if there are none.
    file: &'static str,
    starts: Starts,
}

/// What a launcher starts.
enum Starts {
    /// A program of the Rust toolchain chosen for the folder.
    OfToolchain,
    /// The program named by its manager.
    Chosen(Choice),
    /// The next program of this name on PATH.
    Next,
    /// Unknown.
    Unknown,
}

/// What decides the answer of a manager.
struct Choice {
    /// Variables with this prefix.
    variables: &'static str,
    /// Files with these names, in the folder and all its parents.
    files: &'static [&'static str],
    /// Files below the manager's root.
    in_root: &'static [&'static str],
    /// Files below the home directory.
    at_home: &'static [&'static str],
    /// Folders below the root, and the number of levels to list in them, to find what is installed.
    installed: &'static [(&'static str, usize)],
}

const LAUNCHERS: &[Launcher] = &[
    Launcher {
        name: "rustup",
        file: "rustup",
        starts: Starts::OfToolchain,
    },
    like_pyenv("pyenv", "PYENV_", &[".python-version"]),
    like_pyenv("rbenv", "RBENV_", &[".ruby-version"]),
    like_pyenv("nodenv", "NODENV_", &[".node-version"]),
    like_pyenv("goenv", "GOENV_", &[".go-version", "go.mod"]),
    like_pyenv("plenv", "PLENV_", &[".perl-version"]),
    like_pyenv("phpenv", "PHPENV_", &[".php-version"]),
    like_pyenv("jenv", "JENV_", &[".java-version"]),
    Launcher {
        name: "asdf",
        file: "asdf",
        starts: Starts::Chosen(ASDF),
    },
    Launcher {
        name: "mise",
        file: "mise",
        starts: Starts::Chosen(MISE),
    },
    Launcher {
        name: "volta",
        file: "volta-shim",
        starts: Starts::Chosen(VOLTA),
    },
    linked("ccache", "ccache", Starts::Next),
    linked("distcc", "distcc", Starts::Next),
    linked("icecc", "icecc", Starts::Next),
    linked("sccache", "sccache", Starts::Next),
    linked("snap", "snap", Starts::Unknown),
    linked("aqua", "aqua-proxy", Starts::Unknown),
    linked("hermit", "hermit", Starts::Unknown),
    linked("proto", "proto-shim", Starts::Unknown),
    linked("corepack", "corepack.js", Starts::Unknown),
];

const fn linked(name: &'static str, file: &'static str, starts: Starts) -> Launcher {
    Launcher { name, file, starts }
}

const fn like_pyenv(
    name: &'static str,
    variables: &'static str,
    files: &'static [&'static str],
) -> Launcher {
    let choice = Choice {
        variables,
        files,
        in_root: &["version"],
        at_home: &[],
        installed: &[("versions", 1), ("plugins", 1)],
    };
    linked(name, "", Starts::Chosen(choice))
}

const ASDF: Choice = Choice {
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

const MISE: Choice = Choice {
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

const VOLTA: Choice = Choice {
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

/// What following depends on.
pub(crate) struct Asker<'a> {
    pub(crate) tools: &'a Tools,
    pub(crate) facts: &'a Facts,
    pub(crate) env: &'a Env,
    /// The absolute folder of the project.
    pub(crate) root: &'a Path,
    /// The absolute folder the program is run in.
    pub(crate) dir: &'a Path,
}

/// A folder that holds nothing but files that choose versions, at the same distance as from the asker's. Programs are
/// queried there, because nothing is run in the project.
pub(crate) struct Likeness {
    pub(crate) dir: PathBuf,
    // Dropping it deletes the directory.
    _top: tempfile::TempDir,
}

impl Likeness {
    /// For programs that any manager may choose.
    pub(crate) fn of_all(asker: &Asker<'_>) -> io::Result<Self> {
        let choices = LAUNCHERS
            .iter()
            .filter_map(|launcher| match &launcher.starts {
                Starts::Chosen(choice) => Some(choice),
                _ => None,
            });
        Self::of(asker, &choices.collect::<Vec<_>>())
    }

    fn of(asker: &Asker<'_>, choices: &[&Choice]) -> io::Result<Self> {
        let names = choices.iter().flat_map(|choice| choice.files);
        let names: Vec<&str> = names
            .copied()
            .filter(|name| !name.starts_with('/'))
            .collect();
        let mut files = Vec::new();
        for (up, folder) in asker.dir.ancestors().enumerate() {
            for name in &names {
                if let Ok(text) = crate::fs::text(folder.join(name)) {
                    files.push((up, *name, versions_only(name, text)));
                }
            }
        }
        let top = tempfile::tempdir()?;
        let depth = files.iter().map(|(up, ..)| *up).max().unwrap_or(0);
        let dir = (0..depth).fold(top.path().canonicalize()?, |path, _| path.join("up"));
        std::fs::create_dir_all(&dir)?;
        for (up, name, text) in files {
            let place = dir.ancestors().nth(up).unwrap_or(&dir).join(name);
            if let Some(folder) = place.parent() {
                std::fs::create_dir_all(folder)?;
            }
            std::fs::write(place, text)?;
        }
        Ok(Self { dir, _top: top })
    }
}

/// The text without anything that could run: of a configuration of mise only the versions of tools.
fn versions_only(name: &str, text: String) -> String {
    if !name.ends_with(".toml") {
        return text;
    }
    let table: toml::Table = toml::from_str(&text).unwrap_or_default();
    let version = |value: &toml::Value| {
        let of_table = value.get("version").cloned();
        let value = of_table.unwrap_or_else(|| value.clone());
        let is_template = value.to_string().contains("{{");
        (!is_template && (value.is_str() || value.is_array())).then_some(value)
    };
    let tools = table.get("tools").and_then(toml::Value::as_table);
    let tools = tools.into_iter().flatten();
    let tools = tools.filter_map(|(name, value)| Some((name.clone(), version(value)?)));
    let tools = toml::Table::from_iter(tools);
    toml::Table::from_iter([("tools".to_owned(), tools.into())]).to_string()
}

/// What a program on PATH leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Leads {
    /// It is not a launcher.
    Itself,
    To(Program),
    /// A program of the same name in a Rust toolchain.
    OfToolchain,
    /// Unknown; holds the reason.
    Unknown(String),
}

/// Follows a program to the one that really runs.
#[must_use]
pub(crate) fn follow(asker: &Asker<'_>, program: &Program) -> Leads {
    let mut at = program.clone();
    for hop in 0..DEPTH {
        let Some((launcher, manager)) = launcher_of(asker, &at) else {
            return if hop == 0 {
                Leads::Itself
            } else {
                Leads::To(at)
            };
        };
        let next = match &launcher.starts {
            Starts::OfToolchain => return Leads::OfToolchain,
            Starts::Chosen(choice) => ask(asker, launcher, choice, manager.as_deref(), &at),
            Starts::Next => next_on_path(asker, launcher, &at),
            Starts::Unknown => Err("it cannot be queried".to_owned()),
        };
        match next {
            Ok(next) => at = next,
            Err(why) => {
                return Leads::Unknown(format!(
                    "cannot tell which program the {} shim `{}` runs: {why}",
                    launcher.name, at.name
                ));
            }
        }
    }
    Leads::Unknown(format!("`{}` starts itself", program.name))
}

/// The programs of this name that the shim's manager has installed, newest first, whichever it would run.
#[must_use]
pub(crate) fn installed(asker: &Asker<'_>, program: &Program) -> Vec<PathBuf> {
    let Some((launcher, _)) = launcher_of(asker, program) else {
        return Vec::new();
    };
    let Starts::Chosen(choice) = &launcher.starts else {
        return Vec::new();
    };
    let root = root(program);
    let folders = choice.installed.iter().take(1);
    let mut found: Vec<PathBuf> = folders
        .flat_map(|(folder, levels)| listed(&root.join(folder), *levels))
        .map(|version| version.join("bin").join(&program.name))
        .filter(|path| path.is_file())
        .collect();
    found.sort_by_cached_key(|path| std::cmp::Reverse(numbers(path)));
    found
}

/// The numbers in a path, so that `3.9` sorts before `3.12`.
fn numbers(path: &Path) -> Vec<u64> {
    let text = path.to_string_lossy();
    let digits = text.split(|c: char| !c.is_ascii_digit());
    digits.filter_map(|number| number.parse().ok()).collect()
}

/// Everything that decides where unlisted launchers may lead in a folder: the same as for listed ones.
#[must_use]
pub(crate) fn surroundings(asker: &Asker<'_>) -> Digest {
    let mut hasher = Hasher::new();
    for launcher in LAUNCHERS {
        if let Starts::Chosen(choice) = &launcher.starts {
            hash_choice(asker, choice, None, &mut hasher);
        }
    }
    hasher.finish()
}

/// The launcher that a program is, and its manager's program if it exists.
fn launcher_of(
    asker: &Asker<'_>,
    program: &Program,
) -> Option<(&'static Launcher, Option<PathBuf>)> {
    let file = program.real.file_name()?.to_str()?;
    let named = |name: &str| LAUNCHERS.iter().find(|launcher| launcher.name == name);
    if rustup::is_proxy(asker.tools, asker.env, program) {
        return Some((named("rustup")?, None));
    }
    if program
        .real
        .components()
        .any(|part| part.as_os_str() == "corepack")
    {
        return Some((named("corepack")?, None));
    }
    let linked = LAUNCHERS.iter().find(|launcher| launcher.file == file);
    match linked.filter(|_| file != program.name) {
        Some(launcher) if launcher.file == launcher.name => {
            Some((launcher, Some(program.real.clone())))
        }
        Some(launcher) => {
            let beside = program.real.with_file_name(launcher.name);
            let manager = beside.is_file().then_some(beside);
            Some((launcher, manager.or_else(|| on_path(asker, launcher.name))))
        }
        None => in_shims(asker, program),
    }
}

/// Recognises scripts in a folder named `shims`.
fn in_shims(asker: &Asker<'_>, program: &Program) -> Option<(&'static Launcher, Option<PathBuf>)> {
    if program.real.parent()?.file_name()? != "shims" {
        return None;
    }
    if std::fs::metadata(&program.real).ok()?.len() > MAX_SHIM {
        return None;
    }
    let text = String::from_utf8(crate::fs::read(&program.real).ok()?).ok()?;
    if !text.starts_with("#!") {
        return None;
    }
    LAUNCHERS.iter().find_map(|launcher| {
        let named = executed(&text, launcher.name)?;
        let manager = if named.is_absolute() {
            named.is_file().then_some(named)
        } else {
            on_path(asker, launcher.name)
        };
        Some((launcher, manager))
    })
}

fn on_path(asker: &Asker<'_>, name: &str) -> Option<PathBuf> {
    asker.tools.find(name).map(|program| program.path)
}

/// The first program of this name on PATH that is not the launcher.
fn next_on_path(
    asker: &Asker<'_>,
    launcher: &Launcher,
    program: &Program,
) -> Result<Program, String> {
    let is_other = |path: &PathBuf| {
        let real = path.canonicalize().ok();
        real.is_some_and(|real| real.file_name() != Some(OsStr::new(launcher.file)))
    };
    let mut others = asker.tools.candidates(&program.name).filter(is_other);
    let next = others.next();
    next.and_then(|path| asker.tools.at(&program.name, path))
        .ok_or_else(|| "no other program of this name is on PATH".to_owned())
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

/// The manager's answer, if it is an executable file.
fn ask(
    asker: &Asker<'_>,
    launcher: &Launcher,
    choice: &Choice,
    manager: Option<&Path>,
    program: &Program,
) -> Result<Program, String> {
    let manager = manager.ok_or("its manager is not on PATH")?;
    answer(asker, choice, manager, program)
        .unwrap_or_else(|error| Err(error.to_string()))
        .and_then(|path| {
            let found = asker.tools.at(&program.name, PathBuf::from(&path));
            let found = found.filter(|found| found.real != program.real);
            let found = found.ok_or_else(|| {
                format!("{} names `{path}`, which is not a program", launcher.name)
            })?;
            if found.real.starts_with(asker.root) {
                return Err(format!(
                    "{} names `{path}`, which is in the project",
                    launcher.name
                ));
            }
            Ok(found)
        })
}

/// The manager's answer: a path or an error. Both are memoised.
fn answer(
    asker: &Asker<'_>,
    choice: &Choice,
    manager: &Path,
    program: &Program,
) -> io::Result<Result<String, String>> {
    let mut hasher = Hasher::new();
    for path in [&program.path, manager, asker.dir] {
        hasher.part(path.as_os_str().as_encoded_bytes());
    }
    let manager_digest = asker.tools.digest(&manager.canonicalize()?)?;
    hasher.part(program.digest.as_bytes());
    hasher.part(manager_digest.as_bytes());
    if Rule::Shims.holds() {
        hash_choice(asker, choice, Some(program), &mut hasher);
    }
    asker.facts.derive("shim-leads-to/3", hasher.finish(), || {
        let args = ["which", &program.name];
        let folder = Likeness::of(asker, &[choice])?;
        let output = process::capture(manager, &args, &folder.dir, asker.env, &[])?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        Ok(match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => {
                let why = text(&output.stderr);
                Err(why
                    .lines()
                    .next()
                    .unwrap_or("its manager failed without a message")
                    .to_owned())
            }
        })
    })
}

/// Hashes everything that decides where a manager's shims lead; for a given shim, also what is installed.
fn hash_choice(asker: &Asker<'_>, choice: &Choice, program: Option<&Program>, hasher: &mut Hasher) {
    for (name, value) in asker.env.all() {
        let decides = name.to_str().is_some_and(|name| {
            name.starts_with(choice.variables) || [env::HOME, env::PATH].contains(&name)
        });
        if decides {
            hasher.part(name.as_encoded_bytes());
            hasher.part(value.as_encoded_bytes());
        }
    }
    let root = program.map(root);
    let above = asker.dir.ancestors();
    let above = above.flat_map(|folder| choice.files.iter().map(|name| folder.join(name)));
    let home = asker.env.path(env::HOME);
    let below = [(&root, choice.in_root), (&home, choice.at_home)];
    let below = below.into_iter().flat_map(|(folder, names)| {
        let folder = folder.iter();
        folder.flat_map(|folder| names.iter().map(|name| folder.join(name)))
    });
    for path in above.chain(below) {
        // Not memoised by stat: these files are few and small, and there would be an entry for every parent folder.
        match crate::fs::read(&path) {
            Ok(bytes) => hasher.part(Digest::of(&bytes).as_bytes()),
            Err(_) => hasher.part(b"absent"),
        }
    }
    let Some((program, root)) = program.zip(root) else {
        return;
    };
    for (folder, levels) in choice.installed {
        for name in listed(&root.join(folder), *levels) {
            hasher.part(name.as_os_str().as_encoded_bytes());
            // A version may not have this program.
            let there = name.join("bin").join(&program.name).exists();
            hasher.part(&[u8::from(there)]);
        }
    }
}

/// The folder above the shim's, which other links may lead to.
fn root(program: &Program) -> PathBuf {
    let next = |link: &PathBuf| Some(link.parent()?.join(std::fs::read_link(link).ok()?));
    let mut hops = std::iter::successors(Some(program.path.clone()), next).take(DEPTH);
    let in_shims = |hop: &PathBuf| hop.parent().is_some_and(|dir| dir.ends_with("shims"));
    let shim = hops.find(in_shims).unwrap_or_else(|| program.path.clone());
    shim.ancestors().nth(2).unwrap_or(&shim).to_path_buf()
}

/// The entries of a folder, sorted, descending so many levels.
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
    fn of_a_configuration_only_versions_are_left() {
        let text = "[env]\nA = \"{{exec(command='x')}}\"\n[hooks]\nenter = \"x\"\n[tools]\npython = \"3.12\"\n\
            node = { version = \"22\", postinstall = \"x\" }\ngo = \"{{exec(command='x')}}\"\n";
        let left = versions_only("mise.toml", text.to_owned());
        assert_eq!(left, "[tools]\nnode = \"22\"\npython = \"3.12\"\n");
        assert_eq!(versions_only(".tool-versions", "x 1".to_owned()), "x 1");
    }

    #[test]
    fn shims_name_their_manager() {
        let of =
            |text: &str, name: &str| executed(text, name).map(|p| p.to_string_lossy().into_owned());
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
