use std::process::Command;
use std::sync::Arc;

use std::io::Write as _;

use super::*;
use crate::ecosystem::cargo::deps::Fetch;
use crate::path::RelPath;
use crate::plan::LayerKind;
use crate::provision::python::install::Install;

/// Layers in a store of their own, and one layer that its tests build.
struct Bench {
    dir: tempfile::TempDir,
    layers: Layers,
    env: crate::env::Env,
    snapshot: Snapshot,
    layer: Layer,
    key: Digest,
}

impl Bench {
    fn new(files: &[(&str, &str)], build: impl FnOnce(&Snapshot) -> Build) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let snapshot = Snapshot::in_memory(files);
        Self {
            layers: Layers::new(dir.path().join("layers"), dir.path().join("locks")),
            env: crate::env::Env::from_process(),
            layer: Layer {
                name: "deps:test".to_owned(),
                kind: LayerKind::Deps,
                on: Vec::new(),
                parts: Vec::new(),
                build: build(&snapshot),
            },
            key: Digest::of(b"key"),
            snapshot,
            dir,
        }
    }

    async fn prepare(&self, force: bool) -> Result<bool, EngineError> {
        let request = Prepare {
            layers: &[(&self.layer, self.key)],
            snapshot: &self.snapshot,
            env: &self.env,
            force,
        };
        let cancel = CancellationToken::new();
        let prepared = self.layers.prepare(&request, &cancel).await?;
        Ok(prepared.first().is_some_and(|first| first.built.is_some()))
    }

    fn lays(&self) -> Option<(RelPath, Vec<u8>)> {
        match &self.layer.build {
            Build::Host(build) => build.lays(),
            _ => None,
        }
    }

    /// As another process would see them.
    fn afresh(&mut self) {
        let (layers, locks) = (
            self.dir.path().join("layers"),
            self.dir.path().join("locks"),
        );
        self.layers = Layers::new(layers, locks);
    }
}

fn python() -> Option<PathBuf> {
    let script = "import sys; print(sys.executable)";
    let said = Command::new("python3").args(["-c", script]).output().ok()?;
    let found = PathBuf::from(String::from_utf8(said.stdout).ok()?.trim());
    if found.is_file() {
        return Some(found);
    }
    let _ = writeln!(io::stderr(), "skipped: no python3 on PATH");
    None
}

/// Writes a wheel of a package `tiny` with a program of that name, and returns its requirement.
fn wheel(dir: &Path, python: &Path) -> String {
    const MAKE: &str = r#"
import hashlib, zipfile
name = "tiny-1.0-py3-none-any.whl"
files = {
    "tiny.py": "def main(): print('tiny 1.0')\n",
    "tiny-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
    "tiny-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "tiny-1.0.dist-info/entry_points.txt": "[console_scripts]\ntiny = tiny:main\n",
}
files["tiny-1.0.dist-info/RECORD"] = "".join(f"{path},,\n" for path in files)
with zipfile.ZipFile(name, "w") as wheel:
    for path, text in files.items():
        wheel.writestr(path, text)
print("tiny==1.0 --hash=sha256:" + hashlib.sha256(open(name, "rb").read()).hexdigest())
"#;
    let made = Command::new(python)
        .args(["-c", MAKE])
        .current_dir(dir)
        .output()
        .unwrap();
    String::from_utf8(made.stdout).unwrap()
}

fn python_bench(python: PathBuf, requirements: impl FnOnce(&Path) -> String) -> Bench {
    let mut bench = Bench::new(&[], |_| Build::Present);
    let wheels = bench.dir.path().to_owned();
    bench.env = crate::env::Env::from_pairs(&[
        ("PATH", "/usr/bin:/bin"),
        ("HOME", "/nonexistent"),
        ("PIP_NO_INDEX", "1"),
        ("PIP_FIND_LINKS", wheels.to_str().unwrap()),
    ]);
    bench.layer.build = Build::Host(Arc::new(Install {
        requirements: requirements(&wheels),
        python,
    }));
    bench
}

#[tokio::test]
async fn a_python_environment_is_built_once_and_again_when_damaged() {
    let Some(python) = python() else { return };
    let mut bench = python_bench(python.clone(), |dir| wheel(dir, &python));
    assert_eq!(bench.layers.find(bench.key), None);
    assert!(bench.prepare(false).await.unwrap());
    assert!(!bench.prepare(false).await.unwrap());
    let folder = bench.layers.find(bench.key).unwrap();
    let program = folder.join("bin/tiny");
    let said = Command::new(&program).output().unwrap();
    assert_eq!(said.stdout, b"tiny 1.0\n");

    bench.afresh();
    assert!(!bench.prepare(false).await.unwrap());
    std::fs::write(&program, "#!/bin/sh\n").unwrap();
    bench.afresh();
    assert_eq!(bench.layers.find(bench.key), None);
    assert!(bench.prepare(false).await.unwrap());
    assert_eq!(
        Command::new(&program).output().unwrap().stdout,
        b"tiny 1.0\n"
    );
}

