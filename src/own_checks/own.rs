//! Custom checks: from `[checks.NAME]` to a planned check.
//!
//! Knows nothing about overrides.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::files::{self, Selected};
use super::tools::{self, in_environment};
use crate::config::{self, CheckConfig, Findings, Globs};
use crate::parse::gcc::Gcc;
use crate::parse::regex::LinePattern;
use crate::parse::sarif::Sarif;
use crate::path::RelPath;
use crate::plan::check::{LONG, Limits, OutsideFile};
use crate::plan::output::NoFindings;
use crate::plan::{Check, Command, Inputs, Parse, Secret, Work};
use crate::provision::program::Found;
use crate::scope::{PlanError, Scope};

/// Plans `[checks.id]`. Returns `None` and a warning if it is for files and there are none.
pub(super) fn check(
    scope: &Scope<'_>,
    id: &str,
    table: &CheckConfig,
    warnings: &mut Vec<String>,
) -> Result<Option<Check>, PlanError> {
    let mut files = checked_files(scope, id, table)?;
    let mut seen = seen_files(scope, id, table)?;
    if let Some(outputs) = &table.outputs {
        let lists = files.iter_mut().chain([&mut seen]);
        lists.for_each(|selected| selected.leave_out(scope, outputs));
    }
    warnings.append(&mut seen.warnings);
    if let Some(files) = &files {
        warnings.extend_from_slice(&files.warnings);
        if files.ids.is_empty() && files.outside.is_empty() {
            let place = &table.place;
            warnings.push(format!(
                "skipping check `{id}`: `files` matches no file ({place})"
            ));
            return Ok(None);
        }
    }
    let mut found = Found::in_folder(working_directory(table));
    let argv = program(scope, id, table, &mut seen, &mut found);
    let unless_traced = found.take_unless_traced();
    let mut not_cached = found.not_cached.take();
    let work = match argv {
        Ok(argv) => {
            let mut command = command(scope, table, argv, files.as_ref(), found);
            if command.can_be_traced() && !command.append_files {
                command.unless_traced = unless_traced;
            } else {
                not_cached = not_cached.or(unless_traced);
            }
            Work::Command(Box::new(command))
        }
        Err(message) => Work::Missing(message),
    };
    let mut check = Check::new(id, "lint", work)
        .sees(inputs(table, seen, files))
        .on(vec!["base".to_owned()])
        .not_cached(not_cached);
    check.tags = table.tags_or_default();
    check.cache = table.cache_or_default();
    check.max_age = table.max_age;
    if check.tags.iter().any(|tag| tag == "test") {
        check.timeout = Some(LONG);
    }
    check.timeout = table.timeout.or(check.timeout);
    Ok(Some(check))
}

fn seen_files(scope: &Scope<'_>, id: &str, table: &CheckConfig) -> Result<Selected, PlanError> {
    let everything = Globs::everything();
    let globs = table.inputs.as_ref().unwrap_or(&everything);
    files::select(scope, globs, false, &format!("checks.{id}.inputs"), table)
}

/// `files`, if set. With `per-file`, ignored files cannot be parts and are skipped with a warning.
fn checked_files(
    scope: &Scope<'_>,
    id: &str,
    table: &CheckConfig,
) -> Result<Option<Selected>, PlanError> {
    let Some(globs) = table
        .files
        .as_ref()
        .filter(|globs| **globs != Globs::nothing())
    else {
        return Ok(None);
    };
    let key = format!("checks.{id}.files");
    let mut selected = files::select(scope, globs, true, &key, table)?;
    if table.per_file == Some(true) {
        for file in std::mem::take(&mut selected.outside) {
            let place = &table.place;
            let path = file.path;
            selected.warnings.push(format!(
                "`{key}` names `{path}`, which git ignores and `per-file` cannot check ({place})"
            ));
        }
    }
    Ok(Some(selected))
}

