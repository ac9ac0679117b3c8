//! The inner launcher: builds the walls around itself, starts the command and reaps what the command leaves behind.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::fs::Mode;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, kill_process_group};

use super::spec::{Bounds, Spec};
use super::{GO, Report, told};
use crate::rule::Rule;

/// Serves the program's request.
pub(super) fn serve(outer: &UnixStream, spec: &Spec, stdin: Option<OwnedFd>) -> io::Result<()> {
    // Otherwise it would outlive a killed outer launcher. `listen` notices one that died before this line.
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // If memory runs out, the check goes first. A lost wish is no reason not to run it. Its own `/proc` is read-only.
    #[cfg(target_os = "linux")]
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    if spec.bounds.trace.is_some() {
        super::trace::unblock()?;
        wait(outer)?;
    }
    session(spec, stdin.as_ref())?;
    if Rule::Umask.holds() {
        rustix::process::umask(Mode::from_raw_mode(0o022));
    }
    let bounds = &spec.bounds;
    confine(bounds)?;
    show(outer, bounds)?;
    std::env::set_current_dir(&spec.dir)
        .map_err(|error| told("cannot enter the working directory", &error))?;
    restrict(bounds)?;
    if spec.program.as_os_str().is_empty() {
        return report(outer, Report::Exit(0)); // Only a test of what is supported.
    }
    let id = start(spec, stdin)?;
    // The command may send some: for those that have handlers here, the kernel does not protect this process.
    #[cfg(target_os = "linux")]
    nix::sys::signal::SigSet::all().thread_block()?;
    let (others, alone) = (outer.try_clone()?, spec.terminal);
    let watcher = move || watch(&others, id, alone);
    std::thread::Builder::new().spawn(watcher)?;
    report(outer, reap(id)?)
}

/// Waits until the outer launcher has attached.
fn wait(mut outer: &UnixStream) -> io::Result<()> {
    let mut word = [0; GO.len()];
    outer.read_exact(&mut word)
}

fn report(mut outer: &UnixStream, report: Report) -> io::Result<()> {
    outer.write_all(report.encode().as_bytes())
}

/// A session without a terminal, or with one of its own: nothing can be typed into the user's.
fn session(spec: &Spec, stdin: Option<&OwnedFd>) -> io::Result<()> {
    if !Rule::OwnSession.holds() {
        return Ok(());
    }
    rustix::process::setsid()?;
    if let Some(terminal) = stdin.filter(|_| spec.terminal) {
        rustix::process::ioctl_tiocsctty(terminal)
            .map_err(|error| told("cannot take the terminal", &error.into()))?;
    }
    Ok(())
}

#[cfg(target_os = "linux")]
fn confine(bounds: &Bounds) -> io::Result<()> {
    if let Some(new) = &bounds.root {
        super::root::enter(new, bounds.processes)
            .map_err(|error| told("cannot set up the file system", &error))?;
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn confine(_: &Bounds) -> io::Result<()> {
    Ok(())
}

/// Hands the outer launcher the `/proc` of this namespace, to count what is in it.
#[cfg(target_os = "linux")]
fn show(outer: &UnixStream, bounds: &Bounds) -> io::Result<()> {
    if bounds.processes && bounds.limits.processes.is_some() {
        let all = std::fs::File::open("/proc")?;
        super::hand_over(outer, super::COUNT, &[all.as_fd()])?;
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn show(_: &UnixStream, _: &Bounds) -> io::Result<()> {
    Ok(())
}

/// What binds this process from here on, and with it everything it starts.
#[cfg(target_os = "linux")]
fn restrict(bounds: &Bounds) -> io::Result<()> {
    bounds
        .limits
        .set()
        .map_err(|error| told("cannot limit what it may use", &error))?;
    if let Some(rules) = &bounds.files {
        super::files::restrict(rules)
            .map_err(|error| told("cannot restrict file access", &error))?;
    }
    if bounds.root.is_some() || bounds.processes {
        super::rights::drop_all().map_err(|error| told("cannot drop capabilities", &error))?;
        // The command may not look into this process.
        let hidden = rustix::process::DumpableBehavior::NotDumpable;
        rustix::process::set_dumpable_behavior(hidden)?;
    }
    if bounds.calls {
        super::calls::refuse().map_err(|error| told("cannot refuse system calls", &error))?;
    }
    if bounds.trace.is_some() {
        super::trace::install().map_err(|error| told("cannot trace it", &error))?;
    }
    if Rule::Descriptors.holds() {
        close_fds::set_fds_cloexec(3, &[]);
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn restrict(bounds: &Bounds) -> io::Result<()> {
    bounds.limits.set()
}

fn start(spec: &Spec, stdin: Option<OwnedFd>) -> io::Result<Pid> {
    let mut command = Command::new(&spec.program);
    command
        .args(&spec.args)
        .env_clear()
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .stdin(stdin.map_or_else(Stdio::null, Stdio::from));
    if !spec.terminal {
        command.process_group(0);
    }
    let child = command.spawn()?;
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    id.ok_or_else(|| io::Error::other("the command has no process id"))
}

/// Passes on what the outer launcher asks for. Ends everything if that is gone: the kernel kills the others with the first
/// process of their namespace.
fn watch(mut outer: &UnixStream, id: Pid, alone: bool) {
    let mut word = [0; 1];
    loop {
        match outer.read(&mut word) {
            Ok(1) if alone => drop(kill_process(id, Signal::TERM)),
            Ok(1) => drop(kill_process_group(id, Signal::TERM)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => end(),
        }
    }
}

/// Ends this process from any thread. No signal of its own does: the kernel does not let it kill the first process of a
/// namespace that is traced.
#[expect(clippy::exit, reason = "there is nobody to return to")]
fn end() -> ! {
    std::process::exit(1)
}

/// Reaps every process that ends, until the command does.
fn reap(id: Pid) -> io::Result<Report> {
    loop {
        let ended = match rustix::process::wait(WaitOptions::empty()) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other?,
        };
        if let Some((other, status)) = ended
            && other == id
        {
            return Ok(match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => Report::Exit(code),
                (None, signal) => Report::Signal(signal.unwrap_or_default()),
            });
        }
    }
}
