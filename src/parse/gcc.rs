//! Parses findings in the format of gcc, clang and many linters: `path:line:column: severity: message [code]`.
//!
//! Column, severity and code are optional, so `grep -n` matches, too.

use std::sync::LazyLock;

use regex::Regex;

use super::regex::parse_lines;
use crate::path::RelPath;
use crate::plan::{Output, Parse, Parsed};

/// Paths contain no colon and no white space, because lines such as `thread 'main' panicked at src/a.rs:3:5:` must
/// not match. Compiled on first use: a Fresh run does not need it.
static LINE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?x)^
        (?<path>[^\s:]+) : (?<line>[0-9]+) : (?: (?<column>[0-9]+) : )?
        \s* (?: (?:fatal\ )? (?<severity>(?i:error|warning|warn|note|info|remark|style|hint|help)) : \s* )?
        (?<message>\S.*?)
        (?: \s+ \[ (?<code>[^\[\]\s]+) \] )? \s*
        $",
    )
    .ok()
});

#[derive(Debug)]
pub(crate) struct Gcc;

impl Parse for Gcc {
    fn identity(&self) -> String {
        "gcc/1".to_owned()
    }

    fn parse(&self, output: &Output, dir: &RelPath, files: &[&RelPath]) -> Parsed {
        LINE.as_ref().map_or_else(Parsed::default, |line| {
            parse_lines(line, output, dir, files)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::finding::{Finding, Severity};
    use crate::testing::{output, rel};

    fn findings(exit_code: i32, stdout: &str) -> Vec<Finding> {
        Gcc.parse(&output(exit_code, stdout), &RelPath::root(), &[])
            .findings
    }

    #[track_caller]
    fn check(line: &str, expect: (&str, u32, Option<u32>, Severity, Option<&str>, &str)) {
        let found = findings(1, line);
        let [f] = found.as_slice() else {
            panic!("{line}: {found:?}");
        };
        let (path, number, column, severity, code, message) = expect;
        assert_eq!(f.path, Some(rel(path)), "{line}");
        assert_eq!((f.line, f.column), (Some(number), column), "{line}");
        assert_eq!(f.severity, severity, "{line}");
        assert_eq!(f.code.as_deref(), code, "{line}");
        assert_eq!(f.message, message, "{line}");
    }

    #[test]
    fn the_usual_variants_are_understood() {
        use Severity::{Error, Note, Warning};
        check(
            "src/a.c:3:7: warning: unused variable 'x' [-Wunused-variable]",
            (
                "src/a.c",
                3,
                Some(7),
                Warning,
                Some("-Wunused-variable"),
                "unused variable 'x'",
            ),
        );
        check(
            "a.c:3:7: fatal error: x.h: No such file",
            ("a.c", 3, Some(7), Error, None, "x.h: No such file"),
        );
        check(
            "./ci/x.sh:12:3: note: Double quote. [SC2086]",
            (
                "ci/x.sh",
                12,
                Some(3),
                Note,
                Some("SC2086"),
                "Double quote.",
            ),
        );
        check("a.h:4: error: bad", ("a.h", 4, None, Error, None, "bad"));
        check(
            "a.h:4: error handling is missing",
            ("a.h", 4, None, Error, None, "error handling is missing"),
        );
        check("a.h:4:TODO", ("a.h", 4, None, Error, None, "TODO"));
        check(
            "\x1b[1ma.py:1:2:\x1b[0m E501 line too long",
            ("a.py", 1, Some(2), Error, None, "E501 line too long"),
        );
    }

    #[test]
    fn a_line_without_severity_is_a_warning_when_the_tool_passed() {
        let found = findings(0, "a.h:4: TODO");
        assert_eq!(found.first().map(|f| f.severity), Some(Severity::Warning));
    }

    #[test]
    fn other_lines_are_no_findings() {
        let noise = "\
In file included from a.c:1:
   12 | int x;
make: *** [Makefile:3: all] Error 2
thread 'main' panicked at src/main.rs:3:5: boom
/usr/include/stdio.h:3:1: note: here
a.h: error: no line
";
        assert_eq!(findings(1, noise), []);
    }

    proptest! {
        #[test]
        fn arbitrary_output_never_panics(bytes in any::<Vec<u8>>(), tail in ".*") {
            let text = String::from_utf8_lossy(&bytes);
            let _ = findings(1, &text);
            let _ = findings(1, &format!("a.h:1:{tail}"));
        }
    }
}
