//! Programs of the host: where a name leads, and what the program there is.
//!
//! Names are looked up once per run. Digests of host files are memoised across runs by stat, under the snapshot's
//! racy rule, in one file for all projects. Runs no checks and knows no ecosystem.

pub(crate) mod discovered;
mod folder_digest;
pub(crate) mod installation;
pub(crate) mod launcher;
pub(crate) mod rustup;
pub(crate) mod search_path;

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::fs::FileType;

use crate::digest::Digest;
use crate::env::{self, Env};
use crate::fs::FsError;
use crate::fs::own;
use crate::fs::sealed::{Reader, Seal};
use crate::rule::Rule;
use crate::snapshot::content;
use crate::snapshot::stat::{Stat, Time};

const SEAL: Seal = Seal {
    magic: *b"dc-tool\n",
    version: 2,
};

/// Above this many files, those that this run did not use are dropped.
const ROOMY: usize = 10_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    /// The requested name.
    pub(crate) name: String,
    /// Absolute path as found on PATH (a shim is not resolved).
    pub(crate) path: PathBuf,
    /// The same with all links resolved.
    pub(crate) real: PathBuf,
    /// Digest of the file at `real`.
    pub(crate) digest: Digest,
}

/// Finds programs on the user's PATH and memoises their digests by stat.
#[derive(Debug, Default)]
pub(crate) struct Tools {
    /// The absolute folders of PATH, in order.
    folders: Vec<PathBuf>,
    /// Those of the system; see [`search_path::of_system`].
    of_system: OnceLock<Vec<PathBuf>>,
    memo: Option<PathBuf>,
    began: Time,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    found: HashMap<String, Option<Program>>,
    files: BTreeMap<PathBuf, Known>,
    below: folder_digest::Memo,
    /// Whether the memo is missing some digests.
    changed: bool,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    stat: Stat,
    digest: Digest,
    used: bool,
}

impl Tools {
    /// Programs on the PATH of `env`, with the memo in `memo_dir`. Relative folders of PATH are ignored, because
    /// their content depends on the current directory.
    #[must_use]
    pub(crate) fn new(env: &Env, memo_dir: &Path) -> Self {
        let began = Time::now();
        let memo = memo_dir.join("tools");
        let known = own::read(&memo)
            .ok()
            .and_then(|bytes| decode(SEAL.open(&bytes)?));
        let (files, below) = known.unwrap_or_default();
        Self {
            folders: folders(env),
            of_system: OnceLock::new(),
            memo: Some(memo),
            began,
            state: Mutex::new(State {
                files,
                below,
                ..State::default()
            }),
        }
    }

    /// See [`search_path::of_system`].
    #[must_use]
    pub(crate) fn folders_of_system(&self) -> &[PathBuf] {
        let find = || search_path::of_system_in(&self.folders);
        self.of_system.get_or_init(find)
    }

    /// The first executable of this name on the user's PATH. `None` also if it cannot be read, because its identity
    /// is then unknown.
    #[must_use]
    pub(crate) fn find(&self, name: &str) -> Option<Program> {
        if let Some(found) = self.lock().found.get(name) {
            return found.clone();
        }
        let found = self.look_up(name);
        self.lock().found.insert(name.to_owned(), found.clone());
        found
    }

    fn look_up(&self, name: &str) -> Option<Program> {
        self.at(name, self.candidates(name).next()?)
    }

    /// The program at `path` under this name. `None` if it is unreadable or not a program.
    #[must_use]
    pub(crate) fn at(&self, name: &str, path: PathBuf) -> Option<Program> {
        let real = std::fs::canonicalize(&path).ok()?;
        if !Stat::of(&real).is_ok_and(|stat| is_program(&stat)) {
            return None;
        }
        Some(Program {
            name: name.to_owned(),
            digest: self.digest(&real).ok()?,
            real,
            path,
        })
    }

    /// All executables of this name, in PATH order: behind a shim comes the program it would run.
    #[must_use]
    #[cfg(test)]
    pub(crate) fn find_all(&self, name: &str) -> Vec<PathBuf> {
        self.candidates(name).collect()
    }

    fn candidates<'a>(&'a self, name: &'a str) -> impl Iterator<Item = PathBuf> + 'a {
        candidates(&self.folders, name)
    }

    /// The digest of a host file (following links), memoised by stat.
    pub(crate) fn digest(&self, path: &Path) -> io::Result<Digest> {
        if !Rule::ToolContent.holds() {
            return Ok(Digest::of(path.as_os_str().as_bytes()));
        }
        let now = Stat::of(path)?;
        if let Some(known) = self.lock().files.get_mut(path)
            && known.stat == now
        {
            known.used = true;
            return Ok(known.digest);
        }
        let content = content::hash_path(path)?;
        // A run asks for the same digest repeatedly, so unsettled ones are memoised, too, but only until its end.
        let known = Known {
            stat: content.stat,
            digest: content.digest,
            used: true,
        };
        let mut state = self.lock();
        if content.steady {
            state.changed |= content.stat.is_settled(self.began);
            state.files.insert(path.to_path_buf(), known);
        }
        Ok(content.digest)
    }

    /// The folder of the store that has the memo, if any.
    #[must_use]
    pub(crate) fn memo_folder(&self) -> Option<&Path> {
        self.memo.as_deref()?.parent()
    }

