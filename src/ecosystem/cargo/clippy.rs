//! `rust:clippy`: `cargo clippy --workspace --all-targets --locked --keep-going`, the whole workspace as one part.
//!
//! Without `--keep-going`, cargo starts no further packages after the first one with an error, and which ones were
//! started by then depends on timing: findings would vary between runs of the same content. Cargo before 1.74 does
//! not support it.
//!
//! Targets that need another toolchain are left out, see [`super::targets`].
//!
//! # What it sees
//! Every file below the workspace's folder: `include_str!`, procedural macros (embedded folders, templates, recorded
//! queries) and build scripts may read any of them, and no rule about names or text can tell which. Files it cannot
//! see are not in its room, so a narrower guess would not become stale, but would fail or change the verdict.
//! Detecting reads narrows the key instead. If the workspace is a subfolder, the rest of the project is only visible
//! if something may reach it: code that runs at build time, a path dependency outside the folder, or `../` in a
//! source file.
//!
//! # Never stale
//! Artifacts survive between runs under an equal fingerprint (except for files). Before a run, those that cargo would
//! wrongly trust are removed: see [`super::refresh`]. `match_clean` adapts this to appended arguments that select
//! another profile or platform. The key contains the content read by all runs since these artifacts began, and the
//! names of all files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::env;
use crate::path::RelPath;
use crate::plan::Images;
use crate::plan::check::{Command, Inputs, OutsideFile, Seed, Tool, Work};
use crate::scope::Scope;
use crate::snapshot::FileId;
use crate::tool::rustup::Toolchain;

use super::clippy_output::CargoJson;
use super::config::{self, CLIPPY_CONFIG, TOOLCHAIN_FILE, cargo_config, chains};
use super::deps::Lockfile;
use super::git::scripts_contain;
use super::host::{build_tools, runs_python};
use super::manifests::MANIFEST;
use super::programs::{Programs, environment, keeps_going};
use super::refresh::Packages;
use super::retry::Failures;
use super::seed::TargetFolder;
use super::targets::Selection;
use super::workspace::Workspace;

/// The toolchain's programs it needs, with their components.
const TOOLCHAIN_PROGRAMS: &[(&str, &str)] = &[
    ("cargo", "cargo"),
    ("cargo-clippy", "clippy"),
    ("clippy-driver", "clippy"),
    ("rustc", "rustc"),
];

/// Used if available: build scripts may format or document generated code.
const OPTIONAL_PROGRAMS: &[&str] = &["rustdoc", "rustfmt"];

/// Everything the check is made of, besides the scope.
pub(crate) struct Clippy<'a> {
    /// The workspace's folder.
    pub(crate) dir: &'a RelPath,
    /// What is in it.
    pub(crate) workspace: &'a Workspace,
    /// Run it.
    pub(crate) programs: Programs<'a>,
    /// Its lockfile.
    pub(crate) lockfile: &'a Lockfile,
    /// Files above the project root that cargo reads.
    pub(crate) above: &'a [OutsideFile],
    /// Cargo's home.
    pub(crate) cargo_home: &'a Path,
}

