//! One file per command, each short: select, run, report.

mod asked;
mod cache;
mod config;
mod doctor;
mod explain;
mod fix;
mod generate;
mod layers;
mod lock;
mod pre_commit;
mod run;
mod shell;
mod upkeep;
mod usage;

use std::time::{Instant, SystemTime};

use crate::cli::args::{CacheCommand, Cli, Commands};
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::env::Env;
use crate::report::Shell;

/// Runs the requested command.
pub(crate) fn dispatch(
    cli: Cli,
    shell: &Shell,
    env: Env,
    started: (Instant, SystemTime),
) -> Result<Exit, Failure> {
    let mut global = cli.global;
    global.engine = cli.command.engine();
    let context = Context::new(global, shell, env, started)?;
    match cli.command {
        Commands::Lint(args) => run::lint(&context, &args),
        Commands::Validate(args) => run::validate(&context, &args),
        Commands::DevCheck(args) => run::by_tags(&context, "dev-check", &args),
        Commands::Ci(args) => run::by_tags(&context, "ci", &args),
        Commands::Generate(args) => generate::generate(&context, &args),
        Commands::Cache(CacheCommand::Status { since, .. }) => {
            cache::status(&context, since.into())
        }
        Commands::Cache(CacheCommand::Clear { targets, .. }) => layers::clear(&context, &targets),
        Commands::Cache(CacheCommand::Warm { layer, .. }) => {
            layers::warm(&context, layer.as_deref())
        }
        Commands::Cache(CacheCommand::Prune {
            max_size,
            dry_run,
            of_engine: false,
        }) => upkeep::prune(&context, max_size, dry_run),
        Commands::Cache(CacheCommand::Prune { max_size, .. }) => usage::prune(&context, max_size),
        Commands::Cache(CacheCommand::Verify) => upkeep::verify(&context),
        Commands::Cache(CacheCommand::Keygen(_)) => Err(Failure::not_yet("cache keygen")),
        Commands::Explain(args) => explain::explain(&context, &args),
        Commands::Shell(args) => shell::shell(&context, &args),
        Commands::Config(command) => config::config(&context, command),
        Commands::PreCommit(args) => pre_commit::pre_commit(&context, &args),
        Commands::Lock(args) => lock::lock(&context, &args),
        Commands::Init(_) => Err(Failure::not_yet("init")),
        Commands::Doctor(_) => doctor::doctor(&context),
        Commands::Completions(_) => Err(Failure::not_yet("completions")),
    }
}
