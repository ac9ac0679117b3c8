//! Whether a project may be looked at: it has to belong to the user, as for git, because its configuration decides
//! what is run.
//!
//! | project | who has to own what |
//! |---|---|
//! | in a repository | its top folder, `.git`, and the folders with its `HEAD` and its configuration |
//! | any | its folder |
//! | without git | its manifests and its configuration |
//!
//! Starts git only for a project that does not, to read `safe.directory`, which as for git only counts outside of
//! repositories.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::env::Env;
use crate::fs::owner::Owners;
use crate::process::{self, quoted};
use crate::snapshot::repository::{GIT_WALLS, Repository};
use crate::visible::Shown as _;

const MANIFESTS: [&str; 3] = ["dagcache.toml", "Cargo.toml", "pyproject.toml"];

/// Why the project at `root` is refused, and git's command to accept it; `None` if it is fine.
#[must_use]
pub(crate) fn dubious(root: &Path, env: &Env) -> Option<String> {
    let owners = Owners::of_projects(env);
    let repository = Repository::around(root, env);
    let mut deciding = vec![root.to_path_buf()];
    let top = match repository {
        Some(repository) => {
            deciding.push(repository.top.join(".git"));
            deciding.extend([repository.git_dir, repository.common_dir]);
            deciding.push(repository.top.clone());
            repository.top
        }
        None => {
            deciding.extend(MANIFESTS.map(|name| root.join(name)));
            root.to_path_buf()
        }
    };
    let foreign = deciding.iter().find(|path| !owners.own(path))?;
    if is_safe(&top, env) {
        return None;
    }
    let shown = quoted(&top.to_string_lossy());
    Some(format!(
        "detected dubious ownership of `{}`: its configuration could run programs, and it belongs to another user\n\
         help: to accept this project, run `git config --global --add safe.directory {shown}`",
        foreign.shown()
    ))
}

/// Whether the configuration of the user or the system names the folder in `safe.directory`.
fn is_safe(top: &Path, env: &Env) -> bool {
    let args = [
        &GIT_WALLS[..],
        &["config", "-z", "--type=path", "--get-all", "safe.directory"],
    ];
    // A repository that does not exist: its configuration must not count.
    let set = [("GIT_DIR", "/dev/null")];
    let git = Path::new("git");
    let said = process::capture(git, &args.concat(), Path::new("/"), env, &set);
    let said = said.map(|said| said.stdout).unwrap_or_default();
    let values = said.strip_suffix(b"\0").unwrap_or(&said);
    names(values.split(|byte| *byte == 0), top)
}

/// Reads the values as git does: an empty one drops those before.
fn names<'a>(values: impl Iterator<Item = &'a [u8]>, top: &Path) -> bool {
    values.fold(false, |safe, value| {
        let path = Path::new(OsStr::from_bytes(value));
        match value {
            b"" => false,
            b"*" => true,
            _ if path.ends_with("*") => {
                safe || path
                    .parent()
                    .is_some_and(|above| top != above && top.starts_with(above))
            }
            _ => safe || is_same(path, top),
        }
    })
}

fn is_same(path: &Path, top: &Path) -> bool {
    let real = || -> Option<PathBuf> { path.canonicalize().ok() };
    path == top || path.is_absolute() && real().is_some_and(|real| real == top)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn safe_directories_are_read_as_git_does() {
        for (values, safe) in [
            (&["/a/b"][..], true),
            (&["/a/b/"], true),
            (&["/a"], false),
            (&["/a/*"], true),
            (&["/a/b/*"], false),
            (&["*"], true),
            (&["*", ""], false),
            (&["/a/b", "", "/x"], false),
            (&["", "/a/b"], true),
            (&[], false),
        ] {
            let bytes = values.iter().map(|value| value.as_bytes());
            assert_eq!(names(bytes, Path::new("/a/b")), safe, "{values:?}");
        }
    }
}
