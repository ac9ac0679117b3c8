//! Metadata of installed distributions: requirements, files and entry points.
//!
//! Reads `METADATA`, `RECORD` and `entry_points.txt` of `*.dist-info`. Knows nothing about interpreters.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::scope::Scope;

use super::lock::{normalized, requirement_name};

/// The requirements in a distribution's metadata: the name, and whether it is for an extra.
#[must_use]
pub(crate) fn requirements(info: &Path) -> Vec<(String, bool)> {
    let metadata = ["METADATA", "PKG-INFO"]
        .iter()
        .find_map(|name| crate::fs::read(info.join(name)).ok())
        .unwrap_or_default();
    in_metadata(&String::from_utf8_lossy(&metadata))
}

fn in_metadata(text: &str) -> Vec<(String, bool)> {
    text.lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("Requires-Dist:"))
        .map(|line| (requirement_name(line), line.contains("extra ==")))
        .collect()
}

/// The top-level names of `tool`, its plugins, and everything they need. `infos` are the `*.dist-info` by normalised
/// name. `None` if one of them does not list its files.
#[must_use]
pub(crate) fn files_of(infos: &BTreeMap<String, PathBuf>, tool: &str) -> Option<Vec<String>> {
    let needs: BTreeMap<&str, Vec<String>> = infos
        .iter()
        .map(|(name, info)| {
            let all = requirements(info).into_iter();
            (name.as_str(), all.map(|(name, _)| name).collect())
        })
        .collect();
    let plugs_in =
        |name: &str| needs[name].iter().any(|needed| needed == tool) || extends(&infos[name], tool);
    let mut todo: Vec<&str> = infos
        .keys()
        .map(String::as_str)
        .filter(|name| *name == tool || plugs_in(name))
        .collect();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut files = BTreeSet::new();
    while let Some(name) = todo.pop() {
        let Some((name, info)) = infos.get_key_value(name) else {
            continue;
        };
        if !seen.insert(name) {
            continue;
        }
        let record = crate::fs::read(info.join("RECORD")).ok()?;
        files.extend(top_level(&String::from_utf8_lossy(&record)));
        todo.extend(needs[name.as_str()].iter().map(String::as_str));
    }
    Some(files.into_iter().collect())
}

/// Whether the distribution has entry points for `tool` (`pytest11`, `mdformat.parser_extension`).
fn extends(info: &Path, tool: &str) -> bool {
    let Ok(text) = crate::fs::read(info.join("entry_points.txt")) else {
        return false;
    };
    groups(&String::from_utf8_lossy(&text)).any(|group| normalized(group).starts_with(tool))
}

fn groups(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix('[')?.strip_suffix(']'))
}

/// The first components of the paths in a `RECORD`, except outside paths and compiled modules.
fn top_level(record: &str) -> BTreeSet<String> {
    record
        .lines()
        .filter_map(|line| match line.strip_prefix('"') {
            Some(quoted) => quoted.split(['/', '"']).next(),
            None => line.split(['/', ',']).next(),
        })
        .filter(|name| !["", ".", "..", "__pycache__"].contains(name))
        .map(str::to_owned)
        .collect()
}

/// Files that run at every start of an interpreter with these folders, or add further folders.
#[must_use]
pub(crate) fn starters(folders: &[PathBuf]) -> Vec<PathBuf> {
    let is_starter = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let customs = ["sitecustomize", "usercustomize"];
        name.ends_with(".pth")
            || name.ends_with(".egg-link")
            || customs.iter().any(|custom| name.starts_with(custom))
    };
    let mut found: Vec<PathBuf> = folders
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flat_map(|read| read.flatten().map(|entry| entry.path()))
        .filter(is_starter)
        .collect();
    found.sort_unstable();
    found
}

/// Whether a starter adds modules of another folder (an editable install), memoised by its content.
#[must_use]
pub(crate) fn leads_elsewhere(scope: &Scope<'_>, starter: &Path) -> bool {
    let Ok(digest) = scope.tools.digest(starter) else {
        return true;
    };
    let is_link = starter.extension().is_some_and(|end| end == "egg-link");
    let found = scope.facts.derive("python-pth/1", digest, || {
        crate::fs::read(starter).map(|bytes| names_folder(&String::from_utf8_lossy(&bytes)))
    });
    is_link || found.unwrap_or(true)
}

/// Whether a `.pth` file has a line that names a folder or installs a finder.
fn names_folder(text: &str) -> bool {
    text.lines().map(str::trim).any(|line| {
        let code = line.starts_with("import ") || line.starts_with("import\t");
        match code {
            true => line.contains("__editable__"),
            false => !line.is_empty() && !line.starts_with('#'),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// A folder of distributions: name, metadata, entry points, record.
    fn site(
        all: &[(&str, &str, &str, Option<&str>)],
    ) -> (tempfile::TempDir, BTreeMap<String, PathBuf>) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut infos = BTreeMap::new();
        for (name, metadata, points, record) in all {
            let info = folder.path().join(format!("{name}-1.dist-info"));
            std::fs::create_dir(&info).expect("folder");
            std::fs::write(info.join("METADATA"), metadata).expect("written");
            std::fs::write(info.join("entry_points.txt"), points).expect("written");
            if let Some(record) = record {
                std::fs::write(info.join("RECORD"), record).expect("written");
            }
            infos.insert((*name).to_owned(), info);
        }
        (folder, infos)
    }

    #[test]
    fn the_files_of_a_tool_its_plugins_and_what_they_need() {
        let (_folder, infos) = site(&[
            (
                "tool",
                "Requires-Dist: lib (>=1)\n",
                "",
                Some("tool/a.py,,\n../../bin/tool,,\n"),
            ),
            (
                "lib",
                "",
                "",
                Some("lib.py,sha256=x,1\n__pycache__/lib.pyc,,\n"),
            ),
            (
                "plugin",
                "",
                "[tool.extension]\nx = y\n",
                Some("\"plug,in/a.py\",,\n"),
            ),
            (
                "other",
                "",
                "[console_scripts]\nx = y\n",
                Some("other.py,,\n"),
            ),
            (
                "dependent",
                "Requires-Dist: tool\n",
                "",
                Some("dependent/x.py,,\n"),
            ),
        ]);
        assert_eq!(
            files_of(&infos, "tool"),
            Some(set(&["dependent", "lib.py", "plug,in", "tool"]))
        );
        assert_eq!(files_of(&infos, "other"), Some(set(&["other.py"])));
    }

    #[test]
    fn what_has_no_record_does_not_say_what_belongs_to_it() {
        let (_folder, infos) = site(&[("tool", "", "", None)]);
        assert_eq!(files_of(&infos, "tool"), None);
    }

    #[test]
    fn folders_named_by_path_files() {
        assert!(names_folder("# x\n/home/me/src\n"));
        assert!(names_folder("import __editable___x_finder; x()\n"));
        assert!(!names_folder("\n# x\nimport os; var = 'SETUPTOOLS'\n"));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "(Requires-Dist: |\\[|\\]|\"|,|/|\\PC|\n){0,40}") {
            for text in [String::from_utf8_lossy(&bytes).into_owned(), text] {
                let _ = in_metadata(&text);
                let _ = top_level(&text);
                let _ = groups(&text).count();
                let _ = names_folder(&text);
            }
        }
    }
}
