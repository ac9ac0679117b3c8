//! The repository of a commit, and running git in it without writing its work tree or index.

use std::path::{Path, PathBuf};

use crate::env::{self, Env};
use crate::path::{RelPath, normal};
use crate::process::talk::{self, Talk};
use crate::snapshot::SnapshotError;
use crate::snapshot::repository::{GIT_WALLED, GIT_WALLS, Repository, one_line};
use crate::snapshot::staged::object::ObjectId;
use crate::snapshot::stat::Stat;

/// Where git makes a commit: as it tells its hooks, or as it finds it from a folder.
#[derive(Debug, Clone)]
pub(crate) struct Staging {
    pub(crate) repository: Repository,
    pub(crate) index: PathBuf,
    pub(crate) env: Env,
}

/// A setting of git.
#[derive(Debug)]
pub(crate) struct Setting {
    /// `system`, `global`, `local`, `worktree` or `command`.
    scope: String,
    pub(crate) key: String,
    /// `None` for a key without `=`.
    pub(crate) value: Option<String>,
}

impl Setting {
    /// Whether it is the word of the user or the system, not of a repository.
    pub(crate) fn is_users(&self) -> bool {
        matches!(&*self.scope, "system" | "global" | "command")
    }
}

/// Identifies the state of the index file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp(Stat);

const GIT_OBJECT_DIRECTORY: &str = "GIT_OBJECT_DIRECTORY";

/// Options that keep git from running hooks for written indexes and from other side effects.
const PLAIN: [&str; 10] = [
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.untrackedCache=false",
    "-c",
    "core.splitIndex=false",
    "-c",
    "core.sparseCheckout=false",
    "-c",
    "index.sparse=false",
];

impl Staging {
    /// `cwd` is where git started the hook, or where the user started this program.
    pub(crate) fn find(cwd: &Path, env: &Env) -> Result<Self, SnapshotError> {
        let none = || SnapshotError::NoRepository(cwd.to_path_buf());
        let around = Repository::around(cwd, env);
        let mut repository = match env.path(env::GIT_DIR) {
            None => around.ok_or_else(none)?,
            Some(git_dir) => named(&cwd.join(git_dir), around, cwd, env).ok_or_else(none)?,
        };
        if let Some(top) = env.path(env::GIT_WORK_TREE) {
            repository.top = cwd.join(top);
        }
        if let Some(dir) = env.path(env::GIT_COMMON_DIR) {
            repository.common_dir = cwd.join(dir);
        }
        for path in [
            &mut repository.top,
            &mut repository.git_dir,
            &mut repository.common_dir,
        ] {
            *path = path.canonicalize().map_err(|_| none())?;
        }
        // Git changes to the top before it opens the path.
        let index = match env.path(env::GIT_INDEX_FILE) {
            Some(index) => repository.top.join(index),
            None => repository.index(),
        };
        let objects = env.only(|name| {
            let name = name.as_encoded_bytes();
            env::GIT_OBJECT_DIRECTORIES
                .iter()
                .any(|of_it| name == of_it.as_bytes())
        });
        Ok(Self {
            repository,
            index,
            env: env.without_repository().and(&objects),
        })
    }

    /// The same for a submodule's repository.
    pub(crate) fn inner(&self, repository: Repository) -> Self {
        Self {
            index: repository.index(),
            repository,
            env: self.env.without_repository(),
        }
    }

    /// The same with another index.
    pub(crate) fn with_index(&self, index: &Path) -> Self {
        Self {
            index: index.to_path_buf(),
            ..self.clone()
        }
    }

    /// The top folder of the work tree.
    #[must_use]
    pub(crate) fn top(&self) -> &Path {
        &self.repository.top
    }

    /// `None` before the first commit.
    #[must_use]
    pub(crate) fn head(&self) -> Option<String> {
        self.commit("HEAD")
    }

    #[must_use]
    pub(crate) fn parent(&self, commit: &str) -> Option<String> {
        self.commit(&format!("{commit}^1"))
    }

    /// Whether an id names a commit, or a tag of one.
    pub(crate) fn is_commit(&self, id: &str) -> Result<bool, SnapshotError> {
        let args = ["cat-file", "-t", &format!("{id}^{{}}")];
        let said = self.run(&args, self.top(), &self.index, Vec::new())?;
        Ok(said.trim_ascii() == b"commit")
    }

    fn commit(&self, name: &str) -> Option<String> {
        let name = format!("{name}^{{commit}}");
        let args = ["rev-parse", "--verify", "--quiet", &name];
        let said = self.run(&args, self.top(), &self.index, Vec::new()).ok()?;
        Some(String::from_utf8(said).ok()?.trim().to_owned())
    }

