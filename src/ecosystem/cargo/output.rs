//! Shared by the parsers in this folder: lines without colours, and rustc's human-readable diagnostics.

use std::path::Path;

use crate::finding::{Finding, Severity};
use crate::path::RelPath;
use crate::plan::output::plain;

/// A path printed by a tool. Absolute ones are outside the project, because the engine made paths of the room
/// relative.
pub(crate) fn project_path(text: &str) -> Option<RelPath> {
    if Path::new(text).is_absolute() {
        return None;
    }
    RelPath::new(text).ok().filter(|path| !path.is_root())
}

/// `PATH:LINE:COLUMN`, from the right.
fn place(text: &str) -> Option<(&str, u32, u32)> {
    let (rest, column) = text.rsplit_once(':')?;
    let (path, line) = rest.rsplit_once(':')?;
    Some((path, line.parse().ok()?, column.parse().ok()?))
}

/// The blocks `error: …` (`error[CODE]: …`) of a tool's stderr, one finding each, placed at their first `-->
/// PATH:LINE:COLUMN`. A block ends at an empty line unless causes or indented lines follow.
pub(crate) fn error_blocks(stderr: &str) -> Vec<Finding> {
    let text = plain(stderr);
    let mut found: Vec<Finding> = Vec::new();
    let mut block: Vec<&str> = Vec::new();
    for line in text.lines() {
        let begins = line.starts_with("error");
        let after_gap = block.last().is_some_and(|last| last.trim().is_empty());
        let goes_on = line.starts_with([' ', '\t']) || line.starts_with("Caused by:");
        let ends = after_gap && !goes_on && !line.trim().is_empty();
        if begins || ends || line.starts_with("warning") {
            found.extend(block_finding(&block));
            block.clear();
        }
        if begins || !block.is_empty() {
            block.push(line);
        }
    }
    found.extend(block_finding(&block));
    found
}

fn block_finding(block: &[&str]) -> Option<Finding> {
    let last = block.iter().rposition(|line| !line.trim().is_empty())?;
    let block = block.get(..=last)?;
    let (head, message) = block.first()?.split_once(": ")?;
    let code = match head.strip_prefix("error")? {
        "" => None,
        code => Some(code.strip_prefix('[')?.strip_suffix(']')?.to_owned()),
    };
    let place = block
        .iter()
        .find_map(|line| place(line.trim_start().strip_prefix("--> ")?));
    Some(Finding {
        path: place.and_then(|(path, _, _)| project_path(path)),
        line: place.map(|(_, line, _)| line),
        column: place.map(|(_, _, column)| column),
        severity: Severity::Error,
        code,
        message: message.trim().to_owned(),
        rendered: (block.len() > 1).then(|| block.join("\n")),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn blocks_have_message_code_and_place() {
        let found = error_blocks(
            "   Compiling a\n\u{1b}[31merror[E1]\u{1b}[0m: bad\n  --> src/a.rs:3:7\n   |\n\nwarning: no\nerror: plain\n",
        );
        assert_eq!(found.len(), 2);
        let path = found[0].path.as_ref().map(ToString::to_string);
        assert_eq!(path.as_deref(), Some("src/a.rs"));
        assert_eq!((found[0].line, found[0].column), (Some(3), Some(7)));
        assert_eq!(found[0].code.as_deref(), Some("E1"));
        assert_eq!(
            (found[1].message.as_str(), &found[1].path),
            ("plain", &None)
        );
    }

    #[test]
    fn the_causes_of_an_error_belong_to_it() {
        let text = "error: failed to run\n\nCaused by:\n  exit status: 101\n\n  --- stderr\n  bad header\nwarning: x\n\nsaid\n";
        let found = error_blocks(text);
        assert_eq!(found.len(), 1);
        let rendered = found[0].rendered.as_deref().unwrap_or_default();
        assert!(rendered.ends_with("--- stderr\n  bad header"), "{rendered}");
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "(error|\\[|\\]|: |--> |:[0-9]|\\PC|\n){0,60}") {
            let _ = error_blocks(&text);
        }
    }
}
