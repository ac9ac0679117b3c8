//! Lists folders to find the files git would consider.
//!
//! A file is in the universe if it is tracked, or untracked and not ignored; a folder is entered if it is not ignored
//! or contains tracked files. A submodule's repository has its own index and rules. Files left out by skip-worktree
//! and sparse checkouts are absent; if such a file exists on disk, tools see it, and so does the walk.
//!
//! [`Walker::walk`] lists everything; [`Walker::relist`] lists single folders of a memo whose rules, settings and
//! tracked paths are known to be unchanged, and gives up ([`Relisted::GaveUp`]) if the change could reach further.

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Dir as Reading, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::env::Env;
use crate::path::RelPath;
use crate::rule::Rule;
use crate::snapshot::SnapshotError;
use crate::snapshot::guard::{self, Guards, State};
use crate::snapshot::index::Tracked;
use crate::snapshot::left_out::{LeftOut, Reason};
use crate::snapshot::memo::{Dir, Head, Source};
use crate::snapshot::repository::{Repository, Settings};
use crate::snapshot::rules::{self, Chain};
use crate::snapshot::stat::{Stat, Time, keeps_folder_times};

/// The surroundings of a walk.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    /// Absolute and free of links.
    pub(crate) root: &'a Path,
    pub(crate) fd: BorrowedFd<'a>,
    pub(crate) env: &'a Env,
    pub(crate) began: Time,
    pub(crate) around: Option<&'a Repository>,
}

/// A file of the universe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) path: String,
    pub(crate) tracked: bool,
    /// Whether it is executable, if that does not depend on its mode on disk.
    pub(crate) executable: Option<bool>,
}

/// The result of listing, unsorted.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) dirs: Vec<Dir>,
    pub(crate) files: Vec<Found>,
    pub(crate) left_out: Vec<LeftOut>,
    /// All guarded rules, old and new.
    pub(crate) rules: Guards,
    pub(crate) sources: Vec<Source>,
}

pub(crate) enum Relisted {
    Done(Box<Listing>),
    /// A full walk is needed.
    GaveUp,
}

/// One repository in the walk; the first stands for the surroundings of the root, even without a repository.
struct Repo {
    /// Its top folder, relative to the root.
    base: String,
    tracked: Tracked,
    /// What applies in its top folder.
    inside: Scope,
}

/// What applies to the entries of a folder.
#[derive(Clone)]
struct Scope {
    chain: Chain,
    /// Whether the folder is ignored, so that only tracked files count.
    ignored: bool,
    repo: usize,
}

enum Role {
    /// The top of a known repository.
    Top,
    /// A commit of another repository.
    Gitlink,
    Plain,
}

struct Todo {
    dir: String,
    /// Without the folder's own rules.
    scope: Scope,
    role: Role,
}

/// The stat of a folder before listing it (if settled) and its names.
type Names = (Option<Stat>, Vec<Name>);

struct Name {
    bytes: Vec<u8>,
    kind: FileType,
}

pub(crate) struct Walker<'a> {
    place: Place<'a>,
    settings: &'a Settings,
    /// The root's path in the repository around it, with a trailing slash.
    prefix: Vec<u8>,
    repos: Vec<Repo>,
    todo: Vec<Todo>,
    out: Listing,
    keeps_times: HashMap<u64, bool>,
    /// When relisting: the folders in the memo.
    known: Option<HashSet<&'a str>>,
    gave_up: bool,
}

impl<'a> Walker<'a> {
    pub(crate) fn walk(place: Place<'a>, settings: &'a Settings) -> Result<Listing, SnapshotError> {
        let mut walker = Self::new(place, settings);
        walker.enter_root()?;
        let scope = walker.repos[0].inside.clone();
        walker.todo.push(Todo {
            dir: String::new(),
            scope,
            role: Role::Top,
        });
        walker.drain()?;
        Ok(walker.out)
    }

    /// Lists the folders `dirs` of a memo with head `head`, and folders below them that are not in the memo. `known`
    /// holds the folders of the memo that still exist.
    pub(crate) fn relist(
        place: Place<'a>,
        head: &'a Head,
        dirs: &[&str],
        known: HashSet<&'a str>,
    ) -> Result<Relisted, SnapshotError> {
        let mut walker = Self::new(place, &head.settings);
        walker.out.rules.clone_from(&head.rules);
        walker.known = Some(known);
        walker.enter_root()?;
        for source in head.sources.iter().filter(|s| !s.base.is_empty()) {
            walker.enter_submodule(&source.base, source.repository.clone())?;
        }
        // The sources were checked before; the next run sees an index that changes now.
        walker.out.sources.clone_from(&head.sources);
        let mut scopes = HashMap::new();
        for dir in dirs {
            let (scope, role) = walker.scope_of(dir, &mut scopes);
            walker.todo.push(Todo {
                dir: (*dir).to_owned(),
                scope,
                role,
            });
        }
        walker.drain()?;
        Ok(if walker.gave_up {
            Relisted::GaveUp
        } else {
            Relisted::Done(Box::new(walker.out))
        })
    }

