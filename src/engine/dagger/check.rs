//! One check in its container: from a request to what the command said.
//!
//! Stays free of layers and of how files come to the engine's side.

use std::path::{Path, PathBuf};
use std::time::Duration;

use dagger_sdk::{Container, DirectoryFilterOpts, HostDirectoryOpts, Id, Query};

use super::failure::Failure;
use super::layers::files;
use super::stage::{Stage, above};
use super::wrapper::{AGAIN, NONCE, OUT, Wrapped, exit};
use super::{PLACE, nonce};
use crate::engine::environment::environment;
use crate::engine::relative::Relative;
use crate::engine::{
    Ended, EngineError, Executed, Place, Request, describe, folders, part_arguments, quoted,
};
use crate::env::PATH;
use crate::path::RelPath;
use crate::plan::layer::container_folder;
use crate::plan::{Build, Output, Tool};
use crate::process::Limits;
use crate::room::Layout;
use crate::rule::Rule;
use crate::snapshot::FileId;

/// Everything one check needs, with nothing borrowed: a pipeline runs as a task of its own.
#[derive(Debug, Clone)]
pub(super) struct Action {
    pub layout: Layout,
    /// The staged copy of the project root, and which of it the check sees; all of it if empty.
    pub stage: PathBuf,
    pub include: Vec<String>,
    /// Files from above the project root: on the host, and in the container.
    pub above: Vec<(PathBuf, PathBuf)>,
    /// Files that are not the project's.
    pub extra: Vec<(RelPath, Vec<u8>)>,
    pub arguments: Vec<String>,
    /// Names of variables of the user's whose values are secret.
    pub secrets: Vec<String>,
    /// Whether the engine's memory does not count.
    pub again: bool,
    /// Patterns of what it makes, if that is wanted.
    pub outputs: Vec<String>,
    /// A folder of this run's own.
    pub scratch: PathBuf,
}

impl Action {
    pub fn new(request: &Request<'_>, stage: &Stage, scratch: &Path) -> Self {
        let command = request.command;
        let depth = request.outside.iter().map(|file| file.up).max();
        let layout = Layout::new(PLACE, depth.unwrap_or(1));
        let sets: [&[FileId]; 2] = [request.shared, request.parts];
        let tree = layout.tree();
        let at = |dir: &RelPath| dir.under(&tree).to_string_lossy().into_owned();
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let mut made: Vec<String> = folders(request).iter().map(at).collect();
        made.extend([text(layout.home()), text(layout.tmp())]);
        let mut argv = command.argv.clone();
        if command.append_files {
            argv.extend(part_arguments(
                &command.dir,
                request.parts,
                request.snapshot,
            ));
        }
        let secret = |name: &str| command.secrets.iter().any(|secret| secret.name == name);
        let env = environment(&layout, command, request.env).into_iter();
        let env = env.filter(|(name, _)| name != PATH && !name.to_str().is_some_and(secret));
        let env = env
            .map(|(name, value)| format!("{}={}", name.to_string_lossy(), value.to_string_lossy()));
        let names = command
            .tools
            .iter()
            .filter(|tool| !matches!(tool, Tool::Absent { .. }));
        let wrapped = Wrapped {
            limit: request.timeout,
            dir: at(&command.dir),
            path: path(&command.tools),
            folders: made,
            env: env.collect(),
            needs: names.map(|tool| tool.name().to_owned()).collect(),
            before: command.before.clone(),
            argv,
        };
        let set = |name: &&String| request.env.var_os(name).is_some();
        let secrets = command
            .secrets
            .iter()
            .map(|secret| &secret.name)
            .filter(set);
        let outputs = match &*command.outputs {
            [] => Vec::new(),
            _ => output_patterns(&command.outputs),
        };
        Self {
            include: stage.patterns(request.snapshot, &sets, request.outside),
            stage: stage.layout().tree(),
            above: above(&stage.layout(), &layout, request.outside),
            extra: Vec::new(),
            arguments: wrapped.arguments(),
            secrets: secrets.cloned().collect(),
            again: request.again && Rule::RunAgain.holds(),
            outputs,
            scratch: scratch.to_owned(),
            layout,
        }
    }

    /// Where what the command left is brought to.
    pub fn out(&self) -> PathBuf {
        self.scratch.join("out")
    }

    fn made(&self) -> PathBuf {
        self.scratch.join("made")
    }

