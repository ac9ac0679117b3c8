//! Follows a command and everything it starts, from stop to stop.

use std::collections::{HashMap, HashSet};
use std::io::{self, IoSliceMut};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;
use rustix::process::WaitOptions;

use super::calls::{Escape, Follow, Row, Use, rows_of};
use super::paths::{Paths, Way, root_of};
use super::seen::{Notes, Seen};

/// More stops than this take longer than running the command twice.
const STOPS: u64 = 2_000_000;

const TOO_MANY: &str = "uses more files than can be followed";

/// Longer paths do not exist (`PATH_MAX`).
const LONGEST: usize = 4096;

/// The end of a run that cannot be followed.
type Lost = String;

/// The state of a run that is followed.
pub(super) struct Tracer {
    inner: i32,
    watched: Vec<PathBuf>,
    /// The command: its working directory and its program.
    command: (Vec<u8>, Vec<u8>),
    /// Known once the command is in its room.
    paths: Option<Paths>,
    notes: Notes,
    /// Why the command cannot be followed.
    lost: Option<Lost>,
    stops: u64,
    /// Whether the command has been started.
    started: bool,
    /// Working directories, by thread.
    folders: HashMap<i32, Vec<u8>>,
    /// Threads that are changing theirs, which others may share.
    moving: HashSet<i32>,
    /// Threads, and whether they are the inner launcher's.
    ours: HashMap<i32, bool>,
    /// Threads that are about to execute a program.
    entering: HashSet<i32>,
    /// Processes that a signal stopped.
    stopped: HashSet<i32>,
}

impl Tracer {
    /// Attaches to the inner launcher, which is alone yet.
    pub(super) fn attach(
        inner: i32,
        watched: Vec<PathBuf>,
        command: [&Path; 2],
    ) -> io::Result<Self> {
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACESECCOMP
            | Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_TRACEVFORK
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEEXEC
            | Options::PTRACE_O_EXITKILL;
        ptrace::seize(Pid::from_raw(inner), options)?;
        Ok(Self {
            inner,
            watched,
            command: command
                .map(|path| path.as_os_str().as_bytes().to_vec())
                .into(),
            paths: None,
            notes: Notes::default(),
            lost: None,
            stops: 0,
            started: false,
            folders: HashMap::new(),
            moving: HashSet::new(),
            ours: HashMap::from([(inner, true)]),
            entering: HashSet::new(),
            stopped: HashSet::new(),
        })
    }

    /// What was seen.
    pub(super) fn end(self) -> Seen {
        Seen {
            paths: self.notes.paths(),
            lost: self.lost,
        }
    }

    /// Handles the next process that stopped or ended. Returns whether there was one; with `wait`, whether any is left.
    pub(super) fn next(&mut self, wait: bool) -> bool {
        let mut options = WaitOptions::from_bits_retain(libc::__WALL.cast_unsigned());
        options.set(WaitOptions::NOHANG, !wait);
        match rustix::process::wait(options) {
            Err(rustix::io::Errno::INTR) => true,
            Err(_) | Ok(None) => false,
            Ok(Some((process, status))) => {
                let (process, status) = (process.as_raw_nonzero().get(), status.as_raw());
                // As wait(2) encodes a stop.
                if status & 0xff == 0x7f {
                    self.stop(process, status >> 8);
                } else {
                    self.forget(process);
                }
                true
            }
        }
    }

    /// `what` is the status without its lowest byte.
    fn stop(&mut self, process: i32, what: i32) {
        let (signal, event) = (what & 0xff, what >> 8);
        let mut deliver = None;
        let is_ours = self.is_ours(process);
        let outcome = match event {
            libc::PTRACE_EVENT_SECCOMP => self.call(process),
            libc::PTRACE_EVENT_EXEC => self.executed(process),
            // A check could stop or confuse the inner launcher: the first process of a namespace is safe from signals
            // only while nobody traces it.
            libc::PTRACE_EVENT_STOP | 0 if is_ours => Ok(()),
            libc::PTRACE_EVENT_STOP if is_stop(signal) => {
                // `PTRACE_LISTEN` would let it be, but is not to be had in safe code.
                self.stopped.insert(process);
                return;
            }
            0 => match Signal::try_from(signal) {
                Ok(signal) => {
                    deliver = Some(signal);
                    Ok(())
                }
                Err(_) => Err("uses real-time signals".to_owned()),
            },
            _ => Ok(()),
        };
        if let Err(why) = outcome
            && self.lost.is_none()
        {
            self.lost = Some(why);
            let _ = nix::sys::signal::kill(Pid::from_raw(self.inner), Signal::SIGKILL);
        }
        // It may have been killed meanwhile.
        let _ = ptrace::cont(Pid::from_raw(process), deliver);
    }

