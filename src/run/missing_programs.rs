//! Finds programs that a run was missing although the user has them, by running it again with them.
//!
//! Messages about missing programs have no common form, so every word of a failed run's output that names a program on
//! the user's PATH may be one. A second run with these programs decides: if it ends in the same way, the words meant
//! something else and are not tried again for this command. Of a run that passed, only what a shell itself reports as
//! missing counts.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::digest::{Digest, Hasher};
use crate::event::Event;
use crate::finding::{Finding, Severity};
use crate::own_checks::add_discovered;
use crate::plan::output::{is_status, plain};
use crate::plan::{Check, Command, Tool};
use crate::rule::Rule;
use crate::run::Session;
use crate::run::result::Done;
use crate::store::entry::Entry;
use crate::store::parts::PartResult;
use crate::tool::discovered::MOST;
use crate::tool::is_on_path;

/// How often a check may be run again in one run.
pub(super) const TRIALS: usize = 3;

/// How many words of one output are tried.
const TRIED: usize = 5;

/// How many words of one output are looked up on PATH.
const LOOKED_UP: usize = 200;

/// How many bytes of a text are searched, from its end.
const SEARCHED: usize = 64 * 1024;

/// The result of a run, as far as it can show that programs were missing.
#[derive(Clone, Copy)]
pub(super) struct Said<'a> {
    exit_code: i32,
    stdout: &'a str,
    stderr: &'a str,
    findings: &'a [Finding],
}

impl<'a> From<&'a Done> for Said<'a> {
    fn from(done: &'a Done) -> Self {
        Self {
            exit_code: done.exit_code,
            stdout: &done.stdout,
            stderr: &done.stderr,
            findings: &done.findings,
        }
    }
}

impl<'a> From<&'a Entry> for Said<'a> {
    fn from(entry: &'a Entry) -> Self {
        Self {
            exit_code: entry.exit_code,
            stdout: &entry.stdout,
            stderr: &entry.stderr,
            findings: &entry.findings,
        }
    }
}

impl<'a> From<&'a PartResult> for Said<'a> {
    fn from(part: &'a PartResult) -> Self {
        Self {
            exit_code: part.exit_code,
            stdout: &part.said.stdout,
            stderr: &part.said.stderr,
            findings: &part.said.findings,
        }
    }
}

/// A program that may have been missing.
#[derive(Debug)]
pub(super) struct Suspect {
    rank: Rank,
    pub(super) name: String,
}

/// How likely a word names a missing program, most likely first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// A shell reports that it did not find it.
    OfShell,
    Quoted,
    BeforeColon,
    Other,
}

impl Suspect {
    /// How it is remembered if it made no difference. What a shell reports is tried although the same word meant
    /// something else before.
    fn token(&self) -> String {
        match self.rank {
            Rank::OfShell => format!("{}: not found", self.name),
            _ => self.name.clone(),
        }
    }
}

/// The programs that a run may have been missing: on the user's PATH, not planned, and not tried before in vain.
pub(super) fn missing_programs<'a>(
    session: &Session<'_>,
    check: &Check,
    said: impl Into<Said<'a>>,
) -> Vec<Suspect> {
    let Some(command) = check.work.command() else {
        return Vec::new();
    };
    if command.discovered.len() >= MOST
        || session.engine.class() != "local"
        || !Rule::DiscoveredPrograms.holds()
    {
        return Vec::new();
    }
    let had = |name: &str| {
        let mut tools = command.tools.iter();
        tools.any(|tool| tool.name() == name && !matches!(tool, Tool::Absent { .. }))
            || command.discovered.iter().any(|known| known == name)
    };
    let said = said.into();
    let texts = texts(&said, command.quiet_stdout);
    let words = ranked(&texts, said.exit_code != 0 && !explained(said.findings)).into_iter();
    let there = words.filter(|(_, name)| !had(name) && is_on_path(session.env, name));
    // Those that were tried before count, so that one output does not lead to ever more runs.
    let there = there.take(TRIED).map(|(rank, name)| Suspect {
        rank,
        name: name.to_owned(),
    });
    let mut suspects: Vec<_> = there.collect();
    if !suspects.is_empty() {
        let refused = session.discovered.refused(&identity(&check.id, command));
        suspects.retain(|suspect| !refused.contains(&suspect.token()));
    }
    suspects
}

