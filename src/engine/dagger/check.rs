//! Runs one check in its container and collects its result.
//!
//! Knows nothing about building layers or uploading files.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use dagger_sdk::{Container, DirectoryFilterOpts, HostDirectoryOpts, Id, Query};

use super::failure::Failure;
use super::kept::{self, Kept, SEED, UPLOAD};
use super::stage::{Upload, escaped};
use super::wrapper::{AGAIN, LIMIT, NONCE, OUT, Wrapped, exit, seconds};
use super::{PLACE, Settings, nonce, wrapper};
use crate::digest::Hasher;
use crate::engine::environment::environment;
use crate::engine::relative::Relative;
use crate::engine::start::{TOO_LONG, without_interpreter};
use crate::engine::{
    Ended, EngineError, Executed, Place, Request, describe, folders, part_arguments, quoted,
    verdict,
};
use crate::env::PATH;
use crate::path::RelPath;
use crate::plan::check::Changes;
use crate::plan::layer::container_folder;
use crate::plan::{Build, Output, Tool};
use crate::process::Limits;
use crate::room::Layout;
use crate::rule::Rule;
use crate::snapshot::{FileId, Kind};
use crate::visible::Shown as _;

/// Everything a check needs besides its files, owned, because a pipeline runs as a separate task.
#[derive(Debug, Clone)]
pub(super) struct Action {
    pub(crate) layout: Layout,
    pub(crate) arguments: Vec<String>,
    /// Commands to run before it.
    before: Vec<Vec<String>>,
    pub(crate) limit: Option<Duration>,
    /// Names of the user's secret variables.
    pub(crate) secrets: Vec<String>,
    /// What the variables of this check and its files end with. Equal for equal runs, on any machine.
    mark: String,
    /// Whether it runs in memory only: it knows a secret, and an engine keeps what is written to its disk.
    in_memory: bool,
    /// Whether layers have made something in its place.
    seeded: bool,
    /// Whether to bypass the engine's cache.
    pub(crate) again: bool,
    /// How often its results were cleared.
    generation: u64,
    /// Patterns of its outputs, if wanted.
    pub(crate) outputs: Vec<String>,
    /// The kept place it runs in, if any.
    kept: Option<Kept>,
    /// A directory for this run only.
    pub(crate) scratch: PathBuf,
}

impl Action {
    /// `place` is the container directory of its files.
    pub(crate) fn new(
        request: &Request<'_>,
        settings: &Settings,
        place: &str,
        scratch: &Path,
    ) -> Self {
        let command = request.command;
        let layout = layout(request);
        let tree = layout.tree();
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let at = |dir: &RelPath| text(dir.under(&tree));
        let passing = vec![text(layout.home()), text(layout.tmp())];
        let mut made: Vec<String> = folders(request).iter().map(at).collect();
        // Tools honour ignore files only in what looks like a repository.
        made.push(text(tree.join(".git")));
        made.extend(passing.iter().cloned());
        let tools = command.tools.iter();
        let needed = tools.filter(|tool| !matches!(tool, Tool::Absent { .. }));
        let before = match &command.refresh {
            Some(refresh) => refresh.before(&command.before, &Changes::Unknown),
            None => command.before.clone(),
        };
        let kept = Kept::of(request, settings);
        let narrow = command.keep.as_ref().filter(|_| kept.is_some());
        let set = |name: &&String| request.env.var_os(name).is_some();
        let secrets = command.secrets.iter().map(|secret| &secret.name);
        let secrets: Vec<String> = secrets.filter(set).cloned().collect();
        let in_memory = !secrets.is_empty();
        let mut wrapped = Wrapped {
            mark: String::new(),
            files: in_memory.then(|| {
                let place = quoted(std::iter::once(place));
                format!(
                    "[ ! -d {SEED} ] || cp -a {SEED}/. {PLACE}/ || exit 123\n\
                     mkdir -p {place} && cp -RP {UPLOAD}/. {place}/ || exit 123"
                )
            }),
            prints: in_memory,
            kept: narrow.map(|narrow| wrapper::Kept {
                begin: kept::begin(place, &text(tree.clone())),
                narrow: narrow.clone(),
            }),
            lacking: request.lacking.map(&at),
            dir: at(&command.dir),
            path: path(&command.tools),
            folders: made,
            passing,
            env: plain_environment(request, &layout),
            needs: needed.map(|tool| tool.name().to_owned()).collect(),
            before: before.clone(),
            argv: arguments(request),
        };
        wrapped.mark = mark(request, &wrapped.arguments());
        Self {
            arguments: wrapped.arguments(),
            before,
            limit: request.timeout,
            secrets,
            in_memory,
            seeded: kept::is_seeded(request.layers),
            mark: wrapped.mark,
            again: request.again && Rule::RunAgain.holds(),
            generation: settings.generation(&of_check(request.id)),
            outputs: match &*command.outputs {
                [] => Vec::new(),
                globs => output_patterns(globs),
            },
            kept,
            scratch: scratch.to_owned(),
            layout,
        }
    }

