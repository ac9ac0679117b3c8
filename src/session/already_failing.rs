//! Finds the failures of a hook that the previous commit already has.

use crate::event::Silent;
use crate::finding::{Finding, Severity};
use crate::plan::Check;
use crate::record::{CheckRecord, Verdict};
use crate::run::{Caching, Options};
use crate::session::{Files, Project, View};

/// Ids of the failed checks that, according to the store, already failed in the previous commit and have no new
/// findings.
pub(crate) fn already_failing(
    project: &Project<'_>,
    view: &View,
    records: &[CheckRecord],
) -> Vec<String> {
    let failed: Vec<&CheckRecord> = records
        .iter()
        .filter(|record| record.verdict == Verdict::Failed)
        .collect();
    let before = match &project.files {
        _ if failed.is_empty() => None,
        Files::WorkTree => None,
        Files::Staged(staging) => staging.head().map(|head| (staging, head)),
        Files::Commit(staging, commit) => staging.parent(commit).map(|parent| (staging, parent)),
    };
    let Some((staging, commit)) = before else {
        return Vec::new();
    };
    let files = Files::Commit(staging.clone(), commit);
    // A commit that cannot be planned reveals nothing about its failures.
    let Ok(before) = project.look_at(&files) else {
        return Vec::new();
    };
    let checks: Vec<&Check> = failed
        .iter()
        .filter_map(|record| before.plan.check(&record.id))
        .filter(|check| view.plan.check(&check.id).is_some())
        .collect();
    let known = project
        .run(&before, &checks, Options::beside(Caching::Only), &Silent)
        .records;
    failed
        .iter()
        .filter(|now| known.iter().any(|before| is_old(now, before)))
        .map(|now| now.id.clone())
        .collect()
}

/// Whether a failure comes from the previous commit: its content is the same, or every finding was found there,
/// though perhaps elsewhere. If a check has no findings, other content means another failure.
fn is_old(now: &CheckRecord, before: &CheckRecord) -> bool {
    if now.id != before.id || before.verdict != Verdict::Failed {
        return false;
    }
    if now.key.is_some() && now.key == before.key {
        return true;
    }
    let errors = |record: &CheckRecord| {
        let all = record.findings.iter();
        let all = all.filter(|finding| finding.severity == Severity::Error);
        let mut all: Vec<_> = all.map(content).collect();
        all.sort();
        all
    };
    let (found, mut old) = (errors(now), errors(before).into_iter());
    !found.is_empty()
        && found
            .iter()
            .all(|finding| old.any(|other| other == *finding))
}

fn content(finding: &Finding) -> (String, String, String) {
    let path = finding.path.as_ref().map(|path| path.as_str().to_owned());
    let code = finding.code.clone();
    let message = finding.message.clone();
    (path.unwrap_or_default(), code.unwrap_or_default(), message)
}

/// The verdict on a commit: whether old failures count depends on the configuration.
pub(crate) fn verdict(view: &View, records: &[CheckRecord], known: &[String]) -> Verdict {
    let warns = view.loaded.config.hook.warns;
    let counts = |record: &&CheckRecord| !(warns && known.contains(&record.id));
    let all = records.iter().filter(counts).map(|record| record.verdict);
    let worst = all.max().unwrap_or(Verdict::Passed);
    let ran = records
        .iter()
        .any(|record| record.verdict != Verdict::Skipped);
    match worst {
        Verdict::Skipped if ran => Verdict::Passed,
        other => other,
    }
}
