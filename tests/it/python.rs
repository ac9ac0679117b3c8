//! Python tools: from PATH if exactly what is locked is there, else as an environment from hash-checked wheels.
//!
//! The tools are tiny wheels that behave like the real ones as far as needed; nothing is fetched.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

use crate::support::{Json, Run, Sandbox, skip};

/// The text of the program, as another user may not be able to read the checkout.
const WHEELS: &str = include_str!("support/wheels.py");

/// Name, version and requirements of what a lock may hold.
pub(super) type Package = (&'static str, &'static str, &'static [&'static str]);
pub(super) const RUFF: Package = ("ruff", "0.5.7", &[]);
pub(super) const PATHSPEC: Package = ("pathspec", "0.12.1", &[]);
pub(super) const YAMLLINT: Package = ("yamllint", "1.37.1", &["pathspec"]);
pub(super) const MDFORMAT: Package = ("mdformat", "0.7.22", &[]);
const MDFORMAT_GFM: Package = ("mdformat-gfm", "0.3.7", &["mdformat"]);
pub(super) const UNRELATED: Package = ("unrelated", "1.0", &[]);

/// A project that locks tools, on a machine that has Python, git and a shell and nothing else.
pub(super) struct Project {
    pub(super) sandbox: Sandbox,
    /// SHA-256 by file name of what there is to install.
    pub(super) wheels: BTreeMap<String, String>,
    /// The cache of another project, if shared.
    cache: PathBuf,
}

impl Project {
    pub(super) fn new(locked: &[Package], files: &[(&str, &str)]) -> Option<Self> {
        let python = python()?;
        let sandbox = Sandbox::git_repository();
        let bin = sandbox.outer().join("bin");
        std::fs::create_dir(&bin).expect("folder");
        link(python, &bin.join("python3"));
        for name in ["git", "sh"] {
            link(&on_path(name), &bin.join(name));
        }
        let project = Self {
            wheels: wheels(python, &sandbox.outer().join("wheels")),
            cache: sandbox.cache(),
            sandbox,
        };
        project.write("pyproject.toml", "[tool.poetry]\nname = \"project\"\n");
        project.write("poetry.lock", &project.lock(locked));
        for (path, text) in files {
            project.write(path, text);
        }
        project.sandbox.commit("files");
        Some(project)
    }

    pub(super) fn write(&self, path: &str, text: &str) {
        self.sandbox.write(path, text);
    }

    /// The text of a `poetry.lock` with these packages.
    pub(super) fn lock(&self, packages: &[Package]) -> String {
        let packages = packages.iter().map(|package| self.locked(package));
        let packages: Vec<String> = packages.collect();
        format!(
            "{}[metadata]\nlock-version = \"2.1\"\npython-versions = \">=3.8\"\n",
            packages.concat()
        )
    }

    fn locked(&self, (name, version, requires): &Package) -> String {
        let file = format!("{}-{version}-py3-none-any.whl", name.replace('-', "_"));
        let unknown = "0".repeat(64);
        let hash = self.wheels.get(&file).unwrap_or(&unknown);
        let requires: String = requires.iter().map(|n| format!("{n} = \"*\"\n")).collect();
        format!(
            "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\ngroups = [\"lint\"]\n\
             files = [{{file = \"{file}\", hash = \"sha256:{hash}\"}}]\n[package.dependencies]\n{requires}\n"
        )
    }

    /// Makes a virtual environment of these wheels, whose programs come first on PATH.
    pub(super) fn install(&self, wheels: &[&str]) {
        let _ = std::fs::remove_dir_all(self.venv());
        let folder = self.sandbox.outer().join("wheels");
        let wheels = wheels
            .iter()
            .map(|name| folder.join(format!("{name}-py3-none-any.whl")));
        let mut command = Command::new(self.sandbox.outer().join("bin/python3"));
        command
            .args(["-c", WHEELS, "venv"])
            .arg(self.venv())
            .args(wheels);
        let output = command.output().expect("python3");
        assert!(output.status.success(), "{output:?}");
    }

    pub(super) fn venv(&self) -> PathBuf {
        self.sandbox.outer().join("venv")
    }

