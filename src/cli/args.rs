//! What the user typed. clap types only: no IO, no defaults that need IO.

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{ArgAction, ArgMatches, Args, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::catalogue;
use crate::config::EngineKind;
use crate::process::quoted;
use crate::report::{Color, FORMATS};

const EXIT_CODES: &str = "Exit codes: 0 all passed, 1 a check failed, 2 usage or configuration error, 3 could not run, 130/143 interrupted.";

/// Runs a repository's checks without ever repeating work that was done before.
#[derive(Debug, Parser)]
#[command(
    name = "cargo dagcache",
    bin_name = "cargo dagcache",
    version,
    styles = clap_cargo::style::CLAP_STYLING,
    max_term_width = 100,
    after_help = format!("{}\n\n{}", catalogue::help(), EXIT_CODES)
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
    /// Change to DIR before doing anything
    #[arg(
        short = 'C',
        value_name = "DIR",
        global = true,
        help_heading = "Global options"
    )]
    pub(crate) directory: Option<PathBuf>,
    /// Use the project of this Cargo.toml
    #[arg(
        long,
        value_name = "PATH",
        global = true,
        help_heading = "Global options"
    )]
    pub(crate) manifest_path: Option<PathBuf>,
    /// Use DIR as cache [default: $DAGCACHE_DIR, else the cache directory of the platform]
    #[arg(
        long,
        value_name = "DIR",
        global = true,
        help_heading = "Global options"
    )]
    pub(crate) cache_dir: Option<PathBuf>,
    /// When to color the output
    #[arg(
        long,
        value_name = "WHEN",
        global = true,
        help_heading = "Global options"
    )]
    pub(crate) color: Option<Color>,
    /// Print failures only
    #[arg(
        short,
        long,
        global = true,
        conflicts_with = "verbose",
        help_heading = "Global options"
    )]
    pub(crate) quiet: bool,
    /// Also print Fresh checks and the output of passing tools
    #[arg(short, long, action = ArgAction::Count, global = true, help_heading = "Global options")]
    pub(crate) verbose: u8,
    /// The engine given to commands that take one.
    #[arg(skip)]
    pub(crate) engine: Option<EngineArg>,
    /// Whether a command that runs checks was given `--trust`.
    #[arg(skip)]
    pub(crate) trust: bool,
    /// Output format
    #[arg(
        long,
        value_name = "FORMAT",
        global = true,
        value_parser = message_formats(),
        default_value = "human",
        help_heading = "Global options"
    )]
    pub(crate) message_format: String,
}

impl Global {
    /// The options that decide what a command means, as they were given.
    #[must_use]
    pub(crate) fn deciding(&self) -> String {
        let paths = [
            ("-C", &self.directory),
            ("--manifest-path", &self.manifest_path),
            ("--cache-dir", &self.cache_dir),
        ];
        let paths = paths.into_iter().filter_map(|(name, path)| {
            let path = path.as_ref()?.to_string_lossy();
            Some(format!(" {name} {}", quoted(&path)))
        });
        let engine = self.engine.map(EngineKind::from);
        let engine = engine.map(|engine| format!(" --engine {}", engine.as_str()));
        paths.chain(engine).collect()
    }
}

