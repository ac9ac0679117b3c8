//! The host's `dagger` command, and the supported versions of it and of engines.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::engine::EngineError;
use crate::env::{self, Env};
use crate::process::{Ended, Launch, Limits};
use crate::tool::launcher::{Asker, Leads, follow};
use crate::visible::Shown as _;

/// Time limit for `dagger version`.
const PATIENCE: Duration = Duration::from_secs(30);

/// The first version that has `withVolatileVariable`, and the first that is not known to work.
const FIRST: [u64; 3] = [0, 21, 4];
const NEXT: [u64; 3] = [0, 22, 0];

/// A supported `dagger` command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    path: PathBuf,
    version: Option<Version>,
}

impl Program {
    /// The first `dagger` on the user's PATH. Its version is memoised by its content.
    ///
    /// # Errors
    /// [`EngineError::Lost`] if there is none or its version is not supported.
    pub(crate) async fn find(
        asker: &Asker<'_>,
        cancel: &CancellationToken,
    ) -> Result<Self, EngineError> {
        let found = asker.tools.find("dagger").ok_or_else(|| {
            EngineError::Lost(
                "`dagger` is not on PATH; see https://docs.dagger.io/install".to_owned(),
            )
        })?;
        let (path, digest) = match follow(asker, &found) {
            Leads::Itself => (found.path, Some(found.digest)),
            Leads::To(real) => (real.path, Some(real.digest)),
            Leads::OfToolchain | Leads::Unknown(_) => (found.path, None),
        };
        // A script may start different versions at different times.
        let digest = digest.filter(|_| !is_script(&path));
        let remember = |digest, answer: Option<String>| {
            let derive = || answer.ok_or(());
            asker
                .facts
                .derive::<String, ()>("dagger-version/1", digest, derive)
        };
        let known = digest.and_then(|digest| remember(digest, None).ok());
        let text = match known {
            Some(text) => text,
            None => {
                let text = ask(&path, asker.env, cancel).await?;
                if let Some(digest) = digest {
                    let _ = remember(digest, Some(text.clone()));
                }
                text
            }
        };
        Self::of(path, &text)
    }

    /// The program at `path`, with this output of `dagger version`.
    ///
    /// # Errors
    /// [`EngineError::Lost`] if its version is not supported.
    pub(crate) fn of(path: PathBuf, said: &str) -> Result<Self, EngineError> {
        let version = Version::of_program(said)
            .map_err(|said| refused(&format!("{}", path.shown()), &said))?;
        if let Some(version) = version.as_ref().filter(|version| !version.is_supported()) {
            return Err(refused(&format!("{}", path.shown()), &version.text));
        }
        Ok(Self { path, version })
    }

    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// `None` if it reports no version, like an unofficial build.
    #[must_use]
    pub(crate) fn version(&self) -> Option<&str> {
        self.version.as_ref().map(|version| version.text.as_str())
    }
}

fn is_script(path: &Path) -> bool {
    crate::fs::head(path, 2).map_or(true, |head| head.len() < 2 || head == b"#!")
}

/// The output of `dagger version`.
async fn ask(path: &Path, env: &Env, cancel: &CancellationToken) -> Result<String, EngineError> {
    let mut all: Vec<_> = env.all().map(|(n, v)| (n.clone(), v.clone())).collect();
    for (name, value) in QUIET {
        all.push((name.into(), value.into()));
    }
    let launch = Launch {
        program: path,
        args: &["version".to_owned()],
        dir: Path::new("/"),
        env: &all,
        confined: None,
    };
    let limits = Limits {
        timeout: Some(patience_of(env).unwrap_or(PATIENCE)),
        grace: Duration::from_millis(500),
        output: 64 << 10,
    };
    let failed = |why: String| EngineError::Lost(format!("`{} version` {why}", path.shown()));
    let ran = crate::process::run(&launch, &limits, cancel, None)
        .await
        .map_err(|error| failed(format!("could not be started: {error}")))?;
    match ran.ended {
        Ended::Exit(0) => Ok(String::from_utf8_lossy(&ran.stdout).trim().to_owned()),
        Ended::Cancelled => Err(EngineError::Cancelled),
        ended => {
            let said = ran.tail();
            let ended = crate::engine::describe(ended);
            Err(failed(format!("{ended}\n{said}").trim_end().to_owned()))
        }
    }
}

