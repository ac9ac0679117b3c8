//! Resolves the arguments once: current directory, project root, cache directory, project id.
//!
//! Runs nothing.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Instant, SystemTime};

use anyhow::Context as _;

use crate::cli::args::{Global, RunArgs};
use crate::cli::exit::Failure;
use crate::env::{self, Env};
use crate::event::Sink;
use crate::path::RelPath;
use crate::path::normal;
use crate::report::shell::Tone;
use crate::report::{About, FORMATS, Format, Shell, Verbosity, json, text};
use crate::session::project::Host;
use crate::session::{Files, Listener, Project};
use crate::snapshot::dubious::dubious;
use crate::tool::search_path::without_strangers;
use crate::visible::Shown as _;

pub(crate) struct Context<'a> {
    pub(crate) shell: &'a Shell,
    /// The user's environment without variables that git sets for hooks.
    pub(crate) env: Env,
    /// The environment with them.
    pub(crate) given_env: Env,
    /// Folders on PATH that are ignored, because other users can write there.
    strange_path: Vec<PathBuf>,
    /// Options of every command.
    pub(crate) global: Global,
    format: &'static Format,
    /// The current directory, after `-C`.
    pub(crate) cwd: PathBuf,
    /// Start of the process.
    pub(crate) started: (Instant, SystemTime),
}

impl<'a> Context<'a> {
    /// Resolves the global options.
    pub(crate) fn new(
        global: Global,
        shell: &'a Shell,
        env: Env,
        started: (Instant, SystemTime),
    ) -> Result<Self, Failure> {
        let here = std::env::current_dir().context("cannot use the current directory")?;
        let cwd = match &global.directory {
            None => here,
            Some(dir) => {
                let dir = here.join(dir);
                dir.canonicalize()
                    .ok()
                    .filter(|dir| dir.is_dir())
                    .ok_or_else(|| {
                        Failure::usage(format!("-C {}: no such directory", dir.shown()))
                    })?
            }
        };
        let format = FORMATS
            .iter()
            .find(|format| format.name == global.message_format);
        let format = format.ok_or_else(|| {
            Failure::not_yet(&format!("--message-format {}", global.message_format))
        })?;
        let (env, strange_path) = without_strangers(&env);
        Ok(Self {
            shell,
            format,
            env: env.without_repository(),
            given_env: env,
            strange_path,
            global,
            cwd,
            started,
        })
    }

    /// The project root: the directory of `--manifest-path`, else the git top level, else the Cargo workspace root,
    /// else the current directory.
    pub(crate) fn root(&self) -> Result<PathBuf, Failure> {
        let cwd = self
            .cwd
            .canonicalize()
            .with_context(|| format!("cannot use {}", self.cwd.shown()))?;
        let Some(manifest) = &self.global.manifest_path else {
            return Ok(root_of(&cwd));
        };
        let path = cwd.join(manifest);
        if path.file_name() != Some("Cargo.toml".as_ref()) || !path.is_file() {
            return Err(Failure::usage(format!(
                "--manifest-path {}: not a Cargo.toml file; use the one at the workspace root",
                manifest.shown()
            )));
        }
        let folder = path.parent().unwrap_or(&cwd);
        let folder = folder
            .canonicalize()
            .with_context(|| format!("cannot use {}", folder.shown()))?;
        Ok(workspace_root(&folder).unwrap_or(folder))
    }

    /// The cache directory: `--cache-dir`, `DAGCACHE_DIR`, else the platform's; `None` if there is no home directory.
    #[must_use]
    pub(crate) fn cache_dir(&self) -> Option<PathBuf> {
        if let Some(dir) = &self.global.cache_dir {
            return Some(self.cwd.join(dir));
        }
        if let Some(dir) = self.env.path(env::DAGCACHE_DIR) {
            return Some(self.cwd.join(dir));
        }
        let platform = if cfg!(target_os = "macos") {
            self.env
                .path(env::HOME)
                .map(|home| home.join("Library/Caches"))
        } else {
            let xdg = self
                .env
                .path(env::XDG_CACHE_HOME)
                .filter(|dir| dir.is_absolute());
            xdg.or_else(|| self.env.path(env::HOME).map(|home| home.join(".cache")))
        };
        platform
            .filter(|dir| dir.is_absolute())
            .map(|dir| dir.join("dagcache"))
    }

