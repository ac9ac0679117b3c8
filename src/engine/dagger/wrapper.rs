//! What runs in a container around a command: a small script for any POSIX `sh`.
//!
//! It keeps exit code, output, nonce and duration in files, and itself ends with 0 where the engine may remember the
//! run: after exit codes below 128 and above 191. Where nothing must be remembered (a program that is not there, a time
//! limit, a signal) it ends with another code, which the engine reports and forgets: its own exit codes for these would
//! be remembered as red checks.

use std::time::Duration;

use crate::rule::Rule;

/// Where a command's files are in its container.
pub(super) const OUT: &str = "/dagcache/out";

/// The variable that tells one run from another. Its value is in no key of the engine.
pub(super) const NONCE: &str = "DAGCACHE_RUN";

/// Changes where a run must not be answered from what the engine remembers.
pub(super) const AGAIN: &str = "DAGCACHE_AGAIN";

/// How the script itself ends, if not with what the command ended with.
pub(super) mod exit {
    /// The program is not there, or cannot be started.
    pub const MISSING: i32 = 121;
    /// A command before failed.
    pub const BEFORE: i32 = 122;
    /// The time was up.
    pub const TIMEOUT: i32 = 124;
}

/// Variables the engine gives to every command: they lead to it, and differ from run to run.
pub(super) const OF_THE_ENGINE: &str = "TRACEPARENT TRACESTATE BAGGAGE OTEL_EXPORTER_OTLP_ENDPOINT \
OTEL_EXPORTER_OTLP_PROTOCOL OTEL_EXPORTER_OTLP_HEADERS OTEL_EXPORTER_OTLP_TRACES_ENDPOINT \
OTEL_EXPORTER_OTLP_TRACES_PROTOCOL OTEL_EXPORTER_OTLP_TRACES_LIVE OTEL_EXPORTER_OTLP_LOGS_ENDPOINT \
OTEL_EXPORTER_OTLP_LOGS_PROTOCOL OTEL_EXPORTER_OTLP_METRICS_ENDPOINT OTEL_EXPORTER_OTLP_METRICS_PROTOCOL \
OTEL_TRACES_EXPORTER OTEL_LOGS_EXPORTER OTEL_METRICS_EXPORTER";

