//! `cache status`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use bytesize::ByteSize;
use serde_json::{Value, json};

use crate::cli::args::EngineArg;
use crate::cli::commands::cache::of_engine::OfEngine;
use crate::cli::commands::cache::{configured, over_bound, size};
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::key::MissKind;
use crate::record::RunRecord;
use crate::report::text;
use crate::run::now_ms;
use crate::store::Store;
use crate::store::prune::limit;
use crate::store::usage::{Size, Usage};
use crate::visible::Shown as _;

/// Prints hit rate, net time saved, feedback time and re-runs of recent runs, and sizes.
pub(crate) fn status(context: &Context<'_>, since: Duration) -> Result<Exit, Failure> {
    let project = context.open()?;
    let store = &project.store;
    let config = configured(context, store)
        .ok()
        .flatten()
        .unwrap_or_default();
    let bound = limit(&context.env).map_err(Failure::usage)?;
    // Only a user who names it wants it to be asked.
    let named = matches!(context.global.engine, Some(EngineArg::Dagger));
    let of_engine = project.choice(&config).ok().filter(|_| named);
    let of_engine = of_engine.and_then(|choice| OfEngine::ask(&project, &choice));
    project.remember();
    let since_ms = now_ms().saturating_sub(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    let history = History::of(&store.runs(since_ms), &project.id);
    let usage = store.usage();
    let of_engine = of_engine.as_ref();
    if context.is_json() {
        let value = status_json(store, since, &history, &usage, of_engine);
        context.shell.json(&value);
    } else {
        let text = status_text(store, since, &history, &usage, of_engine);
        context.shell.data(&text);
    }
    if usage.total.bytes > bound {
        context.shell.warning(&over_bound(usage.total, bound));
    }
    Ok(Exit::Passed)
}

/// Totals over run records.
#[derive(Debug, Default, PartialEq, Eq)]
struct History {
    runs: usize,
    checks: usize,
    hits: usize,
    /// Milliseconds; negative if caching cost more than it saved.
    saved_ms: i64,
    /// Layers built, and uses of existing layers, by checks that ran.
    layers: (usize, usize),
    /// Checks that the Dagger engine had cached although they missed here.
    replayed: usize,
    /// Median and 90th percentile of feedback times, in milliseconds.
    feedback_ms: Option<(u64, u64)>,
    reasons: BTreeMap<MissKind, usize>,
    /// By check: runs, hits, milliseconds saved.
    by_check: BTreeMap<String, (usize, usize, i64)>,
    /// Ids of this project's checks.
    own: BTreeSet<String>,
}

impl History {
    fn of(runs: &[RunRecord], project: &str) -> Self {
        let mut history = Self {
            runs: runs.len(),
            ..Self::default()
        };
        let mut times: Vec<u64> = Vec::new();
        for run in runs {
            history.checks += run.checks.len();
            history.hits += run.hits();
            history.saved_ms += run.saved_ms;
            times.push(run.duration_ms);
            for check in &run.checks {
                if let Some(reason) = check.miss {
                    *history.reasons.entry(reason).or_default() += 1;
                }
                history.layers.0 += usize::try_from(check.layers_built).unwrap_or_default();
                history.layers.1 += usize::try_from(check.layers_there).unwrap_or_default();
                history.replayed += usize::from(check.replayed);
                if run.project == project {
                    history.own.insert(check.id.clone());
                }
                let line = history.by_check.entry(check.id.clone()).or_default();
                line.0 += 1;
                line.1 += usize::from(check.cache.is_hit());
                line.2 += check.saved_ms;
            }
        }
        times.sort_unstable();
        history.feedback_ms = percentile(&times, 50).zip(percentile(&times, 90));
        history
    }

    /// Says what there is, each as a name and a value.
    fn lines(&self, line: &mut impl FnMut(&str, String)) {
        if let Some(rate) = self.hit_rate() {
            line(
                "hit rate",
                format!(
                    "{:.1} % ({} of {} checks)",
                    rate * 100.0,
                    self.hits,
                    self.checks
                ),
            );
            let net = text::signed_duration(self.saved_ms);
            let lost = if self.saved_ms < 0 {
                " (looking up results, and waiting for them, took longer than it saved)"
            } else {
                ""
            };
            line("time saved", format!("{net} net{lost}"));
        }
        if let Some((median, high)) = self.feedback_ms {
            line(
                "feedback time",
                format!(
                    "median {}, 90 % within {}",
                    text::duration(median),
                    text::duration(high)
                ),
            );
        }
        let reasons: Vec<String> = self
            .reasons
            .iter()
            .map(|(kind, number)| format!("{} {number}", word(*kind)))
            .collect();
        if !reasons.is_empty() {
            line("reruns", reasons.join(", "));
        }
        if self.layers != (0, 0) {
            let (built, there) = self.layers;
            let layers = text::count(built, "layer", "layers");
            let times = text::count(there, "time", "times");
            line("layers", format!("{layers} built, reused {times}"));
        }
        if self.replayed > 0 {
            let checks = text::count(self.replayed, "check", "checks");
            line(
                "replayed",
                format!("{checks} that missed here, from the engine's own cache"),
            );
        }
    }

    fn hit_rate(&self) -> Option<f64> {
        (self.checks > 0).then(|| self.hits as f64 / self.checks as f64)
    }
}

/// The smallest value that at least `percent` of all values do not exceed (nearest rank).
fn percentile(sorted: &[u64], percent: usize) -> Option<u64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

fn status_text(
    store: &Store,
    since: Duration,
    history: &History,
    usage: &Usage,
    of_engine: Option<&OfEngine>,
) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(out, "{name:>14}  {value}");
    };
    line("cache", store.base().shown().to_string());
    let runs = text::count(history.runs, "run", "runs");
    line("period", format!("last {}, {runs}", period(since)));
    history.lines(&mut line);
    line("size", size(usage.total));
    for (folder, held) in &usage.folders {
        line(folder, size(*held));
    }
    if let Some(of_engine) = of_engine {
        line("dagger", of_engine.text());
    }
    if !history.by_check.is_empty() {
        out.push_str(&table(history, usage));
    }
    out
}

