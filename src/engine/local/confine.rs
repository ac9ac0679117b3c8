//! The confinement of checks on this host: what they may access.
//!
//! Visible: system directories, the check's tools with their installations, its layers and grants, a minimal `/dev`.
//! Writable: its room and private `/tmp`, `/var/tmp`, `/dev/shm`; nothing else can be changed in any way, modes and
//! times included. The rest of the host does not exist: not the work tree, the user's home, the store, other rooms,
//! sockets, processes. The room is at [`ROOM`] on every machine. Without permission, the only network is loopback.
//!
//! Where the system gives no private file system, nothing else can be opened, but it can be seen.
//!
//! Not covered: the content of system directories, time, the kernel.
//!
//! Does not implement confinement (see [`crate::process::launcher`]).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;

use super::walls;
use crate::plan::{Command, Tool};
use crate::process::launcher::Support;
use crate::process::launcher::spec::{Access, Bounds, Limits, Root};
use crate::room::Layout;
use crate::rule::Rule;
use crate::tool::installation::{Private, SYSTEM};

/// Path of the room in a private file system: the same on every machine, so that products are the same, too.
pub(crate) const ROOM: &str = "/dagcache";

/// Private in a private file system: files that others leave there are no inputs.
const SCRATCH: &[&str] = &["/tmp", "/var/tmp"];

/// How the host resolves names, for checks with network access. The other sockets in `/run` lead out of the room.
const RESOLVER: &[&str] = &[
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager/resolv.conf",
];

/// Devices that programs rely on.
const DEVICES: &[&str] = &[
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/ptmx",
    "/dev/pts",
];

/// Shared memory. Private like the others, and part of `/dev`.
const MEMORY: &str = "/dev/shm";

/// Parts of system directories that lead out of the room or tell root about the kernel.
const LEAKS: &[&str] = &[
    "/nix/var",
    "/sys/kernel/debug",
    "/sys/kernel/tracing",
    "/sys/firmware",
    "/sys/fs/pstore",
];

/// Never granted, even inside a granted directory: checks do not need them.
const SECRETS: &[&str] = &["credentials", "credentials.toml"];

/// What confinement depends on.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    /// This program, which also serves as launcher.
    pub(crate) launcher: PathBuf,
    pub(crate) project: PathBuf,
    pub(crate) store: PathBuf,
    pub(crate) home: Option<PathBuf>,
}

impl Host {
    fn private(&self) -> Private<'_> {
        Private {
            project: &self.project,
            store: Some(&self.store),
            home: self.home.as_deref(),
        }
    }
}

/// Determines the confinement of checks.
#[derive(Debug)]
pub(crate) struct Confiner {
    host: Host,
    support: OnceLock<Support>,
    /// Readable for every check.
    system: OnceLock<Vec<PathBuf>>,
    /// Hidden from every check.
    covers: OnceLock<Vec<PathBuf>>,
}

/// The confinement of one check.
#[derive(Debug, Clone)]
pub(crate) struct Drawn {
    pub(crate) bounds: Bounds,
    /// Whether the room is at [`ROOM`].
    pub(crate) moved: bool,
    /// Whether it is fully confined.
    pub(crate) confined: bool,
}

impl Drawn {
    /// Files that are the same in every room with a file system of its own. With network access some are the host's, and
    /// in no key.
    pub(crate) fn unkeyed(&self) -> Vec<PathBuf> {
        let all = self.moved.then(|| fixed(false)).into_iter().flatten();
        all.map(|(path, _)| path).collect()
    }
}

impl Confiner {
    #[must_use]
    pub(crate) fn new(host: Host) -> Self {
        Self {
            host,
            support: OnceLock::new(),
            system: OnceLock::new(),
            covers: OnceLock::new(),
        }
    }

    /// This program, which also serves as launcher.
    #[must_use]
    pub(crate) fn launcher(&self) -> &Path {
        &self.host.launcher
    }

