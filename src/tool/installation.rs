//! What was installed with a program: the directories of the host that a check may read for its sake.
//!
//! Because the program can load or start anything there, its content is part of the program's identity. Does not
//! follow links.

use std::path::{Path, PathBuf};

/// Readable for every check: parts of the operating system, which contain nothing of the user.
pub(crate) const SYSTEM: &[&str] = &[
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix", "/gnu",
    "/proc", "/sys",
];

/// Places of the user, which are no installations and are not readable as a whole.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Private<'a> {
    pub(crate) project: &'a Path,
    pub(crate) store: Option<&'a Path>,
    pub(crate) home: Option<&'a Path>,
}

impl Private<'_> {
    fn all(&self) -> impl Iterator<Item = &Path> {
        [Some(self.project), self.store, self.home]
            .into_iter()
            .flatten()
    }

    /// Whether every check may read and see it. A path in a system directory may still be in the work tree.
    #[must_use]
    pub(crate) fn is_plain_system(&self, path: &Path) -> bool {
        SYSTEM.iter().any(|folder| path.starts_with(folder))
            && !self.all().any(|folder| path.starts_with(folder))
    }

    /// What was installed with a program: the directory above its `bin`, if it is an installation and nothing more.
    /// Of `~/.local`, which contains many other files, only the libraries.
    #[must_use]
    pub(crate) fn installation(&self, program: &Path) -> Option<PathBuf> {
        // A Node program loads its packages from all such directories above it.
        let modules = program
            .ancestors()
            .filter(|dir| dir.ends_with("node_modules"));
        if let Some(outermost) = modules.last() {
            return Some(outermost.to_path_buf());
        }
        const PLACES: [&str; 5] = ["bin", "sbin", "shims", "libexec", "Scripts"];
        const MARKS: [&str; 6] = ["lib", "lib64", "libexec", "share", "pkg", "pyvenv.cfg"];
        let folder = program.parent().filter(|folder| {
            let name = folder.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| PLACES.contains(&name))
        });
        let prefix = folder.and_then(Path::parent)?;
        // The programs of a GOPATH load nothing of it; the rest are the user's sources and modules.
        let is_gopath = prefix.join("pkg/mod").exists();
        let is_marked = MARKS.iter().any(|mark| prefix.join(mark).exists());
        if self.is_plain_system(prefix) || !is_marked || is_gopath {
            return None;
        }
        Some(match self.is_users(prefix) {
            true => prefix.join("lib"),
            false => prefix.to_path_buf(),
        })
    }

    /// Whether a directory contains more of the user's files than an installation.
    fn is_users(&self, prefix: &Path) -> bool {
        self.all().any(|folder| folder.starts_with(prefix))
            || self.home.is_some_and(|home| {
                [".local", ".cargo"]
                    .iter()
                    .any(|dir| prefix == home.join(dir))
            })
    }
}
