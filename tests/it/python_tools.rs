//! What a Python tool is: the locks that pin it, and on PATH everything installed for it.

use std::path::PathBuf;

use crate::python::{PATHSPEC, Package, Project, UNRELATED, YAMLLINT, built};

const BUMPED: Package = ("pathspec", "0.12.2", &[]);

/// The packages as a `uv.lock` of a project with the dependency group `lint`.
fn uv_lock(project: &Project, packages: &[Package]) -> String {
    let packages: Vec<String> = packages
        .iter()
        .map(|(name, version, requires)| {
            let hash = &hash(project, name, version);
            let requires: String = requires
                .iter()
                .map(|name| format!("{{ name = \"{name}\" }}, "))
                .collect();
            format!(
                "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nsource = {{ registry = \"https://pypi.org/simple\" }}\n\
                 dependencies = [{requires}]\nwheels = [{{ url = \"https://x/{name}.whl\", hash = \"sha256:{hash}\" }}]\n"
            )
        })
        .collect();
    format!(
        "version = 1\nrequires-python = \">=3.8\"\n{}[[package]]\nname = \"project\"\nversion = \"0.1\"\nsource = {{ virtual = \".\" }}\n\
         [package.dev-dependencies]\nlint = [{{ name = \"yamllint\" }}]\n",
        packages.concat()
    )
}

/// The same as `pip-compile --generate-hashes` writes it.
fn requirements(project: &Project, packages: &[Package]) -> String {
    let lines = packages.iter().map(|(name, version, _)| {
        let hash = hash(project, name, version);
        let users: Vec<&str> = packages
            .iter()
            .filter(|(_, _, requires)| requires.contains(name))
            .map(|(name, ..)| *name)
            .collect();
        let via = match users.as_slice() {
            [] => "-r requirements.in".to_owned(),
            users => users.join(", "),
        };
        format!("{name}=={version} \\\n    --hash=sha256:{hash}\n    # via {via}\n")
    });
    lines.collect()
}

fn hash(project: &Project, name: &str, version: &str) -> String {
    let file = format!("{}-{version}-py3-none-any.whl", name.replace('-', "_"));
    let unknown = "0".repeat(64);
    project.wheels.get(&file).unwrap_or(&unknown).clone()
}

type Write = fn(&Project, &[Package]) -> String;

#[test]
fn every_kind_of_lock_makes_a_layer_of_the_closure_of_its_tool() {
    let formats: [(&str, Write); 2] =
        [("uv.lock", uv_lock), ("requirements-dev.txt", requirements)];
    for (file, text) in formats {
        let Some(project) = Project::new(&[], &[("a.yaml", "---\na: 1\n")]) else {
            return;
        };
        let write = |packages: &[Package]| {
            let text = text(&project, packages);
            project.write(file, &format!("# a comment\n{text}"));
        };
        write(&[PATHSPEC, YAMLLINT, UNRELATED]);
        let json = project.json(&["lint"]).expect(0);
        assert_eq!(built(&json), ["tools:yamllint"], "{file}");
        assert_eq!(json.check("yaml:yamllint")["verdict"], "passed");
        for other in [
            &[PATHSPEC, YAMLLINT, ("unrelated", "2.0", &[])][..],
            &[("added", "1.0", &[]), YAMLLINT, PATHSPEC],
        ] {
            write(other);
            project.json(&["lint"]).expect(0).expect_fresh();
        }
        write(&[BUMPED, YAMLLINT]);
        let json = project.json(&["lint"]).expect(0);
        assert_eq!(built(&json), ["tools:yamllint"], "{file}");
        let check = json.check("yaml:yamllint");
        assert_eq!(check["miss"]["kind"], "layer-changed", "{file}");
        // The same closure in the lock of another tool is the same layer.
        project.sandbox.remove(file);
        project.write("poetry.lock", &project.lock(&[BUMPED, YAMLLINT]));
        project.json(&["lint"]).expect(0).expect_fresh();
    }
}

#[test]
fn of_two_locks_the_one_of_the_configured_tool_counts() {
    let Some(project) = Project::new(&[PATHSPEC, YAMLLINT], &[("a.yaml", "---\na: 1\n")]) else {
        return;
    };
    project.write("uv.lock", &uv_lock(&project, &[BUMPED, YAMLLINT]));
    project.install(&["yamllint-1.37.1", "pathspec-0.12.1"]);
    // `[tool.poetry]` is there: what is on PATH is what is locked.
    let json = project.json(&["lint"]).expect(0);
    assert_eq!(built(&json), [""; 0]);
    project.write("pyproject.toml", "[tool.uv]\npackage = false\n");
    let json = project.json(&["lint"]).expect(0);
    assert_eq!(built(&json), ["tools:yamllint"]);
    // A lock without the tool leaves it to the next.
    project.write("uv.lock", &uv_lock(&project, &[UNRELATED]));
    project.json(&["lint"]).expect(0).expect_fresh();
}