/// What `--message-format` takes, and what it will.
fn message_formats() -> PossibleValuesParser {
    let formats = FORMATS.iter();
    let formats = formats.map(|format| PossibleValue::new(format.name).help(format.help));
    let later = ["github", "cargo"].map(|name| PossibleValue::new(name).hide(true));
    PossibleValuesParser::new(formats.chain(later))
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Commands {
    /// Run the checks with tag `lint`
    Lint(LintArgs),
    /// Run the checks with tag `validate`
    Validate(ValidateArgs),
    /// Run lint, validate and security: the command for everyday work
    DevCheck(RunArgs),
    /// Run everything
    Ci(RunArgs),
    /// Write the output of the kustomize overlays to files
    Generate(GenerateArgs),
    /// Show, warm, verify, prune or clear the cache
    #[command(subcommand)]
    Cache(CacheCommand),
    /// Explain the key of a check, why it would run, or how two keys differ
    Explain(ExplainArgs),
    /// Open a shell in the room of a check
    Shell(ShellArgs),
    /// Show the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Check exactly what is staged, or install the git hook that does
    PreCommit(PreCommitArgs),
    /// Pin the images of containers in dagcache.lock
    Lock(LockArgs),
    /// Write an initial configuration (not supported yet)
    #[command(hide = true)]
    Init(Later),
    /// Accept what the repository asks for: network, secrets, an engine, packages from elsewhere
    Trust(TrustArgs),
    /// Report what would block checks: engine, disk, network, machine
    Doctor(EngineArgs),
    /// Print shell completions (not supported yet)
    #[command(hide = true)]
    Completions(Later),
}

impl Commands {
    /// Whether `--trust` was given.
    #[must_use]
    pub(crate) fn trust(&self) -> bool {
        match self {
            Self::Lint(args) => args.run.trust,
            Self::Validate(args) => args.run.trust,
            Self::DevCheck(args) | Self::Ci(args) => args.trust,
            Self::Generate(args) => args.run.trust,
            Self::PreCommit(args) => match &args.action {
                Some(PreCommitAction::Run(args)) => args.run.trust,
                _ => args.run.run.trust,
            },
            _ => false,
        }
    }

    /// The engine given on the command line.
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
            // This prunes the cache of the Dagger engine.
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

/// Arguments of a command that is not implemented yet.
#[derive(Debug, Args)]
pub(crate) struct Later {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    rest: Vec<String>,
}

/// `lint`.
#[derive(Debug, Args)]
pub(crate) struct LintArgs {
    /// The checks of which languages.
    #[command(flatten)]
    pub(crate) languages: Languages,
    /// Apply the fixes of the linters first
    #[arg(long)]
    pub(crate) fix: bool,
    /// Check only these files or folders
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Options of a run.
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// `--rust-only` and its siblings: the languages that were named.
#[derive(Debug, Default)]
pub(crate) struct Languages(pub(crate) Vec<&'static str>);

impl Args for Languages {
    fn augment_args(command: clap::Command) -> clap::Command {
        command.args(catalogue::languages().into_iter().map(|language| {
            let (first, rest) = language.split_at(1);
            clap::Arg::new(language)
                .long(format!("{language}-only"))
                .action(ArgAction::SetTrue)
                .help(format!(
                    "Run only the {}{rest} checks",
                    first.to_uppercase()
                ))
        }))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Languages {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut languages = catalogue::languages();
        languages.retain(|language| matches.get_flag(language));
        Ok(Self(languages))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// `validate`.
#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// Only this overlay: its path, or a unique last component of it (repeatable)
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
    /// What to do; `run` by default.
    #[command(subcommand)]
    pub(crate) action: Option<PreCommitAction>,
    /// Options of `run`.
    #[command(flatten)]
    pub(crate) run: HookArgs,
}

/// What `pre-commit` does.
#[derive(Debug, Subcommand)]
pub(crate) enum PreCommitAction {
    /// Run lint, validate and security on exactly what is staged; never writes to the work tree (default)
    Run(Box<HookArgs>),
    /// Install the git hook
    Install(InstallArgs),
    /// Remove the git hook
    Uninstall {
        /// Which hook
        #[arg(long, value_name = "HOOK", default_value = "pre-commit")]
        hook_type: HookType,
    },
}

/// Options of `pre-commit run`.
#[derive(Debug, Args)]
pub(crate) struct HookArgs {
    /// Check the commits that git is about to push, as passed to the pre-push hook
    #[arg(long, hide = true)]
    pub(crate) pushed: bool,
    /// Apply the fixes of the tools first; stages the result and merges it into the work tree where possible
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
    /// If there is another hook, run it first
    #[arg(long)]
    pub(crate) chain: bool,
    /// Have the hook apply the fixes of the tools first (not for pre-push)
    #[arg(long)]
    pub(crate) fix: bool,
}

/// `--hook-type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[expect(
    clippy::enum_variant_names,
    reason = "these are the names of git's hooks"
)]
pub(crate) enum HookType {
    /// Before a commit.
    PreCommit,
    /// Before a merge commits by itself.
    PreMergeCommit,
    /// Before a push: checks the pushed commits.
    PrePush,
}

/// `generate`.
#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// Only this overlay: its path, or a unique last component of it (repeatable)
    #[arg(long, value_name = "NAME")]
    pub(crate) overlay: Vec<String>,
    /// Write the manifests to DIR/NAME.yaml, overwriting existing files
    #[arg(long, value_name = "DIR", default_value = "manifests")]
    pub(crate) output_dir: PathBuf,
    /// Options of a run.
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// Options of all commands that run checks.
#[derive(Debug, Clone, Args)]
pub(crate) struct RunArgs {
    /// Reuse cached results and run the rest (default)
    #[arg(long, overrides_with_all = ["no_cache", "cached_only"], help_heading = "Running")]
    pub(crate) cached: bool,
    /// Accept all that the repository asks for (see `trust`), in this run only
    #[arg(long, help_heading = "Running")]
    pub(crate) trust: bool,
    /// Run everything and store nothing
    #[arg(long, overrides_with_all = ["cached", "cached_only"], help_heading = "Running")]
    pub(crate) no_cache: bool,
    /// Reuse cached results and run nothing; a miss is an error
    #[arg(long, overrides_with_all = ["cached", "no_cache"], help_heading = "Running")]
    pub(crate) cached_only: bool,
    /// Run checks in parallel (default)
    #[arg(long, help_heading = "Running")]
    pub(crate) parallel: bool,
    /// Number of checks to run in parallel [default: number of CPUs]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Running")]
    pub(crate) jobs: Option<u16>,
    /// Start no further check after the first failure
    #[arg(long, overrides_with = "keep_going", help_heading = "Running")]
    pub(crate) fail_fast: bool,
    /// Run all checks regardless of failures (default)
    #[arg(long, overrides_with = "fail_fast", help_heading = "Running")]
    pub(crate) keep_going: bool,
    /// Run only this check (repeatable)
    #[arg(long, value_name = "ID", help_heading = "Selection")]
    pub(crate) only: Vec<String>,
    /// Skip this check (repeatable; also DAGCACHE_SKIP=ID,…)
    #[arg(long, value_name = "ID", help_heading = "Selection")]
    pub(crate) skip: Vec<String>,
    /// Run only checks with this tag (repeatable)
    #[arg(long, value_name = "TAG", help_heading = "Selection")]
    pub(crate) tag: Vec<String>,
    /// What runs the checks
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    /// Run nothing; print what would run and why
    #[arg(long, help_heading = "Running")]
    pub(crate) dry_run: bool,
    /// Re-run PERCENT of the cached results and compare; a mismatch fails the check and drops the entry
    #[arg(long, value_name = "PERCENT", value_parser = percent, conflicts_with_all = ["no_cache", "cached_only", "dry_run"], help_heading = "Running")]
    pub(crate) audit: Option<u8>,
    /// Print the path of a failed check's room; it stays until the check runs again
    #[arg(long, help_heading = "Running")]
    pub(crate) keep_room: bool,
    /// Options that are not implemented yet.
    #[command(flatten)]
    pub(crate) later: LaterOptions,
}

/// `5` or `5%`, from 1 to 100.
fn percent(text: &str) -> Result<u8, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse();
    let number = number.ok().filter(|number| (1..=100).contains(number));
    number.ok_or_else(|| "expected a percentage from 1 to 100".to_owned())
}

/// Options that are planned: they are parsed, so that the answer is clear.
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
    /// The first of them on the command line.
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
    /// Engine that runs checks and builds layers [default: `[engine] kind`, else auto]
    #[arg(long, value_name = "ENGINE", help_heading = "Running")]
    pub(crate) engine: Option<EngineArg>,
}

/// The engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EngineArg {
    /// Dagger if an engine is configured or available, else this machine
    Auto,
    /// Containers of a Dagger engine
    Dagger,
    /// This machine
    Local,
}

fn size(text: &str) -> Result<bytesize::ByteSize, String> {
    crate::config::size(text).map(bytesize::ByteSize)
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
        /// Count only recent runs (`7d`, `12h`)
        #[arg(long, value_name = "DURATION", default_value = "30d")]
        since: humantime::Duration,
        /// The engine.
        #[command(flatten)]
        engine: EngineArgs,
    },
    /// Delete everything, or the results of some checks, or some layers
    Clear {
        /// Ids of checks, or layers (`base`, `tools`, `deps`, `tools:yamllint`) with everything built on them; includes
        /// the layers of the Dagger engine, if it is used
        #[arg(value_name = "LAYER|CHECK")]
        targets: Vec<String>,
        /// The engine.
        #[command(flatten)]
        engine: EngineArgs,
    },
    /// Build layers in advance: base images, tools, dependencies
    Warm {
        /// A layer, or all of `base`, `tools` or `deps`, with the layers below [default: all layers]
        #[arg(value_name = "LAYER")]
        layer: Option<String>,
        /// The engine.
        #[command(flatten)]
        engine: EngineArgs,
    },
    /// Delete what is no longer needed, then the least valuable results until the cache fits
    Prune {
        /// Maximum size (`2GiB`) [default: `DAGCACHE_MAX_SIZE`, else 10GiB]
        #[arg(long, value_name = "SIZE", value_parser = size)]
        max_size: Option<bytesize::ByteSize>,
        /// Only print what would be deleted
        #[arg(long)]
        dry_run: bool,
        /// Prune the cache of the Dagger engine instead, for all its users: to its own limits, or to --max-size
        #[arg(long = "engine", conflicts_with = "dry_run")]
        of_engine: bool,
    },
    /// Re-read all stored data; moves damaged files to a quarantine and exits with code 1
    Verify,
    /// Create a signing key (not supported yet)
    #[command(hide = true)]
    Keygen(Later),
}

