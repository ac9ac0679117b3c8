//! Which Cargo.toml files are roots: where checks are planned.
//!
//! Follows cargo's own search: a package belongs to the nearest workspace above it that does not exclude it; a
//! manifest with `[workspace]`, or a package that belongs to none, is a root. Stays free of processes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::finding::position;
use crate::path::RelPath;
use crate::scope::{PlanError, Scope};
use crate::snapshot::{FileId, Kind};

/// The name of a manifest.
pub(crate) const MANIFEST: &str = "Cargo.toml";

/// What a manifest says about its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Place {
    /// It has `[workspace]`.
    Workspace {
        exclude: Vec<String>,
        members: Vec<String>,
    },
    /// A package; `true` if it names its workspace (`package.workspace`).
    Package(bool),
    /// Neither: cargo would refuse it, and nobody asks it to read it.
    Other,
    /// No TOML; holds line, column and the parser's text.
    Broken(usize, usize, String),
}

#[derive(Debug, Deserialize)]
struct Manifest {
    workspace: Option<Workspace>,
    package: Option<Package>,
    project: Option<Package>,
}

#[derive(Debug, Deserialize)]
struct Workspace {
    #[serde(default)]
    exclude: Vec<String>,
    #[serde(default)]
    members: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Package {
    workspace: Option<toml::Value>,
}

fn place(text: &str) -> Place {
    match toml::from_str::<Manifest>(text) {
        Ok(Manifest {
            workspace: Some(workspace),
            ..
        }) => Place::Workspace {
            exclude: workspace.exclude,
            members: workspace.members,
        },
        Ok(manifest) => match manifest.package.or(manifest.project) {
            Some(package) => Place::Package(package.workspace.is_some()),
            None => Place::Other,
        },
        Err(error) => {
            let start = error.span().map_or(0, |span| span.start);
            let (line, column) = position(text.as_bytes(), start);
            Place::Broken(line, column, error.message().to_owned())
        }
    }
}

/// All manifests of the project, sorted by path.
pub(crate) fn manifests(scope: &Scope<'_>) -> Vec<FileId> {
    scope
        .snapshot
        .entries()
        .iter()
        .zip(0..)
        .filter(|(entry, _)| entry.path.file_name() == MANIFEST && entry.kind != Kind::Symlink)
        .map(|(_, id)| id)
        .collect()
}

/// The folders of all roots that are not excluded, sorted.
pub(crate) fn roots(scope: &Scope<'_>) -> Result<Vec<RelPath>, PlanError> {
    let mut places = BTreeMap::new();
    for id in manifests(scope) {
        let place = read(scope, id)?;
        let entry = scope.snapshot.entry(id);
        let excluded = scope.excluded.get(id as usize).copied().unwrap_or(false);
        if let (Place::Broken(line, column, message), false) = (&place, excluded) {
            return Err(PlanError::new(format!(
                "`{path}` is not valid TOML: {message}\n  --> {path}:{line}:{column}\n\
                 help: mend it, or name its folder in `exclude` of the configuration",
                path = entry.path,
                message = message.trim(),
            )));
        }
        places.insert(entry.path.parent().unwrap_or_default(), (place, excluded));
    }
    Ok(places
        .iter()
        .filter(|(_, (_, excluded))| !excluded)
        .filter(|(dir, (place, _))| is_root(dir, place, &places))
        .map(|(dir, _)| dir.clone())
        .collect())
}

fn read(scope: &Scope<'_>, id: FileId) -> Result<Place, PlanError> {
    let entry = scope.snapshot.entry(id);
    scope
        .facts
        .derive("cargo-place/1", entry.digest, || {
            let bytes = scope.snapshot.read(id)?;
            Ok(place(&String::from_utf8_lossy(&bytes)))
        })
        .map_err(|error: std::io::Error| {
            PlanError::new(format!("cannot read `{}`: {error}", entry.path))
        })
}

fn is_root(dir: &RelPath, place: &Place, all: &BTreeMap<RelPath, (Place, bool)>) -> bool {
    match place {
        Place::Workspace { .. } => true,
        Place::Package(named) => {
            !named
                && !dir.ancestors().any(|above| {
                    all.get(&above)
                        .is_some_and(|(place, _)| claims(&above, place, dir))
                })
        }
        Place::Other | Place::Broken(..) => false,
    }
}

/// Whether a workspace at `above` claims the package at `dir`: it is below it and not excluded. What is below an
/// explicit member counts even in an excluded folder.
fn claims(above: &RelPath, place: &Place, dir: &RelPath) -> bool {
    let Place::Workspace { exclude, members } = place else {
        return false;
    };
    let listed = |list: &[String]| {
        list.iter()
            .filter_map(|text| above.join(text).ok())
            .any(|path| dir.starts_with(&path))
    };
    listed(members) || !listed(exclude)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Env;
    use crate::facts::Facts;
    use crate::snapshot::Snapshot;
    use crate::tool::Tools;

    fn roots_of(files: &[(&str, &str)], excluded: &str) -> Result<Vec<String>, String> {
        let snapshot = Snapshot::in_memory(files);
        let excluded: Vec<bool> = snapshot
            .entries()
            .iter()
            .map(|entry| !excluded.is_empty() && entry.path.as_str().starts_with(excluded))
            .collect();
        let (facts, tools, env) = (Facts::default(), Tools::default(), Env::default());
        let scope = Scope {
            snapshot: &snapshot,
            excluded: &excluded,
            facts: &facts,
            tools: &tools,
            env: &env,
            secrets_baseline: None,
            images: None,
        };
        roots(&scope)
            .map(|all| all.iter().map(ToString::to_string).collect())
            .map_err(|error| error.message)
    }

    const PACKAGE: &str = "[package]\nname = \"p\"";

    #[test]
    fn members_are_no_roots_but_excluded_packages_are() {
        let files = [
            (
                "Cargo.toml",
                "[workspace]\nmembers = [\"a\", \"out/in\"]\nexclude = [\"out\"]",
            ),
            ("a/Cargo.toml", PACKAGE),
            ("out/b/Cargo.toml", PACKAGE),
            ("out/in/Cargo.toml", PACKAGE),
            ("stray/Cargo.toml", PACKAGE),
            ("nested/Cargo.toml", "[workspace]"),
        ];
        assert_eq!(roots_of(&files, "").unwrap(), [".", "nested", "out/b"]);
    }

    #[test]
    fn packages_without_a_workspace_are_roots_each() {
        let files = [
            ("x/Cargo.toml", PACKAGE),
            ("x/dep/Cargo.toml", PACKAGE),
            (
                "y/Cargo.toml",
                "[package]\nname = \"y\"\nworkspace = \"../w\"",
            ),
            ("z/Cargo.toml", "[dependencies]"),
        ];
        assert_eq!(roots_of(&files, "").unwrap(), ["x", "x/dep"]);
    }

    #[test]
    fn what_the_configuration_excludes_is_no_root() {
        let files = [("fixtures/Cargo.toml", PACKAGE), ("p/Cargo.toml", PACKAGE)];
        assert_eq!(roots_of(&files, "fixtures/").unwrap(), ["p"]);
    }

    #[test]
    fn broken_toml_names_file_and_line_unless_excluded() {
        let files = [("a/Cargo.toml", "[package]\nname = {{ x }}")];
        let message = roots_of(&files, "").unwrap_err();
        assert!(message.contains("--> a/Cargo.toml:2:"), "{message}");
        assert_eq!(roots_of(&files, "a/").unwrap(), [""; 0]);
    }

    proptest::proptest! {
        #[test]
        fn nearly_right_manifests_never_panic(text in crate::testing::damaged_text(
            "[workspace]\nmembers = [\"a/*\"]\nexclude = [\"b\"]\n[package]\nname = \"x\"\nworkspace = \"..\"\n",
        )) {
            place(&text);
            let _ = roots_of(&[("Cargo.toml", &text), ("a/b/Cargo.toml", &text)], "");
        }
    }
}
