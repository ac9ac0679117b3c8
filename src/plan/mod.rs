//! The plan: a project's checks and the layers they use. A DAG of steps without effects.
//!
//! - [`check`]: a step that yields a verdict. - [`layer`]: a step that yields an environment.
//! - [`image`]: what containers are based on. - [`trust`]: what the repository asks for.
//!
//! Owns the vocabulary in which ecosystems and the configuration describe work, so that keys, engines, runs and
//! reports know no ecosystem. Contains no IO, input digests, clocks or verdicts.

pub(crate) mod check;
pub(crate) mod image;
pub(crate) mod layer;
pub(crate) mod output;
pub(crate) mod select;
pub(crate) mod trust;

pub(crate) use check::{
    Builtin, CacheMode, Check, Command, InputView, Inputs, Secret, Tool, Work, id_at,
};
pub(crate) use image::{Image, Images, Question};
pub(crate) use layer::{Build, Layer, LayerKind, Script, container_folder};
pub(crate) use output::{Output, Parse, Parsed, Share};

/// All steps of a project before selection.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Each layer precedes those on top of it. Names are unique.
    pub(crate) layers: Vec<Layer>,
    /// Checks in report order. Ids are unique.
    pub(crate) checks: Vec<Check>,
    /// Messages for the user that affect no verdict.
    pub(crate) warnings: Vec<String>,
    /// Linters and tests that the project configures and no check runs.
    pub(crate) not_run: Vec<NotRun>,
    /// What the repository asks for beyond a closed room.
    pub(crate) asks: Vec<trust::Ask>,
}

/// A linter or test runner that the project configures and no check runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NotRun {
    pub(crate) tool: String,
    /// The file that configures it.
    pub(crate) place: String,
    /// How a check would run it.
    pub(crate) command: Vec<String>,
}

impl Plan {
    #[must_use]
    pub(crate) fn layer(&self, name: &str) -> Option<&Layer> {
        self.layers.iter().find(|layer| layer.name == name)
    }

    #[must_use]
    pub(crate) fn check(&self, id: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.id == id)
    }
}
