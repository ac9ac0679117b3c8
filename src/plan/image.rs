//! Images that containers begin with, and what planning has to know of one.
//!
//! Stays free of where that knowledge comes from: the project's lock, what was remembered, or an engine that is asked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::plan::Layer;

/// An image that a name was resolved to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Image {
    /// As configured, in full: `docker.io/library/python:3.12-slim`; a path for an OCI archive.
    pub(crate) name: String,
    /// `sha256:…`, of the manifest or index.
    pub(crate) digest: String,
    /// `linux/amd64`.
    pub(crate) platform: String,
    /// What there is in it, by the name of the [`Question`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) holds: BTreeMap<String, String>,
}

/// What is asked of every image that containers begin with.
pub(crate) struct Question {
    /// Its name in `dagcache.lock`.
    pub(crate) name: &'static str,
    /// For `sh -eu`. Prints nothing if the image does not have what is asked for.
    pub(crate) script: fn() -> String,
    /// The answer, if a printed line is one.
    pub(crate) answer: fn(&str) -> Option<String>,
}

impl Image {
    /// What an engine is told: the name without its tag, and the digest.
    #[must_use]
    pub(crate) fn reference(&self) -> String {
        let (folder, last) = self.name.rsplit_once('/').unwrap_or(("", &self.name));
        let last = last.split(['@', ':']).next().unwrap_or(last);
        let slash = if folder.is_empty() { "" } else { "/" };
        format!("{folder}{slash}{last}@{}", self.digest)
    }
}

/// Resolves names of images. Answers are remembered, so that asking again costs nothing.
pub(crate) trait Images {
    /// The image of that name, for containers to begin with.
    ///
    /// # Errors
    /// If it cannot be had: the whole message, with the way out.
    fn image(&self, name: &str) -> Result<Image, String>;

    /// The image of that name by its digest, to take a program out of it: it may hold nothing else, so nothing is asked
    /// in it.
    ///
    /// # Errors
    /// As [`Images::image`].
    fn reference(&self, name: &str) -> Result<String, String>;

    /// What a script (for `sh -eu`) prints in a container that stands on these layers, which are a chain. Remembered by
    /// what is in their keys: asked again only once the answer is known to be out of date.
    ///
    /// # Errors
    /// As [`Images::image`].
    fn ask(&self, layers: &[Layer], script: &str) -> Result<String, String>;

    /// The image that `[layers.base]` names, if it does: then every container begins with it.
    fn configured(&self) -> Option<&str>;

    /// System packages that `[layers.base]` wants, sorted.
    fn packages(&self) -> &[String];

    /// Whether `[engine]` wants checks to build on what their last run made.
    fn incremental(&self) -> bool {
        false
    }

    /// Where `[layers.tools]` says that a program comes from.
    fn tool(&self, name: &str) -> Option<&str>;
}

/// Whether the name of an image is the path of an OCI archive.
#[must_use]
pub(crate) fn is_archive(name: &str) -> bool {
    name.starts_with(['.', '/'])
}

/// The name of an image in full, as registries are asked for it: `python:3.12` is `docker.io/library/python:3.12`. The
/// path of an archive stays as it is.
///
/// # Errors
/// If it is neither; says what is wrong with it.
pub(crate) fn full_name(name: &str) -> Result<String, String> {
    if is_archive(name) {
        return Ok(name.to_owned());
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || ".-_/:@".contains(c);
    if name.is_empty() || !name.chars().all(fits) || name.contains("://") {
        return Err("neither the name of an image (`docker.io/library/rust:1.95-slim`) nor the path of an OCI archive (`./base.oci.tar`)".to_owned());
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
        return Err("names no image".to_owned());
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
