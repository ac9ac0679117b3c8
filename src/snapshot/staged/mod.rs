//! Snapshots of staged files or a commit instead of files on disk.
//!
//! - [`git`]: locating and running git. - [`object`]: entries of an index or a tree.
//! - [`convert`], [`private`]: what a checkout would make of a file. - [`blobs`]: content. - [`memo`]: known results.
//! - [`stage`]: applying fixes, the only code that writes an index.
//!
//! The index is read directly; git is started for unknown content, for changed rules, and for indexes that only git
//! understands. Taking a snapshot writes no work tree, index or refs, and does not read the work tree: equal content
//! has equal digests, staged or on disk. The exceptions are filters, which run in the work tree as in a checkout, and
//! the check whether a filtered file has changed on disk.

mod blobs;
mod convert;
mod git;
mod memo;
mod object;
mod private;
mod stage;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use crate::digest::{Digest, Hasher};
use crate::env::Env;
use crate::path::RelPath;
use crate::rule::Rule;
use crate::snapshot::content::{self, Each};
use crate::snapshot::left_out::{LeftOut, Reason};
use crate::snapshot::repository::{self, Repository};
use crate::snapshot::stat::{Stat, Time};
use crate::snapshot::{Contents, Effort, Entry, Kind, Snapshot, SnapshotError, pass_open};
use blobs::Blobs;
use convert::{How, Rules};
use memo::{Memo, Row};
use object::{Listed, ObjectId, What, rel_path};
use private::Private;

pub(crate) use git::{Staging, Stamp};
pub(crate) use stage::merge;

/// Nesting depth of submodules beyond which there must be a cycle.
const DEPTH: usize = 20;

/// Stands for the content of a file that is left out.
const UNKNOWN: Digest = Digest::from_bytes([0; 32]);

/// Where the content of a snapshot's files is read from.
#[derive(Debug)]
pub(crate) struct Held {
    sources: Vec<Source>,
    /// One for each file of the snapshot.
    files: Vec<HeldFile>,
}

#[derive(Debug)]
struct Source {
    memo: PathBuf,
    staging: Staging,
    attributes: Vec<Listed>,
    blobs: Blobs,
    private: Private,
}

#[derive(Debug)]
struct HeldFile {
    source: usize,
    id: ObjectId,
    /// Git ignores the file on disk.
    apart: bool,
    /// Git's entry, if a checkout converts it.
    converted: Option<Box<Listed>>,
}

impl Held {
    /// Passes the content of the file with this index piece by piece.
    pub(crate) fn pass(&self, at: usize, take: &mut Each<'_>) -> io::Result<()> {
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        let file = self.files.get(at).ok_or_else(gone)?;
        let source = self.sources.get(file.source).ok_or_else(gone)?;
        let Some(converted) = &file.converted else {
            return source.blobs.pass(&source.staging, file.id, take);
        };
        let open = || source.private.open(&source.staging, converted);
        match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return pass_open(&other?, take),
        }
        // Reads of this kind usually come in groups.
        let of_it = |other: &&HeldFile| other.source == file.source;
        let all = self.files.iter().filter(of_it);
        let all: Vec<&Listed> = all.filter_map(|file| file.converted.as_deref()).collect();
        let (staging, attributes) = (&source.staging, &source.attributes);
        let done = source.private.check_out(staging, attributes, &all);
        done.map_err(io::Error::other)?;
        pass_open(&open()?, take)
    }
}

impl Held {
    /// Drops what is known about the repository of a file, because it proved wrong, as with a filter whose output
    /// varies.
    pub(crate) fn distrust(&self, at: usize) {
        let source = self
            .files
            .get(at)
            .and_then(|file| self.sources.get(file.source));
        if let Some(source) = source {
            let _ = std::fs::remove_file(&source.memo);
        }
    }
}

impl Snapshot {
    /// The staged files below `root` as a checkout of the commit would create them. Paths recorded by `git add
    /// --intent-to-add` are not included, paths left out by a sparse checkout are. Checked-out submodules appear as
    /// their staged commit.
    ///
    /// `memo_dir` is the store's folder for memos; it need not exist or be writable.
    pub(crate) fn staged(
        root: &Path,
        staging: &Staging,
        memo_dir: &Path,
    ) -> Result<Self, SnapshotError> {
        let index = index(staging)?;
        if let Some(first) = index.conflicts.first() {
            return Err(SnapshotError::Conflicts {
                path: first.clone(),
                others: index.conflicts.len() - 1,
            });
        }
        take(root, staging, index.listed, memo_dir, true)
    }

