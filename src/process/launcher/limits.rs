//! What a command may use of the machine.
//!
//! Files and memory images are bounded by the kernel per process. Processes and the disk are looked at while it runs, by
//! the outer launcher: a command can slow down the inner one.
//! Memory, and with it threads, is bounded by a control group, only if asked for: joining and leaving one takes 20 ms.

#[cfg(target_os = "linux")]
use std::ffi::CStr;
use std::fs;
use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::report::Over;
use super::spec::Limits;

/// With less than this left, a command that wrote this much is ended.
const RESERVE: u64 = 1 << 30;

impl Limits {
    /// Binds this process and its descendants.
    pub(super) fn set(&self) -> io::Result<()> {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let bind = |resource, limit: u64| {
            let hard = getrlimit(resource).maximum;
            let limit = Some(hard.map_or(limit, |hard| hard.min(limit)));
            let both = Rlimit {
                current: limit,
                maximum: limit,
            };
            setrlimit(resource, both)
        };
        // Secrets in memory stay there. Not 0, which a program that collects core dumps ignores; see core(5).
        bind(Resource::Core, 1)?;
        if let Some(size) = self.file_size {
            bind(Resource::Fsize, size)?;
        }
        if let Some(files) = self.open_files {
            bind(Resource::Nofile, files)?;
        }
        // Does not bind root.
        #[cfg(target_os = "linux")]
        if let Some(threads) = self.threads() {
            bind(Resource::Nproc, threads)?;
        }
        Ok(())
    }

    /// How many threads its processes may have. Far more than processes, because only the latter are meant, but soon
    /// enough to stop a fork bomb that leaves no time to count them.
    #[cfg(target_os = "linux")]
    fn threads(&self) -> Option<u64> {
        const EACH: u64 = 16;
        let all = fs::read_to_string("/proc/sys/kernel/pid_max").ok()?;
        let all: u64 = all.trim().parse().ok()?;
        Some(self.processes?.saturating_mul(EACH).min(all / 2))
    }

    /// A control group for this process and its descendants, where one can be had.
    pub(super) fn group(&self) -> Option<Group> {
        #[cfg(target_os = "linux")]
        return Group::new(self);
        #[cfg(not(target_os = "linux"))]
        return None;
    }
}

/// Looks at what a command uses while it runs.
pub(super) struct Watch {
    disk: Option<Disk>,
    #[cfg(target_os = "linux")]
    count: Option<Count>,
}

impl Watch {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            disk: limits
                .disk
                .clone()
                .map(|disk| Disk::new(disk, Instant::now())),
            #[cfg(target_os = "linux")]
            count: None,
        }
    }

    /// Also counts processes, in their `/proc`.
    #[cfg(target_os = "linux")]
    pub(super) fn count(&mut self, limits: &Limits, all: OwnedFd) {
        self.count = limits.processes.map(|limit| Count {
            limit,
            all,
            next: Instant::now() + Count::PAUSE,
        });
    }

    /// How long nothing need be looked at.
    pub(super) fn pause(&self) -> Option<Duration> {
        #[cfg(target_os = "linux")]
        if self.count.is_some() {
            return Some(Count::PAUSE);
        }
        self.disk.as_ref().map(|_| Disk::PAUSE)
    }

    /// The limit that was reached, if one was.
    pub(super) fn over(&mut self) -> Option<Over> {
        #[cfg(target_os = "linux")]
        if let Some(over) = self.count.as_mut().and_then(Count::over) {
            return Some(over);
        }
        self.disk.as_mut().and_then(Disk::over)
    }
}

/// How much a command writes.
struct Disk {
    room: PathBuf,
    limit: u64,
    /// When it started, in seconds since 1970.
    since: i64,
    /// What was free then.
    free: u64,
    /// When to ask again what is free.
    next: Instant,
    /// When to look at all files again, and what was free at the last look.
    next_look: (Instant, u64),
}

impl Disk {
    const PAUSE: Duration = Duration::from_secs(1);

