//! The folders of the user's PATH in which programs are looked for.
//!
//! | folder | counts |
//! |---|---|
//! | relative, which depends on the current folder | never |
//! | named by `DAGCACHE_PATH_ALLOW` | yes |
//! | writable by everybody, or owned by a stranger | no, and is named |
//! | in the project, where only its user can have put it (a virtual environment that is active) | yes |
//! | anything else that exists | yes |

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::env::{self, Env};
use crate::fs::owner::{Owners, is_writable_by_all};
use crate::visible::Shown as _;

/// The environment with only such folders on PATH, for this program and all that it starts, and the folders that were
/// left out because other users can write to them.
#[must_use]
pub(crate) fn without_strangers(env: &Env) -> (Env, Vec<PathBuf>) {
    let Some(path) = env.var_os(env::PATH) else {
        return (env.clone(), Vec::new());
    };
    let split = |text: &OsString| std::env::split_paths(text).collect::<Vec<PathBuf>>();
    let given = split(path);
    let allowed = env.var_os(env::DAGCACHE_PATH_ALLOW).map(split);
    let allowed = allowed.unwrap_or_default();
    let owners = Owners::of_programs();
    let mut strange = Vec::new();
    let mut kept = given.clone();
    kept.retain(|folder| {
        if !folder.is_absolute() {
            return false;
        }
        let Ok(found) = std::fs::metadata(folder) else {
            return false;
        };
        if allowed.contains(folder) || owners.have(&found) && !is_writable_by_all(&found) {
            return true;
        }
        if !strange.contains(folder) {
            strange.push(folder.clone());
        }
        false
    });
    if kept == given {
        return (env.clone(), strange);
    }
    if kept.is_empty() {
        // An empty PATH would mean the current folder.
        kept.push(PathBuf::from("/dev/null"));
    }
    let kept: Vec<&[u8]> = kept
        .iter()
        .map(|path| path.as_os_str().as_bytes())
        .collect();
    let kept = kept.join(&b':');
    let kept = Path::new(std::ffi::OsStr::from_bytes(&kept)).to_path_buf();
    (env.with(env::PATH, kept.into_os_string()), strange)
}

/// Where the system has programs for everybody, in the usual order.
const USUAL: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// The folders of the system that are on the user's PATH, each once: always in the same order, so that they are the same
/// for most users.
#[must_use]
pub(crate) fn of_system(env: &Env) -> Vec<PathBuf> {
    let path = env.var_os(env::PATH).map(std::env::split_paths);
    of_system_in(&path.into_iter().flatten().collect::<Vec<_>>())
}

/// The same of a given PATH.
pub(super) fn of_system_in(given: &[PathBuf]) -> Vec<PathBuf> {
    let mut real = Vec::new();
    let usual = USUAL.iter().map(PathBuf::from);
    let usual = usual.filter(|folder| given.contains(folder));
    usual
        .filter(|folder| {
            let folder = folder.canonicalize().ok();
            let is_new = folder.is_some() && !real.contains(&folder);
            real.push(folder);
            is_new
        })
        .collect()
}

/// What to say of folders that were left out.
#[must_use]
pub(crate) fn named(strange: &[PathBuf]) -> String {
    let shown: Vec<String> = strange
        .iter()
        .map(|path| path.shown().to_string())
        .collect();
    format!(
        "ignoring {} on PATH, because another user can write there; to use it anyway, set {}={}",
        shown.join(", "),
        env::DAGCACHE_PATH_ALLOW,
        shown.join(":")
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn kept(path: &str, allow: &str) -> (String, Vec<PathBuf>) {
        let pairs = [("PATH", path), ("DAGCACHE_PATH_ALLOW", allow)];
        let (env, strange) = without_strangers(&Env::from_pairs(&pairs));
        (env.var("PATH").unwrap().to_owned(), strange)
    }

    #[test]
    fn only_folders_that_no_stranger_writes_to_count() {
        let dir = tempfile::tempdir().unwrap();
        let open = dir.path().join("open");
        std::fs::create_dir(&open).unwrap();
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
        let (own, open) = (dir.path().to_str().unwrap(), open.to_str().unwrap());
        let path = format!("{own}:.::bin:{open}:{own}/absent");
        assert_eq!(kept(&path, ""), (own.to_owned(), vec![open.into()]));
        assert_eq!(kept(&path, open), (format!("{own}:{open}"), Vec::new()));
        assert_eq!(kept("/:.", ".").0, "/");
    }

    #[test]
    fn folders_of_the_system_come_in_the_usual_order() {
        let of = |path: &str| of_system(&Env::from_pairs(&[("PATH", path)]));
        assert_eq!(
            of("/home/x/bin:/usr/bin:/usr/sbin:/usr/bin"),
            [Path::new("/usr/sbin"), Path::new("/usr/bin")]
        );
        assert!(of("/home/x/bin").is_empty());
        assert!(of_system(&Env::from_pairs(&[])).is_empty());
    }
}
