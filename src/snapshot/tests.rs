//! Snapshots of real folders, with git itself as the judge of what belongs to them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::*;
use crate::testing::damaged;

/// A project in a temporary folder, with a home and a memo folder beside it.
struct Project {
    folder: tempfile::TempDir,
    root: PathBuf,
}

impl Project {
    fn plain() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap().join("project");
        fs::create_dir(&root).unwrap();
        fs::create_dir(folder.path().join("memo")).unwrap();
        Self { folder, root }
    }

    fn git() -> Self {
        let project = Self::plain();
        project.run(&["init", "-q"]);
        project
    }

    fn env(&self) -> Env {
        let home = self.folder.path().to_str().unwrap();
        Env::from_pairs(&[("HOME", home), ("PATH", &std::env::var("PATH").unwrap())])
    }

    fn memo(&self) -> PathBuf {
        self.folder.path().join("memo")
    }

    fn run(&self, args: &[&str]) -> Vec<u8> {
        self.run_in("", args)
    }

    fn run_in(&self, dir: &str, args: &[&str]) -> Vec<u8> {
        let fixed = [
            "-c",
            "user.name=n",
            "-c",
            "user.email=e",
            "-c",
            "protocol.file.allow=always",
        ];
        let output = Command::new("git")
            .args(fixed)
            .args(args)
            .current_dir(self.root.join(dir))
            .env_clear()
            .envs(self.env().all())
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {args:?}: {stderr}");
        output.stdout
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn remove(&self, path: &str) {
        fs::remove_file(self.root.join(path)).unwrap();
    }

    /// Takes a snapshot as if it were later, so that all times have settled; and lets the file clock move on, so that
    /// no later change can have a time that was recorded.
    fn take_later(&self) -> Snapshot {
        let snapshot = take::take_at(&self.root, &self.memo(), &self.env(), later()).unwrap();
        let stamp = || {
            let probe = self.folder.path().join("probe");
            fs::write(&probe, "").unwrap();
            fs::metadata(&probe).unwrap().modified().unwrap()
        };
        let now = stamp();
        while stamp() == now {}
        snapshot
    }

    fn take(&self) -> Snapshot {
        Snapshot::take(&self.root, &self.memo(), &self.env()).unwrap()
    }

    fn take_without_memo(&self) -> Snapshot {
        let nowhere = Path::new("/dev/null/memo");
        Snapshot::take(&self.root, nowhere, &self.env()).unwrap()
    }

    /// A memo is made, all of it settled; then nothing is listed or hashed.
    fn settle(&self) {
        self.take_later();
        let fresh = self.take_later();
        assert_eq!(fresh.effort(), Effort::default());
    }

    /// What git would consider and is there.
    fn expected(&self) -> Vec<String> {
        let args = ["ls-files", "-z", "-co", "--exclude-standard"];
        let mut paths: Vec<String> = self
            .run(&args)
            .split(|byte| *byte == 0)
            .filter(|path| !path.is_empty() && !path.ends_with(b"/"))
            .map(|path| String::from_utf8(path.to_vec()).unwrap())
            .filter(|path| self.is_file(path))
            .collect();
        paths.sort();
        paths.dedup();
        paths
    }

    /// A link on the way makes a path not the project's.
    fn is_file(&self, path: &str) -> bool {
        let rel = RelPath::new(path).unwrap();
        let through_link = rel
            .ancestors()
            .any(|dir| dir.under(&self.root).is_symlink());
        let meta = fs::symlink_metadata(rel.under(&self.root));
        !through_link && meta.is_ok_and(|meta| !meta.is_dir())
    }

    /// The universe is git's, with a memo as without, and so are the digests.
    fn check(&self) {
        let snapshot = self.take_later();
        assert_eq!(paths(&snapshot), self.expected());
        assert_eq!(snapshot.entries(), self.take_without_memo().entries());
    }
}

fn later() -> Time {
    Time::of(SystemTime::now() + Duration::from_secs(60))
}

fn paths(snapshot: &Snapshot) -> Vec<&str> {
    snapshot.entries().iter().map(|e| e.path.as_str()).collect()
}

fn reasons(snapshot: &Snapshot) -> Vec<(&str, Reason)> {
    let left_out = snapshot.left_out().iter();
    left_out
        .map(|odd| (odd.display.as_str(), odd.reason))
        .collect()
}

