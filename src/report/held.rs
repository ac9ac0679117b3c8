//! Verdicts held back until the end of a hook: what is staged meanwhile makes it check anew, and only the last verdict of a
//! check counts.

use crate::event::{Event, Sink};
use crate::record::CheckRecord;

/// Passes events on, each check's last verdict only.
pub(super) struct Held<S> {
    sink: S,
    records: Vec<CheckRecord>,
}

impl<S: Sink> Held<S> {
    pub(super) fn new(sink: S) -> Self {
        Self {
            sink,
            records: Vec::new(),
        }
    }
}

impl<S: Sink> Sink for Held<S> {
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::CheckFinished(record) => {
                self.records.retain(|before| before.id != record.id);
                self.records.push((*record).clone());
                return;
            }
            Event::AlreadyFailing(_) | Event::RunFinished(_) => {
                for record in self.records.drain(..) {
                    self.sink.event(&Event::CheckFinished(&record));
                }
            }
            _ => {}
        }
        self.sink.event(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Verdict;

    #[derive(Default)]
    struct Seen(Vec<(String, Verdict)>);

    impl Sink for Seen {
        fn event(&mut self, event: &Event<'_>) {
            if let Event::CheckFinished(record) = event {
                self.0.push((record.id.clone(), record.verdict));
            }
        }
    }

    #[test]
    fn a_check_that_ran_twice_has_one_verdict() {
        let mut held = Held::new(Seen::default());
        for (id, verdict) in [
            ("a", Verdict::Failed),
            ("b", Verdict::Passed),
            ("a", Verdict::Passed),
        ] {
            let record = CheckRecord::not_run(id, verdict, None);
            held.event(&Event::CheckFinished(&record));
        }
        assert!(held.sink.0.is_empty());
        held.event(&Event::AlreadyFailing(&[]));
        let passed = |id: &str| (id.to_owned(), Verdict::Passed);
        assert_eq!(held.sink.0, [passed("b"), passed("a")]);
    }
}
