//! The base of containers: an image and the system packages that the configuration adds to it.
//!
//! | layer | built by | its key, besides the layer below |
//! |---|---|---|
//! | `base:image` | the image, by digest | digest, platform |
//! | `base:packages` | `apt-get install`, `apk add` | the packages as requested |
//! | `base` | verifying the installed versions | the versions that the packages resolved to |
//!
//! Without packages `base` is the image itself. The configured image is named `base`; a default image gives
//! `base:python`, `base:rust`, `base:debian` (and `base:python:image`, …), whatever else the project needs: a second
//! language must not rename the layers of the first, because names are in keys.
//!
//! An engine that lost its cache installs the versions available by then. The verifying layer fails in that case, so
//! no result is ever stored under versions it was not made with.
//!
//! Knows nothing about languages.

use std::path::Path;

use crate::digest::Digest;
use crate::path::RelPath;
use crate::plan::id_at;
use crate::plan::image::is_archive;
use crate::plan::{Build, Image, Images, Layer, LayerKind, Plan, Script};
use crate::scope::Scope;

/// The image for checks without special needs.
pub(crate) const DEBIAN: &str = "docker.io/library/debian:bookworm-slim";

/// The user's proxy variables.
pub(crate) const PROXIES: [&str; 6] = [
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// Lists installed packages, one `name version` per line.
const INSTALLED: &str = r"
installed() {
    if command -v dpkg-query >/dev/null; then dpkg-query -W -f '${Package} ${Version}\n'
    else apk info -v 2>/dev/null | sed 's/-\([0-9][^-]*-r[0-9]*\)$/ \1/'
    fi | LC_ALL=C sort
}
";

/// Lists the versions used for planning.
const PLANNED: &str = "installed";

/// A default image and its purpose.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// Part of the layer's name: `python`, `rust`, `debian`.
    pub(crate) role: &'a str,
    pub(crate) image: &'a str,
    /// The project folder it is for, where folders may need different ones.
    pub(crate) dir: &'a RelPath,
}

impl Wanted<'_> {
    /// [`DEBIAN`].
    #[must_use]
    pub(crate) fn debian(root: &RelPath) -> Wanted<'_> {
        Wanted {
            role: "debian",
            image: DEBIAN,
            dir: root,
        }
    }
}

/// The base of a container.
#[derive(Debug, Clone)]
pub(crate) struct Base {
    pub(crate) image: Image,
    /// Lowest first; never empty.
    pub(crate) layers: Vec<String>,
}

impl Base {
    #[must_use]
    pub(crate) fn top(&self) -> &str {
        self.layers.last().map_or("base", String::as_str)
    }

    /// The layers of a check with `layer` on top of this base.
    #[must_use]
    pub(crate) fn with(&self, layer: &str) -> Vec<String> {
        let mut layers = self.layers.clone();
        layers.push(layer.to_owned());
        layers
    }
}

/// Whether the user chose the base, so that it may contain anything.
#[must_use]
pub(crate) fn is_chosen(images: &dyn Images) -> bool {
    images.configured().is_some() || !images.packages().is_empty()
}

/// The configured image, else the default one, with the system packages. Adds its layers to the plan.
pub(crate) fn base(
    scope: &Scope<'_>,
    images: &dyn Images,
    plan: &mut Plan,
    wanted: Wanted<'_>,
) -> Result<Base, String> {
    let name = images.configured().unwrap_or(wanted.image);
    let image = images.image(name)?;
    let root = scope.snapshot.root();
    let build = build(root, &image)?;
    let plain = match images.configured() {
        Some(_) => "base".to_owned(),
        None => format!("base:{}", wanted.role),
    };
    let first = |top: &str| match images.packages() {
        [] => top.to_owned(),
        _ => format!("{top}:image"),
    };
    let taken = plan
        .layer(&first(&plain))
        .is_some_and(|layer| layer.build != build);
    let top = match taken {
        true => id_at(&plain, wanted.dir),
        false => plain,
    };
    let mut chain = vec![image_layer(root, first(&top), &image)?];
    if !images.packages().is_empty() {
        chain.push(packages(&top, &chain, images.packages()));
        let installed = images.ask(&chain, &format!("{INSTALLED}installed"))?;
        let installed = installed.trim_end().to_owned();
        chain.push(as_planned(&top, &chain, images.packages(), installed));
    }
    let layers = chain.iter().map(|layer| layer.name.clone()).collect();
    for layer in chain {
        if plan.layer(&layer.name).is_none() {
            plan.layers.push(layer);
        }
    }
    Ok(Base { image, layers })
}

