//! Cargo.lock: its packages, and which of them the workspace packages reach.
//!
//! A pure parser. Comments, order, format versions, versions of workspace packages and unreachable packages do not
//! affect its answer.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::finding::position;

/// The text is no Cargo.lock.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {message}")]
pub(crate) struct LockError {
    line: usize,
    message: String,
}

/// A lockfile.
#[derive(Debug, Deserialize)]
pub(crate) struct Lock {
    /// The version of its format, from 3 on.
    pub(crate) version: Option<u32>,
    /// In the order of the file.
    #[serde(default)]
    pub(crate) package: Vec<Package>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// Its source; `None` if it is in the project.
    pub(crate) source: Option<String>,
    checksum: Option<String>,
    #[serde(default)]
    dependencies: Vec<String>,
}

impl Package {
    fn identity(&self) -> String {
        [
            Some(self.version.as_str()),
            self.source.as_deref(),
            self.checksum.as_deref(),
        ]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" ")
    }

    /// Whether a dependency entry (`name`, `name version` or `name version (source)`) refers to this package.
    pub(crate) fn is_meant_by(&self, entry: &str) -> bool {
        let mut words = entry.split_whitespace();
        words.next() == Some(&self.name)
            && words.next().is_none_or(|version| version == self.version)
            && words.next().is_none_or(|source| {
                Some(source.trim_start_matches('(').trim_end_matches(')')) == self.source.as_deref()
            })
    }
}

/// Parses the text.
pub(crate) fn parse(text: &str) -> Result<Lock, LockError> {
    toml::from_str(text).map_err(|error| {
        // Without the line itself, which may be long if cargo did not write the file.
        let start = error.span().map_or(0, |span| span.start);
        LockError {
            line: position(text.as_bytes(), start).0,
            message: error.message().to_owned(),
        }
    })
}

