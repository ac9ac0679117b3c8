//! Node: the identity of programs from `node_modules`. There are no Node checks yet.
//!
//! A program depends on its package and everything the package can load. npm's lock lists these packages, preferably
//! the one inside `node_modules` (which describes what is installed); the content of their folders counts. Without
//! npm's lock, the content of the package's own folder counts, and the bytes of `pnpm-lock.yaml` and `yarn.lock`
//! beside `node_modules`, in the project's version and pnpm's own.

pub(crate) mod lock;

use std::path::{Path, PathBuf};

use crate::digest::{Digest, Hasher};
use crate::path::RelPath;
use crate::rule::Rule;
use crate::scope::Scope;
use crate::tool::Program;
use crate::visible::Shown as _;

/// The folder of installed packages.
const MODULES: &str = "node_modules";

/// Locks of other package managers, in the folder that contains `node_modules`.
const OTHER_LOCKS: [&str; 5] = [
    "pnpm-lock.yaml",
    "yarn.lock",
    "bun.lock",
    "node_modules/.pnpm/lock.yaml",
    "node_modules/.yarn-integrity",
];

/// The program `name` of the packages installed for `dir`: in `node_modules/.bin` there or in a parent folder, like
/// `npm run`. Only beside a `package.json` of the project.
#[must_use]
pub(crate) fn installed(scope: &Scope<'_>, dir: &RelPath, name: &str) -> Option<Program> {
    std::iter::once(dir.clone())
        .chain(dir.ancestors())
        .filter(|folder| {
            let manifest = folder.join("package.json").ok();
            manifest.is_some_and(|path| scope.snapshot.find(&path).is_some())
        })
        .find_map(|folder| {
            let bin = folder
                .under(scope.snapshot.root())
                .join(MODULES)
                .join(".bin");
            scope.tools.at(name, bin.join(name))
        })
}

/// The identity of a script in an installed package, except for Node itself. `Ok(None)` for any other script.
pub(crate) fn identity(scope: &Scope<'_>, program: &Program) -> Result<Option<Digest>, String> {
    let Some((base, package)) = package_of(&program.real) else {
        return Ok(None);
    };
    let script = program.real.strip_prefix(&base).unwrap_or(&program.real);
    let mut hasher = Hasher::new();
    hasher.update(b"node-tool/1");
    hasher.update(script.as_os_str().as_encoded_bytes());
    hasher.update(program.digest.as_bytes());
    if Rule::NodePackages.holds() {
        let folders: Vec<PathBuf> = match closure(scope, &base, &package)? {
            Some(places) => places.iter().map(|place| base.join(place)).collect(),
            None => {
                let locks = OTHER_LOCKS.iter().map(|name| base.join(name));
                std::iter::once(base.join(&package)).chain(locks).collect()
            }
        };
        hasher.update(content(scope, &folders)?.as_bytes());
    }
    Ok(Some(hasher.finish()))
}

fn content(scope: &Scope<'_>, folders: &[PathBuf]) -> Result<Digest, String> {
    let content = scope.tools.content(folders);
    content.map_err(|error| format!("cannot read its packages: {error}"))
}

/// The folder that contains the innermost `node_modules` outside of packages, and the package's path in it.
fn package_of(script: &Path) -> Option<(PathBuf, PathBuf)> {
    let parts: Vec<_> = script.components().collect();
    let is_modules = |at: &usize| parts[*at].as_os_str() == MODULES;
    // pnpm's store is inside `node_modules`; the lock is beside the outermost one.
    let first = (0..parts.len()).find(is_modules)?;
    let last = (0..parts.len()).rfind(is_modules)?;
    let scoped = parts
        .get(last + 1)?
        .as_os_str()
        .to_string_lossy()
        .starts_with('@');
    let end = last + if scoped { 3 } else { 2 };
    // A file directly in `node_modules` belongs to no package.
    (end < parts.len()).then(|| {
        let base = parts[..first].iter().collect();
        let package = parts[first..end].iter().collect();
        (base, package)
    })
}

/// The packages it depends on according to npm's lock; `None` if there is no such lock or it does not list it.
fn closure(scope: &Scope<'_>, base: &Path, package: &Path) -> Result<Option<Vec<String>>, String> {
    let Some(place) = package.to_str() else {
        return Ok(None);
    };
    for name in ["node_modules/.package-lock.json", "package-lock.json"] {
        let path = base.join(name);
        let Ok(digest) = scope.tools.digest(&path) else {
            continue;
        };
        let mut hasher = Hasher::new();
        hasher.update(digest.as_bytes());
        hasher.update(place.as_bytes());
        let found = scope.facts.derive("npm-closure/1", hasher.finish(), || {
            let text = crate::fs::read(&path).map_err(|error| error.to_string())?;
            let lock = lock::parse(&String::from_utf8_lossy(&text))?;
            let closure = lock::closure(&lock, place);
            Ok(closure.map(|found| (found.packages.into_keys().collect::<Vec<_>>(), found.linked)))
        });
        match found.map_err(|error: String| format!("{} is invalid: {error}", path.shown()))? {
            None => {}
            Some((_, Some(linked))) => {
                return Err(format!("`{linked}` is a link to a project folder"));
            }
            Some((places, None)) => return Ok(Some(places)),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_lie_in_packages() {
        let of = |text: &str| {
            let (base, package) = package_of(Path::new(text))?;
            Some(format!(
                "{} {}",
                base.to_string_lossy(),
                package.to_string_lossy()
            ))
        };
        let check = |text: &str, expect: Option<&str>| assert_eq!(of(text).as_deref(), expect);
        check("/p/node_modules/x/bin/x.js", Some("/p node_modules/x"));
        check("/p/node_modules/@s/x/x.js", Some("/p node_modules/@s/x"));
        check(
            "/p/node_modules/a/node_modules/b/b.js",
            Some("/p node_modules/a/node_modules/b"),
        );
        check(
            "/p/node_modules/.pnpm/x@1/node_modules/x/x.js",
            Some("/p node_modules/.pnpm/x@1/node_modules/x"),
        );
        check("/p/node_modules/x.js", None);
        check("/p/x.js", None);
    }
}
