//! Planning, layers and the hook run nothing that a repository names, except in a room.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use crate::support::{NOBODY, Run, Sandbox, have, skip};

/// Commands that plan.
const PLANNING: [&[&str]; 6] = [
    &["dev-check", "--dry-run"],
    &["ci", "--dry-run"],
    &["explain"],
    &["config", "show"],
    &["lint", "--cached-only"],
    &["doctor"],
];

const CRATE: [(&str, &str); 2] = [
    (
        "Cargo.toml",
        "[package]\nname = \"a\"\nversion = \"0.1.0\"\nedition = \"2021\"\n",
    ),
    ("src/lib.rs", "pub fn a() {}\n"),
];

/// A file that exists once something of the repository was run.
struct Trap(PathBuf);

impl Trap {
    fn of(sandbox: &Sandbox) -> Self {
        Self(sandbox.outer().join("trapped"))
    }

    /// A script that springs it, and then goes on.
    fn script(&self) -> String {
        format!("#!/bin/sh\n{}\n", self.command())
    }

    fn command(&self) -> String {
        format!("echo \"$0 $*\" >>{}", self.0.display())
    }

    #[track_caller]
    fn expect_unsprung(&self) {
        let said = std::fs::read_to_string(&self.0).unwrap_or_default();
        assert_eq!(said, "", "run outside a room");
    }
}

#[test]
fn relative_folders_on_path_never_count() {
    let sandbox = Sandbox::with(&CRATE);
    let trap = Trap::of(&sandbox);
    for folder in ["", "bin/"] {
        for name in ["git", "cargo", "rustc", "rustup", "python3", "dagger"] {
            sandbox.write(&format!("{folder}{name}"), trap.script());
            sandbox.mode(&format!("{folder}{name}"), 0o755);
        }
    }
    sandbox.git(&["update-index", "--split-index"]);
    for args in PLANNING.into_iter().chain([&["pre-commit"][..]]) {
        let mut command = sandbox.command(args);
        let path = std::env::var("PATH").expect("a PATH");
        command.env("PATH", format!(".::bin:{path}"));
        Run::of(command);
        trap.expect_unsprung();
    }
}

#[test]
fn folders_on_path_that_others_write_to_are_named_once_and_ignored() {
    let config = "[checks.own]\ncommand = [\"own-tool\", \"-c\", \"true\"]\n";
    let sandbox = Sandbox::with(&[("dagcache.toml", config)]);
    let open = sandbox.tool_in("open", "own-tool", "1");
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).expect("mode");
    let run = |allowed: &str| {
        let mut command = sandbox.command(&["lint"]);
        let path = std::env::var("PATH").expect("a PATH");
        command.env("PATH", format!("{}:{path}", open.display()));
        command.env("DAGCACHE_PATH_ALLOW", allowed);
        Run::of(command)
    };
    let open = open.to_str().expect("UTF-8");
    let named = format!("ignoring {open} on PATH");
    let first = run("").expect(3);
    assert!(first.stderr.contains(&named), "{}", first.stderr);
    assert!(first.stderr.contains("own-tool"), "{}", first.stderr);
    let second = run("").expect(3);
    assert!(!second.stderr.contains(&named), "{}", second.stderr);
    run(open).expect(0);
}

#[test]
fn a_folder_on_path_of_another_user_is_ignored() {
    if !rustix::process::geteuid().is_root() {
        return skip("only root can give files away");
    }
    let config = "[checks.own]\ncommand = [\"own-tool\", \"-c\", \"true\"]\n";
    let sandbox = Sandbox::with(&[("dagcache.toml", config)]);
    sandbox.tool("own-tool", "1");
    sandbox.run(&["lint"]).expect(0);
    std::os::unix::fs::chown(sandbox.outer().join("bin"), Some(NOBODY), None).expect("owner");
    let run = sandbox.run(&["lint"]).expect(3);
    assert!(
        run.stderr.contains("on PATH, because another user"),
        "{}",
        run.stderr
    );
}

/// A repository whose `.git/config` came with it.
fn copied(settings: &str) -> (Sandbox, Trap) {
    let config = "[checks.all]\ncommand = [\"true\"]\n[checks.some]\ncommand = [\"true\"]\ninputs = [\"*.md\"]\n";
    let sandbox = Sandbox::with(&[
        ("dagcache.toml", config),
        ("a.md", "text\n"),
        ("data/a.dat", "data\n"),
        (".gitattributes", "*.dat filter=own\n"),
    ]);
    let trap = Trap::of(&sandbox);
    let path = sandbox.path(".git/config");
    let mut text = std::fs::read_to_string(&path).expect("config");
    text += &settings.replace("TRAP", &trap.command().replace('"', "\\\""));
    std::fs::write(path, text).expect("config");
    (sandbox, trap)
}

