//! A Python tool that is ready to run, and the layer that contains it.
//!
//! Does not search for it.

use crate::plan::{Build, Layer, LayerKind, Plan, Tool, id_at};

use super::closure::Closure;
use super::interpreter::Interpreter;
use super::project::Site;

/// How to run a tool, or why it cannot run.
#[derive(Debug)]
pub(crate) enum Resolved {
    Ready(Box<Ready>),
    /// The message for [`crate::plan::Work::Missing`].
    Missing(String),
}

#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) tool: Tool,
    /// The layers of a check with it.
    pub(crate) layers: Vec<String>,
    pub(crate) version: Option<String>,
    /// Its locked packages, if it is locked.
    pub(crate) closure: Option<Closure>,
    /// Set if results must not be stored because the tool's identity is unknown.
    pub(crate) not_cached: Option<String>,
}

/// The folder of a site, for messages.
pub(super) fn folder(site: &Site) -> String {
    if site.dir.is_root() {
        "this project".to_owned()
    } else {
        format!("`{}`", site.dir)
    }
}

/// The layer of a tool on the last of `base`, without its build.
pub(super) fn layer(
    site: &Site,
    name: &str,
    closure: &Closure,
    python: &Interpreter,
    base: &[String],
) -> Layer {
    let mut parts = vec![
        (
            "python".to_owned(),
            format!("{} {}", python.implementation, python.version),
        ),
        ("platform".to_owned(), python.platform.clone()),
    ];
    parts.extend(closure.packages.iter().map(|package| {
        let value = format!("{} {}", package.version, package.files);
        (format!("package {}", package.name), value)
    }));
    Layer {
        name: id_at(&format!("tools:{name}"), &site.dir),
        kind: LayerKind::Tools,
        on: base.last().cloned().into_iter().collect(),
        parts,
        build: Build::Present,
    }
}

/// The tool as a program of `layer`, which joins the plan, on the layers `base`.
pub(super) fn in_layer(
    plan: &mut Plan,
    name: &str,
    layer: Layer,
    base: &[String],
    closure: Closure,
) -> Resolved {
    let version = closure.get(name).map(|package| package.version.clone());
    let path = if cfg!(windows) && matches!(layer.build, Build::Host(_)) {
        format!("Scripts/{name}.exe")
    } else {
        format!("bin/{name}")
    };
    let mut layers = base.to_vec();
    layers.push(layer.name.clone());
    let ready = Ready {
        tool: Tool::Layer {
            name: name.to_owned(),
            layer: layer.name.clone(),
            path,
            version: version.as_ref().map(|version| format!("{name} {version}")),
        },
        layers,
        version,
        closure: Some(closure),
        not_cached: None,
    };
    if plan.layer(&layer.name).is_none() {
        plan.layers.push(layer);
    }
    Resolved::Ready(Box::new(ready))
}
