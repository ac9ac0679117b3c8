//! Which file of the crate uses which, as far as paths tell: `crate::…`, `self::…`, `super::…`, and those that begin with
//! a file's own submodule. Unit tests are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Modules that are files, by path (`run::audit`; the root is empty), and what each uses.
pub(super) struct Graph {
    modules: BTreeMap<String, Module>,
    uses: BTreeMap<String, BTreeSet<String>>,
}

struct Module {
    code: String,
    /// Names of its submodules that are files.
    children: BTreeSet<String>,
    /// What its re-exports lead to, by name.
    exports: BTreeMap<String, String>,
}

impl Graph {
    pub(super) fn of(sources: &[PathBuf]) -> Self {
        let mut modules = BTreeMap::new();
        for path in sources {
            let text = std::fs::read_to_string(path).expect("source");
            modules.insert(module_path(path), Module::new(&text));
        }
        let mut graph = Self {
            modules,
            uses: BTreeMap::new(),
        };
        let users: Vec<String> = graph.modules.keys().cloned().collect();
        for user in &users {
            let exports = graph.exports(user);
            graph.modules.get_mut(user).expect("a module").exports = exports;
        }
        for user in users {
            let uses = graph.used_by(&user);
            graph.uses.insert(user, uses);
        }
        graph
    }

    /// Every user, and what it uses.
    pub(super) fn uses(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.uses.iter();
        pairs.flat_map(|(user, used)| used.iter().map(move |used| (&**user, &**used)))
    }

    /// The files of each circle.
    pub(super) fn circles(&self) -> BTreeSet<BTreeSet<&str>> {
        let reach: BTreeMap<&str, BTreeSet<&str>> = self
            .uses
            .keys()
            .map(|user| (&**user, self.reached(user)))
            .collect();
        let circle = |user: &&str| {
            let mates = reach[user].iter().copied();
            mates.filter(|mate| reach[mate].contains(user)).collect()
        };
        let in_circle = reach.keys().filter(|user| reach[*user].contains(*user));
        in_circle.map(circle).collect()
    }

    fn reached(&self, user: &str) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        let mut todo: Vec<&str> = self.uses[user].iter().map(String::as_str).collect();
        while let Some(next) = todo.pop() {
            if found.insert(next) {
                todo.extend(self.uses[next].iter().map(String::as_str));
            }
        }
        found
    }

    fn exports(&self, user: &str) -> BTreeMap<String, String> {
        let (exports, _) = self.modules[user].split();
        let paths = exports.iter().flat_map(|text| paths(text));
        let mut found = BTreeMap::new();
        for path in paths {
            let path = absolute(user, &path);
            let (module, name) = path.rsplit_once("::").unwrap_or(("", &path));
            found.insert(name.to_owned(), module.to_owned());
        }
        found
    }

    fn used_by(&self, user: &str) -> BTreeSet<String> {
        let module = &self.modules[user];
        let (_, code) = module.split();
        let first = ["crate", "self", "super"].into_iter();
        let mut used = BTreeSet::new();
        for word in first.chain(module.children.iter().map(String::as_str)) {
            for at in beginnings(&code, word) {
                let found = paths(&code[at..]);
                used.extend(found.iter().map(|path| self.file(&absolute(user, path))));
            }
        }
        let above = |file: &String| file.is_empty() || user.starts_with(&format!("{file}::"));
        used.retain(|file| file != user && !above(file));
        used
    }

    /// The file that a path leads to.
    fn file(&self, path: &str) -> String {
        let mut file = String::new();
        for name in path.split("::") {
            let Some(module) = self.modules.get(&file) else {
                break;
            };
            let child = joined(&file, name);
            if module.children.contains(name) && self.modules.contains_key(&child) {
                file = child;
            } else if let Some(export) = module.exports.get(name) {
                let led = self.file(export);
                return if led.is_empty() { file } else { led };
            } else {
                break;
            }
        }
        file
    }
}

impl Module {
    fn new(text: &str) -> Self {
        let code = text.split("#[cfg(test)]\nmod tests {").next();
        let lines = code.unwrap_or_default().lines();
        let lines = lines.filter(|line| !line.trim_start().starts_with("//"));
        let code = lines.collect::<Vec<_>>().join("\n");
        let children = code.lines().filter_map(|line| {
            let (_, name) = line.strip_suffix(';')?.rsplit_once("mod ")?;
            Some(name.to_owned())
        });
        Self {
            children: children.collect(),
            code,
            exports: BTreeMap::new(),
        }
    }