    fn command(&self, args: &[&str]) -> Command {
        let outer = self.sandbox.outer();
        let path = std::env::join_paths([self.venv().join("bin"), outer.join("bin")]);
        let mut command = self.sandbox.command(args);
        command
            .env("PATH", path.expect("PATH"))
            .env("DAGCACHE_DIR", &self.cache)
            .env("PIP_CONFIG_FILE", "/dev/null")
            .env("PIP_NO_INDEX", "1")
            .env("PIP_FIND_LINKS", outer.join("wheels"));
        command
    }

    pub(super) fn run(&self, args: &[&str]) -> Run {
        Run::of(self.command(args))
    }

    pub(super) fn json(&self, args: &[&str]) -> Json {
        let mut all = args.to_vec();
        all.extend(["--message-format", "json"]);
        Json::of(self.run(&all))
    }

    /// The environments that were built completely.
    pub(super) fn environments(&self) -> usize {
        let folder = self.cache.join("v1/layers");
        let Ok(layers) = std::fs::read_dir(folder) else {
            return 0;
        };
        let layers = layers.map(|layer| layer.expect("layer").path());
        layers
            .filter(|layer| layer.join("complete").is_file())
            .count()
    }
}

/// The Python of this machine, no link of a version manager; `None`, said visibly, if it cannot make environments.
fn python() -> Option<&'static Path> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    let ask = || {
        let said = |program: &Path, text: &str| {
            let output = Command::new(program).args(["-c", text]).output().ok()?;
            let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
            output.status.success().then_some(text)
        };
        let base = said(
            Path::new("python3"),
            "import sys; print(getattr(sys, '_base_executable', sys.executable))",
        )?;
        let base = PathBuf::from(base).canonicalize().ok()?;
        said(&base, "import venv, pip")?;
        Some(base)
    };
    let found = PYTHON.get_or_init(ask).as_deref();
    if found.is_none() {
        skip("there is no python3 with venv and pip");
    }
    found
}

fn on_path(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|folder| folder.join(name));
    places.find(|place| place.is_file()).expect(name)
}

fn link(target: &Path, link: &Path) {
    std::os::unix::fs::symlink(target, link).expect("link");
}

fn wheels(python: &Path, folder: &Path) -> BTreeMap<String, String> {
    let mut command = Command::new(python);
    let output = command.args(["-c", WHEELS, "make"]).arg(folder).output();
    let output = output.expect("python3");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    lines
        .map(|(file, hash)| (file.to_owned(), hash.to_owned()))
        .collect()
}

/// The layers that a run built.
pub(super) fn built(json: &Json) -> Vec<&str> {
    let checks = json.checks().into_iter();
    let lists = checks.filter_map(|line| line["layers_built"].as_array());
    let mut built: Vec<&str> = lists.flatten().filter_map(Value::as_str).collect();
    built.sort_unstable();
    built
}

fn parts(json: &Json, id: &str) -> (u64, u64) {
    let count = |name: &str| json.check(id)["parts"][name].as_u64().expect("number");
    (count("hit"), count("ran"))
}

/// Severity, path and line of the findings of a check.
fn findings(json: &Json, id: &str) -> Vec<String> {
    let findings = json.check(id)["findings"].as_array().expect("findings");
    let show = |finding: &Value| {
        let text = |name: &str| finding[name].as_str().unwrap_or("-").to_owned();
        format!("{} {}:{}", text("severity"), text("path"), finding["line"])
    };
    findings.iter().map(show).collect()
}

fn ids(json: &Json) -> Vec<&str> {
    let mut ids: Vec<&str> = json
        .checks()
        .iter()
        .filter_map(|line| line["id"].as_str())
        .collect();
    ids.sort_unstable();
    ids
}

const LONG: &str = "---\na: a text of more than eighty characters, which is more than yamllint accepts in a line\n";

