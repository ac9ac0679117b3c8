//! One difference between two keys with its old and new value, for `explain`. Runs print a short form.

use crate::digest::Digest;
use crate::key::diff::HIDDEN;
use crate::key::{Miss, MissKind};
use crate::visible;

/// Longer values get separate lines.
const LONG: usize = 70;

/// The difference in one line, or in three if the values are long. No trailing newline; `indent` is prepended to
/// every line.
#[must_use]
pub(crate) fn change(miss: &Miss, indent: &str) -> String {
    let head = head(miss);
    let one = match miss.kind {
        MissKind::InputAdded => miss.to.as_ref(),
        MissKind::InputRemoved => miss.from.as_ref(),
        _ => None,
    };
    if let Some(value) = one {
        return format!("{indent}{head}: {}", shown(miss.kind, value));
    }
    let Some((from, to)) = values(miss) else {
        return format!("{indent}{head}");
    };
    if from.len() + to.len() > LONG {
        return format!("{indent}{head}\n{indent}  from {from}\n{indent}  to   {to}");
    }
    format!("{indent}{head}: {from} → {to}")
}

/// What differs, without values.
fn head(miss: &Miss) -> String {
    let valueless = Miss {
        from: None,
        to: None,
        ..miss.clone()
    };
    match (miss.kind, miss.path.as_deref()) {
        (MissKind::Damaged, _) => miss.to_string(),
        (MissKind::CommandChanged, Some(part)) if !part.is_empty() => format!("{part} changed"),
        _ => valueless.to_string(),
    }
}

fn values(miss: &Miss) -> Option<(String, String)> {
    let absent = match miss.kind {
        MissKind::EnvChanged => "unset",
        MissKind::InputChanged
        | MissKind::InputAdded
        | MissKind::InputRemoved
        | MissKind::ModeChanged
        | MissKind::ToolChanged
        | MissKind::CommandChanged
        | MissKind::LayerChanged
        | MissKind::ConfigChanged => "absent",
        _ => return None,
    };
    if miss.from.is_none() && miss.to.is_none() {
        return None;
    }
    let show = |value: &Option<String>| match value {
        None => absent.to_owned(),
        Some(value) => shown(miss.kind, value),
    };
    Some((show(&miss.from), show(&miss.to)))
}

fn shown(kind: MissKind, value: &str) -> String {
    if let Ok(digest) = value.parse::<Digest>() {
        return digest.short();
    }
    match kind {
        // A value that is not UTF-8 follows a NUL and is quoted already.
        MissKind::EnvChanged if value != HIDDEN => match value.strip_prefix('\0') {
            Some(quoted) => quoted.to_owned(),
            None => format!("{value:?}"),
        },
        _ if value.is_empty() => "empty".to_owned(),
        _ => visible::name(value).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(kind: MissKind, path: &str, from: Option<&str>, to: Option<&str>) -> String {
        let miss = Miss {
            kind,
            path: Some(path.to_owned()).filter(|path| !path.is_empty()),
            from: from.map(str::to_owned),
            to: to.map(str::to_owned),
            also: Vec::new(),
        };
        change(&miss, "  ")
    }

    #[test]
    fn old_and_new_values_are_told() {
        let [one, two] = [b"1", b"2"].map(|text| Digest::of(text).to_string());
        let file = line(MissKind::InputChanged, "a", Some(&one), Some(&two));
        assert_eq!(file, "  a changed: 6b86b273ff34 → d4735e3a265e");
        let added = line(MissKind::InputAdded, "a", None, Some(&two));
        assert_eq!(added, "  a added: d4735e3a265e");
        let variable = line(MissKind::EnvChanged, "MODE", None, Some(""));
        assert_eq!(variable, "  variable MODE changed: unset → \"\"");
        let option = line(
            MissKind::ConfigChanged,
            "option findings",
            Some("gcc/1"),
            None,
        );
        assert_eq!(option, "  option findings changed: gcc/1 → absent");
    }

    #[test]
    fn long_values_stand_below_each_other() {
        let long = "x".repeat(LONG);
        let command = line(MissKind::CommandChanged, "", Some(&long), Some("y"));
        assert_eq!(
            command,
            format!("  command changed\n    from {long}\n    to   y")
        );
    }

    #[test]
    fn reasons_without_values_stay_as_they_are() {
        let evicted = line(MissKind::Evicted, "", None, None);
        assert_eq!(
            evicted,
            "  was cached, but the entry is no longer in the store"
        );
    }
}