    fn new(place: Place<'a>, settings: &'a Settings) -> Self {
        Self {
            place,
            settings,
            prefix: place
                .around
                .map(|repository| repository.prefix_of(place.root))
                .unwrap_or_default(),
            repos: Vec::new(),
            todo: Vec::new(),
            out: Listing::default(),
            keeps_times: HashMap::new(),
            known: None,
            gave_up: false,
        }
    }

    fn drain(&mut self) -> Result<(), SnapshotError> {
        while let Some(todo) = self.todo.pop() {
            self.list(todo)?;
            if self.gave_up {
                break;
            }
        }
        Ok(())
    }

    /// The repository around the root, with the rules of the folders above the root.
    fn enter_root(&mut self) -> Result<(), SnapshotError> {
        let mut inside = Scope {
            chain: None,
            ignored: false,
            repo: 0,
        };
        let mut tracked = Tracked::default();
        if let Some(repository) = self.place.around {
            let prefix = self.prefix.clone();
            tracked = self.read_source("", repository, &prefix)?;
            inside.chain = self.common_rules(repository, 0);
            let slashes = prefix.iter().enumerate().filter(|(_, byte)| **byte == b'/');
            let mut start = 0;
            let mut folder = repository.top.clone();
            for (end, _) in slashes {
                inside.chain = self.own_rules(inside.chain, &folder, start);
                let path = prefix.get(..end).unwrap_or_default();
                inside.ignored |= rules::excludes(&inside.chain, path, true);
                folder = repository.top.join(os_path(path));
                start = end + 1;
            }
        }
        self.repos.push(Repo {
            base: String::new(),
            tracked,
            inside,
        });
        Ok(())
    }

    fn enter_submodule(
        &mut self,
        base: &str,
        repository: Repository,
    ) -> Result<Scope, SnapshotError> {
        let add = format!("{base}/");
        // If `.git` is a file, its content leads to the repository.
        self.load(repository.top.join(".git"));
        let tracked = self.read_source(&add, &repository, b"")?;
        let inside = Scope {
            chain: self.common_rules(&repository, self.prefix.len() + add.len()),
            ignored: false,
            repo: self.repos.len(),
        };
        self.repos.push(Repo {
            base: base.to_owned(),
            tracked,
            inside: inside.clone(),
        });
        Ok(inside)
    }

    /// Reads a repository's tracked paths. `add` is its path in the project with a trailing slash, or empty.
    fn read_source(
        &mut self,
        add: &str,
        repository: &Repository,
        strip: &[u8],
    ) -> Result<Tracked, SnapshotError> {
        // Taken before reading, so that a change in between shows.
        let index = Stat::of(&repository.index()).ok();
        let tracked = repository.tracked(strip, add.as_bytes(), self.place.env)?;
        self.out.sources.push(Source {
            base: add.trim_end_matches('/').to_owned(),
            repository: repository.clone(),
            index: index.filter(|stat| stat.is_settled(self.place.began)),
            tracked: tracked.digest(),
        });
        Ok(tracked)
    }

    /// `core.excludesFile`, then `info/exclude`: the rules of lowest priority.
    fn common_rules(&mut self, repository: &Repository, base: usize) -> Chain {
        let mut chain = None;
        let files = self.settings.excludes_file.clone();
        for file in files.into_iter().chain([repository.info_exclude()]) {
            let text = self.load(file);
            chain = rules::in_front(chain, &text, base, self.settings.ignore_case);
        }
        chain
    }

    /// Puts the rules of a folder's `.gitignore` in front of a chain.
    fn own_rules(&mut self, behind: Chain, folder: &Path, base: usize) -> Chain {
        let text = self.load(folder.join(".gitignore"));
        rules::in_front(behind, &text, base, self.settings.ignore_case)
    }

    /// The content of an ignore file, which is guarded from now on.
    fn load(&mut self, path: PathBuf) -> Vec<u8> {
        match self.out.rules.get(&path) {
            Some(State::Absent) => Vec::new(),
            Some(State::Present { .. }) => crate::fs::read(&path).unwrap_or_default(),
            None => {
                let (state, text) = guard::observe(&path, self.place.began);
                self.out.rules.insert(path, state);
                text
            }
        }
    }

