//! Sets up a room: everything besides its files, and what to keep and learn after a run.
//!
//! Starts no processes.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::engine::Request;
use crate::engine::environment::environment;
use crate::path::RelPath;
use crate::plan::check::Changes;
use crate::plan::{Build, Command};
use crate::process::Confined;
use crate::room::{Layout, Room, RoomError, remove};
use crate::snapshot::FileId;

use super::confine::Drawn;

/// A room with what a check left in it.
pub(super) struct Held {
    pub(crate) room: Room,
    /// Whether the check had a secret, so that nothing it left may stay on disk.
    pub(crate) secret: bool,
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.secret {
            // If this fails, the room is emptied before the next run.
            let _ = self.room.empty();
        }
    }
}

/// A room that is ready for a check.
pub(super) struct RoomSetup {
    pub(crate) held: Held,
    /// Its paths as the check sees them.
    pub(crate) seen: Layout,
    /// The confinement, if any.
    pub(crate) drawn: Option<Drawn>,
    /// Where it finds programs besides its tools.
    pub(crate) folders: Vec<PathBuf>,
}

impl RoomSetup {
    /// The variables of the command.
    pub(crate) fn environment(&self, request: &Request<'_>) -> Vec<(OsString, OsString)> {
        environment(&self.seen, request.command, request.env, &self.folders)
    }

    /// The confinement of a command started by this launcher. `answer` takes what tracing saw.
    pub(crate) fn confined<'a>(
        &'a self,
        launcher: Option<&'a Path>,
        answer: Option<&'a File>,
    ) -> Option<Confined<'a>> {
        let (launcher, drawn) = launcher.zip(self.drawn.as_ref())?;
        Some(Confined {
            answer,
            launcher,
            bounds: &drawn.bounds,
            hold: self.held.room.lock(),
        })
    }

    /// What to make of what tracing saw.
    pub(crate) fn traced(&self) -> super::traced::Room<'_> {
        super::traced::Room {
            seen: &self.seen,
            unkeyed: self.drawn.as_ref().map_or_else(Vec::new, Drawn::unkeyed),
            folders: &self.folders,
        }
    }

    /// An empty file in memory for what tracing sees, if it is to be traced.
    pub(crate) fn answer(&self) -> Result<Option<File>, RoomError> {
        let bounds = self.drawn.as_ref().map(|drawn| &drawn.bounds);
        let wanted = bounds.is_some_and(|bounds| bounds.trace.is_some());
        let file = wanted.then(super::traced::file).transpose();
        file.map_err(|source| RoomError::Io {
            path: self.held.room.dir().to_owned(),
            source,
        })
    }
}

/// Marks a products directory that was seeded.
pub(super) const SEEDED: &str = ".dagcache-seeded";

/// Seeds the products of a room that has none. If that fails, they are built from scratch.
pub(super) fn seed(room: &Room, command: &Command) {
    let (Some(seed), Some(products)) = (&command.seed, command.products.first()) else {
        return;
    };
    if *room.changes() != Changes::NoProducts {
        return;
    }
    // Copied beside the tree first, so that the products are complete or absent.
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

/// The files a run read, if detected: then they include the file that every run of the check reads.
pub(super) fn reads(room: &Room, request: &Request<'_>) -> Option<Vec<FileId>> {
    let proof = request.command.reads.as_ref()?;
    let paths = room
        .reads()
        .filter(|paths| paths.contains(proof.as_str()))?;
    let found = paths.iter().filter_map(|path| request.snapshot.find(path));
    // A file that is seen in another form is in the key in that form.
    let is_shared = |id: &FileId| request.shared.binary_search(id).is_ok();
    let mut ids: Vec<FileId> = found.filter(is_shared).collect();
    ids.sort_unstable();
    Some(ids)
}

/// Files that are not the project's, or not as they are there: laid by the check's layers, or by itself.
///
/// # Errors
/// If a file that is to be reduced changed.
pub(super) fn laid(request: &Request<'_>) -> Result<Vec<(RelPath, Vec<u8>)>, RoomError> {
    let reduced = request.command.reduced.as_ref().map(|file| {
        let text = request.snapshot.find(&file.path);
        let text = text.and_then(|id| request.snapshot.read(id).ok());
        let text = text.and_then(|text| String::from_utf8(text).ok());
        let changed = || RoomError::Changed(file.path.under(request.snapshot.root()));
        let text = (file.reduce)(&text.ok_or_else(changed)?);
        Ok((file.path.clone(), text.into_bytes()))
    });
    let reduced = reduced.transpose()?;
    let layers = request.layers.iter();
    let laid = layers.filter_map(|(layer, _)| match &layer.build {
        Build::Host(build) => build.lays(),
        _ => None,
    });
    let own = request.command.laid.iter().cloned();
    Ok(laid.chain(own).chain(reduced).collect())
}
