//! What a configuration asks for beyond a closed room.
//!
//! | key | asks |
//! |---|---|
//! | `network = true`, `secrets` of a check | yes |
//! | `env` of a check with a name like that of a credential | yes |
//! | `[engine] address` other than the default | yes |
//! | `env` with other names, images, system packages | no |
//!
//! An answer covers the whole table of the check, and its command and arguments that are files of the project.

use crate::config::{CheckConfig, Config, Loaded};
use crate::digest::{Digest, Hasher};
use crate::path::RelPath;
use crate::plan::trust::Ask;
use crate::snapshot::content::hash_path;
use crate::snapshot::{Kind, Snapshot};

/// Dagger's own place, which is the system's.
const DEFAULT_ADDRESS: &str = "unix:///run/dagger/engine.sock";

/// Words of variable names, between underscores.
const CREDENTIALS: &[&str] = &[
    "TOKEN",
    "SECRET",
    "SECRETS",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "CREDENTIAL",
    "CREDENTIALS",
];

/// The same, only as the last word.
const LAST: &[&str] = &["KEY", "AUTH"];

/// All of them, by check.
#[must_use]
pub(crate) fn asks(loaded: &Loaded, snapshot: &Snapshot) -> Vec<Ask> {
    let checks = loaded.config.checks.iter();
    let checks = checks.filter_map(|(id, check)| of_check(loaded, snapshot, id, check));
    of_engine(&loaded.config)
        .into_iter()
        .chain(checks)
        .collect()
}

/// That of `[engine] address`.
#[must_use]
pub(crate) fn of_engine(config: &Config) -> Option<Ask> {
    let address = config.engine.address.as_deref()?;
    if address == DEFAULT_ADDRESS {
        return None;
    }
    let mut hasher = Hasher::new();
    hasher.part(b"engine");
    hasher.part(address.as_bytes());
    Some(Ask {
        check: None,
        what: format!("`[engine] address` asks for the engine at {address}"),
        digest: hasher.finish(),
    })
}

fn of_check(loaded: &Loaded, snapshot: &Snapshot, id: &str, check: &CheckConfig) -> Option<Ask> {
    let env: Vec<&str> = check.env.iter().flatten().map(String::as_str).collect();
    let mut keys = Vec::new();
    if check.network == Some(true) {
        keys.push("`network = true`".to_owned());
    }
    if let Some(secrets) = check.secrets.as_ref().filter(|names| !names.is_empty()) {
        keys.push(format!("`secrets` {}", secrets.join(", ")));
    }
    let credentials = env.iter().any(|name| is_credential(name));
    if !env.is_empty() && (credentials || !keys.is_empty()) {
        keys.push(format!("`env` {}", env.join(", ")));
    }
    if keys.is_empty() {
        return None;
    }
    let mut hasher = Hasher::new();
    hasher.part(b"check");
    hasher.part(id.as_bytes());
    for (key, value) in loaded.given_of_check(id) {
        hasher.part(key.as_bytes());
        hasher.part(value.to_string().as_bytes());
    }
    hash_program(snapshot, check, &mut hasher);
    Some(Ask {
        check: Some(id.to_owned()),
        what: format!(
            "check `{id}` asks for {} ({})",
            keys.join(" and "),
            check.place
        ),
        digest: hasher.finish(),
    })
}

/// A command that is a file of the project, and every argument that is one (`sh ci/run.sh`), by content.
fn hash_program(snapshot: &Snapshot, check: &CheckConfig, hasher: &mut Hasher) {
    let dir = check.dir.clone().unwrap_or_default();
    let find = |path: &RelPath| snapshot.find(path).map(|id| snapshot.entry(id));
    let words = check.command.iter().flat_map(|argv| argv.iter().skip(1));
    for word in words.chain(check.args.iter().flatten()) {
        if let Some(entry) = dir.join(word).ok().and_then(|path| find(&path)) {
            hasher.part(word.as_bytes());
            hasher.part(entry.digest.as_bytes());
        }
    }
    let program = check.command.as_ref().and_then(|argv| argv.first());
    let program = program.filter(|program| program.contains('/'));
    let Some(path) = program.and_then(|program| dir.join(program).ok()) else {
        return;
    };
    match find(&path).filter(|entry| entry.kind != Kind::Symlink) {
        Some(entry) => hasher.part(entry.digest.as_bytes()),
        // A link, or a file that git ignores.
        None => {
            let content = hash_path(&path.under(snapshot.root()));
            let digest = content.map_or_else(|_| Digest::of(b""), |content| content.digest);
            hasher.part(digest.as_bytes());
        }
    }
}

/// Whether a variable's name looks like that of a credential.
#[must_use]
fn is_credential(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let is_last = name
        .rsplit('_')
        .next()
        .is_some_and(|word| LAST.contains(&word));
    is_last || name.split('_').any(|word| CREDENTIALS.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_credentials() {
        for name in [
            "TOKEN",
            "GITHUB_TOKEN",
            "MY_SECRET_X",
            "DB_PASSWORD",
            "api_key",
            "NPM_AUTH",
            "AWS_CREDENTIALS",
            "KEY",
        ] {
            assert!(is_credential(name), "{name}");
        }
        for name in [
            "HEADER_YEAR",
            "KEY_FILE",
            "AUTH_URL",
            "MONKEY",
            "TOKENS",
            "CI",
            "",
        ] {
            assert!(!is_credential(name), "{name}");
        }
    }
}