fn table(history: &History, usage: &Usage) -> String {
    let mut out = format!(
        "\n{:>8} {:>8} {:>10} {:>10}  check\n",
        "runs", "hit rate", "saved", "size"
    );
    for ((_, id), row) in rows(history, usage) {
        let rate = format!("{:.0} %", 100.0 * row.hits as f64 / row.runs as f64);
        let saved = text::signed_duration(row.saved_ms);
        let folders = match row.checks {
            1 => String::new(),
            number => format!("… ({number} folders)"),
        };
        let _ = writeln!(
            out,
            "{:>8} {rate:>8} {saved:>10} {:>10}  {id}{folders}",
            row.runs,
            ByteSize(row.bytes).to_string()
        );
    }
    out
}

/// Before the folder in the ids of kustomize builds.
const BUILD_PREFIX: &str = "kustomize:build:";

/// One line of the table.
#[derive(Default)]
struct Row {
    checks: usize,
    runs: usize,
    hits: usize,
    saved_ms: i64,
    bytes: u64,
}

/// The lines, this project's first; kustomize builds are one line together.
fn rows(history: &History, usage: &Usage) -> BTreeMap<(bool, String), Row> {
    let mut rows: BTreeMap<(bool, String), Row> = BTreeMap::new();
    for (id, (runs, hits, saved_ms)) in &history.by_check {
        let name = if id.starts_with(BUILD_PREFIX) {
            BUILD_PREFIX
        } else {
            id
        };
        let key = (!history.own.contains(id), name.to_owned());
        let row = rows.entry(key).or_default();
        row.checks += 1;
        row.runs += runs;
        row.hits += hits;
        row.saved_ms += saved_ms;
        row.bytes += usage.checks.get(id).copied().unwrap_or_default().bytes;
    }
    rows
}

/// `30 days`, `12 hours`: humantime's format with a space before the unit.
fn period(since: Duration) -> String {
    let mut text = String::new();
    let mut previous = ' ';
    for c in humantime::format_duration(since).to_string().chars() {
        if previous.is_ascii_digit() && c.is_alphabetic() {
            text.push(' ');
        }
        text.push(c);
        previous = c;
    }
    text
}

fn word(kind: MissKind) -> String {
    serde_json::to_value(kind)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}

