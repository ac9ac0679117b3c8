//! Locates git's files that determine the universe: the repository around or inside the project, and its
//! configuration.
//!
//! The only part of the snapshot that may start `git`: when configuration changed, or when the built-in reader does
//! not understand an index.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::env::{self, Env};
use crate::process;
use crate::snapshot::SnapshotError;
use crate::snapshot::index::{self, Tracked};
use crate::visible::Shown as _;

/// An index has some hundred bytes a file.
const LARGEST_INDEX: u64 = 1 << 30;

/// Options for every git that is started: a repository's own configuration must not have it run a program, or connect
/// to anything.
pub(crate) const GIT_WALLS: [&str; 4] =
    ["-c", "core.fsmonitor=false", "-c", "protocol.allow=never"];

/// The same as variables, for what git starts. Older versions only know the second.
pub(crate) const GIT_WALLED: [(&str, &str); 3] = [
    ("GIT_NO_LAZY_FETCH", "1"),
    ("GIT_ALLOW_PROTOCOL", ""),
    ("GIT_TERMINAL_PROMPT", "0"),
];

/// A repository with a work tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Repository {
    /// The top folder of the work tree.
    pub(crate) top: PathBuf,
    /// Contains `HEAD` and `index`.
    pub(crate) git_dir: PathBuf,
    /// Contains `config`, `info/exclude` and the objects; differs from `git_dir` in a linked work tree.
    pub(crate) common_dir: PathBuf,
}

impl Repository {
    /// Finds the repository around `root` as git does: upwards, but not past `GIT_CEILING_DIRECTORIES`.
    pub(crate) fn around(root: &Path, env: &Env) -> Option<Self> {
        let ceilings: Vec<PathBuf> = env
            .var_os(env::GIT_CEILING_DIRECTORIES)
            .map(|value| std::env::split_paths(value).collect())
            .unwrap_or_default();
        root.ancestors()
            .take_while(|folder| *folder == root || !ceilings.iter().any(|c| c == folder))
            .find_map(Self::at)
    }

    /// The repository whose work tree starts at `top`.
    pub(crate) fn at(top: &Path) -> Option<Self> {
        let dot_git = top.join(".git");
        let git_dir = if fs::metadata(&dot_git).ok()?.is_dir() {
            dot_git
        } else {
            let text = crate::fs::read(&dot_git).ok()?;
            top.join(one_line(text.strip_prefix(b"gitdir: ")?))
        };
        let common_dir = match crate::fs::read(git_dir.join("commondir")) {
            Ok(text) => git_dir.join(one_line(&text)),
            Err(_) => git_dir.clone(),
        };
        // Git, too, would wait for a pipe.
        let special = |path: PathBuf| fs::metadata(path).is_ok_and(|meta| !meta.is_file());
        let whole = fs::symlink_metadata(git_dir.join("HEAD")).is_ok()
            && !["HEAD", "index"]
                .iter()
                .any(|name| special(git_dir.join(name)))
            && !special(common_dir.join("config"))
            && common_dir.join("objects").is_dir()
            && common_dir.join("refs").is_dir();
        whole.then(|| Self {
            top: top.to_path_buf(),
            git_dir,
            common_dir,
        })
    }

    pub(crate) fn index(&self) -> PathBuf {
        self.git_dir.join("index")
    }

    pub(crate) fn read_index(&self) -> io::Result<Vec<u8>> {
        read_index(&self.index())
    }

    /// Whether it was cloned with a filter, so that objects may be missing until git fetches them.
    pub(crate) fn is_partial(&self) -> bool {
        let Ok(packs) = fs::read_dir(self.common_dir.join("objects/pack")) else {
            return false;
        };
        let mut names = packs.flatten().map(|entry| entry.file_name());
        names.any(|name| name.as_bytes().ends_with(b".promisor"))
    }

    pub(crate) fn info_exclude(&self) -> PathBuf {
        self.common_dir.join("info/exclude")
    }

    /// The path of `root` in the work tree, with a trailing slash; empty for the top.
    pub(crate) fn prefix_of(&self, root: &Path) -> Vec<u8> {
        let below = root.strip_prefix(&self.top).unwrap_or(Path::new(""));
        let mut prefix = below.as_os_str().as_bytes().to_vec();
        if !prefix.is_empty() {
            prefix.push(b'/');
        }
        prefix
    }

