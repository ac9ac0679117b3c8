//! What a failed check could not see, as its output names it: the configuration to add, or why the result may differ
//! where it can be seen. The tool's verdict stays.

use std::path::{Path, PathBuf};

use crate::config::Globs;
use crate::env::HOME;
use crate::plan::{Check, Command, Inputs, Output, Tool};
use crate::run::Session;
use crate::snapshot::{FileId, Kind, Snapshot};
use crate::tool::installation::Private;
use crate::tool::is_program_at;
use crate::visible::Shown as _;

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
    let pattern = globset::escape(&path);
    Some(format!(
        "the check does not see {path}: add \"{pattern}\" to `inputs` of [checks.{id}] if it needs it"
    ))
}

/// Why a failure is not stored: it names a program of this host that exists, but is out of the check's reach here.
#[must_use]
pub(super) fn out_of_reach(
    session: &Session<'_>,
    command: &Command,
    output: &Output,
) -> Option<String> {
    if session.engine.class() != "local" {
        return None;
    }
    let home = session.env.path(HOME);
    let private = Private {
        project: session.snapshot.root(),
        store: Some(session.store.base()),
        home: home.as_deref(),
    };
    let mut reach: Vec<PathBuf> = command.grants.values().cloned().collect();
    reach.push(session.store.base().to_path_buf());
    for tool in &command.tools {
        let Tool::Host { path, .. } = tool else {
            continue;
        };
        for path in path.canonicalize().into_iter().chain([path.clone()]) {
            reach.extend(private.installation(&path));
            reach.push(path);
        }
    }
    let is_out = |path: &Path| {
        !private.is_plain_system(path) && !reach.iter().any(|place| path.starts_with(place))
    };
    let named = words(&output.stdout).chain(words(&output.stderr));
    let mut named = named.map(Path::new).filter(|path| path.is_absolute());
    let program = named.find(|path| is_out(path) && is_program_at(path))?;
    Some(format!(
        "it failed and names {}, which is out of its reach here",
        program.shown()
    ))
}

/// Words that may be paths, split at white space, quotes, brackets and colons; words with brackets also as a whole.
fn words(output: &str) -> impl Iterator<Item = &str> {
    let quote = |c: char| c.is_whitespace() || "'\"`".contains(c);
    let whole = output.split(quote);
    let whole = whole.map(|word| word.trim_matches([':', ',', ';', '(', ')']));
    let whole = whole.filter(|word| word.contains(['[', '<', '(']));
    let cut = move |c: char| quote(c) || "()[]<>:,;".contains(c);
    let words = whole.chain(output.split(cut));
    words.filter(|word| !word.is_empty()).take(10_000)
}

/// The file a word names, or the one that a link leads to, if the check does not see it.
fn unseen_file(
    word: &str,
    command: &Command,
    inputs: &Inputs,
    snapshot: &Snapshot,
) -> Option<String> {
    let mut path = command.dir.join(word).ok()?;
    let mut id = snapshot.find(&path)?;
    let sees = |id: FileId| {
        let linked = inputs.linked.values().flatten();
        let mut parts = inputs.parts.iter().flatten().chain(linked);
        inputs.shared.binary_search(&id).is_ok() || parts.any(|part| *part == id)
    };
    if sees(id) && snapshot.entry(id).kind == Kind::Symlink {
        let target = String::from_utf8(snapshot.read(id).ok()?).ok()?;
        path = path.parent()?.join(&target).ok()?;
        id = snapshot.find(&path)?;
    }
    // Its own outputs are withheld from the check.
    let made = Globs::new(&command.outputs).is_ok_and(|globs| globs.matches(&path));
    (!sees(id) && !made).then(|| path.display_dot().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cut_out_of_messages() {
        let words: Vec<_> = words("cat: src/a.txt: No such file\n\"b/c\"").collect();
        assert!(words.contains(&"src/a.txt") && words.contains(&"b/c"));
        let brackets: Vec<_> = super::words("cat: 'pages/[id].js': No such file").collect();
        assert!(brackets.contains(&"pages/[id].js"), "{brackets:?}");
    }
}
