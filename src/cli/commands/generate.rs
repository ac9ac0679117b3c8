//! `generate`: writes the manifests that the overlays build to files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context as _;

use crate::cli::args::GenerateArgs;
use crate::cli::commands::asked::Asked;
use crate::cli::commands::run::execute;
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::ecosystem::kustomize;
use crate::path::RelPath;
use crate::plan::select::Selection;
use crate::record::Verdict;
use crate::report::shell::Tone;
use crate::visible::Shown as _;

/// Builds the overlays (or reuses cached builds) and writes DIR/NAME.yaml for each that passed.
pub(crate) fn generate(context: &Context<'_>, args: &GenerateArgs) -> Result<Exit, Failure> {
    if args.run.dry_run {
        return Err(Failure::usage(
            "--dry-run is not supported by generate, which writes files",
        ));
    }
    let targets = targets(context, args)?;
    let only = targets.values().map(kustomize::build_id).collect();
    let selection = Selection {
        only,
        ..Selection::default()
    };
    let asked = Asked {
        selection,
        repeat: "validate",
        ..Asked::new("generate", &args.run)
    };
    let (exit, records) = execute(&context.open_for(&args.run)?, context, &asked)?;
    let dir = context.cwd.join(&args.output_dir);
    for (name, overlay) in &targets {
        let id = kustomize::build_id(overlay);
        let passed = records
            .iter()
            .find(|record| record.id == id && record.verdict == Verdict::Passed);
        if let Some(record) = passed {
            write(&dir, name, &record.stdout)?;
        }
    }
    let written = targets.len();
    if exit == Exit::Passed {
        let files = crate::report::text::count(written, "manifest", "manifests");
        context.shell.status(
            Tone::Good,
            "Generated",
            &format!("{files} in {}", args.output_dir.shown()),
        );
    }
    Ok(exit)
}

/// The overlays to build, by file name.
fn targets(
    context: &Context<'_>,
    args: &GenerateArgs,
) -> Result<BTreeMap<String, RelPath>, Failure> {
    let project = context.open()?;
    let view = project.look()?;
    project.remember();
    let overlays = if args.overlay.is_empty() {
        kustomize::overlays(&view.plan)
    } else {
        let asked = args
            .overlay
            .iter()
            .map(|name| kustomize::resolve_overlay(&view.plan, name));
        asked.collect::<Result<_, _>>().map_err(Failure::usage)?
    };
    if overlays.is_empty() {
        return Err(Failure::usage("no kustomize overlay in this project"));
    }
    let targets = named(overlays);
    if targets.keys().any(|name| name.contains('/')) {
        context
            .shell
            .warning("overlays with the same last name are written by their paths");
    }
    Ok(targets)
}

/// Overlays by the names of their files: the last part of their path, or all of it where that is not theirs alone.
fn named(overlays: Vec<RelPath>) -> BTreeMap<String, RelPath> {
    let name = |overlay: &RelPath| match overlay.file_name() {
        "" => "root".to_owned(),
        name => name.to_owned(),
    };
    let overlays: BTreeSet<RelPath> = overlays.into_iter().collect();
    let mut number: BTreeMap<String, usize> = BTreeMap::new();
    for overlay in &overlays {
        *number.entry(name(overlay)).or_default() += 1;
    }
    let targets = overlays.into_iter().map(|overlay| {
        let name = name(&overlay);
        match number.get(&name) {
            Some(2..) if !overlay.is_root() => (overlay.as_str().to_owned(), overlay),
            _ => (name, overlay),
        }
    });
    targets.collect()
}

/// Writes a manifest like any file of the user's; one that is there keeps its mode.
fn write(dir: &Path, name: &str, text: &str) -> Result<(), Failure> {
    let path = dir.join(format!("{name}.yaml"));
    let folder = path.parent().unwrap_or(dir);
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.shown()))?;
    if std::fs::read(&path).is_ok_and(|old| old == text.as_bytes()) {
        return Ok(());
    }
    let before = std::fs::metadata(&path).ok();
    let write = || {
        crate::fs::write_shared(&path, text.as_bytes())?;
        if let Some(before) = before {
            std::fs::set_permissions(&path, before.permissions())?;
        }
        anyhow::Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.shown()))?;
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn overlays_with_one_last_name_go_by_their_paths() {
        let paths = ["a/prod", "b/prod", "b/dev"].map(|path| RelPath::new(path).expect("path"));
        let names: Vec<String> = named(paths.to_vec()).into_keys().collect();
        assert_eq!(names, ["a/prod", "b/prod", "dev"]);
    }

    #[test]
    fn a_manifest_has_the_usual_mode_and_one_that_is_there_keeps_its_own() {
        let dir = tempfile::tempdir().expect("dir");
        let mode = |name: &str| {
            let meta = std::fs::metadata(dir.path().join(name)).expect("manifest");
            meta.permissions().mode() & 0o777
        };
        std::fs::write(dir.path().join("plain"), "").expect("file");
        write(dir.path(), "a/new", "x").expect("written");
        assert_eq!(mode("a/new.yaml"), mode("plain"));
        let old = dir.path().join("old.yaml");
        std::fs::write(&old, "1").expect("file");
        std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o640)).expect("mode");
        write(dir.path(), "old", "2").expect("written");
        assert_eq!(mode("old.yaml"), 0o640);
    }
}
