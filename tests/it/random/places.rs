//! A small project as places, each of which is one of a few texts: states can be compared and come back.

use std::fs;
use std::time::{Duration, SystemTime};

use super::chance::Chance;
use crate::support::Sandbox;

/// A path of the project, or a variable (`$NAME`), and what it may be; empty where there is nothing.
pub(crate) type Place = (&'static str, &'static [&'static str]);

/// For each place, which of its texts is there.
pub(crate) type State = Vec<usize>;

pub(crate) struct Places {
    places: &'static [Place],
    pub(crate) state: State,
    /// States to go back to.
    past: Vec<State>,
    chance: Chance,
    seed: u64,
    done: Vec<String>,
}

impl Places {
    /// The first text of each place is written.
    pub(crate) fn new(places: &'static [Place], seed: u64, sandbox: &Sandbox) -> Self {
        let mut all = Self {
            places,
            state: vec![0; places.len()],
            past: Vec::new(),
            chance: Chance::new(seed),
            seed,
            done: Vec::new(),
        };
        for place in 0..places.len() {
            all.set(place, 0, sandbox);
        }
        all.done.clear();
        all
    }

    /// Changes one place or two, or goes back to an earlier state.
    pub(crate) fn step(&mut self, sandbox: &Sandbox) {
        self.past.push(self.state.clone());
        if self.chance.one_in(4) {
            let past = self.chance.pick(&self.past).clone();
            self.done.push("back to an earlier state:".to_owned());
            for (place, value) in past.into_iter().enumerate() {
                if self.state[place] != value {
                    self.set(place, value, sandbox);
                }
            }
            return;
        }
        for _ in 0..=self.chance.below(2) {
            let place = self.chance.below(self.places.len());
            let value = self.chance.below(self.places[place].1.len());
            self.set(place, value, sandbox);
        }
    }

    fn set(&mut self, place: usize, value: usize, sandbox: &Sandbox) {
        self.state[place] = value;
        let (path, values) = self.places[place];
        let text = values[value];
        self.done.push(format!("{path} = {text:?}"));
        if path.starts_with('$') {
            return;
        }
        let at = sandbox.path(path);
        if text.is_empty() {
            let _ = fs::remove_file(at);
            return;
        }
        sandbox.write(path, text);
        // Now, long ago, or in the days to come.
        let seconds = *self.chance.pick(&[0, 1_000_000_000, 4_000_000_000]);
        if seconds > 0 {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            let file = fs::File::options().append(true).open(at).expect("file");
            file.set_modified(time).expect("time");
        }
    }

    /// What stands in a place now; none where there is nothing.
    pub(crate) fn text(&self, path: &str) -> Option<&'static str> {
        let at = self.places.iter().position(|(place, _)| *place == path);
        let at = at.expect("a place");
        Some(self.places[at].1[self.state[at]]).filter(|text| !text.is_empty())
    }

    /// How it came to this, for a failure.
    pub(crate) fn story(&self) -> String {
        format!("seed {}, after\n{}\n", self.seed, self.done.join("\n"))
    }
}