/// A program of the user's that a shell in a container did not find.
pub(super) fn not_in_image(session: &Session<'_>, check: &Check, done: &Done) -> Option<String> {
    let command = check.work.command()?;
    if session.engine.class() == "local" || !Rule::DiscoveredPrograms.holds() {
        return None;
    }
    let texts = texts(&Said::from(done), command.quiet_stdout);
    let mut names = texts.iter().flat_map(|text| of_shell(text));
    let (_, name) = names.find(|(_, name)| is_on_path(session.env, name))?;
    Some(name.to_owned())
}

/// What to search, without colours.
fn texts<'a>(said: &Said<'a>, quiet_stdout: bool) -> Vec<Cow<'a, str>> {
    let stdout = (!quiet_stdout).then_some(said.stdout);
    // What is machine-readable there is in the findings.
    let findings = said.findings.iter().filter(|_| quiet_stdout);
    let rendered = findings.filter_map(|finding| finding.rendered.as_deref());
    let texts = std::iter::once(said.stderr).chain(stdout).chain(rendered);
    let end = |text: &'a str| &text[text.ceil_char_boundary(text.len().saturating_sub(SEARCHED))..];
    let plain = |text: &'a str| match text.contains('\u{1b}') {
        true => Cow::Owned(plain(text)),
        false => Cow::Borrowed(text),
    };
    texts.map(end).map(plain).collect()
}

/// The words that may name missing programs, most likely first, each once: with `any`, not only those of shells.
fn ranked<'a>(texts: &'a [Cow<'_, str>], any: bool) -> Vec<(Rank, &'a str)> {
    let all = texts.iter().filter(|_| any);
    let mut words: Vec<_> = texts.iter().flat_map(|text| of_shell(text)).collect();
    words.extend(all.flat_map(|text| words_of(text)));
    words.sort_by_key(|(rank, _)| *rank);
    let mut seen = BTreeSet::new();
    words.retain(|(_, name)| seen.len() < LOOKED_UP && seen.insert(*name));
    words
}

/// Whether findings explain a failure: each error has its place, and no code that ran at build time panicked.
fn explained(findings: &[Finding]) -> bool {
    let errors = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error);
    let placed =
        |finding: &Finding| finding.line.is_some() && !finding.message.contains("panicked");
    errors.clone().next().is_some() && errors.clone().all(placed)
}

/// The programs that shells report as missing.
fn of_shell(text: &str) -> impl Iterator<Item = (Rank, &str)> {
    text.lines().filter_map(|line| {
        let line = line.trim_end();
        let before = line
            .strip_suffix(": command not found")
            .or_else(|| line.strip_suffix(": not found"));
        let name = match before {
            Some(before) => before.rsplit([' ', ':']).next()?,
            None => line.split_once("command not found: ")?.1,
        };
        is_program_name(name).then_some((Rank::OfShell, name))
    })
}

/// The words of a text that look like names of programs.
fn words_of(text: &str) -> impl Iterator<Item = (Rank, &str)> {
    let mut start = 0;
    let mut before = ' ';
    let ends = text.char_indices().filter(|(_, c)| !is_in_name(*c));
    ends.chain([(text.len(), ' ')])
        .filter_map(move |(at, after)| {
            let name = text.get(start..at)?.trim_end_matches('.');
            let rank = match (before, after) {
                ('\'' | '"' | '`' | '‘' | '’' | '“' | '”', _) => Rank::Quoted,
                (_, ':') => Rank::BeforeColon,
                _ => Rank::Other,
            };
            let in_path = before == '/' || after == '/';
            before = after;
            start = at + after.len_utf8();
            (!in_path && is_program_name(name)).then_some((rank, name))
        })
}

fn is_in_name(c: char) -> bool {
    c.is_alphanumeric() || "+-._".contains(c)
}

fn is_program_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with(['-', '.']) && name.chars().all(is_in_name)
}

/// The check, planned with programs that it may have been missing.
pub(super) fn with(session: &Session<'_>, check: &Check, suspects: &[Suspect]) -> Check {
    with_programs(session, check, names(suspects))
}

/// The check, planned with further programs.
pub(super) fn with_programs(
    session: &Session<'_>,
    check: &Check,
    names: impl Iterator<Item = String>,
) -> Check {
    let mut check = check.clone();
    let known = check.work.command().map(|command| &command.discovered);
    let known = known.into_iter().flatten().cloned();
    let names: BTreeSet<String> = known.chain(names).collect();
    add_discovered(&mut check, names.into_iter().collect(), &session.scope());
    check
}

fn names(suspects: &[Suspect]) -> impl Iterator<Item = String> {
    suspects.iter().map(|suspect| suspect.name.clone())
}

