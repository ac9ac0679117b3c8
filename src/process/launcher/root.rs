//! A private file system: the host's directories at their usual places, some of them covered, and a place for the
//! room that is the same on every machine.
//!
//! Built like bubblewrap does it: a new root on a tmpfs, the host bound into it, then the host's root is detached. It
//! is invisible from outside and disappears with its last process.

use std::fs;
use std::io;
use std::path::Path;

use nix::sched::CloneFlags;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change,
    unmount,
};
use rustix::process::{getegid, geteuid, pivot_root};

use super::spec::{Bounds, Root, below};

/// Leaves the host's namespaces as requested. Users and groups stay the same.
pub(super) fn unshare(bounds: &Bounds) -> io::Result<()> {
    let mut flags = CloneFlags::empty();
    flags.set(CloneFlags::CLONE_NEWNS, bounds.root.is_some());
    flags.set(CloneFlags::CLONE_NEWNET, bounds.offline);
    if flags.is_empty() {
        return Ok(());
    }
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    flags.set(CloneFlags::CLONE_NEWUSER, bounds.user);
    nix::sched::unshare(flags)?;
    if bounds.user {
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
        fs::write("/proc/self/gid_map", format!("{group} {group} 1"))?;
    }
    Ok(())
}

/// Makes `new` the root of this process, which must have its own mount namespace.
pub(super) fn enter(new: &Root) -> io::Result<()> {
    mount_change(
        "/",
        MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC,
    )?;
    // Any directory will do: it is covered only until the next lines.
    let base = ["/tmp", "/usr"]
        .into_iter()
        .find(|path| Path::new(path).is_dir());
    let base = base.unwrap_or("/proc");
    tmpfs(base, c"mode=755")?;
    std::env::set_current_dir(base)?;
    for name in ["old", "new"] {
        fs::create_dir(name)?;
    }
    pivot_root(".", "old")?;
    std::env::set_current_dir("/")?;
    tmpfs("/new", c"mode=755")?;
    bind_host()?;
    furnish(new)?;
    std::env::set_current_dir("/new")?;
    pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    std::env::set_current_dir("/")
}

fn tmpfs(at: impl AsRef<Path>, mode: &std::ffi::CStr) -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    Ok(mount("tmpfs", at.as_ref(), "tmpfs", flags, mode)?)
}

/// Directories and links of the host's root. Files and hidden entries are left out: a tool that searches upwards for
/// its configuration must not find any there.
fn bind_host() -> io::Result<()> {
    for entry in fs::read_dir("/old")? {
        let entry = entry?;
        let name = entry.file_name();
        let (from, to) = (entry.path(), Path::new("/new").join(&name));
        let kind = entry.file_type()?;
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(from)?, to)?;
        } else if kind.is_dir() {
            fs::create_dir(&to)?;
            mount_bind_recursive(from, to)?;
        }
    }
    Ok(())
}

fn furnish(new: &Root) -> io::Result<()> {
    for path in &new.covers {
        let at = below("/new", path);
        if fs::symlink_metadata(&at).is_ok_and(|meta| meta.is_dir()) {
            tmpfs(at, c"mode=1777")?;
        }
    }
    for (path, target) in &new.links {
        let at = below("/new", path);
        parents(&at)?;
        std::os::unix::fs::symlink(target, at)?;
    }
    for (from, to) in &new.binds {
        let (from, to) = (below("/old", from), below("/new", to));
        // The path may have been deleted since the bounds were made; the command does not get it then.
        let Ok(meta) = fs::symlink_metadata(&from) else {
            continue;
        };
        parents(&to)?;
        if meta.is_dir() {
            fs::create_dir_all(&to)?;
        } else {
            drop(fs::File::options().append(true).create(true).open(&to)?);
        }
        mount_bind_recursive(from, to)?;
    }
    Ok(())
}

fn parents(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}
