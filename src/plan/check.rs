//! A check: what runs, what it may see, and how its output is read.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::digest::Digest;
use crate::finding::Finding;
use crate::path::RelPath;
use crate::plan::output::Parse;
use crate::snapshot::FileId;
use crate::visible;

/// A step that yields a verdict.
#[derive(Debug, Clone)]
pub(crate) struct Check {
    /// `rust:clippy`, `yaml:yamllint@sub`, `kustomize:build:overlays/base`, or the name from the configuration.
    pub(crate) id: String,
    /// `lint`, `validate`, `security`, `test`, `ci`, or a custom tag. Commands select by tag.
    pub(crate) tags: Vec<String>,
    pub(crate) work: Work,
    pub(crate) inputs: Inputs,
    /// Names of its layers, `base` first.
    pub(crate) layers: Vec<String>,
    /// Which results are stored.
    pub(crate) cache: CacheMode,
    /// If set, the result is never stored; holds the reason (`remote resource https://… is not pinned`).
    pub(crate) not_cached: Option<String>,
    /// A folder whose listing lacks an entry, and what to say then: if it is listed, the result is not stored.
    pub(crate) lacking: Option<(RelPath, String)>,
    /// Older entries are misses.
    pub(crate) max_age: Option<Duration>,
    /// Wall time after which it is killed and counts as an error.
    pub(crate) timeout: Option<Duration>,
}

/// Time limit of a check that builds or tests.
pub(crate) const LONG: Duration = Duration::from_secs(60 * 60);
/// Time limit of any other check.
const SHORT: Duration = Duration::from_secs(10 * 60);

impl Check {
    /// A check without inputs and layers. For the tag `test`, only passes are stored.
    #[must_use]
    pub(crate) fn new(id: impl Into<String>, tag: &str, work: Work) -> Self {
        Self {
            id: id.into(),
            tags: vec![tag.to_owned()],
            work,
            inputs: Inputs::default(),
            layers: Vec::new(),
            cache: match tag {
                "test" => CacheMode::Passes,
                _ => CacheMode::All,
            },
            not_cached: None,
            lacking: None,
            max_age: None,
            timeout: Some(match tag {
                "test" => LONG,
                _ => SHORT,
            }),
        }
    }

