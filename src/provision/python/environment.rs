//! Where a Python tool comes from on the host: a program on PATH whose environment exactly matches the lock, or else
//! a layer built from the lock.
//!
//! A program on PATH is identified by its entry point, its interpreter and everything installed beside it. Does not
//! know what the tools do.

use std::sync::Arc;

use crate::digest::Digest;
use crate::path::RelPath;
use crate::plan::{Build, Layer, Plan, Tool};
use crate::process;
use crate::provision::launcher::leads;
use crate::scope::{PlanError, Scope};
use crate::tool::Program;
use crate::tool::launcher::Leads;
use crate::visible::Shown as _;

use super::closure::Closure;
use super::install::Install;
use super::installed::{AMBIGUOUS, Environment, script};
use super::interpreter::suitable;
use super::project::{LockFile, Site, broken_project, locked_closure, way_to_lock};
use super::ready::{Ready, Resolved, folder, in_layer, layer};
use super::version;

/// Finds out how `name` is run for `site` on this host, adding the layer that takes to the plan.
pub(super) fn resolve(
    scope: &Scope<'_>,
    plan: &mut Plan,
    site: &Site,
    name: &str,
) -> Result<Resolved, PlanError> {
    let program = program(scope, &site.dir, name);
    match &site.lock {
        Some(lock) => locked(scope, plan, site, lock, name, program.as_ref()),
        None => Ok(match program {
            Some(program) => Resolved::Ready(Box::new(unlocked(scope, name, &program))),
            // What else the project says of the tool is in the file that cannot be read.
            None => Resolved::Missing(broken_project(scope, &site.dir).unwrap_or_else(|| {
                format!(
                    "`{name}` is configured in {}, but `{name}` is not on PATH\n\
                     help: install it, lock it ({}), or use `--engine dagger`",
                    folder(site),
                    way_to_lock(scope, &site.dir, name)
                )
            })),
        }),
    }
}

/// The program that the name on PATH leads to.
fn program(scope: &Scope<'_>, dir: &RelPath, name: &str) -> Option<Program> {
    let found = scope.tools.find(name)?;
    match leads(scope, &found, dir) {
        Leads::Itself => Some(found),
        Leads::To(real) => Some(real),
        Leads::OfToolchain | Leads::Unknown(_) => None,
    }
}

fn locked(
    scope: &Scope<'_>,
    plan: &mut Plan,
    site: &Site,
    lock: &LockFile,
    name: &str,
    program: Option<&Program>,
) -> Result<Resolved, PlanError> {
    if let Some(program) = program
        && let Some(ready) = on_host(scope, site, lock, name, program)?
    {
        return Ok(Resolved::Ready(Box::new(ready)));
    }
    let missing = |why: String| {
        let path = &scope.snapshot.entry(lock.id).path;
        let install = lock.format.install(path);
        Ok(Resolved::Missing(format!(
            "`{name}` is locked in {path}, but {why}\n\
             help: install exactly the locked versions in the environment on PATH (`{install}`), or use `--engine dagger`",
        )))
    };
    let range = lock.python.as_deref().unwrap_or("*");
    let Some(python) = suitable(scope, lock.python.as_deref()) else {
        return missing(format!(
            "its locked version is not on PATH, and no Python within `{range}` is on PATH to install it with"
        ));
    };
    let Some(closure) = locked_closure(scope, &site.dir, lock, name, &python.markers)? else {
        return missing(format!(
            "not for {} {}",
            python.implementation, python.version
        ));
    };
    match closure.requirements() {
        Ok(requirements) => {
            let base = ["base".to_owned()];
            let layer = Layer {
                build: Build::Host(Arc::new(Install {
                    python: python.executable.clone(),
                    requirements,
                })),
                ..layer(site, name, &closure, &python, &base)
            };
            Ok(in_layer(plan, name, layer, &base, closure))
        }
        Err(unfit) => missing(format!(
            "its locked version is not on PATH and cannot be installed: the lock has no hashed wheel from an index for {}",
            unfit.join(", ")
        )),
    }
}

/// The program on PATH, if it is exactly what the lock says.
fn on_host(
    scope: &Scope<'_>,
    site: &Site,
    lock: &LockFile,
    name: &str,
    program: &Program,
) -> Result<Option<Ready>, PlanError> {
    let Some(environment) = Environment::of(scope, program) else {
        return standalone(scope, site, lock, name, program);
    };
    let markers = &environment.python.markers;
    let Some(closure) = locked_closure(scope, &site.dir, lock, name, markers)? else {
        return Ok(None);
    };
    if !environment.installed.contains_key(name) {
        return standalone(scope, site, lock, name, program);
    }
    if !environment.holds_exactly(scope, name, &closure) {
        return Ok(None);
    }
    let Some(identity) = environment.identity(scope, program, name) else {
        return Ok(None);
    };
    let version = closure.get(name).map(|package| package.version.clone());
    Ok(Some(host(name, program, identity, version, Some(closure))))
}

