//! Checks whose tool can also mend what it finds: the same program on the same files, told to write.

use crate::plan::{Check, Command, Work};

/// What checks are mended in: what rewrites code comes before what only lays it out.
pub(crate) const ORDER: [&str; 4] = [
    "python:ruff-check",
    "python:ruff-format",
    "rust:fmt",
    "markdown:mdformat",
];

/// The command that mends what this check finds; `None` if its tool only finds.
#[must_use]
pub(crate) fn command(check: &Check) -> Option<Command> {
    let Work::Command(command) = &check.work else {
        return None;
    };
    let (asks, mends): (&str, Option<&str>) = match kind(check) {
        "python:ruff-check" => ("--no-fix", Some("--fix")),
        "python:ruff-format" | "rust:fmt" | "markdown:mdformat" => ("--check", None),
        _ => return None,
    };
    let mut command = command.as_ref().clone();
    let at = command.argv.iter().position(|word| word == asks)?;
    command.argv.splice(at..=at, mends.map(str::to_owned));
    Some(command)
}

/// Its id without the folder that it belongs to.
#[must_use]
pub(crate) fn kind(check: &Check) -> &str {
    check.id.split('@').next().unwrap_or_default()
}
