//! Remembers that this system gives every wall, so that not every run has to try. What it gives can change only with
//! what is in the identity; and a command that could not be started makes it try again.

use std::path::{Path, PathBuf};

use crate::digest::{Digest, Hasher};
use crate::fs::own;
use crate::fs::sealed::{Reader, Seal};
use crate::process::launcher::Support;

const SEAL: Seal = Seal {
    magic: *b"dc-walls",
    version: 1,
};

/// What the system decides by.
const DECIDING: [&str; 5] = [
    "/proc/sys/kernel/random/boot_id",
    "/proc/sys/user/max_user_namespaces",
    "/proc/sys/kernel/unprivileged_userns_clone",
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
    "/proc/sys/kernel/yama/ptrace_scope",
];

fn file(store: &Path) -> PathBuf {
    store.join("memo").join("walls")
}

/// What this system supports, asking `launcher` if that is not known.
pub(super) fn support(store: &Path, launcher: &Path) -> Support {
    let identity = identity(launcher);
    let known = own::read(file(store)).ok();
    let known = known.and_then(|bytes| Reader::new(SEAL.open(&bytes)?).digest());
    if known == Some(identity) {
        return Support::all();
    }
    let support = Support::ask(launcher);
    if support == Support::all() {
        let mut out = SEAL.writer();
        out.raw(identity.as_bytes());
        // If this fails, the next run asks.
        let _ = SEAL.save(&file(store), out);
    }
    support
}

/// Makes the next run ask.
pub(super) fn forget(store: &Path) {
    let _ = std::fs::remove_file(file(store));
}

fn identity(launcher: &Path) -> Digest {
    use std::os::unix::fs::MetadataExt as _;
    let mut hasher = Hasher::new();
    hasher.update(&rustix::process::geteuid().as_raw().to_le_bytes());
    for path in DECIDING {
        hasher.part(&crate::fs::read(path).unwrap_or_default());
    }
    for name in ["user", "mnt", "pid"] {
        let link = std::fs::read_link(Path::new("/proc/self/ns").join(name));
        hasher.part(link.unwrap_or_default().as_os_str().as_encoded_bytes());
    }
    hasher.part(launcher.as_os_str().as_encoded_bytes());
    if let Ok(meta) = launcher.metadata() {
        for number in [meta.mtime(), meta.mtime_nsec(), meta.ctime()] {
            hasher.update(&number.to_le_bytes());
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_remembered_for_this_system_and_forgotten() {
        let dir = tempfile::tempdir().expect("store");
        std::fs::create_dir(dir.path().join("memo")).expect("folder");
        // No launcher: asking would find nothing.
        let launcher = dir.path().join("launcher");
        assert_ne!(support(dir.path(), &launcher), Support::all());
        let mut out = SEAL.writer();
        out.raw(identity(&launcher).as_bytes());
        SEAL.save(&file(dir.path()), out).expect("saved");
        assert_eq!(support(dir.path(), &launcher), Support::all());
        let other = dir.path().join("other");
        assert_ne!(support(dir.path(), &other), Support::all());
        forget(dir.path());
        assert_ne!(support(dir.path(), &launcher), Support::all());
    }
}
