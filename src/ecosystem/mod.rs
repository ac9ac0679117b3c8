//! The ecosystems, a folder or file each: how it is recognised, its checks and layers, its tools' output. None imports
//! another.
//!
//! To add one: copy the smallest file, add one line to [`PLANNERS`].

pub(crate) mod cargo;
pub(crate) mod kustomize;
pub(crate) mod markdown;
pub(crate) mod python;
pub(crate) mod secrets;
pub(crate) mod yaml;

use crate::plan::{Plan, Question};
use crate::scope::{PlanError, Scope};

/// One ecosystem: adds its layers, checks and warnings to the plan.
pub(crate) type Planner = fn(&Scope<'_>, &mut Plan) -> Result<(), PlanError>;

/// Every ecosystem. Checks of the configuration come after them.
pub(crate) const PLANNERS: &[Planner] = &[
    cargo::plan,
    python::plan,
    yaml::plan,
    yaml::yamllint::plan,
    markdown::plan,
    kustomize::plan,
    secrets::plan,
];

/// What planning needs to know of an image.
pub(crate) const QUESTIONS: &[Question] = &[
    crate::provision::python::interpreter::IN_IMAGE,
    cargo::IN_IMAGE,
];