    /// What this system supports. Tried once for many runs, because that takes a few milliseconds.
    pub(crate) fn support(&self) -> &Support {
        self.support.get_or_init(|| {
            let mut support = walls::support(&self.host.store, &self.host.launcher);
            for (rule, wall) in [
                (Rule::OwnRoot, &mut support.root),
                (Rule::OwnProcesses, &mut support.processes),
                (Rule::Offline, &mut support.offline),
                (Rule::Confined, &mut support.files),
                (Rule::Calls, &mut support.calls),
                (Rule::Traced, &mut support.trace),
            ] {
                if !rule.holds() {
                    *wall = Err("disabled".to_owned());
                }
            }
            support
        })
    }

    /// A command could not be started: the next run tries again what this system supports.
    pub(super) fn doubt(&self) {
        walls::forget(&self.host.store);
    }

    /// The result of probing, if that was done.
    #[must_use]
    pub(crate) fn known_support(&self) -> Option<&Support> {
        self.support.get()
    }

    /// The bounds of a command in the room at `room`. `layer` returns the directory of a layer by name.
    pub(crate) fn draw(
        &self,
        command: &Command,
        room: &Layout,
        traced: bool,
        layer: impl Fn(&str) -> Option<PathBuf>,
    ) -> Drawn {
        let support = self.support();
        let traced = traced && support.trace.is_ok();
        let offline = !command.network && support.offline.is_ok();
        let mut needs = Needs::new(&self.host);
        let mut unknown = Needs::new(&self.host);
        for tool in &command.tools {
            match tool {
                Tool::Host { name, path, .. } => {
                    needs.program(path, false);
                    let found = command.discovered.contains(name);
                    if traced && (found || command.unless_traced.is_some()) {
                        unknown.program(path, false);
                    }
                }
                Tool::Layer { layer: name, .. } => {
                    if let Some(folder) = layer(name) {
                        needs.installation(&folder);
                    }
                }
                Tool::Image { .. } | Tool::Absent { .. } => {}
            }
        }
        for path in command.grants.values() {
            needs.grant(path);
        }
        if command.network {
            for path in RESOLVER {
                needs.path(Path::new(path));
            }
        }
        let moved = support.root.is_ok();
        let inside = if moved {
            room.moved(ROOM)
        } else {
            room.clone()
        };
        let system = || self.system.get_or_init(readable_system);
        let covers = || self.covers.get_or_init(|| self.covers());
        let files = support.files.is_ok();
        let files = files.then(|| rules(system(), &needs, &inside, moved));
        let root = moved.then(|| own_root(needs, covers(), room, &inside, command.network));
        let processes = moved && support.processes.is_ok();
        Drawn {
            bounds: Bounds {
                user: support.user,
                offline,
                processes,
                root,
                files,
                calls: support.calls.is_ok(),
                trace: traced.then(|| watched(&inside, unknown.real)),
                limits: limits(command, room),
            },
            moved,
            confined: processes
                && support.files.is_ok()
                && support.calls.is_ok()
                && (offline || command.network),
        }
    }

    /// Directories of the user inside visible ones, without nested ones.
    fn covers(&self) -> Vec<PathBuf> {
        let host = &self.host;
        let mut all = vec![host.project.clone(), host.store.clone()];
        all.extend(host.home.clone());
        all.extend(LEAKS.iter().map(PathBuf::from));
        let mut all: Vec<PathBuf> = all
            .iter()
            .filter_map(|path| path.canonicalize().ok())
            .collect();
        let is_inside = |path: &Path| {
            let mut system = SYSTEM.iter().map(Path::new);
            system.any(|folder| path.starts_with(folder) && path != folder)
        };
        all.retain(|path| path.is_dir() && is_inside(path));
        all.sort();
        all.dedup();
        let mut outer: Vec<PathBuf> = Vec::new();
        for path in all {
            if !outer.iter().any(|other| path.starts_with(other)) {
                outer.push(path);
            }
        }
        outer
    }
}

/// Where a traced command's uses of files are noted: its files, the folder of its tools, and what neither the key nor the
/// identity of the platform holds, such as the installations of programs that are `unknown` to the key.
fn watched(inside: &Layout, unknown: BTreeSet<PathBuf>) -> Vec<PathBuf> {
    let others = WATCHED.iter().map(PathBuf::from).chain(unknown);
    [inside.tree(), inside.bin()]
        .into_iter()
        .chain(others)
        .collect()
}

