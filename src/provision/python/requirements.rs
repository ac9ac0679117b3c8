//! Requirements files: text → [`Lock`].
//!
//! Such a file pins packages, but does not record dependencies. Comments like `# via …` from `pip-compile` and `uv
//! pip compile` do; they are trusted if every package has one, because a wrong one can only produce an environment
//! that fails to import. Otherwise the file is one unit ([`Lock::flat`]). Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::lock::{Dependency, Lock, Package, is_strong, requirement_name};

/// Limit for included files: `-r ../x/y.txt` in `x/y.txt` includes itself through ever longer paths.
const MOST: usize = 50;

/// Whether a file name is that of requirements: `requirements.txt`, `dev-requirements.txt`, `requirements-dev.txt`.
#[must_use]
pub(crate) fn is_requirements(file_name: &str) -> bool {
    file_name
        .strip_suffix(".txt")
        .is_some_and(|stem| stem.contains("requirements"))
}

/// The text of a requirements file, decoded as pip does: by its byte-order mark, else by a comment `coding: NAME` in the
/// first two lines, else as UTF-8.
///
/// # Errors
/// What is wrong with its encoding.
pub(crate) fn decode(bytes: &[u8]) -> Result<String, String> {
    let utf16 = |unit: fn([u8; 2]) -> u16| {
        let pairs = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        let text: Result<String, _> = char::decode_utf16(pairs.skip(1)).collect();
        text.map_err(|_| "is not the UTF-16 that its byte-order mark says".to_owned())
    };
    let utf32 = |unit: fn([u8; 4]) -> u32| {
        let units = bytes
            .chunks_exact(4)
            .map(|four| unit([four[0], four[1], four[2], four[3]]));
        let text: Option<String> = units.skip(1).map(char::from_u32).collect();
        text.ok_or_else(|| "is not the UTF-32 that its byte-order mark says".to_owned())
    };
    match bytes {
        [0xff, 0xfe, 0, 0, ..] => utf32(u32::from_le_bytes),
        [0, 0, 0xfe, 0xff, ..] => utf32(u32::from_be_bytes),
        [0xff, 0xfe, ..] => utf16(u16::from_le_bytes),
        [0xfe, 0xff, ..] => utf16(u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => utf8(rest),
        _ => match coding(bytes) {
            Some(name) => by_name(bytes, &name),
            None => utf8(bytes),
        },
    }
}

fn utf8(bytes: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(bytes).map(str::to_owned);
    text.map_err(|_| {
        "is not UTF-8, and no comment `coding: NAME` names another encoding".to_owned()
    })
}

/// What a comment in the first two lines says about the encoding (PEP 263).
fn coding(bytes: &[u8]) -> Option<String> {
    let lines = bytes.split(|byte| *byte == b'\n').take(2);
    let mut comments = lines.filter(|line| line.starts_with(b"#"));
    comments.find_map(|line| {
        let line = String::from_utf8_lossy(line).into_owned();
        let (_, after) = line.split_once("coding")?;
        let name = after.strip_prefix([':', '='])?.trim_start();
        let end = name.find(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c));
        let name = &name[..end.unwrap_or(name.len())];
        (!name.is_empty()).then(|| name.to_ascii_lowercase().replace('_', "-"))
    })
}

/// Names and versions are ASCII, so of an encoding that has one byte a character nothing else has to be known.
fn by_name(bytes: &[u8], name: &str) -> Result<String, String> {
    const ONE_BYTE: [&str; 10] = [
        "latin", "l1", "iso-8859", "iso8859", "8859", "cp", "windows-", "koi8", "mac", "ascii",
    ];
    match name {
        "utf-8" | "utf8" | "u8" | "utf-8-sig" => utf8(bytes),
        _ if ONE_BYTE.iter().any(|known| name.starts_with(known)) => {
            Ok(bytes.iter().map(|byte| char::from(*byte)).collect())
        }
        _ => Err(format!(
            "is in the encoding `{name}`, which is not known here"
        )),
    }
}

