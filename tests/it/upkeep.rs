//! `cache verify`, `cache prune`, and `cache clear` of layers.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::support::{Run, Sandbox};

fn sandbox() -> Sandbox {
    let config = "[checks.own]\ncommand = [\"./own.sh\"]\ninputs = [\"data\"]\ntrace = false\n";
    let sandbox = Sandbox::with(&[
        ("dagcache.toml", config),
        ("a.yaml", "a: [1\n"),
        ("data", "1\n"),
    ]);
    sandbox.script("own.sh", "echo said");
    sandbox.json(&["dev-check"]).expect(1);
    sandbox
}

fn json(sandbox: &Sandbox, args: &[&str], code: i32) -> Value {
    let mut all = args.to_vec();
    all.extend(["--message-format", "json"]);
    let run = sandbox.run(&all).expect(code);
    serde_json::from_str(&run.stdout).expect("JSON")
}

/// Makes a file, or a folder and what is in it, look `days` old.
fn aged(path: &Path, days: u64) {
    let time = SystemTime::now() - Duration::from_secs(days * 24 * 60 * 60);
    for file in walkdir::WalkDir::new(path)
        .into_iter()
        .filter_map(Result::ok)
    {
        if !file.path_is_symlink() {
            let file = std::fs::File::open(file.path()).expect("open");
            file.set_modified(time).expect("time");
        }
    }
}

#[test]
fn verify_finds_what_is_wrong_and_moves_it_away() {
    let sandbox = sandbox();
    let sound = json(&sandbox, &["cache", "verify"], 0);
    assert_eq!(sound["entries"], 5, "three checks, two of them with parts");
    assert_eq!(sound["damaged"], serde_json::json!([]));
    assert_eq!(sound["rooms"], 1);

    let flip = |file: &PathBuf| {
        let mut bytes = std::fs::read(file).expect("file");
        *bytes.last_mut().expect("bytes") ^= 1;
        std::fs::write(file, bytes).expect("file");
    };
    let folders = ["ac", "parts", "cas", "trees", "last", "memo"];
    let mut damaged: Vec<PathBuf> = folders
        .iter()
        .map(|folder| sandbox.cached(&format!("v1/{folder}"), "")[0].clone())
        .collect();
    damaged.push(sandbox.cached("v1/rooms", "manifest")[0].clone());
    damaged.iter().for_each(flip);
    let run = sandbox.run(&["cache", "verify"]).expect(1);
    let base = sandbox.cache().join("v1");
    for file in &damaged {
        let below = file
            .strip_prefix(&base)
            .expect("below")
            .display()
            .to_string();
        let line = run.stderr.lines().find(|line| line.contains(&below));
        let line = line.unwrap_or_else(|| panic!("{below}\n{}", run.stderr));
        assert!(
            line.contains("Damaged") && line.contains("quarantined"),
            "{line}"
        );
        assert!(!file.exists(), "{below}");
        assert_eq!(sandbox.cached("v1/quarantine", &below).len(), 1, "{below}");
    }
    assert_eq!(
        json(&sandbox, &["cache", "verify"], 0)["damaged"],
        serde_json::json!([])
    );
    let status = json(&sandbox, &["cache", "status"], 0);
    assert!(status["size"]["folders"]["quarantined"]["files"].as_u64() > Some(7));

    let again = sandbox.json(&["dev-check"]).expect(1);
    assert_eq!(again.check("own")["stdout"], "said\n");
    sandbox.json(&["dev-check"]).expect(1).expect_fresh();
    json(&sandbox, &["cache", "verify"], 0);
    sandbox.run(&["cache", "clear"]).expect(0);
    assert_eq!(sandbox.cached("v1/quarantine", "").len(), 0);
}

/// What a result names and is not there is as bad as a wrong result; a blob that was altered is written anew.
#[test]
fn verify_finds_what_is_missing() {
    let sandbox = sandbox();
    for blob in sandbox.cached("v1/cas", "") {
        let size = std::fs::metadata(&blob).expect("blob").len();
        let size = usize::try_from(size).expect("size");
        std::fs::write(&blob, vec![b'x'; size]).expect("blob");
    }
    let first = json(&sandbox, &["cache", "verify"], 1);
    let reasons = first["damaged"].as_array().expect("list");
    let naming = |reason: &Value| {
        reason["reason"]
            .as_str()
            .expect("reason")
            .contains("refers to blob")
    };
    assert!(reasons.iter().any(naming), "{first}");
    sandbox.json(&["dev-check"]).expect(1);
    json(&sandbox, &["cache", "verify"], 0);
    sandbox.json(&["dev-check"]).expect(1).expect_fresh();
}