#[test]
fn an_unchanged_tree_is_neither_listed_nor_hashed() {
    let project = Project::git();
    project.write("a/b/c.txt", "c");
    project.write("d.txt", "d");
    let first = project.take_later();
    assert_eq!(
        first.effort(),
        Effort {
            listed: 3,
            hashed: 2
        }
    );
    let second = project.take_later();
    assert_eq!(second.effort(), Effort::default());
    assert_eq!(first.entries(), second.entries());
    assert_eq!(second.read(0).unwrap(), b"c");
}

#[test]
fn an_edit_hashes_one_file_and_a_new_file_lists_one_folder() {
    let project = Project::git();
    project.write("a/b/c.txt", "c");
    project.write("a/d.txt", "d");
    project.settle();
    project.write("a/d.txt", "D");
    assert_eq!(
        project.take_later().effort(),
        Effort {
            listed: 0,
            hashed: 1
        }
    );
    project.write("a/b/new.txt", "n");
    let snapshot = project.take_later();
    assert_eq!(
        snapshot.effort(),
        Effort {
            listed: 1,
            hashed: 1
        }
    );
    assert_eq!(paths(&snapshot), ["a/b/c.txt", "a/b/new.txt", "a/d.txt"]);
}

#[test]
fn what_was_written_just_before_is_not_believed_next_time() {
    let project = Project::git();
    project.write("a.txt", "a");
    let began = Time::now();
    take::take_at(&project.root, &project.memo(), &project.env(), began).unwrap();
    let again = project.take_later();
    assert_eq!(
        again.effort(),
        Effort {
            listed: 1,
            hashed: 1
        }
    );
}

#[test]
fn an_edit_of_the_same_size_with_kept_mtime_is_seen() {
    let project = Project::git();
    project.write("a.txt", "old");
    let path = project.root.join("a.txt");
    let mtime = fs::metadata(&path).unwrap().modified().unwrap();
    project.settle();
    fs::write(&path, "new").unwrap();
    let file = fs::File::options().append(true).open(&path).unwrap();
    file.set_modified(mtime).unwrap();
    assert_eq!(project.take().entries()[0].digest, Digest::of(b"new"));
}

#[test]
fn a_touched_file_keeps_its_digest() {
    let project = Project::git();
    project.write("a.txt", "a");
    project.settle();
    project.write("a.txt", "a");
    let snapshot = project.take_later();
    assert_eq!(snapshot.effort().hashed, 1);
    assert_eq!(snapshot.entries()[0].digest, Digest::of(b"a"));
    project.settle();
}

#[test]
fn kinds_are_seen_and_links_are_not_followed() {
    let project = Project::git();
    project.write("dir/file", "text");
    project.write("run", "text");
    let mode =
        |mode| fs::set_permissions(project.root.join("run"), fs::Permissions::from_mode(mode));
    mode(0o644).unwrap();
    symlink("dir", project.root.join("link")).unwrap();
    symlink("loop", project.root.join("loop")).unwrap();
    project.settle();
    mode(0o755).unwrap();
    let snapshot = project.take_later();
    let kinds: Vec<_> = snapshot
        .entries()
        .iter()
        .map(|e| (e.path.as_str(), e.kind))
        .collect();
    let expect = [
        ("dir/file", Kind::File),
        ("link", Kind::Symlink),
        ("loop", Kind::Symlink),
        ("run", Kind::Executable),
    ];
    assert_eq!(kinds, expect);
    assert_eq!(snapshot.read(1).unwrap(), b"dir");
    assert_eq!(snapshot.entries()[2].digest, Digest::of(b"loop"));
    project.check();
}