    /// Sets its time limit.
    #[must_use]
    pub(crate) fn within(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    #[must_use]
    pub(crate) fn sees(mut self, inputs: Inputs) -> Self {
        self.inputs = inputs;
        self
    }

    #[must_use]
    pub(crate) fn on(mut self, layers: Vec<String>) -> Self {
        self.layers = layers;
        self
    }

    /// Sets the reason not to store its results, unless there is one already.
    #[must_use]
    pub(crate) fn not_cached(mut self, why: Option<String>) -> Self {
        self.not_cached = self.not_cached.or(why);
        self
    }

    /// The language for `--rust-only` and its siblings: `rust` for `rust:fmt`; empty for custom checks.
    #[must_use]
    pub(crate) fn language(&self) -> &str {
        self.id.split_once(':').map_or("", |(language, _)| language)
    }
}

/// The id of a check or layer for `dir`: `id` for the root, `id@dir` below it.
#[must_use]
pub(crate) fn id_at(id: &str, dir: &RelPath) -> String {
    if dir.is_root() {
        id.to_owned()
    } else {
        format!("{id}@{}", visible::id(dir))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum CacheMode {
    #[default]
    All,
    /// Only passes, the default for the tag `test`.
    Passes,
    Off,
}

#[derive(Debug, Clone)]
pub(crate) enum Work {
    /// Runs in process, on verified content.
    Builtin(Arc<dyn Builtin>),
    /// A program run by an engine.
    Command(Box<Command>),
    /// A tool that the project declares is missing: an error (exit 3), never a silent pass. Holds the message, which
    /// names the tool, where it is declared, and the ways to get it.
    Missing(String),
    /// Planned, but not supported by this version; `ci` reports it. Holds the reason.
    Unsupported(String),
}

/// The files a check may see, as snapshot indices; each list is sorted and without duplicates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Inputs {
    /// Files every part sees.
    pub(crate) shared: Vec<FileId>,
    /// The subset of `shared` that configures the tool; only affects the wording of miss reasons (`config-changed`).
    pub(crate) config: Vec<FileId>,
    /// The checked files of a per-file check. Each is one part, which sees `shared` and itself. `None` means that the
    /// whole check is one part.
    pub(crate) parts: Option<Vec<FileId>>,
    /// What links among the parts lead to, which only that part sees.
    pub(crate) linked: BTreeMap<FileId, Vec<FileId>>,
    /// Files outside the universe or above the root that the tool would find, by their place in the room.
    pub(crate) outside: Vec<OutsideFile>,
    /// Folders that exist for the check although it sees none of their files, sorted.
    pub(crate) folders: Vec<RelPath>,
}

impl Inputs {
    /// The files of a per-file check.
    #[must_use]
    pub(crate) fn per_file(parts: Vec<FileId>) -> Self {
        Self {
            parts: Some(parts),
            ..Self::default()
        }
    }

    /// The files of a check without parts.
    #[must_use]
    pub(crate) fn whole(shared: impl IntoIterator<Item = FileId>) -> Self {
        Self::default().and_shared(shared)
    }

    /// Adds files that every part sees.
    #[must_use]
    pub(crate) fn and_shared(mut self, shared: impl IntoIterator<Item = FileId>) -> Self {
        self.shared.extend(shared);
        self.shared.sort_unstable();
        self.shared.dedup();
        self
    }

    /// Adds files that every part sees and that configure the tool.
    #[must_use]
    pub(crate) fn and_config(mut self, config: impl IntoIterator<Item = FileId>) -> Self {
        self.config = config.into_iter().collect();
        let config = self.config.clone();
        self.and_shared(config)
    }

    /// The checked files and what links among them lead to, sorted; `None` for a check without parts.
    #[must_use]
    pub(crate) fn checked(&self) -> Option<Vec<FileId>> {
        let mut files = self.parts.clone()?;
        if !self.linked.is_empty() {
            files.extend(self.linked.values().flatten());
            files.sort_unstable();
            files.dedup();
        }
        Some(files)
    }

    /// What a run on these parts sees besides them, sorted.
    #[must_use]
    pub(crate) fn seen_with(&self, parts: &[FileId]) -> Cow<'_, [FileId]> {
        let mut linked = parts.iter().filter_map(|id| self.linked.get(id)).peekable();
        if linked.peek().is_none() {
            return Cow::Borrowed(&self.shared);
        }
        let all = self.shared.iter().chain(linked.flatten()).copied();
        let all: BTreeSet<FileId> = all.filter(|id| !parts.contains(id)).collect();
        Cow::Owned(all.into_iter().collect())
    }

    /// Adds folders by their mere name.
    #[must_use]
    pub(crate) fn and_folders(mut self, folders: BTreeSet<RelPath>) -> Self {
        self.folders = folders.into_iter().collect();
        self
    }

    /// Files that are no members of the snapshot.
    #[must_use]
    pub(crate) fn and_outside(mut self, outside: impl IntoIterator<Item = OutsideFile>) -> Self {
        self.outside.extend(outside);
        self
    }
}

impl From<Command> for Work {
    fn from(command: Command) -> Self {
        Self::Command(Box::new(command))
    }
}

/// A file outside the snapshot that the check sees: configuration above the project root, or a literally named
/// ignored input.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OutsideFile {
    /// Its location: `up` folders above the root, then `path`.
    pub(crate) up: u32,
    pub(crate) path: RelPath,
    /// Digest of its content when planned.
    pub(crate) digest: Digest,
}

/// A check that runs in process.
///
/// It fails if it returns a finding of severity `Error`.
pub(crate) trait Builtin: fmt::Debug + Send + Sync {
    /// Part of the key: different built-ins with equal inputs must not share a result.
    fn name(&self) -> &'static str;

