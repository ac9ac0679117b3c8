//! YAML: finds YAML files and plans their checks.
//!
//! - [`syntax`]: `yaml:syntax`, built in, for every project with YAML.
//! - [`yamllint`]: `yaml:yamllint`, if the project declares it.

pub(crate) mod syntax;
pub(crate) mod yamllint;

use crate::path::RelPath;
use crate::plan::Plan;
use crate::scope::{PlanError, Scope};
use crate::snapshot::{FileId, Kind, Snapshot};

/// Adds the checks on YAML files.
pub(crate) fn plan(scope: &Scope<'_>, plan: &mut Plan) -> Result<(), PlanError> {
    let files = files(scope);
    if !files.is_empty() {
        plan.checks.push(syntax::check(files));
    }
    Ok(())
}

/// The YAML files to check: `*.yaml` and `*.yml`, except templates of Helm charts, which only become YAML when
/// rendered, and links, whose targets are checked instead.
#[must_use]
pub(crate) fn files(scope: &Scope<'_>) -> Vec<FileId> {
    scope
        .checked()
        .filter(|(_, entry)| entry.kind != Kind::Symlink && is_yaml(&entry.path))
        .filter(|(_, entry)| !is_helm_template(scope.snapshot, &entry.path))
        .map(|(id, _)| id)
        .collect()
}

fn is_yaml(path: &RelPath) -> bool {
    let extension = path.extension().unwrap_or_default();
    extension.eq_ignore_ascii_case("yaml") || extension.eq_ignore_ascii_case("yml")
}

/// Whether it is below a folder `templates` with a `Chart.yaml` beside it.
fn is_helm_template(snapshot: &Snapshot, path: &RelPath) -> bool {
    // Avoids splitting most paths.
    if !path.contains("templates/") {
        return false;
    }
    path.ancestors()
        .filter(|folder| folder.file_name() == "templates")
        .filter_map(|folder| folder.parent()?.join("Chart.yaml").ok())
        .any(|chart| snapshot.find(&chart).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Env;
    use crate::facts::Facts;
    use crate::tool::Tools;

    fn planned(files: &[(&str, &str)], excluded: &[bool]) -> Vec<String> {
        let snapshot = Snapshot::in_memory(files);
        let scope = Scope {
            snapshot: &snapshot,
            excluded,
            facts: &Facts::default(),
            tools: &Tools::default(),
            env: &Env::default(),
            secrets_baseline: None,
            strange: crate::scope::Strange::default(),
            trusted: crate::plan::trust::Trusted::default(),
            images: None,
        };
        let mut planned = Plan::default();
        plan(&scope, &mut planned).expect("nothing can fail");
        let Some(check) = planned.check(syntax::ID) else {
            return Vec::new();
        };
        let parts = check.inputs.parts.iter().flatten();
        parts
            .map(|id| snapshot.entry(*id).path.as_str().to_owned())
            .collect()
    }

    #[test]
    fn every_yaml_file_is_a_part_but_excluded_ones_and_chart_templates() {
        let files = [
            ("a.yaml", ""),
            ("b.YML", ""),
            ("c/Chart.yaml", ""),
            ("c/templates/deep/x.yaml", ""),
            ("c/values.yaml", ""),
            ("d/templates/x.yaml", ""),
            ("e.txt", ""),
            ("f.yaml", ""),
        ];
        let excluded = [false, false, false, false, false, false, false, true];
        assert_eq!(
            planned(&files, &excluded),
            [
                "a.yaml",
                "b.YML",
                "c/Chart.yaml",
                "c/values.yaml",
                "d/templates/x.yaml"
            ]
        );
    }

    #[test]
    fn a_project_without_yaml_has_no_check() {
        assert_eq!(planned(&[("a.txt", "")], &[false]), [""; 0]);
    }
}
