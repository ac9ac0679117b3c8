//! Looking at what the host engine keeps, for `cache verify`: the manifests of rooms and the markers of layers.
//!
//! Both are believed only as far as they hold, so damage costs a rebuild. A room or layer without one was never
//! finished, which is no damage.

use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::engine::local::{Dirs, layers};
use crate::room;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Inspected {
    /// Rooms with a manifest.
    pub(crate) rooms: u64,
    /// Layers that say they are complete.
    pub(crate) layers: u64,
    /// Files that are not what they should be, and why.
    pub(crate) damaged: Vec<(PathBuf, String)>,
}

/// Looks at all rooms and layers.
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
                let reason = "its content does not match its checksum";
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
            let reason = "the layer is not what it was when it was built";
            inspected.damaged.push((marker, reason.to_owned()));
        }
    }
    inspected
}

/// The folders in a folder; links are left out.
fn folders(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect();
    folders.sort();
    folders
}
