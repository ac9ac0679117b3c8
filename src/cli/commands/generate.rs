//! `generate`: writes the manifests that the overlays build to files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};

use crate::cli::args::GenerateArgs;
use crate::cli::commands::asked::Asked;
use crate::cli::commands::run::execute;
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::ecosystem::kustomize;
use crate::fs::beneath::{self, Content, Found};
use crate::path::{RelPath, normal};
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
    let (base, below) = place(context, &args.output_dir)?;
    for (name, overlay) in &targets {
        let id = kustomize::build_id(overlay);
        let passed = records
            .iter()
            .find(|record| record.id == id && record.verdict == Verdict::Passed);
        if let Some(record) = passed {
            let path = below.join(&format!("{name}.yaml"));
            let path = path.map_err(|error| Failure::usage(error.to_string()))?;
            write(&base, &path, &record.stdout)?;
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

/// The project and the output directory in it, where no link is followed: the project's links are not the user's. Or a
/// directory elsewhere that the user named.
fn place(context: &Context<'_>, output_dir: &Path) -> Result<(PathBuf, RelPath), Failure> {
    let root = context.root()?;
    let cwd = context.cwd.canonicalize();
    let dir = normal(&cwd.as_deref().unwrap_or(&context.cwd).join(output_dir));
    match dir.strip_prefix(&root) {
        Ok(below) => {
            let below = RelPath::from_path(below);
            Ok((
                root,
                below.map_err(|error| Failure::usage(error.to_string()))?,
            ))
        }
        Err(_) => {
            let made = std::fs::create_dir_all(&dir);
            made.with_context(|| format!("cannot create {}", dir.shown()))?;
            Ok((dir, RelPath::root()))
        }
    }
}

/// Writes a manifest like any file of the user's; one that is there keeps its mode.
fn write(base: &Path, path: &RelPath, text: &str) -> Result<(), Failure> {
    let write = || {
        let found = beneath::look(base, path)?;
        let executable = match &found {
            Found::File { bytes, .. } if bytes == text.as_bytes() => return Ok(()),
            Found::File { executable, .. } => *executable,
            Found::Absent => false,
            Found::Link(_) | Found::Other => return Err(anyhow!("it is not a regular file")),
        };
        let content = Content::File {
            bytes: text.as_bytes(),
            executable,
        };
        match beneath::put(base, path, content, &found)? {
            true => Ok(()),
            false => Err(anyhow!("it was edited at the same time")),
        }
    };
    write().with_context(|| format!("cannot write {}", path.under(base).shown()))?;
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::testing::rel;

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
        write(dir.path(), &rel("a/new.yaml"), "x").expect("written");
        assert_eq!(mode("a/new.yaml"), mode("plain"));
        let old = dir.path().join("old.yaml");
        std::fs::write(&old, "1").expect("file");
        std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o640)).expect("mode");
        write(dir.path(), &rel("old.yaml"), "2").expect("written");
        assert_eq!(mode("old.yaml"), 0o640);
    }
}
