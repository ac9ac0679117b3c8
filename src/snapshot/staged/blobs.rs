//! The content of blobs, read by git.

use std::io::{self, BufRead as _, Read};
use std::sync::{Mutex, PoisonError};

use crate::digest::{Digest, Hasher};
use crate::fs::too_large;
use crate::process::talk::Talk;
use crate::snapshot::content::{Each, LARGEST};
use crate::snapshot::parallel::in_chunks;
use crate::snapshot::staged::git::{Staging, reason};
use crate::snapshot::staged::object::{Listed, ObjectId};

/// Requests sent at once: they must fit into a pipe.
const AT_ONCE: usize = 200;

/// Blobs per git process; more are split between several.
const MANY: usize = 2000;

/// Reads blobs through a git process that starts on first use and stays.
#[derive(Debug, Default)]
pub(crate) struct Blobs {
    talk: Mutex<Option<Talk>>,
}

impl Blobs {
    /// Passes the content of a blob piece by piece.
    pub(crate) fn pass(
        &self,
        staging: &Staging,
        id: ObjectId,
        take: &mut Each<'_>,
    ) -> io::Result<()> {
        let mut talk = self.talk.lock().unwrap_or_else(PoisonError::into_inner);
        let read = with(&mut talk, staging, |talk| {
            talk.ask(format!("{id}\n").as_bytes())?;
            let size = header(talk, id)?;
            pieces(talk, size, take)?;
            end(talk)
        });
        if read.is_err() {
            // Anything still to come would be mistaken for the next answer.
            *talk = None;
        }
        read
    }

    /// The digests of the files' blobs, in order; `None` for those above [`LARGEST`].
    pub(crate) fn digests(
        &self,
        staging: &Staging,
        files: &[&Listed],
    ) -> io::Result<Vec<Option<Digest>>> {
        if files.len() > MANY {
            let chunks = in_chunks(files.len(), MANY, |range| {
                let own = Self::default();
                own.some(staging, files.get(range).unwrap_or_default())
            });
            return Ok(chunks.into_iter().collect::<io::Result<Vec<_>>>()?.concat());
        }
        self.some(staging, files)
    }

    fn some(&self, staging: &Staging, files: &[&Listed]) -> io::Result<Vec<Option<Digest>>> {
        let mut talk = self.talk.lock().unwrap_or_else(PoisonError::into_inner);
        let mut digests = Vec::with_capacity(files.len());
        while let Some(rest) = files.get(digests.len()..).filter(|rest| !rest.is_empty()) {
            let asked = with(&mut talk, staging, |talk| {
                ask_some(talk, rest, &mut digests)
            });
            let Err(error) = asked else { break };
            // What git still has to say is not waited for.
            *talk = None;
            match files.get(digests.len()) {
                Some(_) if error.kind() == io::ErrorKind::FileTooLarge => digests.push(None),
                Some(file) => return Err(unreadable(staging, file, &error)),
                None => return Err(error),
            }
        }
        Ok(digests)
    }
}

/// Adds the digests of files until there is an error.
fn ask_some(
    talk: &mut Talk,
    files: &[&Listed],
    digests: &mut Vec<Option<Digest>>,
) -> io::Result<()> {
    for files in files.chunks(AT_ONCE) {
        let questions = files.iter().map(|file| format!("{}\n", file.id));
        talk.ask(questions.collect::<String>().as_bytes())?;
        for file in files {
            let size = header(talk, file.id)?;
            if size > LARGEST {
                return Err(too_large(LARGEST));
            }
            let mut hasher = Hasher::new();
            pieces(talk, size, &mut |piece| {
                hasher.update(piece);
                Ok(())
            })?;
            end(talk)?;
            digests.push(Some(hasher.finish()));
        }
    }
    Ok(())
}

/// Names the file whose blob cannot be read, with git's message.
fn unreadable(staging: &Staging, file: &Listed, error: &io::Error) -> io::Error {
    let args = ["cat-file", "blob", &file.id.to_string()];
    let said = staging.run(&args, staging.top(), &staging.index, Vec::new());
    let said = said.map_or_else(reason, |_| error.to_string());
    let path = String::from_utf8_lossy(&file.path);
    io::Error::other(format!("{path}: {said}"))
}

fn with(
    talk: &mut Option<Talk>,
    staging: &Staging,
    then: impl FnOnce(&mut Talk) -> io::Result<()>,
) -> io::Result<()> {
    if talk.is_none() {
        *talk = Some(staging.batch()?);
    }
    match talk {
        Some(talk) => then(talk),
        None => Err(io::ErrorKind::BrokenPipe.into()),
    }
}

/// `<id> blob <size>`.
fn header(talk: &mut Talk, id: ObjectId) -> io::Result<u64> {
    let mut line = String::new();
    talk.answers().read_line(&mut line)?;
    let size = line.trim_end().rsplit_once(" blob ");
    let size = size.and_then(|(_, size)| size.parse().ok());
    size.ok_or_else(|| {
        let said = line.trim();
        let said = if said.is_empty() { "git exited" } else { said };
        io::Error::other(format!("cannot read blob {id}: {said}"))
    })
}

fn pieces(talk: &mut Talk, size: u64, take: &mut Each<'_>) -> io::Result<()> {
    let mut rest = size;
    while rest > 0 {
        let answers = talk.answers();
        let some = answers.fill_buf()?;
        let count = some.len().min(usize::try_from(rest).unwrap_or(usize::MAX));
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        take(some.get(..count).unwrap_or_default())?;
        answers.consume(count);
        rest -= count as u64;
    }
    Ok(())
}

fn end(talk: &mut Talk) -> io::Result<()> {
    talk.answers().read_exact(&mut [0])
}
