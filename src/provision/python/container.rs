//! Python tools in containers: an environment built from the lock, in a layer on an image with Python.
//!
//! The default image is `python:3.N-slim`. N comes from `.python-version` if the lock allows it. Otherwise, for locks
//! that apply to all Pythons they allow (Poetry, uv), it is the lowest: locked packages certainly have wheels for it,
//! while newer Pythons may not. Requirements are made for one Python that they do not name: the newest up to 3.12
//! that the project allows.
//!
//! A tool that is only configured, not locked, must be in an image that the user chose.

use crate::path::RelPath;
use crate::plan::{Build, Images, Layer, Plan, Script, Tool, container_folder};
use crate::provision::base::{Base, PROXIES, Wanted, base, is_chosen};
use crate::scope::{PlanError, Scope};

use super::closure::Closure;
use super::format::LockFormat;
use super::interpreter::Interpreter;
use super::project::{LockFile, Site, locked_closure, way_to_lock};
use super::ready::{Ready, Resolved, folder, in_layer, layer};
use super::version;

/// The minor versions with images.
const MINORS: std::ops::RangeInclusive<u32> = 8..=13;

/// The newest version used if nothing says which one a lock is for.
const USUAL: u32 = 12;

/// The user's variables for package sources.
const INDEXES: [&str; 3] = ["PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL", "PIP_TRUSTED_HOST"];

/// Lists the packages to install.
const REQUIREMENTS: &str = "requirements.txt";

/// Like [`super::environment::resolve`], for containers.
pub(super) fn resolve(
    scope: &Scope<'_>,
    images: &dyn Images,
    plan: &mut Plan,
    site: &Site,
    name: &str,
) -> Result<Resolved, PlanError> {
    match &site.lock {
        Some(lock) => locked(scope, images, plan, site, lock, name),
        None => Ok(unlocked(scope, images, plan, site, name)),
    }
}

fn locked(
    scope: &Scope<'_>,
    images: &dyn Images,
    plan: &mut Plan,
    site: &Site,
    lock: &LockFile,
    name: &str,
) -> Result<Resolved, PlanError> {
    let image = format!(
        "docker.io/library/python:3.{}-slim",
        minor(scope, &site.dir, lock)
    );
    let wanted = Wanted {
        role: "python",
        image: &image,
        dir: &site.dir,
    };
    let base = match base(scope, images, plan, wanted) {
        Ok(base) => base,
        Err(why) => return Ok(Resolved::Missing(why)),
    };
    let missing = |why: String| {
        Ok(Resolved::Missing(format!(
            "`{name}` is locked in {}, but {why}",
            scope.snapshot.entry(lock.id).path
        )))
    };
    let range = lock.python.as_deref().unwrap_or("*");
    let answer = base.image.holds.get("python");
    let Some(python) = answer.and_then(|answer| Interpreter::of_answer(answer)) else {
        return missing(format!(
            "the image {} has no Python\nhelp: set `[layers.base] image` to an image with Python; the default is {image}",
            base.image.name
        ));
    };
    if version::satisfies(range, &python.version) != Some(true) {
        return missing(format!(
            "for Python `{range}`, and the image {} has {}\nhelp: set `[layers.base] image` to another image",
            base.image.name, python.version
        ));
    }
    let Some(closure) = locked_closure(scope, &site.dir, lock, name, &python.markers)? else {
        return missing(format!(
            "not for {} {}, which is in the image {}",
            python.implementation, python.version, base.image.name
        ));
    };
    match closure.requirements() {
        Ok(requirements) => {
            let layer = environment(site, name, &closure, &python, &base, requirements);
            Ok(in_layer(plan, name, layer, &base.layers, closure))
        }
        Err(unfit) => missing(format!(
            "cannot be installed: the lock has no hashed wheel from an index for {}",
            unfit.join(", ")
        )),
    }
}

/// The layer with exactly `closure`.
fn environment(
    site: &Site,
    name: &str,
    closure: &Closure,
    python: &Interpreter,
    base: &Base,
    requirements: String,
) -> Layer {
    let layer = layer(site, name, closure, python, &base.layers);
    let folder = container_folder(&layer.name);
    let python = crate::process::quoted(&python.executable.to_string_lossy());
    // As on a host: an older or missing pip cannot install into another environment.
    let text = format!(
        "install='install --require-hashes --no-deps --only-binary :all: --no-input --no-cache-dir -r {REQUIREMENTS}'
if {python} -m pip --python {python} --version >/dev/null 2>&1; then
    {python} -m venv --without-pip {folder}
    {python} -m pip --python {folder}/bin/python $install
else
    {python} -m venv {folder}
    {folder}/bin/python -m pip $install
fi
"
    );
    let set = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let users = INDEXES.into_iter().chain(PROXIES);
    Layer {
        build: Build::Script(Box::new(Script {
            text,
            files: RelPath::new(REQUIREMENTS)
                .map(|path| (path, requirements.into_bytes()))
                .into_iter()
                .collect(),
            set_env: [
                ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
                ("PIP_ROOT_USER_ACTION", "ignore"),
                ("PIP_USER", "0"),
            ]
            .map(set)
            .to_vec(),
            user_env: users.map(str::to_owned).collect(),
            ..Script::default()
        })),
        ..layer
    }
}

/// The minor version of the default image for a lock.
fn minor(scope: &Scope<'_>, dir: &RelPath, lock: &LockFile) -> u32 {
    // Images have the last patch of a minor version, whichever that is.
    let allowed = |minor: &u32| match lock.python.as_deref() {
        None => true,
        Some(range) => [format!("3.{minor}.99"), format!("3.{minor}.0")]
            .iter()
            .any(|version| version::satisfies(range, version) == Some(true)),
    };
    if let Some(named) = named(scope, dir).filter(allowed) {
        return named;
    }
    let mut minors = MINORS.filter(allowed);
    let found = match (lock.format, &lock.python) {
        (LockFormat::Requirements, _) | (_, None) => {
            let newest = minors.clone().rfind(|minor| *minor <= USUAL);
            newest.or_else(|| minors.next())
        }
        _ => minors.next(),
    };
    found.unwrap_or(USUAL)
}

/// The minor version in the project's nearest `.python-version`.
fn named(scope: &Scope<'_>, dir: &RelPath) -> Option<u32> {
    let file = *scope.chain(dir, &[".python-version"]).first()?;
    let text = scope.text(&scope.snapshot.entry(file).path)?;
    let mut lines = text.lines().map(str::trim);
    let line = lines.find(|line| !line.is_empty() && !line.starts_with('#'))?;
    let minor = line.strip_prefix("3.")?.split('.').next()?;
    minor.parse().ok().filter(|minor| MINORS.contains(minor))
}

/// A tool without a lock must be in the image.
fn unlocked(
    scope: &Scope<'_>,
    images: &dyn Images,
    plan: &mut Plan,
    site: &Site,
    name: &str,
) -> Resolved {
    if !is_chosen(images) {
        return Resolved::Missing(format!(
            "`{name}` is configured in {}, but it is not locked, and default images do not contain it\n\
             help: lock it ({}), or set `[layers.base] image` to an image that contains it",
            folder(site),
            way_to_lock(scope, &site.dir, name)
        ));
    }
    match base(scope, images, plan, Wanted::debian(&RelPath::root())) {
        Ok(base) => Resolved::Ready(Box::new(Ready {
            tool: Tool::Image {
                name: name.to_owned(),
            },
            layers: base.layers,
            version: None,
            closure: None,
            not_cached: None,
        })),
        Err(why) => Resolved::Missing(why),
    }
}
