//! Rust in containers: an image with rustup, the project's toolchain, and its dependencies compiled once.
//!
//! | layer | holds | key, besides the layer below |
//! |---|---|---|
//! | `base:rust` | the configured image, else `rust:VERSION-slim` | its digest |
//! | `tools:rust` | the toolchain with clippy and rustfmt | requested toolchain, components and targets |
//! | `deps:rust` | fetched and compiled dependencies | the packages in the lockfile, and the [`super::skeleton`] |
//! | `deps:rust:lockfile` | the lockfile without comments | its text |
//!
//! VERSION comes from the toolchain file if it is a number. Otherwise it is [`USUAL`], or the highest `rust-version`
//! of the workspace's packages if that is higher: the same on every machine, whatever is installed there. `stable`
//! means the Rust of a stable image. Other toolchains are installed by rustup; for a moving one (`nightly`), its
//! current version is queried once and is part of the key, and the layer fails if another version gets installed
//! later.
//!
//! The toolchain of a check is always called [`TOOLCHAIN`], and the homes of cargo and rustup are links in one
//! folder, so that checks find the image's installation wherever it is, even with another HOME. The host's cargo only
//! reads manifests, and its version hardly matters.

mod deps;
mod unread;

use std::sync::Arc;

use crate::catalogue;
use crate::digest::Digest;
use crate::ecosystem::cargo::workspace::Workspace;
use crate::env;
use crate::path::RelPath;
use crate::plan::{
    Build, Check, Command, Images, Layer, LayerKind, Plan, Question, Script, Work, id_at,
};
use crate::provision::base::{Base, PROXIES, Wanted, base};
use crate::provision::rust::{reader, with_host};
use crate::scope::Scope;
use crate::snapshot::FileId;
use crate::tool::rustup::{Asked, Toolchain, asked_for, resolve_any};
use crate::visible::Shown as _;

use super::deps::Lockfile;
use super::programs::{Programs, environment};
use super::refresh::Packages;
use super::retry::Failures;
use super::{Found, git, missing_clippy, plan_clippy, rustfmt};

/// The version of Rust unless the project specifies one.
const USUAL: (u64, u64) = (1, 95);

/// The name of a check's toolchain in rustup.
const TOOLCHAIN: &str = "dagcache";

/// The folder with the links and with files that layers leave for checks.
const FOLDER: &str = "/opt/dagcache/rust";

/// Where cargo builds: outside the tree, which is copied over files left by layers.
const TARGET: &str = "/dagcache/target";

/// Components that checks need, with a command that shows whether they are installed.
const COMPONENTS: [(&str, &str); 2] = [
    ("clippy", "cargo clippy --version"),
    ("rustfmt", "rustfmt --version"),
];

/// The user's variables for toolchain servers.
const DIST: [&str; 2] = ["RUSTUP_DIST_SERVER", "RUSTUP_UPDATE_ROOT"];

