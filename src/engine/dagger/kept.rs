//! Keeps the place of a check for its next run: a cache volume with a copy of its files and the products it made.
//!
//! Times in the volume are never trusted. Before a run the copy is made equal to the upload by content, and then
//! verified; only differing files are written, so that unchanged files keep their times. A run that does not finish
//! (because of a signal, a time limit, a lost container) leaves no mark, and a place without a mark is emptied. So is
//! one from the future, because new files would look older than its products.
//!
//! Volumes are locked: the engine serialises runs with the same volume. Their content is in no key.

use dagger_sdk::{
    CacheSharingMode, Container, ContainerWithMountedCacheOpts, Id, Query, QueryCacheVolumeOpts,
};

use super::failure::Failure;
use super::{PLACE, Settings};
use crate::digest::Digest;
use crate::engine::Request;
use crate::plan::{Layer, LayerKind};
use crate::process::quoted;
use crate::rule::Rule;

/// Raise it whenever the content of volumes changes its meaning.
const VERSION: u32 = 1;

/// Where the files of a check are before they are copied.
pub(super) const UPLOAD: &str = "/opt/dagcache/.upload";

/// Initial content of a new place, from the layers.
pub(super) const SEED: &str = "/opt/dagcache/.seed";

/// With another owner, it would be a different, empty volume.
const OWNER: &str = "0:0";

/// Lists the changed paths for the commands that run before the check.
pub(super) const CHANGED: &str = "/dagcache/.kept/changed";

/// `begin_kept` makes `$tree` equal to the upload. Listings have a line for each file and link, with the digest of
/// its content or target. Names that do not fit in a line fail verification, and then everything is copied.
const FUNCTIONS: &str = r#"
listed() {
    (cd "$1" &&
        find . -type f ! -perm -100 -exec sha256sum {} + >"$2" &&
        find . -type f -perm -100 -exec sha256sum {} + >"$2.x" && sed 's/^/x/' "$2.x" >>"$2" &&
        find . -type l -exec sh -c 'for link; do
            printf "l%s  %s\n" "$(readlink -n "$link" | sha256sum | cut -c -64)" "$link"
        done' link {} + >>"$2" &&
        LC_ALL=C sort -o "$2" "$2") || exit 123
}
synced() {
    find "$tree" -mindepth 1 ! -type l ! \( -type d -perm 755 \) ! \( -type f \( -perm 644 -o -perm 755 \) \) \
        -prune -exec rm -rf {} + || return 1
    listed "$tree" "$kept/there"
    LC_ALL=C comm -3 "$kept/there" "$kept/wanted" | sed 's/^[^ ]*  //' | sed "$@" >"$kept/changed"
    LC_ALL=C comm -23 "$kept/there" "$kept/wanted" | while IFS= read -r line; do rm -f "$tree/${line#*  }"; done
    find "$tree" -mindepth 1 -depth -type d -exec rmdir {} + 2>/dev/null
    LC_ALL=C comm -13 "$kept/there" "$kept/wanted" | while IFS= read -r line; do
        path=${line#*  }
        mkdir -p "$tree/${path%/*}" && cp -P "$upload/$path" "$tree/$path"
    done
    listed "$tree" "$kept/there"
    cmp -s "$kept/there" "$kept/wanted"
}
begin_kept() {
    for name in cmp comm cp cut find readlink rm rmdir sed sha256sum sort; do there "$name"; done
    mkdir -p "$kept" && : >"$kept/now" || exit 123
    if [ ! -f "$kept/whole" ] || [ "$kept/whole" -nt "$kept/now" ]; then
        find "$place" -mindepth 1 -maxdepth 1 -exec rm -rf {} + || exit 123
        [ ! -d "$seed" ] || cp -a "$seed/." "$place/" || exit 123
        mkdir -p "$kept" || exit 123
        rm -rf "$tree"
    fi
    rm -f "$kept/whole" || exit 123
    listed "$upload" "$kept/wanted"
    if [ ! -d "$tree" ] || ! synced "$@"; then
        rm -rf "$tree" && mkdir -p "$tree" && cp -RP "$upload/." "$tree/" && : >"$kept/changed" || exit 123
        listed "$tree" "$kept/there"
        cmp -s "$kept/there" "$kept/wanted" || exit 123
    fi
}
"#;

/// The kept place of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    /// Name of the volume: equal only for checks that may share products.
    volume: String,
    /// Whether layers have put something into the place.
    seeded: bool,
}