    /// Part of the key. Raise it with every change that could affect a verdict or a finding.
    fn version(&self) -> u32;

    /// Everything else that affects the outcome, as (name, value) pairs for the key.
    fn params(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Checks the files of `view`: the shared ones and, for a check with parts, one part. The caller sorts the
    /// findings.
    ///
    /// # Errors
    /// If content cannot be read or is no longer what was hashed; the run then takes a new snapshot.
    fn check(&self, view: &dyn InputView) -> std::io::Result<Vec<Finding>>;
}

/// What a built-in check may see.
pub(crate) trait InputView {
    /// The part of this call; `None` for a whole check.
    fn part(&self) -> Option<&RelPath>;

    /// The verified content of a visible file, or the target of a link.
    ///
    /// # Errors
    /// `NotFound` if it is not visible; other errors if it cannot be read, is too large to be read as a whole, or
    /// differs from what was hashed.
    fn read(&self, path: &str) -> std::io::Result<Vec<u8>>;

    /// Like [`InputView::read`], piece by piece, for content of any size. What `take` received is void if this fails.
    fn pass(
        &self,
        path: &str,
        take: &mut dyn FnMut(&[u8]) -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        take(&self.read(path)?)
    }
}

/// A program that an engine runs in a room or a container.
#[derive(Clone)]
pub(crate) struct Command {
    /// Program and arguments. A program without `/` is looked up in `tools`; one with `/` is a file of the snapshot.
    pub(crate) argv: Vec<String>,
    /// Commands to run first in the same place, only for their effect on `products` (`cargo clean -p …`). If one
    /// fails, the check is an error.
    pub(crate) before: Vec<Vec<String>>,
    /// Selects and adapts the needed commands of `before` for the given changes; `None` runs all of them.
    pub(crate) refresh: Option<Arc<dyn Refresh>>,
    pub(crate) dir: RelPath,
    /// Whether the parts' paths (relative to `dir`) are appended to argv.
    pub(crate) append_files: bool,
    /// Whether many parts may share one process; [`Parse`] then attributes the output to them.
    pub(crate) batch: bool,
    /// Names of the user's variables it may see. Their values are in the key; unset differs from empty.
    pub(crate) env: Vec<String>,
    /// Variables with fixed values, which are in the key.
    pub(crate) set_env: BTreeMap<String, String>,
    /// Variables that grant access to a place on the host (`CARGO_HOME`). Their names are in the key, their values
    /// are not: layers and tools account for the relevant content.
    pub(crate) grants: BTreeMap<String, PathBuf>,
    /// Files that are not the project's and are put into its room, by path. Not in the key, like the content of grants.
    pub(crate) laid: Vec<(RelPath, Vec<u8>)>,
    /// A file of the project that it sees in a reduced form, which is in the key instead of its content. Not among its
    /// inputs.
    pub(crate) reduced: Option<Reduced>,
    pub(crate) tools: Vec<Tool>,
    /// Names of undeclared `tools` that were added because earlier runs failed without them.
    pub(crate) discovered: Vec<String>,
    /// Folders (relative to the project root) that survive between runs in the same room.
    pub(crate) products: Vec<RelPath>,
    /// Initial content for the first of `products`.
    pub(crate) seed: Option<Arc<dyn Seed>>,
    /// Decides which failures are not verdicts.
    pub(crate) retry: Option<Arc<dyn Retry>>,
    /// If set, the key omits the content of files that were not read, where the engine can detect reads. Names a file
    /// that every run reads: if it seems unread, reads could not be detected. Only for programs whose verdict depends
    /// on names and content, because queries of size and times cannot be detected.
    pub(crate) reads: Option<RelPath>,
    /// Whether to observe what it does with files, where the engine can. The key then holds only what it asked about.
    pub(crate) trace: bool,
    /// Why its result is not stored unless it was observed: nothing else tells what a program of its uses.
    pub(crate) unless_traced: Option<String>,
    /// Globs of the files it makes, relative to the project root; they are restored on a hit.
    pub(crate) outputs: Vec<String>,
    pub(crate) network: bool,
    /// What it may use of the machine, where that was configured.
    pub(crate) limits: Limits,
    /// The user's secret variables it may see, sorted by name.
    pub(crate) secrets: Vec<Secret>,
    /// How its output becomes findings.
    pub(crate) parse: Arc<dyn Parse>,
    /// Whether stdout is a product, which human reports omit if the check passes (`kustomize build`).
    pub(crate) quiet_stdout: bool,
    /// If set, the place it runs in is kept for its next run, provided the engine can update its files by content.
    /// Holds shell text (`sh -c`) that replaces each command of `before` and gets it as arguments. `$0` is a file
    /// listing the paths (relative to the project root; `../` for files above it) that were added, changed or removed
    /// since the last run; it is empty if nothing changed or the changes are unknown.
    pub(crate) keep: Option<String>,
    /// Adjusts the command after arguments were appended to `argv` (a parser that knows `--strict`, say).
    pub(crate) amend: Option<fn(&mut Self)>,
}

impl Command {
    /// A command that sees nothing of the user's environment, runs once for the whole check and leaves nothing.
    #[must_use]
    pub(crate) fn new(
        argv: Vec<String>,
        dir: RelPath,
        tools: Vec<Tool>,
        parse: Arc<dyn Parse>,
    ) -> Self {
        Self {
            argv,
            before: Vec::new(),
            refresh: None,
            dir,
            append_files: false,
            batch: false,
            env: Vec::new(),
            set_env: BTreeMap::new(),
            grants: BTreeMap::new(),
            laid: Vec::new(),
            reduced: None,
            tools,
            discovered: Vec::new(),
            products: Vec::new(),
            seed: None,
            retry: None,
            reads: None,
            trace: false,
            unless_traced: None,
            outputs: Vec::new(),
            network: false,
            limits: Limits::default(),
            secrets: Vec::new(),
            parse,
            quiet_stdout: false,
            keep: None,
            amend: None,
        }
    }