/// Arguments: see [`Wrapped::arguments`].
const SCRIPT: &str = r#"
umask 022
out=/dagcache/out
rm -rf "$out"; mkdir -p "$out" || exit 123
printf %s "$DAGCACHE_RUN" >"$out/nonce" || exit 123
unset DAGCACHE_RUN DAGCACHE_AGAIN
limit=$1 dir=$2 path=$3; shift 3
[ -z "$path" ] || PATH=$path:$PATH
export PATH
n=$1; shift; while [ "$n" -gt 0 ]; do mkdir -p "$1" || exit 123; shift; n=$((n-1)); done
n=$1; shift; while [ "$n" -gt 0 ]; do export "$1"; shift; n=$((n-1)); done
cd "$dir" || exit 123
there() {
    case $1 in
    */*) [ -f "$1" ] && [ -x "$1" ] ;;
    *) command -v "$1" >/dev/null 2>&1 ;;
    esac || { echo "$1" >&2; exit 121; }
}
n=$1; shift; while [ "$n" -gt 0 ]; do there "$1"; shift; n=$((n-1)); done
now() { read -r at rest </proc/uptime; echo "$at"; }
say() { cat "$out/stdout"; cat "$out/stderr" >&2; }
run='"$@"; printf %s $? >/dagcache/out/code'
limited() {
    if [ "$limit" != 0 ] && command -v timeout >/dev/null 2>&1
    then timeout -k 5 "$limit" sh -c "$run" sh "$@"
    else sh -c "$run" sh "$@"
    fi </dev/null >"$out/stdout" 2>"$out/stderr"
    ended=$?
    [ -f "$out/code" ] || { say; [ "$limit" != 0 ] && exit 124; exit "$ended"; }
    read -r code <"$out/code" || [ -n "$code" ]
}
began=$(now)
n=$1; shift
while [ "$n" -gt 0 ]; do
    m=$1; shift
    eval 'limited '"$(i=1; while [ "$i" -le "$m" ]; do printf '"${%s}" ' "$i"; i=$((i+1)); done)"
    [ "$code" = 0 ] || { echo "$code"; say; exit 122; }
    rm -f "$out/code"
    shift "$m"; n=$((n-1))
done
there "$1"
limited "$@"
[ "$code" -lt 128 ] || [ "$code" -gt 191 ] || { say; exit "$code"; }
echo "$began $(now)" >"$out/times"
exit 0
"#;

/// A command as the script takes it.
#[derive(Debug, Default)]
pub(super) struct Wrapped {
    /// Wall time for all commands together.
    pub limit: Option<Duration>,
    /// Working directory.
    pub dir: String,
    /// Folders in front of the image's PATH.
    pub path: Vec<String>,
    /// Folders to make.
    pub folders: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Programs that have to be there.
    pub needs: Vec<String>,
    /// Commands before.
    pub before: Vec<Vec<String>>,
    /// The command.
    pub argv: Vec<String>,
}

impl Wrapped {
    /// Arguments of the exec.
    pub fn arguments(&self) -> Vec<String> {
        let limit = self.limit.map_or(0, |limit| limit.as_secs().max(1));
        let mut all = vec!["sh".to_owned(), "-c".to_owned(), script()];
        all.push("dagcache".to_owned());
        all.extend([limit.to_string(), self.dir.clone(), self.path.join(":")]);
        for list in [&self.folders, &self.env, &self.needs] {
            all.push(list.len().to_string());
            all.extend(list.iter().cloned());
        }
        all.push(self.before.len().to_string());
        for argv in &self.before {
            all.push(argv.len().to_string());
            all.extend(argv.iter().cloned());
        }
        all.extend(self.argv.iter().cloned());
        all
    }
}

fn script() -> String {
    let mut script = String::new();
    if Rule::EngineEnvHidden.holds() {
        script.push_str("unset ");
        script.push_str(OF_THE_ENGINE);
    }
    script.push_str(SCRIPT);
    if !Rule::SignalsAreForgotten.holds() {
        script = script.replace("[ \"$code\" -lt 128 ] ||", "true ||");
    }
    if !Rule::MissingIsForgotten.holds() {
        script = script.replace("exit 121; }", "printf 127 >\"$out/code\"; : >\"$out/stdout\"; echo \"$1: not found\" >\"$out/stderr\"; exit 0; }");
    }
    if !Rule::ContainerUmask.holds() {
        script = script.replace("umask 022", "umask 077");
    }
    script
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Output};

    use super::*;

    /// Runs the script on this machine, with its folders below `place`.
    fn run(place: &std::path::Path, shell: &str, wrapped: &Wrapped) -> Output {
        let mut arguments = wrapped.arguments();
        let out = place.join("out");
        arguments[2] = arguments[2].replace("/dagcache/out", &out.to_string_lossy());
        Command::new(shell)
            .args(&arguments[1..])
            .env(NONCE, "one")
            .output()
            .expect("a shell")
    }

    fn wrapped(argv: &[&str]) -> Wrapped {
        Wrapped {
            dir: "/".to_owned(),
            argv: argv.iter().map(ToString::to_string).collect(),
            ..Wrapped::default()
        }
    }

    fn file(place: &std::path::Path, name: &str) -> String {
        std::fs::read_to_string(place.join("out").join(name)).unwrap_or_default()
    }

    fn shells() -> impl Iterator<Item = &'static str> {
        ["sh", "dash", "bash"].into_iter().filter(|shell| {
            let tried = Command::new(shell).args(["-c", ":"]).status();
            tried.is_ok_and(|status| status.success())
        })
    }

    #[test]
    fn what_a_command_said_and_how_it_ended_is_kept() {
        for shell in shells() {
            let place = tempfile::tempdir().unwrap();
            let argv = ["sh", "-c", "echo a; printf 'b\\n\\n' >&2; exit 3"];
            let output = run(place.path(), shell, &wrapped(&argv));
            assert_eq!(output.status.code(), Some(0), "{output:?}");
            assert_eq!(file(place.path(), "code"), "3");
            assert_eq!(file(place.path(), "stdout"), "a\n");
            assert_eq!(file(place.path(), "stderr"), "b\n\n");
            assert_eq!(file(place.path(), "nonce"), "one");
            assert_eq!(file(place.path(), "times").split_whitespace().count(), 2);
        }
    }

    #[test]
    fn arguments_variables_and_folders_arrive_as_they_are() {
        for shell in shells() {
            let place = tempfile::tempdir().unwrap();
            let made = place.path().join("a b/c");
            let mut all = wrapped(&[
                "sh",
                "-c",
                "printf '%s|' \"$@\" \"$V\"",
                "x",
                "1 2",
                "$HOME",
                "*",
                "",
                "'\"\n",
            ]);
            all.env = vec!["V=a  b\n$c'".to_owned()];
            all.folders = vec![made.to_string_lossy().into_owned()];
            run(place.path(), shell, &all);
            assert_eq!(
                file(place.path(), "stdout"),
                "1 2|$HOME|*||'\"\n|a  b\n$c'|"
            );
            assert!(made.is_dir());
        }
    }

    #[test]
    fn what_must_not_be_remembered_ends_with_another_code() {
        for shell in shells() {
            let place = tempfile::tempdir().unwrap();
            let code = |all: &Wrapped| run(place.path(), shell, all).status.code();
            assert_eq!(code(&wrapped(&["nobody-has-this"])), Some(exit::MISSING));
            assert_eq!(code(&wrapped(&["/etc/passwd"])), Some(exit::MISSING));
            assert_eq!(code(&wrapped(&["sh", "-c", "exit 137"])), Some(137));
            assert_eq!(code(&wrapped(&["sh", "-c", "kill -9 $$"])), Some(137));
            assert_eq!(code(&wrapped(&["sh", "-c", "exit 192"])), Some(0));
            let limited = Wrapped {
                limit: Some(Duration::from_secs(1)),
                ..wrapped(&["sh", "-c", "echo begun; sleep 60"])
            };
            let output = run(place.path(), shell, &limited);
            assert_eq!(output.status.code(), Some(exit::TIMEOUT));
            assert_eq!(output.stdout, b"begun\n");
            let own = Wrapped {
                limit: Some(Duration::from_secs(60)),
                ..wrapped(&["sh", "-c", "exit 124"])
            };
            assert_eq!(code(&own), Some(0));
            assert_eq!(file(place.path(), "code"), "124");
        }
    }

    #[test]
    fn commands_before_come_first_and_stop_the_rest_if_they_fail() {
        for shell in shells() {
            let place = tempfile::tempdir().unwrap();
            let mark = place.path().join("mark").to_string_lossy().into_owned();
            let words = |all: &[&str]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
            let mut all = wrapped(&["cat", &mark]);
            all.before = vec![
                words(&["sh", "-c", "echo \"$1\" >\"$2\"", "x", "a b", &mark]),
                words(&["true"]),
            ];
            assert_eq!(run(place.path(), shell, &all).status.code(), Some(0));
            assert_eq!(file(place.path(), "stdout"), "a b\n");
            all.before.push(words(&["sh", "-c", "echo no >&2; exit 7"]));
            let output = run(place.path(), shell, &all);
            assert_eq!(output.status.code(), Some(exit::BEFORE));
            assert_eq!(
                (&*output.stdout, &*output.stderr),
                (&b"7\n"[..], &b"no\n"[..])
            );
        }
    }
}