#[test]
fn locked_tools_become_environments_once() {
    let locked = [RUFF, PATHSPEC, YAMLLINT, MDFORMAT, MDFORMAT_GFM];
    let files = [
        ("a.py", "import os\n"),
        ("a.yaml", "a: 1\n"),
        ("a.md", "# A \n"),
    ];
    let Some(project) = Project::new(&locked, &files) else {
        return;
    };
    let json = project.json(&["lint"]).expect(1);
    assert_eq!(
        built(&json),
        ["tools:mdformat", "tools:ruff", "tools:yamllint"]
    );
    assert_eq!(findings(&json, "python:ruff-check"), ["error a.py:1"]);
    assert_eq!(
        json.check("python:ruff-check")["findings"][0]["code"],
        "F401"
    );
    assert_eq!(json.check("python:ruff-format")["verdict"], "passed");
    assert_eq!(findings(&json, "yaml:yamllint"), ["warning a.yaml:1"]);
    assert_eq!(json.check("yaml:yamllint")["verdict"], "passed");
    assert_eq!(findings(&json, "markdown:mdformat"), ["error a.md:null"]);
    let again = project.json(&["lint"]).expect(1);
    again.expect_fresh();
    assert_eq!(built(&again), [""; 0]);
    for id in ids(&json) {
        assert_eq!(
            again.check(id)["findings"],
            json.check(id)["findings"],
            "{id}"
        );
    }

    // Another project that locks the same: nothing is built, and what is equal is not even run.
    let files = [("a.py", ""), ("a.yaml", "a: 1\n"), ("pyproject.toml", "")];
    let locked = [UNRELATED, YAMLLINT, PATHSPEC, RUFF];
    let Some(mut other) = Project::new(&locked, &files) else {
        return;
    };
    other.cache = project.cache.clone();
    let json = other.json(&["lint"]).expect(0);
    assert_eq!(built(&json), [""; 0]);
    assert_eq!(json.check("python:ruff-check")["cache"], "miss");
    assert_eq!(json.check("yaml:yamllint")["cache"], "hit");
    assert_eq!(other.environments(), 3);
}

#[test]
fn only_what_a_tool_is_locked_with_makes_its_layer_another() {
    let locked = [PATHSPEC, YAMLLINT, UNRELATED];
    let Some(project) = Project::new(&locked, &[("a.yaml", "---\na: 1\n")]) else {
        return;
    };
    let json = project.json(&["lint"]).expect(0);
    assert_eq!(built(&json), ["tools:yamllint"]);
    for packages in [
        &[PATHSPEC, YAMLLINT, ("unrelated", "2.0", &[])][..],
        &[PATHSPEC, ("added", "1.0", &[]), YAMLLINT, UNRELATED],
        &[YAMLLINT, PATHSPEC],
    ] {
        project.write(
            "poetry.lock",
            &format!("# a comment\n{}", project.lock(packages)),
        );
        let json = project.json(&["lint"]).expect(0);
        json.expect_fresh();
        assert_eq!(built(&json), [""; 0]);
    }
    project.write(
        "poetry.lock",
        &project.lock(&[("pathspec", "0.12.2", &[]), YAMLLINT]),
    );
    let json = project.json(&["lint"]).expect(0);
    assert_eq!(built(&json), ["tools:yamllint"]);
    let check = json.check("yaml:yamllint");
    assert_eq!(check["miss"]["kind"], "layer-changed");
    assert_eq!(json.ran().len(), 1, "{:?}", json.ran());
    // Back again: the old environment and the old result are still there.
    project.write("poetry.lock", &project.lock(&locked));
    let json = project.json(&["lint"]).expect(0);
    json.expect_fresh();
}

