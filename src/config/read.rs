//! Typed access to a TOML table. Every mismatch becomes a [`Problem`] at its place, and reading continues, so that
//! one run reports all errors.
//!
//! Knows no keys.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::diagnose::{Mark, Place, Problem, Source, nearest};
use crate::config::glob::Globs;
use crate::config::model::Key;
use crate::snapshot::Snapshot;

/// A value and its place.
pub(super) type Value<'i> = Spanned<DeValue<'i>>;

/// Reads the tables of one source.
pub(super) struct Reader<'s> {
    source: &'s Source,
    index: usize,
    pub(super) snapshot: &'s Snapshot,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<String>,
}

impl<'s> Reader<'s> {
    /// `index` identifies `source` in the report.
    pub(super) const fn new(source: &'s Source, index: usize, snapshot: &'s Snapshot) -> Self {
        Self {
            source,
            index,
            snapshot,
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        self.source.place(span.start)
    }

    pub(super) fn problem(&mut self, span: Range<usize>, title: String, label: &str) {
        self.push(span, title, label, None);
    }

    pub(super) fn problem_with_help(
        &mut self,
        span: Range<usize>,
        title: String,
        label: &str,
        help: String,
    ) {
        self.push(span, title, label, Some(help));
    }

    fn push(&mut self, span: Range<usize>, title: String, label: &str, help: Option<String>) {
        let mark = Mark {
            source: self.index,
            span,
            label: label.to_owned(),
        };
        self.problems.push(Problem {
            title,
            marks: vec![mark],
            help,
        });
    }

    /// Adds a warning for each key of `[name]`, which has no effect, and why.
    pub(super) fn without_effect(&mut self, top: &DeTable<'_>, name: &str, why: &str) {
        let table = top.get(name).and_then(|table| table.get_ref().as_table());
        for key in table.into_iter().flat_map(DeTable::keys) {
            let (word, place) = (key.get_ref(), self.place(&key.span()));
            self.warnings
                .push(format!("`{name}.{word}` has no effect{why} ({place})"));
        }
    }

    pub(super) fn known_keys(&mut self, table: &DeTable<'_>, name: &str, known: &[Key]) {
        let names = || known.iter().map(|key| key.name);
        for key in table.keys() {
            let word = key.get_ref().as_ref();
            if names().any(|name| name == word) {
                continue;
            }
            let help = match nearest(word, names()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("known keys: {}", names().collect::<Vec<_>>().join(", ")),
            };
            let place = if name.is_empty() {
                String::new()
            } else {
                format!(" in `{name}`")
            };
            self.problem_with_help(key.span(), format!("unknown key `{word}`{place}"), "", help);
        }
    }

    /// The table under `key`, with arbitrary keys.
    pub(super) fn any_table<'t, 'i>(
        &mut self,
        table: &'t DeTable<'i>,
        key: &str,
    ) -> Option<&'t DeTable<'i>> {
        let value = table.get(key)?;
        self.as_table(value, key)
    }

    pub(super) fn as_table<'t, 'i>(
        &mut self,
        value: &'t Value<'i>,
        key: &str,
    ) -> Option<&'t DeTable<'i>> {
        let inner = value.get_ref().as_table();
        if inner.is_none() {
            self.type_error(value, key, "a table");
        }
        inner
    }

    fn type_error(&mut self, value: &Value<'_>, key: &str, expected: &str) {
        let found = match value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let title = format!("`{key}` must be {expected}");
        self.problem(value.span(), title, &format!("found {found}"));
    }

    fn bad_value(&mut self, span: Range<usize>, key: &str, message: &str) {
        self.problem(span, format!("invalid value for `{key}`"), message);
    }

    pub(super) fn flag(&mut self, table: &DeTable<'_>, key: &str) -> Option<bool> {
        let value = table.get(key)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            self.type_error(value, key, "`true` or `false`");
        }
        flag
    }

    /// A whole number, 1 or more.
    pub(super) fn number(&mut self, table: &DeTable<'_>, key: &str) -> Option<u64> {
        let value = table.get(key)?;
        let number = value.get_ref().as_integer().and_then(|number| {
            let digits = number.as_str().replace('_', "");
            u64::from_str_radix(&digits, number.radix()).ok()
        });
        let number = number.filter(|number| *number > 0);
        if number.is_none() {
            self.type_error(value, key, "a whole number, 1 or more");
        }
        number
    }

    /// A string that `parse` accepts, which may look at the snapshot.
    pub(super) fn parsed<T>(
        &mut self,
        table: &DeTable<'_>,
        key: &str,
        parse: impl FnOnce(&Snapshot, &str) -> Result<T, String>,
    ) -> Option<T> {
        let value = table.get(key)?;
        let Some(text) = value.get_ref().as_str() else {
            self.type_error(value, key, "a string");
            return None;
        };
        match parse(self.snapshot, text) {
            Ok(parsed) => Some(parsed),
            Err(message) => {
                self.bad_value(value.span(), key, &message);
                None
            }
        }
    }

    /// A list of strings with their places.
    fn spanned_texts(
        &mut self,
        table: &DeTable<'_>,
        key: &str,
    ) -> Option<Vec<(String, Range<usize>)>> {
        let value = table.get(key)?;
        let Some(items) = value.get_ref().as_array() else {
            self.type_error(value, key, "a list of strings");
            return None;
        };
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            match item.get_ref().as_str() {
                Some(text) => texts.push((text.to_owned(), item.span())),
                None => self.type_error(item, key, "a list of strings"),
            }
        }
        Some(texts)
    }

    /// A list of strings that `check` accepts.
    pub(super) fn texts(
        &mut self,
        table: &DeTable<'_>,
        key: &str,
        check: impl Fn(&str) -> Result<(), String>,
    ) -> Option<Vec<String>> {
        let texts = self.spanned_texts(table, key)?;
        for (text, span) in &texts {
            if let Err(message) = check(text) {
                self.bad_value(span.clone(), key, &message);
            }
        }
        Some(texts.into_iter().map(|(text, _)| text).collect())
    }

    pub(super) fn globs(&mut self, table: &DeTable<'_>, key: &str) -> Option<Globs> {
        let texts = self.spanned_texts(table, key)?;
        let patterns: Vec<String> = texts.iter().map(|(text, _)| text.clone()).collect();
        match Globs::new(&patterns) {
            Ok(globs) => Some(globs),
            Err((index, message)) => {
                if let Some((pattern, span)) = texts.get(index) {
                    let message = format!("`{pattern}` {message}");
                    self.bad_value(span.clone(), key, &message);
                }
                None
            }
        }
    }

    /// A map from names, which `check` must accept, to strings.
    pub(super) fn text_map(
        &mut self,
        table: &DeTable<'_>,
        key: &str,
        check: impl Fn(&str) -> Result<(), String>,
    ) -> Option<BTreeMap<String, String>> {
        let inner = self.any_table(table, key)?;
        let mut map = BTreeMap::new();
        for (name, value) in inner {
            let word = name.get_ref().as_ref();
            if let Err(message) = check(word) {
                self.bad_value(name.span(), key, &message);
            }
            match value.get_ref().as_str() {
                Some(text) => {
                    map.insert(word.to_owned(), text.to_owned());
                }
                None => self.type_error(value, &format!("{key}.{word}"), "a string"),
            }
        }
        Some(map)
    }
}
