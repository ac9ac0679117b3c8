//! A check that wants all of the machine.

use super::room::{said, sandbox, walls};
use crate::support::skip;

#[track_caller]
fn ended_by(limit: &str, value: &str, tools: &str, script: &str) {
    let keys = format!("limits = {{ {limit} = {value} }}\ntools = [{tools}]");
    let sandbox = sandbox(&keys, script);
    let json = sandbox.json(&["lint", "--only", "own"]).expect(3);
    let message = json.check("own")["message"].as_str().unwrap_or_default();
    assert!(message.contains(&format!("`limits.{limit}`")), "{message}");
    assert_eq!(
        sandbox.cached("v1/ac/", ""),
        [""; 0].map(std::path::PathBuf::from)
    );
}

#[test]
fn too_many_processes_end_the_check() {
    if walls() {
        let script = "i=0; while [ $i -lt 300 ]; do sleep 20 & i=$((i+1)); done; wait";
        ended_by("processes", "100", "\"sleep\"", script);
    }
}

#[test]
fn too_much_written_ends_the_check_and_leaves_nothing() {
    let script = "head -c 100000000 /dev/zero > big; sleep 1000";
    ended_by("disk", "\"20MB\"", "\"head\", \"sleep\"", script);
}

#[test]
fn what_is_written_to_deleted_files_counts() {
    if walls() {
        let script = "exec 3> big; rm big; head -c 100000000 /dev/zero >&3; sleep 1000";
        ended_by("disk", "\"20MB\"", "\"head\", \"rm\", \"sleep\"", script);
    }
}

#[test]
fn what_is_written_out_of_sight_counts() {
    if !walls() {
        return;
    }
    if !std::path::Path::new(PYTHON).is_file() {
        return skip("no /usr/bin/python3");
    }
    let before = [
        // A folder whose path is too long for any call.
        "for _ in range(40): os.mkdir(\"d\" * 200); os.chdir(\"d\" * 200)",
        "import ctypes; libc = ctypes.CDLL(None)",
        "import socket; ours, theirs = socket.socketpair()",
    ];
    let keep = [
        "pass",
        "os.unlink(name); libc.mmap(None, 4096, 1, 1, file.fileno(), 0)",
        "os.unlink(name); socket.send_fds(ours, [b\"x\"], [file.fileno()])",
    ];
    for (before, keep) in before.iter().zip(keep) {
        let script = format!(
            "import os, time
{before}
for number in range(30):
    name = str(number)
    with open(name, \"wb+\") as file:
        file.write(bytes(15_000_000))
        file.flush()
        {keep}
time.sleep(30)"
        );
        let script = format!("{PYTHON} -I -c '{script}'");
        ended_by("disk", "\"40MB\"", "", &script);
    }
}

const PYTHON: &str = "/usr/bin/python3";

#[test]
fn whoever_slows_the_launcher_down_is_still_counted() {
    if !walls() {
        return;
    }
    if !std::path::Path::new(PYTHON).is_file() {
        return skip("no /usr/bin/python3");
    }
    let script = "import os, time
for thread in os.listdir(\"/proc/1/task\"):
    os.sched_setscheduler(int(thread), os.SCHED_IDLE, os.sched_param(0))
until = time.monotonic() + 5
for _ in range(150):
    if os.fork() == 0:
        while time.monotonic() < until:
            pass
        os._exit(0)
while time.monotonic() < until:
    pass";
    let script = format!("{PYTHON} -I -c '{script}'");
    ended_by("processes", "100", "", &script);
}

#[test]
fn a_large_file_and_many_open_files_fail_as_the_kernel_says() {
    let keys = "limits = { file-size = \"100kB\", open-files = 17 }\ntools = [\"head\"]";
    let script = "head -c 200000 /dev/zero 2>/dev/null > big || echo refused; ulimit -n";
    assert_eq!(said(&sandbox(keys, script)), "refused\n17\n");
}

#[test]
fn if_memory_runs_out_the_check_is_the_first_to_go() {
    let script = "while read -r score; do echo $score; done < /proc/self/oom_score_adj";
    assert_eq!(said(&sandbox("", script)), "1000\n");
}

#[test]
fn of_too_much_output_the_beginning_and_the_end_are_kept() {
    let keys = "limits = { output = \"1kB\" }\ntools = [\"head\"]";
    let printed = said(&sandbox(
        keys,
        "echo begin; head -c 99999 /dev/zero; echo end",
    ));
    assert!(printed.starts_with("begin\n") && printed.ends_with("end\n"));
    assert!(printed.contains("bytes left out]"), "{}", printed.len());
}

#[test]
fn a_limit_that_is_no_number_or_size_is_named_with_its_place() {
    let sandbox = sandbox("limits = { processes = 0, disk = \"much\", cpu = 1 }", ":");
    let run = sandbox.run(&["lint"]).expect(2);
    for words in [
        "`processes`",
        "`much` is not a size",
        "`cpu`",
        "dagcache.toml:4",
    ] {
        assert!(run.stderr.contains(words), "{words}: {}", run.stderr);
    }
}

#[test]
fn memory_is_bounded_where_the_system_can() {
    if !std::path::Path::new(PYTHON).is_file() {
        return skip("no /usr/bin/python3");
    }
    let keys = "limits = { memory = \"100MB\" }";
    let script = "/usr/bin/python3 -I -c 'print(len(bytearray(400_000_000)))'";
    let sandbox = sandbox(keys, script);
    let json = sandbox.json(&["lint", "--only", "own"]);
    let check = json.check("own");
    if check["verdict"] == "passed" {
        return skip("only root can make a control group here");
    }
    let message = check["message"].as_str().unwrap_or_default();
    assert!(message.contains("`limits.memory`"), "{message}");
}