    fn new((limit, room): (u64, PathBuf), start: Instant) -> Self {
        let free = free(&room);
        Self {
            room,
            limit,
            since: now(),
            free,
            next: start + Self::PAUSE,
            next_look: (start, free),
        }
    }

    /// What is free on the disk does not tell, as others write and delete, too. It has to where not everything can be
    /// seen.
    fn over(&mut self) -> Option<Over> {
        /// Of the time, one part is spent looking, and this many are not.
        const PARTS: u32 = 50;
        /// Unless this part of the limit may have been written since.
        const SHARE: u64 = 4;
        let start = Instant::now();
        if start < self.next {
            return None;
        }
        self.next = start + Self::PAUSE;
        let free = free(&self.room);
        let (next, before) = self.next_look;
        if start < next && before.saturating_sub(free) < self.limit / SHARE {
            return None;
        }
        let mut seen = Written::new(start, self.since);
        seen.in_folder(&self.room);
        seen.unlinked(&self.room);
        self.next_look = (start + start.elapsed() * PARTS, free);
        let written = match seen.whole {
            true => seen.bytes,
            false => seen.bytes.max(self.free.saturating_sub(free)),
        };
        let over = written > self.limit || free < RESERVE && written > RESERVE;
        over.then_some(Over::Disk)
    }
}

fn free(path: &Path) -> u64 {
    let stat = rustix::fs::statvfs(path);
    stat.map_or(u64::MAX, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX))
}

/// The bytes on disk of files that changed since a time.
struct Written {
    since: i64,
    bytes: u64,
    /// Whether nothing was left out.
    whole: bool,
    /// When to stop looking: meanwhile the command cannot be ended, and it may make files faster than they are counted.
    until: Instant,
}

impl Written {
    fn new(start: Instant, since: i64) -> Self {
        const LONGEST: Duration = Duration::from_millis(500);
        Self {
            since,
            bytes: 0,
            whole: true,
            until: start + LONGEST,
        }
    }

    fn add(&mut self, meta: &fs::Metadata) {
        use std::os::unix::fs::MetadataExt;
        if meta.ctime() >= self.since {
            let size = meta.blocks().saturating_mul(512);
            self.bytes = self.bytes.saturating_add(size);
        }
    }

    /// Whether to stop.
    fn is_late(&mut self) -> bool {
        let late = Instant::now() >= self.until;
        self.whole &= !late;
        late
    }