#[test]
fn a_filter_of_the_repository_is_not_run_and_who_needs_it_is_an_error() {
    for place in ["config", "included"] {
        let filter =
            "[filter \"own\"]\nsmudge = \"TRAP; cat\"\nclean = \"TRAP; cat\"\nrequired = true\n";
        let (sandbox, trap) = match place {
            "config" => copied(filter),
            _ => copied("[include]\npath = ../included\n"),
        };
        if place == "included" {
            let text = filter.replace("TRAP", &trap.command().replace('"', "\\\""));
            sandbox.write("included", text);
        }
        for _ in 0..2 {
            let run = sandbox.json(&["pre-commit"]).expect(3);
            trap.expect_unsprung();
            assert_eq!(run.check("some")["verdict"], "passed");
            let message = run.check("all")["message"].as_str().expect("a message");
            assert!(message.contains("`data/a.dat`"), "{message}");
            assert!(message.contains("git config --global filter."), "{message}");
        }
        // The user's own word counts, and wins.
        std::fs::write(
            sandbox.home().join(".gitconfig"),
            "[filter \"own\"]\nsmudge = tr a-z A-Z\n",
        )
        .expect("config");
        let run = sandbox.json(&["pre-commit"]).expect(0);
        assert_eq!(run.check("all")["verdict"], "passed");
        trap.expect_unsprung();
    }
}

#[test]
fn git_helpers_run_no_program_that_the_repository_names() {
    let (sandbox, trap) = copied(
        "[core]\nfsmonitor = \"TRAP\"\nsshCommand = \"TRAP\"\ngitProxy = \"TRAP\"\npager = \"TRAP\"\n\
         hooksPath = hooks\neditor = \"TRAP\"\naskPass = \"TRAP\"\n\
         [diff]\nexternal = \"TRAP\"\n[credential]\nhelper = \"!TRAP\"\n",
    );
    for name in ["post-index-change", "post-checkout", "fsmonitor-watchman"] {
        sandbox.write(&format!("hooks/{name}"), trap.script());
        sandbox.mode(&format!("hooks/{name}"), 0o755);
    }
    for index in ["--split-index", "--no-split-index"] {
        let plain = [
            "-c",
            "core.fsmonitor=false",
            "-c",
            "core.hooksPath=/dev/null",
        ];
        sandbox.git(&[&plain[..], &["update-index", index]].concat());
        for args in PLANNING.into_iter().chain([&["pre-commit"][..]]) {
            sandbox.run(args);
            trap.expect_unsprung();
        }
    }
}

#[test]
fn a_missing_blob_is_not_fetched() {
    for remote in [
        "url = ext::sh -c '% TRAP'\n",
        "url = ../elsewhere\nuploadpack = \"TRAP;\"\n",
        "url = ssh://example.invalid/x\n",
        "url = x\nvcs = trap\n",
    ] {
        let (sandbox, trap) = copied(&format!(
            "[core]\nrepositoryformatversion = 1\nsshCommand = \"TRAP;\"\n[extensions]\npartialClone = origin\n\
             [protocol]\nallow = always\n[remote \"origin\"]\npromisor = true\n{remote}"
        ));
        let id = sandbox.git(&["rev-parse", ":a.md"]);
        let (folder, name) = id.trim().split_at(2);
        std::fs::remove_file(sandbox.path(&format!(".git/objects/{folder}/{name}"))).expect("blob");
        let run = sandbox.run(&["pre-commit"]).expect(3);
        trap.expect_unsprung();
        assert!(run.stderr.contains("a.md"), "{}", run.stderr);
    }
}

#[test]
fn a_project_of_another_user_is_refused_as_by_git() {
    if !rustix::process::geteuid().is_root() {
        return skip("only root can give files away");
    }
    for (with_git, given) in [
        (true, ""),
        (true, ".git"),
        (false, ""),
        (false, "dagcache.toml"),
    ] {
        let sandbox = match with_git {
            true => Sandbox::git_repository(),
            false => Sandbox::plain(),
        };
        sandbox.write("dagcache.toml", "[checks.own]\ncommand = [\"true\"]\n");
        let project = sandbox.project();
        std::os::unix::fs::lchown(sandbox.path(given), Some(NOBODY), None).expect("owner");
        for args in PLANNING.into_iter().chain([&["lint"][..]]) {
            let run = sandbox.run(args).expect(2);
            let command = format!(
                "git config --global --add safe.directory {}",
                project.display()
            );
            assert!(run.stderr.contains(&command), "{}", run.stderr);
            assert_eq!(run.stdout, "");
        }
        // What `sudo` was called by counts, and who is named.
        let mut command = sandbox.command(&["lint"]);
        command.env("SUDO_UID", NOBODY.to_string());
        Run::of(command).expect(0);
        let home = sandbox.home().join(".gitconfig");
        let safe = format!("[safe]\ndirectory = {}\n", project.display());
        std::fs::write(home, safe).expect("config");
        sandbox.run(&["lint"]).expect(0);
    }
}

