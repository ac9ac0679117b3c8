//! The outer launcher: namespaces, the lock, and the end of everything it started.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::limits::Watch;
use super::spec::Spec;
use super::{INNER, Report, WORD, told};

/// How often the disk is looked at, in seconds.
const LOOK: i64 = 1;

/// Serves the program's request.
pub(super) fn serve(parent: &UnixStream) -> io::Result<()> {
    let (spec, fds) = super::receive(parent)?;
    let mut fds = fds.into_iter();
    // Held until everything the command started is dead.
    let _lock = spec.hold.then(|| fds.next());
    let stdin = spec.stdin.then(|| fds.next()).flatten();
    let group = spec.bounds.limits.group();
    namespaces(&spec)?;
    let report = run(parent, &spec, stdin)?;
    let report = match group.as_ref() {
        Some(group) if group.ran_out_of_memory() => Report::Over(super::Over::Memory).encode(),
        _ => report,
    };
    let mut parent = parent;
    parent.write_all(report.as_bytes())
}

#[cfg(target_os = "linux")]
fn namespaces(spec: &Spec) -> io::Result<()> {
    let bounds = &spec.bounds;
    super::root::unshare(bounds).map_err(|error| told("cannot create namespaces", &error))?;
    if bounds.offline {
        super::network::loopback()
            .map_err(|error| told("cannot set up the loopback interface", &error))?;
    }
    if bounds.processes {
        rustix::system::sethostname(HOST_NAME)
            .map_err(|error| told("cannot set the host name", &error.into()))?;
    } else {
        let adopts = Some(rustix::process::getpid());
        rustix::process::set_child_subreaper(adopts)?;
    }
    if bounds.user {
        super::rights::keep_for_the_inner()
            .map_err(|error| told("cannot keep capabilities", &error))?;
    }
    Ok(())
}

/// The host name in every room.
#[cfg(target_os = "linux")]
const HOST_NAME: &[u8] = b"dagcache";

#[cfg(not(target_os = "linux"))]
fn namespaces(_: &Spec) -> io::Result<()> {
    Ok(())
}

/// Starts the inner launcher and waits until it and everything below it has ended. Returns its report.
fn run(parent: &UnixStream, spec: &Spec, stdin: Option<OwnedFd>) -> io::Result<String> {
    let (socket, theirs) = UnixStream::pair()?;
    let program = if cfg!(target_os = "linux") {
        "/proc/self/exe".into() // Right even if the file was replaced meanwhile.
    } else {
        std::env::current_exe()?
    };
    let mut command = Command::new(program);
    command
        .args([WORD, INNER])
        .env_clear()
        .envs(crate::rule::inherited())
        .stdin(Stdio::from(OwnedFd::from(theirs)));
    let mut child = command
        .spawn()
        .map_err(|error| told("cannot start the inner launcher", &error))?;
    drop(command);
    let fds: Vec<_> = stdin.iter().map(AsFd::as_fd).collect();
    match super::send(&socket, spec, &fds) {
        // It reports why it ended.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        other => other?,
    }
    drop(stdin);
    let report = attend(parent, &socket, &mut child, spec);
    let _ = child.kill();
    child.wait()?;
    if !spec.bounds.processes {
        sweep();
    }
    report
}

/// Passes on what the program asks for, until the inner launcher ends or the program wants it to.
fn attend(
    parent: &UnixStream,
    inner: &UnixStream,
    child: &mut Child,
    spec: &Spec,
) -> io::Result<String> {
    let mut watch = Watch::new(&spec.bounds.limits);
    let mut report = String::new();
    loop {
        let mut ready = [
            PollFd::new(parent, PollFlags::IN),
            PollFd::new(inner, PollFlags::IN),
        ];
        let wait = watch.as_ref().map(|_| Timespec {
            tv_sec: LOOK,
            tv_nsec: 0,
        });
        match poll(&mut ready, wait.as_ref()) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other?,
        };
        let [asked, said] = ready.map(|fd| !fd.revents().is_empty());
        if said {
            let mut chunk = [0; 4096];
            let length = (&mut &*inner).read(&mut chunk).unwrap_or(0);
            if length == 0 {
                return Ok(report);
            }
            let text = chunk.get(..length).unwrap_or_default();
            report.push_str(&String::from_utf8_lossy(text));
        }
        if asked {
            let mut word = [0; 1];
            match (&mut &*parent).read(&mut word) {
                Ok(1) => drop((&mut &*inner).write_all(&word)),
                _ => {
                    child.kill()?;
                    return Ok(String::new());
                }
            }
        }
        if !(asked || said)
            && let Some(over) = watch.as_mut().and_then(Watch::over)
        {
            child.kill()?;
            return Ok(Report::Over(over).encode());
        }
    }
}

/// Kills what the command left behind, which this process has adopted.
fn sweep() {
    #[cfg(target_os = "linux")]
    loop {
        for pid in children() {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        match rustix::process::wait(rustix::process::WaitOptions::empty()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return, // No child is left.
        }
    }
}

#[cfg(target_os = "linux")]
fn children() -> Vec<rustix::process::Pid> {
    let own = format!("PPid:\t{}", std::process::id());
    let is_child = |status: &str| status.lines().any(|line| line == own);
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let children = all.filter_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let status = std::fs::read_to_string(entry.path().join("status")).ok()?;
        is_child(&status).then(|| rustix::process::Pid::from_raw(pid))?
    });
    children.collect()
}
