//! What identifies a tool: shims of version managers, proxies, packages of Node, wrappers.
//!
//! The managers are scripts that answer as the real ones do, and note each question.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Json, Run, Sandbox, have};

const CONFIG: &str =
    "[checks.own]\ncommand = [\"mytool\", \"-c\", \"echo hi\"]\ninputs = [\"src/**\"]\n";

/// A manager of versions, as far as the tests need it.
struct Manager {
    name: &'static str,
    /// The folder of shims, and of the versions, below the manager's root.
    shims: &'static str,
    versions: &'static str,
    /// The file of the project that names the version, and how its lines begin.
    file: &'static str,
    line: &'static str,
}

const MANAGERS: [Manager; 4] = [
    Manager {
        name: "pyenv",
        shims: "shims",
        versions: "versions",
        file: ".python-version",
        line: "",
    },
    Manager {
        name: "asdf",
        shims: "shims",
        versions: "installs/mytool",
        file: ".tool-versions",
        line: "mytool ",
    },
    Manager {
        name: "mise",
        shims: "shims",
        versions: "installs/mytool",
        file: ".tool-versions",
        line: "mytool ",
    },
    Manager {
        name: "volta",
        shims: "bin",
        versions: "tools/image/mytool",
        file: "package.json",
        line: "",
    },
];

fn executable(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir_all(path.parent().expect("folder")).expect("folder");
    std::fs::write(path, text).expect("program");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("mode");
}

impl Manager {
    fn root(&self, sandbox: &Sandbox) -> PathBuf {
        sandbox.outer().join(self.name)
    }

    /// A project that asks for version 1 of `mytool`, of which there are two.
    fn sandbox(&self) -> Sandbox {
        let sandbox = Sandbox::with(&[("dagcache.toml", CONFIG), ("src/a", "")]);
        self.choose(&sandbox, "1");
        for (version, mark) in [("1", "one"), ("2", "two")] {
            self.install(&sandbox, version, mark);
        }
        let root = self.root(&sandbox);
        let manager = root.join("libexec").join(self.name);
        let (versions, file, line) = (root.join(self.versions), self.file, self.line);
        let answer = format!(
            "#!/bin/sh\n[ \"$1 $2\" = \"which mytool\" ] || exit 9\necho asked >> '{}'\n\
             read -r line < {file}\necho \"{}/${{line#\"{line}\"}}/bin/mytool\"\n",
            root.join("log").display(),
            versions.display()
        );
        executable(&manager, &answer);
        let shim = root.join(self.shims).join("mytool");
        std::fs::create_dir_all(root.join(self.shims)).expect("folder");
        match self.name {
            "pyenv" => executable(
                &shim,
                &format!(
                    "#!/bin/sh\nexec \"{}\" exec \"$program\" \"$@\"\n",
                    manager.display()
                ),
            ),
            "asdf" => executable(
                &shim,
                &format!(
                    "#!/bin/sh\nexec {} exec \"mytool\" \"$@\"\n",
                    manager.display()
                ),
            ),
            "mise" => symlink(manager, shim).expect("link"),
            _ => {
                let volta = manager.with_file_name("volta-shim");
                executable(&volta, "#!/bin/sh\nexit 9\n");
                symlink(volta, shim).expect("link");
            }
        }
        sandbox
    }

    fn choose(&self, sandbox: &Sandbox, version: &str) {
        sandbox.write(self.file, format!("{}{version}\n", self.line));
    }

    fn install(&self, sandbox: &Sandbox, version: &str, mark: &str) {
        let folder = format!("{}/{}/{version}/bin", self.name, self.versions);
        sandbox.tool_in(&folder, "mytool", mark);
    }

    fn run(&self, sandbox: &Sandbox) -> Json {
        let mut command = sandbox.command(&["lint", "--only", "own", "--message-format", "json"]);
        let shims = self.root(sandbox).join(self.shims);
        prepend(&mut command, &shims);
        Json::of(Run::of(command))
    }

