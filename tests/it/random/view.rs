//! What each check may see now, found without the program under test: git says which files count, and every one of them
//! is read again each time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use dagcache::for_tests::Digest;

use super::config::OWN;
use super::world::{World, is_there};

/// The files that count, each with its kind and content in one digest.
pub(crate) struct View {
    files: BTreeMap<String, Digest>,
    /// Files that only checks see that name them.
    ignored: BTreeMap<String, Digest>,
    /// All of `k8s`, whatever git says: a kustomization may name files that are ignored.
    kustomize: Digest,
    kustomize_has_links: bool,
    /// What is around the project and any check may come to, through a link or as something odd.
    around: Digest,
    /// Whether something stands in the project that no key can hold.
    pub(crate) is_odd: bool,
}

impl View {
    pub(crate) fn of(world: &World) -> Self {
        let project = world.sandbox.project();
        let mut is_odd = false;
        let mut files = BTreeMap::new();
        for name in universe(world) {
            let Some(path) = name.filter(|path| is_there(&project, path)) else {
                is_odd = true;
                continue;
            };
            match file(&project, &path) {
                Some(File { digest, leads_out }) => {
                    is_odd |= leads_out;
                    files.insert(path, digest);
                }
                None => continue,
            }
        }
        let literals = (0..OWN.len()).flat_map(|at| world.config.literals(at));
        let ignored = literals
            .filter(|path| !files.contains_key(*path))
            .filter_map(|path| {
                Some((
                    path.to_owned(),
                    Digest::of(&fs::read(project.join(path)).ok()?),
                ))
            })
            .collect();
        let (kustomize, kustomize_has_links) = everything_in(&project, "k8s");
        let around = Digest::of(&fs::read(world.outside()).expect("outside"));
        Self {
            files,
            ignored,
            kustomize,
            kustomize_has_links,
            around,
            is_odd,
        }
    }

    /// What decides about a check of the project's own.
    pub(crate) fn of_own(&self, world: &World, at: usize) -> Digest {
        let config = &world.config;
        let mut text = self.text(|path| config.sees(at, path));
        text.push_str(&config.about(at));
        for path in config.literals(at) {
            if let Some(digest) = self.ignored.get(path) {
                text.push_str(&format!("ignored {path} {digest}\n"));
            }
        }
        for file in self.files.keys().filter(|path| config.checks(at, path)) {
            text.push_str(&format!("checks {file}\n"));
        }
        for (name, value) in &world.variables {
            if config.sees_variable(at, name) {
                text.push_str(&format!("variable {name}={value}\n"));
            }
        }
        text.push_str(&helper(world));
        self.end(text)
    }

    /// What decides about a part of a check of the project's own; none if it has no parts.
    pub(crate) fn parts(&self, world: &World, at: usize) -> BTreeSet<Digest> {
        let config = &world.config;
        if !config.is_per_file(at) {
            return BTreeSet::new();
        }
        let shared = |path: &str| config.sees(at, path) && !config.checks(at, path);
        let shared = self.text(shared) + &config.about(at) + &helper(world);
        let parts = self
            .files
            .iter()
            .filter(|(path, _)| config.checks(at, path));
        parts
            .map(|(path, digest)| self.end(format!("{shared} {path} {digest}")))
            .collect()
    }

    /// What decides about the checks of YAML and kustomize: everything that has to do with either.
    pub(crate) fn of_yaml(&self, world: &World) -> Digest {
        let counts = |path: &str| {
            self.kustomize_has_links || path.contains(".y") || path.contains("ustomization")
        };
        let mut text = self.text(counts) + &self.kustomize.to_string();
        // Other files may become resources, or stand where a folder was; their names are enough.
        for path in self.files.keys().filter(|path| world.config.excludes(path)) {
            text.push_str(&format!("excluded {path}\n"));
        }
        self.end(text)
    }

    /// What decides about the check for secrets, and about all checks together.
    pub(crate) fn of_all(&self, world: &World) -> Digest {
        let mut text = self.text(|_| true);
        text.push_str(&world.config.text());
        for (path, digest) in &self.ignored {
            text.push_str(&format!("ignored {path} {digest}\n"));
        }
        text.push_str(&format!("{:?}{}", world.variables, self.kustomize));
        text.push_str(&helper(world));
        self.end(text)
    }

    fn text(&self, counts: impl Fn(&str) -> bool) -> String {
        let files = self.files.iter().filter(|(path, _)| counts(path));
        files
            .map(|(path, digest)| format!("{path} {digest}\n"))
            .collect()
    }

    fn end(&self, mut text: String) -> Digest {
        // Where a link leads out, or a name is odd, everything may depend on what is there.
        if self.is_odd {
            text.push_str(&format!("around {}", self.around));
        }
        Digest::of(text.as_bytes())
    }
}

/// The files, links and folders in a folder, and whether there are links.
fn everything_in(project: &Path, folder: &str) -> (Digest, bool) {
    let mut text = String::new();
    let mut has_links = false;
    let entries = walkdir::WalkDir::new(project.join(folder)).sort_by_file_name();
    for entry in entries.into_iter().filter_map(Result::ok) {
        let path = entry.path().strip_prefix(project).expect("below");
        let name = path.to_str().expect("UTF-8");
        has_links |= entry.path_is_symlink();
        if let Some(File { digest, .. }) = file(project, name) {
            text.push_str(&format!("{name} {digest}\n"));
        } else if entry.file_type().is_dir() {
            // A folder without files is another answer than none.
            text.push_str(&format!("{name}/\n"));
        }
    }
    (Digest::of(text.as_bytes()), has_links)
}

struct File {
    digest: Digest,
    leads_out: bool,
}

/// A file or a link by its kind and content; `None` for anything else.
fn file(project: &Path, name: &str) -> Option<File> {
    let path = &project.join(name);
    let meta = fs::symlink_metadata(path).ok()?;
    if meta.is_symlink() {
        let target = fs::read_link(path).expect("link");
        let digest = Digest::of(format!("link {}", target.display()).as_bytes());
        return Some(File {
            digest,
            leads_out: leads_out(name, &target),
        });
    }
    if !meta.is_file() {
        return None;
    }
    let kind: &[u8] = if meta.permissions().mode() & 0o100 == 0 {
        b"file "
    } else {
        b"run "
    };
    let content = fs::read(path).expect("read");
    Some(File {
        digest: Digest::of(&[kind, &content].concat()),
        leads_out: false,
    })
}

/// Whether a link leads out of the project, by its text.
fn leads_out(link: &str, target: &Path) -> bool {
    let above = link.matches('/').count();
    let up = target
        .components()
        .filter(|part| part.as_os_str() == "..")
        .count();
    target.is_absolute() || up > above
}

/// What git lists as tracked, or untracked and not ignored; `None` for a name that is not UTF-8.
fn universe(world: &World) -> BTreeSet<Option<String>> {
    let output = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(world.sandbox.project())
        .env("HOME", world.sandbox.home())
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .expect("git");
    assert!(output.status.success(), "{output:?}");
    let names = output
        .stdout
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty());
    names
        .map(|name| String::from_utf8(name.to_vec()).ok())
        .collect()
}

/// The one program that changes.
fn helper(world: &World) -> String {
    let helper = fs::read(world.helper_file()).expect("helper");
    format!("helper {}\n", Digest::of(&helper))
}
