//! Versions and version constraints: PEP 440, plus `^`, `~` and `||` from Poetry.
//!
//! Does not know what a constraint is about.

use std::str::FromStr;

use pep440_rs::{Version, VersionSpecifiers};

/// Whether `version` satisfies `constraint` (`>=3.11,<4.0`, `^1.2`, `~2.7 || ^3.5`, `1.2.*`, `*`). `None` if either
/// is invalid.
#[must_use]
pub(crate) fn satisfies(constraint: &str, version: &str) -> Option<bool> {
    let version = Version::from_str(version.trim()).ok()?;
    let mut any = false;
    for alternative in constraint.split("||") {
        any |= specifiers(alternative.trim().trim_matches(['(', ')']))?.contains(&version);
    }
    Some(any)
}

/// Whether both are the same version (like `6.0` and `6.0.0`).
#[must_use]
pub(crate) fn same(a: &str, b: &str) -> bool {
    a == b
        || matches!(
            (Version::from_str(a), Version::from_str(b)),
            (Ok(a), Ok(b)) if a == b
        )
}

fn specifiers(alternative: &str) -> Option<VersionSpecifiers> {
    let mut text = Vec::new();
    for piece in pieces(alternative) {
        match piece.as_bytes().first() {
            None | Some(b'*') => {}
            Some(b'^') => text.push(range(&piece[1..], caret_ceiling)?),
            Some(b'~') if !piece.starts_with("~=") => {
                text.push(range(&piece[1..], tilde_ceiling)?);
            }
            Some(b'0'..=b'9' | b'v') => text.push(format!("=={piece}")),
            Some(b'=') if !piece.starts_with("==") => text.push(format!("={piece}")),
            Some(_) => text.push(piece),
        }
    }
    VersionSpecifiers::from_str(&text.join(",")).ok()
}

/// Poetry separates by comma or space, and allows a space after the operator.
fn pieces(alternative: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    for word in alternative
        .split([',', ' '])
        .filter(|word| !word.is_empty())
    {
        match pieces.last_mut() {
            Some(last) if last.ends_with(['<', '>', '=', '~', '^', '!']) => last.push_str(word),
            _ => pieces.push(word.to_owned()),
        }
    }
    pieces
}

fn range(floor: &str, ceiling: fn(&[u64]) -> Vec<u64>) -> Option<String> {
    let version = Version::from_str(floor.trim()).ok()?;
    let ceiling: Vec<String> = ceiling(version.release())
        .iter()
        .map(u64::to_string)
        .collect();
    Some(format!(">={version},<{}", ceiling.join(".")))
}

/// `^1.2.3` ends before 2, `^0.2.3` before 0.3, `^0.0` before 0.1.
fn caret_ceiling(release: &[u64]) -> Vec<u64> {
    let fixed = release
        .iter()
        .position(|&part| part != 0)
        .unwrap_or(release.len().saturating_sub(1));
    raised(release, fixed)
}

/// `~1.2.3` and `~1.2` end before 1.3, `~1` before 2.
fn tilde_ceiling(release: &[u64]) -> Vec<u64> {
    raised(release, usize::from(release.len() > 1))
}

fn raised(release: &[u64], last: usize) -> Vec<u64> {
    let mut ceiling: Vec<u64> = release.iter().take(last + 1).copied().collect();
    if let Some(part) = ceiling.last_mut() {
        *part = part.saturating_add(1);
    }
    ceiling
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(constraint: &str, inside: &[&str], outside: &[&str]) {
        for version in inside {
            assert_eq!(
                satisfies(constraint, version),
                Some(true),
                "{version} in {constraint}"
            );
        }
        for version in outside {
            assert_eq!(
                satisfies(constraint, version),
                Some(false),
                "{version} in {constraint}"
            );
        }
    }

    #[test]
    fn pep_440_and_poetry_constraints() {
        check(">=3.11,<4.0", &["3.11.7", "3.13"], &["3.10.9", "4.0"]);
        check(
            ">=2.7, !=3.0.*, !=3.1.*",
            &["2.7", "3.2"],
            &["3.0.1", "3.1"],
        );
        check("^1.2.3", &["1.2.3", "1.9"], &["1.2.2", "2.0"]);
        check("^0.5.3", &["0.5.7"], &["0.6.0"]);
        check("^0.0", &["0.0.9"], &["0.1"]);
        check("~2.7 || ^3.5", &["2.7.18", "3.11"], &["2.8", "3.4", "4.0"]);
        check("~3", &["3.9"], &["4.0"]);
        check("1.2.*", &["1.2.9"], &["1.3"]);
        check("=1.2", &["1.2"], &["1.3"]);
        check(">= 3.8 < 4", &["3.8"], &["4.0"]);
        check("*", &["0.1", "99"], &[]);
        check("", &["1"], &[]);
    }

    #[test]
    fn what_is_no_constraint_is_not_guessed() {
        assert_eq!(satisfies("latest", "1.0"), None);
        assert_eq!(satisfies("*", "not a version"), None);
    }

    #[test]
    fn the_same_version_in_two_spellings() {
        assert!(same("6.0", "6.0.0") && !same("6.0", "6.0.1"));
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(constraint in ".{0,40}", version in "[0-9a-z.+!~^*-]{0,12}") {
            let _ = satisfies(&constraint, &version);
            let _ = satisfies(&version, &version);
        }
    }
}