    fn forget(&mut self, process: i32) {
        self.ours.remove(&process);
        self.entering.remove(&process);
        self.stopped.remove(&process);
        self.folders.remove(&process);
        self.moving.remove(&process);
    }

    /// Lets those go on that were sent SIGCONT. Returns whether some wait for it.
    pub(super) fn resume(&mut self) -> bool {
        let all = self.stopped.iter().copied();
        let ready: Vec<i32> = all.filter(|process| may_go_on(*process)).collect();
        for process in ready {
            self.stopped.remove(&process);
            let _ = ptrace::cont(Pid::from_raw(process), None);
        }
        !self.stopped.is_empty()
    }

    /// Whether it is the inner launcher, whose own calls do not count.
    fn is_ours(&mut self, process: i32) -> bool {
        let inner = self.inner;
        *self.ours.entry(process).or_insert_with(|| {
            let id = status(process, "Tgid:");
            id.is_some_and(|id| id == u64::from(inner.unsigned_abs()))
        })
    }

    fn call(&mut self, process: i32) -> Result<(), Lost> {
        if self.is_ours(process) {
            return Ok(());
        }
        self.stops += 1;
        if self.stops > STOPS {
            return Err(TOO_MANY.to_owned());
        }
        let Some(call) = Call::of(process) else {
            return Ok(()); // It was killed.
        };
        if !self.started {
            // A copy of the launcher, whose memory is hidden, starts the command.
            self.entering.insert(process);
            return Ok(());
        }
        if let Some(escape) = call.escape() {
            return Err(escape.reason().to_owned());
        }
        self.find_root(process)?;
        // The last call of this thread is over.
        self.moving.remove(&process);
        for row in rows_of(call.number) {
            if matches!(row.what, Use::Execute(_)) {
                self.entering.insert(process);
            }
            self.row(process, &call, row)?;
        }
        if [libc::SYS_chdir, libc::SYS_fchdir].contains(&call.number) {
            self.folders.clear();
            self.moving.insert(process);
        }
        Ok(())
    }

    /// The working directory of a thread.
    fn folder(&mut self, process: i32) -> Option<Vec<u8>> {
        if let Some(known) = self.folders.get(&process) {
            return Some(known.clone());
        }
        let folder = link(process, "cwd")?;
        if self.moving.is_empty() {
            self.folders.insert(process, folder.clone());
        }
        Some(folder)
    }

    fn row(&mut self, process: i32, call: &Call, row: &Row) -> Result<(), Lost> {
        let text = row.path.map(|path| text(process, call.argument(path)));
        let text = match text.unwrap_or(Ok(Vec::new())) {
            Ok(text) => text,
            // The kernel refuses it, too.
            Err(nix::Error::EFAULT | nix::Error::ESRCH) => return Ok(()),
            Err(_) => return Err("hides its memory".to_owned()),
        };
        let follow = match row.what {
            Use::Stat(follow) | Use::Look(follow) | Use::Content(follow) | Use::Execute(follow) => {
                match follow {
                    Follow::Always => true,
                    Follow::Never => false,
                    Follow::Unless(at) => call.flags(at) & libc::AT_SYMLINK_NOFOLLOW == 0,
                    Follow::If(at) => call.flags(at) & libc::AT_SYMLINK_FOLLOW != 0,
                }
            }
            _ => false,
        };
        let open = match row.what {
            Use::Open(at) => call.flags(at),
            Use::OpenHow(at) => open_how(process, call.argument(at))?,
            _ => 0,
        };
        let way = Way::of_use(row.what, follow, open);
        match self.place(process, call, row, text) {
            Place::Path(base, rest) if matches!(row.what, Use::Execute(_)) => {
                self.execute(process, base, rest, way)
            }
            place => self.note(process, place, way),
        }
    }