    fn asked(&self, sandbox: &Sandbox) -> usize {
        let log = std::fs::read_to_string(self.root(sandbox).join("log"));
        log.unwrap_or_default().lines().count()
    }
}

fn prepend(command: &mut Command, folder: &Path) {
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", folder.display()));
}

fn own(sandbox: &Sandbox) -> Json {
    sandbox.json(&["lint", "--only", "own"])
}

fn expect_not_stored(json: &Json, words: &str) {
    let check = json.check("own");
    let reason = check["not_stored"].as_str().unwrap_or_default();
    assert!(reason.contains(words), "{check}");
}

#[test]
fn behind_a_shim_stands_the_program_it_would_run() {
    for manager in MANAGERS {
        let name = manager.name;
        let sandbox = manager.sandbox();
        let json = manager.run(&sandbox).expect(0);
        assert_eq!(json.check("own")["stdout"], "hi\n", "{name}");
        manager.run(&sandbox).expect(0).expect_fresh();
        assert_eq!(manager.asked(&sandbox), 1, "{name}");
        // Another version is another tool.
        manager.choose(&sandbox, "2");
        let json = manager.run(&sandbox).expect(0);
        assert_eq!(json.ran(), ["own tool-changed mytool"], "{name}");
        manager.choose(&sandbox, "1");
        manager.run(&sandbox).expect(0).expect_fresh();
        // The same version may be another program; one that is not used changes nothing.
        manager.install(&sandbox, "1", "changed");
        let json = manager.run(&sandbox).expect(0);
        assert_eq!(json.ran(), ["own tool-changed mytool"], "{name}");
        manager.install(&sandbox, "3", "three");
        manager.install(&sandbox, "2", "changed, too");
        manager.run(&sandbox).expect(0).expect_fresh();
    }
}

#[test]
fn what_was_installed_with_a_program_counts() {
    let sandbox = Sandbox::with(&[("dagcache.toml", CONFIG), ("src/a", "")]);
    let folder = sandbox.tool_in("kit/bin", "mytool", "1");
    let library = sandbox.outer().join("kit/lib/deep/libw.so");
    std::fs::create_dir_all(library.parent().expect("folder")).expect("folder");
    std::fs::write(&library, "1").expect("library");
    let run = || {
        let mut command = sandbox.command(&["lint", "--only", "own", "--message-format", "json"]);
        prepend(&mut command, &folder);
        Json::of(Run::of(command)).expect(0)
    };
    run();
    run().expect_fresh();
    std::fs::write(&library, "2").expect("library");
    assert_eq!(run().ran(), ["own tool-changed mytool"]);
    std::fs::write(&library, "1").expect("library");
    run().expect_fresh();
    // What cannot be read cannot be loaded.
    std::fs::create_dir(sandbox.outer().join("kit.d")).expect("folder");
    run().expect_fresh();
}

#[test]
fn a_failure_for_want_of_a_program_out_of_reach_is_not_stored() {
    let real = |sandbox: &Sandbox| sandbox.tool_in("elsewhere", "real", "1").join("real");
    let sandbox = Sandbox::with(&[("src/a", "")]);
    let program = real(&sandbox);
    let config = format!(
        "[checks.own]\ncommand = [\"sh\", \"-c\", \"exec {} -c :\"]\ninputs = [\"src/**\"]\n",
        program.display()
    );
    sandbox.write("dagcache.toml", config);
    let json = own(&sandbox).expect(1);
    expect_not_stored(&json, "out of its reach");
    // What was never there is no reason.
    std::fs::remove_file(program).expect("removed");
    own(&sandbox).expect(1);
    own(&sandbox).expect(1).expect_fresh();
}

#[test]
fn a_shim_whose_manager_does_not_answer_is_not_stored() {
    let [pyenv, ..] = MANAGERS;
    let sandbox = pyenv.sandbox();
    pyenv.choose(&sandbox, "none");
    for _ in 0..2 {
        let json = pyenv.run(&sandbox);
        assert_eq!(json.check("own")["cache"], "miss");
        expect_not_stored(&json, "pyenv shim");
    }
}

