//! The plan: which checks a project has, and the layers they stand on. A DAG of steps without effects.
//!
//! - [`check`]: a step that yields a verdict. - [`layer`]: a step that yields an environment.
//! - [`image`]: what containers begin with.
//!
//! Owns the vocabulary in which ecosystems and the configuration describe work, so that keys, engines, runs and
//! reports need to know no ecosystem. Stays free of IO, digests of inputs, clocks and verdicts.

pub(crate) mod check;
pub(crate) mod image;
pub(crate) mod layer;
pub(crate) mod output;
pub(crate) mod select;

pub(crate) use check::{
    Builtin, CacheMode, Check, Command, InputView, Inputs, Secret, Tool, Work, id_at,
};
pub(crate) use image::{Image, Images, Question};
pub(crate) use layer::{Build, Layer, LayerKind, Script, container_folder};
pub(crate) use output::{Output, Parse, Parsed, Share};

/// All steps of a project, before selection.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Layers, each before those that stand on it. Names are unique.
    pub(crate) layers: Vec<Layer>,
    /// Checks in the order they are reported. Ids are unique.
    pub(crate) checks: Vec<Check>,
    /// Things worth telling the user that change no verdict.
    pub(crate) warnings: Vec<String>,
}

impl Plan {
    /// The layer of that name.
    #[must_use]
    pub(crate) fn layer(&self, name: &str) -> Option<&Layer> {
        self.layers.iter().find(|layer| layer.name == name)
    }

    /// The check of that id.
    #[must_use]
    pub(crate) fn check(&self, id: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.id == id)
    }
}
