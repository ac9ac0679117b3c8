//! The files ruff uses in addition to those it checks: configuration with `extend`, ignore files, and folders whose
//! names decide whether an import is first-party.
//!
//! Does not run ruff.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::path::RelPath;
use crate::plan::Inputs;
use crate::plan::check::OutsideFile;
use crate::provision::python::lock::TomlError;
use crate::provision::python::project::PYPROJECT;
use crate::provision::python::version::satisfies;
use crate::scope::{PlanError, Scope, link_target, with_link_targets};
use crate::snapshot::{FileId, Kind};

/// The names of ruff's configuration.
pub(crate) const CONFIGS: [&str; 3] = ["ruff.toml", ".ruff.toml", PYPROJECT];

const IGNORE_FILES: [&str; 2] = [".gitignore", ".ignore"];

/// What ruff is run for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    Check,
    Format,
}

impl Task {
    /// The versions that do not read Markdown, as far as they are known (0.15 formats it with `preview`).
    const fn without_markdown(self) -> &'static str {
        match self {
            Self::Check => "<0.18",
            Self::Format => "<0.15",
        }
    }
}

/// The parts of a configuration file that concern files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct RuffConfig {
    /// Whether it configures ruff at all (a `pyproject.toml` may not).
    present: bool,
    /// The configuration it extends.
    extend: Option<String>,
    /// Whether it selects unusual files.
    chooses_files: bool,
}

/// The folders with a ruff configuration.
pub(crate) fn configured(scope: &Scope<'_>) -> Result<BTreeSet<RelPath>, PlanError> {
    let mut found = BTreeSet::new();
    for (id, entry) in scope.checked() {
        if CONFIGS.contains(&entry.path.file_name()) && config(scope, id)?.present {
            found.extend(entry.path.parent());
        }
    }
    Ok(found)
}

/// What of a file decides about files. Ruff itself says what is wrong with a broken one that it comes to read; such a
/// `pyproject.toml` configures it if it names its table and is no test data.
fn config(scope: &Scope<'_>, id: FileId) -> Result<RuffConfig, PlanError> {
    let entry = scope.snapshot.entry(id);
    let is_pyproject = entry.path.file_name() == PYPROJECT;
    let is_fixture = entry.path.is_fixture();
    let kind = match (is_pyproject, is_fixture) {
        (true, true) => "ruff-fixture-pyproject/1",
        (true, false) => "ruff-pyproject/2",
        (false, _) => "ruff-config/1",
    };
    scope.facts.derive(kind, entry.digest, || {
        let text = scope.text(&entry.path).unwrap_or_default();
        let names_table = text.contains("[tool.ruff") && !is_fixture;
        Ok(read(&text, is_pyproject).unwrap_or(RuffConfig {
            present: !is_pyproject || names_table,
            ..RuffConfig::default()
        }))
    })
}

fn read(text: &str, is_pyproject: bool) -> Result<RuffConfig, TomlError> {
    let mut root: toml::Table = text.parse().map_err(|error| TomlError::new(text, &error))?;
    let table = if is_pyproject {
        match root.remove("tool").and_then(|mut tool| {
            let tool = tool.as_table_mut()?;
            tool.remove("ruff")
        }) {
            Some(toml::Value::Table(table)) => table,
            _ => return Ok(RuffConfig::default()),
        }
    } else {
        root
    };
    let extend = table.get("extend").and_then(toml::Value::as_str);
    Ok(RuffConfig {
        present: true,
        extend: extend.map(str::to_owned),
        chooses_files: ["include", "extend-include", "extension"]
            .iter()
            .any(|key| table.contains_key(*key)),
    })
}

/// What `ruff … .` in `dir` sees, and why its result may not be stored, if so.
///
/// Excluded files are not included, so they are not checked.
pub(crate) fn inputs(
    scope: &Scope<'_>,
    dir: &RelPath,
    task: Task,
    version: Option<&str>,
) -> Result<(Inputs, Option<String>), PlanError> {
    let mut files = Files {
        config: below(scope, dir, |name| CONFIGS.contains(&name)),
        ..Files::default()
    };
    files.config.extend(scope.chain(dir, &CONFIGS));
    let in_chain = configured_in_chain(scope, dir)?;
    if !in_chain {
        files.outside = scope.above(&CONFIGS);
    }
    files.follow_extends(scope)?;
    let without = task.without_markdown();
    let markdown = version.is_none_or(|version| satisfies(without, version) != Some(true));
    let mut shared = below(scope, dir, |name| {
        files.chooses_files || is_usual(name, markdown) || IGNORE_FILES.contains(&name)
    });
    shared.extend(scope.chain(dir, &IGNORE_FILES));
    shared.extend(scope.chain(dir, &["__init__.py"]));
    shared.extend(&files.config);
    with_link_targets(scope.snapshot, &mut shared);
    let packages = match task {
        Task::Check => packages(scope, dir, &mut shared),
        Task::Format => BTreeSet::new(),
    };
    let inputs = Inputs::whole(shared).and_config(files.config);
    let inputs = inputs.and_outside(files.outside).and_folders(packages);
    Ok((inputs, files.unknown))
}

