//! `doctor`: reports whether checks can run here and what would block them, with help for every problem.
//!
//! - [`containers`]: the Dagger engine. Here: the choice of engine, this machine and the store.
//!
//! Changes nothing. Queries the engine and lets it run a trivial command.

#[cfg(all(feature = "dagger", unix))]
mod containers;

use std::path::Path;

use bytesize::ByteSize;
use serde::Serialize;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::config;
use crate::env::Env;
use crate::lock::Lock;
use crate::plan::Work;
use crate::process;
use crate::report::shell::{Shell, Tone};
use crate::report::text::count;
use crate::session::choice::Choice;
use crate::session::project::config_failure;
use crate::session::{Project, View};
use crate::snapshot::left_out::told;
use crate::visible::Shown as _;

/// Less free space is too little for rooms and results.
const SCARCE: u64 = 1 << 30;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warn,
    /// It does not work.
    Fail,
}

#[derive(Debug, Serialize)]
struct Told {
    level: Level,
    /// The subject in a word or two.
    subject: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
}

/// The lines in order, printed as they come.
struct Report<'a> {
    shell: &'a Shell,
    json: bool,
    lines: Vec<Told>,
}

impl Report<'_> {
    fn ok(&mut self, subject: &'static str, message: impl Into<String>) {
        self.tell(Level::Ok, subject, message.into(), None);
    }

    fn warn(&mut self, subject: &'static str, message: impl Into<String>, help: impl Into<String>) {
        self.tell(Level::Warn, subject, message.into(), Some(help.into()));
    }

    fn fail(&mut self, subject: &'static str, message: impl Into<String>, help: impl Into<String>) {
        self.tell(Level::Fail, subject, message.into(), Some(help.into()));
    }

    fn tell(&mut self, level: Level, subject: &'static str, message: String, help: Option<String>) {
        if !self.json {
            let (tone, verb) = match level {
                Level::Ok => (Tone::Good, "Ok"),
                Level::Warn => (Tone::Note, "Warn"),
                Level::Fail => (Tone::Bad, "Fail"),
            };
            let message = message.trim_end().replace('\n', "\n             ");
            self.shell
                .status(tone, verb, &format!("{subject}: {message}"));
            if let Some(help) = &help {
                self.shell.line(&format!("             help: {help}"));
            }
        }
        self.lines.push(Told {
            level,
            subject,
            message,
            help,
        });
    }

    fn worst(&self) -> Level {
        let levels = self.lines.iter().map(|line| line.level);
        levels.max().unwrap_or(Level::Ok)
    }

    /// The JSON object, or the last line for people.
    fn conclude(&self, usable: bool, engine: Option<&'static str>) {
        if self.json {
            let value = json!({
                "reason": "doctor", "format": 1, "usable": usable, "engine": engine,
                "worst": self.worst(), "lines": self.lines,
            });
            self.shell.json(&value);
        } else if usable {
            self.finished();
        } else {
            self.shell.error(&self.blocked());
        }
    }

    /// What cannot run.
    fn blocked(&self) -> String {
        let failed = |subject| {
            let lines = self.lines.iter();
            let lines = lines.filter(|line| line.level == Level::Fail && line.subject == subject);
            lines.count()
        };
        match (failed("check"), failed("image")) {
            (0, 0) => "checks cannot run in containers, and no other engine is allowed".to_owned(),
            (0, images) => {
                let images = count(images, "image that failed", "images that failed");
                format!("checks cannot run in {images}")
            }
            (checks, _) => format!("{} cannot run", count(checks, "check", "checks")),
        }
    }

    fn finished(&self) {
        let mut said = "checks can run".to_owned();
        let warnings = self
            .lines
            .iter()
            .filter(|line| line.level == Level::Warn)
            .count();
        if warnings > 0 {
            said += ", ";
            said += &count(warnings, "warning", "warnings");
        }
        self.shell.status(Tone::Good, "Finished", &said);
    }
}

/// Examines engine, disk and network, and plans as a run does. Exit code 3 if a check cannot run.
pub(crate) fn doctor(context: &Context<'_>) -> Result<Exit, Failure> {
    let project = context.open()?;
    let mut report = Report {
        shell: context.shell,
        json: context.is_json(),
        lines: Vec::new(),
    };
    let snapshot = project.snapshot()?;
    let loaded = config::load(&snapshot).map_err(|error| config_failure(&error))?;
    let choice = project.choice(&loaded.config);
    if choice.as_ref().is_ok_and(|choice| choice.dagger.is_some()) {
        // A run reads it before it looks for the engine.
        Lock::of(&snapshot).map_err(Failure::usage)?;
    }
    let usable = match &choice {
        Ok(choice) => {
            engine(&mut report, context, &project, &snapshot, choice)
                && checks(&mut report, &project)?
        }
        Err(failure) => {
            let help = "use `--engine local` to run checks on this machine";
            report.fail("engine", failure.to_string(), help);
            false
        }
    };
    confinement(&mut report, &project);
    tracing(&mut report, &project);
    store(&mut report, &project);
    git(&mut report, &context.env);
    let engine = choice.as_ref().map(Choice::class).ok();
    report.conclude(usable, engine);
    Ok(match project.interrupt.signal() {
        Some(signal) => Exit::Interrupted(signal),
        None if usable => Exit::Passed,
        None => Exit::CouldNotRun,
    })
}