/// Resolves program, interpreter and tools, and adds a program of the project to `seen`. Returns argv without files,
/// or the message for what is missing.
fn program(
    scope: &Scope<'_>,
    id: &str,
    table: &CheckConfig,
    seen: &mut Selected,
    found: &mut Found,
) -> Result<Vec<String>, String> {
    let place = &table.place;
    let mut argv: Vec<String> = [&table.command, &table.args]
        .into_iter()
        .flatten()
        .flatten()
        .cloned()
        .collect();
    let program = argv
        .first()
        .ok_or_else(|| format!("check `{id}` has no command ({place})"))?;
    for name in table.tools.iter().flatten() {
        let user = format!("`tools` of check `{id}`");
        tools::add(found, scope, name, &user, place)?;
    }
    if !program.contains('/') {
        let user = format!("`command` of check `{id}`");
        tools::add(found, scope, program, &user, place)?;
        return Ok(argv);
    }
    let path = working_directory(table)
        .join(program)
        .map_err(|error| format!("{error} ({place})"))?;
    if let Some(script) = scope.snapshot.find(&path) {
        seen.ids = files::union(std::mem::take(&mut seen.ids), &[script]);
        tools::add_interpreter(found, scope, script, place)?;
    } else if scope.images.is_some() && is_installed(scope, &path) {
        return Err(format!(
            "`{path}`, the `command` of check `{id}`, is ignored by git, so it does not exist in containers \
             ({place}); set `[layers.base] image` to an image that contains it, and name it without a path"
        ));
    } else if scope.images.is_none() && tools::add_ignored(found, scope, &path) {
        if let Some(program) = argv.first_mut() {
            path.file_name().clone_into(program);
        }
    } else {
        let file = ignored_program(scope, &path).ok_or_else(|| {
            let held = scope.snapshot.is_held_by_git();
            let of_it = if held { " in the commit" } else { "" };
            format!("`{path}`, the `command` of check `{id}`, does not exist{of_it} ({place})")
        })?;
        seen.outside.push(file);
        seen.outside.sort();
        seen.outside.dedup();
        found.not_cached = Some(format!(
            "cannot tell what `{path}` uses, because git ignores it"
        ));
    }
    Ok(argv)
}

/// Whether a path is that of an installed package's program.
fn is_installed(scope: &Scope<'_>, path: &RelPath) -> bool {
    let file = path.under(scope.snapshot.root());
    file.parent().is_some_and(in_environment)
}

fn ignored_program(scope: &Scope<'_>, path: &RelPath) -> Option<OutsideFile> {
    let digest = scope.tools.digest(&scope.snapshot.beside(path)?).ok()?;
    Some(OutsideFile {
        up: 0,
        path: path.clone(),
        digest,
    })
}

fn working_directory(table: &CheckConfig) -> RelPath {
    table.dir.clone().unwrap_or_default()
}

fn command(
    scope: &Scope<'_>,
    table: &CheckConfig,
    mut argv: Vec<String>,
    files: Option<&Selected>,
    found: Found,
) -> Command {
    let dir = working_directory(table);
    let per_file = table.per_file == Some(true);
    if let Some(files) = files.filter(|_| !per_file) {
        argv.extend(arguments(scope, &dir, files));
    }
    let mut env = table.env.clone().unwrap_or_default();
    env.sort();
    env.dedup();
    Command {
        append_files: per_file,
        batch: per_file && names_files(table.findings.as_ref()),
        env,
        set_env: table.set_env.clone().unwrap_or_default(),
        outputs: patterns(table.outputs.as_ref()),
        network: table.network.unwrap_or_default(),
        limits: limits(&table.limits),
        trace: table.trace.unwrap_or(true),
        secrets: secrets(table),
        ..Command::new(
            argv,
            dir,
            found.into_tools(),
            parser(table.findings.as_ref()),
        )
    }
}

fn patterns(globs: Option<&Globs>) -> Vec<String> {
    let patterns = globs.into_iter().flat_map(Globs::patterns);
    patterns.map(str::to_owned).collect()
}

pub(super) fn limits(table: &config::Limits) -> Limits {
    Limits {
        processes: table.processes,
        memory: table.memory,
        disk: table.disk,
        file_size: table.file_size,
        open_files: table.open_files,
        output: table.output,
    }
}

/// The secret variables of a table, sorted.
pub(super) fn secrets(table: &CheckConfig) -> Vec<Secret> {
    let names: BTreeSet<&String> = table.secrets.iter().flatten().collect();
    names.into_iter().map(|name| Secret::new(name)).collect()
}

