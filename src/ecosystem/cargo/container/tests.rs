use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use super::*;
use crate::env::Env;
use crate::facts::Facts;
use crate::plan::Tool;
use crate::provision::base::tests::{keys, layers, script};
use crate::testing::FakeImages;
use crate::testing::project::Project;
use crate::tool::Tools;

const LOCK: &str = r#"version = 4

[[package]]
name = "a"
version = "1.0.0"
dependencies = ["serde"]

[[package]]
name = "serde"
version = "1.0.228"
source = "registry+https://github.com/rust-lang/crates.io-index"
checksum = "aa"

[[package]]
name = "unreached"
version = "1.0.0"
source = "registry+https://github.com/rust-lang/crates.io-index"
checksum = "bb"
"#;

const MANIFEST: &str =
    "[package]\nname = 'a'\nversion = '1.0.0'\nedition = '2021'\n[dependencies]\nserde = '1'\n";

const LOCKFILE: &str = "deps:rust:lockfile";

const PROJECT: &[(&str, &str)] = &[
    ("Cargo.lock", LOCK),
    ("Cargo.toml", MANIFEST),
    ("src/lib.rs", "pub fn a() {}\n"),
];

fn images() -> FakeImages {
    FakeImages {
        rust: Some("rustc 1.95.0 (59807616e 2026-04-14)".to_owned()),
        installed: "rustc 1.97.0-nightly (x 2026-05-01)\ncargo 1.97.0-nightly\n".to_owned(),
        ..FakeImages::default()
    }
}

fn files<'a>(changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut all: BTreeMap<&str, &str> = PROJECT.iter().copied().collect();
    all.extend(changes.iter().copied());
    all.into_iter().collect()
}

/// The plan of the project with these files changed or added.
fn planned(changes: &[(&str, &str)], images: &FakeImages) -> Plan {
    // What the host's cargo is takes long to find out.
    static HOST: LazyLock<(Env, Tools, Facts)> = LazyLock::new(|| {
        let env = Env::from_process();
        let tools = Tools::new(&env, Path::new("/nonexistent"));
        (env, tools, Facts::default())
    });
    let (env, tools, facts) = &*HOST;
    let project = Project::new(&files(changes));
    let scope = Scope {
        images: Some(images),
        env,
        tools,
        facts,
        ..project.scope()
    };
    let mut plan = Plan::default();
    crate::ecosystem::cargo::plan(&scope, &mut plan).expect("a plan");
    plan
}

fn command<'a>(plan: &'a Plan, id: &str) -> &'a Command {
    let check = plan.check(id).expect(id);
    check
        .work
        .command()
        .unwrap_or_else(|| panic!("{:?}", check.work))
}

