//! The text of `dagcache.lock`.
//!
//! ```toml
//! version = 1
//!
//! [[image]]
//! name = "docker.io/library/python:3.11-slim"
//! digest = "sha256:…"
//! platform = "linux/amd64"
//! python = '{"executable":"/usr/local/bin/python3",…}'
//! ```
//!
//! Entries are sorted by name and platform, so that the same images give the same text. Anything unexpected is an
//! error, because a partly read lock would pin only some images.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use crate::ecosystem::QUESTIONS;
use crate::finding::position;
use crate::fs::{FsError, write_shared};
use crate::plan::Image;
use crate::plan::image::{full_name, is_archive};
use crate::snapshot::Snapshot;

/// At the root of the project.
pub(crate) const NAME: &str = "dagcache.lock";

const VERSION: i64 = 1;

const HEADER: &str =
    "# The images that containers are based on. Written by `cargo dagcache lock`; do not edit.\n";

/// The pinned images.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lock {
    images: Vec<Image>,
}

/// The text is not a valid lock. Exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{message}\n  --> {NAME}:{line}:{column}\nhelp: {help}")]
pub(crate) struct LockError {
    pub(crate) message: String,
    pub(crate) line: usize,
    /// In characters, from 1.
    pub(crate) column: usize,
    help: &'static str,
}

const WRITE_ANEW: &str = "delete the file and run `cargo dagcache lock` to write a new one";
const NEWER: &str = "use the newer cargo-dagcache that wrote it";

#[derive(Deserialize)]
struct Head {
    version: Spanned<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "version")]
    _version: i64,
    #[serde(default)]
    image: Vec<Spanned<Entry>>,
}

/// The fields of an image: those of every image, and answers to questions.
type Entry = BTreeMap<String, Spanned<String>>;

impl Lock {
    #[must_use]
    pub(crate) fn new(mut images: Vec<Image>) -> Self {
        images.sort_by(|a, b| key(a).cmp(&key(b)));
        images.dedup_by(|a, b| key(a) == key(b));
        Self { images }
    }

    /// The lock of a project; empty if it has none.
    pub(crate) fn of(snapshot: &Snapshot) -> Result<Self, String> {
        let Some(id) = snapshot.find(NAME) else {
            return Ok(Self::default());
        };
        let bytes = snapshot
            .read(id)
            .map_err(|error| format!("cannot read {NAME}: {error}"))?;
        Self::parse(&String::from_utf8_lossy(&bytes)).map_err(|error| error.to_string())
    }

    /// Sorted by name and platform.
    #[must_use]
    pub(crate) fn images(&self) -> &[Image] {
        &self.images
    }

    #[must_use]
    pub(crate) fn find(&self, name: &str, platform: &str) -> Option<&Image> {
        let mut images = self.images.iter();
        images.find(|image| key(image) == (name, platform))
    }

    pub(crate) fn parse(text: &str) -> Result<Self, LockError> {
        let refused = |error: &toml::de::Error| {
            at(text, error.span(), error.message().to_owned(), WRITE_ANEW)
        };
        let head: Head = lenient(text).map_err(|error| refused(&error))?;
        if *head.version.get_ref() != VERSION {
            let message = format!("unsupported lock version {}", head.version.get_ref());
            return Err(at(text, Some(head.version.span()), message, NEWER));
        }
        let file: File = toml::from_str(text).map_err(|error| refused(&error))?;
        let mut seen = BTreeSet::new();
        let mut images = Vec::with_capacity(file.image.len());
        for entry in file.image {
            let span = entry.span();
            let image = checked(entry)
                .map_err(|(span, message)| at(text, Some(span), message, WRITE_ANEW))?;
            if !seen.insert((image.name.clone(), image.platform.clone())) {
                let message = format!("`{}` is pinned twice", image.name);
                return Err(at(text, Some(span), message, WRITE_ANEW));
            }
            images.push(image);
        }
        Ok(Self::new(images))
    }

