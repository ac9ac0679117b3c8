//! The arguments of a command that runs checks: which checks to run, and how.
//!
//! Runs nothing.

use crate::cli::args::RunArgs;
use crate::cli::context::Context;
use crate::cli::exit::Failure;
use crate::ecosystem::kustomize;
use crate::env::DAGCACHE_SKIP;
use crate::plan::select::Selection;
use crate::run::audit::Sample;
use crate::run::{Caching, Options};
use crate::session::View;

/// The request of the user.
pub(crate) struct Asked<'a> {
    pub(super) command: &'a str,
    pub(super) args: &'a RunArgs,
    /// The command's default selection.
    pub(super) selection: Selection,
    /// Only the builds of these overlays.
    pub(super) overlays: &'a [String],
    /// The command for repeating a failure.
    pub(super) repeat: &'a str,
    /// What a hook blocks, if it is one.
    pub(super) hook: Option<&'a str>,
}

impl<'a> Asked<'a> {
    /// Everything that the command's tags select.
    pub(super) fn new(command: &'a str, args: &'a RunArgs) -> Self {
        Self {
            command,
            args,
            selection: Selection::default(),
            overlays: &[],
            repeat: command,
            hook: None,
        }
    }

    /// Adds the selection of the command line and the environment.
    pub(super) fn selection(
        &self,
        context: &Context<'_>,
        view: &View,
    ) -> Result<Selection, Failure> {
        let mut selection = self.selection.clone();
        selection.command_tags = view.loaded.config.tags_of(self.command);
        selection.tags.clone_from(&self.args.tag);
        selection.only.extend(self.args.only.iter().cloned());
        for name in self.overlays {
            let overlay = kustomize::resolve_overlay(&view.plan, name).map_err(Failure::usage)?;
            selection.only.push(kustomize::build_id(&overlay));
        }
        selection.skip.extend(self.args.skip.iter().cloned());
        // A team sets this for all its repositories, so unknown ids are not an error.
        let skip = context.env.var(DAGCACHE_SKIP).unwrap_or_default();
        let skip = skip
            .split(',')
            .map(str::trim)
            .filter(|id| view.plan.check(id).is_some());
        selection.skip.extend(skip.map(str::to_owned));
        Ok(selection)
    }

    /// How to run its checks.
    pub(super) fn options(&self) -> Options {
        let args = self.args;
        let caching = match (args.no_cache, args.cached_only) {
            (true, _) => Caching::Off,
            (_, true) => Caching::Only,
            _ => Caching::On,
        };
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Options {
            caching,
            jobs: args.jobs.map_or(processors, usize::from),
            fail_fast: args.fail_fast,
            dry_run: args.dry_run,
            keep_room: args.keep_room,
            narrowed: !self.selection.paths.is_empty(),
            outputs: self.hook.is_none(),
            discover: true,
            audit: args.audit.map(sample),
        }
    }
}

/// A seed that differs between runs.
fn sample(percent: u8) -> Sample {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = u64::from(now.unwrap_or_default().subsec_nanos());
    Sample {
        percent,
        seed: nanos << 32 | u64::from(std::process::id()),
    }
}
