//! The files ruff uses in addition to those it checks: configuration with `extend`, ignore files, and folders whose
//! names decide whether an import is first-party.
//!
//! Does not run ruff.

use std::collections::BTreeSet;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::path::RelPath;
use crate::plan::Inputs;
use crate::plan::check::OutsideFile;
use crate::provision::python::lock::TomlError;
use crate::provision::python::project::PYPROJECT;
use crate::provision::python::version;
use crate::scope::{PlanError, Scope, with_link_targets};
use crate::snapshot::{FileId, Snapshot};

/// The names of ruff's configuration.
pub(crate) const CONFIGS: [&str; 3] = ["ruff.toml", ".ruff.toml", PYPROJECT];

const IGNORE_FILES: [&str; 2] = [".gitignore", ".ignore"];

/// The first version that checks Markdown.
const MARKDOWN_SINCE: &str = ">=0.15";

/// The parts of a configuration file that concern files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct RuffConfig {
    /// Whether it configures ruff at all (a `pyproject.toml` may not).
    present: bool,
    /// The configuration it extends.
    extend: Option<String>,
    /// Whether it selects unusual files.
    chooses_files: bool,
    /// Where first-party modules are.
    src: Option<Vec<String>>,
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
        src: table
            .get("src")
            .and_then(toml::Value::as_array)
            .map(|list| {
                let texts = list.iter().filter_map(toml::Value::as_str);
                texts.map(str::to_owned).collect()
            }),
    })
}

/// What `ruff … .` in `dir` sees, and why its result may not be stored, if so.
///
/// Excluded files are not included, so they are not checked.
pub(crate) fn inputs(
    scope: &Scope<'_>,
    dir: &RelPath,
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
    let markdown = version.is_none_or(|v| version::satisfies(MARKDOWN_SINCE, v) != Some(false));
    let mut shared = below(scope, dir, |name| {
        files.chooses_files || is_usual(name, markdown) || IGNORE_FILES.contains(&name)
    });
    shared.extend(scope.chain(dir, &IGNORE_FILES));
    shared.extend(&files.config);
    with_link_targets(scope.snapshot, &mut shared);
    let roots = source_roots(scope, dir, &files.config)?;
    let namesakes = namesakes(scope, dir, &roots, &shared);
    shared.extend(namesakes);
    let inputs = Inputs::whole(shared).and_config(files.config);
    let inputs = inputs.and_outside(files.outside);
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

/// What ruff would consider a first-party module by its name although it is not an input: a folder directly below a
/// source root, whatever it contains (one of its files is sufficient), or a module beside the checked folder.
fn namesakes(
    scope: &Scope<'_>,
    dir: &RelPath,
    roots: &BTreeSet<RelPath>,
    inputs: &BTreeSet<FileId>,
) -> Vec<FileId> {
    let snapshot = scope.snapshot;
    let stands_for = |ids: Range<FileId>| {
        let is_input = inputs.range(ids.clone()).next().is_some();
        let mut files = ids.filter(|&id| {
            let path = &snapshot.entry(id).path;
            !path.starts_with(dir) || !is_usual(path.file_name(), true)
        });
        files.next().filter(|_| !is_input)
    };
    let hidden: Vec<(&str, FileId)> = roots
        .iter()
        .flat_map(|root| modules(snapshot, root))
        .filter_map(|(name, ids)| Some((name, stands_for(ids)?)))
        .collect();
    if hidden.is_empty() {
        return Vec::new();
    }
    let imported = imported(scope, inputs);
    hidden
        .into_iter()
        .filter(|(name, _)| imported.contains(*name))
        .map(|(_, id)| id)
        .collect()
}

/// Possible modules directly below `root`: folders and Python files, with the files they consist of.
fn modules<'a>(snapshot: &'a Snapshot, root: &RelPath) -> Vec<(&'a str, Range<FileId>)> {
    let all = snapshot.below(root);
    let mut found = Vec::new();
    let mut next = all.start;
    while next < all.end {
        let path = &snapshot.entry(next).path;
        let below = path.strip_prefix(root).unwrap_or_default();
        let (name, ids) = match below.split_once('/') {
            Some((name, _)) => {
                let folder = root.join(name).map(|folder| snapshot.below(&folder));
                (name, folder.unwrap_or(next..next + 1))
            }
            None => {
                let module = below
                    .strip_suffix(".py")
                    .or_else(|| below.strip_suffix(".pyi"));
                (module.unwrap_or_default(), next..next + 1)
            }
        };
        next = ids.end.max(next + 1);
        if is_identifier(name) {
            found.push((name, ids));
        }
    }
    found
}