    /// Whether its place is kept, so that only one run at a time can use it.
    pub(crate) fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// Whether its outputs can be brought back.
    ///
    /// # Errors
    /// If they are in memory only.
    pub(crate) fn can_bring_back(&self) -> Result<(), EngineError> {
        if !self.in_memory || self.outputs.is_empty() {
            return Ok(());
        }
        Err(EngineError::Unavailable(
            "with `secrets`, a check in a container writes to memory only, as the engine keeps what is on its disk, and \
             its `outputs` are lost\nhelp: run it with `--engine local`"
                .to_owned(),
        ))
    }

    /// Where files left by the command are exported to.
    pub(crate) fn out(&self) -> PathBuf {
        self.scratch.join("out")
    }

    fn made(&self) -> PathBuf {
        self.scratch.join("made")
    }

    /// Runs the check on `on`, with `files` at `place`. Returns the nonce of the run.
    pub(crate) async fn run(
        self,
        query: Query,
        on: Container,
        (files, place): (Id, String),
    ) -> Result<String, Failure> {
        let mut container = match &self.kept {
            Some(kept) => kept.mounted(&query, &on, files).await?,
            None if self.in_memory => {
                let seed = match self.seeded {
                    true => Some(on.directory(PLACE).id().await?),
                    false => None,
                };
                let mut container = on.with_mounted_directory(UPLOAD, files);
                for place in MEMORY {
                    container = container.with_mounted_temp(place);
                }
                match seed {
                    Some(seed) => container.with_mounted_directory(SEED, seed),
                    None => container,
                }
            }
            None => on.with_mounted_directory(place, files),
        };
        for name in &self.secrets {
            // Without a cache key, so the engine derives one from the value.
            let secret = query.secret(format!("env://{name}")).id().await?;
            container = container.with_secret_variable(name.as_str(), secret);
        }
        let sent = nonce();
        if self.again {
            container = container.with_env_variable(AGAIN, sent.as_str());
        } else if self.generation > 0 {
            container = container.with_env_variable(AGAIN, self.generation.to_string());
        }
        let named = |name: &str| format!("{name}{}", self.mark);
        let ran = container
            .with_volatile_variable(named(NONCE), sent.as_str())
            .with_volatile_variable(named(LIMIT), seconds(self.limit))
            .with_exec(self.arguments.clone());
        if self.in_memory {
            let (stdout, stderr) = (ran.stdout().await?, ran.stderr().await?);
            self.printed(&stdout, &stderr)
                .map_err(|error| Failure::Infra(format!("{}: {error}", self.out().shown())))?;
            return Ok(sent);
        }
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
                exclude: Some(vec![".git"]),
                gitignore: None,
            };
            let tree = ran.directory(self.layout.tree().to_string_lossy());
            let made = tree.filter_opts(opts);
            made.export(self.made().to_string_lossy()).await?;
        }
        Ok(sent)
    }
}

impl Action {
    /// Writes what a check printed into the files that other checks leave.
    fn printed(&self, stdout: &str, stderr: &str) -> std::io::Result<()> {
        let out = self.out();
        std::fs::create_dir_all(&out)?;
        let (line, stdout) = stdout.split_once('\n').unwrap_or_default();
        let mut words = line.split(' ');
        for name in ["nonce", "code", "centiseconds"] {
            std::fs::write(out.join(name), words.next().unwrap_or_default())?;
        }
        std::fs::write(out.join("stdout"), stdout)?;
        std::fs::write(out.join("stderr"), stderr)
    }
}

/// The name under which it is counted how often a check was cleared: none of a layer.
pub(crate) fn of_check(id: &str) -> String {
    format!("check {id}")
}

/// Folders that are in memory for a check that knows a secret: its own, and those for whatever passes.
const MEMORY: [&str; 4] = [PLACE, OUT, "/tmp", "/var/tmp"];