    fn note(&mut self, process: i32, mut place: Place, way: Way) -> Result<(), Lost> {
        /// Links in `/proc` that lead into `/proc`.
        const LINKS: usize = 40;
        let Some(paths) = &mut self.paths else {
            return Ok(());
        };
        for _ in 0..LINKS {
            match place {
                Place::Path(base, text) => match paths.note(&mut self.notes, &base, &text, way) {
                    Some(rest) => place = of_proc(process, &rest)?,
                    None => break,
                },
                Place::Open(path) => {
                    paths.note_open(&mut self.notes, &path, way);
                    break;
                }
                Place::Nothing => break,
            }
        }
        match paths.is_full(&self.notes) {
            true => Err(TOO_MANY.to_owned()),
            false => Ok(()),
        }
    }

    /// Notes a program, and the interpreters that the kernel opens for it.
    fn execute(
        &mut self,
        process: i32,
        base: Vec<u8>,
        text: Vec<u8>,
        way: Way,
    ) -> Result<(), Lost> {
        /// As many as the kernel follows.
        const INTERPRETERS: usize = 5;
        let mut text = text;
        let mut base = base;
        for _ in 0..=INTERPRETERS {
            self.note(process, Place::Path(base.clone(), text.clone()), way)?;
            let Some(paths) = &mut self.paths else { break };
            let head = paths.head(&base, &text);
            let Some(next) = interpreter(&head) else {
                break;
            };
            text = next.to_vec();
            let Some(folder) = self.folder(process) else {
                break;
            };
            base = folder;
        }
        Ok(())
    }

    fn place(&mut self, process: i32, call: &Call, row: &Row, text: Vec<u8>) -> Place {
        let descriptor = row.dir.map(|dir| call.flags(dir));
        if text.is_empty() {
            // With `AT_EMPTY_PATH` the descriptor itself, otherwise an error. Its attributes were asked for when it was
            // opened.
            let is_known = matches!(row.what, Use::Stat(_) | Use::Look(_));
            let descriptor = descriptor.filter(|fd| *fd >= 0 && !is_known);
            let path = descriptor.and_then(|fd| link(process, &format!("fd/{fd}")));
            return path.map_or(Place::Nothing, Place::Open);
        }
        if text.first() == Some(&b'/') {
            return Place::Path(Vec::new(), text);
        }
        let base = match descriptor {
            None | Some(libc::AT_FDCWD) => self.folder(process),
            Some(fd) => link(process, &format!("fd/{fd}")),
        };
        // Without one, the call fails.
        base.map_or(Place::Nothing, |base| Place::Path(base, text))
    }

    /// Notes the command itself: what the inner launcher asked for could not be seen.
    fn first(&mut self, process: i32) -> Result<(), Lost> {
        self.find_root(process)?;
        let way = Way::of_use(Use::Execute(Follow::Always), true, 0);
        let (folder, program) = (self.command.0.clone(), self.command.1.clone());
        self.execute(process, folder, program, way)
    }

    fn find_root(&mut self, process: i32) -> Result<(), Lost> {
        if self.paths.is_none() {
            let root = root_of(process).map_err(|error| format!("hides its root: {error}"))?;
            self.paths = Some(Paths::new(&self.watched, root));
        }
        Ok(())
    }

    fn executed(&mut self, process: i32) -> Result<(), Lost> {
        // Another thread than the first may have called.
        let before = ptrace::getevent(Pid::from_raw(process)).ok();
        let before = before.and_then(|id| i32::try_from(id).ok());
        let before = before.unwrap_or(process);
        let entered = self.entering.remove(&before);
        if before != process {
            // Which has become the first one, and takes its own working directory along.
            self.forget(before);
            self.folders.remove(&process);
        }
        if !entered && !self.is_ours(process) {
            return Err("makes calls that are hidden from this program".to_owned());
        }
        if !self.started {
            self.started = true;
            self.first(process)?;
        }
        // Whatever else led to it.
        let program = link(process, "exe").map_or(Place::Nothing, Place::Open);
        let way = Way::of_use(Use::Execute(Follow::Always), true, 0);
        self.note(process, program, way)
    }
}

/// Where a path of a call starts.
enum Place {
    /// A path from an absolute directory.
    Path(Vec<u8>, Vec<u8>),
    /// What a descriptor has open.
    Open(Vec<u8>),
    /// Nothing of interest.
    Nothing,
}

