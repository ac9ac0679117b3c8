//! The content of host directories: what an interpreter loads besides the program itself.
//!
//! Every file is stat'ed once per run. The digest of all content is memoised by the digest of all stats, so that an
//! unchanged directory is not read again.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use super::Tools;
use crate::digest::{Digest, Hasher};
use crate::fs::sealed::{Reader, Writer};
use crate::snapshot::content;
use crate::snapshot::stat::{Stat, Time};

/// Compiled modules: written by the first import, and checked by the interpreter against their source.
const SKIPPED: &str = "__pycache__";

/// No program has more files: some link must lead to the wrong place.
const MOST: usize = 500_000;

/// Above this many lists, those that this run did not use are dropped.
const ROOMY: usize = 100;

/// Digests by the digest of the list of paths.
#[derive(Debug, Default)]
pub(super) struct Memo(BTreeMap<Digest, Known>);

#[derive(Debug, Clone, Copy)]
struct Known {
    stats: Digest,
    content: Digest,
    used: bool,
    /// Whether the next run may trust it.
    settled: bool,
}

impl Memo {
    pub(super) fn encode(&self, out: &mut Writer) {
        let roomy = self.0.len() <= ROOMY;
        for (paths, known) in &self.0 {
            if known.settled && (known.used || roomy) {
                for digest in [paths, &known.stats, &known.content] {
                    out.raw(digest.as_bytes());
                }
            }
        }
    }

    pub(super) fn decode(from: &mut Reader<'_>) -> Option<Self> {
        let mut memo = BTreeMap::new();
        while !from.is_empty() {
            let paths = from.digest()?;
            let known = Known {
                stats: from.digest()?,
                content: from.digest()?,
                used: false,
                settled: true,
            };
            memo.insert(paths, known);
        }
        Some(Self(memo))
    }
}

impl Tools {
    /// The digest of everything at and below `paths`: names, kinds, executable bits, link targets and what they lead
    /// to. The location of the paths does not matter, but their last names and their order do. A missing path counts
    /// as absent.
    pub(crate) fn content(&self, paths: &[PathBuf]) -> io::Result<Digest> {
        self.content_up_to(paths, MOST)
    }

    /// Like [`Tools::content`], an error if there are more files than `most`.
    pub(crate) fn content_up_to(&self, paths: &[PathBuf], most: usize) -> io::Result<Digest> {
        let mut list = Hasher::new();
        for path in paths {
            list.update(path.as_os_str().as_bytes());
            list.update(b"\0");
        }
        let list = list.finish();
        // One answer for all checks of a run, as for the programs themselves.
        if let Some(known) = self.lock().below.0.get(&list).filter(|known| known.used) {
            return Ok(known.content);
        }
        let mut stats = Stats::new(self.began);
        walk(paths, most, &mut |entry| {
            stats.add(entry.path, &entry.stat);
            Ok(())
        })?;
        let now = stats.finish();
        if let Some(known) = self.lock().below.0.get_mut(&list)
            && known.stats == now.0
        {
            known.used = true;
            return Ok(known.content);
        }
        let (content, stats, steady) = read(paths, most, self.began)?;
        if steady {
            let mut state = self.lock();
            let known = Known {
                stats: stats.0,
                content,
                used: true,
                settled: stats.1,
            };
            state.changed |= known.settled;
            state.below.0.insert(list, known);
        }
        Ok(content)
    }
}

/// The content of everything, its stats, and whether both are from the same moment.
fn read(paths: &[PathBuf], most: usize, began: Time) -> io::Result<(Digest, (Digest, bool), bool)> {
    let mut hasher = Hasher::new();
    let mut stats = Stats::new(began);
    let mut steady = true;
    walk(paths, most, &mut |entry| {
        stats.add(entry.path, &entry.stat);
        hasher.part(entry.name.as_os_str().as_bytes());
        match entry.stat.file_type() {
            FileType::Symlink => {
                hasher.part(b"link");
                hasher.part(std::fs::read_link(entry.path)?.as_os_str().as_bytes());
                steady &= Stat::of_link(entry.path)? == entry.stat;
            }
            FileType::RegularFile => {
                let content = content::hash_path(entry.path)?;
                steady &= content.steady && content.stat == entry.stat;
                let executable = content.stat.is_executable();
                hasher.part(if executable { b"program" } else { b"file" });
                hasher.part(content.digest.as_bytes());
            }
            _ => hasher.part(b"other"),
        }
        Ok(())
    })?;
    Ok((hasher.finish(), stats.finish(), steady))
}

struct Stats {
    hasher: Hasher,
    buffer: Writer,
    began: Time,
    settled: bool,
}

impl Stats {
    fn new(began: Time) -> Self {
        Self {
            hasher: Hasher::new(),
            buffer: Writer::default(),
            began,
            settled: true,
        }
    }

    fn add(&mut self, path: &Path, stat: &Stat) {
        self.settled &= stat.is_settled(self.began);
        self.buffer.0.clear();
        self.buffer.bytes(path.as_os_str().as_bytes());
        stat.encode(&mut self.buffer);
        self.hasher.update(&self.buffer.0);
    }

    fn finish(self) -> (Digest, bool) {
        (self.hasher.finish(), self.settled)
    }
}

/// A file, a link (before its target) or something else; folders appear only in the names of their content.
struct Entry<'a> {
    /// The last name of its root, and the path below.
    name: &'a Path,
    path: &'a Path,
    stat: Stat,
}

