//! What a command may use of the machine.
//!
//! Files and memory images are bounded by the kernel per process. Processes and the disk are looked at while it runs.
//! Memory, and with it threads, is bounded by a control group, only if asked for: joining and leaving one takes 20 ms.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

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

/// Watches how much a command writes.
pub(super) struct Watch {
    room: PathBuf,
    limit: u64,
    /// When it started, in seconds since 1970.
    since: i64,
    /// When to look again.
    next: Instant,
}

impl Watch {
    pub(super) fn new(limits: &Limits) -> Option<Self> {
        let (limit, room) = limits.disk.clone()?;
        Some(Self {
            room,
            limit,
            since: now(),
            next: Instant::now(),
        })
    }

    /// The limit that was reached, if one was. What is free on the disk does not tell: others write and delete, too.
    pub(super) fn over(&mut self) -> Option<Over> {
        /// Of the time, one part is spent looking at large rooms, and this many are not.
        const PARTS: u32 = 50;
        let start = Instant::now();
        if start < self.next {
            return None;
        }
        let written = written(&self.room, self.since) + unlinked(&self.room, self.since);
        self.next = start + start.elapsed() * PARTS;
        let is_scarce = free(&self.room).is_some_and(|free| free < RESERVE);
        let over = written > self.limit || is_scarce && written > RESERVE;
        over.then_some(Over::Disk)
    }
}

fn free(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX))
}

/// The bytes on disk of the files below a folder that changed since a time.
fn written(folder: &Path, since: i64) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let files = walkdir::WalkDir::new(folder).into_iter().flatten();
    let metas = files.filter_map(|entry| entry.metadata().ok());
    let changed = metas.filter(|meta| meta.ctime() >= since);
    changed.map(|meta| meta.blocks().saturating_mul(512)).sum()
}

/// The bytes on the disk of a folder that belong to files which only this process's descendants hold open.
#[cfg(target_os = "linux")]
fn unlinked(folder: &Path, since: i64) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(disk) = fs::metadata(folder).map(|meta| meta.dev()) else {
        return 0;
    };
    let mut files = std::collections::BTreeMap::new();
    for process in descendants() {
        let open = fs::read_dir(process.join("fd")).into_iter().flatten();
        for meta in open
            .flatten()
            .filter_map(|file| fs::metadata(file.path()).ok())
        {
            let counts = meta.is_file() && meta.nlink() == 0 && meta.dev() == disk;
            if counts && meta.ctime() >= since {
                files.insert(meta.ino(), meta.blocks().saturating_mul(512));
            }
        }
    }
    files.values().sum()
}

#[cfg(not(target_os = "linux"))]
fn unlinked(_: &Path, _: i64) -> u64 {
    0
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