/// Without a `cache verify` in between, too.
#[test]
fn an_altered_blob_is_written_anew() {
    let sandbox = sandbox();
    let blobs = sandbox.cached("v1/cas", "");
    for blob in &blobs {
        let size = std::fs::metadata(blob).expect("blob").len();
        std::fs::write(blob, vec![b'x'; usize::try_from(size).expect("size")]).expect("blob");
    }
    for entry in sandbox.cached("v1/ac", "") {
        std::fs::remove_file(entry).expect("entry");
    }
    sandbox.json(&["dev-check"]).expect(1);
    json(&sandbox, &["cache", "verify"], 0);
}

#[test]
fn prune_says_what_goes_before_it_goes() {
    let sandbox = sandbox();
    let files = || sandbox.cached("v1", "");
    let before = files();
    let run = sandbox
        .run(&["cache", "prune", "--dry-run", "--max-size", "1"])
        .expect(0);
    for part in [
        "Would prune rooms: 1 (",
        "Would prune results: 5 (",
        "would free",
    ] {
        assert!(run.stderr.contains(part), "{part}\n{}", run.stderr);
    }
    assert_eq!(files(), before, "a dry run deletes nothing");
    let run = sandbox.run(&["cache", "prune"]).expect(0);
    assert!(run.stderr.contains("nothing to prune"), "{}", run.stderr);
    assert_eq!(files(), before, "there is room");
    sandbox.json(&["dev-check"]).expect(1).expect_fresh();

    let plan = json(&sandbox, &["cache", "prune", "--max-size", "1"], 0);
    let kinds = plan["groups"].as_array().expect("groups").iter();
    let kinds: Vec<&str> = kinds
        .map(|group| group["what"].as_str().expect("what"))
        .collect();
    assert_eq!(kinds[..2], ["rooms", "results"]);
    assert_eq!(sandbox.cached("v1/ac", "").len(), 0);
    json(&sandbox, &["cache", "verify"], 0);
    sandbox.json(&["dev-check"]).expect(1);
    sandbox.json(&["dev-check"]).expect(1).expect_fresh();
}

#[test]
fn rooms_go_first_and_results_of_least_value_next() {
    let check = |name: &str| format!("[checks.{name}]\ncommand = [\"./own.sh\", \"{name}\"]\n");
    let config = check("used") + &check("unused");
    let sandbox = Sandbox::with(&[("dagcache.toml", config.as_str())]);
    sandbox.script("own.sh", "");
    sandbox.json(&["lint"]).expect(0);
    // A byte less than there is.
    let prune = || {
        let plan = json(&sandbox, &["cache", "prune", "--dry-run"], 0);
        let bound = plan["before"]["bytes"].as_u64().expect("bytes") - 1;
        let bound = bound.to_string();
        let args = ["cache", "prune", "--max-size", &bound];
        sandbox.run(&args).expect(0);
    };
    while !sandbox.cached("v1/rooms", "").is_empty() {
        prune();
        assert_eq!(sandbox.cached("v1/ac", "").len(), 2, "rooms go first");
    }
    sandbox.json(&["lint"]).expect(0).expect_fresh();

    let unused = sandbox.cached("v1/ac", "").into_iter().find(|entry| {
        let text = std::fs::read_to_string(entry).expect("entry");
        text.contains("\"check\":\"unused\"")
    });
    aged(&unused.expect("entry"), 3650);
    prune();
    let ran = sandbox.json(&["lint"]).expect(0).ran();
    assert_eq!(ran, ["unused evicted"]);
}

#[test]
fn a_hit_counts_as_use() {
    let sandbox = sandbox();
    let entries = sandbox.cached("v1/ac", "");
    entries.iter().for_each(|entry| aged(entry, 30));
    sandbox.json(&["dev-check"]).expect(1).expect_fresh();
    for entry in entries {
        let modified = std::fs::metadata(entry)
            .expect("entry")
            .modified()
            .expect("time");
        assert!(modified.elapsed().expect("past") < Duration::from_secs(24 * 60 * 60));
    }
}

#[test]
fn what_nobody_needs_goes_even_if_there_is_room() {
    let sandbox = sandbox();
    let base = sandbox.cache().join("v1");
    let make = |path: &str, days: u64| {
        let path = base.join(path);
        std::fs::create_dir_all(path.parent().expect("folder")).expect("folders");
        std::fs::write(&path, "x").expect("file");
        aged(&path, days);
        path
    };
    let unnamed = "ab".repeat(32);
    let gone = [
        make("ac/ab/.tmpOLD", 1),
        make("locks/dead", 1),
        make(&format!("cas/ab/{unnamed}"), 0),
        make("quarantine/2001-01-01/ac/x", 40),
        make("runs/1.jsonl", 100),
        make(&format!("layers/{unnamed}/complete"), 2),
    ];
    aged(&base.join("quarantine/2001-01-01"), 40);
    let kept = [
        make("ac/ab/.tmpNEW", 0),
        make("quarantine/2026-01-01/ac/x", 0),
        make(&format!("layers/{}/complete", "cd".repeat(32)), 0),
    ];
    // Another project, which was there once.
    let other = sandbox.outer().join("other");
    std::fs::create_dir(&other).expect("folder");
    for file in ["dagcache.toml", "own.sh", "data"] {
        std::fs::copy(sandbox.path(file), other.join(file)).expect("copy");
    }
    std::fs::write(other.join("data"), "2\n").expect("data");
    let mut command = sandbox.command(&["lint"]);
    command.current_dir(&other);
    Run::of(command).expect(0);
    let rooms = || {
        std::fs::read_dir(base.join("rooms"))
            .expect("rooms")
            .count()
    };
    assert_eq!(rooms(), 2);
    std::fs::remove_dir_all(&other).expect("remove");

    let run = sandbox.run(&["cache", "prune", "-v"]).expect(0);
    for path in &gone {
        assert!(!path.exists(), "{}\n{}", path.display(), run.stderr);
    }
    for path in &kept {
        assert!(path.exists(), "{}\n{}", path.display(), run.stderr);
    }
    assert_eq!(rooms(), 1, "{}", run.stderr);
    sandbox.json(&["dev-check"]).expect(1).expect_fresh();
}