/// Tells runs apart that may go on at once in a session: by the check, what it is run with and the files it sees.
fn mark(request: &Request<'_>, arguments: &[String]) -> String {
    let mut hasher = Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    part(request.id.as_bytes());
    arguments.iter().for_each(|word| part(word.as_bytes()));
    for (_, key) in request.layers {
        part(key.to_string().as_bytes());
    }
    for id in request.shared.iter().chain(request.parts) {
        let entry = request.snapshot.entry(*id);
        part(entry.path.as_str().as_bytes());
        part(entry.digest.to_string().as_bytes());
        part(&[entry.kind as u8]);
    }
    for file in request.outside {
        part(format!("{} {} {}", file.up, file.path.as_str(), file.digest).as_bytes());
    }
    let digest = hasher.finish().to_string();
    digest.get(..16).unwrap_or(&digest).to_owned()
}

/// Where a check sees its files.
pub(super) fn layout(request: &Request<'_>) -> Layout {
    let depth = request.outside.iter().map(|file| file.up).max();
    Layout::new(PLACE, depth.unwrap_or(1))
}

/// Uploads files to the engine.
pub(super) async fn send(query: Query, upload: Upload) -> Result<Id, Failure> {
    let opts = HostDirectoryOpts {
        exclude: Some(upload.exclude.iter().map(String::as_str).collect()),
        gitignore: None,
        include: Some(upload.include.iter().map(String::as_str).collect())
            .filter(|all: &Vec<_>| !all.is_empty()),
        no_cache: Some(true),
    };
    let from = upload.from.to_string_lossy();
    Ok(query.host().directory_opts(from, opts).id().await?)
}

/// The command's argv, with the files of its parts where it takes them.
fn arguments(request: &Request<'_>) -> Vec<String> {
    let command = request.command;
    let mut argv = command.argv.clone();
    if command.append_files {
        let parts = part_arguments(&command.dir, request.parts, request.snapshot);
        argv.extend(parts);
    }
    argv
}

/// The variables of the check except PATH and secrets.
fn plain_environment(request: &Request<'_>, layout: &Layout) -> Vec<(String, String)> {
    let command = request.command;
    let secret = |name: &str| command.secrets.iter().any(|secret| secret.name == name);
    let env = environment(layout, command, request.env, &[]).into_iter();
    let env = env.filter(|(name, _)| name != PATH && !name.to_str().is_some_and(secret));
    let text = |word: std::ffi::OsString| word.to_string_lossy().into_owned();
    env.map(|(name, value)| (text(name), text(value))).collect()
}

/// Folders of the layers' programs, without duplicates.
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

/// The literal prefixes of globs; everything, if one starts at the root.
fn output_patterns(globs: &[String]) -> Vec<String> {
    let globs = globs.iter().filter(|glob| !glob.starts_with('!'));
    let folder = |glob: &String| {
        let plain = glob.find(['*', '?', '[', '{', '\\']).unwrap_or(glob.len());
        match glob.get(..plain)?.rsplit_once('/') {
            Some((dir, _)) => Some(escaped(dir)),
            None if plain == glob.len() => Some(escaped(glob)),
            None => None,
        }
    };
    let all: Option<Vec<String>> = globs.map(folder).collect();
    all.unwrap_or_else(|| vec!["**".to_owned()])
}

/// Builds the result from the files a command left.
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
        EngineError::Unavailable("the container did not report how the check ended".to_owned())
    })?;
    let relative = Relative::new(std::slice::from_ref(&action.layout));
    let captured = |name: &str| {
        let path = out.join(name);
        captured(&path).map_err(|source| EngineError::Io { path, source })
    };
    let (stdout, cut) = captured("stdout")?;
    let (stderr, also_cut) = captured("stderr")?;
    let replayed = text("nonce")? != sent && Rule::NonceTells.holds();
    let took: u64 = text("centiseconds")?.trim().parse().unwrap_or(0);
    let listed = request.lacking.is_some() && !out.join(wrapper::UNLISTED).exists();
    let made = action.made();
    // Outputs are looked up in there; skipped if there are none.
    let place = (!action.outputs.is_empty()).then(|| Place::new(made, hold));
    Ok(Executed {
        output: Output {
            exit_code: code,
            stdout: relative.text(&stdout),
            stderr: relative.text(&stderr),
        },
        ended: Ended::Exit(code),
        duration: Duration::from_millis(took.saturating_mul(10)),
        peak_memory: None,
        truncated: cut || also_cut,
        confined: request.command.grants.is_empty(),
        reads: None,
        traced: None,
        listed,
        seeded: false,
        replayed,
        place,
    })
}