    /// When relisting: what applies to a folder of the memo, except its own rules.
    fn scope_of(&mut self, dir: &str, inside: &mut HashMap<String, Scope>) -> (Scope, Role) {
        if let Some(repo) = self.repos.iter().find(|repo| repo.base == dir) {
            return (repo.inside.clone(), Role::Top);
        }
        let parent = dir.rsplit_once('/').map_or("", |(parent, _)| parent);
        let mut scope = self.scope_inside(parent, inside);
        if self.repos[scope.repo].tracked.is_gitlink(dir.as_bytes()) {
            return (scope, Role::Gitlink);
        }
        scope.ignored = scope.ignored || rules::excludes(&scope.chain, &self.full(dir), true);
        (scope, Role::Plain)
    }

    fn scope_inside(&mut self, dir: &str, inside: &mut HashMap<String, Scope>) -> Scope {
        if let Some(scope) = inside.get(dir) {
            return scope.clone();
        }
        let (mut scope, _) = self.scope_of(dir, inside);
        let folder = self.place.root.join(dir);
        if !scope.ignored && self.out.rules.contains_key(&folder.join(".gitignore")) {
            scope.chain = self.own_rules(scope.chain, &folder, self.base_of(dir));
        }
        inside.insert(dir.to_owned(), scope.clone());
        scope
    }

    /// A project path as the rules see it: relative to the top of the repository around it.
    fn full(&self, path: &str) -> Vec<u8> {
        [self.prefix.as_slice(), path.as_bytes()].concat()
    }

    /// Length of a folder's path as the rules see it, with trailing slash.
    fn base_of(&self, dir: &str) -> usize {
        self.prefix.len() + if dir.is_empty() { 0 } else { dir.len() + 1 }
    }

    fn list(&mut self, todo: Todo) -> Result<(), SnapshotError> {
        let Some((stat, names)) = self.read(&todo)? else {
            return Ok(());
        };
        let has_git = names.iter().any(|name| name.bytes == b".git");
        let mut row = Dir {
            stat,
            path: todo.dir,
        };
        let Some(mut scope) = self.enter(todo.role, todo.scope, has_git, &mut row)? else {
            self.out.dirs.push(row);
            return Ok(());
        };
        if !scope.ignored && names.iter().any(Name::is_rules) {
            let folder = self.place.root.join(&row.path);
            let new = !self.out.rules.contains_key(&folder.join(".gitignore"));
            if new && self.knows(&row.path) && Rule::NewIgnoreFile.holds() {
                self.gave_up = true;
                return Ok(());
            }
            scope.chain = self.own_rules(scope.chain, &folder, self.base_of(&row.path));
        }
        let mut path = self.full(&row.path);
        if !row.path.is_empty() {
            path.push(b'/');
        }
        let length = path.len();
        for name in names.iter().filter(|name| name.bytes != b".git") {
            path.truncate(length);
            path.extend_from_slice(&name.bytes);
            self.sort_in(&row.path, &path, name.kind, &scope);
        }
        self.out.dirs.push(row);
        Ok(())
    }

    fn knows(&self, dir: &str) -> bool {
        self.known.as_ref().is_some_and(|known| known.contains(dir))
    }

    /// What applies inside a folder; `None` if it is not entered.
    fn enter(
        &mut self,
        role: Role,
        scope: Scope,
        has_git: bool,
        row: &mut Dir,
    ) -> Result<Option<Scope>, SnapshotError> {
        let dir = row.path.as_str();
        match role {
            Role::Top => {
                self.gave_up |= !has_git && !dir.is_empty();
                Ok(Some(scope))
            }
            Role::Gitlink if !has_git => Ok(None),
            Role::Plain if !has_git => Ok(Some(scope)),
            Role::Gitlink => match Repository::at(&self.place.root.join(dir)) {
                Some(_) if self.known.is_some() => {
                    self.gave_up = true;
                    Ok(None)
                }
                Some(repository) => self.enter_submodule(dir, repository).map(Some),
                None => {
                    row.stat = None;
                    Ok(None)
                }
            },
            Role::Plain => {
                if self.repos[scope.repo].tracked.has_below(dir.as_bytes()) {
                    return Ok(Some(scope));
                }
                if Repository::at(&self.place.root.join(dir)).is_none() {
                    // It may become a repository without a change to this folder.
                    row.stat = None;
                    return Ok(Some(scope));
                }
                // What the memo has below it would have to be dropped.
                self.gave_up |= self.knows(dir);
                let owner = dir.to_owned();
                self.left_out(dir.as_bytes(), Reason::Repository, owner);
                Ok(None)
            }
        }
    }