    /// Equal locks have equal text.
    #[must_use]
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{HEADER}version = {VERSION}\n");
        for image in &self.images {
            text.push_str("\n[[image]]\n");
            let fields = [
                ("name", &image.name),
                ("digest", &image.digest),
                ("platform", &image.platform),
            ];
            let answers = image.holds.iter();
            let answers = answers.map(|(name, value)| (name.as_str(), value));
            for (name, value) in fields.into_iter().chain(answers) {
                let value = toml::Value::String(value.clone());
                text.push_str(&format!("{name} = {value}\n"));
            }
        }
        text
    }

    /// Atomically writes the lock to the project at `root`.
    pub(crate) fn write(&self, root: &Path) -> Result<(), FsError> {
        write_shared(&root.join(NAME), self.text().as_bytes())
    }
}

fn key(image: &Image) -> (&str, &str) {
    (&image.name, &image.platform)
}

/// The head of a lock of any version.
fn lenient(text: &str) -> Result<Head, toml::de::Error> {
    toml::from_str(text)
}

fn checked(entry: Spanned<Entry>) -> Result<Image, (Range<usize>, String)> {
    let whole = entry.span();
    let mut entry = entry.into_inner();
    let known = |name: &str| {
        ["name", "digest", "platform"].contains(&name)
            || QUESTIONS.iter().any(|question| question.name == name)
    };
    if let Some((name, value)) = entry.iter().find(|(name, _)| !known(name)) {
        return Err((value.span(), format!("unknown field `{name}`")));
    }
    let mut field = |name: &str| {
        let value = entry.remove(name);
        value.ok_or_else(|| (whole.clone(), format!("missing field `{name}`")))
    };
    let (name, digest, platform) = (field("name")?, field("digest")?, field("platform")?);
    let refused = |value: &Spanned<String>, what| {
        let message = format!("`{}` is not {what}", value.get_ref());
        (value.span(), message)
    };
    if is_archive(name.get_ref()) || full_name(name.get_ref()).as_ref() != Ok(name.get_ref()) {
        return Err(refused(&name, "the full name of an image"));
    }
    if !is_digest(digest.get_ref()) {
        return Err(refused(&digest, "a digest"));
    }
    if !is_platform(platform.get_ref()) {
        return Err(refused(&platform, "a platform (`linux/amd64`)"));
    }
    let holds = entry.into_iter();
    Ok(Image {
        name: name.into_inner(),
        digest: digest.into_inner(),
        platform: platform.into_inner(),
        holds: holds
            .map(|(name, value)| (name, value.into_inner()))
            .collect(),
    })
}

/// Whether a text is `sha256:` and 64 lower-case hexadecimal digits.
#[must_use]
pub(crate) fn is_digest(text: &str) -> bool {
    let hex = |c: char| matches!(c, '0'..='9' | 'a'..='f');
    text.strip_prefix("sha256:")
        .is_some_and(|digits| digits.len() == 64 && digits.chars().all(hex))
}

fn is_platform(text: &str) -> bool {
    let word = |part: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        !part.is_empty() && part.chars().all(fits)
    };
    let parts = text.split('/');
    (2..=3).contains(&parts.clone().count()) && parts.into_iter().all(word)
}

