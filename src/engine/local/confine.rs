//! The confinement of checks on this host: what they may access.
//!
//! Readable: system directories, the check's tools with their installations, its layers and grants. Writable: its
//! room, `/tmp`, a few devices. Nothing else can be opened: not the work tree, the user's home, the store or other
//! rooms. Nothing can be written through the links in the room's `bin`. In a private file system the work tree and
//! the store do not even exist, and the room is at [`ROOM`] on every machine. Without permission, the only network is
//! loopback.
//!
//! Not covered: whether a file exists outside these places, and the content of system directories.
//!
//! Does not implement confinement (see [`crate::process::launcher`]).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::io::{BufRead, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;

use crate::plan::{Command, Tool};
use crate::process::launcher::Support;
use crate::process::launcher::spec::{Access, Bounds, Root};
use crate::room::Layout;
use crate::rule::Rule;
use crate::tool::installation::{Private, SYSTEM};

/// Path of the room in a private file system: the same on every machine, so that products are the same, too.
pub(crate) const ROOM: &str = "/dagcache";

/// Covered by empty directories in a private file system: files that others leave there are no inputs.
const SHARED: &[&str] = &["/tmp", "/var/tmp", "/dev/shm"];

/// Sockets of the host's services. Without network access, they would be a loophole.
const SERVICES: &str = "/run";

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

impl Confiner {
    #[must_use]
    pub(crate) fn new(host: Host) -> Self {
        Self {
            host,
            support: OnceLock::new(),
        }
    }

    /// This program, which also serves as launcher.
    #[must_use]
    pub(crate) fn launcher(&self) -> &Path {
        &self.host.launcher
    }

