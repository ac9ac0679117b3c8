//! The Rust toolchain used in a folder: what `cargo` and its siblings on PATH really run.
//!
//! If PATH leads to a rustup proxy, rustup's own rules apply: the user's RUSTUP_TOOLCHAIN, then the overrides and
//! `rust-toolchain` files from the folder upwards, then the default
//! (<https://rust-lang.github.io/rustup/overrides.html>). Nothing is ever installed. Otherwise the programs on PATH
//! are the toolchain. Does not know what the programs are for.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::digest::{Digest, Hasher};
use crate::env::{self, Env};
use crate::facts::Facts;
use crate::tool::{Program, Tools};
use crate::visible::Shown as _;

/// The programs of a toolchain, each optional.
const PROGRAMS: &[&str] = &[
    "cargo",
    "cargo-clippy",
    "cargo-fmt",
    "clippy-driver",
    "rustc",
    "rustdoc",
    "rustfmt",
];

/// Further programs with rustup proxies.
const OTHER_PROXIES: &[&str] = &[
    "cargo-miri",
    "rls",
    "rust-analyzer",
    "rust-gdb",
    "rust-gdbgui",
    "rust-lldb",
];

/// Set by newer rustup proxies: the source of the chosen toolchain (`cli` and `env` mean the user).
const RUSTUP_TOOLCHAIN_SOURCE: &str = "RUSTUP_TOOLCHAIN_SOURCE";

/// Toolchain files in rustup's search order, and whether a plain line with a name is allowed.
const TOOLCHAIN_FILES: [(&str, bool); 2] =
    [("rust-toolchain", true), ("rust-toolchain.toml", false)];

/// What a toolchain file requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// `1.95`, `stable`, `nightly-2026-01-01`.
    pub(crate) channel: Option<String>,
    /// The folder of a custom toolchain.
    pub(crate) path: Option<PathBuf>,
    /// Components in addition to the profile.
    pub(crate) components: Vec<String>,
    /// Targets in addition to the host.
    pub(crate) targets: Vec<String>,
}

/// An installed toolchain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Toolchain {
    /// `stable-x86_64-unknown-linux-gnu`; `None` without rustup.
    pub(crate) name: Option<String>,
    /// The folder of `rustc`.
    pub(crate) bin_dir: PathBuf,
    /// Digests of its programs and compiler libraries, names and sizes of its standard libraries.
    pub(crate) identity: Digest,
    /// `rustc 1.95.0 (59807616e 2026-04-14)`, if known.
    pub(crate) version: Option<String>,
    /// Set if rustup manages the toolchain.
    pub(crate) rustup_home: Option<PathBuf>,
    programs: BTreeMap<&'static str, PathBuf>,
}

impl Toolchain {
    /// The program of this name, if the toolchain has it.
    #[must_use]
    pub(crate) fn program(&self, name: &str) -> Option<&Path> {
        self.programs.get(name).map(PathBuf::as_path)
    }

    pub(crate) fn programs(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        self.programs
            .iter()
            .map(|(name, path)| (*name, path.as_path()))
    }

    /// A toolchain without programs.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn for_tests(name: &str, identity: Digest) -> Self {
        Self {
            name: Some(name.to_owned()),
            bin_dir: PathBuf::new(),
            identity,
            version: None,
            rustup_home: None,
            programs: BTreeMap::new(),
        }
    }

    /// How to install a missing component.
    #[must_use]
    pub(crate) fn add_component(&self, component: &str) -> String {
        match &self.name {
            Some(name) => format!("rustup component add {component} --toolchain {name}"),
            None => format!("install `{component}` beside `{}`", self.bin_dir.shown()),
        }
    }
}

