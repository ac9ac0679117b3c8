//! Finds the places in a project that configure tools: configuration files, `[tool.*]`, scripts of package.json, hooks
//! and CI files.

use std::collections::HashMap;

use serde::Deserialize;

use crate::path::RelPath;
use crate::plan::{Plan, Work};
use crate::provision::program::base_name;
use crate::scope::Scope;
use crate::snapshot::Entry;

use super::tools::{ENDS, TOOLS, canonical, known};

/// A tool that a place names. Sorts by how likely the place is what the user has in mind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Named {
    kind: Kind,
    /// Number of folders above the place.
    depth: usize,
    pub(super) place: String,
    pub(super) tool: String,
    /// The script of package.json that runs it.
    pub(super) script: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Configuration,
    Scripts,
    Hooks,
    Ci,
}

impl Named {
    pub(super) const fn is_hook(&self) -> bool {
        matches!(self.kind, Kind::Hooks)
    }
}

/// What a file with a certain name says.
#[derive(Clone, Copy)]
enum Source {
    /// That this tool is used.
    Tool(&'static str),
    Pyproject,
    /// setup.cfg and tox.ini.
    Sections,
    Package,
    Hooks,
}

/// Names of the files that name tools, besides those of CI.
const FILES: &[(&str, Source)] = &[
    (".pre-commit-config.yaml", Source::Hooks),
    ("package.json", Source::Package),
    ("pyproject.toml", Source::Pyproject),
    ("setup.cfg", Source::Sections),
    ("tox.ini", Source::Sections),
];

/// Files at the root that configure CI.
const CI: &[&str] = &[
    ".circleci/config.yml",
    ".cirrus.yml",
    ".gitlab-ci.yml",
    ".travis.yml",
    "appveyor.yml",
    "azure-pipelines.yml",
];

/// A folder of such files.
const WORKFLOWS: &str = ".github/workflows";

/// Everything the project's files say, in no order.
pub(super) fn named(scope: &Scope<'_>) -> Vec<Named> {
    let names = Names::new();
    let mut found = Vec::new();
    for (_, entry) in scope.checked() {
        let source = names.get(&entry.path);
        let Some(source) = source.filter(|_| !entry.path.is_fixture()) else {
            continue;
        };
        match source {
            Source::Tool(tool) => add(
                &mut found,
                Kind::Configuration,
                entry,
                vec![(tool.to_owned(), None)],
            ),
            Source::Pyproject => of_text(
                scope,
                &mut found,
                Kind::Configuration,
                entry,
                "pyproject/1",
                pyproject,
            ),
            Source::Sections => of_text(
                scope,
                &mut found,
                Kind::Configuration,
                entry,
                "sections/1",
                sections,
            ),
            Source::Package => of_text(
                scope,
                &mut found,
                Kind::Scripts,
                entry,
                "package/1",
                package,
            ),
            Source::Hooks => of_text(scope, &mut found, Kind::Hooks, entry, "hooks/1", hooks),
        }
    }
    let workflows = RelPath::new(WORKFLOWS).map(|dir| scope.snapshot.below(&dir));
    let ci = CI.iter().filter_map(|path| scope.snapshot.find(path));
    for id in ci.chain(workflows.into_iter().flatten()) {
        of_text(
            scope,
            &mut found,
            Kind::Ci,
            scope.snapshot.entry(id),
            "ci/1",
            ci_file,
        );
    }
    found
}

/// Python tools that projects declare as dependencies and whose checks are not supported yet.
pub(super) fn declared(scope: &Scope<'_>, plan: &Plan) -> Vec<Named> {
    let checks = plan.checks.iter();
    let later = checks.filter(|check| matches!(check.work, Work::Unsupported(_)));
    let mut found = Vec::new();
    for check in later {
        let Some(id) = check.id.strip_prefix("python:") else {
            continue;
        };
        let (tool, dir) = id.split_once('@').unwrap_or((id, ""));
        let place = RelPath::new(dir).and_then(|dir| dir.join("pyproject.toml"));
        if let Some(id) = place.ok().and_then(|place| scope.snapshot.find(&place)) {
            let tools = vec![(tool.to_owned(), None)];
            add(
                &mut found,
                Kind::Configuration,
                scope.snapshot.entry(id),
                tools,
            );
        }
    }
    found
}

/// A tool and the script that runs it.
type Tool = (String, Option<String>);

fn add(found: &mut Vec<Named>, kind: Kind, entry: &Entry, tools: Vec<Tool>) {
    let place = entry.path.as_str();
    found.extend(tools.into_iter().map(|(tool, script)| Named {
        kind,
        depth: place.matches('/').count(),
        place: place.to_owned(),
        tool,
        script,
    }));
}

/// Adds what a text names. `parser` is the name of the function and its version: raise it with every change of it or of
/// the known tools.
fn of_text(
    scope: &Scope<'_>,
    found: &mut Vec<Named>,
    kind: Kind,
    entry: &Entry,
    parser: &str,
    parse: fn(&str) -> Vec<Tool>,
) {
    let parser = format!("configured-{parser}");
    let tools = scope.facts.derive(&parser, entry.digest, || {
        let text = scope.text(&entry.path).ok_or(())?;
        let mut tools = parse(&text);
        tools.sort();
        tools.dedup();
        Ok::<_, ()>(tools)
    });
    add(found, kind, entry, tools.unwrap_or_default());
}

/// File names with their sources. Most paths of a project are ruled out by their last bytes.
struct Names {
    by_name: HashMap<String, Source>,
    filter: [u64; 64],
}

impl Names {
    fn new() -> Self {
        let mut by_name = HashMap::with_capacity(512);
        by_name.extend(
            FILES
                .iter()
                .map(|(name, source)| ((*name).to_owned(), *source)),
        );
        for tool in TOOLS {
            let source = Source::Tool(tool.name);
            for file in tool.files {
                let (stem, ends) = match file.strip_suffix('*') {
                    Some(stem) => (stem, ENDS),
                    None => (*file, &[""][..]),
                };
                by_name.extend(ends.iter().map(|end| (format!("{stem}{end}"), source)));
            }
        }
        let mut filter = [0; 64];
        for name in by_name.keys() {
            let (word, bit) = place_in_filter(name);
            filter[word] |= bit;
        }
        Self { by_name, filter }
    }

