//! A project that is changed at random, again and again: after each change, every answer is what a fresh copy of the
//! project gets without a cache, and nothing is run again whose content was seen before.
//!
//! - `world`, `project`, `config`: what is changed, and how. - `view`: what each check may see. - `oracle`: what is right.
//!
//! `DAGCACHE_TEST_STEPS` says how many changes are made, `DAGCACHE_TEST_SEED` repeats the choices of a run that failed,
//! `DAGCACHE_TEST_KEEP` names a folder to copy the sandbox of a failure to.

pub(crate) mod chance;
mod config;
mod oracle;
mod places;
mod project;
mod ruff;
mod rust;
mod traced;
mod view;
mod world;

use std::collections::HashSet;
use std::thread;
use std::time::Duration;

use dagcache::for_tests::Digest;

use crate::support::Json;
use chance::{Chance, seed, steps, tell};
use config::OWN;
use oracle::{Answers, Copy, Oracle, answers};
use view::View;
use world::World;

#[test]
fn whatever_changes_no_answer_is_stale_and_nothing_runs_twice() {
    let (seed, steps) = (seed(), steps("DAGCACHE_TEST_STEPS", 80));
    let halves = [0, 1].map(|at| {
        let half = move || Campaign::new(seed + at).run(steps.div_ceil(2));
        thread::Builder::new()
            .name(format!("random changes, seed {}", seed + at))
            .spawn(half)
            .expect("thread")
    });
    let failed = halves
        .map(thread::JoinHandle::join)
        .into_iter()
        .filter(Result::is_err)
        .count();
    assert_eq!(
        failed, 0,
        "see above; repeat with DAGCACHE_TEST_SEED={seed} DAGCACHE_TEST_STEPS={steps}"
    );
}

/// A world, what is right about it, and what was done to it.
struct Campaign {
    seed: u64,
    world: World,
    oracle: Oracle,
    chance: Chance,
    /// What was seen of whole projects, checks and parts.
    seen: HashSet<(usize, Digest)>,
    done: Vec<String>,
    compared: usize,
    hits: usize,
}

/// The place of whole projects among what was seen; checks have theirs in [`OWN`].
const WHOLE: usize = usize::MAX;

impl Campaign {
    fn new(seed: u64) -> Self {
        Self {
            seed,
            world: World::new(seed),
            oracle: Oracle::default(),
            chance: Chance::new(!seed),
            seen: HashSet::new(),
            done: Vec::new(),
            compared: 0,
            hits: 0,
        }
    }

    fn run(mut self, steps: usize) {
        self.compare();
        while self.done.len() < steps {
            for _ in 0..=self.chance.below(12) {
                let step = self.world.step();
                self.done.push(step);
            }
            match self.chance.below(40) {
                0 => self.edit_during_a_run(),
                1 => self.run_in_part(),
                2 => self.clear(),
                _ => {}
            }
            self.compare();
        }
        tell(&format!(
            "seed {}: {} steps, {} compared, {} checks replayed, {} asked",
            self.seed,
            self.done.len(),
            self.compared,
            self.hits,
            self.oracle.asked
        ));
    }

    /// One run with the cache, against what is right.
    fn compare(&mut self) {
        let view = View::of(&self.world);
        let said = self.cached(&[]);
        let all = self.chance.one_in(50);
        let right = match self.oracle.ask(&self.world, &view, all) {
            Ok(right) => right,
            Err(code) => {
                let as_right = said.run.code == code && said.lines.is_empty();
                return self.must(as_right, || format!("{code:?} is right\n{said:?}"));
            }
        };
        self.must(said.lines.len() == right.len() + 2, || {
            format!("other checks: {:?}\n{said:?}", right.keys())
        });
        self.must_equal(&right, &said);
        self.must_need_what_it_ran(&view, &said);
        if self.chance.one_in(60) {
            let elsewhere = Copy::of(&self.world).run_cached(&self.world);
            self.must_equal(&right, &elsewhere);
            self.must_replay(&view, &elsewhere);
        }
        self.compared += 1;
    }

    fn cached(&self, args: &[&str]) -> Json {
        oracle::run(
            &self.world,
            &self.world.sandbox.project(),
            &self.world.sandbox.cache(),
            args,
        )
    }

