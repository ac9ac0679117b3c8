//! `lint`, `validate`, `dev-check`, `ci`: turn arguments into a request, and its outcome into an exit code.

use crate::cli::args::{LintArgs, RunArgs, ValidateArgs};
use crate::cli::commands::asked::Asked;
use crate::cli::commands::cache::over_bound;
use crate::cli::commands::fix;
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::plan::select::{Selection, select};
use crate::record::CheckRecord;
use crate::report::{About, Verbosity};
use crate::session::run::Request;
use crate::session::{Project, run};
use crate::visible::Shown as _;

/// `lint`.
pub(crate) fn lint(context: &Context<'_>, args: &LintArgs) -> Result<Exit, Failure> {
    let root = context.root()?;
    let mut paths = Vec::new();
    for path in &args.paths {
        if !context.cwd.join(path).exists() {
            return Err(Failure::usage(format!(
                "no such file or folder: {}",
                path.shown()
            )));
        }
        paths.push(context.project_path(&root, path)?);
    }
    let selection = Selection {
        languages: args.languages.0.clone(),
        paths,
        ..Selection::default()
    };
    let project = context.open_for(&args.run)?;
    let asked = Asked {
        selection,
        ..Asked::new("lint", &args.run)
    };
    if args.fix {
        fix(&project, context, &asked)?;
    }
    Ok(execute(&project, context, &asked)?.0)
}

/// Applies the fixes of the selected checks whose tools can.
pub(crate) fn fix(
    project: &Project<'_>,
    context: &Context<'_>,
    asked: &Asked<'_>,
) -> Result<(), Failure> {
    if asked.args.dry_run || asked.args.cached_only {
        return Err(Failure::usage(
            "--fix cannot be used with --dry-run or --cached-only",
        ));
    }
    fix::fix(project, context.shell, |view| {
        let selection = asked.selection(context, view)?;
        let selected = select(&view.plan, &view.snapshot, &selection);
        Ok(selected
            .map_err(|error| Failure::usage(error.to_string()))?
            .checks)
    })
}

/// `validate`.
pub(crate) fn validate(context: &Context<'_>, args: &ValidateArgs) -> Result<Exit, Failure> {
    let asked = Asked {
        overlays: &args.overlay,
        ..Asked::new("validate", &args.run)
    };
    Ok(execute(&context.open_for(&args.run)?, context, &asked)?.0)
}

/// A command that runs the checks selected by its tags.
pub(crate) fn by_tags(
    context: &Context<'_>,
    command: &str,
    args: &RunArgs,
) -> Result<Exit, Failure> {
    Ok(execute(
        &context.open_for(args)?,
        context,
        &Asked::new(command, args),
    )?
    .0)
}

/// Selects, runs and reports. Also returns the records.
pub(crate) fn execute(
    project: &Project<'_>,
    context: &Context<'_>,
    asked: &Asked<'_>,
) -> Result<(Exit, Vec<CheckRecord>), Failure> {
    if let Some(option) = asked.args.later.given() {
        return Err(Failure::not_yet(option));
    }
    let mut deciding = context.global.deciding();
    if asked.args.no_cache {
        deciding += " --no-cache";
    }
    let invocation = format!("cargo dagcache {}{deciding}", asked.repeat);
    let report = context.report(About {
        shell: context.shell,
        invocation: &invocation,
        dry_run: asked.args.dry_run,
        hook: asked.hook,
    });
    let request = Request {
        command: asked.command,
        select: &|view| asked.selection(context, view),
        options: asked.options(),
        verbose: context.shell.verbosity() == Verbosity::Verbose,
    };
    let ran = run::run(project, &request, &report)?;
    if let Some((size, bound)) = ran.over_bound {
        context.shell.warning(&over_bound(size, bound));
    }
    if let Some(failure) = ran.failure {
        return Err(failure);
    }
    let interrupted = project.interrupt.signal().map(Exit::Interrupted);
    let exit = interrupted.unwrap_or_else(|| Exit::of(ran.verdict));
    Ok((exit, ran.records))
}