/// There is no usable toolchain; the message says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ToolchainError {
    /// Neither rustup nor a toolchain is on PATH.
    #[error("`{0}` is not on PATH: install Rust (https://rustup.rs)")]
    NoProgram(&'static str),
    /// Rustup exists, but its home is unknown.
    #[error("cannot find rustup's home: set RUSTUP_HOME or HOME")]
    NoHome,
    /// Rustup has neither an override nor a default.
    #[error("rustup has no default toolchain: run `rustup default stable`")]
    NoDefault,
    /// The requested toolchain is not installed.
    #[error(
        "the Rust toolchain `{name}` ({origin}) is not installed: run `rustup toolchain install {name}`"
    )]
    NotInstalled {
        /// The requested name.
        name: String,
        /// Where it is requested.
        origin: String,
    },
    /// A toolchain file names a folder, whose programs would run outside of rooms.
    #[error(
        "the Rust toolchain by path `{path}` ({origin}) is not used, because a repository must not name programs of this \
         host\nhelp: if you trust it, link it (`rustup toolchain link NAME {path}`) and choose it yourself (`rustup \
         override set NAME`)"
    )]
    ByPath { path: PathBuf, origin: String },
    /// A toolchain file or rustup's settings are invalid.
    #[error("cannot parse `{path}`: {why}")]
    BadFile { path: PathBuf, why: String },
    #[error("cannot read the Rust toolchain at `{path}`: {source}")]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        source: io::Error,
    },
}

/// What resolving depends on.
pub(crate) struct Host<'a> {
    pub(crate) tools: &'a Tools,
    pub(crate) facts: &'a Facts,
    pub(crate) env: &'a Env,
    /// Reads a toolchain file by absolute path if it exists: the project's hashed content inside the project, the
    /// disk elsewhere.
    pub(crate) read: &'a dyn Fn(&Path) -> Option<Vec<u8>>,
}

/// The toolchain that programs started in `dir` (absolute) use.
pub(crate) fn resolve(host: &Host<'_>, dir: &Path) -> Result<Toolchain, ToolchainError> {
    let cargo = host
        .tools
        .find("cargo")
        .ok_or(ToolchainError::NoProgram("cargo"))?;
    if is_proxy(host.tools, host.env, &cargo) {
        managed(host, dir)
    } else {
        unmanaged(host)
    }
}

/// The toolchain that programs started in `dir` use; if it is not installed, the default or any other, for queries
/// that hardly depend on the version.
pub(crate) fn resolve_any(host: &Host<'_>, dir: &Path) -> Result<Toolchain, ToolchainError> {
    let why = match resolve(host, dir) {
        Ok(toolchain) => return Ok(toolchain),
        Err(why) => why,
    };
    let Some(home) = home_of(host.env, env::RUSTUP_HOME, ".rustup") else {
        return Err(why);
    };
    let settings = settings(&home.join("settings.toml")).unwrap_or_default();
    let default = settings.default_toolchain.as_deref();
    let default = default.and_then(|name| installed(&home, &settings, name));
    let mut others = names(&home.join("toolchains")).unwrap_or_default();
    // The newest of those with a number, judging by their names.
    others.reverse();
    let place = |name: String| (name.clone(), home.join("toolchains").join(name));
    default
        .into_iter()
        .chain(others.into_iter().map(place))
        .find_map(|(name, folder)| {
            let programs = in_folder(&folder.join("bin"));
            let there = programs.contains_key("cargo");
            let build = || build(host, Some(name), &folder, programs, Some(home.clone()));
            there.then(build)?.ok()
        })
        .ok_or(why)
}

/// What the nearest toolchain file in or above `dir` (absolute) requests, ignoring overrides and variables.
pub(crate) fn asked_for(
    dir: &Path,
    read: &dyn Fn(&Path) -> Option<Vec<u8>>,
) -> Result<Asked, ToolchainError> {
    for folder in dir.ancestors() {
        for (file, plain) in TOOLCHAIN_FILES {
            let path = folder.join(file);
            let Some(bytes) = read(&path) else {
                continue;
            };
            return asked(&String::from_utf8_lossy(&bytes), plain)
                .map_err(|why| ToolchainError::BadFile { path, why });
        }
    }
    Ok(Asked::default())
}

