//! Rust in containers: what is checked is never the skeleton that dependencies were compiled with, and the verdicts are
//! those of this host. Few runs: each starts cargo in a container, and dependencies come over the network once.

use super::{Engine, engine};
use crate::support::{Json, Sandbox, skip};

const MANIFEST: &str = "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n\
[workspace]\nmembers = [\"lib\"]\n\n[dependencies]\ncfg-if = \"=1.0.0\"\nlib = { path = \"lib\", version = \"0.1\" }\n";

const LOCK: &str = "version = 4\n\n\
[[package]]\nname = \"app\"\nversion = \"0.1.0\"\ndependencies = [\n \"cfg-if\",\n \"lib\",\n]\n\n\
[[package]]\nname = \"cfg-if\"\nversion = \"1.0.0\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\n\
checksum = \"baf1de4339761588bc0619e3cbc0120ee582ebb74b53b4efbf79117bd2da40fd\"\n\n\
[[package]]\nname = \"lib\"\nversion = \"0.1.0\"\n";

/// A package without dependencies.
const APP: &str = "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n";
const APP_LOCK: &str = "version = 4\n\n[[package]]\nname = \"app\"\nversion = \"0.1.0\"\n";

const GOOD: &str = "cfg_if::cfg_if! {\n    if #[cfg(unix)] {\n        fn main() {\n            println!(\"{}\", lib::one());\n        }\n    }\n}\n";

fn sandbox() -> Sandbox {
    let lib = "[package]\nname = \"lib\"\nversion = \"0.1.0\"\nedition = \"2021\"\n";
    let sandbox = Sandbox::with(&[
        ("Cargo.toml", MANIFEST),
        ("Cargo.lock", LOCK),
        ("lib/Cargo.toml", lib),
        ("lib/src/lib.rs", "pub fn one() -> i32 {\n    1\n}\n"),
        ("src/main.rs", GOOD),
        (".gitignore", "target\n"),
    ]);
    sandbox.commit("files");
    sandbox
}

fn clippy(engine: &Engine, sandbox: &Sandbox, more: &[&str]) -> Json {
    let args = ["lint", "--engine", "dagger", "--only", "rust:clippy"];
    engine.json(sandbox, &[&args, more].concat())
}

/// Places and codes of the findings.
fn findings(run: &Json) -> Vec<String> {
    let findings = run.check("rust:clippy")["findings"].as_array();
    let place = |f: &serde_json::Value| format!("{} {} {}", f["path"], f["line"], f["code"]);
    findings.into_iter().flatten().map(place).collect()
}

/// Whether packages of a registry can be had from here; said visibly if not.
fn registry() -> bool {
    use std::net::ToSocketAddrs as _;
    let there = "index.crates.io:443".to_socket_addrs().is_ok();
    if !there {
        skip("no crates.io");
    }
    there
}

#[test]
fn every_edit_has_its_own_verdict_and_dependencies_stay() {
    let Some(engine) = engine() else { return };
    if !registry() {
        return;
    }
    let sandbox = sandbox();
    let green = clippy(engine, &sandbox, &[]).expect(0);
    assert_eq!(findings(&green), [""; 0]);
    // An empty library has no error: one that is found is one of the real thing.
    sandbox.write(
        "lib/src/lib.rs",
        "pub fn one() -> u8 {\n    1 + 300u16\n}\n",
    );
    let red = clippy(engine, &sandbox, &[]).expect(1);
    assert!(findings(&red).iter().any(|f| f.contains("lib/src/lib.rs")));
    // Back to what the engine has seen, and past what is stored.
    sandbox.write("lib/src/lib.rs", "pub fn one() -> i32 {\n    1\n}\n");
    let again = clippy(engine, &sandbox, &["--no-cache"]).expect(0);
    assert_eq!(findings(&again), [""; 0]);
    // Another version of a package of the project's own leaves dependencies, and what is compiled is compiled anew.
    let bumped = |text: &str| {
        text.replace(
            "name = \"app\"\nversion = \"0.1.0\"",
            "name = \"app\"\nversion = \"0.2.0\"",
        )
    };
    sandbox.write("Cargo.toml", bumped(MANIFEST));
    sandbox.write("Cargo.lock", bumped(LOCK));
    sandbox.write("src/main.rs", GOOD.replace("lib::one()", "lib::two()"));
    let red = clippy(engine, &sandbox, &["-v"]).expect(1);
    assert!(findings(&red).iter().any(|f| f.contains("src/main.rs")));
    assert!(!red.run.stderr.contains("deps:rust"), "{}", red.run.stderr);
}

