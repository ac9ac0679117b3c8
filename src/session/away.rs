//! Whether the Dagger engine was away in the last run of a project: then a run that needs none does not look for it.
//!
//! Decides nothing.

use std::path::PathBuf;

use crate::fs::sealed::{Reader, Seal};
use crate::session::{Project, View};

const SEAL: Seal = Seal {
    magic: *b"dc-away\n",
    version: 1,
};

/// The address of the engine that the last run lost.
#[must_use]
pub(super) fn was_away(project: &Project<'_>) -> Option<String> {
    let bytes = crate::fs::read(mark(project)).ok()?;
    Reader::new(SEAL.open(&bytes)?).text().map(str::to_owned)
}

/// Notes whether this run lost its engine or reached it. If that fails, it only costs time.
pub(super) fn remember(project: &Project<'_>, view: &View) {
    if !project.store.writable() {
        return;
    }
    let mark = mark(project);
    let chosen = project.choice(&view.loaded.config);
    let address = chosen.ok().and_then(|choice| choice.dagger);
    if let (Some(_), Some(address)) = (project.engines.lost(), address) {
        let mut writer = SEAL.writer();
        writer.bytes(address.as_bytes());
        let _ = SEAL.save(&mark, writer);
    } else if project.engines.reached() {
        let _ = std::fs::remove_file(mark);
    }
}

fn mark(project: &Project<'_>) -> PathBuf {
    let memo = project.store.folder("memo");
    memo.join(format!("away-{}", project.id))
}
