//! A Python tool that can be run, and the layer that holds it.
//!
//! Stays free of looking for it.

use crate::plan::{Build, Layer, LayerKind, Plan, Tool, id_at};
use crate::rule::Rule;

use super::closure::Closure;
use super::interpreter::Interpreter;
use super::project::Site;

/// How a tool can be run, or why not.
#[derive(Debug)]
pub(crate) enum Resolved {
    /// It can.
    Ready(Box<Ready>),
    /// The message for [`crate::plan::Work::Missing`].
    Missing(String),
}

/// A tool that can be run.
#[derive(Debug)]
pub(crate) struct Ready {
    /// The program.
    pub(crate) tool: Tool,
    /// The layers a check with it stands on.
    pub(crate) layers: Vec<String>,
    /// The tool's version, if known.
    pub(crate) version: Option<String>,
    /// What it was locked with, if it is locked.
    pub(crate) closure: Option<Closure>,
    /// Why results must not be stored: its identity cannot be told.
    pub(crate) not_cached: Option<String>,
}

/// The folder of a site, in messages.
pub(super) fn folder(site: &Site) -> String {
    if site.dir.is_root() {
        "this project".to_owned()
    } else {
        format!("`{}`", site.dir)
    }
}

/// The layer of a tool on the last of `base`, but for how it is built.
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
    if Rule::LockClosure.holds() {
        parts.extend(closure.packages.iter().map(|package| {
            let value = format!("{} {}", package.version, package.files);
            (format!("package {}", package.name), value)
        }));
    }
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
