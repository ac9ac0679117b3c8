//! Determines which Cargo.toml files are roots, for which checks are planned.
//!
//! Follows cargo's own search: a package belongs to the nearest workspace above it that does not exclude it; a
//! manifest with `[workspace]`, or a package without a workspace, may be a root. It is one if the project's authors
//! run cargo there: it is topmost, it has a Cargo.lock, or a CI file names its folder. Vendored crates, cargo's
//! downloads, templates, test data and fuzz targets are not roots. Starts no processes.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::finding::position;
use crate::path::RelPath;
use crate::scope::Scope;
use crate::snapshot::FileId;

use super::links::follow;
use super::{ci, config, skeleton};

pub(crate) use super::skeleton::MANIFEST;

/// A folder for which checks are planned.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Root {
    /// The folder.
    pub(crate) dir: RelPath,
    /// The whole message if its manifest is unreadable.
    pub(crate) broken: Option<String>,
}

/// The role of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Place {
    /// It has `[workspace]`.
    Workspace {
        exclude: Vec<String>,
        members: Vec<String>,
    },
    /// A package; `true` if it names its workspace (`package.workspace`).
    Package(bool),
    /// Neither, or fuzz targets, which only `cargo fuzz` builds: nobody runs cargo there.
    Other,
    /// Invalid TOML; holds line, column and the parser's message.
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
    metadata: Option<toml::Value>,
}

impl Package {
    fn is_fuzz(&self) -> bool {
        let flag = self
            .metadata
            .as_ref()
            .and_then(|table| table.get("cargo-fuzz"));
        flag.and_then(toml::Value::as_bool) == Some(true)
    }
}

fn place(text: &str) -> Place {
    let manifest = match toml::from_str::<Manifest>(text) {
        Ok(manifest) => manifest,
        Err(error) => {
            let start = error.span().map_or(0, |span| span.start);
            let (line, column) = position(text.as_bytes(), start);
            return Place::Broken(line, column, error.message().trim().to_owned());
        }
    };
    let package = manifest.package.or(manifest.project);
    match (manifest.workspace, package) {
        (_, Some(package)) if package.is_fuzz() => Place::Other,
        (Some(Workspace { exclude, members }), _) => Place::Workspace { exclude, members },
        (None, Some(package)) => Place::Package(package.workspace.is_some()),
        (None, None) => Place::Other,
    }
}

/// All manifests of the project, sorted by path; some may be links to others.
pub(crate) fn manifests(scope: &Scope<'_>) -> Vec<FileId> {
    let entries = scope.snapshot.entries().iter().zip(0..);
    entries
        .filter(|(entry, _)| entry.path.file_name() == MANIFEST)
        .map(|(_, id)| id)
        .collect()
}

/// Folders of packages that cargo considers registry packages.
pub(crate) fn vendored(scope: &Scope<'_>) -> Vec<RelPath> {
    let entries = scope.snapshot.entries().iter();
    let marks = entries.filter(|entry| entry.path.file_name() == ".cargo-checksum.json");
    marks.filter_map(|entry| entry.path.parent()).collect()
}

/// All roots that are not excluded, sorted by folder. Adds a warning for candidates that are skipped.
pub(crate) fn roots(scope: &Scope<'_>, warnings: &mut Vec<String>) -> Vec<Root> {
    let mut places = BTreeMap::new();
    for id in manifests(scope) {
        let dir = scope.snapshot.entry(id).path.parent();
        places.insert(dir.unwrap_or_default(), (id, read(scope, id)));
    }
    let vendored = vendored(scope);
    let home = home_inside(scope);
    places.retain(|dir, _| !is_downloaded(&vendored, home.as_ref(), dir));
    let candidates = Candidates {
        scope,
        named: ci::folders(scope),
        places,
    };
    let mut roots = Vec::new();
    let mut stray = Vec::new();
    for (dir, (id, place)) in &candidates.places {
        if scope.excluded.get(*id as usize).copied().unwrap_or(false) {
            continue;
        }
        let path = &scope.snapshot.entry(*id).path;
        match (candidates.may_be_root(dir, place), candidates.is_used(dir)) {
            (true, true) => roots.push(Root {
                dir: dir.clone(),
                broken: broken(path, place),
            }),
            (true, false) if !path.is_fixture() && !matches!(place, Place::Broken(..)) => {
                stray.push(dir);
            }
            (_, _) => {
                if let Place::Broken(line, column, message) = place {
                    warnings.push(format!(
                        "skipped `{path}`, which is not valid TOML: {message} (line {line}, column {column})"
                    ));
                }
            }
        }
    }
    if !stray.is_empty() {
        let patches = patches(scope, &roots);
        stray.retain(|dir| !patches.contains(*dir));
    }
    if !stray.is_empty() {
        let stray: Vec<String> = stray.iter().map(|dir| format!("`{dir}`")).collect();
        warnings.push(format!(
            "not checked: {}, which belongs to no Cargo workspace; to check it, add a Cargo.lock or a CI step that names it",
            stray.join(", ")
        ));
    }
    roots
}

