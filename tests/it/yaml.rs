//! The verdicts that `yaml:syntax` is held to are those of the loaders themselves.

use std::process::{Command, Stdio};

use crate::support::skip;

const CASES: &str = include_str!("../fixtures/yaml/loaders.json");

/// Reads the cases and prints those whose stored verdict is another one.
const ASK: &str = r#"
import io, json, sys
import yaml
from ruamel.yaml import YAML
def reads(load):
    try:
        load()
        return True
    except Exception:
        return False
for case in json.load(sys.stdin):
    text = case["text"].encode()
    ruamel = YAML(pure=True)
    loaders = {
        "pyyaml": lambda: list(yaml.compose_all(text, Loader=yaml.SafeLoader)),
        "libyaml": lambda: list(yaml.compose_all(text, Loader=yaml.CSafeLoader)),
        "ruamel": lambda: list(ruamel.compose_all(io.BytesIO(text))),
    }
    for name, load in loaders.items():
        if reads(load) != case[name]:
            print(name, "now says", reads(load), "of", case["name"])
"#;

#[test]
fn the_loaders_still_say_what_is_stored() {
    let python = |code: &str| {
        let mut command = Command::new("python3");
        command.args(["-c", code]);
        command
    };
    let loaders = python("import yaml, ruamel.yaml; yaml.CSafeLoader").output();
    if !loaders.is_ok_and(|output| output.status.success()) {
        return skip("python3 has not PyYAML with libyaml and ruamel.yaml");
    }
    let mut asked = python(ASK)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 starts");
    let mut stdin = asked.stdin.take().expect("piped");
    std::io::Write::write_all(&mut stdin, CASES.as_bytes()).expect("it reads");
    drop(stdin);
    let output = asked.wait_with_output().expect("it ends");
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
}
