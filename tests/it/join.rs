//! Two processes that miss the same key run it once.

use std::io::{BufRead as _, BufReader, Read as _};

use crate::support::{Json, Run, Sandbox, open_gate};

#[test]
fn the_second_waits_and_replays() {
    let config =
        "[checks.own]\ncommand = [\"./check.sh\"]\ntools = [\"mkfifo\"]\ntimeout = \"60s\"\n";
    let sandbox = Sandbox::with(&[("dagcache.toml", config)]);
    sandbox.script("check.sh", "mkfifo gate; read line < gate; echo \"$line\"");
    let first = sandbox.start(&["lint", "--message-format", "json"]);
    let gate = sandbox.gate();

    let mut second = sandbox.start(&["lint", "-v"]);
    let mut stderr = BufReader::new(second.stderr.take().expect("stderr"));
    let mut said = String::new();
    // Once it says so, it has missed.
    while !said.contains("Dirty own") {
        assert_ne!(stderr.read_line(&mut said).expect("line"), 0, "{said}");
    }
    open_gate(&gate);
    let first = Json::of(Run::end_of(first)).expect(0);
    assert_eq!(first.check("own")["cache"], "miss");
    while second.try_wait().expect("second").is_none() {
        let also = sandbox.gate_now();
        if also.is_some() {
            second.kill().expect("kill");
        }
        assert_eq!(also, None, "the second ran the check as well");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    stderr.read_to_string(&mut said).expect("rest");
    assert_eq!(second.wait().expect("end").code(), Some(0), "{said}");
    assert!(said.contains("Fresh own (joined another run)"), "{said}");

    // A run record counts it as a hit.
    let status = sandbox
        .run(&["cache", "status", "--message-format", "json"])
        .expect(0);
    let status: serde_json::Value = serde_json::from_str(&status.stdout).expect("JSON");
    assert_eq!((&status["hits"], &status["misses"]), (&1.into(), &1.into()));
}
