//! The programs of the host that building Rust packages may call: linkers, compilers and what build scripts start.
//!
//! Stays free of the toolchain's own programs.

use crate::plan::check::Tool;
use crate::rule::Rule;
use crate::scope::Scope;

/// Compilers, linkers and generators, then what a `configure` script needs.
const PROGRAMS: &[&str] = &[
    "ar",
    "as",
    "c++",
    "cc",
    "clang",
    "clang++",
    "cmake",
    "g++",
    "gcc",
    "git",
    "gmake",
    "ld",
    "ld.lld",
    "lld",
    "make",
    "mold",
    "nasm",
    "ninja",
    "nm",
    "objcopy",
    "perl",
    "pkg-config",
    "protoc",
    "python3",
    "ranlib",
    "strip",
    //
    "awk",
    "basename",
    "bash",
    "cat",
    "chmod",
    "cmp",
    "cp",
    "cut",
    "date",
    "diff",
    "dirname",
    "echo",
    "env",
    "expr",
    "false",
    "find",
    "grep",
    "head",
    "install",
    "ln",
    "ls",
    "m4",
    "mkdir",
    "mktemp",
    "mv",
    "printf",
    "pwd",
    "rm",
    "rmdir",
    "sed",
    "sh",
    "sleep",
    "sort",
    "tail",
    "tar",
    "test",
    "touch",
    "tr",
    "true",
    "uname",
    "uniq",
    "wc",
    "xargs",
];

/// All of them, as they are on this host.
#[must_use]
pub(crate) fn build_tools(scope: &Scope<'_>) -> Vec<Tool> {
    let count = |_: &&&str| Rule::AbsentTools.holds();
    let programs = PROGRAMS.iter().filter(count);
    programs.map(|name| tool(scope, name)).collect()
}

/// A version manager's shim is none: which program it would run cannot be told here, and it needs its manager.
fn tool(scope: &Scope<'_>, name: &str) -> Tool {
    let in_shims = |program: &crate::tool::Program| {
        program
            .path
            .parent()
            .is_some_and(|folder| folder.ends_with("shims"))
    };
    match scope.tools.find(name).filter(|program| !in_shims(program)) {
        Some(program) => Tool::Host {
            name: name.to_owned(),
            path: program.path,
            identity: program.digest,
            version: None,
        },
        None => Tool::Absent {
            name: name.to_owned(),
        },
    }
}
