//! Linters and tests that a project configures and that are not run: named, on one line.

use crate::support::Sandbox;

fn sandbox() -> Sandbox {
    Sandbox::with(&[
        ("a.yaml", "a: 1\n"),
        ("pyproject.toml", "[tool.mypy]\n"),
        (
            "package.json",
            r#"{"scripts": {"lint": "eslint .", "test": "jest"}}"#,
        ),
        (
            ".pre-commit-config.yaml",
            "repos:\n- hooks:\n  - id: check-yaml\n  - id: codespell\n",
        ),
        (
            ".github/workflows/ci.yml",
            "steps:\n- run: uv run mypy . && cargo test\n",
        ),
    ])
}

#[test]
fn one_line_names_what_was_not_run_and_how_to_add_it() {
    let sandbox = sandbox();
    for _ in ["first", "fresh"] {
        let run = sandbox.run(&["lint"]).expect(0);
        let lines: Vec<_> = run
            .stderr
            .lines()
            .filter(|line| line.contains("not run"))
            .collect();
        let [line] = lines.as_slice() else {
            panic!("{}", run.stderr);
        };
        for part in [
            "cargo test (.github/workflows/ci.yml)",
            "codespell (.pre-commit-config.yaml)",
            "eslint, jest (package.json)",
            "mypy (pyproject.toml)",
            "checks.",
            "dagcache.toml",
        ] {
            assert!(line.contains(part), "{part}: {line}");
        }
        assert!(!line.contains("check-yaml"), "{line}");
    }
    let quiet = sandbox.run(&["lint", "-q"]).expect(0);
    assert_eq!(quiet.stderr, "");
}

#[test]
fn json_has_it_as_a_field_and_own_checks_are_not_in_it() {
    let sandbox = sandbox();
    let tools = || -> Vec<String> {
        let json = sandbox.json(&["lint", "--dry-run"]).expect(0);
        let named = json.lines[0]["not_run"].as_array().expect("a field");
        let tool = |line: &serde_json::Value| line["tool"].as_str().map(str::to_owned);
        named.iter().filter_map(tool).collect()
    };
    assert_eq!(
        tools(),
        ["cargo test", "codespell", "eslint", "jest", "mypy"]
    );
    let config = "[checks.types]\ncommand = [\"sh\", \"-c\", \"mypy .\"]\n";
    sandbox.write("dagcache.toml", config);
    assert_eq!(tools(), ["cargo test", "codespell", "eslint", "jest"]);
    sandbox.write(
        "dagcache.toml",
        format!("exclude = [\"package.json\"]\n{config}"),
    );
    assert_eq!(tools(), ["cargo test", "codespell"]);
}

#[test]
fn the_line_that_is_suggested_adds_a_check() {
    let sandbox = sandbox();
    sandbox.tool("mypy", "one");
    for name in [
        "package.json",
        ".pre-commit-config.yaml",
        ".github/workflows/ci.yml",
    ] {
        sandbox.remove(name);
    }
    let run = sandbox.run(&["lint"]).expect(0);
    let added = run.stderr.split('`').nth(1).expect("a line to add");
    sandbox.write("dagcache.toml", format!("{added}\n"));
    let json = sandbox.json(&["lint", "--dry-run"]).expect(0);
    assert_eq!(json.checks().len(), 2, "{}", json.run.stdout);
    assert!(json.lines[0].get("not_run").is_none());
}
