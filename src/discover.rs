//! From a snapshot and its configuration to the whole plan.
//!
//! Runs the catalogue of ecosystems, adds the configured checks, applies overrides and sorts everything in report
//! order. Does not select: which checks a command runs is decided later.

use std::collections::BTreeSet;

use crate::config::Config;
use crate::ecosystem;
use crate::not_run::not_run;
use crate::own_checks;
use crate::path::RelPath;
use crate::plan::{Build, Check, Layer, LayerKind, Plan, Work};
use crate::rule::Rule;
use crate::scope::{PlanError, Scope};
use crate::snapshot::{Entry, FileId, Kind, LeftOut, Reason};
use crate::visible;

/// Plans all checks of a project.
pub(crate) fn plan(scope: &Scope<'_>, config: &Config) -> Result<Plan, PlanError> {
    let mut plan = Plan::default();
    // A container's base layer is its image, which is added where it is needed.
    if scope.images.is_none() {
        plan.layers.push(base());
    }
    for planner in ecosystem::PLANNERS {
        planner(scope, &mut plan)?;
    }
    own_checks::plan(scope, config, &mut plan)?;
    let leaving = leaving_links(scope);
    let unreadable = tracked(scope, Reason::Unreadable, config);
    let too_large = tracked(scope, Reason::TooLarge, config);
    let filtered = filtered(scope);
    let absent = absent(scope);
    for check in &mut plan.checks {
        if let Some((path, _)) = unreadable.iter().find(|odd| needs(scope, check, odd)) {
            check.work = Work::Missing(format!(
                "cannot read `{path}`, which git tracks\nhelp: make it readable (`chmod -R u+rX {path}`), or stop tracking it"
            ));
        } else if let Some((path, _)) = too_large.iter().find(|odd| needs(scope, check, odd)) {
            check.work = Work::Missing(too_large_for(path, check));
        } else if let Some((path, _)) = filtered.iter().find(|odd| needs(scope, check, odd)) {
            check.work = Work::Missing(format!(
                "`{path}` goes through a git filter that only the repository's own configuration defines, and that could run anything\n\
                 help: define it in yours: `git lfs install` for LFS, `git config --global filter.NAME.smudge COMMAND` for others"
            ));
        } else if let Some(why) = not_fetched(scope, check, &absent) {
            check.work = Work::Missing(why);
        }
        if check.not_cached.is_none() {
            check.not_cached = unseen(scope, check).or_else(|| led_out(scope, check, &leaving));
            check.lacking = unlisted(scope, check);
        }
        if config.trace.disabled
            && let Work::Command(command) = &mut check.work
        {
            command.trace = false;
        }
        debug_assert!(check.inputs.shared.is_sorted(), "{}", check.id);
    }
    plan.checks.sort_by(|a, b| a.id.cmp(&b.id));
    plan.not_run = not_run(scope, &plan);
    plan.warnings.extend(scope.strange.named());
    Ok(plan)
}

/// The host as base layer. Its key holds whatever could make the same program behave differently.
fn base() -> Layer {
    let parts = [
        ("os", std::env::consts::OS),
        ("arch", std::env::consts::ARCH),
        ("libc", crate::tool::libc()),
    ];
    Layer {
        name: "base".to_owned(),
        kind: LayerKind::Base,
        on: Vec::new(),
        parts: parts
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        build: Build::Present,
    }
}

/// Why a check's result must not be stored: the check would see an entry the snapshot cannot hold. A check that works
/// per file or in process sees only the files it names.
fn unseen(scope: &Scope<'_>, check: &Check) -> Option<String> {
    let whole = check.inputs.parts.is_none() && Rule::OddEntries.holds();
    if !whole || !matches!(check.work, Work::Command(_)) {
        return None;
    }
    let mut odd = scope.snapshot.left_out().iter();
    let odd =
        odd.find(|odd| odd.reason != Reason::NotUtf8 && sees_folder(scope, check, &odd.dir))?;
    Some(left_out(odd))
}

/// The folder that a check must not list if its result is to be stored, and why: it holds a name that the snapshot
/// cannot hold, and that only a listing tells.
fn unlisted(scope: &Scope<'_>, check: &Check) -> Option<(RelPath, String)> {
    if check.inputs.parts.is_some() || !Rule::OddEntries.holds() {
        return None;
    }
    check.work.command()?;
    let mut odd = scope.snapshot.left_out().iter();
    let odd =
        odd.find(|odd| odd.reason == Reason::NotUtf8 && sees_folder(scope, check, &odd.dir))?;
    let folder = nearest(scope, &odd.dir)?;
    let why = format!("it may have listed `{folder}`: {}", left_out(odd));
    Some((folder, why))
}

fn left_out(odd: &LeftOut) -> String {
    format!(
        "`{}` was left out: {}",
        visible::name(&odd.display),
        odd.reason
    )
}

/// What a partial clone has not fetched: one file of each folder, as there may be many.
fn absent<'a>(scope: &Scope<'a>) -> Vec<&'a LeftOut> {
    let all = scope.snapshot.left_out().iter();
    let mut all: Vec<_> = all.filter(|odd| odd.reason == Reason::NotFetched).collect();
    all.dedup_by(|later, first| later.dir == first.dir);
    all
}

/// What a check would see of it. A check that works per file leaves such files out.
fn not_fetched(scope: &Scope<'_>, check: &Check, absent: &[&LeftOut]) -> Option<String> {
    if check.inputs.parts.is_some() {
        return None;
    }
    let mut absent = absent.iter();
    let first = absent.find(|odd| sees_folder(scope, check, &odd.dir))?;
    Some(format!(
        "`{0}` is outside the sparse checkout and has not been fetched\nhelp: check it out with `git sparse-checkout add {1}`",
        first.display,
        if first.dir.is_root() {
            "/"
        } else {
            first.dir.as_str()
        },
    ))
}