/// Parts of system directories that are not of the distribution's packages.
const WATCHED: [&str; 3] = ["/usr/local", "/opt", ETC];

/// Configured limits, and those that keep the machine usable.
fn limits(command: &Command, room: &Layout) -> Limits {
    const PROCESSES: u64 = 4096;
    const DISK: u64 = 20 << 30;
    let own = &command.limits;
    let place = room.up().parent().map(Path::to_owned);
    let limits = Limits {
        processes: Some(own.processes.unwrap_or(PROCESSES)),
        memory: own.memory,
        // One file is written in no time; the rest is looked at only now and then.
        file_size: own.file_size.or(Some(own.disk.unwrap_or(DISK))),
        open_files: own.open_files,
        disk: place.map(|place| (own.disk.unwrap_or(DISK), place)),
    };
    match Rule::Limits.holds() {
        true => limits,
        false => Limits::default(),
    }
}

fn rules(
    system: &[PathBuf],
    needs: &Needs<'_>,
    room: &Layout,
    moved: bool,
) -> Vec<(Access, PathBuf)> {
    let mut rules: Vec<(Access, PathBuf)> = Vec::new();
    let mut add = |access, path: &Path| rules.push((access, path.to_path_buf()));
    for path in system {
        add(Access::Read, path);
    }
    for path in DEVICES {
        add(Access::Device, Path::new(path));
    }
    for path in &needs.real {
        add(Access::Read, path);
    }
    if moved {
        add(Access::Read, Path::new(ROOM));
        for path in SCRATCH.iter().chain([&MEMORY]) {
            add(Access::Write, Path::new(path));
        }
    }
    add(Access::Read, &room.bin());
    for path in [room.up(), room.home(), room.tmp()] {
        add(Access::Write, &path);
    }
    rules
}

/// The system directories there are, without what only root may read of `/etc`: a check that root starts still owns it.
fn readable_system() -> Vec<PathBuf> {
    let is_root = rustix::process::geteuid().is_root();
    let mut all: Vec<PathBuf> = SYSTEM.iter().map(PathBuf::from).collect();
    if is_root {
        all.retain(|path| path != Path::new(ETC));
        all.extend(etc_for_all());
    }
    all.retain(|path| path.exists());
    all
}

const ETC: &str = "/etc";

/// What of `/etc` a program may need, by name.
const PUBLIC: &[&str] = &[
    "alpine-release",
    "alternatives",
    "bash.bashrc",
    "ca-certificates",
    "ca-certificates.conf",
    "crypto-policies",
    "debian_version",
    "dpkg/origins",
    "environment",
    "fonts",
    "gai.conf",
    "gitconfig",
    "group",
    "host.conf",
    "hostname",
    "hosts",
    "inputrc",
    "issue",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "locale.conf",
    "localtime",
    "lsb-release",
    "machine-id",
    "magic",
    "mailcap",
    "mime.types",
    "mtab",
    "networks",
    "nsswitch.conf",
    "opt",
    "os-release",
    "papersize",
    "passwd",
    "pki/ca-trust",
    "pki/tls/certs",
    "profile",
    "profile.d",
    "protocols",
    "redhat-release",
    "resolv.conf",
    "rpc",
    "services",
    "shells",
    "ssl/cert.pem",
    "ssl/certs",
    "ssl/openssl.cnf",
    "system-release",
    "terminfo",
    "timezone",
    "xdg",
    "yamllint",
];

/// The same for names with a version.
const PUBLIC_STARTS: &[&str] = &["java", "jdk", "perl", "php", "python", "ruby"];

fn etc_for_all() -> impl Iterator<Item = PathBuf> {
    let versioned = std::fs::read_dir(ETC).into_iter().flatten().flatten();
    let versioned = versioned.map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| PUBLIC_STARTS.iter().any(|start| name.starts_with(start)))
    });
    let named = PUBLIC.iter().map(|name| Path::new(ETC).join(name));
    named.chain(versioned)
}