    /// The re-exports, and the rest.
    fn split(&self) -> (Vec<String>, String) {
        let mut exports = Vec::new();
        let mut rest = String::new();
        for statement in self.code.split_inclusive(';') {
            let line = statement.trim_start();
            let visible = line.starts_with("pub ") || line.starts_with("pub(");
            match line.split_once(" use ") {
                Some((before, path)) if visible && !before.contains(char::is_whitespace) => {
                    exports.push(path.to_owned());
                }
                _ => rest.push_str(statement),
            }
        }
        (exports, rest)
    }
}

fn module_path(path: &Path) -> String {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let below = path
        .strip_prefix(src)
        .expect("below src")
        .with_extension("");
    let names = below.iter().map(|name| name.to_str().expect("UTF-8"));
    let names: Vec<&str> = names
        .filter(|name| !["lib", "mod"].contains(name))
        .collect();
    names.join("::")
}

fn joined(module: &str, name: &str) -> String {
    match module {
        "" => name.to_owned(),
        _ => format!("{module}::{name}"),
    }
}

/// A path in `module`, from the root of the crate.
fn absolute(module: &str, path: &str) -> String {
    let mut module = module.to_owned();
    let mut path = path;
    if let Some(rest) = path.strip_prefix("crate::") {
        return rest.to_owned();
    }
    loop {
        if let Some(rest) = path.strip_prefix("super::") {
            module = module.rsplit_once("::").map_or("", |(up, _)| up).to_owned();
            path = rest;
        } else if let Some(rest) = path.strip_prefix("self::") {
            path = rest;
        } else {
            return joined(&module, path);
        }
    }
}

/// Where paths begin with this word.
fn beginnings(code: &str, word: &str) -> Vec<usize> {
    let begins = |at: &usize| {
        let before = code[..*at].chars().next_back();
        let inside = |c: char| c.is_alphanumeric() || "_:.".contains(c);
        !before.is_some_and(inside)
    };
    let word = format!("{word}::");
    let places = code.match_indices(&word).map(|(at, _)| at);
    places.filter(begins).collect()
}

/// The paths that a path with groups stands for: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn paths(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    read(text, "", &mut found);
    found
}

/// Reads one path, and returns what follows it.
fn read<'a>(text: &'a str, before: &str, found: &mut Vec<String>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = rest.trim_start().trim_start_matches(',').trim_start();
            if let Some(after) = rest.strip_prefix('}') {
                return after;
            }
            let next = read(rest, before, found);
            if next.len() == rest.len() {
                return rest;
            }
            // ` as NAME`
            let end = next.find([',', '}', ';']).unwrap_or(next.len());
            rest = &next[end..];
        }
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '*');
    let (name, rest) = text.split_at(end.unwrap_or(text.len()));
    let path = joined(before, name);
    match rest.strip_prefix("::") {
        Some(rest)
            if !name.is_empty()
                && rest.starts_with(|c: char| c.is_alphabetic() || "_{*".contains(c)) =>
        {
            read(rest, &path, found)
        }
        _ => {
            found.push(path);
            rest
        }
    }
}

#[test]
fn circles_are_found_through_groups_and_re_exports() {
    let text = |module: &str| match module {
        "" => "mod a;\nmod b;\nmod c;\npub(crate) use b::B;",
        "a" => "use crate::{c, B as Bee};",
        "b" => "fn f() { super::a::g() }",
        _ => "/// [`crate::a`]\nstruct C;",
    };
    let names = ["", "a", "b", "c"];
    let modules = names.map(|name| (name.to_owned(), Module::new(text(name))));
    let mut graph = Graph {
        modules: BTreeMap::from(modules),
        uses: BTreeMap::new(),
    };
    for name in names {
        let exports = graph.exports(name);
        graph.modules.get_mut(name).expect("a module").exports = exports;
    }
    for name in names {
        let uses = graph.used_by(name);
        graph.uses.insert(name.to_owned(), uses);
    }
    assert_eq!(
        graph.circles(),
        BTreeSet::from([BTreeSet::from(["a", "b"])])
    );
}
