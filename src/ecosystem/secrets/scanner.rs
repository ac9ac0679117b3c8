//! Finds all secrets of a text: one pass for the literals, one for names beside which secrets stand.
//!
//! Looks in text without escapes ([`Resolved`]).

use std::ops::Range;

use aho_corasick::{AhoCorasick, BuildError};

use super::escapes::Resolved;
use super::named::{self, IDS, Shape, VENDORS, WORDS};
use super::rules::{NAMED, RULES, Rule, VENDOR, VENDOR_ID};

/// A secret that was found.
#[derive(Debug)]
pub(super) struct Hit {
    pub(crate) rule: &'static Rule,
    /// The bytes of the secret.
    pub(crate) range: Range<usize>,
}

/// All rules, ready to be looked for.
#[derive(Debug)]
pub(super) struct Scanner {
    literals: Many<&'static Rule>,
    names: Many<Beside>,
}

/// What may stand beside a name.
#[derive(Debug, Clone, Copy)]
enum Beside {
    Token(&'static Rule, &'static [Shape]),
    Secret,
}

/// Strings to look for at once, each with what it stands for.
#[derive(Debug)]
struct Many<T> {
    automaton: AhoCorasick,
    of: Vec<T>,
}

impl<T: Copy> Many<T> {
    fn new(strings: Vec<(&str, T)>, any_case: bool) -> Result<Self, BuildError> {
        let (strings, of): (Vec<&str>, Vec<T>) = strings.into_iter().unzip();
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(any_case)
            .build(strings)?;
        Ok(Self { automaton, of })
    }

    /// All of them in `text`, also those inside of others.
    fn find(&self, text: &[u8]) -> impl Iterator<Item = (T, Range<usize>)> {
        let found = self.automaton.find_overlapping_iter(text);
        found.filter_map(|found| {
            let of = self.of.get(found.pattern().as_usize())?;
            Some((*of, found.range()))
        })
    }
}

impl Scanner {
    pub(crate) fn new() -> Result<Self, BuildError> {
        let of_rule = |rule: &'static Rule| rule.literals.iter().map(move |text| (*text, rule));
        let literals = RULES.iter().flat_map(of_rule).collect();
        let mut names: Vec<(&str, Beside)> = Vec::new();
        for (rule, table) in [(&VENDOR, VENDORS), (&VENDOR_ID, IDS)] {
            for (of, shapes) in table {
                let beside = Beside::Token(rule, shapes);
                names.extend(of.iter().map(|name| (*name, beside)));
            }
        }
        names.extend(WORDS.iter().map(|name| (*name, Beside::Secret)));
        Ok(Self {
            literals: Many::new(literals, false)?,
            names: Many::new(names, true)?,
        })
    }

    /// All secrets of `text`, in order, each once.
    pub(crate) fn scan(&self, raw: &[u8]) -> Vec<Hit> {
        let resolved = Resolved::new(raw);
        let text = resolved.text.as_ref();
        let literals = self.literals.find(text);
        let by_shape = literals.map(|(rule, literal)| (rule, rule.find(text, literal)));
        let names = self.names.find(text);
        let by_name = names.map(|(beside, name)| match beside {
            Beside::Token(rule, shapes) => (rule, named::token(text, &name, shapes)),
            Beside::Secret => (&NAMED, named::secret(text, &name)),
        });
        let found = by_shape.chain(by_name);
        let mut found: Vec<Hit> = found
            .filter_map(|(rule, range)| range.map(|range| Hit { rule, range }))
            .collect();
        // What is sure comes first, and what is named by its shape.
        found.sort_by_key(|hit| hit.rule.doubt.is_some());
        let mut hits: Vec<Hit> = Vec::new();
        for hit in found {
            let overlaps = |known: &Hit| {
                known.range.start < hit.range.end && hit.range.start < known.range.end
            };
            if !hits.iter().any(overlaps) {
                hits.push(hit);
            }
        }
        for hit in &mut hits {
            hit.range = resolved.in_file(&hit.range);
        }
        hits.sort_by_key(|hit| hit.range.start);
        hits
    }
}