    /// The tracked paths below `strip` (a folder of the repository), moved below `add` (a folder of the project).
    pub(crate) fn tracked(
        &self,
        strip: &[u8],
        add: &[u8],
        env: &Env,
    ) -> Result<Tracked, SnapshotError> {
        let bytes = match self.read_index() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Tracked::default());
            }
            Err(error) => return Err(self.error(&format!("{}: {error}", self.index().shown()))),
        };
        if let Ok(tracked) = index::parse(&bytes, self.hash_len(), strip, add) {
            return Ok(tracked);
        }
        let stdout = self.git(&["ls-files", "-z", "--stage"], env)?;
        index::parse_ls_files(&stdout, strip, add)
            .map_err(|_| self.error("`git ls-files` printed unexpected output"))
    }

    /// Length of object ids, from `extensions.objectFormat`, which git always writes in this form.
    pub(crate) fn hash_len(&self) -> usize {
        let config = crate::fs::read(self.common_dir.join("config")).unwrap_or_default();
        let sha256 = config.split(|byte| *byte == b'\n').any(|line| {
            let line = line.to_ascii_lowercase();
            line.trim_ascii().starts_with(b"objectformat") && line.trim_ascii().ends_with(b"sha256")
        });
        if sha256 { 32 } else { 20 }
    }

    /// The output of a git command. An error if git is missing or fails.
    pub(crate) fn git(&self, args: &[&str], env: &Env) -> Result<Vec<u8>, SnapshotError> {
        let text = |path: &Path| path.to_str().map(str::to_owned);
        let (Some(git_dir), Some(index)) = (text(&self.git_dir), text(&self.index())) else {
            return Err(self.error("path is not valid UTF-8"));
        };
        let mut set = vec![
            ("GIT_DIR", git_dir.as_str()),
            ("GIT_INDEX_FILE", index.as_str()),
            ("GIT_WORK_TREE", "."),
            ("GIT_OPTIONAL_LOCKS", "0"),
        ];
        set.extend(GIT_WALLED);
        let args = [&GIT_WALLS, args].concat();
        let output = process::capture(Path::new("git"), &args, &self.top, env, &set)
            .map_err(|error| self.error(&format!("cannot run `git`: {error}")))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        Err(self.error(stderr.trim()))
    }

    pub(crate) fn error(&self, reason: &str) -> SnapshotError {
        SnapshotError::Git {
            path: self.top.clone(),
            reason: reason.to_owned(),
        }
    }
}

/// The content of an index.
pub(crate) fn read_index(path: &Path) -> io::Result<Vec<u8>> {
    crate::fs::read_up_to(path, LARGEST_INDEX)
}

pub(crate) fn one_line(text: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(text.trim_ascii_end()))
}

/// Git configuration that determines the universe.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Settings {
    /// The user's rules: `core.excludesFile` or its default.
    pub(crate) excludes_file: Option<PathBuf>,
    /// `core.ignoreCase`.
    pub(crate) ignore_case: bool,
    /// `core.fileMode=false`: executable bits on disk mean nothing; those of the index count.
    pub(crate) modes_of_index: bool,
}

/// The variables that locate configuration, as ordered names and values.
pub(crate) fn variables(env: &Env) -> Vec<(&OsStr, &OsStr)> {
    env.all()
        .filter(|(name, _)| {
            let name = name.as_bytes();
            name.starts_with(b"GIT_CONFIG")
                || name == env::HOME.as_bytes()
                || name == env::XDG_CONFIG_HOME.as_bytes()
                || name == env::GIT_CEILING_DIRECTORIES.as_bytes()
        })
        .map(|(name, value)| (name.as_os_str(), value.as_os_str()))
        .collect()
}

