//! A layer: base → tools → deps. What it is made of is its key; how it is built is the engine's business.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::path::RelPath;
use crate::plan::check::OutsideFile;
use crate::snapshot::FileId;

/// One step that yields an environment for checks.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    /// Unique in the plan: `base`, `tools:rust`, `deps:rust@sub`, `tools:yamllint`.
    pub(crate) name: String,
    /// Its place in base → tools → deps.
    pub(crate) kind: LayerKind,
    /// The layers it stands on, by name.
    pub(crate) on: Vec<String>,
    /// What identifies it, as named parts in a fixed order. Enters its key; the first part that differs is the
    /// reason that is printed when it is Dirty. Values hold no absolute paths.
    pub(crate) parts: Vec<(String, String)>,
    /// What building it takes.
    pub(crate) build: Build,
}

/// The place of a layer (the source layer of the design is the input set of a check).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LayerKind {
    /// Base image and system packages; on the host: os, arch, libc.
    Base,
    /// Linters, toolchains.
    Tools,
    /// Dependencies without the project's own source.
    Deps,
}

/// Where a layer of that name puts its programs in a container: `/opt/dagcache/ruff` for `tools:ruff@sub`. Of one name,
/// a check stands on one layer, so the folder it is for tells nothing more.
#[must_use]
pub(crate) fn container_folder(layer: &str) -> String {
    let name = layer.split_once(':').map_or(layer, |(_, name)| name);
    let name = name.split('@').next().unwrap_or(name);
    format!("/opt/dagcache/{name}")
}

impl LayerKind {
    /// The word in flags, output and records.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Tools => "tools",
            Self::Deps => "deps",
        }
    }
}

/// What building a layer takes. Runs with the user's HOME, environment and package configuration.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Build {
    /// Nothing: it is there (host platform, installed toolchain).
    Present,
    /// On the host: commands, one after the other.
    Host(Arc<dyn HostBuild>),
    /// In a container: an image, by digest.
    Image {
        /// `docker.io/library/python@sha256:…`.
        reference: String,
    },
    /// In a container: an image from an OCI archive of this machine.
    Archive {
        /// The file.
        path: PathBuf,
        /// Digest of its content.
        digest: crate::digest::Digest,
    },
    /// In a container: a script on the one layer below it.
    Script(Box<Script>),
}

/// Builds a layer on the host, command by command.
pub(crate) trait HostBuild: fmt::Debug + Send + Sync {
    /// The files its commands see.
    fn sources(&self) -> Sources;

    /// The next command for the layer in `folder`, by the exit codes of the commands before; `None` if it is complete.
    ///
    /// # Errors
    /// If the commands did not make what they should: why, and the way out.
    fn next(&self, folder: &Path, ended: &[i32]) -> Result<Option<Step>, String>;

    /// The exit code of all checks on this layer, if a command that failed with this output refused the project's own
    /// files. That is a verdict on the project, not a problem of the host.
    fn verdict(&self, _output: &str) -> Option<i32> {
        None
    }

    /// A file that the project does not have but that its checks need. It is laid beside `sources`, and into the rooms
    /// of checks on this layer.
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
    /// Files of the snapshot.
    pub(crate) files: Vec<FileId>,
    /// Files from outside the snapshot.
    pub(crate) outside: Vec<OutsideFile>,
    /// Files that were made for the commands.
    pub(crate) made: Vec<(RelPath, Vec<u8>)>,
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

/// What makes a layer in a container: files that are put in, then a script. It runs with the network, HOME of the
/// image, and nothing of the user's but what `user_env` names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Script {
    /// For `sh -eu`. Its working directory is the copy of the project root, which holds `files` only.
    pub(crate) text: String,
    /// Files by their path in the copy of the project root. What of them stays is up to the script.
    pub(crate) files: Vec<(RelPath, Vec<u8>)>,
    /// Files of the snapshot that are put in beside them (a vendored dependency, say).
    pub(crate) sources: Vec<FileId>,
    /// Programs taken from other images: reference by digest, path there, absolute path here.
    pub(crate) programs: Vec<(String, String, String)>,
    /// Variables set to fixed values, for the script only.
    pub(crate) set_env: Vec<(String, String)>,
    /// Variables for the script and for everything that stands on this layer; `PATH` is put in front of the image's.
    pub(crate) lasting_env: Vec<(String, String)>,
    /// Names of the user's variables that say where packages come from (`PIP_INDEX_URL`). Given as secrets: their values
    /// are in no key, and shown nowhere.
    pub(crate) user_env: Vec<String>,
}
