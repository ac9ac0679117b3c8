//! Whether the store may be believed: only if nobody but this user and root can have written to it.
//!
//! Changes nothing but the mode of a folder that only this user's own group could write to.

use std::fs::{Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::fs::own::is_own;
use crate::store::LAYOUT;
use crate::visible::Shown as _;

/// Every folder of the store.
const FOLDERS: &[&str] = &[
    "ac",
    "cas",
    "checkouts",
    "distrusted",
    "generations",
    "kept",
    "last",
    "layers",
    "locks",
    "memo",
    "parts",
    "projects",
    "quarantine",
    "reads",
    "rooms",
    "runs",
    "trees",
    "trust",
];

/// Why a store is neither read nor written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Distrust {
    #[error("{} belongs to another user, so the cache is neither read nor written", .0.shown())]
    Foreign(PathBuf),
    #[error(
        "other users can write to {}, so the cache is not used; run `chmod 700` on it, or \
         `cargo dagcache cache clear` if they may have done so", .0.shown()
    )]
    Writable(PathBuf),
    #[error(
        "{} is a link, so the cache is not used; delete it, or run `cargo dagcache cache clear`", .0.shown()
    )]
    Link(PathBuf),
}

/// Looks at the cache directory and at the folders of its store, as far as they exist.
pub(super) fn examine(dir: &Path) -> Result<(), Distrust> {
    let Ok(meta) = dir.metadata() else {
        return Ok(());
    };
    // In a folder like /tmp nobody can replace what is ours.
    let is_sticky = meta.mode() & 0o1000 != 0;
    judge(dir, &meta, is_sticky)?;
    let base = dir.join(LAYOUT);
    if look(&base)? {
        for folder in FOLDERS {
            look(&base.join(folder))?;
        }
    }
    Ok(())
}

/// Makes the store of this user one that may be believed. Deletes links; what others may have written stays, for the
/// caller to delete.
pub(super) fn claim(dir: &Path) -> io::Result<()> {
    for _ in 0..2 * FOLDERS.len() {
        match examine(dir) {
            Err(Distrust::Link(path)) => std::fs::remove_file(path)?,
            Err(Distrust::Writable(path)) => {
                std::fs::set_permissions(path, Permissions::from_mode(0o700))?;
            }
            Err(Distrust::Foreign(path)) if path.starts_with(dir.join(LAYOUT)) => {
                crate::fs::remove::remove(&path)?;
            }
            Err(foreign) => return Err(io::Error::other(foreign)),
            Ok(()) => break,
        }
    }
    Ok(())
}

/// Whether the folder exists.
fn look(path: &Path) -> Result<bool, Distrust> {
    let Ok(meta) = path.symlink_metadata() else {
        return Ok(false);
    };
    if meta.is_symlink() {
        return Err(Distrust::Link(path.to_owned()));
    }
    judge(path, &meta, false)?;
    Ok(true)
}

fn judge(path: &Path, meta: &Metadata, is_sticky: bool) -> Result<(), Distrust> {
    if !is_own(meta) {
        return Err(Distrust::Foreign(path.to_owned()));
    }
    if meta.mode() & 0o022 == 0 || is_sticky {
        return Ok(());
    }
    let closed = meta.mode() & 0o002 == 0
        && is_private(meta.gid())
        && std::fs::set_permissions(path, Permissions::from_mode(0o700)).is_ok();
    match closed {
        true => Ok(()),
        false => Err(Distrust::Writable(path.to_owned())),
    }
}

/// Whether this user is the only member of the group.
fn is_private(group: u32) -> bool {
    let user = rustix::process::geteuid().as_raw();
    if group != rustix::process::getegid().as_raw() {
        return false;
    }
    let read = |path| crate::fs::text(path).unwrap_or_default();
    is_private_by(&read("/etc/passwd"), &read("/etc/group"), user, group)
}

fn is_private_by(passwd: &str, groups: &str, user: u32, group: u32) -> bool {
    let number = |text: Option<&&str>| text.and_then(|text| text.parse::<u32>().ok());
    let users = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>());
    let users: Vec<_> = users.collect();
    let is_me = |fields: &Vec<&str>| number(fields.get(2)) == Some(user);
    let name = users.iter().find(|fields| is_me(fields));
    let name = name.and_then(|fields| fields.first().copied());
    let others = users.iter().filter(|fields| !is_me(fields));
    if others
        .clone()
        .any(|fields| number(fields.get(3)) == Some(group))
    {
        return false;
    }
    let mut lines = groups
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>());
    match lines.find(|fields| number(fields.get(2)) == Some(group)) {
        Some(fields) => {
            let members = fields.get(3).copied().unwrap_or_default().split(',');
            let mut others = members.filter(|member| !member.is_empty());
            others.all(|member| Some(member) == name)
        }
        // Known to a directory service only; by custom, private groups have the number of their user.
        None => group == user,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn store() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("folder");
        let base = dir.path().join(LAYOUT);
        std::fs::create_dir_all(base.join("rooms")).expect("folders");
        (dir, base)
    }

    fn mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("mode");
    }

    #[test]
    fn folders_that_others_can_write_to_are_refused_until_they_are_claimed() {
        let (dir, base) = store();
        assert!(examine(dir.path()).is_ok());
        for path in [dir.path(), &base, &base.join("rooms")] {
            mode(path, 0o777);
            assert!(matches!(examine(dir.path()), Err(Distrust::Writable(found)) if found == path));
            claim(dir.path()).expect("claimed");
            assert!(examine(dir.path()).is_ok());
            assert_eq!(path.metadata().expect("folder").mode() & 0o777, 0o700);
        }
        mode(dir.path(), 0o1777);
        assert!(examine(dir.path()).is_ok());
    }

    #[test]
    fn links_are_refused_but_in_the_place_of_the_cache_directory() {
        let (dir, base) = store();
        let (outside, _) = store();
        let link = outside.path().join("link");
        symlink(dir.path(), &link).expect("link");
        assert!(examine(&link).is_ok());
        symlink(outside.path(), base.join("layers")).expect("link");
        assert!(
            matches!(examine(dir.path()), Err(Distrust::Link(found)) if found.ends_with("layers"))
        );
        claim(dir.path()).expect("claimed");
        assert!(examine(dir.path()).is_ok() && outside.path().join(LAYOUT).exists());
    }

    #[test]
    fn a_group_is_private_if_it_has_no_other_member() {
        let passwd =
            "root:x:0:0::/:\nme:x:1000:1000::/:\nyou:x:1001:1001::/:\nguest:x:1002:1001::/:\n";
        let groups = "root:x:0:\nme:x:1000:\nyou:x:1001:\nstaff:x:50:me,you\nsolo:x:60:me\n";
        let private = |user, group| is_private_by(passwd, groups, user, group);
        assert!(private(1000, 1000) && private(1000, 60) && private(0, 0));
        assert!(!private(1000, 50) && !private(1001, 1001));
        assert!(private(4711, 4711) && !private(4711, 4712));
    }
}