/// Asks git for the settings of a repository. Also returns the files the answer depends on, existing or not. Without
/// git, returns the defaults.
pub(crate) fn settings(repository: &Repository, env: &Env) -> (Settings, Vec<PathBuf>) {
    let mut settings = Settings {
        excludes_file: user_folder(env).map(|folder| folder.join("ignore")),
        ignore_case: false,
        modes_of_index: false,
    };
    let files = configuration(repository, env, |key, value| {
        if key == "core.excludesfile" {
            settings.excludes_file = path_value(repository, "core.excludesfile", env);
        } else if key == "core.ignorecase" {
            settings.ignore_case = value.is_none_or(is_true);
        } else if key == "core.filemode" {
            settings.modes_of_index = !value.is_none_or(is_true);
        }
    });
    (
        settings,
        files.unwrap_or_else(|_| known_files(repository, env)),
    )
}

/// Calls `each` with every key and value of the configuration, in order. Returns the files it depends on, existing or
/// not.
pub(crate) fn configuration(
    repository: &Repository,
    env: &Env,
    mut each: impl FnMut(&str, Option<&[u8]>),
) -> Result<Vec<PathBuf>, SnapshotError> {
    let mut files = known_files(repository, env);
    let listing = repository.git(&["config", "--list", "--show-origin", "-z"], env)?;
    let mut fields = listing.split(|byte| *byte == 0);
    while let (Some(origin), Some(pair)) = (fields.next(), fields.next()) {
        let origin = origin
            .strip_prefix(b"file:")
            .map(|path| repository.top.join(OsStr::from_bytes(path)));
        let mut parts = pair.splitn(2, |byte| *byte == b'\n');
        let key = String::from_utf8_lossy(parts.next().unwrap_or_default());
        let value = parts.next();
        each(&key, value);
        if let Some(value) = included(&key, value) {
            files.push(include_path(value, origin.as_deref(), env));
            // `onbranch:` conditions depend on it.
            files.push(repository.git_dir.join("HEAD"));
        }
        files.extend(origin);
    }
    files.sort();
    files.dedup();
    Ok(files)
}

/// Lets git expand `~` and `~user`.
pub(crate) fn path_value(repository: &Repository, key: &str, env: &Env) -> Option<PathBuf> {
    let args = ["config", "--type=path", "-z", "--get", key];
    let stdout = repository.git(&args, env).ok()?;
    let path = stdout.strip_suffix(b"\0")?;
    (!path.is_empty()).then(|| repository.top.join(OsStr::from_bytes(path)))
}

/// Parses a boolean as git does: a word or a number with an optional unit.
pub(crate) fn is_true(value: &[u8]) -> bool {
    let value = value.to_ascii_lowercase();
    if matches!(value.as_slice(), b"true" | b"yes" | b"on") {
        return true;
    }
    let number = std::str::from_utf8(&value).unwrap_or_default();
    let number = number.trim_end_matches(['k', 'm', 'g']);
    number.parse::<i64>().is_ok_and(|number| number != 0)
}

fn included<'a>(key: &str, value: Option<&'a [u8]>) -> Option<&'a [u8]> {
    let include = key == "include.path" || key.starts_with("includeif.") && key.ends_with(".path");
    value.filter(|_| include)
}

fn include_path(value: &[u8], origin: Option<&Path>, env: &Env) -> PathBuf {
    if let Some(below) = value.strip_prefix(b"~/")
        && let Some(home) = env.path(env::HOME)
    {
        return home.join(OsStr::from_bytes(below));
    }
    let folder = origin.and_then(Path::parent).unwrap_or(Path::new("/"));
    folder.join(OsStr::from_bytes(value))
}

/// Files git would read configuration from if they existed.
fn known_files(repository: &Repository, env: &Env) -> Vec<PathBuf> {
    let mut files = vec![
        PathBuf::from("/etc/gitconfig"),
        repository.common_dir.join("config"),
        repository.git_dir.join("config.worktree"),
    ];
    files.extend(env.path(env::HOME).map(|home| home.join(".gitconfig")));
    files.extend(user_folder(env).map(|folder| folder.join("config")));
    files.extend(env.path(env::GIT_CONFIG_GLOBAL));
    files.extend(env.path(env::GIT_CONFIG_SYSTEM));
    files
}

pub(crate) fn user_folder(env: &Env) -> Option<PathBuf> {
    env.path(env::XDG_CONFIG_HOME)
        .or_else(|| Some(env.path(env::HOME)?.join(".config")))
        .map(|folder| folder.join("git"))
}
