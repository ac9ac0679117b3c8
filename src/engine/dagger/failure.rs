//! Interprets answers of a session that are not results.
//!
//! Only failed commands are marked by an extension. Everything else is recognised by its text; unknown errors are
//! attributed to the engine and are never a verdict.

use dagger_sdk::core::gql_client::GraphQlExtension;
use dagger_sdk::core::graphql_client::GraphQLError;
use dagger_sdk::errors::DaggerError;

use crate::engine::{EngineError, quoted};

/// Start of the message if a request got no answer.
pub(super) const NO_CONNECTION: &str = "no answer from the Dagger session";

/// Why there is no result. Only [`Failure::Exec`] is about the command; none is ever stored as a verdict.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// A command ran in its container and failed.
    #[error("`{}` exited with code {exit_code}{}", quoted(.cmd.iter().map(String::as_str)), tail(.stdout, .stderr))]
    Exec {
        cmd: Vec<String>,
        exit_code: i32,
        /// The end of standard output, trimmed.
        stdout: String,
        /// The end of standard error, trimmed.
        stderr: String,
    },
    /// An image is not available; holds which one, and what to do.
    #[error("{0}")]
    Image(String),
    /// The engine or the session is gone.
    #[error("lost the connection to the Dagger engine: {0}")]
    Lost(String),
    /// The engine's disk is full.
    #[error("the disk of the Dagger engine is full: {0}")]
    Full(String),
    /// The engine has too many open files.
    #[error("the Dagger engine is overloaded: {0}")]
    TooMany(String),
    /// Something else in the engine.
    #[error("the Dagger engine failed: {0}")]
    Infra(String),
    /// The SDK or code using it panicked.
    #[error("internal error: {0}")]
    Panic(String),
    /// The run was cancelled.
    #[error("cancelled")]
    Cancelled,
}

impl From<DaggerError> for Failure {
    fn from(error: DaggerError) -> Self {
        match error {
            DaggerError::Query(GraphQLError::DomainError { message, fields }) => {
                let exec = fields.into_iter().find_map(|field| match field.extensions {
                    Some(GraphQlExtension::ExecError {
                        cmd,
                        exit_code,
                        stderr,
                        stdout,
                    }) if exit_code >= 0 && !is_of_the_engine(&field.message) => Some(Self::Exec {
                        cmd,
                        exit_code,
                        stdout,
                        stderr,
                    }),
                    _ => None,
                });
                exec.unwrap_or_else(|| told(message))
            }
            DaggerError::Query(GraphQLError::HttpError(message)) => told(message),
            DaggerError::Build(report)
            | DaggerError::Serialize(report)
            | DaggerError::DownloadClient(report) => Self::Infra(format!("{report:#}")),
            DaggerError::Unpack(error) => Self::Infra(format!("unexpected answer: {error}")),
        }
    }
}

impl From<Failure> for EngineError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Cancelled => Self::Cancelled,
            Failure::Lost(_) => Self::Lost(failure.to_string()),
            _ => Self::Unavailable(failure.to_string()),
        }
    }
}

/// Whether a command failed because the engine could not run it.
fn is_of_the_engine(message: &str) -> bool {
    // Some engines prepend the command, which may contain anything.
    let own = message.rsplit_once("did not complete successfully: ");
    let own = own.map_or(message, |(_, own)| own);
    own.contains("cleanup failed") || own.contains("runc")
}

/// Interprets the text of an error.
fn told(message: String) -> Failure {
    let has = |all: &[&str]| all.iter().any(|text| message.contains(text));
    if has(&["too many open files"]) {
        Failure::TooMany(message)
    } else if has(&["no space left on device", "disk quota exceeded"]) {
        Failure::Full(message)
    } else if let Some(image) = image(&message) {
        Failure::Image(image_message(&image, &message))
    } else if message.starts_with(NO_CONNECTION) || has(LOST) {
        Failure::Lost(message)
    } else {
        Failure::Infra(message)
    }
}

/// Errors that mean that the engine, or the connection to it, is gone.
const LOST: &[&str] = &[
    "broken pipe",
    "connection refused",
    "connection reset by peer",
    "context canceled",
    "engine is shutting down",
    "error reading from server",
    "server_error: client not found",
    "transport is closing",
    "unexpected EOF",
    "use of closed network connection",
];

/// The image that an error is about.
fn image(message: &str) -> Option<String> {
    let quoted = |rest: &str| Some(rest.split_once('"')?.0.to_owned());
    if let Some((_, rest)) = message.split_once("failed to resolve image \"") {
        return quoted(rest);
    }
    // A part of an image that was not needed before: http://HOST/v2/NAME/blobs/sha256:…
    let (before, after) = message.split_once("/v2/")?;
    let host = before.rsplit_once("://")?.1;
    let name = after
        .split_once("/blobs/")
        .or(after.split_once("/manifests/"))?;
    Some(format!("{host}/{}", name.0))
}

fn image_message(image: &str, message: &str) -> String {
    let has = |all: &[&str]| all.iter().any(|text| message.contains(text));
    let refused = [
        "unauthorized",
        "authorization failed",
        "denied",
        "401",
        "403 Forbidden",
    ];
    let cause = format!("\n{}", image_cause(message));
    let (why, cause, help) = if has(&refused) {
        let help = "log in to its registry (`docker login`), or correct its name";
        (
            "it does not exist, or its registry requires a login",
            cause,
            help,
        )
    } else if message.trim_end().ends_with("not found") {
        let help = "correct its name: `image` in [layers.base], or `[layers.tools]`";
        ("it does not exist", String::new(), help)
    } else {
        let help = "an image that is pinned (`cargo dagcache lock`) and was used by this engine before needs no registry";
        ("cannot reach its registry", cause, help)
    };
    format!(
        "cannot get the image `{image}`: {why}{cause}\nhelp: {help}; `--engine local` needs no image"
    )
}

