use proptest::prelude::*;

use super::*;

const ROOT: &str = r#"
# A comment.
[package]
name = "app"
version = "1.2.3"
edition.workspace = true
description = "d"
[workspace]
members = ["crates/*"]
exclude = ["out"]
resolver = "2"
[workspace.package]
edition = "2021"
version = "1.2.3"
[workspace.dependencies]
lib = { path = "crates/lib", version = "1.2" }
serde = "1"
[workspace.lints.rust]
unused = "deny"
[dependencies]
lib.workspace = true
serde = { workspace = true, features = ["derive"] }
[target.'cfg(unix)'.dependencies]
libc = "0.2"
[[bin]]
name = "tool"
path = "src/tool.rs"
[features]
extra = ["dep:serde"]
[profile.dev]
opt-level = 1
"#;

const LIB: &str = r#"
[package]
name = "lib"
version.workspace = true
edition = "2018"
build = "make.rs"
[lib]
name = "other"
proc-macro = true
test = false
[dev-dependencies]
outer = { path = "../../out/outer" }
[lints]
workspace = true
"#;

const OUTER: &str =
    "[package]\nname = 'outer'\nversion = '0.1.0'\n[dev-dependencies]\nunseen = '1'\n";

const LOCK: &str = r#"version = 4

[[package]]
name = "app"
version = "1.2.3"
dependencies = ["lib", "libc", "outer 0.2.0", "serde"]

[[package]]
name = "lib"
version = "1.2.3"
dependencies = ["outer 0.1.0"]

[[package]]
name = "libc"
version = "0.2.1"
source = "registry+x"
checksum = "aa"

[[package]]
name = "outer"
version = "0.1.0"

[[package]]
name = "outer"
version = "0.2.0"
source = "registry+x"

[[package]]
name = "serde"
version = "1.0.0"
source = "registry+x"

[[package]]
name = "unreached"
version = "1.0.0"
source = "registry+x"
"#;

const FILES: &[(&str, &str)] = &[
    ("Cargo.lock", LOCK),
    ("Cargo.toml", ROOT),
    ("crates/lib/Cargo.toml", LIB),
    ("out/outer/Cargo.toml", OUTER),
    ("out/outer/build.rs", ""),
    ("stray/Cargo.toml", "[package]\nname = 'stray'"),
];

fn with<'a>(changes: &[(&'a str, &'a str)]) -> BTreeMap<&'a str, &'a str> {
    let mut files: BTreeMap<&str, &str> = FILES.iter().copied().collect();
    files.extend(changes.iter().copied());
    files
}

fn of(files: &BTreeMap<&str, &str>) -> Result<Skeleton, String> {
    let read = |path: &RelPath| files.get(path.as_str()).map(|text| (*text).to_owned());
    let members = ["", "crates/lib"].map(|dir| RelPath::new(dir).unwrap());
    let lock = files.get("Cargo.lock").copied();
    let configuration = files.get(".cargo/config.toml").map(|text| {
        let table = toml::from_str(text).unwrap();
        (RelPath::root(), table)
    });
    let configuration: Vec<_> = configuration.into_iter().collect();
    skeleton(&RelPath::root(), &members, lock, &configuration, &read)
}

fn manifest(skeleton: &Skeleton, path: &str) -> Table {
    let mut all = skeleton.manifests.iter();
    let (_, text) = all.find(|(known, _)| known.as_str() == path).expect(path);
    toml::from_str(text).unwrap()
}

fn paths(files: &[(RelPath, String)]) -> Vec<&str> {
    files.iter().map(|(path, _)| path.as_str()).collect()
}

