//! What must not be in a key. In debug builds, turning off a rule adds it, to show that the test "this must not
//! re-run anything" would fail. In other builds the platform stays as it is.
//!
//! Independent of what real keys are made of.

use std::borrow::Cow;
use std::os::unix::fs::MetadataExt;

use crate::digest::Digest;
use crate::rule::Rule;
use crate::run::Session;

/// The engine's platform, plus whatever should not count.
pub(super) fn platform<'a>(session: &Session<'a>) -> Cow<'a, str> {
    let platform = session.engine.platform();
    if !cfg!(debug_assertions) {
        return platform.into();
    }
    let more: Vec<String> = COUNTED
        .iter()
        .filter(|(rule, _)| !rule.holds())
        .map(|(rule, what)| format!(" {}={}", rule.name(), Digest::of(what(session).as_bytes())))
        .collect();
    format!("{platform}{}", more.concat()).into()
}

type What = fn(&Session<'_>) -> String;

const COUNTED: [(Rule, What); 9] = [
    (Rule::NoTimes, |s| each(s, MetadataExt::mtime_nsec)),
    (Rule::NoModes, |s| each(s, |meta| meta.mode().into())),
    (Rule::NoUser, |_| {
        rustix::process::geteuid().as_raw().to_string()
    }),
    (Rule::NoWorkingDirectory, |_| {
        format!("{:?}", std::env::current_dir())
    }),
    (Rule::NoRoot, |s| s.snapshot.root().display().to_string()),
    (Rule::NoOtherEnv, |s| {
        format!("{:?}", s.env.all().collect::<Vec<_>>())
    }),
    (Rule::NoWording, |s| read(s, "dagcache.toml")),
    (Rule::NoOtherFiles, |s| {
        format!("{:?}", s.snapshot.entries())
    }),
    (Rule::NoHistory, |s| read(s, ".git/logs/HEAD")),
];

/// Digest of some metadata of all files.
fn each(session: &Session<'_>, of: impl Fn(&std::fs::Metadata) -> i64) -> String {
    let root = session.snapshot.root();
    let files = session.snapshot.entries().iter();
    let metas = files.filter_map(|file| file.path.under(root).symlink_metadata().ok());
    metas.map(|meta| format!("{} ", of(&meta))).collect()
}

fn read(session: &Session<'_>, path: &str) -> String {
    std::fs::read_to_string(session.snapshot.root().join(path)).unwrap_or_default()
}
