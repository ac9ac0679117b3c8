//! File access by Landlock: whatever no rule grants is refused to the command and its descendants.
//!
//! Checking whether a file exists still works. Signals to outside processes and
//! their abstract sockets are refused where the kernel supports it.

use std::io;
use std::path::PathBuf;

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};

use super::spec::Access;

/// Earlier versions cannot allow moving files between directories and do not refuse truncation.
const NEEDED: ABI = ABI::V3;
/// The newest version whose rights this module knows.
const KNOWN: ABI = ABI::V9;

/// Restricts this process and its descendants. Missing paths are skipped.
pub(super) fn restrict(rules: &[(Access, PathBuf)]) -> io::Result<()> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(NEEDED))
        .map_err(io::Error::other)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))
        .and_then(|ruleset| ruleset.scope(Scope::Signal | Scope::AbstractUnixSocket))
        .and_then(Ruleset::create)
        .map_err(io::Error::other)?;
    for (access, path) in rules {
        if let Ok(place) = PathFd::new(path) {
            // For a file, the rights that only directories have are left out.
            let rule = PathBeneath::new(place, rights(*access));
            ruleset = ruleset.add_rule(rule).map_err(io::Error::other)?;
        }
    }
    let status = ruleset.restrict_self().map_err(io::Error::other)?;
    if status.ruleset == RulesetStatus::NotEnforced {
        return Err(io::Error::other("Landlock is disabled"));
    }
    Ok(())
}

fn rights(access: Access) -> BitFlags<AccessFs> {
    let ioctl = AccessFs::IoctlDev;
    match access {
        Access::Read => AccessFs::from_read(NEEDED),
        Access::Write => AccessFs::from_all(KNOWN) & !BitFlags::from(ioctl),
        Access::Device => AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::WriteFile | ioctl,
    }
}