impl Kept {
    /// `None` if the check's place is not kept. Outputs cannot be exported from a volume, and checks with secrets
    /// must not leave anything in one.
    pub(crate) fn of(request: &Request<'_>, settings: &Settings) -> Option<Self> {
        let (_, key) = request.layers.last()?;
        let command = request.command;
        let leaves = command.outputs.is_empty() && command.secrets.is_empty();
        if command.keep.is_none() || !leaves {
            return None;
        }
        let project = settings.rooms.file_name().unwrap_or_default();
        let layers = request.layers.iter();
        let cleared: u64 = layers
            .map(|(layer, _)| settings.generation(&layer.name))
            .sum();
        Some(Self {
            volume: format!(
                "dagcache-kept-{VERSION}/{}/{}/{key}-{cleared}/{}",
                project.to_string_lossy(),
                request.id,
                request.product_key
            ),
            seeded: is_seeded(request.layers),
        })
    }

    /// The container with the volume as its place, and the upload beside it.
    pub(crate) async fn mounted(
        &self,
        query: &Query,
        on: &Container,
        files: Id,
    ) -> Result<Container, Failure> {
        let sharing = || Some(CacheSharingMode::Locked);
        let opts = QueryCacheVolumeOpts {
            owner: Some(OWNER),
            sharing: sharing(),
            source: None,
        };
        let volume = query.cache_volume_opts(self.volume.as_str(), opts);
        let volume = volume.id().await?;
        let mut container = on.with_mounted_directory(UPLOAD, files);
        if self.seeded {
            let seed = on.directory(PLACE).id().await?;
            container = container.with_mounted_directory(SEED, seed);
        }
        let opts = ContainerWithMountedCacheOpts {
            expand: None,
            owner: Some(OWNER),
            sharing: sharing(),
            source: None,
        };
        Ok(container.with_mounted_cache_opts(PLACE, volume, opts))
    }
}

/// Whether layers have made something in the place of checks on them.
pub(super) fn is_seeded(layers: &[(&Layer, Digest)]) -> bool {
    layers
        .last()
        .is_some_and(|(top, _)| top.kind == LayerKind::Deps)
}

/// Shell text that runs before anything else in the place. `upload` is the path of the upload, `tree` that of the
/// copy of the project root in it.
pub(super) fn begin(upload: &str, tree: &str) -> String {
    let functions = match Rule::KeptByContent.holds() {
        true => FUNCTIONS.to_owned(),
        false => FUNCTIONS.replace("-exec sha256sum", "-exec stat -c '%s  %n'"),
    };
    let below = tree.strip_prefix(upload).unwrap_or_default();
    let below = below.trim_start_matches('/');
    let slash = if below.is_empty() { "" } else { "/" };
    // In a subshell, so that its variables do not hide any from the check.
    format!(
        "({functions}
kept={PLACE}/.kept place={PLACE} upload={UPLOAD} seed={SEED} tree={}
begin_kept -e 's|^\\./{below}{slash}||' -e t -e 's|^\\./|../|') || exit",
        quoted(upload),
    )
}