/// A file system with the room and what a check needs.
fn own_root(
    needs: Needs<'_>,
    covers: &[PathBuf],
    room: &Layout,
    inside: &Layout,
    network: bool,
) -> Root {
    let is_shown = |path: &Path| {
        SYSTEM.iter().any(|folder| path.starts_with(folder))
            && !covers.iter().any(|cover| path.starts_with(cover))
    };
    let mut kept: Vec<&Path> = SCRATCH
        .iter()
        .chain(&["/dev", "/proc", "/run", ROOM])
        .map(Path::new)
        .collect();
    kept.extend([needs.host.project.as_path(), &needs.host.store]);
    kept.extend(needs.host.home.as_deref());
    // Such a place would cover what was set up, or show all that is the user's.
    let is_wide = |path: &Path| kept.iter().any(|place| place.starts_with(path));
    let links = needs.links.into_iter();
    let mut binds = vec![(room.bin(), inside.bin())];
    let mut last: Option<PathBuf> = None;
    let real = needs.real.into_iter();
    for path in real.filter(|path| !is_shown(path) && !is_wide(path)) {
        // Sorted, so a directory precedes everything below it.
        if last.as_ref().is_none_or(|last| !path.starts_with(last)) {
            binds.push((path.clone(), path.clone()));
            last = Some(path);
        }
    }
    Root {
        // It is mounted anew.
        shown: SYSTEM
            .iter()
            .filter(|path| **path != "/proc")
            .map(PathBuf::from)
            .collect(),
        scratch: SCRATCH.iter().map(PathBuf::from).collect(),
        links: links.filter(|(path, _)| !is_shown(path)).collect(),
        covers: covers.to_vec(),
        binds,
        writable: vec![
            (room.up(), inside.up()),
            (room.home(), inside.home()),
            (room.tmp(), inside.tmp()),
        ],
        fixed: fixed(network),
    }
}

/// Files of `/etc` that name the machine, its users and its network.
fn fixed(network: bool) -> Vec<(PathBuf, String)> {
    let home = Layout::new(ROOM, 1).home();
    let passwd = format!(
        "root:x:0:0:root:/root:/bin/sh\n\
         dagcache:x:1000:1000::{}:/bin/sh\n\
         nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
        home.to_string_lossy()
    );
    let group = "root:x:0:\ndagcache:x:1000:\nnogroup:x:65534:\n";
    let hosts = "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 dagcache\n";
    let sources = "passwd: files\ngroup: files\nshadow: files\nhosts: files\nnetworks: files\n\
                   protocols: files\nservices: files\n";
    let machine = "00000000000000000000000000000000\n";
    let always = [
        ("passwd", passwd.as_str()),
        ("group", group),
        ("hostname", "dagcache\n"),
        ("machine-id", machine),
    ];
    let offline = [
        ("hosts", hosts),
        ("nsswitch.conf", sources),
        ("resolv.conf", ""),
    ];
    let offline = offline.into_iter().filter(|_| !network);
    let all = always.into_iter().chain(offline);
    all.map(|(name, text)| (Path::new(ETC).join(name), text.to_owned()))
        .collect()
}

/// What a check needs from the host besides system directories.
struct Needs<'a> {
    host: &'a Host,
    /// Links on the way and their targets.
    links: BTreeMap<PathBuf, PathBuf>,
    /// Files and directories with all links resolved.
    real: BTreeSet<PathBuf>,
    seen: BTreeSet<PathBuf>,
}

impl<'a> Needs<'a> {
    fn new(host: &'a Host) -> Self {
        Self {
            host,
            links: BTreeMap::new(),
            real: BTreeSet::new(),
            seen: BTreeSet::new(),
        }
    }

    /// Adds a path and all links that lead to it.
    fn path(&mut self, path: &Path) -> Option<PathBuf> {
        let real = self.trace(path)?;
        self.real.insert(real.clone());
        Some(real)
    }

    /// Resolves a path like the kernel and records the links.
    fn trace(&mut self, path: &Path) -> Option<PathBuf> {
        const MAX_LINKS: usize = 40;
        let names = |path: &Path| -> VecDeque<OsString> {
            let parts = path.components().filter_map(|part| match part {
                Component::Normal(name) => Some(name.to_owned()),
                Component::ParentDir => Some("..".into()),
                _ => None,
            });
            parts.collect()
        };
        let (mut at, mut left, mut links) = (PathBuf::from("/"), names(path), 0);
        while let Some(name) = left.pop_front() {
            if name == ".." {
                at.pop();
                continue;
            }
            let next = at.join(&name);
            let Ok(target) = std::fs::read_link(&next) else {
                at = next;
                continue;
            };
            links += 1;
            if links > MAX_LINKS {
                return None;
            }
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            let mut all = names(&target);
            all.append(&mut left);
            left = all;
            self.links.insert(next, target);
        }
        at.exists().then_some(at)
    }