/// The lines as Python splits them. A carriage return alone ends one, too.
fn physical_lines(text: &str) -> Vec<String> {
    const BREAKS: [char; 10] = [
        '\n', '\r', '\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}',
        '\u{2029}',
    ];
    let text = text.replace("\r\n", "\n");
    text.split(BREAKS).map(str::to_owned).collect()
}

/// Whether a line of the text asks for that package. The text may have been decoded wrongly.
#[must_use]
pub(crate) fn names(text: &str, package: &str) -> bool {
    let plain = text.replace('\0', "");
    physical_lines(&plain)
        .iter()
        .any(|line| requirement_name(line) == package)
}

/// The files that a requirements file includes (`-r`, `-c`), as written.
#[must_use]
pub(crate) fn includes(text: &str) -> Vec<String> {
    let lines = logical_lines(text);
    lines
        .iter()
        .filter_map(|line| included(&line.text).map(|(_, path)| path.to_owned()))
        .collect()
}

/// Parses a requirements file. `read` returns an included file by its path relative to the first one's folder.
#[must_use]
pub(crate) fn parse(text: &str, read: &dyn Fn(&str) -> Option<String>) -> Lock {
    let mut reading = Reading::default();
    reading.take(text, read, "");
    reading.finish()
}

#[derive(Default)]
struct Reading {
    packages: Vec<Package>,
    /// The dependents of each package; empty if unknown.
    via: Vec<BTreeSet<String>>,
    /// Whether the origin of each package is known.
    told: Vec<bool>,
    /// Versions pinned by constraints files.
    constraints: BTreeMap<String, Package>,
    seen: BTreeSet<String>,
}

impl Reading {
    /// Parses a file in `folder`, which is empty or ends with a slash.
    fn take(&mut self, text: &str, read: &dyn Fn(&str) -> Option<String>, folder: &str) {
        for line in logical_lines(text) {
            if let Some((kind, path)) = included(&line.text) {
                let path = format!("{folder}{path}");
                // Files may include each other.
                if self.seen.len() < MOST
                    && self.seen.insert(path.clone())
                    && let Some(text) = read(&path)
                {
                    match kind {
                        Include::Requirements => self.take(&text, read, folder_of(&path)),
                        Include::Constraints => self.constrain(&text),
                    }
                }
            } else if let Some(package) = requirement(&line.text) {
                self.packages.push(package);
                self.told.push(!line.via.is_empty());
                self.via.push(line.via);
            }
        }
    }

    fn constrain(&mut self, text: &str) {
        let lines = logical_lines(text);
        let pins = lines.iter().filter_map(|line| requirement(&line.text));
        let pins = pins.map(|package| (package.name.clone(), package));
        self.constraints.extend(pins);
    }

    fn finish(mut self) -> Lock {
        for package in &mut self.packages {
            if let Some(pin) = self.constraints.get(&package.name)
                && package.version.is_empty()
            {
                package.version.clone_from(&pin.version);
                package.hashes.extend(pin.hashes.iter().cloned());
            }
        }
        let flat = !self.told.iter().all(|told| *told);
        let users = self.packages.iter().zip(&self.via);
        let direct = users.filter(|(_, users)| users.contains(""));
        let direct = direct.map(|(package, _)| package.name.clone()).collect();
        if !flat {
            for (at, users) in self.via.iter().enumerate() {
                let needed = Dependency {
                    name: self.packages[at].name.clone(),
                    constraint: "*".to_owned(),
                    ..Dependency::default()
                };
                for package in &mut self.packages {
                    if users.contains(&package.name) {
                        package.dependencies.push(needed.clone());
                    }
                }
            }
        }
        Lock {
            python: None,
            packages: self.packages,
            asked: BTreeMap::new(),
            direct,
            flat,
        }
    }
}

