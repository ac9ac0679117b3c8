//! argv → exit code. Knows no subcommand.

use std::process::ExitCode;

fn main() -> ExitCode {
    dagcache::main(std::env::args_os())
}
