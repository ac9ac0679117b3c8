//! Runs a check in its room: its commands one after the other, confined, under one time limit.
//!
//! Does not prepare the room or interpret exit codes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::engine::relative::Relative;
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
        let mut ran = self.start(&argv, &limits, true).await?;
        if let (Ended::Timeout(_), Some(limit)) = (ran.ended, self.request.timeout) {
            ran.ended = Ended::Timeout(limit);
        }
        if ran.truncated {
            ran.stderr
                .extend_from_slice(b"\n[dagcache: output truncated]\n");
        }
        Ok(ran)
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
        live: bool,
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
        let launch = Launch {
            program: &found,
            args,
            dir: &self.seen_dir,
            env: self.env,
            hold: Some(room.lock()),
            confined: self.setup.confined(self.launcher),
        };
        let live = self.request.live.filter(|_| live);
        process::run(&launch, limits, self.cancel, live)
            .await
            .map_err(|error| spawn(error.to_string()))
    }
}
