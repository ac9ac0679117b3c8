//! A check runs again only for what it used, and always for that.

mod programs;

use std::path::Path;

use crate::support::{Json, Sandbox, skip};

const PYTHON: &str = "/usr/bin/python3";
const LINT: [&str; 3] = ["lint", "--only", "own"];

/// A project with a few files and a check `own` that runs this shell script.
fn sandbox(script: &str) -> Sandbox {
    let sandbox = Sandbox::with(&[
        ("src/a", "one\n"),
        ("src/b", "two\n"),
        ("src/deep/c", "three\n"),
        ("other/x", "x\n"),
        ("README.md", "read me\n"),
    ]);
    let tools = "[\"cat\", \"find\", \"ls\", \"ln\", \"mkdir\", \"mv\", \"rm\", \"cp\", \"sed\", \"wc\", \"grep\"]";
    sandbox.write(
        "dagcache.toml",
        format!("[checks.own]\ncommand = [\"./check.sh\"]\ntools = {tools}\n"),
    );
    sandbox.script("check.sh", script);
    sandbox
}

/// The same, with a script for the system's Python; `None` without one.
fn in_python(script: &str) -> Option<Sandbox> {
    if !Path::new(PYTHON).is_file() {
        skip("no /usr/bin/python3");
        return None;
    }
    Some(sandbox(&format!(
        "exec {PYTHON} -I - <<'END'\n{script}\nEND"
    )))
}

fn lint(sandbox: &Sandbox) -> Json {
    sandbox.json(&LINT)
}

fn said(json: &Json) -> String {
    let text = json.check("own")["stdout"].as_str().expect("text");
    text.to_owned()
}

/// Runs the check for the first time. Whether it is traced; if not, that is said.
fn first(sandbox: &Sandbox) -> bool {
    lint(sandbox).expect(0);
    sandbox.write("unused", "\n");
    let traced = lint(sandbox).expect(0).ran().is_empty();
    sandbox.remove("unused");
    let without = std::env::var("DAGCACHE_WITHOUT").unwrap_or_default();
    assert!(traced || !without.contains("traced"), "it is not traced");
    if !traced && without.is_empty() {
        let doctor = sandbox.run(&["doctor"]);
        assert!(doctor.stderr.contains("not traced"), "{}", doctor.stderr);
        skip("this system does not let programs be traced");
    }
    traced
}

/// Whether the system lets programs be traced.
pub(crate) fn can_be(sandbox: &Sandbox) -> bool {
    let doctor = sandbox.run(&["doctor"]);
    !doctor.stderr.contains("not traced")
}

/// After each edit the check gives what it gives without a cache, and it runs only where that is expected. Every edit is
/// undone.
#[track_caller]
fn check(sandbox: &Sandbox, edits: &[(&str, &str, bool)]) {
    if !first(sandbox) {
        return;
    }
    for (path, text, runs) in edits {
        let place = sandbox.path(path);
        let before = std::fs::read(&place).ok();
        if *text == "-" {
            sandbox.remove(path);
        } else {
            sandbox.write(path, text);
        }
        let json = lint(sandbox);
        assert_eq!(!json.ran().is_empty(), *runs, "{path}: {:?}", json.ran());
        let fresh = sandbox.json(&["lint", "--only", "own", "--no-cache"]);
        assert_eq!(said(&json), said(&fresh), "{path}");
        assert_eq!(
            json.check("own")["verdict"],
            fresh.check("own")["verdict"],
            "{path}"
        );
        match before {
            Some(bytes) => sandbox.write(path, bytes),
            None => sandbox.remove(path),
        }
        assert!(lint(sandbox).ran().is_empty(), "{path} undone");
    }
}

#[test]
fn content_counts_where_it_is_read() {
    let sandbox = sandbox("cat src/a");
    check(
        &sandbox,
        &[
            ("src/a", "1\n", true),
            ("src/a", "-", true),
            ("src/b", "2\n", false),
            ("src/b", "-", false),
            ("src/new", "", false),
            ("other/x", "-", false),
            ("check.sh", "#!/bin/sh\ncat src/b\n", true),
        ],
    );
}

#[test]
fn a_listing_counts_names_and_not_content() {
    let sandbox = sandbox("ls src");
    check(
        &sandbox,
        &[
            ("src/a", "1\n", false),
            ("src/new", "", true),
            ("src/b", "-", true),
            ("src/deep/new", "", false),
            ("other/new", "", false),
        ],
    );
}

