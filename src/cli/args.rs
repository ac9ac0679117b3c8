//! What the user typed. clap types only: no IO, no defaults that need IO.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::config::EngineKind;
use crate::report::Color;

/// Runs a repository's checks without ever repeating work that was done before.
#[derive(Debug, Parser)]
#[command(
    name = "cargo dagcache",
    bin_name = "cargo dagcache",
    version,
    styles = clap_cargo::style::CLAP_STYLING,
    max_term_width = 100,
    after_help = "Exit codes: 0 all passed, 1 a check failed, 2 usage or configuration, 3 could not run, 130/143 interrupted."
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Commands,
    /// Options of every command.
    #[command(flatten)]
    pub(crate) global: Global,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Change to DIR first
    #[arg(
        short = 'C',
        value_name = "DIR",
        global = true,
        help_heading = "Options everywhere"
    )]
    pub(crate) directory: Option<PathBuf>,
    /// Work on the folder of this Cargo.toml
    #[arg(
        long,
        value_name = "PATH",
        global = true,
        help_heading = "Options everywhere"
    )]
    pub(crate) manifest_path: Option<PathBuf>,
    /// Keep the cache in DIR [default: $DAGCACHE_DIR, else the platform's cache folder]
    #[arg(
        long,
        value_name = "DIR",
        global = true,
        help_heading = "Options everywhere"
    )]
    pub(crate) cache_dir: Option<PathBuf>,
    /// Colour the output
    #[arg(
        long,
        value_name = "WHEN",
        global = true,
        help_heading = "Options everywhere"
    )]
    pub(crate) color: Option<Color>,
    /// Say failures only
    #[arg(
        short,
        long,
        global = true,
        conflicts_with = "verbose",
        help_heading = "Options everywhere"
    )]
    pub(crate) quiet: bool,
    /// Say Fresh checks and the output of passing tools too
    #[arg(short, long, action = ArgAction::Count, global = true, help_heading = "Options everywhere")]
    pub(crate) verbose: u8,
    /// The engine that was typed, with those commands that take one.
    #[arg(skip)]
    pub(crate) engine: Option<EngineArg>,
    /// How to report
    #[arg(
        long,
        value_name = "FORMAT",
        global = true,
        default_value = "human",
        help_heading = "Options everywhere"
    )]
    pub(crate) message_format: MessageFormat,
}

/// `--message-format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum MessageFormat {
    /// Status lines for people, on stderr.
    Human,
    /// One JSON object a line, on stdout.
    Json,
    /// Annotations for GitHub (not supported yet).
    #[value(hide = true)]
    Github,
    /// rustc diagnostics as JSON lines (not supported yet).
    #[value(hide = true)]
    Cargo,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Commands {
    /// Run the checks with tag `lint`
    Lint(LintArgs),
    /// Run the checks with tag `validate`
    Validate(ValidateArgs),
    /// Run lint, validate and security: what to run while you work
    DevCheck(RunArgs),
    /// Run everything
    Ci(RunArgs),
    /// Write the manifests that the kustomize overlays build
    Generate(GenerateArgs),
    /// Show, check, prune or clear what is remembered
    #[command(subcommand)]
    Cache(CacheCommand),
    /// Tell what a check's key is made of, why it would run, or how two keys differ
    Explain(ExplainArgs),
    /// Open a shell in a room like the one a check runs in
    Shell(ShellArgs),
    /// Show the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Check exactly what is staged; install the git hook that does
    PreCommit(PreCommitArgs),
    /// Pin the images that containers begin with, in dagcache.lock
    Lock(LockArgs),
    /// Write a first configuration (not supported yet)
    #[command(hide = true)]
    Init(Later),
    /// Look at engine, disk and network, and say what would hold checks up
    Doctor(EngineArgs),
    /// Print shell completions (not supported yet)
    #[command(hide = true)]
    Completions(Later),
}

