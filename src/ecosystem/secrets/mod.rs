//! `security:secrets`: finds private keys and well-known tokens in the project's files.
//!
//! Built in, always planned, with one part per file that is not excluded.
//! - The kinds of secrets: [`rules`], their shapes: [`shapes`], those found by a name beside them: [`named`].
//! - Text of any size is scanned. Binary files (with a NUL in the first 8 KiB, as in git) are not: nobody can fix a
//!   line of them, and random bytes look like anything. UTF-16 with a byte-order mark is text.
//! - Findings in test data ([`RelPath::is_test_data`]) and of doubtful rules are warnings, others are errors.
//! - `dagcache: allow-secret` on a line allows its secrets.
//! - A baseline (`[checks."security:secrets"] baseline = "PATH"`) lists one known finding per line as
//!   `path:rule:hash`, where `hash` is the first 16 hexadecimal digits of the SHA-256 of the secret. Empty lines and
//!   lines starting with `#` are ignored; lines that match nothing are harmless. Every finding's message ends with
//!   the line that accepts it.
//!
//! Messages never contain a secret, only its first four characters.
//! Text that is merely random is no finding: without a mark or a name it would cost more trust than it gains.

mod alphabets;
mod chance;
mod escapes;
mod named;
mod rules;
mod scanner;
mod shapes;
mod windows;

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, OnceLock};

use crate::catalogue;
use crate::digest::Digest;
use crate::finding::{Finding, Severity, narrow};
use crate::path::RelPath;
use crate::plan::{Builtin, InputView, Inputs, Plan, Work};
use crate::scope::{PlanError, Scope};
use crate::snapshot::Kind;

use scanner::{Hit, Scanner};
use windows::{Window, Windows};

pub(crate) const ID: &str = "security:secrets";

const ALLOW: &[u8] = b"dagcache: allow-secret";
/// Nobody reads more; the rest of a larger file is not searched.
const ENOUGH: usize = 1000;

pub(crate) fn plan(scope: &Scope<'_>, plan: &mut Plan) -> Result<(), PlanError> {
    let baseline = match scope.secrets_baseline {
        None => None,
        Some(path) => Some(scope.snapshot.find(path).ok_or_else(|| {
            PlanError::new(format!(
                "the baseline `{path}` of `{ID}` is not a project file\nhelp: create it (an empty file accepts \
                 nothing), or remove `baseline` from `[checks.\"{ID}\"]`"
            ))
        })?),
    };
    let parts = scope
        .checked()
        .filter(|(_, entry)| {
            entry.kind != Kind::Symlink && !LOCKFILES.contains(&entry.path.file_name())
        })
        .map(|(id, _)| id)
        .collect();
    let work = Work::Builtin(Arc::new(Secrets::new(scope.secrets_baseline.cloned())));
    let check = catalogue::planned(ID, &RelPath::root(), work);
    let inputs = Inputs::per_file(parts).and_config(baseline);
    plan.checks.push(check.sees(inputs));
    Ok(())
}

/// Lockfiles are generated and consist of names and hashes. They are skipped, as in gitleaks' default configuration,
/// so that a new dependency re-runs nothing here.
const LOCKFILES: &[&str] = &[
    "Cargo.lock",
    "Gemfile.lock",
    "Pipfile.lock",
    "bun.lock",
    "composer.lock",
    "dagcache.lock",
    "flake.lock",
    "go.sum",
    "npm-shrinkwrap.json",
    "package-lock.json",
    "pdm.lock",
    "pnpm-lock.yaml",
    "poetry.lock",
    "uv.lock",
    "yarn.lock",
];

/// The check. The scanner is built for the first file that is scanned, so a Fresh run does not pay for it.
#[derive(Debug)]
struct Secrets {
    baseline: Option<RelPath>,
    scanner: OnceLock<Scanner>,
}

impl Secrets {
    fn new(baseline: Option<RelPath>) -> Self {
        Self {
            baseline,
            scanner: OnceLock::new(),
        }
    }

    fn scanner(&self) -> io::Result<&Scanner> {
        if let Some(scanner) = self.scanner.get() {
            return Ok(scanner);
        }
        let scanner = Scanner::new().map_err(io::Error::other)?;
        Ok(self.scanner.get_or_init(|| scanner))
    }

    fn accepted(&self, view: &dyn InputView) -> io::Result<HashSet<String>> {
        match &self.baseline {
            Some(path) => Ok(parse_baseline(&view.read(path)?)),
            None => Ok(HashSet::new()),
        }
    }
}