/// Folders of packages that replace dependencies of a root: cargo compiles them with it.
fn patches(scope: &Scope<'_>, roots: &[Root]) -> BTreeSet<RelPath> {
    let table = |root: &Root| {
        let text = scope.text(&root.dir.join(MANIFEST).ok()?)?;
        let table: toml::Table = toml::from_str(&text).ok()?;
        Some(skeleton::patches(&root.dir, &table))
    };
    roots.iter().filter_map(table).flatten().collect()
}

fn broken(path: &RelPath, place: &Place) -> Option<String> {
    let Place::Broken(line, column, message) = place else {
        return None;
    };
    Some(format!(
        "`{path}` is not valid TOML: {message}\n  --> {path}:{line}:{column}\n\
         help: fix it, or add its folder to `exclude` in the configuration"
    ))
}

/// A manifest that does not exist for cargo either: it is unreadable, or a link to outside the project.
fn read(scope: &Scope<'_>, id: FileId) -> Place {
    let entry = scope.snapshot.entry(id);
    let Some(id) = follow(scope.snapshot, &entry.path).file else {
        return Place::Other;
    };
    let entry = scope.snapshot.entry(id);
    let place = scope.facts.derive("cargo-place/2", entry.digest, || {
        let bytes = scope.snapshot.read(id)?;
        Ok(place(&String::from_utf8_lossy(&bytes)))
    });
    place.unwrap_or_else(|error: std::io::Error| Place::Broken(1, 1, error.to_string()))
}

/// CARGO_HOME, if it is in the project.
fn home_inside(scope: &Scope<'_>) -> Option<RelPath> {
    let home = config::cargo_home(scope)?;
    let inside = home.strip_prefix(scope.snapshot.root()).ok()?;
    RelPath::from_path(inside)
        .ok()
        .filter(|home| !home.is_root())
}

/// Whether cargo put it there: it is vendored, or below a CARGO_HOME.
fn is_downloaded(vendored: &[RelPath], home: Option<&RelPath>, dir: &RelPath) -> bool {
    let text = format!("/{}/", dir.display_dot());
    home.is_some_and(|home| dir.starts_with(home))
        || text.contains("/registry/src/")
        || text.contains("/git/checkouts/")
        || vendored.iter().any(|package| dir.starts_with(package))
}

struct Candidates<'a> {
    scope: &'a Scope<'a>,
    /// Folders in which CI runs something.
    named: BTreeSet<RelPath>,
    places: BTreeMap<RelPath, (FileId, Place)>,
}

impl Candidates<'_> {
    /// Whether cargo, started there, would consider it the root of a workspace.
    fn may_be_root(&self, dir: &RelPath, place: &Place) -> bool {
        match place {
            Place::Workspace { .. } => true,
            Place::Package(true) | Place::Other => false,
            Place::Package(false) | Place::Broken(..) => !dir.ancestors().any(|above| {
                let claims = |(_, place): &(FileId, Place)| claims(&above, place, dir);
                self.places.get(&above).is_some_and(claims)
            }),
        }
    }

    /// Whether the authors run cargo there.
    fn is_used(&self, dir: &RelPath) -> bool {
        let file = |name: &str| dir.join(name).unwrap_or_default();
        let locked = self.scope.snapshot.find(&file("Cargo.lock")).is_some();
        let fixture = file(MANIFEST).is_fixture();
        let topmost = !dir
            .ancestors()
            .any(|above| self.places.contains_key(&above));
        dir.is_root()
            || self.named.contains(dir)
            || topmost && !fixture
            || locked && (!fixture || is_example(dir))
    }
}

/// Whether it is below `examples`, and below no other folder for fixtures.
fn is_example(dir: &RelPath) -> bool {
    let others: Vec<&str> = dir.segments().filter(|name| *name != "examples").collect();
    RelPath::new(&others.join("/")).is_ok_and(|rest| !rest.is_fixture())
}

