//! Masks secret values in the output of a check before anything else sees it.
//!
//! Multi-line values are also masked line by line, because tools print single lines or insert escape sequences. Does
//! not know where the text goes.

use crate::env::Env;
use crate::key::secret::SHORTEST;
use crate::plan::{Command, Output};

const STARS: &str = "***";

/// The secret values of one check.
#[derive(Debug, Default)]
pub(super) struct Mask {
    /// Longest first, so that a value containing another is masked completely.
    values: Vec<String>,
}

impl Mask {
    pub(super) fn of(command: &Command, env: &Env) -> Self {
        let secrets = command.secrets.iter();
        let texts = secrets.filter_map(|secret| env.var_os(&secret.name));
        Self::new(texts.map(|value| value.to_string_lossy().into_owned()))
    }

    fn new(texts: impl Iterator<Item = String>) -> Self {
        let mut values: Vec<String> = Vec::new();
        for text in texts {
            let lines = text.lines().map(|line| line.trim().to_owned());
            values.extend(lines.filter(|line| line.len() >= SHORTEST));
            values.push(text);
        }
        values.retain(|value| !value.is_empty());
        values.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        values.dedup();
        Self { values }
    }

    pub(super) fn text(&self, text: &str) -> String {
        let mut masked = text.to_owned();
        for value in &self.values {
            if masked.contains(value.as_str()) {
                masked = masked.replace(value.as_str(), STARS);
            }
        }
        masked
    }

    pub(super) fn output(&self, output: &mut Output) {
        if !self.values.is_empty() {
            output.stdout = self.text(&output.stdout);
            output.stderr = self.text(&output.stderr);
        }
    }

    /// Whether these bytes contain a value.
    pub(super) fn shows_in(&self, bytes: &[u8]) -> bool {
        let mut values = self.values.iter();
        values.any(|value| {
            let value = value.as_bytes();
            bytes.windows(value.len()).any(|window| window == value)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(values: &[&str]) -> Mask {
        Mask::new(values.iter().map(ToString::to_string))
    }

    #[test]
    fn values_lines_of_values_and_values_within_values() {
        assert_eq!(mask(&["hunter2"]).text("pw=hunter2!"), "pw=***!");
        assert_eq!(mask(&["abcd", "xabcdx"]).text("xabcdx abcd"), "*** ***");
        let key = mask(&["BEGIN\n  first\n}\nsecond\n"]);
        assert_eq!(key.text("second, first }"), "***, *** }");
        assert_eq!(mask(&[""]).text("as it was"), "as it was");
    }

    #[test]
    fn bytes_are_searched_too() {
        assert!(mask(&["hunter2"]).shows_in(b"\xff\x00hunter2"));
        assert!(!mask(&["hunter2"]).shows_in(b"hunter"));
        assert!(!mask(&[""]).shows_in(b"x"));
    }
}