    pub(crate) fn open(&self) -> Result<Project<'_>, Failure> {
        self.open_at(self.root()?, Files::WorkTree, false)
    }

    /// Like [`Context::open`], for a run with these arguments.
    pub(crate) fn open_for(&self, args: &RunArgs) -> Result<Project<'_>, Failure> {
        self.open_at(self.root()?, Files::WorkTree, args.dry_run)
    }

    /// Like [`Context::open`], for staged files or a commit of the project at `root`. `reads_only`: nothing is written
    /// to the store.
    pub(crate) fn open_at(
        &self,
        root: PathBuf,
        files: Files,
        reads_only: bool,
    ) -> Result<Project<'_>, Failure> {
        if let Some(why) = dubious(&root, &self.env) {
            return Err(Failure::usage(why));
        }
        let host = Host {
            reads_only,
            env: &self.env,
            engine: self.global.engine.map(Into::into),
            started: self.started,
            listener: self,
            trusts: self.global.trust || self.env.var(env::DAGCACHE_TRUST) == Some("1"),
            strange_path: &self.strange_path,
        };
        Project::open(host, self.cache_dir().as_deref(), root, files)
    }

    /// The report of a run in the requested format.
    pub(crate) fn report<'r>(&self, about: About<'r>) -> Mutex<Box<dyn Sink + 'r>> {
        Mutex::new((self.format.report)(about))
    }

    /// Whether the output is for programs.
    #[must_use]
    pub(crate) fn is_json(&self) -> bool {
        self.format.name == json::FORMAT.name
    }

    /// A path from the command line, relative to `root`.
    pub(crate) fn project_path(&self, root: &Path, typed: &Path) -> Result<RelPath, Failure> {
        let shown = typed.shown();
        let absolute = normal(&self.cwd.join(typed));
        let absolute = absolute.canonicalize().unwrap_or(absolute);
        let below = absolute.strip_prefix(root).map_err(|_| {
            Failure::usage(format!("{shown} is outside the project {}", root.shown()))
        })?;
        RelPath::from_path(below).map_err(|error| Failure::usage(error.to_string()))
    }
}

impl Listener for Context<'_> {
    fn waiting(&self) {
        let message = "waiting for other runs to finish using the cache";
        self.shell.status(Tone::Note, "Blocking", message);
    }

    fn warning(&self, message: &str) {
        self.shell.warning(message);
    }

    fn engine_lost(&self, why: &str) {
        let verbose = self.shell.verbosity() == Verbosity::Verbose;
        self.shell.warning(&text::engine_lost(why, verbose));
    }
}

fn root_of(cwd: &Path) -> PathBuf {
    let git = cwd.ancestors().find(|dir| is_git_toplevel(dir));
    git.map(Path::to_owned)
        .or_else(|| workspace_root(cwd))
        .unwrap_or_else(|| cwd.to_owned())
}

/// A work tree has `.git` as a directory with a HEAD, or as a file that names the real one.
fn is_git_toplevel(dir: &Path) -> bool {
    let git = dir.join(".git");
    git.join("HEAD").exists() || git.is_file()
}

/// The nearest Cargo.toml with `[workspace]` in a parent directory, else the nearest Cargo.toml.
fn workspace_root(cwd: &Path) -> Option<PathBuf> {
    let manifests: Vec<&Path> = cwd
        .ancestors()
        .filter(|dir| dir.join("Cargo.toml").is_file())
        .collect();
    let is_workspace = |dir: &&&Path| {
        let text = crate::fs::text(dir.join("Cargo.toml")).unwrap_or_default();
        text.lines()
            .any(|line| line.trim_start().starts_with("[workspace"))
    };
    manifests
        .iter()
        .find(is_workspace)
        .or(manifests.first())
        .map(|dir| dir.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_the_git_top_level_else_the_workspace_else_here() {
        let dir = tempfile::tempdir().expect("dir");
        let root = dir.path().canonicalize().expect("real path");
        let deep = root.join("a/b");
        std::fs::create_dir_all(&deep).expect("folders");
        assert_eq!(root_of(&deep), deep);
        std::fs::write(root.join("Cargo.toml"), "[workspace]\n").expect("manifest");
        std::fs::write(root.join("a/Cargo.toml"), "[package]\n").expect("manifest");
        assert_eq!(root_of(&deep), root);
        std::fs::write(root.join("a/.git"), "gitdir: elsewhere\n").expect("worktree");
        assert_eq!(root_of(&deep), root.join("a"));
    }
}
