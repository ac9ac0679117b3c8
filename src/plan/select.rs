//! Selects the checks that a command runs. Pure.

use std::collections::BTreeSet;

use crate::path::RelPath;
use crate::plan::{Check, Plan, Work};
use crate::snapshot::Snapshot;
use crate::visible;

/// The requested selection. Empty lists do not restrict it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    /// Tags of the command; `None` selects every check.
    pub(crate) command_tags: Option<Vec<String>>,
    /// `--tag`.
    pub(crate) tags: Vec<String>,
    /// `--yaml-only` and its siblings.
    pub(crate) languages: Vec<&'static str>,
    /// `--only`.
    pub(crate) only: Vec<String>,
    /// `--skip` and DAGCACHE_SKIP.
    pub(crate) skip: Vec<String>,
    /// Files or folders.
    pub(crate) paths: Vec<RelPath>,
}

/// The selected checks.
#[derive(Debug, Default)]
pub(crate) struct Selected {
    /// Checks with their parts narrowed to the given paths.
    pub(crate) checks: Vec<Check>,
    /// Ids of selected checks that this version does not support.
    pub(crate) unsupported: Vec<String>,
}

/// An id or a tag that matches no check of the project.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} `{}` in this project{}", self.what(), visible::name(.name), self.hint())]
pub(crate) struct Unknown {
    pub(crate) is_tag: bool,
    pub(crate) name: String,
    /// The closest match.
    pub(crate) near: Option<String>,
}

impl Unknown {
    fn new<'a>(is_tag: bool, name: &str, known: impl Iterator<Item = &'a String>) -> Self {
        let near = known
            .map(|other| (strsim::jaro_winkler(other, name), other))
            .filter(|(score, _)| *score > 0.8)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        Self {
            is_tag,
            name: name.to_owned(),
            near: near.map(|(_, name)| name.clone()),
        }
    }

    fn what(&self) -> &'static str {
        if self.is_tag {
            "no check has the tag"
        } else {
            "no check"
        }
    }

    fn hint(&self) -> String {
        let near = self.near.as_ref();
        near.map(|name| format!("; did you mean `{name}`?"))
            .unwrap_or_default()
    }
}

/// Selects checks. `--only` names checks regardless of their tags; everything else narrows the selection.
pub(crate) fn select(
    plan: &Plan,
    snapshot: &Snapshot,
    selection: &Selection,
) -> Result<Selected, Unknown> {
    for id in selection.only.iter().chain(&selection.skip) {
        if plan.check(id).is_none() {
            return Err(Unknown::new(
                false,
                id,
                plan.checks.iter().map(|check| &check.id),
            ));
        }
    }
    let tags = || plan.checks.iter().flat_map(|check| &check.tags);
    if let Some(tag) = selection
        .tags
        .iter()
        .find(|tag| !tags().any(|known| known == *tag))
    {
        return Err(Unknown::new(true, tag, tags()));
    }
    let mut selected = Selected::default();
    for check in &plan.checks {
        if !wanted(check, selection) {
            continue;
        }
        match narrowed(check, snapshot, &selection.paths) {
            Some(check) if matches!(check.work, Work::Unsupported(_)) => {
                selected.unsupported.push(check.id);
            }
            Some(check) => selected.checks.push(check),
            None => {}
        }
    }
    Ok(selected)
}

fn wanted(check: &Check, selection: &Selection) -> bool {
    let tagged = |tags: &[String]| check.tags.iter().any(|tag| tags.contains(tag));
    let by_id = if selection.only.is_empty() {
        selection.command_tags.as_deref().is_none_or(tagged)
    } else {
        selection.only.contains(&check.id)
    };
    by_id
        && (selection.tags.is_empty() || tagged(&selection.tags))
        && (selection.languages.is_empty() || selection.languages.contains(&check.language()))
        && !selection.skip.contains(&check.id)
}

