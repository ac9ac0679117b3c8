//! `--message-format json`: the lines and their fields.

use serde_json::Value;

use crate::support::Sandbox;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::with(&[
        (
            "dagcache.toml",
            "[checks.green]\ncommand = [\"./green.sh\"]\ntrace = false\n[checks.red]\ncommand = [\"./red.sh\"]\ntrace = false\nfindings = \"gcc\"\n[checks.missing]\ncommand = [\"no-such-program\"]\n",
        ),
        ("a.yaml", "a: 1\n"),
    ]);
    sandbox.script("green.sh", "");
    sandbox.script("red.sh", "echo 'a.yaml:1:2: error: bad [E1]'; exit 1");
    sandbox
}

fn fields(line: &Value) -> Vec<&str> {
    let object = line.as_object().expect("object");
    object.keys().map(String::as_str).collect()
}

const CHECK: [&str; 11] = [
    "reason",
    "id",
    "verdict",
    "cache",
    "key",
    "exit_code",
    "stdout",
    "stderr",
    "duration_ms",
    "saved_ms",
    "findings",
];

#[test]
fn every_line_has_its_documented_fields() {
    let sandbox = sandbox();
    for run in ["first", "second"] {
        let json = sandbox.json(&["dev-check"]).expect(3);
        let first = json.lines.first().expect("lines");
        assert_eq!(
            fields(first),
            ["reason", "format", "command", "engine", "root", "checks"]
        );
        let expect = serde_json::json!({
            "reason": "run-started", "format": 1, "command": "dev-check", "engine": "local", "root": ".", "checks": 5,
        });
        assert_eq!(*first, expect);
        assert_eq!(
            fields(json.finished()),
            [
                "reason",
                "verdict",
                "hits",
                "misses",
                "duration_ms",
                "saved_ms"
            ]
        );
        for check in json.checks() {
            let id = check["id"].as_str().expect("id");
            let mut expect = CHECK.to_vec();
            if check["cache"] == "miss" {
                expect.push("miss");
            }
            if id.contains(':') {
                expect.push("parts");
            }
            if id == "missing" {
                expect.push("message");
            }
            assert_eq!(fields(check), expect, "{id} in the {run} run");
            assert!(check["stdout"].is_string() && check["stderr"].is_string());
            let key = check["key"].as_str().expect("key");
            assert!(
                key.len() == 64 && key.bytes().all(|b| b.is_ascii_hexdigit()),
                "{key}"
            );
        }
    }
}

#[test]
fn hits_and_misses_add_up_to_the_checks() {
    let sandbox = sandbox();
    let count = |json: &crate::support::Json| {
        let finished = json.finished();
        let number = |name: &str| finished[name].as_u64().expect("number");
        assert_eq!(number("hits") + number("misses"), 5);
        assert_eq!(json.checks().len(), 5);
        (number("hits"), number("misses"))
    };
    assert_eq!(count(&sandbox.json(&["dev-check"])), (0, 5));
    assert_eq!(count(&sandbox.json(&["dev-check"])), (4, 1));
    sandbox.write("a.yaml", "a: 2\n");
    assert_eq!(count(&sandbox.json(&["dev-check"])), (0, 5));
}

#[test]
fn a_change_carries_both_digests() {
    let sandbox = sandbox();
    sandbox.json(&["dev-check"]);
    sandbox.write("a.yaml", "a: 2\n");
    sandbox.write("new.yaml", "b: 1\n");
    let json = sandbox.json(&["dev-check", "--only", "green"]);
    let miss = &json.check("green")["miss"];
    assert_eq!(fields(miss), ["kind", "path", "from", "to"]);
    assert_eq!(
        (&miss["kind"], &miss["path"]),
        (&"input-changed".into(), &"a.yaml".into())
    );
    assert_ne!(miss["from"], miss["to"]);
    assert_eq!(miss["from"].as_str().map(str::len), Some(64));
    assert_eq!(miss["to"].as_str().map(str::len), Some(64));
}

