//! Host programs that building Rust packages may call: linkers, compilers and programs for build scripts.
//!
//! The toolchain's own programs are elsewhere.

use crate::path::RelPath;
use crate::plan::check::Tool;
use crate::provision::launcher::leads;
use crate::provision::program::binary_identity;
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
    PYTHON,
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

/// The interpreter that few builds run.
const PYTHON: &str = "python3";

/// Packages that run Python at build time, besides those whose names say so.
const RUN_PYTHON: &[&str] = &["mozjs_sys", "numpy", "skia-bindings", "v8"];

/// Whether a package may run Python at build time. If another one does, its build fails by that name and is run again
/// with it.
#[must_use]
pub(crate) fn runs_python(package: &str) -> bool {
    package.starts_with("py") || package.contains("python") || RUN_PYTHON.contains(&package)
}

/// All of them, as they are on this host for a build in `dir`; `python3` only if something may run it.
#[must_use]
pub(crate) fn build_tools(scope: &Scope<'_>, dir: &RelPath, python: bool) -> Vec<Tool> {
    let count = |name: &&&str| Rule::AbsentTools.holds() && (python || **name != PYTHON);
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
            // Of an installation that is too big for this, only the program itself counts: most builds run none of
            // these programs, and none would ever be cached.
            identity: binary_identity(scope, &program).unwrap_or(program.digest),
            path: program.path,
            version: None,
        },
        None => Tool::Absent { name },
    }
}
