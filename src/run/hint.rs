//! What to add to the configuration when a check of one's own failed because it was not allowed to see something.
//!
//! A failed run often names what it missed. Only said, never acted on: the verdict stays the tool's.

use crate::config::Globs;
use crate::plan::{Check, Command, Inputs};
use crate::snapshot::Snapshot;

/// The line to add, if the output names a file of the project that is no input.
#[must_use]
pub(crate) fn hint(
    check: &Check,
    command: &Command,
    snapshot: &Snapshot,
    output: &str,
) -> Option<String> {
    if check.id.contains(':') {
        return None; // What a built-in check sees is not the user's to mend.
    }
    let id = &check.id;
    let path =
        words(output).find_map(|word| unseen_file(word, command, &check.inputs, snapshot))?;
    Some(format!(
        "the check does not see {path}: add \"{path}\" to `inputs` of [checks.{id}] if it needs it"
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cut_out_of_messages() {
        let words: Vec<_> = words("cat: src/a.txt: No such file\n\"b/c\"").collect();
        assert!(words.contains(&"src/a.txt") && words.contains(&"b/c"));
    }
}
