use super::*;
use crate::env::Env;
use crate::facts::Facts;
use crate::finding::Finding;
use crate::plan::InputView;
use crate::snapshot::Snapshot;
use crate::tool::Tools;

fn with_scope<T>(
    files: &[(&str, &str)],
    excluded: &[&str],
    act: impl FnOnce(&Scope<'_>) -> T,
) -> T {
    let snapshot = Snapshot::in_memory(files);
    let is_excluded = |path: &str| excluded.iter().any(|dir| path.starts_with(dir));
    let excluded: Vec<bool> = snapshot
        .entries()
        .iter()
        .map(|e| is_excluded(&e.path))
        .collect();
    act(&Scope {
        snapshot: &snapshot,
        excluded: &excluded,
        facts: &Facts::default(),
        tools: &Tools::default(),
        env: &Env::default(),
        secrets_baseline: None,
        strange: crate::scope::Strange::default(),
        trusted: crate::plan::trust::Trusted::default(),
        images: None,
    })
}

fn planned(files: &[(&str, &str)], excluded: &[&str]) -> Plan {
    with_scope(files, excluded, |scope| {
        let mut planned = Plan::default();
        plan(scope, &mut planned).expect("planning does not fail");
        planned
    })
}

fn ids(plan: &Plan) -> Vec<&str> {
    plan.checks.iter().map(|check| check.id.as_str()).collect()
}

/// The whole snapshot as a view.
struct View<'a>(&'a Snapshot);

impl InputView for View<'_> {
    fn part(&self) -> Option<&RelPath> {
        None
    }

    fn read(&self, path: &str) -> std::io::Result<Vec<u8>> {
        let id = self.0.find(path).ok_or(std::io::ErrorKind::NotFound)?;
        self.0.read(id)
    }
}

fn findings(files: &[(&str, &str)]) -> Vec<Finding> {
    let planned = planned(files, &[]);
    let check = planned.check(refs::ID).expect("there is a kustomization");
    let Work::Builtin(builtin) = &check.work else {
        panic!("built in");
    };
    let snapshot = Snapshot::in_memory(files);
    builtin.check(&View(&snapshot)).expect("all is readable")
}

const COMPONENT: &str = "kind: Component";

#[test]
fn every_kustomization_that_is_no_component_is_built() {
    let files = [
        ("base/kustomization.yaml", "resources: []"),
        ("c/kustomization.yaml", COMPONENT),
        (
            "flux/kustomization.yaml",
            "apiVersion: kustomize.toolkit.fluxcd.io/v1",
        ),
        (
            "o/Kustomization",
            "resources: [../base]\ncomponents: [../c]",
        ),
        ("skipped/kustomization.yaml", "resources: [../base]"),
    ];
    let plan = planned(&files, &["skipped"]);
    assert_eq!(
        ids(&plan),
        [
            "kustomize:build:base",
            "kustomize:build:o",
            "kustomize:refs"
        ]
    );
    assert_eq!(overlays(&plan), [RelPath::from_normal("o".into())]);
}

#[test]
fn an_overlay_is_named_by_its_path_or_by_the_unique_last_part_of_it() {
    let files = [
        ("base/kustomization.yaml", ""),
        ("a/base/kustomization.yaml", "resources: [../../base]"),
        ("a/x/kustomization.yaml", "resources: [../../base]"),
        ("b/x/kustomization.yaml", "resources: [../../base]"),
    ];
    let plan = planned(&files, &[]);
    let resolve = |name: &str| resolve_overlay(&plan, name).map(|dir| dir.to_string());
    assert_eq!(resolve("a/x").as_deref(), Ok("a/x"));
    assert_eq!(resolve("base").as_deref(), Ok("a/base"));
    assert_eq!(
        resolve("x").unwrap_err(),
        "overlay `x` is ambiguous; use its path: a/x, b/x"
    );
    assert_eq!(
        resolve("y").unwrap_err(),
        "no overlay `y`; overlays: a/base, a/x, b/x"
    );
    assert!(
        resolve("../y")
            .unwrap_err()
            .contains("is outside the project root")
    );
}

#[test]
fn a_kustomization_at_the_root_is_built_as_a_dot() {
    let plan = planned(&[("kustomization.yml", "namePrefix: x")], &[]);
    assert_eq!(ids(&plan), ["kustomize:build:.", "kustomize:refs"]);
}

#[test]
fn nothing_is_planned_without_a_kustomization() {
    assert_eq!(
        ids(&planned(&[("a.yaml", "kind: Kustomization")], &[])),
        [""; 0]
    );
}