/// Variables of everything that runs cargo or rustup here.
fn homes() -> [(String, String); 3] {
    [
        (env::CARGO_HOME, format!("{FOLDER}/cargo")),
        (env::RUSTUP_HOME, format!("{FOLDER}/rustup")),
        (env::RUSTUP_TOOLCHAIN, TOOLCHAIN.to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
}

/// The host's cargo, which reads manifests.
pub(super) fn host_toolchain(scope: &Scope<'_>, dir: &RelPath) -> Result<Toolchain, String> {
    let place = dir.under(scope.snapshot.root());
    with_host(scope, |host| resolve_any(host, &place))
        .map_err(|why| format!("reading manifests requires cargo on this host: {why}"))
}

/// Like [`Found::plan`], for containers: everything, or nothing and the reason.
pub(super) fn plan(found: &Found<'_>, images: &dyn Images, plan: &mut Plan) -> Result<(), String> {
    let (scope, dir) = (found.scope, found.dir);
    if let Some(file) = found.workspaces.above().first() {
        return Err(format!(
            "it needs `{}`, which is above the project root and not sent to an engine\n\
             help: run it on the host with `--engine local`, or run this program in a folder that contains both",
            file.path
        ));
    }
    let rust = Rust::plan(scope, images, plan, dir, found.workspace)?;
    let programs = Programs::Image(rust.version.as_deref());
    let (work, inputs, not_cached) =
        rustfmt::plan(scope, found.workspaces, programs, dir, found.workspace);
    let work = match work {
        Work::Command(mut command) => {
            command.set_env.extend(homes());
            Work::Command(command)
        }
        other => other,
    };
    let fmt = catalogue::planned("rust:fmt", dir, work).sees(inputs);
    plan.checks
        .push(fmt.on(rust.layers.clone()).not_cached(not_cached));
    let clippy = plan_dependent(found, images, plan, &rust);
    plan.checks
        .push(clippy.unwrap_or_else(|why| missing_clippy(dir, why)));
    Ok(())
}

/// `rust:clippy`, and the layer of its dependencies.
fn plan_dependent(
    found: &Found<'_>,
    images: &dyn Images,
    plan: &mut Plan,
    rust: &Rust,
) -> Result<Check, String> {
    let (scope, dir) = (found.scope, found.dir);
    let lockfile = found.lockfile()?;
    let sought = deps::Sought {
        dir,
        workspaces: found.workspaces,
        workspace: found.workspace,
        lockfile: &lockfile,
    };
    let deps = sought.layer(scope, rust)?;
    // Without external packages, a missing lockfile would pin nothing.
    let lockfile = match (&deps, lockfile) {
        (None, Lockfile::Resolved(_)) => Lockfile::None,
        (_, lockfile) => lockfile,
    };
    let mut layers = rust.layers.clone();
    layers.extend(deps.iter().map(|layer| layer.name.clone()));
    plan.layers.extend(deps);
    let below = layers.last().cloned().into_iter().collect();
    let lock = unread::lock_layer(scope, dir, &lockfile, below);
    let programs = Programs::Image(rust.version.as_deref());
    let mut check = plan_clippy(found, plan, programs, &lockfile);
    if let Work::Command(command) = &mut check.work {
        command.retry = Some(Arc::new(Failures {
            without_git: git::is_asked(scope, found.workspace, &lockfile, dir),
        }));
        let keep = images.incremental();
        let packages = keep.then(|| Packages::of(scope, found.workspace));
        let laid = matches!(lockfile, Lockfile::Resolved(_)) || lock.is_some();
        clippy(dir, laid, packages.as_ref(), command);
    }
    let unread = unread::documents(scope, dir, found.workspace, &check.inputs.shared);
    let locked = lock.as_ref().map(|(id, _)| *id);
    let needed = |id: &FileId| locked != Some(*id) && !unread.contains(id);
    check.inputs.shared.retain(needed);
    layers.extend(lock.iter().map(|(_, layer)| layer.name.clone()));
    plan.layers.extend(lock.map(|(_, layer)| layer));
    Ok(check.on(layers))
}

/// `rust:clippy` in a container. Every run starts from the deps layer, so the artifacts of workspace packages, which
/// come from a skeleton, are always removed first. With `packages`, its place is kept, and only artifacts that cargo
/// would wrongly trust are removed. `laid`: a layer brings the lockfile.
fn clippy(dir: &RelPath, laid: bool, packages: Option<&Packages>, command: &mut Command) {
    command.set_env = environment(TARGET);
    command.set_env.extend(homes());
    if laid {
        let copy = ["cp", &deps::lockfile(), "Cargo.lock"];
        command.before.insert(0, copy.map(str::to_owned).to_vec());
    }
    command.keep = packages.map(|packages| {
        // It is not uploaded: whatever runs leave of it is replaced by the original.
        let lockfile = laid.then(|| dir.join("Cargo.lock").ok()).flatten();
        packages.narrow(lockfile.as_ref())
    });
}

/// The Rust of a workspace's checks.
struct Rust {
    /// The version of its rustc, if known.
    version: Option<String>,
    /// Lowest first.
    layers: Vec<String>,
}

impl Rust {
    fn plan(
        scope: &Scope<'_>,
        images: &dyn Images,
        plan: &mut Plan,
        dir: &RelPath,
        workspace: &Workspace,
    ) -> Result<Self, String> {
        let asked = asked(scope, dir)?;
        let image = image(asked.channel.as_deref(), workspace.rust_version);
        let wanted = Wanted {
            role: "rust",
            image: &image,
            dir,
        };
        let base = base(scope, images, plan, wanted)?;
        let there = base.image.holds.get("rust");
        let Some(there) = there else {
            return Err(format!(
                "the image {} has no Rust\nhelp: set `[layers.base] image` to an image with Rust; the default is {image}",
                base.image.name
            ));
        };
        let install = asked
            .channel
            .as_deref()
            .filter(|channel| !is_met(channel, there));
        let tools = Tools {
            base: &base,
            install,
            asked: &asked,
        };
        let (layer, said) = tools.plan(images, plan, dir)?;
        let version = match install {
            None => Some(there.clone()),
            Some(channel) => said.or_else(|| Some(format!("rustc {channel}"))),
        };
        let mut layers = base.layers.clone();
        layers.extend(layer);
        Ok(Self { version, layers })
    }

    /// The topmost layer.
    fn top(&self) -> Vec<String> {
        self.layers.last().cloned().into_iter().collect()
    }
}

/// The toolchain file of a folder.
fn asked(scope: &Scope<'_>, dir: &RelPath) -> Result<Asked, String> {
    let read = reader(scope);
    let asked = asked_for(&dir.under(scope.snapshot.root()), &read);
    let asked = asked.map_err(|error| error.to_string())?;
    if let Some(path) = &asked.path {
        return Err(format!(
            "the toolchain file requests the toolchain in `{}`, which does not exist in containers; use `--engine local`",
            path.shown()
        ));
    }
    let words = asked.components.iter().chain(&asked.targets);
    let fits = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    let is_word = |word: &String| !word.starts_with('-') && word.chars().all(fits);
    match words.chain(&asked.channel).find(|word| !is_word(word)) {
        Some(odd) => Err(format!(
            "the toolchain file requests `{odd}`, which is not a valid name"
        )),
        None => Ok(asked),
    }
}

/// The default image for a channel.
fn image(channel: Option<&str>, needed: Option<(u64, u64)>) -> String {
    let version = match channel.and_then(number) {
        Some(number) => number.to_owned(),
        None => {
            let (major, minor) = needed.map_or(USUAL, |needed| needed.max(USUAL));
            format!("{major}.{minor}")
        }
    };
    format!("docker.io/library/rust:{version}-slim")
}

/// The version number of a channel: `1.95` of `1.95-x86_64-unknown-linux-gnu`; `None` for `1.96.0-beta.1`.
fn number(channel: &str) -> Option<&str> {
    let (number, rest) = channel.split_once('-').unwrap_or((channel, ""));
    let parts = number.split('.').count();
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_number = (2..=3).contains(&parts) && number.split('.').all(digits);
    (is_number && !rest.starts_with("beta")).then_some(number)
}

/// The Rust of an image.
pub(crate) const IN_IMAGE: Question = Question {
    name: "rust",
    script: || "if command -v rustc >/dev/null; then rustc -V || true; fi".to_owned(),
    answer: |line| line.starts_with("rustc ").then(|| line.to_owned()),
};

/// Whether the installed version, according to `rustc -V`, belongs to the channel.
fn is_met(channel: &str, there: &str) -> bool {
    let version = there.split_whitespace().nth(1).unwrap_or_default();
    if version.contains('-') {
        return false;
    }
    match number(channel) {
        Some(number) => {
            let mut parts = version.split('.');
            number.split('.').all(|part| parts.next() == Some(part))
        }
        None => channel == "stable" || channel.starts_with("stable-"),
    }
}

/// Whether rustup always installs the same version for the channel.
fn is_fixed(channel: &str) -> bool {
    let exact = number(channel).is_some_and(|number| number.split('.').count() == 3);
    let dated = channel.split_once('-').is_some_and(|(_, date)| {
        let mut parts = date.split('-');
        let digits =
            |part: &str, len| part.len() == len && part.bytes().all(|b| b.is_ascii_digit());
        [4, 2, 2]
            .iter()
            .all(|len| parts.next().is_some_and(|part| digits(part, *len)))
    });
    exact || dated
}

/// Describes the toolchain layer.
struct Tools<'a> {
    base: &'a Base,
    /// The channel that rustup installs; `None` for the image's toolchain.
    install: Option<&'a str>,
    asked: &'a Asked,
}

/// Says what a toolchain is.
const SAY: &str = "say() { RUSTUP_TOOLCHAIN=dagcache; export RUSTUP_TOOLCHAIN; rustc -V; cargo -V; cargo clippy -V; rustfmt -V; }
";

/// The file that holds what was planned with.
const PLANNED: &str = "toolchain";

impl Tools<'_> {
    /// Adds the layers. Returns their names, and the rustc version of a moving toolchain.
    fn plan(
        &self,
        images: &dyn Images,
        plan: &mut Plan,
        dir: &RelPath,
    ) -> Result<(Vec<String>, Option<String>), String> {
        let moves = self.install.is_some_and(|channel| !is_fixed(channel));
        let mut layer = self.layer(moves);
        let same = |known: &&Layer| known.on == layer.on && known.build == layer.build;
        if let Some(known) = plan.layers.iter().find(same) {
            layer.name.clone_from(&known.name);
        } else if plan.layer(&layer.name).is_some() {
            layer.name = id_at(&layer.name, dir);
        }
        let mut chain = vec![layer];
        let mut said = None;
        if moves {
            let below = self.base.layers.iter().filter_map(|name| plan.layer(name));
            let below: Vec<Layer> = below.chain(&chain).cloned().collect();
            let all = images.ask(&below, &format!("{SAY}say"))?;
            let all = all.trim_end().to_owned();
            said = all.lines().next().map(str::to_owned);
            chain.push(as_planned(&below, all));
        }
        let names = chain.iter().map(|layer| layer.name.clone()).collect();
        for layer in chain {
            if plan.layer(&layer.name).is_none() {
                plan.layers.push(layer);
            }
        }
        Ok((names, said))
    }

    fn layer(&self, moves: bool) -> Layer {
        let name = if moves {
            "tools:rust:toolchain"
        } else {
            "tools:rust"
        };
        let mut parts = vec![(
            "toolchain".to_owned(),
            self.install.unwrap_or("of the image").to_owned(),
        )];
        let components = COMPONENTS.iter().map(|(name, _)| (*name).to_owned());
        for component in components.chain(self.asked.components.iter().cloned()) {
            parts.push(("component".to_owned(), component));
        }
        for target in &self.asked.targets {
            parts.push(("target".to_owned(), target.clone()));
        }
        let text = self.script();
        parts.push(("script".to_owned(), Digest::of(text.as_bytes()).to_string()));
        let users = DIST.into_iter().chain(PROXIES);
        Layer {
            name: name.to_owned(),
            kind: LayerKind::Tools,
            on: vec![self.base.top().to_owned()],
            parts,
            build: Build::Script(Box::new(Script {
                text,
                user_env: users.map(str::to_owned).collect(),
                ..Script::default()
            })),
        }
    }

    fn script(&self) -> String {
        let mut lines = vec![
            format!("mkdir -p {FOLDER} \"${{CARGO_HOME:=$HOME/.cargo}}\""),
            format!("ln -s \"$CARGO_HOME\" {FOLDER}/cargo"),
            "if command -v rustup >/dev/null; then".to_owned(),
            format!("ln -s \"${{RUSTUP_HOME:=$HOME/.rustup}}\" {FOLDER}/rustup"),
        ];
        if let Some(channel) = self.install {
            lines.push(format!(
                "rustup toolchain install {channel} --profile minimal --no-self-update -c clippy -c rustfmt"
            ));
            lines.push(format!("export RUSTUP_TOOLCHAIN={channel}"));
        }
        for (component, shows) in COMPONENTS {
            lines.push(format!(
                "{shows} >/dev/null 2>&1 || rustup component add {component}"
            ));
        }
        let usual = |name: &&String| COMPONENTS.iter().all(|(known, _)| known != name);
        for component in self.asked.components.iter().filter(usual) {
            lines.push(format!("rustup component add {component}"));
        }
        for target in &self.asked.targets {
            lines.push(format!("rustup target add {target}"));
        }
        lines.push(format!(
            "rustup toolchain link {TOOLCHAIN} \"$(rustc --print sysroot)\""
        ));
        lines.push("else".to_owned());
        if let Some(channel) = self.install {
            lines.push(format!(
                "echo 'the image has another Rust than {channel}, which the project asks for, and no rustup to install it' >&2; exit 1"
            ));
        }
        for (component, shows) in COMPONENTS {
            lines.push(format!(
                "{shows} || {{ echo 'the image has neither {component} nor rustup to install it' >&2; exit 1; }}"
            ));
        }
        lines.push("fi\n".to_owned());
        lines.join("\n")
    }
}

/// The layer that verifies the versions of the toolchain.
fn as_planned(below: &[Layer], said: String) -> Layer {
    let last = below.last().map(|layer| layer.name.clone());
    let name = last.as_deref().unwrap_or_default();
    let text = format!(
        "{SAY}if [ \"$(say)\" != \"$(cat {PLANNED})\" ]; then
    echo 'the toolchain was installed anew, and is another than this run was planned with:' >&2
    say >&2
    echo '`cargo dagcache lock --update` looks at it again' >&2
    exit 1
fi
"
    );
    let parts = said.lines().map(|line| {
        let program = line.split_whitespace().next().unwrap_or_default();
        (program.to_owned(), line.to_owned())
    });
    Layer {
        name: name.replacen(":toolchain", "", 1),
        kind: LayerKind::Tools,
        on: last.clone().into_iter().collect(),
        parts: parts.collect(),
        build: Build::Script(Box::new(Script {
            text,
            files: RelPath::new(PLANNED)
                .map(|path| (path, said.clone().into_bytes()))
                .into_iter()
                .collect(),
            ..Script::default()
        })),
    }
}

#[cfg(test)]
mod tests;
