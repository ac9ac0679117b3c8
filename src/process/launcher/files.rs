//! What may be opened, by Landlock: whatever no rule names is refused, to the command and to all that it starts.
//!
//! Whether a file exists can still be asked. Signals to processes outside are refused where the kernel can.

use std::io;
use std::path::PathBuf;

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope, path_beneath_rules,
};

use super::spec::Access;

/// Before this version files cannot be moved between folders and truncating is not refused.
const NEEDED: ABI = ABI::V3;
/// The newest version whose rights are known here.
const KNOWN: ABI = ABI::V9;

/// Restricts this process and what it becomes. Paths that are not there are left out.
pub(super) fn restrict(rules: &[(Access, PathBuf)]) -> io::Result<()> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(NEEDED))
        .map_err(io::Error::other)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))
        .and_then(|ruleset| ruleset.scope(Scope::Signal))
        .and_then(Ruleset::create)
        .map_err(io::Error::other)?;
    for (access, path) in rules {
        if PathFd::new(path).is_ok() {
            ruleset = ruleset
                .add_rules(path_beneath_rules([path], rights(*access)))
                .map_err(io::Error::other)?;
        }
    }
    let status = ruleset.restrict_self().map_err(io::Error::other)?;
    if status.ruleset == RulesetStatus::NotEnforced {
        return Err(io::Error::other("Landlock is switched off"));
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
