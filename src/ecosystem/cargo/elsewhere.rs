//! Where a workspace's packages come from besides the default registry and what the user's own configuration names. The
//! repository needs the user's consent for these places, because resolving and fetching connect to them.

use std::collections::BTreeSet;

use toml::{Table, Value};

use crate::digest::{Digest, Hasher};
use crate::path::RelPath;
use crate::plan::trust::Ask;
use crate::scope::Scope;
use crate::snapshot::Kind;

use super::config;
use super::lock;
use super::manifests::MANIFEST;
use super::reduced;
use super::workspace::Workspaces;

/// The default registry under all its names.
const DEFAULT: [&str; 3] = [
    "https://github.com/rust-lang/crates.io-index",
    "https://index.crates.io",
    "crates-io",
];

/// What the workspace in `dir` asks for, if anything.
pub(crate) fn ask(scope: &Scope<'_>, workspaces: &Workspaces<'_>, dir: &RelPath) -> Option<Ask> {
    let path = dir.join("Cargo.lock").unwrap_or_default();
    let lock = match scope.snapshot.find(&path) {
        Some(id) => scope.snapshot.entry(id).digest,
        None => crate::fs::read(path.under(scope.snapshot.root()))
            .map_or_else(|_| Digest::of(b""), |bytes| Digest::of(&bytes)),
    };
    let mut users = Hasher::new();
    for text in config::texts_of_user(scope) {
        users.part(text.as_bytes());
    }
    let key = Digest::combined([&workspaces.digest(), &lock, &users.finish()]);
    let places = scope.facts.derive("cargo-elsewhere/1", key, || {
        Ok::<_, std::convert::Infallible>(places(scope, &path))
    });
    let places: Vec<String> = places.unwrap_or_default();
    if places.is_empty() {
        return None;
    }
    let mut hasher = Hasher::new();
    hasher.part(b"cargo");
    for place in &places {
        hasher.part(place.as_bytes());
    }
    Some(Ask {
        check: None,
        what: format!(
            "`{}` asks for packages from {}",
            dir.join(MANIFEST).unwrap_or_default(),
            places.join(", ")
        ),
        digest: hasher.finish(),
    })
}

fn places(scope: &Scope<'_>, lock: &RelPath) -> Vec<String> {
    let mut found = BTreeSet::new();
    for (_, text) in reduced::files(scope) {
        found.extend(of_config(&String::from_utf8_lossy(&text)));
    }
    for entry in scope.snapshot.entries() {
        if entry.path.file_name() == MANIFEST && entry.kind != Kind::Symlink {
            let text = scope.text(&entry.path).unwrap_or_default();
            let table: Table = toml::from_str(&text).unwrap_or_default();
            of_manifest(&table, &mut found);
        }
    }
    let text = scope
        .text(lock)
        .or_else(|| crate::fs::text(lock.under(scope.snapshot.root())).ok());
    let packages = text.and_then(|text| lock::parse(&text).ok());
    let packages = packages.into_iter().flat_map(|lock| lock.package);
    found.extend(packages.filter_map(|package| package.source));
    let users = config::texts_of_user(scope);
    let users: BTreeSet<String> = users
        .iter()
        .flat_map(|text| of_config(text))
        .map(|place| plain(&place))
        .collect();
    let places: BTreeSet<String> = found.iter().map(|place| plain(place)).collect();
    let known = |place: &String| DEFAULT.contains(&&**place) || users.contains(place);
    places.into_iter().filter(|place| !known(place)).collect()
}

/// The places that cargo configuration names.
fn of_config(text: &str) -> Vec<String> {
    let table: Table = toml::from_str(text).unwrap_or_default();
    let inner = |key: &str| {
        let inner = table.get(key).and_then(Value::as_table).cloned();
        inner.unwrap_or_default()
    };
    let keys = ["index", "registry"];
    let all = inner("registries").into_iter().chain(inner("source"));
    let mut found: Vec<String> = all
        .flat_map(|(_, place)| {
            let places = keys.iter().filter_map(|key| place.get(key)?.as_str());
            places.map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    let mut patched = BTreeSet::new();
    of_manifest(&table, &mut patched);
    found.extend(patched);
    found
}

/// Dependencies and patches from repositories, at any depth.
fn of_manifest(table: &Table, found: &mut BTreeSet<String>) {
    for (key, value) in table {
        match value {
            Value::String(place) if key == "git" || key == "registry-index" => {
                found.insert(place.clone());
            }
            Value::Table(inner) if key != "metadata" => of_manifest(inner, found),
            _ => {}
        }
    }
}

/// The place without kind, revision and final slash.
fn plain(place: &str) -> String {
    let kinds = ["registry+", "sparse+", "git+"];
    let place = kinds
        .iter()
        .find_map(|kind| place.strip_prefix(kind))
        .unwrap_or(place);
    let place = place.split(['?', '#']).next().unwrap_or_default();
    place.trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_compared_without_kind_and_revision() {
        assert_eq!(plain("git+https://x/y?branch=main#abc"), "https://x/y");
        assert_eq!(
            plain("sparse+https://index.crates.io/"),
            "https://index.crates.io"
        );
        assert_eq!(plain("file:///x/y"), "file:///x/y");
    }

    #[test]
    fn every_place_of_a_manifest_and_a_configuration_is_seen() {
        let text = "[dependencies]\na = { git = \"g\" }\n[target.x.dependencies.b]\nregistry-index = \"r\"\n\
            [patch.crates-io]\nc = { git = \"p\" }\n[package.metadata.x]\ngit = \"no\"\n";
        let mut found = BTreeSet::new();
        of_manifest(&toml::from_str(text).expect("valid"), &mut found);
        assert_eq!(found, ["g", "p", "r"].map(str::to_owned).into());
        let text = "[registries.a]\nindex = \"i\"\n[source.b]\nregistry = \"r\"\n[source.c]\ngit = \"g\"\n[source.d]\ndirectory = \"d\"\n";
        assert_eq!(of_config(text), ["i", "r", "g"]);
    }
}
