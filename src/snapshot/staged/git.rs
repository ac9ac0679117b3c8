//! The repository that a commit is made in, and running git there, which writes neither its work tree nor its index.

use std::path::{Path, PathBuf};

use crate::env::{self, Env};
use crate::process::talk::{self, Talk};
use crate::snapshot::SnapshotError;
use crate::snapshot::repository::{Repository, one_line};
use crate::snapshot::stat::Stat;

/// Where git makes a commit, as it tells its hooks, or as it would find it from a folder.
#[derive(Debug, Clone)]
pub(crate) struct Staging {
    pub(crate) repository: Repository,
    pub(crate) index: PathBuf,
    pub(crate) env: Env,
}

/// The index file at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp(Stat);

/// Kept from git while it works for us: hooks on written indexes, and whatever else it would do beside.
const PLAIN: [&str; 12] = [
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.fsmonitor=false",
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
    /// Finds it. `cwd` is where git started the hook, or the user the program.
    ///
    /// # Errors
    /// If there is no repository with a work tree.
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
        // Git goes to the top before it opens it.
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

    /// The same for the repository of a submodule.
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

    /// The commit that the next one follows; `None` before the first.
    #[must_use]
    pub(crate) fn head(&self) -> Option<String> {
        self.commit("HEAD")
    }

    /// The first parent of a commit.
    #[must_use]
    pub(crate) fn parent(&self, commit: &str) -> Option<String> {
        self.commit(&format!("{commit}^1"))
    }

    /// Whether an id is that of a commit, or of a tag of one.
    ///
    /// # Errors
    /// If git does not say.
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

    /// Differs from another moment's if the index was written between them.
    #[must_use]
    pub(crate) fn stamp(&self) -> Option<Stamp> {
        Stat::of(&self.index).ok().map(Stamp)
    }

    /// Where git looks for hooks.
    ///
    /// # Errors
    /// If git does not say.
    pub(crate) fn hooks_dir(&self) -> Result<PathBuf, SnapshotError> {
        let said = self
            .repository
            .git(&["rev-parse", "--git-path", "hooks"], &self.env)?;
        Ok(self.top().join(one_line(&said)))
    }

    /// `core.hooksPath`, if it is set outside the repository: then its hooks are those of all repositories.
    ///
    /// # Errors
    /// If git does not say.
    pub(crate) fn hooks_of_all(&self) -> Result<Option<String>, SnapshotError> {
        let args = ["config", "--show-scope", "--get", "core.hooksPath"];
        // Git fails where there is none.
        let Ok(said) = self.repository.git(&args, &self.env) else {
            return Ok(None);
        };
        let said = String::from_utf8_lossy(&said);
        let (scope, path) = said.trim_end().split_once('\t').unwrap_or_default();
        let of_all = ["global", "system"].contains(&scope);
        Ok(of_all.then(|| path.to_owned()))
    }

    /// What git prints, with a work tree and an index of our own.
    pub(crate) fn run(
        &self,
        args: &[&str],
        work_tree: &Path,
        index: &Path,
        input: Vec<u8>,
    ) -> Result<Vec<u8>, SnapshotError> {
        let set = self.variables(work_tree, index)?;
        let args = [&PLAIN, args].concat();
        let said = talk::feed(
            Path::new("git"),
            &args,
            work_tree,
            &self.env,
            &pairs(&set),
            input,
        );
        let said =
            said.map_err(|error| self.failed(&format!("`git` cannot be started: {error}")))?;
        if said.status.success() {
            return Ok(said.stdout);
        }
        Err(self.failed(String::from_utf8_lossy(&said.stderr).trim()))
    }

    /// Starts `git cat-file --batch`.
    pub(crate) fn batch(&self) -> std::io::Result<Talk> {
        let set = self.variables(self.top(), &self.index);
        let set = set.map_err(std::io::Error::other)?;
        let args = ["cat-file", "--batch"];
        Talk::start(Path::new("git"), &args, self.top(), &self.env, &pairs(&set))
    }

    pub(crate) fn variables(
        &self,
        work_tree: &Path,
        index: &Path,
    ) -> Result<Vec<(&'static str, String)>, SnapshotError> {
        let text = |path: &Path| {
            let text = path.to_str().map(str::to_owned);
            text.ok_or_else(|| self.failed("its path is not valid UTF-8"))
        };
        Ok(vec![
            (env::GIT_DIR, text(&self.repository.git_dir)?),
            (env::GIT_COMMON_DIR, text(&self.repository.common_dir)?),
            (env::GIT_WORK_TREE, text(work_tree)?),
            (env::GIT_INDEX_FILE, text(index)?),
            ("GIT_OPTIONAL_LOCKS", "0".to_owned()),
            // A commit holds the objects that it names.
            ("GIT_NO_REPLACE_OBJECTS", "1".to_owned()),
        ])
    }

    pub(crate) fn failed(&self, reason: &str) -> SnapshotError {
        SnapshotError::Staged {
            path: self.top().to_path_buf(),
            reason: reason.to_owned(),
        }
    }
}

/// What git said, without where.
pub(crate) fn reason(error: SnapshotError) -> String {
    match error {
        SnapshotError::Staged { reason, .. } => reason,
        other => other.to_string(),
    }
}

fn pairs<'a>(set: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    set.iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect()
}

/// The repository in `git_dir`, whose work tree is around `cwd`, or configured, or `cwd` itself.
fn named(git_dir: &Path, around: Option<Repository>, cwd: &Path, env: &Env) -> Option<Repository> {
    let real = git_dir.canonicalize().ok()?;
    let is_it = |found: &Repository| found.git_dir.canonicalize().is_ok_and(|dir| dir == real);
    if let Some(around) = around.filter(is_it) {
        return Some(around);
    }
    let common_dir = match std::fs::read(real.join("commondir")) {
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
    // Asked with the variables as they are: only git knows how it weighs them.
    let args = ["rev-parse", "--show-toplevel"];
    let said = crate::process::capture(Path::new("git"), &args, cwd, env, &[]).ok()?;
    if said.status.success() {
        repository.top = cwd.join(one_line(&said.stdout));
    }
    Some(repository)
}
