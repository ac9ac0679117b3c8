//! Builds the layers of a plan as containers, each on the one below.
//!
//! The script of a layer leaves a nonce in the container. If it is the one that was just sent, the layer was built;
//! otherwise the engine had it cached. Knows nothing about checks.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dagger_sdk::{
    Container, ContainerWithEnvVariableOpts, ContainerWithFileOpts, HostDirectoryOpts, Id,
    Platform, Query, QueryContainerOpts, QuerySecretOpts,
};

use super::failure::Failure;
use super::wrapper::{AGAIN, NONCE, OF_THE_ENGINE};
use super::{PLACE, Settings, nonce};
use crate::digest::Digest;
use crate::engine::EngineError;
use crate::env::Env;
use crate::path::RelPath;
use crate::plan::{Build, Layer, Script};
use crate::process::quoted;
use crate::room::Layout;
use crate::snapshot::{Kind, Snapshot};
use crate::visible::Shown as _;

/// Where layers record the run that made them.
const NONCES: &str = "/opt/dagcache/.nonces";

/// Set to a layer's key and generation while its script runs.
const LAYER: &str = "DAGCACHE_LAYER";

/// A layer that is there.
pub(super) struct Ready {
    pub(crate) container: Container,
    /// How long it took to build; `None` if the engine had it, or that was taken.
    pub(crate) built: Mutex<Option<Duration>>,
}

impl Ready {
    /// How long it took to build, once.
    pub(crate) fn take_built(&self) -> Option<Duration> {
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        built.take()
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ready").field(&self.built).finish()
    }
}

/// A layer that could not be built.
#[derive(Debug, Clone)]
pub(super) struct Broken {
    pub(crate) message: String,
    /// The end of its script's output.
    pub(crate) output: String,
}

/// How to build a layer.
#[derive(Debug, Clone)]
pub(super) struct Recipe {
    pub(crate) name: String,
    pub(crate) key: Digest,
    /// How often it was cleared.
    pub(crate) generation: u64,
    /// Whether to rebuild it even if cached.
    pub(crate) force: bool,
    pub(crate) build: Build,
    /// Variables of the user that are set.
    pub(crate) given: Vec<String>,
    /// Files of the tree.
    pub(crate) files: Vec<File>,
    /// `linux/amd64`.
    pub(crate) platform: String,
}

/// A file in a layer's tree.
#[derive(Debug, Clone)]
pub(super) struct File {
    path: RelPath,
    kind: Kind,
    /// The content, or the target of a link.
    content: Vec<u8>,
}

impl Recipe {
    pub(crate) fn new(
        layer: &Layer,
        key: Digest,
        snapshot: &Snapshot,
        env: &Env,
        settings: &Settings,
        force: bool,
    ) -> Result<Self, EngineError> {
        let mut files = Vec::new();
        let mut given = Vec::new();
        if let Build::Script(script) = &layer.build {
            files.extend(script.files.iter().map(|(path, content)| File {
                path: path.clone(),
                kind: Kind::File,
                content: content.clone(),
            }));
            for id in &script.sources {
                let entry = snapshot.entry(*id);
                let source = entry.path.under(snapshot.root());
                files.push(File {
                    path: entry.path.clone(),
                    kind: entry.kind,
                    content: crate::room::unchanged(&source, snapshot.read(*id))?,
                });
            }
            let set = |name: &&String| env.var_os(name).is_some_and(|value| !value.is_empty());
            given.extend(script.user_env.iter().filter(set).cloned());
        }
        Ok(Self {
            name: layer.name.clone(),
            key,
            generation: settings.generation(&layer.name),
            force,
            build: layer.build.clone(),
            given,
            files,
            platform: settings.platform.clone(),
        })
    }
}

/// Ensures that a layer exists. `scratch` is a private directory for files that are not text.
pub(super) async fn prepare(
    query: Query,
    below: Option<Container>,
    recipe: Arc<Recipe>,
    scratch: Arc<Path>,
) -> Result<Ready, Failure> {
    match &recipe.build {
        Build::Image { reference } => {
            let container = begin(&query, &recipe.platform).from(reference.as_str());
            let container = container.with_user(ROOT).sync().await?;
            Ok(Ready {
                container,
                built: Mutex::default(),
            })
        }
        Build::Archive { path, .. } => {
            let file = query.host().file(path.to_string_lossy());
            let id = file.id().await?;
            let container = begin(&query, &recipe.platform).import(id);
            let container = container.with_user(ROOT).sync().await?;
            Ok(Ready {
                container,
                built: Mutex::default(),
            })
        }
        Build::Script(script) => {
            let below = below.unwrap_or_else(|| begin(&query, &recipe.platform));
            by_script(query, below, &recipe, script, &scratch).await
        }
        Build::Present | Build::Host(_) => Err(Failure::Infra(format!(
            "layer `{}` belongs on the host",
            recipe.name
        ))),
    }
}

/// Whatever the image says, because layers write to system directories and checks must find the files there.
const ROOT: &str = "0:0";

/// An empty container. Without a platform it would get the engine's, whatever the keys say.
fn begin(query: &Query, platform: &str) -> Container {
    query.container_opts(QueryContainerOpts {
        platform: Some(Platform(platform.to_owned())),
    })
}