    /// What this system supports. Probed once, which takes a few milliseconds.
    pub(crate) fn support(&self) -> &Support {
        self.support.get_or_init(|| {
            let mut support = Support::ask(&self.host.launcher);
            let without = || Err("disabled".to_owned());
            if !Rule::OwnRoot.holds() {
                support.root = without();
            }
            if !Rule::Offline.holds() {
                support.offline = without();
            }
            if !Rule::Confined.holds() {
                support.files = without();
            }
            support
        })
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
        layer: impl Fn(&str) -> Option<PathBuf>,
    ) -> Drawn {
        let support = self.support();
        let offline = !command.network && support.offline.is_ok();
        let mut needs = Needs::new(&self.host);
        for tool in &command.tools {
            match tool {
                Tool::Host { path, .. } => needs.program(path),
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
        let moved = support.root.is_ok();
        let inside = if moved {
            room.moved(ROOM)
        } else {
            room.clone()
        };
        let covers = self.covers(command.network);
        let files = support
            .files
            .is_ok()
            .then(|| rules(&needs, &inside, moved, command.network));
        let root = moved.then(|| own_root(needs, covers, room, &inside));
        Drawn {
            bounds: Bounds {
                user: support.user,
                offline,
                root,
                files,
            },
            moved,
            confined: moved && support.files.is_ok() && (offline || command.network),
        }
    }

    /// Directories hidden from a check, without nested ones.
    fn covers(&self, network: bool) -> Vec<PathBuf> {
        let host = &self.host;
        let mut all: Vec<PathBuf> = SHARED.iter().map(PathBuf::from).collect();
        all.extend((!network).then(|| PathBuf::from(SERVICES)));
        all.extend([host.project.clone(), host.store.clone()]);
        // Otherwise no rule lets it be opened anyway, and programs may need it to exist.
        let readable = |home: &PathBuf| SYSTEM.iter().any(|folder| home.starts_with(folder));
        all.extend(host.home.clone().filter(readable));
        let mut all: Vec<PathBuf> = all
            .iter()
            .filter_map(|path| path.canonicalize().ok())
            .collect();
        let holds_system = |path: &PathBuf| {
            let mut system = SYSTEM.iter().chain(DEVICES);
            system.any(|folder| Path::new(folder).starts_with(path))
        };
        all.retain(|path| path.is_dir() && !holds_system(path));
        // The room must not be inside a directory that the host has or may get.
        all.push(PathBuf::from(ROOM));
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

fn rules(needs: &Needs<'_>, room: &Layout, moved: bool, network: bool) -> Vec<(Access, PathBuf)> {
    let mut rules: Vec<(Access, PathBuf)> = Vec::new();
    let mut add = |access, path: &Path| rules.push((access, path.to_path_buf()));
    for path in SYSTEM {
        add(Access::Read, Path::new(path));
    }
    if network {
        // Name resolution happens there.
        add(Access::Read, Path::new(SERVICES));
    }
    for path in DEVICES {
        add(Access::Device, Path::new(path));
    }
    for path in &needs.real {
        add(Access::Read, path);
    }
    if moved {
        add(Access::Read, Path::new(ROOM));
        // If such a place contains a tool, it also contains files granted for reading only, so none of it is
        // writable.
        let holds_needs = |folder: &&&str| needs.real.iter().any(|path| path.starts_with(folder));
        for path in SHARED.iter().filter(|folder| !holds_needs(folder)) {
            add(Access::Write, Path::new(path));
        }
    }
    add(Access::Read, &room.bin());
    for path in [room.up(), room.home(), room.tmp()] {
        add(Access::Write, &path);
    }
    rules
}

/// A file system with the room and the needed parts of covered directories.
fn own_root(needs: Needs<'_>, covers: Vec<PathBuf>, room: &Layout, inside: &Layout) -> Root {
    let covered = |path: &Path| covers.iter().any(|cover| path.starts_with(cover));
    let links = needs
        .links
        .into_iter()
        .filter(|(path, _)| covered(path))
        .collect();
    let mut binds: Vec<(PathBuf, PathBuf)> = [
        (room.up(), inside.up()),
        (room.home(), inside.home()),
        (room.tmp(), inside.tmp()),
        (room.bin(), inside.bin()),
    ]
    .into();
    let mut last: Option<PathBuf> = None;
    for path in needs.real.into_iter().filter(|path| covered(path)) {
        // Sorted, so a directory precedes everything below it.
        if last.as_ref().is_none_or(|last| !path.starts_with(last)) {
            binds.push((path.clone(), path.clone()));
            last = Some(path);
        }
    }
    Root {
        covers,
        links,
        binds,
    }
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

    /// Adds a program, its installation and its interpreter.
    fn program(&mut self, path: &Path) {
        if !self.seen.insert(path.to_path_buf()) {
            return;
        }
        let Some(real) = self.trace(path) else { return };
        let private = self.host.private();
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
            self.program(&interpreter);
        }
    }

    /// Adds a directory with a whole installation: a layer's environment and the Python it was made from.
    fn installation(&mut self, folder: &Path) {
        self.path(folder);
        for name in ["python", "python3"] {
            self.program(&folder.join("bin").join(name));
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

/// The program in the first line of a script, if it is one.
fn interpreter(script: &Path) -> Option<PathBuf> {
    const LONGEST: u64 = 4096;
    let file = std::fs::File::open(script).ok()?;
    let mut file = std::io::BufReader::new(file.take(LONGEST));
    let mut head = [0; 2];
    file.read_exact(&mut head).ok()?;
    if head != *b"#!" {
        return None;
    }
    let mut line = String::new();
    file.read_line(&mut line).ok()?;
    let path = PathBuf::from(line.split_whitespace().next()?);
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
            path
        }

        /// What a program needs, without the folder all of this is in.
        fn needs(&self, program: &Path) -> Vec<String> {
            let mut needs = Needs::new(&self.host);
            needs.program(program);
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
    fn covers_hide_the_project_and_the_store_but_no_system_folder() {
        let mut place = Place::new();
        place.host.project = PathBuf::from("/");
        let covers = Confiner::new(place.host.clone()).covers(false);
        assert!(!covers.contains(&PathBuf::from("/")), "{covers:?}");
        // What the host may have there is not written to.
        assert!(covers.contains(&PathBuf::from(ROOM)), "{covers:?}");
        let store = &place.host.store;
        assert!(
            covers.iter().any(|cover| store.starts_with(cover)),
            "{covers:?}"
        );
        let below = |path: &&PathBuf| {
            covers
                .iter()
                .any(|other| *path != other && path.starts_with(other))
        };
        assert_eq!(covers.iter().find(below), None);
    }
}
