//! A workspace of three members that changes at random, against plain `cargo clippy` in a fresh copy with a clean target.
//!
//! A build script reads a header that it does not list and a variable, features are unified, modules get a second file,
//! contents come back, and modification times say nothing. What cargo itself takes for Fresh is no argument here.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::chance::{seed, steps, tell};
use super::places::{Place, Places, State};
use crate::support::{Json, Run, Sandbox};

const PLACES: &[Place] = &[
    (
        "a/src/lib.rs",
        &[
            "mod inner;\npub fn limit() -> u32 {\n    include!(concat!(env!(\"OUT_DIR\"), \"/limit.rs\"))\n}\n#[cfg(feature = \"extra\")]\npub fn extra() -> u32 {\n    inner::two()\n}\n#[cfg(year = \"high\")]\npub fn year() -> u32 {\n    return 1;\n}\npub use inner::two as second;\n",
            "mod inner;\npub fn limit() -> u32 {\n    include!(concat!(env!(\"OUT_DIR\"), \"/limit.rs\")) + inner::two()\n}\npub fn extra() -> u32 {\n    return 2;\n}\n",
        ],
    ),
    (
        "a/src/inner.rs",
        &[
            "pub fn two() -> u32 {\n    2\n}\n",
            "pub fn two() -> u32 {\n    return 2;\n}\n",
            "pub fn two() -> u32 {\n    '2'\n}\n",
            "",
        ],
    ),
    (
        "a/src/inner/mod.rs",
        &["", "pub fn two() -> u32 {\n    3\n}\n"],
    ),
    ("a/include/limits.h", &["1", "2", "{ return 1; }", "x"]),
    (
        "b/src/lib.rs",
        &[
            "pub fn b() -> u32 {\n    a::limit()\n}\n",
            "pub fn b() -> u32 {\n    a::extra()\n}\n",
            "pub fn b() -> u32 {\n    return a::limit();\n}\n",
        ],
    ),
    (
        "b/tests/t.rs",
        &[
            "#[test]\nfn t() {\n    assert_eq!(b::b(), 1);\n}\n",
            "#[test]\nfn t() {\n    assert!(b::b() == 1 || true);\n}\n",
            "",
        ],
    ),
    (
        "c/src/main.rs",
        &[
            "mod other;\nfn main() {\n    other::say();\n}\n",
            "mod other;\nfn main() {\n    other::say();\n    tell(&format!(\"{}\", include_str!(\"../data.txt\")));\n}\n",
        ],
    ),
    (
        "c/src/other.rs",
        &[
            "pub fn say() {\n    tell(&format!(\"{}\", a::limit()));\n}\n",
            "pub fn say() {\n    tell(&format!(\"{}\", a::extra()));\n}\n",
        ],
    ),
    ("c/data.txt", &["data\n", "DATA\n", ""]),
    (
        "clippy.toml",
        &[
            "",
            "too-many-arguments-threshold = 1\n",
            "disallowed-names = [\"two\"]\n",
        ],
    ),
    (
        ".cargo/config.toml",
        &["", "[build]\nrustflags = [\"-Dwarnings\"]\n"],
    ),
    ("c/Cargo.toml", &[MEMBER_C, MEMBER_C_EXTRA]),
    ("Cargo.toml", &[ALL, WITHOUT_C]),
    ("$YEAR", &["", "low", "high"]),
];

const ALL: &str = "[workspace]\nmembers = [\"a\", \"b\", \"c\"]\nresolver = \"2\"\n";
const WITHOUT_C: &str =
    "[workspace]\nmembers = [\"a\", \"b\"]\nexclude = [\"c\"]\nresolver = \"2\"\n";
const MEMBER_C: &str = "[package]\nname = \"c\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\na = { path = \"../a\" }\n";
const MEMBER_C_EXTRA: &str = "[package]\nname = \"c\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\na = { path = \"../a\", features = [\"extra\"] }\n";

const FIXED: &[(&str, &str)] = &[
    (
        "a/Cargo.toml",
        "[package]\nname = \"a\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[features]\nextra = []\n",
    ),
    (
        "b/Cargo.toml",
        "[package]\nname = \"b\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\na = { path = \"../a\" }\n",
    ),
    (
        "a/build.rs",
        "fn main() {\n    tell(&format!(\"cargo:rerun-if-changed=build.rs\"));\n    println!(\"cargo:rustc-check-cfg=cfg(year, values(any()))\");\n    if let Ok(year) = std::env::var(\"YEAR\") {\n        tell(&format!(\"cargo:rustc-cfg=year=\\\"{year}\\\"\"));\n    }\n    let out = std::env::var(\"OUT_DIR\").unwrap();\n    std::fs::copy(\"include/limits.h\", format!(\"{out}/limit.rs\")).unwrap();\n}\n",
    ),
    (
        "dagcache.toml",
        "[checks.\"rust:clippy\"]\nenv = [\"YEAR\"]\n",
    ),
    (".gitignore", "target\n"),
];