/// Keeps `dagger` from querying the network about itself.
pub(super) const QUIET: [(&str, &str); 3] = [
    ("DAGGER_NO_UPDATE_CHECK", "1"),
    ("DO_NOT_TRACK", "1"),
    ("NOTHANKS", "1"),
];

/// Rejects an engine of an unsupported version.
///
/// # Errors
/// [`EngineError::Lost`] if it is not supported.
pub(super) fn check_engine(said: &str) -> Result<(), EngineError> {
    match Version::parse(said) {
        Ok(None) => Ok(()),
        Ok(Some(version)) if version.is_supported() => Ok(()),
        _ => Err(refused("the Dagger engine", said)),
    }
}

fn refused(what: &str, version: &str) -> EngineError {
    EngineError::Lost(format!(
        "{what} is version {version}, which is not supported\nhelp: install Dagger 0.21.4 or a later 0.21"
    ))
}

/// `v0.21.8`, or the version of a development build.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    text: String,
    /// Major, minor and patch.
    numbers: [u64; 3],
}

impl Version {
    /// Parses `dagger v0.21.8 (image://registry.dagger.io/engine:v0.21.8) linux/amd64`.
    fn of_program(said: &str) -> Result<Option<Self>, String> {
        let after = said.lines().find_map(|line| line.strip_prefix("dagger "));
        let after = after.ok_or_else(|| said.to_owned())?;
        let word = after.split([' ', '(']).next().unwrap_or_default();
        Self::parse(word)
    }

    /// `None` if the text is empty.
    fn parse(text: &str) -> Result<Option<Self>, String> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let plain = text.strip_prefix('v').unwrap_or(text);
        let core = plain.split(['-', '+']).next().unwrap_or_default();
        let numbers: Result<Vec<u64>, _> = core.split('.').map(str::parse).collect();
        match numbers.ok().and_then(|numbers| numbers.try_into().ok()) {
            Some(numbers) => Ok(Some(Self {
                text: text.to_owned(),
                numbers,
            })),
            None => Err(text.to_owned()),
        }
    }

    /// Whether it is 0.21, with the variables that are in no key.
    fn is_supported(&self) -> bool {
        (FIRST..NEXT).contains(&self.numbers)
    }
}

/// How long the user wants an engine to be waited for.
pub(super) fn patience_of(env: &Env) -> Option<Duration> {
    // What is no duration was refused when the engine was chosen.
    humantime::parse_duration(env.var(env::DAGCACHE_DAGGER_TIMEOUT)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(version: &str) -> Result<Option<String>, String> {
        let text = format!("dagger {version} (image://registry.dagger.io/engine:x) linux/amd64");
        let program = Program::of("/bin/dagger".into(), &text);
        program
            .map(|program| program.version().map(str::to_owned))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn versions_from_0_21_4_on_are_taken() {
        for version in ["v0.21.4", "v0.21.11", "v0.21.9-260101-dev-abc"] {
            assert_eq!(said(version), Ok(Some(version.to_owned())));
            check_engine(version).unwrap();
        }
        assert_eq!(said(""), Ok(None));
        check_engine("").unwrap();
    }

    #[test]
    fn others_are_refused_with_a_way_out() {
        for version in [
            "v0.19.0",
            "v0.21.3",
            "v0.22.0",
            "v1.0.0-beta.23",
            "v0.x",
            "devel",
        ] {
            let error = said(version).unwrap_err();
            assert!(
                error.contains(version) && error.contains("install Dagger 0.21.4"),
                "{error}"
            );
            check_engine(version).unwrap_err();
        }
    }
}
