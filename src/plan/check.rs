//! A check: what runs, what it may see, and what becomes of its output.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::digest::Digest;
use crate::finding::Finding;
use crate::path::RelPath;
use crate::plan::output::Parse;
use crate::snapshot::FileId;

/// One step that yields a verdict.
#[derive(Debug, Clone)]
pub(crate) struct Check {
    /// `rust:clippy`, `yaml:yamllint@sub`, `kustomize:build:overlays/base`, or the name from the configuration.
    pub(crate) id: String,
    /// `lint`, `validate`, `security`, `test`, `ci`, or the user's own. What the commands select by.
    pub(crate) tags: Vec<String>,
    /// What is done.
    pub(crate) work: Work,
    /// What it may see.
    pub(crate) inputs: Inputs,
    /// Names of the layers it stands on, `base` first.
    pub(crate) layers: Vec<String>,
    /// What of its results is stored.
    pub(crate) cache: CacheMode,
    /// If set, the result is never stored, and this says why (`remote resource https://… is not pinned`).
    pub(crate) not_cached: Option<String>,
    /// Entries older than this miss.
    pub(crate) max_age: Option<Duration>,
    /// Wall time after which it is stopped and counts as an error.
    pub(crate) timeout: Option<Duration>,
}

impl Check {
    /// A check that sees nothing yet and stands on nothing. Of tests only passes are stored.
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
            max_age: None,
            timeout: None,
        }
    }

    /// It sees these files.
    #[must_use]
    pub(crate) fn sees(mut self, inputs: Inputs) -> Self {
        self.inputs = inputs;
        self
    }

    /// It stands on these layers.
    #[must_use]
    pub(crate) fn on(mut self, layers: Vec<String>) -> Self {
        self.layers = layers;
        self
    }

    /// Its results are not stored if there is a reason, unless an earlier one was given.
    #[must_use]
    pub(crate) fn not_cached(mut self, why: Option<String>) -> Self {
        self.not_cached = self.not_cached.or(why);
        self
    }

    /// What `--rust-only` and its siblings select by: `rust` of `rust:fmt`; empty for checks of the configuration.
    #[must_use]
    pub(crate) fn language(&self) -> &str {
        self.id.split_once(':').map_or("", |(language, _)| language)
    }
}

/// The id of a check or layer that belongs to `dir`: `id` for the root, `id@dir` below it.
#[must_use]
pub(crate) fn id_at(id: &str, dir: &RelPath) -> String {
    if dir.is_root() {
        id.to_owned()
    } else {
        format!("{id}@{dir}")
    }
}

/// Which results of a check are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum CacheMode {
    /// Passes and failures.
    #[default]
    All,
    /// Passes only (the default for tag `test`).
    Passes,
    /// Nothing.
    Off,
}

/// What is done.
#[derive(Debug, Clone)]
pub(crate) enum Work {
    /// Done in process, on verified content.
    Builtin(Arc<dyn Builtin>),
    /// A program run by an engine.
    Command(Box<Command>),
    /// The project declares a tool that is not here: an error (exit 3), never a silent pass.
    /// Holds the message: which tool, declared where, and the ways out.
    Missing(String),
    /// It is planned, but this version cannot run it; `ci` names it. Holds the reason.
    Unsupported(String),
}

/// The files a check may see, as indices into the snapshot, each list sorted and without repeats.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Inputs {
    /// Files every part sees.
    pub(crate) shared: Vec<FileId>,
    /// The subset of `shared` that configures the tool; only used to word miss reasons (`config-changed`).
    pub(crate) config: Vec<FileId>,
    /// For a check that works file by file: the checked files. Each is one part, which sees `shared` and itself.
    /// `None` = the whole check is one part.
    pub(crate) parts: Option<Vec<FileId>>,
    /// Files outside the universe or above the root that the tool would find, by the place they take in the room.
    pub(crate) outside: Vec<OutsideFile>,
}

impl Inputs {
    /// The files of a check that works file by file.
    #[must_use]
    pub(crate) fn per_file(parts: Vec<FileId>) -> Self {
        Self {
            parts: Some(parts),
            ..Self::default()
        }
    }

    /// The files of a check that is one part.
    #[must_use]
    pub(crate) fn whole(shared: impl IntoIterator<Item = FileId>) -> Self {
        Self::default().and_shared(shared)
    }

    /// Files that every part sees as well.
    #[must_use]
    pub(crate) fn and_shared(mut self, shared: impl IntoIterator<Item = FileId>) -> Self {
        self.shared.extend(shared);
        self.shared.sort_unstable();
        self.shared.dedup();
        self
    }