/// Remembers that programs made a difference to a check.
pub(super) fn needed(session: &Session<'_>, check: &Check, suspects: &[Suspect]) {
    let mut names: Vec<_> = names(suspects).collect();
    names.sort_unstable();
    session.discovered.add(&check.id, &names);
    session.emit(&Event::Warning(&advice(&check.id, &names)));
}

/// Remembers that programs made no difference to a check's command.
pub(super) fn refuse(session: &Session<'_>, check: &Check, suspects: &[Suspect]) {
    if let Some(command) = check.work.command() {
        let tokens = suspects.iter().map(Suspect::token).collect();
        let command = identity(&check.id, command);
        session.discovered.refuse(command, tokens);
    }
}

/// Identifies a command regardless of the files it sees and of discovered programs.
fn identity(id: &str, command: &Command) -> Digest {
    let mut hasher = Hasher::new();
    hasher.part(id.as_bytes());
    hasher.part(command.dir.as_bytes());
    for arg in &command.argv {
        hasher.part(arg.as_bytes());
    }
    for tool in &command.tools {
        if let Tool::Host { name, identity, .. } = tool
            && !command.discovered.contains(name)
        {
            hasher.part(name.as_bytes());
            hasher.part(identity.as_bytes());
        }
    }
    hasher.finish()
}

/// Whether two runs ended in the same way. Numbers do not count, because times and process ids differ, and neither
/// does the order of lines; of cargo, neither do its status lines, which depend on what was compiled before.
pub(super) fn same(first: &Done, second: &Done) -> bool {
    let messages = |done: &Done| -> Vec<_> {
        let findings = done.findings.iter();
        findings.map(|finding| lines(&finding.message)).collect()
    };
    first.exit_code == second.exit_code
        && messages(first) == messages(second)
        && lines(&first.stdout) == lines(&second.stdout)
        && lines(&first.stderr) == lines(&second.stderr)
}

fn lines(text: &str) -> Vec<String> {
    let text = plain(text);
    let lines = text.lines().filter(|line| !is_status(line));
    let without_numbers = |line: &str| line.replace(|c: char| c.is_ascii_digit(), "");
    let mut lines: Vec<_> = lines.map(without_numbers).collect();
    lines.sort_unstable();
    lines
}

fn advice(id: &str, programs: &[String]) -> String {
    let list = |quote: &str| {
        let all = programs.iter().map(|name| format!("{quote}{name}{quote}"));
        all.collect::<Vec<_>>().join(", ")
    };
    let (names, tools) = (list("`"), list("\""));
    let (were, them) = match programs {
        [_] => ("was", "it"),
        _ => ("were", "them"),
    };
    let table = if id.contains(':') {
        format!("[checks.\"{id}\"]")
    } else {
        format!("[checks.{id}]")
    };
    format!(
        "{id}: {names} {were} missing on its PATH; re-ran with {them}, and later runs will have {them}; add `tools = [{tools}]` to {table} to make this permanent"
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names_in(text: &str) -> Vec<String> {
        let texts = [Cow::Borrowed(text)];
        let words = ranked(&texts, true).into_iter();
        words.map(|(_, name)| name.to_owned()).collect()
    }

    #[test]
    fn quoted_words_come_first_then_those_before_a_colon() {
        assert_eq!(names_in("no jq: 'rg'."), ["rg", "jq", "no"]);
        assert_eq!(
            names_in("‘jq’ or “rg” or `fd --all`"),
            ["jq", "rg", "fd", "or"]
        );
        assert_eq!(names_in("a/b/c ./d -e"), [""; 0]);
    }

    #[test]
    fn shells_report_what_they_did_not_find() {
        for (line, name) in [
            ("./x.sh: line 3: grep: command not found", Some("grep")),
            ("sh: 1: jq: not found", Some("jq")),
            ("zsh:1: command not found: jq", Some("jq")),
            ("file: not found here", None),
            ("a/b: not found", None),
            ("page `sort` not found", None),
            (": not found", None),
        ] {
            let found = of_shell(line).map(|(_, name)| name).next();
            assert_eq!(found, name, "{line}");
        }
    }

    #[test]
    fn times_order_and_what_cargo_compiled_make_no_difference() {
        let one = "   Compiling a v1.0.0
b took 12 ms
c
    Finished in 3s
";
        assert_eq!(
            lines(one),
            lines(
                "c
b took 7 ms
"
            )
        );
        assert_ne!(
            lines(one),
            lines(
                "c
"
            )
        );
        assert_ne!(lines("   not a status"), lines(""));
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in ".{0,40}(: not found|'|`|:).{0,20}") {
            let _ = (names_in(&text), lines(&text));
        }
    }
}
