//! Failures of cargo that are not verdicts of the linter, caused by the host's cargo or the user's own artifacts.

use crate::plan::check::{Failure, Next, Retry};
use crate::rule::Rule;

/// Cargo's exit code for errors.
pub(super) const FAILED: i32 = 101;

/// Messages of cargo if it would need the network, which checks do not have.
const WITHOUT_NETWORK: [&str; 3] = [
    "attempting to make an HTTP request, but",
    "you're using offline mode",
    "you are in the offline mode",
];

/// Results of damaged artifacts: errors of the compiler itself, in its JSON, and cargo's errors about build scripts
/// and other programs it built. Findings of a linter are not included.
const OF_ARTIFACTS: [&str; 6] = [
    r#""code":{"code":"E0"#,
    r#""code":"E0"#,
    OF_SCRIPT,
    "could not execute process",
    "invalid ELF header",
    "file too short",
];

/// What rustc says if it has no standard library for a target; which are installed is not in the key.
const NO_TARGET: &str = "target may not be installed";

/// Messages of git and git libraries if there is no repository.
const WITHOUT_GIT: [&str; 2] = ["not a git repository", "could not find repository"];

/// Whether cargo reports that the lockfile does not match the manifests: the check would report the same.
#[must_use]
pub(super) fn refuses_lockfile(output: &str) -> bool {
    output.contains("--locked was passed to prevent this")
}

/// What cargo says if a build script failed.
const OF_SCRIPT: &str = "failed to run custom build command";

/// The failures of a cargo command.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// Whether code that runs at build time asks git, which is not there.
    pub(super) without_git: bool,
}

impl Retry for Failures {
    fn after(&self, failure: &Failure<'_>) -> Option<Next> {
        let says = |text: &&str| failure.stdout.contains(text) || failure.stderr.contains(text);
        if failure.before && refuses_lockfile(failure.stderr) {
            Some(Next::Verdict(FAILED))
        } else if failure.before
            || WITHOUT_NETWORK
                .iter()
                .any(|text| failure.stderr.contains(text))
        {
            // The packages of a layer are in CARGO_HOME, where the user or cargo may remove them.
            Some(Next::WithNewLayers)
        } else if failure.seeded && OF_ARTIFACTS.iter().any(says) && Rule::SeedsAreDoubted.holds() {
            Some(Next::WithoutSeed)
        } else if self.without_git && says(&OF_SCRIPT) {
            Some(Next::NoVerdict(
                "a build script that asks git failed; in containers there is neither git nor the repository\n\
                 help: run it on the host with `--engine local`",
            ))
        } else if says(&NO_TARGET) {
            Some(Next::NoVerdict(
                "the standard library of a target is not installed\nhelp: run `rustup target add TARGET`",
            ))
        } else if WITHOUT_GIT.iter().any(says) {
            // The rooms of most checks have no repository.
            Some(Next::NoVerdict(
                "code that runs at build time uses the git repository, which is only available if a build \
                 script contains the word `git`\nhelp: add a comment with that word to the package's build.rs",
            ))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_that_lacks_git_gives_no_verdict() {
        let failure = Failure {
            before: false,
            seeded: false,
            stdout: "",
            stderr: "error: failed to run custom build command for `app v0.1.0`",
        };
        assert_eq!(Failures::default().after(&failure), None);
        let without_git = Failures { without_git: true };
        let after = without_git.after(&failure);
        assert!(matches!(after, Some(Next::NoVerdict(_))), "{after:?}");
    }

    #[test]
    fn only_what_the_host_can_bring_about_is_tried_again() {
        let plain = Failure {
            before: false,
            seeded: true,
            stdout: "",
            stderr: "",
        };
        let compiler = r#"{"code":{"code":"E0460"}}"#;
        let lint = r#"{"code":{"code":"clippy::needless_return"}}"#;
        let locked = "because --locked was passed to prevent this";
        for (failure, next) in [
            (
                Failure {
                    stdout: compiler,
                    ..plain
                },
                Some(Next::WithoutSeed),
            ),
            (
                Failure {
                    stdout: compiler,
                    seeded: false,
                    ..plain
                },
                None,
            ),
            (
                Failure {
                    stdout: lint,
                    ..plain
                },
                None,
            ),
            (
                Failure {
                    stderr: "but you're using offline mode",
                    ..plain
                },
                Some(Next::WithNewLayers),
            ),
            (
                Failure {
                    before: true,
                    ..plain
                },
                Some(Next::WithNewLayers),
            ),
            (
                Failure {
                    stderr: "fatal: not a git repository (or any of the parent directories): .git",
                    seeded: false,
                    ..plain
                },
                Some(Next::NoVerdict("")),
            ),
            (
                Failure {
                    before: true,
                    stderr: locked,
                    ..plain
                },
                Some(Next::Verdict(FAILED)),
            ),
            (
                Failure {
                    stderr: locked,
                    ..plain
                },
                None,
            ),
        ] {
            let after = match Failures::default().after(&failure) {
                Some(Next::NoVerdict(_)) => Some(Next::NoVerdict("")),
                after => after,
            };
            assert_eq!(after, next, "{failure:?}");
        }
    }
}