/// Whether the program is a rustup proxy: a link to `rustup`, or a copy (hard link) of it beside it or in CARGO_HOME.
#[must_use]
pub(crate) fn is_proxy(tools: &Tools, env: &Env, program: &Program) -> bool {
    if program
        .real
        .file_stem()
        .is_some_and(|stem| stem == "rustup")
    {
        return true;
    }
    if !PROGRAMS.contains(&&*program.name) && !OTHER_PROXIES.contains(&&*program.name) {
        return false;
    }
    let cargo_home = home_of(env, env::CARGO_HOME, ".cargo").map(|home| home.join("bin"));
    let folders = [program.path.parent().map(Path::to_path_buf), cargo_home];
    folders.into_iter().flatten().any(|folder| {
        let rustup = folder.join(format!("rustup{}", std::env::consts::EXE_SUFFIX));
        rustup.is_file() && tools.digest(&rustup).is_ok_and(|d| d == program.digest)
    })
}

fn home_of(env: &Env, name: &str, folder: &str) -> Option<PathBuf> {
    env.path(name)
        .or_else(|| Some(env.path(env::HOME)?.join(folder)))
}

#[derive(Debug, Default, Deserialize)]
struct Settings {
    default_toolchain: Option<String>,
    default_host_triple: Option<String>,
    #[serde(default)]
    overrides: BTreeMap<String, String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Name(String),
    Path(PathBuf),
}

fn managed(host: &Host<'_>, dir: &Path) -> Result<Toolchain, ToolchainError> {
    let home = home_of(host.env, env::RUSTUP_HOME, ".rustup").ok_or(ToolchainError::NoHome)?;
    let settings = settings(&home.join("settings.toml"))?;
    let (wanted, origin) = wanted(host, &settings, dir)?;
    let (name, folder) = match wanted {
        Wanted::Path(path) => return Err(ToolchainError::ByPath { path, origin }),
        Wanted::Name(name) => installed(&home, &settings, &name)
            .ok_or(ToolchainError::NotInstalled { name, origin })?,
    };
    let programs = in_folder(&folder.join("bin"));
    build(host, Some(name), &folder, programs, Some(home))
}

