//! argv → exit code. Knows no subcommand.

fn main() {}
