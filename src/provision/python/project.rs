//! Finds Python projects and the tools they declare, from `pyproject.toml`, the lock beside it, and the tools' own
//! configuration files.
//!
//! Everything read here is memoised by the digest of the file. A file that cannot be read is an error of the checks of
//! the tools it names, and a warning if it names none or lies below fixtures ([`unread`]). Knows nothing about
//! interpreters and environments.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::catalogue;
use crate::digest::{Digest, Hasher};
use crate::path::RelPath;
use crate::scope::{PlanError, Scope};
use crate::snapshot::FileId;

use super::closure::{Closure, closure};
use super::format::LockFormat;
use super::lock::{Lock, TomlError, names, normalized, requirement_name};
use super::marker::MarkerEnv;
use super::requirements;

/// The name of the project file.
pub(crate) const PYPROJECT: &str = "pyproject.toml";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Site {
    pub(crate) dir: RelPath,
    /// The lock that pins the tool; `None` if it is only configured.
    pub(crate) lock: Option<LockFile>,
    /// What is wrong with the lock, if it cannot be read.
    pub(crate) unread: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LockFile {
    pub(crate) format: LockFormat,
    pub(crate) id: FileId,
    /// The Python versions it is for.
    pub(crate) python: Option<String>,
}

/// What the fast path needs from a lock.
#[derive(Serialize, Deserialize)]
struct LockSummary {
    python: Option<String>,
    tools: BTreeSet<String>,
    /// Those that the project asks for itself, not only something it depends on.
    declared: BTreeSet<String>,
    /// Tools listed without a version.
    loose: BTreeSet<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pyproject {
    /// The packages it asks for.
    pub(crate) direct: BTreeSet<String>,
    /// The names below `[tool]`.
    pub(crate) tables: BTreeSet<String>,
    /// The requested extras by package.
    pub(crate) extras: BTreeMap<String, BTreeSet<String>>,
}

/// The folders that declare `tool`, sorted: by a dependency that is locked, or by configuration according to `configured`, unless a parent
/// folder declares it, too (its check sees this folder's configuration).
pub(crate) fn sites(scope: &Scope<'_>, tool: &str, configured: &BTreeSet<RelPath>) -> Vec<Site> {
    let mut found: BTreeMap<RelPath, Site> = BTreeMap::new();
    for (dir, locks) in locks(scope) {
        let first = |is: fn(&LockSummary) -> &BTreeSet<String>| {
            let mut locks = locks.iter().filter_map(|lock| lock.read.as_ref().ok());
            locks.find(|(_, summary)| is(summary).contains(tool))
        };
        let lock = first(|summary| &summary.tools).map(|(lock, _)| lock.clone());
        let is_loose = first(|summary| &summary.loose).is_some();
        let is_declared = configured.contains(&dir) || first(|summary| &summary.declared).is_some();
        let unread = locks.iter().find_map(|lock| lock.unread_by(tool));
        let unread = unread.filter(|_| lock.is_none()).map(str::to_owned);
        if (is_declared && (lock.is_some() || is_loose)) || unread.is_some() {
            found.insert(dir.clone(), Site { dir, lock, unread });
        }
    }
    for dir in configured {
        let declared = |folder: &RelPath| found.contains_key(folder) || configured.contains(folder);
        if !found.contains_key(dir) && !dir.ancestors().any(|folder| declared(&folder)) {
            let site = Site {
                dir: dir.clone(),
                lock: None,
                unread: None,
            };
            found.insert(dir.clone(), site);
        }
    }
    found.into_values().collect()
}

/// A lock that was looked at.
struct Looked {
    id: FileId,
    read: Result<(LockFile, LockSummary), Unread>,
}

/// A lock that cannot be read.
struct Unread {
    why: String,
    /// The tools it names nevertheless.
    tools: BTreeSet<String>,
}

impl Looked {
    /// What is wrong with it, if `tool` would need it.
    fn unread_by(&self, tool: &str) -> Option<&str> {
        let unread = self.read.as_ref().err()?;
        unread.tools.contains(tool).then_some(&*unread.why)
    }
}

/// What is wrong with the project file of a folder, if it cannot be read.
pub(crate) fn broken_project(scope: &Scope<'_>, dir: &RelPath) -> Option<String> {
    let id = beside(scope, dir, PYPROJECT)?;
    Some(pyproject(scope, id).err()?.message)
}

/// What to tell of the files that cannot be read and that no check names. The project files of the folders in
/// `configured` are named by checks.
pub(crate) fn unread(scope: &Scope<'_>, configured: &BTreeSet<RelPath>) -> Vec<String> {
    let locks = locks(scope).into_values().flatten();
    let locks = locks.filter_map(|lock| match lock.read {
        Err(unread) if unread.tools.is_empty() => Some((lock.id, unread.why)),
        _ => None,
    });
    let projects = scope
        .checked()
        .filter(|(_, entry)| entry.path.file_name() == PYPROJECT)
        .filter(|(_, entry)| {
            !entry
                .path
                .parent()
                .is_some_and(|dir| configured.contains(&dir))
        });
    let projects = projects.filter_map(|(id, _)| Some((id, pyproject(scope, id).err()?.message)));
    let told = locks.chain(projects).map(|(id, why)| {
        let plans = match scope.snapshot.entry(id).path.is_fixture() {
            true => "it looks like test data and plans nothing",
            false => "no check that is planned needs it",
        };
        format!("{why}\nnote: {plans}")
    });
    told.collect()
}

/// The locks of Python projects by folder, in order of preference.
fn locks(scope: &Scope<'_>) -> BTreeMap<RelPath, Vec<Looked>> {
    let mut found = BTreeMap::new();
    let mut dirs = scope.folders_of(&[PYPROJECT, "setup.py", "setup.cfg"]);
    dirs.insert(RelPath::root());
    let files = lock_files(scope);
    for dir in dirs {
        let Some(files) = files.get(&dir) else {
            continue;
        };
        let mut locks = Vec::new();
        for format in order(scope, &dir, files) {
            let files = files.iter().filter(|(known, _)| *known == format);
            locks.extend(files.map(|&(_, id)| look(scope, format, id)));
        }
        found.insert(dir, locks);
    }
    found
}

fn look(scope: &Scope<'_>, format: LockFormat, id: FileId) -> Looked {
    let read = match summary(scope, format, id) {
        Ok(summary) => {
            let python = summary.python.clone();
            Ok((LockFile { format, id, python }, summary))
        }
        Err(error) => Err(Unread {
            why: error.message,
            tools: named(scope, format, id),
        }),
    };
    Looked { id, read }
}

/// The tools that an unreadable lock, or the project file beside it, names nevertheless; none for test data, which may
/// be broken on purpose.
fn named(scope: &Scope<'_>, format: LockFormat, id: FileId) -> BTreeSet<String> {
    let tools = catalogue::python_tools().map(str::to_owned);
    let path = &scope.snapshot.entry(id).path;
    if path.is_fixture() {
        return BTreeSet::new();
    }
    let Ok(bytes) = scope.snapshot.read(id) else {
        return tools.collect();
    };
    let text = String::from_utf8_lossy(&bytes);
    let project = path
        .parent()
        .and_then(|dir| scope.text(&dir.join(PYPROJECT).ok()?));
    let project = project.filter(|_| format != LockFormat::Requirements);
    let project = project.unwrap_or_default();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let words: BTreeSet<&str> = project.split(|c| !is_word(c)).collect();
    let is_named = |tool: &String| format.names(&text, tool) || words.contains(tool.as_str());
    tools.filter(is_named).collect()
}

/// Candidates for locks, by project folder: requirements may be in a folder named so.
fn lock_files(scope: &Scope<'_>) -> BTreeMap<RelPath, Vec<(LockFormat, FileId)>> {
    const FORMATS: [LockFormat; 3] = [LockFormat::Uv, LockFormat::Poetry, LockFormat::Requirements];
    let mut found: BTreeMap<RelPath, Vec<(LockFormat, FileId)>> = BTreeMap::new();
    for (id, entry) in scope.checked() {
        let name = entry.path.file_name();
        let Some(dir) = entry.path.parent() else {
            continue;
        };
        let format = FORMATS.into_iter().find(|format| format.is(name));
        if let Some(format) = format {
            found.entry(dir.clone()).or_default().push((format, id));
        }
        if dir.file_name() == "requirements"
            && name.ends_with(".txt")
            && let Some(project) = dir.parent()
        {
            let file = (LockFormat::Requirements, id);
            found.entry(project).or_default().push(file);
        }
    }
    found
}

/// The preference among a folder's locks: that of the tool that `pyproject.toml` configures, uv's before Poetry's if
/// it configures neither or both, requirements last.
fn order(scope: &Scope<'_>, dir: &RelPath, files: &[(LockFormat, FileId)]) -> [LockFormat; 3] {
    use LockFormat::{Poetry, Requirements, Uv};
    let have = |format| files.iter().any(|(known, _)| *known == format);
    if have(Uv)
        && have(Poetry)
        && let Some(id) = beside(scope, dir, PYPROJECT)
    {
        let tables = pyproject(scope, id).unwrap_or_default().tables;
        if tables.contains("poetry") && !tables.contains("uv") {
            return [Poetry, Uv, Requirements];
        }
    }
    [Uv, Poetry, Requirements]
}

fn beside(scope: &Scope<'_>, dir: &RelPath, name: &str) -> Option<FileId> {
    scope.snapshot.find(&dir.join(name).ok()?)
}

fn summary(scope: &Scope<'_>, format: LockFormat, id: FileId) -> Result<LockSummary, PlanError> {
    let project = scope.snapshot.entry(id).path.parent();
    let project = project.and_then(|dir| beside(scope, &dir, PYPROJECT));
    let mut digests = vec![content(scope, format, id)];
    digests.extend(project.map(|id| scope.snapshot.entry(id).digest));
    let digest = Digest::combined(&digests);
    // Another set of tools makes another summary.
    let known: BTreeSet<&str> = catalogue::python_tools().collect();
    let kind = format!("python-lock-summary/5 {known:?}");
    scope.facts.derive(&kind, digest, || {
        let lock = parsed(scope, format, id)?;
        let project = project.and_then(|id| pyproject(scope, id).ok());
        let direct = project.unwrap_or_default().direct;
        let declared = known.iter().filter(|name| lock.declares(name, &direct));
        let named = |pinned: bool| {
            let packages = lock.packages.iter();
            packages
                .filter(|package| package.version.is_empty() != pinned)
                .map(|package| package.name.clone())
                .filter(|name| known.contains(name.as_str()))
                .collect()
        };
        Ok(LockSummary {
            declared: declared.map(|name| (*name).to_owned()).collect(),
            tools: named(true),
            loose: named(false),
            python: lock.python,
        })
    })
}

fn parsed(scope: &Scope<'_>, format: LockFormat, id: FileId) -> Result<Lock, PlanError> {
    let path = &scope.snapshot.entry(id).path;
    let read = |name: &str| {
        let included = scope.snapshot.find(&path.parent()?.join(name).ok()?)?;
        text(scope, format, included).ok()
    };
    format
        .parse(&text(scope, format, id)?, &read)
        .map_err(|error| broken(path, &error, format.fix()))
}

/// The digest of a lock and everything it includes.
fn content(scope: &Scope<'_>, format: LockFormat, id: FileId) -> Digest {
    let digest = scope.snapshot.entry(id).digest;
    if format != LockFormat::Requirements {
        return digest;
    }
    let mut seen = BTreeMap::from([(String::new(), Some(digest))]);
    let mut files = BTreeSet::from([id]);
    let mut todo = vec![(String::new(), id)];
    while let Some((name, at)) = todo.pop() {
        let entry = scope.snapshot.entry(at);
        let names: Result<Vec<String>, PlanError> =
            scope
                .facts
                .derive("requirements-includes/2", entry.digest, || {
                    Ok(requirements::includes(&text(scope, format, at)?))
                });
        for path in names.unwrap_or_default() {
            let path = format!("{}{path}", requirements::folder_of(&name));
            if seen.contains_key(&path) {
                continue;
            }
            let folder = scope.snapshot.entry(id).path.parent().unwrap_or_default();
            let file = folder.join(&path).ok();
            let file = file.and_then(|file| scope.snapshot.find(&file));
            seen.insert(
                path.clone(),
                file.map(|file| scope.snapshot.entry(file).digest),
            );
            // A file may include itself through ever longer paths.
            todo.extend(
                file.filter(|file| files.insert(*file))
                    .map(|file| (path, file)),
            );
        }
    }
    let mut hasher = Hasher::new();
    for (name, digest) in &seen {
        hasher.update(format!("{name}={digest:?}\n").as_bytes());
    }
    hasher.finish()
}

/// How to lock `tool` with the package manager of the project in `dir`.
pub(crate) fn way_to_lock(scope: &Scope<'_>, dir: &RelPath, tool: &str) -> String {
    let project = beside(scope, dir, PYPROJECT);
    let project = project.and_then(|id| pyproject(scope, id).ok());
    let uses = |manager: &str, lock: &str| {
        beside(scope, dir, lock).is_some()
            || project
                .as_ref()
                .is_some_and(|project| project.tables.contains(manager))
    };
    if uses("poetry", "poetry.lock") {
        format!("`poetry add --group lint {tool}`")
    } else if uses("uv", "uv.lock") {
        format!("`uv add --dev {tool}`")
    } else {
        format!("`{tool}==VERSION` in requirements.txt")
    }
}

/// The closure of `tool` in the lock of `dir`, for the interpreter described by `env`.
pub(crate) fn locked_closure(
    scope: &Scope<'_>,
    dir: &RelPath,
    lock: &LockFile,
    tool: &str,
    env: &MarkerEnv,
) -> Result<Option<Closure>, PlanError> {
    let project = beside(scope, dir, PYPROJECT);
    let mut hasher = Hasher::new();
    hasher.update(content(scope, lock.format, lock.id).as_bytes());
    if let Some(id) = project {
        hasher.update(scope.snapshot.entry(id).digest.as_bytes());
    }
    for (name, value) in &env.0 {
        hasher.update(format!("{name}={value}\n").as_bytes());
    }
    hasher.update(tool.as_bytes());
    scope.facts.derive("python-closure/3", hasher.finish(), || {
        let parsed = parsed(scope, lock.format, lock.id)?;
        let mut extras = match project {
            Some(id) => pyproject(scope, id)?.extras,
            None => BTreeMap::new(),
        };
        for (name, asked) in &parsed.asked {
            add(&mut extras, name.clone(), asked.clone());
        }
        let path = &scope.snapshot.entry(lock.id).path;
        closure(&parsed, tool, &extras, env).map_err(|error| {
            let help = lock.format.fix();
            PlanError::new(format!("{error}\n  --> {path}\nhelp: {help}"))
        })
    })
}

pub(crate) fn pyproject(scope: &Scope<'_>, id: FileId) -> Result<Pyproject, PlanError> {
    let entry = scope.snapshot.entry(id);
    scope.facts.derive("python-pyproject/3", entry.digest, || {
        let text = text(scope, LockFormat::Poetry, id)?;
        parse(&text).map_err(|error| {
            let help = format!("fix it, or skip it with `exclude = [\"{}\"]`", entry.path);
            broken(&entry.path, &error, &help)
        })
    })
}

/// The text of a file as the tool of that format decodes it.
fn text(scope: &Scope<'_>, format: LockFormat, id: FileId) -> Result<String, PlanError> {
    let path = &scope.snapshot.entry(id).path;
    let bytes = scope
        .snapshot
        .read(id)
        .map_err(|error| PlanError::new(format!("cannot read {path}: {error}")))?;
    format.decode(bytes).map_err(|why| {
        PlanError::new(format!(
            "{path} {why}\n  --> {path}\nhelp: save it as UTF-8"
        ))
    })
}

fn broken(path: &RelPath, error: &TomlError, help: &str) -> PlanError {
    PlanError::new(format!(
        "{path} is invalid: {}\n  --> {path}:{}:{}\nhelp: {help}",
        error.message, error.line, error.column
    ))
}

fn parse(text: &str) -> Result<Pyproject, TomlError> {
    let root: toml::Table = text.parse().map_err(|error| TomlError::new(text, &error))?;
    let mut found = Pyproject::default();
    if let Some(tool) = root.get("tool").and_then(toml::Value::as_table) {
        found.tables = tool.keys().cloned().collect();
        if let Some(poetry) = tool.get("poetry") {
            poetry_dependencies(poetry, &mut found);
        }
    }
    let project = root.get("project");
    for list in [
        project.and_then(|p| p.get("dependencies")),
        project.and_then(|p| p.get("optional-dependencies")),
        root.get("dependency-groups"),
        root.get("tool")
            .and_then(|tool| tool.get("uv"))
            .and_then(|uv| uv.get("dev-dependencies")),
    ] {
        requirements_in(list, &mut found);
    }
    Ok(found)
}

type ExtrasByName = BTreeMap<String, BTreeSet<String>>;

/// `[tool.poetry.dependencies] name = {extras = […]}`, also in groups and in lists.
fn poetry_dependencies(poetry: &toml::Value, found: &mut Pyproject) {
    let groups = poetry.get("group").and_then(toml::Value::as_table);
    let tables = ["dependencies", "dev-dependencies"]
        .into_iter()
        .filter_map(|key| poetry.get(key))
        .chain(
            groups
                .into_iter()
                .flat_map(toml::Table::values)
                .filter_map(|group| group.get("dependencies")),
        )
        .filter_map(toml::Value::as_table);
    for (name, value) in tables.flatten() {
        let alternatives = match value {
            toml::Value::Array(items) => items.as_slice(),
            other => std::slice::from_ref(other),
        };
        found.direct.insert(normalized(name));
        for alternative in alternatives {
            let wanted = names(alternative.get("extras"));
            add(&mut found.extras, normalized(name), wanted);
        }
    }
}

/// Requirements (`name[extra]>=1`) in a list, or in the lists of a table.
fn requirements_in(value: Option<&toml::Value>, found: &mut Pyproject) {
    match value {
        Some(toml::Value::Table(table)) => {
            for list in table.values() {
                requirements_in(Some(list), found);
            }
        }
        Some(toml::Value::Array(items)) => {
            for text in items.iter().filter_map(toml::Value::as_str) {
                found.direct.insert(requirement_name(text));
                add(&mut found.extras, requirement_name(text), bracketed(text));
            }
        }
        _ => {}
    }
}

fn bracketed(requirement: &str) -> BTreeSet<String> {
    let before_marker = requirement.split(';').next().unwrap_or_default();
    let Some((_, rest)) = before_marker.split_once('[') else {
        return BTreeSet::new();
    };
    let list = rest.split(']').next().unwrap_or_default();
    list.split(',').map(normalized).collect()
}

fn add(extras: &mut ExtrasByName, name: String, wanted: BTreeSet<String>) {
    if !wanted.is_empty() {
        extras.entry(name).or_default().extend(wanted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::project::Project;
    use proptest::prelude::*;

    const LOCK: &str =
        "[[package]]\nname = 'ruff'\nversion = '1'\n[metadata]\npython-versions = '^3.9'\n";

    fn dirs(files: &[(&str, &str)], configured: &[&str]) -> Vec<(String, bool)> {
        let project = Project::new(files);
        let configured = configured
            .iter()
            .map(|dir| RelPath::new(dir).expect("a folder"))
            .collect();
        sites(&project.scope(), "ruff", &configured)
            .into_iter()
            .map(|site| (site.dir.as_str().to_owned(), site.lock.is_some()))
            .collect()
    }

    #[test]
    fn a_lock_declares_and_so_does_the_topmost_configuration() {
        let files = [
            ("a/poetry.lock", LOCK),
            ("a/pyproject.toml", ""),
            (
                "b/poetry.lock",
                "[[package]]\nname = 'other'\nversion = '1'\n",
            ),
            ("b/pyproject.toml", ""),
            ("c/poetry.lock", LOCK),
        ];
        let here = |dir: &str, locked| (dir.to_owned(), locked);
        assert_eq!(dirs(&files, &[]), [here("a", true)]);
        assert_eq!(
            dirs(&files, &["a/sub", "d", "d/sub"]),
            [here("a", true), here("d", false)]
        );
        assert_eq!(dirs(&files, &["", "d"]), [here("", false), here("a", true)]);
    }

    #[test]
    fn a_tool_that_only_a_dependency_needs_is_not_declared() {
        let other =
            "[[package]]\nname = 'other'\nversion = '1'\n[package.dependencies]\nruff = '*'\n";
        let lock = format!("{LOCK}{other}");
        let with =
            |project: &str| dirs(&[("poetry.lock", &lock), ("pyproject.toml", project)], &[]);
        assert_eq!(with("[tool.poetry.dependencies]\nother = '*'\n"), []);
        for project in [
            "[tool.poetry.group.lint.dependencies]\nruff = '*'\n",
            "[project]\ndependencies = ['ruff>=1']\n",
            "[project.optional-dependencies]\nlint = ['Ruff']\n",
            "[dependency-groups]\ndev = ['ruff']\n",
        ] {
            assert_eq!(with(project), [(String::new(), true)], "{project}");
        }
        // Its configuration declares it, and the lock pins it.
        let files = [("poetry.lock", &*lock), ("pyproject.toml", "")];
        assert_eq!(dirs(&files, &[""]), [(String::new(), true)]);
        // A plugin of it is for it.
        let plugin = lock.replace("other", "ruff-x");
        let files = [("poetry.lock", &*plugin), ("pyproject.toml", "")];
        assert_eq!(dirs(&files, &[]), [(String::new(), true)]);
        let needed = format!(
            "{plugin}[[package]]\nname = 'y'\nversion = '1'\n[package.dependencies]\nruff-x = '*'\n"
        );
        let files = [("poetry.lock", &*needed), ("pyproject.toml", "")];
        assert_eq!(dirs(&files, &[]), []);
    }

    #[test]
    fn each_kind_of_lock_says_what_the_project_asks_for() {
        let uv = "version = 1\n[[package]]\nname = 'p'\nsource = { virtual = '.' }\ndependencies = [{ name = 'DIRECT' }]\n\
            [[package]]\nname = 'other'\nversion = '1'\ndependencies = [{ name = 'ruff' }]\n[[package]]\nname = 'ruff'\nversion = '1'\n";
        let pip = "other==1  # via -r requirements.in\nruff==1  # via DIRECT\n";
        for (name, text, direct, indirect) in [
            ("uv.lock", uv, "ruff", "other"),
            (
                "requirements.txt",
                pip,
                "-r requirements.in, other",
                "other",
            ),
        ] {
            let found = |by: &str| {
                let text = text.replace("DIRECT", by);
                dirs(&[(name, &text), ("pyproject.toml", "")], &[]).len()
            };
            assert_eq!((found(direct), found(indirect)), (1, 0), "{name}");
        }
    }

    #[test]
    fn hints_name_the_package_manager_of_the_project() {
        let way = |files: &[(&str, &str)]| {
            let project = Project::new(files);
            way_to_lock(&project.scope(), &RelPath::root(), "ruff")
        };
        let uv = "`uv add --dev ruff`";
        assert_eq!(way(&[("uv.lock", "")]), uv);
        assert_eq!(way(&[("pyproject.toml", "[tool.uv]")]), uv);
        let poetry = "`poetry add --group lint ruff`";
        assert_eq!(way(&[("poetry.lock", "")]), poetry);
        assert_eq!(way(&[("pyproject.toml", "[tool.poetry]")]), poetry);
        assert!(way(&[("pyproject.toml", "")]).contains("requirements.txt"));
    }

    #[test]
    fn an_excluded_project_declares_nothing() {
        let mut project = Project::new(&[("a/poetry.lock", LOCK), ("a/pyproject.toml", "")]);
        project.exclude("a");
        let found = sites(&project.scope(), "ruff", &BTreeSet::new());
        assert_eq!(found, []);
    }

    const BROKEN: &str = "[[package]]\nname = \"ruff\"\nversion = \n";

    fn ruff_sites(files: &[(&str, &str)]) -> (Vec<Site>, Vec<String>) {
        let project = Project::new(files);
        let sites = sites(&project.scope(), "ruff", &BTreeSet::new());
        (sites, unread(&project.scope(), &BTreeSet::new()))
    }

    #[test]
    fn a_broken_lock_is_an_error_of_the_tools_it_names() {
        let (sites, warnings) = ruff_sites(&[("poetry.lock", BROKEN), ("pyproject.toml", "")]);
        let [site] = sites.as_slice() else {
            panic!("{sites:?}");
        };
        let why = site.unread.as_deref().unwrap_or_default();
        assert!(why.contains("--> poetry.lock:3:"), "{why}");
        assert!(why.contains("help: "), "{why}");
        assert_eq!(warnings, [""; 0]);
        let other = BROKEN.replace("ruff", "flask");
        let (sites, warnings) = ruff_sites(&[("poetry.lock", &other), ("pyproject.toml", "")]);
        assert_eq!(sites, []);
        assert!(warnings[0].contains("--> poetry.lock:3:"), "{warnings:?}");
    }

    #[test]
    fn a_lock_that_can_be_read_comes_before_a_broken_one() {
        let files = [
            ("poetry.lock", LOCK),
            ("uv.lock", BROKEN),
            ("pyproject.toml", "[tool.poetry]"),
        ];
        let (sites, _) = ruff_sites(&files);
        assert!(sites[0].lock.is_some() && sites[0].unread.is_none());
    }

    #[test]
    fn what_is_broken_below_fixtures_is_a_warning() {
        for dir in ["tests/data", "x/templates", "third_party/x"] {
            let lock = format!("{dir}/poetry.lock");
            let project = format!("{dir}/pyproject.toml");
            let (sites, warnings) = ruff_sites(&[(&lock, BROKEN), (&project, "a = [")]);
            assert_eq!(sites, []);
            assert_eq!(warnings.len(), 2, "{warnings:?}");
            assert!(warnings[0].contains("plans nothing"), "{warnings:?}");
        }
    }

    #[test]
    fn reads_tables_and_extras() {
        let read = parse(
            r#"
[project]
dependencies = ["anyio[trio]>=4 ; os_name == 'x'", "plain"]
[project.optional-dependencies]
all = ["Lib[A,b_c]"]
[dependency-groups]
lint = ["yamllint", {include-group = "x"}]
[tool.poetry.group.lint.dependencies]
black = {version = "*", extras = ["jupyter"]}
many = [{version = "1", extras = ["x"]}, {version = "2"}]
[tool.ruff]
"#,
        )
        .expect("TOML");
        assert_eq!(
            read.tables,
            BTreeSet::from(["poetry".to_owned(), "ruff".to_owned()])
        );
        let extras: Vec<String> = read
            .extras
            .iter()
            .map(|(name, extras)| format!("{name} {extras:?}"))
            .collect();
        assert_eq!(
            extras,
            [
                r#"anyio {"trio"}"#,
                r#"black {"jupyter"}"#,
                r#"lib {"a", "b-c"}"#,
                r#"many {"x"}"#
            ]
        );
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in ".{0,100}") {
            let _ = parse(&text);
            let _ = bracketed(&text);
        }
    }
}
