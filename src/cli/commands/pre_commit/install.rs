//! The hook itself: a few lines of shell that start this program, in the folder where git looks for hooks.
//!
//! Another's hook is never overwritten: it is left alone, or moved aside and run first, and comes back at the end. Nor is
//! one of ours that was edited: a hook holds the digest of its own text.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::cli::args::{HookType, InstallArgs};
use crate::cli::commands::pre_commit::staging;
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::digest::Digest;
use crate::process::quoted;
use crate::report::shell::Tone;
use crate::snapshot::staged::Staging;

/// In every hook that is ours, and in no other.
const MARK: &str = "# The hook of cargo-dagcache.";

/// The line after it, with the digest of all others.
const SUM: &str = "# It is left alone once it was edited: ";

/// What another's hook is called while ours runs it first.
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

/// A hook's place, and that of another's hook which ours runs first.
struct Place {
    hook: PathBuf,
    aside: PathBuf,
}

impl Place {
    fn of(staging: &Staging, hook: HookType) -> Result<Self, Failure> {
        let dir = staging.hooks_dir().map_err(anyhow::Error::from)?;
        Ok(Self {
            hook: dir.join(hook.name()),
            aside: dir.join(format!("{}.{ASIDE}", hook.name())),
        })
    }

    /// The script that husky's own hook starts, if this is a folder of husky's: it is written anew at each installation.
    fn of_husky(&self) -> Option<PathBuf> {
        let folder = self.hook.parent()?;
        let scripts = folder.parent().filter(|_| folder.ends_with(".husky/_"))?;
        Some(scripts.join(self.hook.file_name()?))
    }

    fn there(&self) -> Result<There, Failure> {
        if self.hook.symlink_metadata().is_err() {
            return Ok(There::Nothing);
        }
        // A link leads to something that others keep.
        if self.hook.is_symlink() {
            return Ok(There::Anothers);
        }
        let shown = self.hook.display();
        let text = std::fs::read(&self.hook).with_context(|| format!("cannot read {shown}"))?;
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

/// Of the lines before and after the one that holds it.
fn sum_of(head: &str, rest: &str) -> String {
    Digest::of([head, rest].concat().as_bytes()).to_string()
}

/// Has git run this program before each commit (or merge, or push).
pub(super) fn install(context: &Context<'_>, args: &InstallArgs) -> Result<Exit, Failure> {
    let staging = staging(context)?;
    let name = args.hook_type.name();
    let too_late = match args.hook_type {
        HookType::PreCommit => None,
        HookType::PreMergeCommit => Some("git has made the tree of the merge before it asks"),
        HookType::PrePush => Some("what is pushed is committed already"),
    };
    if let Some(why) = too_late.filter(|_| args.fix) {
        return Err(Failure::usage(format!("no --fix with {name}: {why}")));
    }
    if let Some(from) = staging.hooks_of_all().map_err(anyhow::Error::from)? {
        return Err(Failure::usage(format!(
            "core.hooksPath is set to {from} for all repositories of this user; \
             `git config --local core.hooksPath .git/hooks` gives this repository hooks of its own, then install again"
        )));
    }
    let place = Place::of(&staging, args.hook_type)?;
    if let Some(script) = place.of_husky() {
        return Err(Failure::usage(format!(
            "husky writes the hooks here: put a line `{}{}` into {}",
            command(args.hook_type),
            if args.fix { " --fix" } else { "" },
            script.display()
        )));
    }
    let there = place.there()?;
    match there {
        There::Nothing | There::Ours => {}
        There::Anothers => make_way(&place, args, name)?,
        There::Edited => {
            let hook = place.hook.display();
            return Err(Failure::usage(format!(
                "{hook} was edited by hand; remove it, then install again"
            )));
        }
    }
    let program = std::env::current_exe().context("this program does not find itself")?;
    let program = program
        .to_str()
        .context("the path of this program is not valid UTF-8")?;
    write(&place.hook, &script(args, program), there == There::Ours)
        .with_context(|| format!("cannot write {}", place.hook.display()))?;
    let mut line = format!("{} in {}", name, place.hook.display());
    if place.aside.symlink_metadata().is_ok() {
        line.push_str(", after the hook that was there");
    }
    context.shell.status(Tone::Good, "Installed", &line);
    Ok(Exit::Passed)
}

/// What another's hook may call.
const fn command(hook: HookType) -> &'static str {
    match hook {
        HookType::PrePush => "cargo-dagcache pre-commit run --pushed",
        HookType::PreCommit | HookType::PreMergeCommit => "cargo-dagcache pre-commit run",
    }
}

/// Moves another's hook aside, if that was asked for.
fn make_way(place: &Place, args: &InstallArgs, name: &str) -> Result<(), Failure> {
    let (hook, aside) = (place.hook.display(), place.aside.display());
    if !args.chain {
        let again = command(args.hook_type);
        return Err(Failure::usage(format!(
            "there is another hook: {hook}; `--chain` runs it first, or let it call `{again}`"
        )));
    }
    if place.aside.symlink_metadata().is_ok() {
        return Err(Failure::usage(format!(
            "there are two other hooks: {hook} and {aside}; remove one of them"
        )));
    }
    std::fs::rename(&place.hook, &place.aside)
        .with_context(|| format!("cannot move the other {name} hook to {aside}"))?;
    Ok(())
}

/// Takes the hook away; another's that it ran first comes back.
pub(super) fn uninstall(context: &Context<'_>, hook: HookType) -> Result<Exit, Failure> {
    let place = Place::of(&staging(context)?, hook)?;
    let shown = place.hook.display();
    let (verb, line) = match place.there()? {
        There::Nothing if place.aside.symlink_metadata().is_err() => {
            ("Nothing", format!("no {} hook to uninstall", hook.name()))
        }
        There::Anothers => ("Kept", format!("{shown}, which is another's hook")),
        There::Edited => ("Kept", format!("{shown}, which was edited by hand")),
        There::Nothing | There::Ours if place.aside.symlink_metadata().is_ok() => {
            std::fs::rename(&place.aside, &place.hook)
                .with_context(|| format!("cannot bring back {shown}"))?;
            (
                "Uninstalled",
                format!("{}; the hook that was there before is back", hook.name()),
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
        // What git says on standard input is for both.
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
         \x20       echo \"error: cargo-dagcache is gone: it is neither $dagcache nor on PATH\" >&2\n\
         \x20       echo \"help: install it again, remove $0, or use --no-verify\" >&2\n\
         \x20       exit 3\n\
         \x20   fi\n\
         \x20   dagcache=cargo-dagcache\n\
         fi\n\
         {run}{fix}\n"
    );
    let head = format!(
        "#!/bin/sh\n\
         {MARK} `cargo dagcache pre-commit uninstall --hook-type {name}` takes it away.\n"
    );
    let sum = sum_of(&head, &rest);
    format!("{head}{SUM}{sum}\n{rest}")
}

/// Writes a program whole or not at all, over nothing but what is ours.
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