impl Commands {
    /// The engine that was typed.
    #[must_use]
    pub(crate) fn engine(&self) -> Option<EngineArg> {
        let args = match self {
            Self::Lint(args) => args.run.engine,
            Self::Validate(args) => args.run.engine,
            Self::DevCheck(args) | Self::Ci(args) => args.engine,
            Self::Generate(args) => args.run.engine,
            Self::Explain(args) => args.engine,
            Self::Lock(args) => args.engine,
            Self::Shell(args) => args.engine,
            Self::Doctor(args) => *args,
            Self::Cache(
                CacheCommand::Status { engine, .. }
                | CacheCommand::Clear { engine, .. }
                | CacheCommand::Warm { engine, .. },
            ) => *engine,
            // It is for Dagger's cache.
            Self::Cache(CacheCommand::Prune {
                of_engine: true, ..
            }) => {
                return Some(EngineArg::Dagger);
            }
            _ => return None,
        };
        args.engine
    }
}

/// Arguments of a command that comes later.
#[derive(Debug, Args)]
pub(crate) struct Later {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    rest: Vec<String>,
}

/// `lint`.
#[derive(Debug, Args)]
pub(crate) struct LintArgs {
    /// Checks of YAML only
    #[arg(long)]
    pub(crate) yaml_only: bool,
    /// Checks of Python only
    #[arg(long)]
    pub(crate) python_only: bool,
    /// Checks of Rust only
    #[arg(long)]
    pub(crate) rust_only: bool,
    /// Checks of Markdown only
    #[arg(long)]
    pub(crate) markdown_only: bool,
    /// Mend first what the tools can mend (ruff, rustfmt, mdformat)
    #[arg(long)]
    pub(crate) fix: bool,
    /// Only what sees these files or folders
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Options of a run.
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// `validate`.
#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// Only this overlay: its path, or the unique last part of it (repeatable)
    #[arg(long, value_name = "NAME")]
    pub(crate) overlay: Vec<String>,
    /// Options of a run.
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// `pre-commit`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct PreCommitArgs {
    /// What to do; `run` without it.
    #[command(subcommand)]
    pub(crate) action: Option<PreCommitAction>,
    /// Options of `run`.
    #[command(flatten)]
    pub(crate) run: HookArgs,
}

/// What `pre-commit` does.
#[derive(Debug, Subcommand)]
pub(crate) enum PreCommitAction {
    /// Run lint, validate and security on exactly what is staged; the work tree is never written (default)
    Run(Box<HookArgs>),
    /// Have git do so before every commit
    Install(InstallArgs),
    /// Take the hook away again
    Uninstall {
        /// Which hook
        #[arg(long, value_name = "HOOK", default_value = "pre-commit")]
        hook_type: HookType,
    },
}

