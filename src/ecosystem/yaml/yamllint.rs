//! `yaml:yamllint`: planned if yamllint is locked or configured.
//!
//! Has the same verdict as `yamllint .` in the folder: each file matching `yaml-files` of the configuration (or
//! `*.yaml`, `*.yml`, `.yamllint`) is a part; argv is `yamllint -f parsable -c CONFIG FILE…`, so that every line
//! names its file. The configuration is passed explicitly, also the default one, because files above the room must
//! not count. A file that the configuration's `ignore` certainly excludes is not a part; in doubt it is, and yamllint
//! silently skips it.

pub(crate) mod output;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use serde::{Deserialize, Serialize};

use crate::path::RelPath;
use crate::plan::check::OutsideFile;
use crate::plan::{Inputs, Plan};
use crate::provision::python::project::sites;
use crate::provision::python::tool::ready;
use crate::scope::with_link_targets;
use crate::scope::{PlanError, Scope};
use crate::snapshot::FileId;

use output::Yamllint;

/// The names of its configuration, in the order in which yamllint looks for them.
const CONFIGS: [&str; 3] = [".yamllint", ".yamllint.yaml", ".yamllint.yml"];

/// The files yamllint checks by default.
const YAML_FILES: [&str; 3] = ["*.yaml", "*.yml", ".yamllint"];

pub(crate) fn plan(scope: &Scope<'_>, plan: &mut Plan) -> Result<(), PlanError> {
    for site in sites(scope, "yamllint", &scope.folders_of(&CONFIGS)) {
        let config = Config::find(scope, &site.dir);
        let files = config.files(scope, &site.dir);
        if files.is_empty() {
            continue;
        }
        let Some(ready) = ready(scope, plan, &site, "yamllint")? else {
            continue;
        };
        let parse = Yamllint { strict: false };
        let mut command = ready.command(&site, &config.argv(), parse).per_file();
        command.amend = Some(|command| {
            command.parse = Arc::new(Yamllint::for_args(&command.argv));
        });
        let check = ready.check("yaml:yamllint", &site, command);
        let check = check.not_cached(config.unknown.clone());
        plan.checks.push(check.sees(config.inputs(scope, files)));
    }
    Ok(())
}

/// A text or a list of texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    Many(Vec<String>),
}

impl Texts {
    fn lines(&self) -> Vec<&str> {
        match self {
            Self::One(text) => text.lines().collect(),
            Self::Many(texts) => texts.iter().map(String::as_str).collect(),
        }
    }
}

/// The parts of a configuration that concern files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Settings {
    extends: Option<String>,
    ignore: Option<Texts>,
    ignore_from_file: Option<Texts>,
    yaml_files: Option<Vec<String>>,
    #[serde(default)]
    rules: BTreeMap<String, Rule>,
}

/// The setting of a rule: `enable`, or a table that may ignore files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Rule {
    Table {
        #[serde(rename = "ignore-from-file", default)]
        ignore_from_file: Option<Texts>,
    },
    Other(serde_json::Value),
}

/// The configuration of one check, and its files.
#[derive(Debug, Default)]
struct Config {
    /// As named on the command line; `None` for the default one.
    argument: Option<String>,
    settings: Settings,
    files: BTreeSet<FileId>,
    outside: Vec<OutsideFile>,
    /// Why results may not be stored.
    unknown: Option<String>,
}

impl Config {
    /// The configuration yamllint finds from `dir` upwards, up to the user's home.
    fn find(scope: &Scope<'_>, dir: &RelPath) -> Self {
        if let Some(id) = scope.chain(dir, &CONFIGS).first().copied() {
            return Self::inside(scope, dir, id);
        }
        let Some(found) = scope.above(&CONFIGS).into_iter().next() else {
            return Self::default();
        };
        if above_home(scope, found.up) {
            return Self::default();
        }
        let up = "../".repeat(dir.segments().count() + found.up as usize);
        let path = scope
            .snapshot
            .root()
            .ancestors()
            .nth(found.up as usize)
            .map(|folder| found.path.under(folder));
        let text = path.and_then(|path| crate::fs::text(path).ok());
        let settings = settings(text.as_deref().unwrap_or_default());
        let mut config = Self {
            argument: Some(format!("{up}{}", found.path.as_str())),
            outside: vec![found],
            ..Self::default()
        };
        const FILE: &str = "the configuration above the project";
        config.follow_ignored(scope, dir, &settings, FILE);
        let base = settings.extends.as_deref();
        if let Some(name) = base.filter(|name| name.contains('/')) {
            config.leads_away(FILE, name);
        }
        Self { settings, ..config }
    }