    /// Whether its runs may be traced: what it finds depends on nothing that earlier runs left.
    #[must_use]
    pub(crate) fn can_be_traced(&self) -> bool {
        self.trace && self.reads.is_none() && self.products.is_empty() && self.keep.is_none()
    }

    /// Appends files as arguments and reports findings for each.
    #[must_use]
    pub(crate) fn per_file(mut self) -> Self {
        self.append_files = true;
        self.batch = true;
        self
    }
}

/// What a command may use of the machine. Sizes are in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Processes at a time.
    pub(crate) processes: Option<u64>,
    pub(crate) memory: Option<u64>,
    /// What one run may write.
    pub(crate) disk: Option<u64>,
    pub(crate) file_size: Option<u64>,
    /// Open files of a process.
    pub(crate) open_files: Option<u64>,
    /// What is kept of each output stream.
    pub(crate) output: Option<u64>,
}

impl Limits {
    /// Those that are set, by their names in the configuration.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let all = [
            ("processes", self.processes),
            ("memory", self.memory),
            ("disk", self.disk),
            ("file-size", self.file_size),
            ("open-files", self.open_files),
            ("output", self.output),
        ];
        all.into_iter()
            .filter_map(|(name, limit)| Some((name, limit?)))
    }
}

/// A file without what does not matter in it.
#[derive(Debug, Clone)]
pub(crate) struct Reduced {
    pub(crate) path: RelPath,
    /// Digest of the reduced form.
    pub(crate) digest: Digest,
    pub(crate) reduce: fn(&str) -> String,
}

/// A secret variable: its value is masked in output and never written anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Secret {
    pub(crate) name: String,
    /// Stands for the value in keys; `None` if it is unset or not sealed yet.
    pub(crate) mac: Option<Digest>,
    /// Whether the whole team gets the same digest. Otherwise, results stay on this machine.
    pub(crate) shared: bool,
}

impl Secret {
    #[must_use]
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            mac: None,
            shared: false,
        }
    }
}