#[test]
fn a_proxy_of_rustup_is_the_toolchain_it_chooses() {
    let sandbox = Sandbox::with(&[
        (
            "dagcache.toml",
            "[checks.own]\ncommand = [\"rustc\", \"-c\", \"echo hi\"]\ninputs = [\"src/**\"]\n",
        ),
        ("src/a", ""),
    ]);
    for name in ["one", "two"] {
        let folder = format!("rustup/toolchains/{name}");
        sandbox.tool_in(&format!("{folder}/bin"), "rustc", name);
        let libraries = sandbox.outer().join(folder).join("lib/rustlib");
        std::fs::create_dir_all(libraries).expect("folder");
    }
    let home = sandbox.outer().join("rustup");
    let settings = "default_toolchain = \"one\"\n";
    std::fs::write(home.join("settings.toml"), settings).expect("settings");
    sandbox.tool("rustup", "proxy");
    let bin = sandbox.outer().join("bin");
    for name in ["cargo", "rustc"] {
        symlink("rustup", bin.join(name)).expect("link");
    }
    let run = || {
        let mut command = sandbox.command(&["lint", "--only", "own", "--message-format", "json"]);
        command.env("RUSTUP_HOME", &home);
        Json::of(Run::of(command)).expect(0)
    };
    assert_eq!(run().check("own")["stdout"], "hi\n");
    run().expect_fresh();
    sandbox.write("rust-toolchain", "two\n");
    assert_eq!(run().ran(), ["own tool-changed rustc"]);
    sandbox.remove("rust-toolchain");
    run().expect_fresh();
}

#[test]
fn a_link_to_a_shim_is_the_shim() {
    for manager in MANAGERS.into_iter().take(3) {
        let name = manager.name;
        let sandbox = manager.sandbox();
        let link = sandbox.outer().join("bin/mytool");
        std::fs::create_dir_all(sandbox.outer().join("bin")).expect("folder");
        symlink(
            manager.root(&sandbox).join(manager.shims).join("mytool"),
            link,
        )
        .expect("link");
        own(&sandbox).expect(0);
        own(&sandbox).expect(0).expect_fresh();
        manager.choose(&sandbox, "2");
        assert_eq!(
            own(&sandbox).expect(0).ran(),
            ["own tool-changed mytool"],
            "{name}"
        );
        // What is installed is looked at where the shim is, not where the link is.
        manager.choose(&sandbox, "1");
        own(&sandbox).expect(0).expect_fresh();
        manager.install(&sandbox, "3", "three");
        manager.choose(&sandbox, "3");
        assert_eq!(
            own(&sandbox).expect(0).ran(),
            ["own tool-changed mytool"],
            "{name}"
        );
    }
}

#[test]
fn a_refusal_of_a_manager_is_remembered_until_something_changes() {
    let [pyenv, ..] = MANAGERS;
    let sandbox = pyenv.sandbox();
    let manager = pyenv.root(&sandbox).join("libexec/pyenv");
    let log = pyenv.root(&sandbox).join("log");
    let refuse = format!("#!/bin/sh\necho asked >> '{}'\nexit 1\n", log.display());
    executable(&manager, &refuse);
    for _ in 0..2 {
        expect_not_stored(&pyenv.run(&sandbox), "pyenv shim");
        assert_eq!(pyenv.asked(&sandbox), 1);
    }
    pyenv.choose(&sandbox, "2");
    pyenv.run(&sandbox);
    assert_eq!(pyenv.asked(&sandbox), 2);
}