fn below(scope: &Scope<'_>, dir: &RelPath, wanted: impl Fn(&str) -> bool) -> BTreeSet<FileId> {
    scope
        .snapshot
        .below(dir)
        .filter(|&id| scope.excluded.get(id as usize) != Some(&true))
        .filter(|&id| wanted(scope.snapshot.entry(id).path.file_name()))
        .collect()
}

fn is_usual(name: &str, markdown: bool) -> bool {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("py" | "pyi" | "pyw" | "ipynb") => true,
        Some("md") => markdown,
        _ => false,
    }
}

/// ruff stops at the first configuration above the folder.
fn configured_in_chain(scope: &Scope<'_>, dir: &RelPath) -> Result<bool, PlanError> {
    for id in scope.chain(dir, &CONFIGS) {
        if config(scope, id)?.present {
            return Ok(true);
        }
    }
    Ok(false)
}

#[derive(Default)]
struct Files {
    config: BTreeSet<FileId>,
    outside: Vec<OutsideFile>,
    chooses_files: bool,
    unknown: Option<String>,
}

impl Files {
    fn follow_extends(&mut self, scope: &Scope<'_>) -> Result<(), PlanError> {
        let mut todo: Vec<FileId> = self.config.iter().copied().collect();
        while let Some(id) = todo.pop() {
            let config = config(scope, id)?;
            self.chooses_files |= config.chooses_files;
            let Some(extend) = config.extend else {
                continue;
            };
            let path = &scope.snapshot.entry(id).path;
            let target = path.parent().and_then(|folder| folder.join(&extend).ok());
            match target.and_then(|target| scope.snapshot.find(&target)) {
                Some(target) if self.config.insert(target) => todo.push(target),
                Some(_) => {}
                None => {
                    self.unknown = Some(format!(
                        "{path} extends `{extend}`, which is not a project file"
                    ));
                }
            }
        }
        Ok(())
    }
}

/// What decides by its mere name which imports are first-party: every folder that could be a package, unless a visible
/// file is in it. Which of them are imported is not asked: that needs a parser that sees exactly the imports ruff sees.
/// A module outside the checked folder is represented by a folder, which ruff does not distinguish from it. Links to
/// folders become visible.
fn packages(scope: &Scope<'_>, dir: &RelPath, shared: &mut BTreeSet<FileId>) -> BTreeSet<RelPath> {
    let (mut packages, mut linked) = (BTreeSet::new(), BTreeSet::new());
    let mut last = "";
    for (entry, id) in scope.snapshot.entries().iter().zip(0..) {
        let (folder, name) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
        if entry.kind == Kind::Symlink && is_identifier(name) && scope.may_be_folder(id) {
            shared.insert(id);
            linked.extend(link_target(scope.snapshot, id));
        }
        let module = name.strip_suffix(".py").or(name.strip_suffix(".pyi"));
        if let Some(module) = module
            && !entry.path.starts_with(dir)
        {
            packages.extend(
                entry
                    .path
                    .parent()
                    .and_then(|folder| folder.join(module).ok()),
            );
        }
        if folder != last {
            packages.extend(entry.path.ancestors());
            last = folder;
        }
    }
    let exists = |folder: &RelPath| linked.contains(folder) || is_identifier(folder.file_name());
    packages.retain(exists);
    for &id in &*shared {
        for folder in scope.snapshot.entry(id).path.ancestors() {
            packages.remove(&folder);
        }
    }
    packages
}

