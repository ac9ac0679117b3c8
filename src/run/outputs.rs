//! Outputs of checks: collected where the check ran, and written to the project, after a run as well as on a hit.
//!
//! Nothing of the user's gets lost: a file that git tracks is compared, not overwritten; files edited in the meantime
//! stay; other replaced files are kept in the store first. Nothing is deleted, and links are not followed.

use std::path::Path;

use walkdir::WalkDir;

use crate::config::Globs;
use crate::digest::Digest;
use crate::discover::leaves;
use crate::engine::Place;
use crate::event::Event;
use crate::finding::{Finding, Severity};
use crate::fs::beneath::{Content, Found, LARGEST, look, put};
use crate::path::RelPath;
use crate::plan::{Check, Command};
use crate::process::pasted;
use crate::record::{CheckRecord, Verdict};
use crate::rule::Rule;
use crate::run::Session;
use crate::run::mask::Mask;
use crate::snapshot::{Kind, Snapshot};
use crate::store::Store;
use crate::store::outputs::Output;

/// A file or link that a check made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Made {
    pub(crate) path: RelPath,
    pub(crate) kind: Kind,
    /// The content, or the target of a link.
    pub(crate) bytes: Vec<u8>,
}

impl Made {
    pub(super) fn output(&self) -> Output {
        Output {
            path: self.path.clone(),
            kind: self.kind,
            digest: Digest::of(&self.bytes),
        }
    }

    fn content(&self) -> Content<'_> {
        match self.kind {
            Kind::Symlink => Content::Link(&self.bytes),
            kind => Content::File {
                bytes: &self.bytes,
                executable: kind == Kind::Executable,
            },
        }
    }

    fn is(&self, found: &Found) -> bool {
        match (found, self.kind) {
            (Found::Link(target), Kind::Symlink) => *target == self.bytes,
            (
                Found::File {
                    bytes, executable, ..
                },
                Kind::File | Kind::Executable,
            ) => *executable == (self.kind == Kind::Executable) && *bytes == self.bytes,
            _ => false,
        }
    }
}

/// Collects the outputs of a check, sorted by path.
///
/// # Errors
/// What cannot be an output; the result is then not stored, and nothing is written to the project.
pub(super) fn collect(
    check: &Check,
    command: &Command,
    snapshot: &Snapshot,
    place: Option<&Place>,
    mask: &Mask,
) -> Result<Vec<Made>, String> {
    let (Some(place), Ok(globs)) = (place, Globs::new(&command.outputs)) else {
        return Ok(Vec::new());
    };
    if command.outputs.is_empty() {
        return Ok(Vec::new());
    }
    let root = place.tree();
    let mut made = Vec::new();
    let mut space = LARGEST;
    let entries = WalkDir::new(root).min_depth(1).sort_by_file_name();
    let entries = entries
        .into_iter()
        .filter_entry(|entry| entry.file_name() != ".git");
    for entry in entries {
        let entry = entry.map_err(|error| format!("cannot read its outputs: {error}"))?;
        let below = entry.path().strip_prefix(root).unwrap_or(entry.path());
        let kind = entry.file_type();
        if kind.is_dir() {
            continue;
        }
        // Patterns cannot match names that are not UTF-8.
        let Ok(path) = RelPath::from_path(below) else {
            continue;
        };
        if !globs.matches(&path) || is_input(check, snapshot, &path) {
            continue;
        }
        let file = read(entry.path(), path, mask, space)?;
        space = space.saturating_sub(file.bytes.len() as u64);
        made.push(file);
    }
    made.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(made)
}

fn is_input(check: &Check, snapshot: &Snapshot, path: &RelPath) -> bool {
    let inputs = &check.inputs;
    let shared = snapshot
        .find(path)
        .is_some_and(|id| inputs.shared.binary_search(&id).is_ok());
    shared
        || inputs
            .outside
            .iter()
            .any(|file| file.up == 0 && file.path == *path)
}

/// `space`: how much may be read. All outputs of a check are held in memory at once.
fn read(full: &Path, path: RelPath, mask: &Mask, space: u64) -> Result<Made, String> {
    use std::os::unix::ffi::OsStringExt as _;
    use std::os::unix::fs::PermissionsExt as _;
    if mask.shows_in(path.as_bytes()) {
        let name = mask.text(&path);
        return Err(format!(
            "the name of its output {name} contains the value of a secret"
        ));
    }
    let unreadable = |error| format!("cannot read its output {path}: {error}");
    let meta = full.symlink_metadata().map_err(unreadable)?;
    let (kind, bytes) = if meta.is_symlink() {
        let target = std::fs::read_link(full).map_err(unreadable)?;
        let target = target.into_os_string().into_vec();
        if leaves(&path, &target) {
            return Err(format!(
                "its output {path} is a link to outside the project"
            ));
        }
        (Kind::Symlink, target)
    } else if meta.is_file() {
        // Sparse ones included: they are as large in memory and in the store.
        if meta.len() > space {
            let size = bytesize::ByteSize(meta.len());
            return Err(format!(
                "its output {path} has {size}; all outputs of a check may have 1 GiB"
            ));
        }
        let executable = meta.permissions().mode() & 0o100 != 0;
        let kind = if executable {
            Kind::Executable
        } else {
            Kind::File
        };
        (
            kind,
            crate::fs::read_up_to(full, space).map_err(unreadable)?,
        )
    } else {
        return Err(format!("its output {path} is neither a file nor a link"));
    };
    if mask.shows_in(&bytes) {
        return Err(format!("its output {path} contains the value of a secret"));
    }
    Ok(Made { path, kind, bytes })
}