#[test]
fn where_git_ignores_modes_on_disk_those_of_the_index_count() {
    let project = Project::git();
    let files = ["script", "text", "untracked"];
    let chmod = |mode| {
        for path in files {
            let mode = fs::Permissions::from_mode(mode);
            fs::set_permissions(project.root.join(path), mode).unwrap();
        }
    };
    let is_executable = |expect: [bool; 3]| {
        let snapshot = project.take_later();
        let kinds = snapshot.entries().iter().map(|entry| entry.kind);
        let found: Vec<bool> = kinds.map(|kind| kind == Kind::Executable).collect();
        assert_eq!(found, expect);
        project.check();
    };
    for path in files {
        project.write(path, path);
    }
    project.run(&["add", "script", "text"]);
    project.run(&["update-index", "--chmod=+x", "script"]);
    chmod(0o755);
    is_executable([true, true, true]);
    project.run(&["config", "core.fileMode", "false"]);
    is_executable([true, false, false]);
    project.settle();
    chmod(0o644);
    is_executable([true, false, false]);
    project.run(&["update-index", "--chmod=+x", "text"]);
    is_executable([true, true, false]);
    project.write("new", "");
    project.remove("new");
    project.settle();
    is_executable([true, true, false]);
    project.run(&["config", "core.fileMode", "true"]);
    is_executable([false, false, false]);
}

#[test]
fn changes_of_names_deep_inside_are_seen() {
    let project = Project::git();
    project.write("a/b/c/x", "x");
    project.write("a/b/d/y", "y");
    project.write("a-b/z", "z");
    project.settle();
    fs::rename(project.root.join("a/b/c/x"), project.root.join("a/b/c/w")).unwrap();
    project.check();
    fs::rename(project.root.join("a/b/d"), project.root.join("a/e")).unwrap();
    project.check();
    project.remove("a/b/c/w");
    project.check();
    fs::rename(project.root.join("a/b"), project.root.join("moved")).unwrap();
    symlink("../moved", project.root.join("a/b")).unwrap();
    project.check();
    fs::remove_dir_all(project.root.join("a")).unwrap();
    project.write("a", "a file now");
    project.check();
}

#[test]
fn rules_from_everywhere_count_and_their_edits_are_seen() {
    let project = Project::git();
    project.write(".gitignore", "*.log\n/out/\n!keep.log\n");
    project.write("sub/.gitignore", "!a.log\n*.tmp\n");
    for file in [
        "a.log",
        "keep.log",
        "sub/a.log",
        "sub/b.log",
        "sub/x.tmp",
        "out/f",
        "x/out/f",
        "e.ex",
        "e.glob",
    ] {
        project.write(file, file);
    }
    project.settle();
    project.check();
    fs::create_dir_all(project.root.join(".git/info")).unwrap();
    project.write(".git/info/exclude", "*.ex\n");
    project.check();
    fs::create_dir_all(project.folder.path().join(".config/git")).unwrap();
    fs::write(
        project.folder.path().join(".config/git/ignore"),
        "/e.glob\n",
    )
    .unwrap();
    project.check();
    project.run(&["config", "core.excludesFile", "~/mine"]);
    project.check();
    fs::write(project.folder.path().join("mine"), "keep.log\nsub/b*\n").unwrap();
    project.check();
    project.write("sub/.gitignore", "");
    project.check();
    project.remove(".gitignore");
    project.check();
    project.write("x/.gitignore", "*");
    project.check();
}

#[test]
fn tracked_files_count_though_ignored_until_they_are_not_tracked() {
    let project = Project::git();
    project.write(".gitignore", "/out\n");
    project.write("out/deep/kept", "k");
    project.write("out/deep/other", "o");
    project.run(&["add", "-f", "out/deep/kept", ".gitignore"]);
    project.check();
    project.settle();
    project.write("out/deep/more", "m");
    project.check();
    project.run(&["rm", "-q", "--cached", "out/deep/kept"]);
    project.check();
    assert_eq!(paths(&project.take()), [".gitignore"]);
}

#[test]
fn a_commit_lists_nothing() {
    let project = Project::git();
    project.write("a", "a");
    project.run(&["add", "a"]);
    project.settle();
    project.run(&["commit", "-q", "-m", "m"]);
    project.write("a", "b");
    project.run(&["add", "a"]);
    assert_eq!(
        project.take_later().effort(),
        Effort {
            listed: 0,
            hashed: 1
        }
    );
}

