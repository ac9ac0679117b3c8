//! Suggests configuration after a custom check failed because it could not see something.
//!
//! The output of a failed run often names what was missing. This is only a suggestion; the tool's verdict stays.

use crate::config::Globs;
use crate::plan::{Check, Command, Inputs};
use crate::snapshot::Snapshot;

/// The suggestion if the output names a project file that is not an input.
#[must_use]
pub(crate) fn hint(
    check: &Check,
    command: &Command,
    snapshot: &Snapshot,
    output: &str,
) -> Option<String> {
    if check.id.contains(':') {
        return None; // The user cannot change what a built-in check sees.
    }
    let id = &check.id;
    let path =
        words(output).find_map(|word| unseen_file(word, command, &check.inputs, snapshot))?;
    Some(format!(
        "the check does not see {path}: add \"{path}\" to `inputs` of [checks.{id}] if it needs it"
    ))
}

/// Words that may be paths, split at white space, quotes, brackets and colons.
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
    // Its own outputs are withheld from the check.
    let made = Globs::new(&command.outputs).is_ok_and(|globs| globs.matches(&path));
    (!seen && !made).then(|| path.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cut_out_of_messages() {
        let words: Vec<_> = words("cat: src/a.txt: No such file\n\"b/c\"").collect();
        assert!(words.contains(&"src/a.txt") && words.contains(&"b/c"));
    }
}
