//! Container images, and what planning has to know about them.
//!
//! Does not know where this knowledge comes from: the lock, a memo, or a query to the engine.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::plan::Layer;

/// The image that a name resolves to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Image {
    /// The full configured name (`docker.io/library/python:3.12-slim`), or the path of an OCI archive.
    pub(crate) name: String,
    /// `sha256:…` of the manifest or index.
    pub(crate) digest: String,
    /// `linux/amd64`.
    pub(crate) platform: String,
    /// Answers by [`Question::name`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) holds: BTreeMap<String, String>,
}

/// A question about every image that containers are based on.
pub(crate) struct Question {
    /// Its key in `dagcache.lock`.
    pub(crate) name: &'static str,
    /// For `sh -eu`. Prints nothing if the image has no answer.
    pub(crate) script: fn() -> String,
    /// Parses a printed line; `None` if it is not an answer.
    pub(crate) answer: fn(&str) -> Option<String>,
}

impl Image {
    /// The reference for engines: the name without its tag, and the digest.
    #[must_use]
    pub(crate) fn reference(&self) -> String {
        let (folder, last) = self.name.rsplit_once('/').unwrap_or(("", &self.name));
        let last = last.split(['@', ':']).next().unwrap_or(last);
        let slash = if folder.is_empty() { "" } else { "/" };
        format!("{folder}{slash}{last}@{}", self.digest)
    }
}

/// Resolves image names. Answers are memoised.
pub(crate) trait Images {
    /// The image of this name, as a base for containers.
    fn image(&self, name: &str) -> Result<Image, String>;

    /// The reference by digest of an image that only supplies a program. It may contain nothing else, so nothing is
    /// run in it.
    fn reference(&self, name: &str) -> Result<String, String>;

    /// The output of a script (for `sh -eu`) in a container on this chain of layers. Memoised by the layers' keys:
    /// the script runs again only once the answer is known to be outdated.
    fn ask(&self, layers: &[Layer], script: &str) -> Result<String, String>;

    /// The image of `[layers.base]`, which every container is then based on.
    fn configured(&self) -> Option<&str>;

    /// System packages of `[layers.base]`, sorted.
    fn packages(&self) -> &[String];

    /// Whether `[engine]` lets checks build on products of their last run.
    fn incremental(&self) -> bool {
        false
    }

    /// Where a program comes from according to `[layers.tools]`.
    fn tool(&self, name: &str) -> Option<&str>;
}

/// Whether an image name is the path of an OCI archive.
#[must_use]
pub(crate) fn is_archive(name: &str) -> bool {
    name.starts_with(['.', '/'])
}

/// The full name that registries understand: `python:3.12` becomes `docker.io/library/python:3.12`. The path of an
/// archive stays the same.
pub(crate) fn full_name(name: &str) -> Result<String, String> {
    if is_archive(name) {
        return Ok(name.to_owned());
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || ".-_/:@".contains(c);
    if name.is_empty() || !name.chars().all(fits) || name.contains("://") {
        return Err("not an image name (`docker.io/library/rust:1.95-slim`) or the path of an OCI archive (`./base.oci.tar`)".to_owned());
    }
    let (first, rest) = name.split_once('/').unwrap_or(("", name));
    let is_host = first.contains(['.', ':']) || first == "localhost";
    let full = match (is_host, first) {
        (true, _) => name.to_owned(),
        (false, "") => format!("docker.io/library/{name}"),
        (false, _) => format!("docker.io/{name}"),
    };
    let last = rest.rsplit('/').next().unwrap_or_default();
    if last.is_empty() || last.starts_with([':', '@']) {
        return Err("does not name an image".to_owned());
    }
    let tagged = last.contains([':', '@']);
    Ok(if tagged {
        full
    } else {
        format!("{full}:latest")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_the_name_without_its_tag_and_the_digest() {
        for (name, expect) in [
            (
                "docker.io/library/rust:1.95-slim",
                "docker.io/library/rust@sha256:1",
            ),
            ("localhost:5000/a/b", "localhost:5000/a/b@sha256:1"),
            (
                "localhost:5000/a/b:x@sha256:2",
                "localhost:5000/a/b@sha256:1",
            ),
        ] {
            let image = Image {
                name: name.to_owned(),
                digest: "sha256:1".to_owned(),
                platform: "linux/amd64".to_owned(),
                holds: BTreeMap::new(),
            };
            assert_eq!(image.reference(), expect);
        }
    }

    #[test]
    fn names_are_kept_in_full() {
        for (name, expect) in [
            ("python", "docker.io/library/python:latest"),
            ("python:3.12-slim", "docker.io/library/python:3.12-slim"),
            ("acme/ci:2", "docker.io/acme/ci:2"),
            ("ghcr.io/acme/ci:2", "ghcr.io/acme/ci:2"),
            ("localhost:5000/ci", "localhost:5000/ci:latest"),
            ("ci@sha256:1", "docker.io/library/ci@sha256:1"),
            ("./base.tar", "./base.tar"),
            ("/srv/base.tar", "/srv/base.tar"),
        ] {
            assert_eq!(full_name(name).as_deref(), Ok(expect), "{name}");
        }
        for name in ["", "a b", "https://ghcr.io/a", "ghcr.io/", "a/:x"] {
            assert!(full_name(name).is_err(), "{name}");
        }
    }
}
