//! Checks from the configuration: what runs, what it may see, how its output is read, what is stored.

use crate::support::{Json, Run, Sandbox};

/// A project with one check `own`, whose script is `check.sh`; `keys` go into its table.
fn sandbox(keys: &str, script: &str) -> Sandbox {
    let sandbox = Sandbox::with(&[
        ("src/a.h", "one\n"),
        ("src/b.h", "two\n"),
        ("other/c.txt", "three\n"),
    ]);
    let config = format!("[checks.own]\ncommand = [\"./check.sh\"]\n{keys}\n");
    sandbox.write("dagcache.toml", config);
    sandbox.script("check.sh", script);
    sandbox
}

fn own(sandbox: &Sandbox) -> Json {
    sandbox.json(&["lint", "--only", "own"])
}

#[track_caller]
fn stdout(keys: &str, script: &str) -> String {
    let json = own(&sandbox(keys, script)).expect(0);
    json.check("own")["stdout"]
        .as_str()
        .expect("text")
        .to_owned()
}

#[test]
fn arguments_are_passed_as_they_are() {
    let keys = r#"args = ["a b", "$HOME", "*", "", "'"]"#;
    let text = stdout(keys, r#"for arg; do echo "<$arg>"; done"#);
    assert_eq!(text, "<a b>\n<$HOME>\n<*>\n<>\n<'>\n");
}

#[test]
fn it_runs_in_its_folder() {
    let sandbox = sandbox("dir = \"src\"", "exit 9");
    sandbox.script("src/check.sh", "echo *");
    let json = own(&sandbox).expect(0);
    assert_eq!(json.check("own")["stdout"], "a.h b.h check.sh\n");
}

const SEEN: &str = "for file in * */*; do [ -f \"$file\" ] && echo \"$file\"; done; :";

#[test]
fn it_sees_everything_unless_told_otherwise() {
    let text = stdout("", SEEN);
    assert_eq!(
        text,
        "check.sh\ndagcache.toml\nother/c.txt\nsrc/a.h\nsrc/b.h\n"
    );
}

#[test]
fn it_sees_its_inputs_and_its_script_only() {
    let text = stdout(r#"inputs = ["**/*.h", "!src/b.h"]"#, SEEN);
    assert_eq!(text, "check.sh\nsrc/a.h\n");
}

#[test]
fn an_undeclared_file_fails_loudly() {
    let sandbox = sandbox(r#"inputs = ["src/**"]"#, "read line < other/c.txt");
    let json = own(&sandbox).expect(1);
    let stderr = json.check("own")["stderr"].as_str().expect("text");
    assert!(stderr.contains("other/c.txt"), "{stderr}");
}

#[test]
fn files_are_appended_and_visible() {
    let keys = "inputs = []\nfiles = [\"src/*.h\"]";
    let text = stdout(
        keys,
        r#"echo "$@"; for file; do read line < "$file"; echo "$line"; done"#,
    );
    assert_eq!(text, "src/a.h src/b.h\none\ntwo\n");
}

#[test]
fn files_are_named_from_the_working_directory() {
    let sandbox = sandbox("dir = \"src\"\nfiles = [\"**/*.h\", \"other/*\"]", "");
    sandbox.script("src/check.sh", r#"echo "$@""#);
    let json = own(&sandbox).expect(0);
    assert_eq!(json.check("own")["stdout"], "../other/c.txt a.h b.h\n");
}

#[test]
fn excluded_files_are_not_checked_but_readable() {
    let sandbox = sandbox("files = [\"src/*.h\"]", "");
    let config = sandbox.read("dagcache.toml");
    sandbox.write(
        "dagcache.toml",
        format!("exclude = [\"src/b.h\"]\n{config}"),
    );
    sandbox.script(
        "check.sh",
        "echo \"$@\"; read line < src/b.h; echo \"$line\"",
    );
    let json = own(&sandbox).expect(0);
    assert_eq!(json.check("own")["stdout"], "src/a.h\ntwo\n");
}

#[test]
fn per_file_each_part_sees_its_file_and_the_inputs() {
    let keys = "inputs = [\"other/**\"]\nfiles = [\"src/*.h\"]\nper-file = true";
    let sandbox = sandbox(keys, "echo \"$@:\" */*");
    let json = own(&sandbox).expect(0);
    let check = json.check("own");
    assert_eq!(
        check["stdout"],
        "src/a.h: other/c.txt src/a.h\nsrc/b.h: other/c.txt src/b.h\n"
    );
    assert_eq!(check["parts"]["ran"], 2);

    sandbox.write("src/b.h", "other\n");
    let json = own(&sandbox).expect(0);
    assert_eq!(json.ran(), ["own input-changed src/b.h"]);
    assert_eq!(json.check("own")["parts"]["hit"], 1);
    assert_eq!(json.check("own")["parts"]["ran"], 1);

    sandbox.write("other/c.txt", "shared by all parts\n");
    let json = own(&sandbox).expect(0);
    assert_eq!(json.check("own")["parts"]["ran"], 2);
}

#[test]
fn per_file_a_red_part_stays_red_while_others_change() {
    let keys = "inputs = []\nfiles = [\"src/*.h\"]\nper-file = true\nfindings = \"gcc\"";
    let script = r#"code=0; for file; do read line < "$file"
        [ "$line" != bad ] || { echo "$file:1: error: bad line [B1]"; code=1; }; done; exit $code"#;
    let sandbox = sandbox(keys, script);
    sandbox.write("src/a.h", "bad\n");
    own(&sandbox).expect(1);
    sandbox.write("src/b.h", "changed\n");
    let json = own(&sandbox).expect(1);
    let check = json.check("own");
    assert_eq!(check["parts"]["hit"], 1);
    assert_eq!(check["findings"][0]["path"], "src/a.h");
    assert_eq!(check["findings"].as_array().map(Vec::len), Some(1));
    sandbox.write("src/a.h", "good\n");
    let json = own(&sandbox).expect(0);
    assert_eq!(
        json.check("own")["findings"].as_array().map(Vec::len),
        Some(0)
    );
}

#[test]
fn per_file_misses_share_a_process_if_findings_name_files() {
    let keys = "inputs = []\nfiles = [\"src/*.h\"]\nper-file = true\nfindings = \"gcc\"";
    // Each process says how many files it was given, as a warning on each.
    let script = "for file; do echo \"$file:1: warning: one of $#\"; done";
    let json = own(&sandbox(keys, script)).expect(0);
    let findings = json.check("own")["findings"].as_array().expect("findings");
    let messages: Vec<_> = findings.iter().map(|finding| &finding["message"]).collect();
    assert_eq!(messages, ["one of 2", "one of 2"]);
}

#[test]
fn the_environment_is_clean() {
    let mut command = sandbox(
        "env = [\"SEEN\", \"ABSENT\"]\nset-env = { FIXED = \"1\" }",
        "export -p; umask; read line && echo \"stdin: $line\"; set -- \"$HOME\"/* \"$HOME\"/.[!.]*; echo \"$#\"; ls=*; :",
    );
    let run = |sandbox: &mut Sandbox| {
        let mut command = sandbox.command(&["lint", "--only", "own", "--message-format", "json"]);
        command
            .env("SEEN", "yes")
            .env("SECRET_TOKEN", "no")
            .env("LANG", "de_DE.UTF-8")
            .env("GIT_DIR", "/nowhere")
            .env("LD_LIBRARY_PATH", "/nowhere");
        Json::of(Run::of(command)).expect(0)
    };
    let json = run(&mut command);
    let text = json.check("own")["stdout"].as_str().expect("text");
    let exported = text
        .lines()
        .filter_map(|line| line.strip_prefix("export "))
        .map(|line| line.split('=').next().unwrap_or_default());
    let mut names: Vec<&str> = exported.collect();
    names.retain(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name));
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "FIXED",
            "GIT_CEILING_DIRECTORIES",
            "GIT_CONFIG_NOSYSTEM",
            "HOME",
            "LANG",
            "PATH",
            "PYTHONDONTWRITEBYTECODE",
            "SEEN",
            "SOURCE_DATE_EPOCH",
            "TMPDIR",
            "TZ",
            "XDG_CACHE_HOME",
            "XDG_CONFIG_HOME",
            "XDG_DATA_HOME",
            "XDG_STATE_HOME",
        ]
    );
    assert!(
        text.contains("LANG='C.UTF-8'") || text.contains("LANG=\"C.UTF-8\""),
        "{text}"
    );
    assert!(text.contains("\n0022\n"), "{text}");
    assert!(!text.contains("stdin:"), "{text}");
    // Two patterns that match nothing: the home is empty.
    assert!(text.contains("\n2\n"), "{text}");
}

#[test]
fn its_umask_is_not_the_users() {
    let sandbox = sandbox("", "umask");
    let mut shell = std::process::Command::new("sh");
    let command = sandbox.command(&["lint", "--only", "own", "--message-format", "json"]);
    shell
        .args(["-c", "umask 077; exec \"$0\" \"$@\""])
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(sandbox.project())
        .envs(
            command
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
    let json = Json::of(Run::of(shell)).expect(0);
    assert_eq!(json.check("own")["stdout"], "0022\n");
}

#[test]
fn only_declared_tools_are_on_its_path() {
    let script =
        "for tool in sleep git cat; do command -v $tool > /dev/null && echo $tool; done; :";
    assert_eq!(
        stdout("trace = false\ntools = [\"sleep\", \"cat\"]", script),
        "sleep\ncat\n"
    );
    assert_eq!(stdout("trace = false", script), "");
}

#[test]
fn it_works_on_a_copy_that_is_made_right_again() {
    let script = "[ ! -e made ] && [ ! -e src/made ] || exit 9; read line < src/a.h; echo \"$line\"
        : > made; : > src/made; echo spoilt > src/a.h";
    let sandbox = sandbox("trace = false", script);
    own(&sandbox).expect(0);
    assert!(!sandbox.path("made").exists());
    assert_eq!(sandbox.read("src/a.h"), "one\n");
    sandbox.write("src/b.h", "changed\n");
    let json = own(&sandbox).expect(0);
    assert_eq!(json.check("own")["stdout"], "one\n");
}

#[test]
fn the_copy_has_an_empty_git_folder() {
    let text = stdout(
        "",
        "[ -d .git ] && for file in .git/* .git/.[!.]*; do [ -e \"$file\" ] && echo \"$file\"; done; echo end",
    );
    assert_eq!(text, "end\n");
}

#[test]
fn links_and_execute_bits_are_copied() {
    let sandbox = sandbox(
        "",
        "[ -h src/link ] && [ -x src/b.h ] && [ ! -x src/a.h ] && read line < src/link && echo \"$line\"",
    );
    std::os::unix::fs::symlink("a.h", sandbox.path("src/link")).expect("link");
    sandbox.mode("src/b.h", 0o755);
    let json = own(&sandbox).expect(0);
    assert_eq!(json.check("own")["stdout"], "one\n");
}

#[test]
fn paths_of_the_copy_are_made_relative() {
    let text = stdout("", "echo \"$PWD/src/a.h:1: note: here\"");
    assert_eq!(text, "src/a.h:1: note: here\n");
}

#[test]
fn gcc_findings() {
    let sandbox = sandbox(
        "findings = \"gcc\"",
        "echo 'src/a.h:3:7: error: no guard [H2]' >&2; exit 1",
    );
    let json = own(&sandbox).expect(1);
    let expect = serde_json::json!([{
        "path": "src/a.h", "line": 3, "column": 7, "severity": "error", "code": "H2", "message": "no guard",
    }]);
    assert_eq!(json.check("own")["findings"], expect);
}

#[test]
fn findings_by_a_regular_expression() {
    let keys = r"findings = '^(?<code>\w+) in (?<path>\S+) at (?<line>\d+): (?<message>.*)$'";
    let sandbox = sandbox(
        keys,
        "echo 'X9 in src/b.h at 12: too long'; echo other; exit 1",
    );
    let json = own(&sandbox).expect(1);
    let finding = &json.check("own")["findings"][0];
    assert_eq!(finding["path"], "src/b.h");
    assert_eq!(finding["line"], 12);
    assert_eq!(finding["code"], "X9");
    assert_eq!(finding["message"], "too long");
}

#[test]
fn findings_from_sarif() {
    let sandbox = sandbox(
        "findings = \"sarif\"",
        "read -r line < log.sarif; echo \"$line\"; exit 1",
    );
    sandbox.write(
        "log.sarif",
        r#"{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"t"}},"results":[{"ruleId":"R1","level":"warning","message":{"text":"hm"},"locations":[{"physicalLocation":{"artifactLocation":{"uri":"src/a.h"},"region":{"startLine":4,"startColumn":2}}}]}]}]}"#,
    );
    let json = own(&sandbox).expect(1);
    let expect = serde_json::json!([{
        "path": "src/a.h", "line": 4, "column": 2, "severity": "warning", "code": "R1", "message": "hm",
    }]);
    assert_eq!(json.check("own")["findings"], expect);
}

#[test]
fn its_tags_decide_which_command_runs_it() {
    let sandbox = sandbox("tags = [\"validate\", \"slow\"]", "");
    let ids = |args: &[&str]| -> Vec<String> {
        let json = sandbox.json(args).expect(0);
        let ids = json
            .checks()
            .into_iter()
            .map(|line| line["id"].as_str().unwrap_or_default().to_owned());
        ids.filter(|id| id == "own").collect()
    };
    assert_eq!(ids(&["lint", "--dry-run"]), [""; 0]);
    assert_eq!(ids(&["validate", "--dry-run"]), ["own"]);
    assert_eq!(ids(&["ci", "--dry-run", "--tag", "slow"]), ["own"]);
}

#[test]
fn a_check_over_its_time_is_an_error_and_not_stored() {
    let sandbox = sandbox(
        "timeout = \"1s\"\ntools = [\"sleep\"]",
        "echo begun; sleep 600",
    );
    for _ in 0..2 {
        let json = own(&sandbox).expect(3);
        let check = json.check("own");
        assert_eq!(check["verdict"], "error");
        assert_eq!(check["cache"], "miss");
        let message = check["message"].as_str().expect("message");
        assert!(message.contains("1s"), "{message}");
        assert_eq!(check["stdout"], "begun\n");
    }
}

#[test]
fn results_older_than_max_age_miss() {
    let sandbox = sandbox("max-age = \"1ms\"", "");
    own(&sandbox).expect(0);
    assert_eq!(own(&sandbox).expect(0).ran(), ["own expired"]);
    let config = sandbox.read("dagcache.toml").replace("1ms", "7d");
    sandbox.write("dagcache.toml", config);
    own(&sandbox).expect(0);
    own(&sandbox).expect(0).expect_fresh();
}

#[test]
fn cache_false_is_run_each_time() {
    let sandbox = sandbox("cache = false", "");
    for _ in 0..2 {
        let json = own(&sandbox).expect(0);
        assert_eq!(json.check("own")["cache"], "miss");
        assert_eq!(json.check("own")["miss"]["kind"], "not-cached");
    }
}

#[test]
fn with_cache_passes_failures_are_run_again() {
    for keys in ["cache = \"passes\"", "tags = [\"test\", \"lint\"]"] {
        let sandbox = sandbox(keys, "read line < src/a.h; [ \"$line\" = one ]");
        own(&sandbox).expect(0);
        own(&sandbox).expect(0).expect_fresh();
        sandbox.write("src/a.h", "red\n");
        for _ in 0..2 {
            let json = own(&sandbox).expect(1);
            assert_eq!(json.check("own")["cache"], "miss", "{keys}");
        }
    }
}

#[test]
fn failures_are_stored_by_default() {
    let sandbox = sandbox("", "exit 1");
    own(&sandbox).expect(1);
    let json = own(&sandbox).expect(1);
    json.expect_fresh();
    assert_eq!(json.check("own")["verdict"], "failed");
}

#[test]
fn a_missing_program_is_an_error_that_names_two_ways_out() {
    let sandbox = Sandbox::with(&[(
        "dagcache.toml",
        "[checks.own]\ncommand = [\"no-such-program\"]\n[checks.second]\ncommand = [\"./ok.sh\"]\ntools = [\"neither-this\"]\n[checks.third]\ncommand = [\"./ok.sh\"]\n",
    )]);
    sandbox.script("ok.sh", "");
    let json = sandbox.json(&["lint"]).expect(3);
    assert_eq!(json.check("own")["verdict"], "error");
    assert_eq!(json.check("second")["verdict"], "error");
    assert_eq!(json.check("third")["verdict"], "passed");
    let message = json.check("own")["message"].as_str().expect("message");
    for part in [
        "no-such-program",
        "install it",
        "--engine dagger",
        "(dagcache.toml:1:9)",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let human = sandbox.run(&["lint"]).expect(3);
    assert!(
        human
            .stderr
            .contains("Error own: `no-such-program` is not on PATH"),
        "{}",
        human.stderr
    );
    assert!(
        human.stderr.contains("2 checks could not run of 3"),
        "{}",
        human.stderr
    );
    let dry = sandbox.run(&["lint", "--dry-run"]).expect(3);
    assert!(
        dry.stderr.contains("2 checks could not run of 3"),
        "{}",
        dry.stderr
    );
}

#[test]
fn a_script_that_is_not_there_or_not_executable_is_an_error() {
    let sandbox = sandbox("", "");
    sandbox.mode("check.sh", 0o644);
    let json = own(&sandbox).expect(3);
    assert_eq!(json.check("own")["verdict"], "error");
    sandbox.remove("check.sh");
    let json = own(&sandbox).expect(3);
    let message = json.check("own")["message"].as_str().expect("message");
    assert!(message.contains("check.sh"), "{message}");
}

#[test]
fn a_program_that_is_a_script_is_run_but_not_stored() {
    let sandbox = Sandbox::with(&[(
        "dagcache.toml",
        "[checks.own]\ncommand = [\"scripted\"]\ntrace = false\n",
    )]);
    sandbox.program("scripted", "#!/bin/sh\necho hi\n");
    for _ in 0..2 {
        let json = own(&sandbox).expect(0);
        let check = json.check("own");
        assert_eq!(check["cache"], "miss");
        assert_eq!(check["stdout"], "hi\n");
        let reason = check["not_stored"].as_str().expect("reason");
        assert!(reason.contains("scripted"), "{reason}");
    }
}

#[test]
fn what_has_no_effect_yet_is_a_warning() {
    let sandbox = sandbox("", "");
    let config = sandbox.read("dagcache.toml");
    sandbox.write(
        "dagcache.toml",
        format!("{config}[remote]\nregistry = \"ghcr.io/acme/dagcache\"\n"),
    );
    let run = sandbox.run(&["lint"]).expect(0);
    assert!(run.stderr.contains("warning"), "{}", run.stderr);
    assert!(run.stderr.contains("registry"), "{}", run.stderr);
}

#[test]
fn files_that_match_nothing_leave_the_check_out_with_a_warning() {
    let sandbox = sandbox("files = [\"nothing/*.h\"]", "exit 9");
    let run = sandbox.run(&["lint"]).expect(0);
    assert!(
        run.stderr.contains("skipping check `own`"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_failure_shows_output_and_how_to_repeat_it() {
    let sandbox = sandbox("", "echo to-stdout; echo to-stderr >&2; exit 4");
    let run = sandbox.run(&["lint"]).expect(1);
    for part in [
        "Failed own, exit code 4",
        "to-stdout",
        "to-stderr",
        "Repeat with cargo dagcache lint --only own",
    ] {
        assert!(run.stderr.contains(part), "{part}\n{}", run.stderr);
    }
    assert_eq!(run.stdout, "");
}

#[test]
fn output_that_is_no_text_and_much_of_it() {
    let sandbox = sandbox(
        "",
        "printf 'a\\377b\\n'; i=0; while [ $i -lt 2000 ]; do echo 0123456789012345678901234567890123456789; i=$((i+1)); done",
    );
    let first = own(&sandbox).expect(0);
    let text = first.check("own")["stdout"]
        .as_str()
        .expect("text")
        .to_owned();
    assert!(text.starts_with("a\u{fffd}b\n0123"), "{}", &text[..20]);
    assert_eq!(text.lines().count(), 2001);
    let second = own(&sandbox).expect(0);
    second.expect_fresh();
    assert_eq!(second.check("own")["stdout"], text.as_str());
}