#[tokio::test]
async fn a_wheel_of_another_hash_is_refused_and_leaves_nothing_complete() {
    let Some(python) = python() else { return };
    let bench = python_bench(python.clone(), |dir| {
        wheel(dir, &python);
        format!("tiny==1.0 --hash=sha256:{}\n", "0".repeat(64))
    });
    let Err(EngineError::Layer {
        layer,
        message,
        output,
    }) = bench.prepare(false).await
    else {
        panic!("it was installed");
    };
    assert_eq!(layer, "deps:test");
    assert!(message.contains("--require-hashes") && message.contains("exited with code 1"));
    assert!(output.contains("HASH"), "{output}");
    assert_eq!(bench.layers.find(bench.key), None);
}

/// A program that stands in for cargo: notes its arguments and what it was given, and refuses a stale lockfile.
const CARGO: &str = r#"#!/bin/sh
echo "$@" >> "$LOG"
cat Cargo.toml Cargo.lock >> "$LOG"
if grep -q stale Cargo.lock; then
    echo "error: cannot update the lock file $PWD/Cargo.lock because --locked was passed to prevent this" >&2
    exit 101
fi
"#;

fn cargo_bench(files: &[(&str, &str)], resolved: Option<&str>) -> Bench {
    let mut bench = Bench::new(files, |_| Build::Present);
    let cargo = bench.dir.path().join("cargo");
    std::fs::write(&cargo, CARGO).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&cargo, mode).unwrap();
    let log = bench.dir.path().join("log").to_string_lossy().into_owned();
    bench.layer.build = Build::Host(Arc::new(Fetch {
        cargo,
        sources: Sources {
            files: bench.snapshot.below(&RelPath::root()).collect(),
            dir: RelPath::new("sub").unwrap(),
            ..Sources::default()
        },
        resolved: resolved.map(str::to_owned),
        set_env: vec![("LOG".to_owned(), log)],
    }));
    bench
}

#[tokio::test]
async fn cargo_fetches_what_the_lockfile_says() {
    let files = [
        ("sub/Cargo.toml", "manifest\n"),
        ("sub/Cargo.lock", "lock\n"),
    ];
    let bench = cargo_bench(&files, None);
    assert!(bench.prepare(false).await.unwrap());
    assert!(!bench.prepare(false).await.unwrap());
    assert!(bench.prepare(true).await.unwrap());
    let log = std::fs::read_to_string(bench.dir.path().join("log")).unwrap();
    assert_eq!(log, "fetch --locked\nmanifest\nlock\n".repeat(2));
    assert_eq!(bench.lays(), None);
}

#[tokio::test]
async fn a_resolved_lockfile_lies_beside_the_manifests() {
    let bench = cargo_bench(&[("sub/Cargo.toml", "manifest\n")], Some("resolved\n"));
    assert!(bench.prepare(false).await.unwrap());
    let log = std::fs::read_to_string(bench.dir.path().join("log")).unwrap();
    assert_eq!(log, "fetch --locked\nmanifest\nresolved\n");
    let path = RelPath::new("sub/Cargo.lock").unwrap();
    let laid = Some((path, b"resolved\n".to_vec()));
    assert_eq!(bench.lays(), laid);
}

#[tokio::test]
async fn a_lockfile_that_cargo_refuses_builds_nothing_and_is_told() {
    let files = [("sub/Cargo.toml", ""), ("sub/Cargo.lock", "stale\n")];
    let bench = cargo_bench(&files, None);
    assert!(!bench.prepare(false).await.unwrap());
    assert_eq!(bench.layers.find(bench.key), None);
    let (code, said) = bench.layers.refused(&bench.layer, bench.key).unwrap();
    assert_eq!(code, 101);
    assert!(
        said.starts_with("error: cannot update the lock file sub/Cargo.lock"),
        "{said}"
    );
}

#[tokio::test]
async fn a_layer_that_another_process_builds_is_waited_for_unless_cancelled() {
    let bench = cargo_bench(&[("sub/Cargo.toml", "")], None);
    let cancel = CancellationToken::new();
    let held = bench.layers.lock(bench.key, &cancel).await.unwrap();
    cancel.cancel();
    let second = bench.layers.lock(bench.key, &cancel).await;
    assert!(matches!(second, Err(EngineError::Cancelled)));
    drop(held);
    assert!(bench.layers.lock(bench.key, &cancel).await.is_ok());
}
