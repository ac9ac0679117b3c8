//! `cache status` and `cache clear`.

use crate::support::Sandbox;

fn sandbox() -> Sandbox {
    let config = "[checks.own]\ncommand = [\"./ok.sh\"]\ninputs = []\ntrace = false\n[checks.other]\ncommand = [\"./ok.sh\"]\ninputs = [\"a.yaml\"]\ntrace = false\n";
    let sandbox = Sandbox::with(&[("dagcache.toml", config), ("a.yaml", "a: 1\n")]);
    sandbox.script("ok.sh", "");
    sandbox.json(&["lint"]).expect(0);
    sandbox
}

#[test]
fn status_counts_runs_hits_and_reasons() {
    let sandbox = sandbox();
    sandbox.json(&["lint"]).expect(0).expect_fresh();
    sandbox.write("a.yaml", "a: 2\n");
    sandbox.json(&["lint"]).expect(0);
    let run = sandbox
        .run(&["cache", "status", "--message-format", "json"])
        .expect(0);
    let status: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
    for (name, expect) in [("runs", 3), ("checks", 9), ("hits", 4), ("misses", 5)] {
        assert_eq!(status[name], expect, "{name}");
    }
    assert_eq!(
        status["miss_reasons"],
        serde_json::json!({ "new": 3, "input-changed": 2 })
    );
    assert_eq!(status["by_check"]["own"]["hits"], 2);
    assert!(status["size"]["total"]["bytes"].as_u64() > Some(0));
    let text = sandbox.run(&["cache", "status"]).expect(0).stdout;
    for part in [
        "44.4 % (4 of 9 checks)",
        "new 3, input-changed 2",
        "feedback time",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let text = sandbox
        .run(&["cache", "status", "--since", "1ms"])
        .expect(0)
        .stdout;
    assert!(text.contains("0 runs"), "{text}");
}

#[test]
fn clearing_everything_makes_everything_miss() {
    let sandbox = sandbox();
    sandbox.run(&["cache", "clear"]).expect(0);
    let json = sandbox.json(&["lint"]).expect(0);
    assert_eq!(json.finished()["hits"], 0);
    sandbox.json(&["lint"]).expect(0).expect_fresh();
}

#[test]
fn clearing_a_check_makes_exactly_that_one_miss() {
    let sandbox = sandbox();
    sandbox.run(&["cache", "clear", "own"]).expect(0);
    assert_eq!(sandbox.json(&["lint"]).expect(0).ran(), ["own evicted"]);
    sandbox.run(&["cache", "clear", "yaml:syntax"]).expect(0);
    let json = sandbox.json(&["lint"]).expect(0);
    assert_eq!(json.ran(), ["yaml:syntax evicted"]);
    assert_eq!(json.check("yaml:syntax")["parts"]["ran"], 1);
}

#[test]
fn clearing_what_is_not_there_is_a_mistake() {
    let run = sandbox().run(&["cache", "clear", "onw"]).expect(2);
    assert!(run.stderr.contains("own"), "{}", run.stderr);
}

#[test]
fn clearing_follows_no_link_and_touches_nothing_foreign() {
    let sandbox = sandbox();
    let precious = sandbox.outer().join("precious");
    std::fs::create_dir(&precious).expect("folder");
    std::fs::write(precious.join("file"), "precious").expect("file");
    for place in ["v1/rooms/link", "v1/ac/link", "v1/layers", "foreign"] {
        let place = sandbox.cache().join(place);
        if !place.exists() {
            std::fs::create_dir_all(place.parent().expect("folder")).expect("folders");
            std::os::unix::fs::symlink(&precious, &place).expect("link");
        }
    }
    std::fs::write(sandbox.cache().join("mine.txt"), "mine").expect("file");
    sandbox.run(&["cache", "clear"]).expect(0);
    assert_eq!(
        std::fs::read_to_string(precious.join("file")).expect("kept"),
        "precious"
    );
    assert!(sandbox.cache().join("mine.txt").exists());
}