/// The layer of an image, for a project at `root`.
pub(crate) fn image_layer(root: &Path, name: String, image: &Image) -> Result<Layer, String> {
    Ok(Layer {
        name,
        kind: LayerKind::Base,
        on: Vec::new(),
        parts: vec![
            ("image".to_owned(), image.digest.clone()),
            ("platform".to_owned(), image.platform.clone()),
        ],
        build: build(root, image)?,
    })
}

fn build(root: &Path, image: &Image) -> Result<Build, String> {
    if !is_archive(&image.name) {
        return Ok(Build::Image {
            reference: image.reference(),
        });
    }
    let path = root.join(&image.name);
    let hex = image.digest.trim_start_matches("sha256:");
    let digest: Digest = hex
        .parse()
        .map_err(|_| format!("`{}` has no digest", image.name))?;
    Ok(Build::Archive { path, digest })
}

fn on(chain: &[Layer]) -> Vec<String> {
    let last = chain.last().map(|layer| layer.name.clone());
    last.into_iter().collect()
}

/// The layer that installs packages.
fn packages(top: &str, chain: &[Layer], packages: &[String]) -> Layer {
    let names = packages.join(" ");
    let text = format!(
        "if command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    apt-get install -q -y --no-install-recommends {names}
    rm -rf /var/lib/apt/lists/*
elif command -v apk >/dev/null; then
    apk add --no-cache {names}
else
    echo '`[layers.base] packages` takes an image with apt-get or apk' >&2
    exit 1
fi
"
    );
    Layer {
        name: format!("{top}:packages"),
        kind: LayerKind::Base,
        on: on(chain),
        parts: packages
            .iter()
            .map(|name| ("package".to_owned(), name.clone()))
            .collect(),
        build: Build::Script(Box::new(Script {
            text,
            user_env: PROXIES.map(str::to_owned).to_vec(),
            ..Script::default()
        })),
    }
}

/// The layer that verifies the installed versions.
fn as_planned(top: &str, chain: &[Layer], packages: &[String], installed: String) -> Layer {
    let text = format!(
        "{INSTALLED}if [ \"$(installed)\" != \"$(cat {PLANNED})\" ]; then
    echo 'the system packages were installed anew, in other versions than this run was planned with;' >&2
    echo '`cargo dagcache lock --update` looks at them again' >&2
    exit 1
fi
"
    );
    let version = |package: &String| {
        let name = package.split(['=', ':']).next().unwrap_or(package);
        let version = installed
            .lines()
            .filter_map(|line| line.split_once(' '))
            .find(|(found, _)| *found == name)
            .map_or("installed", |(_, version)| version);
        (format!("package {name}"), version.to_owned())
    };
    let mut parts: Vec<(String, String)> = packages.iter().map(version).collect();
    let all = Digest::of(installed.as_bytes());
    parts.push(("installed packages".to_owned(), all.to_string()));
    Layer {
        name: top.to_owned(),
        kind: LayerKind::Base,
        on: on(chain),
        parts,
        build: Build::Script(Box::new(Script {
            text,
            files: RelPath::new(PLANNED)
                .map(|path| (path, installed.into_bytes()))
                .into_iter()
                .collect(),
            ..Script::default()
        })),
    }
}

#[cfg(test)]
pub(crate) mod tests;