/// The targets that cargo compiled.
fn compiled(run: &Json) -> String {
    let stdout = run.check("rust:clippy")["stdout"].as_str().unwrap_or("");
    let messages = stdout
        .lines()
        .map(serde_json::from_str::<serde_json::Value>);
    let compiled = messages
        .flatten()
        .filter(|message| message["fresh"] == false);
    let names = compiled.filter_map(|message| Some(message["target"]["name"].as_str()?.to_owned()));
    let names: std::collections::BTreeSet<String> = names.collect();
    names.into_iter().collect::<Vec<_>>().join(" ")
}

#[test]
fn in_a_place_that_is_kept_the_content_decides() {
    let Some(engine) = engine() else { return };
    if !registry() {
        return;
    }
    let sandbox = sandbox();
    sandbox.write("dagcache.toml", "[engine]\nincremental = true\n");
    // Nobody tells cargo what it reads.
    let script = "fn main() {\n    let data = std::fs::read_to_string(\"data\").unwrap();\n    \
                  println!(\"cargo:rustc-env=DATA={data}\");\n    \
                  println!(\"cargo:rerun-if-changed=build.rs\");\n}\n";
    sandbox.write("build.rs", script);
    sandbox.write("data", "1");
    let assertion = "const _: () = assert!(env!(\"DATA\").len() == 1);\n";
    sandbox.write("src/main.rs", format!("{GOOD}{assertion}"));
    let one = "mod two;\npub fn one() -> i32 {\n    two::TWO\n}\n";
    sandbox.write("lib/src/lib.rs", one);
    let (good, bad) = ("pub const TWO: i32 = 2;\n", "pub const TWO: i32 = z;\n");
    sandbox.write("lib/src/two.rs", good);
    let lint = |more: &[&str]| clippy(engine, &sandbox, more);
    assert_eq!(compiled(&lint(&[]).expect(0)), "app build-script-build lib");
    // The same size and time; back again, past what is stored.
    let path = sandbox.path("lib/src/two.rs");
    let time = std::fs::metadata(&path).and_then(|meta| meta.modified());
    let time = time.expect("a time");
    let put = |text: &str| {
        std::fs::write(&path, text).expect("written");
        let file = std::fs::File::options().write(true).open(&path);
        file.and_then(|file| file.set_modified(time)).expect("set");
    };
    for _ in 0..2 {
        put(bad);
        let red = lint(&["--no-cache"]).expect(1);
        assert!(findings(&red).iter().any(|f| f.contains("two.rs")));
        put(good);
        let green = lint(&["--no-cache"]).expect(0);
        assert_eq!(findings(&green), [""; 0]);
    }
    // What an edit does not reach is not compiled again; its warnings are there all the same.
    let main = GOOD.replace("lib::one()", "lib::one() + 1");
    let main = format!("{main}{assertion}");
    sandbox.write("lib/src/two.rs", format!("{good}fn unused() {{}}\n"));
    assert_eq!(compiled(&lint(&[]).expect(0)), "app build-script-build lib");
    sandbox.write("src/main.rs", main);
    let green = lint(&[]).expect(0);
    assert_eq!(compiled(&green), "app build-script-build");
    assert!(findings(&green).iter().any(|f| f.contains("dead_code")));
    // Data that a build script read; a module beside another one; a module that is gone.
    sandbox.write("data", "12");
    lint(&[]).expect(1);
    sandbox.write("data", "1");
    lint(&["--no-cache"]).expect(0);
    sandbox.write("lib/src/two/mod.rs", good);
    lint(&[]).expect(1);
    std::fs::remove_file(sandbox.path("lib/src/two.rs")).expect("removed");
    lint(&[]).expect(0);
    std::fs::remove_dir_all(sandbox.path("lib/src/two")).expect("removed");
    lint(&[]).expect(1);
}