/// The folder of a file, with a trailing slash.
#[must_use]
pub(crate) fn folder_of(path: &str) -> &str {
    path.rfind('/').map_or("", |at| &path[..=at])
}

#[derive(Clone, Copy)]
enum Include {
    Requirements,
    Constraints,
}

fn included(line: &str) -> Option<(Include, &str)> {
    for (option, kind) in [
        ("--requirement", Include::Requirements),
        ("--constraint", Include::Constraints),
        ("-r", Include::Requirements),
        ("-c", Include::Constraints),
    ] {
        if let Some(rest) = line.strip_prefix(option) {
            let path = rest.trim_start_matches(['=', ' ', '\t']).trim();
            // `--require-hashes` and similar are other options.
            let apart = !option.starts_with("--") || rest.starts_with(['=', ' ', '\t']);
            return (apart && !path.is_empty()).then_some((kind, path));
        }
    }
    None
}

/// A line with its continuations and comments.
struct Line {
    text: String,
    /// Names of its dependents; files and projects have the empty name.
    via: BTreeSet<String>,
}

fn logical_lines(text: &str) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut continued = false;
    let mut in_via = false;
    for raw in &physical_lines(text) {
        let (code, comment) = split_comment(raw);
        let trimmed = code.trim();
        let (part, more) = match trimmed.strip_suffix('\\') {
            Some(part) => (part.trim_end(), true),
            None => (trimmed, false),
        };
        if !part.is_empty() {
            match lines.last_mut().filter(|_| continued) {
                Some(line) => {
                    line.text.push(' ');
                    line.text.push_str(part);
                }
                None => lines.push(Line {
                    text: part.to_owned(),
                    via: BTreeSet::new(),
                }),
            }
            in_via = false;
        }
        continued = more;
        let Some(comment) = comment else {
            in_via &= part.is_empty() && !raw.trim().is_empty();
            continue;
        };
        let users = match comment.strip_prefix("via") {
            Some(users) => {
                in_via = true;
                users
            }
            None => comment,
        };
        // A comment at the start of a line belongs to the next requirement.
        in_via &= !raw.starts_with('#');
        if let Some(line) = lines.last_mut().filter(|_| in_via) {
            line.via.extend(users.split(',').filter_map(user));
        }
    }
    lines
}

fn user(text: &str) -> Option<String> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    let is_package = !text.starts_with('-') && !text.contains(['(', '/']);
    Some(if is_package {
        requirement_name(text)
    } else {
        String::new()
    })
}

/// As in pip, a comment starts at the beginning or after white space.
fn split_comment(line: &str) -> (&str, Option<&str>) {
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        if c == '#' && before.is_whitespace() {
            return (&line[..at], Some(line[at + 1..].trim()));
        }
        before = c;
    }
    (line, None)
}

/// A requirement with its options; `None` for global options, and for paths and archives without a name.
fn requirement(line: &str) -> Option<Package> {
    if line.starts_with('-') {
        return None;
    }
    let (spec, options) = match line.find(" --") {
        Some(at) => line.split_at(at),
        None => (line, ""),
    };
    let (spec, marker) = match spec.split_once(';') {
        Some((spec, marker)) => (spec, Some(marker.trim())),
        None => (spec, None),
    };
    let name = requirement_name(spec);
    if name.is_empty()
        || spec.starts_with(['.', '/'])
        || spec.contains("://") && !spec.contains('@')
    {
        return None;
    }
    let options = options.replace("--hash=", "--hash ");
    let mut words = options.split_whitespace();
    let mut hashes = BTreeSet::new();
    while let Some(word) = words.next() {
        if word == "--hash"
            && let Some(hash) = words.next().filter(|hash| is_strong(hash))
        {
            hashes.insert(hash.to_owned());
        }
    }
    Some(Package {
        name,
        version: pinned(spec).unwrap_or_default(),
        markers: marker
            .map(|marker| (String::new(), marker.to_owned()))
            .into_iter()
            .collect(),
        hashes,
        // The hashes do not tell which files they are for; pip reports it if there is no wheel.
        has_wheel: true,
        from_index: !spec.contains('@'),
        ..Package::default()
    })
}

