//! A file system of its own for a command: system folders, what it was granted, a place for the room that is the same
//! on every machine, and nothing else. Only its room and its temporary folders can be written or changed in any way:
//! modes, times and owners are no opens, so Landlock does not cover them.
//!
//! Built like bubblewrap does it: a new root on a tmpfs, parts of the host bound into it, then the host's root is
//! detached. It is invisible from outside and disappears with its last process.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use nix::sched::CloneFlags;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive,
    mount_change, mount_remount, unmount,
};
use rustix::process::{getegid, geteuid, pivot_root};

use super::spec::{Bounds, Root, below};
use super::told;
use crate::rule::Rule;
use crate::visible::Shown as _;

/// The user and group in every room that has a user namespace.
const ID: u32 = 1000;

/// Devices that programs rely on.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Shared memory: private like the other temporary folders.
const MEMORY: &str = "/dev/shm";

/// An empty directory.
const EMPTY: &str = "/fixed/empty";

/// Nothing in it is more than a file.
const PLAIN: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// Leaves the host's namespaces as requested, except for the mount namespace, which is the inner launcher's.
pub(super) fn unshare(bounds: &Bounds) -> io::Result<()> {
    let mut flags = CloneFlags::empty();
    flags.set(CloneFlags::CLONE_NEWNET, bounds.offline);
    let own = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS;
    flags.set(own, bounds.processes);
    flags.set(CloneFlags::CLONE_NEWUSER, bounds.user);
    if flags.is_empty() {
        return Ok(());
    }
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    if bounds.user && user == 0 {
        // Groups of root's own login would still open files.
        let _ = rustix::thread::set_thread_groups(&[]);
    }
    nix::sched::unshare(flags)?;
    if bounds.user {
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("{ID} {user} 1"))?;
        fs::write("/proc/self/gid_map", format!("{ID} {group} 1"))?;
    }
    Ok(())
}

/// Makes `new` the root of this process, in a mount namespace of its own. `processes`: whether `/proc` shows those of
/// its own namespace.
pub(super) fn enter(new: &Root, processes: bool) -> io::Result<()> {
    nix::sched::unshare(CloneFlags::CLONE_NEWNS)?;
    mount_change(
        "/",
        MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC,
    )?;
    // Any directory will do: it is covered only until the next lines.
    let base = ["/tmp", "/usr"]
        .into_iter()
        .find(|path| Path::new(path).is_dir());
    let base = base.unwrap_or("/proc");
    mount("tmpfs", base, "tmpfs", PLAIN, c"mode=755")?;
    std::env::set_current_dir(base)?;
    for name in ["old", "new", "scratch", "fixed"] {
        fs::create_dir(name)?;
    }
    pivot_root(".", "old")?;
    std::env::set_current_dir("/")?;
    mount_bind("/new", "/new")?;
    fix(new)?;
    for path in &new.shown {
        show(path)?;
    }
    furnish(new)?;
    devices()?;
    proc(processes)?;
    if Rule::ReadOnly.holds() {
        freeze(new)?;
    }
    std::env::set_current_dir("/new")?;
    pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    std::env::set_current_dir("/")
}

/// Fills `/fixed`, which is read-only from here on, and so is all that is bound from there: files with fixed content by
/// number, and an empty directory.
fn fix(new: &Root) -> io::Result<()> {
    for (number, (_, content)) in new.fixed.iter().enumerate() {
        fs::write(fixed(number), content)?;
    }
    fs::create_dir(EMPTY)?;
    mount_bind("/fixed", "/fixed")?;
    if Rule::ReadOnly.holds() {
        let flags = MountFlags::BIND | MountFlags::RDONLY | PLAIN;
        mount_remount("/fixed", flags, c"")?;
    }
    Ok(())
}

fn fixed(number: usize) -> PathBuf {
    Path::new("/fixed").join(number.to_string())
}

/// A private, empty, writable directory. All are parts of one file system, which is made and removed faster than many.
fn scratch(number: usize, at: &Path) -> io::Result<()> {
    let from = Path::new("/scratch").join(number.to_string());
    fs::create_dir(&from)?;
    fs::set_permissions(&from, fs::Permissions::from_mode(0o1777))?;
    fs::create_dir_all(at)?;
    Ok(mount_bind(from, at)?)
}

/// A directory of the host, or a link to one, at its own path.
fn show(path: &Path) -> io::Result<()> {
    let (from, to) = (below("/old", path), below("/new", path));
    let Ok(meta) = fs::symlink_metadata(&from) else {
        return Ok(());
    };
    parents(&to)?;
    if meta.is_symlink() {
        return symlink(fs::read_link(from)?, to);
    }
    bind(&from, &to, meta.is_dir())
}

fn bind(from: &Path, to: &Path, is_dir: bool) -> io::Result<()> {
    if is_dir {
        fs::create_dir_all(to)?;
    } else if fs::symlink_metadata(to).is_err() {
        drop(fs::File::create_new(to)?);
    }
    mount_bind_recursive(from, to)
        .map_err(|error| told(&format!("cannot show {}", to.shown()), &error.into()))
}

