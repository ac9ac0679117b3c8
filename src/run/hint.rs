//! What to add to the configuration when a check of one's own failed because it was not allowed to see something.
//!
//! A failed run often names what it missed. Only said, never acted on: the verdict stays the tool's.

use crate::config::Globs;
use crate::env::Env;
use crate::plan::{Check, Command, Inputs};
use crate::snapshot::Snapshot;

/// The line to add, if the output names a file of the project that is no input, or a program that is not on the
/// check's PATH but on the user's.
#[must_use]
pub fn hint(
    check: &Check,
    command: &Command,
    snapshot: &Snapshot,
    env: &Env,
    output: &str,
) -> Option<String> {
    if check.id.contains(':') {
        return None; // What a built-in check sees is not the user's to mend.
    }
    let id = &check.id;
    if let Some(path) =
        words(output).find_map(|word| unseen_file(word, command, &check.inputs, snapshot))
    {
        return Some(format!(
            "the check does not see {path}: add \"{path}\" to `inputs` of [checks.{id}] if it needs it"
        ));
    }
    let program = missing_programs(output).find(|name| unseen_program(name, command, env))?;
    Some(format!(
        "`{program}` is not on the check's PATH: add \"{program}\" to `tools` of [checks.{id}]"
    ))
}

/// Words that may be paths: cut at white space, quotes, brackets and colons.
fn words(output: &str) -> impl Iterator<Item = &str> {
    let cut = |c: char| c.is_whitespace() || "'\"`()[]<>:,;".contains(c);
    output
        .split(cut)
        .filter(|word| !word.is_empty())
        .take(10_000)
}

fn unseen_file(
    word: &str,
    command: &Command,
    inputs: &Inputs,
    snapshot: &Snapshot,
) -> Option<String> {
    let path = command.dir.join(word).ok()?;
    let id = snapshot.find(&path)?;
    let part = inputs
        .parts
        .as_ref()
        .is_some_and(|parts| parts.binary_search(&id).is_ok());
    let seen = part || inputs.shared.binary_search(&id).is_ok();
    // What the check makes itself is kept from it.
    let made = Globs::new(&command.outputs).is_ok_and(|globs| globs.matches(&path));
    (!seen && !made).then(|| path.to_string())
}

/// Names in `NAME: not found`, `NAME: command not found`, as shells say it.
fn missing_programs(output: &str) -> impl Iterator<Item = &str> {
    output.lines().filter_map(|line| {
        let before = line
            .strip_suffix(": command not found")
            .or_else(|| line.strip_suffix(": not found"))?;
        before
            .rsplit([' ', ':'])
            .next()
            .filter(|name| !name.is_empty())
    })
}

fn unseen_program(name: &str, command: &Command, env: &Env) -> bool {
    let known = command.tools.iter().any(|tool| tool.name() == name);
    let path = env.var_os(crate::env::PATH).cloned().unwrap_or_default();
    !known
        && !name.contains('/')
        && std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_names_what_it_does_not_find() {
        let output =
            "./x.sh: line 3: grep: command not found\nsh: 1: jq: not found\nfile: not found here\n";
        assert_eq!(missing_programs(output).collect::<Vec<_>>(), ["grep", "jq"]);
    }

    #[test]
    fn paths_are_cut_out_of_messages() {
        let words: Vec<_> = words("cat: src/a.txt: No such file\n\"b/c\"").collect();
        assert!(words.contains(&"src/a.txt") && words.contains(&"b/c"));
    }
}