#[test]
fn an_observed_check_finds_what_is_behind_a_shim_as_soon_as_its_manager_answers() {
    let [pyenv, ..] = MANAGERS;
    let sandbox = pyenv.sandbox();
    sandbox.write(
        "dagcache.toml",
        "[checks.own]\ncommand = [\"./check.sh\"]\n",
    );
    sandbox.script("check.sh", "mytool -c 'echo hi'");
    let manager = pyenv.root(&sandbox).join("libexec/pyenv");
    let answer = std::fs::read_to_string(&manager).expect("manager");
    executable(&manager, "#!/bin/sh\nexit 1\n");
    pyenv.run(&sandbox);
    executable(&manager, &answer);
    let json = pyenv.run(&sandbox).expect(0);
    assert_eq!(json.check("own")["stdout"], "hi\n");
    pyenv.run(&sandbox).expect_fresh();
    pyenv.choose(&sandbox, "2");
    assert_eq!(pyenv.run(&sandbox).ran(), ["own tool-changed mytool"]);
    if super::traced::can_be(&sandbox) {
        sandbox.write("unused", "");
        pyenv.run(&sandbox).expect_fresh();
    }
}

#[test]
fn a_launcher_that_does_not_say_what_it_starts_is_not_stored_by_any_check() {
    let kustomization = "resources: []\n";
    let config = "[checks.own]\ncommand = [\"kustomize\", \"-c\", \":\"]\ninputs = []\n";
    for launcher in ["snap", "aqua-proxy", "hermit", "proto-shim"] {
        let sandbox = Sandbox::with(&[
            ("dagcache.toml", config),
            ("kustomization.yaml", kustomization),
        ]);
        sandbox.tool_in("launchers", launcher, "launcher");
        std::fs::create_dir_all(sandbox.outer().join("bin")).expect("folder");
        let link = sandbox.outer().join("bin/kustomize");
        symlink(format!("../launchers/{launcher}"), link).expect("link");
        for id in ["own", "kustomize:build:."] {
            let json = sandbox.json(&["ci", "--only", id]);
            let check = json.check(id);
            let reason = check["not_stored"].as_str().unwrap_or_default();
            assert!(reason.contains("shim `kustomize` runs"), "{check}");
        }
    }
}

#[test]
fn behind_a_compiler_cache_stands_the_compiler() {
    let sandbox = Sandbox::with(&[("dagcache.toml", CONFIG), ("src/a", "")]);
    sandbox.tool_in("cache", "ccache", "cache");
    sandbox.tool("mytool", "one");
    symlink("ccache", sandbox.outer().join("cache/mytool")).expect("link");
    let run = || {
        let mut command = sandbox.command(&["lint", "--only", "own", "--message-format", "json"]);
        let path = command.get_envs().find(|(name, _)| *name == "PATH");
        let path = path
            .and_then(|(_, value)| value)
            .expect("a PATH")
            .to_owned();
        let cache = sandbox.outer().join("cache");
        command.env("PATH", format!("{}:{}", cache.display(), path.display()));
        Json::of(Run::of(command)).expect(0)
    };
    run();
    run().expect_fresh();
    sandbox.tool("mytool", "two");
    assert_eq!(run().ran(), ["own tool-changed mytool"]);
}

#[test]
fn a_build_finds_the_python_that_a_manager_chooses() {
    if !have("cargo") {
        return;
    }
    let manifest = "[package]\nname = \"a\"\nversion = \"0.1.0\"\nedition = \"2021\"\n";
    let build = "fn main() { let status = std::process::Command::new(\"python3\").args([\"-c\", \":\"]).status();\n\
                 assert!(status.expect(\"no Python\").success()); }\n";
    let sandbox = Sandbox::with(&[
        ("Cargo.toml", manifest),
        (
            "Cargo.lock",
            "version = 3\n\n[[package]]\nname = \"a\"\nversion = \"0.1.0\"\n",
        ),
        ("src/lib.rs", ""),
        ("build.rs", build),
    ]);
    for (name, root) in ["pyenv", "asdf", "mise"].map(|name| (name, sandbox.outer().join(name))) {
        let real = sandbox.tool_in(&format!("{name}/installs/3.12.1/bin"), "python3", name);
        let real = real.join("python3");
        let manager = root.join("libexec").join(name);
        let answer = format!(
            "[ \"$1 $2\" = \"which python3\" ] && echo '{}'",
            real.display()
        );
        executable(&manager, &format!("#!/bin/sh\n{answer}\n"));
        let exec = format!(
            "#!/bin/sh\nexec \"{}\" exec python3 \"$@\"\n",
            manager.display()
        );
        let shim = root.join("shims/python3");
        match name {
            "mise" => {
                std::fs::create_dir_all(root.join("shims")).expect("folder");
                symlink(&manager, &shim).expect("link");
            }
            _ => executable(&shim, &exec),
        }
        let mut command =
            sandbox.command(&["lint", "--only", "rust:clippy", "--message-format", "json"]);
        prepend(&mut command, &root.join("shims"));
        let json = Json::of(Run::of(command)).expect(0);
        let tried = json.run.stderr.matches("missing on its PATH").count();
        assert_eq!(tried, 0, "{name}: {}", json.run.stderr);
    }
}

