//! What `rust:clippy` in a container does not have to see. Reads are not detected there, so that everything it sees
//! counts: comments of the lockfile, and documents that nothing can read, would make it run again.

use std::collections::BTreeSet;

use crate::digest::Digest;
use crate::ecosystem::cargo::workspace::Workspace;
use crate::path::RelPath;
use crate::plan::{Build, Layer, LayerKind, Script, id_at};
use crate::scope::Scope;
use crate::snapshot::{FileId, Kind};

use super::super::deps::Lockfile;
use super::super::lock::without_comments;
use super::deps;

/// Extensions of documents.
const DOCUMENTS: [&str; 4] = ["adoc", "markdown", "md", "rst"];

/// What Rust source contains if it may read a document: its name, or a path that a macro lists.
const READERS: [&str; 9] = [
    ".adoc",
    ".markdown",
    ".md",
    ".rst",
    "readme",
    "cargo_manifest_dir",
    "current_dir",
    "\".\"",
    "\"./\"",
];

/// The file of a tracked lockfile, and the layer that brings its text without comments instead.
pub(super) fn lock_layer(
    scope: &Scope<'_>,
    dir: &RelPath,
    lockfile: &Lockfile,
    on: Vec<String>,
) -> Option<(FileId, Layer)> {
    let Lockfile::Tracked(id) = lockfile else {
        return None;
    };
    if scope.snapshot.entry(*id).kind == Kind::Symlink {
        return None;
    }
    let plain = without_comments(&lockfile.text(scope)?);
    let name = RelPath::new("Cargo.lock").ok()?;
    let layer = Layer {
        name: id_at("deps:rust:lockfile", dir),
        kind: LayerKind::Deps,
        on,
        parts: vec![(
            "lockfile".to_owned(),
            Digest::of(plain.as_bytes()).to_string(),
        )],
        build: Build::Script(Box::new(Script {
            text: format!("mv Cargo.lock {}\n", deps::lockfile()),
            files: vec![(name, plain.into_bytes())],
            ..Script::default()
        })),
    };
    Some((*id, layer))
}

/// Documents beside the manifests of a workspace, if none of its code runs at build time and no Rust source mentions
/// any document or a folder as a whole.
pub(super) fn documents(
    scope: &Scope<'_>,
    dir: &RelPath,
    workspace: &Workspace,
    seen: &[FileId],
) -> BTreeSet<FileId> {
    let members = &workspace.members;
    if members.iter().any(|member| member.runs_at_build)
        || seen.iter().any(|id| may_read(scope, *id))
    {
        return BTreeSet::new();
    }
    let mut folders: BTreeSet<&RelPath> = members.iter().map(|member| &member.dir).collect();
    folders.insert(dir);
    let is_document = |id: &FileId| {
        let entry = scope.snapshot.entry(*id);
        let extension = entry.path.extension().unwrap_or_default();
        let folder = entry.path.parent();
        entry.kind == Kind::File
            && DOCUMENTS.contains(&extension)
            && folder.is_some_and(|folder| folders.contains(&folder))
    };
    seen.iter().copied().filter(is_document).collect()
}

/// Whether a file is Rust source that may read a document, or a link.
fn may_read(scope: &Scope<'_>, id: FileId) -> bool {
    let entry = scope.snapshot.entry(id);
    if entry.kind == Kind::Symlink {
        return true;
    }
    if entry.path.extension() != Some("rs") {
        return false;
    }
    let reads = || -> std::io::Result<bool> {
        let bytes = scope.snapshot.read(id)?;
        let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        Ok(READERS.iter().any(|words| text.contains(words)))
    };
    let answer = scope
        .facts
        .derive("rust-reads-documents/1", entry.digest, reads);
    answer.unwrap_or(true)
}