/// Narrows a check's parts to the paths. A check without parts stays whole if it sees one of them.
fn narrowed(check: &Check, snapshot: &Snapshot, paths: &[RelPath]) -> Option<Check> {
    if paths.is_empty() {
        return Some(check.clone());
    }
    let asked: BTreeSet<u32> = paths
        .iter()
        .flat_map(|path| snapshot.find(path).into_iter().chain(snapshot.below(path)))
        .collect();
    match &check.inputs.parts {
        None => check
            .inputs
            .shared
            .iter()
            .any(|id| asked.contains(id))
            .then(|| check.clone()),
        Some(parts) => {
            let parts: Vec<u32> = parts
                .iter()
                .copied()
                .filter(|id| asked.contains(id))
                .collect();
            let mut check = check.clone();
            let some = !parts.is_empty();
            check.inputs.linked.retain(|id, _| parts.contains(id));
            check.inputs.parts = Some(parts);
            some.then_some(check)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Inputs;

    fn check(id: &str, tag: &str, shared: &[u32], parts: Option<&[u32]>) -> Check {
        let inputs = match parts {
            Some(parts) => Inputs::per_file(parts.to_vec()),
            None => Inputs::default(),
        };
        Check::new(id, tag, Work::Missing(String::new()))
            .sees(inputs.and_shared(shared.iter().copied()))
    }

    fn ids(selection: &Selection) -> Vec<String> {
        let snapshot = Snapshot::in_memory(&[("a.yaml", ""), ("d/b.yaml", ""), ("x.rs", "")]);
        let later = Check {
            work: Work::Unsupported("later".into()),
            ..check("rust:test", "test", &[2], None)
        };
        let plan = Plan {
            checks: vec![
                check("own", "validate", &[0, 1, 2], None),
                later,
                check("yaml:syntax", "lint", &[], Some(&[0, 1])),
            ],
            ..Plan::default()
        };
        match select(&plan, &snapshot, selection) {
            Ok(selected) => selected
                .checks
                .iter()
                .map(|check| match &check.inputs.parts {
                    Some(parts) => format!("{} {parts:?}", check.id),
                    None => check.id.clone(),
                })
                .chain(
                    selected
                        .unsupported
                        .iter()
                        .map(|id| format!("{id} unsupported")),
                )
                .collect(),
            Err(error) => vec![error.to_string()],
        }
    }

    #[test]
    fn commands_select_by_tag_and_options_narrow() {
        let all = Selection::default();
        assert_eq!(
            ids(&all),
            ["own", "yaml:syntax [0, 1]", "rust:test unsupported"]
        );
        let lint = Selection {
            command_tags: Some(vec!["lint".into()]),
            ..all.clone()
        };
        assert_eq!(ids(&lint), ["yaml:syntax [0, 1]"]);
        assert_eq!(
            ids(&Selection {
                languages: vec!["yaml"],
                ..all.clone()
            }),
            ["yaml:syntax [0, 1]"]
        );
        assert_eq!(
            ids(&Selection {
                skip: vec!["yaml:syntax".into()],
                ..lint.clone()
            }),
            Vec::<String>::new()
        );
        assert_eq!(
            ids(&Selection {
                only: vec!["own".into()],
                ..lint
            }),
            ["own"]
        );
    }

    #[test]
    fn a_path_picks_parts_and_whole_checks_that_see_it() {
        let at = |path: &str| Selection {
            paths: vec![RelPath::from_normal(path.into())],
            ..Selection::default()
        };
        assert_eq!(ids(&at("d")), ["own", "yaml:syntax [1]"]);
        assert_eq!(ids(&at("x.rs")), ["own", "rust:test unsupported"]);
    }

    #[test]
    fn an_unknown_id_is_an_error_with_the_nearest() {
        let error = ids(&Selection {
            only: vec!["yaml:sintax".into()],
            ..Selection::default()
        });
        assert_eq!(
            error,
            ["no check `yaml:sintax` in this project; did you mean `yaml:syntax`?"]
        );
        let error = ids(&Selection {
            tags: vec!["lnit".into()],
            ..Selection::default()
        });
        assert_eq!(
            error,
            ["no check has the tag `lnit` in this project; did you mean `lint`?"]
        );
    }
}
