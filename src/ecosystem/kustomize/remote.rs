//! Determines which targets kustomize fetches, and whether they can change.
//!
//! Follows kustomize's parser of repository URLs. Connects to nothing.

use crate::plan::check::{Failure, Next, Retry};

/// Whether kustomize considers a target that is not a local file a repository to clone.
pub(super) fn is_repository(target: &str) -> bool {
    let target = strip_prefix_ignoring_case(target, "git::").unwrap_or(target);
    let scheme = ["ssh://", "https://", "http://", "file://"]
        .iter()
        .find_map(|scheme| strip_prefix_ignoring_case(target, scheme));
    let rest = scheme.unwrap_or(target);
    let rest_without_user = without_user(rest);
    let github = ["github.com/", "github.com:"]
        .iter()
        .any(|host| strip_prefix_ignoring_case(rest_without_user.unwrap_or(rest), host).is_some());
    scheme.is_some() || rest_without_user.is_some() || github
}

/// Whether kustomize gets a file by HTTP.
pub(super) fn is_http(target: &str) -> bool {
    ["https://", "http://"]
        .iter()
        .any(|scheme| strip_prefix_ignoring_case(target, scheme).is_some())
}

/// Whether the target identifies its content: by a full commit id as `ref`, or else by an HTTPS URL with a commit id
/// in its path, as used by forges.
pub(super) fn is_pinned(target: &str) -> bool {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    match reference(query) {
        Some(reference) => is_commit(reference),
        None => path.starts_with("https://") && path.split('/').any(is_commit),
    }
}

/// The value of `ref`, else of `version`.
fn reference(query: &str) -> Option<&str> {
    let value = |name: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs
            .filter(|(key, _)| *key == name)
            .map(|(_, value)| value)
            .next()
    };
    value("ref")
        .filter(|text| !text.is_empty())
        .or_else(|| value("version"))
}

/// A full SHA-1 or SHA-256 id.
fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn strip_prefix_ignoring_case<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix)
        .then(|| &text[prefix.len()..])
}

/// The part after `user@`.
fn without_user(text: &str) -> Option<&str> {
    let (user, rest) = text.split_once('@')?;
    let letters = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (user.starts_with(|c: char| c.is_ascii_alphabetic()) && user.chars().all(letters))
        .then_some(rest)
}

/// Failures to fetch, which say nothing about the project.
#[derive(Debug)]
pub(super) struct Unreachable;

/// Messages of git, of Go and of the C library if a host cannot be reached.
const UNREACHABLE: [&str; 11] = [
    "Could not resolve host",
    "Connection refused",
    "Connection timed out",
    "Network is unreachable",
    "TLS handshake timeout",
    "Temporary failure in name resolution",
    "connection refused",
    "i/o timeout",
    "network is unreachable",
    "no such host",
    "server misbehaving",
];

impl Retry for Unreachable {
    fn after(&self, failure: &Failure<'_>) -> Option<Next> {
        let is_said = |words: &&str| failure.stderr.contains(words);
        UNREACHABLE.iter().any(is_said).then_some(Next::NoVerdict(
            "a remote resource cannot be fetched; try again with a network, or vendor it into the project",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn repositories_are_told_from_paths() {
        for remote in [
            "github.com/org/repo//path?ref=v1",
            "GitHub.com/org/repo",
            "https://example.com/org/repo//path",
            "git::https://example.com/org/repo",
            "git@example.com:org/repo.git",
            "git@github.com:org/repo",
            "ssh://git@example.com/org/repo",
            "file:///srv/repo",
        ] {
            assert!(is_repository(remote), "{remote}");
        }
        for path in [
            "../base",
            "base",
            "github.community/x",
            "./a@b/c",
            "a/b@c",
            "/abs",
            "",
        ] {
            assert!(!is_repository(path), "{path}");
        }
    }

    #[test]
    fn only_full_commit_ids_pin() {
        let repository = |query: &str| is_pinned(&format!("https://github.com/o/r//p?{query}"));
        assert!(repository(&format!("ref={COMMIT}")));
        assert!(repository(&format!("timeout=90s&version={COMMIT}")));
        assert!(!repository(&format!("ref=main&version={COMMIT}")));
        for query in ["", "ref=v1.0.0", "ref=0123abc", "ref="] {
            assert!(!repository(query), "{query}");
        }
        assert!(is_pinned(&format!(
            "https://raw.example.com/o/r/{COMMIT}/a.yaml"
        )));
        assert!(!is_pinned(&format!(
            "http://raw.example.com/o/r/{COMMIT}/a.yaml"
        )));
        assert!(!is_pinned(&format!(
            "https://example.com/{COMMIT}/a?ref=main"
        )));
        assert!(!is_pinned("https://raw.example.com/o/r/v1.0.0/a.yaml"));
    }
}