#[test]
fn what_is_looked_for_in_vain_counts_when_it_appears() {
    let sandbox = sandbox("[ -e absent/file ] && cat absent/file; [ -e src/none ]; echo done");
    check(
        &sandbox,
        &[
            ("absent/file", "there\n", true),
            ("src/none", "", true),
            ("src/other", "", false),
            ("absent2", "", false),
        ],
    );
}

#[test]
fn sizes_count_where_they_are_asked_for() {
    let sandbox = sandbox("find src -type f -size +3c");
    check(
        &sandbox,
        &[
            ("src/a", "a longer text\n", true),
            ("src/a", "1\n", true),
            ("other/x", "a longer text\n", false),
            ("src/deep/new", "a longer text\n", true),
        ],
    );
}

#[test]
fn what_a_check_makes_is_no_input() {
    let sandbox = sandbox(
        "mkdir out && cat src/a > out/copy && cat out/copy && mv out moved && cat moved/copy\n\
         echo x > temporary && rm temporary",
    );
    check(
        &sandbox,
        &[
            ("src/a", "1\n", true),
            ("src/b", "2\n", false),
            // It is in the way.
            ("out/copy", "", true),
            ("temporary", "", true),
        ],
    );
}

#[test]
fn the_folder_in_which_something_is_made_is_an_input() {
    let sandbox =
        sandbox("echo x > other/made && mkdir src/deep/made && mv src/deep/made src/moved");
    check(
        &sandbox,
        &[
            ("other/x", "-", true),
            ("src/deep/c", "-", true),
            ("src/b", "2\n", false),
        ],
    );
}

#[test]
fn what_is_changed_in_place_is_an_input_first() {
    let sandbox = sandbox("sed -i s/o/0/ src/a; cat src/a; mv src/deep moved; cat moved/c");
    check(
        &sandbox,
        &[
            ("src/a", "ooo\n", true),
            ("src/b", "2\n", false),
            ("src/deep/c", "3\n", true),
            ("src/deep/new", "", true),
        ],
    );
}

#[test]
fn links_count_and_what_they_lead_to() {
    let sandbox = sandbox("cat link; cat folder/c; cat folder/../b");
    for (link, target) in [("link", "src/a"), ("folder", "src/deep")] {
        std::os::unix::fs::symlink(target, sandbox.path(link)).expect("link");
    }
    check(
        &sandbox,
        &[
            ("src/a", "1\n", true),
            ("src/deep/c", "3\n", true),
            ("src/b", "2\n", true),
            ("other/x", "2\n", false),
        ],
    );
    if first(&sandbox) {
        std::fs::remove_file(sandbox.path("link")).expect("link");
        std::os::unix::fs::symlink("src/b", sandbox.path("link")).expect("link");
        let json = lint(&sandbox).expect(0);
        assert_eq!(json.ran(), ["own input-changed link"]);
        assert!(said(&json).starts_with("two\n"));
    }
}

#[test]
fn a_link_that_the_check_makes_leads_to_an_input() {
    let sandbox =
        sandbox("cat l 2>/dev/null; ln -s src/a l; cat l; ln -s \"$PWD/src\" /tmp/s; cat /tmp/s/b");
    check(
        &sandbox,
        &[
            ("src/a", "1\n", true),
            ("src/b", "2\n", true),
            ("src/deep/c", "3\n", false),
        ],
    );
}

#[test]
fn a_folder_that_becomes_a_link_counts_for_what_was_missing_in_it() {
    let sandbox = sandbox("cat src/deep/none 2>/dev/null; echo done");
    if !first(&sandbox) {
        return;
    }
    std::fs::rename(sandbox.path("src/deep"), sandbox.path("src/moved")).expect("rename");
    sandbox.write("src/moved/none", "there\n");
    std::os::unix::fs::symlink("moved", sandbox.path("src/deep")).expect("link");
    assert_eq!(said(&lint(&sandbox).expect(0)), "there\ndone\n");
}

#[test]
fn paths_are_read_as_the_kernel_reads_them() {
    let script = "import os, threading\n\
        src = os.open('src', os.O_RDONLY | os.O_DIRECTORY)\n\
        print(open(os.open('a', os.O_RDONLY, dir_fd=src)).read())\n\
        os.chdir('src/deep')\n\
        print(open('../b').read())\n\
        other = threading.Thread(target=lambda: print(open('/proc/self/cwd/c').read()))\n\
        other.start()\n\
        other.join()\n\
        print(os.stat('/proc/self/fd/%d/../other/x' % src).st_size)\n";
    let Some(sandbox) = in_python(script) else {
        return;
    };
    check(
        &sandbox,
        &[
            ("src/a", "1\n", true),
            ("src/b", "2\n", true),
            ("src/deep/c", "3\n", true),
            ("other/x", "longer\n", true),
            ("README.md", "", false),
        ],
    );
}