/// Options of `pre-commit run`.
#[derive(Debug, Args)]
pub(crate) struct HookArgs {
    /// Check the commits that git is about to push, as it tells its pre-push hook
    #[arg(long, hide = true)]
    pub(crate) pushed: bool,
    /// Mend first what the tools can mend; the result is staged, and merged into the work tree where it can be
    #[arg(long, conflicts_with = "pushed")]
    pub(crate) fix: bool,
    /// Options of a run.
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// `pre-commit install`.
#[derive(Debug, Args)]
pub(crate) struct InstallArgs {
    /// Which hook
    #[arg(long, value_name = "HOOK", default_value = "pre-commit")]
    pub(crate) hook_type: HookType,
    /// Where there is another hook, run that first
    #[arg(long)]
    pub(crate) chain: bool,
    /// Have the hook mend first what the tools can mend (not for a push)
    #[arg(long)]
    pub(crate) fix: bool,
}

/// `--hook-type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[expect(clippy::enum_variant_names, reason = "these are the names of git's hooks")]
pub(crate) enum HookType {
    /// Before a commit.
    PreCommit,
    /// Before a merge makes a commit by itself.
    PreMergeCommit,
    /// Before a push: the commits that are pushed.
    PrePush,
}

/// `generate`.
#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// Only this overlay: its path, or the unique last part of it (repeatable)
    #[arg(long, value_name = "NAME")]
    pub(crate) overlay: Vec<String>,
    /// Where the manifests go, as DIR/NAME.yaml; existing ones are overwritten
    #[arg(long, value_name = "DIR", default_value = "manifests")]
    pub(crate) output_dir: PathBuf,
    /// Options of a run.
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// Options of everything that runs checks.
#[derive(Debug, Clone, Args)]
pub(crate) struct RunArgs {
    /// Replay what is known, run the rest (default)
    #[arg(long, overrides_with_all = ["no_cache", "cached_only"], help_heading = "Running")]
    pub(crate) cached: bool,
    /// Run everything, remember nothing
    #[arg(long, overrides_with_all = ["cached", "cached_only"], help_heading = "Running")]
    pub(crate) no_cache: bool,
    /// Replay what is known, run nothing: a miss is an error
    #[arg(long, overrides_with_all = ["cached", "no_cache"], help_heading = "Running")]
    pub(crate) cached_only: bool,
    /// Run checks side by side (default)
    #[arg(long, help_heading = "Running")]
    pub(crate) parallel: bool,
    /// How many checks run side by side [default: the number of processors]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Running")]
    pub(crate) jobs: Option<u16>,
    /// Begin nothing new after the first failure
    #[arg(long, overrides_with = "keep_going", help_heading = "Running")]
    pub(crate) fail_fast: bool,
    /// Run everything in spite of failures (default)
    #[arg(long, overrides_with = "fail_fast", help_heading = "Running")]
    pub(crate) keep_going: bool,
    /// Only this check (repeatable)
    #[arg(long, value_name = "ID", help_heading = "Selection")]
    pub(crate) only: Vec<String>,
    /// Not this check (repeatable; DAGCACHE_SKIP=ID,… does the same)
    #[arg(long, value_name = "ID", help_heading = "Selection")]
    pub(crate) skip: Vec<String>,
    /// Only checks with this tag (repeatable)
    #[arg(long, value_name = "TAG", help_heading = "Selection")]
    pub(crate) tag: Vec<String>,
    /// What runs the checks
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    /// Run nothing, tell what would run and why
    #[arg(long, help_heading = "Running")]
    pub(crate) dry_run: bool,
    /// Run this many of a hundred known results all the same, and compare: a wrong one fails, and is not used again
    #[arg(long, value_name = "PERCENT", value_parser = percent, conflicts_with_all = ["no_cache", "cached_only", "dry_run"], help_heading = "Running")]
    pub(crate) audit: Option<u8>,
    /// Say of failures where the room is that they ran in; it stays until the check runs again
    #[arg(long, help_heading = "Running")]
    pub(crate) keep_room: bool,
    /// Options that come later.
    #[command(flatten)]
    pub(crate) later: LaterOptions,
}

/// `5` or `5%`, from 1 to 100.
fn percent(text: &str) -> Result<u8, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse();
    let number = number.ok().filter(|number| (1..=100).contains(number));
    number.ok_or_else(|| "a percentage from 1 to 100 is needed".to_owned())
}

/// Options that DESIGN names and that come later: they are known, so that the answer is clear.
#[derive(Debug, Clone, Args)]
pub(crate) struct LaterOptions {
    #[arg(long, hide = true)]
    watch: bool,
    #[arg(long, hide = true)]
    offline: bool,
    #[arg(long, hide = true)]
    timings: bool,
    #[arg(long, hide = true, value_name = "WHERE")]
    cache_from: Vec<String>,
    #[arg(long, hide = true, value_name = "WHERE")]
    cache_to: Vec<String>,
    #[arg(long, hide = true, value_name = "I/N")]
    partition: Option<String>,
    #[arg(long, hide = true, value_name = "FORMAT=FILE")]
    report: Vec<String>,
}

