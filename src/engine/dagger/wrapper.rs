//! The script that runs a command in a container, for any POSIX `sh`.
//!
//! It writes exit code, output, nonce and duration to files, and exits with 0 if the engine may cache the run: for
//! exit codes below 128 and above 191. If nothing must be cached (missing program, time limit, signal), it exits with
//! another code, which the engine reports and does not cache: the command's own exit codes for these would be cached
//! as failed checks.

use std::time::Duration;

use super::kept::{CHANGED, END};
use crate::process::quoted;
use crate::rule::Rule;

/// A command's files in its container. Not in its place, which may be a volume and thus cannot be exported.
pub(super) const OUT: &str = "/opt/dagcache/.out";

/// The variable that tells one run from another, before a mark. Its value is in no key of the engine. An engine keeps
/// such values for each session by name, and the last one counts: what may run at once needs a name each.
pub(super) const NONCE: &str = "DAGCACHE_RUN_";

/// The variable that holds the time limit in seconds, before a mark. As [`NONCE`].
pub(super) const LIMIT: &str = "DAGCACHE_LIMIT_";

/// Changes when the engine must not answer from its cache.
pub(super) const AGAIN: &str = "DAGCACHE_AGAIN";

/// The file that says that [`Wrapped::lacking`] was not listed.
pub(super) const UNLISTED: &str = "unlisted";

/// Tells by its access time whether a folder was listed, where a folder in it shows that this works.
const LISTING: &str = r#"
mark() { TZ=UTC0 touch -a -d '1970-01-01 00:00:01' "$1"; }
is_marked() { [ "$(stat -c %X "$1")" = 1 ]; }
watch() {
    probe=$1/.dagcache-probe; seen=no
    mkdir "$probe" && mark "$probe" && is_marked "$probe" && {
        for name in "$probe"/*; do :; done
        is_marked "$probe" || seen=yes
    }
    rmdir "$probe"; mark "$1"
}
"#;

/// Exit codes of the script itself.
pub(super) mod exit {
    /// The program does not exist or cannot be started. Its name is on standard error.
    pub(crate) const MISSING: i32 = 121;
    /// An earlier command failed. The last line of standard error has its number and exit code.
    pub(crate) const BEFORE: i32 = 122;
    /// The container does not have what the script needs.
    pub(crate) const SETUP: i32 = 123;
    /// The time limit was exceeded.
    pub(crate) const TIMEOUT: i32 = 124;
}

/// Variables the engine sets for every command: they give access to it and differ from run to run.
pub(super) const OF_THE_ENGINE: &str = "TRACEPARENT TRACESTATE BAGGAGE OTEL_EXPORTER_OTLP_ENDPOINT \
OTEL_EXPORTER_OTLP_PROTOCOL OTEL_EXPORTER_OTLP_HEADERS OTEL_EXPORTER_OTLP_INSECURE \
OTEL_EXPORTER_OTLP_TRACES_ENDPOINT OTEL_EXPORTER_OTLP_TRACES_PROTOCOL OTEL_EXPORTER_OTLP_TRACES_LIVE \
OTEL_EXPORTER_OTLP_LOGS_ENDPOINT OTEL_EXPORTER_OTLP_LOGS_PROTOCOL OTEL_EXPORTER_OTLP_METRICS_ENDPOINT \
OTEL_EXPORTER_OTLP_METRICS_PROTOCOL OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE \
OTEL_TRACES_EXPORTER OTEL_LOGS_EXPORTER OTEL_METRICS_EXPORTER";

/// Output goes through pipes, as on the host: who opens `/dev/stderr` anew would cut a file. What a command leaves
/// running keeps them open, and is not waited for much longer. `cat` writes what it reads at once, so ending it loses
/// nothing. It ends when its file is as large as may be; of what follows the end is kept in a second file.
///
/// A separate shell starts the command and prints one line if that fails.
const FUNCTIONS: &str = r#"
now() { IFS=' .' read -r s c at </proc/uptime; at=$((s * 100 + ${c#0})); }
there() {
    case $1 in
    */*) [ -f "$1" ] && [ -x "$1" ] ;;
    *) command -v "$1" >/dev/null 2>&1 ;;
    esac || missing "$1"
}
keep() { (ulimit -f 65536; exec cat) >"$1"; exec tail -c 33554432 >"$1.tail"; }
show() {
    cat "$1"
    [ ! -f "$1.tail" ] || { printf '\n%s\n' '[dagcache: some of the output is missing]'; cat "$1.tail"; }
}
say() { show "$out/stdout"; show "$out/stderr" >&2; }
run() {
    now; left=0
    if [ "$limit" -gt 0 ]; then left=$((limit - (at - start) / 100)); [ "$left" -gt 0 ] || left=1; fi
    mkfifo "$out/1" "$out/2" || exit 123
    keep "$out/stdout" <"$out/1" 2>/dev/null & one=$!
    keep "$out/stderr" <"$out/2" 2>/dev/null & two=$!
    began=$at
    if [ "$left" -gt 0 ] && command -v timeout >/dev/null 2>&1
    then timeout -k 5 "$left" sh -c 'exec "$@"' dagcache-exec "$@"
    else sh -c 'exec "$@"' dagcache-exec "$@"
    fi </dev/null >"$out/1" 2>"$out/2"
    code=$?
    now
    (sleep 5; kill "$one" "$two") >/dev/null 2>&1 & end=$!
    wait "$one"; wait "$two"; kill "$end" 2>/dev/null
    rm -f "$out/1" "$out/2"
    for tail in "$out/stdout.tail" "$out/stderr.tail"; do [ -s "$tail" ] || rm -f "$tail"; done
    case $code in
    126 | 127)
        IFS= read -r said <"$out/stderr"
        case $said in dagcache-exec:*) missing "$1" ;; esac ;;
    124 | 137 | 143)
        if [ "$left" -gt 0 ] && [ $((at - began)) -ge $((left * 100)) ]; then timed_out; fi ;;
    esac
}
before() {
    number=$1; shift
    there "$1"
    run "$@"
    [ "$code" = 0 ] || { say; printf '\n%s %s' "$number" "$code" >&2; exit 122; }
}
"#;