impl Clippy<'_> {
    /// What is done.
    #[must_use]
    pub(crate) fn work(&self, scope: &Scope<'_>) -> Work {
        match self.tools(scope) {
            Ok(tools) => Work::Command(Box::new(self.command(scope, tools))),
            Err(message) => Work::Missing(message),
        }
    }

    fn command(&self, scope: &Scope<'_>, tools: Vec<Tool>) -> Command {
        let mut argv = strings(&["cargo-clippy", "clippy", "--workspace"]);
        argv.extend(strings(&self.selection(scope).flags()));
        let mut clean = strings(&["cargo", "clean", "--quiet", "--offline"]);
        if self.is_locked() {
            argv.push("--locked".to_owned());
            clean.push("--locked".to_owned());
        }
        if keeps_going(self.programs.version()) {
            argv.push("--keep-going".to_owned());
        }
        argv.push("--message-format=json".to_owned());
        let mut own = self.lockfile.own_packages(scope);
        own.extend(self.workspace.members.iter().map(|m| m.name.clone()));
        let keep = scope.images.is_some_and(Images::incremental);
        if self.programs.host().is_none() && !keep {
            // By name alone, registry packages of the same name would be removed, too; the skeleton's version
            // distinguishes them.
            let shared = self.lockfile.shared_names(scope);
            own.retain(|name| !shared.contains(name));
        }
        for name in &own {
            clean.extend(["-p".to_owned(), name.clone()]);
        }
        let command = Command {
            before: vec![clean],
            retry: Some(Arc::new(Failures::default())),
            quiet_stdout: true,
            amend: Some(follow_args),
            ..Command::new(argv, self.dir.clone(), tools, Arc::new(CargoJson))
        };
        match self.programs {
            Programs::Host(toolchain) => self.on_host(scope, toolchain, own, command),
            Programs::Image(_) => command,
        }
    }

    /// The targets to check.
    pub(crate) fn selection(&self, scope: &Scope<'_>) -> Selection {
        Selection::of(scope, self.dir, self.workspace, self.programs.version())
    }

    /// Whether cargo must use the lockfile unchanged. One resolved for a container does not contain the versions of
    /// the project's own packages.
    fn is_locked(&self) -> bool {
        match (self.programs, self.lockfile) {
            (Programs::Image(_), Lockfile::Resolved(_)) => false,
            _ => self.lockfile.is_there(),
        }
    }

    fn on_host(
        &self,
        scope: &Scope<'_>,
        toolchain: &Toolchain,
        own: BTreeSet<String>,
        command: Command,
    ) -> Command {
        let target = target_folder(scope, self.dir);
        let packages = Packages::of(scope, self.workspace);
        // Cargo never rebuilds vendored packages when their files change, so artifacts from elsewhere must not be
        // reused.
        let outside = config::vendored_outside(scope, self.dir);
        let vendored = !packages.vendored.is_empty() || !outside.is_empty();
        let seed = (!vendored).then(|| TargetFolder {
            path: config::target_folder(scope, self.dir),
            own,
        });
        let mut set_env = environment(target);
        if let Some(name) = &toolchain.name {
            set_env.insert(env::RUSTUP_TOOLCHAIN.to_owned(), name.clone());
        }
        Command {
            reduced: self.lockfile.reduced(scope),
            refresh: Some(Arc::new(packages)),
            set_env,
            grants: self.grants(toolchain, outside),
            products: self.dir.join(target).into_iter().collect(),
            seed: seed.map(|folder| Arc::new(folder) as Arc<dyn Seed>),
            reads: self.dir.join(MANIFEST).ok(),
            ..command
        }
    }

    fn grants(
        &self,
        toolchain: &Toolchain,
        vendored: BTreeSet<PathBuf>,
    ) -> BTreeMap<String, PathBuf> {
        let cargo = Some((env::CARGO_HOME, self.cargo_home.to_path_buf()));
        let rustup = toolchain.rustup_home.clone();
        let homes = [cargo, rustup.map(|home| (env::RUSTUP_HOME, home))];
        let homes = homes.into_iter().flatten();
        let homes = homes.map(|(name, path)| (name.to_owned(), path));
        let vendored = (1..).zip(vendored);
        let vendored = vendored.map(|(n, path)| (format!("DAGCACHE_VENDORED_{n}"), path));
        homes.chain(vendored).collect()
    }

    fn tools(&self, scope: &Scope<'_>) -> Result<Vec<Tool>, String> {
        let mut tools = match self.programs {
            Programs::Host(_) => build_tools(scope, self.dir, self.runs_python(scope)),
            // The image determines the other programs; its digest is in the key.
            Programs::Image(_) => vec![Tool::Image {
                name: "cc".to_owned(),
            }],
        };
        for (name, component) in TOOLCHAIN_PROGRAMS {
            tools.push(self.programs.tool(name, component)?);
        }
        for name in OPTIONAL_PROGRAMS
            .iter()
            .filter(|_| self.programs.host().is_some())
        {
            let absent = || Tool::Absent {
                name: (*name).to_owned(),
            };
            tools.push(self.programs.tool(name, name).unwrap_or_else(|_| absent()));
        }
        tools.sort_by(|a, b| a.name().cmp(b.name()));
        Ok(tools)
    }

    /// Whether something that is built may run Python.
    fn runs_python(&self, scope: &Scope<'_>) -> bool {
        let packages = self.lockfile.packages(scope, self.dir).unwrap_or_default();
        let says = |text: &str| text.contains("python");
        packages.iter().any(|(name, _)| runs_python(name))
            || scripts_contain(scope, self.workspace, "rust-says-python/1", says)
    }

    /// What it may see.
    #[must_use]
    pub(crate) fn inputs(&self, scope: &Scope<'_>) -> Inputs {
        let packages: Vec<RelPath> = self
            .workspace
            .members
            .iter()
            .map(|member| &member.dir)
            .chain(&self.workspace.path_dependencies)
            .cloned()
            .collect();
        let mut config = cargo_config(scope, self.dir);
        config.extend(chains(scope, &packages, CLIPPY_CONFIG));
        config.extend(chains(
            scope,
            std::slice::from_ref(self.dir),
            TOOLCHAIN_FILE,
        ));
        config.sort_unstable();
        config.dedup();
        let tree = if self.reaches_outside(scope) {
            RelPath::root()
        } else {
            self.dir.clone()
        };
        let reduced = self
            .programs
            .host()
            .and_then(|_| self.lockfile.reduced(scope));
        let reduced = reduced.and_then(|file| scope.snapshot.find(&file.path));
        let files = scope.snapshot.below(&tree);
        Inputs::whole(files.filter(|id| Some(*id) != reduced))
            .and_config(config)
            .and_outside(config::above(scope, self.cargo_home))
            .and_outside(self.lockfile.outside().cloned())
            .and_outside(self.above.iter().cloned())
    }

    /// Whether something in the workspace may read project files outside the workspace's folder.
    fn reaches_outside(&self, scope: &Scope<'_>) -> bool {
        let inside = |dir: &RelPath| dir.starts_with(self.dir);
        !self.dir.is_root()
            && (self
                .workspace
                .members
                .iter()
                .any(|m| m.runs_at_build || !inside(&m.dir))
                || !self.workspace.path_dependencies.iter().all(inside)
                || scope.snapshot.below(self.dir).any(|id| climbs(scope, id)))
    }
}