impl Work {
    /// Whether there is something to run.
    #[must_use]
    pub(crate) fn can_run(&self) -> bool {
        !matches!(self, Self::Missing(_))
    }

    #[must_use]
    pub(crate) fn command(&self) -> Option<&Command> {
        match self {
            Self::Command(command) => Some(command),
            _ => None,
        }
    }
}

impl Command {
    /// The folders that `outputs` name without metacharacters.
    #[must_use]
    pub(crate) fn output_folders(&self) -> Vec<RelPath> {
        let globs = self.outputs.iter().filter(|glob| !glob.starts_with('!'));
        let folder = |glob: &String| {
            let plain = glob.find(['*', '?', '[', '{', '\\']).unwrap_or(glob.len());
            let (dir, _) = glob.get(..plain)?.rsplit_once('/')?;
            RelPath::new(dir).ok()
        };
        globs.filter_map(folder).collect()
    }
}

/// Knows which products of earlier runs are invalid after some changes.
pub(crate) trait Refresh: fmt::Debug + Send + Sync {
    /// Returns the commands to run: some of `before`, or replacements.
    fn before(&self, before: &[Vec<String>], changes: &Changes) -> Vec<Vec<String>>;
}

/// Products from elsewhere for a place that has none yet.
pub(crate) trait Seed: fmt::Debug + Send + Sync {
    /// Copies them to `products`, which must not exist; returns `false` if there is nothing to copy.
    fn plant(&self, products: &std::path::Path) -> std::io::Result<bool>;
}

/// Recognises failures of a command that are not verdicts, or need another run.
pub(crate) trait Retry: fmt::Debug + Send + Sync {
    /// What to do after a failure; `None` if it is a verdict.
    fn after(&self, failure: &Failure<'_>) -> Option<Next>;
}

/// How a command, or one before it, failed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failure<'a> {
    /// Whether it was an earlier command.
    pub(crate) before: bool,
    /// Whether its products came from [`Command::seed`].
    pub(crate) seeded: bool,
    pub(crate) stdout: &'a str,
    /// Standard error; for an earlier command, all of its output.
    pub(crate) stderr: &'a str,
}

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// A verdict with this exit code: the command would report the same.
    Verdict(i32),
    /// Run again without [`Command::seed`].
    WithoutSeed,
    /// Run again after rebuilding the layers.
    WithNewLayers,
    /// None: the check could not be done, for this reason.
    NoVerdict(&'static str),
}

/// How the files of a place changed since its products were up to date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Changes {
    NoProducts,
    Unknown,
    /// Exactly these changes. Omits files that no run has read and that kept their names.
    Known(Vec<Change>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// Relative to the project root; `../` for files above it.
    pub(crate) path: String,
    /// Whether only the content changed: the file existed and still exists as the same kind.
    pub(crate) content_only: bool,
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("argv", &self.argv)
            .field("dir", &self.dir)
            .field("tools", &self.tools)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tool {
    Host {
        /// The name on the check's PATH.
        name: String,
        /// The real program, behind managers and shims.
        path: PathBuf,
        /// Digest of the binary and whatever else determines its behaviour.
        identity: Digest,
        /// For display (`ruff 0.5.7`).
        version: Option<String>,
    },
    /// A program in an environment built by a layer, identified by the layer's key.
    Layer {
        /// The name on the check's PATH.
        name: String,
        layer: String,
        /// Path below the layer's folder (`bin/yamllint`).
        path: String,
        version: Option<String>,
    },
    /// A program of the check's container, identified by the layers' keys. If it does not exist, the check is an
    /// error.
    Image {
        /// The name on the check's PATH.
        name: String,
    },
    /// A program the check would use if it were there: absent differs from present in the key.
    Absent { name: String },
}

impl Tool {
    /// The name on the check's PATH.
    #[must_use]
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Host { name, .. }
            | Self::Layer { name, .. }
            | Self::Image { name }
            | Self::Absent { name } => name,
        }
    }
}
