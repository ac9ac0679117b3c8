//! The closure of a tool in a lock: the packages it needs to run as in the project's environment.
//!
//! It contains the tool, the locked packages of its groups that depend on it (its plugins), and everything they need
//! on one interpreter. Nothing else in the lock can affect it. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Hasher};

use super::lock::{Dependency, Lock, Package};
use super::marker::{Extras, MarkerEnv, MarkerError, mentions_extra};
use super::version;

/// The packages of a tool, sorted by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Closure {
    /// Includes the tool itself.
    pub(crate) packages: Vec<Locked>,
    /// Whether other packages of the tool are unknown because the lock only lists versions.
    #[serde(default)]
    pub(crate) partial: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Locked {
    pub(crate) name: String,
    pub(crate) version: String,
    /// Digest of the sorted hashes of its files.
    pub(crate) files: Digest,
    /// Its line in a requirements file, if it can be installed from a hash-checked wheel.
    pub(crate) requirement: Option<String>,
}

/// A marker in the lock is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("package `{package}`: {source}")]
pub(crate) struct ClosureError {
    /// The package with the marker.
    pub(crate) package: String,
    pub(crate) source: MarkerError,
}

impl Closure {
    /// Finds a package by normalised name.
    #[must_use]
    pub(crate) fn get(&self, name: &str) -> Option<&Locked> {
        self.packages.iter().find(|package| package.name == name)
    }

    /// The requirements file that installs exactly this closure, or the packages that cannot be installed from one.
    pub(crate) fn requirements(&self) -> Result<String, Vec<String>> {
        let unfit: Vec<String> = self
            .packages
            .iter()
            .filter(|package| package.requirement.is_none())
            .map(|package| format!("{} {}", package.name, package.version))
            .collect();
        if !unfit.is_empty() {
            return Err(unfit);
        }
        let lines = self
            .packages
            .iter()
            .filter_map(|p| p.requirement.as_deref());
        Ok(lines.flat_map(|line| [line, "\n"]).collect())
    }
}

/// The closure of `tool` in the environment `env`; `None` if the lock has no such package there. `asked` lists the
/// extras the project requests, by package.
pub(crate) fn closure(
    lock: &Lock,
    tool: &str,
    asked: &BTreeMap<String, BTreeSet<String>>,
    env: &MarkerEnv,
) -> Result<Option<Closure>, ClosureError> {
    let Some(groups) = groups_of(lock, tool) else {
        return Ok(None);
    };
    let search = Search {
        installable: installable(lock, &groups, env),
        groups,
        asked,
        env,
    };
    let Some(root) = search.pick(tool, "*") else {
        return Ok(None);
    };
    // Without dependencies, a fully hashed file is treated as one environment; otherwise only the tool is known.
    let hashed = search.installable.iter().all(|p| !p.hashes.is_empty());
    let members = if lock.flat && hashed {
        (0..search.installable.len()).collect()
    } else {
        let mut seeds = search.plugins(root)?;
        seeds.insert(root);
        search.needs(seeds)?
    };
    for &at in &members {
        search.readable(at)?;
    }
    let mut packages: Vec<Locked> = members.iter().map(|&at| search.locked(at)).collect();
    packages.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    Ok(Some(Closure {
        packages,
        partial: lock.flat && !hashed,
    }))
}

/// The groups of the tool; empty if the lock has no groups.
fn groups_of<'a>(lock: &'a Lock, tool: &str) -> Option<BTreeSet<&'a str>> {
    let mut found = None;
    for package in lock.packages.iter().filter(|p| p.name == tool) {
        let groups = package.groups.iter().map(String::as_str);
        found.get_or_insert_with(BTreeSet::new).extend(groups);
    }
    found
}

/// The packages whose own markers hold, or cannot be read: that is an error only of who needs them.
fn installable<'a>(lock: &'a Lock, groups: &BTreeSet<&str>, env: &MarkerEnv) -> Vec<&'a Package> {
    let packages = lock.packages.iter();
    let holds = |package: &&Package| is_installable(package, groups, env).unwrap_or(true);
    packages.filter(holds).collect()
}