#[test]
fn the_bound_of_the_user_holds_and_is_told() {
    let config = "[checks.own]\ncommand = [\"./own.sh\"]\n";
    let sandbox = Sandbox::with(&[("dagcache.toml", config)]);
    let run = |args: &[&str]| {
        let mut command = sandbox.command(args);
        command.env("DAGCACHE_MAX_SIZE", "1kB");
        Run::of(command).expect(0)
    };
    sandbox.script("own.sh", "");
    let said = "cargo dagcache cache prune";
    let first = run(&["lint"]);
    assert!(first.stderr.contains(said), "{}", first.stderr);
    sandbox.script("own.sh", "echo");
    let second = run(&["lint"]);
    assert!(
        !second.stderr.contains(said),
        "once a day: {}",
        second.stderr
    );
    let status = run(&["cache", "status"]);
    assert!(status.stderr.contains(said), "{}", status.stderr);
    let plan = run(&["cache", "prune", "--message-format", "json"]);
    assert!(
        plan.stdout.contains("\"max_bytes\":1000"),
        "{}",
        plan.stdout
    );
    assert_eq!(sandbox.cached("v1/ac", "").len(), 0);
    let mut command = sandbox.command(&["cache", "prune"]);
    command.env("DAGCACHE_MAX_SIZE", "much");
    Run::of(command).expect(2);
}

#[test]
fn prune_follows_no_link_and_touches_nothing_foreign() {
    let sandbox = sandbox();
    let precious = sandbox.outer().join("precious");
    std::fs::create_dir_all(precious.join("ab")).expect("folder");
    let file = precious.join("ab").join("ab".repeat(32));
    std::fs::write(&file, "precious").expect("file");
    aged(&precious, 400);
    let base = sandbox.cache().join("v1");
    for place in [
        "rooms/link",
        "cas/link",
        "trees/link",
        "layers/link",
        "quarantine/link",
        "runs/link",
        "locks/link",
    ] {
        let place = base.join(place);
        std::fs::create_dir_all(place.parent().expect("folder")).expect("folders");
        std::os::unix::fs::symlink(&precious, &place).expect("link");
    }
    std::fs::write(sandbox.cache().join("mine.txt"), "mine").expect("file");
    sandbox
        .run(&["cache", "prune", "--max-size", "1"])
        .expect(0);
    sandbox.run(&["cache", "verify"]);
    sandbox.run(&["cache", "clear"]).expect(0);
    assert_eq!(std::fs::read_to_string(file).expect("kept"), "precious");
    assert!(sandbox.cache().join("mine.txt").exists());
}

#[test]
fn clearing_a_layer_makes_exactly_what_stands_on_it_miss() {
    let config = "[checks.own]\ncommand = [\"./own.sh\"]\ninputs = []\n";
    let manifest = "[package]\nname = \"a\"\nversion = \"0.1.0\"\nedition = \"2021\"\n";
    let lock = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"0.1.0\"\n";
    let sandbox = Sandbox::with(&[
        ("dagcache.toml", config),
        ("a.yaml", "a: 1\n"),
        ("Cargo.toml", manifest),
        ("Cargo.lock", lock),
        ("src/lib.rs", "pub fn one() {}\n"),
    ]);
    sandbox.script("own.sh", "");
    sandbox.json(&["lint"]).expect(0);
    for (layer, ran) in [
        (
            "tools:rust",
            &["rust:clippy evicted", "rust:fmt evicted"][..],
        ),
        ("tools", &["rust:clippy evicted", "rust:fmt evicted"]),
        (
            "base",
            &["own evicted", "rust:clippy evicted", "rust:fmt evicted"],
        ),
    ] {
        sandbox.run(&["cache", "clear", layer]).expect(0);
        assert_eq!(sandbox.json(&["lint"]).expect(0).ran(), ran, "{layer}");
        sandbox.json(&["lint"]).expect(0).expect_fresh();
    }
}
