//! Why a program that is there does not start, and the way out, in the words of both engines.

/// How many bytes of a script tell its interpreter.
pub(crate) const HEAD: usize = 256;

/// Said if the arguments are longer than the system takes.
pub(crate) const TOO_LONG: &str = "its files do not fit on one command line: set `per-file = true`";

/// Why a script does not start, judged by its beginning, if the system reports that something is not there.
#[must_use]
pub(crate) fn without_interpreter(head: &[u8]) -> Option<String> {
    let name = interpreter(head)?;
    Some(match name.strip_suffix('\r') {
        Some(name) => format!(
            "its lines end in CR LF, so the system looks for an interpreter `{name}\\r`; give it LF line ends"
        ),
        None => format!("its interpreter `{name}` is not there"),
    })
}

/// The interpreter that the first line of a script names.
fn interpreter(head: &[u8]) -> Option<String> {
    let line = head.strip_prefix(b"#!")?;
    let line = line.split(|byte| *byte == b'\n').next()?;
    let line = String::from_utf8_lossy(line);
    let word = line.trim_start().split([' ', '\t']).next()?;
    Some(word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_whose_interpreter_is_missing_says_so() {
        let said = |text: &str| without_interpreter(text.as_bytes());
        assert!(said("#!/bin/sh\r\necho\r\n").is_some_and(|text| text.contains("`/bin/sh\\r`")));
        assert!(
            said("#! /no/such -x\n").is_some_and(|text| text.contains("`/no/such` is not there"))
        );
        assert_eq!(said("no script"), None);
    }
}
