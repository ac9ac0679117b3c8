//! Rules about the source that no compiler checks. [`graph`] tells which file uses which.

mod graph;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use graph::Graph;

/// Modules in reading order, as in `src/lib.rs`: a module imports only from those before it.
const ORDER: &[&str] = &[
    "visible",
    "digest",
    "path",
    "finding",
    "rule",
    "env",
    "fs",
    "process",
    "facts",
    "snapshot",
    "tool",
    "plan",
    "parse",
    "catalogue",
    "config",
    "scope",
    "provision",
    "ecosystem",
    "own_checks",
    "not_run",
    "lock",
    "discover",
    "key",
    "record",
    "event",
    "room",
    "store",
    "engine",
    "report",
    "run",
    "session",
    "cli",
];

/// Siblings: neither imports the other.
const APART: &[(&str, &str)] = &[
    ("report", "run"),
    ("store", "engine"),
    ("room", "store"),
    ("ecosystem", "own_checks"),
];

fn sources() -> Vec<PathBuf> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = walkdir::WalkDir::new(src)
        .into_iter()
        .map(|file| file.expect("source").into_path());
    let rust = files.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    rust.filter(|path| !is_test(path)).collect()
}

fn module_of(path: &Path) -> String {
    let below = path
        .strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
        .expect("below src");
    let first = below
        .components()
        .next()
        .expect("a part")
        .as_os_str()
        .to_string_lossy()
        .into_owned();
    first.trim_end_matches(".rs").to_owned()
}

fn position(module: &str) -> Option<usize> {
    ORDER.iter().position(|name| *name == module)
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| {
        ["tests", "tests.rs", "testing", "testing.rs"]
            .map(OsStr::new)
            .contains(&part.as_os_str())
    })
}

/// The modules that a source text imports from the crate, outside its unit tests.
fn imports(text: &str) -> Vec<String> {
    let code = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default();
    let after = code.split("crate::").skip(1);
    after
        .map(|rest| {
            rest.chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect()
        })
        .collect()
}

#[test]
fn imports_point_to_lower_ranks() {
    if !Path::new(env!("CARGO_MANIFEST_DIR")).join("src").is_dir() {
        return crate::support::skip("the source is not here");
    }
    let mut wrong = Vec::new();
    for path in sources() {
        let module = module_of(&path);
        let Some(own) = position(&module) else {
            assert!(
                ["lib", "main"].contains(&module.as_str()),
                "{module} has no place in ORDER"
            );
            continue;
        };
        let text = std::fs::read_to_string(&path).expect("source");
        for import in imports(&text) {
            let later = import != module && position(&import).is_some_and(|at| at >= own);
            let apart = APART.contains(&(import.as_str(), module.as_str()));
            if later || apart {
                wrong.push(format!("{}: crate::{import}", path.display()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "imports against the order of lib.rs:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn every_module_says_what_it_is_for() {
    let silent: Vec<_> = sources()
        .into_iter()
        .filter(|path| {
            !std::fs::read_to_string(path)
                .expect("source")
                .starts_with("//!")
        })
        .collect();
    assert!(silent.is_empty(), "no module docs: {silent:?}");
}

/// Files that use each other can only be understood, changed and tested together.
///
/// A file may use the files above it (`super`, its folder's `mod.rs`), whether or not these use it: a folder's face
/// holds the words that its files share, and calls them. Re-exports are no use: what goes through them counts as use of
/// the file they lead to.
#[test]
fn no_files_use_each_other_in_a_circle() {
    let graph = Graph::of(&sources());
    let circles = graph.circles();
    assert!(circles.is_empty(), "circles of files: {circles:#?}");
}

#[test]
fn ecosystems_use_no_other_ecosystem() {
    let graph = Graph::of(&sources());
    let ecosystem = |module: &str| {
        let name = module.strip_prefix("ecosystem::")?.split("::").next();
        name.map(str::to_owned)
    };
    let others = graph.uses().filter(|(user, used)| {
        let (user, used) = (ecosystem(user), ecosystem(used));
        user.is_some() && used.is_some() && user != used
    });
    let others: Vec<_> = others.collect();
    assert!(others.is_empty(), "ecosystems use others: {others:#?}");
}

#[test]
fn the_readme_lists_the_checks_that_there_are() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"));
    let table = dagcache::for_tests::table_of_checks();
    assert!(
        readme.expect("README.md").contains(&table),
        "the README should hold this table:\n{table}"
    );
}

/// Whatever a repository holds in the place of a file that is read: it may be a pipe, a device, or have a terabyte.
#[test]
fn files_of_others_are_read_through_one_helper() {
    // What these read, they have made.
    const EXEMPT: &[&str] = &["fs", "process", "room", "store", "engine"];
    const RAW: &[&str] = &[
        " std::fs::read(",
        "(std::fs::read(",
        "fs::read_to_string(",
        "File::open(",
    ];
    for path in sources() {
        if EXEMPT.contains(&module_of(&path).as_str()) {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("source");
        let code = text.split("\nmod tests {").next().unwrap_or_default();
        for raw in RAW {
            assert!(
                !code.contains(raw),
                "{}: use `crate::fs` instead of `{raw}`",
                path.display()
            );
        }
    }
}

#[test]
fn paths_in_messages_are_shown_in_one_line() {
    for path in sources() {
        let text = std::fs::read_to_string(&path).expect("source");
        let raw = text.contains(".display()");
        assert!(!raw, "{}: use `Shown::shown`", path.display());
    }
}