fn at(text: &str, span: Option<Range<usize>>, message: String, help: &'static str) -> LockError {
    let (line, column) = position(text.as_bytes(), span.map_or(0, |span| span.start));
    LockError {
        message: message.trim_end().to_owned(),
        line,
        column,
        help,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn image(name: &str, platform: &str) -> Image {
        Image {
            name: name.to_owned(),
            digest: format!("sha256:{}", "0a".repeat(32)),
            platform: platform.to_owned(),
            holds: BTreeMap::new(),
        }
    }

    fn holds(name: &str, answer: &str) -> BTreeMap<String, String> {
        [(name.to_owned(), answer.to_owned())].into()
    }

    fn sample() -> Lock {
        Lock::new(vec![
            Image {
                holds: holds("python", r#"{"version":"3.11.9","it's":1}"#),
                ..image("docker.io/library/python:3.11-slim", "linux/amd64")
            },
            Image {
                holds: holds("rust", "rustc 1.95.0 (x 2026-04-01)"),
                ..image("docker.io/library/rust:1.95-slim", "linux/arm64/v8")
            },
            image("docker.io/library/debian:bookworm-slim", "linux/amd64"),
        ])
    }

    #[test]
    fn the_text_is_stable() {
        let zeros = "0a".repeat(32);
        assert_eq!(
            sample().text(),
            format!(
                r#"# The images that containers are based on. Written by `cargo dagcache lock`; do not edit.
version = 1

[[image]]
name = "docker.io/library/debian:bookworm-slim"
digest = "sha256:{zeros}"
platform = "linux/amd64"

[[image]]
name = "docker.io/library/python:3.11-slim"
digest = "sha256:{zeros}"
platform = "linux/amd64"
python = """{{"version":"3.11.9","it's":1}}"""

[[image]]
name = "docker.io/library/rust:1.95-slim"
digest = "sha256:{zeros}"
platform = "linux/arm64/v8"
rust = "rustc 1.95.0 (x 2026-04-01)"
"#
            )
        );
    }

    #[test]
    fn what_is_written_is_read() {
        for lock in [sample(), Lock::default()] {
            assert_eq!(Lock::parse(&lock.text()).expect("a lock"), lock);
        }
        let commented = format!("# mine\n{}", sample().text());
        assert_eq!(Lock::parse(&commented).expect("a lock"), sample());
        let lock = sample();
        let found = lock.find("docker.io/library/rust:1.95-slim", "linux/arm64/v8");
        assert!(found.is_some());
        assert_eq!(
            lock.find("docker.io/library/rust:1.95-slim", "linux/amd64"),
            None
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let text = sample().text();
        let damage = |from: &str, to: &str| {
            let damaged = text.replacen(from, to, 1);
            assert_ne!(damaged, text, "{from}");
            let error = Lock::parse(&damaged).expect_err(to).to_string();
            assert!(error.contains("help: "), "{error}");
            error
        };
        for (from, to, expect) in [
            (
                "version = 1",
                "version = 2",
                "unsupported lock version 2\n  --> dagcache.lock:2:11\nhelp: use the newer",
            ),
            ("version = 1", "", "missing field `version`"),
            (
                "digest = \"sha256:0a",
                "digest = \"sha256:0g",
                "is not a digest\n  --> dagcache.lock:6:10",
            ),
            (
                "digest = \"sha256:0a",
                "digest = \"sha256:0",
                "is not a digest",
            ),
            (
                "linux/amd64",
                "linux",
                "is not a platform (`linux/amd64`)\n  --> dagcache.lock:7:12",
            ),
            (
                "docker.io/library/debian",
                "debian",
                "`debian:bookworm-slim` is not the full name of an image\n  --> dagcache.lock:5:8",
            ),
            (
                "docker.io/library/debian:bookworm-slim",
                "./x.tar",
                "`./x.tar` is not the full name",
            ),
            ("platform", "platfrom", "unknown field `platfrom`"),
            ("version = 1", "version = 1\nx = 1", "unknown field `x`"),
            ("name", "[[", "dagcache.lock:5:"),
        ] {
            let error = damage(from, to);
            assert!(error.contains(expect), "{to}: {error}");
        }
        let twice = format!("{text}{}", text.split_once("\n\n").expect("entries").1);
        let error = Lock::parse(&twice).expect_err("twice").to_string();
        assert!(error.contains("is pinned twice"), "{error}");
    }

    proptest! {
        #[test]
        fn damaged_locks_never_panic_and_what_is_accepted_is_stable(text in crate::testing::damaged_text(&sample().text())) {
            if let Ok(lock) = Lock::parse(&text) {
                prop_assert_eq!(Lock::parse(&lock.text()).expect("its own text"), lock);
            }
        }

        #[test]
        fn arbitrary_text_never_panics(text in "(version|image|=|1|\\[|\\]|\"|name|\\PC|\n){0,40}") {
            let _ = Lock::parse(&text);
        }

        #[test]
        fn any_answer_survives(python in any::<String>(), rust in any::<Option<String>>()) {
            let mut holds = holds("python", &python);
            holds.extend(rust.map(|rust| ("rust".to_owned(), rust)));
            let image = Image { holds, ..image("localhost:5000/a:1", "linux/amd64") };
            let lock = Lock::new(vec![image]);
            prop_assert_eq!(Lock::parse(&lock.text()).expect("its own text"), lock);
        }
    }
}