    fn inside(scope: &Scope<'_>, dir: &RelPath, id: FileId) -> Self {
        let path = &scope.snapshot.entry(id).path;
        let argument = match path.strip_prefix(dir) {
            Some(below) => below.to_owned(),
            None => {
                let shared = path.parent().unwrap_or_default().segments().count();
                let up = dir.segments().count() - shared;
                format!("{}{}", "../".repeat(up), path.file_name())
            }
        };
        let mut config = Self {
            argument: Some(argument),
            settings: remembered(scope, id),
            ..Self::default()
        };
        config.follow(scope, dir, id);
        config
    }

    /// Adds the files that the configuration refers to; yamllint opens them relative to its working directory.
    fn follow(&mut self, scope: &Scope<'_>, dir: &RelPath, id: FileId) {
        let mut todo = vec![id];
        while let Some(id) = todo.pop() {
            if !self.files.insert(id) {
                continue;
            }
            let settings = remembered(scope, id);
            let path = &scope.snapshot.entry(id).path;
            self.follow_ignored(scope, dir, &settings, path);
            if let Some(name) = settings.extends.as_deref() {
                match find(scope, dir, name) {
                    Some(base) => todo.push(base),
                    // Without a slash, it may be one bundled with yamllint.
                    None if name.contains('/') => self.leads_away(path, name),
                    None => {}
                }
            }
        }
    }

    /// Adds the files with patterns to ignore that a configuration file names.
    fn follow_ignored(&mut self, scope: &Scope<'_>, dir: &RelPath, settings: &Settings, by: &str) {
        for name in settings.ignore_files() {
            match find(scope, dir, name) {
                Some(id) => self.files.extend([id]),
                None => self.leads_away(by, name),
            }
        }
    }

    fn leads_away(&mut self, file: &str, name: &str) {
        self.unknown = Some(format!(
            "{file} refers to `{name}`, which is not a project file"
        ));
    }

    fn argv(&self) -> Vec<&str> {
        let mut argv = vec!["yamllint", "-f", "parsable"];
        match &self.argument {
            Some(path) => argv.extend(["-c", path]),
            None => argv.extend(["-d", "extends: default"]),
        }
        argv
    }

    /// The files that `yamllint .` in `dir` would check.
    fn files(&self, scope: &Scope<'_>, dir: &RelPath) -> Vec<FileId> {
        let (Some(wanted), ignored) = (self.wanted(), self.ignored()) else {
            return Vec::new();
        };
        scope
            .checked()
            .filter_map(|(id, entry)| Some((id, entry.path.strip_prefix(dir)?)))
            .filter(|(_, path)| {
                let name = path.rsplit('/').next().unwrap_or(path);
                wanted.matched(name, false).is_ignore()
            })
            .filter(|(_, path)| {
                !ignored.as_ref().is_some_and(|ignored| {
                    ignored.matched_path_or_any_parents(path, false).is_ignore()
                })
            })
            .map(|(id, _)| id)
            .filter(|&id| scope.leads_to_file(id))
            .collect()
    }

    fn wanted(&self) -> Option<Gitignore> {
        match &self.settings.yaml_files {
            Some(patterns) => patterns_of(patterns.iter().map(String::as_str)),
            None => patterns_of(YAML_FILES.into_iter()),
        }
    }