/// Everything below a folder, with its size and time of modification.
fn everything(folder: &std::path::Path) -> Vec<String> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let meta = path.symlink_metadata().expect("stat");
        all.push(format!("{path:?} {:?} {:?}", meta.len(), meta.modified()));
        all.extend(everything(&path));
    }
    all.sort();
    all
}

#[test]
fn a_dry_run_writes_nothing_into_the_store() {
    let sandbox = sandbox();
    let dry = || {
        sandbox.run(&["dev-check", "--dry-run"]);
        sandbox.run(&["pre-commit", "run", "--dry-run"]);
        sandbox.run(&["cache", "prune", "--dry-run"]).expect(0);
    };
    dry();
    assert!(everything(&sandbox.cache()).is_empty());
    sandbox.run(&["dev-check"]);
    sandbox.run(&["pre-commit", "run"]);
    let before = everything(&sandbox.cache());
    assert!(!before.is_empty());
    dry();
    sandbox.write("src/a", "edited\n");
    sandbox.write("new.yaml", "a: 1\n");
    dry();
    assert_eq!(everything(&sandbox.cache()), before);
}

#[test]
fn every_reason_is_named_if_asked_for() {
    let sandbox = sandbox();
    sandbox.run(&["lint"]);
    for path in ["one.yaml", "two.yaml"] {
        sandbox.write(path, "a: 1\n");
    }
    let run = |args: &[&str]| sandbox.run(args).stderr;
    assert!(!run(&["lint", "--dry-run"]).contains("and two.yaml added"));
    for args in [&["lint", "-v", "--dry-run"], &["lint", "-v"][..]] {
        let said = run(args);
        assert!(said.contains("and two.yaml added"), "{said}");
    }
}

#[test]
fn a_dry_run_has_keys_states_and_reasons() {
    let sandbox = sandbox();
    let before = sandbox
        .json(&["dev-check", "--dry-run", "--skip", "missing"])
        .expect(0);
    for check in before.checks() {
        assert_eq!(check["verdict"], "skipped");
        assert_eq!(check["cache"], "miss");
        assert_eq!(check["miss"]["kind"], "new");
    }
    assert_eq!(before.finished()["verdict"], "skipped");
    let real = sandbox.json(&["dev-check", "--skip", "missing"]).expect(1);
    assert_eq!(real.finished()["hits"], 0, "a dry run stores nothing");
    let after = sandbox
        .json(&["dev-check", "--dry-run", "--skip", "missing"])
        .expect(0);
    for check in real.checks() {
        let id = check["id"].as_str().expect("id");
        assert_eq!(after.check(id)["cache"], "hit");
        assert_eq!(after.check(id)["key"], check["key"]);
        assert_eq!(before.check(id)["key"], check["key"]);
    }
}

#[test]
fn wrong_usage_prints_nothing_on_stdout() {
    let sandbox = sandbox();
    for args in [
        &["dev-check", "--only", "nothing"][..],
        &["dev-check", "--wrong"],
        &["dev-check", "--jobs", "0"],
    ] {
        let json = sandbox.json(args).expect(2);
        assert_eq!(json.run.stdout, "");
        assert_ne!(json.run.stderr, "");
    }
}

#[test]
fn one_builtin_never_answers_for_another() {
    // The same file is all that both see.
    let key = ["-----BEGIN RSA PRIVATE", " KEY-----"].concat();
    let body = "MIIEowIBAAKCAQEAy8Dbv8prpJ/0kKhlGeJYozo2t60EG8L0561g13R29LvMR5hy";
    let end = ["-----END RSA PRIVATE", " KEY-----"].concat();
    let text = format!("a: |\n  {key}\n  {body}\n  {end}\n");
    let sandbox = Sandbox::with(&[("a.yaml", text.as_str())]);
    sandbox.json(&["lint"]).expect(0);
    let json = sandbox.json(&["dev-check"]).expect(1);
    assert_eq!(json.check("security:secrets")["verdict"], "failed");
    assert_eq!(json.check("security:secrets")["cache"], "miss");
    assert_ne!(
        json.check("security:secrets")["key"],
        json.check("yaml:syntax")["key"]
    );
}
