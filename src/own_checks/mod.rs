//! Configured checks: custom checks, and overrides of built-in ones.
//!
//! Runs after all ecosystems, because overrides need the planned checks. Does not parse the configuration.

mod discovered;
mod files;
mod overrides;
mod own;
#[cfg(test)]
mod testing;
mod tools;

use crate::catalogue;
use crate::config::{CheckConfig, Config, is_built_in_form, nearest};
use crate::path::RelPath;
use crate::plan::{Check, Images, Plan, Work};
use crate::provision::base::{Wanted, base};
use crate::scope::{PlanError, Scope};

pub(crate) use discovered::{add_discovered, program_behind};
pub(crate) use overrides::apply_override;

/// Applies the overrides to `plan` and adds the custom checks.
pub(crate) fn plan(scope: &Scope<'_>, config: &Config, plan: &mut Plan) -> Result<(), PlanError> {
    for (id, table) in config.checks.iter().filter(|(id, _)| is_built_in_form(id)) {
        match plan.checks.iter_mut().find(|check| check.id == *id) {
            Some(check) => apply_override(check, table, scope)?,
            None => {
                let warning = unmatched(id, table, plan);
                plan.warnings.push(warning);
            }
        }
    }
    for (id, table) in config.checks.iter().filter(|(id, _)| !is_built_in_form(id)) {
        let check = own::check(scope, id, table, &mut plan.warnings)?;
        let check = check.map(|check| match scope.images {
            Some(images) => on_base(scope, images, plan, check),
            None => check,
        });
        plan.checks.extend(check);
    }
    Ok(())
}

/// In a container, a custom check only needs the image.
fn on_base(scope: &Scope<'_>, images: &dyn Images, plan: &mut Plan, check: Check) -> Check {
    match base(scope, images, plan, Wanted::debian(&RelPath::root())) {
        Ok(base) => check.on(base.layers),
        Err(why) => Check {
            work: Work::Missing(why),
            ..check
        },
    }
}

/// The warning for an override that matches no check of this project.
fn unmatched(id: &str, table: &CheckConfig, plan: &Plan) -> String {
    let mut known: Vec<&str> = catalogue::ids().collect();
    known.extend(plan.checks.iter().map(|check| check.id.as_str()));
    let help = match nearest(id, known).filter(|meant| *meant != id) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "no such check is planned".to_owned(),
    };
    let place = &table.place;
    format!("`checks.\"{id}\"` has no effect ({place}): {help}")
}

#[cfg(test)]
mod tests {
    use super::testing::{World, planned};
    use super::*;

    #[test]
    fn an_override_of_nothing_is_a_warning() {
        let world = World::new(
            &[("a.yaml", "")],
            "checks.'yaml:yamllint@subb'.tags = ['x']\nchecks.'rust:clippy'.tags = ['x']\nchecks.'kustomize:build:nowhere'.tags = ['x']",
        );
        let mut steps = Plan {
            checks: vec![planned("yaml:yamllint@sub")],
            ..Plan::default()
        };
        plan(&world.scope(), &world.config, &mut steps).expect("planned");
        assert_eq!(
            steps.warnings,
            [
                "`checks.\"kustomize:build:nowhere\"` has no effect (dagcache.toml:3:8): no such check is planned",
                "`checks.\"rust:clippy\"` has no effect (dagcache.toml:2:8): no such check is planned",
                "`checks.\"yaml:yamllint@subb\"` has no effect (dagcache.toml:1:8): did you mean `yaml:yamllint@sub`?",
            ]
        );
    }

    #[test]
    fn overrides_and_own_checks_meet_in_the_plan() {
        let world = World::new(
            &[("a.yaml", "")],
            "checks.'yaml:yamllint'.tags = ['x']\nchecks.mine = { command = ['no-such-program'] }",
        );
        let mut steps = Plan {
            checks: vec![planned("yaml:yamllint")],
            ..Plan::default()
        };
        plan(&world.scope(), &world.config, &mut steps).expect("planned");
        let tags: Vec<_> = steps.checks.iter().map(|c| (&*c.id, &*c.tags)).collect();
        assert_eq!(
            tags,
            [
                ("yaml:yamllint", &["x".to_owned()][..]),
                ("mine", &["lint".to_owned()][..]),
            ]
        );
    }
}
