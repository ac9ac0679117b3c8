//! Words of classic BPF programs, as seccomp runs them. The filters are written by hand because `seccompiler` kills on a
//! foreign architecture and knows one action for all calls.

use seccompiler::sock_filter;

#[cfg(target_arch = "x86_64")]
pub(super) const ARCH: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
pub(super) const ARCH: u32 = 0xC000_00B7;
#[cfg(target_arch = "riscv64")]
pub(super) const ARCH: u32 = 0xC000_00F3;
#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
)))]
pub(super) const ARCH: u32 = 0;

// Offsets in `struct seccomp_data`.
pub(super) const NUMBER: u32 = 0;
pub(super) const ARCHITECTURE: u32 = 4;
/// The low half of an argument; all these architectures are little-endian.
pub(super) const fn argument(index: u32) -> u32 {
    16 + 8 * index
}

// Opcodes of classic BPF.
pub(super) const LOAD: u16 = 0x20;
pub(super) const IF_EQUAL: u16 = 0x15;
pub(super) const IF_AT_LEAST: u16 = 0x35;
pub(super) const IF_ANY_BIT: u16 = 0x45;
pub(super) const RETURN: u16 = 0x06;

pub(super) const ALLOW: u32 = 0x7fff_0000;
pub(super) const fn refuse_with(error: i32) -> u32 {
    0x0005_0000 | error.cast_unsigned()
}

/// What to do for one call; any other goes past it.
pub(super) fn of(call: libc::c_long, then: &[sock_filter]) -> Vec<sock_filter> {
    let number = u32::try_from(call).unwrap_or(u32::MAX);
    let length = u8::try_from(then.len()).unwrap_or(u8::MAX);
    let mut all = vec![jump(IF_EQUAL, number, 0, length)];
    all.extend_from_slice(then);
    all
}

pub(super) const fn load(offset: u32) -> sock_filter {
    jump(LOAD, offset, 0, 0)
}

pub(super) const fn end(action: u32) -> sock_filter {
    jump(RETURN, action, 0, 0)
}

pub(super) const fn jump(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code, jt, jf, k }
}
