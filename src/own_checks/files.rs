//! Resolves globs to files: those of the snapshot, and ignored ones that are named literally.
//!
//! Does not know what a check does with them.

use crate::config::{CheckConfig, Globs};
use crate::path::RelPath;
use crate::plan::check::OutsideFile;
use crate::rule::Rule;
use crate::scope::{PlanError, Scope};
use crate::snapshot::FileId;

/// The files that a list of globs selects.
#[derive(Debug, Default)]
pub(super) struct Selected {
    /// Files of the snapshot, sorted.
    pub(super) ids: Vec<FileId>,
    /// Files that git ignores.
    pub(super) outside: Vec<OutsideFile>,
    pub(super) warnings: Vec<String>,
}

impl Selected {
    /// Removes the files that `globs` select.
    pub(super) fn leave_out(&mut self, scope: &Scope<'_>, globs: &Globs) {
        let snapshot = scope.snapshot;
        self.ids
            .retain(|id| !globs.matches(&snapshot.entry(*id).path));
        self.outside.retain(|file| !globs.matches(&file.path));
    }
}

/// The files that `globs` select; with `checked`, only those that may be checked. `key` is the configuration key of
/// the globs.
pub(super) fn select(
    scope: &Scope<'_>,
    globs: &Globs,
    checked: bool,
    key: &str,
    table: &CheckConfig,
) -> Result<Selected, PlanError> {
    let entries = scope.snapshot.entries().iter();
    let ids = (0..)
        .zip(entries.zip(scope.excluded))
        .filter(|(_, (entry, excluded))| !(checked && **excluded) && globs.matches(&entry.path))
        .map(|(id, _)| id)
        .collect();
    let mut selected = Selected {
        ids,
        ..Selected::default()
    };
    for path in globs.literal_paths() {
        ignored(scope, path, key, table, &mut selected)?;
    }
    selected.outside.sort();
    selected.outside.dedup();
    Ok(selected)
}

/// Adds an existing file that a literal path names outside the snapshot. If it appears later, that changes the key.
fn ignored(
    scope: &Scope<'_>,
    path: &RelPath,
    key: &str,
    table: &CheckConfig,
    selected: &mut Selected,
) -> Result<(), PlanError> {
    let snapshot = scope.snapshot;
    if snapshot.find(path).is_some() || !snapshot.below(path).is_empty() {
        return Ok(());
    }
    let Some(full) = snapshot.beside(path) else {
        let place = &table.place;
        selected.warnings.push(format!(
            "`{key}` names `{path}`, which is not in the commit ({place}): the check does not see it"
        ));
        return Ok(());
    };
    if full.is_dir() {
        let place = &table.place;
        selected.warnings.push(format!(
            "`{key}` names `{path}`, a folder without project files ({place}); name the ignored files themselves"
        ));
    } else if full.is_file() && Rule::IgnoredInputs.holds() {
        let digest = scope.tools.digest(&full).map_err(|error| {
            let place = &table.place;
            PlanError::new(format!(
                "cannot read `{path}`, named by `{key}`: {error}\n  --> {place}"
            ))
        })?;
        selected.outside.push(OutsideFile {
            up: 0,
            path: path.clone(),
            digest,
        });
    }
    Ok(())
}

/// Merges both lists, sorted and without duplicates.
pub(super) fn union(mut a: Vec<FileId>, b: &[FileId]) -> Vec<FileId> {
    a.extend_from_slice(b);
    a.sort_unstable();
    a.dedup();
    a
}