    /// Decides about one entry of `dir`. `path` is the entry's path as the rules see it.
    fn sort_in(&mut self, dir: &str, path: &[u8], kind: FileType, scope: &Scope) {
        let below = path.get(self.prefix.len()..).unwrap_or_default();
        let kind = match kind {
            FileType::Unknown => match Stat::at(self.place.fd, below) {
                Ok(stat) => stat.file_type(),
                Err(_) => return,
            },
            kind => kind,
        };
        let is_dir = kind == FileType::Directory;
        let tracked = &self.repos[scope.repo].tracked;
        let listed = tracked.contains(below);
        let gitlink = is_dir && listed && tracked.is_gitlink(below);
        let ours = gitlink
            || if is_dir {
                tracked.has_below(below)
            } else {
                listed
            };
        let ignored = !gitlink
            && (is_dir || !ours)
            && (scope.ignored || rules::excludes(&scope.chain, path, is_dir));
        if ignored && !ours {
            return;
        }
        let Ok(text) = std::str::from_utf8(below) else {
            return self.left_out(below, Reason::NotUtf8, dir.to_owned());
        };
        match kind {
            FileType::Directory if self.knows(text) => {}
            FileType::Directory => self.todo.push(Todo {
                dir: text.to_owned(),
                scope: Scope {
                    ignored,
                    ..scope.clone()
                },
                role: if gitlink { Role::Gitlink } else { Role::Plain },
            }),
            FileType::RegularFile | FileType::Symlink => self.out.files.push(Found {
                path: text.to_owned(),
                tracked: listed,
                executable: (self.settings.modes_of_index).then(|| tracked.is_executable(below)),
            }),
            _ => self.left_out(below, Reason::Special, dir.to_owned()),
        }
    }

    fn left_out(&mut self, path: &[u8], reason: Reason, owner: String) {
        let display = String::from_utf8_lossy(path).into_owned();
        let holder = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        let dir = std::str::from_utf8(path.get(..holder).unwrap_or_default())
            .ok()
            .and_then(|dir| RelPath::new(dir).ok())
            .unwrap_or_default();
        self.out.left_out.push(LeftOut {
            display,
            dir,
            reason,
            owner,
        });
    }

    /// The names in a folder; `None` if it is gone or left out.
    fn read(&mut self, todo: &Todo) -> Result<Option<Names>, SnapshotError> {
        match self.open_and_read(&todo.dir) {
            Ok(read) => Ok(Some(read)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if !todo.dir.is_empty() => Ok(None),
            Err(error) if todo.dir.is_empty() => Err(SnapshotError::Root {
                path: self.place.root.to_path_buf(),
                source: error.into(),
            }),
            Err(_) => {
                let path = todo.dir.as_bytes();
                self.left_out(path, Reason::Unreadable, todo.dir.clone());
                self.out.dirs.push(Dir {
                    path: todo.dir.clone(),
                    stat: None,
                });
                Ok(None)
            }
        }
    }

    fn open_and_read(&mut self, dir: &str) -> Result<Names, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let path = if dir.is_empty() { "." } else { dir };
        let folder = rustix::fs::openat(self.place.fd, path, flags, Mode::empty())?;
        let stat = Stat::from(rustix::fs::fstat(&folder)?);
        let settled = stat.is_settled(self.place.began) && self.keeps_times(stat.dev(), &folder);
        Ok((settled.then_some(stat), names(folder)?))
    }

    fn keeps_times(&mut self, dev: u64, folder: &OwnedFd) -> bool {
        *self
            .keeps_times
            .entry(dev)
            .or_insert_with(|| keeps_folder_times(folder.as_fd()))
    }
}

impl Name {
    fn is_rules(&self) -> bool {
        self.bytes == b".gitignore"
    }
}

fn names(folder: OwnedFd) -> Result<Vec<Name>, Errno> {
    let mut names = Vec::new();
    for entry in Reading::new(folder)? {
        let entry = entry?;
        let bytes = entry.file_name().to_bytes();
        if !matches!(bytes, b"." | b"..") {
            names.push(Name {
                bytes: bytes.to_vec(),
                kind: entry.file_type(),
            });
        }
    }
    Ok(names)
}

fn os_path(bytes: &[u8]) -> &Path {
    use std::os::unix::ffi::OsStrExt as _;
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}