fn furnish(new: &Root) -> io::Result<()> {
    let memory = Path::new(MEMORY);
    let all = new.scratch.iter().map(PathBuf::as_path).chain([memory]);
    for (number, path) in all.enumerate() {
        scratch(number, &below("/new", path))?;
    }
    for path in &new.covers {
        let at = below("/new", path);
        if fs::symlink_metadata(&at).is_ok_and(|meta| meta.is_dir()) {
            mount_bind(EMPTY, at)?;
        }
    }
    for (path, target) in &new.links {
        let at = below("/new", path);
        parents(&at)?;
        symlink(target, at)?;
    }
    for (from, to) in new.binds.iter().chain(&new.writable) {
        let (from, to) = (below("/old", from), below("/new", to));
        // The path may have been deleted since the bounds were made; the command does not get it then.
        let Ok(meta) = fs::symlink_metadata(&from) else {
            continue;
        };
        parents(&to)?;
        bind(&from, &to, meta.is_dir())?;
    }
    for (number, (path, _)) in new.fixed.iter().enumerate() {
        let to = below("/new", path);
        if fs::symlink_metadata(&to).is_ok_and(|meta| meta.is_file()) {
            bind(&fixed(number), &to, false)?;
        }
    }
    Ok(())
}

/// A minimal `/dev`, with terminals of its own.
fn devices() -> io::Result<()> {
    for name in DEVICES {
        let from = Path::new("/old/dev").join(name);
        if from.exists() {
            bind(&from, &Path::new("/new/dev").join(name), false)?;
        }
    }
    fs::create_dir("/new/dev/pts")?;
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    let options = c"newinstance,ptmxmode=0666,mode=620";
    mount("devpts", "/new/dev/pts", "devpts", flags, options)?;
    let links = [
        ("pts/ptmx", "ptmx"),
        ("/proc/self/fd", "fd"),
        ("/proc/self/fd/0", "stdin"),
        ("/proc/self/fd/1", "stdout"),
        ("/proc/self/fd/2", "stderr"),
    ];
    for (target, name) in links {
        symlink(target, Path::new("/new/dev").join(name))?;
    }
    Ok(())
}

fn proc(own: bool) -> io::Result<()> {
    fs::create_dir_all("/new/proc")?;
    if !own {
        return Ok(mount_bind_recursive("/old/proc", "/new/proc")?);
    }
    let mut flags = PLAIN | MountFlags::NOEXEC;
    flags.set(MountFlags::RDONLY, Rule::ReadOnly.holds());
    Ok(mount("proc", "/new/proc", "proc", flags, c"")?)
}

/// Makes every mount of the new root read-only that is not meant for writing.
fn freeze(new: &Root) -> io::Result<()> {
    let writable = new.writable.iter().map(|(_, to)| to.as_path());
    let scratch = new.scratch.iter().map(PathBuf::as_path);
    let writable = writable.chain(scratch).chain([Path::new(MEMORY)]);
    let writable: Vec<PathBuf> = writable.map(|path| below("/new", path)).collect();
    for line in fs::read("/old/proc/self/mountinfo")?.split(|byte| *byte == b'\n') {
        let Some((path, flags)) = mount_of(line) else {
            continue;
        };
        let more = if writable.contains(&path) {
            PLAIN
        } else {
            MountFlags::RDONLY
        };
        // Terminals are made there.
        let is_pts = path == Path::new("/new/dev/pts");
        if !path.starts_with("/new") || flags.contains(more) || is_pts {
            continue;
        }
        match mount_remount(&path, MountFlags::BIND | flags | more, c"") {
            // Covered by another mount, which has its own line.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
            other => other?,
        }
    }
    Ok(())
}

/// Mount point and flags of a line of `/proc/PID/mountinfo`; see proc(5). The flags must be repeated when remounting.
fn mount_of(line: &[u8]) -> Option<(PathBuf, MountFlags)> {
    let mut fields = line.split(|byte| *byte == b' ').skip(4);
    let path = unescaped(fields.next()?);
    let mut flags = MountFlags::empty();
    for option in fields.next()?.split(|byte| *byte == b',') {
        flags |= match option {
            b"ro" => MountFlags::RDONLY,
            b"nosuid" => MountFlags::NOSUID,
            b"nodev" => MountFlags::NODEV,
            b"noexec" => MountFlags::NOEXEC,
            _ => MountFlags::empty(), // How access times are kept stays as it is.
        };
    }
    Some((path, flags))
}

/// Undoes the octal escapes of white space and backslashes.
fn unescaped(text: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let digits = after
            .get(..3)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let code = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code.filter(|_| *first == b'\\') {
            Some(code) => {
                out.push(code);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(out))
}

fn parents(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_as_the_kernel_writes_them() {
        let line =
            br"36 35 98:0 / /new/a\040b\134c rw,nosuid,relatime shared:1 - ext4 /dev/sda1 rw";
        let (path, flags) = mount_of(line).expect("a mount");
        assert_eq!(path, Path::new(r"/new/a b\c"));
        assert_eq!(flags, MountFlags::NOSUID);
        assert_eq!(mount_of(b""), None);
    }
}
