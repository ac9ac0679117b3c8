//! Whose files may decide what is run: owners by user id.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::env::{self, Env};

const ROOT: u32 = 0;
const WRITABLE_BY_ALL: u32 = 0o002;

/// Users that are believed.
#[derive(Debug)]
pub(crate) struct Owners(Vec<u32>);

impl Owners {
    /// Owners of projects and configuration: the user, root, and for root the user that `sudo` was called by.
    pub(crate) fn of_projects(env: &Env) -> Self {
        let me = rustix::process::geteuid().as_raw();
        let mut all = vec![me, ROOT];
        if me == ROOT {
            let caller = env.var(env::SUDO_UID).and_then(|id| id.parse::<u32>().ok());
            all.extend(caller);
        }
        Self(all)
    }

    /// Owners of folders with programs: the user, root, and whoever could replace this program or everything.
    pub(crate) fn of_programs() -> Self {
        let mut all = vec![rustix::process::geteuid().as_raw(), ROOT];
        let here = std::env::current_exe().ok();
        // In a user namespace that does not map root, `/` belongs to another id.
        let known = here.as_deref().into_iter().chain([Path::new("/")]);
        all.extend(known.filter_map(|path| Some(std::fs::metadata(path).ok()?.uid())));
        Self(all)
    }

    #[must_use]
    pub(crate) fn have(&self, file: &Metadata) -> bool {
        self.0.contains(&file.uid())
    }

    /// Whether they own the entry at `path`; a link counts itself. What does not exist belongs to nobody else.
    #[must_use]
    pub(crate) fn own(&self, path: &Path) -> bool {
        std::fs::symlink_metadata(path).map_or(true, |file| self.have(&file))
    }
}

/// Whether every user may write to it.
#[must_use]
pub(crate) fn is_writable_by_all(file: &Metadata) -> bool {
    file.mode() & WRITABLE_BY_ALL != 0
}
