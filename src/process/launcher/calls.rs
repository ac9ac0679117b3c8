//! System calls that no check needs and that lead around the other walls. Each gets the error a program meets on a
//! system without it, so programs fall back.
//!
//! Numbers are those of the architecture this program was built for; calls of any other (32-bit programs), and those
//! newer than this program knows, do not exist.

use std::io;

use libc::{EAFNOSUPPORT, ENOSYS, EPERM};
use seccompiler::{apply_filter, sock_filter};

use super::bpf::{
    ALLOW, ARCH, ARCHITECTURE, IF_ANY_BIT, IF_AT_LEAST, IF_EQUAL, NUMBER, argument, end, jump,
    load, of, refuse_with,
};
use super::trace::NEWEST;

/// Refused without a look at their arguments, with the error.
const REFUSED: &[(libc::c_long, i32)] = &[
    // Opens and sockets that the filter would not see.
    (libc::SYS_io_uring_setup, ENOSYS),
    (libc::SYS_io_uring_enter, ENOSYS),
    (libc::SYS_io_uring_register, ENOSYS),
    (libc::SYS_userfaultfd, ENOSYS),
    // Its flags are behind a pointer; the C libraries fall back to clone.
    (libc::SYS_clone3, ENOSYS),
    // The session's keyring belongs to the user.
    (libc::SYS_keyctl, ENOSYS),
    (libc::SYS_add_key, ENOSYS),
    (libc::SYS_request_key, ENOSYS),
    // The file system stays as it was set up.
    (libc::SYS_mount, EPERM),
    (libc::SYS_umount2, EPERM),
    (libc::SYS_pivot_root, EPERM),
    (libc::SYS_chroot, EPERM),
    (libc::SYS_setns, EPERM),
    (libc::SYS_open_tree, EPERM),
    (SYS_OPEN_TREE_ATTR, EPERM),
    (libc::SYS_move_mount, EPERM),
    (libc::SYS_fsopen, EPERM),
    (libc::SYS_fsconfig, EPERM),
    (libc::SYS_fsmount, EPERM),
    (libc::SYS_fspick, EPERM),
    (libc::SYS_mount_setattr, EPERM),
    (libc::SYS_open_by_handle_at, EPERM),
    // What others do with files.
    (libc::SYS_fanotify_init, EPERM),
    // The machine.
    (libc::SYS_bpf, EPERM),
    (libc::SYS_perf_event_open, EPERM),
    (libc::SYS_syslog, EPERM),
    (libc::SYS_kexec_load, EPERM),
    (libc::SYS_init_module, EPERM),
    (libc::SYS_finit_module, EPERM),
    (libc::SYS_delete_module, EPERM),
    (libc::SYS_reboot, EPERM),
    (libc::SYS_swapon, EPERM),
    (libc::SYS_swapoff, EPERM),
    (libc::SYS_acct, EPERM),
    (libc::SYS_quotactl, EPERM),
];

/// Newer than the constants of `libc`; the same number everywhere.
const SYS_OPEN_TREE_ATTR: libc::c_long = 467;

/// All namespaces: in a new user namespace a process would have every capability.
const NAMESPACES: i32 = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;

/// Kinds of sockets; every other one leads to something outside (`AF_VSOCK` to the hypervisor).
const FAMILIES: [i32; 4] = [
    libc::AF_UNIX,
    libc::AF_INET,
    libc::AF_INET6,
    libc::AF_NETLINK,
];

/// `TIOCSTI`, `TIOCLINUX`: typing into a terminal, and commands of the console.
const TYPING: [u32; 2] = [0x5412, 0x541C];

/// `F_SETLEASE`, `F_NOTIFY`: holding up, or being told, whoever opens a file of the host.
const LEASES: [u32; 2] = [1024, 1026];

/// Refuses the calls to this process and its descendants.
pub(super) fn refuse() -> io::Result<()> {
    if ARCH == 0 {
        return Err(io::Error::other("not supported on this architecture"));
    }
    apply_filter(&program()).map_err(io::Error::other)
}

fn program() -> Vec<sock_filter> {
    let mut all = vec![
        load(ARCHITECTURE),
        jump(IF_EQUAL, ARCH, 1, 0),
        end(refuse_with(ENOSYS)),
        load(NUMBER),
    ];
    // Newer than this program, or of the x32 ABI.
    all.extend([
        jump(IF_AT_LEAST, NEWEST + 1, 0, 1),
        end(refuse_with(ENOSYS)),
    ]);
    for (call, error) in REFUSED {
        all.extend(of(*call, &[end(refuse_with(*error))]));
    }
    let namespaces = [
        load(argument(0)),
        jump(IF_ANY_BIT, NAMESPACES.cast_unsigned(), 0, 1),
        end(refuse_with(EPERM)),
        end(ALLOW),
    ];
    all.extend(of(libc::SYS_clone, &namespaces));
    all.extend(of(libc::SYS_unshare, &namespaces));
    all.extend(of(libc::SYS_socket, &only(0, &FAMILIES, EAFNOSUPPORT)));
    all.extend(of(libc::SYS_ioctl, &except(1, &TYPING)));
    all.extend(of(libc::SYS_fcntl, &except(1, &LEASES)));
    all.extend(of(libc::SYS_prlimit64, &only(0, &[0], EPERM)));
    all.push(end(ALLOW));
    all
}

/// Allows a call only with one of these values as argument.
fn only(index: u32, values: &[i32], error: i32) -> Vec<sock_filter> {
    let mut all = vec![load(argument(index))];
    for value in values {
        all.extend([jump(IF_EQUAL, value.cast_unsigned(), 0, 1), end(ALLOW)]);
    }
    all.push(end(refuse_with(error)));
    all
}

/// Refuses a call with one of these values as argument.
fn except(index: u32, values: &[u32]) -> Vec<sock_filter> {
    let mut all = vec![load(argument(index))];
    for value in values {
        all.extend([jump(IF_EQUAL, *value, 0, 1), end(refuse_with(EPERM))]);
    }
    all.push(end(ALLOW));
    all
}

#[cfg(test)]
mod tests {
    use super::super::bpf::RETURN;
    use super::*;

    #[test]
    fn every_path_through_the_filter_ends_in_it() {
        let program = program();
        for (at, one) in program.iter().enumerate() {
            if [IF_EQUAL, IF_AT_LEAST, IF_ANY_BIT].contains(&one.code) {
                let furthest = at + 1 + usize::from(one.jt.max(one.jf));
                assert!(furthest < program.len(), "{at}");
            }
        }
        assert_eq!(program.last().map(|last| last.code), Some(RETURN));
    }
}
