//! What a check tries from inside its room.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{Run, Sandbox, binary, skip};

const PYTHON: &str = "/usr/bin/python3";

/// A project whose check `own` runs this script.
pub(super) fn sandbox(keys: &str, script: &str) -> Sandbox {
    let sandbox = Sandbox::with(&[("src/a", "one\n")]);
    let config =
        format!("[checks.own]\ncommand = [\"./check.sh\"]\ninputs = [\"src/**\"]\n{keys}\n");
    sandbox.write("dagcache.toml", config);
    sandbox.script("check.sh", script);
    sandbox
}

/// What the check printed.
#[track_caller]
pub(super) fn said(sandbox: &Sandbox) -> String {
    let json = sandbox.json(&["lint", "--only", "own"]).expect(0);
    let text = json.check("own")["stdout"].as_str().expect("text");
    text.to_owned()
}

/// Whether this machine gives every wall; if not, that is said.
pub(super) fn walls() -> bool {
    let run = sandbox("", ":").run(&["lint", "-v"]).expect(0);
    let all =
        std::env::var("DAGCACHE_WITHOUT").is_ok() || !run.stderr.contains("not fully confined");
    if !all {
        skip("this system does not give every wall");
    }
    all
}

fn python() -> bool {
    let found = Path::new(PYTHON).is_file();
    if !found {
        skip("no /usr/bin/python3");
    }
    found
}

/// Runs a Python script as the check.
#[track_caller]
fn in_python(script: &str) -> String {
    said(&sandbox(
        "",
        &format!("{PYTHON} -I - <<'END'\n{script}\nEND"),
    ))
}

/// A process of the user that is no check.
struct Other(std::process::Child);

