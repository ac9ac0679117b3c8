//! argv → exit code. Knows no subcommands.

use std::process::ExitCode;

fn main() -> ExitCode {
    dagcache::main(std::env::args_os())
}
