//! Capabilities: the inner launcher needs a few to build the walls, the command gets none, not even as root.

use std::io;

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs,
};

use crate::rule::Rule;

/// For mounting, and for dropping all of them.
const NEEDED: CapabilitySet = CapabilitySet::SYS_ADMIN.union(CapabilitySet::SETPCAP);

/// Keeps across the start of the inner launcher what it needs: in a user namespace it is not root, so the kernel would
/// take everything away.
pub(super) fn keep_for_the_inner() -> io::Result<()> {
    let mut sets = capabilities(None)?;
    sets.inheritable = NEEDED;
    set_capabilities(None, sets)?;
    for one in NEEDED.iter() {
        configure_capability_in_ambient_set(one, true)?;
    }
    Ok(())
}

/// Leaves this process and its descendants without capabilities, for good.
pub(super) fn drop_all() -> io::Result<()> {
    if !Rule::NoCapabilities.holds() {
        return Ok(());
    }
    clear_ambient_capability_set()?;
    for bit in 0..u64::BITS {
        let one = CapabilitySet::from_bits_retain(1 << bit);
        // Unknown to this kernel, or never held: then there is nothing to drop.
        let _ = remove_capability_from_bounding_set(one);
    }
    let none = CapabilitySet::empty();
    set_capabilities(
        None,
        CapabilitySets {
            effective: none,
            permitted: none,
            inheritable: none,
        },
    )?;
    Ok(set_no_new_privs(true)?)
}