#[test]
fn requirements_without_hashes_need_the_program_on_path() {
    let Some(project) = Project::new(&[], &[("a.yaml", "---\na: 1\n")]) else {
        return;
    };
    project.write("requirements.txt", "-r base.txt\n");
    project.write("base.txt", "yamllint==1.37.1\nunrelated==1.0\n");
    let run = project.run(&["lint"]).expect(3);
    for said in [
        "`yamllint` is locked in requirements.txt",
        "no hashed wheel",
    ] {
        assert!(run.stderr.contains(said), "{said}\n{}", run.stderr);
    }
    project.install(&["yamllint-1.37.1", "pathspec-0.12.1"]);
    let json = project.json(&["lint"]).expect(0);
    assert_eq!(json.check("yaml:yamllint")["verdict"], "passed");
    project.json(&["lint"]).expect(0).expect_fresh();
    project.write("base.txt", "yamllint==1.37.0\n");
    project.run(&["lint"]).expect(3);
    // Any version will do if none is named.
    project.write("base.txt", "yamllint\n");
    project.json(&["lint"]).expect(0).expect_fresh();
}

/// A file of the packages on PATH.
fn module(project: &Project, name: &str) -> PathBuf {
    let library = project.venv().join("lib");
    let mut pythons = std::fs::read_dir(library).expect("folder");
    let python = pythons.next().expect("a Python").expect("entry");
    python.path().join("site-packages").join(name)
}

fn append(project: &Project, name: &str, text: &str) {
    let path = module(project, name);
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    std::fs::write(&path, before + text).expect("module");
}

#[test]
fn a_module_that_is_edited_in_place_makes_another_tool() {
    let Some(project) = Project::new(&[PATHSPEC, YAMLLINT], &[("a.yaml", "---\na: 1\n")]) else {
        return;
    };
    project.install(&["yamllint-1.37.1", "pathspec-0.12.1", "mdformat-0.7.22"]);
    let json = project.json(&["lint"]).expect(0);
    assert_eq!(built(&json), [""; 0]);
    // What the tool does not load changes nothing.
    append(&project, "mdformat.py", "# edited\n");
    project.json(&["lint"]).expect(0).expect_fresh();
    for name in ["pathspec.py", "yamllint.py", "sitecustomize.py", "x.pth"] {
        append(&project, name, "# edited\n");
        let json = project.json(&["lint"]).expect(0);
        assert_eq!(
            json.ran(),
            ["yaml:yamllint tool-changed yamllint"],
            "{name}"
        );
        assert_eq!(built(&json), [""; 0], "{name}");
        project.json(&["lint"]).expect(0).expect_fresh();
    }
}

#[test]
fn a_script_of_the_project_sees_all_that_is_installed_for_its_interpreter() {
    let config = "[checks.own]\ncommand = [\"./check.py\"]\ninputs = []\n";
    let files = [
        ("dagcache.toml", config),
        (
            "check.py",
            "#!/usr/bin/env python3\nimport pathspec\nprint(pathspec.word)\n",
        ),
    ];
    let Some(project) = Project::new(&[], &files) else {
        return;
    };
    project.sandbox.mode("check.py", 0o755);
    project.install(&["pathspec-0.12.1", "mdformat-0.7.22"]);
    append(&project, "pathspec.py", "word = 'one'\n");
    let run = || project.json(&["lint", "--only", "own"]).expect(0);
    assert_eq!(run().check("own")["stdout"], "one\n");
    run().expect_fresh();
    append(&project, "pathspec.py", "word = 'two'\n");
    let json = run();
    assert_eq!(json.ran(), ["own tool-changed python3"]);
    assert_eq!(json.check("own")["stdout"], "two\n");
    // Modules of another folder are not looked at: nothing is stored.
    append(&project, "mine.pth", "/somewhere/else\n");
    let json = run();
    let reason = json.check("own")["not_stored"].as_str().unwrap_or_default();
    assert!(reason.contains("editable packages"), "{reason}");
}

#[test]
fn a_program_of_a_python_environment_is_a_tool_of_own_checks() {
    let config = "[checks.own]\ncommand = [\"yamllint\", \"-f\", \"parsable\", \"-d\", \"relaxed\", \"a.yaml\"]\n";
    let Some(project) = Project::new(&[], &[("dagcache.toml", config), ("a.yaml", "---\n")]) else {
        return;
    };
    project.install(&["yamllint-1.37.1", "pathspec-0.12.1"]);
    let run = || project.json(&["lint", "--only", "own"]).expect(0);
    run();
    run().expect_fresh();
    append(&project, "pathspec.py", "# edited\n");
    assert_eq!(run().ran(), ["own tool-changed yamllint"]);
    run().expect_fresh();
}
