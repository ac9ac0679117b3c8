//! Failures that are no verdict on the project: what a host's cargo, or the user's own products, can bring about.

use crate::engine::{EngineError, Executed, Request};
use crate::plan::{Build, Layer};
use crate::rule::Rule;

/// What cargo says when it would need the network, which checks do not have.
const WITHOUT_NETWORK: [&str; 3] = [
    "attempting to make an HTTP request, but",
    "you're using offline mode",
    "you are in the offline mode",
];

/// Whether a check failed in a way that damaged products of somebody else's can bring about: then it is no verdict on
/// the project. What a linter finds is one.
pub(super) fn may_be_the_seeds(outcome: &Result<Executed, EngineError>) -> bool {
    /// An error of the compiler itself, in its JSON; and cargo's about build scripts and other programs it made.
    const WORDS: [&str; 6] = [
        r#""code":{"code":"E0"#,
        r#""code":"E0"#,
        "failed to run custom build command",
        "could not execute process",
        "invalid ELF header",
        "file too short",
    ];
    let Ok(executed) = outcome else { return false };
    let output = &executed.output;
    let said = |words: &str| output.stdout.contains(words) || output.stderr.contains(words);
    executed.seeded
        && output.exit_code != 0
        && WORDS.into_iter().any(said)
        && Rule::SeedsAreDoubted.holds()
}

/// Whether a Cargo check may have failed because of what the host's cargo holds: a layer's packages lie in CARGO_HOME,
/// where the user and cargo itself remove them. That is no verdict.
pub(super) fn lacks_packages(
    request: &Request<'_>,
    outcome: &Result<Executed, EngineError>,
) -> bool {
    let fetched = |layer: &Layer| matches!(layer.build, Build::CargoFetch { .. });
    if !request.layers.iter().any(|(layer, _)| fetched(layer)) {
        return false;
    }
    match outcome {
        Ok(executed) => {
            executed.output.exit_code != 0
                && WITHOUT_NETWORK
                    .iter()
                    .any(|words| executed.output.stderr.contains(words))
        }
        Err(error) => matches!(error, EngineError::Before { .. }),
    }
}
