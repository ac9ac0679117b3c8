//! The judge: what each check says of a fresh copy, with an empty store, under another path.
//!
//! Answers are remembered by what the check may see (see `view`), so that only what is new is asked for.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use dagcache::for_tests::Digest;
use serde_json::Value;

use super::config::OWN;
use super::view::View;
use super::world::World;
use crate::support::{Json, Run};

/// Rules about what a check is kept from. Without them runs are quicker, and long campaigns longer.
const BOUNDS: [&str; 3] = ["confined", "own-root", "offline"];

/// What is compared of a check.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    key: Value,
    verdict: Value,
    exit_code: Value,
    stdout: Value,
    stderr: Value,
    findings: Value,
    /// Why there is no verdict. What is said to a failure hangs on files that the check does not see, too.
    has_reason: bool,
}

impl Answer {
    pub(crate) fn of(line: &Value) -> Self {
        // A traced run may have asked for a file in a folder that is gone now: the answer is the same, the key is not.
        let id = line["id"].as_str().unwrap_or_default();
        let is_observed = !id.contains(':') && line["parts"].is_null();
        Self {
            key: if is_observed {
                Value::Null
            } else {
                line["key"].clone()
            },
            verdict: line["verdict"].clone(),
            exit_code: line["exit_code"].clone(),
            stdout: line["stdout"].clone(),
            stderr: line["stderr"].clone(),
            findings: line["findings"].clone(),
            has_reason: line["verdict"] == "error" && !line["message"].is_null(),
        }
    }
}

/// The answers to all checks, by id.
pub(crate) type Answers = BTreeMap<String, Answer>;

#[derive(Default)]
pub(crate) struct Oracle {
    /// By a group of checks and what it may see.
    known: HashMap<(String, Digest), Answers>,
    /// How often it was asked.
    pub(crate) asked: usize,
}

/// What the program does with arguments of its own for this sandbox, in `project`, with the store at `cache`.
pub(crate) fn run(world: &World, project: &Path, cache: &Path, args: &[&str]) -> Json {
    let mut all = vec!["dev-check", "--message-format", "json"];
    all.extend(args);
    let mut command = world.sandbox.command(&all);
    command
        .current_dir(project)
        .env("DAGCACHE_DIR", cache)
        .envs(&world.variables);
    if cache != world.sandbox.cache() {
        // What a check is kept from shows in what it says; all else is right here.
        let off = std::env::var("DAGCACHE_WITHOUT").unwrap_or_default();
        let bounds = off.split(',').filter(|rule| BOUNDS.contains(rule));
        command.env("DAGCACHE_WITHOUT", bounds.collect::<Vec<_>>().join(","));
    }
    Json::of(Run::of(command))
}

/// The checks of a run by id.
pub(crate) fn answers(json: &Json) -> Answers {
    let checks = json.checks().into_iter();
    checks
        .map(|line| {
            (
                line["id"].as_str().expect("id").to_owned(),
                Answer::of(line),
            )
        })
        .collect()
}

impl Oracle {
    /// What is right now; an exit code alone if nothing could be planned. With `all`, nothing remembered is used.
    pub(crate) fn ask(
        &mut self,
        world: &World,
        view: &View,
        all: bool,
    ) -> Result<Answers, Option<i32>> {
        let groups = groups(world, view);
        let known = |group: &(String, Digest)| self.known.get(group).filter(|_| !all);
        let mut right: Answers = groups
            .iter()
            .filter_map(known)
            .flatten()
            .map(|(id, answer)| (id.clone(), answer.clone()))
            .collect();
        if groups.iter().all(|group| known(group).is_some()) {
            return Ok(right);
        }
        let skip: Vec<&str> = right.keys().flat_map(|id| ["--skip", id]).collect();
        let said = Copy::of(world).run(world, &skip);
        self.asked += 1;
        if !matches!(said.run.code, Some(0 | 1 | 3)) || said.lines.is_empty() {
            return Err(said.run.code);
        }
        let said = answers(&said);
        for group in groups {
            if all || !self.known.contains_key(&group) {
                let of_group = said.iter().filter(|(id, _)| group_of(id) == group.0);
                let of_group: Answers = of_group
                    .map(|(id, answer)| (id.clone(), answer.clone()))
                    .collect();
                self.known.insert(group, of_group);
            }
        }
        right.extend(said);
        Ok(right)
    }
}

/// The groups of checks that are asked for together, with what decides about each.
fn groups(world: &World, view: &View) -> Vec<(String, Digest)> {
    let own = OWN
        .iter()
        .enumerate()
        .map(|(at, own)| (own.id.to_owned(), view.of_own(world, at)));
    let built_in = [
        ("yaml".to_owned(), view.of_yaml(world)),
        ("security".to_owned(), view.of_all(world)),
    ];
    own.chain(built_in).collect()
}

fn group_of(id: &str) -> &str {
    match id.split_once(':') {
        Some(("kustomize", _)) => "yaml",
        Some((group, _)) => group,
        None => id,
    }
}

/// A fresh copy of the project elsewhere, with a store that knows nothing but the system's programs. Its index and ignore files are those of the project.
pub(crate) struct Copy {
    dir: tempfile::TempDir,
}

impl Copy {
    pub(crate) fn of(world: &World) -> Self {
        let dir = tempfile::tempdir_in(world.scratch()).expect("folder");
        let project = world.sandbox.project();
        copy(&project, &dir.path().join("copy"));
        let git = format!("gitdir: {}\n", project.join(".git").display());
        fs::write(dir.path().join("copy/.git"), git).expect("write");
        let memo = dir.path().join("store/v1/memo");
        fs::create_dir_all(&memo).expect("folder");
        fs::copy(world.programs(), memo.join("tools")).expect("copy");
        Self { dir }
    }

    /// Runs everything but what is skipped, without a cache.
    pub(crate) fn run(&self, world: &World, args: &[&str]) -> Json {
        let args = [args, &["--no-cache"]].concat();
        run(
            world,
            &self.dir.path().join("copy"),
            &self.dir.path().join("store"),
            &args,
        )
    }

    /// Runs with the store of the sandbox.
    pub(crate) fn run_cached(&self, world: &World) -> Json {
        run(
            world,
            &self.dir.path().join("copy"),
            &world.sandbox.cache(),
            &[],
        )
    }
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("folder");
    for entry in fs::read_dir(from).expect("folder") {
        let entry = entry.expect("entry");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().expect("kind");
        if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&from).expect("link"), to).expect("link");
        } else if kind.is_file() {
            fs::copy(&from, to).expect("copy");
        } else if entry.file_name() != ".git" {
            copy(&from, &to);
        }
    }
}