/// Prints the outcome: a line of what is in the small files, then the output.
const PRINT: &str = r#"printf '%s %s %s\n' "$(cat "$out/nonce")" "$code" "$((at - began))"; say"#;

/// The script's part for a kept place.
#[derive(Debug)]
pub(super) struct Kept {
    /// Shell text that runs first.
    pub(crate) begin: String,
    /// Shell text that gets each earlier command as arguments, and the file of changed paths as `$0`.
    pub(crate) narrow: String,
}

/// A command to wrap.
#[derive(Debug, Default)]
pub(super) struct Wrapped {
    /// What [`NONCE`] and [`LIMIT`] end with.
    pub(crate) mark: String,
    /// Shell text that puts the files into their place.
    pub(crate) files: Option<String>,
    /// Whether the outcome is printed instead of kept in files: the engine masks what is printed.
    pub(crate) prints: bool,
    /// A folder of which it matters whether it is listed.
    pub(crate) lacking: Option<String>,
    /// Working directory.
    pub(crate) dir: String,
    /// Directories to prepend to the image's PATH.
    pub(crate) path: Vec<String>,
    /// Prepares a kept place.
    pub(crate) kept: Option<Kept>,
    pub(crate) folders: Vec<String>,
    /// Directories to delete afterwards.
    pub(crate) passing: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    /// Programs that must exist.
    pub(crate) needs: Vec<String>,
    pub(crate) before: Vec<Vec<String>>,
    pub(crate) argv: Vec<String>,
}