fn settings(path: &Path) -> Result<Settings, ToolchainError> {
    match crate::fs::text(path) {
        Ok(text) => toml::from_str(&text).map_err(|error| ToolchainError::BadFile {
            path: path.to_path_buf(),
            why: error.message().to_owned(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Settings::default()),
        Err(source) => Err(ToolchainError::Unreadable {
            path: path.to_path_buf(),
            source,
        }),
    }
}

fn wanted(
    host: &Host<'_>,
    settings: &Settings,
    dir: &Path,
) -> Result<(Wanted, String), ToolchainError> {
    if let Some(name) = of_environment(host.env) {
        return Ok((
            Wanted::Name(name.to_owned()),
            env::RUSTUP_TOOLCHAIN.to_owned(),
        ));
    }
    for folder in dir.ancestors() {
        if let Some(name) = folder
            .to_str()
            .and_then(|text| settings.overrides.get(text))
        {
            let origin = format!("override for `{}`", folder.shown());
            return Ok((Wanted::Name(name.clone()), origin));
        }
        for (file, plain) in TOOLCHAIN_FILES {
            let path = folder.join(file);
            let Some(bytes) = (host.read)(&path) else {
                continue;
            };
            let text = String::from_utf8_lossy(&bytes);
            let wanted = toolchain_file(&text, plain, folder)
                .map_err(|why| ToolchainError::BadFile { path, why })?;
            if let Some(wanted) = wanted {
                return Ok((wanted, format!("`{}`", folder.join(file).shown())));
            }
            return default(settings);
        }
    }
    default(settings)
}

fn default(settings: &Settings) -> Result<(Wanted, String), ToolchainError> {
    let name = settings.default_toolchain.clone();
    let name = name.ok_or(ToolchainError::NoDefault)?;
    Ok((Wanted::Name(name), "rustup's default".to_owned()))
}

/// The user's RUSTUP_TOOLCHAIN. A proxy also sets it for its children; then its other variable tells whether it came
/// from the user.
fn of_environment(env: &Env) -> Option<&str> {
    let name = env.var(env::RUSTUP_TOOLCHAIN).filter(|n| !n.is_empty())?;
    let by_proxy = env.var(env::RUST_RECURSION_COUNT).is_some();
    let by_user = matches!(env.var(RUSTUP_TOOLCHAIN_SOURCE), Some("cli" | "env"));
    (!by_proxy || by_user).then_some(name)
}

#[derive(Deserialize)]
struct ToolchainFile {
    toolchain: ToolchainTable,
}

#[derive(Deserialize)]
struct ToolchainTable {
    channel: Option<String>,
    path: Option<PathBuf>,
    #[serde(default)]
    components: Vec<String>,
    #[serde(default)]
    targets: Vec<String>,
}

/// The toolchain requested by a toolchain file; `None` if it only lists components. `plain`: a single line with a
/// name is allowed.
fn toolchain_file(text: &str, plain: bool, folder: &Path) -> Result<Option<Wanted>, String> {
    let asked = asked(text, plain)?;
    let path = asked.path.map(|path| Wanted::Path(folder.join(path)));
    Ok(asked.channel.map(Wanted::Name).or(path))
}

/// Everything a toolchain file requests.
fn asked(text: &str, plain: bool) -> Result<Asked, String> {
    let mut lines = text.trim().lines();
    if plain
        && let (Some(name), None) = (lines.next(), lines.next())
        && !name.trim_start().starts_with('[')
    {
        return Ok(Asked {
            channel: Some(name.trim().to_owned()),
            ..Asked::default()
        });
    }
    let file: ToolchainFile = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    let table = file.toolchain;
    if table.channel.is_some() && table.path.is_some() {
        return Err("cannot have both `channel` and `path`".to_owned());
    }
    Ok(Asked {
        channel: table.channel,
        path: table.path,
        components: table.components,
        targets: table.targets,
    })
}

/// The full name and folder of an installed toolchain: `NAME` (custom, or with its host) or `NAME-HOST`.
fn installed(home: &Path, settings: &Settings, name: &str) -> Option<(String, PathBuf)> {
    // A name is a single folder, never a path.
    if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\']) {
        return None;
    }
    let host = settings
        .default_host_triple
        .clone()
        .unwrap_or_else(host_triple);
    [name.to_owned(), format!("{name}-{host}")]
        .into_iter()
        .map(|full| (full.clone(), home.join("toolchains").join(full)))
        .find(|(_, folder)| folder.join("bin").is_dir())
}

/// The triple that rustup assumes if its settings do not name one.
fn host_triple() -> String {
    let platform = match std::env::consts::OS {
        "linux" => "unknown-linux-gnu",
        "macos" => "apple-darwin",
        "windows" => "pc-windows-msvc",
        other => other,
    };
    format!("{}-{platform}", std::env::consts::ARCH)
}

fn in_folder(bin: &Path) -> BTreeMap<&'static str, PathBuf> {
    PROGRAMS
        .iter()
        .map(|name| {
            (
                *name,
                bin.join(format!("{name}{}", std::env::consts::EXE_SUFFIX)),
            )
        })
        .filter(|(_, path)| path.is_file())
        .collect()
}

fn unmanaged(host: &Host<'_>) -> Result<Toolchain, ToolchainError> {
    let rustc = host
        .tools
        .find("rustc")
        .ok_or(ToolchainError::NoProgram("rustc"))?;
    let sysroot = PathBuf::from(ask(
        host,
        &rustc.real,
        rustc.digest,
        &["--print", "sysroot"],
    )?);
    let programs = PROGRAMS
        .iter()
        .filter_map(|name| Some((*name, host.tools.find(name)?.real)))
        .collect();
    build(host, None, &sysroot, programs, None)
}

/// Runs the program and memoises the answer by its location and identity.
fn ask(
    host: &Host<'_>,
    program: &Path,
    identity: Digest,
    args: &[&str],
) -> Result<String, ToolchainError> {
    let mut hasher = Hasher::new();
    hasher.update(identity.as_bytes());
    hasher.update(program.as_os_str().as_encoded_bytes());
    for arg in args {
        hasher.update(&[0]);
        hasher.update(arg.as_bytes());
    }
    let dir = program.parent().unwrap_or(Path::new("/"));
    host.facts.derive("rustc-says/1", hasher.finish(), || {
        let output = crate::process::capture(program, args, dir, host.env, &[])
            .and_then(|output| match output.status.success() {
                true => Ok(output),
                false => Err(io::Error::other(
                    String::from_utf8_lossy(&output.stderr).trim().to_owned(),
                )),
            })
            .map_err(|source| ToolchainError::Unreadable {
                path: program.to_path_buf(),
                source,
            })?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    })
}