impl Builtin for Secrets {
    fn name(&self) -> &'static str {
        ID
    }

    fn version(&self) -> u32 {
        4
    }

    fn params(&self) -> Vec<(String, String)> {
        self.baseline
            .iter()
            .map(|path| ("baseline".to_owned(), path.as_str().to_owned()))
            .collect()
    }

    fn check(&self, view: &dyn InputView) -> io::Result<Vec<Finding>> {
        let Some(path) = view.part() else {
            return Ok(Vec::new());
        };
        // Before the other file: one at a time is read.
        let accepted = self.accepted(view)?;
        let mut findings = Vec::new();
        let mut windows = Windows::new(|window| {
            if findings.len() >= ENOUGH {
                return Ok(());
            }
            let hits = self.scanner()?.scan(window.text);
            let own = hits
                .iter()
                .filter(|hit| window.own.contains(&hit.range.start));
            for hit in own {
                let allowed = contains(line_around(window.text, hit.range.start), ALLOW);
                if !allowed && !accepted.contains(&baseline_line(path, hit, window.text)) {
                    findings.push(finding(path, hit, window));
                }
            }
            Ok(())
        });
        view.pass(path, &mut |piece| windows.add(piece))?;
        windows.finish()?;
        Ok(findings)
    }
}

fn parse_baseline(text: &[u8]) -> HashSet<String> {
    String::from_utf8_lossy(text)
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

fn baseline_line(path: &RelPath, hit: &Hit, text: &[u8]) -> String {
    let secret = text.get(hit.range.clone()).unwrap_or_default();
    let mut hash = Digest::of(secret).to_string();
    hash.truncate(16);
    format!("{}:{}:{hash}", path.as_str(), hit.rule.id)
}

fn finding(path: &RelPath, hit: &Hit, window: &Window<'_>) -> Finding {
    let text = window.text;
    let secret = text.get(hit.range.clone()).unwrap_or_default();
    let shown = String::from_utf8_lossy(secret.get(..4).unwrap_or(secret));
    let (line, column) = window.position(hit.range.start);
    let (severity, doubt) = match hit.rule.doubt {
        Some(doubt) => (Severity::Warning, format!(" ({doubt})")),
        None => (Severity::in_file(path), String::new()),
    };
    Finding {
        path: Some(path.clone()),
        line: Some(narrow(line)),
        column: Some(narrow(column)),
        severity,
        code: Some(hit.rule.id.to_owned()),
        message: format!(
            "{} `{shown}…`{doubt}: revoke it and keep it out of the repository; if it is none, write `dagcache: \
             allow-secret` on its line, or this in the baseline: {}",
            hit.rule.what,
            baseline_line(path, hit, text),
        ),
        rendered: None,
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn line_around(text: &[u8], at: usize) -> &[u8] {
    let (before, after) = text.split_at(at.min(text.len()));
    let start = before
        .iter()
        .rposition(|b| *b == b'\n')
        .map_or(0, |i| i + 1);
    let length = after.iter().position(|b| *b == b'\n');
    let end = at + length.unwrap_or(after.len());
    text.get(start..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Env;
    use crate::facts::Facts;
    use crate::snapshot::Snapshot;
    use crate::tool::Tools;

    struct View<'a> {
        part: RelPath,
        files: &'a [(&'a str, &'a [u8])],
    }

    impl InputView for View<'_> {
        fn part(&self) -> Option<&RelPath> {
            Some(&self.part)
        }

        fn read(&self, path: &str) -> io::Result<Vec<u8>> {
            let found = self.files.iter().find(|(name, _)| *name == path);
            found
                .map(|(_, bytes)| bytes.to_vec())
                .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
        }
    }

    fn check(path: &str, bytes: &[u8]) -> Vec<Finding> {
        let view = View {
            part: RelPath::new(path).expect(path),
            files: &[(path, bytes)],
        };
        Secrets::new(None).check(&view).expect("the part is there")
    }

    fn token() -> String {
        ["ghp", "_", "q7RkZ2mNf84LsTw0YbVx", "3JcDh6GpAe9UiKoQ"].concat()
    }

    #[test]
    fn a_finding_names_rule_and_place_and_hides_the_value() {
        let text = format!("a\né = \"{}\"\n", token());
        let findings = check("src/a.py", text.as_bytes());
        assert_eq!(findings.len(), 1);
        let finding = &findings[0];
        assert_eq!((finding.line, finding.column), (Some(2), Some(6)));
        assert_eq!(finding.code.as_deref(), Some("github-token"));
        assert_eq!(finding.severity, Severity::Error);
        assert!(finding.message.contains("`ghp_…`"), "{}", finding.message);
        assert!(!finding.message.contains("q7Rk"), "{}", finding.message);
    }

    #[test]
    fn what_is_often_no_secret_only_warns_and_says_why() {
        let key = ["sk", "_test_", "q7RkZ2mNf84LsTw0YbVx3JcD"].concat();
        let findings = check("src/a.py", key.as_bytes());
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].severity, Severity::Warning);
        let message = &findings[0].message;
        assert!(message.contains("(for tests, but"), "{message}");
    }

    #[test]
    fn a_sure_finding_wins_over_a_doubtful_one_of_the_same_text() {
        let text = format!("token = \"{}\"", token());
        let findings = check("a", text.as_bytes());
        let codes: Vec<_> = findings
            .iter()
            .map(|finding| finding.code.as_deref())
            .collect();
        assert_eq!(codes, [Some("github-token")]);
    }

    #[test]
    fn test_data_only_warns() {
        let severity = |path: &str| check(path, token().as_bytes())[0].severity;
        assert_eq!(severity("x/testdata/y/a"), Severity::Warning);
        assert_eq!(severity("src/tests.rs"), Severity::Error);
    }

    #[test]
    fn a_comment_on_the_line_silences_that_line_only() {
        let allowed = format!("x = {} # dagcache: allow-secret\n", token());
        assert_eq!(check("a", allowed.as_bytes()), []);
        let next = format!("# dagcache: allow-secret\nx = {}\n", token());
        assert_eq!(check("a", next.as_bytes()).len(), 1);
    }

    #[test]
    fn the_baseline_accepts_what_its_lines_name() {
        let text = token();
        let message = check("a:b.txt", text.as_bytes())[0].message.clone();
        let line = message.rsplit(' ').next().unwrap_or_default();
        let silent = |baseline: &str| {
            let view = View {
                part: RelPath::new("a:b.txt").expect("a path"),
                files: &[("a:b.txt", text.as_bytes()), ("known", baseline.as_bytes())],
            };
            let check = Secrets::new(Some(RelPath::new("known").expect("a path")));
            check.check(&view).expect("both are there").is_empty()
        };
        assert!(silent(&format!("# old\n\nstale:x:0\r\n{line}\r\n")));
        assert!(!silent("stale:x:0\n"));
        assert!(!silent(&line.replace("a:b", "a:c")));
    }

    #[test]
    fn binary_files_are_passed_over_and_utf16_is_not_binary() {
        let mut binary = b"\x7fELF\0".to_vec();
        binary.extend_from_slice(token().as_bytes());
        assert_eq!(check("a", &binary), []);
        let wide = format!("\u{feff}one\ntwo {}", token());
        let bytes: Vec<u8> = wide.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(check("a", &bytes)[0].line, Some(2));
    }

    #[test]
    fn every_file_but_excluded_ones_and_lockfiles_is_a_part_and_the_baseline_is_shared() {
        let files = [("a", ""), ("b", ""), ("known", ""), ("x/poetry.lock", "")];
        let snapshot = Snapshot::in_memory(&files);
        let baseline = RelPath::new("known").expect("a path");
        let mut scope = Scope {
            snapshot: &snapshot,
            excluded: &[false, true, false, false],
            facts: &Facts::default(),
            tools: &Tools::default(),
            env: &Env::default(),
            secrets_baseline: Some(&baseline),
            strange: crate::scope::Strange::default(),
            trusted: crate::plan::trust::Trusted::default(),
            images: None,
        };
        let mut planned = Plan::default();
        plan(&scope, &mut planned).expect("the baseline is there");
        let inputs = &planned.checks[0].inputs;
        assert_eq!(inputs.parts.as_deref(), Some(&[0, 2][..]));
        assert_eq!(inputs.shared, [2]);

        let missing = RelPath::new("gone").expect("a path");
        scope.secrets_baseline = Some(&missing);
        let error = plan(&scope, &mut planned).expect_err("no such baseline");
        assert!(error.message.contains("`gone`"), "{error}");
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            check("a", &bytes);
            parse_baseline(&bytes);
        }
    }
}