    /// Like [`Snapshot::staged`], for a commit.
    pub(crate) fn committed(
        root: &Path,
        staging: &Staging,
        commit: &str,
        memo_dir: &Path,
    ) -> Result<Self, SnapshotError> {
        let listed = tree(staging, commit)?;
        take(root, staging, parsed(staging, &listed)?, memo_dir, false)
    }
}

/// Reads the index. If only git understands it, git first writes it in plain form to our own directory.
fn index(staging: &Staging) -> Result<object::Index, SnapshotError> {
    let bytes = match repository::read_index(&staging.index) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(object::Index::default());
        }
        Err(error) => return Err(staging.failed(&error.to_string())),
    };
    let hash_len = staging.repository.hash_len();
    if let Ok(index) = object::of_index(&bytes, hash_len) {
        return Ok(index);
    }
    let plain = || -> io::Result<Vec<u8>> {
        let dir = tempfile::tempdir()?;
        let (copy, tree) = (dir.path().join("index"), dir.path().join("tree"));
        std::fs::write(&copy, &bytes)?;
        std::fs::create_dir(&tree)?;
        let args = ["update-index", "--no-split-index", "--force-write-index"];
        let written = staging.run(&args, &tree, &copy, Vec::new());
        let shown = (copy.to_string_lossy(), staging.index.to_string_lossy());
        let said = |error| git::reason(error).replace(&*shown.0, &shown.1);
        written.map_err(|error| io::Error::other(said(error)))?;
        repository::read_index(&copy)
    };
    let bytes = plain().map_err(|error| staging.failed(&error.to_string()))?;
    let read = object::of_index(&bytes, hash_len);
    read.map_err(|_| staging.failed("cannot parse its index"))
}

fn tree(staging: &Staging, commit: &str) -> Result<Vec<u8>, SnapshotError> {
    let args = ["ls-tree", "-r", "-z", "--full-tree", commit];
    staging.run(&args, staging.top(), &staging.index, Vec::new())
}

fn parsed(staging: &Staging, listed: &[u8]) -> Result<Vec<Listed>, SnapshotError> {
    let parsed = object::of_tree(listed);
    parsed.map_err(|_| staging.failed("`git ls-tree` printed unexpected output"))
}

fn take(
    root: &Path,
    staging: &Staging,
    listed: Vec<Listed>,
    memo_dir: &Path,
    keep: bool,
) -> Result<Snapshot, SnapshotError> {
    let mut taker = Taker {
        memo_dir,
        began: Time::now(),
        keep,
        sources: Vec::new(),
        found: Vec::new(),
        left_out: Vec::new(),
        submodules: Vec::new(),
        hashed: 0,
    };
    let strip = staging.repository.prefix_of(root);
    taker.source(staging.clone(), listed, &strip, "", 0)?;
    // A submodule's files may sort before others of its parent folder.
    taker.found.sort_by(|a, b| a.0.path.cmp(&b.0.path));
    taker.left_out.sort();
    taker.submodules.sort();
    let (entries, files) = taker.found.into_iter().unzip();
    Ok(Snapshot {
        entries,
        contents: Contents::Git(Held {
            sources: taker.sources,
            files,
        }),
        left_out: taker.left_out,
        submodules: taker.submodules,
        effort: Effort {
            listed: 0,
            hashed: taker.hashed,
        },
        ..Snapshot::of(root.to_path_buf())
    })
}

struct Taker<'a> {
    memo_dir: &'a Path,
    began: Time,
    /// Whether this is the index, which the next run most likely needs again.
    keep: bool,
    sources: Vec<Source>,
    found: Vec<(Entry, HeldFile)>,
    left_out: Vec<LeftOut>,
    submodules: Vec<RelPath>,
    hashed: usize,
}

