//! `shell`: opens a shell in a room like a check's, with its environment, programs and confinement.
//!
//! Nothing is stored, and no check runs in this room.

use std::path::PathBuf;

use anyhow::anyhow;

use crate::cli::args::ShellArgs;
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::digest::Digest;
use crate::engine::{Engine as _, Prepare, Request, Trace, quoted};
use crate::env::{self, SHELL};
use crate::key::tree::Trees;
use crate::key::{check_key, layers_of};
use crate::plan::select::{Selection, select};
use crate::plan::{Check, Command, Tool, Work};
use crate::report::shell::Tone;
use crate::session::{Project, View};
use crate::visible::Shown as _;

/// Opens a shell in a separate room of a check.
pub(crate) fn shell(context: &Context<'_>, args: &ShellArgs) -> Result<Exit, Failure> {
    let project = context.open()?;
    project.engines.lose("shells run on this machine");
    let view = project.look()?;
    if view.choice.dagger.is_some() {
        return Err(Failure::usage(format!(
            "shell does not support containers ({}): add --engine local",
            view.choice.why
        )));
    }
    let (check, command) = chosen(&view, &args.check)?;
    open(context, &project, &view, check, command)?;
    project.remember();
    Ok(Exit::Passed)
}

/// Opens a room as the check has it, and the shell in it.
fn open(
    context: &Context<'_>,
    project: &Project<'_>,
    view: &View,
    check: &Check,
    command: &Command,
) -> Result<(), Failure> {
    let local = &project.engines.local;
    let program = users_shell(context);
    let furnished = with_shell(command, &program);
    let layers = layers_of(&view.plan, check);
    let key = check_key(
        &view.plan,
        check,
        &mut Trees::new(&view.snapshot),
        &context.env,
        local.class(),
        local.platform(),
    );
    let parts = check.inputs.parts.as_deref().unwrap_or_default();
    let request = Request {
        id: &format!("{} shell", check.id),
        command: &furnished,
        snapshot: &view.snapshot,
        shared: &check.inputs.seen_with(parts),
        parts,
        outside: &check.inputs.outside,
        folders: &check.inputs.folders,
        lacking: None,
        env: &context.env,
        layers: &layers,
        product_key: key.products,
        timeout: None,
        again: false,
        trace: if command.can_be_traced() {
            Trace::Unseen
        } else {
            Trace::Off
        },
        live: None,
    };
    let prepare = Prepare {
        layers: &layers,
        snapshot: &view.snapshot,
        env: &context.env,
        force: false,
    };
    let interrupt = &project.interrupt;
    let say = |host: &std::path::Path, seen: &std::path::Path| {
        let room = format!("{} (here: {})", seen.shown(), host.shown());
        context.shell.status(Tone::Good, "Room", &room);
        context.shell.status(Tone::Good, "Runs", &line_of(command));
    };
    let opened = async {
        local.prepare(&prepare, interrupt.token()).await?;
        local.open(&request, &name_of(&program), &say).await
    };
    let ended = interrupt.block_on(opened).map_err(anyhow::Error::from)?;
    ended.map_err(anyhow::Error::from)?;
    Ok(())
}

/// The command as a shell takes it.
fn line_of(command: &Command) -> String {
    let files = if command.append_files { " FILE…" } else { "" };
    format!("{}{files}", quoted(command.argv.iter().map(String::as_str)))
}

/// The check of that id, and the program it runs.
fn chosen<'v>(view: &'v View, id: &str) -> Result<(&'v Check, &'v Command), Failure> {
    let selection = Selection {
        only: vec![id.to_owned()],
        ..Selection::default()
    };
    select(&view.plan, &view.snapshot, &selection)
        .map_err(|error| Failure::usage(error.to_string()))?;
    let check = view.plan.check(id);
    let check = check.ok_or_else(|| Failure::usage(format!("no check `{id}`")))?;
    match &check.work {
        Work::Command(command) => Ok((check, command)),
        Work::Builtin(_) => Err(Failure::usage(format!(
            "{} is built in: it runs no program, so there is no room to look at",
            check.id
        ))),
        Work::Missing(why) | Work::Unsupported(why) => {
            Err(Failure::CouldNotRun(anyhow!("{}: {why}", check.id)))
        }
    }
}

/// `$SHELL`, or `sh`.
fn users_shell(context: &Context<'_>) -> PathBuf {
    let shell = context.env.path(SHELL);
    let shell = shell.filter(|path| path.is_absolute() && path.is_file());
    shell.unwrap_or_else(|| PathBuf::from("/bin/sh"))
}

fn name_of(program: &std::path::Path) -> String {
    let name = program.file_name().unwrap_or(program.as_os_str());
    name.to_string_lossy().into_owned()
}

/// The check's command with the shell added to its programs, and TERM to its environment.
fn with_shell(command: &Command, program: &std::path::Path) -> Command {
    let mut command = command.clone();
    let name = name_of(program);
    command.tools.retain(|tool| tool.name() != name);
    command.tools.push(Tool::Host {
        name,
        path: program.to_path_buf(),
        identity: Digest::of(b""),
        version: None,
    });
    command.env.push(env::TERM.to_owned());
    command
}
