//! Runs a check in its room: its commands one after the other, confined, under one time limit.
//!
//! Does not prepare the room or interpret exit codes.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use tokio_util::sync::CancellationToken;

use crate::engine::relative::Relative;
use crate::engine::start::{HEAD, TOO_LONG, without_interpreter};
use crate::engine::{Ended, EngineError, Request, describe, part_arguments, quoted};
use crate::process::{self, Launch, Limits, Ran};

use super::path_farm;
use super::room_setup::RoomSetup;

pub(super) struct Action<'a> {
    pub(crate) setup: &'a RoomSetup,
    pub(crate) launcher: Option<&'a Path>,
    pub(crate) relative: &'a Relative,
    /// Its working directory on the host.
    pub(crate) dir: PathBuf,
    /// The same directory as the check sees it.
    pub(crate) seen_dir: PathBuf,
    pub(crate) env: &'a [(std::ffi::OsString, std::ffi::OsString)],
    pub(crate) request: &'a Request<'a>,
    pub(crate) cancel: &'a CancellationToken,
    /// Takes what tracing saw of the last command.
    pub(crate) answer: Option<File>,
}

impl Action<'_> {
    /// The time limit applies to all commands together.
    pub(crate) async fn run(&self, limits: Limits) -> Result<Ran, EngineError> {
        let mut left = self.request.timeout;
        for argv in &self.needed_before() {
            let limits = Limits {
                timeout: left,
                ..limits
            };
            let ran = self.before(argv, &limits).await?;
            left = left.map(|left| left.saturating_sub(ran));
        }
        let limits = Limits {
            timeout: left,
            ..limits
        };
        let command = self.request.command;
        let mut argv = command.argv.clone();
        if command.append_files {
            let (parts, snapshot) = (self.request.parts, self.request.snapshot);
            argv.extend(part_arguments(&command.dir, parts, snapshot));
        }
        let ran = self.start(&argv, &limits, true).await?;
        Ok(match (ran.ended, self.request.timeout) {
            (Ended::Timeout(_), Some(limit)) => Ran {
                ended: Ended::Timeout(limit),
                ..ran
            },
            _ => ran,
        })
    }

    fn needed_before(&self) -> Vec<Vec<String>> {
        let command = self.request.command;
        match &command.refresh {
            Some(refresh) => refresh.before(&command.before, self.setup.held.room.changes()),
            None => command.before.clone(),
        }
    }

    async fn before(&self, argv: &[String], limits: &Limits) -> Result<Duration, EngineError> {
        let ran = self.start(argv, limits, false).await?;
        match ran.ended {
            Ended::Exit(0) => Ok(ran.duration),
            Ended::Cancelled => Err(EngineError::Cancelled),
            ended => Err(EngineError::Before {
                command: quoted(argv.iter().map(String::as_str)),
                message: describe(ended),
                output: self.relative.text(ran.tail().as_bytes()),
            }),
        }
    }

    async fn start(
        &self,
        argv: &[String],
        limits: &Limits,
        is_last: bool,
    ) -> Result<Ran, EngineError> {
        let (program, args) = argv.split_first().ok_or_else(|| {
            EngineError::Unavailable(format!("check `{}` has no command", self.request.id))
        })?;
        let spawn = |message| EngineError::Spawn {
            program: program.clone(),
            message,
        };
        let RoomSetup { held, seen, .. } = self.setup;
        let room = &held.room;
        let found = path_farm::resolve(&room.bin(), &self.dir, program).map_err(spawn)?;
        let found = match found.strip_prefix(room.bin()) {
            Ok(name) => seen.bin().join(name),
            Err(_) => found,
        };
        let answer = self.answer.as_ref().filter(|_| is_last);
        let launch = Launch {
            program: &found,
            args,
            dir: &self.seen_dir,
            env: self.env,
            confined: self.setup.confined(self.launcher, answer),
        };
        let live = self.request.live.filter(|_| is_last);
        process::run(&launch, limits, self.cancel, live)
            .await
            .map_err(|error| spawn(why_not(&error.to_string(), &self.dir.join(program))))
    }
}

/// Why a program that is there does not start, and the way out. A launcher only passes the words on: hence they, not the
/// kind of the error, tell what it is.
fn why_not(error: &str, program: &Path) -> String {
    let number = |number| error.ends_with(&format!("(os error {number})"));
    if number(Errno::TOOBIG.raw_os_error()) {
        return format!("{error}; {TOO_LONG}");
    }
    let head = || crate::fs::head(program, HEAD).ok();
    let absent = number(Errno::NOENT.raw_os_error());
    let reason = absent.then(head).flatten();
    let reason = reason.and_then(|head| without_interpreter(&head));
    reason.unwrap_or_else(|| error.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_whose_interpreter_is_missing_says_so() {
        let dir = tempfile::tempdir().expect("dir");
        let script = dir.path().join("c.sh");
        let gone = "No such file or directory (os error 2)";
        let said = |text: &str| {
            std::fs::write(&script, text).expect("script");
            why_not(gone, &script)
        };
        assert!(said("#!/bin/sh\r\necho\r\n").contains("LF line ends"));
        assert!(said("#! /no/such -x\n").contains("`/no/such` is not there"));
        assert_eq!(said("no script"), gone);
    }

    #[test]
    fn too_many_files_name_the_way_out() {
        let error = "Argument list too long (os error 7)";
        assert!(why_not(error, Path::new("x")).contains("`per-file = true`"));
    }
}
