//! Layers built ahead and anew, and what the engine says of itself.

use serde_json::{Value, json};

use super::{Engine, engine};
use crate::support::{Run, Sandbox, skip};

/// A project with a lock of the images it needs, if they can be had.
fn locked(engine: &Engine, files: &[(&str, &str)]) -> Option<Sandbox> {
    let sandbox = Sandbox::with(files);
    let run = engine.run(&sandbox, &["lock"]);
    if run.code == Some(3) && run.stderr.contains("registry") {
        skip(&format!("its images cannot be had: {}", run.stderr));
        return None;
    }
    run.expect(0);
    Some(sandbox)
}

fn one(run: &Run) -> Value {
    serde_json::from_str(run.stdout.trim()).expect("one object")
}

/// Names of layers, and whether they were built.
fn warmed(engine: &Engine, sandbox: &Sandbox, layer: &[&str]) -> Vec<(String, bool)> {
    let args = [&["cache", "warm", "--message-format", "json"], layer].concat();
    let told = one(&engine.run(sandbox, &args).expect(0));
    assert_eq!(told["engine"], "dagger");
    let layers = told["layers"].as_array().expect("layers").iter();
    layers
        .map(|layer| {
            (
                layer["name"].as_str().unwrap_or_default().to_owned(),
                layer["built"] == true,
            )
        })
        .collect()
}

#[test]
fn a_cleared_layer_is_built_anew_in_the_engine_and_no_other() {
    let Some(engine) = engine() else { return };
    // Its check stands on a layer that a script makes without any network: a program out of an image.
    let files = [("kustomization.yaml", "resources: []\n")];
    let Some(sandbox) = locked(engine, &files) else {
        return;
    };
    let names: Vec<String> = warmed(engine, &sandbox, &[])
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert!(names.contains(&"tools:kustomize".to_owned()), "{names:?}");
    let there = warmed(engine, &sandbox, &["tools:kustomize"]);
    assert!(there.iter().all(|(_, built)| !built), "{there:?}");
    let cleared = engine.run(&sandbox, &["cache", "clear", "tools"]).expect(0);
    assert!(
        cleared
            .stderr
            .contains("tools:kustomize: the Dagger engine will rebuild them"),
        "{}",
        cleared.stderr
    );
    let again = warmed(engine, &sandbox, &[]);
    for (name, built) in &again {
        assert_eq!(*built, name == "tools:kustomize", "{again:?}");
    }
    // The number stays: it is not built each time.
    let there = warmed(engine, &sandbox, &[]);
    assert!(there.iter().all(|(_, built)| !built), "{there:?}");
}

#[test]
fn what_keeps_layers_from_being_built_is_an_error_that_is_said_once() {
    let Some(engine) = engine() else { return };
    for (image, packages, said) in [
        (
            "docker.io/library/no-such-image:1",
            "",
            "cannot get the image `docker.io/library/no-such-image:1`: it does not exist",
        ),
        (
            "registry.invalid/image:1",
            "",
            "cannot get the image `registry.invalid/image:1`: cannot reach its registry",
        ),
        (
            super::IMAGES[0],
            "\"no-such-package\"",
            "cannot build layer `base:packages`: its script exited with code 100",
        ),
    ] {
        let own = |name: &str| format!("[checks.{name}]\ncommand = [\"true\"]\n");
        let base = format!("[layers.base]\nimage = \"{image}\"\npackages = [{packages}]\n");
        let config = base + &own("one") + &own("two");
        let sandbox = Sandbox::with(&[("dagcache.toml", &config)]);
        let warmed = engine.run(&sandbox, &["cache", "warm"]).expect(3).stderr;
        let ran = engine.run(&sandbox, &["lint"]).expect(3).stderr;
        assert!(
            ran.contains("two: for the same reason as one")
                || ran.contains("one: for the same reason as two"),
            "{ran}"
        );
        let told = engine.run(&sandbox, &["doctor"]).expect(3).stderr;
        assert!(told.contains(said), "{told}");
        for text in [warmed, ran] {
            assert_eq!(text.matches(said).count(), 1, "{text}");
            for noise in ["cannot find out", "failed to resolve", "failed to do"] {
                assert!(!text.contains(noise), "{text}");
            }
        }
    }
}

#[test]
fn status_has_the_engines_usage_and_limits() {
    let Some(engine) = engine() else { return };
    let sandbox = Sandbox::plain();
    let told = one(&engine
        .run(
            &sandbox,
            &[
                "cache",
                "status",
                "--engine",
                "dagger",
                "--message-format",
                "json",
            ],
        )
        .expect(0));
    assert_eq!(told["dagger"]["address"], json!(engine.address));
    for number in [
        "used_bytes",
        "max_used_bytes",
        "reserved_bytes",
        "min_free_bytes",
        "target_bytes",
    ] {
        assert!(told["dagger"][number].is_u64(), "{told}");
    }
}

#[test]
fn a_budget_that_is_kept_prunes_nothing() {
    let Some(engine) = engine() else { return };
    let sandbox = Sandbox::plain();
    let args = [
        "cache",
        "prune",
        "--engine",
        "--max-size",
        "1TiB",
        "--message-format",
        "json",
    ];
    let run = engine.run(&sandbox, &args).expect(0);
    assert!(
        run.stderr
            .contains("shares its cache between all its users"),
        "{}",
        run.stderr
    );
    let told = one(&run);
    assert_eq!(told["max_bytes"], json!(1_u64 << 40));
    for when in ["before", "after"] {
        assert!(told[when]["used_bytes"].is_u64(), "{told}");
    }
}

#[test]
fn doctor_runs_a_command_in_a_pinned_image() {
    let Some(engine) = engine() else { return };
    let files = [("dagcache.toml", "[checks.own]\ncommand = [\"true\"]\n")];
    let Some(sandbox) = locked(engine, &files) else {
        return;
    };
    let args = ["doctor", "--engine", "dagger", "--message-format", "json"];
    let told = one(&engine.run(&sandbox, &args).expect(0));
    assert_eq!(told["usable"], true);
    let lines = told["lines"].as_array().expect("lines");
    for subject in [
        "dagger",
        "connection",
        "cache",
        "image",
        "command",
        "clock",
        "disk",
    ] {
        let line = lines.iter().find(|line| line["subject"] == subject);
        let line = line.unwrap_or_else(|| panic!("no {subject} in {told}"));
        assert_ne!(line["level"], "fail", "{line}");
    }
}

#[test]
fn a_remote_that_cannot_be_reached_is_no_verdict() {
    let Some(engine) = engine() else { return };
    let remote = "patches:\n- path: https://no-such-host.invalid/a.yaml\n";
    let Some(sandbox) = locked(engine, &[("kustomization.yaml", remote)]) else {
        return;
    };
    // The second time the engine remembers the failure.
    for _ in 0..2 {
        let run = engine.run(&sandbox, &["dev-check", "--engine", "dagger"]);
        let said = run.expect(3).stderr.clone();
        assert!(
            said.contains("a remote resource cannot be fetched"),
            "{said}"
        );
    }
}