type Visit<'a> = &'a mut dyn FnMut(Entry<'_>) -> io::Result<()>;

/// Visits everything in a fixed order.
fn walk(paths: &[PathBuf], most: usize, visit: Visit<'_>) -> io::Result<()> {
    let mut walk = Walk {
        seen: HashSet::new(),
        left: most,
        visit,
    };
    for path in paths {
        let name = path.file_name().map(PathBuf::from).unwrap_or_default();
        walk.step(path, &name)?;
    }
    Ok(())
}

struct Walk<'a> {
    /// Folders that links led to.
    seen: HashSet<PathBuf>,
    left: usize,
    visit: Visit<'a>,
}

impl Walk<'_> {
    fn step(&mut self, path: &Path, name: &Path) -> io::Result<()> {
        self.left = self
            .left
            .checked_sub(1)
            .ok_or_else(|| io::Error::other("it has too many files"))?;
        let found = match Stat::of_link(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            found => found?,
        };
        let mut stat = found;
        if found.file_type() == FileType::Symlink {
            (self.visit)(Entry {
                name,
                path,
                stat: found,
            })?;
            match Stat::of(path) {
                Ok(target) => stat = target,
                // It is dangling or circular.
                Err(_) => return Ok(()),
            }
            // Links may be circular; each target is visited once.
            if stat.file_type() == FileType::Directory && !self.seen.insert(path.canonicalize()?) {
                return Ok(());
            }
        }
        if stat.file_type() != FileType::Directory {
            return (self.visit)(Entry { name, path, stat });
        }
        let mut names = std::fs::read_dir(path)?
            .map(|entry| Ok(entry?.file_name()))
            .collect::<io::Result<Vec<_>>>()?;
        names.sort_unstable();
        for inner in names.iter().filter(|inner| *inner != SKIPPED) {
            self.step(&path.join(inner), &name.join(inner))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::time::{Duration, SystemTime};

    use proptest::prelude::*;

    use super::*;
    use crate::env::Env;

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path().join("pkg");
        fs::create_dir_all(root.join("sub/__pycache__")).expect("folders");
        fs::write(root.join("a.py"), "a").expect("written");
        fs::write(root.join("sub/b.py"), "b").expect("written");
        (dir, root)
    }

    fn of(root: &Path) -> Digest {
        let tools = Tools::default();
        tools.content(&[root.to_path_buf()]).expect("read")
    }

    #[test]
    fn every_file_counts_and_compiled_ones_and_places_do_not() {
        let (_one, root) = folder();
        let (_two, other) = folder();
        assert_eq!(of(&root), of(&other));
        fs::write(root.join("sub/__pycache__/b.pyc"), "x").expect("written");
        assert_eq!(of(&root), of(&other));
        let changes: [&dyn Fn(&Path); 5] = [
            &|root| fs::write(root.join("sub/b.py"), "c").expect("written"),
            &|root| fs::write(root.join("new"), "").expect("written"),
            &|root| fs::rename(root.join("a.py"), root.join("c.py")).expect("renamed"),
            &|root| {
                let mode = fs::Permissions::from_mode(0o755);
                fs::set_permissions(root.join("a.py"), mode).expect("mode");
            },
            &|root| symlink("a.py", root.join("link")).expect("linked"),
        ];
        for (number, change) in changes.iter().enumerate() {
            let (_dir, root) = folder();
            let before = of(&root);
            change(&root);
            assert_ne!(of(&root), before, "{number}");
        }
    }

    #[test]
    fn what_a_link_leads_to_counts_and_circles_end() {
        let (dir, root) = folder();
        fs::create_dir(dir.path().join("out")).expect("folder");
        fs::write(dir.path().join("out/x"), "1").expect("written");
        symlink("../out", root.join("link")).expect("linked");
        symlink("..", root.join("sub/circle")).expect("linked");
        let before = of(&root);
        fs::write(dir.path().join("out/x"), "2").expect("written");
        assert_ne!(of(&root), before);
    }

    #[test]
    fn a_run_asks_once_and_the_next_one_sees_an_edit_in_place() {
        let (_dir, root) = folder();
        let memo = tempfile::tempdir().expect("a folder");
        let tools = |began| Tools {
            began,
            ..Tools::new(&Env::default(), memo.path())
        };
        let later = Time::of(SystemTime::now() + Duration::from_secs(60));
        let of = |tools: &Tools| tools.content(std::slice::from_ref(&root)).expect("read");
        let first = tools(later);
        let before = of(&first);
        first.save().expect("saved");
        fs::write(root.join("sub/b.py"), "B").expect("written");
        assert_eq!(of(&first), before);
        assert_ne!(of(&tools(later)), before);
    }

    #[test]
    fn what_settled_is_remembered() {
        let known = Known {
            stats: Digest::of(b"stats"),
            content: Digest::of(b"content"),
            used: true,
            settled: true,
        };
        let racy = Known {
            settled: false,
            ..known
        };
        let memo = Memo([(Digest::of(b"1"), known), (Digest::of(b"2"), racy)].into());
        let mut out = Writer::default();
        memo.encode(&mut out);
        let read = Memo::decode(&mut Reader::new(&out.0)).expect("a memo");
        let keys: Vec<_> = read.0.keys().copied().collect();
        assert_eq!(keys, [Digest::of(b"1")]);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            Memo::decode(&mut Reader::new(&bytes));
        }
    }
}