#[test]
fn packages_that_are_reached_are_empty_libraries() {
    let skeleton = of(&with(&[])).unwrap();
    let manifests = [
        "Cargo.toml",
        "crates/lib/Cargo.toml",
        "out/outer/Cargo.toml",
    ];
    assert_eq!(paths(&skeleton.manifests), manifests);
    let sources = [
        "crates/lib/build.rs",
        "crates/lib/src/lib.rs",
        "out/outer/build.rs",
        "out/outer/src/lib.rs",
        "src/lib.rs",
    ];
    assert_eq!(paths(&skeleton.sources), sources);
    let lib = manifest(&skeleton, "crates/lib/Cargo.toml");
    assert_eq!(lib["lib"]["name"].as_str(), Some("other"));
    assert_eq!(lib["lib"]["proc-macro"].as_bool(), Some(true));
    assert_eq!(lib["package"]["version"].as_str(), Some(VERSION));
    assert!(!lib.contains_key("lints") && lib.contains_key("dev-dependencies"));
    let root = manifest(&skeleton, "Cargo.toml");
    assert!(!root.contains_key("bin") && root.contains_key("features"));
    assert_eq!(root["workspace"]["members"].as_array().unwrap().len(), 1);
    assert_eq!(root["workspace"]["package"].as_table().unwrap().len(), 1);
    let shared = root["workspace"]["dependencies"]["lib"].as_table().unwrap();
    assert!(!shared.contains_key("version"));
    let outer = manifest(&skeleton, "out/outer/Cargo.toml");
    assert!(
        !outer.contains_key("dev-dependencies"),
        "nobody asks for them"
    );
}