fn status_json(
    store: &Store,
    since: Duration,
    history: &History,
    usage: &Usage,
    of_engine: Option<&OfEngine>,
) -> Value {
    let sized = |size: &Size| json!({ "files": size.files, "bytes": size.bytes });
    let mut value = json!({
        "reason": "cache-status",
        "format": 1,
        "path": store.base().to_string_lossy().into_owned(),
        "since_ms": u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        "runs": history.runs,
        "checks": history.checks,
        "hits": history.hits,
        "misses": history.checks - history.hits,
        "hit_rate": history.hit_rate(),
        "saved_ms": history.saved_ms,
        "feedback_ms": history.feedback_ms.map(|(median, p90)| json!({ "median": median, "p90": p90 })),
        "layers": { "built": history.layers.0, "there": history.layers.1 },
        "engine_replays": history.replayed,
        "miss_reasons": history.reasons.iter().map(|(kind, number)| (word(*kind), json!(number))).collect::<serde_json::Map<_, _>>(),
        "size": {
            "total": sized(&usage.total),
            "folders": usage.folders.iter().map(|(name, size)| ((*name).to_owned(), sized(size))).collect::<serde_json::Map<_, _>>(),
            "checks": usage.checks.iter().map(|(id, size)| (id.clone(), sized(size))).collect::<serde_json::Map<_, _>>(),
        },
        "by_check": history.by_check.iter().map(|(id, (runs, hits, saved))| {
            (id.clone(), json!({ "runs": runs, "hits": hits, "saved_ms": saved }))
        }).collect::<serde_json::Map<_, _>>(),
    });
    if let Some(of_engine) = of_engine {
        value["dagger"] = of_engine.json();
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Cache, CheckLine, Verdict};

    fn run(duration_ms: u64, caches: &[Cache]) -> RunRecord {
        let check = |cache: &Cache| CheckLine {
            id: "c".into(),
            verdict: Verdict::Passed,
            cache: *cache,
            miss: (*cache == Cache::Miss).then_some(MissKind::New),
            subject: None,
            duration_ms: 0,
            saved_ms: if cache.is_hit() { 10 } else { 0 },
            parts: None,
            engine: None,
            layers_built: 1,
            layers_there: 2,
            replayed: *cache == Cache::Miss,
        };
        RunRecord {
            started_ms: 0,
            duration_ms,
            command: "lint".into(),
            project: "p".into(),
            engine: "local".into(),
            verdict: Verdict::Passed,
            saved_ms: -3,
            checks: caches.iter().map(check).collect(),
        }
    }

    #[test]
    fn history_adds_runs_up() {
        let runs = [
            run(100, &[Cache::Miss]),
            run(10, &[Cache::Hit]),
            run(20, &[Cache::Hit, Cache::Joined]),
        ];
        let history = History::of(&runs, "p");
        assert_eq!((history.runs, history.checks, history.hits), (3, 4, 3));
        assert_eq!(history.saved_ms, -9);
        assert_eq!(history.feedback_ms, Some((20, 100)));
        assert_eq!(history.reasons[&MissKind::New], 1);
        assert_eq!(history.by_check["c"], (4, 3, 30));
        assert_eq!((history.layers, history.replayed), ((4, 8), 1));
    }

    #[test]
    fn this_project_comes_first_and_kustomize_builds_are_one_line() {
        let with = |project: &str, ids: &[&str]| {
            let mut run = run(1, &vec![Cache::Hit; ids.len()]);
            run.project = project.into();
            for (check, id) in run.checks.iter_mut().zip(ids) {
                check.id = (*id).into();
            }
            run
        };
        let runs = [
            with("other", &["a"]),
            with("p", &["z", "kustomize:build:x", "kustomize:build:y"]),
        ];
        let rows = rows(&History::of(&runs, "p"), &Usage::default());
        let ids: Vec<(&str, usize)> = rows
            .iter()
            .map(|((_, id), row)| (id.as_str(), row.checks))
            .collect();
        assert_eq!(ids, [("kustomize:build:", 2), ("z", 1), ("a", 1)]);
    }

    #[test]
    fn no_runs_give_no_rate() {
        let history = History::of(&[], "p");
        assert_eq!(history.hit_rate(), None);
        assert_eq!(history.feedback_ms, None);
    }
}
