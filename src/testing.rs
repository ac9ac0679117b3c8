//! What unit tests share: damage for property tests (bytes that are nearly right, which come further into a parser than
//! arbitrary ones), images that no registry has, and the word for a test that cannot be run here.

pub(crate) mod project;

use proptest::prelude::*;
use proptest::sample::Index;

use crate::path::RelPath;
use crate::plan::Output;

/// A path of the project.
pub(crate) fn rel(text: &str) -> RelPath {
    RelPath::new(text).unwrap_or_else(|error| panic!("{error}"))
}

/// What a process said on standard output.
pub(crate) fn output(exit_code: i32, stdout: &str) -> Output {
    Output {
        exit_code,
        stdout: stdout.to_owned(),
        stderr: String::new(),
    }
}

/// Says visibly, past the test runner's capture, that a test is skipped and why.
pub(crate) fn skip(why: &str) {
    use std::io::Write as _;
    let test = std::thread::current().name().unwrap_or("test").to_owned();
    let _ = writeln!(std::io::stderr(), "skipped: {test}: {why}");
}

/// One piece of damage.
#[derive(Debug, Clone)]
enum Damage {
    /// Other bits in one byte.
    Flip(Index, u8),
    /// Nothing from here on.
    Cut(Index),
    /// Nothing between two places.
    Drop(Index, Index),
    /// What is between two places once more, at a third.
    Again(Index, Index, Index),
    Insert(Index, Vec<u8>),
}

/// `sample`, damaged in one to four ways.
pub(crate) fn damaged(sample: &[u8]) -> impl Strategy<Value = Vec<u8>> {
    let sample = sample.to_vec();
    prop::collection::vec(damage(), 1..5).prop_map(move |all| {
        let mut bytes = sample.clone();
        for one in &all {
            one.apply(&mut bytes);
        }
        bytes
    })
}

/// As [`damaged`], as text.
pub(crate) fn damaged_text(sample: &str) -> impl Strategy<Value = String> {
    damaged(sample.as_bytes()).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<Index>;
    let bytes = prop::collection::vec(any::<u8>(), 0..9);
    prop_oneof![
        (at(), 1..=u8::MAX).prop_map(|(at, bits)| Damage::Flip(at, bits)),
        at().prop_map(Damage::Cut),
        (at(), at()).prop_map(|(from, to)| Damage::Drop(from, to)),
        (at(), at(), at()).prop_map(|(from, to, at)| Damage::Again(from, to, at)),
        (at(), bytes).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
    ]
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let place = |index: &Index| index.index(bytes.len() + 1);
        let between = |a: &Index, b: &Index| place(a).min(place(b))..place(a).max(place(b));
        match self {
            Self::Flip(at, bits) => {
                let at = place(at);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= bits;
                }
            }
            Self::Cut(at) => {
                let at = place(at);
                bytes.truncate(at);
            }
            Self::Drop(from, to) => {
                let range = between(from, to);
                bytes.drain(range);
            }
            Self::Again(from, to, at) => {
                let more = bytes[between(from, to)].to_vec();
                let at = place(at);
                bytes.splice(at..at, more);
            }
            Self::Insert(at, more) => {
                let at = place(at);
                bytes.splice(at..at, more.iter().copied());
            }
        }
    }
}

/// Images as a lock with digests for all of them would have it.
#[derive(Debug, Clone, Default)]
pub(crate) struct FakeImages {
    pub(crate) configured: Option<String>,
    pub(crate) packages: Vec<String>,
    pub(crate) incremental: bool,
    pub(crate) tools: std::collections::BTreeMap<String, String>,
    /// Goes into all digests.
    pub(crate) salt: String,
    /// The version of the Python in all of them.
    pub(crate) python: Option<String>,
    /// What `rustc -V` says in all of them.
    pub(crate) rust: Option<String>,
    pub(crate) installed: String,
}

impl FakeImages {
    pub(crate) fn with_python(version: &str) -> Self {
        Self {
            python: Some(version.to_owned()),
            ..Self::default()
        }
    }

    fn digest(&self, name: &str) -> String {
        let digest = crate::digest::Digest::of(format!("{name} {}", self.salt).as_bytes());
        format!("sha256:{digest}")
    }

    fn python(&self) -> Option<String> {
        let version = self.python.as_deref()?;
        let minor = version.rsplit_once('.').map_or(version, |(minor, _)| minor);
        Some(format!(
            r#"{{"executable":"/usr/local/bin/python3","implementation":"CPython","version":"{version}","platform":"linux-x86_64 glibc 2.36","path":[],"library":null,"markers":{{"python_version":"{minor}","python_full_version":"{version}","sys_platform":"linux","platform_system":"Linux","platform_python_implementation":"CPython","os_name":"posix"}}}}"#
        ))
    }
}

impl crate::plan::Images for FakeImages {
    fn image(&self, name: &str) -> Result<crate::plan::Image, String> {
        if name.contains("absent") {
            return Err(format!("no image {name}"));
        }
        Ok(crate::plan::Image {
            name: name.to_owned(),
            digest: self.digest(name),
            platform: "linux/amd64".to_owned(),
            holds: [("python", self.python()), ("rust", self.rust.clone())]
                .into_iter()
                .filter_map(|(name, answer)| Some((name.to_owned(), answer?)))
                .collect(),
        })
    }

    fn reference(&self, name: &str) -> Result<String, String> {
        self.image(name).map(|image| image.reference())
    }

    fn ask(&self, layers: &[crate::plan::Layer], _: &str) -> Result<String, String> {
        assert!(!layers.is_empty());
        Ok(self.installed.clone())
    }

    fn configured(&self) -> Option<&str> {
        self.configured.as_deref()
    }

    fn packages(&self) -> &[String] {
        &self.packages
    }

    fn incremental(&self) -> bool {
        self.incremental
    }

    fn tool(&self, name: &str) -> Option<&str> {
        self.tools.get(name).map(String::as_str)
    }
}
