use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Instant;

use super::*;

/// Never reached unless something hangs.
const LONG: Duration = Duration::from_secs(60);

/// A folder with a script that stands in for `dagger`.
struct Fake {
    dir: tempfile::TempDir,
    connect: Connect,
}

impl Fake {
    fn new(script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dagger");
        {
            let _alone = crate::process::writing_a_program();
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let path_of_host = std::env::var("PATH").unwrap();
        let folder = dir.path().to_str().unwrap();
        let connect = Connect {
            program: Program::of(path, "dagger v0.21.8 (x) y").unwrap(),
            address: Some("fake://engine".to_owned()),
            env: Env::from_pairs(&[("PATH", &path_of_host), ("DIR", folder)]),
            timeout: Some(LONG),
        };
        Self { dir, connect }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in self.connect.env.all() {
            pairs.push((
                name.to_str().unwrap().into(),
                value.to_str().unwrap().into(),
            ));
        }
        pairs.push((name.into(), value.into()));
        let pairs: Vec<(&str, &str)> = pairs
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        self.connect.env = Env::from_pairs(&pairs);
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn open(&self) -> Result<Session, String> {
        let opened = Session::open(&self.connect, &CancellationToken::new()).await;
        opened.map_err(|error| match error {
            EngineError::Lost(message) => message,
            other => panic!("{other}"),
        })
    }
}

#[tokio::test]
async fn a_child_that_dies_is_told_at_once_with_what_it_said() {
    let fake = Fake::new(
        "echo '1   : connect' >&2; echo 'Error: no driver found [traceparent:1-2]' >&2; exit 1",
    );
    let error = fake.open().await.unwrap_err();
    let expected = "no Dagger engine at fake://engine: `dagger session` ended\nno driver found";
    assert_eq!(error, expected);
}

/// The address of a running engine, if the tests are given one.
fn engine() -> Option<Connect> {
    let env = Env::from_process();
    let address = env.var("DAGCACHE_TEST_DAGGER")?.to_owned();
    let path = crate::tool::first_on_path(&env, "dagger")?;
    Some(Connect {
        program: Program::of(path, "dagger v0.21.8 (x) y").unwrap(),
        address: Some(address),
        env,
        timeout: Some(LONG),
    })
}

macro_rules! engine {
    () => {
        match engine() {
            Some(engine) => engine,
            None => {
                return crate::testing::skip("no Dagger engine: DAGCACHE_TEST_DAGGER is not set")
            }
        }
    };
}

#[tokio::test]
async fn a_real_engine_answers() {
    let session = Session::open(&engine!(), &CancellationToken::new())
        .await
        .unwrap();
    assert!(!session.engine_version().is_empty());
    session.close().await;
    let query = session.query();
    let after = session.run("version", || version(query.clone())).await;
    assert!(matches!(after, Err(Failure::Lost(_))), "{after:?}");
}
