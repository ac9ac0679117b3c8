//! `secrets`: seen by the check, by nobody else, and still part of the key.

use crate::support::{Json, Run, Sandbox};

const VALUE: &str = "hunter2-and-more";

fn sandbox(keys: &str, script: &str) -> Sandbox {
    let config =
        format!("[checks.own]\ncommand = [\"./check.sh\"]\nsecrets = [\"TOKEN\"]\n{keys}\n");
    let sandbox = Sandbox::with(&[("src/a", "one\n"), ("dagcache.toml", &config)]);
    sandbox.script("check.sh", script);
    sandbox
}

fn own(sandbox: &Sandbox, variables: &[(&str, &str)]) -> Json {
    let mut command = sandbox.command(&["lint", "--only", "own", "--message-format", "json"]);
    command.envs(variables.iter().copied());
    Json::of(Run::of(command))
}

/// No file of the store holds it, whatever the file is for.
#[track_caller]
fn nowhere_in_the_store(sandbox: &Sandbox, value: &str) {
    let holds = |path: &std::path::PathBuf| {
        let bytes = std::fs::read(path).unwrap_or_default();
        bytes
            .windows(value.len())
            .any(|window| window == value.as_bytes())
    };
    let files = sandbox.cached("", "");
    assert!(!files.is_empty());
    let found: Vec<_> = files.iter().filter(|path| holds(path)).collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn the_check_sees_it_and_nobody_else() {
    let script = "[ \"$TOKEN\" = hunter2-and-more ] || exit 9
        echo \"to stdout: $TOKEN\"; echo \"src/a:1: error: bad $TOKEN [$TOKEN]\" >&2; exit 1";
    let sandbox = sandbox("findings = \"gcc\"", script);
    for _ in 0..2 {
        let json = own(&sandbox, &[("TOKEN", VALUE)]).expect(1);
        let check = json.check("own");
        assert_eq!(check["stdout"], "to stdout: ***\n");
        assert_eq!(check["findings"][0]["message"], "bad ***");
        assert!(!json.run.stdout.contains(VALUE), "{}", json.run.stdout);
    }
    nowhere_in_the_store(&sandbox, VALUE);
}

#[test]
fn nothing_that_a_check_leaves_in_its_room_stays() {
    let script = "echo \"$TOKEN\" > left; echo \"$TOKEN\" > \"$HOME/.netrc\"; echo \"$TOKEN\" > \"$TMPDIR/x\"";
    let sandbox = sandbox("", script);
    own(&sandbox, &[("TOKEN", VALUE)]).expect(0);
    nowhere_in_the_store(&sandbox, VALUE);
    own(&sandbox, &[("TOKEN", VALUE)]).expect(0).expect_fresh();
}

#[test]
fn an_output_that_holds_it_is_neither_stored_nor_written() {
    let sandbox = sandbox("outputs = [\"out.txt\"]", "echo \"x=$TOKEN\" > out.txt");
    for _ in 0..2 {
        let json = own(&sandbox, &[("TOKEN", VALUE)]).expect(0);
        let reason = json.check("own")["not_stored"].as_str().expect("a reason");
        assert!(reason.contains("the value of a secret"), "{reason}");
        assert!(!sandbox.path("out.txt").exists());
    }
    nowhere_in_the_store(&sandbox, VALUE);
}

#[test]
fn an_output_that_is_named_by_it_is_neither_stored_nor_written() {
    let sandbox = sandbox("outputs = [\"out/*\"]", "echo x > \"out/$TOKEN\"");
    let json = own(&sandbox, &[("TOKEN", VALUE)]).expect(0);
    let reason = json.check("own")["not_stored"].as_str().expect("a reason");
    assert!(reason.contains("out/*** contains the value"), "{reason}");
    assert!(!sandbox.path("out").exists());
    nowhere_in_the_store(&sandbox, VALUE);
}

#[test]
fn another_value_is_another_key_and_unset_differs_from_empty() {
    let sandbox = sandbox("", "echo \"${#TOKEN}\"");
    let dirty = |variables: &[(&str, &str)]| own(&sandbox, variables).expect(0).ran();
    own(&sandbox, &[("TOKEN", VALUE)]).expect(0);
    assert_eq!(
        dirty(&[("TOKEN", "another-value")]),
        ["own env-changed TOKEN"]
    );
    assert_eq!(dirty(&[]), ["own env-changed TOKEN"]);
    assert_eq!(dirty(&[("TOKEN", "")]), ["own env-changed TOKEN"]);
    assert_eq!(dirty(&[("TOKEN", VALUE)]), [""; 0]);
    nowhere_in_the_store(&sandbox, VALUE);
}

#[test]
fn a_key_of_the_team_makes_keys_that_others_have_too() {
    let key = |sandbox: &Sandbox, team: Option<&str>| {
        let mut variables = vec![("TOKEN", VALUE)];
        variables.extend(team.map(|team| ("DAGCACHE_TEAM_KEY", team)));
        let json = own(sandbox, &variables).expect(0);
        json.check("own")["key"].to_string()
    };
    let (here, there) = (sandbox("", ""), sandbox("", ""));
    assert_ne!(key(&here, None), key(&there, None));
    let team = Some("a key that only the team has");
    assert_eq!(key(&here, team), key(&there, team));
    assert_ne!(
        key(&here, team),
        key(&here, Some("the key of another team"))
    );
    nowhere_in_the_store(&here, "a key that only the team has");
}

#[test]
fn without_a_key_of_the_team_the_result_is_marked_as_of_this_machine() {
    let marked = |team: &str| {
        let sandbox = sandbox("", "");
        own(&sandbox, &[("TOKEN", VALUE), ("DAGCACHE_TEAM_KEY", team)]).expect(0);
        let entry = std::fs::read_to_string(&sandbox.cached("v1/ac", "")[0]).expect("entry");
        entry.contains("\"local_only\":true")
    };
    assert!(marked(""));
    assert!(!marked("a key that only the team has"));
}

#[test]
fn a_value_of_several_lines_is_masked_line_by_line() {
    let sandbox = sandbox("", "for word in $TOKEN; do echo \"<$word>\"; done");
    let json = own(&sandbox, &[("TOKEN", "first-line\nsecond-line\n")]).expect(0);
    assert_eq!(json.check("own")["stdout"], "<***>\n<***>\n");
    nowhere_in_the_store(&sandbox, "second-line");
}

#[test]
fn parts_say_nothing_either() {
    let keys = "files = [\"src/*\"]\nper-file = true";
    let sandbox = sandbox(keys, "echo \"$1 $TOKEN\"");
    for _ in 0..2 {
        let json = own(&sandbox, &[("TOKEN", VALUE)]).expect(0);
        assert_eq!(json.check("own")["stdout"], "src/a ***\n");
    }
    nowhere_in_the_store(&sandbox, VALUE);
}

#[test]
fn a_value_too_short_to_be_masked_is_an_error_that_does_not_tell_it() {
    let sandbox = sandbox("", "");
    let json = own(&sandbox, &[("TOKEN", "qzx")]).expect(3);
    let message = json.check("own")["message"].as_str().expect("message");
    assert!(
        message.contains("TOKEN") && !message.contains("qzx"),
        "{message}"
    );
}

#[test]
fn a_team_key_that_could_be_guessed_is_refused() {
    let sandbox = sandbox("", "");
    let json = own(
        &sandbox,
        &[("TOKEN", VALUE), ("DAGCACHE_TEAM_KEY", "short")],
    )
    .expect(2);
    assert!(
        json.run.stderr.contains("DAGCACHE_TEAM_KEY"),
        "{}",
        json.run.stderr
    );
}

#[test]
fn a_name_is_plain_or_secret() {
    for keys in ["env = [\"TOKEN\"]", "set-env = { TOKEN = \"x\" }"] {
        let run = sandbox(keys, "").run(&["lint"]).expect(2);
        assert!(run.stderr.contains("`TOKEN` is both in "), "{}", run.stderr);
    }
}