/// Whether a workspace at `above` claims the package at `dir`: it is below and not excluded. Packages below an
/// explicit member belong to it even in an excluded folder.
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

    fn roots_of(files: &[(&str, &str)], excluded: &str) -> (Vec<String>, Vec<String>) {
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
            strange: crate::scope::Strange::default(),
            trusted: crate::plan::trust::Trusted::default(),
            images: None,
        };
        let mut said = Vec::new();
        let roots = roots(&scope, &mut said);
        said.extend(roots.iter().filter_map(|root| root.broken.clone()));
        (
            roots.iter().map(|root| root.dir.to_string()).collect(),
            said,
        )
    }

    const PACKAGE: &str = "[package]\nname = \"p\"";

    #[test]
    fn members_are_no_roots_but_locked_packages_outside_are() {
        let files = [
            (
                "Cargo.toml",
                "[workspace]\nmembers = [\"a\", \"out/in\"]\nexclude = [\"out\"]",
            ),
            ("a/Cargo.toml", PACKAGE),
            ("a/Cargo.lock", ""),
            ("nested/Cargo.lock", ""),
            ("nested/Cargo.toml", "[workspace]"),
            ("out/b/Cargo.lock", ""),
            ("out/b/Cargo.toml", PACKAGE),
            ("out/c/Cargo.toml", PACKAGE),
            ("out/in/Cargo.toml", PACKAGE),
            ("stray/Cargo.toml", PACKAGE),
        ];
        let (roots, warnings) = roots_of(&files, "");
        assert_eq!(roots, [".", "nested", "out/b"]);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("`out/c`"), "{warnings:?}");
    }

    #[test]
    fn a_package_that_replaces_a_dependency_is_not_called_unchecked() {
        let root = "[package]\nname = \"p\"\n[patch.crates-io]\nq = { path = \"patched/q\" }";
        let files = [
            ("Cargo.toml", root),
            ("patched/q/Cargo.toml", PACKAGE),
            ("stray/Cargo.toml", PACKAGE),
        ];
        let (_, warnings) = roots_of(&files, "");
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(
            warnings[0].contains("not checked: `stray`,"),
            "{warnings:?}"
        );
    }

    #[test]
    fn packages_with_nothing_above_them_are_roots_each() {
        let files = [
            ("x/Cargo.toml", PACKAGE),
            ("x/dep/Cargo.toml", PACKAGE),
            (
                "y/Cargo.toml",
                "[package]\nname = \"y\"\nworkspace = \"../w\"",
            ),
            ("z/Cargo.toml", "[dependencies]"),
            ("tests/data/Cargo.toml", PACKAGE),
        ];
        assert_eq!(roots_of(&files, "").0, ["x"]);
    }

    #[test]
    fn a_folder_that_ci_works_in_is_a_root() {
        let files = [
            (
                ".github/workflows/ci.yml",
                "      working-directory: ./tests/abi/\n",
            ),
            ("Cargo.toml", "[workspace]\nexclude = [\"tests\"]"),
            ("tests/abi/Cargo.toml", PACKAGE),
            ("tests/other/Cargo.toml", PACKAGE),
        ];
        assert_eq!(roots_of(&files, "").0, [".", "tests/abi"]);
    }

    #[test]
    fn what_cargo_downloaded_fixtures_and_fuzz_targets_are_no_roots() {
        let fuzz = "[package]\nname = \"f\"\n[package.metadata]\ncargo-fuzz = true\n[workspace]";
        let files = [
            ("Cargo.toml", PACKAGE),
            (".cache/registry/src/x/y/Cargo.lock", ""),
            (".cache/registry/src/x/y/Cargo.toml", "[workspace]"),
            ("deps/d/.cargo-checksum.json", "{}"),
            ("deps/d/Cargo.lock", ""),
            ("deps/d/Cargo.toml", "[workspace]"),
            ("deps/d/tests/broken/Cargo.toml", "{{"),
            ("examples/e/Cargo.lock", ""),
            ("examples/e/Cargo.toml", "[workspace]"),
            ("fuzz/Cargo.lock", ""),
            ("fuzz/Cargo.toml", fuzz),
            ("tests/t/Cargo.lock", ""),
            ("tests/t/Cargo.toml", "[workspace]"),
        ];
        assert_eq!(
            roots_of(&files, ""),
            (vec![".".to_owned(), "examples/e".to_owned()], vec![])
        );
    }

    #[test]
    fn what_the_configuration_excludes_is_no_root() {
        let files = [("old/Cargo.toml", PACKAGE), ("p/Cargo.toml", PACKAGE)];
        assert_eq!(roots_of(&files, "old/").0, ["p"]);
    }

    #[test]
    fn a_broken_manifest_is_the_trouble_of_its_own_checks() {
        let broken = "[package]\nname = {{ x }}";
        let (roots, said) = roots_of(&[("a/Cargo.toml", broken), ("b/Cargo.toml", PACKAGE)], "");
        assert_eq!(roots, ["a", "b"]);
        assert!(said[0].contains("--> a/Cargo.toml:2:"), "{said:?}");
        assert_eq!(
            roots_of(&[("a/Cargo.toml", broken)], "a/"),
            (vec![], vec![])
        );
        let template = ("templates/a/Cargo.toml", broken);
        let (roots, said) = roots_of(&[template, ("Cargo.toml", PACKAGE)], "");
        assert_eq!((roots, said.len()), (vec![".".to_owned()], 1));
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