/// A program outside of Python environments is acceptable if the closure is only the tool itself. It is asked for its
/// version once per binary.
fn standalone(
    scope: &Scope<'_>,
    site: &Site,
    lock: &LockFile,
    name: &str,
    program: &Program,
) -> Result<Option<Ready>, PlanError> {
    if script(&program.real).is_some() {
        return Ok(None);
    }
    let markers = suitable(scope, lock.python.as_deref()).map(|python| python.markers);
    let markers = markers.unwrap_or_default();
    let Ok(Some(closure)) = locked_closure(scope, &site.dir, lock, name, &markers) else {
        return Ok(None);
    };
    let [package] = closure.packages.as_slice() else {
        return Ok(None);
    };
    let version = package.version.clone();
    if !said_version(scope, name, program).is_some_and(|said| version::same(&said, &version)) {
        return Ok(None);
    }
    Ok(Some(host(
        name,
        program,
        program.digest,
        Some(version),
        Some(closure),
    )))
}

/// The last word of the output of `--version`, memoised by the program's digest.
fn said_version(scope: &Scope<'_>, name: &str, program: &Program) -> Option<String> {
    let kind = format!("version-of-{name}/1");
    let said = scope.facts.derive(&kind, program.digest, || {
        let folder = std::env::temp_dir();
        process::capture(&program.path, &["--version"], &folder, scope.env, &[]).map(|output| {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let version = text.split_whitespace().last().map(str::to_owned);
            version.filter(|_| output.status.success())
        })
    });
    said.ok().flatten()
}

fn host(
    name: &str,
    program: &Program,
    identity: Digest,
    version: Option<String>,
    closure: Option<Closure>,
) -> Ready {
    Ready {
        tool: Tool::Host {
            name: name.to_owned(),
            path: program.real.clone(),
            identity,
            version: version.as_ref().map(|version| format!("{name} {version}")),
        },
        layers: vec!["base".to_owned()],
        version,
        closure,
        not_cached: None,
    }
}

/// A tool that is only configured: the program on PATH, by its identity.
fn unlocked(scope: &Scope<'_>, name: &str, program: &Program) -> Ready {
    if let Some(environment) = Environment::of(scope, program)
        && let Some(installed) = environment.installed.get(name)
        && let Some(identity) = environment.identity(scope, program, name)
    {
        let version = (installed != AMBIGUOUS).then(|| installed.clone());
        return host(name, program, identity, version, None);
    }
    let mut ready = host(name, program, program.digest, None, None);
    if script(&program.real).is_some() {
        ready.not_cached = Some(format!(
            "cannot tell what `{}` runs: it is a script outside of a Python environment",
            program.path.shown()
        ));
    }
    ready
}

#[cfg(all(test, unix))]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::testing::project::{Project, fake_python, write_program};

    const LOCK: &str = r#"