#[test]
fn pythons_of_a_manager_that_refuses_are_asked_for_once() {
    let sandbox = Sandbox::with(&[
        (
            "pyproject.toml",
            "[project]\nname = \"a\"\nrequires-python = \">=3.8\"\n[dependency-groups]\ndev = [\"ruff\"]\n",
        ),
        (
            "uv.lock",
            "version = 1\n[[package]]\nname = \"a\"\nsource = { virtual = \".\" }\n[package.dev-dependencies]\ndev = [{ name = \"ruff\" }]\n[[package]]\nname = \"ruff\"\nversion = \"0.5.7\"\n",
        ),
        ("a.py", ""),
    ]);
    let root = sandbox.outer().join("pyenv");
    let (manager, log) = (root.join("libexec/pyenv"), root.join("log"));
    let refuse = format!("#!/bin/sh\necho \"$2\" >> '{}'\nexit 1\n", log.display());
    executable(&manager, &refuse);
    let names = (8..=20).map(|minor| format!("python3.{minor}"));
    for name in names.chain(["python".to_owned(), "python3".to_owned()]) {
        let shim = format!(
            "#!/bin/sh\nexec \"{}\" exec {name} \"$@\"\n",
            manager.display()
        );
        executable(&root.join("shims").join(name), &shim);
    }
    let asked = || {
        let mut command = sandbox.command(&["lint", "--message-format", "json"]);
        let path = format!("{}:/nowhere", root.join("shims").display());
        command.env("PATH", path);
        let _ = Run::of(command);
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        log.lines().count()
    };
    let first = asked();
    assert!((1..=15).contains(&first), "{first}");
    assert_eq!(asked(), first);
}

const BIN: &str = "#!/usr/bin/env node\nconsole.log(require('lib'));\n";

/// A project with a tool in `node_modules`, run by `command`.
fn node_project(command: &str) -> Sandbox {
    let config = format!("[checks.own]\ncommand = {command}\ninputs = [\"src/**\"]\n");
    let sandbox = Sandbox::with(&[
        ("dagcache.toml", &config),
        ("src/a", ""),
        (".gitignore", "node_modules\n"),
        ("package.json", "{}\n"),
    ]);
    let lock = r#"{"lockfileVersion": 3, "packages": {
        "node_modules/mytool": {"version": "1.0.0", "dependencies": {"lib": "1"}},
        "node_modules/lib": {"version": "1.0.0"},
        "node_modules/mine": {"resolved": "mine", "link": true},
        "node_modules/other": {"version": "1.0.0", "dependencies": {"mine": "*"}}}}"#;
    for (path, text) in [
        (".package-lock.json", lock),
        ("mytool/package.json", "{\"name\": \"mytool\"}"),
        ("lib/package.json", "{\"main\": \"index.js\"}"),
        ("lib/index.js", "module.exports = 'one';\n"),
        ("other/index.js", ""),
    ] {
        sandbox.write(&format!("node_modules/{path}"), text);
    }
    for package in ["mytool", "other"] {
        let script = sandbox.path(&format!("node_modules/{package}/bin.js"));
        executable(&script, BIN);
        std::fs::create_dir_all(sandbox.path("node_modules/.bin")).expect("folder");
        let link = sandbox.path(&format!("node_modules/.bin/{package}"));
        symlink(format!("../{package}/bin.js"), link).expect("link");
    }
    sandbox
}

