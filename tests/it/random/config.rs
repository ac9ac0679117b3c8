//! The configuration of the project, as a model that can be changed, written, and asked what a check may see.

use std::fmt::Write as _;

use super::chance::Chance;

/// One way to configure a check.
pub(crate) struct Keys {
    inputs: &'static [&'static str],
    files: &'static [&'static str],
    rest: &'static str,
}

/// A check of the project's own, `ci/NAME.sh`, and the ways to configure it.
pub(crate) struct Own {
    pub(crate) id: &'static str,
    ways: &'static [Keys],
}

const fn keys(
    inputs: &'static [&'static str],
    files: &'static [&'static str],
    rest: &'static str,
) -> Keys {
    Keys {
        inputs,
        files,
        rest,
    }
}

pub(crate) const OWN: &[Own] = &[
    Own {
        id: "cat",
        ways: &[
            keys(&["src/**"], &[], "findings = 'gcc'"),
            keys(&["src/**"], &[], "findings = 'gcc'\nargs = ['x', 'y']"),
            keys(&["src/**"], &[], "findings = 'gcc'\nargs = ['y', 'x']"),
            keys(
                &["src/**", "!src/deep/**", "src/deep/a.txt"],
                &[],
                "findings = '^(?<path>[^ ]+):(?<line>[0-9]+): (?<message>.*)$'",
            ),
        ],
    },
    Own {
        id: "each",
        ways: &[
            keys(
                &["rules/**"],
                &["src/**/*.txt"],
                "per-file = true\nfindings = 'gcc'",
            ),
            keys(&[], &["src/**/*.txt"], "per-file = true\nfindings = 'gcc'"),
            keys(
                &["rules/**"],
                &["src/*.txt", "!src/c.txt"],
                "findings = 'gcc'",
            ),
        ],
    },
    Own {
        id: "single",
        ways: &[keys(&[], &["docs/**/*.md"], "per-file = true")],
    },
    Own {
        id: "files",
        ways: &[
            keys(&["rules/**"], &["docs/**/*.md"], ""),
            keys(&["rules/limit"], &["docs/*.md"], "args = ['--']"),
        ],
    },
    Own {
        id: "env",
        ways: &[
            keys(&["rules/level"], &[], "env = ['SEEN', 'LEVEL']"),
            keys(
                &["rules/level"],
                &[],
                "env = ['LEVEL']\nset-env = { FIXED = '1' }",
            ),
            keys(
                &["rules/level"],
                &[],
                "env = ['LEVEL']\nset-env = { FIXED = '2' }",
            ),
            keys(
                &["rules/level"],
                &[],
                "env = ['SEEN', 'LEVEL']\ncache = 'passes'",
            ),
        ],
    },
    Own {
        id: "tool",
        ways: &[keys(&[], &[], ""), keys(&[], &[], "args = ['2']")],
    },
    Own {
        id: "dir",
        ways: &[
            keys(&["src/**"], &[], "dir = 'src'"),
            keys(&["src/*.txt"], &[], "dir = 'src'"),
        ],
    },
    Own {
        id: "local",
        ways: &[
            keys(&["local.env"], &[], ""),
            keys(&["local.env", "notes.txt"], &[], ""),
        ],
    },
    Own {
        id: "names",
        ways: &[
            keys(&["src/**", "docs/**"], &[], ""),
            keys(&["**"], &[], ""),
        ],
    },
    Own {
        id: "bits",
        ways: &[keys(&["src/**", "links/**", "rules/**"], &[], "")],
    },
];

/// The same for all: scripts change places, and one that lacks a program is run again with it, which the program
/// remembers. What a check says then hangs on what happened before.
const TOOLS: &str = "tools = ['helper', 'ls', 'stat']\n";

/// What stands in `dagcache.toml`.
#[derive(Clone, Default)]
pub(crate) struct Config {
    /// The way of each check of [`OWN`].
    ways: [usize; OWN.len()],
    excluding: bool,
    /// What changes the file, but nothing about the checks.
    reversed: bool,
    comment: bool,
}