/// Whether it could be the name of a module; in doubt it could.
fn is_identifier(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name
            .chars()
            .all(|c| c == '_' || c.is_ascii_alphanumeric() || !c.is_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::project::Project;
    use proptest::prelude::*;

    fn seen(project: &Project, dir: &str, version: Option<&str>) -> Vec<String> {
        let dir = RelPath::new(dir).expect("a folder");
        let (inputs, _) = inputs(&project.scope(), &dir, Task::Check, version).expect("inputs");
        project.paths(&inputs.shared)
    }

    #[test]
    fn python_files_configuration_and_ignore_files() {
        let project = Project::new(&[
            (".gitignore", ""),
            (".ruff.toml", ""),
            ("README.md", ""),
            ("a.py", ""),
            ("data.txt", ""),
            ("n.ipynb", ""),
            ("sub/.ignore", ""),
            ("sub/b.pyi", ""),
            ("sub/pyproject.toml", ""),
        ]);
        let all = [
            ".gitignore",
            ".ruff.toml",
            "a.py",
            "n.ipynb",
            "sub/.ignore",
            "sub/b.pyi",
            "sub/pyproject.toml",
        ];
        assert_eq!(seen(&project, "", Some("0.5.7")), all);
        let below = [
            ".gitignore",
            ".ruff.toml",
            "sub/.ignore",
            "sub/b.pyi",
            "sub/pyproject.toml",
        ];
        assert_eq!(seen(&project, "sub", Some("0.5.7")), below);
        assert!(seen(&project, "", None).contains(&"README.md".to_owned()));
        assert_eq!(seen(&project, "", Some("0.17.6")), all);
        let formats = |version| {
            let dir = RelPath::root();
            let found = inputs(&project.scope(), &dir, Task::Format, Some(version));
            let seen = project.paths(&found.expect("inputs").0.shared);
            seen.contains(&"README.md".to_owned())
        };
        assert!(!formats("0.14.14") && formats("0.15.12") && formats("0.17.6"));
    }

    #[test]
    fn an_excluded_file_is_not_seen() {
        let mut project = Project::new(&[("a.py", ""), ("fixtures/b.py", "")]);
        project.exclude("fixtures");
        assert_eq!(seen(&project, "", None), ["a.py"]);
    }

    #[test]
    fn extended_configuration_is_followed() {
        let project = Project::new(&[
            ("conf/base.toml", "extend = 'more.toml'"),
            ("conf/more.toml", ""),
            ("pyproject.toml", "[tool.ruff]\nextend = 'conf/base.toml'\n"),
        ]);
        assert_eq!(
            seen(&project, "", None),
            ["conf/base.toml", "conf/more.toml", "pyproject.toml"]
        );
        let away = Project::new(&[("ruff.toml", "extend = '~/ruff.toml'")]);
        let (_, unknown) =
            inputs(&away.scope(), &RelPath::root(), Task::Check, None).expect("inputs");
        assert!(unknown.is_some_and(|why| why.contains("~/ruff.toml")));
    }

    #[test]
    fn a_configuration_that_chooses_files_sees_all() {
        let project = Project::new(&[
            ("SConstruct", ""),
            ("ruff.toml", "extend-include = ['SConstruct']"),
        ]);
        assert_eq!(seen(&project, "", None), ["SConstruct", "ruff.toml"]);
    }

    /// The folders that `ruff check` in `dir` sees by name.
    fn packages_of(files: &[(&str, &str)], dir: &str) -> Vec<String> {
        let project = Project::new(files);
        let dir = RelPath::new(dir).expect("a folder");
        let found = inputs(&project.scope(), &dir, Task::Check, None).expect("inputs");
        let folders = found.0.folders.iter();
        folders.map(|folder| folder.as_str().to_owned()).collect()
    }

    #[test]
    fn a_folder_is_there_by_name_whoever_imports_it() {
        let files = [
            ("a.py", "import os\r\u{c}import wandb\r"),
            ("data/more/x.txt", ""),
            ("no-module/c.txt", ""),
            ("package/b.py", ""),
            ("package/data/c.txt", ""),
            ("wandb/run.txt", ""),
        ];
        let expected = ["data", "data/more", "package/data", "wandb"];
        assert_eq!(packages_of(&files, ""), expected);
        let project = Project::new(&files);
        let (formatted, _) =
            inputs(&project.scope(), &RelPath::root(), Task::Format, None).expect("inputs");
        assert!(formatted.folders.is_empty());
    }

    #[test]
    fn modules_beside_a_nested_project_are_there_by_name() {
        let files = [
            ("__init__.py", ""),
            ("common/__init__.py", ""),
            ("common/x.py", ""),
            ("other.pyi", ""),
            ("ruff.toml", ""),
            ("sub/a.py", ""),
        ];
        let expected = ["__init__", "common", "common/__init__", "common/x", "other"];
        assert_eq!(packages_of(&files, "sub"), expected);
        let seen = seen(&Project::new(&files), "sub", None);
        assert_eq!(seen, ["__init__.py", "ruff.toml", "sub/a.py"]);
    }

    #[test]
    fn configured_folders() {
        let project = Project::new(&[
            ("a/ruff.toml", ""),
            ("b/pyproject.toml", "[tool.ruff]"),
            ("c/pyproject.toml", "[tool.black]"),
            ("d/pyproject.toml", "broken ="),
            ("e/pyproject.toml", "[tool.ruff]\nbroken ="),
            ("tests/f/pyproject.toml", "[tool.ruff]\nbroken ="),
        ]);
        let found = configured(&project.scope()).expect("configured");
        let found: Vec<&str> = found.iter().map(RelPath::as_str).collect();
        assert_eq!(found, ["a", "b", "e"]);
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in ".{0,100}") {
            let _ = read(&text, true);
        }
    }
}
