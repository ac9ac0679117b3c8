//! Capabilities: the launcher needs some to build the walls, the command gets none, not even as root.

use std::io;

use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

use crate::rule::Rule;

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
