//! Finds the folders in which a project's CI runs cargo: `--manifest-path DIR/Cargo.toml`, `working-directory: DIR`,
//! `cd DIR`. Searches text and knows no CI system: callers ignore folders without a manifest.

use std::collections::BTreeSet;

use crate::path::RelPath;
use crate::scope::Scope;

/// Files at the root that configure CI, or scripts that CI calls.
const FILES: &[&str] = &[
    ".circleci/config.yml",
    ".cirrus.yml",
    ".gitlab-ci.yml",
    ".travis.yml",
    "Justfile",
    "Makefile",
    "Makefile.toml",
    "appveyor.yml",
    "azure-pipelines.yml",
    "justfile",
];

/// Folders of such files.
const FOLDERS: &[&str] = &[".ci/", ".github/", ".gitlab/", ".woodpecker/", "ci/"];

/// All of them.
pub(crate) fn folders(scope: &Scope<'_>) -> BTreeSet<RelPath> {
    let mut found = BTreeSet::new();
    for entry in scope.snapshot.entries() {
        let path = entry.path.as_str();
        if !FILES.contains(&path) && !FOLDERS.iter().any(|folder| path.starts_with(folder)) {
            continue;
        }
        let named = scope.facts.derive("ci-folders/1", entry.digest, || {
            scope.text(path).map(|text| named(&text)).ok_or(())
        });
        let named = named.unwrap_or_default();
        found.extend(named.iter().filter_map(|folder| RelPath::new(folder).ok()));
    }
    found
}

fn named(text: &str) -> Vec<String> {
    let mut found = BTreeSet::new();
    let mut words = text
        .split(|c: char| c.is_whitespace() || "=;&|()[]{},'\"`".contains(c))
        .filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        if matches!(word, "--manifest-path" | "working-directory:" | "cd")
            && let Some(folder) = words.next()
        {
            let folder = folder.strip_suffix("Cargo.toml").unwrap_or(folder);
            found.insert(folder.to_owned());
        }
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_named_in_three_ways() {
        let text = "run: cargo clippy --manifest-path=a/b/Cargo.toml\n\
            working-directory: 'c'\nrun: (cd ./d && cargo test)\n--manifest-path Cargo.toml\n# the folder e\n";
        assert_eq!(named(text), ["", "./d", "a/b/", "c"]);
    }
}
