//! Applies configured overrides to a built-in check: only the given keys change.
//!
//! Knows nothing about custom checks.

use super::files;
use super::own::{limits, secrets};
use super::tools;
use crate::config::CheckConfig;
use crate::plan::{Check, Command, Work};
use crate::provision::program::Found;
use crate::scope::{PlanError, Scope};

/// Applies `[checks."ID"]` to the planned check with this id.
///
/// `args` go to the end of the command, before checked files. `env`, `set-env` and `tools` are added to the check's
/// own; `inputs` replace what it sees, except for its configuration files; other keys replace.
pub(crate) fn apply_override(
    check: &mut Check,
    table: &CheckConfig,
    scope: &Scope<'_>,
) -> Result<(), PlanError> {
    if let Some(tags) = &table.tags {
        check.tags.clone_from(tags);
    }
    check.timeout = table.timeout.or(check.timeout);
    check.max_age = table.max_age.or(check.max_age);
    check.cache = table.cache.unwrap_or(check.cache);
    if matches!(check.work, Work::Builtin(_)) {
        return in_process(&check.id, table);
    }
    if table.inputs.is_some() {
        inputs(check, table, scope)?;
    }
    if let Work::Command(command) = &mut check.work {
        set_by_the_check(&check.id, command, table)?;
        change_command(command, table);
    }
    add_tools(check, table, scope);
    Ok(())
}

/// Rejects keys that would silently have no effect.
fn in_process(id: &str, table: &CheckConfig) -> Result<(), PlanError> {
    let keys = [
        ("args", table.args.is_some()),
        ("inputs", table.inputs.is_some()),
        ("env", table.env.is_some()),
        ("set-env", table.set_env.is_some()),
        ("tools", table.tools.is_some()),
        ("network", table.network == Some(true)),
        ("secrets", table.secrets.is_some()),
        ("trace", table.trace.is_some()),
        ("limits", table.limits != crate::config::Limits::default()),
    ];
    let Some((key, _)) = keys.iter().find(|(_, named)| *named) else {
        return Ok(());
    };
    let place = &table.place;
    Err(PlanError::new(format!(
        "`{key}` has no effect on `{id}`, which is built in and runs no command\n  --> {place}\nhelp: remove `{key}`; use `exclude` to skip files"
    )))
}

fn inputs(check: &mut Check, table: &CheckConfig, scope: &Scope<'_>) -> Result<(), PlanError> {
    let Some(globs) = &table.inputs else {
        return Ok(());
    };
    let key = format!("checks.\"{}\".inputs", check.id);
    let selected = files::select(scope, globs, false, &key, table)?;
    check.inputs.shared = files::union(selected.ids, &check.inputs.config);
    check.inputs.outside.extend(selected.outside);
    check.inputs.outside.sort();
    check.inputs.outside.dedup();
    Ok(())
}

/// Rejects other values for variables that the check sets: it relies on what they lead to (where cargo builds, for
/// example).
fn set_by_the_check(id: &str, command: &Command, table: &CheckConfig) -> Result<(), PlanError> {
    let named = [("env", &table.env), ("secrets", &table.secrets)];
    let named = named
        .into_iter()
        .flat_map(|(key, names)| names.iter().flatten().map(move |name| (key, name)));
    let fixed = table
        .set_env
        .iter()
        .flat_map(std::collections::BTreeMap::keys);
    let mut all = named.chain(fixed.map(|name| ("set-env", name)));
    let taken =
        |name: &String| command.set_env.contains_key(name) || command.grants.contains_key(name);
    let Some((key, name)) = all.find(|(_, name)| taken(name)) else {
        return Ok(());
    };
    let place = &table.place;
    Err(PlanError::new(format!(
        "`{key}` cannot change {name}, which `{id}` sets\n  --> {place}"
    )))
}

fn change_command(command: &mut Command, table: &CheckConfig) {
    command.argv.extend(table.args.iter().flatten().cloned());
    command.network = table.network.unwrap_or(command.network);
    command.secrets.extend(secrets(table));
    command.limits = limits(&table.limits);
    command.trace = table.trace.unwrap_or(command.trace);
    command.env.extend(table.env.iter().flatten().cloned());
    command.env.sort();
    command.env.dedup();
    let fixed = table.set_env.iter().flatten();
    command
        .set_env
        .extend(fixed.map(|(name, value)| (name.clone(), value.clone())));
    if let Some(amend) = command.amend {
        amend(command);
    }
}

