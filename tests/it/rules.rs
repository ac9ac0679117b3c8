//! Each rule that keeps verdicts true has a test that fails when the rule is turned off: no test is there for show.

use std::process::Command;

use dagcache::rule::Rule;

/// (rule, a test that fails without it). A rule may have several lines.
const RULES: &[(&str, &str)] = &[(
    "change-time",
    "misses::an_edit_of_the_same_size_with_kept_mtime",
)];

#[test]
fn every_rule_has_a_test() {
    for rule in Rule::ALL {
        let tested = RULES.iter().any(|(name, _)| *name == rule.name());
        assert!(tested, "no test is named for the rule {}", rule.name());
    }
    for (name, test) in RULES {
        let known = Rule::ALL.iter().any(|rule| rule.name() == *name);
        assert!(known, "{test} is named for {name}, which is no rule");
    }
}

#[test]
fn every_test_of_a_rule_fails_without_it() {
    if !crate::support::has_switches() {
        return crate::support::skip("the program was built without debug assertions");
    }
    let broken: Vec<String> = RULES
        .iter()
        .filter_map(|(rule, test)| stands(rule, test))
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// What is wrong with a line of the table.
fn stands(rule: &str, test: &str) -> Option<String> {
    let this = std::env::current_exe().expect("the path of the tests");
    let run = Command::new(this)
        .args(["--exact", test, "--test-threads", "1"])
        .env("DAGCACHE_WITHOUT", rule)
        .output()
        .expect("the tests run");
    let said = String::from_utf8_lossy(&run.stdout);
    if said.contains("test result: FAILED. 0 passed; 1 failed") {
        return None;
    }
    Some(format!(
        "{test} does not fail without the rule {rule}:\n{said}"
    ))
}
