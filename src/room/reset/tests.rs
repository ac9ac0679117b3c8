use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::*;
use crate::room::manifest::nanos;

const FAR: Nanos = 4_000_000_000_000_000_000; // after every real time stamp

/// A folder that is reset again and again, with what its last reset knew.
struct Folder {
    dir: tempfile::TempDir,
    known: BTreeMap<String, Written>,
    kept: Vec<&'static str>,
    stamp: Nanos,
}

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let mut folder = Self {
            dir: tempfile::tempdir().unwrap(),
            known: BTreeMap::new(),
            kept: Vec::new(),
            stamp: 1_000_000_000,
        };
        folder.reset(files);
        folder
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("up")
    }

    /// Content starting with `->` is a link, with `#!` an executable.
    fn reset(&mut self, files: &[(&str, &str)]) {
        self.stamp += 1_000_000_000;
        let files = files.iter().map(|(path, text)| {
            let (kind, text) = match (text.strip_prefix("->"), text.starts_with("#!")) {
                (Some(target), _) => (Kind::Symlink, target),
                (None, true) => (Kind::Executable, *text),
                (None, false) => (Kind::File, *text),
            };
            let content = text.as_bytes().to_vec();
            let wanted = Wanted {
                kind,
                digest: Digest::of(&content),
                pass: Box::new(move |take| at(Path::new("content"), take(&content))),
            };
            ((*path).to_owned(), wanted)
        });
        let target = Target {
            files: files.collect(),
            folders: ["tree/.git".to_owned()].into(),
            kept: self.kept.iter().map(|path| (*path).to_owned()).collect(),
            watch: None,
        };
        self.known = reset(&self.root(), &target, &self.known, FAR, self.stamp)
            .unwrap()
            .files;
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    fn mtime(&self, path: &str) -> Nanos {
        let meta = self.path(path).symlink_metadata().unwrap();
        nanos(meta.mtime(), meta.mtime_nsec())
    }

    fn mode(&self, path: &str) -> u32 {
        self.path(path).symlink_metadata().unwrap().mode() & 0o7777
    }

    /// Everything in it but `.git`, as in `reset`, folders as `/`.
    fn list(&self) -> Vec<(String, String)> {
        walkdir::WalkDir::new(self.root())
            .min_depth(1)
            .sort_by_file_name()
            .into_iter()
            .map(|entry| {
                let entry = entry.unwrap();
                let path = entry.path();
                let text = if entry.file_type().is_dir() {
                    "/".to_owned()
                } else if entry.path_is_symlink() {
                    format!("->{}", fs::read_link(path).unwrap().to_string_lossy())
                } else {
                    fs::read_to_string(path).unwrap()
                };
                let rel = path.strip_prefix(self.root()).unwrap();
                (rel.to_str().unwrap().to_owned(), text)
            })
            .filter(|(path, _)| path != "tree" && path != "tree/.git")
            .collect()
    }

    fn check(&self, expect: &[(&str, &str)]) {
        let expect: Vec<_> = expect
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
            .collect();
        assert_eq!(self.list(), expect);
    }
}

#[test]
fn files_links_and_modes_are_made_whatever_the_umask() {
    let folder = Folder::new(&[
        ("tree/a", "text"),
        ("tree/b", "#!x"),
        ("tree/c", "->../../away"),
    ]);
    folder.check(&[
        ("tree/a", "text"),
        ("tree/b", "#!x"),
        ("tree/c", "->../../away"),
    ]);
    assert_eq!(
        (folder.mode("tree"), folder.mode("tree/.git")),
        (0o755, 0o755)
    );
    assert_eq!(
        (folder.mode("tree/a"), folder.mode("tree/b")),
        (0o644, 0o755)
    );
}

#[test]
fn leftovers_of_any_kind_are_deleted() {
    let files = [("tree/a", "a"), ("tree/d/x", "x")];
    let mut folder = Folder::new(&files);
    fs::create_dir_all(folder.path("tree/new/deep")).unwrap();
    fs::write(folder.path("tree/new/deep/file"), "").unwrap();
    fs::write(folder.path("above"), "").unwrap();
    fs::write(folder.path("tree/.git/config"), "").unwrap();
    std::os::unix::fs::symlink("/", folder.path("tree/d/link")).unwrap();
    #[cfg(target_os = "linux")] // others refuse such names
    fs::write(
        folder
            .path("tree")
            .join(std::ffi::OsStr::from_bytes(b"\xff")),
        "",
    )
    .unwrap();
    folder.reset(&files);
    folder.check(&[("tree/a", "a"), ("tree/d", "/"), ("tree/d/x", "x")]);
    assert_eq!(fs::read_dir(folder.path("tree/.git")).unwrap().count(), 0);
}