    fn must_equal(&self, right: &Answers, said: &Json) {
        let answers = answers(said);
        for (id, right) in right {
            let answer = answers.get(id);
            self.must(answer == Some(right), || {
                format!(
                    "{id}: right is\n{right:#?}\nsaid was\n{answer:#?}\n{}",
                    said.run.stdout
                )
            });
        }
        let worst = said
            .checks()
            .into_iter()
            .map(|line| match line["verdict"].as_str() {
                Some("passed") => 0,
                Some("failed") => 1,
                _ => 3,
            })
            .max();
        let worst = worst.unwrap_or(0);
        self.must(said.run.code == Some(worst), || {
            format!("exit code {worst} is right\n{said:?}")
        });
    }

    /// What was seen before is not run again.
    fn must_need_what_it_ran(&mut self, view: &View, said: &Json) {
        if !self.seen.insert((WHOLE, view.of_all(&self.world))) {
            self.must_replay(view, said);
        }
        for (at, own) in OWN.iter().enumerate() {
            let Some(line) = said.checks().into_iter().find(|line| line["id"] == own.id) else {
                continue;
            };
            // What is not stored, because of something odd that it sees, is not seen.
            if !line["not_stored"].is_null() || line["miss"]["kind"] == "not-cached" {
                continue;
            }
            let is_new = self.seen.insert((at, view.of_own(&self.world, at)));
            let parts = view.parts(&self.world, at).into_iter();
            let new_parts = parts.filter(|part| self.seen.insert((at, *part))).count();
            if self.may_run(view, at, line) {
                continue;
            }
            self.must(is_new || line["cache"] == "hit", || {
                format!("{} was run again:\n{line:#}", own.id)
            });
            let ran = line["parts"]["ran"].as_u64().unwrap_or(0);
            self.must(ran <= u64::try_from(new_parts).expect("few"), || {
                format!("{new_parts} parts of {} are new:\n{line:#}", own.id)
            });
        }
        self.hits += said
            .checks()
            .iter()
            .filter(|line| line["cache"] == "hit")
            .count();
    }

    /// Every check was replayed.
    fn must_replay(&self, view: &View, said: &Json) {
        for line in said.checks() {
            let at = OWN.iter().position(|own| line["id"] == own.id);
            let may_run = at.map_or(line["verdict"] == "error", |at| {
                self.may_run(view, at, line)
            });
            let replayed = may_run || view.is_odd || line["cache"] == "hit";
            self.must(replayed, || format!("was run again:\n{line:#}"));
        }
    }

    /// Whether a result of this check is not stored, for a reason.
    fn may_run(&self, view: &View, at: usize, line: &serde_json::Value) -> bool {
        line["verdict"] == "error"
            || (self.world.config.passes_only(at) && line["verdict"] == "failed")
            || (view.is_odd && line["miss"]["kind"] == "not-cached")
    }

    /// A change while checks run: whatever that run says, the next must be right.
    fn edit_during_a_run(&mut self) {
        let mut command = self
            .world
            .sandbox
            .command(&["dev-check", "--message-format", "json"]);
        command
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .envs(&self.world.variables);
        let mut child = command.spawn().expect("the binary starts");
        thread::sleep(Duration::from_millis(
            u64::try_from(self.chance.below(30)).expect("few"),
        ));
        let step = self.world.step();
        child.wait().expect("the binary ends");
        self.done.push(format!("during a run: {step}"));
    }

    fn run_in_part(&mut self) {
        let ways: [&[&str]; 6] = [
            &["--no-cache"],
            &["-j", "1"],
            &["--tag", "security"],
            &["--dry-run"],
            &["--cached-only"],
            &["--fail-fast"],
        ];
        let args = *self.chance.pick(&ways);
        self.cached(args);
        self.done.push(format!("run {}", args.join(" ")));
    }

    /// Forgets the results of one check.
    fn clear(&mut self) {
        let own = self.chance.below(OWN.len());
        self.world.sandbox.run(&["cache", "clear", OWN[own].id]);
        self.seen.retain(|(at, _)| *at != own && *at != WHOLE);
        self.done.push(format!("clear {}", OWN[own].id));
    }

    fn must(&self, holds: bool, why: impl FnOnce() -> String) {
        if holds {
            return;
        }
        if let Some(keep) = std::env::var_os("DAGCACHE_TEST_KEEP") {
            let mut copy = std::process::Command::new("cp");
            let copied = copy
                .arg("-a")
                .arg(self.world.sandbox.outer())
                .arg(keep)
                .status();
            copied.expect("cp");
        }
        let first = self.done.len().saturating_sub(30);
        let done: Vec<String> = (first..)
            .zip(&self.done[first..])
            .map(|(at, step)| format!("{at}: {step}\n"))
            .collect();
        panic!("seed {}, after\n{}{}", self.seed, done.concat(), why());
    }
}
