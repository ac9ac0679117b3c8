//! `--message-format json`: one object per line on stdout; `"format":1` is in the first, and run-finished is always
//! last.

use serde_json::{Value, json};

use crate::event::{Event, Sink};
use crate::plan::NotRun;
use crate::record::{CheckRecord, RunRecord};
use crate::report::held::Held;
use crate::report::{Format, Shell, text};

/// `--message-format json`.
pub(crate) const FORMAT: Format = Format {
    name: "json",
    help: "One JSON object per line on stdout",
    report: |about| match about.hook {
        Some(_) => Box::new(Held::new(Json::new(about.shell))),
        None => Box::new(Json::new(about.shell)),
    },
};

/// Version of the format.
const VERSION: u32 = 1;

#[derive(Debug)]
struct Json<'a> {
    shell: &'a Shell,
    /// The engine, once it differs from the one the run started with.
    engine: Option<String>,
}

impl<'a> Json<'a> {
    /// Reports through `shell`.
    fn new(shell: &'a Shell) -> Self {
        Self {
            shell,
            engine: None,
        }
    }
}

impl Sink for Json<'_> {
    fn event(&mut self, event: &Event<'_>) {
        let line = match event {
            Event::RunStarted {
                command,
                engine,
                checks,
                not_run,
                ..
            } => {
                let mut line = json!({
                    "reason": "run-started",
                    "format": VERSION,
                    "command": command,
                    "engine": engine,
                    "root": ".",
                    "checks": checks,
                });
                if !not_run.is_empty() {
                    let tool = |not_run: &NotRun| json!({"tool": not_run.tool, "configured_in": not_run.place});
                    line["not_run"] = not_run.iter().map(tool).collect();
                }
                line
            }
            Event::CheckFinished(record) => {
                let mut line = check(record);
                if let Some(engine) = &self.engine {
                    line["engine"] = json!(engine);
                }
                line
            }
            Event::EngineLost { why, engine } => {
                self.engine = Some((*engine).to_owned());
                return self.shell.warning(&text::engine_lost(why, false));
            }
            Event::RunFinished(record) => run(record),
            Event::Warning(text) | Event::LeftOut(text) => return self.shell.warning(text),
            Event::AlreadyFailing([]) => return,
            Event::AlreadyFailing(ids) => json!({"reason": "already-failing", "ids": ids}),
            Event::CheckStarted { .. } | Event::LayerBuilt { .. } | Event::Audited(_) => return,
        };
        self.shell.json(&line);
    }
}

fn check(record: &CheckRecord) -> Value {
    let mut value = json!({
        "reason": "check-finished",
        "id": record.id,
        "verdict": record.verdict,
        "cache": record.cache,
        "key": record.key,
        "exit_code": record.exit_code,
        "stdout": record.stdout,
        "stderr": record.stderr,
        "duration_ms": record.duration_ms,
        "saved_ms": record.saved_ms,
        "findings": record.findings,
    });
    let optional = [
        ("miss", record.miss.as_ref().map(|miss| json!(miss))),
        ("parts", record.parts.map(|parts| json!(parts))),
        ("message", record.message.as_ref().map(|text| json!(text))),
        (
            "not_stored",
            record.not_stored.as_ref().map(|text| json!(text)),
        ),
        (
            "layers_built",
            (!record.built.is_empty()).then(|| json!(record.built)),
        ),
        (
            "layers_there",
            (!record.there.is_empty()).then(|| json!(record.there)),
        ),
        ("replayed", record.replayed.then(|| json!(true))),
    ];
    for (name, field) in optional {
        if let Some(field) = field {
            value[name] = field;
        }
    }
    value
}

fn run(record: &RunRecord) -> Value {
    json!({
        "reason": "run-finished",
        "verdict": record.verdict,
        "hits": record.hits(),
        "misses": record.misses(),
        "duration_ms": record.duration_ms,
        "saved_ms": record.saved_ms,
    })
}