/// Where a link in the `/proc` of a process leads, if that is a path.
fn link(process: i32, name: &str) -> Option<Vec<u8>> {
    let path = rustix::fs::readlink(format!("/proc/{process}/{name}"), Vec::new()).ok()?;
    Some(path.into_bytes()).filter(|path| path.first() == Some(&b'/'))
}

/// `N` or `N/rest`.
fn of_descriptor(process: i32, text: &[u8]) -> Place {
    let (number, rest) = split(text);
    let Ok(number) = std::str::from_utf8(number) else {
        return Place::Nothing;
    };
    if number.parse::<u32>().is_err() {
        return Place::Nothing;
    }
    match (link(process, &format!("fd/{number}")), rest) {
        (Some(path), Some(rest)) => Place::Path(path, rest.to_vec()),
        (Some(path), None) => Place::Open(path),
        (None, _) => Place::Nothing,
    }
}

/// A path below `/proc`.
fn of_proc(process: i32, text: &[u8]) -> Result<Place, Lost> {
    let (whose, rest) = split(text);
    let Some(rest) = rest else {
        return Ok(Place::Nothing);
    };
    let (what, rest) = split(rest);
    let leads_on = match what {
        b"cwd" | b"root" => true,
        b"fd" | b"map_files" => rest.is_some_and(|rest| !rest.is_empty()),
        b"task" => rest.is_some_and(|rest| {
            let mut parts = rest.split(|byte| *byte == b'/');
            parts.any(|part| [&b"cwd"[..], b"root", b"fd"].contains(&part))
        }),
        _ => false,
    };
    if !leads_on {
        return Ok(Place::Nothing);
    }
    let is_own = whose == b"self" || whose == b"thread-self";
    if !is_own || what == b"task" || what == b"map_files" {
        let is_process = whose.iter().all(u8::is_ascii_digit);
        return match is_own || is_process {
            true => Err("opens files through /proc of a process".to_owned()),
            false => Ok(Place::Nothing),
        };
    }
    if what == b"fd" {
        return Ok(of_descriptor(process, rest.unwrap_or_default()));
    }
    let what = String::from_utf8_lossy(what);
    let base = link(process, &what);
    Ok(match (base, rest) {
        (Some(base), Some(rest)) => Place::Path(base, rest.to_vec()),
        (Some(base), None) => Place::Path(base, b".".to_vec()),
        (None, _) => Place::Nothing,
    })
}

/// The first part of a path, and what follows its slash.
fn split(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut parts = text.splitn(2, |byte| *byte == b'/');
    (parts.next().unwrap_or_default(), parts.next())
}

/// The interpreter that the beginning of a program names: of a script, or the loader of a binary.
fn interpreter(head: &[u8]) -> Option<&[u8]> {
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next()?;
        let mut words = line.split(|byte| matches!(byte, b' ' | b'\t'));
        return words.find(|word| !word.is_empty());
    }
    // ELF of 64 bits, little-endian; see elf(5).
    const LOADER: u64 = 3;
    head.strip_prefix(b"\x7fELF\x02\x01")?;
    let number = |at: usize, size: usize| {
        let bytes = head.get(at..at.checked_add(size)?)?;
        let bytes = bytes.iter().rev();
        Some(bytes.fold(0_u64, |all, byte| all << 8 | u64::from(*byte)))
    };
    let place = |at: usize| usize::try_from(number(at, 8)?).ok();
    let (table, size) = (place(32)?, usize::try_from(number(54, 2)?).ok()?);
    (0..number(56, 2)?).find_map(|index| {
        let entry = table.checked_add(usize::try_from(index).ok()?.checked_mul(size)?)?;
        if number(entry, 4)? != LOADER {
            return None;
        }
        let (start, length) = (
            place(entry.checked_add(8)?)?,
            place(entry.checked_add(32)?)?,
        );
        let path = head.get(start..start.checked_add(length)?)?;
        Some(path.strip_suffix(b"\0").unwrap_or(path))
    })
}

fn is_stop(signal: i32) -> bool {
    [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU].contains(&signal)
}