fn missing<'a>(plan: &'a Plan, id: &str) -> &'a str {
    match &plan.check(id).expect(id).work {
        Work::Missing(why) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn layers_are_a_chain_and_checks_stand_on_its_end() {
    let plan = planned(&[], &images());
    assert_eq!(layers(&plan, "rust:fmt"), ["base:rust", "tools:rust"]);
    let all = ["base:rust", "tools:rust", "deps:rust", LOCKFILE];
    assert_eq!(layers(&plan, "rust:clippy"), all);
    let below = |name: &str| plan.layer(name).expect(name).on.clone();
    assert_eq!(below("base:rust"), [""; 0]);
    assert_eq!(below("tools:rust"), ["base:rust"]);
    assert_eq!(below("deps:rust"), ["tools:rust"]);
    assert_eq!(below(LOCKFILE), ["deps:rust"]);
}

/// What `rust:clippy` sees.
fn seen(changes: &[(&str, &str)]) -> usize {
    let plan = planned(changes, &images());
    plan.check("rust:clippy")
        .expect("a check")
        .inputs
        .shared
        .len()
}

#[test]
fn documents_that_nothing_mentions_and_comments_of_the_lockfile_are_not_seen() {
    let seen_alone = seen(&[]);
    assert_eq!(seen_alone, 2);
    let readme = ("README.md", "# a\n");
    assert_eq!(seen(&[readme]), seen_alone);
    for (path, text) in [
        ("src/lib.rs", "#![doc = include_str!(\"../README.md\")]"),
        ("src/lib.rs", "embed!(env!(\"CARGO_MANIFEST_DIR\"));"),
        ("build.rs", "fn main() {}"),
    ] {
        let others = seen(&[(path, text)]);
        assert_eq!(seen(&[readme, (path, text)]), others + 1, "{path}: {text}");
    }
    assert_eq!(seen(&[("docs/a.md", "")]), seen_alone + 1);
    let commented = format!("# a comment\r\n\n{LOCK}");
    let before = keys(&planned(&[], &images()));
    let after = planned(&[("Cargo.lock", &commented)], &images());
    assert_eq!(keys(&after), before);
}

#[test]
fn checks_use_nothing_of_the_host() {
    let plan = planned(&[], &images());
    for id in ["rust:fmt", "rust:clippy"] {
        let command = command(&plan, id);
        let of_image = |tool: &Tool| matches!(tool, Tool::Image { .. });
        assert!(command.tools.iter().all(of_image), "{:?}", command.tools);
        assert!(command.grants.is_empty() && command.products.is_empty());
        assert!(command.seed.is_none() && command.reads.is_none() && command.refresh.is_none());
        let set = |name: &str| command.set_env.get(name).map(String::as_str);
        assert_eq!(set("RUSTUP_TOOLCHAIN"), Some(TOOLCHAIN));
        assert_eq!(set("CARGO_HOME"), Some("/opt/dagcache/rust/cargo"));
    }
    let clippy = command(&plan, "rust:clippy");
    assert_eq!(clippy.set_env["CARGO_TARGET_DIR"], TARGET);
    assert_eq!(
        clippy.before[0].last().map(String::as_str),
        Some("Cargo.lock")
    );
    assert!(clippy.before[1].ends_with(&["-p".to_owned(), "a".to_owned()]));
}

#[test]
fn dependencies_are_compiled_in_the_environment_of_the_check() {
    let plan = planned(&[], &images());
    let script = script(&plan, "deps:rust");
    for (name, value) in &command(&plan, "rust:clippy").set_env {
        let set = script.set_env.iter().find(|(known, _)| known == name);
        match name.as_str() {
            "CARGO_NET_OFFLINE" => assert_eq!(set, None),
            _ => assert_eq!(set.map(|(_, value)| value), Some(value), "{name}"),
        }
    }
    let names = script.files.iter().map(|(path, _)| path.as_str());
    let names: Vec<&str> = names.collect();
    assert_eq!(names, ["Cargo.toml", "Cargo.lock", "src/lib.rs"]);
}

#[test]
fn what_does_not_matter_to_dependencies_leaves_their_layer() {
    let before = keys(&planned(&[], &images()));
    let bumped = (
        MANIFEST.replace("1.0.0", "1.1.0"),
        LOCK.replacen("1.0.0", "1.1.0", 1),
    );
    let commented = format!("# note\n{MANIFEST}[lints.rust]\nunused = 'deny'\n");
    let unreached = LOCK.replace("\"bb\"", "\"bc\"");
    let others: [&[(&str, &str)]; 5] = [
        &[("Cargo.toml", &bumped.0), ("Cargo.lock", &bumped.1)],
        &[("Cargo.toml", &commented)],
        &[("Cargo.lock", &unreached)],
        &[("tests/new.rs", ""), ("src/bin/b.rs", "fn main() {}")],
        &[("src/lib.rs", "pub fn b() {}")],
    ];
    for changes in others {
        let mut after = keys(&planned(changes, &images()));
        after.insert(LOCKFILE.to_owned(), before[LOCKFILE].clone());
        assert_eq!(after, before, "{changes:?}");
    }
}

#[test]
fn what_matters_to_dependencies_changes_their_layer_alone() {
    let before = keys(&planned(&[], &images()));
    let newer = LOCK.replace("1.0.228", "1.0.229");
    let feature = MANIFEST.replace("'1'\n", "{ version = '1', features = ['derive'] }\n");
    let profile = format!("{MANIFEST}[profile.dev]\nopt-level = 1\n");
    let others: [&[(&str, &str)]; 5] = [
        &[("Cargo.lock", &newer)],
        &[("Cargo.toml", &feature)],
        &[("Cargo.toml", &profile)],
        &[("build.rs", "fn main() {}")],
        &[(".cargo/config.toml", "build.rustflags = ['-g']")],
    ];
    for changes in others {
        let after = keys(&planned(changes, &images()));
        let changed = after
            .iter()
            .filter(|(name, key)| before.get(*name) != Some(key));
        let changed = changed.map(|(name, _)| name);
        let changed: Vec<&String> = changed.filter(|name| *name != LOCKFILE).collect();
        assert_eq!(changed, ["deps:rust"], "{changes:?}");
    }
}

#[test]
fn the_toolchain_file_decides() {
    let file = |text: &str| planned(&[("rust-toolchain.toml", text)], &images());
    let reference = |plan: &Plan| format!("{:?}", plan.layer("base:rust").expect("base").build);
    let usual = planned(&[], &images());
    for met in [
        "channel = '1.95'",
        "channel = '1.95.0'",
        "channel = 'stable'",
    ] {
        let plan = file(&format!("[toolchain]\n{met}"));
        let script = script(&plan, "tools:rust");
        assert!(!script.text.contains("toolchain install"), "{met}");
    }
    // All images of the test say that they have 1.95.0.
    let other = file("[toolchain]\nchannel = '1.80.1'\ncomponents = ['rust-src']");
    assert_ne!(reference(&other), reference(&usual));
    let text = &script(&other, "tools:rust").text;
    assert!(text.contains("rustup toolchain install 1.80.1 "), "{text}");
    assert!(text.contains("component add rust-src\n"), "{text}");
    assert_ne!(keys(&other)["tools:rust"], keys(&usual)["tools:rust"]);
    let odd = file("[toolchain]\nchannel = '1.80; reboot'");
    assert!(missing(&odd, "rust:clippy").contains("not a valid name"));
}

#[test]
fn what_a_moving_toolchain_is_now_is_in_the_key() {
    let file = [("rust-toolchain", "nightly\n")];
    let plan = planned(&file, &images());
    let all = ["base:rust", "tools:rust:toolchain", "tools:rust"];
    assert_eq!(layers(&plan, "rust:fmt"), all);
    let parts = &plan.layer("tools:rust").expect("a layer").parts;
    assert_eq!(parts[0].0, "rustc");
    let newer = FakeImages {
        installed: "rustc 1.98.0-nightly (y 2026-06-01)\n".to_owned(),
        ..images()
    };
    let (before, after) = (keys(&plan), keys(&planned(&file, &newer)));
    assert_eq!(
        before["tools:rust:toolchain"],
        after["tools:rust:toolchain"]
    );
    assert_ne!(before["deps:rust"], after["deps:rust"]);
}

#[test]
fn an_image_without_rust_is_said() {
    let without = FakeImages {
        rust: None,
        configured: Some("ghcr.io/acme/ci:1".to_owned()),
        ..FakeImages::default()
    };
    let plan = planned(&[], &without);
    let why = missing(&plan, "rust:clippy");
    assert!(
        why.contains("has no Rust") && why.contains("rust:1.95-slim"),
        "{why}"
    );
}

#[test]
fn without_packages_from_elsewhere_nothing_is_compiled_before() {
    let manifest = "[package]\nname = 'a'\nversion = '1.0.0'\n";
    let lock = "version = 4\n[[package]]\nname = 'a'\nversion = '1.0.0'\n";
    let plan = planned(&[("Cargo.toml", manifest), ("Cargo.lock", lock)], &images());
    let all = ["base:rust", "tools:rust", LOCKFILE];
    assert_eq!(layers(&plan, "rust:clippy"), all);
}

#[test]
fn the_default_image_is_no_lower_than_what_the_project_needs() {
    let of = |channel, needed| image(channel, needed).replace("docker.io/library/", "");
    assert_eq!(of(None, None), "rust:1.95-slim");
    assert_eq!(of(None, Some((1, 80))), "rust:1.95-slim");
    assert_eq!(of(Some("nightly"), Some((1, 120))), "rust:1.120-slim");
    assert_eq!(of(Some("1.80"), Some((1, 120))), "rust:1.80-slim");
    assert_eq!(
        of(Some("1.80.1-x86_64-unknown-linux-gnu"), None),
        "rust:1.80.1-slim"
    );
    assert_eq!(of(Some("1.96.0-beta.1"), None), "rust:1.95-slim");
}

#[test]
fn a_channel_is_met_by_what_it_means() {
    let there = "rustc 1.95.0 (59807616e 2026-04-14)";
    for (channel, met, fixed) in [
        ("1.95", true, false),
        ("1.95.0", true, true),
        ("1.9", false, false),
        ("stable", true, false),
        ("stable-x86_64-unknown-linux-gnu", true, false),
        ("beta", false, false),
        ("nightly", false, false),
        ("nightly-2026-01-02", false, true),
        ("1.96.0-beta.1", false, false),
    ] {
        assert_eq!(is_met(channel, there), met, "{channel}");
        assert_eq!(is_fixed(channel), fixed, "{channel}");
    }
    assert!(!is_met("stable", "rustc 1.97.0-nightly (x)"));
}

proptest::proptest! {
    #[test]
    fn arbitrary_channels_never_panic(channel in "\\PC{0,30}", there in "\\PC{0,30}") {
        let _ = (image(Some(&channel), None), is_met(&channel, &there), is_fixed(&channel));
    }
}

#[test]
fn the_place_of_clippy_is_kept_only_if_that_is_wanted() {
    let kept = |images: &FakeImages| {
        let plan = planned(&[("Cargo.lock", &LOCK.replace("unreached", "a"))], images);
        let clippy = command(&plan, "rust:clippy");
        let cleaned = clippy.before[1].ends_with(&["-p".to_owned(), "a".to_owned()]);
        (
            clippy.keep.is_some(),
            cleaned,
            command(&plan, "rust:fmt").keep.is_some(),
        )
    };
    // One that shares its name with a package of a registry is told from that by its version only where none of its
    // own units can be left.
    assert_eq!(kept(&images()), (false, false, false));
    let incremental = FakeImages {
        incremental: true,
        ..images()
    };
    assert_eq!(kept(&incremental), (true, true, false));
}
