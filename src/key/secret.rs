//! Secrets in keys: the value changes the key, but cannot be guessed from it without the sealing key.
//!
//! Does not know where the sealing key is stored.

use std::ffi::OsStr;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::digest::Digest;
use crate::env::Env;
use crate::plan::{Plan, Work};

/// Shorter values would match other text, so they cannot be masked.
pub(crate) const SHORTEST: usize = 4;

pub(crate) struct SealKey {
    pub(crate) bytes: Vec<u8>,
    /// Whether the whole team has it, so that results are shared between machines.
    pub(crate) shared: bool,
}

/// Seals the values of the plan's secrets. Gets `key` only if there are secrets. A check with a secret that cannot be
/// masked becomes a check that cannot run.
pub(crate) fn seal(plan: &mut Plan, env: &Env, key: impl FnOnce() -> SealKey) {
    let commands = plan.checks.iter().filter_map(|check| check.work.command());
    if commands
        .into_iter()
        .all(|command| command.secrets.is_empty())
    {
        return;
    }
    let key = key();
    for check in &mut plan.checks {
        let Work::Command(command) = &mut check.work else {
            continue;
        };
        let mut refused = None;
        for secret in &mut command.secrets {
            let value = env.var_os(&secret.name);
            if value.is_some_and(|value| !value.is_empty() && value.len() < SHORTEST) {
                refused.get_or_insert_with(|| too_short(&secret.name));
            }
            secret.mac = value.map(|value| mac(&key.bytes, &secret.name, value));
            secret.shared = key.shared;
        }
        if let Some(message) = refused {
            check.work = Work::Missing(message);
        }
    }
}

fn too_short(name: &str) -> String {
    format!(
        "the value of the secret {name} is shorter than {SHORTEST} characters and cannot be masked reliably"
    )
}

fn mac(key: &[u8], name: &str, value: &OsStr) -> Digest {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(&(name.len() as u64).to_le_bytes());
    mac.update(name.as_bytes());
    mac.update(value.as_encoded_bytes());
    Digest::from_bytes(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::path::RelPath;
    use crate::plan::check::Secret;
    use crate::plan::output::NoFindings;
    use crate::plan::{Check, Command};

    /// A check with these secrets, sealed where they have these values; and whether the key was asked for.
    fn sealed(secrets: &[&str], values: &[(&str, &str)]) -> (Work, bool) {
        let mut command = Command::new(
            vec!["x".into()],
            RelPath::root(),
            Vec::new(),
            Arc::new(NoFindings),
        );
        let secret = |name: &&str| Secret {
            name: (*name).into(),
            mac: None,
            shared: false,
        };
        let plain = Check::new("plain", "lint", Work::Command(Box::new(command.clone())));
        command.secrets = secrets.iter().map(secret).collect();
        let check = Check::new("own", "lint", Work::Command(Box::new(command)));
        let mut plan = Plan {
            checks: vec![plain, check],
            ..Plan::default()
        };
        let mut asked = false;
        seal(&mut plan, &Env::from_pairs(values), || {
            asked = true;
            SealKey {
                bytes: b"key".to_vec(),
                shared: true,
            }
        });
        (plan.checks.remove(1).work, asked)
    }

    #[test]
    fn each_secret_is_sealed_with_the_key() {
        let (work, asked) = sealed(&["A", "B", "C"], &[("A", "long"), ("B", "")]);
        assert!(asked);
        let secrets = &work.command().expect("a command").secrets;
        let of = |name, value: &str| Some(mac(b"key", name, OsStr::new(value)));
        let macs: Vec<_> = secrets.iter().map(|secret| secret.mac).collect();
        assert_eq!(macs, [of("A", "long"), of("B", ""), None]);
        assert!(secrets.iter().all(|secret| secret.shared));
    }

    #[test]
    fn a_value_too_short_to_be_masked_stops_the_check() {
        let (work, _) = sealed(&["A", "B"], &[("A", "long"), ("B", "abc")]);
        let Work::Missing(why) = work else {
            panic!("{work:?}")
        };
        assert!(why.contains("secret B is shorter than 4"), "{why}");
    }

    #[test]
    fn without_secrets_no_key_is_asked_for() {
        let (work, asked) = sealed(&[], &[]);
        assert!(!asked && work.command().is_some());
    }

    #[test]
    fn value_name_and_key_all_count() {
        let of = |key: &str, name, value: &str| mac(key.as_bytes(), name, OsStr::new(value));
        let base = of("k", "A", "value");
        assert_eq!(base, of("k", "A", "value"));
        assert_ne!(base, of("l", "A", "value"));
        assert_ne!(base, of("k", "B", "value"));
        assert_ne!(base, of("k", "A", "other"));
        assert_ne!(of("k", "A", "Bx"), of("k", "AB", "x"));
        assert_ne!(base, Digest::of(b"value"));
    }
}