/// Whether a file is Rust source that contains `../` or `/..`, or a link.
fn climbs(scope: &Scope<'_>, id: FileId) -> bool {
    let entry = scope.snapshot.entry(id);
    if entry.kind == crate::snapshot::Kind::Symlink {
        return true;
    }
    if entry.path.extension() != Some("rs") {
        return false;
    }
    scope
        .facts
        .derive(
            "rust-climbs/1",
            entry.digest,
            || -> std::io::Result<bool> {
                let bytes = scope.snapshot.read(id)?;
                let climbing =
                    |window: &[u8]| matches!(window, b"../" | b"/.." | b"..\\" | b"\\..");
                Ok(bytes.windows(3).any(climbing))
            },
        )
        // The check that runs it reports the same error.
        .unwrap_or(true)
}

/// Where the room keeps artifacts: `target`, where tools expect it, unless the project has files there.
fn target_folder(scope: &Scope<'_>, dir: &RelPath) -> &'static str {
    let taken = dir
        .join("target")
        .is_ok_and(|target| !scope.snapshot.below(&target).is_empty());
    if taken { ".dagcache-target" } else { "target" }
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Arguments with a value that determine where artifacts go.
const PLACES: &[&str] = &["--profile", "--target"];

/// Arguments that select targets.
const TARGETS: &[&str] = &[
    "--all-targets",
    "--bench",
    "--benches",
    "--bin",
    "--bins",
    "--example",
    "--examples",
    "--lib",
    "--test",
    "--tests",
];

/// Adapts to appended arguments: a selection of targets replaces ours, and `cargo clean` cleans what will be built.
/// Idempotent.
pub(crate) fn follow_args(command: &mut Command) {
    let own = command
        .argv
        .iter()
        .position(|arg| arg.starts_with("--message-format"));
    let (own, appended) = command
        .argv
        .split_at(own.map_or(command.argv.len(), |at| at + 1));
    let name = |arg: &String| arg.split('=').next().unwrap_or_default().to_owned();
    let selects = |arg: &String| TARGETS.contains(&name(arg).as_str());
    if appended.iter().take_while(|arg| *arg != "--").any(selects) {
        let kept = own.iter().filter(|arg| !selects(arg));
        command.argv = kept.chain(appended).cloned().collect();
    }
    match_clean(command);
}

/// Makes the `cargo clean` before a cargo command clean what the command will build. Call it after appending
/// arguments to argv. Idempotent; leaves other commands alone.
fn match_clean(command: &mut Command) {
    let mut places = Vec::new();
    let mut args = command.argv.iter().take_while(|arg| *arg != "--");
    while let Some(arg) = args.next() {
        let (name, value) = arg
            .split_once('=')
            .map_or((arg.as_str(), None), |(n, v)| (n, Some(v)));
        if matches!(name, "--release" | "-r") {
            places.push("--release".to_owned());
        } else if PLACES.contains(&name) {
            let value = value.or_else(|| args.next().map(String::as_str));
            places.push(format!("{name}={}", value.unwrap_or_default()));
        }
    }
    for clean in &mut command.before {
        if clean
            .get(..2)
            .is_some_and(|head| head == ["cargo", "clean"])
        {
            clean.extend(
                places
                    .iter()
                    .filter(|p| !clean.contains(p))
                    .cloned()
                    .collect::<Vec<_>>(),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::ecosystem::cargo::workspace::Member;
    use crate::env::Env;
    use crate::facts::Facts;
    use crate::snapshot::Snapshot;
    use crate::tool::Tools;

    fn member(dir: &str, runs_at_build: bool) -> Member {
        Member {
            name: "m".to_owned(),
            dir: RelPath::new(dir).unwrap(),
            runs_at_build,
        }
    }

    /// The files a workspace in `w` sees, and its command.
    fn seen(files: &[(&str, &str)], workspace: &Workspace) -> (Vec<String>, Command) {
        let snapshot = Snapshot::in_memory(files);
        let excluded = vec![false; files.len()];
        let (facts, tools, env) = (Facts::default(), Tools::default(), Env::default());
        let scope = Scope {
            snapshot: &snapshot,
            excluded: &excluded,
            facts: &facts,
            tools: &tools,
            env: &env,
            secrets_baseline: None,
            strange: crate::scope::Strange::default(),
            trusted: crate::plan::trust::Trusted::default(),
            images: None,
        };
        let clippy = Clippy {
            dir: &RelPath::new("w").unwrap(),
            workspace,
            programs: Programs::Host(&Toolchain::for_tests("stable", Digest::of(b"t"))),
            lockfile: &Lockfile::Tracked(0),
            above: &[],
            cargo_home: Path::new("/nonexistent/.cargo"),
        };
        let inputs = clippy.inputs(&scope);
        let paths = inputs
            .shared
            .iter()
            .map(|id| snapshot.entry(*id).path.to_string());
        (paths.collect(), clippy.command(&scope, Vec::new()))
    }

    #[test]
    fn a_workspace_in_a_subfolder_sees_that_folder_and_the_configuration_above() {
        let workspace = Workspace {
            members: vec![member("w", false)],
            ..Workspace::default()
        };
        let mut files = vec![
            (".cargo/config.toml", ""),
            ("README.md", ""),
            ("clippy.toml", ""),
            ("w/README.md", ""),
            ("w/src/lib.rs", "fn f() { for _ in 0..1 {} }"),
        ];
        let narrow = [
            ".cargo/config.toml",
            "clippy.toml",
            "w/README.md",
            "w/src/lib.rs",
        ];
        assert_eq!(seen(&files, &workspace).0, narrow);
        files[4].1 = "include_str!(\"../../README.md\")";
        assert_eq!(seen(&files, &workspace).0.len(), files.len());
    }

    #[test]
    fn code_that_runs_at_build_time_and_packages_outside_see_everything() {
        let files = [("README.md", ""), ("w/src/lib.rs", "")];
        for (member, outside) in [
            (member("w", true), vec![]),
            (member("w", false), vec![RelPath::root()]),
        ] {
            let workspace = Workspace {
                members: vec![member],
                path_dependencies: outside,
                ..Workspace::default()
            };
            assert_eq!(seen(&files, &workspace).0.len(), 2);
        }
    }

    #[test]
    fn artifacts_go_where_the_project_has_no_files() {
        let workspace = Workspace::default();
        let folder = |files: &[(&str, &str)]| seen(files, &workspace).1.products[0].to_string();
        assert_eq!(folder(&[("w/a", "")]), "w/target");
        assert_eq!(folder(&[("w/target/a", "")]), "w/.dagcache-target");
    }

    #[test]
    fn appended_arguments_may_select_other_targets() {
        let (_, mut command) = seen(&[("w/Cargo.lock", "")], &Workspace::default());
        let all = |command: &Command| command.argv.iter().any(|arg| arg == "--all-targets");
        command.argv.extend(strings(&["--", "--lib"]));
        follow_args(&mut command);
        assert!(all(&command));
        let at = command.argv.len() - 2;
        command.argv.splice(at..at, strings(&["--lib", "--bin=x"]));
        follow_args(&mut command);
        assert!(
            !all(&command)
                && command
                    .argv
                    .ends_with(&strings(&["--lib", "--bin=x", "--", "--lib"]))
        );
    }

    #[test]
    fn members_are_cleaned_where_the_command_builds() {
        let workspace = Workspace {
            members: vec![member("w", false)],
            ..Workspace::default()
        };
        let (_, mut command) = seen(&[("w/Cargo.lock", "")], &workspace);
        assert!(command.before[0].ends_with(&strings(&["-p", "m"])));
        command.argv.extend(strings(&[
            "--profile",
            "ci",
            "--target=t",
            "--",
            "--release",
        ]));
        for _ in 0..2 {
            match_clean(&mut command);
            assert!(
                command.before[0].ends_with(&strings(&["-p", "m", "--profile=ci", "--target=t"])),
                "{:?}",
                command.before
            );
        }
    }
}
