//! The system calls that are stopped at, and what each does with its paths.
//!
//! A call that takes a path and is missing here would be an input that nobody notices. Hence calls newer than this
//! table do not exist in a room (see [`NEWEST`]): programs fall back to older ones.

/// What a call does with a path. Whether it succeeds is not waited for: what it may do to an existing entry depends on
/// the same facts either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Opens it; the flags are in this argument.
    Open(usize),
    /// The same, with the flags behind a pointer (`openat2`).
    OpenHow(usize),
    /// Asks for its attributes.
    Stat(Follow),
    /// Asks whether it exists, or changes attributes other than its content.
    Look(Follow),
    /// Asks for its content, or changes it.
    Content(Follow),
    ReadLink,
    /// Lists the open directory.
    List,
    Execute(Follow),
    /// Makes it, unless it exists.
    Make,
    Remove,
    /// Moves it away; `Make` goes with it.
    Move,
}

/// Whether a link at the end of the path is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Follow {
    Always,
    Never,
    /// Unless this argument has `AT_SYMLINK_NOFOLLOW`.
    Unless(usize),
    /// If this argument has `AT_SYMLINK_FOLLOW`.
    If(usize),
}

/// One path of a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) call: libc::c_long,
    /// The argument with the directory that a relative path starts from; `None` for the working directory.
    pub(super) dir: Option<usize>,
    /// The argument with the path; `None` if the call is about the descriptor alone.
    pub(super) path: Option<usize>,
    pub(super) what: Use,
}

/// A call that has nothing to do with paths, or not with files' content, and still has to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escape {
    /// `clone` with `CLONE_UNTRACED`.
    Untraced,
    /// `ptrace`: a tracer inside.
    Tracer,
    /// `seccomp` with a listener, which would hide calls.
    Listener,
}

impl Escape {
    /// For a message about a check: "it …".
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::Untraced => "started a process that cannot be traced (a leak sanitizer does)",
            Self::Tracer => "traces processes itself",
            Self::Listener => "intercepts system calls itself",
        }
    }
}

/// The calls up to here are known, on every architecture; see `include/uapi/asm-generic/unistd.h` of Linux 6.18.
pub(in super::super) const NEWEST: u32 = 470;

// Newer than the constants of `libc`; the same number everywhere.
const SYS_FCHMODAT2: libc::c_long = 452;
const SYS_SETXATTRAT: libc::c_long = 463;
const SYS_GETXATTRAT: libc::c_long = 464;
const SYS_LISTXATTRAT: libc::c_long = 465;
const SYS_REMOVEXATTRAT: libc::c_long = 466;
const SYS_FILE_GETATTR: libc::c_long = 468;
const SYS_FILE_SETATTR: libc::c_long = 469;

const fn row(call: libc::c_long, path: usize, what: Use) -> Row {
    Row {
        call,
        dir: None,
        path: Some(path),
        what,
    }
}

/// The path follows the directory.
const fn at(call: libc::c_long, dir: usize, what: Use) -> Row {
    Row {
        call,
        dir: Some(dir),
        path: Some(dir + 1),
        what,
    }
}

use Follow::{Always, If, Never, Unless};
use Use::{Content, Execute, List, Look, Make, Move, Open, OpenHow, ReadLink, Remove, Stat};

