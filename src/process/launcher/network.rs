//! Brings up the loopback interface of a new network namespace.

use std::io;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};

/// `RTM_NEWLINK`: changes an interface.
const NEW_LINK: u16 = 16;
/// `NLM_F_REQUEST | NLM_F_ACK`.
const REQUEST: u16 = 1 | 4;
/// The loopback interface is the first of its namespace.
const LOOPBACK: u32 = 1;
/// `IFF_UP`, as flags and as change mask.
const UP: u32 = 1;

pub(super) fn loopback() -> io::Result<()> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        None, // The first protocol of the family is `NETLINK_ROUTE`.
    )?;
    send(&socket, &request(), SendFlags::empty())?;
    let mut answer = [0; 64];
    recv(&socket, &mut answer[..], RecvFlags::empty())?;
    // A 16-byte header, then the negated error number.
    match answer[16..20].try_into().map(i32::from_ne_bytes) {
        Ok(0) => Ok(()),
        Ok(code) => Err(io::Error::from_raw_os_error(-code)),
        Err(_) => Err(io::Error::other("no answer")),
    }
}

/// `nlmsghdr` and `ifinfomsg`.
fn request() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(32);
    bytes.extend(32_u32.to_ne_bytes());
    bytes.extend(NEW_LINK.to_ne_bytes());
    bytes.extend(REQUEST.to_ne_bytes());
    bytes.extend([0; 8]); // sequence, sender
    bytes.extend([0; 4]); // family, padding, type
    bytes.extend(LOOPBACK.to_ne_bytes());
    bytes.extend(UP.to_ne_bytes());
    bytes.extend(UP.to_ne_bytes());
    bytes
}