/// The text without comment lines and empty lines. Cargo reads the same packages from it.
pub(crate) fn without_comments(text: &str) -> String {
    let counts = |line: &&str| !matches!(line.trim_start().chars().next(), None | Some('#'));
    // Lines of a longer text are not comments; cargo writes none.
    if ["\"\"\"", "'''"].iter().any(|quotes| text.contains(quotes)) {
        return text.to_owned();
    }
    let lines = text.lines().filter(counts);
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// Names of the packages in the project: its own, and their path dependencies.
pub(crate) fn own_packages(text: &str) -> Result<BTreeSet<String>, LockError> {
    let lock = parse(text)?;
    let own = lock.package.into_iter().filter(|p| p.source.is_none());
    Ok(own.map(|package| package.name).collect())
}

/// Names used by both project packages and external ones.
pub(crate) fn shared_names(text: &str) -> Result<BTreeSet<String>, LockError> {
    let lock = parse(text)?;
    let (own, others): (Vec<Package>, Vec<Package>) =
        lock.package.into_iter().partition(|p| p.source.is_none());
    let others: BTreeSet<&str> = others.iter().map(|p| p.name.as_str()).collect();
    let names = own.into_iter().map(|package| package.name);
    Ok(names
        .filter(|name| others.contains(name.as_str()))
        .collect())
}

/// The external packages reached by packages without a source (workspace packages and path dependencies): name →
/// `version source checksum`, joined by `, ` if there are several.
pub(crate) fn external_closure(text: &str) -> Result<BTreeMap<String, String>, LockError> {
    let lock = parse(text)?;
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for index in lock.reached(|_| true) {
        let package = &lock.package[index];
        if package.source.is_some() {
            let all = versions.entry(package.name.clone()).or_default();
            all.insert(package.identity());
        }
    }
    Ok(versions
        .into_iter()
        .map(|(name, all)| (name, all.into_iter().collect::<Vec<_>>().join(", ")))
        .collect())
}

impl Lock {
    /// Positions of the project packages selected by name, and of everything they reach.
    pub(crate) fn reached(&self, counts: impl Fn(&str) -> bool) -> BTreeSet<usize> {
        let mut by_name: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, package) in self.package.iter().enumerate() {
            by_name.entry(&package.name).or_default().push(index);
        }
        let all = self.package.iter().enumerate();
        let own = all.filter(|(_, package)| package.source.is_none() && counts(&package.name));
        let mut queue: Vec<usize> = own.map(|(index, _)| index).collect();
        let mut reached: BTreeSet<usize> = queue.iter().copied().collect();
        while let Some(index) = queue.pop() {
            for entry in &self.package[index].dependencies {
                let name = entry.split_whitespace().next().unwrap_or_default();
                for index in by_name.get(name).into_iter().flatten() {
                    if self.package[*index].is_meant_by(entry) && reached.insert(*index) {
                        queue.push(*index);
                    }
                }
            }
        }
        reached
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOCK: &str = r#"
version = 4
[[package]]
name = "own"
version = "0.1.0"
dependencies = ["a", "b 1.0.0"]
[[package]]
name = "a"
version = "2.0.0"
source = "registry+x"
checksum = "aa"
dependencies = ["b 2.0.0 (registry+x)"]
[[package]]
name = "b"
version = "1.0.0"
source = "registry+x"
[[package]]
name = "b"
version = "2.0.0"
source = "registry+x"
checksum = "b2"
[[package]]
name = "unreached"
version = "1.0.0"
source = "registry+x"
"#;

    #[test]
    fn what_is_reached_counts_and_nothing_else() {
        let closure = external_closure(LOCK).unwrap();
        let expected = [
            ("a", "2.0.0 registry+x aa"),
            ("b", "1.0.0 registry+x, 2.0.0 registry+x b2"),
        ];
        let expected = expected.map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(closure, BTreeMap::from(expected));
    }

    #[test]
    fn comments_own_versions_and_unreached_packages_change_nothing() {
        let base = external_closure(LOCK).unwrap();
        let other = LOCK
            .replace("version = 4", "# a comment\nversion = 3")
            .replace("0.1.0", "0.2.0")
            .replace(
                "name = \"unreached\"\nversion = \"1.0.0\"",
                "name = \"z\"\nversion = \"9.0.0\"",
            );
        assert_eq!(external_closure(&other).unwrap(), base);
    }

    #[test]
    fn versions_and_checksums_of_reached_packages_count() {
        let base = external_closure(LOCK).unwrap();
        for (from, to) in [
            ("\"aa\"", "\"ab\""),
            ("2.0.0", "2.0.1"),
            ("registry+x", "git+x"),
        ] {
            assert_ne!(
                external_closure(&LOCK.replace(from, to)).unwrap(),
                base,
                "{from}"
            );
        }
    }

    #[test]
    fn other_text_is_an_error() {
        assert!(external_closure("[[package]]\nname = 1").is_err());
        assert!(external_closure("<<<<<<< HEAD").is_err());
        let error = external_closure(&format!("version = 4\na = {}", "[".repeat(100_000)));
        let said = error.unwrap_err().to_string();
        assert!(said.starts_with("line 2: ") && said.len() < 200, "{said}");
    }

    #[test]
    fn only_comments_and_empty_lines_are_left_out() {
        let commented = LOCK.replace("[[package]]", "\n# [[package]]\r\n  #\n[[package]]");
        assert_ne!(commented, LOCK);
        assert_eq!(without_comments(&commented), without_comments(LOCK));
        let plain = without_comments(&commented);
        assert_eq!(
            external_closure(&plain).unwrap(),
            external_closure(LOCK).unwrap()
        );
        let odd = "a = \"\"\"\n# b\n\"\"\"\n";
        assert_eq!(without_comments(odd), odd);
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,200}") {
            let _ = external_closure(&text);
        }

        #[test]
        fn nearly_right_locks_never_panic(text in crate::testing::damaged_text(LOCK)) {
            let _ = external_closure(&text);
        }

        #[test]
        fn arbitrary_dependency_entries_never_panic(entry in "[a-z ().]{0,20}") {
            let text = format!("[[package]]\nname = \"a\"\nversion = \"1\"\ndependencies = [\"{entry}\"]");
            let _ = external_closure(&text);
        }
    }
}