    /// Differs between two moments if the index was written in between.
    #[must_use]
    pub(crate) fn stamp(&self) -> Option<Stamp> {
        Stat::of(&self.index).ok().map(Stamp)
    }

    pub(crate) fn hooks_dir(&self) -> Result<PathBuf, SnapshotError> {
        let said = self
            .repository
            .git(&["rev-parse", "--git-path", "hooks"], &self.env)?;
        Ok(self.top().join(one_line(&said)))
    }

    /// The part of the repository that contains a directory, and the path of the directory in it.
    pub(crate) fn beneath(&self, dir: &Path) -> Option<(&Path, RelPath)> {
        let dir = normal(dir);
        let parts = [self.repository.common_dir.as_path(), self.top()];
        parts.into_iter().find_map(|part| {
            let below = dir.strip_prefix(part).ok()?;
            Some((part, RelPath::from_path(below).ok()?))
        })
    }

    /// `core.hooksPath`, if it is set outside the repository and thus applies to all repositories.
    pub(crate) fn hooks_of_all(&self) -> Result<Option<String>, SnapshotError> {
        let args = ["config", "--show-scope", "--get", "core.hooksPath"];
        // Git fails if it is not set.
        let Ok(said) = self.repository.git(&args, &self.env) else {
            return Ok(None);
        };
        let said = String::from_utf8_lossy(&said);
        let (scope, path) = said.trim_end().split_once('\t').unwrap_or_default();
        let of_all = ["global", "system"].contains(&scope);
        Ok(of_all.then(|| path.to_owned()))
    }

    /// The settings whose key matches, in git's order. None if git is too old to say where they come from.
    pub(crate) fn settings(&self, pattern: &str) -> Vec<Setting> {
        let args = ["config", "-z", "--show-scope", "--get-regexp", pattern];
        // Git fails if there are none.
        let said = self.run(&args, self.top(), &self.index, Vec::new());
        let said = String::from_utf8_lossy(&said.unwrap_or_default()).into_owned();
        let fields: Vec<&str> = said.split('\0').collect();
        let settings = fields.chunks_exact(2).map(|field| {
            let (key, value) = match field[1].split_once('\n') {
                Some((key, value)) => (key, Some(value)),
                None => (field[1], None),
            };
            Setting {
                scope: field[0].to_owned(),
                key: key.to_owned(),
                value: value.map(str::to_owned),
            }
        });
        settings.collect()
    }

    /// Runs git with our own work tree and index and returns its output.
    pub(crate) fn run(
        &self,
        args: &[&str],
        work_tree: &Path,
        index: &Path,
        input: Vec<u8>,
    ) -> Result<Vec<u8>, SnapshotError> {
        let set = self.variables(work_tree, index)?;
        self.feed(args, work_tree, &set, input)
    }

    /// Which of these blobs a partial clone has not fetched. Fetches none: git is shown the objects in a repository
    /// that has no remote, because before 2.45 nothing else stops it from fetching what it is asked about.
    pub(crate) fn not_fetched(&self, blobs: &[ObjectId]) -> Result<Vec<ObjectId>, SnapshotError> {
        let alone = self.without_remote();
        let alone = alone.map_err(|error| self.failed(&error.to_string()))?;
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let mut set = vec![(env::GIT_DIR, text(alone.path()))];
        set.extend(walled());
        if self.env.var_os(GIT_OBJECT_DIRECTORY).is_none() {
            let objects = self.repository.common_dir.join("objects");
            set.push((GIT_OBJECT_DIRECTORY, text(&objects)));
        }
        let ids: String = blobs.iter().map(|id| format!("{id}\n")).collect();
        let args = ["cat-file", "--batch-check"];
        let said = self.feed(&args, alone.path(), &set, ids.into_bytes())?;
        let lines = said.split(|byte| *byte == b'\n');
        let missing = lines.filter_map(|line| line.strip_suffix(b" missing"));
        Ok(missing.filter_map(ObjectId::from_hex).collect())
    }

    fn without_remote(&self) -> std::io::Result<tempfile::TempDir> {
        let dir = tempfile::tempdir()?;
        for folder in ["objects", "refs"] {
            std::fs::create_dir(dir.path().join(folder))?;
        }
        std::fs::write(dir.path().join("HEAD"), "ref: refs/heads/none\n")?;
        let format = match self.repository.hash_len() {
            32 => "sha256",
            _ => "sha1",
        };
        let config = format!(
            "[core]\nrepositoryformatversion = 1\nbare = true\n[extensions]\nobjectFormat = {format}\n"
        );
        std::fs::write(dir.path().join("config"), config)?;
        Ok(dir)
    }