impl Other {
    fn start() -> Self {
        Self(Command::new("sleep").arg("1000").spawn().expect("sleep"))
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn other_processes_cannot_be_seen_limited_or_signalled() {
    if !walls() || !python() {
        return;
    }
    let other = Other::start();
    let limits = format!("/proc/{}/limits", other.0.id());
    let before = std::fs::read_to_string(&limits).expect("limits");
    let printed = in_python(&format!(
        "import os, resource
target = {}
def attempt(act):
    try:
        act()
        print('reached')
    except (ProcessLookupError, FileNotFoundError, PermissionError):
        print('absent')
attempt(lambda: resource.prlimit(target, resource.RLIMIT_NOFILE, (0, 0)))
attempt(lambda: os.kill(target, 0))
attempt(lambda: os.sched_setaffinity(target, [0]))
attempt(lambda: os.setpriority(os.PRIO_PROCESS, target, 19))
attempt(lambda: os.listdir(f'/proc/{{target}}'))",
        other.0.id()
    ));
    assert_eq!(printed, "absent\n".repeat(5));
    assert_eq!(std::fs::read_to_string(&limits).expect("limits"), before);
}

#[test]
fn host_name_shared_memory_and_process_ids_are_its_own() {
    if !walls() {
        return;
    }
    let script = "for kind in ipc uts pid mnt user net; do readlink /proc/self/ns/$kind; done
        hostname; echo $$";
    let printed = said(&sandbox("tools = [\"readlink\", \"hostname\"]", script));
    for kind in ["ipc", "uts", "pid", "mnt"] {
        let ours = std::fs::read_link(format!("/proc/self/ns/{kind}")).expect("a namespace");
        assert!(!printed.contains(&*ours.to_string_lossy()), "{printed}");
    }
    assert!(printed.contains("\ndagcache\n"), "{printed}");
}

/// Whether a process with this argument exists.
fn runs(mark: &str) -> bool {
    let all = std::fs::read_dir("/proc").expect("processes").flatten();
    let mut lines = all.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.any(|line| {
        line.split(|byte| *byte == 0)
            .any(|word| word == mark.as_bytes())
    })
}

/// An argument for `sleep` that no other process has.
fn mark(sandbox: &Sandbox) -> String {
    let name = sandbox.outer().file_name().expect("a name");
    let digest = dagcache::for_tests::Digest::of(name.as_encoded_bytes());
    let number = u32::from_str_radix(&digest.to_string()[..6], 16).expect("hexadecimal");
    format!("1000.{number}")
}

#[test]
fn what_a_check_leaves_running_ends_with_it() {
    let sandbox = sandbox("tools = [\"setsid\", \"sleep\"]", "");
    let mark = mark(&sandbox);
    sandbox.script(
        "check.sh",
        &format!("setsid sleep {mark} >/dev/null 2>&1 & setsid sleep {mark} >/dev/null 2>&1 &"),
    );
    sandbox.run(&["lint", "--only", "own"]).expect(0);
    assert!(!runs(&mark));
}

#[test]
fn a_check_ends_with_the_program_even_if_that_is_killed() {
    let sandbox = sandbox("tools = [\"setsid\", \"sleep\"]", "");
    let mark = mark(&sandbox);
    sandbox.script(
        "check.sh",
        &format!("trap '' TERM HUP; setsid sleep {mark}"),
    );
    let mut child = sandbox.start(&["lint", "--only", "own"]);
    let until = |wanted: bool| {
        let start = std::time::Instant::now();
        while runs(&mark) != wanted {
            assert!(start.elapsed().as_secs() < 60, "{wanted}");
            std::thread::yield_now();
        }
    };
    until(true);
    child.kill().expect("killed");
    child.wait().expect("ended");
    until(false);
}

#[test]
fn the_users_terminal_is_out_of_reach() {
    if !walls() || !python() {
        return;
    }
    let sandbox = sandbox(
        "",
        "if (: < /dev/tty) 2>/dev/null; then echo reached; else echo none; fi",
    );
    // The program has a terminal.
    let line = "import os, pty, sys
status = pty.spawn(sys.argv[1:], lambda fd: os.read(fd, 4096))
sys.exit(os.waitstatus_to_exitcode(status))";
    let mut command = sandbox.command(&[]);
    let env: Vec<_> = command
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect();
    command = Command::new(PYTHON);
    command
        .args(["-I", "-c", line])
        .arg(binary())
        .args(["dagcache", "lint", "--only", "own", "-v"])
        .current_dir(sandbox.project())
        .stdin(Stdio::null())
        .envs(env);
    let run = Run::of(command).expect(0);
    // Both streams are the terminal.
    assert!(run.stdout.contains("none"), "{}", run.stdout);
}

#[test]
fn system_calls_that_lead_around_the_walls_are_refused() {
    if !walls() || !python() {
        return;
    }
    let printed = in_python(
        "import ctypes, errno, fcntl, os, pty, socket
libc = ctypes.CDLL(None, use_errno=True)
def name(result): return 'done' if result >= 0 else errno.errorcode[ctypes.get_errno()]
for family in (40, 38, 17):
    try:
        socket.socket(family, socket.SOCK_DGRAM)
        print(family, 'opened')
    except OSError as error:
        print(family, errno.errorcode[error.errno])
number = {'x86_64': {'uring': 425, 'fault': 323, 'handle': 304, 'bpf': 321, 'key': 250},
          'aarch64': {'uring': 425, 'fault': 282, 'handle': 265, 'bpf': 280, 'key': 219}}[os.uname().machine]
for call in ('uring', 'fault', 'handle', 'bpf', 'key'):
    print(call, name(libc.syscall(number[call], 0, 0, 0, 0, 0)))
print('user', name(libc.unshare(0x10000000)))
print('mount', name(libc.mount(b'none', b'/tmp', b'tmpfs', 0, None)))
main, side = pty.openpty()
try:
    fcntl.ioctl(side, 0x5412, b'x')
    print('typed')
except OSError as error:
    print('type', errno.errorcode[error.errno])",
    );
    let expected = "40 EAFNOSUPPORT\n38 EAFNOSUPPORT\n17 EAFNOSUPPORT\n\
                    uring ENOSYS\nfault ENOSYS\nhandle EPERM\nbpf EPERM\nkey ENOSYS\n\
                    user EPERM\nmount EPERM\ntype EPERM\n";
    assert_eq!(printed, expected);
}

#[test]
fn no_capability_is_left() {
    if !walls() {
        return;
    }
    let script = "while read name value; do case $name in Cap*|NoNewPrivs:) echo $name $value;; \
                  esac; done < /proc/self/status";
    let printed = said(&sandbox("", script));
    let none = "0".repeat(16);
    let expected: String = ["Inh", "Prm", "Eff", "Bnd", "Amb"]
        .map(|set| format!("Cap{set}: {none}\n"))
        .concat();
    assert_eq!(printed, format!("{expected}NoNewPrivs: 1\n"));
}

#[test]
fn files_the_user_has_open_are_not_passed_on() {
    let sandbox = sandbox("tools = [\"cat\"]", "cat <&7 2>/dev/null; echo end");
    sandbox.write("secret", "hidden\n");
    let run = sandbox.command(&["lint", "--only", "own", "-v"]);
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", "exec 7<secret; exec \"$@\"", "sh"])
        .arg(run.get_program())
        .args(run.get_args())
        .current_dir(sandbox.project());
    for (name, value) in run.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let run = Run::of(command).expect(0);
    let all = run.stdout + &run.stderr;
    assert!(all.contains("end"), "{all}");
    assert!(!all.contains("hidden"), "{all}");
}