#[test]
fn every_version_of_the_index_is_read() {
    for object_format in ["sha1", "sha256"] {
        let project = Project::plain();
        project.run(&["init", "-q", "--object-format", object_format]);
        project.write(".gitignore", "*");
        let long = format!("dir/{}/file", "n".repeat(200));
        for file in ["a", "dir/b", "dir-c", "dir/sub/d", &long] {
            project.write(file, file);
            project.run(&["add", "-f", file]);
        }
        project.write("dir/later", "l");
        project.run(&["add", "-f", "--intent-to-add", "dir/later"]);
        project.run(&["update-index", "--skip-worktree", "a"]);
        for version in ["2", "3", "4"] {
            project.run(&["update-index", "--index-version", version]);
            let repository = Repository::at(&project.root).unwrap();
            let hash_len = if object_format == "sha1" { 20 } else { 32 };
            let bytes = fs::read(repository.index()).unwrap();
            let own = index::parse(&bytes, hash_len, b"", b"").unwrap();
            let staged = project.run(&["ls-files", "-z", "--stage"]);
            let gits = index::parse_ls_files(&staged, b"", b"").unwrap();
            assert_eq!(
                own.digest(),
                gits.digest(),
                "{object_format}, version {version}"
            );
            assert_eq!(own.paths().count(), 6);
            project.check();
        }
    }
}

#[test]
fn a_split_or_sparse_index_is_left_to_git() {
    let project = Project::git();
    for file in ["a/x", "b/y", "c"] {
        project.write(file, file);
    }
    project.run(&["add", "."]);
    project.run(&["commit", "-q", "-m", "m"]);
    project.run(&["update-index", "--split-index"]);
    let index = fs::read(project.root.join(".git/index")).unwrap();
    assert!(index::parse(&index, 20, b"", b"").is_err());
    project.check();
    project.run(&["update-index", "--no-split-index"]);
    project.run(&["sparse-checkout", "set", "--cone", "--sparse-index", "a"]);
    let index = fs::read(project.root.join(".git/index")).unwrap();
    assert!(index::parse(&index, 20, b"", b"").is_err());
    project.check();
    assert_eq!(paths(&project.take()), ["a/x", "c"]);
}

#[test]
fn a_conflicted_path_counts_once() {
    let project = Project::git();
    let blob = |text: &str| {
        project.write("f", text);
        String::from_utf8(project.run(&["hash-object", "-w", "f"])).unwrap()
    };
    let (a, b) = (blob("a"), blob("b"));
    let info = format!("100644 {} 2\tf\n100644 {} 3\tf\n", a.trim(), b.trim());
    fs::write(project.folder.path().join("info"), info).unwrap();
    let mut child = Command::new("git")
        .args(["update-index", "--index-info"])
        .current_dir(&project.root)
        .stdin(fs::File::open(project.folder.path().join("info")).unwrap())
        .spawn()
        .unwrap();
    assert!(child.wait().unwrap().success());
    project.check();
    assert_eq!(paths(&project.take()), ["f"]);
}

#[test]
fn a_plain_folder_has_its_ignore_files_only() {
    let project = Project::plain();
    assert_eq!(project.take().entries(), []);
    project.write(".gitignore", "*.log\n");
    project.write("a.log", "");
    project.write("sub/b", "b");
    let snapshot = project.take_later();
    assert_eq!(paths(&snapshot), [".gitignore", "sub/b"]);
    project.settle();
    project.run(&["init", "-q"]);
    project.write(".git/info/exclude", "b");
    project.check();
}

#[test]
fn a_linked_work_tree_has_its_own_index_and_the_common_rules() {
    let project = Project::git();
    project.write("a", "a");
    project.write("sub/b.ex", "b");
    project.run(&["add", "."]);
    project.run(&["commit", "-q", "-m", "m"]);
    project.write(".git/info/exclude", "*.ex\n");
    project.run(&["worktree", "add", "-q", "../tree"]);
    let tree = Project {
        root: project.root.parent().unwrap().join("tree"),
        ..project
    };
    tree.write("other.ex", "");
    tree.check();
    assert_eq!(paths(&tree.take()), ["a", "sub/b.ex"]);
    tree.run(&["rm", "-q", "--cached", "sub/b.ex"]);
    tree.check();
}