    fn feed(
        &self,
        args: &[&str],
        dir: &Path,
        set: &[(&'static str, String)],
        input: Vec<u8>,
    ) -> Result<Vec<u8>, SnapshotError> {
        let args = [&GIT_WALLS[..], &PLAIN, args].concat();
        self.start(&args, dir, set, input)
    }

    fn start(
        &self,
        args: &[&str],
        dir: &Path,
        set: &[(&'static str, String)],
        input: Vec<u8>,
    ) -> Result<Vec<u8>, SnapshotError> {
        let git = Path::new("git");
        let said = talk::feed(git, args, dir, &self.env, &pairs(set), input);
        let said = said.map_err(|error| self.failed(&format!("cannot run `git`: {error}")))?;
        if said.status.success() {
            return Ok(said.stdout);
        }
        Err(self.failed(String::from_utf8_lossy(&said.stderr).trim()))
    }

    /// Changes an index of the user, whose format is theirs.
    pub(crate) fn write_index(&self, index: &Path, lines: Vec<u8>) -> Result<(), SnapshotError> {
        let args = [
            "-c",
            "core.hooksPath=/dev/null",
            "update-index",
            "-z",
            "--index-info",
        ];
        let args = [&GIT_WALLS[..], &args].concat();
        let set = self.variables(self.top(), index)?;
        self.start(&args, self.top(), &set, lines).map(|_| ())
    }

    pub(crate) fn batch(&self) -> std::io::Result<Talk> {
        let set = self.variables(self.top(), &self.index);
        let set = set.map_err(std::io::Error::other)?;
        let args = [&GIT_WALLS[..], &["cat-file", "--batch"]].concat();
        Talk::start(Path::new("git"), &args, self.top(), &self.env, &pairs(&set))
    }

    pub(crate) fn variables(
        &self,
        work_tree: &Path,
        index: &Path,
    ) -> Result<Vec<(&'static str, String)>, SnapshotError> {
        let text = |path: &Path| {
            let text = path.to_str().map(str::to_owned);
            text.ok_or_else(|| self.failed("path is not valid UTF-8"))
        };
        let mut all = vec![
            (env::GIT_DIR, text(&self.repository.git_dir)?),
            (env::GIT_COMMON_DIR, text(&self.repository.common_dir)?),
            (env::GIT_WORK_TREE, text(work_tree)?),
            (env::GIT_INDEX_FILE, text(index)?),
            ("GIT_OPTIONAL_LOCKS", "0".to_owned()),
            // A commit consists of the objects it names, not their replacements.
            ("GIT_NO_REPLACE_OBJECTS", "1".to_owned()),
        ];
        all.extend(walled());
        Ok(all)
    }

    pub(crate) fn failed(&self, reason: &str) -> SnapshotError {
        SnapshotError::Staged {
            path: self.top().to_path_buf(),
            reason: reason.to_owned(),
        }
    }
}

/// Git's message without the location.
pub(crate) fn reason(error: SnapshotError) -> String {
    match error {
        SnapshotError::Staged { reason, .. } => reason,
        other => other.to_string(),
    }
}

fn walled() -> impl Iterator<Item = (&'static str, String)> {
    let all = GIT_WALLED.into_iter();
    all.map(|(name, value)| (name, value.to_owned()))
}

fn pairs<'a>(set: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    set.iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect()
}

/// The repository in `git_dir`; its work tree is around `cwd`, configured, or `cwd` itself.
fn named(git_dir: &Path, around: Option<Repository>, cwd: &Path, env: &Env) -> Option<Repository> {
    let real = git_dir.canonicalize().ok()?;
    let is_it = |found: &Repository| found.git_dir.canonicalize().is_ok_and(|dir| dir == real);
    if let Some(around) = around.filter(is_it) {
        return Some(around);
    }
    let common_dir = match crate::fs::read(real.join("commondir")) {
        Ok(text) => real.join(one_line(&text)),
        Err(_) => real.clone(),
    };
    if !common_dir.join("objects").is_dir() {
        return None;
    }
    let mut repository = Repository {
        top: cwd.to_path_buf(),
        git_dir: real,
        common_dir,
    };
    // With unchanged variables, because only git knows their precedence.
    let args = [&GIT_WALLS[..], &["rev-parse", "--show-toplevel"]].concat();
    let said = crate::process::capture(Path::new("git"), &args, cwd, env, &GIT_WALLED).ok()?;
    if said.status.success() {
        repository.top = cwd.join(one_line(&said.stdout));
    }
    Some(repository)
}