#[test]
fn changed_missing_and_remoded_files_are_mended() {
    let files = [("tree/a", "a"), ("tree/b", "b"), ("tree/c", "c")];
    let mut folder = Folder::new(&files);
    fs::write(folder.path("tree/a"), "A").unwrap();
    fs::remove_file(folder.path("tree/b")).unwrap();
    fs::set_permissions(folder.path("tree/c"), Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(folder.path("tree"), Permissions::from_mode(0o700)).unwrap();
    folder.reset(&files);
    folder.check(&files);
    assert_eq!((folder.mode("tree/c"), folder.mode("tree")), (0o644, 0o755));
}

#[test]
fn unchanged_files_keep_inode_and_time_and_changed_ones_are_newer() {
    let mut folder = Folder::new(&[("tree/a", "a"), ("tree/b", "b"), ("tree/l", "->a")]);
    let inode = |folder: &Folder, path: &str| folder.path(path).symlink_metadata().unwrap().ino();
    let (a, b, l) = (
        inode(&folder, "tree/a"),
        inode(&folder, "tree/b"),
        inode(&folder, "tree/l"),
    );
    let before = folder.mtime("tree/a");
    fs::hard_link(folder.path("tree/b"), folder.dir.path().join("held")).unwrap(); // keeps the inode from reuse
    folder.reset(&[("tree/a", "a"), ("tree/b", "B"), ("tree/l", "->a")]);
    assert_eq!((inode(&folder, "tree/a"), inode(&folder, "tree/l")), (a, l));
    assert_eq!(folder.mtime("tree/a"), before);
    assert_ne!(inode(&folder, "tree/b"), b);
    assert_eq!(folder.mtime("tree/b"), folder.stamp);
    assert_eq!(
        fs::read_to_string(folder.dir.path().join("held")).unwrap(),
        "b"
    );
}

#[test]
fn content_that_returns_is_newer_than_both_earlier_versions() {
    let mut folder = Folder::new(&[("tree/a", "1")]);
    folder.reset(&[("tree/a", "2")]);
    folder.reset(&[("tree/a", "1")]);
    assert_eq!(folder.mtime("tree/a"), folder.stamp);
}

#[test]
fn a_touched_file_of_right_content_is_newer_again() {
    let files = [("tree/a", "a")];
    let mut folder = Folder::new(&files);
    set_modified(&folder.path("tree/a"), SystemTime::UNIX_EPOCH).unwrap();
    folder.reset(&files);
    assert_eq!(folder.mtime("tree/a"), folder.stamp);
}

#[test]
fn an_edit_of_same_size_with_its_time_put_back_is_found() {
    let files = [("tree/a", "a")];
    let mut folder = Folder::new(&files);
    let time = fs::metadata(folder.path("tree/a"))
        .unwrap()
        .modified()
        .unwrap();
    fs::write(folder.path("tree/a"), "b").unwrap();
    set_modified(&folder.path("tree/a"), time).unwrap();
    // As if within one tick of the clock: the stat is that of the manifest.
    let meta = folder.path("tree/a").symlink_metadata().unwrap();
    let same = Written::new(Kind::File, Digest::of(b"a"), Stat::of(&meta));
    folder.known.insert("tree/a".to_owned(), same);
    let target = |text: &'static str| Target {
        files: [(
            "tree/a".to_owned(),
            Wanted {
                kind: Kind::File,
                digest: Digest::of(text.as_bytes()),
                pass: Box::new(move |take| at(Path::new("text"), take(text.as_bytes()))),
            },
        )]
        .into(),
        ..Target::default()
    };
    let verified = nanos(meta.ctime(), meta.ctime_nsec());
    reset(
        &folder.root(),
        &target("a"),
        &folder.known,
        verified,
        folder.stamp,
    )
    .unwrap();
    folder.check(&files);
}

#[test]
fn file_folder_and_link_swap() {
    let one = [("tree/a", "file"), ("tree/b/c", "x"), ("tree/l", "->a")];
    let two = [("tree/a/c", "x"), ("tree/b", "->a"), ("tree/l", "file")];
    let mut folder = Folder::new(&one);
    folder.reset(&two);
    folder.check(&[
        ("tree/a", "/"),
        ("tree/a/c", "x"),
        ("tree/b", "->a"),
        ("tree/l", "file"),
    ]);
    folder.reset(&one);
    folder.check(&[
        ("tree/a", "file"),
        ("tree/b", "/"),
        ("tree/b/c", "x"),
        ("tree/l", "->a"),
    ]);
}

#[test]
fn a_link_put_in_place_of_a_parent_is_not_followed() {
    let files = [("tree/d/e/x", "x"), ("tree/out/in", "in")];
    let mut folder = Folder::new(&files);
    let outside = folder.dir.path().join("outside");
    fs::create_dir_all(outside.join("e")).unwrap();
    fs::write(outside.join("e/x"), "theirs").unwrap();
    fs::write(outside.join("gone"), "theirs").unwrap();
    fs::write(outside.join("in"), "theirs").unwrap();
    folder.kept = vec!["tree/out"];
    folder.reset(&files);
    for place in ["tree/d", "tree/out"] {
        remove(&folder.path(place)).unwrap();
        std::os::unix::fs::symlink(&outside, folder.path(place)).unwrap();
    }
    folder.known.insert(
        "tree/out/gone".to_owned(),
        folder.known["tree/out/in"].clone(),
    );
    folder.reset(&files);
    assert!(!folder.path("tree/d").is_symlink() && !folder.path("tree/out").is_symlink());
    for theirs in ["e/x", "gone", "in"] {
        assert_eq!(fs::read_to_string(outside.join(theirs)).unwrap(), "theirs");
    }
    assert_eq!(fs::read_to_string(folder.path("tree/d/e/x")).unwrap(), "x");
}

#[test]
fn kept_folders_keep_all_but_former_inputs() {
    let mut folder = Folder::new(&[("tree/a/target/in", "in"), ("tree/a/target/x/was", "was")]);
    folder.kept = vec!["tree/a/target"];
    fs::write(folder.path("tree/a/target/made"), "made").unwrap();
    fs::write(folder.path("tree/a/other"), "").unwrap();
    folder.reset(&[("tree/a/target/in", "IN")]);
    folder.check(&[
        ("tree/a", "/"),
        ("tree/a/target", "/"),
        ("tree/a/target/in", "IN"),
        ("tree/a/target/made", "made"),
        ("tree/a/target/x", "/"),
    ]);
    folder.kept.clear();
    folder.reset(&[]);
    folder.check(&[]);
}
