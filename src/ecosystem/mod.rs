//! The ecosystems, one directory or file each: recognition, checks and layers, parsing of tool output. They do not
//! import each other.
//!
//! To add one, copy the smallest file and add a line to [`PLANNERS`].

pub(crate) mod cargo;
pub(crate) mod kustomize;
pub(crate) mod markdown;
pub(crate) mod python;
pub(crate) mod secrets;
pub(crate) mod yaml;

use crate::plan::{Plan, Question};
use crate::scope::{PlanError, Scope};

/// Adds the layers, checks and warnings of one ecosystem to the plan.
pub(crate) type Planner = fn(&Scope<'_>, &mut Plan) -> Result<(), PlanError>;

/// Every ecosystem. Configured checks follow after them.
pub(crate) const PLANNERS: &[Planner] = &[
    cargo::plan,
    python::plan,
    yaml::plan,
    yaml::yamllint::plan,
    markdown::plan,
    kustomize::plan,
    secrets::plan,
];

/// The questions about every image.
pub(crate) const QUESTIONS: &[Question] = &[
    crate::provision::python::interpreter::IN_IMAGE,
    cargo::IN_IMAGE,
];
