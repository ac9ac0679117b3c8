//! Examines the Dagger engine: its program, connection, limits, and the environment of commands in containers.

use std::time::{Duration, Instant};

use bytesize::ByteSize;

use super::Report;
use crate::engine::EngineError;
use crate::engine::dagger::session::Session;
use crate::engine::dagger::usage::{Probe, Usage, resolve};
use crate::lock::Lock;
use crate::plan::Image;
use crate::report::text;
use crate::session::Project;
use crate::session::choice::Choice;
use crate::snapshot::Snapshot;
use crate::visible::Shown as _;

/// Time limit for querying the engine.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// A trivial command normally takes a tenth of this.
const SLOW: Duration = Duration::from_secs(1);

/// By default an engine deletes its cache while less than this fraction of its disk is free.
const SCARCE_PERCENT: u64 = 20;

/// Acceptable difference between clocks.
const CLOCK_MS: u64 = 5_000;

/// Examines the engine; returns whether it can run checks.
pub(super) fn look(
    report: &mut Report<'_>,
    project: &Project<'_>,
    snapshot: &Snapshot,
    choice: &Choice,
) -> bool {
    let Some(containers) = project.containers(choice) else {
        return false;
    };
    let token = project.interrupt.token();
    let asked = project.interrupt.block_on(async {
        let connect = match containers.connect(Some(PATIENCE), token).await {
            Ok(connect) => connect,
            Err(error) => {
                let help = "see https://docs.dagger.io/install, or use `--engine local`";
                report.fail("dagger", error.to_string(), help);
                return false;
            }
        };
        let program = &connect.program;
        let version = program.version().unwrap_or("unknown version");
        report.ok("dagger", format!("{version}, {}", program.path().shown()));
        let begun = Instant::now();
        match Session::open(&connect, token).await {
            Ok(session) => {
                reached(report, &session, begun.elapsed());
                inside(report, &session, snapshot).await;
                session.close().await;
                true
            }
            Err(error) => {
                let help = format!(
                    "start the engine or correct its address ({}), or use `--engine local` to run checks on this machine",
                    choice.why
                );
                report.fail("connection", words(&error), help);
                false
            }
        }
    });
    asked.unwrap_or_else(|error| {
        let help = "free some threads or file descriptors";
        report.fail(
            "connection",
            format!("cannot start a thread: {error}"),
            help,
        );
        false
    })
}