#[test]
fn clippy_says_what_it_says_in_a_clean_target() {
    let seed = seed();
    let steps = steps("DAGCACHE_TEST_RUST_STEPS", 3);
    let mut workspace = Workspace::new(seed);
    for _ in 0..steps {
        workspace.places.step(&workspace.sandbox);
        workspace.compare();
    }
    tell(&format!(
        "seed {seed}: {steps} steps, {} states, {} replayed",
        workspace.right.len(),
        workspace.replayed
    ));
}

/// Exit code, and file, line and code of what was found.
#[derive(Debug, PartialEq, Clone)]
struct Said {
    exit_code: Option<i64>,
    found: BTreeSet<(String, u64, String)>,
}

struct Workspace {
    sandbox: Sandbox,
    places: Places,
    right: HashMap<State, Said>,
    replayed: usize,
}

impl Workspace {
    fn new(seed: u64) -> Self {
        let sandbox = Sandbox::with(FIXED);
        Self {
            places: Places::new(PLACES, seed, &sandbox),
            sandbox,
            right: HashMap::new(),
            replayed: 0,
        }
    }

    /// The variable that the build script reads.
    fn year(&self) -> Option<(&'static str, &'static str)> {
        Some(("YEAR", self.places.text("$YEAR")?))
    }

    fn compare(&mut self) {
        let members = self.places.text("Cargo.toml");
        self.sandbox.write("Cargo.lock", lock(members == Some(ALL)));
        let mut command =
            self.sandbox
                .command(&["lint", "--only", "rust:clippy", "--message-format", "json"]);
        command.envs(self.year());
        let json = Json::of(Run::of(command));
        let line = json.check("rust:clippy");
        let seen = self.right.contains_key(&self.places.state);
        let right = self
            .right
            .get(&self.places.state)
            .cloned()
            .unwrap_or_else(|| self.plain());
        self.right.insert(self.places.state.clone(), right.clone());
        let said = Said {
            exit_code: line["exit_code"].as_i64(),
            found: findings(line),
        };
        assert_eq!(said, right, "{}{line:#}", self.places.story());
        assert!(
            !seen || line["cache"] == "hit",
            "was run again: {}{line:#}",
            self.places.story()
        );
        self.replayed += usize::from(line["cache"] == "hit");
    }

    /// What cargo says by itself.
    fn plain(&self) -> Said {
        let dir = tempfile::tempdir().expect("folder");
        let copy = dir.path().join("copy");
        super::oracle::copy(&self.sandbox.project(), &copy);
        let mut command = Command::new("cargo");
        command
            .args([
                "clippy",
                "--workspace",
                "--all-targets",
                "--locked",
                "--keep-going",
                "--offline",
                "--message-format=json",
            ])
            .current_dir(&copy)
            .env_clear()
            .envs(std::env::vars().filter(|(name, _)| {
                ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME"].contains(&name.as_str())
            }))
            .envs(self.year());
        let output = command.output().expect("cargo");
        let text = String::from_utf8_lossy(&output.stdout);
        let messages = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let found = messages
            .filter(|line| line["reason"] == "compiler-message")
            .filter_map(|line| place(&copy, &line["message"]));
        Said {
            exit_code: output.status.code().map(i64::from),
            found: found.collect(),
        }
    }
}

fn findings(line: &Value) -> BTreeSet<(String, u64, String)> {
    let findings = line["findings"].as_array().expect("findings").iter();
    findings
        .filter_map(|finding| {
            Some((
                finding["path"].as_str()?.to_owned(),
                finding["line"].as_u64()?,
                text(&finding["code"]),
            ))
        })
        .collect()
}

/// Where a message of rustc is about the workspace's own files.
fn place(root: &Path, message: &Value) -> Option<(String, u64, String)> {
    let spans = message["spans"].as_array()?;
    let primary = spans.iter().find(|span| span["is_primary"] == true)?;
    let file = primary["file_name"].as_str()?;
    let file = file
        .strip_prefix(&format!("{}/", root.display()))
        .unwrap_or(file);
    Some((
        file.to_owned(),
        primary["line_start"].as_u64()?,
        text(&message["code"]["code"]),
    ))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn lock(with_c: bool) -> String {
    let package = |name: &str, needs: &str| {
        format!("\n[[package]]\nname = \"{name}\"\nversion = \"0.1.0\"\n{needs}")
    };
    let on_a = "dependencies = [\n \"a\",\n]\n";
    let c = if with_c {
        package("c", on_a)
    } else {
        String::new()
    };
    format!("version = 4\n{}{}{c}", package("a", ""), package("b", on_a))
}