/// A package is installed if the marker of one of its groups matches; if the tool has groups, only those count.
fn is_installable(
    package: &Package,
    groups: &BTreeSet<&str>,
    env: &MarkerEnv,
) -> Result<bool, MarkerError> {
    if let Some(marker) = package.markers.get("") {
        return env.holds(marker, Extras::Any);
    }
    let shared: Vec<&String> = package
        .groups
        .iter()
        .filter(|group| groups.contains(group.as_str()))
        .collect();
    let relevant = if shared.is_empty() {
        package.groups.iter().collect()
    } else {
        shared
    };
    for group in &relevant {
        match package.markers.get(*group) {
            None => return Ok(true),
            Some(marker) if env.holds(marker, Extras::Any)? => return Ok(true),
            Some(_) => {}
        }
    }
    Ok(relevant.is_empty())
}

struct Search<'a> {
    installable: Vec<&'a Package>,
    groups: BTreeSet<&'a str>,
    asked: &'a BTreeMap<String, BTreeSet<String>>,
    env: &'a MarkerEnv,
}

impl<'a> Search<'a> {
    /// The package that satisfies the constraint; the newest if several versions are locked.
    fn pick(&self, name: &str, constraint: &str) -> Option<usize> {
        let candidates =
            || (0..self.installable.len()).filter(|&at| self.installable[at].name == name);
        let newest = |a: &usize, b: &usize| {
            let version = |at: usize| {
                self.installable[at]
                    .version
                    .parse::<pep440_rs::Version>()
                    .ok()
            };
            version(*a).cmp(&version(*b))
        };
        candidates()
            .filter(|&at| {
                version::satisfies(constraint, &self.installable[at].version) != Some(false)
            })
            .max_by(newest)
            .or_else(|| candidates().max_by(newest))
    }

    /// The packages of the tool's groups that depend on it, directly or indirectly.
    fn plugins(&self, root: usize) -> Result<BTreeSet<usize>, ClosureError> {
        let mut found = BTreeSet::from([root]);
        loop {
            let before = found.len();
            for at in 0..self.installable.len() {
                if !found.contains(&at) && self.in_groups(at) && self.depends_on(at, &found)? {
                    found.insert(at);
                }
            }
            if found.len() == before {
                return Ok(found);
            }
        }
    }

    /// Refuses a package whose own marker cannot be read.
    fn readable(&self, at: usize) -> Result<(), ClosureError> {
        let package = self.installable[at];
        let read = is_installable(package, &self.groups, self.env);
        read.map(drop).map_err(|source| ClosureError {
            package: package.name.clone(),
            source,
        })
    }

    fn in_groups(&self, at: usize) -> bool {
        let groups = &self.installable[at].groups;
        self.groups.is_empty()
            || groups
                .iter()
                .any(|group| self.groups.contains(group.as_str()))
    }