#[test]
fn the_lockfile_holds_what_is_reached_as_the_manifests_have_it() {
    let (_, text) = of(&with(&[])).unwrap().lockfile.unwrap();
    let table: Table = toml::from_str(&text).unwrap();
    let packages = table["package"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let named: Vec<(String, String)> = packages
        .iter()
        .map(|package| (text(&package["name"]), text(&package["version"])))
        .collect();
    let expected = [
        ("app", VERSION),
        ("lib", VERSION),
        ("libc", "0.2.1"),
        ("outer", VERSION),
        ("outer", "0.2.0"),
        ("serde", "1.0.0"),
    ];
    assert_eq!(named, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    let entries = |index: usize| packages[index]["dependencies"].to_string();
    assert_eq!(entries(0), r#"["lib", "libc", "outer 0.2.0", "serde"]"#);
    assert_eq!(entries(1), format!(r#"["outer {VERSION}"]"#));
}

#[test]
fn what_does_not_decide_how_dependencies_are_compiled_changes_nothing() {
    let before = of(&with(&[])).unwrap();
    for (path, from, to) in [
        ("Cargo.toml", "# A comment.", "# Another."),
        ("Cargo.toml", "1.2.3", "1.3.0"),
        ("Cargo.toml", "version = \"1.2\"", "version = \"1.3\""),
        (
            "Cargo.toml",
            "description = \"d\"",
            "rust-version = \"1.80\"\nkeywords = [\"k\"]",
        ),
        ("Cargo.toml", "unused = \"deny\"", "unused = \"allow\""),
        (
            "Cargo.toml",
            "[[bin]]",
            "[[test]]\nname = \"t\"\n[[bench]]\nname = \"b\"\n[[bin]]",
        ),
        (
            "Cargo.toml",
            "[features]",
            "[package.metadata.x]\na = 1\n[features]",
        ),
        (
            "Cargo.toml",
            "members = [\"crates/*\"]",
            "members = [\"crates/lib\"]",
        ),
        ("crates/lib/Cargo.toml", "test = false", "doctest = false"),
        ("crates/lib/Cargo.toml", "make.rs", "other.rs"),
        ("out/outer/Cargo.toml", "0.1.0", "0.1.1"),
        ("out/outer/Cargo.toml", "unseen", "others"),
        ("Cargo.lock", "\"1.2.3\"", "\"1.3.0\""),
        ("Cargo.lock", "version = 4\n", "# By hand.\nversion = 4\n"),
        ("Cargo.lock", "\"unreached\"", "\"unseen\""),
        ("stray/Cargo.toml", "'stray'", "'other'"),
    ] {
        let text = with(&[])[path].replace(from, to);
        assert_ne!(text, with(&[])[path], "{path}: {from}");
        assert_eq!(of(&with(&[(path, &text)])).unwrap(), before, "{path}: {to}");
    }
    let more = [
        ("tests/new.rs", ""),
        ("src/main.rs", ""),
        ("src/lib.rs", "x"),
    ];
    assert_eq!(of(&with(&more)).unwrap(), before);
}

#[test]
fn what_decides_how_dependencies_are_compiled_counts() {
    let before = of(&with(&[])).unwrap();
    for (path, from, to) in [
        (
            "Cargo.toml",
            "serde = \"1\"",
            "serde = { version = \"1\", default-features = false }",
        ),
        ("Cargo.toml", "resolver = \"2\"", "resolver = \"1\""),
        ("Cargo.toml", "edition = \"2021\"", "edition = \"2024\""),
        ("Cargo.toml", "opt-level = 1", "opt-level = 2"),
        ("Cargo.toml", "opt-level = 1", "panic = \"abort\""),
        ("Cargo.toml", "dep:serde", "lib/x"),
        ("Cargo.toml", "cfg(unix)", "cfg(windows)"),
        ("Cargo.toml", "libc = \"0.2\"", "libc = \"0.2.1\""),
        (
            "Cargo.toml",
            "[profile.dev]",
            "[patch.crates-io]\nlibc = { git = \"x\" }\n[profile.dev]",
        ),
        (
            "crates/lib/Cargo.toml",
            "proc-macro = true",
            "proc-macro = false",
        ),
        ("crates/lib/Cargo.toml", "\"make.rs\"", "false"),
        (
            "crates/lib/Cargo.toml",
            "[dev-dependencies]",
            "[dev-dependencies]\nserde = \"1\"",
        ),
        ("Cargo.lock", "1.0.0\"\nsource", "1.0.1\"\nsource"),
        ("Cargo.lock", "\"aa\"", "\"ab\""),
    ] {
        let text = with(&[])[path].replacen(from, to, 1);
        assert_ne!(of(&with(&[(path, &text)])).unwrap(), before, "{path}: {to}");
    }
}

#[test]
fn versions_that_others_ask_for_stay() {
    let patched = format!("{ROOT}[patch.crates-io]\nouter = {{ path = \"out/outer\" }}\n");
    let skeleton = of(&with(&[("Cargo.toml", &patched)])).unwrap();
    let outer = manifest(&skeleton, "out/outer/Cargo.toml");
    assert_eq!(outer["package"]["version"].as_str(), Some("0.1.0"));
    let (_, lock) = skeleton.lockfile.unwrap();
    assert!(lock.contains("\"outer 0.1.0\""), "{lock}");

    let twice = OUTER.replace("'outer'", "'lib'");
    let skeleton = of(&with(&[("out/outer/Cargo.toml", &twice)])).unwrap();
    let outer = manifest(&skeleton, "out/outer/Cargo.toml");
    assert_eq!(outer["package"]["version"].as_str(), Some("0.1.0"));
}

#[test]
fn packages_that_configuration_puts_in_place_of_others_are_there() {
    for config in [
        "[patch.crates-io]\nserde = { path = \"forks/serde\" }\n",
        "paths = [\"forks/serde\"]\n",
    ] {
        let fork = "[package]\nname = 'serde'\nversion = '1.0.0'\n";
        let files = with(&[
            (".cargo/config.toml", config),
            ("forks/serde/Cargo.toml", fork),
        ]);
        let skeleton = of(&files).unwrap();
        let fork = manifest(&skeleton, "forks/serde/Cargo.toml");
        assert_eq!(fork["package"]["version"].as_str(), Some("1.0.0"));
        assert!(paths(&skeleton.sources).contains(&"forks/serde/src/lib.rs"));
    }
}

#[test]
fn what_is_not_known_here_stays() {
    let root = ROOT
        .replace("[features]", "[hints]\nmostly-unused = true\n[features]")
        .replace("description = \"d\"", "new-key = 1")
        .replace("resolver = \"2\"", "resolver = \"2\"\nother-key = 2");
    let root = format!("cargo-features = [\"x\"]\n{root}");
    let skeleton = of(&with(&[("Cargo.toml", &root)])).unwrap();
    let root = manifest(&skeleton, "Cargo.toml");
    assert!(root.contains_key("cargo-features"));
    assert!(root["hints"]["mostly-unused"].as_bool().unwrap());
    assert_eq!(root["package"]["new-key"].as_integer(), Some(1));
    assert_eq!(root["workspace"]["other-key"].as_integer(), Some(2));
}

#[test]
fn an_old_lockfile_stays_as_it_is_and_so_do_versions() {
    let old = LOCK.replace("version = 4\n", "");
    let skeleton = of(&with(&[("Cargo.lock", &old)])).unwrap();
    assert_eq!(skeleton.lockfile.as_ref().map(|(_, text)| text), Some(&old));
    let root = manifest(&skeleton, "Cargo.toml");
    assert_eq!(root["package"]["version"].as_str(), Some("1.2.3"));
    let shared = root["workspace"]["package"].as_table().unwrap();
    assert_eq!(shared["version"].as_str(), Some("1.2.3"));
}

#[test]
fn packages_outside_bring_the_workspace_they_inherit_from() {
    let inheriting = "[package]\nname = 'outer'\nedition.workspace = true\n";
    let above = "[workspace]\nmembers = ['outer', 'more']\n[workspace.package]\nedition = '2021'\n[profile.dev]\ndebug = 0\n";
    let files = with(&[
        ("out/outer/Cargo.toml", inheriting),
        ("out/Cargo.toml", above),
    ]);
    let skeleton = of(&files).unwrap();
    let above = manifest(&skeleton, "out/Cargo.toml");
    assert_eq!(above["workspace"]["members"].as_array(), Some(&Vec::new()));
    assert!(!above.contains_key("profile"));
    assert!(!paths(&skeleton.sources).contains(&"out/src/lib.rs"));
}

#[test]
fn the_skeleton_of_a_skeleton_is_itself() {
    for panics in ["opt-level = 1", "panic = \"abort\""] {
        let root = ROOT.replace("opt-level = 1", panics);
        let once = of(&with(&[("Cargo.toml", &root)])).unwrap();
        let files = once
            .manifests
            .iter()
            .chain(&once.sources)
            .chain(&once.lockfile);
        let files: BTreeMap<&str, &str> = files.map(|(p, text)| (p.as_str(), &**text)).collect();
        let twice = of(&files).unwrap();
        assert_eq!(twice.lockfile, once.lockfile);
        assert_eq!(twice, once);
    }
}

#[test]
fn what_is_no_toml_is_named() {
    let error = of(&with(&[("crates/lib/Cargo.toml", "[")])).unwrap_err();
    assert!(error.starts_with("crates/lib/Cargo.toml: "), "{error}");
    let error = of(&with(&[("Cargo.lock", "<<<<<<< HEAD")])).unwrap_err();
    assert!(error.starts_with("Cargo.lock: "), "{error}");
}

proptest! {
    #[test]
    fn nearly_right_manifests_never_panic(
        root in crate::testing::damaged_text(ROOT),
        lib in crate::testing::damaged_text(LIB),
        lock in crate::testing::damaged_text(LOCK),
    ) {
        let _ = of(&with(&[("Cargo.toml", &root)]));
        let _ = of(&with(&[("crates/lib/Cargo.toml", &lib)]));
        let _ = of(&with(&[("Cargo.lock", &lock)]));
    }

    #[test]
    fn arbitrary_paths_never_panic(path in "[./a-z\\\\ ]{0,20}") {
        let text = format!("[package]\nname = 'lib'\n[dependencies]\nx = {{ path = '{path}' }}\n");
        let _ = of(&with(&[("crates/lib/Cargo.toml", &text)]));
    }
}