/// Whether a stopped process has been sent SIGCONT.
fn may_go_on(process: i32) -> bool {
    const CONTINUE: u64 = 1 << (libc::SIGCONT - 1);
    let pending = ["SigPnd:", "ShdPnd:"].map(|name| mask(process, name));
    pending.into_iter().any(|mask| mask & CONTINUE != 0)
}

fn field(process: i32, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(value.trim().to_owned())
}

fn status(process: i32, name: &str) -> Option<u64> {
    field(process, name)?.parse().ok()
}

fn mask(process: i32, name: &str) -> u64 {
    let value = field(process, name);
    value.map_or(0, |value| u64::from_str_radix(&value, 16).unwrap_or(0))
}

/// A system call that is about to be made.
struct Call {
    number: libc::c_long,
    arguments: [u64; 6],
}

impl Call {
    #[cfg(target_arch = "x86_64")]
    fn of(process: i32) -> Option<Self> {
        let regs = ptrace::getregs(Pid::from_raw(process)).ok()?;
        Some(Self {
            number: regs.orig_rax.cast_signed(),
            arguments: [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9],
        })
    }

    #[cfg(target_arch = "aarch64")]
    fn of(process: i32) -> Option<Self> {
        let regs = ptrace::getregs(Pid::from_raw(process)).ok()?.regs;
        Some(Self {
            number: regs[8].cast_signed(),
            arguments: [regs[0], regs[1], regs[2], regs[3], regs[4], regs[5]],
        })
    }

    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    fn of(_: i32) -> Option<Self> {
        None
    }

    fn argument(&self, at: usize) -> u64 {
        self.arguments.get(at).copied().unwrap_or_default()
    }

    /// An argument of type `int`: the kernel looks at the lower half only.
    fn flags(&self, at: usize) -> i32 {
        let low = self.argument(at) & u64::from(u32::MAX);
        u32::try_from(low).unwrap_or_default().cast_signed()
    }

    fn escape(&self) -> Option<Escape> {
        match self.number {
            libc::SYS_ptrace => Some(Escape::Tracer),
            libc::SYS_clone => Some(Escape::Untraced),
            libc::SYS_seccomp => Some(Escape::Listener),
            _ => None,
        }
    }
}

/// The flags in `struct open_how`. With `RESOLVE_IN_ROOT` paths mean something else.
fn open_how(process: i32, address: u64) -> Result<i32, Lost> {
    const IN_ROOT: u64 = 0x10;
    let mut bytes = [0; 24];
    if read(process, address, &mut bytes) != Ok(24) {
        return Ok(0); // The call fails.
    }
    let number = |at: usize| {
        let bytes: Option<&[u8; 8]> = bytes.get(at..).and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |bytes| u64::from_ne_bytes(*bytes))
    };
    if number(16) & IN_ROOT != 0 {
        return Err("opens files below a root of its own".to_owned());
    }
    let low = number(0) & u64::from(u32::MAX);
    Ok(u32::try_from(low).unwrap_or_default().cast_signed())
}

/// A path in the memory of a process.
fn text(process: i32, address: u64) -> nix::Result<Vec<u8>> {
    const PAGE: u64 = 4096;
    let mut text = Vec::new();
    let mut address = address;
    while text.len() < LONGEST {
        // The next page need not be there.
        let left = usize::try_from(PAGE - address % PAGE).unwrap_or(1).min(256);
        let mut chunk = [0; 256];
        let chunk = chunk.get_mut(..left).unwrap_or_default();
        let length = read(process, address, chunk)?;
        let got = chunk.get(..length).unwrap_or_default();
        if let Some(end) = got.iter().position(|byte| *byte == 0) {
            text.extend_from_slice(got.get(..end).unwrap_or_default());
            return Ok(text);
        }
        if length == 0 {
            return Err(nix::Error::EFAULT);
        }
        text.extend_from_slice(got);
        address = address.wrapping_add(u64::try_from(length).unwrap_or_default());
    }
    Err(nix::Error::EFAULT) // The kernel says that it is too long.
}

fn read(process: i32, address: u64, into: &mut [u8]) -> nix::Result<usize> {
    let remote = RemoteIoVec {
        base: usize::try_from(address).map_err(|_| nix::Error::EFAULT)?,
        len: into.len(),
    };
    process_vm_readv(
        Pid::from_raw(process),
        &mut [IoSliceMut::new(into)],
        &[remote],
    )
}