/// The version in `name[extra] == 1.2`.
fn pinned(spec: &str) -> Option<String> {
    let (_, version) = spec.split_once("==")?;
    let version = version.trim_start_matches('=').trim();
    let exact = !version.is_empty() && !version.contains(['*', ',', ' ']);
    exact.then(|| version.trim_end_matches(')').trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::closure::{Closure, closure};
    use super::super::marker::tests::linux;
    use super::*;
    use proptest::prelude::*;

    const HASH: &str = "sha256:61122637c9e1d9be1329054f3fa216559f0d1f722b7919b060a8c2a4ae1850e5";

    fn of(text: &str, tool: &str) -> Option<Closure> {
        let lock = parse(text, &|_| None);
        closure(&lock, tool, &BTreeMap::new(), &linux()).expect("a closure")
    }

    fn names(closure: &Closure) -> Vec<String> {
        let packages = closure.packages.iter();
        packages
            .map(|package| format!("{} {}", package.name, package.version))
            .collect()
    }

    fn compiled() -> String {
        format!(
            "#\n# This file is made by pip-compile\n#\n--index-url https://pypi.org/simple\n\n\
             pathspec==0.12.1 \\\n    --hash={HASH} \\\n    --hash=md5:00\n    # via\n    #   black\n    #   yamllint\n\
             pyyaml==6.0.2 --hash={HASH}  # via yamllint\n\
             Yaml_Lint.Plugin[all]==1.0 ; python_version >= '3.8' \\\n    --hash {HASH}\n    # via -r requirements.in\n\
             yamllint==1.37.1 \\\n    --hash={HASH}\n    # via\n    #   -r requirements.in\n    #   yaml-lint-plugin\n\
             black==24.1.0 --hash={HASH}\n    # via project (pyproject.toml)\n\
             gone==1 ; sys_platform == 'win32' --hash={HASH}  # via yamllint\n"
        )
    }

    #[test]
    fn the_comments_of_compiled_files_tell_closures() {
        let found = of(&compiled(), "yamllint").expect("locked");
        assert_eq!(
            names(&found),
            [
                "pathspec 0.12.1",
                "pyyaml 6.0.2",
                "yaml-lint-plugin 1.0",
                "yamllint 1.37.1"
            ]
        );
        assert!(!found.partial);
        let text = found.requirements().expect("hashed");
        assert_eq!(
            text.lines().next(),
            Some(&*format!("pathspec==0.12.1 --hash={HASH}"))
        );
        let black = of(&compiled(), "black").expect("locked");
        assert_eq!(names(&black), ["black 24.1.0", "pathspec 0.12.1"]);
        let bumped = compiled().replace("black==24.1.0", "# new\nblack==24.2.0");
        assert_eq!(of(&bumped, "yamllint"), Some(found));
    }

    #[test]
    fn without_them_a_hashed_file_is_one_piece_and_an_unhashed_one_only_names_the_tool() {
        let hashed = format!("a==1 --hash={HASH}\nruff==0.5.7 --hash={HASH}\n");
        assert_eq!(
            names(&of(&hashed, "ruff").expect("locked")),
            ["a 1", "ruff 0.5.7"]
        );
        let found = of("a==1\nruff == 0.5.7\n", "ruff").expect("locked");
        assert_eq!(names(&found), ["ruff 0.5.7"]);
        assert!(found.partial && found.requirements().is_err());
    }

    #[test]
    fn included_files_and_constraints_count() {
        let read = |name: &str| match name {
            "base.txt" => Some("ruff\n-r base.txt\n".to_owned()),
            "pins.txt" => Some("ruff==0.5.7\nunused==1\n".to_owned()),
            _ => None,
        };
        let text = "-r base.txt\n--constraint=pins.txt\n--require-hashes\n-e .\n./x.whl\nhttps://x/y.whl\n";
        let lock = parse(text, &read);
        let found: BTreeMap<&str, &str> = lock
            .packages
            .iter()
            .map(|package| (&*package.name, &*package.version))
            .collect();
        assert_eq!(found, BTreeMap::from([("ruff", "0.5.7")]));
        assert_eq!(includes(text), ["base.txt", "pins.txt"]);
    }

    #[test]
    fn text_is_decoded_as_pip_does() {
        let text = "# café\nruff==1\n";
        let wide = |unit: fn(u16) -> [u8; 2]| -> Vec<u8> {
            let marked = format!("\u{feff}{text}");
            marked.encode_utf16().flat_map(unit).collect()
        };
        for bytes in [
            text.as_bytes().to_vec(),
            format!("\u{feff}{text}").into_bytes(),
            wide(u16::to_le_bytes),
            wide(u16::to_be_bytes),
        ] {
            assert_eq!(decode(&bytes).as_deref(), Ok(text));
        }
        let latin = |head: &str| decode(&[head.as_bytes(), b"# caf\xe9\nruff==1\n"].concat());
        for head in [
            "# -*- coding: latin-1 -*-\n",
            "#!x\n# vim: set fileencoding=cp1252 :\n",
        ] {
            assert!(
                latin(head).is_ok_and(|text| super::names(&text, "ruff")),
                "{head}"
            );
        }
        for head in [
            "",
            "# -*- coding: utf-8 -*-\n",
            "# coding: ebcdic\n",
            "\n\n# coding: latin-1\n",
        ] {
            assert!(latin(head).is_err(), "{head}");
        }
    }

    #[test]
    fn lines_end_as_in_python() {
        for text in [
            "a==1\rruff==2\r",
            "a==1\r\nruff==2",
            "a==1\u{2028}ruff==2",
            "a==1 \\\r\n --x\r\nruff==2\r\n",
        ] {
            let packages = parse(text, &|_| None).packages;
            let found: Vec<_> = packages.iter().map(|p| (&*p.name, &*p.version)).collect();
            assert_eq!(found, [("a", "1"), ("ruff", "2")], "{text:?}");
        }
    }

    #[test]
    fn what_is_no_pin() {
        let version = |line: &str| requirement(line).map(|package| package.version);
        for line in ["a", "a>=1", "a==1.*", "a==1,!=2", "a~=1"] {
            assert_eq!(version(line).as_deref(), Some(""), "{line}");
        }
        assert_eq!(version("a===1.0").as_deref(), Some("1.0"));
        assert!(requirement("a @ https://x/a.whl").is_some_and(|package| !package.from_index));
    }

    #[test]
    fn names_of_requirements_files() {
        for name in [
            "requirements.txt",
            "requirements-dev.txt",
            "dev-requirements.txt",
        ] {
            assert!(is_requirements(name), "{name}");
        }
        for name in ["requirements.in", "notes.txt", "requirements"] {
            assert!(!is_requirements(name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_and_damaged_files_never_panic(text in "(-r |-c|==|#|# via|\\\\\n|\n| --hash=|;|\\[|\\PC){0,60}", at in 0..200_usize, cut in 0..40_usize, put in "\\PC{0,6}") {
            let whole = compiled();
            let mut damaged = whole.into_bytes();
            let end = (at + cut).min(damaged.len());
            damaged.splice(at..end, put.into_bytes());
            for text in [text, String::from_utf8_lossy(&damaged).into_owned()] {
                let again = text.clone();
                let lock = parse(&text, &|_| Some(again.clone()));
                let _ = closure(&lock, "yamllint", &BTreeMap::new(), &linux());
                let _ = includes(&text);
            }
        }
    }
}
