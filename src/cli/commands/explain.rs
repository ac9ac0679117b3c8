//! `explain`: the parts of a check's key, whether it is Fresh, and all differences from the last run; in [`keys`],
//! all differences between two keys; in [`mod@observed`], what a traced run used.

mod keys;
mod observed;

use std::fmt::Write as _;
use std::time::SystemTime;

use crate::cli::args::ExplainArgs;
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::digest::Digest;
use crate::engine::local;
use crate::event::Silent;
use crate::key::diff::shown;
use crate::key::facts::States;
use crate::key::fingerprint::{Part, PartKind};
use crate::key::tree::Trees;
use crate::key::{CheckKey, Miss};
use crate::path::RelPath;
use crate::plan::select::{Selection, select};
use crate::plan::{Check, Work};
use crate::report::change::change;
use crate::report::text::{count, duration};
use crate::run::lookup::{State, changes, key_of, look_up};
use crate::run::read_keys::{states_in, weak_traced};
use crate::run::{Caching, Options, Session};
use crate::store::Store;
use crate::store::entry::{Entry, Lookup};
use crate::store::last::Last;

/// One line for every check, everything about one check, or the differences between two keys.
pub(crate) fn explain(context: &Context<'_>, args: &ExplainArgs) -> Result<Exit, Failure> {
    let project = context.open()?;
    if let [old, new] = args.what.as_slice() {
        return keys::explain(context, &project, old, new);
    }
    let view = project.look()?;
    let selection = Selection {
        only: args.what.clone(),
        ..Selection::default()
    };
    let selected = select(&view.plan, &view.snapshot, &selection)
        .map_err(|error| Failure::usage(error.to_string()))?;
    let options = Options::beside(Caching::On);
    let session = project.session(&view, options, &Silent);
    let last = project.store.last(&project.id);
    if let Some(file) = &args.reads {
        let path = context.project_path(view.snapshot.root(), file)?;
        let text = readers(&session, &selected.checks, &last, &path);
        context.shell.data(&text);
        return Ok(Exit::Passed);
    }
    let mut trees = Trees::new(&view.snapshot);
    let mut text = String::new();
    for check in &selected.checks {
        let key = key_of(&session, check, &mut trees);
        let state = look_up(&session, check, key.clone(), &last);
        let _ = writeln!(text, "{}", headline(check, &state));
        if !args.what.is_empty() {
            let found = Explained {
                session: &session,
                last: &last,
                check,
                key: &key,
                result: result(&state).unwrap_or(key.whole),
                reason: reason(&state),
            };
            text.push_str(&found.text());
        }
    }
    for id in &selected.unsupported {
        let _ = writeln!(text, "{id}: not supported yet");
    }
    context.shell.data(&text);
    project.remember();
    Ok(Exit::Passed)
}

/// Why the check would run; `None` if it would not.
fn reason<'a>(state: &'a State<'_>) -> Option<&'a Miss> {
    match state {
        State::Done(record, _) => record.miss.as_ref(),
        State::Pending(pending) => Some(&pending.miss),
    }
}

/// The key of the result that was found.
fn result(state: &State<'_>) -> Option<Digest> {
    match state {
        State::Done(record, _) => record.key,
        State::Pending(_) => None,
    }
}

fn headline(check: &Check, state: &State<'_>) -> String {
    let id = &check.id;
    match (&check.work, reason(state)) {
        (Work::Missing(message) | Work::Unsupported(message), _) => {
            format!("{id}: cannot run: {message}")
        }
        (_, None) => format!("{id}: Fresh"),
        (_, Some(miss)) => format!("{id}: Dirty ({miss})"),
    }
}

/// One check, and what is known about it.
struct Explained<'a, 's> {
    session: &'a Session<'s>,
    last: &'a Last,
    check: &'a Check,
    key: &'a CheckKey,
    /// The key of its result, which is another one if it was traced.
    result: Digest,
    reason: Option<&'a Miss>,
}

impl Explained<'_, '_> {
    /// Everything except the headline.
    fn text(&self) -> String {
        let mut text = self.history();
        let check = self.check;
        if let Work::Command(command) = &check.work {
            let _ = writeln!(text, "  runs     {}", command.argv.join(" "));
        }
        let _ = writeln!(text, "  tags     {}", check.tags.join(", "));
        let _ = writeln!(text, "  key      {}", self.result);
        let shared = count(check.inputs.shared.len(), "file", "files");
        let _ = writeln!(text, "  sees     {shared}");
        if let Some(why) = untraceable(self.session, check, self.key) {
            let _ = writeln!(text, "  counts   all of them: it {why}");
        }
        let used = observed(self.session, self.last, check);
        if let Some(states) = &used {
            text += &observed::text(states);
        }
        if let Some(parts) = &check.inputs.parts {
            let files = count(parts.len(), "file", "files");
            let _ = writeln!(text, "  checks   {files}, one part each");
        }
        for part in &self.key.fingerprint.parts {
            if part.kind == PartKind::Inputs && used.is_some() {
                continue;
            }
            let of_container = self.session.engine.class() != local::CLASS;
            if of_container && part.kind == PartKind::Option && part.name == "network" {
                // Whatever was asked for.
                text.push_str("  option   network cannot be cut off in a container\n");
                continue;
            }
            let _ = writeln!(text, "  {}", describe(part));
        }
        if used.is_some() {
            return text;
        }
        let checked = check.inputs.checked().unwrap_or_default();
        for id in check.inputs.shared.iter().chain(&checked) {
            let entry = self.session.snapshot.entry(*id);
            let _ = writeln!(text, "    {} {}", entry.digest.short(), entry.path);
        }
        text
    }