#[test]
fn a_program_of_node_is_its_packages() {
    if !have("node") {
        return;
    }
    for command in ["[\"mytool\"]", "[\"./node_modules/.bin/mytool\"]"] {
        let sandbox = node_project(command);
        let json = own(&sandbox).expect(0);
        assert_eq!(json.check("own")["stdout"], "one\n", "{command}");
        own(&sandbox).expect(0).expect_fresh();
        sandbox.write("node_modules/other/index.js", "changed");
        own(&sandbox).expect(0).expect_fresh();
        sandbox.write("node_modules/lib/index.js", "module.exports = 'two';\n");
        let json = own(&sandbox).expect(0);
        assert_eq!(json.ran(), ["own tool-changed mytool"], "{command}");
        assert_eq!(json.check("own")["stdout"], "two\n", "{command}");
    }
}

#[test]
fn the_interpreter_of_a_program_of_node_counts() {
    if !have("node") {
        return;
    }
    let sandbox = node_project("[\"mytool\"]");
    own(&sandbox).expect(0);
    // It stands before the real one on PATH.
    sandbox.tool("node", "a shell");
    let json = own(&sandbox);
    assert_eq!(json.check("own")["miss"]["kind"], "tool-changed");
}

#[test]
fn a_program_of_node_that_loads_a_folder_of_the_project_is_not_stored() {
    if !have("node") {
        return;
    }
    let sandbox = node_project("[\"other\"]");
    sandbox.write("node_modules/other/bin.js", BIN);
    let json = own(&sandbox).expect(0);
    expect_not_stored(&json, "link to a project folder");
}

#[test]
fn a_script_that_wraps_another_program_is_run_but_not_stored() {
    let sandbox = Sandbox::with(&[(
        "dagcache.toml",
        "[checks.own]\ncommand = [\"wrapper\", \"-c\", \"echo hi\"]\ntools = [\"mytool\"]\ntrace = false\n",
    )]);
    sandbox.tool("mytool", "one");
    sandbox.program("wrapper", "#!/usr/bin/env mytool\nexec mytool \"$@\"\n");
    for _ in 0..2 {
        let json = own(&sandbox).expect(0);
        assert_eq!(json.check("own")["stdout"], "hi\n");
        assert_eq!(json.check("own")["cache"], "miss");
        expect_not_stored(&json, "the script `wrapper`");
    }
}

#[test]
fn a_program_that_building_may_call_counts_also_when_it_is_not_there() {
    if !have("cargo") {
        return;
    }
    let manifest = "[package]\nname = \"a\"\nversion = \"0.1.0\"\nedition = \"2021\"\n";
    let sandbox = Sandbox::with(&[
        ("Cargo.toml", manifest),
        (
            "Cargo.lock",
            "version = 3\n\n[[package]]\nname = \"a\"\nversion = \"0.1.0\"\n",
        ),
        ("src/lib.rs", ""),
    ]);
    let key = || {
        let json = sandbox
            .json(&["lint", "--only", "rust:clippy", "--dry-run"])
            .expect(0);
        json.check("rust:clippy")["key"].clone()
    };
    sandbox.tool("nasm", "one");
    let there = key();
    assert!(there.is_string(), "{there}");
    sandbox.tool("nasm", "two");
    let other = key();
    assert_ne!(other, there);
    std::fs::remove_file(sandbox.outer().join("bin/nasm")).expect("removed");
    let absent = key();
    assert_ne!(absent, there);
    assert_ne!(absent, other);
    sandbox.tool("unrelated", "one");
    assert_eq!(key(), absent);
}
