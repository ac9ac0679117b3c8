use std::collections::BTreeMap;

use super::*;
use crate::key::{layer_key, tree::Trees};
use crate::plan::{Check, Tool, Work};
use crate::testing::FakeImages;
use crate::testing::project::{LOCK, Project};
use crate::{config, discover, key};

const PROJECT: &[(&str, &str)] = &[
    ("a.md", "# a\n"),
    ("a.py", ""),
    ("a.yaml", "a: 1\n"),
    ("poetry.lock", LOCK),
    ("pyproject.toml", "[tool.ruff]"),
    ("o/kustomization.yaml", "namePrefix: x"),
];

fn images() -> FakeImages {
    FakeImages::with_python("3.11.9")
}

/// The plan of a project for containers, on a host without programs.
fn planned(files: &[(&str, &str)], images: &FakeImages) -> Plan {
    plan_of(&Project::new(files), images)
}

fn plan_of(project: &Project, images: &FakeImages) -> Plan {
    let loaded = config::load(&project.snapshot).expect("a configuration");
    let scope = Scope {
        images: Some(images),
        ..project.scope()
    };
    discover::plan(&scope, &loaded.config).expect("a plan")
}

fn with_config(config: &str) -> Vec<(&str, &str)> {
    let mut files = PROJECT.to_vec();
    files.push(("dagcache.toml", config));
    files
}

pub(crate) fn layers<'a>(plan: &'a Plan, id: &str) -> &'a [String] {
    &plan.check(id).expect(id).layers
}

pub(crate) fn keys(plan: &Plan) -> BTreeMap<String, String> {
    let layers = plan.layers.iter();
    layers
        .map(|layer| (layer.name.clone(), layer_key(plan, layer).to_string()))
        .collect()
}

pub(crate) fn script<'a>(plan: &'a Plan, name: &str) -> &'a Script {
    match &plan.layer(name).expect(name).build {
        Build::Script(script) => script,
        other => panic!("{other:?}"),
    }
}

fn missing(check: &Check) -> &str {
    match &check.work {
        Work::Missing(why) => why,
        other => panic!("{other:?}"),
    }
}

fn tools(plan: &Plan, id: &str) -> Vec<Tool> {
    let check = plan.check(id).expect(id);
    check.work.command().expect("a command").tools.clone()
}

#[test]
fn layers_of_a_check_are_a_chain_from_an_image_up() {
    let packages = FakeImages {
        packages: vec!["git".to_owned()],
        installed: "git 2\n".to_owned(),
        ..images()
    };
    for images in [images(), packages] {
        let plan = planned(&with_config("checks.own.command = ['true']"), &images);
        let commands = plan.checks.iter().filter(|c| c.work.command().is_some());
        let mut count = 0;
        for check in commands {
            count += 1;
            let mut below: Vec<String> = Vec::new();
            for name in &check.layers {
                let layer = plan.layer(name).expect("planned");
                assert_eq!(layer.on, below, "{name} of {}", check.id);
                below = vec![name.clone()];
            }
            let first = plan.layer(&check.layers[0]).expect("planned");
            assert!(matches!(first.build, Build::Image { .. }), "{first:?}");
        }
        assert_eq!(count, 6, "{:?}", plan.checks);
    }
}