    fn depends_on(&self, at: usize, found: &BTreeSet<usize>) -> Result<bool, ClosureError> {
        let package = self.installable[at];
        for dependency in &package.dependencies {
            let hits = self
                .pick(&dependency.name, &dependency.constraint)
                .is_some_and(|needed| found.contains(&needed));
            if hits && self.is_active(package, dependency, &self.asked_of(package))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn asked_of(&self, package: &Package) -> BTreeSet<String> {
        self.asked.get(&package.name).cloned().unwrap_or_default()
    }

    /// Everything the seeds need, including the extras requested on the way.
    fn needs(&self, seeds: BTreeSet<usize>) -> Result<BTreeSet<usize>, ClosureError> {
        let mut extras: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
        let mut todo: Vec<(usize, BTreeSet<String>)> = seeds
            .into_iter()
            .map(|at| (at, self.asked_of(self.installable[at])))
            .collect();
        while let Some((at, wanted)) = todo.pop() {
            let new = !extras.contains_key(&at);
            let known = extras.entry(at).or_default();
            let before = known.len();
            known.extend(wanted);
            if !new && known.len() == before {
                continue;
            }
            let package = self.installable[at];
            for dependency in &package.dependencies {
                if !self.is_active(package, dependency, known)? {
                    continue;
                }
                if let Some(needed) = self.pick(&dependency.name, &dependency.constraint) {
                    todo.push((needed, dependency.extras.clone()));
                }
            }
        }
        Ok(extras.into_keys().collect())
    }

    /// An optional dependency is needed if a requested extra includes it: by its marker in newer locks, by the list
    /// of the extra in older ones.
    fn is_active(
        &self,
        package: &Package,
        dependency: &Dependency,
        extras: &BTreeSet<String>,
    ) -> Result<bool, ClosureError> {
        let marker = dependency.markers.as_deref().unwrap_or_default();
        let holds = self
            .env
            .holds(marker, Extras::Only(extras))
            .map_err(|source| ClosureError {
                package: package.name.clone(),
                source,
            })?;
        if !holds || !dependency.optional || mentions_extra(marker) {
            return Ok(holds);
        }
        Ok(extras.iter().any(|extra| {
            package
                .extras
                .get(extra)
                .is_some_and(|names| names.contains(&dependency.name))
        }))
    }

    fn locked(&self, at: usize) -> Locked {
        let package = self.installable[at];
        let mut hasher = Hasher::new();
        for hash in &package.hashes {
            hasher.update(hash.as_bytes());
            hasher.update(b"\n");
        }
        Locked {
            name: package.name.clone(),
            version: package.version.clone(),
            files: hasher.finish(),
            requirement: package.requirement(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::format::LockFormat;
    use super::super::marker::tests::linux;
    use super::*;

    const CSS: &str = include_str!("../../../tests/fixtures/python/poetry.lock");

    fn of(text: &str, tool: &str, asked: &[(&str, &str)]) -> Option<Closure> {
        let lock = LockFormat::Poetry.parse(text, &|_| None).expect("a lock");
        let mut extras: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, extra) in asked {
            extras
                .entry((*name).to_owned())
                .or_default()
                .insert((*extra).to_owned());
        }
        closure(&lock, tool, &extras, &linux()).expect("a closure")
    }

    fn check(text: &str, tool: &str, asked: &[(&str, &str)], expect: &[&str]) {
        let found: Vec<String> = of(text, tool, asked)
            .expect("the tool is locked")
            .packages
            .iter()
            .map(|package| format!("{} {}", package.name, package.version))
            .collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn the_closures_of_a_real_lock() {
        check(CSS, "ruff", &[], &["ruff 0.5.7"]);
        check(
            CSS,
            "yamllint",
            &[],
            &["pathspec 0.12.1", "pyyaml 6.0.2", "yamllint 1.37.1"],
        );
        check(
            CSS,
            "mdformat",
            &[],
            &[
                "linkify-it-py 2.0.3",
                "markdown-it-py 3.0.0",
                "mdformat 0.7.22",
                "mdformat-frontmatter 2.0.8",
                "mdformat-gfm 0.3.7",
                "mdformat-tables 1.0.0",
                "mdit-py-plugins 0.4.2",
                "mdurl 0.1.2",
                "ruamel-yaml 0.18.14",
                "ruamel-yaml-clib 0.2.12",
                "uc-micro-py 1.0.3",
                "wcwidth 0.2.13",
            ],
        );
        assert_eq!(of(CSS, "mypy", &[]), None);
    }

    #[test]
    fn a_comment_and_an_unrelated_package_change_nothing() {
        let changed = format!(
            "# a comment\n[[package]]\nname = \"unrelated\"\nversion = \"1\"\ngroups = [\"lint\"]\n{CSS}"
        );
        assert_eq!(of(&changed, "mdformat", &[]), of(CSS, "mdformat", &[]));
        let bumped = CSS.replace("version = \"0.2.13\"", "version = \"0.2.14\"");
        assert_ne!(of(&bumped, "mdformat", &[]), of(CSS, "mdformat", &[]));
        assert_eq!(of(&bumped, "yamllint", &[]), of(CSS, "yamllint", &[]));
    }

    #[test]
    fn a_changed_hash_changes_the_closure() {
        let changed = CSS.replace("sha256:6112", "sha256:6113");
        assert_ne!(of(&changed, "mdformat", &[]), of(CSS, "mdformat", &[]));
    }

    #[test]
    fn the_requirements_pin_every_package_with_its_hashes() {
        let requirements = of(CSS, "mdformat", &[]).and_then(|c| c.requirements().ok());
        let requirements = requirements.expect("all packages are hashed");
        assert_eq!(requirements.lines().count(), 12);
        assert!(
            requirements
                .lines()
                .all(|line| line.contains(" --hash=sha256:"))
        );
        let unhashed = "[[package]]\nname = 'ruff'\nversion = '1'\n";
        assert_eq!(
            of(unhashed, "ruff", &[]).map(|c| c.requirements()),
            Some(Err(vec!["ruff 1".to_owned()]))
        );
    }

    const SMALL: &str = r#"
[[package]]
name = "tool"
version = "1"
groups = ["lint"]
[package.dependencies]
lib = {version = ">=1", extras = ["fast"]}
gone = {version = "*", markers = "sys_platform == 'win32'"}
speed = {version = "*", optional = true}
[package.extras]
turbo = ["speed (>=1)"]

[[package]]
name = "lib"
version = "1"
groups = ["lint"]
markers = "python_version < '3.8'"

[[package]]
name = "lib"
version = "2"
groups = ["lint"]
markers = "python_version >= '3.8'"
[package.dependencies]
quick = {version = "*", optional = true, markers = "extra == 'fast'"}
slow = {version = "*", optional = true, markers = "extra == 'slow'"}
tool = "*"

[[package]]
name = "quick"
version = "1"
groups = ["lint"]

[[package]]
name = "slow"
version = "1"
groups = ["lint"]

[[package]]
name = "speed"
version = "1"
groups = ["lint"]

[[package]]
name = "gone"
version = "1"
groups = ["lint"]

[[package]]
name = "plugin"
version = "1"
groups = ["lint"]
[package.dependencies]
tool = "*"

[[package]]
name = "plugin-of-plugin"
version = "1"
groups = ["dev", "lint"]
[package.dependencies]
plugin = "*"

[[package]]
name = "elsewhere"
version = "1"
groups = ["main"]
[package.dependencies]
tool = "*"
"#;

    #[test]
    fn plugins_extras_markers_and_cycles() {
        let base = [
            "lib 2",
            "plugin 1",
            "plugin-of-plugin 1",
            "quick 1",
            "tool 1",
        ];
        check(SMALL, "tool", &[], &base);
        check(
            SMALL,
            "tool",
            &[("tool", "turbo")],
            &[
                "lib 2",
                "plugin 1",
                "plugin-of-plugin 1",
                "quick 1",
                "speed 1",
                "tool 1",
            ],
        );
    }

    #[test]
    fn a_marker_that_nobody_needs_is_nobodys_error() {
        let unneeded = "[[package]]\nname = 'unneeded'\nversion = '1'\nmarkers = 'python_version < \"3.8\" and ()'\n";
        check(&format!("{unneeded}{CSS}"), "ruff", &[], &["ruff 0.5.7"]);
    }

    #[test]
    fn a_marker_that_cannot_be_read_names_its_package() {
        let lock = LockFormat::Poetry
            .parse(
                "[[package]]\nname = 'a'\nversion = '1'\nmarkers = '!!'\n",
                &|_| None,
            )
            .expect("a lock");
        let error = closure(&lock, "a", &BTreeMap::new(), &linux()).expect_err("no marker");
        assert_eq!(error.package, "a");
    }
}
