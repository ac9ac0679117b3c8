//! `generate`: writes the manifests that the overlays build to files.

use std::collections::BTreeMap;
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
    let (exit, records) = execute(&context.open()?, context, &asked)?;
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
            &format!("{files} in {}", args.output_dir.display()),
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
    let mut targets = BTreeMap::new();
    for overlay in overlays {
        let name = match overlay.file_name() {
            "" => "root".to_owned(),
            name => name.to_owned(),
        };
        if let Some(other) = targets.insert(name.clone(), overlay.clone())
            && other != overlay
        {
            return Err(Failure::usage(format!(
                "{other} and {overlay} would both be written to {name}.yaml; select them one at a time with --overlay and separate --output-dir"
            )));
        }
    }
    Ok(targets)
}

fn write(dir: &Path, name: &str, text: &str) -> Result<(), Failure> {
    let path = dir.join(format!("{name}.yaml"));
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    if std::fs::read(&path).is_ok_and(|old| old == text.as_bytes()) {
        return Ok(());
    }
    crate::fs::write_atomic(&path, text.as_bytes())
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}
