//! kustomize overlays: each build sees its closure, `generate` writes because asked.

use crate::support::{Sandbox, copy_fixture, have};

fn sandbox() -> Option<Sandbox> {
    if !have("kustomize") {
        return None;
    }
    let sandbox = Sandbox::git_repository();
    copy_fixture("kustomize/css", &sandbox.project());
    sandbox.commit("files");
    Some(sandbox)
}

#[test]
fn an_edit_of_one_overlay_reruns_its_build_only() {
    let Some(sandbox) = sandbox() else { return };
    sandbox.json(&["dev-check"]).expect(0);
    sandbox.json(&["dev-check"]).expect(0).expect_fresh();
    let path = "overlays/nodeport-dev/dev-patch.yaml";
    sandbox.write(path, sandbox.read(path) + "# edited\n");
    let json = sandbox.json(&["dev-check"]).expect(0);
    let expect = [
        "kustomize:build:overlays/nodeport-dev",
        "kustomize:refs",
        "security:secrets",
        "yaml:syntax",
    ];
    assert_eq!(
        json.ran(),
        expect.map(|id| format!("{id} input-changed {path}"))
    );
    for id in ["security:secrets", "yaml:syntax"] {
        assert_eq!(json.check(id)["parts"]["ran"], 1, "{id}");
    }
}

#[test]
fn a_second_name_of_a_kustomization_is_seen() {
    let Some(sandbox) = sandbox() else { return };
    let id = "kustomize:build:overlays/with-pvc";
    sandbox.json(&["validate", "--only", id]).expect(0);
    sandbox.write("overlays/with-pvc/kustomization.yml", "resources: []\n");
    let json = sandbox.json(&["validate", "--only", id]).expect(1);
    assert_eq!(json.ran().len(), 1);
}

#[test]
fn overlays_are_chosen_by_path_or_last_part() {
    let Some(sandbox) = sandbox() else { return };
    for name in ["with-pvc", "overlays/with-pvc"] {
        let json = sandbox.json(&["validate", "--overlay", name]).expect(0);
        assert_eq!(json.checks().len(), 1);
        assert!(json.check("kustomize:build:overlays/with-pvc").is_object());
    }
    let run = sandbox
        .run(&["validate", "--overlay", "with-pcv"])
        .expect(2);
    assert!(run.stderr.contains("overlays/with-pvc"), "{}", run.stderr);
    sandbox.write(
        "more/with-pvc/kustomization.yaml",
        "resources: [../../base]\n",
    );
    let run = sandbox
        .run(&["validate", "--overlay", "with-pvc"])
        .expect(2);
    assert!(run.stderr.contains("ambiguous"), "{}", run.stderr);
}

#[test]
fn generate_writes_what_a_build_prints_and_ci_writes_nothing() {
    let Some(sandbox) = sandbox() else { return };
    let json = sandbox.json(&["ci"]).expect(0);
    assert_eq!(sandbox.git(&["status", "--porcelain"]), "");
    sandbox
        .run(&["generate", "--overlay", "with-pvc", "--output-dir", "out"])
        .expect(0);
    let build = json.check("kustomize:build:overlays/with-pvc");
    assert_eq!(
        sandbox.read("out/with-pvc.yaml"),
        build["stdout"].as_str().expect("text")
    );
    assert_eq!(sandbox.git(&["status", "--porcelain"]), "?? out/\n");
}

#[test]
fn a_reference_to_nothing_fails_with_its_place() {
    let Some(sandbox) = sandbox() else { return };
    sandbox.remove("components/pvc/pvc.yaml");
    let json = sandbox
        .json(&["validate", "--only", "kustomize:refs"])
        .expect(1);
    let finding = &json.check("kustomize:refs")["findings"][0];
    assert_eq!(finding["path"], "components/pvc/kustomization.yaml");
    assert!(finding["line"].is_u64());
}

#[test]
fn a_remote_that_cannot_be_reached_is_no_failure_of_the_project() {
    let url = "https://example.com/o/r//p?ref=main";
    let kustomization = format!("resources: [\"{url}\"]\n");
    let sandbox = Sandbox::with(&[("kustomization.yaml", &kustomization)]);
    let say = |text: &str| {
        let script = format!("#!/bin/sh\necho \"{text}\" >&2\nexit 1\n");
        sandbox.program("kustomize", &script);
        sandbox.program("git", "#!/bin/sh\n");
        sandbox.json(&["validate", "--only", "kustomize:build:."])
    };
    let json = say("fatal: unable to access: Could not resolve host: example.com").expect(3);
    let message = json.check("kustomize:build:.")["message"].clone();
    let message = message.as_str().unwrap_or_default();
    assert!(message.contains("cannot be fetched"), "{message}");
    say("Error: invalid Kustomization").expect(1);
}