#[test]
fn a_root_inside_a_repository_obeys_the_rules_above() {
    let project = Project::git();
    project.write(".gitignore", "*.log\n/top/mid/out\nignored\n");
    project.write("top/.gitignore", "!b.log\n");
    for file in ["a.log", "b.log", "out/x", "in/x", "in/a.log"] {
        project.write(&format!("top/mid/{file}"), file);
    }
    project.write("ignored/untracked", "u");
    project.write("ignored/tracked", "t");
    project.run(&["add", "-f", "top/mid/in/a.log", "ignored/tracked"]);
    let Project { folder, root } = project;
    let top = Project {
        folder,
        root: root.join("top/mid"),
    };
    top.check();
    top.settle();
    assert_eq!(paths(&top.take()), ["b.log", "in/a.log", "in/x"]);
    fs::write(root.join("top/.gitignore"), "").unwrap();
    top.check();
    let inside = Project {
        root: root.join("ignored"),
        ..top
    };
    inside.check();
    assert_eq!(paths(&inside.take()), ["tracked"]);
}

#[test]
fn submodules_bring_their_own_index_and_rules() {
    let project = Project::git();
    project.write(".gitignore", "*.log\n");
    project.write("../lib/x.log", "x");
    project.write("../lib/.gitignore", "*.tmp\n");
    project.run_in("../lib", &["init", "-q"]);
    project.run_in("../lib", &["add", "."]);
    project.run_in("../lib", &["commit", "-q", "-m", "m"]);
    project.run(&["submodule", "--quiet", "add", "../lib", "sub/lib"]);
    project.write("sub/lib/a.tmp", "");
    project.write("sub/lib/b.log", "b");
    let expect = [
        ".gitignore",
        ".gitmodules",
        "sub/lib/.gitignore",
        "sub/lib/b.log",
        "sub/lib/x.log",
    ];
    let snapshot = project.take_later();
    assert_eq!(paths(&snapshot), expect);
    assert_eq!(snapshot.submodules(), [RelPath::new("sub/lib").unwrap()]);
    project.settle();
    project.write("sub/lib/c", "c");
    assert!(project.take_later().find("sub/lib/c").is_some());
    project.run(&["submodule", "--quiet", "deinit", "-f", "sub/lib"]);
    let snapshot = project.take_later();
    assert_eq!(paths(&snapshot), expect[..2]);
    assert!(snapshot.submodules().is_empty());
    project.run(&["submodule", "--quiet", "update", "--init"]);
    assert!(project.take_later().find("sub/lib/x.log").is_some());
}

#[test]
fn odd_entries_are_left_out_and_named_each_time() {
    let project = Project::git();
    project.write(".gitignore", "*.sock\n");
    project.write("dir/a", "a");
    project.write("nested/x", "x");
    project.run_in("nested", &["init", "-q"]);
    let fifo = |path: &str| {
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        let kind = FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, project.root.join(path), kind, mode, 0).unwrap();
    };
    fifo("dir/fifo");
    fifo("ignored.sock");
    let odd_name = std::ffi::OsStr::from_bytes(b"dir/n\xFF");
    fs::write(project.root.join(odd_name), "").unwrap();
    let expect = [
        ("dir/fifo", Reason::Special),
        ("dir/n\u{FFFD}", Reason::NotUtf8),
        ("nested", Reason::Repository),
    ];
    assert_eq!(reasons(&project.take_later()), expect);
    let again = project.take_later();
    assert_eq!(
        (reasons(&again), again.effort()),
        (expect.to_vec(), Effort::default())
    );
    assert_eq!(paths(&again), [".gitignore", "dir/a"]);
    assert_eq!(again.left_out()[0].dir.as_str(), "dir");
    fs::remove_dir_all(project.root.join("nested/.git")).unwrap();
    project.remove("dir/fifo");
    let snapshot = project.take_later();
    assert_eq!(reasons(&snapshot), expect[1..2]);
    assert!(snapshot.find("nested/x").is_some());
}

#[test]
fn a_memo_folder_that_cannot_be_written_is_harmless() {
    let project = Project::git();
    project.write("a", "a");
    let snapshot = project.take_without_memo();
    assert_eq!(paths(&snapshot), ["a"]);
    assert_eq!(paths(&project.take()), ["a"]);
}