impl Wrapped {
    /// Arguments of the exec. Those of the command are passed separately, because together they may exceed the limit
    /// for one argument.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut all = ["sh", "-c", &self.script(), "dagcache"]
            .map(str::to_owned)
            .to_vec();
        all.extend(self.argv.iter().cloned());
        all
    }

    fn script(&self) -> String {
        let mut lines: Vec<String> = Vec::new();
        let mut line = |text: &str| lines.push(text.to_owned());
        self.opening(&mut line);
        self.place(&mut line);
        self.running(&mut line);
        lines.join("\n")
    }

    /// Takes the limit and the nonce, and defines the functions.
    fn opening(&self, line: &mut impl FnMut(&str)) {
        if Rule::EngineEnvHidden.holds() {
            line(&format!("unset {OF_THE_ENGINE}"));
        }
        line(if Rule::ContainerUmask.holds() {
            "umask 022"
        } else {
            "umask 077"
        });
        let mark = &self.mark;
        line(&format!("out={OUT} limit=${{{LIMIT}{mark}:-0}}"));
        line("mkdir -p \"$out\" || exit 123");
        line(&format!(
            "printf %s \"${NONCE}{mark}\" >\"$out/nonce\" || exit 123"
        ));
        line(&format!("unset {NONCE}{mark} {LIMIT}{mark} {AGAIN}"));
        line(&forget(
            "missing_ends",
            exit::MISSING,
            Rule::MissingIsForgotten,
        ));
        line("missing() { echo \"$1\" >&2; missing_ends; }");
        line(&forget(
            "timed_out_ends",
            exit::TIMEOUT,
            Rule::TimeoutsAreForgotten,
        ));
        line("timed_out() { say; timed_out_ends; }");
        line(FUNCTIONS);
    }

    /// Prepares PATH, folders, environment and working directory.
    fn place(&self, line: &mut impl FnMut(&str)) {
        if !self.path.is_empty() {
            line(&format!("PATH={}:$PATH", quoted(&self.path.join(":"))));
        }
        line("export PATH");
        if let Some(kept) = &self.kept {
            line(&kept.begin);
        }
        if let Some(files) = &self.files {
            line(files);
        }
        if !self.folders.is_empty() {
            line(&format!("mkdir -p {} || exit 123", words(&self.folders)));
        }
        for (name, value) in &self.env {
            line(&format!("export {name}={}", quoted(value)));
        }
        line(&format!(
            "cd {} || exit 123; unset OLDPWD",
            quoted(&self.dir)
        ));
        for name in &self.needs {
            line(&format!("there {}", quoted(name)));
        }
    }

    /// Runs the commands and records what became of them.
    fn running(&self, line: &mut impl FnMut(&str)) {
        let lacking = self.lacking.as_ref();
        let lacking = lacking.map(|folder| quoted(folder));
        if let Some(folder) = &lacking {
            line(LISTING);
            line(&format!("watch {folder} 2>/dev/null"));
        }
        line("now; start=$at");
        for (number, argv) in self.before.iter().enumerate() {
            let narrowed = match &self.kept {
                Some(kept) => format!("sh -c {} {CHANGED} ", quoted(&kept.narrow)),
                None => String::new(),
            };
            line(&format!("before {number} {narrowed}{}", words(argv)));
        }
        line("there \"$1\"");
        line("run \"$@\"");
        if Rule::SignalsAreForgotten.holds() {
            line("[ \"$code\" -lt 128 ] || [ \"$code\" -gt 191 ] || { say; exit \"$code\"; }");
        }
        line("printf %s \"$code\" >\"$out/code\" || exit 123");
        line("printf %s \"$((at - began))\" >\"$out/centiseconds\" || exit 123");
        if let Some(folder) = &lacking {
            line(&format!(
                "[ $seen = no ] || ! is_marked {folder} 2>/dev/null || : >\"$out/{UNLISTED}\""
            ));
        }
        if !self.passing.is_empty() {
            line(&format!("rm -rf {}", words(&self.passing)));
        }
        if self.kept.is_some() {
            line(END);
        }
        if self.prints {
            line(PRINT);
        }
        line("exit 0");
    }
}

/// A shell function that ends the script, so that the engine does not cache the outcome.
fn forget(name: &str, code: i32, rule: Rule) -> String {
    let then = if rule.holds() {
        format!("exit {code}")
    } else {
        format!(
            "[ -f \"$out/stdout\" ] || : >\"$out/stdout\"; [ -f \"$out/stderr\" ] || : >\"$out/stderr\"; printf %s {code} >\"$out/code\"; exit 0"
        )
    };
    format!("{name}() {{ {then}; }}")
}

fn words(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    words.join(" ")
}