impl Taker<'_> {
    /// Adds the files of one repository: those below `strip` in it, placed below `add` in the project.
    fn source(
        &mut self,
        staging: Staging,
        listed: Vec<Listed>,
        strip: &[u8],
        add: &str,
        depth: usize,
    ) -> Result<(), SnapshotError> {
        let memo_path = Memo::path(self.memo_dir, staging.top());
        let identity = identity(&staging);
        let known = Memo::load(&memo_path, identity);
        let (listed, absent) = split_fetched(&staging, listed, &known)?;
        for file in absent.iter().filter(|file| file.path.starts_with(strip)) {
            let below = file.path.get(strip.len()..).unwrap_or_default();
            self.leave_out(below, add, Reason::NotFetched);
        }
        let rules = Rules::now(known.rules.as_ref(), &staging, self.began)?;
        let under = rules.digest(&listed);
        let source = Source {
            memo: memo_path,
            attributes: listed
                .iter()
                .filter(|file| file.is_attributes())
                .cloned()
                .collect(),
            staging,
            blobs: Blobs::default(),
            private: Private::new(self.memo_dir),
        };
        let plain = rules.convert_nothing(&listed);
        let (files, links): (Vec<_>, Vec<_>) = listed
            .into_iter()
            .filter(|file| file.path.starts_with(strip))
            .partition(|file| file.what != What::Gitlink);
        let settled = settle(&source, &files, &known, &rules, (under, plain, self.began))?;
        self.hashed += settled.hashed;
        let mut trees = BTreeMap::new();
        let at = self.sources.len();
        for (file, known) in files.iter().zip(&settled.files) {
            if known.how == How::Refused {
                let below = file.path.get(strip.len()..).unwrap_or_default();
                self.leave_out(below, add, Reason::OwnFilter);
            } else if known.digest == UNKNOWN {
                let below = file.path.get(strip.len()..).unwrap_or_default();
                self.leave_out(below, add, Reason::TooLarge);
            } else {
                self.add(at, file, known, strip, add, &rules);
            }
        }
        let mut inner = Vec::new();
        for link in links {
            let below = link.path.get(strip.len()..).unwrap_or_default();
            let Some(dir) = rel_path(&[add.as_bytes(), below].concat()) else {
                self.leave_out(below, add, Reason::NotUtf8);
                continue;
            };
            let top = source.staging.top().join(convert::os_path(&link.path));
            let Some(repository) = Repository::at(&top).filter(|_| depth < DEPTH) else {
                continue;
            };
            let staging = source.staging.inner(repository);
            let listing = match known.trees.get(&link.id) {
                Some(listing) => listing.clone(),
                None => match tree(&staging, &link.id.to_string()) {
                    Ok(listing) => listing,
                    Err(_) => {
                        self.leave_out(below, add, Reason::NoCommit);
                        continue;
                    }
                },
            };
            inner.push((dir, staging.clone(), parsed(&staging, &listing)?));
            trees.insert(link.id, listing);
        }
        self.sources.push(source);
        let rules = (rules, under);
        self.remember(at, identity, known, rules, (files, settled), trees);
        for (dir, staging, listed) in inner {
            let add = format!("{}/", dir.as_str());
            self.submodules.push(dir);
            self.source(staging, listed, b"", &add, depth + 1)?;
        }
        Ok(())
    }

    fn add(
        &mut self,
        source: usize,
        file: &Listed,
        known: &Settled,
        strip: &[u8],
        add: &str,
        rules: &Rules,
    ) {
        let What::File(kind) = file.what else { return };
        let below = file.path.get(strip.len()..).unwrap_or_default();
        let Some(path) = rel_path(&[add.as_bytes(), below].concat()) else {
            return self.leave_out(below, add, Reason::NotUtf8);
        };
        let kind = match kind {
            Kind::Symlink if rules.settings.no_links => Kind::File,
            kind => kind,
        };
        let entry = Entry {
            path,
            kind,
            digest: known.digest,
        };
        let converted = (known.how != How::AsIs).then(|| Box::new(file.clone()));
        let held = HeldFile {
            source,
            id: file.id,
            apart: file.apart,
            converted,
        };
        self.found.push((entry, held));
    }

    fn leave_out(&mut self, path: &[u8], add: &str, reason: Reason) {
        let display = format!("{add}{}", String::from_utf8_lossy(path));
        let holder = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        let holder = path.get(..holder).unwrap_or_default();
        let dir = rel_path(&[add.as_bytes(), holder].concat()).unwrap_or_default();
        self.left_out.push(LeftOut {
            display,
            owner: dir.display_dot().to_owned(),
            dir,
            reason,
        });
    }

    /// Saves what was found about a repository, unless it was known.
    fn remember(
        &mut self,
        source: usize,
        identity: Digest,
        old: Memo,
        (rules, under): (Rules, Digest),
        (files, settled): (Vec<Listed>, Found),
        mut trees: BTreeMap<ObjectId, Vec<u8>>,
    ) {
        let Some(source) = self.sources.get(source) else {
            return;
        };
        let news = settled.hashed > 0 || settled.asked || settled.stale;
        let known = |id| old.trees.contains_key(id);
        let moved = old.rules.as_ref() != Some(&rules) || !trees.keys().all(known);
        if !news && !moved {
            return;
        }
        // Git's answers are valid for these rules only if the rules did not change in between.
        let still = || Rules::now(Some(&rules), &source.staging, self.began);
        if settled.asked && still().ok().as_ref() != Some(&rules) {
            return;
        }
        let mut memo = Memo {
            rules: Some(rules),
            ..Memo::default()
        };
        let fresh = files.iter().zip(&settled.files);
        if self.keep {
            memo.under = Some(under);
            memo.rows = fresh
                .map(|(file, known)| Row {
                    path: file.path.clone(),
                    id: file.id,
                    how: known.how,
                    digest: known.digest,
                    on_disk: known.on_disk,
                })
                .collect();
        } else {
            memo.under = old.under;
            memo.rows.clone_from(&old.rows);
            let plain = fresh.filter(|(_, known)| known.how == How::AsIs);
            memo.others = plain.map(|(file, known)| (file.id, known.digest)).collect();
        }
        let mut others: BTreeMap<ObjectId, Digest> = old.blobs().into_iter().collect();
        others.extend(std::mem::take(&mut memo.others));
        for row in memo.rows.iter().filter(|row| row.how == How::AsIs) {
            others.remove(&row.id);
        }
        memo.others = others.into_iter().collect();
        trees.extend(old.trees.into_iter().filter(|_| !self.keep));
        memo.trees = trees;
        // Failing to write a memo only costs time in the next run.
        let _ = memo.save(&source.memo, identity);
    }
}

