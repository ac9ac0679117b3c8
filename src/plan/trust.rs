//! What a repository asks for beyond a closed room, and what of it the user accepted.
//!
//! An answer holds for exactly the content of what asks; any change asks again. Knows no files.

use std::collections::BTreeSet;

use crate::digest::Digest;

/// How to accept.
const WAYS: &str = "accept it with `cargo dagcache trust`; in CI, with --trust or DAGCACHE_TRUST=1";

/// Something that the repository asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ask {
    /// The check; `None` for what concerns no single one.
    pub(crate) check: Option<String>,
    /// Who asks for what, and where: `check `x` asks for `network` (dagcache.toml:1:1)`.
    pub(crate) what: String,
    /// Of everything that the answer covers.
    pub(crate) digest: Digest,
}

impl Ask {
    /// Why something cannot run as long as nobody accepted this, and what to do.
    #[must_use]
    pub(crate) fn refusal(&self) -> String {
        format!("{}, which needs your consent\nhelp: {WAYS}", self.what)
    }
}

/// What the user accepted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trusted {
    /// Whether everything is, for this run.
    pub(crate) all: bool,
    pub(crate) digests: BTreeSet<Digest>,
}

impl Trusted {
    #[must_use]
    pub(crate) fn covers(&self, ask: &Ask) -> bool {
        self.all || self.digests.contains(&ask.digest)
    }
}