    /// Files that every part sees and that configure the tool.
    #[must_use]
    pub(crate) fn and_config(mut self, config: impl IntoIterator<Item = FileId>) -> Self {
        self.config = config.into_iter().collect();
        let config = self.config.clone();
        self.and_shared(config)
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

/// A file that is no member of the snapshot but that the check sees: configuration above the project root, or a
/// literal ignored input.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OutsideFile {
    /// Where it is, from the root: `up` folders above the root, then `path`.
    pub(crate) up: u32,
    /// The path below that folder.
    pub(crate) path: RelPath,
    /// Its content's digest when planned.
    pub(crate) digest: Digest,
}

/// A check done in process.
///
/// Its verdict: failed if it returns a finding of severity `Error`.
pub(crate) trait Builtin: fmt::Debug + Send + Sync {
    /// Goes into the key: equal versions and inputs of two built-ins must not make one result of theirs.
    fn name(&self) -> &'static str;

    /// Goes into the key. Raised with every change that could change a verdict or a finding.
    fn version(&self) -> u32;

    /// Everything else that shapes the outcome, as (name, value) pairs for the key.
    fn params(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Checks the files of `view`: the shared ones and, for a check with parts, one part.
    /// Findings are sorted by the caller.
    ///
    /// # Errors
    /// If content cannot be read or is no longer what was hashed; the run then takes a new snapshot.
    fn check(&self, view: &dyn InputView) -> std::io::Result<Vec<Finding>>;
}

/// What a built-in check sees.
pub(crate) trait InputView {
    /// The part this call is about; `None` for a whole check.
    fn part(&self) -> Option<&RelPath>;

    /// The verified content of a visible file; the text of the target for a link.
    ///
    /// # Errors
    /// `NotFound` if it is not visible; others if it cannot be read or differs from what was hashed.
    fn read(&self, path: &str) -> std::io::Result<Vec<u8>>;
}

/// A program run by an engine in a room or a container.
#[derive(Clone)]
pub(crate) struct Command {
    /// Program and arguments. A program without `/` is looked up in `tools`; with `/` it is a file of the snapshot.
    pub(crate) argv: Vec<String>,
    /// Commands run before it in the same place, for their effect on `products` only (`cargo clean -p …`).
    /// A failure of one is an infrastructure error.
    pub(crate) before: Vec<Vec<String>>,
    /// Which of `before` are needed, and how, after given changes; `None` = always all of them.
    pub(crate) refresh: Option<Arc<dyn Refresh>>,
    /// Working directory.
    pub(crate) dir: RelPath,
    /// Whether the parts' paths (relative to `dir`) are appended to argv.
    pub(crate) append_files: bool,
    /// Whether many parts may share one process, their output being told apart by [`Parse`].
    pub(crate) batch: bool,
    /// Names of the user's variables it may see. Their values enter the key; unset differs from empty.
    pub(crate) env: Vec<String>,
    /// Variables set to fixed values. In the key.
    pub(crate) set_env: BTreeMap<String, String>,
    /// Variables that grant a place of the host (`CARGO_HOME`). Their names are in the key, their values are not:
    /// what matters of the content is a layer's or a tool's business.
    pub(crate) grants: BTreeMap<String, PathBuf>,
    /// The programs on its PATH, sorted by name.
    pub(crate) tools: Vec<Tool>,
    /// Names of those among `tools` that nobody declared: runs that failed for want of them told.
    pub(crate) discovered: Vec<String>,
    /// Folders (relative to the project root) that survive between runs in the same room.
    pub(crate) products: Vec<RelPath>,
    /// What the first of `products` may begin with.
    pub(crate) seed: Option<Arc<dyn Seed>>,
    /// Which of its failures call for something else than being believed.
    pub(crate) retry: Option<Arc<dyn Retry>>,
    /// If set, the content of files it did not read is left out of its key, where the engine can tell what it read.
    /// Names a file that every run reads: a run that seems not to is one whose reads could not be seen. Only for
    /// programs whose verdict follows from names and content: size and times of a file can be asked for unseen.
    pub(crate) reads: Option<RelPath>,
    /// Globs of what it makes, relative to the project root; the files are restored on a hit.
    pub(crate) outputs: Vec<String>,
    /// Whether it may use the network.
    pub(crate) network: bool,
    /// Secret variables of the user's it may see, sorted by name.
    pub(crate) secrets: Vec<Secret>,
    /// How its output becomes findings.
    pub(crate) parse: Arc<dyn Parse>,
    /// Whether stdout is the product and is left out of human reports when the check passes (`kustomize build`).
    pub(crate) quiet_stdout: bool,
    /// If set, the place it runs in is kept for its next run, where an engine can bring its files there up to date by
    /// content. Holds shell text (`sh -c`) that is run instead of each of `before`, which are its arguments. `$0` is a
    /// file with the paths (relative to the project root, one with `../` lies above) that were added, changed or removed
    /// since the last run: empty if that is not known, or nothing was.
    pub(crate) keep: Option<String>,
    /// What has to follow when arguments were appended to `argv` (a parser that knows `--strict`, say).
    pub(crate) amend: Option<fn(&mut Self)>,
}

impl Command {
    /// A command that sees nothing of the user's, runs once for the whole check and leaves nothing.
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
            tools,
            discovered: Vec::new(),
            products: Vec::new(),
            seed: None,
            retry: None,
            reads: None,
            outputs: Vec::new(),
            network: false,
            secrets: Vec::new(),
            parse,
            quiet_stdout: false,
            keep: None,
            amend: None,
        }
    }