fn build(
    host: &Host<'_>,
    name: Option<String>,
    sysroot: &Path,
    programs: BTreeMap<&'static str, PathBuf>,
    rustup_home: Option<PathBuf>,
) -> Result<Toolchain, ToolchainError> {
    let rustc = programs
        .get("rustc")
        .ok_or(ToolchainError::NoProgram("rustc"))?
        .clone();
    let identity = identity(host.tools, sysroot, name.as_deref(), &programs);
    let identity = identity.map_err(|source| ToolchainError::Unreadable {
        path: sysroot.to_path_buf(),
        source,
    })?;
    Ok(Toolchain {
        name,
        bin_dir: rustc.parent().unwrap_or(sysroot).to_path_buf(),
        identity,
        version: ask(host, &rustc, identity, &["--version"]).ok(),
        rustup_home,
        programs,
    })
}

/// In a toolchain that rustup installed, the standard libraries of targets other than the host do not count: its
/// release determines their content, and a build for a target that is not there fails without a verdict.
fn identity(
    tools: &Tools,
    sysroot: &Path,
    name: Option<&str>,
    programs: &BTreeMap<&'static str, PathBuf>,
) -> io::Result<Digest> {
    let mut hasher = Hasher::new();
    let mut part = |name: &str, value: &[u8]| {
        hasher.part(name.as_bytes());
        hasher.part(value);
    };
    for (name, path) in programs {
        part(name, tools.digest(path)?.as_bytes());
    }
    let lib = sysroot.join("lib");
    for name in names(&lib)? {
        if name.starts_with("librustc_driver") || name.starts_with("libLLVM") {
            part(&name, tools.digest(&lib.join(&name))?.as_bytes());
        }
    }
    let rustlib = lib.join("rustlib");
    let released = rustlib.join("multirust-channel-manifest.toml").is_file();
    let host = name.filter(|_| released);
    for target in names(&rustlib)? {
        if host.is_some_and(|name| !name.ends_with(&target)) {
            continue;
        }
        let folder = rustlib.join(&target).join("lib");
        if !folder.is_dir() {
            continue;
        }
        for name in names(&folder)? {
            let size = std::fs::metadata(folder.join(&name))?.len();
            part(&format!("{target}/{name}"), &size.to_le_bytes());
        }
    }
    Ok(hasher.finish())
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = std::fs::read_dir(folder)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(text: &str, plain: bool) -> Result<Option<Wanted>, String> {
        toolchain_file(text, plain, Path::new("/p"))
    }

    fn name(text: &str) -> Option<Wanted> {
        Some(Wanted::Name(text.to_owned()))
    }

    #[test]
    fn toolchain_files_name_a_channel_a_path_or_nothing() {
        assert_eq!(file("1.95.0\n", true), Ok(name("1.95.0")));
        assert_eq!(
            file("[toolchain]\nchannel = \"beta\"", true),
            Ok(name("beta"))
        );
        assert_eq!(
            file("[toolchain]\nchannel = \"beta\"", false),
            Ok(name("beta"))
        );
        assert_eq!(
            file("[toolchain]\ncomponents = [\"clippy\"]", false),
            Ok(None)
        );
        assert_eq!(
            file("[toolchain]\npath = \"tc\"", false),
            Ok(Some(Wanted::Path(PathBuf::from("/p/tc"))))
        );
        assert!(file("1.95.0", false).is_err());
        assert!(file("", true).is_err());
    }

    #[test]
    fn the_proxys_own_variable_does_not_count() {
        let set = |extra: &[(&str, &str)]| {
            let env = Env::from_pairs(&[&[("RUSTUP_TOOLCHAIN", "beta")], extra].concat());
            of_environment(&env).map(str::to_owned)
        };
        let proxy = ("RUST_RECURSION_COUNT", "1");
        assert_eq!(set(&[]).as_deref(), Some("beta"));
        assert_eq!(set(&[proxy]), None);
        assert_eq!(set(&[proxy, ("RUSTUP_TOOLCHAIN_SOURCE", "default")]), None);
        assert_eq!(
            set(&[proxy, ("RUSTUP_TOOLCHAIN_SOURCE", "env")]).as_deref(),
            Some("beta")
        );
    }

    #[test]
    fn the_nearest_folder_wins_and_its_override_comes_first() {
        let files = BTreeMap::from([
            (
                PathBuf::from("/p/rust-toolchain.toml"),
                "[toolchain]\nchannel = \"1.80.0\"",
            ),
            (PathBuf::from("/p/old/rust-toolchain"), "1.70.0"),
        ]);
        let read = |path: &Path| files.get(path).map(|text| text.as_bytes().to_vec());
        let (tools, facts, env) = (Tools::default(), Facts::default(), Env::default());
        let host = Host {
            tools: &tools,
            facts: &facts,
            env: &env,
            read: &read,
        };
        let settings = Settings {
            default_toolchain: Some("stable".to_owned()),
            overrides: BTreeMap::from([("/p/over".to_owned(), "nightly".to_owned())]),
            ..Settings::default()
        };
        let wanted = |dir: &str| wanted(&host, &settings, Path::new(dir)).unwrap().0;
        for (dir, expected) in [
            ("/q", "stable"),
            ("/p/sub", "1.80.0"),
            ("/p/old/x", "1.70.0"),
            ("/p/over/x", "nightly"),
        ] {
            assert_eq!(wanted(dir), Wanted::Name(expected.to_owned()), "{dir}");
        }
    }

    /// A toolchain folder with the given files, (path, content).
    fn install(folder: &Path, files: &[(&str, &str)]) {
        for (path, text) in files {
            let place = folder.join(path);
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            std::fs::write(place, text).unwrap();
        }
    }

    #[test]
    fn names_lead_to_installed_folders_only() {
        let home = tempfile::tempdir().unwrap();
        let settings = Settings {
            default_host_triple: Some("h-h".to_owned()),
            ..Settings::default()
        };
        install(
            home.path(),
            &[
                ("toolchains/stable-h-h/bin/rustc", ""),
                ("toolchains/mine/bin/rustc", ""),
            ],
        );
        let full = |name: &str| installed(home.path(), &settings, name).map(|(name, _)| name);
        assert_eq!(full("stable").as_deref(), Some("stable-h-h"));
        assert_eq!(full("stable-h-h").as_deref(), Some("stable-h-h"));
        assert_eq!(full("mine").as_deref(), Some("mine"));
        for absent in ["beta", "", "..", "../toolchains/mine"] {
            assert_eq!(full(absent), None, "{absent}");
        }
    }

    #[test]
    fn every_part_of_a_toolchain_is_in_its_identity() {
        let of = |files: &[(&str, &str)]| {
            let folder = tempfile::tempdir().unwrap();
            install(folder.path(), files);
            let programs = in_folder(&folder.path().join("bin"));
            let name = Some("stable-h");
            identity(&Tools::default(), folder.path(), name, &programs).unwrap()
        };
        let files = [
            ("bin/rustc", "r"),
            ("bin/rustfmt", "f"),
            ("lib/librustc_driver-1.so", "d"),
            ("lib/rustlib/h/lib/libstd.rlib", "s"),
            ("share/doc", "x"),
        ];
        for index in 0..files.len() {
            let mut other = files;
            other[index].1 = "other";
            let counts = !files[index].0.starts_with("share");
            assert_eq!(of(&files) != of(&other), counts, "{}", files[index].0);
        }
        // Another target counts only where no release determines it.
        let target = ("lib/rustlib/other/lib/libstd.rlib", "s");
        let released = ("lib/rustlib/multirust-channel-manifest.toml", "");
        assert_ne!(of(&[&files[..], &[target]].concat()), of(&files));
        let official = [&files[..], &[released]].concat();
        assert_eq!(of(&[&official[..], &[target]].concat()), of(&official));
    }

    proptest! {
        #[test]
        fn arbitrary_toolchain_files_never_panic(text in "\\PC{0,80}", plain: bool) {
            let _ = file(&text, plain);
        }
    }
}
