//! What is put into a room besides its files, what stays of it after a run, and what that tells.
//!
//! Stays free of starting anything.

use std::path::Path;

use crate::engine::Request;
use crate::path::RelPath;
use crate::plan::check::Changes;
use crate::plan::{Build, Command};
use crate::process::Confined;
use crate::room::{Layout, Room, remove};
use crate::snapshot::FileId;

use super::confine::Drawn;

/// A room with what a check left in it.
pub(super) struct Held {
    pub(crate) room: Room,
    /// Whether the check knew a secret: then nothing of what it left may stay on disk.
    pub(crate) secret: bool,
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.secret {
            // What cannot be deleted now is deleted before the next run.
            let _ = self.room.empty();
        }
    }
}

/// A room that is ready for a check.
pub(super) struct RoomSetup {
    pub(crate) held: Held,
    /// Where the check sees it.
    pub(crate) seen: Layout,
    /// What the check is kept from, if anything.
    pub(crate) drawn: Option<Drawn>,
}

impl RoomSetup {
    /// What a command started in it by this launcher is kept from.
    pub(crate) fn confined<'a>(&'a self, launcher: Option<&'a Path>) -> Option<Confined<'a>> {
        let (launcher, drawn) = launcher.zip(self.drawn.as_ref())?;
        Some(Confined {
            launcher,
            bounds: &drawn.bounds,
        })
    }
}

/// In a folder of products: they began with those of somebody else.
pub(super) const SEEDED: &str = ".dagcache-seeded";

/// Begins the products of a room that has none. A failure costs the time of making them.
pub(super) fn seed(room: &Room, command: &Command) {
    let (Some(seed), Some(products)) = (&command.seed, command.products.first()) else {
        return;
    };
    if *room.changes() != Changes::NoProducts {
        return;
    }
    // Beside the tree, so that products are there whole or not at all.
    let beside = room.dir().join("seed");
    let plant = || -> std::io::Result<()> {
        remove(&beside)?;
        if seed.plant(&beside)? {
            std::fs::write(beside.join(SEEDED), "")?;
            std::fs::rename(&beside, products.under(&room.tree()))?;
        }
        Ok(())
    };
    let _ = plant()
        .and_then(|()| remove(&beside))
        .or_else(|_| remove(&beside));
}

pub(super) fn is_seeded(room: &Room, command: &Command) -> bool {
    let mut products = command.products.iter();
    products.any(|folder| folder.under(&room.tree()).join(SEEDED).exists())
}

/// What a run read, if it can be told: then it read at least what every run of the check reads.
pub(super) fn reads(room: &Room, request: &Request<'_>) -> Option<Vec<FileId>> {
    let proof = request.command.reads.as_ref()?;
    let paths = room
        .reads()
        .filter(|paths| paths.contains(proof.as_str()))?;
    let found = paths.iter().filter_map(|path| request.snapshot.find(path));
    let mut ids: Vec<FileId> = found.collect();
    ids.sort_unstable();
    Some(ids)
}

/// Files that its layers lay into rooms.
pub(super) fn laid(request: &Request<'_>) -> Vec<(RelPath, Vec<u8>)> {
    let layers = request.layers.iter();
    let laid = layers.filter_map(|(layer, _)| match &layer.build {
        Build::Host(build) => build.lays(),
        _ => None,
    });
    laid.collect()
}
