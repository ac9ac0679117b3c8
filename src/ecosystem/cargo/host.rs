//! Host programs that building Rust packages may call: linkers, compilers and programs for build scripts.
//!
//! The toolchain's own programs are elsewhere.

use crate::path::RelPath;
use crate::plan::check::Tool;
use crate::provision::launcher::leads;
use crate::rule::Rule;
use crate::scope::Scope;
use crate::tool::launcher::Leads;

/// Compilers, linkers and generators, then programs for `configure` scripts.
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

/// All of them, as they are on this host for a build in `dir`.
#[must_use]
pub(crate) fn build_tools(scope: &Scope<'_>, dir: &RelPath) -> Vec<Tool> {
    let count = |_: &&&str| Rule::AbsentTools.holds();
    let programs = PROGRAMS.iter().filter(count);
    programs.map(|name| tool(scope, dir, name)).collect()
}

/// A launcher that does not say what it starts is left out: hardly any build needs it, and one that does fails by its
/// name and is run again with it.
fn tool(scope: &Scope<'_>, dir: &RelPath, name: &str) -> Tool {
    let name = name.to_owned();
    let found = scope.tools.find(&name);
    let found = found.and_then(|program| match leads(scope, &program, dir) {
        Leads::Itself => Some(program),
        Leads::To(real) => Some(real),
        Leads::OfToolchain | Leads::Unknown(_) => None,
    });
    match found {
        Some(program) => Tool::Host {
            name,
            path: program.path,
            identity: program.digest,
            version: None,
        },
        None => Tool::Absent { name },
    }
}
