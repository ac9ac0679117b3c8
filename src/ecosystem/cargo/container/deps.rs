//! `deps:rust` in a container: dependencies fetched, and compiled once with the skeleton of the workspace.
//!
//! Compiled like `rust:clippy` does it: the same packages, targets, place and environment, so that cargo reuses them.
//! Whatever fails to compile here is left to the check, which reports it. Nothing of the skeleton stays in the tree.
//!
//! Cargo may change the skeleton's lockfile, because workspace packages are described differently, as long as it uses
//! all planned packages. Otherwise the layer fails.

use crate::digest::{Digest, Hasher};
use crate::path::RelPath;
use crate::plan::id_at;
use crate::plan::{Build, Layer, LayerKind, Script};
use crate::provision::base::PROXIES;
use crate::scope::Scope;
use crate::snapshot::{FileId, Kind};

use super::super::config::cargo_config;
use super::super::deps::Lockfile;
use super::super::links::follow;
use super::super::manifests::vendored;
use super::super::programs::{environment, keeps_going};
use super::super::skeleton::{Skeleton, skeleton};
use super::super::workspace::{Workspace, Workspaces};
use super::{FOLDER, Rust, TARGET, homes};

/// The user's variables for cargo's network access, and prefixes of such.
const NETWORK: [&str; 3] = ["CARGO_HTTP_", "CARGO_REGISTRIES_", "CARGO_REGISTRY_"];

/// Variables that every check has.
const USUAL: [(&str, &str); 3] = [
    ("LANG", "C.UTF-8"),
    ("SOURCE_DATE_EPOCH", "315532800"),
    ("TZ", "UTC"),
];

/// Describes the layer.
pub(crate) struct Sought<'a> {
    /// The workspace's folder.
    pub(crate) dir: &'a RelPath,
    pub(crate) workspaces: &'a Workspaces<'a>,
    /// What is in it.
    pub(crate) workspace: &'a Workspace,
    pub(crate) lockfile: &'a Lockfile,
}

/// Where the layer leaves a lockfile that the project does not have.
pub(crate) fn lockfile() -> String {
    format!("{FOLDER}/Cargo.lock")
}

