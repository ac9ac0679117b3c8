//! Size, limits and state of an engine: counts, sizes and one trivial command.
//!
//! Never lists the entries of its cache, which would cost it minutes and gigabytes.

use std::time::{Duration, Instant, SystemTime};

use dagger_sdk::EngineCachePruneOpts;
use dagger_sdk::errors::DaggerError;

use super::failure::Failure;
use super::session::Session;

/// Size and limits of an engine's cache in bytes. A limit of 0 means none; all are 0 if it never deletes anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) used: u64,
    /// It deletes what exceeds this.
    pub(crate) max_used: u64,
    /// It always keeps this much.
    pub(crate) reserved: u64,
    /// It deletes until this much of the disk is free.
    pub(crate) min_free: u64,
    /// The size it prunes down to.
    pub(crate) target: u64,
}

impl Usage {
    pub(crate) async fn ask(session: &Session) -> Result<Self, Failure> {
        let query = session.query();
        let ask = move || {
            let cache = query.engine().local_cache();
            async move {
                let bytes = |number: isize| u64::try_from(number).unwrap_or_default();
                Ok(Self {
                    used: bytes(cache.entry_set().disk_space_bytes().await?),
                    max_used: bytes(cache.max_used_space().await?),
                    reserved: bytes(cache.reserved_space().await?),
                    min_free: bytes(cache.min_free_space().await?),
                    target: bytes(cache.target_space().await?),
                })
            }
        };
        session.run("the usage of the engine", ask).await
    }

    /// Whether the engine prunes automatically.
    #[must_use]
    pub(crate) fn is_bounded(&self) -> bool {
        self.max_used + self.reserved + self.min_free + self.target > 0
    }
}

/// Makes an engine delete what was least recently used, down to `max_bytes` or its own limits.
pub(crate) async fn prune(
    session: &Session,
    max_bytes: Option<u64>,
) -> Result<(Usage, Usage), Failure> {
    let before = Usage::ask(session).await?;
    // Without a bound it would delete everything.
    let bound = max_bytes.map(|bytes| bytes.max(1).to_string());
    let query = session.query();
    let prune = move || {
        let (cache, bound) = (query.engine().local_cache(), bound.clone());
        async move {
            let bound = bound.as_deref();
            let options = EngineCachePruneOpts {
                max_used_space: bound,
                min_free_space: None,
                reserved_space: None,
                target_space: bound,
                use_default_policy: bound.is_none().then_some(true),
            };
            match cache.prune_opts(options).await {
                // It answers with nothing, which the SDK reports as an error.
                Ok(_) | Err(DaggerError::Unpack(_)) => Ok(()),
                Err(error) => Err(error.into()),
            }
        }
    };
    session.run("pruning", prune).await?;
    Ok((before, Usage::ask(session).await?))
}

/// The result of a trivial command in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Probe {
    /// Time from sending the command to its answer.
    pub(crate) took: Duration,
    /// The engine's clock relative to ours, in milliseconds: positive if it is ahead.
    pub(crate) ahead_ms: i64,
    /// Total and free bytes of the disk that containers use.
    pub(crate) disk: Option<(u64, u64)>,
    /// Whether the image has `update-ca-certificates`.
    pub(crate) updates_certificates: bool,
    /// Names of the proxy variables that every command gets.
    pub(crate) proxies: Vec<String>,
}

/// Prints nanoseconds since 1970 (seconds if `date` is no finer), the disk's total and free KiB, and names.
const PROBE: &str = r#"date +%s%N | sed 's/N$//'
df -P -k / 2>/dev/null | awk 'NR==2 {print $2, $4}' || echo
command -v update-ca-certificates || echo -
env | sed -n 's/^\([A-Za-z_]*_[Pp][Rr][Oo][Xx][Yy]\)=.*/\1/p' | sort
"#;

impl Probe {
    /// Runs a trivial command twice in a container of this image and measures the second run.
    pub(crate) async fn ask(session: &Session, image: &str) -> Result<Self, Failure> {
        Self::once(session, image, "1").await?;
        Self::once(session, image, "2").await
    }

    async fn once(session: &Session, image: &str, which: &str) -> Result<Self, Failure> {
        let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let nonce = format!("{which}-{}", now().unwrap_or_default().as_nanos());
        let (query, image) = (session.query(), image.to_owned());
        let ask = move || {
            let container = query
                .container()
                .from(&image)
                .with_env_variable("DAGCACHE_PROBE", &nonce)
                .with_exec(vec!["sh", "-c", PROBE]);
            async move {
                let begun = Instant::now();
                let text = container.stdout().await?;
                Ok((text, begun.elapsed(), now().unwrap_or_default()))
            }
        };
        let (text, took, ended) = session.run("a trivial command", ask).await?;
        Ok(Self::read(&text, took, ended))
    }

    fn read(text: &str, took: Duration, ended: Duration) -> Self {
        let mut lines = text.lines();
        let clock = lines.next().unwrap_or_default();
        let clock_ms = match clock.len() {
            0..=11 => clock.parse::<i64>().map(|seconds| seconds * 1000),
            _ => clock.parse::<i64>().map(|nanos| nanos / 1_000_000),
        };
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        // The clock was read some time between request and answer.
        let (latest, earliest) = (millis(ended), millis(ended.saturating_sub(took)));
        let ahead_ms = clock_ms.map_or(0, |clock| {
            if clock > latest {
                clock - latest
            } else {
                (clock - earliest).min(0)
            }
        });
        let disk = lines.next().unwrap_or_default();
        let kib = disk.split_once(' ').and_then(|(total, free)| {
            Some((total.parse::<u64>().ok()?, free.parse::<u64>().ok()?))
        });
        Self {
            took,
            ahead_ms,
            disk: kib.map(|(total, free)| (total << 10, free << 10)),
            updates_certificates: lines.next().is_some_and(|line| line != "-"),
            proxies: lines.map(str::to_owned).collect(),
        }
    }
}

/// The current meaning of an image reference, `name@sha256:…`. A tag is looked up in the registry.
///
/// # Errors
/// [`Failure::Image`] if it is not available.
pub(crate) async fn resolve(session: &Session, reference: &str) -> Result<String, Failure> {
    let (query, reference) = (session.query(), reference.to_owned());
    let ask = move || {
        let container = query.container().from(&reference);
        async move { Ok(container.image_ref().await?) }
    };
    session.run("an image", ask).await
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_a_probe_says_is_read() {
        let text = "1700000000500000000\n1000 250\n/usr/sbin/update-ca-certificates\nHTTP_PROXY\nno_proxy\n";
        let ended = Duration::from_millis(1_700_000_001_000);
        assert_eq!(
            Probe::read(text, SECOND, ended),
            Probe {
                took: SECOND,
                ahead_ms: 0,
                disk: Some((1_024_000, 256_000)),
                updates_certificates: true,
                proxies: vec!["HTTP_PROXY".into(), "no_proxy".into()],
            }
        );
    }

    #[test]
    fn a_clock_within_the_question_is_right_and_any_other_is_not() {
        let ended = Duration::from_millis(1_700_000_001_000);
        for (clock, expect) in [
            ("1700000003000000000", 2000),
            ("1699999990000000000", -10_000),
            ("1700000003", 2000),
            ("what", 0),
            ("", 0),
        ] {
            let probe = Probe::read(clock, SECOND, ended);
            assert_eq!(probe.ahead_ms, expect, "{clock}");
            assert_eq!((probe.disk, probe.updates_certificates), (None, false));
        }
    }
}
