//! The configuration that cargo gets outside of rooms: where the project's packages come from, and nothing that names a
//! program, a flag or a file to write.
//!
//! | key of the project | kept |
//! |---|---|
//! | `source.*`, `registries.*.index`, `registry.default`, `patch`, `net.retry` | yes |
//! | `resolver.incompatible-rust-versions`, which decides what is resolved | yes |
//! | `include` of files of the project, which are reduced, too | yes |
//! | everything else: `build`, `target`, `env`, `http`, credential providers, … | no |
//!
//! A registry or source that the user's own configuration defines keeps the user's value, as the user's token may go
//! there; except for sources replaced by a folder.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use crate::path::RelPath;
use crate::plan::check::OutsideFile;
use crate::scope::Scope;
use crate::snapshot::{FileId, Kind};

use super::config::{self, CARGO_CONFIG, is_cargo_config};
use super::links::follow;

/// Names that the user's own configuration defines.
#[derive(Debug, Default)]
pub(crate) struct Users {
    registries: BTreeSet<String>,
    sources: BTreeSet<String>,
}

impl Users {
    pub(crate) fn of(scope: &Scope<'_>) -> Self {
        let mut all = Self::default();
        for text in config::texts_of_user(scope) {
            let table: Table = toml::from_str(&text).unwrap_or_default();
            all.registries.extend(names(&table, "registries"));
            all.sources.extend(names(&table, "source"));
        }
        all
    }
}

fn names(table: &Table, key: &str) -> Vec<String> {
    let inner = table.get(key).and_then(Value::as_table);
    let names = inner.into_iter().flat_map(Table::keys);
    names.cloned().collect()
}

/// The project's configuration files and all they include, reduced, by the path where cargo looks for them: a link is
/// replaced by what it leads to in the project.
pub(crate) fn files(scope: &Scope<'_>) -> BTreeMap<RelPath, Vec<u8>> {
    let entries = scope.snapshot.entries().iter();
    let mut places: BTreeSet<RelPath> = BTreeSet::new();
    for entry in entries {
        if is_cargo_config(&entry.path) {
            places.insert(entry.path.clone());
        } else if entry.kind == Kind::Symlink && entry.path.file_name() == ".cargo" {
            let folder = entry.path.parent().unwrap_or_default();
            places.extend(
                CARGO_CONFIG
                    .iter()
                    .filter_map(|name| folder.join(name).ok()),
            );
        }
    }
    let mut users = None;
    let mut files = BTreeMap::new();
    while let Some(place) = places.pop_first() {
        let Some(file) = follow(scope.snapshot, &place).file else {
            continue;
        };
        let text = scope.text(&scope.snapshot.entry(file).path);
        let users = users.get_or_insert_with(|| Users::of(scope));
        let folder = place.parent().unwrap_or_default();
        let included = |path: &str| {
            let path = folder.join(path).ok()?;
            let found = scope.snapshot.find(&path)?;
            (scope.snapshot.entry(found).kind != Kind::Symlink).then_some(path)
        };
        let (text, includes) = reduced(&text.unwrap_or_default(), users, &included);
        files.insert(place, text.into_bytes());
        places.extend(
            includes
                .into_iter()
                .filter(|path| !files.contains_key(path)),
        );
    }
    files
}

/// Whether a file or link must not be where cargo runs outside of rooms, unless reduced.
pub(crate) fn replaces(scope: &Scope<'_>, id: FileId) -> bool {
    let entry = scope.snapshot.entry(id);
    is_cargo_config(&entry.path)
        || entry.kind == Kind::Symlink && entry.path.file_name() == ".cargo"
}

/// A configuration file above the project root, reduced if it belongs to the same repository.
pub(crate) fn above(scope: &Scope<'_>, file: &OutsideFile) -> Option<Vec<u8>> {
    let root = scope.snapshot.root();
    let up = usize::try_from(file.up).ok()?;
    let path = file.path.under(root.ancestors().nth(up)?);
    let top = root.ancestors().find(|dir| dir.join(".git").exists())?;
    if !path.starts_with(top) {
        return None;
    }
    let text = crate::fs::text(&path).unwrap_or_default();
    let (text, _) = reduced(&text, &Users::of(scope), &|_| None);
    Some(text.into_bytes())
}

