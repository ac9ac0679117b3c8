//! `package-lock.json` (versions 2 and 3, and npm's copy inside `node_modules`): text → dependencies of a package.
//!
//! Pure; reads no files.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// The installed packages by path (`node_modules/a/node_modules/b`).
#[derive(Debug, Default, Deserialize)]
pub(crate) struct PackageLock {
    #[serde(default)]
    packages: BTreeMap<String, Package>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Package {
    version: Option<String>,
    integrity: Option<String>,
    resolved: Option<String>,
    /// Whether it is a link to another project folder.
    link: bool,
    dependencies: BTreeMap<String, serde_json::Value>,
    optional_dependencies: BTreeMap<String, serde_json::Value>,
    peer_dependencies: BTreeMap<String, serde_json::Value>,
}

/// A package and everything it can load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Closure {
    /// Version and integrity by path, sorted.
    pub(crate) packages: BTreeMap<String, String>,
    /// A package that is a link to a project folder, if there is one.
    pub(crate) linked: Option<String>,
}

pub(crate) fn parse(text: &str) -> Result<PackageLock, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// Everything that the package at `place` can load; `None` if it is not in the lock.
#[must_use]
pub(crate) fn closure(lock: &PackageLock, place: &str) -> Option<Closure> {
    lock.packages.get(place)?;
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut found = Closure {
        packages: BTreeMap::new(),
        linked: None,
    };
    let mut todo = vec![place];
    while let Some(place) = todo.pop() {
        let Some((place, package)) = lock.packages.get_key_value(place) else {
            continue;
        };
        if !seen.insert(place) {
            continue;
        }
        if package.link {
            found.linked.get_or_insert_with(|| place.clone());
        }
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        // Without integrity (git, a local archive), the address identifies it.
        let source = match &package.integrity {
            Some(integrity) => integrity.clone(),
            None => text(&package.resolved),
        };
        let value = format!("{} {source}", text(&package.version));
        found.packages.insert(place.clone(), value);
        let names = package
            .dependencies
            .keys()
            .chain(package.optional_dependencies.keys())
            .chain(package.peer_dependencies.keys());
        todo.extend(names.filter_map(|name| lock.lookup(place, name)));
    }
    Some(found)
}

impl PackageLock {
    /// Resolves `name` from `place` like Node: in the package's own `node_modules`, then in those above.
    fn lookup(&self, place: &str, name: &str) -> Option<&str> {
        let mut folder = place;
        loop {
            let candidate = match folder {
                "" => format!("node_modules/{name}"),
                folder => format!("{folder}/node_modules/{name}"),
            };
            if let Some((place, _)) = self.packages.get_key_value(&candidate) {
                return Some(place);
            }
            if folder.is_empty() {
                return None;
            }
            folder = match folder.rfind("/node_modules/") {
                Some(at) => &folder[..at],
                None => "",
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LOCK: &str = r#"{
  "name": "p", "lockfileVersion": 3, "packages": {
    "": {"devDependencies": {"tool": "^1"}},
    "node_modules/tool": {"version": "1.0.0", "integrity": "sha512-t", "bin": {"tool": "t.js"},
      "dependencies": {"lib": "^1"}, "peerDependencies": {"peer": "*", "gone": "*"}},
    "node_modules/tool/node_modules/lib": {"version": "1.2.0", "integrity": "sha512-l", "dependencies": {"@s/deep": "1"}},
    "node_modules/lib": {"version": "2.0.0", "integrity": "sha512-m", "dependencies": {"unrelated": "1"}},
    "node_modules/@s/deep": {"version": "1.0.0", "resolved": "git+ssh://x#1", "dependencies": {"tool": "1"}},
    "node_modules/peer": {"version": "3.0.0"},
    "node_modules/unrelated": {"version": "1.0.0"},
    "node_modules/mine": {"resolved": "packages/mine", "link": true}
  }}"#;

    fn of(text: &str, place: &str) -> Option<Closure> {
        closure(&parse(text).expect("a lock"), place)
    }

    #[test]
    fn the_nearest_of_a_name_is_the_one_that_is_loaded() {
        let found = of(LOCK, "node_modules/tool").expect("a closure");
        let places: Vec<&str> = found.packages.keys().map(String::as_str).collect();
        assert_eq!(
            places,
            [
                "node_modules/@s/deep",
                "node_modules/peer",
                "node_modules/tool",
                "node_modules/tool/node_modules/lib",
            ]
        );
        assert_eq!(found.packages["node_modules/tool"], "1.0.0 sha512-t");
        assert_eq!(
            found.packages["node_modules/@s/deep"],
            "1.0.0 git+ssh://x#1"
        );
        assert_eq!(found.linked, None);
        assert_eq!(of(LOCK, "node_modules/none"), None);
        let mine = of(LOCK, "node_modules/mine").expect("a closure");
        assert_eq!(mine.linked.as_deref(), Some("node_modules/mine"));
    }

    #[test]
    fn what_is_not_in_the_closure_changes_nothing() {
        let before = of(LOCK, "node_modules/tool");
        let unrelated = LOCK.replace(
            r#"unrelated": {"version": "1.0.0"#,
            r#"unrelated": {"version": "2.0.0"#,
        );
        assert_ne!(unrelated, LOCK);
        assert_eq!(of(&unrelated, "node_modules/tool"), before);
        let related = LOCK.replace("sha512-l", "sha512-k");
        assert_ne!(of(&related, "node_modules/tool"), before);
    }

    proptest! {
        #[test]
        fn arbitrary_and_damaged_locks_never_panic(text in "\\PC{0,100}", at in 0..LOCK.len(), cut in 0..40_usize, put in "\\PC{0,6}") {
            let mut damaged = LOCK.as_bytes().to_vec();
            let end = (at + cut).min(damaged.len());
            damaged.splice(at..end, put.into_bytes());
            for text in [text, String::from_utf8_lossy(&damaged).into_owned()] {
                if let Ok(lock) = parse(&text) {
                    let _ = closure(&lock, "node_modules/tool");
                    let _ = closure(&lock, "");
                }
            }
        }
    }
}