#[test]
fn a_missing_kustomize_names_the_file_and_the_ways_out() {
    let plan = planned(&[("o/kustomization.yml", "namePrefix: x")], &[]);
    let Work::Missing(message) = &plan.checks[0].work else {
        panic!("there is no kustomize on an empty PATH");
    };
    for part in ["o/kustomization.yml", "go install", "--engine dagger"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn the_build_runs_from_the_root_with_kustomize_alone_unless_it_clones() {
    let program = |name: &str| {
        Ok(vec![Tool::Host {
            name: name.to_owned(),
            path: format!("/bin/{name}").into(),
            identity: crate::digest::Digest::of(name.as_bytes()),
            version: None,
        }])
    };
    let programs = Programs {
        kustomize: program("kustomize"),
        git: program("git"),
        layers: vec!["base".to_owned()],
        not_cached: None,
    };
    let check = |text: &str| {
        with_scope(&[("o/kustomization.yaml", text)], &[], |scope| {
            let dir = RelPath::new("o").expect("a path");
            let closure = Graph::new(scope).closure(&dir);
            build(&dir, closure, &programs)
        })
    };
    let command = |check: &Check| match &check.work {
        Work::Command(command) => (**command).clone(),
        other => panic!("{other:?}"),
    };
    let tools = |command: &Command| {
        command
            .tools
            .iter()
            .map(|t| t.name().to_owned())
            .collect::<Vec<_>>()
    };

    let local = check("namePrefix: x");
    assert_eq!(command(&local).argv, ["kustomize", "build", "o"]);
    assert_eq!(tools(&command(&local)), ["kustomize"]);
    assert!(!command(&local).network);
    assert_eq!((local.cache, &local.not_cached), (CacheMode::All, &None));

    let pinned =
        check("resources: ['github.com/o/r?ref=0123456789abcdef0123456789abcdef01234567']");
    assert_eq!(tools(&command(&pinned)), ["git", "kustomize"]);
    assert!(command(&pinned).network);
    assert_eq!(
        (pinned.cache, &pinned.not_cached),
        (CacheMode::Passes, &None)
    );

    let moving = check("resources:\n- github.com/o/r?ref=main");
    let why = moving.not_cached.expect("a branch can change");
    assert!(
        why.contains("github.com/o/r?ref=main") && why.contains("o/kustomization.yaml:2"),
        "{why}"
    );
}

#[test]
fn a_sound_project_has_no_findings() {
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: x}\n";
    let files = [
        (
            "a/kustomization.yaml",
            "resources: [s.yaml]\nnamePrefix: a-",
        ),
        ("a/s.yaml", service),
        ("b/kustomization.yaml", "resources: [s.yaml]"),
        ("b/s.yaml", service),
        ("o/kustomization.yaml", "resources: [../a, ../b]"),
        ("n/kustomization.yaml", "resources: [s.yaml, t.yaml]"),
        ("n/s.yaml", service),
        (
            "n/t.yaml",
            "apiVersion: v1\nkind: Service\nmetadata: {name: x, namespace: y}\n",
        ),
    ];
    assert_eq!(findings(&files), []);
}

#[test]
fn a_resource_that_comes_twice_is_a_finding_at_the_second() {
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: x}\n";
    let twice = format!("# first\n{service}---\n{service}");
    let files = [
        ("o/kustomization.yaml", "resources: [s.yaml]"),
        ("o/s.yaml", twice.as_str()),
    ];
    let found = findings(&files);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].path.as_deref(), Some("o/s.yaml"));
    assert_eq!(found[0].line, Some(6));

    let through_a_base = [
        ("b/kustomization.yaml", "resources: [s.yaml]\nlabels: []"),
        ("b/s.yaml", service),
        ("o/kustomization.yaml", "resources: [../b, s.yaml]"),
        ("o/s.yaml", service),
    ];
    let found = findings(&through_a_base);
    assert_eq!(found.len(), 1);
    assert!(
        found[0].message.contains("`b/s.yaml`"),
        "{}",
        found[0].message
    );
}

#[test]
fn a_folder_that_reads_like_a_repository_is_not_looked_into() {
    let files = [
        (
            "o/github.com/a/b/kustomization.yaml",
            "resources: [gone.yaml]",
        ),
        ("o/kustomization.yaml", "resources: [github.com/a/b]"),
    ];
    let plan = planned(&files, &["o/github.com"]);
    assert_eq!(overlays(&plan).len(), 1);
    assert!(plan.checks[0].not_cached.is_some());
    assert_eq!(
        findings(&files)[0].path.as_deref(),
        Some("o/github.com/a/b/kustomization.yaml")
    );
}

#[test]
fn problems_of_components_nobody_uses_are_found_as_well() {
    let files = [(
        "c/kustomization.yaml",
        "kind: Component\nresources: [gone.yaml]",
    )];
    let found = findings(&files);
    assert_eq!(found[0].code.as_deref(), Some("missing"));
    assert_eq!((found[0].line, found[0].column), (Some(2), Some(13)));
}

#[test]
fn a_broken_kustomization_is_a_finding_and_is_still_built() {
    let files = [
        ("o/kustomization.yaml", "resources: [a.yaml]\nb: {\n"),
        ("o/a.yaml", ""),
    ];
    let plan = planned(&files, &[]);
    assert_eq!(ids(&plan), ["kustomize:build:o", "kustomize:refs"]);
    assert_eq!(plan.checks[0].inputs.shared, [0, 1]);
    assert_eq!(findings(&files)[0].code.as_deref(), Some("syntax"));
}

#[test]
fn what_is_missing_is_in_the_key() {
    let params = |text: &str| {
        let plan = planned(&[("o/kustomization.yaml", text)], &[]);
        match &plan.check(refs::ID).expect("planned").work {
            Work::Builtin(builtin) => builtin.params(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(params("namePrefix: x"), []);
    assert_eq!(
        params("resources: [gone.yaml]"),
        [("missing".to_owned(), "o/gone.yaml".to_owned())]
    );
}