/// The checked files as arguments, sorted by path.
fn arguments(scope: &Scope<'_>, dir: &RelPath, files: &Selected) -> Vec<String> {
    let ids = files.ids.iter().map(|id| &scope.snapshot.entry(*id).path);
    let mut paths: Vec<&RelPath> = ids
        .chain(files.outside.iter().map(|file| &file.path))
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| path.argument_from(dir))
        .collect()
}

/// Whether the output of one process can be attributed to its files.
const fn names_files(findings: Option<&Findings>) -> bool {
    matches!(findings, Some(Findings::Gcc | Findings::Regex(_)))
}

fn parser(findings: Option<&Findings>) -> Arc<dyn Parse> {
    match findings {
        None => Arc::new(NoFindings),
        Some(Findings::Gcc) => Arc::new(Gcc),
        Some(Findings::Sarif) => Arc::new(Sarif),
        Some(Findings::Regex(regex)) => Arc::new(LinePattern::new(regex.clone())),
    }
}

fn inputs(table: &CheckConfig, seen: Selected, files: Option<Selected>) -> Inputs {
    let Some(files) = files else {
        return Inputs::whole(seen.ids).and_outside(seen.outside);
    };
    if table.per_file == Some(true) {
        let inputs = Inputs::per_file(files.ids);
        return inputs.and_shared(seen.ids).and_outside(seen.outside);
    }
    let outside: BTreeSet<_> = seen.outside.into_iter().chain(files.outside).collect();
    Inputs::whole(seen.ids)
        .and_shared(files.ids)
        .and_outside(outside)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::own_checks::testing::World;
    use crate::plan::CacheMode;
    use crate::testing::rel;

    const FILES: &[(&str, &str)] = &[
        ("ci/headers.sh", "#!/usr/bin/env bash\n"),
        ("ci/plain", "\x7fELF"),
        ("sub/a.h", ""),
        ("sub/deep/b.h", ""),
        ("sub/gone/c.h", ""),
        ("z.c", ""),
    ];

    struct Planned {
        world: World,
        check: Option<Check>,
        warnings: Vec<String>,
    }

    fn plan(config: &str) -> Planned {
        let world = World::new(FILES, config);
        let mut warnings = Vec::new();
        let (id, table) = world.config.checks.first_key_value().expect("a check");
        let check = check(&world.scope(), id, table, &mut warnings).expect("planned");
        Planned {
            check,
            warnings,
            world,
        }
    }

    impl Planned {
        fn check(&self) -> &Check {
            self.check.as_ref().expect("a check")
        }

        fn command(&self) -> &Command {
            match &self.check().work {
                Work::Command(command) => command,
                other => panic!("{other:?}"),
            }
        }

        fn missing(&self) -> &str {
            match &self.check().work {
                Work::Missing(message) => message,
                other => panic!("{other:?}"),
            }
        }

        fn shared(&self) -> Vec<&str> {
            self.world.paths(&self.check().inputs.shared)
        }

        fn tools(&self) -> Vec<&str> {
            self.command()
                .tools
                .iter()
                .map(crate::plan::check::Tool::name)
                .collect()
        }
    }

    #[test]
    fn without_further_keys_it_sees_everything_and_lints() {
        let planned = plan("checks.x = { command = ['lint', '-v'] }");
        assert_eq!(planned.shared().len(), FILES.len() + 1);
        assert_eq!(planned.command().argv, ["lint", "-v"]);
        assert_eq!(planned.tools(), ["lint"]);
        let check = planned.check();
        assert_eq!(check.tags, ["lint"]);
        let ten_minutes = Duration::from_secs(600);
        assert_eq!(
            (check.cache, check.timeout),
            (CacheMode::All, Some(ten_minutes))
        );
        assert_eq!(check.inputs.parts, None);
        assert!(!planned.command().append_files);
    }

    #[test]
    fn a_test_stores_passes_only_unless_it_says_otherwise() {
        let cache = |keys| {
            let text = format!("checks.x = {{ command = ['lint'], {keys} }}");
            plan(&text).check().cache
        };
        assert_eq!(cache("tags = ['test']"), CacheMode::Passes);
        assert_eq!(cache("tags = ['test'], cache = true"), CacheMode::All);
        assert_eq!(cache("cache = false"), CacheMode::Off);
    }

    #[test]
    fn files_are_appended_and_visible() {
        let planned = plan(
            "exclude = ['sub/gone']
             [checks.x]
             command = ['lint']
             args = ['--']
             dir = 'sub/deep'
             inputs = ['z.c']
             files = ['**/*.h']",
        );
        assert_eq!(planned.command().argv, ["lint", "--", "../a.h", "b.h"]);
        assert_eq!(planned.command().dir, rel("sub/deep"));
        assert_eq!(planned.shared(), ["sub/a.h", "sub/deep/b.h", "z.c"]);
    }

    #[test]
    fn outputs_are_no_inputs_of_their_own_check() {
        let planned = plan(
            "[checks.x]
             command = ['lint']
             inputs = ['**/*.[ch]']
             files = ['**/*.h']
             outputs = ['z.c', 'sub/deep/*']",
        );
        assert_eq!(planned.command().argv, ["lint", "sub/a.h", "sub/gone/c.h"]);
        assert!(planned.shared().iter().all(|path| !path.contains("deep")));
        assert!(!planned.shared().contains(&"z.c"));
    }

    #[test]
    fn per_file_makes_each_file_a_part() {
        let planned = plan(
            "checks.x = { command = ['lint'], inputs = ['z.c', 'sub/gone'], files = ['sub/*.h'], per-file = true, findings = 'gcc' }",
        );
        let inputs = &planned.check().inputs;
        assert_eq!(
            planned.world.paths(inputs.parts.as_deref().expect("parts")),
            ["sub/a.h"]
        );
        assert_eq!(planned.shared(), ["sub/gone/c.h", "z.c"]);
        let command = planned.command();
        assert_eq!(command.argv, ["lint"]);
        assert!(command.append_files && command.batch);
    }

    #[test]
    fn parts_share_a_process_only_if_findings_name_their_file() {
        let batch = |findings: &str| {
            let text = format!(
                "checks.x = {{ command = ['lint'], files = ['*.c'], per-file = true {findings} }}"
            );
            plan(&text).command().batch
        };
        assert!(batch(", findings = '(?<path>.*): .*'"));
        assert!(!batch(", findings = 'sarif'"));
        assert!(!batch(""));
    }

    #[test]
    fn a_program_of_the_project_joins_the_inputs_and_brings_its_interpreter() {
        let planned = plan(
            "checks.x = { command = ['../ci/headers.sh'], dir = 'sub', inputs = ['z.c'], tools = ['grep'] }",
        );
        assert_eq!(planned.shared(), ["ci/headers.sh", "z.c"]);
        assert_eq!(planned.tools(), ["bash", "grep"]);
        let planned = plan("checks.x = { command = ['./ci/plain'], inputs = [] }");
        assert_eq!(planned.shared(), ["ci/plain"]);
        assert_eq!(planned.tools(), [""; 0]);
    }

    #[test]
    fn what_is_missing_is_named_with_its_user_and_the_ways_out() {
        assert_eq!(
            plan("checks.x = { command = ['nope'] }").missing(),
            "`nope` is not on PATH, but `command` of check `x` needs it (dagcache.toml:1:8); install it, or use `--engine dagger`"
        );
        let planned = plan("checks.x = { command = ['lint'], tools = ['grep', 'nope'] }");
        assert!(
            planned
                .missing()
                .contains("`nope` is not on PATH, but `tools` of check `x`")
        );
        let planned = plan("checks.x = { command = ['ci/none.sh'] }");
        assert!(
            planned
                .missing()
                .starts_with("`ci/none.sh`, the `command` of check `x`, does not exist")
        );
    }

    #[test]
    fn a_check_for_files_that_do_not_exist_is_left_out_loudly() {
        let planned = plan("checks.x = { command = ['lint'], files = ['*.zig'] }");
        assert!(planned.check.is_none());
        assert_eq!(
            planned.warnings,
            ["skipping check `x`: `files` matches no file (dagcache.toml:1:8)"]
        );
    }

    #[test]
    fn findings_choose_the_parser() {
        let identity = |findings: &str| {
            let text = format!("checks.x = {{ command = ['lint'] {findings} }}");
            plan(&text).command().parse.identity()
        };
        assert_eq!(identity(""), "none/1");
        assert_eq!(identity(", findings = 'gcc'"), "gcc/1");
        assert_eq!(identity(", findings = 'sarif'"), "sarif/1");
        assert_eq!(identity(", findings = '(?<path>.)'"), "regex/1:(?<path>.)");
    }
}
