//! Configuration errors for display: title, place, snippet and help.
//!
//! Knows no keys.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use crate::finding::Lines;
use crate::path::RelPath;

/// More problems than this are counted but not shown.
const SHOWN: usize = 20;
/// Longer words are not compared for suggestions.
const LONGEST_WORD: usize = 64;

/// A place in a file. Printed as `file:line:column`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: RelPath,
    pub(crate) line: usize,
    /// In characters, from 1.
    pub(crate) column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A file that may contain the configuration.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) path: RelPath,
    pub(super) text: String,
    lines: Lines,
}

impl Source {
    pub(super) fn new(path: RelPath, text: String) -> Self {
        let lines = Lines::of(&text);
        Self { path, text, lines }
    }

    /// The place of a byte offset.
    pub(super) fn place(&self, offset: usize) -> Place {
        let (line, column) = self.lines.position(&self.text, offset);
        Place {
            file: self.path.clone(),
            line,
            column,
        }
    }

    fn clamp(&self, span: &Range<usize>) -> Range<usize> {
        let start = self.text.floor_char_boundary(span.start);
        let end = self.text.ceil_char_boundary(span.end.min(self.text.len()));
        start..end.max(start)
    }
}

/// One error.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    pub(super) title: String,
    pub(super) marks: Vec<Mark>,
    pub(super) help: Option<String>,
}

/// The part of a source that a problem is about.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    pub(super) source: usize,
    pub(super) span: Range<usize>,
    pub(super) label: String,
}

/// All errors of the configuration.
#[derive(Debug)]
pub(crate) struct Report {
    sources: Vec<Source>,
    problems: Vec<Problem>,
}

impl Report {
    pub(super) fn new(sources: Vec<Source>, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| {
            problem
                .marks
                .first()
                .map(|mark| (mark.source, mark.span.start))
        });
        Self { sources, problems }
    }

    /// The text for display, in rustc's style; with colour codes if `colour`.
    #[must_use]
    pub(crate) fn render(&self, colour: bool) -> String {
        let renderer = if colour {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let mut parts: Vec<String> = self
            .problems
            .iter()
            .take(SHOWN)
            .map(|problem| self.render_one(problem, &renderer))
            .collect();
        let rest = self.problems.len().saturating_sub(SHOWN);
        if rest > 0 {
            parts.push(format!("… and {rest} more"));
        }
        parts.join("\n\n")
    }

    fn render_one(&self, problem: &Problem, renderer: &Renderer) -> String {
        let snippets = problem.marks.iter().filter_map(|mark| {
            let source = self.sources.get(mark.source)?;
            let label = Some(mark.label.as_str()).filter(|label| !label.is_empty());
            let annotation = AnnotationKind::Primary
                .span(source.clamp(&mark.span))
                .label(label);
            let snippet = Snippet::source(source.text.as_str())
                .path(source.path.as_str())
                .annotation(annotation);
            Some(snippet)
        });
        let mut group = Level::ERROR
            .primary_title(problem.title.as_str())
            .elements(snippets);
        if let Some(help) = &problem.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        renderer.render(&[group])
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// The known word that `word` was probably meant to be.
#[must_use]
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    if length > LONGEST_WORD {
        return None;
    }
    known
        .into_iter()
        .map(|other| (strsim::damerau_levenshtein(word, other), other))
        .filter(|(distance, other)| {
            let longer = length.max(other.chars().count());
            *distance <= (longer / 3).max(1) && *distance < length
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, other)| other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nearest_forgives_typos_but_does_not_guess_wildly() {
        let known = ["per-file", "max-age", "env", "dir"];
        assert_eq!(nearest("per_file", known), Some("per-file"));
        assert_eq!(nearest("maxage", known), Some("max-age"));
        assert_eq!(nearest("evn", known), Some("env"));
        assert_eq!(nearest("x", known), None);
        assert_eq!(nearest("colour", known), None);
    }

    #[test]
    fn columns_count_characters() {
        let path = RelPath::new("dagcache.toml").expect("relative");
        let source = Source::new(path, "a = 1\nä = x".to_owned());
        assert_eq!(source.place(11).to_string(), "dagcache.toml:2:5");
        assert_eq!(source.place(999).to_string(), "dagcache.toml:2:6");
    }

    proptest! {
        #[test]
        fn any_span_of_any_text_renders(text in any::<String>(), a in 0..80_usize, b in 0..80_usize) {
            let source = Source::new(RelPath::new("f").expect("relative"), text);
            let mark = Mark { source: 0, span: a..b, label: "here".to_owned() };
            let problem = Problem { title: "t".to_owned(), marks: vec![mark], help: None };
            let text = Report::new(vec![source], vec![problem]).render(false);
            prop_assert!(text.starts_with("error: t"));
        }
    }
}