#[test]
fn what_cargo_does_not_read_runs_nothing_again() {
    let Some(engine) = engine() else { return };
    let sandbox = Sandbox::with(&[
        ("Cargo.toml", APP),
        ("Cargo.lock", APP_LOCK),
        ("README.md", "# app\n"),
        ("src/lib.rs", "pub fn one() -> i32 {\n    1\n}\n"),
    ]);
    sandbox.commit("files");
    clippy(engine, &sandbox, &[]).expect(0);
    sandbox.write("README.md", "# app\n\nA line.\n");
    sandbox.write("Cargo.lock", format!("# A comment.\n{APP_LOCK}"));
    clippy(engine, &sandbox, &[]).expect(0).expect_fresh();
    // The lockfile still counts: it does not fit any more.
    sandbox.write("Cargo.lock", APP_LOCK.replace("0.1.0", "0.1.1"));
    clippy(engine, &sandbox, &[]).expect(1);
    sandbox.write("Cargo.lock", APP_LOCK);
    let source = "#![doc = include_str!(\"../README.md\")]\n//! a\n";
    sandbox.write("src/lib.rs", source);
    clippy(engine, &sandbox, &[]).expect(0);
    sandbox.remove("README.md");
    clippy(engine, &sandbox, &[]).expect(1);
}

#[test]
fn verdicts_are_those_of_this_host() {
    let Some(engine) = engine() else { return };
    let sandbox = Sandbox::with(&[
        ("Cargo.toml", APP),
        ("Cargo.lock", APP_LOCK),
        (
            "src/lib.rs",
            "pub fn one() -> i32 {\n  return 1;\n}\n#[test]\nfn two() { let a = 1u8 == 300; }\n",
        ),
    ]);
    sandbox.commit("files");
    let both = ["lint", "--rust-only"];
    let here = sandbox
        .json(&[&both[..], &["--engine", "local"]].concat())
        .expect(1);
    let there = engine
        .json(&sandbox, &[&both[..], &["--engine", "dagger"]].concat())
        .expect(1);
    for id in ["rust:clippy", "rust:fmt"] {
        for key in ["verdict", "exit_code"] {
            assert_eq!(there.check(id)[key], here.check(id)[key], "{id}");
        }
    }
    assert_eq!(findings(&there), findings(&here));
    // A lockfile that does not fit is what cargo complains about, not something that kept the check from running.
    sandbox.write("Cargo.toml", APP.replace("0.1.0", "0.2.0"));
    let refused = |run: &Json| {
        let check = run.check("rust:clippy").clone();
        ["verdict", "exit_code", "stderr"].map(|key| check[key].clone())
    };
    let here = sandbox.json(&[&both[..], &["--engine", "local"]].concat());
    let there = engine.json(&sandbox, &[&both[..], &["--engine", "dagger"]].concat());
    assert_eq!(refused(&there.expect(1)), refused(&here.expect(1)));
}