impl LaterOptions {
    /// The first one that was given.
    #[must_use]
    pub(crate) fn given(&self) -> Option<&'static str> {
        let given = [
            ("--watch", self.watch),
            ("--offline", self.offline),
            ("--timings", self.timings),
            ("--cache-from", !self.cache_from.is_empty()),
            ("--cache-to", !self.cache_to.is_empty()),
            ("--partition", self.partition.is_some()),
            ("--report", !self.report.is_empty()),
        ];
        given
            .into_iter()
            .find(|(_, given)| *given)
            .map(|(name, _)| name)
    }
}

/// `--engine`, for commands that take an engine.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct EngineArgs {
    /// What runs checks and builds layers [default: `[engine] kind`, else auto]
    #[arg(long, value_name = "ENGINE", help_heading = "Running")]
    pub(crate) engine: Option<EngineArg>,
}

/// The engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EngineArg {
    /// Dagger where one is configured or at hand, else this machine
    Auto,
    /// Containers of a Dagger engine
    Dagger,
    /// This machine
    Local,
}

impl From<EngineArg> for EngineKind {
    fn from(typed: EngineArg) -> Self {
        match typed {
            EngineArg::Auto => Self::Auto,
            EngineArg::Dagger => Self::Dagger,
            EngineArg::Local => Self::Local,
        }
    }
}

/// `cache`.
#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// Show hit rate, time saved, feedback time and size
    Status {
        /// Count runs of the last while only (`7d`, `12h`)
        #[arg(long, value_name = "DURATION", default_value = "30d")]
        since: humantime::Duration,
        /// The engine.
        #[command(flatten)]
        engine: EngineArgs,
    },
    /// Forget everything, or the results of some checks, or some layers
    Clear {
        /// Ids of checks, or layers (`base`, `tools`, `deps`, `tools:yamllint`) with what stands on them; also those of the
        /// Dagger engine, if it is taken
        #[arg(value_name = "LAYER|CHECK")]
        targets: Vec<String>,
        /// The engine.
        #[command(flatten)]
        engine: EngineArgs,
    },
    /// Build layers ahead: base images, tools, dependencies
    Warm {
        /// A layer, or `base`, `tools`, `deps` for all of them, with what they stand on [default: everything]
        #[arg(value_name = "LAYER")]
        layer: Option<String>,
        /// The engine.
        #[command(flatten)]
        engine: EngineArgs,
    },
    /// Delete what nobody needs any more, and what is worth least until the size bound holds
    Prune {
        /// The bound (`2GiB`) [default: `[cache] max-size` of the project, else 10GiB]
        #[arg(long, value_name = "SIZE")]
        max_size: Option<bytesize::ByteSize>,
        /// Only say what would be deleted
        #[arg(long)]
        dry_run: bool,
        /// In the Dagger engine's cache instead, which all its users share: by its own limits, or to --max-size
        #[arg(long = "engine", conflicts_with = "dry_run")]
        of_engine: bool,
    },
    /// Read everything again; what is damaged is moved to a quarantine (exit code 1)
    Verify,
    /// Make a signing key (not supported yet)
    #[command(hide = true)]
    Keygen(Later),
}

/// `explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The check; two keys (their first digits, at least 4) to compare them; without any, one line for each check
    #[arg(value_name = "CHECK|KEY KEY", num_args = 0..=2)]
    pub(crate) what: Vec<String>,
    /// The engine.
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

/// `shell`.
#[derive(Debug, Args)]
pub(crate) struct ShellArgs {
    /// The check
    #[arg(value_name = "CHECK")]
    pub(crate) check: String,
    /// The engine.
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

/// `lock`.
#[derive(Debug, Args)]
pub(crate) struct LockArgs {
    /// Ask anew what images, system packages and lockfiles resolve to, instead of only what is missing
    #[arg(long)]
    pub(crate) update: bool,
    /// The engine.
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

/// `config`.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the configuration that is in force, and where it comes from
    Show,
    /// Print its JSON schema
    Schema,
}
