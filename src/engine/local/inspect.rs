//! Inspects what the local engine keeps, for `cache verify`: the manifests of rooms and the markers of layers.
//!
//! Both are verified before use, so damage costs a rebuild. A room or layer without one was never finished, which is
//! not damage.

use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::engine::local::{Dirs, layers};
use crate::room;

#[derive(Debug, Default)]
pub(crate) struct Inspected {
    /// Rooms with a manifest.
    pub(crate) rooms: u64,
    /// Layers marked as complete.
    pub(crate) layers: u64,
    /// Damaged files and the reason.
    pub(crate) damaged: Vec<(PathBuf, String)>,
}

#[must_use]
pub(crate) fn inspect(dirs: &Dirs) -> Inspected {
    let mut inspected = Inspected::default();
    for project in folders(&dirs.rooms) {
        for room in folders(&project) {
            let Some(sound) = room::has_sound_manifest(&room) else {
                continue;
            };
            inspected.rooms += 1;
            if !sound {
                let reason = "content does not match its checksum";
                let damaged = (room.join(room::MANIFEST), reason.to_owned());
                inspected.damaged.push(damaged);
            }
        }
    }
    for layer in folders(&dirs.layers) {
        let marker = layer.join(layers::MARKER);
        if marker.symlink_metadata().is_err() {
            continue;
        }
        inspected.layers += 1;
        let key: Option<Digest> = layer
            .file_name()
            .and_then(|name| name.to_str()?.parse().ok());
        if !key.is_some_and(|key| layers::is_sound(&layer, key)) {
            let reason = "layer changed after it was built";
            inspected.damaged.push((marker, reason.to_owned()));
        }
    }
    inspected
}

/// The directories in a directory, without links.
fn folders(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect();
    folders.sort();
    folders
}
