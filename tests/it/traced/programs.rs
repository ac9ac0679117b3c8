//! What a traced check starts: programs that nobody declared, and what lies around them.

use crate::support::Sandbox;

use super::{can_be, first, lint, said, sandbox};

/// A program of the user's; it is called as a shell is.
const CALL: &str = "mytool -c 'echo from my tool'";

/// A check that runs this script, and a program `mytool`. `None` if nothing is traced here.
fn with_tool(script: &str) -> Option<Sandbox> {
    let sandbox = sandbox(script);
    sandbox.tool("mytool", "one");
    first(&sandbox).then_some(sandbox)
}

#[test]
fn the_programs_of_the_system_need_not_be_declared() {
    let sandbox = sandbox("sort src/a | tr a-z A-Z | head -n 1; uname > /dev/null");
    sandbox.write(
        "dagcache.toml",
        "[checks.own]\ncommand = [\"./check.sh\"]\n",
    );
    if !first(&sandbox) {
        return;
    }
    let json = lint(&sandbox).expect(0);
    json.expect_fresh();
    assert_eq!(said(&json), "ONE\n");
    sandbox.write("src/a", "c\n");
    assert_eq!(said(&lint(&sandbox)), "C\n");
}

#[test]
fn a_program_of_the_user_counts_by_its_content() {
    let Some(sandbox) = with_tool(CALL) else {
        return;
    };
    assert_eq!(said(&lint(&sandbox)), "from my tool\n");
    sandbox.tool("mytool", "two");
    assert_eq!(lint(&sandbox).expect(0).ran(), ["own tool-changed mytool"]);
    lint(&sandbox).expect_fresh();
    std::fs::remove_file(sandbox.outer().join("bin/mytool")).expect("removed");
    assert_eq!(lint(&sandbox).expect(1).ran(), ["own tool-changed mytool"]);
    lint(&sandbox).expect(1).expect_fresh();
    sandbox.tool("mytool", "one");
    lint(&sandbox).expect(0).expect_fresh();
}

#[test]
fn a_program_that_was_looked_for_in_vain_counts_when_it_appears() {
    let sandbox = sandbox("command -v mytool > /dev/null && exit 1; exit 0");
    if !first(&sandbox) {
        return;
    }
    sandbox.tool("othertool", "one");
    lint(&sandbox).expect(0).expect_fresh();
    sandbox.tool("mytool", "one");
    assert_eq!(lint(&sandbox).expect(1).ran(), ["own tool-changed mytool"]);
}

#[test]
fn a_program_of_the_user_comes_before_one_of_the_system() {
    let sandbox = sandbox("uname -c 'echo mine' || exit 1");
    sandbox.tool("uname", "one");
    assert_eq!(said(&lint(&sandbox).expect(0)), "mine\n");
    if first(&sandbox) {
        std::fs::remove_file(sandbox.outer().join("bin/uname")).expect("removed");
        assert_eq!(lint(&sandbox).expect(1).ran(), ["own tool-changed uname"]);
    }
}

#[test]
fn a_script_of_the_user_counts_with_what_it_reads() {
    let sandbox = sandbox("mytool");
    let lib = sandbox.outer().join("lib");
    std::fs::create_dir_all(&lib).expect("folder");
    let write = |name: &str, text: &str| std::fs::write(lib.join(name), text).expect("file");
    write("words", "hello\n");
    write("unread", "1\n");
    sandbox.program(
        "mytool",
        &format!(
            "#!/bin/sh\nread -r word < {}/words; othertool -c \"echo $word\"\n",
            lib.display()
        ),
    );
    sandbox.tool("othertool", "one");
    if !first(&sandbox) {
        return;
    }
    assert_eq!(said(&lint(&sandbox)), "hello\n");
    write("unread", "2\n");
    lint(&sandbox).expect_fresh();
    write("words", "again\n");
    let json = lint(&sandbox).expect(0);
    assert_eq!((json.ran().len(), &*said(&json)), (1, "again\n"));
    sandbox.tool("othertool", "two");
    assert_eq!(lint(&sandbox).ran(), ["own tool-changed othertool"]);
}

#[test]
fn a_copy_of_the_project_has_the_result() {
    let Some(sandbox) = with_tool(CALL) else {
        return;
    };
    let copy = sandbox.outer().join("copy");
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .args([sandbox.project(), copy.clone()])
        .status();
    assert!(copied.expect("cp").success());
    let mut command = sandbox.command(&["lint", "--only", "own", "--message-format", "json"]);
    command.current_dir(copy);
    let output = command.output().expect("run");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("\"cache\":\"hit\""), "{text}");
}

#[test]
fn a_check_that_lists_its_programs_is_not_traced() {
    let sandbox = sandbox("for program in ${PATH%%:*}/*; do :; done");
    lint(&sandbox).expect(0);
    let text = sandbox.run(&["explain", "own"]).stdout;
    let words = "lists the programs on its PATH";
    assert!(!can_be(&sandbox) || text.contains(words), "{text}");
}

#[test]
fn a_command_that_is_a_script_of_the_user_is_stored() {
    let sandbox = sandbox("");
    sandbox.write("dagcache.toml", "[checks.own]\ncommand = [\"scripted\"]\n");
    sandbox.program("scripted", "#!/bin/sh\ncat src/a\n");
    if !first(&sandbox) {
        return;
    }
    lint(&sandbox).expect_fresh();
    sandbox.program("scripted", "#!/bin/sh\ncat src/b\n");
    let json = lint(&sandbox).expect(0);
    assert_eq!((json.ran().len(), &*said(&json)), (1, "two\n"));
}
