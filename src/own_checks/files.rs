//! From globs to files: those of the snapshot, and ignored ones that are named literally.
//!
//! Stays free of what a check does with them.

use crate::config::{CheckConfig, Globs};
use crate::path::RelPath;
use crate::plan::check::OutsideFile;
use crate::rule::Rule;
use crate::scope::{PlanError, Scope};
use crate::snapshot::FileId;

/// What a list of globs names.
#[derive(Debug, Default)]
pub(super) struct Selected {
    /// Files of the snapshot, sorted.
    pub(super) ids: Vec<FileId>,
    /// Files that git ignores.
    pub(super) outside: Vec<OutsideFile>,
    /// Things worth telling.
    pub(super) warnings: Vec<String>,
}

impl Selected {
    /// Takes away what `globs` name.
    pub(super) fn leave_out(&mut self, scope: &Scope<'_>, globs: &Globs) {
        let snapshot = scope.snapshot;
        self.ids
            .retain(|id| !globs.matches(&snapshot.entry(*id).path));
        self.outside.retain(|file| !globs.matches(&file.path));
    }
}

/// The files that `globs` names; only those that may be checked if `checked`. `key` is where the globs are written.
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

/// Adds a literal path that is not in the snapshot but is there. If it appears later, it changes the key then.
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
            "`{key}` names `{path}`, a folder that holds no file of the project ({place}): name the ignored files themselves"
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

/// Both lists, sorted and without repeats.
pub(super) fn union(mut a: Vec<FileId>, b: &[FileId]) -> Vec<FileId> {
    a.extend_from_slice(b);
    a.sort_unstable();
    a.dedup();
    a
}