/// The folders whose children ruff considers first-party modules: `src` of the configuration, else its folder and
/// `src` in it. A pattern stands for every folder.
fn source_roots(
    scope: &Scope<'_>,
    dir: &RelPath,
    configs: &BTreeSet<FileId>,
) -> Result<BTreeSet<RelPath>, PlanError> {
    let usual = || vec![".".to_owned(), "src".to_owned()];
    let mut roots: BTreeSet<RelPath> = usual().iter().flat_map(|name| dir.join(name)).collect();
    for &id in configs {
        let config = config(scope, id)?;
        let Some(folder) = scope
            .snapshot
            .entry(id)
            .path
            .parent()
            .filter(|_| config.present)
        else {
            continue;
        };
        for name in config.src.unwrap_or_else(usual) {
            if name.contains(['*', '?', '[', '{']) {
                let below = scope.snapshot.below(&folder);
                roots.extend(below.flat_map(|id| scope.snapshot.entry(id).path.ancestors()));
            } else {
                roots.extend(folder.join(&name));
            }
        }
    }
    Ok(roots)
}

fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c == '_' || c.is_alphabetic())
        && name.chars().all(|c| c == '_' || c.is_alphanumeric())
}

/// The top-level names of all imported modules, memoised by the files' digests.
fn imported(scope: &Scope<'_>, files: &BTreeSet<FileId>) -> BTreeSet<String> {
    let sources: Vec<FileId> = files
        .iter()
        .copied()
        .filter(|&id| is_usual(scope.snapshot.entry(id).path.file_name(), false))
        .collect();
    let digests: Vec<Digest> = sources
        .iter()
        .map(|&id| scope.snapshot.entry(id).digest)
        .collect();
    let found = scope
        .facts
        .derive("python-imports/1", Digest::combined(&digests), || {
            let mut names = BTreeSet::new();
            for &id in &sources {
                let bytes = scope.snapshot.read(id)?;
                imports(&String::from_utf8_lossy(&bytes), &mut names);
            }
            Ok::<_, std::io::Error>(names)
        });
    found.unwrap_or_default()
}

/// Adds the names in `import a.b, c` and `from d import e`. Notebooks contain such lines in quotes.
fn imports(text: &str, names: &mut BTreeSet<String>) {
    let mut add = |module: &str| {
        let module = module.trim_start();
        let end = module
            .find(|c: char| c != '_' && !c.is_alphanumeric())
            .unwrap_or(module.len());
        if end > 0 {
            names.insert(module[..end].to_owned());
        }
    };
    for statement in text.split(['\n', ';']) {
        let statement = statement.trim_start_matches([' ', '\t', '"']);
        if let Some(modules) = statement.strip_prefix("import ") {
            modules.split(',').for_each(&mut add);
        } else if let Some(module) = statement.strip_prefix("from ") {
            add(module);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::project::Project;
    use proptest::prelude::*;

    fn seen(project: &Project, dir: &str, version: Option<&str>) -> Vec<String> {
        let dir = RelPath::new(dir).expect("a folder");
        let (inputs, _) = inputs(&project.scope(), &dir, version).expect("inputs");
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
        assert!(seen(&project, "", Some("0.16.0")).contains(&"README.md".to_owned()));
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
        let (_, unknown) = inputs(&away.scope(), &RelPath::root(), None).expect("inputs");
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

    #[test]
    fn a_folder_with_the_name_of_an_imported_module_is_there() {
        let files = [
            (
                "a.py",
                "import kubernetes.client, os\nfrom docker import x\n",
            ),
            ("deploy/kubernetes/a.yaml", ""),
            ("docker/d.yaml", ""),
            ("docs/c.txt", ""),
            ("src/kubernetes/a.yaml", ""),
            ("src/kubernetes/b.yaml", ""),
        ];
        assert_eq!(
            seen(&Project::new(&files), "", Some("0.5.7")),
            ["a.py", "docker/d.yaml", "src/kubernetes/a.yaml"]
        );
        for src in ["src = ['deploy']", "src = ['d*']"] {
            let configured = Project::new(&[&files[..], &[("ruff.toml", src)]].concat());
            let seen = seen(&configured, "", Some("0.5.7"));
            assert!(
                seen.contains(&"deploy/kubernetes/a.yaml".to_owned()),
                "{src}"
            );
        }
    }

    #[test]
    fn modules_beside_a_nested_project_are_there_if_imported() {
        let project = Project::new(&[
            ("common/__init__.py", ""),
            ("common/x.py", ""),
            ("other.py", ""),
            ("ruff.toml", ""),
            ("sub/a.py", "import common\nimport os\n"),
        ]);
        assert_eq!(
            seen(&project, "sub", Some("0.5.7")),
            ["common/__init__.py", "ruff.toml", "sub/a.py"]
        );
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
        fn arbitrary_text_never_panics(text in ".{0,100}", like in "(import |from |\n|,|\\.|é|a| as )*") {
            let _ = read(&text, true);
            imports(&text, &mut BTreeSet::new());
            imports(&like, &mut BTreeSet::new());
        }
    }
}