    /// Something is there that cannot be looked at, or is gone by now.
    fn missed(&mut self, error: &io::Error) {
        let gone = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory];
        // A process that has ended.
        let ended = error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error());
        self.whole &= gone.contains(&error.kind()) || ended;
    }

    /// Everything below a folder. Paths that are too long can be made, but not looked at.
    fn in_folder(&mut self, folder: &Path) {
        for entry in walkdir::WalkDir::new(folder) {
            if self.is_late() {
                return;
            }
            let meta = entry.and_then(|entry| entry.metadata());
            match meta.map_err(io::Error::from) {
                Ok(meta) => self.add(&meta),
                Err(error) => self.missed(&error),
            }
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn unlinked(&mut self, _: &Path) {}

    /// Files without a name on the disk of a folder that this process's descendants hold open.
    #[cfg(target_os = "linux")]
    fn unlinked(&mut self, folder: &Path) {
        use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
        let Ok(disk) = fs::metadata(folder).map(|meta| meta.dev()) else {
            return;
        };
        let mut counted = std::collections::BTreeSet::new();
        for process in descendants() {
            let open = fs::read_dir(process.join("fd"));
            for file in open
                .map_err(|error| self.missed(&error))
                .into_iter()
                .flatten()
            {
                if self.is_late() {
                    return;
                }
                let Ok(file) = file else { continue };
                let Ok(meta) = fs::metadata(file.path()) else {
                    continue;
                };
                let unlinked = meta.is_file() && meta.nlink() == 0 && meta.dev() == disk;
                if unlinked && counted.insert(meta.ino()) {
                    self.add(&meta);
                }
                self.whole &= !meta.file_type().is_socket() || !carries(&process, &file);
            }
            self.whole &= !maps(&process, disk, &counted);
        }
    }
}

/// Whether files are on their way through a socket of a process, where nobody sees them.
#[cfg(target_os = "linux")]
fn carries(process: &Path, socket: &fs::DirEntry) -> bool {
    let info = fs::read_to_string(process.join("fdinfo").join(socket.file_name()));
    let count = info.iter().flat_map(|info| info.lines());
    let mut count = count.filter_map(|line| line.strip_prefix("scm_fds:"));
    count.any(|count| count.trim() != "0")
}

/// Whether a process has mapped a file of a disk that has no name and is not among these.
#[cfg(target_os = "linux")]
fn maps(process: &Path, disk: u64, counted: &std::collections::BTreeSet<u64>) -> bool {
    let disk = format!(
        "{:02x}:{:02x}",
        rustix::fs::major(disk),
        rustix::fs::minor(disk)
    );
    let maps = fs::read(process.join("maps")).unwrap_or_default();
    let mut lines = maps.split(|byte| *byte == b'\n');
    lines.any(|line| {
        let line = String::from_utf8_lossy(line);
        // Range, rights, offset, disk, file.
        let mut fields = line.split_ascii_whitespace().skip(3);
        let is_here = fields.next() == Some(disk.as_str());
        let file = fields.next().and_then(|file| file.parse().ok());
        is_here && line.ends_with(" (deleted)") && file.is_none_or(|file| !counted.contains(&file))
    })
}

/// The folders in `/proc` of everything that this process has started.
#[cfg(target_os = "linux")]
fn descendants() -> Vec<PathBuf> {
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let parent = |path: &Path| -> Option<u32> {
        let stat = fs::read_to_string(path.join("stat")).ok()?;
        // The name in parentheses may hold anything.
        stat.rsplit_once(')')?
            .1
            .split_whitespace()
            .nth(1)?
            .parse()
            .ok()
    };
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let all = all.map(|entry| entry.path());
    let mut others: Vec<(u32, u32, PathBuf)> = all
        .filter_map(|path| Some((number(&path)?, parent(&path)?, path)))
        .collect();
    let mut known = vec![std::process::id()];
    let mut found = Vec::new();
    loop {
        let (children, rest): (Vec<_>, Vec<_>) = others
            .into_iter()
            .partition(|(_, parent, _)| known.contains(parent));
        if children.is_empty() {
            return found;
        }
        known = children.iter().map(|(id, ..)| *id).collect();
        found.extend(children.into_iter().map(|(.., path)| path));
        others = rest;
    }
}

/// How many processes a command has.
#[cfg(target_os = "linux")]
struct Count {
    limit: u64,
    all: OwnedFd,
    next: Instant,
}

#[cfg(target_os = "linux")]
impl Count {
    const PAUSE: Duration = Duration::from_millis(100);

    fn over(&mut self) -> Option<Over> {
        let start = Instant::now();
        if start < self.next {
            return None;
        }
        self.next = start + Self::PAUSE;
        let entries = rustix::fs::Dir::read_from(&self.all).into_iter().flatten();
        let is_process = |name: &CStr| name.to_bytes().first().is_some_and(u8::is_ascii_digit);
        let all = entries
            .flatten()
            .filter(|entry| is_process(entry.file_name()));
        let count: u64 = all.map(|_| 1).sum();
        // The inner launcher is none of the command's.
        (count > self.limit.saturating_add(1)).then_some(Over::Processes)
    }
}

/// A control group that lasts as long as this value.
#[derive(Debug)]
pub(super) struct Group {
    /// Its folder under each hierarchy, and the one this process came from.
    folders: Vec<(PathBuf, PathBuf)>,
}

#[cfg(target_os = "linux")]
impl Group {
    fn new(limits: &Limits) -> Option<Self> {
        let memory = limits.memory?.to_string();
        let threads = limits.threads().unwrap_or(u64::MAX).to_string();
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let mut group = Self {
            folders: Vec::new(),
        };
        for line in own.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?.trim_start_matches('/'));
            let has = |name| controllers.split(',').any(|one| one == name);
            let root = Path::new("/sys/fs/cgroup");
            if controllers.is_empty() {
                group.join_unified(&root.join(path), &memory, &threads);
            } else if has("memory") {
                let own = root.join("memory").join(path);
                group.join(&own, &own, &[("memory.limit_in_bytes", &memory)]);
            } else if has("pids") {
                let own = root.join("pids").join(path);
                group.join(&own, &own, &[("pids.max", &threads)]);
            }
        }
        (!group.folders.is_empty()).then_some(group)
    }

    /// Joins a new group below the nearest one that hands its controllers on: in one that does not, no limit binds.
    fn join_unified(&mut self, own: &Path, memory: &str, threads: &str) {
        let hands_on = |dir: &&Path| {
            let all = fs::read_to_string(dir.join("cgroup.subtree_control"));
            all.is_ok_and(|all| all.split_whitespace().any(|one| one == "memory"))
        };
        if let Some(parent) = own.ancestors().take(3).find(hands_on) {
            let swap = ("memory.swap.max", "0");
            let whole = ("memory.oom.group", "1");
            let threads = ("pids.max", threads);
            self.join(own, parent, &[("memory.max", memory), swap, whole, threads]);
        }
    }

    /// Makes a group and moves this process there. Without the right to, or without its first limit, there is none.
    fn join(&mut self, own: &Path, parent: &Path, limits: &[(&str, &str)]) {
        let folder = parent.join(format!("dagcache-{}", std::process::id()));
        if fs::create_dir(&folder).is_err() {
            return;
        }
        let mut set = limits.iter().enumerate().map(|(at, (file, limit))| {
            let written = fs::write(folder.join(file), limit);
            written.is_ok() || at > 0
        });
        let joined = set.all(|ok| ok) && fs::write(folder.join("cgroup.procs"), "0").is_ok();
        if joined {
            self.folders.push((folder, own.to_owned()));
        } else {
            let _ = fs::remove_dir(&folder);
        }
    }
}