#[test]
fn a_descriptor_of_a_path_counts_when_it_is_opened() {
    let script = "import os\n\
        fd = os.open('src/a', os.O_PATH)\n\
        print(open('/proc/self/fd/%d' % fd).read())\n\
        print(os.stat(os.open('src/b', os.O_PATH)).st_mode)\n";
    let Some(sandbox) = in_python(script) else {
        return;
    };
    check(
        &sandbox,
        &[("src/a", "1\n", true), ("src/deep/c", "3\n", false)],
    );
}

#[test]
fn times_are_the_same_in_every_run() {
    let sandbox = sandbox("find src -type f -newer README.md; cat src/a");
    if !first(&sandbox) {
        return;
    }
    sandbox.write("src/a", "1\n");
    assert_eq!(said(&lint(&sandbox).expect(0)), "1\n");
    sandbox.write("src/a", "2\n");
    sandbox.write("README.md", "again\n");
    assert_eq!(said(&lint(&sandbox).expect(0)), "2\n");
}

#[test]
fn times_of_folders_tell_nothing() {
    let sandbox =
        sandbox("[ src -nt other ] && echo newer; [ other -nt src ] && echo older; cat src/a");
    check(
        &sandbox,
        &[
            ("src/new", "", false),
            ("other/new", "", false),
            ("src/a", "1\n", true),
        ],
    );
}

#[test]
fn the_command_itself_counts_even_if_nothing_opens_it() {
    let sandbox = sandbox("");
    sandbox.write("check.sh", "#!/bin/bash --version\n");
    lint(&sandbox).expect(0);
    sandbox.script("check.sh", "exit 1");
    lint(&sandbox).expect(1);
    // Nor does another project get what was learnt here.
    sandbox.write("check.sh", "#!/bin/bash --version\n");
    lint(&sandbox).expect(0);
    let other = sandbox.outer().join("other");
    std::fs::create_dir(&other).expect("folder");
    std::fs::copy(sandbox.path("dagcache.toml"), other.join("dagcache.toml")).expect("copy");
    std::fs::copy(sandbox.path("check.sh"), other.join("check.sh")).expect("copy");
    std::fs::write(other.join("check.sh"), "#!/bin/sh\nexit 1\n").expect("script");
    let mut command = sandbox.command(&["lint", "--only", "own"]);
    command.current_dir(&other);
    crate::support::Run::of(command).expect(1);
}

#[test]
fn interpreters_that_the_kernel_opens_count() {
    let sandbox = sandbox("./tool || echo fallback");
    sandbox.write("tool", "#!./interpreter\n");
    sandbox.mode("tool", 0o755);
    if !first(&sandbox) {
        return;
    }
    assert_eq!(said(&lint(&sandbox)), "fallback\n");
    std::fs::copy("/bin/cat", sandbox.path("interpreter")).expect("copy");
    let json = lint(&sandbox).expect(0);
    assert_eq!(said(&json), "#!./interpreter\n", "{:?}", json.ran());
    sandbox.remove("interpreter");
    std::os::unix::fs::symlink("one", sandbox.path("interpreter")).expect("link");
    std::fs::copy("/bin/cat", sandbox.path("one")).expect("copy");
    std::fs::copy("/bin/true", sandbox.path("two")).expect("copy");
    assert_eq!(said(&lint(&sandbox).expect(0)), "#!./interpreter\n");
    std::fs::remove_file(sandbox.path("interpreter")).expect("link");
    std::os::unix::fs::symlink("two", sandbox.path("interpreter")).expect("link");
    assert_eq!(said(&lint(&sandbox).expect(0)), "");
}