/// The text with only the keys above, and the files that it still includes.
fn reduced(
    text: &str,
    users: &Users,
    included: &dyn Fn(&str) -> Option<RelPath>,
) -> (String, Vec<RelPath>) {
    // What is not valid is reported by the check that needs it.
    let table: Table = toml::from_str(text).unwrap_or_default();
    let mut kept = Table::new();
    for (key, names) in [
        ("net", "retry"),
        ("registry", "default"),
        ("resolver", "incompatible-rust-versions"),
    ] {
        if let Some(value) = table.get(key).and_then(|inner| inner.get(names)) {
            kept.insert(
                key.to_owned(),
                Table::from_iter([(names.to_owned(), value.clone())]).into(),
            );
        }
    }
    kept.extend(
        table
            .get("patch")
            .map(|patch| ("patch".to_owned(), patch.clone())),
    );
    let registries = inner(&table, "registries").filter_map(|(name, registry)| {
        let index = registry
            .get("index")
            .filter(|_| !users.registries.contains(name))?;
        let index = Table::from_iter([("index".to_owned(), index.clone())]);
        Some((name.clone(), Value::Table(index)))
    });
    let sources = inner(&table, "source");
    let sources = sources
        .filter(|(name, source)| !users.sources.contains(*name) || is_in_folder(&table, source));
    let sources = sources.map(|(name, source)| (name.clone(), source.clone()));
    for (key, inner) in [
        ("registries", Table::from_iter(registries)),
        ("source", Table::from_iter(sources)),
    ] {
        if !inner.is_empty() {
            kept.insert(key.to_owned(), inner.into());
        }
    }
    let includes = config::includes(text);
    let includes: Vec<(String, RelPath)> = includes
        .into_iter()
        .filter_map(|path| included(&path).map(|file| (path, file)))
        .collect();
    if !includes.is_empty() {
        let paths = includes.iter().map(|(path, _)| Value::String(path.clone()));
        kept.insert("include".to_owned(), Value::Array(paths.collect()));
    }
    let files = includes.into_iter().map(|(_, file)| file);
    (kept.to_string(), files.collect())
}

fn inner<'a>(table: &'a Table, key: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    let inner = table.get(key).and_then(Value::as_table);
    inner.into_iter().flatten()
}

/// Whether a source is a folder, or is replaced by one.
fn is_in_folder(table: &Table, source: &Value) -> bool {
    let is_folder = |source: &Value| {
        let has = |key| source.get(key).is_some();
        has("directory") || has("local-registry")
    };
    let other = source.get("replace-with").and_then(Value::as_str);
    let other = other.and_then(|name| table.get("source")?.get(name));
    is_folder(other.unwrap_or(source))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, users: &Users) -> Table {
        let included = |path: &str| {
            RelPath::new(path)
                .ok()
                .filter(|path| path.as_str() == "own.toml")
        };
        let (text, _) = reduced(text, users, &included);
        toml::from_str(&text).expect("valid")
    }

    #[test]
    fn programs_and_flags_are_dropped_and_sources_kept() {
        let text = "include = [\"own.toml\", \"/etc/x.toml\", { path = \"../up.toml\" }]\n\
            paths = [\"/x\"]\n[build]\nrustc = \"x\"\nrustc-wrapper = \"x\"\nrustflags = [\"--print=cfg=x\"]\n\
            [target.x]\nlinker = \"x\"\nrunner = \"x\"\n[env]\nA = \"x\"\n[http]\nproxy = \"x\"\ncainfo = \"x\"\n\
            [credential-alias]\na = [\"x\"]\n[registry]\ndefault = \"a\"\nglobal-credential-providers = [\"x\"]\n\
            [registries.a]\nindex = \"i\"\ncredential-provider = \"x\"\n[net]\nretry = 2\ngit-fetch-with-cli = true\n\
            [patch.crates-io]\np = { path = \"p\" }\n[source.s]\nregistry = \"r\"\n[alias]\nb = \"x\"\n";
        let kept: Table = toml::from_str(
            "include = [\"own.toml\"]\n[registry]\ndefault = \"a\"\n[registries.a]\nindex = \"i\"\n[net]\nretry = 2\n\
             [patch.crates-io]\np = { path = \"p\" }\n[source.s]\nregistry = \"r\"\n",
        )
        .expect("valid");
        assert_eq!(of(text, &Users::default()), kept);
        assert!(of("no toml [", &Users::default()).is_empty());
    }

    #[test]
    fn what_the_user_defines_stays_the_users() {
        let set = |name: &str| BTreeSet::from([name.to_owned()]);
        let users = Users {
            registries: set("a"),
            sources: set("crates-io"),
        };
        let text = "[registries.a]\nindex = \"evil\"\n[source.crates-io]\nreplace-with = \"x\"\n[source.x]\nregistry = \"evil\"\n";
        let kept = of(text, &users);
        assert!(!kept.contains_key("registries"), "{kept}");
        let source = kept["source"].as_table().expect("sources");
        assert!(!source.contains_key("crates-io"), "{kept}");
        let vendored =
            "[source.crates-io]\nreplace-with = \"v\"\n[source.v]\ndirectory = \"vendor\"\n";
        assert_eq!(
            of(vendored, &users),
            toml::from_str(vendored).expect("valid")
        );
    }

    proptest::proptest! {
        #[test]
        fn whatever_the_text_no_program_is_left(text in crate::testing::damaged_text(
            "[build]\nrustc-wrapper = \"x\"\n[registries.a]\nindex = \"x\"\ncredential-provider = \"x\"\n[env]\nA = \"b\"\n",
        )) {
            let kept = of(&text, &Users::default());
            let known = ["include", "net", "patch", "registries", "registry", "resolver", "source"];
            proptest::prop_assert!(kept.keys().all(|key| known.contains(&&**key)));
            let registries = kept.get("registries").and_then(Value::as_table);
            let mut registries = registries.into_iter().flat_map(Table::values);
            let only_index = |registry: &Value| registry.as_table().is_some_and(|all| all.keys().all(|key| key == "index"));
            proptest::prop_assert!(registries.all(only_index));
        }
    }
}
