//! The value of a secret stays hidden in the encodings that tools commonly print.

use crate::support::{Json, Run, Sandbox};

const VALUE: &str = "hunter2/\"and\" +more";
const HEX: &str = "68756e746572322f22616e6422202b6d6f7265";

/// How tools print [`VALUE`]: JSON, URLs, hexadecimal, base64 at three offsets.
const PRINTED: &[&str] = &[
    "hunter2/\"and\" +more",
    "hunter2\\/\\\"and\\\" +more",
    "hunter2%2F%22and%22%20%2Bmore",
    "hunter2/%22and%22+%2bmore",
    HEX,
    "aHVudGVyMi8iYW5kIiArbW9yZQ==",
    "eDpodW50ZXIyLyJhbmQiICttb3Jl",
    "eGh1bnRlcjIvImFuZCIgK21vcmU",
    "eHhodW50ZXIyLyJhbmQiICttb3JlLg==",
    "eHh4aHVudGVyMi8iYW5kIiArbW9yZQ",
];

fn own(sandbox: &Sandbox) -> Json {
    let mut command = sandbox.command(&["lint", "--only", "own", "--message-format", "json"]);
    command.env("TOKEN", VALUE);
    Json::of(Run::of(command))
}

fn sandbox(keys: &str, script: &str) -> Sandbox {
    let config = format!(
        "[checks.own]\ncommand = [\"./check.sh\"]\ntools = [\"cat\"]\nsecrets = [\"TOKEN\"]\n{keys}\n"
    );
    let sandbox = Sandbox::with(&[("dagcache.toml", &config)]);
    sandbox.script("check.sh", script);
    sandbox
}

/// No file of the store holds any of these.
#[track_caller]
fn nowhere_in_the_store(sandbox: &Sandbox) {
    for path in sandbox.cached("", "") {
        let bytes = std::fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let shown = PRINTED.iter().find(|printed| text.contains(**printed));
        assert!(shown.is_none(), "{shown:?} in {}", path.display());
    }
}

#[test]
fn encodings_are_masked_in_output_and_findings_and_stored_nowhere() {
    let lines: String = PRINTED
        .iter()
        .map(|printed| format!("src/a:1: error: {printed}\n"))
        .collect();
    for keys in ["", "findings = \"gcc\""] {
        // Encoded by the check itself, as the value must not be in its inputs.
        let digits: String = lines.bytes().map(|byte| format!("\\{byte:03o}")).collect();
        let script =
            format!("printf '{digits}'; printf '{digits}' >&2; printf '{digits}' > left; exit 1");
        let sandbox = sandbox(keys, &script);
        for _ in ["run", "replayed"] {
            let json = own(&sandbox).expect(1);
            for printed in PRINTED {
                let quoted = serde_json::Value::from(*printed).to_string();
                let said = [&json.run.stdout, &json.run.stderr];
                let told = said
                    .iter()
                    .any(|said| said.contains(printed) || said.contains(quoted.trim_matches('"')));
                assert!(!told, "{printed}: {}", json.run.stdout);
            }
            let stdout = json.check("own")["stdout"].as_str().expect("text");
            assert_eq!(stdout.matches("***").count(), PRINTED.len(), "{stdout}");
        }
        nowhere_in_the_store(&sandbox);
    }
}

#[test]
fn an_output_that_holds_an_encoding_is_neither_stored_nor_written() {
    for printed in PRINTED {
        let digits: String = printed
            .bytes()
            .map(|byte| format!("\\{byte:03o}"))
            .collect();
        let sandbox = sandbox(
            "outputs = [\"out.txt\"]",
            &format!("printf 'x{digits}' > out.txt"),
        );
        let json = own(&sandbox).expect(0);
        let reason = json.check("own")["not_stored"].as_str().expect("a reason");
        assert!(reason.contains("the value of a secret"), "{reason}");
        assert!(!sandbox.path("out.txt").exists());
        nowhere_in_the_store(&sandbox);
    }
}
