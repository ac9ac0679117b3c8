//! Detects which confinement this system supports by trying it in a separate process.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use super::WORD;

/// What is supported; errors hold the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Support {
    pub(crate) user: bool,
    /// A private file system.
    pub(crate) root: Result<(), String>,
    /// No network except loopback.
    pub(crate) offline: Result<(), String>,
    /// Refusing to open files that were not granted.
    pub(crate) files: Result<(), String>,
}

impl Support {
    /// A system that supports nothing.
    #[must_use]
    pub(crate) fn none(why: &str) -> Self {
        let no = || Err(why.to_owned());
        Self {
            user: false,
            root: no(),
            offline: no(),
            files: no(),
        }
    }

    /// Asks the launcher `program`, which takes a few milliseconds.
    #[must_use]
    pub(crate) fn ask(program: &Path) -> Self {
        ask(program).unwrap_or_else(|error| Self::none(&error.to_string()))
    }

    /// One line each: `yes`, or the reason.
    pub(super) fn encode(&self) -> Vec<u8> {
        let word = |answer: &Result<(), String>| match answer {
            Ok(()) => "yes".to_owned(),
            Err(why) => why.replace('\n', " "),
        };
        let user = if self.user { "yes" } else { "no" };
        let answers = [&self.root, &self.offline, &self.files].map(word);
        format!("{user}\n{}\n", answers.join("\n")).into_bytes()
    }

    fn decode(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let user = lines.next()? == "yes";
        let mut answer = || match lines.next()? {
            "yes" => Some(Ok(())),
            why => Some(Err(why.to_owned())),
        };
        Some(Self {
            user,
            root: answer()?,
            offline: answer()?,
            files: answer()?,
        })
    }
}

fn ask(program: &Path) -> io::Result<Support> {
    let (mut ours, theirs) = UnixStream::pair()?;
    let mut child = Command::new(program)
        .arg(WORD)
        .env_clear()
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let mut said = String::new();
    let asked = super::send(&ours, None, &[]);
    let read = ours.read_to_string(&mut said);
    child.wait()?;
    asked?;
    read?;
    Support::decode(&said).ok_or_else(|| io::Error::other(said))
}

/// Tries everything on this process.
#[cfg(target_os = "linux")]
pub(super) fn probe() -> Support {
    use super::spec::{Bounds, Root};
    use super::{files, network, root};
    let attempt = |user, space: bool, offline| {
        root::unshare(&Bounds {
            user,
            offline,
            root: space.then(Root::default),
            files: None,
        })
    };
    let said = |result: io::Result<()>| result.map_err(|error| error.to_string());
    let user = attempt(false, true, false).is_err();
    let space = if user {
        attempt(true, true, false)
    } else {
        Ok(())
    };
    let root = space.and_then(|()| root::enter(&Root::default()));
    let offline = attempt(false, false, true).and_then(|()| network::loopback());
    Support {
        user,
        root: said(root).map_err(|why| format!("cannot create a mount namespace: {why}")),
        offline: said(offline).map_err(|why| format!("cannot create a network namespace: {why}")),
        files: said(files::restrict(&[])).map_err(|why| format!("cannot use Landlock: {why}")),
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn probe() -> Support {
    Support::none("confinement requires Linux")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_arrive_as_they_were_given() {
        let support = Support {
            user: true,
            root: Ok(()),
            offline: Err("why\nnot".to_owned()),
            files: Ok(()),
        };
        let text = String::from_utf8(support.encode()).unwrap();
        let read = Support::decode(&text).unwrap();
        assert_eq!(read.offline, Err("why not".to_owned()));
        assert_eq!((read.user, read.root, read.files), (true, Ok(()), Ok(())));
        assert_eq!(Support::decode("yes\n"), None);
    }
}
