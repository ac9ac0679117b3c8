//! Size of the Dagger engine's cache, for `cache status` and `cache prune --engine`.

use bytesize::ByteSize;
use serde_json::{Value, json};

use crate::session::Project;
use crate::session::choice::Choice;

/// Information about the engine's own cache.
#[derive(Debug)]
pub(super) struct OfEngine {
    address: String,
    usage: Result<Numbers, String>,
}

/// In bytes; a limit of 0 means none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbers {
    pub(super) used: u64,
    max_used: u64,
    reserved: u64,
    min_free: u64,
    target: u64,
}

impl Numbers {
    pub(super) fn json(self) -> Value {
        json!({
            "used_bytes": self.used, "max_used_bytes": self.max_used, "reserved_bytes": self.reserved,
            "min_free_bytes": self.min_free, "target_bytes": self.target,
        })
    }
}

impl OfEngine {
    /// Queries this project's engine, if it is Dagger, with a short time limit.
    pub(super) fn ask(project: &Project<'_>, choice: &Choice) -> Option<Self> {
        let address = choice.dagger.clone()?;
        let usage = usage(project, choice);
        Some(Self { address, usage })
    }

    pub(super) fn text(&self) -> String {
        let address = &self.address;
        match &self.usage {
            Ok(numbers) if numbers.max_used == 0 && numbers.min_free == 0 => {
                format!("{address}: {}, without a limit", ByteSize(numbers.used))
            }
            Ok(numbers) => format!(
                "{address}: {} of at most {}, keeping {} of its disk free",
                ByteSize(numbers.used),
                ByteSize(numbers.max_used),
                ByteSize(numbers.min_free)
            ),
            Err(why) => why.lines().next().unwrap_or_default().to_owned(),
        }
    }

    pub(super) fn json(&self) -> Value {
        let mut value = match &self.usage {
            Ok(numbers) => numbers.json(),
            Err(why) => json!({ "error": why }),
        };
        value["address"] = json!(self.address);
        value
    }
}

#[cfg(all(feature = "dagger", unix))]
mod asked {
    use std::time::Duration;

    use super::Numbers;
    use crate::engine::EngineError;
    use crate::engine::dagger::session::Session;
    use crate::engine::dagger::usage::{self, Usage};
    use crate::session::Project;
    use crate::session::choice::Choice;

    /// Just showing numbers is not worth a long wait.
    const GLANCE: Duration = Duration::from_secs(3);

    const PATIENCE: Duration = Duration::from_secs(60);

    impl From<Usage> for Numbers {
        fn from(usage: Usage) -> Self {
            Self {
                used: usage.used,
                max_used: usage.max_used,
                reserved: usage.reserved,
                min_free: usage.min_free,
                target: usage.target,
            }
        }
    }

    pub(in crate::cli::commands::cache) fn usage(
        project: &Project<'_>,
        choice: &Choice,
    ) -> Result<Numbers, String> {
        with_session(project, choice, GLANCE, async |session| {
            let asked = tokio::time::timeout(GLANCE, Usage::ask(session)).await;
            let asked = asked.map_err(|_| {
                EngineError::Lost("the Dagger engine did not answer in time".to_owned())
            })?;
            Ok(asked?.into())
        })
    }

    pub(in crate::cli::commands::cache) fn pruned(
        project: &Project<'_>,
        choice: &Choice,
        max_bytes: Option<u64>,
    ) -> Result<(Numbers, Numbers), String> {
        with_session(project, choice, PATIENCE, async |session| {
            let (before, after) = usage::prune(session, max_bytes).await?;
            Ok((before.into(), after.into()))
        })
    }

    fn with_session<T>(
        project: &Project<'_>,
        choice: &Choice,
        patience: Duration,
        work: impl AsyncFnOnce(&Session) -> Result<T, EngineError>,
    ) -> Result<T, String> {
        let containers = project
            .containers(choice)
            .ok_or("the Dagger engine is not in use")?;
        let token = project.interrupt.token();
        let ran = project.interrupt.block_on(async {
            let session = containers.open(patience, token).await?;
            let done = work(&session).await;
            session.close().await;
            done
        });
        let ran = ran.map_err(|error| format!("cannot start a thread: {error}"))?;
        ran.map_err(|error: EngineError| error.to_string())
    }
}

#[cfg(all(feature = "dagger", unix))]
pub(super) use asked::pruned;
#[cfg(all(feature = "dagger", unix))]
use asked::usage;

#[cfg(not(all(feature = "dagger", unix)))]
mod not_here {
    use super::{Choice, Numbers, Project};

    const WHY: &str = "this build of cargo-dagcache does not support Dagger";

    pub(in crate::cli::commands::cache) fn usage(
        _: &Project<'_>,
        _: &Choice,
    ) -> Result<Numbers, String> {
        Err(WHY.to_owned())
    }

    pub(in crate::cli::commands::cache) fn pruned(
        _: &Project<'_>,
        _: &Choice,
        _: Option<u64>,
    ) -> Result<(Numbers, Numbers), String> {
        Err(WHY.to_owned())
    }
}

#[cfg(not(all(feature = "dagger", unix)))]
pub(super) use not_here::pruned;
#[cfg(not(all(feature = "dagger", unix)))]
use not_here::usage;