    fn get(&self, path: &RelPath) -> Option<Source> {
        let (word, bit) = place_in_filter(path);
        (self.filter[word] & bit != 0).then(|| self.by_name.get(path.file_name()).copied())?
    }
}

/// A bit for the last five bytes: no name is shorter.
fn place_in_filter(path: &str) -> (usize, u64) {
    let end = path
        .as_bytes()
        .last_chunk::<5>()
        .copied()
        .unwrap_or_default();
    let end = end
        .into_iter()
        .fold(0_u64, |hash, byte| (hash << 8) | u64::from(byte));
    let hash = end.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52;
    ((hash >> 6) as usize, 1 << (hash & 63))
}

fn pyproject(text: &str) -> Vec<Tool> {
    let Ok(table) = text.parse::<toml::Table>() else {
        return Vec::new();
    };
    let tools = table.get("tool").and_then(toml::Value::as_table);
    let names = tools.into_iter().flat_map(toml::Table::keys);
    names.filter_map(|name| by_table(name)).collect()
}

fn sections(text: &str) -> Vec<Tool> {
    let names = text
        .lines()
        .filter_map(|line| line.trim_end().strip_prefix('[')?.strip_suffix(']'));
    names.filter_map(by_table).collect()
}

fn by_table(name: &str) -> Option<Tool> {
    let tool = TOOLS.iter().find(|tool| tool.tables.contains(&name))?;
    Some((tool.name.to_owned(), None))
}

fn package(text: &str) -> Vec<Tool> {
    #[derive(Deserialize)]
    struct Package {
        #[serde(default)]
        scripts: serde_json::Map<String, serde_json::Value>,
        #[serde(flatten)]
        others: serde_json::Map<String, serde_json::Value>,
    }
    let Ok(package) = serde_json::from_str::<Package>(text) else {
        return Vec::new();
    };
    let keys = TOOLS
        .iter()
        .filter(|tool| package.others.contains_key(tool.key));
    let mut found: Vec<Tool> = keys.map(|tool| (tool.name.to_owned(), None)).collect();
    for (script, command) in &package.scripts {
        let command = command.as_str().unwrap_or_default();
        if !is_check(script) || command.contains("no test specified") {
            continue;
        }
        let mut tools: Vec<_> = command.lines().flat_map(commands).collect();
        // Other scripts are named themselves.
        if tools.is_empty() && matches!(script.as_str(), "lint" | "test") && !runs_others(command) {
            tools.push(match script.as_str() {
                "test" => "npm test".to_owned(),
                _ => format!("npm run {script}"),
            });
        }
        found.extend(tools.into_iter().map(|tool| (tool, Some(script.clone()))));
    }
    found
}

/// Whether a script checks something, by its name.
fn is_check(script: &str) -> bool {
    const WORDS: [&str; 7] = ["check", "format", "lint", "spec", "style", "test", "type"];
    WORDS.iter().any(|word| script.contains(word))
}

/// Whether a command runs scripts of package.json.
fn runs_others(command: &str) -> bool {
    const RUNNERS: [&str; 7] = [
        "bun",
        "npm",
        "npm-run-all",
        "pnpm",
        "run-p",
        "run-s",
        "yarn",
    ];
    command
        .split_whitespace()
        .any(|word| RUNNERS.contains(&word))
}

fn hooks(text: &str) -> Vec<Tool> {
    #[derive(Deserialize)]
    struct Hooks {
        #[serde(default)]
        repos: Vec<Repo>,
    }
    #[derive(Deserialize)]
    struct Repo {
        #[serde(default)]
        hooks: Vec<Hook>,
    }
    #[derive(Deserialize)]
    struct Hook {
        id: String,
    }
    let hooks = serde_saphyr::from_str::<Hooks>(text);
    let repos = hooks.map(|hooks| hooks.repos).unwrap_or_default();
    let hooks = repos.into_iter().flat_map(|repo| repo.hooks);
    hooks
        .map(|hook| (canonical(&hook.id).to_owned(), None))
        .collect()
}

fn ci_file(text: &str) -> Vec<Tool> {
    let lines = text.lines().flat_map(|line| {
        let line = line.trim_start().trim_start_matches("- ");
        let line = line.split(" #").next().unwrap_or_default();
        if line.starts_with("name:") || line.starts_with('#') {
            return Vec::new();
        }
        match line.strip_prefix("uses:") {
            Some(action) => of_action(action).into_iter().collect(),
            None => commands(line.strip_prefix("run:").unwrap_or(line)),
        }
    });
    lines.map(|tool| (tool, None)).collect()
}

/// The tool of `crate-ci/typos@v1`.
fn of_action(action: &str) -> Option<String> {
    let name = action.trim().split('@').next()?;
    known(base_name(name)).map(str::to_owned)
}

/// The tools that the commands of a line start.
fn commands(line: &str) -> Vec<String> {
    let parts = line.split([';', '&', '|', '(', ')', '`', '"', '\'']);
    parts.filter_map(command).map(str::to_owned).collect()
}

/// The tool that a command starts, behind any runners.
fn command(text: &str) -> Option<&'static str> {
    let mut words = text.split_whitespace().peekable();
    loop {
        let word = words.next()?;
        let next = words.peek().copied().unwrap_or_default();
        match base_name(word) {
            "!" | "-" | "command" | "do" | "else" | "env" | "exec" | "if" | "npx" | "bunx"
            | "sudo" | "then" | "time" | "uvx" | "xvfb-run" | "yarn" | "pnpm" | "bun" => {}
            "coverage" | "hatch" | "pdm" | "pipenv" | "pipx" | "poetry" | "rye" | "uv"
                if next == "run" =>
            {
                words.next();
            }
            "npm" if matches!(next, "exec" | "x") => drop(words.next()),
            name if name.starts_with("python") && next == "-m" => drop(words.next()),
            _ if word.starts_with('-') || word.contains('=') || matches!(word, "exec" | "dlx") => {}
            name => {
                let second = words
                    .find(|word| !word.starts_with('+'))
                    .unwrap_or_default();
                return known(&format!("{name} {second}")).or_else(|| known(name));
            }
        }
    }
}