/// The outputs of a cached result; `None` if some are damaged or not allowed.
pub(super) fn stored(store: &Store, outputs: &[Output]) -> Option<Vec<Made>> {
    let made = outputs.iter().map(|output| {
        let made = Made {
            path: output.path.clone(),
            kind: output.kind,
            bytes: store.blob(&output.digest)?,
        };
        let out = made.kind == Kind::Symlink && leaves(&made.path, &made.bytes);
        (!out).then_some(made)
    });
    made.collect()
}

/// Writes outputs to the project if they are not there already. A difference to a file that git tracks fails the
/// check.
pub(super) fn deliver(session: &Session<'_>, made: &[Made], record: &mut CheckRecord) {
    if session.options.dry_run {
        return;
    }
    let mut differing = Vec::new();
    for file in made {
        if !session.options.outputs {
            differing.extend(differs_from_held(session.snapshot, file).then_some(file));
            continue;
        }
        match deliver_one(session, file) {
            Delivered::Done => {}
            Delivered::Differs => differing.push(file),
            Delivered::Told(text) => session.emit(&Event::Warning(&text)),
        }
    }
    if !differing.is_empty() {
        record
            .findings
            .extend(differing.iter().map(|file| finding(file)));
        record.findings.sort();
        record.verdict = record.verdict.max(Verdict::Failed);
        record.message = Some(how_to_update(session, &differing));
    }
}

/// Whether the checked commit has different content for this output.
fn differs_from_held(snapshot: &Snapshot, file: &Made) -> bool {
    let held = snapshot.find(&file.path).map(|id| snapshot.entry(id));
    snapshot.is_held_by_git()
        && held.is_some_and(|held| (held.kind, held.digest) != (file.kind, Digest::of(&file.bytes)))
}

enum Delivered {
    Done,
    /// Git tracks a file with other content.
    Differs,
    /// There is something to report.
    Told(String),
}

const EDITED: &str = "the file was edited during the run";

fn deliver_one(session: &Session<'_>, file: &Made) -> Delivered {
    let path = &file.path;
    let root = session.snapshot.root();
    let refused = |why: &str| Delivered::Told(format!("not writing the output {path}: {why}"));
    // No check may write there, because git would run what it finds.
    if path
        .segments()
        .any(|name| name.eq_ignore_ascii_case(".git"))
    {
        return refused("it is inside git's directory");
    }
    let found = match look(root, path) {
        Ok(found) if file.is(&found) => return Delivered::Done,
        Ok(found) => found,
        Err(error) => return refused(&error.to_string()),
    };
    if Rule::TrackedOutputsAreCompared.holds()
        && session
            .snapshot
            .tracked_at(path, session.env)
            .contains(path)
    {
        return Delivered::Differs;
    }
    let replaced = match &found {
        Found::Absent => None,
        Found::Other => return refused("something other than a file is there"),
        Found::File { changed, .. }
            if *changed >= session.started && Rule::EditedOutputsStay.holds() =>
        {
            return refused(EDITED);
        }
        Found::File { bytes, .. } => match kept(session.store, bytes) {
            Ok(kept) => kept.map(|kept| {
                format!(
                    "replaced {path} with the output of the check; to restore the old file: cp {} {}",
                    pasted(&kept.to_string_lossy()),
                    pasted(path)
                )
            }),
            Err(error) => return refused(&format!("cannot keep the existing file: {error}")),
        },
        Found::Link(target) => Some(format!(
            "replaced {path}, which was a link to {}",
            String::from_utf8_lossy(target)
        )),
    };
    if !Rule::OutputsAreRestored.holds() {
        return Delivered::Done;
    }
    match put(root, path, file.content(), &found) {
        Ok(true) => replaced.map_or(Delivered::Done, Delivered::Told),
        Ok(false) => refused(EDITED),
        Err(error) => refused(&error.to_string()),
    }
}

/// Keeps a file that is about to be replaced. `None` for outputs of checks, which are in the store anyway.
fn kept(store: &Store, bytes: &[u8]) -> std::io::Result<Option<std::path::PathBuf>> {
    if store.blob(&Digest::of(bytes)).is_some() || !Rule::ReplacedFilesAreKept.holds() {
        return Ok(None);
    }
    store.keep(bytes).map(Some)
}

fn finding(file: &Made) -> Finding {
    Finding {
        path: Some(file.path.clone()),
        line: None,
        column: None,
        severity: Severity::Error,
        code: None,
        message: "the committed file differs from the output of the check".to_owned(),
        rendered: None,
    }
}

fn how_to_update(session: &Session<'_>, differing: &[&Made]) -> String {
    let commands = differing.iter().map(|file| match file.kind {
        Kind::Symlink => {
            let target = String::from_utf8_lossy(&file.bytes);
            format!("ln -sfn {} {}", pasted(&target), pasted(&file.path))
        }
        _ => match session.store.keep(&file.bytes) {
            Ok(kept) => format!(
                "cp {} {}",
                pasted(&kept.to_string_lossy()),
                pasted(&file.path)
            ),
            Err(_) => format!(
                "run the check's command in the project to write {}",
                file.path
            ),
        },
    });
    let commands: Vec<String> = commands.collect();
    format!("to use the output of the check: {}", commands.join(" && "))
}
