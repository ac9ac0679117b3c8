//! A layer: base → tools → deps. What it is made of is its key; how it is built is the engine's business.

use std::path::PathBuf;

use crate::path::RelPath;

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Build {
    /// Nothing: it is there (host platform, installed toolchain).
    Present,
    /// A Python virtual environment from hash-checked wheels:
    /// `pip install --require-hashes --no-deps --only-binary :all:`.
    PythonEnv {
        /// The interpreter that makes it.
        python: PathBuf,
        /// Text of the requirements file, one `name==version --hash=… …` each.
        requirements: String,
    },
    /// `cargo fetch` in `dir` (relative to the project root), with the manifests and the lockfile there.
    CargoFetch {
        /// Folder of the workspace, relative to the project root.
        dir: RelPath,
        /// The cargo program.
        cargo: PathBuf,
        /// Files (manifests, lockfile, cargo configuration, target roots) the command needs to see.
        files: Vec<crate::snapshot::FileId>,
        /// Files outside the universe it needs to see, by their place: configuration above the root, an ignored lockfile.
        outside: Vec<crate::plan::check::OutsideFile>,
        /// The text of the lockfile, if it is no file of the project but was resolved for it: it is laid beside the
        /// manifests here and in rooms.
        resolved: Option<String>,
        /// Environment besides the user's own (`RUSTUP_TOOLCHAIN`).
        set_env: Vec<(String, String)>,
    },
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

/// What makes a layer in a container: files that are put in, then a script. It runs with the network, HOME of the
/// image, and nothing of the user's but what `user_env` names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Script {
    /// For `sh -eu`. Its working directory is the copy of the project root, which holds `files` only.
    pub(crate) text: String,
    /// Files by their path in the copy of the project root. What of them stays is up to the script.
    pub(crate) files: Vec<(RelPath, Vec<u8>)>,
    /// Files of the snapshot that are put in beside them (a vendored dependency, say).
    pub(crate) sources: Vec<crate::snapshot::FileId>,
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