#[test]
fn nothing_outside_the_room_can_be_changed_not_even_modes_and_times() {
    if !walls() {
        return;
    }
    let sandbox = sandbox(
        "tools = [\"tool\", \"chmod\", \"touch\", \"readlink\", \"mkdir\"]",
        "tool=$(readlink -f \"$(command -v tool)\")
        chmod 777 \"$tool\" && echo mode
        touch -d 2001-01-01 \"$tool\" && echo time
        mkdir /usr/dagcache-test && echo folder
        touch /tmp/a /var/tmp/a \"$TMPDIR/a\" \"$HOME/a\" a && chmod 700 a && echo own",
    );
    sandbox.tool("tool", "whole");
    let program = sandbox.outer().join("bin/tool");
    let stat = || {
        let meta = std::fs::metadata(&program).expect("the program");
        (meta.permissions().mode(), meta.modified().expect("a time"))
    };
    let before = stat();
    assert_eq!(said(&sandbox), "own\n");
    assert_eq!(stat(), before);
}

#[test]
fn what_only_root_may_read_of_the_system_is_not_readable() {
    let sandbox = sandbox(
        "tools = [\"cat\"]",
        "cat /etc/shadow 2>/dev/null && echo read; cat /etc/hostname",
    );
    if walls() {
        assert_eq!(said(&sandbox), "dagcache\n");
    }
}

#[test]
fn sockets_of_the_user_are_out_of_reach() {
    if !walls() || !python() {
        return;
    }
    let sandbox = sandbox("", "");
    let beside = sandbox.outer().join("socket");
    let inside = sandbox.home().join("socket");
    let _listening = [&beside, &inside].map(|path| UnixListener::bind(path).expect("a socket"));
    let script = format!(
        "{PYTHON} -I - <<'END'
import socket
for path in ({beside:?}, {inside:?}, '\\0dagcache-test'):
    try:
        socket.socket(socket.AF_UNIX).connect(path)
        print('connected')
    except OSError as error:
        print('refused')
END"
    );
    sandbox.script("check.sh", &script);
    assert_eq!(said(&sandbox), "refused\n".repeat(3));
}

#[test]
fn the_lock_of_its_room_is_not_in_its_hands() {
    if !python() {
        return;
    }
    let printed = in_python(
        "import fcntl
freed = []
for fd in range(3, 1024):
    try:
        fcntl.flock(fd, fcntl.LOCK_UN)
        freed.append(fd)
    except OSError:
        pass
print(freed)",
    );
    assert_eq!(printed, "[]\n");
}

#[test]
fn memory_is_written_to_no_core_dump() {
    if walls() && python() {
        let printed = in_python("import resource\nprint(resource.getrlimit(resource.RLIMIT_CORE))");
        assert_eq!(printed, "(1, 1)\n");
    }
}

#[test]
fn the_launcher_in_its_namespace_survives_its_signals() {
    if !walls() {
        return;
    }
    // All at once, and early: in two of three runs that ended it.
    let script = "while read -r name mask; do
            case $name in SigBlk:) echo $mask; esac
        done < /proc/self/status
        signals=; signal=1
        while [ $signal -le 64 ]; do signals=\"$signals $signal\"; signal=$((signal+1)); done
        for signal in $signals; do kill -$signal 1 2>/dev/null; done";
    for round in 0..5 {
        let sandbox = sandbox("trace = false", &format!("{script} # {round}\ntrue"));
        assert_eq!(said(&sandbox), "0000000000000000\n");
    }
}
