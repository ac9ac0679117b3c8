//! One file per command, each short: select, run, report.

mod asked;
mod cache;
mod config;
mod doctor;
mod explain;
mod fix;
mod generate;
mod lock;
mod pre_commit;
mod run;
mod shell;
mod trust;

use std::time::{Instant, SystemTime};

use crate::cli::args::{Cli, Commands};
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
    global.trust = cli.command.trust();
    let context = Context::new(global, shell, env, started)?;
    match cli.command {
        Commands::Lint(args) => run::lint(&context, &args),
        Commands::Validate(args) => run::validate(&context, &args),
        Commands::DevCheck(args) => run::by_tags(&context, "dev-check", &args),
        Commands::Ci(args) => run::by_tags(&context, "ci", &args),
        Commands::Generate(args) => generate::generate(&context, &args),
        Commands::Cache(command) => cache::cache(&context, command),
        Commands::Explain(args) => explain::explain(&context, &args),
        Commands::Shell(args) => shell::shell(&context, &args),
        Commands::Config(command) => config::config(&context, command),
        Commands::PreCommit(args) => pre_commit::pre_commit(&context, &args),
        Commands::Lock(args) => lock::lock(&context, &args),
        Commands::Init(_) => Err(Failure::not_yet("init")),
        Commands::Trust(args) => trust::trust(context, &args),
        Commands::Doctor(_) => doctor::doctor(&context),
        Commands::Completions(_) => Err(Failure::not_yet("completions")),
    }
}