/// Adds tools. If one is missing, the check cannot run.
fn add_tools(check: &mut Check, table: &CheckConfig, scope: &Scope<'_>) {
    let Work::Command(command) = &mut check.work else {
        return;
    };
    let user = format!("`tools` of check `{}`", check.id);
    let mut found = Found::in_folder(command.dir.clone());
    for name in table.tools.iter().flatten() {
        if let Err(message) = tools::add(&mut found, scope, name, &user, &table.place) {
            check.work = Work::Missing(message);
            return;
        }
    }
    if check.not_cached.is_none() {
        check.not_cached.clone_from(&found.not_cached);
    }
    for tool in found.into_tools() {
        command.tools.retain(|known| known.name() != tool.name());
        command.tools.push(tool);
    }
    command.tools.sort_by(|a, b| a.name().cmp(b.name()));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::finding::Finding;
    use crate::own_checks::testing::{World, planned};
    use crate::plan::{Builtin, CacheMode, InputView, Secret};

    #[derive(Debug)]
    struct Nothing;

    impl Builtin for Nothing {
        fn name(&self) -> &'static str {
            "nothing"
        }

        fn version(&self) -> u32 {
            1
        }

        fn check(&self, _: &dyn InputView) -> std::io::Result<Vec<Finding>> {
            Ok(Vec::new())
        }
    }

    fn overridden(check: Check, keys: &str) -> (World, Result<Check, PlanError>) {
        let files = [(".yamllint", ""), ("a.yaml", ""), ("sub/b.yaml", "")];
        let world = World::new(&files, &format!("checks.'{}' = {{ {keys} }}", check.id));
        let table = &world.config.checks[&check.id];
        let mut changed = check;
        let result = apply_override(&mut changed, table, &world.scope()).map(|()| changed);
        (world, result)
    }

    #[test]
    fn only_the_named_keys_change() {
        let before = planned("yaml:yamllint");
        let (_, after) = overridden(before.clone(), "timeout = '5m'");
        let after = after.expect("applied");
        assert_eq!(after.timeout, Some(Duration::from_secs(300)));
        let rest = Check {
            timeout: before.timeout,
            ..after
        };
        assert_eq!(format!("{rest:?}"), format!("{before:?}"));
    }

    #[test]
    fn every_key_of_a_command_takes_effect() {
        let keys = "args = ['--', '-D'], env = ['A', 'SEEN'], set-env = { B = '2' }, tools = ['grep'], tags = ['x'], max-age = '1d', cache = 'passes', network = true, secrets = ['T']";
        let (_, after) = overridden(planned("yaml:yamllint"), keys);
        let after = after.expect("applied");
        assert_eq!(after.tags, ["x"]);
        assert_eq!(after.max_age, Some(Duration::from_secs(86_400)));
        assert_eq!(after.cache, CacheMode::Passes);
        let Work::Command(command) = &after.work else {
            panic!("{after:?}");
        };
        assert_eq!(command.argv, ["lint", "--", "-D"]);
        assert_eq!(command.env, ["A", "SEEN"]);
        assert!(command.network && command.secrets == [Secret::new("T")]);
        assert_eq!(command.set_env.len(), 2);
        assert_eq!(command.tools.len(), 1);
    }

    #[test]
    fn what_the_check_sets_itself_cannot_be_changed() {
        for keys in [
            "set-env = { KEPT = '2' }",
            "env = ['KEPT']",
            "secrets = ['KEPT']",
        ] {
            let (_, refused) = overridden(planned("yaml:yamllint"), keys);
            let message = refused.expect_err(keys).message;
            assert!(message.contains("cannot change KEPT"), "{message}");
        }
    }

    #[test]
    fn inputs_replace_what_it_sees_but_for_its_configuration() {
        let mut check = planned("yaml:yamllint");
        check.inputs.shared = vec![0, 1];
        check.inputs.config = vec![0];
        let (world, after) = overridden(check, "inputs = ['sub/**']");
        let shared = after.expect("applied").inputs.shared;
        assert_eq!(world.paths(&shared), [".yamllint", "sub/b.yaml"]);
    }

    #[test]
    fn a_missing_tool_stops_the_check() {
        let (_, after) = overridden(planned("yaml:yamllint"), "tools = ['nope']");
        let work = after.expect("applied").work;
        assert!(matches!(work, Work::Missing(message) if message.contains("`nope`")));
    }

    #[test]
    fn keys_of_commands_mean_nothing_in_process() {
        let mut check = planned("yaml:syntax");
        check.work = Work::Builtin(Arc::new(Nothing));
        let (_, refused) = overridden(check.clone(), "args = ['-x']");
        let message = refused.expect_err("refused").message;
        assert!(
            message.starts_with("`args` has no effect on `yaml:syntax`")
                && message.contains("--> dagcache.toml:1:8"),
            "{message}"
        );
        let (_, after) = overridden(check, "cache = false");
        assert_eq!(after.expect("applied").cache, CacheMode::Off);
    }
}