    /// Adds a program, its installation and its interpreter. `named`: whether a file of the project names it, which
    /// must not open folders of the user.
    fn program(&mut self, path: &Path, named: bool) {
        if !self.seen.insert(path.to_path_buf()) {
            return;
        }
        let Some(real) = self.trace(path).filter(|real| is_program(real)) else {
            return;
        };
        let project = &self.host.project;
        let named = named || path.starts_with(project) || real.starts_with(project);
        let private = self.host.private();
        let is_open = real.starts_with(project) || private.is_plain_system(&real);
        if named && !is_open && !is_python(&real) {
            return;
        }
        if private.is_plain_system(&real) && private.is_plain_system(path) {
            return;
        }
        self.real.insert(real.clone());
        for folder in [path, &real]
            .into_iter()
            .filter_map(|place| private.installation(place))
        {
            self.path(&folder);
        }
        if let Some(interpreter) = interpreter(&real) {
            self.program(&interpreter, named);
        }
    }

    /// Adds a directory with a whole installation: a layer's environment and the Python it was made from.
    fn installation(&mut self, folder: &Path) {
        self.path(folder);
        for name in ["python", "python3"] {
            self.program(&folder.join("bin").join(name), false);
        }
    }

    /// Adds a granted place of the host, without its secrets.
    fn grant(&mut self, path: &Path) {
        if !SECRETS.iter().any(|name| path.join(name).exists()) {
            self.path(path);
            return;
        }
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            let secret = SECRETS.iter().any(|name| entry.file_name() == *name);
            if !secret {
                self.path(&entry.path());
            }
        }
    }
}

/// No folder, socket or device: those would become visible whole.
fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    let meta = path.metadata();
    meta.is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Whether this is the Python of an installation, which virtual environments of a project link to.
fn is_python(program: &Path) -> bool {
    let starts = |name: &std::ffi::OsStr| {
        let name = name.as_encoded_bytes();
        name.starts_with(b"python") || name.starts_with(b"pypy")
    };
    let lib = program.ancestors().nth(2).map(|prefix| prefix.join("lib"));
    let mut inside = lib
        .into_iter()
        .flat_map(std::fs::read_dir)
        .flatten()
        .flatten();
    program.file_name().is_some_and(starts) && inside.any(|entry| starts(&entry.file_name()))
}