    /// Only patterns that yamllint's matcher interprets the same way: none if one negates another, and none with a
    /// class or an escape.
    fn ignored(&self) -> Option<Gitignore> {
        let lines = self.settings.ignore.as_ref()?.lines();
        if lines.iter().any(|line| line.trim_start().starts_with('!')) {
            return None;
        }
        let plain = lines.into_iter().filter(|line| !line.contains(['[', '\\']));
        patterns_of(plain)
    }

    fn inputs(self, scope: &Scope<'_>, files: Vec<FileId>) -> Inputs {
        let mut shared = self.files.clone();
        with_link_targets(scope.snapshot, &mut shared);
        let inputs = scope.per_file(files).and_shared(shared);
        inputs.and_config(self.files).and_outside(self.outside)
    }
}

impl Settings {
    fn ignore_files(&self) -> impl Iterator<Item = &str> {
        let of_rules = self.rules.values().filter_map(|rule| match rule {
            Rule::Table { ignore_from_file } => ignore_from_file.as_ref(),
            Rule::Other(_) => None,
        });
        self.ignore_from_file
            .iter()
            .chain(of_rules)
            .flat_map(|texts| match texts {
                Texts::One(text) => vec![text.as_str()],
                Texts::Many(texts) => texts.iter().map(String::as_str).collect(),
            })
    }
}

fn find(scope: &Scope<'_>, dir: &RelPath, name: &str) -> Option<FileId> {
    scope.snapshot.find(&dir.join(name).ok()?)
}

/// Whether the folder `up` levels above the root is above the user's home.
fn above_home(scope: &Scope<'_>, up: u32) -> bool {
    let root = scope.snapshot.root();
    let Some(home) = scope.home().filter(|home| root.starts_with(home)) else {
        return false;
    };
    root.ancestors()
        .nth(up as usize)
        .is_some_and(|folder| folder != home && home.starts_with(folder))
}

fn patterns_of<'a>(patterns: impl Iterator<Item = &'a str>) -> Option<Gitignore> {
    let mut builder = GitignoreBuilder::new("");
    for pattern in patterns {
        // An invalid pattern matches nothing: the file is then left to yamllint.
        // Braces are literal, as in git.
        let _ = builder.add_line(None, &pattern.replace('{', "\\{"));
    }
    builder.build().ok()
}

fn remembered(scope: &Scope<'_>, id: FileId) -> Settings {
    let entry = scope.snapshot.entry(id);
    let read = scope.facts.derive("yamllint-config/1", entry.digest, || {
        let bytes = scope.snapshot.read(id)?;
        Ok::<_, std::io::Error>(settings(&String::from_utf8_lossy(&bytes)))
    });
    read.unwrap_or_default()
}

