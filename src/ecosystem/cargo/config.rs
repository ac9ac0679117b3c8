//! Cargo's and clippy's configuration files, as the tools search them: from a folder upwards, then CARGO_HOME.
//!
//! Stays free of what the settings mean; credentials never become part of a key.

use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::env;
use crate::path::RelPath;
use crate::plan::check::OutsideFile;
use crate::scope::Scope;
use crate::snapshot::FileId;

/// What cargo looks for in every folder upwards.
pub(crate) const CARGO_CONFIG: &[&str] = &[".cargo/config.toml", ".cargo/config"];
/// What clippy looks for in every folder upwards from a package.
pub(crate) const CLIPPY_CONFIG: &[&str] = &["clippy.toml", ".clippy.toml"];
/// What rustfmt looks for in every folder upwards from a target root.
pub(crate) const RUSTFMT_CONFIG: &[&str] = &["rustfmt.toml", ".rustfmt.toml"];
/// What rustup looks for in every folder upwards.
pub(crate) const TOOLCHAIN_FILE: &[&str] = &["rust-toolchain", "rust-toolchain.toml"];

/// Whether the file is cargo configuration.
#[must_use]
pub(crate) fn is_cargo_config(path: &RelPath) -> bool {
    matches!(path.file_name(), "config.toml" | "config")
        && path.parent().is_some_and(|dir| dir.file_name() == ".cargo")
}

/// Cargo's home, as cargo finds it.
#[must_use]
pub(crate) fn cargo_home(scope: &Scope<'_>) -> Option<PathBuf> {
    scope
        .env
        .path(env::CARGO_HOME)
        .or_else(|| scope.home().map(|home| home.join(".cargo")))
}

/// The project's files with one of `names` that a search from each of `dirs` meets, sorted.
#[must_use]
pub(crate) fn chains(scope: &Scope<'_>, dirs: &[RelPath], names: &[&str]) -> Vec<FileId> {
    let mut found: Vec<FileId> = dirs
        .iter()
        .flat_map(|dir| scope.chain(dir, names))
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Cargo and clippy configuration above the project root. The file in CARGO_HOME is not one of them, also where a
/// search upwards meets it: it is granted with CARGO_HOME and keyed by [`home_digest`], without its credentials.
#[must_use]
pub(crate) fn above(scope: &Scope<'_>, cargo_home: &Path) -> Vec<OutsideFile> {
    let names = [CARGO_CONFIG, CLIPPY_CONFIG].concat();
    let mut found = scope.above(&names);
    found.retain(|file| {
        let mut folders = scope.snapshot.root().ancestors();
        let up = usize::try_from(file.up).unwrap_or(usize::MAX);
        let place = folders.nth(up).map(|folder| file.path.under(folder));
        place.is_none_or(|place| place.parent() != Some(cargo_home))
    });
    found
}

/// Where the user's own cargo keeps the products of the workspace in `dir`, as far as the environment and the project
/// say.
#[must_use]
pub(crate) fn target_folder(scope: &Scope<'_>, dir: &RelPath) -> PathBuf {
    let folder = dir.under(scope.snapshot.root());
    let set = ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR"];
    if let Some(path) = set.iter().find_map(|name| scope.env.path(name)) {
        return folder.join(path);
    }
    let configured = scope.chain(dir, CARGO_CONFIG).into_iter().find_map(|id| {
        let entry = scope.snapshot.entry(id);
        let facts = scope.facts;
        let answer = facts.derive("cargo-target-dir/1", entry.digest, || {
            scope
                .text(&entry.path)
                .map(|text| target_dir(&text))
                .ok_or(())
        });
        let base = entry.path.parent()?.parent()?.under(scope.snapshot.root());
        Some(base.join(answer.ok()??))
    });
    configured.unwrap_or_else(|| folder.join("target"))
}

fn target_dir(text: &str) -> Option<String> {
    let table: toml::Table = toml::from_str(text).ok()?;
    let path = table.get("build")?.get("target-dir")?.as_str()?;
    Some(path.to_owned())
}

/// Digest of the configuration in CARGO_HOME without credentials; `None` if there is none.
#[must_use]
pub(crate) fn home_digest(cargo_home: &Path) -> Option<Digest> {
    // Cargo reads `config` where both exist.
    let bytes = ["config", "config.toml"]
        .iter()
        .find_map(|name| std::fs::read(cargo_home.join(name)).ok())?;
    let text = String::from_utf8_lossy(&bytes);
    Some(Digest::of(without_credentials(&text).as_bytes()))
}

/// The same settings without tokens, in canonical form; text that is no TOML stays as it is (cargo will refuse it).
fn without_credentials(text: &str) -> String {
    let Ok(mut table) = toml::from_str::<toml::Table>(text) else {
        return text.to_owned();
    };
    let strip = |table: &mut toml::Table| {
        for key in ["token", "secret-key"] {
            table.remove(key);
        }
    };
    if let Some(registry) = table
        .get_mut("registry")
        .and_then(toml::Value::as_table_mut)
    {
        strip(registry);
    }
    let registries = table
        .get_mut("registries")
        .and_then(toml::Value::as_table_mut);
    for registry in registries.into_iter().flat_map(|all| all.iter_mut()) {
        if let Some(registry) = registry.1.as_table_mut() {
            strip(registry);
        }
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_and_form_do_not_count_but_settings_do() {
        let plain =
            without_credentials("[registries.a]\nindex = \"x\"\n[registry]\n[net]\nretry = 1\n");
        let same = "# note\n[net]\nretry = 1\n[registry]\ntoken = \"t\"\n[registries.a]\ntoken = \"s\"\nindex = \"x\"\n";
        assert_eq!(without_credentials(same), plain);
        assert_ne!(without_credentials("[net]\nretry = 2"), plain);
        assert_eq!(without_credentials("no toml ["), "no toml [");
    }

    #[test]
    fn cargo_configuration_is_told_by_its_folder() {
        let is = |path: &str| is_cargo_config(&RelPath::new(path).unwrap());
        assert!(is(".cargo/config.toml") && is("a/.cargo/config"));
        assert!(!is("config.toml") && !is(".cargo/audit.toml"));
    }

    proptest::proptest! {
        #[test]
        fn whatever_the_text_a_table_keeps_no_token(text in crate::testing::damaged_text(
            "[registry]\ntoken = \"hunter2\"\n[registries.a]\nindex = \"x\"\ntoken = \"hunter2\"\n[net]\noffline = true\n",
        )) {
            let left = without_credentials(&text);
            let Ok(table) = toml::from_str::<toml::Table>(&left) else { return Ok(()) };
            let token = |table: &toml::Value| table.get("token").is_some();
            proptest::prop_assert!(!table.get("registry").is_some_and(token));
            let all = table.get("registries").and_then(toml::Value::as_table);
            proptest::prop_assert!(!all.is_some_and(|all| all.values().any(token)));
        }
    }
}