fn words(error: &EngineError) -> String {
    match error {
        EngineError::Cancelled => "interrupted".to_owned(),
        other => other.to_string(),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn reached(report: &mut Report<'_>, session: &Session, took: Duration) {
    let took = text::duration(millis(took));
    match session.engine_version() {
        "" => report.warn(
            "connection",
            format!("the engine answers after {took}, but reports no version, as an unofficial build does"),
            "every check of versions passes it: make sure that it is 0.21.4 or a later 0.21",
        ),
        version => report.ok("connection", format!("the engine {version} answers after {took}")),
    }
}

/// Examines what needs a session: limits, images, a command.
async fn inside(report: &mut Report<'_>, session: &Session, snapshot: &Snapshot) {
    let usage = Usage::ask(session).await;
    match &usage {
        Ok(usage) => limits(report, usage),
        Err(error) => report.warn("cache", error.to_string(), "is the engine overloaded?"),
    }
    // Planning reports what is not pinned.
    let lock = Lock::of(snapshot).unwrap_or_default();
    let mut tried = false;
    for image in lock.images() {
        let there = had(report, session, image).await;
        if there && !tried {
            tried = true;
            command(report, session, image, usage.as_ref().ok()).await;
        }
    }
}

fn limits(report: &mut Report<'_>, usage: &Usage) {
    let used = ByteSize(usage.used);
    if !usage.is_bounded() {
        report.warn(
            "cache",
            format!("the engine holds {used} and never deletes anything"),
            "run `cargo dagcache cache prune --engine --max-size SIZE`, or set `gc` in its engine.json",
        );
        return;
    }
    report.ok(
        "cache",
        format!(
            "the engine holds {used} of at most {}, and keeps {} of its disk free",
            ByteSize(usage.max_used),
            ByteSize(usage.min_free)
        ),
    );
}

/// Whether a pinned image is available, and whether its registry answers.
async fn had(report: &mut Report<'_>, session: &Session, image: &Image) -> bool {
    if let Err(error) = resolve(session, &image.reference()).await {
        let help =
            "check the engine's network, proxies and logins, or run `cargo dagcache lock --update`";
        let said = error.to_string();
        let why = said.split("\nhelp: ").next().unwrap_or_default();
        report.fail("image", why, help);
        return false;
    }
    match resolve(session, &image.name).await {
        Ok(now) if now.ends_with(&image.digest) => {
            report.ok("image", format!("{} is available, and its registry answers", image.name));
        }
        Ok(_) => report.ok(
            "image",
            format!("{} is available; its tag refers to a newer image now (run `cargo dagcache lock --update` to use it)", image.name),
        ),
        Err(_) => report.ok(
            "image",
            format!("{} is available; its registry does not answer, which is fine for pinned images", image.name),
        ),
    }
    true
}

/// Examines a trivial command.
async fn command(report: &mut Report<'_>, session: &Session, image: &Image, usage: Option<&Usage>) {
    let probe = match Probe::ask(session, &image.reference()).await {
        Ok(probe) => probe,
        Err(error) => {
            report.fail(
                "command",
                format!("a trivial command in {} failed: {error}", image.name),
                "see the engine's log for details",
            );
            return;
        }
    };
    speed(report, &probe, &image.name);
    clock(report, probe.ahead_ms);
    if let Some((all, free)) = probe.disk {
        disk(report, all, free, usage);
    }
    if !probe.proxies.is_empty() {
        report.warn(
            "proxy",
            format!("every command in a container gets {}, which is in no key", probe.proxies.join(", ")),
            "results may depend on it; unset it for the engine's process if pulling images works without it",
        );
    }
}

fn speed(report: &mut Report<'_>, probe: &Probe, image: &str) {
    let took = text::duration(millis(probe.took));
    match (probe.took > SLOW, probe.updates_certificates) {
        (false, _) => report.ok("command", format!("a trivial command in a container takes {took}")),
        (true, true) => report.warn(
            "command",
            format!("a trivial command in a container takes {took}: because of its custom certificates, the engine runs `update-ca-certificates` of {image} before and after every command"),
            "remove the files from the engine's /usr/local/share/ca-certificates (with docker: ~/.config/dagger/ca-certificates), or use an image that holds the certificates and has no `update-ca-certificates`",
        ),
        (true, false) => report.warn(
            "command",
            format!("a trivial command in a container takes {took}"),
            "it should take a tenth of a second: is the engine's machine overloaded, or its disk slow?",
        ),
    }
}

fn clock(report: &mut Report<'_>, ahead_ms: i64) {
    let off = ahead_ms.unsigned_abs();
    if off > CLOCK_MS {
        let way = if ahead_ms > 0 { "ahead of" } else { "behind" };
        report.warn(
            "clock",
            format!(
                "the engine's clock is {} {way} this machine's clock",
                text::duration(off)
            ),
            "synchronise both (NTP), because tools that compare file times may fail",
        );
    } else {
        report.ok(
            "clock",
            "the engine's clock agrees with this machine's clock",
        );
    }
}

/// The engine deletes its cache when too little of its disk is free, for whatever reason.
fn disk(report: &mut Report<'_>, all: u64, free: u64, usage: Option<&Usage>) {
    let line = format!(
        "{} of {} free on the engine's disk",
        ByteSize(free),
        ByteSize(all)
    );
    let wanted = usage.map_or(all / 100 * SCARCE_PERCENT, |usage| usage.min_free);
    if free < wanted {
        report.warn(
            "disk",
            format!("{line}: less than the {} it requires, so it deletes its cache after every session", ByteSize(wanted)),
            "free some space, or set a smaller `minFreeSpace` in `gc` of its engine.json (default: a fifth of the disk)",
        );
    } else {
        report.ok("disk", line);
    }
}
