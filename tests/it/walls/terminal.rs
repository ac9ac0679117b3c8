//! Nothing that a project or a tool names or prints controls the terminal.

use std::os::unix::ffi::OsStrExt as _;

use crate::support::{Run, Sandbox};

/// A name that clears the screen, sets the title and the clipboard, reverses text and starts a line.
const HOSTILE: &str =
    "a\n\u{1b}[2J\u{1b}]0;title\u{7}\u{1b}]52;c;eA==\u{7}\u{9b}31m\u{202e}\u{7f}\r";

/// Whether a terminal obeys it.
fn is_obeyed(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Asserts that nothing but lines, tabs and colours reached the terminal, and that no line starts with what follows a
/// line break in [`HOSTILE`].
#[track_caller]
fn assert_tame(run: &Run) {
    let colours = regex::Regex::new("\u{1b}\\[[0-9;:]*m").expect("regex");
    for text in [&run.stdout, &run.stderr] {
        let rest = colours.replace_all(text, "").replace(['\n', '\t'], "");
        assert!(!rest.contains(is_obeyed), "{text:?}");
        assert!(!text.contains("\n\\x1b[2J"), "{text}");
    }
}

fn own(keys: &str, script: &str) -> Sandbox {
    let config = format!("[checks.own]\ncommand = [\"./check.sh\"]\n{keys}\n");
    let sandbox = Sandbox::with(&[("dagcache.toml", &config)]);
    sandbox.script("check.sh", script);
    sandbox
}

#[test]
fn a_hostile_file_name_is_shown_in_one_line_wherever_it_is_named() {
    let sandbox = Sandbox::git_repository();
    let yaml = format!("{HOSTILE}/x{HOSTILE}.yaml");
    sandbox.write(&yaml, "a: [\n");
    sandbox.write(
        &format!("{HOSTILE}/kustomization.yaml"),
        "resources: [gone.yaml]\n",
    );
    sandbox.write(&format!("{HOSTILE}/.mypy.ini"), "[mypy]\n");
    sandbox.commit("files");
    let fifo = sandbox.path(&format!("pipe{HOSTILE}"));
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, 0o600.into()).expect("fifo");
    let odd = std::ffi::OsStr::from_bytes(b"\xff\n\x1b[2J.yaml");
    std::fs::write(sandbox.project().join(odd), "a: 1\n").expect("write");
    let shown = "xa\\n\\x1b[2J\\x1b]0;title\\x07";
    for color in ["always", "never"] {
        for args in [
            &["lint", "-v"][..],
            &["lint", "--dry-run"],
            &["check", "-v"],
            &["pre-commit"],
            &["explain"],
            &["cache", "status"],
            &["config", "show"],
            &["doctor"],
        ] {
            let run = sandbox.run(&[args, &["--color", color]].concat());
            assert_tame(&run);
            if args == ["lint", "-v"] {
                assert!(run.stderr.contains(shown), "{}", run.stderr);
            }
        }
    }
    sandbox.write(&yaml, "b: [\n");
    let run = sandbox.run(&["lint"]).expect(1);
    assert_tame(&run);
    let json = sandbox.json(&["lint"]);
    assert_tame(&json.run);
    let finding = &json.check("yaml:syntax")["findings"][0];
    assert_eq!(finding["path"], yaml.as_str());
}

#[test]
fn what_a_tool_prints_keeps_its_colours_and_nothing_else() {
    let script = r#"printf '\033[31mred \033]52;c;eA==\007\033[2J\302\233H\177\033[8mhidden\n10%%\r20%%\r\n'; exit 1"#;
    let sandbox = own("", script);
    let run = sandbox
        .run(&["lint", "--only", "own", "--color", "always"])
        .expect(1);
    assert_tame(&run);
    let said = "\u{1b}[31mred \\x1b]52;c;eA==\\x07\\x1b[2J\\u{9b}H\\x7f\u{1b}[8mhidden\n10%\n20%\u{1b}[0m\n";
    assert!(run.stderr.contains(said), "{:?}", run.stderr);
    let run = sandbox
        .run(&["lint", "--only", "own", "--color", "never"])
        .expect(1);
    assert_tame(&run);
    assert!(!run.stderr.contains('\u{1b}'), "{:?}", run.stderr);
}

#[test]
fn warnings_and_findings_of_tools_are_tame_too() {
    let script = r#"printf 'src/a\033[2J:1: warning: bad\033]0;t\007 [-W\033[1m]\n' >&2
        printf 'warning: \033]0;t\007\033[1A\n' >&2"#;
    for keys in ["", "findings = \"gcc\""] {
        let sandbox = own(keys, script);
        for args in [
            &["lint", "--only", "own"][..],
            &["lint", "--only", "own", "-v"],
        ] {
            assert_tame(
                &sandbox
                    .run(&[args, &["--color", "always"]].concat())
                    .expect(0),
            );
        }
    }
}

#[test]
fn json_is_exact_and_tame() {
    let script = r#"printf 'a\177b\302\233c\342\200\256d\033[2J'"#;
    let sandbox = own("", script);
    let json = sandbox
        .json(&["lint", "--only", "own", "--color", "always"])
        .expect(0);
    assert_tame(&json.run);
    let said = "a\u{7f}b\u{9b}c\u{202e}d\u{1b}[2J";
    assert_eq!(json.check("own")["stdout"], said);
}

#[test]
fn errors_about_the_configuration_and_the_arguments_are_tame() {
    for config in [
        "[checks.\"a\\u001b[2J\\n\\u202e\"]\ncommand = [\"x\"]\n",
        "[checks.own]\ncommand = [\"\\u001b[2J\\n\\u202e\"]\n",
        "[checks.own]\ncommand = [\"x\"]\ninputs = [\"\\u001b[2J\\n\\u202e\"]\n",
        "x = \"\u{9b}2J\u{202e}\"\n\u{85} =",
    ] {
        let sandbox = Sandbox::with(&[("dagcache.toml", config)]);
        for args in [&["lint", "-v"][..], &["config", "show"], &["explain"]] {
            assert_tame(&sandbox.run(&[args, &["--color", "always"]].concat()));
        }
    }
    let sandbox = Sandbox::with(&[]);
    let word = &HOSTILE.replace('\n', "");
    for args in [
        &["lint", "--only", HOSTILE][..],
        &["-C", HOSTILE, "lint"],
        &[word],
        &["lint", word],
    ] {
        assert_tame(&sandbox.run(args).expect(2));
    }
}