/// Unreadable files are left to yamllint to report.
fn settings(text: &str) -> Settings {
    serde_saphyr::from_str(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_configuration_that_is_none_is_left_to_yamllint() {
        assert_eq!(settings("rules: ["), Settings::default());
        assert_eq!(settings(""), Settings::default());
        let read = settings(
            "extends: default\nignore: |\n  manifests/\n  a\nrules:\n  truthy: enable\n  x:\n    ignore-from-file: [.gitignore]\n    level: error\n",
        );
        assert_eq!(read.extends.as_deref(), Some("default"));
        assert_eq!(read.ignore_files().collect::<Vec<_>>(), [".gitignore"]);
        assert_eq!(read.ignore.map(|texts| texts.lines().len()), Some(2));
    }

    #[cfg(unix)]
    mod planning {
        use super::*;
        use crate::plan::Work;
        use crate::testing::project::{LOCK, Project, planned};

        fn locked(files: &[(&str, &str)]) -> Project {
            Project::new(&[files, &[("poetry.lock", LOCK), ("pyproject.toml", "")]].concat())
        }

        fn planned_check(project: &mut Project, id: &str) -> crate::plan::Check {
            let plan = planned(project, plan);
            plan.check(id)
                .cloned()
                .unwrap_or_else(|| panic!("{:?}", plan.checks))
        }

        fn parts(project: &Project, check: &crate::plan::Check) -> Vec<String> {
            project.paths(check.inputs.parts.as_deref().unwrap_or_default())
        }

        fn argv(check: &crate::plan::Check) -> String {
            match &check.work {
                Work::Command(command) => command.argv.join(" "),
                other => panic!("{other:?}"),
            }
        }

        #[test]
        fn yaml_files_are_parts_but_for_the_ignored_and_the_excluded() {
            let mut project = locked(&[
                (".github/ci.yml", ""),
                (".yamllint.yml", "ignore: |\n  manifests/\n"),
                ("README.md", ""),
                ("a.yaml", ""),
                ("fixtures/bad.yaml", ""),
                ("manifests/x.yaml", ""),
                ("sub/manifests/y.yaml", ""),
            ]);
            project.exclude("fixtures");
            let check = planned_check(&mut project, "yaml:yamllint");
            assert_eq!(
                parts(&project, &check),
                [".github/ci.yml", ".yamllint.yml", "a.yaml"]
            );
            assert_eq!(project.paths(&check.inputs.shared), [".yamllint.yml"]);
            assert_eq!(argv(&check), "yamllint -f parsable -c .yamllint.yml");
            assert_eq!(check.layers, ["base", "tools:yamllint"]);
        }

        #[test]
        fn patterns_that_might_be_read_otherwise_ignore_nothing() {
            let mut project = locked(&[
                (".yamllint", "ignore: ['manifests/', '!manifests/x.yaml']\n"),
                ("manifests/x.yaml", ""),
            ]);
            let check = planned_check(&mut project, "yaml:yamllint");
            assert_eq!(parts(&project, &check), [".yamllint", "manifests/x.yaml"]);
        }

        #[test]
        fn files_that_the_configuration_names_are_seen() {
            let mut project = locked(&[
                (".gitignore", ""),
                (
                    ".yamllint",
                    "extends: conf/base.yaml\nignore-from-file: .gitignore\nyaml-files: ['*.yaml', '*.eyaml']\n",
                ),
                ("a.eyaml", ""),
                ("a.yml", ""),
                ("conf/base.yaml", "extends: relaxed\n"),
            ]);
            let check = planned_check(&mut project, "yaml:yamllint");
            assert_eq!(parts(&project, &check), ["a.eyaml", "conf/base.yaml"]);
            assert_eq!(
                project.paths(&check.inputs.shared),
                [".gitignore", ".yamllint", "conf/base.yaml"]
            );
            assert_eq!(check.not_cached, None);
        }

        #[test]
        fn a_configuration_that_leads_out_of_the_project_is_not_stored() {
            let mut project = locked(&[(".yamllint", "extends: /etc/y.yaml\n"), ("a.yml", "")]);
            let check = planned_check(&mut project, "yaml:yamllint");
            assert!(
                check
                    .not_cached
                    .is_some_and(|why| why.contains("/etc/y.yaml"))
            );
        }

        #[test]
        fn without_configuration_the_default_one_is_named() {
            let mut project = locked(&[("a.yml", "")]);
            let check = planned_check(&mut project, "yaml:yamllint");
            assert_eq!(argv(&check), "yamllint -f parsable -d extends: default");
        }

        #[test]
        fn a_nested_project_uses_the_configuration_above_it() {
            let mut project = Project::new(&[
                (".yamllint.yml", ""),
                ("a/b/poetry.lock", LOCK),
                ("a/b/pyproject.toml", ""),
                ("a/b/x.yaml", ""),
            ]);
            let check = planned_check(&mut project, "yaml:yamllint@a/b");
            assert_eq!(argv(&check), "yamllint -f parsable -c ../../.yamllint.yml");
            assert_eq!(parts(&project, &check), ["a/b/x.yaml"]);
        }
    }

    proptest! {
        #[test]
        fn arbitrary_configuration_never_panics(text in "(.|\n){0,100}") {
            settings(&text);
        }

        #[test]
        fn nearly_right_configuration_never_panics(text in crate::testing::damaged_text(
            "extends: default\nignore: |\n  a/*\n  !b\nyaml-files: ['*.yaml']\nrules:\n  line-length: {max: 80, level: &l warning}\n  braces: *l\n",
        )) {
            settings(&text);
        }
    }
}