#[test]
fn links_outside_the_tree_lead_to_inputs() {
    let sandbox = sandbox(
        "mkdir /dev/shm/farm; ln -s \"$PWD/src\" /dev/shm/farm/src; read x < /dev/shm/farm/src/a; echo \"$x\"\n\
         [ -e /dev/shm/farm/src/gone ] && echo there\n\
         ln -s /proc/self/cwd here; read x < here/src/b; echo \"$x\"\n\
         read x < //proc/self/cwd/src/deep/c; echo \"$x\"\n\
         read x < /dev/../$PWD/other/x; echo \"$x\"",
    );
    check(
        &sandbox,
        &[
            ("src/a", "1\n", true),
            ("src/gone", "", true),
            ("src/b", "2\n", true),
            ("src/deep/c", "3\n", true),
            ("other/x", "y\n", true),
            ("README.md", "", false),
        ],
    );
}

#[test]
fn a_file_in_the_place_of_a_folder_counts() {
    let sandbox = sandbox("cat src/a/../b 2>/dev/null; echo done");
    if !first(&sandbox) {
        return;
    }
    sandbox.remove("src/a");
    sandbox.write("src/a/x", "");
    assert_eq!(said(&lint(&sandbox).expect(0)), "two\ndone\n");
}

#[test]
fn a_check_cannot_stop_who_watches_it() {
    let sandbox = sandbox("kill -STOP 1; kill -USR1 1; echo fine");
    let config = sandbox.read("dagcache.toml");
    sandbox.write("dagcache.toml", format!("{config}timeout = \"20s\"\n"));
    assert_eq!(said(&lint(&sandbox).expect(0)), "fine\n");
}

#[test]
fn the_reason_names_the_file() {
    let sandbox = sandbox("ls src; cat src/a; [ -e none ]; :");
    if !first(&sandbox) {
        return;
    }
    sandbox.write("src/a", "1\n");
    assert_eq!(lint(&sandbox).ran(), ["own input-changed src/a"]);
    sandbox.write("src/new", "");
    assert_eq!(lint(&sandbox).ran(), ["own input-added src/new"]);
    sandbox.remove("src/new");
    sandbox.write("none", "");
    assert_eq!(lint(&sandbox).ran(), ["own input-added none"]);
}

#[test]
fn a_stopped_process_goes_on_when_it_is_told_to() {
    let sandbox = sandbox(
        "set -m\nsh -c 'kill -STOP $$; cat src/b' & p=$!\n\
         until grep -q '^State:.[tT]' /proc/$p/status; do :; done\nkill -CONT $p\nwait $p\necho end",
    );
    let json = lint(&sandbox).expect(0);
    assert_eq!(said(&json), "two\nend\n");
    check(&sandbox, &[("src/b", "2\n", true), ("src/a", "1\n", false)]);
}

/// Runs a check that no tracer can follow: it passes, and every file counts.
#[track_caller]
fn not_followed(sandbox: &Sandbox, reason: &str) {
    let run = lint(sandbox).expect(0);
    assert_eq!(said(&run), "fine\n");
    let doctor = sandbox.run(&["doctor"]);
    if doctor.stderr.contains("not traced") {
        skip("this system does not let programs be traced");
        return;
    }
    assert!(lint(sandbox).expect(0).ran().is_empty());
    sandbox.write("other/x", "new\n");
    assert_eq!(lint(sandbox).expect(0).ran(), ["own input-changed other/x"]);
    let explained = sandbox.run(&["explain", "own"]).expect(0).stdout;
    assert!(explained.contains(reason), "{explained}");
}

/// Raw system calls from Python.
const CALLS: &str = "import ctypes, os, platform, signal, struct\n\
    libc = ctypes.CDLL(None, use_errno=True)\n\
    x86 = platform.machine() == 'x86_64'\n";

#[test]
fn a_tracer_inside_is_left_alone() {
    // PTRACE_TRACEME
    let script = format!("{CALLS}assert libc.ptrace(0, 0, 0, 0) == 0\nprint('fine')");
    if let Some(sandbox) = in_python(&script) {
        not_followed(&sandbox, "traces processes itself");
    }
}

#[test]
fn a_process_that_escapes_tracing_is_noticed() {
    // CLONE_UNTRACED, as a leak sanitizer does.
    let script = format!(
        "{CALLS}pid = libc.syscall(56 if x86 else 220, 0x800000 | signal.SIGCHLD, 0, 0, 0, 0)\n\
         if pid == 0:\n    open('src/a').read()\n    os._exit(0)\n\
         assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0\nprint('fine')"
    );
    if let Some(sandbox) = in_python(&script) {
        not_followed(&sandbox, "cannot be traced");
    }
}