impl Group {
    /// Whether the kernel killed something in it for want of memory.
    pub(super) fn ran_out_of_memory(&self) -> bool {
        let killed = |text: &str| {
            text.lines().any(|line| {
                let count = line.strip_prefix("oom_kill ");
                count.is_some_and(|count| count.trim() != "0")
            })
        };
        let files = ["memory.events", "memory.oom_control"];
        let mut all = self
            .folders
            .iter()
            .flat_map(|(folder, _)| files.map(|file| folder.join(file)));
        all.any(|file| fs::read_to_string(file).is_ok_and(|text| killed(&text)))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for (folder, own) in &self.folders {
            // Only an empty group can be removed, and this process is in it.
            let _ = fs::write(own.join("cgroup.procs"), "0");
            let _ = fs::remove_dir(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(folder: &Path, longest: Duration) -> Written {
        let mut seen = Written::new(Instant::now(), 0);
        seen.until = Instant::now() + longest;
        seen.in_folder(folder);
        seen
    }

    #[test]
    fn what_is_below_a_folder_counts() {
        const LONG: Duration = Duration::from_secs(100);
        let dir = tempfile::tempdir().expect("folder");
        fs::create_dir(dir.path().join("sub")).expect("folder");
        fs::write(dir.path().join("sub/file"), vec![1; 100_000]).expect("file");
        let seen = written(dir.path(), LONG);
        assert!(seen.whole && seen.bytes >= 100_000, "{}", seen.bytes);
        assert!(written(&dir.path().join("gone"), LONG).whole);
    }

    #[test]
    fn looking_ends_and_what_was_not_seen_is_said() {
        let dir = tempfile::tempdir().expect("folder");
        assert!(!written(dir.path(), Duration::ZERO).whole);
    }
}