/// The program in the first line of a script, if it is one.
fn interpreter(script: &Path) -> Option<PathBuf> {
    const LONGEST: usize = 4096;
    let head = crate::fs::head(script, LONGEST).ok()?;
    let line = head
        .strip_prefix(b"#!")?
        .split(|byte| *byte == b'\n')
        .next()?;
    let path = PathBuf::from(std::str::from_utf8(line).ok()?.split_whitespace().next()?);
    path.is_absolute().then_some(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Place {
        dir: tempfile::TempDir,
        host: Host,
    }

    impl Place {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let at = |name: &str| dir.path().canonicalize().unwrap().join(name);
            let host = Host {
                launcher: PathBuf::from("/nonexistent"),
                project: at("home/project"),
                store: at("home/.cache/dagcache"),
                home: Some(at("home")),
            };
            for folder in [&host.project, &host.store] {
                std::fs::create_dir_all(folder).unwrap();
            }
            Self { dir, host }
        }

        fn write(&self, path: &str, text: &str) -> PathBuf {
            let path = self.dir.path().canonicalize().unwrap().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(&path, executable).unwrap();
            path
        }

        /// What a program needs, without the folder all of this is in.
        fn needs(&self, program: &Path) -> Vec<String> {
            let mut needs = Needs::new(&self.host);
            needs.program(program, false);
            let root = self.dir.path().canonicalize().unwrap();
            let below = needs
                .real
                .iter()
                .map(|path| path.strip_prefix(&root).unwrap_or(path));
            below
                .map(|path| path.to_string_lossy().into_owned())
                .collect()
        }
    }

    #[test]
    fn a_program_brings_its_installation_but_never_the_users_own_folders() {
        let place = Place::new();
        let check = |program: &str, mark: &str, expect: &[&str]| {
            let program = place.write(program, "\x7fELF");
            place.write(mark, "");
            assert_eq!(place.needs(&program), expect, "{program:?}");
        };
        check(
            "home/node/20/bin/node",
            "home/node/20/lib/x",
            &["home/node/20", "home/node/20/bin/node"],
        );
        check(
            "home/project/.venv/bin/t",
            "home/project/.venv/pyvenv.cfg",
            &["home/project/.venv", "home/project/.venv/bin/t"],
        );
        check(
            "home/.local/bin/t",
            "home/.local/lib/x",
            &["home/.local/bin/t", "home/.local/lib"],
        );
        check(
            "home/project/bin/t",
            "home/project/share/x",
            &["home/project/bin/t"],
        );
        check("home/go/bin/t", "home/other", &["home/go/bin/t"]);
    }

    #[test]
    fn a_script_brings_its_interpreter_and_a_link_what_it_leads_to() {
        let place = Place::new();
        let python = place.write("py/bin/python3.12", "\x7fELF");
        place.write("py/lib/x", "");
        let bin = place.host.home.clone().unwrap().join("venv/bin");
        std::fs::create_dir_all(&bin).unwrap();
        symlink(&python, bin.join("python")).unwrap();
        let script = place.write(
            "home/venv/bin/tool",
            &format!("#!{}/python -I\n", bin.to_string_lossy()),
        );
        assert_eq!(
            place.needs(&script),
            ["home/venv/bin/tool", "py", "py/bin/python3.12"]
        );
        assert_eq!(place.needs(Path::new("/bin/sh")), [""; 0]);
        assert_eq!(place.needs(Path::new("/nonexistent/tool")), [""; 0]);
    }

    #[test]
    fn what_the_project_names_opens_no_folder_of_the_user() {
        let place = Place::new();
        let other = place.write("home/other/bin/x", "\x7fELF");
        place.write("home/other/lib/x", "");
        let project = &place.host.project;
        let script = |line: &str| place.write("home/project/tool", &format!("#!{line}\n"));
        for named in [&other, other.parent().unwrap(), Path::new("/tmp"), project] {
            let script = script(&named.to_string_lossy());
            assert_eq!(place.needs(&script), ["home/project/tool"], "{named:?}");
        }
        symlink(&other, project.join("link")).unwrap();
        assert_eq!(place.needs(&project.join("link")), [""; 0]);
        // A virtual environment may lead to an installation of Python.
        let python = place.write("home/py/bin/python3", "\x7fELF");
        place.write("home/py/lib/python3.12/os.py", "");
        symlink(&python, project.join("python")).unwrap();
        assert_eq!(
            place.needs(&project.join("python")),
            ["home/py", "home/py/bin/python3"]
        );
    }

    #[test]
    fn a_grant_leaves_out_what_is_secret() {
        let place = Place::new();
        place.write("home/.cargo/registry/x", "");
        let home = place.write("home/.cargo/credentials.toml", "");
        let home = home.parent().unwrap();
        let mut needs = Needs::new(&place.host);
        needs.grant(home);
        assert_eq!(
            needs.real.into_iter().collect::<Vec<_>>(),
            [home.join("registry")]
        );
    }

    #[test]
    fn covers_hide_only_what_a_visible_folder_would_show() {
        let mut place = Place::new();
        let covers = |host: &Host| {
            let mut all = Confiner::new(host.clone()).covers();
            all.retain(|path| !LEAKS.contains(&path.to_str().unwrap()));
            all
        };
        assert_eq!(covers(&place.host), [""; 0].map(PathBuf::from));
        place.host.project = PathBuf::from("/");
        assert_eq!(covers(&place.host), [""; 0].map(PathBuf::from));
        place.host.project = PathBuf::from("/usr/share");
        place.host.store = PathBuf::from("/usr/share/doc");
        assert_eq!(covers(&place.host), [PathBuf::from("/usr/share")]);
    }
}
