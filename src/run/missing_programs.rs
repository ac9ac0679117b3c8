//! Detects programs that a failed run did not find although the user has them, from messages of shells, `env`, `make`
//! and common languages.
//!
//! A wrong guess costs one more run and an irrelevant program in the key.

use std::collections::BTreeSet;

use crate::env::Env;
use crate::plan::{Command, Tool};
use crate::rule::Rule;
use crate::tool::discovered::MOST;
use crate::tool::is_on_path;

/// The programs that the output reports as missing, that are on the user's PATH, and that the check was not planned
/// with. Empty for a run that passed.
pub(super) fn missing_programs(
    command: &Command,
    env: &Env,
    exit_code: i32,
    stdout: &str,
    stderr: &str,
) -> Vec<String> {
    if exit_code == 0 || command.discovered.len() >= MOST || !Rule::DiscoveredPrograms.holds() {
        return Vec::new();
    }
    let had = |name: &str| {
        let mut tools = command.tools.iter();
        tools.any(|tool| tool.name() == name && !matches!(tool, Tool::Absent { .. }))
            || command.discovered.iter().any(|known| known == name)
    };
    let named: BTreeSet<&str> = missing(stdout).chain(missing(stderr)).collect();
    let named = named.into_iter();
    named
        .filter(|name| !had(name) && is_on_path(env, name))
        .map(str::to_owned)
        .collect()
}

/// Names of programs that a text reports as not found.
fn missing(text: &str) -> impl Iterator<Item = &str> {
    let names = text.lines().filter_map(missing_in);
    names.filter(|name| is_program_name(name))
}

fn missing_in(line: &str) -> Option<&str> {
    let line = line.trim_end();
    // sh, bash, zsh.
    if let Some(before) = line
        .strip_suffix(": command not found")
        .or_else(|| line.strip_suffix(": not found"))
    {
        return before.rsplit([' ', ':']).next();
    }
    if let Some((_, name)) = line.split_once("command not found: ") {
        return Some(name);
    }
    // Go.
    if let Some((before, _)) = line.split_once(": executable file not found in ") {
        return Some(unquoted(before.rsplit([' ', ':']).next()?));
    }
    // rustc.
    if let Some((before, _)) = line.split_once("` not found")
        && let Some((_, name)) = before.rsplit_once("linker `")
    {
        return Some(name);
    }
    // Node.
    if let Some((_, after)) = line.split_once("spawn ")
        && let Some((name, _)) = after.split_once(" ENOENT")
    {
        return Some(name);
    }
    // Python.
    if let Some((before, name)) = line.split_once("No such file or directory: ") {
        return before
            .contains("FileNotFoundError")
            .then(|| unquoted(name.trim()));
    }
    let (before, after) = line
        .split_once(": No such file or directory")
        .or_else(|| line.split_once(": Os { code: 2, kind: NotFound"))?;
    let last = unquoted(before.rsplit([' ', ':']).next()?);
    let starter = before.split(": ").next()?;
    let starter = starter.rsplit('/').next()?;
    let starts = STARTERS.contains(&starter) || before.starts_with("Can't exec ");
    // Rust: unless it is about starting a program, the missing file may be anything.
    let of_rust = after.contains("(os error 2)") || line.contains(": Os {");
    let tried = of_rust && START.iter().any(|word| before.contains(word));
    (starts || tried).then_some(last)
}

/// Programs that start others and report a missing one with its name before the C library's message.
const STARTERS: &[&str] = &["env", "make", "gmake", "nice", "nohup", "timeout", "xargs"];

/// Words in messages about starting a program.
const START: &[&str] = &["exec", "run", "spawn", "start", "invoke", "command"];

fn unquoted(name: &str) -> &str {
    name.trim_matches(['\'', '"', '`', '‘', '’'])
}

fn is_program_name(name: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || "+-._".contains(c);
    !name.is_empty() && !name.starts_with(['-', '.']) && name.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_not_found_is_named() {
        for (line, name) in [
            ("./x.sh: line 3: grep: command not found", "grep"),
            ("sh: 1: jq: not found", "jq"),
            ("zsh:1: command not found: jq", "jq"),
            ("env: 'jq': No such file or directory", "jq"),
            ("/usr/bin/env: ‘jq’: No such file or directory", "jq"),
            ("make: jq: No such file or directory", "jq"),
            ("xargs: jq: No such file or directory", "jq"),
            (
                "timeout: failed to run command 'jq': No such file or directory",
                "jq",
            ),
            (
                "Can't exec \"jq\": No such file or directory at x.pl line 1.",
                "jq",
            ),
            ("exec: \"jq\": executable file not found in $PATH", "jq"),
            (
                "main: exec: \"jq\": executable file not found in $PATH: unknown",
                "jq",
            ),
            ("error: linker `clang-18` not found", "clang-18"),
            (
                "cannot spawn jq: No such file or directory (os error 2)",
                "jq",
            ),
            ("Error: spawn jq ENOENT", "jq"),
            (
                "FileNotFoundError: [Errno 2] No such file or directory: 'protoc'",
                "protoc",
            ),
            (
                "  failed to execute `protoc`: No such file or directory (os error 2)",
                "protoc",
            ),
            (
                "failed to run protoc: Os { code: 2, kind: NotFound, message: \"No such file or directory\" }",
                "protoc",
            ),
            (
                "could not run protoc: No such file or directory (os error 2)",
                "protoc",
            ),
        ] {
            assert_eq!(missing(line).collect::<Vec<_>>(), [name], "{line}");
        }
    }

    #[test]
    fn other_words_name_no_program() {
        for line in [
            "file: not found here",
            "a/b: not found",
            "cat: sort: No such file or directory",
            "open config: No such file or directory (os error 2)",
            "IOError: [Errno 2] No such file or directory: 'sort'",
            "--sort: not found",
            ": not found",
            "page `sort` not found",
            "",
        ] {
            assert_eq!(missing(line).collect::<Vec<_>>(), [""; 0], "{line}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in ".{0,20}(: not found|spawn |No such file or directory).{0,20}") {
            let _ = missing(&text).count();
        }
    }
}
