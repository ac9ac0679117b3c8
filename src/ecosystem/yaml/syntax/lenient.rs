//! Where PyYAML or libyaml reads what the parser refuses: the text that both read, with the same meaning. Pure.

use super::Refused;

/// The text with the place put right at which the parser stopped; `None` if no loader would read that either.
pub(super) fn repaired(text: &str, refused: &Refused) -> Option<String> {
    everywhere(text).or_else(|| at_error(text, refused))
}

/// A byte-order mark may stand anywhere but beside `---`, and YAML 1.1 has more line breaks.
fn everywhere(text: &str) -> Option<String> {
    const MARK: char = '\u{feff}';
    const BREAKS: [char; 3] = ['\u{85}', '\u{2028}', '\u{2029}'];
    let marked =
        |line: &str| line.contains(MARK) && line.trim_start_matches(MARK).starts_with("---");
    if text.contains(MARK) && !text.lines().any(marked) {
        return Some(text.replace(MARK, ""));
    }
    text.contains(BREAKS).then(|| text.replace(BREAKS, "\n"))
}

fn at_error(text: &str, refused: &Refused) -> Option<String> {
    let at = refused.error.marker().byte_offset()?;
    let (before, after) = text.split_at_checked(at)?;
    if let Some(untabbed) = untabbed(before, after, refused.in_flow) {
        return Some(untabbed);
    }
    match after.as_bytes() {
        // `"v"#c`
        [b'#', ..] if !before.ends_with([' ', '\n']) => Some(format!("{before} {after}")),
        // `[-]`
        [b'-', b',' | b']' | b'}', ..] => Some(format!("{before}_{}", &after[1..])),
        // `*alias: value`
        [b'*', ..] => {
            let name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            let rest = after[1..].trim_start_matches(name);
            let alias = &after[..after.len() - rest.len()];
            let is_key = rest.starts_with(':');
            is_key.then(|| format!("{before}{alias} {rest}"))
        }
        _ => None,
    }
}

/// Inside brackets and braces a tab before an item is no indentation.
fn untabbed(before: &str, after: &str, in_flow: bool) -> Option<String> {
    const BLANK: [char; 2] = [' ', '\t'];
    let lines = before.trim_end_matches(BLANK);
    let rest = after.trim_start_matches(BLANK);
    let length = before.len() - lines.len() + after.len() - rest.len();
    let has_tab = before[lines.len()..].contains('\t') || after.starts_with('\t');
    let is_item = in_flow || lines.trim_end().ends_with(['[', '{', ',']);
    (has_tab && lines.ends_with('\n') && is_item)
        .then(|| format!("{lines}{}{rest}", " ".repeat(length)))
}