impl Sought<'_> {
    /// The layer; `None` without external packages.
    ///
    /// # Errors
    /// If the lockfile is none.
    pub(crate) fn layer(&self, scope: &Scope<'_>, rust: &Rust) -> Result<Option<Layer>, String> {
        let mut parts = self.lockfile.packages(scope, self.dir)?;
        if parts.is_empty() && !self.workspace.has_external {
            return Ok(None);
        }
        let configuration = self.configuration(scope);
        let skeleton = self.skeleton(scope, &configuration)?;
        let config = configuration.into_iter().map(|(path, text)| {
            let plain = toml::from_str::<toml::Table>(&text).map(|table| table.to_string());
            (path, plain.unwrap_or(text))
        });
        let named: Vec<(RelPath, String)> = skeleton
            .manifests
            .into_iter()
            .chain(config)
            .chain(skeleton.lockfile)
            .collect();
        for (path, text) in &named {
            parts.push((
                path.display_dot().to_owned(),
                Digest::of(text.as_bytes()).to_string(),
            ));
        }
        let sources = sources(scope);
        if let Some(digest) = digest(scope, &sources) {
            parts.push(("vendored packages".to_owned(), digest.to_string()));
        }
        let text = self.script(rust);
        parts.push(("script".to_owned(), Digest::of(text.as_bytes()).to_string()));
        let files = named.into_iter().chain(skeleton.sources);
        let mut set_env = environment(TARGET);
        set_env.remove("CARGO_NET_OFFLINE");
        set_env.extend(homes());
        set_env.extend(USUAL.map(|(name, value)| (name.to_owned(), value.to_owned())));
        Ok(Some(Layer {
            name: id_at("deps:rust", self.dir),
            kind: LayerKind::Deps,
            on: rust.top(),
            parts,
            build: Build::Script(Box::new(Script {
                text,
                files: files
                    .map(|(path, text)| (path, text.into_bytes()))
                    .collect(),
                sources,
                set_env: set_env.into_iter().collect(),
                user_env: user_env(scope),
                ..Script::default()
            })),
        }))
    }

    /// Cargo's configuration: paths and texts.
    fn configuration(&self, scope: &Scope<'_>) -> Vec<(RelPath, String)> {
        let files = cargo_config(scope, self.dir).into_iter();
        let paths = files.map(|id| &scope.snapshot.entry(id).path);
        paths
            .filter_map(|path| Some((path.clone(), text(scope, path)?)))
            .collect()
    }

    fn skeleton(
        &self,
        scope: &Scope<'_>,
        configuration: &[(RelPath, String)],
    ) -> Result<Skeleton, String> {
        let lockfile = self.lockfile.text(scope);
        let members = self.workspace.members.iter();
        let members: Vec<RelPath> = members.map(|member| member.dir.clone()).collect();
        let mut hasher = Hasher::new();
        hasher.update(self.workspaces.digest().as_bytes());
        hasher.update(Digest::of(lockfile.as_deref().unwrap_or_default().as_bytes()).as_bytes());
        hasher.update(self.dir.as_bytes());
        let facts = scope.facts;
        facts.derive("rust-skeleton/2", hasher.finish(), || {
            // Cargo's paths start from the folder that holds the file's folder.
            let tables = configuration.iter().filter_map(|(path, text)| {
                let folder = path.parent()?.parent()?;
                Some((folder, toml::from_str(text).ok()?))
            });
            let tables: Vec<_> = tables.collect();
            let read = |path: &RelPath| text(scope, path);
            skeleton(self.dir, &members, lockfile.as_deref(), &tables, &read)
        })
    }

    fn script(&self, rust: &Rust) -> String {
        let dir = crate::process::quoted(self.dir.display_dot());
        let keep_going = match keeps_going(rust.version.as_deref()) {
            true => " --keep-going",
            false => "",
        };
        let leave = match self.lockfile {
            Lockfile::Resolved(_) => format!("cp Cargo.lock {}\n", lockfile()),
            _ => String::new(),
        };
        format!(
            r#"tree=$PWD
cd {dir}
[ -f "${{CARGO_HTTP_CAINFO:-}}" ] || unset CARGO_HTTP_CAINFO
packages() {{
    awk 'function put() {{ if (s != "") print n, v, s, c; n = v = s = c = "" }}
        /^\[/ {{ put() }} /^name = /{{ n = $3 }} /^version = /{{ v = $3 }} /^source = /{{ s = $3 }} /^checksum = /{{ c = $3 }}
        END {{ put() }}' Cargo.lock | sort
}}
planned=$(packages)
if ! cargo fetch --locked; then
    cargo fetch
    found=$(packages)
    if printf '%s\n' "$planned" | grep -vxF -e "$found"; then
        echo 'cargo takes other packages than these, which are in the lockfile' >&2
        exit 1
    fi
fi
{leave}CARGO_NET_OFFLINE=true cargo check --workspace --all-targets{keep_going} ||
    echo 'not all dependencies were compiled; the check itself will say why' >&2
cd /
find "$tree" -mindepth 1 -delete
"#
        )
    }
}

/// A file's text, also if it is a link or below one.
fn text(scope: &Scope<'_>, path: &RelPath) -> Option<String> {
    let file = follow(scope.snapshot, path).file?;
    scope.text(&scope.snapshot.entry(file).path)
}

/// Files of vendored packages.
fn sources(scope: &Scope<'_>) -> Vec<FileId> {
    let folders = vendored(scope);
    let below = folders.iter().flat_map(|dir| scope.snapshot.below(dir));
    let mut all: Vec<FileId> = below.collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Digest of the files; `None` if there are none.
fn digest(scope: &Scope<'_>, files: &[FileId]) -> Option<Digest> {
    let mut hasher = Hasher::new();
    for id in files {
        let entry = scope.snapshot.entry(*id);
        hasher.update(entry.path.as_bytes());
        hasher.update(&[
            0,
            u8::from(entry.kind == Kind::Symlink),
            u8::from(entry.kind == Kind::Executable),
        ]);
        hasher.update(entry.digest.as_bytes());
    }
    (!files.is_empty()).then(|| hasher.finish())
}

/// Names of the user's variables for package sources.
fn user_env(scope: &Scope<'_>) -> Vec<String> {
    let all = scope.env.all().filter_map(|(name, _)| name.to_str());
    let mut names: Vec<String> = all
        .filter(|name| NETWORK.iter().any(|start| name.starts_with(start)))
        .chain(PROXIES)
        .map(str::to_owned)
        .collect();
    names.sort();
    names.dedup();
    names
}