impl Config {
    /// Changes one thing, and says what.
    pub(crate) fn change(&mut self, chance: &mut Chance) -> String {
        match chance.below(6) {
            0 => self.reversed = !self.reversed,
            1 => self.comment = !self.comment,
            2 => self.excluding = !self.excluding,
            _ => {
                let at = chance.below(OWN.len());
                self.ways[at] = chance.below(OWN[at].ways.len());
            }
        }
        format!(
            "configure {:?}{}{}{}",
            self.ways,
            if self.excluding { " excluding" } else { "" },
            if self.reversed { " reversed" } else { "" },
            if self.comment { " comment" } else { "" }
        )
    }

    pub(crate) fn text(&self) -> String {
        let mut tables: Vec<String> = (0..OWN.len()).map(|at| self.table(at)).collect();
        if self.reversed {
            tables.reverse();
        }
        let exclude = self.exclude();
        let comment = if self.comment { "# said\n" } else { "" };
        format!("{comment}{exclude}{}", tables.concat())
    }

    fn exclude(&self) -> &'static str {
        if self.excluding {
            "exclude = ['src/gen', 'data/b.yaml', 'keys']\n"
        } else {
            ""
        }
    }

    pub(crate) fn excludes(&self, path: &str) -> bool {
        let below = |folder| {
            path.strip_prefix(folder)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.excluding && (below("src/gen") || below("data/b.yaml") || below("keys"))
    }

    fn table(&self, at: usize) -> String {
        let id = OWN[at].id;
        let keys = &OWN[at].ways[self.ways[at]];
        let script = if keys.rest.contains("dir = 'src'") {
            "../ci"
        } else {
            "./ci"
        };
        let mut text = format!(
            "[checks.{id}]\ncommand = ['{script}/{id}.sh']\ninputs = {:?}\n{TOOLS}{}\n",
            keys.inputs, keys.rest
        );
        if !keys.files.is_empty() {
            let _ = writeln!(text, "files = {:?}", keys.files);
        }
        text
    }

    /// Everything the configuration says about a check, in one text.
    pub(crate) fn about(&self, at: usize) -> String {
        self.table(at)
    }

    /// Whether a check may see a path of the project.
    pub(crate) fn sees(&self, at: usize, path: &str) -> bool {
        let keys = &OWN[at].ways[self.ways[at]];
        let script = path
            .strip_prefix("ci/")
            .and_then(|path| path.strip_suffix(".sh"))
            == Some(OWN[at].id);
        script || matches(keys.inputs, path) || self.checks(at, path)
    }

    /// Whether a path is one of the files of a check.
    pub(crate) fn checks(&self, at: usize, path: &str) -> bool {
        let keys = &OWN[at].ways[self.ways[at]];
        matches(keys.files, path) && !self.excludes(path)
    }

    /// The paths that a check names as they are: those count even if git ignores them.
    pub(crate) fn literals(&self, at: usize) -> impl Iterator<Item = &'static str> {
        let keys = &OWN[at].ways[self.ways[at]];
        let is_literal = |glob: &&&str| !glob.contains(['*', '!']);
        keys.inputs.iter().filter(is_literal).copied()
    }

    /// Whether each file of a check is a part of its own.
    pub(crate) fn is_per_file(&self, at: usize) -> bool {
        self.rest(at).contains("per-file")
    }

    /// Whether only passes of a check are stored.
    pub(crate) fn passes_only(&self, at: usize) -> bool {
        self.rest(at).contains("passes")
    }

    /// Whether a check may see a variable.
    pub(crate) fn sees_variable(&self, at: usize, name: &str) -> bool {
        self.rest(at).contains(&format!("'{name}'"))
    }

    fn rest(&self, at: usize) -> &'static str {
        OWN[at].ways[self.ways[at]].rest
    }
}

/// The few kinds of globs that are used here; the last that matches decides.
fn matches(globs: &[&str], path: &str) -> bool {
    let last = globs
        .iter()
        .rev()
        .find(|glob| one(glob.trim_start_matches('!'), path));
    last.is_some_and(|glob| !glob.starts_with('!'))
}

fn one(glob: &str, path: &str) -> bool {
    if let Some(folder) = glob.strip_suffix("**") {
        return path.starts_with(folder);
    }
    if let Some((folder, end)) = glob.split_once("**/*") {
        return path.starts_with(folder) && path.ends_with(end);
    }
    let Some((folder, end)) = glob.split_once('*') else {
        return path == glob
            || path
                .strip_prefix(glob)
                .is_some_and(|rest| rest.starts_with('/'));
    };
    path.strip_prefix(folder)
        .is_some_and(|name| name.ends_with(end) && !name.contains('/'))
}
