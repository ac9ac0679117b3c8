//! Applies fixes: runs the tool in a room and returns the changed files. Writes none of the user's files.

use crate::digest::Digest;
use crate::engine::{Ended, Prepare, Request, Trace};
use crate::fs::beneath::{Found, look};
use crate::key::layers_of;
use crate::plan::{Check, Command};
use crate::run::Session;
use crate::run::mask::Mask;
use crate::run::part_runs::batches;
use crate::snapshot::{FileId, Kind};

/// The new content of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fixed {
    pub(crate) file: FileId,
    pub(crate) bytes: Vec<u8>,
}

/// Runs `command` in a room with the files of `check`. Returns changed files; created and removed files are ignored.
pub(crate) fn apply(
    session: &Session<'_>,
    check: &Check,
    command: &Command,
) -> Result<Vec<Fixed>, String> {
    let layers = layers_of(session.plan, check);
    let prepare = Prepare {
        layers: &layers,
        snapshot: session.snapshot,
        env: session.env,
        force: false,
    };
    let (engine, interrupt) = (session.engine, session.interrupt);
    let prepared = interrupt.block_on(engine.prepare(&prepare, interrupt.token()));
    let mask = Mask::of(command, session.env);
    let said = |error| mask.text(&format!("{:#}", anyhow::Error::new(error)));
    prepared.map_err(|error| error.to_string())?.map_err(said)?;
    let batches = match &check.inputs.parts {
        Some(parts) => {
            let entry = |file| session.snapshot.entry(file);
            // What a link leads to is fixed under its own name.
            let is_file = |file: &FileId| entry(*file).kind != Kind::Symlink;
            batches(parts.iter().copied().filter(is_file), entry)
        }
        None => vec![Vec::new()],
    };
    let mut command = command.clone();
    // An engine elsewhere exports files only as outputs.
    command.outputs = vec!["**".to_owned()];
    let mut fixed = Vec::new();
    for files in batches {
        let request = Request {
            // A separate room: fixed files must not be confused with those a check saw.
            id: &format!("{} --fix", check.id),
            command: &command,
            snapshot: session.snapshot,
            shared: &check.inputs.seen_with(&files),
            parts: &files,
            outside: &check.inputs.outside,
            folders: &check.inputs.folders,
            lacking: None,
            env: session.env,
            layers: &layers,
            product_key: Digest::of(b"mend"),
            timeout: check.timeout,
            again: true,
            trace: Trace::Off,
            live: None,
        };
        let executed = interrupt.block_on(engine.run(&request, interrupt.token()));
        let executed = executed.map_err(|error| error.to_string())?.map_err(said)?;
        if !matches!(executed.ended, Ended::Exit(0..128)) {
            let said = mask.text(executed.output.stderr.trim());
            return Err(format!("it failed: {said}"));
        }
        let Some(place) = &executed.place else {
            return Err("this engine cannot return changed files".to_owned());
        };
        let mut all: Vec<FileId> = [check.inputs.shared.as_slice(), &files].concat();
        all.sort_unstable();
        all.dedup();
        for file in all {
            let entry = session.snapshot.entry(file);
            if entry.kind == Kind::Symlink {
                continue;
            }
            let found = look(place.tree(), &entry.path).map_err(|error| error.to_string())?;
            if let Found::File { bytes, .. } = found
                && Digest::of(&bytes) != entry.digest
            {
                if mask.shows_in(&bytes) {
                    return Err(format!("it wrote the value of a secret to {}", entry.path));
                }
                fixed.push(Fixed { file, bytes });
            }
        }
    }
    Ok(fixed)
}