    /// Writes new digests to the memo. If two runs save at once, the last one wins.
    pub(crate) fn save(&self) -> Result<(), FsError> {
        let mut state = self.lock();
        let Some(memo) = self.memo.as_deref().filter(|_| state.changed) else {
            return Ok(());
        };
        let roomy = state.files.len() <= ROOMY;
        let mut out = SEAL.writer();
        let kept = state
            .files
            .iter()
            .filter(|(_, known)| known.stat.is_settled(self.began) && (known.used || roomy));
        out.u64(kept.clone().count() as u64);
        for (path, known) in kept {
            out.bytes(path.as_os_str().as_bytes());
            known.stat.encode(&mut out);
            out.raw(known.digest.as_bytes());
        }
        state.below.encode(&mut out);
        SEAL.save(memo, out)?;
        state.changed = false;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether PATH of `env` has any executable of this name.
#[must_use]
pub(crate) fn is_on_path(env: &Env, name: &str) -> bool {
    first_on_path(env, name).is_some()
}

/// The first executable of this name on PATH of `env`.
#[must_use]
pub(crate) fn first_on_path(env: &Env, name: &str) -> Option<PathBuf> {
    candidates(&folders(env), name).next()
}

/// The first executable of this name in folders.
#[must_use]
pub(crate) fn first_in(folders: &[PathBuf], name: &str) -> Option<PathBuf> {
    candidates(folders, name).next()
}

/// The absolute folders of PATH, in order.
fn folders(env: &Env) -> Vec<PathBuf> {
    let path = env.var_os(env::PATH).map(std::env::split_paths);
    let folders = path.into_iter().flatten();
    folders.filter(|folder| folder.is_absolute()).collect()
}

fn candidates<'a>(folders: &'a [PathBuf], name: &'a str) -> impl Iterator<Item = PathBuf> + 'a {
    let is_name = !name.is_empty() && !name.contains(['/', '\0']);
    let folders = folders.iter().filter(move |_| is_name);
    folders
        .map(move |folder| folder.join(name))
        .filter(|path| is_program_at(path))
}

/// Whether an executable is at this path.
#[must_use]
pub(crate) fn is_program_at(path: &Path) -> bool {
    Stat::of(path).is_ok_and(|stat| is_program(&stat))
}

fn is_program(stat: &Stat) -> bool {
    stat.file_type() == FileType::RegularFile && stat.is_executable_by_any()
}

fn decode(payload: &[u8]) -> Option<(BTreeMap<PathBuf, Known>, folder_digest::Memo)> {
    let mut reader = Reader::new(payload);
    let mut files = BTreeMap::new();
    for _ in 0..reader.u64()? {
        let path = PathBuf::from(OsStr::from_bytes(reader.bytes()?));
        let known = Known {
            stat: Stat::decode(&mut reader)?,
            digest: reader.digest()?,
            used: false,
        };
        files.insert(path, known);
    }
    Some((files, folder_digest::Memo::decode(&mut reader)?))
}

/// The host's C library, judged by its dynamic loader.
#[must_use]
pub(crate) fn libc() -> &'static str {
    if !cfg!(target_os = "linux") {
        return "system";
    }
    let musl = format!("/lib/ld-musl-{}.so.1", std::env::consts::ARCH);
    if Path::new(&musl).exists() {
        "musl"
    } else {
        "gnu"
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::time::{Duration, SystemTime};

    use proptest::prelude::*;

    use super::*;

    fn program(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn tools(folders: &[&Path], memo: &Path) -> Tools {
        let path = std::env::join_paths(folders).unwrap();
        Tools::new(&Env::from_pairs(&[("PATH", path.to_str().unwrap())]), memo)
    }

    #[test]
    fn the_first_executable_on_path_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let (a, b, c) = (root.join("a"), root.join("b"), root.join("c"));
        fs::create_dir_all(a.join("sh")).unwrap();
        program(&b.join("lint"), "first");
        program(&c.join("lint"), "second");
        fs::write(a.join("lint"), "no program").unwrap();
        symlink("lint", c.join("link")).unwrap();

        let tools = tools(&[Path::new("."), Path::new("rel"), &a, &b, &c], &root);
        let found = tools.find("lint").unwrap();
        assert_eq!(found.path, b.join("lint"));
        assert_eq!(found.digest, Digest::of(b"first"));
        assert_eq!(tools.find_all("lint"), [b.join("lint"), c.join("lint")]);
        let link = tools.find("link").unwrap();
        assert_eq!((link.path, link.real), (c.join("link"), c.join("lint")));
        for name in ["sh", "", "no", "../b/lint", "a\0b"] {
            assert_eq!(tools.find(name), None, "{name:?}");
        }
    }

    #[test]
    fn a_digest_is_remembered_by_stat_once_that_settled() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tool");
        fs::write(&file, "one").unwrap();
        let memo = |tools: &Tools| {
            tools.digest(&file).unwrap();
            tools.save().unwrap();
            fs::read(dir.path().join("tools")).ok()
        };
        let racy = tools(&[], dir.path());
        assert_eq!(memo(&racy), None);

        let mut later = tools(&[], dir.path());
        later.began = Time::of(SystemTime::now() + Duration::from_secs(60));
        assert!(memo(&later).is_some());
        let next = tools(&[], dir.path());
        assert_eq!(next.lock().files[&file].digest, Digest::of(b"one"));

        fs::write(&file, "two").unwrap();
        assert_eq!(next.digest(&file).unwrap(), Digest::of(b"two"));
    }

    #[test]
    fn a_damaged_memo_is_no_memo() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("tools"), "damaged").unwrap();
        program(&dir.path().join("x"), "x");
        let tools = tools(&[dir.path()], dir.path());
        assert!(tools.find("x").is_some());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            decode(&bytes);
        }
    }
}
