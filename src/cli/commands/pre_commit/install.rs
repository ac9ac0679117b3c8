//! Installs the hook: a few lines of shell that start this program, in the folder where git looks for hooks.
//!
//! Hooks of others are never overwritten: they are left alone, or moved aside, run first, and restored on uninstall.
//! Our own hook is left alone, too, if it was edited: it contains the digest of its text.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::cli::args::{HookType, InstallArgs};
use crate::cli::commands::pre_commit::staging;
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::digest::Digest;
use crate::fs::beneath;
use crate::process::quoted;
use crate::report::shell::Tone;
use crate::snapshot::staged::Staging;
use crate::visible::Shown as _;

const MARK: &str = "# The hook of cargo-dagcache.";

/// Precedes the digest of all other lines.
const SUM: &str = "# It is left alone once it was edited: ";

/// Suffix of a hook that was moved aside and that ours runs first.
const ASIDE: &str = "before-dagcache";

impl HookType {
    const fn name(self) -> &'static str {
        match self {
            Self::PreCommit => "pre-commit",
            Self::PreMergeCommit => "pre-merge-commit",
            Self::PrePush => "pre-push",
        }
    }
}

/// What is in the place of a hook.
#[derive(Debug, PartialEq, Eq)]
enum There {
    Nothing,
    Ours,
    Edited,
    Anothers,
}

/// The paths of a hook and of the hook it runs first.
struct Place {
    hook: PathBuf,
    aside: PathBuf,
}

impl Place {
    fn of(staging: &Staging, hook: HookType) -> Result<Self, Failure> {
        let dir = staging.hooks_dir().map_err(anyhow::Error::from)?;
        let of_user = staging.hooks_of_all().map_err(anyhow::Error::from)?;
        if of_user.is_none() {
            // A repository does not decide what else is written to.
            let (base, below) = staging.beneath(&dir).ok_or_else(|| {
                Failure::usage(format!(
                    "core.hooksPath of this repository leads out of it, to {}; run `git config --local \
                     core.hooksPath .git/hooks`, then try again",
                    dir.shown()
                ))
            })?;
            let path = below.join(hook.name()).map_err(anyhow::Error::from)?;
            let look = beneath::look(base, &path);
            look.with_context(|| format!("cannot use the hooks in {}", dir.shown()))?;
        }
        Ok(Self {
            hook: dir.join(hook.name()),
            aside: dir.join(format!("{}.{ASIDE}", hook.name())),
        })
    }

    /// The script started by husky's own hook, if this is a folder of husky, which rewrites it on each installation.
    fn of_husky(&self) -> Option<PathBuf> {
        let folder = self.hook.parent()?;
        let scripts = folder.parent().filter(|_| folder.ends_with(".husky/_"))?;
        Some(scripts.join(self.hook.file_name()?))
    }

    fn there(&self) -> Result<There, Failure> {
        if self.hook.symlink_metadata().is_err() {
            return Ok(There::Nothing);
        }
        // A link leads to something maintained by others.
        if self.hook.is_symlink() {
            return Ok(There::Anothers);
        }
        let shown = self.hook.shown();
        let text = crate::fs::read(&self.hook).with_context(|| format!("cannot read {shown}"))?;
        let text = String::from_utf8_lossy(&text);
        if !text.lines().any(|line| line.starts_with(MARK)) {
            return Ok(There::Anothers);
        }
        let parts = text.split_once(SUM);
        let parts = parts.and_then(|(head, rest)| Some((head, rest.split_once('\n')?)));
        let whole = parts.is_some_and(|(head, (sum, rest))| sum == sum_of(head, rest));
        Ok(if whole { There::Ours } else { There::Edited })
    }
}

/// Digest of the lines before and after the one that contains it.
fn sum_of(head: &str, rest: &str) -> String {
    Digest::of([head, rest].concat().as_bytes()).to_string()
}

/// Makes git run this program before each commit (or merge, or push).
pub(super) fn install(context: &Context<'_>, args: &InstallArgs) -> Result<Exit, Failure> {
    let staging = staging(context)?;
    let name = args.hook_type.name();
    let too_late = match args.hook_type {
        HookType::PreCommit => None,
        HookType::PreMergeCommit => {
            Some("git creates the tree of the merge before it runs the hook")
        }
        HookType::PrePush => Some("pushed content is already committed"),
    };
    if let Some(why) = too_late.filter(|_| args.fix) {
        return Err(Failure::usage(format!(
            "--fix is not supported by {name}: {why}"
        )));
    }
    if let Some(from) = staging.hooks_of_all().map_err(anyhow::Error::from)? {
        return Err(Failure::usage(format!(
            "core.hooksPath is set to {from} for all repositories of this user; \
             run `git config --local core.hooksPath .git/hooks` to use separate hooks in this repository, then install again"
        )));
    }
    let place = Place::of(&staging, args.hook_type)?;
    if let Some(script) = place.of_husky() {
        return Err(Failure::usage(format!(
            "husky manages the hooks here; add the line `{}{}` to {}",
            command(args.hook_type),
            if args.fix { " --fix" } else { "" },
            script.shown()
        )));
    }
    let there = place.there()?;
    match there {
        There::Nothing | There::Ours => {}
        There::Anothers => make_way(&place, args, name)?,
        There::Edited => {
            let hook = place.hook.shown();
            return Err(Failure::usage(format!(
                "{hook} was edited; remove it and install again"
            )));
        }
    }
    let program = std::env::current_exe().context("cannot find the path of this program")?;
    let program = program
        .to_str()
        .context("the path of this program is not valid UTF-8")?;
    write(&place.hook, &script(args, program), there == There::Ours)
        .with_context(|| format!("cannot write {}", place.hook.shown()))?;
    let mut line = format!("{} in {}", name, place.hook.shown());
    if place.aside.symlink_metadata().is_ok() {
        line.push_str(", after the existing hook");
    }
    context.shell.status(Tone::Good, "Installed", &line);
    Ok(Exit::Passed)
}