async fn by_script(
    query: Query,
    below: Container,
    recipe: &Recipe,
    script: &Script,
    scratch: &Path,
) -> Result<Ready, Failure> {
    let tree = Layout::new(PLACE, 1).tree();
    let tree = tree.to_string_lossy();
    let mut container = below;
    for (reference, from, to) in &script.programs {
        let program = begin(&query, &recipe.platform)
            .from(reference.as_str())
            .file(from.as_str());
        let opts = ContainerWithFileOpts {
            expand: None,
            owner: None,
            permissions: Some(0o755),
        };
        container = container.with_file_opts(to.as_str(), program.id().await?, opts);
    }
    for (name, value) in &script.lasting_env {
        container = lasting(&container, name, value);
    }
    let files = files(&query, &recipe.files, scratch).await?;
    let began = nonce();
    let variable = format!("{NONCE}{}_{}", recipe.key, recipe.generation);
    container = container
        .with_mounted_directory(&*tree, files)
        .with_workdir(&*tree)
        .with_env_variable(LAYER, format!("{} {}", recipe.key, recipe.generation))
        .with_volatile_variable(variable.as_str(), began.as_str());
    if recipe.force {
        container = container.with_env_variable(AGAIN, began.as_str());
    }
    for name in &recipe.given {
        let key = format!("dagcache:{name}");
        let opts = QuerySecretOpts {
            cache_key: Some(&key),
        };
        let secret = query
            .secret_opts(format!("env://{name}"), opts)
            .id()
            .await?;
        container = container.with_secret_variable(name.as_str(), secret);
    }
    container = container.with_exec(vec![
        "sh".to_owned(),
        "-euc".to_owned(),
        around(&recipe.key, &variable, &script.set_env),
        "dagcache".to_owned(),
        script.text.clone(),
    ]);
    for name in &recipe.given {
        container = container.without_secret_variable(name.as_str());
    }
    if recipe.force {
        container = container.without_env_variable(AGAIN);
    }
    container = container
        .without_volatile_variable(variable)
        .without_env_variable(LAYER)
        .without_mount(&*tree)
        .with_workdir("/");
    let start = Instant::now();
    let said = container
        .file(format!("{NONCES}/{}", recipe.key))
        .contents()
        .await?;
    let built = (said == began).then(|| start.elapsed());
    Ok(Ready {
        container: container.sync().await?,
        built: Mutex::new(built),
    })
}

/// Sets a variable for everything on top of the layer. A PATH is prepended to the existing one.
fn lasting(container: &Container, name: &str, value: &str) -> Container {
    if name != "PATH" {
        return container.with_env_variable(name, value);
    }
    let opts = ContainerWithEnvVariableOpts { expand: Some(true) };
    container.with_env_variable_opts(name, format!("{value}:${{PATH}}"), opts)
}

/// Wraps a layer's script. Sets its variables inside, so that those of the image are restored afterwards.
fn around(key: &Digest, variable: &str, set_env: &[(String, String)]) -> String {
    let set: Vec<String> = set_env
        .iter()
        .map(|(name, value)| format!("export {name}={}\n", quoted(value)))
        .collect();
    let set = set.concat();
    format!(
        "unset {OF_THE_ENGINE}
umask 022
nonce=${variable}
unset {variable} {AGAIN} {LAYER}
{set}sh -euc \"$1\" </dev/null
mkdir -p {NONCES}
printf %s \"$nonce\" >{NONCES}/{key}
"
    )
}

/// A directory with these files. Text is part of the query; anything else is uploaded.
async fn files(query: &Query, files: &[File], scratch: &Path) -> Result<Id, Failure> {
    const MOST: usize = 1 << 20;
    let size: usize = files.iter().map(|file| file.content.len()).sum();
    let text = |file: &File| match file.kind {
        Kind::File => String::from_utf8(file.content.clone()).ok(),
        _ => None,
    };
    let texts: Option<Vec<String>> = files.iter().map(text).collect();
    if let Some(texts) = texts.filter(|_| size < MOST) {
        let mut directory = query.directory();
        for (file, text) in files.iter().zip(texts) {
            directory = directory.with_new_file(file.path.as_str(), text);
        }
        return Ok(directory.id().await?);
    }
    let folder = scratch.join("tree");
    write(&folder, files)
        .map_err(|error| Failure::Infra(format!("cannot write {}: {error}", folder.shown())))?;
    let opts = HostDirectoryOpts {
        exclude: None,
        gitignore: None,
        include: None,
        no_cache: Some(true),
    };
    let directory = query.host().directory_opts(folder.to_string_lossy(), opts);
    Ok(directory.id().await?)
}

/// Writes files with fixed modes, because other modes would make another directory.
fn write(folder: &Path, files: &[File]) -> std::io::Result<()> {
    use std::os::unix::ffi::OsStringExt as _;
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::Permissions::from_mode;
    std::fs::create_dir_all(folder)?;
    for file in files {
        let mut folders: Vec<RelPath> = file.path.ancestors().collect();
        folders.sort();
        for above in folders {
            let above = above.under(folder);
            std::fs::create_dir_all(&above)?;
            std::fs::set_permissions(&above, mode(0o755))?;
        }
        let path = file.path.under(folder);
        if file.kind == Kind::Symlink {
            let target = std::ffi::OsString::from_vec(file.content.clone());
            std::os::unix::fs::symlink(target, &path)?;
            continue;
        }
        std::fs::write(&path, &file.content)?;
        let executable = file.kind == Kind::Executable;
        std::fs::set_permissions(&path, mode(if executable { 0o755 } else { 0o644 }))?;
    }
    Ok(())
}