#[test]
fn what_cargo_accepts_is_compiled_as_on_this_host() {
    let Some(engine) = engine() else { return };
    if !registry() {
        return;
    }
    let package = |name: &str, more: &str| {
        format!("[package]\nname = \"{name}\"\nversion = \"1.0.0\"\nedition = \"2021\"\n{more}")
    };
    let root = package(
        "app",
        "build = \"make.rs\"\n[workspace]\nmembers = [\"members/*\"]\n[workspace.metadata]\nx = 1\n\
         [dependencies]\ncfg-if = \"=1.0.0\"\nitoa = \"1\"\nlinked = { path = \"members/linked\" }\n\
         own = { path = \"members/own\", version = \"1\" }\n[hints]\nmostly-unused = true\n",
    );
    let entry = |name: &str, more: &str| {
        format!("\n[[package]]\nname = \"{name}\"\nversion = \"1.0.0\"\n{more}")
    };
    let cfg_if = "source = \"registry+https://github.com/rust-lang/crates.io-index\"\n\
        checksum = \"baf1de4339761588bc0619e3cbc0120ee582ebb74b53b4efbf79117bd2da40fd\"\n";
    let all = "dependencies = [\n \"cfg-if\",\n \"itoa\",\n \"linked\",\n \"own\",\n]\n";
    let entries = [
        entry("app", all),
        entry("cfg-if", cfg_if),
        entry("itoa", ""),
        entry("linked", ""),
        entry("own", ""),
    ];
    let one = "pub const ONE: i32 = 1;\n";
    let sandbox = Sandbox::with(&[
        ("Cargo.toml", &root),
        ("Cargo.lock", &format!("version = 4\n{}", entries.concat())),
        (
            ".cargo/config.toml",
            "include = [{ path = \"more.toml\" }]\n[env]\nNUMBER = \"2\"\n",
        ),
        (
            ".cargo/more.toml",
            "[patch.crates-io]\nitoa = { path = \"forks/itoa\" }\n",
        ),
        ("forks/itoa/Cargo.toml", &package("itoa", "[workspace]\n")),
        ("forks/itoa/src/lib.rs", one),
        ("elsewhere/linked/Cargo.toml", &package("linked", "")),
        ("elsewhere/linked/src/lib.rs", one),
        ("manifests/own.toml", &package("own", "")),
        ("members/own/src/lib.rs", one),
        ("make.rs", "fn main() {}\n"),
        (
            "src/main.rs",
            "const _: () = assert!(env!(\"NUMBER\").len() == itoa::ONE as usize * linked::ONE as usize);\n\
             cfg_if::cfg_if! {\n    if #[cfg(unix)] {\n        fn main() {\n            println!(\"{}\", own::ONE);\n        }\n    }\n}\n",
        ),
    ]);
    for (to, link) in [
        ("../elsewhere/linked", "members/linked"),
        ("../../manifests/own.toml", "members/own/Cargo.toml"),
    ] {
        std::os::unix::fs::symlink(to, sandbox.path(link)).expect("a link");
    }
    sandbox.commit("files");
    let args = ["lint", "--engine", "local", "--only", "rust:clippy"];
    let here = sandbox.json(&args).expect(0);
    let there = clippy(engine, &sandbox, &["-v"]).expect(0);
    assert_eq!(findings(&there), findings(&here));
    assert!(!compiled(&there).contains("cfg_if"), "{}", compiled(&there));
    // The forks and linked packages count.
    for path in ["forks/itoa/src/lib.rs", "elsewhere/linked/src/lib.rs"] {
        sandbox.write(path, one.replace('1', "2"));
        sandbox.json(&args).expect(1);
        clippy(engine, &sandbox, &[]).expect(1);
        sandbox.write(path, one);
    }
}

#[test]
fn what_a_tool_mends_in_a_container_comes_back() {
    let Some(engine) = engine() else { return };
    let sandbox = Sandbox::with(&[
        ("Cargo.toml", APP),
        ("src/lib.rs", "mod a;\nfn  one( ) {}\n"),
        ("src/a.rs", "// fine\n"),
    ]);
    sandbox.commit("files");
    let args = ["lint", "--engine", "dagger", "--fix", "--only", "rust:fmt"];
    let run = engine.run(&sandbox, &args).expect(0);
    assert!(
        run.stderr.contains("Fixed 1 file in rust:fmt"),
        "{}",
        run.stderr
    );
    assert_eq!(sandbox.read("src/lib.rs"), "mod a;\nfn one() {}\n");
    assert_eq!(sandbox.git(&["status", "--porcelain"]), " M src/lib.rs\n");
}