#[test]
fn every_language_has_a_default_image() {
    let plan = planned(&with_config("checks.own.command = ['true']"), &images());
    assert_eq!(
        layers(&plan, "python:ruff-check"),
        ["base:python", "tools:ruff"]
    );
    assert_eq!(
        layers(&plan, "yaml:yamllint"),
        ["base:python", "tools:yamllint"]
    );
    assert_eq!(
        layers(&plan, "kustomize:build:o"),
        ["base:debian", "tools:kustomize"]
    );
    assert_eq!(layers(&plan, "own"), ["base:debian"]);
    let python = plan.layer("base:python").expect("planned");
    match &python.build {
        Build::Image { reference } => {
            assert!(reference.starts_with("docker.io/library/python@sha256:"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn all_containers_begin_with_the_configured_image() {
    let images = FakeImages {
        configured: Some("ghcr.io/acme/ci:1".to_owned()),
        ..images()
    };
    let plan = planned(&with_config("checks.own.command = ['true']"), &images);
    let bases = plan.layers.iter().filter(|l| l.kind == LayerKind::Base);
    assert_eq!(bases.map(|l| &*l.name).collect::<Vec<_>>(), ["base"]);
    assert_eq!(layers(&plan, "own"), ["base"]);
    assert_eq!(layers(&plan, "yaml:yamllint"), ["base", "tools:yamllint"]);
}

#[test]
fn an_archive_is_told_by_its_digest() {
    let images = FakeImages {
        configured: Some("./base.oci.tar".to_owned()),
        ..images()
    };
    let plan = planned(PROJECT, &images);
    match &plan.layer("base").expect("planned").build {
        Build::Archive { path, .. } => assert!(path.ends_with("base.oci.tar")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_python_tool_is_an_environment_with_exactly_its_closure() {
    let plan = planned(PROJECT, &images());
    let layer = plan.layer("tools:ruff").expect("planned");
    let names: Vec<&str> = layer.parts.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["python", "platform", "package ruff"]);
    let script = script(&plan, "tools:ruff");
    assert!(
        script
            .text
            .contains("/usr/local/bin/python3 -m venv --without-pip /opt/dagcache/ruff\n"),
        "{}",
        script.text
    );
    let (path, text) = &script.files[0];
    assert_eq!(path.as_str(), "requirements.txt");
    assert!(String::from_utf8_lossy(text).starts_with("ruff==0.5.7 --hash=sha256:"));
    match &tools(&plan, "python:ruff-check")[..] {
        [Tool::Layer { layer, path, .. }] => {
            assert_eq!((&**layer, &**path), ("tools:ruff", "bin/ruff"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_default_python_follows_from_the_project_alone() {
    let image = |lock: &str, more: &[(&str, &str)]| {
        let mut files = vec![("poetry.lock", lock), ("pyproject.toml", ""), ("a.py", "")];
        files.extend(more);
        let plan = planned(&files, &FakeImages::default());
        let why = missing(plan.check("python:ruff-check").expect("planned")).to_owned();
        let image = why.split("the default is docker.io/library/").nth(1);
        image.unwrap_or_default().to_owned()
    };
    let lock = |python: &str| {
        format!(
            "[[package]]\nname = 'ruff'\nversion = '0.5.7'\n[metadata]\npython-versions = '{python}'"
        )
    };
    assert_eq!(image(&lock(">=3.11,<4.0"), &[]), "python:3.11-slim");
    assert_eq!(image(&lock("^3.7"), &[]), "python:3.8-slim");
    assert_eq!(image(&lock("~3.9.2"), &[]), "python:3.9-slim");
    let named = |version| image(&lock("^3.9"), &[(".python-version", version)]);
    assert_eq!(named("3.12.4\n"), "python:3.12-slim");
    assert_eq!(named("3.8\n"), "python:3.9-slim");
    assert_eq!(named("pypy3.10\n"), "python:3.9-slim");
    let requirements = "ruff==0.5.7 --hash=sha256:61122637c9e1d9be1329054f3fa216559f0d1f722b7919b060a8c2a4ae1850e5";
    let files = [("requirements.txt", requirements), ("a.py", "")];
    let plan = planned(&files, &FakeImages::default());
    let why = missing(plan.check("python:ruff-check").expect("planned"));
    assert!(why.contains("python:3.12-slim"), "{why}");
}

#[test]
fn an_image_without_a_fitting_python_is_said_with_a_way_out() {
    for (images, expect) in [
        (FakeImages::default(), "has no Python"),
        (
            FakeImages::with_python("3.7.1"),
            "the image docker.io/library/python:3.11-slim has 3.7.1",
        ),
    ] {
        let plan = planned(PROJECT, &images);
        let why = missing(plan.check("python:ruff-check").expect("planned"));
        assert!(why.starts_with("`ruff` is locked in poetry.lock"), "{why}");
        assert!(why.contains(expect), "{why}");
        assert!(why.contains("[layers.base] image"), "{why}");
    }
}

#[test]
fn a_tool_that_is_not_locked_has_to_be_in_a_chosen_image() {
    let files = [("ruff.toml", ""), ("a.py", "")];
    let plan = planned(&files, &images());
    let why = missing(plan.check("python:ruff-check").expect("planned"));
    assert!(why.contains("not locked"), "{why}");
    let chosen = FakeImages {
        configured: Some("ghcr.io/acme/ci:1".to_owned()),
        ..images()
    };
    let plan = planned(&files, &chosen);
    let ruff = Tool::Image {
        name: "ruff".to_owned(),
    };
    assert_eq!(tools(&plan, "python:ruff-check"), [ruff]);
}

#[test]
fn kustomize_comes_from_an_image_the_packages_or_the_base() {
    let plan = planned(PROJECT, &images());
    let (reference, there, here) = &script(&plan, "tools:kustomize").programs[0];
    assert!(reference.starts_with("registry.k8s.io/kustomize/kustomize@sha256:"));
    assert_eq!(
        (&**there, &**here),
        ("/app/kustomize", "/opt/dagcache/kustomize/kustomize")
    );
    let of = |images: FakeImages| {
        let plan = planned(PROJECT, &images);
        let layers = layers(&plan, "kustomize:build:o").to_vec();
        (tools(&plan, "kustomize:build:o"), layers, keys(&plan))
    };
    let of_image = [Tool::Image {
        name: "kustomize".to_owned(),
    }];
    let (tools, layers, _) = of(FakeImages {
        packages: vec!["kustomize".to_owned()],
        ..images()
    });
    assert_eq!(
        (&tools[..], layers.last().map(|n| &**n)),
        (&of_image[..], Some("base:debian"))
    );
    let choose = |image: &str| FakeImages {
        tools: [("kustomize".to_owned(), image.to_owned())].into(),
        ..images()
    };
    assert_eq!(of(choose("base")).0, of_image);
    assert_ne!(
        of(choose("ghcr.io/acme/kustomize:5")).2["tools:kustomize"],
        of(images()).2["tools:kustomize"]
    );
}

#[test]
fn a_repository_takes_git() {
    let text = "resources: ['github.com/o/r?ref=0123456789abcdef0123456789abcdef01234567']";
    let files = [("o/kustomization.yaml", text)];
    let plan = planned(&files, &images());
    let why = missing(plan.check("kustomize:build:o").expect("planned"));
    assert!(why.contains("[layers.base] packages"), "{why}");
    let chosen = FakeImages {
        packages: vec!["git".to_owned()],
        ..images()
    };
    let plan = planned(&files, &chosen);
    assert_eq!(tools(&plan, "kustomize:build:o").len(), 2);
}

#[test]
fn own_checks_use_what_the_image_holds() {
    let config = "checks.own = { command = ['./x.sh'], tools = ['grep'] }\n\
                  checks.\"yaml:yamllint\".tools = ['sed']";
    let mut files = with_config(config);
    files.push(("x.sh", "#!/usr/bin/env bash\n"));
    let plan = planned(&files, &images());
    let names = |id: &str| -> Vec<String> {
        let tools = tools(&plan, id);
        let of_image = tools.iter().filter(|t| matches!(t, Tool::Image { .. }));
        of_image.map(|tool| tool.name().to_owned()).collect()
    };
    assert_eq!(names("own"), ["bash", "grep"]);
    assert_eq!(names("yaml:yamllint"), ["sed"]);
    assert_eq!(plan.check("own").expect("planned").not_cached, None);
}

#[test]
fn an_image_that_cannot_be_had_is_said_by_the_checks_that_need_it() {
    let images = FakeImages {
        configured: Some("ghcr.io/absent:1".to_owned()),
        ..images()
    };
    let plan = planned(&with_config("checks.own.command = ['true']"), &images);
    for id in ["own", "python:ruff-check", "kustomize:build:o"] {
        let why = missing(plan.check(id).expect("planned"));
        assert!(why.contains("no image ghcr.io/absent:1"), "{why}");
    }
}

#[test]
fn another_digest_changes_the_base_and_what_stands_on_it() {
    let before = keys(&planned(PROJECT, &images()));
    let after = keys(&planned(
        PROJECT,
        &FakeImages {
            salt: "2".to_owned(),
            ..images()
        },
    ));
    assert_eq!(before.len(), after.len());
    for (name, key) in &before {
        assert_ne!(*key, after[name], "{name}");
    }
}

#[test]
fn packages_count_as_asked_for_and_as_they_resolved() {
    let of = |packages: &[&str], installed: &str| {
        keys(&planned(
            PROJECT,
            &FakeImages {
                packages: packages.iter().map(|&name| name.to_owned()).collect(),
                installed: installed.to_owned(),
                ..images()
            },
        ))
    };
    let one = of(&["git"], "git 1\nlibc 1\n");
    let other_version = of(&["git"], "git 2\nlibc 1\n");
    let below = of(&["git"], "git 1\nlibc 2\n");
    let more = of(&["git", "sed"], "git 1\nlibc 1\n");
    assert_eq!(
        one["base:debian:packages"],
        other_version["base:debian:packages"]
    );
    assert_ne!(one["base:debian:packages"], more["base:debian:packages"]);
    for other in [&other_version, &below, &more] {
        for name in ["base:debian", "tools:kustomize", "tools:ruff"] {
            assert_ne!(one[name], other[name], "{name}");
        }
        assert_eq!(one["base:debian:image"], other["base:debian:image"]);
    }
}

#[test]
fn a_comment_in_a_lock_leaves_layers_as_they_are() {
    let commented = format!("# a comment\n{LOCK}");
    let mut files = PROJECT.to_vec();
    files[3].1 = &commented;
    files.push(("dagcache.lock", "# another\n"));
    assert_eq!(
        keys(&planned(PROJECT, &images())),
        keys(&planned(&files, &images()))
    );
}

#[test]
fn another_language_leaves_the_layers_of_the_first_as_they_are() {
    let few = keys(&planned(&PROJECT[..5], &images()));
    let more = keys(&planned(PROJECT, &images()));
    assert!(few.len() < more.len());
    for (name, key) in &few {
        assert_eq!(*key, more[name], "{name}");
    }
}

/// Keys of all checks of a plan.
fn check_keys(project: &Project, plan: &Plan) -> BTreeMap<String, String> {
    let env = project.scope().env;
    let key = |check: &Check| {
        let mut trees = Trees::new(&project.snapshot);
        key::check_key(plan, check, &mut trees, env, "dagger", "linux/amd64").whole
    };
    let checks = plan.checks.iter();
    checks
        .map(|check| (check.id.clone(), key(check).to_string()))
        .collect()
}

#[cfg(unix)]
#[test]
fn nothing_of_the_host_is_in_the_keys_of_containers() {
    use crate::testing::project::{fake_python, write_program};
    let files = with_config("checks.own = { command = ['./x.sh', 'a'], tools = ['grep', 'node'] }");
    let files = [&files[..], &[("x.sh", "#!/bin/sh\n")]].concat();
    let bare = Project::new(&files);
    let expect = check_keys(&bare, &plan_of(&bare, &images()));

    let host = fake_python("3.12.4");
    for name in [
        "ruff",
        "yamllint",
        "mdformat",
        "kustomize",
        "git",
        "grep",
        "node",
        "sh",
    ] {
        write_program(
            &host.path().join(name),
            &format!("#!/bin/sh\necho {name} 9\n"),
        );
    }
    for name in [".mdformat.toml", ".yamllint", "ruff.toml"] {
        std::fs::write(host.path().join(name), "x = [").expect("written");
    }
    let mut full = Project::with_path(&files, host.path().as_os_str());
    full.set_home(host.path());
    assert_eq!(check_keys(&full, &plan_of(&full, &images())), expect);
    assert!(
        !host.path().join("log").exists(),
        "the host's Python was asked"
    );
}