/// The files and folders that were left out for this reason, with the tracked files that are missing and not excluded.
/// Leaving those out could turn a failure into a pass.
fn tracked(scope: &Scope<'_>, reason: Reason, config: &Config) -> Vec<(RelPath, Vec<RelPath>)> {
    let all = scope.snapshot.left_out().iter();
    let all = all.filter(|odd| odd.reason == reason).filter_map(|odd| {
        let path = RelPath::new(&odd.display).ok()?;
        let mut missing = scope.snapshot.tracked_at(&path, scope.env);
        if missing.is_empty() {
            return None;
        }
        missing.retain(|path| !config.exclude.matches(path));
        Some((path, missing))
    });
    all.collect()
}

/// What to say of a tracked file that is too large for a check.
fn too_large_for(path: &RelPath, check: &Check) -> String {
    let key = match check.inputs.parts {
        Some(_) => format!("`exclude = [\"{path}\"]`"),
        None => format!("`inputs = [\"**\", \"!{path}\"]` for `{}`", check.id),
    };
    format!(
        "`{path}`, which git tracks, is larger than 4 GiB\nhelp: leave it out with {key} in the configuration, or stop tracking it"
    )
}

/// The files whose content needs a filter that is not run.
fn filtered(scope: &Scope<'_>) -> Vec<(RelPath, Vec<RelPath>)> {
    let all = scope.snapshot.left_out().iter();
    let all = all.filter(|odd| odd.reason == Reason::OwnFilter);
    let paths = all.filter_map(|odd| RelPath::new(&odd.display).ok());
    paths.map(|path| (path.clone(), vec![path])).collect()
}

/// Whether a check would look at an entry that was left out: by its folder, or as one of the files it checks.
fn needs(scope: &Scope<'_>, check: &Check, (path, missing): &(RelPath, Vec<RelPath>)) -> bool {
    match &check.inputs.parts {
        None => sees_folder(scope, check, &path.parent().unwrap_or_default()),
        Some(parts) => {
            let parts = parts.iter();
            let parts = parts.map(|id| scope.snapshot.entry(*id).path.extension());
            let extensions: BTreeSet<Option<&str>> = parts.collect();
            let mut missing = missing.iter();
            missing.any(|path| extensions.contains(&path.extension()))
        }
    }
}

/// Whether every file of that folder, or of the nearest one above that has any, is among the shared inputs: then it is a
/// folder that is seen, not some of its files.
fn sees_folder(scope: &Scope<'_>, check: &Check, dir: &RelPath) -> bool {
    let shared = &check.inputs.shared;
    let seen = |id: FileId| shared.binary_search(&id).is_ok();
    nearest(scope, dir).is_some_and(|folder| scope.snapshot.below(&folder).all(seen))
}

/// This folder, or the nearest one above that has files.
fn nearest(scope: &Scope<'_>, dir: &RelPath) -> Option<RelPath> {
    let mut folders = std::iter::once(dir.clone()).chain(dir.ancestors());
    folders.find(|folder| !scope.snapshot.below(folder).is_empty())
}

/// Why a check's result must not be stored: one of its files is a link to something outside the snapshot.
fn led_out(scope: &Scope<'_>, check: &Check, leaving: &[FileId]) -> Option<String> {
    if !matches!(check.work, Work::Command(_)) || !Rule::LinksOut.holds() {
        return None;
    }
    let inputs = &check.inputs;
    let parts = inputs.checked().unwrap_or_default();
    let id = leaving
        .iter()
        .find(|id| inputs.shared.binary_search(id).is_ok() || parts.contains(id))?;
    let path = &scope.snapshot.entry(*id).path;
    Some(format!("{path} is a link to outside the project"))
}

/// Links that may lead out of the project, including unreadable ones. Link targets are memoised by digest, so that a
/// Fresh run reads none.
fn leaving_links(scope: &Scope<'_>) -> Vec<FileId> {
    let snapshot = scope.snapshot;
    let target = |id, entry: &Entry| {
        scope
            .facts
            .derive("link-target/1", entry.digest, || snapshot.read(id))
    };
    (0..)
        .zip(snapshot.entries())
        .filter(|(_, entry)| entry.kind == Kind::Symlink)
        .filter(|(id, entry)| {
            target(*id, entry).map_or(true, |target| leaves(&entry.path, &target))
        })
        .map(|(id, _)| id)
        .collect()
}

/// Whether a link target may lead out of the project: it is absolute or climbs above the root. A target that climbs
/// after descending may pass through another link, so its text does not tell where it ends.
#[must_use]
pub(crate) fn leaves(link: &RelPath, target: &[u8]) -> bool {
    let mut depth = link.segments().count().saturating_sub(1);
    let mut descended = false;
    for segment in target.split(|byte| *byte == b'/') {
        match segment {
            b"" | b"." => {}
            b".." if descended || depth == 0 => return true,
            b".." => depth -= 1,
            _ => descended = true,
        }
    }
    target.starts_with(b"/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_out_of_the_project_are_told_from_those_within() {
        let leaves =
            |link, target: &str| leaves(&RelPath::new(link).expect(link), target.as_bytes());
        for (link, target) in [
            ("a", "/etc/passwd"),
            ("a", "../x"),
            ("d/a", "../../x"),
            ("d/a", "./.././../x"),
            ("d/a", "other/../x"),
        ] {
            assert!(leaves(link, target), "{link} -> {target}");
        }
        for (link, target) in [
            ("a", "b"),
            ("d/a", "../b/c"),
            ("d/e/a", "../../b"),
            ("a", "."),
        ] {
            assert!(!leaves(link, target), "{link} -> {target}");
        }
    }
}
