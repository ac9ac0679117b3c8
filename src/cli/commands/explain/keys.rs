//! `explain KEY KEY`: the differences between two keys in the store.

use std::fmt::Write as _;

use crate::cli::commands::explain::made;
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::key::Fingerprint;
use crate::key::diff::{asked_differences, differences};
use crate::key::facts::States;
use crate::key::fingerprint::PartKind;
use crate::report::change::change;
use crate::session::Project;
use crate::store::Store;
use crate::store::find::{FEWEST_DIGITS, Known};

/// Number of matches to list for an ambiguous key.
const CANDIDATES: usize = 5;

/// Compares two keys given by their first digits.
pub(super) fn explain(
    context: &Context<'_>,
    project: &Project<'_>,
    old: &str,
    new: &str,
) -> Result<Exit, Failure> {
    let (old, new) = (find(project, old)?, find(project, new)?);
    let store = &project.store;
    let (before, now) = (fingerprint(store, &old)?, fingerprint(store, &new)?);
    let states = |print: &Fingerprint| {
        let digest = print.value(PartKind::States)?.parse().ok()?;
        States::decode(&store.blob(&digest)?)
    };
    let asked = states(&before).zip(states(&now)).map(|(before, now)| {
        asked_differences(&before, &now, &|_| false, &|digest| store.blob(digest))
    });
    let asked = asked.unwrap_or_default();
    let all = differences(&before, &now, &|_| false, &asked, &mut |digest| {
        store.tree(digest)
    });
    let mut text = format!("{}\n{}\n", title(&old), title(&new));
    for miss in &all {
        let _ = writeln!(text, "{}", change(miss, "  "));
    }
    if old.key == new.key {
        text.push_str("  the keys are equal\n");
    } else if all.is_empty() {
        text.push_str("  the two keys differ in nothing this version can name\n");
    }
    context.shell.data(&text);
    Ok(Exit::Passed)
}

/// The only key that starts with these digits.
fn find(project: &Project<'_>, typed: &str) -> Result<Known, Failure> {
    let digits = typed.to_ascii_lowercase();
    if digits.len() < FEWEST_DIGITS || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Failure::usage(format!(
            "`{typed}` is not a key: expected at least {FEWEST_DIGITS} hexadecimal digits; two arguments must be keys \
             printed by `explain CHECK`"
        )));
    }
    let mut found = project.store.keys_with(&digits, &project.id);
    match found.len() {
        0 => Err(Failure::usage(format!(
            "no key in the store starts with `{typed}`"
        ))),
        1 => Ok(found.remove(0)),
        many => {
            let some: Vec<String> = found.iter().take(CANDIDATES).map(name).collect();
            let more = if many > CANDIDATES { ", …" } else { "" };
            Err(Failure::usage(format!(
                "{many} keys start with `{typed}`: {}{more}",
                some.join(", ")
            )))
        }
    }
}

fn name(known: &Known) -> String {
    let check = known.check.as_deref().unwrap_or("damaged");
    format!("{} ({check})", known.key.short())
}

fn title(known: &Known) -> String {
    let made = match &known.entry {
        Some(entry) => made(entry),
        None => "its result is not in the store".to_owned(),
    };
    let check = known.check.as_deref().unwrap_or("damaged");
    format!("{} {check}: {made}", known.key.short())
}

fn fingerprint(store: &Store, known: &Known) -> Result<Fingerprint, Failure> {
    let print = known
        .fingerprint
        .and_then(|digest| store.fingerprint(&digest));
    print.ok_or_else(|| {
        Failure::CouldNotRun(anyhow::anyhow!(
            "the fingerprint of the key {} is missing from the store or damaged",
            known.key.short()
        ))
    })
}