/// Seconds for the script; 0 means no limit.
pub(super) fn seconds(limit: Option<Duration>) -> String {
    let seconds = limit.map_or(0, |limit| limit.as_secs().max(1));
    seconds.to_string()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::path::Path;
    use std::process::{Command, Output};

    use super::*;

    /// Runs the script on this machine, with its folders below `place`.
    fn run(place: &Path, shell: &str, wrapped: &Wrapped, limit: u64) -> Output {
        let mut arguments = wrapped.arguments();
        let out = place.join("out");
        arguments[2] = arguments[2].replace(OUT, &out.to_string_lossy());
        Command::new(shell)
            .args(&arguments[1..])
            .env(format!("{NONCE}x"), "one")
            .env(format!("{LIMIT}x"), limit.to_string())
            .output()
            .expect("a shell")
    }

    fn wrapped(argv: &[&str]) -> Wrapped {
        Wrapped {
            mark: "x".to_owned(),
            dir: "/".to_owned(),
            argv: words(argv),
            ..Wrapped::default()
        }
    }

    fn words(all: &[&str]) -> Vec<String> {
        all.iter().map(ToString::to_string).collect()
    }

    fn file(place: &Path, name: &str) -> String {
        std::fs::read_to_string(place.join("out").join(name)).unwrap_or_default()
    }

    /// In every shell that is here.
    fn everywhere(test: impl Fn(&dyn Fn(&Wrapped, u64) -> Output, &Path)) {
        let mut tried = 0;
        for shell in ["sh", "dash", "bash", "busybox-sh"] {
            let there = Command::new(shell).args(["-c", ":"]).status();
            if there.is_ok_and(|status| status.success()) {
                let place = tempfile::tempdir().unwrap();
                let place = place.path();
                test(&|wrapped, limit| run(place, shell, wrapped, limit), place);
                tried += 1;
            }
        }
        assert!(tried > 0);
    }

    #[test]
    fn whether_a_folder_was_listed_is_told() {
        everywhere(|run, place| {
            let folder = place.join("lacking");
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("a"), "").unwrap();
            let folder = folder.to_string_lossy().into_owned();
            let unlisted = |script: &str| {
                let mut command = wrapped(&["sh", "-c", script, "x", &folder]);
                command.lacking = Some(folder.clone());
                let output = run(&command, 0);
                assert_eq!(output.status.code(), Some(0), "{output:?}");
                place.join("out").join(UNLISTED).exists()
            };
            if unlisted("read x <\"$1/a\"") {
                std::fs::remove_file(place.join("out").join(UNLISTED)).unwrap();
            } else {
                return; // This disk does not tell.
            }
            assert!(!unlisted("for x in \"$1\"/*; do :; done"));
        });
    }

    #[test]
    fn what_a_command_said_and_how_it_ended_is_kept() {
        everywhere(|run, place| {
            let script = "echo a; printf 'b\\n\\n' >&2; echo c >/dev/stderr; exit 3";
            let output = run(&wrapped(&["sh", "-c", script]), 0);
            assert_eq!(output.status.code(), Some(0), "{output:?}");
            assert_eq!(file(place, "code"), "3");
            assert_eq!(file(place, "stdout"), "a\n");
            assert_eq!(file(place, "stderr"), "b\n\nc\n");
            assert_eq!(file(place, "nonce"), "one");
            assert!(file(place, "centiseconds").parse::<u32>().is_ok());
            assert_eq!(std::fs::read_dir(place.join("out")).unwrap().count(), 5);
        });
    }

    #[test]
    fn of_too_much_output_begin_and_end_are_kept_and_the_command_goes_on() {
        everywhere(|run, place| {
            let script =
                "echo first; head -c 150000000 /dev/zero; echo last; echo done >&2; exit 3";
            let output = run(&wrapped(&["sh", "-c", script]), 0);
            assert_eq!(output.status.code(), Some(0), "{output:?}");
            assert_eq!(
                (file(place, "code"), file(place, "stderr")),
                ("3".to_owned(), "done\n".to_owned())
            );
            let (head, tail) = (file(place, "stdout"), file(place, "stdout.tail"));
            assert!(head.starts_with("first\n") && head.len() <= 64 << 20);
            assert!(tail.ends_with("\0last\n") && tail.len() == 32 << 20);
            assert!(!place.join("out/stderr.tail").exists());
        });
    }

    #[test]
    fn an_outcome_that_is_printed_is_a_line_before_the_output() {
        everywhere(|run, place| {
            let all = Wrapped {
                prints: true,
                files: Some(format!("echo text >{}/f", quoted(&place.to_string_lossy()))),
                ..wrapped(&[
                    "sh",
                    "-c",
                    "cat \"$1/f\"; echo b >&2; exit 3",
                    "x",
                    &place.to_string_lossy(),
                ])
            };
            let output = run(&all, 0);
            let said = String::from_utf8(output.stdout).unwrap();
            assert!(
                said.starts_with("one 3 ") && said.ends_with("\ntext\n"),
                "{said}"
            );
            assert_eq!(output.stderr, b"b\n");
        });
    }

    #[test]
    fn arguments_variables_and_folders_arrive_as_they_are() {
        everywhere(|run, place| {
            let made = place.join("a b/c");
            let script = "printf '%s|' \"$@\" \"$V\" \"${DAGCACHE_RUN_x-}${DAGCACHE_LIMIT_x-}\"";
            let mut all = wrapped(&["sh", "-c", script, "x", "1 2", "$HOME", "*", "", "'\"\n"]);
            all.env = vec![("V".to_owned(), "a  b\n$c'".to_owned())];
            all.folders = vec![made.to_string_lossy().into_owned()];
            run(&all, 0);
            assert_eq!(file(place, "stdout"), "1 2|$HOME|*||'\"\n|a  b\n$c'||");
            assert!(made.is_dir());
            all.passing = all.folders.clone();
            run(&all, 0);
            assert!(!made.exists());
        });
    }

    #[test]
    fn a_program_is_started_and_no_word_of_the_shell() {
        everywhere(|run, place| {
            run(&wrapped(&["echo", "-n", "\\t"]), 0);
            assert_eq!(file(place, "stdout"), "\\t", "that of coreutils");
            let code = |argv: &[&str]| run(&wrapped(argv), 0).status.code();
            assert_eq!(code(&["run"]), Some(exit::MISSING));
        });
    }

    #[test]
    fn what_must_not_be_remembered_ends_with_another_code() {
        everywhere(|run, place| {
            let code = |all: &Wrapped, limit| run(all, limit).status.code();
            let absent = run(&wrapped(&["nobody-has-this"]), 0);
            assert_eq!(absent.status.code(), Some(exit::MISSING));
            assert_eq!(absent.stderr, b"nobody-has-this\n");
            assert_eq!(code(&wrapped(&["/etc/passwd"]), 0), Some(exit::MISSING));
            let needy = Wrapped {
                needs: words(&["sh", "nobody-has-this"]),
                ..wrapped(&["true"])
            };
            assert_eq!(code(&needy, 0), Some(exit::MISSING));
            let script = place.join("script");
            {
                let _alone = crate::process::writing_a_program();
                std::fs::write(&script, "#!/nobody/has/this\n").unwrap();
                let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
                std::fs::set_permissions(&script, mode).unwrap();
            }
            let script = wrapped(&[&script.to_string_lossy()]);
            assert_eq!(code(&script, 0), Some(exit::MISSING));
            assert_eq!(code(&script, 60), Some(exit::MISSING));
            assert_eq!(code(&wrapped(&["sh", "-c", "exit 137"]), 60), Some(137));
            assert_eq!(code(&wrapped(&["sh", "-c", "kill -9 $$"]), 60), Some(137));
            assert_eq!(code(&wrapped(&["sh", "-c", "exit 192"]), 60), Some(0));
            assert_eq!(file(place, "code"), "192");
            assert_eq!(
                code(&wrapped(&["sh", "-c", "nobody-has-this"]), 60),
                Some(0)
            );
            assert_eq!(file(place, "code"), "127");
        });
    }

    #[test]
    fn a_time_limit_is_told_from_an_exit_code_that_looks_like_it() {
        everywhere(|run, place| {
            let output = run(&wrapped(&["sh", "-c", "echo begun; sleep 60"]), 1);
            assert_eq!(output.status.code(), Some(exit::TIMEOUT));
            assert_eq!(output.stdout, b"begun\n");
            let own = run(&wrapped(&["sh", "-c", "exit 124"]), 60);
            assert_eq!(own.status.code(), Some(0));
            assert_eq!(file(place, "code"), "124");
        });
    }

    #[test]
    fn commands_before_come_first_and_stop_the_rest_if_they_fail() {
        everywhere(|run, place| {
            let mark = place.join("mark").to_string_lossy().into_owned();
            let mut all = wrapped(&["cat", &mark]);
            all.before = vec![
                words(&["sh", "-c", "echo \"$1\" >\"$2\"", "x", "a b", &mark]),
                words(&["true"]),
            ];
            assert_eq!(run(&all, 0).status.code(), Some(0));
            assert_eq!(file(place, "stdout"), "a b\n");
            all.before
                .push(words(&["sh", "-c", "echo out; echo no >&2; exit 7"]));
            let output = run(&all, 0);
            assert_eq!(output.status.code(), Some(exit::BEFORE));
            assert_eq!(output.stdout, b"out\n");
            assert_eq!(output.stderr, b"no\n\n2 7");
        });
    }
}