/// Shell text that runs after the command has finished.
pub(super) const END: &str = ": >/dagcache/.kept/whole || exit 123";

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use super::*;

    /// A container's folders on this machine.
    struct Places {
        dir: tempfile::TempDir,
        shell: &'static str,
        /// Whether the upload belongs above the copy of the project root.
        above: bool,
    }

    impl Places {
        fn of(&self, path: &str) -> PathBuf {
            self.dir.path().join(path.trim_start_matches('/'))
        }

        fn upload(&self, path: &str) -> PathBuf {
            self.of(UPLOAD).join(path)
        }

        fn tree(&self, path: &str) -> PathBuf {
            self.of("dagcache/up").join(path)
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.upload(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        /// A run, with what it says has changed, and whether it came to its end.
        fn run(&self, ends: bool) -> Vec<String> {
            let tree = if self.above {
                "/dagcache/up/tree"
            } else {
                "/dagcache/up"
            };
            let mut text = begin("/dagcache/up", tree);
            text.push_str(if ends { "\n" } else { "\nexit\n" });
            text.push_str(END);
            let here = |path| self.of(path).to_string_lossy().into_owned();
            let (place, beside) = (here(PLACE), here("/opt"));
            let text = text.replace("/opt/", "\u{1}");
            let text = text
                .replace(PLACE, &place)
                .replace('\u{1}', &format!("{beside}/"));
            let there = "umask 022; there() { command -v \"$1\" >/dev/null; }\n";
            let ran = Command::new(self.shell)
                .args(["-c", &format!("{there}{text}")])
                .output();
            let ran = ran.unwrap();
            assert!(ran.status.success(), "{}: {ran:?}", self.shell);
            assert_eq!(all(&self.upload("")), all(&self.tree("")), "{}", self.shell);
            let said = fs::read_to_string(self.of(CHANGED)).unwrap();
            let mut lines: Vec<String> = said.lines().map(str::to_owned).collect();
            lines.sort();
            lines.dedup();
            lines
        }

        fn time(&self, path: &str) -> (i64, i64) {
            let meta = fs::metadata(self.tree(path)).unwrap();
            (meta.mtime(), meta.mtime_nsec())
        }
    }

    /// What is in a folder: modes, and content or targets.
    fn all(dir: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
        let walk = walkdir::WalkDir::new(dir).min_depth(1).into_iter();
        let of = |entry: walkdir::DirEntry| {
            let (path, meta) = (entry.path(), entry.metadata().unwrap());
            let content = match meta.file_type() {
                kind if kind.is_symlink() => fs::read_link(path).unwrap().into_os_string(),
                kind if kind.is_file() => {
                    let text = fs::read(path).unwrap();
                    std::os::unix::ffi::OsStringExt::from_vec(text)
                }
                _ => std::ffi::OsString::new(),
            };
            let below = path.strip_prefix(dir).unwrap().to_owned();
            (below, (meta.mode(), content.into_encoded_bytes()))
        };
        walk.map(|entry| of(entry.unwrap())).collect()
    }

    /// In every shell that is here, with a place that a run has left: `a`, `d/b`, `d/x` (executable) and `l` → `a`.
    fn everywhere(above: bool, test: impl Fn(&Places)) {
        for shell in ["sh", "bash"] {
            let there = Command::new(shell).args(["-c", ":"]).status();
            if !there.is_ok_and(|status| status.success()) {
                continue;
            }
            let dir = tempfile::tempdir().unwrap();
            let places = Places { dir, shell, above };
            for (path, text) in [("a", "1"), ("d/b", "2"), ("d/x", "3"), ("tree/t", "4")] {
                places.write(path, text);
            }
            executable(&places.upload("d/x"));
            symlink("a", places.upload("l")).unwrap();
            fs::create_dir_all(places.of(SEED).join("target")).unwrap();
            fs::write(places.of(SEED).join("target/made"), "by layers").unwrap();
            fs::create_dir_all(places.of(PLACE)).unwrap();
            assert_eq!(places.run(true), [""; 0], "nothing is known");
            assert_eq!(places.run(true), [""; 0]);
            test(&places);
        }
    }

    fn executable(path: &Path) {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn what_is_equal_keeps_its_time_and_the_rest_is_told() {
        everywhere(false, |places| {
            let before = (places.time("a"), places.time("d/b"), places.time("d"));
            let old = fs::metadata(places.upload("a"))
                .unwrap()
                .modified()
                .unwrap();
            // The same size and an older time; what runs left of themselves; an entry of another kind.
            places.write("a", "9");
            let file = fs::File::options()
                .write(true)
                .open(places.upload("a"))
                .unwrap();
            file.set_modified(old - std::time::Duration::from_secs(9))
                .unwrap();
            fs::write(places.tree("left"), "").unwrap();
            fs::create_dir_all(places.tree("empty/er")).unwrap();
            fs::remove_file(places.upload("l")).unwrap();
            places.write("l/in", "5");
            let changed = places.run(true);
            assert_eq!(changed, ["a", "l", "l/in", "left"]);
            assert!(places.time("a") > before.0);
            assert_eq!(places.time("d/b"), before.1);
            // Back again, and a folder becomes a link.
            places.write("a", "1");
            fs::remove_dir_all(places.upload("l")).unwrap();
            symlink("d", places.upload("l")).unwrap();
            fs::remove_file(places.upload("d/b")).unwrap();
            assert_eq!(places.run(true), ["a", "d/b", "l", "l/in"]);
            assert!(places.time("d") > before.2);
        });
    }

    #[test]
    fn what_a_run_did_to_the_copy_is_undone() {
        everywhere(false, |places| {
            executable(&places.tree("a"));
            let odd = fs::Permissions::from_mode(0o700);
            fs::set_permissions(places.tree("d"), odd).unwrap();
            assert_eq!(places.run(true), ["a", "d/b", "d/x"]);
            fs::remove_dir_all(places.tree("d")).unwrap();
            symlink("/", places.tree("d")).unwrap();
            assert_eq!(places.run(true), ["d", "d/b", "d/x"]);
            fs::remove_dir_all(places.tree("")).unwrap();
            assert_eq!(places.run(true), [""; 0]);
        });
    }

    #[test]
    fn names_that_no_line_can_hold_have_all_copied_anew() {
        everywhere(false, |places| {
            for name in ["n\nl", "b\\s", " s ", "-r", "*"] {
                places.write(&format!("{name}/{name}"), "1");
            }
            places.run(true);
            places.write("n\nl/n\nl", "2");
            symlink("to\n", places.upload("li\nnk")).unwrap();
            assert_eq!(places.run(true), [""; 0]);
        });
    }

    #[test]
    fn what_did_not_end_or_comes_from_the_future_is_begun_anew() {
        everywhere(false, |places| {
            let made = places.of("dagcache/target/made");
            assert_eq!(fs::read_to_string(&made).unwrap(), "by layers");
            fs::write(&made, "by a run").unwrap();
            places.write("a", "2");
            assert_eq!(places.run(false), ["a"]);
            assert_eq!(fs::read_to_string(&made).unwrap(), "by a run");
            assert_eq!(places.run(true), [""; 0]);
            assert_eq!(fs::read_to_string(&made).unwrap(), "by layers");
            fs::write(&made, "by a run").unwrap();
            let mark = fs::File::open(places.of("dagcache/.kept/whole")).unwrap();
            let later = std::time::SystemTime::now() + std::time::Duration::from_secs(99);
            mark.set_modified(later).unwrap();
            assert_eq!(places.run(true), [""; 0]);
            assert_eq!(fs::read_to_string(&made).unwrap(), "by layers");
        });
    }

    #[test]
    fn paths_are_those_of_the_project() {
        everywhere(true, |places| {
            places.write("a", "2");
            places.write("tree/t", "5");
            places.write("tree/tree/t", "6");
            assert_eq!(places.run(true), ["../a", "t", "tree/t"]);
        });
    }
}
