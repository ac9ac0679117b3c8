//! `explain`: what a check's key is made of, whether it is Fresh, and everything that differs from the last run.

use std::fmt::Write as _;
use std::sync::Mutex;

use crate::cli::args::ExplainArgs;
use crate::cli::commands::project::{Project, View};
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::engine::Engine as _;
use crate::event::{Event, Sink};
use crate::key::fingerprint::{Part, PartKind};
use crate::key::{CheckKey, Miss, check_key};
use crate::plan::select::{Selection, select};
use crate::plan::{Check, Work};
use crate::record::CheckRecord;
use crate::run::cancel::Interrupt;
use crate::run::{Caching, Options};

/// One line for every check, or everything about one. Two keys are for a later version.
pub fn explain(context: &Context<'_>, args: &ExplainArgs) -> Result<Exit, Failure> {
    if args.check.len() > 1 {
        return Err(Failure::not_yet("explain KEY KEY"));
    }
    let project = Project::open(context)?;
    let view = project.look()?;
    let selection = Selection {
        only: args.check.clone(),
        ..Selection::default()
    };
    let selected = select(&view.plan, &view.snapshot, &selection)
        .map_err(|error| Failure::usage(error.to_string()))?;
    let checks: Vec<&Check> = selected.checks.iter().collect();
    let options = Options {
        caching: Caching::On,
        jobs: 1,
        fail_fast: false,
        dry_run: true,
        narrowed: false,
    };
    let outcome = project.run(
        &view,
        &checks,
        options,
        &Mutex::new(Silent),
        &Interrupt::new(),
    );
    let mut text = String::new();
    for (check, record) in checks.iter().zip(&outcome.records) {
        if args.check.is_empty() {
            let _ = writeln!(text, "{}", headline(record));
        } else {
            text.push_str(&whole(context, &project, &view, check, record));
        }
    }
    for id in &selected.unsupported {
        let _ = writeln!(text, "{id}: not supported yet");
    }
    context.shell.data(&text);
    project.remember();
    Ok(Exit::Passed)
}

struct Silent;

impl Sink for Silent {
    fn event(&mut self, _: &Event<'_>) {}
}

fn headline(record: &CheckRecord) -> String {
    match (&record.message, &record.miss) {
        (Some(message), _) => format!("{}: cannot run: {message}", record.id),
        (None, None) => format!("{}: Fresh", record.id),
        (None, Some(miss)) => format!("{}: Dirty ({miss})", record.id),
    }
}

fn whole(
    context: &Context<'_>,
    project: &Project<'_>,
    view: &View,
    check: &Check,
    record: &CheckRecord,
) -> String {
    let engine = &project.engine;
    let key = check_key(
        &view.plan,
        check,
        &view.snapshot,
        &context.env,
        engine.class(),
        engine.platform(),
    );
    let mut text = format!("{}\n", headline(record));
    if let Work::Command(command) = &check.work {
        let _ = writeln!(text, "  runs     {}", command.argv.join(" "));
    }
    let _ = writeln!(text, "  tags     {}", check.tags.join(", "));
    let _ = writeln!(text, "  key      {}", key.whole);
    let shared = check.inputs.shared.len();
    let _ = writeln!(
        text,
        "  sees     {}",
        crate::report::text::count(shared, "file", "files")
    );
    if let Some(parts) = &check.inputs.parts {
        let _ = writeln!(
            text,
            "  checks   {}, one part each",
            crate::report::text::count(parts.len(), "file", "files")
        );
    }
    for part in &key.fingerprint.parts {
        let _ = writeln!(text, "  {}", describe(part));
    }
    for id in check
        .inputs
        .shared
        .iter()
        .chain(check.inputs.parts.iter().flatten())
    {
        let entry = view.snapshot.entry(*id);
        let _ = writeln!(text, "    {} {}", entry.digest.short(), entry.path);
    }
    if record.miss.is_some() {
        for difference in differences(project, view, check, &key) {
            let _ = writeln!(text, "  since the last run: {difference}");
        }
    }
    text
}

fn describe(part: &Part) -> String {
    let kind = match part.kind {
        PartKind::Engine => "engine",
        PartKind::Layer => "layer",
        PartKind::Command => "command",
        PartKind::Dir => "dir",
        PartKind::Env => "env",
        PartKind::SetEnv => "set-env",
        PartKind::Tool => "tool",
        PartKind::Option => "option",
        PartKind::Inputs => "inputs",
        PartKind::Outside => "outside",
        PartKind::Files => "files",
    };
    // Values of variables may be nobody else's business: their presence is told, not their text.
    let value = match (&part.value, part.kind) {
        (None, PartKind::Env) => "unset",
        (None, _) => "absent",
        (Some(_), PartKind::Env) => "set",
        (Some(value), _) => value,
    };
    let name = if part.name.is_empty() {
        String::new()
    } else {
        format!("{} ", part.name)
    };
    format!("{kind:<8} {name}{value}")
}

fn differences(project: &Project<'_>, view: &View, check: &Check, key: &CheckKey) -> Vec<Miss> {
    let last = project.store.last(&project.id);
    let options = Options {
        caching: Caching::On,
        jobs: 1,
        fail_fast: false,
        dry_run: true,
        narrowed: false,
    };
    let sink = Mutex::new(Silent);
    let interrupt = Interrupt::new();
    let session = project.session(view, options, &sink, &interrupt);
    crate::run::lookup::all_reasons(&session, check, key, &last)
}
