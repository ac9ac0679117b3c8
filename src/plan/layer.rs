//! A layer: base → tools → deps. Its key is what it is made of; building it is up to the engine.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::path::RelPath;
use crate::plan::check::OutsideFile;
use crate::snapshot::FileId;

/// A step that yields an environment for checks.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    /// Unique in the plan: `base`, `tools:rust`, `deps:rust@sub`, `tools:yamllint`.
    pub(crate) name: String,
    pub(crate) kind: LayerKind,
    /// Names of the layers below it.
    pub(crate) on: Vec<String>,
    /// Its identity as named parts in a fixed order, which enters its key. The first part that differs is printed as
    /// the reason if the layer is Dirty. Values contain no absolute paths.
    pub(crate) parts: Vec<(String, String)>,
    /// How to build it.
    pub(crate) build: Build,
}

/// The kind of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LayerKind {
    /// Base image and system packages; on the host: OS, architecture, libc.
    Base,
    Tools,
    /// Dependencies without the project's own source.
    Deps,
}

/// Where a layer puts its programs in a container: `/opt/dagcache/ruff` for `tools:ruff@sub`. The folder after `@` is
/// omitted, because a check never has two layers that differ only in it.
#[must_use]
pub(crate) fn container_folder(layer: &str) -> String {
    let name = layer.split_once(':').map_or(layer, |(_, name)| name);
    let name = name.split('@').next().unwrap_or(name);
    format!("/opt/dagcache/{name}")
}

impl LayerKind {
    /// The name in flags, output and records.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Tools => "tools",
            Self::Deps => "deps",
        }
    }
}

/// How to build a layer. Runs with the user's HOME, environment and package configuration.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Build {
    /// Nothing to build (host platform, installed toolchain).
    Present,
    /// On the host: commands, one after the other.
    Host(Arc<dyn HostBuild>),
    /// In a container: an image by digest.
    Image {
        /// `docker.io/library/python@sha256:…`.
        reference: String,
    },
    /// In a container: an image from a local OCI archive.
    Archive {
        path: PathBuf,
        digest: crate::digest::Digest,
    },
    /// In a container: a script on the single layer below it.
    Script(Box<Script>),
}

/// Builds a layer on the host, command by command.
pub(crate) trait HostBuild: fmt::Debug + Send + Sync {
    /// The files its commands see.
    fn sources(&self) -> Sources;

    /// The next command for the layer in `folder`, given the exit codes of earlier commands; `None` if it is complete.
    /// The error says why the commands failed to build it, and what to do.
    fn next(&self, folder: &Path, ended: &[i32]) -> Result<Option<Step>, String>;

    /// The exit code of all checks on this layer, if a command that failed with this output refused the project's own
    /// files. That is a verdict on the project, not a problem of the host.
    fn verdict(&self, _output: &str) -> Option<i32> {
        None
    }

    /// A file that checks need although the project does not have it. It is added to `sources` and to the rooms of
    /// checks on this layer.
    fn lays(&self) -> Option<(RelPath, Vec<u8>)> {
        None
    }
}

impl PartialEq for dyn HostBuild {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::addr_eq(self, other)
    }
}

/// The files that the commands of a [`HostBuild`] see, in a copy of the project root.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources {
    pub(crate) files: Vec<FileId>,
    /// Files from outside the snapshot.
    pub(crate) outside: Vec<OutsideFile>,
    /// Files made for the commands.
    pub(crate) made: Vec<(RelPath, Vec<u8>)>,
    /// The same above the project root, by number of folders.
    pub(crate) made_above: Vec<(u32, RelPath, Vec<u8>)>,
    /// Where the commands run.
    pub(crate) dir: RelPath,
}

/// A command of a [`HostBuild`], run as the user.
#[derive(Debug, Clone, Default)]
pub(crate) struct Step {
    /// The program.
    pub(crate) program: PathBuf,
    /// Its arguments.
    pub(crate) args: Vec<String>,
    /// Variables set in the user's environment.
    pub(crate) set_env: Vec<(String, String)>,
    /// Variables removed from it.
    pub(crate) unset_env: &'static [&'static str],
    /// Whether the build goes on if it fails.
    pub(crate) may_fail: bool,
}

/// Makes a layer in a container: adds files, then runs a script. It has network access, HOME of the image, and
/// nothing of the user's except `user_env`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Script {
    /// For `sh -eu`. Its working directory is a copy of the project root that contains only `files` and `sources`.
    pub(crate) text: String,
    /// Files by path in the copy of the project root. The script decides which of them stay.
    pub(crate) files: Vec<(RelPath, Vec<u8>)>,
    /// Snapshot files to add (a vendored dependency, say).
    pub(crate) sources: Vec<FileId>,
    /// Programs copied from other images: reference by digest, path there, absolute path here.
    pub(crate) programs: Vec<(String, String, String)>,
    /// Variables with fixed values, for the script only.
    pub(crate) set_env: Vec<(String, String)>,
    /// Variables for the script and everything on top of this layer; `PATH` is prepended to the image's.
    pub(crate) lasting_env: Vec<(String, String)>,
    /// Names of the user's variables that configure package sources (`PIP_INDEX_URL`). Passed as secrets: their
    /// values are in no key and never shown.
    pub(crate) user_env: Vec<String>,
}