/// The command for another hook to call.
const fn command(hook: HookType) -> &'static str {
    match hook {
        HookType::PrePush => "cargo-dagcache pre-commit run --pushed",
        HookType::PreCommit | HookType::PreMergeCommit => "cargo-dagcache pre-commit run",
    }
}

/// Moves another hook aside, if requested.
fn make_way(place: &Place, args: &InstallArgs, name: &str) -> Result<(), Failure> {
    let (hook, aside) = (place.hook.shown(), place.aside.shown());
    if !args.chain {
        let again = command(args.hook_type);
        return Err(Failure::usage(format!(
            "another hook exists: {hook}; use `--chain` to run it first, or call `{again}` from it"
        )));
    }
    if place.aside.symlink_metadata().is_ok() {
        return Err(Failure::usage(format!(
            "two other hooks exist: {hook} and {aside}; remove one of them"
        )));
    }
    std::fs::rename(&place.hook, &place.aside)
        .with_context(|| format!("cannot move the existing {name} hook to {aside}"))?;
    Ok(())
}

/// Removes our hook and restores the one that it ran first.
pub(super) fn uninstall(context: &Context<'_>, hook: HookType) -> Result<Exit, Failure> {
    let place = Place::of(&staging(context)?, hook)?;
    let shown = place.hook.shown();
    let (verb, line) = match place.there()? {
        There::Nothing if place.aside.symlink_metadata().is_err() => {
            ("Nothing", format!("no {} hook to uninstall", hook.name()))
        }
        There::Anothers => (
            "Kept",
            format!("{shown}, which is not a hook of cargo-dagcache"),
        ),
        There::Edited => ("Kept", format!("{shown}, which was edited")),
        There::Nothing | There::Ours if place.aside.symlink_metadata().is_ok() => {
            std::fs::rename(&place.aside, &place.hook)
                .with_context(|| format!("cannot restore {shown}"))?;
            (
                "Uninstalled",
                format!("{}; restored the previous hook", hook.name()),
            )
        }
        There::Nothing | There::Ours => {
            std::fs::remove_file(&place.hook).with_context(|| format!("cannot remove {shown}"))?;
            ("Uninstalled", format!("{} from {shown}", hook.name()))
        }
    };
    context.shell.status(Tone::Good, verb, &line);
    Ok(Exit::Passed)
}

fn script(args: &InstallArgs, program: &str) -> String {
    let name = args.hook_type.name();
    let fix = if args.fix { " --fix" } else { "" };
    let program = quoted(program);
    let (keep, chain, run) = match args.hook_type {
        // Both hooks need git's standard input.
        HookType::PrePush => (
            "pushed=$(cat; echo x)\npushed=${pushed%x}\n",
            "printf %s \"$pushed\" | \"$0.before-dagcache\" \"$@\" || exit",
            "printf %s \"$pushed\" | \"$dagcache\" pre-commit run --pushed",
        ),
        HookType::PreCommit | HookType::PreMergeCommit => (
            "",
            "\"$0.before-dagcache\" \"$@\" || exit",
            "exec \"$dagcache\" pre-commit run",
        ),
    };
    let rest = format!(
        "dagcache={program}\n\
         {keep}\
         if [ -x \"$0.{ASIDE}\" ]; then {chain}; fi\n\
         if ! [ -x \"$dagcache\" ]; then\n\
         \x20   if ! command -v cargo-dagcache >/dev/null; then\n\
         \x20       echo \"error: cannot find cargo-dagcache: it is neither at $dagcache nor on PATH\" >&2\n\
         \x20       echo \"help: reinstall it, remove $0, or use --no-verify\" >&2\n\
         \x20       exit 3\n\
         \x20   fi\n\
         \x20   dagcache=cargo-dagcache\n\
         fi\n\
         {run}{fix}\n"
    );
    let head = format!(
        "#!/bin/sh\n\
         {MARK} `cargo dagcache pre-commit uninstall --hook-type {name}` removes it.\n"
    );
    let sum = sum_of(&head, &rest);
    format!("{head}{SUM}{sum}\n{rest}")
}

/// Atomically writes an executable file, replacing only our own.
fn write(path: &Path, text: &str, replace: bool) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir)?;
    let mut file = tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(0o777))
        .tempfile_in(dir)?;
    file.write_all(text.as_bytes())?;
    if replace {
        file.persist(path)?;
    } else {
        file.persist_noclobber(path)?;
    }
    Ok(())
}