/// One output, and whether something is missing: it begins in one file, and may end in another.
fn captured(path: &Path) -> std::io::Result<(Vec<u8>, bool)> {
    let half = (Limits::default().output / 2) as u64;
    let mut bytes = Vec::new();
    let mut head = std::fs::File::open(path)?;
    head.by_ref().take(half).read_to_end(&mut bytes)?;
    let tail = path.with_extension("tail");
    let mut tail = match std::fs::File::open(tail) {
        Ok(tail) => tail,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let over = head.metadata()?.len() > 2 * half;
            head.take(half).read_to_end(&mut bytes)?;
            return Ok((bytes, over));
        }
        Err(error) => return Err(error),
    };
    bytes.extend_from_slice(b"\n[dagcache: some of the output is missing]\n");
    let over = tail.metadata()?.len().saturating_sub(half);
    tail.seek(SeekFrom::Start(over))?;
    tail.take(half).read_to_end(&mut bytes)?;
    Ok((bytes, true))
}

/// For a check that ran far beyond its time limit.
pub(super) fn too_long() -> Failure {
    Failure::Exec {
        cmd: Vec::new(),
        exit_code: exit::TIMEOUT,
        stdout: String::new(),
        stderr: String::new(),
    }
}

/// The result of a check that left no files.
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
    match exit_code {
        exit::MISSING => Err(EngineError::Spawn {
            program: stderr.trim().to_owned(),
            message: missing(request, stderr.trim()),
        }),
        exit::BEFORE => {
            let (said, last) = stderr.trim_end().rsplit_once('\n').unwrap_or(("", &stderr));
            let mut numbers = last.split(' ').map(|number| number.trim().parse::<i32>());
            let number = numbers.next().and_then(Result::ok).unwrap_or(0);
            let ended = numbers.next().and_then(Result::ok).unwrap_or(1);
            let failed = usize::try_from(number).ok();
            let failed = failed.and_then(|number| action.before.get(number));
            let error = EngineError::Before {
                command: quoted(failed.into_iter().flatten().map(String::as_str)),
                message: describe(Ended::Exit(ended)),
                output: format!("{stdout}{said}").trim_end().to_owned(),
            };
            verdict(request, error)
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
                traced: None,
                listed: request.lacking.is_some(),
                seeded: false,
                replayed: false,
                place: None,
            })
        }
        exit::SETUP => Err(EngineError::Unavailable(format!(
            "{} does not have the programs needed to run checks (`mkdir`, `mkfifo`, `cat`), or its disk is full\n{stdout}{stderr}",
            image(request)
        ))),
        _ if stderr.contains("executable file not found") => {
            Err(EngineError::Unavailable(format!(
                "{} has no `sh`, which is needed to run checks; set `[layers.base] image` to another image",
                image(request)
            )))
        }
        _ if stderr.contains("argument list too long") => Err(EngineError::Unavailable(format!(
            "{}; {TOO_LONG}",
            stderr.trim()
        ))),
        _ => Err(EngineError::Unavailable(format!(
            "the container could not run the check (exit code {exit_code})\n{stdout}{stderr}"
        ))),
    }
}

fn missing(request: &Request<'_>, program: &str) -> String {
    if program.contains('/') {
        let path = request.command.dir.join(program).ok();
        let script = path.and_then(|path| request.snapshot.find(&path));
        let can_start = |id: &FileId| request.snapshot.entry(*id).kind == Kind::Executable;
        let script = script
            .filter(can_start)
            .and_then(|id| request.snapshot.read(id).ok());
        let reason = script.and_then(|bytes| without_interpreter(&bytes));
        return reason.unwrap_or_else(|| "not found or not executable".to_owned());
    }
    format!(
        "not found in {}; add packages with `[layers.base] packages` or choose another `[layers.base] image`",
        image(request)
    )
}

/// The image a check is based on, for messages.
fn image(request: &Request<'_>) -> String {
    let mut layers = request.layers.iter();
    let image = layers.find_map(|(layer, _)| match &layer.build {
        Build::Image { reference } => Some(format!("the image {reference}")),
        Build::Archive { path, .. } => Some(format!("the image {}", path.shown())),
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
        assert_eq!(of(&["build/report.txt", "!build/x"]), ["build"]);
        assert_eq!(of(&["a/b/*.txt", "report"]), ["a/b", "report"]);
        assert_eq!(of(&["*.txt"]), ["**"]);
    }
}
