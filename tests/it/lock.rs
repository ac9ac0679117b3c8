//! `lock`: what is written to dagcache.lock. No test here reaches an engine: the configured one is not there.

use crate::support::Sandbox;

const NOWHERE: &str = "engine.address = \"unix:///nonexistent/engine.sock\"\n";

fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn entry(name: &str, digit: &str, platform: &str) -> String {
    format!(
        "\n[[image]]\nname = \"{name}\"\ndigest = \"sha256:{}\"\nplatform = \"{platform}\"\n",
        digit.repeat(64)
    )
}

/// A project with one own check, and with a lock of these entries.
fn project(entries: &[String]) -> Sandbox {
    let config = format!("{NOWHERE}[checks.own]\ncommand = [\"true\"]\n");
    let sandbox = Sandbox::with(&[("a.md", "# a\n"), ("dagcache.toml", &config)]);
    if !entries.is_empty() {
        let text = format!("version = 1\n{}", entries.concat());
        sandbox.write("dagcache.lock", text);
    }
    sandbox
}

const DEBIAN: &str = "docker.io/library/debian:bookworm-slim";

#[test]
fn what_is_pinned_is_not_asked_for_and_what_nobody_needs_goes() {
    let here = format!("linux/{}", arch());
    let sandbox = project(&[
        entry(DEBIAN, "1", &here),
        entry(DEBIAN, "2", "linux/other"),
        entry("docker.io/library/rust:1", "3", &here),
    ]);
    let run = sandbox.run(&["lock"]).expect(0);
    assert!(
        run.stderr
            .contains(&format!("Removing docker.io/library/rust:1 ({here})")),
        "{}",
        run.stderr
    );
    assert!(
        run.stderr.contains("Locked 2 images in dagcache.lock"),
        "{}",
        run.stderr
    );
    let text = sandbox.read("dagcache.lock");
    assert!(
        text.starts_with("# The images that containers are based on."),
        "{text}"
    );
    assert!(
        text.contains(&"1".repeat(64)) && text.contains("linux/other"),
        "{text}"
    );
    assert!(!text.contains("rust"), "{text}");
    let run = sandbox.run(&["lock"]).expect(0);
    assert!(
        run.stderr.contains("Fresh dagcache.lock (2 images)"),
        "{}",
        run.stderr
    );
    assert_eq!(sandbox.read("dagcache.lock"), text);
}

#[test]
fn an_image_that_nobody_can_be_asked_for_is_named_and_nothing_is_written() {
    let other = entry("docker.io/library/rust:1", "3", "linux/amd64");
    for (entries, args) in [
        (vec![], &["lock"][..]),
        (vec![other], &["lock"]),
        (
            vec![entry(DEBIAN, "1", &format!("linux/{}", arch()))],
            &["lock", "--update"],
        ),
    ] {
        let sandbox = project(&entries);
        let before = sandbox
            .path("dagcache.lock")
            .exists()
            .then(|| sandbox.read("dagcache.lock"));
        let run = sandbox.run(args).expect(3);
        for part in [DEBIAN, "dagcache.lock", "help: run again where the engine"] {
            assert!(run.stderr.contains(part), "{}", run.stderr);
        }
        let after = sandbox
            .path("dagcache.lock")
            .exists()
            .then(|| sandbox.read("dagcache.lock"));
        assert_eq!(before, after);
    }
}

#[test]
fn a_broken_lock_is_said_with_its_place() {
    let sandbox = project(&[]);
    for (text, expect) in [
        ("<<<<<<< ours\n", "--> dagcache.lock:1:"),
        ("version = 2\n", "unsupported lock version 2"),
        ("version = 1\n[[images]]\n", "unknown field `images`"),
    ] {
        sandbox.write("dagcache.lock", text);
        let run = sandbox.run(&["lock"]).expect(2);
        assert!(run.stderr.contains(expect), "{}", run.stderr);
        assert_eq!(sandbox.read("dagcache.lock"), text);
    }
}

#[test]
fn a_project_without_containers_needs_no_lock() {
    let sandbox = Sandbox::with(&[("a.yaml", "a: 1\n"), ("dagcache.toml", NOWHERE)]);
    let run = sandbox.run(&["lock"]).expect(0);
    assert!(
        run.stderr.contains("Fresh no check needs an image"),
        "{}",
        run.stderr
    );
    assert!(!sandbox.path("dagcache.lock").exists());
}