/// An error of a registry without what repeats that an image cannot be had.
fn image_cause(message: &str) -> &str {
    let rest = |text, mark| text_after(text, mark).unwrap_or(text);
    rest(rest(message.trim(), "\"): "), "failed to do request: ")
}

fn text_after<'t>(text: &'t str, mark: &str) -> Option<&'t str> {
    Some(text.split_once(mark)?.1)
}

/// A message without the trace that the engine appends.
pub(super) fn without_trace(message: &str) -> &str {
    let before = message.rsplit_once("[traceparent:");
    let before = before.filter(|(_, trace)| trace.trim_end().ends_with(']'));
    before.map_or(message, |(before, _)| before).trim_end()
}

/// The end of a command's output.
fn tail(stdout: &str, stderr: &str) -> String {
    const LINES: usize = 40;
    let said = if stderr.trim().is_empty() {
        stdout
    } else {
        stderr
    };
    let lines: Vec<&str> = said.trim_end().lines().collect();
    let last = lines.get(lines.len().saturating_sub(LINES)..);
    let last = last.unwrap_or_default();
    last.iter().map(|line| format!("\n{line}")).collect()
}

#[cfg(test)]
mod tests {
    use dagger_sdk::core::gql_client::GraphQLErrorMessage;

    use super::*;

    fn exec(message: &str, exit_code: i32) -> Failure {
        let field = GraphQLErrorMessage {
            message: message.to_owned(),
            locations: None,
            extensions: Some(GraphQlExtension::ExecError {
                cmd: vec!["sh".to_owned(), "-c".to_owned(), "runc x".to_owned()],
                exit_code,
                stderr: "err".to_owned(),
                stdout: "out".to_owned(),
            }),
            path: None,
        };
        Failure::from(DaggerError::Query(GraphQLError::DomainError {
            message: message.to_owned(),
            fields: vec![field],
        }))
    }

    #[test]
    fn a_failed_command_is_told_from_one_that_the_engine_could_not_run() {
        for (message, code, is_exec) in [
            ("exit code: 9", 9, true),
            ("exit code: 137", 137, true),
            (
                "process \"sh -c runc x\" did not complete successfully: exit code: 1",
                1,
                true,
            ),
            (
                "get user: unable to find user x: no matching entries in passwd file",
                -1,
                false,
            ),
            (
                "exit code: 1\ncleanup failed: \"runc delete container\": exit status 1",
                1,
                false,
            ),
            (
                "exit code: 1: runc run failed: unable to start container process",
                1,
                false,
            ),
        ] {
            let failure = exec(message, code);
            assert_eq!(
                matches!(failure, Failure::Exec { .. }),
                is_exec,
                "{failure}"
            );
            assert_eq!(matches!(failure, Failure::Infra(_)), !is_exec, "{failure}");
        }
    }

    #[test]
    fn a_failed_command_shows_what_it_said() {
        let text = exec("exit code: 9", 9).to_string();
        assert_eq!(text, "`sh -c 'runc x'` exited with code 9\nerr");
    }

    #[test]
    fn other_failures_are_told_by_their_text() {
        let refused = r#"failed to resolve image "docker.io/a/b:1" (platform: "linux/amd64"): failed to do request: Head "http://h/v2/a/b": dial tcp: connect: connection refused"#;
        let missing = r#"failed to resolve image "docker.io/a/b:1" (platform: "linux/amd64"): docker.io/a/b:1: not found"#;
        let denied = r#"failed to resolve image "docker.io/a/b:1" (platform: "linux/amd64"): pull access denied, repository does not exist or may require authorization"#;
        let blob = r#"failed to copy: failed to do request: Get "https://h:5000/v2/a/b/blobs/sha256:00": dial tcp: lookup h on 1.1.1.1:53: no such host"#;
        for (message, shows) in [
            (
                refused,
                "cannot get the image `docker.io/a/b:1`: cannot reach its registry\nHead \"http:",
            ),
            (
                missing,
                "cannot get the image `docker.io/a/b:1`: it does not exist\nhelp: correct its name",
            ),
            (
                denied,
                "cannot get the image `docker.io/a/b:1`: it does not exist, or its registry requires a login\npull access denied",
            ),
            (
                blob,
                "cannot get the image `h:5000/a/b`: cannot reach its registry\nGet \"https:",
            ),
        ] {
            let failure = told(message.to_owned());
            assert!(matches!(failure, Failure::Image(_)), "{failure:?}");
            let text = failure.to_string();
            assert!(
                text.starts_with(shows) && text.contains("\nhelp: "),
                "{text}"
            );
            assert!(!text.contains("failed to"), "{text}");
        }
        let lost = |text: &str| matches!(told(text.to_owned()), Failure::Lost(_));
        assert!(lost(&format!("{NO_CONNECTION}: whatever")));
        assert!(lost("rpc error: code = Canceled desc = context canceled"));
        assert!(matches!(
            told("write /x: no space left on device".into()),
            Failure::Full(_)
        ));
        assert!(matches!(
            told("pipe2: too many open files".into()),
            Failure::TooMany(_)
        ));
        assert!(matches!(
            told("stat /nope: no such file".into()),
            Failure::Infra(_)
        ));
    }

    #[test]
    fn only_a_trace_at_the_end_is_taken_off() {
        assert_eq!(without_trace("a [traceparent:0-1-2]\n"), "a");
        assert_eq!(without_trace("[traceparent:0] b"), "[traceparent:0] b");
        assert_eq!(without_trace(""), "");
    }
}
