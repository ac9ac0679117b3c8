//! Images that containers begin with, and what planning has to know of one.
//!
//! Stays free of where that knowledge comes from: the project's lock, what was remembered, or an engine that is asked.

use serde::{Deserialize, Serialize};

/// An image that a name was resolved to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// As configured, in full: `docker.io/library/python:3.12-slim`; a path for an OCI archive.
    pub name: String,
    /// `sha256:…`, of the manifest or index.
    pub digest: String,
    /// `linux/amd64`.
    pub platform: String,
    /// The Python in it, if there is one, as it answers `ecosystem::python::interpreter` (JSON).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub python: Option<String>,
    /// What `rustc -V` says in it, if it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rust: Option<String>,
}

impl Image {
    /// What an engine is told: the name without its tag, and the digest.
    #[must_use]
    pub fn reference(&self) -> String {
        let (folder, last) = self.name.rsplit_once('/').unwrap_or(("", &self.name));
        let last = last.split(['@', ':']).next().unwrap_or(last);
        let slash = if folder.is_empty() { "" } else { "/" };
        format!("{folder}{slash}{last}@{}", self.digest)
    }
}

/// Resolves names of images. Answers are remembered, so that asking again costs nothing.
pub trait Images {
    /// The image of that name.
    ///
    /// # Errors
    /// If it cannot be had: the whole message, with the way out.
    fn image(&self, name: &str) -> Result<Image, String>;

    /// The image that `[layers.base]` names, if it does: then every container begins with it.
    fn configured(&self) -> Option<&str>;

    /// System packages that `[layers.base]` wants, sorted.
    fn packages(&self) -> &[String];
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
                python: None,
                rust: None,
            };
            assert_eq!(image.reference(), expect);
        }
    }
}