#[test]
fn a_repository_does_not_call_itself_safe() {
    if !rustix::process::geteuid().is_root() {
        return skip("only root can give files away");
    }
    let sandbox = Sandbox::with(&[("dagcache.toml", "[checks.own]\ncommand = [\"true\"]\n")]);
    sandbox.git(&["config", "safe.directory", "*"]);
    std::os::unix::fs::chown(sandbox.project(), Some(NOBODY), None).expect("owner");
    sandbox.run(&["lint"]).expect(2);
}

#[test]
fn configuration_above_the_root_of_another_user_is_ignored_and_named() {
    if !rustix::process::geteuid().is_root() {
        return skip("only root can give files away");
    }
    let sandbox = Sandbox::with(&CRATE);
    let above = sandbox.outer().join("rustfmt.toml");
    std::fs::write(&above, "no toml [\n").expect("config");
    let named = format!("ignoring {}", above.display());
    let run = sandbox.run(&["lint", "--only", "rust:fmt"]).expect(1);
    assert!(!run.stderr.contains(&named), "{}", run.stderr);
    std::os::unix::fs::chown(&above, Some(NOBODY), None).expect("owner");
    let run = sandbox.run(&["lint", "--only", "rust:fmt"]).expect(0);
    assert!(run.stderr.contains(&named), "{}", run.stderr);
}

/// With a dependency, so that something is resolved and fetched.
fn dependent(trap: &Trap) -> Vec<(String, String)> {
    let manifest = "[package]\nname = \"a\"\nversion = \"0.1.0\"\nedition = \"2021\"\nrust-version = \"1.56\"\nresolver = \"3\"\n\
                    [dependencies]\nlibc = \"0.2\"\n";
    let command = trap.0.with_extension("sh").display().to_string();
    let flags = format!("--print=cfg={}", trap.0.display());
    let config = format!(
        "[build]\nrustc = \"{command}\"\nrustc-wrapper = \"{command}\"\nrustc-workspace-wrapper = \"{command}\"\n\
         rustflags = [\"{flags}\"]\nrustdoc = \"{command}\"\n\
         [target.'cfg(all())']\nlinker = \"{command}\"\nrunner = \"{command}\"\nrustflags = [\"{flags}\"]\n\
         [registry]\nglobal-credential-providers = [\"{command}\"]\n\
         [registries.crates-io]\ncredential-provider = [\"{command}\"]\n[credential-alias]\ntoken = [\"{command}\"]\n\
         [env]\nRUSTC_WRAPPER = {{ value = \"{command}\", force = true }}\nPATH = {{ value = \"/x\", force = true }}\n\
         [http]\nproxy = \"127.0.0.1:1\"\ncainfo = \"/dev/null\"\n[net]\ngit-fetch-with-cli = true\n\
         [alias]\nmetadata = [\"version\"]\nfetch = [\"version\"]\n"
    );
    vec![
        ("Cargo.toml".to_owned(), manifest.to_owned()),
        ("src/lib.rs".to_owned(), "pub fn a() {}\n".to_owned()),
        ("evil.toml".to_owned(), config),
    ]
}

#[test]
fn cargo_helpers_run_nothing_that_its_configuration_names() {
    for place in ["config", "link", "folder", "included", "absolute", "above"] {
        let sandbox = Sandbox::git_repository();
        let trap = Trap::of(&sandbox);
        let script = trap.0.with_extension("sh");
        std::fs::write(&script, trap.script()).expect("script");
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("mode");
        let dir = if place == "above" { "sub/" } else { "" };
        for (path, text) in dependent(&trap) {
            sandbox.write(&format!("{dir}{path}"), text);
        }
        let evil = sandbox.path(&format!("{dir}evil.toml"));
        let text = std::fs::read_to_string(&evil).expect("configuration");
        let link = |from: &str, to: &str| {
            let from = sandbox.path(from);
            std::fs::create_dir_all(from.parent().expect("folder")).expect("folder");
            std::os::unix::fs::symlink(to, from).expect("link");
        };
        match place {
            "link" => link(".cargo/config.toml", "../evil.toml"),
            "absolute" => link(".cargo/config.toml", &evil.to_string_lossy()),
            "folder" => {
                sandbox.write("other/config.toml", text);
                link(".cargo", &sandbox.path("other").to_string_lossy());
            }
            "included" => {
                let text = format!("include = [\"../evil.toml\", \"{}\"]\n", evil.display());
                sandbox.write(".cargo/config.toml", text);
            }
            _ => sandbox.write(".cargo/config.toml", text),
        }
        sandbox.commit("files");
        for args in PLANNING {
            let mut command = sandbox.command(args);
            if place == "above" {
                command.current_dir(sandbox.path("sub"));
                command.args(["--manifest-path", "Cargo.toml"]);
            }
            let run = Run::of(command);
            trap.expect_unsprung();
            assert!(!run.stderr.contains("cannot read"), "{}", run.stderr);
        }
        // Fetches, too.
        let mut command = sandbox.command(&["cache", "warm", "deps"]);
        if place == "above" {
            command.current_dir(sandbox.path("sub"));
            command.args(["--manifest-path", "Cargo.toml"]);
        }
        let warm = Run::of(command);
        trap.expect_unsprung();
        assert!(!warm.stderr.contains("127.0.0.1"), "{}", warm.stderr);
    }
}