    /// Runs it on `on`. Returns the nonce it was sent with.
    pub async fn run(self, query: Query, on: Container) -> Result<String, Failure> {
        let mut container = self.with_files(&query, on).await?;
        for name in &self.secrets {
            // Without a key of our own: the engine's is made from the value.
            let secret = query.secret(format!("env://{name}")).id().await?;
            container = container.with_secret_variable(name.as_str(), secret);
        }
        let sent = nonce();
        if self.again {
            container = container.with_env_variable(AGAIN, sent.as_str());
        }
        let ran = container
            .with_volatile_variable(NONCE, sent.as_str())
            .with_exec(self.arguments.clone());
        ran.directory(OUT)
            .export(self.out().to_string_lossy())
            .await?;
        if !Rule::OutputAsBytes.holds() {
            for name in ["stdout", "stderr"] {
                let text = ran.file(format!("{OUT}/{name}")).contents().await?;
                let _ = std::fs::write(self.out().join(name), text);
            }
        }
        if !self.outputs.is_empty() {
            let opts = DirectoryFilterOpts {
                include: Some(self.outputs.iter().map(String::as_str).collect()),
                exclude: None,
                gitignore: None,
            };
            let tree = ran.directory(self.layout.tree().to_string_lossy());
            let made = tree.filter_opts(opts);
            made.export(self.made().to_string_lossy()).await?;
        }
        Ok(sent)
    }

    async fn with_files(&self, query: &Query, on: Container) -> Result<Container, Failure> {
        let opts = HostDirectoryOpts {
            exclude: None,
            gitignore: None,
            include: match &*self.include {
                [] => None,
                patterns => Some(patterns.iter().map(String::as_str).collect()),
            },
            no_cache: Some(true),
        };
        let tree = query
            .host()
            .directory_opts(self.stage.to_string_lossy(), opts);
        let mut tree = tree.with_new_directory(".git");
        if !self.extra.is_empty() {
            let extra = files(query, &self.extra, &self.scratch.join("extra")).await?;
            tree = tree.with_directory(".", extra);
        }
        let (mut place, mut all) = (self.layout.tree(), tree);
        if !self.above.is_empty() {
            let up = self.layout.up();
            let below = |path: &Path| {
                let path = path.strip_prefix(&up).unwrap_or(path);
                path.to_string_lossy().into_owned()
            };
            let tree = all.id().await?;
            all = query.directory().with_directory(below(&place), tree);
            for (here, there) in &self.above {
                let file = query.host().file(here.to_string_lossy()).id().await?;
                all = all.with_file(below(there), file);
            }
            place = up;
        }
        let id: Id = all.id().await?;
        Ok(on.with_mounted_directory(place.to_string_lossy(), id))
    }
}

/// Folders of the programs of layers, each once.
fn path(tools: &[Tool]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for tool in tools {
        let Tool::Layer { layer, path, .. } = tool else {
            continue;
        };
        let folder = container_folder(layer);
        let folder = match path.rsplit_once('/') {
            Some((dir, _)) => format!("{folder}/{dir}"),
            None => folder,
        };
        if !all.contains(&folder) {
            all.push(folder);
        }
    }
    all
}

/// The folders that globs begin with; everything, if one of them begins at the root.
fn output_patterns(globs: &[String]) -> Vec<String> {
    let globs = globs.iter().filter(|glob| !glob.starts_with('!'));
    let folder = |glob: &String| {
        let plain = glob.find(['*', '?', '[', '{', '\\']).unwrap_or(glob.len());
        match glob.get(..plain)?.rsplit_once('/') {
            Some((dir, _)) => Some(format!("{dir}/**")),
            None if plain == glob.len() => Some(glob.clone()),
            None => None,
        }
    };
    let all: Option<Vec<String>> = globs.map(folder).collect();
    all.unwrap_or_else(|| vec!["**".to_owned()])
}

/// What the files tell that a command left.
pub(super) fn executed(
    request: &Request<'_>,
    action: &Action,
    sent: &str,
    hold: tempfile::TempDir,
) -> Result<Executed, EngineError> {
    let out = action.out();
    let read = |name: &str| {
        let path = out.join(name);
        std::fs::read(&path).map_err(|source| EngineError::Io { path, source })
    };
    let text = |name: &str| read(name).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let code = text("code")?;
    let code: i32 = code.trim().parse().map_err(|_| {
        EngineError::Unavailable("the container did not say how the check ended".to_owned())
    })?;
    let relative = Relative::new(std::slice::from_ref(&action.layout));
    let limit = Limits::default().output;
    let (mut truncated, mut outputs) = (false, Vec::new());
    for name in ["stdout", "stderr"] {
        let mut bytes = read(name)?;
        truncated |= bytes.len() > limit;
        bytes.truncate(limit);
        outputs.push(bytes);
    }
    let [stdout, mut stderr] = <[Vec<u8>; 2]>::try_from(outputs).unwrap_or_default();
    if truncated {
        stderr.extend_from_slice(b"\n[dagcache: some of the output is missing]\n");
    }
    let replayed = text("nonce")? != sent && Rule::NonceTells.holds();
    let made = action.made();
    // What it made is looked for in there; nothing, if it made nothing.
    let place = (!action.outputs.is_empty()).then(|| Place::new(made, hold));
    Ok(Executed {
        output: Output {
            exit_code: code,
            stdout: relative.text(&stdout),
            stderr: relative.text(&stderr),
        },
        ended: Ended::Exit(code),
        duration: duration(&text("times").unwrap_or_default()),
        peak_memory: None,
        truncated,
        confined: request.command.grants.is_empty(),
        reads: None,
        seeded: false,
        replayed,
        place,
    })
}