[[package]]
name = "tool"
version = "1.0"
files = [{file = "tool.whl", hash = "sha256:61122637c9e1d9be1329054f3fa216559f0d1f722b7919b060a8c2a4ae1850e5"}]
[package.dependencies]
lib = "*"
[[package]]
name = "lib"
version = "2"
files = [{file = "lib.whl", hash = "sha256:61122637c9e1d9be1329054f3fa216559f0d1f722b7919b060a8c2a4ae1850e6"}]
[metadata]
python-versions = ">=3.8"
"#;

    fn locked_site(scope: &Scope<'_>) -> (Site, LockFile) {
        let lock = LockFile {
            format: super::super::format::LockFormat::Poetry,
            id: scope.snapshot.find("poetry.lock").expect("the lock"),
            python: Some(">=3.8".to_owned()),
        };
        let site = Site {
            dir: RelPath::root(),
            lock: Some(lock.clone()),
            unread: None,
        };
        (site, lock)
    }

    /// A virtual environment with an entry point `tool` and the given distributions.
    struct Venv {
        folder: tempfile::TempDir,
    }

    impl Venv {
        fn new(distributions: &[&str]) -> Self {
            let folder = fake_python("3.12.4");
            let root = folder.path().to_path_buf();
            std::fs::create_dir_all(root.join("venv/bin")).expect("bin");
            std::fs::write(root.join("venv/pyvenv.cfg"), "home = /\n").expect("cfg");
            std::os::unix::fs::symlink(root.join("python3"), root.join("venv/bin/python"))
                .expect("link");
            let venv = Self { folder };
            for name in distributions {
                std::fs::create_dir_all(venv.site().join(name)).expect("dist-info");
            }
            let python = root.join("venv/bin/python");
            let text = format!("#!{}\nimport tool\n", python.to_string_lossy());
            std::fs::write(root.join("venv/bin/tool"), text).expect("script");
            venv
        }

        fn site(&self) -> PathBuf {
            self.folder.path().join("venv/lib/python3.12/site-packages")
        }

        fn program(&self) -> Program {
            let path = self.folder.path().join("venv/bin/tool");
            let real = path.canonicalize().expect("real");
            let digest = Digest::of(&std::fs::read(&path).expect("read"));
            let name = "tool".to_owned();
            Program {
                name,
                path,
                real,
                digest,
            }
        }

        fn resolve(&self) -> (Resolved, Plan) {
            let project = Project::with_path(
                &[("poetry.lock", LOCK), ("pyproject.toml", "")],
                self.folder.path().as_os_str(),
            );
            let scope = project.scope();
            let (site, lock) = locked_site(&scope);
            let mut plan = Plan::default();
            let program = self.program();
            let resolved = locked(&scope, &mut plan, &site, &lock, "tool", Some(&program));
            (resolved.expect("a lock"), plan)
        }

        fn identity(&self) -> Option<Digest> {
            match self.resolve().0 {
                Resolved::Ready(ready) => match ready.tool {
                    Tool::Host { identity, .. } => Some(identity),
                    _ => None,
                },
                Resolved::Missing(why) => panic!("{why}"),
            }
        }
    }

    #[test]
    fn a_program_is_used_if_its_environment_is_what_is_locked() {
        let exact = Venv::new(&["tool-1.0.0.dist-info", "lib-2.dist-info"]);
        assert!(exact.identity().is_some());
        assert!(exact.resolve().1.layers.is_empty());
    }

    #[test]
    fn another_version_an_absent_package_or_an_editable_one_means_a_layer() {
        for distributions in [
            &["tool-1.1.dist-info", "lib-2.dist-info"][..],
            &["tool-1.0.dist-info", "lib-2.1.dist-info"],
            &["tool-1.0.dist-info"],
        ] {
            let venv = Venv::new(distributions);
            assert_eq!(venv.identity(), None, "{distributions:?}");
            assert_eq!(venv.resolve().1.layers[0].name, "tools:tool");
        }
        let editable = Venv::new(&["tool-1.0.dist-info", "lib-2.dist-info"]);
        let mark = editable.site().join("lib-2.dist-info/direct_url.json");
        std::fs::write(mark, "{}").expect("written");
        assert_eq!(editable.identity(), None);
    }

    #[test]
    fn a_plugin_that_is_not_locked_means_a_layer_and_a_package_beside_another_identity() {
        let exact = Venv::new(&["tool-1.0.dist-info", "lib-2.dist-info"]);
        let beside = Venv::new(&["tool-1.0.dist-info", "lib-2.dist-info", "x-1.dist-info"]);
        assert!(beside.identity().is_some());
        assert_ne!(beside.identity(), exact.identity());
        let metadata = beside.site().join("x-1.dist-info/METADATA");
        std::fs::write(&metadata, "Name: x\nRequires-Dist: tool ; extra == 'dev'\n")
            .expect("written");
        assert!(beside.identity().is_some());
        std::fs::write(&metadata, "Name: x\nRequires-Dist: tool>=1\n").expect("written");
        assert_eq!(beside.identity(), None);
    }

    #[test]
    fn two_environments_with_the_same_content_are_the_same_tool() {
        let one = Venv::new(&["tool-1.0.dist-info", "lib-2.dist-info"]);
        let two = Venv::new(&["tool-1.0.dist-info", "lib-2.dist-info"]);
        let python = std::fs::read_to_string(one.folder.path().join("python3")).expect("read");
        write_program(&two.folder.path().join("python3"), &python);
        assert_eq!(one.identity(), two.identity());
    }

    #[test]
    fn without_a_fitting_python_the_tool_is_missing() {
        let project = Project::new(&[("poetry.lock", LOCK), ("pyproject.toml", "")]);
        let scope = project.scope();
        let (site, lock) = locked_site(&scope);
        let mut plan = Plan::default();
        match locked(&scope, &mut plan, &site, &lock, "tool", None).expect("a lock") {
            Resolved::Missing(why) => {
                assert!(why.contains("`tool` is locked in poetry.lock"), "{why}");
                assert!(
                    why.contains(">=3.8") && why.contains("--engine dagger"),
                    "{why}"
                );
            }
            Resolved::Ready(_) => panic!("there is no Python"),
        }
    }
}