/// Splits off the files outside a sparse checkout whose blobs a partial clone has not fetched.
fn split_fetched(
    staging: &Staging,
    listed: Vec<Listed>,
    memo: &Memo,
) -> Result<(Vec<Listed>, Vec<Listed>), SnapshotError> {
    let outside = |file: &Listed| file.apart && file.what != What::Gitlink;
    if !listed.iter().any(outside) || !staging.repository.is_partial() {
        return Ok((listed, Vec::new()));
    }
    let known = memo.blobs();
    let ids = listed
        .iter()
        .filter(|file| outside(file))
        .map(|file| file.id);
    let ids: Vec<ObjectId> = ids.filter(|id| !known.contains_key(id)).collect();
    let absent: BTreeSet<ObjectId> = staging.not_fetched(&ids)?.into_iter().collect();
    let is_absent = |file: &Listed| outside(file) && absent.contains(&file.id);
    Ok(listed.into_iter().partition(|file| !is_absent(file)))
}

/// Everything that locates a repository's rules, besides files.
fn identity(staging: &Staging) -> Digest {
    let mut hasher = Hasher::new();
    let repository = &staging.repository;
    for path in [&repository.top, &repository.git_dir, &repository.common_dir] {
        hasher.part(path.as_os_str().as_encoded_bytes());
    }
    let env: &Env = &staging.env;
    for (name, value) in repository::variables(env) {
        hasher.part(name.as_encoded_bytes());
        hasher.part(value.as_encoded_bytes());
    }
    for name in ["GIT_ATTR_SOURCE", "GIT_ATTR_NOSYSTEM"] {
        hasher.part(
            env.var_os(name)
                .map_or(b"", |value| value.as_encoded_bytes()),
        );
    }
    hasher.finish()
}

/// What is known about a file.
#[derive(Debug, Clone, Copy)]
struct Settled {
    how: How,
    digest: Digest,
    /// For a filtered file: the file on disk before filtering.
    on_disk: Option<Stat>,
}

/// What is known about files, and how it was found.
struct Found {
    files: Vec<Settled>,
    /// Number of files whose content was read.
    hashed: usize,
    /// Whether git was asked how to convert files, or to convert them.
    asked: bool,
    /// Whether the memo's rows differ from these.
    stale: bool,
}

