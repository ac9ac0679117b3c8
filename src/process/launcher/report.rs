//! What a launcher reports: lines on its socket. Without `ready`, the command never ran, and the text says why.

use std::io;

/// Sent when the command has started.
const READY: &str = "ready\n";

/// The end of a command that started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::process) enum Report {
    Exit(i32),
    Signal(i32),
    /// The launcher ended it.
    Over(Over),
}

/// A limit that a command reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    Processes,
    Disk,
    Memory,
}

impl Over {
    const ALL: [Self; 3] = [Self::Processes, Self::Disk, Self::Memory];

    /// Its key in the configuration.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Processes => "processes",
            Self::Disk => "disk",
            Self::Memory => "memory",
        }
    }
}

impl Report {
    pub(super) fn encode(self) -> String {
        match self {
            Self::Exit(code) => format!("{READY}exit {code}\n"),
            Self::Signal(number) => format!("{READY}signal {number}\n"),
            Self::Over(limit) => format!("{READY}over {}\n", limit.name()),
        }
    }

    /// Reads a report. `None` if there is none: the launcher was killed.
    ///
    /// # Errors
    /// What went wrong before the command ran.
    pub(in crate::process) fn decode(said: &str) -> io::Result<Option<Self>> {
        let Some(end) = said.strip_prefix(READY) else {
            return match said {
                "" => Ok(None),
                why => Err(io::Error::other(why.to_owned())),
            };
        };
        let (word, value) = end.trim_end().split_once(' ').unwrap_or_default();
        let number = || value.parse().ok();
        Ok(match word {
            "exit" => number().map(Self::Exit),
            "signal" => number().map(Self::Signal),
            "over" => {
                let mut all = Over::ALL.into_iter();
                all.find(|limit| limit.name() == value).map(Self::Over)
            }
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_arrive_as_they_were_given() {
        let all = [
            Report::Exit(3),
            Report::Signal(9),
            Report::Over(Over::Disk),
            Report::Over(Over::Memory),
        ];
        for report in all {
            let read = Report::decode(&report.encode()).expect("a report");
            assert_eq!(read, Some(report));
        }
        assert_eq!(Report::decode("").expect("no report"), None);
        assert_eq!(
            Report::decode("no room").unwrap_err().to_string(),
            "no room"
        );
    }
}