/// Those of every architecture.
const ROWS: &[Row] = &[
    at(libc::SYS_openat, 0, Open(2)),
    at(libc::SYS_openat2, 0, OpenHow(2)),
    at(libc::SYS_newfstatat, 0, Stat(Unless(3))),
    at(libc::SYS_statx, 0, Stat(Unless(2))),
    at(libc::SYS_faccessat, 0, Look(Always)),
    at(libc::SYS_faccessat2, 0, Look(Unless(3))),
    at(libc::SYS_readlinkat, 0, ReadLink),
    row(libc::SYS_execve, 0, Execute(Always)),
    at(libc::SYS_execveat, 0, Execute(Unless(4))),
    row(libc::SYS_chdir, 0, Look(Always)),
    row(libc::SYS_statfs, 0, Look(Always)),
    row(libc::SYS_truncate, 0, Content(Always)),
    at(libc::SYS_mkdirat, 0, Make),
    at(libc::SYS_mknodat, 0, Make),
    at(libc::SYS_unlinkat, 0, Remove),
    Row {
        call: libc::SYS_symlinkat,
        dir: Some(1),
        path: Some(2),
        what: Make,
    },
    // Others may share the working directory.
    Row {
        call: libc::SYS_fchdir,
        dir: None,
        path: None,
        what: Look(Always),
    },
    // Opening a directory is not enough: `find` keeps the working directory open.
    Row {
        call: libc::SYS_getdents64,
        dir: Some(0),
        path: None,
        what: List,
    },
    at(libc::SYS_linkat, 0, Content(If(4))),
    at(libc::SYS_linkat, 2, Make),
    at(libc::SYS_renameat, 0, Move),
    at(libc::SYS_renameat, 2, Make),
    at(libc::SYS_renameat2, 0, Move),
    // With `RENAME_EXCHANGE` both are moved.
    at(libc::SYS_renameat2, 2, Move),
    at(libc::SYS_fchmodat, 0, Look(Always)),
    at(SYS_FCHMODAT2, 0, Look(Unless(3))),
    at(libc::SYS_fchownat, 0, Look(Unless(4))),
    at(libc::SYS_utimensat, 0, Look(Unless(3))),
    row(libc::SYS_getxattr, 0, Look(Always)),
    row(libc::SYS_lgetxattr, 0, Look(Never)),
    row(libc::SYS_setxattr, 0, Look(Always)),
    row(libc::SYS_lsetxattr, 0, Look(Never)),
    row(libc::SYS_listxattr, 0, Look(Always)),
    row(libc::SYS_llistxattr, 0, Look(Never)),
    row(libc::SYS_removexattr, 0, Look(Always)),
    row(libc::SYS_lremovexattr, 0, Look(Never)),
    at(SYS_SETXATTRAT, 0, Look(Unless(2))),
    at(SYS_GETXATTRAT, 0, Look(Unless(2))),
    at(SYS_LISTXATTRAT, 0, Look(Unless(2))),
    at(SYS_REMOVEXATTRAT, 0, Look(Unless(2))),
    at(SYS_FILE_GETATTR, 0, Look(Unless(4))),
    at(SYS_FILE_SETATTR, 0, Look(Unless(4))),
    row(libc::SYS_inotify_add_watch, 1, Look(Always)),
    at(libc::SYS_name_to_handle_at, 0, Look(If(4))),
];

/// Those that newer architectures do without.
#[cfg(target_arch = "x86_64")]
const OLD: &[Row] = &[
    Row {
        call: libc::SYS_getdents,
        dir: Some(0),
        path: None,
        what: List,
    },
    row(libc::SYS_open, 0, Open(1)),
    row(libc::SYS_creat, 0, Content(Always)),
    row(libc::SYS_creat, 0, Make),
    row(libc::SYS_stat, 0, Stat(Always)),
    row(libc::SYS_lstat, 0, Stat(Never)),
    row(libc::SYS_access, 0, Look(Always)),
    row(libc::SYS_readlink, 0, ReadLink),
    row(libc::SYS_mkdir, 0, Make),
    row(libc::SYS_mknod, 0, Make),
    row(libc::SYS_unlink, 0, Remove),
    row(libc::SYS_rmdir, 0, Remove),
    row(libc::SYS_symlink, 1, Make),
    row(libc::SYS_link, 0, Content(Never)),
    row(libc::SYS_link, 1, Make),
    row(libc::SYS_rename, 0, Move),
    row(libc::SYS_rename, 1, Make),
    row(libc::SYS_chmod, 0, Look(Always)),
    row(libc::SYS_chown, 0, Look(Always)),
    row(libc::SYS_lchown, 0, Look(Never)),
    row(libc::SYS_utime, 0, Look(Always)),
    row(libc::SYS_utimes, 0, Look(Always)),
    at(libc::SYS_futimesat, 0, Look(Always)),
];

#[cfg(not(target_arch = "x86_64"))]
const OLD: &[Row] = &[];

pub(super) fn rows() -> impl Iterator<Item = &'static Row> {
    ROWS.iter().chain(OLD)
}

/// What a call does with its paths; nothing for a call that is not in the table.
pub(super) fn rows_of(call: libc::c_long) -> impl Iterator<Item = &'static Row> {
    rows().filter(move |row| row.call == call)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_that_takes_a_path_is_known() {
        // The names of the system calls with `const char *filename` and the like, as strace groups them (`%file`).
        let known = rows().map(|row| row.call);
        assert!(
            known
                .max()
                .is_some_and(|call| u32::try_from(call).is_ok_and(|call| call <= NEWEST))
        );
        for call in [libc::SYS_openat, libc::SYS_execve, libc::SYS_renameat2] {
            assert!(rows_of(call).next().is_some());
        }
        assert_eq!(rows_of(libc::SYS_read).count(), 0);
    }
}