/// Finds the digests of files (sorted by path) in the memo or else by git.
fn settle(
    source: &Source,
    files: &[Listed],
    memo: &Memo,
    rules: &Rules,
    (under, plain, began): (Digest, bool, Time),
) -> Result<Found, SnapshotError> {
    let same_rules = memo.under == Some(under) || !Rule::CheckoutRules.holds();
    let mut hows: Vec<Option<How>> = Vec::with_capacity(files.len());
    let mut digests: Vec<Option<Digest>> = Vec::with_capacity(files.len());
    let mut rows = memo.rows.iter().peekable();
    for file in files {
        while rows.next_if(|row| row.path < file.path).is_some() {}
        let row = rows.peek().filter(|row| row.path == file.path);
        let how = match row {
            _ if plain || !file.is_regular() => Some(How::AsIs),
            Some(row) if same_rules => Some(row.how),
            _ => None,
        };
        let same = row.filter(|row| row.id == file.id || !Rule::BlobIds.holds());
        let known = same.filter(|row| how == Some(row.how));
        let known = known.filter(|row| {
            let filtered = row.how == How::Filtered && Rule::FiltersAgain.holds();
            let settled = row.on_disk.filter(|stat| *stat != Stat::default());
            !filtered || settled.is_some() && settled == on_disk(source, file, began)
        });
        hows.push(how);
        digests.push(known.map(|row| row.digest));
    }
    let stale =
        !same_rules || memo.rows.len() != files.len() || digests.iter().any(Option::is_none);
    let unknown: Vec<usize> = (0..files.len()).filter(|at| hows[*at].is_none()).collect();
    let mut asked = false;
    if !unknown.is_empty() {
        asked = true;
        let some: Vec<&Listed> = unknown.iter().map(|at| &files[*at]).collect();
        let (staging, attributes) = (&source.staging, &source.attributes);
        let told = source
            .private
            .how(staging, &rules.settings, attributes, &some)?;
        for (at, told) in unknown.into_iter().zip(told) {
            hows[at] = Some(told);
        }
    }
    let hows: Vec<How> = hows
        .into_iter()
        .map(|how| how.unwrap_or(How::AsIs))
        .collect();
    for (how, digest) in hows.iter().zip(&mut digests) {
        if *how == How::Refused {
            *digest = Some(UNKNOWN);
        }
    }
    // Taken before a filter runs: its result is valid only until the file changes.
    let disk = files.iter().zip(&hows).map(|(file, how)| match how {
        How::Filtered => on_disk(source, file, began),
        How::AsIs | How::Converted | How::Refused => None,
    });
    let disk: Vec<Option<Stat>> = disk.collect();
    let missing: Vec<usize> = (0..files.len())
        .filter(|at| digests[*at].is_none())
        .collect();
    let hashed = fill(source, files, memo, &hows, &mut digests, &missing)?;
    asked |= missing.iter().any(|at| hows[*at] != How::AsIs);
    let known = hows.into_iter().zip(digests).zip(disk);
    let files = known.map(|((how, digest), on_disk)| Settled {
        how,
        digest: digest.unwrap_or(UNKNOWN),
        on_disk,
    });
    Ok(Found {
        files: files.collect(),
        hashed,
        asked,
        stale,
    })
}

/// The stat of a file on disk; a file that has just changed matches no other.
fn on_disk(source: &Source, file: &Listed, began: Time) -> Option<Stat> {
    let path = source.staging.top().join(convert::os_path(&file.path));
    let stat = Stat::of_link(&path).ok()?;
    Some(if stat.is_settled(began) {
        stat
    } else {
        Stat::default()
    })
}

/// Finds the missing digests. Returns the number of files read.
fn fill(
    source: &Source,
    files: &[Listed],
    memo: &Memo,
    hows: &[How],
    digests: &mut [Option<Digest>],
    missing: &[usize],
) -> Result<usize, SnapshotError> {
    if missing.is_empty() {
        return Ok(0);
    }
    let staging = &source.staging;
    let failed = |error: io::Error| staging.failed(&error.to_string());
    let known = memo.blobs();
    let (mut blobs, mut conversions) = (Vec::new(), Vec::new());
    for at in missing.iter().copied() {
        if hows[at] != How::AsIs {
            conversions.push(at);
            continue;
        }
        match known.get(&files[at].id) {
            Some(digest) => digests[at] = Some(*digest),
            None => blobs.push(at),
        }
    }
    if !blobs.is_empty() {
        let some: Vec<&Listed> = blobs.iter().map(|at| &files[*at]).collect();
        let found = source.blobs.digests(staging, &some).map_err(failed)?;
        for (at, digest) in blobs.iter().zip(found) {
            digests[*at] = Some(digest.unwrap_or(UNKNOWN));
        }
    }
    if !conversions.is_empty() {
        let some: Vec<&Listed> = conversions.iter().map(|at| &files[*at]).collect();
        source
            .private
            .check_out(staging, &source.attributes, &some)?;
        for at in &conversions {
            let file = source.private.open(staging, &files[*at]).map_err(failed)?;
            let digest = match content::hash_open(&file) {
                Err(error) if error.kind() == io::ErrorKind::FileTooLarge => UNKNOWN,
                content => content.map_err(failed)?.digest,
            };
            digests[*at] = Some(digest);
        }
    }
    Ok(blobs.len() + conversions.len())
}