    /// It takes files as arguments, and says of each what is wrong with it.
    #[must_use]
    pub(crate) fn per_file(mut self) -> Self {
        self.append_files = true;
        self.batch = true;
        self
    }
}

/// A secret variable: its value is masked in what the check says, and written nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Secret {
    /// Its name.
    pub(crate) name: String,
    /// What stands for its value in keys; `None` if it is unset, or not sealed yet.
    pub(crate) mac: Option<Digest>,
    /// Whether others in the team get the same: without that, results stay on this machine.
    pub(crate) shared: bool,
}

impl Secret {
    /// Not sealed yet.
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
    /// The program, if it is one.
    #[must_use]
    pub(crate) fn command(&self) -> Option<&Command> {
        match self {
            Self::Command(command) => Some(command),
            _ => None,
        }
    }
}

impl Command {
    /// The folders that `outputs` name without any metacharacter.
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

/// Knows which products of earlier runs cannot be trusted after some changes.
pub(crate) trait Refresh: fmt::Debug + Send + Sync {
    /// What has to be done of `before`, or instead of it.
    fn before(&self, before: &[Vec<String>], changes: &Changes) -> Vec<Vec<String>>;
}

/// Products that somebody else made, for a place that has none yet.
pub(crate) trait Seed: fmt::Debug + Send + Sync {
    /// Copies them to `products`, a folder that is not there yet; `false` if there is nothing to copy.
    ///
    /// # Errors
    /// If something cannot be read or written. What was copied is then of no use.
    fn plant(&self, products: &std::path::Path) -> std::io::Result<bool>;
}

/// Knows the failures of a command that are no verdict, or come before one.
pub(crate) trait Retry: fmt::Debug + Send + Sync {
    /// What follows a failure; `None` if it is believed as it is.
    fn after(&self, failure: &Failure<'_>) -> Option<Next>;
}

/// How a command, or one before it, failed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failure<'a> {
    /// Whether it was one before it.
    pub(crate) before: bool,
    /// Whether its products began with what [`Command::seed`] copied.
    pub(crate) seeded: bool,
    /// Its standard output.
    pub(crate) stdout: &'a str,
    /// Its standard error; of a command before, all that it said.
    pub(crate) stderr: &'a str,
}

/// What follows a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// The command would say the same: its verdict, with this exit code.
    Verdict(i32),
    /// Another run, without what [`Command::seed`] copies.
    WithoutSeed,
    /// Another run, on layers that are built anew.
    WithNewLayers,
}

/// What became of the files of a place since the products in it were brought up to date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Changes {
    /// There are no products.
    NoProducts,
    /// It cannot be told.
    Unknown,
    /// Exactly this. Files that no run has read and that kept their names are left out.
    Known(Vec<Change>),
}

/// A file that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// Its path in the project; one with `../` lies above it.
    pub(crate) path: String,
    /// Whether only its content changed: it was and is there, and is still of the same kind.
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

/// A program a check may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tool {
    /// A program of the host.
    Host {
        /// The name it has on the check's PATH.
        name: String,
        /// Where it is, resolved through managers and shims.
        path: PathBuf,
        /// What it is: digest of the binary and whatever else decides its behaviour.
        identity: Digest,
        /// For people (`ruff 0.5.7`).
        version: Option<String>,
    },
    /// A program of an environment that a layer builds; the layer's key is its identity.
    Layer {
        /// The name it has on the check's PATH.
        name: String,
        /// Name of the layer.
        layer: String,
        /// Path below the layer's folder (`bin/yamllint`).
        path: String,
        /// For people.
        version: Option<String>,
    },
    /// A program of the container the check runs in. The layers' keys are its identity; if it is not there, the check
    /// is an error.
    Image {
        /// The name it has on the check's PATH.
        name: String,
    },
    /// A program the check would use if it were there: absent differs from present in the key.
    Absent {
        /// The name.
        name: String,
    },
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