#[test]
fn two_runs_at_once_build_one_environment_and_a_damaged_one_is_built_anew() {
    let files = [("a.yaml", "---\na: 1\n")];
    let Some(project) = Project::new(&[PATHSPEC, YAMLLINT], &files) else {
        return;
    };
    let args = ["lint", "--message-format", "json"];
    let start = || {
        let mut command = project.command(&args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the binary starts")
    };
    let both = [start(), start()].map(|child| Json::of(Run::end_of(child)).expect(0));
    let all: Vec<&str> = both.iter().flat_map(built).collect();
    assert_eq!(all, ["tools:yamllint"]);

    let files = project.sandbox.cached("v1/layers", "/pathspec.py");
    assert_eq!(files.len(), 1);
    std::fs::remove_file(&files[0]).expect("remove");
    // What is stored does not need it.
    project.json(&["lint"]).expect(0).expect_fresh();
    project.write("a.yaml", "---\na: 2\n");
    let json = project.json(&["lint"]).expect(0);
    assert_eq!(built(&json), ["tools:yamllint"]);
}

#[test]
fn a_wrong_hash_is_an_error_with_what_pip_says() {
    let Some(project) = Project::new(&[PATHSPEC, YAMLLINT], &[("a.yaml", "a: 1\n")]) else {
        return;
    };
    let hash = &project.wheels["pathspec-0.12.1-py3-none-any.whl"];
    let lock = project
        .sandbox
        .read("poetry.lock")
        .replace(hash, &"0".repeat(64));
    project.write("poetry.lock", &lock);
    let run = project.run(&["lint"]).expect(3);
    for said in [
        "tools:yamllint",
        "DO NOT MATCH THE HASHES",
        "--require-hashes",
        "Repeat with cargo dagcache lint --only yaml:yamllint",
    ] {
        assert!(run.stderr.contains(said), "{said}\n{}", run.stderr);
    }
    // Nothing was stored: it is tried again.
    let json = project.json(&["lint"]).expect(3);
    let check = json.check("yaml:yamllint");
    assert_eq!(check["verdict"], "error");
    assert_eq!(check["cache"], "miss");
    assert_eq!(json.check("yaml:syntax")["cache"], "hit");
    assert_eq!(project.environments(), 0);
}

#[test]
fn a_program_on_path_is_used_if_it_is_exactly_what_is_locked() {
    let files = [("a.yaml", "---\na: 1\n")];
    let Some(project) = Project::new(&[PATHSPEC, YAMLLINT], &files) else {
        return;
    };
    let exact = ["yamllint-1.37.1", "pathspec-0.12.1"];
    project.install(&exact);
    let json = project.json(&["lint"]).expect(0);
    assert_eq!(built(&json), [""; 0]);
    project.json(&["lint"]).expect(0).expect_fresh();
    assert_eq!(project.environments(), 0);
    // What is not locked, be it a plugin or another version, is not what is run.
    project.install(&["yamllint-1.37.1", "pathspec-0.12.1", "yamllint_plugin-1.0"]);
    let json = project.json(&["lint"]).expect(0);
    assert_eq!(built(&json), ["tools:yamllint"]);
    assert_eq!(json.ran(), ["yaml:yamllint tool-changed yamllint"]);
    project.install(&["yamllint-1.37.1", "pathspec-0.12.2"]);
    let json = project.json(&["lint"]).expect(0);
    json.expect_fresh();
    assert_eq!(project.environments(), 1);
    // An environment made anew with the same content is the same tool.
    project.install(&exact);
    project.json(&["lint"]).expect(0).expect_fresh();
}

#[test]
fn without_python_the_ways_out_are_named_and_the_rest_is_checked() {
    let files = [("a.yaml", "a: [1\n")];
    let Some(project) = Project::new(&[PATHSPEC, YAMLLINT], &files) else {
        return;
    };
    std::fs::remove_file(project.sandbox.outer().join("bin/python3")).expect("remove");
    let run = project.run(&["lint"]).expect(3);
    for said in [
        "`yamllint` is locked in poetry.lock",
        "install",
        "--engine dagger",
        "a.yaml:",
    ] {
        assert!(run.stderr.contains(said), "{said}\n{}", run.stderr);
    }
    let json = project.json(&["lint"]).expect(3);
    assert_eq!(json.check("yaml:yamllint")["verdict"], "error");
    assert_eq!(json.check("yaml:syntax")["verdict"], "failed");
}

#[test]
fn a_python_that_the_lock_does_not_allow_is_not_used() {
    let files = [("a.yaml", "a: 1\n")];
    let Some(project) = Project::new(&[PATHSPEC, YAMLLINT], &files) else {
        return;
    };
    let lock = project.sandbox.read("poetry.lock");
    project.write("poetry.lock", &lock.replace(">=3.8", ">=3.99"));
    let json = project.json(&["lint"]).expect(3);
    let message = json.check("yaml:yamllint")["message"].as_str();
    let message = message.expect("text");
    assert!(message.contains(">=3.99"), "{message}");
    assert_eq!(project.environments(), 0);
}

#[test]
fn a_configured_tool_that_is_nowhere_is_an_error_and_the_rest_is_checked() {
    let files = [
        ("pyproject.toml", "[tool.ruff]\n"),
        ("a.py", ""),
        ("a.yaml", "a: 1\n"),
    ];
    let Some(project) = Project::new(&[UNRELATED], &files) else {
        return;
    };
    let run = project.run(&["lint"]).expect(3);
    for said in ["`ruff`", "on PATH", "install it", "--engine dagger"] {
        assert!(run.stderr.contains(said), "{said}\n{}", run.stderr);
    }
    let json = project.json(&["lint"]).expect(3);
    assert_eq!(json.check("python:ruff-check")["verdict"], "error");
    assert_eq!(json.check("yaml:syntax")["verdict"], "passed");
    // As soon as it is there, it is used: any version will do, as none is locked.
    project.install(&["ruff-0.5.8"]);
    project.json(&["lint"]).expect(0);
    project.json(&["lint"]).expect(0).expect_fresh();
    project.install(&["ruff-0.5.7"]);
    let json = project.json(&["lint"]).expect(0);
    assert_eq!(
        json.check("python:ruff-check")["miss"]["kind"],
        "tool-changed"
    );
}

#[test]
fn a_link_is_checked_under_its_own_name_whatever_happens_to_its_target() {
    let files = [
        (".yamllint", "ignore: |\n  third/\n"),
        ("dagcache.toml", "exclude = [\"docs\"]\n"),
        ("docs/d.md", "a\n"),
        ("other.md", "a\n"),
        ("other.yaml", "a: 1\n"),
        ("third/x.yaml", "a: 1\n"),
    ];
    let locked = [PATHSPEC, YAMLLINT, MDFORMAT];
    let Some(project) = Project::new(&locked, &files) else {
        return;
    };
    project.install(&["yamllint-1.37.1", "pathspec-0.12.1", "mdformat-0.7.22"]);
    let link = |to, at| std::os::unix::fs::symlink(to, project.sandbox.path(at)).expect("link");
    link("third/x.yaml", "mine.yaml");
    link("other.yaml", "same.yaml");
    link("docs/d.md", "mine.md");
    let lint = |code| project.json(&["lint"]).expect(code);
    let json = lint(0);
    assert_eq!(parts(&json, "yaml:yamllint"), (0, 4));
    assert_eq!(parts(&json, "markdown:mdformat"), (0, 2));
    project.write("third/x.yaml", LONG);
    project.write("docs/d.md", "a \n");
    let json = lint(1);
    for (id, finding, ran) in [
        ("yaml:yamllint", "error mine.yaml:2", (3, 1)),
        ("markdown:mdformat", "error mine.md:null", (1, 1)),
    ] {
        let found = findings(&json, id);
        assert!(found.contains(&finding.to_owned()), "{found:?}");
        assert_eq!(parts(&json, id), ran);
    }
    lint(1).expect_fresh();
}

#[test]
fn yamllint_runs_on_what_changed_and_replays_the_rest() {
    let id = "yaml:yamllint";
    let locked = [PATHSPEC, YAMLLINT];
    let names = ["a.yaml", "b.yaml", "c.yaml", "d/d.yml", "d/e.yml"];
    let files = names.map(|name| (name, "a: 1\n"));
    let Some(project) = Project::new(&locked, &files) else {
        return;
    };
    project.install(&["yamllint-1.37.1", "pathspec-0.12.1"]);
    let warnings = names.map(|name| format!("warning {name}:1"));
    let json = project.json(&["lint"]).expect(0);
    assert_eq!(parts(&json, id), (0, 5));
    assert_eq!(findings(&json, id), warnings);

    project.write("b.yaml", "a: 2\n");
    let json = project.json(&["lint"]).expect(0);
    assert_eq!(parts(&json, id), (4, 1));
    assert_eq!(findings(&json, id), warnings);
    assert!(
        json.ran().contains(&format!("{id} input-changed b.yaml")),
        "{:?}",
        json.ran()
    );

    project.write("b.yaml", LONG);
    for ran in [1, 0] {
        let json = project.json(&["lint"]).expect(1);
        assert_eq!(parts(&json, id), (5 - ran, ran));
        let mut expect = warnings.clone();
        expect[1] = "error b.yaml:2".to_owned();
        assert_eq!(findings(&json, id), expect);
        assert_eq!(json.check(id)["exit_code"], 1);
        let stdout = json.check(id)["stdout"].as_str().expect("text");
        assert_eq!(stdout.lines().count(), 5, "{stdout}");
    }
    project
        .json(&["lint", "a.yaml", "d"])
        .expect(0)
        .expect_fresh();

    project.write(".yamllint.yml", "---\nrules:\n  document-start: disable\n");
    let json = project.json(&["lint"]).expect(1);
    assert_eq!(findings(&json, id), ["error b.yaml:2"]);
    project.write(
        ".yamllint.yml",
        "---\n# more\nrules:\n  document-start: disable\n",
    );
    let json = project.json(&["lint"]).expect(1);
    let ran = ["yaml:syntax input-changed", "yaml:yamllint config-changed"];
    assert_eq!(json.ran(), ran.map(|why| format!("{why} .yamllint.yml")));
    assert_eq!(parts(&json, id), (0, 6));
    assert_eq!(json.check(id)["miss"]["kind"], "config-changed");
    assert_eq!(json.check(id)["miss"]["path"], ".yamllint.yml");

    // Also where the configuration is above the project, yamllint looks here for the file that it names.
    project.sandbox.remove(".yamllint.yml");
    let above = project.sandbox.outer().join(".yamllint");
    std::fs::write(above, "---\nextends: default\nignore-from-file: skip\n").expect("file");
    project.write("skip", "c.yaml\n");
    project.json(&["lint"]).expect(1);
    project.json(&["lint"]).expect(1).expect_fresh();
    project.write("skip", "a.yaml\n");
    let json = project.json(&["lint"]).expect(1);
    assert_eq!(json.check(id)["miss"]["path"], "skip");
}

#[test]
fn a_file_that_breaks_yamllint_spoils_no_other() {
    let id = "yaml:yamllint";
    let files = [("a.yaml", "a: 1\n"), ("b.yaml", "a: 1\n")];
    let Some(project) = Project::new(&[PATHSPEC, YAMLLINT], &files) else {
        return;
    };
    project.install(&["yamllint-1.37.1", "pathspec-0.12.1"]);
    project.sandbox.write("b.yaml", b"a: \"\xff\"\n");
    for ran in [2, 0] {
        let json = project.json(&["lint", "--only", id]).expect(1);
        assert_eq!(parts(&json, id), (2 - ran, ran));
        assert_eq!(findings(&json, id), ["warning a.yaml:1"]);
        let stderr = json.check(id)["stderr"].as_str().expect("text");
        assert_eq!(stderr.matches("UnicodeDecodeError").count(), 1, "{stderr}");
    }
    let json = project.json(&["lint", "--only", id, "a.yaml"]).expect(0);
    json.expect_fresh();
    project.write("b.yaml", "a: 2\n");
    let json = project.json(&["lint", "--only", id]).expect(0);
    assert_eq!(parts(&json, id), (1, 1));
}

#[test]
fn an_edited_readme_is_seen_by_mdformat_and_the_secrets_only() {
    let locked = [RUFF, PATHSPEC, YAMLLINT, MDFORMAT, MDFORMAT_GFM];
    let files = [
        ("README.md", "# A\n"),
        ("docs/b c.md", "# B\n"),
        ("a.py", ""),
        ("a.yaml", "a: 1\n"),
    ];
    let Some(project) = Project::new(&locked, &files) else {
        return;
    };
    project.install(&[
        "ruff-0.5.7",
        "pathspec-0.12.1",
        "yamllint-1.37.1",
        "mdformat-0.7.22",
        "mdformat_gfm-0.3.7",
    ]);
    let json = project.json(&["dev-check"]).expect(0);
    assert_eq!(built(&json), [""; 0]);
    project.write("README.md", "# Other\n");
    let json = project.json(&["dev-check"]).expect(0);
    let ran = ["markdown:mdformat", "security:secrets"];
    assert_eq!(
        json.ran(),
        ran.map(|id| format!("{id} input-changed README.md"))
    );
    for id in ran {
        assert_eq!(json.check(id)["parts"]["ran"], 1, "{id}");
    }
    project.write("docs/b c.md", "# B \n");
    project.json(&["dev-check"]).expect(1);
    let json = project.json(&["dev-check"]).expect(1);
    json.expect_fresh();
    assert_eq!(
        findings(&json, "markdown:mdformat"),
        ["error docs/b c.md:null"]
    );
    assert_eq!(parts(&json, "markdown:mdformat"), (2, 0));
    project
        .json(&["lint", "README.md"])
        .expect(0)
        .expect_fresh();
}

#[test]
fn a_first_party_module_that_joins_reruns_ruff() {
    let files = [
        ("a.py", "import helper\n"),
        ("README.md", "# A\n"),
        ("a.yaml", "a: 1\n"),
    ];
    let Some(project) = Project::new(&[RUFF], &files) else {
        return;
    };
    project.install(&["ruff-0.5.7"]);
    project.json(&["lint"]).expect(0);
    project.write("helper.py", "");
    let json = project.json(&["lint"]).expect(0);
    let ids = ["python:ruff-check", "python:ruff-format"];
    assert_eq!(
        json.ran(),
        ids.map(|id| format!("{id} input-added helper.py"))
    );
    // A folder of that name makes a module first-party, too.
    project.sandbox.remove("helper.py");
    project.json(&["lint"]).expect(0).expect_fresh();
    project.write("helper/data.txt", "");
    let json = project.json(&["lint"]).expect(0);
    assert_eq!(json.ran(), ["python:ruff-check input-added helper/"]);
    // Only its name counts.
    project.write("helper/data.txt", "1\n");
    project.json(&["lint"]).expect(0).expect_fresh();
    project.write("README.md", "# B\n");
    project.write("a.yaml", "a: 2\n");
    let json = project.json(&["lint"]).expect(0);
    assert_eq!(json.ran(), ["yaml:syntax input-changed a.yaml"]);
    project.write("a.py", "import os\nx = 1 \n");
    let json = project.json(&["lint"]).expect(1);
    assert_eq!(findings(&json, "python:ruff-check"), ["error a.py:1"]);
    assert_eq!(findings(&json, "python:ruff-format"), ["error a.py:null"]);
}

#[test]
fn a_broken_lock_or_project_file_is_named_with_its_place_and_stops_nothing_else() {
    for (path, text, place) in [
        (
            "poetry.lock",
            "[[package]]\nname = \"ruff\"\nversion = 1\n",
            "poetry.lock:3:",
        ),
        (
            "poetry.lock",
            "[[package]]\n<<<<<<< HEAD\n",
            "poetry.lock:2:",
        ),
        (
            "pyproject.toml",
            "[tool.isort]\nline-length = \n",
            "pyproject.toml:2:",
        ),
        ("pyproject.toml", "[tool.poetry\n", "pyproject.toml:1:"),
        (
            "tests/x/poetry.lock",
            "[[package]]\nname = \"ruff\"\nversion = 1\n",
            "tests/x/poetry.lock:3:",
        ),
    ] {
        let sandbox = Sandbox::with(&[
            ("pyproject.toml", "[tool.isort]\n"),
            ("tests/x/pyproject.toml", ""),
            ("poetry.lock", "package = []\n"),
            ("broken.yaml", "a: [\n"),
        ]);
        sandbox.write(path, text);
        let run = sandbox.run(&["lint"]);
        let all = format!("{}{}", run.stdout, run.stderr);
        assert!(all.contains(place), "{place}\n{all}");
        assert!(all.contains("broken.yaml"), "{place}\n{all}");
    }
}

#[test]
fn each_project_of_a_repository_has_its_checks_and_options_select_them() {
    let locked = [RUFF, PATHSPEC, YAMLLINT, MDFORMAT];
    let Some(project) = Project::new(&locked, &[("a.yaml", "a: 1\n"), ("a.md", "")]) else {
        return;
    };
    for folder in ["one", "two/deep"] {
        for (name, text) in [
            ("pyproject.toml", String::new()),
            ("poetry.lock", project.lock(&locked)),
            ("b.md", String::new()),
            ("b.yaml", "a: 1\n".to_owned()),
        ] {
            project.write(&format!("{folder}/{name}"), &text);
        }
    }
    let everywhere = |names: &[&str]| {
        let ids = names.iter().flat_map(|id| {
            [
                (*id).to_owned(),
                format!("{id}@one"),
                format!("{id}@two/deep"),
            ]
        });
        ids.collect::<Vec<String>>()
    };
    let selected = |option: &str| {
        let json = project.json(&["lint", option, "--dry-run"]).expect(0);
        ids(&json)
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        selected("--python-only"),
        everywhere(&["python:ruff-check", "python:ruff-format"])
    );
    assert_eq!(
        selected("--markdown-only"),
        everywhere(&["markdown:mdformat"])
    );
    let mut yaml = everywhere(&["yaml:yamllint"]);
    yaml.insert(0, "yaml:syntax".to_owned());
    assert_eq!(selected("--yaml-only"), yaml);
    assert_eq!(project.environments(), 0);
}