    /// When and how the result was made, or all differences from the last run, starting with the printed reason.
    fn history(&self) -> String {
        let mut text = String::new();
        let Some(reason) = self.reason else {
            if let Some(entry) = entry(self.session.store, &self.result) {
                let _ = writeln!(text, "  stored   {}", made(&entry));
            }
            return text;
        };
        let mut all = changes(self.session, self.check, self.key, self.last);
        // For a check with parts, it may differ from the first.
        if let Some(at) = all.iter().position(|miss| miss == reason) {
            all[..=at].rotate_right(1);
        }
        if !all.is_empty() {
            text.push_str("  since the last run:\n");
        }
        for miss in &all {
            let _ = writeln!(text, "{}", change(miss, "    "));
        }
        let before = self.last.get(&self.check.id);
        if let Some(entry) = before.and_then(|seen| entry(self.session.store, &seen.key)) {
            let _ = writeln!(text, "  last run {}", made(&entry));
        }
        text
    }
}

/// Why the check cannot be traced, if that was found out.
fn untraceable(session: &Session<'_>, check: &Check, key: &CheckKey) -> Option<String> {
    let weak = weak_traced(session, check, key)?;
    session.store.notes(&weak.key).untraceable
}

/// What the last run of a check used, if it was traced.
fn observed(session: &Session<'_>, last: &Last, check: &Check) -> Option<States> {
    let print = session
        .store
        .fingerprint(&last.get(&check.id)?.fingerprint)?;
    states_in(session, &print)
}

/// `--reads`: the checks that an edit of a file would run again.
fn readers(session: &Session<'_>, checks: &[Check], last: &Last, path: &RelPath) -> String {
    let mut text = String::new();
    let (mut runs, mut total_ms) = (0, 0);
    for check in checks {
        let id = session.snapshot.find(path);
        let inputs = &check.inputs;
        let sees = id.is_some_and(|id| {
            let parts = inputs.parts.as_ref();
            inputs.shared.binary_search(&id).is_ok()
                || parts.is_some_and(|parts| parts.binary_search(&id).is_ok())
        });
        let how = match observed(session, last, check) {
            Some(states) => observed::of_file(&states, path),
            None => sees.then_some("may see it"),
        };
        let Some(how) = how else { continue };
        let seen = last.get(&check.id);
        let took_ms = seen.and_then(|seen| entry(session.store, &seen.key));
        let took_ms = took_ms.map(|entry| entry.duration_ms);
        let took = took_ms.map_or(String::new(), |ms| format!(", took {}", duration(ms)));
        let _ = writeln!(text, "{}: {how}{took}", check.id);
        runs += 1;
        total_ms += took_ms.unwrap_or(0);
    }
    let checks = count(runs, "check", "checks");
    let _ = writeln!(text, "{checks}, {} in the last runs", duration(total_ms));
    text
}

fn entry(store: &Store, key: &Digest) -> Option<Box<Entry>> {
    match store.lookup(key) {
        Lookup::Hit(entry) => Some(entry),
        Lookup::Absent | Lookup::Damaged(_) => None,
    }
}

/// How a result ended, and when, where and by what it was made.
fn made(entry: &Entry) -> String {
    let ended = match (entry.passed, entry.exit_code) {
        (true, _) => "passed".to_owned(),
        (false, code) => format!("failed with exit code {code}"),
    };
    format!(
        "{} ago: {ended}, took {} on {}, by cargo-dagcache {}",
        age(entry.created_ms),
        duration(entry.duration_ms),
        entry.engine,
        entry.writer
    )
}

fn age(created_ms: u64) -> String {
    const DAY: u64 = 24 * 60 * 60;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now_s = now.map_or(0, |since| since.as_secs());
    let seconds = now_s.saturating_sub(created_ms / 1000);
    match seconds {
        0..60 => format!("{seconds}s"),
        _ if seconds < 2 * DAY => duration(seconds * 1000),
        _ => format!("{} days", seconds / DAY),
    }
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
        PartKind::Names => "names",
        PartKind::Reads => "reads",
        PartKind::Folder => "folder",
        PartKind::States => "asked",
    };
    // Values of variables may be private, so only their presence is shown.
    let value = match (shown(part), part.kind) {
        (None, PartKind::Env) => "unset".to_owned(),
        (None, _) => "absent".to_owned(),
        (Some(_), PartKind::Env) => "set".to_owned(),
        (Some(value), _) => value,
    };
    let name = if part.name.is_empty() {
        String::new()
    } else {
        format!("{} ", part.name)
    };
    format!("{kind:<8} {name}{value}")
}