/// Of two readings of a clock, in seconds.
fn duration(times: &str) -> Duration {
    let mut times = times.split_whitespace().map(str::parse::<f64>);
    match (times.next(), times.next()) {
        (Some(Ok(began)), Some(Ok(ended))) => {
            Duration::try_from_secs_f64(ended - began).unwrap_or_default()
        }
        _ => Duration::ZERO,
    }
}

/// What a check that gave no files came to.
pub(super) fn failed(
    request: &Request<'_>,
    action: &Action,
    failure: Failure,
) -> Result<Executed, EngineError> {
    let Failure::Exec {
        exit_code,
        stdout,
        stderr,
        ..
    } = failure
    else {
        return Err(failure.into());
    };
    let relative = Relative::new(std::slice::from_ref(&action.layout));
    let (stdout, stderr) = (
        relative.text(stdout.as_bytes()),
        relative.text(stderr.as_bytes()),
    );
    let command = request.command;
    match exit_code {
        exit::MISSING => Err(EngineError::Spawn {
            program: stderr.trim().to_owned(),
            message: missing(request, stderr.trim()),
        }),
        exit::BEFORE => {
            let (code, said) = stdout.split_once('\n').unwrap_or((&stdout, ""));
            let first = command.before.first();
            let ended = code.trim().parse().unwrap_or(1);
            Err(EngineError::Before {
                command: quoted(first.into_iter().flatten().map(String::as_str)),
                message: describe(Ended::Exit(ended)),
                output: format!("{said}{stderr}"),
            })
        }
        exit::TIMEOUT | 128..=191 => {
            let limit = request.timeout.filter(|_| exit_code == exit::TIMEOUT);
            Ok(Executed {
                output: Output {
                    exit_code,
                    stdout,
                    stderr,
                },
                ended: limit.map_or(Ended::Exit(exit_code), Ended::Timeout),
                duration: limit.unwrap_or_default(),
                peak_memory: None,
                truncated: false,
                confined: true,
                reads: None,
                seeded: false,
                replayed: false,
                place: None,
            })
        }
        _ if stderr.contains("executable file not found") => {
            Err(EngineError::Unavailable(format!(
                "{} has no `sh`, which checks are run through; `[layers.base] image` takes another",
                image(request)
            )))
        }
        _ => Err(EngineError::Unavailable(format!(
            "the container could not run the check (exit code {exit_code})\n{stdout}{stderr}"
        ))),
    }
}

fn missing(request: &Request<'_>, program: &str) -> String {
    if program.contains('/') {
        return "it is not there, or not executable".to_owned();
    }
    format!(
        "it is not in {}; `[layers.base] packages` installs more, `[layers.base] image` takes another",
        image(request)
    )
}

/// The image that a check stands on, for messages.
fn image(request: &Request<'_>) -> String {
    let mut layers = request.layers.iter();
    let image = layers.find_map(|(layer, _)| match &layer.build {
        Build::Image { reference } => Some(format!("the image {reference}")),
        Build::Archive { path, .. } => Some(format!("the image {}", path.display())),
        _ => None,
    });
    image.unwrap_or_else(|| "the image".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_brought_back_is_where_outputs_can_be() {
        let of = |globs: &[&str]| {
            let globs: Vec<String> = globs.iter().map(ToString::to_string).collect();
            output_patterns(&globs)
        };
        assert_eq!(of(&["build/report.txt", "!build/x"]), ["build/**"]);
        assert_eq!(of(&["a/b/*.txt", "report"]), ["a/b/**", "report"]);
        assert_eq!(of(&["*.txt"]), ["**"]);
    }

    #[test]
    fn times_are_seconds() {
        assert_eq!(duration("10.25 11.50"), Duration::from_millis(1250));
        assert_eq!(duration("2 1"), Duration::ZERO);
        assert_eq!(duration(""), Duration::ZERO);
    }
}