#[test]
fn a_listener_inside_is_noticed() {
    // SECCOMP_SET_MODE_FILTER with SECCOMP_FILTER_FLAG_NEW_LISTENER and a filter that allows everything.
    let script = format!(
        "{CALLS}code = ctypes.create_string_buffer(struct.pack('HBBI', 6, 0, 0, 0x7fff0000))\n\
         prog = ctypes.create_string_buffer(struct.pack('HxxxxxxP', 1, ctypes.addressof(code)))\n\
         assert libc.syscall(317 if x86 else 277, 1, 8, prog) >= 0, ctypes.get_errno()\nprint('fine')"
    );
    if let Some(sandbox) = in_python(&script) {
        not_followed(&sandbox, "intercepts system calls itself");
    }
}

#[test]
fn real_time_signals_arrive() {
    let script = format!(
        "{CALLS}got = []\nsignal.signal(signal.SIGRTMIN, lambda *a: got.append(1))\n\
         os.kill(os.getpid(), signal.SIGRTMIN)\nassert got\nprint('fine')"
    );
    if let Some(sandbox) = in_python(&script) {
        not_followed(&sandbox, "real-time signals");
    }
}

#[test]
fn a_check_that_fails_only_under_a_tracer_passes() {
    // A stopped process is in another state when it is traced, if anybody asks.
    let sandbox = sandbox(
        "set -m\nsh -c 'kill -STOP $$' & p=$!\n\
         until grep -q '^State:.[tT]' /proc/$p/status; do :; done\n\
         grep -q '^State:.T' /proc/$p/status || exit 1\nkill -CONT $p\nwait $p\necho fine",
    );
    not_followed(&sandbox, "another way when it is traced");
}

#[test]
fn a_failure_is_confirmed_once_and_cached() {
    let sandbox = sandbox("cat src/a; exit 3");
    lint(&sandbox).expect(1);
    assert!(lint(&sandbox).expect(1).ran().is_empty());
    sandbox.write("src/a", "1\n");
    assert_eq!(lint(&sandbox).expect(1).ran(), ["own input-changed src/a"]);
}

#[test]
fn what_was_used_is_shown() {
    let sandbox = sandbox("ls src; cat src/a; [ -e none ]; :");
    if !first(&sandbox) {
        return;
    }
    let text = sandbox.run(&["explain", "own"]).expect(0).stdout;
    for line in [
        "  stored   ",
        "    listed     src\n",
        "    missing    none\n",
        "    read       src/a\n",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(!text.contains("README.md"), "{text}");
    let readers = |file| sandbox.run(&["explain", "--reads", file]).expect(0).stdout;
    assert!(readers("src/a").starts_with("own: reads it, took "));
    assert!(!readers("README.md").contains("own"));
    assert!(readers("none").starts_with("own: looks for it, took "));
}

#[test]
fn an_audit_names_what_only_one_run_used() {
    let script = "x=$(mktemp -u XXXXXXXXXX); [ -e src/$x ]; echo \"src/a:1: warning: $x\"";
    let sandbox = sandbox(script);
    let config = sandbox.read("dagcache.toml");
    sandbox.write("dagcache.toml", config + "findings = \"gcc\"\n");
    if !first(&sandbox) {
        return;
    }
    let json = sandbox.json(&["lint", "--only", "own", "--audit", "100"]);
    let check = json.expect(1);
    let message = check.check("own")["message"].as_str().expect("a message");
    for part in ["Only the new run used ", "Only the cached one used "] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn tracing_can_be_turned_off() {
    let sandbox = sandbox("cat src/a");
    let config = sandbox.read("dagcache.toml");
    for off in [
        format!("{config}trace = false\n"),
        format!("{config}[trace]\nenabled = false\n"),
    ] {
        sandbox.write("dagcache.toml", &off);
        lint(&sandbox).expect(0);
        sandbox.write("other/x", format!("{}", off.len()));
        assert_eq!(
            lint(&sandbox).expect(0).ran(),
            ["own input-changed other/x"]
        );
    }
}

#[test]
fn what_ran_long_ago_is_found_however_many_other_files_were_used_since() {
    let sandbox = sandbox("cat src/[0-9a]*");
    if !first(&sandbox) {
        return;
    }
    for number in 0..20 {
        let name = format!("src/{number}");
        sandbox.write(&name, "\n");
        assert!(!lint(&sandbox).ran().is_empty(), "{number}");
        sandbox.remove(&name);
    }
    sandbox.write("src/0", "\n");
    assert!(lint(&sandbox).ran().is_empty());
}