#[test]
fn a_cache_inside_the_project_shows_helpers_none_of_its_configuration() {
    let sandbox = Sandbox::git_repository();
    let trap = Trap::of(&sandbox);
    let script = trap.0.with_extension("sh");
    std::fs::write(&script, trap.script()).expect("script");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("mode");
    for (path, text) in dependent(&trap) {
        sandbox.write(&path, text);
    }
    std::fs::create_dir(sandbox.path(".cargo")).expect("folder");
    std::fs::rename(
        sandbox.path("evil.toml"),
        sandbox.path(".cargo/config.toml"),
    )
    .expect("moved");
    for args in [&["ci", "--dry-run"][..], &["cache", "warm", "deps"]] {
        let mut command = sandbox.command(args);
        command.env("DAGCACHE_DIR", sandbox.path("cache"));
        Run::of(command);
        trap.expect_unsprung();
    }
}

#[test]
fn a_toolchain_by_path_is_not_run() {
    if !have("rustup") || !have("cargo") {
        return;
    }
    let sandbox = Sandbox::with(&CRATE);
    let trap = Trap::of(&sandbox);
    for name in [
        "cargo",
        "rustc",
        "rustfmt",
        "cargo-clippy",
        "clippy-driver",
        "rustdoc",
    ] {
        sandbox.write(&format!("tc/bin/{name}"), trap.script());
        sandbox.mode(&format!("tc/bin/{name}"), 0o755);
    }
    sandbox.write("tc/lib/rustlib/x/lib/libstd.rlib", "");
    sandbox.write("rust-toolchain.toml", "[toolchain]\npath = \"tc\"\n");
    sandbox.write("a.yaml", "a: 1\n");
    sandbox.commit("toolchain");
    for args in PLANNING {
        sandbox.run(args);
        trap.expect_unsprung();
    }
    for args in [&["lint"][..], &["pre-commit"]] {
        let run = sandbox.json(args).expect(3);
        trap.expect_unsprung();
        assert_eq!(run.check("yaml:syntax")["verdict"], "passed");
        for id in ["rust:fmt", "rust:clippy"] {
            let message = run.check(id)["message"].as_str().expect("a message");
            assert!(message.contains("toolchain by path"), "{message}");
            assert!(message.contains("rustup toolchain link"), "{message}");
        }
    }
}

#[test]
fn version_managers_are_asked_outside_of_the_project() {
    let sandbox = Sandbox::with(&[
        ("dagcache.toml", "[checks.own]\ncommand = [\"own-tool\"]\n"),
        (".python-version", "3.12\n"),
        ("sub/x", ""),
    ]);
    let real = sandbox.tool_in("real", "own-tool", "1").join("own-tool");
    let said = sandbox.outer().join("said");
    let manager = format!(
        "#!/bin/sh\npwd >{said}\ncat .python-version >>{said}\necho {real}\n",
        said = said.display(),
        real = real.display()
    );
    sandbox.program("pyenv", &manager);
    let shim = format!(
        "#!/bin/sh\nexec \"{}\" exec own-tool \"$@\"\n",
        sandbox.outer().join("bin/pyenv").display()
    );
    sandbox.program("own-tool", &shim);
    let shims = sandbox.outer().join("shims");
    std::fs::create_dir(&shims).expect("folder");
    std::fs::rename(sandbox.outer().join("bin/own-tool"), shims.join("own-tool")).expect("moved");
    let path = std::env::var("PATH").expect("a PATH");
    let mut command = sandbox.command(&["lint"]);
    command.env("PATH", format!("{}:{path}", shims.display()));
    Run::of(command).expect(0);
    let said = std::fs::read_to_string(said).expect("asked");
    let (folder, version) = said.split_once('\n').expect("two lines");
    assert!(
        !std::path::Path::new(folder).starts_with(sandbox.project()),
        "{folder}"
    );
    assert_eq!(version, "3.12\n");
}