/// Examines the chosen engine; returns whether checks can run on it or on a fallback.
fn engine(
    report: &mut Report<'_>,
    context: &Context<'_>,
    project: &Project<'_>,
    snapshot: &crate::snapshot::Snapshot,
    choice: &Choice,
) -> bool {
    if choice.dagger.is_none() {
        report.ok("engine", choice.to_string());
        return true;
    }
    proxies(report, &context.env);
    #[cfg(all(feature = "dagger", unix))]
    let reached = containers::look(report, project, snapshot, choice);
    #[cfg(not(all(feature = "dagger", unix)))]
    let reached = {
        let _ = (project, snapshot);
        false
    };
    if reached {
        report.ok("engine", choice.to_string());
    } else if !choice.fixed {
        report.ok("fallback", "checks run on this machine instead");
        project.engines.lose("the Dagger engine cannot be reached");
    }
    reached || !choice.fixed
}

/// Plans as a run does, and reports what it would; returns whether every check can run.
fn checks(report: &mut Report<'_>, project: &Project<'_>) -> Result<bool, Failure> {
    let view = project.look()?;
    let left_out = told(view.snapshot.left_out());
    let warnings = view.loaded.warnings.iter().chain(&view.plan.warnings);
    for warning in warnings.cloned().chain(left_out) {
        report.tell(Level::Warn, "plan", warning, None);
    }
    trust(report, project, &view);
    let mut able = true;
    for check in &view.plan.checks {
        if let Work::Missing(message) = &check.work {
            let (message, help) = match message.split_once("\nhelp: ") {
                Some((message, help)) => (message, Some(help.to_owned())),
                None => (message.as_str(), None),
            };
            let message = format!("{}: {message}", check.id);
            report.tell(Level::Fail, "check", message, help);
            able = false;
        }
    }
    project.close();
    let images = report.lines.iter();
    let mut images = images.filter(|line| line.level == Level::Fail && line.subject == "image");
    Ok(able && images.next().is_none())
}

/// Reports what the repository asks for, and whether the user accepted it.
fn trust(report: &mut Report<'_>, project: &Project<'_>, view: &View) {
    for ask in &view.plan.asks {
        if project.trusted.covers(ask) {
            report.ok("trust", format!("{}, which is accepted", ask.what));
        } else {
            let help = "run `cargo dagcache trust`";
            report.warn(
                "trust",
                format!("{}, which is not accepted", ask.what),
                help,
            );
        }
    }
}

/// Warns that proxies of this shell reach neither the session nor containers.
fn proxies(report: &mut Report<'_>, env: &Env) {
    let names = ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"];
    let set: Vec<&str> = names
        .into_iter()
        .filter(|name| env.var(name).is_some_and(|value| !value.is_empty()))
        .collect();
    if !set.is_empty() {
        report.warn(
            "proxy",
            format!("{} of this shell only applies to layers that fetch packages, not to images pulled by the engine", set.join(", ")),
            "if images require a proxy, set it for the engine's process; every command in a container will then see it, although no key contains it",
        );
    }
}

/// Reports the confinement that this system does not support.
fn confinement(report: &mut Report<'_>, project: &Project<'_>) {
    let lacks = project.engines.local.find_lacks();
    if lacks.is_empty() {
        report.ok(
            "confinement",
            "local checks only see what they declare, and no network (file system, processes, file access, system calls)",
        );
        return;
    }
    report.warn(
        "confinement",
        format!(
            "local checks are not fully confined here ({}); their results stay on this machine",
            lacks.join("; ")
        ),
        "Linux 6.2 or newer with user namespaces and Landlock can confine them; so can containers (--engine dagger)",
    );
}

/// Reports whether the files that checks use can be observed.
fn tracing(report: &mut Report<'_>, project: &Project<'_>) {
    match project.engines.local.why_not_traced() {
        None => report.ok(
            "tracing",
            "local checks run again only for what they used; observing it takes 10 to 25 µs for each time they use a file",
        ),
        Some(why) => report.warn(
            "tracing",
            format!("local checks are not traced here ({why}): they run again when any file changes that they may see"),
            "declare `inputs` for your own checks; Linux lets programs be traced with kernel.yama.ptrace_scope up to 2, \
             and inside no other tracer",
        ),
    }
}

/// Examines the store and its disk.
fn store(report: &mut Report<'_>, project: &Project<'_>) {
    let (store, base) = (&project.store, project.store.base().shown());
    if store.is_temporary() {
        let help = "set DAGCACHE_DIR or --cache-dir to a writable directory";
        report.warn("store", "no cache directory: results are not cached", help);
        return;
    }
    if !store.writable() {
        let help = "make it writable, or set DAGCACHE_DIR to another directory";
        report.warn(
            "store",
            format!("{base} is not writable: results are reused but not stored"),
            help,
        );
        return;
    }
    match disk(store.base()) {
        Some((_, free)) if free < SCARCE => report.warn(
            "store",
            format!("{base}: only {} free on its disk", ByteSize(free)),
            "run `cargo dagcache cache prune --max-size SIZE` to free space",
        ),
        Some((_, free)) => report.ok("store", format!("{base}, {} free", ByteSize(free))),
        None => report.ok("store", base.to_string()),
    }
}

/// Total and free bytes of the disk that contains a directory.
fn disk(path: &Path) -> Option<(u64, u64)> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some((stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize))
}

/// Git, which is only needed for unusual indexes.
fn git(report: &mut Report<'_>, env: &Env) {
    let said = process::capture(Path::new("git"), &["--version"], Path::new("/"), env, &[]);
    let said = said.ok().filter(|output| output.status.success());
    match said {
        Some(output) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let version = text.trim().trim_start_matches("git version ").to_owned();
            report.ok("git", version);
        }
        None => report.warn(
            "git",
            "not on PATH: cannot read split and sparse indexes",
            "install git",
        ),
    }
}