#[test]
fn a_root_that_is_no_folder_is_an_error_that_names_it() {
    let project = Project::plain();
    project.write("file", "");
    for name in ["file", "absent"] {
        let root = project.root.join(name);
        let error = Snapshot::take(&root, &project.memo(), &project.env()).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_damaged_index_is_an_error_that_names_the_repository() {
    let project = Project::git();
    project.write("a", "a");
    project.write(".git/index", "damaged");
    let error = Snapshot::take(&project.root, &project.memo(), &project.env()).unwrap_err();
    assert!(
        matches!(&error, SnapshotError::Git { path, .. } if *path == project.root),
        "{error}"
    );
}

/// One change of a tree, by small numbers.
#[derive(Debug, Clone)]
enum Change {
    Write(usize, usize),
    Remove(usize),
    Move(usize, usize),
    Link(usize, usize),
    Rules(usize, usize),
    Track(usize),
    Untrack(usize),
    Take,
}

const FOLDERS: [&str; 7] = ["", "a/", "a/b/", "a/b/c/", "a-x/", "out/", "out/a/"];
const NAMES: [&str; 6] = ["a", "b", "f.log", "g.tmp", "b.x", "keep.log"];
const RULES: [&str; 12] = [
    "",
    "*.log\n!keep.log\n",
    "/out\n",
    "out/\n!out/a\n",
    "a/b\n",
    "*\n!*/\n!a\n",
    "**/b\n",
    "a/**\n",
    "!*.log\n",
    "[ab].*\n",
    "b/*\n!b/c\n",
    "/*\n!/a\n!.gitignore\n",
];

fn change() -> impl Strategy<Value = Change> {
    let file = 0..FOLDERS.len() * NAMES.len();
    let folder = 0..FOLDERS.len();
    prop_oneof![
        4 => (file.clone(), 0..3_usize).prop_map(|(f, t)| Change::Write(f, t)),
        2 => file.clone().prop_map(Change::Remove),
        2 => (folder.clone(), folder.clone()).prop_map(|(a, b)| Change::Move(a, b)),
        1 => (file.clone(), file.clone()).prop_map(|(a, b)| Change::Link(a, b)),
        2 => (folder, 0..RULES.len()).prop_map(|(f, r)| Change::Rules(f, r)),
        2 => file.clone().prop_map(Change::Track),
        1 => file.prop_map(Change::Untrack),
        3 => Just(Change::Take),
    ]
}

fn file(at: usize) -> String {
    format!("{}{}", FOLDERS[at / NAMES.len()], NAMES[at % NAMES.len()])
}

impl Project {
    /// Does what can be done; what cannot is no change.
    fn apply(&self, change: &Change) {
        let at = |at: &usize| self.root.join(file(*at));
        let folder = |at: &usize| self.root.join(FOLDERS[*at].trim_end_matches('/'));
        let with_parent = |path: &Path| fs::create_dir_all(path.parent().unwrap());
        let done = match change {
            Change::Write(f, text) => {
                with_parent(&at(f)).and_then(|()| fs::write(at(f), TEXTS[*text]))
            }
            Change::Remove(f) => fs::remove_file(at(f)).or_else(|_| fs::remove_dir_all(at(f))),
            Change::Move(from, to) if *from > 0 && *to > 0 => {
                with_parent(&folder(to)).and_then(|()| fs::rename(folder(from), folder(to)))
            }
            Change::Link(from, to) => with_parent(&at(to)).and_then(|()| symlink(at(from), at(to))),
            Change::Rules(dir, rules) => {
                let path = folder(dir).join(".gitignore");
                with_parent(&path).and_then(|()| fs::write(path, RULES[*rules]))
            }
            Change::Track(f) if self.is_file(&file(*f)) => {
                self.run(&["add", "-f", &file(*f)]);
                Ok(())
            }
            Change::Untrack(f) => {
                self.run(&[
                    "rm",
                    "-f",
                    "-q",
                    "-r",
                    "--cached",
                    "--ignore-unmatch",
                    &file(*f),
                ]);
                Ok(())
            }
            Change::Take => {
                self.take_later();
                Ok(())
            }
            Change::Move(..) | Change::Track(_) => Ok(()),
        };
        done.ok();
    }
}

const TEXTS: [&str; 3] = ["one", "two", "longer"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn after_any_changes_the_universe_is_gits(changes in prop::collection::vec(change(), 1..40)) {
        let project = Project::git();
        for change in &changes {
            project.apply(change);
        }
        project.check();
        for change in changes.iter().rev() {
            project.apply(change);
        }
        project.check();
    }

    #[test]
    fn a_damaged_memo_is_harmless(
        at in any::<prop::sample::Index>(),
        flip in 1..=u8::MAX,
        cut in any::<bool>(),
    ) {
        let project = Project::plain();
        project.write("a/b", "b");
        let before = project.take_later();
        let memo = fs::read_dir(project.memo()).unwrap().next().unwrap().unwrap().path();
        let mut bytes = fs::read(&memo).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        bytes.truncate(if cut { at } else { bytes.len() });
        fs::write(&memo, bytes).unwrap();
        let after = project.take_later();
        prop_assert_eq!(after.entries(), before.entries());
        prop_assert_eq!(after.effort(), before.effort());
    }
}

proptest! {
    #[test]
    fn arbitrary_indexes_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        version in 1..6_u32,
        count in 0..4_u32,
    ) {
        let mut index = b"DIRC".to_vec();
        index.extend(version.to_be_bytes());
        index.extend(count.to_be_bytes());
        index.extend(&bytes);
        for bytes in [&bytes, &index] {
            index::parse(bytes, 20, b"", b"").ok();
            index::parse_ls_files(bytes, b"a/", b"b/").ok();
        }
    }

    #[test]
    fn nearly_right_indexes_are_read_in_order_or_not_at_all(bytes in damaged(&an_index())) {
        for hash_len in [20, 32] {
            if let Ok(tracked) = index::parse(&bytes, hash_len, b"", b"") {
                prop_assert!(tracked.paths().is_sorted_by(|a, b| a < b));
            }
        }
    }

    #[test]
    fn nearly_right_memos_never_panic(payload in damaged(&a_memo())) {
        memo::read_any(&payload);
    }

    #[test]
    fn arbitrary_memos_never_panic(payload in prop::collection::vec(any::<u8>(), 0..400)) {
        memo::read_any(&payload);
    }
}

proptest! {
    // Each case may start git.
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn whatever_stands_in_place_of_git_never_panics(
        dot_git in damaged(b"gitdir: elsewhere\n"),
        common in damaged(b"../..\n"),
        config in damaged(b"[core]\n\tbare = false\n[extensions]\n\tobjectFormat = sha256\n"),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("elsewhere");
        for below in ["objects", "refs"] {
            fs::create_dir_all(folder.join(below)).unwrap();
        }
        fs::write(dir.path().join(".git"), dot_git).unwrap();
        fs::write(folder.join("HEAD"), &common).unwrap();
        fs::write(folder.join("commondir"), common).unwrap();
        fs::write(folder.join("config"), &config).unwrap();
        fs::write(folder.join("index"), config).unwrap();
        Snapshot::take(dir.path(), &dir.path().join("memo"), &Env::default()).ok();
    }
}

/// An index as git writes it.
fn an_index() -> Vec<u8> {
    let project = Project::git();
    for path in ["a", "b/c", "b/d", "b.c", "ü"] {
        project.write(path, path);
    }
    project.run(&["add", "--all"]);
    fs::read(project.root.join(".git/index")).unwrap()
}

/// What is sealed in a memo of such a project.
fn a_memo() -> Vec<u8> {
    let project = Project::git();
    for path in ["a", "b/c", "b/d", ".gitignore"] {
        project.write(path, path);
    }
    project.take_later();
    let memo = fs::read_dir(project.memo())
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    fs::read(memo.path()).unwrap()[28..].to_vec()
}

#[test]
fn the_memo_is_not_rewritten_while_nothing_changes() {
    let project = Project::git();
    project.write("future", "f");
    let file = fs::File::options()
        .append(true)
        .open(project.root.join("future"))
        .unwrap();
    file.set_modified(SystemTime::now() + Duration::from_secs(3600))
        .unwrap();
    project.take_later();
    let contents = || -> BTreeMap<PathBuf, SystemTime> {
        let files = fs::read_dir(project.memo())
            .unwrap()
            .map(|entry| entry.unwrap());
        files
            .map(|f| (f.path(), f.metadata().unwrap().modified().unwrap()))
            .collect()
    };
    let before = contents();
    assert_eq!(project.take_later().effort().hashed, 1);
    assert_eq!(contents(), before);
}