/// `explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// A check; or two keys (at least their first 4 digits) to compare; by default, one line for each check
    #[arg(value_name = "CHECK|KEY KEY", num_args = 0..=2)]
    pub(crate) what: Vec<String>,
    /// Which checks use this file, and what running them takes
    #[arg(long, value_name = "FILE", conflicts_with = "what")]
    pub(crate) reads: Option<PathBuf>,
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

/// `trust`.
#[derive(Debug, Args)]
#[command(
    after_help = "A check runs in a closed room. What the repository's configuration asks for beyond that needs your consent: `network`, `secrets`, names of credentials in `env`, an `[engine] address`, packages from places that your own configuration does not name. It holds for this project and this content; any change asks again. Until then these checks are errors (exit code 3), all others run. In CI: --trust, or DAGCACHE_TRUST=1."
)]
pub(crate) struct TrustArgs {
    /// Accept without asking
    #[arg(long)]
    pub(crate) yes: bool,
    /// Accept nothing any more
    #[arg(long, conflicts_with = "yes")]
    pub(crate) revoke: bool,
}

/// `lock`.
#[derive(Debug, Args)]
pub(crate) struct LockArgs {
    /// Resolve all images, system packages and lockfiles again, not only the missing ones
    #[arg(long)]
    pub(crate) update: bool,
    /// The engine.
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

/// `config`.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the configuration in effect, and where it comes from
    Show,
    /// Print its JSON schema
    Schema,
}
