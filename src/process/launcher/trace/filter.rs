//! The filter that stops a traced command at the calls of the table. All others cost nothing.

use std::io;

use seccompiler::{apply_filter, sock_filter};

use super::calls::rows;
use crate::process::launcher::bpf::{ALLOW, ARCHITECTURE, NUMBER, RETURN, of};
use crate::process::launcher::bpf::{ARCH, IF_ANY_BIT, IF_EQUAL, argument, end, jump, load};

/// `SECCOMP_RET_TRACE`: without a tracer, the call answers ENOSYS.
const TRACE: u32 = 0x7ff0_0000;

/// `CLONE_UNTRACED`.
const UNTRACED: u32 = 0x0080_0000;
/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`.
const LISTENER: u32 = 1 << 3;

/// Stops this process and its descendants at these calls from now on.
pub(in super::super) fn install() -> io::Result<()> {
    apply_filter(&program()).map_err(io::Error::other)
}

fn program() -> Vec<sock_filter> {
    // Calls of another architecture do not exist; see `launcher::calls`.
    let mut all = vec![
        load(ARCHITECTURE),
        jump(IF_EQUAL, ARCH, 1, 0),
        end(ALLOW),
        load(NUMBER),
    ];
    let mut calls: Vec<libc::c_long> = rows().map(|row| row.call).collect();
    calls.push(libc::SYS_ptrace);
    calls.sort_unstable();
    calls.dedup();
    for call in calls {
        all.extend(of(call, &[end(TRACE)]));
    }
    for (call, index, bit) in [
        (libc::SYS_clone, 0, UNTRACED),
        (libc::SYS_seccomp, 1, LISTENER),
    ] {
        let with_bit = [
            load(argument(index)),
            jump(IF_ANY_BIT, bit, 0, 1),
            end(TRACE),
            end(ALLOW),
        ];
        all.extend(of(call, &with_bit));
    }
    all.push(end(ALLOW));
    debug_assert!(all.last().is_some_and(|last| last.code == RETURN));
    all
}
